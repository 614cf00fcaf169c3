//! Which known cause a case looks like, learned from few cases, on any machine. (step 12)
//!
//! In: cases with their causes. Out: for another case, causes with scores. Each two causes are compared by votes, one an
//! attribute: where the case lies between the two, −1…1, weighed by how far the causes are apart there in units of what
//! varies anyway, at most once, and attributes that say the same share their vote. What is compared is the change from the rows
//! before; levels are where a case has none before it, for they do not carry over between machines.
//! The rows before every case are further cases of [`NONE`]: what is normal varies by day and machine, and what varies so is
//! no sign of anything.
//! Invariants: JU-1 no attribute outvotes the others. JU-2 a change of unit changes nothing. JU-3 an attribute that is
//! missing has no vote. Limits: [`ATTRIBUTES_MAX`], [`SHORT_LIST`] causes compared in pairs. Does not: give probabilities (see `calibrate`).

use std::collections::BTreeMap;

use hsw_stats::{MAD_TO_SIGMA, asinh, median, median_absolute_deviation};

use crate::case::{Case, Levels};

/// The cause of what nothing is wrong with: `hsw learn --cause Normal` teaches it, and so does every row before a fault.
pub const NONE: &str = "Normal";
/// Most attributes that vote; those that tell causes apart best.
pub const ATTRIBUTES_MAX: usize = 2_000;
/// Causes that are compared in pairs; of more, those most like the case.
pub const SHORT_LIST: usize = 24;

/// Standard deviations between two causes (half their distance) from which on an attribute has its full vote. Swept on both
/// data sets: 2–5 equal within noise on one, 2–3 on the other.
const FULL_VOTE_SIGMAS: f64 = 3.0;
/// Least standard deviation, as a share of a level (asinh scale). Swept 0.01–0.1: equal within noise.
const SIGMA_MIN: f64 = 0.05;
/// Cases whose spread is that of all causes together, added to a cause's own. Swept 0–10: equal within noise.
const PRIOR_CASES: f64 = 3.0;

/// Learned comparison of causes.
#[derive(Debug, Clone)]
pub struct Judge {
    attributes: BTreeMap<String, usize>,
    /// What a level is measured in, by attribute.
    scales: Vec<f64>,
    /// Sorted; [`NONE`] among them.
    causes: Vec<String>,
    levels: Profile,
    changes: Profile,
}

/// Scores of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Causes with their mean vote against the others, −1…1, best first; ties by name. [`NONE`] is among them.
    pub ranked: Vec<(String, f64)>,
    /// How alike the case and the cause's cases are in all that differs from normal, −1…1, in the same order.
    pub alike: Vec<f64>,
}

impl Judge {
    /// Learns from cases with their causes. O(cases · attributes + causes · attributes + attributes²).
    #[must_use]
    pub fn learn(cases: &[(&str, &Case)]) -> Self {
        let attributes = attributes(cases);
        let n = attributes.len();
        let scales = scales(cases, &attributes);
        let mut causes: Vec<String> = cases.iter().map(|(cause, _)| (*cause).to_owned()).collect();
        causes.push(NONE.to_owned());
        causes.sort();
        causes.dedup();
        let number = |cause: &str| causes.binary_search_by(|own| own.as_str().cmp(cause));
        let none = number(NONE).unwrap_or_default();
        let (mut levels, mut changes) = (Samples::new(n), Samples::new(n));
        for (cause, case) in cases {
            let own = number(cause).unwrap_or_default();
            let vectors = vectors(case, &attributes, &scales);
            levels.add(own, &vectors.during);
            levels.add(none, &vectors.before);
            changes.add(own, &vectors.change);
            changes.add(none, &vectors.drift);
        }
        Self {
            levels: Profile::new(&levels, causes.len(), none, None),
            changes: Profile::new(&changes, causes.len(), none, Some(0.0)),
            attributes,
            scales,
            causes,
        }
    }

    /// Judges a case. O(attributes · causes + attributes · [`SHORT_LIST`]²).
    #[must_use]
    pub fn judge(&self, case: &Case) -> Verdict {
        let vectors = vectors(case, &self.attributes, &self.scales);
        let has_change = vectors.change.iter().any(|value| !value.is_nan());
        let n = self.causes.len();
        let change = has_change.then(|| self.changes.strengths(&vectors.change));
        let during = self.levels.strengths(&vectors.during);
        let alike = |cause: usize| {
            let by_change = change
                .as_ref()
                .and_then(|own| self.changes.alike(cause, own));
            by_change
                .or_else(|| self.levels.alike(cause, &during))
                .unwrap_or(0.0)
        };
        let alike: Vec<f64> = (0..n).map(alike).collect();
        let mut listed: Vec<usize> = (0..n).collect();
        listed.sort_by(|a, b| alike[*b].total_cmp(&alike[*a]).then(a.cmp(b)));
        listed.truncate(SHORT_LIST);
        let mut scores = vec![0.0; n];
        for (at, &a) in listed.iter().enumerate() {
            for &b in &listed[at + 1..] {
                let vote = self
                    .changes
                    .vote(a, b, &vectors.change)
                    .or_else(|| self.levels.vote(a, b, &vectors.during))
                    .unwrap_or(0.0);
                scores[a] += vote;
                scores[b] -= vote;
            }
        }
        let n_rivals = listed.len().saturating_sub(1).max(1) as f64;
        let mut order = listed;
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let named = |cause: &usize| (self.causes[*cause].clone(), scores[*cause] / n_rivals);
        Verdict {
            ranked: order.iter().map(named).collect(),
            alike: order.iter().map(|cause| alike[*cause]).collect(),
        }
    }
}

/// A case's numbers by attribute, on the asinh scale; NaN where missing.
struct Vectors {
    before: Vec<f64>,
    during: Vec<f64>,
    change: Vec<f64>,
    drift: Vec<f64>,
}

fn vectors(case: &Case, attributes: &BTreeMap<String, usize>, scales: &[f64]) -> Vectors {
    let missing = vec![f64::NAN; scales.len()];
    let mut vectors = Vectors {
        before: missing.clone(),
        during: missing.clone(),
        change: missing.clone(),
        drift: missing,
    };
    for (name, levels) in &case.levels {
        let Some(&at) = attributes.get(name) else {
            continue;
        };
        let scaled = |value: f64| asinh(value / scales[at]);
        let half = levels.drift / 2.0;
        vectors.before[at] = scaled(levels.before);
        vectors.during[at] = scaled(levels.during);
        vectors.change[at] = vectors.during[at] - vectors.before[at];
        vectors.drift[at] = scaled(levels.before + half) - scaled(levels.before - half);
    }
    vectors
}

/// The attributes that vote, numbered in order of names.
fn attributes(cases: &[(&str, &Case)]) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (name, levels) in cases.iter().flat_map(|(_, case)| &case.levels) {
        let (min, max) = seen
            .entry(name)
            .or_insert((f64::INFINITY, f64::NEG_INFINITY));
        for value in [levels.before, levels.during] {
            *min = min.min(value);
            *max = max.max(value);
        }
    }
    let varies = |(name, (min, max)): (&str, (f64, f64))| {
        // How much it varies decides who votes when there are too many.
        (max > min).then(|| ((max - min) / max.abs().max(min.abs()), name.to_owned()))
    };
    let mut names: Vec<(f64, String)> = seen.into_iter().filter_map(varies).collect();
    if names.len() > ATTRIBUTES_MAX {
        names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        names.truncate(ATTRIBUTES_MAX);
        names.sort_by(|a, b| a.1.cmp(&b.1));
    }
    let numbered = |(at, (_, name)): (usize, (f64, String))| (name, at);
    names.into_iter().enumerate().map(numbered).collect()
}

/// The typical magnitude of each attribute over all cases, before and during; of one that is mostly zero the greatest.
fn scales(cases: &[(&str, &Case)], attributes: &BTreeMap<String, usize>) -> Vec<f64> {
    let mut magnitudes = vec![Vec::new(); attributes.len()];
    for (name, levels) in cases.iter().flat_map(|(_, case)| &case.levels) {
        if let Some(&at) = attributes.get(name) {
            let Levels { before, during, .. } = levels;
            let known = [*before, *during].into_iter().filter(|v| !v.is_nan());
            magnitudes[at].extend(known.map(f64::abs));
        }
    }
    let scale = |mut magnitudes: Vec<f64>| {
        let greatest = magnitudes.iter().copied().fold(0.0, f64::max);
        let typical = median(&mut magnitudes).filter(|typical| *typical > 0.0);
        let scale = typical.unwrap_or(greatest);
        if scale > 0.0 { scale } else { 1.0 }
    };
    magnitudes.into_iter().map(scale).collect()
}

/// Vectors with the cause they are of.
struct Samples {
    n: usize,
    rows: Vec<(usize, Vec<f64>)>,
}

impl Samples {
    const fn new(n: usize) -> Self {
        Self {
            n,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, cause: usize, vector: &[f64]) {
        if vector.iter().any(|value| !value.is_nan()) {
            self.rows.push((cause, vector.to_vec()));
        }
    }

    /// What is known of an attribute for a cause.
    fn of(&self, cause: usize, at: usize) -> Vec<f64> {
        let own = self.rows.iter().filter(|(own, _)| *own == cause);
        let values = own.map(|(_, vector)| vector[at]);
        values.filter(|value| !value.is_nan()).collect()
    }
}

/// Where causes lie, attribute by attribute.
#[derive(Debug, Clone)]
struct Profile {
    /// By cause: centre and variance of each attribute; no attributes where no case is known.
    causes: Vec<Vec<(f64, f64)>>,
    /// By cause: what sets it apart from normal.
    strengths: Vec<Vec<f64>>,
    /// What is left of an attribute's vote once those that say the same have shared theirs.
    shares: Vec<f64>,
    none: usize,
}

impl Profile {
    /// `usual`: where what is normal lies as long as no case says it.
    fn new(samples: &Samples, n_causes: usize, none: usize, usual: Option<f64>) -> Self {
        let place = |at| places(samples, at, n_causes, (none, usual));
        let by_attribute: Vec<Vec<(f64, f64)>> = (0..samples.n).map(place).collect();
        let of = |cause: usize| by_attribute.iter().map(|places| places[cause]).collect();
        let causes: Vec<Vec<(f64, f64)>> = (0..n_causes).map(of).collect();
        let strengths = |own: &Vec<(f64, f64)>| {
            let both = own.iter().zip(&causes[none]);
            both.map(|(own, none)| strength(own.0, own.1, none.0))
                .collect()
        };
        Self {
            strengths: causes.iter().map(strengths).collect(),
            causes,
            shares: shares(samples),
            none,
        }
    }

    /// The vote between two causes, −1 (all for `b`) … 1 (all for `a`); `None` where nothing tells them apart.
    fn vote(&self, a: usize, b: usize, vector: &[f64]) -> Option<f64> {
        let (mut votes, mut weights) = (0.0, 0.0);
        let both = self.causes[a].iter().zip(&self.causes[b]);
        for ((of_a, of_b), (value, share)) in both.zip(vector.iter().zip(&self.shares)) {
            let half = (of_a.0 - of_b.0) / 2.0;
            let variance = (of_a.1 + of_b.1) / 2.0;
            // The square of how far they are apart in standard deviations, of what a full vote takes.
            let apart = half * half / (variance * FULL_VOTE_SIGMAS * FULL_VOTE_SIGMAS);
            let place = ((value - (of_a.0 + of_b.0) / 2.0) / half).clamp(-1.0, 1.0);
            let weight = apart.min(1.0) * share;
            // NaN where the case or a cause does not have the attribute, or the causes do not differ in it.
            if (place * weight).is_finite() {
                votes += place * weight;
                weights += weight;
            }
        }
        (weights > 0.0).then(|| votes / weights)
    }

    /// How far each attribute of a case sets it apart from normal: standard deviations, at most one full vote.
    fn strengths(&self, vector: &[f64]) -> Vec<f64> {
        let both = vector.iter().zip(&self.causes[self.none]);
        both.map(|(value, none)| strength(*value, none.1, none.0))
            .collect()
    }

    /// The cosine between what sets the case and what sets the cause apart from normal, attribute by attribute at most one
    /// full vote; `None` where the cause has no case like it.
    fn alike(&self, cause: usize, strengths: &[f64]) -> Option<f64> {
        let (mut both, mut own, mut other) = (0.0, 0.0, 0.0);
        let mut is_known = false;
        let of_cause = self.strengths[cause].iter().zip(&self.shares);
        for ((cause, share), case) in of_cause.zip(strengths) {
            if (case * cause).is_nan() {
                continue;
            }
            is_known = true;
            both += share * case * cause;
            own += share * case * case;
            other += share * cause * cause;
        }
        let length = (own * other).sqrt();
        is_known.then(|| if length > 0.0 { both / length } else { 0.0 })
    }
}

/// How far a value lies from what is normal, in full votes, −1…1.
fn strength(value: f64, variance: f64, normal: f64) -> f64 {
    ((value - normal) / variance.sqrt() / FULL_VOTE_SIGMAS).clamp(-1.0, 1.0)
}

/// Centre and variance of one attribute for each cause; NaN where no case of it has the attribute. `none` and where it lies then.
fn places(
    samples: &Samples,
    at: usize,
    n_causes: usize,
    (none, usual): (usize, Option<f64>),
) -> Vec<(f64, f64)> {
    let (mut sum, mut n_free, mut noise) = (0.0, 0.0, 0.0);
    let mut own = vec![(f64::NAN, 0.0, 0.0); n_causes];
    for (cause, own) in own.iter_mut().enumerate() {
        let mut values = samples.of(cause, at);
        let usual = usual.filter(|_| cause == none);
        let Some(centre) = median(&mut values).or(usual) else {
            continue;
        };
        let squares: f64 = values.iter().map(|v| (v - centre) * (v - centre)).sum();
        *own = (centre, squares, values.len() as f64);
        sum += squares;
        n_free += values.len().saturating_sub(1) as f64;
        if cause == none {
            let spread = median_absolute_deviation(&mut values, centre);
            noise = MAD_TO_SIGMA * spread.unwrap_or_default();
        }
    }
    let common = if n_free > 0.0 { sum / n_free } else { 0.0 };
    let place = |(centre, squares, n_cases): (f64, f64, f64)| {
        let spread = (squares + PRIOR_CASES * common) / (n_cases + PRIOR_CASES);
        (centre, spread + noise * noise + SIGMA_MIN * SIGMA_MIN)
    };
    own.into_iter().map(place).collect()
}

/// Each attribute's share: one over the sum of its squared correlations with all, itself among them.
fn shares(samples: &Samples) -> Vec<f64> {
    let n_rows = samples.rows.len();
    let mut columns = vec![vec![0.0; n_rows]; samples.n];
    for (at, column) in columns.iter_mut().enumerate() {
        let known = samples.rows.iter().map(|(_, vector)| vector[at]);
        let known: Vec<f64> = known.filter(|value| !value.is_nan()).collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        let mut square = 0.0;
        for (value, (_, vector)) in column.iter_mut().zip(&samples.rows) {
            let deviation = vector[at] - mean;
            *value = if deviation.is_nan() { 0.0 } else { deviation };
            square += *value * *value;
        }
        let length = square.sqrt();
        // An attribute that hardly varies is like no other.
        let factor = if length > 1e-9 { 1.0 / length } else { 0.0 };
        column.iter_mut().for_each(|value| *value *= factor);
    }
    let mut sums = vec![0.0; samples.n];
    for a in 0..samples.n {
        for b in 0..=a {
            let product = columns[a].iter().zip(&columns[b]).map(|(x, y)| x * y);
            let correlation: f64 = product.sum();
            sums[a] += correlation * correlation;
            if a != b {
                sums[b] += correlation * correlation;
            }
        }
    }
    sums.into_iter()
        .map(|sum: f64| 1.0 / sum.max(1.0))
        .collect()
}
