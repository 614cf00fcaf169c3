//! Which triggers are tracked by rounds, which are told of every hit, which are merely scanned. (ALGORITHMS 2.6)
//!
//! The rule, applied to each trigger whenever a round begins, with h its canonical nodes, w the mean weight of an element
//! and c [`Config::direct_factor`]: what is left is at most `6·c·w·h`, so that few hits are → plain stabbing: the trigger stands in the lists of its canonical nodes and each hit
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

/// The rule of a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    direct_factor: u64,
    n_seen: u64,
    weight_seen: u64,
}

impl Rule {
    pub(crate) const fn new(direct_factor: u64) -> Self {
        Self {
            direct_factor,
            n_seen: 0,
            weight_seen: 0,
        }
    }

    /// Takes an element's weight into account.
    pub(crate) const fn see(&mut self, weight: u64) {
        self.n_seen += 1;
        self.weight_seen = self.weight_seen.saturating_add(weight);
    }

    /// Mean weight of an element, at least 1.
    pub(crate) fn mean(&self) -> u64 {
        let mean = self.weight_seen.checked_div(self.n_seen);
        mean.unwrap_or(1).max(1)
    }

    /// What stretches the direct phase: c times the mean weight.
    pub(crate) fn factor(&self) -> u64 {
        self.direct_factor.max(1).saturating_mul(self.mean())
    }
}

/// Ours, `examples/forest.rs big-sweep`, through the maturity of all, ranges of a tenth, mean nanoseconds an element for
/// 1, 4, 8, 32: 2712, 2604, 2349, 2282 with 10^5 triggers of 20,000 hits; with 10^6 of 200,000 hits 7976, 6765, 5907 for
/// the first three.
const DIRECT_FACTOR: u64 = 8;
