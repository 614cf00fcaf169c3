//! Every statement the agent sends to PostgreSQL, one row each. (step 1)
//!
//! Invariants: PG-4 no statement outside this table is ever sent. PG-5 each answers in one shape, `(kind text, names text[],
//! numbers float8[])`, so that one small decoder reads them all. Limits: each has its own `LIMIT`; PostgreSQL 13 to 18.
//! Functions and views are found through `search_path = pg_catalog` alone, so no object of a user can stand in for one.

use std::time::Duration;

/// What a statement needs beside a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: any login role may.
    Nothing,
    /// `pg_read_all_stats`, part of `pg_monitor`.
    ReadAllStats,
    /// The right to call `pg_current_logfile()`: part of `pg_monitor` from version 16 on.
    CurrentLogfile,
    /// The extension `pg_stat_statements` in the connected database.
    Statements,
}

/// One statement.
#[derive(Debug)]
pub(super) struct Query {
    /// Name in messages and in the report of `check`.
    pub(super) name: &'static str,
    /// First and last major version it is for.
    pub(super) versions: (i32, i32),
    /// Seconds between two of them at the full pace; 0 when the loop has its own rule for it.
    pub(super) every_s: u64,
    /// Whether the answer is about the connected database alone.
    pub(super) per_database: bool,
    /// What it needs.
    pub(super) needs: Need,
    /// The text; `{statements}` stands for the function's quoted schema.
    pub(super) sql: &'static str,
}

impl Query {
    /// Time between two at the full pace.
    pub(super) fn every(&self) -> Duration {
        Duration::from_secs(self.every_s)
    }
}

/// The row of `name` for a server of major version `major`.
pub(super) fn query(name: &str, major: i32) -> Option<&'static Query> {
    QUERIES
        .iter()
        .find(|row| row.name == name && (row.versions.0..=row.versions.1).contains(&major))
}

const EVERY_VERSION: (i32, i32) = (13, 99);

/// The table.
pub(super) static QUERIES: &[Query] = &[
    // names: version, system identifier, address, database, schema of pg_stat_statements
    // numbers: major, start, in recovery, connection slots, may read all stats, pid, superuser, may call pg_current_logfile
    Query {
        name: "instance",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'instance', ARRAY[current_setting('server_version'), \
              (SELECT system_identifier::text FROM pg_control_system()), \
              host(inet_server_addr()) || ':' || inet_server_port(), current_database()::text, \
              (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
               WHERE e.extname = 'pg_stat_statements')]::text[], \
              ARRAY[current_setting('server_version_num')::int / 10000, extract(epoch FROM pg_postmaster_start_time())::float8, \
              pg_is_in_recovery()::int, current_setting('max_connections')::int \
              - current_setting('superuser_reserved_connections')::int \
              - coalesce(current_setting('reserved_connections', true)::int, 0), \
              pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')::int, pg_backend_pid(), \
              (current_setting('is_superuser') = 'on')::int, \
              has_function_privilege('pg_current_logfile()', 'EXECUTE')::int]::float8[]",
    },
    Query {
        name: "probe",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'probe', ARRAY[]::text[], ARRAY[pg_is_in_recovery()::int]::float8[]",
    },
    // One round trip for all that moves fast. The grand total comes from ROLLUP and so covers databases beyond the LIMIT.
    Query {
        name: "vital",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'activity' AS kind, ARRAY[]::text[] AS names, ARRAY[count(*), \
              count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state LIKE 'idle in transaction%'), \
              coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8, \
              coalesce(extract(epoch FROM max(clock_timestamp() - query_start) FILTER (WHERE state = 'active')), 0)::float8, \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'Lock'), \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'LWLock'), \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'IO'), \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'BufferPin'), \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'IPC'), \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'Timeout'), \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type IN ('Extension', 'InjectionPoint')), \
              count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'Client')]::float8[] AS numbers \
              FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() \
              AND application_name <> 'hsw-agent' \
              UNION ALL SELECT 'wal', ARRAY[]::text[], ARRAY[pg_is_in_recovery()::int, \
              (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::float8] \
              UNION ALL (SELECT CASE grouping(datname) WHEN 1 THEN 'total' ELSE 'database' END, ARRAY[datname]::text[], \
              ARRAY[sum(xact_commit), sum(xact_rollback), sum(blks_read), sum(blks_hit), sum(tup_returned), sum(tup_fetched), \
              sum(tup_inserted), sum(tup_updated), sum(tup_deleted), sum(conflicts), sum(temp_bytes), sum(deadlocks), \
              sum(blk_read_time), sum(blk_write_time), coalesce(sum(extract(epoch FROM stats_reset)), 0)::float8, sum(datid::int8)]::float8[] \
              FROM pg_stat_database WHERE datname IS NOT NULL GROUP BY ROLLUP (datname) ORDER BY sum(xact_commit) DESC LIMIT 17)",
    },
    // Sent only when the round before it saw a lock waiter: pg_blocking_pids takes every lock partition.
    Query {
        name: "blocked",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::ReadAllStats,
        sql: "SELECT 'blocked', ARRAY[]::text[], ARRAY[count(*)]::float8[] FROM (SELECT pid FROM pg_stat_activity \
              WHERE wait_event_type = 'Lock' AND backend_type = 'client backend' LIMIT 50) AS waiting \
              WHERE cardinality(pg_blocking_pids(pid)) > 0",
    },
    Query {
        name: "edges",
        versions: EVERY_VERSION,
        every_s: 2,
        per_database: false,
        needs: Need::ReadAllStats,
        sql: "SELECT 'edge', ARRAY[host(client_addr), usename, translate(left(application_name, 64), '0123456789', '##########'), \
              datname]::text[], ARRAY[count(*), count(*) FILTER (WHERE state = 'active'), sum(count(*)) OVER ()]::float8[] \
              FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() \
              AND application_name <> 'hsw-agent' GROUP BY 2 ORDER BY count(*) DESC LIMIT 1000",
    },
    Query {
        name: "replication",
        versions: EVERY_VERSION,
        every_s: 2,
        per_database: false,
        needs: Need::ReadAllStats,
        sql: "SELECT 'replica', ARRAY[host(client_addr), usename, application_name]::text[], ARRAY[(state = 'streaming')::int, \
              pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn), \
              extract(epoch FROM replay_lag)]::float8[] FROM pg_stat_replication LIMIT 100",
    },
    // A replica that follows is not behind merely because its primary is idle: its age counts only with WAL left to replay.
    Query {
        name: "standby",
        versions: EVERY_VERSION,
        every_s: 2,
        per_database: false,
        needs: Need::ReadAllStats,
        sql: "SELECT 'standby', ARRAY[]::text[], ARRAY[greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0), \
              CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() \
              AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') THEN 0 \
              ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END]::float8[] WHERE pg_is_in_recovery()",
    },
    Query {
        name: "checkpoints",
        versions: (13, 16),
        every_s: 2,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'checkpoints', ARRAY[]::text[], ARRAY[checkpoints_timed, checkpoints_req, checkpoint_write_time, \
              buffers_checkpoint, buffers_backend, extract(epoch FROM stats_reset)]::float8[] FROM pg_stat_bgwriter",
    },
    Query {
        name: "checkpoints",
        versions: (17, 99),
        every_s: 2,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'checkpoints', ARRAY[]::text[], ARRAY[num_timed, num_requested, write_time, buffers_written, \
              (SELECT sum(writes) FROM pg_stat_io WHERE backend_type = 'client backend' AND object = 'relation'), \
              extract(epoch FROM stats_reset)]::float8[] FROM pg_stat_checkpointer",
    },
    Query {
        name: "statements",
        versions: (13, 13),
        every_s: 2,
        per_database: false,
        needs: Need::Statements,
        sql: "SELECT 'statements', ARRAY[]::text[], ARRAY[sum(calls), sum(total_exec_time), 0]::float8[] \
              FROM {statements}.pg_stat_statements(false) WHERE userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)",
    },
    Query {
        name: "statements",
        versions: (14, 99),
        every_s: 2,
        per_database: false,
        needs: Need::Statements,
        sql: "SELECT 'statements', ARRAY[]::text[], ARRAY[sum(calls), sum(total_exec_time), \
              (SELECT extract(epoch FROM stats_reset) FROM {statements}.pg_stat_statements_info)]::float8[] \
              FROM {statements}.pg_stat_statements(false) WHERE toplevel \
              AND userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)",
    },
    // Without texts: those of what moved are asked for once.
    Query {
        name: "calls",
        versions: (13, 13),
        every_s: 10,
        per_database: false,
        needs: Need::Statements,
        sql: "SELECT 'calls', ARRAY[d.datname, r.rolname, s.queryid::text]::text[], ARRAY[s.calls]::float8[] \
              FROM {statements}.pg_stat_statements(false) s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid \
              WHERE s.queryid IS NOT NULL AND r.rolname <> current_user ORDER BY s.calls DESC LIMIT 5000",
    },
    Query {
        name: "calls",
        versions: (14, 99),
        every_s: 10,
        per_database: false,
        needs: Need::Statements,
        sql: "SELECT 'calls', ARRAY[d.datname, r.rolname, s.queryid::text]::text[], ARRAY[s.calls]::float8[] \
              FROM {statements}.pg_stat_statements(false) s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid \
              WHERE s.toplevel AND s.queryid IS NOT NULL AND r.rolname <> current_user ORDER BY s.calls DESC LIMIT 5000",
    },
    Query {
        name: "texts",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::Statements,
        sql: "SELECT DISTINCT ON (queryid) 'text', ARRAY[queryid::text, left(query, 4000)]::text[], ARRAY[]::float8[] \
              FROM {statements}.pg_stat_statements(true) WHERE queryid = ANY($1::text[]::int8[]) LIMIT 500",
    },
    // Rows that sequential and index scans brought, and rows written: what a table is busy with.
    Query {
        name: "rows",
        versions: EVERY_VERSION,
        every_s: 10,
        per_database: true,
        needs: Need::Nothing,
        sql: "SELECT 'rows', ARRAY[n.nspname, t.relname]::text[], ARRAY[t.oid::int8, t.n]::float8[] FROM (SELECT oid, relname, relnamespace, \
              pg_stat_get_tuples_returned(oid) + pg_stat_get_tuples_fetched(oid) + pg_stat_get_tuples_inserted(oid) \
              + pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid) + coalesce((SELECT sum(pg_stat_get_tuples_fetched(indexrelid)) \
              FROM pg_index WHERE indrelid = c.oid), 0) AS n FROM pg_class c WHERE relkind IN ('r', 'm') AND oid >= 16384 \
              AND relnamespace <> 99 AND relpersistence <> 't') t JOIN pg_namespace n ON n.oid = t.relnamespace \
              WHERE t.n > 0 ORDER BY t.n DESC LIMIT 500",
    },
    // pg_class once, without the joins of pg_stat_user_tables: for an index, scans are index scans. The last of the totals is how far the
    // table most in need of a vacuum is beyond what calls for one: the rule of the manual's "The Autovacuum Daemon", with the table's own
    // parameters where it has some, and the most that version 18 lets it come to. A table whose autovacuum is off counts as any other.
    Query {
        name: "tables",
        versions: EVERY_VERSION,
        every_s: 2,
        per_database: true,
        needs: Need::Nothing,
        sql: "WITH t AS MATERIALIZED (SELECT oid, relname, relnamespace, relkind, greatest(reltuples, 0)::float8 AS n_rows, reloptions, \
              CASE WHEN relkind <> 'i' THEN pg_stat_get_tuples_returned(oid) END AS tuples, pg_stat_get_numscans(oid) AS scans, \
              CASE WHEN relkind <> 'i' THEN pg_stat_get_dead_tuples(oid) END AS dead FROM pg_class \
              WHERE relkind IN ('r', 'm', 'i') AND oid >= 16384 AND relnamespace <> 99 AND relpersistence <> 't'), \
              v AS MATERIALIZED (SELECT current_setting('autovacuum_vacuum_threshold')::float8 AS base, \
              current_setting('autovacuum_vacuum_scale_factor')::float8 AS scale, \
              current_setting('autovacuum_vacuum_max_threshold', true)::float8 AS most) \
              SELECT 'total', ARRAY[current_database()]::text[], ARRAY[coalesce(sum(tuples), 0), \
              coalesce(sum(scans) FILTER (WHERE relkind <> 'i'), 0), coalesce(sum(scans) FILTER (WHERE relkind = 'i'), 0), \
              coalesce(sum(dead), 0), (SELECT extract(epoch FROM pg_stat_get_db_stat_reset_time(oid)) FROM pg_database \
              WHERE datname = current_database()), \
              (SELECT coalesce(max(t.dead / greatest(least(coalesce(o.base, v.base) + coalesce(o.scale, v.scale) * t.n_rows, \
              nullif(coalesce(o.most, v.most), -1)), 1)), 0) FROM t CROSS JOIN v LEFT JOIN LATERAL (SELECT \
              max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold')::float8 AS base, \
              max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor')::float8 AS scale, \
              max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_max_threshold')::float8 AS most \
              FROM pg_options_to_table(t.reloptions) WHERE t.reloptions IS NOT NULL) AS o ON true WHERE t.dead > 0)]::float8[] FROM t \
              UNION ALL (SELECT 'table', ARRAY[n.nspname, t.relname]::text[], ARRAY[t.oid::int8, t.tuples]::float8[] \
              FROM t JOIN pg_namespace n ON n.oid = t.relnamespace WHERE t.tuples > 0 ORDER BY t.tuples DESC LIMIT 200)",
    },
    Query {
        name: "maintenance",
        versions: EVERY_VERSION,
        every_s: 10,
        per_database: false,
        needs: Need::ReadAllStats,
        sql: "SELECT 'maintenance', ARRAY[]::text[], ARRAY[(SELECT max(age(datfrozenxid)) FROM pg_database), \
              greatest((SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()), \
              (SELECT max(age(xmin)) FROM pg_replication_slots), (SELECT max(age(transaction)) FROM pg_prepared_xacts), 0), \
              failed_count, extract(epoch FROM stats_reset)]::float8[] FROM pg_stat_archiver \
              UNION ALL (SELECT 'slot', ARRAY[slot_name]::text[], ARRAY[pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() \
              THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)]::float8[] FROM pg_replication_slots \
              WHERE restart_lsn IS NOT NULL LIMIT 50)",
    },
    // Options of a server hold no password: those are in the user mappings, which are not read.
    Query {
        name: "foreign",
        versions: EVERY_VERSION,
        every_s: 10,
        per_database: true,
        needs: Need::Nothing,
        sql: "SELECT 'server', ARRAY[s.srvname::text, \
              (SELECT option_value FROM pg_options_to_table(s.srvoptions) WHERE option_name = 'host'), \
              (SELECT option_value FROM pg_options_to_table(s.srvoptions) WHERE option_name = 'port'), \
              (SELECT option_value FROM pg_options_to_table(s.srvoptions) WHERE option_name = 'dbname')]::text[], \
              ARRAY[]::float8[] FROM pg_foreign_server s LIMIT 200",
    },
    // Who may act as whom: memberships, and attributes that amount to one. Built-in roles' own are the same everywhere.
    Query {
        name: "members",
        versions: EVERY_VERSION,
        every_s: 10,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'member', ARRAY[m.rolname, g.rolname]::text[], ARRAY[]::float8[] FROM pg_auth_members a \
              JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid WHERE m.oid >= 16384 \
              UNION ALL SELECT 'member', ARRAY[r.rolname, held.attribute]::text[], ARRAY[]::float8[] FROM pg_roles r CROSS JOIN LATERAL \
              (VALUES ('superuser', r.rolsuper), ('createrole', r.rolcreaterole), ('bypassrls', r.rolbypassrls), \
              ('replication', r.rolreplication)) AS held (attribute, has) WHERE held.has AND r.oid >= 16384 LIMIT 500",
    },
    // numbers: foreign tables, local tables, local partitions
    Query {
        name: "role",
        versions: EVERY_VERSION,
        every_s: 60,
        per_database: true,
        needs: Need::Nothing,
        sql: "SELECT 'role', ARRAY[]::text[], ARRAY[count(*) FILTER (WHERE relkind = 'f'), \
              count(*) FILTER (WHERE relkind = 'r'), count(*) FILTER (WHERE relkind = 'r' AND relispartition)]::float8[] \
              FROM pg_class WHERE oid >= 16384 AND relkind IN ('f', 'r') AND relpersistence <> 't'",
    },
    Query {
        name: "databases",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'database', ARRAY[datname]::text[], ARRAY[pg_database_size(oid)]::float8[] FROM pg_database \
              WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT') ORDER BY 3 DESC LIMIT 32",
    },
    // For instances whose files are too many to add up within the timeout.
    Query {
        name: "databases_by_use",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'database', ARRAY[datname]::text[], ARRAY[pg_stat_get_db_blocks_hit(oid)]::float8[] FROM pg_database \
              WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT') ORDER BY 3 DESC LIMIT 32",
    },
    // pg_settings leaves out what the role may not see, where current_setting would fail.
    Query {
        name: "settings",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::Nothing,
        sql: "SELECT 'setting', ARRAY[name, setting]::text[], ARRAY[]::float8[] FROM pg_settings WHERE name IN ('data_directory', \
              'log_directory', 'log_filename', 'log_destination', 'log_line_prefix', 'logging_collector', 'log_timezone', \
              'listen_addresses', 'shared_preload_libraries', 'track_io_timing', 'log_lock_waits', 'log_checkpoints', \
              'log_min_duration_statement', 'log_connections', 'deadlock_timeout', 'log_temp_files', 'track_counts')",
    },
    // Apart from the settings: a role without the right to call it is refused before any CASE could look.
    Query {
        name: "logfile",
        versions: EVERY_VERSION,
        every_s: 0,
        per_database: false,
        needs: Need::CurrentLogfile,
        sql: "SELECT 'logfile', ARRAY[pg_current_logfile()]::text[], ARRAY[]::float8[]",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_exactly_one_row_per_version() {
        for row in QUERIES {
            for major in 13..=18 {
                let n = QUERIES
                    .iter()
                    .filter(|q| {
                        q.name == row.name && (q.versions.0..=q.versions.1).contains(&major)
                    })
                    .count();
                assert_eq!(n, 1, "{} on {major}", row.name);
            }
        }
        assert!(
            query("checkpoints", 16)
                .unwrap()
                .sql
                .contains("pg_stat_bgwriter")
        );
        assert!(
            query("checkpoints", 17)
                .unwrap()
                .sql
                .contains("pg_stat_checkpointer")
        );
        assert!(query("statements", 12).is_none());
    }

    #[test]
    fn statements_about_sessions_leave_the_agents_own_out() {
        let name = format!(
            "application_name <> '{}'",
            super::super::config::APPLICATION_NAME
        );
        for row in ["vital", "edges"] {
            assert!(query(row, 15).unwrap().sql.contains(&name), "{row}");
        }
    }
}
