//! `hsw detect`: for every row of a table, how bad it is and which metrics are to blame. (step 15)
//!
//! In: a table of metrics, oldest row first; what to learn from before, if anything. Out: a line a row,
//! `{"row":…,"score":…,"p":…,"top":[["metric",contribution],…]}` with `--json`, else CSV. The judges are the production
//! crate's ([`Panel`], [`Novelty`]), with one setting for every table; each row is judged by earlier rows alone.
//! A higher score is worse, `p` is a p-value against the table's own past, a contribution is in squared standard deviations
//! (of a single series: its score). What cannot be judged yet has score 0, p 1 and `"unknown":true`.
//! Limits: those of [`Table`]. Columns of categories are left out and named on standard error.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use hsw_detect::{Novelty, Panel, Verdict};
use serde_json::{Value, json};

use super::table::{Column, Table, Times, Values};

/// Contributions below this are no blame: a hundredth of one squared standard deviation.
const BLAME_MIN: f64 = 0.01;
const US_PER_S: f64 = 1e6;
/// Names of a first column that holds times, beside `time`.
const TIME_NAMES: [&str; 4] = ["timestamp", "ts", "date", "datetime"];

/// The detect command.
#[derive(Debug, Args)]
pub struct Options {
    /// CSV with a header, a column a metric, `time` first where there is one; plain, .gz or .zst; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The first N rows are taken as normal. They are judged and printed like all others, with what was known before them.
    #[arg(long, value_name = "N", conflicts_with = "train")]
    pub train_rows: Option<usize>,
    /// A table with the same columns to learn from first; its rows are not printed.
    #[arg(long, value_name = "FILE")]
    pub train: Option<PathBuf>,
    /// FILE is one series, `time,value`: judged by level novelty.
    #[arg(long)]
    pub univariate: bool,
    /// At most so many metrics to blame a row.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub top: usize,
}

/// What is judged: a table's columns of numbers.
pub struct Metrics {
    /// Their names.
    pub names: Vec<String>,
    columns: Vec<Vec<f64>>,
    times_s: Option<Vec<f64>>,
    n_rows: usize,
    left_out: Vec<String>,
}

/// Judges rows as they come: many metrics or one.
pub enum Judged {
    /// A table.
    Table(Box<Panel>),
    /// One series.
    Series(Box<Novelty>),
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, holds nothing to judge or is not of one series where that was said; standard output is gone.
pub fn run(options: &Options, as_json: bool) -> anyhow::Result<()> {
    let metrics = Metrics::read(&options.file)?;
    let mut judged = Judged::new(&metrics, options.univariate)?;
    if let Some(path) = &options.train {
        let train = Metrics::read(path)?.with_columns_of(&metrics);
        let train = train.with_context(|| format!("learn from {}", path.display()))?;
        train.each(&mut judged, |_, _, _| Ok(()))?;
    }
    if let Some(n) = options.train_rows {
        let n_rows = metrics.n_rows;
        ensure!(n <= n_rows, "--train-rows {n}: there are {n_rows} rows");
    }
    say_left_out(&metrics);
    let mut out = BufWriter::new(std::io::stdout().lock());
    if !as_json {
        writeln!(out, "row,score,p,top")?;
    }
    metrics.each(&mut judged, |row, verdict, blame| {
        let top = top(&metrics.names, blame, options.top);
        let line = if as_json {
            line_of_json(row, verdict, &top).to_string()
        } else {
            let list: Vec<_> = top
                .iter()
                .map(|(name, b)| format!("{name}={b:.2}"))
                .collect();
            let list = list.join(" ").replace('"', "\"\"");
            format!("{row},{:.4},{:.3e},\"{list}\"", verdict.score, verdict.p)
        };
        writeln!(out, "{line}").context("write to standard output")
    })?;
    out.flush().context("write to standard output")
}

#[expect(clippy::print_stderr, reason = "a notice beside the answer")]
fn say_left_out(metrics: &Metrics) {
    if !metrics.left_out.is_empty() {
        let names = metrics.left_out.join(", ");
        eprintln!("hsw detect: left out, since they are no numbers: {names}");
    }
}

fn line_of_json(row: usize, verdict: Verdict, top: &[(&str, f64)]) -> Value {
    let mut line = json!({ "row": row, "score": verdict.score, "p": verdict.p, "top": top });
    if !verdict.is_known {
        line["unknown"] = Value::Bool(true);
    }
    line
}

/// The most to blame first; equal ones in the table's order.
fn top<'a>(names: &'a [String], blame: &[f64], n_most: usize) -> Vec<(&'a str, f64)> {
    let pairs = names.iter().map(String::as_str).zip(blame.iter().copied());
    let mut top: Vec<(&str, f64)> = pairs.filter(|(_, share)| *share >= BLAME_MIN).collect();
    top.sort_by(|a, b| b.1.total_cmp(&a.1));
    top.truncate(n_most);
    top
}

impl Judged {
    /// Knows nothing yet.
    ///
    /// # Errors
    /// There is no column of numbers, or several where there is to be one series.
    pub fn new(metrics: &Metrics, is_univariate: bool) -> anyhow::Result<Self> {
        let n = metrics.names.len();
        ensure!(n > 0, "no column of numbers: nothing to judge");
        if is_univariate {
            ensure!(
                n == 1,
                "{n} columns of numbers: --univariate is for `time,value`"
            );
            return Ok(Self::Series(Box::default()));
        }
        Ok(Self::Table(Box::new(Panel::new(n))))
    }
}

impl Metrics {
    /// Reads a table.
    ///
    /// # Errors
    /// See [`Table::read`].
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::of(Table::read(path)?))
    }

    fn of(mut table: Table) -> Self {
        if table.times.is_none() {
            table.times = times_of_another_name(&mut table.columns);
        }
        let times_s = table.times.and_then(|times| match times {
            Times::Numbers(times) => Some(times),
            Times::Texts(texts) => seconds(&texts),
        });
        let (mut names, mut columns, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for Column { name, values } in table.columns {
            match values {
                Values::Numbers(numbers) => {
                    names.push(name);
                    columns.push(numbers);
                }
                Values::Categories { .. } => left_out.push(name),
            }
        }
        Self {
            names,
            columns,
            times_s,
            n_rows: table.n_rows,
            left_out,
        }
    }

    /// The columns of `other`, in its order; those that are not here are unknown.
    fn with_columns_of(mut self, other: &Self) -> anyhow::Result<Self> {
        let mut n_shared = 0;
        let columns = other.names.iter().map(|name| {
            let at = self.names.iter().position(|own| own == name);
            n_shared += usize::from(at.is_some());
            at.map_or_else(
                || vec![f64::NAN; self.n_rows],
                |at| std::mem::take(&mut self.columns[at]),
            )
        });
        self.columns = columns.collect();
        ensure!(
            n_shared > 0,
            "no column has a name of the table that is judged"
        );
        self.names.clone_from(&other.names);
        Ok(self)
    }

    /// Judges each row in order and hands out row, verdict and blame, a share a column.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn each(
        &self,
        judged: &mut Judged,
        mut take: impl FnMut(usize, Verdict, &[f64]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut values = vec![f64::NAN; self.columns.len()];
        for row in 0..self.n_rows {
            for (value, column) in values.iter_mut().zip(&self.columns) {
                *value = column[row];
            }
            let time_s = self.times_s.as_ref().map(|times_s| times_s[row]);
            match judged {
                Judged::Table(panel) => {
                    let verdict = panel.step(time_s, &values);
                    take(row, verdict, panel.blame())?;
                }
                Judged::Series(novelty) => {
                    let verdict = novelty.step(time_s, values[0]);
                    take(row, verdict, &[verdict.score])?;
                }
            }
        }
        Ok(())
    }
}

/// Times of a first column that is not called `time`, as other programs write it.
fn times_of_another_name(columns: &mut Vec<Column>) -> Option<Times> {
    let name = columns.first()?.name.trim().to_ascii_lowercase();
    if !TIME_NAMES.contains(&name.as_str()) {
        return None;
    }
    Some(match columns.remove(0).values {
        Values::Numbers(times) => Times::Numbers(times),
        Values::Categories { levels, codes } => {
            let text = |code: u32| levels.get(code as usize).cloned().unwrap_or_default();
            Times::Texts(codes.into_iter().map(text).collect())
        }
    })
}

/// Times as text in seconds, UTC where they name no zone; `None` where one cannot be read.
fn seconds(texts: &[String]) -> Option<Vec<f64>> {
    let of = |text: &String| {
        let time = hsw_pipeline::parse_timestamp(text)
            .or_else(|| hsw_pipeline::parse_timestamp(&format!("{text}Z")))?;
        Some(time.0 as f64 / US_PER_S)
    };
    texts.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(text: &str) -> Metrics {
        Metrics::of(Table::parse(text).unwrap())
    }

    fn verdicts(metrics: &Metrics, judged: &mut Judged) -> Vec<(Verdict, Vec<f64>)> {
        let mut all = Vec::new();
        let take = |_, verdict, blame: &[f64]| {
            all.push((verdict, blame.to_vec()));
            Ok(())
        };
        metrics.each(judged, take).unwrap();
        all
    }

    fn table(n: u32, spike_at: u32) -> String {
        let rows = (0..n).map(|row| {
            let b = if row == spike_at { 40 } else { row * 3 % 5 };
            format!("{},{},x,{b}\n", row * 60, row * 7 % 11)
        });
        format!("time,a,kind,b\n{}", rows.collect::<String>())
    }

    #[test]
    fn a_spike_is_the_worst_row_and_its_metric_the_first_to_blame() {
        let metrics = metrics(&table(600, 500));
        assert_eq!(metrics.left_out, ["kind"]);
        let mut judged = Judged::new(&metrics, false).unwrap();
        let all = verdicts(&metrics, &mut judged);
        let worst = (0..600).max_by(|a, b| all[*a].0.score.total_cmp(&all[*b].0.score));
        assert_eq!(worst, Some(500));
        let top = top(&metrics.names, &all[500].1, 1);
        assert_eq!(top[0].0, "b");
        let line = line_of_json(500, all[500].0, &top).to_string();
        assert!(
            line.starts_with("{\"p\":") || line.starts_with("{\"row\":500"),
            "{line}"
        );
    }

    #[test]
    fn what_was_learned_from_another_table_counts_from_the_first_row() {
        let (train, metrics) = (metrics(&table(600, 9_999)), metrics(&table(30, 20)));
        let mut judged = Judged::new(&metrics, false).unwrap();
        assert!(!verdicts(&metrics, &mut judged)[0].0.is_known);
        let mut judged = Judged::new(&metrics, false).unwrap();
        let train = train.with_columns_of(&metrics).unwrap();
        verdicts(&train, &mut judged);
        let all = verdicts(&metrics, &mut judged);
        assert!(all[0].0.is_known && all[20].0.p < 0.01);
    }

    #[test]
    fn a_table_that_is_no_series_and_one_that_shares_no_name_are_refused() {
        let two = metrics(&table(5, 2));
        let refused = Judged::new(&two, true).err().unwrap().to_string();
        assert!(refused.contains("2 columns"), "{refused}");
        assert!(metrics("time,z\n1,2\n").with_columns_of(&two).is_err());
        assert!(Judged::new(&metrics("time\n1\n"), false).is_err());
    }

    #[test]
    fn times_may_be_texts() {
        let said = metrics("time,value\n2026-11-20T18:00:00Z,1\n2026-11-20T18:05:00Z,2\n");
        let times_s = said.times_s.unwrap();
        assert!((times_s[1] - times_s[0] - 300.0).abs() < 1e-9);
        let other = "timestamp,value\n2026-11-20 18:00:00,1\n2026-11-20 18:05:00,2\n";
        let other = metrics(other);
        assert_eq!((other.names.len(), other.times_s), (1, Some(times_s)));
    }
}
