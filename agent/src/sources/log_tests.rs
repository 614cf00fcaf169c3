//! The log source against real files.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Instant;

use hsw_tail::Pattern;
use hsw_types::Value;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::sources::{SourceEvent, log};

fn settings(destination: &str) -> DatabaseSettings {
    DatabaseSettings {
        data_directory: "/data".to_owned(),
        log_directory: "log".to_owned(),
        log_filename: "postgresql-%Y-%m-%d_%H%M%S.log".to_owned(),
        log_destination: destination.to_owned(),
        log_line_prefix: "%m [%p] ".to_owned(),
        logging_collector: true,
        ..DatabaseSettings::default()
    }
}

#[test]
fn of_several_formats_the_best_one_is_followed_and_only_that() {
    let config = Config::default();
    for (destination, format, path) in [
        (
            "stderr,csvlog,jsonlog",
            Format::Jsonlog,
            "/data/log/postgresql-*-*-*_*.json",
        ),
        (
            "csvlog, stderr",
            Format::Csvlog,
            "/data/log/postgresql-*-*-*_*.csv",
        ),
        ("stderr", Format::Stderr, "/data/log/postgresql-*-*-*_*.log"),
    ] {
        let plan = plan(&config, Some(&settings(destination)));
        let paths: Vec<_> = plan.patterns.iter().map(Pattern::path).collect();
        assert_eq!((plan.format, paths), (format, vec![PathBuf::from(path)]));
    }
    let nowhere = plan(&config, Some(&settings("syslog")));
    assert!(nowhere.patterns.is_empty() && nowhere.problem.is_some());
    let unknown = plan(&config, None);
    assert!(unknown.problem.is_some());
}

#[test]
fn a_misspelt_key_is_refused() {
    assert!(toml::from_str::<Config>("paths = [\"/x/y.log\"]\nformat = \"jsonlog\"").is_ok());
    assert!(toml::from_str::<Config>("pahts = []").is_err());
}

fn line(n: usize) -> String {
    format!(
        "{{\"timestamp\":\"2026-11-20 17:50:48.{:03} UTC\",\"user\":\"app\",\"pid\":7,\"error_severity\":\"ERROR\",\"state_code\":\"23505\",\"message\":\"duplicate key {n}\"}}\n",
        n % 1000
    )
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn errors(round: &Round) -> Option<f64> {
    let found = round
        .readings
        .iter()
        .find(|r| r.key.metric == "log.errors")?;
    match found.value {
        Value::Events(n) => Some(n),
        _ => None,
    }
}

fn config_for(path: &Path) -> Config {
    Config {
        paths: vec![path.display().to_string()],
        start: Start::Beginning,
        ..Config::default()
    }
}

#[test]
fn a_crash_reads_again_what_no_durable_checkpoint_covers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pg.json");
    append(&path, &(line(1) + &line(2)));
    let (mut reader, _) = Reader::new(config_for(&path), None);
    let first = reader.round(Monotonic(0), None, false);
    assert_eq!((first.state, errors(&first)), (SourceState::Ok, Some(2.0)));
    append(&path, &line(3));
    let second = reader.round(Monotonic(1_000_000), None, false);
    assert_eq!(errors(&second), Some(1.0));
    let quiet = reader.round(Monotonic(2_000_000), None, false);
    assert_eq!((errors(&quiet), quiet.checkpoint), (Some(0.0), None));
    let (mut reader, refused) = Reader::new(config_for(&path), first.checkpoint);
    assert_eq!(refused, None);
    assert_eq!(errors(&reader.round(Monotonic(0), None, false)), Some(1.0));
}

#[test]
fn a_storm_is_counted_by_severity_where_it_cannot_be_parsed_and_some_errors_are_parsed_all_the_same()
 {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pg.json");
    let text: String = (0..500).map(line).collect();
    append(&path, &text);
    let config = Config {
        lines_per_second_max: 100,
        ..config_for(&path)
    };
    let (mut reader, _) = Reader::new(config, None);
    let round = reader.round(Monotonic(0), None, false);
    // A hundred lines, and ten errors more.
    assert_eq!((errors(&round), round.dropped), (Some(500.0), 390));
}

#[test]
fn files_of_several_systems_side_by_side_are_each_read_as_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    append(
        &at("mysqld.log"),
        "2026-11-20T17:50:48.1Z 7 [ERROR] [MY-010584] [Repl] x\nof two lines\n",
    );
    append(
        &at("mysql-slow.log"),
        "# Time: 2026-11-20T17:50:48.1Z\n# User@Host: a[a] @ b []\n# Query_time: 2.5\nselect 'secret';\n",
    );
    append(&at("redis.log"), "7:M 20 Nov 2026 17:50:48.1 # x\n");
    let config = Config {
        paths: vec![at("*.log").display().to_string()],
        ..config_for(&at("x"))
    };
    let (mut reader, _) = Reader::new(config, None);
    let first = reader.round(Monotonic(0), None, false);
    // The last record of each file is complete when nothing more came.
    let second = reader.round(Monotonic(1_000_000), None, false);
    let readings: Vec<_> = first.readings.iter().chain(&second.readings).collect();
    let total = |name: &str| -> f64 {
        let of_name = readings.iter().filter(|r| r.key.to_string() == name);
        of_name
            .map(|r| match r.value {
                Value::Events(n) | Value::LatencyMs(n) => n,
                _ => 0.0,
            })
            .sum()
    };
    assert_eq!(total("log.errors"), 1.0);
    assert_eq!(total("log.lines{WARNING}"), 1.0);
    assert_eq!(total("log.duration_ms"), 2_500.0);
    assert_eq!(total("log.template{slow statement}"), 1.0);
    assert!(
        readings
            .iter()
            .all(|r| !r.key.to_string().contains("secret"))
    );
    assert_eq!(second.dropped, 0);
}

#[test]
fn an_absent_log_is_unknown_not_zero() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["pg.json", "no/such/directory/pg.json"] {
        let (mut reader, _) = Reader::new(config_for(&directory.path().join(path)), None);
        let round = reader.round(Monotonic(0), None, false);
        assert_eq!(round.state, SourceState::Absent);
        assert!(round.readings.is_empty() && round.checkpoint.is_none());
        assert!(round.message.contains("[log]"), "{}", round.message);
    }
}

#[tokio::test]
async fn the_source_follows_a_rotation_and_stops_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pg.json");
    append(&path, &line(1));
    let (sink, mut events) = mpsc::channel(64);
    let (stop, stopped) = watch::channel(false);
    let (_settings, none) = watch::channel(None);
    let running = tokio::spawn(log::run(
        config_for(&path),
        none,
        log::Position::default(),
        sink,
        stopped,
    ));
    let (mut n_errors, mut covered) = (0.0, false);
    while n_errors < 2.0 || !covered {
        match events.recv().await.unwrap() {
            SourceEvent::Readings { readings, .. } => {
                covered = false;
                for reading in readings.iter().filter(|r| r.key.metric == "log.errors") {
                    if let Value::Events(n) = reading.value {
                        n_errors += n;
                    }
                }
            }
            SourceEvent::LogCheckpoint(_) => {
                covered = true;
                if n_errors < 2.0 && !path.with_extension("json.1").exists() {
                    fs::rename(&path, path.with_extension("json.1")).unwrap();
                    append(&path, &line(2));
                }
            }
            _ => {}
        }
    }
    assert_eq!(n_errors, 2.0);
    stop.send(true).unwrap();
    running.await.unwrap();
}

/// By hand: `cargo test --release -p hsw-agent mebibytes -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn mebibytes_per_second_of_one_core() {
    let directory = tempfile::tempdir().unwrap();
    let mut texts = [String::new(), String::new()];
    for n in 0..200_000 {
        let (ms, pid) = (n % 1000, 1000 + n % 50);
        let (severity, code, message) = match n % 5 {
            0 => (
                "LOG",
                "00000",
                format!(
                    "duration: {ms}.{pid} ms  statement: select * from orders where id = {n} and note = 'x'"
                ),
            ),
            1 => (
                "ERROR",
                "23505",
                "duplicate key value violates unique constraint \\\"orders_pkey\\\"".to_owned(),
            ),
            2 => (
                "LOG",
                "00000",
                format!("connection received: host=10.0.{}.7 port={pid}", n % 200),
            ),
            3 => (
                "LOG",
                "00000",
                format!("temporary file: path \\\"base/pgsql_tmp/pgsql_tmp{n}.0\\\", size {n}"),
            ),
            _ => (
                "LOG",
                "00000",
                format!(
                    "process {pid} still waiting for ShareLock on transaction {n} after 1000.{ms} ms"
                ),
            ),
        };
        let at = format!("2026-11-20 17:50:48.{ms:03} UTC");
        let _ = writeln!(
            texts[0],
            "{{\"timestamp\":\"{at}\",\"user\":\"app\",\"dbname\":\"shop\",\"pid\":{pid},\"remote_host\":\"10.0.0.9\",\"remote_port\":5555,\"session_id\":\"65af.1\",\"line_num\":3,\"ps\":\"INSERT\",\"session_start\":\"{at}\",\"vxid\":\"3/4\",\"txid\":0,\"error_severity\":\"{severity}\",\"state_code\":\"{code}\",\"message\":\"{message}\",\"application_name\":\"web\",\"backend_type\":\"client backend\",\"query_id\":0}}"
        );
        let _ = writeln!(
            texts[1],
            "{at} [{pid}] app@shop/web 10.0.0.9 {severity}:  {}",
            message.replace("\\\"", "\"")
        );
    }
    for (name, text) in ["pg.json", "pg.log"].into_iter().zip(&texts) {
        let path = directory.path().join(name);
        append(&path, text);
        let config = Config {
            line_prefix: Some("%m [%p] %q%u@%d/%a %h ".to_owned()),
            lines_per_second_max: u64::MAX,
            bytes_per_second_max: u64::MAX,
            ..config_for(&path)
        };
        let (mut reader, _) = Reader::new(config, None);
        let begun = Instant::now();
        let round = reader.round(Monotonic(0), None, false);
        let seconds = begun.elapsed().as_secs_f64();
        assert!(errors(&round) >= Some(39_999.0), "{:?}", errors(&round));
        let (mib, lines) = (text.len() as f64 / 1048576.0, 200_000.0 / seconds);
        let mut out = std::io::stderr();
        writeln!(
            out,
            "{name}: {:.0} MiB/s, {lines:.0} lines/s",
            mib / seconds
        )
        .unwrap();
    }
}

#[test]
fn a_trace_that_goes_on_for_long_is_told_in_time_and_the_checkpoint_moves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.log");
    append(&path, "ERROR: it broke\n");
    let config = Config {
        format: Format::Plain,
        ..config_for(&path)
    };
    let (mut reader, _) = Reader::new(config, None);
    let mut told = Vec::new();
    for second in 0..30_u64 {
        append(&path, &format!("  at frame {second}\n"));
        let round = reader.round(Monotonic(second * 1_000_000), None, false);
        if errors(&round) > Some(0.0) {
            told.push((second, round.checkpoint.is_some()));
        }
    }
    assert_eq!(told, [(10, true)], "ten seconds after it began");
    let mut reader = Reader::new(config_for(&path), reader.last_checkpoint()).0;
    let again = reader.round(Monotonic(0), None, false);
    assert_eq!(errors(&again), Some(0.0), "its first line is behind us");
}

#[test]
fn a_record_is_complete_when_a_second_brought_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.log");
    append(&path, "ERROR: it broke\n  at once\n");
    let config = Config {
        format: Format::Plain,
        ..config_for(&path)
    };
    let (mut reader, _) = Reader::new(config, None);
    let first = reader.round(Monotonic(0), None, false);
    assert_eq!(errors(&first), Some(0.0));
    let second = reader.round(Monotonic(1_000_000), None, false);
    assert_eq!(errors(&second), Some(1.0));
}

#[test]
fn a_large_checkpoint_is_told_seldom_and_when_the_source_stops() {
    let directory = tempfile::tempdir().unwrap();
    for n in 0..300 {
        append(&directory.path().join(format!("{n}.json")), &line(n));
    }
    let config = config_for(&directory.path().join("*.json"));
    let (mut reader, _) = Reader::new(config, None);
    let mut n_told = 0;
    let mut n_bytes = 0;
    for second in 0..20_u64 {
        append(&directory.path().join("7.json"), &line(7));
        let round = reader.round(Monotonic(second * 1_000_000), None, false);
        n_told += u64::from(round.checkpoint.is_some());
        n_bytes = n_bytes.max(round.checkpoint.map_or(0, |bytes| bytes.len()));
    }
    assert!(
        n_bytes > 20_000 && n_told < 5,
        "{n_told} of {n_bytes} bytes"
    );
    assert!(reader.last_checkpoint().is_some(), "nothing is read twice");
}

#[tokio::test]
async fn a_source_started_again_in_the_same_process_counts_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pg.json");
    let position = log::Position::default();
    for life in 0..2 {
        append(&path, &(line(life) + &line(life)));
        let (sink, mut events) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let (_settings, none) = watch::channel(None);
        let position = log::Position::clone(&position);
        let run = log::run(config_for(&path), none, position, sink, stopped);
        let running = tokio::spawn(run);
        let mut n_errors = 0.0;
        loop {
            match events.recv().await.unwrap() {
                SourceEvent::Readings { readings, .. } => {
                    for reading in readings.iter().filter(|r| r.key.metric == "log.errors") {
                        if let Value::Events(n) = reading.value {
                            n_errors += n;
                        }
                    }
                }
                SourceEvent::LogCheckpoint(_) if n_errors > 0.0 => break,
                _ => {}
            }
        }
        assert_eq!(n_errors, 2.0, "life {life}");
        stop.send(true).unwrap();
        running.await.unwrap();
    }
}
