//! Views: what the API and the page show of the engine's state. (step 15)

use crate::judgement::Judgement;
use hsw_types::{EdgeKind, NodeFacts, NodeId, Role, ShardId, SourceStatus, WallTime, WindowIndex};

/// A shard's health at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing known yet, or no data now.
    Unknown,
    /// As usual.
    Well,
    /// Deviates, not an incident (or affected by another shard's).
    Troubled,
    /// Root of an open incident.
    Bad,
}

/// Whether a node's agent and database are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeLiveness {
    /// Never heard of since the aggregator started.
    NeverSeen,
    /// Agent and database speak.
    Alive,
    /// The agent speaks, the database does not answer.
    DatabaseSilent,
    /// The agent speaks, the database refuses or is gone.
    DatabaseDown,
    /// The agent stopped in order.
    AgentStopped,
    /// The agent is not heard.
    AgentLost,
    /// No agent of the host is heard.
    HostLost,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// Identity.
    pub node: NodeId,
    /// Liveness.
    pub liveness: NodeLiveness,
    /// Role, as the database says.
    pub role: Role,
    /// Facts, as last told.
    pub facts: NodeFacts,
    /// Newest window.
    pub last_window: Option<WindowIndex>,
    /// Seconds between the newest window and the aggregator's clock.
    pub lag_s: Option<f64>,
    /// The node's clock minus the aggregator's, seconds, best estimate.
    pub clock_offset_s: Option<f64>,
    /// Series known.
    pub n_series: usize,
    /// Sources and their state.
    pub sources: Vec<SourceStatus>,
}

/// One shard (or router).
#[derive(Debug, Clone, PartialEq)]
pub struct ShardView {
    /// Identity.
    pub shard: ShardId,
    /// True for a router (coordinator).
    pub is_router: bool,
    /// Health.
    pub health: Health,
    /// 0 (as usual) to 1 (as bad as it gets): the detectors' judgement now; `None` while unknown.
    pub badness: Option<f64>,
    /// The detectors' judgement now, weighed and fused; its probability is the one in force, a model's where one answers, and never less than
    /// what liveness says. `None` while unknown.
    pub judgement: Option<Judgement>,
    /// Whose that probability is: `liveness`, `model` or `fusion`.
    pub sick_by: &'static str,
    /// Health grade, 100 (worst) to below 200, from the probability of being well; `None` while unknown.
    pub hyperscore: Option<f64>,
    /// The grade's form: `literal` or `centred`.
    pub hyperscore_mode: &'static str,
    /// Members.
    pub nodes: Vec<NodeView>,
    /// Headline numbers for the page: (metric name, value now), in a fixed order.
    pub headline: Vec<(&'static str, Option<f64>)>,
}

/// Whether detection works yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    /// True when every configured shard is known well enough to be judged.
    pub is_armed: bool,
    /// What is still missing, one line each.
    pub reasons: Vec<String>,
}

/// One value of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The window.
    pub window: WindowIndex,
    /// The value.
    pub value: f64,
}

/// Recent values of one series of one node, for a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesView {
    /// The node.
    pub node: NodeId,
    /// Values, ascending, gaps left out.
    pub points: Vec<Point>,
    /// What is usual now, from its own past.
    pub usual: Option<f64>,
}

/// One vertex of the interaction graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexView {
    /// Stable id, e.g. `node:shard-1-a` or `client:10.0.0.9/checkout`.
    pub id: String,
    /// `client`, `service`, `router`, `shard` or `replica`.
    pub kind: &'static str,
    /// What to print.
    pub label: String,
    /// The shard, for nodes.
    pub shard: Option<ShardId>,
}

/// One edge of the interaction graph.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeView {
    /// Vertex id.
    pub from: String,
    /// Vertex id.
    pub to: String,
    /// Kind.
    pub kind: EdgeKind,
    /// Sessions now.
    pub sessions: f64,
    /// How much, how fast, how far behind.
    pub traffic: TrafficView,
    /// First seen.
    pub first_seen: WallTime,
    /// Last seen.
    pub last_seen: WallTime,
}

/// Length of a step of an edge's history, seconds.
pub const HISTORY_STEP_S: i64 = hsw_graph::STEP_US / 1_000_000;

/// What an edge carries; `None` where nobody says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrafficView {
    /// Sessions that run a statement.
    pub active: Option<f64>,
    /// Round trip of the client's address, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Its length in the view by latency: classes that double, the first below 0.25 ms; unknown is the first. `None` before the edge was
    /// looked at.
    pub latency_class: Option<u8>,
    /// Bytes a second that the node sends.
    pub tx_bytes_per_s: Option<f64>,
    /// Bytes a second that the node receives.
    pub rx_bytes_per_s: Option<f64>,
    /// Bytes the replica is behind.
    pub lag_bytes: Option<f64>,
    /// The last minute in steps of five seconds, oldest first: sessions, round trip, bytes a second sent.
    pub history: [Vec<Option<f64>>; 3],
}

/// The interaction graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GraphView {
    /// Vertices by id.
    pub vertices: Vec<VertexView>,
    /// Edges by (from, to, kind).
    pub edges: Vec<EdgeView>,
    /// Ids of the landmarks: distances to them tell all vertices of one kind and shard apart that are no twins.
    pub landmarks: Vec<String>,
    /// Whether they do now.
    pub is_resolved: bool,
    /// Vertices of one kind and shard with the same neighbours as another (twins), which are left together; classes of such.
    pub n_twins: (usize, usize),
    /// Vertices told apart from all others of their kind and shard, of all that have an edge.
    pub n_alone: (usize, usize),
    /// Landmarks more that telling twins apart would cost.
    pub twin_bound: usize,
    /// Landmarks that would be forced if kind and shard did not tell vertices apart.
    pub twin_bound_uncoloured: usize,
    /// Nodes whose agents stand for landmarks: they look at connections and ship more often.
    pub landmark_nodes: Vec<NodeId>,
    /// Clients that are suspected while as many incidents about edges are open as there may be.
    pub n_waiting: usize,
    /// Edges, accesses and grants beyond the limits, since the start: nothing is known of them.
    pub n_left_out: u64,
    /// Edges that came and went, newest first.
    pub changes: Vec<ChangeView>,
    /// From when on it is judged whether an edge was to be expected; `None` until the first edge is known.
    pub judged_from: Option<WallTime>,
}

/// An edge that came or went.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeView {
    /// When it was noticed.
    pub at: WallTime,
    /// From vertex id.
    pub from: String,
    /// To vertex id.
    pub to: String,
    /// How they are connected.
    pub kind: EdgeKind,
    /// It came; else it went.
    pub came: bool,
    /// Distances to landmarks that are others since.
    pub n_distances: usize,
}
