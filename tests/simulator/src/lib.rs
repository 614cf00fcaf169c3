//! A sharded database that obeys physics: queues and capacities, and faults that are causes.
//!
//! In: a [`Scenario`] (topology, faults, harmless disturbances, seed). Out: the summaries that the agents of such a cluster would
//! ship, made by the production pipeline from simulated readings and log lines, and the [`Truth`].
//! Invariants: SM-1 the same scenario, the same bytes. SM-2 faults change causes, never observations.
//! Sources: Sakasegawa 1977 (waiting in M/M/c); PostgreSQL's documentation (checkpoints, autovacuum, WAL); levels from the test bed.
//! Does not: judge, ship, know the engine.

mod random;
mod topology;

mod stress;

mod kinds;

mod fault;
mod harmless;

mod machine;
mod node;

mod edges;
mod keys;
mod log;
mod observe;

mod agent;

mod simulation;

pub use fault::{Fault, Injection, Onset, Target};
pub use harmless::{Disturbance, Harmless, usual_day};
pub use simulation::{Member, Scenario, ScenarioError, Simulation, Told, Truth};
pub use topology::Topology;
