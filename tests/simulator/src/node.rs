//! One database node: what is asked of it in a second, what it can do, and what that does to everything it measures.
//!
//! In: transactions and reports that arrive, WAL that is received, what acts on the node. Out: an [`Answer`] for whoever waits,
//! totals and gauges for [`observe`](crate::observe), events for [`log`](crate::log).
//! The second is one step: arrivals are counts (Poisson), queues are averages over the step, and what does not fit in is carried over
//! for [`PATIENCE_S`] seconds, as clients with a deadline do. Does not: know faults, only [`Stress`].

mod flow;
mod sessions;
mod storage;

use crate::machine::{Cpu, Disk};
use crate::random::Random;
use crate::stress::Stress;
use crate::topology::ShardPlan;

pub(crate) use flow::Work;

/// Clients skip what is late by this much, as the test bed's do.
pub(crate) const PATIENCE_S: f64 = 2.0;
/// A database that was killed reads its WAL before it answers.
const RECOVERY_S: u32 = 3;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Primary,
    Replica,
    Router,
}

/// What arrives in a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offered {
    /// Transactions of tenants.
    pub(crate) transactions: f64,
    /// Statements of reports.
    pub(crate) reports: f64,
    /// WAL that the primary wrote.
    pub(crate) wal_bytes: f64,
    /// A router's: transactions that wait for shards, on average over the second.
    pub(crate) remote_active: f64,
    /// A router's: mean time a transaction spends at its shard.
    pub(crate) remote_ms: f64,
    /// Sessions of pools, beyond the node's own plan.
    pub(crate) sessions: f64,
}

/// What the clients of a node feel.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answer {
    /// Transactions done.
    pub(crate) done: f64,
    /// Sessions that are held by transactions under way, network included.
    pub(crate) held: f64,
    /// Milliseconds of a transaction, network included.
    pub(crate) response_ms: f64,
    /// WAL written.
    pub(crate) wal_bytes: f64,
}

/// Running totals, as the database and the kernel count them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    pub(crate) commits: f64,
    pub(crate) rollbacks: f64,
    pub(crate) blocks_read: f64,
    pub(crate) blocks_hit: f64,
    pub(crate) block_read_ms: f64,
    pub(crate) returned: f64,
    pub(crate) fetched: f64,
    pub(crate) inserted: f64,
    pub(crate) updated: f64,
    pub(crate) temp_bytes: f64,
    pub(crate) deadlocks: f64,
    pub(crate) calls: f64,
    pub(crate) exec_ms: f64,
    pub(crate) index_scans: f64,
    pub(crate) seq_scans: f64,
    pub(crate) seq_tuples: f64,
    pub(crate) wal_bytes: f64,
    pub(crate) checkpoints_timed: f64,
    pub(crate) checkpoints_requested: f64,
    pub(crate) checkpoint_ms: f64,
    pub(crate) checkpoint_buffers: f64,
    pub(crate) backend_buffers: f64,
    pub(crate) archive_failures: f64,
    pub(crate) cpu_s: f64,
    pub(crate) foreign_cpu_s: f64,
    pub(crate) throttled_periods: f64,
    pub(crate) throttled_s: f64,
    pub(crate) pressure_cpu: f64,
    pub(crate) pressure_io: f64,
    pub(crate) pressure_memory: f64,
    pub(crate) iowait: f64,
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    pub(crate) read_bytes: f64,
    pub(crate) write_bytes: f64,
    pub(crate) own_read_bytes: f64,
    pub(crate) own_write_bytes: f64,
    pub(crate) major_faults: f64,
    pub(crate) swap_in: f64,
    pub(crate) swap_out: f64,
    pub(crate) memory_fails: f64,
    pub(crate) retransmits: f64,
    pub(crate) rx_bytes: f64,
    pub(crate) tx_bytes: f64,
}

/// What is so at the end of the second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) sessions: f64,
    pub(crate) active: f64,
    pub(crate) idle_in_transaction: f64,
    pub(crate) waiting_lock: f64,
    pub(crate) waiting_io: f64,
    pub(crate) waiting_remote: f64,
    pub(crate) blocked: f64,
    pub(crate) transaction_age_s: f64,
    pub(crate) query_age_s: f64,
    pub(crate) probe_ms: f64,
    pub(crate) rtt_ms: f64,
    pub(crate) listen_queue: f64,
    pub(crate) lag_bytes: f64,
    pub(crate) lag_s: f64,
    pub(crate) replicas: f64,
    pub(crate) retained_bytes: f64,
    pub(crate) memory_available: f64,
    pub(crate) dead_tuples: f64,
    /// Of the table that is most in need, against the number that calls for a vacuum.
    pub(crate) vacuum_overdue: f64,
    pub(crate) xmin_age: f64,
    pub(crate) fs_used: f64,
}

/// What the database would write into its log in this second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Event {
    Refused(f64),
    LockWait(f64),
    Deadlock(f64),
    Failed(f64),
    NoSpace(f64),
    Slow { n: f64, ms: f64 },
    CheckpointBegins { is_requested: bool },
    CheckpointEnds { buffers: f64, seconds: f64 },
    Connected(f64),
    ArchiveFailed,
    Vacuumed,
    Started,
}

/// How a node answers its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Up,
    /// Asked and got no answer, for so many seconds.
    Silent(u32),
    /// Nobody listens.
    Down,
    /// Not even the agent is there.
    Gone,
}

/// What a node remembers from one second to the next.
#[derive(Debug, Clone, Default)]
struct Memory {
    late: f64,
    late_reports: f64,
    blocked: f64,
    hold_s: f64,
    held_logins: f64,
    leaked: f64,
    /// Share of the tables that autovacuum is off for, and the dead rows in them.
    vacuum_off: f64,
    neglected: f64,
    /// Share of the pages that is dead beyond what it is before each vacuum.
    bloat: f64,
    vacuum_left_s: f64,
    /// Since autovacuum looked last.
    nap_s: f64,
    dirty: f64,
    since_checkpoint_s: f64,
    checkpoint: Option<Checkpoint>,
    /// Share of the file system that is used, and that others have stuffed.
    filled: f64,
    stuffed: f64,
    idle_age_s: f64,
    runaway_age_s: f64,
    silent_s: u32,
    recovery_left_s: u32,
    was_down: bool,
    wal_rate: f64,
}

#[derive(Debug, Clone, Copy)]
struct Checkpoint {
    left: f64,
    per_s: f64,
    all: f64,
    seconds: f64,
}

/// See the module's header.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) plan: ShardPlan,
    pub(crate) totals: Totals,
    pub(crate) now: Gauges,
    pub(crate) cpu: Cpu,
    pub(crate) disk: Disk,
    pub(crate) reach: Reach,
    pub(crate) stress: Stress,
    /// Lives of the database.
    pub(crate) life: u64,
    pub(crate) events: Vec<Event>,
    /// A router's: mean time a transaction spends at its shard.
    remote_ms: f64,
    pub(crate) work: Work,
    memory: Memory,
    pub(crate) random: Random,
}

impl Node {
    pub(crate) fn new(kind: Kind, plan: ShardPlan, seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Neither checkpoints nor autovacuum of a cluster's nodes are in step.
        let phase_s = 300.0 * random.unit();
        let filled = 0.15 + 0.1 * random.unit();
        let memory = Memory {
            since_checkpoint_s: phase_s,
            nap_s: phase_s % storage::NAP_S,
            filled,
            ..storage::under_way(kind, &plan, phase_s)
        };
        let now = Gauges {
            dead_tuples: 0.2 * plan.rows * random.unit(),
            memory_available: 0.9,
            ..Gauges::default()
        };
        Self {
            kind,
            plan,
            totals: Totals::default(),
            now,
            cpu: Cpu::default(),
            disk: Disk::default(),
            reach: Reach::Up,
            stress: Stress::default(),
            life: 1,
            events: Vec::new(),
            remote_ms: 0.0,
            work: Work::default(),
            memory,
            random,
        }
    }

    /// One second.
    pub(crate) fn step(&mut self, offered: &Offered, stress: Stress) -> Answer {
        self.events.clear();
        self.stress = stress;
        self.remote_ms = offered.remote_ms;
        self.reach = self.reachable();
        if self.reach == Reach::Up {
            self.run(offered)
        } else {
            self.halt(offered)
        }
    }

    fn reachable(&mut self) -> Reach {
        let memory = &mut self.memory;
        if self.stress.gone > 0.0 {
            memory.was_down = true;
            return Reach::Gone;
        }
        if self.stress.down > 0.0 {
            memory.was_down = true;
            memory.recovery_left_s = RECOVERY_S;
            return Reach::Down;
        }
        if memory.was_down {
            memory.was_down = false;
            self.life += 1;
        }
        if memory.recovery_left_s > 0 {
            memory.recovery_left_s -= 1;
            if memory.recovery_left_s == 0 {
                self.events.push(Event::Started);
            }
            return Reach::Down;
        }
        if self.stress.stopped > 0.0 || self.stress.frozen > 0.0 {
            memory.silent_s += 1;
            return Reach::Silent(memory.silent_s);
        }
        memory.silent_s = 0;
        Reach::Up
    }

    /// Nothing is done; who has asked waits, until patience ends.
    fn halt(&mut self, offered: &Offered) -> Answer {
        let pool = f64::from(self.plan.pool);
        self.memory.late =
            (self.memory.late + offered.transactions).min(offered.transactions * PATIENCE_S);
        self.cpu = Cpu::default();
        self.disk = Disk::default();
        self.work = Work::default();
        self.memory.blocked = 0.0;
        let is_silent = matches!(self.reach, Reach::Silent(_));
        if !is_silent {
            self.now = Gauges {
                fs_used: self.now.fs_used,
                dead_tuples: self.now.dead_tuples,
                vacuum_overdue: self.now.vacuum_overdue,
                memory_available: 0.95,
                rtt_ms: self.plan.machine.rtt_ms,
                ..Gauges::default()
            };
            self.memory.held_logins = 0.0;
            self.memory.leaked = 0.0;
        }
        Answer {
            // A dead server refuses at once; a stopped one lets everybody wait.
            held: if is_silent { pool } else { 0.0 },
            response_ms: if is_silent { 2_000.0 } else { 5.0 },
            ..Answer::default()
        }
    }
}
