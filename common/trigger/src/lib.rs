//! Triggers: "tell me when so much has hit this range", a million of them at a time, without asking each of them each time.
//!
//! In: weighted elements (points of keys), triggers that come and go. Out: the triggers each element matures; between
//! hosts, messages.
//! Invariants: a trigger matures in one process with exactly the element that reaches its threshold; across hosts never
//! before its threshold is reached. Does not: keep time (timer time is passed in), touch sockets, know names (only their keys).
//! Source: Qiao, Gan, Tao: Range Thresholding on Streams, SIGMOD 2016; ALGORITHMS section 2.

mod range;
pub use range::{QueryId, Range, WEIGHT_MAX, key_of_f64, key_of_i64};

mod space;
pub use space::{Element, Measure, N_CATEGORIES, Question, Space, Weight};

mod slack;
pub use slack::{DIRECT, Step, Tracking};

mod choose;
pub use choose::Config;

mod batch;
mod columns;
mod scan;

mod endpoints;

mod blocks;
mod line;
mod tally;

mod boxes;
mod ledger;
mod nested;
mod shelf;

mod ids;
mod tree;

mod forest;
pub use forest::{Error, Forest, Matured};

mod route;
pub use route::{N_CATEGORIES_MAX, Router};

mod message;
pub use message::{Down, ParticipantId, Patience, Up, Why};

mod participant;
pub use participant::Participant;

mod coordinator;
pub use coordinator::{Coordinator, Output, Progress};

mod track;
pub use track::Known;

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod simulation_tests;

#[cfg(test)]
mod oracle_tests;
