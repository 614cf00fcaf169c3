//! What is kept of a case: levels before and during, attribute by attribute. (step 12)
//!
//! In: columns, regions. Out: three numbers an attribute; a category is the share of rows that have it. Small enough to keep
//! every case that was ever named, so that everything learned can be learned anew. Does not: know causes.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::columns::{Column, MISSING, Regions, Values, of};
use crate::lay::sum_of;

/// Categories of one attribute that are told apart; more are names, not states.
const LEVELS_MAX: usize = 64;
/// Behind the name of an attribute whose differences are meant, so that they are never compared with its levels.
const PER_ROW: &str = " per row";
/// Fewest normal rows whose halves say how much normal times differ among themselves.
const HALVES_MIN: usize = 4;

/// Mean levels of an attribute; NaN where there was no value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Over the normal rows.
    pub before: f64,
    /// Over the later half of them less the earlier half's, from the first to the last that has a value; NaN where they are too
    /// few.
    pub drift: f64,
    /// Over the abnormal rows.
    pub during: f64,
}

/// The levels of a case by attribute.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Case {
    /// By name; `attribute=category` for categories, ` per row` behind the name of a counter.
    pub levels: BTreeMap<String, Levels>,
}

impl Case {
    /// Of a case's rows. O(columns · rows).
    #[must_use]
    pub fn new(columns: &[Column<'_>], regions: &Regions) -> Self {
        let (earlier, later) = halves(regions.normal());
        let parts = Parts {
            regions,
            earlier: &earlier,
            later: &later,
        };
        let mut levels = BTreeMap::new();
        for column in columns {
            match &column.values {
                Values::Numbers(values) => {
                    let suffix = if column.is_difference { PER_ROW } else { "" };
                    let name = format!("{}{suffix}", column.name);
                    let is_known = |row: usize| values.get(row).is_some_and(|v| !v.is_nan());
                    levels.insert(name, parts.levels(|rows| sum_of(values, rows), is_known));
                }
                Values::Categories {
                    levels: names,
                    codes,
                } => {
                    for (code, name) in names.iter().enumerate().take(LEVELS_MAX) {
                        let name = format!("{}={name}", column.name);
                        let is_known = |row: usize| codes.get(row).is_some_and(|c| *c != MISSING);
                        let share = |rows: &[Range<usize>]| share(codes, rows, code);
                        levels.insert(name, parts.levels(share, is_known));
                    }
                }
            }
        }
        levels.retain(|_, levels| !levels.during.is_nan());
        Self { levels }
    }
}

struct Parts<'a> {
    regions: &'a Regions,
    earlier: &'a [Range<usize>],
    later: &'a [Range<usize>],
}

impl Parts<'_> {
    /// Of sums and numbers of values over some rows, and whether a row has a value.
    fn levels(
        &self,
        sum: impl Fn(&[Range<usize>]) -> (f64, usize),
        is_known: impl Fn(usize) -> bool,
    ) -> Levels {
        let mean = |(sum, n): (f64, usize)| if n == 0 { f64::NAN } else { sum / n as f64 };
        let (mut earlier, mut later) = (sum(self.earlier), sum(self.later));
        if (earlier.1 == 0) != (later.1 == 0) {
            // It came late or went early, as all do that are first seen after the rows begin: halves of what there is.
            let halves = halves(&known(self.regions.normal(), is_known));
            if !halves.0.is_empty() {
                (earlier, later) = (sum(&halves.0), sum(&halves.1));
            }
        }
        let before = if self.later.is_empty() {
            sum(self.regions.normal())
        } else {
            (earlier.0 + later.0, earlier.1 + later.1)
        };
        Levels {
            before: mean(before),
            drift: mean(later) - mean(earlier),
            during: mean(sum(self.regions.abnormal())),
        }
    }
}

/// Rows from the first to the last that has a value.
fn known(rows: &[Range<usize>], is_known: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let all = || rows.iter().cloned().flatten();
    let first = all().find(|row| is_known(*row));
    let last = all().rfind(|row| is_known(*row));
    let (Some(first), Some(last)) = (first, last) else {
        return Vec::new();
    };
    let within = |rows: &Range<usize>| rows.start.max(first)..rows.end.min(last + 1);
    let within = rows.iter().map(within);
    within.filter(|rows| !rows.is_empty()).collect()
}

/// Rows with a category, of those that have any.
fn share(codes: &[u32], rows: &[Range<usize>], level: usize) -> (f64, usize) {
    let known = of(codes, rows).filter(|code| *code != MISSING);
    known.fold((0.0, 0), |(sum, n), code| {
        (sum + f64::from(u8::from(code as usize == level)), n + 1)
    })
}

/// Rows cut in two halves; both empty when they are too few.
fn halves(rows: &[Range<usize>]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let n: usize = rows.iter().map(Range::len).sum();
    let (mut earlier, mut later) = (Vec::new(), Vec::new());
    if n < HALVES_MIN {
        return (earlier, later);
    }
    let mut left = n / 2;
    for rows in rows {
        let cut = rows.start + left.min(rows.len());
        left -= cut - rows.start;
        earlier.push(rows.start..cut);
        later.push(cut..rows.end);
    }
    (earlier, later)
}
