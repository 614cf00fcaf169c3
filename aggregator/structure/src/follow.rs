//! The order of a look: facts, judgement, what is raised.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::{EdgeId, Event, InteractionGraph, Vertex, Watch};
use hsw_types::{EdgeKind, NodeId, WallTime};

use crate::access::{Access, Actor};
use crate::candidates::{Candidate, Candidates, Glimpses, MISTAKE_MAX, Raised};
use crate::drift::Drift;
use crate::evidence::{self, Evidence};
use crate::explain::{Followers, Verdict, View};
use crate::granted::{InQuestion, Look};
use crate::grants::{Grant, Grants};
use crate::habits::Habits;
use crate::patterns;
use crate::suspicion::{Place, Suspicion};

/// How long all is learned and nothing raised, three minutes: the rate of what is seen for the first time must be known to half of its
/// least value of interest. A start within a running day raises what the night brings for the first time.
pub const LEARNING_US: i64 = 3 * 60 * 1_000_000;
/// What is told within a minute of the first edge was there before.
const BEGINNING_US: i64 = 60 * 1_000_000;
/// Raised is what honest change shows less often than this.
const CHANCE_MAX: f64 = 0.05;
/// Edges remembered that an operator said are fine; the rest is known as any habit is.
const N_ACCEPTED_MAX: usize = 20_000;
/// Refusals that go on are looked up once a minute: they matter for half an hour.
const RENEW_US: i64 = 60 * 1_000_000;
const SWEEP_US: i64 = 3_600 * 1_000_000;

/// The model and what it suspects. See the crate's header.
#[derive(Debug, Clone)]
pub struct Structure {
    learning_us: i64,
    habits: Habits,
    grants: Grants,
    evidence: Evidence,
    candidates: Candidates,
    given: InQuestion,
    /// Edges that are there, and what they are as accesses.
    up: BTreeMap<EdgeId, Vec<Access>>,
    next_event: u64,
    began: Option<WallTime>,
    swept: WallTime,
    renewed: WallTime,
    suspicions: Vec<Suspicion>,
    /// Edges that an operator said are fine.
    accepted: BTreeSet<EdgeId>,
    drift: Drift,
}

impl Default for Structure {
    fn default() -> Self {
        Self::learning_for(LEARNING_US)
    }
}

impl Structure {
    /// With another time of learning, in microseconds.
    #[must_use]
    pub fn learning_for(learning_us: i64) -> Self {
        Self {
            learning_us,
            habits: Habits::default(),
            grants: Grants::default(),
            evidence: Evidence::default(),
            candidates: Candidates::default(),
            given: InQuestion::default(),
            up: BTreeMap::new(),
            next_event: 0,
            began: None,
            swept: WallTime(i64::MIN / 2),
            renewed: WallTime(i64::MIN / 2),
            suspicions: Vec::new(),
            accepted: BTreeSet::new(),
            drift: Drift::default(),
        }
    }

    /// Learns and judges; to be called every few seconds. Work by what changed and what is in question; O(edges) at the start.
    pub fn follow(
        &mut self,
        graph: &InteractionGraph,
        place: impl Fn(&NodeId) -> Option<Place>,
        watch: &Watch,
        now: WallTime,
    ) {
        if self.began.is_none() && graph.n_edges() > 0 {
            self.began = Some(now);
        }
        let Some(began) = self.began else { return };
        let is_beginning = now.0 - began.0 < BEGINNING_US;
        let fresh = self.take(graph, &place, (is_beginning, now));
        if now.0 - self.renewed.0 >= RENEW_US {
            self.renewed = now;
            self.grants.renew(graph);
        }
        if is_beginning {
            fresh
                .iter()
                .for_each(|(_, access)| self.habits.learn(access, now, false));
        } else {
            self.question(fresh, now);
        }
        for (client, n) in self.candidates.look(graph, now) {
            self.habits.glimpse(&client, n);
        }
        self.candidates.test(
            &mut self.evidence,
            self.habits.n_up,
            self.habits.targets.len(),
        );
        self.judge(began, now);
        self.judge_grants(graph, began, now);
        if now.0 - self.swept.0 >= SWEEP_US {
            self.swept = now;
            self.habits.sweep(now);
            self.grants.sweep(now);
        }
        let followers = Followers::new();
        let view = self.view(&followers, began, now);
        let mut suspicions = patterns::assemble(&view, &self.candidates);
        for new in self.given.suspicions(&view) {
            patterns::merge(&mut suspicions, new);
        }
        suspicions.sort_by(|a, b| {
            b.strength
                .total_cmp(&a.strength)
                .then_with(|| a.client.cmp(&b.client))
        });
        self.drift.look(watch);
        self.measure(&mut suspicions, watch);
        self.drift.explain(&mut suspicions);
        self.suspicions = suspicions;
    }

    /// Distances that their edges changed; what was measured before stands while the edges do.
    fn measure(&self, suspicions: &mut [Suspicion], watch: &Watch) {
        for suspicion in suspicions {
            let before = self
                .suspicions
                .iter()
                .find(|old| old.client == suspicion.client);
            suspicion.n_distances = match before {
                Some(old) if old.edges == suspicion.edges => old.n_distances,
                _ => {
                    let edges: BTreeSet<&EdgeId> = suspicion.edges.iter().collect();
                    let came = watch
                        .changes()
                        .filter(|c| c.came && edges.contains(&c.edge));
                    came.map(|change| change.n_distances).sum()
                }
            };
        }
    }

    /// Open ones, strongest first.
    #[must_use]
    pub fn suspicions(&self) -> &[Suspicion] {
        &self.suspicions
    }

    /// From when on suspicions are raised; `None` until the first edge is known.
    #[must_use]
    pub fn judges_from(&self) -> Option<WallTime> {
        self.began.map(|began| WallTime(began.0 + self.learning_us))
    }

    /// An operator says, or has said before a restart, that these edges are fine: they are to be expected from now on.
    pub fn accept(&mut self, edges: &[EdgeId]) {
        let n_free = N_ACCEPTED_MAX.saturating_sub(self.accepted.len());
        self.accepted.extend(edges.iter().take(n_free).cloned());
        let edges: BTreeSet<&EdgeId> = edges.iter().collect();
        let (habits, evidence) = (&mut self.habits, &mut self.evidence);
        let mut origins = BTreeSet::new();
        self.candidates.all.retain(|(edge, _), candidate| {
            let is_fine = edges.contains(edge);
            if is_fine {
                if origins.insert(candidate.access.origin()) {
                    evidence.confirm(candidate.raised_at);
                }
                habits.learn(&candidate.access, candidate.since, true);
            }
            !is_fine
        });
        for grant in self.given.accept(|edge| edges.contains(edge)) {
            self.grants.learn(&grant);
        }
        self.suspicions.retain_mut(|suspicion| {
            suspicion.edges.retain(|edge| !edges.contains(edge));
            !suspicion.edges.is_empty()
        });
    }

    /// Accesses and grants left out over the limits, since the start: they are neither learned nor raised.
    #[must_use]
    pub const fn n_left_out(&self) -> u64 {
        self.candidates.n_left_out + self.given.n_left_out
    }

    const fn view<'a>(
        &'a self,
        followers: &'a Followers,
        began: WallTime,
        now: WallTime,
    ) -> View<'a> {
        View {
            habits: &self.habits,
            grants: &self.grants,
            given: &self.given,
            followers,
            began: WallTime(began.0 + BEGINNING_US),
            now,
        }
    }

    /// Facts of what came and went; accesses that came, in the order of their edges.
    fn take(
        &mut self,
        graph: &InteractionGraph,
        place: &impl Fn(&NodeId) -> Option<Place>,
        (is_beginning, now): (bool, WallTime),
    ) -> Vec<(EdgeId, Access)> {
        let mut fresh = Vec::new();
        for id in self.touched(graph) {
            let Some(edge) = graph.edge(&id) else {
                for access in self.up.remove(&id).unwrap_or_default() {
                    self.habits.leave(&access, now);
                }
                continue;
            };
            if let (EdgeKind::RefusedLogin, Vertex::Client { host, .. }) = (id.kind, &id.from) {
                self.grants.refuse(host, &id, edge);
            }
            if let Some(grant) = Grant::of(&id, place) {
                self.grants.note(&grant, now);
                let is_fine = is_beginning || self.accepted.contains(&id);
                if is_fine || self.grants.is_known(&grant) {
                    self.grants.learn(&grant);
                } else {
                    self.given.insert(&id, grant, now);
                }
            }
            let known = self.up.entry(id.clone()).or_default();
            let unknown_role = String::new();
            let users = edge
                .users
                .keys()
                .chain(edge.users.is_empty().then_some(&unknown_role));
            for access in users.filter_map(|user| Access::of(&id, user, place)) {
                if !known.contains(&access) {
                    known.push(access.clone());
                    self.habits.note(&id, &access, now);
                    fresh.push((id.clone(), access));
                }
            }
        }
        fresh
    }

    /// Edges that something happened to, ascending.
    fn touched(&mut self, graph: &InteractionGraph) -> BTreeSet<EdgeId> {
        let from = std::mem::replace(&mut self.next_event, graph.n_events());
        let Some(events) = graph.events(from) else {
            let there = graph.edges().map(|(id, _)| id.clone());
            return self.up.keys().cloned().chain(there).collect();
        };
        let ids = events.map(|event| match event {
            Event::Came(id) | Event::Went(id) | Event::Acted { edge: id, .. } => id.clone(),
        });
        ids.collect()
    }

    /// What is not history is in question until it is known to be there.
    fn question(&mut self, fresh: Vec<(EdgeId, Access)>, now: WallTime) {
        let fresh: Vec<_> = fresh
            .into_iter()
            .filter(|(_, access)| !self.habits.is_history(access))
            .collect();
        self.evidence.look(fresh.len());
        for (edge, access) in fresh {
            if self.accepted.contains(&edge) {
                self.habits.learn(&access, now, true);
            } else {
                self.candidates.insert(&edge, access, now);
            }
        }
    }

    fn judge_grants(&mut self, graph: &InteractionGraph, began: WallTime, now: WallTime) {
        let mut given = std::mem::take(&mut self.given);
        let p = self.evidence.by_change(began, now, 0);
        let is_known = now.0 - began.0 >= self.learning_us && p <= CHANCE_MAX;
        let followers = Followers::new();
        let look = Look {
            graph,
            up: &self.up,
            p: is_known.then_some(p),
        };
        let learned = given.judge(&self.view(&followers, began, now), &look);
        learned.iter().for_each(|grant| self.grants.learn(grant));
        self.given = given;
    }

    /// Whether a client's sightings come so thick that it would have been seen before, had it always been there: sessions of milliseconds
    /// are seen by chance, a place today and another tomorrow.
    fn is_new(
        &self,
        candidate: &Candidate,
        glimpses: &BTreeMap<&Actor, Glimpses>,
        began: WallTime,
        now: WallTime,
    ) -> bool {
        let client = &candidate.access.client;
        let Some(seen) = glimpses.get(client) else {
            return true;
        };
        let past = self.habits.actors.get(client);
        let n_before = past.map_or(0, |past| past.n_glimpses);
        let before_us = seen.first.0 - began.0;
        let p = evidence::by_being_rare((n_before, before_us), (seen.n, now.0 - seen.first.0));
        p <= MISTAKE_MAX
    }

    /// What is there and explained is learned; what is there and not explained is raised, where enough is known.
    fn judge(&mut self, began: WallTime, now: WallTime) {
        let followers = self.candidates.followers();
        let view = self.view(&followers, began, now);
        let is_learning = now.0 - began.0 < self.learning_us;
        let glimpses = self.candidates.glimpses();
        let mut learned = Vec::new();
        let mut joining = Vec::new();
        let mut raised = Vec::new();
        for (key, candidate) in self.candidates.all.iter().filter(|(_, c)| c.is_real) {
            match view.verdict(&candidate.access, candidate.since) {
                Verdict::Expected => learned.push((key.clone(), false)),
                Verdict::Roams => learned.push((key.clone(), true)),
                // What is raised is no honest change until an operator says so.
                Verdict::Joins if candidate.raised.is_none() => {
                    joining.push(candidate.access.clone());
                    learned.push((key.clone(), false));
                }
                Verdict::Unexpected
                    if candidate.raised.is_none()
                        && self.is_new(candidate, &glimpses, began, now) =>
                {
                    let reasons = patterns::reasons(&view, &candidate.access);
                    raised.push((key.clone(), reasons));
                }
                Verdict::Joins | Verdict::Wait(_) | Verdict::Unexpected => {}
            }
        }
        joining.iter().for_each(|one| self.habits.welcome(one));
        let p = self.evidence.by_change(began, now, 0);
        // Who is under suspicion already is not a second coincidence.
        let known = self.candidates.all.values();
        let raised_before = known.filter(|c| c.raised.is_some());
        let suspects: BTreeSet<_> = raised_before
            .clone()
            .map(|c| c.access.client.clone())
            .collect();
        // One who gives himself many names is one coincidence: what a client calls itself costs it nothing.
        let mut counted: BTreeSet<_> = raised_before.map(|c| c.access.origin()).collect();
        for (key, reasons) in raised {
            let Some(candidate) = self.candidates.all.get_mut(&key) else {
                continue;
            };
            let is_suspect = suspects.contains(&candidate.access.client);
            if is_learning || (p > CHANCE_MAX && !is_suspect) {
                // What is raised is no honest change until an operator says so: decoys do not make the rest usual.
                if counted.insert(candidate.access.origin()) {
                    self.evidence.confirm(now);
                }
                learned.push((key, true));
            } else {
                candidate.raised = Some(Raised { p, reasons });
                candidate.raised_at = now;
            }
        }
        for (key, is_widening) in learned {
            if let Some(candidate) = self.candidates.all.remove(&key) {
                let n = candidate.n_sightings();
                self.habits.glimpse(&candidate.access.client, n);
                self.habits.learn(&candidate.access, now, is_widening);
            }
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
