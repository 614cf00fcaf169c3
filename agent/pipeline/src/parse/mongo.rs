//! The log of MongoDB: structured since 4.4, text before. (step 2)
//!
//! Structured: `{"t":{"$date":…},"s":"I","c":"COMMAND","id":51803,"ctx":"conn5","msg":"Slow query","attr":{…}}`.
//! Text: `2019-06-18T11:58:58.382+0100 I COMMAND  [conn1] command db.coll command: find {…} … 123ms`; 2.6 without the
//! letter and the component, 2.4 with `Fri Nov 20 17:50:48.123` for the time.
//! Invariant: MO-1 of documents only their shape is kept, as the statement; the message holds none.

use hsw_types::WallTime;

use super::json::Cursor;
use super::record::{LogRecord, Severity, plain_severity};
use super::shape::shape;
use super::time::{TimeDefaults, iso, named, parse_timestamp};

/// What the older format's lines of slow operations begin with; other lines may tell durations too.
const OPERATIONS: [&str; 8] = [
    "command", "query", "getmore", "insert", "update", "remove", "delete", "find",
];

/// Takes a structured line apart; false when it is none.
pub(super) fn structured(line: &str, record: &mut LogRecord, scratch: &mut String) -> bool {
    let mut rest = Cursor {
        text: line.trim(),
        at: 0,
    };
    if !rest.take(b'{') {
        return false;
    }
    let mut n_known = 0;
    let mut attributes = "";
    loop {
        let mut key = [0; 24];
        let Some(n_key) = rest.key(&mut key) else {
            return false;
        };
        if !rest.take(b':') {
            return false;
        }
        let Some(value) = rest.raw() else {
            return false;
        };
        match &key[..n_key] {
            b"t" => {
                record.at = date(value, scratch);
                n_known += usize::from(value.contains("$date"));
            }
            b"s" => {
                n_known += 1;
                record.severity = severity(text(value, scratch));
            }
            b"c" => record.component.push_str(text(value, scratch)),
            b"id" if value.len() <= 9 => record.code.push_str(value),
            b"ctx" => record.backend_type.push_str(text(value, scratch)),
            b"msg" => {
                n_known += 1;
                record.set_words(text(value, scratch));
            }
            b"attr" => attributes = value,
            _ => {}
        }
        if rest.take(b',') {
            continue;
        }
        let whole = rest.take(b'}') && rest.at == rest.text.len() && n_known >= 3;
        if whole {
            attribute_fields(attributes, record, scratch);
        }
        return whole;
    }
}

/// `{"$date":"2026-11-20T17:50:48.123+00:00"}`.
fn date(value: &str, scratch: &mut String) -> Option<WallTime> {
    let (_, quoted) = value.split_once(':')?;
    parse_timestamp(text(quoted.trim_end_matches('}').trim(), scratch))
}

/// A string without its quotes, or anything else as it stands.
fn text<'a>(value: &'a str, scratch: &'a mut String) -> &'a str {
    let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    match inside {
        Some(inside) if memchr::memchr(b'\\', inside.as_bytes()).is_none() => inside,
        Some(_) => {
            scratch.clear();
            super::json::unescape(&value[1..], scratch);
            scratch
        }
        None => value,
    }
}

fn attribute_fields(attributes: &str, record: &mut LogRecord, scratch: &mut String) {
    let mut rest = Cursor {
        text: attributes,
        at: 0,
    };
    let (mut from, mut to, mut command, mut kind, mut ns) = ("", "", "", "", "");
    let mut more = rest.take(b'{');
    while more {
        let mut key = [0; 24];
        let Some(n_key) = rest.key(&mut key) else {
            break;
        };
        let Some(value) = rest.take(b':').then(|| rest.raw()).flatten() else {
            break;
        };
        match &key[..n_key] {
            b"durationMillis" => record.duration_ms = milliseconds(value),
            b"ns" => ns = value.trim_matches('"'),
            b"command" => command = value,
            b"type" => kind = value,
            b"docsExamined" => record.rows_examined = value.parse().ok(),
            b"nreturned" => record.rows_sent = value.parse().ok(),
            b"appName" => record.application.push_str(text(value, scratch)),
            b"remote" => {
                let remote = text(value, scratch);
                let host = remote.rsplit_once(':').map_or(remote, |(host, _)| host);
                record.remote_host.push_str(host);
            }
            b"user" => record.user.push_str(text(value, scratch)),
            b"db" => record.database.push_str(text(value, scratch)),
            b"locks" => record.lock_ms = waited_ms(value),
            b"oldState" => from = value,
            b"newState" => to = value,
            _ => {}
        }
        more = rest.take(b',');
    }
    if !ns.is_empty() {
        namespace(ns, record);
    }
    if record.duration_ms.is_some() && command.starts_with('{') {
        statement(kind.trim_matches('"'), ns, command, record);
    }
    if !to.is_empty() {
        // States of a replica set are the server's words, not data.
        for part in [": ", from.trim_matches('"'), " -> ", to.trim_matches('"')] {
            record.push_words(part);
        }
    }
}

/// `shop.orders` names the database; the statement says the collection.
fn namespace(name: &str, record: &mut LogRecord) {
    record.database.clear();
    let database = name.split_once('.').map_or(name, |(database, _)| database);
    record.database.push_str(database);
}

/// A command names its collection; of other operations the namespace does.
fn statement(kind: &str, ns: &str, document: &str, record: &mut LogRecord) {
    let mut built = std::mem::take(&mut record.statement);
    built.clear();
    let is_command = kind.is_empty() || kind == "command";
    if !is_command {
        let collection = ns.split_once('.').map_or(ns, |(_, collection)| collection);
        for part in [kind, " ", collection, " "] {
            built.push_str(part);
        }
    }
    shape(document, is_command, &mut built);
    record.statement = built;
    record.has_statement = true;
}

/// The sum of all `timeAcquiringMicros` of a description of locks, in either notation.
fn waited_ms(locks: &str) -> Option<f64> {
    let mut sum = None;
    for part in locks.split("timeAcquiringMicros").skip(1) {
        let inside = part.split_once('{')?.1.split_once('}')?.0;
        for number in inside.split(',') {
            let micros: f64 = number.rsplit_once(':')?.1.trim().parse().ok()?;
            *sum.get_or_insert(0.0) += micros / 1e3;
        }
    }
    sum.filter(|ms| ms.is_finite() && *ms >= 0.0)
}

fn milliseconds(text: &str) -> Option<f64> {
    let ms: f64 = text.parse().ok()?;
    (ms.is_finite() && ms >= 0.0).then_some(ms)
}

fn severity(letter: &str) -> Severity {
    match letter.as_bytes().first() {
        Some(b'F') => Severity::Fatal,
        Some(b'E') => Severity::Error,
        Some(b'W') => Severity::Warning,
        Some(b'I') => Severity::Info,
        Some(b'D') => Severity::Debug,
        _ => Severity::Log,
    }
}

/// Takes a line of the older format apart; false when it does not begin a record. `strict`: also what no other system
/// writes must be there, for telling formats apart.
pub(super) fn old(
    line: &str,
    defaults: TimeDefaults,
    strict: bool,
    record: &mut LogRecord,
) -> bool {
    let bytes = line.as_bytes();
    let found = match bytes.get(10) {
        Some(b'T') => iso(bytes, defaults),
        // The weekday first, else it is somebody else's.
        _ => named(bytes, defaults).filter(|_| bytes.get(4).is_some_and(u8::is_ascii_uppercase)),
    };
    let Some(found) = found else {
        return false;
    };
    let Some(rest) = line[found.n..].strip_prefix(' ') else {
        return false;
    };
    record.at = found.at;
    let (level, component, rest) = levelled(rest);
    let inside = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (context, message) = inside.unwrap_or(("", rest));
    if strict && component.is_empty() && !is_thread(context) {
        return false;
    }
    record.component.push_str(component);
    record.backend_type.push_str(context);
    words(message.trim(), record);
    record.severity = match level {
        "" => plain_severity(message),
        level => severity(level),
    };
    true
}

/// `I COMMAND  [conn1] …` → the letter, the component, the rest.
fn levelled(text: &str) -> (&str, &str, &str) {
    let (level, rest) = text.split_once(' ').unwrap_or(("", text));
    let is_level = matches!(
        level,
        "F" | "E" | "W" | "I" | "D" | "D1" | "D2" | "D3" | "D4" | "D5"
    );
    let (component, behind) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_component = !component.is_empty()
        && component
            .bytes()
            .all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'-'));
    if is_level && is_component {
        (level, component, behind.trim_start())
    } else {
        ("", "", text)
    }
}

/// Threads whose names no other system uses.
fn is_thread(context: &str) -> bool {
    const NAMES: [&str; 14] = [
        "initandlisten",
        "mongosMain",
        "signalProcessingThread",
        "rsStart",
        "rsMgr",
        "rsSync",
        "rsHealthPoll",
        "rsBackgroundSync",
        "TTLMonitor",
        "clientcursormon",
        "Balancer",
        "journal",
        "LockPinger",
        "FileAllocator",
    ];
    let connection = context.strip_prefix("conn");
    NAMES.contains(&context)
        || connection.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The message without documents; of an operation with its duration all that is said of it.
fn words(message: &str, record: &mut LogRecord) {
    let Some(open) = memchr::memchr(b'{', message.as_bytes()) else {
        record.set_words(message);
        return;
    };
    let head = message[..open].trim_end();
    record.set_words(head);
    let Some(duration) = trailing_ms(message) else {
        return;
    };
    record.duration_ms = Some(duration);
    let mut words = head.split(' ');
    let (operation, ns) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if !OPERATIONS.contains(&operation) {
        return;
    }
    namespace(ns, record);
    statement(operation, ns, &message[open..], record);
    // Later than the document, which may hold the same words: from the end.
    let number = |key: &str| -> Option<u64> {
        let at = message.rfind(key)? + key.len();
        let rest = &message[at..];
        rest[..super::time::digits(rest.as_bytes())].parse().ok()
    };
    record.rows_examined = number(" docsExamined:").or_else(|| number(" nscanned:"));
    record.rows_sent = number(" nreturned:");
    if let Some(at) = message.rfind(" locks:{") {
        record.lock_ms = waited_ms(&message[at..]);
    }
}

/// `… 123ms`.
fn trailing_ms(message: &str) -> Option<f64> {
    let number = message.trim_end().strip_suffix("ms")?;
    let from = number.rfind(' ')? + 1;
    let text = &number[from..];
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_795_197_048_123_000;

    fn old_line(line: &str) -> Option<LogRecord> {
        let mut record = LogRecord::default();
        let defaults = TimeDefaults {
            utc_offset_s: Some(0),
            not_after: Some(WallTime(AT)),
        };
        old(line, defaults, false, &mut record).then_some(record)
    }

    #[test]
    fn a_structured_slow_query_gives_its_shape_and_numbers() {
        let line = r#"{"t":{"$date":"2026-11-20T17:50:48.123+00:00"},"s":"I",  "c":"COMMAND",  "id":51803,   "ctx":"conn5","msg":"Slow query","attr":{"type":"command","ns":"shop.orders","appName":"web","command":{"find":"orders","filter":{"name":"secret \" }"},"$db":"shop"},"planSummary":"COLLSCAN","docsExamined":70000,"nreturned":3,"locks":{"Global":{"acquireCount":{"r":2},"timeAcquiringMicros":{"r":1500}}},"remote":"10.0.0.9:5555","durationMillis":2500}}"#;
        let mut record = LogRecord::default();
        assert!(structured(line, &mut record, &mut String::new()));
        assert_eq!(record.at, Some(WallTime(AT)));
        assert_eq!(
            (record.component.as_str(), record.code.as_str()),
            ("COMMAND", "51803")
        );
        assert_eq!(
            (record.message.as_str(), record.database.as_str()),
            ("Slow query", "shop")
        );
        assert_eq!(
            record.statement,
            r#"{find: "orders", filter: {name: ?}, $db: "shop"}"#
        );
        assert_eq!(
            (record.duration_ms, record.lock_ms),
            (Some(2_500.0), Some(1.5))
        );
        assert_eq!(
            (record.rows_examined, record.rows_sent),
            (Some(70_000), Some(3))
        );
        assert_eq!(
            (record.application.as_str(), record.remote_host.as_str()),
            ("web", "10.0.0.9")
        );
        let state = r#"{"t":{"$date":"2026-11-20T17:50:48.123Z"},"s":"I","c":"REPL","id":21358,"ctx":"c","msg":"Replica set state transition","attr":{"newState":"PRIMARY","oldState":"SECONDARY"}}"#;
        let mut record = LogRecord::default();
        assert!(structured(state, &mut record, &mut String::new()));
        assert_eq!(
            record.message,
            "Replica set state transition: SECONDARY -> PRIMARY"
        );
    }

    #[test]
    fn other_objects_are_no_structured_lines() {
        for line in [
            "",
            "{",
            "{}",
            r#"{"msg":"x"}"#,
            r#"{"t":{"$date":"x"},"s":"I","msg":"y""#,
            "[1]",
        ] {
            assert!(
                !structured(line, &mut LogRecord::default(), &mut String::new()),
                "{line}"
            );
        }
    }

    #[test]
    fn a_slow_query_of_each_older_version_is_understood() {
        for (line, component) in [
            (
                "2026-11-20T17:50:48.123+0000 I COMMAND  [conn5] command shop.orders appName: \"web\" command: find { find: \"orders\", filter: { name: \"secret nreturned:9 \" } } planSummary: COLLSCAN keysExamined:0 docsExamined:70000 nreturned:3 locks:{ Global: { acquireCount: { r: 2 }, timeAcquiringMicros: { r: 1500 } } } protocol:op_msg 2500ms",
                "COMMAND",
            ),
            (
                "2026-11-20T17:50:48.123+0000 [conn5] query shop.orders query: { name: \"secret\" } planSummary: COLLSCAN nscanned:70000 nreturned:3 reslen:20 2500ms",
                "",
            ),
            (
                "Fri Nov 20 17:50:48.123 [conn5] query shop.orders query: { name: \"secret\" } nscanned:70000 locks(micros) r:5 nreturned:3 reslen:20 2500ms",
                "",
            ),
        ] {
            let record = old_line(line).unwrap();
            assert_eq!(record.at, Some(WallTime(AT)), "{line}");
            assert_eq!(
                (record.component.as_str(), record.backend_type.as_str()),
                (component, "conn5")
            );
            assert_eq!(
                (record.rows_examined, record.rows_sent),
                (Some(70_000), Some(3)),
                "{line}"
            );
            assert_eq!(
                (record.duration_ms, record.database.as_str()),
                (Some(2_500.0), "shop")
            );
            assert!(
                !record.statement.contains("secret") && !record.message.contains("secret"),
                "{line}"
            );
        }
    }

    #[test]
    fn ordinary_old_lines_keep_their_words() {
        let record = old_line("Fri Nov 20 17:50:48 [initandlisten] db version v2.2.5").unwrap();
        assert_eq!(
            (record.message.as_str(), record.severity),
            ("db version v2.2.5", Severity::Log)
        );
        let record = old_line("2026-11-20T17:50:48.123+0000 W -        [rsMgr] no reply").unwrap();
        assert_eq!(
            (record.message.as_str(), record.severity),
            ("no reply", Severity::Warning)
        );
        for line in [
            "",
            "Nov 20 17:50:48 db1 kernel: x",
            "2026-11-20 17:50:48.123 UTC [5] LOG:  x",
        ] {
            assert!(old_line(line).is_none(), "{line}");
        }
        let applied = "2026-11-20T17:50:48.123+0000 I REPL     [repl] applied op: CRUD { op: \"i\", o: { a: \"secret\" } }, took 120ms";
        let record = old_line(applied).unwrap();
        assert_eq!(
            (record.message.as_str(), record.duration_ms),
            ("applied op: CRUD", Some(120.0))
        );
        assert!(!record.has_statement);
        let other = "2026-11-20T17:50:48.123+0000 [main] INFO x";
        assert!(!old(
            other,
            TimeDefaults::default(),
            true,
            &mut LogRecord::default()
        ));
    }
}
