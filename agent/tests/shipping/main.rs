//! The spool and the shipper against an aggregator that breaks, refuses, babbles and vanishes.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod fake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fake::{Fake, Manners, identity};
use hsw_agent::clock::Clock;
use hsw_agent::shipper::{Config, Shipper, Statistics};
use hsw_agent::spool::{self, Spool};
use hsw_shell::Shutdown;
use hsw_shell::tls::Identity;
use hsw_types::{SeriesId, SeriesValues, ShardSummary, WindowIndex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

fn summary(first_window: i64, n_series: u32) -> Vec<u8> {
    let series = (0..n_series)
        .map(|id| SeriesValues {
            id: SeriesId(id),
            values: vec![Some(f64::from(id) * 1.37), Some(first_window as f64 / 3.0)],
        })
        .collect();
    hsw_wire::encode_summary(&ShardSummary {
        first_window: WindowIndex(first_window),
        n_windows: 2,
        dictionary_epoch: 1,
        facts: None,
        dictionary: Vec::new(),
        series,
        latencies: Vec::new(),
        log_samples: Vec::new(),
        sources: Vec::new(),
        hot: Vec::new(),
    })
    .unwrap()
}

fn open(dir: &Path) -> Spool {
    let (spool, _) = Spool::open(&dir.join("spool"), spool::Config::default()).unwrap();
    spool
}

fn append(spool: &Spool, windows: std::ops::Range<i64>) {
    for first in windows.step_by(2) {
        spool.append(WindowIndex(first + 1), summary(first, 3), None);
    }
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    statistics: watch::Receiver<Statistics>,
}

fn ship(spool: &Spool, identity: &Arc<Identity>, address: &str) -> Running {
    let config = Config {
        address: address.to_owned(),
        name: "aggregator".to_owned(),
        summaries_per_second_max: 2000,
    };
    let clock = Clock::start();
    let (_, line) = hsw_agent::triggers::line(clock, std::path::PathBuf::new());
    let (shipper, statistics) =
        Shipper::new(config, Arc::clone(identity), spool.clone(), clock, line);
    let (stop, shutdown) = Shutdown::manual();
    Running {
        stop,
        task: tokio::spawn(shipper.run(shutdown)),
        statistics,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    async fn until(&mut self, what: impl FnMut(&Statistics) -> bool) -> Statistics {
        timeout(PATIENCE, self.statistics.wait_for(what))
            .await
            .expect("in time")
            .unwrap()
            .clone()
    }
}

async fn until_empty(spool: &Spool) {
    spool.settled().await;
    let mut state = spool.watch();
    timeout(PATIENCE, state.wait_for(|s| s.unacked_summaries == 0))
        .await
        .expect("everything acknowledged in time")
        .unwrap();
}

#[tokio::test]
async fn lost_acknowledgements_and_broken_connections_leave_each_window_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = identity(dir.path(), "aggregator");
    let client = identity(dir.path(), "shard-1-a");
    let manners = Manners {
        break_after: Some(7),
        ..Manners::default()
    };
    let fake = Fake::start(&server, manners);
    let spool = open(dir.path());
    append(&spool, 1000..1040);
    let running = ship(&spool, &client, &fake.address.to_string());
    sleep(Duration::from_millis(300)).await;
    append(&spool, 1040..1060);
    until_empty(&spool).await;
    running.stop().await;
    let store = fake.store.lock().unwrap();
    assert_eq!(store.windows, (1000..1060).collect::<Vec<_>>());
    assert!(store.hellos.len() >= 4, "30 summaries, 7 a connection");
    assert_eq!(store.hellos[0].0.as_str(), "shard-1-a");
    assert_eq!(store.overlaps, 0);
}

#[test]
fn a_killed_agent_ships_the_rest_after_its_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server_runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = identity(dir.path(), "aggregator");
    let client = identity(dir.path(), "shard-1-a");
    let fake = server_runtime.block_on(async { Fake::start(&server, Manners::default()) });
    let address = fake.address.to_string();

    for life in 0..4i64 {
        let agent = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        agent.block_on(async {
            let spool = open(dir.path());
            let from = 1000 + life * 100;
            append(&spool, from..from + 100);
            spool.settled().await;
            let mut running = ship(&spool, &client, &address);
            if life < 3 {
                // Somewhere in the middle.
                running.until(|s| s.acked as i64 > life * 50 + 5).await;
            } else {
                until_empty(&spool).await;
                running.stop().await;
            }
        });
        // The runtime is dropped with whatever was under way: no goodbye, no last position.
        drop(agent);
    }
    let store = fake.store.lock().unwrap();
    assert_eq!(store.windows, (1000..1400).collect::<Vec<_>>());
    assert_eq!(store.goodbyes, 1);
}

#[tokio::test]
async fn an_aggregator_that_comes_back_gets_what_waited() {
    let dir = tempfile::tempdir().unwrap();
    let server = identity(dir.path(), "aggregator");
    let client = identity(dir.path(), "shard-1-a");
    let fake = Fake::start(&server, Manners::default());
    let at = fake.address;
    let spool = open(dir.path());
    let mut running = ship(&spool, &client, &at.to_string());
    running.until(|s| s.connected).await;
    append(&spool, 1000..1010);
    until_empty(&spool).await;
    let store = fake.stop().await;
    running.until(|s| !s.connected).await;
    append(&spool, 1010..1030);
    let fake = Fake::start_with(&server, store, at);
    until_empty(&spool).await;
    running.stop().await;
    let store = fake.store.lock().unwrap();
    assert_eq!(store.windows, (1000..1030).collect::<Vec<_>>());
    assert!(!store.heartbeats.is_empty());
    assert_eq!(store.goodbyes, 1);
}

async fn trouble_with(manners: Manners, is_foreign: bool) -> String {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let server = identity(dir.path(), "aggregator");
    let client = if is_foreign {
        // Its own certificate is strange to the aggregator, yet it trusts the aggregator's authority.
        let stranger = identity(other.path(), "shard-1-a");
        drop(stranger);
        Arc::new(
            Identity::load(
                &other.path().join("shard-1-a.crt"),
                &other.path().join("shard-1-a.key"),
                &dir.path().join("ca.crt"),
            )
            .unwrap(),
        )
    } else {
        identity(dir.path(), "shard-1-a")
    };
    let fake = Fake::start(&server, manners);
    let spool = open(dir.path());
    append(&spool, 1000..1010);
    let mut running = ship(&spool, &client, &fake.address.to_string());
    let statistics = running.until(|s| s.trouble.is_some()).await;
    assert!(!statistics.connected);
    spool.settled().await;
    assert_eq!(spool.state().unacked_summaries, 5, "nothing is lost");
    running.stop().await;
    assert!(fake.store.lock().unwrap().windows.is_empty());
    statistics.trouble.unwrap()
}

#[tokio::test]
async fn bad_days_are_told_in_one_line_with_a_remedy() {
    let refuse = Manners {
        refuse: true,
        ..Manners::default()
    };
    let babble = Manners {
        babble: true,
        ..Manners::default()
    };
    for (manners, is_foreign, words) in [
        (refuse, false, "shard-1-a is not in the shard map"),
        (babble, false, "malformed"),
        (Manners::default(), true, "refuses our certificate"),
    ] {
        let why = trouble_with(manners, is_foreign).await;
        assert!(why.contains(words) && !why.contains('\n'), "{why}");
    }
}

#[tokio::test]
async fn an_aggregator_that_is_an_impostor_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let neighbour = identity(dir.path(), "shard-2-a");
    let client = identity(dir.path(), "shard-1-a");
    let fake = Fake::start(&neighbour, Manners::default());
    let spool = open(dir.path());
    append(&spool, 1000..1002);
    let mut running = ship(&spool, &client, &fake.address.to_string());
    let why = running
        .until(|s| s.trouble.is_some())
        .await
        .trouble
        .unwrap();
    assert!(why.contains("aggregator.name"), "{why}");
    running.stop().await;
    assert!(fake.store.lock().unwrap().hellos.is_empty());
}

#[tokio::test]
async fn a_spool_that_was_set_back_begins_a_new_incarnation_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = identity(dir.path(), "aggregator");
    let client = identity(dir.path(), "shard-1-a");
    let manners = Manners {
        pretend: Some(500),
        ..Manners::default()
    };
    let fake = Fake::start(&server, manners);
    let spool = open(dir.path());
    append(&spool, 1000..1020);
    spool.settled().await;
    let before = spool.state().incarnation;
    let running = ship(&spool, &client, &fake.address.to_string());
    until_empty(&spool).await;
    running.stop().await;
    assert_ne!(spool.state().incarnation, before);
    let store = fake.store.lock().unwrap();
    assert_eq!(store.windows, (1000..1020).collect::<Vec<_>>());
    assert_eq!(store.hellos.len(), 2);
}

/// Twenty seconds of ordinary traffic, printed; run by hand with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "measures for twenty seconds"]
#[allow(clippy::print_stdout, reason = "a measurement")]
async fn ordinary_traffic_stays_below_two_kilobytes_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let server = identity(dir.path(), "aggregator");
    let client = identity(dir.path(), "shard-1-a");
    let fake = Fake::start(&server, Manners::default());
    let spool = open(dir.path());
    let mut running = ship(&spool, &client, &fake.address.to_string());
    running.until(|s| s.connected).await;
    let mut payload_bytes = 0;
    sleep(Duration::from_millis(5200)).await;
    let before = running.until(|s| s.wire_bytes.0 > 0).await;
    for i in 0..10 {
        let payload = summary(1000 + 2 * i, 160);
        payload_bytes += payload.len();
        spool.append(WindowIndex(1001 + 2 * i), payload, None);
        sleep(Duration::from_secs(2)).await;
    }
    let after = running.until(|s| s.wire_bytes.0 > 0).await;
    let sent = after.wire_bytes.0 - before.wire_bytes.0;
    println!(
        "payload {payload_bytes} B, sent {sent} B in {} datagrams, received {} B in {} datagrams, 20 s",
        after.wire_datagrams.0 - before.wire_datagrams.0,
        after.wire_bytes.1 - before.wire_bytes.1,
        after.wire_datagrams.1 - before.wire_datagrams.1,
    );
    let overhead = sent as f64 / payload_bytes as f64;
    assert!(overhead < 1.25, "{overhead}");
    running.stop().await;
}
