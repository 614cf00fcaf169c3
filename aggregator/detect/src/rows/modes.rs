//! Dynamic modes: do the common movements still follow from the two rows before, as they did? (step 10)
//!
//! The factors of the deviations are predicted from their last [`DELAYS`] values (delay embedding) by a linear map that is
//! learned row by row: dynamic mode decomposition, online. Score: the mean squared error of the prediction, whitened,
//! then an exponential mean over the short span. Blame: each movement's squared error, shared out among its columns.
//! Source: Zhang, Rowley, Deem, Cattafesta, Online dynamic mode decomposition, SIAM J. Appl. Dyn. Syst. 18(3), 2019, §3
//! (rank-one update of the inverse, with forgetting).
//! Limits: (rank × delays)² numbers; O(that) a row.

use super::low_rank::LowRank;
use super::{Judge, Row};

/// Rows that the next one is predicted from. 1 to 3 equal within noise.
const DELAYS: usize = 2;
/// Rows that the map is a mean over.
const MEMORY_ROWS: f64 = 4_096.0;
/// The inverse's start: nothing is known about any direction.
const PRIOR: f64 = 100.0;
/// Rows before errors are told.
const N_KNOWN: u32 = 96;

/// The judge. See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Modes {
    model: LowRank,
    n: u32,
    /// The last factors, newest first.
    past: Vec<f64>,
    /// Rows that `past` holds without a gap.
    n_past: usize,
    inverse: Vec<f64>,
    map: Vec<f64>,
    gain: Vec<f64>,
    errors: Vec<f64>,
    variances: Vec<f64>,
    recent: Option<f64>,
    now: Option<f64>,
}

impl Judge for Modes {
    fn name(&self) -> &'static str {
        "dynamic modes"
    }

    fn judge(&mut self, row: &Row<'_>, blame: &mut [f64]) -> Option<f64> {
        self.now = None;
        blame.fill(0.0);
        let is_known = self.model.split(row.slow);
        if !is_known || row.slow.iter().all(|d| d.is_nan()) {
            self.n_past = 0;
            return None;
        }
        let rank = self.model.factors().len();
        if self.errors.len() != rank {
            self.start(rank);
        }
        if self.n_past < DELAYS {
            return None;
        }
        for (k, error) in self.errors.iter_mut().enumerate() {
            let row_of_map = &self.map[k * rank * DELAYS..(k + 1) * rank * DELAYS];
            let predicted: f64 = row_of_map.iter().zip(&self.past).map(|(a, y)| a * y).sum();
            *error = self.model.factors()[k] - predicted;
        }
        if self.n < N_KNOWN {
            return None;
        }
        let mut sum = 0.0;
        for (k, error) in self.errors.iter().enumerate() {
            let squared = error * error / self.variances[k].max(1e-6);
            sum += squared;
            self.model.add_blame(k, squared, blame);
        }
        let mean = sum / rank as f64;
        let before = self.recent.unwrap_or(mean);
        self.now = Some(before + row.moment.short * (mean - before));
        self.now
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        let lists = [
            &self.past,
            &self.inverse,
            &self.map,
            &self.gain,
            &self.errors,
            &self.variances,
        ];
        let numbers: usize = lists.iter().map(|list| list.capacity()).sum();
        self.model.bytes() + numbers * size_of::<f64>()
    }

    fn learn(&mut self, row: &Row<'_>) {
        self.recent = self.now.or(self.recent);
        if row.slow.iter().all(|d| d.is_nan()) {
            self.n_past = 0;
            return;
        }
        let rank = self.model.factors().len();
        if rank > 0 && self.errors.len() == rank {
            if self.n_past >= DELAYS {
                self.learn_map(rank);
            }
            self.past.rotate_right(rank);
            self.past[..rank].copy_from_slice(self.model.factors());
            self.n_past += 1;
        }
        self.model.learn(row.slow);
    }
}

impl Modes {
    fn start(&mut self, rank: usize) {
        let n = rank * DELAYS;
        self.past = vec![0.0; n];
        self.gain = vec![0.0; n];
        self.map = vec![0.0; rank * n];
        self.errors = vec![0.0; rank];
        self.variances = vec![1.0; rank];
        self.inverse = vec![0.0; n * n];
        for i in 0..n {
            self.inverse[i * n + i] = PRIOR;
        }
    }

    /// Recursive least squares with forgetting. O((rank × delays)²).
    fn learn_map(&mut self, rank: usize) {
        let n = rank * DELAYS;
        self.n = self.n.saturating_add(1);
        let keep = 1.0 - 1.0 / MEMORY_ROWS;
        for (gain, row) in self.gain.iter_mut().zip(self.inverse.chunks_exact(n)) {
            *gain = row.iter().zip(&self.past).map(|(p, y)| p * y).sum();
        }
        let along: f64 = self.gain.iter().zip(&self.past).map(|(g, y)| g * y).sum();
        let scale = 1.0 / (keep + along);
        for i in 0..n {
            for j in 0..n {
                let new = (self.inverse[i * n + j] - scale * self.gain[i] * self.gain[j]) / keep;
                self.inverse[i * n + j] = new;
            }
            // What has not been seen for long must not grow without bound.
            self.inverse[i * n + i] = self.inverse[i * n + i].min(PRIOR);
        }
        let weight = (1.0 / f64::from(self.n)).max(1.0 / MEMORY_ROWS);
        for (k, error) in self.errors.iter().enumerate() {
            self.variances[k] += weight * (error * error - self.variances[k]);
            for (a, gain) in self.map[k * n..(k + 1) * n].iter_mut().zip(&self.gain) {
                *a += scale * gain * error;
            }
        }
    }
}
