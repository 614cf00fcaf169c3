//! Edges into the graph, the graph's changes into suspicions, suspicions into incidents. (steps 9–10)
//!
//! In: the series of a node that a summary has just brought forward. Out: edges touched and measured, incidents about them. Invariant:
//! EG-1 of each series its newest value of the summary counts, once. Edges come before what is said of them.

use std::sync::Arc;

use hsw_graph::Quantity;
use hsw_state::NodeIndex;
use hsw_structure::Place;
use hsw_types::{EdgeSubject, NodeId, Subject, WallTime, WindowIndex};

use super::Engine;
use crate::contract::Output;
use crate::incident::IncidentId;
use crate::intrusion::Scene;
use crate::policy::Told;

/// What a metric says of an edge.
fn quantity(metric: &str) -> Option<Quantity> {
    Some(match metric {
        "edge.sessions" | "edge.refused_logins" => Quantity::Sessions,
        "edge.active" => Quantity::Active,
        "edge.rtt_ms" => Quantity::RttMs,
        "edge.tx_bytes" => Quantity::TxBytesPerS,
        "edge.rx_bytes" => Quantity::RxBytesPerS,
        "edge.lag_bytes" => Quantity::LagBytes,
        _ => return None,
    })
}

/// A reading of an edge.
type Said<'a> = (Quantity, &'a EdgeSubject, f64, WallTime);

impl Engine {
    /// Takes the newest value of each edge series within the `n` windows up to `last`. O(series).
    pub(super) fn touch_edges(&mut self, at: NodeIndex, node: &NodeId, last: WindowIndex, n: i64) {
        let mut told: Vec<Said<'_>> = Vec::new();
        for (key, series) in &self.cluster.nodes()[at].series {
            let info = &self.cluster.keys()[*key];
            let Subject::Edge(edge) = &info.key.subject else {
                continue;
            };
            if let Some(quantity) = quantity(&info.key.metric)
                && let Some((window, value)) = series.back_from(last, n).next()
            {
                told.push((quantity, edge, value, window.start()));
            }
        }
        // Sessions make edges and, with those that are active, shares of traffic.
        told.sort_by_key(|(quantity, ..)| *quantity as usize);
        for (quantity, edge, value, at) in told {
            if quantity == Quantity::Sessions && value > 0.0 {
                self.graph.touch(node, edge, value, at);
            } else {
                self.graph.measure(node, edge, quantity, value, at);
            }
        }
    }

    /// What changed in the graph, and whether it was to be expected.
    pub(super) fn follow(&mut self, wall: WallTime) {
        let map = &self.map;
        let shard_of = |node: &NodeId| map.shard_of(node);
        self.watch.follow_changes(&self.graph, &shard_of, wall);
        let place = |node: &NodeId| {
            let entry = map.entry_of(node)?;
            Some(Place {
                shard: entry.shard.clone(),
                is_router: entry.is_router,
            })
        };
        self.structure.follow(&self.graph, place, &self.watch, wall);
    }

    /// What drifts in the graph without a change, at another second than [`Self::follow`].
    pub(super) fn upkeep(&mut self) {
        let shard_of = |node: &NodeId| self.map.shard_of(node);
        self.watch.upkeep(&self.graph, &shard_of);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Input, ShardMap};
    use hsw_types::{
        EdgeKind, Monotonic, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary,
    };

    /// A summary of two windows: each series' value in the second of them.
    fn summary(first: i64, told: &[(&str, &str, &str, f64)]) -> ShardSummary {
        let subject = |user: &str, application: &str| EdgeSubject {
            kind: EdgeKind::Client,
            peer: "10.0.0.9".to_owned(),
            port: 0,
            user: user.to_owned(),
            application: application.to_owned(),
            database: String::new(),
        };
        let id = |at: usize| SeriesId(at as u32);
        let def = |(at, (metric, user, application, _)): (usize, &(&str, &str, &str, f64))| {
            let key = SeriesKey::edge(metric, subject(user, application));
            SeriesDef { id: id(at), key }
        };
        let values = |(at, (.., value)): (usize, &(&str, &str, &str, f64))| SeriesValues {
            id: id(at),
            values: vec![None, Some(*value)],
        };
        ShardSummary {
            first_window: WindowIndex(first),
            n_windows: 2,
            dictionary_epoch: 1,
            facts: None,
            dictionary: told.iter().enumerate().map(def).collect(),
            series: told.iter().enumerate().map(values).collect(),
            latencies: Vec::new(),
            log_samples: Vec::new(),
            sources: Vec::new(),
            hot: Vec::new(),
        }
    }

    #[test]
    fn a_summary_gives_an_edge_its_sum_of_sessions_its_round_trip_and_its_share_of_bytes() {
        let node = NodeId::new("a").unwrap();
        let mut engine = Engine::new(Config::default(), ShardMap::new(Vec::new(), true).unwrap());
        // Traffic first: the order of series says nothing about what is needed for what.
        let told = [
            ("edge.tx_bytes", "", "", 900.0),
            ("edge.rtt_ms", "", "", 0.5),
            ("edge.active", "app", "web", 2.0),
            ("edge.active", "app", "jobs", 1.0),
            ("edge.sessions", "app", "web", 5.0),
            ("edge.sessions", "admin", "web", 2.0),
            ("edge.sessions", "app", "jobs", 1.0),
        ];
        for (at, first) in [1_800_000_000, 1_800_000_002].into_iter().enumerate() {
            let received = WindowIndex(first + 2).start();
            let summary = Box::new(summary(first, &told));
            let input = Input::Summary {
                node: node.clone(),
                summary,
                received,
                is_replay: false,
            };
            engine.handle(Monotonic(at as u64 * 2_000_000), input);
        }
        let view = engine.graph();
        let shown: Vec<_> = view
            .edges
            .iter()
            .map(|edge| {
                let traffic = &edge.traffic;
                (
                    edge.sessions,
                    traffic.active,
                    traffic.rtt_ms,
                    traffic.tx_bytes_per_s,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (1.0, Some(1.0), Some(0.5), Some(300.0)),
                (7.0, Some(2.0), Some(0.5), Some(600.0))
            ]
        );
        assert_eq!(view.edges[1].traffic.history[0], [Some(7.0)]);
    }
}
