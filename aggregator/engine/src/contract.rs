//! What the engine is told, what it asks for, and its limits. (steps 8–13)

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_explain::{Known, NamedCase};
use hsw_fusion::{Batch, Scores};
use hsw_fusion::{HyperScore, Label, Version, Weights};
use hsw_structure::LEARNING_US;
use hsw_types::{HotKind, NodeId, ShardSummary, WallTime, WindowIndex};

use crate::incident::{Incident, IncidentId};
use crate::why::{Explanation, Feedback};

/// Limits and thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Series per node; beyond it new ones are counted and left out. 4,000 by default.
    pub n_series_per_node_max: usize,
    /// Closed incidents kept in memory. 1,000 by default.
    pub n_incidents_max: usize,
    /// Seconds of who talks to whom that are learned before a new edge can be an intrusion. 180 by default.
    pub learn_s: u32,
    /// Weights of the detectors before labels say otherwise. All the same by default.
    pub weights: Weights,
    /// Form of the grade. Centred by default.
    pub hyperscore: HyperScore,
    /// Cases of causes that are known from the start. None by default.
    pub causes: Vec<NamedCase>,
    /// What to do first, by cause. Empty by default.
    pub runbook: BTreeMap<String, String>,
    /// Milliseconds within which [`Output::Score`] must be answered; past them the statistical fusion judges alone. `None`, the
    /// default, where nobody scores: then none is asked for.
    pub score_ms_max: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            n_series_per_node_max: 4_000,
            n_incidents_max: 1_000,
            learn_s: (LEARNING_US / 1_000_000) as u32,
            weights: Weights::default(),
            hyperscore: HyperScore::default(),
            causes: Vec::new(),
            runbook: BTreeMap::new(),
            score_ms_max: None,
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
    /// What a key of a hot list stands for, from the store at start.
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
    /// An incident from the store at start.
    Restored(Box<Incident>),
    /// An operator says that this open incident about edges is no intrusion; nothing where there is none.
    Accepted(IncidentId),
    /// An operator says whether something was wrong with the root of an incident; nothing where it was not judged.
    Labelled {
        /// Which.
        id: IncidentId,
        /// There was.
        is_sick: bool,
    },
    /// Versions of weights and labels from the store at start.
    Weights {
        /// Ascending.
        versions: Vec<Version>,
        /// Oldest first.
        labels: Vec<Label>,
    },
    /// An operator says what an explained incident was; nothing where it has no explanation.
    Feedback {
        /// Which.
        id: IncidentId,
        /// His word.
        word: Feedback,
    },
    /// Cases that operators named, in the place of those known; `is_new` unless they come from the store.
    Causes {
        /// All of them.
        cases: Vec<NamedCase>,
        /// The store does not have them yet.
        is_new: bool,
    },
    /// What was learned from the cases of the newest [`Output::Learn`].
    Learned(Box<Known>),
    /// An explanation from the store at start.
    Explained(IncidentId, Box<Explanation>),
    /// What a model says of a batch that was asked for.
    Scored(Scores),
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
    /// Store it: why an incident is, as far as is known by now; it takes the place of what was said before.
    Explained(IncidentId, Arc<Explanation>),
    /// Store them: all cases that operators named.
    Causes(Arc<Vec<NamedCase>>),
    /// Learn from all these ([`Known::learn`]) outside of this thread, and say [`Input::Learned`]; only the newest counts.
    Learn(Arc<Vec<NamedCase>>),
    /// Let the model score it and say so with [`Input::Scored`]; nothing depends on an answer.
    Score(Box<Batch>),
}

/// What was left out or refused, since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) unknown_ids: u64,
    pub(crate) over_limit: u64,
    pub(crate) windows_judged: u64,
    pub(crate) windows_skipped: u64,
    pub(crate) summaries: u64,
    pub(crate) summaries_shifted: u64,
    pub(crate) nodes_without_shard: u64,
    pub(crate) looks: u64,
    pub(crate) looks_too_late: u64,
}

impl Counters {
    /// By name, for `/metrics`.
    pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("summaries", self.summaries),
            ("summaries_of_wrong_clocks", self.summaries_shifted),
            ("windows_judged", self.windows_judged),
            ("windows_skipped", self.windows_skipped),
            ("values_of_unknown_series", self.unknown_ids),
            ("series_over_limit", self.over_limit),
            ("summaries_without_shard", self.nodes_without_shard),
            ("explanations", self.looks),
            ("explanations_too_late", self.looks_too_late),
        ]
    }
}
