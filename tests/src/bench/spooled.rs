//! `spool`: what a summary takes on disk, and for how long the default spool lasts.

use anyhow::{Context, Result};
use hsw_agent::spool::{Config, Spool};
use hsw_types::WindowIndex;
use hsw_wire::encode_summary;

use super::content::summary;
use super::{Figure, Report};

/// Two hours at one summary each two seconds.
const N_SUMMARIES: i64 = 3_600;
/// Names travel once in five minutes, spread over the summaries of that time.
const NAMES_EVERY: i64 = 150;
/// As long as a position in three log files is.
const CHECKPOINT_BYTES: usize = 300;

/// Measures.
pub(super) fn spool() -> Result<Report> {
    let dir = tempfile::tempdir().context("make a folder")?;
    let config = Config {
        fsync: false,
        ..Config::default()
    };
    let bytes_max = config.bytes_max as f64;
    let folder = dir.path().join("spool");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("build a runtime")?;
    let payload_bytes = runtime.block_on(async {
        let (spool, _) = Spool::open(&folder, config)?;
        let mut payload_bytes = 0;
        for n in 0..N_SUMMARIES {
            let first = 1_700_000_000 + 2 * n;
            let payload = encode_summary(&summary(first, 2, n % NAMES_EVERY == 0))?;
            payload_bytes += payload.len();
            spool.append(
                WindowIndex(first + 1),
                payload,
                Some(vec![b'x'; CHECKPOINT_BYTES]),
            );
            if n % 32 == 0 {
                spool.settled().await;
            }
        }
        spool.settled().await;
        let state = spool.state();
        anyhow::ensure!(
            state.unacked_summaries == N_SUMMARIES as u64
                && spool.overrun() == 0
                && state.in_memory == 0,
            "the spool did not keep every summary"
        );
        spool.close().await;
        Ok(payload_bytes)
    })?;
    let mut on_disk = 0;
    for entry in std::fs::read_dir(&folder).context("read the spool's folder")? {
        on_disk += entry?.metadata()?.len();
    }
    let mut report = Report::new("spool");
    let per_summary = on_disk as f64 / N_SUMMARIES as f64;
    let how = "3,600 summaries of 500 series, 300 moving, names every five minutes, log position of 300 bytes";
    report.add(Figure::new("bytes/summary on disk", per_summary, how));
    report.add(Figure::new(
        "bytes/summary, payload",
        payload_bytes as f64 / N_SUMMARIES as f64,
        how,
    ));
    let hours = bytes_max / per_summary * 2.0 / 3_600.0;
    report.add(
        Figure::new(
            "hours that the default spool holds",
            hours,
            "its limit over bytes/summary",
        )
        .at_least(24.0),
    );
    Ok(report)
}
