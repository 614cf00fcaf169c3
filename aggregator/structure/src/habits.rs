//! What has been seen: of colours, of who acts, of roles, of shards; bounded, forgotten after a month.
//!
//! Two layers. Facts (who is there, since when) are taken of everything. What a colour or an actor *may* do is only what was learned.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::EdgeId;
use hsw_types::WallTime;

use crate::access::{Access, Actor, Colour, Target};
use crate::explain::N_FAN_OUT;

/// Actors remembered at most; who has been away longest is forgotten first.
pub const N_ACTORS_MAX: usize = 50_000;
/// Colours remembered at most.
pub const N_COLOURS_MAX: usize = 10_000;
/// Targets remembered of a colour or an actor.
const N_TARGETS_MAX: usize = 4_096;
/// Login roles remembered.
const N_USERS_MAX: usize = 10_000;
/// What nobody has done for 35 days is forgotten: a monthly job is remembered.
const FORGET_US: i64 = 35 * 24 * 3_600 * 1_000_000;
/// First steps of an actor stay at hand for half an hour.
pub(crate) const RECENT_US: i64 = 30 * 60 * 1_000_000;
const N_RECENT_MAX: usize = 512;
/// Guests of a colour at most: what more hosts than these share is no program of one host.
const N_GUESTS_MAX: usize = 64;
/// Two widenings of a colour's reach within this time are one.
const WIDENING_US: i64 = 10 * 60 * 1_000_000;

/// What is known of a colour.
#[derive(Debug, Clone)]
pub(crate) struct Habit {
    pub(crate) first: WallTime,
    pub(crate) last: WallTime,
    /// Learned: where its hosts go.
    pub(crate) targets: BTreeSet<Target>,
    /// Hosts with edges now, and how many.
    pub(crate) up: BTreeMap<String, u32>,
    /// Hosts ever, without guests.
    pub(crate) n_hosts: u32,
    /// Hosts that do a little of what one host has always done for all.
    pub(crate) guests: BTreeSet<String>,
    /// The most targets one host has been learned to reach.
    pub(crate) reach_max: usize,
    /// How often its reach grew and nothing explained it.
    pub(crate) n_widenings: u32,
    widened: WallTime,
}

/// What is known of one who acts.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) first: WallTime,
    pub(crate) last: WallTime,
    /// Learned: as whom, where.
    pub(crate) did: BTreeSet<(String, Target)>,
    /// First steps of the last half hour, learned or not.
    pub(crate) recent: Vec<(WallTime, EdgeId, Target)>,
    n_up: u32,
    /// How often it was seen at places that were in question and not raised.
    pub(crate) n_glimpses: u32,
}

/// What is known of a login role.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) first: WallTime,
    /// Applications that were learned to use it.
    pub(crate) applications: BTreeSet<String>,
}

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Habits {
    pub(crate) colours: BTreeMap<Colour, Habit>,
    pub(crate) actors: BTreeMap<Actor, Past>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) targets: BTreeMap<Target, WallTime>,
    /// Actors with edges now.
    pub(crate) n_up: usize,
}

impl Habits {
    /// Somebody does something for the first time since his edge was gone: facts only.
    pub(crate) fn note(&mut self, edge: &EdgeId, access: &Access, at: WallTime) {
        let past = self.actors.entry(access.client.clone()).or_insert(Past {
            first: at,
            last: at,
            did: BTreeSet::new(),
            recent: Vec::new(),
            n_up: 0,
            n_glimpses: 0,
        });
        past.last = past.last.max(at);
        self.n_up += usize::from(past.n_up == 0);
        past.n_up += 1;
        past.recent.retain(|(since, ..)| at.0 - since.0 < RECENT_US);
        let user = access.colour.user();
        let is_first = !past.did.contains(&(user.to_owned(), access.target.clone()));
        if is_first && past.recent.len() < N_RECENT_MAX {
            past.recent.push((at, edge.clone(), access.target.clone()));
        }
        let habit = self.colours.entry(access.colour.clone()).or_insert(Habit {
            first: at,
            last: at,
            targets: BTreeSet::new(),
            up: BTreeMap::new(),
            n_hosts: 0,
            guests: BTreeSet::new(),
            reach_max: 0,
            n_widenings: 0,
            widened: at,
        });
        habit.last = habit.last.max(at);
        *habit.up.entry(access.host.clone()).or_insert(0) += 1;
        if !user.is_empty() && (self.users.len() < N_USERS_MAX || self.users.contains_key(user)) {
            let user = self.users.entry(user.to_owned()).or_insert(User {
                first: at,
                applications: BTreeSet::new(),
            });
            user.first = user.first.min(at);
        }
        self.targets.entry(access.target.clone()).or_insert(at);
    }

    /// It was seen so often at a place that is in question no more and was not raised.
    pub(crate) fn glimpse(&mut self, client: &Actor, n: u32) {
        if let Some(past) = self.actors.get_mut(client) {
            past.n_glimpses = past.n_glimpses.saturating_add(n);
        }
    }

    /// An edge is gone.
    pub(crate) fn leave(&mut self, access: &Access, at: WallTime) {
        if let Some(past) = self.actors.get_mut(&access.client) {
            self.n_up -= usize::from(past.n_up == 1);
            past.n_up = past.n_up.saturating_sub(1);
            past.last = past.last.max(at);
        }
        if let Some(habit) = self.colours.get_mut(&access.colour) {
            habit.last = habit.last.max(at);
            if let Some(n) = habit.up.get_mut(&access.host) {
                *n -= 1;
                if *n == 0 {
                    habit.up.remove(&access.host);
                }
            }
        }
    }

    /// Its host does a little of what one host has always done for all: it makes the program no one of several hosts.
    pub(crate) fn welcome(&mut self, access: &Access) {
        let Some(habit) = self.colours.get_mut(&access.colour) else {
            return;
        };
        if habit.guests.len() == N_GUESTS_MAX {
            // Who has left and comes again is known by what it did.
            let up = &habit.up;
            habit.guests.retain(|host| up.contains_key(host));
        }
        if habit.guests.len() < N_GUESTS_MAX {
            habit.guests.insert(access.host.clone());
        }
    }

    /// It is to be expected from now on; `is_widening`: though nothing explained it but that so much is new to this colour.
    pub(crate) fn learn(&mut self, access: &Access, at: WallTime, is_widening: bool) {
        let user = access.colour.user().to_owned();
        let (mut n_reached, mut n_shards) = (0, 0);
        let mut is_new_host = false;
        if let Some(past) = self.actors.get_mut(&access.client)
            && past.did.len() < N_TARGETS_MAX
        {
            is_new_host = past.did.iter().all(|(other, _)| *other != user);
            past.did.insert((user.clone(), access.target.clone()));
            let own = past.did.iter().filter(|(other, _)| *other == user);
            (n_reached, n_shards) = own.fold((0, 0), |(n, shards), (_, target)| {
                (n + 1, shards + usize::from(target.is_shard()))
            });
        }
        if let Some(habit) = self.colours.get_mut(&access.colour) {
            let is_guest = habit.guests.contains(&access.host);
            let is_guest_no_more =
                is_guest && n_shards >= N_FAN_OUT && habit.guests.remove(&access.host);
            habit.n_hosts += u32::from(is_guest_no_more || (is_new_host && !is_guest));
            habit.reach_max = habit.reach_max.max(n_reached);
            let is_wider =
                habit.targets.len() < N_TARGETS_MAX && habit.targets.insert(access.target.clone());
            if is_wider && is_widening && at.0 - habit.widened.0 >= WIDENING_US {
                habit.n_widenings += 1;
                habit.widened = at;
            }
        }
        if let Some(known) = self.users.get_mut(&user) {
            known
                .applications
                .insert(access.colour.application().to_owned());
        }
    }

    /// This actor has done it before.
    pub(crate) fn is_history(&self, access: &Access) -> bool {
        let past = self.actors.get(&access.client);
        let own = (access.colour.user().to_owned(), access.target.clone());
        past.is_some_and(|past| past.did.contains(&own))
    }

    pub(crate) fn habit(&self, colour: &Colour) -> Option<&Habit> {
        let habit = self.colours.get(colour)?;
        (!habit.targets.is_empty()).then_some(habit)
    }

    /// Learned colours of the same application, whatever their role.
    pub(crate) fn of_application(
        &self,
        application: &str,
    ) -> impl Iterator<Item = (&Colour, &Habit)> {
        let first = Colour::Client {
            application: application.to_owned(),
            user: String::new(),
        };
        let colours = self.colours.range(first..);
        colours
            .take_while(move |(colour, _)| {
                matches!(colour, Colour::Client { application: name, .. } if name == application)
            })
            .filter(|(_, habit)| !habit.targets.is_empty())
    }

    /// Forgets who has been away for long, and who is over the limits.
    pub(crate) fn sweep(&mut self, now: WallTime) {
        let is_kept = |n_up: usize, last: WallTime| n_up > 0 || now.0 - last.0 < FORGET_US;
        self.actors
            .retain(|_, past| is_kept(past.n_up as usize, past.last));
        self.colours
            .retain(|_, habit| is_kept(habit.up.len(), habit.last));
        while let Some(oldest) = oldest(&self.actors, N_ACTORS_MAX, |past| {
            (past.n_up > 0, past.last)
        }) {
            self.actors
                .retain(|_, past| (past.n_up > 0, past.last) > oldest);
        }
        while let Some(oldest) = oldest(&self.colours, N_COLOURS_MAX, |habit| {
            (!habit.up.is_empty(), habit.last)
        }) {
            self.colours
                .retain(|_, habit| (!habit.up.is_empty(), habit.last) > oldest);
        }
        let colours = &self.colours;
        let used: BTreeSet<&str> = colours.keys().map(Colour::user).collect();
        self.users.retain(|user, _| used.contains(user.as_str()));
        let reached: BTreeSet<&Target> =
            colours.values().flat_map(|habit| &habit.targets).collect();
        self.targets
            .retain(|target, first| reached.contains(target) || now.0 - first.0 < FORGET_US);
    }
}

/// The rank up to which all must go for `map` to be a tenth below its limit; `None` while it is within it.
fn oldest<K, V>(
    map: &BTreeMap<K, V>,
    n_max: usize,
    rank: impl Fn(&V) -> (bool, WallTime),
) -> Option<(bool, WallTime)> {
    if map.len() <= n_max {
        return None;
    }
    let mut ranks: Vec<_> = map.values().map(rank).collect();
    ranks.sort_unstable();
    Some(ranks[map.len() - n_max * 9 / 10 - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_graph::Vertex;
    use hsw_types::{EdgeKind, NodeId};

    #[test]
    fn names_that_come_and_go_do_not_add_up() {
        let mut habits = Habits::default();
        let node = NodeId::new("shard-1-a").unwrap();
        for k in 0..N_ACTORS_MAX as i64 + 10_000 {
            let (host, application) = (format!("10.0.0.{k}"), format!("tool-{k}"));
            let client = Vertex::Client {
                host: host.clone(),
                application: application.clone(),
            };
            let edge = EdgeId {
                from: client.clone(),
                to: Vertex::Node(node.clone()),
                kind: EdgeKind::Client,
            };
            let colour = Colour::Client {
                application,
                user: format!("role-{k}"),
            };
            let target = Target::Shard("shard-1".to_owned());
            let access = Access {
                client,
                host,
                colour,
                target,
            };
            habits.note(&edge, &access, WallTime(k));
            habits.learn(&access, WallTime(k), false);
            habits.leave(&access, WallTime(k));
        }
        habits.sweep(WallTime(1_000_000));
        assert!(habits.actors.len() <= N_ACTORS_MAX && habits.colours.len() <= N_COLOURS_MAX);
        assert!(habits.users.len() <= N_COLOURS_MAX && habits.n_up == 0);
        let newest = format!("10.0.0.{}", N_ACTORS_MAX + 9_999);
        assert!(
            habits
                .actors
                .keys()
                .any(|actor| matches!(actor, Vertex::Client { host, .. } if *host == newest))
        );
    }
}
