//! What is hot, on a real database: counted to the call, whoever is killed while it is counted.

use std::time::Duration;

use hsw_tests::testbed::Node;
use serde_json::Value;

use crate::protocol::runtime;
use crate::rig::{PASSWORD, Rig, kill, now_s, wait_for, watched};

/// Executes `sql` so many times, one after the other.
fn execute(node: &Node, sql: &str, n: usize) {
    let settings = format!(
        "host={} port={} user=app password={PASSWORD} dbname=postgres",
        node.address, node.port
    );
    runtime().block_on(async {
        let connected = tokio_postgres::connect(&settings, tokio_postgres::NoTls);
        let (client, connection) = connected.await.unwrap();
        let driver = tokio::spawn(connection);
        for _ in 0..n {
            client.simple_query(sql).await.unwrap();
        }
        drop(client);
        driver.await.unwrap().unwrap();
    });
}

/// Calls of the statement whose text begins so, since `from`.
fn calls(rig: &Rig, from: i64, text: &str) -> Option<f64> {
    let span = format!("@{from}..@{}", now_s() + 1);
    let answer = rig.hsw(&["hot", "--range", &span, "--limit", "200", "--json"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let answer = answer.json();
    let seconds = answer["to"].as_f64().unwrap() - answer["from"].as_f64().unwrap();
    let items = answer["items"].as_array().unwrap();
    let is_it = |item: &&Value| {
        item["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(text))
    };
    let rate = items.iter().find(is_it)?["rate"].as_f64().unwrap();
    Some((rate * seconds).round())
}

#[test]
fn what_is_hot_is_counted_to_the_call_through_a_killed_aggregator() {
    let rig = Rig::new(37);
    let database = rig.postgres();
    let extension = "SET log_min_duration_statement = -1; CREATE EXTENSION pg_stat_statements;";
    database.sql("postgres", extension).unwrap();
    // What the log tells of before the database's first look would count beside it.
    let silent = "ALTER SYSTEM SET log_min_duration_statement = -1;\nSELECT pg_reload_conf();";
    database.sql("postgres", silent).unwrap();
    rig.configure_aggregator("", "");
    rig.configure_agent("shard-1-a", &watched(&database), "");
    let began = now_s();
    let mut aggregator = rig.start_aggregator();
    let _agent = rig.start_agent("shard-1-a");
    rig.wait_connected("shard-1-a");

    // The first look is a base; from the second on every call counts, whatever the statement.
    let warm = "SELECT count(*) FROM pg_class WHERE relname = 'warm'";
    wait_for("calls are counted", || {
        execute(&database, warm, 5);
        std::thread::sleep(Duration::from_secs(1));
        calls(&rig, began, "select count(*) from pg_class where relname")
    });
    let from = now_s();
    execute(
        &database,
        "SELECT max(relpages) FROM pg_class WHERE relname = 'a'",
        1_500,
    );
    kill(&mut aggregator);
    execute(
        &database,
        "SELECT max(relpages) FROM pg_class WHERE relname = 'b'",
        1_500,
    );
    let _aggregator = rig.start_aggregator();
    rig.wait_connected("shard-1-a");
    wait_for("all calls have arrived", || {
        let counted = calls(&rig, from, "select max(relpages) from pg_class");
        counted.filter(|n| *n >= 3_000.0)
    });
    // Nothing is counted twice, however long one waits, neither now nor in what the store keeps.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        calls(&rig, from, "select max(relpages) from pg_class"),
        Some(3_000.0)
    );

    let shard = rig.get("/api/v1/shards")["shards"][0]["shard"].clone();
    let shard = shard.as_str().unwrap();
    let tenants = rig.hsw(&["hot", "--shard", shard, "--kind", "tenant"]);
    assert!(tenants.out.contains("postgres"), "{tenants:?}");
    let tables = rig.hsw(&["hot", "--kind", "table"]);
    assert_eq!(tables.code, 0, "{tables:?}");
}
