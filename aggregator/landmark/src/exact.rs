//! The smallest resolving set of a small graph: least hitting set by branch and bound.
//!
//! In: distances between all vertices, at most 64 of them. Out: the smallest set found, and whether it is proved.
//! Every two vertices of a colour must be told apart by somebody: those who do are a set to be hit. Lower bound: sets that
//! share nobody, packed greedily. Limits: [`NODES_MAX`] nodes of the search.

use crate::distance::Matrix;

/// Vertices at most: a set is a word.
pub(crate) const N_MAX: usize = 64;
/// A second or so on one core.
const NODES_MAX: u64 = 400_000;

struct Search {
    sets: Vec<u64>,
    best: u64,
    nodes: u64,
}

/// The smallest set, from `known` down; `true` when it is proved to be the smallest.
pub(crate) fn smallest(all: &Matrix, colours: Option<&[u32]>, known: &[u32]) -> (Vec<u32>, bool) {
    let n = all.n_columns();
    let colour = |v: usize| colours.and_then(|c| c.get(v)).copied();
    let mut sets = Vec::new();
    for x in 0..n {
        for y in 0..x {
            if colour(x) == colour(y) {
                let (a, b) = (all.row(x as u32), all.row(y as u32));
                let tell = (0..n).filter(|s| a[*s] != b[*s]);
                sets.push(tell.fold(0_u64, |set, s| set | 1 << s));
            }
        }
    }
    // A set that holds a smaller one is hit with it.
    sets.sort_by_key(|set| (set.count_ones(), *set));
    sets.dedup();
    let mut least: Vec<u64> = Vec::new();
    for set in sets {
        if least.iter().all(|small| small & set != *small) {
            least.push(set);
        }
    }
    let mut search = Search {
        sets: least,
        best: known.iter().fold(0, |set, v| set | 1 << v),
        nodes: 0,
    };
    search.descend(0, 0);
    let found = (0..n as u32)
        .filter(|v| search.best >> v & 1 == 1)
        .collect();
    (found, search.nodes < NODES_MAX)
}

impl Search {
    fn descend(&mut self, chosen: u64, banned: u64) {
        self.nodes += 1;
        if self.nodes >= NODES_MAX {
            return;
        }
        let n_chosen = chosen.count_ones();
        let (mut packed, mut n_packed) = (0_u64, 0);
        let mut tightest: Option<u64> = None;
        for set in self.sets.iter().filter(|set| *set & chosen == 0) {
            let open = set & !banned;
            if open == 0 {
                return;
            }
            if tightest.is_none_or(|best| open.count_ones() < best.count_ones()) {
                tightest = Some(open);
            }
            if open & packed == 0 {
                packed |= open;
                n_packed += 1;
            }
        }
        let Some(tightest) = tightest else {
            if n_chosen < self.best.count_ones() {
                self.best = chosen;
            }
            return;
        };
        if n_chosen + n_packed >= self.best.count_ones() {
            return;
        }
        let hits = |v: u32| {
            let unhit = self.sets.iter().filter(|set| *set & chosen == 0);
            unhit.filter(|set| *set >> v & 1 == 1).count()
        };
        let mut members: Vec<(usize, u32)> = (0..64)
            .filter(|v| tightest >> v & 1 == 1)
            .map(|v| (hits(v), v))
            .collect();
        members.sort_by_key(|(hits, v)| (std::cmp::Reverse(*hits), *v));
        let mut banned = banned;
        for (_, v) in members {
            self.descend(chosen | 1 << v, banned);
            banned |= 1 << v;
        }
    }
}
