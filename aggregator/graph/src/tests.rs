//! Edges as nodes tell them. (step 9)

use super::*;

fn subject(kind: EdgeKind, peer: &str, port: u16, application: &str) -> EdgeSubject {
    EdgeSubject {
        kind,
        peer: peer.into(),
        port,
        user: "app".into(),
        application: application.into(),
        database: "shop".into(),
    }
}

#[test]
fn a_foreign_server_that_is_a_node_becomes_a_dependency_and_another_a_service() {
    let (router, shard) = (
        NodeId::new("router").unwrap(),
        NodeId::new("shard-1-a").unwrap(),
    );
    let mut graph = InteractionGraph::default();
    graph.place(&shard, "10.0.0.1:5432");
    let now = WallTime(1);
    graph.touch(
        &router,
        &subject(EdgeKind::ForeignServer, "10.0.0.1", 5432, ""),
        1.0,
        now,
    );
    graph.touch(
        &router,
        &subject(EdgeKind::ForeignServer, "10.0.0.2", 5432, ""),
        1.0,
        now,
    );
    graph.touch(
        &shard,
        &subject(EdgeKind::Client, "10.0.0.9", 0, "checkout"),
        3.0,
        now,
    );
    assert_eq!(graph.dependencies(&router), [&shard]);
    let ids: Vec<String> = graph.vertices().into_iter().map(Vertex::id).collect();
    assert_eq!(
        ids,
        [
            "node:router",
            "node:shard-1-a",
            "client:10.0.0.9/checkout",
            "service:10.0.0.2:5432"
        ]
    );
}

#[test]
fn an_address_that_two_nodes_claim_in_turn_is_nobodys_and_a_socket_is_none() {
    let [a, b] = ["a", "b"].map(|name| NodeId::new(name).unwrap());
    let mut graph = InteractionGraph::default();
    graph.place(&a, "/run/postgresql");
    assert!(graph.node_at.is_empty());
    for _ in 0..10 {
        graph.place(&a, "127.0.0.1:5432");
        graph.place(&b, "127.0.0.1:5432");
    }
    assert!(graph.node_at.is_empty());
    // A node that moves, or one that takes over another's address, is followed.
    graph.place(&a, "10.0.0.1:5432");
    graph.place(&b, "10.0.0.1:5432");
    assert_eq!(graph.node_at.get("10.0.0.1:5432"), Some(&b));
}

#[test]
fn a_vertex_comes_back_from_its_id() {
    let node = NodeId::new("shard-1-a").unwrap();
    let vertices = [
        Vertex::Node(node.clone()),
        role(&node, "a/b"),
        Vertex::Client {
            host: "fe80::1".to_owned(),
            application: "coordinator/billing".to_owned(),
        },
        Vertex::Client {
            host: "local".to_owned(),
            application: String::new(),
        },
        Vertex::Service {
            host: "fe80::1".to_owned(),
            port: 5432,
        },
    ];
    for vertex in vertices {
        assert_eq!(Vertex::of_id(&vertex.id()), Some(vertex));
    }
    for wrong in ["", "node:", "client:x", "role:x", "service:h:p", "pod:x"] {
        assert_eq!(Vertex::of_id(wrong), None, "{wrong}");
    }
}

#[test]
fn a_service_that_turns_out_to_be_a_node_becomes_that_node() {
    let (router, shard) = (
        NodeId::new("router").unwrap(),
        NodeId::new("shard-1-a").unwrap(),
    );
    let mut graph = InteractionGraph::default();
    graph.touch(
        &router,
        &subject(EdgeKind::ForeignServer, "10.0.0.1", 5432, ""),
        1.0,
        WallTime(1),
    );
    graph.place(&shard, "10.0.0.1:5432");
    assert_eq!(graph.dependencies(&router), [&shard]);
    assert_eq!(graph.edges().count(), 1);
}

#[test]
fn who_streams_from_a_host_with_one_node_is_that_node() {
    let (primary, replica) = (NodeId::new("a").unwrap(), NodeId::new("b").unwrap());
    let mut graph = InteractionGraph::default();
    let streams = subject(EdgeKind::Replication, "10.0.0.2", 0, "walreceiver");
    graph.touch(&primary, &streams, 1.0, WallTime(1));
    graph.place(&replica, "10.0.0.2:5432");
    let ends = |graph: &InteractionGraph| -> Vec<String> {
        graph.edges().map(|(id, _)| id.to.id()).collect()
    };
    assert_eq!(ends(&graph), ["node:b"]);
    graph.place(&NodeId::new("c").unwrap(), "10.0.0.2:5433");
    graph.touch(&primary, &streams, 1.0, WallTime(2));
    assert_eq!(ends(&graph), ["node:b", "service:10.0.0.2:0"]);
}

#[test]
fn an_edge_not_seen_for_fifteen_minutes_is_gone() {
    let node = NodeId::new("a").unwrap();
    let mut graph = InteractionGraph::default();
    graph.touch(
        &node,
        &subject(EdgeKind::Client, "10.0.0.9", 0, "x"),
        3.0,
        WallTime(0),
    );
    graph.expire(WallTime(FORGET_AFTER_US - 1));
    assert_eq!(graph.edges().count(), 1);
    graph.expire(WallTime(FORGET_AFTER_US));
    assert_eq!(graph.edges().count(), 0);
}
