//! The store: summaries, incidents and silences in one SQLite file; commit before acknowledgement. (step 7)
//!
//! In: [`Command`]s through a bounded queue. Out: acknowledgements, then what was committed, in order, to the driver.
//! Invariants: ST-1 an acknowledgement follows the commit (WAL, `synchronous=FULL`) of what it acknowledges. ST-2 a
//! summary is stored once: the row and the mark that recognises it again are one transaction. ST-3 the driver hears
//! only of committed summaries, in sequence order per node. ST-4 when the disk takes nothing, nothing is acknowledged.
//! Limits: [`Config`]; a batch holds at most [`BATCH_SUMMARIES_MAX`]; retention deletes [`RETENTION_ROWS`] rows a step.
//! Does not: know sockets or judge what it stores.

mod commit;
mod handle;
mod hot;
mod replay;
mod retention;
mod schema;
mod stored_explanation;
mod stored_incident;
mod stored_weights;
#[cfg(test)]
mod tests;
mod triggers;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use hsw_engine::{Explanation, Incident, IncidentId};
use hsw_explain::NamedCase;
use hsw_hot::{HotRow, Span};
use hsw_sketch::HeavyHitters;
use hsw_types::{HotKind, NodeId, ShardSummary, WallTime, WindowIndex};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::shared::Silence;
use crate::triggers::Refusal;

pub(crate) use handle::wall_now;
pub use handle::{StoreError, StoreHandle};
#[cfg(test)]
pub(crate) use stored_explanation::example as example_explanation;
pub use stored_weights::{StoredWeights, origin_word, state_word};
pub use triggers::{Kept, StoredTrigger, TriggerChange};
pub use worker::{Running, Store, start};

/// Summaries in one transaction at most; more wait for the next one.
pub const BATCH_SUMMARIES_MAX: usize = 4_096;

/// Rows one retention step deletes at most; steps come once a second, 2,000 agents write 1,000 rows a second.
pub const RETENTION_ROWS: i64 = 4_000;

/// Where and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Days a summary is kept. 7 by default.
    pub keep_days: u32,
    /// Size of the database file at most, MiB; beyond it the oldest summaries go. 8,192 by default.
    /// A node with 500 series takes about 100 MB a day (measured with simulated agents: 2.1 KB a row of 2 s, names again every 5 minutes).
    pub size_max_mib: u64,
    /// How long a batch gathers before it is committed, milliseconds. 50 by default; more means fewer disk flushes.
    pub gather_ms: u64,
    /// Minutes of data read back into memory at start. 30 by default.
    pub replay_minutes: u32,
    /// Commands that may wait for the store; beyond it agents are read more slowly. 4,096 by default.
    pub queue: usize,
    /// Closed incidents kept. 10,000 by default.
    pub incidents_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_days: 7,
            size_max_mib: 8_192,
            gather_ms: 50,
            replay_minutes: 30,
            queue: 4_096,
            incidents_max: 10_000,
        }
    }
}

/// A summary as it arrived.
#[derive(Debug)]
pub struct Received {
    /// From whom, by certificate.
    pub node: NodeId,
    /// Life of the agent's spool.
    pub incarnation: u64,
    /// Number within it.
    pub sequence: u64,
    /// Encoded summary, stored as it is.
    pub payload: Vec<u8>,
    /// The same, decoded; `None` when it could not be: it is stored and acknowledged, but judged by nobody.
    pub summary: Option<Box<ShardSummary>>,
    /// The aggregator's clock on arrival.
    pub received: WallTime,
    /// Carries the highest committed sequence back to the connection.
    pub ack: watch::Sender<u64>,
}

/// Where a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Highest committed sequence of the incarnation; 0 for none.
    pub last_sequence: u64,
    /// Last committed window of the node.
    pub last_window: Option<WindowIndex>,
}

/// What the store is asked.
#[derive(Debug)]
pub enum Command {
    /// Store and acknowledge.
    Summary(Box<Received>),
    /// An agent connects.
    Hello {
        /// Who.
        node: NodeId,
        /// Life of its spool.
        incarnation: u64,
        /// Where to go on, once everything before is committed.
        reply: oneshot::Sender<Resume>,
    },
    /// An agent stopped in order.
    Stopped {
        /// Who.
        node: NodeId,
    },
    /// Store this revision of an incident.
    Incident(Arc<Incident>),
    /// Store the weights' versions and the labels, in the place of what was kept.
    Weights(Box<StoredWeights>),
    /// Store why an incident is, in the place of what was said of it before.
    Explained(IncidentId, Arc<Explanation>),
    /// Store all cases that operators named.
    Causes {
        /// In the place of those before.
        cases: Arc<Vec<NamedCase>>,
        /// Whoever waits until it is committed.
        replies: Vec<oneshot::Sender<()>>,
    },
    /// Store finished minutes of what was counted, and names.
    Hot {
        /// In order per node.
        rows: Vec<HotRow>,
        /// What keys stand for.
        names: Vec<(HotKind, u64, String)>,
        /// The aggregator's clock.
        now: WallTime,
    },
    /// Store these changes of triggers, in order.
    Triggers {
        /// What changed.
        changes: Vec<TriggerChange>,
        /// Told once it is committed.
        reply: Option<oneshot::Sender<Result<(), Refusal>>>,
    },
    /// What nodes counted in a span.
    HotSpan {
        /// Which nodes.
        nodes: Vec<NodeId>,
        /// Of what.
        kind: HotKind,
        /// When.
        span: Span,
        /// The answer.
        reply: oneshot::Sender<Result<HeavyHitters, StoreError>>,
    },
    /// Incidents, newest first.
    Incidents {
        /// How many at most.
        limit: usize,
        /// Started before this window.
        before: Option<WindowIndex>,
        /// The answer.
        reply: oneshot::Sender<Result<Vec<Arc<Incident>>, StoreError>>,
    },
    /// Summaries received since a moment, as at a start.
    Recent {
        /// Since when.
        since: WallTime,
        /// The answer.
        reply: oneshot::Sender<Result<Vec<Committed>, StoreError>>,
    },
    /// Silences in force at `now`.
    Silences {
        /// The aggregator's clock.
        now: WallTime,
        /// The answer.
        reply: oneshot::Sender<Result<Vec<Silence>, StoreError>>,
    },
    /// A new silence.
    AddSilence {
        /// Its `id` is ignored.
        silence: Box<Silence>,
        /// Its id, once committed.
        reply: oneshot::Sender<Result<i64, StoreError>>,
    },
    /// Remove a silence.
    RemoveSilence {
        /// Which.
        id: i64,
        /// Whether there was one.
        reply: oneshot::Sender<Result<bool, StoreError>>,
    },
    /// One step of retention and a fresh status; once a second.
    Maintain {
        /// The aggregator's clock.
        now: WallTime,
    },
    /// Commit what waits, close the file, answer, end.
    Close {
        /// Answered when the file is closed.
        reply: oneshot::Sender<()>,
    },
}

/// What the driver hears of the store, in order.
#[derive(Debug)]
pub enum Committed {
    /// An incident of earlier, at start.
    Restored(Box<Incident>),
    /// Weights' versions and labels of earlier, at start.
    Weights(Box<StoredWeights>),
    /// Why an incident of earlier was, at start.
    Explained(IncidentId, Box<Explanation>),
    /// Cases that operators named, at start.
    Causes(Vec<NamedCase>),
    /// Every trigger of earlier, at start.
    Triggers(Vec<Kept>),
    /// What a key of a hot list stands for, at start.
    HotName {
        /// Of what.
        kind: HotKind,
        /// The key.
        key: u64,
        /// Its name.
        name: String,
        /// When it was last told.
        told: WindowIndex,
    },
    /// A summary is committed.
    Summary {
        /// From whom.
        node: NodeId,
        /// The summary.
        summary: Box<ShardSummary>,
        /// When it arrived.
        received: WallTime,
        /// Read back at start.
        is_replay: bool,
    },
    /// An agent stopped in order.
    Stopped {
        /// Who.
        node: NodeId,
    },
    /// Everything of earlier has been told.
    ReplayDone,
}

/// Name of the database file in the data directory.
pub(crate) fn file_in(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("hypershardwatch.db")
}
