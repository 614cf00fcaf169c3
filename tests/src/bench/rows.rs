//! `rows`: time to judge and learn a shard's window of 250 metrics, and a value of a single series.

use anyhow::{Context, Result};
use hsw_detect::{Novelty, Panel};

use super::usage::{own_rss_bytes, own_thread_seconds};
use super::{Figure, Report};

/// Metrics of a shard.
const N_COLUMNS: usize = 250;
/// Shards, so that models do not all lie in the caches that one would.
const N_PANELS: usize = 40;
/// Rows of each before the clock counts: every list has its size, every judge knows.
const N_WARM: u64 = 200;
/// Rows of each in one part, and the parts.
const N_ROWS: u64 = 100;
const N_PARTS: u64 = 7;
const STEP_S: f64 = 60.0;

/// Measures.
pub(super) fn rows() -> Result<Report> {
    let before = own_rss_bytes().context("read our memory")?;
    let mut panels: Vec<Panel> = (0..N_PANELS).map(|_| Panel::new(N_COLUMNS)).collect();
    let mut values = vec![0.0; N_COLUMNS];
    let mut state = 1;
    let (mut rates, mut row, mut n_rare) = (Vec::new(), 0, 0);
    for part in 0..=N_PARTS {
        let n_rows = if part == 0 { N_WARM } else { N_ROWS };
        let mut busy_s = 0.0;
        for _ in 0..n_rows {
            row += 1;
            for panel in &mut panels {
                fill(&mut values, row, &mut state);
                let began = own_thread_seconds();
                n_rare += u32::from(panel.step(Some(row as f64 * STEP_S), &values).p < 1e-3);
                busy_s += own_thread_seconds() - began;
            }
        }
        if part > 0 {
            rates.push((n_rows * N_PANELS as u64) as f64 / busy_s);
        }
    }
    let grown = own_rss_bytes().context("read our memory")? - before;
    let mut report = Report::new("rows");
    let how = "40 shards in turn, noise on a common movement, processor time of one core";
    let name = "shard-windows of 250 metrics judged and learned, 1/s";
    report.add(Figure::of(name, &rates, how).at_least(10_000.0));
    let bytes = grown / (N_PANELS * N_COLUMNS) as f64;
    let how = "growth of resident memory over metrics";
    report.add(
        Figure::new("bytes/metric with its share of every judge", bytes, how).at_most(2_048.0),
    );
    let how = "noise, processor time of one core";
    report.add(Figure::of(
        "values of single series, 1/s",
        &single(&mut state),
        how,
    ));
    report.note(format!(
        "{n_rare} rows of {} with p < 0.001",
        row * N_PANELS as u64
    ));
    Ok(report)
}

fn single(state: &mut u64) -> Vec<f64> {
    let mut model = Novelty::default();
    let mut row = 0;
    let part = |_| {
        let began = own_thread_seconds();
        for _ in 0..50_000 {
            row += 1;
            model.step(Some(f64::from(row) * STEP_S), uniform(state));
        }
        50_000.0 / (own_thread_seconds() - began)
    };
    (0..N_PARTS).map(part).collect()
}

/// A common movement and noise.
fn fill(values: &mut [f64], row: u64, state: &mut u64) {
    let common = (row as f64 / 50.0).sin();
    for value in values {
        *value = common + uniform(state);
    }
}

fn uniform(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}
