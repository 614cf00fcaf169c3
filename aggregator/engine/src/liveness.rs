//! Who is heard: agent lost, host lost, database silent, database down are told apart. (steps 6, 10)
//!
//! In: when each agent was last heard (timer time), whether its database answers (`pg.up`), what its source says.
//! Out: a [`NodeLiveness`] per node. Invariants: LI-1 silence counts only from when the aggregator began to listen, so
//! that its own restart is nobody's fault. LI-2 an agent that said goodbye is stopped, not lost. LI-3 a host is lost only
//! when at least two nodes of it are known and none is heard. LI-4 P(sick) is never less than what liveness says: who has lost a database or a
//! host is sick, whatever a model makes of the rest, and who is not heard is so the more the longer, until it counts as lost.

use std::collections::BTreeMap;
use std::time::Duration;

use hsw_state::{Cluster, NodeState};
use hsw_types::{Monotonic, SeriesKey, SourceState};

use crate::view::NodeLiveness;

/// Nothing heard for this long: the agent is lost. Three heartbeats.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(15);
/// Heartbeats but no summary for this long: the agent might as well be lost.
const MUTE_AFTER: Duration = Duration::from_secs(60);
/// Windows in a row without an answer before the database is called silent; one or two are a hiccup.
const SILENT_WINDOWS: i64 = 3;
/// Metric by which an agent says whether its database answers.
pub(crate) const UP: &str = "pg.up";

/// P(sick) of a shard with a database that does not answer or a host that is gone: certain, but for what was told wrongly.
const CERTAIN: f64 = 0.99;
/// P(sick) of a shard with an agent that is lost, which opens an incident alone: an agent that is stopped says goodbye, and is started again soon
/// where it fails. A tenth is left for one that died by itself; written down, not fitted.
const LOST: f64 = 0.9;
/// Windows of silence that are usual: a summary carries two.
const SILENT_USUAL: i64 = 2;

/// The least that P(sick) can be by the liveness of a shard's members and the windows since one of them was last known to answer; `None` where all
/// are heard as usual.
pub(crate) fn sick(members: &[NodeLiveness], silent: i64) -> Option<f64> {
    let is_gone = |state: &NodeLiveness| {
        matches!(
            state,
            NodeLiveness::DatabaseSilent | NodeLiveness::DatabaseDown | NodeLiveness::HostLost
        )
    };
    if members.iter().any(is_gone) {
        return Some(CERTAIN);
    }
    // An agent that said goodbye is awaited by nobody, and not counted as silent.
    let share = silent as f64 / LOST_AFTER.as_secs_f64();
    (silent > SILENT_USUAL).then_some(LOST * share.min(1.0))
}

/// What is known of a node's connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    pub(crate) last: Option<Monotonic>,
    pub(crate) last_summary: Option<Monotonic>,
    pub(crate) is_stopped: bool,
    pub(crate) clock_offset_us: Option<i64>,
    /// The database has answered at least once, so that its silence is news.
    pub(crate) has_been_up: bool,
}

/// The liveness of every node, by index.
pub(crate) fn judge(
    cluster: &Cluster,
    heard: &[Heard],
    now: Monotonic,
    listening_since: Monotonic,
) -> Vec<NodeLiveness> {
    let up_key = cluster.find_key(&SeriesKey::node(UP));
    let mut alive_on_host: BTreeMap<(&str, &str), (u32, u32)> = BTreeMap::new();
    let mut liveness = Vec::with_capacity(heard.len());
    for (node, heard) in cluster.nodes().iter().zip(heard) {
        let remembered = node.newest.map(|_| listening_since);
        let since = heard
            .last
            .or(remembered)
            .map(|last| last.max(listening_since));
        let told = heard
            .last_summary
            .or(remembered)
            .map(|last| last.max(listening_since));
        let is_mute = told.is_some_and(|told| now.since(told) > MUTE_AFTER);
        let judged = match since {
            _ if heard.is_stopped => NodeLiveness::AgentStopped,
            None => NodeLiveness::NeverSeen,
            Some(since) if is_mute || now.since(since) > LOST_AFTER => NodeLiveness::AgentLost,
            Some(_) if !heard.has_been_up => NodeLiveness::Alive,
            Some(_) => up_key.map_or(NodeLiveness::Alive, |key| database(node, key)),
        };
        let on_host = alive_on_host
            .entry((&node.facts.host, &node.facts.boot_id))
            .or_default();
        on_host.0 += 1;
        on_host.1 += u32::from(!matches!(
            judged,
            NodeLiveness::AgentLost | NodeLiveness::NeverSeen
        ));
        liveness.push(judged);
    }
    for (node, judged) in cluster.nodes().iter().zip(&mut liveness) {
        let host = (node.facts.host.as_str(), node.facts.boot_id.as_str());
        let is_host_known = !node.facts.host.is_empty();
        let (known, alive) = alive_on_host.get(&host).copied().unwrap_or_default();
        if *judged == NodeLiveness::AgentLost && is_host_known && known >= 2 && alive == 0 {
            *judged = NodeLiveness::HostLost;
        }
    }
    liveness
}

fn database(node: &NodeState, up_key: usize) -> NodeLiveness {
    let (Some(series), Some(newest)) = (node.series.get(&up_key), node.newest) else {
        return NodeLiveness::Alive;
    };
    let mut zeros = 0;
    for (_, value) in series.back_from(newest, SILENT_WINDOWS) {
        if value > 0.5 {
            return NodeLiveness::Alive;
        }
        zeros += 1;
    }
    if zeros < SILENT_WINDOWS {
        return NodeLiveness::Alive;
    }
    let source = node
        .sources
        .iter()
        .find(|source| source.source == "postgres");
    match source.map(|source| source.state) {
        // Wrong password, missing right: the agent's trouble, said in its status, not the database's.
        Some(SourceState::Refused) => NodeLiveness::Alive,
        Some(SourceState::Unreachable) => NodeLiveness::DatabaseDown,
        _ => NodeLiveness::DatabaseSilent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_lost_a_database_is_sick_and_who_is_not_heard_the_more_the_longer() {
        let well = NodeLiveness::Alive;
        for gone in [
            NodeLiveness::DatabaseSilent,
            NodeLiveness::DatabaseDown,
            NodeLiveness::HostLost,
        ] {
            assert_eq!(sick(&[well, gone], 0), Some(CERTAIN));
        }
        assert_eq!(sick(&[well], SILENT_USUAL), None);
        assert_eq!(sick(&[], 0), None);
        let said: Vec<f64> = (3..=60)
            .filter_map(|silent| sick(&[well], silent))
            .collect();
        assert_eq!(said.len(), 58);
        assert!(said.is_sorted() && said[0] < said[9]);
        assert_eq!(sick(&[NodeLiveness::AgentLost], 60), Some(LOST));
    }
}
