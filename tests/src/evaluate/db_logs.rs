//! db_logs: the timeline of a Galera cluster, and logs that must simply be read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::score::csv_row;
use super::{Task, scorer, unscored};
use crate::bench::{Figure, Report};

/// How far an event may be from the true one, microseconds.
const TOLERANCE_US: i64 = 1_000_000;

pub(super) fn answer(task: &Task) -> Result<Report> {
    let mut report = Report::new("");
    for cluster in folders(&task.data.join("galera"))? {
        let name = cluster
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = timeline(&cluster)?;
        let out = task.out.join(&name);
        fs::create_dir_all(&out)?;
        let answer = out.join("events.csv");
        fs::write(&answer, &text).with_context(|| format!("write {}", answer.display()))?;
        let truth = cluster.join("events.csv");
        if !truth.is_file() {
            unscored(&mut report, &name);
            continue;
        }
        let (truth_rows, rows) = (events(&fs::read_to_string(&truth)?), events(&text));
        let said = scorer(
            task,
            "timeline_score.py",
            &[&truth, &answer],
            &["--kinds", "state,view"],
        )?;
        for kind in ["state", "view"] {
            let (n_true, n_answered, n_found) = found(&truth_rows, &rows, kind);
            let how = format!("{n_found} of {n_true} within a second, {n_answered} told");
            let recall = n_found as f64 / n_true.max(1) as f64;
            let precision = n_found as f64 / n_answered.max(1) as f64;
            let figure = Figure::new(&format!("{name}: {kind} recall"), recall, &how);
            report.add(if kind == "state" {
                figure.at_least(0.95)
            } else {
                figure
            });
            report.add(Figure::new(
                &format!("{name}: {kind} precision"),
                precision,
                &how,
            ));
            if let Some(said) = &said {
                let ours = format!("{kind}: true {n_true} predicted {n_answered} found {n_found} ");
                ensure!(
                    said.contains(&ours),
                    "our score is not the scorer's: {ours} against {said}"
                );
            }
        }
    }
    read_all(task, &mut report)?;
    Ok(report)
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(of).with_context(|| format!("list {}", of.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn timeline(cluster: &Path) -> Result<String> {
    let mut logs: Vec<PathBuf> = fs::read_dir(cluster)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    logs.sort();
    let own = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(own.with_file_name("hsw"));
    command.arg("timeline").args(&logs);
    let nodes = cluster.join("nodes.csv");
    if nodes.is_file() {
        command.arg("--nodes").arg(nodes);
    }
    let output = command.output().context("run hsw timeline")?;
    ensure!(
        output.status.success(),
        "hsw timeline: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).context("read what hsw timeline printed")
}

/// By node, kind and what the scorer compares: the times, ascending.
fn events(text: &str) -> BTreeMap<(String, String, String), Vec<i64>> {
    let mut all: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let row = csv_row(line);
        let [time, node, kind, a, b] = row.as_slice() else {
            continue;
        };
        let Some(at) = microseconds(time) else {
            continue;
        };
        let what = match kind.as_str() {
            "state" => b.clone(),
            "view" => format!("{a} {b}"),
            _ => continue,
        };
        all.entry((node.clone(), kind.clone(), what))
            .or_default()
            .push(at);
    }
    for times in all.values_mut() {
        times.sort_unstable();
    }
    all
}

fn microseconds(text: &str) -> Option<i64> {
    hsw_pipeline::parse_timestamp(text).map(|at| at.0)
}

/// True, answered and found events of a kind; each answered event serves once.
fn found(
    truth: &BTreeMap<(String, String, String), Vec<i64>>,
    answer: &BTreeMap<(String, String, String), Vec<i64>>,
    kind: &str,
) -> (usize, usize, usize) {
    let count = |of: &BTreeMap<(String, String, String), Vec<i64>>| {
        of.iter()
            .filter(|(key, _)| key.1 == kind)
            .map(|(_, times)| times.len())
            .sum::<usize>()
    };
    let mut n_found = 0;
    for (key, times) in truth.iter().filter(|(key, _)| key.1 == kind) {
        let answered = answer.get(key).map_or(&[][..], Vec::as_slice);
        let mut next = 0;
        for &time in times {
            while answered
                .get(next)
                .is_some_and(|&at| at < time - TOLERANCE_US)
            {
                next += 1;
            }
            if answered
                .get(next)
                .is_some_and(|&at| at <= time + TOLERANCE_US)
            {
                n_found += 1;
                next += 1;
            }
        }
    }
    (count(truth), count(answer), n_found)
}

/// Every other log, through `hsw logstats`: no failure, and each line is in a record or counted beside.
fn read_all(task: &Task, report: &mut Report) -> Result<()> {
    for folder in ["mongo", "mysql_slow"] {
        let mut logs = Vec::new();
        files(&task.data.join(folder), &mut logs)?;
        let (mut n_lines, mut n_accounted) = (0, 0);
        for log in &logs {
            let bytes = fs::read(log)?;
            let is_open = bytes.last().is_some_and(|byte| *byte != b'\n');
            let newlines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            n_lines += newlines + u64::from(is_open);
            let object = logstats(log)?;
            let file = &object["files"][0];
            let number = |name: &str| file[name].as_u64().unwrap_or(0);
            n_accounted += number("lines_in_records") + number("lines_outside");
        }
        let how = format!("{n_accounted} of {n_lines} lines of {} files", logs.len());
        ensure!(
            n_accounted <= n_lines,
            "{folder}: more lines told than there are: {how}"
        );
        let share = n_accounted as f64 / n_lines.max(1) as f64;
        let name = format!("{folder}: lines read, share");
        report.add(Figure::new(&name, share, &how).at_least(1.0));
    }
    Ok(())
}

fn files(of: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(of) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, into)?;
        } else {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}

fn logstats(log: &Path) -> Result<serde_json::Value> {
    let own = std::env::current_exe().context("find this program")?;
    let output = Command::new(own.with_file_name("hsw"))
        .args(["logstats", "--json"])
        .arg(log)
        .output()
        .context("run hsw logstats")?;
    ensure!(
        output.status.success(),
        "hsw logstats {}: {}",
        log.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    serde_json::from_slice(&output.stdout).context("read what hsw logstats printed")
}
