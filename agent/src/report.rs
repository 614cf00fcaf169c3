//! One line a minute about the agent itself. (steps 1–5)
//!
//! In: everybody's statistics. Out: a log line, and the status systemd shows. Does not: travel to the aggregator.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use hsw_shell::tls::Identity;
use hsw_shell::{Shutdown, systemd};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::spool::Spool;
use crate::{driver, shipper};

const INTERVAL: Duration = Duration::from_secs(60);
/// Below this the report warns.
const EXPIRY_WARNING_S: i64 = 14 * 86_400;

/// See the module's header.
#[derive(Debug)]
pub struct Report {
    driver: watch::Receiver<driver::Statistics>,
    shipper: watch::Receiver<shipper::Statistics>,
    spool: Spool,
    identity: Arc<Identity>,
    /// CPU time and bytes sent at the last line.
    before: (f64, u64),
}

impl Report {
    /// A report over these.
    #[must_use]
    pub fn new(
        driver: watch::Receiver<driver::Statistics>,
        shipper: watch::Receiver<shipper::Statistics>,
        spool: Spool,
        identity: Arc<Identity>,
    ) -> Self {
        Self {
            driver,
            shipper,
            spool,
            identity,
            before: (0.0, 0),
        }
    }

    /// Reports each minute until shutdown.
    pub async fn run(mut self, mut shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                () = sleep(INTERVAL) => self.line(),
            }
        }
        self.line();
    }

    fn line(&mut self) {
        let (cpu_s, rss_bytes) = own_usage();
        let driver = self.driver.borrow().clone();
        let shipper = self.shipper.borrow().clone();
        let spool = self.spool.state();
        let expiry_s = self.identity.cert_expiry();
        let per_second = INTERVAL.as_secs_f64();
        let cpu_percent = (cpu_s - self.before.0).max(0.0) * 100.0 / per_second;
        let wire_bytes_per_s = (shipper.wire_bytes.0 - self.before.1) as f64 / per_second;
        self.before = (cpu_s, shipper.wire_bytes.0);
        tracing::info!(
            connected = shipper.connected,
            acked = shipper.acked,
            waiting = spool.unacked_summaries,
            waiting_bytes = spool.unacked_bytes,
            dropped = spool.dropped + self.spool.overrun(),
            in_memory = spool.in_memory,
            damaged = spool.damaged + spool.torn,
            write_errors = spool.write_errors,
            events = driver.events,
            summaries = driver.summaries,
            summary_bytes = driver.summary_bytes,
            unencodable = driver.unencodable,
            late = driver.pipeline.late,
            series_over_limit = driver.pipeline.series_over_limit,
            triggers = driver.triggers.watched,
            triggers_refused = driver.triggers.refused,
            trigger_messages = driver.triggers.told,
            trigger_messages_dropped = driver.triggers.dropped,
            is_landmark = shipper.is_landmark,
            resent = shipper.delivery.resent,
            failures = shipper.failures,
            refusals = shipper.refusals,
            wire_bytes_sent = shipper.wire_bytes.0,
            wire_bytes_received = shipper.wire_bytes.1,
            wire_bytes_per_s = wire_bytes_per_s.round(),
            rtt_us = shipper.rtt_us,
            cpu_percent = (cpu_percent * 100.0).round() / 100.0,
            rss_bytes,
            cert_expiry_s = expiry_s,
            "statistics"
        );
        if expiry_s < EXPIRY_WARNING_S {
            tracing::warn!(
                days = expiry_s / 86_400,
                "the certificate expires soon: issue a new one with `hsw cert issue`"
            );
        }
        systemd::status(&if shipper.connected {
            format!("connected, {} summaries acknowledged", shipper.acked)
        } else {
            format!("not connected, {} summaries wait", spool.unacked_summaries)
        });
    }
}

/// CPU seconds used and bytes resident, of this process; zeros where /proc does not say.
fn own_usage() -> (f64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th field behind it.
    let ticks: f64 = stat.rsplit_once(')').map_or(0.0, |(_, rest)| {
        rest.split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|f| f.parse::<f64>().ok())
            .sum()
    });
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|f| f.parse().ok())
        .unwrap_or(0);
    let page_bytes = rustix::param::page_size() as u64;
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    (ticks / ticks_per_s, pages * page_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_uses() {
        let (cpu_s, rss_bytes) = own_usage();
        assert!(cpu_s >= 0.0);
        assert!((1 << 20..10 << 30).contains(&rss_bytes));
    }
}
