//! kill -9 of either side at random moments under load: what was told is stored once, and only what was dead is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hsw_tests::testbed::Node;
use hsw_types::SeriesKey;
use serde_json::Value;

use crate::rig::{PASSWORD, Rig, kill, now_s, pause, stop, wait_for, watched};
use crate::store;

/// Windows at the end of an agent's life that were measured and not yet a summary on disk: a summary takes two windows,
/// a quarter of a second of grace, and the rest of a second.
const UNTOLD_S: i64 = 4;
/// From starting an agent to its first whole window, on a crowded machine.
const WAKING_S: i64 = 3;

/// Statements of which one in two fails, from several sessions, until dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Load {
    fn start(node: &Node) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..3).map(|_| {
            let stop = Arc::clone(&stop);
            let settings = format!(
                "host={} port={} user=app password={PASSWORD} dbname=postgres application_name=shop",
                node.address, node.port
            );
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(fail_often(&settings, &stop))
            })
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// Ends it and says how many statements failed.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|t| t.join().unwrap()).sum()
    }
}

async fn fail_often(settings: &str, stop: &AtomicBool) -> u64 {
    let (client, connection) = tokio_postgres::connect(settings, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut failed = 0;
    while !stop.load(Ordering::Relaxed) {
        client
            .simple_query("SELECT count(*) FROM generate_series(1, 2000)")
            .await
            .unwrap();
        failed += u64::from(client.simple_query("SELECT 1 / 0").await.is_err());
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    failed
}

/// Errors in the database's own log files, but for the agents' sessions.
fn errors_in_log(node: &Node) -> u64 {
    let mut n = 0;
    for file in std::fs::read_dir(node.log_dir()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let severity = record["error_severity"].as_str().unwrap();
            let is_ours = record["application_name"] == "hsw-agent";
            n += u64::from(matches!(severity, "ERROR" | "FATAL" | "PANIC") && !is_ours);
        }
    }
    n
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (high - low) * ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn whoever_is_killed_at_whatever_moment_every_window_and_every_error_is_stored_once() {
    let seed = std::env::var("HSW_SEED").map_or_else(|_| 20_26, |text| text.parse().unwrap());
    let mut random = Random(seed);
    let rig = Rig::new(31);
    let database = rig.postgres();
    rig.configure_aggregator("", "");
    let logs = format!(
        "[log]\npaths = [\"{}/*.json\"]\nstart = \"beginning\"",
        database.log_dir().display()
    );
    for node in ["shard-1-a", "shard-2-a"] {
        rig.configure_agent(node, &watched(&database), &logs);
    }
    let mut aggregator = rig.start_aggregator();
    let mut mortal = rig.start_agent("shard-1-a");
    let steady = rig.start_agent("shard-2-a");
    rig.wait_connected("shard-1-a");
    rig.wait_connected("shard-2-a");
    let load = Load::start(&database);

    let mut dead = Vec::new();
    for _ in 0..4 {
        pause(random.between(0.5, 5.0));
        let died = now_s();
        kill(&mut mortal);
        let with_aggregator = random.between(0.0, 1.0) < 0.3;
        if with_aggregator {
            kill(&mut aggregator);
        }
        pause(random.between(0.0, 2.0));
        mortal = rig.start_agent("shard-1-a");
        dead.push((died, now_s()));
        pause(random.between(0.0, 3.0));
        kill(&mut aggregator);
        pause(random.between(0.0, 3.0));
        aggregator = rig.start_aggregator();
    }
    let n_failed = load.end();
    rig.wait_connected("shard-1-a");
    // The last lines are read, their windows closed and shipped.
    pause(5.0);
    wait_for("both spools are empty", || {
        ["shard-1-a", "shard-2-a"]
            .iter()
            .all(|node| {
                rig.agent(node)["spool_summaries"]
                    .as_u64()
                    .is_some_and(|n| n <= 1)
            })
            .then_some(())
    });
    stop(mortal);
    stop(steady);
    stop(aggregator);

    let rows = store::read(&rig.data_dir());
    assert_eq!(
        store::missing_windows(&rows, "shard-2-a"),
        Vec::<i64>::new(),
        "seed {seed}: only the aggregator died, so nothing may be missing"
    );
    let missing = store::missing_windows(&rows, "shard-1-a");
    assert!(
        !missing.is_empty(),
        "an agent that is dead measures nothing"
    );
    let is_excused = |window: &i64| {
        dead.iter()
            .any(|(died, back)| (died - UNTOLD_S..=back + WAKING_S).contains(window))
    };
    let unexcused: Vec<_> = missing.iter().filter(|w| !is_excused(w)).collect();
    assert!(
        unexcused.is_empty(),
        "seed {seed}: {unexcused:?}, dead {dead:?}"
    );
    let written = errors_in_log(&database);
    assert!(
        written >= n_failed && n_failed > 200,
        "{n_failed} of {written}"
    );
    for node in ["shard-1-a", "shard-2-a"] {
        let counted = store::total(&rows, node, &SeriesKey::node("log.errors"));
        assert_eq!(
            counted.round() as u64,
            written,
            "seed {seed}: errors that {node} told"
        );
    }
}
