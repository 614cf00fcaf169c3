//! A fixed set of triggers under one tree, built anew from what is left once three quarters have gone. (ALGORITHMS 2.2)
//!
//! In: a [`Batch`], then elements and terminations. Out: what matured, and the rest as a batch again.
//! Invariant: TR-1 building anew at any moment changes no maturity.

use crate::batch::Batch;
use crate::boxes::Boxes;
use crate::choose::Rule;
use crate::line::Line;

/// The tree of one slot of the forest.
#[derive(Debug)]
pub(crate) enum Tree {
    /// Of one dimension.
    Line(Box<Line>),
    /// Of several.
    Boxes(Box<Boxes>),
}

impl Tree {
    /// Over all of a batch. O(m log^d m).
    pub(crate) fn new(batch: Batch, n_dimensions: usize, rule: Rule) -> Self {
        if n_dimensions == 1 {
            Self::Line(Box::new(Line::new(batch, rule)))
        } else {
            Self::Boxes(Box::new(Boxes::new(batch, n_dimensions, rule)))
        }
    }

    /// Adds an element; appends handles of what matures and what was over.
    pub(crate) fn add(&mut self, point: &[u64], weight: u64, gone: &mut Vec<(u32, u64)>) {
        match self {
            Self::Line(line) => {
                if let &[key] = point {
                    line.add(key, weight, gone);
                }
            }
            Self::Boxes(boxes) => {
                boxes.add(point, weight, |handle, over| gone.push((handle, over)));
            }
        }
    }

    /// Handles by the triggers' numbers, of those that have gone as well.
    pub(crate) fn handles(&self) -> &[u32] {
        match self {
            Self::Line(line) => line.handles(),
            Self::Boxes(boxes) => boxes.handles(),
        }
    }

    /// Triggers that live.
    pub(crate) fn n_alive(&self) -> usize {
        match self {
            Self::Line(line) => line.n_alive(),
            Self::Boxes(boxes) => boxes.n_alive(),
        }
    }

    /// Whether three quarters of the triggers have gone, or the counters are full.
    pub(crate) fn is_due(&self) -> bool {
        let is_full = match self {
            Self::Line(line) => line.is_full(),
            Self::Boxes(boxes) => boxes.is_full(),
        };
        is_full || 4 * self.n_alive() <= self.handles().len()
    }

    /// What is left of a trigger's threshold; 0 once it has gone.
    pub(crate) fn remaining(&self, query: usize) -> u64 {
        match self {
            Self::Line(line) => line.remaining(query),
            Self::Boxes(boxes) => boxes.remaining(query),
        }
    }

    pub(crate) fn terminate(&mut self, query: usize) {
        match self {
            Self::Line(line) => line.terminate(query),
            Self::Boxes(boxes) => boxes.terminate(query),
        }
    }

    /// Appends what lives, in order, each with what is left of its threshold. O(m log m).
    pub(crate) fn unload(&self, batch: &mut Batch) {
        match self {
            Self::Line(line) => line.unload(batch),
            Self::Boxes(boxes) => boxes.unload(batch),
        }
    }
}
