//! Which format a file has, from its first lines and its name. (step 2)
//!
//! In: some lines, the file's name. Out: the format most of them are in. Pure: the same lines give the same answer.

use std::sync::Arc;

use super::assemble::LogFormat;
use super::prefix::{LinePrefix, Matched};
use super::record::LogRecord;
use super::time::TimeDefaults;
use super::{csv, json, mongo, mysql_error, mysql_slow, redis, syslog};

/// Lines looked at; more do not change the answer.
const LINES_MAX: usize = 50;
/// Bytes of a line looked at: enough for any head.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Prefixes of `log_line_prefix` that are tried: the server's own default, packages, clouds, log analysers.
const PREFIXES: [&str; 14] = [
    "%m [%p] ",
    "%m [%p] %q%u@%d ",
    "%m [%p] %q%u@%d/%a %h ",
    "%t [%p]: ",
    "%t [%p]: [%l-1] ",
    "%t [%p]: [%l-1] user=%u,db=%d ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t:%r:%u@%d:[%p]:",
    "%t [%p-%l] %q%u@%d ",
    "%m %u@%d [%p] ",
    "< %m >",
    "%t-%c-",
    "",
];

/// What the formats are called in settings and on the command line.
const NAMES: [&str; 9] = [
    "jsonlog",
    "csvlog",
    "stderr",
    "mysql-error",
    "mysql-slow",
    "mongodb",
    "mongodb-text",
    "redis",
    "plain",
];

impl LogFormat {
    /// Every name, as [`Self::named`] takes it.
    #[must_use]
    pub const fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// Its name in settings.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Json => NAMES[0],
            Self::Csv => NAMES[1],
            Self::Stderr(_) => NAMES[2],
            Self::MysqlError => NAMES[3],
            Self::MysqlSlow => NAMES[4],
            Self::Mongo => NAMES[5],
            Self::MongoText => NAMES[6],
            Self::Redis => NAMES[7],
            Self::Plain => NAMES[8],
        }
    }

    /// Of a name; `stderr` with this `log_line_prefix`, or the server's default. `None` for an unknown name.
    #[must_use]
    pub fn named(name: &str, line_prefix: Option<&str>) -> Option<Self> {
        let prefix = || Arc::new(LinePrefix::compile(line_prefix.unwrap_or(PREFIXES[0])));
        let all = [
            Self::Json,
            Self::Csv,
            Self::Stderr(prefix()),
            Self::MysqlError,
            Self::MysqlSlow,
            Self::Mongo,
            Self::MongoText,
            Self::Redis,
            Self::Plain,
        ];
        all.into_iter().find(|format| format.name() == name)
    }
}

/// The format of a file that begins with `lines`; `name` (of the file, without its folder) decides where they cannot.
#[must_use]
pub fn detect(lines: &[&[u8]], name: &str) -> LogFormat {
    let lines: Vec<_> = lines
        .iter()
        .take(LINES_MAX)
        .map(|line| String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]))
        .collect();
    let count = |test: &mut dyn FnMut(&str) -> bool| lines.iter().filter(|line| test(line)).count();
    let none = TimeDefaults::default();
    let n_lines = count(&mut |line| !line.trim().is_empty());
    let mut record = LogRecord::default();
    let mut scratch = String::new();
    let mut fresh = |test: &mut dyn FnMut(&str, &mut LogRecord) -> bool| {
        count(&mut |line| {
            record.clear();
            test(line, &mut record)
        })
    };
    // Where several fit equally well, the first.
    let mut best = (0, LogFormat::Plain);
    let mut offer = |n: usize, format: LogFormat| {
        if n > best.0 {
            best = (n, format);
        }
    };
    let n = fresh(&mut |line, record| mongo::structured(line, record, &mut scratch));
    offer(n, LogFormat::Mongo);
    let n = fresh(&mut |line, record| json::parse(line, none, record, &mut scratch));
    offer(n, LogFormat::Json);
    offer(count(&mut is_csv), LogFormat::Csv);
    offer(count(&mut is_slow_header), LogFormat::MysqlSlow);
    for setting in PREFIXES {
        let prefix = LinePrefix::compile(setting);
        let mut matched = Matched::default();
        let n = count(&mut |line| prefix.matches(line, &mut matched));
        // What syslog has wrapped, where nobody else writes into the file.
        let n_wrapped = count(&mut |line| {
            let wrapped = syslog::unwrapped(line, none);
            wrapped.is_some_and(|wrapped| {
                wrapped.tabbed || wrapped.later || prefix.matches(wrapped.inside, &mut matched)
            })
        });
        let n = if n_wrapped == n_lines { n_wrapped } else { n };
        offer(n, LogFormat::Stderr(Arc::new(prefix)));
    }
    let n = fresh(&mut |line, record| mongo::old(line, none, true, record));
    offer(n, LogFormat::MongoText);
    let n = fresh(&mut |line, record| redis::head(line, none, record));
    offer(n, LogFormat::Redis);
    let mut inside = String::new();
    let n = fresh(&mut |line, record| {
        let line = mysql_error::unwrapped(line, &mut inside);
        mysql_error::head(line, none, record)
    });
    offer(n, LogFormat::MysqlError);
    if best.0 > 0 {
        return best.1;
    }
    if lines.iter().any(|line| !line.trim().is_empty()) {
        return slow_body(&lines).unwrap_or(LogFormat::Plain);
    }
    by_name(name)
}

fn is_csv(line: &str) -> bool {
    csv::begins(line) && line.matches(',').count() >= 10
}

/// Lines that no other log has; not every `#` is one.
fn is_slow_header(line: &str) -> bool {
    line.starts_with("# User@Host:")
        || line.starts_with("# Query_time:")
        || (line.starts_with("# Time:") || line.starts_with("# Thread_id:"))
        || line.starts_with("# administrator command:")
        || mysql_slow::classify(line) == mysql_slow::Line::Banner
}

/// The banner of a slow log that holds no entry yet.
fn slow_body(lines: &[std::borrow::Cow<'_, str>]) -> Option<LogFormat> {
    let banner = |line: &str| mysql_slow::classify(line) == mysql_slow::Line::BannerMore;
    lines
        .iter()
        .any(|line| banner(line))
        .then_some(LogFormat::MysqlSlow)
}

/// An empty file: what is usual for its name.
fn by_name(name: &str) -> LogFormat {
    let name = name.to_ascii_lowercase();
    let has = |word: &str| name.contains(word);
    if name.ends_with(".json") {
        if has("mongo") {
            LogFormat::Mongo
        } else {
            LogFormat::Json
        }
    } else if name.ends_with(".csv") {
        LogFormat::Csv
    } else if has("slow") {
        LogFormat::MysqlSlow
    } else if has("mongo") {
        LogFormat::Mongo
    } else if has("redis") || has("valkey") {
        LogFormat::Redis
    } else if has("mysql") || has("mariadb") || name.ends_with(".err") {
        LogFormat::MysqlError
    } else {
        LogFormat::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> LogFormat {
        let lines: Vec<&[u8]> = text.split('\n').map(str::as_bytes).collect();
        detect(&lines, "x.log")
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of lines")]
    fn each_format_is_known_by_its_lines() {
        let stderr = |setting| LogFormat::Stderr(Arc::new(LinePrefix::compile(setting)));
        for (text, format) in [
            (
                "2026-11-20 17:50:48.123 UTC [42] LOG:  x\n\tgoes on\n2026-11-20 17:50:48.123 UTC [42] ERROR:  y",
                stderr("%m [%p] "),
            ),
            (
                "2026-11-20 17:50:48.123 UTC [42] LOG:  x\n2026-11-20 17:50:48.123 UTC [43] app@shop ERROR:  y",
                stderr("%m [%p] %q%u@%d "),
            ),
            (
                "Nov 20 17:50:48 db1 postgres[42]: [5-1] 2026-11-20 17:50:48.123 UTC [42] LOG:  x\nNov 20 17:50:48 db1 postgres[42]: [5-2] #011y",
                stderr("%m [%p] "),
            ),
            (
                "Nov 20 17:50:48 db1 sshd[7]: x\nNov 20 17:50:48 db1 postgres[42]: [5-1] LOG:  x",
                LogFormat::Plain,
            ),
            (
                "2026-11-20 17:50:48 UTC:10.0.0.9(5):app@shop:[42]:LOG:  x",
                stderr("%t:%r:%u@%d:[%p]:"),
            ),
            (
                r#"{"timestamp":"2026-11-20 17:50:48.123 UTC","pid":1,"error_severity":"LOG","message":"x"}"#,
                LogFormat::Json,
            ),
            (
                r#"{"t":{"$date":"2026-11-20T17:50:48.123+00:00"},"s":"I","c":"-","id":1,"ctx":"main","msg":"x"}"#,
                LogFormat::Mongo,
            ),
            (
                "2026-11-20 17:50:48.123 UTC,,,42,,65af.1,3,,2026-11-20 17:50:00 UTC,,0,LOG,00000,\"x\",,,,,,,,,\"\"",
                LogFormat::Csv,
            ),
            (
                "# Time: 2026-11-20T17:50:48.1Z\n# User@Host: a[a] @ b []  Id: 5\n# Query_time: 1\nselect 1;",
                LogFormat::MysqlSlow,
            ),
            (
                "/usr/sbin/mysqld, Version: 8.0 (x). started with:\nTcp port: 3306\nTime                 Id Command    Argument",
                LogFormat::MysqlSlow,
            ),
            (
                "2026-11-20T17:50:48.123456Z 0 [Note] [MY-000000] [Galera] x\nview (view_id(PRIM,a,1)\nmemb {\n\ta,0\n\t}",
                LogFormat::MysqlError,
            ),
            ("2026-11-20  7:50:48 0 [Note] x", LogFormat::MysqlError),
            ("261120  7:50:48 [Note] x", LogFormat::MysqlError),
            (
                "{\"log\":\"2026-11-20T17:50:48Z 0 [Note] x\\n\",\"file\":\"y\"}",
                LogFormat::MysqlError,
            ),
            (
                "Nov 20 17:50:48 db1 mysqld[7]: 2026-11-20 17:50:48 0 [Note] x",
                LogFormat::MysqlError,
            ),
            (
                "Fri Nov 20 17:50:48.123 [initandlisten] db version v2.4.9",
                LogFormat::MongoText,
            ),
            (
                "2026-11-20T17:50:48.123+0100 I NETWORK  [conn5] x",
                LogFormat::MongoText,
            ),
            ("7:M 20 Nov 2026 17:50:48.123 * Ready", LogFormat::Redis),
            (
                "2026-11-20 17:50:48,123 INFO [main] a.b.C: x",
                LogFormat::Plain,
            ),
            ("Nov 20 17:50:48 db1 kernel: x", LogFormat::Plain),
            ("just words", LogFormat::Plain),
        ] {
            assert_eq!(of(text), format, "{text}");
        }
    }

    #[test]
    fn every_name_is_the_name_of_its_format() {
        for name in LogFormat::names() {
            let format = LogFormat::named(name, None);
            assert_eq!(format.as_ref().map(LogFormat::name), Some(*name));
        }
        assert_eq!(LogFormat::named("auto", None), None);
    }

    #[test]
    fn an_empty_file_is_known_by_its_name() {
        for (name, format) in [
            ("postgresql-2026.json", LogFormat::Json),
            ("postgresql-2026.csv", LogFormat::Csv),
            ("mysql-slow.log", LogFormat::MysqlSlow),
            ("db1.err", LogFormat::MysqlError),
            ("mongod.log", LogFormat::Mongo),
            ("redis-server.log", LogFormat::Redis),
            ("app.log", LogFormat::Plain),
        ] {
            assert_eq!(detect(&[], name), format, "{name}");
        }
    }
}
