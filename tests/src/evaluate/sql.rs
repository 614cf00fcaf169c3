//! sql_templates: statements and the template they belong to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Task, scorer, unscored};
use crate::bench::{Figure, Report};

/// One file of statements.
struct Part {
    name: &'static str,
    dialect: &'static [&'static str],
    /// Field of the truth.
    key: &'static str,
    /// Field of `hsw fingerprint` that answers it.
    field: &'static str,
    target: f64,
    by_group: bool,
}

const PARTS: [Part; 4] = [
    Part {
        name: "mysql",
        dialect: &["mysql"],
        key: "fingerprint",
        field: "normalized",
        target: 1.0,
        by_group: false,
    },
    Part {
        name: "pg",
        dialect: &["postgresql"],
        key: "group",
        field: "fingerprint",
        target: 0.85,
        by_group: true,
    },
    Part {
        name: "pg",
        dialect: &["postgresql", "--parser"],
        key: "group",
        field: "fingerprint",
        target: 1.0,
        by_group: true,
    },
    Part {
        name: "pg_normalize",
        dialect: &["postgresql"],
        key: "normalized",
        field: "normalized",
        target: 1.0,
        by_group: false,
    },
];

pub(super) fn answer(task: &Task) -> Result<Report> {
    let mut report = Report::new("");
    for part in &PARTS {
        let statements = task.data.join(format!("{}.jsonl", part.name));
        let label = format!("{} ({})", part.name, part.dialect.join(" "));
        let answer = match fingerprints(&statements, part) {
            Ok(answer) => answer,
            Err(error) if part.dialect.len() > 1 => {
                report.note(format!("{label}: {error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        let out = task.out.join(format!("{}.jsonl", part.name));
        let mut text = String::new();
        for (id, said) in &answer {
            text.push_str(&json!({ "id": id, part.key: said }).to_string());
            text.push('\n');
        }
        fs::write(&out, text).with_context(|| format!("write {}", out.display()))?;
        let truth_path = task.data.join(format!("{}_truth.jsonl", part.name));
        if !truth_path.is_file() {
            unscored(&mut report, &label);
            continue;
        }
        let truth = rows(&fs::read_to_string(&truth_path)?, part.key)?;
        let share = if part.by_group {
            groups(&truth, &answer)
        } else {
            exact(&truth, &answer)
        };
        let how = format!("share of {} statements", truth.len());
        report.add(Figure::new(&label, share, &how).at_least(part.target));
        let kind = if part.by_group { "group" } else { "exact" };
        let options = [kind, "--key", part.key];
        if let Some(said) = scorer(task, "sql_score.py", &[&truth_path, &out], &options)? {
            ensure!(
                said.lines()
                    .next()
                    .is_some_and(|l| l.ends_with(&format!("= {share:.4}"))),
                "our share {share:.4} is not the scorer's: {said}"
            );
        }
    }
    Ok(report)
}

fn fingerprints(path: &Path, part: &Part) -> Result<BTreeMap<String, String>> {
    let own = std::env::current_exe().context("find this program")?;
    let output = Command::new(own.with_file_name("hsw"))
        .args(["fingerprint", "--dialect"])
        .args(part.dialect)
        .arg(path)
        .output()
        .context("run hsw fingerprint")?;
    ensure!(
        output.status.success(),
        "hsw fingerprint: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    rows(&String::from_utf8_lossy(&output.stdout), part.field)
}

fn rows(text: &str, field: &str) -> Result<BTreeMap<String, String>> {
    let row = |line: &str| {
        let object: Value = serde_json::from_str(line).context("read a JSON line")?;
        let said = match &object[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Ok((object["id"].as_str().unwrap_or_default().to_owned(), said))
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(row)
        .collect()
}

/// Share of ids whose text is right, runs of blanks counting as one.
fn exact(truth: &BTreeMap<String, String>, answer: &BTreeMap<String, String>) -> f64 {
    let blanks = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let right = truth
        .iter()
        .filter(|(id, text)| answer.get(*id).map(blanks) == Some(blanks(text)));
    right.count() as f64 / truth.len().max(1) as f64
}

/// Share of ids whose group has exactly the right members.
fn groups(truth: &BTreeMap<String, String>, answer: &BTreeMap<String, String>) -> f64 {
    let members = |of: &BTreeMap<String, String>, id: &String| -> Vec<String> {
        let group = of.get(id);
        let same = truth
            .keys()
            .filter(|other| group.is_some() && of.get(*other) == group);
        same.cloned().collect()
    };
    let right = truth
        .keys()
        .filter(|id| answer.contains_key(*id) && members(truth, id) == members(answer, id));
    right.count() as f64 / truth.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_with_a_stranger_is_wrong_for_all_its_members() {
        let rows = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        let truth = rows(&[("1", "a"), ("2", "a"), ("3", "b"), ("4", "c")]);
        let answer = rows(&[("1", "x"), ("2", "x"), ("3", "y"), ("4", "y")]);
        assert!((groups(&truth, &answer) - 0.5).abs() < 1e-12);
        assert!((exact(&truth, &truth) - 1.0).abs() < 1e-12);
    }
}
