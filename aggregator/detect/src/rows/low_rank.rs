//! What columns do together: their few strongest common movements, learned row by row. (step 10)
//!
//! In: standardised rows, cut at ±[`CUT`], zero where unknown. Out: each row's weights on the common movements (factors)
//! and what they leave of each column (residuals), both in their own standard deviations.
//! Source: Weng, Zhang, Hwang, Candid covariance-free incremental principal component analysis, IEEE TPAMI 25(8), 2003:
//! each movement is a mean of rows weighed by how far they go along it, taken off before the next one learns, with amnesia.
//! Limits: [`RANK_MAX`] + 1 numbers a column. O(columns × rank) a row, no allocation after the first row.

/// Most common movements. 3 and 6 equal within noise.
const RANK_MAX: usize = 6;
/// Columns per common movement, at least: fewer would leave nothing.
const COLUMNS_PER_FACTOR: usize = 3;
/// Rows that the movements are means over, at most.
const MEMORY_ROWS: f64 = 4_096.0;
/// Extra weight of a new row while few have come (Weng et al. 2003, §II: 2 to 4).
const AMNESIA: f64 = 2.0;
/// Standard deviations beyond which a row teaches no more.
const CUT: f64 = 8.0;
/// A residual's standard deviation is at least this share of its column's.
const FLOOR: f64 = 0.05;
/// Rows before residuals are told.
const N_KNOWN: u32 = 48;

/// The model. See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct LowRank {
    n_columns: usize,
    n: u32,
    /// Movements, one after another, each as long as its variance.
    movements: Vec<f32>,
    /// Mean squared residual of each column.
    left: Vec<f32>,
    /// Of the row that was split last.
    factors: Vec<f64>,
    residuals: Vec<f64>,
}

impl LowRank {
    /// Splits a row. `false` while too little is known, or where there are too few columns for anything to be common.
    pub(crate) fn split(&mut self, row: &[f64]) -> bool {
        if self.residuals.len() != row.len() {
            let rank = (row.len() / COLUMNS_PER_FACTOR).min(RANK_MAX);
            *self = Self {
                n_columns: row.len(),
                n: 0,
                movements: vec![0.0; rank * row.len()],
                left: vec![1.0; row.len()],
                factors: vec![0.0; rank],
                residuals: vec![0.0; row.len()],
            };
        }
        for (residual, value) in self.residuals.iter_mut().zip(row) {
            *residual = if value.is_nan() {
                0.0
            } else {
                value.clamp(-CUT, CUT)
            };
        }
        for (factor, movement) in self
            .factors
            .iter_mut()
            .zip(self.movements.chunks_exact(self.n_columns))
        {
            let length = norm(movement);
            *factor = 0.0;
            if length <= 0.0 {
                continue;
            }
            let weight = dot(movement, &self.residuals) / length;
            for (residual, along) in self.residuals.iter_mut().zip(movement) {
                *residual -= weight * f64::from(*along) / length;
            }
            // A movement is as long as its variance.
            *factor = weight / length.sqrt();
        }
        self.n >= N_KNOWN && !self.factors.is_empty()
    }

    /// Weights on the movements of the row that was split last, in standard deviations.
    pub(crate) fn factors(&self) -> &[f64] {
        &self.factors
    }

    /// What the movements leave of a column of that row, in standard deviations.
    pub(crate) fn residual(&self, column: usize) -> f64 {
        self.residuals[column] / f64::from(self.left[column]).sqrt().max(FLOOR)
    }

    /// Shares out evidence about a movement among the columns that make it.
    pub(crate) fn add_blame(&self, factor: usize, evidence: f64, blame: &mut [f64]) {
        let movement = &self.movements[factor * self.n_columns..(factor + 1) * self.n_columns];
        let total: f64 = movement.iter().map(|m| f64::from(*m) * f64::from(*m)).sum();
        if total > 0.0 {
            for (share, m) in blame.iter_mut().zip(movement) {
                *share += evidence * f64::from(*m) * f64::from(*m) / total;
            }
        }
    }

    /// Learns the row that was split last.
    pub(crate) fn learn(&mut self, row: &[f64]) {
        self.n = self.n.saturating_add(1);
        let n = f64::from(self.n);
        let weight = ((1.0 + AMNESIA) / (n + AMNESIA)).clamp(1.0 / MEMORY_ROWS, 1.0);
        for (left, residual) in self.left.iter_mut().zip(&self.residuals) {
            *left += (weight * (residual * residual - f64::from(*left))) as f32;
        }
        for (residual, value) in self.residuals.iter_mut().zip(row) {
            *residual = if value.is_nan() {
                0.0
            } else {
                value.clamp(-CUT, CUT)
            };
        }
        for (index, movement) in self.movements.chunks_exact_mut(self.n_columns).enumerate() {
            if index as f64 >= n {
                break;
            }
            let length = norm(movement);
            let along = if length > 0.0 {
                dot(movement, &self.residuals) / length
            } else {
                1.0
            };
            for (m, residual) in movement.iter_mut().zip(&self.residuals) {
                *m += (weight * (along * residual - f64::from(*m))) as f32;
            }
            let length = norm(movement);
            if length <= 0.0 {
                continue;
            }
            let along = dot(movement, &self.residuals) / length;
            for (residual, m) in self.residuals.iter_mut().zip(movement.iter()) {
                *residual -= along * f64::from(*m) / length;
            }
        }
    }
}

fn norm(movement: &[f32]) -> f64 {
    movement
        .iter()
        .map(|m| f64::from(*m) * f64::from(*m))
        .sum::<f64>()
        .sqrt()
}

fn dot(movement: &[f32], row: &[f64]) -> f64 {
    movement
        .iter()
        .zip(row)
        .map(|(m, r)| f64::from(*m) * r)
        .sum()
}

#[cfg(test)]
impl LowRank {
    pub(super) fn bytes(&self) -> usize {
        (self.movements.capacity() + self.left.capacity()) * size_of::<f32>()
            + (self.factors.capacity() + self.residuals.capacity()) * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::noise;

    /// Nine columns: two common movements and a little of their own.
    fn row(at: i64) -> Vec<f64> {
        let (a, b) = (2.0 * noise(at, 100), noise(at, 101));
        let of = |column: usize| if column.is_multiple_of(2) { a } else { a - b };
        (0..9)
            .map(|column| of(column) + 0.05 * noise(at, column))
            .collect()
    }

    #[test]
    fn common_movements_leave_little_and_a_column_that_leaves_them_stands_out() {
        let mut model = LowRank::default();
        for at in 0..2_000 {
            model.split(&row(at));
            model.learn(&row(at));
        }
        let mut broken = row(2_000);
        assert!(model.split(&broken));
        assert!((0..9).all(|column| model.residual(column).abs() < 5.0));
        broken[4] = -broken[4] + 0.8;
        model.split(&broken);
        let worst = (0..9).max_by(|a, b| {
            model
                .residual(*a)
                .abs()
                .total_cmp(&model.residual(*b).abs())
        });
        assert_eq!(worst, Some(4));
        assert!(model.residual(4).abs() > 5.0);
    }

    #[test]
    fn factors_have_unit_variance_once_learned() {
        let mut model = LowRank::default();
        let (mut sum, mut n) = (0.0, 0.0);
        for at in 0..4_000 {
            if model.split(&row(at)) && at >= 2_000 {
                sum += model.factors()[0] * model.factors()[0];
                n += 1.0;
            }
            model.learn(&row(at));
        }
        assert!((0.8..1.25).contains(&(sum / n)), "{}", sum / n);
    }

    #[test]
    fn two_columns_have_nothing_in_common_that_could_be_told() {
        let mut model = LowRank::default();
        for at in 0..200 {
            assert!(!model.split(&row(at)[..2]));
            model.learn(&row(at)[..2]);
        }
    }
}
