//! What each shard shows at a window, as the fixed vector that models read. (steps 10–11)
//!
//! In: the detector's deviations, the series of templates and fingerprints, the graph. Out: a row of the layout for each
//! shard with a node that tells something, or should. Invariants: FE-1 of several nodes the worse counts, metric by metric. FE-2
//! nothing later than the window is looked at. Cost: O(deviations + template series); what a minute says is renewed every
//! [`MINUTE_EVERY`] windows. Does not: judge; columns of detectors are filled by those who judge (`judgement.rs`).

pub(crate) mod evidence;
mod minute;

use std::collections::BTreeMap;

use hsw_detect::{Detector, Finding, GraphSight};
use hsw_fusion::layout::{AT_GRAPH, AT_LOG, AT_SHARD, COLUMNS_GRAPH, Features, metric_index};
use hsw_state::{Cluster, NodeIndex};
use hsw_types::{Bad, ShardId, Subject, WindowIndex};

use crate::judgement::Judges;
use crate::liveness::Heard;
use crate::map::{ShardEntry, ShardMap};
use crate::symptoms::Symptoms;
use crate::view::NodeLiveness;

/// Windows between two looks at the last minute's lines and statements.
const MINUTE_EVERY: i64 = 5;
/// A node whose newest window is older than this shows nothing now.
const STALE_WINDOWS: i64 = 15;

/// What is read.
pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) detector: &'a Detector,
    pub(crate) map: &'a ShardMap,
    /// Each node's place in the graph, as of the last look at it.
    pub(crate) graph: &'a [Option<GraphSight>],
    pub(crate) judges: &'a Judges,
    pub(crate) findings: &'a [Finding],
    /// In the map's order.
    pub(crate) symptoms: &'a [(ShardId, Symptoms)],
    pub(crate) heard: &'a [Heard],
    pub(crate) liveness: &'a [NodeLiveness],
}

/// What is kept from window to window.
#[derive(Debug, Default)]
pub(crate) struct Gatherer {
    /// By key: the metric's place in the layout; keys are never renumbered.
    metric_of_key: Vec<Option<usize>>,
    minutes: BTreeMap<ShardId, [f64; minute::N]>,
}

impl Gatherer {
    /// A row for each shard that shows something, or that somebody should be heard from, in the order of the map.
    pub(crate) fn gather(
        &mut self,
        scene: &Scene<'_>,
        window: WindowIndex,
    ) -> Vec<(ShardId, Features)> {
        self.learn_keys(scene.cluster);
        let entries: Vec<&ShardEntry> = scene.map.shards().collect();
        let members: Vec<Vec<NodeIndex>> = entries
            .iter()
            .map(|entry| present(scene.cluster, entry, window))
            .collect();
        let mut row_of = vec![None; scene.cluster.nodes().len()];
        for (row, nodes) in members.iter().enumerate() {
            for &node in nodes {
                row_of[node] = Some(row);
            }
        }
        let mut rows = vec![Features::default(); entries.len()];
        self.metrics(scene, &row_of, &mut rows);
        let n_siblings = entries.iter().filter(|entry| !entry.is_router).count();
        let mut told = Vec::with_capacity(entries.len());
        for (at, (mut features, nodes)) in rows.into_iter().zip(&members).enumerate() {
            let entry = entries[at];
            let all = entry.nodes.iter();
            let all: Vec<NodeIndex> = all.filter_map(|node| scene.cluster.find(node)).collect();
            let is_awaited = all.iter().any(|&node| evidence::is_awaited(scene, node));
            if nodes.is_empty() && !is_awaited {
                continue;
            }
            if !nodes.is_empty() {
                self.minute(scene.cluster, entry, (at, nodes), window, &mut features);
                graph(scene.graph, nodes, &mut features);
            }
            evidence::fill(scene, &entry.shard, &all, window, &mut features);
            features.time(window.start());
            let known = nodes.iter().map(|&node| scene.detector.known_share(node));
            let siblings = n_siblings.saturating_sub(usize::from(!entry.is_router));
            features.set(AT_SHARD, f64::from(u8::from(entry.is_router)));
            features.set(AT_SHARD + 1, hsw_stats::ln_1p(nodes.len() as f64));
            features.set(AT_SHARD + 2, hsw_stats::ln_1p(siblings as f64));
            let known = known.min_by(f64::total_cmp).unwrap_or(0.0);
            features.set(AT_SHARD + 3, known);
            told.push((entry.shard.clone(), features));
        }
        told
    }

    fn learn_keys(&mut self, cluster: &Cluster) {
        let new = &cluster.keys()[self.metric_of_key.len().min(cluster.keys().len())..];
        let place = |key: &hsw_state::KeyInfo| match key.key.subject {
            Subject::Node | Subject::Object(_) => metric_index(&key.key.metric),
            Subject::Edge(_) | Subject::Template { .. } => None,
        };
        self.metric_of_key.extend(new.iter().map(place));
    }

    /// Of several nodes and parts (disks, databases) of a shard the one that is worst, metric by metric.
    fn metrics(&self, scene: &Scene<'_>, row_of: &[Option<usize>], rows: &mut [Features]) {
        let mut worst: BTreeMap<(usize, usize), (f64, f64, f64)> = BTreeMap::new();
        for deviation in scene.detector.deviations() {
            let (Some(metric), Some(row)) =
                (self.metric_of_key[deviation.key], row_of[deviation.node])
            else {
                continue;
            };
            let spec = scene.cluster.keys()[deviation.key].spec;
            let bad = match spec.map(|spec| spec.bad) {
                Some(Bad::High) => deviation.own,
                Some(Bad::Low) => -deviation.own,
                Some(Bad::Either) | None => deviation.own.abs(),
            };
            let entry = worst.entry((row, metric)).or_insert((f64::MIN, 0.0, 0.0));
            if bad > entry.0 {
                *entry = (bad, deviation.own, deviation.apart);
            }
        }
        for ((row, metric), (_, own, apart)) in worst {
            rows[row].metric(metric, own, apart);
        }
    }

    fn minute(
        &mut self,
        cluster: &Cluster,
        entry: &ShardEntry,
        (at, nodes): (usize, &[NodeIndex]),
        window: WindowIndex,
        features: &mut Features,
    ) {
        // Not all shards in the same window.
        let is_due = (window.0 + at as i64).rem_euclid(MINUTE_EVERY) == 0;
        if is_due || !self.minutes.contains_key(&entry.shard) {
            let looked = minute::look(cluster, nodes, window);
            self.minutes.insert(entry.shard.clone(), looked);
        }
        for (place, value) in self.minutes[&entry.shard].iter().enumerate() {
            features.set(AT_LOG + place, *value);
        }
    }
}

/// The nodes of a shard that tell something now.
fn present(cluster: &Cluster, entry: &ShardEntry, window: WindowIndex) -> Vec<NodeIndex> {
    let nodes = entry.nodes.iter().filter_map(|node| cluster.find(node));
    nodes
        .filter(|&at| {
            let newest = cluster.nodes()[at].newest;
            newest.is_some_and(|newest| window - newest <= STALE_WINDOWS)
        })
        .collect()
}

/// Where the shard stands in the graph: of its nodes the one that deviates most, of equal ones the one with most neighbours.
fn graph(sights: &[Option<GraphSight>], nodes: &[NodeIndex], features: &mut Features) {
    let known = nodes.iter().filter_map(|&node| sights.get(node)?.as_ref());
    let most = known.max_by(|a, b| {
        let by_deviation = a.deviation.total_cmp(&b.deviation);
        by_deviation.then(a.degree.total_cmp(&b.degree))
    });
    let Some(sight) = most else {
        return;
    };
    let columns: [f64; COLUMNS_GRAPH.len()] = [
        sight.deviation,
        hsw_stats::ln_1p(sight.degree),
        sight.distance_mean,
        sight.distance_variance,
        sight.eccentricity,
        sight.coverage,
        sight.latency_class,
        hsw_stats::ln_1p(sight.n_suspicions),
    ];
    for (place, value) in columns.into_iter().enumerate() {
        features.set(AT_GRAPH + place, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_nodes_the_one_whose_vertex_deviates_most_tells_all_columns_of_the_graph() {
        let calm = GraphSight {
            degree: 9.0,
            ..GraphSight::default()
        };
        let moved = GraphSight {
            deviation: 4.0,
            degree: 2.0,
            distance_mean: 1.5,
            distance_variance: 0.25,
            eccentricity: 2.0,
            coverage: 0.5,
            latency_class: 3.0,
            n_suspicions: 1.0,
        };
        let sights = [Some(calm), None, Some(moved), Some(calm)];
        let of = |nodes: &[NodeIndex]| {
            let mut features = Features::default();
            graph(&sights, nodes, &mut features);
            let all = features.values();
            all[AT_GRAPH..AT_GRAPH + COLUMNS_GRAPH.len()].to_vec()
        };
        let (neighbours, suspicion) = (2_f64.ln_1p() as f32, 1_f64.ln_1p() as f32);
        assert_eq!(
            of(&[0, 1, 2, 3]),
            [4.0, neighbours, 1.5, 0.25, 2.0, 0.5, 3.0, suspicion]
        );
        assert_eq!(of(&[1, 3])[1], 9_f64.ln_1p() as f32);
        assert_eq!(of(&[1, 4]), [0.0; COLUMNS_GRAPH.len()], "not in the graph");
    }
}
