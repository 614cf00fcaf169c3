//! The value of a series that is judged: what single seconds say is not. (step 10)
//!
//! In: a series. Out: the median of five windows, or of the last three values of a rarer one. Invariant: DE-1 what is too old, or too little, is unknown.

use hsw_state::Series;
use hsw_types::WindowIndex;

/// Windows smoothed by their median, and how many of them must be known.
pub(crate) const SMOOTH: i64 = 5;
pub(crate) const N_KNOWN_MIN: usize = 3;
/// Series sampled more rarely are smoothed over their last three values, not older than this.
const SLOW_WINDOWS: i64 = 32;
/// A newest value older than this leaves the series unknown.
const STALE_WINDOWS: i64 = 12;

/// The smoothed value at `window`: the median of five windows, or of the last three values of a rarer series.
pub(crate) fn smooth(series: &Series, window: WindowIndex) -> Option<f64> {
    let mut values = [0.0; SMOOTH as usize];
    let mut n = 0;
    for (_, value) in series.back_from(window, SMOOTH) {
        values[n] = value;
        n += 1;
    }
    if n < N_KNOWN_MIN {
        n = 0;
        for (at, value) in series.back_from(window, SLOW_WINDOWS).take(N_KNOWN_MIN) {
            if n == 0 && window - at > STALE_WINDOWS {
                return None;
            }
            values[n] = value;
            n += 1;
        }
        if n < N_KNOWN_MIN {
            return None;
        }
    }
    hsw_stats::median(&mut values[..n])
}
