//! Change point and slow drift of the principal metrics: away from the last half hour, or from the level a little at a time. (step 10)
//!
//! Score: the −ln p of the panel's judge, see `rows/mod.rs`. It sees values less what the siblings moved.

use hsw_fusion::DetectorId;

use super::common::of_panel;
use super::{Sight, Witness};

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Change;

impl Witness for Change {
    fn id(&self) -> DetectorId {
        DetectorId::Change
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        of_panel(sight, &["change point", "slow drift"])
    }
}
