//! `hsw logstats`: what logs say in numbers, as one wants them after an incident. (step 15)
//!
//! Limits: so many statements are told apart, the first to come, and the rest counted together; templates are those of the
//! miner (see `groups`). Memory is bounded by that, not by the files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use hsw_pipeline::{LogFormat, LogRecord, Severity};
use hsw_types::WallTime;
use serde_json::{Value, json};

use super::groups::{Group, Statements, Templates};
use super::logs::{Logs, Read};

/// Error codes that are told apart.
const N_CODES_MAX: usize = 500;
/// Characters of a text in the table.
const TEXT_CHARS: usize = 90;

/// The logstats command.
#[derive(Debug, Args)]
pub struct Options {
    /// The logs.
    #[command(flatten)]
    pub logs: Logs,
    /// Statements and templates shown.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub top: usize,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, or standard output is gone.
pub fn run(options: &Options, as_json: bool) -> anyhow::Result<()> {
    let mut stats = Stats::default();
    let mut files = Vec::new();
    for path in &options.logs.files {
        files.push(options.logs.each_record(path, |format, record| {
            stats.record(format, record);
            Ok(())
        })?);
    }
    stats.templates.name();
    let mut text = if as_json {
        stats.json(&files, options.top).to_string()
    } else {
        stats.table(&files, options.top)
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("write to standard output")
}

/// All that is counted.
#[derive(Debug, Default)]
struct Stats {
    severities: [u64; Severity::ALL.len()],
    codes: BTreeMap<String, u64>,
    codes_over_limit: u64,
    all: Group,
    /// Records without a time, or with one whose zone could be several.
    untimed: u64,
    templates: Templates,
    statements: Statements,
}

impl Stats {
    fn record(&mut self, format: &LogFormat, record: &LogRecord) {
        self.severities[record.severity as usize] += 1;
        self.all.add(record);
        self.untimed += u64::from(record.at.is_none());
        if !record.code.is_empty() && record.severity >= Severity::Warning {
            if let Some(n) = self.codes.get_mut(&record.code) {
                *n += 1;
            } else if self.codes.len() < N_CODES_MAX {
                self.codes.insert(record.code.clone(), 1);
            } else {
                self.codes_over_limit += 1;
            }
        }
        self.templates.add(record);
        if !record.statement.is_empty() {
            self.statements.add(format, record);
        }
    }

    /// The codes by number.
    fn codes(&self) -> Vec<(&str, u64)> {
        let mut codes: Vec<_> = self
            .codes
            .iter()
            .map(|(code, &n)| (code.as_str(), n))
            .collect();
        codes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        codes
    }

    fn json(&self, files: &[Read], top: usize) -> Value {
        let files: Vec<_> = files
            .iter()
            .map(|read| {
                let counters = read.counters;
                json!({
                    "file": read.file, "format": read.format.name(), "lines": counters.lines,
                    "records": counters.records, "lines_in_records": read.lines_in_records, "lines_outside": counters.lines_outside,
                    "malformed": counters.malformed, "invalid_utf8": counters.invalid_utf8,
                    "bytes_over_limit": counters.bytes_over_limit, "lines_cut": read.n_cut,
                })
            })
            .collect();
        let severities = Severity::ALL.iter().zip(self.severities);
        let severities: serde_json::Map<_, _> = severities
            .map(|(severity, n)| (severity.as_str().to_owned(), json!(n)))
            .collect();
        let codes: serde_json::Map<_, _> = self
            .codes
            .iter()
            .map(|(code, n)| (code.clone(), json!(n)))
            .collect();
        json!({
            "files": files, "all": self.all.json(), "records_without_time": self.untimed, "severities": severities, "codes": codes,
            "codes_over_limit": self.codes_over_limit,
            "statements": self.statements.json(top),
            "templates": self.templates.json(top),
        })
    }

    fn table(&self, files: &[Read], top: usize) -> String {
        let mut text = String::new();
        self.heading(files, &mut text);
        for (severity, n) in Severity::ALL.iter().zip(self.severities).rev() {
            if n > 0 {
                let _ = writeln!(text, "  {:<9}{n:>12}", severity.as_str());
            }
        }
        let codes = self.codes();
        if !codes.is_empty() {
            let shown: Vec<_> = codes
                .iter()
                .take(top)
                .map(|(code, n)| format!("{} {n}", clean(code)))
                .collect();
            let _ = writeln!(
                text,
                "\nCODES OF WARNINGS AND ERRORS\n  {}",
                shown.join(", ")
            );
        }
        self.statement_table(top, &mut text);
        self.template_table(top, &mut text);
        text
    }

    fn heading(&self, files: &[Read], text: &mut String) {
        for read in files {
            let counters = read.counters;
            let _ = write!(
                text,
                "{}: {}, {} lines, {} records",
                clean(&read.file),
                read.format.name(),
                counters.lines,
                counters.records
            );
            for (n, what) in [
                (counters.malformed, "malformed"),
                (counters.invalid_utf8, "with invalid UTF-8"),
                (read.n_cut, "cut"),
            ] {
                if n > 0 {
                    let _ = write!(text, ", {n} {what}");
                }
            }
            text.push('\n');
        }
        if let (Some(first), Some(last)) = (self.all.first, self.all.last) {
            let _ = writeln!(text, "from {} to {} UTC", time(first), time(last));
        }
        if self.untimed > 0 {
            let _ = writeln!(
                text,
                "{} of {} records have no usable time; where their zone could be several (IST, CST), give --utc-offset",
                self.untimed, self.all.n
            );
        }
        text.push('\n');
    }

    fn statement_table(&self, top: usize, text: &mut String) {
        let ranked = self.statements.ranked();
        if ranked.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "\nSTATEMENTS by total time ({} of {})",
            top.min(ranked.len()),
            ranked.len()
        );
        let _ = writeln!(
            text,
            "{:>10} {:>9} {:>9} {:>9} {:>9} {:>12} {:>10}  {:<19}  {:<19}  STATEMENT",
            "TOTAL", "RECORDS", "P50", "P95", "P99", "EXAMINED", "SENT", "FIRST", "LAST"
        );
        let mut row = |group: &Group, name: &str| {
            let ms = |q| {
                group
                    .durations
                    .quantile(q)
                    .map_or_else(|| "–".to_owned(), duration)
            };
            let at = |at: Option<WallTime>| at.map_or_else(|| "–".to_owned(), time);
            let _ = writeln!(
                text,
                "{:>10} {:>9} {:>9} {:>9} {:>9} {:>12} {:>10}  {:<19}  {:<19}  {}",
                duration(group.total_ms),
                group.n,
                ms(0.5),
                ms(0.95),
                ms(0.99),
                group.rows_examined,
                group.rows_sent,
                at(group.first),
                at(group.last),
                clean(name)
            );
        };
        for (_, group) in ranked.iter().take(top) {
            row(group, &group.text);
        }
        if self.statements.others.n > 0 {
            row(&self.statements.others, "<others>");
        }
    }

    fn template_table(&self, top: usize, text: &mut String) {
        let ranked = self.templates.ranked();
        let _ = writeln!(
            text,
            "\nTEMPLATES, warnings and errors first ({} of {})",
            top.min(ranked.len()),
            ranked.len()
        );
        let _ = writeln!(
            text,
            "{:>10}  {:<8} {:<19}  {:<19}  TEMPLATE",
            "RECORDS", "SEVERITY", "FIRST", "LAST"
        );
        let mut row = |group: &Group, name: &str| {
            let at = |at: Option<WallTime>| at.map_or_else(|| "–".to_owned(), time);
            let _ = writeln!(
                text,
                "{:>10}  {:<8} {:<19}  {:<19}  {}",
                group.n,
                group.severity(),
                at(group.first),
                at(group.last),
                clean(name)
            );
        };
        for (_, group) in ranked.iter().take(top) {
            row(group, &group.text);
        }
    }
}

/// `2026-11-20 17:50:48`.
fn time(at: WallTime) -> String {
    let written = at.to_rfc3339();
    written.get(..19).unwrap_or(&written).replace('T', " ")
}

fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2}ms"),
        ms if ms < 1_000.0 => format!("{ms:.0}ms"),
        ms if ms < 100_000.0 => format!("{:.1}s", ms / 1e3),
        ms => format!("{:.0}s", ms / 1e3),
    }
}

/// One line that cannot drive a terminal, cut to the table.
fn clean(text: &str) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = one_line.take(TEXT_CHARS + 1).collect();
    if cut.chars().count() > TEXT_CHARS {
        cut.pop();
        cut.push('…');
    }
    cut
}

#[cfg(test)]
#[path = "logstats_tests.rs"]
mod tests;
