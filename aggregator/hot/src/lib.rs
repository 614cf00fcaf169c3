//! What is hot: per shard, over the cluster, now, minute by minute, and in any span of time. (step 8)
//!
//! In: the counts each summary brings (`HotWindow`). Out: ranked lists with rates and trends, and a row per node, kind and
//! minute for whoever keeps them.
//! Invariants: HT-1 what is counted is in the list of its shard, in its trend and in exactly one row. HT-2 a count is
//! never told too low, and too high by e·N/w of all counts but for one time in e^d. HT-3 counts of another shape are refused
//! and counted, never added.
//! Limits: per shard and kind two sketches of fixed size, per node and kind one; 50,000 names a kind.
//! Does not: store rows, read a clock, know where counts come from.

mod lists;
mod names;
mod rows;

pub use lists::{Became, HotItem, HotList, HotLists};
pub use names::Names;
pub use rows::{HotRow, MINUTE_S, Span, merged};
