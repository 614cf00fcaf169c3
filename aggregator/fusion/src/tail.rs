//! From a score to a p-value: how often has it been as bad as this? (steps 10–11)
//!
//! In: scores ≥ 0, one a row. Out: −ln p of the next one. Body: the share of earlier scores that are at least as high,
//! counted in a histogram of fixed relative width, halved whenever it is full, so that it forgets slowly. Tail, beyond the
//! [`TAIL`] highest: a Pareto law, whose exponent is the inverse of the mean log excess (Hill 1975), so that a score that
//! is twice the highest ever seen is rarer than the highest, as ranks alone cannot say.
//! Invariants: TL-1 p does not rise with the score. TL-2 p is at most 1, above 0. TL-3 scores in another unit give the
//! same p. TL-4 p is uniform where scores come from one law. Limits: 600 bytes. Source: Hill, Annals of Statistics 3(5), 1975.

use hsw_stats::ln;

/// Bins; together they span a factor of e^±10 about the first score, what lies outside counts in the last ones.
const N_BINS: usize = 128;
/// Bins per factor e: a bin is 18 % wide.
const BINS_PER_E: f64 = 6.0;
/// Share of scores that the tail's law is fitted to. 0.01 to 0.05 equal within noise on asd.
const TAIL: f64 = 0.02;
/// Scores in the tail before its own exponent outweighs the prior. 3 to 30 equal within noise.
const N_PRIOR: f64 = 10.0;
/// Mean log excess before anything is known. 0.1 to 0.6 equal within noise.
const EXCESS_PRIOR: f64 = 0.3;
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
    excess: f64,
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
            let beyond = (ln_score - self.fit.ln_threshold) / self.fit.excess;
            return Some((beyond - ln(self.fit.share)).min(SURPRISE_MAX));
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
        let wanted = TAIL * self.n;
        let ln_from = |bin: usize| centre + (bin as f64 - N_BINS as f64 / 2.0) / BINS_PER_E;
        let (mut above, mut excesses) = (0.0, 0.0);
        for bin in (0..N_BINS).rev() {
            let count = f64::from(self.counts[bin]);
            // All that lies above moves up by one bin's width, the bin's own by half of it.
            excesses += (above + count / 2.0) / BINS_PER_E;
            above += count;
            if above >= wanted && above > 0.0 {
                self.fit = Fit {
                    ln_threshold: ln_from(bin),
                    share: above / (self.n + 1.0),
                    excess: (excesses + N_PRIOR * EXCESS_PRIOR) / (above + N_PRIOR),
                };
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::noise;
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
