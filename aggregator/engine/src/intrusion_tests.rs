//! Who is named, when, and how often. (steps 9–14)

use super::*;
use crate::map::ShardEntry;
use hsw_types::WallTime;

const START: i64 = 1_000;

fn node(i: usize) -> NodeId {
    NodeId::new(&format!("shard-{i}-a")).unwrap()
}

fn client(application: &str) -> Vertex {
    Vertex::Client {
        host: "10.0.0.9".to_owned(),
        application: application.to_owned(),
    }
}

fn suspicion(pattern: Pattern, application: &str, shards: &[usize]) -> Suspicion {
    let edge = |i: &usize| EdgeId {
        from: client(application),
        to: Vertex::Node(node(*i)),
        kind: EdgeKind::Client,
    };
    Suspicion {
        pattern,
        client: client(application),
        edges: shards.iter().map(edge).collect(),
        since: WallTime::from_unix_seconds(START),
        p: 1e-4,
        strength: 4.0,
        n_distances: 7,
        reasons: Vec::new(),
    }
}

struct World {
    intrusions: Intrusions,
    graph: InteractionGraph,
    map: ShardMap,
    policy: Policy,
    second: i64,
}

impl World {
    fn new() -> Self {
        let entries = (1..=4).map(|i| ShardEntry {
            shard: ShardId::new(&format!("shard-{i}")).unwrap(),
            nodes: vec![node(i)],
            is_router: false,
        });
        Self {
            intrusions: Intrusions::default(),
            graph: InteractionGraph::default(),
            map: ShardMap::new(entries.collect(), false).unwrap(),
            policy: Policy::new(10),
            second: START,
        }
    }

    fn run(
        &mut self,
        seconds: i64,
        suspicions: &[Suspicion],
    ) -> Vec<(&'static str, Arc<Incident>)> {
        let mut told = Vec::new();
        for _ in 0..seconds {
            self.second += 1;
            let scene = Scene {
                graph: &self.graph,
                map: &self.map,
                policy: &self.policy,
            };
            let step = self
                .intrusions
                .step(WindowIndex(self.second), suspicions, &scene);
            told.extend(step.into_iter().map(|one| match one {
                Told::Raised(it) => ("raised", it),
                Told::Changed(it) => ("changed", it),
                Told::Closed(it) => ("closed", it),
            }));
        }
        told
    }
}

#[test]
fn where_there_is_no_room_for_all_the_strongest_are_raised_whatever_their_names() {
    let mut world = World::new();
    // As the model gives them: the strongest first, here the last by name.
    let mut all: Vec<Suspicion> = (0..=N_OPEN)
        .map(|n| suspicion(Pattern::FanOut, &format!("tool-{n:03}"), &[1, 2, 3]))
        .collect();
    all.reverse();
    all[0].strength = 9.0;
    let told = world.run(1, &all);
    let raised = told
        .iter()
        .filter_map(|(_, incident)| incident.intrusion.as_ref());
    let raised: Vec<&str> = raised.map(|intrusion| intrusion.client.as_str()).collect();
    assert_eq!(raised.len(), N_OPEN);
    assert_eq!(raised[0], format!("client:10.0.0.9/tool-{N_OPEN:03}"));
    assert_eq!(world.intrusions.n_waiting(), 1);
}

#[test]
fn a_client_that_reaches_every_shard_is_one_incident_at_once_and_ends() {
    let mut world = World::new();
    let reach = suspicion(Pattern::FanOut, "pg_dump", &[1, 2, 3, 4]);
    let told = world.run(1, std::slice::from_ref(&reach));
    let [("raised", incident)] = &told[..] else {
        panic!("{told:?}")
    };
    let intrusion = incident.intrusion.as_ref().unwrap();
    assert_eq!(intrusion.client, "client:10.0.0.9/pg_dump");
    let to: Vec<&str> = intrusion.edges.iter().map(|e| e.to.as_str()).collect();
    assert_eq!(to.len(), 4);
    assert!(to.contains(&"node:shard-3-a"));
    assert_eq!(incident.affected.len(), 3);
    assert!(
        incident
            .summary
            .starts_with("pg_dump on 10.0.0.9 newly talks to 4 of 4 shards"),
        "{}",
        incident.summary
    );
    assert!(incident.confidence > 0.99);
    assert!(world.run(100, std::slice::from_ref(&reach)).is_empty());
    let told = world.run(CLOSE_AFTER + 1, &[]);
    let [("closed", closed)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(closed.id, incident.id);
    assert_eq!(closed.ended, Some(WindowIndex(START + 101)));
}

#[test]
fn what_comes_later_of_the_same_client_is_the_same_incident() {
    let mut world = World::new();
    let first = suspicion(Pattern::Escalation, "reports", &[2]);
    let later = suspicion(Pattern::FanOut, "reports", &[2, 3]);
    assert_eq!(world.run(3, std::slice::from_ref(&first)).len(), 1);
    let told = world.run(10, &[first, later]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "changed");
    let intrusion = told[0].1.intrusion.as_ref().unwrap();
    assert_eq!(intrusion.edges.len(), 2);
    assert_eq!(told[0].1.revision, 2);
}

#[test]
fn a_lone_new_pair_waits_and_is_raised_when_its_shard_stays_well() {
    let mut world = World::new();
    let pair = suspicion(Pattern::UnexpectedPair, "billing", &[2]);
    assert!(
        world
            .run(PAIR_HOLD - 1, std::slice::from_ref(&pair))
            .is_empty()
    );
    let told = world.run(1, std::slice::from_ref(&pair));
    assert_eq!(told[0].1.root.as_str(), "shard-2");
}

#[test]
fn a_lone_new_pair_of_a_sick_shard_is_a_reason_and_no_incident_even_afterwards() {
    let mut world = World::new();
    let pair = suspicion(Pattern::UnexpectedPair, "nightly-batch", &[2]);
    let shard = ShardId::new("shard-2").unwrap();
    let scene = Scene {
        graph: &world.graph,
        map: &world.map,
        policy: &world.policy,
    };
    let calm = add(
        Symptoms::default(),
        &shard,
        std::slice::from_ref(&pair),
        &scene,
    );
    assert!(calm.evidence.is_empty());
    let sick = Symptoms {
        is_sick: true,
        is_opening: true,
        own_strength: 9.0,
        strength: 9.0,
        held: 9,
        ..Symptoms::default()
    };
    let sick = add(sick, &shard, std::slice::from_ref(&pair), &scene);
    assert_eq!(sick.evidence[0].symptom, Symptom::Interaction);
    assert!(
        sick.evidence[0]
            .sentence
            .contains("nightly-batch on 10.0.0.9 talks to shard-2-a")
    );
    let part = crate::policy::Part {
        shard: &shard,
        is_router: false,
        symptoms: sick,
        logs: Vec::new(),
        judgement: None,
    };
    world.policy.step(WindowIndex(world.second), &[part]);
    assert!(world.policy.is_root(&shard));
    assert!(world.run(3, std::slice::from_ref(&pair)).is_empty());
    // The shard's incident is long over; the client is still there.
    world.policy = Policy::new(10);
    assert!(world.run(300, std::slice::from_ref(&pair)).is_empty());
    world.run(1, &[]);
    let again = world.run(1, std::slice::from_ref(&pair));
    assert_eq!(again.len(), 1, "another time is another matter");
}

#[test]
fn an_open_incident_of_an_edge_survives_a_restart_and_ends_when_nothing_shows() {
    let mut world = World::new();
    let reach = suspicion(Pattern::FanOut, "pg_dump", &[1, 2]);
    let told = world.run(1, std::slice::from_ref(&reach));
    let mut later = World::new();
    later
        .intrusions
        .restore((*told[0].1).clone(), WindowIndex(later.second));
    assert!(later.run(10, std::slice::from_ref(&reach)).is_empty());
    assert_eq!(later.run(CLOSE_AFTER + 1, &[])[0].1.id, told[0].1.id);
}
