//! From a score to a p-value: how often has it been as bad as this? (steps 10–11)
//!
//! In: scores ≥ 0, one a row. Out: −ln p of the next one. Body: the share of earlier scores that are at least as high,
//! counted in a histogram of fixed relative width, halved whenever it is full, so that it forgets slowly. Tail, beyond the
//! [`TAIL`] highest, [`N_TAIL`] at least: a Pareto law (Hill 1975), so that a score that is twice the highest ever seen is rarer than the
//! highest, as ranks alone cannot say. Its exponent is estimated, from k excesses in logarithms with the sum S: the chance that the next one
//! exceeds y is (1 + y / S)^−k, whatever the exponent is, since an exponential beyond S times c of k others has (1 + c)^−k. So few scores
//! say little of what is far beyond them, and what they say is true.
//! Invariants: TL-1 p does not rise with the score. TL-2 p is at most 1, above 0. TL-3 scores in another unit give the
//! same p. TL-4 p is uniform where scores come from one law. TL-5 p is below 1/10, 1/100, 1/1,000 at most twice as often as that, from the
//! first minute on, for tails down to those without a mean. Limits: 600 bytes. Source: Hill, Annals of Statistics 3(5), 1975.

use hsw_stats::{ln, ln_1p};

/// Bins; together they span a factor of e^±10 about the first score, what lies outside counts in the last ones.
const N_BINS: usize = 128;
/// Bins per factor e: a bin is 18 % wide.
const BINS_PER_E: f64 = 6.0;
/// Share of scores that the tail's law is fitted to. 0.01 to 0.05 equal within noise on asd.
const TAIL: f64 = 0.02;
/// Scores that it is fitted to at least, as long as they are [`TAIL_MAX`] of all at most.
const N_TAIL: f64 = 10.0;
const TAIL_MAX: f64 = 0.25;
/// A bin with more than so many times the wanted scores is no tail but what is usual: a detector that hardly ever speaks.
const USUAL: f64 = 4.0;
/// Excesses that the prior is worth. 3 to 30 equal within noise on asd; the fewer, the heavier a tail may be.
const N_PRIOR: f64 = 3.0;
/// Mean log excess before anything is known. 0.1 to 0.6 equal within noise.
const EXCESS_PRIOR: f64 = 0.5;
/// Scores remembered before all counts are halved: three weeks of minutes.
const N_MAX: f64 = 30_000.0;
/// Scores before anything is known. 4 to 24 equal on asd and nab; the fewer, the sooner a short recording is judged.
const N_MIN: f64 = 8.0;
/// Highest −ln p that is told.
pub const SURPRISE_MAX: f64 = 80.0;

/// The past of a score. See the module's header.
#[derive(Debug, Clone)]
pub struct Tail {
    counts: Box<[f32; N_BINS]>,
    /// Logarithm of the score in the middle; set by the first score above zero.
    centre: Option<f64>,
    /// Scores learned, zeros among them.
    n: f64,
    fit: Fit,
    n_unfitted: u32,
}

/// The law beyond the tail's threshold.
#[derive(Debug, Clone, Copy, Default)]
struct Fit {
    ln_threshold: f64,
    share: f64,
    /// Excesses, the prior's among them, and their sum in logarithms.
    n: f64,
    sum: f64,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            counts: Box::new([0.0; N_BINS]),
            centre: None,
            n: 0.0,
            fit: Fit::default(),
            n_unfitted: 0,
        }
    }
}

impl Tail {
    /// −ln p of `score`, 0 to [`SURPRISE_MAX`]; `None` before `N_MIN` scores. O(bins).
    #[must_use]
    pub fn surprise(&self, score: f64) -> Option<f64> {
        if self.n < N_MIN {
            return None;
        }
        let (Some(at), true) = (self.place(score), score > 0.0) else {
            return Some(0.0);
        };
        let ln_score = ln(score);
        if self.fit.share > 0.0 && ln_score > self.fit.ln_threshold {
            let beyond = (ln_score - self.fit.ln_threshold) / self.fit.sum;
            let surprise = self.fit.n * ln_1p(beyond) - ln(self.fit.share);
            return Some(surprise.min(SURPRISE_MAX));
        }
        // Within a bin scores are taken as spread evenly over its logarithm.
        let bin = (at as usize).min(N_BINS - 1);
        let above: f64 = self.counts[bin + 1..].iter().map(|n| f64::from(*n)).sum();
        let within = f64::from(self.counts[bin]) * (1.0 - (at - bin as f64).clamp(0.0, 1.0));
        let p = (above + within + 1.0) / (self.n + 1.0);
        Some(-ln(p.min(1.0)))
    }

    /// Adds a score to the past. Amortised O(1).
    pub fn learn(&mut self, score: f64) {
        if score > 0.0 && self.centre.is_none() {
            self.centre = Some(ln(score));
        }
        if let Some(at) = self.place(score) {
            self.counts[(at as usize).min(N_BINS - 1)] += 1.0;
        }
        self.n += 1.0;
        if self.n >= N_MAX {
            for count in self.counts.iter_mut() {
                *count *= 0.5;
            }
            self.n *= 0.5;
        }
        // Fitted anew when a hundredth of the past is new: oftener changes nothing.
        self.n_unfitted += 1;
        if f64::from(self.n_unfitted) * 100.0 >= self.n {
            self.n_unfitted = 0;
            self.refit();
        }
    }

    /// Scores it rests upon, counts halved when full.
    #[must_use]
    pub const fn n(&self) -> f64 {
        self.n
    }

    /// What it has allocated.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        N_BINS * size_of::<f32>()
    }

    /// Place among the bins, in bins; `None` for a score of zero.
    fn place(&self, score: f64) -> Option<f64> {
        let centre = self.centre.filter(|_| score > 0.0)?;
        let at = (ln(score) - centre) * BINS_PER_E + N_BINS as f64 / 2.0;
        Some(at.clamp(0.0, N_BINS as f64 - 1e-9))
    }

    fn refit(&mut self) {
        let Some(centre) = self.centre else { return };
        let wanted = (TAIL * self.n).max(N_TAIL.min(TAIL_MAX * self.n));
        let ln_from = |bin: usize| centre + (bin as f64 - N_BINS as f64 / 2.0) / BINS_PER_E;
        let n_above_zero: f64 = self.counts.iter().map(|n| f64::from(*n)).sum();
        let (mut above, mut excesses) = (0.0, 0.0);
        let mut from = N_BINS;
        while from > 0 && above < wanted.min(n_above_zero) {
            let count = f64::from(self.counts[from - 1]);
            if above > 0.0 && above + count > USUAL * wanted {
                break;
            }
            // All that lies above moves up by one bin's width, the bin's own by half of it.
            excesses += (above + count / 2.0) / BINS_PER_E;
            above += count;
            from -= 1;
        }
        if above > 0.0 {
            self.fit = Fit {
                ln_threshold: ln_from(from),
                share: (above + 1.0) / (self.n + 1.0),
                n: above + N_PRIOR,
                sum: excesses + N_PRIOR * EXCESS_PRIOR,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::{noise, uniform};
    use hsw_stats::exp;
    use proptest::prelude::*;

    fn taught(scores: impl IntoIterator<Item = f64>) -> Tail {
        let mut tail = Tail::default();
        scores.into_iter().for_each(|score| tail.learn(score));
        tail
    }

    #[test]
    fn nothing_is_said_before_there_is_a_past() {
        assert_eq!(taught([1.0; 7]).surprise(9.0), None);
        assert!(taught([1.0; 8]).surprise(9.0).unwrap() > 2.0);
    }

    #[test]
    fn p_is_uniform_where_scores_come_from_one_law() {
        // Squares of sums of four: light enough a tail, and far from uniform itself.
        let score = |row: i64| (0..4).map(|k| noise(row, k)).sum::<f64>().powi(2);
        let mut tail = taught((0..4_000).map(score));
        let (mut below_tenth, mut below_hundredth) = (0, 0);
        for row in 4_000..24_000 {
            let surprise = tail.surprise(score(row)).unwrap();
            below_tenth += u32::from(surprise > -ln(0.1));
            below_hundredth += u32::from(surprise > -ln(0.01));
            tail.learn(score(row));
        }
        assert!((1_800..=2_200).contains(&below_tenth), "{below_tenth}");
        assert!((140..=260).contains(&below_hundredth), "{below_hundredth}");
    }

    /// A score of a uniform number.
    type Law = fn(f64) -> f64;

    /// Light and heavy tails, down to one without a mean, and a detector that hardly ever speaks.
    const LAWS: [(&str, Law); 6] = [
        ("exponential", |u| -ln(u)),
        ("squared deviations", |u| 1.0 + ln(u) * ln(u) / 2.0),
        ("narrow", |u| 100.0 + u),
        ("log-logistic", |u| exp(0.7 * ln((1.0 - u) / u))),
        ("Pareto of exponent one", |u| 1.0 / u),
        ("speaks in one of 50", |u| {
            if u < 0.02 {
                1.0 - 2.0 * ln(50.0 * u)
            } else {
                1.0
            }
        }),
    ];

    /// How often p is at most each of these, over so many runs of rows that are judged and then learned.
    fn said(law: Law, rows: std::ops::Range<i64>, n_runs: i64) -> [(f64, f64); 3] {
        let mut said = [(0.1, 0.0), (0.01, 0.0), (0.001, 0.0)];
        for run in 0..n_runs {
            let score = |row: i64| law(uniform(run * 10_000 + row, rows.start as usize));
            let mut tail = taught((0..rows.start).map(score));
            for row in rows.clone() {
                let surprise = tail.surprise(score(row)).unwrap();
                for (p, n) in &mut said {
                    *n += f64::from(u8::from(surprise >= -ln(*p)));
                }
                tail.learn(score(row));
            }
        }
        let n_rows = ((rows.end - rows.start) * n_runs) as f64;
        said.map(|(p, n)| (p, n / n_rows))
    }

    #[test]
    fn p_is_honest_from_the_first_minutes_on_whatever_the_tail() {
        for (name, law) in LAWS {
            for (rows, n_runs) in [(60..300, 400), (300..900, 200), (900..4_000, 60)] {
                for (p, share) in said(law, rows.clone(), n_runs) {
                    assert!(share <= 2.0 * p, "{name}, {rows:?}: p ≤ {p} in {share}");
                }
            }
        }
    }

    #[test]
    fn twice_the_highest_ever_is_rarer_than_the_highest() {
        let tail = taught((1..1_000).map(f64::from));
        let of = |score: f64| tail.surprise(score).unwrap();
        assert!(of(2_000.0) > of(1_000.0) + 1.0);
        assert!(of(1e30) <= SURPRISE_MAX);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut tail = taught((0..20_000).map(|row| 100.0 + noise(row, 0)));
        let before = tail.surprise(100.0).unwrap();
        (0..200_000).for_each(|row| tail.learn(1.0 + 0.1 * noise(row, 0)));
        assert!(before < 1.5 && tail.surprise(100.0).unwrap() > 5.0);
    }

    proptest! {
        #[test]
        fn prop_p_never_rises_with_the_score(
            past in proptest::collection::vec(0.0..1e3_f64, 8..400), a in 0.0..1e4_f64, b in 0.0..1e4_f64,
        ) {
            let tail = taught(past);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(tail.surprise(low).unwrap() <= tail.surprise(high).unwrap() + 1e-9);
            prop_assert!(tail.surprise(low).unwrap() >= 0.0);
        }

        #[test]
        fn prop_scores_in_another_unit_give_the_same_p(
            past in proptest::collection::vec(0.01..1e3_f64, 8..200), score in 0.01..1e3_f64, octaves in -20_i32..20,
        ) {
            let factor = 2.0_f64.powi(octaves);
            let plain = taught(past.iter().copied()).surprise(score).unwrap();
            let other = taught(past.iter().map(|s| s * factor)).surprise(score * factor).unwrap();
            // A score on a bin's edge may fall on either side of it.
            prop_assert!((plain - other).abs() < 0.5, "{plain} {other}");
        }
    }
}
