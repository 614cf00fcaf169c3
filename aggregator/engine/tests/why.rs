//! Explanations on a small cluster whose truth is known: three shards and a router, a host each. (step 12)

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop where its own names are wrong"
)]

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{node, shard};
use hsw_engine::{
    Config, Engine, Explanation, Feedback, HARMLESS, IncidentId, Input, Output, ShardEntry,
    ShardMap, WhyError,
};
use hsw_explain::{Known, NamedCase};
use hsw_types::{
    Monotonic, NodeFacts, NodeId, Role, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardId,
    ShardSummary, WallTime, WindowIndex,
};

const START: i64 = 1_800_000_000;
const N: usize = 4;
const METRICS: [(&str, f64); 10] = [
    ("agent.cpu_cores", 0.01),
    ("pg.up", 1.0),
    ("pg.commits", 30.0),
    ("pg.sessions_active", 1.0),
    ("pg.sessions_waiting_lock", 0.0),
    ("pg.probe_ms", 1.0),
    ("pg.query_age_max_s", 0.1),
    ("cgroup.foreign_cpu_cores", 0.0),
    ("instance.cpu_cores", 0.3),
    ("host.cpu_busy_ratio", 0.2),
];

/// What a fault makes of a metric on its shard.
type Fault = fn(&str, f64) -> f64;

/// A summary that tells nothing.
fn nothing() -> ShardSummary {
    ShardSummary {
        first_window: WindowIndex(0),
        n_windows: 0,
        dictionary_epoch: 0,
        dictionary: Vec::new(),
        series: Vec::new(),
        latencies: Vec::new(),
        log_samples: Vec::new(),
        facts: None,
        sources: Vec::new(),
        hot: Vec::new(),
    }
}

fn calm(_: &str, value: f64) -> f64 {
    value
}

fn locks(metric: &str, value: f64) -> f64 {
    match metric {
        "pg.sessions_waiting_lock" => 7.0 + value,
        "pg.sessions_active" => 9.0,
        "pg.commits" => 2.0,
        "pg.query_age_max_s" => 6.0,
        _ => value,
    }
}

fn hog(metric: &str, value: f64) -> f64 {
    match metric {
        "cgroup.foreign_cpu_cores" => 3.5 + value,
        "pg.probe_ms" => 60.0,
        "host.cpu_busy_ratio" => 0.95,
        "pg.commits" => 18.0,
        _ => value,
    }
}

struct World {
    engine: Engine,
    second: i64,
    why: Vec<(IncidentId, Arc<Explanation>, i64)>,
    causes: Arc<Vec<NamedCase>>,
    n_raised: usize,
}

impl World {
    fn new() -> Self {
        let entries = (0..N).map(|i| ShardEntry {
            shard: shard(i),
            nodes: vec![node(i)],
            is_router: i == 0,
        });
        let map = ShardMap::new(entries.collect(), false).unwrap();
        let mut world = Self {
            engine: Engine::new(Config::default(), map),
            second: 0,
            why: Vec::new(),
            causes: Arc::default(),
            n_raised: 0,
        };
        let wall = WallTime::from_unix_seconds(START);
        world.input(Input::ReplayDone { wall });
        world
    }

    fn input(&mut self, input: Input) {
        let now = Monotonic(self.second as u64 * 1_000_000);
        self.engine.handle(now, input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Explained(id, why) => self.why.push((id, why, self.second)),
                Output::Causes(cases) => self.causes = cases,
                Output::Learn(cases) => {
                    let named: Vec<_> = cases
                        .iter()
                        .map(|case| (case.cause.as_str(), &case.case))
                        .collect();
                    let known = Box::new(Known::learn(&named));
                    self.engine.handle(now, Input::Learned(known));
                }
                Output::IncidentRaised(_) => self.n_raised += 1,
                Output::IncidentChanged(_) | Output::IncidentClosed(_) | Output::Score(_) => {}
            }
        }
    }

    fn run(&mut self, seconds: i64, sick: usize, fault: Fault) {
        for _ in 0..seconds {
            self.second += 1;
            let wall = WallTime::from_unix_seconds(START + self.second);
            for i in 0..N {
                let fault = if i == sick { fault } else { calm };
                let summary = Box::new(self.summary(i, fault));
                self.input(Input::Summary {
                    node: node(i),
                    summary,
                    received: wall,
                    is_replay: false,
                });
            }
            self.input(Input::Clock { wall });
        }
    }

    fn summary(&self, i: usize, fault: Fault) -> ShardSummary {
        let value = |at: usize| {
            let (metric, base) = METRICS[at];
            let wave = ((self.second * 7 + i as i64 * 3 + at as i64) % 5) as f64 / 20.0;
            fault(
                metric,
                if metric == "pg.up" {
                    1.0
                } else {
                    base * (1.0 + wave)
                },
            )
        };
        let series = (0..METRICS.len()).map(|at| SeriesValues {
            id: SeriesId(at as u32),
            values: vec![Some(value(at))],
        });
        let dictionary = METRICS
            .iter()
            .enumerate()
            .map(|(at, (metric, _))| SeriesDef {
                id: SeriesId(at as u32),
                key: SeriesKey::node(metric),
            });
        ShardSummary {
            first_window: WindowIndex(START + self.second),
            n_windows: 1,
            dictionary_epoch: 1,
            dictionary: dictionary.collect(),
            series: series.collect(),
            facts: Some(NodeFacts {
                role: if i == 0 { Role::Router } else { Role::Primary },
                cpu_cores: 4,
                host: format!("host-{i}"),
                ..NodeFacts::default()
            }),
            ..nothing()
        }
    }

    fn newest(&self) -> (IncidentId, Arc<Explanation>) {
        let (id, why, _) = self.why.last().unwrap();
        (*id, Arc::clone(why))
    }

    /// A fault from calm to calm; the explanation as it stood at the end.
    fn trial(&mut self, sick: usize, fault: Fault) -> (IncidentId, Arc<Explanation>) {
        self.run(120, 0, calm);
        self.run(30, sick, fault);
        self.run(40, 0, calm);
        self.newest()
    }
}

#[test]
fn an_incident_is_explained_when_it_is_raised_and_again_as_evidence_arrives() {
    let mut world = World::new();
    world.run(120, 0, calm);
    let begun = world.second;
    while world.n_raised == 0 {
        world.run(1, 2, locks);
        assert!(world.second < begun + 30, "no incident");
    }
    let (_, first, at) = world.why[0].clone();
    assert_eq!((at, first.revision), (world.second, 1));
    world.run(70, 2, locks);
    world.run(40, 0, calm);
    // When raised, 5, 15 and 60 seconds later, and at the end.
    let after: Vec<i64> = world.why.iter().map(|(_, _, second)| second - at).collect();
    assert_eq!(&after[..4], [0, 5, 15, 60], "{after:?}");
    assert_eq!(after.len(), 5);
    let (_, last) = world.newest();
    assert_eq!(last.shard, shard(2));
    assert_eq!(last.n_siblings, 2);
    assert_eq!(
        last.reasons[0].sentence,
        "client sessions waiting for a lock ≥ 7 while every sibling stays ≤ 0 (before: ≤ 0)"
    );
    assert_eq!(last.culprits[0].shard, shard(2));
    assert!(last.causes.is_empty() && last.none == 1.0);
}

#[test]
fn one_word_of_feedback_names_the_next_incident_of_that_kind_on_another_shard() {
    let mut world = World::new();
    let (first, why) = world.trial(1, locks);
    assert!(why.causes.is_empty());
    let word = Feedback::Cause("forgotten transaction".to_owned());
    world.input(Input::Feedback {
        id: first,
        word: word.clone(),
    });
    assert_eq!(world.newest().1.feedback, Some(word));
    let (other, why) = world.trial(2, hog);
    assert!(
        why.none > 0.5,
        "something else is not named: {:?}",
        why.causes
    );
    let word = Feedback::Cause("backup on the host".to_owned());
    world.input(Input::Feedback { id: other, word });
    let (_, why) = world.trial(3, locks);
    assert_eq!(why.causes[0].cause, "forgotten transaction");
    assert!(
        why.causes[0].probability > 0.5,
        "{:?} none {}",
        why.causes,
        why.none
    );
    assert_eq!(why.similar[0].id, first);
    assert_eq!(
        why.similar[0].cause.as_deref(),
        Some("forgotten transaction")
    );
}

#[test]
fn an_incident_that_taught_the_believed_cause_is_named_however_unlike_it_looked() {
    let mut world = World::new();
    let mut taught = Vec::new();
    // One cause shows itself in two ways, mostly in one.
    let faults = [(1, locks as Fault), (2, hog as Fault), (0, hog as Fault)];
    for (sick, fault) in faults {
        let (id, _) = world.trial(sick, fault);
        let word = Feedback::Cause("migration".to_owned());
        world.input(Input::Feedback { id, word });
        taught.insert(0, id);
    }
    let (_, why) = world.trial(3, hog);
    assert_eq!(why.causes[0].cause, "migration");
    assert!(
        why.causes[0].probability > why.none,
        "{:?} none {}",
        why.causes,
        why.none
    );
    let similar: Vec<IncidentId> = why.similar.iter().map(|similar| similar.id).collect();
    assert_eq!(similar, taught);
    assert!(why.similar[2].alike < 0.7, "{:?}", why.similar);
}

#[test]
fn a_later_word_takes_the_place_of_an_earlier_one_and_a_false_alarm_is_said_to_be_one() {
    let mut world = World::new();
    let (id, _) = world.trial(1, hog);
    let word = Feedback::Cause("wrong guess".to_owned());
    world.input(Input::Feedback { id, word });
    world.input(Input::Feedback {
        id,
        word: Feedback::FalseAlarm,
    });
    assert_eq!(world.causes.len(), 1);
    assert!(
        world.causes[0].cause.starts_with(HARMLESS),
        "{}",
        world.causes[0].cause
    );
    let n_raised = world.n_raised;
    let (id, why) = world.trial(3, hog);
    assert_eq!(world.n_raised, n_raised + 1, "a false alarm hides nothing");
    assert!(why.causes[0].is_harmless);
    // The same again is the same kind.
    world.input(Input::Feedback {
        id,
        word: Feedback::FalseAlarm,
    });
    assert_eq!(world.causes[0].cause, world.causes[1].cause);
}

#[test]
fn any_time_that_is_kept_can_be_asked_about_and_no_other() {
    let mut world = World::new();
    world.run(100, 0, calm);
    world.run(20, 2, hog);
    let at = |second: i64| WindowIndex(START + second);
    let why = world.engine.why(&shard(2), at(101), at(119)).unwrap();
    assert!(
        why.reasons[0].sentence.contains("not the database"),
        "{:?}",
        why.reasons[0]
    );
    let ask = |name: &str, first, last| {
        let shard = ShardId::new(name).unwrap();
        world.engine.why(&shard, at(first), at(last)).unwrap_err()
    };
    assert_eq!(ask("shard-9", 101, 119), WhyError::NoShard);
    assert_eq!(ask("shard-2", 119, 101), WhyError::Empty);
    assert_eq!(ask("shard-2", -400, -300), WhyError::TooOld);
}

/// As large as a node gets: 250 series, four minutes, eight siblings.
#[test]
#[ignore = "a measurement; run it with --run-ignored only --no-capture"]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures and says what it measured"
)]
fn a_look_takes_a_few_milliseconds() {
    let entries = (0..9).map(|i| ShardEntry {
        shard: ShardId::new(&format!("s{i}")).unwrap(),
        nodes: vec![NodeId::new(&format!("s{i}-a")).unwrap()],
        is_router: false,
    });
    let mut engine = Engine::new(
        Config::default(),
        ShardMap::new(entries.collect(), false).unwrap(),
    );
    let names: Vec<String> = hsw_types::CATALOGUE
        .iter()
        .map(|spec| spec.name.to_owned())
        .chain((0..130).map(|i| format!("other.{i}")))
        .collect();
    for second in 0..240_i64 {
        for i in 0..9_i64 {
            let values = (0..names.len() as i64).map(|at| SeriesValues {
                id: SeriesId(at as u32),
                values: vec![Some(
                    ((second * 7 + i * 31 + at * 13) % 97) as f64
                        * if i == 3 && second > 200 { 1.5 } else { 1.0 },
                )],
            });
            let dictionary = names.iter().enumerate().map(|(at, name)| SeriesDef {
                id: SeriesId(at as u32),
                key: SeriesKey::node(name),
            });
            let summary = ShardSummary {
                first_window: WindowIndex(START + second),
                n_windows: 1,
                dictionary_epoch: 1,
                dictionary: if second == 0 {
                    dictionary.collect()
                } else {
                    Vec::new()
                },
                series: values.collect(),
                ..nothing()
            };
            engine.handle(
                Monotonic(second as u64 * 1_000_000),
                Input::Summary {
                    node: NodeId::new(&format!("s{i}-a")).unwrap(),
                    summary: Box::new(summary),
                    received: WallTime::from_unix_seconds(START + second),
                    is_replay: true,
                },
            );
        }
    }
    let shard = ShardId::new("s3").unwrap();
    let began = Instant::now();
    for _ in 0..10 {
        engine
            .why(&shard, WindowIndex(START + 201), WindowIndex(START + 239))
            .unwrap();
    }
    let ms = began.elapsed().as_secs_f64() * 100.0;
    println!("{} series: {ms:.1} ms a look", names.len());
    assert!(ms < 20.0 || cfg!(debug_assertions));
}

/// As much as an aggregator keeps: [`hsw_engine::CASES_LEARNED_MAX`] cases of 20 causes, 120 attributes each.
#[test]
#[ignore = "a measurement; run it with --run-ignored only --no-capture"]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures and says what it measured"
)]
fn learning_all_that_is_kept_takes_a_while_and_is_done_elsewhere() {
    let level = |case: usize, at: usize| {
        let noise = ((case * 31 + at * 17) % 97) as f64;
        let step = if (at + case % 20).is_multiple_of(7) {
            300.0
        } else {
            0.0
        };
        hsw_explain::Levels {
            before: 50.0 + noise / 10.0,
            drift: noise / 50.0 - 1.0,
            during: 50.0 + noise / 9.0 + step,
        }
    };
    let case = |case: usize| hsw_explain::Case {
        levels: (0..120)
            .map(|at| (format!("metric.{at}"), level(case, at)))
            .collect(),
    };
    let cases: Vec<_> = (0..hsw_engine::CASES_LEARNED_MAX)
        .map(|at| (format!("cause {}", at % 20), case(at)))
        .collect();
    let named: Vec<_> = cases
        .iter()
        .map(|(cause, case)| (cause.as_str(), case))
        .collect();
    let began = Instant::now();
    let known = Known::learn(&named);
    let learned = began.elapsed().as_secs_f64();
    let began = Instant::now();
    assert_eq!(known.diagnose(&case(41)).causes[0].0, "cause 1");
    let judged = began.elapsed().as_secs_f64();
    println!(
        "learning {} cases: {learned:.2} s, judging one: {:.2} ms",
        cases.len(),
        judged * 1e3
    );
}
