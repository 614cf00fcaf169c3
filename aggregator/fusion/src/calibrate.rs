//! From a probability that is told to one that is true: learned from labels. (step 11)
//!
//! In: (probability told, was it sick) pairs. Out: a map from 0…1 to 0…1. Invariants: CB-1 no map falls. CB-2 too few labels, or of one kind
//! only, give the map that changes nothing. Source: isotonic regression by pooling adjacent violators, Ayer et al., Ann. Math. Stat. 26, 1955;
//! Beta calibration, Kull, Silva Filho, Flach, AISTATS 2017, §4 (logistic regression on ln p and −ln(1 − p)).

/// Labels of each kind that a map needs: below it the three parameters of Beta calibration are noise (ours).
const N_EACH_MIN: usize = 5;
/// No probability is closer to 0 or 1 than this in a logarithm.
const P_MIN: f64 = 1e-6;
/// Newton's rounds at most.
const ROUNDS: usize = 50;
/// Weight of the ridge that keeps separable labels finite.
const RIDGE: f64 = 1e-3;

/// A step function.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Isotonic {
    /// (from this probability on, this is told), ascending; empty changes nothing.
    steps: Vec<(f64, f64)>,
}

impl Isotonic {
    /// Learns. O(n log n).
    #[must_use]
    pub fn fit(judged: &[(f64, bool)]) -> Self {
        if !are_enough(judged) {
            return Self::default();
        }
        let mut sorted = judged.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Blocks of (from, sum of outcomes, number).
        let mut blocks: Vec<(f64, f64, f64)> = Vec::new();
        for tied in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let sick = tied.iter().filter(|(_, is_sick)| *is_sick).count() as f64;
            blocks.push((tied[0].0, sick, tied.len() as f64));
            while let [.., (_, sum, n), (_, sum_last, n_last)] = blocks[..]
                && sum / n >= sum_last / n_last
            {
                blocks.pop();
                if let Some(before) = blocks.last_mut() {
                    before.1 += sum_last;
                    before.2 += n_last;
                }
            }
        }
        Self {
            steps: blocks
                .into_iter()
                .map(|(from, sum, n)| (from, sum / n))
                .collect(),
        }
    }

    /// The probability that is true.
    #[must_use]
    pub fn apply(&self, p: f64) -> f64 {
        let at = self.steps.partition_point(|(from, _)| *from <= p);
        match (at, self.steps.first()) {
            (_, None) => p,
            (0, Some((_, lowest))) => *lowest,
            _ => self.steps[at - 1].1,
        }
    }
}

/// 1 / (1 + exp(−(a·ln p − b·ln(1 − p) + c))), a and b ≥ 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaCalibration {
    a: f64,
    b: f64,
    c: f64,
}

impl Default for BetaCalibration {
    fn default() -> Self {
        Self {
            a: 1.0,
            b: 1.0,
            c: 0.0,
        }
    }
}

impl BetaCalibration {
    /// Learns by Newton's method; a parameter that would be negative is fixed at zero and the others learned anew (Kull et al. 2017, §4.2).
    #[must_use]
    pub fn fit(judged: &[(f64, bool)]) -> Self {
        if !are_enough(judged) {
            return Self::default();
        }
        let free = newton(judged, [true; 3]);
        let [a, b, c] = match (free[0] < 0.0, free[1] < 0.0) {
            (true, _) => newton(judged, [false, true, true]),
            (_, true) => newton(judged, [true, false, true]),
            _ => free,
        };
        Self {
            a: a.max(0.0),
            b: b.max(0.0),
            c,
        }
    }

    /// The probability that is true.
    #[must_use]
    pub fn apply(&self, p: f64) -> f64 {
        let [x, y, _] = parts(p);
        1.0 / (1.0 + hsw_stats::exp(-(self.a * x + self.b * y + self.c)))
    }
}

fn are_enough(judged: &[(f64, bool)]) -> bool {
    let n_sick = judged.iter().filter(|(_, is_sick)| *is_sick).count();
    n_sick.min(judged.len() - n_sick) >= N_EACH_MIN
}

fn parts(p: f64) -> [f64; 3] {
    let p = p.clamp(P_MIN, 1.0 - P_MIN);
    [hsw_stats::ln(p), -hsw_stats::ln(1.0 - p), 1.0]
}

/// Logistic regression with a ridge towards the map that changes nothing; parameters that are not `learned` stay 0.
fn newton(judged: &[(f64, bool)], learned: [bool; 3]) -> [f64; 3] {
    let mut w = [1.0, 1.0, 0.0];
    let start = w;
    for (w, learned) in w.iter_mut().zip(learned) {
        *w *= f64::from(u8::from(learned));
    }
    for _ in 0..ROUNDS {
        let mut gradient = [0.0; 3];
        let mut curve = [[0.0; 3]; 3];
        for (p, is_sick) in judged {
            let x = parts(*p);
            let z: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
            let told = 1.0 / (1.0 + hsw_stats::exp(-z));
            for i in 0..3 {
                gradient[i] += (told - f64::from(u8::from(*is_sick))) * x[i];
                for j in 0..3 {
                    curve[i][j] += told * (1.0 - told) * x[i] * x[j];
                }
            }
        }
        for i in 0..3 {
            gradient[i] += RIDGE * (w[i] - start[i]);
            curve[i][i] += RIDGE;
            if !learned[i] {
                gradient[i] = 0.0;
                curve.iter_mut().for_each(|row| row[i] = 0.0);
                curve[i] = [0.0; 3];
                curve[i][i] = 1.0;
            }
        }
        let step = solve(curve, gradient);
        // Far from the solution a whole step may overshoot: none is longer than this.
        let size = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
        let share = if size > 2.0 { 2.0 / size } else { 1.0 };
        for (w, step) in w.iter_mut().zip(step) {
            *w -= share * step;
        }
        if size < 1e-10 {
            break;
        }
    }
    w
}

/// Solves a symmetric positive definite system of three, by elimination.
fn solve(mut a: [[f64; 3]; 3], mut b: [f64; 3]) -> [f64; 3] {
    for i in 0..3 {
        for k in i + 1..3 {
            let share = a[k][i] / a[i][i];
            let pivot = a[i];
            for (entry, above) in a[k].iter_mut().zip(pivot).skip(i) {
                *entry -= share * above;
            }
            b[k] -= share * b[i];
        }
    }
    let mut x = [0.0; 3];
    for i in (0..3).rev() {
        let rest: f64 = (i + 1..3).map(|j| a[i][j] * x[j]).sum();
        x[i] = (b[i] - rest) / a[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::uniform;
    use crate::measure::{calibration_error, mean_log_loss};
    use proptest::prelude::*;

    /// Told p, sick with p⁸/(p⁸ + (1 − p)⁸): far too modest.
    fn modest(n: i64) -> Vec<(f64, bool)> {
        let truth = |p: f64| p.powi(8) / (p.powi(8) + (1.0 - p).powi(8));
        (0..n)
            .map(|row| (uniform(row, 0), uniform(row, 1) < truth(uniform(row, 0))))
            .collect()
    }

    #[test]
    fn what_was_too_modest_is_true_afterwards_on_labels_not_learned_from() {
        let (learned, held) = (modest(4_000), modest(8_000).split_off(4_000));
        let (isotonic, beta) = (Isotonic::fit(&learned), BetaCalibration::fit(&learned));
        let with = |map: &dyn Fn(f64) -> f64| -> Vec<(f64, bool)> {
            held.iter()
                .map(|(p, is_sick)| (map(*p), *is_sick))
                .collect()
        };
        assert!(calibration_error(&held).unwrap() > 0.1);
        assert!(calibration_error(&with(&|p| isotonic.apply(p))).unwrap() < 0.03);
        assert!(calibration_error(&with(&|p| beta.apply(p))).unwrap() < 0.03);
        assert!(mean_log_loss(&with(&|p| beta.apply(p))) < mean_log_loss(&held));
        assert!((beta.apply(0.5) - 0.5).abs() < 0.03, "{beta:?}");
        assert!(beta.a > 5.0 && beta.b > 5.0, "{beta:?}");
    }

    #[test]
    fn the_pools_of_adjacent_violators_are_those_worked_by_hand() {
        let judged: Vec<(f64, bool)> = [0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1]
            .iter()
            .enumerate()
            .map(|(at, sick)| (at as f64 / 100.0, *sick == 1))
            .collect();
        let map = Isotonic::fit(&judged);
        let told: Vec<f64> = judged.iter().map(|(p, _)| map.apply(*p)).collect();
        let (q, t) = (0.25, 2.0 / 3.0);
        assert_eq!(told, [0.0, 0.0, q, q, q, q, t, t, t, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn too_few_labels_change_nothing() {
        let few = [(0.9, true), (0.2, false)];
        assert!((Isotonic::fit(&few).apply(0.3) - 0.3).abs() < 1e-12);
        assert!((BetaCalibration::fit(&few).apply(0.3) - 0.3).abs() < 1e-9);
        assert!((BetaCalibration::fit(&[]).apply(0.7) - 0.7).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn prop_no_calibration_ever_falls(
            judged in proptest::collection::vec((0.0..1.0_f64, any::<bool>()), 0..60), a in 0.0..1.0_f64, b in 0.0..1.0_f64,
        ) {
            let (low, high) = (a.min(b), a.max(b));
            let isotonic = Isotonic::fit(&judged);
            prop_assert!(isotonic.apply(low) <= isotonic.apply(high));
            let beta = BetaCalibration::fit(&judged);
            prop_assert!(beta.apply(low) <= beta.apply(high) + 1e-12);
            prop_assert!((0.0..=1.0).contains(&beta.apply(a)));
        }
    }
}
