//! One PostgreSQL 15 server, its log written as stderr, csv and json at once: three parsers, the same events.
//!
//! The files come from a real server (initdb, `log_destination = 'stderr,csvlog,jsonlog'`), which was made to log multi-line
//! statements and messages, quotes, a lock wait, refused logins, checkpoints and odd application names.

use std::sync::Arc;

use hsw_pipeline::{
    Assembler, ClassifierConfig, LinePrefix, LogClassifier, LogFormat, LogRecord, Severity,
};
use hsw_types::{Value, WallTime};

fn read(format: LogFormat, bytes: &[u8]) -> Vec<LogRecord> {
    let mut assembler = Assembler::new(format);
    let mut records = Vec::new();
    let mut start = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        assembler.line(start, line, &mut |r| records.push(r.clone()));
        start += line.len() as u64 + 1;
    }
    assembler.flush(&mut |r| records.push(r.clone()));
    let counters = assembler.counters();
    assert_eq!((counters.malformed, counters.invalid_utf8), (0, 0));
    records
}

fn all() -> [Vec<LogRecord>; 3] {
    let prefix = LinePrefix::compile("%m [%p] %q%u@%d/%a %h %e %b ");
    let stderr = read(
        LogFormat::Stderr(Arc::new(prefix)),
        include_bytes!("data/postgres15.log"),
    );
    let csv = read(LogFormat::Csv, include_bytes!("data/postgres15.csv"));
    let json = read(LogFormat::Json, include_bytes!("data/postgres15.json"));
    [stderr, csv, json]
}

#[test]
fn csv_and_json_agree_in_every_field_and_stderr_in_all_that_its_prefix_says() {
    let [stderr, csv, json] = all();
    assert!(json.len() > 80, "{} events", json.len());
    // The collector's own first words go to stderr before the other files exist.
    let keep = |r: &&LogRecord| !r.message.contains("log output to logging collector");
    let stderr: Vec<_> = stderr.iter().filter(keep).collect();
    let stderr: Vec<_> = stderr
        .into_iter()
        .filter(|r| !r.message.starts_with("Future log output"))
        .collect();
    let keep_other = |r: &&LogRecord| !r.message.starts_with("ending log output");
    let csv: Vec<_> = csv.iter().filter(keep_other).collect();
    let json: Vec<_> = json.iter().filter(keep_other).collect();
    let firsts = [&stderr, &csv, &json].map(|all| all.first().map(|r| r.message.clone()));
    assert_eq!(
        (csv.len(), stderr.len()),
        (json.len(), json.len()),
        "{firsts:?}"
    );
    for ((s, c), j) in stderr.iter().zip(&csv).zip(&json) {
        // A statement over several lines is one line of json.
        let c = LogRecord {
            n_lines: j.n_lines,
            ..(*c).clone()
        };
        assert_eq!(&c, *j);
        let common = |r: &LogRecord| {
            (
                r.at,
                r.severity,
                r.message.clone(),
                r.pid,
                r.duration_ms,
                r.has_statement,
                r.has_detail,
            )
        };
        assert_eq!(common(s), common(j));
        assert!(j.at.is_some());
        // Background processes have no session part in this prefix.
        if !s.backend_type.is_empty() {
            assert_eq!(
                (&s.code, &s.remote_host, &s.backend_type),
                (&j.code, &j.remote_host, &j.backend_type)
            );
            let named = |text: &str| {
                if text == "[unknown]" {
                    String::new()
                } else {
                    text.to_owned()
                }
            };
            assert_eq!(
                (named(&s.user), named(&s.database)),
                (named(&j.user), named(&j.database))
            );
        }
    }
}

#[test]
fn no_literal_of_the_real_log_is_in_what_would_leave_the_host() {
    for records in all() {
        let mut classifier = LogClassifier::new(ClassifierConfig {
            n_samples_max: 1_000,
            ..ClassifierConfig::default()
        });
        for record in &records {
            classifier.record(WallTime(1), record);
        }
        let mut shipped: String = classifier
            .take_samples()
            .iter()
            .map(|s| format!("{s:?}\n"))
            .collect();
        let mut readings = Vec::new();
        classifier.tick(&mut readings);
        let total = |name: &str| -> f64 {
            readings
                .iter()
                .filter(|r| r.key.metric == name)
                .map(|r| match r.value {
                    Value::Events(n) => n,
                    _ => 0.0,
                })
                .sum()
        };
        assert_eq!(total("log.lock_waits"), 1.0);
        assert!(total("log.refused_connections") >= 1.0);
        assert!(total("log.requested_checkpoints") >= 1.0);
        let n_errors = records
            .iter()
            .filter(|r| r.severity >= Severity::Error)
            .count();
        assert_eq!(total("log.errors"), n_errors as f64);
        assert!(n_errors > 5 && total("log.slow_statements") >= 3.0);
        shipped.extend(readings.iter().map(|r| format!("{}\n", r.key)));
        // `raise warning` is the one message whose words a program chooses; its text counts as the message.
        let leaked: Vec<_> = shipped
            .lines()
            .filter(|l| {
                ["secret", "multi", "127.0.0", "t_pkey", "nope", "here\""]
                    .iter()
                    .any(|w| l.contains(w))
                    && !l.contains("hello tabbed")
                    // Of a statement the names are its kind.
                    && !(l.starts_with("query.") && l.contains("from nope "))
            })
            .collect();
        assert!(leaked.is_empty(), "{leaked:?}");
    }
}
