//! Processor, disk and memory of one node, as queues with capacities.
//!
//! In: what the database asks for in a second, and what acts on the machine. Out: how much of it is served, and how long each
//! request takes. Sources: Sakasegawa 1977 for the waiting time of M/M/c; a disk is one server with a queue.

use hsw_stats::{exp, ln};

use crate::stress::Stress;
use crate::topology::MachineSpec;

/// Beyond this utilisation the formulas of waiting do not hold: what does not fit is carried over instead.
const BUSY_MAX: f64 = 0.97;
/// A busy loop at the raised priority the test bed gives it weighs as three threads of the database (CFS weights of nice -5 and 0).
const HOG_WEIGHT: f64 = 3.0;

/// What is left of a capacity that is taken away, `level` of it from 0 to 1: within the first third of the scale what nobody uses goes, then what
/// is used, down to `floor` of it; both evenly in logarithms. Any level above a third is felt, whatever the size of the machine.
pub(crate) fn left_of(capacity: f64, used: f64, floor: f64, level: f64) -> f64 {
    if level <= 0.0 {
        return capacity;
    }
    let used = used.min(capacity);
    let spare = ln(capacity / used);
    used * exp(spare * (1.0 - 3.0 * level).max(0.0) + level * ln(floor))
}

/// How the processor fares in a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// Cores the database can have.
    pub(crate) available: f64,
    /// What it asks for, as a share of that; above 1 it waits.
    pub(crate) busy: f64,
    /// Times the pure processor time, until something is done.
    pub(crate) stretch: f64,
    /// Cores that foreign processes used.
    pub(crate) foreign: f64,
    /// Share of quota periods with throttling.
    pub(crate) throttled: f64,
    /// Share of time that somebody waited.
    pub(crate) pressure: f64,
}

impl Cpu {
    /// `demand`: cores the database asks for; `runnable`: its processes that want to run.
    pub(crate) fn of(spec: &MachineSpec, demand: f64, runnable: f64, stress: &Stress) -> Self {
        let limit = (spec.cores * stress.cpu_quota * (1.0 - stress.cpu_steal)).max(0.01);
        let want = stress.cpu_hogs;
        let share = runnable.max(1.0) / (runnable.max(1.0) + HOG_WEIGHT * want);
        let available = (limit - want).max(limit * share).max(0.005);
        let busy = demand / available;
        let foreign = want.min(limit - demand.min(available)).max(0.0);
        let servers = available.max(1.0);
        let rho = busy.min(BUSY_MAX);
        let queue = if rho > 0.0 {
            let power = (2.0 * (servers + 1.0)).sqrt() - 1.0;
            exp(power * ln(rho)) / (servers * (1.0 - rho))
        } else {
            0.0
        };
        // Less than a core: what runs is stopped for the rest of the period the sooner the more it is used.
        let slow = (1.0 / available.min(1.0) - 1.0) * rho;
        let used = ((demand.min(available) + foreign) / limit).min(1.0);
        let throttled = if spec.has_quota || stress.cpu_quota < 1.0 {
            ((used - 0.6) / 0.4).clamp(0.0, 1.0)
        } else {
            0.0
        };
        Self {
            available,
            busy,
            stretch: 1.0 + queue + slow,
            foreign,
            throttled: throttled * throttled,
            pressure: (0.02 * used + 0.98 * rho.powi(4) + 0.6 * throttled).min(1.0),
        }
    }
}

/// What is asked of the disk in a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiskLoad {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    pub(crate) read_bytes: f64,
    pub(crate) write_bytes: f64,
}

/// How the disk fares in a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Disk {
    pub(crate) utilisation: f64,
    pub(crate) read_ms: f64,
    pub(crate) write_ms: f64,
    pub(crate) in_flight: f64,
    /// Share of what the database asked for that was served.
    pub(crate) served: f64,
    /// Bytes that others wrote and read.
    pub(crate) foreign_write_bytes: f64,
    pub(crate) foreign_read_bytes: f64,
}

impl Disk {
    pub(crate) fn of(spec: &MachineSpec, load: &DiskLoad, stress: &Stress) -> Self {
        let own = stress.disk_latency * (load.reads + load.writes) / spec.disk_iops
            + (load.read_bytes + load.write_bytes) / spec.disk_bytes;
        // Swapping is small requests of the same device.
        let swap = 0.5 * (stress.memory_taken - 0.9).max(0.0);
        let others = stress.foreign_writes + stress.backup_reads + swap;
        let left = (1.0 - stress.io_stall).max(0.02);
        let all = (own + others) / left;
        // Many small requests and a few large streams share a device about evenly once it is full.
        let served = if all <= 1.0 {
            1.0
        } else {
            (left / (own + others))
                .max(left * 0.5 / own.max(0.5))
                .min(1.0)
        };
        let rho = all.min(BUSY_MAX);
        let queue = 1.0 + rho * rho / (1.0 - rho);
        // Large requests are in the way of small ones for as long as they take.
        let behind_large =
            6.0 * stress.foreign_writes.min(1.5) + 1.5 * stress.backup_reads.min(1.0);
        let stall_ms = 300.0 * stress.io_stall * stress.io_stall;
        let slow = stress.disk_latency;
        let utilisation = all.min(1.0);
        let write_ms = (spec.write_ms * slow + behind_large) * queue + stall_ms;
        let read_ms = (spec.read_ms * slow + behind_large) * queue + stall_ms;
        Self {
            utilisation,
            read_ms,
            write_ms,
            in_flight: ((load.reads * read_ms + load.writes * write_ms) / 1e3).min(64.0)
                + 4.0 * stress.foreign_writes.min(1.0),
            served,
            foreign_write_bytes: stress.foreign_writes.min(1.0) * spec.disk_bytes * served,
            foreign_read_bytes: stress.backup_reads.min(1.0) * spec.disk_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    fn spec(cores: f64) -> MachineSpec {
        MachineSpec {
            cores,
            ..Topology::test_bed(1).shards()[0].machine.clone()
        }
    }

    #[test]
    fn a_processor_waits_as_the_queue_of_one_server_does() {
        // One core, half busy: M/M/1 waits as long as it works.
        let cpu = Cpu::of(&spec(1.0), 0.5, 1.0, &Stress::default());
        assert!((cpu.stretch - 2.0).abs() < 0.02, "{cpu:?}");
        // Eight cores half busy hardly wait (M/M/8: 0.6 % of a service time).
        let wide = Cpu::of(&spec(8.0), 4.0, 8.0, &Stress::default());
        assert!(wide.stretch < 1.03, "{wide:?}");
    }

    #[test]
    fn what_is_spare_is_taken_first_and_then_what_is_used() {
        let left = |level| left_of(1_000.0, 10.0, 0.5, level);
        assert_eq!(left(0.0), 1_000.0);
        assert!(left(0.01) > 800.0);
        assert!((left(1.0) - 5.0).abs() < 1e-9);
        assert!(left(0.2) > 10.0 && left(0.4) < 8.0);
        // Of a machine that is too small already nothing is spare.
        assert!((left_of(5.0, 10.0, 0.5, 1.0) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn hogs_take_the_processor_and_a_quota_throttles() {
        let hog = Stress {
            cpu_hogs: 4.0,
            ..Stress::default()
        };
        let calm = Cpu::of(&spec(0.6), 0.03, 1.0, &Stress::default());
        let bad = Cpu::of(&spec(0.6), 0.03, 1.0, &hog);
        assert!(calm.throttled < 0.01 && bad.throttled > 0.8, "{bad:?}");
        let free = MachineSpec {
            has_quota: false,
            ..spec(4.0)
        };
        let cut = Stress {
            cpu_quota: 0.1,
            ..Stress::default()
        };
        let throttled = |stress| Cpu::of(&free, 0.38, 1.0, stress).throttled;
        assert!(throttled(&hog) < 0.01, "nobody throttles without a quota");
        assert!(throttled(&cut) > 0.5, "and one that is set does");
        assert!(
            bad.stretch > 3.0 * calm.stretch && bad.foreign > 0.5,
            "{bad:?}"
        );
    }

    #[test]
    fn a_slow_device_is_slow_for_everybody_and_a_full_one_serves_less() {
        let load = DiskLoad {
            reads: 100.0,
            writes: 50.0,
            read_bytes: 1e6,
            write_bytes: 1e6,
        };
        let calm = Disk::of(&spec(1.0), &load, &Stress::default());
        let slow = Stress {
            disk_latency: 40.0,
            ..Stress::default()
        };
        let slow = Disk::of(&spec(1.0), &load, &slow);
        assert!(
            slow.read_ms > 30.0 * calm.read_ms && slow.utilisation > 0.9,
            "{slow:?}"
        );
        let hog = Stress {
            foreign_writes: 1.4,
            ..Stress::default()
        };
        let behind = Disk::of(&spec(1.0), &load, &hog);
        assert!(behind.write_ms > 10.0 * calm.write_ms, "{behind:?}");
        let busy = DiskLoad {
            read_bytes: 120e6,
            ..load
        };
        let short = Disk::of(&spec(1.0), &busy, &hog);
        assert!(short.served < 0.8, "{short:?}");
    }
}
