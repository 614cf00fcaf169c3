//! Real faults taught once or twice: what is known is named, what is not is said to be unknown.

use super::*;
use crate::format;

#[test]
fn one_cause_that_came_twice_does_not_make_those_that_came_once_unknown() {
    // Real faults, as shipped.
    let text = include_str!("../../src/causes_default.json");
    let all = format::read(text).unwrap();
    let (mut once, mut again): (Vec<&NamedCase>, Vec<&NamedCase>) = (Vec::new(), Vec::new());
    for case in &all {
        let is_known = once.iter().any(|other| other.cause == case.cause);
        if is_known { &mut again } else { &mut once }.push(case);
    }
    let told = |twice: &NamedCase, without: &str| {
        let cases = once.iter().copied().chain([twice]);
        let cases = cases.filter(|case| case.cause != without);
        Known::learn(
            &cases
                .map(|case| (case.cause.as_str(), &case.case))
                .collect::<Vec<_>>(),
        )
    };
    let (mut n, mut n_named, mut n_unknown) = (0, 0, 0);
    for twice in &again {
        for case in again.iter().filter(|case| case.cause != twice.cause) {
            let known = told(twice, "").diagnose(&case.case);
            let unknown = told(twice, &case.cause).diagnose(&case.case);
            let (first, probability) = &known.causes[0];
            n += 1;
            n_named += usize::from(*first == case.cause && *probability > known.none);
            n_unknown += usize::from(unknown.none > unknown.causes[0].1);
        }
    }
    assert!(n_named * 20 >= n * 19, "{n_named} of {n} named");
    assert!(
        n_unknown * 4 >= n * 3,
        "{n_unknown} of {n} said to be unknown"
    );
}
