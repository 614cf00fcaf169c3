//! What a tick weighs: f(t) constant, affine or exponential, and its exponent kept apart so that it never overflows. (step 3)
//!
//! In: ticks. Out: weights in units of 2^K. Invariants: WE-1 f does not fall with t. WE-2 K changes by whole powers of two
//! only, so that when it changes changes no mantissa (but for underflow): any two schedules give the same answers.
//! WE-3 a late event weighs what it would have weighed in time. Limits: what fell 2^−900 behind the newest (2^−60 in
//! single precision) may be lost. WE-4 weights have 26 bits of mantissa, so that counts of a tick add up exactly, in any order,
//! up to 2^26 of them; answers divide by the same weight.
//! Source: Shrivastava, König, Bilenko: Time Adaptive Sketches, SIGMOD 2016, §5 (f, pre-emphasis); Cormode, Shkapenyuk,
//! Srivastava, Xu: Forward Decay, ICDE 2009, §3. The powers of two are ours.

use crate::shape::{MergeError, ParamError};

/// Doublings a tick beyond which nothing but the newest tick would be left.
const LOG2_GROWTH_MAX: f64 = 16.0;
/// Beyond it the 1 in 1 + slope·t does not matter, nor then the slope.
const SLOPE_MAX: f64 = 1e9;

/// How much newer ticks weigh against older ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// f = 1: plain counting.
    Constant,
    /// f = 1 + slope·(t − t0); ticks before t0 weigh 1. (Without the 1 the slope would cancel out.)
    Affine {
        /// Per tick, ≥ 0.
        slope: f64,
    },
    /// f = 2^(λ·(t − t0)).
    Exponential {
        /// λ = log2 of the growth per tick, ≥ 0; a half-life of 1/λ ticks.
        log2_growth: f64,
    },
}

impl Weighting {
    /// Exponential with a half-life in ticks.
    ///
    /// # Errors
    /// [`ParamError::Growth`] unless it is at least 1/16 of a tick.
    pub fn half_life(ticks: f64) -> Result<Self, ParamError> {
        Self::Exponential {
            log2_growth: 1.0 / ticks,
        }
        .checked()
    }

    /// Itself, if it can be used.
    pub(crate) fn checked(self) -> Result<Self, ParamError> {
        let is_fine = match self {
            Self::Constant => true,
            Self::Affine { slope } => (0.0..=SLOPE_MAX).contains(&slope),
            Self::Exponential { log2_growth } => (0.0..=LOG2_GROWTH_MAX).contains(&log2_growth),
        };
        if is_fine {
            Ok(self)
        } else {
            Err(ParamError::Growth)
        }
    }

    /// f(t) = mantissa·2^exponent.
    fn parts(self, t0: u64, tick: u64) -> (f64, i64) {
        match self {
            Self::Constant => (1.0, 0),
            Self::Affine { slope } => (short(1.0 + slope * tick.saturating_sub(t0) as f64), 0),
            Self::Exponential { log2_growth } => {
                let ticks = if tick >= t0 {
                    (tick - t0) as f64
                } else {
                    -((t0 - tick) as f64)
                };
                let x = log2_growth * ticks;
                let whole = libm::floor(x);
                (short(libm::exp2(x - whole)), whole as i64)
            }
        }
    }
}

/// Exponential growth solved from what is wanted of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaParams {
    /// a: growth per tick.
    pub growth: f64,
    /// K: from this tick on (counted from 1) answers are at least as good as plain count-min's.
    pub neutral_tick: f64,
}

impl AdaParams {
    /// For `n_ticks` = T of equal mass: the strongest growth by which the oldest tick's error is at most `gamma` times plain
    /// count-min's: ρ(1) = (a^T − 1) / (T·(a − 1)) = γ, by bisection (ρ grows with a); K = log_a of the mean weight.
    ///
    /// ```
    /// let params = hsw_sketch::AdaParams::solve(1_000, 10.0).unwrap();
    /// assert!((params.growth - 1.003_620).abs() < 1e-5);
    /// assert!(params.neutral_tick > 500.0 && params.neutral_tick < 1_000.0);
    /// ```
    ///
    /// # Errors
    /// [`ParamError::Span`] for no ticks, [`ParamError::Growth`] unless `gamma` is finite and at least 1.
    pub fn solve(n_ticks: u64, gamma: f64) -> Result<Self, ParamError> {
        if n_ticks == 0 {
            return Err(ParamError::Span);
        }
        if !(1.0..=1e100).contains(&gamma) {
            return Err(ParamError::Growth);
        }
        let n = n_ticks as f64;
        let ratio = |ln_a: f64| libm::expm1(n * ln_a) / (n * libm::expm1(ln_a));
        let (mut low, mut high) = (0.0, LOG2_GROWTH_MAX * std::f64::consts::LN_2);
        for _ in 0..200 {
            let middle = low + (high - low) / 2.0;
            // NaN from ∞/∞ counts as too strong.
            if middle > 0.0 && ratio(middle) <= gamma {
                low = middle;
            } else {
                high = middle;
            }
        }
        // Below it expm1's ratio is 1 to the last bit.
        if n_ticks == 1 || low * n < 1e-12 {
            return Ok(Self {
                growth: 1.0,
                neutral_tick: (n + 1.0) / 2.0,
            });
        }
        let neutral_tick = 1.0 + libm::log(ratio(low)) / low;
        Ok(Self {
            growth: libm::exp(low),
            neutral_tick,
        })
    }

    /// The weighting.
    #[must_use]
    pub fn weighting(self) -> Weighting {
        Weighting::Exponential {
            log2_growth: libm::log2(self.growth).clamp(0.0, LOG2_GROWTH_MAX),
        }
    }
}

/// A weighting from a moment on, and the exponent that numbers are kept in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    pub(crate) weighting: Weighting,
    pub(crate) t0: u64,
    /// K: a number x stands for x·2^K.
    pub(crate) exponent: i64,
    /// How far weights may outgrow 2^K before all numbers are shifted.
    gap_max: i64,
    tick: Option<u64>,
    unit: f64,
}

impl Scale {
    pub(crate) fn new(weighting: Weighting, t0: u64, gap_max: i64) -> Result<Self, ParamError> {
        Ok(Self {
            weighting: weighting.checked()?,
            t0,
            exponent: 0,
            gap_max,
            tick: None,
            unit: 1.0,
        })
    }

    /// f(tick) in units of 2^K, cached for a run of equal ticks; and the power of two that all numbers kept in this scale must
    /// be multiplied by first, where K has just grown.
    #[inline]
    pub(crate) fn unit(&mut self, tick: u64) -> (f64, Option<f64>) {
        if self.tick == Some(tick) {
            return (self.unit, None);
        }
        self.turn(tick)
    }

    #[cold]
    fn turn(&mut self, tick: u64) -> (f64, Option<f64>) {
        let (mantissa, exponent) = self.weighting.parts(self.t0, tick);
        let behind = exponent.saturating_sub(self.exponent);
        let factor = (behind > self.gap_max).then(|| self.raise(exponent));
        self.tick = Some(tick);
        self.unit = times_power(mantissa, exponent.saturating_sub(self.exponent));
        (self.unit, factor)
    }

    /// The weight of the newest run of ticks in units of 2^K; zero before the first and right after K was set.
    pub(crate) fn last_unit(&self) -> f64 {
        self.tick.map_or(0.0, |_| self.unit)
    }

    /// Sets K to `exponent`, not below what it is; numbers kept must be multiplied by what is returned.
    pub(crate) fn raise(&mut self, exponent: i64) -> f64 {
        let exponent = exponent.max(self.exponent);
        let factor = times_power(1.0, self.exponent.saturating_sub(exponent));
        (self.exponent, self.tick) = (exponent, None);
        factor
    }

    /// x·2^K / f(tick), without forming either.
    pub(crate) fn divided(&self, x: f64, tick: u64) -> f64 {
        let (mantissa, exponent) = self.weighting.parts(self.t0, tick);
        times_power(x / mantissa, self.exponent.saturating_sub(exponent))
    }

    /// Refuses what weighs otherwise.
    pub(crate) fn must_match(&self, other: &Self) -> Result<(), MergeError> {
        if self.weighting != other.weighting {
            return Err(MergeError::Weighting);
        }
        if self.t0 == other.t0 {
            Ok(())
        } else {
            Err(MergeError::Epoch)
        }
    }
}

/// Cut to 26 bits of mantissa: falls nowhere, and is at most 2^−26 of itself too low.
const fn short(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & !((1 << 26) - 1))
}

/// x·2^n; beyond the range of doubles it is infinite or zero.
fn times_power(x: f64, n: i64) -> f64 {
    libm::scalbn(x, n.clamp(-5_000, 5_000) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weight(weighting: Weighting, tick: u64) -> f64 {
        let (mantissa, exponent) = weighting.parts(0, tick);
        times_power(mantissa, exponent)
    }

    #[test]
    fn growth_of_the_paper_halves_in_462_ticks() {
        let weighting = Weighting::Exponential {
            log2_growth: libm::log2(1.0015),
        };
        let ratio = weight(weighting, 1_462) / weight(weighting, 1_000);
        assert!((ratio - 1.9988).abs() < 1e-3, "{ratio}");
        assert!((weight(Weighting::half_life(100.0).unwrap(), 300) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn wrong_weightings_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            assert!(Weighting::Affine { slope: bad }.checked().is_err());
            assert!(
                Weighting::Exponential { log2_growth: bad }
                    .checked()
                    .is_err()
            );
            assert!(AdaParams::solve(10, bad).is_err());
        }
        assert_eq!(Weighting::half_life(0.0), Err(ParamError::Growth));
        assert_eq!(AdaParams::solve(0, 2.0), Err(ParamError::Span));
    }

    #[test]
    fn the_solution_holds_its_design_equations() {
        for (n, gamma) in [(2, 1.2), (64, 5.0), (1_000, 10.0), (1_000_000, 300.0)] {
            let params = AdaParams::solve(n, gamma).unwrap();
            let a = params.growth;
            let mean = (1..=n).map(|t| libm::pow(a, t as f64)).sum::<f64>() / n as f64;
            assert!(
                (mean / a / gamma - 1.0).abs() < 1e-6,
                "T {n}: ρ(1) {}",
                mean / a
            );
            assert!((libm::pow(a, params.neutral_tick) / mean - 1.0).abs() < 1e-6);
        }
        assert_eq!(AdaParams::solve(1, 4.0).unwrap().growth, 1.0);
        assert!((AdaParams::solve(100, 1.0).unwrap().growth - 1.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn prop_weights_never_fall_with_time(log2_growth in 0.0..0.5_f64, tick in 0..2_000_u64, more in 0..50_u64) {
            for weighting in [Weighting::Exponential { log2_growth }, Weighting::Affine { slope: log2_growth }, Weighting::Constant] {
                prop_assert!(weight(weighting, tick + more) >= weight(weighting, tick));
            }
        }
    }
}
