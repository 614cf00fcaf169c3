//! Vertices that cannot be told apart yet, and how much a further landmark would tell.
//!
//! In: colours, then distances one landmark after the other. Out: the classes that are left.
//! Invariant: CL-1 vertices in one class agree in colour and in every distance taken; those alone are dropped from all work.
//! The measure is Σ |class| · log2 |class|, in units of 2^−20 so that its sums are exact and do not depend on their order.

/// |c|·log2|c| in units of 2^−20.
fn weight(size: usize) -> u64 {
    // Sizes are far below 2^40, so the product stays below 2^63.
    (size as f64 * libm::log2(size.max(1) as f64) * f64::from(1 << 20)) as u64
}

/// The partition. See the module's header.
#[derive(Debug, Clone)]
pub struct Classes {
    /// Vertices of classes with more than one, class after class.
    members: Vec<u32>,
    /// Where each class begins in `members`, and the end.
    starts: Vec<u32>,
    n_vertices: usize,
    /// Weights by size.
    weights: Vec<u64>,
}

impl Classes {
    /// All vertices of one colour (all of them where there are no colours) in one class.
    #[must_use]
    pub fn new(n: usize, colours: Option<&[u32]>) -> Self {
        let mut members: Vec<u32> = (0..n as u32).collect();
        let colour = |v: u32| {
            colours
                .and_then(|c| c.get(v as usize))
                .copied()
                .unwrap_or(0)
        };
        members.sort_by_key(|v| colour(*v));
        let mut starts = vec![0];
        for at in 1..members.len() {
            if colour(members[at - 1]) != colour(members[at]) {
                starts.push(at as u32);
            }
        }
        starts.push(members.len() as u32);
        let mut classes = Self {
            members,
            starts,
            n_vertices: n,
            weights: (0..=n).map(weight).collect(),
        };
        classes.drop_single();
        classes
    }

    /// Vertices told apart from all others.
    #[must_use]
    pub const fn n_alone(&self) -> usize {
        self.n_vertices - self.members.len()
    }

    /// Whether every vertex is.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        self.members.is_empty()
    }

    /// Classes, those of one vertex included.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.n_alone() + self.starts.len().saturating_sub(1)
    }

    /// Classes of more than one vertex.
    pub fn together(&self) -> impl Iterator<Item = &[u32]> {
        self.starts
            .windows(2)
            .map(|ends| &self.members[ends[0] as usize..ends[1] as usize])
    }

    /// By how much a landmark with these distances would lower the measure. O(members).
    pub(crate) fn gain(&self, distance: impl Fn(u32) -> u16, counts: &mut Counts) -> u64 {
        let mut gain = 0;
        for class in self.together() {
            for v in class {
                counts.add(distance(*v));
            }
            gain += self.weights[class.len()];
            counts.drain(|n| gain -= self.weights[n as usize]);
        }
        gain
    }

    /// Splits by the distances of a landmark. O(members · log).
    pub fn split(&mut self, distance: impl Fn(u32) -> u16) {
        let mut starts = Vec::with_capacity(self.starts.len());
        for at in 1..self.starts.len() {
            let (from, to) = (self.starts[at - 1] as usize, self.starts[at] as usize);
            let class = &mut self.members[from..to];
            class.sort_by_key(|v| distance(*v));
            let mut before = None;
            for (place, v) in class.iter().enumerate() {
                let d = distance(*v);
                if before != Some(d) {
                    starts.push((from + place) as u32);
                }
                before = Some(d);
            }
        }
        starts.push(self.members.len() as u32);
        self.starts = starts;
        self.drop_single();
    }

    fn drop_single(&mut self) {
        let (mut kept, mut starts) = (0, vec![0]);
        for at in 1..self.starts.len() {
            let (from, to) = (self.starts[at - 1] as usize, self.starts[at] as usize);
            if to - from > 1 {
                self.members.copy_within(from..to, kept);
                kept += to - from;
                starts.push(kept as u32);
            }
        }
        self.members.truncate(kept);
        self.starts = starts;
    }
}

/// How many came at each distance; emptied without being cleared as a whole.
#[derive(Debug)]
pub(crate) struct Counts {
    n: Vec<u32>,
    used: Vec<u16>,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self {
            n: vec![0; 1 << 16],
            used: Vec::new(),
        }
    }

    #[inline]
    fn add(&mut self, distance: u16) {
        let n = &mut self.n[distance as usize];
        if *n == 0 {
            self.used.push(distance);
        }
        *n += 1;
    }

    #[inline]
    fn drain(&mut self, mut each: impl FnMut(u32)) {
        for distance in self.used.drain(..) {
            each(std::mem::take(&mut self.n[distance as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Matrix;
    use crate::distance::tests::graphs;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn prop_classes_are_vertices_of_equal_colours_and_distances(graph in graphs(60), sources in prop::collection::vec(0..60_u32, 0..6), colours in prop::collection::vec(0..3_u32, 60)) {
            let sources: Vec<u32> = sources.iter().map(|s| s % graph.n() as u32).collect();
            let matrix = Matrix::of(&graph, &sources);
            let mut classes = Classes::new(graph.n(), Some(&colours));
            let mut counts = Counts::new();
            for at in 0..sources.len() {
                let before = classes.clone();
                let gain = classes.gain(|v| matrix.row(v)[at], &mut counts);
                classes.split(|v| matrix.row(v)[at]);
                let measure = |c: &Classes| c.together().map(|class| weight(class.len())).sum::<u64>();
                prop_assert_eq!(measure(&before) - measure(&classes), gain);
            }
            let mut by_vector: BTreeMap<_, Vec<u32>> = BTreeMap::new();
            for v in 0..graph.n() as u32 {
                by_vector.entry((colours[v as usize], matrix.row(v))).or_default().push(v);
            }
            prop_assert_eq!(classes.n_classes(), by_vector.len());
            let expected: std::collections::BTreeSet<Vec<u32>> = by_vector.into_values().filter(|class| class.len() > 1).collect();
            let found: std::collections::BTreeSet<Vec<u32>> = classes.together().map(|class| {
                let mut class = class.to_vec();
                class.sort_unstable();
                class
            }).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
