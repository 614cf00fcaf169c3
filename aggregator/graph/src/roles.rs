//! Which agents stand for landmarks: their connections are looked at more often than those of others. (step 9)
//!
//! In: the landmarks. Out: nodes. A landmark that is a node is its own; a role is its node's; a client or service, which has no
//! agent, is seen by a node that it talks to: one that stands for a landmark already, else the first in name order.
//! Invariant: RL-1 each landmark with a node beside it has a node that stands for it.

use std::collections::BTreeSet;

use hsw_types::NodeId;

use crate::{Vertex, Watch};

impl Watch {
    /// Nodes whose agents stand for landmarks, ascending; none while there are no landmarks. O(edges of landmarks).
    #[must_use]
    pub fn landmark_nodes(&self) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::new();
        let mut others = Vec::new();
        for landmark in self.landmarks() {
            match landmark {
                Vertex::Node(node) | Vertex::Role { node, .. } => {
                    nodes.insert(node.clone());
                }
                Vertex::Client { .. } | Vertex::Service { .. } => others.push(landmark),
            }
        }
        for landmark in others {
            let beside = self.neighbours(landmark).filter_map(|vertex| match vertex {
                Vertex::Node(node) => Some(node),
                _ => None,
            });
            let beside: BTreeSet<&NodeId> = beside.collect();
            if !beside.iter().any(|node| nodes.contains(*node))
                && let Some(first) = beside.first()
            {
                nodes.insert((*first).clone());
            }
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InteractionGraph;
    use hsw_types::{EdgeKind, EdgeSubject, WallTime};

    fn told(edges: &[(&str, u8)]) -> (InteractionGraph, Watch) {
        let mut graph = InteractionGraph::default();
        for (node, client) in edges {
            let subject = EdgeSubject {
                kind: EdgeKind::Client,
                peer: format!("10.0.0.{client}"),
                port: 0,
                user: String::new(),
                application: String::new(),
                database: String::new(),
            };
            let node = NodeId::new(node).unwrap();
            graph.touch(&node, &subject, 1.0, WallTime(0));
        }
        let mut watch = Watch::default();
        assert!(watch.landmark_nodes().is_empty());
        watch.follow(&graph, WallTime(0));
        (graph, watch)
    }

    #[test]
    fn four_equal_shards_have_one_agent_that_stands_for_a_landmark_and_not_none() {
        let edges: Vec<(&str, u8)> = ["a", "b", "c", "d"]
            .into_iter()
            .flat_map(|node| [(node, 1), (node, 2)])
            .collect();
        let (_, watch) = told(&edges);
        assert_eq!(watch.landmarks().len(), 1);
        assert_eq!(
            watch.landmark_nodes(),
            BTreeSet::from([NodeId::new("a").unwrap()])
        );
    }

    #[test]
    fn a_landmark_that_is_no_node_is_seen_by_one_beside_it() {
        let (graph, watch) = told(&[("a", 1), ("a", 2), ("a", 3), ("b", 3), ("c", 4), ("c", 5)]);
        let nodes = watch.landmark_nodes();
        for landmark in watch.landmarks() {
            let stands = match landmark {
                Vertex::Node(node) => nodes.contains(node),
                _ => graph.edges().any(|(id, _)| {
                    id.from == *landmark
                        && matches!(&id.to, Vertex::Node(node) if nodes.contains(node))
                }),
            };
            assert!(stands, "{}", landmark.id());
        }
        // Clients 1 and 2 of `a` are twins, as are 4 and 5 of `c`, and stay together; each of the two components keeps a landmark.
        assert!(
            nodes.contains(&NodeId::new("c").unwrap()) && nodes.len() >= 2,
            "{nodes:?}"
        );
    }
}
