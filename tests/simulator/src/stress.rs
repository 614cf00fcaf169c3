//! What acts on a node in one second, as changed parameters of the physics: faults, and what is harmless.
//!
//! A fault changes causes only (a slower disk, a held lock); what follows from it is the business of `node`.

/// The parameters that can be changed; the default changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stress {
    /// Times the usual transactions of all tenants.
    pub(crate) load: f64,
    /// Times the usual transactions of the largest tenant here.
    pub(crate) tenant_load: f64,
    /// How far a tenant has got with what the processor could do, 0 to 1: a third is all that is spare.
    pub(crate) flood: f64,
    /// Times the usual reports.
    pub(crate) reports: f64,
    /// Updates per second of a batch job, as a share of the usual transactions.
    pub(crate) batch: f64,
    /// Updates per second of a batch job, beside that.
    pub(crate) writes: f64,
    /// Busy threads of foreign processes.
    pub(crate) cpu_hogs: f64,
    /// What is left of the processor.
    pub(crate) cpu_quota: f64,
    /// How far the quota has been cut, 0 to 1; see [`left_of`](crate::machine::left_of): the tighter of the two holds.
    pub(crate) cpu_cut: f64,
    /// Share of the processor the hypervisor takes.
    pub(crate) cpu_steal: f64,
    /// Times the device's service time.
    pub(crate) disk_latency: f64,
    /// Foreign direct writes, as a share of the device's bandwidth.
    pub(crate) foreign_writes: f64,
    /// Sequential reads of a backup, as a share of the device's bandwidth.
    pub(crate) backup_reads: f64,
    /// Share of the second in which the device hangs.
    pub(crate) io_stall: f64,
    /// Share of the file system that fills up, per second.
    pub(crate) fill: f64,
    /// Share of the buffer cache's hits that are lost.
    pub(crate) cache_loss: f64,
    /// Share of the host's memory that others take.
    pub(crate) memory_taken: f64,
    /// Share of hot updates that meet a held lock.
    pub(crate) lock_hold: f64,
    /// Further clients that queue for the same rows.
    pub(crate) lock_waiters: f64,
    /// Share of updates that go to one row.
    pub(crate) hot_row: f64,
    /// Deadlocks per second.
    pub(crate) deadlocks: f64,
    /// Sessions idle inside a transaction.
    pub(crate) idle_transactions: f64,
    /// Share of look-ups that read the whole table.
    pub(crate) seq_scans: f64,
    /// Share of reports with a plan that reads far too much.
    pub(crate) bad_plan: f64,
    /// Runaway sorts.
    pub(crate) runaway: f64,
    /// Logins per second beyond the usual.
    pub(crate) logins: f64,
    /// Sessions per second that are never given back.
    pub(crate) leak: f64,
    /// Requested checkpoints per second.
    pub(crate) checkpoints: f64,
    /// Share of WAL segments whose archiving fails.
    pub(crate) archive_failing: f64,
    /// The replica receives nothing.
    pub(crate) replication_broken: f64,
    /// How far the replica's replay is slowed down, 0 to 1; see [`left_of`](crate::machine::left_of).
    pub(crate) replay_loss: f64,
    /// Milliseconds added to each round trip.
    pub(crate) rtt_ms: f64,
    /// Share of segments lost.
    pub(crate) loss: f64,
    /// How far others have got with the network's bandwidth, 0 to 1; likewise.
    pub(crate) bandwidth_loss: f64,
    /// Every process is stopped (state T).
    pub(crate) stopped: f64,
    /// The control group is frozen.
    pub(crate) frozen: f64,
    /// The database is gone.
    pub(crate) down: f64,
    /// The host is gone, agent and all.
    pub(crate) gone: f64,
    /// Share of transactions that fail by a statement that cannot be.
    pub(crate) errors: f64,
    /// Share of the tables, with their share of the changes, that autovacuum is off for.
    pub(crate) vacuum_off: f64,
    /// A vacuum or analyze is asked for.
    pub(crate) vacuum_now: f64,
    /// Share of sessions that reconnect in this second.
    pub(crate) reconnects: f64,
    /// Sessions of a client that is new here.
    pub(crate) newcomer: f64,
}

impl Default for Stress {
    fn default() -> Self {
        Self {
            load: 1.0,
            tenant_load: 1.0,
            flood: 0.0,
            reports: 1.0,
            batch: 0.0,
            writes: 0.0,
            cpu_hogs: 0.0,
            cpu_quota: 1.0,
            cpu_cut: 0.0,
            cpu_steal: 0.0,
            disk_latency: 1.0,
            foreign_writes: 0.0,
            backup_reads: 0.0,
            io_stall: 0.0,
            fill: 0.0,
            cache_loss: 0.0,
            memory_taken: 0.0,
            lock_hold: 0.0,
            lock_waiters: 0.0,
            hot_row: 0.0,
            deadlocks: 0.0,
            idle_transactions: 0.0,
            seq_scans: 0.0,
            bad_plan: 0.0,
            runaway: 0.0,
            logins: 0.0,
            leak: 0.0,
            checkpoints: 0.0,
            archive_failing: 0.0,
            replication_broken: 0.0,
            replay_loss: 0.0,
            rtt_ms: 0.0,
            loss: 0.0,
            bandwidth_loss: 0.0,
            stopped: 0.0,
            frozen: 0.0,
            down: 0.0,
            gone: 0.0,
            errors: 0.0,
            vacuum_off: 0.0,
            vacuum_now: 0.0,
            reconnects: 0.0,
            newcomer: 0.0,
        }
    }
}
