//! The pipeline against what the module's header promises. (steps 3–4)

use hsw_types::{
    Monotonic, NodeFacts, Reading, Renamed, SeriesId, ShardSummary, SourceState, SourceStatus,
    Value, WallTime, WindowIndex,
};
use proptest::prelude::*;

use super::{Config, Input, Output, Pipeline, key};

/// Drives a pipeline whose timer and clock agree unless told otherwise.
struct World {
    pipeline: Pipeline,
    out: Vec<(ShardSummary, Option<Vec<u8>>)>,
}

impl World {
    fn new() -> Self {
        Self {
            pipeline: Pipeline::new(Config::default()),
            out: Vec::new(),
        }
    }

    fn at(&mut self, seconds: f64, input: impl Fn(WallTime) -> Input) {
        self.with_clock(seconds, seconds, input);
    }

    fn with_clock(&mut self, timer: f64, wall: f64, input: impl Fn(WallTime) -> Input) {
        let wall = WallTime(((1_000_000.0 + wall) * 1e6) as i64);
        self.pipeline
            .handle(Monotonic((timer * 1e6) as u64), input(wall));
        while let Some(Output::Summary {
            summary,
            log_checkpoint,
        }) = self.pipeline.poll_output()
        {
            self.out.push((*summary, log_checkpoint));
        }
    }

    fn read(&mut self, seconds: f64, metric: &str, value: Value) {
        let key = key(metric);
        self.at(seconds, |at| Input::Readings {
            at,
            readings: vec![Reading {
                key: key.clone(),
                value,
            }],
        });
    }

    fn values(&self, id: u32) -> Vec<Option<f64>> {
        let series = self.out.iter().flat_map(|(s, _)| s.series.iter());
        series
            .filter(|s| s.id == SeriesId(id))
            .flat_map(|s| s.values.clone())
            .collect()
    }
}

#[test]
fn names_are_repeated_within_five_minutes_at_any_pace() {
    for pace in [1, 2, 3] {
        let mut world = World::new();
        world.pipeline.pace(pace);
        for second in 0..620 {
            world.at(f64::from(second) + 0.1, Input::Clock);
            world.read(f64::from(second) + 0.2, "a", Value::Gauge(1.0));
        }
        let named = world.out.iter().filter(|(s, _)| !s.dictionary.is_empty());
        let named: Vec<i64> = named.map(|(s, _)| s.first_window.0).collect();
        assert!(named.len() >= 3, "{pace}: {named:?}");
        let apart = named.windows(2).map(|two| two[1] - two[0]);
        assert!(apart.max() <= Some(300), "{pace}: {named:?}");
    }
}

#[test]
fn a_renamed_series_keeps_its_id_and_one_that_joins_another_leaves_its_id_as_a_second_name() {
    let mut world = World::new();
    world.at(0.1, Input::Clock);
    world.read(0.2, "log.a", Value::Events(1.0));
    world.read(0.3, "log.b", Value::Events(2.0));
    world.at(2.5, Input::Clock);
    world.read(2.6, "log.a", Value::Events(4.0));
    let rename = |from: &str, to: &str| {
        let (from, to) = (key(from), key(to));
        move |_| {
            Input::Renamed(Renamed {
                from: from.clone(),
                to: to.clone(),
            })
        }
    };
    world.at(2.7, rename("log.a", "log.c"));
    world.at(2.7, rename("log.b", "log.c"));
    world.read(2.8, "log.c", Value::Events(8.0));
    world.at(4.5, Input::Clock);
    let named: Vec<(u32, String)> = world.out[1]
        .0
        .dictionary
        .iter()
        .map(|def| (def.id.0, def.key.to_string()))
        .collect();
    assert_eq!(named, [(0, "log.c".to_owned()), (1, "log.c".to_owned())]);
    assert_eq!(world.values(0), [Some(1.0), None, Some(12.0), None]);
    assert_eq!(world.values(1), [Some(2.0), None]);
}

#[test]
fn a_counter_becomes_a_rate_and_its_reset_is_dropped_and_counted() {
    let mut world = World::new();
    for (second, total, epoch) in [
        (0.1, 100.0, 1),
        (1.1, 130.0, 1),
        (2.1, 5.0, 2),
        (3.1, 11.0, 2),
    ] {
        world.read(second, "pg.commits", Value::Counter { total, epoch });
    }
    world.at(4.5, Input::Clock);
    assert_eq!(world.values(0), [None, Some(30.0), None, Some(6.0)]);
    assert_eq!(world.pipeline.counters().counter_resets, 1);
}

#[test]
fn a_counter_that_runs_backwards_is_a_reset_even_within_its_epoch() {
    let mut world = World::new();
    for (second, total) in [(0.1, 100.0), (1.1, 40.0), (2.1, 41.0)] {
        world.read(second, "pg.commits", Value::Counter { total, epoch: 1 });
    }
    world.at(4.5, Input::Clock);
    assert_eq!(world.values(0), [Some(1.0), None]);
}

#[test]
fn a_step_over_two_seconds_is_a_rate_per_second() {
    let mut world = World::new();
    world.read(
        0.0,
        "pg.commits",
        Value::Counter {
            total: 0.0,
            epoch: 1,
        },
    );
    world.read(
        2.0,
        "pg.commits",
        Value::Counter {
            total: 60.0,
            epoch: 1,
        },
    );
    world.at(4.5, Input::Clock);
    assert_eq!(world.values(0), [Some(30.0), None]);
}

#[test]
fn events_add_up_gauges_keep_the_last_and_what_was_not_read_is_missing() {
    let mut world = World::new();
    world.read(0.1, "log.errors", Value::Events(2.0));
    world.read(0.2, "log.errors", Value::Events(1.0));
    world.read(0.3, "pg.sessions", Value::Gauge(7.0));
    world.read(0.9, "pg.sessions", Value::Gauge(9.0));
    world.at(2.5, Input::Clock);
    assert_eq!(world.values(0), [Some(3.0), None]);
    assert_eq!(world.values(1), [Some(9.0), None]);
}

#[test]
fn what_is_not_finite_is_counted_and_left_out() {
    let mut world = World::new();
    world.read(0.1, "pg.sessions", Value::Gauge(f64::NAN));
    world.read(0.1, "pg.sessions", Value::Gauge(f64::INFINITY));
    world.at(2.5, Input::Clock);
    assert!(world.values(0).is_empty());
    assert_eq!(world.pipeline.counters().not_finite, 2);
}

#[test]
fn a_late_gauge_is_counted_and_a_late_event_still_counts() {
    let mut world = World::new();
    world.at(0.0, Input::Clock);
    world.at(2.5, Input::Clock);
    world.read(1.0, "pg.sessions", Value::Gauge(1.0));
    world.read(1.0, "log.errors", Value::Events(1.0));
    world.at(4.5, Input::Clock);
    assert_eq!(world.pipeline.counters().late, 1);
    assert_eq!(world.values(1), [Some(1.0), None]);
}

#[test]
fn names_facts_and_states_travel_first_with_their_values_and_again_later() {
    let mut world = World::new();
    let facts = NodeFacts {
        host: "db1".into(),
        ..NodeFacts::default()
    };
    world.at(0.0, |_| Input::Facts(Box::new(facts.clone())));
    world.at(0.0, |_| {
        Input::Status(SourceStatus {
            source: "host".into(),
            state: SourceState::Ok,
            dropped: 0,
            message: String::new(),
        })
    });
    for second in 0..400 {
        world.read(f64::from(second) + 0.1, "pg.sessions", Value::Gauge(1.0));
        world.at(f64::from(second) + 0.9, Input::Clock);
    }
    let with = |pick: fn(&ShardSummary) -> bool| {
        world
            .out
            .iter()
            .enumerate()
            .filter(|(_, (s, _))| pick(s))
            .map(|(i, _)| i)
            .collect::<Vec<_>>()
    };
    assert_eq!(with(|s| s.facts.is_some()), [0, 149]);
    assert_eq!(with(|s| !s.sources.is_empty())[..3], [0, 15, 30]);
    let named = with(|s| !s.dictionary.is_empty());
    assert_eq!(named[0], 0);
    assert!(
        named.windows(2).all(|two| two[1] - two[0] <= 150) && named.len() >= 2,
        "{named:?}"
    );
}

#[test]
fn a_log_checkpoint_travels_with_the_summary_that_covers_its_lines() {
    let mut world = World::new();
    world.read(0.5, "log.errors", Value::Events(1.0));
    world.at(0.6, |_| Input::LogCheckpoint(vec![1]));
    world.read(1.5, "log.errors", Value::Events(1.0));
    world.at(1.6, |_| Input::LogCheckpoint(vec![2]));
    world.read(2.1, "log.errors", Value::Events(1.0));
    world.at(2.2, |_| Input::LogCheckpoint(vec![3]));
    world.at(2.5, Input::Clock);
    assert_eq!(
        world.out.last().unwrap().1,
        Some(vec![2]),
        "window 2 is still open"
    );
    world.at(4.5, Input::Clock);
    assert_eq!(world.out.last().unwrap().1, Some(vec![3]));
}

#[test]
fn a_series_over_the_limit_is_counted_and_one_long_silent_makes_room() {
    let mut world = World::new();
    world.pipeline = Pipeline::new(Config {
        n_series_max: 1,
        ..Config::default()
    });
    world.read(0.1, "pg.sessions", Value::Gauge(1.0));
    world.read(0.2, "pg.commits", Value::Gauge(1.0));
    assert_eq!(world.pipeline.counters().series_over_limit, 1);
    for second in 0..700 {
        world.read(f64::from(second) + 0.3, "pg.commits", Value::Gauge(1.0));
        world.at(f64::from(second) + 0.9, Input::Clock);
    }
    assert_eq!(world.pipeline.n_series(), 1);
    assert!(
        !world.values(1).is_empty(),
        "the second series has taken the first one's place"
    );
}

#[test]
fn ids_start_anew_under_a_new_epoch_before_churn_uses_them_up() {
    let mut world = World::new();
    world.pipeline = Pipeline::new(Config {
        n_series_max: 200_000,
        ..Config::default()
    });
    for i in 0..70_000 {
        world.read(0.1, &format!("churn.{i}"), Value::Gauge(1.0));
    }
    world.at(2.5, Input::Clock);
    let summary = &world.out[0].0;
    assert_eq!(summary.dictionary_epoch, 2);
    assert_eq!(summary.dictionary.len(), 70_000);
    let named: Vec<_> = summary.dictionary.iter().map(|def| def.id).collect();
    let used: Vec<_> = summary.series.iter().map(|values| values.id).collect();
    assert_eq!(named, used);
}

#[test]
fn an_agent_that_starts_again_does_not_repeat_windows_of_its_last_life() {
    let mut world = World::new();
    let last = WindowIndex(1_000_003);
    world.pipeline = Pipeline::new(Config {
        last_window: Some(last),
        ..Config::default()
    });
    for tenth in 0..100 {
        world.at(f64::from(tenth) / 10.0, Input::Clock);
    }
    assert_eq!(world.out[0].0.first_window, WindowIndex(1_000_004));
}

proptest! {
    /// Summaries of changing length hold every window once, with its value, and all names within as many windows as before.
    #[test]
    fn prop_a_change_of_pace_loses_no_window_and_no_name(paces in proptest::collection::vec((1_u16..5, 1_u32..40), 1..8)) {
        let mut world = World::new();
        world.at(0.1, Input::Clock);
        let mut second = 0_u32;
        for (windows, seconds) in paces {
            world.pipeline.pace(windows);
            for _ in 0..seconds {
                world.read(f64::from(second) + 0.2, "a", Value::Gauge(f64::from(second)));
                second += 1;
                world.at(f64::from(second) + 0.3, Input::Clock);
            }
        }
        let mut next = world.out.first().map_or(WindowIndex(0), |(first, _)| first.first_window);
        for (summary, _) in &world.out {
            prop_assert_eq!(summary.first_window, next);
            next = next + i64::from(summary.n_windows);
        }
        let values: Vec<f64> = world.values(0).into_iter().flatten().collect();
        let expected: Vec<f64> = (0..values.len()).map(|n| n as f64).collect();
        prop_assert_eq!(&values, &expected);
        prop_assert!(values.len() + 5 > second as usize, "{} of {}", values.len(), second);
    }

    /// PI-1, under any clock: windows ascend, and a clock that stands after a jump gives windows again.
    #[test]
    fn prop_windows_never_repeat_whatever_the_clock_does(
        jumps in proptest::collection::vec((1_u32..60, -100_000_i32..100_000), 1..8),
    ) {
        let mut world = World::new();
        let (mut timer, mut skew) = (0.0, 0.0);
        for (seconds, jump) in jumps {
            let before = world.out.len();
            for _ in 0..seconds {
                timer += 1.0;
                world.with_clock(timer, timer + skew, Input::Clock);
            }
            prop_assert!(world.out.len() + 3 >= before + seconds as usize / 2, "no summaries for {} s", seconds);
            skew += f64::from(jump);
        }
        for two in world.out.windows(2) {
            let end = two[0].0.first_window + i64::from(two[0].0.n_windows);
            prop_assert!(two[1].0.first_window >= end);
        }
    }
}
