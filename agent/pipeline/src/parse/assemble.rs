//! From lines to records: records of several lines are put together. (step 2)
//!
//! Invariants: AS-1 a record is handed out once, after its last line. AS-2 `held` is the start of the first line that is
//! not yet part of a handed-out record, so that a checkpoint before it loses nothing. AS-3 each line is counted once: in
//! the `n_lines` of a record, or in `lines_outside`. AS-4 an open record is bounded in bytes and lines.

use std::borrow::Cow;
use std::sync::Arc;

use hsw_types::WallTime;

use super::prefix::{LinePrefix, Matched};
use super::record::{LogRecord, push_bounded};
use super::stderr::{self, GoesOn};
use super::time::TimeDefaults;
use super::{csv, json, mongo, mysql_error, mysql_slow, plain, redis, syslog, words};

/// The message of an open record, statement and plan included, is kept up to here; the rest is counted.
const OPEN_BYTES_MAX: usize = 64 * 1024;
/// Lines of one record; a continuation beyond begins a record of its own.
const OPEN_LINES_MAX: u64 = 10_000;
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
    /// Error log of MySQL, Percona Server or MariaDB.
    MysqlError,
    /// Slow query log of the same.
    MysqlSlow,
    /// MongoDB since 4.4.
    Mongo,
    /// MongoDB before.
    MongoText,
    /// Redis, Valkey.
    Redis,
    /// Anything: each line is a record, with the indented lines and stack traces that follow.
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

/// Puts the records of one file together.
#[derive(Debug)]
pub struct Assembler {
    format: LogFormat,
    defaults: TimeDefaults,
    record: LogRecord,
    /// The record that a line may begin, while another is open.
    next: LogRecord,
    scratch: String,
    csv: csv::Scratch,
    matched: Matched,
    /// Stderr: the raw message so far. CSV: the raw record so far.
    pending: String,
    /// Start of the pending record.
    held: Option<u64>,
    /// Stderr: what tab-led lines go on with.
    goes_on: GoesOn,
    /// Slow log: where in an entry we are, and whether its time says its zone.
    part: mysql_slow::Part,
    zoned: bool,
    /// Slow log: of the entry before; old servers name a second only once.
    slow_at: Option<WallTime>,
    /// Lines of the pending record.
    n_lines: u64,
    n_idle: u32,
    counters: AssemblerCounters,
}

impl Assembler {
    /// Of one file. Times that leave zone or year open are unknown.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        Self::with_defaults(format, TimeDefaults::default())
    }

    /// Of one file whose times are to be completed.
    #[must_use]
    pub fn with_defaults(format: LogFormat, defaults: TimeDefaults) -> Self {
        Self {
            format,
            defaults,
            record: LogRecord::default(),
            next: LogRecord::default(),
            scratch: String::new(),
            csv: csv::Scratch::default(),
            matched: Matched::default(),
            pending: String::new(),
            held: None,
            goes_on: GoesOn::Other,
            part: mysql_slow::Part::Nothing,
            zoned: false,
            slow_at: None,
            n_lines: 0,
            n_idle: 0,
            counters: AssemblerCounters::default(),
        }
    }

    /// How the file is written.
    #[must_use]
    pub const fn format(&self) -> &LogFormat {
        &self.format
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
        self.counters.invalid_utf8 += u64::from(matches!(text, Cow::Owned(_)));
        let is_csv = self.format == LogFormat::Csv;
        if !is_csv && text.trim_ascii().is_empty() {
            self.blank();
            return;
        }
        match &self.format {
            LogFormat::Json | LogFormat::Mongo => self.object_line(&text, emit),
            LogFormat::Csv => self.csv_line(start, &text, emit),
            LogFormat::Stderr(prefix) => {
                let prefix = Arc::clone(prefix);
                match syslog::unwrapped(&text, self.defaults) {
                    Some(wrapped) => self.wrapped_line(&prefix, start, &wrapped, emit),
                    None => self.stderr_line(&prefix, start, &text, emit),
                }
            }
            LogFormat::MysqlSlow => self.slow_line(start, &text, emit),
            LogFormat::MysqlError => self.mysql_line(start, &text, emit),
            LogFormat::MongoText | LogFormat::Redis | LogFormat::Plain => {
                self.headed_line(start, &text, emit);
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
        match self.format {
            LogFormat::Csv => {
                let pending = std::mem::take(&mut self.pending);
                self.csv_record(&pending, emit);
                self.pending = pending;
            }
            LogFormat::Stderr(_) => {
                self.record
                    .set_postgres_message(stderr::without_position(&self.pending));
                self.hand_out(emit);
            }
            LogFormat::MysqlSlow => {
                if self.part != mysql_slow::Part::Banner {
                    mysql_slow::finish(&mut self.record);
                }
                self.part = mysql_slow::Part::Nothing;
                self.hand_out(emit);
            }
            _ => self.hand_out(emit),
        }
        self.pending.clear();
    }

    fn hand_out(&mut self, emit: &mut impl FnMut(&LogRecord)) {
        self.counters.records += 1;
        self.counters.bytes_over_limit += self.record.n_bytes_cut;
        self.record.n_lines = std::mem::take(&mut self.n_lines);
        emit(&self.record);
    }

    fn blank(&mut self) {
        if self.held.is_some() && !matches!(self.format, LogFormat::Stderr(_)) {
            self.n_lines += 1;
        } else {
            self.counters.lines_outside += 1;
        }
    }

    /// Makes the line a record of its own that is marked as not in the format.
    fn malformed(&mut self, text: &str) {
        self.counters.malformed += 1;
        // A torn record may begin in the middle of a statement's literal, which no masker could tell from words.
        let safe = match self.format {
            LogFormat::Json | LogFormat::Mongo => "malformed json line",
            LogFormat::Csv => "malformed csv record",
            LogFormat::MysqlSlow => "line outside of an entry of the slow log",
            LogFormat::MysqlError | LogFormat::MongoText => "line outside of a record of the log",
            LogFormat::Stderr(_) | LogFormat::Redis | LogFormat::Plain => text,
        };
        self.record.clear();
        plain::head(safe, self.defaults, &mut self.record);
        self.record.malformed = true;
    }

    /// Formats with an object per line.
    fn object_line(&mut self, text: &str, emit: &mut impl FnMut(&LogRecord)) {
        self.n_lines = 1;
        self.record.clear();
        let known = match self.format {
            LogFormat::Mongo => mongo::structured(text, &mut self.record, &mut self.scratch),
            _ => json::parse(text, self.defaults, &mut self.record, &mut self.scratch),
        };
        if !known {
            self.malformed(text);
        }
        self.hand_out(emit);
    }

    /// Error logs of MySQL may come wrapped by a container runtime or a journal: one object or one prefix per line.
    fn mysql_line(&mut self, start: u64, text: &str, emit: &mut impl FnMut(&LogRecord)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let inside = mysql_error::unwrapped(text, &mut scratch);
        self.headed_line(start, inside, emit);
        self.scratch = scratch;
    }

    /// Formats whose records begin with a head; other lines go on with the record before.
    fn headed_line(&mut self, start: u64, text: &str, emit: &mut impl FnMut(&LogRecord)) {
        let is_open = self.held.is_some() && self.n_lines < OPEN_LINES_MAX;
        self.next.clear();
        let begins = match self.format {
            LogFormat::MysqlError => mysql_error::head(text, self.defaults, &mut self.next),
            LogFormat::MongoText => mongo::old(text, self.defaults, false, &mut self.next),
            LogFormat::Redis => redis::head(text, self.defaults, &mut self.next),
            _ => match syslog::unwrapped(text, self.defaults) {
                Some(wrapped) => {
                    let begins = !is_open || plain::begins_wrapped(&wrapped);
                    if begins && plain::begins_wrapped(&wrapped) {
                        plain::wrapped(&wrapped, &mut self.next);
                    } else if begins {
                        self.next.set_words("rest of a record of PostgreSQL");
                    }
                    begins
                }
                None => {
                    let begins = !is_open || !plain::goes_on(text);
                    if begins {
                        plain::head(text, self.defaults, &mut self.next);
                    }
                    begins
                }
            },
        };
        if begins {
            self.flush(emit);
            std::mem::swap(&mut self.record, &mut self.next);
            self.held = Some(start);
            self.n_lines = 1;
        } else if is_open {
            self.n_lines += 1;
            if self.is_kept(text) {
                self.record.push_words("\n");
                self.record.push_words(text);
            }
        } else {
            self.flush(emit);
            self.n_lines = 1;
            self.malformed(text);
            self.hand_out(emit);
        }
    }

    /// Whether the text of a line that goes on with the record is safe to keep.
    fn is_kept(&self, text: &str) -> bool {
        match self.format {
            LogFormat::MysqlError => mysql_error::is_kept(&self.record, text),
            // A crash report lists the commands of clients.
            LogFormat::Redis => false,
            LogFormat::Plain => {
                !(self.record.has_statement || self.record.has_detail)
                    && syslog::unwrapped(text, self.defaults).is_none()
            }
            _ => true,
        }
    }

    fn slow_line(&mut self, start: u64, text: &str, emit: &mut impl FnMut(&LogRecord)) {
        use mysql_slow::{Line, Part};
        let mut line = mysql_slow::classify(text);
        if self.part == Part::Header && mysql_slow::is_unknown_header(text) {
            line = Line::Header;
        }
        let goes_on = match (self.part, line) {
            (Part::Header, Line::Header) => !mysql_slow::begins_another(text, &self.record),
            (Part::Header | Part::Body, Line::Body) => true,
            (Part::Banner, Line::BannerMore) => true,
            _ => false,
        };
        if !(goes_on && self.held.is_some()) {
            self.flush(emit);
            self.slow_at = self.record.at.or(self.slow_at);
            self.record.clear();
            self.record.at = self.slow_at;
            self.held = Some(start);
            self.zoned = false;
        }
        self.n_lines += 1;
        match line {
            Line::Header => {
                self.zoned |= mysql_slow::is_zoned(text);
                mysql_slow::header(text, self.defaults, &mut self.record);
                self.part = Part::Header;
            }
            Line::Banner | Line::BannerMore => {
                // The file says no time for this, and the one before may be long ago.
                self.record.at = None;
                self.slow_at = None;
                if self.part != Part::Banner {
                    self.record.set_words("slow log opened");
                }
                self.part = Part::Banner;
            }
            Line::Body => {
                if self.part == Part::Nothing {
                    self.malformed(text);
                }
                mysql_slow::body(text, self.zoned, &mut self.record);
                self.part = Part::Body;
            }
        }
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
        if !csv::parse(text, self.defaults, &mut self.record, &mut self.csv) {
            self.malformed(text);
        }
        self.hand_out(emit);
    }
}

#[path = "assemble_stderr.rs"]
mod stderr_lines;

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
