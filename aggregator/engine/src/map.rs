//! The shard map: which node belongs to which shard; from config and from what the databases say. (step 8)

use std::collections::BTreeMap;

use hsw_types::{NodeId, ShardId};

/// One shard (or router) of the map as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardEntry {
    /// Its name.
    pub shard: ShardId,
    /// Its members: primary and replicas in any order; who is primary the databases say.
    pub nodes: Vec<NodeId>,
    /// A router (coordinator) holds no partition; it has no shards as siblings.
    pub is_router: bool,
}

/// Why a shard map cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardMapError {
    /// A node is named by two shards.
    #[error("node `{node}` belongs to `{first}` and to `{second}`: name it once")]
    NodeTwice {
        /// The node.
        node: String,
        /// One shard.
        first: String,
        /// Another shard.
        second: String,
    },
    /// A shard is named twice.
    #[error("shard `{shard}` stands twice in the map")]
    ShardTwice {
        /// The shard.
        shard: String,
    },
}

/// Nodes to shards. Nodes that are not configured join the shard that their own facts name.
#[derive(Debug, Clone, Default)]
pub struct ShardMap {
    /// Shards in name order.
    pub(crate) shards: BTreeMap<ShardId, ShardEntry>,
    /// Shard of each node.
    pub(crate) shard_of: BTreeMap<NodeId, ShardId>,
    /// Accept nodes that the config does not name.
    pub(crate) open: bool,
}

impl ShardMap {
    /// Checks the configured shards. `open` admits nodes that are not named, into the shard their facts name.
    ///
    /// # Errors
    /// [`ShardMapError`] when a node or a shard is named twice.
    pub fn new(entries: Vec<ShardEntry>, open: bool) -> Result<Self, ShardMapError> {
        let mut map = Self {
            open,
            ..Self::default()
        };
        for entry in entries {
            for node in &entry.nodes {
                if let Some(first) = map.shard_of.insert(node.clone(), entry.shard.clone()) {
                    return Err(ShardMapError::NodeTwice {
                        node: node.to_string(),
                        first: first.to_string(),
                        second: entry.shard.to_string(),
                    });
                }
            }
            if let Some(twice) = map.shards.insert(entry.shard.clone(), entry) {
                return Err(ShardMapError::ShardTwice {
                    shard: twice.shard.to_string(),
                });
            }
        }
        Ok(map)
    }

    /// Whether a node with this certificate may connect.
    #[must_use]
    pub fn admits(&self, node: &NodeId) -> bool {
        self.open || self.shard_of.contains_key(node)
    }

    /// The shard of a node, if known by now.
    #[must_use]
    pub fn shard_of(&self, node: &NodeId) -> Option<&ShardId> {
        self.shard_of.get(node)
    }
}
