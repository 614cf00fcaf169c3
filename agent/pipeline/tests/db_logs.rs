//! Real logs of databases, where somebody has them: every line is read, none is lost, states of nodes are found.
//!
//! `HSW_DATA` names the folder of archives; its own `unpack` puts them into a temporary folder.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test file: helpers fail the test by panicking and say what was skipped"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hsw_pipeline::{
    Assembler, EventKind, LogFormat, LogRecord, TimeDefaults, Timeline, detect, parse_timestamp,
};
use hsw_types::WallTime;

/// The unpacked sets, or nothing where there are none.
fn data(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("HSW_DATA").filter(|folder| !folder.is_empty()) else {
        eprintln!("skipped: HSW_DATA not set");
        return None;
    };
    let to = std::env::temp_dir().join("hsw-test-data");
    let status = Command::new(Path::new(&folder).join("unpack"))
        .arg("--to")
        .arg(&to)
        .arg(name)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "unpack {name}");
    Some(to.join(name))
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, into);
        } else if path
            .extension()
            .is_some_and(|end| end == "log" || end == "txt")
        {
            into.push(path);
        }
    }
}

/// Reads a file in the format that is found; the records in order, and that no line was lost.
fn read(path: &Path, take: &mut impl FnMut(&LogFormat, &LogRecord)) -> LogFormat {
    let bytes = fs::read(path).unwrap();
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let name = path.file_name().unwrap().to_string_lossy();
    let format = detect(&lines[..lines.len().min(50)], &name);
    let defaults = TimeDefaults {
        utc_offset_s: Some(0),
        not_after: Some(WallTime::from_unix_seconds(1_795_197_048)),
    };
    let mut assembler = Assembler::with_defaults(format.clone(), defaults);
    let mut n_lines = 0;
    let mut emit = |record: &LogRecord| {
        n_lines += record.n_lines;
        take(&format, record);
    };
    for line in &lines {
        assembler.line(0, line, &mut emit);
    }
    assembler.flush(&mut emit);
    let counters = assembler.counters();
    assert_eq!(counters.lines, lines.len() as u64, "{}", path.display());
    assert_eq!(
        counters.lines,
        n_lines + counters.lines_outside,
        "{}",
        path.display()
    );
    format
}

#[test]
fn every_line_of_every_real_log_is_read_and_none_is_lost() {
    let mut all = Vec::new();
    for name in ["db_logs", "sql_templates"] {
        let Some(folder) = data(name) else {
            return;
        };
        files(&folder, &mut all);
    }
    assert!(all.len() > 100, "{} files", all.len());
    let (mut n_slow, mut n_timed) = (0, 0);
    for path in all {
        let format = read(&path, &mut |format, record| {
            let is_entry = *format == LogFormat::MysqlSlow && !record.statement.is_empty();
            n_slow += usize::from(is_entry && !record.malformed);
            n_timed += usize::from(is_entry && record.duration_ms.is_some());
        });
        let text = path.display().to_string();
        let expected = match text {
            _ if text.contains("/mongo/") => LogFormat::MongoText,
            _ if text.contains("/galera/") && text.ends_with(".log") => LogFormat::MysqlError,
            // Sessions that were taken out of a slow log have no header; an empty file says nothing.
            _ if text.contains("-session-") || text.ends_with("empty.log") => LogFormat::Plain,
            _ if text.ends_with("expected.txt") => LogFormat::Plain,
            _ => LogFormat::MysqlSlow,
        };
        assert_eq!(format, expected, "{text}");
    }
    assert!(n_slow > 2_500, "{n_slow} slow statements");
    assert!(
        n_timed as f64 > n_slow as f64 * 0.95,
        "{n_timed} of {n_slow} have a duration"
    );
}

#[test]
fn states_and_views_of_a_real_cluster_are_found() {
    let Some(folder) = data("db_logs") else {
        return;
    };
    let folder = folder.join("galera/upgrade");
    let mut told: BTreeMap<(String, EventKind, String), Vec<i64>> = BTreeMap::new();
    let nodes = fs::read_to_string(folder.join("nodes.csv")).unwrap();
    for line in nodes.lines().skip(1) {
        let (file, node) = line.split_once(',').unwrap();
        let mut timeline = Timeline::new(&LogFormat::MysqlError);
        read(&folder.join(file), &mut |_, record| {
            timeline.record(record, &mut |event| {
                let what = match event.kind {
                    EventKind::State => event.b,
                    _ => format!("{},{}", event.a, event.b),
                };
                let key = (node.to_owned(), event.kind, what);
                told.entry(key).or_default().push(event.at.0);
            });
        });
    }
    for (kind, name) in [(EventKind::State, "state"), (EventKind::View, "view")] {
        let (mut n, mut n_found) = (0, 0);
        let truth = fs::read_to_string(folder.join("events.csv")).unwrap();
        for line in truth.lines().skip(1) {
            let fields: Vec<_> = line.split(',').collect();
            if fields[2] != name {
                continue;
            }
            let what = match kind {
                EventKind::State => fields[4].to_owned(),
                _ => format!("{},{}", fields[3], fields[4]),
            };
            let at = parse_timestamp(fields[0]).unwrap().0;
            let times = told.get(&(fields[1].to_owned(), kind, what));
            let near = |time: &i64| (time - at).abs() <= 1_000_000;
            n += 1;
            n_found += usize::from(times.is_some_and(|times| times.iter().any(near)));
        }
        let n_told: usize = told
            .iter()
            .filter(|(key, _)| key.1 == kind)
            .map(|(_, times)| times.len())
            .sum();
        assert!(
            n_found as f64 >= n as f64 * 0.95,
            "{name}: {n_found} of {n}"
        );
        assert!(
            n_told as f64 <= n as f64 * 1.05,
            "{name}: {n_told} told, {n} true"
        );
    }
}
