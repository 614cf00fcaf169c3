//! Liveness: the database answers its agent, or it does not. (step 10)

use hsw_fusion::DetectorId;

use super::{Sight, USUAL, Witness};

/// The score of a database that does not answer: beyond everything that happens by chance.
const SILENT: f64 = 1e6;

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Liveness;

impl Witness for Liveness {
    fn id(&self) -> DetectorId {
        DetectorId::Liveness
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        sight.is_up.map(|is_up| if is_up { USUAL } else { SILENT })
    }
}
