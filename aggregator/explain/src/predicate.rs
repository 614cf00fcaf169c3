//! Predicates: conditions on one attribute that hold in the abnormal region and not in the normal one. (step 12)

use std::collections::BTreeSet;
use std::fmt;

use crate::columns::{Column, MISSING, Regions, Values, of};
use crate::partition::Coverage;

/// A condition on a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// `min ≤ v < max`; at least one side is closed.
    Range {
        /// Lower bound, itself within.
        min: Option<f64>,
        /// Upper bound, itself without.
        max: Option<f64>,
    },
    /// The category is one of these.
    In(BTreeSet<String>),
}

impl Condition {
    /// Whether a number meets it; NaN meets none.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        match self {
            Self::Range { min, max } => {
                !value.is_nan()
                    && min.is_none_or(|min| value >= min)
                    && max.is_none_or(|max| value < max)
            }
            Self::In(_) => false,
        }
    }
}

/// A condition on an attribute, and how well it separates.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    /// The attribute's name.
    pub attribute: String,
    /// Whether it speaks of the differences of a counter from row to row.
    pub is_difference: bool,
    /// What holds.
    pub condition: Condition,
    /// Separation power, −1…1: the share of abnormal rows that meet it less the share of normal rows that do (paper §3).
    pub power: f64,
    /// Distance of the mean abnormal from the mean normal value as a share of the range; 1 for categories.
    pub shift: f64,
    /// The same between labelled partitions, as the authors' code has it.
    pub shift_of_labels: f64,
}

impl fmt::Display for Predicate {
    /// `name ≥ 3 and < 7`, with the differences of a counter as `name per row`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.attribute)?;
        if self.is_difference {
            write!(f, " per row")?;
        }
        match &self.condition {
            Condition::Range { min, max } => {
                if let Some(min) = min {
                    write!(f, " ≥ {min}")?;
                }
                if let Some(max) = max {
                    let and = if min.is_some() { " and" } else { "" };
                    write!(f, "{and} < {max}")?;
                }
                Ok(())
            }
            Condition::In(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, " is {}", names.join(" or "))
            }
        }
    }
}

/// Whose procedure is followed where the paper and its authors' code differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// The paper: means over rows; categories that only abnormal rows have.
    #[default]
    Paper,
    /// The authors' code: means over labelled partitions; categories that more abnormal than normal rows have.
    Code,
}

impl Predicate {
    /// How far the regions are apart, as the method measures it.
    #[must_use]
    pub const fn shift_by(&self, method: Method) -> f64 {
        match method {
            Method::Paper => self.shift,
            Method::Code => self.shift_of_labels,
        }
    }
}

/// Rows that meet a condition, by region; a missing value does not meet it, but counts as a row. Its
/// [`Coverage::separation`] is the separation power of the condition. O(rows).
#[must_use]
pub fn rows_covered(condition: &Condition, column: &Column<'_>, regions: &Regions) -> Coverage {
    let n_met = |rows| match (&column.values, condition) {
        (Values::Numbers(values), _) => of(values, rows)
            .filter(|value| condition.holds(*value))
            .count(),
        (Values::Categories { levels, codes }, Condition::In(names)) => {
            let is_in: Vec<bool> = levels.iter().map(|level| names.contains(level)).collect();
            let holds = |code: &u32| *code != MISSING && is_in[*code as usize];
            of(codes, rows).filter(holds).count()
        }
        (Values::Categories { .. }, Condition::Range { .. }) => 0,
    };
    Coverage {
        abnormal: (n_met(regions.abnormal()), regions.n_abnormal()),
        normal: (n_met(regions.normal()), regions.n_normal()),
    }
}

/// Best first: by power, then by shift, then by name.
pub fn sort(predicates: &mut [Predicate]) {
    predicates.sort_by(|a, b| {
        let strength = b
            .power
            .total_cmp(&a.power)
            .then(b.shift.total_cmp(&a.shift));
        strength.then_with(|| a.attribute.cmp(&b.attribute))
    });
}
