//! What the parts of the aggregator share: the snapshot, incident events, silences, counters. (steps 6, 7, 14, 15)
//!
//! In: the driver publishes. Out: web and alerts read; nobody but the driver touches the engine.
//! Invariants: SH-1 a reader never blocks the driver: snapshots are swapped, a slow event reader loses events (it sees
//! `Lagged` and reads the snapshot again). Does not: hold sockets, files or the engine.

mod questions;
pub mod weights;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hsw_engine::{Armed, Explanation, GraphView, Incident, IncidentId, ShardView};
use hsw_types::{NodeId, WallTime};
use tokio::sync::{broadcast, watch};

use crate::store::StoreHandle;
use crate::triggers::{Totals, TriggerView};

pub use questions::{DriverHandle, Question, Unanswered};

/// Everything web and alerts need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The state as of at most a second ago; `borrow().clone()` to read, `changed()` to follow.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Incidents as they are raised, change and close; call `subscribe()`.
    pub incidents: broadcast::Sender<IncidentEvent>,
    /// Questions only the engine can answer.
    pub driver: DriverHandle,
    /// Silences and older incidents.
    pub store: StoreHandle,
    /// Counters of every part.
    pub counters: Arc<Counters>,
}

/// The state once a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// When it was taken, the aggregator's clock.
    pub wall: WallTime,
    /// When the aggregator started.
    pub started: WallTime,
    /// Name of the cluster.
    pub cluster: String,
    /// Shards and routers, in name order.
    pub shards: Vec<ShardView>,
    /// Incidents, newest first: open ones and the closed ones the engine keeps.
    pub incidents: Vec<Arc<Incident>>,
    /// Why incidents are, as far as that was looked at.
    pub explanations: BTreeMap<IncidentId, Arc<Explanation>>,
    /// The interaction graph, renewed every five seconds.
    pub graph: Arc<GraphView>,
    /// Whether detection works yet.
    pub armed: Armed,
    /// Replay from the store is over.
    pub is_replayed: bool,
    /// Agents in name order: those connected since the aggregator started.
    pub agents: Vec<AgentView>,
    /// State of the store.
    pub store: StoreStatus,
    /// The engine's counters, `(name, total)`.
    pub engine_counters: Vec<(&'static str, u64)>,
    /// Triggers in name order.
    pub triggers: Vec<TriggerView>,
    /// What triggers came to since the start.
    pub trigger_totals: Totals,
    /// What scores, and how it fares.
    pub inference: hsw_inference::Status,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            wall: WallTime::default(),
            started: WallTime::default(),
            cluster: String::new(),
            shards: Vec::new(),
            incidents: Vec::new(),
            explanations: BTreeMap::new(),
            graph: Arc::default(),
            armed: Armed {
                is_armed: false,
                reasons: vec!["the aggregator has just started".to_owned()],
            },
            is_replayed: false,
            agents: Vec::new(),
            store: StoreStatus::default(),
            engine_counters: Vec::new(),
            triggers: Vec::new(),
            trigger_totals: Totals::default(),
            inference: hsw_inference::Status::default(),
        }
    }
}

/// One agent's connection.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    /// Who, by certificate.
    pub node: NodeId,
    /// Connected now.
    pub is_connected: bool,
    /// It said goodbye.
    pub is_stopped: bool,
    /// Where it connects from.
    pub address: String,
    /// Its version, as it says.
    pub version: String,
    /// Since when it is connected (or when it last was), the aggregator's clock.
    pub since: WallTime,
    /// Last message of any kind, the aggregator's clock.
    pub last_heard: WallTime,
    /// Summaries committed since the aggregator started.
    pub summaries: u64,
    /// Bytes in its spool, as it last said.
    pub spool_bytes: u64,
    /// Summaries in its spool, as it last said.
    pub spool_summaries: u64,
    /// Summaries it dropped because its spool was full.
    pub dropped: u64,
    /// Its clock minus the aggregator's, microseconds; `None` before the first heartbeat.
    pub clock_offset_us: Option<i64>,
    /// Round trip time of its connection, microseconds.
    pub rtt_us: u64,
    /// Whether it was told that its node is a landmark; `None` where it was told nothing (it speaks an older version).
    pub is_landmark: Option<bool>,
}

/// State of the store, for `/readyz` and `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreStatus {
    /// `None` when it takes data; else one line: what is wrong and what to do.
    pub trouble: Option<String>,
    /// Size of the database file.
    pub bytes: u64,
    /// Summaries held (upper bound between retention steps).
    pub summaries: u64,
    /// When the oldest held summary was received.
    pub oldest: Option<WallTime>,
}

/// What happened to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentChange {
    /// New.
    Raised,
    /// Something changed.
    Changed,
    /// Over.
    Closed,
}

/// One event for alerts and the live page.
#[derive(Debug, Clone)]
pub struct IncidentEvent {
    /// What happened.
    pub change: IncidentChange,
    /// The incident after it.
    pub incident: Arc<Incident>,
    /// It came out of replay at start: an old story unless its revision is new to the receiver.
    pub is_replay: bool,
}

/// Incidents that match are not told to anybody until it expires; they are still shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Identity, given by the store.
    pub id: i64,
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// Why.
    pub reason: String,
    /// Who.
    pub author: String,
    /// Since when.
    pub created: WallTime,
    /// Until when.
    pub expires: WallTime,
}

/// One condition of a silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// `shard`, `node`, `incident` (16 hex digits) or `metric`.
    pub label: String,
    /// Equal to this; `*` matches everything.
    pub value: String,
}

/// Counters of the shell; only ever go up.
#[derive(Debug, Default)]
pub struct Counters {
    values: [AtomicU64; COUNTERS.len()],
}

/// Names of the shell's [`Counters`], as in `/metrics` after the prefix `hsw_`.
pub const COUNTERS: [&str; 20] = [
    "ingest_connections_total",
    "ingest_refused_unknown_node_total",
    "ingest_refused_version_total",
    "ingest_refused_busy_total",
    "ingest_refused_malformed_total",
    "ingest_handshake_failures_total",
    "ingest_replaced_connections_total",
    "ingest_frames_total",
    "ingest_bytes_total",
    "ingest_heartbeats_total",
    "ingest_heard_dropped_total",
    "store_summaries_total",
    "store_duplicates_total",
    "store_overlaps_total",
    "store_unreadable_total",
    "store_commits_total",
    "store_commit_failures_total",
    "store_retention_rows_total",
    "trigger_messages_dropped_total",
    "incident_events_total",
];

/// One of the [`COUNTERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names stand in COUNTERS, in the same order"
)]
pub enum Counter {
    Connections,
    RefusedUnknownNode,
    RefusedVersion,
    RefusedBusy,
    RefusedMalformed,
    HandshakeFailures,
    ReplacedConnections,
    Frames,
    Bytes,
    Heartbeats,
    HeardDropped,
    Summaries,
    Duplicates,
    Overlaps,
    Unreadable,
    Commits,
    CommitFailures,
    RetentionRows,
    TriggerMessagesDropped,
    IncidentEvents,
}

impl Counters {
    /// One more.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// `n` more.
    pub fn add(&self, counter: Counter, n: u64) {
        self.values[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn value(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }

    /// All of them, in the order of [`COUNTERS`].
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        COUNTERS
            .iter()
            .zip(&self.values)
            .map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_their_names_stand_in_the_same_order() {
        let counters = Counters::default();
        for (counter, name) in [
            (Counter::Connections, "ingest_connections_total"),
            (Counter::HeardDropped, "ingest_heard_dropped_total"),
            (Counter::Unreadable, "store_unreadable_total"),
            (Counter::IncidentEvents, "incident_events_total"),
        ] {
            counters.add(counter, 3);
            assert!(counters.all().contains(&(name, 3)), "{name}");
        }
        assert_eq!(Counter::IncidentEvents as usize, COUNTERS.len() - 1);
    }
}
