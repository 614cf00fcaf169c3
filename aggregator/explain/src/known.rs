//! Known causes: every case that somebody named, and what they say about another, as probabilities. (step 12)
//!
//! In: cases with their causes. Out: causes with probabilities, and the probability that it is none of them.
//! The scale of the votes and the doubt whether a cause is known at all are learned from the cases themselves: each is judged
//! by those of the other folds, and each cause's cases by a judge who has never heard of the cause.
//! Invariants: KN-1 probabilities and that of none of the known add up to 1. KN-2 the same cases in the same order give the
//! same numbers. Limits: [`CASES_MAX`] cases; calibration looks at [`PROBES_MAX`]. Does not: keep files (see `format`).

use std::collections::BTreeMap;

use hsw_stats::{exp, ln};

use crate::case::Case;
use crate::judge::{Judge, NONE, Verdict};
use crate::model::CausalModel;
use crate::predicate::{Method, Predicate};

/// Most cases that are kept; more are refused.
pub const CASES_MAX: usize = 10_000;
/// Cases that calibration judges, at most, for each of its two questions.
const PROBES_MAX: usize = 300;
const FOLDS: usize = 5;
/// Scale of votes where too few cases are known to learn it; the middle of [`SCALES`] in size.
const SCALE: f64 = 8.0;
/// What is tried.
const SCALES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0];
/// Likeness at which a cause is as likely known as not, and how sharply, before anything is learned. Swept 0.4–0.6: the higher, the more
/// known causes are doubted and the fewer unknown ones believed, one for one.
const DOUBT: Doubt = Doubt {
    middle: 0.4,
    slope: 10.0,
};

/// Cases on either side that what was thought before counts as: one cause that is known by two cases says little of the others. Swept 0.5–4 on
/// real faults taught once: equal within noise.
const N_PRIOR: f64 = 4.0;

/// A case that somebody named.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCase {
    /// Its cause.
    pub cause: String,
    /// Its predicates by the published procedure, wider apart than [`crate::THETA_MERGED`].
    pub predicates: Vec<Predicate>,
    /// Its levels.
    pub case: Case,
}

/// Whether a likeness (or a vote) is that of a known cause: a logistic curve.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Doubt {
    middle: f64,
    slope: f64,
}

impl Doubt {
    fn known(self, alike: f64) -> f64 {
        1.0 / (1.0 + exp(-self.slope * (alike - self.middle)))
    }
}

/// What is known.
#[derive(Debug, Clone)]
pub struct Known {
    judge: Judge,
    scale: f64,
    /// Whether a cause is known, by how alike the case and the cause's are.
    doubt: Doubt,
    /// Whether nothing is wrong, by the vote of [`NONE`]: it also wins over causes that a case of an unknown one is unlike.
    calm: Doubt,
    /// Whether somebody taught what nothing is wrong with.
    has_none: bool,
}

/// Causes by probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// Known causes with their probability 0…1, best first.
    pub causes: Vec<(String, f64)>,
    /// Probability that it is none of them, 0…1.
    pub none: f64,
}

impl Known {
    /// Learns. O(folds + causes) times what [`Judge::learn`] takes.
    #[must_use]
    pub fn learn(cases: &[(&str, &Case)]) -> Self {
        let judge = Judge::learn(cases);
        let mut by_cause: BTreeMap<&str, usize> = BTreeMap::new();
        let mut folds = Vec::with_capacity(cases.len());
        for (cause, _) in cases {
            let n = by_cause.entry(cause).or_insert(0);
            folds.push(*n % FOLDS);
            *n += 1;
        }
        let mut known = Self {
            judge,
            scale: SCALE,
            doubt: DOUBT,
            calm: DOUBT,
            has_none: by_cause.contains_key(NONE),
        };
        let seen = held_out(cases, &folds);
        let unseen = left_out(cases, by_cause.keys().copied());
        if let Some(scale) = best_scale(&seen) {
            known.scale = scale;
        }
        let right = seen.iter().filter(|(cause, _)| *cause != NONE);
        let right = right.filter_map(|(cause, verdict)| first_alike(verdict, Some(cause)));
        let wrong = unseen
            .iter()
            .filter_map(|verdict| first_alike(verdict, None));
        known.doubt = DOUBT.learned(&right.collect::<Vec<_>>(), &wrong.collect::<Vec<_>>());
        let right = seen.iter().filter(|(cause, _)| *cause == NONE);
        let right = right.filter_map(|(_, verdict)| vote_of_none(verdict));
        let wrong = unseen.iter().filter_map(vote_of_none);
        known.calm = DOUBT.learned(&right.collect::<Vec<_>>(), &wrong.collect::<Vec<_>>());
        known
    }

    /// Causes of a case, best first. O(as [`Judge::judge`]).
    #[must_use]
    pub fn diagnose(&self, case: &Case) -> Diagnosis {
        let verdict = self.judge.judge(case);
        let votes: Vec<f64> = verdict.ranked.iter().map(|(_, vote)| *vote).collect();
        let shares = softmax(&votes, self.scale);
        // Whether the cause is known at all is one question, which of the known it is another.
        let known = first_alike(&verdict, None).map_or(0.0, |alike| self.doubt.known(alike));
        let probability = |((cause, vote), share): (&(String, f64), &f64)| {
            let known = if cause == NONE {
                self.calm.known(*vote)
            } else {
                known
            };
            (cause.clone(), share * known)
        };
        // That nothing is wrong is an answer only where somebody taught it. In the order of votes, which decide what is first; doubt may
        // not turn it round.
        let both = verdict.ranked.iter().zip(&shares);
        let asked = both.filter(|((cause, _), _)| cause != NONE || self.has_none);
        let causes: Vec<(String, f64)> = asked.map(probability).collect();
        let sum: f64 = causes.iter().map(|(_, probability)| probability).sum();
        Diagnosis {
            causes,
            none: (1.0 - sum).max(0.0),
        }
    }
}

/// The causal models of named cases, one a cause, in order of names.
#[must_use]
pub fn models(cases: &[NamedCase], theta: Option<f64>, method: Method) -> Vec<CausalModel> {
    let mut by_cause: BTreeMap<&str, Vec<&[Predicate]>> = BTreeMap::new();
    for case in cases {
        let own = by_cause.entry(&case.cause).or_default();
        own.push(&case.predicates);
    }
    let model = |(cause, cases): (&str, Vec<&[Predicate]>)| {
        let usual = if cases.len() > 1 {
            crate::THETA_MERGED
        } else {
            crate::THETA_SINGLE
        };
        CausalModel::merge(cause, &cases, theta.unwrap_or(usual), method)
    };
    by_cause.into_iter().map(model).collect()
}

/// Every so many, so that at most [`PROBES_MAX`] are left.
fn probes<T: Copy>(all: &[T]) -> impl Iterator<Item = T> + '_ {
    all.iter()
        .copied()
        .step_by(all.len().div_ceil(PROBES_MAX).max(1))
}

/// Each case judged by the cases of other folds.
fn held_out<'a>(cases: &[(&'a str, &Case)], folds: &[usize]) -> Vec<(&'a str, Verdict)> {
    let mut verdicts = Vec::new();
    let numbered: Vec<usize> = (0..cases.len()).collect();
    let probes: Vec<usize> = probes(&numbered).collect();
    for fold in 0..FOLDS {
        let in_fold: Vec<usize> = probes
            .iter()
            .copied()
            .filter(|at| folds[*at] == fold)
            .collect();
        let rest = cases.iter().zip(folds).filter(|(_, own)| **own != fold);
        let rest: Vec<(&str, &Case)> = rest.map(|(case, _)| *case).collect();
        let is_taught = |cause: &str| rest.iter().any(|(other, _)| *other == cause);
        let in_fold: Vec<usize> = in_fold
            .into_iter()
            .filter(|at| is_taught(cases[*at].0))
            .collect();
        if in_fold.is_empty() {
            continue;
        }
        let judge = Judge::learn(&rest);
        verdicts.extend(
            in_fold
                .iter()
                .map(|at| (cases[*at].0, judge.judge(cases[*at].1))),
        );
    }
    verdicts
}

/// Each case judged by the cases of other causes.
fn left_out<'a>(cases: &[(&str, &Case)], causes: impl Iterator<Item = &'a str>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for cause in causes.filter(|cause| *cause != NONE).take(SCALES.len() * 4) {
        let (own, rest): (Vec<_>, Vec<_>) = cases.iter().partition(|(other, _)| *other == cause);
        if rest.is_empty() {
            continue;
        }
        let judge = Judge::learn(&rest);
        let share = own.len().div_ceil(PROBES_MAX / 10).max(1);
        verdicts.extend(own.iter().step_by(share).map(|(_, case)| judge.judge(case)));
    }
    verdicts
}

/// The likeness of the first cause that is one; only where it is the right one, if `right` is given.
fn first_alike(verdict: &Verdict, right: Option<&str>) -> Option<f64> {
    let first = verdict.ranked.iter().position(|(cause, _)| cause != NONE)?;
    let is_right = right.is_none_or(|right| verdict.ranked[first].0 == right);
    is_right.then(|| likeness(verdict.alike[first], verdict.ranked[first].1))
}

/// Of a case and a cause, −1…1: how much of what sets the case apart is the cause's, and how clearly the cause wins over the others.
/// Each alone leaves more doubt: the first is low of a cause that shows in few attributes, the second is high of whatever is
/// least unlike.
fn likeness(alike: f64, vote: f64) -> f64 {
    (alike + vote) / 2.0
}

fn vote_of_none(verdict: &Verdict) -> Option<f64> {
    let none = verdict.ranked.iter().find(|(cause, _)| cause == NONE);
    none.map(|(_, vote)| *vote)
}

/// Shares e^(scale · vote), summing to 1.
fn softmax(votes: &[f64], scale: f64) -> Vec<f64> {
    let most = votes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raised: Vec<f64> = votes
        .iter()
        .map(|vote| exp(scale * (vote - most)))
        .collect();
    let sum: f64 = raised.iter().sum();
    raised.into_iter().map(|value| value / sum).collect()
}

/// The scale under which the right causes are likeliest; `None` where nothing was held out.
fn best_scale(seen: &[(&str, Verdict)]) -> Option<f64> {
    let doubt = |scale: f64| -> f64 {
        let of = |(cause, verdict): &(&str, Verdict)| {
            let votes: Vec<f64> = verdict.ranked.iter().map(|(_, vote)| *vote).collect();
            let right = verdict.ranked.iter().position(|(other, _)| other == cause);
            let share = right.map_or(0.0, |right| softmax(&votes, scale)[right]);
            -ln(share.max(1e-6))
        };
        seen.iter().map(of).sum()
    };
    let best = SCALES
        .into_iter()
        .min_by(|a, b| doubt(*a).total_cmp(&doubt(*b)));
    best.filter(|_| !seen.is_empty())
}

impl Doubt {
    /// Moved to where it tells likenesses of known causes from those of unknown ones: the likelihood of both sides, each weighing the
    /// same, with [`N_PRIOR`] cases on either side at the middle that was thought of before.
    fn learned(self, known: &[f64], unknown: &[f64]) -> Self {
        let side = |of: &[f64], loss: &dyn Fn(f64) -> f64| {
            let own: f64 = of.iter().map(|alike| loss(*alike)).sum();
            (own + N_PRIOR * loss(self.middle)) / (of.len() as f64 + N_PRIOR)
        };
        let loss = |doubt: Self| {
            side(known, &|alike| -ln(doubt.known(alike).max(1e-9)))
                + side(unknown, &|alike| -ln((1.0 - doubt.known(alike)).max(1e-9)))
        };
        // Two numbers: a grid is exact enough and cannot diverge.
        let middles = (1..20).map(|step| f64::from(step) * 0.05);
        let all = middles.flat_map(|middle| {
            [5.0, 10.0, 20.0]
                .into_iter()
                .map(move |slope| Self { middle, slope })
        });
        all.min_by(|a, b| loss(*a).total_cmp(&loss(*b)))
            .unwrap_or(self)
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
