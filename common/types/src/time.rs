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
    fn a_moment_before_the_epoch_lies_in_a_negative_window() {
        assert_eq!(WallTime(-1).window(), WindowIndex(-1));
        assert_eq!(WallTime(999_999).window(), WindowIndex(0));
        assert_eq!(WallTime(1_000_000).window(), WindowIndex(1));
    }
}
