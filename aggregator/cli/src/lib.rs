//! hsw: the operator's command line, a thin face over the aggregator's HTTP API, and the cores over files. (step 15)
//!
//! In: arguments, the API's JSON. Out: tables for people, `--json` for scripts, exit codes that mean something.
//! Invariants: CL-1 `--json` prints what the API said, unchanged. CL-2 an error is one line that names the remedy.
//! CL-3 what comes from the network is printed without control characters: a log line cannot drive a terminal.
//! Exit codes: 0 fine; 1 the request failed; 2 wrong usage; 3 `hsw status` only: an incident is open or the
//! aggregator is not ready.

pub mod args;

pub mod client;
pub mod hot;
pub mod trigger;
pub mod weights;
pub mod why;

pub mod show;
pub mod show_graph;
mod show_shards;

pub mod offline;

pub mod record;

pub mod run;
