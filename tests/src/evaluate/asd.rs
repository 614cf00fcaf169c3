//! asd (and smd, laid out alike): servers with many metrics; which rows are anomalous, which metrics to blame.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::detect_score::{average_precision, best_f1, hit_rate};
use super::judged::judged;
use super::{Task, scorer, unscored};
use crate::bench::{Figure, Report};

/// A stretch of rows whose metrics are to be ranked.
struct Region {
    id: String,
    first: usize,
    last: usize,
    blame: BTreeMap<String, f64>,
}

pub(super) fn answer(task: &Task) -> Result<Report> {
    let entities = entities(&task.data)?;
    let mut regions = regions(&task.data.join("regions.jsonl"))?;
    let mut report = Report::new("");
    let (mut precisions, mut f1s) = (Vec::new(), Vec::new());
    for entity in &entities {
        let mut none = Vec::new();
        let own = regions.get_mut(entity).unwrap_or(&mut none);
        let scores = detect(task, entity, own)?;
        let Some(labels) = labels(&task.data.join(entity).join("labels.csv"))? else {
            continue;
        };
        let (n, m) = (scores.len(), labels.len());
        ensure!(n == m, "{entity}: {n} scores for {m} labels");
        let Some(precision) = average_precision(&labels, &scores) else {
            continue;
        };
        report.add(Figure::new(
            &format!("{entity}: AUPRC"),
            precision,
            "average precision over rows",
        ));
        precisions.push(precision);
        f1s.extend(best_f1(&labels, &scores));
    }
    write_blame(&task.out.join("blame.jsonl"), &regions)?;
    if precisions.len() < entities.len() {
        unscored(&mut report, "some entities (rows)");
    }
    if !precisions.is_empty() {
        let how = format!("mean of {} entities, no point adjustment", precisions.len());
        let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len() as f64;
        let figure = Figure::new("AUPRC, mean", mean(&precisions), &how);
        report.add(if task.set == "asd" {
            figure.at_least(0.35)
        } else {
            figure
        });
        report.add(Figure::new("best F1, mean", mean(&f1s), &how));
        agree(task, mean(&precisions), mean(&f1s))?;
    }
    blame(task, &regions, &mut report)?;
    if task.set == "asd" {
        report.note("reference, same servers: robust z 0.076, whitened PCA 0.215 AUPRC; HitRate@100 0.757 and 0.707".to_owned());
    }
    Ok(report)
}

/// The folders that hold a test table.
fn entities(data: &Path) -> Result<Vec<String>> {
    let mut entities = Vec::new();
    for entry in fs::read_dir(data).context("list the set")? {
        let path = entry?.path();
        if path.join("test.csv").is_file()
            && let Some(name) = path.file_name()
        {
            entities.push(name.to_string_lossy().into_owned());
        }
    }
    entities.sort();
    ensure!(
        !entities.is_empty(),
        "no <entity>/test.csv in {}",
        data.display()
    );
    Ok(entities)
}

fn regions(path: &Path) -> Result<BTreeMap<String, Vec<Region>>> {
    let mut regions: BTreeMap<String, Vec<Region>> = BTreeMap::new();
    if !path.exists() {
        return Ok(regions);
    }
    for line in lines_of_json(path)? {
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let row = |key: &str| line[key].as_u64().map(|row| row as usize);
        let whole = || Some((text("id")?, text("entity")?, row("start")?, row("end")?));
        let (id, entity, first, last) = whole().with_context(|| format!("no region: {line}"))?;
        let region = Region {
            id,
            first,
            last,
            blame: BTreeMap::new(),
        };
        regions.entry(entity).or_default().push(region);
    }
    Ok(regions)
}

/// What `hsw detect` says of an entity's rows: writes the scores, adds up the blame in the regions.
fn detect(task: &Task, entity: &str, regions: &mut [Region]) -> Result<Vec<f64>> {
    let folder = task.data.join(entity);
    let train = folder.join("train.csv");
    let options = |command: &mut Command| {
        command.args(["--top", "1000000"]);
        if train.is_file() {
            command.arg("--train").arg(&train);
        }
    };
    let out = task.out.join(entity).join("scores.csv");
    judged(&folder.join("test.csv"), options, &out, |row, line| {
        let hit = |region: &&mut Region| (region.first..=region.last).contains(&row);
        for region in regions.iter_mut().filter(hit) {
            for pair in line["top"].as_array().into_iter().flatten() {
                if let (Some(name), Some(share)) = (pair[0].as_str(), pair[1].as_f64()) {
                    *region.blame.entry(name.to_owned()).or_default() += share;
                }
            }
        }
    })
}

fn ranked(region: &Region) -> Vec<String> {
    let mut names: Vec<(&String, &f64)> = region.blame.iter().collect();
    names.sort_by(|a, b| b.1.total_cmp(a.1));
    names.into_iter().map(|(name, _)| name.clone()).collect()
}

fn write_blame(path: &Path, regions: &BTreeMap<String, Vec<Region>>) -> Result<()> {
    let lines = regions.values().flatten().map(|region| {
        let line = json!({ "id": region.id, "ranked": ranked(region) });
        format!("{line}\n")
    });
    fs::write(path, lines.collect::<String>()).with_context(|| format!("write {}", path.display()))
}

fn blame(task: &Task, regions: &BTreeMap<String, Vec<Region>>, report: &mut Report) -> Result<()> {
    let path = task.data.join("truth_metrics.jsonl");
    if !path.exists() {
        unscored(report, "blame");
        return Ok(());
    }
    let answers: BTreeMap<&str, Vec<String>> = regions
        .values()
        .flatten()
        .map(|r| (r.id.as_str(), ranked(r)))
        .collect();
    let mut cases = Vec::new();
    for line in lines_of_json(&path)? {
        let id = line["id"].as_str().context("a truth without id")?;
        let truth = line["truth"].as_array().into_iter().flatten();
        let truth: Vec<String> = truth
            .filter_map(|t| t.as_str().map(str::to_owned))
            .collect();
        cases.push((truth, answers.get(id).cloned().unwrap_or_default()));
    }
    let how = format!(
        "{} regions; contributions of their rows added up",
        cases.len()
    );
    let figure = Figure::new("HitRate@100", hit_rate(&cases, 1.0), &how);
    report.add(if task.set == "asd" {
        figure.at_least(0.82)
    } else {
        figure
    });
    report.add(Figure::new("HitRate@150", hit_rate(&cases, 1.5), &how));
    let said = scorer(
        task,
        "rank_score.py",
        &[&path, &task.out.join("blame.jsonl")],
        &[],
    )?;
    if let Some(said) = said {
        let theirs = number_behind(&said, "HitRate@100").context("HitRate@100 of rank_score.py")?;
        let ours = hit_rate(&cases, 1.0);
        ensure!(
            (ours - theirs).abs() < 1e-3,
            "HitRate@100: ours {ours}, the scorer's {theirs}"
        );
    }
    Ok(())
}

/// Our figures are those of the set's scorer.
fn agree(task: &Task, precision: f64, f1: f64) -> Result<()> {
    let Some(said) = scorer(task, "ts_score.py", &[&task.data, &task.out], &[])? else {
        return Ok(());
    };
    let mean = said
        .lines()
        .find(|line| line.starts_with("mean of"))
        .unwrap_or_default();
    for (name, ours) in [("AUPRC", precision), ("bestF1", f1)] {
        let theirs = number_behind(mean, name).with_context(|| format!("{name} of ts_score.py"))?;
        ensure!(
            (ours - theirs).abs() < 1e-3,
            "{name}: ours {ours}, the scorer's {theirs}"
        );
    }
    Ok(())
}

pub(super) fn number_behind(text: &str, name: &str) -> Option<f64> {
    let (_, behind) = text.split_once(name)?;
    behind.split_whitespace().next()?.parse().ok()
}

fn labels(path: &Path) -> Result<Option<Vec<bool>>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let at = header
        .iter()
        .position(|name| *name == "label")
        .context("no column `label`")?;
    let label = |line: &str| {
        line.split(',')
            .nth(at)
            .and_then(|cell| cell.parse::<f64>().ok())
    };
    let labels: Option<Vec<bool>> = lines.map(|line| label(line).map(|l| l > 0.0)).collect();
    Ok(Some(labels.with_context(|| {
        format!("{}: a label is no number", path.display())
    })?))
}

fn lines_of_json(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).context("a line of JSON"))
        .collect()
}
