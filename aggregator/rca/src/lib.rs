//! Root cause: which entity explains what all the others show, and by which of its metrics. (step 12)
//!
//! In: series with normal and abnormal rows, who calls whom, spans, counts of log templates; whatever there is of them. Out:
//! entities, best first, each with the metrics that speak. Also where the abnormal rows begin, when nobody says.
//! Invariants: see the modules `rank`, `surprise` and `spans`. All of it is one setting: [`Config`] is for experiments.
//! Does not: read files, know what a shard is, or call anything a fact: scores order, they are no probabilities.

mod kind;
pub use kind::Kind;

mod region;
pub use region::{Split, onset};

mod surprise;

mod spans;
pub use spans::{Span, Spans};

mod counts;
pub use counts::Count;

mod symptoms;
pub use symptoms::{Evidence, Series};

mod rank;
pub use rank::rank;

mod config;
pub use config::Config;

/// An entity under suspicion.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// Its name.
    pub entity: String,
    /// Nats it shows as a cause and explains of others, above the noise; 0 where there is nothing. It orders, no more.
    pub score: f64,
    /// Its metrics that speak, causes before effects, the strongest first.
    pub metrics: Vec<Speaking>,
}

/// A metric that is not as usual.
#[derive(Debug, Clone, PartialEq)]
pub struct Speaking {
    /// Its name, with the statistic; of lines and spans what they are.
    pub metric: String,
    /// What it measures, by its name.
    pub kind: Kind,
    /// Surprise above the noise, nats.
    pub nats: f64,
}

#[cfg(test)]
mod tests;
