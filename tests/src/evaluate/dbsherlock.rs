//! dbsherlock: real faults of a database; causes learned from few cases, predicates, regions found without help.
//!
//! Whole variants are left out, never rows. The paper's and its authors' procedure run beside ours in the same table, each on
//! the attributes and over the rows that its own experiments took. What is learned from how many cases: `protocols`.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use hsw_cli::offline::explain::{Library, Procedure, predicates, region};
use hsw_cli::offline::learn;
use hsw_cli::offline::ranges::Rows;
use hsw_cli::offline::table::Values;
use hsw_explain::{Column, Condition, Coverage, NamedCase, Predicate, Search, find, sherlock};
use serde_json::{Value, json};

use super::labelled::{self, Labelled};
use super::{Task, calibration, must_say, note_scorer, scorer, unscored};
use crate::bench::{Figure, Report};

mod protocols;

/// Partitions that predicates are scored by.
const N_PARTITIONS: usize = 500;
const PROCEDURES: [(Procedure, &str); 3] = [
    (Procedure::Ours, "ours"),
    (Procedure::Paper, "the paper's"),
    (Procedure::Code, "its authors' code's"),
];

/// Answers and scores.
pub(super) fn answer(task: &Task) -> Result<Report> {
    let mut report = Report::default();
    let cases = labelled::read(&task.data)?;
    let with_named: Vec<(&Labelled, Option<NamedCase>)> =
        cases.iter().map(|case| (case, case.named())).collect();
    let teachers = task.learn_from.as_deref().map(labelled::read).transpose()?;
    let ranked = causes(&with_named, teachers.as_deref());
    let answers =
        |value: &dyn Fn(&Labelled) -> Value| -> Vec<Value> { cases.iter().map(value).collect() };
    if let Some(ranked) = &ranked {
        let pairs = cases.iter().zip(ranked);
        let lines: Vec<Value> = pairs
            .map(|(case, ranked)| json!({ "id": case.id, "ranked": ranked }))
            .collect();
        labelled::write(&task.out.join("causes.jsonl"), &lines)?;
    } else {
        report.note("causes.jsonl: nothing to learn causes from (no truth here, no --learn-from)");
    }
    let predicates_file = task.out.join("predicates.jsonl");
    labelled::write(&predicates_file, &answers(&predicates_line))?;
    let regions = answers(&|case| {
        let found = region(&case.columns(), case.table.n_rows, Procedure::Ours);
        let ranges = found.iter().flat_map(|rows| rows.ranges());
        json!({ "id": case.id, "region": ranges.map(|(a, b)| json!([a, b])).collect::<Vec<_>>() })
    });
    labelled::write(&task.out.join("regions.jsonl"), &regions)?;

    score_predicates(task, &cases, &mut report)?;
    score_regions(&cases, &mut report);
    let has_truth = cases.iter().all(|case| case.cause().is_some());
    match ranked {
        Some(ranked) if has_truth => {
            let how = if teachers.is_some() {
                "learned from another folder; `hsw explain`"
            } else {
                "each variant by the others (five cases a cause); `hsw explain`"
            };
            let pairs = cases.iter().zip(&ranked);
            let (first, second) =
                labelled::accuracy(pairs.map(|(c, r)| (c.cause().unwrap_or_default(), &r[..])));
            report.add(Figure::new("cause first", first, how).at_least(0.98));
            report.add(Figure::new("cause among the first two", second, how).at_least(1.0));
            check_ranks(task, first, &mut report)?;
        }
        _ => unscored(&mut report, "causes"),
    }
    if has_truth && teachers.is_none() {
        protocols::protocols(&with_named, &mut report);
        calibration::of(&cases, "variant", &mut report);
    }
    Ok(report)
}

/// The attributes of the authors' experiments, as they stand in the file: no cumulative counters, and not the latency that
/// regions were drawn by.
fn authors_columns(case: &Labelled) -> Vec<Column<'_>> {
    let is_theirs = |name: &str| !name.contains("dbmsCum") && name != "avg_latency_ms";
    let own = case
        .table
        .columns
        .iter()
        .filter(|column| is_theirs(&column.name));
    own.filter_map(|column| match &column.values {
        Values::Numbers(values) => Some(Column {
            name: &column.name,
            values: hsw_explain::Values::Numbers(values.into()),
            is_difference: false,
        }),
        Values::Categories { .. } => None,
    })
    .collect()
}

/// What a procedure is given of a case.
fn columns(case: &Labelled, procedure: Procedure) -> Vec<Column<'_>> {
    match procedure {
        Procedure::Ours => case.columns(),
        Procedure::Paper | Procedure::Code => authors_columns(case),
    }
}

/// Ranked causes of each case: by the teachers, or each variant by the others; `None` where nobody says a cause.
fn causes(
    cases: &[(&Labelled, Option<NamedCase>)],
    teachers: Option<&[Labelled]>,
) -> Option<Vec<Vec<String>>> {
    if let Some(teachers) = teachers {
        let named: Vec<NamedCase> = teachers.iter().filter_map(Labelled::named).collect();
        let library = Library::new(&named, Procedure::Ours, None);
        return Some(
            cases
                .iter()
                .map(|(case, _)| labelled::ranked(&library, case))
                .collect(),
        );
    }
    cases.iter().any(|(_, named)| named.is_some()).then(|| {
        let mut ranked = vec![Vec::new(); cases.len()];
        for variant in variants(cases) {
            let library = labelled::library(cases, Procedure::Ours, None, |c| {
                c.key("variant") != variant
            });
            for (ranked, (case, _)) in ranked.iter_mut().zip(cases) {
                if case.key("variant") == variant {
                    *ranked = labelled::ranked(&library, case);
                }
            }
        }
        ranked
    })
}

fn variants(cases: &[(&Labelled, Option<NamedCase>)]) -> BTreeSet<String> {
    cases.iter().map(|(case, _)| case.key("variant")).collect()
}

/// The predicates that the table's own columns can be held against: those of counters speak of differences.
fn predicates_line(case: &Labelled) -> Value {
    let all = predicates(&case.columns(), &case.regions, Procedure::Ours, None);
    let own = all.iter().filter(|predicate| !predicate.is_difference);
    let own: Vec<Value> = own.map(hsw_explain::format::predicate_json).collect();
    json!({ "id": case.id, "predicates": own })
}

/// Harmonic mean of the mean precision and recall over partitions, by the rules of the set's own scorer.
fn f1(predicates: &[Predicate], case: &Labelled) -> f64 {
    let (mut precision, mut recall) = (0.0, 0.0);
    for predicate in predicates {
        let column = case.table.column(&predicate.attribute);
        if let (Some(Values::Numbers(values)), Condition::Range { min, max }) =
            (column.map(|column| &column.values), &predicate.condition)
        {
            let covered = covered(values, case, *min, *max);
            precision += covered.precision();
            recall += covered.recall();
        }
    }
    let n = predicates.len().max(1) as f64;
    harmonic(precision / n, recall / n)
}

/// Partitions of one region that a range covers, as `predicate_score.py` counts them: the maximum lies in the last partition,
/// which is covered whatever the upper bound.
fn covered(values: &[f64], case: &Labelled, low: Option<f64>, high: Option<f64>) -> Coverage {
    let of = |rows: &[std::ops::Range<usize>]| -> Vec<f64> {
        rows.iter()
            .flat_map(|rows| values[rows.clone()].iter().copied())
            .collect()
    };
    let sides = [of(case.regions.abnormal()), of(case.regions.normal())];
    let all = || sides.iter().flatten().copied();
    let min = all().fold(f64::INFINITY, f64::min);
    let width = (all().fold(f64::NEG_INFINITY, f64::max) - min) / N_PARTITIONS as f64;
    let width = if width > 0.0 { width } else { 1.0 };
    let mut held = vec![[false; 2]; N_PARTITIONS];
    for (side, values) in sides.iter().enumerate() {
        for value in values {
            held[(((value - min) / width) as usize).min(N_PARTITIONS - 1)][side] = true;
        }
    }
    let is_covered = |at: usize| {
        let above = low.is_none_or(|low| low <= min + at as f64 * width);
        let below = high.is_none_or(|high| min + (at + 1) as f64 * width < high);
        above && (at == N_PARTITIONS - 1 || below)
    };
    let count = |only: [bool; 2]| {
        let own = (0..N_PARTITIONS).filter(|at| held[*at] == only);
        own.fold((0, 0), |(n, all), at| {
            (n + usize::from(is_covered(at)), all + 1)
        })
    };
    Coverage {
        abnormal: count([true, false]),
        normal: count([false, true]),
    }
}

fn harmonic(a: f64, b: f64) -> f64 {
    if a + b > 0.0 {
        2.0 * a * b / (a + b)
    } else {
        0.0
    }
}

fn score_predicates(task: &Task, cases: &[Labelled], report: &mut Report) -> Result<()> {
    let mut means = [0.0; 3];
    for case in cases {
        for (mean, (procedure, _)) in means.iter_mut().zip(PROCEDURES) {
            let columns = columns(case, procedure);
            let mut own = predicates(&columns, &case.regions, procedure, None);
            own.retain(|predicate| !predicate.is_difference);
            *mean += f1(&own, case) / cases.len() as f64;
        }
    }
    let best_peer = means[1].max(means[2]);
    for (mean, (procedure, whose)) in means.into_iter().zip(PROCEDURES) {
        let name = format!("F1 of a case's own predicates (partitions), {whose}");
        let figure = Figure::new(&name, mean, "mean over cases; the region is given");
        let is_ours = procedure == Procedure::Ours;
        report.add(if is_ours {
            figure.at_least(best_peer)
        } else {
            figure
        });
    }
    let options = [
        task.data.display().to_string(),
        task.out.join("predicates.jsonl").display().to_string(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    if let Some(said) = scorer(task, "predicate_score.py", &[], &options)? {
        let line = said
            .lines()
            .find(|line| line.starts_with("partitions"))
            .unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = words.iter().position(|word| *word == "F1");
        let theirs = place.and_then(|at| words.get(at + 1)?.parse::<f64>().ok());
        let is_near = theirs.is_some_and(|theirs| (theirs - means[0]).abs() < 1e-3);
        ensure!(
            is_near,
            "the set's scorer says otherwise than {:.4}: {said}",
            means[0]
        );
        note_scorer(report, &said);
    }
    Ok(())
}

/// Whether a row is abnormal, row by row.
type Flags = Vec<bool>;

/// From columns and the number of rows to the rows that stand out.
type Way = fn(&[Column<'_>], usize) -> Option<Flags>;

fn flags(rows: std::ops::Range<usize>, n: usize) -> Option<Flags> {
    Some((0..n).map(|row| rows.contains(&row)).collect())
}

/// Found regions by the three ways, of all rows of the recording, and of the rows that its authors labelled alone, which is what
/// the reference figures (interval scan 0.63, the paper's rule 0.29, all eleven variants) were measured over.
fn score_regions(cases: &[Labelled], report: &mut Report) {
    let ways: [(&str, Way); 3] = [
        ("ours", |columns, n| {
            flags(find(columns, n, Search::Ours)?, n)
        }),
        ("interval scan", |columns, n| {
            flags(find(columns, n, Search::Scan)?, n)
        }),
        ("the paper's", sherlock),
    ];
    let n_cases = cases.len().max(1) as f64;
    for only_labelled in [false, true] {
        let (which, how) = if only_labelled {
            (
                " among labelled rows",
                "mean intersection over union with the true region, rows in neither region left out beforehand",
            )
        } else {
            (
                "",
                "mean intersection over union with the true region, all rows given",
            )
        };
        for (whose, way) in &ways {
            let overlaps = cases.iter().map(|case| {
                let part = Part::of(case, only_labelled);
                let found = way(&part.columns(), part.rows.len());
                labelled::overlap(found.map(|flags| part.whole(&flags)).as_ref(), case)
            });
            let mean = overlaps.sum::<f64>() / n_cases;
            let figure = Figure::new(&format!("region found{which}, {whose}"), mean, how);
            let is_held = *whose == "ours" && !only_labelled;
            report.add(if is_held {
                figure.at_least(0.70)
            } else {
                figure
            });
        }
    }
}

/// Some rows of a case.
struct Part<'a> {
    case: &'a Labelled,
    rows: Vec<usize>,
    numbers: Vec<(&'a str, Vec<f64>)>,
}

impl<'a> Part<'a> {
    fn of(case: &'a Labelled, only_labelled: bool) -> Self {
        let mut is_in = vec![!only_labelled; case.table.n_rows];
        for rows in case.regions.abnormal().iter().chain(case.regions.normal()) {
            is_in[rows.clone()].fill(true);
        }
        let rows: Vec<usize> = (0..is_in.len()).filter(|row| is_in[*row]).collect();
        let numbers = case
            .table
            .columns
            .iter()
            .filter_map(|column| match &column.values {
                Values::Numbers(values) => Some((
                    column.name.as_str(),
                    rows.iter().map(|row| values[*row]).collect(),
                )),
                Values::Categories { .. } => None,
            });
        Self {
            case,
            numbers: numbers.collect(),
            rows,
        }
    }

    fn columns(&self) -> Vec<Column<'_>> {
        let own = self.numbers.iter();
        own.map(|own| Column::numbers(own.0, &own.1)).collect()
    }

    /// Flags of the part as rows of the case.
    fn whole(&self, flags: &[bool]) -> Rows {
        let mut whole = vec![false; self.case.table.n_rows];
        for (row, flag) in self.rows.iter().zip(flags) {
            whole[*row] = *flag;
        }
        Rows::from_flags(&whole)
    }
}

/// The set's own scorer on the causes.
fn check_ranks(task: &Task, first: f64, report: &mut Report) -> Result<()> {
    let files = [task.data.join("truth.jsonl"), task.out.join("causes.jsonl")];
    let files: Vec<&std::path::Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    if let Some(said) = scorer(task, "rank_score.py", &files, &[])? {
        must_say(&said, &format!("AC@1..5 {first:.4}"))?;
        note_scorer(report, &said);
    }
    Ok(())
}
