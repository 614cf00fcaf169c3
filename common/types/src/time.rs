//! Data time and timer time: two types that cannot be mixed. (steps 1–15)

use std::ops::{Add, Sub};
use std::time::Duration;

/// Data time: microseconds since the Unix epoch, UTC, as the node's clock says. May jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

impl WallTime {
    /// From whole Unix seconds.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Unix seconds with fraction; exact to a microsecond until the year 2200.
    #[must_use]
    pub fn as_unix_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-20T18:10:21.250Z`; years 0 to 9999 as the form wants them.
    /// The calendar is Howard Hinnant's `civil_from_days` (chrono-compatible low-level date algorithms, 2021).
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let ms = self.0.div_euclid(1_000);
        let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        let z = days + 719_468;
        let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }

    /// The one-second window this moment lies in.
    #[must_use]
    pub const fn window(self) -> WindowIndex {
        WindowIndex(self.0.div_euclid(1_000_000))
    }
}

/// Timer time: microseconds since an arbitrary start, never runs backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

/// One second of data time, named by its Unix second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WindowIndex(pub i64);

impl WindowIndex {
    /// The moment the window begins.
    #[must_use]
    pub const fn start(self) -> WallTime {
        WallTime::from_unix_seconds(self.0)
    }

    /// The window after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Add<i64> for WindowIndex {
    type Output = Self;
    fn add(self, rhs: i64) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for WindowIndex {
    type Output = i64;
    fn sub(self, rhs: Self) -> i64 {
        self.0.saturating_sub(rhs.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc3339() {
        let written = |us: i64| WallTime(us).to_rfc3339();
        assert_eq!(written(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(1_709_164_799_250_000), "2024-02-28T23:59:59.250Z");
        assert_eq!(written(1_709_164_800_000_000), "2024-02-29T00:00:00.000Z");
        assert_eq!(written(-1_000), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_moment_before_the_epoch_lies_in_a_negative_window() {
        assert_eq!(WallTime(-1).window(), WindowIndex(-1));
        assert_eq!(WallTime(999_999).window(), WindowIndex(0));
        assert_eq!(WallTime(1_000_000).window(), WindowIndex(1));
    }
}
