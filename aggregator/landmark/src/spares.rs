//! What would not be told apart if a landmark were lost: signatures without each landmark.
//!
//! In: of each vertex its signature without each landmark. Out: how many of those are shared, and by whom.
//! Invariant: SP-1 a key counts each vertex that put it, once. A vertex's keys: O(k log n), memory likewise.

use std::collections::BTreeMap;

/// See the file's header.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    /// Vertices by the landmark that is lost and the signature that is left.
    counts: BTreeMap<(u32, u128), u32>,
    /// Keys of each vertex.
    keys: Vec<Vec<(u32, u128)>>,
    n_shared: usize,
}

impl Spares {
    pub(crate) fn clear(&mut self) {
        self.counts.clear();
        self.keys.iter_mut().for_each(Vec::clear);
        self.n_shared = 0;
    }

    /// The vertex has these keys, and no others any more.
    pub(crate) fn put(&mut self, v: u32, keys: impl Iterator<Item = (u32, u128)>) {
        let at = v as usize;
        if self.keys.len() <= at {
            self.keys.resize(at + 1, Vec::new());
        }
        for key in self.keys[at].drain(..) {
            if let Some(n) = self.counts.get_mut(&key) {
                *n -= 1;
                match *n {
                    0 => drop(self.counts.remove(&key)),
                    1 => self.n_shared -= 1,
                    _ => {}
                }
            }
        }
        self.keys[at].extend(keys);
        for key in &self.keys[at] {
            let n = self.counts.entry(*key).or_insert(0);
            *n += 1;
            self.n_shared += usize::from(*n == 2);
        }
    }

    /// Keys that several vertices have.
    pub(crate) const fn n_shared(&self) -> usize {
        self.n_shared
    }

    /// The first so many of them with their vertices. O(n·k log n) where there are any.
    pub(crate) fn together(&self, most: usize) -> Vec<((u32, u128), Vec<u32>)> {
        if self.n_shared == 0 {
            return Vec::new();
        }
        let mut classes: BTreeMap<(u32, u128), Vec<u32>> = BTreeMap::new();
        for (v, keys) in self.keys.iter().enumerate() {
            for key in keys {
                if self.counts.get(key).is_some_and(|n| *n > 1) {
                    classes.entry(*key).or_default().push(v as u32);
                }
            }
        }
        classes.into_iter().take(most).collect()
    }
}
