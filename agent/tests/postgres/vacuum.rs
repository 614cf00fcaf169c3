//! How overdue a vacuum is, as a real server counts: by its settings, or by those of the table.

use std::time::Duration;

use hsw_types::Value;

use crate::harness::{Agent, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_most_in_need_of_a_vacuum_is_told_by_its_own_parameters_and_a_vacuum_ends_it() {
    let Some(server) = Server::start("127.0.71.10", 27_110, "autovacuum=off") else {
        return;
    };
    server.sql(
        "shop",
        "CREATE TABLE usual AS SELECT generate_series(1, 1000) AS a; \
         CREATE TABLE own (a int) WITH (autovacuum_enabled = false, autovacuum_vacuum_threshold = 10, autovacuum_vacuum_scale_factor = 0.09); \
         INSERT INTO own SELECT generate_series(1, 1000); VACUUM usual; VACUUM own",
    );
    let mut agent = Agent::start(server.config("hsw", "right"));
    for (change, overdue) in [
        ("SELECT 1", 0.0),
        // 1,000 dead rows against 50 + 0.2 · 1,000.
        ("UPDATE usual SET a = a + 1", 4.0),
        // Against 10 + 0.09 · 1,000.
        ("UPDATE own SET a = a + 1", 10.0),
        ("VACUUM own", 4.0),
        ("VACUUM usual", 0.0),
    ] {
        server.sql("shop", change);
        agent.said.clear();
        let is_so = |agent: &Agent| matches!(agent.value("pg.vacuum_overdue"), Some(Value::Gauge(told)) if (told - overdue).abs() < 1e-9);
        assert!(
            agent.listen(Duration::from_secs(6), is_so).await,
            "{change}: {:?}",
            agent.value("pg.vacuum_overdue")
        );
    }
    agent.stop().await;
}
