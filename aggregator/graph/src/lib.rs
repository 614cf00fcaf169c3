//! The interaction graph: who talks to whom, as the nodes themselves report. (step 9)
//!
//! In: edge series of each node. Out: vertices and edges with sessions, rates, latency and ages.
//! Invariants: GR-3 an edge not seen for [`FORGET_AFTER_US`] is gone, and with it a vertex without edges that is not a node.
//! GR-4 at most [`N_EDGES_MAX`] edges; new ones beyond it are counted and left out. GR-5 who takes every [`Event`] since an empty graph
//! knows its edges; who comes too late is told so.
//! Does not: decide whether an edge is wrong.

mod events;
pub use events::{Event, N_EVENTS_MAX};
mod edge;
pub use edge::{Edge, N_STEPS, N_USERS_MAX, Quantity, STALE_AFTER_US, STEP_US};

mod traffic;

mod latency;
pub use latency::{CLASSES, FIRST_MS, latency_class};

mod views;

mod roles;

mod watch;
pub use watch::{Change, Distances, N_CHANGES_MAX, Watch};

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hsw_types::{EdgeKind, EdgeSubject, NodeId, WallTime};

use crate::events::Events;

/// Edges remembered at most.
pub const N_EDGES_MAX: usize = 50_000;
/// An address that so many nodes have claimed after each other is nobody's: an address moves seldom, loopback all the time.
const N_TAKEN_MAX: u8 = 4;
/// An edge not seen for this long is forgotten: fifteen minutes.
pub const FORGET_AFTER_US: i64 = 15 * 60 * 1_000_000;

/// Something that talks or is talked to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vertex {
    /// A node with an agent.
    Node(NodeId),
    /// A client program on a host.
    Client {
        /// Its host or address.
        host: String,
        /// Its application name; may be empty.
        application: String,
    },
    /// A role of a node's database.
    Role {
        /// The node.
        node: NodeId,
        /// The role's name, or an attribute such as `superuser`.
        name: String,
    },
    /// A database without an agent.
    Service {
        /// Its host or address.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Vertex {
    /// A stable id for the outside, e.g. `node:shard-1-a`, `client:10.0.0.9/checkout`, `role:shard-1-a/app`,
    /// `service:10.0.0.7:5432`.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Node(node) => format!("node:{node}"),
            Self::Client { host, application } => format!("client:{host}/{application}"),
            Self::Role { node, name } => format!("role:{node}/{name}"),
            Self::Service { host, port } => format!("service:{host}:{port}"),
        }
    }

    /// The vertex of an id that [`Self::id`] gave; `None` for anything else.
    #[must_use]
    pub fn of_id(id: &str) -> Option<Self> {
        let (kind, rest) = id.split_once(':')?;
        match kind {
            "node" => Some(Self::Node(NodeId::new(rest).ok()?)),
            "client" => {
                let (host, application) = rest.split_once('/')?;
                let (host, application) = (host.to_owned(), application.to_owned());
                Some(Self::Client { host, application })
            }
            "role" => {
                let (node, name) = rest.split_once('/')?;
                Some(role(&NodeId::new(node).ok()?, name))
            }
            "service" => {
                let (host, port) = rest.rsplit_once(':')?;
                let (host, port) = (host.to_owned(), port.parse().ok()?);
                Some(Self::Service { host, port })
            }
            _ => None,
        }
    }
}

/// From whom to whom, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgeId {
    /// Who asks, or who is streamed from.
    pub from: Vertex,
    /// Who answers, or who streams.
    pub to: Vertex,
    /// How.
    pub kind: EdgeKind,
}

fn role(node: &NodeId, name: &str) -> Vertex {
    Vertex::Role {
        node: node.clone(),
        name: name.to_owned(),
    }
}

/// The graph. See the crate's header.
#[derive(Debug, Clone, Default)]
pub struct InteractionGraph {
    pub(crate) edges: BTreeMap<EdgeId, Edge>,
    /// Listening addresses of nodes, `host:port`.
    node_at: BTreeMap<String, NodeId>,
    /// How often an address was taken over by another node; nobody's once it was [`N_TAKEN_MAX`] times.
    n_taken: BTreeMap<String, u8>,
    n_left_out: u64,
    events: Events,
}

impl InteractionGraph {
    /// Learns where a node listens, so that edges towards that address end at the node.
    ///
    /// A socket's path says nothing to other hosts, and what several nodes claim in turn (each its own loopback) says nothing at all.
    pub fn place(&mut self, node: &NodeId, address: &str) {
        if address.is_empty() || address.starts_with('/') {
            return;
        }
        let taken_from = match self.node_at.get(address) {
            Some(placed) if placed == node => return,
            other => other.is_some(),
        };
        if taken_from {
            if self.n_taken.len() >= N_EDGES_MAX {
                return;
            }
            let n = self.n_taken.entry(address.to_owned()).or_insert(0);
            if *n >= N_TAKEN_MAX {
                return;
            }
            *n += 1;
            if *n == N_TAKEN_MAX {
                self.node_at.remove(address);
                return;
            }
        } else if self.n_taken.get(address) == Some(&N_TAKEN_MAX) {
            return;
        }
        self.node_at.retain(|_, placed| placed != node);
        self.node_at.insert(address.to_owned(), node.clone());
        self.recognise(node, address);
    }

    /// Edges towards `address` that were told before the node was placed there now end at the node.
    fn recognise(&mut self, node: &NodeId, address: &str) {
        let is_alone = |host: &str| self.alone_on(host) == Some(node);
        let is_there = |vertex: &Vertex| {
            matches!(vertex, Vertex::Service { host, port }
                if format!("{host}:{port}") == address || (*port == 0 && is_alone(host)))
        };
        let strangers: Vec<EdgeId> = self
            .edges
            .keys()
            .filter(|id| is_there(&id.to))
            .cloned()
            .collect();
        for id in strangers {
            if let Some(edge) = self.edges.remove(&id) {
                let to = Vertex::Node(node.clone());
                let new = EdgeId { to, ..id.clone() };
                self.events.note(Event::Went(id));
                if let Entry::Vacant(place) = self.edges.entry(new) {
                    self.events.note(Event::Came(place.key().clone()));
                    place.insert(edge);
                }
            }
        }
    }

    /// Takes an edge as `node` reports it, `at` the window it is of; what several roles and databases of one client say of one window
    /// counts together. O(log edges).
    pub fn touch(&mut self, node: &NodeId, subject: &EdgeSubject, sessions: f64, at: WallTime) {
        let id = self.id(node, subject);
        let user = (!subject.user.is_empty() && subject.kind != EdgeKind::Membership)
            .then_some(subject.user.as_str());
        let n_edges = self.edges.len();
        let edge = match self.edges.entry(id) {
            Entry::Occupied(known) => {
                if let Some(user) = user
                    && !known.get().users.contains_key(user)
                {
                    self.events.note(Event::Acted {
                        edge: known.key().clone(),
                        user: user.to_owned(),
                    });
                }
                known.into_mut()
            }
            Entry::Vacant(place) if n_edges < N_EDGES_MAX => {
                self.events.note(Event::Came(place.key().clone()));
                place.insert(Edge::new(at))
            }
            Entry::Vacant(_) => {
                self.n_left_out += 1;
                return;
            }
        };
        edge.tell(Quantity::Sessions, sessions, at);
        edge.last_seen = edge.last_seen.max(at);
        if let Some(user) = user {
            edge.see_user(user, at);
        }
    }

    fn id(&self, node: &NodeId, subject: &EdgeSubject) -> EdgeId {
        let own = Vertex::Node(node.clone());
        let (from, to) = match subject.kind {
            EdgeKind::Client | EdgeKind::RefusedLogin => (self.peer(subject), own),
            EdgeKind::ForeignServer | EdgeKind::Replication => (own, self.peer(subject)),
            EdgeKind::Membership => (role(node, &subject.user), role(node, &subject.peer)),
        };
        EdgeId {
            from,
            to,
            kind: subject.kind,
        }
    }

    fn peer(&self, subject: &EdgeSubject) -> Vertex {
        if matches!(subject.kind, EdgeKind::Client | EdgeKind::RefusedLogin) {
            let (host, application) = (subject.peer.clone(), subject.application.clone());
            return Vertex::Client { host, application };
        }
        let address = format!("{}:{}", subject.peer, subject.port);
        let alone = || self.alone_on(&subject.peer).filter(|_| subject.port == 0);
        match self.node_at.get(&address).or_else(alone) {
            Some(node) => Vertex::Node(node.clone()),
            None => Vertex::Service {
                host: subject.peer.clone(),
                port: subject.port,
            },
        }
    }

    /// The node that listens on this host, where there is one alone: who streams tells no port.
    fn alone_on(&self, host: &str) -> Option<&NodeId> {
        let first = format!("{host}:");
        let there = self.node_at.range(first.clone()..);
        let mut there = there.take_while(|(address, _)| address.starts_with(&first));
        let (_, node) = there.next()?;
        there.next().is_none().then_some(node)
    }

    /// Forgets what has not been seen, or told of an edge, for long.
    pub fn expire(&mut self, now: WallTime) {
        let events = &mut self.events;
        self.edges.retain(|id, edge| {
            let stays = now.0 - edge.last_seen.0 < FORGET_AFTER_US;
            if stays {
                edge.fade(now);
            } else {
                events.note(Event::Went(id.clone()));
            }
            stays
        });
    }

    /// Edges by id.
    pub fn edges(&self) -> impl Iterator<Item = (&EdgeId, &Edge)> {
        self.edges.iter()
    }

    /// What is known of this edge. O(log edges).
    #[must_use]
    pub fn edge(&self, id: &EdgeId) -> Option<&Edge> {
        self.edges.get(id)
    }

    /// Edges.
    #[must_use]
    pub fn n_edges(&self) -> usize {
        self.edges.len()
    }

    /// What happened from number `from` on, oldest first; `None` where some of it is forgotten (then look at all edges).
    #[must_use]
    pub fn events(&self, from: u64) -> Option<impl Iterator<Item = &Event>> {
        self.events.since(from)
    }

    /// How many events there have been: the number of the next one.
    #[must_use]
    pub fn n_events(&self) -> u64 {
        self.events.n()
    }

    /// Whether this edge is there. O(log edges).
    #[must_use]
    pub fn has(&self, id: &EdgeId) -> bool {
        self.edges.contains_key(id)
    }

    /// Every vertex that has an edge, ascending.
    #[must_use]
    pub fn vertices(&self) -> BTreeSet<&Vertex> {
        self.edges
            .keys()
            .flat_map(|id| [&id.from, &id.to])
            .collect()
    }

    /// Nodes that `node` queries (its foreign servers).
    #[must_use]
    pub fn dependencies(&self, node: &NodeId) -> Vec<&NodeId> {
        let own = Vertex::Node(node.clone());
        let queries = self
            .edges
            .keys()
            .filter(|id| id.kind == EdgeKind::ForeignServer && id.from == own);
        queries
            .filter_map(|id| {
                if let Vertex::Node(to) = &id.to {
                    Some(to)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Edges left out over the limit, since the start.
    #[must_use]
    pub const fn n_left_out(&self) -> u64 {
        self.n_left_out
    }
}

#[cfg(test)]
mod tests;
