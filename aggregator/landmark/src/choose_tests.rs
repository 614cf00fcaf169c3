//! Known dimensions, brute force on small graphs, faults.

use proptest::prelude::*;

use super::*;
use crate::distance::tests::{by_hand, graphs};

/// Whether every two vertices of a colour differ in their distance to some landmark; written for reading.
pub(crate) fn resolves(graph: &Topology, landmarks: &[u32], colours: Option<&[u32]>) -> bool {
    let rows: Vec<Vec<u16>> = landmarks.iter().map(|l| by_hand(graph, *l)).collect();
    let mut seen = BTreeSet::new();
    (0..graph.n()).all(|v| {
        let vector: Vec<u16> = rows.iter().map(|row| row[v]).collect();
        seen.insert((colours.map(|c| c[v]), vector))
    })
}

/// The size of the smallest resolving set, by trying all.
fn smallest(graph: &Topology, colours: Option<&[u32]>) -> usize {
    let n = graph.n();
    let sets = (0..1_u32 << n).filter(|set| {
        let members: Vec<u32> = (0..n as u32).filter(|v| set >> v & 1 == 1).collect();
        resolves(graph, &members, colours)
    });
    sets.map(|set| set.count_ones() as usize).min().unwrap()
}

fn dimension(n: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> usize {
    let graph = Topology::with_edges(n, edges);
    let choice = choose(&graph, Goal::default());
    assert!(choice.is_reached && resolves(&graph, &choice.landmarks, None));
    assert!(choice.lower_bound <= choice.landmarks.len());
    choice.landmarks.len()
}

/// Every two of `0..n` for which it holds.
fn where_(n: u32, holds: impl Fn(u32, u32) -> bool) -> Vec<(u32, u32)> {
    (0..n)
        .flat_map(|u| (0..u).map(move |v| (u, v)))
        .filter(|(u, v)| holds(*u, *v))
        .collect()
}

#[test]
fn known_families_have_their_known_dimension() {
    assert_eq!(dimension(9, (0..8).map(|v| (v, v + 1))), 1, "path");
    for n in [3, 8, 9] {
        assert_eq!(
            dimension(n as usize, (0..n).map(|v| (v, (v + 1) % n))),
            2,
            "cycle"
        );
    }
    assert_eq!(dimension(7, where_(7, |_, _| true)), 6, "clique");
    assert_eq!(dimension(8, (1..8).map(|v| (0, v))), 6, "star");
    assert_eq!(
        dimension(7, where_(7, |u, v| (u < 3) != (v < 3))),
        5,
        "complete bipartite"
    );
    // A wheel with rim n: 3 for 3 and 6, 2 for 4 and 5, then ⌊(2n + 2) / 5⌋.
    for (rim, expected) in [
        (3, 3),
        (4, 2),
        (5, 2),
        (6, 3),
        (7, 3),
        (8, 3),
        (9, 4),
        (12, 5),
    ] {
        let spokes = (1..=rim).map(|v| (0, v));
        let edges = spokes.chain((1..=rim).map(|v| (v, v % rim + 1)));
        assert_eq!(dimension(rim as usize + 1, edges), expected, "wheel {rim}");
    }
    // Hypercubes, OEIS A303735.
    for (d, expected) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5)] {
        let edges = where_(1 << d, |u, v| (u ^ v).count_ones() == 1);
        assert_eq!(dimension(1 << d, edges), expected, "hypercube {d}");
    }
    // Rook's graphs: ⌊(4n − 2) / 3⌋.
    for (n, expected) in [(2, 2), (3, 3), (4, 4), (5, 6), (6, 7), (7, 8)] {
        let edges = where_(n * n, |u, v| (u / n == v / n) != (u % n == v % n));
        assert_eq!(dimension((n * n) as usize, edges), expected, "rook {n}");
    }
    let grid = where_(48, |u, v| {
        (u / 8).abs_diff(v / 8) + (u % 8).abs_diff(v % 8) == 1
    });
    assert_eq!(dimension(48, grid), 2, "grid");
    let petersen = (0..5).flat_map(|v| [(v, (v + 1) % 5), (v, v + 5), (v + 5, (v + 2) % 5 + 5)]);
    assert_eq!(dimension(10, petersen), 3, "Petersen");
}

#[test]
fn a_sharded_cluster_needs_its_twins_and_with_colours_hardly_anything() {
    // A router, shards, two replicas each: the replicas of a shard are twins.
    let shards = 30;
    let edges = (1..=shards).flat_map(|s| [(0, s), (s, shards + 2 * s - 1), (s, shards + 2 * s)]);
    let n = 1 + 3 * shards as usize;
    let graph = Topology::with_edges(n, edges);
    let plain = choose(&graph, Goal::default());
    assert_eq!((plain.landmarks.len(), plain.lower_bound), (30, 30));
    let colours: Vec<u32> = (0..n as u32)
        .map(|v| if v <= shards { v } else { 1_000 + v })
        .collect();
    let goal = Goal {
        colours: Some(&colours),
        ..Goal::default()
    };
    let coloured = choose(&graph, goal);
    assert_eq!((coloured.landmarks.len(), coloured.n_classes), (0, n));
}

#[test]
fn a_large_graph_is_resolved_in_part_by_a_sample_and_always_the_same() {
    // Preferential attachment by the ends of earlier edges.
    let mut ends = vec![0, 1];
    let mut state = 7_u64;
    for v in 2..12_000_u32 {
        for _ in 0..3 {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            let other = ends[((state >> 33) % ends.len() as u64) as usize];
            ends.extend([v, other]);
        }
    }
    let graph = Topology::with_edges(12_000, ends.chunks_exact(2).map(|two| (two[0], two[1])));
    let goal = Goal {
        target: 0.99,
        ..Goal::default()
    };
    let choice = choose(&graph, goal);
    assert!(choice.is_reached && choice.n_alone >= 11_880);
    assert!(choice.landmarks.len() < 150, "{}", choice.landmarks.len());
    assert_eq!(choice, choose(&graph, goal));
}

proptest! {
    #[test]
    fn prop_small_graphs_get_the_smallest_set(graph in graphs(9), colours in prop::option::of(prop::collection::vec(0..3_u32, 9))) {
        let goal = Goal { colours: colours.as_deref(), ..Goal::default() };
        let choice = choose(&graph, goal);
        prop_assert!(resolves(&graph, &choice.landmarks, goal.colours));
        let optimum = smallest(&graph, goal.colours);
        prop_assert_eq!(choice.landmarks.len(), optimum);
        prop_assert_eq!(choice.lower_bound, optimum);
    }

    #[test]
    fn prop_larger_graphs_are_resolved_and_the_bound_is_below(graph in graphs(150)) {
        let choice = choose(&graph, Goal::default());
        prop_assert!(choice.is_reached && resolves(&graph, &choice.landmarks, None));
        prop_assert!(choice.lower_bound <= choice.landmarks.len());
    }

    #[test]
    fn prop_no_single_loss_harms_a_fault_tolerant_set(graph in graphs(40)) {
        let choice = choose(&graph, Goal { is_fault_tolerant: true, ..Goal::default() });
        prop_assert!(resolves(&graph, &choice.landmarks, None));
        for lost in &choice.landmarks {
            let rest: Vec<u32> = choice.landmarks.iter().copied().filter(|l| l != lost).collect();
            prop_assert!(resolves(&graph, &rest, None), "without {}", lost);
        }
    }

    #[test]
    fn prop_greedy_with_patience_is_greedy_that_looks_at_everybody(graph in graphs(40)) {
        let n = graph.n();
        let sources: Vec<u32> = (0..n as u32).collect();
        let all = Matrix::of(&graph, &sources);
        let found = greedy(&all, &mut Classes::new(n, None), n, &[]);
        let (mut classes, mut counts, mut expected) = (Classes::new(n, None), Counts::new(), Vec::new());
        while !classes.is_resolved() {
            let gains = sources.iter().map(|c| (classes.gain(|v| all.row(v)[*c as usize], &mut counts), Reverse(*c)));
            let Some((_, Reverse(best))) = gains.max() else { break };
            classes.split(|v| all.row(v)[best as usize]);
            expected.push(best);
        }
        prop_assert_eq!(found, expected);
    }
}
