//! From columns and regions to predicates, best first. (step 12)
//!
//! In: columns, regions. Out: at most one predicate an attribute. Invariants: PR-1 a column that cannot be judged gives none
//! and fails nothing. Source: DBSherlock, sections 4 and 4.6. Does not: drop secondary symptoms (see `rules`).

use std::collections::BTreeSet;

use crate::columns::{Column, MISSING, Regions, Values, of};
use crate::partition::{Config, Space};
use crate::predicate::{Condition, Method, Predicate, rows_covered, sort};

/// The predicates of a case by the published procedure, best first: those of numbers wider apart than `config.theta` by either
/// measure. O(columns · (rows + partitions)).
#[must_use]
pub fn published(
    columns: &[Column<'_>],
    regions: &Regions,
    config: &Config,
    method: Method,
) -> Vec<Predicate> {
    let of_column = |column: &Column<'_>| {
        let (condition, shifts) = match &column.values {
            Values::Numbers(values) => {
                let space = Space::new(values, regions, config.n_partitions)?;
                let block = space.block(config)?;
                let (min, max) = (block.min, block.max);
                (
                    Condition::Range { min, max },
                    [block.shift, block.shift_of_labels],
                )
            }
            Values::Categories { levels, codes } => {
                (by_category(levels, codes, regions, method)?, [1.0; 2])
            }
        };
        let power = rows_covered(&condition, column, regions).separation();
        Some(Predicate {
            attribute: column.name.to_owned(),
            is_difference: column.is_difference,
            condition,
            power,
            shift: shifts[0],
            shift_of_labels: shifts[1],
        })
    };
    let mut predicates: Vec<Predicate> = columns.iter().filter_map(of_column).collect();
    sort(&mut predicates);
    predicates
}

/// Paper: categories that only abnormal rows have; code: those that more abnormal than normal rows have.
pub(crate) fn by_category(
    levels: &[String],
    codes: &[u32],
    regions: &Regions,
    method: Method,
) -> Option<Condition> {
    let count = |rows| {
        let mut counts = vec![0_usize; levels.len()];
        for code in of(codes, rows).filter(|code| *code != MISSING) {
            counts[code as usize] += 1;
        }
        counts
    };
    let (abnormal, normal) = (count(regions.abnormal()), count(regions.normal()));
    let is_in = |level: &usize| match method {
        Method::Paper => abnormal[*level] > 0 && normal[*level] == 0,
        Method::Code => abnormal[*level] > normal[*level],
    };
    let names: BTreeSet<String> = (0..levels.len())
        .filter(is_in)
        .map(|level| levels[level].clone())
        .collect();
    (!names.is_empty()).then_some(Condition::In(names))
}
