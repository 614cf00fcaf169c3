//! Count-min: how often a key came, never too low. (step 3)
//!
//! In: keys with counts. Out: estimates, truth ≤ estimate; P\[estimate > truth + e·N/w\] ≤ e^−d in [`Layout::Rows`].
//! Invariants: CM-1 merging equals having counted everything in one table, bit for bit for whole numbers. CM-2 an estimate
//! is never below the truth while no cell has saturated. Limits: w·d cells, allocated once; integers saturate.
//! Source: Cormode, Muthukrishnan: Count-Min, J. Algorithms 55, 2005, §3–4.1. Does not: update conservatively (that
//! lowers the error but is not linear, hence neither merges nor folds).

use crate::shape::{LINE_CELLS, Layout, MergeError, Shape};

/// Tables up to this size are near: a key's cells are in some cache. Ours, measured: the second cache of the usual server core.
const NEAR_BYTES: usize = 1 << 24;
/// Keys sorted at a time for a table that is not: enough that several meet in a page of 2^22 cells.
const FAR_BLOCK: usize = 1 << 16;
/// Parts of a row that keys are sorted into.
const PARTS_LOG2: u32 = 8;
const PARTS_MASK: usize = (1 << PARTS_LOG2) - 1;

/// A number that cells can hold.
pub trait Cell: Copy + Default + PartialOrd + std::fmt::Debug + sealed::Sealed {
    /// Its size in memory.
    const BYTES: usize = size_of::<Self>();
    /// The sum, never below the true one by more than rounding; whole numbers saturate.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The sum of `n` such numbers; whole numbers saturate.
    #[must_use]
    fn times(self, n: usize) -> Self;
    /// Whether sums up to this one are exact without saturation.
    #[must_use]
    fn is_free(self) -> bool;
    /// The sum where it is known to fit ([`Self::is_free`]); as [`Self::plus`] for floats.
    #[must_use]
    fn plus_free(self, other: Self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Cell for u32 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    #[inline]
    fn times(self, n: usize) -> Self {
        self.saturating_mul(n.min(Self::MAX as usize) as Self)
    }

    #[inline]
    fn is_free(self) -> bool {
        self < Self::MAX
    }

    #[inline]
    fn plus_free(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Cell for u64 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }

    #[inline]
    fn times(self, n: usize) -> Self {
        self.saturating_mul(n.min(Self::MAX as usize) as Self)
    }

    #[inline]
    fn is_free(self) -> bool {
        self < Self::MAX
    }

    #[inline]
    fn plus_free(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Cell for f64 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline]
    fn times(self, _: usize) -> Self {
        0.0
    }

    #[inline]
    fn is_free(self) -> bool {
        true
    }

    #[inline]
    fn plus_free(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl Cell for f32 {
    /// Rounds up: 24 bits would otherwise swallow small counts in a full cell, and an estimate could fall below the truth.
    #[inline]
    fn plus(self, other: Self) -> Self {
        let exact = f64::from(self) + f64::from(other);
        let sum = exact as Self;
        if f64::from(sum) < exact {
            sum.next_up()
        } else {
            sum
        }
    }

    #[inline]
    fn times(self, _: usize) -> Self {
        0.0
    }

    #[inline]
    fn is_free(self) -> bool {
        true
    }

    #[inline]
    fn plus_free(self, other: Self) -> Self {
        self.plus(other)
    }
}

/// A count-min table.
#[derive(Debug, Clone)]
pub struct CountMin<C> {
    shape: Shape,
    /// Cells before `start` are padding, so that lines of the one-line layout are lines of the cache.
    start: usize,
    cells: Vec<C>,
    /// No cell of whole numbers holds more.
    most: C,
}

impl<C: Cell> PartialEq for CountMin<C> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.cells() == other.cells()
    }
}

impl<C: Cell> CountMin<C> {
    /// An empty table.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let padding = if shape.layout == Layout::Lines {
            LINE_CELLS * 2
        } else {
            0
        };
        let cells = vec![C::default(); shape.n_cells() + padding];
        let start = cells.as_ptr().align_offset(64).min(padding);
        Self {
            shape,
            start,
            cells,
            most: C::default(),
        }
    }

    /// Its shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Memory of the cells.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.shape.n_cells() * C::BYTES
    }

    /// Counts `key`, `by` times. O(d), one hash.
    #[inline]
    pub fn add(&mut self, key: u64, by: C) {
        self.most = self.most.plus(by.times(1));
        // The usual depth is unrolled.
        match (self.shape.layout, self.shape.depth) {
            (Layout::Rows, 4) => self.add_rows::<4>(key, by),
            (Layout::Lines, 4) => self.add_line::<4>(key, by),
            (Layout::Rows, _) => {
                let (shape, walk) = (self.shape, self.shape.walk(key));
                for row in 0..shape.depth {
                    let cell = &mut self.cells[shape.in_row(walk, row)];
                    *cell = cell.plus(by);
                }
            }
            (Layout::Lines, 2) => self.add_line::<2>(key, by),
            (Layout::Lines, _) => self.add_line::<1>(key, by),
        }
    }

    /// Counts each of `keys`, `by` times: as [`Self::add`] one after the other, but a row at a time, so that many cells are on
    /// their way from memory at once. O(n·d), one hash a key.
    pub fn add_all(&mut self, keys: &[u64], by: C) {
        self.most = self.most.plus(by.times(keys.len()));
        let is_free = self.most.is_free();
        let is_far = self.bytes() > NEAR_BYTES && keys.len() >= FAR_BLOCK / 4;
        match (self.shape.layout, self.shape.depth) {
            (Layout::Rows, _) if is_free && is_far => self.add_all_far(keys, by),
            (Layout::Rows, 4) if is_free => self.add_all_near::<4>(keys, by),
            _ => keys.iter().for_each(|&key| self.add(key, by)),
        }
    }

    /// For tables within the caches: without a branch. By itself, so that all it needs stays in registers.
    #[inline(never)]
    fn add_all_near<const DEPTH: usize>(&mut self, keys: &[u64], by: C) {
        let shape = self.shape;
        let mask = shape.width() - 1;
        let mut rest = self.cells.as_mut_slice();
        let mut rows: [&mut [C]; DEPTH] = std::array::from_fn(|_| {
            let (row, after) = std::mem::take(&mut rest).split_at_mut(mask + 1);
            rest = after;
            row
        });
        for &key in keys {
            let walk = shape.walk(key);
            for (row, cells) in (0..).zip(&mut rows) {
                // The length is known to be one more than the mask.
                let cell = &mut cells[..=mask][walk.column(row) & mask];
                *cell = cell.plus_free(by);
            }
        }
    }

    /// For tables beyond the caches: keys are sorted by where in a row they go, so that those of the same few pages follow
    /// one another.
    #[inline(never)]
    fn add_all_far(&mut self, keys: &[u64], by: C) {
        let shape = self.shape;
        let shift = shape.width_log2.saturating_sub(PARTS_LOG2);
        let mut walks = Vec::with_capacity(keys.len().min(FAR_BLOCK));
        let mut columns = vec![0_u32; keys.len().min(FAR_BLOCK)];
        for keys in keys.chunks(FAR_BLOCK) {
            walks.clear();
            walks.extend(keys.iter().map(|&key| shape.walk(key)));
            let columns = &mut columns[..keys.len()];
            for (row, cells) in (0..shape.depth).zip(self.cells.chunks_exact_mut(shape.width())) {
                let mut next = [0_u32; 1 << PARTS_LOG2];
                for &walk in &walks {
                    next[(shape.column(walk, row) >> shift) & PARTS_MASK] += 1;
                }
                let mut start = 0;
                for next in &mut next {
                    (*next, start) = (start, start + *next);
                }
                for &walk in &walks {
                    let column = shape.column(walk, row);
                    let next = &mut next[(column >> shift) & PARTS_MASK];
                    columns[*next as usize] = column as u32;
                    *next += 1;
                }
                for &column in &*columns {
                    let cell = &mut cells[column as usize];
                    *cell = cell.plus_free(by);
                }
            }
        }
    }

    #[inline]
    fn add_rows<const DEPTH: u32>(&mut self, key: u64, by: C) {
        let (shape, walk) = (self.shape, self.shape.walk(key));
        let cells = self.cells.as_mut_slice();
        for row in 0..DEPTH {
            let cell = &mut cells[shape.in_row(walk, row)];
            *cell = cell.plus(by);
        }
    }

    #[inline]
    fn add_line<const DEPTH: u32>(&mut self, key: u64, by: C) {
        let shape = Shape {
            depth: DEPTH,
            ..self.shape
        };
        let walk = shape.walk(key);
        let first = self.start + shape.line(walk);
        if let Some(line) = self.cells[first..].first_chunk_mut::<LINE_CELLS>() {
            for row in 0..DEPTH {
                let cell = &mut line[shape.in_one_line(walk, row)];
                *cell = cell.plus(by);
            }
        }
    }

    /// How often `key` came at most. O(d), one hash.
    #[inline]
    #[must_use]
    pub fn estimate(&self, key: u64) -> C {
        let (shape, walk) = (self.shape, self.shape.walk(key));
        let cells = self.cells();
        let at = |row| match shape.layout {
            Layout::Rows => cells[shape.in_row(walk, row)],
            Layout::Lines => cells[shape.in_line(walk, row)],
        };
        (1..shape.depth).fold(at(0), |least, row| {
            let cell = at(row);
            if cell < least { cell } else { least }
        })
    }

    /// Adds all that `other` has counted. O(w·d).
    ///
    /// # Errors
    /// [`MergeError`] unless shapes and seeds are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.shape.must_equal(other.shape)?;
        for (cell, more) in self.cells_mut().iter_mut().zip(other.cells()) {
            *cell = cell.plus(*more);
        }
        self.most = self.most.plus(other.most);
        Ok(())
    }

    /// Becomes the table of half the width that would have counted the same; stays as it is where it is one cell wide or lies
    /// in lines. O(w·d).
    pub fn fold(&mut self) {
        if self.shape.width_log2 == 0 || self.shape.layout == Layout::Lines {
            return;
        }
        let half = self.shape.width() / 2;
        let mut cells = Vec::with_capacity(half * self.shape.depth as usize);
        for row in self.cells().chunks_exact(half * 2) {
            let (low, high) = row.split_at(half);
            cells.extend(low.iter().zip(high).map(|(low, high)| low.plus(*high)));
        }
        self.shape.width_log2 -= 1;
        self.most = self.most.plus(self.most);
        (self.start, self.cells) = (0, cells);
    }

    /// Row after row, or line after line.
    pub(crate) fn cells(&self) -> &[C] {
        &self.cells[self.start..self.start + self.shape.n_cells()]
    }

    pub(crate) fn cells_mut(&mut self) -> &mut [C] {
        let end = self.start + self.shape.n_cells();
        &mut self.cells[self.start..end]
    }
}

#[cfg(test)]
#[path = "count_min_tests.rs"]
pub(crate) mod tests;
