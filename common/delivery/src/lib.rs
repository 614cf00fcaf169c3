//! Both halves of at-least-once delivery that looks like exactly-once. (steps 5–6)
//!
//! In: what the spool holds, what the connection does. Out: what to send, what to free; accept, duplicate or overlap.
//! Invariants: DE-1 nothing is freed before it is acknowledged. DE-2 what is acknowledged is committed. DE-3 each window
//! of a node is committed once. DE-4 acknowledgements are cumulative and never go back.
//! Does not: touch sockets or disks, know what a summary holds.

mod receiver;
mod sender;

pub use receiver::{Counters, Entry, N_LIVES_MAX, Receiver, Verdict};
pub use sender::{Config, Input, Output, Sender, Statistics};

#[cfg(test)]
mod model_tests;
