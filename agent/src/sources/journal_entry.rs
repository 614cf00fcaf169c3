//! Journal entries: what `journalctl --output=json` prints, one line each; and their records. (step 1)
//!
//! In: lines. Out: [`Entry`]s, put together to records by unit. Invariants: JE-1 any bytes read as an entry or as nothing.
//! JE-2 the cursor to go on from lies before every entry that is not part of a handed-out record.

use std::collections::BTreeMap;

use hsw_pipeline::{Assembler, LogFormat, LogRecord, Severity};
use hsw_types::WallTime;
use serde_json::{Map, Value};

/// Longest cursor; systemd's are 120 bytes.
const CURSOR_BYTES_MAX: usize = 512;
/// Units told apart; the entries of more are put together as one's.
const N_UNITS_MAX: usize = 64;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) cursor: String,
    pub(super) unit: String,
    pub(super) at: Option<WallTime>,
    pub(super) severity: Severity,
    pub(super) message: Vec<u8>,
}

impl Entry {
    /// `None` where the line is no entry with a cursor.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let text = |name: &str| String::from_utf8_lossy(&bytes_of(fields.get(name))).into_owned();
        let cursor = text("__CURSOR");
        let known = !cursor.is_empty() && is_cursor(cursor.as_bytes());
        known.then(|| Self {
            cursor,
            unit: text("_SYSTEMD_UNIT"),
            at: text("__REALTIME_TIMESTAMP").parse().ok().map(WallTime),
            severity: severity(&text("PRIORITY")),
            message: bytes_of(fields.get("MESSAGE")),
        })
    }
}

/// Whether bytes can be a cursor, and so an argument and one line of a checkpoint.
pub(super) fn is_cursor(bytes: &[u8]) -> bool {
    bytes.len() <= CURSOR_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic)
}

/// A field is text, an array of bytes where it is not printable, or an array of these where it was given more than once.
fn bytes_of(field: Option<&Value>) -> Vec<u8> {
    match field {
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(Value::Array(items)) => match items.first() {
            Some(Value::Number(_)) => items
                .iter()
                .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect(),
            // Nested no deeper than that.
            Some(first @ (Value::String(_) | Value::Array(_))) => match first {
                Value::Array(inner) if !matches!(inner.first(), Some(Value::Number(_))) => {
                    Vec::new()
                }
                first => bytes_of(Some(first)),
            },
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Of syslog's numbers.
fn severity(priority: &str) -> Severity {
    match priority {
        "0" => Severity::Panic,
        "1" | "2" => Severity::Fatal,
        "3" => Severity::Error,
        "4" => Severity::Warning,
        "5" => Severity::Notice,
        "7" => Severity::Debug,
        _ => Severity::Log,
    }
}

/// Entries that wait to be part of a record, by unit.
#[derive(Debug, Default)]
pub(super) struct Journal {
    units: BTreeMap<String, Unit>,
    /// Counts lines; the assemblers' "offset".
    n: u64,
    cursor: Option<String>,
}

#[derive(Debug)]
struct Unit {
    assembler: Assembler,
    /// First line of the open record, the cursor before it, and what its entry said.
    open: Option<(u64, Option<String>)>,
    head: (Severity, Option<WallTime>),
    had_entries: bool,
}

impl Journal {
    pub(super) fn new(cursor: Option<String>) -> Self {
        Self {
            cursor,
            ..Self::default()
        }
    }

    /// Where to go on after a crash.
    pub(super) fn cursor(&self) -> Option<&str> {
        let open = self.units.values().filter_map(|unit| unit.open.as_ref());
        match open.min_by_key(|(n, _)| *n) {
            Some((_, before)) => before.as_deref(),
            None => self.cursor.as_deref(),
        }
    }

    pub(super) fn malformed(&self) -> u64 {
        let counts = self.units.values().map(|u| u.assembler.counters());
        counts.map(|c| c.malformed).sum()
    }

    /// Takes an entry; its unit's lines are in `format`.
    pub(super) fn take(
        &mut self,
        entry: Entry,
        format: &LogFormat,
        emit: &mut impl FnMut(&LogRecord),
    ) {
        let full = self.units.len() >= N_UNITS_MAX && !self.units.contains_key(&entry.unit);
        let name = if full { String::new() } else { entry.unit };
        let unit = self.units.entry(name).or_insert_with(|| Unit {
            assembler: Assembler::new(format.clone()),
            open: None,
            head: (Severity::Debug, None),
            had_entries: false,
        });
        unit.had_entries = true;
        let said = (entry.severity, entry.at);
        for line in entry.message.split(|&byte| byte == b'\n') {
            self.n += 1;
            let mut is_open = unit.open.is_some();
            let head = unit.head;
            unit.assembler.line(self.n, line, &mut |record: &_| {
                // What was open comes first.
                let of = if std::mem::take(&mut is_open) {
                    head
                } else {
                    said
                };
                emit_as(of, record, emit);
            });
            unit.note(self.cursor.as_ref(), said);
        }
        self.cursor = Some(entry.cursor);
    }

    /// Called once a second: records of units that said nothing are as complete as they will be.
    pub(super) fn tick(&mut self, emit: &mut impl FnMut(&LogRecord)) {
        for unit in self.units.values_mut() {
            if !std::mem::take(&mut unit.had_entries) {
                let head = unit.head;
                unit.assembler
                    .idle(&mut |record: &_| emit_as(head, record, emit));
                unit.note(self.cursor.as_ref(), head);
            }
        }
    }
}

impl Unit {
    /// Remembers where the open record began.
    fn note(&mut self, before: Option<&String>, said: (Severity, Option<WallTime>)) {
        let held = self.assembler.held();
        if held != self.open.as_ref().map(|(n, _)| *n) {
            self.open = held.map(|n| (n, before.cloned()));
            self.head = said;
        }
    }
}

/// The entry knows a time where the text has none, and sometimes a worse severity.
fn emit_as(
    said: (Severity, Option<WallTime>),
    record: &LogRecord,
    emit: &mut impl FnMut(&LogRecord),
) {
    if record.severity >= said.0 && record.at.is_some() {
        emit(record);
        return;
    }
    let mut raised = record.clone();
    raised.severity = raised.severity.max(said.0);
    raised.at = raised.at.or(said.1);
    emit(&raised);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32, unit: &str, priority: u8, message: &str) -> Entry {
        let line = format!(
            r#"{{"__CURSOR":"s=1;i={n}","_SYSTEMD_UNIT":"{unit}","PRIORITY":"{priority}","MESSAGE":"{message}","__REALTIME_TIMESTAMP":"1795197048000000"}}"#
        );
        Entry::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn fields_are_read_as_text_as_bytes_and_when_given_twice() {
        for (message, expected) in [
            (r#""plain""#, &b"plain"[..]),
            ("[104,105,255]", b"hi\xff"),
            (r#"["first","second"]"#, b"first"),
            ("[[104,105],[1]]", b"hi"),
            ("[[[104]]]", b""),
            ("null", b""),
            ("7", b""),
        ] {
            let line = format!(r#"{{"__CURSOR":"s=1","MESSAGE":{message}}}"#);
            let entry = Entry::parse(line.as_bytes()).unwrap();
            assert_eq!(entry.message, expected, "{message}");
        }
        for line in [
            "",
            "{}",
            "[]",
            "\u{fffd}",
            r#"{"__CURSOR":"a b"}"#,
            r#"{"__CURSOR":"","MESSAGE":"x"}"#,
        ] {
            assert_eq!(Entry::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_trace_over_several_entries_is_one_record_and_the_cursor_waits_for_it() {
        let mut journal = Journal::new(Some("before".to_owned()));
        let mut told = Vec::new();
        let mut emit = |r: &LogRecord| told.push((r.severity, r.message.clone(), r.at.is_some()));
        journal.take(entry(1, "a", 6, "fine"), &LogFormat::Plain, &mut emit);
        journal.take(entry(2, "b", 3, "it broke"), &LogFormat::Plain, &mut emit);
        journal.take(entry(3, "b", 6, "  at once"), &LogFormat::Plain, &mut emit);
        assert_eq!(journal.cursor(), Some("before"));
        journal.take(entry(4, "a", 6, "fine again"), &LogFormat::Plain, &mut emit);
        assert_eq!(journal.cursor(), Some("s=1;i=1"));
        journal.tick(&mut emit);
        journal.tick(&mut emit);
        assert_eq!(journal.cursor(), Some("s=1;i=4"));
        let expected = [
            (Severity::Log, "fine".to_owned(), true),
            (Severity::Log, "fine again".to_owned(), true),
            (Severity::Error, "it broke\n  at once".to_owned(), true),
        ];
        assert_eq!(told, expected);
    }
}
