//! Intrusions: edges that nobody was to have, whole keyspaces read, roles taken, crowds.

use std::collections::BTreeSet;

use hsw_graph::{EdgeId, Vertex};
use hsw_types::{EdgeKind, EdgeSubject};

use super::topology::{App, END_S, JUDGED_S, Session, Topology, Truth, Way, membership};

/// What is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An edge that nobody was to have.
    Unauthorised,
    /// A way for data to leave: shards read one after the other, or an address outside.
    Exfiltration,
    /// Refused logins and grants, and what they open.
    Escalation,
    /// Many clients made up.
    Sybils,
}

/// All of them.
pub(crate) const KINDS: [Kind; 4] = [
    Kind::Unauthorised,
    Kind::Exfiltration,
    Kind::Escalation,
    Kind::Sybils,
];
/// Of each kind in one topology.
const N_EACH: usize = 3;

/// What an intrusion has done so far.
#[derive(Default)]
struct Trace {
    clients: BTreeSet<Vertex>,
    edges: BTreeSet<EdgeId>,
}

impl Topology {
    pub(crate) fn intrude(&mut self) {
        let mut order: Vec<Kind> = KINDS.iter().flat_map(|kind| [*kind; N_EACH]).collect();
        order = self.dice.some(&order, order.len());
        let span_s = (END_S - JUDGED_S - 5_400) / order.len() as i64;
        for (at, kind) in order.into_iter().enumerate() {
            let from_s = JUDGED_S + 600 + at as i64 * span_s + self.dice.between(0, span_s);
            let n_before = self.sessions.len();
            let trace = match kind {
                Kind::Unauthorised => self.unauthorised(from_s),
                Kind::Exfiltration => self.exfiltration(from_s),
                Kind::Escalation => self.escalation(from_s),
                Kind::Sybils => self.sybils(from_s),
            };
            let clients = trace.clients;
            let mut edges = trace.edges;
            for session in &self.sessions[n_before..] {
                edges.insert(self.edge_of(session));
            }
            if !edges.is_empty() {
                self.truth.push(Truth {
                    kind,
                    from_s,
                    clients,
                    edges,
                });
            }
        }
    }

    /// The edge that the graph makes of it.
    pub(crate) fn edge_of(&self, session: &Session) -> EdgeId {
        let (subject, node) = (&session.subject, &self.nodes[session.node].id);
        let own = Vertex::Node(node.clone());
        let role = |name: &str| Vertex::Role {
            node: node.clone(),
            name: name.to_owned(),
        };
        let peer = match subject.kind {
            EdgeKind::Client | EdgeKind::RefusedLogin => {
                client(&subject.peer, &subject.application)
            }
            _ => match self.nodes.iter().find(|node| node.address == subject.peer) {
                Some(node) => Vertex::Node(node.id.clone()),
                None => Vertex::Service {
                    host: subject.peer.clone(),
                    port: subject.port,
                },
            },
        };
        let (from, to) = match subject.kind {
            EdgeKind::Client | EdgeKind::RefusedLogin => (peer, own),
            EdgeKind::ForeignServer | EdgeKind::Replication => (own, peer),
            EdgeKind::Membership => (role(&subject.user), role(&subject.peer)),
        };
        EdgeId {
            from,
            to,
            kind: subject.kind,
        }
    }

    /// A client's session that is there then, and its application.
    fn somebody(&mut self, ways: &[Way], at_s: i64) -> Option<(Session, App)> {
        let apps: Vec<App> = self
            .apps
            .iter()
            .filter(|app| ways.contains(&app.way))
            .cloned()
            .collect();
        let names: BTreeSet<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        let is_there = |session: &&Session| {
            session.subject.kind == EdgeKind::Client
                && session.from_s < at_s - 600
                && session.to_s > at_s + 3_600
                && names.contains(session.subject.application.as_str())
        };
        let there: Vec<&Session> = self.sessions.iter().filter(is_there).collect();
        if there.is_empty() {
            return None;
        }
        let session = there[self.dice.below(there.len())].clone();
        let app = apps
            .into_iter()
            .find(|app| app.name == session.subject.application)?;
        Some((session, app))
    }

    /// Shards that no application of this name was ever told on.
    fn shards_without(&self, app: &str, at_s: i64) -> Vec<usize> {
        let all: Vec<usize> = (0..self.keyspaces.len()).collect();
        let used: BTreeSet<&str> = self
            .sessions
            .iter()
            .filter(|session| session.subject.application == app)
            .map(|session| self.nodes[session.node].shard.as_str())
            .collect();
        let shards = self.shards_of(&all, at_s - 7_200).into_iter();
        shards
            .filter(|shard| !used.contains(self.nodes[self.shards[*shard].nodes[0]].shard.as_str()))
            .collect()
    }

    fn unauthorised(&mut self, from_s: i64) -> Trace {
        let for_s = self.dice.between(300, 3_000);
        let ways = [Way::Routed, Way::Direct, Way::Home, Way::Reading];
        let Some((session, app)) = self.somebody(&ways, from_s) else {
            return Trace::default();
        };
        let (host, role) = (session.subject.peer.clone(), session.subject.user.clone());
        let mut trace = Trace::default();
        if self.dice.chance(0.6) {
            // A pod goes where none of its application goes, a shard or two of them.
            let shards = self.shards_without(&app.name, from_s);
            let n = 1 + self.dice.below(2);
            for shard in self.dice.some(&shards, n) {
                self.upon(&host, (&app.name, &role), shard, (from_s, from_s + for_s));
            }
            trace.clients.insert(client(&host, &app.name));
        } else {
            // A stranger with a pod's password.
            let (host, name) = (self.address(), self.name());
            self.connect(
                &host,
                (&name, &role),
                session.node,
                (from_s, from_s + for_s),
            );
            trace.clients.insert(client(&host, &name));
        }
        trace
    }

    fn exfiltration(&mut self, from_s: i64) -> Trace {
        let mut trace = Trace::default();
        match self.dice.below(5) {
            0 | 1 => {
                // A stranger reads every shard with the password of one who may.
                let Some((_, app)) =
                    self.somebody(&[Way::Direct, Way::Reading, Way::Watching], from_s)
                else {
                    return trace;
                };
                let (host, name) = (self.address(), self.name());
                self.read_all(&host, (&name, &app.role), &app.keyspaces, from_s);
                trace.clients.insert(client(&host, &name));
            }
            2 => {
                let Some((session, app)) = self.somebody(&[Way::Routed], from_s) else {
                    return trace;
                };
                // A pod behind routers goes to the shards themselves, where none of its application does.
                let without = self.shards_without(&app.name, from_s);
                let own = self.shards_of(&app.keyspaces, from_s - 7_200);
                if !own.iter().all(|shard| without.contains(shard)) {
                    return trace;
                }
                let host = session.subject.peer.clone();
                self.read_all(
                    &host,
                    (&app.name, &session.subject.user),
                    &app.keyspaces,
                    from_s,
                );
                trace.clients.insert(client(&host, &app.name));
            }
            3 => {
                trace.clients.insert(self.server_outside(from_s));
            }
            _ => {
                // Somebody receives a shard's stream.
                let all: Vec<usize> = (0..self.keyspaces.len()).collect();
                let shards = self.shards_of(&all, from_s - 7_200);
                let shard = *self.dice.of(&shards);
                let host = self.address();
                let subject = EdgeSubject {
                    kind: EdgeKind::Replication,
                    peer: host.clone(),
                    port: 0,
                    user: "replicator".to_owned(),
                    application: "walreceiver".to_owned(),
                    database: String::new(),
                };
                let for_s = self.dice.between(1_200, 3_600);
                let node = self.shards[shard].nodes[0];
                self.tell(node, subject, from_s, from_s + for_s);
                trace.clients.insert(Vertex::Service { host, port: 0 });
            }
        }
        trace
    }

    /// A router gets a foreign server outside; the router.
    fn server_outside(&mut self, from_s: i64) -> Vertex {
        let routers: Vec<usize> = self.routers.iter().flatten().copied().collect();
        let there: Vec<usize> = routers
            .into_iter()
            .filter(|r| self.nodes[*r].from_s < from_s - 7_200)
            .collect();
        let router = *self.dice.of(&there);
        let subject = EdgeSubject {
            kind: EdgeKind::ForeignServer,
            peer: self.address(),
            port: 5_432,
            user: String::new(),
            application: String::new(),
            database: String::new(),
        };
        let for_s = self.dice.between(1_200, 3_600);
        self.tell(router, subject, from_s, from_s + for_s);
        Vertex::Node(self.nodes[router].id.clone())
    }

    fn read_all(&mut self, host: &str, as_whom: (&str, &str), keyspaces: &[usize], from_s: i64) {
        let shards = self.shards_of(keyspaces, from_s - 7_200);
        let each_s = self.dice.between(20, 200);
        for (k, shard) in shards.into_iter().enumerate() {
            let at_s = from_s + k as i64 * each_s;
            self.upon(host, as_whom, shard, (at_s, at_s + each_s));
        }
    }

    fn escalation(&mut self, from_s: i64) -> Trace {
        let mut trace = Trace::default();
        let Some((session, app)) = self.somebody(&[Way::Direct, Way::Home, Way::Reading], from_s)
        else {
            return trace;
        };
        let (host, role, node) = (
            session.subject.peer.clone(),
            session.subject.user.clone(),
            session.node,
        );
        trace.clients.insert(client(&host, &app.name));
        let for_s = self.dice.between(600, 3_000);
        let at_s = from_s + self.dice.between(60, 600);
        match self.dice.below(4) {
            0 => {
                // Refused, then more than a role may be, on the shard it works on.
                self.refuse(&host, &app.name, &role, node, from_s);
                self.tell(node, membership(&role, "superuser"), at_s, at_s + for_s);
                let own = self.edge_of(&session);
                trace.edges.insert(own);
            }
            1 => {
                // Refused, then as the role of a person who may do everything.
                let person = self
                    .apps
                    .iter()
                    .find(|app| app.way == Way::Roaming)
                    .map(|app| app.role.clone());
                let person = person.unwrap_or_default();
                self.refuse(&host, &app.name, &person, node, from_s);
                self.connect(&host, (&app.name, &person), node, (at_s, at_s + for_s));
            }
            2 => {
                // Refused, then as a role of another application on another shard.
                let Some((other, _)) = self.somebody(&[Way::Direct, Way::Home], from_s) else {
                    return Trace::default();
                };
                if other.subject.application == app.name {
                    return Trace::default();
                }
                self.refuse(&host, &app.name, &other.subject.user, other.node, from_s);
                self.connect(
                    &host,
                    (&app.name, &other.subject.user),
                    other.node,
                    (at_s, at_s + for_s),
                );
            }
            _ => {
                // A privileged role granted, and nothing refused.
                self.tell(
                    node,
                    membership(&role, "pg_read_all_data"),
                    at_s,
                    at_s + for_s,
                );
                let own = self.edge_of(&session);
                trace.clients.insert(Vertex::Role {
                    node: self.nodes[node].id.clone(),
                    name: role,
                });
                trace.edges.insert(own);
            }
        }
        trace
    }

    fn sybils(&mut self, from_s: i64) -> Trace {
        let mut trace = Trace::default();
        let Some((session, app)) = self.somebody(&[Way::Routed, Way::Direct, Way::Reading], from_s)
        else {
            return trace;
        };
        let role = session.subject.user.clone();
        let shards = self.shards_of(&app.keyspaces, from_s - 7_200);
        let n_targets = 1 + self.dice.below(2);
        let targets = self.dice.some(&shards, n_targets);
        let names: Vec<String> = (0..1 + self.dice.below(4)).map(|_| self.name()).collect();
        let for_s = self.dice.between(900, 3_600);
        for _ in 0..6 + self.dice.below(10) {
            let (host, name) = (self.address(), self.dice.of(&names).clone());
            let at_s = from_s + self.dice.between(0, 400);
            for shard in &targets {
                self.upon(&host, (&name, &role), *shard, (at_s, at_s + for_s));
            }
            trace.clients.insert(client(&host, &name));
        }
        trace
    }
}

fn client(host: &str, application: &str) -> Vertex {
    Vertex::Client {
        host: host.to_owned(),
        application: application.to_owned(),
    }
}
