//! A participant, message by message.

use super::*;
use crate::{Measure, Range, Weight};
use proptest::prelude::*;

const ID: QueryId = QueryId(4);
const NOW: Monotonic = Monotonic(0);

fn participant() -> Participant {
    let patience = Patience::default();
    Participant::new(7, Config::default(), patience, NOW, &mut Vec::new())
}

fn question(measures: &[Measure], categories: [Option<u64>; 4]) -> Arc<Question> {
    let space = Space::new(measures, Weight::Rows).unwrap();
    let ranges = vec![Range { lo: 10, hi: 20 }; measures.len()];
    Arc::new(Question::new(space, categories, ranges).unwrap())
}

fn asked(query: QueryId, question: Arc<Question>) -> Down {
    Down::Watch {
        query,
        epoch: 7,
        round: 1,
        slack: 10,
        base: 0,
        question,
    }
}

fn watch(round: u64, slack: u64, base: u64) -> Down {
    Down::Watch {
        query: ID,
        epoch: 7,
        round,
        slack,
        base,
        question: question(&[Measure::LatencyMs], [None; 4]),
    }
}

fn element(weight: u64) -> Element {
    Element {
        measures: [Some(15), None, None],
        weights: [1, weight, 0],
        ..Element::default()
    }
}

fn told(round: u64, count: u64, why: Why) -> Vec<Up> {
    vec![Up::Report {
        query: ID,
        epoch: 7,
        round,
        count,
        why,
    }]
}

fn hear(one: &mut Participant, message: Down) -> Vec<Up> {
    let mut out = Vec::new();
    one.hear(message, NOW, &mut out);
    out
}

fn add(one: &mut Participant, weight: u64) -> Vec<Up> {
    let mut out = Vec::new();
    one.add(&element(weight), NOW, &mut out);
    out
}

#[test]
fn a_signal_is_told_once_per_slack_with_the_exact_count() {
    let mut one = participant();
    assert_eq!(hear(&mut one, watch(1, 10, 0)), []);
    assert_eq!(add(&mut one, 9), []);
    assert_eq!(add(&mut one, 13), told(1, 22, Why::Signal));
    assert_eq!(add(&mut one, 7), []);
    assert_eq!(add(&mut one, 1), told(1, 30, Why::Signal));
}

#[test]
fn what_was_counted_while_a_round_was_on_its_way_is_told_at_once() {
    let mut one = participant();
    hear(&mut one, watch(1, 100, 0));
    add(&mut one, 30);
    assert_eq!(hear(&mut one, watch(2, 8, 20)), told(2, 30, Why::Signal));
    assert_eq!(add(&mut one, 5), []);
    assert_eq!(add(&mut one, 1), told(2, 36, Why::Signal));
    assert_eq!(hear(&mut one, watch(3, 8, 36)), []);
}

#[test]
fn an_earlier_round_changes_nothing_and_the_same_once_more_is_answered() {
    let mut one = participant();
    hear(&mut one, watch(5, 10, 0));
    add(&mut one, 3);
    assert_eq!(hear(&mut one, watch(4, 1, 0)), []);
    assert_eq!(add(&mut one, 3), []);
    assert_eq!(hear(&mut one, watch(5, 10, 0)), told(5, 6, Why::Answer));
    assert_eq!(add(&mut one, 4), told(5, 10, Why::Signal));
    let collect = Down::Collect {
        query: ID,
        round: 5,
    };
    assert_eq!(hear(&mut one, collect), told(5, 10, Why::Answer));
}

#[test]
fn a_message_for_another_life_is_not_heard() {
    let mut one = participant();
    let mut other = watch(1, 1, 0);
    if let Down::Watch { epoch, .. } = &mut other {
        *epoch = 6;
    }
    assert_eq!(hear(&mut one, other), []);
    assert!(one.is_empty() && add(&mut one, 5).is_empty());
}

#[test]
fn a_signal_is_repeated_until_it_is_heard_and_at_once_over_a_new_connection() {
    let mut one = participant();
    hear(&mut one, Down::Welcome { epoch: 7 });
    hear(&mut one, watch(1, 10, 0));
    add(&mut one, 10);
    let mut out = Vec::new();
    let (soon, later) = (Monotonic(1_000_000), Monotonic(70_000_000));
    one.tick(soon, &mut out);
    assert_eq!(out, []);
    one.tick(later, &mut out);
    assert_eq!(out, told(1, 10, Why::Repeat));
    one.greet(later);
    out.clear();
    one.tick(later, &mut out);
    assert_eq!(out, told(1, 10, Why::Repeat));
    let heard = Down::Heard {
        query: ID,
        epoch: 7,
        count: 10,
    };
    hear(&mut one, heard);
    hear(&mut one, Down::Welcome { epoch: 7 });
    out.clear();
    one.tick(Monotonic(9_000_000_000), &mut out);
    assert_eq!(out, []);
}

#[test]
fn triggers_over_the_limit_are_counted_and_not_watched() {
    let mut one = participant();
    one.config.n_queries_max = 1;
    hear(&mut one, watch(1, 10, 0));
    let other = question(&[Measure::Rows], [None; 4]);
    assert_eq!(hear(&mut one, asked(QueryId(5), other)), []);
    assert_eq!((one.len(), one.n_refused()), (1, 1));
    assert_eq!(one.count(QueryId(5)), None);
}

#[test]
fn each_trigger_counts_in_its_own_space_and_for_the_names_it_wants() {
    let mut one = participant();
    let both = question(&[Measure::LatencyMs, Measure::LockMs], [None; 4]);
    let named = question(&[Measure::LatencyMs], [None, Some(3), None, None]);
    hear(&mut one, watch(1, 10, 0));
    hear(&mut one, asked(QueryId(5), both));
    hear(&mut one, asked(QueryId(6), named));
    let counts = |one: &Participant| [4, 5, 6].map(|id| one.count(QueryId(id)).unwrap());
    add(&mut one, 2);
    assert_eq!(counts(&one), [2, 0, 0]);
    let mut full = element(3);
    full.measures[1] = Some(12);
    full.categories[1] = 3;
    one.add(&full, NOW, &mut Vec::new());
    assert_eq!(counts(&one), [5, 3, 3]);
    full.measures[1] = Some(20);
    one.add(&full, NOW, &mut Vec::new());
    assert_eq!(counts(&one), [8, 3, 6]);
    for id in [4, 5, 6] {
        hear(&mut one, Down::Forget { query: QueryId(id) });
    }
    assert!(one.is_empty() && one.routers.is_empty());
}

#[test]
fn what_an_earlier_life_counted_for_is_counted_before_anybody_asks() {
    let mut one = participant();
    one.remember(ID, question(&[Measure::LatencyMs], [None; 4]));
    assert_eq!(add(&mut one, 25), []);
    let welcome = Down::Welcome { epoch: 7 };
    assert_eq!(hear(&mut one, welcome), told(0, 25, Why::Answer));
    assert_eq!(hear(&mut one, watch(1, 10, 25)), []);
    assert_eq!(add(&mut one, 9), []);
    assert_eq!(add(&mut one, 1), told(1, 35, Why::Signal));
    let questions: Vec<_> = one.questions().map(|(query, _)| query).collect();
    assert_eq!((questions, one.n_changes()), (vec![ID], 0));
    hear(&mut one, Down::Forget { query: ID });
    assert_eq!((one.len(), one.n_changes()), (0, 1));
}

#[test]
fn over_a_new_connection_each_count_is_told_once_so_that_the_forgotten_is_forgotten() {
    let mut one = participant();
    hear(&mut one, watch(1, 10, 0));
    add(&mut one, 4);
    let welcome = Down::Welcome { epoch: 7 };
    assert_eq!(hear(&mut one, welcome.clone()), told(1, 4, Why::Answer));
    assert_eq!(hear(&mut one, welcome.clone()), []);
    one.greet(NOW);
    assert_eq!(hear(&mut one, welcome), told(1, 4, Why::Answer));
}

#[test]
fn at_the_end_of_a_life_what_was_not_told_is_told() {
    let mut one = participant();
    hear(&mut one, watch(1, 10, 0));
    add(&mut one, 10);
    let mut out = Vec::new();
    one.tell_all(&mut out);
    assert_eq!(out, told(1, 10, Why::Signal), "nothing followed it yet");
    let heard = Down::Heard {
        query: ID,
        epoch: 7,
        count: 10,
    };
    hear(&mut one, heard);
    out.clear();
    one.tell_all(&mut out);
    assert_eq!(out, [], "all of it is heard");
    add(&mut one, 4);
    one.tell_all(&mut out);
    assert_eq!(out, told(1, 14, Why::Signal));
}

/// Measures, weight, names, and the box in each measure.
type Asked = (usize, usize, [Option<u64>; 4], [(u64, u64); 2]);

const MEASURES: [&[Measure]; 6] = [
    &[Measure::LatencyMs],
    &[Measure::LockMs],
    &[Measure::Rows],
    &[Measure::LatencyMs, Measure::LockMs],
    &[Measure::LatencyMs, Measure::Rows],
    &[Measure::LockMs, Measure::Rows],
];

fn as_question((measures, weight, names, boxes): &Asked) -> Question {
    let measures = MEASURES[*measures];
    let space = Space::new(measures, Weight::ALL[*weight]).unwrap();
    let range = |&(lo, n): &(u64, u64)| Range { lo, hi: lo + n };
    let ranges = boxes[..measures.len()].iter().map(range).collect();
    Question::new(space, *names, ranges).unwrap()
}

/// What an element adds, read off the question itself.
fn brute_force(question: &Question, element: &Element) -> u64 {
    let inside = |(measure, range): (Measure, &Range)| {
        element.measures[measure as usize].is_some_and(|key| range.contains(key))
    };
    let space = question.space();
    let names = question.categories().iter().zip(&element.categories);
    let is_hit = space.measures().zip(question.ranges()).all(inside)
        && names
            .clone()
            .all(|(wanted, name)| wanted.is_none_or(|wanted| wanted == *name));
    u64::from(is_hit) * element.weights[space.weight() as usize]
}

proptest! {
    #[test]
    fn prop_every_trigger_counts_what_brute_force_says(
        asked in prop::collection::vec(
            (
                0usize..6,
                0usize..3,
                prop::array::uniform4(prop::option::weighted(0.2, 0u64..3)),
                prop::array::uniform2((0u64..20, 1u64..20)),
            ),
            1..40,
        ),
        elements in prop::collection::vec(
            (
                prop::array::uniform3(prop::option::weighted(0.8, 0u64..40)),
                prop::array::uniform3(0u64..5),
                prop::array::uniform4(0u64..3),
            ),
            0..150,
        ),
        slack in 1u64..30,
    ) {
        let mut one = participant();
        let questions: Vec<_> = asked.iter().map(as_question).collect();
        for (i, question) in questions.iter().enumerate() {
            let mut watch = asked_of(i as u64, question);
            if let Down::Watch { slack: told, .. } = &mut watch {
                *told = slack;
            }
            hear(&mut one, watch);
        }
        let mut counts = vec![0; questions.len()];
        for (measures, weights, categories) in elements {
            let element = Element { measures, weights, categories };
            let mut out = Vec::new();
            one.add(&element, NOW, &mut out);
            for (i, question) in questions.iter().enumerate() {
                let before = counts[i];
                counts[i] += brute_force(question, &element);
                prop_assert_eq!(one.count(QueryId(i as u64)), Some(counts[i]));
                let signals = out.iter().filter(|up| matches!(up, Up::Report { query, .. } if query.0 == i as u64));
                prop_assert_eq!(signals.count() as u64, u64::from(counts[i] / slack > before / slack));
            }
        }
    }
}

fn asked_of(id: u64, question: &Question) -> Down {
    asked(QueryId(id), Arc::new(question.clone()))
}
