//! Fingerprints against published statements: percona's and PostgreSQL's own. Skipped where `HSW_DATA` is not set.

#![expect(clippy::unwrap_used, reason = "a test file")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use hsw_pipeline::{Dialect, Fingerprinter};
use serde_json::Value;

/// Rows of a file of the set; none where there is no data.
fn rows(name: &str) -> Option<Vec<Value>> {
    let Some(data) = std::env::var_os("HSW_DATA") else {
        eprintln!("skipped: HSW_DATA not set");
        return None;
    };
    let path = PathBuf::from(data).join("sql_templates").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no {}", path.display());
        return None;
    };
    let row = |line: &str| serde_json::from_str(line).unwrap();
    Some(
        text.lines()
            .filter(|line| !line.trim().is_empty())
            .map(row)
            .collect(),
    )
}

fn truth(name: &str, key: &str) -> Option<BTreeMap<String, String>> {
    let pair = |row: &Value| (text(row, "id").to_owned(), text(row, key).to_owned());
    Some(rows(name)?.iter().map(pair).collect())
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap()
}

/// Runs of blanks count as one, as the scorer has it.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Ids whose normalised text differs, with both texts.
fn wrong(set: &str, key: &str, dialect: Dialect) -> Option<Vec<String>> {
    let truth = truth(&format!("{set}_truth.jsonl"), key)?;
    let mut fingerprinter = Fingerprinter::new(dialect);
    let mut wrong = Vec::new();
    for row in rows(&format!("{set}.jsonl"))? {
        let id = text(&row, "id");
        let got = squeeze(fingerprinter.normalized(text(&row, "sql")));
        let expected = squeeze(&truth[id]);
        if got != expected {
            wrong.push(format!("{id}\n  want {expected}\n  have {got}"));
        }
    }
    Some(wrong)
}

#[test]
fn every_published_digest_of_mysql_is_exact() {
    if let Some(wrong) = wrong("mysql", "fingerprint", Dialect::MySql) {
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn every_published_normalisation_of_postgresql_is_exact() {
    if let Some(wrong) = wrong("pg_normalize", "normalized", Dialect::PostgreSql) {
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Share of statements whose group has exactly the right members; those that have not.
fn grouping(mut name: impl FnMut(&str) -> String) -> Option<(f64, Vec<String>)> {
    let truth = truth("pg_truth.jsonl", "group")?;
    let mut ours: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut by_id = BTreeMap::new();
    for row in rows("pg.jsonl")? {
        let id = text(&row, "id").to_owned();
        let group = name(text(&row, "sql"));
        ours.entry(group.clone()).or_default().push(id.clone());
        by_id.insert(id, group);
    }
    let mut theirs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, group) in &truth {
        theirs.entry(group).or_default().push(id.clone());
    }
    let right = |id: &&String| ours[&by_id[*id]] == theirs[truth[*id].as_str()];
    let n_right = by_id.keys().filter(right).count();
    let wrong = by_id.iter().filter(|(id, _)| !right(id));
    let wrong = wrong.map(|(id, group)| format!("{id}: {group}")).collect();
    Some((n_right as f64 / by_id.len() as f64, wrong))
}

#[test]
fn tokens_alone_group_nearly_all_published_statements_of_postgresql() {
    let mut fingerprinter = Fingerprinter::new(Dialect::PostgreSql);
    if let Some((share, wrong)) = grouping(|sql| fingerprinter.fingerprint(sql).text.to_owned()) {
        assert!(share >= 0.95, "{share}\n{}", wrong.join("\n"));
        eprintln!("grouped by tokens: {share:.4}");
    }
}

#[cfg(feature = "postgresql-parser")]
#[test]
fn the_parser_groups_all_published_statements_and_asks_once_per_kind() {
    let mut fingerprinter = Fingerprinter::with_parser();
    if let Some((share, wrong)) = grouping(|sql| fingerprinter.fingerprint(sql).hash.to_string()) {
        assert!(wrong.is_empty(), "{share}\n{}", wrong.join("\n"));
    }
    let (n_before, _) = fingerprinter.parsed();
    fingerprinter.fingerprint("select a from b where c = 1");
    fingerprinter.fingerprint("select a from b where c = 2");
    fingerprinter.fingerprint("selec broken '");
    let (n_parsed, n_unread) = fingerprinter.parsed();
    assert_eq!((n_parsed - n_before, n_unread), (2, 1));
}
