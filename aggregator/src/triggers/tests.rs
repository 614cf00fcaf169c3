//! Triggers with real participants: configuration, map, restarts.

use hsw_engine::Health;
use hsw_trigger::{Config as Forest, Element, Participant};
use hsw_types::Statement;

use super::spec::tests::slow;
use super::*;
use crate::store::Kept;

const NOW: Monotonic = Monotonic(0);
const WALL: WallTime = WallTime(1_700_000_000_000_000);

fn triggers(specs: &[Spec], life: u32) -> Triggers {
    let config = crate::config::Config {
        trigger: specs.to_vec(),
        ..Default::default()
    };
    config.check().unwrap();
    Triggers::new(&config, life)
}

fn shard(name: &str, is_router: bool) -> ShardView {
    let node = hsw_engine::NodeView {
        node: NodeId::new(&format!("{name}-a")).unwrap(),
        liveness: hsw_engine::NodeLiveness::Alive,
        role: hsw_types::Role::Primary,
        facts: hsw_types::NodeFacts::default(),
        last_window: None,
        lag_s: None,
        clock_offset_s: None,
        n_series: 0,
        sources: Vec::new(),
    };
    ShardView {
        shard: ShardId::new(name).unwrap(),
        is_router,
        health: Health::Well,
        badness: None,
        judgement: None,
        hyperscore: None,
        hyperscore_mode: "centred",
        sick_by: "fusion",
        nodes: vec![node],
        headline: Vec::new(),
    }
}

/// Agents beside an aggregator, joined by a wire that loses nothing.
struct World {
    triggers: Triggers,
    agents: BTreeMap<NodeId, Participant>,
    kept: BTreeMap<String, Kept>,
    shards: Vec<ShardView>,
}

impl World {
    fn new(specs: &[Spec], shards: &[&str]) -> Self {
        let mut world = Self {
            triggers: triggers(specs, 1),
            agents: BTreeMap::new(),
            kept: BTreeMap::new(),
            shards: shards
                .iter()
                .map(|name| shard(name, *name == "router"))
                .collect(),
        };
        world.triggers.restore(Vec::new(), NOW, WALL);
        world.second();
        for name in shards {
            world.live(name, 5);
        }
        world
    }

    /// A life of a shard's agent begins.
    fn live(&mut self, shard: &str, epoch: u64) {
        let node = NodeId::new(&format!("{shard}-a")).unwrap();
        let mut out = Vec::new();
        let patience = Patience::default();
        let agent = Participant::new(epoch, Forest::default(), patience, NOW, &mut out);
        self.agents.insert(node.clone(), agent);
        self.triggers.hear(&node, out, NOW, WALL);
        self.deliver();
    }

    fn add(&mut self, spec: Spec) -> Result<(), Refusal> {
        let proposed = self.triggers.propose(spec, WALL)?;
        self.keep(vec![proposed.change()]);
        self.triggers.begin(proposed, NOW, WALL);
        self.deliver();
        Ok(())
    }

    fn deliver(&mut self) {
        loop {
            let messages = self.triggers.take_messages();
            if messages.is_empty() {
                return;
            }
            for (node, list) in messages {
                let mut out = Vec::new();
                if let Some(agent) = self.agents.get_mut(&node) {
                    list.into_iter()
                        .for_each(|one| agent.hear(one, NOW, &mut out));
                }
                self.triggers.hear(&node, out, NOW, WALL);
            }
        }
    }

    fn second(&mut self) {
        self.triggers.tick(&self.shards, NOW, WALL);
        self.deliver();
        let changes = self.triggers.take_changes();
        self.keep(changes);
    }

    fn keep(&mut self, changes: Vec<TriggerChange>) {
        for change in changes {
            match change {
                TriggerChange::Put(row) => {
                    let known = self
                        .kept
                        .remove(&row.name)
                        .filter(|(old, _)| old.id == row.id);
                    let known = known.map_or_else(Vec::new, |(_, known)| known);
                    self.kept.insert(row.name.clone(), (row, known));
                }
                TriggerChange::Remove { name } => drop(self.kept.remove(&name)),
                TriggerChange::Count { id, node, known } => {
                    for (row, counts) in self.kept.values_mut() {
                        if row.id == id {
                            counts.retain(|(other, _)| *other != node);
                            counts.push((node.clone(), known));
                        }
                    }
                }
            }
        }
    }

    fn restart(&mut self, specs: &[Spec], life: u32) {
        self.triggers = triggers(specs, life);
        let kept = self.kept.values().cloned().collect();
        self.triggers.restore(kept, NOW, WALL);
        self.second();
        let hello = |(node, agent): (&NodeId, &mut Participant)| (node.clone(), agent.greet(NOW));
        let hellos: Vec<_> = self.agents.iter_mut().map(hello).collect();
        for (node, hello) in hellos {
            self.triggers.hear(&node, vec![hello], NOW, WALL);
            self.deliver();
        }
    }

    fn hit(&mut self, shard: &str, n: u64) {
        let node = NodeId::new(&format!("{shard}-a")).unwrap();
        let statement = Statement {
            latency_ms: Some(200.0),
            ..Statement::default()
        };
        for _ in 0..n {
            let mut out = Vec::new();
            let agent = self.agents.get_mut(&node).unwrap();
            agent.add(&Element::from(&statement), NOW, &mut out);
            self.triggers.hear(&node, out, NOW, WALL);
            self.deliver();
        }
    }

    fn view(&self, name: &str) -> TriggerView {
        let mut views = self.triggers.views().into_iter();
        views.find(|view| view.name == name).unwrap()
    }
}

#[test]
fn it_fires_with_the_hit_that_reaches_its_count_on_the_shards_it_names() {
    let mut world = World::new(&[], &["s1", "s2", "s3", "router"]);
    let mut named = slow("named", 100);
    named.shards = vec!["s1".to_owned(), "router".to_owned()];
    world.add(named).unwrap();
    world.add(slow("all", 100)).unwrap();
    assert_eq!(
        (world.view("named").n_members, world.view("all").n_members),
        (2, 3)
    );
    world.hit("s2", 99);
    world.hit("router", 60);
    world.hit("s1", 39);
    assert_eq!(world.view("named").state, TriggerState::Waiting);
    assert_eq!(
        world.view("all").fired,
        Some((WALL, 100)),
        "99 of s2, one of s1"
    );
    world.hit("s1", 1);
    let view = world.view("named");
    assert_eq!(
        (view.state, view.fired),
        (TriggerState::Fired, Some((WALL, 100)))
    );
    assert_eq!(
        view.words,
        "100 statements with latency_ms in [100, 1000) on shards s1, router"
    );
    assert!(
        world.agents.values().all(Participant::is_empty),
        "all is forgotten"
    );
    assert_eq!(world.triggers.totals().fired, 2);
}

#[test]
fn what_was_counted_survives_restarts_of_the_aggregator_and_of_agents_that_told() {
    let mut world = World::new(&[], &["s1", "s2"]);
    world.add(slow("slow", 1_000)).unwrap();
    world.hit("s1", 300);
    // The agent stops in order: it tells all it has counted.
    let node = NodeId::new("s1-a").unwrap();
    let mut out = Vec::new();
    world.agents.get_mut(&node).unwrap().tell_all(&mut out);
    world.triggers.hear(&node, out, NOW, WALL);
    world.deliver();
    world.second();
    world.live("s1", 6);
    world.hit("s2", 200);
    world.second();
    world.restart(&[], 2);
    assert_eq!(world.view("slow").known, 500);
    world.hit("s1", 499);
    assert_eq!(world.view("slow").state, TriggerState::Waiting);
    world.second();
    world.restart(&[], 3);
    world.hit("s2", 1);
    assert_eq!(world.view("slow").fired, Some((WALL, 1_000)));
    world.second();
    world.restart(&[], 4);
    assert_eq!(world.view("slow").state, TriggerState::Fired);
    world.hit("s2", 2_000);
    assert_eq!(
        world.triggers.totals().fired,
        0,
        "fired once, in the life before"
    );
}

#[test]
fn one_that_fires_again_begins_anew_each_time() {
    let mut world = World::new(&[], &["s1"]);
    let mut spec = slow("again", 50);
    spec.again = true;
    world.add(spec).unwrap();
    world.hit("s1", 149);
    let view = world.view("again");
    assert_eq!(
        (view.state, world.triggers.totals().fired),
        (TriggerState::Waiting, 2)
    );
    assert!(view.known < 50 && view.fired.is_some(), "{view:?}");
    world.hit("s1", 1);
    assert_eq!(world.triggers.totals().fired, 3);
    world.second();
    world.restart(&[], 2);
    world.hit("s1", 50);
    assert_eq!(world.triggers.totals().fired, 1);
}

#[test]
fn the_configuration_rules_its_triggers() {
    let (kept, changed) = (slow("kept", 100), slow("changed", 100));
    let mut world = World::new(&[kept.clone(), changed.clone(), slow("gone", 100)], &["s1"]);
    world.add(slow("mine", 100)).unwrap();
    world.hit("s1", 60);
    world.second();
    let mut other = changed;
    other.range = "100..".to_owned();
    world.restart(&[kept, other], 2);
    let known: Vec<_> = world.triggers.views();
    let known: Vec<_> = known.iter().map(|v| (v.name.as_str(), v.known)).collect();
    assert_eq!(known, [("changed", 0), ("kept", 60), ("mine", 60)]);
    let n_counted = world.agents.values().map(Participant::len);
    assert_eq!(
        n_counted.collect::<Vec<_>>(),
        [3],
        "what is gone is forgotten"
    );
    assert!(matches!(
        world.triggers.may_remove("kept"),
        Err(Refusal::Taken(_))
    ));
    assert!(matches!(
        world.triggers.may_remove("gone"),
        Err(Refusal::Unknown(_))
    ));
    let name = "mine".to_owned();
    world.keep(vec![TriggerChange::Remove { name }]);
    world.triggers.remove("mine", NOW, WALL);
    world.deliver();
    let agents = &world.agents;
    assert!(
        agents.values().all(|agent| agent.len() == 2),
        "one is forgotten"
    );
    world.second();
    assert_eq!(world.kept.keys().collect::<Vec<_>>(), ["changed", "kept"]);
}

#[test]
fn a_shard_that_joins_later_takes_part_and_a_node_that_moves_away_does_not() {
    let mut world = World::new(&[], &["s1"]);
    let mut spec = slow("named", 100);
    spec.shards = vec!["s1".to_owned(), "s2".to_owned()];
    world.add(spec).unwrap();
    world.hit("s1", 30);
    world.shards.push(shard("s2", false));
    world.second();
    world.live("s2", 9);
    world.hit("s2", 30);
    assert_eq!(world.view("named").n_heard, 2);
    world.shards[0].shard = ShardId::new("s7").unwrap();
    world.second();
    world.hit("s1", 50);
    assert_eq!(
        (world.view("named").n_members, world.view("named").known),
        (1, 60)
    );
    world.hit("s2", 39);
    assert_eq!(world.view("named").state, TriggerState::Waiting);
    world.hit("s2", 1);
    assert_eq!(world.view("named").state, TriggerState::Fired);
}

#[test]
fn names_in_use_and_triggers_over_the_limit_are_refused_and_counted() {
    let mut world = World::new(&[], &["s1"]);
    world.triggers.config.max = 2;
    world.add(slow("a", 10)).unwrap();
    assert!(matches!(world.add(slow("a", 10)), Err(Refusal::Taken(_))));
    assert!(matches!(world.add(slow("b c", 10)), Err(Refusal::Bad(_))));
    world.add(slow("b", 10)).unwrap();
    assert!(matches!(world.add(slow("c", 10)), Err(Refusal::Busy(_))));
    assert_eq!(world.triggers.totals().refused, 3);
    let mut early = triggers(&[], 1);
    assert!(matches!(
        early.propose(slow("a", 1), WALL),
        Err(Refusal::Busy(_))
    ));
}

#[test]
fn what_the_store_has_no_room_for_is_told_again() {
    let mut world = World::new(&[], &["s1"]);
    world.add(slow("slow", 100)).unwrap();
    world.second();
    world.hit("s1", 60);
    let changes = world.triggers.take_changes();
    assert!(
        changes
            .iter()
            .any(|c| matches!(c, TriggerChange::Count { .. })),
        "{changes:?}"
    );
    world.triggers.give_back(changes.clone());
    assert_eq!(world.triggers.take_changes(), changes);
    assert_eq!(world.triggers.take_changes(), []);
}
