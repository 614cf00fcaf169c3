//! What a classifier is told of a vertex: the graph features that the seed ranks highest, bounded in cost.
//!
//! In: the graph, distances to its landmarks, latencies of edges, what changed. Out: one row of named columns for each vertex.
//! Limits: betweenness from at most `n_sources` vertices; clustering over at most [`N_NEIGHBOURS`] neighbours.
//! Cost: O(n · landmarks + sources · edges + n · neighbours²). Source: Brandes, Pich: Centrality estimation in large networks, Int. J.
//! Bifurcation Chaos 17, 2007 (pivots); Watts, Strogatz 1998 (clustering); ALGORITHMS sections 7.5 and 7.7.

use hsw_landmark::{FAR, Matrix, Topology};

/// Neighbours looked at for clustering: pairs grow with their square.
pub const N_NEIGHBOURS: usize = 64;

/// Columns of a vertex.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Features {
    /// Share of its distances to landmarks that changed in a look, in the mean of late; as told.
    pub metric_change_rate: f64,
    /// Variance of its distances to the landmarks that a way leads to, hops².
    pub distance_variance: f64,
    /// The longest of these, hops.
    pub landmark_eccentricity_max: f64,
    /// Shortest ways through it over all pairs, 0 to 1; estimated from the sources.
    pub betweenness: f64,
    /// Share of the landmarks that a way leads to.
    pub coverage: f64,
    /// Variance of the latencies of its edges, ms²; 0 with less than two.
    pub latency_variance: f64,
    /// Share of pairs of its neighbours that are neighbours.
    pub clustering: f64,
    /// Neighbours.
    pub degree: f64,
    /// Its edges that nothing explains; as told.
    pub n_unexpected: f64,
}

/// What the graph does not say.
pub struct Told<'a> {
    /// Of a vertex: [`Features::metric_change_rate`].
    pub change_rate: &'a dyn Fn(u32) -> f64,
    /// Of an edge: milliseconds, where known.
    pub latency_ms: &'a dyn Fn(u32, u32) -> Option<f64>,
    /// Of a vertex: [`Features::n_unexpected`].
    pub n_unexpected: &'a dyn Fn(u32) -> usize,
}

/// Rows of all vertices, by number. Sources are spread evenly over the numbers; with `n_sources` ≥ n betweenness is exact.
#[must_use]
pub fn features(
    graph: &Topology,
    distances: &Matrix,
    n_sources: usize,
    told: &Told<'_>,
) -> Vec<Features> {
    let n = graph.n();
    let between = betweenness(graph, n_sources);
    let row = |v: u32| {
        let ways: Vec<f64> = distances
            .row(v)
            .iter()
            .filter(|d| **d != FAR)
            .map(|d| f64::from(*d))
            .collect();
        let neighbours = graph.neighbours(v);
        let latencies: Vec<f64> = neighbours
            .iter()
            .filter_map(|w| (told.latency_ms)(v, *w))
            .collect();
        Features {
            metric_change_rate: (told.change_rate)(v),
            distance_variance: variance(&ways),
            landmark_eccentricity_max: ways.iter().copied().fold(0.0, f64::max),
            betweenness: between[v as usize],
            coverage: ways.len() as f64 / distances.n_columns().max(1) as f64,
            latency_variance: variance(&latencies),
            clustering: clustering(graph, v),
            degree: neighbours.len() as f64,
            n_unexpected: (told.n_unexpected)(v) as f64,
        }
    };
    (0..n as u32).map(row).collect()
}

/// About the mean, of all there are.
fn variance(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n
}

fn clustering(graph: &Topology, v: u32) -> f64 {
    let all = graph.neighbours(v);
    // Spread over the list, so that low numbers are not preferred.
    let step = all.len().div_ceil(N_NEIGHBOURS).max(1);
    let some: Vec<u32> = all.iter().copied().step_by(step).collect();
    let n_pairs = some.len() * some.len().saturating_sub(1) / 2;
    let mut n_joined = 0;
    for (at, u) in some.iter().enumerate() {
        let list = graph.neighbours(*u);
        n_joined += some[at + 1..]
            .iter()
            .filter(|w| list.binary_search(w).is_ok())
            .count();
    }
    n_joined as f64 / n_pairs.max(1) as f64
}

/// Brandes' accumulation from evenly spread sources, scaled to all of them, over the pairs of others.
fn betweenness(graph: &Topology, n_sources: usize) -> Vec<f64> {
    let n = graph.n();
    let step = n.div_ceil(n_sources.clamp(1, n.max(1))).max(1);
    let mut sum = vec![0.0; n];
    let sources: Vec<u32> = (0..n as u32).step_by(step).collect();
    for source in &sources {
        accumulate(graph, *source, &mut sum);
    }
    let pairs = n.saturating_sub(1) * n.saturating_sub(2);
    let scale = n as f64 / (sources.len().max(1) * pairs.max(1)) as f64;
    sum.into_iter().map(|x| x * scale).collect()
}

/// Adds each vertex's dependency on ways from this source.
fn accumulate(graph: &Topology, source: u32, sum: &mut [f64]) {
    let n = graph.n();
    let (mut hops, mut ways, mut dependency) = (vec![u32::MAX; n], vec![0.0; n], vec![0.0; n]);
    let mut order = vec![source];
    (hops[source as usize], ways[source as usize]) = (0, 1.0);
    let mut at = 0;
    while at < order.len() {
        let v = order[at] as usize;
        at += 1;
        for w in graph.neighbours(v as u32) {
            let w = *w as usize;
            if hops[w] == u32::MAX {
                hops[w] = hops[v] + 1;
                order.push(w as u32);
            }
            if hops[w] == hops[v] + 1 {
                ways[w] += ways[v];
            }
        }
    }
    for w in order.iter().skip(1).rev() {
        let w = *w as usize;
        for v in graph.neighbours(w as u32) {
            let v = *v as usize;
            if hops[v] + 1 == hops[w] {
                dependency[v] += ways[v] / ways[w] * (1.0 + dependency[w]);
            }
        }
        sum[w] += dependency[w];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTHING: Told<'static> = Told {
        change_rate: &|_| 0.25,
        latency_ms: &|_, w| Some(f64::from(w)),
        n_unexpected: &|v| v as usize,
    };

    /// Ways between all pairs by matrices: walks of the length of the shortest way.
    fn betweenness_by_hand(graph: &Topology) -> Vec<f64> {
        let n = graph.n();
        let sources: Vec<u32> = (0..n as u32).collect();
        let hops = Matrix::of(graph, &sources);
        let d = |u: usize, v: usize| hops.row(u as u32)[v];
        // Shortest ways from s, counted level by level.
        let count = |s: usize| {
            let mut ways = vec![0.0; n];
            ways[s] = 1.0;
            for level in 1..n as u16 {
                for v in (0..n).filter(|v| d(s, *v) == level) {
                    let before = graph
                        .neighbours(v as u32)
                        .iter()
                        .filter(|w| d(s, **w as usize) + 1 == level);
                    ways[v] = before.map(|w| ways[*w as usize]).sum();
                }
            }
            ways
        };
        let all: Vec<Vec<f64>> = (0..n).map(count).collect();
        let through = |v: usize| {
            let mut sum = 0.0;
            for s in (0..n).filter(|s| *s != v) {
                for t in (0..n).filter(|t| *t != v && *t != s && d(s, *t) != FAR) {
                    let is_on = d(s, v) != FAR && d(v, t) != FAR && d(s, v) + d(v, t) == d(s, t);
                    sum += if is_on {
                        all[s][v] * all[v][t] / all[s][t]
                    } else {
                        0.0
                    };
                }
            }
            sum / ((n - 1) * (n - 2)).max(1) as f64
        };
        (0..n).map(through).collect()
    }

    proptest! {
        #[test]
        fn prop_features_are_those_of_a_count_by_hand(
            n in 3..12_usize,
            edges in prop::collection::vec((0..12_u32, 0..12_u32), 2..30),
        ) {
            let graph = Topology::with_edges(n, edges.iter().map(|(u, v)| (u % n as u32, v % n as u32)));
            let landmarks = [0, 1];
            let rows = features(&graph, &Matrix::of(&graph, &landmarks), n, &NOTHING);
            let between = betweenness_by_hand(&graph);
            for (v, row) in rows.iter().enumerate() {
                prop_assert!((row.betweenness - between[v]).abs() < 1e-9);
                let list = graph.neighbours(v as u32);
                let mut joined = 0;
                for a in list {
                    joined += list.iter().filter(|b| a < *b && graph.neighbours(*a).contains(b)).count();
                }
                let pairs = list.len() * list.len().saturating_sub(1) / 2;
                prop_assert!((row.clustering - joined as f64 / pairs.max(1) as f64).abs() < 1e-12);
                prop_assert!((row.degree - list.len() as f64).abs() < 1e-12);
                let mean = list.iter().map(|w| f64::from(*w)).sum::<f64>() / list.len().max(1) as f64;
                let squares = list.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>() / list.len().max(1) as f64;
                prop_assert!((row.latency_variance - (squares - mean * mean)).abs() < 1e-9);
                prop_assert!(row.coverage <= 1.0 && (row.n_unexpected - v as f64).abs() < 1e-12);
            }
        }

        #[test]
        fn prop_sampled_betweenness_is_near_the_exact_one(seed in 0..50_u32) {
            let mut x = seed;
            let edges: Vec<(u32, u32)> = (0..400)
                .map(|_| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (x >> 8 & 127, x >> 20 & 127)
                })
                .collect();
            let graph = Topology::with_edges(128, edges);
            let (all, some) = (betweenness(&graph, 128), betweenness(&graph, 32));
            let error: f64 = all.iter().zip(&some).map(|(a, b)| (a - b).abs()).sum();
            prop_assert!(error < 0.5 * all.iter().sum::<f64>());
        }
    }

    #[test]
    fn the_middle_of_a_star_lies_between_all_and_far_landmarks_are_counted_out() {
        let star = Topology::with_edges(6, (1..5).map(|v| (0, v)));
        let rows = features(&star, &Matrix::of(&star, &[1, 5]), 6, &NOTHING);
        assert!((rows[0].betweenness - 12.0 / 20.0).abs() < 1e-12);
        assert!((rows[2].coverage - 0.5).abs() < 1e-12);
        assert!((rows[2].landmark_eccentricity_max - 2.0).abs() < 1e-12);
    }
}
