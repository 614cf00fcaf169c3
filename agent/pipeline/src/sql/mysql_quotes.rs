//! Whether backslashes escape in a MySQL statement: `sql_mode` may say no, and no log tells. (step 2)
//!
//! In: a statement. Out: how to read it, and how far it can be read for sure.
//! Invariant: MQ-1 where it is in doubt which text is a literal, all of it is. Backslashes escape if the quotes are balanced
//! that way. If they are only without escapes (`d='C:\' and e='x'`), and the statement then looks like SQL, they do not.
//! Otherwise what begins with the first string that the two readings end differently is one literal.

use super::mysql_scan::{NAME, SPACE, is, quote_end, skip_blank, skip_to};
use crate::parse::STATEMENT_BYTES_MAX;

/// Words that follow a string.
const BEHIND: [&str; 30] = [
    "and", "as", "asc", "between", "collate", "desc", "div", "else", "end", "escape", "for",
    "from", "group", "having", "in", "is", "like", "limit", "mod", "not", "on", "or", "order",
    "regexp", "rlike", "then", "union", "when", "where", "xor",
];

/// The part of the statement that can be read for sure, and whether backslashes escape in it. What was cut off begins
/// with a quote that is still there, so that it is read as a string without an end.
pub(super) fn readable(bytes: &[u8]) -> (&[u8], bool) {
    if memchr::memchr(b'\\', bytes).is_none() {
        return (bytes, true);
    }
    let Some(doubtful) = first_doubtful(bytes) else {
        // The same strings either way.
        return (bytes, true);
    };
    // A statement that was cut is out of balance for that reason.
    let is_whole = bytes.len() + 4 <= STATEMENT_BYTES_MAX;
    if is_sql(bytes, doubtful, true) {
        (bytes, true)
    } else if is_whole && is_sql(bytes, doubtful, false) {
        (bytes, false)
    } else {
        (&bytes[..=doubtful], true)
    }
}

/// A string or a name in quotes: where it begins and ends; no end where it is never closed.
struct Quoted {
    start: usize,
    end: Option<usize>,
}

/// All of a statement, comments left out.
struct Quotes<'a> {
    bytes: &'a [u8],
    at: usize,
    escapes: bool,
}

impl Iterator for Quotes<'_> {
    type Item = Quoted;

    fn next(&mut self) -> Option<Quoted> {
        let bytes = self.bytes;
        while let Some(byte) = bytes.get(self.at) {
            let next = bytes.get(self.at + 1).copied();
            self.at = match byte {
                b'\'' | b'"' | b'`' => {
                    let (start, end) = (self.at, quote_end(bytes, self.at, self.escapes));
                    self.at = end.unwrap_or(bytes.len());
                    return Some(Quoted { start, end });
                }
                b'/' if next == Some(b'*') && bytes.get(self.at + 2) != Some(&b'!') => {
                    skip_to(bytes, self.at + 2, b"*/")
                }
                b'#' => skip_to(bytes, self.at, b"\n"),
                b'-' if next == Some(b'-')
                    && bytes.get(self.at + 2).is_none_or(|byte| is(*byte, SPACE)) =>
                {
                    skip_to(bytes, self.at, b"\n")
                }
                _ => self.at + 1,
            };
        }
        None
    }
}

fn quotes(bytes: &[u8], escapes: bool) -> Quotes<'_> {
    Quotes {
        bytes,
        at: 0,
        escapes,
    }
}

/// Where the first string begins that ends elsewhere when backslashes do not escape.
fn first_doubtful(bytes: &[u8]) -> Option<usize> {
    quotes(bytes, true)
        .find(|quoted| quoted.end != quote_end(bytes, quoted.start, false))
        .map(|quoted| quoted.start)
}

/// Whether the statement reads like SQL: quotes are balanced, and from the doubtful one on no backslash stands outside of
/// strings, and no name touches their ends. Without escapes, which is rare, they also must stand where strings may.
fn is_sql(bytes: &[u8], doubtful: usize, escapes: bool) -> bool {
    let mut outside_from = doubtful;
    for quoted in quotes(bytes, escapes) {
        let Some(end) = quoted.end else {
            return false;
        };
        if quoted.start < doubtful {
            continue;
        }
        let between = &bytes[outside_from..quoted.start];
        let is_second = quoted.start > doubtful && between.trim_ascii().is_empty();
        let is_name = bytes[quoted.start] == b'`';
        let is_odd = !is_name && (!goes_on(bytes, end, escapes) || is_second && !escapes);
        if is_odd || has_backslash(between) {
            return false;
        }
        outside_from = end;
    }
    !has_backslash(&bytes[outside_from..])
}

/// `\N` is NULL.
fn has_backslash(outside: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', outside).any(|at| outside.get(at + 1) != Some(&b'N'))
}

/// Whether what follows may follow a string; where `lenient`, anything may but a name that touches it.
fn goes_on(bytes: &[u8], end: usize, lenient: bool) -> bool {
    let at = skip_blank(bytes, end);
    let rest = &bytes[at..];
    let is_behind = || {
        let n = rest.iter().take_while(|byte| is(**byte, NAME)).count();
        let word = &rest[..n];
        BEHIND
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    };
    match rest.first() {
        None => true,
        Some(byte) if is(*byte, NAME) => lenient && at > end || is_behind(),
        Some(byte) => lenient || b",);=<>!+-*/%|&^".contains(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, Fingerprinter};

    fn digest(sql: &str) -> String {
        let mut fingerprinter = Fingerprinter::new(Dialect::MySql);
        fingerprinter.fingerprint(sql).text.to_owned()
    }

    #[test]
    fn backslashes_do_not_escape_where_the_quotes_say_so() {
        for (sql, expected) in [
            (
                r"select a from t where d='C:\' and e='noesc secret'",
                "select a from t where d=? and e=?",
            ),
            (
                r"insert into t(a,b) values('C:\','secret'),('D:\','secret')",
                "insert into t(a,b) values(?+)",
            ),
            (
                r"update t set `a\`='C:\', b='secret' where c='D:\' or c='secret' order by 1",
                "update t set `a\\`=?, b=? where c=? or c=? order by ?",
            ),
            // They do where the quotes are balanced that way.
            (r"select 'it\'s secret', 'it\'s secret'", "select ?, ?"),
            (r"select '\\', 'secret'", "select ?, ?"),
            (r#"select "\"secret" -- it's \' "#, "select ?"),
        ] {
            assert_eq!(digest(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_no_reading_balances_is_one_value_from_the_first_doubtful_quote_on() {
        for (sql, expected) in [
            (
                r"select a, 'x' from t where b = 'it\'s secret', c = 'secret",
                "select a, ? from t where b = ?",
            ),
            // Balanced without escapes by chance: the statement was cut.
            (
                r"select a from t where b = 'it\'s secret' or c = 'cut secret",
                "select a from t where b = ?",
            ),
            (
                r"select a from t where b = 'secret\' ', ' cut secret",
                "select a from t where b = ?",
            ),
            (r"select 'a', 'cut \\ secret", "select ?, ?"),
            (
                r"insert into t values ('it\'s secret', 'cut secret",
                "insert into t values(?+)",
            ),
        ] {
            assert_eq!(digest(sql), expected, "{sql}");
            assert_eq!(digest(expected), expected);
        }
        // Would be SQL without escapes, had it not been cut.
        let mut long = r"select 'a\' and b, ' or c = ' and secret ".to_owned();
        long += &"and c = 1 ".repeat(STATEMENT_BYTES_MAX / 10);
        assert!(!digest(&long[..STATEMENT_BYTES_MAX]).contains("secret"));
    }
}
