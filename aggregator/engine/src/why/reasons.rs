//! Reasons: conditions that hold in the bad time, and neither before nor on any sibling at the same time. (step 12)
//!
//! In: a shard's attributes, those of its siblings in the bad windows. Out: at most [`REASONS_MAX`] reasons, what says most
//! first. Siblings' bad windows count as good ones beside the shard's own past, so that what all shards do is no reason.
//! A change smaller than the catalogue's floor is none; of one family at most [`PER_FAMILY_MAX`] are told, for ten I/O series
//! are not ten witnesses. Source of the ranges: `hsw_explain::separating`.

use std::collections::BTreeMap;

use hsw_explain::{Condition, Regions, separating};
use hsw_stats::{MAD_TO_SIGMA, ln_1p, median, median_absolute_deviation};
use hsw_types::{Bad, Subject, Tier, Unit};

use super::explanation::Reason;
use super::look::gauge;
use super::table::{Attribute, Span};
use crate::words::{beginning, in_words};

/// Reasons of an explanation.
pub(super) const REASONS_MAX: usize = 8;
/// Of one family.
const PER_FAMILY_MAX: usize = 2;
/// Parts of an attribute's range, as the paper's experiments have.
const N_PARTITIONS: usize = 250;
/// Share of windows that a bound "hardly ever" exceeds.
const HARDLY: f64 = 0.95;
/// Least separation of windows: what holds in fewer is no reason.
const POWER_MIN: f64 = 0.5;
/// From here on it is not said in how many seconds it held.
const ALWAYS: f64 = 0.9;
/// What a change in the direction that is not bad counts: it is a consequence more often than a cause.
const GOOD_WAY: f64 = 0.25;

type Table = BTreeMap<String, Attribute>;

/// Finds them. `n_good` are the first rows of `own`, which end before the bad ones begin.
pub(super) fn find(own: &Table, siblings: &[Table], n_good: usize, bad: Span) -> Vec<Reason> {
    let mut found: Vec<(f64, &Attribute, Reason)> = Vec::new();
    for (name, attribute) in own {
        let beside: Vec<&[f64]> = siblings
            .iter()
            .filter_map(|table| Some(table.get(name)?.values.as_slice()))
            .collect();
        if let Some((weight, reason)) = judge(attribute, &beside, n_good, bad) {
            found.push((weight, attribute, reason));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
    let mut per_family = BTreeMap::new();
    found.retain(|(_, attribute, _)| {
        let n = per_family
            .entry(attribute.spec.map(|spec| spec.family))
            .or_insert(0);
        *n += 1;
        *n <= PER_FAMILY_MAX
    });
    found.truncate(REASONS_MAX);
    found.into_iter().map(|(_, _, reason)| reason).collect()
}

fn judge(
    attribute: &Attribute,
    beside: &[&[f64]],
    n_good: usize,
    bad: Span,
) -> Option<(f64, Reason)> {
    let values = &attribute.values;
    let abnormal = values.len().checked_sub(bad.len())?;
    let mut rows = values.clone();
    beside
        .iter()
        .for_each(|other| rows.extend_from_slice(other));
    let is_bad: Vec<bool> = (0..rows.len())
        .map(|row| (abnormal..values.len()).contains(&row))
        .collect();
    let is_good: Vec<bool> = (0..rows.len())
        .map(|row| row < n_good || row >= values.len())
        .collect();
    let regions = Regions::new(&is_bad, &is_good);
    let found = separating(&[gauge("", &rows)], &regions, N_PARTITIONS);
    let predicate = found.first()?;
    let Condition::Range { min, max } = predicate.condition else {
        return None;
    };
    if predicate.power < POWER_MIN {
        return None;
    }
    let part = |rows: &[f64]| -> Vec<f64> {
        let known = rows.iter().filter(|value| !value.is_nan());
        known.map(|value| value * attribute.scale).collect()
    };
    let mut during = part(&values[abnormal..]);
    let mut before = part(&values[..n_good]);
    let middle = median(&mut during)?;
    let usual = median(&mut before).unwrap_or(0.0);
    let spread = median_absolute_deviation(&mut before, usual).unwrap_or(0.0) * MAD_TO_SIGMA;
    let floor = attribute.spec.map_or(0.0, |spec| spec.floor);
    let change = middle - usual;
    if change.abs() < floor || change == 0.0 {
        return None;
    }
    let is_up = change > 0.0;
    let most = |values: &mut Vec<f64>| quantile(values, if is_up { HARDLY } else { 1.0 - HARDLY });
    let of_siblings = beside.iter().filter_map(|rows| most(&mut part(rows)));
    let by_worst = |a: f64, b: f64| if is_up { a.max(b) } else { a.min(b) };
    let reason = Reason {
        series: attribute.key.clone(),
        node: attribute.node.clone(),
        unit: attribute.spec.map_or(Unit::Count, |spec| spec.unit),
        min: min.map(|min| min * attribute.scale),
        max: max.map(|max| max * attribute.scale),
        power: predicate.power,
        during: middle,
        before: most(&mut before),
        siblings: of_siblings.reduce(by_worst),
        sentence: String::new(),
    };
    let n_during = during.len();
    during.retain(|value| {
        reason.min.is_none_or(|min| *value >= min) && reason.max.is_none_or(|max| *value < max)
    });
    let share = during.len() as f64 / n_during as f64;
    let sentence = sentence(attribute, &reason, (is_up, share), &mut during);
    let tier = attribute.spec.map_or(Tier::Context, |spec| spec.tier);
    let way = match attribute.spec.map(|spec| spec.bad) {
        Some(Bad::High) if !is_up => GOOD_WAY,
        Some(Bad::Low) if is_up => GOOD_WAY,
        _ => 1.0,
    };
    let sigmas = change.abs() / (spread + floor).max(f64::MIN_POSITIVE);
    let weight = tier_weight(tier) * way * predicate.power.max(0.0) * ln_1p(sigmas.min(1e3));
    Some((weight, Reason { sentence, ..reason }))
}

/// As incidents weigh them, but that context may be told.
const fn tier_weight(tier: Tier) -> f64 {
    match tier {
        Tier::Cause => 3.0,
        Tier::Symptom => 1.0,
        Tier::Activity => 0.6,
        Tier::Context => 0.2,
    }
}

/// `client sessions waiting for a lock ≥ 2 while every sibling stays ≤ 0 (before: ≤ 0)`; only what is so is said, of those bad
/// windows that meet the condition.
fn sentence(
    attribute: &Attribute,
    reason: &Reason,
    (is_up, share): (bool, f64),
    during: &mut [f64],
) -> String {
    let about = attribute
        .spec
        .map_or(attribute.key.metric.as_str(), |spec| spec.about);
    let of = match &attribute.key.subject {
        Subject::Object(object) => format!(" [{object}]"),
        Subject::Template { text, .. } => format!(" `{}`", beginning(text)),
        Subject::Node | Subject::Edge(_) => String::new(),
    };
    let said = |value: f64| in_words(value, reason.unit);
    let at = if is_up { 1.0 - HARDLY } else { HARDLY };
    let edge = quantile(during, at).unwrap_or(reason.during);
    let (now, other, reaches, as_far_as) = if is_up {
        ("≥", "≤", "reaches", "up to")
    } else {
        ("≤", "≥", "falls to", "down to")
    };
    let is_apart = |value: f64| if is_up { value < edge } else { value > edge };
    let beside = reason.siblings.map_or_else(String::new, |value| {
        if is_apart(value) {
            format!(" while every sibling stays {other} {}", said(value))
        } else {
            format!("; a sibling {reaches} {}", said(value))
        }
    });
    let before = reason.before.map_or_else(String::new, |value| {
        let sign = if is_apart(value) { other } else { as_far_as };
        format!(" (before: {sign} {})", said(value))
    });
    let often = if share < ALWAYS {
        format!(" in {:.0} % of the seconds", share * 100.0)
    } else {
        String::new()
    };
    format!("{about}{of} {now} {}{often}{beside}{before}", said(edge))
}

/// The value that a share of all does not exceed; `None` of none.
fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    values.get(at).copied()
}
