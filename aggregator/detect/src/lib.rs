//! Detectors: is this series as it should be, by its own past and by its siblings? (step 10)
//!
//! In: a window of [`hsw_state::Cluster`]. Out: [`Finding`]s, with the score that each deserves.
//! Ordering contract, per window and key, keys ascending: sample → own past → siblings → score → hold → learn.
//! Invariants: DE-1 a series without a recent value is unknown: it raises nothing and teaches nothing. DE-2 a movement
//! that all siblings share is nobody's deviation. DE-3 nothing is learned from a node under an open incident.
//! DE-4 same windows in, same findings out, in the same order. DE-5 where all are hit by different amounts nobody is the deviant.
//! What nears a limit that is known is a finding however slowly it does (`limits.rs`).
//! Beside it [`Board`]: ten detectors a node, each calibrated, for the probability that a shard is sick (`live/mod.rs`, the contract).
//! Limits: under 1 KiB a series, and 64 KiB a node. Does not: decide what is an incident (see `hsw-engine`).

mod scale;

mod own_past;

mod siblings;

mod smooth;

mod limits;

mod detector;

mod rows;

mod live;

pub use detector::{Detector, Deviation, Finding, Group};
pub use live::{Board, GraphSight, Note, Standing};
pub use own_past::{Learning, OwnPast, Residual};
pub use rows::{Novelty, Panel, Verdict};
pub use scale::Scale;
pub use siblings::LeaveOneOut;

#[cfg(test)]
mod dice;
