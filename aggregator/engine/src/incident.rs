//! The incident: one cause, one root shard, all its symptoms. (steps 10–14)

use hsw_graph::{EdgeId, InteractionGraph, Vertex};
use hsw_structure::Pattern;
use hsw_types::{
    EdgeKind, Family, LogSample, NodeId, SeriesKey, ShardId, Unit, WallTime, WindowIndex,
};

use crate::judgement::Judgement;

/// Stable identity of an incident: 16 hex digits of a hash of root, start and cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub u64);

/// Where an incident is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentState {
    /// Going on.
    Open,
    /// Over.
    Closed,
}

/// What kind of symptom opened or feeds an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Symptom {
    /// A series left its own past and its siblings.
    Deviation,
    /// The database does not answer its agent.
    DatabaseSilent,
    /// The database refuses or is gone while its host and agent are well.
    DatabaseDown,
    /// No word from the agent, while other nodes of its host speak.
    AgentLost,
    /// No word from any node of the host.
    HostLost,
    /// Log lines of a kind that is new, or far more frequent than it was; says more about a trouble, is none itself.
    LogLine,
    /// Work of a kind that came far more often than it did; says more about a trouble, is none itself.
    Hot,
    /// Somebody talks to somebody he is not expected to talk to.
    Interaction,
}

impl Symptom {
    /// Whether it only says more about the symptoms of others.
    #[must_use]
    pub const fn is_context(self) -> bool {
        matches!(self, Self::LogLine | Self::Hot | Self::Interaction)
    }
}

/// One piece of evidence, ready to be read aloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What kind.
    pub symptom: Symptom,
    /// The node it was seen on.
    pub node: NodeId,
    /// The shard of that node.
    pub shard: ShardId,
    /// The series (for [`Symptom::Deviation`]; else a liveness series).
    pub series: SeriesKey,
    /// Its family.
    pub family: Family,
    /// Unit of the values.
    pub unit: Unit,
    /// First window of the deviation.
    pub since: WindowIndex,
    /// Value at its worst (or now).
    pub value: f64,
    /// What its own past says is usual; `None` when unknown.
    pub usual: Option<f64>,
    /// What the siblings show at the same moment (median); `None` without siblings.
    pub siblings: Option<f64>,
    /// Robust standard deviations from what was expected; signed, higher is more.
    pub residual: f64,
    /// Weight in the ranking, 0 to 1, sums to 1 over an incident.
    pub weight: f64,
    /// One sentence, e.g. `sessions waiting for a lock: 7 (usually 0; siblings 0)`.
    pub sentence: String,
}

/// An incident as everybody sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Identity.
    pub id: IncidentId,
    /// Open or closed.
    pub state: IncidentState,
    /// The shard (or router) that is the root.
    pub root: ShardId,
    /// The node within it that shows it most.
    pub node: NodeId,
    /// First evidence, data time.
    pub started: WindowIndex,
    /// When it was raised, data time of the newest window then.
    pub raised: WindowIndex,
    /// Recovery, data time; `None` while open.
    pub ended: Option<WindowIndex>,
    /// 0 to 1: how sure the engine is that this is an incident.
    pub confidence: f64,
    /// One line: which shard, what, since when.
    pub summary: String,
    /// Evidence at the root, heaviest first, at most 12.
    pub evidence: Vec<Evidence>,
    /// Other shards that show symptoms, with their strongest evidence.
    pub affected: Vec<(ShardId, Evidence)>,
    /// Log lines (masked) of the root around the start, at most 10.
    pub log_samples: Vec<LogSample>,
    /// What the detectors said of the root when they said most, with their weights; `None` where it was not judged.
    pub judgement: Option<Judgement>,
    /// Who goes where he never went, where the root is an edge of the graph; `root` is then the shard at its end.
    pub intrusion: Option<Intrusion>,
    /// Counts up with every change; 1 when raised.
    pub revision: u32,
}

/// An incident's root that is an edge: who, and along which ways.
#[derive(Debug, Clone, PartialEq)]
pub struct Intrusion {
    /// What it looks like.
    pub pattern: Pattern,
    /// Vertex of who acts ([`hsw_graph::Vertex::id`]).
    pub client: String,
    /// The edges, in the order they showed themselves; at most 50.
    pub edges: Vec<IntrusionEdge>,
    /// Why it is not to be expected, in words, strongest first; at most 12.
    pub reasons: Vec<String>,
    /// Chance to see this by honest change, 0 to 1.
    pub p: f64,
    /// Distances to landmarks that these edges changed.
    pub n_distances: usize,
    /// An operator has said that it is none: its edges are to be expected, after a restart too.
    pub is_accepted: bool,
}

/// One edge of an [`Intrusion`].
#[derive(Debug, Clone, PartialEq)]
pub struct IntrusionEdge {
    /// From vertex id.
    pub from: String,
    /// To vertex id.
    pub to: String,
    /// How.
    pub kind: EdgeKind,
    /// Login roles seen on it.
    pub users: Vec<String>,
    /// When it became suspicious, data time.
    pub since: WallTime,
}

impl IntrusionEdge {
    pub(crate) fn of(edge: &EdgeId, graph: &InteractionGraph, since: WallTime) -> Self {
        let users = graph.edge(edge).map(|edge| edge.users.keys().cloned());
        Self {
            from: edge.from.id(),
            to: edge.to.id(),
            kind: edge.kind,
            users: users.into_iter().flatten().collect(),
            since,
        }
    }

    /// The edge of these names; `None` where they are no vertices'.
    pub(crate) fn id(&self) -> Option<EdgeId> {
        Some(EdgeId {
            from: Vertex::of_id(&self.from)?,
            to: Vertex::of_id(&self.to)?,
            kind: self.kind,
        })
    }
}
