//! Edges into the graph, the graph's changes into suspicions, suspicions into incidents. (steps 9–10)
//!
//! In: the series of a node that a summary has just brought forward. Out: edges touched and measured, incidents about them. Invariant:
//! EG-1 of each series its newest value of the summary counts, once. Edges come before what is said of them.

use std::sync::Arc;

use hsw_graph::Quantity;
use hsw_state::NodeIndex;
use hsw_structure::Place;
use hsw_types::{EdgeSubject, NodeId, Subject, WallTime, WindowIndex};

use super::{Engine, FOLLOW_EVERY_S, UPKEEP_AFTER_S};
use crate::contract::Output;
use crate::incident::{Incident, IncidentId, IncidentState};
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
        self.see_graph();
    }

    /// What is due about the graph at this second.
    pub(super) fn look(&mut self, wall: WallTime) {
        match wall.window() - self.followed {
            // A clock that was set back begins anew from there.
            FOLLOW_EVERY_S.. | ..0 => {
                self.followed = wall.window();
                self.follow(wall);
            }
            UPKEEP_AFTER_S => self.upkeep(),
            _ => self.watch.renew(),
        }
    }

    /// The same for the past that is read back at start, in its own time: what was usual before a restart is so after it.
    pub(super) fn follow_replay(&mut self, told: WindowIndex) {
        if told - self.followed >= FOLLOW_EVERY_S {
            self.followed = told;
            self.graph.expire(told.start());
            self.follow(told.start());
        }
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

    /// An incident from the store at start, among those of its kind; what was accepted is to be expected again.
    pub(super) fn restore(&mut self, incident: Incident) {
        let now = self.judged.unwrap_or(incident.raised);
        let is_open = incident.state == IncidentState::Open;
        if let Some(intrusion) = incident.intrusion.as_ref().filter(|i| i.is_accepted) {
            let edges: Vec<_> = intrusion.ids().collect();
            self.structure.accept(&edges);
        }
        if is_open && incident.intrusion.is_some() {
            self.intrusions.restore(incident, now);
        } else {
            self.policy.restore(incident, now);
        }
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

    /// An engine of three shards that has been told ten minutes of two services on each, live or from the store.
    fn experienced(is_replay: bool) -> (Engine, i64) {
        let mut engine = Engine::new(Config::default(), ShardMap::new(Vec::new(), true).unwrap());
        if !is_replay {
            let wall = WallTime::from_unix_seconds(START);
            engine.handle(Monotonic(0), Input::ReplayDone { wall });
        }
        for second in (0..600).step_by(2) {
            look(&mut engine, second, is_replay, &["web", "jobs"]);
        }
        (engine, 600)
    }

    const START: i64 = 1_800_000_000;

    /// Two seconds of sessions of these applications on each of three shards.
    fn look(engine: &mut Engine, second: i64, is_replay: bool, applications: &[&str]) {
        let now = Monotonic(second as u64 * 1_000_000);
        for shard in 1..=3 {
            let told: Vec<_> = applications
                .iter()
                .map(|application| ("edge.sessions", "app", *application, 1.0))
                .collect();
            let mut summary = summary(START + second, &told);
            let facts = hsw_types::NodeFacts {
                shard: format!("shard-{shard}"),
                role: hsw_types::Role::Primary,
                ..hsw_types::NodeFacts::default()
            };
            summary.facts = Some(facts);
            let input = Input::Summary {
                node: NodeId::new(&format!("shard-{shard}-a")).unwrap(),
                summary: Box::new(summary),
                received: WallTime::from_unix_seconds(START + second + 2),
                is_replay,
            };
            engine.handle(now, input);
        }
        if !is_replay {
            let wall = WallTime::from_unix_seconds(START + second + 2);
            engine.handle(now, Input::Clock { wall });
        }
    }

    fn raised(engine: &mut Engine) -> Vec<String> {
        std::iter::from_fn(|| engine.poll_output())
            .filter_map(|output| match output {
                Output::IncidentRaised(incident) => incident.intrusion.clone(),
                _ => None,
            })
            .map(|intrusion| format!("{} {}", intrusion.client, intrusion.edges.len()))
            .collect()
    }

    #[test]
    fn what_was_usual_before_a_restart_is_usual_after_it_and_what_was_not_is_raised() {
        for is_replay in [false, true] {
            let (mut engine, mut second) = experienced(is_replay);
            if is_replay {
                let wall = WallTime::from_unix_seconds(START + second);
                engine.handle(Monotonic(1), Input::ReplayDone { wall });
            }
            assert!(raised(&mut engine).is_empty());
            for _ in 0..30 {
                look(&mut engine, second, false, &["web", "jobs", "pg_dump"]);
                second += 2;
            }
            assert_eq!(
                raised(&mut engine),
                ["client:10.0.0.9/pg_dump 3"],
                "replay: {is_replay}"
            );
        }
    }

    #[test]
    fn nothing_is_raised_while_it_is_learned_who_talks_to_whom() {
        let mut engine = Engine::new(Config::default(), ShardMap::new(Vec::new(), true).unwrap());
        let wall = WallTime::from_unix_seconds(START);
        engine.handle(Monotonic(0), Input::ReplayDone { wall });
        for second in (0..60).step_by(2) {
            look(&mut engine, second, false, &["web", "jobs"]);
        }
        for second in (60..120).step_by(2) {
            look(&mut engine, second, false, &["web", "jobs", "pg_dump"]);
        }
        assert!(raised(&mut engine).is_empty());
    }

    #[test]
    fn what_an_operator_accepts_is_over_and_stays_so() {
        let (mut engine, mut second) = experienced(false);
        for _ in 0..30 {
            look(&mut engine, second, false, &["web", "jobs", "pg_dump"]);
            second += 2;
        }
        let open = engine.incidents()[0].clone();
        engine.handle(
            Monotonic(second as u64 * 1_000_000),
            Input::Accepted(open.id),
        );
        raised(&mut engine);
        assert_eq!(engine.incidents()[0].state, IncidentState::Closed);
        for _ in 0..60 {
            look(&mut engine, second, false, &["web", "jobs", "pg_dump"]);
            second += 2;
        }
        assert!(raised(&mut engine).is_empty());
        // And after a restart, when the store gives it back; without its word it is raised.
        let accepted = engine.incidents()[0].clone();
        for is_told in [true, false] {
            let (mut engine, mut second) = experienced(true);
            if is_told {
                engine.handle(Monotonic(1), Input::Restored(Box::new((*accepted).clone())));
            }
            let wall = WallTime::from_unix_seconds(START + second);
            engine.handle(Monotonic(1), Input::ReplayDone { wall });
            for _ in 0..60 {
                look(&mut engine, second, false, &["web", "jobs", "pg_dump"]);
                second += 2;
            }
            assert_eq!(raised(&mut engine).is_empty(), is_told);
        }
    }
}
