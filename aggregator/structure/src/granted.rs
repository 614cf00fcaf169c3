//! Grants in question: a role that may suddenly act as another on one shard.
//!
//! What explains: the same grant on this shard or a sibling; a new role that gets what is not privileged; siblings that follow, as in a
//! migration. What is left is raised once it is used by somebody whose logins were refused, or when it leads to a privileged role.

use std::collections::BTreeMap;

use hsw_graph::{EdgeId, InteractionGraph, Vertex};
use hsw_types::WallTime;

use crate::access::{Access, Target};
use crate::explain::{FOLLOW_MAX_US, FOLLOW_US, View, YOUNG_US};
use crate::grants::Grant;
use crate::names::stem;
use crate::patterns;
use crate::suspicion::{Pattern, Reason, Suspicion};

/// Grants in question at most; more are counted and left out.
pub(crate) const N_GIVEN_MAX: usize = 2_000;

/// A grant in question.
#[derive(Debug, Clone)]
struct Given {
    grant: Grant,
    since: WallTime,
    sighted: WallTime,
    n_sightings: u32,
    /// With which chance, and whose edge uses it.
    raised: Option<(f64, Option<EdgeId>)>,
}

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct InQuestion {
    all: BTreeMap<EdgeId, Given>,
    pub(crate) n_left_out: u64,
}

/// What of a look a grant is judged by.
pub(crate) struct Look<'a> {
    pub(crate) graph: &'a InteractionGraph,
    pub(crate) up: &'a BTreeMap<EdgeId, Vec<Access>>,
    /// The chance of honest change; `None` while all is learned.
    pub(crate) p: Option<f64>,
}

impl InQuestion {
    pub(crate) fn insert(&mut self, edge: &EdgeId, grant: Grant, since: WallTime) {
        if self.all.len() == N_GIVEN_MAX && !self.all.contains_key(edge) {
            self.n_left_out += 1;
            return;
        }
        self.all.entry(edge.clone()).or_insert(Given {
            grant,
            since,
            sighted: since,
            n_sightings: 1,
            raised: None,
        });
    }

    /// As whom this role may act by one of these.
    pub(crate) fn given_to(&self, member: &str) -> Option<&str> {
        let mut all = self.all.values();
        let given = all.find(|given| given.grant.member == member);
        given.map(|given| given.grant.role.as_str())
    }

    /// What is explained by now is returned, to be learned; what is not and matters is raised.
    pub(crate) fn judge(&mut self, view: &View<'_>, look: &Look<'_>) -> Vec<Grant> {
        self.all.retain(|edge, given| {
            let Some(there) = look.graph.edge(edge) else {
                return false;
            };
            if there.last_seen > given.sighted {
                given.sighted = there.last_seen;
                given.n_sightings += 1;
            }
            true
        });
        let mut followers: BTreeMap<(String, String), Vec<(Target, WallTime)>> = BTreeMap::new();
        for given in self.all.values() {
            let key = (given.grant.member.clone(), given.grant.role.clone());
            followers
                .entry(key)
                .or_default()
                .push((given.grant.target.clone(), given.since));
        }
        let mut learned = Vec::new();
        self.all.retain(|_, given| {
            let key = (given.grant.member.clone(), given.grant.role.clone());
            let same = followers.get(&key).map_or(&[][..], Vec::as_slice);
            let is_new = view
                .grants
                .is_new_role(&given.grant.member, WallTime(given.since.0 - YOUNG_US));
            let is_harmless = !view.grants.is_privileged(&given.grant.role);
            let is_expected = view.grants.is_known(&given.grant)
                || (is_new && is_harmless)
                || is_migration(view, &given.grant, same)
                || (is_harmless
                    && given.raised.is_none()
                    && view.now.0 - given.since.0 >= YOUNG_US);
            if is_expected || look.p.is_none() {
                learned.push(given.grant.clone());
                return false;
            }
            let last = same
                .iter()
                .map(|(_, at)| at.0)
                .max()
                .unwrap_or(given.since.0);
            let is_patient = view.now.0 < (last + FOLLOW_US).min(given.since.0 + FOLLOW_MAX_US);
            let user = user_of(view, look, &given.grant);
            let is_due = match user {
                Some((_, true)) => true,
                _ => !is_patient && !is_harmless,
            };
            if given.raised.is_none() && is_due && given.n_sightings >= 2 {
                given.raised = look.p.map(|p| (p, user.map(|(id, _)| id.clone())));
            }
            true
        });
        learned
    }

    /// Those raised, each with the client that uses it.
    pub(crate) fn suspicions(&self, view: &View<'_>) -> Vec<Suspicion> {
        let mut found: BTreeMap<Vertex, Suspicion> = BTreeMap::new();
        for (edge, given) in &self.all {
            let Some((p, user)) = &given.raised else {
                continue;
            };
            let (p, user) = (*p, user.as_ref());
            let client = user.map_or_else(|| edge.from.clone(), |id| id.from.clone());
            let mut edges: Vec<EdgeId> = user.into_iter().cloned().collect();
            edges.push(edge.clone());
            let (member, role) = (given.grant.member.clone(), given.grant.role.clone());
            let mut reasons = Vec::new();
            if view.grants.is_privileged(&role) {
                reasons.push(Reason::Privileged { user: role.clone() });
            }
            if let Vertex::Client { host, .. } = &client
                && let Some((at, refused)) = view.grants.refused(host, view.now)
            {
                reasons.push(Reason::RefusedLogins { at });
                edges.extend(refused.iter().take(4).cloned());
            }
            reasons.push(Reason::Granted { member, role });
            let new = patterns::finish(
                Pattern::Escalation,
                client.clone(),
                edges,
                (given.since, p),
                reasons,
            );
            match found.get_mut(&client) {
                None => {
                    found.insert(client, new);
                }
                Some(known) => {
                    let more = new.edges.into_iter().filter(|id| !known.edges.contains(id));
                    let more: Vec<EdgeId> = more.collect();
                    known.edges.extend(more);
                }
            }
        }
        found.into_values().collect()
    }

    /// Takes an operator's word for these; which they were.
    pub(crate) fn accept(&mut self, is_fine: impl Fn(&EdgeId) -> bool) -> Vec<Grant> {
        let fine: Vec<EdgeId> = self.all.keys().filter(|id| is_fine(id)).cloned().collect();
        let given = fine.iter().filter_map(|id| self.all.remove(id));
        given.map(|given| given.grant).collect()
    }
}

/// Half of the siblings have it by now.
fn is_migration(view: &View<'_>, grant: &Grant, same: &[(Target, WallTime)]) -> bool {
    let kind = stem(grant.target.name());
    let is_kin = |target: &&Target| stem(target.name()) == kind;
    let n_kin = view.habits.targets.keys().filter(is_kin).count();
    let mut having: Vec<&Target> = same
        .iter()
        .map(|(target, _)| target)
        .filter(is_kin)
        .collect();
    having.sort_unstable();
    having.dedup();
    having.len() >= 2 && having.len() * 2 >= n_kin
}

/// The client's edge that acts as the member there, and whether its host was refused: one that was refused first. O(edges), for the few
/// grants in question.
fn user_of<'a>(view: &View<'_>, look: &Look<'a>, grant: &Grant) -> Option<(&'a EdgeId, bool)> {
    let mut found: Option<(&EdgeId, bool)> = None;
    let mut n_clients = 0;
    for (edge, accesses) in look.up {
        for access in accesses {
            if access.target == grant.target && access.colour.user() == grant.member {
                n_clients += 1;
                let is_refused = view.grants.was_refused(&access.host, &edge.to, view.now);
                if found.is_none_or(|(_, other)| is_refused && !other) {
                    found = Some((edge, is_refused));
                }
            }
        }
    }
    // Of several, none of whom was refused, nobody knows who.
    found.filter(|(_, is_refused)| *is_refused || n_clients == 1)
}
