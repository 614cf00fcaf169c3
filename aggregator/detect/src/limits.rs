//! Limits that are known: which series is about to reach its own, and which stays beyond it, however usual that is? (step 10)
//!
//! In: a series' last four minutes and those of its siblings. Out: a [`Standing`], with a score on the scale of deviations.
//! A leak is as slow as its own past forgets, and far from its limit it is no harm: that it *will* be is seen from its trend alone.
//! What fills up: the medians of three thirds of the last minutes rise, each by at least half of what the other does, and at that pace
//! (which is Theil and Sen's slope of the three), less what the siblings grow by, the limit is reached within four times the minutes looked at.
//! What is passed: it has been beyond for four minutes on end, was not before, and the siblings are not.
//! Source: predict_linear in Prometheus as the kubernetes monitoring mixin uses it (`NodeFilesystemSpaceFillingUp`: from 60 % on, six hours
//! looked back, a day ahead). Invariants: KL-1 what all siblings do is nobody's. KL-2 a step is no trend. KL-3 a leak
//! is found before it is felt. A gap is unknown. Limits: no state; what fills is looked at from [`FILLS_FROM`] on, what is passed from half
//! of it on. Does not: say what is far ahead (ages of transactions, disks that fill in days).

use hsw_state::{RING_WINDOWS, Series};
use hsw_types::{MetricSpec, WindowIndex};

use crate::detector::{Judged, SCORE_OFF, SCORE_ON};
use crate::smooth::N_KNOWN_MIN;

/// Share of a limit from which on a trend counts (the mixin's: 40 % left).
const FILLS_FROM: f64 = 0.6;
/// Times the seconds looked back that a trend is good for (the mixin's: six hours, a day).
const AHEAD: f64 = 4.0;
/// Seconds looked back: from three medians of ten seconds up to all that is kept.
const LOOKS: [i64; 4] = [30, 60, 120, 240];
/// A third must rise by this share of what the other rises by: a step lies in one of them.
const STEADY: f64 = 0.5;
/// Scores beyond this say no more (as the engine's).
const SCORE_CERTAIN: f64 = 30.0;
/// Siblings that are looked at: what a median needs, however many there are.
const N_OTHERS: usize = 64;
/// Seconds that a limit must have been passed: all that is kept, less what rare series lack at both ends. Autovacuum looks three times in it,
/// by default (`autovacuum_naptime`).
const PASSED_S: i64 = RING_WINDOWS as i64 - 20;

/// Kinds of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// At 1 nothing more goes in.
    Full,
    /// Beyond the catalogue's `matters_from` something that should follow does not.
    Passed,
}

/// How a series stands to its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    /// [`SCORE_ON`] where it counts, more the less time is left; below, it only goes on.
    pub(crate) score: f64,
    /// Seconds until it is reached if it goes on so, 0 where it is passed; `None` where it neither nears it nor is beyond.
    pub(crate) left_s: Option<f64>,
}

impl Judged {
    /// What nears its limit counts, however usual its pace is.
    pub(crate) fn near(&mut self, standing: Option<Standing>) {
        let Some(standing) = standing.filter(|one| one.score >= SCORE_OFF) else {
            return;
        };
        self.score = self.score.max(standing.score);
        if standing.score >= SCORE_ON {
            self.counts = true;
            self.limit_s = standing.left_s;
        }
    }
}

/// The limit of a metric. What a cgroup's memory fills up with is given back when needed, so it is not among them.
pub(crate) fn limit_of(metric: &str) -> Option<Limit> {
    match metric {
        "data_fs.inodes_used_ratio" | "data_fs.used_ratio" | "pg.connections_ratio" => {
            Some(Limit::Full)
        }
        "pg.vacuum_overdue" => Some(Limit::Passed),
        _ => None,
    }
}

impl Limit {
    /// Values below this are far from it, whatever their past.
    pub(crate) const fn near_from(self, spec: &MetricSpec) -> f64 {
        match self {
            Self::Full => FILLS_FROM,
            Self::Passed => spec.matters_from * SCORE_OFF / SCORE_ON,
        }
    }

    /// How a series stands to it: `value` is the smoothed one now, beside the least that is remembered and the most of what is older than
    /// four minutes, in the metric's unit; `others` are the siblings' series. Asked from [`Self::near_from`] on. O(four minutes of at most
    /// [`N_OTHERS`] of them).
    pub(crate) fn standing<'a>(
        self,
        (spec, window): (&MetricSpec, WindowIndex),
        (value, [least, most]): (f64, [f64; 2]),
        series: &Series,
        others: impl Iterator<Item = &'a Series> + Clone,
    ) -> Option<Standing> {
        let others = others.take(N_OTHERS);
        match self {
            // What comes and goes has been here before; what only sways has not come far.
            Self::Full if value > most && value - least >= spec.floor => {
                let standing = fills(window, value, series, others);
                // What has come to where it is felt ends when that is usual, and begins nothing.
                let stays = (value >= spec.matters_from).then_some(Standing {
                    score: SCORE_OFF,
                    left_s: None,
                });
                standing
                    .filter(|one| one.score > SCORE_OFF)
                    .or(stays)
                    .or(standing)
            }
            // What has been so for longer than is remembered is no news: an incident about it would be one for ever.
            Self::Passed if least < spec.matters_from => {
                passed(window, spec.matters_from, series, others)
            }
            Self::Full | Self::Passed => None,
        }
    }
}

fn fills<'a>(
    window: WindowIndex,
    value: f64,
    series: &Series,
    others: impl Iterator<Item = &'a Series> + Clone,
) -> Option<Standing> {
    let standing = |look: i64| {
        let [first, second] = rises(series, window, look)?;
        if first.min(second) < STEADY * first.max(second) {
            return None;
        }
        let all = others.clone();
        let mut common: Vec<f64> = all
            .filter_map(|other| rises(other, window, look))
            .map(|[first, second]| first + second)
            .collect();
        let common = hsw_stats::median(&mut common).unwrap_or(0.0).max(0.0);
        let seconds = 2.0 * look as f64 / 3.0;
        let per_s = (first + second - common) / seconds;
        let left_s = (1.0 - value).max(0.0) / per_s;
        let score = (SCORE_ON * AHEAD * look as f64 / left_s.max(1.0)).min(SCORE_CERTAIN);
        (per_s > 0.0).then_some(Standing {
            score,
            left_s: Some(left_s),
        })
    };
    let all = LOOKS.into_iter().filter_map(standing);
    all.max_by(|a, b| a.score.total_cmp(&b.score))
}

/// By how much the median rises from the first third of a look to the second, and from that to the third.
fn rises(series: &Series, window: WindowIndex, look: i64) -> Option<[f64; 2]> {
    let third = look / 3;
    let mut medians = [0.0; 3];
    for (back, median) in medians.iter_mut().enumerate() {
        let last = window + -(third * back as i64);
        let mut values: Vec<f64> = series.back_from(last, third).map(|(_, v)| v).collect();
        if values.len() < N_KNOWN_MIN {
            return None;
        }
        // Of an odd number: a step in the middle must not give a value between.
        if values.len().is_multiple_of(2) {
            values.pop();
        }
        *median = hsw_stats::median(&mut values)?;
    }
    let [newest, middle, oldest] = medians;
    Some([middle - oldest, newest - middle])
}

fn passed<'a>(
    window: WindowIndex,
    from: f64,
    series: &Series,
    others: impl Iterator<Item = &'a Series>,
) -> Option<Standing> {
    let mut least = f64::INFINITY;
    let mut since = window;
    for (at, value) in series.back_from(window, RING_WINDOWS as i64) {
        least = least.min(value);
        since = at;
    }
    if window - since < PASSED_S {
        return None;
    }
    let newest = |other: &Series| other.back_from(window, PASSED_S).next();
    let mut now: Vec<f64> = others.filter_map(newest).map(|(_, value)| value).collect();
    let is_common = hsw_stats::median(&mut now).is_some_and(|all| all >= from);
    (!is_common).then_some(Standing {
        score: (SCORE_ON * least / from).min(SCORE_CERTAIN),
        left_s: Some(0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::metric_spec;

    fn series(values: impl Fn(i64) -> Option<f64>) -> Series {
        let mut series = Series::new(WindowIndex(0));
        for at in 0..300 {
            if let Some(value) = values(at) {
                series.put(WindowIndex(at), value);
            }
        }
        series
    }

    /// How it stands at second 299.
    fn standing(metric: &str, usual: f64, own: &Series, others: &[Series]) -> Option<Standing> {
        let spec = metric_spec(metric).unwrap();
        let value = own.back_from(WindowIndex(299), 5).next()?.1;
        limit_of(metric)?.standing(
            (spec, WindowIndex(299)),
            (value, [usual; 2]),
            own,
            others.iter(),
        )
    }

    #[test]
    fn a_limit_that_does_not_count_yet_keeps_a_finding_and_says_nothing() {
        let after = |score| {
            let mut judged = Judged {
                score: 1.0,
                limit_s: None,
                ..Judged::default()
            };
            judged.near(Some(Standing {
                score,
                left_s: Some(60.0),
            }));
            (judged.score, judged.counts, judged.limit_s)
        };
        assert_eq!(after(SCORE_OFF - 0.1), (1.0, false, None));
        assert_eq!(after(SCORE_ON - 0.1), (SCORE_ON - 0.1, false, None));
        assert_eq!(after(SCORE_ON), (SCORE_ON, true, Some(60.0)));
    }

    const SESSIONS: &str = "pg.connections_ratio";

    #[test]
    fn a_leak_counts_before_it_is_felt_and_says_how_long_it_takes() {
        // From 30 % on, a hundredth each three seconds: a minute and a half is left at 70 %.
        let leak = series(|at| Some(0.3 + ((at - 180).max(0) as f64) / 300.0));
        let found = standing(SESSIONS, 0.3, &leak, &[]).unwrap();
        assert!(found.score >= SCORE_ON, "{found:?}");
        assert!(
            found.left_s.is_some_and(|s| (s - 90.0).abs() < 3.0),
            "{found:?}"
        );
        // A tenth of that pace: within four times four minutes from 68 % on.
        let slow = |now: f64| series(move |at| Some(now - ((299 - at) as f64) / 3_000.0));
        let score = |now| standing(SESSIONS, 0.3, &slow(now), &[]).unwrap().score;
        assert!(score(0.62) < SCORE_ON && score(0.7) >= SCORE_ON);
    }

    #[test]
    fn a_step_noise_and_what_is_usual_are_no_trend_and_a_gap_is_unknown() {
        for step_at in 200..299 {
            let step = series(|at| Some(if at < step_at { 0.3 } else { 0.78 }));
            assert_eq!(standing(SESSIONS, 0.3, &step, &[]), None, "{step_at}");
        }
        let noise = series(|at| Some(0.7 + 0.02 * ((at * 7_919 % 13) as f64 / 13.0 - 0.5)));
        let score = standing(SESSIONS, 0.3, &noise, &[]).map_or(0.0, |one| one.score);
        assert!(score < SCORE_OFF, "{score}");
        let leak = |at: i64| 0.3 + ((at - 180).max(0) as f64) / 300.0;
        let gap = series(|at| (!(285..297).contains(&at)).then(|| leak(at)));
        let whole = series(|at| Some(leak(at)));
        assert!(
            standing(SESSIONS, 0.6, &whole, &[]).is_none(),
            "it was so before"
        );
        let lost = series(|at| (!(60..=294).contains(&at)).then(|| leak(at)));
        assert_eq!(standing(SESSIONS, 0.3, &lost, &[]), None);
        let left = |one| standing(SESSIONS, 0.3, one, &[]).and_then(|one| one.left_s);
        let apart = left(&gap).unwrap() - left(&whole).unwrap();
        assert!(apart.abs() < 10.0, "longer looks know it all the same");
    }

    #[test]
    fn what_all_siblings_do_is_nobodys() {
        let leak = series(|at| Some(0.3 + ((at - 180).max(0) as f64) / 300.0));
        let others = [leak.clone(), leak.clone(), leak.clone()];
        assert_eq!(standing(SESSIONS, 0.3, &leak, &others), None);
        let overdue = series(|_| Some(3.0));
        let calm = series(|_| Some(0.6));
        let metric = "pg.vacuum_overdue";
        let own = |others: &[Series]| standing(metric, 0.5, &overdue, others);
        assert_eq!(own(&[overdue.clone(), overdue.clone(), calm.clone()]), None);
        assert_eq!(
            own(&[calm.clone(), calm, overdue.clone()]).unwrap().score,
            7.5
        );
    }

    #[test]
    fn a_vacuum_is_overdue_when_it_has_been_for_four_minutes_on_end() {
        // A busy table: beyond the limit before each look of autovacuum, and vacuumed then.
        let busy = series(|at| Some((at % 120) as f64 / 30.0));
        let of = |one: &Series| standing("pg.vacuum_overdue", 0.5, one, &[]);
        assert!(of(&busy).is_none_or(|one| one.score < SCORE_OFF));
        let grows = series(|at| (at % 2 == 0).then_some(1.5 + at as f64 / 300.0));
        let found = of(&grows).map_or(0.0, |one| one.score);
        assert!((SCORE_OFF..SCORE_ON).contains(&found), "{found}");
        let off = series(|at| (at % 2 == 0).then_some(2.2 + at as f64 / 300.0));
        assert!(of(&off).is_some_and(|one| one.score >= SCORE_ON));
        let usual = standing("pg.vacuum_overdue", 2.1, &off, &[]);
        assert_eq!(usual, None, "it always was");
        let young = series(|at| (at > 100).then_some(3.0));
        assert_eq!(of(&young), None);
    }
}
