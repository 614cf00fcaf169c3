//! What an explanation says. (step 12)

use hsw_explain::NamedCase;
use hsw_types::{NodeId, SeriesKey, ShardId, Unit, WindowIndex};

use crate::incident::IncidentId;

/// Why a time was bad at a shard, as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The shard (or router) that was looked at.
    pub shard: ShardId,
    /// First and last window that count as bad.
    pub abnormal: (WindowIndex, WindowIndex),
    /// First and last window before, that count as good.
    pub normal: (WindowIndex, WindowIndex),
    /// Siblings that served as control.
    pub n_siblings: usize,
    /// Attributes that were looked at.
    pub n_attributes: usize,
    /// Counts up each time more evidence was looked at; 1 when raised.
    pub revision: u32,
    /// What sets the bad time apart, what says most first; at most eight.
    pub reasons: Vec<Reason>,
    /// Known causes by probability, best first; at most five.
    pub causes: Vec<Cause>,
    /// Probability that it is none of the known causes, 0 to 1.
    pub none: f64,
    /// Shards and routers by how much of all symptoms they explain, best first; at most three.
    pub culprits: Vec<Culprit>,
    /// Earlier incidents that looked alike, most alike first; at most three.
    pub similar: Vec<Similar>,
    /// Levels before and during by attribute, without a cause yet: what is learned from when somebody names it.
    pub case: NamedCase,
    /// What an operator said of it.
    pub feedback: Option<Feedback>,
}

/// A condition that holds in the bad time and not otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// The series (of several objects the worst, then without the object).
    pub series: SeriesKey,
    /// The node it was seen on.
    pub node: NodeId,
    /// Unit of all values here.
    pub unit: Unit,
    /// Lower bound, itself within.
    pub min: Option<f64>,
    /// Upper bound, itself without.
    pub max: Option<f64>,
    /// Share of bad windows that meet it less the share of good ones (own past and siblings) that do, −1 to 1.
    pub power: f64,
    /// Typical value in the bad time.
    pub during: f64,
    /// What it hardly ever exceeded before (fell below, where less is meant).
    pub before: Option<f64>,
    /// The same of the worst sibling at the same time; `None` without siblings.
    pub siblings: Option<f64>,
    /// All of it in words and units.
    pub sentence: String,
}

/// A known cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Its name, as an operator gave it or as shipped.
    pub cause: String,
    /// Probability, 0 to 1.
    pub probability: f64,
    /// Cases it is known from.
    pub n_cases: usize,
    /// It is what an operator called a false alarm.
    pub is_harmless: bool,
    /// What to do first, by the runbook.
    pub action: Option<String>,
}

/// A shard under suspicion.
#[derive(Debug, Clone, PartialEq)]
pub struct Culprit {
    /// Which.
    pub shard: ShardId,
    /// Its part of all that is explained, 0 to 1; it orders, it is no probability.
    pub share: f64,
    /// First window of its evidence, where it has any.
    pub since: Option<WindowIndex>,
    /// Seconds by which that may be wrong, because clocks differ.
    pub since_uncertain_s: f64,
    /// Its metrics that speak, at most three.
    pub metrics: Vec<String>,
}

/// An earlier incident that looked alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Similar {
    /// Which.
    pub id: IncidentId,
    /// Where.
    pub shard: ShardId,
    /// When it began.
    pub started: WindowIndex,
    /// How alike, 0 to 1: the cosine of what changed.
    pub alike: f64,
    /// What an operator called it.
    pub cause: Option<String>,
}

/// An operator's word on an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feedback {
    /// This was the cause.
    Cause(String),
    /// Nothing was wrong.
    FalseAlarm,
}

/// Why there is no explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhyError {
    /// Nobody knows such a shard, or it has told nothing.
    #[error("no such shard, or nothing is known of it: see `hsw shards`")]
    NoShard,
    /// It ends before it begins, or has no value.
    #[error(
        "the range holds no second that is known: give FROM before TO, within the last four minutes"
    )]
    Empty,
    /// It reaches further back than each second is kept.
    #[error(
        "each second is kept for four minutes only, and a range needs 20 good seconds before it: ask sooner, or about a later range"
    )]
    TooOld,
}
