//! What there is: keyspaces cut into shards with replicas, routers, applications with their roles; and what is told of it over time.

use std::collections::BTreeSet;

use hsw_graph::{EdgeId, Vertex};
use hsw_types::{EdgeKind, EdgeSubject, NodeId};

use super::dice::Dice;

/// A node and what is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) shard: String,
    pub(crate) is_router: bool,
    pub(crate) address: String,
    /// Its agent speaks from here on.
    pub(crate) from_s: i64,
}

/// A shard: its nodes, the primary first.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) keyspace: usize,
    pub(crate) nodes: Vec<usize>,
}

/// What an application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through the routers of its keyspaces.
    Routed,
    /// To every primary of its keyspaces.
    Direct,
    /// Each pod to one shard of its keyspace.
    Home,
    /// To one replica of every shard.
    Reading,
    /// A job: through a router, at its hours.
    Job,
    /// A job on every shard of its keyspace, at its hours.
    Sweep,
    /// Every node.
    Watching,
    /// A person, one shard at a time.
    Roaming,
}

/// An application.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) way: Way,
    pub(crate) keyspaces: Vec<usize>,
    pub(crate) n_pods: usize,
}

/// Something told from one second to another.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) node: usize,
    pub(crate) subject: EdgeSubject,
    pub(crate) from_s: i64,
    pub(crate) to_s: i64,
}

/// An intrusion as it was put in.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Its kind.
    pub kind: super::Kind,
    /// When it began, seconds.
    pub from_s: i64,
    /// Who acts.
    pub clients: BTreeSet<Vertex>,
    /// What shows it.
    pub edges: BTreeSet<EdgeId>,
}

/// A topology and its life. See the module's header.
#[derive(Clone, Debug)]
pub struct Topology {
    pub(crate) dice: Dice,
    pub(crate) nodes: Vec<Node>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) routers: Vec<Vec<usize>>,
    pub(crate) keyspaces: Vec<String>,
    pub(crate) apps: Vec<App>,
    pub(crate) sessions: Vec<Session>,
    /// What was put in.
    pub truth: Vec<Truth>,
    names: BTreeSet<String>,
    n_addresses: u32,
    free: Vec<String>,
}

/// Life begins here and intrusions a day and two hours later, for ten hours.
pub(crate) const END_S: i64 = 36 * 3_600;
/// From here on it is judged.
pub(crate) const JUDGED_S: i64 = 26 * 3_600;

impl Topology {
    /// About so many vertices; lived through, with intrusions.
    #[must_use]
    pub fn new(n_vertices: usize, seed: u64) -> Self {
        let mut world = Self {
            dice: Dice::new(seed ^ (n_vertices as u64) << 32),
            nodes: Vec::new(),
            shards: Vec::new(),
            routers: Vec::new(),
            keyspaces: Vec::new(),
            apps: Vec::new(),
            sessions: Vec::new(),
            truth: Vec::new(),
            names: BTreeSet::new(),
            n_addresses: 0,
            free: Vec::new(),
        };
        world.settle(n_vertices);
        world.live();
        world.receive();
        world.intrude();
        world
    }

    /// Keyspaces, shards, routers, applications.
    fn settle(&mut self, n_vertices: usize) {
        let n_shards = (n_vertices / 120).max(4);
        let n_keyspaces = (n_shards / 6).clamp(2, 8);
        for keyspace in 0..n_keyspaces {
            let name = self.name();
            self.keyspaces.push(name);
            self.routers.push(Vec::new());
            for _ in 0..1 + usize::from(n_vertices > 400) {
                self.add_router(keyspace, 0);
            }
        }
        let n_replicas = self.dice.below(3);
        for shard in 0..n_shards {
            let n = 1 + n_replicas.min(2);
            self.add_shard(shard % n_keyspaces, n, 0);
        }
        // Of each node: three or four roles of its keyspace and what they act as; pods linger and are more by day.
        let n_roles = self.nodes.len() * 7 / 2;
        let n_pods_all = n_vertices.saturating_sub(self.nodes.len() + n_roles) * 2 / 5;
        let n_pods_all = n_pods_all.max(20);
        let mut n_pods = 0;
        let mut shared: Vec<String> = Vec::new();
        while n_pods < n_pods_all {
            let way = match self.dice.below(20) {
                0..=7 => Way::Routed,
                8..=12 => Way::Direct,
                13..=14 => Way::Home,
                15..=16 => Way::Reading,
                17 => Way::Sweep,
                _ => Way::Job,
            };
            let app = self.app(way, &mut shared);
            n_pods += app.n_pods;
            self.apps.push(app);
        }
        for way in [Way::Watching, Way::Sweep, Way::Roaming] {
            let mut app = self.app(way, &mut shared);
            app.keyspaces = (0..n_keyspaces).collect();
            app.n_pods = 1;
            self.apps.push(app);
        }
        for at in 0..self.apps.len() {
            let app = self.apps[at].clone();
            let of = if app.way == Way::Roaming {
                "superuser"
            } else {
                "writers"
            };
            self.provision(&app.role, of, &app.keyspaces, 0);
        }
    }

    pub(crate) fn app(&mut self, way: Way, shared: &mut Vec<String>) -> App {
        let name = self.name();
        let n_keyspaces = self.keyspaces.len();
        let mut keyspaces = vec![self.dice.below(n_keyspaces)];
        if n_keyspaces > 2 && self.dice.chance(0.15) {
            keyspaces.push((keyspaces[0] + 1) % n_keyspaces);
        }
        let is_pods = matches!(way, Way::Routed | Way::Direct | Way::Home | Way::Reading);
        let n_pods = if is_pods {
            1 + self.dice.below(self.nodes.len().clamp(6, 40))
        } else {
            1
        };
        // Some roles are shared by what comes through routers.
        let role = if way == Way::Routed && self.dice.chance(0.3) {
            if shared.is_empty() {
                shared.push(self.name());
            }
            shared[0].clone()
        } else {
            self.name()
        };
        App {
            name,
            role,
            way,
            keyspaces,
            n_pods,
        }
    }

    pub(crate) fn add_router(&mut self, keyspace: usize, from_s: i64) -> usize {
        let n = self.routers[keyspace].len() + 1;
        let shard = format!("{}-router-{n}", self.keyspaces[keyspace]);
        let at = self.add_node(&format!("{shard}-a"), &shard, true, from_s);
        self.routers[keyspace].push(at);
        at
    }

    pub(crate) fn add_shard(&mut self, keyspace: usize, n_nodes: usize, from_s: i64) -> usize {
        let n = self
            .shards
            .iter()
            .filter(|shard| shard.keyspace == keyspace)
            .count()
            + 1;
        let name = format!("{}-{n}", self.keyspaces[keyspace]);
        let nodes: Vec<usize> = (0..n_nodes)
            .map(|k| {
                self.add_node(
                    &format!("{name}-{}", char::from(b'a' + k as u8)),
                    &name,
                    false,
                    from_s,
                )
            })
            .collect();
        self.shards.push(Shard { keyspace, nodes });
        self.shards.len() - 1
    }

    pub(crate) fn add_node(
        &mut self,
        id: &str,
        shard: &str,
        is_router: bool,
        from_s: i64,
    ) -> usize {
        let address = self.address();
        self.nodes.push(Node {
            id: NodeId::new(id).expect("letters, digits and dashes"),
            shard: shard.to_owned(),
            is_router,
            address,
            from_s,
        });
        self.nodes.len() - 1
    }

    /// A name nobody has: one space for applications, roles, keyspaces, honest or not.
    pub(crate) fn name(&mut self) -> String {
        const PARTS: [&str; 24] = [
            "ka", "lo", "mi", "ren", "sta", "tor", "ve", "bil", "cat", "dex", "fin", "gra", "hub",
            "ink", "jet", "kit", "lab", "mux", "nav", "ops", "pay", "que", "rig", "syn",
        ];
        loop {
            let n = 2 + self.dice.below(3);
            let name: String = (0..n).map(|_| *self.dice.of(&PARTS)).collect();
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }

    /// An address: one that was given back, or a new one.
    pub(crate) fn address(&mut self) -> String {
        if self.free.len() > 20 && self.dice.chance(0.3) {
            let at = self.dice.below(self.free.len());
            return self.free.swap_remove(at);
        }
        // A fixed permutation of 2^22 addresses: neither order nor nearness says anything.
        self.n_addresses += 1;
        let n = self.n_addresses.wrapping_mul(2_654_435) & 0x003f_ffff;
        format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)
    }

    pub(crate) fn give_back(&mut self, address: String) {
        self.free.push(address);
    }

    pub(crate) fn shards_of(&self, keyspaces: &[usize], at_s: i64) -> Vec<usize> {
        let is_there = |shard: &Shard| {
            keyspaces.contains(&shard.keyspace) && self.nodes[shard.nodes[0]].from_s <= at_s
        };
        (0..self.shards.len())
            .filter(|at| is_there(&self.shards[*at]))
            .collect()
    }

    /// A client's session.
    pub(crate) fn connect(
        &mut self,
        host: &str,
        (app, role): (&str, &str),
        node: usize,
        (from_s, to_s): (i64, i64),
    ) {
        let subject = EdgeSubject {
            kind: EdgeKind::Client,
            peer: host.to_owned(),
            port: 0,
            user: role.to_owned(),
            application: app.to_owned(),
            database: String::new(),
        };
        self.tell(node, subject, from_s, to_s);
    }

    pub(crate) fn tell(&mut self, node: usize, subject: EdgeSubject, from_s: i64, to_s: i64) {
        let from_s = from_s.max(self.nodes[node].from_s);
        let to_s = to_s.min(END_S);
        if from_s < to_s {
            self.sessions.push(Session {
                node,
                subject,
                from_s,
                to_s,
            });
        }
    }

    /// The role may act as `of` on every node of these keyspaces.
    pub(crate) fn provision(&mut self, role: &str, of: &str, keyspaces: &[usize], from_s: i64) {
        for shard in self.shards_of(keyspaces, from_s) {
            let late_s = if from_s == 0 {
                0
            } else {
                self.dice.between(0, 120)
            };
            for node in self.shards[shard].nodes.clone() {
                self.grant(node, role, of, from_s + late_s);
            }
        }
    }

    pub(crate) fn grant(&mut self, node: usize, role: &str, of: &str, from_s: i64) {
        let subject = membership(role, of);
        self.tell(node, subject, from_s, END_S);
    }

    pub(crate) fn refuse(&mut self, host: &str, app: &str, role: &str, node: usize, from_s: i64) {
        let subject = EdgeSubject {
            kind: EdgeKind::RefusedLogin,
            peer: host.to_owned(),
            port: 0,
            user: role.to_owned(),
            application: app.to_owned(),
            database: String::new(),
        };
        let for_s = self.dice.between(10, 60);
        self.tell(node, subject, from_s, from_s + for_s);
    }
}

pub(crate) fn membership(role: &str, of: &str) -> EdgeSubject {
    EdgeSubject {
        kind: EdgeKind::Membership,
        peer: of.to_owned(),
        port: 0,
        user: role.to_owned(),
        application: String::new(),
        database: String::new(),
    }
}
