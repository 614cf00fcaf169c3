//! `hsw trigger eval`: at which event each of many triggers matures. (step 15)
//!
//! In: CSV of events `value[,weight]` and of triggers `id,lo,hi,count[,from]`, with a line of column names or in this
//! order without; ranges are half-open. Out: a row per trigger, in the file's order. The triggers are the aggregator's
//! ([`Forest`]). Memory: the triggers; events stream.
//! Numbers are compared exactly: where every bound is an integer a value counts as the integer below it, which lies in
//! the same ranges; else as the float below it, likewise.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use hsw_trigger::{Config, Forest, QueryId, Range, WEIGHT_MAX, key_of_f64, key_of_i64};
use serde_json::{Value, json};

use super::input::Input;

/// Most triggers of a file; some 700 bytes each.
const N_QUERIES_MAX: usize = 8 << 20;

/// The eval command.
#[derive(Debug, Args)]
pub struct Options {
    /// CSV of events: `value[,weight]`; plain, .gz or .zst; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub events: PathBuf,
    /// CSV of triggers: `id,lo,hi,count[,from]`; `from` is the first row that counts, 0 by default.
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, a row is none, or standard output is gone.
pub fn run(options: &Options, as_json: bool) -> anyhow::Result<()> {
    let queries = queries(&options.queries)?;
    let rows = replay(&queries, &options.events)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    if !as_json {
        writeln!(out, "id,row")?;
    }
    for (query, row) in queries.iter().zip(rows) {
        if as_json {
            writeln!(out, "{}", json!({ "id": id(&query.id), "row": row }))?;
        } else {
            let row = row.map_or_else(String::new, |row| row.to_string());
            writeln!(out, "{},{row}", quoted(&query.id))?;
        }
    }
    out.flush().context("write to standard output")
}

/// One trigger as it was read.
#[derive(Debug)]
struct Query {
    id: String,
    lo: Number,
    hi: Number,
    count: u64,
    from: u64,
}

/// The row at which each trigger matures.
fn replay(queries: &[Query], events: &Path) -> anyhow::Result<Vec<Option<u64>>> {
    let mut bounds = queries.iter().flat_map(|query| [query.lo, query.hi]);
    let is_whole = bounds.all(|bound| matches!(bound, Number::Whole(_)));
    let mut ranges = Vec::with_capacity(queries.len());
    for query in queries {
        let (lo, hi) = (query.lo.bound(is_whole)?, query.hi.bound(is_whole)?);
        ranges.push(Range { lo, hi });
    }
    // A range without keys never matures; the rest is registered when its first row comes.
    let mut waiting: Vec<usize> = (0..queries.len())
        .filter(|&i| !ranges[i].is_empty())
        .collect();
    waiting.sort_by_key(|&i| std::cmp::Reverse(queries[i].from));
    let config = Config {
        n_queries_max: N_QUERIES_MAX,
        ..Config::default()
    };
    let mut forest = Forest::new(1, config);
    let mut rows = vec![None; queries.len()];
    let mut row = 0;
    each_row(events, &["value"], &["weight"], |fields| {
        let value = number(fields[0])?;
        let weight = whole(fields[1], 1)?;
        let first_later = waiting.partition_point(|&i| queries[i].from > row);
        if first_later < waiting.len() {
            let begun = waiting.drain(first_later..);
            let boxes: Vec<_> = begun
                .map(|i| (QueryId(i as u64), [ranges[i]], queries[i].count))
                .collect();
            forest.register_all(
                boxes
                    .iter()
                    .map(|(id, range, count)| (*id, &range[..], *count)),
            )?;
        }
        for matured in forest.add(&[value.key(is_whole)], weight) {
            rows[matured.id.0 as usize] = Some(row);
        }
        row += 1;
        Ok(())
    })?;
    Ok(rows)
}

fn queries(path: &Path) -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    each_row(path, &["id", "lo", "hi", "count"], &["from"], |fields| {
        ensure!(
            queries.len() < N_QUERIES_MAX,
            "more than {N_QUERIES_MAX} triggers: split the file"
        );
        let count = whole(fields[3], 1)?;
        ensure!(
            (1..=WEIGHT_MAX).contains(&count),
            "count {count} is not within 1..=2^62"
        );
        queries.push(Query {
            id: fields[0].to_owned(),
            lo: number(fields[1])?,
            hi: number(fields[2])?,
            count,
            from: whole(fields[4], 0)?,
        });
        Ok(())
    })?;
    Ok(queries)
}

/// Hands out the named columns of each row, empty where an optional one is absent.
fn each_row(
    path: &Path,
    needed: &[&str],
    optional: &[&str],
    mut take: impl FnMut(&[&str]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let names: Vec<&str> = needed.iter().chain(optional).copied().collect();
    let mut columns: Option<Vec<Option<usize>>> = None;
    let mut n_lines = 0_u64;
    let mut input = Input::open(path)?;
    input.each_line(|line| {
        n_lines += 1;
        let context = || format!("{} line {n_lines}", path.display());
        let line = std::str::from_utf8(line).with_context(context)?;
        let fields = fields(line.trim_start_matches('\u{feff}'));
        if fields.len() == 1 && fields[0].is_empty() {
            return Ok(());
        }
        if columns.is_none() {
            let at = |name: &&str| fields.iter().position(|field| field == name);
            let is_heading = needed.iter().all(|name| at(name).is_some());
            if is_heading {
                columns = Some(names.iter().map(at).collect());
                return Ok(());
            }
        }
        let columns = columns.get_or_insert_with(|| (0..names.len()).map(Some).collect());
        let field =
            |at: &Option<usize>| at.and_then(|at| fields.get(at)).map_or("", String::as_str);
        let row: Vec<&str> = columns.iter().map(field).collect();
        if let Some(empty) = row[..needed.len()]
            .iter()
            .position(|field| field.is_empty())
        {
            bail!(
                "{}: no {}: the columns are {}",
                context(),
                needed[empty],
                names.join(",")
            );
        }
        take(&row).with_context(context)
    })
}

/// The fields of a line, without their quotes.
pub(super) fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[last].push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    for field in &mut fields {
        if field.trim().len() < field.len() {
            *field = field.trim().to_owned();
        }
    }
    fields
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// An id that is written as JSON writes an integer is one.
pub(super) fn id(text: &str) -> Value {
    let integer = text.parse::<i64>().ok();
    integer
        .filter(|integer| integer.to_string() == text)
        .map_or_else(|| json!(text), |integer| json!(integer))
}

/// A value or bound.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Whole(i64),
    Real(f64),
}

impl Number {
    /// The key of a bound, exactly.
    fn bound(self, is_whole: bool) -> anyhow::Result<u64> {
        if let (Self::Whole(whole), false) = (self, is_whole) {
            ensure!(
                float_below(whole) as i128 == i128::from(whole),
                "bound {whole} is no float: give all bounds as integers"
            );
        }
        Ok(self.key(is_whole))
    }

    /// The key of a value: that of the integer or float that is not above it.
    fn key(self, is_whole: bool) -> u64 {
        match (self, is_whole) {
            (Self::Whole(whole), true) => key_of_i64(whole),
            // Beyond the integers it lies beyond every range, or below.
            (Self::Real(real), true) => key_of_i64(real.floor() as i64),
            (Self::Whole(whole), false) => key_of_f64(float_below(whole)).unwrap_or(0),
            (Self::Real(real), false) => key_of_f64(real).unwrap_or(0),
        }
    }
}

/// The highest float that is not above an integer.
fn float_below(whole: i64) -> f64 {
    let near = whole as f64;
    if near as i128 > i128::from(whole) {
        near.next_down()
    } else {
        near
    }
}

fn number(text: &str) -> anyhow::Result<Number> {
    if let Ok(whole) = text.parse() {
        return Ok(Number::Whole(whole));
    }
    let real = text.parse::<f64>().ok().filter(|real| !real.is_nan());
    real.map(Number::Real)
        .with_context(|| format!("`{text}` is no number"))
}

/// A count: an integer from 0, also if written `3.0`.
fn whole(text: &str, default: u64) -> anyhow::Result<u64> {
    if text.is_empty() {
        return Ok(default);
    }
    if let Ok(whole) = text.parse() {
        return Ok(whole);
    }
    let real = text.parse::<f64>().ok();
    let real = real.filter(|real| real.fract() == 0.0 && (0.0..9e15).contains(real));
    real.map(|real| real as u64)
        .with_context(|| format!("`{text}` is no integer from 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(name: &str, triggers: &str, events: &str) -> anyhow::Result<Vec<Option<u64>>> {
        let dir = std::env::temp_dir().join(format!("hsw-trigger-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("q"), triggers)?;
        std::fs::write(dir.join("e"), events)?;
        let rows = queries(&dir.join("q")).and_then(|queries| replay(&queries, &dir.join("e")));
        std::fs::remove_dir_all(&dir)?;
        rows
    }

    #[test]
    fn a_trigger_matures_at_the_row_that_reaches_its_count_within_its_half_open_range() {
        let triggers =
            "id,lo,hi,count,from\na,0,10,3,\nb,10,20,2,0\nc,0,20,4,2\nd,5,5,1,\ne,0,20,1,99\n";
        let events = "value,weight\n0,1\n9.99,1\n10,1\n19,1\n20,9\n3,5\n";
        let expected = vec![Some(5), Some(3), Some(5), None, None];
        assert_eq!(eval("rows", triggers, events).unwrap(), expected);
    }

    #[test]
    fn columns_may_stand_in_any_order_and_weights_and_names_may_be_absent() {
        let triggers = "count,hi,lo,note,id\n2,1e3,0.5,x,\"a, b\"\n";
        assert_eq!(
            eval("order", triggers, "value\n0.25\n1\n700\n").unwrap(),
            [Some(2)]
        );
        assert_eq!(eval("bare", "7,0,5,2\n", "1\n\n4\n").unwrap(), [Some(1)]);
    }

    #[test]
    fn integers_beyond_the_precision_of_floats_are_told_apart() {
        let triggers = "1,9007199254740993,9007199254740994,1\n2,-inf,9007199254740992.0,1\n";
        let events = "9007199254740992\n9007199254740993\n";
        assert_eq!(
            eval("int", "1,9007199254740993,9007199254740994,1\n", events).unwrap(),
            [Some(1)]
        );
        let why = format!("{:#}", eval("mix", triggers, events).unwrap_err());
        assert!(why.contains("give all bounds as integers"), "{why}");
        let events = "9007199254740993\n9007199254740991\n";
        assert_eq!(
            eval("real", "2,-inf,9007199254740992.0,1\n", events).unwrap(),
            [Some(1)]
        );
    }

    #[test]
    fn what_is_no_row_is_named_with_its_line() {
        for (triggers, events, part) in [
            ("1,0,x,1\n", "1\n", "q line 1: `x` is no number"),
            ("1,0,5,0\n", "1\n", "q line 1: count 0"),
            ("1,0,5,1\n", "1,-2\n", "e line 1: `-2` is no integer"),
            ("1,0,5\n", "1\n", "q line 1: no count"),
            ("1,0,5,1\n", "1\nNaN\n", "e line 2: `NaN` is no number"),
        ] {
            let why = format!("{:#}", eval("bad", triggers, events).unwrap_err());
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn ids_stay_numbers_where_they_are_written_as_numbers() {
        assert_eq!(
            [id("7"), id("07"), id("q1")],
            [json!(7), json!("07"), json!("q1")]
        );
    }
}
