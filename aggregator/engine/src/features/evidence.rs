//! What the engine's own rules and liveness know of a shard, as columns `evidence.*` of the layout. (steps 10–11)
//!
//! In: findings, symptoms, liveness and the judgement of the newest judged window. Out: the columns in the layout's order.
//! Invariants: EV-1 a shard that is not heard has evidence all the same: how long it has been silent, and that it is lost.
//! O(findings + members). Does not: add anything that opens or closes an incident; it only says what those who do have seen.

use std::collections::BTreeMap;

use hsw_detect::Finding;
use hsw_fusion::layout::{AT_EVIDENCE, COLUMNS_EVIDENCE, CUT, Features};
use hsw_state::{Cluster, NodeIndex};
use hsw_types::{Family, Role, SeriesKey, ShardId, Tier, WindowIndex};

use super::Scene;
use crate::liveness::{Heard, UP};
use crate::symptoms::{self, Symptoms};
use crate::view::NodeLiveness;

/// Windows of silence beyond which more of it says no more.
const SILENT_MAX: i64 = 60;
/// Families whose evidence is told one by one.
const N_FAMILIES: usize = 3;

/// Fills the columns of a shard with these members, told of or not.
pub(super) fn fill(
    scene: &Scene<'_>,
    shard: &ShardId,
    members: &[NodeIndex],
    window: WindowIndex,
    features: &mut Features,
) {
    let silence = silence(scene, members, window);
    let is = |wanted: fn(NodeLiveness) -> bool| {
        let is_any = members.iter().any(|&at| wanted(liveness(scene, at)));
        f64::from(u8::from(is_any))
    };
    let nothing = Symptoms::default();
    let found = scene.symptoms.binary_search_by(|(of, _)| of.cmp(shard));
    let symptoms = found.map_or(&nothing, |at| &scene.symptoms[at].1);
    let seen = Seen::of(scene.findings, members);
    let surprise = scene.judges.of(shard).map_or(0.0, |said| said.surprise);
    let columns: [f64; COLUMNS_EVIDENCE.len()] = [
        hsw_stats::ln_1p(silence.0),
        hsw_stats::ln_1p(silence.1),
        is(is_unanswered),
        is(is_lost),
        hsw_stats::ln_1p(symptoms.strength),
        hsw_stats::ln_1p(symptoms.own_strength),
        f64::from(u8::from(symptoms.is_opening)),
        hsw_stats::ln_1p(f64::from(symptoms.held)),
        hsw_stats::ln_1p(seen.built_up),
        seen.cause,
        seen.harm,
        seen.other,
        seen.families[0],
        seen.families[1],
        seen.families[2],
        surprise,
    ];
    for (place, value) in columns.into_iter().enumerate() {
        features.set(AT_EVIDENCE + place, value);
    }
}

/// What findings say together, suspicions among them.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// Largest score times windows held, of what waits or suffers.
    built_up: f64,
    /// Largest score of a cause.
    cause: f64,
    /// Largest score of what waits or suffers.
    harm: f64,
    /// Largest score of the rest.
    other: f64,
    /// Strongest families, each by its largest strength.
    families: [f64; N_FAMILIES],
}

impl Seen {
    fn of(findings: &[Finding], members: &[NodeIndex]) -> Self {
        let mut seen = Self::default();
        let mut by_family: BTreeMap<Family, f64> = BTreeMap::new();
        for finding in findings.iter().filter(|f| members.contains(&f.node)) {
            let score = finding.score.min(CUT);
            let is_harm = symptoms::is_harm(finding);
            let place = match finding.spec.tier {
                Tier::Cause => &mut seen.cause,
                _ if is_harm => &mut seen.harm,
                _ => &mut seen.other,
            };
            *place = place.max(score);
            if is_harm {
                seen.built_up = seen.built_up.max(score * f64::from(finding.held));
            }
            let best = by_family.entry(finding.spec.family).or_default();
            *best = best.max(symptoms::strength_of(finding));
        }
        let mut strongest: Vec<f64> = by_family.into_values().collect();
        strongest.sort_by(|a, b| b.total_cmp(a));
        for (place, strength) in seen.families.iter_mut().zip(strongest) {
            *place = strength;
        }
        seen
    }
}

fn liveness(scene: &Scene<'_>, at: NodeIndex) -> NodeLiveness {
    let state = scene.liveness.get(at).copied();
    state.unwrap_or(NodeLiveness::NeverSeen)
}

const fn is_lost(state: NodeLiveness) -> bool {
    matches!(state, NodeLiveness::AgentLost | NodeLiveness::HostLost)
}

const fn is_unanswered(state: NodeLiveness) -> bool {
    matches!(
        state,
        NodeLiveness::DatabaseSilent | NodeLiveness::DatabaseDown
    )
}

/// Whether somebody should be heard from this node: it was, and did not say goodbye.
pub(super) fn is_awaited(scene: &Scene<'_>, at: NodeIndex) -> bool {
    is_owed(scene.cluster, liveness(scene, at), at)
}

/// The same, by its liveness.
pub(crate) fn is_owed(cluster: &Cluster, state: NodeLiveness, at: NodeIndex) -> bool {
    let is_away = matches!(state, NodeLiveness::AgentStopped | NodeLiveness::NeverSeen);
    cluster.nodes()[at].newest.is_some() && !is_away
}

/// Windows since the database of a member was last known to answer, of the member for which it is longest, and of those that are no
/// replicas: a host that is gone, an agent that is gone and a database that does not answer are silent alike.
fn silence(scene: &Scene<'_>, members: &[NodeIndex], window: WindowIndex) -> (f64, f64) {
    let mut longest = (0_i64, 0_i64);
    for &at in members.iter().filter(|at| is_awaited(scene, **at)) {
        let windows = silent(scene.cluster, scene.heard, at, window);
        longest.0 = longest.0.max(windows);
        if scene.cluster.nodes()[at].facts.role != Role::Replica {
            longest.1 = longest.1.max(windows);
        }
    }
    (longest.0 as f64, longest.1 as f64)
}

/// Windows since a node was last heard, [`SILENT_MAX`] at most.
pub(crate) fn behind(cluster: &Cluster, at: NodeIndex, window: WindowIndex) -> i64 {
    let newest = cluster.nodes()[at].newest;
    newest.map_or(0, |newest| (window - newest).clamp(0, SILENT_MAX))
}

/// Windows since the database of a node was last known to answer, [`SILENT_MAX`] at most; of one that never did since its agent was heard.
pub(crate) fn silent(
    cluster: &Cluster,
    heard: &[Heard],
    at: NodeIndex,
    window: WindowIndex,
) -> i64 {
    let has_answered = heard.get(at).is_some_and(|heard| heard.has_been_up);
    let node = &cluster.nodes()[at];
    let key = cluster.find_key(&SeriesKey::node(UP));
    let up = key.and_then(|key| node.series.get(&key));
    let (Some(up), true) = (up, has_answered) else {
        return behind(cluster, at, window);
    };
    let mut values = up.back_from(window, SILENT_MAX);
    let answered = values.find(|(_, up)| *up > 0.5);
    answered.map_or(SILENT_MAX, |(last, _)| window - last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::metric_spec;

    fn finding(node: NodeIndex, metric: &str, score: f64, held: u32) -> Finding {
        Finding {
            node,
            key: 0,
            spec: metric_spec(metric).unwrap(),
            value: 1.0,
            usual: 0.0,
            siblings: None,
            score,
            direction: 1.0,
            since: WindowIndex(0),
            held,
            limit_s: None,
        }
    }

    #[test]
    fn findings_count_by_what_they_are_and_each_family_once() {
        let findings = [
            finding(1, "pg.sessions_waiting_lock", 40.0, 2),
            finding(1, "host.cpu_steal_ratio", 6.0, 5),
            finding(1, "instance.cpu_cores", 4.0, 0),
            finding(2, "pg.rollbacks", 9.0, 9),
        ];
        let seen = Seen::of(&findings, &[1]);
        assert_eq!((seen.cause, seen.harm, seen.other), (CUT, 6.0, 4.0));
        assert_eq!(seen.built_up, 2.0 * CUT);
        assert_eq!(seen.families[0], 9.0);
        assert!(seen.families[1] > 0.0);
        assert_eq!(seen.families[2], 0.0, "processor counts once");
        assert_eq!(Seen::of(&findings, &[0]), Seen::default());
    }
}
