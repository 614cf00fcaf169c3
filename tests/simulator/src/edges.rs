//! Who talks to a node and whom it talks to, as `edge.*` readings. (step 1)

use std::sync::Arc;

use hsw_types::{EdgeKind, EdgeSubject, Reading, SeriesKey};

use crate::node::{Kind, Node};

/// One interaction and its share of the node's sessions.
#[derive(Debug)]
struct Edge {
    sessions: Arc<SeriesKey>,
    active: Arc<SeriesKey>,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    /// Transactions, this share of them.
    Tenants(f64),
    Reports,
    HealthCheck,
    /// Clients of faults and of newcomers: there only while they act.
    Storm,
    Batch,
    Newcomer,
    /// A foreign server or a replica: there or not.
    Standing,
}

/// Traffic by address.
#[derive(Debug)]
struct Peer {
    rtt: Arc<SeriesKey>,
    rx: Arc<SeriesKey>,
    tx: Arc<SeriesKey>,
    share: f64,
}

/// The edges of one node.
#[derive(Debug)]
pub(crate) struct Edges {
    edges: Vec<Edge>,
    peers: Vec<Peer>,
    /// Which of the passing ones were told as there.
    was_there: [bool; 3],
}

fn subject(kind: EdgeKind, peer: &str, user: &str, application: &str) -> EdgeSubject {
    let is_session = kind == EdgeKind::Client;
    EdgeSubject {
        kind,
        peer: peer.to_owned(),
        port: if kind == EdgeKind::ForeignServer {
            5432
        } else {
            0
        },
        user: user.to_owned(),
        application: application.to_owned(),
        database: if is_session || kind == EdgeKind::ForeignServer {
            "shop".to_owned()
        } else {
            String::new()
        },
    }
}

impl Edge {
    fn new(subject: EdgeSubject, role: Role) -> Self {
        Self {
            sessions: Arc::new(SeriesKey::edge("edge.sessions", subject.clone())),
            active: Arc::new(SeriesKey::edge("edge.active", subject)),
            role,
        }
    }
}

impl Edges {
    /// Of a node of a shard: its router at this address, reports, and its replicas.
    pub(crate) fn of_shard(router: &str, replicas: &[String]) -> Self {
        let client = |peer: &str, user: &str, application: &str, role| {
            Edge::new(subject(EdgeKind::Client, peer, user, application), role)
        };
        let mut edges = vec![
            client(router, "app", "coordinator/tenant-#", Role::Tenants(1.0)),
            client(REPORTER, "reports", "reports", Role::Reports),
            client(REPORTER, "reports", "healthcheck", Role::HealthCheck),
            client(STRANGER, "app", "runaway-pool", Role::Storm),
            client(STRANGER, "app", "nightly-batch", Role::Batch),
            client(NEWCOMER, "reports", "reports", Role::Newcomer),
        ];
        for replica in replicas {
            let to = subject(EdgeKind::Replication, replica, "replicator", "walreceiver");
            edges.push(Edge::new(to, Role::Standing));
        }
        Self {
            edges,
            peers: vec![Peer::new(router, 0.9), Peer::new(REPORTER, 0.1)],
            was_there: [false; 3],
        }
    }

    /// Of a router: tenants, and the shards behind it.
    pub(crate) fn of_router(shards: &[String]) -> Self {
        let tenants = subject(EdgeKind::Client, APPLICATIONS, "app", "tenant-#");
        let mut edges = vec![Edge::new(tenants, Role::Tenants(1.0))];
        for shard in shards.iter().take(200) {
            let to = subject(EdgeKind::ForeignServer, shard, "", "");
            edges.push(Edge::new(to, Role::Standing));
        }
        Self {
            edges,
            peers: vec![Peer::new(APPLICATIONS, 1.0)],
            was_there: [false; 3],
        }
    }

    /// The edges now; those that are gone say zero once.
    pub(crate) fn tell(&mut self, node: &Node, out: &mut Vec<Reading>) {
        let stress = &node.stress;
        let pool = (node.now.sessions - stress.lock_waiters - stress.runaway).max(0.0);
        for edge in &self.edges {
            let (sessions, active) = match edge.role {
                Role::Tenants(share) => {
                    let usual = f64::from(node.plan.pool).min(pool);
                    (
                        usual * share,
                        (node.now.active - stress.lock_waiters).clamp(0.0, usual) * share,
                    )
                }
                Role::Reports => (
                    f64::from(node.plan.report_pool),
                    node.work.active_reports.round(),
                ),
                Role::HealthCheck => (f64::from(u8::from(node.work.logins > 0.0)), 0.0),
                Role::Standing => (1.0, -1.0),
                Role::Storm => (
                    stress.logins.min(1.0)
                        * (node.now.sessions
                            - f64::from(node.plan.pool + node.plan.report_pool)
                            - 1.0)
                            .max(0.0),
                    0.0,
                ),
                // A job of every night comes by ways that are known.
                Role::Batch => (stress.lock_waiters, stress.lock_waiters),
                Role::Newcomer => (stress.newcomer, 0.0),
            };
            let passing = match edge.role {
                Role::Storm => Some(0),
                Role::Batch => Some(1),
                Role::Newcomer => Some(2),
                _ => None,
            };
            if let Some(n) = passing {
                let was_there = std::mem::replace(&mut self.was_there[n], sessions > 0.0);
                if !was_there && sessions <= 0.0 {
                    continue;
                }
            }
            out.push(Reading::gauge(&edge.sessions, sessions.floor()));
            if active >= 0.0 {
                out.push(Reading::gauge(&edge.active, active.floor()));
            }
        }
        for peer in &self.peers {
            out.push(Reading::gauge(&peer.rtt, node.now.rtt_ms));
            let (rx, tx) = (
                node.totals.rx_bytes * peer.share,
                node.totals.tx_bytes * peer.share,
            );
            out.push(Reading::counter(&peer.rx, rx.round(), 1));
            out.push(Reading::counter(&peer.tx, tx.round(), 1));
        }
        debug_assert!(node.kind != Kind::Router || self.peers.len() == 1);
    }
}

impl Peer {
    fn new(address: &str, share: f64) -> Self {
        let subject = EdgeSubject {
            database: String::new(),
            ..subject(EdgeKind::Client, address, "", "")
        };
        let key = |metric| Arc::new(SeriesKey::edge(metric, subject.clone()));
        Self {
            rtt: key("edge.rtt_ms"),
            rx: key("edge.rx_bytes"),
            tx: key("edge.tx_bytes"),
            share,
        }
    }
}

/// Where reports come from, where tenants' applications run, and where strangers come from.
const REPORTER: &str = "10.9.0.1";
const APPLICATIONS: &str = "10.9.0.2";
const STRANGER: &str = "10.9.0.3";
/// Where the reports of a tenant that moves in run: a host of its own for the program and the role that others use. A program that nobody
/// knew would be what the watch over interactions is there for.
const NEWCOMER: &str = "10.9.0.4";
