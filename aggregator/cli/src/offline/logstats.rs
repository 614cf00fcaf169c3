//! `hsw logstats`: what logs say in numbers, as one wants them after an incident. (step 15)
//!
//! Limits: [`N_GROUPS_MAX`] statements and as many templates are told apart, the first to come; the rest are counted
//! together. Memory is bounded by that, not by the files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use hsw_pipeline::{LogFormat, LogRecord, Severity, mask};
use hsw_sketch::QuantileSketch;
use hsw_types::WallTime;
use serde_json::{Value, json};

use super::logs::{Logs, Read};

/// Statements, and templates, that are told apart.
const N_GROUPS_MAX: usize = 2_000;
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

/// Tells what kind a statement is.
#[derive(Debug, Default)]
struct Kinds {
    text: String,
}

impl Kinds {
    /// Its text without values, and a hash that is equal for equal kinds.
    fn of(&mut self, format: &LogFormat, statement: &str) -> (u64, &str) {
        let hash = match format {
            // Already a shape without values.
            LogFormat::Mongo | LogFormat::MongoText => {
                self.text.clear();
                self.text.push_str(statement);
                hsw_pipeline::fnv1a_64(statement.as_bytes())
            }
            _ => mask(statement, &mut self.text),
        };
        (hash, &self.text)
    }
}

/// Records of one kind.
#[derive(Debug, Default)]
struct Group {
    text: String,
    severity: Option<Severity>,
    n: u64,
    first: Option<WallTime>,
    last: Option<WallTime>,
    /// Of those with a duration.
    durations: QuantileSketch,
    total_ms: f64,
    lock_ms: f64,
    rows_examined: u64,
    rows_sent: u64,
}

impl Group {
    fn add(&mut self, record: &LogRecord) {
        self.n += 1;
        self.severity = self.severity.max(Some(record.severity));
        if let Some(at) = record.at {
            self.first = Some(self.first.map_or(at, |first| first.min(at)));
            self.last = self.last.max(Some(at));
        }
        if let Some(ms) = record.duration_ms {
            self.durations.add(ms);
            self.total_ms += ms;
        }
        self.lock_ms += record.lock_ms.unwrap_or(0.0);
        self.rows_examined = self
            .rows_examined
            .saturating_add(record.rows_examined.unwrap_or(0));
        self.rows_sent = self.rows_sent.saturating_add(record.rows_sent.unwrap_or(0));
    }

    fn severity(&self) -> &'static str {
        self.severity.unwrap_or_default().as_str()
    }

    fn json(&self) -> Value {
        let ms = |q| self.durations.quantile(q);
        let at = |at: Option<WallTime>| at.map(WallTime::to_rfc3339);
        json!({
            "text": self.text, "severity": self.severity(), "records": self.n,
            "first": at(self.first), "last": at(self.last),
            "timed": self.durations.n(), "total_ms": self.total_ms,
            "p50_ms": ms(0.5), "p95_ms": ms(0.95), "p99_ms": ms(0.99), "lock_ms": self.lock_ms,
            "rows_examined": self.rows_examined, "rows_sent": self.rows_sent,
        })
    }
}

/// Groups by hash; what comes when there are too many is counted together.
#[derive(Debug, Default)]
struct Groups {
    known: BTreeMap<u64, Group>,
    others: Group,
}

impl Groups {
    fn add(&mut self, hash: u64, text: &str, record: &LogRecord) {
        if let Some(group) = self.known.get_mut(&hash) {
            group.add(record);
        } else if self.known.len() < N_GROUPS_MAX {
            let group = self.known.entry(hash).or_default();
            group.text.push_str(text);
            group.add(record);
        } else {
            self.others.add(record);
        }
    }

    /// The most important first; ties by text, so that equal input gives equal output.
    fn ranked(&self, weight: impl Fn(&Group) -> (f64, u64)) -> Vec<(u64, &Group)> {
        let mut all: Vec<_> = self
            .known
            .iter()
            .map(|(&hash, group)| (hash, group))
            .collect();
        all.sort_by(|(_, a), (_, b)| {
            let ((a_first, a_second), (b_first, b_second)) = (weight(a), weight(b));
            let order = b_first.total_cmp(&a_first).then(b_second.cmp(&a_second));
            order.then_with(|| a.text.cmp(&b.text))
        });
        all
    }

    fn json(&self, ranked: &[(u64, &Group)], n: usize) -> Value {
        let top = ranked.iter().take(n).map(|(hash, group)| {
            let mut value = group.json();
            value["hash"] = json!(format!("{hash:016x}"));
            value
        });
        json!({ "kinds": self.known.len(), "top": top.collect::<Vec<_>>(), "others": self.others.json() })
    }
}

/// All that is counted.
#[derive(Debug, Default)]
struct Stats {
    severities: [u64; Severity::ALL.len()],
    codes: BTreeMap<String, u64>,
    codes_over_limit: u64,
    all: Group,
    templates: Groups,
    statements: Groups,
    kinds: Kinds,
    text: String,
}

impl Stats {
    fn record(&mut self, format: &LogFormat, record: &LogRecord) {
        self.severities[record.severity as usize] += 1;
        self.all.add(record);
        if !record.code.is_empty() && record.severity >= Severity::Warning {
            if let Some(n) = self.codes.get_mut(&record.code) {
                *n += 1;
            } else if self.codes.len() < N_CODES_MAX {
                self.codes.insert(record.code.clone(), 1);
            } else {
                self.codes_over_limit += 1;
            }
        }
        let hash = mask(&record.message, &mut self.text);
        self.templates.add(hash, &self.text, record);
        if !record.statement.is_empty() {
            let (hash, text) = self.kinds.of(format, &record.statement);
            self.statements.add(hash, text, record);
        }
    }

    fn statements(&self) -> Vec<(u64, &Group)> {
        self.statements.ranked(|group| (group.total_ms, group.n))
    }

    /// Errors before everyday lines.
    fn templates(&self) -> Vec<(u64, &Group)> {
        self.templates.ranked(|group| {
            let failed = group.severity >= Some(Severity::Warning);
            (f64::from(u8::from(failed)), group.n)
        })
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
            "files": files, "all": self.all.json(), "severities": severities, "codes": codes,
            "codes_over_limit": self.codes_over_limit,
            "statements": self.statements.json(&self.statements(), top),
            "templates": self.templates.json(&self.templates(), top),
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
        text.push('\n');
    }

    fn statement_table(&self, top: usize, text: &mut String) {
        let ranked = self.statements();
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
        let ranked = self.templates();
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
        if self.templates.others.n > 0 {
            row(&self.templates.others, "<others>");
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
