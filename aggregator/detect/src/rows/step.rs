//! Change point: how far all columns have moved away from where they were in the last half hour. (step 10)
//!
//! Score: the mean absolute deviation from the mean of the short span. Blame: the deviations squared.

use super::own::CUT;
use super::{Judge, Row};

/// The judge. See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step;

impl Judge for Step {
    fn name(&self) -> &'static str {
        "change point"
    }

    fn judge(&mut self, row: &Row<'_>, blame: &mut [f64]) -> Option<f64> {
        let (mut sum, mut n) = (0.0, 0);
        for (share, deviation) in blame.iter_mut().zip(row.fast) {
            *share = 0.0;
            if !deviation.is_nan() {
                let cut = deviation.abs().min(CUT);
                *share = cut * cut;
                sum += cut;
                n += 1;
            }
        }
        (n > 0).then(|| sum / f64::from(n))
    }

    fn learn(&mut self, _: &Row<'_>) {}
}
