//! The cluster, second by second: tenants to routers to shards to replicas, and every node's agent.
//!
//! In: a [`Scenario`]. Out: [`Told`] summaries in the order in which they are made, and the [`Truth`].
//! Invariants: SM-1 the same scenario gives the same summaries, byte for byte. SM-2 a fault is seen only through what its causes do.
//! Limits: 2,000 shards; memory of a few dozen kilobytes a node.

use std::collections::VecDeque;

use hsw_types::{NodeFacts, NodeId, Role, ShardSummary};

use crate::agent::Agent;
use crate::edges::Edges;
use crate::fault::{Fault, Injection, Target};
use crate::harmless::Disturbance;
use crate::keys::Keys;
use crate::machine::left_of;
use crate::node::{Answer, Kind, Node, Offered, Reach};
use crate::random::{Random, wave};
use crate::stress::Stress;
use crate::topology::{ShardPlan, TRANSACTION_CPU_S, Topology};

/// What a quota leaves of the processor time that a shard uses on average: the test bed's, where it leaves two hundredths of a core.
const QUOTA_FLOOR: f64 = 0.9;

/// What to play.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Who there is.
    pub topology: Topology,
    /// Unix second of the begin.
    pub start: i64,
    /// What goes wrong.
    pub faults: Vec<Injection>,
    /// What happens beside that and is harmless.
    pub disturbances: Vec<Disturbance>,
}

/// Why a scenario cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The number of shards or replicas is out of range.
    #[error("{0} shards with {1} replicas each: 1 to 2000 shards, at most 3 replicas")]
    Size(usize, usize),
    /// There is no such shard.
    #[error("`{0}` names shard {1}, and there are {2}: shards are numbered from 0")]
    NoShard(&'static str, usize, usize),
    /// A fault of replicas where there are none.
    #[error("`{0}` needs replicas: give the topology at least one")]
    NoReplica(&'static str),
    /// Severity or span make no sense.
    #[error("`{0}`: severity is above 0 and at most 1, and it ends after it begins")]
    Fault(&'static str),
}

/// One summary.
#[derive(Debug, Clone)]
pub struct Told {
    /// From whom: the place in [`Simulation::members`].
    pub node: usize,
    /// The summary.
    pub summary: ShardSummary,
}

/// A node and its place in the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its shard's name.
    pub shard: String,
    /// It routes and holds nothing.
    pub is_router: bool,
}

/// What was really wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Name of the shard.
    pub shard: String,
    /// The node it acts on.
    pub node: NodeId,
    /// What.
    pub fault: Fault,
    /// First Unix second.
    pub from: i64,
    /// First Unix second without it.
    pub until: i64,
    /// Above 0, at most 1.
    pub severity: f64,
}

struct Place {
    node: Node,
    agent: Agent,
}

/// See the module's header.
pub struct Simulation {
    scenario: Scenario,
    members: Vec<Member>,
    /// Routers, then shard by shard the primary and its replicas.
    places: Vec<Place>,
    plans: Vec<ShardPlan>,
    keys: Keys,
    at: u32,
    /// Swings of the load that all shards share, and of each: autoregressive, of a minute.
    swing: f64,
    swings: Vec<f64>,
    random: Random,
    told: VecDeque<ShardSummary>,
}

impl Simulation {
    /// Sets the cluster up.
    ///
    /// # Errors
    /// [`ScenarioError`] names what cannot be.
    pub fn new(scenario: Scenario) -> Result<Self, ScenarioError> {
        check(&scenario)?;
        let topology = &scenario.topology;
        let plans = topology.shards();
        let mut simulation = Self {
            members: Vec::new(),
            places: Vec::new(),
            keys: Keys::new(),
            at: 0,
            swing: 0.0,
            swings: vec![0.0; plans.len()],
            random: Random::part(topology.seed, 2),
            told: VecDeque::new(),
            plans,
            scenario,
        };
        simulation.add_routers();
        simulation.add_shards();
        Ok(simulation)
    }

    /// Every node, routers first.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Seconds played.
    #[must_use]
    pub const fn at(&self) -> u32 {
        self.at
    }

    /// Unix second of the next step.
    #[must_use]
    pub fn second(&self) -> i64 {
        self.scenario.start + i64::from(self.at)
    }

    /// What is really wrong, in the scenario's order.
    #[must_use]
    pub fn truth(&self) -> Vec<Truth> {
        let truth = |injection: &Injection| {
            let member = match injection.fault.target() {
                Target::Primary => 0,
                Target::Replica => 1,
            };
            let place = self.first_of(injection.shard) + member;
            Truth {
                shard: self.members[place].shard.clone(),
                node: self.members[place].node.clone(),
                fault: injection.fault,
                from: self.scenario.start + i64::from(injection.from),
                until: self.scenario.start + i64::from(injection.until),
                severity: injection.severity,
            }
        };
        self.scenario.faults.iter().map(truth).collect()
    }

    /// Whether the agent of this node still speaks.
    #[must_use]
    pub fn is_heard(&self, node: usize) -> bool {
        self.places
            .get(node)
            .is_some_and(|place| place.node.reach != Reach::Gone)
    }

    /// Whether a member of this shard, from 0, has still something to make up for: a fault's traces outlast its cause.
    #[must_use]
    pub fn owes(&self, shard: usize) -> bool {
        let first = self.first_of(shard);
        let members = first..first + 1 + self.scenario.topology.n_replicas;
        let mut places = self.places.get(members).into_iter().flatten();
        places.any(|place| place.node.owes())
    }

    /// Whether the primary of this shard, from 0, has missed a vacuum: before that nothing differs where there is none.
    #[must_use]
    pub fn misses_vacuum(&self, shard: usize) -> bool {
        let primary = self.places.get(self.first_of(shard));
        primary.is_some_and(|place| place.node.misses_vacuum())
    }

    /// Plays a second; `tell` gets the summaries that were made in it.
    pub fn step(&mut self, tell: &mut dyn FnMut(Told)) {
        self.swing_loads();
        let n_routers = self.scenario.topology.n_routers();
        let mut remote = vec![Offered::default(); n_routers];
        for shard in 0..self.plans.len() {
            let router = shard / self.scenario.topology.shards_per_router.clamp(1, 200);
            let answer = self.step_shard(shard, router);
            let offered = &mut remote[router];
            offered.transactions += answer.done;
            offered.remote_active += answer.held;
            offered.remote_ms += answer.done * answer.response_ms;
            offered.sessions += f64::from(self.plans[shard].pool);
        }
        for (router, mut offered) in remote.into_iter().enumerate() {
            offered.remote_ms /= offered.transactions.max(1.0);
            let stress = Stress::default();
            let place = &mut self.places[router];
            place.node.step(&offered, stress);
        }
        let times = (self.at, self.second());
        for (number, place) in self.places.iter_mut().enumerate() {
            if place.node.reach == Reach::Gone {
                continue;
            }
            place
                .agent
                .second(&mut place.node, &self.keys, times, &mut self.told);
            while let Some(summary) = self.told.pop_front() {
                tell(Told {
                    node: number,
                    summary,
                });
            }
        }
        self.at += 1;
    }

    fn swing_loads(&mut self) {
        // A minute's memory: 1 - 1/60, and the spread that keeps the variance at 1.
        let step = |swing: f64, random: &mut Random| 0.983 * swing + 0.183 * random.normal();
        self.swing = step(self.swing, &mut self.random);
        for swing in &mut self.swings {
            *swing = step(*swing, &mut self.random);
        }
    }

    fn step_shard(&mut self, shard: usize, router: usize) -> Answer {
        let plan = &self.plans[shard];
        let day = f64::from(self.at) / plan.day_s + plan.day_phase;
        let wave = 1.0 + plan.day_height * wave(day);
        let swing =
            1.0 + plan.noise * (0.6 * self.swing + 0.6 * self.swings[shard]).clamp(-3.0, 3.0);
        // A router that cannot keep up holds its shards' transactions back.
        let routed = 1.0 / self.places[router].node.cpu.busy.max(1.0);
        let rate = plan.per_second * wave * swing * routed;
        let reports = plan.reports * wave * swing;
        let largest = plan.largest_tenant;
        let n_members = 1 + self.scenario.topology.n_replicas;
        let first = self.first_of(shard);
        let mut answer = Answer::default();
        for member in 0..n_members {
            let stress = self.stress(shard, member);
            let place = &mut self.places[first + member];
            let tenants = stress.load * (1.0 + largest * (stress.tenant_load - 1.0));
            // Reports go to replicas where there are any.
            let is_reader = member > 0 || n_members == 1;
            let readers = (n_members - 1).max(1) as f64;
            let reports = if is_reader {
                reports * stress.reports * stress.load / readers
            } else {
                0.4 * reports * stress.reports * stress.load
            };
            let wanted = (rate * tenants).max(flood(plan, rate, stress.flood));
            let random = &mut place.node.random;
            let offered = Offered {
                transactions: if member == 0 {
                    random.poisson(wanted)
                } else {
                    0.0
                },
                reports: random.poisson(reports),
                wal_bytes: answer.wal_bytes,
                ..Offered::default()
            };
            let done = place.node.step(&offered, stress);
            if member == 0 {
                answer = done;
            }
        }
        self.behind(first, n_members);
        answer
    }

    /// A primary knows how far its replicas are behind.
    fn behind(&mut self, first: usize, n_members: usize) {
        let mut worst: (f64, f64) = (0.0, 0.0);
        for place in &self.places[first + 1..first + n_members] {
            let now = &place.node.now;
            worst = (worst.0.max(now.lag_bytes), worst.1.max(now.lag_s));
        }
        let streaming = self.places[first + 1..first + n_members]
            .iter()
            .filter(|place| {
                place.node.reach == Reach::Up && place.node.stress.replication_broken == 0.0
            })
            .count();
        let now = &mut self.places[first].node.now;
        (now.lag_bytes, now.lag_s) = worst;
        now.replicas = streaming as f64;
    }

    fn stress(&self, shard: usize, member: usize) -> Stress {
        let mut stress = Stress::default();
        for disturbance in &self.scenario.disturbances {
            disturbance.apply(self.at, shard, self.plans.len(), member > 0, &mut stress);
        }
        for injection in self.scenario.faults.iter().filter(|one| one.shard == shard) {
            let is_meant = match injection.fault.target() {
                Target::Primary => member == 0,
                Target::Replica => member == 1,
            };
            let level = injection.level(self.at);
            if is_meant && level > 0.0 {
                injection.fault.apply(level, &mut stress);
            }
        }
        if stress.cpu_cut > 0.0 {
            let plan = &self.plans[shard];
            let (cores, used) = (plan.machine.cores, plan.per_second * TRANSACTION_CPU_S);
            let left = left_of(cores, used, QUOTA_FLOOR, stress.cpu_cut) / cores;
            stress.cpu_quota = stress.cpu_quota.min(left);
        }
        stress
    }

    fn first_of(&self, shard: usize) -> usize {
        self.scenario.topology.n_routers() + shard * (1 + self.scenario.topology.n_replicas)
    }

    fn add_routers(&mut self) {
        let per = self.scenario.topology.shards_per_router.clamp(1, 200);
        for router in 0..self.scenario.topology.n_routers() {
            let behind = router * per..((router + 1) * per).min(self.plans.len());
            let shards: Vec<String> = behind.clone().map(|shard| address(shard, 0)).collect();
            let all: f64 = behind
                .clone()
                .map(|shard| self.plans[shard].per_second)
                .sum();
            let mut plan = self.plans[behind.start].clone();
            plan.per_second = all;
            plan.reports = 0.0;
            plan.pool = behind.map(|shard| self.plans[shard].pool).sum();
            plan.max_connections = (2.0 * f64::from(plan.pool)).max(57.0);
            // Sized so that it is no bottleneck by itself.
            plan.machine.cores = plan.machine.cores.max((all * 1.5e-3 * 4.0).ceil());
            let name = if self.scenario.topology.n_routers() == 1 {
                "coordinator".to_owned()
            } else {
                format!("router-{router:02}")
            };
            let at = router_address(router);
            self.add(
                (Kind::Router, plan),
                (&name, "a"),
                &at,
                Edges::of_router(&shards),
            );
        }
    }

    fn add_shards(&mut self) {
        let per = self.scenario.topology.shards_per_router.clamp(1, 200);
        for shard in 0..self.plans.len() {
            let router = router_address(shard / per);
            let n_replicas = self.scenario.topology.n_replicas;
            let replicas: Vec<String> = (1..=n_replicas).map(|n| address(shard, n)).collect();
            let width = if self.plans.len() < 10 { 1 } else { 4 };
            let name = format!("shard-{:0width$}", shard + 1);
            for (member, letter) in ["a", "b", "c", "d"].iter().enumerate().take(1 + n_replicas) {
                let plan = self.plans[shard].clone();
                let (kind, edges) = if member == 0 {
                    (Kind::Primary, Edges::of_shard(&router, &replicas))
                } else {
                    (Kind::Replica, Edges::of_shard(&router, &[]))
                };
                self.add(
                    (kind, plan),
                    (&name, letter),
                    &address(shard, member),
                    edges,
                );
            }
        }
    }

    fn add(&mut self, what: (Kind, ShardPlan), name: (&str, &str), address: &str, edges: Edges) {
        let number = self.places.len() as u64;
        let seed = Random::part(self.scenario.topology.seed, 100 + number).next();
        let (kind, plan) = what;
        let facts = facts(kind, &plan, name.0, address, number, self.scenario.start);
        let node = NodeId::new(&format!("{}-{}", name.0, name.1));
        let Ok(node) = node else {
            debug_assert!(false, "names are made of letters and digits");
            return;
        };
        self.members.push(Member {
            node,
            shard: name.0.to_owned(),
            is_router: kind == Kind::Router,
        });
        self.places.push(Place {
            node: Node::new(kind, plan, seed),
            agent: Agent::new(facts, edges, number),
        });
    }
}

fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    let Topology {
        n_shards,
        n_replicas,
        ..
    } = scenario.topology;
    if !(1..=2_000).contains(&n_shards) || n_replicas > 3 {
        return Err(ScenarioError::Size(n_shards, n_replicas));
    }
    for injection in &scenario.faults {
        let name = injection.fault.name();
        if injection.shard >= n_shards {
            return Err(ScenarioError::NoShard(name, injection.shard, n_shards));
        }
        if injection.fault.target() == Target::Replica && n_replicas == 0 {
            return Err(ScenarioError::NoReplica(name));
        }
        let is_severity = injection.severity > 0.0 && injection.severity <= 1.0;
        if !is_severity || injection.from >= injection.until {
            return Err(ScenarioError::Fault(name));
        }
    }
    Ok(())
}

/// Transactions a second where one tenant floods its shard: within the first third of `level` up to what the processor can do, then beyond it, to
/// one and a half times that; evenly in logarithms. Many times a small tenant's load is nothing that a shard would feel.
fn flood(plan: &ShardPlan, rate: f64, level: f64) -> f64 {
    if level <= 0.0 {
        return 0.0;
    }
    let capacity = plan.machine.cores / TRANSACTION_CPU_S;
    let rate = rate.clamp(1.0, capacity);
    let spare = hsw_stats::ln(capacity / rate);
    rate * hsw_stats::exp(spare * (3.0 * level).min(1.0) + level * hsw_stats::ln(1.5))
}

fn address(shard: usize, member: usize) -> String {
    format!("10.{}.{}.{}", 1 + shard / 250, shard % 250, 1 + member)
}

fn router_address(router: usize) -> String {
    format!("10.0.0.{}", 10 + router % 240)
}

fn facts(
    kind: Kind,
    plan: &ShardPlan,
    shard: &str,
    address: &str,
    number: u64,
    start: i64,
) -> NodeFacts {
    NodeFacts {
        shard: shard.to_owned(),
        cluster: "simulated".to_owned(),
        role: match kind {
            Kind::Primary => Role::Primary,
            Kind::Replica => Role::Replica,
            Kind::Router => Role::Router,
        },
        database: "PostgreSQL 15.18".to_owned(),
        system_identifier: shard.to_owned(),
        address: format!("{address}:5432"),
        host: format!("host-{number}"),
        operating_system: "Linux".to_owned(),
        cpu_cores: plan.machine.cores.ceil() as u32,
        memory_bytes: plan.machine.memory_bytes as u64,
        boot_id: format!("boot-{number}"),
        database_started: start - 86_400,
        agent_started: start,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
