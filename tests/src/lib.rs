//! What proves the rest: real processes, real databases, real faults, and the commands a person types.
//!
//! In reading order: [`testbed`] starts a sharded database on one machine and breaks it on purpose; [`simagents`] is a
//! fleet of agents without databases, for measuring the aggregator; [`mod@bench`] is every figure of speed and cost, [`evaluate`] every figure of accuracy;
//! [`intrusions`] are service topologies with honest life and intrusions in it.

pub mod testbed;

pub mod trials;

pub mod simagents;

pub mod bench;

pub mod evaluate;

pub mod intrusions;
