//! The range of one attribute that separates the regions best. (step 12)
//!
//! In: columns, regions. Out: predicates, best first: those near the best in quality and no others, for what separates half
//! as well explains nothing beside it. Quality is the mean of the separation of rows (how often it holds) and that of partitions
//! that hold rows of one region only (over how many values it holds).
//! Invariants: SE-1 no range on the partitions' bounds has more quality. SE-2 a bound lies in the middle of the gap
//! to the next value outside, so that a value a little beyond those seen is within.
//! O(rows + partitions) an attribute. Source: ours; separation power is DBSherlock's (section 3), the search is Kadane's.

use crate::columns::{Column, Regions, Values, of};
use crate::generate::by_category;
use crate::partition::PARTITIONS_MAX;
use crate::predicate::{Condition, Method, Predicate, rows_covered};

/// Least quality as a share of the best one's. Swept 0.8–0.95: the fewer, the better each is.
pub const NEAR_BEST: f64 = 0.9;
/// Least quality; below this half the rows contradict it.
pub const POWER_MIN: f64 = 0.5;

/// The predicates of a case, best first. O(columns · (rows + partitions)).
#[must_use]
pub fn separating(
    columns: &[Column<'_>],
    regions: &Regions,
    n_partitions: usize,
) -> Vec<Predicate> {
    let mut weights = vec![0.0; n_partitions.clamp(2, PARTITIONS_MAX - 1) + 1];
    let mut best = POWER_MIN;
    let mut found: Vec<(f64, Predicate)> = Vec::new();
    for column in columns {
        let (condition, shift, quality) = match &column.values {
            Values::Numbers(values) => match best_range(values, regions, &mut weights) {
                Some(range) if range.quality >= best * NEAR_BEST => {
                    (range.condition, range.shift, Some(range.quality))
                }
                _ => continue,
            },
            Values::Categories { levels, codes } => {
                match by_category(levels, codes, regions, Method::Code) {
                    Some(condition) => (condition, 1.0, None),
                    None => continue,
                }
            }
        };
        let power = rows_covered(&condition, column, regions).separation();
        let quality = quality.unwrap_or(power);
        best = best.max(quality);
        found.push((
            quality,
            Predicate {
                attribute: column.name.to_owned(),
                is_difference: column.is_difference,
                condition,
                power,
                shift,
                shift_of_labels: shift,
            },
        ));
    }
    found.retain(|(quality, _)| *quality >= POWER_MIN.max(best * NEAR_BEST));
    found.sort_by(|(a, p), (b, q)| b.total_cmp(a).then_with(|| p.attribute.cmp(&q.attribute)));
    found.into_iter().map(|(_, predicate)| predicate).collect()
}

/// Of a partition.
const HAIR: f64 = 1e-6;
const ABNORMAL: u8 = 1;
const NORMAL: u8 = 2;

struct Range {
    condition: Condition,
    quality: f64,
    shift: f64,
}

/// The range with the greatest quality; `None` where a region has no value, or all values are equal.
fn best_range(values: &[f64], regions: &Regions, weights: &mut [f64]) -> Option<Range> {
    let sums = |rows| {
        let start = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0_usize);
        of::<f64>(values, rows)
            .filter(|v| !v.is_nan())
            .fold(start, |all, v| {
                (all.0.min(v), all.1.max(v), all.2 + v, all.3 + 1)
            })
    };
    let (abnormal, normal) = (sums(regions.abnormal()), sums(regions.normal()));
    if abnormal.3 == 0 || normal.3 == 0 {
        return None;
    }
    let (min, max) = (abnormal.0.min(normal.0), abnormal.1.max(normal.1));
    let width = (max - min) / (weights.len() - 1) as f64;
    if !(width > 0.0 && width.is_finite()) {
        return None;
    }
    weights.fill(0.0);
    let mut seen = vec![0_u8; weights.len()];
    let mut lay = |rows, weight: f64, side: u8| {
        for value in of::<f64>(values, rows).filter(|value| !value.is_nan()) {
            let at = (((value - min) / width) as usize).min(seen.len() - 1);
            weights[at] += weight / 2.0;
            seen[at] |= side;
        }
    };
    lay(
        regions.abnormal(),
        1.0 / regions.n_abnormal() as f64,
        ABNORMAL,
    );
    lay(regions.normal(), -1.0 / regions.n_normal() as f64, NORMAL);
    let mut n_pure = [0.0; 4];
    for seen in &seen {
        n_pure[usize::from(*seen)] += 1.0;
    }
    let pure = [
        0.5 / f64::max(n_pure[usize::from(ABNORMAL)], 1.0),
        -0.5 / f64::max(n_pure[usize::from(NORMAL)], 1.0),
    ];
    for (weight, seen) in weights.iter_mut().zip(&seen) {
        match *seen {
            ABNORMAL => *weight += pure[0],
            NORMAL => *weight += pure[1],
            _ => {}
        }
    }
    let (quality, first, last) = greatest_run(weights, &seen);
    let bound = |at: f64| min + width * at;
    let below = seen[..first].iter().rposition(|seen| *seen != 0);
    let above = seen[last + 1..].iter().position(|seen| *seen != 0);
    // The middle of the gap, on a bound of partitions and a hair beyond it: a partition is within or without as a whole,
    // however bounds are rounded.
    let low = below.map(|at| bound((at + 1 + (first - at - 1) / 2) as f64 - HAIR));
    let high = above.map(|n| bound((last + 1 + n.div_ceil(2)) as f64 + HAIR));
    let shift = abnormal.2 / abnormal.3 as f64 - normal.2 / normal.3 as f64;
    (low.is_some() || high.is_some()).then(|| Range {
        condition: Condition::Range {
            min: low,
            max: high,
        },
        quality,
        shift: shift.abs() / (max - min),
    })
}

/// The run of partitions with the greatest sum, shrunk to those with rows (Kadane's algorithm).
fn greatest_run(weights: &[f64], seen: &[u8]) -> (f64, usize, usize) {
    let mut best = (f64::NEG_INFINITY, 0, 0);
    let (mut sum, mut from) = (0.0, 0);
    for (at, (weight, _)) in weights
        .iter()
        .zip(seen)
        .enumerate()
        .filter(|(_, (_, seen))| **seen != 0)
    {
        if sum <= 0.0 {
            (sum, from) = (0.0, at);
        }
        sum += weight;
        if sum > best.0 {
            best = (sum, from, at);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// SE-1: against every run.
        #[test]
        fn prop_the_greatest_run_is_the_greatest_of_all_runs(weights in proptest::collection::vec(-4_i32..5, 1..20)) {
            let seen: Vec<u8> = weights.iter().map(|weight| u8::from(*weight != 0)).collect();
            prop_assume!(seen.contains(&1));
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let (sum, first, last) = greatest_run(&weights, &seen);
            let of = |from: usize, to: usize| weights[from..=to].iter().sum::<f64>();
            let n = weights.len();
            let runs = (0..n).flat_map(|from| (from..n).map(move |to| (from, to)));
            let with_rows = runs.filter(|(from, to)| seen[*from..=*to].contains(&1));
            let greatest = with_rows.map(|(from, to)| of(from, to)).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!((sum - greatest).abs() < 1e-9);
            prop_assert!((of(first, last) - greatest).abs() < 1e-9);
            prop_assert!(seen[first] + seen[last] == 2);
        }
    }
}
