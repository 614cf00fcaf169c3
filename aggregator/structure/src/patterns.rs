//! What was raised, as suspicions: one for each who acts, one for a crowd.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::{EdgeId, Vertex};
use hsw_types::WallTime;

use crate::access::{Access, Actor, Colour, Target};
use crate::candidates::{Candidate, Candidates, Key, Raised};
use crate::explain::{N_FAN_OUT, View};
use crate::names::stem;
use crate::suspicion::{Pattern, Reason, Suspicion};

/// Clients from which on they are a crowd.
const N_CROWD: usize = 5;
/// A crowd comes within half an hour.
const CROWD_US: i64 = 30 * 60 * 1_000_000;
/// No chance is smaller than this: the rates behind it are not known better.
const P_MIN: f64 = 1e-12;

/// Why nothing explains an access. O(colours · targets) for the common clients of two places.
pub(crate) fn reasons(view: &View<'_>, access: &Access) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let hosts = view.hosts_up(&access.colour);
    let user = access.colour.user();
    let target = access.target.name().to_owned();
    if let Target::Outside(address) = &access.target {
        reasons.push(Reason::Outside {
            address: address.clone(),
        });
    }
    if !hosts.is_known {
        let application = access.colour.application().to_owned();
        reasons.push(Reason::UnknownApplication { application });
    } else if view
        .habits
        .habit(&access.colour)
        .is_none_or(|habit| !habit.targets.contains(&access.target))
    {
        let n_others = hosts.up.iter().filter(|host| **host != access.host).count();
        reasons.push(Reason::NewTarget {
            target: target.clone(),
            n_others,
        });
        if has_nothing_in_common(view, access) {
            reasons.push(Reason::NothingInCommon { target });
        }
    }
    if let Colour::Client { application, .. } = &access.colour
        && !user.is_empty()
        && !view.is_of_application(application, user)
    {
        let known = view.habits.users.get(user);
        let n_applications = known.map_or(0, |user| user.applications.len());
        reasons.push(Reason::RoleOfOthers {
            user: user.to_owned(),
            n_applications,
        });
        if view.grants.is_privileged(user) {
            reasons.push(Reason::Privileged {
                user: user.to_owned(),
            });
        }
    }
    if let Some(role) = view.given.given_to(user) {
        let (member, role) = (user.to_owned(), role.to_owned());
        reasons.push(Reason::Granted { member, role });
    }
    if let Some((at, _)) = view.grants.refused(&access.host, view.now) {
        reasons.push(Reason::RefusedLogins { at });
    }
    reasons.extend(reach(view, access, hosts.is_known));
    reasons
}

/// Many shards at once.
fn reach(view: &View<'_>, access: &Access, is_known: bool) -> Option<Reason> {
    let n_new = view.n_new_shards(access);
    let n_usual = view
        .habits
        .habit(&access.colour)
        .map_or(0, |habit| habit.reach_max);
    let n_kin = {
        let kind = stem(access.target.name());
        view.habits
            .targets
            .keys()
            .filter(|t| t.is_shard() && stem(t.name()) == kind)
            .count()
    };
    let is_all = n_new >= 2 && n_new == n_kin && !is_known;
    let is_reach = view
        .habits
        .habit(&access.colour)
        .is_some_and(|habit| habit.targets.contains(&access.target));
    let n_least = if is_reach { 0 } else { N_FAN_OUT };
    (n_new >= n_least || is_all).then_some(Reason::Reaches { n_new, n_usual })
}

/// No colour but those that see more than half of all shards goes there and to a place where this one goes.
fn has_nothing_in_common(view: &View<'_>, access: &Access) -> bool {
    let own: BTreeSet<&Target> = view
        .habits
        .of_application(access.colour.application())
        .flat_map(|(_, habit)| &habit.targets)
        .collect();
    let n_shards = view.habits.targets.keys().filter(|t| t.is_shard()).count();
    let is_common = |targets: &BTreeSet<Target>| {
        let is_overseer = targets.iter().filter(|t| t.is_shard()).count() * 2 > n_shards;
        !is_overseer && targets.contains(&access.target) && targets.iter().any(|t| own.contains(t))
    };
    !own.is_empty()
        && !view
            .habits
            .colours
            .values()
            .any(|habit| is_common(&habit.targets))
}

/// One for each client, or for a crowd of them.
pub(crate) fn assemble(view: &View<'_>, candidates: &Candidates) -> Vec<Suspicion> {
    let mut by_client: BTreeMap<&Actor, Vec<(&Key, &Candidate, &Raised)>> = BTreeMap::new();
    for (key, candidate) in &candidates.all {
        if let Some(raised) = &candidate.raised {
            by_client
                .entry(&candidate.access.client)
                .or_default()
                .push((key, candidate, raised));
        }
    }
    let mut crowds: BTreeMap<Vec<(&str, &Target)>, Vec<&Actor>> = BTreeMap::new();
    for (client, raised) in &by_client {
        let is_unknown = |(_, _, raised): &(&Key, &Candidate, &Raised)| {
            raised
                .reasons
                .iter()
                .any(|r| matches!(r, Reason::UnknownApplication { .. }))
        };
        let mut neighbours: Vec<(&str, &Target)> = raised
            .iter()
            .map(|(_, c, _)| (c.access.colour.user(), &c.access.target))
            .collect();
        neighbours.sort_unstable();
        neighbours.dedup();
        if raised.iter().all(is_unknown) {
            crowds.entry(neighbours).or_default().push(client);
        }
    }
    crowds.retain(|_, clients| {
        let first = |client: &&&Actor| view.habits.actors.get(**client).map(|past| past.first);
        let firsts: Vec<WallTime> = clients.iter().filter_map(|c| first(&c)).collect();
        let (least, most) = (firsts.iter().min(), firsts.iter().max());
        clients.len() >= N_CROWD && least.zip(most).is_some_and(|(a, b)| b.0 - a.0 < CROWD_US)
    });
    let mut suspicions = Vec::new();
    for (neighbours, clients) in &crowds {
        let raised: Vec<_> = clients
            .iter()
            .filter_map(|c| by_client.remove(*c))
            .flatten()
            .collect();
        let crowd = Reason::Crowd {
            n_clients: clients.len(),
            n_targets: neighbours.len(),
        };
        suspicions.extend(suspicion(view, &raised, Some(crowd)));
    }
    suspicions.extend(
        by_client
            .values()
            .filter_map(|raised| suspicion(view, raised, None)),
    );
    suspicions
}

fn suspicion(
    view: &View<'_>,
    raised: &[(&Key, &Candidate, &Raised)],
    crowd: Option<Reason>,
) -> Option<Suspicion> {
    let mut sorted = raised.to_vec();
    sorted.sort_by_key(|(key, candidate, _)| (candidate.since, *key));
    let (_, first, _) = sorted.first()?;
    let client = first.access.client.clone();
    let since = first.since;
    sorted.sort_by_key(|(key, candidate, _)| (std::cmp::Reverse(candidate.n_sightings()), *key));
    let mut edges: Vec<EdgeId> = Vec::new();
    for (key, ..) in &sorted {
        if !edges.contains(&key.0) {
            edges.push(key.0.clone());
        }
    }
    let mut reasons: Vec<Reason> = Vec::new();
    for reason in sorted
        .iter()
        .flat_map(|(_, _, raised)| &raised.reasons)
        .chain(&crowd)
    {
        if !reasons.iter().any(|other| is_same_fact(other, reason)) {
            reasons.push(reason.clone());
        }
    }
    let pattern = pattern(&reasons);
    if pattern == Pattern::FanOut {
        // What was learned of it before it was too much belongs to it.
        let recent = view
            .habits
            .actors
            .get(&client)
            .map_or(&[][..], |past| &past.recent[..]);
        for (at, edge, target) in recent {
            if target.is_shard()
                && at.0 > view.began.0
                && at.0 >= since.0 - CROWD_US
                && !edges.contains(edge)
            {
                edges.push(edge.clone());
            }
        }
    }
    if pattern == Pattern::Escalation
        && let Vertex::Client { host, .. } = &client
        && let Some((_, refused)) = view.grants.refused(host, view.now)
    {
        edges.extend(refused.iter().take(4).cloned());
    }
    let p = sorted
        .iter()
        .map(|(_, _, raised)| raised.p)
        .fold(1.0, f64::min);
    Some(finish(pattern, client, edges, (since, p), reasons))
}

pub(crate) fn finish(
    pattern: Pattern,
    client: Vertex,
    edges: Vec<EdgeId>,
    (since, p): (WallTime, f64),
    reasons: Vec<Reason>,
) -> Suspicion {
    let p = p.clamp(P_MIN, 1.0);
    let strength = -hsw_stats::ln_1p(p - 1.0) / std::f64::consts::LN_10 + reasons.len() as f64;
    Suspicion {
        pattern,
        client,
        edges,
        since,
        p,
        strength,
        n_distances: 0,
        reasons,
    }
}

/// Two of one client are one.
pub(crate) fn merge(suspicions: &mut Vec<Suspicion>, new: Suspicion) {
    let same = suspicions
        .iter_mut()
        .find(|known| known.client == new.client && known.pattern != Pattern::Sybils);
    let Some(known) = same else {
        suspicions.push(new);
        return;
    };
    if known.pattern != Pattern::FanOut {
        known.pattern = new.pattern;
    }
    for edge in new.edges {
        if !known.edges.contains(&edge) {
            known.edges.push(edge);
        }
    }
    for reason in new.reasons {
        if !known
            .reasons
            .iter()
            .any(|other| is_same_fact(other, &reason))
        {
            known.reasons.push(reason);
        }
    }
    known.since = known.since.min(new.since);
    known.p = known.p.min(new.p);
    known.strength = known.strength.max(new.strength) + 1.0;
}

fn is_same_fact(one: &Reason, other: &Reason) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
        && !matches!((one, other), (Reason::NewTarget { target: a, .. }, Reason::NewTarget { target: b, .. }) if a != b)
}

fn pattern(reasons: &[Reason]) -> Pattern {
    let has = |is: fn(&Reason) -> bool| reasons.iter().any(is);
    let is_as_another = has(|r| matches!(r, Reason::RoleOfOthers { .. }));
    let is_helped = has(|r| matches!(r, Reason::RefusedLogins { .. } | Reason::Privileged { .. }));
    if has(|r| matches!(r, Reason::Crowd { .. })) {
        Pattern::Sybils
    } else if has(|r| matches!(r, Reason::Reaches { .. })) {
        Pattern::FanOut
    } else if has(|r| matches!(r, Reason::Granted { .. })) || (is_as_another && is_helped) {
        Pattern::Escalation
    } else if has(|r| matches!(r, Reason::NothingInCommon { .. })) {
        Pattern::Bridge
    } else {
        Pattern::UnexpectedPair
    }
}
