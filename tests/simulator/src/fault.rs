//! Faults: kinds, how they begin, how bad they are, and which parameters of a node they change.
//!
//! In: an [`Injection`]. Out: changes of the node's parameters at each second. Severity 1 is what the test bed does to a real
//! cluster, where it has the same fault; lower ones shrink the cause, not the consequence.

use crate::kinds::kinds;
use crate::stress::Stress;

/// Whom of a shard a fault acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The primary.
    Primary,
    /// A replica; in a topology without replicas the fault cannot be.
    Replica,
}

kinds! {
    "What can go wrong."
    Fault
    LockStorm "lock-storm" "one session holds the locks of the hot rows, others queue behind it"
    CpuHog "cpu-hog" "busy loops of foreign processes beside the database"
    CpuQuota "cpu-quota" "the processor quota is cut to almost nothing"
    CpuSteal "cpu-steal" "the hypervisor gives the processor to others"
    MissingIndex "missing-index" "an index is gone, look-ups read the whole table"
    BadPlan "bad-plan" "stale statistics: some reports read far too much"
    ConnectionStorm "connection-storm" "logins until the limit refuses them, and on"
    ConnectionLeak "connection-leak" "a pool never gives its sessions back"
    CheckpointStorm "checkpoint-storm" "checkpoints in a tight loop, with writes between them"
    Stopped "stopped" "every process of the instance is stopped"
    Frozen "frozen" "the control group is frozen"
    Crash "crash" "the database is killed and comes back"
    Refuses "refuses" "the database is down and stays down"
    HostLost "host-lost" "the host is gone, its agent with it"
    DiskHog "disk-hog" "foreign direct writes on the database's disk"
    DiskSlow "disk-slow" "the device takes many times as long for each request"
    DiskStalls "disk-stalls" "the device hangs for moments"
    DiskFull "disk-full" "the file system fills up until writes fail"
    CacheLost "cache-lost" "the working set has outgrown the buffer cache"
    MemoryPressure "memory-pressure" "other processes take the host's memory; it swaps"
    Deadlocks "deadlocks" "transactions that take the same locks in different order"
    HotRow "hot-row" "most updates go to a single row"
    IdleTransaction "idle-transaction" "clients forget to commit: snapshots and locks are held"
    SlowQuery "slow-query" "runaway sorts"
    NoisyTenant "noisy-tenant" "one tenant sends many times its usual load"
    ErrorBurst "error-burst" "a release sends statements that cannot be"
    VacuumOff "vacuum-off" "autovacuum is off and tables bloat"
    ArchiveFails "archive-fails" "WAL cannot be archived and piles up"
    NetworkDelay "network-delay" "packets are delayed on the way to the database"
    NetworkLoss "network-loss" "packets are lost on the way to the database"
    NetworkNarrow "network-narrow" "the network's bandwidth is taken by others"
    ReplicationBroken "replication-broken" "the replica receives nothing any more"
    ReplicaSlow "replica-slow" "the replica replays slower than its primary writes"
    ReplicaDiskSlow "replica-disk-slow" "the replica's device takes many times as long"
}

/// How a fault begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Onset {
    /// At once.
    Step,
    /// Evenly, over so many seconds.
    Ramp(u32),
    /// On for so many seconds, off for so many.
    Intermittent(u32, u32),
}

/// One fault at one shard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// Which.
    pub fault: Fault,
    /// Of which shard, from 0.
    pub shard: usize,
    /// First second, from the begin of the simulation.
    pub from: u32,
    /// First second without it.
    pub until: u32,
    /// Above 0, at most 1.
    pub severity: f64,
    /// How it begins.
    pub onset: Onset,
}

impl Injection {
    /// A step of full severity.
    #[must_use]
    pub const fn step(fault: Fault, shard: usize, from: u32, until: u32) -> Self {
        Self {
            fault,
            shard,
            from,
            until,
            severity: 1.0,
            onset: Onset::Step,
        }
    }

    /// How much of it acts in second `at`: 0 to its severity.
    #[must_use]
    pub fn level(&self, at: u32) -> f64 {
        if !(self.from..self.until).contains(&at) {
            return 0.0;
        }
        let since = at - self.from;
        match self.onset {
            Onset::Step => self.severity,
            Onset::Ramp(over) => {
                self.severity * f64::from(since.min(over)) / f64::from(over.max(1))
            }
            Onset::Intermittent(on, off) if since % (on + off).max(1) >= on => 0.0,
            Onset::Intermittent(..) => self.severity,
        }
    }
}

/// `floor` to the power of `level`: the share of a capacity that is left.
fn power(floor: f64, level: f64) -> f64 {
    hsw_stats::exp(level * hsw_stats::ln(floor))
}

impl Fault {
    /// Whom of the shard it acts on.
    #[must_use]
    pub const fn target(self) -> Target {
        match self {
            Self::ReplicationBroken | Self::ReplicaSlow | Self::ReplicaDiskSlow => Target::Replica,
            _ => Target::Primary,
        }
    }

    /// Changes the causes; `level` is above 0 and at most 1.
    pub(crate) fn apply(self, level: f64, stress: &mut Stress) {
        match self {
            Self::LockStorm => {
                stress.lock_hold = level;
                stress.lock_waiters = 10.0 * level;
            }
            Self::CpuHog => stress.cpu_hogs += 4.0 * level,
            Self::CpuQuota => {
                stress.cpu_quota *= power(0.033, level);
                stress.cpu_cut = level;
            }
            Self::CpuSteal => stress.cpu_steal = stress.cpu_steal.max(1.0 - power(0.05, level)),
            Self::MissingIndex => stress.seq_scans = level,
            Self::BadPlan => stress.bad_plan = 0.5 * level,
            Self::ConnectionStorm => stress.logins += 40.0 * level,
            Self::ConnectionLeak => stress.leak += 2.0 * level,
            Self::CheckpointStorm => {
                stress.checkpoints += 100.0 * level;
                stress.writes += 150.0 * level;
            }
            Self::Stopped => stress.stopped = 1.0,
            Self::Frozen => stress.frozen = 1.0,
            Self::Crash | Self::Refuses => stress.down = 1.0,
            Self::HostLost => stress.gone = 1.0,
            Self::DiskHog => {
                stress.foreign_writes += 1.4 * level;
                // Four writers that are busy with it now and then.
                stress.cpu_hogs += 0.5 * level;
            }
            Self::DiskSlow | Self::ReplicaDiskSlow => stress.disk_latency *= 1.0 + 39.0 * level,
            Self::DiskStalls => stress.io_stall = 0.9 * level,
            Self::DiskFull => stress.fill += 0.05 * level,
            Self::CacheLost => stress.cache_loss = 0.9 * level,
            // At the most a quarter more than there is: what does not fit is swapped.
            Self::MemoryPressure => stress.memory_taken = 1.25 * (1.0 - power(0.04, level)),
            _ => self.apply_more(level, stress),
        }
    }

    fn apply_more(self, level: f64, stress: &mut Stress) {
        match self {
            Self::Deadlocks => stress.deadlocks += 2.5 * level,
            Self::HotRow => stress.hot_row = 0.9 * level,
            Self::IdleTransaction => {
                stress.idle_transactions += 8.0 * level;
                stress.lock_hold = stress.lock_hold.max(0.1 * level);
            }
            Self::SlowQuery => stress.runaway += 3.0 * level,
            Self::NoisyTenant => {
                stress.tenant_load *= 1.0 + 14.0 * level;
                stress.flood = level;
            }
            Self::ErrorBurst => stress.errors = stress.errors.max(0.5 * level),
            Self::VacuumOff => stress.vacuum_off = level,
            Self::ArchiveFails => stress.archive_failing = level,
            Self::NetworkDelay => stress.rtt_ms += 80.0 * level,
            Self::NetworkLoss => stress.loss += 0.08 * level,
            Self::NetworkNarrow => stress.bandwidth_loss = level,
            Self::ReplicationBroken => stress.replication_broken = 1.0,
            Self::ReplicaSlow => stress.replay_loss = level,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_kinds_and_each_changes_a_cause_and_has_a_name_of_its_own() {
        assert!(Fault::ALL.len() >= 25);
        for fault in Fault::ALL {
            let mut stress = Stress::default();
            fault.apply(1.0, &mut stress);
            assert_ne!(stress, Stress::default(), "{}", fault.name());
            assert_eq!(Fault::parse(fault.name()), Some(*fault));
        }
    }

    #[test]
    fn a_fault_begins_as_its_onset_says() {
        let fault = |onset| Injection {
            onset,
            severity: 0.5,
            ..Injection::step(Fault::CpuHog, 0, 10, 50)
        };
        let levels = |injection: Injection| [9, 10, 15, 30, 50].map(|at| injection.level(at));
        assert_eq!(levels(fault(Onset::Step)), [0.0, 0.5, 0.5, 0.5, 0.0]);
        assert_eq!(levels(fault(Onset::Ramp(10))), [0.0, 0.0, 0.25, 0.5, 0.0]);
        let off_and_on = fault(Onset::Intermittent(5, 10));
        assert_eq!(levels(off_and_on), [0.0, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(off_and_on.level(25), 0.5);
    }
}
