//! Edges, reasons and whole intrusions, in words. (step 12)

use std::collections::BTreeSet;

use hsw_graph::{EdgeId, Vertex};
use hsw_structure::{Pattern, Reason, Suspicion};
use hsw_types::{EdgeKind, ShardId};

use super::{Scene, shard_of};
use crate::incident::Intrusion;

/// A vertex as an operator calls it.
fn called(vertex: &Vertex) -> String {
    match vertex {
        Vertex::Node(node) => node.to_string(),
        Vertex::Client { host, application } if application.is_empty() => host.clone(),
        Vertex::Client { host, application } => format!("{application} on {host}"),
        Vertex::Role { node, name } => format!("role {name} of {node}"),
        Vertex::Service { host, port } => format!("{host}:{port}"),
    }
}

pub(super) fn sentence(edge: &EdgeId, users: &[&str]) -> String {
    let (from, to) = (called(&edge.from), called(&edge.to));
    let as_whom = if users.is_empty() {
        String::new()
    } else {
        format!(" as {}", users.join(", "))
    };
    match edge.kind {
        EdgeKind::Client => format!("{from} talks to {to}{as_whom}"),
        EdgeKind::RefusedLogin => format!("{to} refuses logins of {from}{as_whom}"),
        EdgeKind::Membership => match &edge.to {
            Vertex::Role { name, .. } => format!("{from} may now act as {name}"),
            _ => format!("{from} may now act as {to}"),
        },
        EdgeKind::ForeignServer => format!("{from} asks {to}, which it never did"),
        EdgeKind::Replication => format!("{from} streams to {to}, which it never did"),
    }
}

pub(super) fn summary(
    client: &Vertex,
    intrusion: &Intrusion,
    suspicions: &[&Suspicion],
    scene: &Scene<'_>,
) -> String {
    let edges = || suspicions.iter().flat_map(|one| &one.edges);
    let shards: BTreeSet<&ShardId> = edges()
        .filter_map(|edge| shard_of(edge, scene.map))
        .collect();
    let n_shards = scene.map.shards().filter(|entry| !entry.is_router).count();
    let names: Vec<&str> = shards.iter().take(8).map(|shard| shard.as_str()).collect();
    let names = names.join(", ");
    let who = called(client);
    let users: BTreeSet<&str> = edges()
        .filter_map(|edge| scene.graph.edge(edge))
        .flat_map(|edge| edge.users.keys().map(String::as_str))
        .collect();
    let users: Vec<&str> = users.into_iter().take(4).collect();
    let as_whom = if users.is_empty() {
        String::new()
    } else {
        format!(" (as {})", users.join(", "))
    };
    match intrusion.pattern {
        Pattern::FanOut => format!(
            "{who} newly talks to {} of {n_shards} shards{as_whom}: {names}",
            shards.len()
        ),
        Pattern::UnexpectedPair => {
            format!("{who} talks to {names}{as_whom}, which it never used")
        }
        Pattern::Bridge => format!("{who} connects what never talked{as_whom}: {names}"),
        Pattern::Escalation => format!("{who} has gained rights{as_whom} on {names}"),
        Pattern::Sybils => format!(
            "{} new clients like {who} came at once{as_whom}: {names}",
            intrusion.edges.len()
        ),
    }
}

/// Why something is not to be expected.
pub(super) fn reason(reason: &Reason) -> String {
    let shards = |n: usize| if n == 1 { "shard" } else { "shards" };
    match reason {
        Reason::UnknownApplication { application } if application.is_empty() => {
            "nobody without an application name was seen before".to_owned()
        }
        Reason::UnknownApplication { application } => {
            format!("nobody called {application} was seen before")
        }
        Reason::NewTarget {
            target,
            n_others: 0,
        } => format!("nobody with its application and role went to {target} before"),
        Reason::NewTarget {
            target,
            n_others: 1,
        } => format!("the other host of its application does not go to {target}"),
        Reason::NewTarget { target, n_others } => {
            format!("{n_others} others of its application do not go to {target}")
        }
        Reason::RoleOfOthers { user, .. } if user.is_empty() => {
            "the role it acts as is another application's".to_owned()
        }
        Reason::RoleOfOthers {
            user,
            n_applications: 0,
        } => format!("nobody has acted as {user}"),
        Reason::RoleOfOthers {
            user,
            n_applications: 1,
        } => format!("{user} is the role of another application"),
        Reason::RoleOfOthers {
            user,
            n_applications,
        } => format!("{user} is the role of {n_applications} other applications"),
        Reason::Privileged { user } => format!("{user} may do more than others"),
        Reason::RefusedLogins { .. } => {
            "logins from its host were refused shortly before".to_owned()
        }
        Reason::Granted { member, role } => {
            format!("{member} was granted {role}, which no sibling shard grants")
        }
        Reason::Reaches { n_new, n_usual } => format!(
            "it newly reaches {n_new} {}; at most {n_usual} is usual for its kind",
            shards(*n_new)
        ),
        Reason::Crowd {
            n_clients,
            n_targets,
        } => format!(
            "{n_clients} clients came at once with the same {n_targets} places they talk to"
        ),
        Reason::NothingInCommon { target } => {
            format!("no other client of {target} has a place in common with it")
        }
        Reason::Outside { address } => format!("data leaves towards {address}, which is no node"),
        Reason::Drift {
            n_vertices: 1,
            largest,
        } => format!("a place moved in the map by more than is usual for it, {largest:.1} times"),
        Reason::Drift {
            n_vertices,
            largest,
        } => format!(
            "{n_vertices} places moved in the map by more than is usual for them, the furthest {largest:.1} times"
        ),
    }
}
