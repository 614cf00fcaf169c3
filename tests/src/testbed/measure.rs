//! What the clients felt: rates and latencies out of pgbench's one-second aggregates.
//!
//! In: `measured/STREAM.PID` files. Out: [`Felt`] for a span of unix seconds. A second without a line had no finished transaction.

use std::path::Path;

use anyhow::{Context, Result};

/// What a stream of clients felt during a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Felt {
    /// Finished transactions per second.
    pub per_second: f64,
    /// Mean time of a transaction from when it was due, in milliseconds.
    pub latency_ms_mean: f64,
    /// Longest such time, in milliseconds.
    pub latency_ms_max: f64,
    /// Transactions skipped because they were too late, per second.
    pub skipped_per_second: f64,
}

/// Sums up one stream's seconds in `from..to` (unix seconds).
///
/// # Errors
/// When the folder cannot be read.
pub fn felt(dir: &Path, stream: &str, from: u64, to: u64) -> Result<Felt> {
    let folder = dir.join("measured");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut text = String::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name
            .strip_prefix(stream)
            .is_some_and(|rest| rest.starts_with('.'))
        {
            text.push_str(&std::fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    Ok(sum(&text, from, to))
}

/// Line: time, transactions, then sum, sum of squares, least, most of latency (µs), then the same four of lag, then skipped.
fn sum(text: &str, from: u64, to: u64) -> Felt {
    let seconds = to.saturating_sub(from).max(1) as f64;
    let (mut count, mut latency_us, mut most_us, mut skipped) = (0.0, 0.0, 0.0_f64, 0.0);
    for line in text.lines() {
        let fields: Vec<f64> = line
            .split(' ')
            .map_while(|word| word.parse().ok())
            .collect();
        if fields.len() < 11 || fields[0] < from as f64 || fields[0] >= to as f64 {
            continue;
        }
        count += fields[1];
        latency_us += fields[2];
        most_us = most_us.max(fields[5]);
        skipped += fields[10];
    }
    Felt {
        per_second: count / seconds,
        latency_ms_mean: if count > 0.0 {
            latency_us / count / 1000.0
        } else {
            f64::NAN
        },
        latency_ms_max: most_us / 1000.0,
        skipped_per_second: skipped / seconds,
    }
}

impl std::fmt::Display for Felt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1}/s, mean {:.1} ms, max {:.0} ms, skipped {:.1}/s",
            self.per_second, self.latency_ms_mean, self.latency_ms_max, self.skipped_per_second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_outside_the_span_and_torn_lines_do_not_count() {
        let text = "100 30 30000 1 500 2000 1 1 1 1 0\n101 10 20000 1 500 9000 1 1 1 1 4\n\
            102 99 1 1 1 1 1 1 1 1 0\n101 5 7\n";
        let felt = sum(text, 100, 102);
        assert_eq!(felt.per_second, 20.0);
        assert_eq!(felt.latency_ms_mean, 1.25);
        assert_eq!(felt.latency_ms_max, 9.0);
        assert_eq!(felt.skipped_per_second, 2.0);
    }
}
