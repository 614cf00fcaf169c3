//! Mergeable summaries, one file per paper. (steps 3, 8)
//!
//! In: single observations. Out: answers with a stated error, and bytes that travel.
//! Invariants: SK-3 two summaries merge only if their parameters, seed and epoch agree; else it is an error.
//! Does not: keep time (ticks are passed in), hash strings (a key is a `u64` that the caller hashed once).

mod shape;
mod weighting;

mod adaptive;
mod count_min;
mod distinct;
mod dyadic;
mod heavy;
mod heavy_wire;
mod hokusai;
mod hot;
mod lossy;
mod quantile;

pub use adaptive::{CellSketch, DecayedSketch, EpochCells, Real};
pub use count_min::{Cell, CountMin};
pub use distinct::Distinct;
pub use dyadic::{DyadicTime, DyadicValues, HeavyRange};
pub use heavy::{HeavyHitters, Hit};
pub use hokusai::ItemAggregation;
pub use hot::{HOT_CELLS, hot_now, hot_window};
pub use lossy::AdaptiveLossyCounting;
pub use quantile::{DecodeError, QuantileSketch};
pub use shape::{Layout, MergeError, ParamError, Shape, cell_key, mix};
pub use weighting::{AdaParams, Weighting};
