//! The agent: one process beside one database node. (steps 1–5)
//!
//! In: the node's logs, operating system, database and connections. Out: one summary every two seconds, every second at a landmark.
//! Invariants: AG-1 a failing source never stops another. AG-2 one database connection at a time, one query in flight.
//! AG-3 and AG-4 stand in `agent`. Does not: decide whether something is wrong (see `hsw-engine`).

pub mod agent;
pub mod clock;
pub mod config;
pub mod pace;

pub mod sources;
pub mod wiring;

pub mod driver;

pub mod shipper;
pub mod spool;
pub mod triggers;

pub mod report;
