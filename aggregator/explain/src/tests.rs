//! The oracles of ALGORITHMS section 6.6, and properties of what is ours. Sections are the paper's.

use proptest::prelude::*;

use super::*;

/// 60 rows, of which 20–39 are abnormal.
const N: usize = 60;

fn regions() -> Regions {
    let abnormal: Vec<bool> = (0..N).map(|row| (20..40).contains(&row)).collect();
    Regions::new(&abnormal, &[true; N])
}

fn swapped() -> Regions {
    let abnormal: Vec<bool> = (0..N).map(|row| !(20..40).contains(&row)).collect();
    Regions::new(&abnormal, &[true; N])
}

/// Low outside, high within the abnormal rows, with a ripple.
fn step(low: f64, high: f64) -> Vec<f64> {
    let value = |row: usize| {
        let ripple = (row * 7 % 13) as f64 / 100.0;
        if (20..40).contains(&row) {
            high + ripple
        } else {
            low + ripple
        }
    };
    (0..N).map(value).collect()
}

fn range(predicate: &Predicate) -> (Option<f64>, Option<f64>) {
    match &predicate.condition {
        Condition::Range { min, max } => (*min, *max),
        Condition::In(names) => panic!("{names:?}"),
    }
}

fn named(cause: &str, columns: &[Column<'_>]) -> NamedCase {
    let regions = regions();
    NamedCase {
        cause: cause.to_owned(),
        predicates: published(columns, &regions, &Config::default(), Method::Paper),
        case: Case::new(columns, &regions),
    }
}

#[test]
fn a_step_is_cut_between_its_levels_nearer_to_the_abnormal_one() {
    let values = step(1.0, 9.0);
    let columns = [Column::numbers("x", &values)];
    let found = published(&columns, &regions(), &Config::default(), Method::Paper);
    let (min, max) = range(&found[0]);
    let min = min.expect("it has a lower bound");
    assert!(
        min > 8.0 && min <= 9.0,
        "δ = 10 leaves an eleventh of the gap: {min}"
    );
    assert_eq!(max, None);
    assert!((found[0].power - 1.0).abs() < 1e-12);
    let ours = separating(&columns, &regions(), 500);
    let (min, _) = range(&ours[0]);
    assert!(
        (min.expect("a lower bound") - 5.0).abs() < 0.2,
        "the middle of the gap"
    );
}

#[test]
fn a_spike_between_two_levels_has_two_bounds_and_noise_has_none() {
    let mut values = step(0.0, 5.0);
    for value in values.iter_mut().take(10) {
        *value += 10.0;
    }
    let noise: Vec<f64> = (0..N).map(|row| (row * 31 % 59) as f64).collect();
    let constant = vec![3.0; N];
    let missing = vec![f64::NAN; N];
    let columns = [
        Column::numbers("spike", &values),
        Column::numbers("noise", &noise),
        Column::numbers("constant", &constant),
        Column::numbers("missing", &missing),
    ];
    for found in [
        published(
            &columns,
            &regions(),
            &Config {
                theta: 0.01,
                ..Config::default()
            },
            Method::Paper,
        ),
        separating(&columns, &regions(), 500),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        let (min, max) = range(&found[0]);
        assert!(min.expect("above the low level") > 0.12 && max.expect("below the high") < 10.0);
    }
}

#[test]
fn categories_that_only_abnormal_rows_have_make_a_predicate() {
    let levels = ["ok", "waiting", "locked"].map(str::to_owned);
    let code = |row: usize| match row {
        5 => MISSING,
        20..30 => 1,
        30..40 => 2,
        _ => 0,
    };
    let codes: Vec<u32> = (0..N).map(code).collect();
    let columns = [Column::categories("state", &levels, &codes)];
    for found in [
        published(&columns, &regions(), &Config::default(), Method::Paper),
        separating(&columns, &regions(), 500),
    ] {
        assert_eq!(found[0].to_string(), "state is locked or waiting");
        assert!((found[0].power - 1.0).abs() < 1e-12);
    }
    let case = Case::new(&columns, &regions());
    assert!((case.levels["state=locked"].during - 0.5).abs() < 1e-12);
}

#[test]
fn opposite_directions_are_dropped_and_attributes_that_are_not_common() {
    let (up, down) = (step(1.0, 9.0), step(9.0, 1.0));
    let case = |x: &[f64], names: &[&str]| {
        let columns: Vec<Column<'_>> = names.iter().map(|name| Column::numbers(name, x)).collect();
        published(&columns, &regions(), &Config::default(), Method::Paper)
    };
    let (a, b) = (case(&up, &["x", "y"]), case(&down, &["x"]));
    let merged =
        |cases: &[&[Predicate]]| CausalModel::merge("c", cases, THETA_MERGED, Method::Paper);
    assert!(merged(&[&a, &b]).predicates.is_empty());
    assert_eq!(merged(&[&a, &case(&up, &["x"])]).predicates.len(), 1);
}

#[test]
fn attributes_that_are_missing_are_skipped_and_counted() {
    let values = step(1.0, 9.0);
    let columns = [Column::numbers("x", &values), Column::numbers("y", &values)];
    let predicates = published(&columns, &regions(), &Config::default(), Method::Paper);
    let model = CausalModel::merge("c", &[&predicates], THETA_SINGLE, Method::Paper);
    let fit = |columns: &[Column<'_>]| model.fit(&Spaces::new(columns, &regions(), 500));
    assert_eq!((fit(&columns).n_used, fit(&columns).n_missing), (2, 0));
    assert!((fit(&columns[..1]).confidence - 1.0).abs() < 1e-12);
    assert_eq!(
        (fit(&columns[..1]).n_used, fit(&columns[..1]).n_missing),
        (1, 1)
    );
    assert_eq!((fit(&[]).n_used, fit(&[]).confidence), (0, 0.0));
    let other = CausalModel::merge("d", &[&predicates[..1]], THETA_SINGLE, Method::Paper);
    let models = Models::new(vec![model.clone(), other.clone()]);
    for columns in [&columns[..], &columns[..1], &columns[1..], &[]] {
        let regions = regions();
        let case = Spaces::new(columns, &regions, 500);
        assert_eq!(models.fits(&case), [model.fit(&case), other.fit(&case)]);
    }
}

/// A case whose attributes `a`–`d` rise by what `rise` says, from levels as of another machine.
fn case(machine: f64, day: usize, rise: [f64; 4]) -> Case {
    let names = ["a", "b", "c", "d"];
    let rows: Vec<Vec<f64>> = (0..4)
        .map(|at| {
            let level = machine * (10.0 + (day * (at + 3) % 7) as f64 / 10.0);
            step(level, level * rise[at])
        })
        .collect();
    let columns: Vec<Column<'_>> = names
        .iter()
        .zip(&rows)
        .map(|(name, rows)| Column::numbers(name, rows))
        .collect();
    Case::new(&columns, &regions())
}

#[test]
fn what_was_learned_on_one_machine_is_named_on_another() {
    let kinds = [
        ("disk", [3.0, 1.0, 1.0, 1.0]),
        ("lock", [1.0, 0.2, 4.0, 1.0]),
    ];
    let cases: Vec<(&str, Case)> = kinds
        .iter()
        .flat_map(|(cause, rise)| (0..4).map(|day| (*cause, case(1.0, day, *rise))))
        .collect();
    let known = Known::learn(
        &cases
            .iter()
            .map(|(cause, case)| (*cause, case))
            .collect::<Vec<_>>(),
    );
    for (cause, rise) in kinds {
        let found = known.diagnose(&case(20.0, 5, rise));
        assert_eq!(found.causes[0].0, cause);
        assert!(found.causes[0].1 > 0.5, "{found:?}");
    }
    let unknown = known.diagnose(&case(20.0, 5, [1.0, 1.0, 1.0, 6.0]));
    assert!(unknown.none > 0.5, "something else entirely: {unknown:?}");
    let nothing = known.diagnose(&case(20.0, 5, [1.0; 4]));
    assert!(nothing.none > 0.5, "nothing at all: {nothing:?}");
}

#[test]
fn what_drifts_is_known_of_an_attribute_that_comes_late() {
    // Normal rows are 0–19 and 40–59; it is there from row 52 on.
    let value = |row| match row {
        0..52 => f64::NAN,
        52..56 => 10.0,
        _ => 14.0,
    };
    let mut late: Vec<f64> = (0..N).map(value).collect();
    late[30] = 20.0;
    let levels = Case::new(&[Column::numbers("late", &late)], &regions()).levels["late"];
    assert_eq!((levels.before, levels.drift), (12.0, 4.0));
}

#[test]
fn a_cause_is_named_from_one_case_that_knows_no_drift() {
    // What is watched for a minute has no earlier half to compare with, but for the few attributes that are always known.
    let watched = |day: usize, rise: [f64; 4]| {
        let mut case = case(1.0, day, rise);
        let silent = Levels {
            before: 0.0,
            drift: 0.0,
            during: f64::from(u8::from(rise[1] < 1.0)),
        };
        case.levels.insert("silent".to_owned(), silent);
        case
    };
    let young = |rise: [f64; 4]| {
        let mut case = watched(0, rise);
        let others = case.levels.iter_mut().filter(|(name, _)| *name != "silent");
        others.for_each(|(_, levels)| levels.drift = f64::NAN);
        case
    };
    let (lock, stopped) = (young([1.0, 1.0, 4.0, 1.0]), young([1.0, 0.2, 1.0, 1.0]));
    let known = Known::learn(&[("lock", &lock), ("stopped", &stopped)]);
    let again = known.diagnose(&watched(3, [1.0, 1.0, 4.0, 1.0]));
    assert_eq!(again.causes[0].0, "lock");
    assert!(again.none < 0.5, "{again:?}");
    let other = known.diagnose(&watched(3, [4.0, 1.0, 1.0, 1.0]));
    assert!(other.none > 0.5, "{other:?}");
}

#[test]
fn nothing_known_and_nothing_in_common_are_no_error() {
    let known = Known::learn(&[]);
    let found = known.diagnose(&case(1.0, 0, [2.0; 4]));
    assert_eq!((found.causes.len(), found.none), (0, 1.0));
    let own = case(1.0, 0, [2.0; 4]);
    let known = Known::learn(&[("x", &own)]);
    let found = known.diagnose(&Case::default());
    assert!(found.causes[0].1 <= 1.0);
}

#[test]
fn a_region_behind_a_warm_up_is_found() {
    let row = |at: usize, seed: usize| -> f64 {
        let ripple = (at * (seed + 3) % 17) as f64 / 17.0;
        match at {
            0..5 => -50.0,
            40..70 => 5.0 + ripple,
            _ => ripple,
        }
    };
    let rows: Vec<Vec<f64>> = (0..8)
        .map(|seed| (0..100).map(|at| row(at, seed)).collect())
        .collect();
    let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
    let columns: Vec<Column<'_>> = names
        .iter()
        .zip(&rows)
        .map(|(name, rows)| Column::numbers(name, rows))
        .collect();
    assert_eq!(find(&columns, 100, Search::Ours), Some(40..70));
    assert_eq!(find(&[], 100, Search::Ours), None);
    assert_eq!(find(&columns, 3, Search::Ours), None);
    let long: Vec<Vec<f64>> = rows
        .iter()
        .map(|r| r.iter().flat_map(|v| [*v; 50]).collect())
        .collect();
    let columns: Vec<Column<'_>> = names
        .iter()
        .zip(&long)
        .map(|(name, rows)| Column::numbers(name, rows))
        .collect();
    let found = find(&columns, 5_000, Search::Ours).expect("the long one has it too");
    assert!(
        found.start.abs_diff(2_000) < 50 && found.end.abs_diff(3_500) < 50,
        "{found:?}"
    );
}

#[test]
fn the_papers_own_rule_finds_a_small_cluster() {
    let rows: Vec<f64> = (0..100)
        .map(|at| f64::from(u8::from((60..75).contains(&at))))
        .collect();
    let columns = [Column::numbers("x", &rows)];
    // The window of 20 rows holds 15 high ones: its median is high.
    let found = sherlock(&columns, 100).expect("a cluster");
    let abnormal: Vec<usize> = (0..100).filter(|row| found[*row]).collect();
    assert_eq!((abnormal[0], abnormal.len()), (60, 15));
}

#[test]
fn files_of_another_kind_or_a_newer_version_say_so() {
    use format::{FormatError, read};
    assert!(matches!(read("{"), Err(FormatError::Json(_))));
    assert_eq!(read("{}"), Err(FormatError::Foreign));
    let newer = r#"{"format":"hsw-causes","version":2,"causes":[]}"#;
    assert_eq!(read(newer), Err(FormatError::Newer(2)));
    let broken = r#"{"format":"hsw-causes","version":1,"causes":[{"cause":"x"}]}"#;
    assert!(matches!(read(broken), Err(FormatError::Wrong(_))));
}

/// As the first release wrote it.
const VERSION_1: &str = r#"{"format":"hsw-causes","version":1,
"causes":[
{"cause":"disk full","cases":1,"in_common":[
 {"attribute":"shard|queue","max":null,"min":12.5,"power":0.9375,"shift":0.5,"shift_of_labels":0.25}],
"originals":[
 {"levels":{"shard|queue":[1.5,null,20.0],"state=full":[0.0,0.0,1.0],"reads per row":[3.0,0.5,9.0]},"predicates":[{"attribute":"shard|queue","max":null,"min":12.5,"power":0.9375,"shift":0.5,"shift_of_labels":0.25},{"attribute":"state","in":["full"],"power":1.0,"shift":1.0,"shift_of_labels":1.0},{"attribute":"reads","max":99.0,"min":null,"per_row":true,"power":0.5,"shift":0.1,"shift_of_labels":0.1}]}]}
]}
"#;

#[test]
fn a_file_of_version_1_is_read_for_ever() {
    let cases = format::read(VERSION_1).unwrap();
    assert_eq!((cases.len(), cases[0].cause.as_str()), (1, "disk full"));
    let said: Vec<String> = cases[0]
        .predicates
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        ["shard|queue ≥ 12.5", "state is full", "reads per row < 99"]
    );
    let levels = cases[0].case.levels["shard|queue"];
    assert!(levels.drift.is_nan() && (levels.during - 20.0).abs() < 1e-12);
    let older = VERSION_1.replace("\"version\":1", "\"version\":0");
    assert_eq!(format::read(&older).unwrap().len(), 1);
    let found = Known::learn(&[("disk full", &cases[0].case)]).diagnose(&cases[0].case);
    assert_eq!(found.causes[0].0, "disk full");
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![9 => (-50_i32..50).prop_map(f64::from), 1 => Just(f64::NAN)];
    proptest::collection::vec(value, N)
}

proptest! {
    /// PT-1, PT-2, SE and JU-2: neither the order of rows nor the unit (a power of two: exact) matters.
    #[test]
    fn prop_order_within_regions_and_units_change_nothing(values in values(), by in 0_usize..20) {
        let mut turned = values.clone();
        turned[20..40].rotate_left(by);
        turned[40..].rotate_left(by);
        let scaled: Vec<f64> = values.iter().map(|value| value * 4.0).collect();
        let config = Config { theta: 0.0, ..Config::default() };
        let both = |values: &[f64]| {
            let columns = [Column { name: "x", values: Values::Numbers(values.into()), is_difference: false }];
            let paper = published(&columns, &regions(), &config, Method::Paper);
            let ours = separating(&columns, &regions(), 500);
            (paper.first().map(range), ours.first().map(range))
        };
        let own = both(&values);
        prop_assert_eq!(&own, &both(&turned));
        let up = |range: Option<(Option<f64>, Option<f64>)>| range.map(|(a, b)| (a.map(|v| v * 4.0), b.map(|v| v * 4.0)));
        prop_assert_eq!((up(own.0), up(own.1)), both(&scaled));
    }

    /// Swapping the regions turns a predicate round where both sides weigh the same (δ = 1), up to one partition.
    #[test]
    fn prop_swapped_regions_turn_a_predicate_round(low in 0.0..10.0_f64, gap in 1.0..10.0_f64) {
        let values = step(low, low + gap);
        let columns = [Column::numbers("x", &values)];
        let config = Config { delta: 1.0, ..Config::default() };
        let of = |regions: &Regions| published(&columns, regions, &config, Method::Paper);
        let (own, other) = (of(&regions()), of(&swapped()));
        let (min, max) = (range(&own[0]), range(&other[0]));
        prop_assert_eq!((min.1, max.0), (None, None));
        let width = (gap + 0.12) / 500.0;
        prop_assert!((min.0.unwrap() - max.1.unwrap()).abs() <= 1.5 * width);
    }

    /// CM-1, CM-3.
    #[test]
    fn prop_merged_intervals_contain_each_and_confidence_is_bounded(a in values(), b in values(), c in values()) {
        let config = Config { theta: 0.0, ..Config::default() };
        let of = |values: &[f64]| published(&[Column::numbers("x", values)], &regions(), &config, Method::Paper);
        let (a, b) = (of(&a), of(&b));
        let merged = CausalModel::merge("x", &[&a, &b], 0.0, Method::Paper);
        for predicate in &merged.predicates {
            let (min, max) = range(predicate);
            for own in a.iter().chain(&b) {
                let own = range(own);
                prop_assert!(min.is_none_or(|min| own.0.is_some_and(|own| own >= min)));
                prop_assert!(max.is_none_or(|max| own.1.is_some_and(|own| own <= max)));
            }
        }
        let case = [Column::numbers("x", &c)];
        let fit = merged.fit(&Spaces::new(&case, &regions(), 500));
        prop_assert!((-1.0..=1.0).contains(&fit.confidence));
    }

    /// KN-1, FO-1: what is written is read, and says the same.
    #[test]
    fn prop_files_come_back_and_probabilities_add_up(a in values(), b in values()) {
        let cases = vec![
            named("one", &[Column::numbers("x", &a), Column::numbers("y", &b)]),
            named("two", &[Column::numbers("x", &b), Column::numbers("y", &a)]),
        ];
        let back = format::read(&format::write(&cases)).unwrap();
        prop_assert_eq!(format::write(&back), format::write(&cases));
        let known = |cases: &[NamedCase]| {
            Known::learn(&cases.iter().map(|case| (case.cause.as_str(), &case.case)).collect::<Vec<_>>())
        };
        let found = known(&back).diagnose(&cases[0].case);
        let before = known(&cases).diagnose(&cases[0].case);
        prop_assert!((found.none - before.none).abs() < 1e-6);
        let sum: f64 = found.causes.iter().map(|(_, probability)| probability).sum();
        prop_assert!((sum + found.none - 1.0).abs() < 1e-9);
        prop_assert!(found.causes.iter().all(|(_, p)| (0.0..=1.0).contains(p)));
    }

    /// FO-2: whatever was done to a file, it is causes that can be learned from, or an error.
    #[test]
    fn prop_any_text_is_causes_or_an_error(
        cuts in proptest::collection::vec((0_usize..1_200, 0_usize..8, "[-\\[\\]{}\",:0-9e.a-z]{0,4}"), 1..4),
    ) {
        let mut text = VERSION_1.to_owned();
        for (at, n, instead) in cuts {
            let from = at.min(text.len());
            let to = (from + n).min(text.len());
            if text.is_char_boundary(from) && text.is_char_boundary(to) {
                text.replace_range(from..to, &instead);
            }
        }
        if let Ok(cases) = format::read(&text) {
            let _ = format::read(&format::write(&cases)).unwrap();
            let of: Vec<_> = cases.iter().map(|case| (case.cause.as_str(), &case.case)).collect();
            let known = Known::learn(&of);
            for case in &cases {
                let found = known.diagnose(&case.case);
                prop_assert!((0.0..=1.0).contains(&found.none));
                prop_assert!(found.causes.iter().all(|(_, p)| (0.0..=1.0).contains(p)));
            }
        }
    }

    /// Identical data names itself.
    #[test]
    fn prop_a_case_that_was_learned_is_named(seeds in proptest::collection::btree_set(1_u32..1_000, 3)) {
        let rises = seeds.iter().map(|seed| {
            [0, 1, 2, 3].map(|at| 1.0 + f64::from(seed / 4_u32.pow(at) % 4) * 2.0)
        });
        let rises: std::collections::BTreeMap<String, [f64; 4]> =
            rises.map(|rise| (format!("{rise:?}"), rise)).collect();
        let cases: Vec<(String, Case)> =
            rises.into_iter().map(|(cause, rise)| (cause, case(1.0, 1, rise))).collect();
        let judge = Judge::learn(&cases.iter().map(|(cause, case)| (cause.as_str(), case)).collect::<Vec<_>>());
        for (cause, case) in &cases {
            let nothing = case.levels.values().all(|levels| (levels.during - levels.before).abs() < 0.5);
            prop_assert!(nothing || judge.judge(case).ranked[0].0 == *cause);
        }
    }
}
