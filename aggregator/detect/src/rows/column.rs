//! A column against its own past: level, trend, season of the day and of the week, robust scale with a floor. (step 10)
//!
//! In: a value a row, with its [`Moment`]. Out: three [`Deviations`], each in its own standard deviations: from level and
//! season (slow), from the last quarter of an hour of that (fast), from the row before (change).
//! Usual is a mean of two predictions, weighed by their past errors: the last day's mean, and profile(slot of the day) +
//! week(day) + offset. The profile is a mean over days and the offset one over the last day, both exponential: a shift of
//! level is a deviation for about a day and then the new normal, which is the trend it follows. Weights are inverse fourth
//! powers of errors; squares, as in Bates, Granger, The combination of forecasts, 1969, let so much of a strong season
//! through that a slow drift drowns in it. Where times are unknown, usual is the last day's mean.
//! Invariants: CO-1 nothing is judged before [`N_KNOWN`] values. CO-2 a·x + b is judged as x is (a > 0), but for a column
//! that hardly moves beside its level. CO-3 a missing value teaches nothing.
//! Limits: under 600 bytes, 384 of them the profile.
//! Source: additive season as in Holt–Winters (Winters 1960), what is learned is cut as in Gelper, Fried, Croux, Robust
//! forecasting with exponential and Holt–Winters smoothing, J. Forecasting 29, 2010.

use super::rhythm::{Moment, N_SLOTS};

/// Values before anything is judged. 16 and 24 equal within noise, 8 is worse.
const N_KNOWN: u32 = 24;
/// Weight of a day in the profile: about a week is remembered. 0.05 to 0.3 equal within noise on asd and nab.
const DAY_WEIGHT: f64 = 0.15;
/// Weight of a slot's second row on the first day: its rows are as good as one another.
const FIRST_DAY_WEIGHT: f64 = 0.5;
/// Weight of a day in its weekday's part: a season of the week shows after about a month. 0 to 0.5 equal within noise.
const WEEK_WEIGHT: f64 = 0.25;
/// Deviations beyond so many scales are learned as if they were no larger. 2 to 10 equal within noise.
const CUT: f64 = 4.0;
/// A deviation smaller than this share of the column's spread is never many standard deviations. 0.01 to 0.2 equal
/// within noise.
const SCALE_FLOOR: f64 = 0.05;
/// What rounding alone can change, as a share of the level.
const ROUNDING: f64 = 1e-6;
/// Makes the mean absolute deviation of a normal sample estimate its standard deviation: √(π / 2).
const MEAN_TO_SIGMA: f64 = 1.253_314_137_315_500_1;
/// Days over which the scales are means. 2 to 16 equal within noise, 1 is worse.
const SCALE_DAYS: f64 = 4.0;

/// How a value deviates, each in its own standard deviations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Deviations {
    /// From level and season.
    pub(crate) slow: f64,
    /// From the last quarter of an hour's deviation.
    pub(crate) fast: f64,
    /// From the row before; unknown after a gap.
    pub(crate) change: f64,
}

/// What is not known.
const UNKNOWN: Deviations = Deviations {
    slow: f64::NAN,
    fast: f64::NAN,
    change: f64::NAN,
};

/// The model of one column. See the module's header.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Usual minus anchor, by slot of the day; NaN where the slot has not been seen.
    profile: [f32; N_SLOTS],
    /// Usual on a weekday minus usual on all.
    week: [f32; 7],
    n: u32,
    /// The first value: the profile is kept as differences, which single precision holds.
    anchor: f64,
    level: f64,
    /// Mean absolute deviation from the level.
    spread: f64,
    offset: f64,
    /// Mean absolute deviation from profile, week and offset.
    season_size: f64,
    recent: f64,
    before: Option<f64>,
    /// Mean absolute size of the three deviations.
    scales: [f64; 3],
}

impl Default for Column {
    fn default() -> Self {
        Self {
            profile: [f32::NAN; N_SLOTS],
            week: [0.0; 7],
            n: 0,
            anchor: 0.0,
            level: 0.0,
            spread: 0.0,
            offset: 0.0,
            season_size: 0.0,
            recent: 0.0,
            before: None,
            scales: [0.0; 3],
        }
    }
}

impl Column {
    /// How `value` deviates; unknown while too little is known or the value is missing. O(1).
    pub(crate) fn judge(&self, value: f64, moment: &Moment) -> Deviations {
        if value.is_nan() || self.n < N_KNOWN {
            return UNKNOWN;
        }
        let floor = self.floor() + ROUNDING * self.level.abs();
        let of = |residual: f64, scale: f64| residual / (MEAN_TO_SIGMA * scale).max(floor);
        let [slow, fast, change] = self.residuals(value, moment);
        Deviations {
            slow: of(slow, self.scales[0]),
            fast: of(fast, self.scales[1]),
            change: self.before.map_or(f64::NAN, |_| of(change, self.scales[2])),
        }
    }

    /// Value minus what is usual, in the column's unit; 0 for the first value.
    pub(crate) fn residual(&self, value: f64, moment: &Moment) -> f64 {
        if self.n == 0 {
            return 0.0;
        }
        self.residuals(value, moment)[0]
    }

    /// Value minus the first one.
    pub(crate) fn beyond_first(&self, value: f64) -> f64 {
        if self.n == 0 {
            0.0
        } else {
            value - self.anchor
        }
    }

    /// Mean absolute deviation from the level, in the column's unit.
    pub(crate) const fn spread(&self) -> f64 {
        self.spread
    }

    /// Learns a value; a missing one teaches nothing. O(1).
    pub(crate) fn learn(&mut self, value: f64, moment: &Moment) {
        if value.is_nan() {
            self.before = None;
            return;
        }
        if self.n == 0 {
            (self.level, self.anchor) = (value, value);
        }
        self.n = self.n.saturating_add(1);
        let own = 1.0 / f64::from(self.n);
        let residuals = self.residuals(value, moment);
        let weight = own.max(moment.long / SCALE_DAYS);
        let floor = self.floor();
        for (scale, residual) in self.scales.iter_mut().zip(residuals) {
            let most = if self.n > N_KNOWN {
                CUT * (MEAN_TO_SIGMA * *scale).max(floor)
            } else {
                f64::INFINITY
            };
            *scale += weight * (residual.abs().min(most) - *scale);
        }
        self.learn_season(value, moment);
        let [slow, ..] = residuals;
        self.recent += own.max(moment.short) * (slow - self.recent);
        self.before = Some(slow);
        self.spread += weight * ((value - self.level).abs() - self.spread);
        self.level += own.max(moment.long) * (value - self.level);
    }

    fn learn_season(&mut self, value: f64, moment: &Moment) {
        let Some(slot) = moment.slot else { return };
        let Some(season) = self.season(moment) else {
            self.profile[slot] = (value - self.anchor - self.offset) as f32;
            return;
        };
        let most = CUT * (MEAN_TO_SIGMA * self.scales[0]).max(self.floor());
        let residual = value - season;
        let is_first_day = f64::from(self.n) * moment.long < 1.5;
        let weight = if is_first_day {
            FIRST_DAY_WEIGHT
        } else {
            DAY_WEIGHT * moment.share_of_slot
        };
        self.profile[slot] += (weight * residual.clamp(-most, most)) as f32;
        let week = f64::from(self.week[moment.weekday]);
        let rest = residual - week - self.offset;
        self.week[moment.weekday] += (moment.long * WEEK_WEIGHT * rest.clamp(-most, most)) as f32;
        self.offset += moment.long * rest;
        let size_weight = (1.0 / f64::from(self.n)).max(moment.long / SCALE_DAYS);
        self.season_size += size_weight * (rest.abs() - self.season_size);
    }

    fn residuals(&self, value: f64, moment: &Moment) -> [f64; 3] {
        let seasonal = self.season(moment);
        let usual = seasonal.map_or(self.level, |season| {
            let seasonal = season + f64::from(self.week[moment.weekday]) + self.offset;
            let [plain, other] =
                [self.spread, self.season_size].map(|size| size * size * size * size);
            let of_season = if plain + other > 0.0 {
                plain / (plain + other)
            } else {
                1.0
            };
            self.level + of_season * (seasonal - self.level)
        });
        let slow = value - usual;
        let change = slow - self.before.unwrap_or(slow);
        [slow, slow - self.recent, change]
    }

    /// The day's part of what is usual, where it is known.
    fn season(&self, moment: &Moment) -> Option<f64> {
        let season = f64::from(self.profile[moment.slot?]);
        (!season.is_nan()).then_some(self.anchor + season)
    }

    fn floor(&self) -> f64 {
        SCALE_FLOOR * self.spread + f64::MIN_POSITIVE
    }
}
