//! Heavy hitters against exact faded counts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

pub(crate) const GROWTH: Weighting = Weighting::Exponential { log2_growth: 0.1 };

pub(crate) fn of(width: usize, n_max: usize, events: &[(u64, u64)]) -> HeavyHitters {
    let shape = Shape::new(width, 4, 21).unwrap();
    let mut hot = HeavyHitters::new(shape, GROWTH, 0, n_max).unwrap();
    events
        .iter()
        .for_each(|(key, tick)| hot.add(*key, *tick, 1.0));
    hot
}

fn exact(events: &[(u64, u64)], now: u64) -> BTreeMap<u64, f64> {
    let mut counts = BTreeMap::new();
    for (key, tick) in events {
        *counts.entry(*key).or_insert(0.0) += libm::exp2(0.1 * (*tick as f64 - now as f64));
    }
    counts
}

/// Whom the hot list must name: the heaviest by exact counting.
fn top(counts: &BTreeMap<u64, f64>, n: usize) -> Vec<u64> {
    let mut all: Vec<(&u64, &f64)> = counts.iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
    all.into_iter().take(n).map(|(key, _)| *key).collect()
}

/// A Zipf law whose keys move on halfway.
fn drifting(n: usize, salt: u64) -> Vec<(u64, u64)> {
    let keys = crate::count_min::tests::zipf(n, 5_000, 1.1);
    let at = |i: usize| (i * 100 / n) as u64;
    keys.into_iter()
        .enumerate()
        .map(|(i, key)| (crate::mix(key ^ salt) ^ u64::from(at(i) >= 50), at(i)))
        .collect()
}

#[test]
fn what_was_hot_before_fades_and_what_is_hot_now_is_found() {
    let events = drifting(100_000, 1);
    let hot = of(2_048, 50, &events);
    let truth = exact(&events, 100);
    let found: Vec<u64> = hot.top(20, 100).iter().map(|hit| hit.key).collect();
    let n_hit = top(&truth, 20)
        .iter()
        .filter(|key| found.contains(key))
        .count();
    assert!(n_hit >= 19, "recall {n_hit} of 20");
    assert!(hot.candidates.len() <= 100);
    for hit in hot.top(50, 100) {
        assert!(hit.count >= truth[&hit.key] * (1.0 - 1e-7));
    }
}

#[test]
fn a_hundred_shards_merged_name_the_hottest_of_all() {
    let events: Vec<Vec<(u64, u64)>> = (0..100)
        .map(|_| 0)
        .enumerate()
        .map(|(i, _)| {
            drifting(100_000, 1)
                .into_iter()
                .skip(i)
                .step_by(100)
                .collect()
        })
        .collect();
    let mut all = of(2_048, 50, &events[0]);
    for shard in &events[1..] {
        all.merge(&of(2_048, 50, shard)).unwrap();
    }
    let truth = exact(&events.concat(), 100);
    let found: Vec<u64> = all.top(20, 100).iter().map(|hit| hit.key).collect();
    let n_hit = top(&truth, 20)
        .iter()
        .filter(|key| found.contains(key))
        .count();
    assert!(n_hit >= 18, "recall {n_hit} of 20");
    assert!(all.candidates.len() < 100);
}

#[test]
fn scores_do_not_age_and_survive_thousands_of_doublings() {
    let mut hot = of(64, 4, &[(1, 0), (1, 0), (2, 5)]);
    let before = (hot.score_log2(1).unwrap(), hot.score_log2(2).unwrap());
    assert!((before.0 - 1.0).abs() < 1e-12 && (before.1 - 0.5).abs() < 1e-7);
    hot.add(3, 8_000, 1.0);
    assert!((hot.score_log2(1).unwrap() - before.0).abs() < 1e-7);
    assert!((hot.top(1, 8_000)[0].count - 1.0).abs() < 1e-12);
    assert_eq!(
        hot.top(3, 8_000)
            .iter()
            .map(|hit| hit.key)
            .collect::<Vec<_>>(),
        [3, 1, 2]
    );
    hot.add(3, 100_000, 1.0);
    assert!((hot.estimate(3, 100_000) - 1.0).abs() < 1e-12);
    assert_eq!(hot.top(1, 100_000)[0].key, 3);
}

#[test]
fn unlike_ones_are_refused_and_nothing_changes() {
    let mut hot = of(64, 4, &[(1, 0)]);
    assert_eq!(hot.merge(&of(64, 5, &[])), Err(MergeError::Shape));
    assert_eq!(hot.merge(&of(32, 4, &[])), Err(MergeError::Shape));
    let shape = Shape::new(64, 4, 21).unwrap();
    let later = HeavyHitters::new(shape, GROWTH, 1, 4).unwrap();
    assert_eq!(hot.merge(&later), Err(MergeError::Epoch));
    assert!((hot.estimate(1, 0) - 1.0).abs() < 1e-12);
    assert!(HeavyHitters::new(shape, GROWTH, 0, 0).is_err());
}

pub(crate) fn events() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((0..60_u64, 0..200_u64), 0..300)
}

/// Windows of plain counts: (tick, items).
fn windows() -> impl Strategy<Value = Vec<(u64, Vec<u64>)>> {
    let window = proptest::collection::vec(0..60_u64, 0..30);
    proptest::collection::vec((0..5_000_u64, window), 0..30)
}

proptest! {
    #[test]
    fn prop_windows_absorbed_are_faded_counting_of_all_of_them(windows in windows()) {
        let plain = |width| HeavyHitters::new(Shape::new(width, 4, 21).unwrap(), Weighting::Constant, 0, 100).unwrap();
        let mut hot = of(32, 100, &[]);
        let mut events = Vec::new();
        for (tick, items) in &windows {
            let mut window = plain(32);
            items.iter().for_each(|item| window.add(*item, 0, 1.0));
            hot.absorb(&window, *tick).unwrap();
            events.extend(items.iter().map(|item| (*item, *tick)));
        }
        for (key, n) in exact(&events, 5_000) {
            prop_assert!((hot.estimate(key, 5_000) - n).abs() <= 1e-6 * n + 1e-300);
        }
        prop_assert_eq!(hot.estimate(99, 5_000), 0.0);
        prop_assert_eq!(hot.absorb(&of(32, 100, &[]), 1), Err(MergeError::Weighting));
        prop_assert_eq!(plain(32).absorb(&plain(16), 1), Err(MergeError::Shape));
    }

    #[test]
    fn prop_counts_are_never_too_low_and_candidates_bounded(events in events(), n_max in 1..40_usize) {
        let hot = of(32, n_max, &events);
        let truth = exact(&events, 200);
        prop_assert!(hot.candidates.len() <= 2 * n_max);
        for (key, n) in &truth {
            prop_assert!(hot.estimate(*key, 200) >= n * (1.0 - 1e-7));
        }
    }

    #[test]
    fn prop_with_room_for_all_the_list_is_exact_counting(events in events()) {
        let hot = of(1 << 14, 100, &events);
        let truth = exact(&events, 200);
        let found = hot.top(100, 200);
        prop_assert_eq!(found.len(), truth.len());
        for hit in found {
            prop_assert!((hit.count - truth[&hit.key]).abs() <= 1e-7 * (1.0 + hit.count));
        }
    }

    #[test]
    fn prop_merged_counts_are_never_too_low_whoever_is_ahead(a in events(), b in events(), ahead in 0..8_000_u64) {
        let b: Vec<(u64, u64)> = b.iter().map(|(key, tick)| (*key, tick + ahead)).collect();
        let now = 200 + ahead;
        let truth = exact(&[a.clone(), b.clone()].concat(), now);
        let (a, b) = (of(64, 20, &a), of(64, 20, &b));
        for (mut merged, other) in [(a.clone(), &b), (b.clone(), &a)] {
            merged.merge(other).unwrap();
            for (key, n) in &truth {
                prop_assert!(merged.estimate(*key, now) >= n * (1.0 - 1e-7));
            }
        }
    }
}
