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
    for (truth_name, label) in [
        ("truth.csv", ""),
        ("truth_corrected.csv", ", corrected truth"),
    ] {
        let mut sum = Grouping::default();
        let mut n_scored = 0;
        for system in &systems {
            let folder = task.data.join(system);
            let answer = templates(&folder.join("content.log"))?;
            write(&task.out.join(format!("{system}.csv")), &answer)?;
            let Some(truth) = truth(&folder.join(truth_name))? else {
                if label.is_empty() {
                    unscored(&mut report, system);
                }
                continue;
            };
            ensure!(
                truth.len() == answer.len(),
                "{system}: {} lines for {} labels",
                answer.len(),
                truth.len()
            );
            let score = grouping(&truth, &answer);
            n_scored += 1;
            sum.ga += score.ga;
            sum.fga += score.fga;
            sum.pa += score.pa;
            sum.fta += score.fta;
            if label.is_empty() {
                report.add(Figure::new(
                    &format!("{system}: grouping accuracy"),
                    score.ga,
                    "GA",
                ));
            }
        }
        if n_scored == 0 {
            continue;
        }
        let n = f64::from(n_scored);
        let mean = |name: &str, value: f64| {
            let how = format!("mean of {n_scored} systems, one setting");
            Figure::new(&format!("{name}{label}"), value / n, &how)
        };
        let ga = mean("GA, mean", sum.ga);
        report.add(if label.is_empty() {
            ga.at_least(0.92)
        } else {
            ga
        });
        report.add(mean("FGA, mean", sum.fga));
        report.add(mean("PA, mean", sum.pa));
        let fta = mean("FTA, mean", sum.fta);
        report.add(if label.is_empty() {
            fta.at_least(0.40)
        } else {
            fta
        });
        if label.is_empty() {
            agree(task, sum.ga / n, sum.fta / n, n_scored)?;
        }
    }
    references(&task.data.join(PUBLISHED), &mut report);
    Ok(report)
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
fn agree(task: &Task, ga: f64, fta: f64, n: i32) -> Result<()> {
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
