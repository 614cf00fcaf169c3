//! Many p-values of detectors that depend on one another: one p-value, one probability. (step 11)
//!
//! In: what each detector says of a shard, −ln p. Out: −ln p of all together, and P(sick).
//! The weighed sum of −ln p has the mean and variance that the detectors' own past says, correlations included; by Brown (Biometrics 31,
//! 1975) it is a scaled chi-squared variable c·χ²(f) with these two moments. What that leaves out (tails of sums are no chi-squared's) is
//! calibrated on the past of the combined −ln p itself, over all shards at first and over the shard's own from hours on.
//! P(sick) is the posterior of a prior and the Bayes factor of p: the mean of Beta(κ, 1) alternatives over all κ in 0…1, (1 − p + p ln p) /
//! (p ln² p) (Sellke, Bayarri, Berger, Am. Stat. 55, 2001, §3; Vovk, Wang, Ann. Stat. 49, 2021, §2), which no data was fitted for.
//! Invariants: CO-1 P(sick) never falls with any −ln p while the others stay. CO-2 a detector that does not know changes nothing.
//! CO-3 nothing is learned from a shard under an open incident (the caller does not call).

use std::collections::BTreeMap;

use hsw_stats::{exp, ln, ln_gamma};

use crate::detectors::{N_DETECTORS, Surprises};
use crate::tail::{SURPRISE_MAX, Tail};
use crate::weights::Weights;

/// Windows that the moments are means over, at most: 28 hours of one shard's, a minute and a half of a thousand's.
const MEMORY: f64 = 100_000.0;
/// Windows that the moments before anything is known are worth: few, since a detector that never speaks (a limit, liveness) counts as one that
/// speaks to others' contrary until it has been learned that it does not, and two that cry are drowned by four of these.
const N_PRIOR: f64 = 20.0;
/// Correlation before anything is known: between none and all (ours, not swept).
const CORRELATION_PRIOR: f64 = 0.5;
/// A surprise teaches as if it were at most this: one window of a fault must not make the moments.
const CUT: f64 = 12.0;
/// Windows after which a shard's own past weighs as much as that of all shards: an hour.
const N_SHARED: f64 = 3_600.0;
/// Chance that a shard is sick at a window, before anything is seen: an hour in six weeks. Ours,
/// written down rather than learned: operators label incidents, not windows.
const PRIOR: f64 = 1e-3;

/// Means and covariances of the detectors' −ln p where nothing is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    mean: [f64; N_DETECTORS],
    /// Where both of a pair know.
    product: [[f64; N_DETECTORS]; N_DETECTORS],
    n: [[f64; N_DETECTORS]; N_DETECTORS],
}

impl Default for Moments {
    /// Those of −ln of uniform p-values, half correlated.
    fn default() -> Self {
        let mut product = [[CORRELATION_PRIOR; N_DETECTORS]; N_DETECTORS];
        for (at, row) in product.iter_mut().enumerate() {
            row[at] = 1.0;
        }
        Self {
            mean: [1.0; N_DETECTORS],
            product,
            n: [[N_PRIOR; N_DETECTORS]; N_DETECTORS],
        }
    }
}

impl Moments {
    /// Learns what was said where nothing is wrong. O(detectors²).
    pub fn learn(&mut self, said: &Surprises) {
        let apart: [Option<f64>; N_DETECTORS] =
            std::array::from_fn(|i| said[i].map(|s| s.min(CUT) - self.mean[i]));
        for i in 0..N_DETECTORS {
            let Some(a) = apart[i] else { continue };
            for (j, b) in apart.iter().enumerate().take(i + 1) {
                let Some(b) = b else { continue };
                self.n[i][j] = (self.n[i][j] + 1.0).min(MEMORY);
                self.product[i][j] += (a * b - self.product[i][j]) / self.n[i][j];
                self.product[j][i] = self.product[i][j];
            }
            self.mean[i] += a / self.n[i][i];
        }
    }

    /// −ln p of all together; `None` where nobody knows. O(detectors²).
    #[must_use]
    pub fn combined(&self, weights: &Weights, said: &Surprises) -> Option<f64> {
        let w: [f64; N_DETECTORS] =
            std::array::from_fn(|i| said[i].map_or(0.0, |_| weights.all()[i]));
        let sum: f64 = (0..N_DETECTORS)
            .map(|i| w[i] * said[i].unwrap_or(0.0))
            .sum();
        let mean: f64 = (0..N_DETECTORS).map(|i| w[i] * self.mean[i]).sum();
        let mut variance = 0.0;
        for i in 0..N_DETECTORS {
            for j in 0..N_DETECTORS {
                variance += w[i] * w[j] * self.product[i][j];
            }
        }
        if mean <= 0.0 {
            return None;
        }
        // No sum is less spread than that of as many independent uniform p-values with half its mean: detectors that never speak.
        let least: f64 = w.iter().map(|w| w * w).sum::<f64>() / 4.0;
        let variance = variance.max(least);
        let (half_f, two_c) = (mean * mean / variance, variance / mean);
        Some(ln_upper_gamma(half_f, sum / two_c).min(SURPRISE_MAX))
    }
}

/// −ln of the chance that a gamma variable of shape `a` and scale one exceeds `x`: a series below the mean, a continued fraction above
/// (Press et al., Numerical Recipes, §6.2), taken in logarithms so that nothing underflows.
fn ln_upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = a * ln(x) - x - ln_gamma(a);
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-16 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return -ln((1.0 - sum * exp(front)).max(f64::MIN_POSITIVE));
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / tiny, 1.0 / b);
    let mut h = d;
    for i in 1..500 {
        let an = -f64::from(i) * (f64::from(i) - a);
        b += 2.0;
        d = an * d + b;
        d = 1.0 / if d.abs() < tiny { tiny } else { d };
        c = b + an / c;
        c = if c.abs() < tiny { tiny } else { c };
        h *= c * d;
        if (c * d - 1.0).abs() < 1e-14 {
            break;
        }
    }
    -(front + ln(h))
}

/// P(sick) of −ln p, 0 to 1. It is the `PRIOR` at most where p is above about 0.2, and one half at p = 7e-6.
#[must_use]
pub fn probability(surprise: f64) -> f64 {
    let p = exp(-surprise);
    // (1 − p + p ln p) / (p ln² p); its limit at p = 1 is one half.
    let factor = if surprise < 1e-3 {
        0.5
    } else {
        (-hsw_stats::exp_m1(-surprise) - p * surprise) / (p * surprise * surprise)
    };
    let odds = PRIOR / (1.0 - PRIOR) * factor;
    odds / (1.0 + odds)
}

/// What is said of a shard at a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// −ln p of all detectors together, 0 to [`SURPRISE_MAX`].
    pub surprise: f64,
    /// P(sick), 0 to 1.
    pub probability: f64,
}

/// Combination and its calibration, for many shards.
#[derive(Debug, Clone, Default)]
pub struct Fusion {
    moments: Moments,
    shared: Tail,
    own: BTreeMap<u32, Tail>,
}

impl Fusion {
    /// Judges a shard's window; `None` where nobody knows. `shard` is the caller's number for it.
    #[must_use]
    pub fn judge(&self, shard: u32, weights: &Weights, said: &Surprises) -> Option<Judged> {
        let combined = self.moments.combined(weights, said)?;
        let surprise = self.calibrated(shard, combined);
        Some(Judged {
            surprise,
            probability: probability(surprise),
        })
    }

    /// Learns a window of a shard that is under no incident. Amortised O(detectors²).
    pub fn learn(&mut self, shard: u32, weights: &Weights, said: &Surprises) {
        if let Some(combined) = self.moments.combined(weights, said) {
            self.shared.learn(combined + ZERO);
            self.own.entry(shard).or_default().learn(combined + ZERO);
        }
        self.moments.learn(said);
    }

    /// The detectors' joint moments.
    #[must_use]
    pub const fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Other weights: the sums' past is that of other sums.
    pub fn reweigh(&mut self) {
        self.shared = Tail::default();
        self.own.clear();
    }

    /// Brown's −ln p where there is no past, the sum's own past where there is: by shares of windows.
    fn calibrated(&self, shard: u32, combined: f64) -> f64 {
        let own = self.own.get(&shard);
        let n_own = own.map_or(0.0, Tail::n);
        let shared = blend(
            combined,
            self.shared.surprise(combined + ZERO),
            self.shared.n(),
            N_SHARED,
        );
        let own = own.and_then(|tail| tail.surprise(combined + ZERO));
        blend(shared, own, n_own, N_SHARED)
    }
}

/// Scores are told apart from here on: below a tenth of a nat none is worse than another.
const ZERO: f64 = 0.1;

/// `learned` weighs n of n + n₀.
fn blend(known: f64, learned: Option<f64>, n: f64, n_known: f64) -> f64 {
    learned.map_or(known, |learned| {
        (n * learned + n_known * known) / (n + n_known)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::uniform;
    use proptest::prelude::*;

    /// −ln p of uniform p-values, neighbours sharing what they see.
    fn calm(row: i64) -> Surprises {
        std::array::from_fn(|i| Some(-ln(uniform(row, i / 2))))
    }

    #[test]
    fn the_gamma_tail_is_the_known_one() {
        // Shape one is exponential; chi-squared of 4 degrees beyond 9.488 is 0.05.
        for x in [0.1, 1.0, 5.0, 60.0] {
            assert!((ln_upper_gamma(1.0, x) - x).abs() < 1e-9, "{x}");
        }
        assert!((exp(-ln_upper_gamma(2.0, 9.488 / 2.0)) - 0.05).abs() < 1e-5);
        assert!((exp(-ln_upper_gamma(5.0, 2.0)) - 0.947_346_982_656).abs() < 1e-9);
        assert!(ln_upper_gamma(3.0, 700.0).is_finite());
    }

    #[test]
    fn p_of_detectors_that_see_the_same_is_uniform_where_fisher_would_cry() {
        let mut fusion = Fusion::default();
        let weights = Weights::default();
        let (mut n_ours, mut n_fisher, mut n) = (0, 0, 0);
        for row in 0..40_000 {
            let said = calm(row);
            if row > 20_000 {
                n += 1;
                let judged = fusion.judge(0, &weights, &said).unwrap();
                n_ours += i32::from(judged.surprise > ln(100.0));
                let sum: f64 = said.iter().flatten().sum();
                n_fisher += i32::from(ln_upper_gamma(N_DETECTORS as f64, sum) > ln(100.0));
            }
            fusion.learn(0, &weights, &said);
        }
        let share = |k: i32| f64::from(k) / f64::from(n);
        assert!((0.006..0.015).contains(&share(n_ours)), "{}", share(n_ours));
        assert!(share(n_fisher) > 0.02, "{}", share(n_fisher));
    }

    #[test]
    fn before_anything_is_learned_half_correlation_is_assumed_and_a_lone_cry_is_heard() {
        let fusion = Fusion::default();
        let mut said = [None; N_DETECTORS];
        assert_eq!(fusion.judge(0, &Weights::default(), &said), None);
        said[0] = Some(20.0);
        let alone = fusion.judge(0, &Weights::default(), &said).unwrap();
        assert!(
            (alone.surprise - 20.0).abs() < 1e-6,
            "one p-value is itself"
        );
        said[1] = Some(0.5);
        let doubted = fusion.judge(0, &Weights::default(), &said).unwrap();
        assert!(doubted.surprise < alone.surprise && doubted.surprise > 8.0);
    }

    #[test]
    fn the_posterior_has_the_values_of_its_formula() {
        // p = 0.05: (0.95 − 0.1498)/(0.05 · 8.974) = 1.7834.
        let odds = 1.0e-3 / 0.999 * 1.7834;
        assert!((probability(-ln(0.05)) - odds / (1.0 + odds)).abs() < 1e-6);
        assert!((probability(-ln(7e-6)) - 0.5).abs() < 0.02);
        assert!(probability(0.0) < 1e-3 && probability(80.0) > 0.999_999);
    }

    proptest! {
        #[test]
        fn prop_more_surprise_is_never_less_probable(
            base in proptest::collection::vec(proptest::option::of(0.0..30.0_f64), N_DETECTORS), at in 0..N_DETECTORS, more in 0.0..40.0_f64,
            n_learned in 0_i64..300,
        ) {
            let mut fusion = Fusion::default();
            let weights = Weights::default();
            (0..n_learned).for_each(|row| fusion.learn(0, &weights, &calm(row)));
            let mut said: Surprises = std::array::from_fn(|i| base[i]);
            said[at] = Some(said[at].unwrap_or(0.0));
            let before = fusion.judge(0, &weights, &said).unwrap();
            said[at] = said[at].map(|s| s + more);
            let after = fusion.judge(0, &weights, &said).unwrap();
            prop_assert!(after.probability >= before.probability - 1e-9);
        }
    }
}
