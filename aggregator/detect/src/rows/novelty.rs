//! One series by itself: is it where it has never been? (step 10)
//!
//! In: a time and a value a row. Out: a [`Verdict`] a row. Score: the distance from the value to the nearest of all
//! earlier ones, in ranges of the series; likewise of two residuals, from the mean of the last rows and from level and
//! season, each weighed by the share of the series' spread that its prediction explains: a season counts where there is one.
//! What lasts is no news: while the score stays below its highest, which fades, only [`STANDING`] of it is told.
//! p is calibrated on what the series itself was told before.
//! Invariants: NV-1 a series that repeats itself scores next to nothing. NV-2 a·x + b is judged as x is. NV-3 a value that is missing is
//! unknown and teaches nothing. Limits: under 2 KiB; O(bins) a row, no allocation.
//! Source: nearest neighbour's distance as in Knorr, Ng, VLDB 1998, and Ramaswamy, Rastogi, Shim, SIGMOD 2000, with k = 1,
//! over the [`Histogram`] of all values. k = 5 is worse by 7, k = 20 by 12 points of NAB's standard profile.
//! Does not: name columns, there is one; see a change that stays within what has been, in any of the three aspects.

use hsw_fusion::Tail;

use super::Verdict;
use super::column::Column;
use super::histogram::Histogram;
use super::rhythm::Rhythm;

/// Rows of the short mean. 4 to 16 equal within noise.
const RECENT_ROWS: f64 = 8.0;
/// Share of values at either end that do not count for the range. 0 to 0.002:
/// 68 to 71 points of NAB, at this value 70; 0.01 is worse, 55, since what is rare is then often beyond the range.
const WITHOUT: f64 = 0.001;
/// The range is at least this share of the whole range.
const RANGE_FLOOR: f64 = 0.01;
/// Values before anything is told.
const N_KNOWN: u32 = 24;
/// Rows that the sizes of residuals are means over, at most.
const MEMORY_ROWS: f64 = 2_000.0;
/// Share of a score that is told while it is no news. 0 to 0.2 equal within noise.
const STANDING: f64 = 0.1;
/// What remains of the highest score a row later: half after 24 rows, 2^(−1/24). 10 to 50 rows equal within a point.
const FADE: f64 = 0.971_531_941_153_606;

/// What a value may be new in.
#[derive(Debug, Clone, Default)]
struct Aspect {
    seen: Histogram,
    /// Mean absolute size.
    size: f64,
}

/// The model of one series. See the module's header.
#[derive(Debug, Clone, Default)]
pub struct Novelty {
    rhythm: Rhythm,
    column: Column,
    n: u32,
    recent: f64,
    level: Aspect,
    jump: Aspect,
    season: Aspect,
    /// The highest score, fading.
    highest: f64,
    tail: Tail,
}

impl Novelty {
    /// Judges the next value, NaN where it is unknown, then learns it. `time_s` in seconds, where it is known.
    pub fn step(&mut self, time_s: Option<f64>, value: f64) -> Verdict {
        let moment = self.rhythm.tick(time_s);
        self.highest *= FADE;
        if value.is_nan() {
            self.column.learn(value, &moment);
            return Verdict::UNKNOWN;
        }
        if self.n == 0 {
            self.recent = value;
        }
        let level = self.column.beyond_first(value);
        let jump = value - self.recent;
        let season = self.column.residual(value, &moment);
        let verdict = if self.n < N_KNOWN {
            Verdict::UNKNOWN
        } else {
            let spread = self.column.spread();
            let score = self.level.novelty(level)
                + self.jump.explained(spread) * self.jump.novelty(jump)
                + self.season.explained(spread) * self.season.novelty(season);
            self.tell(score)
        };
        self.n = self.n.saturating_add(1);
        let weight = (1.0 / f64::from(self.n)).max(1.0 / MEMORY_ROWS);
        self.level.learn(level, weight);
        self.jump.learn(jump, weight);
        self.season.learn(season, weight);
        self.column.learn(value, &moment);
        self.recent += (value - self.recent) / RECENT_ROWS;
        verdict
    }

    /// Holds back what is no news, and calibrates the rest.
    fn tell(&mut self, score: f64) -> Verdict {
        let told = if score > self.highest {
            self.highest = score;
            score
        } else {
            STANDING * score
        };
        let surprise = self.tail.surprise(told).unwrap_or(0.0);
        self.tail.learn(told);
        Verdict {
            score: told,
            p: hsw_stats::exp(-surprise),
            is_known: true,
        }
    }
}

impl Aspect {
    /// Distance to the nearest earlier value, in ranges of all of them; 1 for the first value that differs at all.
    fn novelty(&self, value: f64) -> f64 {
        let Some(distance) = self.seen.distance(value) else {
            return 0.0;
        };
        let whole = self.seen.range(0.0);
        let range = self.seen.range(WITHOUT).max(RANGE_FLOOR * whole);
        if range > 0.0 {
            distance / range
        } else {
            f64::from(distance > 0.0)
        }
    }

    /// Share of the series' spread that is gone once this residual is taken, 0 to 1.
    fn explained(&self, spread: f64) -> f64 {
        if spread > 0.0 {
            (1.0 - self.size / spread).max(0.0)
        } else {
            0.0
        }
    }

    fn learn(&mut self, value: f64, weight: f64) {
        self.seen.learn(value);
        self.size += weight * (value.abs() - self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::noise;
    use proptest::prelude::*;

    fn run(values: impl IntoIterator<Item = f64>) -> Vec<Verdict> {
        let mut model = Novelty::default();
        let times = (0..).map(|row| f64::from(row) * 300.0);
        times
            .zip(values)
            .map(|(time, value)| model.step(Some(time), value))
            .collect()
    }

    #[test]
    fn a_series_that_repeats_itself_scores_nothing() {
        let square = (0..2_000).map(|row| f64::from(row / 12 % 2));
        let verdicts = run(square);
        let worst = verdicts[600..]
            .iter()
            .fold(0.0_f64, |worst, v| worst.max(v.score));
        assert!(worst < 1e-2, "{worst}");
        assert!(run([5.0; 400]).iter().all(|v| v.score == 0.0 && v.p > 0.5));
    }

    #[test]
    fn the_first_value_beyond_all_earlier_ones_is_news_and_the_next_is_not() {
        let values = (0..1_200).map(|row| noise(row, 0) + if row >= 1_000 { 8.0 } else { 0.0 });
        let verdicts = run(values);
        let worst = (24..1_200).max_by(|a, b| verdicts[*a].score.total_cmp(&verdicts[*b].score));
        assert_eq!(worst, Some(1_000));
        assert!(verdicts[1_000].p < 1e-3);
        assert!(
            verdicts[1_001..1_010]
                .iter()
                .all(|v| v.score < 0.5 * verdicts[1_000].score)
        );
    }

    #[test]
    fn a_missing_season_is_new_though_the_level_is_not() {
        let day = |row: i64| (row % 288) as f64 / 288.0;
        let usual =
            |row: i64| (day(row) * std::f64::consts::TAU).sin() * 10.0 + 0.2 * noise(row, 0);
        // At the hour of the peak it is as it is at night: a value it has had every day.
        let verdicts = run((0..2_880).map(|row| {
            usual(if (2_660..2_690).contains(&row) {
                row + 144
            } else {
                row
            })
        }));
        let highest = |rows: std::ops::Range<usize>| {
            verdicts[rows].iter().fold(0.0_f64, |a, v| a.max(v.score))
        };
        assert!(highest(2_660..2_664) > 2.0 * highest(1_500..2_660));
    }

    #[test]
    fn a_gap_is_unknown_and_teaches_nothing() {
        let whole = run((0..500).map(|row| noise(row, 0)));
        let mut model = Novelty::default();
        let mut verdicts = Vec::new();
        for row in 0..500 {
            assert_eq!(model.step(None, f64::NAN), Verdict::UNKNOWN);
            verdicts.push(model.step(None, noise(row, 0)));
        }
        let is_known = |verdicts: &[Verdict]| verdicts.iter().filter(|v| v.is_known).count();
        assert_eq!(is_known(&whole), is_known(&verdicts));
        assert!(verdicts.iter().all(|v| v.score.is_finite() && v.p > 0.0));
    }

    #[test]
    fn a_series_stays_under_two_kibibytes() {
        assert!(Novelty::bytes() <= 2_048, "{}", Novelty::bytes());
    }

    impl Novelty {
        fn bytes() -> usize {
            size_of::<Self>() + Tail::default().bytes()
        }
    }

    proptest! {
        #[test]
        fn prop_another_unit_changes_nothing(
            values in proptest::collection::vec(-50_i32..50, 60..200), shift in -8_i32..8, octaves in -6_i32..6,
        ) {
            let factor = 2.0_f64.powi(octaves);
            let plain = run(values.iter().map(|v| f64::from(*v)));
            let other = run(values.iter().map(|v| f64::from(*v + shift) * factor));
            for (a, b) in plain.iter().zip(&other) {
                prop_assert!((a.score - b.score).abs() <= 1e-4 * (1.0 + a.score), "{} {}", a.score, b.score);
            }
        }
    }
}
