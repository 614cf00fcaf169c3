//! A set chosen from scratch a slice of work at a time, so that nobody waits for it.
//!
//! In: a graph as it was, one vertex for each class of twins. Out, once enough slices were worked: landmarks that tell these apart, one at
//! least in each component. Invariant: RN-1 slices change nothing but when it is finished. Limits: [`CELLS_MAX`] distances: beyond them
//! the candidates are the landmarks there were and the best connected vertices. Greedy by information content, then pruned (`choose`).
//! Does not: search for the smallest set, as `choose` does where the graph is small: that takes a second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::classes::{Classes, Counts};
use crate::distance::{FAR, LANES, Matrix};
use crate::improve::hash;
use crate::topology::{Compact, Topology};
use crate::tracked::are_apart;

/// Distances held at a time: 32 MiB.
const CELLS_MAX: usize = 1 << 24;
/// What a distance that is searched costs of a slice, in looks at one.
const SEARCH_WORK: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Distances of candidates from this one on.
    Search(usize),
    Greedy,
    /// Whether this one, counted from the first chosen, can go.
    Prune(usize),
    Anchor,
    Done,
}

/// See the file's header.
#[derive(Debug)]
pub struct Renewal {
    /// Numbers in the graph.
    parts: Vec<u32>,
    /// How far a landmark is from who stands for its class then.
    own: Vec<u16>,
    compact: Compact,
    /// Places in `parts`, ascending.
    candidates: Vec<u32>,
    /// Of one candidate after the other, how far each part is.
    columns: Vec<u16>,
    classes: Classes,
    counts: Counts,
    heap: BinaryHeap<(u64, Reverse<u32>, usize)>,
    /// Places in `candidates`, in the order they were chosen.
    chosen: Vec<u32>,
    signatures: Vec<u128>,
    anchors: Vec<u32>,
    stage: Stage,
}

impl Renewal {
    /// Of the vertices `parts` (ascending) of a graph, each with its `own` distance as a landmark and its colour. `known` were landmarks.
    pub(crate) fn new(
        graph: &Topology,
        parts: Vec<u32>,
        own: Vec<u16>,
        colours: &[u32],
        known: &[u32],
    ) -> Self {
        let n = parts.len();
        let mut numbers = vec![u32::MAX; graph.n()];
        for (at, v) in parts.iter().enumerate() {
            numbers[*v as usize] = at as u32;
        }
        let numbers = &numbers;
        let edges = parts.iter().flat_map(|u| {
            let list = graph.neighbours(*u).iter().filter(move |v| u < v);
            list.map(move |v| (numbers[*u as usize], numbers[*v as usize]))
        });
        // Those that another stands for have no number, which is beyond the end.
        let topology = Topology::with_edges(n, edges);
        let known = known.iter().map(|v| numbers[*v as usize]);
        let known: Vec<u32> = known.filter(|at| *at != u32::MAX).collect();
        let candidates = candidates(&topology, &known);
        let heap = (0..candidates.len() as u32).map(|c| (u64::MAX, Reverse(c), usize::MAX));
        let signature = |colour: &u32| hash(u32::MAX, 0).wrapping_mul(u128::from(*colour) + 1);
        Self {
            own,
            compact: topology.compact(),
            columns: vec![FAR; n * candidates.len()],
            classes: Classes::new(n, Some(colours)),
            counts: Counts::new(),
            heap: heap.collect(),
            chosen: Vec::new(),
            signatures: colours.iter().map(signature).collect(),
            anchors: Vec::new(),
            stage: Stage::Search(0),
            candidates,
            parts,
        }
    }

    /// Works on for about so many looks at a vertex; the landmarks once all is done, ascending.
    pub fn work(&mut self, n_looks: usize) -> Option<Vec<u32>> {
        let mut left = n_looks;
        loop {
            let spent = match self.stage {
                Stage::Search(from) => self.search(from),
                Stage::Greedy => self.choose(),
                Stage::Prune(at) => self.prune(at),
                Stage::Anchor => self.anchor(),
                Stage::Done => {
                    let chosen = self.chosen.iter().map(|c| self.candidates[*c as usize]);
                    let all = chosen.chain(self.anchors.iter().copied());
                    let mut landmarks: Vec<u32> = all.map(|at| self.parts[at as usize]).collect();
                    landmarks.sort_unstable();
                    return Some(landmarks);
                }
            };
            left = left.checked_sub(spent.max(1))?;
        }
    }

    /// Works to the end. Of `n` parts and `k` landmarks O(n·m/64 + k·n²) at worst.
    #[must_use]
    pub fn finished(mut self) -> Vec<u32> {
        loop {
            if let Some(landmarks) = self.work(usize::MAX) {
                return landmarks;
            }
        }
    }

    fn search(&mut self, from: usize) -> usize {
        let n = self.parts.len();
        let to = (from + LANES).min(self.candidates.len());
        let block = &self.candidates[from..to];
        if block.is_empty() {
            self.stage = Stage::Greedy;
            return 1;
        }
        let mut matrix = Matrix::of_compact(&self.compact, block);
        for (lane, v) in block.iter().enumerate() {
            matrix.row_mut(*v)[lane] = self.own[*v as usize];
        }
        let columns = &mut self.columns[from * n..to * n];
        for v in 0..n {
            for (lane, d) in matrix.row(v as u32).iter().enumerate() {
                columns[lane * n + v] = *d;
            }
        }
        self.stage = Stage::Search(to);
        block.len() * n * SEARCH_WORK
    }

    fn column(&self, candidate: u32) -> &[u16] {
        let n = self.parts.len();
        &self.columns[candidate as usize * n..(candidate as usize + 1) * n]
    }

    /// One look at a candidate, as `choose` does.
    fn choose(&mut self) -> usize {
        let next = if self.classes.is_resolved() {
            None
        } else {
            self.heap.pop()
        };
        let n_left = self.parts.len() - self.classes.n_alone();
        let n = self.parts.len();
        let Some((_, Reverse(candidate), round)) = next.filter(|(gain, ..)| *gain > 0) else {
            self.sign();
            return self.chosen.len() * n;
        };
        let at = candidate as usize * n;
        let column = &self.columns[at..at + n];
        if round == self.chosen.len() {
            self.classes.split(|v| column[v as usize]);
            self.chosen.push(candidate);
            // Splitting sorts.
            4 * n_left
        } else {
            let gain = self.classes.gain(|v| column[v as usize], &mut self.counts);
            self.heap
                .push((gain, Reverse(candidate), self.chosen.len()));
            n_left
        }
    }

    fn sign(&mut self) {
        for candidate in self.chosen.clone() {
            self.toggle(candidate);
        }
        self.stage = Stage::Prune(self.chosen.len());
    }

    /// Takes a candidate into all signatures, or out of them.
    fn toggle(&mut self, candidate: u32) {
        let n = self.parts.len();
        let at = candidate as usize * n;
        let column = &self.columns[at..at + n];
        for (signature, d) in self.signatures.iter_mut().zip(column) {
            *signature ^= hash(candidate, *d);
        }
    }

    /// The newest first: it goes where all are told apart without it.
    fn prune(&mut self, end: usize) -> usize {
        let n = self.parts.len();
        let is_possible = self.classes.is_resolved();
        let Some(at) = end.checked_sub(1).filter(|_| is_possible) else {
            self.stage = Stage::Anchor;
            return 1;
        };
        let candidate = self.chosen[at];
        let column = self.column(candidate);
        let rests = self.signatures.iter().zip(column);
        if are_apart(rests.map(|(s, d)| s ^ hash(candidate, *d)), n) {
            self.toggle(candidate);
            self.chosen.remove(at);
        }
        self.stage = Stage::Prune(at);
        n
    }

    /// The best connected vertex of each component that has none yet.
    fn anchor(&mut self) -> usize {
        let n = self.parts.len();
        let mut is_near = vec![false; n];
        let near = self.chosen.iter().map(|c| self.candidates[*c as usize]);
        let mut stack: Vec<u32> = near.collect();
        self.best_of(&mut stack, &mut is_near);
        for start in 0..n as u32 {
            if !is_near[start as usize] {
                stack.push(start);
                let best = self.best_of(&mut stack, &mut is_near);
                self.anchors.extend(best);
            }
        }
        self.stage = Stage::Done;
        n
    }

    /// Marks what can be reached; the best connected of it, of equal ones the first.
    fn best_of(&self, stack: &mut Vec<u32>, is_near: &mut [bool]) -> Option<u32> {
        let mut best = None;
        while let Some(v) = stack.pop() {
            if !std::mem::replace(&mut is_near[v as usize], true) {
                let list = self.compact.neighbours(v as usize);
                best = best.max(Some((list.len(), Reverse(v))));
                stack.extend(list);
            }
        }
        best.map(|(_, Reverse(v))| v)
    }
}

/// All, or as many as may be: those known, then by degree; ascending.
fn candidates(graph: &Topology, known: &[u32]) -> Vec<u32> {
    let n = graph.n();
    let mut all: Vec<u32> = (0..n as u32).collect();
    let n_most = (CELLS_MAX / n.max(1)).max(LANES);
    if n_most < n {
        let mut is_known = vec![false; n];
        known.iter().for_each(|v| is_known[*v as usize] = true);
        let rank = |v: &u32| {
            let degree = graph.neighbours(*v).len();
            (Reverse((is_known[*v as usize], degree)), *v)
        };
        all.sort_by_key(rank);
        all.truncate(n_most);
        all.sort_unstable();
    }
    all
}

#[cfg(test)]
mod tests {
    use crate::distance::tests::graphs;
    use crate::{Aim, Topology, Tracked};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_slices_change_nothing_but_when_it_is_finished(graph in graphs(40), n_looks in 1..10_usize) {
            let tracked = Tracked::with_landmarks(graph, Vec::new());
            let whole = tracked.renewal().finished();
            let mut sliced = tracked.renewal();
            let mut n_slices = 1;
            let last = loop {
                if let Some(landmarks) = sliced.work(n_looks) {
                    break landmarks;
                }
                n_slices += 1;
            };
            prop_assert_eq!(&last, &whole);
            prop_assert!(tracked.graph().m() == 0 || n_slices > 1);
            let tracked = Tracked::with_landmarks(tracked.graph().clone(), whole);
            prop_assert!(tracked.is_resolved());
        }
    }

    #[test]
    fn leaves_of_a_star_stay_together_and_the_centre_is_the_place_they_have() {
        let star = Topology::with_edges(9, (1..9).map(|v| (0, v)));
        let aim = Aim {
            leaves_twins: true,
            ..Aim::default()
        };
        // Centre and leaves are not of one colour.
        let colours = [1, 0, 0, 0, 0, 0, 0, 0, 0];
        let tracked = Tracked::aimed(star, &colours, aim);
        assert_eq!(tracked.landmarks(), [0]);
        assert_eq!((tracked.n_twins(), tracked.n_alone()), ((8, 1), 1));
        assert!(tracked.is_resolved());
    }
}
