//! Weights by an operator's pairwise comparisons: the analytic hierarchy process. (step 11)
//!
//! In: a reciprocal matrix, `a[i][j]` = how many times more i matters than j (1/9 to 9). Out: its principal eigenvector, adding up to one,
//! or why it is refused. Invariant: AH-1 a matrix whose consistency ratio is 0.1 or more is refused.
//! Source: Saaty, The Analytic Hierarchy Process, 1980; random indices as printed there for 3 to 10.

/// Mean consistency index of random matrices of 0 to 10 rows (Saaty 1980).
const RANDOM: [f64; 11] = [
    0.0, 0.0, 0.0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49,
];
/// Largest consistency ratio that is believed (Saaty 1980).
pub const RATIO_MAX: f64 = 0.1;
/// Saaty's scale ends here.
const JUDGEMENT_MAX: f64 = 9.0;
/// Entries typed as decimals are reciprocal within this.
const TOLERANCE: f64 = 0.01;
/// Rounds of the power iteration at most; positive matrices of ten rows need a few dozen.
const ROUNDS_MAX: usize = 1_000;

/// Weights of a matrix and how consistent it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Priorities {
    /// Principal eigenvector, adds up to one.
    pub weights: Vec<f64>,
    /// Consistency ratio, 0 (consistent) to [`RATIO_MAX`].
    pub ratio: f64,
}

/// Why a matrix is refused; each says what to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Rows.
    #[error("the matrix must have {expected} rows of {expected} numbers")]
    Shape {
        /// As many as there are players.
        expected: usize,
    },
    /// An entry.
    #[error("row {row}, column {column}: a comparison is a number from 1/9 to 9")]
    Entry {
        /// From 1.
        row: usize,
        /// From 1.
        column: usize,
    },
    /// Two entries.
    #[error("row {row}, column {column} must be 1 divided by row {column}, column {row}")]
    Reciprocal {
        /// From 1.
        row: usize,
        /// From 1.
        column: usize,
    },
    /// All of them.
    #[error(
        "the comparisons contradict one another (consistency ratio {ratio:.2}, below 0.1 is needed): row {row}, column {column} fits the others least"
    )]
    Inconsistent {
        /// The ratio.
        ratio: f64,
        /// From 1.
        row: usize,
        /// From 1.
        column: usize,
    },
}

/// The priorities of `matrix`, which must have `n` ≤ 10 rows. O(n² · rounds).
///
/// # Errors
/// [`Refused`], with what to change.
pub fn priorities(matrix: &[Vec<f64>], n: usize) -> Result<Priorities, Refused> {
    if n == 0 || n >= RANDOM.len() || matrix.len() != n || matrix.iter().any(|row| row.len() != n) {
        return Err(Refused::Shape { expected: n });
    }
    for (i, entries) in matrix.iter().enumerate() {
        for (j, &entry) in entries.iter().enumerate() {
            let (row, column) = (i + 1, j + 1);
            if !(1.0 / JUDGEMENT_MAX - TOLERANCE..=JUDGEMENT_MAX).contains(&entry) || entry <= 0.0 {
                return Err(Refused::Entry { row, column });
            }
            if (entry * matrix[j][i] - 1.0).abs() > TOLERANCE * entry.max(matrix[j][i]) {
                return Err(Refused::Reciprocal { row, column });
            }
        }
    }
    let (weights, value) = eigenvector(matrix);
    let index = (value - n as f64).max(0.0) / (n as f64 - 1.0).max(1.0);
    let ratio = if RANDOM[n] > 0.0 {
        index / RANDOM[n]
    } else {
        0.0
    };
    if ratio >= RATIO_MAX {
        let apart =
            |i: usize, j: usize| (matrix[i][j] * weights[j] / weights[i]).max(f64::MIN_POSITIVE);
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        let worst = pairs.max_by(|a, b| {
            let size = |(i, j): (usize, usize)| hsw_stats::ln(apart(i, j)).abs();
            size(*a).total_cmp(&size(*b))
        });
        let (i, j) = worst.unwrap_or((0, 0));
        return Err(Refused::Inconsistent {
            ratio,
            row: i + 1,
            column: j + 1,
        });
    }
    Ok(Priorities { weights, ratio })
}

/// Principal eigenvector (adding up to one) and eigenvalue of a positive matrix, by power iteration.
fn eigenvector(matrix: &[Vec<f64>]) -> (Vec<f64>, f64) {
    let n = matrix.len();
    let mut weights = vec![1.0 / n as f64; n];
    let mut value = n as f64;
    for _ in 0..ROUNDS_MAX {
        let mut next: Vec<f64> = matrix
            .iter()
            .map(|row| row.iter().zip(&weights).map(|(a, w)| a * w).sum())
            .collect();
        // The weights add up to one, so what they add up to now is the eigenvalue.
        value = next.iter().sum();
        next.iter_mut().for_each(|w| *w /= value);
        let moved: f64 = next.iter().zip(&weights).map(|(a, b)| (a - b).abs()).sum();
        weights = next;
        if moved < 1e-14 {
            break;
        }
    }
    (weights, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_weights(weights: &[f64]) -> Vec<Vec<f64>> {
        weights
            .iter()
            .map(|a| weights.iter().map(|b| a / b).collect())
            .collect()
    }

    #[test]
    fn a_consistent_matrix_gives_its_weights_back() {
        let found = priorities(&of_weights(&[0.6, 0.3, 0.1]), 3).unwrap();
        for (a, b) in found.weights.iter().zip([0.6, 0.3, 0.1]) {
            assert!((a - b).abs() < 1e-12);
        }
        assert!(found.ratio < 1e-9);
    }

    /// The textbook's three criteria: 1 3 5 / 1/3 1 3 / 1/5 1/3 1 has λ = 3.0385 and CR 0.033.
    #[test]
    fn the_textbook_matrix_has_its_textbook_ratio() {
        let matrix = vec![
            vec![1.0, 3.0, 5.0],
            vec![1.0 / 3.0, 1.0, 3.0],
            vec![0.2, 1.0 / 3.0, 1.0],
        ];
        let found = priorities(&matrix, 3).unwrap();
        assert!((found.ratio - 0.0332).abs() < 5e-4, "{}", found.ratio);
        assert!((found.weights[0] - 0.637).abs() < 1e-3);
    }

    #[test]
    fn contradictions_and_what_is_no_comparison_are_refused_with_the_place() {
        let circle = vec![
            vec![1.0, 5.0, 0.2],
            vec![0.2, 1.0, 5.0],
            vec![5.0, 0.2, 1.0],
        ];
        assert!(matches!(
            priorities(&circle, 3),
            Err(Refused::Inconsistent { .. })
        ));
        assert!(matches!(
            priorities(&circle, 4),
            Err(Refused::Shape { expected: 4 })
        ));
        let wrong = vec![vec![1.0, 3.0], vec![3.0, 1.0]];
        assert_eq!(
            priorities(&wrong, 2),
            Err(Refused::Reciprocal { row: 1, column: 2 })
        );
        let wild = vec![vec![1.0, 90.0], vec![1.0 / 90.0, 1.0]];
        assert_eq!(
            priorities(&wild, 2),
            Err(Refused::Entry { row: 1, column: 2 })
        );
        assert!(priorities(&[vec![1.0, f64::NAN], vec![1.0, 1.0]], 2).is_err());
    }

    proptest! {
        #[test]
        fn prop_weights_of_any_consistent_matrix_come_back(raw in proptest::collection::vec(1.0..8.9_f64, 2..10)) {
            let sum: f64 = raw.iter().sum();
            let found = priorities(&of_weights(&raw), raw.len()).unwrap();
            for (a, b) in found.weights.iter().zip(&raw) {
                prop_assert!((a - b / sum).abs() < 1e-9);
            }
        }
    }
}
