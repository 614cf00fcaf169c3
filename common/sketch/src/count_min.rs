//! Count-min: how often a key came, never too low. (step 3)
//!
//! In: keys with counts. Out: estimates, truth ≤ estimate; P\[estimate > truth + e·N/w\] ≤ e^−d in [`Layout::Rows`].
//! Invariants: CM-1 merging equals having counted everything in one table, bit for bit for whole numbers. CM-2 an estimate
//! is never below the truth while no cell has saturated. Limits: w·d cells, allocated once; integers saturate.
//! Source: Cormode, Muthukrishnan: Count-Min, J. Algorithms 55, 2005, §3–4.1. Does not: update conservatively (that
//! lowers the error but is not linear, hence neither merges nor folds).

use crate::shape::{LINE_CELLS, Layout, MergeError, Shape};

/// A number that cells can hold.
pub trait Cell: Copy + Default + PartialOrd + std::fmt::Debug + sealed::Sealed {
    /// Its size in memory.
    const BYTES: usize = size_of::<Self>();
    /// The sum, never below the true one by more than rounding; whole numbers saturate.
    #[must_use]
    fn plus(self, other: Self) -> Self;
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
}

impl Cell for u64 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl Cell for f64 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
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
}

/// A count-min table.
#[derive(Debug, Clone)]
pub struct CountMin<C> {
    shape: Shape,
    /// Cells before `start` are padding, so that lines of the one-line layout are lines of the cache.
    start: usize,
    cells: Vec<C>,
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
