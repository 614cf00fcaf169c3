//! What is suspected, of whom, and why.

use hsw_graph::{EdgeId, Vertex};
use hsw_types::{ShardId, WallTime};

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its shard, or its router.
    pub shard: ShardId,
    /// It is a router: it holds no partition.
    pub is_router: bool,
}

/// The shape of an intrusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// A pair that nothing explains.
    UnexpectedPair,
    /// A client newly reaches many shards.
    FanOut,
    /// A new edge between parts that shared no client.
    Bridge,
    /// Refused logins, a grant or a role never used, towards something privileged.
    Escalation,
    /// Many new clients with the same few neighbours that are not pods of a known application.
    Sybils,
}

/// A fact behind a suspicion.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// Nobody of this application has been seen before.
    UnknownApplication {
        /// Its name.
        application: String,
    },
    /// Others of its application do not go there.
    NewTarget {
        /// Where.
        target: String,
        /// Hosts of the application that are there and do not.
        n_others: usize,
    },
    /// It acts as a role that belongs to other applications, or has lain idle.
    RoleOfOthers {
        /// The role.
        user: String,
        /// Applications that use it.
        n_applications: usize,
    },
    /// The role may do more than others.
    Privileged {
        /// The role.
        user: String,
    },
    /// Its host's logins were refused shortly before.
    RefusedLogins {
        /// When last.
        at: WallTime,
    },
    /// A role was granted that siblings of the shard do not grant.
    Granted {
        /// Who may act.
        member: String,
        /// As what.
        role: String,
    },
    /// Shards it newly reaches, beside what a host of its colour reaches at most.
    Reaches {
        /// Shards, newly.
        n_new: usize,
        /// The most before.
        n_usual: usize,
    },
    /// Clients that came with the same neighbours.
    Crowd {
        /// Clients.
        n_clients: usize,
        /// Neighbours each.
        n_targets: usize,
    },
    /// No other client of the place it went to has a place in common with it.
    NothingInCommon {
        /// Where.
        target: String,
    },
    /// Data leaves towards an address that is no node.
    Outside {
        /// The address.
        address: String,
    },
    /// The edge moved vertices in the metric of the landmarks.
    Drift {
        /// Vertices whose deviation is large.
        n_vertices: usize,
        /// The largest deviation, in robust standard deviations.
        largest: f64,
    },
}

/// One suspicion: one who acts, one shape. See the crate's header.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspicion {
    /// The shape.
    pub pattern: Pattern,
    /// Who acts; of a crowd, who came first.
    pub client: Vertex,
    /// The fewest edges that explain it, strongest first; never empty.
    pub edges: Vec<EdgeId>,
    /// When the first of them came, data time.
    pub since: WallTime,
    /// The chance to see this by honest change, 0 to 1.
    pub p: f64,
    /// −log₁₀ of `p`, weighed by the reasons; for order only.
    pub strength: f64,
    /// Distances to landmarks that these edges changed.
    pub n_distances: usize,
    /// Facts, in the order of the enum.
    pub reasons: Vec<Reason>,
}
