//! Structure: a node's distances in the interaction graph, and interactions at it that nothing explains. (step 10)
//!
//! Score: the square of its deviation A(v) plus [`SUSPICION`] for each unexpected interaction that ends at it.
//! Source: ALGORITHMS §7.5; the deviation is computed by `hsw-structure`.

use hsw_fusion::DetectorId;

use super::{Sight, USUAL, Witness};

/// An unexpected interaction weighs as much as a deviation of two scales.
const SUSPICION: f64 = 4.0;

/// What the graph says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GraphSight {
    /// A(v): how far its distance vector moved at the last look, in its own robust scale.
    pub deviation: f64,
    /// Neighbours.
    pub degree: f64,
    /// Mean distance to the landmarks that a way leads to, hops.
    pub distance_mean: f64,
    /// Their variance, hops².
    pub distance_variance: f64,
    /// The longest of them, hops.
    pub eccentricity: f64,
    /// Share of landmarks that a way leads to.
    pub coverage: f64,
    /// Mean latency class of its edges.
    pub latency_class: f64,
    /// Unexpected interactions that end at it.
    pub n_suspicions: f64,
}

/// The detector. See the module's header.
#[derive(Debug)]
pub(super) struct Structure;

impl Witness for Structure {
    fn id(&self) -> DetectorId {
        DetectorId::Structure
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        let graph = sight.graph?;
        Some(USUAL + graph.deviation * graph.deviation + SUSPICION * graph.n_suspicions)
    }
}
