//! `hsw rca`: which entity explains what all the others show. (step 15)
//!
//! In: a table of metrics, columns `entity|metric[|statistic]`, and what there is of edges, logs and spans. Out: entities, best
//! first, with the metrics that speak. Without any range the onset is looked for. Does not: know times of logs and spans where
//! a baseline of them is given; all of either file counts.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use hsw_rca::{Config, Evidence, Series, Split, Suspect, onset, rank};
use serde_json::{Value, json};

use super::edges::Edges;
use super::ranges::{Place, Ranges};
use super::table::{Table, Times, Values};

mod records;

/// The rca command.
#[derive(Debug, Args)]
pub struct Options {
    /// CSV with a header, a row a moment, columns `entity|metric[|statistic]`; plain, .gz or .zst.
    #[arg(long, value_name = "FILE")]
    pub metrics: PathBuf,
    /// The same columns from a time without trouble; normal rows are then taken from here.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Rows in trouble: A..B[,C..D] or @T..@T. Without it: those from --at on; all, with a baseline; otherwise it is looked for.
    #[arg(long, value_name = "ROWS")]
    pub abnormal: Option<Ranges>,
    /// Rows without trouble; all others by default.
    #[arg(long, value_name = "ROWS", conflicts_with = "baseline")]
    pub normal: Option<Ranges>,
    /// Who calls whom: CSV `source,target`, caller and callee.
    #[arg(long, value_name = "FILE")]
    pub edges: Option<PathBuf>,
    /// CSV with the columns service and message, of the time of trouble.
    #[arg(long, value_name = "FILE")]
    pub logs: Option<PathBuf>,
    /// The same from a time without trouble; without it, what --logs holds from before the trouble.
    #[arg(long, value_name = "FILE", requires = "logs")]
    pub baseline_logs: Option<PathBuf>,
    /// CSV with the columns `start_unix_ns,duration_us,service,operation,trace_id,span_id,parent_span_id`.
    #[arg(long, value_name = "FILE")]
    pub spans: Option<PathBuf>,
    /// The same from a time without trouble; without it, what --spans holds from before the trouble.
    #[arg(long, value_name = "FILE", requires = "spans")]
    pub baseline_spans: Option<PathBuf>,
    /// The entity at which the trouble was noticed.
    #[arg(long, value_name = "ENTITY")]
    pub target: Option<String>,
    /// When it was noticed: @T, or a row.
    #[arg(long, value_name = "@T", conflicts_with = "abnormal")]
    pub at: Option<Place>,
    /// One constant of the ranking, for sweeps.
    #[arg(long, value_name = "NAME=VALUE", hide = true)]
    pub set: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, a range is not in the table, the target is unknown, or standard output is gone.
pub fn run(options: &Options, as_json: bool) -> anyhow::Result<()> {
    let suspects = rank(&evidence(options)?, &config(&options.set)?);
    let mut out = std::io::stdout().lock();
    if as_json {
        let all: Vec<Value> = suspects.iter().map(object).collect();
        writeln!(out, "{}", Value::Array(all)).context("write to standard output")?;
        return Ok(());
    }
    for suspect in suspects
        .iter()
        .filter(|suspect| suspect.score > 0.0)
        .take(10)
    {
        let metrics: Vec<&str> = suspect
            .metrics
            .iter()
            .take(4)
            .map(|m| m.metric.as_str())
            .collect();
        let (score, entity) = (suspect.score, printable(&suspect.entity));
        writeln!(
            out,
            "{score:>7.1}  {entity}  {}",
            printable(&metrics.join(", "))
        )?;
    }
    if suspects.iter().all(|suspect| suspect.score <= 0.0) {
        writeln!(out, "nothing stands out")?;
    }
    Ok(())
}

/// Names come from files: no control character reaches the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn object(suspect: &Suspect) -> Value {
    let metrics: Vec<&str> = suspect.metrics.iter().map(|m| m.metric.as_str()).collect();
    // Thousandths of a nat: shorter to read, and more than anybody can tell apart.
    let score = (suspect.score * 1_000.0).round() / 1_000.0;
    json!({ "entity": suspect.entity, "score": score, "metrics": metrics })
}

fn config(set: &[String]) -> anyhow::Result<Config> {
    let mut config = Config::default();
    for one in set {
        let (name, value) = one.split_once('=').context("write --set NAME=VALUE")?;
        let value = value
            .parse()
            .with_context(|| format!("--set {one}: no number"))?;
        ensure!(
            config.set(name, value),
            "--set {one}: there is no such constant"
        );
    }
    Ok(config)
}

fn evidence(options: &Options) -> anyhow::Result<Evidence> {
    let table = Table::read(&options.metrics)?;
    let baseline = options.baseline.as_deref().map(Table::read).transpose()?;
    let split = split(options, &table, baseline.is_some())?;
    let mut evidence = Evidence {
        series: series(&table, baseline.as_ref(), &split),
        target: options.target.clone(),
        row_seconds: row_seconds(&table),
        ..Evidence::default()
    };
    if let Some(path) = &options.edges {
        let edges = Edges::read(path)?;
        let name = |number: u32| edges.names[number as usize].clone();
        evidence.edges = edges
            .rows
            .iter()
            .map(|row| (name(row.u), name(row.v)))
            .collect();
    }
    let since = since_ns(&table, &split);
    if let Some(path) = &options.logs {
        evidence.lines = records::lines(path, options.baseline_logs.as_deref(), since)?;
    }
    if let Some(path) = &options.spans {
        evidence.spans = records::spans(path, options.baseline_spans.as_deref(), since)?;
    }
    if let Some(target) = &options.target {
        let is_known = evidence
            .series
            .iter()
            .any(|series| series.entity == *target)
            || evidence
                .edges
                .iter()
                .any(|(a, b)| a == target || b == target)
            || evidence.spans.services.contains(target);
        ensure!(
            is_known,
            "--target {target}: neither the metrics nor the edges know it"
        );
    }
    Ok(evidence)
}

/// Rows by what is typed, of the table itself; with a baseline its rows before the trouble are neither.
fn split(options: &Options, table: &Table, has_baseline: bool) -> anyhow::Result<Split> {
    let n_rows = table.n_rows;
    ensure!(n_rows > 0, "{}: no rows", options.metrics.display());
    let is_abnormal = match (&options.abnormal, &options.at) {
        (Some(ranges), _) => ranges.rows(table).context("--abnormal")?.flags(n_rows),
        (None, Some(at)) => from(first_row(at, table).context("--at")?, n_rows),
        (None, None) if has_baseline => vec![true; n_rows],
        (None, None) => {
            let none =
                "nothing in the table moves at one time: give --abnormal, --at or --baseline";
            from(onset(&numbers(table)).context(none)?, n_rows)
        }
    };
    if has_baseline {
        let first = is_abnormal.iter().position(|is| *is).unwrap_or(n_rows);
        return Ok(Split {
            normal: Vec::new(),
            before: (0..first).collect(),
            abnormal: (0..n_rows).filter(|row| is_abnormal[*row]).collect(),
        });
    }
    let is_normal = match &options.normal {
        Some(ranges) => ranges.rows(table).context("--normal")?.flags(n_rows),
        None => is_abnormal.iter().map(|is| !is).collect(),
    };
    Ok(Split::of(&is_normal, &is_abnormal))
}

/// The row a moment lies in: the last one that is not after it.
fn first_row(at: &Place, table: &Table) -> anyhow::Result<usize> {
    if let (Place::Time(time), Some(Times::Numbers(times))) = (at, &table.times)
        && let Ok(time) = time.parse::<f64>()
        && let Some(row) = times.iter().rposition(|t| *t <= time)
    {
        return Ok(row);
    }
    at.row(table)
}

fn from(first: usize, n_rows: usize) -> Vec<bool> {
    (0..n_rows).map(|row| row >= first).collect()
}

fn numbers(table: &Table) -> Vec<&[f64]> {
    let columns = table
        .columns
        .iter()
        .filter_map(|column| match &column.values {
            Values::Numbers(values) => Some(values.as_slice()),
            Values::Categories { .. } => None,
        });
    columns.collect()
}

/// When the trouble begins in unix nanoseconds, where the table's times are unix seconds.
fn since_ns(table: &Table, split: &Split) -> Option<f64> {
    let Some(Times::Numbers(times)) = &table.times else {
        return None;
    };
    let first = times.get(*split.abnormal.first()?)?;
    (*first > 1e8 && *first < 1e11).then_some(first * 1e9)
}

/// The usual step of the table's times, where they are unix seconds.
fn row_seconds(table: &Table) -> Option<f64> {
    let Some(Times::Numbers(times)) = &table.times else {
        return None;
    };
    let is_unix = times.first().is_some_and(|t| *t > 1e8 && *t < 1e11);
    let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    steps
        .get(steps.len() / 2)
        .copied()
        .filter(|step| is_unix && *step > 0.0)
}

fn series(table: &Table, baseline: Option<&Table>, split: &Split) -> Vec<Series> {
    let pick = |values: &[f64], rows: &[usize]| -> Vec<f64> {
        rows.iter()
            .map(|row| values.get(*row).copied().unwrap_or(f64::NAN))
            .collect()
    };
    let mut all = Vec::new();
    for column in &table.columns {
        let Values::Numbers(values) = &column.values else {
            continue;
        };
        let (entity, metric) = column
            .name
            .split_once('|')
            .unwrap_or((&column.name, &column.name));
        let normal = match baseline {
            None => pick(values, &split.normal),
            Some(baseline) => match baseline.column(&column.name).map(|c| &c.values) {
                Some(Values::Numbers(values)) => values.clone(),
                _ => Vec::new(),
            },
        };
        all.push(Series {
            entity: entity.to_owned(),
            metric: metric.to_owned(),
            normal,
            before: pick(values, &split.before),
            abnormal: pick(values, &split.abnormal),
        });
    }
    all
}

#[cfg(test)]
mod tests;
