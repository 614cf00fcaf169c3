//! Reasons: conditions that hold in the bad time, and neither before nor on any sibling at the same time. (step 12)
//!
//! In: a shard's attributes, those of its siblings in the bad windows. Out: at most [`REASONS_MAX`] reasons, what says most
//! first. Siblings' bad windows count as good ones beside the shard's own past, so that what all shards do is no reason.
//! A change smaller than the catalogue's floor is none; of one family at most [`PER_FAMILY_MAX`] are told, for ten I/O series
//! are not ten witnesses. Source of the ranges: `hsw_explain::separating`.
//! Invariants: RE-1 the power of a reason is the least over its two controls, the own past and the siblings: many siblings do not make up
//! for a past that was the same. RE-2 a bound that the past reached now and then is told after all that it did not.

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

/// A reason, and what it says beside others.
struct Found<'a> {
    attribute: &'a Attribute,
    /// The told bound was not reached before.
    is_apart: bool,
    weight: f64,
    reason: Reason,
}

/// Finds them. `n_good` are the first rows of `own`, which end before the bad ones begin.
pub(super) fn find(own: &Table, siblings: &[Table], n_good: usize, bad: Span) -> Vec<Reason> {
    let mut found: Vec<Found<'_>> = Vec::new();
    for (name, attribute) in own {
        let beside: Vec<&[f64]> = siblings
            .iter()
            .filter_map(|table| Some(table.get(name)?.values.as_slice()))
            .collect();
        found.extend(judge(attribute, &beside, n_good, bad));
    }
    found.sort_by(|a, b| {
        let stronger = b.weight.total_cmp(&a.weight);
        b.is_apart
            .cmp(&a.is_apart)
            .then(stronger)
            .then_with(|| a.attribute.key.cmp(&b.attribute.key))
    });
    let mut per_family = BTreeMap::new();
    found.retain(|one| {
        let n = per_family
            .entry(one.attribute.spec.map(|spec| spec.family))
            .or_insert(0);
        *n += 1;
        *n <= PER_FAMILY_MAX
    });
    found.truncate(REASONS_MAX);
    found.into_iter().map(|one| one.reason).collect()
}

fn judge<'a>(
    attribute: &'a Attribute,
    beside: &[&[f64]],
    n_good: usize,
    bad: Span,
) -> Option<Found<'a>> {
    let values = &attribute.values;
    let abnormal = values.len().checked_sub(bad.len())?;
    let condition = separating_range(values, beside, n_good, abnormal)?;
    let Condition::Range { min, max } = condition else {
        return None;
    };
    let met = |rows: &[f64]| share_of(rows, |value| condition.holds(value));
    let of_bad = met(&values[abnormal..]);
    let controls = met(&values[..n_good]).max(met(&beside.concat()));
    let part = |rows: &[f64]| -> Vec<f64> {
        let known = rows.iter().filter(|value| !value.is_nan());
        known.map(|value| value * attribute.scale).collect()
    };
    let mut during = part(&values[abnormal..]);
    let mut before = part(&values[..n_good]);
    let middle = median(&mut during)?;
    let usual = median(&mut before).unwrap_or(0.0);
    // On a copy: it leaves distances in place of values.
    let spread = median_absolute_deviation(&mut before.clone(), usual);
    let spread = spread.unwrap_or(0.0) * MAD_TO_SIGMA;
    let floor = attribute.spec.map_or(0.0, |spec| spec.floor);
    let change = middle - usual;
    let power = of_bad - controls;
    if power < POWER_MIN || change.abs() < floor || change == 0.0 {
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
        power,
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
    let hardly_below = if is_up { 1.0 - HARDLY } else { HARDLY };
    let bound = Bound {
        edge: quantile(&mut during, hardly_below).unwrap_or(middle),
        is_up,
    };
    let sentence = sentence(attribute, &reason, bound, share);
    let sigmas = change.abs() / (spread + floor).max(f64::MIN_POSITIVE);
    let weight = weight(attribute, is_up) * power * ln_1p(sigmas.min(1e3));
    Some(Found {
        attribute,
        is_apart: reason.before.is_none_or(|before| bound.excludes(before)),
        weight,
        reason: Reason { sentence, ..reason },
    })
}

/// Of a change in this direction, whatever its size.
fn weight(attribute: &Attribute, is_up: bool) -> f64 {
    let way = match attribute.spec.map(|spec| spec.bad) {
        Some(Bad::High) if !is_up => GOOD_WAY,
        Some(Bad::Low) if is_up => GOOD_WAY,
        _ => 1.0,
    };
    way * tier_weight(attribute.spec.map_or(Tier::Context, |spec| spec.tier))
}

/// Of rows, a missing value among them, the share that meets a condition.
fn share_of(rows: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
    let n_met = rows.iter().filter(|value| holds(**value)).count();
    n_met as f64 / rows.len().max(1) as f64
}

/// The range that separates the bad rows, from `abnormal` on, from the first `n_good` and from all siblings' rows.
fn separating_range(
    values: &[f64],
    beside: &[&[f64]],
    n_good: usize,
    abnormal: usize,
) -> Option<Condition> {
    let mut rows = values.to_vec();
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
    found
        .into_iter()
        .next()
        .map(|predicate| predicate.condition)
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

/// What is told of the bad windows: hardly any is nearer to what is usual than this.
#[derive(Clone, Copy)]
struct Bound {
    edge: f64,
    is_up: bool,
}

impl Bound {
    /// Whether a value lies on the other side.
    fn excludes(self, value: f64) -> bool {
        if self.is_up {
            value < self.edge
        } else {
            value > self.edge
        }
    }
}

/// `client sessions waiting for a lock ≥ 2 while every sibling stays ≤ 0 (before: ≤ 0)`; only what is so is said, of the `share` of bad
/// windows that meet the condition.
fn sentence(attribute: &Attribute, reason: &Reason, bound: Bound, share: f64) -> String {
    let about = attribute
        .spec
        .map_or(attribute.key.metric.as_str(), |spec| spec.about);
    let of = match &attribute.key.subject {
        Subject::Object(object) => format!(" [{object}]"),
        Subject::Template { text, .. } => format!(" `{}`", beginning(text)),
        Subject::Node | Subject::Edge(_) => String::new(),
    };
    let said = |value: f64| in_words(value, reason.unit);
    let (now, other, reaches, as_far_as) = if bound.is_up {
        ("≥", "≤", "reaches", "up to")
    } else {
        ("≤", "≥", "falls to", "down to")
    };
    let beside = reason.siblings.map_or_else(String::new, |value| {
        if bound.excludes(value) {
            format!(" while every sibling stays {other} {}", said(value))
        } else {
            format!("; a sibling {reaches} {}", said(value))
        }
    });
    let before = reason.before.map_or_else(String::new, |value| {
        let sign = if bound.excludes(value) {
            other
        } else {
            as_far_as
        };
        format!(" (before: {sign} {})", said(value))
    });
    let often = if share < ALWAYS {
        format!(" in {:.0} % of the seconds", share * 100.0)
    } else {
        String::new()
    };
    format!(
        "{about}{of} {now} {}{often}{beside}{before}",
        said(bound.edge)
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{NodeId, SeriesKey, WindowIndex, metric_spec};

    const N_GOOD: usize = 100;
    const N_BAD: usize = 20;

    /// Of a shard, its good rows before its bad ones; of a sibling the bad ones.
    fn table(metric: &str, values: Vec<f64>) -> Table {
        let attribute = Attribute {
            key: SeriesKey::node(metric),
            node: NodeId::new("n").unwrap(),
            spec: metric_spec(metric),
            carries_over: true,
            scale: 1.0,
            values,
        };
        BTreeMap::from([(metric.to_owned(), attribute)])
    }

    fn told(own: Vec<Table>, siblings: &[Table]) -> Vec<String> {
        let own: Table = own.into_iter().flatten().collect();
        let bad = Span {
            first: WindowIndex(100),
            last: WindowIndex(119),
        };
        let reasons = find(&own, siblings, N_GOOD, bad).into_iter();
        reasons.map(|reason| reason.sentence).collect()
    }

    fn rows(good: impl Fn(usize) -> f64, bad: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..N_GOOD).map(good).chain((0..N_BAD).map(bad)).collect()
    }

    /// Eight siblings that always commit more: their many rows made up for a past that was the same.
    #[test]
    fn what_was_so_before_is_no_reason_however_far_the_siblings_are() {
        let sibling = || table("pg.commits", vec![90.0; N_BAD]);
        let siblings: Vec<Table> = (0..8).map(|_| sibling()).collect();
        let before = |row: usize| if row % 20 < 9 { 20.0 } else { 48.0 };
        let mostly = |row: usize| if row < 18 { 20.0 } else { 90.0 };
        let same = table("pg.commits", rows(before, mostly));
        assert_eq!(told(vec![same], &siblings), Vec::<String>::new());
        let less = table("pg.commits", rows(before, |_| 2.0));
        let expected =
            "transactions committed ≤ 2/s while every sibling stays ≥ 90/s (before: ≥ 20/s)";
        assert_eq!(told(vec![less], &siblings), [expected]);
    }

    #[test]
    fn a_bound_that_the_past_reached_now_and_then_is_told_after_those_it_never_did() {
        let now_and_then = |row: usize| if row.is_multiple_of(10) { 9.0 } else { 0.0 };
        let waits = table("pg.sessions_waiting_lock", rows(now_and_then, |_| 8.0));
        let active = table("pg.sessions_active", rows(|_| 1.0, |_| 6.0));
        let expected = [
            "client sessions that run a statement ≥ 6 (before: ≤ 1)",
            "client sessions waiting for a lock ≥ 8 (before: up to 9)",
        ];
        assert_eq!(told(vec![waits, active], &[]), expected);
    }
}
