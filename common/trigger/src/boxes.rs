//! A fixed set of triggers of several dimensions under one tree of slack rounds. (ALGORITHMS 2.2, 2.4)
//!
//! In: a [`Batch`], then elements and terminations. Out: what matured, and the rest as a batch again.
//! Does not: serve one dimension, where `line` is faster.

use crate::batch::Batch;
use crate::choose::Rule;
use crate::ledger::Ledger;
use crate::nested::Layout;
use crate::range::Range;

/// Boxes under one tree.
#[derive(Debug)]
pub(crate) struct Boxes {
    layout: Layout,
    ledger: Ledger,
    ranges: Vec<Range>,
    handles: Vec<u32>,
    n_dimensions: usize,
    path: Vec<u32>,
    matured: Vec<(u32, u64)>,
}

impl Boxes {
    /// Over all of a batch. O(m log^d m).
    pub(crate) fn new(batch: Batch, n_dimensions: usize, rule: Rule) -> Self {
        let Batch {
            ranges,
            handles,
            remaining,
        } = batch;
        let layout = Layout::new(&ranges, n_dimensions);
        let boxed = |query: usize| &ranges[query * n_dimensions..(query + 1) * n_dimensions];
        let canonical = |query, out: &mut Vec<(u32, u32)>| layout.canonical(boxed(query), out);
        let ledger = Ledger::new(layout.n_nodes(), rule, &remaining, canonical);
        Self {
            layout,
            ledger,
            ranges,
            handles,
            n_dimensions,
            path: Vec::new(),
            matured: Vec::new(),
        }
    }

    /// Adds an element; hands out handles of what matures and what was over. O(log^d m) and the signals.
    pub(crate) fn add(&mut self, point: &[u64], weight: u64, mut matured: impl FnMut(u32, u64)) {
        self.path.clear();
        self.layout.path(point, &mut self.path);
        self.ledger.add(&self.path, weight, &mut self.matured);
        for (query, over) in self.matured.drain(..) {
            matured(self.handles[query as usize], over);
        }
    }

    /// Triggers that live.
    pub(crate) const fn n_alive(&self) -> usize {
        self.ledger.n_alive()
    }

    /// Handles by the triggers' numbers, of those that have gone as well.
    pub(crate) fn handles(&self) -> &[u32] {
        &self.handles
    }

    /// Whether the counters are full.
    pub(crate) const fn is_full(&self) -> bool {
        self.ledger.is_full()
    }

    pub(crate) fn remaining(&self, query: usize) -> u64 {
        self.ledger.remaining(query)
    }

    pub(crate) fn terminate(&mut self, query: usize) {
        self.ledger.terminate(query);
    }

    /// Appends what lives, in order, each with what is left of its threshold. O(Σ canonical nodes).
    pub(crate) fn unload(&self, batch: &mut Batch) {
        let boxes = self.ranges.chunks_exact(self.n_dimensions);
        for (query, (ranges, &handle)) in boxes.zip(&self.handles).enumerate() {
            let remaining = self.remaining(query);
            if remaining > 0 {
                batch.push(ranges, handle, remaining);
            }
        }
    }
}
