//! Vertices by signature: whoever shares one is not told apart. (step 9)
//!
//! Invariant: BU-1 a vertex is in at most one bucket, and leaves it by the signature it joined with. Joining and leaving: O(log n).

use std::collections::{BTreeMap, BTreeSet};

const NOBODY: u32 = u32::MAX;

/// Vertices of equal signature: the first of a list, and how many.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    first: u32,
    n: u32,
}

/// See the file's header.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: BTreeMap<u128, Bucket>,
    /// Before and behind each vertex in its bucket's list.
    links: Vec<(u32, u32)>,
    together: BTreeSet<u128>,
    n_members: usize,
}

impl Buckets {
    /// Signatures in use.
    pub(crate) fn n_classes(&self) -> usize {
        self.buckets.len()
    }

    /// Vertices that share theirs with no other.
    pub(crate) fn n_alone(&self) -> usize {
        self.buckets.len() - self.together.len()
    }

    /// Vertices in all buckets.
    pub(crate) const fn n_members(&self) -> usize {
        self.n_members
    }

    /// Signatures of more than one vertex, ascending.
    pub(crate) fn together(&self) -> impl Iterator<Item = u128> {
        self.together.iter().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
        self.together.clear();
        self.n_members = 0;
    }

    /// How many share a signature.
    pub(crate) fn n_of(&self, signature: u128) -> u32 {
        self.buckets.get(&signature).map_or(0, |bucket| bucket.n)
    }

    /// The vertices of a signature.
    pub(crate) fn members(&self, signature: u128) -> Vec<u32> {
        let mut members = Vec::new();
        let bucket = self.buckets.get(&signature);
        let mut at = bucket.map_or(NOBODY, |bucket| bucket.first);
        while at != NOBODY {
            members.push(at);
            at = self.links[at as usize].1;
        }
        members
    }

    pub(crate) fn join(&mut self, v: u32, signature: u128) {
        if self.links.len() <= v as usize {
            self.links.resize(v as usize + 1, (NOBODY, NOBODY));
        }
        let empty = Bucket {
            first: NOBODY,
            n: 0,
        };
        let bucket = self.buckets.entry(signature).or_insert(empty);
        let behind = std::mem::replace(&mut bucket.first, v);
        bucket.n += 1;
        self.n_members += 1;
        if bucket.n == 2 {
            self.together.insert(signature);
        }
        self.links[v as usize] = (NOBODY, behind);
        if behind != NOBODY {
            self.links[behind as usize].0 = v;
        }
    }

    /// Leaves the bucket it joined by this signature.
    pub(crate) fn leave(&mut self, v: u32, signature: u128) {
        let (before, behind) = std::mem::replace(&mut self.links[v as usize], (NOBODY, NOBODY));
        if before != NOBODY {
            self.links[before as usize].1 = behind;
        }
        if behind != NOBODY {
            self.links[behind as usize].0 = before;
        }
        let Some(bucket) = self.buckets.get_mut(&signature) else {
            return;
        };
        bucket.n -= 1;
        self.n_members -= 1;
        if before == NOBODY {
            bucket.first = behind;
        }
        match bucket.n {
            0 => {
                self.buckets.remove(&signature);
            }
            1 => {
                self.together.remove(&signature);
            }
            _ => {}
        }
    }
}
