//! Every judged series of every node, window by window. (step 10)

use hsw_fusion::layout::metric_index;
use hsw_state::{Cluster, KeyIndex, KeyInfo, NodeIndex};
use hsw_types::{Bad, MetricSpec, Tier, WindowIndex};

use crate::limits::{Limit, Standing, limit_of};
use crate::live::Note;
use crate::own_past::{Learning, OwnPast, Residual};
use crate::scale::Scale;
use crate::siblings::LeaveOneOut;
use crate::smooth::{SMOOTH, smooth};

/// Robust standard deviations from which a deviation is a finding worth holding.
/// Five, the usual "not by chance" even over millions of judgements when the median of five smooths them.
pub(crate) const SCORE_ON: f64 = 5.0;
/// Below this a held finding begins to fade.
pub(crate) const SCORE_OFF: f64 = 2.5;
/// Windows below [`SCORE_OFF`], or unknown, after which a held finding ends.
const FADE_WINDOWS: u32 = 5;
/// Findings below this score are not worth telling.
pub(crate) const SCORE_TOLD: f64 = 3.0;
/// Without siblings a deviation may be everybody's: it counts for less.
const ALONE: f64 = 0.7;
/// What siblings have in common is their reaction to one load, each by its own power of it: standard deviation of that power (ours, not
/// swept). Half a power lets a shard be moved three and a half times as far as the middle one, on the judged scale, before it is a finding;
/// what moves nobody else counts in full.
const REACTION: f64 = 0.5;

/// Nodes that are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Judged against one another.
    pub members: Vec<NodeIndex>,
    /// When not empty: judged against these instead (a router against the shards behind it).
    pub control: Vec<NodeIndex>,
}

/// A deviation of one series at one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The node.
    pub node: NodeIndex,
    /// The series.
    pub key: KeyIndex,
    /// Its row in the catalogue.
    pub spec: &'static MetricSpec,
    /// Smoothed value now, in the metric's unit.
    pub value: f64,
    /// What is usual for it.
    pub usual: f64,
    /// Median of the siblings' smoothed values now; `None` without siblings.
    pub siblings: Option<f64>,
    /// Robust standard deviations in the bad direction, ≥ 3: the smaller of own past and siblings.
    pub score: f64,
    /// Sign of the deviation: more (+1) or less (−1) than usual.
    pub direction: f64,
    /// First window of the deviation.
    pub since: WindowIndex,
    /// Windows it has been held, 0 while it is only a suspicion.
    pub held: u32,
    /// Seconds until a limit that is known is reached if it goes on so, 0 where it is passed; `None` where no limit speaks.
    pub limit_s: Option<f64>,
}

/// How far a series is from what is usual, finding or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    /// The node.
    pub node: NodeIndex,
    /// The series.
    pub key: KeyIndex,
    /// Robust standard deviations from its own past, more than usual being positive.
    pub own: f64,
    /// The same beyond what the siblings' median moved; without siblings as `own`.
    pub apart: f64,
}

#[derive(Debug, Clone, Default)]
struct Model {
    past: OwnPast,
    since: Option<WindowIndex>,
    held: u32,
    faded: u32,
}

/// One member's sample of one key.
#[derive(Debug, Clone, Copy)]
struct Sample {
    node: NodeIndex,
    group: usize,
    /// Place of its model among the key's.
    model: usize,
    value: f64,
    y: f64,
    residual: Option<Residual>,
}

/// The detector. See the crate's header for the ordering contract.
#[derive(Debug, Default)]
pub struct Detector {
    /// Models of each key, nodes ascending: judging goes key by key, so this is the order in memory.
    models: Vec<Vec<(NodeIndex, Model)>>,
    /// Models of each node, and how many of them can judge.
    n_models: Vec<(usize, usize)>,
    samples: Vec<Sample>,
    deviations: Vec<LeaveOneOut>,
    values: Vec<LeaveOneOut>,
    scales: Vec<LeaveOneOut>,
    group_of: Vec<Option<usize>>,
    /// What is kept for models, where somebody reads it.
    is_telling: bool,
    deviations_told: Vec<Deviation>,
    /// What the pass over all series leaves of each node at this window.
    notes: Vec<Note>,
}

impl Detector {
    /// Judges window `window`; call once per window, ascending. `frozen` tells which nodes are under an incident.
    /// O(series), plus O(n log n) per key for its siblings.
    pub fn evaluate(
        &mut self,
        cluster: &Cluster,
        groups: &[Group],
        window: WindowIndex,
        frozen: &[bool],
    ) -> Vec<Finding> {
        let n_nodes = cluster.nodes().len();
        self.models.resize_with(cluster.keys().len(), Vec::new);
        self.n_models.resize(n_nodes, (0, 0));
        self.notes.resize_with(n_nodes, Note::default);
        self.notes.iter_mut().for_each(Note::begin);
        self.group_of.clear();
        self.group_of.resize(n_nodes, None);
        for (index, group) in groups.iter().enumerate() {
            for &node in &group.members {
                self.group_of[node] = Some(index);
            }
        }
        for list in [&mut self.deviations, &mut self.values, &mut self.scales] {
            list.resize_with(groups.len(), LeaveOneOut::default);
        }
        self.deviations_told.clear();
        let mut findings = Vec::new();
        for (key, info) in cluster.keys().iter().enumerate() {
            let Some(spec) = info.spec.filter(|spec| spec.tier >= Tier::Activity) else {
                continue;
            };
            self.judge_key(
                cluster,
                groups,
                window,
                (key, info, spec),
                frozen,
                &mut findings,
            );
        }
        findings
    }

    /// Keeps every known series' deviation of the newest window, for [`Self::deviations`].
    pub const fn tell_deviations(&mut self) {
        self.is_telling = true;
    }

    /// Deviations of the newest window, key by key; empty unless [`Self::tell_deviations`] was called.
    #[must_use]
    pub fn deviations(&self) -> &[Deviation] {
        &self.deviations_told
    }

    /// Forgets the model of a series that the state has forgotten.
    pub fn forget(&mut self, node: NodeIndex, key: KeyIndex) {
        let Some(models) = self.models.get_mut(key) else {
            return;
        };
        if let Ok(at) = models.binary_search_by_key(&node, |(node, _)| *node) {
            let (_, model) = models.remove(at);
            let (n, n_known) = &mut self.n_models[node];
            *n -= 1;
            *n_known -= usize::from(model.past.is_known());
        }
    }

    /// What is usual for a series, in its unit.
    #[must_use]
    pub fn usual(&self, node: NodeIndex, key: KeyIndex, spec: &MetricSpec) -> Option<f64> {
        let models = self.models.get(key)?;
        let at = models.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        let (_, model) = &models[at];
        model
            .past
            .residual(0.0)
            .map(|residual| Scale::of(spec).from(residual.usual))
    }

    /// What the last window's pass has left of a node.
    #[must_use]
    pub fn note(&self, node: NodeIndex) -> Option<&Note> {
        self.notes.get(node)
    }

    /// Whether a node's series are known well enough to be judged: the share of them that is, 0 to 1.
    #[must_use]
    pub fn known_share(&self, node: NodeIndex) -> f64 {
        match self.n_models.get(node) {
            Some((n, n_known)) if *n > 0 => *n_known as f64 / *n as f64,
            _ => 0.0,
        }
    }

    fn judge_key(
        &mut self,
        cluster: &Cluster,
        groups: &[Group],
        window: WindowIndex,
        (key, info, spec): (KeyIndex, &KeyInfo, &'static MetricSpec),
        frozen: &[bool],
        findings: &mut Vec<Finding>,
    ) {
        let scale = Scale::of(spec);
        let principal = metric_index(spec.name);
        let limit = limit_of(spec.name);
        self.sample(cluster, window, (key, info), scale);
        self.fill_groups(groups);
        for at in 0..self.samples.len() {
            let sample = self.samples[at];
            let mut judged = self.judge(groups, spec, &sample);
            if let Some(limit) = limit {
                let standing =
                    self.standing(limit, (cluster, groups), (key, spec), window, &sample);
                judged.near(standing);
            }
            self.tell(key, &sample, &judged);
            self.notes[sample.node].take(spec, principal, &judged);
            let model = &mut self.models[key][sample.model].1;
            model.hold(window, judged.score);
            if judged.score >= SCORE_TOLD || model.held > 0 {
                findings.push(Finding {
                    node: sample.node,
                    key,
                    spec,
                    value: sample.value,
                    usual: scale.from(sample.residual.map_or(0.0, |r| r.usual)),
                    siblings: judged.siblings,
                    score: judged.score.max(0.0),
                    direction: sample.residual.map_or(0.0, |r| r.deviation.signum()),
                    since: model.since.unwrap_or(window),
                    held: model.held,
                    limit_s: judged.limit_s,
                });
            }
            let learning = match (frozen.get(sample.node), judged.score > SCORE_OFF) {
                (Some(true), _) => Learning::Frozen,
                (_, true) => Learning::Suspicious,
                _ => Learning::Free,
            };
            let was_known = model.past.is_known();
            model.past.learn(sample.y, learning, || {
                let series = cluster.nodes()[sample.node].series.get(&key);
                let values = series.into_iter().flat_map(|s| s.back_from(window, 10));
                values.map(|(_, value)| scale.to(value))
            });
            self.n_models[sample.node].1 += usize::from(!was_known && model.past.is_known());
        }
    }

    /// What every node has of a key now, and how that stands to its own past.
    fn sample(
        &mut self,
        cluster: &Cluster,
        window: WindowIndex,
        (key, info): (KeyIndex, &KeyInfo),
        scale: Scale,
    ) {
        self.samples.clear();
        let models = &mut self.models[key];
        let mut at = 0;
        for &node in &info.nodes {
            let (Some(group), Some(series)) =
                (self.group_of[node], cluster.nodes()[node].series.get(&key))
            else {
                continue;
            };
            while models.get(at).is_some_and(|(of, _)| *of < node) {
                at += 1;
            }
            if models.get(at).is_none_or(|(of, _)| *of != node) {
                // Exactly as many as there are nodes: doubling would waste half of the largest thing in memory.
                models.reserve_exact(info.nodes.len().saturating_sub(models.len()));
                models.insert(at, (node, Model::default()));
                self.n_models[node].0 += 1;
            }
            let model = &mut models[at].1;
            let Some(value) = smooth(series, window) else {
                model.fade(false);
                continue;
            };
            let y = scale.to(value);
            let residual = model.past.residual(y);
            self.samples.push(Sample {
                node,
                group,
                model: at,
                value,
                y,
                residual,
            });
        }
    }

    /// How a sample stands to its limit, the siblings' series beside it.
    fn standing(
        &self,
        limit: Limit,
        (cluster, groups): (&Cluster, &[Group]),
        (key, spec): (KeyIndex, &MetricSpec),
        window: WindowIndex,
        sample: &Sample,
    ) -> Option<Standing> {
        sample.residual?;
        if sample.value < limit.near_from(spec) {
            return None;
        }
        let (least, most) = self.models[key][sample.model].1.past.extent();
        let past = [least, most].map(|y| Scale::of(spec).from(y));
        let series = |node: NodeIndex| cluster.nodes()[node].series.get(&key);
        let control = groups[sample.group].control.first();
        let group = control.map_or(Some(sample.group), |node| self.group_of[*node]);
        let others = self
            .samples
            .iter()
            .filter(|other| Some(other.group) == group && other.node != sample.node);
        limit.standing(
            (spec, window),
            (sample.value, past),
            series(sample.node)?,
            others.filter_map(|other| series(other.node)),
        )
    }

    fn tell(&mut self, key: KeyIndex, sample: &Sample, judged: &Judged) {
        if self.is_telling && sample.residual.is_some() {
            self.deviations_told.push(Deviation {
                node: sample.node,
                key,
                own: judged.own,
                apart: judged.apart.unwrap_or(judged.own),
            });
        }
    }

    /// Sorts what each group's members show, for the medians of the others.
    fn fill_groups(&mut self, groups: &[Group]) {
        for group in 0..groups.len() {
            let of = |pick: fn(&Residual) -> f64| {
                let members = self.samples.iter().filter(move |s| s.group == group);
                members.filter_map(move |s| s.residual.as_ref().map(pick))
            };
            self.deviations[group].fill(of(|r| r.deviation));
            self.scales[group].fill(of(|r| r.scale));
            let members = self.samples.iter().filter(|s| s.group == group);
            self.values[group].fill(members.map(|s| s.value));
        }
    }

    fn judge(&self, groups: &[Group], spec: &MetricSpec, sample: &Sample) -> Judged {
        let Some(residual) = sample.residual else {
            return Judged::default();
        };
        let control = &groups[sample.group].control;
        let (common, now, spread, siblings) = if control.is_empty() {
            let group = sample.group;
            let deviations = &self.deviations[group];
            (
                deviations.median_of_others(residual.deviation),
                deviations.spread_of_others(residual.deviation),
                self.scales[group].median_of_others(residual.scale),
                self.values[group].median_of_others(sample.value),
            )
        } else {
            let group = control.first().and_then(|node| self.group_of[*node]);
            let of = |lists: &[LeaveOneOut]| group.and_then(|g| lists[g].median_of_all());
            let now = group.map_or(0.0, |g| self.deviations[g].spread_of_all());
            (
                of(&self.deviations),
                now,
                of(&self.scales),
                of(&self.values),
            )
        };
        let own = residual.deviation / residual.scale;
        let apart = common.map(|common| {
            let scale = spread.unwrap_or(0.0).max(residual.scale);
            // Siblings that move together do so by different amounts, as their loads were different before.
            let reaction = REACTION * common;
            (residual.deviation - common) / (scale * scale + now * now + reaction * reaction).sqrt()
        });
        let both = match apart {
            Some(apart) => {
                if apart.signum() == own.signum() {
                    own.signum() * own.abs().min(apart.abs())
                } else {
                    0.0
                }
            }
            None => own * ALONE,
        };
        let bad = match spec.bad {
            Bad::High => both,
            Bad::Low => -both,
            Bad::Either => both.abs(),
        };
        let is_change = (sample.value - Scale::of(spec).from(residual.usual)).abs() >= spec.floor;
        let counts = is_change && residual.is_beyond_habit && sample.value >= spec.matters_from;
        // A habit, or what is far from its limit, keeps an older finding but is none by itself; what is no change ends one.
        let score = match (counts, is_change) {
            (true, _) => bad,
            (false, true) => bad.min(SCORE_TOLD - 0.1),
            (false, false) => bad.min(SCORE_OFF - 0.1),
        };
        Judged {
            score,
            siblings,
            own,
            apart,
            y: sample.y - common.unwrap_or(0.0),
            counts,
            is_known: true,
            limit_s: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Judged {
    pub(crate) score: f64,
    pub(crate) siblings: Option<f64>,
    /// Robust standard deviations from its own past, more is positive.
    pub(crate) own: f64,
    /// The same beyond what the siblings moved; `None` without siblings.
    pub(crate) apart: Option<f64>,
    /// The value on the judged scale, less what the siblings moved.
    pub(crate) y: f64,
    /// It is a change, beyond habit, and near enough to its limit to matter; or the limit itself says so.
    pub(crate) counts: bool,
    /// Enough of its past is known.
    pub(crate) is_known: bool,
    /// Seconds to its limit, where that speaks.
    pub(crate) limit_s: Option<f64>,
}

impl Model {
    fn hold(&mut self, window: WindowIndex, score: f64) {
        if score >= SCORE_ON {
            self.since.get_or_insert(window + -(SMOOTH / 2));
            self.held = self.held.saturating_add(1);
            self.faded = 0;
        } else {
            self.fade(score >= SCORE_OFF);
        }
    }

    fn fade(&mut self, still_there: bool) {
        if self.held == 0 {
            return;
        }
        if still_there {
            self.held = self.held.saturating_add(1);
            return;
        }
        self.faded += 1;
        if self.faded >= FADE_WINDOWS {
            self.held = 0;
            self.faded = 0;
            self.since = None;
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
