//! The live detectors: what does each kind of evidence say of a node now, as a p-value on its own past? (step 10)
//!
//! In: a window that [`Detector`](crate::Detector) has passed over, the graph's word, who answers. Out: −ln p of ten detectors a node.
//! Ordering contract, per window, nodes ascending: the panel of principal metrics (every [`TURN`] windows) → each [`Witness`] in
//! the order of [`DetectorId::ALL`] → calibration → learning in the same order. Nothing of a window is learned before it is judged.
//! A score is learned up to half a minute late, and not at all where the node is frozen by then: the onset of a fault is no part of the past.
//! A score is calibrated on all nodes of its role at first and on the node's own past as that grows (half and half after a quarter
//! of an hour).
//! Invariants: LV-1 who does not know says `None`: it raises nothing and teaches nothing. LV-2 nothing is learned from a frozen node.
//! LV-3 same windows in, same words out. LV-4 memory does not grow with windows. LV-5 what a fault shows until it is an incident is not learned. Limits: 64 KiB a node.
//! Does not: weigh detectors (see `hsw-fusion`), decide what is an incident (see `hsw-engine`).

mod note;
pub use note::Note;

mod own_past;
mod siblings;

mod change;
mod common;
mod correlated;
mod modes;

mod fingerprints;
mod templates;

mod liveness;
mod saturation;
mod structure;
pub use structure::GraphSight;

mod board;
pub use board::{Board, Standing};

use hsw_fusion::DetectorId;
use hsw_state::{Cluster, NodeIndex};
use hsw_types::WindowIndex;

use crate::rows::Panel;

/// Windows between two looks of the slower detectors: a judged value is a median of five.
pub(crate) const TURN: i64 = 5;
/// The least score: what is usual. Scores are compared by their ratio, so a score below this would tell nothing from nothing.
pub(crate) const USUAL: f64 = 1.0;

/// What a detector sees.
pub(crate) struct Sight<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) node: NodeIndex,
    pub(crate) window: WindowIndex,
    /// What the pass over its series has left.
    pub(crate) note: &'a Note,
    /// Judges of its principal metrics together; as of its last turn.
    pub(crate) panel: &'a Panel,
    /// Its place in the interaction graph, where that is known.
    pub(crate) graph: Option<&'a GraphSight>,
    /// Whether its database answers; `None` where nobody knows.
    pub(crate) is_up: Option<bool>,
}

/// One kind of evidence about a node.
pub(crate) trait Witness: std::fmt::Debug + Send {
    /// Which detector it is.
    fn id(&self) -> DetectorId;

    /// Whether it is asked every [`TURN`] windows only.
    fn is_slow(&self) -> bool {
        true
    }

    /// How bad, from [`USUAL`] on, higher is worse; `None` while it does not know.
    fn score(&mut self, sight: &Sight<'_>) -> Option<f64>;

    /// Learns the window that was scored last.
    fn learn(&mut self, _: &Sight<'_>) {}

    /// What it has allocated.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests;
