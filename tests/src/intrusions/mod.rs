//! Service topologies that live honestly, intrusions put into them, and how they are found.
//!
//! In: a size and a seed. Out: sessions over a day and a half, what of them is an intrusion; the production graph, watch and model over
//! them, look by look, with sightings lost or made up; incidents beside the truth.
//! Invariants
//! 1. The same size and seed give the same sessions.
//! 2. Names, addresses and times of intruders are drawn as those of honest newcomers are; nothing but what they do tells them apart.
//! 3. The model is told what agents tell, never the truth.
//!
//! Does not: learn or choose any constant.

mod dice;
pub(crate) use dice::Dice;

mod topology;
pub use topology::{Topology, Truth};

mod life;

mod newcomers;

mod intruders;
pub use intruders::Kind;

mod play;
pub use play::{Disturbance, Incident, Played, play};

mod score;
pub use score::{Score, score};
