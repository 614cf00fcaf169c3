//! What is hot now: the heaviest items by faded counts, bounded, mergeable over shards and over windows. (steps 3, 8)
//!
//! In: items with a tick and a count. Out: the top items with counts that are never too low.
//! Invariants: HH-1 at most twice `n_max` candidates are kept, and an item is kept unless `n_max` others seemed heavier.
//! HH-2 candidates' scores are not normalised (in units of a common 2^K), so that time alone never reorders them: nothing
//! ages. HH-3 merging needs equal parameters, and a merged count is never below the truth. HH-4 decoding any bytes never
//! panics (see `heavy_wire`). HH-5 until the list was first cut it is exact counting. Limits: w·d cells and 2·`n_max` candidates.
//! Source: Cormode, Muthukrishnan: Count-Min, J. Algorithms 55, 2005, §5.2 (heap of candidates); Cormode, Shkapenyuk,
//! Srivastava, Xu: Forward Decay, ICDE 2009, §4.2.

use std::collections::BTreeMap;

use crate::adaptive::DecayedSketch;
use crate::shape::{MergeError, ParamError, Shape};
use crate::weighting::Weighting;

/// Candidates a sketch may have; beyond it the list would outweigh the cells.
pub(crate) const CANDIDATES_MAX: usize = 1 << 16;

/// An item and how often it came, faded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The item.
    pub key: u64,
    /// Faded count, at most.
    pub count: f64,
}

/// Decayed heavy hitters. See the module's header.
#[derive(Debug, Clone)]
pub struct HeavyHitters {
    pub(crate) sketch: DecayedSketch<f64>,
    pub(crate) n_max: usize,
    /// Item → least cell when it last came, in units of 2^K: nothing has come since, so it still bounds the truth.
    pub(crate) candidates: BTreeMap<u64, f64>,
    /// Whoever scored less when candidates were last cut is not kept.
    pub(crate) floor: f64,
}

impl HeavyHitters {
    /// An empty one that answers the top `n_max`; ticks count from `t0`.
    ///
    /// # Errors
    /// [`ParamError::Size`] unless 1 to 65,536 items, [`ParamError::Growth`] for a weighting that falls or is not finite.
    pub fn new(
        shape: Shape,
        weighting: Weighting,
        t0: u64,
        n_max: usize,
    ) -> Result<Self, ParamError> {
        if n_max == 0 || n_max > CANDIDATES_MAX {
            return Err(ParamError::Size);
        }
        Ok(Self {
            sketch: DecayedSketch::new(shape, weighting, t0)?,
            n_max,
            candidates: BTreeMap::new(),
            floor: 0.0,
        })
    }

    /// Counts `key`, `count` times at `tick`; ticks may come in any order. O(d + log `n_max`) amortised.
    pub fn add(&mut self, key: u64, tick: u64, count: f64) {
        if !(count > 0.0 && count.is_finite()) {
            return;
        }
        let unit = self.unit(tick);
        self.sketch.add(key, tick, count);
        let (raw, before) = (self.sketch.table().raw(key), self.known(key));
        // What is remembered of the item and what came now; its cells may hold more of others.
        let own = before.map_or(raw, |before| raw.min(before + count * unit));
        if own > self.floor {
            self.candidates.insert(key, own);
            if self.candidates.len() >= self.n_max * 2 {
                self.cut();
            }
        }
    }

    /// The `n` heaviest as of `now`, the heaviest first, ties by key. O(`n_max` · log).
    #[must_use]
    pub fn top(&self, n: usize, now: u64) -> Vec<Hit> {
        let scale = self.sketch.table().scale();
        let mut all: Vec<(u64, f64)> = self
            .candidates
            .iter()
            .map(|(key, raw)| (*key, *raw))
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(n.min(self.n_max));
        all.iter()
            .map(|(key, raw)| Hit {
                key: *key,
                count: scale.divided(*raw, now),
            })
            .collect()
    }

    /// Every item that is kept, by key, with its faded count as of `now`.
    pub fn items(&self, now: u64) -> impl Iterator<Item = Hit> {
        let scale = self.sketch.table().scale();
        self.candidates.iter().map(move |(key, raw)| Hit {
            key: *key,
            count: scale.divided(*raw, now),
        })
    }

    /// The faded count of any item as of `now`, at most. O(d + log `n_max`).
    #[must_use]
    pub fn estimate(&self, key: u64, now: u64) -> f64 {
        self.known(key).map_or_else(
            || self.sketch.estimate(key, now),
            |raw| self.sketch.table().scale().divided(raw, now),
        )
    }

    /// The faded count of everything as of `now`.
    #[must_use]
    pub fn total(&self, now: u64) -> f64 {
        self.sketch.total(now)
    }

    /// By how much a count exceeds the truth at most, but for one time in e^d.
    #[must_use]
    pub fn error_bound(&self, now: u64) -> f64 {
        self.sketch.error_bound(now)
    }

    /// log2 of an item's count as of `t0`, which does not change while the item does not come; `None` where nothing was seen.
    #[must_use]
    pub fn score_log2(&self, key: u64) -> Option<f64> {
        let table = self.sketch.table();
        let raw = self
            .candidates
            .get(&key)
            .copied()
            .unwrap_or_else(|| table.raw(key));
        (raw > 0.0).then(|| libm::log2(raw) + table.scale().exponent as f64)
    }

    /// Most memory of cells and candidates.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        // A node of a B-tree is at least half full.
        self.sketch.bytes() + self.n_max * 2 * 2 * size_of::<(u64, f64)>()
    }

    /// Whether nothing was counted since it was made or cleared: such a window need not travel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.sketch.table().raw_mass() <= 0.0
    }

    /// Forgets everything, without allocating: agents encode what a window brought and begin anew. O(w·d).
    pub fn clear(&mut self) {
        self.sketch.table_mut().cells_mut().fill(0.0);
        self.sketch.table_mut().set_raw_mass(0.0);
        self.candidates.clear();
        self.floor = 0.0;
    }

    /// Adds all that `other` has counted. O(w·d + `n_max`·(d + log `n_max`)).
    ///
    /// # Errors
    /// [`MergeError`] unless shape, seed, weighting, t0 and number of items are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.n_max != other.n_max {
            return Err(MergeError::Shape);
        }
        self.sketch
            .table()
            .shape()
            .must_equal(other.sketch.table().shape())?;
        self.sketch
            .table()
            .scale()
            .must_match(other.sketch.table().scale())?;
        let mut theirs = other.clone();
        self.raise(theirs.sketch.table().scale().exponent);
        theirs.raise(self.sketch.table().scale().exponent);
        self.add_candidates(&theirs, 1.0);
        self.sketch.merge(&theirs.sketch)
    }

    /// Adds all that `plain` (unweighted) has counted, as if all of it had come at `tick`. O(w·d + `n_max`·(d + log `n_max`)).
    ///
    /// # Errors
    /// [`MergeError`] unless shape, seed and number of items are equal and `plain` is unweighted; nothing is changed then.
    pub fn absorb(&mut self, plain: &Self, tick: u64) -> Result<(), MergeError> {
        if self.n_max != plain.n_max {
            return Err(MergeError::Shape);
        }
        let theirs = plain.sketch.table();
        self.sketch.table().shape().must_equal(theirs.shape())?;
        if theirs.scale().weighting != Weighting::Constant || theirs.scale().exponent != 0 {
            return Err(MergeError::Weighting);
        }
        let unit = self.unit(tick);
        self.add_candidates(plain, unit);
        self.sketch.table_mut().add_cells(theirs, unit);
        Ok(())
    }

    /// Adds the candidates of both, before the cells are added; `unit` is what one of theirs is worth here.
    fn add_candidates(&mut self, theirs: &Self, unit: f64) {
        // What one side remembers of an item beats its cells, which others have filled since.
        let best = |side: &Self, key: u64| {
            side.known(key)
                .unwrap_or_else(|| side.sketch.table().raw(key))
        };
        let keys = self.candidates.keys().chain(theirs.candidates.keys());
        let merged = keys
            .map(|key| (*key, best(self, *key) + best(theirs, *key) * unit))
            .collect();
        self.candidates = merged;
        // Whoever was above either floor is so all the more in the sum.
        self.floor = self.floor.max(theirs.floor * unit);
        if self.candidates.len() >= self.n_max * 2 {
            self.cut();
        }
    }

    /// What is remembered of an item apart from the cells: nothing has come that is not remembered until the first cut.
    fn known(&self, key: u64) -> Option<f64> {
        let nothing = (self.floor == 0.0).then_some(0.0);
        self.candidates.get(&key).copied().or(nothing)
    }

    /// f(tick) in units of the scale, which is raised first where it must be.
    fn unit(&mut self, tick: u64) -> f64 {
        let before = self.sketch.table().scale().exponent;
        let unit = self.sketch.table_mut().unit(tick);
        let raised = self.sketch.table().scale().exponent - before;
        if raised > 0 {
            self.shrink(raised);
        }
        unit
    }

    /// Keeps the `n_max` heaviest; ties by key.
    fn cut(&mut self) {
        let mut all: Vec<(u64, f64)> = std::mem::take(&mut self.candidates).into_iter().collect();
        let heavier = |a: &(u64, f64), b: &(u64, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if all.len() > self.n_max {
            let (_, last, _) = all.select_nth_unstable_by(self.n_max - 1, heavier);
            self.floor = last.1;
            all.truncate(self.n_max);
        }
        self.candidates = all.into_iter().collect();
    }

    fn raise(&mut self, exponent: i64) {
        let raised = exponent - self.sketch.table().scale().exponent;
        self.sketch.table_mut().raise(exponent);
        if raised > 0 {
            self.shrink(raised);
        }
    }

    #[cold]
    fn shrink(&mut self, powers: i64) {
        let factor = libm::scalbn(1.0, -(powers.min(5_000) as i32));
        self.floor *= factor;
        self.candidates.values_mut().for_each(|raw| *raw *= factor);
    }
}

#[cfg(test)]
#[path = "heavy_tests.rs"]
pub(crate) mod tests;
