//! Time-adaptive sketches against exact counting and against their own laws.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const GROWTH: Weighting = Weighting::Exponential { log2_growth: 0.07 };
const SLOPE: Weighting = Weighting::Affine { slope: 0.3 };

fn shape(width: usize) -> Shape {
    Shape::new(width, 4, 5).unwrap()
}

type Events = Vec<(u64, u64, u32)>;

fn cells<R: Real>(width: usize, weighting: Weighting, events: &Events) -> CellSketch<R> {
    let mut sketch = CellSketch::new(shape(width), weighting, 3).unwrap();
    for (item, tick, count) in events {
        sketch.add(*item, *tick, f64::from(*count));
    }
    sketch
}

fn decayed<R: Real>(width: usize, weighting: Weighting, events: &Events) -> DecayedSketch<R> {
    let mut sketch = DecayedSketch::new(shape(width), weighting, 3).unwrap();
    for (item, tick, count) in events {
        sketch.add(*item, *tick, f64::from(*count));
    }
    sketch
}

fn exact(events: &Events) -> BTreeMap<(u64, u64), f64> {
    let mut counts = BTreeMap::new();
    for (item, tick, count) in events {
        *counts.entry((*item, *tick)).or_insert(0.0) += f64::from(*count);
    }
    counts
}

/// Σ c·f(t)/f(now) term by term.
fn faded(weighting: Weighting, events: &Events, item: u64, now: u64) -> f64 {
    let scale = Scale::new(weighting, 3, 900).unwrap();
    let mine = events.iter().filter(|(one, ..)| *one == item);
    let weight = |tick: u64| scale.divided(1.0, now) / scale.divided(1.0, tick);
    mine.map(|(_, tick, count)| f64::from(*count) * weight(*tick))
        .sum()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

#[test]
fn exponential_weights_are_safe_far_beyond_the_range_of_doubles() {
    let weighting = Weighting::Exponential {
        log2_growth: libm::log2(1.0015),
    };
    let mut sketch = DecayedSketch::<f64>::new(shape(64), weighting, 0).unwrap();
    for tick in (0..=5_000_000).step_by(100_000) {
        sketch.add(1, tick, 10.0);
    }
    assert!(near(sketch.estimate(1, 5_000_000), 10.0));
    assert!((sketch.estimate(1, 5_000_462) - 5.0).abs() < 0.01);
}

#[test]
fn in_sixteen_kib_a_new_tick_is_more_exact_than_an_old_one_and_than_plain_counting() {
    let weighting = crate::AdaParams::solve(100, 16.0).unwrap().weighting();
    let mut ada = CellSketch::<f64>::new(shape(512), weighting, 0).unwrap();
    let mut plain = CellSketch::<f64>::new(shape(512), Weighting::Constant, 0).unwrap();
    let mut counts: BTreeMap<(u64, u64), f64> = BTreeMap::new();
    for (i, item) in crate::count_min::tests::zipf(100_000, 5_000, 1.1)
        .into_iter()
        .enumerate()
    {
        let tick = i as u64 / 1_000;
        ada.add(item, tick, 1.0);
        plain.add(item, tick, 1.0);
        *counts.entry((item, tick)).or_insert(0.0) += 1.0;
    }
    let mean_error = |sketch: &CellSketch, from: u64| {
        let asked: Vec<_> = counts
            .iter()
            .filter(|((_, tick), _)| (from..from + 25).contains(tick))
            .collect();
        let sum: f64 = asked
            .iter()
            .map(|((item, tick), n)| sketch.estimate(*item, *tick) - **n)
            .sum();
        sum / asked.len() as f64
    };
    assert!(mean_error(&ada, 75) < 0.5 * mean_error(&plain, 75));
    assert!(mean_error(&ada, 75) < 0.2 * mean_error(&ada, 0));
    let beyond = counts
        .iter()
        .filter(|((item, tick), n)| ada.estimate(*item, *tick) > **n + ada.error_bound(*tick));
    assert!(beyond.count() as f64 <= counts.len() as f64 * (-4.0_f64).exp());
}

#[test]
fn sketches_that_weigh_or_count_ticks_otherwise_are_refused() {
    let mut sketch = cells::<f64>(64, GROWTH, &vec![(1, 5, 1)]);
    assert_eq!(
        sketch.merge(&cells(64, SLOPE, &vec![])),
        Err(MergeError::Weighting)
    );
    assert_eq!(
        sketch.merge(&cells(32, GROWTH, &vec![])),
        Err(MergeError::Shape)
    );
    let later = CellSketch::new(shape(64), GROWTH, 4).unwrap();
    assert_eq!(sketch.merge(&later), Err(MergeError::Epoch));
    let seeded = CellSketch::new(Shape::new(64, 4, 6).unwrap(), GROWTH, 3).unwrap();
    assert_eq!(sketch.merge(&seeded), Err(MergeError::Seed));
    assert!(near(sketch.estimate(1, 5), 1.0));
}

#[test]
fn an_epoch_and_the_one_before_are_remembered_and_older_ones_forgotten() {
    let mut cells = EpochCells::<f64>::new(shape(256), GROWTH, 10).unwrap();
    for tick in 0..25 {
        cells.add(7, tick, 2.0);
    }
    cells.add(7, 5, 1.0);
    assert_eq!((cells.estimate(7, 9), cells.n_too_old()), (None, 1));
    assert_eq!(cells.estimate(7, 30), None);
    assert!(near(cells.estimate(7, 12).unwrap(), 2.0) && near(cells.estimate(7, 24).unwrap(), 2.0));
    let mass = 2.0
        * (0..10)
            .map(|t| libm::exp2(0.07 * (f64::from(t) - 9.0)))
            .sum::<f64>();
    assert!(cells.error_bound(19).unwrap() <= std::f64::consts::E * mass / 256.0 * 1.000_001);
    cells.add(7, 60, 1.0);
    assert_eq!(cells.estimate(7, 24), None);
    assert!(near(cells.estimate(7, 55).unwrap(), 0.0));
    assert_eq!(
        EpochCells::<f64>::new(shape(8), GROWTH, 0).unwrap_err(),
        ParamError::Span
    );
}

#[test]
fn epochs_merge_where_they_overlap() {
    let make = |ticks: std::ops::Range<u64>| {
        let mut cells = EpochCells::<f64>::new(shape(256), GROWTH, 10).unwrap();
        ticks.for_each(|tick| cells.add(7, tick, 1.0));
        cells
    };
    let (behind, ahead) = (make(0..18), make(12..25));
    for (mut a, b) in [(behind.clone(), &ahead), (ahead.clone(), &behind)] {
        a.merge(b).unwrap();
        assert_eq!(a.estimate(7, 5), None);
        assert!(near(a.estimate(7, 15).unwrap(), 2.0) && near(a.estimate(7, 22).unwrap(), 1.0));
    }
    let other = EpochCells::new(shape(256), GROWTH, 11).unwrap();
    assert_eq!(make(0..1).merge(&other), Err(MergeError::Epoch));
}

fn events() -> impl Strategy<Value = Events> {
    proptest::collection::vec((0..30_u64, 0..60_u64, 1..50_u32), 0..150)
}

fn weightings() -> impl Strategy<Value = Weighting> {
    prop_oneof![Just(Weighting::Constant), Just(GROWTH), Just(SLOPE)]
}

proptest! {
    #[test]
    fn prop_constant_weights_are_count_min_bit_for_bit(events in events(), width_log2 in 0..7_u32) {
        let ada = cells::<f64>(1 << width_log2, Weighting::Constant, &events);
        let faded = decayed::<f64>(1 << width_log2, Weighting::Constant, &events);
        let mut plain = CountMin::<u64>::new(shape(1 << width_log2));
        let mut items = plain.clone();
        for (item, tick, count) in &events {
            plain.add(cell_key(*item, *tick), u64::from(*count));
            items.add(*item, u64::from(*count));
        }
        let same = |ada: &[f64], plain: &[u64]| ada.iter().zip(plain).all(|(a, b)| a.to_bits() == (*b as f64).to_bits());
        prop_assert!(same(ada.table.cells.cells(), plain.cells()));
        prop_assert!(same(faded.table.cells.cells(), items.cells()));
    }

    #[test]
    fn prop_without_collisions_answers_are_exact(events in events(), weighting in weightings(), now in 60..100_u64) {
        // 1,800 possible cells in 2^18 a row, four rows: no two share all of theirs.
        let ada = cells::<f64>(1 << 18, weighting, &events);
        let fading = decayed::<f64>(1 << 18, weighting, &events);
        for ((item, tick), n) in exact(&events) {
            prop_assert!(near(ada.estimate(item, tick), n));
            prop_assert_eq!(ada.estimate_whole(item, tick), n);
            let truth = faded(weighting, &events, item, now);
            prop_assert!(near(fading.estimate(item, now), truth), "{} for {}", fading.estimate(item, now), truth);
        }
    }

    #[test]
    fn prop_an_estimate_is_never_below_the_truth(events in events(), weighting in weightings(), width_log2 in 0..7_u32) {
        let ada = cells::<f64>(1 << width_log2, weighting, &events);
        let single = cells::<f32>(1 << width_log2, weighting, &events);
        let fading = decayed::<f32>(1 << width_log2, weighting, &events);
        for ((item, tick), n) in exact(&events) {
            prop_assert!(ada.estimate(item, tick) >= n * (1.0 - 1e-12));
            prop_assert!(single.estimate(item, tick) >= n * (1.0 - 1e-12));
            prop_assert!(ada.estimate_whole(item, tick) >= n && single.estimate_whole(item, tick) >= n);
            prop_assert!(fading.estimate(item, 60) >= faded(weighting, &events, item, 60) * (1.0 - 1e-12));
        }
    }

    #[test]
    fn prop_merging_equals_seeing_everything(a in events(), b in events(), weighting in weightings(), ahead in 0..3_000_u64) {
        let later: Events = b.iter().map(|(item, tick, count)| (*item, tick + 10 * ahead, *count)).collect();
        let all = decayed::<f64>(32, weighting, &[a.clone(), later.clone()].concat());
        let (a, b) = (decayed::<f64>(32, weighting, &a), decayed::<f64>(32, weighting, &later));
        for (mut merged, other) in [(a.clone(), &b), (b.clone(), &a)] {
            merged.merge(other).unwrap();
            for item in 0..30 {
                let now = 60 + 10 * ahead;
                prop_assert!(near(merged.estimate(item, now), all.estimate(item, now)));
            }
            prop_assert!(near(merged.total(60 + 10 * ahead), all.total(60 + 10 * ahead)));
        }
    }

    #[test]
    fn prop_any_schedule_of_rescaling_gives_the_same_mantissas(
        events in events(),
        schedule in proptest::collection::vec((0..150_usize, 0..40_i64), 0..8),
    ) {
        let plain = decayed::<f64>(16, GROWTH, &events);
        let mut disturbed = DecayedSketch::<f64>::new(shape(16), GROWTH, 3).unwrap();
        for (i, (item, tick, count)) in events.iter().enumerate() {
            for (_, more) in schedule.iter().filter(|(at, _)| *at == i) {
                let exponent = disturbed.table.scale.exponent + more;
                disturbed.table.raise(exponent);
            }
            disturbed.add(*item, *tick, f64::from(*count));
        }
        let mut plain = plain;
        plain.table.raise(disturbed.table.scale.exponent);
        let bits = |sketch: &DecayedSketch| sketch.table.cells.cells().iter().map(|c| c.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&plain), bits(&disturbed));
    }

    #[test]
    fn prop_late_events_weigh_what_they_would_have_weighed(mut events in events(), weighting in weightings()) {
        let shuffled = decayed::<f64>(32, weighting, &events);
        events.sort_by_key(|(_, tick, _)| *tick);
        let ordered = decayed::<f64>(32, weighting, &events);
        for item in 0..30 {
            prop_assert!(near(shuffled.estimate(item, 60), ordered.estimate(item, 60)));
        }
    }
}

#[test]
fn slices_of_items_fade_as_items_one_by_one() {
    let shape = Shape::new(64, 4, 3).unwrap();
    let fading = Weighting::half_life(10.0).unwrap();
    let mut slices = DecayedSketch::<f64>::new(shape, fading, 0).unwrap();
    let mut one_by_one = slices.clone();
    for tick in 0..50 {
        let items: Vec<u64> = (0..90).map(|i| i * i % (tick + 7)).collect();
        slices.add_all(&items, tick);
        items
            .iter()
            .for_each(|&item| one_by_one.add(item, tick, 1.0));
    }
    for item in 0..60 {
        assert_eq!(slices.estimate(item, 60), one_by_one.estimate(item, 60));
    }
    assert!((slices.total(60) / one_by_one.total(60) - 1.0).abs() < 1e-12);
}
