//! Scores of different units on one scale: z-score and min–max as they are taught, robust forms by default. (step 11)
//!
//! In: a sample of the past. Out: a map that later values go through. Invariants: NO-1 the map never falls. NO-2 a sample without spread
//! maps everything to 0 (z) or one half (range).
//! Source: robust forms by median and MAD, and by quantiles, after Huber, Robust Statistics 1981, §5, and Jain, Nandakumar, Ross: Score
//! normalization in multimodal biometric systems, Pattern Recognition 38, 2005 (which finds both taught forms not robust).

use hsw_stats::{MAD_TO_SIGMA, median, median_absolute_deviation};

/// How to bring values to one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalisation {
    /// (x − mean) / standard deviation.
    ZScore,
    /// (x − smallest) / (largest − smallest), cut to 0…1.
    MinMax,
    /// (x − median) / (1.4826 · MAD). The default: half the sample may be outliers.
    #[default]
    RobustZ,
    /// (x − q05) / (q95 − q05), cut to 0…1.
    RobustRange,
}

/// A fitted map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normaliser {
    from: f64,
    size: f64,
    is_range: bool,
}

/// Share of a sample beyond each end of the robust range (Jain et al. 2005 use percentiles without a number; ours, not
/// swept).
const BEYOND: f64 = 0.05;

impl Normalisation {
    /// Fits the map to a sample of finite values; `None` for an empty one. O(n log n).
    #[must_use]
    pub fn fit(self, sample: &[f64]) -> Option<Normaliser> {
        let mut values = sample.to_vec();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let n = values.len() as f64;
        let quantile = |q: f64| values[((n - 1.0) * q).round() as usize];
        let (from, size) = match self {
            Self::ZScore => {
                let mean = values.iter().sum::<f64>() / n;
                let square = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
                (mean, square.sqrt())
            }
            Self::MinMax => (first, last - first),
            Self::RobustZ => {
                let centre = median(&mut values)?;
                let spread = median_absolute_deviation(&mut values, centre)?;
                (centre, MAD_TO_SIGMA * spread)
            }
            Self::RobustRange => (quantile(BEYOND), quantile(1.0 - BEYOND) - quantile(BEYOND)),
        };
        let is_range = matches!(self, Self::MinMax | Self::RobustRange);
        Some(Normaliser {
            from,
            size,
            is_range,
        })
    }
}

impl Normaliser {
    /// The value on the common scale.
    #[must_use]
    pub fn apply(&self, x: f64) -> f64 {
        if self.size <= 0.0 {
            return if self.is_range { 0.5 } else { 0.0 };
        }
        let y = (x - self.from) / self.size;
        if self.is_range { y.clamp(0.0, 1.0) } else { y }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values_of_all_four() {
        let sample = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        let of = |how: Normalisation, x: f64| how.fit(&sample).unwrap().apply(x);
        assert!((of(Normalisation::ZScore, 9.0) - 2.0).abs() < 1e-12);
        assert!((of(Normalisation::MinMax, 5.5) - 0.5).abs() < 1e-12);
        assert!((of(Normalisation::RobustZ, 4.5)).abs() < 1e-12);
        assert_eq!(of(Normalisation::RobustRange, 99.0), 1.0);
    }

    #[test]
    fn one_outlier_hides_a_deviation_from_the_taught_forms_and_not_from_the_robust_ones() {
        let mut sample: Vec<f64> = (0..99).map(|i| f64::from(i % 10)).collect();
        sample.push(1e6);
        let of = |how: Normalisation| how.fit(&sample).unwrap().apply(60.0);
        assert!(of(Normalisation::ZScore) < 0.0);
        assert!(of(Normalisation::RobustZ) > 10.0);
        assert!(of(Normalisation::MinMax) < 1e-3);
        assert_eq!(of(Normalisation::RobustRange), 1.0);
        assert_eq!(Normalisation::default(), Normalisation::RobustZ);
    }

    #[test]
    fn a_sample_without_spread_says_nothing() {
        assert_eq!(Normalisation::RobustZ.fit(&[]), None);
        assert_eq!(
            Normalisation::RobustZ.fit(&[3.0; 5]).unwrap().apply(9.0),
            0.0
        );
        assert_eq!(
            Normalisation::MinMax.fit(&[3.0; 5]).unwrap().apply(9.0),
            0.5
        );
    }

    proptest! {
        #[test]
        fn prop_no_map_ever_falls(
            sample in proptest::collection::vec(-1e3..1e3_f64, 1..60), a in -2e3..2e3_f64, b in -2e3..2e3_f64,
        ) {
            for how in [Normalisation::ZScore, Normalisation::MinMax, Normalisation::RobustZ, Normalisation::RobustRange] {
                let map = how.fit(&sample).unwrap();
                prop_assert!(map.apply(a.min(b)) <= map.apply(a.max(b)));
            }
        }
    }
}
