//! Rows of metrics: is this row as it should be, and if not, which metrics are to blame? (step 10)
//!
//! In: rows in order of time, a value a column, NaN where it is unknown. Out: a [`Verdict`] a row: score, p-value, blame.
//! Ordering contract, per row: time → own past of each column, columns ascending → each [`Judge`] in the panel's order →
//! calibration → fusion → learning in the same order. Nothing of a row is learned before the row is judged.
//! Invariants: RW-1 a verdict depends on its row and earlier ones only. RW-2 a value that is missing is unknown: it raises
//! nothing, is blamed for nothing and teaches nothing. RW-3 another unit of a metric (a·x + b) changes nothing beyond
//! rounding. RW-4 another order of columns changes the order of blame only. RW-5 p is uniform where nothing changes.
//! RW-6 memory does not grow with rows. Limits: under 1 KiB a column with its share of every judge.
//! Does not: read files, know what a metric means or which way is bad, decide what is an incident.

mod rhythm;

mod column;

mod low_rank;

mod correlated;
mod drift;
mod modes;
mod own;
mod step;

mod panel;

mod histogram;
mod novelty;

pub use novelty::Novelty;
pub use panel::{Panel, Verdict};

use rhythm::Moment;

/// One row as every judge sees it: standardised, NaN where unknown.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    /// When it is.
    moment: Moment,
    /// Deviations from level and season, in standard deviations.
    slow: &'a [f64],
    /// Deviations from the last quarter of an hour of `slow`, in their own standard deviations.
    fast: &'a [f64],
    /// Changes of `slow` since the row before, in their own standard deviations.
    change: &'a [f64],
}

/// One way to tell that a row is not as it should be.
trait Judge: std::fmt::Debug {
    /// What it looks for.
    fn name(&self) -> &'static str;

    /// Judges a row. Overwrites `blame` with its evidence about each column, in squared standard deviations, ≥ 0.
    /// Returns a score ≥ 0, higher is worse; `None` while it does not know.
    fn judge(&mut self, row: &Row<'_>, blame: &mut [f64]) -> Option<f64>;

    /// Learns the row that was judged last.
    fn learn(&mut self, row: &Row<'_>);

    /// What it has allocated.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests;
