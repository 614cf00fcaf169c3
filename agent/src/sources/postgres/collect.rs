//! Answers into readings. (step 1)
//!
//! In: [`Line`]s of each statement. Out: [`Reading`]s under catalogue names. Invariants: PG-14 a counter's `epoch` changes with the
//! server's start, its role and its statistics reset. PG-15 the agent's own transactions are left out of commits, and the
//! difference never runs backwards. PG-16 what the role may not see is left out, never zero. Limits: [`KEYS_MAX`] keys.
//! Blocks and tuples cannot be told apart by who read them: they hold the agent's own catalogue reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_pipeline::Counted;
use hsw_types::{EdgeKind, Reading, SeriesKey, fnv1a_64, fnv1a_64_more};

use super::connection::Line;
use super::counts::Counts;
use super::edges::{Edges, State, edge};
use super::tables::Board;

/// Cached keys of named parts; beyond it the cache starts anew (series do not).
const KEYS_MAX: usize = 2000;

/// What the vital round tells beside its readings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Vital {
    /// Whether the database is a standby now.
    pub(super) in_recovery: bool,
    /// Sessions that wait for a lock.
    pub(super) lock_waiters: f64,
    /// Client sessions against the slots for them.
    pub(super) connections_ratio: f64,
}

/// Keys by metric and part; the node itself is the part without a name.
#[derive(Debug, Default)]
struct Keys {
    cache: BTreeMap<&'static str, BTreeMap<String, Arc<SeriesKey>>>,
    n: usize,
}

impl Keys {
    fn key(&mut self, metric: &'static str, part: &str) -> Arc<SeriesKey> {
        if let Some(key) = self.cache.get(metric).and_then(|parts| parts.get(part)) {
            return Arc::clone(key);
        }
        if self.n >= KEYS_MAX {
            self.cache.clear();
            self.n = 0;
        }
        self.n += 1;
        let key = if part.is_empty() {
            SeriesKey::node(metric)
        } else {
            SeriesKey::object(metric, part)
        };
        let key = Arc::new(key);
        self.cache
            .entry(metric)
            .or_default()
            .insert(part.to_owned(), Arc::clone(&key));
        key
    }
}

/// Commits of a database as shown, and what is left out of them.
#[derive(Debug, Clone, Copy)]
struct Commits {
    epoch: u64,
    shown: f64,
    /// The agent's own transactions before this epoch.
    own_before: f64,
}

/// Turns answers into readings; remembers what differences need.
#[derive(Debug, Default)]
pub(super) struct Collector {
    keys: Keys,
    /// Readings since they were last taken.
    pub(super) readings: Vec<Reading>,
    /// Server start, Unix seconds.
    pub(super) started: f64,
    /// Whether the database was a standby at the last look.
    pub(super) in_recovery: bool,
    /// Connection slots for clients.
    pub(super) n_slots: f64,
    /// Whether the role may see other sessions.
    pub(super) sees_all: bool,
    /// Rows left out by limits, since they were last taken.
    pub(super) n_left_out: u64,
    /// The agent's own transactions by database.
    own: BTreeMap<String, f64>,
    commits: BTreeMap<String, Commits>,
    waits_seen: [bool; WAITS.len()],
    statements: Option<(u64, f64, f64)>,
    clients: Edges,
    replicas: Edges,
    servers: Edges,
    members: Edges,
    servers_by_database: BTreeMap<String, Vec<[String; 4]>>,
    boards: BTreeMap<String, Board>,
    pub(super) counts: Counts,
    /// Counts since they were last taken.
    pub(super) counted: Vec<Counted>,
}

/// Wait classes in the order of the vital statement's numbers, from the fifth on.
const WAITS: [&str; 8] = [
    "Lock",
    "LWLock",
    "IO",
    "BufferPin",
    "IPC",
    "Timeout",
    "Extension",
    "Client",
];

/// Metrics in the order of the vital statement's database rows, from the third on.
const DATABASE: [&str; 12] = [
    "pg.blocks_read",
    "pg.blocks_hit",
    "pg.tuples_returned",
    "pg.tuples_fetched",
    "pg.tuples_inserted",
    "pg.tuples_updated",
    "pg.tuples_deleted",
    "pg.conflicts",
    "pg.temp_bytes",
    "pg.deadlocks",
    "pg.block_read_ms",
    "pg.block_write_ms",
];

/// Those also reported by database; the rest would cost series and say little more.
const BY_DATABASE: [&str; 5] = [
    "pg.blocks_read",
    "pg.tuples_returned",
    "pg.tuples_fetched",
    "pg.temp_bytes",
    "pg.deadlocks",
];

impl Collector {
    /// Adds to the agent's own transactions, which are left out of the database's.
    pub(super) fn own_transactions(&mut self, database: &str, n: u64) {
        *self.own.entry(database.to_owned()).or_default() += n as f64;
    }

    /// A state of the node or, with a name, of a part.
    pub(super) fn gauge(&mut self, metric: &'static str, part: &str, value: f64) {
        let key = self.keys.key(metric, part);
        self.readings.push(Reading::gauge(&key, value));
    }

    /// A running total; `life` is what makes it start anew, beside the server's start and role (PG-14).
    pub(super) fn counter(
        &mut self,
        metric: &'static str,
        part: &str,
        total: Option<f64>,
        life: &[f64],
    ) {
        let Some(total) = total else { return };
        let epoch = self.epoch(life);
        let key = self.keys.key(metric, part);
        self.readings.push(Reading::counter(&key, total, epoch));
    }

    /// Time the database spent on the agent, as far as the agent waited for it.
    pub(super) fn spent(&mut self, spent_ms: f64) {
        let key = self.keys.key("pg.agent_query_ms", "");
        self.readings.push(Reading::counter(&key, spent_ms, 0));
    }

    fn epoch(&self, life: &[f64]) -> u64 {
        epoch_of(
            [self.started, f64::from(u8::from(self.in_recovery))]
                .iter()
                .chain(life),
        )
    }

    /// The round trip of each second.
    pub(super) fn vital(&mut self, lines: &[Line]) -> Vital {
        let mut vital = Vital {
            in_recovery: self.in_recovery,
            ..Vital::default()
        };
        // The role first: it is part of every epoch.
        for line in lines.iter().filter(|line| line.kind == "wal") {
            self.in_recovery = line.number(0) == Some(1.0);
            vital.in_recovery = self.in_recovery;
            self.counter("pg.wal_bytes", "", line.number(1), &[]);
        }
        let n_databases = lines.iter().filter(|line| line.kind == "database").count();
        for line in lines {
            match line.kind.as_str() {
                "activity" if self.sees_all => self.activity(line, &mut vital),
                "total" => self.database("", line),
                "database" if n_databases > 1 => self.database(line.name(0), line),
                _ => {}
            }
        }
        vital
    }

    fn activity(&mut self, line: &Line, vital: &mut Vital) {
        let number = |at| line.number(at).unwrap_or(0.0);
        self.gauge("pg.sessions", "", number(0));
        self.gauge("pg.sessions_active", "", number(1));
        self.gauge("pg.sessions_idle_in_transaction", "", number(2));
        self.gauge("pg.transaction_age_max_s", "", number(3).max(0.0));
        self.gauge("pg.query_age_max_s", "", number(4).max(0.0));
        if self.n_slots > 0.0 {
            vital.connections_ratio = number(0) / self.n_slots;
            self.gauge("pg.connections_ratio", "", vital.connections_ratio);
        }
        vital.lock_waiters = number(5);
        self.gauge("pg.sessions_waiting_lock", "", vital.lock_waiters);
        // Waits for the client are no sign of the database's own trouble, so the sum leaves them out.
        let sum = (5..12).map(number).sum();
        self.gauge("pg.sessions_waiting", "", sum);
        for (at, class) in WAITS.into_iter().enumerate() {
            let n = number(at + 5);
            self.waits_seen[at] |= n > 0.0;
            if self.waits_seen[at] {
                self.gauge("pg.sessions_waiting", class, n);
            }
        }
        if vital.lock_waiters == 0.0 {
            self.gauge("pg.blocked_sessions", "", 0.0);
        }
    }

    fn database(&mut self, name: &str, line: &Line) {
        // Reset moment, and the identity of the databases summed up: a dropped one takes its totals along.
        let life = [
            line.number(14).unwrap_or(0.0),
            line.number(15).unwrap_or(0.0),
        ];
        let own: f64 = match name {
            "" => self.own.values().sum(),
            _ => self.own.get(name).copied().unwrap_or(0.0),
        };
        if let Some(commits) = line.number(0) {
            let epoch = self.epoch(&life);
            let known = self.commits.get(name).copied();
            // In a new life the database has forgotten what we sent in the one before.
            let (base, last) = match known {
                Some(known) if known.epoch == epoch => (known.own_before, known.shown),
                Some(_) => (own, 0.0),
                None => (0.0, 0.0),
            };
            // Sessions publish their counts up to a second late, so ours may be subtracted before they are added.
            let shown = (commits - (own - base)).max(last);
            let commits = Commits {
                epoch,
                shown,
                own_before: base,
            };
            self.commits.insert(name.to_owned(), commits);
            self.counter("pg.commits", name, Some(shown), &life);
        }
        self.counter("pg.rollbacks", name, line.number(1), &life);
        for (at, metric) in DATABASE.into_iter().enumerate() {
            if name.is_empty() || BY_DATABASE.contains(&metric) {
                self.counter(metric, name, line.number(at + 2), &life);
            }
        }
    }

    /// Any other statement's answer.
    pub(super) fn take(
        &mut self,
        name: &str,
        lines: &[Line],
        database: &str,
        is_home: bool,
        n_edges_max: usize,
    ) {
        match name {
            "blocked" => {
                let n = lines.first().and_then(|line| line.number(0)).unwrap_or(0.0);
                self.gauge("pg.blocked_sessions", "", n);
            }
            "edges" => self.clients(lines, n_edges_max),
            "replication" => self.replication(lines, n_edges_max),
            "standby" => self.standby(lines),
            "checkpoints" => lines.iter().for_each(|line| self.checkpoints(line)),
            "statements" => lines.iter().for_each(|line| self.statements(line)),
            "tables" => self.tables(lines, database, is_home),
            "rows" => self.counts.rows(database, lines, &mut self.counted),
            "maintenance" => lines.iter().for_each(|line| self.maintenance(line)),
            "foreign" => self.foreign(lines, database, n_edges_max),
            "members" => self.members(lines, n_edges_max),
            _ => {}
        }
    }

    fn clients(&mut self, lines: &[Line], n_max: usize) {
        let mut now = BTreeMap::new();
        let mut listed = 0.0;
        for line in lines {
            let client = edge(
                EdgeKind::Client,
                line.name(0),
                0,
                line.name(1),
                line.name(2),
                line.name(3),
            );
            let state: &mut State = now.entry(client).or_default();
            state.sessions += line.number(0).unwrap_or(0.0);
            state.active = Some(state.active.unwrap_or(0.0) + line.number(1).unwrap_or(0.0));
            listed += line.number(0).unwrap_or(0.0);
        }
        let all = lines
            .first()
            .and_then(|line| line.number(2))
            .unwrap_or(listed);
        self.n_left_out += (all - listed).max(0.0) as u64;
        self.n_left_out += self.clients.update(now, n_max, &mut self.readings);
    }

    fn replication(&mut self, lines: &[Line], n_max: usize) {
        let mut now = BTreeMap::new();
        let (mut n, mut bytes_max, mut seconds_max) = (0.0, None, None);
        for line in lines {
            let replica = edge(
                EdgeKind::Replication,
                line.name(0),
                0,
                line.name(1),
                line.name(2),
                "",
            );
            let is_streaming = line.number(0).unwrap_or(0.0);
            n += is_streaming;
            let state = State {
                sessions: 1.0,
                active: None,
                lag_bytes: line.number(1),
            };
            let part = format!("{}@{}", replica.application, replica.peer);
            now.insert(replica, state);
            if let Some(bytes) = line.number(1) {
                bytes_max = Some(bytes.max(bytes_max.unwrap_or(0.0)));
                self.gauge("pg.replication_lag_bytes", &part, bytes);
            }
            // An idle replica has no lag to tell: the database then says nothing, and it has caught up.
            let seconds = line
                .number(2)
                .or_else(|| (line.number(1) == Some(0.0)).then_some(0.0));
            if let Some(seconds) = seconds {
                seconds_max = Some(seconds.max(seconds_max.unwrap_or(0.0)));
                self.gauge("pg.replication_lag_s", &part, seconds);
            }
        }
        self.gauge("pg.replicas", "", n);
        if let Some(bytes) = bytes_max {
            self.gauge("pg.replication_lag_bytes", "", bytes);
        }
        if let Some(seconds) = seconds_max {
            self.gauge("pg.replication_lag_s", "", seconds);
        }
        self.n_left_out += self.replicas.update(now, n_max, &mut self.readings);
    }

    fn standby(&mut self, lines: &[Line]) {
        let Some(line) = lines.first() else { return };
        if let Some(bytes) = line.number(0) {
            self.gauge("pg.replication_lag_bytes", "", bytes);
        }
        if let Some(seconds) = line.number(1) {
            self.gauge("pg.replication_lag_s", "", seconds.max(0.0));
        }
    }

    fn checkpoints(&mut self, line: &Line) {
        let life = [line.number(5).unwrap_or(0.0)];
        let metrics = [
            "pg.checkpoints_timed",
            "pg.checkpoints_requested",
            "pg.checkpoint_write_ms",
            "pg.checkpoint_buffers",
            "pg.backend_buffers",
        ];
        for (at, metric) in metrics.into_iter().enumerate() {
            self.counter(metric, "", line.number(at), &life);
        }
    }

    fn statements(&mut self, line: &Line) {
        let (Some(calls), Some(ms)) = (line.number(0), line.number(1)) else {
            return;
        };
        let life = [line.number(2).unwrap_or(0.0)];
        let epoch = self.epoch(&life);
        self.counter("pg.statement_calls", "", Some(calls), &life);
        self.counter("pg.statement_exec_ms", "", Some(ms), &life);
        if let Some((last_epoch, last_calls, last_ms)) = self.statements
            && last_epoch == epoch
            && calls > last_calls
            && ms >= last_ms
        {
            self.gauge(
                "pg.statement_mean_ms",
                "",
                (ms - last_ms) / (calls - last_calls),
            );
        }
        self.statements = Some((epoch, calls, ms));
    }

    fn tables(&mut self, lines: &[Line], database: &str, is_home: bool) {
        let life = lines
            .iter()
            .find(|line| line.kind == "total")
            .and_then(|line| line.number(4))
            .unwrap_or(0.0);
        for line in lines.iter().filter(|line| line.kind == "total") {
            let part = if is_home { "" } else { database };
            self.counter("pg.sequential_tuples", part, line.number(0), &[life]);
            self.counter("pg.sequential_scans", part, line.number(1), &[life]);
            self.counter("pg.index_scans", part, line.number(2), &[life]);
            if let Some(dead) = line.number(3) {
                self.gauge("pg.dead_tuples", part, dead);
            }
            // A standby neither counts its dead rows nor vacuums: its primary does both.
            if let Some(overdue) = line.number(5).filter(|_| !self.in_recovery) {
                self.gauge("pg.vacuum_overdue", part, overdue);
            }
        }
        let epoch = self.epoch(&[life]);
        let board = self.boards.entry(database.to_owned()).or_default();
        board.update(database, lines, epoch, &mut self.readings);
    }

    fn maintenance(&mut self, line: &Line) {
        if line.kind == "slot" {
            let bytes = line.number(0).unwrap_or(0.0).max(0.0);
            self.gauge("pg.slots_retained_bytes", line.name(0), bytes);
            return;
        }
        if let Some(age) = line.number(0) {
            self.gauge("pg.frozen_xid_age", "", age);
        }
        self.gauge("pg.xmin_age", "", line.number(1).unwrap_or(0.0).max(0.0));
        self.counter(
            "pg.wal_archive_failures",
            "",
            line.number(2),
            &[line.number(3).unwrap_or(0.0)],
        );
    }

    fn foreign(&mut self, lines: &[Line], database: &str, n_max: usize) {
        let servers = lines
            .iter()
            .map(|line| [0, 1, 2, 3].map(|at| line.name(at).to_owned()))
            .collect();
        self.servers_by_database
            .insert(database.to_owned(), servers);
        let mut now = BTreeMap::new();
        for [_, host, port, remote] in self.servers_by_database.values().flatten() {
            let port = port.parse().unwrap_or(5432);
            let server = edge(EdgeKind::ForeignServer, host, port, "", "", remote);
            now.insert(server, State::held());
        }
        self.n_left_out += self.servers.update(now, n_max, &mut self.readings);
    }

    fn members(&mut self, lines: &[Line], n_max: usize) {
        let member = |line: &Line| {
            let member = edge(EdgeKind::Membership, line.name(1), 0, line.name(0), "", "");
            (member, State::held())
        };
        let now = lines.iter().map(member).collect();
        self.n_left_out += self.members.update(now, n_max, &mut self.readings);
    }

    /// Forgets what was known of databases other than `keep`; called when their list is read anew.
    pub(super) fn keep_databases(&mut self, keep: &[String]) {
        self.boards.retain(|name, _| keep.contains(name));
        self.counts.keep_databases(keep);
        self.servers_by_database
            .retain(|name, _| keep.contains(name));
    }
}

/// Equal parts, equal epoch, on every run.
fn epoch_of<'a>(parts: impl Iterator<Item = &'a f64>) -> u64 {
    parts.fold(fnv1a_64(&[]), |hash, part| {
        fnv1a_64_more(hash, &part.to_bits().to_le_bytes())
    })
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
