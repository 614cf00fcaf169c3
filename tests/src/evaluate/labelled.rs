//! Cases with a bad region, and their causes where somebody has said them: the layout of dbsherlock and dbpa.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use hsw_cli::offline::explain::{Library, Procedure};
use hsw_cli::offline::ranges::Rows;
use hsw_cli::offline::table::Table;
use hsw_cli::offline::{causes, learn};
use hsw_explain::{Column, NamedCase, Regions};
use serde_json::Value;

/// A case with its table.
pub(super) struct Labelled {
    pub(super) id: String,
    pub(super) table: Table,
    pub(super) regions: Regions,
    /// What is known of it: `truth`, `group`, `variant`; null where nothing is.
    truth: Value,
}

impl Labelled {
    /// Its cause, where it is known.
    pub(super) fn cause(&self) -> Option<&str> {
        self.truth["truth"][0].as_str()
    }

    /// A key of its truth as text.
    pub(super) fn key(&self, name: &str) -> String {
        match &self.truth[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        causes::columns(&self.table)
    }

    /// As `hsw learn` would keep it; `None` where its cause is not known.
    pub(super) fn named(&self) -> Option<NamedCase> {
        let columns = self.columns();
        let cause = self.cause()?;
        Some(learn::named(cause, &columns, &self.regions))
    }
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let one = |line: &str| serde_json::from_str(line).context("a line of JSON");
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(one)
        .collect()
}

/// The cases of a folder; `truth.jsonl` may be missing.
pub(super) fn read(folder: &Path) -> Result<Vec<Labelled>> {
    let truth_file = folder.join("truth.jsonl");
    let mut truths = BTreeMap::new();
    if truth_file.exists() {
        for truth in lines(&truth_file)? {
            let id = truth["id"]
                .as_str()
                .context("an id in truth.jsonl")?
                .to_owned();
            truths.insert(id, truth);
        }
    }
    let case = |case: Value| -> Result<Labelled> {
        let id = case["id"]
            .as_str()
            .context("an id in cases.jsonl")?
            .to_owned();
        let file = case["file"]
            .as_str()
            .with_context(|| format!("the file of {id}"))?;
        let table = Table::read(&folder.join(file))?;
        let flags = |name: &str| -> Result<Vec<bool>> {
            let mut flags = vec![false; table.n_rows];
            for range in case[name].as_array().into_iter().flatten() {
                let end = |at: usize| range[at].as_u64().and_then(|row| usize::try_from(row).ok());
                let (first, last) = end(0)
                    .zip(end(1))
                    .with_context(|| format!("{name} of {id}"))?;
                let rows = flags.get_mut(first..=last);
                rows.with_context(|| format!("{name} of {id}: rows that are not there"))?
                    .fill(true);
            }
            Ok(flags)
        };
        let regions = Regions::new(&flags("abnormal")?, &flags("normal")?);
        let truth = truths.remove(&id).unwrap_or_default();
        Ok(Labelled {
            id,
            table,
            regions,
            truth,
        })
    };
    lines(&folder.join("cases.jsonl"))?
        .into_iter()
        .map(case)
        .collect()
}

/// What the cases that `chosen` picks teach.
pub(super) fn library(
    cases: &[(&Labelled, Option<NamedCase>)],
    procedure: Procedure,
    theta: Option<f64>,
    chosen: impl Fn(&Labelled) -> bool,
) -> Library {
    let own = cases.iter().filter(|(case, _)| chosen(case));
    let own: Vec<NamedCase> = own.filter_map(|(_, named)| named.clone()).collect();
    Library::new(&own, procedure, theta)
}

/// A case's causes, best first.
pub(super) fn ranked(library: &Library, case: &Labelled) -> Vec<String> {
    let (causes, _) = library.causes(&case.columns(), &case.regions);
    causes.into_iter().map(|cause| cause.cause).collect()
}

/// Rows in both over rows in either.
pub(super) fn overlap(found: Option<&Rows>, case: &Labelled) -> f64 {
    let n = case.table.n_rows;
    let found = found.map_or_else(|| vec![false; n], |rows| rows.flags(n));
    let mut truth = vec![false; n];
    for rows in case.regions.abnormal() {
        truth[rows.clone()].fill(true);
    }
    let (mut both, mut either) = (0_usize, 0_usize);
    for (found, truth) in found.iter().zip(&truth) {
        both += usize::from(*found && *truth);
        either += usize::from(*found || *truth);
    }
    both as f64 / either.max(1) as f64
}

/// Writes answers, one a line.
pub(super) fn write(path: &Path, answers: &[Value]) -> Result<()> {
    let lines: Vec<String> = answers.iter().map(|answer| format!("{answer}\n")).collect();
    fs::write(path, lines.concat()).with_context(|| format!("write {}", path.display()))
}

/// Shares of cases whose cause is first, and among the first two, as `rank_score.py` has them.
pub(super) fn accuracy<'a>(answers: impl Iterator<Item = (&'a str, &'a [String])>) -> (f64, f64) {
    let (mut first, mut second, mut n) = (0_usize, 0_usize, 0_usize);
    for (truth, ranked) in answers {
        n += 1;
        first += usize::from(ranked.first().is_some_and(|name| name == truth));
        second += usize::from(ranked.iter().take(2).any(|name| name == truth));
    }
    let n = n.max(1) as f64;
    (first as f64 / n, second as f64 / n)
}
