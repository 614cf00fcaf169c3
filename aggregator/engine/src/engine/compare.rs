//! Who is compared with whom, and at which moment. (steps 8–10)

use hsw_detect::Group;
use hsw_state::NodeIndex;
use hsw_types::{NodeId, Role, ShardSummary, WallTime, WindowIndex};

use super::Engine;
use crate::view::NodeLiveness;

/// A node whose newest window is further than this from the middle of all is not waited for.
const APART_WINDOWS: i64 = 6;
/// A clock that is wrong by less than this, seconds, is left as it is: windows wait for each other about as long.
const CLOCK_APART_S: i64 = 3;

impl Engine {
    /// Windows to add so that a node with a wrong clock is compared with its siblings at the same moment: by what its
    /// heartbeats say of its clock, and, since nobody can tell of the future, by when its newest window arrived.
    pub(super) fn shift(&self, at: NodeIndex, summary: &ShardSummary, received: WallTime) -> i64 {
        let ahead_s = |us: i64| us.div_euclid(1_000_000);
        let offset = self.heard[at].clock_offset_us.map_or(0, ahead_s);
        let shift = if offset.abs() >= CLOCK_APART_S {
            -offset
        } else {
            0
        };
        let last = summary.first_window + i64::from(summary.n_windows) + shift;
        let ahead = last - received.window();
        if ahead >= CLOCK_APART_S {
            shift - ahead
        } else {
            shift
        }
    }

    /// The window up to which every node that keeps up has told, and which nodes those are.
    pub(super) fn reach(&self) -> Option<(WindowIndex, Vec<NodeIndex>)> {
        let told = |at: &NodeIndex| {
            let is_heard = self.listening_since.is_none()
                || !matches!(
                    self.liveness[*at],
                    NodeLiveness::AgentLost | NodeLiveness::HostLost | NodeLiveness::AgentStopped
                );
            self.cluster.nodes()[*at].newest.filter(|_| is_heard)
        };
        let nodes: Vec<NodeIndex> = (0..self.cluster.nodes().len())
            .filter(|at| told(at).is_some())
            .collect();
        let mut newest: Vec<WindowIndex> = nodes.iter().filter_map(told).collect();
        newest.sort_unstable();
        let middle = *newest.get(newest.len() / 2)?;
        let keeps_up =
            |at: &NodeIndex| told(at).is_some_and(|w| (w - middle).abs() <= APART_WINDOWS);
        let nodes: Vec<NodeIndex> = nodes.into_iter().filter(keeps_up).collect();
        let reach = nodes.iter().filter_map(told).min()?;
        Some((reach, nodes))
    }

    /// Primaries among themselves, replicas among themselves, each router against the primaries.
    pub(super) fn groups(&self, nodes: &[NodeIndex]) -> Vec<Group> {
        let (mut primaries, mut replicas, mut routers) = (Vec::new(), Vec::new(), Vec::new());
        for &at in nodes {
            let node = &self.cluster.nodes()[at];
            let entry = self.map.entry_of(&node.node);
            match node.facts.role {
                Role::Router => routers.push(at),
                _ if entry.is_some_and(|entry| entry.is_router) => routers.push(at),
                Role::Replica => replicas.push(at),
                Role::Primary | Role::Unknown if entry.is_some() => primaries.push(at),
                Role::Primary | Role::Unknown => {}
            }
        }
        let mut groups: Vec<Group> = Vec::with_capacity(2 + routers.len());
        groups.extend(routers.iter().map(|at| Group {
            members: vec![*at],
            control: primaries.clone(),
        }));
        groups.push(Group {
            members: primaries,
            control: Vec::new(),
        });
        groups.push(Group {
            members: replicas,
            control: Vec::new(),
        });
        groups
    }

    /// Where a node that the map does not name belongs: the shard its agent was told, or the shard of a node that holds
    /// the same data (PostgreSQL's system identifier is one on a primary and its replicas), or one of its own name.
    pub(super) fn shard_by_facts(&self, at: NodeIndex) -> String {
        let facts = &self.cluster.nodes()[at].facts;
        if !facts.shard.is_empty() {
            return facts.shard.clone();
        }
        let same_data = |other: &&hsw_state::NodeState| {
            !facts.system_identifier.is_empty()
                && other.facts.system_identifier == facts.system_identifier
        };
        let kin = self.cluster.nodes().iter().filter(same_data);
        let shard = kin
            .filter_map(|other| self.map.shard_of(&other.node))
            .next();
        shard.map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn frozen(&self) -> Vec<bool> {
        let is_frozen = |node: &NodeId| {
            self.map
                .shard_of(node)
                .is_some_and(|shard| self.policy.is_involved(shard))
        };
        self.cluster
            .nodes()
            .iter()
            .map(|state| is_frozen(&state.node))
            .collect()
    }
}
