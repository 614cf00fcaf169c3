//! The sketches of hot lists, as agents make them and the aggregator merges them: one shape for all. (steps 3, 8)
//!
//! A window is counted plainly and sent; whoever receives it fades it by its tick ([`HeavyHitters::absorb`]), so that one form
//! serves what is hot now and how often something came in a span of time.
//! Width: 512 cells a row put e·N/w at half a percent of all that was counted, where a hot item has several; up to 511
//! different items a window the list is exact counting.

use crate::heavy::HeavyHitters;
use crate::shape::Shape;
use crate::weighting::Weighting;

const WIDTH: usize = 512;
const DEPTH: u32 = 4;
const SEED: u64 = 0x4853_575f_484f_5431;
/// Items named.
const N_MAX: usize = 256;

/// Cells of such a sketch: the limit for [`HeavyHitters::decode`].
pub const HOT_CELLS: usize = WIDTH * DEPTH as usize;

fn hitters(weighting: Weighting) -> HeavyHitters {
    Shape::new(WIDTH, DEPTH, SEED)
        .and_then(|shape| HeavyHitters::new(shape, weighting, 0, N_MAX))
        .expect("the constants are within the limits")
}

/// Counts of a window, unweighted.
#[must_use]
pub fn hot_window() -> HeavyHitters {
    hitters(Weighting::Constant)
}

/// Counts that halve every `half_life_s` ticks (of a second, since 1970).
///
/// # Panics
/// Where the half-life is not above zero.
#[must_use]
pub fn hot_now(half_life_s: f64) -> HeavyHitters {
    let weighting = Weighting::half_life(half_life_s);
    hitters(weighting.expect("a half-life above zero"))
}
