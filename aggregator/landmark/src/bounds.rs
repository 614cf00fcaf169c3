//! What no resolving set can fall below: twins, and how many vectors there are.
//!
//! Source: Hernando, Mora, Pelayo, Seara, Wood: Extremal graph theory for metric dimension and diameter, Electron. J. Combin. 17,
//! 2010, §2 (twins); Khuller, Raghavachari, Rosenfeld: Landmarks in graphs, Discrete Appl. Math. 70, 1996 (n ≤ D^k + k).

use std::collections::BTreeMap;

use crate::topology::Topology;

/// Vertices that have the same neighbours, apart from each other: only they themselves tell each other apart. Classes of at
/// least two, of one colour, ascending. O(edges · log).
#[must_use]
pub fn twin_classes(graph: &Topology, colours: Option<&[u32]>) -> Vec<Vec<u32>> {
    let colour = |v: u32| colours.and_then(|c| c.get(v as usize)).copied();
    let (mut open, mut closed) = (BTreeMap::new(), BTreeMap::new());
    for v in 0..graph.n() as u32 {
        let list = graph.neighbours(v).to_vec();
        let mut with_self = list.clone();
        with_self.insert(list.partition_point(|w| *w < v), v);
        let both = [(&mut open, list), (&mut closed, with_self)];
        for (classes, key) in both {
            let class: &mut Vec<u32> = classes.entry((colour(v), key)).or_default();
            class.push(v);
        }
    }
    // Nobody is a twin in both ways: neighbours are not each other's open twins.
    let mut classes: Vec<Vec<u32>> = open.into_values().chain(closed.into_values()).collect();
    classes.retain(|class| class.len() > 1);
    classes.sort();
    classes
}

/// Landmarks that twins force: all but one of each class.
#[must_use]
pub fn twin_bound(classes: &[Vec<u32>]) -> usize {
    classes.iter().map(|class| class.len() - 1).sum()
}

/// Landmarks needed to tell `n` vertices apart where a distance has `n_values` values besides 0: the least k with
/// k + `n_values`^k ≥ n.
#[must_use]
pub fn diameter_bound(n: usize, n_values: usize) -> usize {
    let (mut k, mut vectors) = (0, 1_usize);
    while k + vectors < n {
        k += 1;
        vectors = vectors.saturating_mul(n_values);
        if n_values < 2 {
            return n.saturating_sub(1);
        }
    }
    k
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_of_a_star_and_members_of_a_clique_are_twins() {
        let star = Topology::with_edges(6, (1..6).map(|leaf| (0, leaf)));
        assert_eq!(twin_classes(&star, None), [vec![1, 2, 3, 4, 5]]);
        assert_eq!(twin_bound(&twin_classes(&star, None)), 4);
        let clique = Topology::with_edges(4, (0..4).flat_map(|u| (0..u).map(move |v| (u, v))));
        assert_eq!(twin_bound(&twin_classes(&clique, None)), 3);
        assert_eq!(twin_bound(&twin_classes(&clique, Some(&[0, 0, 1, 1]))), 2);
    }

    #[test]
    fn so_many_vectors_tell_so_many_vertices_apart() {
        assert_eq!(diameter_bound(1, 1), 0);
        assert_eq!(diameter_bound(2, 1), 1);
        assert_eq!(diameter_bound(5, 1), 4);
        // Petersen's graph: 10 ≤ 2^3 + 3.
        assert_eq!(diameter_bound(10, 2), 3);
        assert_eq!(diameter_bound(700, 699), 1);
    }
}
