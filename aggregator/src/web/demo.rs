//! A cluster for tests and for eyes: five shards and a router, a row lock on shard-3, and what holds the state.

mod hot;
mod judged;
mod series;

use std::sync::Arc;

use hsw_engine::{
    Armed, EdgeView, Evidence, GraphView, Health, Incident, IncidentId, IncidentState,
    NodeLiveness, NodeView, ShardView, Symptom, TrafficView, VertexView,
};
use hsw_types::{
    Bad, EdgeKind, LogSample, Monotonic, NodeFacts, NodeId, Role, SeriesKey, ShardId, SourceState,
    SourceStatus, WallTime, WindowIndex, metric_spec,
};
use tokio::sync::{broadcast, mpsc, watch};

use self::hot::{counted, hot};
use self::series::{lines, noise};
use super::Parts;
use crate::alerts::{Silences, Stats, wall_now};
use crate::shared::{
    AgentView, Counters, DriverHandle, Question, Shared, Silence, Snapshot, StoreStatus,
};
use crate::store::{Command, StoreHandle};
use crate::triggers::{Totals, Triggers};

/// When the incident began, seconds before the snapshot.
pub(crate) const BEGAN_S: i64 = 200;

/// Parts over a snapshot, a store in memory and an engine that answers with made-up series.
pub(crate) fn parts(snapshot: Snapshot) -> (Parts, watch::Sender<Arc<Snapshot>>) {
    let (snapshots, snapshot) = watch::channel(Arc::new(snapshot));
    let (questions, asked) = mpsc::channel(16);
    let (commands, ordered) = mpsc::channel(16);
    tokio::spawn(answer(asked, snapshot.clone()));
    tokio::spawn(keep(ordered));
    let store = StoreHandle::new(commands);
    let parts = Parts {
        shared: Shared {
            snapshot,
            incidents: broadcast::Sender::new(16),
            driver: DriverHandle::new(questions),
            store: store.clone(),
            counters: Arc::new(Counters::default()),
        },
        silences: Silences::new(store),
        alerts: Arc::new(Stats::default()),
        identity: None,
    };
    (parts, snapshots)
}

async fn keep(mut ordered: mpsc::Receiver<Command>) {
    let mut silences: Vec<Silence> = Vec::new();
    while let Some(command) = ordered.recv().await {
        match command {
            Command::Silences { reply, .. } => drop(reply.send(Ok(silences.clone()))),
            Command::AddSilence { mut silence, reply } => {
                silence.id = silences.last().map_or(1, |last| last.id + 1);
                drop(reply.send(Ok(silence.id)));
                silences.push(*silence);
            }
            Command::RemoveSilence { id, reply } => {
                let before = silences.len();
                silences.retain(|silence| silence.id != id);
                drop(reply.send(Ok(silences.len() < before)));
            }
            Command::Incidents { reply, .. } => drop(reply.send(Ok(Vec::new()))),
            Command::HotSpan { reply, .. } => drop(reply.send(Ok(counted(600.0)))),
            _ => {}
        }
    }
}

async fn answer(mut asked: mpsc::Receiver<Question>, snapshot: watch::Receiver<Arc<Snapshot>>) {
    let mut triggers = Triggers::new(&crate::config::Config::default(), 1);
    triggers.restore(Vec::new(), Monotonic(0), wall_now());
    while let Some(question) = asked.recv().await {
        let snapshot = snapshot.borrow().clone();
        match question {
            Question::Series {
                key, from, reply, ..
            } => {
                drop(reply.send(lines(&snapshot, &key, from)));
            }
            Question::Hot {
                shard,
                kind,
                limit,
                reply,
            } => drop(reply.send(hot(&snapshot).now(shard.as_ref(), kind, limit))),
            Question::HotSpan {
                stored,
                kind,
                span,
                limit,
                reply,
                ..
            } => {
                let seconds = span.n_minutes() as f64 * 60.0;
                drop(reply.send(hot(&snapshot).in_span(kind, &stored, seconds, limit)));
            }
            Question::AddTrigger { spec, reply } => {
                let added = triggers.propose(*spec, wall_now());
                let added = added.map(|one| triggers.begin(one, Monotonic(0), wall_now()));
                drop(reply.send(added));
            }
            Question::RemoveTrigger { name, reply } => {
                let removed = triggers.may_remove(&name);
                if removed.is_ok() {
                    triggers.remove(&name, Monotonic(0), wall_now());
                }
                drop(reply.send(removed));
            }
            Question::Weights(question) => judged::answer(question),
            Question::Accept { reply, .. }
            | Question::Feedback { reply, .. }
            | Question::PutCauses { reply, .. } => drop(reply.send(())),
            Question::Causes { reply } => drop(reply.send((Arc::default(), 0))),
            Question::Why {
                shard, from, reply, ..
            } => {
                let mut why = (*crate::store::example_explanation(from.0)).clone();
                why.shard = shard;
                drop(reply.send(Ok(Box::new(why))));
            }
            Question::Record { .. } => {}
            Question::SeriesNames { reply, .. } => {
                drop(reply.send(vec![SeriesKey::node("pg.commits")]));
            }
        }
    }
}

fn shard_id(name: &str) -> ShardId {
    ShardId::new(name).unwrap()
}

fn node_view(name: &str, role: Role, now: WallTime) -> NodeView {
    let source = |source: &str, state, message: &str| SourceStatus {
        source: source.to_owned(),
        state,
        dropped: 0,
        message: message.to_owned(),
    };
    NodeView {
        node: NodeId::new(name).unwrap(),
        liveness: NodeLiveness::Alive,
        role,
        facts: NodeFacts {
            database: "PostgreSQL 15.20".to_owned(),
            address: "10.0.3.11:5432".to_owned(),
            host: format!("host-{name}"),
            ..NodeFacts::default()
        },
        last_window: Some(now.window()),
        lag_s: Some(2.1),
        clock_offset_s: Some(0.0031),
        n_series: 412,
        sources: ["host", "instance", "log", "postgres", "sockets"]
            .map(|name| source(name, SourceState::Ok, ""))
            .to_vec(),
    }
}

fn shard_view(name: &str, at: usize, now: WallTime) -> ShardView {
    let is_router = name == "router";
    let is_bad = name == "shard-3";
    let role = if is_router {
        Role::Router
    } else {
        Role::Primary
    };
    let mut nodes = vec![node_view(&format!("{name}-a"), role, now)];
    if !is_router {
        nodes.push(node_view(&format!("{name}-b"), Role::Replica, now));
    }
    let wobble = at as f64;
    ShardView {
        shard: shard_id(name),
        is_router,
        health: if is_bad {
            Health::Bad
        } else if is_router {
            Health::Troubled
        } else {
            Health::Well
        },
        badness: Some(if is_bad { 0.93 } else { 0.02 }),
        judgement: Some(judged::judgement(now.window(), is_bad)),
        hyperscore: Some(if is_bad { 100.2 } else { 193.8 }),
        hyperscore_mode: "centred",
        sick_by: "fusion",
        nodes,
        headline: vec![
            ("pg.commits", Some(if is_bad { 1.2 } else { 29.4 + wobble })),
            ("pg.sessions_active", Some(if is_bad { 11.0 } else { 1.0 })),
            (
                "pg.probe_ms",
                Some(if is_bad { 3.4 } else { 0.71 + wobble / 20.0 }),
            ),
            ("instance.cpu_cores", Some(0.08 + wobble / 100.0)),
            (
                "pg.replication_lag_bytes",
                (!is_router).then_some(1_640.0 * wobble),
            ),
        ],
    }
}

/// The evidence: metric, value at its worst, usual, siblings, weight.
const EVIDENCE: [(&str, f64, f64, f64, f64); 8] = [
    ("pg.sessions_waiting_lock", 7.0, 0.0, 0.0, 0.27),
    ("log.lock_waits", 1.4, 0.0, 0.0, 0.19),
    ("pg.commits", 1.2, 29.8, 29.1, 0.16),
    ("pg.sessions_active", 11.0, 1.2, 1.0, 0.13),
    ("pg.query_age_max_s", 184.0, 0.2, 0.2, 0.10),
    ("pg.transaction_age_max_s", 191.0, 0.4, 0.5, 0.07),
    ("socket.tx_bytes", 9_400.0, 412_000.0, 408_000.0, 0.05),
    ("instance.cpu_cores", 0.02, 0.11, 0.12, 0.03),
];

fn evidence(shard: &str, row: (&str, f64, f64, f64, f64), since: WindowIndex) -> Evidence {
    let (metric, value, usual, siblings, weight) = row;
    let spec = metric_spec(metric).unwrap();
    let number = |value: f64| (value * 100.0).round() / 100.0;
    Evidence {
        symptom: Symptom::Deviation,
        node: NodeId::new(&format!("{shard}-a")).unwrap(),
        shard: shard_id(shard),
        series: SeriesKey::node(metric),
        family: spec.family,
        unit: spec.unit,
        since,
        value,
        usual: Some(usual),
        siblings: Some(siblings),
        residual: if spec.bad == Bad::Low { -9.0 } else { 14.0 },
        weight,
        sentence: format!(
            "{}: {} (usually {}; siblings {})",
            spec.about,
            number(value),
            number(usual),
            number(siblings)
        ),
    }
}

fn incident(id: u64, shard: &str, started: i64, ended: Option<i64>) -> Incident {
    let since = WindowIndex(started);
    let log = |after_s: i64, severity: &str, code: &str, text: &str| LogSample {
        at: (since + after_s).start(),
        severity: severity.to_owned(),
        code: code.to_owned(),
        text: text.to_owned(),
    };
    let router = ("pg.query_age_max_s", 184.0, 0.3, 0.3, 1.0);
    Incident {
        id: IncidentId(id),
        state: if ended.is_some() {
            IncidentState::Closed
        } else {
            IncidentState::Open
        },
        root: shard_id(shard),
        node: NodeId::new(&format!("{shard}-a")).unwrap(),
        started: since,
        raised: since + 6,
        ended: ended.map(WindowIndex),
        confidence: 0.94,
        summary: format!(
            "{shard}: 7 sessions wait for a lock, commits fell from 30 to 1 per second"
        ),
        evidence: EVIDENCE
            .iter()
            .map(|row| evidence(shard, *row, since))
            .collect(),
        affected: vec![(shard_id("router"), evidence("router", router, since + 4))],
        log_samples: vec![
            log(
                1,
                "LOG",
                "",
                "process ? still waiting for ShareLock on transaction ? after ? ms",
            ),
            log(
                3,
                "LOG",
                "",
                "process ? still waiting for ExclusiveLock on tuple (?,?) of relation ? of database ?",
            ),
            log(
                31,
                "ERROR",
                "57014",
                "canceling statement due to statement timeout <script>alert(1)</script>",
            ),
        ],
        judgement: None,
        intrusion: None,
        revision: 3,
    }
}

fn traffic(kind: EdgeKind, sessions: f64) -> TrafficView {
    let is_client = kind == EdgeKind::Client;
    let step = |n: i32| f64::from((n * 7) % 5);
    TrafficView {
        active: is_client.then_some(sessions / 8.0),
        rtt_ms: is_client.then_some(0.4),
        latency_class: Some(if is_client { 2 } else { 1 }),
        tx_bytes_per_s: is_client.then_some(sessions * 9_000.0),
        rx_bytes_per_s: is_client.then_some(sessions * 1_200.0),
        lag_bytes: (kind == EdgeKind::Replication).then_some(16_384.0),
        history: [
            (0..12).map(|n| Some(sessions + step(n))).collect(),
            (0..12)
                .map(|n| is_client.then(|| 0.4 + step(n) / 50.0))
                .collect(),
            (0..12)
                .map(|n| is_client.then(|| sessions * 9_000.0 + step(n) * 700.0))
                .collect(),
        ],
    }
}

fn graph(now: WallTime) -> GraphView {
    let vertex = |id: &str, kind, label: &str, shard: Option<&str>| VertexView {
        id: id.to_owned(),
        kind,
        label: label.to_owned(),
        shard: shard.map(shard_id),
    };
    let mut vertices = vec![
        vertex(
            "client:10.0.9.4/checkout",
            "client",
            "checkout @ 10.0.9.4",
            None,
        ),
        vertex(
            "client:10.0.9.7/reports",
            "client",
            "reports @ 10.0.9.7",
            None,
        ),
        vertex("node:router-a", "router", "router-a", Some("router")),
    ];
    let edge = |from: &str, to: &str, kind, sessions| EdgeView {
        from: from.to_owned(),
        to: to.to_owned(),
        kind,
        sessions,
        traffic: traffic(kind, sessions),
        first_seen: WallTime(now.0 - 86_400_000_000),
        last_seen: now,
    };
    let mut edges = vec![
        edge(
            "client:10.0.9.4/checkout",
            "node:router-a",
            EdgeKind::Client,
            24.0,
        ),
        edge(
            "client:10.0.9.7/reports",
            "node:router-a",
            EdgeKind::Client,
            3.0,
        ),
    ];
    for n in 1..=5 {
        let (a, b) = (format!("node:shard-{n}-a"), format!("node:shard-{n}-b"));
        let shard = format!("shard-{n}");
        vertices.push(vertex(&a, "shard", &format!("shard-{n}-a"), Some(&shard)));
        vertices.push(vertex(&b, "replica", &format!("shard-{n}-b"), Some(&shard)));
        edges.push(edge("node:router-a", &a, EdgeKind::ForeignServer, 8.0));
        edges.push(edge(&a, &b, EdgeKind::Replication, 1.0));
    }
    GraphView {
        landmarks: vec!["client:10.0.9.7/reports".to_owned()],
        is_resolved: true,
        n_twins: (0, 0),
        n_alone: (13, 13),
        n_waiting: 0,
        n_left_out: 0,
        twin_bound: 0,
        twin_bound_uncoloured: 4,
        landmark_nodes: vec![NodeId::new("router-a").unwrap()],
        changes: Vec::new(),
        judged_from: None,
        vertices,
        edges,
    }
}

fn agent(node: &NodeId, now: WallTime) -> AgentView {
    AgentView {
        node: node.clone(),
        is_connected: true,
        is_stopped: false,
        address: "10.0.3.11:51312".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: WallTime(now.0 - 5_400_000_000),
        last_heard: now,
        summaries: 2_700,
        spool_bytes: 1_840,
        spool_summaries: 1,
        dropped: 0,
        clock_offset_us: Some(3_100),
        rtt_us: 640,
        is_landmark: Some(node.as_str() == "router-a"),
    }
}

/// The cluster with `n` shards; `is_calm`: without an open incident and not armed yet.
pub(crate) fn snapshot(n: usize, is_calm: bool) -> Snapshot {
    let now = wall_now();
    let at = now.window().0;
    let names = (1..=n).map(|at| format!("shard-{at}"));
    let mut shards: Vec<_> = std::iter::once("router".to_owned())
        .chain(names)
        .enumerate()
        .map(|(place, name)| shard_view(&name, place, now))
        .collect();
    let mut incidents = vec![Arc::new(incident(
        0x7a,
        "shard-1",
        at - 9_000,
        Some(at - 8_640),
    ))];
    let mut armed = Armed {
        is_armed: true,
        reasons: Vec::new(),
    };
    if is_calm {
        incidents.clear();
        for shard in &mut shards {
            shard.health = Health::Unknown;
        }
        armed = Armed {
            is_armed: false,
            reasons: vec!["warming up: shard-3 has 12 s of data, needs 30 s".to_owned()],
        };
    } else {
        let open = incident(0x9f3c_2ab1_77d0_4e15, "shard-3", at - BEGAN_S, None);
        incidents.insert(0, Arc::new(open));
        let sick = &mut shards[n.min(5)].nodes[1];
        sick.liveness = NodeLiveness::DatabaseSilent;
        sick.sources[3].state = SourceState::Silent;
        sick.sources[3].message =
            "no answer within 1 s: the database hangs or is overloaded".to_owned();
    }
    let agents = shards
        .iter()
        .flat_map(|shard| &shard.nodes)
        .map(|node| agent(&node.node, now))
        .collect();
    Snapshot {
        wall: now,
        started: WallTime(now.0 - 7_200_000_000),
        cluster: "orders".to_owned(),
        shards,
        explanations: incidents
            .iter()
            .map(|one| (one.id, crate::store::example_explanation(one.started.0)))
            .collect(),
        incidents,
        graph: Arc::new(graph(now)),
        armed,
        is_replayed: true,
        agents,
        store: StoreStatus::default(),
        engine_counters: vec![("series_refused", 0)],
        triggers: super::triggers::demo::views(now),
        trigger_totals: Totals::default(),
        inference: hsw_inference::Scorer::without("a demonstration").status(),
    }
}
