//! What proves the rest: real processes, real databases, real faults, and the commands a person types.
//!
//! In reading order: [`testbed`] starts a sharded database on one machine and breaks it on purpose.

pub mod testbed;
