//! PostgreSQL `csvlog`: 23 columns (≤ 12), 24 (13: `backend_type`), 26 (≥ 14: `leader_pid`, `query_id`). (step 2)

use csv_core::{ReadRecordResult, Reader};

use super::record::{LogRecord, Severity};
use super::time::{TimeDefaults, timestamp};
use super::words;

/// Columns by place, as "Using CSV-Format Log Output" in the PostgreSQL manual lists them.
const N_COLUMNS: std::ops::RangeInclusive<usize> = 23..=26;

/// Scratch memory.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Its tables take longer to build than a record to read.
    reader: Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            // Its own default has empty tables.
            reader: Reader::new(),
            fields: Vec::new(),
            ends: Vec::new(),
        }
    }
}

/// Whether all quotes of a record are closed: a quoted newline does not end it. `inside` goes from line to line.
pub(crate) fn inside_quotes_after(line: &[u8], inside: bool) -> bool {
    memchr::memchr_iter(b'"', line).count() % 2 == usize::from(!inside)
}

/// Whether a line looks like the first of a record: a time and a zone, then the comma.
pub(crate) fn begins(line: &str) -> bool {
    let shape = b"0000-00-00 00:00:00";
    let bytes = line.as_bytes();
    let same = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte == shape,
    };
    bytes.len() > shape.len()
        && bytes.iter().zip(shape).all(same)
        && bytes[shape.len()..]
            .iter()
            .take(20)
            .any(|byte| *byte == b',')
}

/// Parses one whole record (it may hold newlines inside quotes); false when it is none.
pub(crate) fn parse(
    text: &str,
    defaults: TimeDefaults,
    record: &mut LogRecord,
    scratch: &mut Scratch,
) -> bool {
    scratch.fields.resize(text.len() + 1, 0);
    scratch.ends.resize(N_COLUMNS.end() + 2, 0);
    let reader = &mut scratch.reader;
    reader.reset();
    let input = text.as_bytes();
    let (result, n_read, mut n_written, mut n_ends) =
        reader.read_record(input, &mut scratch.fields, &mut scratch.ends);
    if matches!(result, ReadRecordResult::InputEmpty) && n_read == input.len() {
        // The end of input ends the record.
        let (_, _, more, more_ends) = reader.read_record(
            &[],
            &mut scratch.fields[n_written..],
            &mut scratch.ends[n_ends..],
        );
        n_written += more;
        n_ends += more_ends;
    }
    if !N_COLUMNS.contains(&n_ends) || n_written > scratch.fields.len() {
        return false;
    }
    let field = |at: usize| -> &str {
        let from = if at == 0 { 0 } else { scratch.ends[at - 1] };
        let bytes = scratch.fields.get(from..scratch.ends[at]).unwrap_or(&[]);
        std::str::from_utf8(bytes).unwrap_or("")
    };
    let (word, code) = (field(11), field(12));
    let sound = code.len() == 5 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    let severity = words::severity(word);
    if severity.is_none() && (word.is_empty() || !sound) {
        return false;
    }
    record.severity = severity.unwrap_or_else(|| Severity::of_code(code));
    record.at = timestamp(field(0), defaults);
    record.pid = field(3).parse().unwrap_or(0);
    for (to, at) in [
        (&mut record.user, 1),
        (&mut record.database, 2),
        (&mut record.code, 12),
        (&mut record.application, 22),
    ] {
        to.clear();
        to.push_str(field(at));
    }
    if record.code == "00000" {
        // As in json: no code where nothing failed.
        record.code.clear();
    }
    // `host:port`; an IPv6 address holds colons itself.
    let host = field(4);
    record
        .remote_host
        .push_str(host.rsplit_once(':').map_or(host, |(host, _)| host));
    if n_ends > 23 {
        record.backend_type.push_str(field(23));
    }
    record.has_detail = !field(14).is_empty();
    record.set_postgres_message(field(13));
    // The client's statement, else the one within a function.
    for statement in [field(19), field(16)] {
        if !statement.is_empty() && record.statement.is_empty() {
            record.set_statement(statement);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"2026-11-20 17:50:48.123 UTC,"app","shop",42,"10.0.0.9:5555",65af.1,3,"INSERT",2026-11-20 17:50:00 UTC,3/4,0,ERROR,23505,"duplicate ""k""
end","Key (id)=(7)",,,,,"insert into t
values ('a,b')",12,,"web","client backend",,-5"#;

    #[test]
    fn a_record_with_newlines_in_quotes_parses() {
        let mut record = LogRecord::default();
        assert!(parse(
            LINE,
            TimeDefaults::default(),
            &mut record,
            &mut Scratch::default()
        ));
        assert_eq!(record.message, "duplicate \"k\"\nend");
        assert_eq!(
            (record.severity, record.code.as_str()),
            (Severity::Error, "23505")
        );
        assert_eq!(record.remote_host, "10.0.0.9");
        assert_eq!(record.backend_type, "client backend");
        assert!(record.has_statement && record.has_detail);
    }

    #[test]
    fn an_old_server_writes_fewer_columns_and_anything_else_is_refused() {
        let old = LINE.replace(r#","client backend",,-5"#, "");
        let mut record = LogRecord::default();
        assert!(parse(
            &old,
            TimeDefaults::default(),
            &mut record,
            &mut Scratch::default()
        ));
        assert_eq!(
            (record.application.as_str(), record.backend_type.as_str()),
            ("web", "")
        );
        for text in ["", "a,b,c", &",".repeat(23), &",".repeat(60), "\"open"] {
            assert!(
                !parse(
                    text,
                    TimeDefaults::default(),
                    &mut LogRecord::default(),
                    &mut Scratch::default()
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn a_severity_in_another_language_is_read_and_one_in_an_unknown_language_told_from_its_code() {
        for (word, code, expected) in [
            ("FEHLER", "23505", Severity::Error),
            ("PANIK", "XX000", Severity::Panic),
            ("СООБЩЕНИЕ", "00000", Severity::Log),
            ("XYZZY", "23505", Severity::Error),
            ("XYZZY", "01000", Severity::Warning),
            ("XYZZY", "00000", Severity::Log),
        ] {
            let line = LINE.replace("ERROR,23505", &format!("{word},{code}"));
            let mut record = LogRecord::default();
            assert!(
                parse(
                    &line,
                    TimeDefaults::default(),
                    &mut record,
                    &mut Scratch::default()
                ),
                "{word}"
            );
            assert_eq!(record.severity, expected, "{word} {code}");
        }
    }

    #[test]
    fn quotes_left_open_at_the_end_of_a_line_are_noticed() {
        assert!(inside_quotes_after(b"a,\"b", false));
        assert!(!inside_quotes_after(b"a,\"b\"\"c\"", false));
        assert!(!inside_quotes_after(b"end\",c", true));
        assert!(inside_quotes_after(b"middle", true));
    }
}
