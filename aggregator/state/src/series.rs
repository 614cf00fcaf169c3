//! The recent values of one series, one place per second. (step 8)

use hsw_types::WindowIndex;

/// Windows remembered: four minutes. Older values are in the store.
pub const RING_WINDOWS: usize = 240;

/// Recent values of one series; `NaN` marks a window without a value and never leaves this module.
#[derive(Debug, Clone)]
pub struct Series {
    ring: Box<[f32; RING_WINDOWS]>,
    newest: WindowIndex,
}

fn place(window: WindowIndex) -> usize {
    window.0.rem_euclid(RING_WINDOWS as i64) as usize
}

impl Series {
    /// Empty, its first window being `window`.
    #[must_use]
    pub fn new(window: WindowIndex) -> Self {
        Self {
            ring: Box::new([f32::NAN; RING_WINDOWS]),
            newest: window,
        }
    }

    /// The newest window that was put.
    #[must_use]
    pub const fn newest(&self) -> WindowIndex {
        self.newest
    }

    /// Puts a value; windows skipped since the newest become unknown, windows too old are ignored.
    pub fn put(&mut self, window: WindowIndex, value: f64) {
        let ahead = window - self.newest;
        if ahead <= -(RING_WINDOWS as i64) {
            return;
        }
        if ahead >= RING_WINDOWS as i64 {
            self.ring.fill(f32::NAN);
        } else {
            for skipped in 1..=ahead {
                self.ring[place(self.newest + skipped)] = f32::NAN;
            }
        }
        self.newest = self.newest.max(window);
        self.ring[place(window)] = value as f32;
    }

    /// Takes the values of a series that goes on as this one; `add` says what two values of one window make.
    pub fn absorb(&mut self, other: &Self, add: impl Fn(f64, f64) -> f64) {
        let values: Vec<_> = other.back_from(other.newest, RING_WINDOWS as i64).collect();
        for (window, value) in values.into_iter().rev() {
            let both = self.at(window).map_or(value, |own| add(own, value));
            self.put(window, both);
        }
    }

    /// The value of a window, if it has one and is remembered.
    #[must_use]
    pub fn at(&self, window: WindowIndex) -> Option<f64> {
        let back = self.newest - window;
        if !(0..RING_WINDOWS as i64).contains(&back) {
            return None;
        }
        let value = self.ring[place(window)];
        (!value.is_nan()).then_some(f64::from(value))
    }

    /// The values of the `n` windows that end with `last`, newest first, unknown ones left out.
    pub fn back_from(
        &self,
        last: WindowIndex,
        n: i64,
    ) -> impl Iterator<Item = (WindowIndex, f64)> + '_ {
        // Only what the ring holds; the place is found once and then walked, so that no value costs a division.
        let ahead = (last - self.newest).clamp(0, n.max(0));
        let behind = (self.newest - last).max(0);
        let n_held = (RING_WINDOWS as i64 - behind).clamp(0, n - ahead.min(n));
        let first = last + -ahead;
        let mut at = place(first);
        (0..n_held).filter_map(move |back| {
            let value = self.ring[at];
            at = at.checked_sub(1).unwrap_or(RING_WINDOWS - 1);
            (!value.is_nan()).then(|| (first + -back, f64::from(value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map that forgets nothing.
        #[test]
        fn prop_a_series_answers_as_a_map_of_its_newest_windows(
            puts in proptest::collection::vec((-300_i64..600, 0_i32..100), 1..60),
        ) {
            let mut series = Series::new(WindowIndex(0));
            let mut map = BTreeMap::new();
            let mut newest = 0;
            for (window, value) in puts {
                if window > newest - RING_WINDOWS as i64 {
                    map.insert(window, f64::from(value));
                }
                newest = newest.max(window);
                series.put(WindowIndex(window), f64::from(value));
                for asked in -600..900 {
                    let expected = map.get(&asked).filter(|_| asked > newest - RING_WINDOWS as i64);
                    prop_assert_eq!(series.at(WindowIndex(asked)), expected.copied());
                }
            }
        }

        /// Walking back is asking window by window.
        #[test]
        fn prop_walking_back_is_asking_window_by_window(
            puts in proptest::collection::vec((-300_i64..600, 0_i32..100), 0..60),
            last in -600_i64..900, n in -2_i64..500,
        ) {
            let mut series = Series::new(WindowIndex(0));
            for (window, value) in puts {
                series.put(WindowIndex(window), f64::from(value));
            }
            let asked = (0..n).map(|back| WindowIndex(last - back));
            let expected: Vec<_> = asked.filter_map(|w| series.at(w).map(|v| (w, v))).collect();
            let walked: Vec<_> = series.back_from(WindowIndex(last), n).collect();
            prop_assert_eq!(walked, expected);
        }
    }
}
