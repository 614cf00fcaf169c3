//! Hokusai item aggregation: one count-min a tick, folded as it ages: the baseline of the time-adaptive sketch. (step 8)
//!
//! In: items of the tick under way. Out: how often an item came at a past tick, never too low.
//! Invariants: HK-1 the table of a tick of age δ ≥ 1 has the width w / 2^⌊log2 δ⌋ (at least 1) and equals a table that had
//! counted the tick in that width. Limits: ticks older than the span are dropped; w·d·(⌊log2 T⌋ + 2) cells: each octave of
//! ages costs one full table, so do the tick under way and the newest past one. Known defect: accuracy jumps at octave borders.
//! Source: Matusevych, Smola, Ahmed: Hokusai, UAI 2012, §3.2 (algorithm 3). Does not: aggregate in time or interpolate
//! (§3.1, §3.3).

use std::collections::VecDeque;

use crate::count_min::{Cell, CountMin};
use crate::shape::{Layout, MergeError, ParamError, Shape};

/// Count-min tables of the last ticks, the older the narrower.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemAggregation<C: Cell> {
    shape: Shape,
    n_ticks_max: usize,
    /// The tick under way.
    tick: u64,
    /// By age.
    tables: VecDeque<CountMin<C>>,
}

impl<C: Cell> ItemAggregation<C> {
    /// An empty one for `n_ticks_max` ticks, the one under way among them.
    ///
    /// # Errors
    /// [`ParamError::Span`] for no ticks or more than 2^20, [`ParamError::LineDepth`] for a layout that cannot be folded.
    pub fn new(shape: Shape, n_ticks_max: usize) -> Result<Self, ParamError> {
        if n_ticks_max == 0 || n_ticks_max > 1 << 20 {
            return Err(ParamError::Span);
        }
        if shape.layout == Layout::Lines {
            return Err(ParamError::LineDepth);
        }
        Ok(Self {
            shape,
            n_ticks_max,
            tick: 0,
            tables: VecDeque::from([CountMin::new(shape)]),
        })
    }

    /// The widest whose tables, once all `n_ticks_max` ticks have been, take at most `bytes`. O(`n_ticks_max` · log).
    ///
    /// # Errors
    /// [`ParamError::Width`] where not one cell a row fits, and as [`Self::new`].
    pub fn for_bytes(
        bytes: usize,
        depth: u32,
        seed: u64,
        n_ticks_max: usize,
    ) -> Result<Self, ParamError> {
        let mut width_log2 = Shape::for_bytes(bytes, C::BYTES, depth, seed)?.width_log2;
        loop {
            let one = Self::new(Shape::new(1 << width_log2, depth, seed)?, n_ticks_max)?;
            if one.bytes_max() <= bytes {
                return Ok(one);
            }
            width_log2 = width_log2.checked_sub(1).ok_or(ParamError::Width)?;
        }
    }

    /// Counts `item` in the tick under way. O(d).
    #[inline]
    pub fn add(&mut self, item: u64, by: C) {
        if let Some(table) = self.tables.front_mut() {
            table.add(item, by);
        }
    }

    /// Begins the next tick. O(w·d) amortised: a table of width w/2^k is folded once in 2^k ticks.
    pub fn turn(&mut self) {
        self.tick += 1;
        self.tables.truncate(self.n_ticks_max - 1);
        self.tables.push_front(CountMin::new(self.shape));
        // Age 1 keeps its width; at 2, 4, 8, … a table is folded.
        let mut age = 2;
        while let Some(table) = self.tables.get_mut(age) {
            table.fold();
            age *= 2;
        }
    }

    /// The number of the tick under way.
    #[must_use]
    pub const fn tick(&self) -> u64 {
        self.tick
    }

    /// How often `item` came at `tick`, at most; `None` for what is dropped or to come. O(d).
    #[must_use]
    pub fn estimate(&self, item: u64, tick: u64) -> Option<C> {
        let age = usize::try_from(self.tick.checked_sub(tick)?).ok()?;
        Some(self.tables.get(age)?.estimate(item))
    }

    /// Memory of the cells now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(CountMin::bytes).sum()
    }

    /// Memory of the cells once all ticks have been.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let width = |age: usize| (self.shape.width() >> age.max(1).ilog2()).max(1);
        let n_columns: usize = (0..self.n_ticks_max).map(width).sum();
        n_columns * self.shape.depth as usize * C::BYTES
    }

    /// Adds all that `other`, at the same tick, has counted. O(cells).
    ///
    /// # Errors
    /// [`MergeError`] unless shape, seed, span and tick are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.shape.must_equal(other.shape)?;
        if self.n_ticks_max != other.n_ticks_max {
            return Err(MergeError::Shape);
        }
        if self.tick != other.tick || self.tables.len() != other.tables.len() {
            return Err(MergeError::Epoch);
        }
        for (mine, theirs) in self.tables.iter_mut().zip(&other.tables) {
            mine.merge(theirs)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(width: usize) -> Shape {
        Shape::new(width, 3, 9).unwrap()
    }

    fn of(ticks: &[Vec<u64>], width: usize, n_ticks_max: usize) -> ItemAggregation<u64> {
        let mut all = ItemAggregation::new(shape(width), n_ticks_max).unwrap();
        for (i, items) in ticks.iter().enumerate() {
            if i > 0 {
                all.turn();
            }
            items.iter().for_each(|item| all.add(*item, 1));
        }
        all
    }

    #[test]
    fn widths_halve_at_each_octave_and_memory_is_one_table_an_octave() {
        let all = of(&vec![vec![1]; 64], 256, 64);
        let widths: Vec<usize> = all.tables.iter().map(|t| t.shape().width()).collect();
        assert_eq!(widths[..9], [256, 256, 128, 128, 64, 64, 64, 64, 32]);
        assert_eq!(widths[63], 8);
        assert!(all.bytes() <= 256 * 3 * 8 * (6 + 2));
        assert_eq!(all.estimate(1, 64), None);
        assert_eq!(of(&vec![vec![1]; 70], 256, 64).estimate(1, 5), None);
    }

    #[test]
    fn a_size_in_bytes_is_kept_and_wrong_ones_are_refused() {
        let mut all = ItemAggregation::<u32>::for_bytes(65_536, 4, 1, 100).unwrap();
        for _ in 0..1_000 {
            all.turn();
            assert!(all.bytes() <= all.bytes_max());
        }
        assert!(all.bytes() == all.bytes_max() && (32_768..=65_536).contains(&all.bytes()));
        assert!(ItemAggregation::<u32>::for_bytes(10, 4, 1, 100).is_err());
        assert!(ItemAggregation::<u32>::new(shape(8), 0).is_err());
    }

    #[test]
    fn only_equal_spans_at_the_same_tick_merge() {
        let mut all = of(&[vec![1], vec![2]], 16, 8);
        assert_eq!(all.merge(&of(&[vec![1]], 16, 8)), Err(MergeError::Epoch));
        assert_eq!(
            all.merge(&of(&[vec![1], vec![]], 16, 9)),
            Err(MergeError::Shape)
        );
        all.merge(&of(&[vec![1], vec![]], 16, 8)).unwrap();
        assert_eq!(all.estimate(1, 0), Some(2));
    }

    proptest! {
        #[test]
        fn prop_a_folded_tick_equals_one_counted_in_its_width(
            ticks in proptest::collection::vec(proptest::collection::vec(0..100_u64, 0..30), 1..40),
        ) {
            let all = of(&ticks, 64, 64);
            for (age, items) in ticks.iter().rev().enumerate() {
                let width = 64 >> age.max(1).ilog2();
                let mut direct = CountMin::new(shape(width));
                items.iter().for_each(|item| direct.add(*item, 1));
                prop_assert_eq!(&all.tables[age], &direct);
                let tick = (ticks.len() - 1 - age) as u64;
                for item in items {
                    let truth = items.iter().filter(|one| *one == item).count() as u64;
                    prop_assert!(all.estimate(*item, tick).unwrap() >= truth);
                }
            }
        }
    }
}
