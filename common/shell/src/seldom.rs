//! A line that anybody outside can cause is logged seldom, and says how often it was left out. (steps 5–6)
//!
//! In: an occasion. Out: whether to log it. Invariants: SD-1 at most one line in ten seconds and place.
//! Does not: count for `/metrics`; that is the counters' work, which miss nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two lines of one place.
const EVERY: Duration = Duration::from_secs(10);

/// One place in the code that logs seldom.
#[derive(Debug)]
pub struct Seldom {
    started: Instant,
    /// Milliseconds after `started` at which the next line may come.
    next_ms: AtomicU64,
    left_out: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            next_ms: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }
}

impl Seldom {
    /// The number of lines left out before this one, when it is time for one; `None` leaves this one out.
    pub fn now(&self) -> Option<u64> {
        self.at(self.started.elapsed())
    }

    fn at(&self, since_start: Duration) -> Option<u64> {
        let now = u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX);
        let next = self.next_ms.load(Ordering::Relaxed);
        let then = now.saturating_add(u64::try_from(EVERY.as_millis()).unwrap_or(u64::MAX));
        let is_ours = now >= next
            && self
                .next_ms
                .compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_ours {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_one_line_in_ten_seconds_that_tells_of_the_rest() {
        let place = Seldom::default();
        let at = |ms| place.at(Duration::from_millis(ms));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(9_999)), (None, None));
        assert_eq!(at(10_000), Some(2));
    }
}
