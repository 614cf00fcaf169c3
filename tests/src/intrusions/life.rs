//! Honest life: pods that come and go, releases, days and nights, failovers, jobs, people.

use super::topology::{App, END_S, Topology, Way};
use hsw_types::{EdgeKind, EdgeSubject};

const HOUR_S: i64 = 3_600;

/// From when on a release takes its application somewhere else, and where.
#[derive(Clone, Debug)]
pub(crate) struct Extra {
    from_s: i64,
    /// All pods at once instead of with their next life.
    is_switch: bool,
    shards: Vec<usize>,
    router_of: Option<usize>,
}

impl Topology {
    pub(crate) fn live(&mut self) {
        self.grow();
        self.replicate();
        self.route();
        for at in 0..self.apps.len() {
            let app = self.apps[at].clone();
            self.run(&app, 0);
        }
        self.stumble();
    }

    /// Shards, replicas and routers that come later.
    fn grow(&mut self) {
        for hour in [5, 14, 28, 33] {
            let from_s = hour * HOUR_S + self.dice.between(0, HOUR_S);
            let keyspace = self.dice.below(self.keyspaces.len());
            let n_nodes = self.shards[0].nodes.len();
            let shard = self.add_shard(keyspace, n_nodes, from_s);
            for role in self.roles_of(keyspace) {
                for node in self.shards[shard].nodes.clone() {
                    self.grant(node, &role.0, &role.1, from_s);
                }
            }
        }
        for hour in [9, 27, 31] {
            let from_s = hour * HOUR_S + self.dice.between(0, HOUR_S);
            let shard = self.dice.below(self.shards.len());
            let name = self.nodes[self.shards[shard].nodes[0]].shard.clone();
            let born_s = from_s.max(self.nodes[self.shards[shard].nodes[0]].from_s);
            let id = format!("{name}-x{hour}");
            let node = self.add_node(&id, &name, false, born_s + 90);
            self.shards[shard].nodes.push(node);
        }
        let keyspace = self.dice.below(self.keyspaces.len());
        let from_s = 29 * HOUR_S + self.dice.between(0, HOUR_S);
        self.add_router(keyspace, from_s);
    }

    fn roles_of(&self, keyspace: usize) -> Vec<(String, String)> {
        let apps = self
            .apps
            .iter()
            .filter(|app| app.keyspaces.contains(&keyspace));
        let of = |app: &App| {
            if app.way == Way::Roaming {
                "superuser"
            } else {
                "writers"
            }
        };
        let mut roles: Vec<_> = apps
            .map(|app| (app.role.clone(), of(app).to_owned()))
            .collect();
        roles.sort();
        roles.dedup();
        roles
    }

    fn replicate(&mut self) {
        for shard in self.shards.clone() {
            let Some((primary, replicas)) = shard.nodes.split_first() else {
                continue;
            };
            for replica in replicas {
                let late_s = if self.nodes[*replica].from_s > 0 {
                    60
                } else {
                    0
                };
                let subject = EdgeSubject {
                    kind: EdgeKind::Replication,
                    peer: self.nodes[*replica].address.clone(),
                    port: 0,
                    user: "replicator".to_owned(),
                    application: "walreceiver".to_owned(),
                    database: String::new(),
                };
                let from_s = self.nodes[*replica].from_s - late_s;
                self.tell(*primary, subject, from_s, END_S);
            }
        }
    }

    /// Routers know every shard of their keyspace.
    fn route(&mut self) {
        for keyspace in 0..self.keyspaces.len() {
            for router in self.routers[keyspace].clone() {
                for shard in self.shards_of(&[keyspace], END_S) {
                    let to = self.nodes[self.shards[shard].nodes[0]].clone();
                    let late_s = if to.from_s > 0 {
                        self.dice.between(10, 90)
                    } else {
                        0
                    };
                    let subject = EdgeSubject {
                        kind: EdgeKind::ForeignServer,
                        peer: to.address,
                        port: 5_432,
                        user: String::new(),
                        application: String::new(),
                        database: String::new(),
                    };
                    self.tell(router, subject, to.from_s + late_s, END_S);
                }
            }
        }
    }

    /// One application from `born_s` on.
    pub(crate) fn run(&mut self, app: &App, born_s: i64) {
        match app.way {
            Way::Job | Way::Sweep => self.run_job(app, born_s),
            Way::Roaming => self.run_person(app),
            _ => self.run_pods(app, born_s),
        }
    }

    fn run_pods(&mut self, app: &App, born_s: i64) {
        let n_busy = app.n_pods / 2;
        let mut releases: Vec<i64> = Vec::new();
        let mut at_s = born_s + self.dice.between(HOUR_S, 24 * HOUR_S);
        while at_s < END_S {
            releases.push(at_s);
            at_s += self.dice.between(6 * HOUR_S, 36 * HOUR_S);
        }
        let extras = self.extras(app, &releases);
        let role_changes = self.rotation(app, &releases);
        for slot in 0..app.n_pods + n_busy {
            // By day there are more.
            let spans = if slot < app.n_pods {
                vec![(born_s + self.dice.between(0, 2 + born_s.min(90)), END_S)]
            } else {
                let jitter_s = self.dice.between(0, 2 * HOUR_S);
                vec![
                    (8 * HOUR_S + jitter_s, 17 * HOUR_S + jitter_s),
                    (32 * HOUR_S + jitter_s, END_S),
                ]
            };
            for (from_s, to_s) in spans.into_iter().filter(|(from_s, _)| *from_s >= born_s) {
                self.run_slot(
                    app,
                    slot,
                    (from_s, to_s),
                    (&releases, &extras, role_changes.as_ref()),
                );
            }
        }
    }

    fn run_slot(
        &mut self,
        app: &App,
        slot: usize,
        (from_s, to_s): (i64, i64),
        (releases, extras, rotated): (&[i64], &[Extra], Option<&(i64, String)>),
    ) {
        let stagger_s = 12 * slot.min(40) as i64;
        let mut at_s = from_s;
        while at_s < to_s {
            let next = releases
                .iter()
                .map(|release| release + stagger_s)
                .find(|next| *next > at_s);
            let life_s = self.dice.between(HOUR_S, 20 * HOUR_S);
            let end_s = (at_s + life_s).min(next.unwrap_or(i64::MAX)).min(to_s);
            let host = self.address();
            let is_rotated = rotated.is_some_and(|(from_s, _)| at_s >= *from_s);
            let role = rotated
                .filter(|_| is_rotated)
                .map_or(&app.role, |(_, role)| role)
                .clone();
            // A pod ends a little after its successor has begun.
            let until_s = end_s + self.dice.between(5, 30);
            self.run_pod(app, (&host, &role, slot), (at_s, until_s), extras);
            self.give_back(host);
            at_s = end_s;
        }
    }

    fn run_pod(
        &mut self,
        app: &App,
        (host, role, slot): (&str, &str, usize),
        (from_s, to_s): (i64, i64),
        extras: &[Extra],
    ) {
        let as_whom = (app.name.as_str(), role);
        let begin = |dice: &mut super::dice::Dice| from_s + dice.between(0, 20);
        match app.way {
            Way::Routed => {
                for keyspace in app.keyspaces.clone() {
                    let routers = self.routers[keyspace].clone();
                    let at_s = begin(&mut self.dice);
                    let there: Vec<usize> = routers
                        .into_iter()
                        .filter(|r| self.nodes[*r].from_s <= at_s)
                        .collect();
                    let router = *self.dice.of(&there);
                    self.connect(host, as_whom, router, (at_s, to_s));
                }
            }
            Way::Direct => {
                for shard in self.shards_of(&app.keyspaces, END_S) {
                    let at_s = begin(&mut self.dice);
                    self.upon(host, as_whom, shard, (at_s, to_s));
                }
            }
            Way::Home => {
                let shards = self.shards_of(&app.keyspaces, 0);
                let at_s = begin(&mut self.dice);
                self.upon(host, as_whom, shards[slot % shards.len()], (at_s, to_s));
            }
            Way::Reading => {
                for shard in self.shards_of(&app.keyspaces, END_S) {
                    let at_s = begin(&mut self.dice);
                    let nodes = self.shards[shard].nodes.clone();
                    let there: Vec<usize> = nodes
                        .into_iter()
                        .filter(|n| self.nodes[*n].from_s <= at_s.max(self.born(shard)))
                        .collect();
                    let node = *there.last().unwrap_or(&self.shards[shard].nodes[0]);
                    self.connect(host, as_whom, node, (at_s, to_s));
                }
            }
            _ => {
                for node in 0..self.nodes.len() {
                    let at_s = from_s.max(self.nodes[node].from_s) + self.dice.between(0, 120);
                    self.connect(host, as_whom, node, (at_s, to_s));
                }
            }
        }
        for extra in extras {
            let at_s = if extra.is_switch {
                extra.from_s.max(from_s)
            } else {
                from_s
            };
            if from_s < extra.from_s && !extra.is_switch || at_s >= to_s {
                continue;
            }
            let at_s = at_s + self.dice.between(0, 60);
            for shard in &extra.shards {
                self.upon(host, as_whom, *shard, (at_s, to_s));
            }
            if let Some(keyspace) = extra.router_of {
                let router = self.routers[keyspace][0];
                self.connect(host, as_whom, router, (at_s, to_s));
            }
        }
    }

    fn born(&self, shard: usize) -> i64 {
        self.nodes[self.shards[shard].nodes[0]].from_s
    }

    /// A shard's primary: the first node, and the second after a failover in the middle of some hour of the shard's own.
    pub(crate) fn upon(
        &mut self,
        host: &str,
        as_whom: (&str, &str),
        shard: usize,
        (from_s, to_s): (i64, i64),
    ) {
        let nodes = self.shards[shard].nodes.clone();
        let fails_s = (shard as i64 * 7 % 34 + 1) * HOUR_S + 1_800;
        let born_s = self.born(shard);
        let late_s = if born_s > from_s {
            self.dice.between(20, 240)
        } else {
            0
        };
        let from_s = from_s.max(born_s) + late_s;
        let has_failed = nodes.len() > 1 && shard % 5 == 2 && self.nodes[nodes[1]].from_s < fails_s;
        if !has_failed || to_s <= fails_s {
            return self.connect(host, as_whom, nodes[0], (from_s, to_s));
        }
        self.connect(host, as_whom, nodes[0], (from_s, fails_s));
        self.connect(host, as_whom, nodes[1], (from_s.max(fails_s + 8), to_s));
    }

    /// Some releases take an application to another keyspace, and some switches do without a release.
    fn extras(&mut self, app: &App, releases: &[i64]) -> Vec<Extra> {
        let mut extras = Vec::new();
        let n_keyspaces = self.keyspaces.len();
        for release in releases {
            if !self.dice.chance(0.15) {
                continue;
            }
            let keyspace = self.dice.below(n_keyspaces);
            let is_routed = self.dice.chance(0.5);
            let all = self.shards_of(&[keyspace], *release);
            let n = if self.dice.chance(0.5) { all.len() } else { 1 };
            let is_switch = app.n_pods >= 4 && self.dice.chance(0.3);
            let offset_s = if is_switch { 3 * HOUR_S } else { 0 };
            extras.push(Extra {
                from_s: release + offset_s,
                is_switch,
                shards: if is_routed {
                    Vec::new()
                } else {
                    self.dice.some(&all, n)
                },
                router_of: is_routed.then_some(keyspace),
            });
        }
        extras
    }

    /// Some applications get another role with a release; old passwords are refused for a while.
    fn rotation(&mut self, app: &App, releases: &[i64]) -> Option<(i64, String)> {
        let release = *releases.first()?;
        if app.way == Way::Routed || !self.dice.chance(0.15) {
            return None;
        }
        let role = self.name();
        let from_s = release - self.dice.between(120, 900);
        self.provision(&role, "writers", &app.keyspaces, from_s);
        for shard in self.shards_of(&app.keyspaces, release).into_iter().take(2) {
            let host = self.address();
            let node = self.shards[shard].nodes[0];
            self.refuse(&host, &app.name, &role, node, release + 20);
        }
        Some((release, role))
    }

    fn run_job(&mut self, app: &App, born_s: i64) {
        let every_s = *self
            .dice
            .of(&[24 * HOUR_S, 24 * HOUR_S, 4 * HOUR_S, HOUR_S]);
        let is_fixed = self.dice.chance(0.5);
        let mut at_s = self.dice.between(0, every_s.min(22 * HOUR_S)).max(born_s);
        let mut host = self.address();
        while at_s < END_S {
            let for_s = self.dice.between(120, 1_500);
            if !is_fixed {
                let old = std::mem::take(&mut host);
                self.give_back(old);
                host = self.address();
            }
            let as_whom = (app.name.as_str(), app.role.as_str());
            if app.way == Way::Job {
                let routers = self.routers[app.keyspaces[0]].clone();
                self.connect(&host, as_whom, routers[0], (at_s, at_s + for_s));
            } else {
                let shards = self.shards_of(&app.keyspaces, at_s);
                for (k, shard) in shards.iter().enumerate() {
                    let from_s = at_s + for_s * k as i64 / shards.len() as i64;
                    self.upon(
                        &host,
                        as_whom,
                        *shard,
                        (from_s, from_s + 30 + for_s / shards.len() as i64),
                    );
                }
            }
            at_s += every_s + self.dice.between(-120, 120);
        }
    }

    /// A person looks at a shard now and then.
    fn run_person(&mut self, app: &App) {
        let host = self.address();
        let mut at_s = self.dice.between(600, HOUR_S);
        while at_s < END_S {
            let shards = self.shards_of(&app.keyspaces, at_s);
            let shard = *self.dice.of(&shards);
            let for_s = self.dice.between(60, 1_200);
            self.upon(
                &host,
                (&app.name.clone(), &app.role.clone()),
                shard,
                (at_s, at_s + for_s),
            );
            at_s += for_s + self.dice.between(1_200, 2 * HOUR_S);
        }
    }

    /// Passwords mistyped, and grants that are rolled out.
    fn stumble(&mut self) {
        let n = self.sessions.len() / 40;
        for _ in 0..n.clamp(6, 60) {
            let session = self.dice.of(&self.sessions).clone();
            if session.subject.kind == EdgeKind::Client && session.to_s - session.from_s > 200 {
                let (host, app) = (
                    session.subject.peer.clone(),
                    session.subject.application.clone(),
                );
                let at_s = self.dice.between(session.from_s, session.to_s - 100);
                self.refuse(&host, &app, &session.subject.user, session.node, at_s);
            }
        }
        for hour in [11, 27, 30] {
            let app = self.dice.of(&self.apps).clone();
            let from_s = hour * HOUR_S + self.dice.between(0, HOUR_S);
            let of = self.name();
            self.provision(&app.role, &of, &app.keyspaces, from_s);
        }
    }
}
