//! `hsw learn`: a case that somebody has named, added to a file of causes. (step 15)

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use hsw_explain::{CASES_MAX, Case, Column, Config, Method, NamedCase, Regions, published};
use serde_json::json;

use super::causes;
use super::ranges::Ranges;
use super::table::Table;

/// `hsw learn`.
#[derive(Debug, Args)]
pub struct Options {
    /// Table of metrics: CSV with a header, `time` first where there is one; .zst and .gz are read.
    #[arg(long, value_name = "FILE")]
    pub metrics: PathBuf,
    /// The bad rows: A..B[,C..D] or @T..@T.
    #[arg(long, value_name = "ROWS")]
    pub abnormal: Ranges,
    /// The rows to compare with; all others by default.
    #[arg(long, value_name = "ROWS")]
    pub normal: Option<Ranges>,
    /// What it was. `Normal` says that nothing was wrong.
    #[arg(long, value_name = "NAME")]
    pub cause: String,
    /// The file of causes to add it to; made where there is none.
    #[arg(long, value_name = "FILE.json")]
    pub models: PathBuf,
}

/// Longest name of a cause, bytes.
const NAME_MAX: usize = 200;

/// A case as it is kept.
#[must_use]
pub fn named(cause: &str, columns: &[Column<'_>], regions: &Regions) -> NamedCase {
    NamedCase {
        cause: cause.to_owned(),
        predicates: published(columns, regions, &Config::default(), Method::Paper),
        case: Case::new(columns, regions),
    }
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read or written, a row is not there, the name is empty, or the file is full.
#[expect(
    clippy::print_stdout,
    reason = "printing is what a command line is for"
)]
pub fn run(options: &Options, json: bool) -> anyhow::Result<()> {
    let cause = options.cause.trim();
    let is_name = !cause.is_empty() && cause.len() <= NAME_MAX && !cause.contains(char::is_control);
    ensure!(
        is_name,
        "--cause: a name of 1 to {NAME_MAX} bytes on one line"
    );
    let mut cases = if options.models.exists() {
        causes::read(&options.models)?
    } else {
        Vec::new()
    };
    ensure!(
        cases.len() < CASES_MAX,
        "{} holds {CASES_MAX} cases: begin another file",
        options.models.display()
    );
    let table = Table::read(&options.metrics)?;
    let columns = causes::columns(&table);
    let rows = options.abnormal.rows(&table)?;
    let normal = options
        .normal
        .as_ref()
        .map(|ranges| ranges.rows(&table))
        .transpose()?;
    let regions = causes::regions(&table, &rows, normal.as_ref())?;
    cases.push(named(cause, &columns, &regions));
    causes::write(&options.models, &cases)?;
    let n = cases.iter().filter(|case| case.cause == cause).count();
    let n_causes = hsw_explain::models(&cases, None, Method::Paper).len();
    if json {
        println!(
            "{}",
            json!({ "cause": cause, "cases": n, "causes": n_causes })
        );
    } else {
        let many = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        let (cases, causes) = (many(n, "case"), many(n_causes, "cause"));
        println!("{cause}: {cases}; {causes} in {}", options.models.display());
    }
    Ok(())
}
