//! The error log of MySQL, Percona Server, MariaDB and their Galera clusters. (step 2)
//!
//! `2026-11-20T17:50:48.123456Z 0 [Note] [MY-000000] [Galera] msg` (8.0 on), without the last two brackets (5.7),
//! `2026-11-20  7:50:48 0 [Note] msg` (5.6, MariaDB 10.1 on), `261120  7:50:48 [Note] msg` (before). Local time without a zone.
//! Lines without a time (descriptions of views, stack traces, monitors of InnoDB) go on with the record before. They hold
//! statements and rows, so they are counted; kept are only those of a view of the cluster.

use super::json;
use super::record::{LogRecord, Severity};
use super::time::{Found, TimeDefaults, iso, named, short};

/// Bytes of a journal's prefix: a host, a program, its process.
const JOURNAL_BYTES_MAX: usize = 120;

/// Without what others put around a line: `{"log":"…\n",…}` of a container runtime, `2026-11-20T17:50:48.123456789Z stderr F `
/// of the container interface, `Nov 20 17:50:48 host mysqld[7]: ` of a journal.
pub(super) fn unwrapped<'a>(line: &'a str, scratch: &'a mut String) -> &'a str {
    let bytes = line.as_bytes();
    match bytes.first() {
        Some(b'{') => {
            let Some(inside) = line.strip_prefix("{\"log\":\"") else {
                return line;
            };
            scratch.clear();
            json::unescape(inside, scratch);
            prefixed(scratch.trim_end())
        }
        Some(b'A'..=b'Z') => {
            let Some(found) = named(bytes, TimeDefaults::default()) else {
                return line;
            };
            let rest = &line[found.n..];
            let near = &rest[..rest.floor_char_boundary(JOURNAL_BYTES_MAX)];
            match near.find("]: ") {
                Some(at) if near.starts_with(' ') => &rest[at + "]: ".len()..],
                _ => line,
            }
        }
        _ => prefixed(line),
    }
}

/// Whether a line that goes on with `record` is kept: what Galera says of a view, in its own words and without a quote.
pub(super) fn is_kept(record: &LogRecord, line: &str) -> bool {
    if !matches!(record.component.as_str(), "WSREP" | "Galera") || line.len() > JOURNAL_BYTES_MAX {
        return false;
    }
    let words = line.trim();
    let sound = |rest: &str| {
        rest.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b" =:/()-,_.".contains(&b))
    };
    ["own_index:", "members", "component", "status:"]
        .iter()
        .any(|key| {
            let rest = words.strip_prefix(key);
            rest.is_some_and(|rest| rest.starts_with([' ', '(']) && rest.len() < 40 && sound(rest))
        })
        || is_member(words)
}

/// `0: 1d3ea8f5-…, name`.
fn is_member(words: &str) -> bool {
    let parts = words
        .split_once(": ")
        .and_then(|(index, rest)| Some((index, rest.split_once(", ")?)));
    parts.is_some_and(|(index, (id, name))| {
        index.bytes().all(|b| b.is_ascii_digit())
            && id.len() >= 8
            && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
            && !name.contains([' ', '\'', '"', '`'])
    })
}

fn prefixed(line: &str) -> &str {
    if line.as_bytes().get(10) != Some(&b'T') {
        return line;
    }
    let found = iso(line.as_bytes(), TimeDefaults::default());
    let Some(rest) = found.and_then(|found| line.get(found.n..)) else {
        return line;
    };
    let rest = rest
        .strip_prefix(" stderr ")
        .or_else(|| rest.strip_prefix(" stdout "));
    rest.and_then(|rest| rest.strip_prefix("F ").or_else(|| rest.strip_prefix("P ")))
        .unwrap_or(line)
}

/// Takes the line apart; false when it does not begin a record.
pub(super) fn head(line: &str, defaults: TimeDefaults, record: &mut LogRecord) -> bool {
    let bytes = line.as_bytes();
    let Some(found) = iso(bytes, defaults).or_else(|| short(bytes, defaults)) else {
        return crash_without_date(line, record);
    };
    let Found { at, n } = found;
    let rest = &line[n..];
    let Some(rest) = rest.strip_prefix([' ', '\t']) else {
        return false;
    };
    record.at = at;
    if let Some(rest) = rest.trim_start().strip_prefix('[') {
        // Before 5.6: no thread.
        return levelled(rest, record);
    }
    if got_signal(rest).is_some() {
        return crash(rest, record);
    }
    let (thread, behind) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
    if thread == "mysqld_safe" || thread == "mariadbd-safe" {
        record.component.push_str(thread);
        record.set_words(behind.trim());
        return true;
    }
    let hex = thread.strip_prefix("0x").unwrap_or(thread);
    if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return false;
    }
    record.pid = thread.parse().unwrap_or(0);
    match behind.trim_start().strip_prefix('[') {
        Some(rest) => levelled(rest, record),
        None if behind.trim_start().starts_with("InnoDB:") => {
            // InnoDB of 5.6 writes past the server.
            record.severity = innodb_severity(behind);
            words(behind.trim(), record);
            true
        }
        None => false,
    }
}

/// `Note] [MY-010051] [Server] msg`; the last two may be missing.
fn levelled(rest: &str, record: &mut LogRecord) -> bool {
    let Some((level, mut rest)) = rest.split_once(']') else {
        return false;
    };
    let Some(severity) = Severity::parse(level) else {
        return false;
    };
    record.severity = severity;
    for _ in 0..2 {
        let Some((inside, behind)) = rest
            .trim_start()
            .strip_prefix('[')
            .and_then(|behind| behind.split_once(']'))
        else {
            break;
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if inside.starts_with("MY-") && record.code.is_empty() {
            record.code.push_str(inside);
        } else if !record.code.is_empty() && !inside.is_empty() && inside.chars().all(word) {
            record.component.push_str(inside);
        } else {
            break;
        }
        rest = behind;
    }
    let mut message = rest.trim();
    if severity >= Severity::Error {
        // MariaDB puts the head of an error before its last words.
        if got_signal(message).is_some() {
            return crash(message, record);
        }
        if let Some(behind) = message.strip_prefix("[FATAL]") {
            record.severity = Severity::Fatal;
            message = behind.trim_start();
        }
    }
    words(message, record);
    true
}

/// Takes the message; statements that are part of it are set apart, names of sessions taken out.
fn words(message: &str, record: &mut LogRecord) {
    if record.component.is_empty() {
        let named = [
            "WSREP",
            "InnoDB",
            "Slave I/O",
            "Slave SQL",
            "Event Scheduler",
        ];
        if let Some(name) = named.iter().find(|name| {
            message
                .strip_prefix(**name)
                .is_some_and(|rest| rest.starts_with([':', ' ']))
        }) {
            record.component.push_str(name);
        } else if message.starts_with("Access denied for user '") {
            // MariaDB names no subsystem; 8.0 says this of its server.
            record.component.push_str("Server");
        }
    }
    let message = if record.severity >= Severity::Warning {
        session(message, record);
        without_statement(message, record)
    } else {
        message
    };
    record.set_words(message);
}

/// `… Statement: insert …`, `… on query. Default database: 'x'. Query: 'insert …'`.
fn without_statement<'a>(message: &'a str, record: &mut LogRecord) -> &'a str {
    for (word, close) in [(" Statement: ", ""), (" Query: '", "'")] {
        if let Some((before, statement)) = message.split_once(word) {
            record.set_statement(statement.strip_suffix(close).unwrap_or(statement));
            return before;
        }
    }
    message
}

/// `Aborted connection 5 to db: 'shop' user: 'app' host: '10.0.0.9'`, `Access denied for user 'app'@'10.0.0.9'`.
fn session(message: &str, record: &mut LogRecord) {
    let quoted = |word: &str| {
        let (_, rest) = message.split_once(word)?;
        rest.split_once('\'').map(|(inside, _)| inside)
    };
    if message.starts_with("Aborted connection ") {
        record.database.push_str(quoted(" db: '").unwrap_or(""));
        record.user.push_str(quoted(" user: '").unwrap_or(""));
        record
            .remote_host
            .push_str(quoted(" host: '").unwrap_or(""));
    } else if message.starts_with("Access denied for user '") {
        record.user.push_str(quoted(" user '").unwrap_or(""));
        record.remote_host.push_str(quoted("'@'").unwrap_or(""));
    }
}

/// `17:50:48 UTC - mysqld got signal 11 ;`, as 5.6 and 5.7 write it.
fn crash_without_date(line: &str, record: &mut LogRecord) -> bool {
    let bytes = line.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_digit)
        && bytes.get(2) == Some(&b':')
        && line
            .get(8..)
            .is_some_and(|rest| rest.starts_with(" UTC - "))
        && crash(&line[8..], record)
}

fn crash(rest: &str, record: &mut LogRecord) -> bool {
    let Some(at) = got_signal(rest) else {
        return false;
    };
    record.severity = Severity::Panic;
    record.set_words(rest[at..].trim_end_matches([' ', ';']));
    true
}

/// Where `mysqld got signal 11` or `mariadbd got exception 0x…` begins.
fn got_signal(text: &str) -> Option<usize> {
    let first = text.lines().next().unwrap_or("");
    let found = |name| {
        let at = first.find(name)?;
        let what = &first[at + str::len(name)..];
        (what.starts_with("signal ") || what.starts_with("exception ")).then_some(at)
    };
    found("mysqld got ").or_else(|| found("mariadbd got "))
}

fn innodb_severity(message: &str) -> Severity {
    if message.contains("Error") || message.contains("Assertion") {
        Severity::Error
    } else if message.contains("Warning") {
        Severity::Warning
    } else {
        Severity::Log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<LogRecord> {
        let mut record = LogRecord::default();
        let defaults = TimeDefaults {
            utc_offset_s: Some(0),
            not_after: None,
        };
        head(line, defaults, &mut record).then_some(record)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of lines")]
    fn every_generation_of_heads_is_known() {
        for (line, severity, code, component, message) in [
            (
                "2026-11-20T17:50:48.000000Z 0 [System] [MY-010931] [Server] ready for connections",
                Severity::Info,
                "MY-010931",
                "Server",
                "ready for connections",
            ),
            (
                "2026-11-20T19:50:48.000000+02:00 7 [ERROR] InnoDB: no space",
                Severity::Error,
                "",
                "InnoDB",
                "InnoDB: no space",
            ),
            (
                "2026-11-20 17:50:48 140213 [Warning] WSREP: x",
                Severity::Warning,
                "",
                "WSREP",
                "WSREP: x",
            ),
            (
                "261120 17:50:48 [Note] Event Scheduler: Loaded 0 events",
                Severity::Notice,
                "",
                "Event Scheduler",
                "Event Scheduler: Loaded 0 events",
            ),
            (
                "2026-11-20 17:50:48 7f9f0c0c5700 InnoDB: Error: x",
                Severity::Error,
                "",
                "InnoDB",
                "InnoDB: Error: x",
            ),
            (
                "2026-11-20T17:50:48Z UTC - mysqld got signal 6 ;",
                Severity::Panic,
                "",
                "",
                "mysqld got signal 6",
            ),
            (
                "261120 17:50:48 [ERROR] /usr/sbin/mariadbd got signal 11 ;",
                Severity::Panic,
                "",
                "",
                "mariadbd got signal 11",
            ),
            (
                "2026-11-20 17:50:48 0 [ERROR] [FATAL] InnoDB: Semaphore wait has lasted > 600 seconds",
                Severity::Fatal,
                "",
                "InnoDB",
                "InnoDB: Semaphore wait has lasted > 600 seconds",
            ),
            (
                "2026-11-20T17:50:48Z 0 [ERROR] [MY-012872] [InnoDB] [FATAL] Semaphore wait",
                Severity::Fatal,
                "MY-012872",
                "InnoDB",
                "Semaphore wait",
            ),
            (
                "261120 17:50:48 mysqld_safe Starting mysqld daemon",
                Severity::Log,
                "",
                "mysqld_safe",
                "Starting mysqld daemon",
            ),
        ] {
            let record = of(line).unwrap();
            assert_eq!(
                record.at.map(|at| at.0),
                Some(1_795_197_048_000_000),
                "{line}"
            );
            assert_eq!(
                (
                    record.severity,
                    record.code.as_str(),
                    record.component.as_str(),
                    record.message.as_str()
                ),
                (severity, code, component, message)
            );
        }
        assert_eq!(
            of("17:50:48 UTC - mysqld got signal 11 ;")
                .unwrap()
                .severity,
            Severity::Panic
        );
        for line in [
            "",
            "view (view_id(PRIM,1,2)",
            "\t1d3e,0",
            "2026-11-20 17:50:48 INFO main: x",
            "InnoDB: x",
        ] {
            assert!(of(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_statement_within_a_message_is_set_apart() {
        let record = of("2026-11-20T17:50:48Z 5 [Warning] Unsafe statement written. Statement: insert into t values ('secret')").unwrap();
        assert_eq!(record.statement, "insert into t values ('secret')");
        assert_eq!(record.message, "Unsafe statement written.");
        let record = of("2026-11-20T17:50:48Z 5 [ERROR] Slave SQL: Error 'x' on query. Default database: 'a'. Query: 'delete from t', Error_code: 1").unwrap();
        assert!(!record.message.contains("delete") && record.has_statement);
        let record = of("2026-11-20T17:50:48Z 5 [Note] Aborted connection 5 to db: 'shop' user: 'app' host: '10.0.0.9' (x)").unwrap();
        assert_eq!(record.severity, Severity::Notice);
        let record = of("2026-11-20T17:50:48Z 5 [Warning] Aborted connection 5 to db: 'shop' user: 'app' host: '10.0.0.9' (x)").unwrap();
        assert_eq!(
            (
                record.database.as_str(),
                record.user.as_str(),
                record.remote_host.as_str()
            ),
            ("shop", "app", "10.0.0.9")
        );
    }
}
