//! The agent's two clocks; the only place that reads them. (steps 3–5)

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hsw_types::{Monotonic, WallTime};

/// Timer time since this was made, and data time; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Timer time.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment on tokio's timer that `at` stands for.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + std::time::Duration::from_micros(at.0))
    }

    /// Data time, as the node's clock says.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        let us = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        WallTime(us)
    }
}
