//! Slow drift: columns that leave their level a little at a time, for hours. (step 10)
//!
//! Score: the mean over the columns of the larger of two cumulative sums of deviations, upwards and downwards, of which
//! [`SLACK`] a row is no drift. A row adds at most [`CUT`], so a spike is no drift either. Blame: the square of the shift
//! that the sum speaks for, its mean over the rows it has grown for.
//! Source: Page, Continuous inspection schemes, Biometrika 41, 1954; the shift's estimate as in Montgomery, Introduction
//! to statistical quality control, §9.1.3. Limits: 16 bytes a column.

use super::{Judge, Row};

/// Standard deviations that are no drift: half the shift that is looked for, one (Montgomery, §9.1.2).
const SLACK: f64 = 0.5;
/// Standard deviations that a row speaks for at most.
const CUT: f64 = 2.0;
/// Sums end here, so that they are gone within a thousand or two of usual rows.
const SUM_MAX: f64 = 1_000.0;

/// The judge. See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drift {
    columns: Vec<[Sum; 2]>,
}

/// A cumulative sum, and the rows since it was last zero.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sum: f32,
    n: f32,
}

impl Judge for Drift {
    fn name(&self) -> &'static str {
        "slow drift"
    }

    fn judge(&mut self, row: &Row<'_>, blame: &mut [f64]) -> Option<f64> {
        self.columns.resize(row.slow.len(), Default::default());
        let (mut sum, mut n) = (0.0, 0);
        for ((share, column), deviation) in blame.iter_mut().zip(&self.columns).zip(row.slow) {
            *share = 0.0;
            if deviation.is_nan() {
                continue;
            }
            let [up, down] = [column[0].with(*deviation), column[1].with(-deviation)];
            let larger = if up.sum >= down.sum { up } else { down };
            *share = larger.shift() * larger.shift();
            sum += f64::from(larger.sum);
            n += 1;
        }
        (n > 0).then(|| sum / f64::from(n))
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.columns.capacity() * size_of::<[Sum; 2]>()
    }

    fn learn(&mut self, row: &Row<'_>) {
        for (column, deviation) in self.columns.iter_mut().zip(row.slow) {
            if !deviation.is_nan() {
                *column = [column[0].with(*deviation), column[1].with(-deviation)];
            }
        }
    }
}

impl Sum {
    fn with(self, deviation: f64) -> Self {
        let sum = f64::from(self.sum) + deviation.clamp(-CUT, CUT) - SLACK;
        if sum <= 0.0 {
            return Self::default();
        }
        Self {
            sum: sum.min(SUM_MAX) as f32,
            n: self.n + 1.0,
        }
    }

    /// The shift it speaks for, in standard deviations, 0 to [`CUT`].
    fn shift(self) -> f64 {
        if self.n > 0.0 {
            f64::from(self.sum) / f64::from(self.n) + SLACK
        } else {
            0.0
        }
    }
}
