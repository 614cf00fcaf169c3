//! Which trigger an id means: a sorted list for ids that come in ascending order, a tree for the others.
//!
//! In: ids with handles. Out: the handle an id was given last; whether it still means that trigger is known to who owns
//! the handle. Invariants: ID-1 an id has one entry. ID-2 at most three entries in four, and [`SLACK`] more, are
//! of ids that have gone. Limits: ascending ids cost O(1) each, amortised, others O(log n); ids that go cost O(1).

use std::collections::BTreeMap;

use crate::range::QueryId;

/// Entries of ids that have gone which are not worth tidying up.
const SLACK: usize = 64;

/// The entries.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    ascending: Vec<(QueryId, u32)>,
    others: BTreeMap<QueryId, u32>,
}

impl Ids {
    pub(crate) fn reserve(&mut self, more: usize) {
        self.ascending.reserve(more);
    }

    /// The handle an id was given last.
    #[inline]
    pub(crate) fn get(&self, id: QueryId) -> Option<u32> {
        if self.is_above(id) {
            return None;
        }
        self.search(id)
    }

    /// Whether an id is above all that came in order, and no other has come.
    #[inline]
    fn is_above(&self, id: QueryId) -> bool {
        self.others.is_empty() && self.ascending.last().is_none_or(|last| last.0 < id)
    }

    fn search(&self, id: QueryId) -> Option<u32> {
        let found = self.ascending.binary_search_by_key(&id, |entry| entry.0);
        match found {
            Ok(at) => Some(self.ascending[at].1),
            Err(_) => self.others.get(&id).copied(),
        }
    }

    /// Gives an id a handle.
    #[inline]
    pub(crate) fn insert(&mut self, id: QueryId, handle: u32) {
        if self.is_above(id) {
            self.ascending.push((id, handle));
        } else {
            self.insert_late(id, handle);
        }
    }

    fn insert_late(&mut self, id: QueryId, handle: u32) {
        let found = self.ascending.binary_search_by_key(&id, |entry| entry.0);
        match found {
            Ok(at) => self.ascending[at].1 = handle,
            Err(at) if at == self.ascending.len() && !self.others.contains_key(&id) => {
                self.ascending.push((id, handle));
            }
            Err(_) => {
                self.others.insert(id, handle);
            }
        }
    }

    /// Drops entries that are not in use once they are three times the `n_used` that are, and sorts in who came late.
    #[inline]
    pub(crate) fn tidy(&mut self, n_used: usize, is_used: impl Fn(QueryId, u32) -> bool) {
        if self.ascending.len() + self.others.len() > 4 * n_used + SLACK {
            self.sort_in(is_used);
        }
    }

    #[cold]
    fn sort_in(&mut self, is_used: impl Fn(QueryId, u32) -> bool) {
        let late = std::mem::take(&mut self.others);
        self.ascending.extend(late);
        self.ascending.retain(|&(id, handle)| is_used(id, handle));
        // Two runs, each in order.
        self.ascending.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_an_id_means_what_it_was_given_last_and_entries_stay_few(
            acts in prop::collection::vec((0u64..300, any::<bool>()), 1..2_000),
        ) {
            let mut ids = Ids::default();
            let mut expected = BTreeMap::new();
            for (i, (id, is_new)) in acts.into_iter().enumerate() {
                let id = QueryId(if id < 100 { i as u64 } else { id });
                if is_new {
                    ids.insert(id, i as u32);
                    expected.insert(id, i as u32);
                } else {
                    expected.remove(&id);
                }
                ids.tidy(expected.len(), |id, handle| expected.get(&id) == Some(&handle));
                let n = ids.ascending.len() + ids.others.len();
                prop_assert!(n <= 4 * expected.len() + SLACK);
                prop_assert!(ids.ascending.is_sorted_by(|a, b| a.0 < b.0));
            }
            for (&id, &handle) in &expected {
                prop_assert_eq!(ids.get(id), Some(handle));
            }
        }
    }
}
