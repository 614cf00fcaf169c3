//! Dynamic modes: the common movements of the principal metrics no longer follow from the rows before. (step 10)
//!
//! Score: the −ln p of the panel's judge, see `rows/mod.rs`. It sees values less what the siblings moved.

use hsw_fusion::DetectorId;

use super::common::of_panel;
use super::{Sight, Witness};

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Modes;

impl Witness for Modes {
    fn id(&self) -> DetectorId {
        DetectorId::Modes
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        of_panel(sight, &["dynamic modes"])
    }
}
