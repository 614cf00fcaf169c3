//! Shadow evaluation: a new model scores beside the one in force before it takes over. (step 11)
//!
//! In: what both say of the same batches. Out: a [`Verdict`] once `n_batches` have been compared. Invariants: SH-1 a model
//! is taken only after all batches, each finite and of one score a shard, and within its card's [`Bounds`].
//! O(1) memory. Does not: score.

use crate::Bounds;

/// A comparison under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    bounds: Bounds,
    n_batches: u32,
    n_compared: u32,
    n_scores: u64,
    difference_sum: f64,
    n_verdicts_differ: u64,
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// More batches are needed.
    Waiting,
    /// It may take over.
    Taken,
    /// It may not, and why.
    Refused(String),
}

impl Shadow {
    /// To be compared over so many batches, at least one.
    #[must_use]
    pub fn new(bounds: Bounds, n_batches: u32) -> Self {
        Self {
            bounds,
            n_batches: n_batches.max(1),
            n_compared: 0,
            n_scores: 0,
            difference_sum: 0.0,
            n_verdicts_differ: 0,
        }
    }

    /// One batch: probabilities of the model in force and of the new one. O(shards).
    pub fn compare(&mut self, old: &[f32], new: &[f32]) -> Verdict {
        if old.len() != new.len() {
            return Verdict::Refused(format!("{} scores for {} shards", new.len(), old.len()));
        }
        let is_probability = |p: &f32| (0.0..=1.0).contains(p);
        if let Some(odd) = new.iter().find(|p| !is_probability(p)) {
            return Verdict::Refused(format!("{odd} is no probability"));
        }
        for (old, new) in old.iter().zip(new) {
            self.difference_sum += f64::from((old - new).abs());
            self.n_verdicts_differ += u64::from((*old > 0.5) != (*new > 0.5));
        }
        self.n_scores += old.len() as u64;
        self.n_compared += 1;
        if self.n_compared < self.n_batches || self.n_scores == 0 {
            return Verdict::Waiting;
        }
        let mean = self.difference_sum / self.n_scores as f64;
        let share = self.n_verdicts_differ as f64 / self.n_scores as f64;
        if mean > self.bounds.difference_mean_max || share > self.bounds.verdicts_differ_max {
            return Verdict::Refused(format!(
                "it differs from the model in force by {mean:.4} on average and in {share:.4} of verdicts, its card \
                 allows {} and {}",
                self.bounds.difference_mean_max, self.bounds.verdicts_differ_max
            ));
        }
        Verdict::Taken
    }

    /// Batches compared so far.
    #[must_use]
    pub const fn n_compared(&self) -> u32 {
        self.n_compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        difference_mean_max: 0.1,
        verdicts_differ_max: 0.25,
    };

    #[test]
    fn a_model_that_agrees_is_taken_after_all_batches_and_not_before() {
        let mut shadow = Shadow::new(BOUNDS, 3);
        assert_eq!(shadow.compare(&[0.1, 0.9], &[0.15, 0.85]), Verdict::Waiting);
        assert_eq!(shadow.compare(&[0.1, 0.9], &[0.15, 0.85]), Verdict::Waiting);
        assert_eq!(shadow.compare(&[0.1, 0.9], &[0.15, 0.85]), Verdict::Taken);
    }

    #[test]
    fn a_model_that_says_otherwise_or_nonsense_is_refused() {
        let refused = |old: &[f32], new: &[f32]| {
            let mut shadow = Shadow::new(BOUNDS, 1);
            matches!(shadow.compare(old, new), Verdict::Refused(_))
        };
        assert!(refused(&[0.1; 4], &[0.3; 4]), "mean difference");
        assert!(refused(&[0.45; 4], &[0.45, 0.45, 0.55, 0.55]), "verdicts");
        assert!(refused(&[0.1], &[f32::NAN]));
        assert!(refused(&[0.1], &[1.5]));
        assert!(refused(&[0.1], &[0.1, 0.1]));
    }

    #[test]
    fn empty_batches_prove_nothing() {
        let mut shadow = Shadow::new(BOUNDS, 1);
        assert_eq!(shadow.compare(&[], &[]), Verdict::Waiting);
        assert_eq!(shadow.compare(&[0.1], &[0.1]), Verdict::Taken);
    }
}
