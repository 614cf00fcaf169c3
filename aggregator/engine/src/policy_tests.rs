//! Which shard is named, when, and how often. (steps 10–14)

use super::*;
use hsw_types::{Family, NodeId, SeriesKey, Unit};

const N: usize = 4;

fn shard(i: usize) -> ShardId {
    ShardId::new(&if i == 0 {
        "router".to_owned()
    } else {
        format!("shard-{i}")
    })
    .unwrap()
}

fn sick(i: usize, own: f64, all: f64, is_opening: bool) -> Symptoms {
    let evidence = Evidence {
        symptom: Symptom::Deviation,
        node: NodeId::new(shard(i).as_str()).unwrap(),
        shard: shard(i),
        series: SeriesKey::node("pg.sessions_waiting_lock"),
        family: Family::Locks,
        unit: Unit::Count,
        since: WindowIndex(100),
        value: 7.0,
        usual: Some(0.0),
        siblings: Some(0.0),
        residual: all * 3.0,
        weight: all,
        sentence: format!("shard {i} is sick"),
    };
    Symptoms {
        evidence: vec![evidence],
        strength: all,
        own_strength: own,
        is_opening,
        is_sick: true,
        is_blind: false,
        held: 9,
    }
}

struct World {
    policy: Policy,
    window: i64,
    shards: Vec<ShardId>,
}

impl World {
    fn new() -> Self {
        Self {
            policy: Policy::new(10),
            window: 100,
            shards: (0..=N).map(shard).collect(),
        }
    }

    /// Steps `windows` times with these shards sick; returns `raised root`, `moved root`, `closed root`.
    fn run(&mut self, windows: i64, sick_ones: &[(usize, f64, f64)]) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..windows {
            self.window += 1;
            let parts: Vec<Part<'_>> = self
                .shards
                .iter()
                .enumerate()
                .map(|(i, shard)| {
                    let this = sick_ones.iter().find(|(of, ..)| *of == i);
                    Part {
                        shard,
                        is_router: i == 0,
                        symptoms: this.map_or_else(Symptoms::default, |&(i, own, all)| {
                            sick(i, own, all, true)
                        }),
                        logs: Vec::new(),
                        judgement: None,
                    }
                })
                .collect();
            for one in self.policy.step(WindowIndex(self.window), &parts) {
                told.push(match one {
                    Told::Raised(incident) => format!("raised {}", incident.root),
                    Told::Changed(incident) => format!("changed {}", incident.root),
                    Told::Closed(incident) => format!("closed {}", incident.root),
                });
            }
        }
        told
    }
}

#[test]
fn one_cause_is_one_incident_and_its_victims_are_affected() {
    let mut world = World::new();
    let told = world.run(10, &[(2, 9.0, 12.0), (3, 0.0, 3.0), (0, 0.0, 4.0)]);
    assert_eq!(
        told.iter()
            .filter(|t| t.starts_with("raised"))
            .collect::<Vec<_>>(),
        ["raised shard-2"]
    );
    let incident = &world.policy.incidents()[0];
    let affected: Vec<_> = incident
        .affected
        .iter()
        .map(|(shard, _)| shard.as_str())
        .collect();
    assert_eq!(affected, ["router", "shard-3"]);
    assert!(
        incident.summary.contains("shard 2 is sick"),
        "{}",
        incident.summary
    );
    assert_eq!(world.run(20, &[]), ["closed shard-2"]);
    assert_eq!(world.policy.incidents()[0].ended, Some(WindowIndex(110)));
}

#[test]
fn a_router_is_the_root_only_when_no_shard_behind_it_is_sick() {
    let mut world = World::new();
    assert_eq!(world.run(10, &[(0, 9.0, 12.0)])[0], "raised router");
    let mut world = World::new();
    assert_eq!(
        world.run(10, &[(0, 9.0, 12.0), (4, 3.0, 3.0)])[0],
        "raised shard-4"
    );
}

#[test]
fn two_faults_at_once_are_two_incidents_when_each_has_strong_evidence_of_its_own() {
    let mut world = World::new();
    let told = world.run(3, &[(1, 9.0, 12.0), (4, 6.0, 6.0), (3, 2.0, 4.0)]);
    let raised: Vec<_> = told.iter().filter(|t| t.starts_with("raised")).collect();
    assert_eq!(raised, ["raised shard-1", "raised shard-4"]);
}

#[test]
fn an_incident_that_began_at_a_victim_moves_to_the_culprit() {
    let mut world = World::new();
    assert_eq!(world.run(2, &[(1, 0.0, 4.0)]), ["raised shard-1"]);
    assert_eq!(
        world.run(1, &[(1, 0.0, 4.0), (3, 6.0, 9.0)]),
        ["changed shard-3"]
    );
    let incident = &world.policy.incidents()[0];
    assert_eq!(incident.affected[0].0, shard(1));
    assert_eq!(world.policy.incidents().len(), 1);
}

#[test]
fn a_relapse_within_a_minute_is_the_same_incident() {
    let mut world = World::new();
    world.run(5, &[(1, 9.0, 12.0)]);
    let id = world.policy.incidents()[0].id;
    assert_eq!(world.run(20, &[]), ["closed shard-1"]);
    assert_eq!(world.run(1, &[(1, 9.0, 12.0)]), ["raised shard-1"]);
    assert_eq!(
        world
            .policy
            .incidents()
            .iter()
            .map(|i| i.id)
            .collect::<Vec<_>>(),
        [id]
    );
    world.run(100, &[]);
    world.run(1, &[(1, 9.0, 12.0)]);
    assert_eq!(world.policy.incidents().len(), 2);
}
