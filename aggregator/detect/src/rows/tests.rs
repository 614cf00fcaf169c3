//! The panel on tables whose truth is known, and the contract's invariants. (step 10)

use proptest::prelude::*;

use super::{Panel, Verdict};
use crate::dice::noise;

/// Rows a day: five minutes each.
const DAY: i64 = 288;
/// Rows before anything is planted.
const CALM: i64 = 16 * DAY;
const N_COLUMNS: usize = 12;

/// A load with a daily season that all columns follow, each a little in its own way.
fn usual(row: i64) -> Vec<f64> {
    let day = (row % DAY) as f64 / DAY as f64 * std::f64::consts::TAU;
    let load = day.sin() + 0.3 * noise(row, 1_000);
    let of = |column: usize| load * (1.0 + column as f64 / 10.0) + 0.1 * noise(row, column);
    (0..N_COLUMNS).map(of).collect()
}

/// Judges rows `0..n`; the last row's evidence by judge is the mean over `told`.
struct Run {
    panel: Panel,
    verdicts: Vec<Verdict>,
    evidence: Vec<(&'static str, f64)>,
    blame: Vec<f64>,
}

fn run(n: i64, told: std::ops::Range<i64>, row: impl Fn(i64) -> Vec<f64>) -> Run {
    let mut panel = Panel::new(N_COLUMNS);
    let mut verdicts = Vec::new();
    let mut evidence: Vec<(&'static str, f64)> =
        panel.evidence().map(|(name, _)| (name, 0.0)).collect();
    let mut blame = vec![0.0; N_COLUMNS];
    for at in 0..n {
        verdicts.push(panel.step(Some(at as f64 * 300.0), &row(at)));
        if told.contains(&at) {
            for (sum, (_, surprise)) in evidence.iter_mut().zip(panel.evidence()) {
                sum.1 += surprise / (told.end - told.start) as f64;
            }
            for (sum, share) in blame.iter_mut().zip(panel.blame()) {
                *sum += share;
            }
        }
    }
    Run {
        panel,
        verdicts,
        evidence,
        blame,
    }
}

impl Run {
    fn of(&self, name: &str) -> f64 {
        self.evidence
            .iter()
            .find(|(judge, _)| *judge == name)
            .unwrap()
            .1
    }

    fn most_blamed(&self) -> usize {
        (0..self.blame.len())
            .max_by(|a, b| self.blame[*a].total_cmp(&self.blame[*b]))
            .unwrap()
    }

    /// Share of rows from the second day to the planted one that were at least as bad.
    fn share_as_bad(&self, at: i64) -> f64 {
        let score = self.verdicts[at as usize].score;
        let before = &self.verdicts[2 * DAY as usize..CALM as usize];
        before.iter().filter(|v| v.score >= score).count() as f64 / before.len() as f64
    }
}

#[test]
fn a_step_is_found_at_once_as_a_change_point_and_blamed_on_its_column() {
    let run = run(CALM + 3, CALM..CALM + 3, |at| {
        let mut row = usual(at);
        row[3] += if at >= CALM { 6.0 } else { 0.0 };
        row
    });
    assert!(run.share_as_bad(CALM) < 0.001, "{:?}", run.evidence);
    assert!(run.of("change point") > 4.0, "{:?}", run.evidence);
    assert_eq!(run.most_blamed(), 3);
}

#[test]
fn a_level_that_lasts_is_found_by_own_past_hours_later() {
    let run = run(CALM + 60, CALM + 40..CALM + 60, |at| {
        let mut row = usual(at);
        row[5] += if at >= CALM { 6.0 } else { 0.0 };
        row
    });
    assert!(run.of("own past") > 4.5, "{:?}", run.evidence);
    assert!(
        run.of("own past") > run.of("change point"),
        "{:?}",
        run.evidence
    );
    assert_eq!(run.most_blamed(), 5);
}

#[test]
fn a_spike_of_one_row_is_found_in_that_row() {
    let run = run(CALM + 1, CALM..CALM + 1, |at| {
        let mut row = usual(at);
        row[7] += if at == CALM { 8.0 } else { 0.0 };
        row
    });
    assert!(run.share_as_bad(CALM) < 0.001);
    assert!(run.verdicts[CALM as usize].p < 1e-3);
    assert_eq!(run.most_blamed(), 7);
}

#[test]
fn a_drift_too_slow_for_any_row_is_found_as_drift() {
    // A tenth of the column's season an hour: no row is unusual.
    let run = run(CALM + 60, CALM + 48..CALM + 60, |at| {
        let mut row = usual(at);
        for value in &mut row {
            *value += 0.012 * (at - CALM).max(0) as f64;
        }
        row
    });
    let (drift, step) = (run.of("slow drift"), run.of("change point"));
    assert!(drift > 4.0 && drift > 2.0 * step, "{:?}", run.evidence);
}

#[test]
fn a_broken_correlation_is_found_though_every_value_is_usual() {
    // Column 4 goes its own way, as widely as before.
    let run = run(CALM + 12, CALM..CALM + 12, |at| {
        let mut row = usual(at);
        if at >= CALM {
            row[4] = usual(at - 37)[4] - usual(at - 37 - DAY)[4] + usual(at - DAY)[4];
        }
        row
    });
    let correlated = run.of("correlated change");
    assert!(correlated > 5.0, "{:?}", run.evidence);
    assert!(
        correlated > run.of("own past") && correlated > run.of("change point"),
        "{:?}",
        run.evidence
    );
    assert_eq!(run.most_blamed(), 4);
}

#[test]
fn a_broken_rhythm_is_found_by_its_modes() {
    // A swing of about two hours, no part of the day, turns three times as fast; its height stays as it was.
    let swing = |at: i64| {
        let phase = at as f64 + 2.0 * (at - CALM).max(0) as f64;
        let load = 3.0 * (phase / 25.7 * std::f64::consts::TAU).sin();
        let of = |column: usize| load * (1.0 + column as f64 / 10.0) + 0.1 * noise(at, column);
        (0..N_COLUMNS).map(of).collect::<Vec<_>>()
    };
    let run = run(CALM + 24, CALM + 6..CALM + 24, swing);
    let modes = run.of("dynamic modes");
    assert!(modes > 3.0, "{:?}", run.evidence);
    assert!(
        modes > run.of("own past") && modes > run.of("slow drift"),
        "{:?}",
        run.evidence
    );
}

#[test]
fn p_is_uniform_where_nothing_changes() {
    let run = run(30 * DAY, 0..0, usual);
    let p: Vec<f64> = run.verdicts[10 * DAY as usize..]
        .iter()
        .map(|v| v.p)
        .collect();
    for at_most in [0.01, 0.05, 0.2, 0.5] {
        let share = p.iter().filter(|p| **p <= at_most).count() as f64 / p.len() as f64;
        assert!(
            (0.6 * at_most..1.5 * at_most).contains(&share),
            "p <= {at_most}: {share}"
        );
    }
}

#[test]
fn a_gap_is_unknown_and_teaches_nothing() {
    let mut panel = Panel::new(N_COLUMNS);
    for at in 0..CALM {
        panel.step(Some(at as f64 * 300.0), &usual(at));
    }
    for at in CALM..CALM + 50 {
        let verdict = panel.step(Some(at as f64 * 300.0), &[f64::NAN; N_COLUMNS]);
        assert_eq!(verdict, Verdict::UNKNOWN);
        assert!(panel.blame().iter().all(|share| *share == 0.0));
    }
    let after = panel.step(Some((CALM + 50) as f64 * 300.0), &usual(CALM + 50));
    assert!(after.is_known && after.p > 1e-3, "{after:?}");
}

#[test]
fn a_column_that_is_missing_is_blamed_for_nothing() {
    let run = run(CALM, CALM - DAY..CALM, |at| {
        let mut row = usual(at);
        row[2] = f64::NAN;
        row
    });
    assert_eq!(run.blame[2], 0.0);
    assert!(run.verdicts[CALM as usize - 1].is_known);
}

#[test]
fn a_row_of_the_wrong_length_is_read_as_far_as_it_goes() {
    let mut panel = Panel::new(3);
    for at in 0..200 {
        panel.step(None, &usual(at)[..2]);
        panel.step(None, &usual(at));
    }
    assert!(panel.step(None, &[]).score.is_finite());
}

#[test]
fn a_constant_column_and_then_its_first_change_are_finite() {
    let run = run(CALM + 5, CALM..CALM + 1, |at| {
        let mut row = usual(at);
        row[6] = if at >= CALM { 1.0 } else { 0.0 };
        row
    });
    assert!(
        run.verdicts
            .iter()
            .all(|v| v.score.is_finite() && v.p > 0.0)
    );
    assert_eq!(run.most_blamed(), 6);
}

#[test]
fn memory_stays_under_a_kibibyte_a_column_and_does_not_grow() {
    let first = run(DAY, 0..0, usual).panel.bytes();
    let later = run(4 * DAY, 0..0, usual).panel.bytes();
    assert_eq!(first, later);
    assert!(later <= 1_024 * N_COLUMNS + 8 * 1_024, "{later}");
}

#[test]
fn what_comes_later_changes_nothing_before() {
    let whole = run(3 * DAY, 0..0, usual).verdicts;
    let part = run(2 * DAY, 0..0, usual).verdicts;
    assert_eq!(whole[..part.len()], part[..]);
}

fn short(
    rows: &[Vec<i32>],
    change: impl Fn(usize, f64) -> f64,
    order: &[usize],
) -> (Vec<Verdict>, Vec<f64>) {
    let mut panel = Panel::new(order.len());
    let mut verdicts = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let values: Vec<f64> = order
            .iter()
            .map(|column| change(*column, f64::from(row[*column])))
            .collect();
        verdicts.push(panel.step(Some(at as f64 * 300.0), &values));
    }
    (verdicts, panel.blame().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn prop_another_unit_of_a_metric_changes_nothing(
        rows in proptest::collection::vec(proptest::collection::vec(-500_i32..500, 7), 150..250),
        shift in -300_i32..300, octaves in -9_i32..9,
    ) {
        let order: Vec<usize> = (0..7).collect();
        let factor = 2.0_f64.powi(octaves);
        let (plain, _) = short(&rows, |_, v| v, &order);
        let (other, _) = short(&rows, |column, v| if column == 3 { (v + f64::from(shift)) * factor } else { v }, &order);
        for (a, b) in plain.iter().zip(&other) {
            prop_assert!((a.score - b.score).abs() <= 0.02 * (1.0 + a.score), "{} {}", a.score, b.score);
        }
    }

    #[test]
    fn prop_another_order_of_columns_changes_the_order_of_blame_only(
        rows in proptest::collection::vec(proptest::collection::vec(-500_i32..500, 7), 150..250), turn in 1_usize..7,
    ) {
        let order: Vec<usize> = (0..7).collect();
        let turned: Vec<usize> = (0..7).map(|column| (column + turn) % 7).collect();
        let (plain, blame) = short(&rows, |_, v| v, &order);
        let (other, other_blame) = short(&rows, |_, v| v, &turned);
        for (a, b) in plain.iter().zip(&other) {
            prop_assert!((a.score - b.score).abs() <= 0.02 * (1.0 + a.score), "{} {}", a.score, b.score);
        }
        for (place, column) in turned.iter().enumerate() {
            let (a, b) = (blame[*column], other_blame[place]);
            prop_assert!((a - b).abs() <= 0.02 * (1.0 + a), "{a} {b}");
        }
    }
}
