//! The second of a node that runs: demand, capacity, response times, and what of it is done.

use super::storage::Upkeep;
use super::{Answer, Kind, Node, Offered, PATIENCE_S};
use crate::machine::{Cpu, Disk, DiskLoad, left_of};

/// Share of tenants' transactions that update; a fiftieth inserts, the rest looks up (as the test bed's scripts).
const UPDATES: f64 = 0.38;
const INSERTS: f64 = 0.02;
/// Both change a row.
pub(super) const CHANGES: f64 = UPDATES + INSERTS;
/// Share of updates that hit the hot rows (Zipf 1.05 over 100,000 rows, the first 2,000).
const HOT: f64 = 0.6;
/// Round trips of a transaction that comes through a foreign server.
const TRIPS: f64 = 3.0;
/// What a lost segment costs at least (RFC 6298's minimum as Linux has it).
const RTO_MS: f64 = 200.0;
/// What a device's buffer delays a segment by at most, as `tc-tbf` is usually set.
const BUFFER_MS: f64 = 400.0;
/// Bytes of a transaction or a report on the wire, both ways, headers included.
const TRAFFIC_BYTES: f64 = 800.0;

/// Milliseconds of processor of one: look-up, update or insert, statement of a report, transaction at a router, login; the
/// test bed's, from its control groups' processor time over its transactions.
const LOOKUP_CPU_MS: f64 = 0.40;
const UPDATE_CPU_MS: f64 = 0.55;
const REPORT_CPU_MS: f64 = 0.35;
const ROUTED_CPU_MS: f64 = 1.5;
const LOGIN_CPU_MS: f64 = 8.0;
/// Of that, inside statements (`pg_stat_statements` there).
const LOOKUP_EXEC_MS: f64 = 0.03;
const UPDATE_EXEC_MS: f64 = 0.08;
const REPORT_EXEC_MS: f64 = 0.06;
/// Milliseconds to read one row of a whole table.
const ROW_MS: f64 = 1.1e-4;
/// Rows a report reads too many with a bad plan.
pub(super) const BAD_PLAN_ROWS: f64 = 2e5;
/// Time a transaction on the one hot row thinks while it holds it, milliseconds.
const HOT_ROW_MS: f64 = 150.0;
/// Blocks a statement touches.
const PAGES: f64 = 11.0;
/// Temporary bytes a core's worth of sorting writes in a second.
const SORT_BYTES: f64 = 12e6;

/// What was done in a second, for logs, lists of what is hot, and edges.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) lookups: f64,
    pub(crate) updates: f64,
    pub(crate) inserts: f64,
    pub(crate) reports: f64,
    /// Mean time of a look-up, an update and a report in the database, milliseconds.
    pub(crate) lookup_ms: f64,
    pub(crate) update_ms: f64,
    pub(crate) report_ms: f64,
    /// Sessions of transactions and of reports that run a statement.
    pub(crate) active: f64,
    pub(crate) active_reports: f64,
    /// Transactions that queue for one row.
    pub(crate) queue: f64,
    /// Logins.
    pub(crate) logins: f64,
    /// Temporary bytes.
    pub(crate) temp_bytes: f64,
}

/// What is to be done in this second, the late ones too.
struct Wanted {
    transactions: f64,
    lookups: f64,
    updates: f64,
    inserts: f64,
    reports: f64,
    logins: f64,
}

/// What one of each costs in this second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    lookup_cpu: f64,
    update_cpu: f64,
    report_cpu: f64,
    /// Blocks touched, those of them from outside the cache, and requests to the device, of each statement.
    pub(super) pages: f64,
    pub(super) misses: f64,
    reads: f64,
    net_ms: f64,
}

/// How long a transaction takes.
struct Times {
    /// In the database.
    held_ms: f64,
    /// With the network.
    response_ms: f64,
}

impl Node {
    pub(super) fn run(&mut self, offered: &Offered) -> Answer {
        let wanted = self.wanted(offered);
        let costs = self.costs();
        let upkeep = self.upkeep(wanted.updates + wanted.inserts);
        self.machine(&wanted, &costs, &upkeep);
        let times = self.times(&wanted, &costs);
        let answer = self.serve(offered, &wanted, &times, &costs, upkeep.wal_bytes);
        self.sessions(offered);
        self.network(answer.done + self.work.reports);
        self.count(answer.done, &costs, &upkeep);
        self.receive(offered);
        self.complain();
        answer
    }

    fn wanted(&mut self, offered: &Offered) -> Wanted {
        let more = self.stress.batch * self.plan.per_second + self.stress.writes;
        let batch = self.random.poisson(more);
        let transactions = offered.transactions + self.memory.late;
        let (updates, inserts) = match self.kind {
            Kind::Primary => (transactions * UPDATES + batch, transactions * INSERTS),
            Kind::Replica | Kind::Router => (0.0, 0.0),
        };
        Wanted {
            transactions,
            lookups: (transactions + batch - updates - inserts).max(0.0),
            updates,
            inserts,
            reports: offered.reports + self.memory.late_reports,
            logins: self
                .random
                .poisson(0.5 + self.stress.reconnects * self.now.sessions)
                + self.stress.logins,
        }
    }

    fn costs(&self) -> Costs {
        let (stress, plan) = (&self.stress, &self.plan);
        let swell = 1.0 / (1.0 - self.memory.bloat).max(0.05);
        let misses = PAGES * swell * (1.0 - plan.cache_hit * (1.0 - stress.cache_loss));
        // What the database's cache lacks the operating system's mostly has, unless somebody else needs its memory.
        let is_short = (stress.memory_taken - 0.6).clamp(0.0, 0.5) * 2.0;
        let from_device = 0.05 + 0.6 * stress.cache_loss + 0.3 * is_short + 0.3 * self.memory.bloat;
        let is_router = self.kind == Kind::Router;
        let base = if is_router { ROUTED_CPU_MS } else { 0.0 };
        let trip =
            plan.machine.rtt_ms + stress.rtt_ms + stress.loss * 2.0 * RTO_MS + self.queue_ms();
        Costs {
            lookup_cpu: base.max(LOOKUP_CPU_MS) + self.scan_ms(),
            update_cpu: base.max(UPDATE_CPU_MS),
            report_cpu: REPORT_CPU_MS + BAD_PLAN_ROWS * ROW_MS * stress.bad_plan,
            pages: PAGES * swell + stress.seq_scans * 0.6 * plan.rows / 60.0,
            misses,
            reads: if is_router {
                0.0
            } else {
                misses * from_device.min(1.0) + 4.0 * is_short * is_short
            },
            net_ms: TRIPS * trip,
        }
    }

    /// Processor time of a look-up that reads the whole table, on average over all look-ups.
    fn scan_ms(&self) -> f64 {
        let swell = 1.0 / (1.0 - self.memory.bloat).max(0.05);
        self.stress.seq_scans * self.plan.rows * ROW_MS * swell
    }

    /// Delay of a segment where others take the bandwidth: what does not fit at once waits in the device's buffer.
    pub(super) fn queue_ms(&self) -> f64 {
        let taken = self.stress.bandwidth_loss;
        if taken <= 0.0 {
            return 0.0;
        }
        let usual = TRAFFIC_BYTES * (self.plan.per_second + self.plan.reports);
        let left = left_of(self.plan.machine.net_bytes, usual, 0.6, taken);
        let rho = (usual / left).min(0.97);
        (20.0 * rho * rho / (1.0 - rho)).min(BUFFER_MS)
    }

    /// How processor and disk fare.
    fn machine(&mut self, wanted: &Wanted, costs: &Costs, upkeep: &Upkeep) {
        let stress = &self.stress;
        let cpu_ms = wanted.lookups * costs.lookup_cpu
            + (wanted.updates + wanted.inserts) * costs.update_cpu
            + wanted.reports * costs.report_cpu
            + wanted.logins * LOGIN_CPU_MS;
        let noise = (1.0 + 0.1 * self.random.normal()).max(0.5);
        let demand = cpu_ms * noise / 1e3 + upkeep.cores + stress.runaway;
        let runnable = self.now.active.max(1.0) + stress.runaway;
        let spec = &self.plan.machine;
        self.cpu = Cpu::of(spec, demand, runnable, stress);
        let sorting = stress.runaway.min(self.cpu.available) * SORT_BYTES;
        // Commits that come together share a write of the log.
        let commits = (wanted.updates + wanted.inserts).min(1e3 / spec.write_ms);
        let reads = (wanted.transactions + wanted.reports) * costs.reads + upkeep.reads;
        let load = DiskLoad {
            reads,
            writes: commits + upkeep.writes + sorting / 1e5,
            read_bytes: reads * 8192.0,
            write_bytes: upkeep.wal_bytes * 1.2 + upkeep.writes * 8192.0 + sorting,
        };
        self.disk = Disk::of(spec, &load, stress);
        self.work = Work {
            logins: wanted.logins,
            temp_bytes: sorting,
            ..Work::default()
        };
        self.storage_totals(&load);
    }

    fn times(&mut self, wanted: &Wanted, costs: &Costs) -> Times {
        let (stress, stretch) = (&self.stress, self.cpu.stretch);
        let io_ms = costs.reads * self.disk.read_ms;
        let held = HOT_ROW_MS * stress.hot_row;
        let hold_ms = UPDATE_EXEC_MS * stretch + io_ms + self.disk.write_ms + held;
        let sessions = f64::from(self.plan.pool);
        let queue = hot_queue(wanted.updates * stress.hot_row, hold_ms, sessions);
        let bad = BAD_PLAN_ROWS * ROW_MS * stress.bad_plan;
        self.work.lookup_ms = (LOOKUP_EXEC_MS + self.scan_ms()) * stretch + io_ms;
        self.work.update_ms = UPDATE_EXEC_MS * stretch + io_ms + queue * hold_ms;
        self.work.report_ms = (REPORT_EXEC_MS + bad) * stretch + io_ms;
        self.work.queue = queue;
        let update_ms = self.work.update_ms + self.disk.write_ms + held;
        let all_ms =
            wanted.lookups * self.work.lookup_ms + (wanted.updates + wanted.inserts) * update_ms;
        let overhead = (LOOKUP_CPU_MS - LOOKUP_EXEC_MS) * stretch;
        let held_ms =
            all_ms / (wanted.lookups + wanted.updates + wanted.inserts).max(1e-9) + overhead;
        Times {
            held_ms,
            response_ms: held_ms + costs.net_ms,
        }
    }

    /// What is done of what is wanted, and what that leaves waiting.
    fn serve(
        &mut self,
        offered: &Offered,
        wanted: &Wanted,
        times: &Times,
        costs: &Costs,
        wal_bytes: f64,
    ) -> Answer {
        let pool = f64::from(self.plan.pool);
        let by_cpu = 1.0 / self.cpu.busy.max(1e-9);
        let needs_disk = (UPDATES + costs.reads).min(1.0);
        let by_disk = 1.0 - (1.0 - self.disk.served) * needs_disk;
        let free = (pool - self.memory.blocked).max(0.0);
        let by_pool = free / (wanted.transactions * times.response_ms / 1e3).max(1e-9);
        let served = by_cpu.min(by_disk).min(by_pool).clamp(0.0, 1.0);
        let report_ms = self.work.report_ms + (REPORT_CPU_MS - REPORT_EXEC_MS) * self.cpu.stretch;
        let busy_reports = wanted.reports * report_ms / 1e3;
        let report_pool = f64::from(self.plan.report_pool);
        let served_reports = by_cpu.min(report_pool / busy_reports.max(1e-9)).min(1.0);
        let newly_blocked = self.block(wanted.updates * served);
        let work = &mut self.work;
        work.lookups = wanted.lookups * served;
        work.updates = (wanted.updates * served - newly_blocked).max(0.0);
        work.inserts = wanted.inserts * served;
        work.reports = wanted.reports * served_reports;
        let memory = &mut self.memory;
        memory.late = (wanted.transactions * (1.0 - served)).min(offered.transactions * PATIENCE_S);
        memory.late_reports = (wanted.reports - work.reports).min(offered.reports * PATIENCE_S);
        let done = (wanted.transactions * served - newly_blocked).max(0.0);
        // Who is late waits with all the sessions there are.
        let is_late = memory.late > 0.5;
        let held = done * times.response_ms / 1e3;
        let held = if is_late { free } else { held.min(free) };
        work.active = held * times.held_ms / times.response_ms.max(1e-9);
        work.active_reports = busy_reports.min(report_pool);
        Answer {
            done,
            held: held + memory.blocked,
            response_ms: times.response_ms,
            wal_bytes,
        }
    }

    /// Updates that meet a held lock take a session each and keep it; returns how many did in this second.
    fn block(&mut self, updates: f64) -> f64 {
        let hold = self.stress.lock_hold;
        let memory = &mut self.memory;
        if hold <= 0.0 {
            memory.blocked = 0.0;
            memory.hold_s = 0.0;
            return 0.0;
        }
        memory.hold_s += 1.0;
        let room = (f64::from(self.plan.pool) - memory.blocked)
            .max(0.0)
            .floor();
        let new = self.random.poisson(updates * hold * HOT).min(room);
        memory.blocked += new;
        new
    }
}

/// Transactions that queue for one row: arrivals a second, milliseconds each holds it, sessions there are.
fn hot_queue(per_second: f64, hold_ms: f64, sessions: f64) -> f64 {
    let rho = (per_second * hold_ms / 1e3).min(0.95);
    (rho * rho / (1.0 - rho)).min((sessions - 1.0).max(0.0))
}
