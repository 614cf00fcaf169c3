//! The paper's own way to find a region: attributes that could explain something, clustered; small clusters are abnormal. (step 12)
//!
//! In: columns. Out: rows. Kept to be compared with: where a fault fills a quarter of the rows its rule for small clusters misfires.
//! Source: Yoon, Niu, Mozafari: DBSherlock, SIGMOD 2016, section 7; Ester et al.: DBSCAN, KDD 1996. The authors' code leaves the growth of
//! clusters out, here it is in. Limits: [`crate::ROWS_MAX`] rows. O(rows² · columns).

use hsw_stats::median;

use crate::columns::{Column, Values};

/// Rows of a sliding window (section 7).
const WINDOW: usize = 20;
/// Potential power from which an attribute is looked at.
const POWER_MIN: f64 = 0.3;
/// Neighbours of a core row, itself among them.
const NEIGHBOURS_MIN: usize = 3;
/// A cluster below this share of the rows is abnormal.
const SMALL: f64 = 0.2;

/// The rows of small clusters and of none, a flag a row; `None` where nothing stands out, or the table is too long.
#[must_use]
pub fn sherlock(columns: &[Column<'_>], n_rows: usize) -> Option<Vec<bool>> {
    if !(WINDOW..=crate::region::ROWS_MAX).contains(&n_rows) {
        return None;
    }
    let series: Vec<Vec<f64>> = columns
        .iter()
        .filter_map(|column| normalised(column, n_rows))
        .filter(|values| potential_power(values) > POWER_MIN)
        .collect();
    if series.is_empty() {
        return None;
    }
    let distance = |a: usize, b: usize| {
        let square = |values: &Vec<f64>| (values[a] - values[b]) * (values[a] - values[b]);
        series.iter().map(square).sum::<f64>().sqrt()
    };
    let distances: Vec<Vec<f64>> = (0..n_rows)
        .map(|a| (0..n_rows).map(|b| distance(a, b)).collect())
        .collect();
    let nearest = |row: &Vec<f64>| {
        let mut row = row.clone();
        row.sort_by(f64::total_cmp);
        row[NEIGHBOURS_MIN]
    };
    let radius = distances.iter().map(nearest).fold(0.0, f64::max) / 4.0;
    let clusters = dbscan(&distances, radius);
    let size = |cluster: usize| clusters.iter().filter(|own| **own == Some(cluster)).count();
    let is_small = |cluster: &Option<usize>| match cluster {
        None => true,
        Some(cluster) => (size(*cluster) as f64) < SMALL * n_rows as f64,
    };
    let flags: Vec<bool> = clusters.iter().map(is_small).collect();
    flags.contains(&true).then_some(flags)
}

/// Within 0…1, a missing value as the one before.
fn normalised(column: &Column<'_>, n_rows: usize) -> Option<Vec<f64>> {
    let Values::Numbers(values) = &column.values else {
        return None;
    };
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = max - min;
    if !(range > 0.0 && range.is_finite()) {
        return None;
    }
    let mut last = *values.iter().find(|value| !value.is_nan())?;
    let fill = |value: &f64| {
        if !value.is_nan() {
            last = *value;
        }
        (last - min) / range
    };
    Some(values.get(..n_rows)?.iter().map(fill).collect())
}

/// How far the median of some window lies from that of all rows.
fn potential_power(values: &[f64]) -> f64 {
    let all = median(&mut values.to_vec()).unwrap_or_default();
    let distance = |window: &[f64]| (median(&mut window.to_vec()).unwrap_or_default() - all).abs();
    values.windows(WINDOW).map(distance).fold(0.0, f64::max)
}

/// The cluster of each row; `None` for noise.
fn dbscan(distances: &[Vec<f64>], radius: f64) -> Vec<Option<usize>> {
    let near = |row: usize| -> Vec<usize> {
        let is_near = |other: &usize| distances[row][*other] <= radius;
        (0..distances.len()).filter(is_near).collect()
    };
    let mut clusters = vec![None; distances.len()];
    let mut n_clusters = 0;
    for row in 0..distances.len() {
        if clusters[row].is_some() || near(row).len() < NEIGHBOURS_MIN {
            continue;
        }
        let mut open = vec![row];
        while let Some(at) = open.pop() {
            if clusters[at].is_some() {
                continue;
            }
            clusters[at] = Some(n_clusters);
            let around = near(at);
            if around.len() >= NEIGHBOURS_MIN {
                open.extend(around);
            }
        }
        n_clusters += 1;
    }
    clusters
}
