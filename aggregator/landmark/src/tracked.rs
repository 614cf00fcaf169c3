//! Landmarks kept resolving while edges come and go: distances exact after every event, work by what changes.
//!
//! In: edges that come and go. Out: distances, a set that still tells all connected vertices apart.
//! Invariants: TR-1 distances are those of a search from scratch. TR-2 after [`Tracked::repair`] no two vertices with an edge and of one
//! colour have equal distances to all landmarks (as many as [`Aim`] says; still so when any one landmark is lost, where it says so).
//! TR-3 the epoch changes with the set: who compares vectors compares epochs first.
//! TR-6 where [`Aim`] leaves twins together, one of each class stands for those of them that are no landmarks, and each component has a
//! landmark. A vertex without edges takes no part: it is told apart by having none, and is no landmark.
//! Limits: ways up to 65,533 hops. Cost of an event: columns, and edges of vertices whose distance changes (Ramalingam, Reps, J.
//! Algorithms 21, 1996, for unit weights); no bound below that can hold: closing a long path changes half of all entries.

mod ripple;

mod seats;

mod keep;
pub(crate) use keep::are_apart;

mod told;
pub use told::{Aim, Changed, Kept, Step};

use std::collections::BTreeSet;

use crate::buckets::Buckets;
use crate::choose::{Goal, choose};
use crate::distance::Matrix;
use crate::improve::hash;
use crate::spares::Spares;
use crate::topology::Topology;
use crate::twins::Twins;

/// A graph with its landmarks. See the module's header.
#[derive(Debug)]
pub struct Tracked {
    graph: Topology,
    landmarks: Vec<u32>,
    matrix: Matrix,
    /// What is known of each vertex without asking; 0 where nothing was said.
    colours: Vec<u32>,
    /// Colours that were ever given.
    palette: BTreeSet<u32>,
    aim: Aim,
    is_landmark: Vec<bool>,
    /// Who is in the buckets: all with edges; where twins are left together, one for each class.
    seated: Vec<bool>,
    /// Where twins are left together.
    twins: Option<Twins>,
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
        tracked.palette.extend(&tracked.colours);
        tracked.aim = aim;
        tracked.spares = aim.is_fault_tolerant.then(Spares::default);
        let leaves_twins = aim.leaves_twins && !aim.is_fault_tolerant;
        tracked.twins = leaves_twins.then(|| Twins::of(&tracked.graph, &tracked.colours));
        tracked.swap(tracked.chosen_anew());
        tracked.repair();
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
            palette: BTreeSet::from([0]),
            is_landmark: vec![false; n],
            seated: vec![false; n],
            twins: None,
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

    /// Distances of a vertex to the landmarks; `FAR` where no way leads.
    #[must_use]
    pub fn distances(&self, v: u32) -> &[u16] {
        self.matrix.row(v)
    }

    /// Changes whenever the set does.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether all vertices with an edge are told apart from the others of their colour; from those that are no twins of theirs, where
    /// those are left together.
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
        let exited = self.exit(&[v]);
        self.colours[v as usize] = colour;
        self.palette.insert(colour);
        self.signatures[v as usize] = self.signature(v);
        if self.seated[v as usize] {
            self.buckets.leave(v, was);
            self.join(v);
        }
        self.enter(&[v], exited);
    }

    /// A set chosen from scratch for the graph as it is: for comparison, or to be [swapped](Self::swap) in. As dear as a start.
    #[must_use]
    pub fn chosen_anew(&self) -> Vec<u32> {
        if self.twins.is_some() {
            return self.renewal().finished();
        }
        let parts: Vec<u32> = (0..self.graph.n() as u32)
            .filter(|v| self.has_edges(*v))
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
        self.is_landmark.fill(false);
        for l in &landmarks {
            self.is_landmark[*l as usize] = true;
        }
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
        if self.graph.neighbours(u).binary_search(&v).is_ok() || u == v {
            return Changed::default();
        }
        let exited = self.exit(&[u, v]);
        self.graph.insert(u, v);
        self.twins.iter_mut().for_each(|twins| twins.toggle(u, v));
        for w in [u, v] {
            if self.graph.neighbours(w).len() == 1 {
                self.signatures[w as usize] = self.signature(w);
            }
        }
        let mut n_entries = 0;
        for column in 0..self.landmarks.len() {
            let (a, b) = (self.matrix.row(u)[column], self.matrix.row(v)[column]);
            let (near, far) = if a <= b { (u, v) } else { (v, u) };
            if a.min(b).saturating_add(1) < a.max(b) {
                n_entries += self.come_nearer(column, near, far);
            }
        }
        let changed = self.rebucket(n_entries);
        self.enter(&[u, v], exited);
        changed
    }

    /// An edge goes; nothing where there is none.
    pub fn remove(&mut self, u: u32, v: u32) -> Changed {
        self.steps.clear();
        if self.graph.neighbours(u).binary_search(&v).is_err() {
            return Changed::default();
        }
        let exited = self.exit(&[u, v]);
        self.graph.remove(u, v);
        self.twins.iter_mut().for_each(|twins| twins.toggle(u, v));
        let mut n_entries = 0;
        for column in 0..self.landmarks.len() {
            let (a, b) = (self.matrix.row(u)[column], self.matrix.row(v)[column]);
            if a != b {
                let deeper = if a > b { u } else { v };
                n_entries += self.go_further(column, deeper);
            }
        }
        let changed = self.rebucket(n_entries);
        // Both leave before any signature changes.
        self.enter(&[u, v], exited);
        for w in [u, v]
            .into_iter()
            .filter(|w| !self.has_edges(*w))
            .collect::<Vec<u32>>()
        {
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
            self.is_landmark.push(false);
            self.seated.push(false);
            self.twins.iter_mut().for_each(Twins::add_vertex);
            self.signatures.push(0);
            self.marks.push(0);
        }
    }

    fn has_edges(&self, v: u32) -> bool {
        !self.graph.neighbours(v).is_empty()
    }

    /// Moves the vertices of this event into the buckets of their signatures.
    fn rebucket(&mut self, n_entries: usize) -> Changed {
        let mut moved = std::mem::take(&mut self.moved);
        // The first of a vertex's changes has the signature it is listed under.
        moved.sort_by_key(|(v, _)| *v);
        moved.dedup_by_key(|(v, _)| *v);
        for (v, was) in &moved {
            if self.seated[*v as usize] && self.signatures[*v as usize] != *was {
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
        Self::start_of(self.colour(v))
    }

    fn start_of(colour: u32) -> u128 {
        hash(u32::MAX, 0).wrapping_mul(u128::from(colour))
    }

    fn sign_all(&mut self) {
        self.buckets.clear();
        self.spares.iter_mut().for_each(Spares::clear);
        for v in 0..self.graph.n() as u32 {
            self.signatures[v as usize] = self.signature(v);
            self.seated[v as usize] = self.has_seat(v);
            if self.seated[v as usize] {
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
        self.elect(landmark, true);
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
        self.elect(landmark, false);
    }

    /// Takes a column into all signatures, or out of them.
    fn sign(&mut self, column: usize, landmark: u32) {
        for v in 0..self.graph.n() as u32 {
            let was = self.signatures[v as usize];
            self.signatures[v as usize] = was ^ hash(landmark, self.matrix.row(v)[column]);
            if self.seated[v as usize] {
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
