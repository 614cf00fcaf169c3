//! The region that stands out by itself, for when nobody has drawn one. (step 12)
//!
//! In: columns. Out: rows, or none. Two ways: `scan`, the published interval scan, and ours: the same on ranks, which no
//! single spike moves, without the rows in which a recording warms up, with normal rows before the region: what comes
//! first is normal, or nothing was ever normal here.
//! Invariants: RE-1 the same rows whatever the unit of an attribute. Limits: [`ROWS_MAX`] rows, longer tables are looked at in
//! steps; O(rows² · columns) time in steps of at most [`ROWS_MAX`].
//! Source: ALGORITHMS 6.5 (interval scan); paper's own rule in `sherlock`.

use std::ops::Range;

use crate::columns::{Column, Values};

/// Rows that are looked at one by one; of a longer table blocks of rows are.
pub const ROWS_MAX: usize = 600;
/// Attributes whose evidence counts: the strongest. Swept 5–100: equal within 0.01 IoU.
const N_STRONGEST: usize = 20;
/// Shortest region, rows.
const ROWS_MIN: usize = 8;

/// How a region is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// The interval scan of the raw values.
    Scan,
    /// The scan of ranks behind the warm-up, with rows before it.
    #[default]
    Ours,
}

/// Settings of a scan.
struct Limits {
    /// Fewest rows before the region.
    before: usize,
    /// Longest region, rows.
    longest: usize,
}

/// Share of the rows that may be warm-up. Swept 0.1–0.2.
const WARM_UP_MAX: f64 = 0.15;
/// Share of attributes that lie outside all later values in a row that is warm-up. Of rows like the others one in fifty does;
/// swept 0.05–0.4: 0.15–0.2 equal within 0.01 IoU.
const WARM_UP_OUTSIDE: f64 = 0.15;
/// Share of rows before the region. Swept 0.05–0.1: equal within 0.015 IoU.
const BEFORE: f64 = 0.1;
/// Share of rows in the longest region: `Scan`, and ours (0.7 and 0.8 equal).
const LONGEST: [f64; 2] = [0.6, 0.8];

/// The rows that stand out together the most; `None` where nothing varies or there are too few rows.
#[must_use]
pub fn find(columns: &[Column<'_>], n_rows: usize, search: Search) -> Option<Range<usize>> {
    let step = n_rows.div_ceil(ROWS_MAX).max(1);
    let series: Vec<Vec<f64>> = columns
        .iter()
        .filter_map(|c| blocks(c, n_rows, step))
        .collect();
    let n = n_rows.div_ceil(step);
    let share = |share: f64| (share * n as f64) as usize;
    let (from, limits) = match search {
        Search::Scan => (
            0,
            Limits {
                before: 0,
                longest: share(LONGEST[0]),
            },
        ),
        Search::Ours => {
            let from = warm_up(&series, n);
            let n = (n - from) as f64;
            let before = ((BEFORE * n) as usize).max(ROWS_MIN);
            let longest = (LONGEST[1] * n) as usize;
            (from, Limits { before, longest })
        }
    };
    let ready = |values: &Vec<f64>| {
        let values = &values[from..];
        match search {
            Search::Scan => standardised(values.to_vec()),
            Search::Ours => standardised(ranks(values)),
        }
    };
    let sums: Vec<Vec<f64>> = series.iter().filter_map(ready).map(prefix_sums).collect();
    let found = scan(&sums, n - from, &limits)?;
    let (first, end) = (found.start + from, found.end + from);
    Some(first * step..(end * step).min(n_rows))
}

/// Means of blocks of rows; a missing one is as the one before. `None` for what does not vary or is no number.
fn blocks(column: &Column<'_>, n_rows: usize, step: usize) -> Option<Vec<f64>> {
    let Values::Numbers(values) = &column.values else {
        return None;
    };
    let first = *values.iter().find(|value| !value.is_nan())?;
    let mut last = first;
    let block = |rows: &[f64]| {
        let known = rows.iter().filter(|value| !value.is_nan());
        let (sum, n) = known.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
        if n > 0 {
            last = sum / n as f64;
        }
        last
    };
    let blocks: Vec<f64> = values.get(..n_rows)?.chunks(step).map(block).collect();
    let varies = blocks.iter().any(|value| (value - blocks[0]).abs() > 0.0);
    varies.then_some(blocks)
}

/// Rows at the beginning in which many attributes lie where they never lie again.
fn warm_up(series: &[Vec<f64>], n: usize) -> usize {
    let longest = (WARM_UP_MAX * n as f64) as usize;
    let mut n_outside = vec![0_usize; longest];
    for values in series {
        let rest = &values[longest..];
        let min = rest.iter().copied().fold(f64::INFINITY, f64::min);
        let max = rest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (n_outside, value) in n_outside.iter_mut().zip(values) {
            *n_outside += usize::from(*value < min || *value > max);
        }
    }
    let limit = WARM_UP_OUTSIDE * series.len() as f64;
    let last = n_outside.iter().rposition(|n| *n as f64 > limit);
    last.map_or(0, |row| row + 1)
}

/// Mean ranks; equal values have equal ones.
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|a, b| values[*a].total_cmp(&values[*b]).is_eq()) {
        let first = order.partition_point(|at| values[*at].total_cmp(&values[tied[0]]).is_lt());
        let rank = first as f64 + (tied.len() - 1) as f64 / 2.0;
        for &at in tied {
            ranks[at] = rank;
        }
    }
    ranks
}

/// With mean 0 and variance 1; `None` where nothing varies.
fn standardised(mut values: Vec<f64>) -> Option<Vec<f64>> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter_mut().for_each(|value| *value -= mean);
    let sigma = (values.iter().map(|value| value * value).sum::<f64>() / n).sqrt();
    if !(sigma > 0.0 && sigma.is_finite()) {
        return None;
    }
    values.iter_mut().for_each(|value| *value /= sigma);
    Some(values)
}

fn prefix_sums(values: Vec<f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |value| {
        sum += value;
        sum
    };
    std::iter::once(0.0)
        .chain(values.into_iter().map(add))
        .collect()
}

/// The interval whose indicator explains the most variance of the attributes it explains best, summed; the first of equals.
fn scan(sums: &[Vec<f64>], n: usize, limits: &Limits) -> Option<Range<usize>> {
    let mut explained = vec![0.0; sums.len()];
    let mut best: Option<(f64, Range<usize>)> = None;
    // Row by row, not column by column: one interval needs two rows of sums.
    let rows: Vec<Vec<f64>> = (0..=n)
        .map(|row| sums.iter().map(|s| s[row]).collect())
        .collect();
    for first in limits.before..n.saturating_sub(ROWS_MIN - 1) {
        for end in first + ROWS_MIN..=n.min(first + limits.longest) {
            let share = (end - first) as f64 / n as f64;
            let factor = 1.0 / (share * (1.0 - share) * (n * n) as f64);
            if !factor.is_finite() {
                continue;
            }
            for (value, (a, b)) in explained.iter_mut().zip(rows[first].iter().zip(&rows[end])) {
                // With mean 0 and variance 1: p(1−p)(mean within − mean without)² = (sum within)² / (n² p (1−p)).
                *value = (b - a) * (b - a) * factor;
            }
            let score = strongest(&mut explained);
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, first..end));
            }
        }
    }
    best.filter(|(score, _)| *score > 0.0).map(|(_, rows)| rows)
}

fn strongest(values: &mut [f64]) -> f64 {
    if values.len() > N_STRONGEST {
        values.select_nth_unstable_by(N_STRONGEST - 1, |a, b| b.total_cmp(a));
    }
    values.iter().take(N_STRONGEST).sum()
}
