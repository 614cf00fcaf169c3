//! Landmarks kept resolving while edges come and go: distances exact after every event, work by what changes.
//!
//! In: edges that come and go. Out: distances, a set that still tells all connected vertices apart.
//! Invariants: TR-1 distances are those of a search from scratch. TR-2 after [`Tracked::repair`] no two vertices with an edge and of one
//! colour have equal distances to all landmarks (as many as [`Aim`] says; still so when any one landmark is lost, where it says so).
//! TR-3 the epoch changes with the set: who compares vectors compares epochs first.
//! A vertex without edges takes no part: it is told apart by having none, and is no landmark.
//! Limits: ways up to 65,533 hops. Cost of an event: columns, and edges of vertices whose distance changes (Ramalingam, Reps, J.
//! Algorithms 21, 1996, for unit weights); no bound below that can hold: closing a long path changes half of all entries.

mod keep;

mod told;
pub use told::{Aim, Changed, Kept, Step};

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::buckets::Buckets;
use crate::choose::{Goal, choose};
use crate::distance::{FAR, Matrix};
use crate::improve::hash;
use crate::spares::Spares;
use crate::topology::Topology;

/// A graph with its landmarks. See the module's header.
#[derive(Debug)]
pub struct Tracked {
    graph: Topology,
    landmarks: Vec<u32>,
    matrix: Matrix,
    /// What is known of each vertex without asking; 0 where nothing was said.
    colours: Vec<u32>,
    aim: Aim,
    signatures: Vec<u128>,
    buckets: Buckets,
    /// Signatures without each landmark, where losses are to be survived.
    spares: Option<Spares>,
    epoch: u64,
    /// Vertices whose signature changes in this event, and which it was.
    moved: Vec<(u32, u128)>,
    /// Distances that the last event changed, in the order they did.
    steps: Vec<Step>,
    marks: Vec<u32>,
    mark: u32,
    /// Landmarks when last chosen or pruned, and events since.
    baseline: usize,
    n_since: usize,
}

impl Tracked {
    /// Chooses landmarks for the graph as it is.
    #[must_use]
    pub fn new(graph: Topology) -> Self {
        Self::aimed(graph, &[], Aim::default())
    }

    /// Chooses landmarks for the graph as it is, that tell vertices of one colour apart as far as `aim` says; vertices beyond the end of
    /// `colours` are of colour 0.
    #[must_use]
    pub fn aimed(graph: Topology, colours: &[u32], aim: Aim) -> Self {
        let mut tracked = Self::with_landmarks(graph, Vec::new());
        let n = tracked.colours.len().min(colours.len());
        tracked.colours[..n].copy_from_slice(&colours[..n]);
        tracked.aim = aim;
        tracked.spares = aim.is_fault_tolerant.then(Spares::default);
        tracked.swap(tracked.chosen_anew());
        tracked
    }

    /// With these landmarks, whether they tell all vertices apart or not.
    #[must_use]
    pub fn with_landmarks(graph: Topology, landmarks: Vec<u32>) -> Self {
        let n = graph.n();
        let mut tracked = Self {
            graph,
            landmarks: Vec::new(),
            matrix: Matrix::default(),
            colours: vec![0; n],
            aim: Aim::default(),
            signatures: vec![0; n],
            buckets: Buckets::default(),
            spares: None,
            epoch: 0,
            moved: Vec::new(),
            steps: Vec::new(),
            marks: vec![0; n],
            mark: 0,
            baseline: 0,
            n_since: 0,
        };
        tracked.swap(landmarks);
        tracked
    }

    /// The graph.
    #[must_use]
    pub const fn graph(&self) -> &Topology {
        &self.graph
    }

    /// The landmarks, in the order of [`Self::distances`].
    #[must_use]
    pub fn landmarks(&self) -> &[u32] {
        &self.landmarks
    }

    /// Distances of a vertex to the landmarks; [`FAR`] where no way leads.
    #[must_use]
    pub fn distances(&self, v: u32) -> &[u16] {
        self.matrix.row(v)
    }

    /// Changes whenever the set does.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether all vertices with an edge are told apart from the others of their colour.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.buckets.together().next().is_none()
    }

    /// A vertex's colour; 0 where nothing was said.
    #[must_use]
    pub fn colour(&self, v: u32) -> u32 {
        self.colours.get(v as usize).copied().unwrap_or(0)
    }

    /// A vertex has this colour from now on. O(log n), with losses to be survived O(k log n).
    pub fn paint(&mut self, v: u32, colour: u32) {
        self.reach(v);
        if self.colours[v as usize] == colour {
            return;
        }
        let was = self.signatures[v as usize];
        self.colours[v as usize] = colour;
        self.signatures[v as usize] = self.signature(v);
        if self.takes_part(v) {
            self.buckets.leave(v, was);
            self.join(v);
        }
    }

    /// A set chosen from scratch for the graph as it is: for comparison, or to be [swapped](Self::swap) in. As dear as a start.
    #[must_use]
    pub fn chosen_anew(&self) -> Vec<u32> {
        let parts: Vec<u32> = (0..self.graph.n() as u32)
            .filter(|v| self.takes_part(*v))
            .collect();
        let number = |v: u32| parts.partition_point(|part| *part < v) as u32;
        let edges = parts.iter().flat_map(|u| {
            let list = self.graph.neighbours(*u).iter().filter(move |v| u < v);
            list.map(move |v| (number(*u), number(*v)))
        });
        let part = Topology::with_edges(parts.len(), edges);
        let colours: Vec<u32> = parts.iter().map(|v| self.colour(*v)).collect();
        let goal = Goal {
            colours: Some(&colours),
            target: self.target(),
            is_fault_tolerant: self.aim.is_fault_tolerant,
        };
        let choice = choose(&part, goal);
        choice
            .landmarks
            .iter()
            .map(|v| parts[*v as usize])
            .collect()
    }

    /// Puts other landmarks in the place of all. O(n·k).
    pub fn swap(&mut self, landmarks: Vec<u32>) {
        self.landmarks = landmarks;
        self.matrix = Matrix::of(&self.graph, &self.landmarks);
        self.baseline = self.landmarks.len();
        self.n_since = 0;
        self.epoch += 1;
        self.sign_all();
    }

    /// Distances that the last event changed, step by step.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// An edge comes; nothing where it is there already.
    pub fn insert(&mut self, u: u32, v: u32) -> Changed {
        self.steps.clear();
        self.reach(u.max(v));
        let new: Vec<u32> = [u, v]
            .into_iter()
            .filter(|w| !self.takes_part(*w))
            .collect();
        if !self.graph.insert(u, v) {
            return Changed::default();
        }
        for w in new {
            self.signatures[w as usize] = self.signature(w);
            self.join(w);
        }
        let mut n_entries = 0;
        for column in 0..self.landmarks.len() {
            let (a, b) = (self.matrix.row(u)[column], self.matrix.row(v)[column]);
            let (near, far) = if a <= b { (u, v) } else { (v, u) };
            if a.min(b).saturating_add(1) < a.max(b) {
                n_entries += self.come_nearer(column, near, far);
            }
        }
        self.rebucket(n_entries)
    }

    /// An edge goes; nothing where there is none.
    pub fn remove(&mut self, u: u32, v: u32) -> Changed {
        self.steps.clear();
        if !self.graph.remove(u, v) {
            return Changed::default();
        }
        let mut n_entries = 0;
        for column in 0..self.landmarks.len() {
            let (a, b) = (self.matrix.row(u)[column], self.matrix.row(v)[column]);
            if a != b {
                let deeper = if a > b { u } else { v };
                n_entries += self.go_further(column, deeper);
            }
        }
        let changed = self.rebucket(n_entries);
        let left: Vec<u32> = [u, v]
            .into_iter()
            .filter(|w| !self.takes_part(*w))
            .collect();
        // Both leave before any signature changes.
        left.iter().for_each(|w| self.leave(*w));
        for w in left {
            if let Some(at) = self.landmarks.iter().position(|l| *l == w) {
                self.drop_landmark(at);
            }
        }
        changed
    }

    fn reach(&mut self, v: u32) {
        while v as usize >= self.graph.n() {
            self.graph.add_vertex();
            self.matrix.add_vertex();
            self.colours.push(0);
            self.signatures.push(0);
            self.marks.push(0);
        }
    }

    fn takes_part(&self, v: u32) -> bool {
        !self.graph.neighbours(v).is_empty()
    }

    /// Distances from `near`, which has just become a neighbour of `far`.
    fn come_nearer(&mut self, column: usize, near: u32, far: u32) -> usize {
        let next = self.matrix.row(near)[column] + 1;
        self.set(far, column, next);
        let mut n = 1;
        let mut queue = VecDeque::from([far]);
        while let Some(x) = queue.pop_front() {
            let next = self.matrix.row(x)[column] + 1;
            for at in 0..self.graph.neighbours(x).len() {
                let y = self.graph.neighbours(x)[at];
                if self.matrix.row(y)[column] > next {
                    self.set(y, column, next);
                    n += 1;
                    queue.push_back(y);
                }
            }
        }
        n
    }

    /// Distances after `deeper` has lost a neighbour that was nearer.
    fn go_further(&mut self, column: usize, deeper: u32) -> usize {
        if self.has_nearer(column, deeper, 0) {
            return 0;
        }
        // Level by level: whoever has nobody nearer left that is not affected itself.
        self.mark += 1;
        let mark = self.mark;
        self.marks[deeper as usize] = mark;
        let mut affected = vec![deeper];
        let mut at = 0;
        while at < affected.len() {
            let x = affected[at];
            at += 1;
            let next = self.matrix.row(x)[column].saturating_add(1);
            for place in 0..self.graph.neighbours(x).len() {
                let y = self.graph.neighbours(x)[place];
                let is_next = self.matrix.row(y)[column] == next && next != FAR;
                if is_next && self.marks[y as usize] != mark && !self.has_nearer(column, y, mark) {
                    self.marks[y as usize] = mark;
                    affected.push(y);
                }
            }
        }
        let before: Vec<u16> = affected
            .iter()
            .map(|x| self.matrix.row(*x)[column])
            .collect();
        let mut heap = BinaryHeap::new();
        for x in &affected {
            let list = self.graph.neighbours(*x).iter();
            let others = list.filter(|y| self.marks[**y as usize] != mark);
            let nearest = others.map(|y| self.matrix.row(*y)[column]).min();
            let nearest = nearest.map_or(FAR, |d| d.saturating_add(1));
            self.matrix.row_mut(*x)[column] = nearest;
            if nearest != FAR {
                heap.push(Reverse((nearest, *x)));
            }
        }
        while let Some(Reverse((d, x))) = heap.pop() {
            if self.matrix.row(x)[column] < d {
                continue;
            }
            for place in 0..self.graph.neighbours(x).len() {
                let y = self.graph.neighbours(x)[place];
                let cell = &mut self.matrix.row_mut(y)[column];
                if self.marks[y as usize] == mark && *cell > d + 1 {
                    *cell = d + 1;
                    heap.push(Reverse((d + 1, y)));
                }
            }
        }
        for (x, was) in affected.iter().zip(before) {
            let now = self.matrix.row(*x)[column];
            self.resign(*x, column, was, now);
        }
        affected.len()
    }

    /// Whether a neighbour that is not marked lies one nearer.
    fn has_nearer(&self, column: usize, v: u32, mark: u32) -> bool {
        let Some(nearer) = self.matrix.row(v)[column].checked_sub(1) else {
            return true;
        };
        let mut list = self.graph.neighbours(v).iter();
        list.any(|w| {
            self.matrix.row(*w)[column] == nearer && (mark == 0 || self.marks[*w as usize] != mark)
        })
    }

    fn set(&mut self, v: u32, column: usize, distance: u16) {
        let was = std::mem::replace(&mut self.matrix.row_mut(v)[column], distance);
        self.resign(v, column, was, distance);
    }

    fn resign(&mut self, v: u32, column: usize, was: u16, now: u16) {
        let landmark = self.landmarks[column];
        let before = self.signatures[v as usize];
        self.moved.push((v, before));
        self.steps.push(Step {
            vertex: v,
            landmark,
            was,
            now,
        });
        self.signatures[v as usize] = before ^ hash(landmark, was) ^ hash(landmark, now);
    }

    /// Moves the vertices of this event into the buckets of their signatures.
    fn rebucket(&mut self, n_entries: usize) -> Changed {
        let mut moved = std::mem::take(&mut self.moved);
        // The first of a vertex's changes has the signature it is listed under.
        moved.sort_by_key(|(v, _)| *v);
        moved.dedup_by_key(|(v, _)| *v);
        for (v, was) in &moved {
            if self.signatures[*v as usize] != *was {
                self.buckets.leave(*v, *was);
                self.join(*v);
            }
        }
        let n_vertices = moved.len();
        moved.clear();
        self.moved = moved;
        Changed {
            n_entries,
            n_vertices,
        }
    }

    fn signature(&self, v: u32) -> u128 {
        let row = self.matrix.row(v).iter().zip(&self.landmarks);
        row.fold(self.start(v), |sum, (d, l)| sum ^ hash(*l, *d))
    }

    /// What a vertex's signature begins with: its colour.
    fn start(&self, v: u32) -> u128 {
        hash(u32::MAX, 0).wrapping_mul(u128::from(self.colour(v)))
    }

    fn sign_all(&mut self) {
        self.buckets.clear();
        self.spares.iter_mut().for_each(Spares::clear);
        for v in 0..self.graph.n() as u32 {
            self.signatures[v as usize] = self.signature(v);
            if self.takes_part(v) {
                self.join(v);
            }
        }
    }

    fn add_landmark(&mut self, landmark: u32) {
        self.matrix.add_column(&self.graph, landmark);
        self.landmarks.push(landmark);
        self.epoch += 1;
        let column = self.landmarks.len() - 1;
        self.sign(column, landmark);
        self.spare_all();
    }

    /// Signatures without each landmark, of all vertices anew. O(n·k log n).
    fn spare_all(&mut self) {
        let Some(spares) = &mut self.spares else {
            return;
        };
        spares.clear();
        for v in 0..self.graph.n() as u32 {
            if !self.graph.neighbours(v).is_empty() {
                let signature = self.signatures[v as usize];
                let row = self.matrix.row(v).iter().zip(&self.landmarks);
                spares.put(v, row.map(|(d, l)| (*l, signature ^ hash(*l, *d))));
            }
        }
    }

    fn drop_landmark(&mut self, at: usize) {
        let landmark = self.landmarks[at];
        self.sign(at, landmark);
        self.matrix.remove_column(at);
        self.landmarks.swap_remove(at);
        self.epoch += 1;
        self.spare_all();
    }

    /// Takes a column into all signatures, or out of them.
    fn sign(&mut self, column: usize, landmark: u32) {
        for v in 0..self.graph.n() as u32 {
            let was = self.signatures[v as usize];
            self.signatures[v as usize] = was ^ hash(landmark, self.matrix.row(v)[column]);
            if self.takes_part(v) {
                self.buckets.leave(v, was);
                self.buckets.join(v, self.signatures[v as usize]);
            }
        }
    }

    fn join(&mut self, v: u32) {
        let signature = self.signatures[v as usize];
        self.buckets.join(v, signature);
        if let Some(spares) = &mut self.spares {
            let row = self.matrix.row(v).iter().zip(&self.landmarks);
            spares.put(v, row.map(|(d, l)| (*l, signature ^ hash(*l, *d))));
        }
    }

    fn leave(&mut self, v: u32) {
        self.buckets.leave(v, self.signatures[v as usize]);
        if let Some(spares) = &mut self.spares {
            spares.put(v, std::iter::empty());
        }
    }
}

#[cfg(test)]
#[path = "tracked_tests.rs"]
mod tests;
