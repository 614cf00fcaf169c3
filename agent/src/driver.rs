//! The one loop between sources and spool: readings in, encoded summaries out. (steps 3–5)
//!
//! In: [`SourceEvent`]s. Out: summaries, handed to the spool. Invariants: DR-1 the clock is told once a second, whatever
//! the sources do. DR-2 only this loop talks to the pipeline. DR-3 a summary that cannot be encoded is counted, not sent.
//! DR-5 what the log tells of statements is counted for triggers before the pipeline hears it.
//! DR-4 the service manager's watchdog hears from this loop alone: a stuck loop is restarted.
//! Limits: [`N_EVENTS_MAX`] events wait. Does not: read sources, know connections.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsw_pipeline::{Counters, Input, Output, Pipeline};
use hsw_shell::{Shutdown, systemd};
use hsw_types::{NodeFacts, ShardSummary, WallTime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock::Clock;
use crate::pace::Pace;
use crate::sources::SourceEvent;
use crate::spool::Spool;
use crate::triggers::{self, Triggers};

/// Events that may wait for the driver; a source waits or drops beyond it.
pub const N_EVENTS_MAX: usize = 1024;

/// Events taken at a time, so that a flood of them never keeps the clock away.
const N_EVENTS_PER_ROUND: usize = 64;

/// How long after the whole second the driver ticks: the pipeline waits a quarter of a second for late readings.
const AFTER_CLOSING: Duration = Duration::from_millis(300);

/// When stopping, the clock is told this much ahead so that the last whole window closes; as long as the pipeline waits
/// for late readings.
const WINDOW_GRACE: Duration = Duration::from_secs(1);

/// What there is to know of the driver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Events taken.
    pub events: u64,
    /// Summaries handed to the spool.
    pub summaries: u64,
    /// Their bytes.
    pub summary_bytes: u64,
    /// Summaries that could not be encoded.
    pub unencodable: u64,
    /// What the pipeline left out.
    pub pipeline: Counters,
    /// Of triggers.
    pub triggers: triggers::Counts,
}

/// See the module's header.
#[derive(Debug)]
pub struct Driver {
    pipeline: Pipeline,
    spool: Spool,
    clock: Clock,
    /// What the host and the configuration say; the database's word is merged into it.
    host: NodeFacts,
    triggers: Triggers,
    pace: Option<watch::Receiver<Pace>>,
    statistics: watch::Sender<Statistics>,
    counts: Statistics,
}

impl Driver {
    /// A driver, and its statistics to watch.
    #[must_use]
    pub fn new(
        pipeline: Pipeline,
        spool: Spool,
        clock: Clock,
        host: NodeFacts,
        triggers: Triggers,
    ) -> (Self, watch::Receiver<Statistics>) {
        let (statistics, watched) = watch::channel(Statistics::default());
        let driver = Self {
            pipeline,
            spool,
            clock,
            host,
            triggers,
            pace: None,
            statistics,
            counts: Statistics::default(),
        };
        (driver, watched)
    }

    /// Makes summaries as long as this pace says, from now on.
    #[must_use]
    pub fn at_pace(mut self, pace: watch::Receiver<Pace>) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Drives until `stop`, then until every source has let go of its end of `events` (or two seconds have passed), and
    /// hands over the last summary.
    pub async fn run(mut self, mut events: mpsc::Receiver<SourceEvent>, mut stop: Shutdown) {
        let mut tick = interval_at(self.first_tick(), Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let watchdog = systemd::watchdog_interval();
        let mut pinged = Instant::now();
        let mut batch = Vec::with_capacity(N_EVENTS_PER_ROUND);
        let mut stop_at = None;
        self.tell(Input::Facts(Box::new(self.host.clone())));
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    if let Some(pace) = &self.pace {
                        self.pipeline.pace(pace.borrow().summary_s);
                    }
                    let now = self.clock.wall();
                    self.tell(Input::Clock(now));
                    self.triggers.tick(self.clock.now());
                    self.publish();
                    if watchdog.is_some_and(|every| pinged.elapsed() >= every) {
                        pinged = Instant::now();
                        systemd::watchdog();
                    }
                    if stop_at.is_some_and(|at| Instant::now() >= at) {
                        break;
                    }
                }
                heard = self.triggers.next() => self.triggers.hear(heard, self.clock.now()),
                n = events.recv_many(&mut batch, N_EVENTS_PER_ROUND) => {
                    if n == 0 {
                        break;
                    }
                    for event in batch.drain(..) {
                        self.take(event);
                    }
                }
                () = stop.requested(), if stop_at.is_none() => {
                    stop_at = Some(Instant::now() + Duration::from_secs(2));
                }
            }
        }
        self.triggers.finish();
        let grace = i64::try_from(WINDOW_GRACE.as_micros()).unwrap_or(0);
        let now = WallTime(self.clock.wall().0 + grace);
        self.tell(Input::Clock(now));
        self.publish();
    }

    /// Ticks come when the window before has just closed, so that a summary never waits most of a second for its tick.
    fn first_tick(&self) -> Instant {
        let into_second = self.clock.wall().0.rem_euclid(1_000_000);
        let to_next = u64::try_from(1_000_000 - into_second).unwrap_or(0);
        Instant::now() + Duration::from_micros(to_next) + AFTER_CLOSING
    }

    fn take(&mut self, event: SourceEvent) {
        self.counts.events += 1;
        if let SourceEvent::Statements(told) = &event {
            self.triggers.add(&told.statements, self.clock.now());
        }
        self.tell(match event {
            // The database knows nothing of its host.
            SourceEvent::Facts(facts) => Input::Facts(Box::new(merge(*facts, &self.host))),
            other => other,
        });
    }

    fn tell(&mut self, input: Input) {
        self.pipeline.handle(self.clock.now(), input);
        while let Some(output) = self.pipeline.poll_output() {
            let Output::Summary {
                summary,
                log_checkpoint,
            } = output;
            self.hand_over(&summary, log_checkpoint);
        }
    }

    fn hand_over(&mut self, summary: &ShardSummary, log_checkpoint: Option<Vec<u8>>) {
        match hsw_wire::encode_summary(summary) {
            Ok(payload) => {
                self.counts.summaries += 1;
                self.counts.summary_bytes += payload.len() as u64;
                let last = summary.first_window + (i64::from(summary.n_windows).max(1) - 1);
                self.spool.append(last, payload, log_checkpoint);
            }
            Err(why) => {
                self.counts.unencodable += 1;
                tracing::error!(
                    error = %why,
                    first_window = summary.first_window.0,
                    "summary cannot be encoded and is left out: lower the limits on series"
                );
            }
        }
    }

    fn publish(&mut self) {
        self.counts.pipeline = self.pipeline.counters();
        self.counts.triggers = self.triggers.counts();
        self.statistics.send_if_modified(|old| {
            let is_new = *old != self.counts;
            if is_new {
                old.clone_from(&self.counts);
            }
            is_new
        });
    }
}

/// Facts that only the host knows.
#[must_use]
pub fn host_facts(shard: &str, cluster: &str) -> NodeFacts {
    let line = |path: &str| {
        fs::read_to_string(path).map_or_else(|_| String::new(), |text| text.trim().to_owned())
    };
    // Once, at start: an inventory is what sysinfo is for; sampling reads /proc itself, at a hundredth of the cost.
    let mut inventory = sysinfo::System::new().ok();
    if let Some(system) = &mut inventory {
        system.refresh_memory();
    }
    NodeFacts {
        shard: shard.to_owned(),
        cluster: cluster.to_owned(),
        operating_system: sysinfo::System::long_os_version().unwrap_or_default(),
        cpu_cores: std::thread::available_parallelism()
            .map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        memory_bytes: inventory.map_or(0, |system| system.total_memory()),
        host: line("/proc/sys/kernel/hostname"),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        agent_started: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0)),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..NodeFacts::default()
    }
}

/// The database's word, with what only the host and the configuration know.
fn merge(database: NodeFacts, host: &NodeFacts) -> NodeFacts {
    NodeFacts {
        shard: host.shard.clone(),
        cluster: host.cluster.clone(),
        host: host.host.clone(),
        operating_system: host.operating_system.clone(),
        cpu_cores: host.cpu_cores,
        memory_bytes: host.memory_bytes,
        boot_id: host.boot_id.clone(),
        agent_started: host.agent_started,
        agent_version: host.agent_version.clone(),
        ..database
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::Role;

    #[test]
    fn facts_of_the_database_and_of_the_host_are_one() {
        let host = host_facts("shard-1", "main");
        assert!(!host.host.is_empty() && !host.boot_id.is_empty());
        assert!(
            host.memory_bytes > 100 << 20 && host.cpu_cores > 0,
            "{host:?}"
        );
        let database = NodeFacts {
            role: Role::Primary,
            database: "PostgreSQL 15".to_owned(),
            ..NodeFacts::default()
        };
        let merged = merge(database, &host);
        assert_eq!(
            (merged.role, merged.shard.as_str()),
            (Role::Primary, "shard-1")
        );
        assert_eq!(merged.boot_id, host.boot_id);
    }
}
