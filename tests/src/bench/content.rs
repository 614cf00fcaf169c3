//! Summaries as a busy node sends them: 500 series, 300 of them moving, half of those whole numbers.

use hsw_types::{SeriesId, SeriesValues, ShardSummary, WindowIndex};

use crate::simagents;

/// Series of a node at full rate.
pub(super) const N_SERIES: usize = 500;

/// A summary of `n_windows` windows; the same arguments give the same bytes.
pub(super) fn summary(first_window: i64, n_windows: u16, with_names: bool) -> ShardSummary {
    let window = WindowIndex(first_window);
    let mut summary = simagents::summary(0, N_SERIES, window, n_windows, with_names, 1);
    summary.series = (0..N_SERIES)
        .map(|n| SeriesValues {
            id: SeriesId(n as u32),
            values: (0..i64::from(n_windows))
                .map(|window| Some(value(n, first_window + window)))
                .collect(),
        })
        .collect();
    summary
}

/// Three of five series move by a tenth around a level of their own; one stands still, one is zero.
fn value(n: usize, window: i64) -> f64 {
    let level = 7.3 * (1 + n % 89) as f64;
    let moved = level * (0.9 + 0.2 * noise(n as u64, window));
    match n % 5 {
        0 => 0.0,
        1 => level.round(),
        2 => moved,
        3 => moved.round(),
        _ => moved * 1e3,
    }
}

/// 0 to 1, by the place.
fn noise(n: u64, window: i64) -> f64 {
    simagents::unit((n << 40 ^ window.cast_unsigned()).wrapping_mul(simagents::GOLDEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_hundred_series_move() {
        let summary = summary(1_000, 2, false);
        let moving = summary.series.iter().filter(|s| s.values[0] != s.values[1]);
        // A whole number may happen to stay.
        assert!((270..=300).contains(&moving.count()));
    }
}
