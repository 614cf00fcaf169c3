//! Whether one word is enough: the cause of each fault, named right when it comes again on another shard.
//!
//! In: faults, rounds. Out: a report with every trial, and the cases as a file of causes. The shipped causes are switched off: all
//! that is known is what was said about earlier trials of the same run. A trial: calm, inject, take what the incident says of its
//! cause when it is first seen, twenty seconds later and when it is over; then say the fault's name as its cause.
//! In the first round every fault is new: what is right then is "none of the known causes".
//! At the end each case is also judged by all others (leave one injection out), with the production core.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hsw_explain::{Known, NamedCase, format};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bench::{Figure, Report};
use crate::testbed::incidents::{self, Verdict};
use crate::testbed::{Cluster, Fault, Stop, http};
use crate::trials::{
    Args, CLOSE_WITHIN, PATIENCE, POLL, READY_WITHIN, ids, pause, print_line, until_closed,
};

/// Calm before a fault; with what passes until it is noticed, 20 good seconds and the guard before it.
const CALM: Duration = Duration::from_secs(35);
/// When the incident is asked a second time.
const LATER: Duration = Duration::from_secs(20);

/// What an explanation said of causes.
#[derive(Debug, Clone, Serialize, Default, PartialEq)]
pub struct Said {
    /// The likeliest cause; empty where none was known.
    cause: String,
    /// Its probability.
    probability: f64,
    /// Probability of none of the known ones.
    none: f64,
    /// The first reason, in words.
    reason: String,
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
    fn names(&self, cause: &str) -> bool {
        self.cause == cause && self.probability > self.none
    }

    fn is_unknown(&self) -> bool {
        self.none >= self.probability
    }
}

/// One injection and what was said of its cause.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    fault: String,
    shard: String,
    /// 1 where the fault is new.
    round: usize,
    /// Whether an incident named the right shard; the cause of no other is judged.
    detected: bool,
    /// When first seen.
    at_raise: Option<Said>,
    /// Twenty seconds later.
    later: Option<Said>,
    /// When it was over.
    at_end: Option<Said>,
}

/// Everything measured.
#[derive(Debug, Clone)]
pub struct Outcome {
    command: String,
    told: Report,
    trials: Trials,
    causes: String,
}

#[derive(Debug, Clone, Serialize)]
struct Trials {
    trials: Vec<Trial>,
}

/// Runs all trials.
///
/// # Errors
/// When the cluster cannot be watched or broken.
pub fn measure(
    cluster: &mut Cluster,
    args: &Args,
    faults: &[Fault],
    stop: &Stop,
) -> Result<Outcome> {
    let services = cluster
        .services()
        .context("the test bed runs without the programs")?;
    services.wait_ready(stop, READY_WITHIN)?;
    let web = services.web;
    let n_shards = cluster.shards().len();
    let mut trials: Vec<Trial> = Vec::new();
    for round in 0..args.rounds {
        for (i, fault) in faults.iter().enumerate() {
            let shard = (round + i) % n_shards + 1;
            let mut trial = trial(cluster, web, (*fault, shard), args.span, stop)?;
            let before = trials.iter().filter(|one| one.detected);
            trial.round = 1 + before.filter(|one| one.fault == trial.fault).count();
            print_line(&serde_json::to_string(&trial)?);
            trials.push(trial);
        }
    }
    let causes = http::get(web, "/api/v1/causes")?.body;
    let cases = format::read(&causes).context("read the causes of the aggregator")?;
    Ok(Outcome {
        command: format!(
            "tests/faults --second --faults {} --rounds {} --span {}",
            args.faults.join(","),
            args.rounds,
            args.span
        ),
        told: figures(&trials, leave_one_out(&cases)),
        trials: Trials { trials },
        causes,
    })
}

fn trial(
    cluster: &Cluster,
    web: SocketAddr,
    (fault, shard): (Fault, usize),
    span: u64,
    stop: &Stop,
) -> Result<Trial> {
    until_closed(web, stop, CLOSE_WITHIN)?;
    pause(stop, CALM)?;
    let known = ids(web)?;
    let name = cluster.nodes()[shard].name.clone();
    let expected = fault.expected(&name);
    let mut trial = Trial {
        fault: fault.name().to_owned(),
        shard: name,
        round: 0,
        detected: false,
        at_raise: None,
        later: None,
        at_end: None,
    };
    let span = Duration::from_secs(span);
    let begun = Instant::now();
    let injected = cluster.inject(fault, shard)?;
    let mut seen: Option<(String, Instant)> = None;
    while begun.elapsed() < span || (seen.is_none() && begun.elapsed() < PATIENCE) {
        pause(stop, POLL)?;
        match &seen {
            None => {
                let verdict = incidents::judge(&known, &incidents::fetch(web)?, &expected);
                if let Verdict::Right(incident) = verdict {
                    trial.at_raise = said(web, &incident.id)?;
                    seen = Some((incident.id, Instant::now()));
                }
            }
            Some((id, at)) if trial.later.is_none() && at.elapsed() >= LATER => {
                trial.later = said(web, id)?;
            }
            Some(_) => {}
        }
    }
    injected.heal()?;
    until_closed(web, stop, CLOSE_WITHIN)?;
    let Some((id, _)) = seen else {
        return Ok(trial);
    };
    trial.detected = true;
    trial.at_end = said(web, &id)?;
    let word = json!({ "cause": fault.name() }).to_string();
    let answer = http::post(web, &format!("/api/v1/incidents/{id}/feedback"), &word)?;
    if answer.status != 200 {
        bail!(
            "feedback on {id} was answered {}: {}",
            answer.status,
            answer.body
        );
    }
    Ok(trial)
}

fn said(web: SocketAddr, id: &str) -> Result<Option<Said>> {
    let answer = http::get(web, &format!("/api/v1/incidents/{id}"))?;
    let incident: Value = serde_json::from_str(&answer.body).context("read an incident")?;
    Ok(Said::of(&incident["why"]))
}

/// What the trials say, as figures; `by_others` are the cases named right by all others together, and how many there are.
fn figures(trials: &[Trial], by_others: (usize, usize)) -> Report {
    let mut report = Report::new("second");
    let (new, again): (Vec<&Trial>, Vec<&Trial>) = trials.iter().partition(|one| one.round == 1);
    let count = |of: &[&Trial], is: &dyn Fn(&Trial) -> bool| {
        of.iter().filter(|trial| is(trial)).count() as f64
    };
    let named = |said: &Option<Said>, trial: &Trial| {
        said.as_ref().is_some_and(|said| said.names(&trial.fault))
    };
    let unknown = |said: &Option<Said>| said.as_ref().is_some_and(Said::is_unknown);
    let mut add = |metric: &str, value: f64, how: &str| {
        report.add(Figure::new(metric, value, how));
    };
    let detected = "trials in which an incident named the right shard";
    let right = "the right cause, likelier than none of the known";
    add(
        "again, trials",
        again.len() as f64,
        "faults that had come before, on another shard",
    );
    add("again, detected", count(&again, &|t| t.detected), detected);
    add(
        "again, named right when raised",
        count(&again, &|t| named(&t.at_raise, t)),
        right,
    );
    add(
        "again, named right twenty seconds later",
        count(&again, &|t| named(&t.later, t)),
        "the same, where the incident was still open",
    );
    add(
        "again, likeliest of the causes when over",
        count(&again, &|t| {
            t.at_end.as_ref().is_some_and(|said| said.cause == t.fault)
        }),
        "the right cause first, whatever the probability of none",
    );
    add(
        "new, trials",
        new.len() as f64,
        "faults that had not come before",
    );
    add("new, detected", count(&new, &|t| t.detected), detected);
    let none = "none of the known causes at least as likely as the first";
    add(
        "new, said to be unknown when raised",
        count(&new, &|t| unknown(&t.at_raise)),
        none,
    );
    add(
        "new, said to be unknown twenty seconds later",
        count(&new, &|t| unknown(&t.later)),
        none,
    );
    add(
        "new, said to be unknown when over",
        count(&new, &|t| unknown(&t.at_end)),
        none,
    );
    let how =
        "each case whose cause another case has, judged by all others with the production core";
    add("cases named right by all others", by_others.0 as f64, how);
    add("cases judged by all others", by_others.1 as f64, how);
    let at_end = count(&again, &|t| named(&t.at_end, t));
    let figure = Figure::new("again, named right when over", at_end, right);
    report.add(figure.at_least(again.len() as f64));
    report
}

/// Each case judged by all others; one whose cause no other case has cannot be named and is left out.
fn leave_one_out(cases: &[NamedCase]) -> (usize, usize) {
    let (mut right, mut n) = (0, 0);
    for (at, case) in cases.iter().enumerate() {
        let others = cases.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<(&str, _)> = others
            .map(|(_, other)| (other.cause.as_str(), &other.case))
            .collect();
        if !others.iter().any(|(cause, _)| *cause == case.cause) {
            continue;
        }
        let diagnosis = Known::learn(&others).diagnose(&case.case);
        n += 1;
        right += usize::from(
            diagnosis
                .causes
                .first()
                .is_some_and(|(c, _)| *c == case.cause),
        );
    }
    (right, n)
}

impl Outcome {
    /// Says and writes it; whether every fault that came again was named right when it was over.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn conclude(self, args: &Args) -> Result<bool> {
        self.told.print(&self.command);
        if let Some(out) = &args.out {
            self.told.write_with(out, &self.command, &self.trials)?;
        }
        if let Some(out) = &args.export {
            std::fs::write(out, &self.causes)
                .with_context(|| format!("write {}", out.display()))?;
        }
        Ok(self.told.is_reached())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(round: usize, cause: &str, none: f64) -> Trial {
        let said = Said {
            cause: cause.to_owned(),
            probability: 1.0 - none,
            none,
            reason: String::new(),
        };
        Trial {
            fault: "lock-storm".to_owned(),
            shard: "shard-1".to_owned(),
            round,
            detected: true,
            at_raise: None,
            later: None,
            at_end: Some(said),
        }
    }

    #[test]
    fn a_cause_is_named_where_it_is_right_and_likelier_than_none_and_all_must_be() {
        let of = |report: &Report, metric: &str| {
            let figure = report.figures.iter().find(|figure| figure.metric == metric);
            figure.unwrap().value as usize
        };
        let mut trials = vec![
            trial(1, "", 1.0),
            trial(2, "lock-storm", 0.2),
            trial(2, "lock-storm", 0.7),
        ];
        let report = figures(&trials, (2, 2));
        assert_eq!(of(&report, "again, trials"), 2);
        assert_eq!(of(&report, "again, named right when over"), 1);
        assert_eq!(of(&report, "again, likeliest of the causes when over"), 2);
        assert_eq!(of(&report, "new, said to be unknown when over"), 1);
        assert!(!report.is_reached());
        trials.pop();
        assert!(figures(&trials, (2, 2)).is_reached());
    }
}
