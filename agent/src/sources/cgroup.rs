//! The cgroup the database lives in, v1 and v2: CPU, throttling, memory, I/O, pressure, freezer. (step 1)
//!
//! In: the files of the postmaster's cgroup. Out: `cgroup.*` readings; none when it lives in the root cgroup.
//! `cgroup.foreign_cpu_cores` is what the cgroup used and the instance (and the agent, where it lives there) did not.
//! Invariants: CG-1 a controller that is not there gives no reading. CG-2 moving the database to another cgroup changes
//! the epoch. Does not: look at cgroups above the database's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hsw_types::{Reading, SeriesKey, SourceState, fnv1a_64};

use super::cgroup_paths::{CgroupPaths, any_mounted};
use super::host::{counter, own_cpu_seconds, seconds};
use super::instance::{Health, Running, no_instance};
use super::proc::{Buffer, PollFile, io_bytes, node, pressure, single, value_of};

/// Rounds between two looks at where the postmaster lives; it can be moved at any time.
const FOUND_ANEW_AFTER: u64 = 10;
/// v1 says "no limit" by a number near 2^63; nothing real is above an exbibyte.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// Reads the cgroup of the instance.
#[derive(Debug)]
pub(crate) struct Cgroup {
    proc: PathBuf,
    below: PathBuf,
    keys: Keys,
    round: u64,
    place: Option<Place>,
    health: Health,
    cpu_before: Option<CpuBefore>,
    throttling_before: Option<(u64, u64)>,
}

/// The files of one cgroup.
#[derive(Debug)]
struct Place {
    of: u64,
    paths: CgroupPaths,
    epoch: u64,
    holds_agent: bool,
    cpu_usage: Option<PollFile>,
    cpu_stat: Option<PollFile>,
    memory_usage: Option<PollFile>,
    memory_limit: Option<PollFile>,
    memory_failcnt: Option<PollFile>,
    memory_events: Option<PollFile>,
    io: Option<PollFile>,
    pressures: Vec<(PollFile, Arc<SeriesKey>)>,
    frozen: Option<PollFile>,
}

#[derive(Debug, Clone, Copy)]
struct CpuBefore {
    at: Instant,
    cgroup: f64,
    instance: f64,
    agent: f64,
}

#[derive(Debug)]
struct Keys {
    cpu: Arc<SeriesKey>,
    foreign: Arc<SeriesKey>,
    throttled_ratio: Arc<SeriesKey>,
    throttled_seconds: Arc<SeriesKey>,
    memory: Arc<SeriesKey>,
    limit_ratio: Arc<SeriesKey>,
    failcnt: Arc<SeriesKey>,
    oom_kills: Arc<SeriesKey>,
    read: Arc<SeriesKey>,
    write: Arc<SeriesKey>,
    frozen: Arc<SeriesKey>,
    pressures: [(&'static str, Arc<SeriesKey>); 3],
}

impl Cgroup {
    /// `proc` is `/proc` or a fixture; mount points are taken below `below` (`/`, or a fixture).
    pub(crate) fn new(proc: &Path, below: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            below: below.to_owned(),
            keys: Keys::new(),
            round: 0,
            place: None,
            health: (SourceState::Ok, String::new()),
            cpu_before: None,
            throttling_before: None,
        }
    }

    /// One round, after the instance's; nothing while no instance runs.
    pub(crate) fn sample(
        &mut self,
        running: Option<&Running>,
        buffer: &mut Buffer,
        out: &mut Vec<Reading>,
    ) -> Health {
        let Some(running) = running else {
            self.place = None;
            self.cpu_before = None;
            return no_instance();
        };
        let moved = self
            .place
            .as_ref()
            .is_none_or(|place| place.of != running.epoch);
        if moved || self.round.is_multiple_of(FOUND_ANEW_AFTER) {
            self.find(running);
        }
        self.round += 1;
        if self
            .place
            .as_ref()
            .is_some_and(|place| !place.paths.is_empty())
        {
            self.cpu(running, buffer, out);
            self.memory(buffer, out);
            self.rest(buffer, out);
        }
        self.health.clone()
    }

    fn find(&mut self, running: &Running) {
        let of_pid = |pid: &str| fs::read(self.proc.join(pid).join("cgroup")).unwrap_or_default();
        let mountinfo = fs::read(self.proc.join("self/mountinfo")).unwrap_or_default();
        let text = of_pid(&running.pid_file.pid.to_string());
        let paths = CgroupPaths::find(&text, &mountinfo, &self.below);
        self.health = if any_mounted(&mountinfo) {
            (SourceState::Ok, String::new())
        } else {
            let why =
                "no cgroup hierarchy is mounted; in a container, mount /sys/fs/cgroup read-only";
            (SourceState::Absent, why.to_owned())
        };
        let unchanged = |place: &Place| place.of == running.epoch && place.paths == paths;
        if !self.place.as_ref().is_some_and(unchanged) {
            let own = CgroupPaths::find(&of_pid("self"), &mountinfo, &self.below);
            let holds_agent = match &paths.cpuacct {
                Some(cpuacct) => own.cpuacct.as_ref() == Some(cpuacct),
                None => own.unified == paths.unified,
            };
            self.place = Some(Place::new(
                running.epoch,
                paths,
                holds_agent,
                &text,
                &self.keys,
            ));
            self.cpu_before = None;
            self.throttling_before = None;
        }
    }

    fn cpu(&mut self, running: &Running, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let Some(place) = &mut self.place else {
            return;
        };
        let used = read(&mut place.cpu_usage, buffer).and_then(|text| {
            // v1 is one number of nanoseconds, v2 a table with microseconds.
            single(text)
                .map(|ns| ns as f64 / 1e9)
                .or_else(|| Some(value_of(text, "usage_usec")? as f64 / 1e6))
        });
        if let Some(cgroup) = used {
            out.push(Reading::counter(&self.keys.cpu, cgroup, place.epoch));
            let now = CpuBefore {
                at: Instant::now(),
                cgroup,
                instance: running.cpu_seconds_all,
                agent: if place.holds_agent {
                    own_cpu_seconds()
                } else {
                    0.0
                },
            };
            if let Some(cores) = self
                .cpu_before
                .replace(now)
                .and_then(|before| now.foreign_cores(before))
            {
                out.push(Reading::gauge(&self.keys.foreign, cores));
            }
        }
        let Some(text) = read(&mut place.cpu_stat, buffer) else {
            return;
        };
        let throttled_us = value_of(text, "throttled_usec")
            .or_else(|| Some(value_of(text, "throttled_time")? / 1000));
        seconds(out, &self.keys.throttled_seconds, throttled_us, place.epoch);
        if let (Some(periods), Some(throttled)) =
            (value_of(text, "nr_periods"), value_of(text, "nr_throttled"))
            && let Some((periods_before, throttled_before)) =
                self.throttling_before.replace((periods, throttled))
        {
            // No period passes while the cgroup is idle or has no quota: then nothing was throttled.
            let passed = periods.saturating_sub(periods_before).max(1) as f64;
            let ratio = (throttled.saturating_sub(throttled_before) as f64 / passed).min(1.0);
            out.push(Reading::gauge(&self.keys.throttled_ratio, ratio));
        }
    }

    fn memory(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let (Some(place), keys) = (&mut self.place, &self.keys) else {
            return;
        };
        let usage = read(&mut place.memory_usage, buffer).and_then(single);
        // `max` in v2 is no number and so no limit.
        let limit = read(&mut place.memory_limit, buffer).and_then(single);
        if let Some(usage) = usage {
            out.push(Reading::gauge(&keys.memory, usage as f64));
            if let Some(limit @ 1..UNLIMITED_BYTES) = limit {
                out.push(Reading::gauge(
                    &keys.limit_ratio,
                    usage as f64 / limit as f64,
                ));
            }
        }
        if let Some(text) = read(&mut place.memory_failcnt, buffer) {
            counter(out, &keys.failcnt, single(text), place.epoch);
        }
        if let Some(text) = read(&mut place.memory_events, buffer) {
            // v2's memory.events has both; v1's memory.oom_control only the kills.
            counter(out, &keys.failcnt, value_of(text, "max"), place.epoch);
            counter(
                out,
                &keys.oom_kills,
                value_of(text, "oom_kill"),
                place.epoch,
            );
        }
    }

    fn rest(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let (Some(place), keys) = (&mut self.place, &self.keys) else {
            return;
        };
        if let Some(text) = read(&mut place.io, buffer) {
            let (read, written) = io_bytes(text);
            counter(out, &keys.read, Some(read), place.epoch);
            counter(out, &keys.write, Some(written), place.epoch);
        }
        for (file, key) in &mut place.pressures {
            if let Ok(text) = file.read(buffer) {
                seconds(out, key, pressure(text).some_us, place.epoch);
            }
        }
        if let Some(text) = read(&mut place.frozen, buffer) {
            let thawed = match value_of(text, "frozen") {
                Some(frozen) => frozen == 0,
                None => text.trim_ascii() == b"THAWED",
            };
            out.push(Reading::gauge(&keys.frozen, f64::from(u8::from(!thawed))));
        }
    }
}

impl CpuBefore {
    fn foreign_cores(self, before: Self) -> Option<f64> {
        let passed = self.at.saturating_duration_since(before.at).as_secs_f64();
        // A second look within the same tick would divide ticks by nothing.
        (passed > 0.05).then(|| {
            let known = (self.instance - before.instance) + (self.agent - before.agent);
            ((self.cgroup - before.cgroup - known) / passed).max(0.0)
        })
    }
}

impl Place {
    fn new(of: u64, paths: CgroupPaths, holds_agent: bool, text: &[u8], keys: &Keys) -> Self {
        let v1 = |directory: &Option<PathBuf>, name: &str| directory.as_ref().map(|d| d.join(name));
        let v2 = |name: &str| {
            paths
                .unified
                .as_ref()
                .map(|d| d.join(name))
                .filter(|f| f.exists())
        };
        let open = |path: Option<PathBuf>| path.map(PollFile::new);
        let pressures = keys
            .pressures
            .iter()
            .filter_map(|(name, key)| Some((PollFile::new(v2(name)?), Arc::clone(key))))
            .collect();
        Self {
            of,
            epoch: of ^ fnv1a_64(text),
            holds_agent,
            cpu_usage: open(v1(&paths.cpuacct, "cpuacct.usage").or_else(|| v2("cpu.stat"))),
            cpu_stat: open(v1(&paths.cpu, "cpu.stat").or_else(|| v2("cpu.stat"))),
            memory_usage: open(
                v1(&paths.memory, "memory.usage_in_bytes").or_else(|| v2("memory.current")),
            ),
            memory_limit: open(
                v1(&paths.memory, "memory.limit_in_bytes").or_else(|| v2("memory.max")),
            ),
            memory_failcnt: open(v1(&paths.memory, "memory.failcnt")),
            memory_events: open(
                v1(&paths.memory, "memory.oom_control").or_else(|| v2("memory.events")),
            ),
            io: open(
                v1(&paths.blkio, "blkio.throttle.io_service_bytes_recursive")
                    .or_else(|| v2("io.stat")),
            ),
            pressures,
            frozen: open(v1(&paths.freezer, "freezer.state").or_else(|| v2("cgroup.events"))),
            paths,
        }
    }
}

impl Keys {
    fn new() -> Self {
        Self {
            cpu: node("cgroup.cpu_cores"),
            foreign: node("cgroup.foreign_cpu_cores"),
            throttled_ratio: node("cgroup.throttled_ratio"),
            throttled_seconds: node("cgroup.throttled_seconds"),
            memory: node("cgroup.memory_bytes"),
            limit_ratio: node("cgroup.memory_limit_ratio"),
            failcnt: node("cgroup.memory_failcnt"),
            oom_kills: node("cgroup.oom_kills"),
            read: node("cgroup.io_read_bytes"),
            write: node("cgroup.io_write_bytes"),
            frozen: node("cgroup.frozen"),
            pressures: [
                ("cpu.pressure", node("cgroup.pressure_cpu")),
                ("io.pressure", node("cgroup.pressure_io")),
                ("memory.pressure", node("cgroup.pressure_memory")),
            ],
        }
    }
}

/// A controller that is missing stays missing.
fn read<'b>(file: &mut Option<PollFile>, buffer: &'b mut Buffer) -> Option<&'b [u8]> {
    file.as_mut()?.read(buffer).ok()
}

#[cfg(test)]
mod tests {
    use super::super::data_dir::PidFile;
    use super::*;
    use hsw_types::Value;

    struct Host(tempfile::TempDir);

    impl Host {
        fn new(cgroup: &str, mountinfo: &str) -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            host.put("proc/100/cgroup", cgroup);
            host.put("proc/self/cgroup", "");
            host.put("proc/self/mountinfo", mountinfo);
            host
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn cgroup(&self) -> Cgroup {
            Cgroup::new(&self.0.path().join("proc"), self.0.path())
        }
    }

    fn running(cpu_seconds_all: f64) -> Running {
        Running {
            pid_file: PidFile {
                pid: 100,
                started: 1,
                port: 5432,
                socket_dir: PathBuf::new(),
                listen_address: None,
            },
            cpu_seconds_all,
            epoch: 5,
        }
    }

    fn round(cgroup: &mut Cgroup, cpu: f64) -> (Vec<Reading>, Health) {
        let mut out = Vec::new();
        let health = cgroup.sample(Some(&running(cpu)), &mut Buffer::new(), &mut out);
        (out, health)
    }

    fn value(readings: &[Reading], name: &str) -> Option<f64> {
        readings
            .iter()
            .find(|r| r.key.metric == name)
            .map(|r| match r.value {
                Value::Gauge(value) | Value::Counter { total: value, .. } => value,
                other => panic!("{other:?}"),
            })
    }

    const V1: &str = "1 0 0:1 / /cg/cpu rw - cgroup c rw,cpu\n2 0 0:2 / /cg/acct rw - cgroup c rw,cpuacct\n3 0 0:3 / /cg/mem rw - cgroup c rw,memory\n4 0 0:4 / /cg/blk rw - cgroup c rw,blkio\n5 0 0:5 / /cg/frz rw - cgroup c rw,freezer\n";

    #[test]
    fn version_1_gives_throttling_memory_io_freezer_and_foreign_cpu() {
        let host = Host::new(
            "1:cpu:/db\n2:cpuacct:/db\n3:memory:/db\n4:blkio:/db\n5:freezer:/db\n",
            V1,
        );
        host.put(
            "cg/cpu/db/cpu.stat",
            "nr_periods 100\nnr_throttled 10\nthrottled_time 2000000000\n",
        );
        host.put("cg/acct/db/cpuacct.usage", "1000000000\n");
        host.put("cg/mem/db/memory.usage_in_bytes", "600\n");
        host.put("cg/mem/db/memory.limit_in_bytes", "1000\n");
        host.put("cg/mem/db/memory.failcnt", "7\n");
        host.put(
            "cg/mem/db/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        );
        host.put(
            "cg/blk/db/blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 5\n8:0 Write 6\n8:16 Read 1\nTotal 12\n",
        );
        host.put("cg/frz/db/freezer.state", "FROZEN\n");
        let mut cgroup = host.cgroup();
        let (out, _) = round(&mut cgroup, 0.5);
        assert_eq!(value(&out, "cgroup.cpu_cores"), Some(1.0));
        assert_eq!(value(&out, "cgroup.throttled_seconds"), Some(2.0));
        assert_eq!(value(&out, "cgroup.memory_limit_ratio"), Some(0.6));
        assert_eq!(value(&out, "cgroup.memory_failcnt"), Some(7.0));
        assert_eq!(value(&out, "cgroup.oom_kills"), Some(2.0));
        assert_eq!(value(&out, "cgroup.io_read_bytes"), Some(6.0));
        assert_eq!(value(&out, "cgroup.io_write_bytes"), Some(6.0));
        assert_eq!(value(&out, "cgroup.frozen"), Some(1.0));
        assert_eq!(
            value(&out, "cgroup.throttled_ratio"),
            None,
            "needs two rounds"
        );
        assert_eq!(value(&out, "cgroup.pressure_cpu"), None, "v1 has none");

        host.put(
            "cg/cpu/db/cpu.stat",
            "nr_periods 110\nnr_throttled 15\nthrottled_time 3000000000\n",
        );
        host.put("cg/acct/db/cpuacct.usage", "3000000000\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        let (out, _) = round(&mut cgroup, 1.0);
        assert_eq!(value(&out, "cgroup.throttled_ratio"), Some(0.5));
        // 2 s of the cgroup, 0.5 s of them the database's, within something above 0.1 s.
        let foreign = value(&out, "cgroup.foreign_cpu_cores").unwrap();
        assert!((0.5..=15.0).contains(&foreign), "{foreign}");
    }

    #[test]
    fn version_2_gives_pressure_and_no_limit_where_it_is_max() {
        let host = Host::new("0::/db\n", "1 0 0:1 / /cg rw - cgroup2 c rw\n");
        host.put("cg/db/cgroup.events", "populated 1\nfrozen 0\n");
        host.put(
            "cg/db/cpu.stat",
            "usage_usec 5000000\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
        );
        host.put("cg/db/memory.current", "600\n");
        host.put("cg/db/memory.max", "max\n");
        host.put("cg/db/memory.events", "low 0\nmax 3\noom 1\noom_kill 1\n");
        host.put(
            "cg/db/io.stat",
            "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
        );
        host.put(
            "cg/db/memory.pressure",
            "some avg10=0 total=4000000\nfull avg10=0 total=1\n",
        );
        let (out, (state, _)) = round(&mut host.cgroup(), 0.0);
        assert_eq!(state, SourceState::Ok);
        assert_eq!(value(&out, "cgroup.cpu_cores"), Some(5.0));
        assert_eq!(value(&out, "cgroup.memory_limit_ratio"), None);
        assert_eq!(value(&out, "cgroup.memory_failcnt"), Some(3.0));
        assert_eq!(value(&out, "cgroup.io_write_bytes"), Some(22.0));
        assert_eq!(value(&out, "cgroup.pressure_memory"), Some(4.0));
        assert_eq!(value(&out, "cgroup.pressure_cpu"), None);
        assert_eq!(value(&out, "cgroup.frozen"), Some(0.0));
    }

    #[test]
    fn the_root_cgroup_says_nothing_and_a_host_without_cgroups_says_so() {
        let host = Host::new("1:cpu:/\n", V1);
        host.put("cg/cpu/cgroup.sane_behavior", "0\n");
        host.put("cg/cpu/cpu.stat", "nr_periods 1\n");
        let (out, (state, _)) = round(&mut host.cgroup(), 0.0);
        assert!(out.is_empty());
        assert_eq!(state, SourceState::Ok);
        let bare = Host::new("", "1 0 0:1 / / rw - ext4 /dev/sda rw\n");
        assert_eq!(round(&mut bare.cgroup(), 0.0).1.0, SourceState::Absent);
    }
}
