//! graphs: resolving sets of small graphs with their known dimension, of named ones beside a greedy reference, and under time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Task, hsw, scorer, unscored};
use crate::bench::{Figure, Report};

/// Windows of the replays: rows.
const WINDOWS: [(&str, &str); 3] = [
    ("trainticket", "300"),
    ("copenhagen_calls", "800"),
    ("dnc", "2000"),
];

/// Answers and scores.
pub(super) fn answer(task: &Task) -> Result<Report> {
    let mut report = Report::default();
    small(task, &mut report)?;
    named(task, &mut report)?;
    over_time(task, &mut report)?;
    Ok(report)
}

fn landmarks(file: &Path) -> Result<Vec<String>> {
    let answer = hsw(&["graph", "landmarks", &file.display().to_string(), "--json"])?;
    ensure!(
        answer["resolved"] == true,
        "{} is not resolved",
        file.display()
    );
    let names = answer["landmarks"].as_array().context("landmarks")?;
    Ok(names
        .iter()
        .map(|name| {
            name.as_str()
                .map_or_else(|| name.to_string(), str::to_owned)
        })
        .collect())
}

/// Rows of a CSV with a heading and no quotes.
fn rows(path: &Path) -> Result<Vec<BTreeMap<String, String>>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let row = |line: &str| {
        let fields = line.split(',').map(str::to_owned);
        names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(fields)
            .collect()
    };
    Ok(lines.map(row).collect())
}

fn small(task: &Task, report: &mut Report) -> Result<()> {
    let exact = task.data.join("exact.csv");
    let mut answers = String::from("id,set\n");
    let mut sizes = BTreeMap::new();
    let file = task.out.join("small.edges");
    for row in rows(&exact)? {
        fs::write(&file, row["edges"].replace(' ', "\n").replace('-', " "))?;
        let found = landmarks(&file)?;
        answers.push_str(&format!("{},{}\n", row["id"], found.join(" ")));
        sizes.insert(row["id"].clone(), found.len());
    }
    let answers_file = task.out.join("answers.csv");
    fs::write(&answers_file, answers)?;
    let truth_file = task.data.join("exact_truth.csv");
    if !truth_file.exists() {
        unscored(report, "exact.csv");
        return Ok(());
    }
    let (mut n_optimal, mut ratio, mut n) = (0.0, 0.0, 0.0);
    for row in rows(&truth_file)? {
        let dimension: usize = row["metric_dimension"].parse().context("a dimension")?;
        let size = sizes[&row["id"]];
        n += 1.0;
        ratio += size as f64 / dimension as f64;
        n_optimal += f64::from(u8::from(size == dimension));
    }
    let how = format!("{n} connected graphs of 4 to 6 vertices, `hsw graph landmarks`");
    report.add(
        Figure::new(
            "small graphs with the smallest set, share",
            n_optimal / n,
            &how,
        )
        .at_least(0.97),
    );
    report.add(Figure::new("size over the smallest, mean", ratio / n, &how).at_most(1.03));
    let [exact, answers, truth] =
        [&exact, &answers_file, &truth_file].map(|path| path.display().to_string());
    let options = ["--exact", &exact, "--answers", &answers, "--truth", &truth];
    if let Some(said) = scorer(task, "resolving_check.py", &[], &options)? {
        ensure!(
            said.contains(&format!("graphs {n} resolved {n} "))
                && said.contains(&format!("optimal {n_optimal}")),
            "the set's scorer says otherwise: {said}"
        );
        report.note(format!("the set's own scorer: {}", said.trim()));
    }
    Ok(())
}

fn named(task: &Task, report: &mut Report) -> Result<()> {
    let (mut worst, mut sum, mut n, mut beyond) = (0.0_f64, 0.0, 0.0, Vec::new());
    for row in rows(&task.data.join("reference_sizes.csv"))? {
        let graph = &row["graph"];
        let size = landmarks(&task.data.join("named").join(format!("{graph}.edges")))?.len();
        let greedy: f64 = row["greedy_size"].parse().context("a size")?;
        let ratio = size as f64 / greedy;
        (worst, sum, n) = (worst.max(ratio), sum + ratio, n + 1.0);
        if row["optimum"]
            .parse()
            .is_ok_and(|optimum: usize| optimum != size)
        {
            beyond.push(graph.clone());
        }
    }
    let how = format!("{n} named and real graphs; the set's own greedy reference");
    report.add(Figure::new("size over the greedy reference, largest", worst, &how).at_most(1.05));
    report.add(Figure::new(
        "size over the greedy reference, mean",
        sum / n,
        &how,
    ));
    report.note(if beyond.is_empty() {
        "every graph with a known optimum gets it".to_owned()
    } else {
        format!("not optimal: {}", beyond.join(", "))
    });
    Ok(())
}

fn over_time(task: &Task, report: &mut Report) -> Result<()> {
    for (name, window) in WINDOWS {
        let file = task.data.join("temporal").join(format!("{name}.csv"));
        let verify = if name == "dnc" {
            None
        } else {
            Some("--verify")
        };
        let file = file.display().to_string();
        let mut args = vec!["graph", "replay", &file, "--window", window, "--json"];
        args.extend(verify);
        let answer = hsw(&args)?;
        let number = |key: &str| answer[key].as_f64().unwrap_or(f64::NAN);
        let how = format!(
            "{} events, window {window}{}",
            answer["events"],
            if verify.is_some() {
                ", held against a search from scratch after every event"
            } else {
                ""
            }
        );
        report.add(
            Figure::new(
                &format!("{name}: set kept over a fresh one, at worst"),
                number("worst_ratio"),
                &how,
            )
            .at_most(1.2),
        );
        report.add(Figure::new(
            &format!("{name}: an event at p99, µs"),
            number("p99_us"),
            &how,
        ));
    }
    Ok(())
}
