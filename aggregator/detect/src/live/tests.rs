//! The live detectors on a small cluster whose truth is known. (step 10)

use hsw_fusion::{DetectorId, N_DETECTORS, Surprises};
use hsw_state::{Cluster, NodeIndex};
use hsw_types::{
    NodeId, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary, Subject, WindowIndex,
};

use super::{Board, GraphSight, Standing};
use crate::detector::{Detector, Group};
use crate::dice::scrambled;

const N_NODES: usize = 6;
const METRICS: [&str; 10] = [
    "pg.commits",
    "pg.sessions_active",
    "pg.sessions_waiting_lock",
    "pg.probe_ms",
    "instance.cpu_cores",
    "pg.blocks_read",
    "pg.connections_ratio",
    "pg.wal_bytes",
    "pg.tuples_updated",
    "host.cpu_busy_ratio",
];
const LINES: [&str; 3] = [
    "connection received",
    "checkpoint complete",
    "disk is on fire",
];
const STATEMENTS: [&str; 2] = ["select from a", "select from b"];

fn noise(window: i64, stream: usize) -> f64 {
    scrambled(window, stream, 2)
}

fn key(at: usize) -> SeriesKey {
    let template = |metric: &str, text: &str| SeriesKey {
        metric: metric.to_owned(),
        subject: Subject::Template {
            hash: text.len() as u64,
            text: text.to_owned(),
        },
    };
    let lines = at.wrapping_sub(METRICS.len());
    match METRICS.get(at) {
        Some(metric) => SeriesKey::node(metric),
        None if lines < LINES.len() => template("log.template", LINES[lines]),
        None => template("query.latency_ms", STATEMENTS[lines - LINES.len()]),
    }
}

fn calm(node: usize, at: usize, window: i64) -> Option<f64> {
    let load = 1.0 + 0.2 * noise(window / 20, 999);
    let own = noise(window, node * 100 + at);
    let base = [300.0, 4.0, 0.0, 1.0, 0.8, 40.0, 0.3, 2e6, 80.0, 0.3];
    match base.get(at) {
        Some(base) => Some((base * load * (1.0 + 0.1 * own)).max(0.0)),
        None if at == METRICS.len() => Some((3.0 + 2.0 * own).round().max(0.0)),
        None if at == METRICS.len() + 1 => (window % 30 == 0).then_some(1.0),
        None if at == METRICS.len() + 2 => None,
        None => Some(5.0 * (1.0 + 0.1 * own)),
    }
}

struct World {
    cluster: Cluster,
    detector: Detector,
    board: Board,
    window: i64,
    is_up: [Option<bool>; N_NODES],
    graph: [Option<GraphSight>; N_NODES],
    is_frozen: [bool; N_NODES],
}

impl World {
    fn new() -> Self {
        let mut cluster = Cluster::new(100);
        for i in 0..N_NODES {
            cluster.node_index(&NodeId::new(&format!("n{i}")).unwrap());
        }
        Self {
            cluster,
            detector: Detector::default(),
            board: Board::default(),
            window: 1_000_000,
            is_up: [Some(true); N_NODES],
            graph: [Some(GraphSight::default()); N_NODES],
            is_frozen: [false; N_NODES],
        }
    }

    /// Runs `n` windows of the first `n_nodes`, and gives what is said of each node at each.
    fn run(
        &mut self,
        n: i64,
        nodes: &[NodeIndex],
        value: impl Fn(usize, usize, i64) -> Option<f64>,
    ) -> Vec<Vec<Surprises>> {
        let mut said = Vec::new();
        for _ in 0..n {
            self.window += 1;
            for &node in nodes {
                let summary = self.summary(node, &value);
                self.cluster.apply(node, summary);
            }
            let groups = [Group {
                members: nodes.to_vec(),
                control: Vec::new(),
            }];
            let window = WindowIndex(self.window);
            self.detector
                .evaluate(&self.cluster, &groups, window, &self.is_frozen);
            let standing = Standing {
                nodes,
                role: &[0; N_NODES],
                is_up: &self.is_up,
                graph: &self.graph,
                is_frozen: &self.is_frozen,
            };
            self.board
                .look(&self.cluster, &self.detector, window, &standing);
            said.push(
                nodes
                    .iter()
                    .map(|node| self.board.said(*node, window))
                    .collect(),
            );
        }
        said
    }

    fn summary(
        &self,
        node: usize,
        value: &impl Fn(usize, usize, i64) -> Option<f64>,
    ) -> ShardSummary {
        let n = METRICS.len() + LINES.len() + STATEMENTS.len();
        let values = (0..n).filter_map(|at| value(node, at, self.window).map(|value| (at, value)));
        let series = values.map(|(at, value)| SeriesValues {
            id: SeriesId(at as u32),
            values: vec![Some(value)],
        });
        let defs = (0..n).map(|at| SeriesDef {
            id: SeriesId(at as u32),
            key: key(at),
        });
        ShardSummary {
            first_window: WindowIndex(self.window),
            n_windows: 1,
            dictionary_epoch: 1,
            facts: None,
            dictionary: defs.collect(),
            series: series.collect(),
            latencies: Vec::new(),
            log_samples: Vec::new(),
            sources: Vec::new(),
            hot: Vec::new(),
        }
    }
}

const ALL: [NodeIndex; N_NODES] = [0, 1, 2, 3, 4, 5];

/// The most that a detector said of a node.
fn most(said: &[Vec<Surprises>], node: usize, detector: DetectorId) -> f64 {
    let of = said.iter().filter_map(|at| at[node][detector.index()]);
    of.fold(0.0, f64::max)
}

#[test]
fn after_a_quarter_of_an_hour_all_know_and_p_is_about_uniform_where_nothing_changes() {
    let mut world = World::new();
    world.run(900, &ALL, calm);
    let said = world.run(2_700, &ALL, calm);
    let unknown = said
        .last()
        .unwrap()
        .iter()
        .flatten()
        .filter(|said| said.is_none());
    assert_eq!(unknown.count(), 0);
    for detector in DetectorId::ALL {
        let all: Vec<f64> = said
            .iter()
            .flatten()
            .filter_map(|said| said[detector.index()])
            .collect();
        let beyond =
            |p: f64| all.iter().filter(|s| **s > -p.ln()).count() as f64 / all.len() as f64;
        assert!(beyond(0.01) < 0.03, "{}: {}", detector.name(), beyond(0.01));
        assert!(beyond(1e-4) < 2e-3, "{}: {}", detector.name(), beyond(1e-4));
    }
}

#[test]
fn a_lock_storm_is_seen_by_own_past_and_siblings_and_a_load_that_all_share_by_no_sibling() {
    let mut world = World::new();
    world.run(1_200, &ALL, calm);
    let locked = |node: usize, at: usize, window: i64| match at {
        2 if node == 3 => Some(9.0),
        0 if node == 3 => Some(20.0),
        _ => calm(node, at, window),
    };
    let said = world.run(10, &ALL, locked);
    for detector in [
        DetectorId::OwnPast,
        DetectorId::Siblings,
        DetectorId::Change,
    ] {
        assert!(
            most(&said, 3, detector) > 7.5,
            "{}: {}",
            detector.name(),
            most(&said, 3, detector)
        );
        assert!(
            most(&said, 1, detector) < 7.0,
            "{}: {}",
            detector.name(),
            most(&said, 1, detector)
        );
    }
    world.run(400, &ALL, calm);
    let loaded = |node: usize, at: usize, window: i64| {
        calm(node, at, window).map(|value| if at < 2 { value * 3.0 } else { value })
    };
    let said = world.run(20, &ALL, loaded);
    assert!((0..N_NODES).all(|node| most(&said, node, DetectorId::Siblings) < 6.0));
}

#[test]
fn a_template_nobody_heard_a_slow_statement_a_full_limit_a_moved_vertex_and_a_silent_database_each_have_their_detector()
 {
    let mut world = World::new();
    world.run(1_200, &ALL, calm);
    let others = [DetectorId::Correlated, DetectorId::Modes];
    let bad = |node: usize, at: usize, window: i64| match (node, at) {
        (0, 12) => Some(4.0),
        (1, 13) => Some(900.0),
        (2, 6) => Some(0.99),
        _ => calm(node, at, window),
    };
    world.graph[3] = Some(GraphSight {
        deviation: 6.0,
        n_suspicions: 1.0,
        ..GraphSight::default()
    });
    world.is_up[4] = Some(false);
    let said = world.run(15, &ALL, bad);
    let expected = [
        (0, DetectorId::Templates),
        (1, DetectorId::Fingerprints),
        (2, DetectorId::Saturation),
        (3, DetectorId::Structure),
        (4, DetectorId::Liveness),
    ];
    for (node, detector) in expected {
        assert!(
            most(&said, node, detector) > 7.0,
            "{}: {}",
            detector.name(),
            most(&said, node, detector)
        );
        assert!(most(&said, 5, detector) < 7.0, "{}", detector.name());
    }
    assert!(
        others
            .iter()
            .all(|detector| most(&said, 5, *detector) < 9.0)
    );
}

#[test]
fn a_new_node_is_judged_by_the_past_of_its_siblings() {
    let mut world = World::new();
    world.run(1_200, &[0, 1, 2, 3, 4], calm);
    world.run(60, &ALL, calm);
    let locked = |node: usize, at: usize, window: i64| {
        if (node, at) == (5, 2) {
            Some(9.0)
        } else {
            calm(node, at, window)
        }
    };
    let said = world.run(8, &ALL, locked);
    assert!(
        most(&said, 5, DetectorId::Siblings) > 5.0,
        "{}",
        most(&said, 5, DetectorId::Siblings)
    );
}

#[test]
fn nothing_is_learned_from_a_frozen_node_and_nothing_known_of_one_that_is_not_looked_at() {
    let bad = |node: usize, at: usize, window: i64| {
        if node == 0 {
            calm(0, at, window).map(|v| v * 6.0 + 5.0)
        } else {
            calm(node, at, window)
        }
    };
    let after = |is_frozen: bool| {
        let mut world = World::new();
        world.run(1_200, &ALL, calm);
        world.is_frozen[0] = is_frozen;
        world.run(900, &ALL, bad);
        world.is_frozen[0] = false;
        most(&world.run(1, &ALL, bad), 0, DetectorId::OwnPast)
    };
    let (frozen, learned) = (after(true), after(false));
    assert!(
        frozen > 10.0 && learned < frozen / 2.0,
        "{frozen} {learned}"
    );
    let mut world = World::new();
    world.run(300, &ALL, calm);
    world.run(1, &ALL[..5], calm);
    assert_eq!(
        world.board.said(5, WindowIndex(world.window)),
        [None; N_DETECTORS]
    );
}

#[test]
fn what_a_fault_shows_until_it_is_an_incident_is_not_learned() {
    let mut world = World::new();
    world.run(400, &ALL, calm);
    let locked = |node: usize, at: usize, window: i64| match at {
        0 | 2 if node == 3 => Some(20.0),
        _ => calm(node, at, window),
    };
    let at_first = world.run(15, &ALL, locked);
    world.is_frozen[3] = true;
    let later = world.run(60, &ALL, locked);
    for detector in [DetectorId::OwnPast, DetectorId::Siblings] {
        let (first, last) = (
            most(&at_first, 3, detector),
            most(&later[50..], 3, detector),
        );
        assert!(
            first > 8.0 && last > 0.8 * first,
            "{}: {first}, then {last}",
            detector.name()
        );
    }
}

#[test]
fn memory_of_a_node_stays_under_64_kibibytes_and_does_not_grow() {
    let mut world = World::new();
    world.run(600, &ALL, calm);
    let first = world.board.bytes(0);
    world.run(1_800, &ALL, calm);
    assert!(
        world.board.bytes(0) <= 64 * 1_024,
        "{}",
        world.board.bytes(0)
    );
    assert!(
        world.board.bytes(0) <= first + 1_024,
        "{first} {}",
        world.board.bytes(0)
    );
}

#[test]
fn of_several_members_the_worst_counts_less_what_their_number_is_worth() {
    let mut world = World::new();
    world.run(900, &ALL, calm);
    let window = WindowIndex(world.window);
    let one = world.board.said(2, window);
    assert_eq!(world.board.said_of_shard(&[2], window), one);
    let three = world.board.said_of_shard(&[1, 2, 3], window);
    let at = DetectorId::OwnPast.index();
    let worst = [1, 2, 3].map(|node| world.board.said(node, window)[at].unwrap());
    let worst = worst.into_iter().fold(0.0, f64::max);
    assert!((three[at].unwrap() - (worst - 3.0_f64.ln()).max(0.0)).abs() < 1e-9);
}
