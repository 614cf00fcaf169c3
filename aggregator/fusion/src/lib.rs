//! Fusion: many opinions about a shard, made comparable, weighed and made one probability. (step 11)
//!
//! In: scores of detectors, labels of operators. Out: p-values, weights, the probability that a shard is sick, its HyperScore, and the
//! fixed vector of numbers that models read.
//! Limits: [`N_DETECTORS`] detectors. Does not: compute a detector's score (see `hsw-detect`), run a model (see `hsw-inference`).

mod detectors;
pub use detectors::{DetectorId, N_DETECTORS};

pub mod layout;

mod batch;
mod scoring;

pub use batch::{Batch, Scores, quantise};
pub use scoring::{Answer, Scoring};
