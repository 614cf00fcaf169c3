//! Kinds of lines, or of spans, that came or went. (step 12)
//!
//! In: how often each kind was seen of an entity, in normal and in abnormal time. Out: nats of surprise an entity.
//! Counts are held against the entity's own total, so that an entity that is asked less does not look sick. Square roots of
//! counts have about the same spread whatever their size (Anscombe 1948), so that a kind seen once is no news and a kind seen
//! never before is. Does not: know what a line says, or whether it is an error.

use std::collections::BTreeMap;

use hsw_stats::ln_1p;

/// A kind of line of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Whose.
    pub entity: String,
    /// What kind: a template, an operation.
    pub what: String,
    /// Seen in normal time.
    pub normal: u64,
    /// Seen in abnormal time.
    pub abnormal: u64,
}

/// Added to a count before its root is taken (Anscombe 1948).
const ANSCOMBE: f64 = 0.375;

/// Nats by the strongest kind of each entity, with its name; entities without lines in either time are left out. O(n log n).
pub(crate) fn surprises(counts: &[Count]) -> BTreeMap<&str, (f64, &str)> {
    let mut totals: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for count in counts {
        let (normal, abnormal) = totals.entry(&count.entity).or_default();
        *normal = normal.saturating_add(count.normal);
        *abnormal = abnormal.saturating_add(count.abnormal);
    }
    let mut strongest: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for count in counts {
        let (n_normal, n_abnormal) = totals[count.entity.as_str()];
        if n_normal == 0 || n_abnormal == 0 {
            continue;
        }
        let nats = surprise(count, n_abnormal as f64 / n_normal as f64);
        let best = strongest
            .entry(&count.entity)
            .or_insert((nats, &count.what));
        if nats > best.0 {
            *best = (nats, &count.what);
        }
    }
    strongest
}

/// Nats of one kind whose entity said `ratio` times as much in abnormal time.
fn surprise(count: &Count, ratio: f64) -> f64 {
    let root = |n: f64| (n + ANSCOMBE).sqrt();
    let expected = root(count.normal as f64 * ratio);
    // The root of a Poisson count has variance 1/4; that of the expectation grows with the ratio.
    let z = 2.0 * (root(count.abnormal as f64) - expected) / (1.0 + ratio).sqrt();
    ln_1p(z * z)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(entity: &str, what: &str, normal: u64, abnormal: u64) -> Count {
        Count {
            entity: entity.to_owned(),
            what: what.to_owned(),
            normal,
            abnormal,
        }
    }

    #[test]
    fn a_new_kind_speaks_and_an_entity_that_is_asked_less_does_not() {
        let counts = [
            count("less", "a", 1_000, 100),
            count("less", "b", 500, 50),
            count("sick", "a", 1_000, 1_000),
            count("sick", "new", 0, 60),
            count("gone", "a", 10, 0),
        ];
        let found = surprises(&counts);
        assert!(found["less"].0 < 0.5, "{found:?}");
        assert_eq!(found["sick"].1, "new");
        assert!(found["sick"].0 > 4.0, "{found:?}");
        assert!(!found.contains_key("gone"));
    }

    #[test]
    fn one_line_more_is_no_news() {
        let found = [count("x", "a", 0, 1), count("x", "b", 99, 99)];
        assert!(surprises(&found)["x"].0 < 1.0);
    }
}
