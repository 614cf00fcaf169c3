//! A topology's life told to the production graph, watch and model, look by look.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::{EdgeId, InteractionGraph, Vertex, Watch};
use hsw_structure::{Pattern, Place, Reason, Structure};
use hsw_types::{EdgeKind, EdgeSubject, NodeId, ShardId, WallTime};

use super::dice::Dice;
use super::topology::{END_S, JUDGED_S, Session, Topology};

/// Seconds between looks.
const LOOK_S: i64 = 5;
/// What is young is told at each look; what is old, to spare our time, so often. The graph forgets after 900 s.
const OLD_S: i64 = 900;
const EVERY_S: i64 = 150;
/// Learned for so long: a day and an hour.
const LEARNING_US: i64 = 25 * 3_600 * 1_000_000;

/// What happens to what is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disturbance {
    /// The share of sightings that is lost.
    pub lost: f64,
    /// Edges that are told by mistake, over those that are there, in any quarter of an hour (the graph's memory).
    pub made_up: f64,
    /// How long a made-up edge is told, seconds; 0 for once, thrice in ten of them twice.
    pub made_up_s: i64,
}

/// An incident: what a client was suspected of, from when on.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Seconds.
    pub at_s: i64,
    /// Who.
    pub client: Vertex,
    /// The last shape.
    pub pattern: Pattern,
    /// Facts at the first.
    pub reasons: Vec<Reason>,
    /// All edges named.
    pub edges: BTreeSet<EdgeId>,
}

/// What was suspected.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// In the order they were raised.
    pub incidents: Vec<Incident>,
    /// Vertices of the graph in the middle of what is judged.
    pub n_vertices: usize,
    /// Edges then.
    pub n_edges: usize,
    /// Looks.
    pub n_looks: usize,
}

/// Plays it.
#[must_use]
pub fn play(topology: &Topology, disturbance: Disturbance, seed: u64, is_watched: bool) -> Played {
    let mut player = Player {
        topology,
        disturbance,
        dice: Dice::new(seed),
        graph: InteractionGraph::default(),
        watch: Watch::default(),
        structure: Structure::learning_for(LEARNING_US),
        places: BTreeMap::new(),
        ghosts: Vec::new(),
        open: BTreeMap::new(),
        played: Played::default(),
    };
    let mut by_start: Vec<usize> = (0..topology.sessions.len()).collect();
    by_start.sort_by_key(|at| topology.sessions[*at].from_s);
    let mut next = 0;
    let mut up: Vec<usize> = Vec::new();
    let mut placed: BTreeSet<usize> = BTreeSet::new();
    for now_s in (0..END_S).step_by(LOOK_S as usize) {
        for (at, node) in topology.nodes.iter().enumerate() {
            if node.from_s <= now_s && placed.insert(at) {
                player.place(at);
            }
        }
        while next < by_start.len() && topology.sessions[by_start[next]].from_s <= now_s {
            up.push(by_start[next]);
            next += 1;
        }
        up.retain(|at| topology.sessions[*at].to_s > now_s);
        player.look(&up, now_s, is_watched);
    }
    player.played
}

struct Player<'a> {
    topology: &'a Topology,
    disturbance: Disturbance,
    dice: Dice,
    graph: InteractionGraph,
    watch: Watch,
    structure: Structure,
    places: BTreeMap<NodeId, Place>,
    /// Made up: who, where, until when.
    ghosts: Vec<(usize, EdgeSubject, i64)>,
    open: BTreeMap<Vertex, usize>,
    played: Played,
}

impl Player<'_> {
    fn place(&mut self, at: usize) {
        let node = &self.topology.nodes[at];
        self.graph
            .place(&node.id, &format!("{}:5432", node.address));
        let shard = ShardId::new(&node.shard).expect("letters, digits and dashes");
        self.places.insert(
            node.id.clone(),
            Place {
                shard,
                is_router: node.is_router,
            },
        );
    }

    fn look(&mut self, up: &[usize], now_s: i64, is_watched: bool) {
        let now = WallTime::from_unix_seconds(now_s);
        for at in up {
            let session = &self.topology.sessions[*at];
            let is_old = now_s - session.from_s > OLD_S;
            let is_turn = (now_s + *at as i64 * LOOK_S) % EVERY_S == 0;
            if (is_old && !is_turn) || self.dice.chance(self.disturbance.lost) {
                continue;
            }
            let node = &self.topology.nodes[session.node].id;
            self.graph.touch(node, &session.subject, 1.0, now);
        }
        if self.disturbance.made_up > 0.0 {
            self.make_up(up, now_s);
        }
        if now_s % 60 == 0 {
            self.graph.expire(now);
        }
        if is_watched && now_s >= JUDGED_S {
            self.watch.follow(&self.graph, now);
        }
        let places = &self.places;
        self.structure.follow(
            &self.graph,
            |node| places.get(node).cloned(),
            &self.watch,
            now,
        );
        self.played.n_looks += 1;
        if now_s == (JUDGED_S + END_S) / 2 {
            self.played.n_vertices = self.graph.vertices().len();
            self.played.n_edges = self.graph.n_edges();
        }
        self.take(now_s);
    }

    /// Clients that are there, towards nodes of a kind that clients of their kind talk to.
    fn make_up(&mut self, up: &[usize], now_s: i64) {
        let per_look = self.disturbance.made_up * up.len() as f64 * LOOK_S as f64 / 900.0;
        let n = per_look.floor() as usize + usize::from(self.dice.chance(per_look.fract()));
        for _ in 0..n {
            let session: &Session = &self.topology.sessions[*self.dice.of(up)];
            if session.subject.kind != EdgeKind::Client {
                continue;
            }
            let is_router = self.topology.nodes[session.node].is_router;
            let nodes = &self.topology.nodes;
            let same = (0..nodes.len())
                .filter(|n| nodes[*n].is_router == is_router && nodes[*n].from_s <= now_s);
            let node = *self.dice.of(&same.collect::<Vec<_>>());
            let for_s = match self.disturbance.made_up_s {
                0 if self.dice.chance(0.3) => LOOK_S,
                for_s => for_s,
            };
            self.ghosts
                .push((node, session.subject.clone(), now_s + for_s));
        }
        self.ghosts.retain(|(_, _, until_s)| *until_s >= now_s);
        for (node, subject, _) in &self.ghosts {
            let node = &self.topology.nodes[*node].id;
            self.graph
                .touch(node, subject, 1.0, WallTime::from_unix_seconds(now_s));
        }
    }

    /// What is open is one incident for each client until it is over.
    fn take(&mut self, now_s: i64) {
        let suspicions = self.structure.suspicions();
        let there: BTreeSet<&Vertex> = suspicions.iter().map(|s| &s.client).collect();
        self.open.retain(|client, _| there.contains(client));
        for suspicion in suspicions {
            let incidents = &mut self.played.incidents;
            let at = *self
                .open
                .entry(suspicion.client.clone())
                .or_insert_with(|| {
                    incidents.push(Incident {
                        at_s: now_s,
                        client: suspicion.client.clone(),
                        pattern: suspicion.pattern,
                        reasons: suspicion.reasons.clone(),
                        edges: BTreeSet::new(),
                    });
                    incidents.len() - 1
                });
            incidents[at].pattern = suspicion.pattern;
            incidents[at].edges.extend(suspicion.edges.iter().cloned());
        }
    }
}
