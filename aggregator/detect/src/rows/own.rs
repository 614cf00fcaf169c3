//! Own past: how far all columns are from level and season, together, over the last half hour. (step 10)
//!
//! Score: the mean squared deviation, each cut at [`CUT`], then an exponential mean over the short span: what lasts is
//! worse than what flickers. Blame: the squared deviations.

use super::{Judge, Row};

/// Standard deviations beyond which a column says no more: it must not outshout all others. 10 to 40 equal
/// within noise, 6 is worse.
pub(crate) const CUT: f64 = 20.0;

/// The judge. See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own {
    recent: Option<f64>,
    now: Option<f64>,
}

impl Judge for Own {
    fn name(&self) -> &'static str {
        "own past"
    }

    fn judge(&mut self, row: &Row<'_>, blame: &mut [f64]) -> Option<f64> {
        let (mut sum, mut n) = (0.0, 0);
        for (share, deviation) in blame.iter_mut().zip(row.slow) {
            *share = 0.0;
            if !deviation.is_nan() {
                let cut = deviation.clamp(-CUT, CUT);
                *share = cut * cut;
                sum += *share;
                n += 1;
            }
        }
        self.now = None;
        if n == 0 {
            return None;
        }
        let mean = sum / f64::from(n);
        let before = self.recent.unwrap_or(mean);
        self.now = Some(before + row.moment.short * (mean - before));
        self.now
    }

    fn learn(&mut self, _: &Row<'_>) {
        self.recent = self.now.or(self.recent);
    }
}
