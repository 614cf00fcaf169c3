//! What probabilities are worth: do causes said with 80 % turn out right in four of five cases, and is a cause that nobody has
//! taught told from those that somebody has?
//!
//! Each case is judged twice by causes learned from the other groups (variants, machines): by all of them, and by a library that
//! has never heard of its cause. Cases with nothing wrong are judged once.

use std::collections::{BTreeMap, BTreeSet};

use hsw_explain::{Case, Diagnosis, Known, NONE};

use super::labelled::Labelled;
use crate::bench::{Figure, Report};

/// Bins of probability.
const N_BINS: usize = 10;

/// A stated probability, and whether it came true.
type Said = (f64, bool);

/// A case's true cause, and what is said of it.
type Judged<'a> = (&'a str, Diagnosis);

/// Adds errors of calibration, how well "none of the known causes" tells unknown causes, and the tables behind them.
pub(super) fn of(cases: &[Labelled], group: &str, report: &mut Report) {
    let (known, unknown) = judged(cases, group);
    if unknown.is_empty() {
        return;
    }
    let first = |(cause, found): &Judged<'_>| {
        let first = found.causes.first();
        first.map_or((0.0, false), |(name, probability)| {
            (*probability, name == cause)
        })
    };
    let known_first: Vec<Said> = known.iter().map(first).collect();
    let both_first: Vec<Said> = known.iter().chain(&unknown).map(first).collect();
    let faults = known.iter().filter(|(cause, _)| *cause != NONE);
    let of_faults: Vec<Said> = faults.map(|(_, found)| (found.none, false)).collect();
    let of_unknown: Vec<Said> = unknown
        .iter()
        .map(|(_, found)| (found.none, true))
        .collect();
    let none: Vec<Said> = of_faults.iter().chain(&of_unknown).copied().collect();
    let how = "mean distance of what is said from what comes true, ten bins; groups left out";
    for (metric, said) in [
        (
            "calibration error of the first cause, all causes taught",
            &known_first,
        ),
        (
            "calibration error of the first cause, also with its cause not taught",
            &both_first,
        ),
        (
            "calibration error of none of the known, also with its cause not taught",
            &none,
        ),
    ] {
        report.add(Figure::new(metric, error(said), how));
    }
    let how = "causes never taught against taught ones, by the probability of none of the known";
    let values = |said: &[Said]| said.iter().map(|(p, _)| *p).collect::<Vec<_>>();
    let area = area(&values(&of_unknown), &values(&of_faults));
    report.add(Figure::new("none of the known causes: AUROC", area, how));
    report.note(format!("first cause, all taught: {}", table(&known_first)));
    report.note(format!("none of the known: {}", table(&none)));
}

/// Each case by all causes of the other groups, and by those without its own.
fn judged<'a>(cases: &'a [Labelled], group: &str) -> (Vec<Judged<'a>>, Vec<Judged<'a>>) {
    let own = cases.iter().filter_map(|case| {
        let levels = Case::new(&case.columns(), &case.regions);
        Some((case.key(group), case.cause()?, levels))
    });
    let own: Vec<(String, &str, Case)> = own.collect();
    let groups: BTreeSet<&String> = own.iter().map(|(group, ..)| group).collect();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for group in groups {
        let (judged, taught): (Vec<_>, Vec<_>) = own.iter().partition(|(own, ..)| own == group);
        let taught: Vec<(&str, &Case)> = taught
            .iter()
            .map(|(_, cause, case)| (*cause, case))
            .collect();
        let all = Known::learn(&taught);
        known.extend(
            judged
                .iter()
                .map(|(_, cause, case)| (*cause, all.diagnose(case))),
        );
        let causes: BTreeSet<&str> = judged.iter().map(|(_, cause, _)| *cause).collect();
        for cause in causes.into_iter().filter(|cause| *cause != NONE) {
            let rest = taught.iter().copied().filter(|(other, _)| *other != cause);
            let without = Known::learn(&rest.collect::<Vec<_>>());
            let of_cause = judged.iter().filter(|(_, own, _)| *own == cause);
            unknown.extend(of_cause.map(|(_, cause, case)| (*cause, without.diagnose(case))));
        }
    }
    (known, unknown)
}

/// Bins by what was said: sum said, how many came true, how many there are.
fn bins(said: &[Said]) -> BTreeMap<usize, (f64, usize, usize)> {
    let mut bins = BTreeMap::new();
    for (probability, is_true) in said {
        let at = ((probability * N_BINS as f64) as usize).min(N_BINS - 1);
        let bin = bins.entry(at).or_insert((0.0, 0, 0));
        *bin = (
            bin.0 + probability,
            bin.1 + usize::from(*is_true),
            bin.2 + 1,
        );
    }
    bins
}

/// Expected calibration error (Naeini et al. 2015).
fn error(said: &[Said]) -> f64 {
    let bins = bins(said);
    let distances = bins
        .values()
        .map(|(sum, n_true, _)| (sum - *n_true as f64).abs());
    distances.sum::<f64>() / said.len().max(1) as f64
}

fn table(said: &[Said]) -> String {
    let row = |(sum, n_true, n): &(f64, usize, usize)| {
        let n_said = *n as f64;
        format!(
            "said {:.2}, true {:.2} of {n}",
            sum / n_said,
            *n_true as f64 / n_said
        )
    };
    bins(said).values().map(row).collect::<Vec<_>>().join("; ")
}

/// Share of pairs in which the first is greater, ties by half.
fn area(greater: &[f64], less: &[f64]) -> f64 {
    let mut sorted = less.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |value: &f64| {
        let n_less = sorted.partition_point(|other| other < value);
        let n_same = sorted.partition_point(|other| other <= value) - n_less;
        n_less as f64 + n_same as f64 / 2.0
    };
    greater.iter().map(below).sum::<f64>() / (greater.len() * less.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_areas_are_those_worked_out_by_hand() {
        // Said 0.9 twice and true once: 0.4 off, twice; said 0.2 and false: 0.2 off.
        let said = [(0.9, true), (0.9, false), (0.2, false)];
        assert!((error(&said) - (0.8 + 0.2) / 3.0).abs() < 1e-12);
        assert_eq!(
            table(&said),
            "said 0.20, true 0.00 of 1; said 0.90, true 0.50 of 2"
        );
        assert!((area(&[0.5, 0.9], &[0.1, 0.5]) - 3.5 / 4.0).abs() < 1e-12);
    }
}
