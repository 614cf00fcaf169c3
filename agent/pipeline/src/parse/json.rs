//! PostgreSQL `jsonlog`: one object per line. (step 2)
//!
//! A pull parser by hand over the flat object: `serde_json` would build a map for each line, and the keys are known.

use super::record::{LogRecord, Severity};
use super::time::{TimeDefaults, timestamp};
use super::words;

/// Parses into `record` (cleared before); false when the line is not such an object.
pub(crate) fn parse(
    line: &str,
    defaults: TimeDefaults,
    record: &mut LogRecord,
    scratch: &mut String,
) -> bool {
    let mut rest = Cursor {
        text: line.trim(),
        at: 0,
    };
    if !rest.take(b'{') {
        return false;
    }
    let mut n_known = 0;
    let mut unknown_word = false;
    if rest.take(b'}') {
        return false;
    }
    loop {
        let mut key = [0; 24];
        let Some(n_key) = rest.key(&mut key) else {
            return false;
        };
        if !rest.take(b':') {
            return false;
        }
        scratch.clear();
        if !rest.value(scratch) {
            return false;
        }
        n_known += usize::from(assign(&key[..n_key], scratch, defaults, record));
        unknown_word |= &key[..n_key] == b"error_severity" && words::severity(scratch).is_none();
        if rest.take(b',') {
            continue;
        }
        if unknown_word {
            record.severity = Severity::of_code(&record.code);
        }
        // An object that is not a server's (no time, no severity, no message) is plain text that looks like JSON.
        return rest.take(b'}') && rest.at == rest.text.len() && n_known >= 3;
    }
}

/// Whether the key is one of the three that every line has.
fn assign(key: &[u8], value: &str, defaults: TimeDefaults, record: &mut LogRecord) -> bool {
    let copy = |to: &mut String| {
        to.clear();
        to.push_str(value);
    };
    match key {
        b"timestamp" => {
            record.at = timestamp(value, defaults);
            return true;
        }
        b"error_severity" => {
            record.severity = words::severity(value).unwrap_or_default();
            return true;
        }
        b"message" => {
            record.set_postgres_message(value);
            return true;
        }
        b"user" => copy(&mut record.user),
        b"dbname" => copy(&mut record.database),
        b"pid" => record.pid = value.parse().unwrap_or(0),
        b"remote_host" => copy(&mut record.remote_host),
        b"state_code" => copy(&mut record.code),
        b"application_name" => copy(&mut record.application),
        b"backend_type" => copy(&mut record.backend_type),
        b"detail" => record.has_detail = true,
        b"statement" => record.set_statement(value),
        // A statement within a function; the client's own is the better name for what went on.
        b"internal_query" if record.statement.is_empty() => record.set_statement(value),
        _ => {}
    }
    false
}

/// Appends the text up to the closing quote, its escapes resolved; what is torn ends there.
pub(crate) fn unescape(text: &str, into: &mut String) {
    Cursor { text, at: 0 }.string(into);
}

/// Reads a JSON text from front to back without a tree.
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// A key; one that is longer than any known one, or escaped, comes out as a length of 0.
    pub(super) fn key(&mut self, into: &mut [u8; 24]) -> Option<usize> {
        if !self.take(b'"') {
            return None;
        }
        let from = self.at;
        let bytes = self.text.as_bytes();
        loop {
            let n = memchr::memchr2(b'"', b'\\', bytes.get(self.at..)?)?;
            self.at += n;
            if bytes[self.at] == b'"' {
                break;
            }
            self.at += 2;
        }
        let key = bytes.get(from..self.at)?;
        self.at += 1;
        match into.get_mut(..key.len()) {
            Some(place) => place.copy_from_slice(key),
            None => return Some(0),
        }
        Some(key.len())
    }

    /// A string (unescaped), number or word; arrays and objects are refused: the server writes none.
    pub(super) fn value(&mut self, into: &mut String) -> bool {
        self.skip_space();
        let bytes = self.text.as_bytes();
        if !self.take(b'"') {
            let from = self.at;
            while bytes
                .get(self.at)
                .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
            {
                self.at += 1;
            }
            into.push_str(&self.text[from..self.at]);
            return self.at > from;
        }
        self.string(into)
    }

    /// The rest of a string, unescaped, with its closing quote; false when there is none.
    pub(super) fn string(&mut self, into: &mut String) -> bool {
        let bytes = self.text.as_bytes();
        loop {
            let from = self.at;
            let rest = bytes.get(from..).unwrap_or(&[]);
            self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            into.push_str(self.text.get(from..self.at).unwrap_or(""));
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return true;
                }
                Some(_) => {
                    let Some(character) = self.escape() else {
                        return false;
                    };
                    into.push(character);
                }
                None => return false,
            }
        }
    }

    /// Passes over one value of any kind; its text as it stands.
    pub(super) fn raw(&mut self) -> Option<&'a str> {
        self.skip_space();
        let (bytes, from) = (self.text.as_bytes(), self.at);
        let mut depth = 0_usize;
        loop {
            match bytes.get(self.at)? {
                b'"' => self.pass_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let n = bytes[self.at..]
                        .iter()
                        .take_while(|b| {
                            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')
                        })
                        .count();
                    if n == 0 {
                        return None;
                    }
                    self.at += n;
                }
            }
            if depth == 0 {
                return self.text.get(from..self.at);
            }
        }
    }

    fn pass_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let n = memchr::memchr2(b'"', b'\\', rest)?;
            self.at += n + 1;
            if rest[n] == b'"' {
                return Some(());
            }
            self.at += 1;
        }
    }

    /// The character behind a backslash; a lone surrogate becomes U+FFFD.
    fn escape(&mut self) -> Option<char> {
        let code = *self.text.as_bytes().get(self.at + 1)?;
        self.at += 2;
        Some(match code {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'"' | b'\\' | b'/' => char::from(code),
            b'u' => {
                let high = self.hex()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return Some(char::from_u32(high).unwrap_or('\u{fffd}'));
                }
                if self.text.as_bytes().get(self.at..self.at + 2) != Some(b"\\u") {
                    return Some('\u{fffd}');
                }
                self.at += 2;
                let low = self.hex()?;
                let joined =
                    0x1_0000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                char::from_u32(joined).unwrap_or('\u{fffd}')
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_server_parses() {
        let line = r#"{"timestamp":"2026-11-20 17:50:48.123 UTC","user":"app","dbname":"shop","pid":42,"remote_host":"10.0.0.9","remote_port":5555,"error_severity":"ERROR","state_code":"23505","message":"duplicate \"k\"\nend \u00e9\ud83d\ude00","detail":"Key (id)=(7)","statement":"insert","application_name":"web","backend_type":"client backend","query_id":-5}"#;
        let mut record = LogRecord::default();
        assert!(parse(
            line,
            TimeDefaults::default(),
            &mut record,
            &mut String::new()
        ));
        assert_eq!(record.message, "duplicate \"k\"\nend é😀");
        assert_eq!(
            (record.severity, record.code.as_str()),
            (Severity::Error, "23505")
        );
        assert_eq!((record.pid, record.remote_host.as_str()), (42, "10.0.0.9"));
        assert!(record.has_statement && record.has_detail && record.at.is_some());
    }

    #[test]
    fn a_severity_in_another_language_is_read_and_one_in_an_unknown_language_told_from_its_code() {
        for (word, code, expected) in [
            ("FEHLER", "23505", Severity::Error),
            ("ВАЖНО", "28P01", Severity::Fatal),
            ("XYZZY", "23505", Severity::Error),
            ("XYZZY", "02000", Severity::Warning),
        ] {
            let line = format!(
                r#"{{"timestamp":"x","error_severity":"{word}","state_code":"{code}","message":"Dauer: 8.5 ms  Anweisung: select 1"}}"#
            );
            let mut record = LogRecord::default();
            assert!(parse(
                &line,
                TimeDefaults::default(),
                &mut record,
                &mut String::new()
            ));
            assert_eq!(record.severity, expected, "{word}");
            assert_eq!(
                (record.message.as_str(), record.statement.as_str()),
                ("Dauer: 8.5 ms", "select 1")
            );
        }
    }

    #[test]
    fn torn_and_foreign_objects_are_refused() {
        for line in [
            "",
            "{}",
            "{",
            r#"{"timestamp":"x","message":"y"}"#,
            r#"{"timestamp":"x","error_severity":"LOG","message":"y"#,
            r#"{"timestamp":"x","error_severity":"LOG","message":"y"} z"#,
            r#"{"timestamp":[1],"error_severity":"LOG","message":"y"}"#,
            r#"{"a\"#,
            r#"{"a":"\u12"#,
        ] {
            assert!(
                !parse(
                    line,
                    TimeDefaults::default(),
                    &mut LogRecord::default(),
                    &mut String::new()
                ),
                "{line}"
            );
        }
    }
}
