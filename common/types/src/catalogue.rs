//! The catalogue of metrics: unit, family, which way is bad, how much it says alone. (steps 1, 8, 10, 15)
//!
//! One table that the agent's sources, the detectors, the API and the page read, so that a name means one thing.
//! A metric that is not in it is stored and shown, and judged as [`Tier::Context`].
//! Floors are changes an operator would not call a change, from the unit's meaning; none was fitted to data.

/// What the number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number of things.
    Count,
    /// Things per second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Milliseconds spent per second.
    MillisecondsPerSecond,
    /// Seconds.
    Seconds,
    /// 0 to 1.
    Ratio,
    /// CPU cores in use.
    Cores,
}

/// Evidence of one family counts once: ten I/O series are not ten witnesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// How long things take.
    Latency,
    /// How much gets done.
    Throughput,
    /// Who waits for whom.
    Locks,
    /// Sessions and connection limits.
    Connections,
    /// Errors and refused work.
    Errors,
    /// Processor.
    Cpu,
    /// Memory.
    Memory,
    /// Storage.
    Storage,
    /// Network.
    Network,
    /// Checkpoints, WAL, vacuum, archive.
    Maintenance,
    /// Plans and access paths.
    Access,
    /// Replication.
    Replication,
    /// Is it there at all.
    Liveness,
}

/// Which way is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// More is worse.
    High,
    /// Less is worse.
    Low,
    /// Either way, or neither.
    Either,
}

/// How much a deviation says when nothing else deviates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Shown and used as evidence, never judged.
    Context,
    /// Supports an incident that something else opened.
    Activity,
    /// Users feel it; can open an incident, points at a victim as well as at a culprit.
    Symptom,
    /// Something on this very node is wrong or at its limit; can open an incident and points at the culprit.
    Cause,
}

/// One row of the [catalogue](CATALOGUE).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricSpec {
    /// Dotted name.
    pub name: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Family.
    pub family: Family,
    /// Which way is bad.
    pub bad: Bad,
    /// What it says alone.
    pub tier: Tier,
    /// It counts time lost at something that is at its limit: somebody waits at this very node, as others of their tier do not say. A backup
    /// reads a lot, and nobody waits for it. The kernel's pressure of disk and processor is no such wait: it tells that anybody waited,
    /// however shortly, and a planned checkpoint is enough for that.
    pub is_wait: bool,
    /// A change smaller than this, in the unit, is no change.
    pub floor: f64,
    /// Below this value it is no finding, however unusual: a limit is felt only near it. 0 where there is no such value.
    pub matters_from: f64,
    /// What an operator calls it.
    pub about: &'static str,
}

/// The row of `name`, by binary search: O(log n).
#[must_use]
pub fn metric_spec(name: &str) -> Option<&'static MetricSpec> {
    CATALOGUE
        .binary_search_by(|spec| spec.name.cmp(name))
        .ok()
        .map(|at| &CATALOGUE[at])
}

macro_rules! is_wait {
    () => {
        false
    };
    (Wait) => {
        true
    };
}

macro_rules! catalogue {
    ($($name:literal $unit:ident $family:ident $bad:ident $tier:ident $(+ $wait:ident)? $floor:literal $(from $from:literal)? $about:literal)*) => {
        /// Every known metric, ascending by name.
        pub static CATALOGUE: &[MetricSpec] = &[$(MetricSpec {
            name: $name, unit: Unit::$unit, family: Family::$family, bad: Bad::$bad, tier: Tier::$tier, is_wait: is_wait!($($wait)?),
            floor: $floor, matters_from: 0.0 $(+ $from)?, about: $about,
        }),*];
    };
}

catalogue! {
    "agent.cpu_cores" Cores Cpu High Context 0.05 "CPU used by the agent itself"
    "agent.rss_bytes" Bytes Memory High Context 1e7 "memory of the agent itself"
    "agent.spool_bytes" Bytes Storage High Context 1e6 "bytes waiting in the agent's spool"
    "cgroup.cpu_cores" Cores Cpu High Activity 0.15 "CPU used by the node's cgroup"
    "cgroup.foreign_cpu_cores" Cores Cpu High Cause 0.2 "CPU used in the node's cgroup by processes that are not the database"
    "cgroup.frozen" Count Liveness High Cause 0.5 "the node's cgroup is frozen"
    "cgroup.io_read_bytes" BytesPerSecond Storage High Activity 1e6 "bytes the node's cgroup read"
    "cgroup.io_write_bytes" BytesPerSecond Storage High Activity 2e6 "bytes the node's cgroup wrote"
    "cgroup.memory_bytes" Bytes Memory High Context 3e7 "memory charged to the node's cgroup"
    "cgroup.memory_failcnt" PerSecond Memory High Activity 5.0 "times the node's cgroup hit its memory limit"
    "cgroup.memory_limit_ratio" Ratio Memory High Activity 0.05 from 0.9 "memory of the node's cgroup against its limit"
    "cgroup.oom_kills" PerSecond Memory High Cause 0.2 "processes of the node's cgroup killed for memory"
    "cgroup.pressure_cpu" Ratio Cpu High Activity 0.1 "share of time tasks of the node's cgroup waited for CPU"
    "cgroup.pressure_io" Ratio Storage High Activity 0.1 "share of time tasks of the node's cgroup waited for I/O"
    "cgroup.pressure_memory" Ratio Memory High Activity+Wait 0.05 "share of time tasks of the node's cgroup waited for memory"
    "cgroup.throttled_ratio" Ratio Cpu High Cause 0.15 "share of CPU periods in which the node's cgroup was throttled"
    "cgroup.throttled_seconds" PerSecond Cpu High Activity+Wait 0.1 "seconds per second the node's cgroup was throttled"
    "data_fs.free_bytes" Bytes Storage Low Context 1e7 "file system of the data, bytes free"
    "data_fs.inodes_used_ratio" Ratio Storage High Activity 0.03 from 0.85 "file system of the data, inodes used"
    "data_fs.used_ratio" Ratio Storage High Activity 0.03 from 0.85 "file system of the data, space used"
    "disk.in_flight" Count Storage High Activity+Wait 4.0 "requests in the device's queue"
    "disk.read_bytes" BytesPerSecond Storage High Activity 1e6 "bytes read from the device"
    "disk.read_latency_ms" Milliseconds Storage High Activity+Wait 2.0 "time per read"
    "disk.reads" PerSecond Storage High Activity 50.0 "reads completed by the device"
    "disk.utilisation" Ratio Storage High Activity 0.15 "share of time the device was busy"
    "disk.write_bytes" BytesPerSecond Storage High Activity 2e6 "bytes written to the device"
    "disk.write_latency_ms" Milliseconds Storage High Activity+Wait 3.0 "time per write"
    "disk.writes" PerSecond Storage High Activity 100.0 "writes completed by the device"
    "edge.active" Count Latency High Context 2.0 "active sessions on an interaction"
    "edge.lag_bytes" Bytes Replication High Context 1.6e7 "bytes the peer is behind"
    "edge.refused_logins" PerSecond Access High Context 1.0 "logins refused, by client and role"
    "edge.rtt_ms" Milliseconds Network High Context 2.0 "round trip of an interaction's sockets"
    "edge.rx_bytes" BytesPerSecond Network High Context 2e5 "bytes received on an interaction"
    "edge.sessions" Count Connections Either Context 5.0 "sessions on an interaction"
    "edge.tx_bytes" BytesPerSecond Network High Context 2e5 "bytes sent on an interaction"
    "host.cpu_busy_ratio" Ratio Cpu High Activity 0.15 "host CPU busy"
    "host.cpu_iowait_ratio" Ratio Storage High Activity 0.1 "host CPU waiting for I/O"
    "host.cpu_steal_ratio" Ratio Cpu High Activity+Wait 0.05 "host CPU taken by the hypervisor"
    "host.load1" Count Cpu High Context 2.0 "load average over a minute"
    "host.memory_available_ratio" Ratio Memory Low Activity 0.05 "host memory still available"
    "host.open_files" Count Connections High Context 500.0 "open files of the host"
    "host.pressure_cpu_some" Ratio Cpu High Activity 0.15 "share of time some task waited for CPU"
    "host.pressure_io_full" Ratio Storage High Activity 0.1 "share of time all tasks waited for I/O"
    "host.pressure_io_some" Ratio Storage High Activity 0.15 "share of time some task waited for I/O"
    "host.pressure_memory_full" Ratio Memory High Activity+Wait 0.05 "share of time all tasks waited for memory"
    "host.pressure_memory_some" Ratio Memory High Activity+Wait 0.05 "share of time some task waited for memory"
    "host.swap_in" PerSecond Memory High Activity+Wait 50.0 "pages swapped in"
    "host.swap_out" PerSecond Memory High Activity 50.0 "pages swapped out"
    "host.swap_used_bytes" Bytes Memory High Context 3e7 "swap in use"
    "host.tcp_resets" PerSecond Network High Activity 5.0 "TCP connections the host reset"
    "host.tcp_retransmits" PerSecond Network High Activity 5.0 "TCP segments the host sent again"
    "instance.blocked_processes" Count Storage High Activity+Wait 2.0 "database processes in uninterruptible sleep (state D)"
    "instance.cpu_cores" Cores Cpu High Activity 0.1 "CPU used by the database's processes"
    "instance.major_faults" PerSecond Memory High Activity 10.0 "page faults of the database that needed storage"
    "instance.open_files" Count Connections High Context 50.0 "files the database's processes hold open"
    "instance.processes" Count Connections High Activity 5.0 "processes of the database"
    "instance.read_bytes" BytesPerSecond Storage High Activity 1e6 "bytes the database read from storage"
    "instance.rss_bytes" Bytes Memory High Context 3e7 "memory of the database's processes"
    "instance.stopped_processes" Count Liveness High Cause 1.0 "database processes that are stopped (state T)"
    "instance.write_bytes" BytesPerSecond Storage High Activity 2e6 "bytes the database wrote to storage"
    "log.duration_ms" Milliseconds Latency High Activity 20.0 "durations of logged statements"
    "log.error_code" PerSecond Errors High Activity 1.0 "errors, by SQLSTATE"
    "log.errors" PerSecond Errors High Symptom 1.0 "log lines of severity ERROR and above"
    "log.lag_bytes" Bytes Errors High Context 1e6 "log bytes not read yet"
    "log.lines" PerSecond Errors High Context 20.0 "log lines, by severity"
    "log.lock_waits" PerSecond Locks High Cause 0.4 "statements logged as waiting for a lock"
    "log.refused_connections" PerSecond Connections High Cause 0.5 "logins refused (too many connections, shutting down, starting up)"
    "log.requested_checkpoints" PerSecond Maintenance High Cause 0.1 "checkpoints requested, by the log"
    "log.slow_statements" PerSecond Latency High Activity 2.0 "statements logged for their duration"
    "log.template" PerSecond Errors High Context 5.0 "log lines of one template"
    "net.drops" PerSecond Network High Activity 2.0 "packets dropped"
    "net.errors" PerSecond Network High Activity 1.0 "network errors"
    "net.rx_bytes" BytesPerSecond Network High Activity 5e5 "bytes received"
    "net.tx_bytes" BytesPerSecond Network High Activity 5e5 "bytes sent"
    "pg.agent_query_ms" MillisecondsPerSecond Latency High Context 5.0 "time the database spent on the agent's queries"
    "pg.backend_buffers" PerSecond Maintenance High Activity 100.0 "buffers written by sessions themselves"
    "pg.block_read_ms" MillisecondsPerSecond Storage High Activity+Wait 20.0 "time spent reading blocks"
    "pg.block_write_ms" MillisecondsPerSecond Storage High Activity+Wait 20.0 "time spent writing blocks"
    "pg.blocked_sessions" Count Locks High Activity 1.0 "sessions blocked by another session"
    "pg.blocks_hit" PerSecond Access High Activity 2e3 "blocks found in the buffer cache"
    "pg.blocks_read" PerSecond Storage High Activity 100.0 "blocks read from outside the buffer cache"
    "pg.checkpoint_buffers" PerSecond Maintenance High Activity 200.0 "buffers written by checkpoints"
    "pg.checkpoint_write_ms" MillisecondsPerSecond Maintenance High Activity 200.0 "time checkpoints spent writing"
    "pg.checkpoints_requested" PerSecond Maintenance High Cause 0.1 "checkpoints on request"
    "pg.checkpoints_timed" PerSecond Maintenance High Context 0.1 "checkpoints on schedule"
    "pg.commits" PerSecond Throughput Low Symptom 5.0 "transactions committed"
    "pg.conflicts" PerSecond Replication High Activity 0.5 "queries cancelled by recovery conflicts"
    "pg.connections_ratio" Ratio Connections High Cause 0.15 from 0.8 "client sessions against max_connections"
    "pg.dead_tuples" Count Maintenance High Context 1e5 "dead rows in the tables"
    "pg.deadlocks" PerSecond Locks High Cause 0.15 "deadlocks"
    "pg.frozen_xid_age" Count Maintenance High Context 1e6 "age of the oldest unfrozen transaction"
    "pg.index_scans" PerSecond Access Either Activity 50.0 "index scans of tables"
    "pg.probe_ms" Milliseconds Latency High Symptom 8.0 "time the database took to answer the agent's probe"
    "pg.query_age_max_s" Seconds Latency High Symptom 3.0 "age of the longest running statement"
    "pg.replicas" Count Replication Low Context 0.5 "replicas streaming from this node"
    "pg.replication_lag_bytes" Bytes Replication High Symptom 1.6e7 "bytes a replica is behind"
    "pg.replication_lag_s" Seconds Replication High Symptom 5.0 "seconds a replica is behind"
    "pg.rollbacks" PerSecond Errors High Symptom 2.0 "transactions rolled back"
    "pg.sequential_scans" PerSecond Access High Activity 5.0 "sequential scans of tables"
    "pg.sequential_tuples" PerSecond Access High Cause 1e5 "rows read by sequential scans of tables"
    "pg.sessions" Count Connections High Activity 5.0 "client sessions"
    "pg.sessions_active" Count Latency High Symptom 2.5 "client sessions that run a statement"
    "pg.sessions_idle_in_transaction" Count Locks High Activity 3.0 "client sessions idle inside a transaction"
    "pg.sessions_waiting" Count Latency High Activity 2.0 "client sessions waiting, by wait class"
    "pg.sessions_waiting_lock" Count Locks High Cause 1.0 "client sessions waiting for a lock"
    "pg.slots_retained_bytes" Bytes Replication High Activity 1e8 "WAL held back by replication slots"
    "pg.statement_calls" PerSecond Throughput Either Activity 10.0 "statements executed"
    "pg.statement_exec_ms" MillisecondsPerSecond Latency High Activity 100.0 "execution time per second"
    "pg.statement_mean_ms" Milliseconds Latency High Symptom 3.0 "mean execution time of a statement"
    "pg.table_sequential_tuples" PerSecond Access High Activity 1e5 "rows read by sequential scans of the table"
    "pg.temp_bytes" BytesPerSecond Storage High Activity 1e6 "temporary files written"
    "pg.transaction_age_max_s" Seconds Locks High Activity 5.0 "age of the oldest transaction"
    "pg.tuples_deleted" PerSecond Throughput Either Activity 50.0 "rows deleted"
    "pg.tuples_fetched" PerSecond Access High Activity 2e3 "rows fetched through indexes"
    "pg.tuples_inserted" PerSecond Throughput Either Activity 50.0 "rows inserted"
    "pg.tuples_returned" PerSecond Access High Activity 5e3 "rows read by scans"
    "pg.tuples_updated" PerSecond Throughput Either Activity 50.0 "rows updated"
    "pg.up" Count Liveness Low Context 0.5 "the database answers the agent"
    "pg.vacuum_overdue" Ratio Maintenance High Activity 0.5 from 2.0 "dead rows of the table most in need of a vacuum, against the number that calls for one"
    "pg.wal_archive_failures" PerSecond Maintenance High Cause 0.1 "failed WAL archive attempts"
    "pg.wal_bytes" BytesPerSecond Maintenance High Activity 1e6 "write-ahead log written"
    "pg.xmin_age" Count Maintenance High Context 1e5 "transactions the oldest snapshot holds back"
    "query.errors" PerSecond Errors High Activity 1.0 "errors of statements of one kind"
    "query.latency_ms" Milliseconds Latency High Activity 20.0 "durations of statements of one kind"
    "query.plan_changes" PerSecond Access High Context 0.5 "plans of one kind of statement that were not known for it"
    "query.rows_examined" PerSecond Access High Activity 1e4 "rows examined by statements of one kind"
    "socket.connections" Count Connections High Activity 8.0 "TCP connections to the database's port"
    "socket.listen_queue" Count Connections High Cause 5.0 "connections waiting to be accepted by the database"
    "socket.retransmits" PerSecond Network High Cause 2.0 "segments sent again on sockets of the database"
    "socket.rtt_ms_max" Milliseconds Network High Activity 10.0 "largest round trip of the sockets to the database"
    "socket.rtt_ms_median" Milliseconds Network High Cause 2.0 "median round trip of the sockets to the database"
    "socket.rx_bytes" BytesPerSecond Network High Activity 1e5 "bytes the database received over TCP"
    "socket.tx_bytes" BytesPerSecond Network High Activity 2e5 "bytes the database sent over TCP"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_and_each_row_is_found() {
        assert!(CATALOGUE.windows(2).all(|two| two[0].name < two[1].name));
        for spec in CATALOGUE {
            assert_eq!(
                metric_spec(spec.name).map(|found| found.name),
                Some(spec.name)
            );
            assert!(spec.floor > 0.0, "{} has no floor", spec.name);
        }
        assert!(metric_spec("no.such_metric").is_none());
    }

    #[test]
    fn only_activities_are_waits_since_whatever_says_more_opens_without_it() {
        let waits: Vec<_> = CATALOGUE.iter().filter(|spec| spec.is_wait).collect();
        assert!(waits.iter().all(|spec| spec.tier == Tier::Activity));
        assert!(waits.iter().any(|spec| spec.name == "pg.block_read_ms"));
        assert!(!metric_spec("instance.read_bytes").is_some_and(|spec| spec.is_wait));
    }
}
