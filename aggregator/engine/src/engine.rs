//! One state machine: state → graph → detectors → incidents. (steps 8–13)

mod compare;
mod edges;
mod judge;
mod score;
mod why;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hsw_detect::{Detector, Finding};
use hsw_fusion::Scoring;
use hsw_graph::{InteractionGraph, Watch};
use hsw_hot::{HotLists, HotRow};
use hsw_state::{Cluster, NodeIndex};
use hsw_structure::Structure;
use hsw_types::{
    HotKind, Monotonic, NodeId, Role, SeriesKey, ShardId, ShardSummary, WallTime, WindowIndex,
};

use crate::contract::{Config, Counters, Input, Output};
use crate::features::Gatherer;
use crate::hot;
use crate::incident::{Incident, IncidentId};
use crate::intrusion::{self, Intrusions, Scene};
use crate::judgement::Judges;
use crate::liveness::{self, Heard};
use crate::map::ShardMap;
use crate::policy::{Part, Policy, Told};
use crate::symptoms::{self, Symptoms};
use crate::view::{Armed, GraphView, NodeLiveness, SeriesView, ShardView};
use crate::why::Book;

/// Windows judged in one go at most; after a longer gap the older ones are skipped.
const CATCH_UP_WINDOWS: i64 = 200;
/// Inputs come every second; after a longer pause than this it was us who did not listen.
const PAUSE: Duration = Duration::from_secs(5);
/// Seconds between two looks at what changed in the graph.
const FOLLOW_EVERY_S: i64 = 5;
/// Seconds from such a look to the next upkeep of what drifts.
const UPKEEP_AFTER_S: i64 = 2;

/// The engine. See the crate's header.
#[derive(Debug)]
pub struct Engine {
    pub(crate) map: ShardMap,
    pub(crate) cluster: Cluster,
    pub(crate) detector: Detector,
    pub(crate) graph: InteractionGraph,
    pub(crate) watch: Watch,
    pub(crate) structure: Structure,
    pub(crate) policy: Policy,
    pub(crate) intrusions: Intrusions,
    pub(crate) hot: HotLists,
    pub(crate) judges: Judges,
    places: judge::Places,
    pub(crate) book: Book,
    pub(crate) heard: Vec<Heard>,
    pub(crate) liveness: Vec<NodeLiveness>,
    /// Symptoms of each shard at the newest judged window, in the map's order.
    pub(crate) symptoms: Vec<(ShardId, Symptoms)>,
    pub(crate) wall: WallTime,
    now: Monotonic,
    listening_since: Option<Monotonic>,
    judged: Option<WindowIndex>,
    findings: Vec<Finding>,
    gatherer: Gatherer,
    pub(crate) scoring: Option<Scoring>,
    minute: WindowIndex,
    /// When the graph was last looked at for changes.
    followed: WindowIndex,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Engine {
    /// Starts empty, in replay: nothing is raised before [`Input::ReplayDone`].
    #[must_use]
    pub fn new(config: Config, map: ShardMap) -> Self {
        let mut engine = Self {
            cluster: Cluster::new(config.n_series_per_node_max),
            detector: Detector::default(),
            graph: InteractionGraph::default(),
            watch: Watch::default(),
            structure: Structure::learning_for(i64::from(config.learn_s) * 1_000_000),
            intrusions: Intrusions::default(),
            policy: Policy::new(config.n_incidents_max),
            hot: HotLists::default(),
            judges: Judges::new(config.weights, config.hyperscore),
            places: judge::Places::default(),
            book: Book::new(config.causes, config.runbook),
            heard: Vec::new(),
            liveness: Vec::new(),
            symptoms: Vec::new(),
            wall: WallTime::default(),
            now: Monotonic::default(),
            listening_since: None,
            judged: None,
            findings: Vec::new(),
            gatherer: Gatherer::default(),
            scoring: None,
            minute: WindowIndex(i64::MIN),
            followed: WindowIndex(i64::MIN),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            map,
        };
        if let Some(ms) = config.score_ms_max {
            engine.score_within(Duration::from_millis(u64::from(ms)));
        }
        let nodes: Vec<NodeId> = engine.map.shards().flat_map(|e| e.nodes.clone()).collect();
        for node in nodes {
            engine.node(&node);
        }
        if !engine.book.cases().is_empty() {
            let cases = engine.book.cases();
            engine.outputs.push_back(Output::Learn(cases));
        }
        engine
    }

    /// Told something; `now` never runs backwards.
    pub fn handle(&mut self, now: Monotonic, input: Input) {
        let is_awake_again = now.since(self.now) > PAUSE;
        self.now = self.now.max(now);
        if is_awake_again && self.listening_since.is_some() {
            // We were stopped (a suspended machine, a debugger): nobody could be heard, and nobody is to blame.
            self.listening_since = Some(now);
        }
        match input {
            Input::Summary {
                node,
                summary,
                received,
                is_replay,
            } => {
                // A wrong clock must not carry the graph into the future.
                let told = summary.first_window.min(received.window());
                self.take(&node, *summary, received, is_replay);
                if is_replay {
                    self.follow_replay(told);
                } else {
                    self.wall = self.wall.max(received);
                }
                self.advance();
            }
            Input::Heard {
                node,
                clock_offset_us,
            } => {
                let at = self.node(&node);
                let heard = &mut self.heard[at];
                heard.last = Some(now);
                heard.is_stopped = false;
                heard.clock_offset_us = clock_offset_us.or(heard.clock_offset_us);
            }
            Input::Stopped { node } => {
                let at = self.node(&node);
                self.heard[at].is_stopped = true;
            }
            Input::HotName {
                kind,
                key,
                name,
                told,
            } => self.hot.restore_name(kind, key, &name, told),
            Input::Restored(incident) => self.restore(*incident),
            Input::Accepted(id) => self.accept(id),
            Input::Labelled { id, is_sick } => self.label(id, is_sick),
            Input::Weights { versions, labels } => self.judges.restore(versions, labels, self.wall),
            Input::Feedback { id, word } => self.hear_feedback(id, word),
            Input::Causes { cases, is_new } => self.replace_causes(cases, is_new),
            Input::Learned(known) => self.know(*known),
            Input::Explained(id, why) => self.book.keep(id, Arc::new(*why)),
            Input::Scored(scores) => self.take_scores(scores),
            Input::ReplayDone { wall } => {
                self.wall = wall;
                self.followed = self.followed.min(wall.window());
                self.listening_since = Some(now);
                self.policy
                    .begin(self.judged.unwrap_or_else(|| wall.window()));
            }
            Input::Clock { wall } => {
                self.wall = wall;
                self.advance();
                self.decide();
                self.look(wall);
            }
        }
    }

    /// What to do next; drain before the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Call `handle(_, Input::Clock)` no later than this.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.now + Duration::from_secs(1))
    }

    /// The shard map in force.
    #[must_use]
    pub const fn map(&self) -> &ShardMap {
        &self.map
    }

    /// Every shard and router, in name order.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardView> {
        crate::show::shards(self)
    }

    /// Whether detection works yet.
    #[must_use]
    pub fn armed(&self) -> Armed {
        crate::show::armed(self)
    }

    /// Incidents, newest first: open ones and the closed ones still kept.
    #[must_use]
    pub fn incidents(&self) -> Vec<Arc<Incident>> {
        let mut all = self.policy.incidents();
        all.extend(self.intrusions.incidents());
        all.sort_by_key(|incident| std::cmp::Reverse((incident.raised, incident.id)));
        all
    }

    /// One incident.
    #[must_use]
    pub fn incident(&self, id: IncidentId) -> Option<Arc<Incident>> {
        self.incidents()
            .into_iter()
            .find(|incident| incident.id == id)
    }

    /// The interaction graph now.
    #[must_use]
    pub fn graph(&self) -> GraphView {
        crate::show::graph(self)
    }

    /// Nodes whose agents stand for landmarks of the graph; `None` while nothing is known of it.
    #[must_use]
    pub fn landmark_nodes(&self) -> Option<BTreeSet<NodeId>> {
        let is_known = self.watch.has_begun();
        is_known.then(|| self.watch.landmark_nodes())
    }

    /// The same series on every node of the given shards that has it (all shards when empty), for charts.
    #[must_use]
    pub fn series(
        &self,
        key: &SeriesKey,
        shards: &[ShardId],
        from: WindowIndex,
    ) -> Vec<SeriesView> {
        crate::show::series(self, key, shards, from)
    }

    /// Names of the series a node has, ascending.
    #[must_use]
    pub fn series_names(&self, node: &NodeId) -> Vec<SeriesKey> {
        let Some(at) = self.cluster.find(node) else {
            return Vec::new();
        };
        let keys = self.cluster.nodes()[at].series.keys();
        let mut names: Vec<SeriesKey> = keys
            .map(|key| self.cluster.keys()[*key].key.clone())
            .collect();
        names.sort();
        names
    }

    /// What is hot: lists, trends, names.
    #[must_use]
    pub const fn hot(&self) -> &HotLists {
        &self.hot
    }

    /// The next finished minute of a node's counts, for whoever keeps history.
    pub fn poll_hot_row(&mut self) -> Option<HotRow> {
        self.hot.poll_row()
    }

    /// The next name to keep beside them.
    pub fn poll_hot_name(&mut self) -> Option<(HotKind, u64, String)> {
        self.hot.poll_name()
    }

    /// What was left out or refused, since the start: (`name`, count), for `/metrics`.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut named = self.counters.named();
        named.push(("edges_left_out", self.graph.n_left_out()));
        named.push(("hot_sketches_refused", self.hot.n_refused()));
        named.extend(self.scoring.iter().flat_map(Scoring::counts));
        named
    }

    /// The node's index; a new one gets its places in the lists beside the state.
    fn node(&mut self, node: &NodeId) -> NodeIndex {
        let at = self.cluster.node_index(node);
        let n = self.cluster.nodes().len();
        self.heard.resize_with(n, Heard::default);
        self.liveness.resize(n, NodeLiveness::NeverSeen);
        at
    }

    fn take(
        &mut self,
        node: &NodeId,
        mut summary: ShardSummary,
        received: WallTime,
        is_replay: bool,
    ) {
        self.counters.summaries += 1;
        let at = self.node(node);
        let shift = self.shift(at, &summary, received);
        self.counters.summaries_shifted += u64::from(shift != 0);
        summary.first_window = summary.first_window + shift;
        if !is_replay {
            self.heard[at].last = Some(self.now);
            self.heard[at].last_summary = Some(self.now);
            self.heard[at].is_stopped = false;
        }
        let (first, n) = (summary.first_window, i64::from(summary.n_windows));
        let has_facts = summary.facts.is_some();
        let hot = std::mem::take(&mut summary.hot);
        let applied = self.cluster.apply(at, summary);
        self.counters.unknown_ids += applied.unknown_ids;
        self.counters.over_limit += applied.over_limit;
        for key in applied.renamed {
            self.detector.forget(at, key);
        }
        let state = &self.cluster.nodes()[at];
        self.graph.place(node, &state.facts.address);
        if self.map.shard_of(node).is_none() && has_facts {
            let is_router = state.facts.role == Role::Router;
            let shard = self.shard_by_facts(at);
            self.map.join(node, &shard, is_router);
        }
        match self.map.shard_of(node) {
            Some(shard) => self.hot.take(shard, node, first, &hot),
            None => self.counters.nodes_without_shard += 1,
        }
        let last = first + (n - 1);
        self.touch_edges(at, node, last, n);
        let state = &self.cluster.nodes()[at];
        if !self.heard[at].has_been_up
            && let Some(key) = self.cluster.find_key(&SeriesKey::node(liveness::UP))
            && let Some(series) = state.series.get(&key)
        {
            self.heard[at].has_been_up = series.back_from(last, n).any(|(_, up)| up > 0.5);
        }
    }

    fn advance(&mut self) {
        let Some((reach, nodes)) = self.reach() else {
            return;
        };
        let mut next = self.judged.map_or(reach, WindowIndex::next);
        if reach - next > CATCH_UP_WINDOWS {
            self.counters.windows_skipped += (reach - next - CATCH_UP_WINDOWS) as u64;
            next = reach + -CATCH_UP_WINDOWS;
        }
        if next > reach {
            return;
        }
        let groups = self.groups(&nodes);
        while next <= reach {
            let frozen = self.frozen();
            self.findings = self
                .detector
                .evaluate(&self.cluster, &groups, next, &frozen);
            self.judge_shards(next, &nodes);
            self.counters.windows_judged += 1;
            self.judged = Some(next);
            self.decide();
            // After the rules: models read what they saw at this very window.
            self.show_features(next);
            next = next.next();
        }
        self.ask_for_scores(reach);
        self.housekeep(reach);
    }

    fn housekeep(&mut self, reach: WindowIndex) {
        if reach - self.minute < 60 {
            return;
        }
        self.minute = reach;
        for (node, key) in self.cluster.expire(reach) {
            self.detector.forget(node, key);
        }
        self.graph.expire(reach.start());
    }

    /// Liveness and findings into symptoms, symptoms into incidents.
    fn decide(&mut self) {
        let Some(listening_since) = self.listening_since else {
            return;
        };
        self.liveness = liveness::judge(&self.cluster, &self.heard, self.now, listening_since);
        let window = self.judged.unwrap_or_else(|| self.wall.window());
        // Without any new window (nobody speaks) time still passes.
        let window = if self.is_nobody_heard() {
            window.max(self.wall.window())
        } else {
            window
        };
        let suspicions = self.structure.suspicions();
        let scene = Scene {
            graph: &self.graph,
            map: &self.map,
            policy: &self.policy,
        };
        let mut parts = Vec::new();
        for entry in self.map.shards() {
            let members: Vec<NodeIndex> = entry
                .nodes
                .iter()
                .filter_map(|node| self.cluster.find(node))
                .collect();
            let findings: Vec<&Finding> = self
                .findings
                .iter()
                .filter(|f| members.contains(&f.node))
                .collect();
            let liveness: Vec<_> = members.iter().map(|&at| (at, self.liveness[at])).collect();
            let symptoms =
                symptoms::gather(&self.cluster, &entry.shard, &findings, &liveness, window);
            let symptoms = hot::add(
                &self.hot,
                symptoms,
                &entry.shard,
                members.first().map(|&at| &self.cluster.nodes()[at].node),
                window,
            );
            let symptoms = intrusion::add(symptoms, &entry.shard, suspicions, &scene);
            // Cloned only where somebody is to read them.
            let told = if symptoms.is_sick { &members[..] } else { &[] };
            let logs = told
                .iter()
                .flat_map(|&at| self.cluster.nodes()[at].log_samples.iter().cloned());
            parts.push(Part {
                shard: &entry.shard,
                judgement: self.judges.of(&entry.shard),
                is_router: entry.is_router,
                logs: logs.collect(),
                symptoms,
            });
        }
        let mut told = self.policy.step(window, &parts);
        self.symptoms = parts
            .into_iter()
            .map(|part| (part.shard.clone(), part.symptoms))
            .collect();
        told.extend(self.judge_edges(window));
        let mut changed = Vec::with_capacity(told.len());
        for told in told {
            let (Told::Raised(incident) | Told::Changed(incident) | Told::Closed(incident)) = &told;
            changed.push(Arc::clone(incident));
            self.outputs.push_back(match told {
                Told::Raised(incident) => Output::IncidentRaised(incident),
                Told::Changed(incident) => Output::IncidentChanged(incident),
                Told::Closed(incident) => Output::IncidentClosed(incident),
            });
        }
        self.explain(window, &changed);
    }

    /// The newest judged window.
    #[must_use]
    pub const fn judged(&self) -> Option<WindowIndex> {
        self.judged
    }
}
