//! A node's state as the readings of the agent's sources: the same keys, units and paces. (step 1)
//!
//! In: a [`Node`] after its second. Out: [`Reading`]s. What an unreachable database cannot say is not said; what its
//! operating system says goes on.

use hsw_types::Reading;

use crate::keys::{Keys, Series};
use crate::node::{Kind, Node, Reach};

/// Statistics that the agent asks for every other second, and every tenth.
const OTHER: u32 = 2;
const TENTH: u32 = 10;
/// A hang is told from one and a half seconds on.
const LATE_S: u32 = 2;

/// Readings under way.
pub(crate) struct Out<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) readings: Vec<Reading>,
    pub(crate) epoch: u64,
}

impl Out<'_> {
    fn gauge(&mut self, series: Series, value: f64) {
        let key = self.keys.of(series);
        self.readings.push(Reading::gauge(key, value));
    }

    fn counter(&mut self, series: Series, total: f64) {
        let key = self.keys.of(series);
        self.readings.push(Reading::counter(key, total, self.epoch));
    }
}

/// What a node remembers for its gauges of differences.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    calls: f64,
    exec_ms: f64,
    life: u64,
    load1: f64,
    busy: f64,
    reads: f64,
    writes: f64,
    throttled: f64,
}

/// Everything a second of a node tells; `at` counts seconds, so that nodes can be out of step.
pub(crate) fn observe(node: &mut Node, before: &mut Before, at: u32, out: &mut Out<'_>) {
    out.epoch = 1;
    host(node, before, out);
    instance(node, out);
    if at.is_multiple_of(OTHER) {
        sockets(node, out);
    }
    out.epoch = node.life;
    match node.reach {
        Reach::Up => {
            database(node, out);
            if at.is_multiple_of(OTHER) {
                occasional(node, before, out);
            }
            if at.is_multiple_of(TENTH) {
                seldom(node, out);
            }
        }
        Reach::Silent(since) if since >= LATE_S => {
            out.gauge(Series::Up, 0.0);
            out.gauge(Series::Probe, f64::from(since) * 1e3);
        }
        Reach::Down => out.gauge(Series::Up, 0.0),
        Reach::Silent(_) | Reach::Gone => {}
    }
}

fn host(node: &mut Node, before: &mut Before, out: &mut Out<'_>) {
    let hum = node.random.unit();
    let (spec, cpu, disk) = (&node.plan.machine, &node.cpu, &node.disk);
    let cores = if spec.has_quota {
        spec.cores.max(2.0)
    } else {
        spec.cores
    };
    let used = (cpu.busy.min(1.0) * cpu.available + cpu.foreign + 0.03 + 0.03 * hum) / cores;
    let steal = node.stress.cpu_steal;
    out.gauge(Series::HostBusy, used.min(1.0 - steal) + steal);
    let iowait = node.totals.iowait;
    out.gauge(
        Series::HostIowait,
        ((iowait - before.busy) / cores).clamp(0.0, 1.0),
    );
    before.busy = iowait;
    out.gauge(Series::HostSteal, steal);
    let runnable = node.now.active + node.stress.cpu_hogs + disk.in_flight.min(8.0);
    before.load1 += (runnable.min(60.0) - before.load1) / 60.0;
    out.gauge(Series::HostLoad, before.load1);
    let totals = &node.totals;
    out.gauge(Series::HostMemory, node.now.memory_available - 0.004 * hum);
    out.gauge(
        Series::HostFiles,
        1_800.0 + 12.0 * node.now.sessions + (20.0 * hum).round(),
    );
    out.counter(Series::HostCpuSome, totals.pressure_cpu);
    out.counter(Series::HostIoSome, totals.pressure_io);
    out.counter(Series::HostIoFull, 0.5 * totals.pressure_io);
    out.counter(Series::HostMemorySome, totals.pressure_memory);
    out.counter(Series::HostMemoryFull, 0.7 * totals.pressure_memory);
    out.counter(Series::HostSwapIn, totals.swap_in.round());
    out.counter(Series::HostSwapOut, totals.swap_out.round());
    let swapped = 4_096.0 * (totals.swap_out - totals.swap_in).max(0.0);
    out.gauge(Series::HostSwapUsed, swapped.min(4e9).round());
    out.counter(Series::HostResets, 0.0);
    out.counter(Series::HostRetransmits, totals.retransmits);
    out.gauge(Series::AgentCpu, 0.002 + 0.002 * hum);
    out.gauge(Series::AgentRss, 1.3e7);
    out.gauge(Series::FsUsed, node.now.fs_used);
    out.gauge(
        Series::FsFree,
        ((1.0 - node.now.fs_used) * spec.fs_bytes).round(),
    );
    out.gauge(Series::FsInodes, 0.03);
    device(node, before, out);
    out.counter(Series::NetDrops, 0.0);
    out.counter(Series::NetErrors, 0.0);
    let totals = &node.totals;
    out.counter(Series::NetRx, (1.3 * totals.rx_bytes).round());
    out.counter(Series::NetTx, (1.3 * totals.tx_bytes).round());
}

fn device(node: &mut Node, before: &mut Before, out: &mut Out<'_>) {
    let jitter = 0.7 + 0.6 * node.random.unit();
    let (disk, totals) = (&node.disk, &node.totals);
    out.gauge(Series::DiskInFlight, (disk.in_flight * jitter).round());
    out.counter(Series::DiskReadBytes, totals.read_bytes.round());
    out.counter(Series::DiskWriteBytes, totals.write_bytes.round());
    out.counter(Series::DiskReads, totals.reads.round());
    out.counter(Series::DiskWrites, totals.writes.round());
    out.gauge(Series::DiskBusy, (disk.utilisation * jitter).min(1.0));
    // The kernel knows a latency only of requests that were completed.
    if totals.reads.round() > before.reads {
        out.gauge(Series::DiskReadMs, disk.read_ms * jitter);
    }
    if totals.writes.round() > before.writes {
        out.gauge(Series::DiskWriteMs, disk.write_ms * jitter);
    }
    before.reads = totals.reads.round();
    before.writes = totals.writes.round();
    let periods = (totals.throttled_periods - before.throttled) / 10.0;
    before.throttled = totals.throttled_periods;
    // Without a quota no period passes, and the agent says that nothing was throttled.
    out.gauge(Series::GroupThrottled, (10.0 * periods).round() / 10.0);
    out.counter(Series::GroupThrottledS, totals.throttled_s);
}

fn instance(node: &Node, out: &mut Out<'_>) {
    let (totals, now, stress) = (&node.totals, &node.now, &node.stress);
    let is_there = !matches!(node.reach, Reach::Down);
    let processes = now.sessions + 7.0;
    out.counter(Series::GroupCpu, totals.cpu_s + totals.foreign_cpu_s);
    out.counter(Series::GroupForeign, totals.foreign_cpu_s);
    out.gauge(
        Series::GroupFrozen,
        f64::from(u8::from(stress.frozen > 0.0)),
    );
    out.counter(Series::GroupRead, totals.own_read_bytes.round());
    out.counter(Series::GroupWrite, totals.write_bytes.round());
    let rss = 6e7 + 2.6e6 * now.sessions;
    out.gauge(Series::GroupMemory, 1.4 * rss);
    out.counter(Series::GroupFails, totals.memory_fails);
    out.counter(Series::GroupOom, 0.0);
    if !is_there {
        out.gauge(Series::InstanceProcesses, 0.0);
        return;
    }
    out.counter(Series::InstanceCpu, (100.0 * totals.cpu_s).round() / 100.0);
    out.gauge(Series::InstanceRss, rss);
    out.gauge(Series::InstanceProcesses, processes);
    out.gauge(
        Series::InstanceStopped,
        if stress.stopped > 0.0 { processes } else { 0.0 },
    );
    out.gauge(Series::InstanceBlocked, now.waiting_io.round());
    out.counter(Series::InstanceRead, totals.own_read_bytes.round());
    out.counter(Series::InstanceWrite, totals.own_write_bytes.round());
    out.counter(Series::InstanceFaults, totals.major_faults.round());
    out.gauge(Series::InstanceFiles, 110.0 + 12.0 * now.sessions);
}

fn sockets(node: &mut Node, out: &mut Out<'_>) {
    if matches!(node.reach, Reach::Down) {
        return;
    }
    let spread = 1.3 + 0.9 * node.random.unit();
    let (totals, now) = (&node.totals, &node.now);
    out.gauge(Series::Connections, now.sessions + 1.0);
    out.gauge(Series::ListenQueue, now.listen_queue);
    out.counter(Series::Retransmits, totals.retransmits);
    out.gauge(Series::RttMedian, now.rtt_ms);
    out.gauge(Series::RttMax, now.rtt_ms * spread);
    out.counter(Series::Rx, totals.rx_bytes.round());
    out.counter(Series::Tx, totals.tx_bytes.round());
}

fn database(node: &Node, out: &mut Out<'_>) {
    let (totals, now) = (&node.totals, &node.now);
    out.gauge(Series::Up, 1.0);
    out.gauge(Series::Probe, now.probe_ms);
    out.gauge(Series::Sessions, now.sessions.floor());
    out.gauge(Series::Active, now.active);
    out.gauge(Series::IdleInTransaction, now.idle_in_transaction.floor());
    out.gauge(Series::TransactionAge, now.transaction_age_s);
    out.gauge(Series::QueryAge, now.query_age_s);
    out.gauge(
        Series::ConnectionsRatio,
        now.sessions.floor() / node.plan.max_connections,
    );
    out.gauge(Series::LockWaiters, now.waiting_lock);
    out.gauge(
        Series::Waiting,
        now.waiting_lock + now.waiting_io + now.waiting_remote,
    );
    out.gauge(Series::WaitingLock, now.waiting_lock);
    out.gauge(Series::WaitingIo, now.waiting_io);
    if node.kind == Kind::Router {
        out.gauge(Series::WaitingRemote, now.waiting_remote);
    }
    out.gauge(Series::BlockedSessions, now.blocked);
    out.counter(Series::WalBytes, totals.wal_bytes.round());
    out.counter(Series::Commits, totals.commits);
    out.counter(Series::Rollbacks, totals.rollbacks);
    out.counter(Series::BlocksRead, totals.blocks_read.round());
    out.counter(Series::BlocksHit, totals.blocks_hit.round());
    out.counter(Series::Returned, totals.returned.round());
    out.counter(Series::Fetched, totals.fetched.round());
    out.counter(Series::Inserted, totals.inserted);
    out.counter(Series::Updated, totals.updated);
    out.counter(Series::Deleted, 0.0);
    out.counter(Series::Conflicts, 0.0);
    out.counter(Series::TempBytes, totals.temp_bytes.round());
    out.counter(Series::Deadlocks, totals.deadlocks);
    out.counter(Series::BlockReadMs, totals.block_read_ms);
    out.counter(Series::BlockWriteMs, 0.0);
    out.counter(
        Series::AgentQuery,
        totals.pressure_cpu.mul_add(2.0, totals.cpu_s),
    );
}

fn occasional(node: &Node, before: &mut Before, out: &mut Out<'_>) {
    let (totals, now) = (&node.totals, &node.now);
    out.counter(Series::CheckpointsTimed, totals.checkpoints_timed);
    out.counter(Series::CheckpointsRequested, totals.checkpoints_requested);
    out.counter(Series::CheckpointMs, totals.checkpoint_ms);
    out.counter(Series::CheckpointBuffers, totals.checkpoint_buffers.round());
    out.counter(Series::BackendBuffers, totals.backend_buffers);
    out.counter(Series::Calls, totals.calls.round());
    out.counter(Series::ExecMs, totals.exec_ms);
    let (calls, ms) = (totals.calls - before.calls, totals.exec_ms - before.exec_ms);
    if before.life == node.life && calls >= 1.0 {
        out.gauge(Series::MeanMs, ms / calls);
    }
    (before.calls, before.exec_ms, before.life) = (totals.calls, totals.exec_ms, node.life);
    out.counter(Series::SeqScans, totals.seq_scans.round());
    out.counter(Series::SeqTuples, totals.seq_tuples.round());
    out.counter(Series::IndexScans, totals.index_scans.round());
    out.counter(Series::TableTuples, totals.seq_tuples.round());
    out.gauge(Series::DeadTuples, now.dead_tuples.round());
    if node.kind == Kind::Primary {
        out.gauge(Series::VacuumOverdue, now.vacuum_overdue);
    }
    out.gauge(Series::Replicas, now.replicas);
    if node.kind == Kind::Replica || now.replicas > 0.0 || now.lag_bytes > 0.0 {
        out.gauge(Series::LagBytes, now.lag_bytes);
        out.gauge(Series::LagS, now.lag_s);
    }
}

fn seldom(node: &Node, out: &mut Out<'_>) {
    let (totals, now) = (&node.totals, &node.now);
    out.gauge(Series::XidAge, totals.updated.round());
    out.gauge(Series::XminAge, now.xmin_age.round());
    out.counter(Series::ArchiveFailures, totals.archive_failures);
    if now.retained_bytes > 0.0 {
        out.gauge(Series::Retained, now.retained_bytes);
    }
}
