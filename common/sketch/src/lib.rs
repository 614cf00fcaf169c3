//! Mergeable summaries, one file per paper. (steps 3, 8)
//!
//! In: single observations. Out: answers with a stated error, and bytes that travel.
//! Does not: keep time (windows are the pipeline's).

mod quantile;

pub use quantile::{DecodeError, QuantileSketch};
