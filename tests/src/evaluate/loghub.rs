//! loghub_2k: 2,000 lines of each system, grouped by template; one setting for all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::score::{Grouping, csv_field, csv_row, grouping};
use super::{Task, scorer, unscored};
use crate::bench::{Figure, Report};

/// Grouping accuracy that publications report for these systems, each with settings of its own; from the set's table.
const PUBLISHED: &str = "published_grouping_accuracy.csv";

pub(super) fn answer(task: &Task) -> Result<Report> {
    let mut systems: Vec<String> = Vec::new();
    for entry in fs::read_dir(&task.data).context("list the set")? {
        let path = entry?.path();
        if path.join("content.log").is_file()
            && let Some(name) = path.file_name()
        {
            systems.push(name.to_string_lossy().into_owned());
        }
    }
    systems.sort();
    ensure!(
        !systems.is_empty(),
        "no <system>/content.log in {}",
        task.data.display()
    );
    let mut report = Report::new("");
    let mut answers = Vec::new();
    for system in &systems {
        let answer = templates(&task.data.join(system).join("content.log"))?;
        write(&task.out.join(format!("{system}.csv")), &answer)?;
        answers.push(answer);
    }
    let scores = |truth_name: &str| -> Result<Vec<(&String, Grouping)>> {
        let mut scores = Vec::new();
        for (system, answer) in systems.iter().zip(&answers) {
            let Some(truth) = truth(&task.data.join(system).join(truth_name))? else {
                continue;
            };
            let (n, m) = (answer.len(), truth.len());
            ensure!(n == m, "{system}: {n} lines for {m} labels");
            scores.push((system, grouping(&truth, answer)));
        }
        Ok(scores)
    };
    let first = scores("truth.csv")?;
    for (system, score) in &first {
        let name = format!("{system}: grouping accuracy");
        report.add(Figure::new(&name, score.ga, "GA"));
    }
    if first.len() < systems.len() {
        unscored(&mut report, "some systems");
    }
    if !first.is_empty() {
        let mean = means(&first, "", &mut report);
        agree(task, mean.ga, mean.fta, first.len())?;
    }
    let corrected = scores("truth_corrected.csv")?;
    if !corrected.is_empty() {
        means(&corrected, ", corrected truth", &mut report);
    }
    references(&task.data.join(PUBLISHED), &mut report);
    Ok(report)
}

fn means(scores: &[(&String, Grouping)], label: &str, report: &mut Report) -> Grouping {
    let n = scores.len() as f64;
    let mean = |of: fn(&Grouping) -> f64| scores.iter().map(|(_, s)| of(s)).sum::<f64>() / n;
    let mean = Grouping {
        ga: mean(|s| s.ga),
        fga: mean(|s| s.fga),
        pa: mean(|s| s.pa),
        fta: mean(|s| s.fta),
    };
    let how = format!("mean of {n} systems, one setting");
    // The targets are of the first truth, which most publications use.
    let target = |value: f64| label.is_empty().then_some(value);
    for (name, value, target) in [
        ("GA", mean.ga, target(0.92)),
        ("FGA", mean.fga, None),
        ("PA", mean.pa, None),
        ("FTA", mean.fta, target(0.40)),
    ] {
        let figure = Figure::new(&format!("{name}, mean{label}"), value, &how);
        report.add(match target {
            Some(target) => figure.at_least(target),
            None => figure,
        });
    }
    mean
}

/// The templates of a file's lines, as `hsw templates` prints them.
fn templates(path: &Path) -> Result<Vec<(String, String)>> {
    let own = std::env::current_exe().context("find this program")?;
    let output = Command::new(own.with_file_name("hsw"))
        .arg("templates")
        .arg(path)
        .output()
        .context("run hsw templates")?;
    ensure!(
        output.status.success(),
        "hsw templates: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8(output.stdout).context("read what hsw templates printed")?;
    let row = |line: &str| {
        let object: Value = serde_json::from_str(line).context("read a line of hsw templates")?;
        let field = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        Ok((field("id"), field("template")))
    };
    text.lines().map(row).collect()
}

fn write(path: &Path, rows: &[(String, String)]) -> Result<()> {
    let mut text = String::from("LineId,EventId,EventTemplate\n");
    for (at, (id, template)) in rows.iter().enumerate() {
        text.push_str(&format!("{},{id},{}\n", at + 1, csv_field(template)));
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// `LineId,EventId,EventTemplate[,…]`, in the order of the lines.
fn truth(path: &Path) -> Result<Option<Vec<(String, String)>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut rows = BTreeMap::new();
    for line in text.lines().skip(1) {
        let mut fields = csv_row(line).into_iter();
        let (Some(id), Some(event), Some(template)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let id: u64 = id
            .parse()
            .with_context(|| format!("{}: LineId {id}", path.display()))?;
        rows.insert(id, (event, template));
    }
    Ok(Some(rows.into_values().collect()))
}

/// Our own scores against the set's scorer.
fn agree(task: &Task, ga: f64, fta: f64, n: usize) -> Result<()> {
    let Some(said) = scorer(task, "parse_score.py", &[&task.data, &task.out], &[])? else {
        return Ok(());
    };
    let ours = format!("mean of {n} GA {ga:.4}");
    let theirs = said
        .lines()
        .find(|line| line.starts_with("mean of"))
        .unwrap_or("");
    ensure!(
        theirs.starts_with(&ours) && theirs.trim_end().ends_with(&format!("FTA {fta:.4}")),
        "our scores are not the scorer's: {ours} FTA {fta:.4} against `{theirs}`"
    );
    Ok(())
}

/// What others report, as notes.
fn references(path: &Path, report: &mut Report) {
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let names: Vec<&str> = text.lines().next().unwrap_or("").split(',').collect();
    let mean = text
        .lines()
        .find(|line| line.starts_with("mean"))
        .unwrap_or("");
    let mut all: Vec<(&str, &str)> = names.into_iter().zip(mean.split(',')).skip(1).collect();
    all.sort_by(|a, b| b.1.cmp(a.1));
    let best: Vec<String> = all
        .iter()
        .take(4)
        .map(|(name, ga)| format!("{name} {ga}"))
        .collect();
    if !best.is_empty() {
        report.note(format!(
            "published GA, settings per system: {}",
            best.join(", ")
        ));
    }
}
