//! Kinds of statements: limits, literals, changed plans.

use super::*;

fn table(n_queries: usize, n_told: usize) -> QueryTable {
    QueryTable::new(QueryLimits {
        n_queries,
        n_told,
        n_durations: 1_000,
    })
}

fn record(message: &str) -> LogRecord {
    LogRecord::plain(message)
}

fn told(table: &mut QueryTable) -> BTreeMap<String, f64> {
    let mut readings = Vec::new();
    table.tick(&mut readings);
    crate::parse::by_name(&readings)
}

fn plan(node: &str) -> LogRecord {
    record(&format!(
        "duration: 5.0 ms  plan:\nQuery Text: select * from t where id = 5\n\
         {node}  (cost=0.29..8.30 rows=1 width=4)\n  Filter: (name = 'secret'::text)"
    ))
}

const INDEX: &str = "Index Scan using t_pkey on t";
const SEQUENTIAL: &str = "Seq Scan on t";

#[test]
fn durations_go_to_their_kind_and_literals_nowhere() {
    let mut table = table(10, 10);
    table.record(
        WallTime(1),
        &record("duration: 8.5 ms  statement: select 'secret' from t where id = 77"),
    );
    let mut failed = record("division by zero");
    failed.severity = Severity::Error;
    failed.set_statement("select 1 / 0 from t");
    table.record(WallTime(1), &failed);
    let mut slow = record("slow statement");
    slow.set_statement("SELECT * FROM `t` WHERE id IN (1,2) LIMIT 5");
    slow.duration_ms = Some(12.0);
    slow.rows_examined = Some(900);
    table.record(WallTime(1), &slow);
    let told = told(&mut table);
    assert_eq!(
        told["query.latency_ms{select $1 from t where id = $2}"],
        8.5
    );
    assert_eq!(told["query.errors{select $1 / $2 from t}"], 1.0);
    let mysql = "select * from `t` where id in(?+) limit ?";
    assert_eq!(told[&format!("query.latency_ms{{{mysql}}}")], 12.0);
    assert_eq!(told[&format!("query.rows_examined{{{mysql}}}")], 900.0);
    assert!(
        !told
            .keys()
            .any(|name| name.contains("secret") || name.contains("77"))
    );
}

#[test]
fn kinds_over_the_limits_share_one_series_until_idle_ones_give_way() {
    let mut table = table(2, 1);
    for name in ["a", "b", "c"] {
        table.record(
            WallTime(1),
            &record(&format!("duration: 3.0 ms  statement: select {name}")),
        );
    }
    table.record(
        WallTime(1),
        &record("duration: 1.0 ms  statement: select a"),
    );
    let mut readings = Vec::new();
    table.tick(&mut readings);
    let of = |name: &str| {
        readings
            .iter()
            .filter(|r| r.key.to_string() == name)
            .count()
    };
    assert_eq!(of("query.latency_ms{select a}"), 2);
    assert_eq!(of("query.latency_ms{<other queries>}"), 2);
    assert_eq!(table.counters().over_limit, 1);
    for _ in 0..IDLE_TICKS {
        told(&mut table);
    }
    table.record(
        WallTime(1),
        &record("duration: 3.0 ms  statement: select c"),
    );
    assert_eq!(told(&mut table)["query.latency_ms{select c}"], 3.0);
}

#[test]
fn a_changed_plan_is_told_once_and_flapping_is_not() {
    let mut table = table(10, 10);
    let changes = |table: &mut QueryTable| {
        let told = told(table);
        told.iter()
            .find(|(name, _)| name.starts_with("query.plan_changes"))
            .map(|(_, n)| *n)
    };
    table.record(WallTime(1), &plan(INDEX));
    table.record(WallTime(2), &plan(INDEX));
    assert!(table.take_samples().is_empty());
    table.record(WallTime(3), &plan(SEQUENTIAL));
    let samples = table.take_samples();
    assert_eq!(samples.len(), 1);
    assert_eq!(
        (samples[0].severity.as_str(), samples[0].text.as_str()),
        (
            "PLAN",
            "plan of `select * from t where id = $1` changed: Index Scan t_pkey -> Seq Scan t"
        )
    );
    assert_eq!(changes(&mut table), Some(1.0));
    for _ in 0..5 {
        table.record(WallTime(4), &plan(INDEX));
        table.record(WallTime(4), &plan(SEQUENTIAL));
    }
    assert!(table.take_samples().is_empty());
    assert_eq!(changes(&mut table), None);
    for _ in 0..SHAPE_KNOWN_TICKS {
        table.tick(&mut Vec::new());
    }
    table.record(WallTime(5), &plan(INDEX));
    assert_eq!(
        changes(&mut table),
        Some(1.0),
        "not seen for an hour: a change again"
    );
    table.record(
        WallTime(5),
        &record("duration: 5 ms  plan:\nQuery Text: \"select 1\"\nPlan:\n"),
    );
    assert_eq!(table.counters().plans_unread, 1);
}
