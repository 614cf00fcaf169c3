//! Logs of anything else: a time where one is found, a severity where a word says so, traces joined. (step 2)

use super::record::{LogRecord, plain_severity};
use super::time::{TimeDefaults, scan};

/// Whether a line goes on with the one before: indented, or a frame or cause of a stack trace.
pub(super) fn goes_on(line: &str) -> bool {
    line.starts_with([' ', '\t'])
        || line.starts_with("at ")
        || line.starts_with("Caused by:")
        || line.starts_with("... ")
}

/// Takes the line apart; every line is a record.
pub(super) fn head(line: &str, defaults: TimeDefaults, record: &mut LogRecord) {
    let (at, rest) = timed(line, defaults);
    record.at = at;
    record.severity = plain_severity(rest);
    record.set_message(rest);
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
