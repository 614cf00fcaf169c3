//! Tests of `collect`.

use super::*;
use hsw_types::Value;

fn collector() -> Collector {
    Collector {
        started: 1e9,
        n_slots: 100.0,
        sees_all: true,
        ..Collector::default()
    }
}

fn value(collector: &Collector, shown: &str) -> Option<Value> {
    collector
        .readings
        .iter()
        .rev()
        .find(|r| r.key.to_string() == shown)
        .map(|r| r.value)
}

fn total(commits: f64, reset: f64) -> Line {
    let mut numbers = [0.0; 16];
    numbers[0] = commits;
    numbers[14] = reset;
    Line::new("total", &[], &numbers)
}

fn wal(in_recovery: f64) -> Line {
    Line::new("wal", &[], &[in_recovery, 5e9])
}

#[test]
fn own_transactions_are_left_out_and_commits_never_run_backwards() {
    let mut collector = collector();
    collector.own_transactions("shop", 3);
    collector.vital(&[total(103.0, 0.0)]);
    let Some(Value::Counter {
        total: first,
        epoch,
    }) = value(&collector, "pg.commits")
    else {
        panic!()
    };
    assert_eq!(first, 100.0);
    collector.own_transactions("shop", 5);
    collector.vital(&[total(104.0, 0.0)]);
    assert_eq!(
        value(&collector, "pg.commits"),
        Some(Value::Counter {
            total: 100.0,
            epoch
        })
    );
}

#[test]
fn after_a_reset_the_agents_earlier_transactions_are_not_left_out_again() {
    let mut collector = collector();
    collector.own_transactions("shop", 500);
    collector.vital(&[total(1000.0, 1.0)]);
    collector.vital(&[total(0.0, 2.0)]);
    collector.own_transactions("shop", 2);
    collector.vital(&[total(12.0, 2.0)]);
    let Some(Value::Counter { total, .. }) = value(&collector, "pg.commits") else {
        panic!()
    };
    assert_eq!(total, 10.0);
}

#[test]
fn a_statistics_reset_a_restart_and_a_failover_each_change_the_epoch() {
    let mut epochs = std::collections::BTreeSet::new();
    for (started, in_recovery, reset) in [
        (1.0, 0.0, 0.0),
        (1.0, 0.0, 9.0),
        (2.0, 0.0, 0.0),
        (1.0, 1.0, 0.0),
    ] {
        let mut collector = Collector {
            started,
            ..collector()
        };
        collector.vital(&[wal(in_recovery), total(1.0, reset)]);
        let Some(Value::Counter { epoch, .. }) = value(&collector, "pg.commits") else {
            panic!()
        };
        epochs.insert(epoch);
    }
    assert_eq!(epochs.len(), 4);
}

#[test]
fn what_the_role_may_not_see_is_left_out_not_zero() {
    let activity = Line::new("activity", &[], &[0.0; 13]);
    let mut blind = Collector {
        sees_all: false,
        ..collector()
    };
    blind.vital(&[activity.clone(), wal(0.0)]);
    assert_eq!(value(&blind, "pg.sessions"), None);
    assert!(value(&blind, "pg.wal_bytes").is_some());
    let mut seeing = collector();
    seeing.vital(&[activity, wal(0.0)]);
    assert_eq!(value(&seeing, "pg.sessions"), Some(Value::Gauge(0.0)));
}

#[test]
fn a_wait_class_is_said_from_its_first_waiter_on_and_then_down_to_zero() {
    let mut collector = collector();
    let mut numbers = [0.0; 13];
    collector.vital(&[Line::new("activity", &[], &numbers)]);
    assert_eq!(value(&collector, "pg.sessions_waiting{IO}"), None);
    numbers[7] = 2.0;
    numbers[12] = 4.0;
    collector.vital(&[Line::new("activity", &[], &numbers)]);
    assert_eq!(
        value(&collector, "pg.sessions_waiting{IO}"),
        Some(Value::Gauge(2.0))
    );
    assert_eq!(
        value(&collector, "pg.sessions_waiting"),
        Some(Value::Gauge(2.0))
    );
    collector.vital(&[Line::new("activity", &[], &[0.0; 13])]);
    assert_eq!(
        value(&collector, "pg.sessions_waiting{IO}"),
        Some(Value::Gauge(0.0))
    );
}

#[test]
fn the_mean_is_of_the_calls_since_the_last_look_and_absent_without_any() {
    let mut collector = collector();
    let at = |calls, ms, reset| [Line::new("statements", &[], &[calls, ms, reset])];
    collector.take("statements", &at(100.0, 50.0, 1.0), "shop", true, 10);
    collector.take("statements", &at(100.0, 50.0, 1.0), "shop", true, 10);
    assert_eq!(value(&collector, "pg.statement_mean_ms"), None);
    collector.take("statements", &at(110.0, 90.0, 1.0), "shop", true, 10);
    assert_eq!(
        value(&collector, "pg.statement_mean_ms"),
        Some(Value::Gauge(4.0))
    );
    collector.readings.clear();
    collector.take("statements", &at(120.0, 95.0, 2.0), "shop", true, 10);
    assert_eq!(value(&collector, "pg.statement_mean_ms"), None);
}

#[test]
fn an_overdue_vacuum_is_said_by_a_primary_and_not_by_a_standby() {
    let mut collector = collector();
    let totals = [Line::new(
        "total",
        &["shop"],
        &[0.0, 0.0, 0.0, 700.0, 1.0, 3.5],
    )];
    collector.take("tables", &totals, "shop", true, 10);
    assert_eq!(
        value(&collector, "pg.vacuum_overdue"),
        Some(Value::Gauge(3.5))
    );
    collector.readings.clear();
    collector.in_recovery = true;
    collector.take("tables", &totals, "shop", true, 10);
    assert_eq!(value(&collector, "pg.vacuum_overdue"), None);
}

#[test]
fn clients_that_differ_only_in_digits_are_one_edge() {
    let mut collector = collector();
    let line = |application: &str, n| {
        Line::new(
            "edge",
            &["10.0.0.1", "app", application, "shop"],
            &[n, 1.0, 5.0],
        )
    };
    collector.take(
        "edges",
        &[line("web-1", 2.0), line("web-22", 2.0)],
        "shop",
        true,
        10,
    );
    assert_eq!(
        value(&collector, "edge.sessions{10.0.0.1 app@shop web-#}"),
        Some(Value::Gauge(4.0))
    );
    assert_eq!(collector.n_left_out, 1);
}

#[test]
fn a_foreign_server_is_an_edge_with_its_port() {
    let mut collector = collector();
    let line = Line::new("server", &["s1", "10.0.0.2", "6001", "shop"], &[]);
    collector.take("foreign", &[line], "shop", true, 10);
    let reading = collector.readings.last().unwrap();
    let hsw_types::Subject::Edge(found) = &reading.key.subject else {
        panic!()
    };
    assert_eq!(
        (found.kind, found.peer.as_str(), found.port),
        (EdgeKind::ForeignServer, "10.0.0.2", 6001)
    );
}

#[test]
fn who_may_act_as_whom_is_an_edge_that_ends_with_a_zero() {
    let mut collector = collector();
    let line = Line::new("member", &["reports", "dba"], &[]);
    collector.take("members", &[line], "shop", true, 10);
    let name = "edge.sessions{dba reports@ }";
    assert_eq!(value(&collector, name), Some(Value::Gauge(1.0)));
    collector.readings.clear();
    collector.take("members", &[], "shop", true, 10);
    assert_eq!(value(&collector, name), Some(Value::Gauge(0.0)));
}

#[test]
fn every_metric_is_in_the_catalogue() {
    for metric in DATABASE.into_iter().chain([
        "pg.commits",
        "pg.agent_query_ms",
        "pg.xmin_age",
        "pg.vacuum_overdue",
    ]) {
        assert!(hsw_types::metric_spec(metric).is_some(), "{metric}");
    }
}
