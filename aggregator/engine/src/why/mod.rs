//! Why: what sets a sick shard apart from its own past and from its siblings, and which known cause looks like that. (step 12)
//!
//! In: the last four minutes of every node, the graph, a region; cases that somebody named. Out: an [`Explanation`].
//! Invariants: WH-1 with the same state the same explanation. WH-2 where nothing known is like it, it says so. Limits: those of
//! [`table`] and [`book`]; a region must lie within what is kept of each second. Does not: open or close incidents, keep files.

mod book;
mod culprits;
mod explanation;
mod likeness;
mod look;
mod reasons;
mod table;

pub(crate) use book::{Book, Track};
pub use book::{CASES_LEARNED_MAX, CAUSE_CHARS_MAX, HARMLESS};
pub use explanation::{Cause, Culprit, Explanation, Feedback, Reason, Similar, WhyError};
pub(crate) use look::{Look, Scene};
