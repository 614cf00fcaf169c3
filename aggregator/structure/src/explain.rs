//! Whether an access was to be expected, and if it cannot be known yet, until when to wait.
//!
//! What explains: history; hosts of the same colour; a second host that does a little of what one has always done for all; hosts of a colour that have a place each; a shard that is new to all; a colour that roams; a role that takes another's place;
//! a deployment with a role of its own; others of the application that do the same now.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::Vertex;
use hsw_types::WallTime;

use crate::access::{Access, Colour, Target};
use crate::granted::InQuestion;
use crate::grants::Grants;
use crate::habits::{Habit, Habits, User};
use crate::names::stem;

const MINUTE_US: i64 = 60 * 1_000_000;
/// A shard, a role, an application is new for an hour: what is deployed together comes within it.
pub(crate) const YOUNG_US: i64 = 60 * MINUTE_US;
/// A new host opens what its siblings have within two minutes; what else it does is judged after them.
const ARRIVAL_US: i64 = 2 * MINUTE_US;
/// What a host needs of its release it opens within five minutes.
const SETTLED_US: i64 = 5 * MINUTE_US;
/// Others of an application follow the last one who changed within a minute and a half, or they do not.
pub(crate) const FOLLOW_US: i64 = 90 * 1_000_000;
pub(crate) const FOLLOW_MAX_US: i64 = 10 * MINUTE_US;
/// A pod that is replaced is forgotten by the graph after a quarter of an hour; a release is judged once its old pods are.
const RELEASE_US: i64 = 20 * MINUTE_US;
/// A replica or a shard gets its agent within ten minutes.
const AGENT_US: i64 = 10 * MINUTE_US;
/// A second pod of a deployment comes within three minutes.
const SECOND_POD_US: i64 = 3 * MINUTE_US;
/// The share of an application's hosts that makes a change a release: all new pods beside all old ones are a half.
const RELEASE_SHARE: f64 = 0.4;
/// The share of older siblings that a colour reaches if it uses all of them, a few left out.
const ALL_SHARE: f64 = 0.8;
/// Hosts that show that each has a place of its own: one says nothing of others.
const N_PARTITIONED: usize = 2;
/// A colour that went somewhere new so many times roams, if it went on doing so.
const N_WIDENINGS: u32 = 2;
/// So often, in the mean since it was first seen: half a day.
const WIDENS_US: i64 = 12 * YOUNG_US;
/// New shards from which on reach is a fan-out.
pub(crate) const N_FAN_OUT: usize = 3;

/// Whether it was to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Expected,
    /// Expected of one who goes somewhere new all the time.
    Roams,
    /// Expected of a second host that does a little of what one has always done for all shards.
    Joins,
    /// Not known before this.
    Wait(WallTime),
    Unexpected,
}

/// Hosts of a colour that begin to go somewhere, and the last of them.
pub(crate) type Followers = BTreeMap<(Colour, Target), (BTreeSet<String>, WallTime)>;

/// What an access is judged by.
pub(crate) struct View<'a> {
    pub(crate) habits: &'a Habits,
    pub(crate) grants: &'a Grants,
    pub(crate) given: &'a InQuestion,
    pub(crate) followers: &'a Followers,
    /// What was there before this moment is old.
    pub(crate) began: WallTime,
    pub(crate) now: WallTime,
}

impl View<'_> {
    /// Of an access that began at `since`. O(targets of its colour).
    pub(crate) fn verdict(&self, access: &Access, since: WallTime) -> Verdict {
        let target = &access.target;
        if self.habits.is_history(access) {
            return Verdict::Expected;
        }
        let habit = self.habits.habit(&access.colour);
        if let Some(habit) = habit {
            if habit.targets.contains(target) {
                return self.as_sibling(access, habit, since);
            }
            if self.is_new_sibling(habit, target) {
                return Verdict::Expected;
            }
            if self.is_roaming(habit) {
                return Verdict::Roams;
            }
            if self.is_partitioned(access, habit, since) {
                return Verdict::Expected;
            }
        }
        let is_risky = self.is_escalated(access, since);
        if !is_risky && self.is_rotation(access, since) {
            return Verdict::Expected;
        }
        if !is_risky && self.is_shared_way_in(access) {
            let is_alone = self
                .habits
                .colours
                .get(&access.colour)
                .is_none_or(|h| h.up.len() < 2);
            return if is_alone {
                self.until(since.0 + SECOND_POD_US)
            } else {
                Verdict::Expected
            };
        }
        if !is_risky && self.is_deployment(access, since) {
            let n_new = self.n_first_shards(access, |_| true);
            let n_hosts = self
                .habits
                .colours
                .get(&access.colour)
                .map_or(0, |h| h.up.len());
            if n_hosts >= 2 || n_new < N_FAN_OUT {
                return Verdict::Expected;
            }
            return self.until(since.0 + SECOND_POD_US);
        }
        if is_risky {
            return Verdict::Unexpected;
        }
        self.as_change(access, since)
    }

    /// Others of its colour go there.
    fn as_sibling(&self, access: &Access, habit: &Habit, since: WallTime) -> Verdict {
        let past = self.habits.actors.get(&access.client);
        let n_did = past.map_or(0, |past| {
            past.did
                .iter()
                .filter(|(user, _)| user == access.colour.user())
                .count()
        });
        let n_shards = habit.targets.iter().filter(|t| t.is_shard()).count();
        let is_new = n_did == 0 || habit.guests.contains(&access.host);
        let is_stranger = matches!(access.colour, Colour::Client { .. })
            && is_new
            && habit.n_hosts == 1
            && !habit.up.is_empty();
        if is_stranger && n_shards >= N_FAN_OUT && habit.first.0 < since.0 - YOUNG_US {
            // One host has always done this for all shards. A second pod that is given a shard is how a program grows; one that takes all of
            // them, was refused, or may do everything, is a move, or somebody who poses as it.
            if self.n_shards_ever(access) < N_FAN_OUT && !self.is_dangerous(access) {
                return Verdict::Joins;
            }
            let is_another = |host: &String| *host != access.host && !habit.guests.contains(host);
            let is_moved = !habit.up.keys().any(is_another);
            return match self.until(since.0 + RELEASE_US) {
                Verdict::Unexpected if is_moved => Verdict::Expected,
                verdict => verdict,
            };
        }
        let is_beyond = habit.n_hosts >= 3 && n_did + 1 > fan_out_from(habit.reach_max);
        if is_beyond && access.target.is_shard() {
            return self.as_change(access, since);
        }
        Verdict::Expected
    }

    /// The others of its application follow, or they do not.
    fn as_change(&self, access: &Access, since: WallTime) -> Verdict {
        if matches!(access.target, Target::Outside(_))
            || matches!(access.colour, Colour::Receiver(_))
        {
            return self.until(since.0 + AGENT_US);
        }
        let hosts = self.hosts_up(&access.colour);
        let is_known = hosts.is_known;
        if !is_known {
            return Verdict::Unexpected;
        }
        let n_up = hosts.up.len();
        let key = (access.colour.clone(), access.target.clone());
        let (n_follow, last) = self
            .followers
            .get(&key)
            .map_or((0, since), |(hosts, last)| (hosts.len(), *last));
        let is_share = n_follow as f64 >= RELEASE_SHARE * n_up as f64;
        if n_follow >= 2 && n_follow >= n_up.min(3) && is_share {
            return Verdict::Expected;
        }
        let past = self.habits.actors.get(&access.client);
        let arrived = past.map_or(since, |past| past.first);
        let is_new_host = arrived.0 > self.began.0 && since.0 - arrived.0 < SETTLED_US;
        if is_new_host && self.does_as_usual(access, arrived) {
            return match self.until(since.0 + RELEASE_US) {
                Verdict::Unexpected if is_share => Verdict::Expected,
                verdict => verdict,
            };
        }
        if n_up < 3 {
            return Verdict::Unexpected;
        }
        self.until((last.0 + FOLLOW_US).min(since.0 + FOLLOW_MAX_US))
    }

    /// A new host that also does what its siblings do, or has not had the time to.
    fn does_as_usual(&self, access: &Access, arrived: WallTime) -> bool {
        if self.now.0 - arrived.0 < ARRIVAL_US {
            return true;
        }
        let Some(habit) = self.habits.habit(&access.colour) else {
            return false;
        };
        let did = self.habits.actors.get(&access.client).map_or(0, |past| {
            let own = past
                .did
                .iter()
                .filter(|(user, _)| user == access.colour.user());
            own.filter(|(_, target)| habit.targets.contains(target))
                .count()
        });
        did as f64 >= ALL_SHARE * habit.reach_max as f64
    }

    /// A shard (or a kind of router) that is new, of a kind whose others this colour uses all.
    fn is_new_sibling(&self, habit: &Habit, target: &Target) -> bool {
        let is_young = |t: &Target| {
            let first = self.habits.targets.get(t);
            first
                .is_some_and(|first| first.0 > self.began.0 && self.now.0 - first.0 < 24 * YOUNG_US)
        };
        if !is_young(target) {
            return false;
        }
        let kind = stem(target.name());
        let is_older = |t: &&Target| {
            t.is_shard() == target.is_shard() && stem(t.name()) == kind && !is_young(t)
        };
        let n_older = self.habits.targets.keys().filter(is_older).count();
        let n_reached = habit.targets.iter().filter(is_older).count();
        n_reached > 0 && n_reached as f64 >= ALL_SHARE * n_older as f64
    }

    /// It goes somewhere new every half day.
    fn is_roaming(&self, habit: &Habit) -> bool {
        let age_us = self.now.0 - habit.first.0;
        habit.n_widenings >= N_WIDENINGS && age_us / i64::from(habit.n_widenings) <= WIDENS_US
    }

    /// One more host of a colour whose hosts have a place each, as workers of partitions do: that the next one goes where none went is as
    /// likely as that a place is one host's alone (Good: The population frequencies of species, Biometrika 40, 1953, over the hosts that
    /// are there now). Nobody who goes to more places than others of his colour, or to a kind of shard that none of them knows.
    fn is_partitioned(&self, access: &Access, habit: &Habit, since: WallTime) -> bool {
        let Some(past) = self.habits.actors.get(&access.client) else {
            return false;
        };
        let is_arriving = past.first.0 > self.began.0 && since.0 - past.first.0 < SETTLED_US;
        let kind = stem(access.target.name());
        let is_kin = |t: &Target| t.is_shard() && stem(t.name()) == kind;
        if !is_arriving
            || !is_kin(&access.target)
            || !habit.targets.iter().any(is_kin)
            || self.n_first_shards(access, |_| true) > habit.reach_max
        {
            return false;
        }
        let (application, user) = (access.colour.application(), access.colour.user());
        let (mut n_hosts, mut n_places) = (0, 0);
        let mut hosts_of: BTreeMap<&Target, u32> = BTreeMap::new();
        for host in habit.up.keys().filter(|host| **host != access.host) {
            let actor = Vertex::Client {
                host: host.clone(),
                application: application.to_owned(),
            };
            let did = self.habits.actors.get(&actor).map(|past| &past.did);
            let own = did
                .into_iter()
                .flatten()
                .filter(|(as_whom, _)| as_whom == user);
            let before = n_places;
            for (_, target) in own {
                *hosts_of.entry(target).or_insert(0) += 1;
                n_places += 1;
            }
            n_hosts += usize::from(n_places > before);
        }
        let n_alone = hosts_of.values().filter(|n| **n == 1).count();
        n_hosts >= N_PARTITIONED && n_alone * 2 >= n_places
    }

    /// A role that nobody knew until shortly before, and that may not do more than others.
    fn is_new_role(&self, user: &str, since: WallTime) -> bool {
        let is_new = |at: WallTime| at.0 > self.began.0 && since.0 - at.0 < YOUNG_US;
        !user.is_empty()
            && self
                .habits
                .users
                .get(user)
                .is_none_or(|user| is_new(user.first))
            && self.grants.roles.get(user).is_none_or(|at| is_new(*at))
            && !self.grants.is_privileged(user)
    }

    /// The application does what it did, as a new role or another one of its own.
    fn is_rotation(&self, access: &Access, since: WallTime) -> bool {
        let (application, user) = (access.colour.application(), access.colour.user());
        let mut colours = self.habits.of_application(application);
        let is_own =
            |user: &User| user.applications.len() == 1 && user.applications.contains(application);
        colours.any(|(_, habit)| habit.targets.contains(&access.target))
            && (self.is_new_role(user, since) || self.habits.users.get(user).is_some_and(is_own))
    }

    /// A new application with a role of its own.
    fn is_deployment(&self, access: &Access, since: WallTime) -> bool {
        let mut colours = self.habits.of_application(access.colour.application());
        let is_young = |first: WallTime| since.0 - first.0 < YOUNG_US && first.0 > self.began.0;
        colours.all(|(_, habit)| is_young(habit.first))
            && self.is_new_role(access.colour.user(), since)
    }

    /// A way in (routers) that several applications take as this role.
    fn is_shared_way_in(&self, access: &Access) -> bool {
        let user = access.colour.user();
        let Some(known) = self.habits.users.get(user) else {
            return false;
        };
        let goes = |application: &&String| {
            let colour = Colour::Client {
                application: (*application).clone(),
                user: user.to_owned(),
            };
            self.habits
                .habit(&colour)
                .is_some_and(|habit| habit.targets.contains(&access.target))
        };
        matches!(access.target, Target::Routers(_))
            && !self.grants.is_privileged(user)
            && known.applications.iter().filter(goes).take(3).count() == 3
    }

    /// It acts as a role that is not its application's, and was refused before, or the role is privileged.
    pub(crate) fn is_escalated(&self, access: &Access, since: WallTime) -> bool {
        let user = access.colour.user();
        let Colour::Client { application, .. } = &access.colour else {
            return false;
        };
        if user.is_empty() || self.is_of_application(application, user) {
            return false;
        }
        // Who tried other roles before has made this one, however new it is; who was refused as this one was early.
        let is_refused = self.grants.refused(&access.host, self.now).is_some();
        let is_stolen = is_refused || self.given.given_to(user).is_some();
        self.grants.is_privileged(user)
            || self
                .grants
                .was_refused_as_another(&access.host, user, self.now)
            || (is_stolen && !self.is_new_role(user, since))
    }

    pub(crate) fn is_of_application(&self, application: &str, user: &str) -> bool {
        self.habits
            .users
            .get(user)
            .is_some_and(|user| user.applications.contains(application))
    }

    /// Its host was refused not long ago, or its role may do more than others.
    fn is_dangerous(&self, access: &Access) -> bool {
        self.grants.refused(&access.host, self.now).is_some()
            || self.grants.is_privileged(access.colour.user())
    }

    /// Shards that this client was learned to reach in this role, and those among its first steps, in any role, in the last half hour.
    fn n_shards_ever(&self, access: &Access) -> usize {
        let Some(past) = self.habits.actors.get(&access.client) else {
            return 0;
        };
        let user = access.colour.user();
        let learned = past.did.iter().filter(|(as_whom, _)| as_whom == user);
        let recent = past.recent.iter().filter(|(at, ..)| at.0 > self.began.0);
        let all = learned
            .map(|(_, target)| target)
            .chain(recent.map(|(.., target)| target));
        all.filter(|target| target.is_shard())
            .collect::<BTreeSet<&Target>>()
            .len()
    }

    /// Shards among the first steps of this client in the last half hour that its colour does not go to; all, where it goes to this one.
    pub(crate) fn n_new_shards(&self, access: &Access) -> usize {
        let habit = self.habits.habit(&access.colour);
        let is_new = |target: &Target| {
            habit.is_none_or(|h| h.targets.contains(&access.target) || !h.targets.contains(target))
        };
        self.n_first_shards(access, is_new)
    }

    /// Shards among the first steps of this client in the last half hour.
    fn n_first_shards(&self, access: &Access, is_meant: impl Fn(&Target) -> bool) -> usize {
        let Some(past) = self.habits.actors.get(&access.client) else {
            return 0;
        };
        let recent = past.recent.iter().filter(|(at, ..)| at.0 > self.began.0);
        let shards = recent
            .map(|(.., target)| target)
            .filter(|t| t.is_shard() && is_meant(t));
        shards.collect::<BTreeSet<&Target>>().len()
    }

    pub(crate) fn hosts_up(&self, colour: &Colour) -> Hosts<'_> {
        let Colour::Client { application, .. } = colour else {
            let habit = self.habits.habit(colour);
            let up = habit.map_or_else(BTreeSet::new, |habit| {
                habit.up.keys().map(String::as_str).collect()
            });
            return Hosts {
                up,
                is_known: habit.is_some(),
            };
        };
        let mut hosts = Hosts {
            up: BTreeSet::new(),
            is_known: false,
        };
        for (_, habit) in self.habits.of_application(application) {
            hosts.is_known = true;
            hosts.up.extend(habit.up.keys().map(String::as_str));
        }
        hosts
    }

    const fn until(&self, at_us: i64) -> Verdict {
        if self.now.0 < at_us {
            Verdict::Wait(WallTime(at_us))
        } else {
            Verdict::Unexpected
        }
    }
}

/// Hosts of an application that have edges now.
pub(crate) struct Hosts<'a> {
    pub(crate) up: BTreeSet<&'a str>,
    pub(crate) is_known: bool,
}

/// The reach of one host from which on it is more than what a host of its colour does.
pub(crate) const fn fan_out_from(reach_max: usize) -> usize {
    if reach_max < 2 {
        reach_max + 2
    } else {
        2 * reach_max
    }
}
