//! Who may act as whom, and whose logins were refused.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::{Edge, EdgeId, InteractionGraph, Vertex};
use hsw_types::{NodeId, WallTime};

use crate::access::Target;
use crate::names::stem;
use crate::suspicion::Place;

/// Memberships remembered.
const N_GRANTS_MAX: usize = 20_000;
/// Hosts remembered whose logins were refused.
const N_REFUSED_MAX: usize = 10_000;
/// Edges, and roles, remembered of such a host.
const N_REFUSED_EACH: usize = 64;
/// A refusal matters for half an hour.
pub(crate) const REFUSED_US: i64 = 30 * 60 * 1_000_000;
/// Attributes and roles that may do more than read and write tables: PostgreSQL 18, chapters 21.2 and 21.5, and the administrators of
/// managed services.
const PRIVILEGED: [&str; 12] = [
    "superuser",
    "createrole",
    "replication",
    "bypassrls",
    "pg_read_all_data",
    "pg_write_all_data",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
    "rds_superuser",
    "cloudsqlsuperuser",
    "azure_pg_admin",
];
/// Ways from a role to a privileged one are followed so far.
const DEPTH_MAX: usize = 4;

/// A membership on one shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    pub(crate) member: String,
    pub(crate) role: String,
    pub(crate) target: Target,
    pub(crate) node: NodeId,
}

impl Grant {
    pub(crate) fn of(edge: &EdgeId, place: &impl Fn(&NodeId) -> Option<Place>) -> Option<Self> {
        let (Vertex::Role { node, name: member }, Vertex::Role { name: role, .. }) =
            (&edge.from, &edge.to)
        else {
            return None;
        };
        Some(Self {
            member: member.clone(),
            role: role.clone(),
            target: Target::of(node, place(node).as_ref()),
            node: node.clone(),
        })
    }
}

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    /// Learned: (member, role) and the shards that have it.
    known: BTreeMap<(String, String), BTreeSet<Target>>,
    /// Roles that any membership names, and since when.
    pub(crate) roles: BTreeMap<String, WallTime>,
    /// Hosts whose logins were refused.
    refused: BTreeMap<String, Refused>,
}

/// Refused logins of a host.
#[derive(Debug, Clone, Default)]
struct Refused {
    last: WallTime,
    edges: BTreeSet<EdgeId>,
    /// As whom.
    users: BTreeSet<String>,
}

impl Grants {
    pub(crate) fn note(&mut self, grant: &Grant, at: WallTime) {
        if self.roles.len() < N_GRANTS_MAX {
            self.roles.entry(grant.member.clone()).or_insert(at);
        }
    }

    pub(crate) fn learn(&mut self, grant: &Grant) {
        let key = (grant.member.clone(), grant.role.clone());
        if self.known.len() < N_GRANTS_MAX || self.known.contains_key(&key) {
            self.known
                .entry(key)
                .or_default()
                .insert(grant.target.clone());
        }
    }

    /// Learned on this shard, or on a sibling of it.
    pub(crate) fn is_known(&self, grant: &Grant) -> bool {
        let key = (grant.member.clone(), grant.role.clone());
        let Some(targets) = self.known.get(&key) else {
            return false;
        };
        let kind = stem(grant.target.name());
        targets.contains(&grant.target) || targets.iter().any(|t| stem(t.name()) == kind)
    }

    /// Whether a role leads to a privileged one by what was learned.
    pub(crate) fn is_privileged(&self, role: &str) -> bool {
        let mut front = vec![role];
        let mut seen = BTreeSet::new();
        for _ in 0..=DEPTH_MAX {
            if front.iter().any(|role| PRIVILEGED.contains(role)) {
                return true;
            }
            let mut next = Vec::new();
            for role in front {
                let first = (role.to_owned(), String::new());
                let own = self
                    .known
                    .range(first..)
                    .take_while(|((member, _), _)| member == role);
                next.extend(
                    own.map(|((_, of), _)| of.as_str())
                        .filter(|of| seen.insert(*of)),
                );
            }
            front = next;
        }
        false
    }

    pub(crate) fn refuse(&mut self, host: &str, id: &EdgeId, edge: &Edge) {
        if self.refused.len() < N_REFUSED_MAX || self.refused.contains_key(host) {
            let refused = self.refused.entry(host.to_owned()).or_default();
            refused.last = refused.last.max(edge.last_seen);
            if refused.edges.len() < N_REFUSED_EACH {
                refused.edges.insert(id.clone());
            }
            for user in edge.users.keys() {
                if refused.users.len() < N_REFUSED_EACH && !refused.users.contains(user) {
                    refused.users.insert(user.clone());
                }
            }
        }
    }

    /// Who goes on being refused is told of by no event: the graph knows. O(hosts refused).
    pub(crate) fn renew(&mut self, graph: &InteractionGraph) {
        for refused in self.refused.values_mut() {
            let edges = refused.edges.iter().filter_map(|id| graph.edge(id));
            let newest = edges.map(|edge| edge.last_seen).max();
            refused.last = newest.map_or(refused.last, |newest| newest.max(refused.last));
        }
    }

    /// When this host was refused last, if that is not long ago, and where.
    pub(crate) fn refused(
        &self,
        host: &str,
        now: WallTime,
    ) -> Option<(WallTime, &BTreeSet<EdgeId>)> {
        let refused = self.refused.get(host)?;
        (now.0 - refused.last.0 < REFUSED_US).then_some((refused.last, &refused.edges))
    }

    /// Whether this host was refused not long ago, and not as this role.
    pub(crate) fn was_refused_as_another(&self, host: &str, user: &str, now: WallTime) -> bool {
        self.refused(host, now).is_some()
            && self
                .refused
                .get(host)
                .is_some_and(|refused| !refused.users.is_empty() && !refused.users.contains(user))
    }

    /// Whether this node refused this host not long ago.
    pub(crate) fn was_refused(&self, host: &str, by: &Vertex, now: WallTime) -> bool {
        self.refused(host, now)
            .is_some_and(|(_, edges)| edges.iter().any(|edge| edge.to == *by))
    }

    /// Which of the roles named here is new to the cluster since `since`.
    pub(crate) fn is_new_role(&self, role: &str, since: WallTime) -> bool {
        self.roles.get(role).is_none_or(|at| *at >= since)
    }

    pub(crate) fn sweep(&mut self, now: WallTime) {
        self.refused
            .retain(|_, refused| now.0 - refused.last.0 < REFUSED_US);
    }
}
