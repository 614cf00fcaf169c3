//! What a node says of itself, and how its sources fare. (steps 1, 4, 8)

/// What a node does in its cluster, as the database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// Not known yet.
    #[default]
    Unknown,
    /// Takes writes of its shard.
    Primary,
    /// Follows a primary.
    Replica,
    /// Holds foreign tables over other nodes and no partition of its own.
    Router,
}

/// Slowly changing facts of a node; sent at start, on change, and every few minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    /// Shard this node says it belongs to (from the agent's config; empty when the aggregator's map decides).
    pub shard: String,
    /// Cluster name from the agent's config.
    pub cluster: String,
    /// Role, as the database says.
    pub role: Role,
    /// Database product and version, e.g. `PostgreSQL 15.18`.
    pub database: String,
    /// Identity of the data: PostgreSQL's system identifier, equal on a primary and its replicas; empty when unknown.
    pub system_identifier: String,
    /// Where the database listens, e.g. `127.0.11.1:5432`.
    pub address: String,
    /// Host name.
    pub host: String,
    /// The host's operating system and version, e.g. `Linux (Debian GNU/Linux 12)`.
    pub operating_system: String,
    /// Processors of the host.
    pub cpu_cores: u32,
    /// Memory of the host, bytes.
    pub memory_bytes: u64,
    /// The host's boot id; changes when the host restarts.
    pub boot_id: String,
    /// Start of the database process, Unix seconds; 0 when unknown.
    pub database_started: i64,
    /// Start of the agent process, Unix seconds.
    pub agent_started: i64,
    /// Version of the agent.
    pub agent_version: String,
}

/// How a source fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceState {
    /// Delivers.
    Ok,
    /// Asked and got no answer in time.
    Silent,
    /// Could not connect.
    Unreachable,
    /// Refused: password, rights, certificate.
    Refused,
    /// Configured but absent on this host (no PSI, no cgroup, no log file).
    Absent,
    /// Its task panicked or failed and was restarted.
    Restarted,
}

/// A source's state in a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Name: `postgres`, `instance`, `host`, `sockets`, `log`.
    pub source: String,
    /// How it fares at the end of the summary's last window.
    pub state: SourceState,
    /// What it has dropped since the agent started (lines, rows, readings over a limit).
    pub dropped: u64,
    /// One line for the operator when not [`SourceState::Ok`]; no literals.
    pub message: String,
}
