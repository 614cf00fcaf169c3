//! Each fault of the test bed does to a real shard what it says, and can be taken back.
//!
//! Needs root and PostgreSQL, takes six minutes, so it is run by hand:
//! `cargo test -p hsw-tests --test real_faults -- --ignored --nocapture`.
//! `HSW_FAULTS=crash,stopped` picks some. The printed rows are before/during figures of the clients and the server.

#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsw_tests::testbed::measure::{Felt, felt};
use hsw_tests::testbed::{Cluster, Fault, Node, Options};

const SHARD: usize = 2;
const CALM_S: u64 = 10;
const FAULT_S: u64 = 12;
const RECOVERY_S: u64 = 14;

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    commits: f64,
    deadlocks: f64,
    tuples_by_scan: f64,
    checkpoints: f64,
    temp_bytes: f64,
    wal_bytes: f64,
    throttled: f64,
}

fn counters(node: &Node) -> Option<Counters> {
    let sql = "SELECT xact_commit, deadlocks, temp_bytes, \
        (SELECT sum(seq_tup_read) FROM pg_stat_user_tables), (SELECT checkpoints_req FROM pg_stat_bgwriter), \
        (SELECT wal_bytes FROM pg_stat_wal) FROM pg_stat_database WHERE datname = current_database()";
    let row = node.sql("shop", sql).ok()?;
    let values: Vec<f64> = row
        .trim()
        .split('|')
        .map(|field| field.parse().unwrap())
        .collect();
    let stat = node
        .group
        .iter()
        .flat_map(|group| group.doors())
        .find_map(|door| {
            let text = std::fs::read_to_string(door.with_file_name("cpu.stat")).ok()?;
            text.lines()
                .find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok())
        });
    Some(Counters {
        commits: values[0],
        deadlocks: values[1],
        temp_bytes: values[2],
        tuples_by_scan: values[3],
        checkpoints: values[4],
        wal_bytes: values[5],
        throttled: stat.unwrap_or(0.0),
    })
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

struct Seen {
    calm: Felt,
    bad: Felt,
    after: Felt,
    neighbours_ms: (f64, f64),
    growth: Counters,
    new_login_refused: bool,
}

fn tenant(cluster: &Cluster, shard: usize, from: u64, to: u64) -> Felt {
    felt(cluster.dir(), &format!("load-tenant-{shard}"), from, to).unwrap()
}

fn login_refused(node: &Node) -> bool {
    let launch = node
        .pgbench_launch("probe", "probe", "app")
        .args(["-t", "1", "-S", "shop"]);
    launch
        .output(node.bed(), "")
        .is_err_and(|error| error.to_string().contains("connection"))
}

fn observe(cluster: &Cluster, fault: Fault) -> Seen {
    let node = &cluster.shards()[SHARD - 1];
    wait(CALM_S);
    let begun = now();
    let before = counters(node).unwrap();
    let injected = cluster.inject(fault, SHARD).unwrap();
    wait(FAULT_S);
    let halted = matches!(fault, Fault::Stopped | Fault::Frozen);
    let new_login_refused = fault == Fault::ConnectionStorm && login_refused(node);
    let ended = now();
    let mid = if halted { None } else { counters(node) };
    injected.heal().unwrap();
    let healed = now();
    let late = mid.or_else(|| counters(node)).unwrap();
    wait(RECOVERY_S);
    let neighbours = |from, to| {
        let all = (1..=4).filter(|shard| *shard != SHARD);
        all.map(|shard| tenant(cluster, shard, from, to).latency_ms_mean)
            .fold(0.0, f64::max)
    };
    Seen {
        calm: tenant(cluster, SHARD, begun - CALM_S + 1, begun),
        bad: tenant(cluster, SHARD, begun + 2, ended),
        after: tenant(cluster, SHARD, healed + RECOVERY_S - 7, healed + RECOVERY_S),
        neighbours_ms: (
            neighbours(begun - CALM_S + 1, begun),
            neighbours(begun + 2, ended),
        ),
        new_login_refused,
        growth: Counters {
            commits: late.commits - before.commits,
            deadlocks: late.deadlocks - before.deadlocks,
            temp_bytes: late.temp_bytes - before.temp_bytes,
            tuples_by_scan: late.tuples_by_scan - before.tuples_by_scan,
            checkpoints: late.checkpoints - before.checkpoints,
            wal_bytes: late.wal_bytes - before.wal_bytes,
            throttled: late.throttled - before.throttled,
        },
    }
}

fn acts(fault: Fault, seen: &Seen) -> bool {
    let Seen {
        calm, bad, growth, ..
    } = seen;
    let span = FAULT_S as f64;
    let slower = bad.latency_ms_mean / calm.latency_ms_mean;
    let starved = bad.per_second < 0.3 * calm.per_second;
    match fault {
        Fault::LockStorm | Fault::Stopped | Fault::Frozen => starved,
        Fault::CpuHog => (slower > 5.0 || starved) && growth.throttled > span,
        Fault::CpuQuota => (slower > 20.0 || starved) && growth.throttled > span,
        Fault::MissingIndex => growth.tuples_by_scan / span > 200_000.0,
        Fault::ConnectionStorm => seen.new_login_refused,
        Fault::CheckpointStorm => growth.checkpoints > span && growth.wal_bytes / span > 5e5,
        Fault::DiskHog => slower > 3.0 || starved,
        Fault::Deadlocks => growth.deadlocks > span / 3.0,
        Fault::SlowQuery => growth.temp_bytes > 1e7 && slower > 2.0,
        Fault::Crash => bad.per_second < 0.9 * calm.per_second,
        // Whoever intrudes takes care to be quiet.
        Fault::Exfiltration | Fault::Lateral | Fault::Escalation => slower < 3.0,
        Fault::LoadSurgeAll => growth.commits / span > 60.0 && slower < 10.0,
    }
}

#[test]
#[ignore = "needs root, PostgreSQL and six minutes"]
fn each_fault_does_to_its_shard_what_it_says_and_is_taken_back() {
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(
        parent.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let options = Options {
        subnet: 12,
        ..Options::new(parent.path().join("bed"))
    };
    let cluster = Cluster::start(options).unwrap();
    let picked = std::env::var("HSW_FAULTS").ok();
    let mut out = std::io::stdout().lock();
    let mut wrong = Vec::new();
    wait(5);
    for fault in Fault::ALL {
        if picked
            .as_ref()
            .is_some_and(|names| !names.split(',').any(|name| name == fault.name()))
        {
            continue;
        }
        let seen = observe(&cluster, fault);
        let name = fault.name();
        let (calm_ms, bad_ms) = seen.neighbours_ms;
        writeln!(
            out,
            "{name}\n  before {}\n  during {}\n  after  {}",
            seen.calm, seen.bad, seen.after
        )
        .unwrap();
        writeln!(
            out,
            "  neighbours {calm_ms:.1} -> {bad_ms:.1} ms; refused: {}; growth {:?}",
            seen.new_login_refused, seen.growth
        )
        .unwrap();
        if !acts(fault, &seen) {
            wrong.push(format!("{name} does not act"));
        }
        if seen.after.per_second < 0.6 * seen.calm.per_second {
            wrong.push(format!("{name} is not taken back"));
        }
    }
    cluster.stop().unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}
