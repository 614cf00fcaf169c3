//! Entities by how well they explain the others. (step 12)
//!
//! In: [`Evidence`]. Out: [`Suspect`]s, best first.
//! A sick callee makes its callers sick. What an entity shows travels against the calls, a share of it lost at each; a caller
//! is explained as far as it is sick and as far as what reaches it allows, so a weak cause explains no strong symptom. The
//! score is what the entity shows as a cause (saturation, its own time, failures) plus all it explains; what a caller shows
//! that its own calls explain is not its own. A caller that shows nothing passes on less, one nothing is known of passes on
//! all. A callee that shows nothing itself may still be what its callers complain of together.
//! Where the trouble was noticed at one entity, what explains nothing there counts a share.
//! Invariants: RA-1 the same evidence in any order gives the same answer (ties by name). RA-2 with a graph or without, an entity
//! that shows nothing and is complained of by nobody scores 0. Limits: [`N_CANDIDATES_MAX`]; O(candidates × edges).
//! Does not: know clocks; onsets are rows, uncertain by [`Config::clock_rows`].

use std::collections::BTreeMap;

use crate::symptoms::{Evidence, Level, Symptoms, calls, symptoms};
use crate::{Config, Speaking, Suspect};

/// Entities whose explanations are followed: the strongest.
const N_CANDIDATES_MAX: usize = 1_000;
/// What arrives below this explains nothing worth following, nats.
const FAINT: f64 = 0.05;

/// Ranks all entities, best first. Empty for no evidence. O(values log values + candidates × edges).
#[must_use]
pub fn rank(evidence: &Evidence, config: &Config) -> Vec<Suspect> {
    let symptoms = symptoms(evidence, config);
    let graph = Graph::new(&symptoms, evidence);
    let own: Vec<Own> = graph.symptoms.iter().map(|s| Own::of(s, config)).collect();
    let mut scores: Vec<f64> = (0..own.len())
        .map(|at| own[at].cause() + graph.complaints(at, config))
        .collect();
    let target = evidence
        .target
        .as_ref()
        .and_then(|name| graph.names.iter().position(|known| *known == name));
    let mut relevance = vec![0.0; own.len()];
    let mut candidates: Vec<usize> = (0..own.len()).filter(|at| scores[*at] > 0.0).collect();
    candidates.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    candidates.truncate(N_CANDIDATES_MAX);
    for at in candidates {
        for family in [Family::Latency, Family::Failure] {
            let explained = graph.explained(at, family, &own, config);
            scores[at] += explained
                .iter()
                .filter(|(who, _)| *who != at)
                .map(|(_, n)| n)
                .sum::<f64>();
            let at_target = explained.iter().find(|(who, _)| Some(*who) == target);
            relevance[at] += at_target.map_or(0.0, |(_, nats)| *nats);
        }
    }
    if target.is_some() {
        let most = relevance.iter().copied().fold(0.0, f64::max);
        if most > 0.0 {
            for (score, relevance) in scores.iter_mut().zip(&relevance) {
                *score *= config.elsewhere + (1.0 - config.elsewhere) * relevance / most;
            }
        }
    }
    let mut suspects: Vec<Suspect> = graph
        .names
        .iter()
        .zip(&scores)
        .zip(&graph.symptoms)
        .map(|((name, score), symptoms)| Suspect {
            entity: (*name).clone(),
            score: *score,
            metrics: told(symptoms),
        })
        .collect();
    suspects.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.entity.cmp(&b.entity)));
    suspects
}

/// What speaks, causes before effects, the strongest first.
fn told(symptoms: &Symptoms) -> Vec<Speaking> {
    let mut told = symptoms.speaking.clone();
    told.sort_by(|a, b| {
        a.kind
            .is_effect()
            .cmp(&b.kind.is_effect())
            .then(b.nats.total_cmp(&a.nats))
            .then(a.metric.cmp(&b.metric))
    });
    told
}

/// Symptoms that travel from callee to caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Latency,
    Failure,
}

impl Family {
    const fn of(self, symptoms: &Symptoms) -> Level {
        match self {
            Self::Latency => symptoms.latency,
            Self::Failure => symptoms.failure,
        }
    }

    /// Time or failures beyond the usual.
    const fn extra(self, symptoms: &Symptoms) -> Option<f64> {
        match self {
            Self::Latency => symptoms.extra_time,
            Self::Failure => symptoms.extra_failures,
        }
    }

    /// How much of a caller's extra time, or failures, a callee's can be, in 0–1; 1 where either is unknown.
    fn part(self, callee: &Symptoms, caller: &Symptoms) -> f64 {
        match (self.extra(callee), self.extra(caller)) {
            (Some(callee), Some(caller)) if caller > 0.0 => (callee / caller).clamp(0.0, 1.0),
            _ => 1.0,
        }
    }
}

/// What an entity shows as a cause, nats.
#[derive(Debug, Clone, Copy)]
struct Own {
    saturation: f64,
    latency: f64,
    failure: f64,
    work: f64,
}

impl Own {
    fn of(symptoms: &Symptoms, config: &Config) -> Self {
        // Spans say what is its own; without them, what its calls do not account for.
        let inclusive = symptoms.latency.nats - config.passed_on * symptoms.calls.nats;
        Self {
            saturation: symptoms.saturation.nats,
            latency: symptoms.own_time.unwrap_or_else(|| inclusive.max(0.0)),
            failure: symptoms.failure.nats,
            work: symptoms.work.nats,
        }
    }

    fn cause(&self) -> f64 {
        self.saturation + self.latency + self.failure + self.work
    }
}

/// Entities by number, in order of their names.
struct Graph<'a> {
    names: Vec<&'a String>,
    symptoms: Vec<&'a Symptoms>,
    callers: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(all: &'a BTreeMap<String, Symptoms>, evidence: &Evidence) -> Self {
        let names: Vec<&String> = all.keys().collect();
        let number: BTreeMap<&str, usize> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.as_str(), at))
            .collect();
        let mut callers = vec![Vec::new(); names.len()];
        for (caller, callee) in calls(evidence) {
            if let (Some(caller), Some(callee)) = (number.get(caller), number.get(callee)) {
                callers[*callee].push(*caller);
            }
        }
        Self {
            names,
            symptoms: all.values().collect(),
            callers,
        }
    }

    /// What callers complain of together that the entity does not pass on itself: the mean over those that were asked.
    fn complaints(&self, at: usize, config: &Config) -> f64 {
        if self.symptoms[at].own_time.is_some() {
            // Spans have measured the way to it.
            return 0.0;
        }
        let asked = self.callers[at]
            .iter()
            .map(|caller| self.symptoms[*caller].calls);
        let (sum, n) = asked
            .filter(|calls| calls.is_known)
            .fold((0.0, 0.0), |(sum, n), calls| (sum + calls.nats, n + 1.0));
        let together = sum / (n + config.few_callers);
        (together - config.passed_on * self.symptoms[at].calls.nats).max(0.0)
    }

    /// What the entity explains of each that calls it, directly or through others, itself among them; nats.
    ///
    /// Layer by layer, so that each is reached by the shortest chain, of several by the one that carries most. O(edges).
    fn explained(
        &self,
        root: usize,
        family: Family,
        own: &[Own],
        config: &Config,
    ) -> Vec<(usize, f64)> {
        let shown = match family {
            Family::Latency => own[root].latency,
            Family::Failure => own[root].failure,
        };
        let onset = family
            .of(self.symptoms[root])
            .onset
            .or(self.symptoms[root].saturation.onset);
        let mut explained = vec![(root, shown)];
        let mut is_seen = vec![false; self.names.len()];
        is_seen[root] = true;
        let mut layer = vec![(root, shown.max(own[root].saturation))];
        while !layer.is_empty() {
            let mut next: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
            for (callee, carried) in &layer {
                for caller in self.callers[*callee]
                    .iter()
                    .filter(|caller| !is_seen[**caller])
                {
                    let level = family.of(self.symptoms[*caller]);
                    let arrives = if level.is_known {
                        carried * config.passed
                    } else {
                        // Nothing is known of it: as if its callers called on directly.
                        *carried
                    };
                    let part = family.part(self.symptoms[root], self.symptoms[*caller]);
                    let mut nats = part * arrives.min(level.nats);
                    if is_before(level.onset, onset, config.clock_rows) {
                        nats *= config.late;
                    }
                    let silent = if level.is_known { config.silent } else { 1.0 };
                    let carries = nats.max(arrives * silent);
                    let best = next.entry(*caller).or_insert((0.0, 0.0));
                    if carries > best.0 {
                        *best = (carries, nats);
                    }
                }
            }
            layer.clear();
            for (who, (carries, nats)) in next {
                is_seen[who] = true;
                explained.push((who, nats));
                if carries > FAINT {
                    layer.push((who, carries));
                }
            }
        }
        explained
    }
}

/// Whether a symptom began before its cause, by more than clocks may differ.
fn is_before(symptom: Option<usize>, cause: Option<usize>, clock_rows: usize) -> bool {
    match (symptom, cause) {
        (Some(symptom), Some(cause)) => symptom + clock_rows < cause,
        _ => false,
    }
}
