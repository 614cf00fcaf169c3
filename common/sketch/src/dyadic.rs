//! Ranges: of time for an item, and of values with counts that fade, by tables of blocks of powers of two. (step 8)
//!
//! In: [`DyadicTime`]: items with ticks; [`DyadicValues`]: values below 2^bits with ticks. Out: how often an item came at
//! ticks from..=to; how much lies in a range of values, faded; faded quantiles; the finest heavy ranges.
//! Invariants: DY-1 a range is covered by at most 2·log2 blocks, and its estimate is never below the truth; errors add up.
//! DY-2 a block of ticks weighs as its first tick does, in every update and answer: one division can then undo it.
//! DY-3 levels of values with no more keys than a row has cells are exact.
//! Limits: (levels)·w·d cells. Source: Cormode, Muthukrishnan: Count-Min, J. Algorithms 55, 2005, §4.2–4.3 (dyadic ranges,
//! quantiles); Shrivastava, König, Bilenko: SIGMOD 2016, §5.5 (ranges of time); heavy ranges: Cormode et al.,
//! Hierarchical Heavy Hitters, VLDB 2003, §3 (discounted by heavy descendants).

use std::ops::Range;

use crate::adaptive::{Real, Weighted};
use crate::shape::{MergeError, ParamError, Shape, cell_key};
use crate::weighting::{Scale, Weighting};

/// Blocks of up to 2^32 ticks.
const TIME_LEVELS_MAX: u32 = 32;
/// Domain of values: up to 2^48.
const BITS_MAX: u32 = 48;
/// Below this share of everything a range is not called heavy; it bounds the search.
const SHARE_MIN: f64 = 0.001;

/// Walks `from..=to` as blocks (level, number), the largest first that fit; levels below `n_levels`.
fn cover(mut from: u64, to: u64, n_levels: u32, mut take: impl FnMut(u32, u64)) {
    while from <= to {
        let rest = to - from;
        let fits = if rest == u64::MAX {
            63
        } else {
            (rest + 1).ilog2()
        };
        let level = from.trailing_zeros().min(fits).min(n_levels - 1);
        take(level, from >> level);
        let Some(next) = from.checked_add(1 << level) else {
            return;
        };
        from = next;
    }
}

/// How often an item came in a range of ticks.
#[derive(Debug, Clone)]
pub struct DyadicTime<R = f64> {
    levels: Vec<Weighted<R>>,
    /// First and last tick seen.
    seen: Option<(u64, u64)>,
}

impl<R: Real> DyadicTime<R> {
    /// Blocks of 1, 2, 4, … 2^(`n_levels` − 1) ticks, a table of `shape` each.
    ///
    /// # Errors
    /// [`ParamError::Size`] unless 1 to 33 levels, [`ParamError::Growth`] for a weighting that falls or is not finite.
    pub fn new(
        shape: Shape,
        n_levels: u32,
        weighting: Weighting,
        t0: u64,
    ) -> Result<Self, ParamError> {
        if n_levels == 0 || n_levels > TIME_LEVELS_MAX + 1 {
            return Err(ParamError::Size);
        }
        let levels = (0..n_levels).map(|_| Weighted::new(shape, weighting, t0));
        Ok(Self {
            levels: levels.collect::<Result<_, _>>()?,
            seen: None,
        })
    }

    /// Counts `item`, `count` times at `tick`. O(levels·d).
    pub fn add(&mut self, item: u64, tick: u64, count: f64) {
        self.seen = self.seen.map_or(Some((tick, tick)), |(a, b)| {
            Some((a.min(tick), b.max(tick)))
        });
        for (level, table) in self.levels.iter_mut().enumerate() {
            let block = tick >> level;
            table.add(cell_key(item, block), block << level, count);
        }
    }

    /// How often `item` came at ticks `from..=to`, at most. O(d·log of the range).
    #[must_use]
    pub fn estimate_range(&self, item: u64, from: u64, to: u64) -> f64 {
        self.over(from, to, |table, level, block| {
            table.estimate(cell_key(item, block), block << level)
        })
    }

    /// By how much that exceeds the truth at most, each of the ranges' blocks but for one time in e^d.
    #[must_use]
    pub fn error_bound(&self, from: u64, to: u64) -> f64 {
        self.over(from, to, |table, level, block| {
            table.error_bound(block << level)
        })
    }

    /// Memory of the cells.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(Weighted::bytes).sum()
    }

    /// Adds all that `other` has counted. O(levels·w·d).
    ///
    /// # Errors
    /// [`MergeError`] unless levels, shape, seed, weighting and t0 are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.levels.len() != other.levels.len() {
            return Err(MergeError::Shape);
        }
        for (mine, theirs) in self.levels.iter_mut().zip(&other.levels) {
            mine.merge(theirs)?;
        }
        if let Some((a, b)) = other.seen {
            self.seen = self
                .seen
                .map_or(Some((a, b)), |(c, d)| Some((a.min(c), b.max(d))));
        }
        Ok(())
    }

    /// Sums over the blocks of what was seen of `from..=to`.
    fn over(&self, from: u64, to: u64, answer: impl Fn(&Weighted<R>, u32, u64) -> f64) -> f64 {
        let Some((first, last)) = self.seen else {
            return 0.0;
        };
        let mut sum = 0.0;
        cover(
            from.max(first),
            to.min(last),
            self.levels.len() as u32,
            |level, block| {
                if let Some(table) = self.levels.get(level as usize) {
                    sum += answer(table, level, block);
                }
            },
        );
        sum
    }
}

/// Faded counts over ranges of values, e.g. latencies in microseconds.
#[derive(Debug, Clone)]
pub struct DyadicValues<R = f64> {
    bits: u32,
    shape: Shape,
    /// Level l holds blocks of 2^l values: the lower levels as tables …
    tables: Vec<Weighted<R>>,
    /// … and from level `tables.len()` up to `bits` exactly, in the units of `scale`.
    exact: Vec<Vec<f64>>,
    scale: Scale,
    n_clamped: u64,
}

/// A range of values and how much lies in it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeavyRange {
    /// The values.
    pub values: Range<u64>,
    /// Faded count, at most.
    pub count: f64,
}

impl<R: Real> DyadicValues<R> {
    /// For values below 2^`bits`; levels of more than `shape.width()` blocks take a table each.
    ///
    /// # Errors
    /// [`ParamError::Size`] unless 1 to 48 bits, [`ParamError::Growth`] for a weighting that falls or is not finite.
    pub fn new(shape: Shape, bits: u32, weighting: Weighting, t0: u64) -> Result<Self, ParamError> {
        if bits == 0 || bits > BITS_MAX {
            return Err(ParamError::Size);
        }
        let n_tables = bits.saturating_sub(shape.width_log2);
        let tables = (0..n_tables).map(|_| Weighted::new(shape, weighting, t0));
        Ok(Self {
            bits,
            shape,
            tables: tables.collect::<Result<_, _>>()?,
            exact: (n_tables..=bits)
                .map(|level| vec![0.0; 1 << (bits - level)])
                .collect(),
            scale: Scale::new(weighting, t0, f64::GAP_MAX)?,
            n_clamped: 0,
        })
    }

    /// Counts `value`, `count` times at `tick`; what is beyond the domain counts as its last value. O(bits·d).
    pub fn add(&mut self, value: u64, tick: u64, count: f64) {
        if !(count > 0.0 && count.is_finite()) {
            return;
        }
        let last = (1 << self.bits) - 1;
        self.n_clamped += u64::from(value > last);
        let value = value.min(last);
        for (level, table) in self.tables.iter_mut().enumerate() {
            table.add(value >> level, tick, count);
        }
        let (unit, factor) = self.scale.unit(tick);
        if let Some(factor) = factor {
            self.times(factor);
        }
        for (i, level) in self.exact.iter_mut().enumerate() {
            if let Some(cell) = level.get_mut((value >> (self.tables.len() + i)) as usize) {
                *cell += count * unit;
            }
        }
    }

    /// The faded count of everything as of `now`.
    #[must_use]
    pub fn total(&self, now: u64) -> f64 {
        self.block(self.bits, 0, now)
    }

    /// The faded count of `values` (half-open) as of `now`, at most. O(d·bits).
    #[must_use]
    pub fn range(&self, values: Range<u64>, now: u64) -> f64 {
        let end = values.end.min(1 << self.bits);
        let Some(last) = end.checked_sub(1) else {
            return 0.0;
        };
        let mut sum = 0.0;
        cover(values.start, last, self.bits + 1, |level, block| {
            sum += self.block(level, block, now)
        });
        sum
    }

    /// The value below or at which a share `q` of the faded count lies; `None` when empty. `q` is clamped to [0, 1].
    /// O(d·bits). What both halves of a block have too much is taken from both alike.
    #[must_use]
    pub fn quantile(&self, q: f64, now: u64) -> Option<u64> {
        let mut whole = self.total(now);
        if whole <= 0.0 || !whole.is_finite() {
            return None;
        }
        let mut rank = q.clamp(0.0, 1.0) * whole;
        let mut block = 0;
        for level in (0..self.bits).rev() {
            let (left, right) = (
                self.block(level, block * 2, now),
                self.block(level, block * 2 + 1, now),
            );
            let left = (left - (left + right - whole) / 2.0).clamp(0.0, whole);
            // At the very end the right half may be empty.
            if rank < left || whole - left <= whole * 1e-12 {
                (block, whole) = (block * 2, left);
            } else {
                (block, whole) = (block * 2 + 1, whole - left);
                rank -= left;
            }
        }
        Some(block)
    }

    /// The finest ranges that hold at least `share` of everything beside the heavy ranges within them; by value. `share` is at
    /// least 0.001. O(d·bits/share).
    #[must_use]
    pub fn heavy_ranges(&self, share: f64, now: u64) -> Vec<HeavyRange> {
        let mut found = Vec::new();
        let total = self.total(now);
        if total > 0.0 && total.is_finite() {
            self.visit(self.bits, 0, share.max(SHARE_MIN) * total, now, &mut found);
        }
        found.sort_by_key(|one| (one.values.start, one.values.end));
        found
    }

    /// Values beyond the domain.
    #[must_use]
    pub const fn n_clamped(&self) -> u64 {
        self.n_clamped
    }

    /// Memory of cells and exact levels.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let exact = self
            .exact
            .iter()
            .map(|level| level.len() * size_of::<f64>());
        exact.sum::<usize>() + self.tables.iter().map(Weighted::bytes).sum::<usize>()
    }

    /// Adds all that `other` has counted. O(cells).
    ///
    /// # Errors
    /// [`MergeError`] unless domain, shape, seed, weighting and t0 are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        self.shape.must_equal(other.shape)?;
        self.scale.must_match(&other.scale)?;
        if self.bits != other.bits {
            return Err(MergeError::Shape);
        }
        for (mine, theirs) in self.tables.iter_mut().zip(&other.tables) {
            mine.merge(theirs)?;
        }
        let factor = self.scale.raise(other.scale.exponent);
        self.times(factor);
        let factor = other.scale.clone().raise(self.scale.exponent);
        for (mine, theirs) in self.exact.iter_mut().zip(&other.exact) {
            for (cell, more) in mine.iter_mut().zip(theirs) {
                *cell += more * factor;
            }
        }
        self.n_clamped = self.n_clamped.saturating_add(other.n_clamped);
        Ok(())
    }

    fn block(&self, level: u32, block: u64, now: u64) -> f64 {
        if let Some(table) = self.tables.get(level as usize) {
            return table.estimate(block, now);
        }
        let cells = self.exact.get(level as usize - self.tables.len());
        let raw = cells.and_then(|cells| cells.get(block as usize));
        self.scale.divided(raw.copied().unwrap_or(0.0), now)
    }

    /// Returns how much of the block the heavy ranges found in it hold. Depth ≤ bits.
    fn visit(
        &self,
        level: u32,
        block: u64,
        least: f64,
        now: u64,
        found: &mut Vec<HeavyRange>,
    ) -> f64 {
        let count = self.block(level, block, now);
        if count < least {
            return 0.0;
        }
        let mut within = 0.0;
        if level > 0 {
            within = self.visit(level - 1, block * 2, least, now, found)
                + self.visit(level - 1, block * 2 + 1, least, now, found);
        }
        if count - within < least {
            return within;
        }
        found.push(HeavyRange {
            values: block << level..(block + 1) << level,
            count,
        });
        count
    }

    #[cold]
    fn times(&mut self, factor: f64) {
        self.exact
            .iter_mut()
            .flatten()
            .for_each(|cell| *cell *= factor);
    }
}

#[cfg(test)]
#[path = "dyadic_tests.rs"]
mod tests;
