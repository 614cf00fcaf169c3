//! Models through ONNX Runtime, which is loaded at run time if it is there. (step 11)
//!
//! In: a [`hsw_fusion::Batch`] of all shards a tick. Out: [`hsw_fusion::Scores`], or nothing in time, and then the statistical fusion judges
//! alone. Invariants: IF-1 whatever a model file or a library is, it is an error with its remedy, never a panic. IF-2 a
//! model that is swapped in has scored beside the old one first. IF-3 scores are finite, one a shard, and quantised.
//! Limits: `MODEL_BYTES_MAX`, `CARD_BYTES_MAX`, one batch in flight. Does not: make features (see `hsw-fusion`), decide.

mod library;
mod runtime;

mod card;
mod contributions;
mod model;

mod scorer;
mod shadow;

pub use card::{Bounds, CARD_BYTES_MAX, Card, Port, Trees};
pub use contributions::{Forest, N_NODES_MAX, N_TREES_MAX};
pub use library::{Found, find, models};
pub use model::{MODEL_BYTES_MAX, Model};
pub use runtime::{Device, Provider, Runtime};
pub use scorer::{Config, Scorer, Status, Totals, cards};
pub use shadow::{Shadow, Verdict};

/// Why there is no model or no score. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library cannot be used.
    #[error("ONNX Runtime at {path}: {why}; run deploy/onnxruntime, or set inference.library")]
    Library {
        /// Where it was looked for.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A GPU was asked for and cannot be used.
    #[error("the GPU cannot be used: {0}; set inference.device = \"auto\" to do without")]
    Gpu(String),
    /// A file cannot be read.
    #[error("read {path}: {why}")]
    Read {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The card is no card, or is for another version of this program.
    #[error("model card {path}: {why}; take card and model from one release")]
    Card {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The model is not what its card says.
    #[error("model {name}: {why}; take card and model from one release")]
    Model {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// It failed on this batch.
    #[error("model {name} cannot score: {why}")]
    Score {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}
