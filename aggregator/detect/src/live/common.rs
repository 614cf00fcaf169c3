//! Detectors that are a judge of the panel: its −ln p is their score, calibrated once more among nodes of a role. (step 10)

use super::{Sight, USUAL};

/// The larger −ln p of these judges of the panel.
pub(super) fn of_panel(sight: &Sight<'_>, judges: &[&str]) -> Option<f64> {
    let said = judges
        .iter()
        .filter_map(|judge| sight.panel.surprise(judge));
    said.max_by(f64::total_cmp).map(|surprise| USUAL + surprise)
}
