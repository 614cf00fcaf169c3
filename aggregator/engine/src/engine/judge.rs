//! Who sits before the detectors at a window, and what the graph says of them. (steps 9–11)

use std::collections::BTreeMap;

use hsw_detect::GraphSight;
use hsw_fusion::{Label, Refusal, Version};
use hsw_graph::Vertex;
use hsw_state::{Cluster, NodeIndex};
use hsw_structure::{Moved, Scales};
use hsw_types::{Role, WindowIndex};

use super::Engine;
use crate::incident::IncidentId;
use crate::judgement::{Seat, WeightsView};
use crate::map::ShardMap;
use crate::policy::Policy;
use crate::view::NodeLiveness;

/// A way that does not exist, as the graph's own crates write it.
const FAR: u16 = u16::MAX;

/// Where nodes were at the last look at the graph.
#[derive(Debug, Default)]
pub(crate) struct Places {
    landmarks: Vec<Vertex>,
    hops: BTreeMap<NodeIndex, Vec<u16>>,
    scales: Scales,
}

impl Engine {
    /// P(sick) of every shard with a member among `nodes`, which are judged at `window`.
    pub(super) fn judge_shards(&mut self, window: WindowIndex, nodes: &[NodeIndex]) {
        let (seats, role) = seats((&self.cluster, &self.map, &self.policy), nodes);
        let is_up: Vec<Option<bool>> = self.liveness.iter().map(is_up).collect();
        let of = (&self.cluster, &self.detector);
        self.judges.look(of, window, &seats, &role, &is_up);
    }

    /// Versions of the detectors' weights, and how good they are.
    #[must_use]
    pub fn weights(&self) -> WeightsView {
        self.judges.view()
    }

    /// Makes a version of weights from the labels so far; it runs in the shadow until later labels have judged it.
    ///
    /// # Errors
    /// [`Refusal`], with what is missing.
    pub fn propose_weights(&mut self) -> Result<u32, Refusal> {
        self.judges.propose(self.wall)
    }

    /// Versions and labels to keep, where they have changed since the last call.
    pub fn poll_weights(&mut self) -> Option<(Vec<Version>, Vec<Label>)> {
        self.judges.take_changed()
    }

    /// An operator's word on an incident that was judged: was something wrong with its shard? Nothing where it was not judged.
    pub(super) fn label(&mut self, id: IncidentId, is_sick: bool) {
        let judgement = self
            .incident(id)
            .and_then(|incident| incident.judgement.clone());
        if let Some(judgement) = judgement {
            self.judges.label(&judgement, is_sick);
        }
    }

    pub(super) fn is_nobody_heard(&self) -> bool {
        self.liveness.iter().all(|state| {
            matches!(
                state,
                NodeLiveness::AgentLost
                    | NodeLiveness::HostLost
                    | NodeLiveness::AgentStopped
                    | NodeLiveness::NeverSeen
            )
        })
    }

    /// What the graph says of each node, after it was looked at. O(nodes · landmarks + edges).
    pub(super) fn see_graph(&mut self) {
        let landmarks: Vec<Vertex> = self.watch.landmarks().into_iter().cloned().collect();
        let was: BTreeMap<&Vertex, usize> = self.places.landmarks.iter().zip(0..).collect();
        // Place of each landmark in the last look's vectors.
        let before: Vec<Option<usize>> = landmarks
            .iter()
            .map(|landmark| was.get(landmark).copied())
            .collect();
        let mut sights = vec![None; self.cluster.nodes().len()];
        let (mut moved, mut hops) = (Vec::new(), BTreeMap::new());
        let mut diameter = 0;
        for (at, node) in self.cluster.nodes().iter().enumerate() {
            let vertex = Vertex::Node(node.node.clone());
            let Some(distances) = self.watch.distances(&vertex) else {
                continue;
            };
            let own: Vec<u16> = distances
                .hops
                .iter()
                .map(|d| d.map_or(FAR, |d| d.min(u32::from(FAR) - 1) as u16))
                .collect();
            if let Some(past) = self.places.hops.get(&at) {
                for (landmark, (now, before)) in (0_u32..).zip(own.iter().zip(&before)) {
                    let Some(was) = before.and_then(|before| past.get(before)) else {
                        continue;
                    };
                    if was != now {
                        moved.push(Moved {
                            edge: None,
                            vertex: at as u32,
                            landmark,
                            was: *was,
                            now: *now,
                        });
                    }
                }
            }
            let known: Vec<f64> = own
                .iter()
                .filter(|d| **d != FAR)
                .map(|d| f64::from(*d))
                .collect();
            diameter = own
                .iter()
                .filter(|d| **d != FAR)
                .copied()
                .fold(diameter, u16::max);
            sights[at] = Some(sight(
                &known,
                own.len(),
                self.watch.neighbours(&vertex).count(),
            ));
            hops.insert(at, own);
        }
        let n_common = before.iter().flatten().count();
        let deviation = self.places.scales.look(&moved, n_common, diameter);
        for (vertex, a) in deviation.of {
            if let Some(Some(sight)) = sights.get_mut(vertex as usize) {
                sight.deviation = a;
            }
        }
        self.places.landmarks = landmarks;
        self.places.hops = hops;
        self.add_edges(&mut sights);
        self.judges.graph = sights;
    }

    /// Latency classes of edges, and suspicions, at the nodes where they end.
    fn add_edges(&self, sights: &mut [Option<GraphSight>]) {
        let mut classes: BTreeMap<NodeIndex, (f64, f64)> = BTreeMap::new();
        let node_of = |vertex: &Vertex| match vertex {
            Vertex::Node(node) => self.cluster.find(node),
            _ => None,
        };
        for (id, _) in self.graph.edges() {
            let Some(class) = self.watch.class(id) else {
                continue;
            };
            for at in [&id.from, &id.to].into_iter().filter_map(node_of) {
                let (sum, n) = classes.entry(at).or_default();
                *sum += f64::from(class);
                *n += 1.0;
            }
        }
        for (at, (sum, n)) in classes {
            if let Some(Some(sight)) = sights.get_mut(at) {
                sight.latency_class = sum / n;
            }
        }
        for edge in self
            .structure
            .suspicions()
            .iter()
            .flat_map(|suspicion| &suspicion.edges)
        {
            if let Some(Some(sight)) = node_of(&edge.to).and_then(|at| sights.get_mut(at)) {
                sight.n_suspicions += 1.0;
            }
        }
    }
}

/// Shards with the members that are judged, and each node's role.
fn seats<'a>(
    (cluster, map, policy): (&Cluster, &'a ShardMap, &Policy),
    nodes: &[NodeIndex],
) -> (Vec<Seat<'a>>, Vec<u8>) {
    let mut role = vec![0_u8; cluster.nodes().len()];
    let mut seats = Vec::new();
    for entry in map.shards() {
        let members = entry.nodes.iter().filter_map(|node| cluster.find(node));
        let members: Vec<NodeIndex> = members
            .filter(|at| nodes.binary_search(at).is_ok())
            .collect();
        for &at in &members {
            role[at] = match cluster.nodes()[at].facts.role {
                _ if entry.is_router => 2,
                Role::Router => 2,
                Role::Replica => 1,
                Role::Primary | Role::Unknown => 0,
            };
        }
        if !members.is_empty() {
            seats.push(Seat {
                shard: &entry.shard,
                is_under_incident: policy.is_involved(&entry.shard),
                members,
            });
        }
    }
    (seats, role)
}

fn sight(known: &[f64], n_landmarks: usize, degree: usize) -> GraphSight {
    let n = known.len().max(1) as f64;
    let mean = known.iter().sum::<f64>() / n;
    GraphSight {
        degree: degree as f64,
        distance_mean: mean,
        distance_variance: known.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / n,
        eccentricity: known.iter().copied().fold(0.0, f64::max),
        coverage: known.len() as f64 / n_landmarks.max(1) as f64,
        ..GraphSight::default()
    }
}

const fn is_up(liveness: &NodeLiveness) -> Option<bool> {
    match liveness {
        NodeLiveness::Alive => Some(true),
        NodeLiveness::DatabaseSilent | NodeLiveness::DatabaseDown => Some(false),
        NodeLiveness::NeverSeen
        | NodeLiveness::AgentStopped
        | NodeLiveness::AgentLost
        | NodeLiveness::HostLost => None,
    }
}
