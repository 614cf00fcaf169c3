//! Correlated change: do the columns still move together as they did? (step 10)
//!
//! Score: of the changes since the row before, the mean squared residual that the common movements leave plus the mean
//! squared factors, both whitened, then an exponential mean over the short span. Blame: the squared residuals.
//! Source: residual and factor part as Q and T² of Jackson, Mudholkar (Technometrics 21, 1979), over [`LowRank`].

use super::low_rank::LowRank;
use super::own::CUT;
use super::{Judge, Row};

/// The judge. See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Correlated {
    model: LowRank,
    recent: Option<f64>,
    now: Option<f64>,
}

impl Judge for Correlated {
    fn name(&self) -> &'static str {
        "correlated change"
    }

    fn judge(&mut self, row: &Row<'_>, blame: &mut [f64]) -> Option<f64> {
        self.now = None;
        blame.fill(0.0);
        if !self.model.split(row.change) || row.change.iter().all(|d| d.is_nan()) {
            return None;
        }
        let mut sum = 0.0;
        for (column, share) in blame.iter_mut().enumerate() {
            if !row.change[column].is_nan() {
                let residual = self.model.residual(column).clamp(-CUT, CUT);
                *share = residual * residual;
                sum += *share;
            }
        }
        sum += self.model.factors().iter().map(|f| f * f).sum::<f64>();
        let mean = sum / blame.len() as f64;
        let before = self.recent.unwrap_or(mean);
        self.now = Some(before + row.moment.short * (mean - before));
        self.now
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.model.bytes()
    }

    fn learn(&mut self, row: &Row<'_>) {
        self.recent = self.now.or(self.recent);
        if row.change.iter().any(|d| !d.is_nan()) {
            self.model.learn(row.change);
        }
    }
}
