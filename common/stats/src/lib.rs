//! The one statistics module: robust location and scale, and nothing that keeps state. (steps 3, 8, 10)
//!
//! In: slices of finite floats. Out: plain numbers. Numeric fidelity: arithmetic only, ties by total order, so the
//! same input gives the same bits on every machine; logarithms come from `libm` for the same reason.
//! Does not: know shards, windows or units.

/// Makes the median absolute deviation of a normal sample estimate its standard deviation: 1 / Φ⁻¹(3/4).
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// The median of `values`, which it reorders: the mean of the two middle ones when their number is even.
///
/// Returns `None` for an empty slice. O(n) expected time, no allocation.
///
/// ```
/// assert_eq!(hsw_stats::median(&mut [3.0, 1.0, 2.0]), Some(2.0));
/// assert_eq!(hsw_stats::median(&mut [4.0, 1.0]), Some(2.5));
/// ```
pub fn median(values: &mut [f64]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(lower + (upper - lower) / 2.0)
}

/// The median absolute deviation of `values` about `centre`; `values` are overwritten by the deviations.
///
/// Returns `None` for an empty slice. Multiply by [`MAD_TO_SIGMA`] for a standard deviation. O(n) expected time.
///
/// ```
/// assert_eq!(hsw_stats::median_absolute_deviation(&mut [1.0, 2.0, 9.0], 2.0), Some(1.0));
/// ```
pub fn median_absolute_deviation(values: &mut [f64], centre: f64) -> Option<f64> {
    for value in values.iter_mut() {
        *value = (*value - centre).abs();
    }
    median(values)
}

/// ln(1 + x), equal bits on every machine. Undefined at and below −1.
#[must_use]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// exp(x) − 1, the inverse of [`ln_1p`], equal bits on every machine.
#[must_use]
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// The inverse hyperbolic sine: linear near zero, a logarithm with a sign far from it; equal bits on every machine.
#[must_use]
pub fn asinh(x: f64) -> f64 {
    libm::asinh(x)
}

/// ln(x), equal bits on every machine. −∞ at zero, NaN below.
#[must_use]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// exp(x), the inverse of [`ln`], equal bits on every machine.
#[must_use]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// ln Γ(x) for x > 0, equal bits on every machine.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The sine of an angle in radians, equal bits on every machine.
#[must_use]
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}

/// The cosine of an angle in radians, equal bits on every machine.
#[must_use]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, by sorting.
    fn median_by_sorting(values: &[f64]) -> Option<f64> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        match n {
            0 => None,
            _ if n % 2 == 1 => Some(sorted[n / 2]),
            _ => Some(sorted[n / 2 - 1] + (sorted[n / 2] - sorted[n / 2 - 1]) / 2.0),
        }
    }

    proptest! {
        #[test]
        fn prop_the_median_is_the_sorted_middle(values in proptest::collection::vec(-1e9..1e9_f64, 0..60)) {
            prop_assert_eq!(median(&mut values.clone()), median_by_sorting(&values));
        }

        #[test]
        fn prop_the_deviation_ignores_a_shift(values in proptest::collection::vec(-1000_i32..1000, 1..40), by in -1000_i32..1000) {
            let spread = |shift: i32| {
                let mut shifted: Vec<f64> = values.iter().map(|v| f64::from(v + shift)).collect();
                let centre = median(&mut shifted.clone()).unwrap();
                median_absolute_deviation(&mut shifted, centre)
            };
            prop_assert_eq!(spread(0), spread(by));
        }
    }
}
