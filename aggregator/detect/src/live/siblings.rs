//! Siblings: a node's series against the same series of its sibling shards at the same moment. (step 10)
//!
//! Score: the mean squared deviation of the five series that are furthest, in the bad direction, beyond what the siblings' median moved.
//! Without siblings it does not know.

use hsw_fusion::DetectorId;

use super::{Sight, USUAL, Witness};

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Siblings;

impl Witness for Siblings {
    fn id(&self) -> DetectorId {
        DetectorId::Siblings
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        Some(USUAL + sight.note.apart.mean_square()?)
    }
}
