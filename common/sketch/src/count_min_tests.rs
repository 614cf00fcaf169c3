//! Count-min against exact counting.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn shape(width: usize, depth: u32, layout: Layout) -> Shape {
    Shape::new(width, depth, 11)
        .unwrap()
        .with_layout(layout)
        .unwrap()
}

fn of(shape: Shape, keys: &[u64]) -> CountMin<u64> {
    let mut table = CountMin::new(shape);
    keys.iter().for_each(|key| table.add(*key, 1));
    table
}

fn exact(keys: &[u64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    keys.iter()
        .for_each(|key| *counts.entry(*key).or_insert(0) += 1);
    counts
}

/// Ranks of a Zipf law, from a fixed seed.
pub(crate) fn zipf(n: usize, n_keys: usize, exponent: f64) -> Vec<u64> {
    let mut cumulated = Vec::with_capacity(n_keys);
    let mut sum = 0.0;
    for rank in 1..=n_keys {
        sum += libm::pow(rank as f64, -exponent);
        cumulated.push(sum);
    }
    let draw = |i: usize| {
        let u = (crate::mix(i as u64 ^ 0x5eed) >> 11) as f64 / (1_u64 << 53) as f64;
        cumulated.partition_point(|c| *c < u * sum) as u64
    };
    (0..n).map(draw).collect()
}

#[test]
fn tables_of_another_shape_or_seed_are_refused_and_nothing_changes() {
    let mut table = of(shape(64, 4, Layout::Rows), &[1, 2, 3]);
    let before = table.clone();
    let seeded = CountMin::new(Shape::new(64, 4, 12).unwrap());
    assert_eq!(table.merge(&seeded), Err(MergeError::Seed));
    for other in [
        shape(128, 4, Layout::Rows),
        shape(64, 2, Layout::Rows),
        shape(64, 4, Layout::Lines),
    ] {
        assert_eq!(table.merge(&CountMin::new(other)), Err(MergeError::Shape));
    }
    assert_eq!(table, before);
}

#[test]
fn counts_saturate_instead_of_wrapping() {
    let mut table = CountMin::<u32>::new(shape(8, 2, Layout::Rows));
    table.add(1, u32::MAX);
    table.add(1, 5);
    assert_eq!(table.estimate(1), u32::MAX);
}

#[test]
fn single_precision_rounds_up_so_that_a_million_small_counts_are_not_lost() {
    let mut table = CountMin::<f32>::new(shape(8, 1, Layout::Rows));
    table.add(1, 16_777_216.0);
    for _ in 0..1_000_000 {
        table.add(1, 0.25);
    }
    assert!(f64::from(table.estimate(1)) >= 16_777_216.0 + 250_000.0);
}

#[test]
fn the_tail_on_zipf_is_within_its_bound_by_rows_and_the_mean_in_both_layouts() {
    let keys = zipf(200_000, 20_000, 1.1);
    let truth = exact(&keys);
    for layout in [Layout::Rows, Layout::Lines] {
        let table = of(shape(512, 4, layout), &keys);
        let over = |key: &u64, n: &u64| (table.estimate(*key) - n) as f64;
        let errors: Vec<f64> = truth.iter().map(|(key, n)| over(key, n)).collect();
        let n = errors.len() as f64;
        let bound = std::f64::consts::E * keys.len() as f64 / 512.0;
        let beyond = errors.iter().filter(|e| **e > bound).count() as f64 / n;
        let mean = errors.iter().sum::<f64>() / n;
        assert!(mean <= keys.len() as f64 / 512.0, "{layout:?}: mean {mean}");
        if layout == Layout::Rows {
            assert!(beyond <= (-4.0_f64).exp(), "{beyond} beyond e·N/w");
        }
    }
}

fn keys() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(0..200_u64, 0..400)
}

fn layouts() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::Rows), Just(Layout::Lines)]
}

proptest! {
    #[test]
    fn prop_an_estimate_is_never_below_the_truth(keys in keys(), layout in layouts(), width_log2 in 2..8_u32) {
        let table = of(shape(1 << width_log2, 4, layout), &keys);
        for (key, n) in exact(&keys) {
            prop_assert!(table.estimate(key) >= n);
        }
    }

    #[test]
    fn prop_counting_slices_equals_counting_key_by_key(keys in keys(), layout in layouts(), width_log2 in 2..8_u32, by in 1..4_u64) {
        let mut one_by_one = CountMin::new(shape(1 << width_log2, 4, layout));
        let mut slices = one_by_one.clone();
        keys.iter().for_each(|key| one_by_one.add(*key, by));
        keys.chunks(70).for_each(|keys| slices.add_all(keys, by));
        prop_assert_eq!(slices, one_by_one);
    }

    #[test]
    fn prop_merging_equals_counting_everything(a in keys(), b in keys(), layout in layouts()) {
        let shape = shape(32, 4, layout);
        let mut merged = of(shape, &a);
        merged.merge(&of(shape, &b)).unwrap();
        prop_assert_eq!(merged, of(shape, &[a, b].concat()));
    }

    #[test]
    fn prop_folding_equals_having_counted_in_half_the_width(keys in keys(), width_log2 in 0..8_u32) {
        let mut wide = of(shape(1 << width_log2, 3, Layout::Rows), &keys);
        wide.fold();
        let narrow = of(shape(1 << width_log2.saturating_sub(1), 3, Layout::Rows), &keys);
        prop_assert_eq!(wide, narrow);
    }
}

#[test]
fn slices_count_alike_in_tables_beyond_the_caches_and_saturate() {
    let keys = zipf(40_000, 5_000, 1.1);
    let shape = Shape::new(1 << 20, 3, 5).unwrap();
    let mut slices = CountMin::<u64>::new(shape);
    slices.add_all(&keys, 1);
    assert!(slices.bytes() > NEAR_BYTES);
    assert_eq!(slices, of(shape, &keys));
    let mut full = CountMin::<u32>::new(Shape::new(8, 4, 5).unwrap());
    full.add(1, u32::MAX - 2);
    full.add_all(&[1; 9], 1);
    assert_eq!(full.estimate(1), u32::MAX);
}
