//! Incidents beside the truth.

use std::collections::{BTreeMap, BTreeSet};

use hsw_graph::EdgeId;

use super::Kind;
use super::play::Played;
use super::topology::Topology;

/// Counts over one or more topologies.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Of each kind: put in, found.
    pub kinds: BTreeMap<Kind, (usize, usize)>,
    /// Incidents that are of no intrusion.
    pub n_false: usize,
    /// Edges of intrusions, those named, and edges named that are of none.
    pub edges: (usize, usize, usize),
    /// Seconds from the beginning of an intrusion to its incident, of those found.
    pub delays_s: Vec<f64>,
    /// What was missed or false, in words.
    pub wrong: Vec<String>,
}

impl Score {
    /// Both.
    pub fn add(&mut self, other: Self) {
        for (kind, (n, found)) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = (sum.0 + n, sum.1 + found);
        }
        self.n_false += other.n_false;
        let (a, b) = (self.edges, other.edges);
        self.edges = (a.0 + b.0, a.1 + b.1, a.2 + b.2);
        self.delays_s.extend(other.delays_s);
        self.wrong.extend(other.wrong);
    }

    /// 2 TP / (2 TP + FP + FN) over intrusions and incidents.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let (n, found) = self
            .kinds
            .values()
            .fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
        f1(found, self.n_false, n - found)
    }

    /// The same with the intrusions of one kind, and all false incidents.
    #[must_use]
    pub fn f1_of(&self, kind: Kind) -> f64 {
        let (n, found) = self.kinds.get(&kind).copied().unwrap_or_default();
        f1(found, self.n_false, n - found)
    }

    /// The same of edges.
    #[must_use]
    pub fn f1_of_edges(&self) -> f64 {
        let (n, named, wrong) = self.edges;
        f1(named, wrong, n - named)
    }
}

fn f1(n_true: usize, n_false: usize, n_missed: usize) -> f64 {
    2.0 * n_true as f64 / (2 * n_true + n_false + n_missed).max(1) as f64
}

/// An incident is of an intrusion when it names one of its clients and one of its edges.
#[must_use]
pub fn score(topology: &Topology, played: &Played, about: &str) -> Score {
    let mut score = Score::default();
    let mut found: BTreeMap<usize, i64> = BTreeMap::new();
    let mut named: BTreeSet<&EdgeId> = BTreeSet::new();
    for incident in &played.incidents {
        named.extend(&incident.edges);
        let is_of = |truth: &super::topology::Truth| {
            truth.clients.contains(&incident.client) && !truth.edges.is_disjoint(&incident.edges)
        };
        // Of two that are alike the later one that had begun.
        let began = |at: &usize| topology.truth[*at].from_s <= incident.at_s;
        let alike = (0..topology.truth.len()).filter(|at| is_of(&topology.truth[*at]));
        match alike
            .filter(began)
            .max_by_key(|at| topology.truth[*at].from_s)
        {
            Some(at) => {
                found.entry(at).or_insert(incident.at_s);
            }
            None => {
                score.n_false += 1;
                let edges: Vec<String> = incident
                    .edges
                    .iter()
                    .take(3)
                    .map(|e| format!("{:?} {} → {}", e.kind, e.from.id(), e.to.id()))
                    .collect();
                score.wrong.push(format!(
                    "{about} false at {} s: {:?} {} {edges:?} {:?}",
                    incident.at_s,
                    incident.pattern,
                    incident.client.id(),
                    incident.reasons
                ));
            }
        }
    }
    let mut all: BTreeSet<&EdgeId> = BTreeSet::new();
    for (at, truth) in topology.truth.iter().enumerate() {
        all.extend(&truth.edges);
        let count = score.kinds.entry(truth.kind).or_default();
        count.0 += 1;
        match found.get(&at) {
            Some(at_s) => {
                count.1 += 1;
                score.delays_s.push((at_s - truth.from_s) as f64);
            }
            None => {
                let edges: Vec<String> = truth
                    .edges
                    .iter()
                    .take(4)
                    .map(|e| format!("{:?} {} → {}", e.kind, e.from.id(), e.to.id()))
                    .collect();
                score.wrong.push(format!(
                    "{about} missed at {} s: {:?} {edges:?}",
                    truth.from_s, truth.kind
                ));
            }
        }
    }
    let n_named = all.intersection(&named).count();
    score.edges = (all.len(), n_named, named.len() - n_named);
    score
}
