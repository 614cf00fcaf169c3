//! A graph that may leave the house: vertices in groups of twins, so that nobody can be told from their group.
//!
//! In: a graph, k and ℓ. Out: groups of at least k + ℓ, and how often members of two groups are neighbours.
//! Invariants: EX-1 in the published graph (members of two groups are all neighbours or none) members of a group are twins:
//! whoever ℓ attackers are, everybody else shares their distances with at least k − 1 others. No audit can find less than k.
//! What is lost: who within a group has which edge; the share of pairs that have one is published instead.
//! Source: ALGORITHMS section 7.6 (quotient export); twins: Hernando et al. 2010.

use std::collections::BTreeMap;

use crate::topology::Topology;

/// A published graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Group of each vertex.
    pub group_of: Vec<u32>,
    /// Members of each group.
    pub groups: Vec<Vec<u32>>,
    /// Pairs of groups (the lesser first; a group with itself) with an edge between them, and the share of pairs of members that
    /// have one.
    pub edges: Vec<(u32, u32, f64)>,
}

/// Groups vertices of like colours and neighbours; none where there are fewer than k + ℓ. O(edges · log).
#[must_use]
pub fn export(
    graph: &Topology,
    colours: Option<&[u32]>,
    k: usize,
    n_attackers: usize,
) -> Option<Export> {
    let n = graph.n();
    let size = (k + n_attackers).max(1);
    if n < size {
        return None;
    }
    let colour = |v: u32| colours.and_then(|c| c.get(v as usize)).copied();
    // Twins have equal keys; those who share their first neighbours lie beside each other.
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by_cached_key(|v| {
        (
            colour(*v),
            graph.neighbours(*v).len() == 1,
            graph.neighbours(*v).to_vec(),
            *v,
        )
    });
    let n_groups = n / size;
    let mut groups: Vec<Vec<u32>> = order
        .chunks(size)
        .take(n_groups)
        .map(<[u32]>::to_vec)
        .collect();
    if let Some(last) = groups.last_mut() {
        last.extend(&order[n_groups * size..]);
    }
    let mut group_of = vec![0; n];
    for (number, group) in groups.iter().enumerate() {
        for v in group {
            group_of[*v as usize] = number as u32;
        }
    }
    let mut n_between: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for u in 0..n as u32 {
        for v in graph.neighbours(u).iter().filter(|v| u < **v) {
            let (a, b) = (group_of[u as usize], group_of[*v as usize]);
            *n_between.entry((a.min(b), a.max(b))).or_insert(0) += 1;
        }
    }
    let share = |((a, b), n): ((u32, u32), usize)| {
        let (x, y) = (groups[a as usize].len(), groups[b as usize].len());
        let pairs = if a == b { x * (x - 1) / 2 } else { x * y };
        (a, b, n as f64 / pairs as f64)
    };
    Some(Export {
        edges: n_between.into_iter().map(share).collect(),
        group_of,
        groups,
    })
}

impl Export {
    /// The graph as it is published: members of two groups with an edge between them are all neighbours.
    #[must_use]
    pub fn published(&self) -> Topology {
        let pairs = self.edges.iter().flat_map(|(a, b, _)| {
            let (a, b) = (&self.groups[*a as usize], &self.groups[*b as usize]);
            a.iter().flat_map(move |u| b.iter().map(move |v| (*u, *v)))
        });
        Topology::with_edges(self.group_of.len(), pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{exposure_to_many, exposure_to_one, exposure_to_two};
    use crate::distance::Matrix;
    use crate::distance::tests::graphs;
    use proptest::prelude::*;

    #[test]
    fn equal_shards_are_one_group_and_lose_nothing() {
        // Three routers, each of which asks nine shards.
        let edges = (0..3).flat_map(|router| (3..12).map(move |shard| (router, shard)));
        let graph = Topology::with_edges(12, edges);
        assert_eq!(export(&graph, None, 8, 5), None);
        let colours: Vec<u32> = (0..12).map(|v| u32::from(v < 3)).collect();
        let export = export(&graph, Some(&colours), 2, 1).unwrap();
        assert!(export.groups.iter().all(|group| group.len() == 3));
        assert!(export.edges.len() == 3 && export.edges.iter().all(|edge| edge.2 == 1.0));
        assert_eq!(export.published(), graph);
    }

    proptest! {
        #[test]
        fn prop_no_audit_finds_a_crowd_below_k(graph in graphs(30), k in 1..5_usize, n_attackers in 1..4_usize) {
            let Some(export) = export(&graph, None, k, n_attackers) else {
                prop_assert!(graph.n() < k + n_attackers);
                return Ok(());
            };
            let published = export.published();
            let sources: Vec<u32> = (0..published.n() as u32).collect();
            let all = Matrix::of(&published, &sources);
            prop_assert!(exposure_to_one(&all).least_class >= k);
            if n_attackers >= 2 {
                let two = exposure_to_two(&all, 0..published.n() as u32);
                prop_assert!(two.least_class >= k && two.worst_rate <= 1.0 / k as f64 + 1e-12);
            }
            prop_assert!(exposure_to_many(&all, n_attackers, 5).least_class >= k);
            for u in 0..graph.n() as u32 {
                for v in graph.neighbours(u) {
                    prop_assert!(published.neighbours(u).contains(v), "no edge is hidden");
                }
            }
        }
    }
}
