//! A real sharded PostgreSQL on one machine, with load, faults, agents and an aggregator.
//!
//! In: [`Options`]. Out: a running [`Cluster`], [`Injected`] faults, and a clean machine afterwards.
//!
//! Invariants
//! 1. Everything that is started or changed stands in the [`ledger`] before it is relied on, so that the next start can undo it
//!    even when this process was killed.
//! 2. Only processes of the ledger whose start time still matches, and members of our own control groups, are ever signalled.
//! 3. A fault is healed exactly once: by the caller, by the guard's drop, or by the next start's cleaning.
//!
//! Limits: one machine, loopback addresses `127.0.SUBNET.x`, ports below 32768. It does not touch other PostgreSQL clusters.

mod stop;
pub use stop::Stop;
pub mod host;
pub mod ledger;
pub use ledger::{Ledger, ProcId};
pub(crate) mod bed;
pub use bed::Bed;
pub mod cgroup;
pub mod disk;
pub mod process;
pub use process::{Launch, Managed};
pub mod postgres;
pub use postgres::Node;
pub mod configs;
pub mod faults;
pub mod http;
pub mod incidents;
pub mod load;
pub mod measure;
pub mod schema;
pub mod services;
pub use faults::{Fault, Injected};
mod cluster;
pub use cluster::{Cluster, Options};
pub mod attach;
pub mod quickstart;
mod status;
