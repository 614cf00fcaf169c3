//! Learning late: what is seen waits before it is learned, so that the onset of a fault is no part of the past. (steps 10–11)
//!
//! In: what was seen at each window, oldest first. Out: what is to be learned now. What a fault shows until it is an incident would be
//! learned otherwise, and a dozen such windows among the few hundred of a young past make its p-value that of every later one.
//! Invariants: LN-1 what is learned is what was seen, in that order, each once at most. LN-2 while little was learned a tenth of it waits at
//! most: what was seen half a minute ago is no measure of a past that still grows. LN-3 what waits when trouble shows is never learned.
//! Limits: as many wait as the caller says. Does not: know what trouble is.

use std::collections::VecDeque;

/// Windows that something waits before it is learned: twice what a fault takes to open an incident (ours, not swept).
pub const LATE_WINDOWS: usize = 30;
/// Learned to one that waits, at least.
const LATE_SHARE: usize = 10;

/// What was seen and is not learned yet. See the module's header.
#[derive(Debug, Clone)]
pub struct Late<T> {
    waiting: VecDeque<T>,
    n_learned: usize,
}

impl<T> Default for Late<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            n_learned: 0,
        }
    }
}

impl<T> Late<T> {
    /// Takes what was seen; gives what is to be learned now, `longest` looks late at most. O(1).
    pub fn take(&mut self, seen: T, longest: usize) -> Option<T> {
        self.waiting.push_back(seen);
        if self.waiting.len() <= longest.min(self.n_learned / LATE_SHARE) {
            return None;
        }
        self.n_learned += 1;
        self.waiting.pop_front()
    }

    /// Trouble shows: what waits is its onset.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// What it has allocated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_learned_half_a_minute_late_at_once_in_the_beginning_and_not_at_all_once_trouble_shows()
     {
        let mut late = Late::default();
        assert_eq!(late.take(0, LATE_WINDOWS), Some(0));
        let learned: Vec<usize> = (1..1_000)
            .filter_map(|n| late.take(n, LATE_WINDOWS))
            .collect();
        assert_eq!(learned, (1..970).collect::<Vec<_>>(), "in order, each once");
        late.forget();
        assert_eq!(late.take(1_000, LATE_WINDOWS), None, "what waited is gone");
        let next = (1_001..1_100).find_map(|n| late.take(n, LATE_WINDOWS));
        assert_eq!(next, Some(1_000));
    }

    #[test]
    fn while_little_was_learned_a_tenth_of_it_waits() {
        let mut late = Late::default();
        for n in 0..330_usize {
            let _ = late.take(n, LATE_WINDOWS);
            assert!(late.waiting.len() * LATE_SHARE <= late.n_learned, "{n}");
        }
        assert!(late.bytes() >= LATE_WINDOWS * size_of::<usize>());
    }

    #[test]
    fn a_slower_look_waits_for_fewer_of_its_own() {
        let mut late = Late::default();
        let learned = (0..500).filter_map(|n| late.take(n, 6));
        assert_eq!(learned.last(), Some(493));
    }
}
