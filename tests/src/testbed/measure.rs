//! What the clients felt: rates and latencies out of pgbench's progress lines, one a second.
//!
//! In: `logs/STREAM.log`. Out: [`Felt`] for a span of unix seconds. (Its aggregated log would say more, but comes a minute late.)
//! Limits: only the last `TAIL_BYTES` are looked at, about three hours.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};

/// How much of a stream's log is read.
const TAIL_BYTES: u64 = 1 << 20;

/// What a stream of clients felt during a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Felt {
    /// Finished transactions per second.
    pub per_second: f64,
    /// Mean time of a transaction from when it was due, in milliseconds; not a number when none finished.
    pub latency_ms_mean: f64,
    /// Worst mean of one second, in milliseconds.
    pub latency_ms_worst: f64,
    /// Transactions skipped because they were too late, per second.
    pub skipped_per_second: f64,
    /// Transactions that failed, per second.
    pub failed_per_second: f64,
}

/// Sums up one stream's seconds in `from..to` (unix seconds).
///
/// # Errors
/// When the stream's log cannot be read.
pub fn felt(dir: &Path, stream: &str, from: u64, to: u64) -> Result<Felt> {
    let path = dir.join("logs").join(format!("{stream}.log"));
    let mut bytes = Vec::new();
    std::fs::File::open(&path)
        .and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            file.take(TAIL_BYTES).read_to_end(&mut bytes)
        })
        .with_context(|| format!("read {}", path.display()))?;
    Ok(sum(&String::from_utf8_lossy(&bytes), from, to))
}

/// One progress line.
struct Second {
    at: f64,
    per_second: f64,
    latency_ms: f64,
    failed: f64,
    skipped: f64,
}

/// `progress: 1732126000.5 s, 29.9 tps, lat 1.2 ms stddev 0.4, 0 failed, lag 0.1 ms, 2 skipped`
fn parse(line: &str) -> Option<Second> {
    let mut second = Second {
        at: 0.0,
        per_second: 0.0,
        latency_ms: 0.0,
        failed: 0.0,
        skipped: 0.0,
    };
    for part in line.strip_prefix("progress: ")?.split(", ") {
        let mut words = part.split(' ');
        let (first, next) = (words.next()?, words.next()?);
        match (first.parse::<f64>(), next) {
            (Ok(value), "s") => second.at = value,
            (Ok(value), "tps") => second.per_second = value,
            (Ok(value), "failed") => second.failed = value,
            (Ok(value), "skipped") => second.skipped = value,
            _ if first == "lat" => second.latency_ms = next.parse().unwrap_or(0.0),
            _ => {}
        }
    }
    Some(second)
}

fn sum(text: &str, from: u64, to: u64) -> Felt {
    let span = to.saturating_sub(from).max(1) as f64;
    let mut felt = Felt::default();
    let mut weighted_ms = 0.0;
    for second in text.lines().filter_map(parse) {
        if second.at < from as f64 || second.at >= to as f64 {
            continue;
        }
        felt.per_second += second.per_second / span;
        weighted_ms += second.per_second * second.latency_ms / span;
        felt.latency_ms_worst = felt.latency_ms_worst.max(second.latency_ms);
        felt.skipped_per_second += second.skipped / span;
        felt.failed_per_second += second.failed / span;
    }
    felt.latency_ms_mean = weighted_ms / felt.per_second;
    felt
}

impl std::fmt::Display for Felt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1}/s, mean {:.1} ms, worst second {:.0} ms, skipped {:.1}/s, failed {:.1}/s",
            self.per_second,
            self.latency_ms_mean,
            self.latency_ms_worst,
            self.skipped_per_second,
            self.failed_per_second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_outside_the_span_and_other_lines_do_not_count() {
        let text = "progress: 100.2 s, 30.0 tps, lat 1.000 ms stddev 0.4, 0 failed, lag 0.100 ms, 0 skipped\n\
            pgbench: error: client 3 aborted\n\
            progress: 101.2 s, 10.0 tps, lat 3.000 ms stddev 0.4, 2 failed, lag 0.100 ms, 4 skipped\n\
            progress: 102.2 s, 99.0 tps, lat 9.000 ms stddev 0.4, 0 failed, lag 0.100 ms, 0 skipped\n\
            progress: 101.9 s, 7";
        let felt = sum(text, 100, 102);
        assert_eq!(felt.per_second, 20.0);
        assert_eq!(felt.latency_ms_mean, 1.5);
        assert_eq!(felt.latency_ms_worst, 3.0);
        assert_eq!(
            (felt.skipped_per_second, felt.failed_per_second),
            (2.0, 1.0)
        );
    }
}
