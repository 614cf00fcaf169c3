//! Block devices: those behind the data directory and every busy whole disk. (step 1)
//!
//! In: `/proc/diskstats`, `/sys/dev/block`. Out: `disk.*` readings by device name.
//! Invariants: DK-1 a latency is given only for a second in which an operation ended. DK-2 a loop or
//! device-mapper device counts only where the data lie on it; the disks below it then count as well.
//! Limits: [`DISKS_MAX`] devices, those of the data first; more are counted.
//! Does not: know file systems (see `data_dir`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hsw_types::{Reading, SeriesKey};

use super::host::counter;
use super::proc::{Buffer, PollFile, fields, lines, number, object};

/// More devices are counted as dropped.
const DISKS_MAX: usize = 16;
/// Device mapper over RAID over partitions is three deep.
const STACK_DEPTH_MAX: usize = 5;
/// The kernel counts in sectors of this size whatever the disk's is.
const SECTOR_BYTES: f64 = 512.0;

/// Reads the block devices.
#[derive(Debug)]
pub(crate) struct Disks {
    diskstats: PollFile,
    sys: PathBuf,
    boot_epoch: u64,
    data_devices: Vec<(u32, u32)>,
    /// The data's devices and all below them.
    behind_data: Vec<(u32, u32)>,
    devices: BTreeMap<(u32, u32), Device>,
    left_out: u64,
}

#[derive(Debug)]
struct Device {
    /// The name in diskstats; device numbers are given away again.
    name: Vec<u8>,
    /// None where it is not reported.
    series: Option<Box<Series>>,
    before: Row,
    epoch: u64,
    /// Still in the table in this round.
    present: bool,
}

#[derive(Debug)]
struct Series {
    read_bytes: Arc<SeriesKey>,
    write_bytes: Arc<SeriesKey>,
    reads: Arc<SeriesKey>,
    writes: Arc<SeriesKey>,
    utilisation: Arc<SeriesKey>,
    read_latency: Arc<SeriesKey>,
    write_latency: Arc<SeriesKey>,
    in_flight: Arc<SeriesKey>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    reads: u64,
    read_sectors: u64,
    read_ms: u64,
    writes: u64,
    write_sectors: u64,
    write_ms: u64,
    in_flight: u64,
    busy_ms: u64,
}

impl Disks {
    /// `proc` and `sys` are the mount points, or fixtures.
    pub(crate) fn new(proc: &Path, sys: &Path, boot_epoch: u64) -> Self {
        Self {
            diskstats: PollFile::new(proc.join("diskstats")),
            sys: sys.to_owned(),
            boot_epoch,
            data_devices: Vec::new(),
            behind_data: Vec::new(),
            devices: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Where the data lie; all devices are judged anew when that changes.
    pub(crate) fn set_data_devices(&mut self, devices: &[(u32, u32)]) {
        if self.data_devices == devices {
            return;
        }
        self.data_devices = devices.to_vec();
        self.behind_data.clear();
        for device in devices {
            self.add_with_lower(*device, 0);
        }
        self.devices.clear();
    }

    /// How many busy devices the last round left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// One round.
    pub(crate) fn sample(&mut self, buffer: &mut Buffer, out: &mut Vec<Reading>) {
        let Ok(text) = self.diskstats.read(buffer) else {
            return;
        };
        let mut reported = self.devices.values().filter(|d| d.series.is_some()).count();
        self.left_out = 0;
        for line in lines(text) {
            let Some((numbers, name, row)) = parse(line) else {
                continue;
            };
            let known = self.devices.get(&numbers).is_some_and(|d| d.name == name);
            if !known {
                let behind_data = self.behind_data.contains(&numbers);
                // A disk that never did anything (spare loop devices, empty drives) takes no place.
                if !behind_data && (row.reads | row.writes == 0 || !is_whole_disk(&self.sys, name))
                {
                    if row.reads | row.writes > 0 {
                        self.devices
                            .insert(numbers, Device::unreported(name, self.boot_epoch));
                    }
                    continue;
                }
                if reported >= DISKS_MAX && !behind_data {
                    self.left_out += 1;
                    continue;
                }
                reported += 1;
                let device = Device::reported(&self.sys, numbers, name, row, self.boot_epoch);
                self.devices.insert(numbers, device);
            }
            if let Some(device) = self.devices.get_mut(&numbers) {
                device.present = true;
                device.report(row, known, out);
            }
        }
        self.devices
            .retain(|_, device| std::mem::take(&mut device.present));
    }

    fn add_with_lower(&mut self, device: (u32, u32), depth: usize) {
        if depth >= STACK_DEPTH_MAX || self.behind_data.contains(&device) {
            return;
        }
        self.behind_data.push(device);
        let slaves = block_path(&self.sys, device).join("slaves");
        let Ok(entries) = fs::read_dir(slaves) else {
            return;
        };
        for entry in entries.flatten().take(DISKS_MAX) {
            if let Some(lower) = device_numbers(&entry.path()) {
                self.add_with_lower(lower, depth + 1);
            }
        }
    }
}

impl Device {
    fn unreported(name: &[u8], epoch: u64) -> Self {
        Self {
            name: name.to_vec(),
            series: None,
            before: Row::default(),
            epoch,
            present: true,
        }
    }

    fn reported(sys: &Path, numbers: (u32, u32), name: &[u8], row: Row, epoch: u64) -> Self {
        let own_name = String::from_utf8_lossy(name).into_owned();
        // `dm-3` changes with the boot order, the mapper's name does not.
        let label = fs::read_to_string(block_path(sys, numbers).join("dm/name"))
            .map(|name| name.trim().to_owned())
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or(own_name);
        Self {
            name: name.to_vec(),
            series: Some(Box::new(Series::new(&label))),
            before: row,
            epoch,
            present: true,
        }
    }

    fn report(&mut self, row: Row, known: bool, out: &mut Vec<Reading>) {
        let Some(series) = &self.series else {
            return;
        };
        let before = std::mem::replace(&mut self.before, row);
        // A device that was detached and attached again counts from zero.
        if row.reads < before.reads || row.writes < before.writes {
            self.epoch = self.epoch.wrapping_add(1);
        }
        let epoch = self.epoch;
        let bytes = |sectors: u64| sectors as f64 * SECTOR_BYTES;
        out.push(Reading::counter(
            &series.read_bytes,
            bytes(row.read_sectors),
            epoch,
        ));
        out.push(Reading::counter(
            &series.write_bytes,
            bytes(row.write_sectors),
            epoch,
        ));
        counter(out, &series.reads, Some(row.reads), epoch);
        counter(out, &series.writes, Some(row.writes), epoch);
        let busy_seconds = row.busy_ms as f64 / 1e3;
        out.push(Reading::counter(&series.utilisation, busy_seconds, epoch));
        out.push(Reading::gauge(&series.in_flight, row.in_flight as f64));
        if known {
            for (key, ms, ms_before, ops, ops_before) in [
                (
                    &series.read_latency,
                    row.read_ms,
                    before.read_ms,
                    row.reads,
                    before.reads,
                ),
                (
                    &series.write_latency,
                    row.write_ms,
                    before.write_ms,
                    row.writes,
                    before.writes,
                ),
            ] {
                if let (Some(ms), Some(ops @ 1..)) =
                    (ms.checked_sub(ms_before), ops.checked_sub(ops_before))
                {
                    out.push(Reading::gauge(key, ms as f64 / ops as f64));
                }
            }
        }
    }
}

impl Series {
    fn new(label: &str) -> Self {
        Self {
            read_bytes: object("disk.read_bytes", label),
            write_bytes: object("disk.write_bytes", label),
            reads: object("disk.reads", label),
            writes: object("disk.writes", label),
            utilisation: object("disk.utilisation", label),
            read_latency: object("disk.read_latency_ms", label),
            write_latency: object("disk.write_latency_ms", label),
            in_flight: object("disk.in_flight", label),
        }
    }
}

fn parse(line: &[u8]) -> Option<((u32, u32), &[u8], Row)> {
    let mut columns = fields(line);
    let major = u32::try_from(number(columns.next()?)?).ok()?;
    let minor = u32::try_from(number(columns.next()?)?).ok()?;
    let name = columns.next()?;
    let mut row = [0_u64; 10];
    for slot in &mut row {
        *slot = number(columns.next()?)?;
    }
    let [
        reads,
        _,
        read_sectors,
        read_ms,
        writes,
        _,
        write_sectors,
        write_ms,
        in_flight,
        busy_ms,
    ] = row;
    let row = Row {
        reads,
        read_sectors,
        read_ms,
        writes,
        write_sectors,
        write_ms,
        in_flight,
        busy_ms,
    };
    Some(((major, minor), name, row))
}

/// Neither a partition nor something that only passes requests on or lives in memory.
fn is_whole_disk(sys: &Path, name: &[u8]) -> bool {
    let passes_on: [&[u8]; 5] = [b"loop", b"dm-", b"md", b"ram", b"zram"];
    if passes_on.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    let name = String::from_utf8_lossy(name).replace('/', "!");
    sys.join("block").join(name).exists()
}

fn block_path(sys: &Path, (major, minor): (u32, u32)) -> PathBuf {
    sys.join(format!("dev/block/{major}:{minor}"))
}

fn device_numbers(path: &Path) -> Option<(u32, u32)> {
    let text = fs::read_to_string(path.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::Value;

    const BEFORE: &str = "   7 0 loop0 5 0 8 1 2 0 8 1 0 1 2\n 259 0 nvme0n1 100 0 800 50 200 0 1600 400 3 1000 1\n 259 1 nvme0n1p1 100 0 800 50 200 0 1600 400 3 1000 1\n 253 3 dm-3 1 0 8 1 1 0 8 1 0 1 1\n   8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n";
    const AFTER: &str = "   7 0 loop0 5 0 8 1 2 0 8 1 0 1 2\n 259 0 nvme0n1 100 0 800 50 210 0 1680 450 0 1500 1\n 253 3 dm-3 1 0 8 1 1 0 8 1 0 1 1\n";

    fn value(readings: &[Reading], name: &str) -> Option<f64> {
        readings
            .iter()
            .find(|r| r.key.to_string() == name)
            .map(|r| match r.value {
                Value::Gauge(value) | Value::Counter { total: value, .. } => value,
                other => panic!("{other:?}"),
            })
    }

    #[test]
    fn data_on_a_mapped_device_show_the_mapper_and_the_disk_below_but_no_partition() {
        let dir = tempfile::tempdir().unwrap();
        let (proc, sys) = (dir.path().join("proc"), dir.path().join("sys"));
        fs::create_dir_all(&proc).unwrap();
        fs::create_dir_all(sys.join("block/nvme0n1")).unwrap();
        fs::create_dir_all(sys.join("block/sda")).unwrap();
        fs::create_dir_all(sys.join("dev/block/253:3/slaves/nvme0n1")).unwrap();
        fs::create_dir_all(sys.join("dev/block/253:3/dm")).unwrap();
        fs::write(sys.join("dev/block/253:3/dm/name"), "vg-data\n").unwrap();
        fs::write(sys.join("dev/block/253:3/slaves/nvme0n1/dev"), "259:0\n").unwrap();
        fs::write(proc.join("diskstats"), BEFORE).unwrap();

        let (mut disks, mut buffer, mut out) =
            (Disks::new(&proc, &sys, 1), Buffer::new(), Vec::new());
        disks.set_data_devices(&[(253, 3)]);
        disks.sample(&mut buffer, &mut out);
        assert_eq!(value(&out, "disk.writes{vg-data}"), Some(1.0));
        assert_eq!(value(&out, "disk.in_flight{nvme0n1}"), Some(3.0));
        assert_eq!(value(&out, "disk.write_bytes{nvme0n1}"), Some(819_200.0));
        assert_eq!(
            value(&out, "disk.write_latency_ms{nvme0n1}"),
            None,
            "first round"
        );
        for absent in ["loop0", "nvme0n1p1", "sda", "dm-3"] {
            assert_eq!(value(&out, &format!("disk.writes{{{absent}}}")), None);
        }

        fs::write(proc.join("diskstats"), AFTER).unwrap();
        out.clear();
        disks.sample(&mut buffer, &mut out);
        assert_eq!(value(&out, "disk.write_latency_ms{nvme0n1}"), Some(5.0));
        assert_eq!(
            value(&out, "disk.read_latency_ms{nvme0n1}"),
            None,
            "no read ended"
        );
        assert_eq!(value(&out, "disk.utilisation{nvme0n1}"), Some(1.5));
    }

    #[test]
    fn disks_beyond_the_limit_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = String::new();
        for n in 0..20 {
            fs::create_dir_all(dir.path().join(format!("block/sd{n}"))).unwrap();
            table.push_str(&format!("8 {n} sd{n} 1 0 8 1 1 0 8 1 0 1 1\n"));
        }
        fs::write(dir.path().join("diskstats"), table).unwrap();
        let (mut disks, mut out) = (Disks::new(dir.path(), dir.path(), 1), Vec::new());
        disks.sample(&mut Buffer::new(), &mut out);
        assert_eq!(disks.left_out(), 4);
        assert_eq!(
            out.iter().filter(|r| r.key.metric == "disk.reads").count(),
            DISKS_MAX
        );
    }
}
