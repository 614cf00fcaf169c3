//! JSON lines of programs that are not databases: etcd, zap, logrus, pino, MySQL's sink, a container's wrapper. (step 2)
//!
//! In: one line. Out: its message, severity and time. Nothing else of it is kept: nobody knows what the other keys hold.

use hsw_types::WallTime;

use super::json::Cursor;
use super::record::{LogRecord, Severity};
use super::time::{TimeDefaults, scan};

/// Keys that may hold the message, the best first.
const MESSAGES: [&[u8]; 4] = [b"msg", b"message", b"error", b"log"];

/// What an object said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) message: String,
    /// Place in [`MESSAGES`], from 1; 0 for none.
    rank: usize,
    levelled: bool,
}

impl Said {
    /// Whether a severity was among it.
    pub(super) fn is_levelled(&self) -> bool {
        self.levelled
    }

    /// Whether the message is a line of its own, time and all, as a container runtime wraps it.
    pub(super) fn is_line(&self) -> bool {
        self.rank == MESSAGES.len()
    }
}

/// Reads the object; `None` when the line is none. One that is torn gives what came before.
pub(super) fn parse(line: &str, defaults: TimeDefaults, record: &mut LogRecord) -> Option<Said> {
    let text = line.trim();
    let mut rest = Cursor { text, at: 0 };
    let begins = text.strip_prefix('{')?.trim_start();
    if !begins.starts_with(['"', '}']) || !rest.take(b'{') {
        return None;
    }
    let mut said = Said::default();
    let mut value = String::new();
    let mut key = [0; 24];
    while let Some(n) = rest.key(&mut key) {
        if !rest.take(b':') {
            break;
        }
        let Some(raw) = rest.raw() else {
            break;
        };
        let is_string = raw.starts_with('"');
        value.clear();
        if is_string || !raw.starts_with(['{', '[']) {
            Cursor { text: raw, at: 0 }.value(&mut value);
            take(&key[..n], &value, is_string, defaults, record, &mut said);
        }
        if !rest.take(b',') {
            break;
        }
    }
    Some(said)
}

fn take(
    key: &[u8],
    value: &str,
    is_string: bool,
    defaults: TimeDefaults,
    record: &mut LogRecord,
    said: &mut Said,
) {
    match key {
        b"level" | b"severity" | b"label" | b"prio" | b"lvl" => {
            let found = Severity::parse(value).or_else(|| numbered(key, value));
            if let Some(found) = found {
                let before = said.levelled.then_some(record.severity);
                record.severity = before.map_or(found, |before| before.max(found));
                said.levelled = true;
            }
        }
        b"ts" | b"time" | b"timestamp" => record.at = time(value, defaults).or(record.at),
        _ => {}
    }
    let rank = MESSAGES.iter().position(|known| *known == key);
    if let Some(rank) = rank.map(|at| at + 1)
        && is_string
        && (said.rank == 0 || rank < said.rank)
    {
        said.rank = rank;
        said.message.clear();
        said.message.push_str(value);
    }
}

/// MySQL: 0 system, 1 error, 2 warning, 3 note. Pino and bunyan: 10 trace to 60 fatal.
fn numbered(key: &[u8], value: &str) -> Option<Severity> {
    Some(match (key == b"prio", value) {
        (true, "1") | (false, "50") => Severity::Error,
        (true, "2") | (false, "40") => Severity::Warning,
        (false, "60") => Severity::Fatal,
        _ => return None,
    })
}

/// As lines have it, or seconds since 1970 with a fraction or an exponent.
fn time(value: &str, defaults: TimeDefaults) -> Option<WallTime> {
    if let Some(found) = scan(value.as_bytes(), defaults) {
        return found.at;
    }
    let seconds: f64 = value.parse().ok()?;
    (1e9..1e10)
        .contains(&seconds)
        .then_some(WallTime((seconds * 1e6) as i64))
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    #[test]
    fn of_an_object_only_message_severity_and_time_are_kept() {
        for (line, severity, message) in [
            (
                r#"{"level":"warn","ts":"2026-11-20T17:50:48.000Z","caller":"etcdserver/util.go:170","msg":"apply request took too long","took":"120ms","request":"key:secret","a":{"b":["secret"]}}"#,
                Severity::Warning,
                "apply request took too long",
            ),
            (
                r#"{"level":"error","ts":1795197048,"error":"secret","msg":"failed"}"#,
                Severity::Error,
                "failed",
            ),
            (
                r#"{"level":"fatal","ts":1.795197048e9,"error":"no route"}"#,
                Severity::Fatal,
                "no route",
            ),
            (
                r#"{"time":"2026-11-20T17:50:48Z","level":"info","message":"ready"}"#,
                Severity::Info,
                "ready",
            ),
            (
                r#"{ "prio" : 1, "err_code" : 10924, "subsystem" : "Server", "msg" : "no space", "time" : "2026-11-20T17:50:48.000000Z", "label" : "Error" }"#,
                Severity::Error,
                "no space",
            ),
            (
                r#"{"timestamp":"2026-11-20T17:50:48Z","severity":"WARNING","query":"secret"}"#,
                Severity::Warning,
                "json line without a message",
            ),
            (
                r#"{"time":"2026-11-20T17:50:48Z","level":"error","message":"torn","query":"secr"#,
                Severity::Error,
                "torn",
            ),
            (
                r#"{"log":"2026-11-20 17:50:48 UTC [7] ERROR:  no\n","stream":"stderr"}"#,
                Severity::Error,
                "[7] ERROR:  no",
            ),
        ] {
            let mut record = LogRecord::default();
            plain::head(line, TimeDefaults::default(), &mut record);
            assert_eq!(
                (record.severity, record.message.as_str()),
                (severity, message),
                "{line}"
            );
            assert_eq!(
                record.at.map(|at| at.0),
                Some(1_795_197_048_000_000),
                "{line}"
            );
            assert!(!format!("{record:?}").contains("secr"), "{line}");
        }
        let mut record = LogRecord::default();
        plain::head("{x} is no object", TimeDefaults::default(), &mut record);
        assert_eq!(record.message, "{x} is no object");
    }
}
