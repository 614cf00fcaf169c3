//! The graph seen by latency and by direction, beside the plain one: distances to the same landmarks. (step 9)
//!
//! In: edges with their latency class, landmarks. Out: distances in classes, and in hops along the edges' direction, both ways.
//! Invariants: VW-1 two vertices are as far apart as the nearest class of the edges between them. VW-2 distances are those of a
//! search from scratch. Limits: [`CELLS_MAX`] distances a view; beyond it both are let go of, and say so. New landmarks are searched a few
//! at a time, by [`FOLLOW_WORK`]: until then nothing is known of their distances.

use std::collections::{BTreeMap, BTreeSet};

use hsw_landmark::Ways;

/// Distances kept of a view at most: 4 bytes each, 16 MiB, and as much again for the other direction.
pub(crate) const CELLS_MAX: usize = 4 << 20;
/// Arcs that the searches of one call look at, in each view: some milliseconds.
const FOLLOW_WORK: usize = 1 << 15;
/// No column yet.
const NONE: usize = usize::MAX;

/// See the module's header. Vertices are the watch's numbers.
#[derive(Debug)]
pub(crate) struct Views {
    weighted: Ways,
    directed: Ways,
    /// Edges of each class between two vertices, the smaller number first.
    classes: BTreeMap<(u32, u32), BTreeMap<u8, u32>>,
    /// Edges from one vertex to another.
    arcs: BTreeMap<(u32, u32), u32>,
    /// As of which landmarks, all of them; `None` before.
    epoch: Option<u64>,
    /// Where each landmark's columns are.
    columns: Vec<usize>,
    is_kept: bool,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            weighted: Ways::undirected(),
            directed: Ways::directed(),
            classes: BTreeMap::new(),
            arcs: BTreeMap::new(),
            epoch: None,
            columns: Vec::new(),
            is_kept: true,
        }
    }
}

impl Views {
    /// An edge of this class comes.
    pub(crate) fn insert(&mut self, from: u32, to: u32, class: u8) {
        self.count(from, to, class, true);
        let arcs = self.arcs.entry((from, to)).or_insert(0);
        *arcs += 1;
        if *arcs == 1 {
            self.directed.set(from, to, Some(1));
        }
    }

    /// An edge of this class goes.
    pub(crate) fn remove(&mut self, from: u32, to: u32, class: u8) {
        self.count(from, to, class, false);
        let Some(arcs) = self.arcs.get_mut(&(from, to)) else {
            return;
        };
        *arcs -= 1;
        if *arcs == 0 {
            self.arcs.remove(&(from, to));
            self.directed.set(from, to, None);
        }
    }

    /// An edge's class is another.
    pub(crate) fn reclass(&mut self, from: u32, to: u32, was: u8, now: u8) {
        self.count(from, to, now, true);
        self.count(from, to, was, false);
    }

    fn count(&mut self, from: u32, to: u32, class: u8, comes: bool) {
        let ends = (from.min(to), from.max(to));
        let classes = self.classes.entry(ends).or_default();
        let n = classes.entry(class).or_insert(0);
        *n = if comes { *n + 1 } else { n.saturating_sub(1) };
        if *n == 0 {
            classes.remove(&class);
        }
        let nearest = classes.keys().next().copied();
        if nearest.is_none() {
            self.classes.remove(&ends);
        }
        self.weighted.set(ends.0, ends.1, nearest);
    }

    /// These are the landmarks of `epoch`, of a graph of `n` vertices.
    pub(crate) fn follow(&mut self, landmarks: &[u32], epoch: u64, n: usize) {
        let is_kept = landmarks.len().saturating_mul(n) <= CELLS_MAX;
        if self.epoch == Some(epoch) && self.is_kept == is_kept {
            return;
        }
        self.is_kept = is_kept;
        let kept = if is_kept { landmarks } else { &[] };
        let known: BTreeSet<u32> = self.weighted.landmarks().iter().copied().collect();
        let (old, new): (Vec<u32>, Vec<u32>) = kept.iter().partition(|l| known.contains(l));
        let n_new = (FOLLOW_WORK / self.arcs.len().max(1)).max(1);
        let is_whole = new.len() <= n_new;
        let searched: Vec<u32> = old.into_iter().chain(new.into_iter().take(n_new)).collect();
        self.weighted.follow(&searched);
        self.directed.follow(&searched);
        let at: BTreeMap<u32, usize> = searched.into_iter().zip(0..).collect();
        let column = |l: &u32| at.get(l).copied().unwrap_or(NONE);
        self.columns = kept.iter().map(column).collect();
        self.epoch = is_whole.then_some(epoch);
    }

    /// Whether the views are kept; not where the graph is too large.
    pub(crate) const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// By latency, between a vertex and the landmark of this column.
    pub(crate) fn weighted(&self, column: usize, v: u32) -> Option<u32> {
        let column = *self.columns.get(column)?;
        self.weighted.from(column, v)
    }

    /// Along directions: from the landmark of this column, and to it.
    pub(crate) fn directed(&self, column: usize, v: u32) -> (Option<u32>, Option<u32>) {
        let column = self.columns.get(column).copied().unwrap_or(NONE);
        (self.directed.from(column, v), self.directed.to(column, v))
    }

    /// Whether all distances are those of a search from scratch.
    #[cfg(test)]
    pub(crate) fn is_true(&self) -> bool {
        self.weighted.is_true() && self.directed.is_true()
    }
}
