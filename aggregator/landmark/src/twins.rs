//! Twins kept under change: vertices of one colour with the same neighbours, apart from each other.
//!
//! In: edges that come and go, colours. Out: classes of twins. Only twins themselves tell each other apart, so that a set which leaves them
//! together needs one of them in its classes: the rest are as far from everything else.
//! Invariant: TW-1 classes are those of [`twin_classes`](crate::twin_classes). An edge: O(log n). Neighbourhoods are sums of keys
//! (Zobrist 1970), 128 bits.

use std::collections::{BTreeMap, BTreeSet};

use crate::improve::hash;
use crate::topology::Topology;

/// What vertices of a group have in common: a colour, whether each other is counted among the neighbours, the neighbours.
type Key = (u32, bool, u128);

/// See the file's header.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Sum of the neighbours' keys, by vertex.
    beside: Vec<u128>,
    groups: BTreeMap<Key, BTreeSet<u32>>,
    /// Vertices in groups of several.
    n_twins: usize,
    n_classes: usize,
}

/// A vertex's key as a neighbour.
fn key(v: u32) -> u128 {
    hash(v, u16::MAX)
}

impl Twins {
    pub(crate) fn of(graph: &Topology, colours: &[u32]) -> Self {
        let mut twins = Self::default();
        twins.beside.resize(graph.n(), 0);
        let mut heads = Heads {
            is_landmark: &vec![false; graph.n()],
            found: Vec::new(),
        };
        for v in 0..graph.n() as u32 {
            let sum = graph.neighbours(v).iter().fold(0, |sum, w| sum ^ key(*w));
            twins.beside[v as usize] = sum;
            if !graph.neighbours(v).is_empty() {
                twins.enter(v, colours[v as usize], &mut heads);
                heads.found.clear();
            }
        }
        twins
    }

    pub(crate) fn add_vertex(&mut self) {
        self.beside.push(0);
    }

    /// Vertices that have twins, and classes of such.
    pub(crate) const fn n(&self) -> (usize, usize) {
        (self.n_twins, self.n_classes)
    }

    fn keys(&self, v: u32, colour: u32) -> [Key; 2] {
        let beside = self.beside[v as usize];
        [(colour, true, beside ^ key(v)), (colour, false, beside)]
    }

    /// A vertex with edges takes its places. Who stood, or stands now, for a group of its is added to `heads`.
    pub(crate) fn enter(&mut self, v: u32, colour: u32, heads: &mut Heads<'_>) {
        for key in self.keys(v, colour) {
            let group = self.groups.entry(key).or_default();
            heads.add(group);
            group.insert(v);
            heads.add(group);
            match group.len() {
                1 => {}
                2 => {
                    self.n_twins += 2;
                    self.n_classes += 1;
                }
                _ => self.n_twins += 1,
            }
        }
    }

    /// It leaves them, before its edges or colour change; `heads` likewise.
    pub(crate) fn exit(&mut self, v: u32, colour: u32, heads: &mut Heads<'_>) {
        for key in self.keys(v, colour) {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            heads.add(group);
            group.remove(&v);
            heads.add(group);
            match group.len() {
                0 => drop(self.groups.remove(&key)),
                1 => {
                    self.n_twins -= 2;
                    self.n_classes -= 1;
                }
                _ => self.n_twins -= 1,
            }
        }
    }

    /// An edge between these comes or goes; both are out.
    pub(crate) fn toggle(&mut self, u: u32, v: u32) {
        self.beside[u as usize] ^= key(v);
        self.beside[v as usize] ^= key(u);
    }

    /// Its class, where it has twins, and how far they are from each other: 1 where they are neighbours, else 2. Nobody is a twin in both
    /// ways: neighbours are not each other's open twins.
    pub(crate) fn class(&self, v: u32, colour: u32) -> Option<(&BTreeSet<u32>, u16)> {
        let [closed, open] = self.keys(v, colour);
        let of = |key: &Key| self.groups.get(key).filter(|group| group.len() > 1);
        let closed = of(&closed).map(|group| (group, 1));
        closed.or_else(|| of(&open).map(|group| (group, 2)))
    }

    /// Who stands for the groups of a vertex.
    pub(crate) fn heads(&self, v: u32, colour: u32, heads: &mut Heads<'_>) {
        let keys = self.keys(v, colour);
        keys.iter()
            .filter_map(|key| self.groups.get(key))
            .for_each(|group| heads.add(group));
    }
}

/// Who stands for groups, or would: of each the first that is no landmark, and one that is alone.
pub(crate) struct Heads<'a> {
    pub(crate) is_landmark: &'a [bool],
    pub(crate) found: Vec<u32>,
}

impl Heads<'_> {
    fn add(&mut self, group: &BTreeSet<u32>) {
        let plain = group.iter().find(|v| !self.is_landmark[**v as usize]);
        self.found.extend(plain);
        self.found
            .extend(group.first().filter(|_| group.len() == 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::twin_classes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_classes_are_those_of_a_start_from_scratch(
            n in 2..14_u32,
            events in prop::collection::vec((0..14_u32, 0..14_u32), 1..60),
            colours in prop::collection::vec(0..2_u32, 14),
        ) {
            let mut graph = Topology::new(n as usize);
            let mut twins = Twins::of(&graph, &colours);
            let is_landmark = &[false; 14];
            let mut heads = Heads { is_landmark, found: Vec::new() };
            for (u, v) in events.into_iter().map(|(u, v)| (u % n, v % n)).filter(|(u, v)| u != v) {
                for w in [u, v].into_iter().filter(|w| !graph.neighbours(*w).is_empty()) {
                    twins.exit(w, colours[w as usize], &mut heads);
                }
                if !graph.insert(u, v) {
                    graph.remove(u, v);
                }
                twins.toggle(u, v);
                for w in [u, v].into_iter().filter(|w| !graph.neighbours(*w).is_empty()) {
                    twins.enter(w, colours[w as usize], &mut heads);
                }
                let mut expected = twin_classes(&graph, Some(&colours));
                expected.retain(|class| !graph.neighbours(class[0]).is_empty());
                let parts = (0..n).filter(|w| !graph.neighbours(*w).is_empty());
                let found: BTreeSet<Vec<u32>> = parts
                    .filter_map(|w| twins.class(w, colours[w as usize]))
                    .map(|(class, _)| class.iter().copied().collect())
                    .collect();
                prop_assert_eq!(&found.into_iter().collect::<Vec<_>>(), &expected);
                let n_twins = expected.iter().map(Vec::len).sum::<usize>();
                prop_assert_eq!(twins.n(), (n_twins, expected.len()));
            }
        }
    }
}
