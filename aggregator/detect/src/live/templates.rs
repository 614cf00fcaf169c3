//! Log templates: which come more often than they did, which were never heard here, which nobody has heard. (step 10)
//!
//! Score: the largest rise of a template's count over a minute above its own mean, in roots of counts (Anscombe 1948: their variance is
//! about one whatever the rate), plus [`NEW`] for each template that is new here and as much again where no sibling has it either.
//! Limits: [`N_MAX`] templates a node; what is beyond is judged as one. Does not: read text, know severities.

use std::collections::BTreeMap;

use hsw_fusion::DetectorId;
use hsw_state::{KeyIndex, Series};
use hsw_types::{Subject, WindowIndex};

use super::{Sight, TURN, USUAL, Witness};

/// Windows that are counted together.
const MINUTE: i64 = 60;
/// Templates remembered.
const N_MAX: usize = 256;
/// A new template weighs as much as a rise by two roots: one in forty by chance.
const NEW: f64 = 2.0;
/// Weight of a look in a template's mean count: an hour is remembered.
const WEIGHT: f64 = TURN as f64 / 3_600.0;
/// Looks before anything is told: three minutes, so that the first lines of an agent are no news.
const N_KNOWN: u32 = 36;
/// Key under which all templates beyond [`N_MAX`] are counted.
const OTHERS: KeyIndex = KeyIndex::MAX;

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Templates {
    n_looks: u32,
    usual: BTreeMap<KeyIndex, Usual>,
    counts: Vec<(KeyIndex, f64)>,
}

/// A template's past.
#[derive(Debug, Clone, Copy)]
struct Usual {
    /// Mean count a minute, over so many looks.
    mean: f32,
    n: u32,
    first: WindowIndex,
}

fn over_minute(series: &Series, window: WindowIndex) -> f64 {
    series.back_from(window, MINUTE).map(|(_, n)| n).sum()
}

fn root(count: f64) -> f64 {
    2.0 * (count + 0.375).sqrt()
}

impl Witness for Templates {
    fn id(&self) -> DetectorId {
        DetectorId::Templates
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        let node = &sight.cluster.nodes()[sight.node];
        self.counts.clear();
        let (mut others, mut n_new, mut n_unheard) = (0.0, 0.0, 0.0);
        for (key, series) in &node.series {
            let info = &sight.cluster.keys()[*key];
            let is_template = matches!(info.key.subject, Subject::Template { .. });
            if !is_template || info.key.metric != "log.template" {
                continue;
            }
            let count = over_minute(series, sight.window);
            if self.counts.len() >= N_MAX && !self.usual.contains_key(key) {
                others += count;
                continue;
            }
            let first = self
                .usual
                .get(key)
                .map_or(sight.window, |usual| usual.first);
            let is_new = count > 0.0 && sight.window - first < MINUTE;
            let is_heard = info.nodes.len() > 1;
            n_new += f64::from(u8::from(is_new));
            n_unheard += f64::from(u8::from(is_new && !is_heard));
            self.counts.push((*key, count));
        }
        if others > 0.0 {
            self.counts.push((OTHERS, others));
        }
        let mut burst: f64 = 0.0;
        for (key, count) in &self.counts {
            let usual = self
                .usual
                .get(key)
                .map_or(0.0, |usual| f64::from(usual.mean));
            burst = burst.max(root(*count) - root(usual));
        }
        let is_known = self.n_looks >= N_KNOWN && !self.counts.is_empty();
        is_known.then_some(USUAL + burst + NEW * (n_new + n_unheard))
    }

    fn learn(&mut self, sight: &Sight<'_>) {
        self.n_looks = self.n_looks.saturating_add(1);
        let has_series = &sight.cluster.nodes()[sight.node].series;
        self.usual
            .retain(|key, _| *key == OTHERS || has_series.contains_key(key));
        for (key, count) in &self.counts {
            if *count <= 0.0 && !self.usual.contains_key(key) {
                continue;
            }
            let usual = self.usual.entry(*key).or_insert(Usual {
                mean: 0.0,
                n: 0,
                first: sight.window,
            });
            usual.n = usual.n.saturating_add(1);
            let weight = (1.0 / f64::from(usual.n)).max(WEIGHT);
            usual.mean += (weight * (count - f64::from(usual.mean))) as f32;
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.usual.len() * 40 + self.counts.capacity() * 16
    }
}
