//! Which rows are normal, which are abnormal, and which may be either. (step 12)
//!
//! In: flags a row, or columns alone. Out: a [`Split`].
//! An onset that people or alarms name is late more often than early: of each run of normal rows that ends where abnormal ones
//! begin, the last quarter is neither. Where nobody names an onset it is the cut that most of what moves agrees on: of all
//! columns, the sum of the largest shares of variance that a cut explains. Does not: look for an end; what began lasts.

use hsw_stats::median;

/// Rows by what they are taken for, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Normal for certain.
    pub normal: Vec<usize>,
    /// Between normal and abnormal: either.
    pub before: Vec<usize>,
    /// Abnormal.
    pub abnormal: Vec<usize>,
}

/// One in so many normal rows before an onset may be abnormal. Ours: swept 2–5 on rcd with the onset 60 s late, equal.
const GUARD: usize = 4;
/// Normal rows that are kept whatever the guard takes.
const N_NORMAL_MIN: usize = 8;
/// Columns that a cut is judged by: those it explains best, as many as a single fault moves at least.
const N_COLUMNS: usize = 20;
/// Rows on either side of a cut at least.
const N_SIDE_MIN: usize = 3;

impl Split {
    /// From a flag a row for each; a row that is flagged as both is abnormal. O(rows).
    #[must_use]
    pub fn of(is_normal: &[bool], is_abnormal: &[bool]) -> Self {
        let n_rows = is_normal.len().min(is_abnormal.len());
        let mut split = Self::default();
        let mut run: Vec<usize> = Vec::new();
        for row in 0..n_rows {
            if is_abnormal[row] {
                split.end_run(&mut run, true);
                split.abnormal.push(row);
            } else if is_normal[row] {
                run.push(row);
            } else {
                split.end_run(&mut run, false);
            }
        }
        split.end_run(&mut run, false);
        if split.normal.len() < N_NORMAL_MIN {
            split.normal.append(&mut split.before);
            split.normal.sort_unstable();
        }
        split
    }

    fn end_run(&mut self, run: &mut Vec<usize>, is_at_onset: bool) {
        let n_guard = if is_at_onset { run.len() / GUARD } else { 0 };
        let guard = run.split_off(run.len() - n_guard);
        self.normal.append(run);
        self.before.extend(guard);
    }
}

/// The first abnormal row of a table nobody has marked: the cut that explains most. `None` for columns that are too short or
/// never move.
///
/// For each column the share of its variance that lies between the rows before and after a cut, of values cut off at three
/// robust deviations so that single spikes are no step; the cut with the largest sum over its best columns. `columns`: values
/// by row, NaN where missing (taken for the median). O(columns × rows), ties to the earlier row.
///
/// ```
/// let step = [0.0, 1.0, 0.0, 1.0, 0.0, 9.0, 8.0, 9.0, 8.0];
/// assert_eq!(hsw_rca::onset(&[&step]), Some(5));
/// ```
#[must_use]
pub fn onset(columns: &[&[f64]]) -> Option<usize> {
    let n_rows = columns.iter().map(|column| column.len()).min()?;
    let cuts = N_SIDE_MIN..(n_rows + 1).checked_sub(N_SIDE_MIN)?;
    let shares: Vec<Vec<f64>> = columns
        .iter()
        .filter_map(|column| shares(&column[..n_rows]))
        .collect();
    let mut best: Option<(f64, usize)> = None;
    let mut at_cut = Vec::with_capacity(shares.len());
    for cut in cuts {
        at_cut.clear();
        at_cut.extend(shares.iter().map(|shares| shares[cut]));
        at_cut.sort_by(|a, b| b.total_cmp(a));
        let sum: f64 = at_cut.iter().take(N_COLUMNS).sum();
        if sum > best.map_or(0.0, |(best, _)| best) {
            best = Some((sum, cut));
        }
    }
    best.map(|(_, cut)| cut)
}

/// By cut, the share of a column's variance that lies between its two sides; `None` for one that never moves.
fn shares(column: &[f64]) -> Option<Vec<f64>> {
    let mut known: Vec<f64> = column.iter().copied().filter(|v| v.is_finite()).collect();
    let centre = median(&mut known)?;
    let mut values: Vec<f64> = column
        .iter()
        .map(|value| {
            if value.is_finite() {
                value - centre
            } else {
                0.0
            }
        })
        .collect();
    let mut sizes: Vec<f64> = values
        .iter()
        .map(|v| v.abs())
        .filter(|v| *v > 0.0)
        .collect();
    let most = 3.0 * median(&mut sizes)?;
    for value in &mut values {
        *value = value.clamp(-most, most);
    }
    let n = values.len() as f64;
    let (sum, squares) = values
        .iter()
        .fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    let variance = squares - sum * sum / n;
    if variance <= 0.0 {
        return None;
    }
    let mut before = 0.0;
    let mut shares = Vec::with_capacity(values.len() + 1);
    shares.push(0.0);
    for (row, value) in values.iter().enumerate() {
        before += value;
        let n_before = row as f64 + 1.0;
        let n_after = n - n_before;
        let between = if n_after > 0.0 {
            let gap = before / n_before - (sum - before) / n_after;
            gap * gap * n_before * n_after / n
        } else {
            0.0
        };
        shares.push(between / variance);
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_before_an_onset_is_neither() {
        let is_abnormal: Vec<bool> = (0..24).map(|row| row >= 20).collect();
        let is_normal: Vec<bool> = (0..24).map(|row| row < 20).collect();
        let split = Split::of(&is_normal, &is_abnormal);
        assert_eq!(split.normal, (0..15).collect::<Vec<_>>());
        assert_eq!(split.before, (15..20).collect::<Vec<_>>());
        assert_eq!(split.abnormal, (20..24).collect::<Vec<_>>());
    }

    #[test]
    fn few_normal_rows_are_all_kept_and_a_gap_is_no_onset() {
        let split = Split::of(
            &[true, true, true, true, false],
            &[false, false, false, false, true],
        );
        assert_eq!((split.normal.len(), split.before.len()), (4, 0));
        let mut is_normal = vec![true; 20];
        is_normal.push(false);
        is_normal.push(false);
        let mut is_abnormal = vec![false; 22];
        is_abnormal[21] = true;
        assert_eq!(Split::of(&is_normal, &is_abnormal).normal.len(), 20);
    }

    #[test]
    fn spikes_are_no_onset_and_constant_columns_say_nothing() {
        let mut column: Vec<f64> = (0..60).map(|row| f64::from(row % 3)).collect();
        for value in &mut column[40..] {
            *value += 4.0;
        }
        column[10] = 1e6;
        assert_eq!(onset(&[&column, &[7.0; 60]]), Some(40));
        assert_eq!(onset(&[&[7.0; 60]]), None);
        assert_eq!(onset(&[&[1.0, 2.0]]), None);
        assert_eq!(onset(&[]), None);
    }
}
