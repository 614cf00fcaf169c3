//! Triggers on the move between structures, and the plain scan over a few of them. (ALGORITHMS 2.3)
//!
//! In: triggers with what is left of their thresholds. Out: the same to whoever builds a tree of them; meanwhile each
//! element is held against each. Invariant: BA-1 a trigger's number among the others changes only as [`Batch::scan`] and
//! [`Batch::remove`] say. Limits: an element costs O(n · d).

use crate::range::Range;

/// Triggers, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// As many per trigger as there are dimensions.
    pub(crate) ranges: Vec<Range>,
    pub(crate) handles: Vec<u32>,
    pub(crate) remaining: Vec<u64>,
}

impl Batch {
    pub(crate) const fn len(&self) -> usize {
        self.handles.len()
    }

    pub(crate) fn push(&mut self, ranges: &[Range], handle: u32, remaining: u64) {
        self.ranges.extend_from_slice(ranges);
        self.handles.push(handle);
        self.remaining.push(remaining);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.ranges.append(&mut other.ranges);
        self.handles.append(&mut other.handles);
        self.remaining.append(&mut other.remaining);
    }

    /// Subtracts an element's weight from the triggers it lies in; hands out those that mature with what is over.
    /// They stay, with nothing left, until they are removed.
    pub(crate) fn scan(&mut self, point: &[u64], weight: u64, mut matured: impl FnMut(u32, u64)) {
        let boxes = self.ranges.chunks_exact(point.len());
        for ((ranges, remaining), &handle) in boxes.zip(&mut self.remaining).zip(&self.handles) {
            let mut is_inside = true;
            for (range, &key) in ranges.iter().zip(point) {
                is_inside &= range.contains(key);
            }
            if is_inside {
                if *remaining > weight {
                    *remaining -= weight;
                } else {
                    matured(handle, weight - *remaining);
                    *remaining = 0;
                }
            }
        }
    }

    /// Removes a trigger; the last takes its number. Returns the handle of the one that moved, if one did.
    pub(crate) fn remove(&mut self, at: usize) -> Option<u32> {
        let n_dimensions = self.ranges.len() / self.handles.len();
        self.handles.swap_remove(at);
        self.remaining.swap_remove(at);
        let last = self.ranges.len() - n_dimensions;
        self.ranges.copy_within(last.., at * n_dimensions);
        self.ranges.truncate(last);
        self.handles.get(at).copied()
    }
}
