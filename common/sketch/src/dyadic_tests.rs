//! Ranges against sums over exact lists.

use proptest::prelude::*;

use super::*;

const GROWTH: Weighting = Weighting::Exponential { log2_growth: 0.05 };

fn shape(width: usize) -> Shape {
    Shape::new(width, 4, 17).unwrap()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-7 * (1.0 + a.abs().max(b.abs()))
}

fn time(width: usize, weighting: Weighting, events: &[(u64, u64)]) -> DyadicTime {
    let mut all = DyadicTime::new(shape(width), 5, weighting, 0).unwrap();
    events
        .iter()
        .for_each(|(item, tick)| all.add(*item, *tick, 1.0));
    all
}

fn values(width: usize, bits: u32, events: &[(u64, u64)]) -> DyadicValues {
    let mut all = DyadicValues::new(shape(width), bits, GROWTH, 0).unwrap();
    events
        .iter()
        .for_each(|(value, tick)| all.add(*value, *tick, 1.0));
    all
}

/// Σ f(t)/f(now) over the values that lie in `range`.
fn faded(events: &[(u64, u64)], range: &Range<u64>, now: u64) -> f64 {
    let mine = events.iter().filter(|(value, _)| range.contains(value));
    mine.map(|(_, tick)| libm::exp2(0.05 * (*tick as f64 - now as f64)))
        .sum()
}

#[test]
fn a_range_is_covered_once_by_few_blocks() {
    for (from, to) in [
        (0, 0),
        (3, 17),
        (0, 1_023),
        (1, 1_022),
        (u64::MAX - 9, u64::MAX),
        (5, 4),
    ] {
        let mut at = from;
        let mut n = 0;
        cover(from, to, 49, |level, block| {
            assert_eq!(block << level, at);
            at = at.wrapping_add(1 << level);
            n += 1;
        });
        assert_eq!(at, if from > to { from } else { to.wrapping_add(1) });
        assert!(n <= 20, "{from}..={to} takes {n} blocks");
    }
}

#[test]
fn a_range_without_end_ends_with_what_was_seen() {
    let all = time(256, GROWTH, &[(1, 1_000), (1, 1_040)]);
    assert!(near(all.estimate_range(1, 0, u64::MAX), 2.0));
    assert!(near(all.estimate_range(1, 1_001, u64::MAX), 1.0));
    assert!(near(
        time(256, GROWTH, &[]).estimate_range(1, 0, u64::MAX),
        0.0
    ));
}

#[test]
fn heavy_ranges_are_the_finest() {
    let mut events: Vec<(u64, u64)> = vec![(77, 0); 500];
    events.extend((0..512).map(|i| (512 + i % 64, 0)));
    events.extend((0..100).map(|i| (i * 10, 0)));
    let found = values(4_096, 10, &events).heavy_ranges(0.2, 0);
    let ranges: Vec<Range<u64>> = found.iter().map(|one| one.values.clone()).collect();
    assert_eq!(ranges, [77..78, 512..544, 544..576]);
    assert!(values(64, 10, &[]).heavy_ranges(0.1, 0).is_empty());
}

#[test]
fn quantiles_of_a_wide_domain_are_within_a_percent_of_rank() {
    let draw = |i: u64| crate::mix(i) % 1_000_000;
    let events: Vec<(u64, u64)> = (0..50_000).map(|i| (draw(i), i / 500)).collect();
    let all = values(4_096, 20, &events);
    let total = all.total(100);
    for q in [0.01, 0.25, 0.5, 0.9, 0.99] {
        let value = all.quantile(q, 100).unwrap();
        let rank = faded(&events, &(0..value), 100) / total;
        assert!((rank - q).abs() < 0.01, "q {q}: rank {rank}");
    }
    assert_eq!(values(64, 10, &[]).quantile(0.5, 1), None);
}

#[test]
fn unlike_ranges_are_refused_and_values_beyond_the_domain_counted() {
    let mut all = values(64, 10, &[(5_000, 1)]);
    assert_eq!((all.n_clamped(), all.quantile(1.0, 1)), (1, Some(1_023)));
    assert_eq!(all.merge(&values(64, 11, &[])), Err(MergeError::Shape));
    assert_eq!(all.merge(&values(32, 10, &[])), Err(MergeError::Shape));
    assert_eq!(
        time(8, GROWTH, &[]).merge(&time(8, Weighting::Constant, &[])),
        Err(MergeError::Weighting)
    );
    assert!(DyadicValues::<f64>::new(shape(8), 0, GROWTH, 0).is_err());
    assert!(DyadicTime::<f64>::new(shape(8), 34, GROWTH, 0).is_err());
}

fn events() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((0..1_000_u64, 0..120_u64), 0..150)
}

proptest! {
    #[test]
    fn prop_a_range_of_time_is_the_sum_of_its_ticks(events in events(), from in 0..120_u64, n in 0..120_u64) {
        let to = from + n;
        let events: Vec<(u64, u64)> = events.iter().map(|(item, tick)| (item % 10, *tick)).collect();
        for weighting in [GROWTH, Weighting::Constant, Weighting::Affine { slope: 0.5 }] {
            let (wide, narrow) = (time(1 << 14, weighting, &events), time(16, weighting, &events));
            for item in 0..10 {
                let truth = events.iter().filter(|(one, tick)| *one == item && (from..=to).contains(tick)).count() as f64;
                prop_assert!(near(wide.estimate_range(item, from, to), truth));
                prop_assert!(narrow.estimate_range(item, from, to) >= truth * (1.0 - 1e-12));
            }
        }
    }

    #[test]
    fn prop_a_range_of_values_is_never_too_low_and_exact_where_levels_are(events in events(), from in 0..1_000_u64, n in 0..1_000_u64) {
        let range = from..from + n;
        let truth = faded(&events, &range, 120);
        prop_assert!(near(values(1_024, 10, &events).range(range.clone(), 120), truth));
        prop_assert!(values(16, 10, &events).range(range, 120) >= truth * (1.0 - 1e-7));
    }

    #[test]
    fn prop_exact_levels_give_exact_faded_quantiles(events in events(), q in 0.0..=1.0_f64) {
        let all = values(1_024, 10, &events);
        if let Some(value) = all.quantile(q, 120) {
            let (below, upto) = (faded(&events, &(0..value), 120), faded(&events, &(0..value + 1), 120));
            let rank = q * all.total(120);
            prop_assert!(below <= rank * (1.0 + 1e-7) + 1e-9 && rank <= upto * (1.0 + 1e-9) + 1e-9);
        }
    }

    #[test]
    fn prop_merging_equals_seeing_everything(a in events(), b in events(), ahead in 0..15_000_u64) {
        let b: Vec<(u64, u64)> = b.iter().map(|(value, tick)| (*value, tick + ahead)).collect();
        let both = [a.clone(), b.clone()].concat();
        let (mut merged, all) = (values(32, 10, &a), values(32, 10, &both));
        merged.merge(&values(32, 10, &b)).unwrap();
        let now = 120 + ahead;
        prop_assert!(near(merged.range(100..700, now), all.range(100..700, now)));
        let mut times = time(64, GROWTH, &a);
        times.merge(&time(64, GROWTH, &b)).unwrap();
        prop_assert!(near(times.estimate_range(5, 3, now), time(64, GROWTH, &both).estimate_range(5, 3, now)));
    }
}
