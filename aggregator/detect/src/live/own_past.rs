//! Own past: a node's series against the last half hour, and its principal metrics against level, trend and season of days. (step 10)
//!
//! Score: the larger of two: the mean squared deviation of the five worst series, in the bad direction; and the weighed −ln p that the
//! panel's own-past judge gives, which knows the day and the week.

use hsw_fusion::DetectorId;

use super::{Sight, USUAL, Witness};

/// Weight of the panel's −ln p beside squared deviations: both about 1 where nothing is wrong, both in the hundreds where it is certain.
const SEASON_WEIGHT: f64 = 4.0;

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Own;

impl Witness for Own {
    fn id(&self) -> DetectorId {
        DetectorId::OwnPast
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        let recent = sight.note.own.mean_square()?;
        let season = sight.panel.surprise("own past").unwrap_or(0.0);
        Some(USUAL + recent.max(SEASON_WEIGHT * season))
    }
}
