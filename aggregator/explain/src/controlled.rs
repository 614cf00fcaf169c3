//! What one shard shows and no sibling does: predicates controlled by its own past and by its siblings at the same time. (step 12)
//!
//! In: a shard's columns, those of its siblings over the same rows, regions. Out: predicates, best first, each with the range in
//! which every sibling stayed meanwhile. A load that moves all shards alike gives none: siblings are the control group.
//! Invariants: CO-1 the power of a predicate is the least over its controls: the own past and each sibling. CO-2 without
//! siblings nothing is controlled, and nothing is returned. CO-3 what lies between a shard's past and a sibling is not told. Limits: [`SIBLINGS_MAX`] siblings; numbers only. O(attributes · siblings ·
//! rows). Source: ours. Does not: know who is a sibling of whom.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::columns::{Column, Regions, Values, differences, of};
use crate::lay::sum_of;
use crate::predicate::{Predicate, rows_covered};
use crate::separate::{Laid, NEAR_BEST, POWER_MIN, best_range};

/// Most siblings that are looked at; more say little more.
pub const SIBLINGS_MAX: usize = 64;

/// A predicate that holds for one shard and for none of its siblings.
#[derive(Debug, Clone, PartialEq)]
pub struct Controlled {
    /// What holds; its power is the least over all controls.
    pub predicate: Predicate,
    /// The least and the greatest value of any sibling in the abnormal rows.
    pub siblings: (f64, f64),
    /// Siblings that have the attribute.
    pub n_siblings: usize,
}

impl fmt::Display for Controlled {
    /// `name ≥ 40, of 6 siblings 2 … 9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, greatest) = self.siblings;
        let word = if self.n_siblings == 1 {
            "sibling"
        } else {
            "siblings"
        };
        write!(
            f,
            "{}, of {} {word} {least} … {greatest}",
            self.predicate, self.n_siblings
        )
    }
}

/// What a shard shows in the abnormal rows, neither in its normal rows nor at any sibling in the abnormal ones; best first.
///
/// ```
/// use hsw_explain::{Column, Regions, controlled};
/// let (sick, well) = ([1.0, 2.0, 1.0, 41.0, 44.0], [2.0, 1.0, 2.0, 9.0, 8.0]);
/// let regions = Regions::new(&[false, false, false, true, true], &[true; 5]);
/// let (own, sibling) = ([Column::numbers("queue", &sick)], [Column::numbers("queue", &well)]);
/// let found = controlled(&own, &[&sibling], &regions, 500);
/// assert_eq!(found[0].siblings, (8.0, 9.0));
/// assert!(controlled(&sibling, &[&own], &regions, 500).is_empty(), "its own rise is nothing beside the other's");
/// ```
#[must_use]
pub fn controlled(
    own: &[Column<'_>],
    siblings: &[&[Column<'_>]],
    regions: &Regions,
    n_partitions: usize,
) -> Vec<Controlled> {
    let siblings = &siblings[..siblings.len().min(SIBLINGS_MAX)];
    let by_name: Vec<BTreeMap<&str, usize>> = siblings.iter().map(|own| named(own)).collect();
    let mut laid = Laid::new();
    let mut found: Vec<Controlled> = Vec::new();
    for column in own {
        let others = siblings
            .iter()
            .zip(&by_name)
            .filter_map(|(columns, by_name)| {
                comparable(column, &columns[*by_name.get(column.name)?])
            });
        let others: Vec<Cow<'_, [f64]>> = others.collect();
        if let Values::Numbers(values) = &column.values {
            let case = Beside {
                column,
                values,
                others: &others,
                regions,
            };
            found.extend(case.predicate(n_partitions, &mut laid));
        }
    }
    let best = found
        .iter()
        .map(|own| own.predicate.power)
        .fold(POWER_MIN, f64::max);
    found.retain(|own| own.predicate.power >= POWER_MIN.max(best * NEAR_BEST));
    found.sort_by(|a, b| {
        let (a, b) = (&a.predicate, &b.predicate);
        b.power
            .total_cmp(&a.power)
            .then_with(|| a.attribute.cmp(&b.attribute))
    });
    found
}

fn named<'a>(columns: &'a [Column<'_>]) -> BTreeMap<&'a str, usize> {
    columns
        .iter()
        .enumerate()
        .map(|(at, column)| (column.name, at))
        .collect()
}

/// A sibling's values in the unit of one's own: differences where those are differences. A counter that stands still is not
/// seen to be one.
fn comparable<'a>(own: &Column<'_>, sibling: &'a Column<'_>) -> Option<Cow<'a, [f64]>> {
    let Values::Numbers(values) = &sibling.values else {
        return None;
    };
    match (own.is_difference, sibling.is_difference) {
        (true, false) => Some(Cow::Owned(differences(values))),
        (false, true) => None,
        _ => Some(Cow::Borrowed(values)),
    }
}

/// One attribute of a shard, and the same of its siblings.
struct Beside<'a> {
    column: &'a Column<'a>,
    values: &'a [f64],
    others: &'a [Cow<'a, [f64]>],
    regions: &'a Regions,
}

impl Beside<'_> {
    fn predicate(&self, n_partitions: usize, laid: &mut Laid) -> Option<Controlled> {
        let meanwhile: Vec<Vec<f64>> = self.others.iter().map(|other| self.during(other)).collect();
        let known = || meanwhile.iter().flatten().filter(|value| !value.is_nan());
        let least = known().copied().fold(f64::INFINITY, f64::min);
        let greatest = known().copied().fold(f64::NEG_INFINITY, f64::max);
        if least > greatest {
            return None;
        }
        if !self.is_away(&meanwhile) {
            return None;
        }
        // What siblings show meanwhile stands behind one's own rows, as further normal ones.
        let mut values = self.values.to_vec();
        values.extend(meanwhile.iter().flatten());
        let mut flags = (vec![false; values.len()], vec![true; values.len()]);
        flags.1[..self.values.len()].fill(false);
        for (rows, flags) in [
            (self.regions.abnormal(), &mut flags.0),
            (self.regions.normal(), &mut flags.1),
        ] {
            for row in rows
                .iter()
                .cloned()
                .flatten()
                .filter(|row| *row < self.values.len())
            {
                flags[row] = true;
            }
        }
        let both = Regions::new(&flags.0, &flags.1);
        let range = best_range(&values, &both, n_partitions, laid)?;
        let own = rows_covered(&range.condition, self.column, self.regions);
        let of_sibling = |values: &Vec<f64>| {
            let n_met = values
                .iter()
                .filter(|value| range.condition.holds(**value))
                .count();
            own.recall() - n_met as f64 / values.len().max(1) as f64
        };
        let powers = meanwhile.iter().map(of_sibling);
        let power = powers.fold(own.separation(), f64::min);
        Some(Controlled {
            predicate: Predicate {
                attribute: self.column.name.to_owned(),
                is_difference: self.column.is_difference,
                condition: range.condition,
                power,
                shift: range.shift,
                shift_of_labels: range.shift,
            },
            siblings: (least, greatest),
            n_siblings: self.others.len(),
        })
    }

    /// Whether it moved away from its past and from each sibling in the same direction: a shard between its past and a sibling that
    /// moved farther is the sibling's victim, if anything.
    fn is_away(&self, meanwhile: &[Vec<f64>]) -> bool {
        let mean = |(sum, n): (f64, usize)| sum / n as f64;
        let during = mean(sum_of(self.values, self.regions.abnormal()));
        let from_past = during - mean(sum_of(self.values, self.regions.normal()));
        let all =
            |values: &Vec<f64>| mean(sum_of(values, std::slice::from_ref(&(0..values.len()))));
        let from_siblings = meanwhile.iter().map(all).filter(|mean| !mean.is_nan());
        let mut products = from_siblings.map(|sibling| (during - sibling) * from_past);
        products.all(|product| product > 0.0)
    }

    /// In the abnormal rows.
    fn during(&self, values: &[f64]) -> Vec<f64> {
        of(values, self.regions.abnormal()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of 60 rows 20 to 39 are abnormal.
    fn regions() -> Regions {
        let abnormal: Vec<bool> = (0..60).map(|row| (20..40).contains(&row)).collect();
        Regions::new(&abnormal, &[true; 60])
    }

    fn step(low: f64, high: f64) -> Vec<f64> {
        let ripple = |row: usize| (row * 7 % 13) as f64 / 100.0;
        (0..60)
            .map(|row| if (20..40).contains(&row) { high } else { low } + ripple(row))
            .collect()
    }

    fn check(own: &[f64], siblings: &[&[f64]]) -> Option<Controlled> {
        let columns = [Column::numbers("x", own)];
        let siblings: Vec<[Column<'_>; 1]> = siblings
            .iter()
            .map(|values| [Column::numbers("x", values)])
            .collect();
        let siblings: Vec<&[Column<'_>]> = siblings.iter().map(|own| &own[..]).collect();
        controlled(&columns, &siblings, &regions(), 500).pop()
    }

    #[test]
    fn a_load_that_moves_every_shard_is_nobodys_and_one_shards_own_rise_is_told_with_its_siblings()
    {
        let (sick, well) = (step(5.0, 40.0), step(5.0, 8.0));
        assert_eq!(
            check(&sick, &[&sick, &well]),
            None,
            "one sibling shows the same"
        );
        let found = check(&sick, &[&well, &well]).unwrap();
        assert!((found.predicate.power - 1.0).abs() < 1e-12);
        assert_eq!(found.n_siblings, 2);
        assert!(found.siblings.0 >= 8.0 && found.siblings.1 < 9.0);
        assert!(found.to_string().contains("of 2 siblings 8"), "{found}");
        assert_eq!(
            check(&well, &[&sick]),
            None,
            "its past alone would blame it"
        );
        assert_eq!(check(&sick, &[]), None);
        assert_eq!(check(&sick, &[&[f64::NAN; 60]]), None);
    }

    #[test]
    fn a_counter_that_stands_still_elsewhere_is_a_difference_of_nothing() {
        let mut sum = 0.0;
        let counter: Vec<f64> = (0..60)
            .map(|row| {
                sum += if (20..40).contains(&row) { 50.0 } else { 1.0 };
                sum
            })
            .collect();
        let found = check(&counter, &[&[1e9; 60]]).unwrap();
        assert!(found.predicate.is_difference);
        assert_eq!(found.siblings, (0.0, 0.0));
        assert_eq!(
            check(&[1e9; 60], &[&counter]),
            None,
            "a level is not held against differences"
        );
    }

    proptest! {
        /// CO-1: no control is met better than the power says.
        #[test]
        fn prop_the_power_is_the_least_over_all_controls(
            own in proptest::collection::vec(-50_i32..50, 60), others in proptest::collection::vec(proptest::collection::vec(-50_i32..50, 60), 1..4), rise in 0_i32..120,
        ) {
            let mut own: Vec<f64> = own.into_iter().map(f64::from).collect();
            own[20..40].iter_mut().for_each(|value| *value += f64::from(rise));
            let others: Vec<Vec<f64>> =
                others.into_iter().map(|own| own.into_iter().map(f64::from).collect()).collect();
            let siblings: Vec<&[f64]> = others.iter().map(Vec::as_slice).collect();
            if let Some(found) = check(&own, &siblings) {
                let share = |values: &[f64]| {
                    let n = values.iter().filter(|value| found.predicate.condition.holds(**value)).count();
                    n as f64 / values.len() as f64
                };
                let normal: Vec<f64> = own[..20].iter().chain(&own[40..]).copied().collect();
                let during = share(&own[20..40]);
                let least = siblings.iter().map(|values| during - share(&values[20..40])).fold(during - share(&normal), f64::min);
                prop_assert!((least - found.predicate.power).abs() < 1e-12);
                prop_assert!(least >= POWER_MIN);
            }
        }
    }
}
