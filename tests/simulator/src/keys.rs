//! The series that the agent's sources tell of a node, by the names and units that they use. (step 1)
//!
//! One list, so that a key is made once per node and found by its place.

use std::sync::Arc;

use hsw_types::SeriesKey;

macro_rules! series {
    ($($id:ident $metric:literal $($object:literal)?)*) => {
        /// A series' place in the list of keys.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Series {
            $($id),*
        }

        /// Metric and named part of each, in the order of [`Series`].
        const NAMES: &[(&str, &str)] = &[$(($metric, concat!("", $($object)?))),*];
    };
}

series! {
    AgentCpu "agent.cpu_cores"
    AgentRss "agent.rss_bytes"
    GroupCpu "cgroup.cpu_cores"
    GroupForeign "cgroup.foreign_cpu_cores"
    GroupFrozen "cgroup.frozen"
    GroupRead "cgroup.io_read_bytes"
    GroupWrite "cgroup.io_write_bytes"
    GroupMemory "cgroup.memory_bytes"
    GroupFails "cgroup.memory_failcnt"
    GroupOom "cgroup.oom_kills"
    GroupThrottled "cgroup.throttled_ratio"
    GroupThrottledS "cgroup.throttled_seconds"
    FsFree "data_fs.free_bytes"
    FsInodes "data_fs.inodes_used_ratio"
    FsUsed "data_fs.used_ratio"
    DiskInFlight "disk.in_flight" "sda"
    DiskReadBytes "disk.read_bytes" "sda"
    DiskReadMs "disk.read_latency_ms" "sda"
    DiskReads "disk.reads" "sda"
    DiskBusy "disk.utilisation" "sda"
    DiskWriteBytes "disk.write_bytes" "sda"
    DiskWriteMs "disk.write_latency_ms" "sda"
    DiskWrites "disk.writes" "sda"
    HostBusy "host.cpu_busy_ratio"
    HostIowait "host.cpu_iowait_ratio"
    HostSteal "host.cpu_steal_ratio"
    HostLoad "host.load1"
    HostMemory "host.memory_available_ratio"
    HostFiles "host.open_files"
    HostCpuSome "host.pressure_cpu_some"
    HostIoFull "host.pressure_io_full"
    HostIoSome "host.pressure_io_some"
    HostMemoryFull "host.pressure_memory_full"
    HostMemorySome "host.pressure_memory_some"
    HostSwapIn "host.swap_in"
    HostSwapOut "host.swap_out"
    HostSwapUsed "host.swap_used_bytes"
    HostResets "host.tcp_resets"
    HostRetransmits "host.tcp_retransmits"
    InstanceBlocked "instance.blocked_processes"
    InstanceCpu "instance.cpu_cores"
    InstanceFaults "instance.major_faults"
    InstanceFiles "instance.open_files"
    InstanceProcesses "instance.processes"
    InstanceRead "instance.read_bytes"
    InstanceRss "instance.rss_bytes"
    InstanceStopped "instance.stopped_processes"
    InstanceWrite "instance.write_bytes"
    LogLag "log.lag_bytes"
    NetDrops "net.drops" "eth0"
    NetErrors "net.errors" "eth0"
    NetRx "net.rx_bytes" "eth0"
    NetTx "net.tx_bytes" "eth0"
    AgentQuery "pg.agent_query_ms"
    BackendBuffers "pg.backend_buffers"
    BlockReadMs "pg.block_read_ms"
    BlockWriteMs "pg.block_write_ms"
    BlockedSessions "pg.blocked_sessions"
    BlocksHit "pg.blocks_hit"
    BlocksRead "pg.blocks_read"
    CheckpointBuffers "pg.checkpoint_buffers"
    CheckpointMs "pg.checkpoint_write_ms"
    CheckpointsRequested "pg.checkpoints_requested"
    CheckpointsTimed "pg.checkpoints_timed"
    Commits "pg.commits"
    Conflicts "pg.conflicts"
    ConnectionsRatio "pg.connections_ratio"
    DeadTuples "pg.dead_tuples"
    Deadlocks "pg.deadlocks"
    XidAge "pg.frozen_xid_age"
    IndexScans "pg.index_scans"
    Probe "pg.probe_ms"
    QueryAge "pg.query_age_max_s"
    Replicas "pg.replicas"
    LagBytes "pg.replication_lag_bytes"
    LagS "pg.replication_lag_s"
    Rollbacks "pg.rollbacks"
    SeqScans "pg.sequential_scans"
    SeqTuples "pg.sequential_tuples"
    Sessions "pg.sessions"
    Active "pg.sessions_active"
    IdleInTransaction "pg.sessions_idle_in_transaction"
    Waiting "pg.sessions_waiting"
    WaitingLock "pg.sessions_waiting" "Lock"
    WaitingIo "pg.sessions_waiting" "IO"
    WaitingRemote "pg.sessions_waiting" "Extension"
    LockWaiters "pg.sessions_waiting_lock"
    Retained "pg.slots_retained_bytes" "archive"
    Calls "pg.statement_calls"
    ExecMs "pg.statement_exec_ms"
    MeanMs "pg.statement_mean_ms"
    TableTuples "pg.table_sequential_tuples" "shop.public.accounts"
    TempBytes "pg.temp_bytes"
    TransactionAge "pg.transaction_age_max_s"
    Deleted "pg.tuples_deleted"
    Fetched "pg.tuples_fetched"
    Inserted "pg.tuples_inserted"
    Returned "pg.tuples_returned"
    Updated "pg.tuples_updated"
    Up "pg.up"
    VacuumOverdue "pg.vacuum_overdue"
    ArchiveFailures "pg.wal_archive_failures"
    WalBytes "pg.wal_bytes"
    XminAge "pg.xmin_age"
    Connections "socket.connections"
    ListenQueue "socket.listen_queue"
    Retransmits "socket.retransmits"
    RttMax "socket.rtt_ms_max"
    RttMedian "socket.rtt_ms_median"
    Rx "socket.rx_bytes"
    Tx "socket.tx_bytes"
}

/// The keys of one node, or of all of them: keys are equal on every node.
#[derive(Debug, Clone)]
pub(crate) struct Keys(Arc<[Arc<SeriesKey>]>);

impl Keys {
    pub(crate) fn new() -> Self {
        let key = |(metric, object): &(&str, &str)| {
            Arc::new(if object.is_empty() {
                SeriesKey::node(metric)
            } else {
                SeriesKey::object(metric, object)
            })
        };
        Self(NAMES.iter().map(key).collect())
    }

    pub(crate) fn of(&self, series: Series) -> &Arc<SeriesKey> {
        &self.0[series as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::metric_spec;

    #[test]
    fn every_series_is_in_the_catalogue() {
        for (metric, _) in NAMES {
            assert!(metric_spec(metric).is_some(), "{metric}");
        }
        let keys = Keys::new();
        assert_eq!(keys.of(Series::Tx).metric, "socket.tx_bytes");
        assert_eq!(keys.of(Series::Commits).metric, "pg.commits");
    }
}
