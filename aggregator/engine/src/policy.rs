//! From symptoms to incidents: one cause, one root, all its symptoms. (steps 10–14)
//!
//! In: every shard's [`Symptoms`], step by step. Out: incidents raised, changed and closed.
//! Rules, in order. (1) An open incident lives while its root is sick, and ends when it was well for [`CLOSE_AFTER`].
//! (2) A shard that shows enough opens one; a router only when no shard behind it is sick, and later than a shard would.
//! (3) While one is open, another shard opens its own only with evidence of its own that is at least half as strong;
//! otherwise it is affected. (4) An incident that began at a victim moves to the culprit when that shows itself soon.
//! (5) A root that falls ill again soon after has the same incident, not a new one.
//! Invariants: EN-1. Limits: `n_incidents_max` closed ones are kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hsw_types::{LogSample, ShardId, WindowIndex, fnv1a_64};

use crate::incident::{Evidence, Incident, IncidentId, IncidentState, Symptom};
use crate::judgement::Judgement;
use crate::symptoms::{self, Symptoms};

/// Windows without sickness after which an incident is over.
const CLOSE_AFTER: i64 = 15;
/// Windows after the end in which the same root's next sickness belongs to the same incident.
const REOPEN_WITHIN: i64 = 60;
/// Windows that a router's evidence must hold: a shard's would have shown itself by then.
const ROUTER_HOLD: u32 = 7;
/// Windows in which an incident may move from a victim to the culprit.
const MOVE_WITHIN: i64 = 30;
/// Share of the open incident's strength from which another shard's own evidence is a cause of its own.
const RIVAL_SHARE: f64 = 0.5;
/// Pieces of evidence an incident shows.
pub(crate) const N_EVIDENCE: usize = 12;
/// Windows that incidents taken back after a restart have to show themselves: longer than a lost agent takes to be lost.
const BEGIN_GRACE: i64 = 20;
/// Share of an incident's strength that is left a window later when its root shows less: half after half a minute.
const FADE: f64 = 0.98;
/// Windows within which hosts that are lost are lost by one cause.
const LOST_TOGETHER: i64 = 120;
/// Kinds of evidence an incident remembers.
const N_REMEMBERED: usize = 200;
/// Windows between two changes that are told.
pub(crate) const TELL_EVERY: i64 = 5;

/// One shard's part of a step.
pub(crate) struct Part<'a> {
    pub(crate) shard: &'a ShardId,
    pub(crate) is_router: bool,
    pub(crate) symptoms: Symptoms,
    pub(crate) logs: Vec<LogSample>,
    pub(crate) judgement: Option<&'a Judgement>,
}

/// What a step has done.
pub(crate) enum Told {
    Raised(Arc<Incident>),
    Changed(Arc<Incident>),
    Closed(Arc<Incident>),
}

struct Open {
    incident: Incident,
    last_sick: WindowIndex,
    peak_own: f64,
    is_at_router: bool,
    /// All it knows is that nobody is heard: it explains nobody else's trouble.
    is_blind: bool,
    worst: BTreeMap<(String, Symptom), Evidence>,
    told_at: WindowIndex,
    is_changed: bool,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({:?})", self.incident.id)
    }
}

/// The incidents. See the module's header.
#[derive(Debug)]
pub(crate) struct Policy {
    open: Vec<Open>,
    closed: VecDeque<Arc<Incident>>,
    n_incidents_max: usize,
}

impl Policy {
    pub(crate) const fn new(n_incidents_max: usize) -> Self {
        Self {
            open: Vec::new(),
            closed: VecDeque::new(),
            n_incidents_max,
        }
    }

    /// Takes back an incident from the store.
    pub(crate) fn restore(&mut self, incident: Incident, now: WindowIndex) {
        if incident.state == IncidentState::Closed {
            self.keep(Arc::new(incident));
        } else if !self
            .open
            .iter()
            .any(|open| open.incident.root == incident.root)
        {
            let worst = incident
                .evidence
                .iter()
                .map(|e| (series_of(e), e.clone()))
                .collect();
            self.open.push(Open {
                last_sick: now.max(incident.raised),
                told_at: incident.raised,
                incident,
                peak_own: 0.0,
                is_at_router: false,
                is_blind: false,
                worst,
                is_changed: false,
            });
        }
    }

    /// Judging begins (after a replay): incidents taken back are sick as of now, until shown otherwise.
    pub(crate) fn begin(&mut self, now: WindowIndex) {
        for open in &mut self.open {
            open.last_sick = open.last_sick.max(now) + BEGIN_GRACE;
        }
    }

    /// One step; `window` is the newest judged one.
    pub(crate) fn step(&mut self, window: WindowIndex, parts: &[Part<'_>]) -> Vec<Told> {
        let mut told = Vec::new();
        for part in parts {
            if let Some(open) = self
                .open
                .iter_mut()
                .find(|open| open.incident.root == *part.shard)
            {
                open.feed(window, part);
            }
        }
        let mut candidates: Vec<&Part<'_>> = parts
            .iter()
            .filter(|part| part.symptoms.is_opening && !self.is_root(part.shard))
            .collect();
        candidates.sort_by(|a, b| {
            let strength = |part: &Part<'_>| (part.symptoms.own_strength, part.symptoms.strength);
            let stronger = strength(b)
                .partial_cmp(&strength(a))
                .unwrap_or(std::cmp::Ordering::Equal);
            a.is_router
                .cmp(&b.is_router)
                .then(stronger)
                .then(a.shard.cmp(b.shard))
        });
        let is_any_shard_sick = parts
            .iter()
            .any(|part| !part.is_router && part.symptoms.is_sick && !part.symptoms.is_blind);
        for part in candidates {
            told.extend(self.consider(window, part, is_any_shard_sick));
        }
        self.spread(parts);
        told.extend(self.tell_and_close(window));
        told
    }

    fn consider(
        &mut self,
        window: WindowIndex,
        part: &Part<'_>,
        is_any_shard_sick: bool,
    ) -> Option<Told> {
        let own = part.symptoms.own_strength;
        if let Some(lost) = self
            .open
            .iter_mut()
            .find(|open| open.is_lost_together(window, part))
        {
            lost.affect(part);
            return None;
        }
        if part.is_router {
            let waits = is_any_shard_sick || self.open.iter().any(|open| !open.is_blind);
            if waits || part.symptoms.held < ROUTER_HOLD {
                return None;
            }
        } else if let Some(victim) = self.open.iter_mut().find(|open| {
            let is_young = window - open.incident.raised <= MOVE_WITHIN;
            let is_victim = open.peak_own == 0.0 || open.is_at_router;
            is_young && own > 0.0 && is_victim && !open.is_blind
        }) {
            victim.move_to(window, part);
            return Some(Told::Changed(Arc::new(victim.incident.clone())));
        } else if let Some(strongest) = self
            .open
            .iter()
            .filter(|open| !open.is_blind)
            .map(|open| open.peak_own)
            .max_by(f64::total_cmp)
            && !part.symptoms.is_blind
            && own < strongest * RIVAL_SHARE
        {
            return None;
        }
        Some(Told::Raised(self.raise(window, part)))
    }

    fn raise(&mut self, window: WindowIndex, part: &Part<'_>) -> Arc<Incident> {
        let again = self.closed.iter().position(|closed| {
            let ended = closed.ended.unwrap_or(closed.raised);
            closed.root == *part.shard && window - ended <= REOPEN_WITHIN
        });
        let mut open = match again.and_then(|at| self.closed.remove(at)) {
            Some(closed) => {
                let mut incident = (*closed).clone();
                incident.state = IncidentState::Open;
                incident.ended = None;
                incident.revision += 1;
                Open::new(incident, window, part.is_router)
            }
            None => Open::new(new_incident(window, part), window, part.is_router),
        };
        open.feed(window, part);
        open.is_changed = false;
        let raised = Arc::new(open.incident.clone());
        self.open.push(open);
        raised
    }

    /// Shards that suffer along belong to the strongest open incident.
    fn spread(&mut self, parts: &[Part<'_>]) {
        let roots: Vec<ShardId> = self
            .open
            .iter()
            .map(|open| open.incident.root.clone())
            .collect();
        let strongest = self
            .open
            .iter_mut()
            .filter(|open| !open.is_blind)
            .max_by(|a, b| a.peak_own.total_cmp(&b.peak_own));
        let Some(open) = strongest else { return };
        for part in parts
            .iter()
            .filter(|part| part.symptoms.is_sick && !roots.contains(part.shard))
            .filter(|part| !part.symptoms.is_blind)
        {
            open.affect(part);
        }
    }

    fn tell_and_close(&mut self, window: WindowIndex) -> Vec<Told> {
        let mut told = Vec::new();
        let mut still_open = Vec::new();
        for mut open in std::mem::take(&mut self.open) {
            if window - open.last_sick >= CLOSE_AFTER {
                open.incident.state = IncidentState::Closed;
                open.incident.ended = Some(open.last_sick.min(window));
                open.incident.revision += 1;
                let closed = Arc::new(open.incident);
                self.keep(Arc::clone(&closed));
                told.push(Told::Closed(closed));
                continue;
            }
            if open.is_changed && window - open.told_at >= TELL_EVERY {
                open.is_changed = false;
                open.told_at = window;
                open.incident.revision += 1;
                told.push(Told::Changed(Arc::new(open.incident.clone())));
            }
            still_open.push(open);
        }
        self.open = still_open;
        told
    }

    /// Takes a closed one into the list.
    pub(crate) fn keep(&mut self, closed: Arc<Incident>) {
        self.closed.push_front(closed);
        self.closed.truncate(self.n_incidents_max);
    }

    pub(crate) fn is_root(&self, shard: &ShardId) -> bool {
        self.open.iter().any(|open| open.incident.root == *shard)
    }

    /// Whether a shard is root of, or affected by, an open incident.
    pub(crate) fn is_involved(&self, shard: &ShardId) -> bool {
        let affects = |open: &Open| {
            open.incident
                .affected
                .iter()
                .any(|(affected, _)| affected == shard)
        };
        self.open
            .iter()
            .any(|open| open.incident.root == *shard || affects(open))
    }

    /// Newest first.
    pub(crate) fn incidents(&self) -> Vec<Arc<Incident>> {
        let open = self.open.iter().map(|open| Arc::new(open.incident.clone()));
        let mut all: Vec<Arc<Incident>> = open.chain(self.closed.iter().cloned()).collect();
        all.sort_by_key(|incident| std::cmp::Reverse((incident.raised, incident.id)));
        all
    }
}

impl Open {
    fn new(incident: Incident, window: WindowIndex, is_at_router: bool) -> Self {
        Self {
            incident,
            last_sick: window,
            peak_own: 0.0,
            is_at_router,
            is_blind: false,
            worst: BTreeMap::new(),
            told_at: window,
            is_changed: false,
        }
    }

    fn feed(&mut self, window: WindowIndex, part: &Part<'_>) {
        if part.symptoms.is_sick {
            self.last_sick = window;
        }
        self.peak_own = (self.peak_own * FADE).max(part.symptoms.own_strength);
        self.is_at_router = part.is_router;
        self.is_blind = part.symptoms.is_blind || (self.is_blind && !part.symptoms.is_sick);
        for evidence in &part.symptoms.evidence {
            let name = series_of(evidence);
            let before = self.worst.get(&name);
            if before.is_none_or(|before| evidence.residual.abs() > before.residual.abs() * 1.05) {
                self.is_changed = true;
                let since =
                    before.map_or(evidence.since, |before| before.since.min(evidence.since));
                self.worst.insert(
                    name,
                    Evidence {
                        since,
                        ..evidence.clone()
                    },
                );
            }
        }
        while self.worst.len() > N_REMEMBERED {
            let weakest = self
                .worst
                .iter()
                .min_by(|a, b| a.1.weight.total_cmp(&b.1.weight));
            let Some(name) = weakest.map(|(name, _)| name.clone()) else {
                break;
            };
            self.worst.remove(&name);
        }
        let evidence = symptoms::strongest(self.worst.values().cloned().collect(), N_EVIDENCE);
        let incident = &mut self.incident;
        let told = incident
            .judgement
            .as_ref()
            .map_or(0.0, |before| before.surprise);
        if let Some(judgement) = part.judgement.filter(|judgement| judgement.surprise > told) {
            incident.judgement = Some(judgement.clone());
        }
        incident.confidence = incident.confidence.max(part.symptoms.confidence());
        incident.started = evidence
            .iter()
            .filter(|e| !e.symptom.is_context())
            .map(|e| e.since)
            .min()
            .unwrap_or(incident.started)
            .min(incident.started);
        if let Some(first) = evidence.first() {
            incident.node = first.node.clone();
        }
        incident.evidence = evidence;
        incident.summary = summary(incident);
        for log in &part.logs {
            let is_near = log.at.window() >= incident.started + -5;
            if is_near && incident.log_samples.len() < 10 && !incident.log_samples.contains(log) {
                incident.log_samples.push(log.clone());
            }
        }
    }

    /// A host that is lost with others, by one cause: a rack, a switch, a zone.
    fn is_lost_together(&self, window: WindowIndex, part: &Part<'_>) -> bool {
        let is_host = |evidence: &[Evidence]| {
            evidence
                .first()
                .is_some_and(|e| e.symptom == Symptom::HostLost)
        };
        self.is_blind
            && part.symptoms.is_blind
            && is_host(&self.incident.evidence)
            && is_host(&part.symptoms.evidence)
            && window - self.incident.raised <= LOST_TOGETHER
    }

    /// Another shard suffers along.
    fn affect(&mut self, part: &Part<'_>) {
        let Some(evidence) = part.symptoms.evidence.first() else {
            return;
        };
        let affected = &mut self.incident.affected;
        if !affected.iter().any(|(shard, _)| shard == part.shard) {
            affected.push((part.shard.clone(), evidence.clone()));
            self.is_changed = true;
        }
    }

    /// The culprit has shown itself: what was the root is affected.
    fn move_to(&mut self, window: WindowIndex, part: &Part<'_>) {
        let first = self.incident.evidence.first().cloned();
        self.incident
            .affected
            .retain(|(shard, _)| shard != part.shard);
        if let Some(evidence) = first {
            self.incident
                .affected
                .push((self.incident.root.clone(), evidence));
        }
        self.incident.root = part.shard.clone();
        self.incident.log_samples.clear();
        self.incident.judgement = None;
        self.incident.revision += 1;
        self.worst.clear();
        self.peak_own = 0.0;
        self.is_at_router = part.is_router;
        self.told_at = window;
        self.feed(window, part);
        self.is_changed = false;
    }
}

fn series_of(evidence: &Evidence) -> (String, Symptom) {
    (
        format!("{} {}", evidence.node, evidence.series),
        evidence.symptom,
    )
}

fn new_incident(window: WindowIndex, part: &Part<'_>) -> Incident {
    let evidence = &part.symptoms.evidence;
    let measured = evidence.iter().filter(|e| !e.symptom.is_context());
    let started = measured.map(|e| e.since).min().unwrap_or(window);
    let node = evidence.first().map(|e| e.node.clone());
    let named = format!("{} {} {}", part.shard, started.0, window.0);
    Incident {
        id: IncidentId(fnv1a_64(named.as_bytes())),
        state: IncidentState::Open,
        root: part.shard.clone(),
        node: node.unwrap_or_else(|| unnamed(part.shard)),
        started,
        raised: window,
        ended: None,
        confidence: 0.0,
        summary: String::new(),
        evidence: Vec::new(),
        affected: Vec::new(),
        log_samples: Vec::new(),
        judgement: None,
        intrusion: None,
        revision: 1,
    }
}

/// Opening takes evidence, and evidence names a node; a shard's name always fits a node's.
fn unnamed(shard: &ShardId) -> hsw_types::NodeId {
    hsw_types::NodeId::new(shard.as_str()).expect("shards and nodes have the same rules for names")
}

fn summary(incident: &Incident) -> String {
    let mut said: Vec<&str> = Vec::new();
    let mut families = Vec::new();
    let measured = |e: &&Evidence| !e.symptom.is_context();
    for evidence in incident.evidence.iter().filter(measured) {
        if said.len() < 3 && !families.contains(&evidence.family) {
            families.push(evidence.family);
            said.push(&evidence.sentence);
        }
    }
    format!("{}: {}", incident.root, said.join("; "))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
