//! streams: how often an item came in a tick, at equal bytes: the time-adaptive sketch beside count-min and Hokusai.
//!
//! Truth is exact counting, which the program does itself over the same keys.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Task, hsw};
use crate::bench::{Figure, Report};

const STREAMS: [&str; 3] = ["orm_night", "web07", "lirs_sprite"];
const BYTES: [usize; 2] = [64 << 10, 256 << 10];
/// The newest quarter.
const NEWEST: usize = 5;

/// Measures.
pub(super) fn answer(task: &Task) -> Result<Report> {
    let mut report = Report::default();
    for stream in STREAMS {
        let keys = task.data.join(format!("{stream}.keys"));
        ensure!(keys.exists(), "{} is missing", keys.display());
        for bytes in BYTES {
            let of = |kind: &str| newest(&keys, kind, bytes);
            let (ours, plain, hokusai) = (of("ada-cell")?, of("cms")?, of("hokusai")?);
            let place = format!("{stream}, {} KiB", bytes >> 10);
            let how = "mean absolute error of counts of an item in a tick, newest five twentieths of 200 ticks; `hsw sketch eval`";
            report.add(Figure::new(
                &format!("{place}: error, time-adaptive"),
                ours,
                how,
            ));
            let how = "over the peer's at equal bytes, in the same run";
            report.add(
                Figure::new(&format!("{place}: over count-min"), ours / plain, how).at_most(0.5),
            );
            report.add(
                Figure::new(&format!("{place}: over Hokusai"), ours / hokusai, how).at_most(0.5),
            );
        }
    }
    Ok(report)
}

fn newest(keys: &Path, kind: &str, bytes: usize) -> Result<f64> {
    let (keys, bytes) = (keys.display().to_string(), bytes.to_string());
    let answer = hsw(&[
        "sketch", "eval", "--keys", &keys, "--kind", kind, "--bytes", &bytes, "--json",
    ])?;
    let all = answer["twentieths"].as_array().context("twentieths")?;
    let errors = all
        .iter()
        .rev()
        .take(NEWEST)
        .filter_map(|one| one["mae"].as_f64());
    let errors: Vec<f64> = errors.collect();
    ensure!(errors.len() == NEWEST, "{kind}: not twenty twentieths");
    Ok(errors.iter().sum::<f64>() / NEWEST as f64)
}
