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
        (0..n).filter_map(move |back| {
            let window = last + -back;
            self.at(window).map(|value| (window, value))
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
    }
}
