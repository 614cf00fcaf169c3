//! The cluster's nodes and their series, resolved from each agent's dictionary. (step 8)

use std::collections::{BTreeMap, BTreeSet};

use hsw_sketch::QuantileSketch;
use hsw_types::{
    Latencies, LogSample, MetricSpec, NodeFacts, NodeId, SeriesKey, ShardSummary, SourceStatus,
    Subject, Unit, WindowIndex, metric_spec,
};

use crate::series::Series;

/// A node's place in [`Cluster`]; dense from 0, never reused.
pub type NodeIndex = usize;
/// A series key's place in [`Cluster`]; dense from 0, used again once no node has such a series.
pub type KeyIndex = usize;

/// Series that have had no value for this many windows are forgotten: an hour.
const FORGET_WINDOWS: i64 = 3_600;
/// What is kept of a summary's durations: the one that one in twenty exceeds.
const SLOW: f64 = 0.95;
/// Log samples kept a node.
const N_LOG_SAMPLES: usize = 40;

/// A series key and what the catalogue knows of its metric.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The key.
    pub key: SeriesKey,
    /// Its row in the catalogue.
    pub spec: Option<&'static MetricSpec>,
    /// Nodes that have such a series, ascending.
    pub nodes: Vec<NodeIndex>,
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// Identity.
    pub node: NodeId,
    /// Facts as last told.
    pub facts: NodeFacts,
    /// Source states as last told.
    pub sources: Vec<SourceStatus>,
    /// Series by key.
    pub series: BTreeMap<KeyIndex, Series>,
    /// Newest window received.
    pub newest: Option<WindowIndex>,
    /// First window received since the node was last unknown.
    pub first: Option<WindowIndex>,
    /// Recent masked log lines, oldest first.
    pub log_samples: Vec<LogSample>,
    dictionary_epoch: u64,
    key_of_id: Vec<Option<KeyIndex>>,
}

/// What a summary has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Values of ids that no dictionary has named (their name was dropped or is yet to be repeated).
    pub unknown_ids: u64,
    /// Series left out because the node has too many.
    pub over_limit: u64,
    /// Series that go on under another name: the old keys, of which the node has no series any more.
    pub renamed: Vec<KeyIndex>,
    /// The agent was restarted: ids started anew.
    pub is_new_epoch: bool,
    /// The database's start time changed since the last facts.
    pub is_database_restarted: bool,
}

/// Every node and series. See the crate's header.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: Vec<NodeState>,
    index_of: BTreeMap<NodeId, NodeIndex>,
    keys: Vec<KeyInfo>,
    pub(crate) key_of: BTreeMap<SeriesKey, KeyIndex>,
    /// Places of keys that no node has a series of any more; they are used again.
    free_keys: Vec<KeyIndex>,
    n_series_per_node_max: usize,
}

impl Cluster {
    /// Empty, with a limit of series per node.
    #[must_use]
    pub fn new(n_series_per_node_max: usize) -> Self {
        Self {
            n_series_per_node_max,
            ..Self::default()
        }
    }

    /// The node's index, made when it is new.
    pub fn node_index(&mut self, node: &NodeId) -> NodeIndex {
        if let Some(&index) = self.index_of.get(node) {
            return index;
        }
        self.nodes.push(NodeState {
            node: node.clone(),
            facts: NodeFacts::default(),
            sources: Vec::new(),
            series: BTreeMap::new(),
            newest: None,
            first: None,
            log_samples: Vec::new(),
            dictionary_epoch: 0,
            key_of_id: Vec::new(),
        });
        let index = self.nodes.len() - 1;
        self.index_of.insert(node.clone(), index);
        index
    }

    /// The node's index, if it was ever seen.
    #[must_use]
    pub fn find(&self, node: &NodeId) -> Option<NodeIndex> {
        self.index_of.get(node).copied()
    }

    /// Every node, by index.
    #[must_use]
    pub fn nodes(&self) -> &[NodeState] {
        &self.nodes
    }

    /// Every key, by index.
    #[must_use]
    pub fn keys(&self) -> &[KeyInfo] {
        &self.keys
    }

    /// A key's index, if any node has or had such a series.
    #[must_use]
    pub fn find_key(&self, key: &SeriesKey) -> Option<KeyIndex> {
        self.key_of.get(key).copied()
    }

    /// Takes a summary in. O(values · log series).
    pub fn apply(&mut self, node: NodeIndex, summary: ShardSummary) -> Applied {
        let mut applied = Applied::default();
        let first = summary.first_window;
        self.apply_names(node, &summary, &mut applied);
        let state = &mut self.nodes[node];
        if let Some(facts) = summary.facts {
            let (before, after) = (state.facts.database_started, facts.database_started);
            applied.is_database_restarted = before != 0 && after != 0 && before != after;
            state.facts = facts;
        }
        if !summary.sources.is_empty() {
            state.sources = summary.sources;
        }
        state.log_samples.extend(summary.log_samples);
        let surplus = state.log_samples.len().saturating_sub(N_LOG_SAMPLES);
        state.log_samples.drain(..surplus);
        for values in &summary.series {
            let key = state.key_of_id.get(values.id.0 as usize).copied().flatten();
            let Some(key) = key else {
                applied.unknown_ids += 1;
                continue;
            };
            if !state.series.contains_key(&key) {
                if state.series.len() >= self.n_series_per_node_max {
                    applied.over_limit += 1;
                    continue;
                }
                let nodes = &mut self.keys[key].nodes;
                if let Err(at) = nodes.binary_search(&node) {
                    nodes.insert(at, node);
                }
            }
            let series = state
                .series
                .entry(key)
                .or_insert_with(|| Series::new(first));
            for (offset, value) in values.values.iter().enumerate() {
                if let Some(value) = value {
                    series.put(first + offset as i64, *value);
                }
            }
        }
        let last = first + i64::from(summary.n_windows) + -1;
        state.newest = Some(state.newest.map_or(last, |newest| newest.max(last)));
        state.first.get_or_insert(first);
        self.apply_latencies(node, &summary.latencies, last, &mut applied);
        applied
    }

    /// Durations become one value, in the summary's last window.
    fn apply_latencies(
        &mut self,
        node: NodeIndex,
        all: &[Latencies],
        last: WindowIndex,
        applied: &mut Applied,
    ) {
        let state = &mut self.nodes[node];
        for latencies in all {
            let key = state
                .key_of_id
                .get(latencies.id.0 as usize)
                .copied()
                .flatten();
            let slow = QuantileSketch::decode(&latencies.sketch)
                .ok()
                .and_then(|s| s.quantile(SLOW));
            let (Some(key), Some(slow)) = (key, slow) else {
                applied.unknown_ids += 1;
                continue;
            };
            if state.series.contains_key(&key) || state.series.len() < self.n_series_per_node_max {
                let nodes = &mut self.keys[key].nodes;
                if let Err(at) = nodes.binary_search(&node) {
                    nodes.insert(at, node);
                }
                state
                    .series
                    .entry(key)
                    .or_insert_with(|| Series::new(last))
                    .put(last, slow);
            } else {
                applied.over_limit += 1;
            }
        }
    }

    fn apply_names(&mut self, node: NodeIndex, summary: &ShardSummary, applied: &mut Applied) {
        if self.nodes[node].dictionary_epoch != summary.dictionary_epoch {
            applied.is_new_epoch = true;
            self.nodes[node].dictionary_epoch = summary.dictionary_epoch;
            self.nodes[node].key_of_id.clear();
        }
        // An id is trusted only as far as an honest agent of this limit can count within a few hours of churn.
        let id_max = self.n_series_per_node_max.saturating_mul(64);
        for def in &summary.dictionary {
            let id = def.id.0 as usize;
            if id >= id_max {
                applied.over_limit += 1;
                continue;
            }
            let key = self.key_index(&def.key);
            let ids = &mut self.nodes[node].key_of_id;
            if ids.len() <= id {
                ids.resize(id + 1, None);
            }
            let before = ids[id].replace(key);
            if let Some(before) = before.filter(|before| *before != key)
                && self.rename(node, before, key)
            {
                applied.renamed.push(before);
            }
        }
    }

    /// Templates and fingerprints widen: what was counted under the old name is added to the new one. True where there was
    /// such a series.
    fn rename(&mut self, node: NodeIndex, from: KeyIndex, to: KeyIndex) -> bool {
        let is_template = |key: &KeyInfo| matches!(key.key.subject, Subject::Template { .. });
        let (old, new) = (&self.keys[from], &self.keys[to]);
        if !is_template(old) || !is_template(new) || old.key.metric != new.key.metric {
            return false;
        }
        // Values of durations are quantiles: of two, the worse.
        let is_duration = old.spec.is_some_and(|spec| spec.unit == Unit::Milliseconds);
        let Some(gone) = self.nodes[node].series.remove(&from) else {
            return false;
        };
        self.keys[from].nodes.retain(|n| *n != node);
        let nodes = &mut self.keys[to].nodes;
        if let Err(at) = nodes.binary_search(&node) {
            nodes.insert(at, node);
        }
        let kept = self.nodes[node].series.entry(to);
        kept.or_insert_with(|| Series::new(gone.newest()))
            .absorb(&gone, if is_duration { f64::max } else { |a, b| a + b });
        true
    }

    fn key_index(&mut self, key: &SeriesKey) -> KeyIndex {
        if let Some(&index) = self.key_of.get(key) {
            return index;
        }
        let spec = metric_spec(&key.metric);
        let info = KeyInfo {
            key: key.clone(),
            spec,
            nodes: Vec::new(),
        };
        let index = if let Some(index) = self.free_keys.pop() {
            self.keys[index] = info;
            index
        } else {
            self.keys.push(info);
            self.keys.len() - 1
        };
        self.key_of.insert(key.clone(), index);
        index
    }

    /// Forgets series that have had no value for an hour; call it every minute or so. Returns what was forgotten.
    pub fn expire(&mut self, now: WindowIndex) -> Vec<(NodeIndex, KeyIndex)> {
        let mut gone = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let keys = &mut self.keys;
            node.series.retain(|&key, series| {
                let keep = now - series.newest() < FORGET_WINDOWS;
                if !keep {
                    gone.push((index, key));
                    keys[key].nodes.retain(|n| *n != index);
                }
                keep
            });
        }
        self.free_unused_keys();
        gone
    }

    /// Names without a series on any node make room, so that churn of tables and clients does not add up.
    fn free_unused_keys(&mut self) {
        let unused: BTreeSet<KeyIndex> = (0..self.keys.len())
            .filter(|key| self.keys[*key].nodes.is_empty())
            .filter(|key| self.key_of.get(&self.keys[*key].key) == Some(key))
            .collect();
        if unused.is_empty() {
            return;
        }
        for key in &unused {
            self.key_of.remove(&self.keys[*key].key);
            self.free_keys.push(*key);
        }
        for node in &mut self.nodes {
            for id in &mut node.key_of_id {
                *id = id.filter(|key| !unused.contains(key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{SeriesDef, SeriesId, SeriesValues};

    fn summary(
        epoch: u64,
        first: i64,
        named: &[(u32, &str)],
        values: &[(u32, f64)],
    ) -> ShardSummary {
        ShardSummary {
            first_window: WindowIndex(first),
            n_windows: 1,
            dictionary_epoch: epoch,
            facts: None,
            dictionary: named
                .iter()
                .map(|(id, metric)| SeriesDef {
                    id: SeriesId(*id),
                    key: SeriesKey::node(metric),
                })
                .collect(),
            series: values
                .iter()
                .map(|(id, v)| SeriesValues {
                    id: SeriesId(*id),
                    values: vec![Some(*v)],
                })
                .collect(),
            latencies: Vec::new(),
            log_samples: Vec::new(),
            sources: Vec::new(),
            hot: Vec::new(),
        }
    }

    #[test]
    fn a_series_keeps_its_past_when_its_agent_restarts_with_other_ids() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        cluster.apply(
            node,
            summary(
                1,
                100,
                &[(0, "pg.commits"), (1, "pg.sessions")],
                &[(0, 30.0)],
            ),
        );
        let applied = cluster.apply(
            node,
            summary(2, 101, &[(1, "pg.commits")], &[(0, 9.0), (1, 31.0)]),
        );
        assert_eq!(
            applied,
            Applied {
                unknown_ids: 1,
                is_new_epoch: true,
                ..Applied::default()
            }
        );
        let key = cluster.find_key(&SeriesKey::node("pg.commits")).unwrap();
        let values: Vec<f64> = cluster.nodes()[node].series[&key]
            .back_from(WindowIndex(101), 5)
            .map(|(_, v)| v)
            .collect();
        assert_eq!(values, [31.0, 30.0]);
    }

    #[test]
    fn durations_become_the_one_that_one_in_twenty_exceeds() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        let mut sketch = QuantileSketch::default();
        (1..=100).for_each(|ms| sketch.add(f64::from(ms)));
        let mut one = summary(1, 100, &[(0, "log.duration_ms")], &[]);
        one.latencies = vec![Latencies {
            id: SeriesId(0),
            sketch: sketch.encode(),
        }];
        cluster.apply(node, one);
        let slow = cluster.nodes()[node].series[&0]
            .at(WindowIndex(100))
            .unwrap();
        assert!((slow - 95.0).abs() < 1.5, "{slow}");
    }

    #[test]
    fn series_over_the_limit_and_absurd_ids_are_counted() {
        let mut cluster = Cluster::new(1);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        let named = [(0, "pg.commits"), (1, "pg.sessions"), (u32::MAX, "pg.up")];
        let applied = cluster.apply(node, summary(1, 100, &named, &[(0, 1.0), (1, 1.0)]));
        assert_eq!(applied.over_limit, 2);
        assert_eq!(cluster.nodes()[node].series.len(), 1);
    }

    #[test]
    fn names_that_come_and_go_do_not_add_up() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        for hour in 1..50 {
            let metric = format!("pg.churn_{hour}");
            let window = hour * 3_600;
            cluster.apply(
                node,
                summary(1, window, &[(hour as u32, &metric)], &[(hour as u32, 1.0)]),
            );
            cluster.expire(WindowIndex(window));
        }
        assert!(cluster.keys().len() <= 2, "{}", cluster.keys().len());
        let applied = cluster.apply(node, summary(1, 200_000, &[], &[(1, 1.0)]));
        assert_eq!(
            applied.unknown_ids, 1,
            "an id whose name was forgotten is unknown, not another's"
        );
    }

    fn template(id: u32, text: &str) -> SeriesDef {
        SeriesDef {
            id: SeriesId(id),
            key: SeriesKey {
                metric: "log.template".to_owned(),
                subject: Subject::Template {
                    hash: text.len() as u64,
                    text: text.to_owned(),
                },
            },
        }
    }

    #[test]
    fn a_template_that_widens_takes_its_past_along_and_merged_ones_add_up() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        let mut first = summary(1, 100, &[], &[(0, 3.0), (1, 4.0)]);
        first.dictionary = vec![template(0, "user ann"), template(1, "user bobby")];
        cluster.apply(node, first);
        let mut second = summary(1, 101, &[], &[(0, 5.0)]);
        second.dictionary = vec![template(0, "user <*>"), template(1, "user <*>")];
        let applied = cluster.apply(node, second);
        assert_eq!((applied.renamed, applied.unknown_ids), (vec![0, 1], 0));
        let key = cluster.find_key(&template(0, "user <*>").key).unwrap();
        let state = &cluster.nodes()[node];
        assert_eq!(state.series.len(), 1);
        let values = [100, 101].map(|w| state.series[&key].at(WindowIndex(w)));
        assert_eq!(values, [Some(7.0), Some(5.0)]);
        assert!(cluster.keys()[0].nodes.is_empty());
    }

    #[test]
    fn a_series_silent_for_an_hour_is_forgotten() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        cluster.apply(node, summary(1, 100, &[(0, "pg.commits")], &[(0, 1.0)]));
        assert!(cluster.expire(WindowIndex(3_699)).is_empty());
        assert_eq!(cluster.expire(WindowIndex(3_700)), [(0, 0)]);
        assert!(cluster.keys()[0].nodes.is_empty());
    }
}
