//! What a published graph gives away: how small a crowd an attacker who holds a few of its vertices can narrow others down to.
//!
//! In: distances between all vertices. Out: (k, ℓ)-anonymity and re-identification rates, exact for ℓ ≤ 2, greedy beyond;
//! sets that tell nobody apart (k-antiresolving), by closure.
//! Source: Trujillo-Rasua, Yero: k-metric antidimension, Inf. Sci. 328, 2016 ((k, ℓ)-anonymity: the least class over all sets
//! of at most ℓ attackers); ALGORITHMS section 7.6 (closures; the rate is classes over vertices, since Σ 1/|class(v)| counts classes).

use crate::distance::Matrix;

/// What attackers of one number can do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exposure {
    /// The least crowd anybody is left in.
    pub least_class: usize,
    /// The attackers who do that; the first found in ascending order.
    pub attackers: Vec<u32>,
    /// Share of the others who are named rightly by guessing within their class: at worst …
    pub worst_rate: f64,
    /// … and on average over all sets of attackers.
    pub mean_rate: f64,
    /// Sets looked at.
    pub n_sets: u64,
}

impl Exposure {
    fn none() -> Self {
        Self {
            least_class: usize::MAX,
            ..Self::default()
        }
    }

    /// Takes one more set: its least class, its number of classes, how many are not attackers.
    fn take(&mut self, attackers: &[u32], least: usize, n_classes: usize, n_others: usize) {
        let rate = n_classes as f64 / n_others.max(1) as f64;
        self.n_sets += 1;
        self.mean_rate += rate;
        self.worst_rate = self.worst_rate.max(rate);
        if least < self.least_class {
            self.least_class = least;
            self.attackers = attackers.to_vec();
        }
    }

    /// Joins what others have found of sets further on.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if other.least_class < self.least_class {
            (self.least_class, self.attackers) = (other.least_class, other.attackers);
        }
        self.worst_rate = self.worst_rate.max(other.worst_rate);
        self.mean_rate += other.mean_rate;
        self.n_sets += other.n_sets;
        self
    }

    /// The mean of sums.
    #[must_use]
    pub fn finished(mut self) -> Self {
        self.mean_rate /= self.n_sets.max(1) as f64;
        self
    }
}

/// How many vertices lie at each pair of distances; emptied by what was used.
struct Crowd {
    n: Vec<u32>,
    used: Vec<u32>,
    width: usize,
}

impl Crowd {
    fn new(all: &Matrix) -> Self {
        let width = usize::from(all.longest()) + 2;
        Self {
            n: vec![0; width * width],
            used: Vec::new(),
            width,
        }
    }

    /// Least class and number of classes among those who are no attackers.
    fn look(&mut self, first: &[u16], second: Option<&[u16]>) -> (usize, usize) {
        // No way at all is one more distance.
        let far = self.width - 1;
        for (v, a) in first.iter().enumerate() {
            let b = second.map_or(1, |second| second[v]);
            // Attackers know themselves.
            if *a == 0 || b == 0 {
                continue;
            }
            let (a, b) = (usize::from(*a).min(far), usize::from(b).min(far));
            let at = a * self.width + b;
            let cell = &mut self.n[at];
            if *cell == 0 {
                self.used.push(at as u32);
            }
            *cell += 1;
        }
        let n_classes = self.used.len();
        let mut least = usize::MAX;
        for at in self.used.drain(..) {
            least = least.min(std::mem::take(&mut self.n[at as usize]) as usize);
        }
        (least, n_classes)
    }
}

/// One attacker, whoever it is. O(n²).
#[must_use]
pub fn exposure_to_one(all: &Matrix) -> Exposure {
    let n = all.n_columns();
    let mut crowd = Crowd::new(all);
    let mut found = Exposure::none();
    for s in 0..n as u32 {
        let (least, n_classes) = crowd.look(all.row(s), None);
        if n > 1 {
            found.take(&[s], least, n_classes, n - 1);
        }
    }
    found
}

/// Two attackers, the first of them one of `firsts`, the second after it: parts of the work that can be shared among threads and
/// [joined](Exposure::and) in order. O(|firsts| · n²).
#[must_use]
pub fn exposure_to_two(all: &Matrix, firsts: std::ops::Range<u32>) -> Exposure {
    let n = all.n_columns() as u32;
    let mut crowd = Crowd::new(all);
    let mut found = Exposure::none();
    for s in firsts {
        for t in s + 1..n {
            let (least, n_classes) = crowd.look(all.row(s), Some(all.row(t)));
            if n > 2 {
                found.take(&[s, t], least, n_classes, n as usize - 2);
            }
        }
    }
    found
}

/// A crowd no larger than which so many attackers can find, greedily: from each of the `n_starts` first attackers that leave
/// the least classes, the one is added that leaves the least. O(starts · ℓ · n²).
#[must_use]
pub fn exposure_to_many(all: &Matrix, n_attackers: usize, n_starts: usize) -> Exposure {
    let n = all.n_columns() as u32;
    let mut crowd = Crowd::new(all);
    let mut starts: Vec<(usize, u32)> = (0..n)
        .map(|s| (crowd.look(all.row(s), None).0, s))
        .collect();
    starts.sort_unstable();
    let mut found = Exposure::none();
    for (_, start) in starts.into_iter().take(n_starts) {
        let mut attackers = vec![start];
        while attackers.len() < n_attackers.min(n as usize) {
            let next = (0..n).filter(|t| !attackers.contains(t)).min_by_key(|t| {
                let mut set = attackers.clone();
                set.push(*t);
                let (least, n_classes) = classes_of(all, &set);
                (least, usize::MAX - n_classes, *t)
            });
            let Some(next) = next else { break };
            attackers.push(next);
        }
        let (least, n_classes) = classes_of(all, &attackers);
        found.take(&attackers, least, n_classes, n as usize - attackers.len());
    }
    found.finished()
}

/// Least class and number of classes of those outside the set. O(n · |set| · log n).
fn classes_of(all: &Matrix, set: &[u32]) -> (usize, usize) {
    let mut vectors: Vec<Vec<u16>> = (0..all.n_columns() as u32)
        .filter(|v| !set.contains(v))
        .map(|v| set.iter().map(|s| all.row(v)[*s as usize]).collect())
        .collect();
    vectors.sort_unstable();
    let classes = vectors.chunk_by(|a, b| a == b).map(<[_]>::len);
    classes.fold((usize::MAX, 0), |(least, n), class| {
        (least.min(class), n + 1)
    })
}

/// The smallest set with `v` that leaves everybody outside in a crowd of at least `k`: whoever is in a smaller one must join. None
/// where all must.
#[must_use]
pub fn closure(all: &Matrix, v: u32, k: usize) -> Option<Vec<u32>> {
    let n = all.n_columns();
    let mut set = vec![v];
    let mut is_in = vec![false; n];
    is_in[v as usize] = true;
    loop {
        let mut others: Vec<(Vec<u16>, u32)> = (0..n as u32)
            .filter(|w| !is_in[*w as usize])
            .map(|w| (set.iter().map(|s| all.row(w)[*s as usize]).collect(), w))
            .collect();
        if others.is_empty() {
            return None;
        }
        others.sort_unstable();
        let small = others
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|class| class.len() < k);
        let joining: Vec<u32> = small.flatten().map(|(_, w)| *w).collect();
        if joining.is_empty() {
            set.sort_unstable();
            return Some(set);
        }
        for w in joining {
            is_in[w as usize] = true;
            set.push(w);
        }
    }
}

/// The smallest set that leaves everybody outside in a crowd of at least `k`; none where there is none. Any such set holds the closure
/// of each of its members. O(n² · closures).
#[must_use]
pub fn least_antiresolving(all: &Matrix, k: usize) -> Option<Vec<u32>> {
    let closures = (0..all.n_columns() as u32).filter_map(|v| closure(all, v, k));
    closures.min_by_key(Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::tests::graphs;
    use crate::topology::Topology;
    use proptest::prelude::*;

    fn all_of(graph: &Topology) -> Matrix {
        let sources: Vec<u32> = (0..graph.n() as u32).collect();
        Matrix::of(graph, &sources)
    }

    /// Every set of at most `n_max` attackers, looked at by hand.
    fn by_hand(all: &Matrix, n_attackers: u32) -> Exposure {
        let n = all.n_columns() as u32;
        let mut found = Exposure::none();
        for set in (1..1_u32 << n).filter(|set| set.count_ones() == n_attackers) {
            let set: Vec<u32> = (0..n).filter(|v| set >> v & 1 == 1).collect();
            let (least, n_classes) = classes_of(all, &set);
            if (set.len() as u32) < n {
                found.take(&set, least, n_classes, n as usize - set.len());
            }
        }
        found.finished()
    }

    fn petersen() -> Topology {
        let edges = (0..5).flat_map(|v| [(v, (v + 1) % 5), (v, v + 5), (v + 5, (v + 2) % 5 + 5)]);
        Topology::with_edges(10, edges)
    }

    #[test]
    fn petersens_graph_gives_away_what_is_known() {
        let all = all_of(&petersen());
        assert_eq!(exposure_to_one(&all).least_class, 3);
        assert!((exposure_to_one(&all).worst_rate - 2.0 / 9.0).abs() < 1e-12);
        assert!((exposure_to_two(&all, 0..10).worst_rate - 0.5).abs() < 1e-12);
        assert!((exposure_to_many(&all, 3, 10).worst_rate - 1.0).abs() < 1e-12);
        assert_eq!(least_antiresolving(&all, 3).map(|set| set.len()), Some(1));
    }

    #[test]
    fn closures_of_known_graphs_have_the_known_sizes() {
        let cycle = |n: u32| {
            all_of(&Topology::with_edges(
                n as usize,
                (0..n).map(|v| (v, (v + 1) % n)),
            ))
        };
        assert_eq!(
            least_antiresolving(&cycle(7), 2).map(|set| set.len()),
            Some(1)
        );
        assert_eq!(
            least_antiresolving(&cycle(8), 2).map(|set| set.len()),
            Some(2)
        );
        let star = all_of(&Topology::with_edges(8, (1..8).map(|leaf| (0, leaf))));
        assert_eq!(least_antiresolving(&star, 7).map(|set| set.len()), Some(1));
        assert_eq!(least_antiresolving(&star, 6).map(|set| set.len()), Some(1));
        assert_eq!(least_antiresolving(&star, 8), None);
    }

    proptest! {
        #[test]
        fn prop_one_and_two_attackers_are_those_of_every_set(graph in graphs(11)) {
            let all = all_of(&graph);
            let n = graph.n() as u32;
            let one = exposure_to_one(&all).finished();
            prop_assert_eq!((one.least_class, one.n_sets), (by_hand(&all, 1).least_class, by_hand(&all, 1).n_sets));
            prop_assert!((one.mean_rate - by_hand(&all, 1).mean_rate).abs() < 1e-12);
            let half = n / 2;
            let two = exposure_to_two(&all, 0..half).and(exposure_to_two(&all, half..n)).finished();
            let expected = by_hand(&all, 2);
            prop_assert_eq!(two.least_class, expected.least_class);
            prop_assert!((two.mean_rate - expected.mean_rate).abs() < 1e-12 && (two.worst_rate - expected.worst_rate).abs() < 1e-12);
        }

        #[test]
        fn prop_greedy_never_finds_less_than_there_is(graph in graphs(9)) {
            let all = all_of(&graph);
            let n_attackers = 3.min(graph.n() - 1);
            if n_attackers > 0 {
                let greedy = exposure_to_many(&all, n_attackers, 9);
                prop_assert!(greedy.least_class >= by_hand(&all, n_attackers as u32).least_class);
            }
        }

        #[test]
        fn prop_the_least_closure_is_the_least_antiresolving_set(graph in graphs(9), k in 1..5_usize) {
            let all = all_of(&graph);
            let n = graph.n() as u32;
            let sets = (1..1_u32 << n).filter(|set| {
                let set: Vec<u32> = (0..n).filter(|v| set >> v & 1 == 1).collect();
                set.len() < n as usize && classes_of(&all, &set).0 >= k
            });
            let expected = sets.map(|set| set.count_ones() as usize).min();
            prop_assert_eq!(least_antiresolving(&all, k).map(|set| set.len()), expected);
        }
    }
}
