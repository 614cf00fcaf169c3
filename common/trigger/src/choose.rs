//! Which triggers are tracked by rounds, which are told of every hit, which are merely scanned. (ALGORITHMS 2.6)
//!
//! The rule, applied to each trigger whenever a round begins, with h its canonical nodes and c [`Config::direct_factor`]:
//! what is left is at most `6·c·h` → plain stabbing: the trigger stands in the lists of its canonical nodes and each hit
//! is subtracted, O(1); else rounds of slack, O(h · log(left)) signals in all. Up to [`Config::n_scanned_max`] triggers
//! that are new stand in no tree at all.

/// What a [`crate::Forest`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// c of the rule; 1 is the paper's. No value changes an answer.
    pub direct_factor: u64,
    /// Triggers that are scanned before they are put under a tree, ≥ 1.
    pub n_scanned_max: usize,
    /// Triggers at a time; registering more is an error.
    pub n_queries_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            direct_factor: DIRECT_FACTOR,
            n_scanned_max: 64,
            n_queries_max: 1 << 21,
        }
    }
}

/// Swept by `examples/forest.rs`.
const DIRECT_FACTOR: u64 = 4;
