//! One log event, whatever format it came in. (step 2)

use hsw_types::WallTime;

use super::json;
use super::statement::{Parts, quoted_query_text, split};
use super::words;

/// A message is kept up to here; the rest is counted. Templates need 300 characters.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// A statement or a plan is kept up to here; the rest is counted.
pub(crate) const STATEMENT_BYTES_MAX: usize = 64 * 1024;

/// Severity as PostgreSQL names it; other systems' words are mapped onto it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// `DEBUG1` … `DEBUG5`.
    Debug,
    /// Server operation, for the administrator.
    #[default]
    Log,
    /// For the client.
    Info,
    /// For the client.
    Notice,
    /// Likely problem.
    Warning,
    /// A statement was aborted.
    Error,
    /// A session was ended.
    Fatal,
    /// All sessions were ended.
    Panic,
}

impl Severity {
    /// Every severity, ascending.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Log,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Fatal,
        Self::Panic,
    ];

    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Log => "LOG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Panic => "PANIC",
        }
    }

    /// Of a word in any case, English; what other systems write counts too. `None` for no severity at all.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        const WORDS: [(&str, Severity); 16] = [
            ("LOG", Severity::Log),
            ("ERROR", Severity::Error),
            ("FATAL", Severity::Fatal),
            ("WARNING", Severity::Warning),
            ("NOTICE", Severity::Notice),
            ("INFO", Severity::Info),
            ("PANIC", Severity::Panic),
            ("DEBUG", Severity::Debug),
            ("WARN", Severity::Warning),
            ("NOTE", Severity::Notice),
            ("SYSTEM", Severity::Info),
            ("ERR", Severity::Error),
            ("CRITICAL", Severity::Fatal),
            ("CRIT", Severity::Fatal),
            ("TRACE", Severity::Debug),
            ("EMERG", Severity::Panic),
        ];
        let stem = match word.as_bytes() {
            [stem @ .., b'1'..=b'5'] if stem.eq_ignore_ascii_case(b"DEBUG") => &word[..5],
            _ => word,
        };
        WORDS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(stem))
            .map(|&(_, severity)| severity)
    }

    /// Of a SQLSTATE, where the word is of a language we do not know: 01 and 02 are warnings, by the standard.
    pub(super) fn of_code(code: &str) -> Self {
        match code.get(..2) {
            None | Some("00") => Self::Log,
            Some("01" | "02") => Self::Warning,
            Some(_) => Self::Error,
        }
    }
}

/// A log event. Absent strings are empty.
///
/// `statement` and `plan` hold literals: they are for the parsers of this host and are in nothing that leaves it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogRecord {
    /// Data time; `None` when the line has none or its zone is an abbreviation that could mean several.
    pub at: Option<WallTime>,
    /// Severity.
    pub severity: Severity,
    /// SQLSTATE; empty where nothing failed (`00000`).
    pub code: String,
    /// Login role.
    pub user: String,
    /// Database.
    pub database: String,
    /// `application_name`.
    pub application: String,
    /// The client, without its port.
    pub remote_host: String,
    /// `client backend`, `checkpointer` …
    pub backend_type: String,
    /// Process id; 0 when unknown.
    pub pid: u32,
    /// The message. Of a statement with its duration only the duration is left here.
    pub message: String,
    /// Whether a DETAIL came with it; its text is not kept.
    pub has_detail: bool,
    /// Whether a STATEMENT or QUERY came with it, or inside the message.
    pub has_statement: bool,
    /// The statement as it was written, literals included; never leaves the host.
    pub statement: String,
    /// The plan of `auto_explain`, text or JSON; never leaves the host.
    pub plan: String,
    /// The part of the system that speaks: MongoDB's component, MySQL's subsystem.
    pub component: String,
    /// From `duration: … ms` and the like.
    pub duration_ms: Option<f64>,
    /// Time spent waiting for locks.
    pub lock_ms: Option<f64>,
    /// Rows (documents) the statement looked at.
    pub rows_examined: Option<u64>,
    /// Rows (documents) it returned.
    pub rows_sent: Option<u64>,
    /// Lines this record was made of.
    pub n_lines: u64,
    /// Bytes beyond the limits of the fields.
    pub n_bytes_cut: u64,
    /// The duration is of parsing or binding a statement whose execution has a line of its own.
    pub is_step: bool,
    /// The line was not in the expected format.
    pub malformed: bool,
}

impl LogRecord {
    /// A line without any structure.
    #[must_use]
    pub fn plain(line: &str) -> Self {
        let mut record = Self {
            severity: plain_severity(line),
            ..Self::default()
        };
        record.set_message(line);
        record
    }

    /// Empties every field and keeps the memory.
    pub fn clear(&mut self) {
        self.at = None;
        self.severity = Severity::Log;
        for text in [
            &mut self.code,
            &mut self.user,
            &mut self.database,
            &mut self.application,
            &mut self.remote_host,
            &mut self.backend_type,
            &mut self.message,
            &mut self.statement,
            &mut self.plan,
            &mut self.component,
        ] {
            text.clear();
        }
        self.pid = 0;
        self.has_detail = false;
        self.has_statement = false;
        self.duration_ms = None;
        self.lock_ms = None;
        self.rows_examined = None;
        self.rows_sent = None;
        self.n_lines = 0;
        self.n_bytes_cut = 0;
        self.is_step = false;
        self.malformed = false;
    }

    /// Takes the message; the statement behind a duration is set apart at once, so that nothing ships it as words.
    pub fn set_message(&mut self, message: &str) {
        self.take_parts(message, split(message));
    }

    /// Takes a message of PostgreSQL, in whatever language.
    pub(crate) fn set_postgres_message(&mut self, message: &str) {
        let mut parts = split(message);
        if parts.message.len() == message.trim_end().len() {
            parts = words::split(message).unwrap_or(parts);
        }
        self.take_parts(message, parts);
    }

    fn take_parts(&mut self, message: &str, parts: Parts<'_>) {
        self.has_statement |= parts.message.len() < message.trim_end().len();
        if parts.duration_ms.is_some() {
            self.duration_ms = parts.duration_ms;
        }
        self.is_step |= parts.is_step;
        self.set_words(parts.message);
        if !parts.statement.is_empty() {
            self.set_statement(parts.statement);
        }
        if !parts.plan.is_empty() {
            self.plan.clear();
            self.n_bytes_cut += push_bounded(&mut self.plan, parts.plan, STATEMENT_BYTES_MAX);
            if parts.statement.is_empty()
                && let Some(quoted) = quoted_query_text(&self.plan)
            {
                self.statement.clear();
                // The plan is bounded and unescaping makes nothing longer.
                json::unescape(quoted, &mut self.statement);
            }
        }
    }

    /// Takes a message that holds no statement.
    pub(crate) fn set_words(&mut self, message: &str) {
        self.message.clear();
        self.n_bytes_cut += push_bounded(&mut self.message, message, MESSAGE_BYTES_MAX);
    }

    /// Goes on with the message.
    pub(crate) fn push_words(&mut self, more: &str) {
        self.n_bytes_cut += push_bounded(&mut self.message, more, MESSAGE_BYTES_MAX);
    }

    /// Takes a statement.
    pub(crate) fn set_statement(&mut self, statement: &str) {
        self.statement.clear();
        self.push_statement(statement);
    }

    /// Goes on with the statement.
    pub(crate) fn push_statement(&mut self, more: &str) {
        self.has_statement = true;
        self.n_bytes_cut += push_bounded(&mut self.statement, more, STATEMENT_BYTES_MAX);
    }
}

/// Appends what fits, whole characters; the number of bytes that did not.
pub(crate) fn push_bounded(to: &mut String, text: &str, n_max: usize) -> u64 {
    let n = text.floor_char_boundary(n_max.saturating_sub(to.len()));
    to.push_str(&text[..n]);
    (text.len() - n) as u64
}

/// The first of a plain line's early words that is a severity, e.g. `[Warning]`, `ERROR:`, `level=error`.
#[must_use]
pub fn plain_severity(line: &str) -> Severity {
    let mut before = ' ';
    let mut at = 0;
    for _ in 0..12 {
        let rest = &line[at..];
        let n = rest.find(|c| !is_between(c)).unwrap_or(rest.len());
        before = rest[..n].chars().next_back().unwrap_or(before);
        let rest = &rest[n..];
        let end = rest.find(is_between).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        at += n + end;
        let marked = word.starts_with(|c: char| c.is_ascii_uppercase())
            || before == '='
            || (before == '[' && after.starts_with(']'));
        match Severity::parse(word) {
            // Ordinary words in ordinary lines.
            Some(Severity::Log | Severity::Notice | Severity::Info) | None => {}
            Some(found) if marked => return found,
            Some(_) => {}
        }
    }
    Severity::Log
}

fn is_between(c: char) -> bool {
    c.is_whitespace() || matches!(c, '[' | ']' | ':' | '(' | ')' | '=' | '"' | '|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_statement_with_its_duration_only_the_duration_is_kept() {
        let record = LogRecord::plain("duration: 812.300 ms  statement: select 'secret'");
        assert_eq!(record.message, "duration: 812.300 ms");
        assert_eq!(record.duration_ms, Some(812.3));
        assert!(record.has_statement);
        assert_eq!(record.statement, "select 'secret'");
        assert!(!LogRecord::plain("duration: 1 ms").has_statement);
        let record = LogRecord::plain("execute <unnamed>: select $$secret$$");
        assert_eq!(
            (record.message.as_str(), record.has_statement),
            ("execute ", true)
        );
        assert_eq!(LogRecord::plain("duration: none ms x").duration_ms, None);
        let record = LogRecord::plain("duration: 1 ms  plan:\n{\"Query Text\": \"select\\n 'x'\"}");
        assert_eq!(record.statement, "select\n 'x'");
        assert_eq!(record.message, "duration: 1 ms");
    }

    #[test]
    fn no_field_grows_over_its_limit_and_what_is_cut_is_counted() {
        let mut record = LogRecord::default();
        record.set_message(&format!(
            "duration: 1 ms  statement: {}",
            "ä".repeat(40_000)
        ));
        assert!(record.statement.len() <= STATEMENT_BYTES_MAX);
        assert_eq!(record.n_bytes_cut as usize, 80_000 - record.statement.len());
        record.clear();
        record.set_message(&"x".repeat(10_000));
        assert_eq!((record.message.len(), record.n_bytes_cut), (8_192, 1_808));
    }

    #[test]
    fn severities_of_other_systems_are_recognised_in_plain_lines() {
        for (line, severity) in [
            (
                "2026-11-20  1:02:03 5 [Warning] Aborted connection",
                Severity::Warning,
            ),
            ("Error: out of space", Severity::Error),
            ("[Fri Nov 20] [error] no route", Severity::Error),
            ("level=warn msg=x", Severity::Warning),
            ("all fine, no error here", Severity::Log),
        ] {
            assert_eq!(LogRecord::plain(line).severity, severity, "{line}");
        }
        assert_eq!(Severity::parse("DEBUG3"), Some(Severity::Debug));
    }
}
