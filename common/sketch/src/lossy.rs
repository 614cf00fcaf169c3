//! Time-adaptive lossy counting: frequent items with a bound that holds always, not just probably. (step 8)
//!
//! In: items with a tick and a count. Out: faded counts that are never too high and at most ε·F/f(now) too low.
//! Invariants: LC-1 0 ≤ truth − estimate ≤ [`undercount_max`](AdaptiveLossyCounting::undercount_max) ≤ ε·F/f(now) while the
//! limit of entries was not met (and by what was taken away then, where it was). LC-2 at most `n_entries_max` entries.
//! Source: Manku, Motwani: Approximate Frequency Counts, VLDB 2002, §4.2; Shrivastava et al., SIGMOD 2016, §5.4. At a
//! window's end ε·Σ f(t) of that window is taken away, not f(t_end), which would break the bound as f grows.

use std::collections::BTreeMap;

use crate::adaptive::Real as _;
use crate::shape::{MergeError, ParamError};
use crate::weighting::{Scale, Weighting};

/// Lossy counting with weights that grow.
#[derive(Debug, Clone)]
pub struct AdaptiveLossyCounting {
    window: u64,
    n_entries_max: usize,
    scale: Scale,
    entries: BTreeMap<u64, f64>,
    n_in_window: u64,
    window_mass: f64,
    mass: f64,
    taken: f64,
    n_over_limit: u64,
}

impl AdaptiveLossyCounting {
    /// Windows of ⌈1/ε⌉ arrivals, and at most `n_entries_max` entries, which should be a few times 1/ε.
    ///
    /// # Errors
    /// [`ParamError::Probability`] unless 0 < ε < 1, [`ParamError::Size`] for fewer entries than one, and
    /// [`ParamError::Growth`] for a weighting that falls or is not finite.
    pub fn new(
        epsilon: f64,
        n_entries_max: usize,
        weighting: Weighting,
        t0: u64,
    ) -> Result<Self, ParamError> {
        if !(epsilon > 1e-12 && epsilon < 1.0) {
            return Err(ParamError::Probability);
        }
        if n_entries_max == 0 {
            return Err(ParamError::Size);
        }
        Ok(Self {
            window: libm::ceil(1.0 / epsilon) as u64,
            n_entries_max,
            scale: Scale::new(weighting, t0, f64::GAP_MAX)?,
            entries: BTreeMap::new(),
            n_in_window: 0,
            window_mass: 0.0,
            mass: 0.0,
            taken: 0.0,
            n_over_limit: 0,
        })
    }

    /// Counts `item`, `count` times at `tick`; what is not finite or not above zero is no count. O(log entries) amortised.
    pub fn add(&mut self, item: u64, tick: u64, count: f64) {
        if !(count > 0.0 && count.is_finite()) {
            return;
        }
        let (unit, factor) = self.scale.unit(tick);
        if let Some(factor) = factor {
            self.times(factor);
        }
        let weighted = count * unit;
        *self.entries.entry(item).or_insert(0.0) += weighted;
        self.mass += weighted;
        self.window_mass += weighted;
        self.n_in_window += 1;
        if self.n_in_window >= self.window {
            self.take(self.window_mass / self.window as f64);
            (self.n_in_window, self.window_mass) = (0, 0.0);
        }
        self.keep_limit();
    }

    /// The faded count as of `now`, at least; zero for what is not kept. O(log entries).
    #[must_use]
    pub fn estimate(&self, item: u64, now: u64) -> f64 {
        let raw = self.entries.get(&item).copied().unwrap_or(0.0);
        self.scale.divided(raw, now)
    }

    /// By how much any answer as of `now` is too low at most.
    #[must_use]
    pub fn undercount_max(&self, now: u64) -> f64 {
        self.scale.divided(self.taken, now)
    }

    /// The faded count of everything as of `now`.
    #[must_use]
    pub fn total(&self, now: u64) -> f64 {
        self.scale.divided(self.mass, now)
    }

    /// All that came more often than `share` of everything, and perhaps some that came ε less often; the heaviest first, ties
    /// by key. O(entries · log).
    #[must_use]
    pub fn frequent(&self, share: f64, now: u64) -> Vec<(u64, f64)> {
        let at_least = share * self.mass - self.taken;
        let kept = self.entries.iter().filter(|(_, raw)| **raw >= at_least);
        let mut all: Vec<(u64, f64)> = kept
            .map(|(key, raw)| (*key, self.scale.divided(*raw, now)))
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all
    }

    /// Entries kept now.
    #[must_use]
    pub fn n_entries(&self) -> usize {
        self.entries.len()
    }

    /// How often the limit of entries made room beyond what ε allows.
    #[must_use]
    pub const fn n_over_limit(&self) -> u64 {
        self.n_over_limit
    }

    /// Adds all that `other` has counted; the bounds add up. O(entries · log).
    ///
    /// # Errors
    /// [`MergeError`] unless windows, limits, weighting and t0 are equal; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if (self.window, self.n_entries_max) != (other.window, other.n_entries_max) {
            return Err(MergeError::Shape);
        }
        self.scale.must_match(&other.scale)?;
        let mut theirs = other.clone();
        self.raise(theirs.scale.exponent);
        theirs.raise(self.scale.exponent);
        for (item, raw) in theirs.entries {
            *self.entries.entry(item).or_insert(0.0) += raw;
        }
        self.mass += theirs.mass;
        self.taken += theirs.taken;
        self.window_mass += theirs.window_mass;
        self.n_in_window += theirs.n_in_window;
        self.n_over_limit = self.n_over_limit.saturating_add(theirs.n_over_limit);
        if self.n_in_window >= self.window {
            self.take(self.window_mass / self.window as f64);
            (self.n_in_window, self.window_mass) = (0, 0.0);
        }
        self.keep_limit();
        Ok(())
    }

    /// Takes `much` from every entry and drops what is left with nothing.
    fn take(&mut self, much: f64) {
        self.taken += much;
        self.entries.retain(|_, raw| {
            *raw -= much;
            *raw > 0.0
        });
    }

    /// Takes away as much as a tenth of the entries can give, where there are too many. O(1) amortised but for the tree.
    fn keep_limit(&mut self) {
        if self.entries.len() <= self.n_entries_max {
            return;
        }
        let mut raws: Vec<f64> = self.entries.values().copied().collect();
        let n_to_go = (raws.len() - self.n_entries_max).max(self.n_entries_max / 10);
        let (_, much, _) =
            raws.select_nth_unstable_by(n_to_go.min(self.entries.len()) - 1, f64::total_cmp);
        let much = *much;
        self.n_over_limit += 1;
        self.take(much);
    }

    fn raise(&mut self, exponent: i64) {
        let factor = self.scale.raise(exponent);
        if factor < 1.0 {
            self.times(factor);
        }
    }

    #[cold]
    fn times(&mut self, factor: f64) {
        self.entries.values_mut().for_each(|raw| *raw *= factor);
        self.mass *= factor;
        self.window_mass *= factor;
        self.taken *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROWTH: Weighting = Weighting::Exponential { log2_growth: 0.05 };

    fn of(
        epsilon: f64,
        limit: usize,
        weighting: Weighting,
        events: &[(u64, u64, u32)],
    ) -> AdaptiveLossyCounting {
        let mut all = AdaptiveLossyCounting::new(epsilon, limit, weighting, 0).unwrap();
        for (item, tick, count) in events {
            all.add(*item, *tick, f64::from(*count));
        }
        all
    }

    fn truth(weighting: Weighting, events: &[(u64, u64, u32)], item: u64, now: u64) -> f64 {
        let scale = Scale::new(weighting, 0, 900).unwrap();
        let mine = events.iter().filter(|(one, ..)| *one == item);
        mine.map(|(_, tick, count)| {
            f64::from(*count) * scale.divided(1.0, now) / scale.divided(1.0, *tick)
        })
        .sum()
    }

    fn holds(
        all: &AdaptiveLossyCounting,
        weighting: Weighting,
        events: &[(u64, u64, u32)],
        now: u64,
    ) {
        let rounding = 1e-9 * (1.0 + all.total(now));
        for item in 0..40 {
            let under = truth(weighting, events, item, now) - all.estimate(item, now);
            assert!(under >= -rounding, "too high by {}", -under);
            assert!(
                under <= all.undercount_max(now) + rounding,
                "{under} too low"
            );
        }
    }

    #[test]
    fn zipf_needs_few_entries_and_its_frequent_items_are_all_found() {
        let keys = crate::count_min::tests::zipf(100_000, 20_000, 1.1);
        let mut all = AdaptiveLossyCounting::new(0.001, 5_000, Weighting::Constant, 0).unwrap();
        keys.iter().for_each(|key| all.add(*key, 0, 1.0));
        let n = |item: u64| keys.iter().filter(|key| **key == item).count();
        let found: Vec<u64> = all.frequent(0.005, 0).iter().map(|hit| hit.0).collect();
        let missed: Vec<u64> = (0..200)
            .filter(|item| n(*item) > 500 && !found.contains(item))
            .collect();
        assert!(
            missed.is_empty() && all.n_entries() < 3_000 && all.n_over_limit() == 0,
            "{missed:?}"
        );
        assert!(found.iter().all(|item| n(*item) >= 400));
        assert!(all.undercount_max(0) <= 100.0);
    }

    #[test]
    fn the_bound_holds_for_single_counts_whose_weights_grow_and_over_thousands_of_doublings() {
        let steep = Weighting::Exponential { log2_growth: 0.2 };
        for n in [30, 40_000] {
            let events: Vec<(u64, u64, u32)> = (0..n).map(|i| (crate::mix(i) % 40, i, 1)).collect();
            let all = of(0.1, 1_000, steep, &events);
            assert!(all.undercount_max(n) <= 0.1 * all.total(n) * (1.0 + 1e-9));
            // Term by term only where no weight leaves the range of doubles.
            if n == 30 {
                holds(&all, steep, &events, n);
            }
        }
    }

    #[test]
    fn unlike_counters_are_refused() {
        let mut all = of(0.1, 100, GROWTH, &[(1, 1, 1)]);
        assert_eq!(
            all.merge(&of(0.2, 100, GROWTH, &[])),
            Err(MergeError::Shape)
        );
        assert_eq!(
            all.merge(&of(0.1, 100, Weighting::Constant, &[])),
            Err(MergeError::Weighting)
        );
        assert!(AdaptiveLossyCounting::new(0.0, 10, GROWTH, 0).is_err());
        assert!(AdaptiveLossyCounting::new(0.1, 0, GROWTH, 0).is_err());
    }

    fn events() -> impl Strategy<Value = Vec<(u64, u64, u32)>> {
        proptest::collection::vec((0..40_u64, 0..100_u64, 1..20_u32), 0..300)
    }

    proptest! {
        #[test]
        fn prop_answers_are_never_too_high_and_at_most_epsilon_too_low(
            events in events(), epsilon in 0.01..0.5_f64, is_late in any::<bool>(), slope in 0.0..2.0_f64,
        ) {
            let mut events = events;
            if !is_late {
                events.sort_by_key(|(_, tick, _)| *tick);
            }
            for weighting in [GROWTH, Weighting::Constant, Weighting::Affine { slope }] {
                let all = of(epsilon, 1_000, weighting, &events);
                holds(&all, weighting, &events, 100);
                prop_assert!(all.undercount_max(100) <= epsilon * all.total(100) * (1.0 + 1e-9));
            }
        }

        #[test]
        fn prop_the_limit_of_entries_is_kept_and_paid_for_in_the_bound(events in events(), limit in 1..12_usize) {
            let all = of(0.001, limit, GROWTH, &events);
            prop_assert!(all.n_entries() <= limit);
            holds(&all, GROWTH, &events, 100);
        }

        #[test]
        fn prop_merged_bounds_hold(a in events(), b in events(), limit in 3..60_usize) {
            let mut merged = of(0.05, limit, GROWTH, &a);
            merged.merge(&of(0.05, limit, GROWTH, &b)).unwrap();
            prop_assert!(merged.n_entries() <= limit);
            holds(&merged, GROWTH, &[a, b].concat(), 100);
        }
    }
}
