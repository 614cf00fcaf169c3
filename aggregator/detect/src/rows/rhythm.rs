//! What time it is in a table: how long a row lasts, which part of the day it is in. (step 10)
//!
//! In: the time of each row, where the table has one. Out: a [`Moment`]: weights of exponential means that span a quarter
//! of an hour and a day of this table's own rows, the slot of the day and the day of the week.
//! Limits: 9 steps. Does not: know time zones; a day begins where the table's clock says so.

use hsw_stats::{exp, median};

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;
/// Slots of a day: a quarter of an hour each. 48 to 288 equal within noise on asd and nab.
pub(crate) const N_SLOTS: usize = 96;
/// Seconds of the short span.
const SHORT_S: f64 = 900.0;
/// Rows of the short span, at least and at most, whatever a row lasts: fewer would be the noise of single rows, more would
/// be late. At least 3 to 8 equal within noise on asd, 12 is worse.
const SHORT_ROWS: [f64; 2] = [6.0, 32.0];
/// Rows of the long span, at least and at most, whatever a row lasts.
const LONG_ROWS: [f64; 2] = [96.0, 4_320.0];
/// Rows of the spans of a table without times: those of rows of five minutes.
const UNTIMED_ROWS: [f64; 2] = [6.0, 288.0];
/// Steps whose median is the length of a row.
const N_STEPS: usize = 9;
/// Rows longer than this show nothing of a day.
const STEP_S_MAX: f64 = DAY_S / 4.0;

/// Where a row stands in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    /// Rows before this one.
    pub(crate) n_rows: u64,
    /// Weight of a row in a mean over the short span.
    pub(crate) short: f64,
    /// Weight of a row in a mean over the long span, a day.
    pub(crate) long: f64,
    /// Slot of the day; `None` where times are unknown or rows too long for a day to show.
    pub(crate) slot: Option<usize>,
    /// Day of the week, 0 to 6, where the slot is known.
    pub(crate) weekday: usize,
    /// Share of its slot that a row fills, at most 1.
    pub(crate) share_of_slot: f64,
}

/// Learns the length of a row. See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rhythm {
    n_rows: u64,
    before_s: Option<f64>,
    steps_s: [f32; N_STEPS],
    n_steps: usize,
    step_s: Option<f64>,
}

impl Rhythm {
    /// The next row's moment. O(1).
    pub(crate) fn tick(&mut self, time_s: Option<f64>) -> Moment {
        let n_rows = self.n_rows;
        self.n_rows += 1;
        let time_s = time_s.filter(|time_s| time_s.is_finite());
        if let (Some(time_s), Some(before_s)) = (time_s, self.before_s) {
            // A clock that goes back or stands still says nothing of the length of a row.
            if time_s > before_s && self.n_steps < N_STEPS {
                self.steps_s[self.n_steps] = (time_s - before_s) as f32;
                self.n_steps += 1;
                let mut steps = self.steps_s.map(f64::from);
                self.step_s = median(&mut steps[..self.n_steps]);
            }
        }
        self.before_s = time_s.or(self.before_s);
        let [short, long] = match self.step_s {
            Some(step_s) => [
                (SHORT_S / step_s).clamp(SHORT_ROWS[0], SHORT_ROWS[1]),
                (DAY_S / step_s).clamp(LONG_ROWS[0], LONG_ROWS[1]),
            ],
            None => UNTIMED_ROWS,
        };
        let has_days = self.step_s.is_none_or(|step_s| step_s <= STEP_S_MAX);
        Moment {
            n_rows,
            short: weight(short),
            long: weight(long),
            slot: time_s.filter(|_| has_days).map(slot),
            weekday: time_s.map_or(0, |time_s| {
                (time_s / DAY_S).floor().rem_euclid(7.0) as usize % 7
            }),
            share_of_slot: self
                .step_s
                .map_or(1.0, |step_s| (step_s * N_SLOTS as f64 / DAY_S).min(1.0)),
        }
    }
}

/// The weight of a row in an exponential mean over so many rows.
fn weight(rows: f64) -> f64 {
    1.0 - exp(-1.0 / rows)
}

fn slot(time_s: f64) -> usize {
    let of_day = time_s.rem_euclid(DAY_S) / DAY_S;
    ((of_day * N_SLOTS as f64) as usize).min(N_SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(times: impl IntoIterator<Item = Option<f64>>) -> Moment {
        let mut rhythm = Rhythm::default();
        times
            .into_iter()
            .map(|time| rhythm.tick(time))
            .last()
            .unwrap()
    }

    #[test]
    fn spans_follow_the_length_of_a_row_within_bounds() {
        let rows = |step: f64| {
            let moment = last((0..20).map(|row| Some(f64::from(row) * step)));
            (-1.0 / ln_1m(moment.short), -1.0 / ln_1m(moment.long))
        };
        let is = |(a, b): (f64, f64), short: f64, long: f64| {
            (a - short).abs() < 1e-6 && (b - long).abs() < 1e-6
        };
        assert!(is(rows(60.0), 15.0, 1_440.0));
        assert!(is(rows(300.0), 6.0, 288.0));
        assert!(is(rows(1.0), 32.0, 4_320.0));
        assert!(is(rows(3_600.0), 6.0, 96.0));
    }

    fn ln_1m(weight: f64) -> f64 {
        hsw_stats::ln_1p(-weight)
    }

    #[test]
    fn slots_and_weekdays_are_those_of_the_clock() {
        // 1970-01-01 was the first day; 1970-01-09 the second of the next week.
        let moment = last([0.0, 300.0, 600.0, 8.5 * DAY_S].map(Some));
        assert_eq!((moment.slot, moment.weekday), (Some(N_SLOTS / 2), 1));
        assert_eq!(last([-1.0].map(Some)).slot, Some(N_SLOTS - 1));
    }

    #[test]
    fn a_table_without_times_or_with_rows_of_days_has_no_season() {
        assert_eq!(last([None, None]).slot, None);
        assert_eq!(last([Some(f64::NAN)]).slot, None);
        assert_eq!(last([0.0, DAY_S, 2.0 * DAY_S].map(Some)).slot, None);
    }

    #[test]
    fn a_clock_that_goes_back_or_repeats_changes_no_span() {
        let steady = last((0..20).map(|row| Some(f64::from(row) * 60.0)));
        let back = last((0..20).map(|row| Some(f64::from(if row == 5 { 2 } else { row }) * 60.0)));
        assert_eq!(steady.short, back.short);
    }
}
