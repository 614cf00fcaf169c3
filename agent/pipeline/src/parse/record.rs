//! One log event, whatever format it came in. (step 2)

use hsw_types::WallTime;

use super::json;
use super::statement::{quoted_query_text, split};

/// A message is kept up to here; the rest is counted. Templates need 300 characters.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// A statement or a plan is kept up to here; the rest is counted.
const STATEMENT_BYTES_MAX: usize = 64 * 1024;

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
        self.malformed = false;
    }

    /// Takes the message; the statement behind a duration is set apart at once, so that nothing ships it as words.
    pub fn set_message(&mut self, message: &str) {
        let parts = split(message);
        self.has_statement |= parts.message.len() < message.trim_end().len();
        if parts.duration_ms.is_some() {
            self.duration_ms = parts.duration_ms;
        }
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

/// The first of a plain line's early words that is a severity, e.g. `[Warning]`, `ERROR:`.
fn plain_severity(line: &str) -> Severity {
    line.split(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | ':' | '(' | ')' | '=' | '"'))
        .filter(|word| !word.is_empty())
        .take(12)
        .find_map(|word| match Severity::parse(word) {
            // Ordinary words in ordinary lines.
            Some(Severity::Log | Severity::Notice | Severity::Info) | None => None,
            Some(_) if !word.starts_with(|c: char| c.is_ascii_uppercase()) => None,
            found => found,
        })
        .unwrap_or(Severity::Log)
}

/// `2026-11-20 17:50:48.123 UTC` → time; UTC, GMT, Z and numeric offsets are exact, any other zone is `None`.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<WallTime> {
    let bytes = text.as_bytes();
    let digits = |from: usize, n: usize| -> Option<i64> {
        bytes.get(from..from + n)?.iter().try_fold(0, |sum, &byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b" T") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !sound {
        return None;
    }
    let mut at = 19;
    let mut micros = 0;
    if is(at, b".,") {
        let n = bytes[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let kept = n.min(6);
        let scale = 10_i64.pow(u32::try_from(6 - kept).unwrap_or(0));
        micros = digits(at + 1, kept)? * scale;
        at += 1 + n;
    }
    let offset = zone_seconds(text.get(at..)?.trim())?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(WallTime((seconds - offset) * 1_000_000 + micros))
}

/// Seconds east of Greenwich.
fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "UTC" | "GMT" | "Z" | "Etc/UTC") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize| {
        digits
            .get(from..from + 2)
            .map_or(Some(0), |d| d.parse::<i64>().ok())
    };
    Some(sign * (part(0)? * 3_600 + part(2)? * 60 + part(4)?))
}

/// Days since 1970-01-01 of a Gregorian date (Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_with_a_known_zone_is_exact_and_an_abbreviation_is_unknown() {
        let utc = WallTime(1_795_197_048_123_000);
        for text in [
            "2026-11-20 17:50:48.123 UTC",
            "2026-11-20 18:50:48.123 +01",
            "2026-11-20T17:50:48.123Z",
            "2026-11-20 12:20:48.123000 -0530",
        ] {
            assert_eq!(parse_timestamp(text), Some(utc), "{text}");
        }
        assert_eq!(
            parse_timestamp("2000-02-29 00:00:00 GMT"),
            Some(WallTime::from_unix_seconds(951_782_400))
        );
        for text in [
            "2026-11-20 17:50:48.123 CET",
            "2026-13-20 17:50:48 UTC",
            "",
            "2026-11-20",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

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
            ("all fine, no error here", Severity::Log),
        ] {
            assert_eq!(LogRecord::plain(line).severity, severity, "{line}");
        }
        assert_eq!(Severity::parse("DEBUG3"), Some(Severity::Debug));
    }
}
