//! From lines to records: records of several lines are put together. (step 2)
//!
//! Invariants: AS-1 a record is handed out once, after its last line. AS-2 `held` is the start of the first line that is
//! not yet part of a handed-out record, so that a checkpoint before it loses nothing.

use std::sync::Arc;

use hsw_types::WallTime;

use super::prefix::{Field, LinePrefix, Matched};
use super::record::{LogRecord, Severity, parse_timestamp};
use super::{csv, json};

/// The message of an open record, statement and plan included, is kept up to here; the rest is counted.
const OPEN_BYTES_MAX: usize = 64 * 1024;
/// A CSV record with an open quote is given up beyond this.
const CSV_BYTES_MAX: usize = 256 * 1024;
/// Polls without a line after which an open CSV record is given up.
const N_IDLE_CSV: u32 = 5;

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// PostgreSQL `jsonlog`.
    Json,
    /// PostgreSQL `csvlog`.
    Csv,
    /// PostgreSQL `stderr` with this `log_line_prefix`.
    Stderr(Arc<LinePrefix>),
    /// Anything: each line is a record.
    Plain,
}

/// What was odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AssemblerCounters {
    /// Records handed out.
    pub records: u64,
    /// Lines that came in. Each is in exactly one record's `n_lines`, or in `lines_outside`.
    pub lines: u64,
    /// Lines that are in no record: blank ones, and continuations whose record is gone.
    pub lines_outside: u64,
    /// Lines that were not in the format; kept as plain records.
    pub malformed: u64,
    /// Bytes beyond the limit of a record.
    pub bytes_over_limit: u64,
    /// Lines with invalid UTF-8, decoded with replacement characters.
    pub invalid_utf8: u64,
}

/// What a continuation line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesOn {
    Message,
    Statement,
    /// A DETAIL, HINT or CONTEXT, which is not kept.
    Other,
}

/// Puts the records of one file together.
#[derive(Debug)]
pub struct Assembler {
    format: LogFormat,
    record: LogRecord,
    scratch: String,
    csv: csv::Scratch,
    /// Stderr: the raw message so far. CSV: the raw record so far.
    pending: String,
    /// Start of the pending record.
    held: Option<u64>,
    /// Stderr: what tab-led lines go on with.
    goes_on: GoesOn,
    /// Lines of the pending record.
    n_lines: u64,
    n_idle: u32,
    counters: AssemblerCounters,
}

impl Assembler {
    /// Of one file.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        Self {
            format,
            record: LogRecord::default(),
            scratch: String::new(),
            csv: csv::Scratch::default(),
            pending: String::new(),
            held: None,
            goes_on: GoesOn::Other,
            n_lines: 0,
            n_idle: 0,
            counters: AssemblerCounters::default(),
        }
    }

    /// Start of the first line that is not part of a handed-out record.
    #[must_use]
    pub fn held(&self) -> Option<u64> {
        self.held
    }

    /// What was odd.
    #[must_use]
    pub fn counters(&self) -> AssemblerCounters {
        self.counters
    }

    /// The next line, which begins at `start` of its file.
    pub fn line(&mut self, start: u64, bytes: &[u8], emit: &mut impl FnMut(&LogRecord)) {
        self.n_idle = 0;
        self.counters.lines += 1;
        let text = String::from_utf8_lossy(bytes);
        self.counters.invalid_utf8 += u64::from(matches!(text, std::borrow::Cow::Owned(_)));
        match self.format.clone() {
            LogFormat::Json | LogFormat::Plain if text.trim().is_empty() => {
                self.counters.lines_outside += 1;
            }
            LogFormat::Json => {
                self.n_lines = 1;
                self.record.clear();
                if !json::parse(&text, &mut self.record, &mut self.scratch) {
                    self.malformed(&text);
                }
                self.hand_out(emit);
            }
            LogFormat::Csv => self.csv_line(start, &text, emit),
            LogFormat::Stderr(prefix) => self.stderr_line(&prefix, start, &text, emit),
            LogFormat::Plain => {
                self.n_lines = 1;
                self.record = LogRecord::plain(&text);
                self.hand_out(emit);
            }
        }
    }

    /// Called after a poll that brought no line of this file: an open record is as complete as it will be.
    pub fn idle(&mut self, emit: &mut impl FnMut(&LogRecord)) {
        self.n_idle = self.n_idle.saturating_add(1);
        if self.format != LogFormat::Csv || self.n_idle >= N_IDLE_CSV {
            self.flush(emit);
        }
    }

    /// Hands out what is open, because the file is done.
    pub fn flush(&mut self, emit: &mut impl FnMut(&LogRecord)) {
        if self.held.take().is_none() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        if self.format == LogFormat::Csv {
            self.csv_record(&pending, emit);
        } else {
            self.record.set_message(without_position(&pending));
            self.hand_out(emit);
        }
        self.pending = pending;
        self.pending.clear();
    }

    fn hand_out(&mut self, emit: &mut impl FnMut(&LogRecord)) {
        self.counters.records += 1;
        self.counters.bytes_over_limit += self.record.n_bytes_cut;
        self.record.n_lines = std::mem::take(&mut self.n_lines);
        emit(&self.record);
    }

    fn malformed(&mut self, text: &str) {
        self.counters.malformed += 1;
        // A torn record may begin in the middle of a statement's literal, which no masker could tell from words.
        let safe = match self.format {
            LogFormat::Json => "malformed json line",
            LogFormat::Csv => "malformed csv record",
            LogFormat::Stderr(_) | LogFormat::Plain => text,
        };
        self.record = LogRecord::plain(safe);
        self.record.malformed = true;
    }

    fn csv_line(&mut self, start: u64, text: &str, emit: &mut impl FnMut(&LogRecord)) {
        if self.held.is_some() && csv::begins(text) {
            // A quote got lost (a cut line, a gap): better one malformed record than all that follow.
            self.flush(emit);
        }
        let inside = self.held.is_some();
        let still = csv::inside_quotes_after(text.as_bytes(), inside);
        if !inside && !still {
            if text.trim().is_empty() {
                self.counters.lines_outside += 1;
            } else {
                self.n_lines = 1;
                self.csv_record(text, emit);
            }
            return;
        }
        self.held.get_or_insert(start);
        self.n_lines += 1;
        if inside {
            self.pending.push('\n');
        }
        self.pending.push_str(text);
        if !still || self.pending.len() > CSV_BYTES_MAX {
            self.flush(emit);
        }
    }

    fn csv_record(&mut self, text: &str, emit: &mut impl FnMut(&LogRecord)) {
        self.record.clear();
        if !csv::parse(text, &mut self.record, &mut self.csv) {
            self.malformed(text);
        }
        self.hand_out(emit);
    }

    fn stderr_line(
        &mut self,
        prefix: &LinePrefix,
        start: u64,
        text: &str,
        emit: &mut impl FnMut(&LogRecord),
    ) {
        if let Some(more) = text.strip_prefix('\t') {
            if self.held.is_some() {
                self.n_lines += 1;
                match self.goes_on {
                    GoesOn::Message => {
                        self.push_message("\n");
                        self.push_message(more);
                    }
                    GoesOn::Statement => {
                        self.record.push_statement("\n");
                        self.record.push_statement(more);
                    }
                    GoesOn::Other => {}
                }
            } else {
                // Goes on with a record that is gone: perhaps the middle of a statement, so only counted.
                self.counters.malformed += 1;
                self.counters.lines_outside += 1;
            }
            return;
        } else {
            let mut matched = Matched::default();
            if prefix.matches(text, &mut matched) {
                self.stderr_head(start, &matched, emit);
                return;
            }
        }
        if text.trim().is_empty() {
            self.counters.lines_outside += 1;
            return;
        }
        self.flush(emit);
        self.n_lines = 1;
        self.malformed(text);
        self.hand_out(emit);
    }

    /// A line with a prefix: a new record, or a DETAIL and the like of the one before.
    fn stderr_head(
        &mut self,
        start: u64,
        matched: &Matched<'_>,
        emit: &mut impl FnMut(&LogRecord),
    ) {
        let severity = Severity::parse(matched.word);
        if severity.is_none() && self.belongs(matched) {
            self.n_lines += 1;
            self.record.has_detail |= matched.word == "DETAIL";
            // QUERY is a statement within a function; the client's own comes behind it and is the better name.
            self.goes_on = GoesOn::Other;
            if matches!(matched.word, "STATEMENT" | "QUERY") {
                self.goes_on = GoesOn::Statement;
                self.record.set_statement(matched.message);
            }
            return;
        }
        if is_companion(matched.word) {
            // Its record went away before (end of a file, another session in between).
            self.counters.lines_outside += 1;
            return;
        }
        self.flush(emit);
        self.record.clear();
        for &(field, text) in &matched.fields {
            take_field(&mut self.record, field, text);
        }
        // A translated word: the SQLSTATE, where the prefix has it, still tells errors from the rest.
        let failed = !self.record.code.is_empty() && !self.record.code.starts_with('0');
        let fallback = if failed {
            Severity::Error
        } else {
            Severity::Log
        };
        self.record.severity = severity.unwrap_or(fallback);
        self.held = Some(start);
        self.n_lines = 1;
        self.goes_on = GoesOn::Message;
        self.push_message(matched.message);
    }

    fn belongs(&self, matched: &Matched<'_>) -> bool {
        let pid = matched
            .fields
            .iter()
            .find(|(field, _)| *field == Field::Pid);
        self.held.is_some()
            && is_companion(matched.word)
            && pid.is_none_or(|(_, text)| text.parse() == Ok(self.record.pid))
    }

    fn push_message(&mut self, text: &str) {
        let room = OPEN_BYTES_MAX.saturating_sub(self.pending.len());
        let mut n = text.len().min(room);
        while !text.is_char_boundary(n) {
            n -= 1;
        }
        self.counters.bytes_over_limit += (text.len() - n) as u64;
        self.pending.push_str(&text[..n]);
    }
}

/// The message as the other formats have it: stderr alone ends it with ` at character 15`.
fn without_position(message: &str) -> &str {
    let head = message.trim_end_matches(|c: char| c.is_ascii_digit());
    match head.strip_suffix(" at character ") {
        Some(before) if head.len() < message.len() => before,
        _ => message,
    }
}

/// Words of lines that belong to the record before.
fn is_companion(word: &str) -> bool {
    matches!(
        word,
        "DETAIL" | "HINT" | "CONTEXT" | "STATEMENT" | "QUERY" | "LOCATION" | "BACKTRACE"
    )
}

fn take_field(record: &mut LogRecord, field: Field, text: &str) {
    let to = match field {
        Field::Time => {
            record.at = parse_timestamp(text);
            return;
        }
        Field::EpochMs => {
            let ms: Option<f64> = text.parse().ok();
            // `%n` is seconds with three decimals.
            record.at = ms.map(|seconds| WallTime((seconds * 1e6) as i64));
            return;
        }
        Field::Pid => {
            record.pid = text.parse().unwrap_or(0);
            return;
        }
        Field::Remote => {
            record.remote_host.clear();
            let host = text.split_once('(').map_or(text, |(host, _)| host);
            record.remote_host.push_str(host);
            return;
        }
        Field::Application => &mut record.application,
        Field::User => &mut record.user,
        Field::Database => &mut record.database,
        Field::Host => &mut record.remote_host,
        Field::Backend => &mut record.backend_type,
        Field::Code if text == "00000" => return,
        Field::Code => &mut record.code,
        Field::Other => return,
    };
    to.clear();
    to.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: LogFormat, text: &str) -> (Vec<LogRecord>, AssemblerCounters) {
        let mut assembler = Assembler::new(format);
        let mut records = Vec::new();
        let mut start = 0;
        for line in text.split('\n') {
            assembler.line(start, line.as_bytes(), &mut |r| records.push(r.clone()));
            start += line.len() as u64 + 1;
        }
        assembler.flush(&mut |r| records.push(r.clone()));
        (records, assembler.counters())
    }

    #[test]
    fn stderr_lines_with_tabs_and_companions_are_one_record() {
        let prefix = Arc::new(LinePrefix::compile("%m [%p] "));
        let at = "2026-11-20 17:50:48.123 UTC";
        let text = format!(
            "{at} [1] ERROR:  first\n\tsecond\n{at} [1] DETAIL:  Key (id)=(7)\n{at} [1] STATEMENT:  insert\n\tinto t\n\
             {at} [2] LOG:  duration: 8.5 ms  statement: select\n\t'secret'\nsh: not found\n\torphan"
        );
        let (records, counters) = read(LogFormat::Stderr(prefix), &text);
        let messages: Vec<_> = records.iter().map(|r| r.message.as_str()).collect();
        assert_eq!(
            messages,
            ["first\nsecond", "duration: 8.5 ms", "sh: not found"]
        );
        assert!(records[0].has_detail && records[0].has_statement && records[1].has_statement);
        assert_eq!((counters.malformed, counters.records), (2, 3));
        assert_eq!(records[0].statement, "insert\ninto t");
        assert_eq!(records[1].statement, "select\n'secret'");
        let n_lines: Vec<_> = records.iter().map(|r| r.n_lines).collect();
        assert_eq!((n_lines, counters.lines_outside), (vec![5, 2, 1], 1));
    }

    #[test]
    fn an_open_record_is_held_until_it_is_handed_out() {
        let prefix = Arc::new(LinePrefix::compile("%p "));
        let mut assembler = Assembler::new(LogFormat::Stderr(prefix));
        let mut n = 0;
        assembler.line(100, b"7 LOG:  x", &mut |_| n += 1);
        assert_eq!((assembler.held(), n), (Some(100), 0));
        assembler.idle(&mut |_| n += 1);
        assert_eq!((assembler.held(), n), (None, 1));
    }

    #[test]
    fn a_lost_quote_costs_one_csv_record() {
        let good = format!(
            "2026-11-20 17:50:48.123 UTC,,,42,,65af.1,3,,2026-11-20 17:50:00 UTC,,0,LOG,00000,\"fine\"{}",
            ",".repeat(12)
        );
        let torn = format!("{}\"never closed", &good[..80]);
        let (records, counters) = read(LogFormat::Csv, &format!("{torn}\n{good}\n{good}"));
        let messages: Vec<_> = records.iter().map(|r| r.message.as_str()).collect();
        assert_eq!(messages, ["malformed csv record", "fine", "fine"]);
        assert_eq!(counters.malformed, 1);
    }

    #[test]
    fn invalid_bytes_and_torn_json_become_plain_records_and_are_counted() {
        let mut assembler = Assembler::new(LogFormat::Json);
        let mut records = Vec::new();
        assembler.line(0, b"{\"timestamp\":\"\xff", &mut |r| {
            records.push(r.clone())
        });
        assert!(records[0].malformed);
        let counters = assembler.counters();
        assert_eq!((counters.malformed, counters.invalid_utf8), (1, 1));
    }
}
