//! Accesses that were not there before, until they are learned, raised, or turn out to be a mistake.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::{Edge, EdgeId, FORGET_AFTER_US, InteractionGraph};
use hsw_types::WallTime;

use crate::access::{Access, Actor};
use crate::evidence::Evidence;
use crate::explain::Followers;
use crate::suspicion::Reason;

/// Accesses in question at most; more are counted and left out.
pub const N_CANDIDATES_MAX: usize = 20_000;
/// What is less likely than this to be told by mistake is there. One in a thousand for each look of a quarter of an hour.
pub(crate) const MISTAKE_MAX: f64 = 1e-3;
/// After this time all waiting is over: the longest is a release's.
const UNKNOWN_US: i64 = 30 * 60 * 1_000_000;
/// Edges of one client that are judged together.
const N_TOGETHER: usize = 3;

/// An access in question.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) access: Access,
    pub(crate) since: WallTime,
    sighted: WallTime,
    n_sightings: u32,
    n_looks: u32,
    /// Looks in a row that saw it, such rows, the longest.
    run: u32,
    n_runs: u32,
    run_max: u32,
    /// It is no mistake.
    pub(crate) is_real: bool,
    pub(crate) raised: Option<Raised>,
    pub(crate) raised_at: WallTime,
    /// The graph has forgotten it.
    is_gone: bool,
}

/// What a candidate was raised with.
#[derive(Debug, Clone)]
pub(crate) struct Raised {
    pub(crate) p: f64,
    pub(crate) reasons: Vec<Reason>,
}

impl Candidate {
    pub(crate) const fn n_sightings(&self) -> u32 {
        self.n_sightings
    }

    /// Sightings that are evidence each for itself: what is told twice in a row may be told once and read twice.
    const fn n_independent(&self) -> u32 {
        self.n_runs + self.run_max.saturating_sub(2)
    }
}

/// How often a client was seen at what is in question, and since when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glimpses {
    pub(crate) n: u32,
    pub(crate) first: WallTime,
}

/// An edge and its role.
pub(crate) type Key = (EdgeId, String);

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    pub(crate) all: BTreeMap<Key, Candidate>,
    pub(crate) n_left_out: u64,
}

impl Candidates {
    pub(crate) fn insert(&mut self, edge: &EdgeId, access: Access, since: WallTime) {
        let key = (edge.clone(), access.colour.user().to_owned());
        if self.all.len() == N_CANDIDATES_MAX && !self.all.contains_key(&key) {
            self.n_left_out += 1;
            return;
        }
        self.all.entry(key).or_insert(Candidate {
            access,
            since,
            sighted: since,
            n_sightings: 0,
            n_looks: 0,
            run: 0,
            n_runs: 0,
            run_max: 0,
            is_real: false,
            raised: None,
            raised_at: since,
            is_gone: false,
        });
    }

    /// Takes the graph's word for each. One that is gone stays until it is known what it was, and in sight for as long as the graph's
    /// memory once it is raised; a mistake goes. Clients of those that went without being raised, and how often they were seen.
    pub(crate) fn look(&mut self, graph: &InteractionGraph, now: WallTime) -> Vec<(Actor, u32)> {
        let mut gone = Vec::new();
        self.all.retain(|(edge, user), candidate| {
            let Some(seen) = graph.edge(edge).map(|edge| seen_as(edge, user)) else {
                let since = candidate
                    .raised
                    .as_ref()
                    .map_or(candidate.since, |_| candidate.raised_at);
                let stays_us = if candidate.raised.is_some() {
                    FORGET_AFTER_US
                } else {
                    UNKNOWN_US
                };
                // The graph forgets what is not seen for long: what is gone earlier has another name now.
                let is_renamed =
                    !candidate.is_gone && now.0 - candidate.sighted.0 < FORGET_AFTER_US * 9 / 10;
                candidate.is_gone = true;
                let stays = candidate.is_real && !is_renamed && now.0 - since.0 < stays_us;
                if !stays && !is_renamed && candidate.raised.is_none() {
                    gone.push((candidate.access.client.clone(), candidate.n_sightings));
                }
                return stays;
            };
            if seen > candidate.sighted || candidate.n_looks == 0 {
                candidate.sighted = seen;
                candidate.n_sightings += 1;
                candidate.run += 1;
                candidate.n_runs += u32::from(candidate.run == 1);
                candidate.run_max = candidate.run_max.max(candidate.run);
            } else {
                candidate.run = 0;
            }
            candidate.n_looks += 1;
            true
        });
        gone
    }

    /// How often each client was seen at what is in question, and since when.
    pub(crate) fn glimpses(&self) -> BTreeMap<&Actor, Glimpses> {
        let mut all: BTreeMap<&Actor, Glimpses> = BTreeMap::new();
        for candidate in self.all.values() {
            let first = candidate.since;
            let client = &candidate.access.client;
            let seen = all.entry(client).or_insert(Glimpses { n: 0, first });
            seen.n += candidate.n_sightings;
            seen.first = seen.first.min(first);
        }
        all
    }

    /// Tells mistakes from what is there.
    pub(crate) fn test(&mut self, evidence: &mut Evidence, n_actors: usize, n_targets: usize) {
        let mut n_real = 0;
        let mut together: BTreeMap<Actor, (usize, u32, u32)> = BTreeMap::new();
        for candidate in self.all.values_mut().filter(|c| !c.is_real) {
            let p = evidence.by_mistake(
                n_actors * n_targets,
                candidate.n_independent(),
                candidate.n_looks,
            );
            candidate.is_real = p <= MISTAKE_MAX;
            if candidate.is_real {
                n_real += 1;
            } else {
                let all = together
                    .entry(candidate.access.client.clone())
                    .or_insert((0, 0, 0));
                *all = (
                    all.0 + 1,
                    all.1 + candidate.n_independent(),
                    all.2.max(candidate.n_looks),
                );
            }
        }
        together.retain(|_, (n, n_sightings, n_looks)| {
            *n >= N_TOGETHER && evidence.by_mistake(n_actors, *n_sightings, *n_looks) <= MISTAKE_MAX
        });
        for candidate in self.all.values_mut() {
            if !candidate.is_real && together.contains_key(&candidate.access.client) {
                candidate.is_real = true;
                n_real += 1;
            }
        }
        evidence.take_back(n_real);
    }

    /// Hosts that begin to go somewhere, by colour and place.
    pub(crate) fn followers(&self) -> Followers {
        let mut followers = Followers::new();
        for candidate in self.all.values().filter(|c| c.is_real) {
            let key = (
                candidate.access.colour.clone(),
                candidate.access.target.clone(),
            );
            let (hosts, last): &mut (BTreeSet<String>, WallTime) =
                followers.entry(key).or_default();
            hosts.insert(candidate.access.host.clone());
            *last = candidate.since.max(*last);
        }
        followers
    }
}

fn seen_as(edge: &Edge, user: &str) -> WallTime {
    edge.users.get(user).copied().unwrap_or(edge.last_seen)
}
