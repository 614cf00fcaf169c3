//! Rates, latency and lag of edges that are there, from what nodes tell of sessions and of addresses. (step 9)
//!
//! In: readings of edge series. Out: [`Edge`](crate::Edge)s with them.
//! Sockets know an address and neither role nor application: the round trip of an address is that of each of its edges, its bytes are
//! shared among them by active sessions (by sessions while none is active; a replica that streams counts as one active session).
//! Invariant: TF-1 the shares of an address's edges add up to its bytes. Does not: make edges, or see who at the address sent what.

use hsw_types::{EdgeKind, EdgeSubject, NodeId, WallTime};

use crate::{EdgeId, InteractionGraph, Quantity, Vertex};

impl InteractionGraph {
    /// Takes what `node` says of an edge in the window that began at `at`; nothing where the edge is not known. A subject without role and
    /// application is an address as its sockets know it. O(log edges), and the edges of an address.
    pub fn measure(
        &mut self,
        node: &NodeId,
        subject: &EdgeSubject,
        quantity: Quantity,
        value: f64,
        at: WallTime,
    ) {
        let is_of_sockets = matches!(
            quantity,
            Quantity::RttMs | Quantity::TxBytesPerS | Quantity::RxBytesPerS
        );
        if is_of_sockets && subject.user.is_empty() && subject.application.is_empty() {
            self.attribute(node, subject, quantity, value, at);
            return;
        }
        let id = self.id(node, subject);
        if let Some(edge) = self.edges.get_mut(&id) {
            edge.tell(quantity, value, at);
        }
    }

    /// Shares an address's reading among its edges.
    fn attribute(
        &mut self,
        node: &NodeId,
        address: &EdgeSubject,
        quantity: Quantity,
        value: f64,
        at: WallTime,
    ) {
        let ids = self.at_address(node, &address.peer);
        let weights = self.weights(&ids);
        let sum: f64 = weights.iter().sum();
        for (id, weight) in ids.iter().zip(weights) {
            let share = if quantity == Quantity::RttMs {
                value
            } else if sum > 0.0 {
                value * weight / sum
            } else {
                value / ids.len() as f64
            };
            if let Some(edge) = self.edges.get_mut(id) {
                edge.tell(quantity, share, at);
            }
        }
    }

    /// Edges whose sockets end at `node` and at this address: those of its client programs, and of a replica there.
    fn at_address(&self, node: &NodeId, host: &str) -> Vec<EdgeId> {
        let own = Vertex::Node(node.clone());
        let first = EdgeId {
            from: Vertex::Client {
                host: host.to_owned(),
                application: String::new(),
            },
            to: own.clone(),
            kind: EdgeKind::Client,
        };
        let is_there =
            |vertex: &Vertex| matches!(vertex, Vertex::Client { host: at, .. } if at == host);
        let clients = self
            .edges
            .range(first..)
            .take_while(|(id, _)| is_there(&id.from));
        let clients = clients.filter(|(id, _)| id.kind == EdgeKind::Client && id.to == own);
        let mut ids: Vec<EdgeId> = clients.map(|(id, _)| id.clone()).collect();
        let replica = self.id(
            node,
            &EdgeSubject {
                kind: EdgeKind::Replication,
                peer: host.to_owned(),
                port: 0,
                user: String::new(),
                application: String::new(),
                database: String::new(),
            },
        );
        if self.edges.contains_key(&replica) {
            ids.push(replica);
        }
        ids
    }

    fn weights(&self, ids: &[EdgeId]) -> Vec<f64> {
        let edges = || {
            ids.iter()
                .filter_map(|id| Some((id.kind, self.edges.get(id)?)))
        };
        let active = edges().map(|(kind, edge)| match kind {
            EdgeKind::Replication => edge.sessions,
            _ => edge.active.unwrap_or(0.0),
        });
        let active: Vec<f64> = active.collect();
        if active.iter().sum::<f64>() > 0.0 {
            active
        } else {
            edges().map(|(_, edge)| edge.sessions).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: EdgeKind, user: &str, application: &str) -> EdgeSubject {
        EdgeSubject {
            kind,
            peer: "10.0.0.9".into(),
            port: 0,
            user: user.into(),
            application: application.into(),
            database: "shop".into(),
        }
    }

    fn told(graph: &InteractionGraph) -> Vec<(f64, Option<f64>, Option<f64>)> {
        let edges = graph.edges().map(|(_, edge)| edge);
        edges
            .map(|edge| (edge.sessions, edge.rtt_ms, edge.tx_bytes_per_s))
            .collect()
    }

    #[test]
    fn sessions_of_several_roles_are_one_sum_and_bytes_are_shared_by_who_is_active() {
        let node = NodeId::new("a").unwrap();
        let (mut graph, at) = (InteractionGraph::default(), WallTime(2_000_000));
        let web = [
            subject(EdgeKind::Client, "app", "web"),
            subject(EdgeKind::Client, "admin", "web"),
        ];
        let jobs = subject(EdgeKind::Client, "app", "jobs");
        graph.touch(&node, &web[0], 5.0, at);
        graph.touch(&node, &web[1], 2.0, at);
        graph.touch(&node, &jobs, 1.0, at);
        let socket = subject(EdgeKind::Client, "", "");
        graph.measure(&node, &socket, Quantity::TxBytesPerS, 800.0, at);
        graph.measure(&node, &socket, Quantity::RttMs, 0.5, at);
        // Edges in the order of applications: jobs, web. Nobody is active, so sessions share.
        assert_eq!(
            told(&graph),
            [(1.0, Some(0.5), Some(100.0)), (7.0, Some(0.5), Some(700.0))]
        );
        let later = WallTime(4_000_000);
        graph.measure(&node, &web[0], Quantity::Active, 1.0, later);
        graph.measure(&node, &jobs, Quantity::Active, 3.0, later);
        graph.measure(&node, &socket, Quantity::TxBytesPerS, 800.0, later);
        // One role of the application has ended; the rest is told anew, not added to what was.
        graph.touch(&node, &web[0], 4.0, later);
        graph.measure(&node, &web[1], Quantity::Sessions, 0.0, later);
        assert_eq!(
            told(&graph),
            [(1.0, Some(0.5), Some(600.0)), (4.0, Some(0.5), Some(200.0))]
        );
    }

    #[test]
    fn a_replica_takes_its_share_and_its_lag_is_the_most_of_its_host() {
        let node = NodeId::new("a").unwrap();
        let (mut graph, at) = (InteractionGraph::default(), WallTime(0));
        let client = subject(EdgeKind::Client, "app", "web");
        let replica = subject(EdgeKind::Replication, "rep", "b");
        graph.touch(&node, &client, 9.0, at);
        graph.measure(&node, &client, Quantity::Active, 3.0, at);
        graph.touch(&node, &replica, 1.0, at);
        for lag in [5.0, 70.0, 6.0] {
            graph.measure(&node, &replica, Quantity::LagBytes, lag, at);
        }
        let socket = subject(EdgeKind::Client, "", "");
        graph.measure(&node, &socket, Quantity::TxBytesPerS, 400.0, at);
        let edges: Vec<_> = graph.edges().map(|(_, edge)| edge).collect();
        assert_eq!(
            (edges[0].tx_bytes_per_s, edges[0].lag_bytes),
            (Some(100.0), Some(70.0))
        );
        assert_eq!(edges[1].tx_bytes_per_s, Some(300.0));
        // Nothing is made up for an address without an edge.
        let stranger = EdgeSubject {
            peer: "10.0.0.8".into(),
            ..socket
        };
        graph.measure(&node, &stranger, Quantity::TxBytesPerS, 400.0, at);
        assert_eq!(graph.edges().count(), 2);
    }
}
