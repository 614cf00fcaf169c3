//! Correlated change: principal metrics that no longer move together as they did. (step 10)
//!
//! Score: the −ln p of the panel's judge, see `rows/mod.rs`. It sees values less what the siblings moved.

use hsw_fusion::DetectorId;

use super::common::of_panel;
use super::{Sight, Witness};

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Correlated;

impl Witness for Correlated {
    fn id(&self) -> DetectorId {
        DetectorId::Correlated
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        of_panel(sight, &["correlated change"])
    }
}
