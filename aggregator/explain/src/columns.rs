//! What is explained: columns of values, and which rows are abnormal. (step 12)
//!
//! In: borrowed columns, one value a row. Out: the same, counters differenced. Invariants: EX-0 no value but NaN stands for
//! a missing one, and a missing one belongs to no region. Does not: read files, know units.

use std::borrow::Cow;
use std::ops::Range;

/// The code of a category that is missing.
pub const MISSING: u32 = u32::MAX;

/// What a column holds, a value a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values<'a> {
    /// Numbers; NaN where missing.
    Numbers(Cow<'a, [f64]>),
    /// Categories: codes into `levels`, [`MISSING`] where missing.
    Categories {
        /// Their names.
        levels: &'a [String],
        /// Row by row.
        codes: &'a [u32],
    },
}

/// One attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Column<'a> {
    /// Its name, unique among the columns.
    pub name: &'a str,
    /// Its values.
    pub values: Values<'a>,
    /// Whether they are differences of a counter from row to row.
    pub is_difference: bool,
}

impl<'a> Column<'a> {
    /// A column of numbers; a counter becomes its differences.
    #[must_use]
    pub fn numbers(name: &'a str, values: &'a [f64]) -> Self {
        let is_difference = is_counter(values);
        let values = if is_difference {
            Cow::Owned(differences(values))
        } else {
            Cow::Borrowed(values)
        };
        Self {
            name,
            values: Values::Numbers(values),
            is_difference,
        }
    }

    /// A column of counts of what may not be there at all, such as a template, a fingerprint, an edge or a kind of wait: nothing
    /// was counted where it is missing. Counts are never taken for a counter's levels.
    ///
    /// ```
    /// let column = hsw_explain::Column::counts("template 7", &[f64::NAN, 2.0]);
    /// assert_eq!(column.values, hsw_explain::Values::Numbers([0.0, 2.0][..].into()));
    /// ```
    #[must_use]
    pub fn counts(name: &'a str, values: &'a [f64]) -> Self {
        let known = |value: &f64| if value.is_nan() { 0.0 } else { *value };
        let values = if values.iter().any(|value| value.is_nan()) {
            Cow::Owned(values.iter().map(known).collect())
        } else {
            Cow::Borrowed(values)
        };
        Self {
            name,
            values: Values::Numbers(values),
            is_difference: false,
        }
    }

    /// A column of categories.
    #[must_use]
    pub const fn categories(name: &'a str, levels: &'a [String], codes: &'a [u32]) -> Self {
        Self {
            name,
            values: Values::Categories { levels, codes },
            is_difference: false,
        }
    }
}

/// Which rows are abnormal and which are normal; rows in neither say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Regions {
    abnormal: Vec<Range<usize>>,
    normal: Vec<Range<usize>>,
}

impl Regions {
    /// From a flag a row each; a row that is both is abnormal.
    ///
    /// ```
    /// let regions = hsw_explain::Regions::new(&[false, true, true], &[true, true, false]);
    /// assert_eq!((regions.n_abnormal(), regions.n_normal()), (2, 1));
    /// ```
    #[must_use]
    pub fn new(abnormal: &[bool], normal: &[bool]) -> Self {
        let only: Vec<bool> = normal
            .iter()
            .zip(abnormal)
            .map(|(n, a)| *n && !*a)
            .collect();
        Self {
            abnormal: runs(abnormal),
            normal: runs(&only),
        }
    }

    /// The abnormal rows, ascending.
    #[must_use]
    pub fn abnormal(&self) -> &[Range<usize>] {
        &self.abnormal
    }

    /// The normal rows, ascending.
    #[must_use]
    pub fn normal(&self) -> &[Range<usize>] {
        &self.normal
    }

    /// How many rows are abnormal.
    #[must_use]
    pub fn n_abnormal(&self) -> usize {
        self.abnormal.iter().map(Range::len).sum()
    }

    /// How many rows are normal.
    #[must_use]
    pub fn n_normal(&self) -> usize {
        self.normal.iter().map(Range::len).sum()
    }
}

fn runs(flags: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in (0..flags.len()).filter(|row| flags[*row]) {
        match runs.last_mut() {
            Some(last) if last.end == row => last.end = row + 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

/// The values of some rows, as far as the column reaches.
pub(crate) fn of<'a, T: Copy>(
    values: &'a [T],
    rows: &'a [Range<usize>],
) -> impl Iterator<Item = T> + 'a {
    let slice = |rows: &Range<usize>| values.get(rows.clone()).unwrap_or_default();
    rows.iter()
        .flat_map(move |rows| slice(rows).iter().copied())
}

/// Share of rows that must rise before a column that hardly ever falls is taken for a counter.
const RISES_MIN: f64 = 0.5;
/// Share of rows in which a counter may begin anew.
const RESETS_MAX: f64 = 0.02;
/// Fewest rows by which a counter is known: a gauge drifts one way for a dozen rows easily.
const ROWS_MIN: usize = 30;

/// Whether values are those of a cumulative counter: they rise in most rows, and fall only when it begins anew, to less than
/// half.
///
/// A gauge that grows all the while is taken for one too; its differences say as much about a region. O(n).
#[must_use]
pub fn is_counter(values: &[f64]) -> bool {
    let (mut last, mut n, mut n_rises, mut n_resets) = (f64::NAN, 0_usize, 0_usize, 0_usize);
    for &value in values {
        if value.is_nan() {
            continue;
        }
        if value < last {
            if value > last / 2.0 {
                return false;
            }
            n_resets += 1;
        }
        n_rises += usize::from(value > last);
        n += 1;
        last = value;
    }
    n >= ROWS_MIN
        && n_rises as f64 >= RISES_MIN * (n - 1) as f64
        && n_resets as f64 <= (RESETS_MAX * n as f64).max(1.0)
}

/// From row to row; the first, one behind a gap and one that begins anew are missing. O(n).
#[must_use]
pub fn differences(values: &[f64]) -> Vec<f64> {
    let mut differences = vec![f64::NAN; values.len()];
    for (at, pair) in values.windows(2).enumerate() {
        let step = pair[1] - pair[0];
        if step >= 0.0 {
            differences[at + 1] = step;
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_never_falls_and_rises_in_most_rows() {
        let rising: Vec<f64> = (0..40).map(f64::from).collect();
        assert!(is_counter(&rising));
        let column = Column::numbers("x", &rising);
        assert!(column.is_difference);
        let Values::Numbers(values) = column.values else {
            panic!("numbers");
        };
        assert!(values[0].is_nan() && values[1..].iter().all(|v| (*v - 1.0).abs() < 1e-12));
        let mut anew = rising.clone();
        anew[39] = 0.0;
        assert!(is_counter(&anew));
        assert!(differences(&anew)[39].is_nan());
        let mut falls = rising.clone();
        falls[30] = 20.0;
        let step: Vec<f64> = (0..40).map(|row| f64::from(u8::from(row > 9))).collect();
        for gauge in [falls, step, vec![1.0; 40], vec![1.0, 2.0]] {
            assert!(!is_counter(&gauge), "{gauge:?}");
        }
    }

    #[test]
    fn a_gap_in_a_counter_is_missing_on_both_its_sides() {
        let d = differences(&[1.0, f64::NAN, 3.0, 4.0]);
        let missing: Vec<bool> = d.iter().map(|v| v.is_nan()).collect();
        assert_eq!(missing, [true, true, true, false]);
    }

    #[test]
    fn a_row_in_both_regions_is_abnormal() {
        let regions = Regions::new(&[true, false, true], &[true, true, false]);
        assert_eq!(regions.abnormal(), [0..1, 2..3]);
        assert_eq!((regions.n_normal(), regions.normal()[0].start), (1, 1));
    }
}
