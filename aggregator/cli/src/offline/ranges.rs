//! Ranges of rows as they are typed: `A..B[,C..D]`, both ends included; `@T..@T` by the time column. (step 15)
//!
//! In: a text, a table. Out: rows. Plain numbers are row numbers from 0 without the header; a time is written as the
//! file's `time` column has it. Ranges that touch or overlap are one. Does not: know what the rows mean.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

use super::table::{Table, Times};

/// A place in a table, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A row's number.
    Row(usize),
    /// A moment, as the file's `time` column has it.
    Time(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.strip_prefix('@') {
            Some("") => Err("no time behind @".to_owned()),
            Some(time) => Ok(Self::Time(time.to_owned())),
            None => match text.parse() {
                Ok(row) => Ok(Self::Row(row)),
                Err(_) => Err(format!("`{text}` is neither a row's number nor @TIME")),
            },
        }
    }
}

impl Place {
    /// The first row at or after it.
    ///
    /// # Errors
    /// The table ends before it, or has no such times.
    pub fn row(&self, table: &Table) -> anyhow::Result<usize> {
        match self {
            Self::Row(row) => {
                let n = table.n_rows;
                ensure!(
                    *row < n,
                    "row {row}: the table has {n} rows, counted from 0"
                );
                Ok(*row)
            }
            Self::Time(time) => {
                let is_before = Moment::of(time, table)?;
                (0..table.n_rows)
                    .find(|row| !is_before.is_after(*row, table))
                    .with_context(|| format!("no row at or after @{time}"))
            }
        }
    }
}

/// Ranges, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(Vec<(Place, Place)>);

impl FromStr for Ranges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = |part: &str| {
            let (from, to) = part
                .split_once("..")
                .ok_or_else(|| format!("`{part}` is no range: write A..B or @T..@T"))?;
            match (from.parse()?, to.parse()?) {
                (Place::Row(a), Place::Row(b)) if b < a => {
                    Err(format!("`{part}` ends before it begins"))
                }
                both @ ((Place::Row(_), Place::Row(_)) | (Place::Time(_), Place::Time(_))) => {
                    Ok(both)
                }
                _ => Err(format!("`{part}`: both ends are rows, or both are @TIME")),
            }
        };
        let all: Result<Vec<_>, String> = text.split(',').map(range).collect();
        all.map(Self)
    }
}

impl Ranges {
    /// The rows of a table that they name.
    ///
    /// # Errors
    /// A row that is not there, a time without a time column, or a span of time without a row.
    pub fn rows(&self, table: &Table) -> anyhow::Result<Rows> {
        let mut chosen = vec![false; table.n_rows];
        for (from, to) in &self.0 {
            match (from, to) {
                (Place::Time(from), Place::Time(to)) => {
                    let (first, last) = (Moment::of(from, table)?, Moment::of(to, table)?);
                    let mut n = 0;
                    for (row, chosen) in chosen.iter_mut().enumerate() {
                        if !first.is_after(row, table) && !last.is_before(row, table) {
                            *chosen = true;
                            n += 1;
                        }
                    }
                    ensure!(n > 0, "no row from @{from} to @{to}");
                }
                (from, to) => chosen[from.row(table)?..=to.row(table)?].fill(true),
            }
        }
        Ok(Rows::from_flags(&chosen))
    }
}

/// A time that can be compared with those of a table.
enum Moment {
    Number(f64),
    Text(String),
}

impl Moment {
    fn of(time: &str, table: &Table) -> anyhow::Result<Self> {
        match &table.times {
            None => bail!("@{time}: the table's first column is not `time`; write row numbers"),
            Some(Times::Texts(_)) => Ok(Self::Text(time.to_owned())),
            Some(Times::Numbers(_)) => {
                let number = time.parse::<f64>().ok().filter(|t| t.is_finite());
                number.map(Self::Number).with_context(|| {
                    format!("@{time}: the table's times are numbers; write one as they are")
                })
            }
        }
    }

    fn is_after(&self, row: usize, table: &Table) -> bool {
        self.compare(row, table).is_gt()
    }

    fn is_before(&self, row: usize, table: &Table) -> bool {
        self.compare(row, table).is_lt()
    }

    fn compare(&self, row: usize, table: &Table) -> std::cmp::Ordering {
        match (self, &table.times) {
            (Self::Number(own), Some(Times::Numbers(times))) => own.total_cmp(&times[row]),
            (Self::Text(own), Some(Times::Texts(times))) => own.as_str().cmp(&times[row]),
            _ => unreachable!("made for this table"),
        }
    }
}

/// Rows of a table as ascending ranges that do not touch, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows(Vec<(usize, usize)>);

impl Rows {
    /// From a flag a row.
    #[must_use]
    pub fn from_flags(flags: &[bool]) -> Self {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for row in (0..flags.len()).filter(|row| flags[*row]) {
            match ranges.last_mut() {
                Some(last) if last.1 + 1 == row => last.1 = row,
                _ => ranges.push((row, row)),
            }
        }
        Self(ranges)
    }

    /// A flag for each of `n_rows` rows.
    #[must_use]
    pub fn flags(&self, n_rows: usize) -> Vec<bool> {
        let mut flags = vec![false; n_rows];
        for (first, last) in &self.0 {
            for flag in flags.iter_mut().take(last + 1).skip(*first) {
                *flag = true;
            }
        }
        flags
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[(usize, usize)] {
        &self.0
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{first}..{last}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ranges: &str, table: &str) -> anyhow::Result<String> {
        let ranges: Ranges = ranges.parse().map_err(anyhow::Error::msg)?;
        let rows = ranges.rows(&Table::parse(table)?)?;
        Ok(rows.to_string())
    }

    const TABLE: &str = "time,a\n10,1\n11,1\n12.5,1\n13,1\n20,1\n";

    #[test]
    fn both_ends_are_included_and_ranges_that_touch_are_one() {
        assert_eq!(rows("0..1,3..3", TABLE).unwrap(), "0..1,3..3");
        assert_eq!(rows("3..4, 1..2", TABLE).unwrap(), "1..4");
        assert_eq!(rows("@11..@13", TABLE).unwrap(), "1..3");
        assert_eq!(rows("@10.5..@12,4..4", TABLE).unwrap(), "1..1,4..4");
        let texts = "time,a\n2026-01-01T00:00:05Z,1\n2026-01-01T00:00:06Z,1\n";
        assert_eq!(rows("@2026-01-01T00:00:06Z..@2027", texts).unwrap(), "1..1");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (ranges, says) in [
            ("3..1", "ends before"),
            ("3", "no range"),
            ("", "no range"),
            ("a..b", "neither"),
            ("1..@2", "both ends"),
            ("0..5", "the table has 5 rows"),
            ("@14..@15", "no row from"),
            ("@x..@y", "times are numbers"),
        ] {
            let error = format!("{:#}", rows(ranges, TABLE).unwrap_err());
            assert!(error.contains(says), "{ranges}: {error}");
        }
        let error = format!("{:#}", rows("@1..@2", "a\n1\n").unwrap_err());
        assert!(error.contains("write row numbers"), "{error}");
    }

    #[test]
    fn a_place_is_the_first_row_at_or_after_it() {
        let table = Table::parse(TABLE).unwrap();
        let row = |text: &str| text.parse::<Place>().unwrap().row(&table);
        assert_eq!(row("3").unwrap(), 3);
        assert_eq!(row("@12").unwrap(), 2);
        assert!(row("@21").is_err() && row("5").is_err());
        assert!("@".parse::<Place>().is_err());
    }

    #[test]
    fn flags_come_back() {
        let flags = [true, true, false, true];
        let rows = Rows::from_flags(&flags);
        assert_eq!(rows.flags(4), flags);
        assert_eq!((rows.len(), rows.is_empty()), (3, false));
        assert_eq!(rows.iter().collect::<Vec<_>>(), [0, 1, 3]);
    }
}
