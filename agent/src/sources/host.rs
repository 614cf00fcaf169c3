//! The host: CPU, memory, swap, pressure, network, open files; and the agent's own share. (step 1)
//!
//! In: about ten files of `/proc`, kept open. Out: `host.*`, `net.*` and `agent.*` readings.
//! Invariants: HO-1 a file the kernel does not have gives no reading, never a zero. HO-2 ratios are made from
//! differences of two rounds, so the first round has none. Limits: [`INTERFACES_MAX`] interfaces, the busiest first.
//! Does not: look at disks (see `disks`) or at single processes (see `instance`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hsw_types::{Reading, SeriesKey, fnv1a_64};

use super::proc::{
    Buffer, PollFile, fields, float, lines, node, number, object, pressure, value_of,
};

/// More interfaces are counted as dropped; container hosts have hundreds of virtual ones.
const INTERFACES_MAX: usize = 16;

/// Reads the host's files.
#[derive(Debug)]
pub(crate) struct Host {
    files: Files,
    keys: Keys,
    epoch: u64,
    cpu_before: Option<CpuTimes>,
    interfaces: BTreeMap<Vec<u8>, InterfaceKeys>,
    /// Interfaces left out of the last round.
    interfaces_left_out: u64,
    page_bytes: f64,
}

#[derive(Debug)]
struct Files {
    stat: PollFile,
    loadavg: PollFile,
    meminfo: PollFile,
    vmstat: PollFile,
    pressure_cpu: PollFile,
    pressure_io: PollFile,
    pressure_memory: PollFile,
    net_dev: PollFile,
    snmp: PollFile,
    file_nr: PollFile,
    own_statm: PollFile,
}

#[derive(Debug)]
struct Keys {
    busy: Arc<SeriesKey>,
    iowait: Arc<SeriesKey>,
    steal: Arc<SeriesKey>,
    load1: Arc<SeriesKey>,
    memory_available: Arc<SeriesKey>,
    swap_used: Arc<SeriesKey>,
    swap_in: Arc<SeriesKey>,
    swap_out: Arc<SeriesKey>,
    cpu_some: Arc<SeriesKey>,
    io_some: Arc<SeriesKey>,
    io_full: Arc<SeriesKey>,
    memory_some: Arc<SeriesKey>,
    memory_full: Arc<SeriesKey>,
    retransmits: Arc<SeriesKey>,
    resets: Arc<SeriesKey>,
    open_files: Arc<SeriesKey>,
    agent_cpu: Arc<SeriesKey>,
    agent_rss: Arc<SeriesKey>,
}

#[derive(Debug)]
struct InterfaceKeys {
    rx: Arc<SeriesKey>,
    tx: Arc<SeriesKey>,
    errors: Arc<SeriesKey>,
    drops: Arc<SeriesKey>,
}

/// Clock ticks of all CPUs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTimes {
    idle: u64,
    iowait: u64,
    steal: u64,
    total: u64,
}

impl Host {
    /// `proc` is `/proc`, or a fixture.
    pub(crate) fn new(proc: &Path) -> Self {
        let boot_id = std::fs::read(proc.join("sys/kernel/random/boot_id")).unwrap_or_default();
        Self {
            files: Files::new(proc),
            keys: Keys::new(),
            epoch: fnv1a_64(&boot_id),
            cpu_before: None,
            interfaces: BTreeMap::new(),
            interfaces_left_out: 0,
            page_bytes: rustix::param::page_size() as f64,
        }
    }

    /// The epoch of all counters that start anew with the host.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many interfaces the last round left out.
    pub(crate) fn interfaces_left_out(&self) -> u64 {
        self.interfaces_left_out
    }

    /// One round. Says whether `/proc` could be read at all.
    pub(crate) fn sample(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) -> bool {
        let readable = self.cpu(buffer, out);
        self.memory(buffer, out);
        self.stalls(buffer, out);
        self.network(buffer, out);
        self.tcp(buffer, out);
        self.agent(buffer, out);
        readable
    }

    fn cpu(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) -> bool {
        if let Ok(text) = self.files.loadavg.read(buffer)
            && let Some(load1) = fields(text).next().and_then(float)
        {
            out.push(Reading::gauge(&self.keys.load1, load1));
        }
        let Some(now) = self.files.stat.read(buffer).ok().and_then(cpu_times) else {
            return false;
        };
        if let Some(before) = self.cpu_before.replace(now) {
            // Idle and iowait may run backwards by a tick on a tickless kernel.
            let share = |now: u64, before: u64, total: u64| {
                (now.saturating_sub(before) as f64 / total as f64).min(1.0)
            };
            let total = now.total.saturating_sub(before.total);
            if total > 0 {
                let idle = share(now.idle, before.idle, total);
                let iowait = share(now.iowait, before.iowait, total);
                let steal = share(now.steal, before.steal, total);
                let busy = (1.0 - idle - iowait).max(0.0);
                out.push(Reading::gauge(&self.keys.busy, busy));
                out.push(Reading::gauge(&self.keys.iowait, iowait));
                out.push(Reading::gauge(&self.keys.steal, steal));
            }
        }
        true
    }

    fn memory(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let mut swap_total = 0;
        if let Ok(text) = self.files.meminfo.read(buffer) {
            let total = value_of(text, "MemTotal");
            if let (Some(total @ 1..), Some(available)) = (total, value_of(text, "MemAvailable")) {
                let ratio = available as f64 / total as f64;
                out.push(Reading::gauge(&self.keys.memory_available, ratio));
            }
            if let (Some(total), Some(free)) =
                (value_of(text, "SwapTotal"), value_of(text, "SwapFree"))
            {
                swap_total = total;
                let used = total.saturating_sub(free) as f64 * 1024.0;
                out.push(Reading::gauge(&self.keys.swap_used, used));
            }
        }
        // The file is the longest of all; without swap it says nothing.
        if swap_total > 0
            && let Ok(text) = self.files.vmstat.read(buffer)
        {
            counter(
                out,
                &self.keys.swap_in,
                value_of(text, "pswpin"),
                self.epoch,
            );
            counter(
                out,
                &self.keys.swap_out,
                value_of(text, "pswpout"),
                self.epoch,
            );
        }
        if let Ok(text) = self.files.file_nr.read(buffer)
            && let Some(open) = fields(text).next().and_then(number)
        {
            out.push(Reading::gauge(&self.keys.open_files, open as f64));
        }
    }

    fn stalls(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let Self {
            files, keys, epoch, ..
        } = self;
        for (file, some, full) in [
            // "All tasks wait for CPU" is meaningless for a whole host.
            (&mut files.pressure_cpu, &keys.cpu_some, None),
            (&mut files.pressure_io, &keys.io_some, Some(&keys.io_full)),
            (
                &mut files.pressure_memory,
                &keys.memory_some,
                Some(&keys.memory_full),
            ),
        ] {
            let Ok(text) = file.read(buffer) else {
                continue;
            };
            let stalled = pressure(text);
            seconds(out, some, stalled.some_us, *epoch);
            if let Some(full) = full {
                seconds(out, full, stalled.full_us, *epoch);
            }
        }
    }

    fn network(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let Ok(text) = self.files.net_dev.read(buffer) else {
            return;
        };
        let mut rows: Vec<(&[u8], [u64; 6])> = lines(text).filter_map(interface).collect();
        rows.retain(|(_, [rx, _, _, tx, _, _])| rx | tx > 0);
        let present = |name: &[u8]| rows.iter().any(|(found, _)| *found == name);
        self.interfaces.retain(|name, _| present(name));
        if self.interfaces.len() < rows.len() {
            // The busiest get the free places; a place once given is kept.
            rows.sort_by_key(|(_, [rx, _, _, tx, _, _])| std::cmp::Reverse(rx.saturating_add(*tx)));
            for (name, _) in &rows {
                if self.interfaces.len() < INTERFACES_MAX && !self.interfaces.contains_key(*name) {
                    self.interfaces
                        .insert(name.to_vec(), InterfaceKeys::new(name));
                }
            }
        }
        self.interfaces_left_out = (rows.len() - self.interfaces.len()) as u64;
        for (name, [rx, rx_errors, rx_drops, tx, tx_errors, tx_drops]) in rows {
            let Some(keys) = self.interfaces.get(name) else {
                continue;
            };
            counter(out, &keys.rx, Some(rx), self.epoch);
            counter(out, &keys.tx, Some(tx), self.epoch);
            counter(
                out,
                &keys.errors,
                rx_errors.checked_add(tx_errors),
                self.epoch,
            );
            counter(out, &keys.drops, rx_drops.checked_add(tx_drops), self.epoch);
        }
    }

    fn tcp(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let Ok(text) = self.files.snmp.read(buffer) else {
            return;
        };
        let column = |name: &str| snmp_column(text, b"Tcp:", name.as_bytes());
        counter(
            out,
            &self.keys.retransmits,
            column("RetransSegs"),
            self.epoch,
        );
        counter(out, &self.keys.resets, column("OutRsts"), self.epoch);
    }

    fn agent(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        out.push(Reading::counter(
            &self.keys.agent_cpu,
            own_cpu_seconds(),
            u64::from(std::process::id()),
        ));
        if let Ok(text) = self.files.own_statm.read(buffer)
            && let Some(pages) = fields(text).nth(1).and_then(number)
        {
            out.push(Reading::gauge(
                &self.keys.agent_rss,
                pages as f64 * self.page_bytes,
            ));
        }
    }
}

impl Files {
    fn new(proc: &Path) -> Self {
        let file = |name: &str| PollFile::new(proc.join(name));
        Self {
            stat: file("stat"),
            loadavg: file("loadavg"),
            meminfo: file("meminfo"),
            vmstat: file("vmstat"),
            pressure_cpu: file("pressure/cpu"),
            pressure_io: file("pressure/io"),
            pressure_memory: file("pressure/memory"),
            // `/proc/net` is a link to these; the thread that opens it must not matter.
            net_dev: file("self/net/dev"),
            snmp: file("self/net/snmp"),
            file_nr: file("sys/fs/file-nr"),
            own_statm: PollFile::new("/proc/self/statm"),
        }
    }
}

impl Keys {
    fn new() -> Self {
        Self {
            busy: node("host.cpu_busy_ratio"),
            iowait: node("host.cpu_iowait_ratio"),
            steal: node("host.cpu_steal_ratio"),
            load1: node("host.load1"),
            memory_available: node("host.memory_available_ratio"),
            swap_used: node("host.swap_used_bytes"),
            swap_in: node("host.swap_in"),
            swap_out: node("host.swap_out"),
            cpu_some: node("host.pressure_cpu_some"),
            io_some: node("host.pressure_io_some"),
            io_full: node("host.pressure_io_full"),
            memory_some: node("host.pressure_memory_some"),
            memory_full: node("host.pressure_memory_full"),
            retransmits: node("host.tcp_retransmits"),
            resets: node("host.tcp_resets"),
            open_files: node("host.open_files"),
            agent_cpu: node("agent.cpu_cores"),
            agent_rss: node("agent.rss_bytes"),
        }
    }
}

impl InterfaceKeys {
    fn new(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        Self {
            rx: object("net.rx_bytes", &name),
            tx: object("net.tx_bytes", &name),
            errors: object("net.errors", &name),
            drops: object("net.drops", &name),
        }
    }
}

/// CPU seconds of this very process, exact to the nanosecond.
pub(crate) fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Adds a counter where there is a total.
pub(crate) fn counter(
    out: &mut Vec<Reading>,
    key: &Arc<SeriesKey>,
    total: Option<u64>,
    epoch: u64,
) {
    if let Some(total) = total {
        out.push(Reading::counter(key, total as f64, epoch));
    }
}

/// Adds a counter of seconds from microseconds.
pub(crate) fn seconds(out: &mut Vec<Reading>, key: &Arc<SeriesKey>, us: Option<u64>, epoch: u64) {
    if let Some(us) = us {
        out.push(Reading::counter(key, us as f64 / 1e6, epoch));
    }
}

fn cpu_times(text: &[u8]) -> Option<CpuTimes> {
    let mut row = fields(lines(text).next()?.strip_prefix(b"cpu ")?);
    // user nice system idle iowait irq softirq steal; guest time is part of user time already.
    let mut times = [0_u64; 8];
    for slot in &mut times {
        let Some(field) = row.next() else { break };
        *slot = number(field)?;
    }
    Some(CpuTimes {
        idle: times[3],
        iowait: times[4],
        steal: times[7],
        total: times.iter().fold(0, |sum, &time| sum.saturating_add(time)),
    })
}

/// Name and receive bytes, errors, drops, transmit bytes, errors, drops of a line of `net/dev`.
fn interface(line: &[u8]) -> Option<(&[u8], [u64; 6])> {
    let colon = line.iter().rposition(|&byte| byte == b':')?;
    let mut row = [0_u64; 12];
    let mut columns = fields(&line[colon + 1..]);
    for slot in &mut row {
        *slot = number(columns.next()?)?;
    }
    let name = line[..colon].trim_ascii();
    Some((name, [row[0], row[2], row[3], row[8], row[10], row[11]]))
}

/// The value under `column` in a table of a line of names and a line of values.
fn snmp_column(text: &[u8], table: &[u8], column: &[u8]) -> Option<u64> {
    let mut rows = lines(text).filter_map(|line| line.strip_prefix(table));
    let (names, values) = (rows.next()?, rows.next()?);
    let at = fields(names).position(|name| name == column)?;
    number(fields(values).nth(at)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn fixture() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("stat", "cpu  100 0 100 700 100 0 0 0 0 0\nintr 1 2\n"),
            ("loadavg", "1.25 1 1 1/2 3\n"),
            (
                "meminfo",
                "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
            ),
            ("vmstat", "pswpin 5\npswpout 6\n"),
            (
                "self/net/dev",
                "Inter-| Receive\n face |bytes\n  lo: 10 1 2 3 0 0 0 0 20 1 4 5 0 0 0 0\nidle: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            ),
            (
                "self/net/snmp",
                "Tcp: MaxConn RetransSegs OutRsts\nTcp: -1 17 3\n",
            ),
            ("sys/fs/file-nr", "449\t0\t2466177\n"),
            (
                "pressure/io",
                "some avg10=0 total=2000000\nfull avg10=0 total=1000000\n",
            ),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn value(readings: &[Reading], name: &str) -> Option<f64> {
        readings
            .iter()
            .find(|r| r.key.to_string() == name)
            .map(|r| match r.value {
                hsw_types::Value::Gauge(value) | hsw_types::Value::Counter { total: value, .. } => {
                    value
                }
                other => panic!("{other:?}"),
            })
    }

    #[test]
    fn ratios_come_from_two_rounds_and_what_the_kernel_lacks_is_missing() {
        let dir = fixture();
        let (mut host, mut buffer, mut out) = (Host::new(dir.path()), Buffer::new(), Vec::new());
        assert!(host.sample(&mut buffer, &mut out));
        assert_eq!(value(&out, "host.cpu_busy_ratio"), None);
        assert_eq!(value(&out, "host.memory_available_ratio"), Some(0.25));
        assert_eq!(value(&out, "host.load1"), Some(1.25));
        assert_eq!(value(&out, "host.pressure_io_full"), Some(1.0));
        assert_eq!(value(&out, "host.pressure_cpu_some"), None);
        assert_eq!(value(&out, "host.swap_in"), None, "no swap at all");
        assert_eq!(value(&out, "net.errors{lo}"), Some(6.0));
        assert_eq!(value(&out, "net.drops{lo}"), Some(8.0));
        assert_eq!(value(&out, "net.rx_bytes{idle}"), None);
        assert_eq!(value(&out, "host.tcp_retransmits"), Some(17.0));

        fs::write(
            dir.path().join("stat"),
            "cpu  130 0 110 740 110 0 0 10 0 0\n",
        )
        .unwrap();
        out.clear();
        host.sample(&mut buffer, &mut out);
        assert_eq!(value(&out, "host.cpu_busy_ratio"), Some(0.5));
        assert_eq!(value(&out, "host.cpu_iowait_ratio"), Some(0.1));
        assert_eq!(value(&out, "host.cpu_steal_ratio"), Some(0.1));
    }

    #[test]
    fn interfaces_beyond_the_limit_are_counted_and_the_busiest_stay() {
        let dir = fixture();
        let rows: String = (1..=20)
            .map(|n| format!("veth{n}: {n}00 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"))
            .collect();
        fs::write(dir.path().join("self/net/dev"), rows).unwrap();
        let (mut host, mut out) = (Host::new(dir.path()), Vec::new());
        host.sample(&mut Buffer::new(), &mut out);
        assert_eq!(host.interfaces_left_out(), 4);
        assert_eq!(value(&out, "net.rx_bytes{veth20}"), Some(2000.0));
        assert_eq!(value(&out, "net.rx_bytes{veth4}"), None);
    }
}
