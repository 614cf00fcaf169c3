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
    shards: BTreeMap<ShardId, ShardEntry>,
    /// Shard of each node.
    shard_of: BTreeMap<NodeId, ShardId>,
    /// Accept nodes that the config does not name.
    open: bool,
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

    /// Whether nodes that the config does not name may join.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Puts a node that the config does not name into the shard its facts name; the map of a closed cluster, and a node
    /// that has a shard, stay as they are.
    pub(crate) fn join(&mut self, node: &NodeId, shard: &str, is_router: bool) {
        let Ok(shard) = ShardId::new(if shard.is_empty() {
            node.as_str()
        } else {
            shard
        }) else {
            return;
        };
        if !self.open || self.shard_of.contains_key(node) {
            return;
        }
        let entry = self
            .shards
            .entry(shard.clone())
            .or_insert_with(|| ShardEntry {
                shard: shard.clone(),
                nodes: Vec::new(),
                is_router,
            });
        entry.nodes.push(node.clone());
        self.shard_of.insert(node.clone(), shard);
    }

    /// The entry of a node's shard.
    pub(crate) fn entry_of(&self, node: &NodeId) -> Option<&ShardEntry> {
        self.shards.get(self.shard_of.get(node)?)
    }

    /// The nodes of a shard; none of one that is not in the map.
    pub(crate) fn members(&self, shard: &ShardId) -> &[NodeId] {
        self.shards.get(shard).map_or(&[], |entry| &entry.nodes)
    }

    /// Shards and routers in name order.
    pub fn shards(&self) -> impl Iterator<Item = &ShardEntry> {
        self.shards.values()
    }

    /// The shard of a node, if known by now.
    #[must_use]
    pub fn shard_of(&self, node: &NodeId) -> Option<&ShardId> {
        self.shard_of.get(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(shard: &str, nodes: &[&str]) -> ShardEntry {
        ShardEntry {
            shard: ShardId::new(shard).unwrap(),
            nodes: nodes.iter().map(|n| NodeId::new(n).unwrap()).collect(),
            is_router: false,
        }
    }

    #[test]
    fn a_node_in_two_shards_and_a_shard_twice_are_refused() {
        let twice = ShardMap::new(vec![entry("s1", &["a"]), entry("s2", &["a"])], false);
        assert!(matches!(twice, Err(ShardMapError::NodeTwice { .. })));
        let twice = ShardMap::new(vec![entry("s1", &["a"]), entry("s1", &["b"])], false);
        assert!(matches!(twice, Err(ShardMapError::ShardTwice { .. })));
    }

    #[test]
    fn only_an_open_map_lets_strangers_join() {
        let stranger = NodeId::new("b").unwrap();
        let mut closed = ShardMap::new(vec![entry("s1", &["a"])], false).unwrap();
        closed.join(&stranger, "s2", false);
        assert!(!closed.admits(&stranger) && closed.shard_of(&stranger).is_none());
        let mut open = ShardMap::new(vec![entry("s1", &["a"])], true).unwrap();
        open.join(&stranger, "s1", false);
        assert_eq!(open.shard_of(&stranger), Some(&ShardId::new("s1").unwrap()));
    }
}
