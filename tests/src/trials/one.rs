//! One trial: calm, inject, take the time until every fault has its incident, heal, and see what is left.
//!
//! In: a cluster that runs, faults with their shards (one, or two at once). Out: a [`Trial`].
//! A trial with words also keeps what the incident says of its cause when it is first seen, twenty seconds later and when it is over,
//! and then says the fault's name as its cause.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::testbed::incidents::{self, Expected, Incident};
use crate::testbed::{Cluster, Fault, Stop, http};

const POLL: Duration = Duration::from_millis(200);
/// Calm before a fault: queues drain, clients catch up, the detector's block is complete, and an explanation has its good seconds.
const CALM: Duration = Duration::from_secs(40);
/// A fault that nothing was raised for within this has been missed.
const PATIENCE: Duration = Duration::from_secs(40);
/// After healing, the incident must close within this.
const CLOSE_WITHIN: Duration = Duration::from_secs(120);
/// A harmless fault is watched this long after its end.
const AFTERMATH: Duration = Duration::from_secs(60);
/// New edges are judged within this.
const JUDGED_WITHIN: Duration = Duration::from_secs(360);
/// When the incident is asked for its cause a second time.
const LATER: Duration = Duration::from_secs(20);

/// What an explanation said of causes.
#[derive(Debug, Clone, Serialize, Deserialize, Default, PartialEq)]
pub struct Said {
    /// The likeliest cause; empty where none was known.
    pub cause: String,
    /// Its probability.
    pub probability: f64,
    /// Probability of none of the known ones.
    pub none: f64,
    /// The first reason, in words.
    pub reason: String,
}

impl Said {
    fn of(why: &Value) -> Option<Self> {
        let first = &why["causes"][0];
        why.is_object().then(|| Self {
            cause: first["cause"].as_str().unwrap_or_default().to_owned(),
            probability: first["probability"].as_f64().unwrap_or(0.0),
            none: why["none"].as_f64().unwrap_or(1.0),
            reason: why["predicates"][0]["sentence"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// It names the cause, and not "none of the known".
    #[must_use]
    pub fn names(&self, cause: &str) -> bool {
        self.cause == cause && self.probability > self.none
    }

    /// It says that the cause is none of the known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.none >= self.probability
    }
}

/// What was said of the cause of one injection.
#[derive(Debug, Clone, Serialize, Deserialize, Default, PartialEq)]
pub struct Words {
    /// 1 where the cluster was not told the fault's cause before.
    pub round: usize,
    /// When the incident was first seen.
    pub at_raise: Option<Said>,
    /// Twenty seconds later.
    pub later: Option<Said>,
    /// When it was over.
    pub at_end: Option<Said>,
}

/// One injection, of one fault or of two at once, and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Trial {
    /// Names of faults and of the shards they were injected into.
    pub injected: Vec<(String, String)>,
    /// `right`, `wrong`, `missed`, or for a harmless one `silent` or `raised`.
    pub outcome: String,
    /// Seconds from injection until each fault had its incident; with two of them until the later one had.
    pub seconds: Option<f64>,
    /// What the incidents said.
    pub summaries: Vec<String>,
    /// Summaries of incidents that should not have been.
    pub others: Vec<String>,
    /// Whether the incidents closed by themselves after healing.
    pub closed: bool,
    /// What was said of the cause, where it was asked; of a fault that was missed, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
}

impl Trial {
    /// Whether it should raise an incident.
    #[must_use]
    pub fn is_harmful(&self) -> bool {
        !matches!(self.outcome.as_str(), "silent" | "raised")
    }

    /// The fault, where it is one alone.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        match &self.injected[..] {
            [(fault, _)] => Some(fault),
            _ => None,
        }
    }
}

/// Where trials are played.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) web: SocketAddr,
    /// How long a fault lasts.
    pub(super) span: Duration,
    pub(super) stop: &'a Stop,
}

/// One of the faults of a trial.
struct Actor {
    fault: Fault,
    shard: String,
    expected: Expected,
    /// The first incident that is the right answer, and when it was seen.
    seen: Option<(Incident, Instant)>,
}

impl Stage<'_> {
    /// Plays it; shards count from 1. `with_words` is for a single fault.
    pub(super) fn play(&self, faults: &[(Fault, usize)], with_words: bool) -> Result<Trial> {
        let Self {
            web, span, stop, ..
        } = *self;
        until_closed(web, stop)?;
        if faults.iter().any(|(fault, _)| fault.intruder().is_some()) {
            incidents::wait_judged(web, stop, JUDGED_WITHIN)?;
        }
        pause(stop, CALM)?;
        let known = self.ids()?;
        let mut actors: Vec<Actor> = faults.iter().map(|one| self.actor(*one)).collect();
        let mut words = Words::default();
        let begun = Instant::now();
        let injected = faults.iter().map(|one| self.cluster.inject(one.0, one.1));
        let injected = injected.collect::<Result<Vec<_>>>()?;
        let is_harmful = faults.iter().all(|(fault, _)| fault.wants_incident());
        let patience = if is_harmful { PATIENCE.max(span) } else { span };
        while begun.elapsed() < span || (!all_seen(&actors) && begun.elapsed() < patience) {
            pause(stop, POLL)?;
            if !all_seen(&actors) {
                self.look(&known, &mut actors)?;
            }
            if with_words {
                self.listen(&actors, &mut words)?;
            }
        }
        for one in injected {
            one.heal()?;
        }
        if !is_harmful {
            pause(stop, AFTERMATH)?;
        }
        let closed = until_closed(web, stop)?;
        let new = incidents::fetch(web)?.into_iter();
        let new: Vec<Incident> = new.filter(|it| !known.contains(&it.id)).collect();
        if with_words && let Some((incident, _)) = &actors[0].seen {
            words.at_end = self.said(&incident.id)?;
            self.teach(&incident.id, actors[0].fault)?;
        }
        let mut trial = concluded(actors, &new, begun);
        trial.closed = closed;
        trial.words = with_words.then_some(words);
        Ok(trial)
    }

    fn actor(&self, (fault, shard): (Fault, usize)) -> Actor {
        let shard = self.cluster.nodes()[shard].name.clone();
        Actor {
            fault,
            expected: fault.expected(&shard),
            shard,
            seen: None,
        }
    }

    /// Which of the faults have their incident now.
    fn look(&self, known: &BTreeSet<String>, actors: &mut [Actor]) -> Result<()> {
        let now = incidents::fetch(self.web)?;
        let mut new: Vec<&Incident> = now.iter().filter(|it| !known.contains(&it.id)).collect();
        new.sort_by(|a, b| a.started_at.total_cmp(&b.started_at));
        for one in actors.iter_mut().filter(|one| one.seen.is_none()) {
            let right = new.iter().find(|it| one.expected.is(it));
            one.seen = right.map(|it| ((*it).clone(), Instant::now()));
        }
        Ok(())
    }

    /// Asks the first incident for its cause, when it is new and again later.
    fn listen(&self, actors: &[Actor], words: &mut Words) -> Result<()> {
        let Some((incident, at)) = actors.first().and_then(|one| one.seen.as_ref()) else {
            return Ok(());
        };
        if words.at_raise.is_none() {
            words.at_raise = self.said(&incident.id)?;
        }
        if words.later.is_none() && at.elapsed() >= LATER {
            words.later = self.said(&incident.id)?;
        }
        Ok(())
    }

    fn said(&self, id: &str) -> Result<Option<Said>> {
        let answer = http::get(self.web, &format!("/api/v1/incidents/{id}"))?;
        let incident: Value = serde_json::from_str(&answer.body).context("read an incident")?;
        Ok(Said::of(&incident["why"]))
    }

    /// Says the fault's name as the cause.
    fn teach(&self, id: &str, fault: Fault) -> Result<()> {
        let word = json!({ "cause": fault.name() }).to_string();
        let answer = http::post(self.web, &format!("/api/v1/incidents/{id}/feedback"), &word)?;
        if answer.status != 200 {
            bail!(
                "feedback on {id} was answered {}: {}",
                answer.status,
                answer.body
            );
        }
        Ok(())
    }

    pub(super) fn ids(&self) -> Result<BTreeSet<String>> {
        let all = incidents::fetch(self.web)?;
        Ok(all.into_iter().map(|it| it.id).collect())
    }
}

/// Whether each has its incident.
fn all_seen(actors: &[Actor]) -> bool {
    actors.iter().all(|one| one.seen.is_some())
}

/// What came of it, by the incidents that are new since.
fn concluded(actors: Vec<Actor>, new: &[Incident], begun: Instant) -> Trial {
    let is_expected = |it: &&Incident| actors.iter().any(|one| one.expected.is(it));
    let others = new.iter().filter(|it| !is_expected(it));
    let others: Vec<String> = others.map(|it| it.summary.clone()).collect();
    let is_harmful = actors.iter().all(|one| one.fault.wants_incident());
    let outcome = match (is_harmful, others.is_empty(), all_seen(&actors)) {
        (false, true, _) => "silent",
        (false, false, _) => "raised",
        (true, false, _) => "wrong",
        (true, true, true) => "right",
        (true, true, false) => "missed",
    };
    let last = actors.iter().filter_map(|one| Some(one.seen.as_ref()?.1));
    let last = last.max().filter(|_| all_seen(&actors));
    let (places, seen): (Vec<_>, Vec<_>) = actors
        .into_iter()
        .map(|one| ((one.fault.name().to_owned(), one.shard), one.seen))
        .unzip();
    Trial {
        injected: places,
        outcome: outcome.to_owned(),
        seconds: last.map(|at| (at - begun).as_secs_f64()),
        summaries: seen
            .into_iter()
            .filter_map(|seen| Some(seen?.0.summary))
            .collect(),
        others,
        closed: false,
        words: None,
    }
}

fn until_closed(web: SocketAddr, stop: &Stop) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < CLOSE_WITHIN {
        if incidents::fetch(web)?.iter().all(|it| it.state != "open") {
            return Ok(true);
        }
        pause(stop, Duration::from_secs(1))?;
    }
    Ok(false)
}

pub(super) fn pause(stop: &Stop, span: Duration) -> Result<()> {
    if stop.sleep(span) {
        Ok(())
    } else {
        bail!("stopped")
    }
}
