//! Which edges moved whom, look by look, and what of it belongs to a suspicion.
//!
//! In: the watch after each look. Out: [`Reason::Drift`] for suspicions whose edges moved vertices far out. Limits:
//! [`N_EDGES_MAX`] edges remembered, those that moved something last.

use std::collections::{BTreeMap, VecDeque};

use hsw_graph::{EdgeId, Watch};
use hsw_landmark::FAR;

use crate::deviation::{FAR_OUT, Moved, Scales};
use crate::suspicion::{Reason, Suspicion};

/// Edges remembered with what they moved.
const N_EDGES_MAX: usize = 2_000;

/// What an edge moved.
#[derive(Debug, Clone, Copy)]
struct Pull {
    /// Vertices far out that it explains.
    n_vertices: usize,
    /// The largest of their deviations.
    largest: f64,
}

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drift {
    scales: Scales,
    /// Numbers of vertices are those of this generation of the watch.
    generation: u64,
    diameter: u16,
    of: BTreeMap<EdgeId, Pull>,
    order: VecDeque<EdgeId>,
}

impl Drift {
    /// Judges what the last look moved. O(distances changed · log vertices).
    pub(crate) fn look(&mut self, watch: &Watch) {
        if self.generation != watch.generation() {
            self.generation = watch.generation();
            self.scales = Scales::default();
        }
        let edges = watch.moved();
        if edges.is_empty() {
            return;
        }
        let mut moved = Vec::new();
        for (edge, (_, steps)) in (0_u32..).zip(edges) {
            for step in steps {
                for hops in [step.was, step.now].into_iter().filter(|hops| *hops != FAR) {
                    self.diameter = self.diameter.max(hops);
                }
                moved.push(Moved {
                    edge: Some(edge),
                    vertex: step.vertex,
                    landmark: step.landmark,
                    was: step.was,
                    now: step.now,
                });
            }
        }
        let deviation = self
            .scales
            .look(&moved, watch.landmarks().len(), self.diameter);
        for edge in deviation.edges {
            let (id, steps) = &edges[edge as usize];
            let mut vertices: Vec<u32> = steps.iter().map(|step| step.vertex).collect();
            vertices.sort_unstable();
            vertices.dedup();
            let far = vertices.iter().filter_map(|v| deviation.of.get(v));
            let far: Vec<f64> = far.copied().filter(|a| *a >= FAR_OUT).collect();
            let pull = Pull {
                n_vertices: far.len(),
                largest: far.iter().copied().fold(0.0, f64::max),
            };
            self.keep(id, pull);
        }
    }

    fn keep(&mut self, id: &EdgeId, pull: Pull) {
        if self.of.insert(id.clone(), pull).is_none() {
            self.order.push_back(id.clone());
        }
        while self.of.len() > N_EDGES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.of.remove(&oldest);
        }
    }

    /// Says of each suspicion what its edges moved.
    pub(crate) fn explain(&self, suspicions: &mut [Suspicion]) {
        for suspicion in suspicions {
            let pulls = suspicion.edges.iter().filter_map(|edge| self.of.get(edge));
            let (n_vertices, largest) = pulls.fold((0, 0.0_f64), |(n, largest), pull| {
                (n + pull.n_vertices, largest.max(pull.largest))
            });
            if n_vertices > 0 {
                suspicion.reasons.push(Reason::Drift {
                    n_vertices,
                    largest,
                });
            }
        }
    }
}
