//! From suspicions to incidents whose root is an edge: one client, one incident. (steps 9–14)
//!
//! In: the suspicions about the graph, step by step. Out: incidents raised, changed and closed; context for incidents of shards.
//! Rules. (1) All that is suspicious of one client is one incident. (2) A lone new pair waits for [`PAIR_HOLD`]: when its shard turns
//! out to be sick meanwhile, it is a reason of that incident and none of its own. (3) It ends when nothing was suspicious for
//! [`CLOSE_AFTER`]. Invariant: IN-1. Limits: [`N_OPEN`] open ones, [`N_EDGES`] edges each.
//! Does not: judge what is suspicious (the crate `hsw-structure` does).

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hsw_graph::{EdgeId, InteractionGraph, Vertex};
use hsw_structure::{Pattern, Suspicion};
use hsw_types::{
    EdgeKind, EdgeSubject, Family, NodeId, SeriesKey, ShardId, Unit, WindowIndex, fnv1a_64,
};

use crate::incident::{
    Evidence, Incident, IncidentId, IncidentState, Intrusion, IntrusionEdge, Symptom,
};
use crate::map::ShardMap;
use crate::policy::{N_EVIDENCE, Policy, TELL_EVERY, Told};
use crate::symptoms::{self, Symptoms};

/// Windows a lone new pair waits for its shard to show trouble: twice what a fault takes to open an incident.
const PAIR_HOLD: i64 = 20;
/// Windows without suspicion after which an incident is over.
const CLOSE_AFTER: i64 = 60;
/// Incidents open at a time: beyond it the weaker suspicions wait.
const N_OPEN: usize = 50;
/// Edges an incident names.
const N_EDGES: usize = 50;
/// Reasons it names.
const N_REASONS: usize = 12;
/// Strength of a suspicion at which an edge weighs as much as a database that does not answer.
const STRENGTH_MAX: f64 = 25.0;

/// What a suspicion is held against.
pub(crate) struct Scene<'a> {
    pub(crate) graph: &'a InteractionGraph,
    pub(crate) map: &'a ShardMap,
    pub(crate) policy: &'a Policy,
}

#[derive(Debug)]
struct Open {
    client: Vertex,
    incident: Incident,
    /// Its edges, as the graph knows them.
    edges: Vec<EdgeId>,
    last_seen: WindowIndex,
    told_at: WindowIndex,
    is_changed: bool,
}

/// The incidents whose root is an edge. See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Intrusions {
    open: Vec<Open>,
    /// Clients whose new pair was a reason of a shard's incident.
    explained: BTreeSet<Vertex>,
    /// Clients that are suspected and for whose incident there is no room.
    n_waiting: usize,
}

impl Intrusions {
    /// Takes back an open incident from the store; it ends unless it shows itself again.
    pub(crate) fn restore(&mut self, incident: Incident, now: WindowIndex) {
        let client = incident.intrusion.as_ref();
        let client = client.and_then(|intrusion| Vertex::of_id(&intrusion.client));
        if let Some(client) = client {
            let edges = incident.intrusion.iter().flat_map(Intrusion::ids);
            self.open.push(Open {
                client,
                edges: edges.collect(),
                last_seen: now.max(incident.raised),
                told_at: incident.raised,
                incident,
                is_changed: false,
            });
        }
    }

    /// One step; `window` is the newest judged one.
    pub(crate) fn step(
        &mut self,
        window: WindowIndex,
        suspicions: &[Suspicion],
        scene: &Scene<'_>,
    ) -> Vec<Told> {
        let mut told = Vec::new();
        let mut by_client: BTreeMap<&Vertex, Vec<&Suspicion>> = BTreeMap::new();
        // Clients in the order of their strongest suspicion: where there is no room for all, names do not decide.
        let mut clients: Vec<&Vertex> = Vec::new();
        for suspicion in suspicions {
            let own = by_client.entry(&suspicion.client).or_default();
            if own.is_empty() {
                clients.push(&suspicion.client);
            }
            own.push(suspicion);
        }
        self.explained
            .retain(|client| by_client.contains_key(client));
        self.n_waiting = 0;
        for client in clients {
            let suspicions = &by_client[client];
            let at = self.open.iter().position(|open| open.client == *client);
            if at.is_none() && self.open.len() >= N_OPEN && !self.explained.contains(client) {
                self.n_waiting += 1;
            }
            if at.is_none() && !self.opens(window, client, suspicions, scene) {
                continue;
            }
            let is_new = at.is_none();
            let at = at.unwrap_or_else(|| {
                self.open
                    .push(Open::new(client, window, suspicions[0], scene));
                self.open.len() - 1
            });
            let open = &mut self.open[at];
            open.feed(window, suspicions, scene);
            if is_new {
                open.is_changed = false;
                told.push(Told::Raised(Arc::new(open.incident.clone())));
            }
        }
        told.extend(self.tell_and_close(window));
        told
    }

    /// An operator says that this open incident is no intrusion: it ends, and its edges are given back to become expected.
    pub(crate) fn accept(
        &mut self,
        id: IncidentId,
        window: WindowIndex,
    ) -> Option<(Vec<EdgeId>, Arc<Incident>)> {
        let at = self.open.iter().position(|open| open.incident.id == id)?;
        let mut open = self.open.remove(at);
        if let Some(intrusion) = &mut open.incident.intrusion {
            intrusion.is_accepted = true;
        }
        Some((open.edges, closed(open.incident, window)))
    }

    /// Clients that are suspected and for whose incident there is no room.
    pub(crate) const fn n_waiting(&self) -> usize {
        self.n_waiting
    }

    /// Open ones.
    pub(crate) fn incidents(&self) -> impl Iterator<Item = Arc<Incident>> + '_ {
        self.open.iter().map(|open| Arc::new(open.incident.clone()))
    }

    /// Whether an open incident reaches this shard.
    pub(crate) fn is_involved(&self, shard: &ShardId) -> bool {
        self.open.iter().any(|open| {
            let affected = &open.incident.affected;
            open.incident.root == *shard || affected.iter().any(|(other, _)| other == shard)
        })
    }

    fn opens(
        &mut self,
        window: WindowIndex,
        client: &Vertex,
        suspicions: &[&Suspicion],
        scene: &Scene<'_>,
    ) -> bool {
        if self.open.len() >= N_OPEN || self.explained.contains(client) {
            return false;
        }
        if !suspicions.iter().all(|one| is_lone_pair(one)) {
            return true;
        }
        let edges = suspicions.iter().flat_map(|one| &one.edges);
        let is_of_sick_shard = edges
            .filter_map(|edge| shard_of(edge, scene.map))
            .any(|shard| scene.policy.is_root(shard));
        if is_of_sick_shard {
            self.explained.insert(client.clone());
            return false;
        }
        let since = suspicions.iter().map(|one| one.since.window()).min();
        since.is_some_and(|since| window - since >= PAIR_HOLD)
    }

    fn tell_and_close(&mut self, window: WindowIndex) -> Vec<Told> {
        let mut told = Vec::new();
        self.open.retain_mut(|open| {
            if window - open.last_seen >= CLOSE_AFTER {
                let ended = open.last_seen.min(window);
                told.push(Told::Closed(closed(open.incident.clone(), ended)));
                return false;
            }
            if open.is_changed && window - open.told_at >= TELL_EVERY {
                open.is_changed = false;
                open.told_at = window;
                open.incident.revision += 1;
                told.push(Told::Changed(Arc::new(open.incident.clone())));
            }
            true
        });
        told
    }
}

impl Intrusion {
    /// Its edges, as the graph knows them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = EdgeId> {
        self.edges.iter().filter_map(IntrusionEdge::id)
    }
}

impl Open {
    fn new(client: &Vertex, window: WindowIndex, first: &Suspicion, scene: &Scene<'_>) -> Self {
        let since = first.since.window();
        let named = format!("{} {} {}", client.id(), since.0, window.0);
        let edge = first.edges.first();
        let node = edge.and_then(node_of).cloned();
        let node = node.unwrap_or_else(nobody);
        let shard = edge.and_then(|edge| shard_of(edge, scene.map)).cloned();
        Self {
            client: client.clone(),
            incident: Incident {
                id: IncidentId(fnv1a_64(named.as_bytes())),
                state: IncidentState::Open,
                root: shard.unwrap_or_else(no_shard),
                node,
                started: since,
                raised: window,
                ended: None,
                confidence: 0.0,
                summary: String::new(),
                evidence: Vec::new(),
                affected: Vec::new(),
                log_samples: Vec::new(),
                judgement: None,
                intrusion: Some(Intrusion {
                    pattern: first.pattern,
                    client: client.id(),
                    edges: Vec::new(),
                    reasons: Vec::new(),
                    p: first.p,
                    n_distances: 0,
                    is_accepted: false,
                }),
                revision: 1,
            },
            edges: Vec::new(),
            last_seen: window,
            told_at: window,
            is_changed: false,
        }
    }

    fn feed(&mut self, window: WindowIndex, suspicions: &[&Suspicion], scene: &Scene<'_>) {
        self.last_seen = window;
        let incident = &mut self.incident;
        let Some(intrusion) = &mut incident.intrusion else {
            return;
        };
        // The most telling pattern names it.
        let worst = suspicions
            .iter()
            .max_by(|a, b| a.strength.total_cmp(&b.strength));
        if let Some(worst) = worst {
            self.is_changed |= intrusion.pattern != worst.pattern;
            intrusion.pattern = worst.pattern;
            intrusion.p = worst.p;
            intrusion.n_distances = intrusion.n_distances.max(worst.n_distances);
            incident.confidence = incident.confidence.max(1.0 - worst.p.clamp(0.0, 1.0));
        }
        for suspicion in suspicions {
            for reason in suspicion.reasons.iter().map(words::reason) {
                if intrusion.reasons.len() < N_REASONS && !intrusion.reasons.contains(&reason) {
                    intrusion.reasons.push(reason);
                }
            }
            incident.started = incident.started.min(suspicion.since.window());
            for edge in &suspicion.edges {
                if !self.edges.contains(edge) && self.edges.len() < N_EDGES {
                    self.edges.push(edge.clone());
                }
                let named = IntrusionEdge::of(edge, scene.graph, suspicion.since);
                let known = intrusion.edges.iter().any(|other| {
                    (&other.from, &other.to, other.kind) == (&named.from, &named.to, named.kind)
                });
                if known || intrusion.edges.len() >= N_EDGES {
                    continue;
                }
                intrusion.edges.push(named);
                self.is_changed = true;
                let Some(evidence) = evidence(suspicion, edge, scene) else {
                    continue;
                };
                let is_other = evidence.shard != incident.root;
                if is_other
                    && !incident
                        .affected
                        .iter()
                        .any(|(shard, _)| *shard == evidence.shard)
                {
                    incident
                        .affected
                        .push((evidence.shard.clone(), evidence.clone()));
                }
                incident.evidence.push(evidence);
            }
        }
        if self.is_changed {
            let evidence = std::mem::take(&mut incident.evidence);
            incident.evidence = symptoms::strongest(evidence, N_EVIDENCE);
            incident.summary = words::summary(&self.client, intrusion, suspicions, scene);
        }
    }
}

fn closed(mut incident: Incident, ended: WindowIndex) -> Arc<Incident> {
    incident.state = IncidentState::Closed;
    incident.ended = Some(ended.max(incident.started));
    incident.revision += 1;
    Arc::new(incident)
}

/// Adds what is suspicious about a sick shard's clients to its symptoms: the reason is often new.
pub(crate) fn add(
    mut symptoms: Symptoms,
    shard: &ShardId,
    suspicions: &[Suspicion],
    scene: &Scene<'_>,
) -> Symptoms {
    if !symptoms.is_sick || symptoms.is_blind {
        return symptoms;
    }
    for suspicion in suspicions {
        let edges = suspicion.edges.iter();
        let here = edges.filter(|edge| shard_of(edge, scene.map) == Some(shard));
        symptoms
            .evidence
            .extend(here.filter_map(|edge| evidence(suspicion, edge, scene)));
    }
    symptoms
}

/// Whether it is only that somebody talks to somebody he never talked to.
const fn is_lone_pair(suspicion: &Suspicion) -> bool {
    matches!(suspicion.pattern, Pattern::UnexpectedPair | Pattern::Bridge)
}

/// The node an edge is seen at.
fn node_of(edge: &EdgeId) -> Option<&NodeId> {
    let at = |vertex: &'_ Vertex| matches!(vertex, Vertex::Node(_) | Vertex::Role { .. });
    let vertex = if at(&edge.to) { &edge.to } else { &edge.from };
    match vertex {
        Vertex::Node(node) | Vertex::Role { node, .. } => Some(node),
        Vertex::Client { .. } | Vertex::Service { .. } => None,
    }
}

fn shard_of<'a>(edge: &EdgeId, map: &'a ShardMap) -> Option<&'a ShardId> {
    map.shard_of(node_of(edge)?)
}

fn nobody() -> NodeId {
    NodeId::new("unknown").expect("a plain word is a name")
}

fn no_shard() -> ShardId {
    ShardId::new("unknown").expect("a plain word is a name")
}

fn evidence(suspicion: &Suspicion, edge: &EdgeId, scene: &Scene<'_>) -> Option<Evidence> {
    let node = node_of(edge)?.clone();
    let shard = scene.map.shard_of(&node)?.clone();
    let known = scene.graph.edge(edge);
    let sessions = known.map_or(0.0, |edge| edge.sessions);
    let since = known.map_or(suspicion.since, |edge| edge.first_seen);
    let users: Vec<&str> = known
        .map(|edge| edge.users.keys().map(String::as_str).collect())
        .unwrap_or_default();
    Some(Evidence {
        symptom: Symptom::Interaction,
        series: series_of(edge),
        family: Family::Access,
        unit: Unit::Count,
        since: since.max(suspicion.since).window(),
        value: sessions,
        usual: Some(0.0),
        siblings: None,
        residual: suspicion.strength,
        weight: suspicion.strength.min(STRENGTH_MAX),
        sentence: words::sentence(edge, &users),
        node,
        shard,
    })
}

fn series_of(edge: &EdgeId) -> SeriesKey {
    let (peer, application, user) = match &edge.from {
        Vertex::Client { host, application } => (host.clone(), application.clone(), String::new()),
        Vertex::Role { name, .. } => match &edge.to {
            Vertex::Role { name: granted, .. } => (granted.clone(), String::new(), name.clone()),
            _ => (String::new(), String::new(), name.clone()),
        },
        Vertex::Node(node) => (node.to_string(), String::new(), String::new()),
        Vertex::Service { host, .. } => (host.clone(), String::new(), String::new()),
    };
    let metric = match edge.kind {
        EdgeKind::RefusedLogin => "edge.refused_logins",
        _ => "edge.sessions",
    };
    SeriesKey::edge(
        metric,
        EdgeSubject {
            kind: edge.kind,
            peer,
            port: 0,
            user,
            application,
            database: String::new(),
        },
    )
}

#[cfg(test)]
#[path = "intrusion_tests.rs"]
mod tests;
