//! Distances from landmarks where ways have a length or a direction, exact while edges come, go and change length.
//!
//! In: arcs with small whole lengths, landmarks. Out: how far each vertex is from each landmark, and on directed ways how far
//! each landmark is from the vertex. An undirected graph is one whose arcs go both ways.
//! Invariant: WY-1 distances are those of a search from scratch. Cost of an event: columns, and arcs of vertices whose distance changes,
//! times a logarithm (Ramalingam, Reps: An incremental algorithm for a generalization of the shortest-path problem, J.
//! Algorithms 21, 1996). Limits: 4 bytes a vertex and column. Does not: tell vertices apart (`Tracked` does, by hops).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No way leads there.
const NO_WAY: u32 = u32::MAX;

/// Ends of arcs by vertex, ascending, each with its length.
type Arcs = Vec<Vec<(u32, u8)>>;

/// See the module's header.
#[derive(Debug)]
pub struct Ways {
    is_directed: bool,
    out: Arcs,
    into: Arcs,
    landmarks: Vec<u32>,
    /// A column per landmark: from it to each vertex.
    from: Vec<Vec<u32>>,
    /// From each vertex to it; none where ways go both ways.
    to: Vec<Vec<u32>>,
    affected: Affected,
}

/// Vertices whose distance an event changes.
#[derive(Debug, Default)]
struct Affected {
    marks: Vec<u64>,
    mark: u64,
    list: Vec<u32>,
}

impl Ways {
    /// No vertex yet; each edge goes both ways.
    #[must_use]
    pub fn undirected() -> Self {
        Self::new(false)
    }

    /// No vertex yet; each edge is an arc.
    #[must_use]
    pub fn directed() -> Self {
        Self::new(true)
    }

    fn new(is_directed: bool) -> Self {
        Self {
            is_directed,
            out: Vec::new(),
            into: Vec::new(),
            landmarks: Vec::new(),
            from: Vec::new(),
            to: Vec::new(),
            affected: Affected::default(),
        }
    }

    /// The edge has this length from now on (at least 1), or is gone. How many distances are others now; loops are left out.
    ///
    /// ```
    /// use hsw_landmark::Ways;
    /// let mut ways = Ways::directed();
    /// ways.follow(&[0]);
    /// ways.set(0, 1, Some(3));
    /// assert_eq!(ways.set(1, 2, Some(1)), 1);
    /// assert_eq!((ways.from(0, 2), ways.to(0, 2)), (Some(4), None));
    /// ```
    pub fn set(&mut self, u: u32, v: u32, length: Option<u8>) -> usize {
        if u == v {
            return 0;
        }
        self.reach(u.max(v));
        let length = length.map(|length| length.max(1));
        let n = self.arc(u, v, length);
        if self.is_directed {
            n
        } else {
            // Of an edge at most one direction lies on a shortest way, so no distance changes in both steps.
            n + self.arc(v, u, length)
        }
    }

    /// These are the landmarks from now on: columns of those that were there stay, the others are searched. O(new · m log n).
    pub fn follow(&mut self, landmarks: &[u32]) {
        if let Some(most) = landmarks.iter().max() {
            self.reach(*most);
        }
        let olds = std::mem::take(&mut self.landmarks);
        let mut from = std::mem::take(&mut self.from);
        let mut to = std::mem::take(&mut self.to);
        for landmark in landmarks {
            let known = olds.iter().position(|old| old == landmark);
            let column = known.map(|at| std::mem::take(&mut from[at]));
            // Named twice, the second has nothing left to take.
            let column = column.filter(|column| !column.is_empty());
            self.from
                .push(column.unwrap_or_else(|| search(&self.out, *landmark)));
            if self.is_directed {
                let column = known.map(|at| std::mem::take(&mut to[at]));
                let column = column.filter(|column| !column.is_empty());
                self.to
                    .push(column.unwrap_or_else(|| search(&self.into, *landmark)));
            }
        }
        self.landmarks = landmarks.to_vec();
    }

    /// The landmarks, in the order of columns.
    #[must_use]
    pub fn landmarks(&self) -> &[u32] {
        &self.landmarks
    }

    /// From the landmark of this column to `v`; `None` where no way leads, or nothing is known of either.
    #[must_use]
    pub fn from(&self, column: usize, v: u32) -> Option<u32> {
        distance(self.from.get(column)?, v)
    }

    /// From `v` to the landmark of this column.
    #[must_use]
    pub fn to(&self, column: usize, v: u32) -> Option<u32> {
        let columns = if self.is_directed {
            &self.to
        } else {
            &self.from
        };
        distance(columns.get(column)?, v)
    }

    /// Whether all distances are those of a search from scratch: for tests and for those who want to be sure.
    #[must_use]
    pub fn is_true(&self) -> bool {
        let holds = |columns: &[Vec<u32>], arcs: &Arcs| {
            let mut pairs = self.landmarks.iter().zip(columns);
            pairs.all(|(landmark, column)| *column == search(arcs, *landmark))
        };
        holds(&self.from, &self.out) && holds(&self.to, &self.into)
    }

    fn reach(&mut self, v: u32) {
        let n = v as usize + 1;
        if n <= self.out.len() {
            return;
        }
        self.out.resize(n, Vec::new());
        self.into.resize(n, Vec::new());
        self.affected.marks.resize(n, 0);
        for column in self.from.iter_mut().chain(&mut self.to) {
            column.resize(n, NO_WAY);
        }
    }

    fn arc(&mut self, u: u32, v: u32, length: Option<u8>) -> usize {
        let was = put(&mut self.out[u as usize], v, length);
        put(&mut self.into[v as usize], u, length);
        if was == length {
            return 0;
        }
        let (mut n, affected) = (0, &mut self.affected);
        for column in &mut self.from {
            n += affected.change(column, (&self.out, &self.into), (u, v), (was, length));
        }
        for column in &mut self.to {
            n += affected.change(column, (&self.into, &self.out), (v, u), (was, length));
        }
        n
    }
}

fn distance(column: &[u32], v: u32) -> Option<u32> {
    column.get(v as usize).copied().filter(|d| *d != NO_WAY)
}

/// Puts an arc's end in, changes its length or takes it out; which length it had.
fn put(list: &mut Vec<(u32, u8)>, end: u32, length: Option<u8>) -> Option<u8> {
    match (list.binary_search_by_key(&end, |(w, _)| *w), length) {
        (Ok(at), Some(length)) => Some(std::mem::replace(&mut list[at].1, length)),
        (Ok(at), None) => Some(list.remove(at).1),
        (Err(at), Some(length)) => {
            list.insert(at, (end, length));
            None
        }
        (Err(_), None) => None,
    }
}

/// Dijkstra 1959. O(m log n).
fn search(arcs: &Arcs, source: u32) -> Vec<u32> {
    let mut column = vec![NO_WAY; arcs.len()];
    column[source as usize] = 0;
    let heap = BinaryHeap::from([Reverse((0, source))]);
    settle(&mut column, arcs, heap, |_| true, |_| ());
    column
}

/// Lowers distances along arcs from those in the heap, at vertices that `may`; says each time which.
fn settle(
    column: &mut [u32],
    out: &Arcs,
    mut heap: BinaryHeap<Reverse<(u32, u32)>>,
    may: impl Fn(u32) -> bool,
    mut lowered: impl FnMut(u32),
) {
    while let Some(Reverse((d, x))) = heap.pop() {
        if column[x as usize] < d {
            continue;
        }
        for (y, length) in &out[x as usize] {
            let next = d.saturating_add(u32::from(*length));
            if next < column[*y as usize] && may(*y) {
                column[*y as usize] = next;
                lowered(*y);
                heap.push(Reverse((next, *y)));
            }
        }
    }
}

impl Affected {
    /// What an arc's other length does to one column; how many distances change. `out` and `into` hold the new length already.
    fn change(
        &mut self,
        column: &mut [u32],
        (out, into): (&Arcs, &Arcs),
        (u, v): (u32, u32),
        (was, now): (Option<u8>, Option<u8>),
    ) -> usize {
        let by = |length: Option<u8>| {
            length.map_or(NO_WAY, |length| {
                column[u as usize].saturating_add(u32::from(length))
            })
        };
        let here = column[v as usize];
        if by(now) < here {
            column[v as usize] = by(now);
            self.nearer(column, out, v)
        } else if by(was) == here && here != NO_WAY && by(now) > here {
            self.further(column, out, into, v)
        } else {
            0
        }
    }

    fn begin(&mut self) {
        self.mark += 1;
        self.list.clear();
    }

    /// `v` has just come nearer.
    fn nearer(&mut self, column: &mut [u32], out: &Arcs, v: u32) -> usize {
        self.begin();
        let (marks, mark) = (&mut self.marks, self.mark);
        marks[v as usize] = mark;
        let mut n = 1;
        let heap = BinaryHeap::from([Reverse((column[v as usize], v))]);
        settle(
            column,
            out,
            heap,
            |_| true,
            |y| {
                n += usize::from(std::mem::replace(&mut marks[y as usize], mark) != mark);
            },
        );
        n
    }

    /// `v` may have lost the way it was reached by.
    fn further(&mut self, column: &mut [u32], out: &Arcs, into: &Arcs, v: u32) -> usize {
        self.begin();
        // By rising distance: whoever could hold a vertex where it is has been judged before it (lengths are at least 1).
        let mut heap = BinaryHeap::from([Reverse((column[v as usize], v))]);
        while let Some(Reverse((here, x))) = heap.pop() {
            if self.has(x) || self.is_held(column, into, x) {
                continue;
            }
            self.marks[x as usize] = self.mark;
            self.list.push(x);
            for (y, length) in &out[x as usize] {
                let there = column[*y as usize];
                if there == here.saturating_add(u32::from(*length)) && !self.has(*y) {
                    heap.push(Reverse((there, *y)));
                }
            }
        }
        heap.clear();
        for x in &self.list {
            let ways = into[*x as usize].iter().filter(|(z, _)| !self.has(*z));
            let ways =
                ways.map(|(z, length)| column[*z as usize].saturating_add(u32::from(*length)));
            let nearest = ways.min().unwrap_or(NO_WAY);
            column[*x as usize] = nearest;
            if nearest != NO_WAY {
                heap.push(Reverse((nearest, *x)));
            }
        }
        settle(column, out, heap, |y| self.has(y), |_| ());
        self.list.len()
    }

    fn has(&self, v: u32) -> bool {
        self.marks[v as usize] == self.mark
    }

    /// Whether an unaffected vertex still reaches `x` at its old distance.
    fn is_held(&self, column: &[u32], into: &Arcs, x: u32) -> bool {
        let here = column[x as usize];
        let mut ways = into[x as usize].iter();
        ways.any(|(z, length)| {
            let there = column[*z as usize];
            !self.has(*z) && there != NO_WAY && there + u32::from(*length) == here
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// All pairs by Floyd 1962: shares nothing with what is tested.
    fn everything(n: u32, arcs: &BTreeMap<(u32, u32), u8>) -> Vec<Vec<Option<u32>>> {
        let n = n as usize;
        let mut d = vec![vec![None; n]; n];
        for (v, row) in d.iter_mut().enumerate() {
            row[v] = Some(0);
        }
        for ((u, v), length) in arcs {
            d[*u as usize][*v as usize] = Some(u32::from(*length));
        }
        for by in 0..n {
            for u in 0..n {
                for v in 0..n {
                    if let (Some(a), Some(b)) = (d[u][by], d[by][v])
                        && d[u][v].is_none_or(|old| a + b < old)
                    {
                        d[u][v] = Some(a + b);
                    }
                }
            }
        }
        d
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn prop_after_every_event_all_ways_are_as_from_scratch(
            is_directed: bool,
            events in prop::collection::vec((0..14_u32, 0..14_u32, prop::option::weighted(0.6, 1..6_u8)), 1..90),
            landmarks in prop::collection::vec(prop::collection::vec(0..14_u32, 0..4), 1..4),
        ) {
            let mut ways = Ways::new(is_directed);
            ways.reach(13);
            let mut arcs: BTreeMap<(u32, u32), u8> = BTreeMap::new();
            let mut before = everything(14, &arcs);
            for (at, (u, v, length)) in events.into_iter().enumerate() {
                if at % 20 == 0 {
                    ways.follow(&landmarks[(at / 20) % landmarks.len()]);
                }
                let n_changed = ways.set(u, v, length);
                for (u, v) in [(u, v), (v, u)].into_iter().take(if is_directed { 1 } else { 2 }) {
                    match length {
                        _ if u == v => {}
                        Some(length) => drop(arcs.insert((u, v), length)),
                        None => drop(arcs.remove(&(u, v))),
                    }
                }
                let now = everything(14, &arcs);
                let mut n_others = 0;
                for (column, landmark) in ways.landmarks().to_vec().into_iter().enumerate() {
                    for v in 0..14 {
                        let (l, at) = (landmark as usize, v as usize);
                        prop_assert_eq!(ways.from(column, v), now[l][at]);
                        prop_assert_eq!(ways.to(column, v), now[at][l]);
                        n_others += usize::from(now[l][at] != before[l][at]);
                        n_others += usize::from(is_directed && now[at][l] != before[at][l]);
                    }
                }
                prop_assert_eq!(n_changed, n_others);
                prop_assert!(ways.is_true());
                before = now;
            }
        }
    }

    #[test]
    fn an_edge_that_grows_longer_gives_way_to_another_and_comes_back() {
        let mut ways = Ways::undirected();
        ways.follow(&[0]);
        for (u, v) in [(0, 1), (1, 2), (0, 3), (3, 2)] {
            ways.set(u, v, Some(2));
        }
        assert_eq!(ways.from(0, 2), Some(4));
        assert_eq!(ways.set(1, 2, Some(9)), 0, "the other way is as short");
        assert_eq!(ways.set(0, 3, Some(5)), 2);
        assert_eq!((ways.from(0, 3), ways.to(0, 2)), (Some(5), Some(7)));
        assert_eq!(ways.set(1, 2, Some(1)), 1);
        assert_eq!(ways.from(0, 2), Some(3));
        assert_eq!(ways.set(7, 7, Some(1)), 0);
    }
}
