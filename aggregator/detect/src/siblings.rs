//! A series against its siblings at the same moment: the built-in control group. (step 10)
//!
//! In: every member's deviation from its own past. Out: for each member, the movement that the others share.
//! A movement is the median of the others' deviations, so that a minority of sick siblings does not hide or make
//! another's sickness, and constant differences between shards have cancelled before.

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

    #[test]
    fn somebody_without_siblings_has_no_common_movement() {
        let mut group = LeaveOneOut::default();
        assert_eq!(group.median_of_all(), None);
        group.fill([1.0].into_iter());
        assert_eq!(group.median_of_others(1.0), None);
        assert_eq!(group.median_of_all(), Some(1.0));
    }

    proptest! {
        #[test]
        fn prop_the_median_of_the_others_is_the_median_without_one(
            values in proptest::collection::vec(-50_i32..50, 2..20), pick in 0_usize..20,
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let pick = pick % values.len();
            let mut group = LeaveOneOut::default();
            group.fill(values.iter().copied());
            let mut others = values.clone();
            let own = others.remove(pick);
            prop_assert_eq!(group.median_of_others(own), hsw_stats::median(&mut others));
        }
    }
}
