//! What is hot in the cluster for tests and for eyes.

use hsw_hot::HotLists;
use hsw_sketch::{HeavyHitters, hot_window};
use hsw_types::{HotKind, HotWindow, key_of};

use crate::shared::Snapshot;

const HOT: [&str; 3] = [
    "SELECT id, total FROM orders WHERE customer_id = ?",
    "UPDATE stock SET n = n - ? WHERE item_id = ?",
    "INSERT INTO audit (at, what) VALUES (?)",
];

pub(super) fn counted(n: f64) -> HeavyHitters {
    let mut counts = hot_window();
    for (at, name) in HOT.iter().enumerate() {
        counts.add(key_of(name), 0, n / (at + 1) as f64);
    }
    counts
}

/// Forty minutes of three statements on every shard, one of which rises.
pub(super) fn hot(snapshot: &Snapshot) -> HotLists {
    let mut lists = HotLists::default();
    let now = snapshot.wall.window();
    for back in (0..240).rev() {
        let at = now + -back * 10;
        for shard in &snapshot.shards {
            let Some(node) = shard.nodes.first() else {
                continue;
            };
            let n = 200.0 * (1.0 + super::noise(at.0)) + if back < 60 { 400.0 } else { 0.0 };
            let window = HotWindow {
                kind: HotKind::Fingerprint,
                sketch: counted(n.round()).encode(),
                distinct: Vec::new(),
                names: HOT
                    .iter()
                    .map(|name| (key_of(name), (*name).to_owned()))
                    .collect(),
            };
            lists.take(&shard.shard, &node.node, at, &[window]);
        }
    }
    lists
}
