//! Logs of anything else: a time where one is found, a severity where a word says so, traces joined. (step 2)
//!
//! Invariant: what PostgreSQL writes behind DETAIL, STATEMENT or CONTEXT, and statements behind a duration, is not kept,
//! whoever passed the line on. Of an object only its message is kept.

use super::record::{LogRecord, Severity, plain_severity};
use super::time::{TimeDefaults, scan};
use super::{object, syslog, words};

/// A word before a colon may be as long as this.
const WORD_BYTES_MAX: usize = 40;

/// Whether a line goes on with the one before: indented, or a frame or cause of a stack trace.
pub(super) fn goes_on(line: &str) -> bool {
    line.starts_with([' ', '\t'])
        || line.starts_with("at ")
        || line.starts_with("Caused by:")
        || line.starts_with("... ")
}

/// Takes the line apart; every line is a record.
pub(super) fn head(line: &str, defaults: TimeDefaults, record: &mut LogRecord) {
    if let Some(said) = object::parse(line, defaults, record) {
        let (at, severity) = (record.at, record.severity);
        if said.is_line() {
            text(said.message.trim_end(), defaults, record);
            record.at = record.at.or(at);
        } else if said.message.is_empty() {
            record.set_words("json line without a message");
        } else {
            words_of(&said.message, record);
        }
        if said.is_levelled() {
            record.severity = severity;
        }
        return;
    }
    text(line, defaults, record);
}

/// What a line is that syslog wrote for a PostgreSQL server: whether it begins a record.
pub(super) fn begins_wrapped(wrapped: &syslog::Wrapped<'_>) -> bool {
    let companion = || marked(wrapped.inside).is_some_and(|mark| mark.severity.is_none());
    !wrapped.tabbed && !wrapped.later && !companion()
}

/// Takes such a line apart; of its prefix nothing is known, so it is left out.
pub(super) fn wrapped(wrapped: &syslog::Wrapped<'_>, record: &mut LogRecord) {
    let inside = wrapped.inside;
    match marked(inside) {
        Some(mark) => {
            record.severity = mark.severity.unwrap_or_default();
            record.set_postgres_message(inside.get(mark.behind..).unwrap_or("").trim_start());
        }
        None => words_of(inside, record),
    }
    record.at = wrapped.at;
    record.pid = wrapped.pid;
}

fn text(line: &str, defaults: TimeDefaults, record: &mut LogRecord) {
    let (at, rest) = timed(line, defaults);
    record.at = at;
    words_of(rest, record);
}

/// Severity and message; statements and rows are left out.
fn words_of(rest: &str, record: &mut LogRecord) {
    let Some(mark) = marked(rest) else {
        record.severity = plain_severity(rest);
        let at = rest.find("duration: ").unwrap_or(0);
        shortened(rest, at, record);
        if at > 0 && record.statement.is_empty() && record.plan.is_empty() {
            // Some other program's duration.
            (record.duration_ms, record.has_statement) = (None, false);
            record.set_words(rest);
        }
        return;
    };
    let Some(severity) = mark.severity else {
        record.severity = plain_severity(&rest[..mark.from]);
        record.has_detail = true;
        record.set_words(rest[..mark.from].trim_end());
        return;
    };
    record.severity = severity;
    let blanks = rest[mark.behind..].len() - rest[mark.behind..].trim_start().len();
    shortened(rest, mark.behind + blanks, record);
}

/// Takes a message with a prefix that ends at `at`.
fn shortened(rest: &str, at: usize, record: &mut LogRecord) {
    let (prefix, message) = rest.split_at(at);
    if at == 0 {
        record.set_message(message);
    } else {
        record.set_postgres_message(message);
        // Another record of the line, squeezed into one.
        let end = marked(&record.message).map_or(record.message.len(), |mark| mark.from);
        let whole = format!("{prefix}{}", &record.message[..end]);
        record.set_words(whole.trim_end());
    }
}

/// A word of PostgreSQL and its colon.
struct Mark {
    from: usize,
    behind: usize,
    /// None for a companion.
    severity: Option<Severity>,
}

/// The first severity or companion of PostgreSQL in a line: `WORD:  `, or one blank behind the words that bring rows.
fn marked(text: &str) -> Option<Mark> {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() || matches!(c, ']' | '[' | ')' | '(' | '|' | ',' | ';' | '=') {
            from = at + c.len_utf8();
            continue;
        }
        if c != ':' {
            continue;
        }
        let (word, behind) = (&text[from..at], &text[at + 1..]);
        let shouted = !word.is_empty() && !word.contains(|c: char| c.is_lowercase());
        if shouted && word.len() <= WORD_BYTES_MAX && behind.starts_with([' ', '\u{a0}']) {
            let mark = |severity| {
                Some(Mark {
                    from,
                    behind: at + 1,
                    severity,
                })
            };
            let rows = matches!(word, "DETAIL" | "STATEMENT" | "CONTEXT" | "QUERY");
            let two = behind.starts_with("  ");
            if rows || ((two || !word.is_ascii()) && words::companion(word).is_some()) {
                return mark(None);
            }
            if two && let Some(severity) = words::severity(word) {
                return mark(Some(severity));
            }
        }
        from = at + 1;
    }
    None
}

/// The time at the start, bare or in brackets, and what follows it.
fn timed(line: &str, defaults: TimeDefaults) -> (Option<hsw_types::WallTime>, &str) {
    let line = line.trim_start_matches('\u{feff}');
    let open = usize::from(line.starts_with(['[', '<', '(', '"']));
    let Some(found) = scan(&line.as_bytes()[open..], defaults) else {
        return (None, line);
    };
    let rest = &line[open + found.n..];
    let rest = match open {
        0 => rest,
        _ => rest.trim_start_matches([']', '>', ')', '"']),
    };
    (
        found.at,
        rest.trim_start_matches([' ', '\t', ',', ':', ';']),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    #[test]
    fn times_and_severities_are_found_in_usual_lines() {
        let defaults = TimeDefaults {
            utc_offset_s: Some(0),
            not_after: Some(hsw_types::WallTime(1_795_197_048_000_000)),
        };
        for (line, severity, message) in [
            (
                "2026-11-20 17:50:48 [WARN] slow disk",
                Severity::Warning,
                "[WARN] slow disk",
            ),
            (
                "[Fri Nov 20 17:50:48 2026] [error] no route",
                Severity::Error,
                "[error] no route",
            ),
            (
                "<2026-11-20T17:50:48Z> ERROR no route",
                Severity::Error,
                "ERROR no route",
            ),
            (
                "Nov 20 17:50:48 db1 kernel: x",
                Severity::Log,
                "db1 kernel: x",
            ),
            ("261120 17:50:48 FATAL x", Severity::Fatal, "FATAL x"),
            ("1795197048 x", Severity::Log, "x"),
        ] {
            let mut record = LogRecord::default();
            head(line, defaults, &mut record);
            assert_eq!(
                record.at.map(|at| at.0),
                Some(1_795_197_048_000_000),
                "{line}"
            );
            assert_eq!(
                (record.severity, record.message.as_str()),
                (severity, message)
            );
        }
        let mut record = LogRecord::default();
        head("no time here", defaults, &mut record);
        assert_eq!((record.at, record.message.as_str()), (None, "no time here"));
    }

    #[test]
    fn statements_and_rows_of_postgres_are_left_out_of_plain_lines() {
        for (line, severity, message) in [
            (
                "db1: 2026-11-20 17:50:48 UTC [99] LOG:  duration: 8.5 ms  statement: select 'secret'",
                Severity::Log,
                "db1: 2026-11-20 17:50:48 UTC [99] LOG:  duration: 8.5 ms",
            ),
            (
                "db1: [99] LOG:  execute <unnamed>: select secret",
                Severity::Log,
                "db1: [99] LOG:  execute",
            ),
            (
                "db1: [99] DETAIL:  Failing row contains (secret)",
                Severity::Log,
                "db1: [99]",
            ),
            (
                "db1: ERROR: no DETAIL: Key (id)=(secret) STATEMENT: insert secret",
                Severity::Error,
                "db1: ERROR: no",
            ),
            (
                "db1: ERROR:  no CONTEXT: secret",
                Severity::Error,
                "db1: ERROR:  no",
            ),
            ("db1: FEHLER:  nein", Severity::Error, "db1: FEHLER:  nein"),
            (
                "db1 duration: 8.5 ms statement: select secret",
                Severity::Log,
                "db1 duration: 8.5 ms",
            ),
            ("db1: [99] DÉTAIL: secret", Severity::Log, "db1: [99]"),
        ] {
            let mut record = LogRecord::default();
            head(line, TimeDefaults::default(), &mut record);
            assert_eq!(
                (record.severity, record.message.as_str()),
                (severity, message),
                "{line}"
            );
        }
    }

    #[test]
    fn frames_of_a_stack_trace_go_on() {
        for line in [
            "\tat a.b.C(D.java:5)",
            "  File \"x.py\"",
            "Caused by: x",
            "at x",
            "... 5 more",
        ] {
            assert!(goes_on(line), "{line}");
        }
        assert!(!goes_on("attempt 5"));
    }
}
