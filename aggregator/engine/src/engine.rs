//! One state machine: state → graph → detectors → incidents. (steps 8–13)

use std::sync::Arc;

use hsw_types::{Monotonic, NodeId, SeriesKey, ShardId, ShardSummary, WallTime, WindowIndex};

use crate::incident::{Incident, IncidentId};
use crate::map::ShardMap;
use crate::view::{Armed, GraphView, SeriesView, ShardView};

/// Limits and thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Series per node; beyond it new ones are counted and left out. 4,000 by default.
    pub n_series_per_node_max: usize,
    /// Closed incidents kept in memory. 1,000 by default.
    pub n_incidents_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            n_series_per_node_max: 4_000,
            n_incidents_max: 1_000,
        }
    }
}

/// What the engine is told.
#[derive(Debug)]
pub enum Input {
    /// A committed summary, in sequence order per node. `is_replay`: from the store at start, not live.
    Summary {
        /// From whom (certificate).
        node: NodeId,
        /// The summary.
        summary: Box<ShardSummary>,
        /// When the aggregator received it (its clock).
        received: WallTime,
        /// From the store at start.
        is_replay: bool,
    },
    /// An agent's connection is up (its `Hello` was answered), or its heartbeat came.
    Heard {
        /// The node.
        node: NodeId,
        /// The agent's clock minus the aggregator's, microseconds, when known.
        clock_offset_us: Option<i64>,
    },
    /// The agent said goodbye.
    Stopped {
        /// The node.
        node: NodeId,
    },
    /// An incident from the store at start.
    Restored(Box<Incident>),
    /// Replay from the store is over; silence counts from now.
    ReplayDone {
        /// The aggregator's clock.
        wall: WallTime,
    },
    /// The clock, at least once a second.
    Clock {
        /// The aggregator's clock.
        wall: WallTime,
    },
}

/// What the shell must do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Store it, tell people.
    IncidentRaised(Arc<Incident>),
    /// Store it, tell people what changed.
    IncidentChanged(Arc<Incident>),
    /// Store it, tell people it is over.
    IncidentClosed(Arc<Incident>),
}

/// The engine. See the module's header.
#[derive(Debug)]
pub struct Engine {
    _config: Config,
    map: ShardMap,
}

impl Engine {
    /// Starts empty.
    #[must_use]
    pub fn new(config: Config, map: ShardMap) -> Self {
        Self {
            _config: config,
            map,
        }
    }

    /// Told something; `now` never runs backwards.
    pub fn handle(&mut self, _now: Monotonic, _input: Input) {}

    /// What to do next; drain before the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// Call `handle(_, Input::Clock)` no later than this.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }

    /// The shard map in force.
    #[must_use]
    pub const fn map(&self) -> &ShardMap {
        &self.map
    }

    /// Every shard and router, in name order.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardView> {
        Vec::new()
    }

    /// Whether detection works yet.
    #[must_use]
    pub fn armed(&self) -> Armed {
        Armed {
            is_armed: false,
            reasons: Vec::new(),
        }
    }

    /// Incidents, newest first: open ones and the closed ones still kept.
    #[must_use]
    pub fn incidents(&self) -> Vec<Arc<Incident>> {
        Vec::new()
    }

    /// One incident.
    #[must_use]
    pub fn incident(&self, _id: IncidentId) -> Option<Arc<Incident>> {
        None
    }

    /// The interaction graph now.
    #[must_use]
    pub fn graph(&self) -> GraphView {
        GraphView::default()
    }

    /// The same series on every node of the given shards that has it (all shards when empty), for charts.
    #[must_use]
    pub fn series(
        &self,
        _key: &SeriesKey,
        _shards: &[ShardId],
        _from: WindowIndex,
    ) -> Vec<SeriesView> {
        Vec::new()
    }

    /// Names of the series a node has, ascending.
    #[must_use]
    pub fn series_names(&self, _node: &NodeId) -> Vec<SeriesKey> {
        Vec::new()
    }

    /// What was left out or refused, since the start: (`name`, count), for `/metrics`.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
