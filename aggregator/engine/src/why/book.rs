//! What is known of causes, and the explanations that were given. (step 12)
//!
//! In: cases that somebody named, looks at incidents. Out: explanations with causes and similar incidents; what must be learned
//! anew, which takes longer than a step may and is done elsewhere. Invariants: BO-1 an operator's later word on an incident
//! takes the place of his earlier one. BO-2 a false alarm is a cause of its own kind, named as such; it hides nothing.
//! BO-3 an incident that taught the believed cause is named beside it, however unlike it looked.
//! Limits: [`CASES_LEARNED_MAX`] cases of operators, [`KEPT_MAX`] explanations; of both the oldest go.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_explain::{Known, NamedCase};
use hsw_types::{ShardId, WindowIndex};

use super::explanation::{Cause, Explanation, Feedback, Similar};
use super::likeness;
use crate::incident::{Incident, IncidentId};
use crate::view::NodeLiveness;

/// Cases of operators that are kept; the time to learn anew with each word grows with their number.
pub const CASES_LEARNED_MAX: usize = 300;
/// Longest name of a cause, characters.
pub const CAUSE_CHARS_MAX: usize = 80;
/// How causes begin that an operator called a false alarm.
pub const HARMLESS: &str = "false alarm: ";
/// Explanations kept in memory.
const KEPT_MAX: usize = 300;
/// Windows after which an open incident is looked at again.
const STEPS: [i64; 4] = [0, 5, 15, 60];
const CAUSES_MAX: usize = 5;
const SIMILAR_MAX: usize = 3;
/// Likeness from which an earlier incident is named: 45 degrees. More than half of what changed is common.
const SIMILAR_MIN: f64 = 0.7;
/// Probability from which a false alarm is one of a kind that is known.
const SAME_HARMLESS: f64 = 0.5;

/// What an open incident was at its last look.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) root: ShardId,
    pub(crate) raised: WindowIndex,
    /// Looks that were due already.
    pub(crate) n_looks: usize,
    /// The worst that was known of each node since it was raised.
    pub(crate) worst: Vec<NodeLiveness>,
}

impl Track {
    pub(crate) fn new(incident: &Incident) -> Self {
        Self {
            root: incident.root.clone(),
            raised: incident.raised,
            n_looks: 0,
            worst: Vec::new(),
        }
    }

    /// Whether another look is due at `window`; it counts as done then.
    pub(crate) fn is_due(&mut self, window: WindowIndex) -> bool {
        let is_due = STEPS
            .get(self.n_looks)
            .is_some_and(|after| window - self.raised >= *after);
        self.n_looks += usize::from(is_due);
        is_due
    }

    /// Remembers who was silent.
    pub(crate) fn see(&mut self, liveness: &[NodeLiveness]) {
        self.worst.resize(liveness.len(), NodeLiveness::Alive);
        for (worst, now) in self.worst.iter_mut().zip(liveness) {
            *worst = (*worst).max(*now);
        }
    }
}

/// The book. See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Book {
    shipped: Vec<NamedCase>,
    learned: Vec<NamedCase>,
    runbook: BTreeMap<String, String>,
    known: Option<Known>,
    /// By when the incident began.
    kept: BTreeMap<(WindowIndex, IncidentId), Arc<Explanation>>,
    pub(crate) tracks: BTreeMap<IncidentId, Track>,
}

impl Book {
    pub(crate) fn new(shipped: Vec<NamedCase>, runbook: BTreeMap<String, String>) -> Self {
        Self {
            shipped,
            runbook,
            ..Self::default()
        }
    }

    /// Everything to learn from.
    pub(crate) fn cases(&self) -> Arc<Vec<NamedCase>> {
        Arc::new(self.shipped.iter().chain(&self.learned).cloned().collect())
    }

    pub(crate) const fn n_shipped(&self) -> usize {
        self.shipped.len()
    }

    /// What operators named.
    pub(crate) fn learned(&self) -> Arc<Vec<NamedCase>> {
        Arc::new(self.learned.clone())
    }

    /// Takes the place of all that operators named; beyond the limit the first go.
    pub(crate) fn replace(&mut self, mut cases: Vec<NamedCase>) {
        cases.drain(..cases.len().saturating_sub(CASES_LEARNED_MAX));
        self.learned = cases;
    }

    pub(crate) fn know(&mut self, known: Known) {
        self.known = Some(known);
    }

    pub(crate) fn explanations(&self) -> Vec<(IncidentId, Arc<Explanation>)> {
        let kept = self.kept.iter().rev();
        kept.map(|((_, id), why)| (*id, Arc::clone(why))).collect()
    }

    pub(crate) fn explanation(&self, id: IncidentId) -> Option<&Arc<Explanation>> {
        let found = self.kept.iter().find(|((_, own), _)| *own == id);
        found.map(|(_, why)| why)
    }

    pub(crate) fn keep(&mut self, id: IncidentId, why: Arc<Explanation>) {
        self.kept.retain(|(_, own), _| *own != id);
        self.kept.insert((why.abnormal.0, id), why);
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_first();
        }
    }

    /// Adds what is known of causes and of earlier incidents. O(attributes · (causes² + explanations kept)).
    pub(crate) fn judge(&self, mut why: Explanation, of: Option<IncidentId>) -> Explanation {
        let Some(known) = &self.known else {
            why.causes = Vec::new();
            why.none = 1.0;
            why.similar = self.similar(&why, of);
            return why;
        };
        let diagnosis = known.diagnose(&why.case.case);
        let all = || self.shipped.iter().chain(&self.learned);
        let cause = |(cause, probability): (String, f64)| Cause {
            probability,
            n_cases: all().filter(|case| case.cause == cause).count(),
            is_harmless: cause.starts_with(HARMLESS),
            action: self.runbook.get(&cause).cloned(),
            cause,
        };
        let causes = diagnosis.causes.into_iter().take(CAUSES_MAX);
        why.causes = causes.map(cause).collect();
        why.none = diagnosis.none;
        why.similar = self.similar(&why, of);
        why
    }

    /// Incidents that looked alike, and those that taught the cause it is believed to have.
    fn similar(&self, why: &Explanation, of: Option<IncidentId>) -> Vec<Similar> {
        let first = why.causes.first();
        let believed = first.filter(|first| first.probability > why.none);
        let believed = believed.map(|first| first.cause.as_str());
        let own = likeness::changes(&why.case.case);
        let others = self.kept.iter().filter(|((_, id), _)| Some(*id) != of);
        let mut found: Vec<Similar> = others
            .map(|((started, id), other)| Similar {
                id: *id,
                shard: other.shard.clone(),
                started: *started,
                alike: likeness::alike(&own, &likeness::changes(&other.case.case)),
                cause: match &other.feedback {
                    Some(Feedback::Cause(cause)) => Some(cause.clone()),
                    Some(Feedback::FalseAlarm) => Some("false alarm".to_owned()),
                    None => None,
                },
            })
            .filter(|similar| {
                let taught = believed.is_some() && similar.cause.as_deref() == believed;
                similar.alike >= SIMILAR_MIN || taught
            })
            .collect();
        found.sort_by(|a, b| b.alike.total_cmp(&a.alike).then(b.started.cmp(&a.started)));
        found.truncate(SIMILAR_MAX);
        found
    }

    /// An operator's word on an incident that was explained; `None` where it was not.
    pub(crate) fn hear(&mut self, id: IncidentId, word: Feedback) -> Option<Arc<Explanation>> {
        let before = Arc::clone(self.explanation(id)?);
        if let Some(earlier) = &before.feedback {
            let is_of_it = |case: &NamedCase| {
                let is_its_cause = match earlier {
                    Feedback::Cause(cause) => case.cause == *cause,
                    Feedback::FalseAlarm => case.cause.starts_with(HARMLESS),
                };
                is_its_cause && case.case == before.case.case
            };
            self.learned.retain(|case| !is_of_it(case));
        }
        let cause = match &word {
            Feedback::Cause(cause) => cause.clone(),
            Feedback::FalseAlarm => harmless(&before),
        };
        self.learned.push(NamedCase {
            cause,
            ..before.case.clone()
        });
        let surplus = self.learned.len().saturating_sub(CASES_LEARNED_MAX);
        self.learned.drain(..surplus);
        let after = Arc::new(Explanation {
            feedback: Some(word),
            ..(*before).clone()
        });
        self.keep(id, Arc::clone(&after));
        Some(after)
    }
}

/// The name of a false alarm: that of its kind where it looks like one, else a new one by place and time.
fn harmless(why: &Explanation) -> String {
    match why.causes.first() {
        Some(first) if first.is_harmless && first.probability >= SAME_HARMLESS => {
            first.cause.clone()
        }
        _ => {
            let at = why.abnormal.0.start().to_rfc3339();
            let minute = at.get(..16).unwrap_or(&at).replace('T', " ");
            format!("{HARMLESS}{} {minute}", why.shard)
        }
    }
}
