//! What values there have been, in a few bins that keep what lies far out apart. (step 10)
//!
//! A new value gets a bin of its own; when there are too many, the two nearest become one, at their weighted mean. So
//! crowds share bins and what is alone stays alone.
//! Invariants: HI-1 bins ascend. HI-2 counts add up to the values learned. HI-3 the least and the largest bin never lie
//! outside what was learned. Limits: [`N_BINS`] bins of 8 bytes; O(bins) a value.
//! Source: Ben-Haim, Tom-Tov, A streaming parallel decision tree algorithm, JMLR 11, 2010, §2.1.

/// Bins. 32 to 256 equal within noise.
pub(crate) const N_BINS: usize = 32;

/// The bins. See the module's header.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    /// One more than is kept: room for the newest.
    at: [f32; N_BINS + 1],
    count: [f32; N_BINS + 1],
    n_bins: usize,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            at: [0.0; N_BINS + 1],
            count: [0.0; N_BINS + 1],
            n_bins: 0,
        }
    }
}

impl Histogram {
    /// Distance to the nearest bin; `None` while there is none.
    pub(crate) fn distance(&self, value: f64) -> Option<f64> {
        let value = f64::from(value as f32);
        let distances = self.at[..self.n_bins]
            .iter()
            .map(|at| (f64::from(*at) - value).abs());
        distances.min_by(f64::total_cmp)
    }

    /// Distance between the bins that hold all but a share of `without` of the values at each end.
    pub(crate) fn range(&self, without: f64) -> f64 {
        let n: f64 = self.count[..self.n_bins]
            .iter()
            .map(|n| f64::from(*n))
            .sum();
        let most = without * n;
        let edge = |bins: &mut dyn Iterator<Item = usize>| {
            let mut passed = 0.0;
            for bin in bins {
                passed += f64::from(self.count[bin]);
                if passed > most {
                    return f64::from(self.at[bin]);
                }
            }
            0.0
        };
        edge(&mut (0..self.n_bins).rev()) - edge(&mut (0..self.n_bins))
    }

    /// Learns a value.
    pub(crate) fn learn(&mut self, value: f64) {
        let value = value as f32;
        let place = self.at[..self.n_bins].partition_point(|at| *at < value);
        if place < self.n_bins && self.at[place].total_cmp(&value).is_eq() {
            self.count[place] += 1.0;
            return;
        }
        self.at.copy_within(place..self.n_bins, place + 1);
        self.count.copy_within(place..self.n_bins, place + 1);
        (self.at[place], self.count[place]) = (value, 1.0);
        self.n_bins += 1;
        if self.n_bins > N_BINS {
            self.merge_nearest();
        }
    }

    /// The first of several equally near pairs.
    fn merge_nearest(&mut self) {
        let gap = |bin: usize| self.at[bin + 1] - self.at[bin];
        let nearest = (0..self.n_bins - 1).min_by(|a, b| gap(*a).total_cmp(&gap(*b)));
        let Some(bin) = nearest else { return };
        let (n, m) = (f64::from(self.count[bin]), f64::from(self.count[bin + 1]));
        let mean = (f64::from(self.at[bin]) * n + f64::from(self.at[bin + 1]) * m) / (n + m);
        // Rounding must not carry the mean past its neighbours.
        self.at[bin] = (mean as f32).clamp(self.at[bin], self.at[bin + 1]);
        self.count[bin] = (n + m) as f32;
        self.at.copy_within(bin + 2..self.n_bins, bin + 1);
        self.count.copy_within(bin + 2..self.n_bins, bin + 1);
        self.n_bins -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taught(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.learn(*value));
        histogram
    }

    #[test]
    fn what_is_alone_stays_alone_among_crowds() {
        let mut values: Vec<f64> = (0..1_000).map(|i| f64::from(i % 100) / 100.0).collect();
        values.insert(10, 50.0);
        let histogram = taught(&values);
        assert_eq!(histogram.distance(50.0), Some(0.0));
        assert_eq!(histogram.distance(40.0), Some(10.0));
        assert!(histogram.distance(0.505).unwrap() < 0.05);
        assert!(histogram.range(0.0) > 49.0 && histogram.range(0.01) < 1.5);
    }

    #[test]
    fn nothing_learned_is_nothing_near() {
        assert_eq!(Histogram::default().distance(1.0), None);
        assert_eq!(Histogram::default().range(0.0), 0.0);
    }

    proptest! {
        #[test]
        fn prop_bins_ascend_and_count_everything(values in proptest::collection::vec(-1e6..1e6_f64, 1..300)) {
            let histogram = taught(&values);
            let bins = &histogram.at[..histogram.n_bins];
            prop_assert!(bins.windows(2).all(|pair| pair[0] < pair[1]));
            let n: f32 = histogram.count[..histogram.n_bins].iter().sum();
            prop_assert_eq!(n as usize, values.len());
            let (least, most) = (bins[0], bins[bins.len() - 1]);
            prop_assert!(values.iter().any(|v| *v as f32 <= least) && values.iter().any(|v| *v as f32 >= most));
        }

        #[test]
        fn prop_few_values_are_kept_exactly(values in proptest::collection::vec(-100_i32..100, 1..N_BINS), at in -100_i32..100) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let nearest = values.iter().map(|v| (v - f64::from(at)).abs()).min_by(f64::total_cmp);
            prop_assert_eq!(taught(&values).distance(f64::from(at)), nearest);
        }
    }
}
