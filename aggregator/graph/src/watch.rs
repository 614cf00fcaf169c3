//! The graph over time: what came and went, and landmarks whose distances tell all vertices apart. (step 9)
//!
//! In: the graph as it stands, now and again. Out: a log of changes, landmarks kept resolving (by hops) through all of them, and
//! distances to them by hops, by latency and along directions.
//! Invariants: WA-1 the log and the distances are of the same graph: each difference is applied once. WA-2 what is there when the
//! watch begins is no change. WA-3 a set is chosen anew slice by slice, and readers see the old one or the new one. Limits:
//! [`N_CHANGES_MAX`] changes kept; numbers of vertices that are gone are given anew.
//! Pods of one service that talk to the same places are twins: only they themselves tell each other apart, at a landmark for each. They are
//! left together and counted; every component keeps one landmark at least, so that everybody has a place.

mod renew;
use renew::ANEW_SHARE;

mod told;
use told::colour;
pub use told::{Change, Distances};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hsw_landmark::{Aim, FAR, Renewal, Step, Topology, Tracked};
use hsw_types::{NodeId, ShardId, WallTime};

use crate::views::Views;
use crate::{EdgeId, Event, InteractionGraph, Quantity, Vertex, latency_class};

/// Changes remembered.
pub const N_CHANGES_MAX: usize = 2_000;
/// Agents tell their edges every two to ten seconds: what comes within a minute was there before.
const BEGINNING_US: i64 = 60 * 1_000_000;
/// After so many looks that changed something, and when it has grown, the set is chosen anew, a slice at a time.
const ANEW_EVERY: u32 = 12;
/// In the beginning, a look that brings this share of all edges, and more than a handful, begins anew instead of edge by edge.
const BULK_SHARE: usize = 4;
const BULK_MIN: usize = 64;
/// What is asked of landmarks.
const AIM: Aim = Aim {
    target: 1.0,
    is_fault_tolerant: false,
    leaves_twins: true,
};
/// Vertices that are gone are let go of when there are more of them than of the others by this much.
const GONE_MAX: usize = 1_000;

/// See the module's header.
#[derive(Debug)]
pub struct Watch {
    numbers: BTreeMap<Vertex, u32>,
    vertices: Vec<Vertex>,
    /// Edges of the log, each with its latency class.
    known: BTreeMap<EdgeId, u8>,
    /// Edges of the log between two vertices; those of the topology are there while there is one.
    between: BTreeMap<(u32, u32), u32>,
    /// Numbers of shards in colours, from 1.
    shards: BTreeMap<ShardId, u32>,
    tracked: Tracked,
    views: Views,
    changes: VecDeque<Change>,
    began: Option<WallTime>,
    n_looks: u32,
    /// Whether enough has changed for a set to be chosen anew; one that is being chosen, in the numbers of this generation.
    is_renewal_due: bool,
    /// Landmarks when last chosen anew.
    n_chosen: usize,
    renewal: Option<Renewal>,
    /// The number of the graph's next event.
    next_event: u64,
    /// Edges of the last look that came or went, and the distances each changed; vertices by number.
    moved: Vec<(EdgeId, Vec<Step>)>,
    /// How often vertices were numbered anew.
    generation: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            numbers: BTreeMap::new(),
            vertices: Vec::new(),
            known: BTreeMap::new(),
            between: BTreeMap::new(),
            shards: BTreeMap::new(),
            tracked: Tracked::aimed(Topology::new(0), &[], AIM),
            views: Views::default(),
            changes: VecDeque::new(),
            began: None,
            n_looks: 0,
            is_renewal_due: false,
            n_chosen: 0,
            renewal: None,
            next_event: 0,
            moved: Vec::new(),
            generation: 0,
        }
    }
}

impl Watch {
    /// As [`Self::follow_placed`], where no node's shard is known.
    pub fn follow(&mut self, graph: &InteractionGraph, now: WallTime) {
        self.follow_placed(graph, |_| None, now);
    }

    /// Takes over what is different from the last time. What kind a vertex is, and of a node or role its shard, need no landmark: only
    /// vertices of one such colour are told apart. O(edges + vertices), and what changes cost ([`Tracked`]).
    pub fn follow_placed<'a>(
        &mut self,
        graph: &InteractionGraph,
        shard_of: impl Fn(&NodeId) -> Option<&'a ShardId>,
        now: WallTime,
    ) {
        self.upkeep(graph, &shard_of);
        self.follow_changes(graph, &shard_of, now);
        self.renew();
    }

    /// What drifts without an edge coming or going: latency classes, and shards of nodes. O(edges + vertices).
    pub fn upkeep<'a>(
        &mut self,
        graph: &InteractionGraph,
        shard_of: &impl Fn(&NodeId) -> Option<&'a ShardId>,
    ) {
        self.reclass(graph);
        if self.paint(0, shard_of) > 0 {
            self.tracked.keep();
        }
        self.follow_landmarks();
    }

    /// Edges that came and went: the path from a change to its score. Work by what changed, while the graph knows what happened.
    pub fn follow_changes<'a>(
        &mut self,
        graph: &InteractionGraph,
        shard_of: &impl Fn(&NodeId) -> Option<&'a ShardId>,
        now: WallTime,
    ) {
        let is_beginning = match self.began {
            None => {
                self.began = (graph.edges().next().is_some()).then_some(now);
                true
            }
            Some(began) => now.0 - began.0 < BEGINNING_US,
        };
        self.moved.clear();
        let (gone, new) = self.differences(graph);
        if gone.is_empty() && new.is_empty() {
            return;
        }
        if is_beginning && new.len() > BULK_MIN.max(self.known.len() / BULK_SHARE) {
            self.known.retain(|edge, _| graph.has(edge));
            let new = new
                .into_iter()
                .map(|edge| (class_of(graph, &edge, None), edge));
            self.known.extend(new.map(|(class, edge)| (edge, class)));
            self.begin_anew(shard_of);
            self.follow_landmarks();
            return;
        }
        let n_known = self.vertices.len();
        for edge in gone {
            let n_distances = self.take_out(&edge);
            self.remember(&edge, n_distances);
            self.note(
                is_beginning,
                Change {
                    at: now,
                    edge,
                    came: false,
                    n_distances,
                },
            );
        }
        for edge in new {
            let n_distances = self.put_in(&edge, class_of(graph, &edge, None));
            self.remember(&edge, n_distances);
            self.note(
                is_beginning,
                Change {
                    at: now,
                    edge,
                    came: true,
                    n_distances,
                },
            );
        }
        self.paint(n_known, shard_of);
        self.tracked.keep();
        self.n_looks += 1;
        if self.vertices.len() > 2 * self.numbers_in_use() + GONE_MAX {
            self.begin_anew(shard_of);
        } else if self.renewal.is_none() {
            let n = self.tracked.landmarks().len();
            let has_grown = n > self.n_chosen + self.n_chosen / ANEW_SHARE;
            self.is_renewal_due |= has_grown || self.n_looks.is_multiple_of(ANEW_EVERY);
        }
        self.follow_landmarks();
    }

    /// Edges of the last look that changed distances, each with what it changed, in the order they did; vertices by number.
    #[must_use]
    pub fn moved(&self) -> &[(EdgeId, Vec<Step>)] {
        &self.moved
    }

    /// How often vertices were numbered anew: numbers of one generation mean the same vertices.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    fn remember(&mut self, edge: &EdgeId, n_distances: usize) {
        if n_distances > 0 {
            let steps = self.tracked.steps().to_vec();
            self.moved.push((edge.clone(), steps));
        }
    }

    /// Distances of a vertex in all views; `None` where it is not there. O(landmarks).
    #[must_use]
    pub fn distances(&self, vertex: &Vertex) -> Option<Distances> {
        let v = *self.numbers.get(vertex)?;
        if self.tracked.graph().neighbours(v).is_empty() {
            return None;
        }
        let hops = self.tracked.distances(v).iter();
        let hops = hops.map(|d| (*d != FAR).then_some(u32::from(*d)));
        let mut distances = Distances {
            hops: hops.collect(),
            ..Distances::default()
        };
        if self.views.is_kept() {
            for column in 0..self.tracked.landmarks().len() {
                let (from, to) = self.views.directed(column, v);
                distances.latency.push(self.views.weighted(column, v));
                distances.from.push(from);
                distances.to.push(to);
            }
        }
        Some(distances)
    }

    /// An edge's latency class; `None` where it is not there.
    #[must_use]
    pub fn class(&self, edge: &EdgeId) -> Option<u8> {
        self.known.get(edge).copied()
    }

    /// Takes over latency classes that are others now. O(edges).
    fn reclass(&mut self, graph: &InteractionGraph) {
        let mut others = Vec::new();
        for (id, was) in &mut self.known {
            if !graph.has(id) {
                continue;
            }
            let now = class_of(graph, id, Some(*was));
            if now != *was {
                others.push((id.clone(), *was, now));
                *was = now;
            }
        }
        for (edge, was, now) in others {
            let (from, to) = (self.number(&edge.from), self.number(&edge.to));
            self.views.reclass(from, to, was, now);
        }
    }

    fn follow_landmarks(&mut self) {
        let (landmarks, n) = (self.tracked.landmarks(), self.tracked.graph().n());
        self.views.follow(landmarks, self.tracked.epoch(), n);
    }

    /// Edges that went and that came since the last time, each ascending.
    fn differences(&mut self, graph: &InteractionGraph) -> (Vec<EdgeId>, Vec<EdgeId>) {
        let from = std::mem::replace(&mut self.next_event, graph.n_events());
        let touched: Option<BTreeSet<&EdgeId>> = graph.events(from).map(|events| {
            let ids = events.filter_map(|event| match event {
                Event::Came(id) | Event::Went(id) => Some(id),
                Event::Acted { .. } => None,
            });
            ids.collect()
        });
        if let Some(touched) = touched {
            let is_gone = |id: &&&EdgeId| self.known.contains_key(**id) && !graph.has(id);
            let is_new = |id: &&&EdgeId| !self.known.contains_key(**id) && graph.has(id);
            let gone: Vec<EdgeId> = touched
                .iter()
                .filter(is_gone)
                .map(|id| (*id).clone())
                .collect();
            let new: Vec<EdgeId> = touched
                .iter()
                .filter(is_new)
                .map(|id| (*id).clone())
                .collect();
            if self.known.len() + new.len() == graph.n_edges() + gone.len() {
                return (gone, new);
            }
        }
        let gone = self
            .known
            .keys()
            .filter(|id| !graph.has(id))
            .cloned()
            .collect();
        let new = graph.edges().map(|(id, _)| id);
        let new = new
            .filter(|id| !self.known.contains_key(id))
            .cloned()
            .collect();
        (gone, new)
    }

    /// Whether it has seen a graph with edges yet.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.began.is_some()
    }

    /// The landmarks.
    #[must_use]
    pub fn landmarks(&self) -> Vec<&Vertex> {
        let numbers = self.tracked.landmarks().iter();
        numbers
            .filter_map(|v| self.vertices.get(*v as usize))
            .collect()
    }

    /// Vertices beside this one. O(edges of it).
    pub fn neighbours(&self, vertex: &Vertex) -> impl Iterator<Item = &Vertex> {
        let number = self.numbers.get(vertex);
        let beside = number.map_or(&[][..], |v| self.tracked.graph().neighbours(*v));
        beside.iter().filter_map(|v| self.vertices.get(*v as usize))
    }

    /// Whether the landmarks tell all vertices of one colour apart that are no twins.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.tracked.is_resolved()
    }

    /// Changes, newest first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().rev()
    }

    fn note(&mut self, is_beginning: bool, change: Change) {
        if is_beginning {
            return;
        }
        if self.changes.len() == N_CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    fn put_in(&mut self, edge: &EdgeId, class: u8) -> usize {
        self.known.insert(edge.clone(), class);
        let (from, to) = (self.number(&edge.from), self.number(&edge.to));
        self.views.insert(from, to, class);
        let ends = self.ends(edge);
        let n = self.between.entry(ends).or_insert(0);
        *n += 1;
        if *n == 1 && ends.0 != ends.1 {
            self.tracked.insert(ends.0, ends.1).n_entries
        } else {
            0
        }
    }

    fn take_out(&mut self, edge: &EdgeId) -> usize {
        if let Some(class) = self.known.remove(edge) {
            let (from, to) = (self.number(&edge.from), self.number(&edge.to));
            self.views.remove(from, to, class);
        }
        let ends = self.ends(edge);
        let Some(n) = self.between.get_mut(&ends) else {
            return 0;
        };
        *n -= 1;
        if *n > 0 {
            return 0;
        }
        self.between.remove(&ends);
        self.tracked.remove(ends.0, ends.1).n_entries
    }

    fn ends(&mut self, edge: &EdgeId) -> (u32, u32) {
        let (u, v) = (self.number(&edge.from), self.number(&edge.to));
        (u.min(v), u.max(v))
    }

    fn number(&mut self, vertex: &Vertex) -> u32 {
        if let Some(number) = self.numbers.get(vertex) {
            return *number;
        }
        let number = self.vertices.len() as u32;
        self.vertices.push(vertex.clone());
        self.numbers.insert(vertex.clone(), number);
        number
    }

    fn numbers_in_use(&self) -> usize {
        let graph = self.tracked.graph();
        (0..graph.n() as u32)
            .filter(|v| !graph.neighbours(*v).is_empty())
            .count()
    }

    /// Gives vertices their colours; how many have another than before. O(vertices · log shards).
    fn paint<'a>(
        &mut self,
        from: usize,
        shard_of: &impl Fn(&NodeId) -> Option<&'a ShardId>,
    ) -> usize {
        let mut n = 0;
        for at in from..self.vertices.len() {
            let colour = colour(&mut self.shards, &self.vertices[at], shard_of);
            if self.tracked.colour(at as u32) != colour {
                self.tracked.paint(at as u32, colour);
                n += 1;
            }
        }
        n
    }

    /// The same edges under new numbers.
    fn begin_anew<'a>(&mut self, shard_of: &impl Fn(&NodeId) -> Option<&'a ShardId>) {
        self.generation += 1;
        self.renewal = None;
        self.numbers.clear();
        self.vertices.clear();
        self.between.clear();
        self.views = Views::default();
        for (edge, class) in self.known.clone() {
            let (from, to) = (self.number(&edge.from), self.number(&edge.to));
            *self
                .between
                .entry((from.min(to), from.max(to)))
                .or_insert(0) += 1;
            self.views.insert(from, to, class);
        }
        let edges = self.between.keys().copied();
        let topology = Topology::with_edges(self.vertices.len(), edges);
        let vertices = self.vertices.iter();
        let colours = vertices.map(|vertex| colour(&mut self.shards, vertex, shard_of));
        let colours: Vec<u32> = colours.collect();
        self.tracked = Tracked::aimed(topology, &colours, AIM);
    }
}

/// The class of an edge that was of class `was`, by the usual round trip of the last minute.
fn class_of(graph: &InteractionGraph, id: &EdgeId, was: Option<u8>) -> u8 {
    let edge = graph.edge(id);
    latency_class(was, edge.and_then(|edge| edge.usual(Quantity::RttMs)))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
