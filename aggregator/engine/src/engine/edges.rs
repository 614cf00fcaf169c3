//! Edges into the graph, the graph's changes into suspicions, suspicions into incidents. (steps 9–10)

use std::sync::Arc;

use hsw_state::NodeIndex;
use hsw_structure::Place;
use hsw_types::{NodeId, Subject, WallTime, WindowIndex};

use super::Engine;
use crate::contract::Output;
use crate::incident::IncidentId;
use crate::intrusion::Scene;
use crate::policy::Told;

/// The metrics that say that an edge is there.
const EDGES: [&str; 2] = ["edge.sessions", "edge.refused_logins"];

impl Engine {
    /// Takes the node's edges of the `n` windows up to `last` into the graph.
    pub(super) fn touch_edges(&mut self, at: NodeIndex, node: &NodeId, last: WindowIndex, n: i64) {
        for (key, series) in &self.cluster.nodes()[at].series {
            let key = &self.cluster.keys()[*key].key;
            let Subject::Edge(edge) = &key.subject else {
                continue;
            };
            if EDGES.contains(&key.metric.as_str())
                && let Some((window, sessions)) = series.back_from(last, n).next()
                && sessions > 0.0
            {
                self.graph.touch(node, edge, sessions, window.start());
            }
        }
    }

    /// What changed in the graph, and whether it was to be expected.
    pub(super) fn follow(&mut self, wall: WallTime) {
        self.watch.follow(&self.graph, wall);
        let map = &self.map;
        let place = |node: &NodeId| {
            let entry = map.entry_of(node)?;
            Some(Place {
                shard: entry.shard.clone(),
                is_router: entry.is_router,
            })
        };
        self.structure.follow(&self.graph, place, &self.watch, wall);
    }

    /// Suspicions into incidents whose root is an edge; closed ones join the others.
    pub(super) fn judge_edges(&mut self, window: WindowIndex) -> Vec<Told> {
        let scene = Scene {
            graph: &self.graph,
            map: &self.map,
            policy: &self.policy,
        };
        let told = self
            .intrusions
            .step(window, self.structure.suspicions(), &scene);
        for one in &told {
            if let Told::Closed(incident) = one {
                self.policy.keep(Arc::clone(incident));
            }
        }
        told
    }

    /// An operator says that an open incident about edges is none: what they are is to be expected from now on.
    pub(super) fn accept(&mut self, id: IncidentId) {
        let window = self.judged().unwrap_or_else(|| self.wall.window());
        if let Some((edges, incident)) = self.intrusions.accept(id, window) {
            self.structure.accept(&edges);
            self.policy.keep(Arc::clone(&incident));
            self.outputs.push_back(Output::IncidentClosed(incident));
        }
    }
}
