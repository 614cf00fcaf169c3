//! The whole engine on a small cluster whose truth is known: four shards, a router, one host each. (steps 8–13)

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop where its own names are wrong"
)]

use std::sync::Arc;

use hsw_engine::{
    Config, Engine, Incident, Input, NodeLiveness, Output, ShardEntry, ShardMap, Symptom,
};
use hsw_fusion::DetectorId;
use hsw_types::{
    Monotonic, NodeFacts, NodeId, Role, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardId,
    ShardSummary, SourceState, SourceStatus, WallTime, WindowIndex,
};

const START: i64 = 1_800_000_000;
const METRICS: [&str; 6] = [
    "pg.up",
    "pg.commits",
    "pg.sessions_active",
    "pg.sessions_waiting_lock",
    "pg.probe_ms",
    "host.cpu_busy_ratio",
];

fn name(i: usize) -> String {
    if i == 0 {
        "router".to_owned()
    } else {
        format!("shard-{i}")
    }
}

fn node(i: usize) -> NodeId {
    NodeId::new(&format!("{}-a", name(i))).unwrap()
}

struct World {
    engine: Engine,
    second: i64,
    told: Vec<(String, Arc<Incident>)>,
    silent_agents: Vec<usize>,
    one_host: bool,
    replay: bool,
    /// Seconds that a node's clock is ahead.
    ahead: (usize, i64),
}

fn new_engine() -> Engine {
    let entries = (0..5).map(|i| ShardEntry {
        shard: ShardId::new(&name(i)).unwrap(),
        nodes: vec![node(i)],
        is_router: i == 0,
    });
    Engine::new(
        Config::default(),
        ShardMap::new(entries.collect(), false).unwrap(),
    )
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            engine: new_engine(),
            second: 0,
            told: Vec::new(),
            silent_agents: Vec::new(),
            one_host: false,
            replay: false,
            ahead: (0, 0),
        };
        world.input(Input::ReplayDone {
            wall: WallTime::from_unix_seconds(START),
        });
        world
    }

    fn input(&mut self, input: Input) {
        self.engine
            .handle(Monotonic(self.second as u64 * 1_000_000), input);
        while let Some(output) = self.engine.poll_output() {
            self.told.push(match output {
                Output::IncidentRaised(i) => (format!("raised {}", i.root), i),
                Output::IncidentChanged(i) => (format!("changed {}", i.root), i),
                Output::IncidentClosed(i) => (format!("closed {}", i.root), i),
                // See tests/why.rs.
                Output::Explained(..) | Output::Causes(_) | Output::Learn(_) => continue,
                Output::Score(_) => continue,
            });
        }
    }

    /// Runs `seconds`; `value(node, metric, calm value)` is what the node reports.
    fn run(&mut self, seconds: i64, value: impl Fn(usize, &str, f64) -> f64) {
        for _ in 0..seconds {
            self.second += 1;
            let wall = WallTime::from_unix_seconds(START + self.second);
            for i in 0..5 {
                if !self.silent_agents.contains(&i) {
                    let summary = Box::new(self.summary(i, &value));
                    let is_replay = self.replay;
                    self.input(Input::Summary {
                        node: node(i),
                        summary,
                        received: wall,
                        is_replay,
                    });
                }
            }
            if !self.replay {
                self.input(Input::Clock { wall });
            }
        }
    }

    fn summary(&self, i: usize, value: &impl Fn(usize, &str, f64) -> f64) -> ShardSummary {
        let calm = |metric: &str| match metric {
            "pg.up" => 1.0,
            "pg.commits" => 30.0 + ((self.second * 7 + i as i64 * 3) % 5) as f64,
            "pg.sessions_active" => 1.0 + ((self.second + i as i64) % 3) as f64,
            "pg.probe_ms" => 1.0,
            "host.cpu_busy_ratio" => 0.2,
            _ => 0.0,
        };
        let known = |i: usize| {
            METRICS
                .iter()
                .enumerate()
                .map(move |(id, m)| (SeriesId(id as u32), *m, i))
        };
        let is_up = value(i, "pg.up", 1.0) > 0.5;
        ShardSummary {
            first_window: WindowIndex(
                START + self.second - 1 + if self.ahead.0 == i { self.ahead.1 } else { 0 },
            ),
            n_windows: 1,
            dictionary_epoch: 1,
            facts: Some(NodeFacts {
                role: if i == 0 { Role::Router } else { Role::Primary },
                host: if self.one_host {
                    "h".to_owned()
                } else {
                    format!("h{i}")
                },
                ..NodeFacts::default()
            }),
            dictionary: known(i)
                .map(|(id, m, _)| SeriesDef {
                    id,
                    key: SeriesKey::node(m),
                })
                .collect(),
            series: known(i)
                .filter(|(_, m, _)| is_up || !m.starts_with("pg.") || *m == "pg.up")
                .map(|(id, m, i)| SeriesValues {
                    id,
                    values: vec![Some(value(i, m, calm(m)))],
                })
                .collect(),
            latencies: Vec::new(),
            log_samples: Vec::new(),
            sources: vec![SourceStatus {
                source: "postgres".into(),
                state: if is_up {
                    SourceState::Ok
                } else {
                    SourceState::Silent
                },
                dropped: 0,
                message: String::new(),
            }],
            hot: Vec::new(),
        }
    }

    fn raised(&self) -> Vec<&str> {
        self.told
            .iter()
            .map(|(t, _)| t.as_str())
            .filter(|t| t.starts_with("raised"))
            .collect()
    }
}

fn calm(_: usize, _: &str, value: f64) -> f64 {
    value
}

fn locked(at: usize) -> impl Fn(usize, &str, f64) -> f64 {
    move |i, metric, value| match metric {
        "pg.sessions_waiting_lock" if i == at => 5.0,
        "pg.commits" if i == at => 1.0,
        "pg.sessions_active" if i == at || i == 0 => 9.0,
        _ => value,
    }
}

#[test]
fn detection_arms_within_a_minute_and_a_lock_storm_names_its_shard_within_ten_seconds() {
    let mut world = World::new();
    world.run(20, calm);
    assert!(!world.engine.armed().is_armed);
    world.run(30, calm);
    assert_eq!(world.engine.armed().reasons, Vec::<String>::new());
    world.run(10, locked(3));
    assert_eq!(world.raised(), ["raised shard-3"]);
    let incident = &world.told[0].1;
    assert!(
        incident.raised.0 - (START + 50) <= 7,
        "raised after {} s",
        incident.raised.0 - START - 50
    );
    assert_eq!(
        incident.evidence[0].series,
        SeriesKey::node("pg.sessions_waiting_lock")
    );
    assert!(
        incident
            .summary
            .contains("waiting for a lock: 5 (usually 0; siblings 0)"),
        "{}",
        incident.summary
    );
    world.run(60, calm);
    assert_eq!(world.told.last().unwrap().0, "closed shard-3");
}

#[test]
fn a_load_that_doubles_everywhere_or_quintuples_raises_nothing() {
    let mut world = World::new();
    world.run(120, calm);
    for factor in [2.0, 5.0] {
        world.run(60, move |_, metric, value| match metric {
            "pg.up" => value,
            "pg.sessions_waiting_lock" => factor - 1.0,
            _ => value * factor,
        });
        world.run(30, calm);
    }
    assert_eq!(world.raised(), Vec::<&str>::new());
}

#[test]
fn a_database_that_stops_answering_is_the_root_at_once_even_if_everybody_waits_for_it() {
    let mut world = World::new();
    world.run(60, calm);
    world.run(8, |i, metric, value| match metric {
        "pg.up" if i == 2 => 0.0,
        "pg.commits" => 0.0,
        "pg.sessions_active" => 12.0,
        _ => value,
    });
    assert_eq!(world.raised(), ["raised shard-2"]);
    assert_eq!(world.told[0].1.evidence[0].symptom, Symptom::DatabaseSilent);
}

#[test]
fn an_agent_that_is_lost_a_host_that_is_lost_and_an_agent_that_stopped_are_told_apart() {
    let liveness = |one_host: bool, silent: Vec<usize>, goodbye: bool| {
        let mut world = World::new();
        world.one_host = one_host;
        world.run(60, calm);
        if goodbye {
            world.input(Input::Stopped { node: node(1) });
        }
        world.silent_agents = silent;
        world.run(30, calm);
        let state = world.engine.shards()[1].nodes[0].liveness;
        (state, world.raised().len())
    };
    assert_eq!(
        liveness(false, vec![1], false),
        (NodeLiveness::AgentLost, 1)
    );
    assert_eq!(liveness(true, vec![1], false), (NodeLiveness::AgentLost, 1));
    assert_eq!(
        liveness(true, vec![0, 1, 2, 3, 4], false).0,
        NodeLiveness::HostLost
    );
    assert_eq!(
        liveness(false, vec![1], true),
        (NodeLiveness::AgentStopped, 0)
    );
}

#[test]
fn an_aggregator_that_restarts_remembers_by_replay_and_blames_nobody_for_its_own_absence() {
    let mut world = World::new();
    world.engine = new_engine();
    world.replay = true;
    world.run(100, calm);
    world.replay = false;
    let wall = WallTime::from_unix_seconds(START + world.second);
    world.input(Input::ReplayDone { wall });
    assert!(world.raised().is_empty());
    world.run(3, calm);
    assert!(
        world.engine.armed().is_armed,
        "{:?}",
        world.engine.armed().reasons
    );
    world.run(10, locked(1));
    assert_eq!(world.raised(), ["raised shard-1"]);
}

#[test]
fn a_node_that_is_dead_when_the_aggregator_restarts_is_lost_and_its_incident_stays_open() {
    let mut world = World::new();
    world.run(60, calm);
    world.silent_agents = vec![4];
    world.run(30, calm);
    assert_eq!(world.raised(), ["raised shard-4"]);
    let open = world.told[0].1.clone();
    let mut again = World::new();
    again.engine = new_engine();
    again.replay = true;
    again.run(60, calm);
    again.input(Input::Restored(Box::new((*open).clone())));
    again.replay = false;
    again.silent_agents = vec![4];
    again.input(Input::ReplayDone {
        wall: WallTime::from_unix_seconds(START + again.second),
    });
    again.run(120, calm);
    assert!(
        again
            .told
            .iter()
            .all(|(told, _)| !told.starts_with("closed")),
        "{:?}",
        again.told
    );
    assert_eq!(again.engine.incidents()[0].id, open.id);
    assert_eq!(
        again.engine.shards()[4].nodes[0].liveness,
        NodeLiveness::AgentLost
    );
}

#[test]
fn a_lost_agent_does_not_hide_another_shards_fault() {
    let mut world = World::new();
    world.run(60, calm);
    world.silent_agents = vec![4];
    world.run(30, calm);
    world.run(10, locked(2));
    assert_eq!(world.raised(), ["raised shard-4", "raised shard-2"]);
}

#[test]
fn a_pause_of_the_aggregator_is_nobodys_fault() {
    let mut world = World::new();
    world.run(60, calm);
    world.second += 40;
    world.silent_agents = vec![0, 1, 2, 3, 4];
    world.run(3, calm);
    world.silent_agents.clear();
    world.run(30, calm);
    assert_eq!(world.raised(), Vec::<&str>::new());
}

#[test]
fn hosts_that_are_lost_together_are_one_incident() {
    let mut world = World::new();
    world.one_host = true;
    world.run(60, calm);
    world.silent_agents = vec![0, 1, 2, 3, 4];
    world.run(40, calm);
    assert_eq!(world.raised().len(), 1, "{:?}", world.raised());
}

#[test]
fn an_open_incident_survives_a_restart_under_the_same_identity() {
    let mut world = World::new();
    world.run(60, calm);
    world.run(10, locked(4));
    let open = world.told[0].1.clone();
    let mut again = World::new();
    again.engine = new_engine();
    again.second = world.second;
    again.replay = true;
    again.run(30, locked(4));
    again.input(Input::Restored(Box::new((*open).clone())));
    again.replay = false;
    again.input(Input::ReplayDone {
        wall: WallTime::from_unix_seconds(START + again.second),
    });
    again.run(5, calm);
    assert!(again.raised().is_empty());
    assert_eq!(again.engine.incidents()[0].id, open.id);
    again.run(40, calm);
    assert_eq!(again.told.last().unwrap().0, "closed shard-4");
}

#[test]
fn nodes_that_hold_the_same_data_are_one_shard_without_being_told_and_keep_it_when_they_change_roles()
 {
    let mut engine = Engine::new(Config::default(), ShardMap::new(Vec::new(), true).unwrap());
    let mut tell = |name: &str, role: Role, data: &str, second: i64| {
        let summary = ShardSummary {
            first_window: WindowIndex(START + second),
            n_windows: 1,
            dictionary_epoch: 1,
            facts: Some(NodeFacts {
                role,
                system_identifier: data.to_owned(),
                ..NodeFacts::default()
            }),
            dictionary: Vec::new(),
            series: Vec::new(),
            latencies: Vec::new(),
            log_samples: Vec::new(),
            sources: Vec::new(),
            hot: Vec::new(),
        };
        let received = WallTime::from_unix_seconds(START + second + 1);
        let node = NodeId::new(name).unwrap();
        engine.handle(
            Monotonic(0),
            Input::Summary {
                node,
                summary: Box::new(summary),
                received,
                is_replay: false,
            },
        );
        let shards = engine.shards().into_iter();
        shards
            .map(|s| (s.shard.to_string(), s.nodes.len()))
            .collect::<Vec<_>>()
    };
    tell("a", Role::Primary, "71", 1);
    tell("b", Role::Replica, "71", 1);
    let before = tell("c", Role::Primary, "72", 1);
    assert_eq!(before, [("a".to_owned(), 2), ("c".to_owned(), 1)]);
    tell("a", Role::Replica, "71", 2);
    assert_eq!(tell("b", Role::Primary, "71", 2), before);
}

#[test]
fn a_node_whose_clock_is_wrong_is_judged_all_the_same() {
    for ahead in [3_600, -3_600] {
        let mut world = World::new();
        world.run(60, calm);
        world.ahead = (2, ahead);
        let clock_offset_us = Some(ahead * 1_000_000);
        world.input(Input::Heard {
            node: node(2),
            clock_offset_us,
        });
        world.run(20, calm);
        world.run(10, locked(2));
        assert_eq!(world.raised(), ["raised shard-2"], "ahead by {ahead} s");
    }
}

#[test]
fn the_same_inputs_give_the_same_incidents() {
    let run = || {
        let mut world = World::new();
        world.run(60, calm);
        world.run(30, locked(2));
        world.run(40, calm);
        world.told
    };
    assert_eq!(run(), run());
}

#[test]
fn a_sick_shard_is_probable_its_incident_carries_the_detectors_and_calm_shards_are_not() {
    let mut world = World::new();
    world.run(1_200, calm);
    let of = |world: &World, at: usize| {
        let shards = world.engine.shards();
        let view = shards.into_iter().find(|s| s.shard.as_str() == name(at));
        view.and_then(|view| Some((view.judgement?.probability, view.hyperscore?)))
    };
    assert!((1..5).all(|at| of(&world, at).is_some_and(|(p, _)| p < 0.2)));
    world.run(12, locked(2));
    let (sick, well) = (of(&world, 2).unwrap(), of(&world, 4).unwrap());
    assert!(sick.0 > 0.5 && sick.1 < 130.0, "{sick:?}");
    assert!(well.0 < 0.2 && well.1 > 190.0, "{well:?}");
    let incident = world.engine.incidents()[0].clone();
    let judgement = incident.judgement.as_ref().unwrap();
    let of = |id: DetectorId| judgement.said[id.index()];
    assert!(of(DetectorId::Siblings).surprise > Some(8.0));
    assert!(judgement.said.iter().map(|said| said.weight).sum::<f64>() > 0.999);
}
