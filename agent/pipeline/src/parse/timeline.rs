//! State changes of one node, from its log. (steps 2, 15)
//!
//! In: the records of one node's log, in order. Out: [`Event`]s: starts, stops, states, views of the cluster.
//! Invariants: TL-1 each change is told once: what a layer above repeats in other words (the server's status, the view it
//! was told) counts only where the layer below is silent. TL-2 only words of the servers get out, no value of a client.
//! Source: Galera `gcs/src/gcs.cpp` ("Shifting"), `gcs_group.cpp` ("New COMPONENT", "Restored state"); wsrep-lib
//! `server_state.cpp` ("Server status change"); PostgreSQL `postmaster.c`, `xlog.c`; MongoDB log ids; Redis `server.c`.

use hsw_types::WallTime;

use super::LogFormat;
use super::record::{LogRecord, Severity};
use super::time::digits;

/// Longest node name that is taken from a log.
const NAME_BYTES_MAX: usize = 64;

/// Somebody asked the server to stop.
const RECEIVED: &str = "received shutdown";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The server starts; `a`: its version.
    Start,
    /// It stops; `a`: how.
    Stop,
    /// Its state changed from `a` to `b`.
    State,
    /// It sees another cluster: `a` PRIMARY or NON-PRIMARY, `b` the number of members.
    View,
    /// `a` says what.
    Other,
}

impl EventKind {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::State => "state",
            Self::View => "view",
            Self::Other => "other",
        }
    }
}

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, as the node's clock says.
    pub at: WallTime,
    /// What.
    pub kind: EventKind,
    /// First word, see [`EventKind`].
    pub a: String,
    /// Second word.
    pub b: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Galera,
    Postgres,
    Mongo,
    Redis,
    None,
}

/// Follows one node. See the module's header.
#[derive(Debug)]
pub struct Timeline {
    system: System,
    /// Of the last line that had a time.
    last: Option<WallTime>,
    state: String,
    name: String,
    /// Our place among the members, as the newest view says.
    index: Option<u64>,
    /// The group layer tells its states, the component layer its views.
    shifts: bool,
    components: bool,
    /// A shutdown was told that has not ended yet.
    stopping: bool,
}

impl Timeline {
    /// Of a node whose log has this format.
    #[must_use]
    pub fn new(format: &LogFormat) -> Self {
        let system = match format {
            LogFormat::MysqlError => System::Galera,
            LogFormat::Json | LogFormat::Csv | LogFormat::Stderr(_) => System::Postgres,
            LogFormat::Mongo | LogFormat::MongoText => System::Mongo,
            LogFormat::Redis => System::Redis,
            LogFormat::MysqlSlow | LogFormat::Plain => System::None,
        };
        Self {
            system,
            last: None,
            state: String::new(),
            name: String::new(),
            index: None,
            shifts: false,
            components: false,
            stopping: false,
        }
    }

    /// What the node calls itself; empty until the log says it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next record.
    pub fn record(&mut self, record: &LogRecord, emit: &mut impl FnMut(Event)) {
        self.last = record.at.or(self.last);
        let Some(at) = self.last else {
            return;
        };
        let mut tell = |kind, a: &str, b: &str| {
            emit(Event {
                at,
                kind,
                a: a.to_owned(),
                b: b.to_owned(),
            });
        };
        match self.system {
            System::Galera => self.galera(record, &mut tell),
            System::Postgres => self.postgres(&record.message, &mut tell),
            System::Mongo => self.mongo(&record.message, &mut tell),
            System::Redis => self.redis(&record.message, &mut tell),
            System::None => {}
        }
    }

    /// Tells a state of a system that names only the new one, or names it more than once.
    fn becomes(&mut self, state: &str, tell: &mut impl FnMut(EventKind, &str, &str)) {
        if self.state != state {
            tell(EventKind::State, &self.state, state);
            self.state.clear();
            self.state.push_str(state);
        }
    }

    fn galera(&mut self, record: &LogRecord, tell: &mut impl FnMut(EventKind, &str, &str)) {
        let message = record.message.as_str();
        let words = message.strip_prefix("WSREP: ").unwrap_or(message);
        let first = words.lines().next().unwrap_or("");
        let shift = first
            .strip_prefix("Shifting ")
            .or_else(|| first.strip_prefix("Restored state "));
        if let Some((from, to)) = shift.and_then(arrow) {
            self.shifts = true;
            let (from, to) = (group_state(from), group_state(to));
            tell(EventKind::State, from, to);
            self.state.clear();
            self.state.push_str(to);
        } else if let Some(change) = first.strip_prefix("Server status change ") {
            let to = arrow(change).and_then(|(_, to)| server_state(to));
            if let Some(to) = to.filter(|_| !self.shifts) {
                self.becomes(to, tell);
            }
        } else if let Some(component) = first.strip_prefix("New COMPONENT: ") {
            self.components = true;
            self.index = after(component, "my_idx = ");
            if let Some(n) = after(component, "memb_num = ") {
                let primary = component.contains("primary = yes");
                tell(EventKind::View, view(primary), &n.to_string());
            }
        } else if first.starts_with("New cluster view: ") {
            if let Some(n) = after(first, "number of nodes: ").filter(|_| !self.components) {
                // `view# 17: Primary`, `view# -1: non-Primary`.
                tell(
                    EventKind::View,
                    view(first.contains(": Primary")),
                    &n.to_string(),
                );
            }
        } else if first.starts_with("Quorum results:") {
            self.quorum(words, tell);
        } else if let Some((_, said)) = first.split_once("group_replication reported: '") {
            self.group_replication(said, tell);
        } else {
            self.learn_name(words);
            let stopping = &mut self.stopping;
            server(first, record, &mut |kind, a, b| {
                // Whoever asks for it says so, and so does the server.
                let again = std::mem::replace(stopping, kind == EventKind::Stop && a == RECEIVED);
                if kind == EventKind::Other {
                    *stopping = again;
                }
                if !(again && *stopping && kind == EventKind::Stop) {
                    tell(kind, a, b);
                }
            });
        }
    }

    /// `component = PRIMARY, members = 3/3 (primary/total)`, over several lines.
    fn quorum(&self, words: &str, tell: &mut impl FnMut(EventKind, &str, &str)) {
        let total = words
            .split_once("members ")
            .and_then(|(_, rest)| rest.split_once('/'))
            .and_then(|(_, rest)| after(rest, ""));
        if let Some(n) = total.filter(|_| !self.components) {
            let primary = words.contains("= PRIMARY");
            tell(EventKind::View, view(primary), &n.to_string());
        }
    }

    /// MySQL's own replication groups: states as `performance_schema` names them.
    fn group_replication(&mut self, said: &str, tell: &mut impl FnMut(EventKind, &str, &str)) {
        if said.starts_with("This server was declared online") {
            self.becomes("ONLINE", tell);
        } else if said.contains("changing member status to ERROR") {
            self.becomes("ERROR", tell);
        } else if said.contains("This member has left the group") {
            self.becomes("OFFLINE", tell);
        } else if let Some(list) = said.strip_prefix("Group membership changed to ") {
            let list = list.split(" on view").next().unwrap_or("");
            let n = list.split(',').count();
            tell(EventKind::View, view(true), &n.to_string());
        } else if said.contains("not able to reach a majority of members") {
            tell(EventKind::View, view(false), "");
        }
    }

    /// `… got state msg: UUID from 2 (name)`, `Member 2.0 (name) synced with group.`, and the list of members of a view.
    fn learn_name(&mut self, words: &str) {
        if let Some(list) = words.split_once("\n  own_index: ").map(|(_, list)| list) {
            let own = after(list, "");
            let named = list.lines().find_map(|line| {
                // `0: 1d3ea8f5-…, name`
                let (index, rest) = line.trim().split_once(": ")?;
                let (_, name) = rest.split_once(", ")?;
                (index.parse().ok() == own && own.is_some()).then_some(name)
            });
            self.index = own.or(self.index);
            self.take_name(named);
            return;
        }
        // MariaDB says it outright.
        let server = words
            .strip_prefix("Server ")
            .and_then(|rest| rest.split_once(" connected to cluster at position"));
        if let Some((name, _)) = server {
            self.take_name(Some(name));
            return;
        }
        let rest = words
            .strip_prefix("STATE EXCHANGE: got state msg: ")
            .and_then(|rest| rest.split_once(" from ").map(|(_, rest)| rest))
            .or_else(|| words.strip_prefix("Member "));
        let Some(rest) = rest else {
            return;
        };
        if self.index.is_none() || after(rest, "") != self.index {
            return;
        }
        let name = rest
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(name, _)| name);
        self.take_name(name);
    }

    fn take_name(&mut self, name: Option<&str>) {
        let sound = |name: &&str| !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if let Some(name) = name.filter(sound) {
            self.name.clear();
            self.name.push_str(name);
        }
    }

    fn postgres(&mut self, message: &str, tell: &mut impl FnMut(EventKind, &str, &str)) {
        if let Some(rest) = message.strip_prefix("starting PostgreSQL ") {
            self.state.clear();
            tell(EventKind::Start, rest.split(' ').next().unwrap_or(""), "");
        } else if message.starts_with("received ") && message.ends_with(" shutdown request") {
            tell(EventKind::Stop, RECEIVED, "");
        } else if message == "database system is shut down" {
            tell(EventKind::Stop, "shutdown complete", "");
            self.becomes("DOWN", tell);
        } else if message.starts_with("all server processes terminated; reinit") {
            tell(EventKind::Stop, "crashed", "");
            self.becomes("DOWN", tell);
        } else if message.starts_with("database system was interrupted")
            || message.starts_with("database system was not properly shut down")
        {
            self.becomes("RECOVERY", tell);
        } else if message == "entering standby mode"
            || message.starts_with("database system is ready to accept read")
        {
            self.becomes("STANDBY", tell);
        } else if message == "received promote request" {
            self.becomes("PROMOTING", tell);
        } else if message == "database system is ready to accept connections" {
            self.becomes("PRIMARY", tell);
        }
    }

    fn mongo(&mut self, message: &str, tell: &mut impl FnMut(EventKind, &str, &str)) {
        let changed = message
            .strip_prefix("Replica set state transition: ")
            .and_then(arrow)
            .map(|(_, to)| to)
            .or_else(|| {
                let rest = message.strip_prefix("transition to ")?;
                rest.split_once(" from ").map(|(to, _)| to)
            })
            .or_else(|| message.strip_prefix("replSet "));
        if let Some(state) = changed.and_then(replica_state) {
            self.becomes(state, tell);
        } else if message.starts_with("MongoDB starting") || message.starts_with("MongoS version") {
            self.state.clear();
            tell(EventKind::Start, "", "");
        } else if message.starts_with("got signal 15") || message.starts_with("Received signal") {
            tell(EventKind::Stop, RECEIVED, "");
        } else if message.starts_with("now exiting")
            || message.starts_with("Now exiting")
            || message.starts_with("shutting down with code:")
            || message.starts_with("dbexit: really exiting now")
            || message.starts_with("MongoD shutdown complete")
        {
            tell(EventKind::Stop, "shutdown complete", "");
            self.becomes("DOWN", tell);
        } else if message.starts_with("Got signal: ") || message.starts_with("Invalid access") {
            tell(EventKind::Stop, "crashed", "");
        }
    }

    fn redis(&mut self, message: &str, tell: &mut impl FnMut(EventKind, &str, &str)) {
        let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if let Some(rest) = message
            .strip_prefix("Redis version=")
            .or_else(|| message.strip_prefix("Valkey version="))
            .or_else(|| message.strip_prefix("Server started, Redis version "))
        {
            self.state.clear();
            tell(
                EventKind::Start,
                rest.split([',', ' ']).next().unwrap_or(""),
                "",
            );
        } else if has(&["User requested shutdown", "scheduling shutdown"]) {
            tell(EventKind::Stop, RECEIVED, "");
        } else if has(&["is now ready to exit, bye bye"]) {
            tell(EventKind::Stop, "shutdown complete", "");
            self.becomes("DOWN", tell);
        } else if has(&[" crashed by signal"]) {
            tell(EventKind::Stop, "crashed", "");
        } else if has(&["MASTER MODE enabled"]) {
            self.becomes("PRIMARY", tell);
        } else if (message.starts_with("REPLICAOF ") || message.starts_with("SLAVE OF "))
            || message.starts_with("Before turning into a ")
        {
            self.becomes("REPLICA", tell);
        } else if let Some(state) = message.strip_prefix("Cluster state changed: ") {
            let primary = state.starts_with("ok");
            tell(EventKind::View, view(primary), "");
        }
    }
}

/// What the server itself says, with or without Galera.
fn server(first: &str, record: &LogRecord, tell: &mut impl FnMut(EventKind, &str, &str)) {
    if first.contains(" starting as process ")
        || (first.starts_with("Starting MariaDB ") && first.contains(" as process "))
    {
        tell(EventKind::Start, version(first), "");
    } else if first.starts_with("Received shutdown signal")
        || first.starts_with("Received SHUTDOWN from user")
        || (first.contains("(initiated by: ") && first.contains("ormal shutdown"))
        || first.ends_with(": Normal shutdown")
    {
        tell(EventKind::Stop, RECEIVED, "");
    } else if first.contains("mysqld: Shutdown complete")
        || first.contains("mariadbd: Shutdown complete")
    {
        tell(EventKind::Stop, "shutdown complete", "");
    } else if first.ends_with("mysqld: Terminated.") || first.ends_with("mariadbd: Terminated.") {
        tell(EventKind::Stop, "terminated", "");
    } else if record.severity == Severity::Panic {
        tell(EventKind::Stop, "crashed", "");
    } else if first == "Aborting" {
        tell(EventKind::Other, "aborting", "");
    } else if first.starts_with("Inconsistency detected")
        || first.contains("consistency compromised")
    {
        tell(EventKind::Other, "inconsistent with the cluster", "");
    } else if first.contains("has been evicted") {
        tell(EventKind::Other, "evicted", "");
    } else if first.starts_with("SST request was cancelled")
        || first.starts_with("SST script aborted")
    {
        tell(EventKind::Other, "state transfer failed", "");
    } else if first.starts_with("Bootstrapping a new cluster")
        || first.contains(" bootstrap, '--wsrep-new-cluster'")
    {
        tell(EventKind::Other, "bootstrapping", "");
    }
}

/// `A -> B (TO: 5)`.
fn arrow(text: &str) -> Option<(&str, &str)> {
    let (from, rest) = text.split_once(" -> ")?;
    let to = rest.split([' ', '(']).next()?;
    Some((from.trim(), to))
}

/// A donor is out of step by definition; both words are one state.
fn group_state(word: &str) -> &str {
    match word {
        "DONOR/DESYNCED" => "DONOR",
        // An unknown word of a later version is told as it is, if it is one.
        word if word.len() <= 32 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') => {
            word
        }
        _ => "UNKNOWN",
    }
}

/// The group's word for a status of the server above it; those in between have none.
fn server_state(word: &str) -> Option<&'static str> {
    Some(match word {
        "disconnected" => "CLOSED",
        "connected" => "OPEN",
        "joiner" => "JOINER",
        "joined" => "JOINED",
        "donor" => "DONOR",
        "synced" => "SYNCED",
        _ => return None,
    })
}

fn replica_state(word: &str) -> Option<&'static str> {
    const STATES: [&str; 10] = [
        "STARTUP",
        "PRIMARY",
        "SECONDARY",
        "RECOVERING",
        "STARTUP2",
        "UNKNOWN",
        "ARBITER",
        "DOWN",
        "ROLLBACK",
        "REMOVED",
    ];
    STATES.into_iter().find(|state| *state == word.trim())
}

fn view(primary: bool) -> &'static str {
    if primary { "PRIMARY" } else { "NON-PRIMARY" }
}

/// The number that follows a word.
fn after(text: &str, word: &str) -> Option<u64> {
    let rest = &text[text.find(word)? + word.len()..];
    rest[..digits(rest.as_bytes())].parse().ok()
}

/// `/usr/sbin/mysqld (mysqld 8.0.28-19.1) starting …`, `Starting MariaDB 10.11.6-MariaDB source …`.
fn version(text: &str) -> &str {
    let words = text.split([' ', '(', ')']);
    let is_version =
        |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(is_version).unwrap_or("")
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
