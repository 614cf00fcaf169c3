//! Landmarks chosen: greedy by information content, then made fewer; exact where the graph is small.
//!
//! In: a graph and what is wanted. Out: landmarks, ascending, with what they achieve and a bound below.
//! Invariants: CH-1 the greedy choice is that of evaluating every candidate in every step, smallest number first: gains only
//! fall (the measure is submodular), so a candidate whose old gain is already too small need not be looked at again (Minoux 1978).
//! Limits: every vertex is a candidate up to [`ALL_MAX`] vertices; beyond it a sample per round.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::bounds::{diameter_bound, twin_bound, twin_classes};
use crate::classes::{Classes, Counts};
use crate::distance::{FAR, LANES, Matrix};
use crate::topology::{Compact, Topology};
use crate::{exact, improve};

/// Vertices of which all distances are held at once: 128 MiB.
const ALL_MAX: usize = 8_192;
/// A sampled round goes on while the best candidate gains at least this share of the round's first.
const ROUND_SHARE: f64 = 0.35;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    /// What is known of each vertex without asking: only vertices of one colour need telling apart.
    pub colours: Option<&'a [u32]>,
    /// Share of vertices that must be alone in their class, 0 to 1; 1 by default.
    pub target: f64,
    /// Whether the goal must be reached still when any one landmark is lost.
    pub is_fault_tolerant: bool,
}

impl Default for Goal<'_> {
    fn default() -> Self {
        Self {
            colours: None,
            target: 1.0,
            is_fault_tolerant: false,
        }
    }
}

/// Landmarks and what they achieve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Ascending.
    pub landmarks: Vec<u32>,
    /// No set that reaches target 1 is smaller (0 for a lower target).
    pub lower_bound: usize,
    /// Classes of vertices that the landmarks (and colours) do not tell apart.
    pub n_classes: usize,
    /// Vertices alone in their class.
    pub n_alone: usize,
    /// Whether the target is reached.
    pub is_reached: bool,
}

/// Chooses landmarks. O(n·m/64 + k·n²) at worst where every vertex is a candidate.
#[must_use]
pub fn choose(graph: &Topology, goal: Goal<'_>) -> Choice {
    let n = graph.n();
    let n_needed = (n as f64 * goal.target.clamp(0.0, 1.0)).ceil() as usize;
    let compact = graph.compact();
    let mut classes = Classes::new(n, goal.colours);
    let everything = (n <= ALL_MAX).then(|| {
        let sources: Vec<u32> = (0..n as u32).collect();
        Matrix::of_compact(&compact, &sources)
    });
    let mut landmarks = match &everything {
        Some(all) => greedy(all, &mut classes, n_needed, &[]),
        None => sampled(graph, &compact, &mut classes, n_needed),
    };
    let is_whole = n_needed >= n;
    let mut proved = None;
    if let Some(all) = everything.as_ref().filter(|_| !goal.is_fault_tolerant) {
        if is_whole {
            improve::two_for_one(all, &mut landmarks, goal.colours);
        }
        reduce(&compact, &mut landmarks, goal.colours, n_needed);
        if is_whole && n <= exact::N_MAX && n > 0 {
            let (smallest, is_proved) = exact::smallest(all, goal.colours, &landmarks);
            proved = is_proved.then_some(smallest.len());
            landmarks = smallest;
        }
    } else if everything.is_none() && n <= REDUCE_MAX {
        reduce(&compact, &mut landmarks, goal.colours, n_needed);
    }
    if goal.is_fault_tolerant {
        spare(
            graph,
            &compact,
            everything.as_ref(),
            &mut landmarks,
            goal.colours,
            n_needed,
        );
    }
    landmarks.sort_unstable();
    let matrix = Matrix::of_compact(&compact, &landmarks);
    let mut classes = Classes::new(n, goal.colours);
    for at in 0..landmarks.len() {
        classes.split(|v| matrix.row(v)[at]);
    }
    let lower_bound = if is_whole {
        proved.unwrap_or_else(|| lower_bound(graph, &matrix, goal.colours))
    } else {
        0
    };
    Choice {
        lower_bound,
        n_classes: classes.n_classes(),
        n_alone: classes.n_alone(),
        is_reached: classes.n_alone() >= n_needed,
        landmarks,
    }
}

/// Larger sets of larger graphs are not pruned: each step sorts all signatures.
const REDUCE_MAX: usize = 200_000;

fn reduce(graph: &Compact, landmarks: &mut Vec<u32>, colours: Option<&[u32]>, n_needed: usize) {
    let matrix = Matrix::of_compact(graph, landmarks);
    improve::prune(&matrix, landmarks, colours, graph.n(), n_needed);
}

/// Twins, or the number of vectors there can be: whichever is more.
fn lower_bound(graph: &Topology, matrix: &Matrix, colours: Option<&[u32]>) -> usize {
    let twins = twin_bound(&twin_classes(graph, colours));
    if matrix.n_columns() == 0 {
        return twins;
    }
    // Twice what any one vertex sees at most is no less than the diameter of its component.
    let seen = |at: usize| {
        let column = (0..graph.n() as u32).map(move |v| matrix.row(v)[at]);
        let ways = column.filter(|d| *d != FAR);
        ways.max().unwrap_or(0)
    };
    let is_connected = matrix.row(0).iter().all(|d| *d != FAR)
        && (0..graph.n() as u32).all(|v| matrix.row(v)[0] != FAR);
    let longest = (0..matrix.n_columns()).map(seen);
    let diameter = if is_connected {
        2 * usize::from(longest.min().unwrap_or(0))
    } else {
        // Another component may be longer than any that a landmark sees; one value more for "no way".
        graph.n()
    };
    let largest = match colours {
        None => graph.n(),
        Some(colours) => {
            let mut sizes = std::collections::BTreeMap::new();
            for v in 0..graph.n() {
                *sizes.entry(colours.get(v)).or_insert(0) += 1;
            }
            sizes.into_values().max().unwrap_or(0)
        }
    };
    twins.max(diameter_bound(largest, diameter.max(1)))
}

/// Greedy over all vertices but those `without`. Ties go to the smallest number.
fn greedy(all: &Matrix, classes: &mut Classes, n_needed: usize, without: &[u32]) -> Vec<u32> {
    let mut counts = Counts::new();
    let mut chosen = Vec::new();
    let mut heap: BinaryHeap<(u64, Reverse<u32>, usize)> = (0..all.n_columns() as u32)
        .filter(|v| !without.contains(v))
        .map(|v| (u64::MAX, Reverse(v), usize::MAX))
        .collect();
    while classes.n_alone() < n_needed {
        let Some((gain, Reverse(v), round)) = heap.pop() else {
            break;
        };
        // Distances go both ways: the candidate's own row is what everybody is from it.
        let row = all.row(v);
        if round == chosen.len() {
            if gain == 0 {
                break;
            }
            classes.split(|w| row[w as usize]);
            chosen.push(v);
        } else {
            let gain = classes.gain(|w| row[w as usize], &mut counts);
            heap.push((gain, Reverse(v), chosen.len()));
        }
    }
    chosen
}

/// Rounds of 64 candidates: hubs, members of the largest classes, and a sample; from each round the best few.
fn sampled(
    graph: &Topology,
    compact: &Compact,
    classes: &mut Classes,
    n_needed: usize,
) -> Vec<u32> {
    let n = graph.n() as u32;
    let mut by_degree: Vec<u32> = (0..n).collect();
    by_degree.sort_by_key(|v| (Reverse(graph.neighbours(*v).len()), *v));
    let mut hubs = by_degree.into_iter();
    let mut chosen: Vec<u32> = Vec::new();
    let mut counts = Counts::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while classes.n_alone() < n_needed {
        let mut candidates = BTreeSet::new();
        candidates.extend(hubs.by_ref().take(8));
        let mut largest: Vec<&[u32]> = classes.together().collect();
        largest.sort_by_key(|class| (Reverse(class.len()), class[0]));
        candidates.extend(largest.iter().take(24).map(|class| class[0]));
        while candidates.len() < LANES.min(graph.n()) {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            candidates.insert(((state >> 33) % u64::from(n)) as u32);
        }
        let candidates: Vec<u32> = candidates.into_iter().take(LANES).collect();
        let matrix = Matrix::of_compact(compact, &candidates);
        let mut first = None;
        let mut left: Vec<usize> = (0..candidates.len()).collect();
        while classes.n_alone() < n_needed {
            let gains = left.iter().map(|at| {
                (
                    classes.gain(|v| matrix.row(v)[*at], &mut counts),
                    Reverse(candidates[*at]),
                    *at,
                )
            });
            let Some((gain, _, at)) = gains.max() else {
                break;
            };
            let enough = (*first.get_or_insert(gain) as f64 * ROUND_SHARE) as u64;
            if gain == 0 || gain < enough {
                break;
            }
            classes.split(|v| matrix.row(v)[at]);
            chosen.push(candidates[at]);
            left.retain(|other| *other != at);
        }
    }
    chosen
}

/// Adds landmarks so that without any one of them the rest still reach the goal: for each of those there are, what it alone
/// tells apart is told apart once more. Those added are spare themselves.
fn spare(
    graph: &Topology,
    compact: &Compact,
    everything: Option<&Matrix>,
    landmarks: &mut Vec<u32>,
    colours: Option<&[u32]>,
    n_needed: usize,
) {
    for lost in landmarks.clone() {
        let rest: Vec<u32> = landmarks.iter().copied().filter(|l| *l != lost).collect();
        let matrix = Matrix::of_compact(compact, &rest);
        let mut classes = Classes::new(graph.n(), colours);
        for at in 0..rest.len() {
            classes.split(|v| matrix.row(v)[at]);
        }
        if classes.n_alone() >= n_needed {
            continue;
        }
        let more = match everything {
            Some(all) => greedy(all, &mut classes, n_needed, &[lost]),
            None => members(compact, &mut classes, n_needed, lost),
        };
        landmarks.extend(more.into_iter().filter(|v| !rest.contains(v)));
    }
}

/// Members of the classes that are left tell themselves apart from the others of theirs.
fn members(graph: &Compact, classes: &mut Classes, n_needed: usize, lost: u32) -> Vec<u32> {
    let mut chosen = Vec::new();
    while classes.n_alone() < n_needed {
        let mut candidates: Vec<u32> = classes
            .together()
            .filter_map(|class| class.iter().copied().find(|v| *v != lost))
            .collect();
        candidates.truncate(LANES);
        if candidates.is_empty() {
            break;
        }
        let matrix = Matrix::of_compact(graph, &candidates);
        for (at, v) in candidates.iter().enumerate() {
            let is_left = classes.together().any(|class| class.contains(v));
            if is_left && classes.n_alone() < n_needed {
                classes.split(|w| matrix.row(w)[at]);
                chosen.push(*v);
            }
        }
    }
    chosen
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
