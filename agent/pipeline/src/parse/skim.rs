//! The severity of a line that there is no time to read. (step 2)
//!
//! A storm is counted by severity even where it cannot be parsed, and errors are told from chatter so that they can be kept.

use memchr::memmem::find;

use super::assemble::LogFormat;
use super::record::{Severity, plain_severity};
use super::words;

/// Every known format says the severity within so many bytes; behind them is the message.
const SKIMMED_BYTES: usize = 512;
/// Redis says it behind its process and its time.
const REDIS_BYTES: usize = 48;

/// The severity of a line of this format, where the format says it: one of [`Severity::Warning`] and above, else
/// [`Severity::Log`]. O(1); no allocation. Where a format has no place for it, a word of the message may be taken for one.
///
/// ```
/// use hsw_pipeline::{LogFormat, Severity, skim};
/// let stderr = LogFormat::named("stderr", None).unwrap();
/// assert_eq!(skim(b"2026-11-20 17:50:48 UTC [7] ERROR:  no", &stderr), Severity::Error);
/// assert_eq!(skim(b"[7] LOG:  statement: select 'ERROR:  x'", &stderr), Severity::Log);
/// ```
#[must_use]
pub fn skim(line: &[u8], format: &LogFormat) -> Severity {
    let head = &line[..line.len().min(SKIMMED_BYTES)];
    let found = match format {
        LogFormat::Json => keyed(head, b"\"error_severity\":\"").and_then(words::severity),
        LogFormat::Csv => shouted(head, b","),
        LogFormat::Stderr(_) => shouted(head, b":  "),
        LogFormat::Mongo => keyed(head, b"\"s\":\"").and_then(letter),
        LogFormat::MongoText => mongo_text(head),
        LogFormat::MysqlError => mysql_error(head),
        LogFormat::Redis => redis(head),
        LogFormat::MysqlSlow => None,
        LogFormat::Plain => Some(plain(head)),
    };
    found.map_or(Severity::Log, |found| {
        if found >= Severity::Warning {
            found
        } else {
            Severity::Log
        }
    })
}

/// The text of the string behind a key.
fn keyed<'a>(head: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let rest = &head[find(head, key)? + key.len()..];
    let n = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..n]).ok()
}

/// The first word in capitals, of any language, that is a severity and has `behind` right behind it.
fn shouted(head: &[u8], behind: &[u8]) -> Option<Severity> {
    let is_word = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b >= 0x80;
    let mut rest = head;
    while let Some(start) = rest.iter().position(is_word) {
        let word = &rest[start..];
        let n = word.iter().position(|b| !is_word(b)).unwrap_or(word.len());
        rest = &word[n..];
        if (2..=40).contains(&n)
            && rest.starts_with(behind)
            && let Ok(text) = std::str::from_utf8(&word[..n])
            && let Some(severity) = words::severity(text)
        {
            return Some(severity);
        }
    }
    None
}

/// As MongoDB writes it.
fn letter(word: &str) -> Option<Severity> {
    Some(match word {
        "F" => Severity::Fatal,
        "E" => Severity::Error,
        "W" => Severity::Warning,
        _ => return None,
    })
}

/// `2026-11-20T17:50:48.123+0000 E STORAGE  [conn5] x`; before 3.0 only words say it.
fn mongo_text(head: &[u8]) -> Option<Severity> {
    let mut words = head.splitn(3, |b| *b == b' ');
    let (_time, level) = (words.next()?, words.next()?);
    match level {
        [_] => letter(std::str::from_utf8(level).ok()?),
        _ => Some(plain(head)),
    }
}

/// `… 5 [ERROR] [MY-010584] [Repl] x`.
fn mysql_error(head: &[u8]) -> Option<Severity> {
    if find(head, b"mysqld got ").is_some() || find(head, b"mariadbd got ").is_some() {
        return Some(Severity::Panic);
    }
    let open = memchr::memchr(b'[', head)?;
    let rest = &head[open + 1..];
    let n = memchr::memchr(b']', rest)?;
    let severity = Severity::parse(std::str::from_utf8(&rest[..n]).ok()?)?;
    let fatal = severity == Severity::Error && find(rest, b"[FATAL]").is_some();
    Some(if fatal { Severity::Fatal } else { severity })
}

/// `7:M 20 Nov 2026 17:50:48.123 # x`.
fn redis(head: &[u8]) -> Option<Severity> {
    let near = &head[..head.len().min(REDIS_BYTES)];
    if find(head, b"crashed by signal").is_some() || find(head, b" BUG REPORT START").is_some() {
        return Some(Severity::Panic);
    }
    let level = near.windows(3).find_map(|three| match three {
        [b' ', level @ (b'.' | b'-' | b'*' | b'#'), b' '] => Some(*level),
        _ => None,
    });
    (level == Some(b'#') || find(near, b":signal-handler (").is_some()).then_some(Severity::Warning)
}

/// `[error]`, `level=error`, `"level":"error"`, `ERROR`.
fn plain(head: &[u8]) -> Severity {
    const KEYS: [&[u8]; 5] = [
        b"\"level\":\"",
        b"\"severity\":\"",
        b"\"label\":\"",
        b"\"label\" : \"",
        b"level=\"",
    ];
    let said = KEYS.iter().find_map(|key| keyed(head, key));
    if let Some(severity) = said.and_then(Severity::parse) {
        return severity;
    }
    if let Some(at) = find(head, b"level=") {
        let rest = &head[at + "level=".len()..];
        let n = rest
            .iter()
            .position(|b| !b.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let word = std::str::from_utf8(&rest[..n]).ok();
        if let Some(severity) = word.and_then(Severity::parse) {
            return severity;
        }
    }
    // Cut within a character, or bytes of no language: what stands before them is read.
    let valid = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let severity = shouted(head, b":  ");
    severity.unwrap_or_else(|| plain_severity(valid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, format: &str) -> Severity {
        skim(line.as_bytes(), &LogFormat::named(format, None).unwrap())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of lines")]
    fn severities_of_every_format_are_found_at_a_glance() {
        for (format, line, expected) in [
            (
                "jsonlog",
                r#"{"timestamp":"2026-11-20 17:50:48.123 UTC","error_severity":"FATAL"}"#,
                Severity::Fatal,
            ),
            (
                "csvlog",
                r#"2026-11-20 17:50:48.123 UTC,"a","b",1,"h:1",6.1,3,"INSERT",2026,3/4,0,ERROR,23505,"x""#,
                Severity::Error,
            ),
            (
                "csvlog",
                r#"2026-11-20 17:50:48.123 UTC,"a","b",1,"h:1",6.1,3,"INSERT",2026,3/4,0,LOG,00000,"a,ERROR,b""#,
                Severity::Log,
            ),
            (
                "stderr",
                "2026-11-20 17:50:48.123 UTC [7] ОШИБКА:  x",
                Severity::Error,
            ),
            (
                "mysql-error",
                "2026-11-20T17:50:48.123Z 5 [ERROR] [MY-010584] [Repl] x",
                Severity::Error,
            ),
            (
                "mysql-error",
                "2026-11-20  1:02:03 5 [Warning] Aborted connection",
                Severity::Warning,
            ),
            (
                "mysql-error",
                "261120 17:50:48 [ERROR] /usr/sbin/mariadbd got signal 11 ;",
                Severity::Panic,
            ),
            (
                "mongodb",
                r#"{"t":{"$date":"2026-11-20T17:50:48.123+00:00"},"s":"E",  "c":"STORAGE",  "id":22435,   "ctx":"initandlisten","msg":"WiredTiger error"}"#,
                Severity::Error,
            ),
            (
                "mongodb",
                r#"{"t":{"$date":"2026-11-20T17:50:48.123+00:00"},"s":"I",  "c":"NETWORK",  "id":22943,   "ctx":"listener","msg":"ERROR","attr":{"s":"E"}}"#,
                Severity::Log,
            ),
            (
                "mongodb-text",
                "2026-11-20T17:50:48.123+0000 E STORAGE  [initandlisten] x",
                Severity::Error,
            ),
            (
                "mongodb-text",
                "2026-11-20T17:50:48.123+0000 I COMMAND  [conn5] ERROR x",
                Severity::Log,
            ),
            (
                "redis",
                "7:M 20 Nov 2026 17:50:48.123 # Can't save in background: fork",
                Severity::Warning,
            ),
            (
                "redis",
                "7:M 20 Nov 2026 17:50:48.123 * Ready # 1",
                Severity::Log,
            ),
            (
                "plain",
                "2026/11/20 17:50:48 [error] 7#7: *1 connect() failed",
                Severity::Error,
            ),
            (
                "plain",
                "time=\"2026-11-20T17:50:48Z\" level=error msg=\"x\"",
                Severity::Error,
            ),
            (
                "plain",
                r#"{"level":"error","ts":"2026-11-20T17:50:48.123Z","msg":"x"}"#,
                Severity::Error,
            ),
            (
                "plain",
                "2026-11-20 17:50:48,123 INFO [main] no error",
                Severity::Log,
            ),
            ("stderr", "LOG:  checkpoint starting: time", Severity::Log),
            ("plain", "", Severity::Log),
        ] {
            assert_eq!(of(line, format), expected, "{line}");
        }
    }

    #[test]
    fn a_line_of_a_busy_server_says_it_beyond_256_bytes() {
        let line = r#"{"timestamp":"2026-11-20 17:50:48.123 UTC","user":"shop_application","dbname":"shop_production","pid":1234567,"remote_host":"2001:db8:85a3:8d3:1319:8a2e:370:7348","remote_port":55555,"session_id":"65af1c2d.12d687","line_num":3,"ps":"INSERT","session_start":"2026-11-20 17:50:00 UTC","vxid":"13/456789","txid":987654321,"error_severity":"ERROR","state_code":"23505","message":"duplicate key"}"#;
        assert!(line.find("ERROR").is_some_and(|at| at > 256));
        assert_eq!(of(line, "jsonlog"), Severity::Error);
    }
}
