//! Causal models: a cause with the predicates that its cases have in common. (step 12)
//!
//! In: predicates of cases with the same cause. Out: one model, and how well it fits another case.
//! Invariants: CM-1 a merged interval contains each it was merged from. CM-2 opposite directions are dropped.
//! CM-3 confidence lies in −1…1; an attribute that is missing is skipped and counted.
//! Source: DBSherlock, section 6; the authors' code keeps opposite directions as intervals without bounds, here they go.

use std::collections::{BTreeMap, BTreeSet};

use crate::columns::{Column, Regions, Values};
use crate::partition::{Coverage, Space};
use crate::predicate::{Condition, Method, Predicate, rows_covered};

/// A cause and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CausalModel {
    /// Its name.
    pub cause: String,
    /// What its cases have in common, in order of attributes.
    pub predicates: Vec<Predicate>,
    /// Cases it was learned from.
    pub n_cases: usize,
}

/// How well a model fits a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Mean over predicates of covered abnormal less covered normal partitions, as shares: −1…1.
    pub confidence: f64,
    /// Mean share of abnormal partitions covered.
    pub recall: f64,
    /// Mean share of what is covered that is abnormal.
    pub precision: f64,
    /// Predicates whose attribute the case has.
    pub n_used: usize,
    /// Predicates whose attribute is missing.
    pub n_missing: usize,
}

impl CausalModel {
    /// Of cases with one cause; attributes that some case does not name at least `theta` apart are left out, as are opposite
    /// directions.
    #[must_use]
    pub fn merge(cause: &str, cases: &[&[Predicate]], theta: f64, method: Method) -> Self {
        let mut common: BTreeMap<&str, (Predicate, usize)> = BTreeMap::new();
        let is_apart = |predicate: &&Predicate| predicate.shift_by(method) > theta;
        for predicate in cases.iter().copied().flatten().filter(is_apart) {
            match common.get_mut(predicate.attribute.as_str()) {
                Some((merged, n)) => {
                    merged.condition = hull(&merged.condition, &predicate.condition);
                    merged.power += predicate.power;
                    merged.shift = merged.shift.min(predicate.shift);
                    merged.shift_of_labels = merged.shift_of_labels.min(predicate.shift_of_labels);
                    *n += 1;
                }
                None => {
                    common.insert(&predicate.attribute, (predicate.clone(), 1));
                }
            }
        }
        let n_cases = cases.len();
        let keep = |(mut predicate, n): (Predicate, usize)| {
            predicate.power /= n as f64;
            let is_open = matches!(
                predicate.condition,
                Condition::Range {
                    min: None,
                    max: None
                }
            );
            (n == n_cases && !is_open).then_some(predicate)
        };
        Self {
            cause: cause.to_owned(),
            predicates: common.into_values().filter_map(keep).collect(),
            n_cases,
        }
    }

    /// The predicates that separated its own cases nearly as well as the best one did: power at least `share` of the best.
    #[must_use]
    pub fn strongest(mut self, share: f64) -> Self {
        let powers = self.predicates.iter().map(|predicate| predicate.power);
        let best = powers.fold(0.0, f64::max);
        self.predicates
            .retain(|predicate| predicate.power >= share * best);
        self
    }

    /// How well it fits a case. O(predicates · log columns).
    #[must_use]
    pub fn fit(&self, case: &Spaces<'_>) -> Fit {
        self.fit_by(|_, predicate| case.covered(case.place(&predicate.attribute)?, predicate))
    }

    fn fit_by(&self, covered: impl Fn(usize, &Predicate) -> Option<Coverage>) -> Fit {
        let mut sums = (0.0, 0.0, 0.0);
        let mut n_used = 0;
        for (at, predicate) in self.predicates.iter().enumerate() {
            let Some(covered) = covered(at, predicate) else {
                continue;
            };
            sums.0 += covered.separation();
            sums.1 += covered.recall();
            sums.2 += covered.precision();
            n_used += 1;
        }
        let n = f64::from(n_used.max(1));
        Fit {
            confidence: sums.0 / n,
            recall: sums.1 / n,
            precision: sums.2 / n,
            n_used: n_used as usize,
            n_missing: self.predicates.len() - n_used as usize,
        }
    }
}

/// Causal models made ready for many cases: an attribute is looked up once a case, not once a model.
#[derive(Debug, Clone, Default)]
pub struct Models {
    models: Vec<CausalModel>,
    /// All attributes that some model speaks of.
    attributes: Vec<String>,
    /// The attribute of each predicate of each model.
    of_predicates: Vec<Vec<usize>>,
}

impl Models {
    /// O(predicates · log attributes).
    #[must_use]
    pub fn new(models: Vec<CausalModel>) -> Self {
        let predicates = || models.iter().flat_map(|model| &model.predicates);
        let names: BTreeSet<&str> = predicates().map(|own| own.attribute.as_str()).collect();
        let attributes: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let place = |predicate: &Predicate| {
            let name = predicate.attribute.as_str();
            attributes.partition_point(|own| own.as_str() < name)
        };
        let of_model = |model: &CausalModel| model.predicates.iter().map(place).collect();
        let of_predicates = models.iter().map(of_model).collect();
        Self {
            models,
            attributes,
            of_predicates,
        }
    }

    /// The models, in the order they were given.
    #[must_use]
    pub fn models(&self) -> &[CausalModel] {
        &self.models
    }

    /// How well each fits a case, as [`CausalModel::fit`]. O(attributes · log columns + predicates).
    #[must_use]
    pub fn fits(&self, case: &Spaces<'_>) -> Vec<Fit> {
        let places: Vec<Option<&Placed<'_>>> = self
            .attributes
            .iter()
            .map(|name| case.place(name))
            .collect();
        let both = self.models.iter().zip(&self.of_predicates);
        both.map(|(model, own)| {
            model.fit_by(|at, predicate| case.covered(places[own[at]]?, predicate))
        })
        .collect()
    }
}

/// The least condition that contains both.
fn hull(a: &Condition, b: &Condition) -> Condition {
    match (a, b) {
        (Condition::Range { min: a, max: b }, Condition::Range { min: c, max: d }) => {
            Condition::Range {
                min: a.zip(*c).map(|(a, c)| a.min(c)),
                max: b.zip(*d).map(|(b, d)| b.max(d)),
            }
        }
        (Condition::In(a), Condition::In(b)) => Condition::In(a.union(b).cloned().collect()),
        _ => Condition::Range {
            min: None,
            max: None,
        },
    }
}

/// The partition spaces of a case, made once for all models; columns by name.
#[derive(Debug)]
pub struct Spaces<'a> {
    by_name: BTreeMap<&'a str, usize>,
    columns: Vec<Placed<'a>>,
    regions: &'a Regions,
}

/// A column with its space, where it has one.
type Placed<'a> = (&'a Column<'a>, Option<Space>);

impl<'a> Spaces<'a> {
    /// Lays out all columns. O(columns · rows).
    #[must_use]
    pub fn new(columns: &'a [Column<'a>], regions: &'a Regions, n_partitions: usize) -> Self {
        let space = |column: &'a Column<'a>| {
            let space = match &column.values {
                Values::Numbers(values) => Space::new(values, regions, n_partitions),
                Values::Categories { .. } => None,
            };
            (column, space)
        };
        let numbered = columns.iter().enumerate();
        Self {
            by_name: numbered.map(|(at, column)| (column.name, at)).collect(),
            columns: columns.iter().map(space).collect(),
            regions,
        }
    }

    fn place(&self, attribute: &str) -> Option<&Placed<'a>> {
        self.by_name.get(attribute).map(|at| &self.columns[*at])
    }

    /// The partitions (rows, for categories) that a predicate covers; `None` where it speaks of another kind of attribute.
    fn covered(&self, (column, space): &Placed<'a>, predicate: &Predicate) -> Option<Coverage> {
        match (&predicate.condition, &column.values) {
            // A value that never changes separates nothing.
            (Condition::Range { min, max }, Values::Numbers(_)) => {
                let covered = |space: &Space| space.covered(*min, *max);
                Some(space.as_ref().map(covered).unwrap_or_default())
            }
            (Condition::In(_), Values::Categories { .. }) => {
                Some(rows_covered(&predicate.condition, column, self.regions))
            }
            _ => None,
        }
    }
}
