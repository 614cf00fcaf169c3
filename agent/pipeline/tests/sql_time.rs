//! What holds for any statement of the longest size: its kind is known in linear time, whatever it is made of.

#![expect(clippy::disallowed_methods, reason = "time is what is tested")]

use std::time::{Duration, Instant};

use hsw_pipeline::{Dialect, Fingerprinter, PlanReader, Statements};

/// The longest statement a log record holds.
const BYTES: usize = 64 * 1024;
/// Linear time takes some milliseconds, n² many seconds.
const LIMIT: Duration = Duration::from_secs(1);

/// What a statement may be made of over and over: each class of byte, and pieces that look ahead.
const PIECES: [&str; 66] = [
    "+",
    "-",
    "*",
    "/",
    "<",
    "=",
    "~",
    "!",
    "@",
    "#",
    "%",
    "^",
    "&",
    "|",
    "`",
    "?",
    "a",
    "n",
    "x",
    "_",
    "\u{e4}",
    "0",
    "1",
    "$",
    "'",
    "\"",
    "\\",
    "(",
    ")",
    "[",
    "]",
    "{",
    ",",
    ";",
    ".",
    ":",
    " ",
    "\n",
    "\t",
    "\u{1}",
    "+-",
    "-+",
    "*-",
    "@-",
    "- ",
    "1.",
    "1..",
    "1-",
    "-1.",
    "1e+",
    "a.1",
    "'\\",
    "''",
    "'\n",
    "$$",
    "$a$",
    "$a",
    "/*",
    "*/",
    "/*!",
    "/**/",
    "-- ",
    "in(",
    "values(1),",
    "null,",
    "a in (select ",
];
/// What may stand before, so that the pieces are read in another way, and behind.
const AROUND: [(&str, &str); 5] = [
    ("", ""),
    ("a", "z"),
    ("select a from t where b in (", ")"),
    (".", "z"),
    ("select '\\' and b = '", "'"),
];

fn within(limit: Duration, what: &str, run: impl FnOnce()) {
    let begun = Instant::now();
    run();
    let took = begun.elapsed();
    assert!(took < limit, "{what}: {took:?}");
}

fn each_statement(mut take: impl FnMut(&str, &str)) {
    for piece in PIECES {
        for (before, behind) in AROUND {
            let mut sql = before.to_owned();
            while sql.len() < BYTES {
                sql.push_str(piece);
            }
            sql.push_str(behind);
            take(&format!("{before}{piece:?}{behind}"), &sql);
        }
    }
}

#[test]
fn no_statement_takes_more_than_linear_time_with_postgresqls_rules() {
    let mut fingerprinter = Fingerprinter::new(Dialect::PostgreSql);
    each_statement(|what, sql| {
        within(LIMIT, what, || {
            fingerprinter.fingerprint(sql);
        });
    });
}

#[test]
fn no_statement_takes_more_than_linear_time_with_mysqls_rules() {
    let mut fingerprinter = Fingerprinter::new(Dialect::MySql);
    each_statement(|what, sql| {
        within(LIMIT, what, || {
            fingerprinter.fingerprint(sql);
        });
    });
}

#[test]
fn no_plan_takes_more_than_linear_time() {
    let mut reader = PlanReader::default();
    each_statement(|what, sql| {
        let plan = format!("Query Text: {sql}\nSeq Scan on t  (cost=0.00..1.00 rows=1 width=4)");
        within(LIMIT, what, || {
            reader.shape(&plan);
        });
    });
}

#[test]
fn normalising_and_dividing_take_linear_time() {
    for dialect in [Dialect::MySql, Dialect::PostgreSql] {
        let mut fingerprinter = Fingerprinter::new(dialect);
        for piece in PIECES {
            let sql = piece.repeat(BYTES / piece.len());
            within(LIMIT, piece, || {
                fingerprinter.normalized(&sql);
            });
            within(LIMIT, piece, || {
                assert!(Statements::new(&sql, dialect).count() <= BYTES);
            });
        }
    }
}
