//! Domain knowledge: which attribute is only a symptom of another, and whether the two really go together here. (step 12)
//!
//! In: rules `cause → effect` of attributes, predicates, columns. Out: the predicates without secondary symptoms. A rule speaks of
//! metrics: of `shard 7|cpu|mean` it is `cpu` that counts, and both sides must be of the same `shard 7`.
//! Invariants: RU-1 rules have no cycle: one that closes one is refused. RU-2 an effect is dropped only where a rule and the
//! data both say so. Limits: [`RULES_MAX`] rules. Source: DBSherlock, section 5; its test of independence prunes always with 100 bins on a few hundred rows
//! (ALGORITHMS 6.2), so bins are ten.

use std::collections::{BTreeMap, BTreeSet};

use hsw_stats::ln;
use thiserror::Error;

use crate::columns::{Column, Values};
use crate::predicate::Predicate;

/// Bins of each attribute; independent data of 132 rows then has κ ≈ 0.02, dependent data (ρ = 0.9) 0.18.
const N_BINS: usize = 10;
/// Fewest rows that can show dependence with so many bins.
const ROWS_MIN: usize = 100;
/// Least κ of attributes that go together.
pub const KAPPA_MIN: f64 = 0.10;

/// Most rules.
pub const RULES_MAX: usize = 10_000;

mod shipped;
use shipped::SHIPPED;

/// Why a rule is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// It closes a cycle.
    #[error("`{0}` → `{1}` closes a cycle of rules: remove one of them")]
    Cycle(String, String),
    /// A line is none.
    #[error("line {0} of the rules: write `cause -> effect`")]
    Line(usize),
    /// There are too many.
    #[error("more than {RULES_MAX} rules: leave some out")]
    TooMany,
}

/// Rules without a cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    effects: BTreeMap<String, BTreeSet<String>>,
}

impl Rules {
    /// The rules that are shipped.
    #[must_use]
    pub fn shipped() -> Self {
        let mut rules = Self::default();
        for (cause, effect) in SHIPPED {
            // They have no cycle (see the test); one that had would be left out.
            let _ = rules.add(cause, effect);
        }
        rules
    }

    /// Adds a rule: where both attributes stand out, `effect` is a symptom of `cause`.
    ///
    /// # Errors
    /// The effect leads to the cause already, or there are too many.
    pub fn add(&mut self, cause: &str, effect: &str) -> Result<(), RuleError> {
        if self.len() >= RULES_MAX {
            return Err(RuleError::TooMany);
        }
        if self.leads(effect, cause) {
            return Err(RuleError::Cycle(cause.to_owned(), effect.to_owned()));
        }
        let effects = self.effects.entry(cause.to_owned()).or_default();
        effects.insert(effect.to_owned());
        Ok(())
    }

    /// Adds the rules of a text: one a line, `cause -> effect`; what follows `#` is a remark. None is added where one is wrong.
    ///
    /// ```
    /// let mut rules = hsw_explain::Rules::shipped();
    /// rules.extend("backup.bytes -> disk.write_bytes   # the backup's writes").unwrap();
    /// assert!(rules.extend("disk.utilisation -> backup.bytes").is_err(), "that closes a cycle");
    /// ```
    ///
    /// # Errors
    /// A line is no rule, a rule closes a cycle, or there are too many.
    pub fn extend(&mut self, text: &str) -> Result<(), RuleError> {
        let mut all = self.clone();
        for (at, line) in text.lines().enumerate() {
            let rule = line.split('#').next().unwrap_or_default().trim();
            if rule.is_empty() {
                continue;
            }
            let sides = rule.split_once("->").map(|(a, b)| (a.trim(), b.trim()));
            match sides.filter(|(a, b)| !a.is_empty() && !b.is_empty()) {
                Some((cause, effect)) => all.add(cause, effect)?,
                None => return Err(RuleError::Line(at + 1)),
            }
        }
        *self = all;
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.effects.values().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    fn leads(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                open.extend(
                    self.effects
                        .get(at)
                        .into_iter()
                        .flatten()
                        .map(String::as_str),
                );
            }
        }
        false
    }

    /// Drops predicates of attributes that are symptoms of another predicate's attribute.
    /// O(predicates · log predicates + pairs that a rule names · rows).
    pub fn prune(&self, predicates: &mut Vec<Predicate>, columns: &[Column<'_>]) {
        let mut by_metric: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for predicate in predicates.iter() {
            let own = by_metric.entry(metric(&predicate.attribute)).or_default();
            own.push(&predicate.attribute);
        }
        let mut pairs = Vec::new();
        for ((entity, cause), causes) in &by_metric {
            let effects = self.effects.get(*cause).into_iter().flatten();
            let named = effects.filter_map(|effect| by_metric.get(&(*entity, effect.as_str())));
            for effect in named.flatten() {
                pairs.extend(causes.iter().map(|cause| (*cause, *effect)));
            }
        }
        if pairs.is_empty() {
            return;
        }
        let by_name: BTreeMap<&str, &Column<'_>> =
            columns.iter().map(|column| (column.name, column)).collect();
        let go_together = |(cause, effect): &(&str, &str)| {
            let values = |name: &str| match &by_name.get(name)?.values {
                Values::Numbers(values) => Some(values),
                Values::Categories { .. } => None,
            };
            let kappa = kappa(values(cause)?, values(effect)?)?;
            (kappa >= KAPPA_MIN).then(|| (*effect).to_owned())
        };
        let dropped: BTreeSet<String> = pairs.iter().filter_map(go_together).collect();
        predicates.retain(|predicate| !dropped.contains(&predicate.attribute));
    }
}

/// The entity and the metric of an attribute: `entity|metric[|statistic]`, or the metric alone.
fn metric(attribute: &str) -> (&str, &str) {
    let Some((entity, rest)) = attribute.split_once('|') else {
        return ("", attribute);
    };
    (entity, rest.split('|').next().unwrap_or(rest))
}

/// How much two attributes go together: κ = MI² / (H₁ · H₂), 0…1, over ten equal bins of each; 0 where one does not vary.
///
/// `None` with fewer than 100 common rows. Source: DBSherlock, section 5. O(rows).
#[must_use]
pub fn kappa(a: &[f64], b: &[f64]) -> Option<f64> {
    let both = a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan());
    let (a, b): (Vec<f64>, Vec<f64>) = both.map(|(a, b)| (*a, *b)).unzip();
    if a.len() < ROWS_MIN {
        return None;
    }
    let (a, b) = (bins(&a), bins(&b));
    let mut joint = [[0_usize; N_BINS]; N_BINS];
    for (a, b) in a.iter().zip(&b) {
        joint[*a][*b] += 1;
    }
    let n = a.len() as f64;
    let entropy = |counts: &mut dyn Iterator<Item = usize>| -> f64 {
        let share = counts
            .filter(|count| *count > 0)
            .map(|count| count as f64 / n);
        share.map(|p| -p * ln(p)).sum()
    };
    let of_a = entropy(&mut joint.iter().map(|row| row.iter().sum()));
    let of_b = entropy(&mut (0..N_BINS).map(|b| joint.iter().map(|row| row[b]).sum()));
    let of_both = entropy(&mut joint.iter().flatten().copied());
    let information = (of_a + of_b - of_both).max(0.0);
    let product = of_a * of_b;
    Some(if product > 0.0 {
        information * information / product
    } else {
        0.0
    })
}

fn bins(values: &[f64]) -> Vec<usize> {
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let width = (max - min) / N_BINS as f64;
    let bin = |value: &f64| match width > 0.0 {
        true => (((value - min) / width) as usize).min(N_BINS - 1),
        false => 0,
    };
    values.iter().map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predicate::Condition;

    fn predicate(name: &str) -> Predicate {
        Predicate {
            attribute: name.to_owned(),
            is_difference: false,
            condition: Condition::Range {
                min: Some(0.0),
                max: None,
            },
            power: 1.0,
            shift: 1.0,
            shift_of_labels: 1.0,
        }
    }

    /// Numbers without a pattern, 0…1.
    fn noise(seed: u64, n: usize) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn kappa_is_symmetric_one_with_itself_and_small_where_nothing_goes_together() {
        let (a, b) = (noise(1, 600), noise(2, 600));
        assert!((kappa(&a, &a).unwrap() - 1.0).abs() < 1e-12);
        assert!((kappa(&a, &b).unwrap() - kappa(&b, &a).unwrap()).abs() < 1e-12);
        assert!(kappa(&a, &b).unwrap() < 0.02);
        let near: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a + 0.1 * b).collect();
        assert!(kappa(&a, &near).unwrap() > KAPPA_MIN);
        assert_eq!(kappa(&a, &vec![1.0; 600]), Some(0.0));
        assert_eq!(kappa(&a[..99], &b[..99]), None);
    }

    #[test]
    fn a_rule_that_closes_a_cycle_is_refused() {
        let mut rules = Rules::default();
        rules.add("a", "b").unwrap();
        rules.add("b", "c").unwrap();
        assert_eq!(
            rules.add("c", "a"),
            Err(RuleError::Cycle("c".into(), "a".into()))
        );
        assert!(rules.add("a", "a").is_err());
        assert_eq!(Rules::shipped().len(), SHIPPED.len());
    }

    #[test]
    fn a_symptom_goes_only_where_rule_and_data_agree() {
        let (a, b) = (noise(1, 200), noise(2, 200));
        let mut rules = Rules::default();
        rules.add("x", "y").unwrap();
        let check = |y: &[f64]| {
            let columns = [Column::numbers("x", &a), Column::numbers("y", y)];
            let mut predicates = vec![predicate("x"), predicate("y")];
            rules.prune(&mut predicates, &columns);
            predicates.len()
        };
        assert_eq!((check(&a), check(&b)), (1, 2));
    }

    #[test]
    fn a_rule_speaks_of_metrics_of_the_same_entity() {
        let (a, b) = (noise(1, 200), noise(2, 200));
        let mut rules = Rules::default();
        rules.add("x", "y").unwrap();
        let left = |names: [&str; 2], y: &[f64]| {
            let columns = [Column::numbers(names[0], &a), Column::numbers(names[1], y)];
            let mut predicates = names.map(predicate).to_vec();
            rules.prune(&mut predicates, &columns);
            predicates.len()
        };
        assert_eq!(left(["s1|x|mean", "s1|y"], &a), 1);
        assert_eq!(left(["s1|x", "s2|y"], &a), 2, "of another entity");
        assert_eq!(left(["s1|y", "s1|x"], &a), 1, "in whatever order");
        assert_eq!(left(["s1|x", "s1|y"], &b), 2, "they do not go together");
    }

    #[test]
    fn rules_are_read_line_by_line_and_none_is_added_where_one_is_wrong() {
        let mut rules = Rules::default();
        rules
            .extend("# ours\n a b -> c d # because\n\nc d->e\n")
            .unwrap();
        assert_eq!(rules.len(), 2);
        let before = rules.clone();
        assert_eq!(rules.extend("x -> y\nno rule"), Err(RuleError::Line(2)));
        assert_eq!(rules.extend("x -> y\n -> z"), Err(RuleError::Line(2)));
        assert!(matches!(
            rules.extend("x -> y\ne -> a b"),
            Err(RuleError::Cycle(..))
        ));
        assert_eq!(rules, before);
        let many: String = (0..RULES_MAX).map(|n| format!("x{n} -> y\n")).collect();
        assert_eq!(rules.extend(&many), Err(RuleError::TooMany));
    }
}
