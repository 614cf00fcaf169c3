//! The operating system's part of the sources: one timer, one wake-up, one batch a second. (step 1)
//!
//! In: `/proc`, `/sys`, cgroups, socket tables, the data directory's file system.
//! Out: `host.*`, `disk.*`, `net.*`, `data_fs.*`, `instance.*`, `cgroup.*`, `socket.*`, `edge.*`, `agent.*` readings and
//! the states of the sources `host`, `data_fs`, `instance`, `cgroup`, `sockets`.
//! Invariants: OS-1 a part that has nothing to read says so and stops no other. OS-2 a round begins shortly after the
//! whole second and never twice within one. OS-3 sampling never runs on the runtime's own threads.
//! Limits: each part's own; about 40 + 8 per disk + 4 per interface + 3 per peer readings a round.
//! Does not: difference counters (see `hsw-pipeline`), ask the database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use hsw_types::{Reading, SeriesKey, SourceState, SourceStatus, WallTime};
use tokio::sync::watch;

use super::cgroup::Cgroup;
use super::data_dir::{Answer, Prober};
use super::disks::Disks;
use super::host::Host;
use super::instance::{Health, Instance};
use super::proc::{Buffer, node};
use super::sockets::Sockets;
use super::{Sink, SourceEvent};
use crate::pace::Pace;

/// So long after the whole second a round begins: other periodic work of the host has its peak right at it.
const OFFSET_US: u64 = 20_000;
/// A wake-up this short before its time still belongs to the round it was meant for.
const EARLY_US: u64 = 100_000;
/// A drop counter that moves all the time is sent again only every so many rounds.
const DROPPED_SENT_EVERY: u64 = 10;

/// Where the operating system is read.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database's `data_directory`; without it only the host is sampled. Set by the operator.
    pub data_dir: Option<PathBuf>,
    /// Mount point of procfs; `/proc`. A container that watches its host sets the host's.
    pub proc: PathBuf,
    /// Mount point of sysfs; `/sys`.
    pub sys: PathBuf,
    /// Directory below which the mount points named in `mountinfo` lie; `/`. Other values are for tests.
    pub root: PathBuf,
    /// Process ids of the agent's own database sessions, which `instance.*` leaves out; none where it has none.
    pub own_sessions: Option<watch::Receiver<Vec<u32>>>,
    /// How often each peer's traffic is told; its default where nobody says.
    pub pace: Option<watch::Receiver<Pace>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            proc: PathBuf::from("/proc"),
            sys: PathBuf::from("/sys"),
            root: PathBuf::from("/"),
            own_sessions: None,
            pace: None,
        }
    }
}

/// Samples once a second until `shutdown` turns true or the driver is gone.
///
/// # Errors
/// The sampler panicked; the supervisor starts it anew.
pub async fn run(
    config: Config,
    sink: Sink,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut sampler = Box::new(OsSampler::new(config));
    let mut capacity = 64;
    loop {
        let round = async move {
            tokio::time::sleep(until_next_round(SystemTime::now())).await;
            let at = wall_time(SystemTime::now());
            // Even files of /proc can block while memory is short.
            tokio::task::spawn_blocking(move || {
                let mut readings = Vec::with_capacity(capacity);
                let statuses = sampler.sample(at, &mut readings);
                (sampler, at, readings, statuses)
            })
            .await
            .context("the sampler of the operating system panicked; see the log above")
        };
        let stop = shutdown.wait_for(|stop| *stop);
        let (back, at, readings, statuses) = tokio::select! {
            done = round => done?,
            _ = stop => return Ok(()),
        };
        sampler = back;
        capacity = readings.len();
        let events = std::iter::once(SourceEvent::Readings { at, readings })
            .chain(statuses.into_iter().map(SourceEvent::Status));
        for event in events {
            let sent = tokio::select! {
                sent = sink.send(event) => sent,
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }
}

/// All parts together, synchronous.
#[derive(Debug)]
pub struct OsSampler {
    config: Config,
    buffer: Buffer,
    host: Host,
    disks: Disks,
    database: Option<Database>,
    data_fs: DataFsKeys,
    statuses: Vec<Reported>,
    host_dropped: u64,
    round: u64,
}

/// The parts that need a data directory.
#[derive(Debug)]
struct Database {
    prober: Result<Prober, String>,
    instance: Instance,
    cgroup: Cgroup,
    sockets: Sockets,
}

#[derive(Debug)]
struct DataFsKeys {
    free: Arc<SeriesKey>,
    used: Arc<SeriesKey>,
    inodes: Arc<SeriesKey>,
}

/// What was last said of a source.
#[derive(Debug)]
struct Reported {
    source: &'static str,
    health: Health,
    dropped: u64,
}

impl OsSampler {
    /// Opens nothing but the thread that asks the data directory.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let host = Host::new(&config.proc);
        let disks = Disks::new(&config.proc, &config.sys, host.epoch());
        let database = config.data_dir.clone().map(|data_dir| Database {
            instance: Instance::new(&config.proc, &data_dir),
            cgroup: Cgroup::new(&config.proc, &config.root),
            sockets: Sockets::new(&config.proc, epoch_of_agent()),
            prober: Prober::start(data_dir).map_err(|error| {
                format!("cannot start a thread: {error}; raise the agent's task limit")
            }),
        });
        Self {
            config,
            buffer: Buffer::new(),
            host,
            disks,
            database,
            data_fs: DataFsKeys::new(),
            statuses: Vec::new(),
            host_dropped: 0,
            round: 0,
        }
    }

    /// One round: adds readings to `out` and returns the states that changed.
    pub fn sample(&mut self, at: WallTime, out: &mut Vec<Reading>) -> Vec<SourceStatus> {
        let mut changed = Vec::new();
        let readable = self.host.sample(&mut self.buffer, out);
        let health = if readable {
            (SourceState::Ok, String::new())
        } else {
            let why = format!(
                "cannot read {}/stat; mount procfs for the agent",
                self.config.proc.display()
            );
            (SourceState::Absent, why)
        };
        let answer = self.ask_data_dir(out, &mut changed);
        if let Some(answer) = &answer {
            self.disks.set_data_devices(&answer.devices);
        }
        self.disks.sample(&mut self.buffer, out);
        self.host_dropped += self.host.interfaces_left_out() + self.disks.left_out();
        self.report("host", health, self.host_dropped, &mut changed);
        self.sample_database(answer.as_deref(), out, &mut changed);
        self.round += 1;
        tracing::trace!(at = at.0, readings = out.len(), "operating system sampled");
        changed
    }

    fn ask_data_dir(
        &mut self,
        out: &mut Vec<Reading>,
        changed: &mut Vec<SourceStatus>,
    ) -> Option<Arc<Answer>> {
        let database = self.database.as_mut()?;
        let now = Instant::now();
        let (answer, health) = match &mut database.prober {
            Err(why) => (None, (SourceState::Refused, why.clone())),
            Ok(prober) => match prober.poll(now) {
                None if !prober.is_overdue(now) => return None,
                None => {
                    let why = "the data directory's file system does not answer; look at its disk or mount";
                    (None, (SourceState::Silent, why.to_owned()))
                }
                Some(answer) => {
                    let health = match &answer.space {
                        Ok(_) => (SourceState::Ok, String::new()),
                        Err(why) => (SourceState::Refused, why.clone()),
                    };
                    (Some(answer), health)
                }
            },
        };
        if let Some(Ok(space)) = answer.as_ref().map(|answer| &answer.space) {
            out.push(Reading::gauge(&self.data_fs.free, space.free_bytes));
            out.push(Reading::gauge(&self.data_fs.used, space.used_ratio));
            if let Some(ratio) = space.inodes_used_ratio {
                out.push(Reading::gauge(&self.data_fs.inodes, ratio));
            }
        }
        self.report("data_fs", health, 0, changed);
        answer
    }

    fn sample_database(
        &mut self,
        answer: Option<&Answer>,
        out: &mut Vec<Reading>,
        changed: &mut Vec<SourceStatus>,
    ) {
        let Some(database) = &mut self.database else {
            return;
        };
        // In the first seconds the directory has not had its time to answer: nothing is known, nothing is said.
        let waiting = matches!(&database.prober, Ok(prober) if !prober.is_overdue(Instant::now()));
        if answer.is_none() && waiting {
            return;
        }
        let own_sessions = self
            .config
            .own_sessions
            .as_ref()
            .map(watch::Receiver::borrow);
        let not_ours = own_sessions
            .as_ref()
            .map_or(&[][..], |pids| pids.as_slice());
        let pid_file = answer.map(|answer| &answer.pid_file);
        let (running, instance) =
            database
                .instance
                .sample(pid_file, not_ours, &mut self.buffer, out);
        drop(own_sessions);
        let cgroup = database
            .cgroup
            .sample(running.as_ref(), &mut self.buffer, out);
        if let Some(pace) = &self.config.pace {
            database.sockets.pace(pace.borrow().peers_s);
        }
        let sockets = database.sockets.sample(running.as_ref(), out);
        let instance_dropped = database.instance.left_out();
        let sockets_dropped = database.sockets.left_out();
        self.report("instance", instance, instance_dropped, changed);
        self.report("cgroup", cgroup, 0, changed);
        self.report("sockets", sockets, sockets_dropped, changed);
    }

    fn report(
        &mut self,
        source: &'static str,
        health: Health,
        dropped: u64,
        changed: &mut Vec<SourceStatus>,
    ) {
        let known = self
            .statuses
            .iter_mut()
            .find(|reported| reported.source == source);
        let drops_due = self.round.is_multiple_of(DROPPED_SENT_EVERY);
        match known {
            Some(known) if known.health == health && (known.dropped == dropped || !drops_due) => {
                return;
            }
            Some(known) => {
                known.health = health.clone();
                known.dropped = dropped;
            }
            None => self.statuses.push(Reported {
                source,
                health: health.clone(),
                dropped,
            }),
        }
        changed.push(SourceStatus {
            source: source.to_owned(),
            state: health.0,
            dropped,
            message: health.1,
        });
    }
}

impl DataFsKeys {
    fn new() -> Self {
        Self {
            free: node("data_fs.free_bytes"),
            used: node("data_fs.used_ratio"),
            inodes: node("data_fs.inodes_used_ratio"),
        }
    }
}

/// Differs from one agent process to the next.
fn epoch_of_agent() -> u64 {
    let started = wall_time(SystemTime::now()).0.unsigned_abs();
    started ^ (u64::from(std::process::id()) << 32)
}

fn wall_time(now: SystemTime) -> WallTime {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn until_next_round(now: SystemTime) -> Duration {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let within = u64::from(since.subsec_micros());
    let wait = (1_000_000 + OFFSET_US - within) % 1_000_000;
    let wait = if wait < EARLY_US {
        wait + 1_000_000
    } else {
        wait
    };
    Duration::from_micros(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::metric_spec;
    use tokio::sync::mpsc;

    #[test]
    fn a_round_begins_shortly_after_the_second_and_not_twice_within_one() {
        let after = |us: u64| until_next_round(UNIX_EPOCH + Duration::from_micros(us)).as_micros();
        assert_eq!(after(5_020_100), 999_900);
        assert_eq!(after(5_500_000), 520_000);
        assert_eq!(after(5_019_900), 1_000_100, "woke a little early");
        assert_eq!(after(5_920_000), 100_000);
    }

    #[test]
    fn this_host_gives_only_metrics_of_the_catalogue_and_finite_values() {
        let mut sampler = OsSampler::new(Config::default());
        let mut out = Vec::new();
        let first = sampler.sample(WallTime(0), &mut out);
        assert_eq!(first.len(), 1, "{first:?}");
        assert_eq!(
            (first[0].source.as_str(), first[0].state),
            ("host", SourceState::Ok)
        );
        std::thread::sleep(Duration::from_millis(50));
        assert!(
            sampler.sample(WallTime(1), &mut out).is_empty(),
            "nothing changed"
        );
        assert!(out.len() > 10);
        for reading in &out {
            assert!(
                metric_spec(&reading.key.metric).is_some(),
                "{}",
                reading.key
            );
            let (hsw_types::Value::Gauge(value) | hsw_types::Value::Counter { total: value, .. }) =
                reading.value
            else {
                panic!("{reading:?}");
            };
            assert!(value.is_finite() && value >= 0.0, "{reading:?}");
        }
    }

    #[test]
    fn a_directory_without_a_database_is_told_once_and_stops_no_other_part() {
        let dir = tempfile::tempdir().unwrap();
        let mut sampler = OsSampler::new(Config {
            data_dir: Some(dir.path().to_owned()),
            ..Config::default()
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        let (mut statuses, mut out) = (Vec::new(), Vec::new());
        while !statuses
            .iter()
            .any(|status: &SourceStatus| status.source == "instance")
        {
            assert!(Instant::now() < deadline, "{statuses:?}");
            std::thread::sleep(Duration::from_millis(10));
            out.clear();
            statuses.extend(sampler.sample(WallTime(0), &mut out));
        }
        let instance = statuses
            .iter()
            .find(|status| status.source == "instance")
            .unwrap();
        assert_eq!(instance.state, SourceState::Unreachable);
        let has = |name: &str| out.iter().any(|reading| reading.key.metric == name);
        assert!(has("data_fs.used_ratio") && has("host.load1") && has("instance.processes"));
        assert!(!has("instance.cpu_cores") && !has("socket.connections"));
        assert!(sampler.sample(WallTime(0), &mut out).is_empty());
    }

    #[tokio::test]
    async fn the_loop_sends_a_batch_each_second_and_ends_at_shutdown() {
        let (sink, mut events) = mpsc::channel(4);
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::spawn(run(Config::default(), sink, shutdown));
        let mut windows = Vec::new();
        while windows.len() < 2 {
            let event = tokio::time::timeout(Duration::from_secs(10), events.recv())
                .await
                .unwrap();
            if let Some(SourceEvent::Readings { at, readings }) = event {
                assert!(!readings.is_empty());
                windows.push(at.window());
            }
        }
        assert!(windows[1] > windows[0]);
        stop.send(true).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), task)
            .await
            .unwrap();
        ended.unwrap().unwrap();
    }
}
