//! Lists, trends and rows against exact counting.

use proptest::prelude::*;

use super::*;
use crate::rows::merged;

const START: i64 = 1_795_000_020;

fn window(kind: HotKind, counts: &[(u64, f64)]) -> HotWindow {
    let mut sketch = hot_window();
    counts.iter().for_each(|(key, n)| sketch.add(*key, 0, *n));
    let mut distinct = Distinct::default();
    counts.iter().for_each(|(key, _)| distinct.add(*key));
    HotWindow {
        kind,
        sketch: sketch.encode(),
        distinct: distinct.encode(),
        names: Vec::new(),
    }
}

fn shard(name: &str) -> ShardId {
    ShardId::new(name).unwrap()
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn feed(lists: &mut HotLists, on: (&str, &str), at: i64, counts: &[(u64, f64)]) {
    let hot = [window(HotKind::Fingerprint, counts)];
    lists.take(&shard(on.0), &node(on.1), WindowIndex(START + at), &hot);
}

#[test]
fn a_steady_rate_is_told_as_it_is_and_the_trend_counts_its_minutes() {
    let mut lists = HotLists::default();
    for at in (0..900).step_by(2) {
        feed(&mut lists, ("s1", "a"), at, &[(1, 20.0), (2, 2.0)]);
    }
    let list = lists.now(Some(&shard("s1")), HotKind::Fingerprint, 10);
    let (first, second) = (&list.items[0], &list.items[1]);
    assert_eq!((first.key, second.key), (1, 2));
    assert!((first.rate - 10.0).abs() < 0.3, "{first:?}");
    assert!((second.rate - 1.0).abs() < 0.03 && (first.share - 10.0 / 11.0).abs() < 1e-6);
    let whole = &first.trend[first.trend.len() - 10..first.trend.len() - 1];
    assert!(whole.iter().all(|n| (n - 600.0).abs() < 0.1), "{whole:?}");
    assert!(
        lists
            .now(Some(&shard("s1")), HotKind::Table, 10)
            .items
            .is_empty()
    );
}

#[test]
fn a_rate_is_right_from_the_first_seconds_on() {
    let mut lists = HotLists::default();
    for at in (0..20).step_by(2) {
        feed(&mut lists, ("s1", "a"), at, &[(1, 20.0)]);
        let rate = lists.now(None, HotKind::Fingerprint, 1).items[0].rate;
        assert!(at < 4 || (9.0..15.1).contains(&rate), "after {at} s {rate}");
    }
}

#[test]
fn the_cluster_is_the_sum_of_its_shards_and_names_come_with_their_keys() {
    let mut lists = HotLists::default();
    for at in (0..300).step_by(2) {
        feed(&mut lists, ("s1", "a"), at, &[(1, 20.0)]);
        feed(&mut lists, ("s2", "b"), at, &[(1, 10.0), (3, 40.0)]);
    }
    let named = [HotWindow {
        kind: HotKind::Fingerprint,
        sketch: Vec::new(),
        distinct: Vec::new(),
        names: vec![(3, "SELECT ?".to_owned())],
    }];
    lists.take(&shard("s2"), &node("b"), WindowIndex(START + 300), &named);
    let list = lists.now(None, HotKind::Fingerprint, 10);
    let rates: Vec<(u64, f64)> = list.items.iter().map(|i| (i.key, i.rate.round())).collect();
    assert_eq!(rates, [(3, 20.0), (1, 15.0)]);
    assert_eq!(list.items[0].name.as_deref(), Some("SELECT ?"));
    assert_eq!(lists.poll_name().map(|name| name.1), Some(3));
    assert_eq!(lists.poll_name(), None);
}

#[test]
fn what_becomes_hot_is_told_with_what_was_usual_and_what_was_always_hot_is_not() {
    let mut lists = HotLists::default();
    for at in (0..1_800).step_by(2) {
        feed(&mut lists, ("s1", "a"), at, &[(1, 20.0), (2, 2.0)]);
    }
    assert_eq!(lists.became_hot(&shard("s1"), 5), []);
    for at in (1_800..1_830).step_by(2) {
        feed(&mut lists, ("s1", "a"), at, &[(1, 20.0), (2, 60.0)]);
    }
    let found = lists.became_hot(&shard("s1"), 5);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].item.key, 2);
    assert!((found[0].usual - 1.0).abs() < 0.05 && found[0].item.rate > 5.0);
    assert_eq!(lists.became_hot(&shard("s2"), 5), []);
}

#[test]
fn different_items_of_the_last_half_hour_to_hour_are_counted_once() {
    let mut lists = HotLists::default();
    for at in (0..7_200).step_by(2) {
        // Ten items, and a hundred more in the first half hour.
        let old = if at < 1_800 { 100 + at as u64 % 100 } else { 1 };
        feed(
            &mut lists,
            ("s1", "a"),
            at,
            &[(old, 1.0), (at as u64 / 2 % 10, 1.0)],
        );
        if at == 1_700 {
            let n = lists.now(None, HotKind::Fingerprint, 5).distinct;
            assert!((n - 60.0).abs() < 6.0, "{n}");
        }
    }
    let n = lists.now(None, HotKind::Fingerprint, 5).distinct;
    assert!((n - 10.0).abs() < 1.5, "{n}");
}

#[test]
fn nothing_became_hot_in_a_shard_without_a_past() {
    let mut lists = HotLists::default();
    for at in (0..150).step_by(2) {
        feed(&mut lists, ("s1", "a"), at, &[(1, 50.0)]);
    }
    assert_eq!(lists.became_hot(&shard("s1"), 5), []);
}

#[test]
fn sketches_of_another_shape_are_refused_and_counted() {
    let mut lists = HotLists::default();
    let shape = Shape::new(16, 2, 1).unwrap();
    let other = HeavyHitters::new(shape, Weighting::Constant, 0, 4).unwrap();
    for sketch in [other.encode(), vec![9; 40]] {
        let hot = [HotWindow {
            kind: HotKind::Table,
            sketch,
            distinct: Vec::new(),
            names: Vec::new(),
        }];
        lists.take(&shard("s1"), &node("a"), WindowIndex(START), &hot);
    }
    assert_eq!(lists.n_refused(), 2);
    assert!(lists.now(None, HotKind::Table, 5).items.is_empty());
}

proptest! {
    #[test]
    fn prop_rows_of_all_minutes_hold_everything_exactly_once(
        told in proptest::collection::vec((0..2_usize, 0..4_i64, 0..30_u64, 1..50_u64), 1..200),
    ) {
        let mut lists = HotLists::default();
        let mut exact = BTreeMap::new();
        let mut at = 0;
        for (who, pause, key, n) in told {
            at += pause * 17;
            let n = n as f64;
            feed(&mut lists, [("s1", "a"), ("s2", "b")][who], at, &[(key, n)]);
            *exact.entry(key).or_insert(0.0) += n;
        }
        let rows: Vec<HotRow> = std::iter::from_fn(|| lists.poll_row()).collect();
        let mut places: Vec<_> = rows.iter().map(|row| (row.node.clone(), row.minute)).collect();
        places.sort();
        places.dedup();
        prop_assert_eq!(places.len(), rows.len(), "one row a node and minute");
        let (mut sum, n_unreadable) = merged(rows.iter().map(|row| &row.sketch[..]));
        let all = Span { from: 0, to: i64::MAX };
        sum.merge(&lists.unfinished(&[node("a"), node("b")], HotKind::Fingerprint, all)).unwrap();
        prop_assert_eq!(n_unreadable, 0);
        for (key, n) in exact {
            prop_assert!((sum.estimate(key, 0) - n).abs() < 1e-9);
        }
    }
}
