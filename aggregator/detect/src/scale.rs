//! The scale a metric is judged on: ratios for amounts, differences for shares. (step 10)
//!
//! An amount (count, rate, bytes, time) is judged on y = ln(1 + x / floor): below its floor a change is a difference,
//! above it a ratio, so that "ten times as much" weighs the same on a small shard and a large one, and a load that
//! doubles everywhere is the same shift everywhere. A share (0 to 1) is judged on y = 0.75 · x / floor, which makes a
//! change by one floor weigh about the same on both.

use hsw_stats::{exp_m1, ln_1p};
use hsw_types::{MetricSpec, Unit};

/// Weight of one floor on the scale of a share: about ln 2, what one floor above zero weighs for an amount.
const SHARE_WEIGHT: f64 = 0.75;

/// Turns values into what detectors compare, and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// y = ln(1 + x / floor).
    Amount {
        /// The metric's floor, in its unit, > 0.
        floor: f64,
    },
    /// y = 0.75 · x / floor.
    Share {
        /// The metric's floor, > 0.
        floor: f64,
    },
}

impl Scale {
    /// The scale of a metric.
    #[must_use]
    pub fn of(spec: &MetricSpec) -> Self {
        match spec.unit {
            Unit::Ratio => Self::Share { floor: spec.floor },
            _ => Self::Amount { floor: spec.floor },
        }
    }

    /// Value to scale; a negative amount counts as none.
    #[must_use]
    pub fn to(self, x: f64) -> f64 {
        match self {
            Self::Amount { floor } => ln_1p(x.max(0.0) / floor),
            Self::Share { floor } => SHARE_WEIGHT * x / floor,
        }
    }

    /// Scale to value, the inverse of [`to`](Self::to) for values ≥ 0.
    #[must_use]
    pub fn from(self, y: f64) -> f64 {
        match self {
            Self::Amount { floor } => exp_m1(y) * floor,
            Self::Share { floor } => y * floor / SHARE_WEIGHT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_doubling_is_the_same_shift_for_small_and_large() {
        let scale = Scale::Amount { floor: 5.0 };
        for x in [0.0, 1.0, 30.0, 1e9] {
            assert!((scale.from(scale.to(x)) - x).abs() <= x * 1e-9);
        }
        let shift = |x: f64| scale.to(2.0 * x) - scale.to(x);
        assert!((shift(1e4) - shift(1e7)).abs() < 1e-3);
        let share = Scale::Share { floor: 0.1 };
        assert!((share.from(share.to(0.3)) - 0.3).abs() < 1e-12);
    }
}
