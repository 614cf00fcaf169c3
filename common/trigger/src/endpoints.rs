//! The endpoint tree's shape in one dimension: leaves between endpoints, canonical nodes, paths. (ALGORITHMS 2.2)
//!
//! In: the endpoints of half-open ranges. Out: for a key the nodes above its leaf, for a range its canonical nodes.
//! Invariants: EP-1 of a range's canonical nodes exactly one lies on the path of a key inside and none on that of a key
//! outside. EP-2 a range has at most two canonical nodes per level.
//! Source: Qiao, Gan, Tao, SIGMOD 2016, section 4; the shape is the bottom-up segment tree, which needs no padding to a
//! power of two. Search is by the first bits of a key, then among those that share them.

use crate::range::Range;

/// The shape over n leaves: nodes 1..2n, the leaf i being node n+i, the parent of v being v/2.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// Sorted and distinct.
    keys: Vec<u64>,
    /// Of keys that agree in their first bits, the first; as many bits as make about one key each. Keys that crowd
    /// together are searched in halves.
    starts: Vec<u32>,
    /// The other bits.
    shift: u32,
    n_leaves: usize,
}

impl Endpoints {
    /// From endpoints in any order, repeated or not. O(n log n).
    pub(crate) fn new(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Self::of_sorted(keys)
    }

    /// From sorted distinct endpoints. O(n).
    pub(crate) fn of_sorted(keys: Vec<u64>) -> Self {
        let n_leaves = keys.len().saturating_sub(1);
        let first = keys.first().copied().unwrap_or(0);
        let span = keys.last().map_or(0, |last| last - first);
        let bits = keys.len().next_power_of_two().ilog2();
        let shift = (u64::BITS - span.leading_zeros()).saturating_sub(bits);
        let n_starts = (span >> shift) as usize + 2;
        let mut starts = Vec::with_capacity(n_starts);
        for (rank, &key) in (0..).zip(&keys) {
            let bucket = ((key - first) >> shift) as usize;
            if bucket >= starts.len() {
                starts.resize(bucket + 1, rank);
            }
        }
        starts.resize(n_starts, keys.len() as u32);
        Self {
            keys,
            starts,
            shift,
            n_leaves,
        }
    }

    /// How many endpoints there are.
    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Nodes, the unused number 0 among them.
    pub(crate) const fn n_nodes(&self) -> usize {
        2 * self.n_leaves
    }

    /// Of one range each: besides the shape the ranks of each range's ends, and the ranges by where they begin.
    /// O(n log n).
    pub(crate) fn ranked(ranges: &[Range]) -> (Self, Vec<(u32, u32)>, Vec<u32>) {
        let mut ranked = vec![(0, 0); ranges.len()];
        let mut by_lo = Vec::with_capacity(ranges.len());
        let mut keys = Vec::with_capacity(2 * ranges.len());
        let mut take = |key: u64, end: u32| {
            if keys.last() != Some(&key) {
                keys.push(key);
            }
            let (range, rank) = (end >> 1, keys.len() as u32 - 1);
            if end & 1 == 1 {
                ranked[range as usize].1 = rank;
            } else {
                ranked[range as usize].0 = rank;
                by_lo.push(range);
            }
        };
        let ends = (0..).zip(ranges).flat_map(|(i, range)| {
            let end: u32 = 2 * i;
            [(range.lo, end), (range.hi, end + 1)]
        });
        let first = ranges.iter().map(|range| range.lo).min().unwrap_or(0);
        let last = ranges.iter().map(|range| range.hi).max().unwrap_or(0);
        if last - first <= u64::from(u32::MAX) {
            // One word each sorts twice as fast.
            let pack = |(key, end)| (key - first) << u32::BITS | u64::from(end);
            let mut packed: Vec<u64> = ends.map(pack).collect();
            packed.sort_unstable();
            for end in packed {
                take(first + (end >> u32::BITS), end as u32);
            }
        } else {
            let mut pairs: Vec<(u64, u32)> = ends.collect();
            pairs.sort_unstable();
            for (key, end) in pairs {
                take(key, end);
            }
        }
        (Self::of_sorted(keys), ranked, by_lo)
    }

    /// The endpoint of a rank.
    pub(crate) fn key(&self, rank: u32) -> u64 {
        self.keys[rank as usize]
    }

    /// The last endpoint that is not above `key`. O(1) where endpoints lie evenly, O(log n) at most.
    #[inline]
    pub(crate) fn rank(&self, key: u64) -> Option<usize> {
        let from = key.checked_sub(*self.keys.first()?)?;
        let bucket = (from >> self.shift) as usize;
        let Some(&[start, end]) = self.starts.get(bucket..).and_then(<[u32]>::first_chunk) else {
            return Some(self.n_leaves);
        };
        let (start, end) = (start as usize, end as usize);
        let crowd = &self.keys[start..end];
        let n_below = if crowd.len() <= CROWD {
            crowd.iter().map(|&x| usize::from(x <= key)).sum()
        } else {
            crowd.partition_point(|&x| x <= key)
        };
        Some(start + n_below - 1)
    }

    /// The nodes above a key, the leaf first; none outside of all ranges. O(log n).
    pub(crate) fn path(&self, key: u64) -> impl Iterator<Item = usize> {
        let leaf = self.rank(key).filter(|&leaf| leaf < self.n_leaves);
        let mut node = leaf.map_or(0, |leaf| leaf + self.n_leaves);
        std::iter::from_fn(move || {
            let here = node;
            node >>= 1;
            (here > 0).then_some(here)
        })
    }

    /// Canonical nodes of a range whose ends are endpoints. O(log n). A node's depth is the logarithm of its number.
    pub(crate) fn canonical(&self, range: Range, mut take: impl FnMut(usize)) {
        let (Some(lo), Some(hi)) = (self.rank(range.lo), self.rank(range.hi)) else {
            return;
        };
        let (mut lo, mut hi) = (lo + self.n_leaves, hi + self.n_leaves);
        while lo < hi {
            if lo & 1 == 1 {
                take(lo);
                lo += 1;
            }
            if hi & 1 == 1 {
                hi -= 1;
                take(hi);
            }
            lo >>= 1;
            hi >>= 1;
        }
    }
}

/// Keys that are compared one by one.
const CROWD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_a_key_meets_exactly_one_canonical_node_of_each_range_it_lies_in(
            ends in prop::collection::vec((0u64..2_000, 1u64..800), 1..120),
            keys in prop::collection::vec(0u64..3_000, 40),
        ) {
            let ranges: Vec<_> = ends.iter().map(|&(lo, n)| Range { lo, hi: lo + n }).collect();
            let shape = Endpoints::new(ranges.iter().flat_map(|r| [r.lo, r.hi]).collect());
            let height = (shape.n_leaves as f64).log2().ceil() as usize + 1;
            for range in &ranges {
                let mut canonical = Vec::new();
                shape.canonical(*range, |node| canonical.push(node));
                prop_assert!(canonical.len() <= 2 * height);
                for key in keys.iter().copied().chain([range.lo, range.hi, range.hi - 1]) {
                    let met = shape.path(key).filter(|node| canonical.contains(node)).count();
                    prop_assert_eq!(met, usize::from(range.contains(key)), "{} in {:?}", key, range);
                }
            }
        }
    }
}
