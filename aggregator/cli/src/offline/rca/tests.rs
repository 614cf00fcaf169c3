//! Files to evidence to ranking.

use std::fs;

use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn options(dir: &std::path::Path, args: &str) -> Options {
    let args = args.split_whitespace().map(|arg| {
        if arg.contains('.') && !arg.contains("..") {
            dir.join(arg).display().to_string()
        } else {
            arg.to_owned()
        }
    });
    Line::parse_from(std::iter::once("rca".to_owned()).chain(args)).options
}

fn ranked(files: &[(&str, String)], args: &str) -> anyhow::Result<Vec<Suspect>> {
    let dir = tempfile::tempdir()?;
    for (name, text) in files {
        fs::write(dir.path().join(name), text)?;
    }
    let options = options(dir.path(), args);
    Ok(rank(&evidence(&options)?, &config(&options.set)?))
}

/// 60 rows of 10 s from 1,700,000,000 on; `b` is slow from row 40 on, and `a`, which calls it, with it.
fn metrics() -> String {
    let mut text = "time,a|latency|p99,b|latency|p99,c|cpu,d|version\n".to_owned();
    for row in 0..60 {
        let time = 1_700_000_000 + 10 * row;
        let wave = 0.001 * f64::from(row % 3);
        let extra = if row >= 40 { 1.0 } else { 0.0 };
        let (a, b) = (0.2 + wave + extra, 0.1 + wave + extra);
        text.push_str(&format!("{time},{a},{b},{},v1\n", row % 3));
    }
    text
}

fn edges() -> (&'static str, String) {
    ("edges.csv", "source,target\na,b\n".to_owned())
}

#[test]
fn the_root_is_found_however_the_trouble_is_told() {
    let files = [("m.csv", metrics()), edges()];
    for told in [
        "",
        "--abnormal 40..59",
        "--abnormal @1700000400..@1700000590 --normal 0..39",
        "--at @1700000405",
        "--at 40",
        "--at 46",
        "--target a",
    ] {
        let ranked = ranked(&files, &format!("--metrics m.csv --edges edges.csv {told}")).unwrap();
        assert_eq!(ranked[0].entity, "b", "{told}");
        assert_eq!(ranked[0].metrics[0].metric, "latency|p99");
        let names: Vec<&str> = ranked.iter().map(|s| s.entity.as_str()).collect();
        assert_eq!(
            names,
            ["b", "a", "c"],
            "{told}: a column of texts is no series"
        );
    }
}

#[test]
fn a_baseline_may_lack_columns_and_have_others() {
    let lines: Vec<String> = metrics().lines().map(str::to_owned).collect();
    let without_c = |line: &String| {
        let cells: Vec<&str> = line.split(',').collect();
        format!("{},{},{},x{}", cells[0], cells[1], cells[2], cells[3])
    };
    let baseline: Vec<String> = lines[..41].iter().map(without_c).collect();
    let trouble = [&lines[..1], &lines[41..]].concat().join("\n");
    let files = [
        ("m.csv", trouble),
        ("base.csv", baseline.join("\n")),
        edges(),
    ];
    let told = "--metrics m.csv --baseline base.csv --edges edges.csv";
    assert_eq!(ranked(&files, told).unwrap()[0].entity, "b");
}

/// Requests of `a` that call `b`, one each 100 ms from a second on; the way to `b` takes `way_us`.
fn spans(from_s: u64, n: u64, way_us: u64) -> String {
    let mut text = String::new();
    for at in 0..n {
        let start = 1_700_000_000_000_000_000 + from_s * 1_000_000_000 + at * 100_000_000;
        let (id, took) = (from_s * 1_000 + at, 2_000 + way_us);
        text.push_str(&format!("{start},{took},a,GET,t{id},s{id},\n"));
        text.push_str(&format!("{start},2000,b,/b,t{id},r{id},s{id}\n"));
    }
    text
}

const SPANS: &str = "start_unix_ns,duration_us,service,operation,trace_id,span_id,parent_span_id\n";

#[test]
fn spans_alone_tell_the_callee_and_bring_their_own_graph() {
    let calm = metrics().replace(",1.2", ",0.2").replace(",1.1", ",0.1");
    let normal = format!("{SPANS}{}", spans(0, 20, 500));
    let slow = format!("{SPANS}{}", spans(400, 20, 900_000));
    let files = [
        ("m.csv", calm.clone()),
        ("n.csv", normal.clone()),
        ("s.csv", slow.clone()),
        ("both.csv", normal + slow.trim_start_matches(SPANS)),
    ];
    let told = "--metrics m.csv --abnormal 40..59 --spans s.csv --baseline-spans n.csv";
    let by_baseline = ranked(&files, told).unwrap();
    assert_eq!(by_baseline[0].entity, "b");
    assert_eq!(by_baseline[0].metrics[0].metric, "spans: way to it");
    let by_time = ranked(&files, "--metrics m.csv --abnormal 40..59 --spans both.csv").unwrap();
    assert_eq!(by_time, by_baseline);
}

#[test]
fn new_errors_in_a_log_point_at_who_wrote_them() {
    let line = |service: &str, n: usize, text: &str| -> String {
        (0..n)
            .map(|at| format!("{service},\"{text} {at}, done\nat line {at}\"\n"))
            .collect()
    };
    let heading = "service,message\n".to_owned();
    let usual = line("a", 40, "INFO order") + &line("b", 40, "INFO stock");
    let errors = line("b", 25, "ERROR no such table");
    let files = [
        (
            "m.csv",
            metrics().replace(",1.2", ",0.2").replace(",1.1", ",0.1"),
        ),
        ("n.csv", heading.clone() + &usual),
        ("l.csv", heading + &usual + &errors),
    ];
    let told = "--metrics m.csv --abnormal 40..59 --logs l.csv --baseline-logs n.csv";
    let found = ranked(&files, told).unwrap();
    assert_eq!(found[0].entity, "b");
    assert!(
        found[0].metrics[0]
            .metric
            .starts_with("log: ERROR no such table"),
        "{found:?}"
    );
    assert_eq!(found[1].score, 0.0, "{found:?}");
}

#[test]
fn what_cannot_be_is_said() {
    let files = [
        ("m.csv", metrics()),
        ("bad.csv", format!("{SPANS}x,1,a,b,c,d,\n")),
        (
            "flat.csv",
            "time,a|cpu\n1,1\n2,1\n3,1\n4,1\n5,1\n6,1\n7,1\n".to_owned(),
        ),
    ];
    for (args, says) in [
        ("--metrics m.csv --target z", "--target z: neither"),
        ("--metrics m.csv --abnormal 70..80", "--abnormal"),
        ("--metrics flat.csv", "give --abnormal"),
        (
            "--metrics m.csv --spans m.csv --baseline-spans m.csv",
            "no column `service`",
        ),
        (
            "--metrics m.csv --at 40 --spans bad.csv --baseline-spans bad.csv",
            "line 2: start_unix_ns",
        ),
        (
            "--metrics flat.csv --at 4 --spans bad.csv",
            "nothing says what is normal",
        ),
        ("--metrics m.csv --set x=1", "no such constant"),
    ] {
        let error = format!("{:#}", ranked(&files, args).unwrap_err());
        assert!(error.contains(says), "{args}: {error}");
    }
}
