//! How alike two cases are in what changed. (step 12)
//!
//! In: two cases. Out: a cosine. A change is that of the logarithm of the level, cut at [`CHANGE_MAX`], less what the level
//! drifted before; so the unit and the size of the machine matter little. Ours; no constant was fitted.
//! The likeness that causes are judged by (`hsw_explain::Judge`) cannot serve here: it is in units of what varies among the cases that
//! somebody has named, and there may be none; and it shares votes among attributes that say the same, which takes attributes² to learn,
//! where this is asked of each explanation kept. Nor can this serve there: what varies on calm days would count as a change.

use std::collections::BTreeMap;

use hsw_explain::{Case, Levels};
use hsw_stats::asinh;

/// Changes beyond e³ say no more.
const CHANGE_MAX: f64 = 3.0;
/// Changes within a fifth are none.
const CHANGE_MIN: f64 = 0.2;

/// The cosine between the changes of two cases, 0 (nothing in common, or opposite) to 1. O(attributes of both).
pub(super) fn alike(a: &BTreeMap<&str, f64>, b: &BTreeMap<&str, f64>) -> f64 {
    let length = |all: &BTreeMap<&str, f64>| all.values().map(|v| v * v).sum::<f64>().sqrt();
    let both: f64 = a
        .iter()
        .filter_map(|(name, value)| Some(value * b.get(name)?))
        .sum();
    let lengths = length(a) * length(b);
    if lengths > 0.0 {
        (both / lengths).max(0.0)
    } else {
        0.0
    }
}

/// What changed, by attribute; attributes that did not are left out.
pub(super) fn changes(case: &Case) -> BTreeMap<&str, f64> {
    let change = |levels: &Levels| {
        // Where a level was zero its greatest is the unit.
        let unit = levels.before.abs().max(levels.drift.abs());
        let unit = if unit > 0.0 {
            unit
        } else {
            levels.during.abs()
        };
        if unit <= 0.0 {
            return 0.0;
        }
        let step = asinh(levels.during / unit) - asinh(levels.before / unit);
        let drift = if levels.drift.is_nan() {
            0.0
        } else {
            levels.drift
        };
        let noise = CHANGE_MIN + asinh(drift.abs() / unit);
        let beyond = (step.abs() - noise).clamp(0.0, CHANGE_MAX);
        if step < 0.0 { -beyond } else { beyond }
    };
    case.levels
        .iter()
        .map(|(name, levels)| (name.as_str(), change(levels)))
        .filter(|(_, change)| *change != 0.0 && !change.is_nan())
        .collect()
}
