//! What each entity shows by itself: its series, spans and lines as nats by family. (step 12)
//!
//! In: [`Evidence`]. Out: a [`Symptoms`] an entity. Failures told as a share of requests are counted: what two failures mean
//! depends on how many were asked. Host metrics tell entities of one host not apart and are left out.
//! Does not: know who calls whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::counts::{Count, surprises};
use crate::kind::Kind;
use crate::spans::{Slow, Spans};
use crate::surprise::{Bad, Rows, Surprise, judge, usual};
use crate::{Config, Speaking};

/// One column of a table: values of normal rows and of abnormal ones, NaN where missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Whose.
    pub entity: String,
    /// What, as exporters name it; a statistic may follow after `|`.
    pub metric: String,
    /// Normal rows.
    pub normal: Vec<f64>,
    /// Rows just before the abnormal ones that may belong to either; the onset is looked for from here on.
    pub before: Vec<f64>,
    /// Abnormal rows.
    pub abnormal: Vec<f64>,
}

/// All that is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Columns of metrics; rows of all columns of an entity go together.
    pub series: Vec<Series>,
    /// Caller and callee.
    pub edges: Vec<(String, String)>,
    /// Spans, which also tell who calls whom.
    pub spans: Spans,
    /// Kinds of log lines.
    pub lines: Vec<Count>,
    /// Where the trouble was noticed, if it was at one entity.
    pub target: Option<String>,
}

/// A family of symptoms, in nats above the noise, with when it began.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Level {
    /// Above the noise; 0 where nothing speaks.
    pub(crate) nats: f64,
    /// First row that speaks, where rows are known.
    pub(crate) onset: Option<usize>,
    /// Whether it was looked at at all.
    pub(crate) is_known: bool,
}

impl Level {
    fn take(&mut self, surprise: Surprise, weight: f64, config: &Config) {
        self.is_known = true;
        let nats = weight * (surprise.nats - config.noise).max(0.0);
        if nats > self.nats {
            self.nats = nats;
            self.onset = surprise.onset;
        }
    }
}

/// What one entity shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Symptoms {
    /// Processor, memory, disk and what is unknown.
    pub(crate) saturation: Level,
    /// Time to answer, calls included.
    pub(crate) latency: Level,
    /// Requests that fail, new kinds of lines.
    pub(crate) failure: Level,
    /// Time of calls to others.
    pub(crate) calls: Level,
    /// Work that arrives.
    pub(crate) work: Level,
    /// Time that spans charge to it, where there are spans of it.
    pub(crate) own_time: Option<f64>,
    /// What speaks, in nats above the noise.
    pub(crate) speaking: Vec<Speaking>,
}

/// Symptoms by entity. O(n log n) in values.
pub(crate) fn symptoms(evidence: &Evidence, config: &Config) -> BTreeMap<String, Symptoms> {
    let mut all: BTreeMap<String, Symptoms> = BTreeMap::new();
    let work = works(&evidence.series);
    for series in &evidence.series {
        let own = all.entry(series.entity.clone()).or_default();
        metric(
            own,
            series,
            work.get(series.entity.as_str()).copied(),
            config,
        );
    }
    for (entity, (nats, what)) in surprises(&evidence.lines) {
        let own = all.entry(entity.to_owned()).or_default();
        let surprise = Surprise { nats, onset: None };
        own.failure.take(surprise, config.lines, config);
        speak(own, &format!("log: {what}"), Kind::Failure, nats, config);
    }
    for (service, slow) in Slow::of(&evidence.spans) {
        let Some(name) = evidence.spans.services.get(service as usize) else {
            continue;
        };
        let own = all.entry(name.clone()).or_default();
        let above = |nats: f64| (nats - config.span_noise).max(0.0);
        own.own_time = Some(above(slow.own) + above(slow.to) + config.outward * above(slow.from));
        for (what, nats) in [
            ("spans: own time", slow.own),
            ("spans: way to it", slow.to),
            ("spans: way from it", slow.from),
        ] {
            if above(nats) > 0.0 {
                let kind = Kind::Latency;
                let nats = nats - config.span_noise + config.noise;
                speak(own, what, kind, nats, config);
            }
        }
    }
    for (caller, callee) in &evidence.edges {
        for name in [caller, callee] {
            all.entry(name.clone()).or_default();
        }
    }
    all
}

/// The first series of requests of each entity.
fn works(series: &[Series]) -> BTreeMap<&str, &Series> {
    let is_requests = |series: &&Series| {
        let name = series.metric.to_ascii_lowercase();
        Kind::of(&series.metric) == Kind::Work
            && !["byte", "packet", "network", "syscall"]
                .iter()
                .any(|no| name.contains(no))
    };
    let mut works = BTreeMap::new();
    for series in series.iter().filter(is_requests) {
        works.entry(series.entity.as_str()).or_insert(series);
    }
    works
}

fn metric(own: &mut Symptoms, series: &Series, work: Option<&Series>, config: &Config) {
    let kind = Kind::of(&series.metric);
    if kind == Kind::Host {
        return;
    }
    let counted = match (kind, work) {
        (Kind::Success | Kind::Failure, Some(work)) => failures(series, work, kind),
        _ => None,
    };
    let (series, bad, least) = match (&counted, kind) {
        (Some(counted), _) => (counted, Bad::Up, 1.0),
        (None, Kind::Success) => (series, Bad::Down, 0.0),
        (None, Kind::Latency | Kind::Calls | Kind::Failure) => (series, Bad::Up, 0.0),
        (None, _) => (series, Bad::Both, 0.0),
    };
    let rows = Rows {
        before: &series.before,
        abnormal: &series.abnormal,
    };
    let Some(mut usual) = usual(&series.normal, least, config) else {
        return;
    };
    if counted.is_some() {
        // Failures that come now and then: at least the spread of a Poisson count.
        let (sum, n) = sum(&series.normal);
        usual.scale = usual.scale.max((sum / n.max(1.0)).max(0.0).sqrt());
    }
    let surprise = judge(rows, usual, bad, config);
    let (level, weight) = match kind {
        Kind::Latency => (&mut own.latency, 1.0),
        Kind::Calls => (&mut own.calls, 1.0),
        Kind::Success | Kind::Failure => (&mut own.failure, 1.0),
        Kind::Work => (&mut own.work, config.effect),
        Kind::Other => (&mut own.saturation, config.unknown),
        Kind::Saturation | Kind::Host => (&mut own.saturation, 1.0),
    };
    level.take(surprise, weight, config);
    speak(own, &series.metric, kind, surprise.nats, config);
}

fn speak(own: &mut Symptoms, metric: &str, kind: Kind, nats: f64, config: &Config) {
    if nats > config.noise {
        own.speaking.push(Speaking {
            metric: metric.to_owned(),
            kind,
            nats: nats - config.noise,
        });
    }
}

fn sum(values: &[f64]) -> (f64, f64) {
    let finite = values.iter().filter(|value| value.is_finite());
    finite.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0))
}

/// A share of failures, or of successes, times the requests; `None` where rows do not go together or it is no share.
fn failures(series: &Series, work: &Series, kind: Kind) -> Option<Series> {
    let parts = |s: &Series| [s.normal.len(), s.before.len(), s.abnormal.len()];
    if parts(series) != parts(work) {
        return None;
    }
    let all = || {
        series
            .normal
            .iter()
            .chain(&series.before)
            .chain(&series.abnormal)
    };
    let most = all().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let whole = match most {
        most if most <= 1.0 => 1.0,
        most if most <= 100.0 => 100.0,
        _ => return None,
    };
    let is_number_of_errors = kind == Kind::Failure && !is_share(&series.metric);
    if is_number_of_errors {
        return None;
    }
    let counted = |shares: &[f64], work: &[f64]| -> Vec<f64> {
        let failed = |share: f64| match kind {
            Kind::Success => 1.0 - share / whole,
            _ => share / whole,
        };
        let pairs = shares.iter().zip(work);
        pairs
            .map(|(share, n)| failed(*share) * n.max(0.0))
            .collect()
    };
    Some(Series {
        entity: series.entity.clone(),
        metric: series.metric.clone(),
        normal: counted(&series.normal, &work.normal),
        before: counted(&series.before, &work.before),
        abnormal: counted(&series.abnormal, &work.abnormal),
    })
}

fn is_share(metric: &str) -> bool {
    let name = metric.to_ascii_lowercase();
    ["rate", "ratio", "share", "percent", "%"]
        .iter()
        .any(|word| name.contains(word))
}

/// Who calls whom, from edges and spans, each pair once, nobody itself.
pub(crate) fn calls(evidence: &Evidence) -> BTreeSet<(&str, &str)> {
    let edges = evidence.edges.iter().map(|(a, b)| (a.as_str(), b.as_str()));
    let spans = crate::spans::calls(&evidence.spans);
    let name = |number: u32| {
        evidence
            .spans
            .services
            .get(number as usize)
            .map(String::as_str)
    };
    let spans = spans
        .into_iter()
        .filter_map(|(a, b)| Some((name(a)?, name(b)?)));
    edges.chain(spans).filter(|(a, b)| a != b).collect()
}
