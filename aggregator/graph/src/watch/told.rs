//! What the watch tells of changes and places, and what it knows of vertices without asking.

use std::collections::BTreeMap;

use hsw_types::{NodeId, ShardId, WallTime};

use crate::{EdgeId, Vertex};

/// An edge that came or went.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When it was noticed, data time.
    pub at: WallTime,
    /// Which.
    pub edge: EdgeId,
    /// It came; else it went.
    pub came: bool,
    /// Distances to landmarks that are others since.
    pub n_distances: usize,
}

/// How far a vertex is from each landmark, in the order of `Watch::landmarks`; `None` where no way leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distances {
    /// Hops: what tells vertices apart.
    pub hops: Vec<Option<u32>>,
    /// Sums of latency classes (`latency_class`); empty where the graph is too large for it.
    pub latency: Vec<Option<u32>>,
    /// Hops along the edges' direction from the landmark to the vertex; empty likewise.
    pub from: Vec<Option<u32>>,
    /// Hops along the edges' direction from the vertex to the landmark; empty likewise.
    pub to: Vec<Option<u32>>,
}

/// What is known of a vertex without asking: its kind, and of a node or role its shard.
pub(super) fn colour<'a>(
    shards: &mut BTreeMap<ShardId, u32>,
    vertex: &Vertex,
    shard_of: &impl Fn(&NodeId) -> Option<&'a ShardId>,
) -> u32 {
    let (kind, node) = match vertex {
        Vertex::Node(node) => (0, Some(node)),
        Vertex::Role { node, .. } => (1, Some(node)),
        Vertex::Client { .. } => (2, None),
        Vertex::Service { .. } => (3, None),
    };
    let shard = node.and_then(shard_of).map_or(0, |shard| {
        shards.get(shard).copied().unwrap_or_else(|| {
            let next = shards.len() as u32 + 1;
            shards.insert(shard.clone(), next);
            next
        })
    });
    shard * 4 + kind
}
