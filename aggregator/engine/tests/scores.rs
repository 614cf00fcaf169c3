//! The engine and a model: what is asked for, what comes in time, what is as without one. (step 11)

#![expect(
    clippy::unwrap_used,
    reason = "a test may stop where its own names are wrong"
)]

use hsw_engine::{Config, Engine, Input, Output, ShardEntry, ShardMap};
use hsw_fusion::layout::{AT_LOG, AT_METRICS, AT_SHARD, N_COLUMNS, metric_index};
use hsw_fusion::{Batch, Scores};
use hsw_types::{
    Monotonic, NodeId, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardId, ShardSummary,
    Subject, WallTime, WindowIndex,
};

const START: i64 = 1_800_000_000;
const N: usize = 4;

fn shard(i: usize) -> ShardId {
    ShardId::new(&format!("shard-{i}")).unwrap()
}

fn column(name: &str) -> usize {
    let columns = hsw_fusion::layout::columns();
    columns.iter().position(|c| c.name == name).unwrap()
}

fn engine(score_ms_max: Option<u32>) -> Engine {
    let entries = (0..N).map(|i| ShardEntry {
        shard: shard(i),
        nodes: vec![NodeId::new(&format!("node-{i}")).unwrap()],
        is_router: false,
    });
    let config = Config {
        score_ms_max,
        ..Config::default()
    };
    let mut engine = Engine::new(config, ShardMap::new(entries.collect(), false).unwrap());
    let wall = WallTime::from_unix_seconds(START);
    engine.handle(Monotonic(0), Input::ReplayDone { wall });
    engine
}

fn summary(second: i64, n_waiting: f64, n_lines: f64) -> ShardSummary {
    let template = SeriesKey {
        metric: "log.template".to_owned(),
        subject: Subject::Template {
            hash: 7,
            text: "out of <*>".to_owned(),
        },
    };
    let commits = 30.0 + (second * 7 % 5) as f64;
    let readings = [
        (SeriesKey::node("pg.up"), Some(1.0)),
        (SeriesKey::node("pg.commits"), Some(commits)),
        (SeriesKey::node("pg.sessions_waiting_lock"), Some(n_waiting)),
        (template, (n_lines > 0.0).then_some(n_lines)),
    ];
    let ids = (0..).map(SeriesId);
    ShardSummary {
        first_window: WindowIndex(START + second - 1),
        n_windows: 1,
        dictionary_epoch: 1,
        dictionary: ids
            .clone()
            .zip(&readings)
            .map(|(id, (key, _))| SeriesDef {
                id,
                key: key.clone(),
            })
            .collect(),
        series: ids
            .zip(&readings)
            .map(|(id, (_, value))| SeriesValues {
                id,
                values: vec![*value],
            })
            .collect(),
        facts: None,
        latencies: Vec::new(),
        log_samples: Vec::new(),
        sources: Vec::new(),
        hot: Vec::new(),
    }
}

/// Runs seconds `from..to`; shard 2 has sessions that wait from second 200 on. `answer` is the model.
fn run(
    engine: &mut Engine,
    span: (i64, i64),
    answer: impl FnMut(&Batch) -> Option<(u64, Scores)>,
) -> Vec<String> {
    run_without(engine, None, span, answer)
}

/// The same; nothing is heard of one of them.
fn run_without(
    engine: &mut Engine,
    gone: Option<usize>,
    (from, to): (i64, i64),
    mut answer: impl FnMut(&Batch) -> Option<(u64, Scores)>,
) -> Vec<String> {
    let mut told = Vec::new();
    for second in from..to {
        let wall = WallTime::from_unix_seconds(START + second);
        let mut inputs: Vec<Input> = (0..N)
            .filter(|i| gone != Some(*i))
            .map(|i| {
                let is_bad = i == 2 && second >= 200;
                let (waiting, lines) = if is_bad { (6.0, 4.0) } else { (0.0, 0.0) };
                Input::Summary {
                    node: NodeId::new(&format!("node-{i}")).unwrap(),
                    summary: Box::new(summary(second, waiting, lines)),
                    received: wall,
                    is_replay: false,
                }
            })
            .collect();
        inputs.push(Input::Clock { wall });
        for input in inputs {
            engine.handle(Monotonic(second as u64 * 1_000_000), input);
            let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll_output()).collect();
            for output in outputs {
                match output {
                    Output::Score(batch) => {
                        if let Some((late_ms, scores)) = answer(&batch) {
                            let now = Monotonic(second as u64 * 1_000_000 + late_ms * 1_000);
                            engine.handle(now, Input::Scored(scores));
                        }
                    }
                    Output::IncidentRaised(i) => told.push(format!("{second} raised {}", i.root)),
                    Output::IncidentChanged(i) => told.push(format!("{second} changed {}", i.root)),
                    Output::IncidentClosed(i) => told.push(format!("{second} closed {}", i.root)),
                    Output::Explained(..) | Output::Causes(_) | Output::Learn(_) => {}
                }
            }
        }
    }
    told
}

fn scored(batch: &Batch) -> Scores {
    Scores {
        window: batch.window,
        shards: batch.shards.clone(),
        sick: vec![0.25; batch.shards.len()],
        ..Scores::default()
    }
}

#[test]
fn a_batch_a_second_holds_all_shards_and_what_they_show() {
    let mut engine = engine(Some(400));
    let mut batches = Vec::new();
    run(&mut engine, (1, 230), |batch| {
        batches.push(batch.clone());
        Some((1, scored(batch)))
    });
    assert!(batches.len() > 200, "{}", batches.len());
    assert!(batches.iter().all(|batch| batch.check().is_none()));
    let last = batches.last().unwrap();
    assert_eq!(engine.shown(last.window).count(), N);
    assert_eq!(last.shards, (0..N).map(shard).collect::<Vec<_>>());
    let newest = last.newest();
    let waiting = AT_METRICS + 3 * metric_index("pg.sessions_waiting_lock").unwrap();
    for i in 0..N {
        let row = &newest[i * N_COLUMNS..(i + 1) * N_COLUMNS];
        let (is_far, is_apart) = (row[waiting] > 10.0, row[waiting + 1] > 10.0);
        assert_eq!((is_far, is_apart), (i == 2, i == 2), "{i}");
        assert_eq!(row[waiting + 2], 0.0, "it is known");
        assert_eq!(row[AT_SHARD + 2], 4_f32.ln(), "three siblings");
        // Lines of a kind that nobody has written before.
        assert_eq!(row[AT_LOG + 3] > 0.0, i == 2);
        assert_eq!(row[AT_LOG + 4] > 0.0, i == 2);
    }
    let before = &batches
        .iter()
        .find(|b| b.window.0 == START + 190)
        .unwrap()
        .newest();
    assert!(before[2 * N_COLUMNS + waiting].abs() < 3.0);
}

#[test]
fn what_is_answered_in_time_counts_and_what_is_late_or_missing_does_not() {
    let mut engine = engine(Some(400));
    run(&mut engine, (1, 60), |batch| Some((300, scored(batch))));
    let said = engine.model_says(&shard(1)).unwrap();
    assert!((said - 0.25).abs() < 1e-6);
    let in_force = |engine: &Engine| {
        let view = engine.shards().swap_remove(1);
        (view.judgement.unwrap().probability, view.sick_by)
    };
    assert_eq!(in_force(&engine), (said, "model"));
    run(&mut engine, (60, 70), |batch| Some((401, scored(batch))));
    assert_eq!(in_force(&engine).1, "fusion");
    assert_ne!(in_force(&engine).0, said);
    assert_eq!(engine.model_says(&shard(1)), None);
    run(&mut engine, (70, 80), |_| None);
    assert_eq!(engine.model_says(&shard(1)), None);
    run(&mut engine, (80, 90), |batch| Some((0, scored(batch))));
    assert!(engine.model_says(&shard(1)).is_some(), "and it comes back");
    let counters = engine.counters();
    let count = |name| counters.iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!(count("batches_late"), 10);
    assert!(count("batches_asked") > count("batches_scored") + 10);
}

#[test]
fn a_shard_that_is_no_longer_heard_has_a_row_that_says_so_and_nothing_else() {
    let mut engine = engine(Some(400));
    run(&mut engine, (1, 150), |_| None);
    let mut last = Batch::default();
    run_without(&mut engine, Some(3), (150, 200), |batch| {
        last = batch.clone();
        None
    });
    assert_eq!(last.shards.len(), N);
    let newest = last.newest();
    let row = |i: usize| &newest[i * N_COLUMNS..(i + 1) * N_COLUMNS];
    let of = |i: usize, name: &str| row(i)[column(name)];
    assert!(of(3, "evidence.silent") > 40_f32.ln() && of(3, "evidence.silent_primary") > 3.0);
    assert_eq!(of(3, "evidence.lost"), 1.0);
    assert_eq!(of(3, "evidence.opening"), 1.0);
    assert_eq!(of(3, "unknown.pg.commits"), 1.0);
    assert_eq!(of(3, "shard.known"), 0.0);
    assert_eq!(
        (of(1, "evidence.silent"), of(1, "evidence.lost")),
        (0.0, 0.0)
    );
}

#[test]
fn who_is_not_heard_is_sick_the_more_the_longer_whatever_the_model_says() {
    let mut engine = engine(Some(400));
    let answer = |batch: &Batch| Some((1, scored(batch)));
    run(&mut engine, (1, 150), answer);
    let of = |engine: &Engine, i: usize| {
        let view = engine.shards().swap_remove(i);
        (view.judgement.map(|j| j.probability), view.sick_by)
    };
    assert_eq!(
        (of(&engine, 3).1, engine.liveness_says(&shard(3))),
        ("model", None)
    );
    run_without(&mut engine, Some(3), (150, 160), answer);
    let early = engine.liveness_says(&shard(3)).unwrap();
    assert!((0.2..0.8).contains(&early), "{early}");
    run_without(&mut engine, Some(3), (160, 200), answer);
    assert_eq!(of(&engine, 3), (Some(0.9), "liveness"));
    assert_eq!(of(&engine, 1).1, "model");
    run(&mut engine, (200, 210), answer);
    assert_eq!(of(&engine, 3).1, "model", "and it is heard again");
}

#[test]
fn what_the_rules_and_the_fusion_say_of_a_window_is_in_its_row() {
    let mut engine = engine(Some(400));
    let mut last = Batch::default();
    run(&mut engine, (1, 230), |batch| {
        last = batch.clone();
        None
    });
    let newest = last.newest();
    let of = |i: usize, name: &str| newest[i * N_COLUMNS + column(name)];
    for (i, view) in engine.shards().iter().enumerate() {
        let said = view.judgement.as_ref().unwrap();
        assert_eq!(of(i, "evidence.surprise"), said.surprise as f32, "{i}");
        let confidence = 1.0 - (-(of(i, "evidence.strength").exp_m1()) / 3.0).exp();
        assert!((f64::from(confidence) - view.badness.unwrap()).abs() < 1e-3);
        assert_eq!(of(i, "evidence.opening") > 0.0, i == 2);
        assert_eq!(of(i, "evidence.cause") > 5.0, i == 2);
    }
}

#[test]
fn without_a_model_nothing_is_asked_for() {
    let mut engine = engine(None);
    run(&mut engine, (1, 60), |_| panic!("nobody scores"));
    assert!(engine.shown(engine.judged().unwrap()).next().is_none());
}

#[test]
fn incidents_are_the_same_with_a_model_that_answers_one_that_does_not_and_none() {
    let mut told = Vec::new();
    for (ms, answers) in [(None, false), (Some(400), false), (Some(400), true)] {
        let mut engine = engine(ms);
        let answer = |batch: &Batch| answers.then(|| (5, scored(batch)));
        told.push(run(&mut engine, (1, 260), answer));
    }
    assert!(
        told[0].iter().any(|t| t.contains("raised shard-2")),
        "{told:?}"
    );
    assert!(told.iter().all(|t| *t == told[0]), "{told:?}");
}
