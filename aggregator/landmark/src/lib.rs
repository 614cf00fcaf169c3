//! Landmarks: a few vertices whose distances tell all vertices apart, chosen, kept exact under change, and audited. (step 9)
//!
//! In: an undirected graph as numbers. Out: landmarks with lower bounds beside them, distances that stay exact while edges come
//! and go, what a published graph gives away.
//! Invariants: LA-1 a set called resolving tells every two vertices (of one colour) apart by its distances. LA-2 the same
//! graph gives the same landmarks. LA-3 distances under change are those of a search from scratch.
//! Does not: know names or time (callers do), choose landmarks by weights or directions ([`Ways`] keeps distances alone), use threads.
//! Source: Slater 1975, Harary, Melter 1976 (resolving sets); Hauptmann, Schmied, Viehmann: Approximation complexity of metric
//! dimension, J. Discrete Algorithms 14, 2012 (information-content greedy); ALGORITHMS section 7.

mod topology;
pub use topology::Topology;

mod distance;
pub use distance::{FAR, Matrix};

mod classes;
pub use classes::Classes;

mod bounds;
pub use bounds::{diameter_bound, twin_bound, twin_classes};

mod exact;

mod improve;

mod choose;
pub use choose::{Choice, Goal, choose};

mod buckets;

mod spares;

mod twins;

mod renewal;
pub use renewal::Renewal;

mod tracked;
pub use tracked::{Aim, Changed, Kept, Step, Tracked};

mod ways;
pub use ways::Ways;

mod audit;
pub use audit::{
    Exposure, closure, exposure_to_many, exposure_to_one, exposure_to_two, least_antiresolving,
};

mod export;
pub use export::{Export, export};
