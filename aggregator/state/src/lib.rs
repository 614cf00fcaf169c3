//! What the aggregator remembers of every node: bounded, per second, by name. (step 8)
//!
//! In: committed summaries. Out: the recent values of each series, the facts and source states of each node.
//! Invariants: ST-1 a window without a value is unknown, never zero. ST-2 at most `n_series_per_node_max` series a
//! node; what is beyond is counted. ST-3 a series keeps its identity when its agent restarts and ids start anew.
//! Limits: [`Series`] takes under 1 KiB beside its detector's model. Does not: judge (see `hsw-detect`).

mod cluster;
mod lookup;
mod series;

pub use cluster::{Applied, Cluster, KeyIndex, KeyInfo, NodeIndex, NodeState};
pub use series::{RING_WINDOWS, Series};
