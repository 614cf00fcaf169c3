//! petshop, rcd, nezha_tt, nezha_ob: which component is at fault, from metrics, edges, logs and spans; one setting for all.
//!
//! Answers come from `hsw rca`, a case a call, with what the set gives of each case and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Task, hsw, scorer, unscored};
use crate::bench::{Figure, Report};

/// Published for petshop: group, top-1, top-3 (the authors' graph traversal, 68 issues).
const PETSHOP: [(&str, f64, f64); 6] = [
    ("low/latency", 0.571, 0.571),
    ("low/availability", 0.833, 1.0),
    ("high/latency", 0.571, 0.786),
    ("high/availability", 0.667, 1.0),
    ("temporal/latency", 1.0, 1.0),
    ("temporal/availability", 0.75, 1.0),
];
/// How late the onset of rcd is given once more, rows of a second.
const LATE: u64 = 60;

/// Cases with their command lines.
type Cases = Vec<(String, Vec<String>)>;
/// Answers by case, best first.
type Answers = BTreeMap<String, Vec<String>>;
/// Truth by group: the right names and the answer.
type Groups = BTreeMap<String, Vec<(Vec<String>, Vec<String>)>>;

pub(super) fn petshop(task: &Task) -> Result<Report> {
    let mut report = Report::default();
    let cases = cases(task, |case| {
        let mut args = vec![pair("--metrics", &path(task, case, "file")?)];
        args.push(pair("--baseline", &path(task, case, "baseline")?));
        args.push(pair("--edges", &path(task, case, "graph")?));
        let target = &case["target"];
        args.push(pair(
            "--target",
            target["node"].as_str().context("target.node")?,
        ));
        args.push(pair("--at", &format!("@{}", target["time"])));
        Ok(args.concat())
    })?;
    let Some(groups) = answered(task, "ranked.jsonl", &cases, "", &mut report)? else {
        return Ok(report);
    };
    for (group, ranks) in &groups {
        let n = ranks.len() as f64;
        let published = PETSHOP.iter().find(|(name, _, _)| name == group);
        for (k, name) in [(1, "top-1"), (3, "top-3")] {
            let how = format!(
                "{n} cases, `hsw rca`; target: at most one case below the published figure"
            );
            let mut figure = Figure::new(&format!("{group}: {name}"), hits(ranks, k), &how);
            if let Some((_, one, three)) = published {
                let published = if k == 1 { one } else { three };
                figure = figure.at_least((published - 1.0 / n).max(0.0));
            }
            report.add(figure);
        }
    }
    Ok(report)
}

pub(super) fn rcd(task: &Task) -> Result<Report> {
    let mut report = Report::default();
    let args = |case: &Value, late: u64| -> Result<Vec<String>> {
        let onset = case["abnormal"][0][0].as_u64().context("abnormal")? + late;
        let n_rows = case["rows"].as_u64().context("rows")?;
        let mut args = vec![pair("--metrics", &path(task, case, "file")?)];
        args.push(pair("--normal", &format!("0..{}", onset.saturating_sub(1))));
        args.push(pair(
            "--abnormal",
            &format!("{onset}..{}", n_rows.saturating_sub(1)),
        ));
        Ok(args.concat())
    };
    let unknown = |case: &Value| Ok(pair("--metrics", &path(task, case, "file")?).to_vec());
    let tellings = [
        (
            "ranked.jsonl",
            "onset given",
            cases(task, |case| args(case, 0))?,
        ),
        (
            "ranked-late.jsonl",
            "onset given 60 s late",
            cases(task, |case| args(case, LATE))?,
        ),
        (
            "ranked-unknown.jsonl",
            "no onset given",
            cases(task, unknown)?,
        ),
    ];
    for (file, what, cases) in tellings {
        let Some(groups) = answered(task, file, &cases, "-db", &mut report)? else {
            continue;
        };
        for (group, ranks) in &groups {
            let how = format!("{} cases, `hsw rca`, {what}", ranks.len());
            let figure = Figure::new(&format!("{group}, {what}: Avg@5"), average(ranks), &how);
            let is_goal = file != "ranked-unknown.jsonl";
            report.add(if is_goal {
                figure.at_least(0.97)
            } else {
                figure
            });
        }
    }
    Ok(report)
}

pub(super) fn nezha(task: &Task) -> Result<Report> {
    let mut report = Report::default();
    let edges = task.data.join("edges.csv");
    let args = |case: &Value, all: bool| -> Result<Vec<String>> {
        let mut args = vec![pair("--metrics", &path(task, case, "file")?)];
        args.push(pair("--abnormal", &ranges(&case["abnormal"])?));
        args.push(pair("--normal", &ranges(&case["normal"])?));
        if edges.is_file() {
            args.push(pair("--edges", &edges.display().to_string()));
        }
        for (option, key) in [
            ("--logs", "logs"),
            ("--baseline-logs", "baseline_logs"),
            ("--spans", "spans"),
            ("--baseline-spans", "baseline_spans"),
        ] {
            if all && case[key].is_string() {
                args.push(pair(option, &path(task, case, key)?));
            }
        }
        Ok(args.concat())
    };
    let is_metrics_only = task.set == "nezha_ob";
    let mut tellings = vec![(
        "ranked.jsonl",
        "all modalities",
        cases(task, |case| args(case, true))?,
    )];
    if !is_metrics_only {
        tellings.push((
            "ranked-metrics.jsonl",
            "metrics alone",
            cases(task, |case| args(case, false))?,
        ));
    }
    for (file, what, cases) in tellings {
        let Some(mut groups) = answered(task, file, &cases, "", &mut report)? else {
            continue;
        };
        let all = groups.values().flatten().cloned().collect();
        groups.insert("all".to_owned(), all);
        for (group, ranks) in &groups {
            for k in [1, 3, 5] {
                let how = format!("{} cases, `hsw rca`, {what}", ranks.len());
                let figure = Figure::new(&format!("{group}, {what}: AC@{k}"), hits(ranks, k), &how);
                let is_goal =
                    group == "all" && k == 1 && what == "all modalities" && !is_metrics_only;
                report.add(if is_goal {
                    figure.at_least(0.60)
                } else {
                    figure
                });
            }
        }
    }
    Ok(report)
}

fn pair(option: &str, value: &str) -> [String; 2] {
    [option.to_owned(), value.to_owned()]
}

fn path(task: &Task, case: &Value, key: &str) -> Result<String> {
    let name = case[key]
        .as_str()
        .with_context(|| format!("a case without {key}"))?;
    Ok(task.data.join(name).display().to_string())
}

fn ranges(ranges: &Value) -> Result<String> {
    let all = ranges.as_array().context("ranges")?;
    let text = all
        .iter()
        .map(|range| format!("{}..{}", range[0], range[1]));
    Ok(text.collect::<Vec<_>>().join(","))
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let parsed: Result<Vec<Value>, _> = lines.map(serde_json::from_str).collect();
    parsed.with_context(|| format!("read {}", path.display()))
}

fn cases(task: &Task, args: impl Fn(&Value) -> Result<Vec<String>>) -> Result<Cases> {
    let mut cases = Vec::new();
    for case in lines(&task.data.join("cases.jsonl"))? {
        let id = case["id"].as_str().context("a case without id")?.to_owned();
        let args = args(&case).with_context(|| format!("case {id}"))?;
        cases.push((id, args));
    }
    Ok(cases)
}

/// Answers all cases into a file; scores by group where there is truth, and holds them against the set's scorer.
fn answered(
    task: &Task,
    file: &str,
    cases: &Cases,
    suffix: &str,
    report: &mut Report,
) -> Result<Option<Groups>> {
    let mut answers = Answers::new();
    let mut text = String::new();
    for (id, args) in cases {
        let mut all = vec!["rca", "--json"];
        all.extend(args.iter().map(String::as_str));
        let answer = hsw(&all).with_context(|| format!("case {id}"))?;
        let suspects = answer.as_array().context("an array of suspects")?;
        let names = suspects.iter().filter_map(|one| one["entity"].as_str());
        let ranked: Vec<String> = names.map(str::to_owned).collect();
        writeln!(text, "{}", json!({ "id": id, "ranked": ranked }))?;
        answers.insert(id.clone(), ranked);
    }
    let answers_file = task.out.join(file);
    fs::write(&answers_file, text).with_context(|| format!("write {}", answers_file.display()))?;
    let truth_file = task.data.join("truth.jsonl");
    if !truth_file.is_file() {
        unscored(report, file);
        return Ok(None);
    }
    let groups = groups(&lines(&truth_file)?, &answers, suffix)?;
    let suffix = format!("--collapse-suffix={suffix}");
    let options = ["--group-by", "group", &suffix];
    if let Some(said) = scorer(
        task,
        "rank_score.py",
        &[&truth_file, &answers_file],
        &options,
    )? {
        for (group, ranks) in &groups {
            let shares: Vec<String> = (1..=5).map(|k| format!("{:.4}", hits(ranks, k))).collect();
            let ours = format!(
                "{group}: {} cases\n  AC@1..5 {}  ",
                ranks.len(),
                shares.join(" ")
            );
            ensure!(
                said.contains(&ours),
                "the set's scorer says otherwise than {ours}: {said}"
            );
        }
    }
    Ok(Some(groups))
}

fn groups(truth: &[Value], answers: &Answers, suffix: &str) -> Result<Groups> {
    let mut groups = Groups::new();
    for case in truth {
        let id = case["id"].as_str().context("a truth without id")?;
        let names = case["truth"].as_array().context("truth")?;
        let right = names
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let group = case["group"].as_str().unwrap_or("all").to_owned();
        let ranked = answers
            .get(id)
            .map_or_else(Vec::new, |ranked| collapsed(ranked, suffix));
        groups.entry(group).or_default().push((right, ranked));
    }
    Ok(groups)
}

/// Names without the suffix, each once.
fn collapsed(ranked: &[String], suffix: &str) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in ranked {
        let name = name.strip_suffix(suffix).unwrap_or(name);
        if !kept.iter().any(|known| known == name) {
            kept.push(name.to_owned());
        }
    }
    kept
}

/// Share of cases with a right name among the first `k`.
fn hits(ranks: &[(Vec<String>, Vec<String>)], k: usize) -> f64 {
    let is_hit = |(right, ranked): &&(Vec<String>, Vec<String>)| {
        ranked.iter().take(k).any(|name| right.contains(name))
    };
    ranks.iter().filter(is_hit).count() as f64 / ranks.len().max(1) as f64
}

/// Mean of the hits at 1 to 5.
fn average(ranks: &[(Vec<String>, Vec<String>)]) -> f64 {
    (1..=5).map(|k| hits(ranks, k)).sum::<f64>() / 5.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_count_the_first_names_and_suffixes_fall_together() {
        let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let ranked = collapsed(&names(&["a-db", "a", "b", "c-db"]), "-db");
        assert_eq!(ranked, names(&["a", "b", "c"]));
        let ranks = [(names(&["b"]), ranked), (names(&["x"]), names(&["y"]))];
        assert_eq!((hits(&ranks, 1), hits(&ranks, 2)), (0.0, 0.5));
        assert!((average(&ranks) - 0.4).abs() < 1e-12);
    }
}
