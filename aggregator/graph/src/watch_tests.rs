//! The log of changes and the landmarks, against the graph as it stands. (step 9)

use super::*;
use hsw_types::{EdgeKind, EdgeSubject, NodeId};
use proptest::prelude::*;

fn touch(graph: &mut InteractionGraph, node: u8, client: u16, at: i64) {
    let subject = EdgeSubject {
        kind: EdgeKind::Client,
        peer: format!("10.0.0.{client}"),
        port: 0,
        user: String::new(),
        application: "app".to_owned(),
        database: String::new(),
    };
    let node = NodeId::new(&format!("n{node}")).unwrap();
    graph.touch(&node, &subject, 1.0, WallTime(at));
}

#[test]
fn what_is_there_at_first_is_no_change_and_a_new_client_of_every_shard_is() {
    let mut graph = InteractionGraph::default();
    let mut watch = Watch::default();
    for at in [0, 30_000_000] {
        for node in 0..4 {
            touch(&mut graph, node, u16::from(node), at);
            touch(&mut graph, node, 100, at);
        }
        watch.follow(&graph, WallTime(at));
    }
    assert_eq!(watch.changes().count(), 0);
    assert!(watch.is_resolved() && watch.landmarks().len() >= watch.twin_bound());
    for node in 0..4 {
        touch(&mut graph, node, 66, 90_000_000);
    }
    watch.follow(&graph, WallTime(90_000_000));
    let changes: Vec<&Change> = watch.changes().collect();
    assert_eq!(changes.len(), 4);
    assert!(
        changes
            .iter()
            .all(|change| change.came && change.edge.from.id() == "client:10.0.0.66/app")
    );
    graph.expire(WallTime(95_000_000 + crate::FORGET_AFTER_US - 10_000_000));
    watch.follow(&graph, WallTime(2_000_000_000));
    assert!(watch.changes().next().is_some_and(|change| !change.came));
}

#[test]
fn a_slow_edge_is_far_in_the_view_by_latency_and_nowhere_else() {
    let (mut graph, mut watch) = (InteractionGraph::default(), Watch::default());
    let (a, b) = (NodeId::new("n0").unwrap(), NodeId::new("n1").unwrap());
    touch(&mut graph, 0, 1, 0);
    touch(&mut graph, 1, 1, 0);
    touch(&mut graph, 1, 2, 0);
    let address = EdgeSubject {
        kind: EdgeKind::Client,
        peer: "10.0.0.1".to_owned(),
        port: 0,
        user: String::new(),
        application: String::new(),
        database: String::new(),
    };
    let sum = |watch: &Watch| {
        let distances = watch.distances(&Vertex::Node(a.clone())).unwrap();
        let all = |of: &[Option<u32>]| of.iter().flatten().sum::<u32>();
        (all(&distances.hops), all(&distances.latency))
    };
    watch.follow(&graph, WallTime(0));
    let (hops, latency) = sum(&watch);
    assert_eq!(hops, latency);
    // Ten seconds of 30 ms: class 8.
    for at in [1, 6, 11] {
        let at = WallTime(at * 1_000_000);
        graph.measure(&a, &address, Quantity::RttMs, 30.0, at);
        graph.measure(&b, &address, Quantity::RttMs, 0.1, at);
        watch.follow(&graph, at);
    }
    let classes: Vec<u8> = graph
        .edges()
        .filter_map(|(id, _)| watch.class(id))
        .collect();
    assert_eq!(classes, [8, 1, 1]);
    let n_landmarks = watch
        .landmarks()
        .iter()
        .filter(|l| l.id() != "node:n0")
        .count() as u32;
    assert_eq!(sum(&watch), (hops, latency + 7 * n_landmarks));
    assert!(watch.views.is_true());
}

#[test]
fn shards_spare_the_landmarks_that_their_symmetry_would_need() {
    let (mut graph, mut watch) = (InteractionGraph::default(), Watch::default());
    for node in 0..8 {
        touch(&mut graph, node, 1, 0);
        touch(&mut graph, node, 2, 0);
    }
    watch.follow(&graph, WallTime(0));
    assert!(watch.is_resolved());
    // Seven of eight nodes and one of two clients would be landmarks to tell apart what looks the same in everything but its name: that
    // tells an operator nothing and makes every agent dear. One is kept, so that everybody has a place.
    assert_eq!((watch.landmarks().len(), watch.twin_bound()), (1, 8));
    assert_eq!((watch.n_twins(), watch.n_alone()), ((10, 2), (2, 10)));
    let shards: Vec<ShardId> = (0..8)
        .map(|n| ShardId::new(&format!("s{n}")).unwrap())
        .collect();
    let shard_of = |node: &NodeId| shards.get(usize::from(node.as_str().as_bytes()[1] - b'0'));
    watch.follow_placed(&graph, shard_of, WallTime(5_000_000));
    assert!(watch.is_resolved() && watch.landmarks().len() == 1);
    assert_eq!((watch.twin_bound(), watch.twin_bound_uncoloured()), (1, 8));
    assert_eq!((watch.n_twins(), watch.n_alone()), ((2, 1), (10, 10)));
}

#[test]
fn a_thousand_pods_need_few_landmarks_and_a_smaller_set_comes_slice_by_slice() {
    let (mut graph, mut watch) = (InteractionGraph::default(), Watch::default());
    // Each of a hundred services talks to two of twenty shards, from ten pods.
    for pod in 0..1_000 {
        let service = pod / 10;
        touch(&mut graph, (service % 20) as u8, pod, 0);
        touch(&mut graph, (service * 7 % 20) as u8, pod, 0);
    }
    watch.follow(&graph, WallTime(0));
    let n_first = watch.landmarks().len();
    assert!(watch.is_resolved() && n_first <= 20, "{n_first}");
    assert!(watch.n_twins().0 >= 990, "{:?}", watch.n_twins());
    // Services come and go one by one, so that the set is mended again and again.
    for look in 0..20 {
        let at = 100_000_000 + i64::from(look) * 500_000_000;
        for pod in 0..1_000 {
            let service = pod / 10 + (look + pod / 500) % 3;
            touch(&mut graph, (service * 3 % 20) as u8, pod, at);
        }
        graph.expire(WallTime(at));
        watch.follow_changes(&graph, &|_| None, WallTime(at));
        assert!(watch.is_resolved());
    }
    let mut n_slices = 0;
    while watch.is_renewal_due || watch.renewal.is_some() {
        watch.renew_by(1_000);
        n_slices += 1;
        assert!(watch.is_resolved() && watch.tracked.is_true());
    }
    let (n, n_fresh) = (watch.landmarks().len(), watch.n_chosen_anew());
    assert!(
        n_slices > 1 && n <= n_fresh + n_fresh / 10,
        "{n} of {n_fresh} after {n_slices}"
    );
}

proptest! {
    #[test]
    fn prop_the_watch_resolves_the_graph_as_it_stands(looks in prop::collection::vec(prop::collection::vec((0..6_u8, 0..40_u16), 0..20), 1..30)) {
        let mut watch = Watch::default();
        let mut graph = InteractionGraph::default();
        for (look, edges) in looks.into_iter().enumerate() {
            let at = look as i64 * crate::FORGET_AFTER_US / 2;
            edges.iter().for_each(|(node, client)| touch(&mut graph, *node, *client, at));
            graph.expire(WallTime(at));
            watch.follow(&graph, WallTime(at));
            prop_assert!(watch.is_resolved());
            let mut by_place = BTreeMap::new();
            for (vertex, distances) in graph.vertices().into_iter().map(|v| (v, watch.distances(v))) {
                let is_node = matches!(vertex, Vertex::Node(_));
                let beside: BTreeSet<&Vertex> = watch.neighbours(vertex).collect();
                let distances = distances.unwrap_or_default().hops;
                prop_assert!(distances.iter().any(Option::is_some), "{} has no place", vertex.id());
                let first = by_place.entry((is_node, distances)).or_insert_with(|| beside.clone());
                prop_assert_eq!(&*first, &beside, "only twins stay together: {}", vertex.id());
            }
            prop_assert!(watch.known.keys().eq(graph.edges().map(|(id, _)| id)));
            prop_assert_eq!(watch.tracked.graph().m(), watch.between.len());
            prop_assert!(watch.views.is_true());
            for (vertex, distances) in graph.vertices().into_iter().map(|v| (v, watch.distances(v))) {
                let distances = distances.unwrap_or_default();
                prop_assert_eq!(&distances.hops, &distances.latency, "all of the first class: {}", vertex.id());
                let ways = distances.from.iter().zip(&distances.to);
                // Clients talk to nodes alone: no way has two steps of one direction.
                prop_assert!(ways.flat_map(|(from, to)| [from, to]).flatten().all(|d| *d <= 1));
            }
            let there = graph.vertices();
            prop_assert!(watch.landmarks().iter().all(|l| there.contains(l)));
        }
    }

    /// Each view against Bellman and Ford over the graph's own edges, whatever comes, goes, and grows slow.
    #[test]
    fn prop_each_view_is_what_the_edges_say(looks in prop::collection::vec(prop::collection::vec((0..4_u8, 0..6_u16, 0..4_u8), 0..8), 1..25)) {
        let (mut graph, mut watch) = (InteractionGraph::default(), Watch::default());
        for (at, edges) in looks.into_iter().enumerate() {
            let now = WallTime(at as i64 * 200_000_000);
            for (node, client, slow) in edges {
                touch(&mut graph, node, client, now.0);
                let address = address_of(client);
                let node = NodeId::new(&format!("n{node}")).unwrap();
                let rtt_ms = [0.1, 0.3, 3.0, 90.0][usize::from(slow)];
                graph.measure(&node, &address, Quantity::RttMs, rtt_ms, now);
            }
            graph.expire(now);
            watch.follow(&graph, now);
            let classes = |edge: &EdgeId| u32::from(watch.class(edge).unwrap_or(0));
            for (column, landmark) in watch.landmarks().into_iter().enumerate() {
                let latency = from(&graph, landmark, |id| (true, true, classes(id)));
                let ahead = from(&graph, landmark, |_| (true, false, 1));
                let back = from(&graph, landmark, |_| (false, true, 1));
                for vertex in graph.vertices() {
                    let told = watch.distances(vertex).unwrap();
                    prop_assert_eq!(told.latency[column], latency.get(vertex).copied());
                    prop_assert_eq!(told.from[column], ahead.get(vertex).copied());
                    prop_assert_eq!(told.to[column], back.get(vertex).copied());
                }
            }
        }
    }
}

fn address_of(client: u16) -> EdgeSubject {
    EdgeSubject {
        kind: EdgeKind::Client,
        peer: format!("10.0.0.{client}"),
        port: 0,
        user: String::new(),
        application: String::new(),
        database: String::new(),
    }
}

/// How far every vertex is from one; of each edge: whether it may be gone along, against its direction, and its length.
fn from(
    graph: &InteractionGraph,
    start: &Vertex,
    by: impl Fn(&EdgeId) -> (bool, bool, u32),
) -> BTreeMap<Vertex, u32> {
    let mut far = BTreeMap::from([(start.clone(), 0)]);
    let mut is_done = false;
    while !is_done {
        is_done = true;
        for (id, _) in graph.edges() {
            let (along, against, length) = by(id);
            for (may, from, to) in [(along, &id.from, &id.to), (against, &id.to, &id.from)] {
                let Some(near) = far.get(from).copied().filter(|_| may) else {
                    continue;
                };
                if far.get(to).is_none_or(|old| near + length < *old) {
                    far.insert(to.clone(), near + length);
                    is_done = false;
                }
            }
        }
    }
    far
}
