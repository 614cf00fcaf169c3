//! The set kept at its aim: landmarks added where vertices meet, taken out where nobody needs them.
//!
//! In: a graph whose distances are exact. Out: a set that reaches its [`Aim`](super::Aim). Invariants: TR-2, see `tracked`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Kept, Tracked};
use crate::distance::Matrix;
use crate::improve::hash;

/// Candidates looked at per landmark added.
const CANDIDATES: usize = 16;
/// Entries of the matrix per event between two prunes, which look at each a few times.
const PRUNE_WORK: usize = 2_000;

impl Tracked {
    /// Whether the aim is reached.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        let (alone, all) = (self.buckets.n_alone(), self.buckets.n_members());
        alone >= self.n_needed(all) && self.spares.as_ref().is_none_or(|s| s.n_shared() == 0)
    }

    /// Share of vertices to be told apart.
    pub(super) fn target(&self) -> f64 {
        if self.aim.is_fault_tolerant {
            1.0
        } else {
            self.aim.target.clamp(0.0, 1.0)
        }
    }

    fn n_needed(&self, n: usize) -> usize {
        (n as f64 * self.target()).ceil() as usize
    }

    /// Adds landmarks until the aim is reached; how many. A member of a class tells itself from the others, whichever landmark is lost, so
    /// it ends.
    pub fn repair(&mut self) -> usize {
        let mut n_added = 0;
        while self.buckets.n_alone() < self.n_needed(self.buckets.n_members()) {
            let mut candidates: Vec<u32> = Vec::new();
            let in_classes = self
                .buckets
                .together()
                .flat_map(|s| self.buckets.members(s).into_iter().take(4));
            for v in in_classes.take(CANDIDATES) {
                candidates.push(v);
                // Neighbours tell whole classes apart where a member only tells itself.
                candidates.extend(self.graph.neighbours(v).iter().take(2));
            }
            candidates.extend(self.between_twins());
            candidates.sort_unstable();
            candidates.dedup();
            candidates.retain(|v| !self.is_landmark[*v as usize]);
            let matrix = Matrix::of(&self.graph, &candidates);
            let own: Vec<u16> = candidates.iter().map(|v| self.own_distance(*v)).collect();
            let told = |at: usize| -> usize {
                let classes = self.buckets.together().take(64);
                let parts = classes.map(|signature| {
                    let distance = |v: u32| {
                        let is_own = v == candidates[at];
                        if is_own { own[at] } else { matrix.row(v)[at] }
                    };
                    let members = self.buckets.members(signature);
                    let mut seen: Vec<u16> = members.iter().map(|v| distance(*v)).collect();
                    seen.sort_unstable();
                    seen.dedup();
                    seen.len() - 1
                });
                parts.sum()
            };
            let best = (0..candidates.len()).max_by_key(|at| (told(*at), Reverse(candidates[*at])));
            let Some(best) = best else { break };
            self.add_landmark(candidates[best]);
            n_added += 1;
        }
        while let Some(landmark) = self.anchor() {
            self.add_landmark(landmark);
            n_added += 1;
        }
        while let Some(landmark) = self.best_spare() {
            self.add_landmark(landmark);
            n_added += 1;
        }
        n_added
    }

    /// The candidate that tells most of those apart which are not when some landmark is lost; `None` where there are none.
    fn best_spare(&self) -> Option<u32> {
        let classes = self.spares.as_ref()?.together(64);
        let mut candidates: Vec<u32> = Vec::new();
        for (_, members) in classes.iter().take(CANDIDATES) {
            for v in members.iter().take(2) {
                candidates.push(*v);
                candidates.extend(self.graph.neighbours(*v).iter().take(2));
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|v| !self.landmarks.contains(v));
        let matrix = Matrix::of(&self.graph, &candidates);
        let told = |at: usize| -> usize {
            let parts = classes.iter().map(|(_, members)| {
                let distances = members.iter().map(|v| matrix.row(*v)[at]);
                distances.collect::<BTreeSet<u16>>().len() - 1
            });
            parts.sum()
        };
        let best = (0..candidates.len()).max_by_key(|at| (told(*at), Reverse(candidates[*at])));
        best.map(|at| candidates[at])
    }

    /// Takes out landmarks that nobody needs, the newest first; how many. O(k · n log n), where losses are to be survived k times that.
    pub fn prune(&mut self) -> usize {
        let mut n_gone = 0;
        for at in (0..self.landmarks.len()).rev() {
            if self.can_do_without(at) {
                self.drop_landmark(at);
                n_gone += 1;
            }
        }
        n_gone
    }

    fn can_do_without(&self, at: usize) -> bool {
        let landmark = self.landmarks[at];
        if self.twins.is_some() && self.is_anchor(at) {
            return false;
        }
        let hashes = |at: usize, v: u32| hash(self.landmarks[at], self.matrix.row(v)[at]);
        let mut parts: Vec<u32> = (0..self.graph.n() as u32)
            .filter(|v| self.seated[*v as usize])
            .collect();
        if !self.seated[landmark as usize] && self.own_distance(landmark) == 0 {
            // All its twins are landmarks: it would be the one that stands for them.
            parts.push(landmark);
        }
        let rest = |v: &u32| self.signatures[*v as usize] ^ hashes(at, *v);
        if self.n_needed(parts.len()) == parts.len() {
            if !are_apart(parts.iter().map(rest), parts.len()) {
                return false;
            }
        } else {
            let mut rests: Vec<u128> = parts.iter().map(rest).collect();
            rests.sort_unstable();
            let alone = rests.chunk_by(|a, b| a == b).filter(|same| same.len() == 1);
            if alone.count() < self.n_needed(parts.len()) {
                return false;
            }
        }
        if self.spares.is_none() {
            return true;
        }
        let others = (0..self.landmarks.len()).filter(|other| *other != at);
        others.into_iter().all(|other| {
            let rests = parts.iter().map(|v| rest(v) ^ hashes(other, *v));
            are_apart(rests, parts.len())
        })
    }

    /// What is due after an event: repairs; prunes when repairs have made the set a twentieth larger, or when enough events have
    /// passed that their cost is small beside that of the events.
    pub fn keep(&mut self) -> Kept {
        let n_added = self.repair();
        self.n_since += 1;
        let has_grown = n_added > 0 && self.landmarks.len() > self.baseline + self.baseline / 20;
        let tests = if self.spares.is_some() {
            self.landmarks.len().max(1)
        } else {
            1
        };
        let pause = self.graph.n() * self.landmarks.len() * tests / PRUNE_WORK;
        let mut n_pruned = 0;
        if has_grown || self.n_since >= pause {
            n_pruned = self.prune();
            self.baseline = self.landmarks.len();
            self.n_since = 0;
        }
        Kept { n_added, n_pruned }
    }

    /// Whether distances, signatures and classes are those of a start from scratch: for tests and for those who want to be sure.
    #[must_use]
    pub fn is_true(&self) -> bool {
        let fresh = Matrix::of(&self.graph, &self.landmarks);
        let n = self.graph.n() as u32;
        let rows = (0..n).all(|v| fresh.row(v) == self.matrix.row(v));
        let mut by_vector: BTreeMap<(u32, &[u16]), usize> = BTreeMap::new();
        for v in (0..n).filter(|v| self.seated[*v as usize]) {
            *by_vector.entry((self.colour(v), fresh.row(v))).or_insert(0) += 1;
        }
        let signed = (0..n)
            .filter(|v| self.seated[*v as usize])
            .all(|v| self.signatures[v as usize] == self.signature(v));
        let n_parts: usize = by_vector.values().sum();
        let n_together = by_vector.values().filter(|n| **n > 1).count();
        rows && signed
            && n_together == self.buckets.together().count()
            && by_vector.len() == self.buckets.n_classes()
            && n_parts == self.buckets.n_members()
            && self.spares_are_true()
    }

    /// Whether what would share a vector without each landmark is what a start from scratch says.
    fn spares_are_true(&self) -> bool {
        let Some(spares) = &self.spares else {
            return true;
        };
        let mut n_shared = 0;
        for at in 0..self.landmarks.len() {
            let mut by_rest: BTreeMap<(u32, Vec<u16>), usize> = BTreeMap::new();
            for v in (0..self.graph.n() as u32).filter(|v| self.seated[*v as usize]) {
                let mut rest = self.matrix.row(v).to_vec();
                rest.remove(at);
                *by_rest.entry((self.colour(v), rest)).or_insert(0) += 1;
            }
            n_shared += by_rest.values().filter(|n| **n > 1).count();
        }
        n_shared == spares.n_shared()
    }
}

/// Whether `n` signatures are all different; stops at the first two that are not.
pub(crate) fn are_apart(signatures: impl Iterator<Item = u128>, n: usize) -> bool {
    let mask = (2 * n.max(1)).next_power_of_two() - 1;
    // Open addressing; a signature of zero counts as one.
    let mut table = vec![0_u128; mask + 1];
    for signature in signatures.map(|signature| signature.max(1)) {
        let mut at = signature as usize & mask;
        while table[at] != 0 {
            if table[at] == signature {
                return false;
            }
            at = (at + 1) & mask;
        }
        table[at] = signature;
    }
    true
}
