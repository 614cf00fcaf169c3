//! Triggers that stand in no tree: few, or new, or soon gone. (ALGORITHMS 2.6)
//!
//! In: triggers and elements. Out: what an element matures; whether it is time for a tree.
//! Invariants: SC-1 rows keep the order in which triggers came. SC-2 at most half of the rows are of triggers that
//! have gone. Limits: an element costs O(n), a nanosecond for seven triggers of one dimension whose ends lie within 2^32
//! keys of one another; others stand in a plain list and cost ten times as much.

use crate::batch::Batch;
use crate::columns::{Columns, LANES, LEFT_MAX, Row};
use crate::range::Range;

/// Rows between two looks at whether one has matured.
const BLOCK: usize = 512;
/// Says that a trigger stands in the plain list.
const PLAIN: u32 = 1 << 31;
/// Fewer rows than this are closed up at once.
const FEW: usize = 64;
/// Elements before it is first asked whether a tree is due.
const N_FIRST: u32 = 16;
/// A tree is due where the scan is expected to meet more elements than this: building costs so many scans. Ours, measured
/// with 10^5 triggers: 120 ns a trigger to build, 0.15 ns to scan.
const N_WORTH: f64 = 600.0;

/// The triggers.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The key that is place 0; valid while there are rows.
    base: u64,
    rows: Columns,
    /// Rows of triggers, those that have gone among them; then the last vector is filled up.
    n_rows: usize,
    n_buried: usize,
    plain: Batch,
    /// Elements since there are rows, and how many of them before it is asked whether a tree is due.
    n_elements: u32,
    n_asked: u32,
    /// What all rows waited for when they came.
    given: u64,
}

impl Scan {
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.n_rows - self.n_buried + self.plain.len()
    }

    /// Triggers in the plain list.
    pub(crate) const fn n_plain(&self) -> usize {
        self.plain.len()
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.rows.reserve(more);
    }

    /// Takes a trigger; returns where it stands.
    #[inline]
    pub(crate) fn push(&mut self, ranges: &[Range], handle: u32, remaining: u64) -> u32 {
        if let &[range] = ranges {
            if self.n_rows == 0 {
                self.base = range.lo.saturating_sub(1 << 31);
                (self.n_elements, self.n_asked, self.given) = (0, N_FIRST, 0);
            }
            let lo = range.lo.wrapping_sub(self.base);
            let hi = range.hi.wrapping_sub(self.base);
            let fits = lo < hi && hi <= u64::from(u32::MAX) && remaining <= LEFT_MAX;
            if fits && self.n_rows < PLAIN as usize {
                let row = Row::new(lo as u32, hi as u32, remaining, handle);
                if self.n_rows == self.rows.len() {
                    self.rows.grow();
                }
                self.rows.set(self.n_rows, row);
                self.n_rows += 1;
                self.given += remaining;
                return self.n_rows as u32 - 1;
            }
        }
        self.plain.push(ranges, handle, remaining);
        PLAIN | (self.plain.len() as u32 - 1)
    }

    /// Subtracts an element; appends handles of what matures and what was over. Who matured in a row is gone from here,
    /// who matured in the plain list has nothing left until [`Self::remove`].
    #[inline]
    pub(crate) fn add(&mut self, point: &[u64], weight: u64, gone: &mut Vec<(u32, u64)>) {
        if let &[key] = point
            && let Ok(place) = u32::try_from(key.wrapping_sub(self.base))
        {
            self.n_elements = self.n_elements.saturating_add(1);
            let mut from = 0;
            while from < self.rows.len() {
                let to = self.rows.len().min(from + BLOCK);
                if self.rows.subtract(from, to, place, weight) {
                    self.retire(from, to, weight, gone);
                }
                from = to;
            }
        }
        if self.plain.len() > 0 {
            self.add_to_plain(point, weight, gone);
        }
    }

    #[inline(never)]
    fn add_to_plain(&mut self, point: &[u64], weight: u64, gone: &mut Vec<(u32, u64)>) {
        self.plain
            .scan(point, weight, |handle, over| gone.push((handle, over)));
    }

    #[cold]
    fn retire(&mut self, from: usize, to: usize, weight: u64, gone: &mut Vec<(u32, u64)>) {
        for from in (from..to).step_by(LANES) {
            if !self.rows.is_below(from) {
                continue;
            }
            for at in from..from + LANES {
                if let Some(over) = self.rows.over(at, weight) {
                    gone.push((self.rows.who(at), over));
                    self.rows.bury(at);
                    self.n_buried += 1;
                }
            }
        }
    }

    /// What is left of a trigger's threshold.
    pub(crate) fn remaining(&self, at: u32) -> u64 {
        let plain = (at & !PLAIN) as usize;
        if Self::is_plain(at) {
            return self.plain.remaining.get(plain).copied().unwrap_or(0);
        }
        self.rows.row(at as usize).left()
    }

    /// Whether a trigger stands in the plain list.
    #[inline]
    pub(crate) const fn is_plain(at: u32) -> bool {
        at & PLAIN > 0
    }

    /// Takes a trigger back, or who matured in the plain list; tells who has moved where.
    pub(crate) fn remove(&mut self, at: u32, mut moved: impl FnMut(u32, u32)) {
        if Self::is_plain(at) {
            let at = at & !PLAIN;
            if let Some(handle) = self.plain.remove(at as usize) {
                moved(handle, at | PLAIN);
            }
            return;
        }
        self.given -= self.rows.row(at as usize).left();
        self.rows.bury(at as usize);
        self.n_buried += 1;
    }

    /// Closes the rows up where half of them are of nobody, or any of a few; tells who has moved where. O(1) for each that has gone.
    #[inline]
    pub(crate) fn close_up(&mut self, moved: impl FnMut(u32, u32)) {
        if self.n_buried * 2 > self.n_rows || self.n_rows < FEW {
            self.move_up(moved);
        }
    }

    fn move_up(&mut self, mut moved: impl FnMut(u32, u32)) {
        let mut n = 0;
        for at in 0..self.n_rows {
            if !self.rows.is_buried(at) {
                let row = self.rows.row(at);
                self.rows.set(n, row);
                moved(row.who, n as u32);
                n += 1;
            }
        }
        self.rows.truncate(n);
        (self.n_rows, self.n_buried) = (n, 0);
    }

    /// Whether a tree costs less than to go on: asked seldom, because it looks at all rows. What has come so far tells
    /// how many elements the rest will take.
    #[inline]
    pub(crate) fn is_long(&mut self) -> bool {
        self.n_elements >= self.n_asked && self.will_be_long()
    }

    #[cold]
    fn will_be_long(&mut self) -> bool {
        self.n_asked = self.n_elements.saturating_mul(2);
        // Rows of nobody have one left each.
        let n_of_nobody = self.rows.len() - self.n_rows + self.n_buried;
        let left = (self.rows.left() - n_of_nobody as u64) as f64;
        let got = self.given as f64 - left;
        f64::from(self.n_elements) * left > N_WORTH * got
    }

    /// Appends all triggers, in the order in which they came, and begins anew.
    pub(crate) fn unload(&mut self, batch: &mut Batch) {
        let rows = std::mem::take(&mut self.rows);
        for at in 0..self.n_rows {
            if !rows.is_buried(at) {
                let row = rows.row(at);
                let (lo, hi) = row.ends();
                let (lo, hi) = (self.base + u64::from(lo), self.base + u64::from(hi));
                batch.push(&[Range { lo, hi }], row.who, row.left());
            }
        }
        batch.append(std::mem::take(&mut self.plain));
        (self.n_rows, self.n_buried) = (0, 0);
    }
}
