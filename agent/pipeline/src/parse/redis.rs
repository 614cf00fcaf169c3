//! The log of Redis and Valkey. (step 2)
//!
//! `PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL msg` since 3.0, `[PID] DD Mon HH:MM:SS.mmm LEVEL msg` before; local time.
//! Source: `serverLogRaw` in `src/server.c`; roles X sentinel, C child, S replica, M primary; levels `.` `-` `*` `#`.

use hsw_types::WallTime;

use super::record::{LogRecord, Severity};
use super::time::{TimeDefaults, day_first, digits};

/// Takes the line apart; false when it does not begin a record.
pub(super) fn head(line: &str, defaults: TimeDefaults, record: &mut LogRecord) -> bool {
    if line.starts_with("=== ") && line.contains(" BUG REPORT START") {
        record.severity = Severity::Panic;
        record.set_words(line);
        return true;
    }
    let bytes = line.as_bytes();
    let bracket = usize::from(bytes.first() == Some(&b'['));
    let n_pid = digits(&bytes[bracket..]);
    let at = bracket + n_pid;
    let (role, behind) = match bytes.get(at..) {
        Some([b':', role @ (b'M' | b'S' | b'C' | b'X'), b' ', ..]) if bracket == 0 => {
            (*role, at + 3)
        }
        Some([b':', b's', ..]) if bracket == 0 => return signal(&line[at..], n_pid, line, record),
        Some([b']', b' ', ..]) if bracket == 1 => (b' ', at + 2),
        _ => return false,
    };
    let Some(found) = day_first(&bytes[behind..], defaults) else {
        return false;
    };
    let [b' ', level, b' ', ..] = bytes[behind + found.n..] else {
        return false;
    };
    let severity = match level {
        b'.' => Severity::Debug,
        b'-' => Severity::Info,
        b'*' => Severity::Notice,
        b'#' => Severity::Warning,
        _ => return false,
    };
    record.at = found.at;
    let message = &line[behind + found.n + 3..];
    let crashed =
        message.contains(" crashed by signal") || message.contains("=== ASSERTION FAILED");
    record.severity = if crashed { Severity::Panic } else { severity };
    record.pid = line[bracket..at].parse().unwrap_or(0);
    record.backend_type.push_str(match role {
        b'M' => "primary",
        b'S' => "replica",
        b'C' => "child",
        b'X' => "sentinel",
        _ => "",
    });
    record.set_words(line[behind + found.n + 3..].trim());
    true
}

/// `1:signal-handler (1795197048) Received SIGTERM scheduling shutdown...`: no role, and the time in seconds since 1970.
fn signal(rest: &str, n_pid: usize, line: &str, record: &mut LogRecord) -> bool {
    let Some((seconds, message)) = rest
        .strip_prefix(":signal-handler (")
        .and_then(|rest| rest.split_once(") "))
    else {
        return false;
    };
    let Ok(seconds) = seconds.parse::<u32>() else {
        return false;
    };
    record.at = Some(WallTime::from_unix_seconds(i64::from(seconds)));
    record.severity = Severity::Warning;
    record.pid = line[..n_pid].parse().unwrap_or(0);
    record.set_words(message.trim());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_of_lines_are_taken_apart() {
        let defaults = TimeDefaults {
            utc_offset_s: Some(0),
            not_after: Some(WallTime(1_795_197_048_123_000)),
        };
        for (line, pid, role, severity, message) in [
            (
                "4711:M 20 Nov 2026 17:50:48.123 * Ready to accept connections tcp",
                4711,
                "primary",
                Severity::Notice,
                "Ready to accept connections tcp",
            ),
            (
                "[4711] 20 Nov 17:50:48.123 # Server started, Redis version 2.8.17",
                4711,
                "",
                Severity::Warning,
                "Server started, Redis version 2.8.17",
            ),
            (
                "12:S 20 Nov 2026 17:50:48.123 - DB 0: 5 keys",
                12,
                "replica",
                Severity::Info,
                "DB 0: 5 keys",
            ),
        ] {
            let mut record = LogRecord::default();
            assert!(head(line, defaults, &mut record), "{line}");
            assert_eq!(
                record.at.map(|at| at.0),
                Some(1_795_197_048_123_000),
                "{line}"
            );
            assert_eq!(
                (record.pid, record.backend_type.as_str(), record.severity),
                (pid, role, severity)
            );
            assert_eq!(record.message, message);
        }
        let mut record = LogRecord::default();
        let line = "1:signal-handler (1795197048) Received SIGTERM scheduling shutdown...";
        assert!(head(line, TimeDefaults::default(), &mut record));
        assert_eq!(record.at, Some(WallTime(1_795_197_048_000_000)));
        assert_eq!(
            (record.pid, record.severity, record.message.as_str()),
            (
                1,
                Severity::Warning,
                "Received SIGTERM scheduling shutdown..."
            )
        );
        for line in [
            "=== REDIS BUG REPORT START: Cut & paste starting from here ===",
            "7:M 20 Nov 2026 17:50:48.123 # Redis 7.2.4 crashed by signal: 11, si_code: 1",
        ] {
            let mut record = LogRecord::default();
            assert!(head(line, TimeDefaults::default(), &mut record));
            assert_eq!(record.severity, Severity::Panic, "{line}");
        }
        for line in [
            "",
            "1:signal-handler (x) y",
            "4711:M",
            "4711:Q 20 Nov 2026 17:50:48.123 * x",
            "[x] 20 Nov 17:50:48.123 * x",
        ] {
            assert!(!head(line, defaults, &mut LogRecord::default()), "{line}");
        }
    }
}
