//! A finer view of edges: who acts as what upon which shard.
//!
//! An edge of the graph ends at a node. Habits are of shards: a failover or a new replica is the same shard.

use hsw_graph::{EdgeId, Vertex};
use hsw_types::{EdgeKind, NodeId};

use crate::names::stem;
use crate::suspicion::Place;

/// What acts alike: an application as a role, the routers of one kind, a receiver of streams.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Colour {
    /// Pods of an application that log in as one role.
    Client {
        /// Its name, digits masked; the host where it has none.
        application: String,
        /// Its login role; empty when unknown.
        user: String,
    },
    /// Routers of one kind.
    Routers(String),
    /// Who receives a stream of a shard's changes.
    Receiver(String),
}

impl Colour {
    /// Application or kind: colours with another role are its siblings.
    pub(crate) fn application(&self) -> &str {
        match self {
            Self::Client { application, .. } => application,
            Self::Routers(name) | Self::Receiver(name) => name,
        }
    }

    /// Login role; empty where there is none.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Client { user, .. } => user,
            Self::Routers(_) | Self::Receiver(_) => "",
        }
    }
}

/// What is acted upon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A shard, whichever of its nodes.
    Shard(String),
    /// Any router of one kind.
    Routers(String),
    /// An address that is no node.
    Outside(String),
}

impl Target {
    /// Of a node; one without a place stands for itself.
    pub(crate) fn of(node: &NodeId, place: Option<&Place>) -> Self {
        match place {
            Some(place) if place.is_router => Self::Routers(stem(place.shard.as_str())),
            Some(place) => Self::Shard(place.shard.as_str().to_owned()),
            None => Self::Shard(node.as_str().to_owned()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Shard(name) | Self::Routers(name) | Self::Outside(name) => name,
        }
    }

    pub(crate) const fn is_shard(&self) -> bool {
        matches!(self, Self::Shard(_))
    }
}

/// One who acts: a vertex.
pub(crate) type Actor = Vertex;

/// An edge with one of its roles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Access {
    pub(crate) client: Actor,
    pub(crate) host: String,
    pub(crate) colour: Colour,
    pub(crate) target: Target,
}

impl Access {
    /// Host and role: what a client cannot choose as freely as its name.
    pub(crate) fn origin(&self) -> (String, String) {
        (self.host.clone(), self.colour.user().to_owned())
    }

    /// Of an edge that carries `user`; `None` for edges that are no access, and for streams within a shard.
    pub(crate) fn of(
        edge: &EdgeId,
        user: &str,
        place: &impl Fn(&NodeId) -> Option<Place>,
    ) -> Option<Self> {
        let (client, host, colour, target) = match (edge.kind, &edge.from, &edge.to) {
            (EdgeKind::Client, Vertex::Client { host, application }, Vertex::Node(node)) => {
                let nameless = || format!("@{host}");
                let is_nameless = application.is_empty() && user.is_empty();
                let application = if is_nameless {
                    nameless()
                } else {
                    application.clone()
                };
                let user = user.to_owned();
                let colour = Colour::Client { application, user };
                (
                    &edge.from,
                    host.clone(),
                    colour,
                    Target::of(node, place(node).as_ref()),
                )
            }
            (EdgeKind::ForeignServer, Vertex::Node(router), to) => {
                let kind =
                    place(router).map_or_else(|| router.to_string(), |p| p.shard.to_string());
                let colour = Colour::Routers(stem(&kind));
                let target = match to {
                    Vertex::Node(node) => Target::of(node, place(node).as_ref()),
                    Vertex::Service { host, .. } => Target::Outside(host.clone()),
                    Vertex::Client { .. } | Vertex::Role { .. } => return None,
                };
                (&edge.from, router.to_string(), colour, target)
            }
            (EdgeKind::Replication, Vertex::Node(source), to) => {
                let target = Target::of(source, place(source).as_ref());
                let host = match to {
                    Vertex::Node(node) if Target::of(node, place(node).as_ref()) == target => {
                        return None;
                    }
                    Vertex::Node(node) => node.to_string(),
                    Vertex::Service { host, .. } => host.clone(),
                    Vertex::Client { .. } | Vertex::Role { .. } => return None,
                };
                (&edge.to, host.clone(), Colour::Receiver(host), target)
            }
            _ => return None,
        };
        Some(Self {
            client: client.clone(),
            host,
            colour,
            target,
        })
    }
}
