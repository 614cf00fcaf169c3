//! Endpoint trees within endpoint trees: the shape in any number of dimensions. (ALGORITHMS 2.4)
//!
//! In: boxes, one range per dimension. Out: numbers of last-level nodes, for a point and for a box.
//! Invariants: NE-1 of a box's canonical nodes exactly one lies on the paths of a point inside, none on those of a point
//! outside. Memory: O(m · log^(d-1) m). In one dimension it is one endpoint tree.
//! Source: Qiao, Gan, Tao, SIGMOD 2016, section 6 (range trees, Bentley 1979).

use crate::endpoints::Endpoints;
use crate::range::Range;

/// Stands where a node has no tree below.
const NONE: u32 = u32::MAX;

/// The trees; counters stand only at nodes of the last dimension's.
#[derive(Debug)]
pub(crate) struct Layout {
    trees: Vec<Level>,
    n_nodes: usize,
}

#[derive(Debug)]
struct Level {
    shape: Endpoints,
    below: Below,
}

#[derive(Debug)]
enum Below {
    /// Last dimension: the number of this tree's node 0.
    Nodes(usize),
    /// The tree below each node.
    Trees(Vec<u32>),
}

impl Layout {
    /// For `ranges.len() / n_dimensions` boxes, one after the other. O(m log^d m).
    pub(crate) fn new(ranges: &[Range], n_dimensions: usize) -> Self {
        let mut layout = Self {
            trees: Vec::new(),
            n_nodes: 0,
        };
        let all = (0..ranges.len() / n_dimensions).collect();
        layout.grow(ranges, n_dimensions, 0, all);
        layout
    }

    /// Grows the tree over `boxes` in dimension `at` with all below it; returns its number.
    fn grow(&mut self, ranges: &[Range], n_dimensions: usize, at: usize, boxes: Vec<usize>) -> u32 {
        let range_of = |one: usize| ranges[one * n_dimensions + at];
        let ends = boxes.iter().flat_map(|&one| {
            let range = range_of(one);
            [range.lo, range.hi]
        });
        let shape = Endpoints::new(ends.collect());
        let number = self.trees.len() as u32;
        if at + 1 == n_dimensions {
            let below = Below::Nodes(self.n_nodes);
            self.n_nodes += shape.n_nodes();
            self.trees.push(Level { shape, below });
            return number;
        }
        let mut boxes_at = vec![Vec::new(); shape.n_nodes()];
        for one in boxes {
            shape.canonical(range_of(one), |node| boxes_at[node].push(one));
        }
        let below = Below::Trees(Vec::new());
        self.trees.push(Level { shape, below });
        let mut trees = Vec::with_capacity(boxes_at.len());
        for boxes in boxes_at {
            trees.push(if boxes.is_empty() {
                NONE
            } else {
                self.grow(ranges, n_dimensions, at + 1, boxes)
            });
        }
        self.trees[number as usize].below = Below::Trees(trees);
        number
    }

    /// Nodes that may carry a counter.
    pub(crate) const fn n_nodes(&self) -> usize {
        self.n_nodes
    }

    /// Appends the nodes above a point. O(log^d m).
    pub(crate) fn path(&self, point: &[u64], out: &mut Vec<u32>) {
        self.path_in(0, point, out);
    }

    fn path_in(&self, tree: u32, point: &[u64], out: &mut Vec<u32>) {
        let level = &self.trees[tree as usize];
        let Some((&key, rest)) = point.split_first() else {
            return;
        };
        match &level.below {
            Below::Nodes(first) => {
                out.extend(level.shape.path(key).map(|node| (first + node) as u32));
            }
            Below::Trees(trees) => {
                let trees = level.shape.path(key).map(|node| trees[node]);
                for tree in trees.filter(|&tree| tree != NONE) {
                    self.path_in(tree, rest, out);
                }
            }
        }
    }

    /// Appends the canonical nodes of a box the layout was made for, each with its depth, summed over the dimensions.
    /// O(log^d m).
    pub(crate) fn canonical(&self, ranges: &[Range], out: &mut Vec<(u32, u32)>) {
        self.canonical_in(0, ranges, 0, out);
    }

    fn canonical_in(&self, tree: u32, ranges: &[Range], above: u32, out: &mut Vec<(u32, u32)>) {
        let level = &self.trees[tree as usize];
        let Some((&range, rest)) = ranges.split_first() else {
            return;
        };
        match &level.below {
            Below::Nodes(first) => {
                let take = |node: usize| out.push(((first + node) as u32, above + node.ilog2()));
                level.shape.canonical(range, take);
            }
            Below::Trees(trees) => level.shape.canonical(range, |node| {
                self.canonical_in(trees[node], rest, above + node.ilog2(), out);
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn prop_a_point_meets_exactly_one_canonical_node_of_each_box_it_lies_in(
            n_dimensions in 1usize..4,
            numbers in prop::collection::vec((0u64..60, 1u64..30), 3..60),
            points in prop::collection::vec([0u64..90, 0u64..90, 0u64..90], 30),
        ) {
            let ranges: Vec<_> = numbers.iter().map(|&(lo, n)| Range { lo, hi: lo + n }).collect();
            let ranges = &ranges[..ranges.len() / n_dimensions * n_dimensions];
            let layout = Layout::new(ranges, n_dimensions);
            for point in &points {
                let point = &point[..n_dimensions];
                let mut path = Vec::new();
                layout.path(point, &mut path);
                for one in ranges.chunks(n_dimensions) {
                    let mut canonical = Vec::new();
                    layout.canonical(one, &mut canonical);
                    let met = path.iter().filter(|&&node| canonical.iter().any(|&(one, _)| one == node)).count();
                    let is_inside = one.iter().zip(point).all(|(range, &key)| range.contains(key));
                    prop_assert_eq!(met, usize::from(is_inside));
                }
            }
        }
    }
}
