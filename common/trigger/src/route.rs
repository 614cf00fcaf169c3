//! Categorical dimensions: exact routing before the trees. (ALGORITHMS 2.4)
//!
//! In: triggers that name some categories (a tenant, a database) and leave others open; elements with all of them named.
//! Out: what matures. Invariant: RO-1 a trigger sees exactly the elements that agree with each category it names.
//! Limits: [`N_CATEGORIES_MAX`]; an element visits one forest per combination of named categories in use, at most
//! `2^categories`, whatever the number of values. Shards are no category: they say who takes part (`coordinator`).

use std::collections::BTreeMap;

use crate::choose::Config;
use crate::forest::{Error, Forest, Matured};
use crate::range::{QueryId, Range};

/// Most categories of an element.
pub const N_CATEGORIES_MAX: usize = 8;

/// Named and open categories.
type Key = Box<[Option<u64>]>;

/// Forests behind categories.
#[derive(Debug)]
pub struct Router {
    config: Config,
    n_categories: usize,
    n_dimensions: usize,
    forests: BTreeMap<Key, Forest>,
    /// Forests per combination of named categories.
    masks: BTreeMap<u32, usize>,
    by_id: BTreeMap<QueryId, Key>,
    key: Vec<Option<u64>>,
    matured: Vec<Matured>,
}

impl Router {
    /// None yet; categories beyond [`N_CATEGORIES_MAX`] are cut off.
    #[must_use]
    pub fn new(n_categories: usize, n_dimensions: usize, config: Config) -> Self {
        Self {
            config,
            n_categories: n_categories.min(N_CATEGORIES_MAX),
            n_dimensions,
            forests: BTreeMap::new(),
            masks: BTreeMap::new(),
            by_id: BTreeMap::new(),
            key: Vec::new(),
            matured: Vec::new(),
        }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Registers a trigger for elements with the categories it names.
    ///
    /// # Errors
    /// As [`Forest::register`].
    pub fn register(
        &mut self,
        id: QueryId,
        categories: &[Option<u64>],
        ranges: &[Range],
        threshold: u64,
    ) -> Result<(), Error> {
        if categories.len() != self.n_categories {
            return Err(Error::Dimensions {
                expected: self.n_categories,
                found: categories.len(),
            });
        }
        if self.by_id.contains_key(&id) {
            return Err(Error::Known(id));
        }
        if self.by_id.len() >= self.config.n_queries_max {
            return Err(Error::Full(self.by_id.len()));
        }
        let key: Key = categories.into();
        if let Some(forest) = self.forests.get_mut(&key) {
            forest.register(id, ranges, threshold)?;
        } else {
            let mut forest = Forest::new(self.n_dimensions, self.config);
            forest.register(id, ranges, threshold)?;
            self.forests.insert(key.clone(), forest);
            *self.masks.entry(mask(&key)).or_insert(0) += 1;
        }
        self.by_id.insert(id, key);
        Ok(())
    }

    /// Takes an element; returns what it matures, by id.
    pub fn add(&mut self, categories: &[u64], point: &[u64], weight: u64) -> &[Matured] {
        debug_assert_eq!(categories.len(), self.n_categories, "every category named");
        self.matured.clear();
        let mut emptied = Vec::new();
        for &mask in self.masks.keys() {
            self.key.clear();
            let named = categories.iter().enumerate();
            self.key
                .extend(named.map(|(i, &value)| (mask >> i & 1 == 1).then_some(value)));
            let Some(forest) = self.forests.get_mut(self.key.as_slice()) else {
                continue;
            };
            self.matured.extend_from_slice(forest.add(point, weight));
            if forest.is_empty() {
                emptied.push(self.key.clone());
            }
        }
        for matured in &self.matured {
            self.by_id.remove(&matured.id);
        }
        for key in emptied {
            self.fell(&key);
        }
        self.matured.sort_unstable();
        &self.matured
    }

    /// Takes a trigger back; false where none waits by this id.
    pub fn terminate(&mut self, id: QueryId) -> bool {
        let Some(key) = self.by_id.remove(&id) else {
            return false;
        };
        if let Some(forest) = self.forests.get_mut(&key) {
            forest.terminate(id);
            if forest.is_empty() {
                self.fell(&key);
            }
        }
        true
    }

    /// What is left of a trigger's threshold.
    #[must_use]
    pub fn remaining(&self, id: QueryId) -> Option<u64> {
        self.forests.get(self.by_id.get(&id)?)?.remaining(id)
    }

    fn fell(&mut self, key: &[Option<u64>]) {
        self.forests.remove(key);
        let mask = mask(key);
        if let Some(n) = self.masks.get_mut(&mask) {
            *n -= 1;
            if *n == 0 {
                self.masks.remove(&mask);
            }
        }
    }
}

fn mask(key: &[Option<u64>]) -> u32 {
    let named = key.iter().enumerate().filter(|(_, value)| value.is_some());
    named.fold(0, |mask, (i, _)| mask | 1 << i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_a_trigger_sees_exactly_the_elements_that_agree_with_what_it_names(
            triggers in prop::collection::vec(
                ([prop::option::of(0u64..3), prop::option::of(0u64..3)], 0u64..20, 1u64..20, 1u64..12),
                1..40,
            ),
            elements in prop::collection::vec(([0u64..3, 0u64..3], 0u64..40), 200),
            terminated in 0u64..40,
        ) {
            let mut router = Router::new(2, 1, Config::default());
            let mut left = BTreeMap::new();
            for (id, (categories, lo, n, threshold)) in triggers.iter().enumerate() {
                let range = Range { lo: *lo, hi: lo + n };
                router.register(QueryId(id as u64), categories, &[range], *threshold).unwrap();
                left.insert(id as u64, (*categories, range, *threshold));
            }
            for (row, (categories, key)) in elements.iter().enumerate() {
                if row == 50 {
                    prop_assert_eq!(router.terminate(QueryId(terminated)), left.remove(&terminated).is_some());
                }
                let mut expected = Vec::new();
                left.retain(|&id, (named, range, left)| {
                    let agrees = named.iter().zip(categories).all(|(named, value)| named.is_none_or(|n| n == *value));
                    *left -= u64::from(agrees && range.contains(*key));
                    if *left == 0 {
                        expected.push(QueryId(id));
                    }
                    *left > 0
                });
                let matured: Vec<_> = router.add(categories, &[*key], 1).iter().map(|m| m.id).collect();
                prop_assert_eq!(matured, expected);
            }
            for (&id, (_, _, left)) in &left {
                prop_assert_eq!(router.remaining(QueryId(id)), Some(*left));
            }
            if left.is_empty() {
                prop_assert!(router.forests.is_empty() && router.masks.is_empty());
            }
        }
    }
}
