//! Which interactions are to be expected, and what is an intrusion. (step 10)
//!
//! In: the interaction graph, where its nodes stand, its watch; every few seconds. Out: [`Suspicion`]s: who acts, the edges that show it, a
//! pattern, how likely honest change is.
//! Invariants: SU-1 what history, siblings or a deployment explain is no suspicion. SU-2 one sighting of one edge is none. SU-3 the order of
//! edges means nothing; the same looks give the same suspicions. SU-4 nothing suspicious becomes a habit but by an operator's word.
//! Limits: [`N_ACTORS_MAX`] clients, [`N_COLOURS_MAX`] colours, [`N_CANDIDATES_MAX`] candidates; work by what changed and what is open.
//! Source: ALGORITHMS section 7.5. Does not: see packets, contents or rates; tell anybody.

mod names;

mod suspicion;
pub use suspicion::{Pattern, Place, Reason, Suspicion};

mod access;

mod habits;
pub use habits::{N_ACTORS_MAX, N_COLOURS_MAX};

mod grants;

mod evidence;

mod explain;

mod granted;

mod candidates;
pub use candidates::N_CANDIDATES_MAX;

mod patterns;

mod follow;
pub use follow::{LEARNING_US, Structure};

mod deviation;
pub use deviation::{Deviation, FAR_OUT, Moved, Scales};

mod drift;

mod features;
pub use features::{Features, N_NEIGHBOURS, Told, features};
