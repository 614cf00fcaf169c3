//! The engine's state as views. (step 15)

use hsw_graph::{Edge, Quantity, Vertex};
use hsw_types::{Role, SeriesKey, ShardId, WallTime, WindowIndex, metric_spec};

use crate::engine::Engine;
use crate::judgement::Judgement;
use crate::map::ShardEntry;
use crate::view::{
    Armed, ChangeView, EdgeView, GraphView, Health, NodeLiveness, NodeView, Point, SeriesView,
    ShardView, TrafficView, VertexView,
};

/// Changes of the graph told at a time.
const CHANGES_SHOWN: usize = 200;
/// A shard that is not root but whose symptoms are this strong is troubled.
const TROUBLED: f64 = 0.3;
/// Share of a node's series that must be known before it can be judged.
const KNOWN_SHARE: f64 = 0.5;
/// A node whose newest window is older than this has no data now, seconds.
const FRESH_S: f64 = 15.0;
/// Numbers at a glance.
const HEADLINE: [&str; 5] = [
    "pg.commits",
    "pg.sessions_active",
    "pg.probe_ms",
    "instance.cpu_cores",
    "log.errors",
];

pub(crate) fn shards(engine: &Engine) -> Vec<ShardView> {
    engine
        .map
        .shards()
        .map(|entry| shard(engine, entry))
        .collect()
}

fn shard(engine: &Engine, entry: &ShardEntry) -> ShardView {
    let shard = &entry.shard;
    let nodes: Vec<NodeView> = entry
        .nodes
        .iter()
        .filter_map(|node| engine.cluster.find(node))
        .map(|at| node(engine, at))
        .collect();
    let found = engine.symptoms.binary_search_by(|(of, _)| of.cmp(shard));
    let symptoms = found.ok().map(|at| &engine.symptoms[at].1);
    let is_fresh = nodes
        .iter()
        .any(|node| node.lag_s.is_some_and(|lag| lag < FRESH_S));
    let badness = symptoms
        .filter(|_| is_fresh)
        .map(|symptoms| symptoms.confidence());
    let (judgement, sick_by) = sick(engine, entry, is_fresh);
    let health = if engine.policy.is_root(shard) {
        Health::Bad
    } else if engine.policy.is_involved(shard)
        || engine.intrusions.is_involved(shard)
        || badness.is_some_and(|badness| badness > TROUBLED)
    {
        Health::Troubled
    } else if badness.is_some()
        && nodes
            .iter()
            .any(|node| node.liveness == NodeLiveness::Alive)
    {
        Health::Well
    } else {
        Health::Unknown
    };
    let primary = nodes.iter().find(|node| node.facts.role != Role::Replica);
    let at = primary.and_then(|node| engine.cluster.find(&node.node));
    let headline = HEADLINE
        .iter()
        .map(|metric| (*metric, at.and_then(|at| newest(engine, at, metric))));
    ShardView {
        shard: shard.clone(),
        is_router: entry.is_router,
        health,
        badness,
        hyperscore: judgement
            .as_ref()
            .map(|judgement| engine.judges.score.of(1.0 - judgement.probability)),
        hyperscore_mode: engine.judges.score.mode.name(),
        judgement,
        sick_by,
        headline: headline.collect(),
        nodes,
    }
}

/// P(sick) in force and whose it is: the model's where one answers, else the fusion's, and never less than what liveness says.
fn sick(engine: &Engine, entry: &ShardEntry, is_fresh: bool) -> (Option<Judgement>, &'static str) {
    let shard = &entry.shard;
    let mut judgement = engine.judges.of(shard).filter(|_| is_fresh).cloned();
    let model = engine.model_says(shard).filter(|_| !entry.is_router);
    let mut sick_by = "fusion";
    if let (Some(judgement), Some(probability)) = (&mut judgement, model) {
        judgement.probability = probability;
        sick_by = "model";
    }
    let said = judgement
        .as_ref()
        .map_or(0.0, |judgement| judgement.probability);
    if let Some(least) = engine.liveness_says(shard).filter(|least| *least > said) {
        let mut known = judgement.unwrap_or_else(|| engine.judges.nothing_said(engine.wall));
        known.probability = least;
        return (Some(known), "liveness");
    }
    (judgement, sick_by)
}

/// The newest value within the last ten windows.
fn newest(engine: &Engine, at: usize, metric: &str) -> Option<f64> {
    let key = engine.cluster.find_key(&SeriesKey::node(metric))?;
    let node = &engine.cluster.nodes()[at];
    let series = node.series.get(&key)?;
    series
        .back_from(node.newest?, 10)
        .next()
        .map(|(_, value)| value)
}

fn node(engine: &Engine, at: usize) -> NodeView {
    let state = &engine.cluster.nodes()[at];
    let heard = engine.heard.get(at).copied().unwrap_or_default();
    let end_of = |window: WindowIndex| window.next().start();
    NodeView {
        node: state.node.clone(),
        liveness: engine
            .liveness
            .get(at)
            .copied()
            .unwrap_or(NodeLiveness::NeverSeen),
        role: state.facts.role,
        facts: state.facts.clone(),
        last_window: state.newest,
        lag_s: state
            .newest
            .map(|newest| (engine.wall.0 - end_of(newest).0) as f64 / 1e6),
        clock_offset_s: heard.clock_offset_us.map(|us| us as f64 / 1e6),
        n_series: state.series.len(),
        sources: state.sources.clone(),
    }
}

pub(crate) fn armed(engine: &Engine) -> Armed {
    let mut reasons = Vec::new();
    let mut n_judged = 0;
    for entry in engine.map.shards() {
        for node in &entry.nodes {
            let at = engine.cluster.find(node);
            match at.map(|at| (at, &engine.cluster.nodes()[at])) {
                None => reasons.push(format!("{}: nothing heard from {node} yet", entry.shard)),
                Some((_, state)) if state.newest.is_none() => {
                    reasons.push(format!("{}: nothing heard from {node} yet", entry.shard));
                }
                Some((at, _)) if !engine.heard[at].has_been_up => {
                    reasons.push(format!(
                        "{}: the database of {node} has not answered yet",
                        entry.shard
                    ));
                }
                Some((at, state)) => {
                    let seconds = match (state.first, engine.judged()) {
                        (Some(first), Some(judged)) => (judged - first).max(0),
                        _ => 0,
                    };
                    if engine.detector.known_share(at) < KNOWN_SHARE {
                        let shard = &entry.shard;
                        reasons.push(format!(
                            "{shard}: {node} is being learned, {seconds} s so far; about 40 s are needed"
                        ));
                    } else {
                        n_judged += 1;
                    }
                }
            }
        }
    }
    if n_judged == 0 && reasons.is_empty() {
        reasons.push("no agent has connected yet".to_owned());
    }
    Armed {
        is_armed: reasons.is_empty(),
        reasons,
    }
}

pub(crate) fn series(
    engine: &Engine,
    key: &SeriesKey,
    shards: &[ShardId],
    from: WindowIndex,
) -> Vec<SeriesView> {
    let Some(index) = engine.cluster.find_key(key) else {
        return Vec::new();
    };
    let wanted = |node| {
        shards.is_empty()
            || engine
                .map
                .shard_of(node)
                .is_some_and(|shard| shards.contains(shard))
    };
    let nodes = engine.cluster.keys()[index].nodes.iter();
    nodes
        .filter(|&&at| wanted(&engine.cluster.nodes()[at].node))
        .filter_map(|&at| {
            let state = &engine.cluster.nodes()[at];
            let series = state.series.get(&index)?;
            let newest = series.newest();
            let n = (newest - from + 1).clamp(0, hsw_state::RING_WINDOWS as i64);
            let points = series
                .back_from(newest, n)
                .map(|(window, value)| Point { window, value });
            let mut points: Vec<Point> = points.collect();
            points.reverse();
            let usual =
                metric_spec(&key.metric).and_then(|spec| engine.detector.usual(at, index, spec));
            Some(SeriesView {
                node: state.node.clone(),
                points,
                usual,
            })
        })
        .collect()
}

fn traffic(edge: &Edge, latency_class: Option<u8>) -> TrafficView {
    TrafficView {
        active: edge.active,
        rtt_ms: edge.rtt_ms,
        latency_class,
        tx_bytes_per_s: edge.tx_bytes_per_s,
        rx_bytes_per_s: edge.rx_bytes_per_s,
        lag_bytes: edge.lag_bytes,
        history: [Quantity::Sessions, Quantity::RttMs, Quantity::TxBytesPerS]
            .map(|quantity| edge.history(quantity).collect()),
    }
}

fn vertices(engine: &Engine) -> Vec<VertexView> {
    let mut vertices: Vec<VertexView> = Vec::new();
    for entry in engine.map.shards() {
        for node in &entry.nodes {
            let role = engine
                .cluster
                .find(node)
                .map(|at| engine.cluster.nodes()[at].facts.role);
            let kind = match role {
                _ if entry.is_router => "router",
                Some(Role::Replica) => "replica",
                _ => "shard",
            };
            vertices.push(VertexView {
                id: Vertex::Node(node.clone()).id(),
                kind,
                label: node.to_string(),
                shard: Some(entry.shard.clone()),
            });
        }
    }
    for vertex in engine.graph.vertices() {
        let (kind, label) = match vertex {
            Vertex::Node(_) => continue,
            Vertex::Client { host, application } if application.is_empty() => {
                ("client", host.clone())
            }
            Vertex::Client { host, application } => ("client", format!("{application} ({host})")),
            Vertex::Role { node, name } => ("role", format!("{name} on {node}")),
            Vertex::Service { host, port } => ("service", format!("{host}:{port}")),
        };
        vertices.push(VertexView {
            id: vertex.id(),
            kind,
            label,
            shard: None,
        });
    }
    vertices
}

pub(crate) fn graph(engine: &Engine) -> GraphView {
    let edges = engine.graph.edges().map(|(id, edge)| EdgeView {
        from: id.from.id(),
        to: id.to.id(),
        kind: id.kind,
        sessions: edge.sessions,
        traffic: traffic(edge, engine.watch.class(id)),
        first_seen: edge.first_seen,
        last_seen: edge.last_seen.max(WallTime::default()),
    });
    let changes = engine.watch.changes().take(CHANGES_SHOWN);
    let changes = changes.map(|change| ChangeView {
        at: change.at,
        from: change.edge.from.id(),
        to: change.edge.to.id(),
        kind: change.edge.kind,
        came: change.came,
        n_distances: change.n_distances,
    });
    GraphView {
        edges: edges.collect(),
        landmarks: engine
            .watch
            .landmarks()
            .into_iter()
            .map(Vertex::id)
            .collect(),
        is_resolved: engine.watch.is_resolved(),
        n_twins: engine.watch.n_twins(),
        n_alone: engine.watch.n_alone(),
        n_waiting: engine.intrusions.n_waiting(),
        n_left_out: engine.graph.n_left_out() + engine.structure.n_left_out(),
        twin_bound: engine.watch.twin_bound(),
        twin_bound_uncoloured: engine.watch.twin_bound_uncoloured(),
        landmark_nodes: engine.watch.landmark_nodes().into_iter().collect(),
        changes: changes.collect(),
        judged_from: engine.structure.judges_from(),
        vertices: vertices(engine),
    }
}
