//! Fingerprints of statements: slower than they were, another mix than it was, plans that changed. (step 10)
//!
//! Score: the square of the slowest fingerprint's deviation from its own past, plus what the mix moved ([`MIX`] for all of it), plus
//! [`PLAN`] for each plan that is new for its fingerprint within the last minute.
//! The mix is the share of windows of the last minute in which each fingerprint was logged, against its mean of the last hour: total
//! variation, 0 to 1. Limits: [`N_MAX`] fingerprints a node. Does not: read statements.

use std::collections::BTreeMap;

use hsw_fusion::DetectorId;
use hsw_state::KeyIndex;

use super::{Sight, TURN, USUAL, Witness};

/// Windows that are counted together.
const MINUTE: i64 = 60;
/// Fingerprints remembered.
const N_MAX: usize = 256;
/// A wholly different mix weighs as much as a latency six standard deviations off.
const MIX: f64 = 36.0;
/// A changed plan weighs as much as a latency two standard deviations off: plans change all day without harm.
const PLAN: f64 = 4.0;
/// Weight of a look in a fingerprint's usual share: an hour is remembered.
const WEIGHT: f64 = TURN as f64 / 3_600.0;
/// Looks before the mix is told.
const N_KNOWN: u32 = 36;

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    n_looks: u32,
    usual: BTreeMap<KeyIndex, f32>,
    shares: Vec<(KeyIndex, f64)>,
}

impl Fingerprints {
    /// Windows of the last minute in which each fingerprint was logged, as shares of all such windows; gives the new plans.
    fn count(&mut self, sight: &Sight<'_>) -> f64 {
        self.shares.clear();
        let mut plans = 0.0;
        for (key, series) in &sight.cluster.nodes()[sight.node].series {
            let recent = || series.back_from(sight.window, MINUTE);
            match sight.cluster.keys()[*key].key.metric.as_str() {
                "query.latency_ms" => {
                    let n = recent().count() as f64;
                    if self.shares.len() < N_MAX && n > 0.0 {
                        self.shares.push((*key, n));
                    }
                }
                "query.plan_changes" => plans += recent().map(|(_, n)| n).sum::<f64>(),
                _ => {}
            }
        }
        let sum: f64 = self.shares.iter().map(|(_, n)| n).sum();
        self.shares.iter_mut().for_each(|(_, n)| *n /= sum);
        plans
    }
}

impl Witness for Fingerprints {
    fn id(&self) -> DetectorId {
        DetectorId::Fingerprints
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        let plans = self.count(sight);
        let (slowest, n) = sight.note.latency;
        let is_mix_known = self.n_looks >= N_KNOWN && !self.shares.is_empty();
        let mut mix = 0.0;
        if is_mix_known {
            let usual = |key: &KeyIndex| self.usual.get(key).map_or(0.0, |share| f64::from(*share));
            let risen = self
                .shares
                .iter()
                .map(|(key, share)| (share - usual(key)).max(0.0));
            mix = risen.sum::<f64>().min(1.0);
        }
        let is_known = n > 0 || is_mix_known;
        is_known.then_some(USUAL + slowest * slowest + MIX * mix + PLAN * plans.min(3.0))
    }

    fn learn(&mut self, sight: &Sight<'_>) {
        if self.shares.is_empty() {
            return;
        }
        self.n_looks = self.n_looks.saturating_add(1);
        let weight = (1.0 / f64::from(self.n_looks)).max(WEIGHT);
        let series = &sight.cluster.nodes()[sight.node].series;
        self.usual.retain(|key, _| series.contains_key(key));
        self.usual
            .values_mut()
            .for_each(|share| *share *= (1.0 - weight) as f32);
        for (key, share) in &self.shares {
            *self.usual.entry(*key).or_default() += (weight * share) as f32;
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.usual.len() * 16 + self.shares.capacity() * 16
    }
}
