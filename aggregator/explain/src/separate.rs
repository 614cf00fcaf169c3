//! The range of one attribute that separates the regions best. (step 12)
//!
//! In: columns, regions. Out: predicates, best first: those near the best in quality and no others, for what separates half
//! as well explains nothing beside it. Quality is the mean of the separation of rows (how often it holds) and that of partitions
//! that hold rows of one region only (over how many values it holds).
//! Invariants: SE-1 no range on the partitions' bounds has more quality. SE-2 a bound lies in the middle of the gap
//! to the next value outside, so that a value a little beyond those seen is within.
//! O(rows + partitions) an attribute. Source: ours; separation power is DBSherlock's (section 3), the search is Kadane's.

use crate::columns::{Column, Regions, Values};
use crate::generate::by_category;
use crate::lay::{PARTS_MAX, Parts, Scale, extremes_of, sum_of};
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
    let mut laid = Laid::new();
    let mut best = POWER_MIN;
    let mut found: Vec<(f64, Predicate)> = Vec::new();
    for column in columns {
        let (condition, shift, quality) = match &column.values {
            Values::Numbers(values) => match best_range(values, regions, n_partitions, &mut laid) {
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

/// A range and what speaks for it.
pub(crate) struct Range {
    pub(crate) condition: Condition,
    quality: f64,
    pub(crate) shift: f64,
}

/// Rows of both regions by partition, and the partitions that have some; kept from attribute to attribute.
pub(crate) struct Laid {
    abnormal: Parts<i32>,
    normal: Parts<i32>,
    /// The first `n` of each: partitions with rows, ascending, and what they add to the quality of a range that holds them.
    parts: Parts<u16>,
    weights: Parts<f64>,
    n: usize,
}

impl Laid {
    pub(crate) const fn new() -> Self {
        Self {
            abnormal: [0; PARTS_MAX + 1],
            normal: [0; PARTS_MAX + 1],
            parts: [0; PARTS_MAX + 1],
            weights: [0.0; PARTS_MAX + 1],
            n: 0,
        }
    }

    fn lay(&mut self, scale: &Scale, values: &[f64], regions: &Regions) {
        self.abnormal[..scale.n].fill(0);
        self.normal[..scale.n].fill(0);
        scale.each(values, regions.abnormal(), |part| self.abnormal[part] += 1);
        scale.each(values, regions.normal(), |part| self.normal[part] += 1);
        let (mut n, mut n_abnormal, mut n_normal) = (0, 0, 0);
        let both = self.abnormal[..scale.n].iter().zip(&self.normal[..scale.n]);
        for (part, (abnormal, normal)) in both.enumerate() {
            // Written whatever it is, and overwritten where it had no row: no branch a partition.
            self.parts[n] = part as u16;
            n += usize::from(abnormal | normal != 0);
            n_abnormal += i32::from(*normal == 0);
            n_normal += i32::from(*abnormal == 0);
        }
        self.n = n;
        let n_empty = (scale.n - n) as i32;
        let pure = |n_without_other: i32| 0.5 / f64::from((n_without_other - n_empty).max(1));
        let of_abnormal = (0.5 / regions.n_abnormal() as f64, pure(n_abnormal));
        let of_normal = (0.5 / regions.n_normal() as f64, pure(n_normal));
        for (weight, part) in self.weights.iter_mut().zip(&self.parts[..n]) {
            let part = usize::from(*part);
            let (abnormal, normal) = (self.abnormal[part], self.normal[part]);
            let only = |is_only: bool, pure: f64| if is_only { pure } else { 0.0 };
            let of_rows = f64::from(abnormal) * of_abnormal.0 - f64::from(normal) * of_normal.0;
            *weight = of_rows + only(normal == 0, of_abnormal.1) - only(abnormal == 0, of_normal.1);
        }
    }
}

/// The range with the greatest quality; `None` where a region has no value, or all values are equal.
pub(crate) fn best_range(
    values: &[f64],
    regions: &Regions,
    n_partitions: usize,
    laid: &mut Laid,
) -> Option<Range> {
    let (sum_abnormal, n_abnormal) = sum_of(values, regions.abnormal());
    let (sum_normal, n_normal) = sum_of(values, regions.normal());
    if n_abnormal == 0 || n_normal == 0 {
        return None;
    }
    let abnormal = extremes_of(values, regions.abnormal());
    let normal = extremes_of(values, regions.normal());
    let (min, max) = (abnormal.0.min(normal.0), abnormal.1.max(normal.1));
    let scale = Scale::new((min, max), n_partitions)?;
    laid.lay(&scale, values, regions);
    let (quality, first, last) = greatest_run(&laid.weights[..laid.n]);
    let part = |at: usize| usize::from(laid.parts[at]);
    let bound = |at: f64| min + scale.width * at;
    // The middle of the gap, on a bound of partitions and a hair beyond it: a partition is within or without as a whole,
    // however bounds are rounded.
    let low = first.checked_sub(1).map(|below| {
        let empty = part(first) - part(below) - 1;
        bound((part(below) + 1 + empty / 2) as f64 - HAIR)
    });
    let high = (last + 1 < laid.n).then(|| {
        let empty = part(last + 1) - part(last) - 1;
        bound((part(last) + 1 + empty.div_ceil(2)) as f64 + HAIR)
    });
    let shift = sum_abnormal / n_abnormal as f64 - sum_normal / n_normal as f64;
    (low.is_some() || high.is_some()).then(|| Range {
        condition: Condition::Range {
            min: low,
            max: high,
        },
        quality,
        shift: shift.abs() / (max - min),
    })
}

/// The run with the greatest sum, both ends included (Kadane's algorithm); the first of equals.
fn greatest_run(weights: &[f64]) -> (f64, usize, usize) {
    let mut best = (f64::NEG_INFINITY, 0, 0);
    let (mut sum, mut from) = (0.0, 0);
    for (at, weight) in weights.iter().enumerate() {
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
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let (sum, first, last) = greatest_run(&weights);
            let of = |from: usize, to: usize| weights[from..=to].iter().sum::<f64>();
            let n = weights.len();
            let runs = (0..n).flat_map(|from| (from..n).map(move |to| (from, to)));
            let greatest = runs.map(|(from, to)| of(from, to)).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!((sum - greatest).abs() < 1e-9);
            prop_assert!((of(first, last) - greatest).abs() < 1e-9);
        }
    }
}
