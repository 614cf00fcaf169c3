//! Features of each judged window to the model, its scores back. (step 11)
//!
//! In: what [`crate::features`] gathers. Out: [`Output::Score`] once a second at most, the probability in force. Invariants:
//! SC-1 nothing is asked for while the past is read back. SC-2 without an answer in time everything is as without a model.

use std::time::Duration;

use hsw_fusion::layout::Features;
use hsw_fusion::{Answer, Scores, Scoring};
use hsw_graph::Vertex;
use hsw_state::NodeIndex;
use hsw_types::{ShardId, WindowIndex};

use super::Engine;
use crate::contract::Output;
use crate::features::{Scene, evidence};
use crate::liveness;
use crate::view::NodeLiveness;

impl Engine {
    /// Features are gathered from now on, and scores count until so long after they were asked for.
    pub(super) fn score_within(&mut self, deadline: Duration) {
        self.detector.tell_deviations();
        self.scoring = Some(Scoring::new(deadline));
    }

    /// What each shard showed at one of the newest judged windows, in order of their names; nothing unless somebody scores.
    pub fn shown(&self, window: WindowIndex) -> impl Iterator<Item = (&ShardId, &Features)> {
        self.scoring
            .iter()
            .flat_map(move |scoring| scoring.shown(window))
    }

    /// Who talks to whom among shards and routers, each pair both ways.
    #[must_use]
    pub fn shard_edges(&self) -> Vec<(ShardId, ShardId)> {
        let shard = |vertex: &Vertex| match vertex {
            Vertex::Node(node) => self.map.shard_of(node).cloned(),
            _ => None,
        };
        let mut pairs: Vec<(ShardId, ShardId)> = self
            .graph
            .edges()
            .filter_map(|(edge, _)| Some((shard(&edge.from)?, shard(&edge.to)?)))
            .filter(|(from, to)| from != to)
            .flat_map(|(from, to)| [(to.clone(), from.clone()), (from, to)])
            .collect();
        pairs.sort();
        pairs.dedup();
        pairs
    }

    /// The probability that a shard is sick now, by the model; `None` where there is none or it did not answer in time.
    #[must_use]
    pub fn model_says(&self, shard: &ShardId) -> Option<f64> {
        self.scoring.as_ref()?.sick(shard, self.judged?)
    }

    /// The least that P(sick) of a shard can be by who of it is heard, 0 to 1, whatever a model or the fusion say; `None` where all are heard as
    /// usual, or somebody is only now listened to. O(members).
    #[must_use]
    pub fn liveness_says(&self, shard: &ShardId) -> Option<f64> {
        let (judged, since) = (self.judged?, self.listening_since?);
        let listened = self.now.since(since).as_secs() as i64;
        let members = self.map.members(shard).iter();
        let members: Vec<NodeIndex> = members.filter_map(|node| self.cluster.find(node)).collect();
        let state = |at: &NodeIndex| self.liveness.get(*at).copied();
        let states: Vec<NodeLiveness> = members.iter().filter_map(state).collect();
        let owed = members.iter().zip(&states);
        let owed = owed.filter(|(at, state)| evidence::is_owed(&self.cluster, **state, **at));
        // A database that is well and only refuses the agent is no sick one: of those alive it counts who is heard.
        let silent = owed.map(|(at, state)| match state {
            NodeLiveness::Alive => evidence::behind(&self.cluster, *at, judged),
            _ => evidence::silent(&self.cluster, &self.heard, *at, judged),
        });
        liveness::sick(&states, silent.max().unwrap_or(0).min(listened))
    }

    /// What adds most to that, feature by feature in units of the trees' margin, strongest first.
    #[must_use]
    pub fn model_reasons(&self, shard: &ShardId) -> &[(String, f32)] {
        match (&self.scoring, self.judged) {
            (Some(scoring), Some(judged)) => scoring.reasons(shard, judged),
            _ => &[],
        }
    }

    pub(super) fn show_features(&mut self, window: WindowIndex) {
        let Some(scoring) = &mut self.scoring else {
            return;
        };
        let scene = Scene {
            cluster: &self.cluster,
            detector: &self.detector,
            map: &self.map,
            graph: &self.judges.graph,
            judges: &self.judges,
            findings: &self.findings,
            symptoms: &self.symptoms,
            heard: &self.heard,
            liveness: &self.liveness,
        };
        for (shard, mut features) in self.gatherer.gather(&scene, window) {
            self.judges.describe(&shard, &mut features);
            scoring.show(&shard, window, features);
        }
    }

    pub(super) fn ask_for_scores(&mut self, window: WindowIndex) {
        if self.listening_since.is_none() || self.scoring.is_none() {
            return;
        }
        let edges = self.shard_edges();
        if let Some(scoring) = &mut self.scoring
            && let Some(batch) = scoring.ask(self.now, window, &edges)
        {
            self.outputs.push_back(Output::Score(Box::new(batch)));
        }
    }

    pub(super) fn take_scores(&mut self, scores: Scores) {
        if let Some(scoring) = &mut self.scoring {
            // What came too late is counted there.
            let _answer: Answer = scoring.take(self.now, scores);
        }
    }
}
