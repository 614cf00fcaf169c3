//! The forest against brute force: each trigger held against each element. (ALGORITHMS 2.7)

use proptest::prelude::*;

use crate::{Config, Forest, Matured, QueryId, Range};

#[derive(Debug, Clone)]
enum Act {
    Register {
        ends: Vec<(u64, u64)>,
        threshold: u64,
    },
    RegisterMany(u64),
    Terminate(usize),
    Replant,
    Add {
        keys: Vec<u64>,
        weight: u64,
    },
}

/// Brute force, written for reading.
#[derive(Default)]
struct Brute {
    triggers: Vec<(QueryId, Vec<Range>, u64)>,
}

impl Brute {
    fn add(&mut self, point: &[u64], weight: u64) -> Vec<Matured> {
        let mut matured = Vec::new();
        self.triggers.retain_mut(|(id, ranges, left)| {
            if !ranges.iter().zip(point).all(|(r, &key)| r.contains(key)) {
                return true;
            }
            if *left <= weight {
                matured.push(Matured {
                    id: *id,
                    over: weight - *left,
                });
            }
            *left = left.saturating_sub(weight);
            *left > 0
        });
        matured
    }
}

fn act(n_dimensions: usize, width: u64, threshold: u64) -> impl Strategy<Value = Act> {
    let ends = prop::collection::vec((0u64..1_000, 1..width), n_dimensions);
    let weight = prop_oneof![20 => 1u64..4, 4 => 1u64..100, 1 => 0..threshold];
    prop_oneof![
        6 => (ends, 1..threshold).prop_map(|(ends, threshold)| Act::Register { ends, threshold }),
        1 => (1u64..300).prop_map(Act::RegisterMany),
        2 => any::<usize>().prop_map(Act::Terminate),
        1 => Just(Act::Replant),
        60 => (prop::collection::vec(0u64..1_100, n_dimensions), weight)
            .prop_map(|(keys, weight)| Act::Add { keys, weight }),
    ]
}

fn replay(n_dimensions: usize, config: Config, acts: Vec<Act>) -> Result<usize, TestCaseError> {
    let mut forest = Forest::new(n_dimensions, config);
    let mut brute = Brute::default();
    let mut n_matured = 0;
    for (i, act) in acts.into_iter().enumerate() {
        let id = QueryId(i as u64 * 1_000);
        match act {
            Act::Register { ends, threshold } => {
                let ranges: Vec<_> = ends
                    .iter()
                    .map(|&(lo, n)| Range { lo, hi: lo + n })
                    .collect();
                forest.register(id, &ranges, threshold).unwrap();
                brute.triggers.push((id, ranges, threshold));
            }
            Act::RegisterMany(n) => {
                let boxes = (0..n).map(|j| {
                    let lo = (j * 7_919 + i as u64) % 900;
                    let range = Range {
                        lo,
                        hi: lo + 1 + j * 31 % 200,
                    };
                    (QueryId(id.0 + j), vec![range; n_dimensions], 20 * j + 1)
                });
                let boxes: Vec<_> = boxes.collect();
                let each = boxes
                    .iter()
                    .map(|(id, ranges, threshold)| (*id, &ranges[..], *threshold));
                forest.register_all(each).unwrap();
                brute.triggers.extend(boxes);
            }
            Act::Terminate(which) => {
                if !brute.triggers.is_empty() {
                    let (id, _, left) = brute.triggers.remove(which % brute.triggers.len());
                    prop_assert_eq!(forest.remaining(id), Some(left));
                    prop_assert!(forest.terminate(id));
                    prop_assert!(!forest.terminate(id));
                }
            }
            Act::Replant => forest.replant_all(),
            Act::Add { keys, weight } => {
                let expected = if weight == 0 {
                    Vec::new()
                } else {
                    brute.add(&keys, weight)
                };
                n_matured += expected.len();
                prop_assert_eq!(forest.add(&keys, weight), expected, "step {}", i);
            }
        }
        prop_assert!(forest.keeps_its_sizes());
        prop_assert_eq!(forest.len(), brute.triggers.len());
    }
    for (id, _, left) in brute.triggers {
        prop_assert_eq!(forest.remaining(id), Some(left));
    }
    Ok(n_matured)
}

fn config(direct_factor: u64, n_scanned_max: usize) -> Config {
    Config {
        direct_factor,
        n_scanned_max,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn prop_each_element_matures_what_brute_force_says_in_one_dimension(
        acts in prop::collection::vec(act(1, 400, 3_000), 1..1_500),
        direct_factor in prop_oneof![Just(1u64), Just(4), Just(1_000)],
        n_scanned_max in prop_oneof![Just(1usize), Just(8), Just(64)],
    ) {
        replay(1, config(direct_factor, n_scanned_max), acts)?;
    }

    #[test]
    fn prop_each_element_matures_what_brute_force_says_in_two_dimensions(
        acts in prop::collection::vec(act(2, 900, 1_500), 1..600),
        direct_factor in prop_oneof![Just(1u64), Just(4), Just(1_000)],
    ) {
        replay(2, config(direct_factor, 4), acts)?;
    }

    #[test]
    fn prop_each_element_matures_what_brute_force_says_in_three_dimensions(
        acts in prop::collection::vec(act(3, 1_000, 400), 1..200),
    ) {
        replay(3, config(1, 2), acts)?;
    }
}

#[test]
fn thousands_of_triggers_mature_where_brute_force_says_over_many_rounds() {
    let mut state = 42_u64;
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % n
    };
    let mut acts = Vec::new();
    for _ in 0..12_000 {
        acts.push(match below(40) {
            0..4 => Act::Register {
                ends: vec![(below(1_000), 1 + below(400))],
                threshold: 1 + below(60_000),
            },
            4 => Act::Terminate(below(1 << 20) as usize),
            5 if below(20) == 0 => Act::Replant,
            _ => Act::Add {
                keys: vec![below(1_100)],
                weight: 1 + below(50),
            },
        });
    }
    let n_matured = replay(1, config(1, 8), acts).unwrap();
    assert!(n_matured > 200, "{n_matured}");
}

#[test]
fn the_heaviest_elements_and_highest_thresholds_overflow_nothing() {
    let mut forest = Forest::new(1, config(1, 1));
    let all = [Range { lo: 0, hi: 1_000 }];
    let part = [Range { lo: 10, hi: 20 }];
    for id in 0..10 {
        let ranges = if id % 2 == 0 { &all } else { &part };
        forest
            .register(QueryId(id), ranges, (1 << 62) - id * 2)
            .unwrap();
    }
    assert!(forest.add(&[15], (1 << 62) - 100).is_empty());
    for _ in 0..80 {
        assert!(forest.add(&[15], 1).is_empty());
    }
    assert_eq!(
        forest.add(&[500], 4)[0],
        Matured {
            id: QueryId(8),
            over: 0
        }
    );
    let rest: Vec<_> = forest
        .add(&[12], u64::MAX)
        .iter()
        .map(|one| one.id.0)
        .collect();
    assert_eq!(rest, [0, 1, 2, 3, 4, 5, 6, 7, 9]);
    assert!(forest.is_empty());
}

#[test]
fn what_cannot_be_registered_is_refused_and_changes_nothing() {
    use crate::Error;
    let limited = Config {
        n_queries_max: 2,
        ..Config::default()
    };
    let mut forest = Forest::new(1, limited);
    let range = Range { lo: 1, hi: 2 };
    let empty = Range { lo: 2, hi: 2 };
    let mut refused =
        |id, ranges: &[Range], threshold| forest.register(QueryId(id), ranges, threshold).err();
    assert_eq!(refused(1, &[range], 5), None);
    assert_eq!(refused(2, &[empty], 5), Some(Error::EmptyRange));
    assert_eq!(refused(2, &[range], 0), Some(Error::Threshold(0)));
    assert_eq!(refused(1, &[range], 5), Some(Error::Known(QueryId(1))));
    let two = Error::Dimensions {
        expected: 1,
        found: 2,
    };
    assert_eq!(refused(2, &[range, range], 5), Some(two));
    assert_eq!(refused(2, &[range], 5), None);
    assert_eq!(refused(3, &[range], 5), Some(Error::Full(2)));
    assert_eq!(forest.len(), 2);
}
