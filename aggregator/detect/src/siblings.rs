//! A series against its siblings at the same moment: the built-in control group. (step 10)
//!
//! In: every member's deviation from its own past. Out: for each member, the movement that the others share.
//! A movement is the median of the others' deviations, so that a minority of sick siblings does not hide or make
//! another's sickness, and constant differences between shards have cancelled before. Beside it how far the others are apart now: where a load
//! drives all of them to a limit each is hit by another amount, and to be hit more than the middle one is nobody's sickness. So it is where all
//! react to one load and each by its own power of it: what the others' median moved counts as a standard deviation of such reactions (`detector.rs`).

use hsw_stats::MAD_TO_SIGMA;

/// Others from which on their spread says something: of two one cannot be told from the other.
const N_SPREAD_MIN: usize = 3;

/// Deviations of a group, sorted once, so that each member's "median of the others" is O(log n).
#[derive(Debug, Clone, Default)]
pub struct LeaveOneOut {
    sorted: Vec<f64>,
}

impl LeaveOneOut {
    /// Fills it anew. O(n log n).
    pub fn fill(&mut self, deviations: impl Iterator<Item = f64>) {
        self.sorted.clear();
        self.sorted.extend(deviations);
        self.sorted.sort_by(f64::total_cmp);
    }

    /// Number of members.
    #[must_use]
    pub fn n(&self) -> usize {
        self.sorted.len()
    }

    /// Median of all members; `None` when there are none.
    #[must_use]
    pub fn median_of_all(&self) -> Option<f64> {
        self.median_skipping(usize::MAX, self.sorted.len())
    }

    /// Median of the others, `own` being one member's value; `None` when there are no others.
    #[must_use]
    pub fn median_of_others(&self, own: f64) -> Option<f64> {
        let at = self.sorted.partition_point(|d| d.total_cmp(&own).is_lt());
        self.median_skipping(at, self.sorted.len().checked_sub(1)?)
    }

    /// How far the others are apart, as a standard deviation: their median absolute deviation, which a minority of sick ones does not
    /// change; 0 with fewer than three others. `own` as in [`Self::median_of_others`]. O(log n).
    #[must_use]
    pub fn spread_of_others(&self, own: f64) -> f64 {
        let at = self.sorted.partition_point(|d| d.total_cmp(&own).is_lt());
        self.spread_skipping(at, self.sorted.len().saturating_sub(1))
    }

    /// The same of all members.
    #[must_use]
    pub fn spread_of_all(&self) -> f64 {
        self.spread_skipping(usize::MAX, self.sorted.len())
    }

    /// The half of the `n` values that is nearest to their median lies side by side: the first of it by bisection.
    fn spread_skipping(&self, skip: usize, n: usize) -> f64 {
        let (true, Some(centre)) = (n >= N_SPREAD_MIN, self.median_skipping(skip, n)) else {
            return 0.0;
        };
        let get = |i: usize| self.sorted[if i >= skip { i + 1 } else { i }];
        let half = n.div_ceil(2);
        let (mut from, mut to) = (0, n - half);
        while from < to {
            let middle = usize::midpoint(from, to);
            if centre - get(middle) > get(middle + half) - centre {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        MAD_TO_SIGMA * (centre - get(from)).max(get(from + half - 1) - centre)
    }

    /// Median of the `n` values that remain when the one at `skip` is left out.
    fn median_skipping(&self, skip: usize, n: usize) -> Option<f64> {
        let get = |i: usize| self.sorted.get(if i >= skip { i + 1 } else { i }).copied();
        let upper = get(n / 2)?;
        if n == 0 {
            return None;
        }
        if n % 2 == 1 {
            return Some(upper);
        }
        let lower = get(n / 2 - 1)?;
        Some(lower + (upper - lower) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(values: &[f64]) -> LeaveOneOut {
        let mut group = LeaveOneOut::default();
        group.fill(values.iter().copied());
        group
    }

    /// A group of so many at least, the member that is left out, and the others.
    fn any_group(n_min: usize) -> impl Strategy<Value = (LeaveOneOut, f64, Vec<f64>)> {
        let values = proptest::collection::vec((-50_i32..50).prop_map(f64::from), n_min..20);
        let picked = (values, any::<prop::sample::Index>());
        picked.prop_map(|(values, pick)| {
            let group = group(&values);
            let mut others = values;
            let own = others.remove(pick.index(others.len()));
            (group, own, others)
        })
    }

    #[test]
    fn somebody_without_siblings_has_no_common_movement() {
        assert_eq!(group(&[]).median_of_all(), None);
        let alone = group(&[1.0]);
        assert_eq!(alone.median_of_others(1.0), None);
        assert_eq!(alone.median_of_all(), Some(1.0));
    }

    #[test]
    fn a_sick_sibling_spreads_nothing_and_two_others_cannot_be_told_apart() {
        let two_sick = group(&[0.0, 9.0, 0.1, 9.5]);
        assert!(two_sick.spread_of_others(9.5) < 0.2);
        assert_eq!(group(&[0.0, 9.0, 9.5]).spread_of_others(9.5), 0.0);
        let spread = group(&[1.0, 2.0, 3.0, 4.0, 5.0]).spread_of_all();
        assert!((spread - MAD_TO_SIGMA).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn prop_the_spread_of_the_others_is_their_median_absolute_deviation((group, own, others) in any_group(4)) {
            let centre = hsw_stats::median(&mut others.clone()).unwrap();
            let mut apart: Vec<f64> = others.iter().map(|other| (other - centre).abs()).collect();
            apart.sort_by(f64::total_cmp);
            // The lower one of two in the middle.
            let expected = MAD_TO_SIGMA * apart[apart.len().div_ceil(2) - 1];
            prop_assert!((group.spread_of_others(own) - expected).abs() < 1e-9);
        }

        #[test]
        fn prop_the_median_of_the_others_is_the_median_without_one((group, own, mut others) in any_group(2)) {
            prop_assert_eq!(group.median_of_others(own), hsw_stats::median(&mut others));
        }
    }
}
