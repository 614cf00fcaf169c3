//! Distances from many sources at once: 64 searches share each look at an edge.
//!
//! Source: Then, Kaufmann, Chirigati, Hoang-Vu, Pham, Kemper, Neumann, Vo: The More the Merrier: Efficient Multi-Source Graph
//! Traversal, VLDB 2014 (a bit per search; push while few are reached, pull when many are).

use rayon::prelude::*;

use crate::topology::{Compact, Topology};

/// No way leads there.
pub const FAR: u16 = u16::MAX;
/// Longer ways count as this long; still told apart from [`FAR`].
const LONG: u16 = FAR - 1;
/// Searches that share a word.
pub(crate) const LANES: usize = 64;
/// Vertices times blocks of searches from which threads share them: below, starting them costs more than it saves.
const SHARED_FROM: usize = 20_000;
/// A search pulls once more than one vertex in so many was just reached.
const PULL_FROM: usize = 16;

/// Distances in hops, a row per vertex and a column per source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matrix {
    cells: Vec<u16>,
    n_columns: usize,
    stride: usize,
}

impl Matrix {
    /// From each of these sources to every vertex. O(levels · edges · ⌈sources / 64⌉), blocks of 64 shared
    /// among threads where the graph is large; their number changes nothing.
    #[must_use]
    pub fn of(graph: &Topology, sources: &[u32]) -> Self {
        Self::of_compact(&graph.compact(), sources)
    }

    pub(crate) fn of_compact(graph: &Compact, sources: &[u32]) -> Self {
        let blocks: Vec<&[u32]> = sources.chunks(LANES).collect();
        if blocks.len() == 1 || blocks.len() * graph.n() < SHARED_FROM {
            let mut matrix = Self::blank(graph.n(), sources.len());
            for (block, sources) in blocks.into_iter().enumerate() {
                matrix.search(graph, sources, block * LANES);
            }
            return matrix;
        }
        // Each block into a matrix of its own: blocks share rows, and a row belongs to one thread.
        let of_block = |sources: &&[u32]| {
            let mut part = Self::blank(graph.n(), sources.len());
            part.search(graph, sources, 0);
            part
        };
        let parts: Vec<Self> = blocks.par_iter().map(of_block).collect();
        let mut matrix = Self::blank(graph.n(), sources.len());
        let rows = matrix.cells.par_chunks_exact_mut(sources.len());
        rows.enumerate().with_min_len(1_024).for_each(|(v, row)| {
            for (part, cells) in parts.iter().zip(row.chunks_mut(LANES)) {
                cells.copy_from_slice(part.row(v as u32));
            }
        });
        matrix
    }

    fn blank(n: usize, n_columns: usize) -> Self {
        Self {
            cells: vec![FAR; n * n_columns],
            n_columns,
            stride: n_columns,
        }
    }

    /// Sources.
    #[must_use]
    pub const fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Distances of a vertex to all sources.
    #[must_use]
    #[inline]
    pub fn row(&self, v: u32) -> &[u16] {
        let at = v as usize * self.stride;
        &self.cells[at..at + self.n_columns]
    }

    #[inline]
    pub(crate) fn row_mut(&mut self, v: u32) -> &mut [u16] {
        let at = v as usize * self.stride;
        &mut self.cells[at..at + self.n_columns]
    }

    /// The longest way there is; 0 where there is none.
    #[must_use]
    pub fn longest(&self) -> u16 {
        let ways = self.cells.iter().filter(|d| **d != FAR);
        ways.copied().max().unwrap_or(0)
    }

    /// Adds a row of vertices that no way leads to.
    pub(crate) fn add_vertex(&mut self) {
        self.cells.resize(self.cells.len() + self.stride, FAR);
    }

    /// Adds a source as the last column; O(n) where a column is free, else all is laid out anew.
    pub(crate) fn add_column(&mut self, graph: &Topology, source: u32) {
        let n = graph.n();
        if self.n_columns == self.stride {
            let stride = (self.stride * 2).max(8);
            let mut cells = vec![FAR; n * stride];
            for v in 0..n {
                cells[v * stride..v * stride + self.n_columns].copy_from_slice(
                    &self.cells[v * self.stride..v * self.stride + self.n_columns],
                );
            }
            (self.cells, self.stride) = (cells, stride);
        }
        let at = self.n_columns;
        self.n_columns += 1;
        self.refill(graph, at, source);
    }

    /// Takes a column away; the last one takes its place.
    pub(crate) fn remove_column(&mut self, at: usize) {
        let last = self.n_columns - 1;
        for row in self.cells.chunks_exact_mut(self.stride) {
            row[at] = row[last];
            row[last] = FAR;
        }
        self.n_columns = last;
    }

    /// One search from scratch.
    fn refill(&mut self, graph: &Topology, at: usize, source: u32) {
        for row in self.cells.chunks_exact_mut(self.stride) {
            row[at] = FAR;
        }
        let mut queue = std::collections::VecDeque::from([source]);
        self.cells[source as usize * self.stride + at] = 0;
        while let Some(v) = queue.pop_front() {
            let next = self.cells[v as usize * self.stride + at]
                .saturating_add(1)
                .min(LONG);
            for w in graph.neighbours(v) {
                let cell = &mut self.cells[*w as usize * self.stride + at];
                if *cell == FAR {
                    *cell = next;
                    queue.push_back(*w);
                }
            }
        }
    }

    /// At most 64 searches into the columns from `first` on.
    fn search(&mut self, graph: &Compact, sources: &[u32], first: usize) {
        let n = graph.n();
        let (mut seen, mut front, mut next) = (vec![0_u64; n], vec![0_u64; n], vec![0_u64; n]);
        let mut reached: Vec<u32> = Vec::new();
        for (lane, source) in sources.iter().enumerate() {
            let v = *source as usize;
            if front[v] == 0 {
                reached.push(*source);
            }
            front[v] |= 1 << lane;
            seen[v] |= 1 << lane;
            self.cells[v * self.stride + first + lane] = 0;
        }
        let all = if sources.len() == LANES {
            u64::MAX
        } else {
            (1 << sources.len()) - 1
        };
        let mut level = 0_u16;
        while !reached.is_empty() {
            level = level.saturating_add(1).min(LONG);
            let mut touched = Vec::new();
            if reached.len() * PULL_FROM > n {
                pull(graph, (&seen, &front, all), &mut next, &mut touched);
            } else {
                push(graph, (&reached, &front), &mut next, &mut touched);
            }
            for v in reached.drain(..) {
                front[v as usize] = 0;
            }
            for v in touched {
                let at = v as usize;
                let new = std::mem::take(&mut next[at]) & !seen[at];
                if new == 0 {
                    continue;
                }
                seen[at] |= new;
                front[at] = new;
                reached.push(v);
                let row = &mut self.cells[at * self.stride + first..];
                let mut bits = new;
                while bits != 0 {
                    row[bits.trailing_zeros() as usize] = level;
                    bits &= bits - 1;
                }
            }
        }
    }
}

/// Every vertex that some search has not reached looks at its neighbours.
fn pull(
    graph: &Compact,
    (seen, front, all): (&[u64], &[u64], u64),
    next: &mut [u64],
    touched: &mut Vec<u32>,
) {
    for (v, next) in next.iter_mut().enumerate() {
        let missing = all & !seen[v];
        if missing == 0 {
            continue;
        }
        let mut found = 0;
        for w in graph.neighbours(v) {
            found |= front[*w as usize];
            if found & missing == missing {
                break;
            }
        }
        if found & missing != 0 {
            *next = found;
            touched.push(v as u32);
        }
    }
}

/// Every vertex that was just reached tells its neighbours.
fn push(
    graph: &Compact,
    (reached, front): (&[u32], &[u64]),
    next: &mut [u64],
    touched: &mut Vec<u32>,
) {
    for v in reached {
        let bits = front[*v as usize];
        for w in graph.neighbours(*v as usize) {
            let cell = &mut next[*w as usize];
            if *cell == 0 {
                touched.push(*w);
            }
            *cell |= bits;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any small graph: vertices and edges.
    pub(crate) fn graphs(n_max: usize) -> impl Strategy<Value = Topology> {
        (1..=n_max).prop_flat_map(move |n| {
            let end = 0..n as u32;
            let edges = proptest::collection::vec((end.clone(), end), 0..n * 2);
            edges.prop_map(move |edges| Topology::with_edges(n, edges))
        })
    }

    /// Plain search, written for reading.
    pub(crate) fn by_hand(graph: &Topology, source: u32) -> Vec<u16> {
        let mut distance = vec![FAR; graph.n()];
        distance[source as usize] = 0;
        let mut level = vec![source];
        while !level.is_empty() {
            let mut next = Vec::new();
            for v in level {
                for w in graph.neighbours(v) {
                    if distance[*w as usize] == FAR {
                        distance[*w as usize] = distance[v as usize] + 1;
                        next.push(*w);
                    }
                }
            }
            level = next;
        }
        distance
    }

    #[test]
    fn more_sources_than_a_word_has_bits_and_ways_longer_than_a_byte() {
        let path = Topology::with_edges(700, (0..699).map(|v| (v, v + 1)));
        let sources: Vec<u32> = (0..700).step_by(7).collect();
        let matrix = Matrix::of(&path, &sources);
        for v in 0..700_u32 {
            let expected: Vec<u16> = sources.iter().map(|s| s.abs_diff(v) as u16).collect();
            assert_eq!(matrix.row(v), expected);
        }
        assert_eq!(matrix.longest(), 699);
    }

    #[test]
    fn a_large_graph_is_searched_as_petgraph_does_with_any_number_of_threads() {
        let n = 8_000_u32;
        let edges: Vec<(u32, u32)> = (1..n)
            .flat_map(|v| [(v, v / 2), (v, v.wrapping_mul(2_654_435_761) % v)])
            .collect();
        let graph = Topology::with_edges(n as usize, edges.iter().copied());
        let sources: Vec<u32> = (0..n).step_by(53).collect();
        assert!(sources.len().div_ceil(LANES) * n as usize >= SHARED_FROM);
        let matrix = Matrix::of(&graph, &sources);
        for n_threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
            let alone = pool.build().unwrap();
            assert_eq!(alone.install(|| Matrix::of(&graph, &sources)), matrix);
        }
        let peer = petgraph::graph::UnGraph::<(), ()>::from_edges(edges);
        for (at, source) in sources.iter().enumerate().step_by(29) {
            let place = |v: u32| petgraph::graph::NodeIndex::<u32>::from(v);
            let ways = petgraph::algo::dijkstra(&peer, place(*source), None, |_| 1_u16);
            for v in 0..n {
                let expected = ways.get(&place(v)).copied().unwrap_or(FAR);
                assert_eq!(matrix.row(v)[at], expected, "{source} to {v}");
            }
        }
    }

    proptest! {
        #[test]
        fn prop_many_searches_at_once_find_what_each_finds_alone(graph in graphs(120), wanted in prop::collection::vec(0..120_u32, 1..100)) {
            let sources: Vec<u32> = wanted.iter().map(|s| s % graph.n() as u32).collect();
            let mut matrix = Matrix::of(&graph, &sources);
            matrix.add_column(&graph, sources[0]);
            for (at, source) in sources.iter().chain(&sources[..1]).enumerate() {
                let expected = by_hand(&graph, *source);
                for v in 0..graph.n() as u32 {
                    prop_assert_eq!(matrix.row(v)[at], expected[v as usize]);
                }
            }
        }
    }
}
