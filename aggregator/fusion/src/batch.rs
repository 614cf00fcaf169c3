//! What a model is given each tick, and what it answers: all shards in one batch. (step 11)
//!
//! Invariants: BA-1 a batch that passes [`Batch::check`] has one finite row a shard and edges among its rows only.
//! Does not: know what a feature means (the layout does).

use std::collections::BTreeMap;

use hsw_types::{ShardId, WindowIndex};

/// Step of a quantised score, in logits: differences between providers are a hundred times smaller.
const LOGIT_STEP: f64 = 0.125;
/// Logits beyond this are this.
const LOGIT_MAX: f64 = 12.0;

/// All shards at one window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// The newest window in it.
    pub window: WindowIndex,
    /// A row each, shards and routers in the order of the map.
    pub shards: Vec<ShardId>,
    /// Steps a row, oldest first.
    pub n_steps: usize,
    /// Features a step.
    pub n_features: usize,
    /// Values, by (shard, step, feature).
    pub history: Vec<f32>,
    /// Who talks to whom, by row; a pair may come again.
    pub edges: Vec<(u32, u32)>,
}

impl Batch {
    /// What is wrong with it, `None` where nothing is. O(values).
    #[must_use]
    pub fn check(&self) -> Option<String> {
        let expected = self.shards.len() * self.n_steps * self.n_features;
        let n = self.shards.len() as u64;
        let is_inside = |&(from, to): &(u32, u32)| u64::from(from) < n && u64::from(to) < n;
        if self.history.len() != expected {
            return Some(format!(
                "{} values for {} shards of {} steps of {} features",
                self.history.len(),
                self.shards.len(),
                self.n_steps,
                self.n_features
            ));
        }
        if !self.edges.iter().all(is_inside) {
            return Some("an edge ends at a row that there is not".to_owned());
        }
        let is_finite = self.history.iter().all(|value| value.is_finite());
        (!is_finite).then(|| "a value is not finite".to_owned())
    }

    /// The newest step of every row, by (shard, feature).
    #[must_use]
    pub fn newest(&self) -> Vec<f32> {
        let row = self.n_steps * self.n_features;
        let rows = self.history.chunks_exact(row.max(1));
        rows.flat_map(|row| &row[row.len() - self.n_features..])
            .copied()
            .collect()
    }
}

/// What a model says of a [`Batch`], row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// The batch's window.
    pub window: WindowIndex,
    /// The batch's rows.
    pub shards: Vec<ShardId>,
    /// Probability that the shard is sick, 0 to 1, quantised.
    pub sick: Vec<f32>,
    /// Probability that it is in an incident within ten minutes, quantised; empty where the model does not say.
    pub soon: Vec<f32>,
    /// Of shards that are probably sick: what adds most to the margin of the model's trees, and how much, strongest first.
    pub reasons: BTreeMap<ShardId, Vec<(String, f32)>>,
}

/// The nearest of the probabilities that lie an eighth of a logit apart, so that what two providers say of one batch is
/// the same unless it lies on a border. Values that are no probability are clamped.
#[must_use]
pub fn quantise(probability: f32) -> f32 {
    let p = f64::from(probability).clamp(1e-6, 1.0 - 1e-6);
    let logit = hsw_stats::ln(p / (1.0 - p)).clamp(-LOGIT_MAX, LOGIT_MAX);
    let step = (logit / LOGIT_STEP).round() * LOGIT_STEP;
    (1.0 / (1.0 + hsw_stats::exp(-step))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n: usize) -> Batch {
        Batch {
            shards: (0..n)
                .map(|i| ShardId::new(&format!("s{i}")).unwrap())
                .collect(),
            n_steps: 2,
            n_features: 3,
            history: (0..n * 6).map(|i| i as f32).collect(),
            edges: vec![(0, 1), (1, 0)],
            ..Batch::default()
        }
    }

    #[test]
    fn the_newest_step_of_each_row_is_its_last() {
        assert_eq!(batch(2).newest(), [3.0, 4.0, 5.0, 9.0, 10.0, 11.0]);
    }

    #[test]
    fn what_is_no_batch_is_said() {
        assert_eq!(batch(2).check(), None);
        let mut edges = batch(2);
        edges.edges.push((0, 2));
        assert!(edges.check().unwrap().contains("edge"));
        let mut infinite = batch(2);
        infinite.history[4] = f32::NAN;
        assert!(infinite.check().unwrap().contains("finite"));
        let mut short = batch(2);
        short.history.pop();
        assert!(short.check().unwrap().contains("11 values"));
    }

    #[test]
    fn quantised_scores_keep_their_order_and_forget_what_providers_differ_in() {
        let scores: Vec<f32> = (0..=1_000).map(|i| i as f32 / 1_000.0).collect();
        let steps: Vec<f32> = scores.iter().map(|&p| quantise(p)).collect();
        assert!(steps.is_sorted());
        let far = scores.iter().zip(&steps).map(|(p, q)| (p - q).abs());
        assert!(far.fold(0.0, f32::max) < 0.017);
        let differ = scores
            .iter()
            .filter(|&&p| quantise(p) != quantise(p + 3e-5));
        assert!(
            differ.count() <= 10,
            "one in a hundred lies on a border at most"
        );
        for odd in [-1.0, 2.0, f32::INFINITY] {
            assert!((0.0..=1.0).contains(&quantise(odd)));
        }
    }
}
