//! The graph over time: what came and went, and landmarks whose distances tell all vertices apart. (step 9)
//!
//! In: the graph as it stands, now and again. Out: a log of changes, landmarks kept resolving through all of them.
//! Invariants: WA-1 the log and the distances are of the same graph: each difference is applied once. WA-2 what is there when the
//! watch begins is no change. Limits: [`N_CHANGES_MAX`] changes kept; numbers of vertices that are gone are given anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hsw_landmark::{Topology, Tracked, twin_bound, twin_classes};
use hsw_types::WallTime;

use crate::{EdgeId, Event, InteractionGraph, Vertex};

/// Changes remembered.
pub const N_CHANGES_MAX: usize = 2_000;
/// Agents tell their edges every two to ten seconds: what comes within a minute was there before.
const BEGINNING_US: i64 = 60 * 1_000_000;
/// Up to so many vertices the set is chosen anew in passing, at most once in [`ANEW_EVERY`] looks that changed something.
const ANEW_MAX: usize = 2_000;
const ANEW_EVERY: u32 = 12;
/// Vertices that are gone are let go of when there are more of them than of the others by this much.
const GONE_MAX: usize = 1_000;

/// An edge that came or went.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When it was noticed, data time.
    pub at: WallTime,
    /// Which.
    pub edge: EdgeId,
    /// It came; else it went.
    pub came: bool,
    /// Distances to landmarks that are others since.
    pub n_distances: usize,
}

/// See the module's header.
#[derive(Debug)]
pub struct Watch {
    numbers: BTreeMap<Vertex, u32>,
    vertices: Vec<Vertex>,
    known: BTreeSet<EdgeId>,
    /// Edges of the log between two vertices; those of the topology are there while there is one.
    between: BTreeMap<(u32, u32), u32>,
    tracked: Tracked,
    changes: VecDeque<Change>,
    began: Option<WallTime>,
    n_looks: u32,
    /// The number of the graph's next event.
    next_event: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            numbers: BTreeMap::new(),
            vertices: Vec::new(),
            known: BTreeSet::new(),
            between: BTreeMap::new(),
            tracked: Tracked::new(Topology::new(0)),
            changes: VecDeque::new(),
            began: None,
            n_looks: 0,
            next_event: 0,
        }
    }
}

impl Watch {
    /// Takes over what is different from the last time. Work by what changed ([`Tracked`]); O(edges) where the graph no longer knows all
    /// that happened since.
    pub fn follow(&mut self, graph: &InteractionGraph, now: WallTime) {
        let is_beginning = match self.began {
            None => {
                self.began = (graph.edges().next().is_some()).then_some(now);
                true
            }
            Some(began) => now.0 - began.0 < BEGINNING_US,
        };
        let (gone, new) = self.differences(graph);
        if gone.is_empty() && new.is_empty() {
            return;
        }
        for edge in gone {
            self.known.remove(&edge);
            let n_distances = self.take_out(&edge);
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
            let n_distances = self.put_in(&edge);
            self.known.insert(edge.clone());
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
        self.tracked.keep();
        self.n_looks += 1;
        if self.vertices.len() > 2 * self.numbers_in_use() + GONE_MAX {
            self.begin_anew();
        } else if self.n_looks.is_multiple_of(ANEW_EVERY) && self.numbers_in_use() <= ANEW_MAX {
            let fresh = self.tracked.chosen_anew();
            if fresh.len() < self.tracked.landmarks().len() {
                self.tracked.swap(fresh);
            }
        }
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
            let is_gone = |id: &&&EdgeId| self.known.contains(**id) && !graph.has(id);
            let is_new = |id: &&&EdgeId| !self.known.contains(**id) && graph.has(id);
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
            .iter()
            .filter(|id| !graph.has(id))
            .cloned()
            .collect();
        let new = graph.edges().map(|(id, _)| id);
        let new = new.filter(|id| !self.known.contains(id)).cloned().collect();
        (gone, new)
    }

    /// The landmarks.
    #[must_use]
    pub fn landmarks(&self) -> Vec<&Vertex> {
        let numbers = self.tracked.landmarks().iter();
        numbers
            .filter_map(|v| self.vertices.get(*v as usize))
            .collect()
    }

    /// Whether the landmarks tell all vertices apart.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.tracked.is_resolved()
    }

    /// Landmarks that vertices with the same neighbours force, whatever is chosen.
    #[must_use]
    pub fn twin_bound(&self) -> usize {
        let graph = self.tracked.graph();
        let classes = twin_classes(graph, None);
        let with_edges = |class: &Vec<u32>| !graph.neighbours(class[0]).is_empty();
        twin_bound(&classes.into_iter().filter(with_edges).collect::<Vec<_>>())
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

    fn put_in(&mut self, edge: &EdgeId) -> usize {
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

    /// The same edges under new numbers.
    fn begin_anew(&mut self) {
        self.numbers.clear();
        self.vertices.clear();
        self.between.clear();
        for edge in self.known.clone() {
            let ends = self.ends(&edge);
            *self.between.entry(ends).or_insert(0) += 1;
        }
        let edges = self.between.keys().copied();
        self.tracked = Tracked::new(Topology::with_edges(self.vertices.len(), edges));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{EdgeKind, EdgeSubject, NodeId};
    use proptest::prelude::*;

    fn touch(graph: &mut InteractionGraph, node: u8, client: u16, at: i64) {
        let subject = EdgeSubject {
            kind: EdgeKind::Client,
            peer: format!("10.0.0.{client}"),
            port: 0,
            user: String::new(),
            application: "app".to_owned(),
            database: String::new(),
        };
        let node = NodeId::new(&format!("n{node}")).unwrap();
        graph.touch(&node, &subject, 1.0, WallTime(at));
    }

    #[test]
    fn what_is_there_at_first_is_no_change_and_a_new_client_of_every_shard_is() {
        let mut graph = InteractionGraph::default();
        let mut watch = Watch::default();
        for at in [0, 30_000_000] {
            for node in 0..4 {
                touch(&mut graph, node, u16::from(node), at);
                touch(&mut graph, node, 100, at);
            }
            watch.follow(&graph, WallTime(at));
        }
        assert_eq!(watch.changes().count(), 0);
        assert!(watch.is_resolved() && watch.landmarks().len() >= watch.twin_bound());
        for node in 0..4 {
            touch(&mut graph, node, 66, 90_000_000);
        }
        watch.follow(&graph, WallTime(90_000_000));
        let changes: Vec<&Change> = watch.changes().collect();
        assert_eq!(changes.len(), 4);
        assert!(
            changes
                .iter()
                .all(|change| change.came && change.edge.from.id() == "client:10.0.0.66/app")
        );
        graph.expire(WallTime(95_000_000 + crate::FORGET_AFTER_US - 10_000_000));
        watch.follow(&graph, WallTime(2_000_000_000));
        assert!(watch.changes().next().is_some_and(|change| !change.came));
    }

    proptest! {
        #[test]
        fn prop_the_watch_resolves_the_graph_as_it_stands(looks in prop::collection::vec(prop::collection::vec((0..6_u8, 0..40_u16), 0..20), 1..30)) {
            let mut watch = Watch::default();
            let mut graph = InteractionGraph::default();
            for (look, edges) in looks.into_iter().enumerate() {
                let at = look as i64 * crate::FORGET_AFTER_US / 2;
                edges.iter().for_each(|(node, client)| touch(&mut graph, *node, *client, at));
                graph.expire(WallTime(at));
                watch.follow(&graph, WallTime(at));
                prop_assert!(watch.is_resolved());
                prop_assert!(watch.known.iter().eq(graph.edges().map(|(id, _)| id)));
                prop_assert_eq!(watch.tracked.graph().m(), watch.between.len());
                let there = graph.vertices();
                prop_assert!(watch.landmarks().iter().all(|l| there.contains(l)));
            }
        }
    }
}
