//! Kinds of lines, or of spans, that came or went. (step 12)
//!
//! In: how often each kind was seen of an entity, in normal and in abnormal time, of how many. Out: nats of surprise an entity.
//! Counts are held against the whole they are part of, so that an entity that is asked less does not look sick. Errors are
//! counted as failed requests are. Of all others the roots are compared, which have about the same spread whatever the count
//! (Anscombe 1948): a kind seen once is no news, one that came or went for good is. Does not: read lines.

use std::collections::BTreeMap;

use hsw_stats::ln_1p;

/// A kind of line, or of span, of one entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Count {
    /// Whose.
    pub entity: String,
    /// What kind: a template, an operation.
    pub what: String,
    /// Whether it says itself that something failed.
    pub is_error: bool,
    /// Seen in normal time.
    pub normal: u64,
    /// Seen in abnormal time.
    pub abnormal: u64,
    /// Of so many in normal time: lines of the entity, requests.
    pub of_normal: u64,
    /// Of so many in abnormal time.
    pub of_abnormal: u64,
}

/// Added to a count before its root is taken (Anscombe 1948).
const ANSCOMBE: f64 = 0.375;

impl Count {
    /// Nats of surprise; `None` where there is nothing to compare with.
    pub(crate) fn surprise(&self) -> Option<f64> {
        if self.of_normal == 0 || self.of_abnormal == 0 {
            return None;
        }
        let ratio = self.of_abnormal as f64 / self.of_normal as f64;
        let (seen, expected) = (self.abnormal as f64, self.normal as f64 * ratio);
        let z = if self.is_error {
            ((seen - expected) / expected.sqrt().max(1.0)).max(0.0)
        } else {
            // The root of a Poisson count has variance 1/4; that of the expectation grows with the ratio.
            let root = |n: f64| (n + ANSCOMBE).sqrt();
            2.0 * (root(seen) - root(expected)) / (1.0 + ratio).sqrt()
        };
        Some(ln_1p(z * z))
    }
}

/// Nats by the strongest kind of each entity, with its name. O(n log n).
pub(crate) fn strongest<'a>(
    counts: impl IntoIterator<Item = &'a Count>,
) -> BTreeMap<&'a str, (f64, &'a str)> {
    let mut strongest: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for count in counts {
        let Some(nats) = count.surprise() else {
            continue;
        };
        let best = strongest
            .entry(&count.entity)
            .or_insert((nats, &count.what));
        if nats > best.0 {
            *best = (nats, &count.what);
        }
    }
    strongest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats(normal: u64, abnormal: u64, of: (u64, u64), is_error: bool) -> f64 {
        let count = Count {
            is_error,
            normal,
            abnormal,
            of_normal: of.0,
            of_abnormal: of.1,
            ..Count::default()
        };
        count.surprise().unwrap()
    }

    #[test]
    fn a_new_kind_speaks_and_an_entity_that_is_asked_less_does_not() {
        assert!(nats(1_000, 100, (2_000, 200), false) < 0.1);
        assert!(nats(0, 60, (1_000, 1_060), false) > 4.0);
        assert!(nats(60, 0, (1_060, 1_000), false) > 4.0);
        assert!(nats(0, 1, (100, 100), false) < 1.0);
    }

    #[test]
    fn new_errors_speak_louder_and_fewer_say_nothing() {
        assert!(nats(0, 20, (100, 300), true) > nats(0, 20, (100, 300), false) + 2.0);
        assert!(nats(50, 10, (100, 100), true) <= 0.0);
    }

    #[test]
    fn nothing_to_compare_with_is_no_surprise() {
        assert_eq!(Count::default().surprise(), None);
    }
}
