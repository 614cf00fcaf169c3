//! Commands that need no aggregator: the production cores over files. (step 15)
//!
//! In: files or standard input, plain or compressed. Out: one JSON object or CSV row per line of standard output.
//! Invariants: OF-1 what is computed is computed by the crates the agent and the aggregator run, never by a copy.
//! OF-2 every input line is read; one beyond the limit of its length is cut and counted.

pub mod input;
pub mod logs;
pub mod ranges;
pub mod table;

pub mod causes;
pub mod explain;
pub mod learn;

pub mod edges;
pub mod graph;

pub mod fingerprint;
mod groups;

pub mod detect;

pub mod logstats;
pub mod rca;
pub mod replay;
pub mod rescore;
pub mod sketch;
pub mod templates;
pub mod timeline;
pub mod trigger;
