//! The aggregator's shell: sockets, the file, clocks and one driver loop around the engine. (steps 6, 7, 14, 15)
//!
//! In: agents' connections and operators' questions. Out: acknowledgements, incidents, pages.
//! Invariants: AR-1 commit before acknowledgement, acknowledgement before nothing else waits for it. AR-2 one thread
//! owns the engine, one the file; everybody else talks to them through bounded queues.
//! Does not: decide whether something is wrong (see `hsw-engine`).

pub mod config;

pub mod ingest;
pub mod store;

pub mod triggers;

pub mod causes;
pub mod inference;

pub mod driver;
pub mod record;
pub mod shared;

pub mod alerts;

pub mod web;

mod service;

pub use service::{Service, ServiceParts};
