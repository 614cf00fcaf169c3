//! All detectors of all nodes, calibrated. (step 10)
//!
//! See [the contract](super). Complexity: O(1) a node and window for the quick detectors; every [`TURN`] windows, nodes in turn, O(series) for
//! the others.

use std::collections::BTreeMap;

use hsw_fusion::layout::METRICS;
use hsw_fusion::{LATE_WINDOWS, Late, N_DETECTORS, SURPRISE_MAX, Surprises, Tail};
use hsw_state::{Cluster, NodeIndex};
use hsw_types::WindowIndex;

use super::change::Change;
use super::correlated::Correlated;
use super::fingerprints::Fingerprints;
use super::liveness::Liveness;
use super::modes::Modes;
use super::own_past::Own;
use super::saturation::Saturation;
use super::siblings::Siblings;
use super::structure::{GraphSight, Structure};
use super::templates::Templates;
use super::{Sight, TURN, Witness};
use crate::detector::Detector;
use crate::rows::Panel;

/// Scores of its own after which they weigh as much as those of all nodes of the role: a quarter of an hour of windows.
const N_SHARED: f64 = 900.0;
/// The same for a detector that is asked every [`TURN`] windows.
const N_SHARED_SLOW: f64 = N_SHARED / TURN as f64;
/// Scores of the role before any is told: without siblings a minute of slow looks.
const N_KNOWN: f64 = 12.0;
/// Looks of a slower detector that a score waits before it is learned.
const LATE_SLOW: usize = LATE_WINDOWS / TURN as usize;

/// What a window's look needs beside the cluster; lists are by node.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Nodes that are judged at this window, ascending.
    pub nodes: &'a [NodeIndex],
    /// Role of each node: nodes of one role have one past to begin with.
    pub role: &'a [u8],
    /// Whether its database answers; `None` where nobody knows.
    pub is_up: &'a [Option<bool>],
    /// Its place in the graph.
    pub graph: &'a [Option<GraphSight>],
    /// Whether it is under an open incident, or held to be sick.
    pub is_frozen: &'a [bool],
}

#[derive(Debug)]
struct Watched {
    panel: Panel,
    witnesses: [Box<dyn Witness>; N_DETECTORS],
    tails: [Tail; N_DETECTORS],
    /// Scores that are not learned yet.
    late: [Late<f32>; N_DETECTORS],
    said: Surprises,
    looked: Option<WindowIndex>,
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            panel: Panel::new(METRICS.len()),
            witnesses: [
                Box::new(Own),
                Box::new(Siblings),
                Box::new(Correlated),
                Box::new(Change),
                Box::new(Modes),
                Box::new(Templates::default()),
                Box::new(Fingerprints::default()),
                Box::new(Structure),
                Box::new(Saturation),
                Box::new(Liveness),
            ],
            tails: Default::default(),
            late: Default::default(),
            said: [None; N_DETECTORS],
            looked: None,
        }
    }
}

/// The live detectors. See the module's header.
#[derive(Debug, Default)]
pub struct Board {
    watched: BTreeMap<NodeIndex, Watched>,
    /// Scores of all nodes of a role.
    shared: BTreeMap<u8, [Tail; N_DETECTORS]>,
}

impl Board {
    /// Judges and learns a window that `detector` has just passed over; call once per window, ascending.
    pub fn look(
        &mut self,
        cluster: &Cluster,
        detector: &Detector,
        window: WindowIndex,
        standing: &Standing<'_>,
    ) {
        for &node in standing.nodes {
            let Some(note) = detector.note(node) else {
                continue;
            };
            let watched = self.watched.entry(node).or_default();
            let of = |list: &[Option<bool>]| list.get(node).copied().flatten();
            let is_frozen = standing.is_frozen.get(node).copied().unwrap_or(false);
            let shared = self
                .shared
                .entry(standing.role.get(node).copied().unwrap_or(0))
                .or_default();
            let is_turn = (window.0 + node as i64).rem_euclid(TURN) == 0;
            if is_turn {
                watched
                    .panel
                    .look(Some(window.0 as f64), &note.columns(), !is_frozen);
            }
            let sight = Sight {
                cluster,
                node,
                window,
                note,
                panel: &watched.panel,
                graph: standing.graph.get(node).and_then(Option::as_ref),
                is_up: of(standing.is_up),
            };
            watched.looked = Some(window);
            for witness in &mut watched.witnesses {
                let at = witness.id().index();
                if witness.is_slow() && !is_turn {
                    continue;
                }
                let (own, shared) = (&mut watched.tails[at], &mut shared[at]);
                let score = witness.score(&sight);
                let (n_shared, n_late) = if witness.is_slow() {
                    (N_SHARED_SLOW, LATE_SLOW)
                } else {
                    (N_SHARED, LATE_WINDOWS)
                };
                watched.said[at] = score.and_then(|score| calibrated(own, shared, n_shared, score));
                let late = &mut watched.late[at];
                if is_frozen {
                    late.forget();
                    continue;
                }
                let learned = score.and_then(|score| late.take(score as f32, n_late));
                if let Some(score) = learned.map(f64::from) {
                    own.learn(score);
                    shared.learn(score);
                }
                witness.learn(&sight);
            }
        }
    }

    /// What each detector says of a node at `window`: −ln p, `None` where it does not know. One that was not looked at knows nothing.
    #[must_use]
    pub fn said(&self, node: NodeIndex, window: WindowIndex) -> Surprises {
        let watched = self
            .watched
            .get(&node)
            .filter(|watched| watched.looked == Some(window));
        watched.map_or([None; N_DETECTORS], |watched| watched.said)
    }

    /// What they say of a shard: of several members the one that says most, less what being the most of so many is worth (Bonferroni).
    #[must_use]
    pub fn said_of_shard(&self, members: &[NodeIndex], window: WindowIndex) -> Surprises {
        let mut worst = [None; N_DETECTORS];
        let mut n = [0_u32; N_DETECTORS];
        for said in members.iter().map(|node| self.said(*node, window)) {
            for (at, said) in said.into_iter().enumerate() {
                if let Some(said) = said {
                    n[at] += 1;
                    worst[at] = Some(said.max(worst[at].unwrap_or(0.0)));
                }
            }
        }
        for (worst, n) in worst.iter_mut().zip(n) {
            *worst = worst.map(|said: f64| (said - hsw_stats::ln(f64::from(n))).max(0.0));
        }
        worst
    }

    /// What is allocated for a node.
    #[cfg(test)]
    pub(super) fn bytes(&self, node: NodeIndex) -> usize {
        let watched = &self.watched[&node];
        let tails: usize = watched.tails.iter().map(Tail::bytes).sum();
        let late: usize = watched.late.iter().map(Late::bytes).sum();
        let witnesses: usize = watched
            .witnesses
            .iter()
            .map(|witness| witness.bytes())
            .sum();
        size_of::<Watched>()
            + watched.panel.bytes()
            + tails
            + late
            + witnesses
            + size_of::<super::Note>()
    }
}

/// −ln p of a score: by all nodes of the role at first, by the node's own past as that grows.
fn calibrated(own: &Tail, shared: &Tail, n_shared: f64, score: f64) -> Option<f64> {
    if shared.n() < N_KNOWN {
        return None;
    }
    let by_all = shared.surprise(score)?;
    let by_own = own.surprise(score).unwrap_or(by_all);
    let weight = own.n() / (own.n() + n_shared);
    Some((weight * by_own + (1.0 - weight) * by_all).clamp(0.0, SURPRISE_MAX))
}
