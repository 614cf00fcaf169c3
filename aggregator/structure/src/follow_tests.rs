//! Honest life and intrusions on a small cluster: four shards of one kind, one of another, an application each, a monitor.

use super::*;
use crate::suspicion::{Pattern, Reason};
use hsw_types::{EdgeSubject, ShardId};
use proptest::prelude::*;

#[path = "second_hosts_tests.rs"]
mod second_hosts;

/// A look in five seconds, as the engine does.
const LOOK_US: i64 = 5_000_000;

struct World {
    graph: InteractionGraph,
    watch: Watch,
    structure: Structure,
    now: WallTime,
    there: BTreeSet<(NodeId, EdgeSubject)>,
}

fn place(node: &NodeId) -> Option<Place> {
    let (shard, _) = node.as_str().rsplit_once('-')?;
    Some(Place {
        shard: ShardId::new(shard).ok()?,
        is_router: shard.starts_with("router"),
    })
}

fn client(peer: &str, application: &str, user: &str) -> EdgeSubject {
    EdgeSubject {
        kind: EdgeKind::Client,
        peer: peer.to_owned(),
        port: 0,
        user: user.to_owned(),
        application: application.to_owned(),
        database: String::new(),
    }
}

/// A login that the server refuses.
fn refused(peer: &str, application: &str, user: &str) -> EdgeSubject {
    EdgeSubject {
        kind: EdgeKind::RefusedLogin,
        ..client(peer, application, user)
    }
}

impl World {
    /// Orders on four shards, users on one, a monitor on all; watched for ten minutes.
    fn new() -> Self {
        Self::with(&[])
    }

    /// And these from the beginning.
    fn with(more: &[(&str, EdgeSubject)]) -> Self {
        let mut world = Self::started(more);
        world.pass(120);
        world
    }

    /// Before the first look.
    fn started(more: &[(&str, EdgeSubject)]) -> Self {
        let mut world = Self {
            graph: InteractionGraph::default(),
            watch: Watch::default(),
            structure: Structure::default(),
            now: WallTime(0),
            there: BTreeSet::new(),
        };
        for shard in 1..=4 {
            for pod in 0..3 {
                world.connect(
                    &format!("orders-{shard}-a"),
                    &client(&format!("10.0.1.{pod}"), "checkout", "checkout"),
                );
            }
            world.connect(
                &format!("orders-{shard}-a"),
                &client("10.0.9.1", "monitor", "monitor"),
            );
        }
        for pod in 0..4 {
            world.connect(
                "users-1-a",
                &client(&format!("10.0.2.{pod}"), "login", "login"),
            );
        }
        world.connect("users-1-a", &client("10.0.9.1", "monitor", "monitor"));
        for (node, subject) in more {
            world.connect(node, subject);
        }
        world
    }

    fn connect(&mut self, node: &str, subject: &EdgeSubject) {
        self.there
            .insert((NodeId::new(node).unwrap(), subject.clone()));
    }

    fn leave(&mut self, peer: &str) {
        self.there.retain(|(_, subject)| subject.peer != peer);
    }

    fn pass(&mut self, n_looks: usize) {
        for _ in 0..n_looks {
            self.now.0 += LOOK_US;
            for (node, subject) in &self.there {
                self.graph.touch(node, subject, 1.0, self.now);
            }
            self.graph.expire(self.now);
            self.watch.follow(&self.graph, self.now);
            self.structure
                .follow(&self.graph, place, &self.watch, self.now);
        }
    }

    fn patterns(&self) -> Vec<(Pattern, String)> {
        let open = self.structure.suspicions().iter();
        open.map(|s| (s.pattern, s.client.id())).collect()
    }
}

#[test]
fn a_new_pod_of_a_known_application_is_expected() {
    let mut world = World::new();
    world.leave("10.0.1.0");
    for shard in 1..=4 {
        world.connect(
            &format!("orders-{shard}-a"),
            &client("10.0.1.77", "checkout", "checkout"),
        );
    }
    world.pass(400);
    assert_eq!(world.patterns(), []);
}

#[test]
fn one_more_worker_of_partitions_takes_a_shard_of_its_own_and_an_old_one_does_not_change_over() {
    let worker = |pod: u8| client(&format!("10.0.3.{pod}"), "worker", "worker");
    let workers = [
        ("orders-1-a", worker(1)),
        ("orders-2-a", worker(2)),
        ("orders-3-a", worker(3)),
    ];
    let mut world = World::with(&workers);
    world.connect("orders-4-a", &worker(4));
    world.pass(400);
    assert_eq!(world.patterns(), []);
    for (pod, nodes) in [
        // It has been there all the time.
        (1, &["orders-4-a"][..]),
        // More than a worker does.
        (5, &["orders-4-a", "orders-3-a"]),
        // None of them knows this kind.
        (6, &["users-1-a"]),
    ] {
        let mut world = World::with(&workers);
        for node in nodes {
            world.connect(node, &worker(pod));
        }
        world.pass(400);
        assert_eq!(world.patterns().len(), 1, "worker {pod}");
    }
    // Where all go to the same places, one that goes elsewhere is none of them.
    let mut world = World::with(&[
        ("orders-1-a", worker(1)),
        ("orders-1-a", worker(2)),
        ("orders-1-a", worker(3)),
    ]);
    world.connect("orders-4-a", &worker(4));
    world.pass(400);
    assert_eq!(world.patterns().len(), 1);
}

#[test]
fn an_unknown_client_that_reads_every_shard_is_a_fan_out() {
    let mut world = World::new();
    for shard in 1..=4 {
        world.connect(
            &format!("orders-{shard}-a"),
            &client("10.0.7.7", "dump", "checkout"),
        );
    }
    world.pass(6);
    assert_eq!(
        world.patterns(),
        [(Pattern::FanOut, "client:10.0.7.7/dump".to_owned())]
    );
    let suspicion = &world.structure.suspicions()[0];
    assert_eq!(suspicion.edges.len(), 4);
    assert!(
        suspicion.p < 0.05
            && suspicion
                .reasons
                .iter()
                .any(|r| matches!(r, Reason::Reaches { n_new: 4, .. }))
    );
}

#[test]
fn one_pod_that_goes_where_its_application_never_went_is_suspected_and_all_of_them_are_a_release() {
    let mut world = World::new();
    world.connect("users-1-a", &client("10.0.1.1", "checkout", "checkout"));
    world.pass(40);
    assert_eq!(
        world.patterns(),
        [(Pattern::Bridge, "client:10.0.1.1/checkout".to_owned())]
    );
    let mut world = World::new();
    for pod in 0..3 {
        world.connect(
            "users-1-a",
            &client(&format!("10.0.1.{pod}"), "checkout", "checkout"),
        );
        world.pass(6);
    }
    world.pass(40);
    assert_eq!(world.patterns(), []);
}

/// A client whose sessions last milliseconds, on each of four shards: a look in `every` sees one, by chance.
fn look_by_chance(
    world: &mut World,
    n_looks: usize,
    every: u64,
    seed: u64,
) -> Vec<(Pattern, String)> {
    let mut state = seed;
    let mut raised = Vec::new();
    for _ in 0..n_looks {
        for shard in 1..=4 {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            if (state >> 33).is_multiple_of(every) {
                let node = NodeId::new(&format!("orders-{shard}-a")).unwrap();
                let at = WallTime(world.now.0 + LOOK_US);
                world
                    .graph
                    .touch(&node, &client("10.0.8.8", "probe", "probe"), 1.0, at);
            }
        }
        world.pass(1);
        raised.extend(world.patterns());
    }
    raised.dedup();
    raised
}

#[test]
fn sessions_of_milliseconds_that_were_always_there_are_no_fan_out_and_new_ones_are() {
    // Of an hour each: seen at some shard once in four minutes, two and one.
    let mut n_raised = 0;
    for seed in 1..=10 {
        for every in [192, 96, 48] {
            let mut world = World::started(&[]);
            let raised = look_by_chance(&mut world, 720, every, seed);
            n_raised += usize::from(!raised.is_empty());
        }
    }
    assert!(n_raised <= 1, "{n_raised} of 30");
    for seed in 1..=10 {
        let mut world = World::new();
        let raised = look_by_chance(&mut world, 60, 4, seed);
        assert!(
            !raised.is_empty(),
            "once in five seconds, as of now: {seed}"
        );
    }
}

#[test]
fn decoys_from_many_hosts_do_not_make_the_rest_usual() {
    let mut world = World::new();
    for host in 0..12 {
        let name = format!("tool-{}", char::from(b'a' + host));
        let node = format!("orders-{}-a", host % 4 + 1);
        world.connect(
            &node,
            &client(
                &format!("10.0.6.{host}"),
                &name,
                ["checkout", "login"][usize::from(host) % 2],
            ),
        );
        world.pass(4);
    }
    let is_known =
        |client: &str, world: &World| world.patterns().iter().any(|(_, of)| of == client);
    world.connect("users-1-a", &client("10.0.7.7", "dump", "monitor"));
    world.pass(12);
    assert!(
        is_known("client:10.0.7.7/dump", &world),
        "{:?}",
        world.patterns()
    );
}

#[test]
fn who_tries_roles_then_makes_one_is_no_deployment_and_a_pod_that_was_early_is() {
    for (tried, is_deployment) in [("monitor", false), ("profile", true)] {
        let mut world = World::new();
        world.connect("users-1-a", &refused("10.0.7.7", "profile", tried));
        world.pass(4);
        world
            .there
            .retain(|(_, subject)| subject.kind != EdgeKind::RefusedLogin);
        let (node, subject) = member("users-1-a", "profile", "writers");
        world.connect(&node, &subject);
        world.pass(4);
        world.connect("users-1-a", &client("10.0.7.7", "profile", "profile"));
        world.pass(60);
        assert_eq!(
            world.patterns().is_empty(),
            is_deployment,
            "tried {tried}: {:?}",
            world.patterns()
        );
    }
}

fn escalation() -> (Pattern, String) {
    (Pattern::Escalation, "client:10.0.2.1/login".to_owned())
}

/// A client is refused as another's role at so many looks, then acts as it.
fn after_refusals(n_looks: usize) -> Vec<(Pattern, String)> {
    let mut world = World::new();
    world.connect("users-1-a", &refused("10.0.2.1", "login", "monitor"));
    world.pass(n_looks);
    world.connect("users-1-a", &client("10.0.2.1", "login", "monitor"));
    world.pass(6);
    world.patterns()
}

#[test]
fn who_goes_on_being_refused_was_refused_a_moment_ago() {
    // For longer than a refusal matters.
    assert_eq!(after_refusals(400), [escalation()]);
}

#[test]
fn grants_beyond_the_limit_are_counted_and_not_learned() {
    let mut world = World::new();
    let subjects: Vec<_> = (0..crate::granted::N_GIVEN_MAX + 5)
        .map(|n| member("users-1-a", &format!("login-{n}"), "superuser").1)
        .collect();
    let node = NodeId::new("users-1-a").unwrap();
    for _ in 0..3 {
        let at = WallTime(world.now.0 + LOOK_US);
        subjects
            .iter()
            .for_each(|subject| world.graph.touch(&node, subject, 1.0, at));
        world.pass(1);
    }
    assert_eq!(world.structure.n_left_out(), 5);
    let last = format!("login-{}", crate::granted::N_GIVEN_MAX + 4);
    assert!(!world.structure.grants.is_privileged(&last));
}

#[test]
fn one_sighting_is_no_event() {
    let mut world = World::new();
    world.connect("users-1-a", &client("10.0.7.7", "psql", "checkout"));
    world.pass(1);
    world.leave("10.0.7.7");
    world.pass(40);
    assert_eq!(world.patterns(), []);
}

#[test]
fn an_operators_word_makes_it_a_habit() {
    let mut world = World::new();
    world.connect("users-1-a", &client("10.0.7.7", "psql", "checkout"));
    world.pass(12);
    let edges: Vec<EdgeId> = world.structure.suspicions()[0].edges.clone();
    world.structure.accept(&edges);
    assert_eq!(world.patterns(), []);
    world.leave("10.0.7.7");
    world.pass(400);
    world.connect("users-1-a", &client("10.0.7.7", "psql", "checkout"));
    world.pass(40);
    assert_eq!(world.patterns(), []);
}

fn member(node: &str, role: &str, of: &str) -> (String, EdgeSubject) {
    let mut subject = client(of, "", role);
    subject.kind = EdgeKind::Membership;
    (node.to_owned(), subject)
}

#[test]
fn a_role_granted_after_refused_logins_is_an_escalation_and_a_migration_is_none() {
    let mut world = World::new();
    world.connect("users-1-a", &refused("10.0.2.1", "login", "login"));
    world.pass(2);
    let (node, subject) = member("users-1-a", "login", "superuser");
    world.connect(&node, &subject);
    world.pass(30);
    assert_eq!(world.patterns(), [escalation()]);
    let edges = &world.structure.suspicions()[0].edges;
    assert!(
        edges
            .iter()
            .any(|id| id.kind == EdgeKind::Membership && id.to.id() == "role:users-1-a/superuser")
    );
    let mut world = World::new();
    for shard in 1..=4 {
        let (node, subject) = member(&format!("orders-{shard}-a"), "checkout", "writers");
        world.connect(&node, &subject);
        world.pass(2);
    }
    world.pass(400);
    assert_eq!(world.patterns(), []);
}

#[test]
fn a_client_that_was_refused_and_acts_as_anothers_role_is_an_escalation() {
    assert_eq!(after_refusals(2), [escalation()]);
}

#[test]
fn new_clients_with_the_same_neighbour_are_sybils_and_pods_of_a_new_service_are_not() {
    let mut world = World::new();
    for host in 0..6 {
        world.connect(
            "users-1-a",
            &client(
                &format!("10.0.7.{host}"),
                &format!("tool-{}", ["a", "b", "c"][host % 3]),
                "login",
            ),
        );
    }
    world.pass(12);
    let open = world.structure.suspicions();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].pattern, open[0].edges.len()), (Pattern::Sybils, 6));
    let mut world = World::new();
    for host in 0..6 {
        world.connect(
            "users-1-a",
            &client(&format!("10.0.7.{host}"), "profile", "profile"),
        );
    }
    world.pass(300);
    assert_eq!(world.patterns(), []);
}

#[test]
fn a_new_shard_of_a_kind_that_an_application_uses_whole_is_expected() {
    let mut world = World::new();
    for pod in 0..3 {
        world.connect(
            "orders-5-a",
            &client(&format!("10.0.1.{pod}"), "checkout", "checkout"),
        );
        world.pass(1);
    }
    world.pass(100);
    assert_eq!(world.patterns(), []);
    world.connect("orders-5-a", &client("10.0.2.1", "login", "login"));
    world.pass(100);
    assert_eq!(world.patterns().len(), 1);
}

proptest! {
    #[test]
    fn prop_the_order_of_edges_means_nothing(
        steps in prop::collection::vec((0..5_usize, 0..8_u8, 0..3_usize), 1..25),
    ) {
        let subject = |(_, host, role): &(usize, u8, usize)| {
            let role = ["checkout", "login", "monitor"][*role];
            client(&format!("10.0.7.{host}"), ["checkout", "tool"][usize::from(*host) % 2], role)
        };
        let node = |at: usize| if at == 4 { "users-1-a".to_owned() } else { format!("orders-{}-a", at + 1) };
        let mut worlds = [World::new(), World::new()];
        for (at, world) in worlds.iter_mut().enumerate() {
            let mut steps = steps.clone();
            if at == 1 {
                steps.reverse();
            }
            world.now.0 += LOOK_US;
            let told = steps.iter().map(|step| (NodeId::new(&node(step.0)).unwrap(), subject(step)));
            for (node, subject) in told {
                world.graph.touch(&node, &subject, 1.0, world.now);
                world.there.insert((node, subject));
            }
            world.pass(50);
        }
        prop_assert_eq!(worlds[0].structure.suspicions(), worlds[1].structure.suspicions());
    }
}
