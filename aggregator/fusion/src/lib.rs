//! Fusion: many opinions about a shard, made comparable, weighed and made one probability. (step 11)
//!
//! In: scores of detectors, labels of operators. Out: p-values, weights, the probability that a shard is sick, its HyperScore, and the
//! fixed vector of numbers that models read.
//! Limits: [`N_DETECTORS`] detectors, [`N_LABELS_MAX`] labels, [`N_VERSIONS_MAX`] versions of weights. Does not: compute a detector's score
//! (see `hsw-detect`), run a model (see `hsw-inference`).

mod detectors;
pub use detectors::{DetectorId, N_DETECTORS, Surprises};

pub mod layout;

mod batch;
mod scoring;

pub use batch::{Batch, Scores, quantise};
pub use scoring::{Answer, Scoring};

mod normal;
pub use normal::{Normalisation, Normaliser};

mod late;
pub use late::{LATE_WINDOWS, Late};

mod tail;
pub use tail::{SURPRISE_MAX, Tail};

mod calibrate;
pub use calibrate::{BetaCalibration, Isotonic};

mod combine;
pub use combine::{Fusion, Judged, Moments, probability};

pub mod ahp;

pub mod shapley;

mod weights;
pub use weights::{NotWeights, Weights, blend};

pub mod measure;

mod drift;
pub use drift::PageHinkley;

mod meta;
pub use meta::{
    Label, Meta, N_LABELS_MAX, N_VERSIONS_MAX, Origin, Outcome, Refusal, Report, State, Version,
};

mod hyperscore;
pub use hyperscore::{
    ComponentWeights, Components, HyperScore, Mode, NotComponentWeights, OutOfGuide,
};

#[cfg(test)]
mod dice;
