//! The slow query log of MySQL, Percona Server and MariaDB: entries of several lines. (step 2)
//!
//! An entry is header lines (`# Time:`, `# User@Host:`, `# Query_time: …`, many more), then `use db;`, `SET timestamp=…;`
//! and the statement. A header line behind a statement begins the next entry. Any pair `Key: value` of a header is read.
//! Times: of a header with a zone, else `SET timestamp` (which is UTC), else the header's with the caller's defaults.

use hsw_types::WallTime;

use super::record::LogRecord;
use super::time::{TimeDefaults, iso, short};

/// What a line is within an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// `# Key: …`.
    Header,
    /// What the server writes when it opens the file.
    Banner,
    /// The second and third line of that.
    BannerMore,
    /// Part of a statement, or what stands for one.
    Body,
}

/// Where in an entry we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Part {
    #[default]
    Nothing,
    Header,
    Body,
    Banner,
}

/// Keys that header lines begin with, of all versions and forks.
const HEADERS: [&str; 24] = [
    "Time:",
    "User@Host:",
    "Query_time:",
    "Thread_id:",
    "User:",
    "Schema:",
    "Client:",
    "Bytes_sent:",
    "Rows_affected:",
    "Rows_examined:",
    "Rows_sent:",
    "Tmp_tables:",
    "Stored_routine:",
    "Stored routine:",
    "QC_Hit:",
    "QC_hit:",
    "Full_scan:",
    "Filesort:",
    "InnoDB_",
    "No InnoDB statistics",
    "Log_slow_rate_type:",
    "explain:",
    "Priority_queue:",
    "Pages_accessed:",
];

/// What this line is; needs no other line.
pub(super) fn classify(line: &str) -> Line {
    if let Some(rest) = line.strip_prefix('#') {
        let rest = rest.trim_start();
        let header = HEADERS.iter().any(|key| rest.starts_with(key));
        return if header { Line::Header } else { Line::Body };
    }
    if line.ends_with("started with:") && line.contains(", Version: ") {
        Line::Banner
    } else if (line.starts_with("Tcp port:") || line.starts_with("TCP Port:"))
        || ((line.starts_with("Time ") || line.starts_with("Time\t"))
            && line.trim_end().ends_with("Argument"))
    {
        Line::BannerMore
    } else {
        Line::Body
    }
}

/// A `# Key: value` that we do not know is still a header as long as no statement has begun.
pub(super) fn is_unknown_header(line: &str) -> bool {
    line.starts_with('#') && !line.starts_with("# administrator command:")
}

/// Whether a header line belongs to the entry after `record`, which has had headers but no statement.
pub(super) fn begins_another(line: &str, record: &LogRecord) -> bool {
    let rest = line.trim_start_matches(['#', ' ']);
    let first = rest.starts_with("Time:") || rest.starts_with("User");
    first && (record.duration_ms.is_some() || record.rows_sent.is_some())
}

/// Takes a header line into the record.
pub(super) fn header(line: &str, defaults: TimeDefaults, record: &mut LogRecord) {
    let mut rest = line.trim_start_matches(['#', ' ']);
    if rest.starts_with("explain:") || rest.starts_with("No InnoDB") {
        return;
    }
    if let Some(time) = rest.strip_prefix("Time:") {
        let time = time.trim_start();
        let bytes = time.as_bytes();
        if let Some(found) = iso(bytes, defaults).or_else(|| short(bytes, defaults)) {
            record.at = found.at;
        }
        // Some writers put the next header on the same line.
        match time.find("# User") {
            Some(at) => rest = time[at..].trim_start_matches(['#', ' ']),
            None => return,
        }
    }
    if rest.starts_with("User") {
        rest = user(rest, record);
    }
    pairs(rest, record);
}

/// `User@Host: app[app] @ host [10.0.0.9]  Id: 5`; what follows the address.
fn user<'a>(text: &'a str, record: &mut LogRecord) -> &'a str {
    // A torn line may hold two.
    let text = text.rfind("User@Host:").map_or(text, |at| &text[at..]);
    let Some((_, text)) = text.split_once(':') else {
        return "";
    };
    let (name, rest) = text.split_once(" @ ").unwrap_or((text, ""));
    let name = name.trim();
    let inside = name
        .find('[')
        .filter(|&at| at > 0)
        .map_or(name, |at| &name[..at]);
    record.user.clear();
    record.user.push_str(inside.trim_matches(['[', ']']));
    let (host, rest) = rest.split_once('[').unwrap_or((rest, ""));
    let (address, rest) = rest.split_once(']').unwrap_or((rest, ""));
    let address = if address.is_empty() { host } else { address };
    record.remote_host.clear();
    record.remote_host.push_str(address.trim());
    rest
}

/// `Query_time: 2.5  Lock_time: 0 Rows_sent:5 Schema:  Last_errno: 0`.
fn pairs(text: &str, record: &mut LogRecord) {
    let mut key = "";
    for word in text.split_ascii_whitespace() {
        if word == "#" {
            key = "";
            continue;
        }
        if let Some((name, value)) = word.split_once(':')
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && (value.is_empty() || key.is_empty())
        {
            key = name;
            if !value.is_empty() {
                pair(key, value, record);
                key = "";
            }
            continue;
        }
        if !key.is_empty() {
            pair(key, word, record);
            key = "";
        }
    }
}

fn pair(key: &str, value: &str, record: &mut LogRecord) {
    let milliseconds = || {
        let ms = value.parse::<f64>().ok()? * 1e3;
        (ms.is_finite() && ms >= 0.0).then_some(ms)
    };
    match key {
        "Query_time" => record.duration_ms = milliseconds(),
        "Lock_time" => record.lock_ms = milliseconds(),
        "Rows_sent" => record.rows_sent = value.parse().ok(),
        "Rows_examined" => record.rows_examined = value.parse().ok(),
        "Id" | "Thread_id" => record.pid = value.parse().unwrap_or(0),
        "Schema" => copy(&mut record.database, value),
        "Last_errno" if value != "0" => copy(&mut record.code, value),
        _ => {}
    }
}

fn copy(to: &mut String, text: &str) {
    to.clear();
    to.push_str(text);
}

/// Takes a line behind the headers.
pub(super) fn body(line: &str, zoned: bool, record: &mut LogRecord) {
    if record.statement.is_empty() {
        let trimmed = line.trim();
        if let Some(command) = trimmed.strip_prefix("# administrator command: ") {
            let command = command.trim_end_matches(';');
            record.set_words("administrator command: ");
            record.push_words(command);
            record.set_statement("administrator command: ");
            record.push_statement(command);
            return;
        }
        if let Some(name) = used_database(trimmed) {
            copy(&mut record.database, name);
            return;
        }
        if let Some(seconds) = set_timestamp(trimmed) {
            if !zoned {
                record.at = Some(seconds);
            }
            return;
        }
        if is_set_insert_id(trimmed) || trimmed.is_empty() {
            return;
        }
        record.set_statement(line);
    } else {
        record.push_statement("\n");
        record.push_statement(line);
    }
}

/// Done with the entry: the semicolon is the log's, not the statement's.
pub(super) fn finish(record: &mut LogRecord) {
    let n = record.statement.trim_end().trim_end_matches(';').len();
    record.statement.truncate(n);
    record.has_statement = !record.statement.is_empty();
    if record.message.is_empty() {
        record.set_words("slow statement");
    }
}

/// Whether a header's time says its zone.
pub(super) fn is_zoned(line: &str) -> bool {
    line.strip_prefix("# Time:").is_some_and(|time| {
        iso(time.trim_start().as_bytes(), TimeDefaults::default()).is_some_and(|f| f.at.is_some())
    })
}

/// `use shop;`
fn used_database(line: &str) -> Option<&str> {
    let rest = line
        .get(..4)
        .filter(|word| word.eq_ignore_ascii_case("use "));
    rest?;
    let name = line[4..].trim().trim_end_matches(';').trim_matches('`');
    (!name.is_empty() && !name.contains([' ', ';'])).then_some(name)
}

/// `SET timestamp=1795197048;`, `SET last_insert_id=1,insert_id=2,timestamp=1795197048.123;`
fn set_timestamp(line: &str) -> Option<WallTime> {
    let rest = line
        .strip_prefix("SET ")
        .or_else(|| line.strip_prefix("set "))?;
    if !(rest.starts_with("timestamp=") || is_set_insert_id(line)) {
        return None;
    }
    let (_, value) = rest.split_once("timestamp=")?;
    let seconds: f64 = value.trim_end_matches(';').trim().parse().ok()?;
    let sound = (0.0..1e10).contains(&seconds);
    sound.then_some(WallTime((seconds * 1e6) as i64))
}

fn is_set_insert_id(line: &str) -> bool {
    line.starts_with("SET insert_id=") || line.starts_with("SET last_insert_id=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> LogRecord {
        let mut record = LogRecord::default();
        let defaults = TimeDefaults {
            utc_offset_s: Some(0),
            not_after: None,
        };
        let mut zoned = false;
        for line in text.lines() {
            if classify(line) == Line::Header {
                zoned |= is_zoned(line);
                header(line, defaults, &mut record);
            } else {
                body(line, zoned, &mut record);
            }
        }
        finish(&mut record);
        record
    }

    #[test]
    fn an_entry_of_mysql_8_gives_all_its_fields() {
        let record = entry(
            "# Time: 2026-11-20T17:50:48.123456Z\n# User@Host: app[app] @ web1 [10.0.0.9]  Id:    42\n\
             # Query_time: 2.500000  Lock_time: 0.000250 Rows_sent: 3  Rows_examined: 70000\n\
             use shop;\nSET timestamp=1795197045;\nselect *\n  from orders where id = 'x';",
        );
        assert_eq!(record.at.map(|at| at.0), Some(1_795_197_048_123_456));
        assert_eq!(
            (
                record.user.as_str(),
                record.remote_host.as_str(),
                record.pid
            ),
            ("app", "10.0.0.9", 42)
        );
        assert_eq!(
            (record.duration_ms, record.lock_ms),
            (Some(2_500.0), Some(0.25))
        );
        assert_eq!(
            (record.rows_sent, record.rows_examined),
            (Some(3), Some(70_000))
        );
        assert_eq!(record.database, "shop");
        assert_eq!(record.statement, "select *\n  from orders where id = 'x'");
        assert_eq!(record.message, "slow statement");
    }

    #[test]
    fn odd_headers_are_read_as_far_as_they_go() {
        let record = entry(
            "# Time: 261120 17:50:48 # User@Host: [REPLICA] @  []\n# Thread_id: 10  Schema: db1  Last_errno: 1146  Killed: 0\n\
             # Query_time: 1.2.3  Lock_time: 0  Rows_sent:4 Rows_examined:5\n#   InnoDB_IO_r_ops: 6\n\
             # No InnoDB statistics available for this query\nSET last_insert_id=1,insert_id=2,timestamp=1795197040;\n\
             # administrator command: Quit;",
        );
        assert_eq!(
            (record.user.as_str(), record.database.as_str()),
            ("REPLICA", "db1")
        );
        assert_eq!((record.duration_ms, record.code.as_str()), (None, "1146"));
        assert_eq!((record.rows_sent, record.rows_examined), (Some(4), Some(5)));
        assert_eq!(record.at.map(|at| at.0), Some(1_795_197_040_000_000));
        assert_eq!(record.message, "administrator command: Quit");
        let record = entry(
            "# User: app[app] @ [10.0.0.9]\n# Thread_id: 5 Schema: \n# Query_time: 3\nselect 1;",
        );
        assert_eq!(
            (record.user.as_str(), record.database.as_str()),
            ("app", "")
        );
        assert_eq!(
            (record.duration_ms, record.statement.as_str()),
            (Some(3_000.0), "select 1")
        );
    }

    #[test]
    fn a_comment_in_a_statement_is_no_header() {
        assert_eq!(classify("# why not"), Line::Body);
        assert_eq!(classify("# administrator command: Ping;"), Line::Body);
        assert_eq!(classify("#   InnoDB_pages_distinct: 5"), Line::Header);
        assert_eq!(
            classify("/usr/sbin/mysqld, Version: 8.0 (x). started with:"),
            Line::Banner
        );
        assert_eq!(
            classify("Time                 Id Command    Argument"),
            Line::BannerMore
        );
    }
}
