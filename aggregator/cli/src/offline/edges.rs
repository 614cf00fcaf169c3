//! Edge lists: `u v` by blanks, or CSV with `source,target[,time][,weight or value][,op]`. (step 15)
//!
//! In: a file; a line of column names or, without, this order; `#` begins a comment; any string is a name. Out: numbered
//! vertices in order of appearance, and edges as they stand. Loops are dropped and counted; a time that is none is an error. Limits: 2²⁶
//! vertices.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::input::Input;
use super::trigger::fields;

/// Vertices of a file.
const VERTICES_MAX: usize = 1 << 26;

/// What a row says of its edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It is there.
    Insert,
    /// It is gone.
    Delete,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// One end.
    pub u: u32,
    /// The other.
    pub v: u32,
    /// What happens.
    pub op: Op,
    /// When, in seconds; `None` where the file does not say.
    pub time: Option<f64>,
}

/// A file's edges.
#[derive(Debug, Default)]
pub struct Edges {
    /// Names by number.
    pub names: Vec<String>,
    /// Rows in the file's order, loops left out.
    pub rows: Vec<Row>,
    /// Loops dropped.
    pub n_loops: usize,
    numbers: BTreeMap<String, u32>,
}

/// Columns of a row.
#[derive(Debug, Clone, Copy)]
struct Columns {
    source: usize,
    target: usize,
    time: Option<usize>,
    op: Option<usize>,
}

impl Edges {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no edge.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut edges = Self::default();
        let mut columns = None;
        each_row(path, |fields| {
            let columns = match columns {
                Some(columns) => columns,
                None => {
                    let (found, is_heading) = heading(fields);
                    columns = Some(found);
                    if is_heading {
                        return Ok(());
                    }
                    found
                }
            };
            edges.take(fields, columns)
        })?;
        Ok(edges)
    }

    fn take(&mut self, fields: &[String], columns: Columns) -> anyhow::Result<()> {
        let field = |at: usize| {
            fields
                .get(at)
                .map(String::as_str)
                .filter(|name| !name.is_empty())
        };
        let source =
            field(columns.source).context("no source: write `source target` or source,target")?;
        let target =
            field(columns.target).context("no target: write `source target` or source,target")?;
        let op = match columns.op.and_then(field).unwrap_or("+") {
            "+" | "add" | "insert" | "1" => Op::Insert,
            "-" | "remove" | "delete" | "-1" => Op::Delete,
            other => anyhow::bail!("op `{other}`: write + or -"),
        };
        let time = match columns.time.and_then(field) {
            None => None,
            Some(text) => Some(seconds(text).with_context(|| {
                format!("time `{text}`: write seconds or a time such as 2026-11-21T07:30:00Z")
            })?),
        };
        let (u, v) = (self.number(source)?, self.number(target)?);
        if u == v {
            self.n_loops += 1;
        } else {
            self.rows.push(Row { u, v, op, time });
        }
        Ok(())
    }

    /// Whether rows that have a time are in its order.
    ///
    /// # Errors
    /// Two are not; which.
    pub fn ensure_order(&self) -> anyhow::Result<()> {
        let mut last = f64::NEG_INFINITY;
        for (at, row) in self.rows.iter().enumerate() {
            if let Some(time) = row.time {
                ensure!(
                    time >= last,
                    "edge {}: time {time} comes after {last}; sort the file by time",
                    at + 1
                );
                last = time;
            }
        }
        Ok(())
    }

    /// The number of a name, given when it is new.
    fn number(&mut self, name: &str) -> anyhow::Result<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        ensure!(
            self.names.len() < VERTICES_MAX,
            "more than {VERTICES_MAX} vertices: split the file"
        );
        let number = self.names.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        Ok(number)
    }

    /// The number of a name that the file has.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

/// Hands out the fields of each line, by commas or by blanks; what goes wrong is said with its line.
pub(super) fn each_row(
    path: &Path,
    mut take: impl FnMut(&[String]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut n_lines = 0_u64;
    Input::open(path)?.each_line(|line| {
        n_lines += 1;
        let context = || format!("{} line {n_lines}", path.display());
        let line = std::str::from_utf8(line).with_context(context)?;
        let line = without_comment(line).trim();
        if line.is_empty() {
            return Ok(());
        }
        let fields = if line.contains(',') {
            fields(line)
        } else {
            line.split_whitespace().map(str::to_owned).collect()
        };
        take(&fields).with_context(context)
    })
}

/// Seconds: a number, or a date and time (RFC 3339, a blank for its T; UTC where it names no zone) since 1970. `None` for anything else.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (date, clock) = text.split_once(['T', 't', ' '])?;
    let numbers = |text: &str, by: char| -> Option<Vec<f64>> {
        let of = |part: &str| {
            part.parse::<f64>()
                .ok()
                .filter(|x| *x >= 0.0 && x.is_finite())
        };
        text.split(by).map(of).collect()
    };
    let [year, month, day] = numbers(date, '-')?[..] else {
        return None;
    };
    let at = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(at);
    let zone_s = match zone {
        "" | "Z" | "z" => 0.0,
        _ => {
            let [hours, minutes] = numbers(&zone[1..], ':')?[..] else {
                return None;
            };
            (hours * 60.0 + minutes) * if zone.starts_with('-') { -60.0 } else { 60.0 }
        }
    };
    let (hour, minute, second) = match numbers(clock, ':')?[..] {
        [hour, minute] => (hour, minute, 0.0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let is_possible = (1.0..=12.0).contains(&month)
        && (1.0..=31.0).contains(&day)
        && hour < 24.0
        && minute < 60.0
        && second < 61.0;
    // Days of a calendar whose years begin in March (Hinnant: chrono-compatible low-level date algorithms).
    let years = if month <= 2.0 { year - 1.0 } else { year };
    let months = (month + 9.0) % 12.0;
    let in_year = ((153.0 * months + 2.0) / 5.0).floor() + day - 1.0;
    let leaps = (years / 4.0).floor() - (years / 100.0).floor() + (years / 400.0).floor();
    let days = years * 365.0 + leaps + in_year - 719_468.0;
    is_possible.then_some(days * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second - zone_s)
}

/// Where the columns are, and whether this is a line of names.
fn heading(fields: &[String]) -> (Columns, bool) {
    let at = |name: &str| {
        fields
            .iter()
            .position(|field| field.eq_ignore_ascii_case(name))
    };
    match (at("source"), at("target")) {
        (Some(source), Some(target)) => (
            Columns {
                source,
                target,
                time: at("time"),
                op: at("op"),
            },
            true,
        ),
        _ => {
            let time = (fields.len() > 2).then_some(2);
            let op = (fields.len() > 4).then_some(4);
            (
                Columns {
                    source: 0,
                    target: 1,
                    time,
                    op,
                },
                false,
            )
        }
    }
}

/// A comment begins at a `#` that stands first or after a blank, outside quotes: names hold `#` where digits were masked.
fn without_comment(line: &str) -> &str {
    let (mut is_quoted, mut is_after_blank) = (false, true);
    for (at, c) in line.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' if is_after_blank && !is_quoted => return &line[..at],
            _ => {}
        }
        is_after_blank = c.is_whitespace();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Edges> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, text).unwrap();
        Edges::read(&path)
    }

    #[test]
    fn a_comment_is_no_part_of_a_name_and_a_name_no_comment() {
        for (line, expected) in [
            ("a b # said by c", "a b "),
            ("# all of it", ""),
            ("web-# shard-1", "web-# shard-1"),
            ("\"tenant #a\",b", "\"tenant #a\",b"),
        ] {
            assert_eq!(without_comment(line), expected);
        }
    }

    #[test]
    fn edges_by_blanks_by_commas_and_by_name_of_their_columns() {
        let plain = read("# n 3\na b\n  b c # and\nc c\n").unwrap();
        assert_eq!((plain.rows.len(), plain.n_loops), (2, 1));
        assert_eq!(plain.names, ["a", "b", "c"]);
        let named = read("time,value,target,source\n1,2,\"x, y\",z\n").unwrap();
        assert_eq!(named.names, ["z", "x, y"]);
        let ops = read("source,target,op\na,b,+\na,b,-\n").unwrap();
        assert_eq!(
            ops.rows[1],
            Row {
                u: 0,
                v: 1,
                op: Op::Delete,
                time: None,
            }
        );
        assert_eq!(read("a,b,7,1,-\n").unwrap().rows[0].op, Op::Delete);
    }

    #[test]
    fn times_are_read_and_what_is_none_or_out_of_order_is_named() {
        assert_eq!(seconds("1970-01-02T00:00:01.5Z"), Some(86_401.5));
        assert_eq!(seconds("2000-03-01 00:00"), Some(951_868_800.0));
        assert_eq!(seconds("2000-03-01T01:00:00+01:00"), Some(951_868_800.0));
        for none in [
            "",
            "yesterday",
            "NaN",
            "inf",
            "2000-13-01T00:00Z",
            "2000-03-01T25:00Z",
            "12:00",
        ] {
            assert_eq!(seconds(none), None, "{none}");
        }
        let rows = read("target,time,source\na,7,b\na,,c\nb,5.5,c\n").unwrap();
        assert_eq!(rows.rows[0].time, Some(7.0));
        let error = rows.ensure_order().unwrap_err().to_string();
        assert!(
            error.contains("edge 3") && error.contains("sort"),
            "{error}"
        );
        let error = format!("{:#}", read("a,b,soon\n").unwrap_err());
        assert!(
            error.contains("line 1") && error.contains("time `soon`"),
            "{error}"
        );
        assert!(read("a,b,3\nb,c,3\n").unwrap().ensure_order().is_ok());
    }

    #[test]
    fn a_line_that_is_no_edge_is_named() {
        let error = format!("{:#}", read("a b\nc\n").unwrap_err());
        assert!(
            error.contains("line 2") && error.contains("no target"),
            "{error}"
        );
        assert!(read("source,target,op\na,b,maybe\n").is_err());
    }
}
