//! Tables of metrics: CSV with a header, a row a moment, a column an attribute. (step 15)
//!
//! In: a file, plain or packed. Out: its times, if its first column is `time`, and its columns, each numbers or categories.
//! Invariants: TB-1 an empty cell is missing, never zero. TB-2 what is wrong is said with its line.
//! TB-3 a column with one cell that is no number is a column of categories, whatever the rest looks like.
//! Limits: [`BYTES_MAX`] of text, [`COLUMNS_MAX`] columns, [`LEVELS_MAX`] categories in a column. Quoted cells may hold commas
//! and newlines (RFC 4180). Does not: sort rows, fill gaps, know units.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use super::input::Input;

/// Longest text of a table once unpacked.
pub const BYTES_MAX: u64 = 1 << 30;
/// Most columns, the time among them.
pub const COLUMNS_MAX: usize = 1 << 17;
/// Most categories of one column; a column with more is text, not an attribute.
pub const LEVELS_MAX: usize = 10_000;
/// The code of a category that is missing.
pub const MISSING: u32 = u32::MAX;

/// When each row was.
#[derive(Debug, Clone, PartialEq)]
pub enum Times {
    /// As numbers, in the file's own unit.
    Numbers(Vec<f64>),
    /// As text that orders as it reads, such as RFC 3339 in one zone.
    Texts(Vec<String>),
}

/// What a column holds, a value a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; missing ones are NaN, no other is infinite or NaN.
    Numbers(Vec<f64>),
    /// Categories: codes into `levels`, which stand in order of appearance; missing ones are [`MISSING`].
    Categories {
        /// Their names.
        levels: Vec<String>,
        /// Row by row.
        codes: Vec<u32>,
    },
}

/// One attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// As the header has it; the second of two equal names is `NAME (2)`.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The column `time`, where it is the first.
    pub times: Option<Times>,
    /// All other columns, in the file's order.
    pub columns: Vec<Column>,
    /// Rows without the header.
    pub n_rows: usize,
}

impl Table {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// The file cannot be read, is too large, is not UTF-8, or a line has another number of cells than the header.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = Input::open(path)?
            .text(BYTES_MAX)
            .with_context(|| format!("read {}", path.display()))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let n_line = 1 + memchr::memchr_iter(b'\n', before).count();
            let name = path.display();
            anyhow::anyhow!("{name} line {n_line}: not UTF-8: convert it first")
        })?;
        Self::parse(text).with_context(|| format!("read {}", path.display()))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// There is no header, there are too many columns, or a line has another number of cells than the header.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut records = Records::new(text);
        let mut cells = Vec::new();
        ensure!(
            records.next(&mut cells)?,
            "no header: the first line names the columns"
        );
        ensure!(
            cells.len() <= COLUMNS_MAX,
            "{} columns, more than {COLUMNS_MAX}: split it",
            cells.len()
        );
        let names = distinct(&cells);
        let mut numbers: Vec<Option<Vec<f64>>> = vec![Some(Vec::new()); names.len()];
        let mut n_rows = 0;
        while records.next(&mut cells)? {
            ensure!(
                cells.len() == names.len(),
                "line {}: {} cells, the header has {}",
                records.line,
                cells.len(),
                names.len()
            );
            n_rows += 1;
            for (column, cell) in numbers.iter_mut().zip(&cells) {
                let Some(values) = column else { continue };
                match number(cell) {
                    Some(value) => values.push(value),
                    None => *column = None,
                }
            }
        }
        let mut columns = categories(text, names, numbers)?.into_iter().peekable();
        let is_time = |column: &Column| column.name.eq_ignore_ascii_case("time");
        let times = columns.next_if(is_time).map(times).transpose()?;
        Ok(Self {
            times,
            columns: columns.collect(),
            n_rows,
        })
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A number, NaN where it is missing or not finite; `None` where the cell is something else.
fn number(cell: &str) -> Option<f64> {
    let cell = cell.trim();
    if ["", "na", "null", "none"]
        .iter()
        .any(|word| cell.eq_ignore_ascii_case(word))
    {
        return Some(f64::NAN);
    }
    let value: f64 = cell.parse().ok()?;
    Some(if value.is_finite() { value } else { f64::NAN })
}

/// Names, with a number behind one that was there before.
fn distinct(names: &[Cow<'_, str>]) -> Vec<String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let number = |name| {
        let n = seen.entry(name).or_insert(0);
        *n += 1;
        match *n {
            1 => name.to_owned(),
            n => format!("{name} ({n})"),
        }
    };
    names.iter().map(|name| name.trim()).map(number).collect()
}

/// Columns of numbers as they are; the text is gone through again for those that are none.
fn categories(
    text: &str,
    names: Vec<String>,
    numbers: Vec<Option<Vec<f64>>>,
) -> anyhow::Result<Vec<Column>> {
    let is_category: Vec<bool> = numbers.iter().map(Option::is_none).collect();
    let mut codes: Vec<(BTreeMap<String, u32>, Vec<u32>)> = Vec::new();
    if is_category.contains(&true) {
        codes = vec![(BTreeMap::new(), Vec::new()); names.len()];
        let (mut records, mut cells) = (Records::new(text), Vec::new());
        records.next(&mut cells)?;
        while records.next(&mut cells)? {
            for at in (0..cells.len()).filter(|at| is_category[*at]) {
                let (levels, codes) = &mut codes[at];
                let is_time = at == 0 && names[0].eq_ignore_ascii_case("time");
                codes.push(
                    code(levels, cells[at].trim(), is_time).with_context(|| {
                        format!("line {}, column `{}`", records.line, names[at])
                    })?,
                );
            }
        }
    }
    let column = |(at, (name, numbers)): (usize, (String, Option<Vec<f64>>))| Column {
        name,
        values: match numbers {
            Some(numbers) => Values::Numbers(numbers),
            None => {
                let (levels, codes) = std::mem::take(&mut codes[at]);
                let mut names = vec![String::new(); levels.len()];
                for (name, code) in levels {
                    names[code as usize] = name;
                }
                Values::Categories {
                    levels: names,
                    codes,
                }
            }
        },
    };
    let all = names.into_iter().zip(numbers).enumerate();
    Ok(all.map(column).collect())
}

/// The code of a category, a new one for a new one.
fn code(levels: &mut BTreeMap<String, u32>, cell: &str, is_time: bool) -> anyhow::Result<u32> {
    if cell.is_empty() {
        return Ok(MISSING);
    }
    if let Some(code) = levels.get(cell) {
        return Ok(*code);
    }
    ensure!(
        levels.len() < LEVELS_MAX || is_time,
        "more than {LEVELS_MAX} different texts: leave the column out, it is no attribute"
    );
    let code = levels.len() as u32;
    levels.insert(cell.to_owned(), code);
    Ok(code)
}

fn times(column: Column) -> anyhow::Result<Times> {
    match column.values {
        Values::Numbers(times) => match times.iter().position(|time| time.is_nan()) {
            Some(row) => bail!("row {row} has no time: fill it in or leave the row out"),
            None => Ok(Times::Numbers(times)),
        },
        Values::Categories { levels, codes } => {
            let text = |(row, code): (usize, &u32)| match levels.get(*code as usize) {
                Some(text) => Ok(text.clone()),
                None => bail!("row {row} has no time: fill it in or leave the row out"),
            };
            let texts: anyhow::Result<Vec<String>> = codes.iter().enumerate().map(text).collect();
            texts.map(Times::Texts)
        }
    }
}

/// The rows of a text, cell by cell; blank lines are no rows.
pub(super) struct Records<'a> {
    rest: &'a str,
    /// Number of the line the last row began on, from 1.
    pub(super) line: u64,
    n_lines: u64,
}

impl<'a> Records<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 0,
            n_lines: 0,
        }
    }

    /// Fills in the cells of the next row; false when there is none.
    pub(super) fn next(&mut self, cells: &mut Vec<Cow<'a, str>>) -> anyhow::Result<bool> {
        loop {
            if self.rest.is_empty() {
                return Ok(false);
            }
            cells.clear();
            self.n_lines += 1;
            self.line = self.n_lines;
            let end = memchr::memchr(b'\n', self.rest.as_bytes()).unwrap_or(self.rest.len());
            let line = &self.rest[..end];
            if memchr::memchr(b'"', line.as_bytes()).is_some() {
                self.quoted(cells)?;
                return Ok(true);
            }
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.trim().is_empty() {
                cells.extend(line.split(',').map(Cow::Borrowed));
                return Ok(true);
            }
        }
    }

    /// A row with quotes in it, which may span lines.
    fn quoted(&mut self, cells: &mut Vec<Cow<'a, str>>) -> anyhow::Result<()> {
        let mut cell = String::new();
        let mut is_quoted = false;
        let mut chars = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if is_quoted && chars.next_if(|(_, c)| *c == '"').is_some() => cell.push('"'),
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => cells.push(Cow::Owned(std::mem::take(&mut cell))),
                '\n' if !is_quoted => {
                    end = at + 1;
                    break;
                }
                '\r' if !is_quoted => {}
                c => {
                    self.n_lines += u64::from(c == '\n');
                    cell.push(c);
                }
            }
        }
        ensure!(
            !is_quoted,
            "line {}: a quote is opened and never closed",
            self.line
        );
        cells.push(Cow::Owned(cell));
        self.rest = &self.rest[end..];
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(table: &Table, name: &str) -> Vec<f64> {
        match &table.column(name).unwrap().values {
            Values::Numbers(numbers) => numbers.clone(),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn cells_are_numbers_or_missing_or_make_a_column_of_categories() {
        let text = "time,a,b,c\n1,2.5,,x\n2,-1e3,NaN,\n\n3,,inf,7\r\n";
        let table = Table::parse(text).unwrap();
        assert_eq!(table.times, Some(Times::Numbers(vec![1.0, 2.0, 3.0])));
        assert_eq!((table.n_rows, table.columns.len()), (3, 3));
        let a = numbers(&table, "a");
        assert_eq!(a[..2], [2.5, -1000.0]);
        assert!(a[2].is_nan());
        assert!(numbers(&table, "b").iter().all(|value| value.is_nan()));
        let Values::Categories { levels, codes } = &table.column("c").unwrap().values else {
            panic!("c is text");
        };
        assert_eq!(
            (levels.join("|"), codes),
            ("x|7".to_owned(), &vec![0, MISSING, 1])
        );
    }

    #[test]
    fn quotes_hold_commas_newlines_and_quotes() {
        let text = "\"a, b\",c\n\"x\ny\",1\n\"say \"\"hi\"\"\",2\n";
        let table = Table::parse(text).unwrap();
        let Values::Categories { levels, .. } = &table.columns[0].values else {
            panic!("text");
        };
        assert_eq!(table.columns[0].name, "a, b");
        assert_eq!(levels[..], ["x\ny", "say \"hi\""]);
        assert_eq!(numbers(&table, "c"), [1.0, 2.0]);
    }

    #[test]
    fn a_table_without_time_and_with_a_name_twice() {
        let table = Table::parse("a,a,time\n1,2,3\n").unwrap();
        let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((names, table.times), (vec!["a", "a (2)", "time"], None));
        let texts = Table::parse("Time,a\n2026-01-01T00:00:00Z,1\n").unwrap();
        assert_eq!(
            texts.times,
            Some(Times::Texts(vec!["2026-01-01T00:00:00Z".to_owned()]))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, says) in [
            ("", "no header"),
            ("a,b\n1,2\n\n1\n", "line 4: 1 cells, the header has 2"),
            ("a\n\"x\n", "line 2: a quote is opened"),
            ("time,a\n1,1\n,2\n", "row 1 has no time"),
        ] {
            let error = format!("{:#}", Table::parse(text).unwrap_err());
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_packed_file_is_read_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv.zst");
        std::fs::write(&path, zstd::encode_all(&b"time,a\n1,2\n"[..], 1).unwrap()).unwrap();
        assert_eq!(numbers(&Table::read(&path).unwrap(), "a"), [2.0]);
        std::fs::write(&path, b"a,b\n1,\xff\n").unwrap();
        let error = format!("{:#}", Table::read(&path).unwrap_err());
        assert!(error.contains("line 2: not UTF-8"), "{error}");
    }

    #[test]
    fn too_many_texts_are_no_attribute() {
        let mut text = "time,a\n".to_owned();
        for row in 0..=LEVELS_MAX {
            text.push_str(&format!("t{row},x{row}\n"));
        }
        let error = format!("{:#}", Table::parse(&text).unwrap_err());
        assert!(error.contains("column `a`"), "{error}");
    }
}
