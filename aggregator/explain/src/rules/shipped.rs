//! The rules that are shipped: in what order numbers of the same thing follow from each other. (step 12)
//!
//! A rule stands here when the second number follows from the first by what the two are (a part and its whole, what is used and
//! what is left, work and the time it takes), not because it was seen to. Names are those of the sources: the agent's catalogue,
//! `SHOW GLOBAL STATUS`, Redis `INFO`, MongoDB `serverStatus`, dstat as in DBSherlock (section 5, its four).

/// Cause, effect.
pub(super) const SHIPPED: [(&str, &str); 63] = [
    // DBSherlock's own.
    ("dbmsMeasuredCPU", "AvgCpuUser"),
    ("osNumberOfAllocatedPage", "osNumberOfFreePages"),
    ("osUsedSwapSpace", "osFreeSwapSpace"),
    ("AvgCpuUser", "AvgCpuIdle"),
    // The operating system: processes, their group, the host.
    ("instance.cpu_cores", "cgroup.cpu_cores"),
    ("cgroup.foreign_cpu_cores", "cgroup.cpu_cores"),
    ("cgroup.cpu_cores", "host.cpu_busy_ratio"),
    ("instance.cpu_cores", "host.cpu_busy_ratio"),
    ("host.cpu_busy_ratio", "host.pressure_cpu_some"),
    ("cgroup.throttled_ratio", "cgroup.throttled_seconds"),
    ("cgroup.throttled_ratio", "cgroup.pressure_cpu"),
    ("instance.read_bytes", "disk.read_bytes"),
    ("instance.read_bytes", "cgroup.io_read_bytes"),
    ("instance.write_bytes", "disk.write_bytes"),
    ("instance.write_bytes", "cgroup.io_write_bytes"),
    ("disk.read_bytes", "disk.reads"),
    ("disk.write_bytes", "disk.writes"),
    ("disk.reads", "disk.utilisation"),
    ("disk.writes", "disk.utilisation"),
    ("disk.utilisation", "host.cpu_iowait_ratio"),
    ("disk.utilisation", "host.pressure_io_some"),
    ("host.pressure_io_some", "host.pressure_io_full"),
    ("instance.rss_bytes", "cgroup.memory_bytes"),
    ("instance.rss_bytes", "host.memory_available_ratio"),
    ("cgroup.memory_bytes", "cgroup.memory_limit_ratio"),
    ("cgroup.memory_limit_ratio", "cgroup.memory_failcnt"),
    ("host.pressure_memory_some", "host.pressure_memory_full"),
    ("host.swap_out", "host.swap_used_bytes"),
    ("data_fs.used_ratio", "data_fs.free_bytes"),
    // PostgreSQL.
    ("pg.blocked_sessions", "pg.sessions_waiting_lock"),
    ("pg.sessions_waiting_lock", "pg.sessions_waiting"),
    ("pg.sessions_waiting_lock", "log.lock_waits"),
    ("pg.sequential_scans", "pg.sequential_tuples"),
    ("pg.sequential_tuples", "pg.tuples_returned"),
    ("pg.index_scans", "pg.tuples_fetched"),
    ("pg.blocks_read", "pg.block_read_ms"),
    ("pg.blocks_read", "instance.read_bytes"),
    ("pg.temp_bytes", "instance.write_bytes"),
    ("pg.checkpoints_requested", "pg.checkpoint_buffers"),
    ("pg.checkpoint_buffers", "pg.checkpoint_write_ms"),
    ("pg.wal_bytes", "pg.replication_lag_bytes"),
    ("pg.replication_lag_bytes", "pg.replication_lag_s"),
    ("pg.sessions", "pg.connections_ratio"),
    ("pg.sessions", "instance.processes"),
    ("log.error_code", "log.errors"),
    ("log.errors", "pg.rollbacks"),
    // MariaDB and MySQL.
    ("Select_scan", "Handler_read_rnd_next"),
    ("Handler_read_rnd_next", "Innodb_rows_read"),
    ("Innodb_row_lock_waits", "Innodb_row_lock_time"),
    ("Innodb_buffer_pool_reads", "Innodb_data_reads"),
    ("Innodb_data_reads", "Innodb_data_read"),
    (
        "Innodb_buffer_pool_pages_data",
        "Innodb_buffer_pool_pages_free",
    ),
    (
        "Innodb_buffer_pool_pages_dirty",
        "Innodb_buffer_pool_pages_flushed",
    ),
    ("Innodb_os_log_written", "Innodb_os_log_fsyncs"),
    ("Flush_commands", "Opened_tables"),
    // Redis.
    ("used_memory", "used_memory_rss"),
    ("used_memory", "evicted_keys"),
    ("evicted_keys", "keyspace_misses"),
    ("instantaneous_ops_per_sec", "instantaneous_output_kbps"),
    ("rdb_bgsave_in_progress", "latest_fork_usec"),
    // MongoDB.
    ("connections.current", "connections.available"),
    (
        "globalLock.currentQueue.readers",
        "globalLock.currentQueue.total",
    ),
    (
        "globalLock.currentQueue.writers",
        "globalLock.currentQueue.total",
    ),
];
