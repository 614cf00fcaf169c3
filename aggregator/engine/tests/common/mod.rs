//! Names of a small cluster: a router and shards, a node each.

use hsw_types::{NodeId, ShardId};

pub(crate) fn shard(i: usize) -> ShardId {
    let name = if i == 0 {
        "router".to_owned()
    } else {
        format!("shard-{i}")
    };
    ShardId::new(&name).unwrap()
}

pub(crate) fn node(i: usize) -> NodeId {
    NodeId::new(&format!("{}-a", shard(i))).unwrap()
}
