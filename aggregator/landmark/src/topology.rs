//! An undirected graph that changes, and its compact form for searches.

/// Vertices are 0..n; neighbours ascending; no loops, no double edges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    neighbours: Vec<Vec<u32>>,
    n_edges: usize,
}

/// The same, one array after the other.
#[derive(Debug)]
pub(crate) struct Compact {
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Topology {
    /// So many vertices, no edge.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self {
            neighbours: vec![Vec::new(); n],
            n_edges: 0,
        }
    }

    /// With these edges; loops, doubles and ends beyond `n` are left out.
    #[must_use]
    pub fn with_edges(n: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut neighbours = vec![Vec::new(); n];
        for (u, v) in edges {
            if u != v && (u as usize) < n && (v as usize) < n {
                neighbours[u as usize].push(v);
                neighbours[v as usize].push(u);
            }
        }
        let mut n_ends = 0;
        for list in &mut neighbours {
            list.sort_unstable();
            list.dedup();
            n_ends += list.len();
        }
        Self {
            neighbours,
            n_edges: n_ends / 2,
        }
    }

    /// Vertices.
    #[must_use]
    pub const fn n(&self) -> usize {
        self.neighbours.len()
    }

    /// Edges.
    #[must_use]
    pub const fn m(&self) -> usize {
        self.n_edges
    }

    /// Whose distance is one, ascending; none for a vertex that is not there.
    #[must_use]
    pub fn neighbours(&self, v: u32) -> &[u32] {
        self.neighbours.get(v as usize).map_or(&[], Vec::as_slice)
    }

    /// Adds a vertex without edges; its number.
    pub fn add_vertex(&mut self) -> u32 {
        self.neighbours.push(Vec::new());
        self.neighbours.len() as u32 - 1
    }

    /// Adds an edge; false where it is there already or cannot be. O(degree).
    pub fn insert(&mut self, u: u32, v: u32) -> bool {
        let n = self.n();
        if u == v || u as usize >= n || v as usize >= n {
            return false;
        }
        let Err(at) = self.neighbours[u as usize].binary_search(&v) else {
            return false;
        };
        self.neighbours[u as usize].insert(at, v);
        let back = &mut self.neighbours[v as usize];
        let at = back.partition_point(|w| *w < u);
        back.insert(at, u);
        self.n_edges += 1;
        true
    }

    /// Takes an edge away; false where there is none. O(degree).
    pub fn remove(&mut self, u: u32, v: u32) -> bool {
        let Some(Ok(at)) = self.neighbours.get(u as usize).map(|l| l.binary_search(&v)) else {
            return false;
        };
        self.neighbours[u as usize].remove(at);
        self.neighbours[v as usize].retain(|w| *w != u);
        self.n_edges -= 1;
        true
    }

    pub(crate) fn compact(&self) -> Compact {
        let mut starts = Vec::with_capacity(self.n() + 1);
        let mut targets = Vec::with_capacity(self.n_edges * 2);
        starts.push(0);
        for list in &self.neighbours {
            targets.extend_from_slice(list);
            starts.push(targets.len() as u32);
        }
        Compact { starts, targets }
    }
}

impl Compact {
    pub(crate) const fn n(&self) -> usize {
        self.starts.len() - 1
    }

    #[inline]
    pub(crate) fn neighbours(&self, v: usize) -> &[u32] {
        &self.targets[self.starts[v] as usize..self.starts[v + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_doubles_and_strangers_are_left_out_and_edges_come_and_go() {
        let mut graph = Topology::with_edges(3, [(0, 1), (1, 0), (1, 1), (1, 2), (2, 9)]);
        assert_eq!((graph.n(), graph.m()), (3, 2));
        assert!(!graph.insert(1, 2) && !graph.insert(2, 2) && !graph.insert(0, 9));
        assert!(graph.insert(2, 0));
        assert_eq!(graph.neighbours(2), [0, 1]);
        assert!(graph.remove(1, 0) && !graph.remove(1, 0) && !graph.remove(9, 0));
        assert_eq!((graph.m(), graph.neighbours(0)), (2, &[2][..]));
        assert_eq!(graph.add_vertex(), 3);
        assert_eq!(graph, Topology::with_edges(4, [(1, 2), (0, 2)]));
    }
}
