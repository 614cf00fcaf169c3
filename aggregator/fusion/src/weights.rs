//! Weights of the detectors: the operator's word, blended with what labels say. (step 11)
//!
//! Invariant: WT-1 weights are ≥ 0 and add up to one.
//! Blend: w ∝ AHP^(1 − α) · Shapley^α, α = n / (n + [`N_PRIOR`]) after n labels (ALGORITHMS §8.2).

use crate::detectors::N_DETECTORS;

/// Labels after which they weigh as much as the operator's word (ours, not swept: a month of daily
/// feedback).
const N_PRIOR: f64 = 30.0;
/// Least share of a detector that labels have not shown to help: what has not been needed yet may be needed for the next kind of fault.
const SHARE_MIN: f64 = 0.02;

/// Checked weights, in the order of [`crate::DetectorId::ALL`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights([f64; N_DETECTORS]);

/// Not weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many weights as there are detectors are needed, from 0 on, not all 0")]
pub struct NotWeights;

impl Default for Weights {
    /// All the same: nothing is known about any.
    fn default() -> Self {
        Self([1.0 / N_DETECTORS as f64; N_DETECTORS])
    }
}

impl Weights {
    /// Made to add up to one.
    ///
    /// # Errors
    /// [`NotWeights`] where there are too few or too many, one is negative or no number, or all are 0.
    pub fn new(raw: &[f64]) -> Result<Self, NotWeights> {
        let raw: [f64; N_DETECTORS] = raw.try_into().map_err(|_| NotWeights)?;
        let sum: f64 = raw.iter().sum();
        let are_weights = raw.iter().all(|w| *w >= 0.0 && w.is_finite());
        if are_weights && sum > 0.0 && sum.is_finite() {
            // What adds up to one but for rounding stays as it is, so that what is stored reads back equal.
            let sum = if (sum - 1.0).abs() < 1e-9 { 1.0 } else { sum };
            Ok(Self(raw.map(|w| w / sum)))
        } else {
            Err(NotWeights)
        }
    }

    /// By detector.
    #[must_use]
    pub const fn all(&self) -> &[f64; N_DETECTORS] {
        &self.0
    }
}

/// The operator's weights and the Shapley values of `n_labels` labels, blended. Negative values count as the least share.
#[must_use]
pub fn blend(operator: &Weights, shapley: &[f64], n_labels: usize) -> Weights {
    let positive: f64 = shapley.iter().map(|share| share.max(0.0)).sum();
    if positive <= 0.0 {
        return *operator;
    }
    let alpha = n_labels as f64 / (n_labels as f64 + N_PRIOR);
    let mixed = operator.0.iter().zip(shapley).map(|(own, share)| {
        let learned = (share / positive).max(SHARE_MIN);
        // A weight that the operator set to zero stays zero.
        if *own > 0.0 {
            hsw_stats::exp((1.0 - alpha) * hsw_stats::ln(*own) + alpha * hsw_stats::ln(learned))
        } else {
            0.0
        }
    });
    Weights::new(&mixed.collect::<Vec<f64>>()).unwrap_or(*operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_one_or_are_refused() {
        let weights = Weights::new(&[2.0; N_DETECTORS]).unwrap();
        assert!((weights.all().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(Weights::new(&[0.0; N_DETECTORS]).is_err());
        assert!(Weights::new(&[1.0; 3]).is_err());
        let mut wrong = [1.0; N_DETECTORS];
        wrong[2] = -0.1;
        assert!(Weights::new(&wrong).is_err());
        wrong[2] = f64::NAN;
        assert!(Weights::new(&wrong).is_err());
    }

    #[test]
    fn no_label_leaves_the_operators_word_and_many_take_its_place() {
        let operator = Weights::default();
        let mut shapley = [0.0; N_DETECTORS];
        shapley[3] = 0.8;
        shapley[4] = -0.2;
        let unlearned = blend(&operator, &shapley, 0);
        assert!(unlearned.all().iter().all(|w| (w - 0.1).abs() < 1e-12));
        assert_eq!(blend(&operator, &[0.0; N_DETECTORS], 99), operator);
        let (some, many) = (
            blend(&operator, &shapley, 30),
            blend(&operator, &shapley, 3_000),
        );
        assert!(some.all()[3] > operator.all()[3] && many.all()[3] > some.all()[3]);
        assert!(many.all()[3] > 0.8 && many.all()[4] > 0.0);
        let mut none = [1.0; N_DETECTORS];
        none[3] = 0.0;
        assert_eq!(
            blend(&Weights::new(&none).unwrap(), &shapley, 100).all()[3],
            0.0
        );
    }
}
