//! What each entity shows by itself: its series, spans and lines as nats by family. (step 12)
//!
//! In: [`Evidence`]. Out: a [`Symptoms`] an entity. Failures told as a share of requests are counted: what two failures mean
//! depends on how many were asked. Host metrics tell entities of one host not apart and are left out.
//! Does not: know who calls whom.

use std::collections::{BTreeMap, BTreeSet};

use hsw_stats::median;

use crate::counts::{Count, strongest};
use crate::kind::Kind;
use crate::spans::{Slow, Spans, children};
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
    /// Seconds a row stands for, where that is known; rates are turned into counts by it.
    pub row_seconds: Option<f64>,
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
    /// Time that requests took beyond what is usual, all together, in units of the metric; where means and requests are known.
    pub(crate) extra_time: Option<f64>,
    /// Requests that failed beyond what is usual, where that is known.
    pub(crate) extra_failures: Option<f64>,
    /// What speaks, in nats above the noise.
    pub(crate) speaking: Vec<Speaking>,
}

/// Symptoms by entity. O(n log n) in values.
pub(crate) fn symptoms(evidence: &Evidence, config: &Config) -> BTreeMap<String, Symptoms> {
    let mut all: BTreeMap<String, Symptoms> = BTreeMap::new();
    let requests = requests(evidence);
    let levels = levels(&evidence.series);
    for series in &evidence.series {
        let own = all.entry(series.entity.clone()).or_default();
        let level = levels.get(series.metric.as_str()).copied();
        let requests = requests.get(series.entity.as_str());
        metric(own, series, requests, level.unwrap_or(0.0), config);
    }
    let children = children(&evidence.spans);
    for (entity, (nats, what)) in strongest(evidence.lines.iter().chain(&children)) {
        let own = all.entry(entity.to_owned()).or_default();
        let surprise = Surprise { nats, onset: None };
        own.failure.take(surprise, config.lines, config);
        speak(own, what, Kind::Failure, nats, config);
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

/// Requests by row of each entity: its first series of requests, rates turned into counts.
fn requests(evidence: &Evidence) -> BTreeMap<&str, Series> {
    let mut requests = BTreeMap::new();
    for series in &evidence.series {
        let name = series.metric.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if Kind::of(&series.metric) != Kind::Work || has(&["byte", "packet", "network", "syscall"])
        {
            continue;
        }
        let is_rate = has(&["ops", "qps", "rps", "tps", "rate", "/s", "per_sec"]);
        let seconds = match (is_rate, evidence.row_seconds) {
            (true, None) => continue,
            (true, Some(seconds)) => seconds,
            (false, _) => 1.0,
        };
        let times = |values: &[f64]| values.iter().map(|value| value * seconds).collect();
        requests
            .entry(series.entity.as_str())
            .or_insert_with(|| Series {
                normal: times(&series.normal),
                before: times(&series.before),
                abnormal: times(&series.abnormal),
                ..series.clone()
            });
    }
    requests
}

fn metric(
    own: &mut Symptoms,
    series: &Series,
    requests: Option<&Series>,
    level: f64,
    config: &Config,
) {
    let kind = Kind::of(&series.metric);
    if kind == Kind::Host {
        return;
    }
    let requests = requests.filter(|requests| sizes(requests) == sizes(series));
    let counted = requests.and_then(|requests| failures(series, requests, kind));
    let peers = config.peers * level;
    let (judged, bad, least) = match (&counted, kind) {
        (Some(counted), _) => (counted, Bad::Up, 1.0),
        (None, Kind::Success) => (series, Bad::Down, 0.0),
        (None, Kind::Latency | Kind::Calls | Kind::Failure) => (series, Bad::Up, 0.0),
        (None, _) => (series, Bad::Both, peers),
    };
    let rows = Rows {
        before: &judged.before,
        abnormal: &judged.abnormal,
    };
    let Some(mut usual) = usual(&judged.normal, least, config) else {
        return;
    };
    if counted.is_some() {
        // Failures that come now and then: at least the spread of a Poisson count.
        let (sum, n) = sum(&judged.normal);
        usual.scale = usual.scale.max((sum / n.max(1.0)).max(0.0).sqrt());
        let beyond = judged.abnormal.iter().map(|failed| failed - usual.centre);
        own.extra_failures = Some(sum_of(beyond));
    } else if let (Kind::Latency, true, Some(requests)) = (kind, is_mean(&series.metric), requests)
    {
        let beyond = series.abnormal.iter().zip(&requests.abnormal);
        let beyond = beyond.map(|(mean, n)| (mean - usual.centre) * n);
        own.extra_time = Some(sum_of(beyond));
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

/// What is usual of each metric over all that have it: the median of their medians, as an amount.
fn levels(series: &[Series]) -> BTreeMap<&str, f64> {
    let mut medians: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for series in series {
        let finite = series.normal.iter().copied().filter(|v| v.is_finite());
        if let Some(median) = median(&mut finite.collect::<Vec<f64>>()) {
            medians
                .entry(&series.metric)
                .or_default()
                .push(median.abs());
        }
    }
    let level =
        |(metric, mut medians): (_, Vec<f64>)| (metric, median(&mut medians).unwrap_or(0.0));
    medians.into_iter().map(level).collect()
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

fn sum_of(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|value| value.is_finite()).sum()
}

const fn sizes(series: &Series) -> [usize; 3] {
    [
        series.normal.len(),
        series.before.len(),
        series.abnormal.len(),
    ]
}

/// A share of failures, or of successes, times the requests; `None` where it is no share.
fn failures(series: &Series, requests: &Series, kind: Kind) -> Option<Series> {
    let is_share = match kind {
        Kind::Success => true,
        Kind::Failure => has(&series.metric, &["rate", "ratio", "share", "percent", "%"]),
        _ => false,
    };
    let all = [&series.normal, &series.before, &series.abnormal];
    let finite = all
        .iter()
        .flat_map(|part| part.iter())
        .filter(|v| v.is_finite());
    let whole = match finite.copied().fold(0.0, f64::max) {
        most if most <= 1.0 => 1.0,
        most if most <= 100.0 => 100.0,
        _ => return None,
    };
    let failed = |share: f64| match kind {
        Kind::Success => 1.0 - share / whole,
        _ => share / whole,
    };
    let counted = |shares: &[f64], requests: &[f64]| -> Vec<f64> {
        let pairs = shares.iter().zip(requests);
        pairs
            .map(|(share, n)| failed(*share) * n.max(0.0))
            .collect()
    };
    is_share.then(|| Series {
        normal: counted(&series.normal, &requests.normal),
        before: counted(&series.before, &requests.before),
        abnormal: counted(&series.abnormal, &requests.abnormal),
        ..series.clone()
    })
}

fn is_mean(metric: &str) -> bool {
    has(metric, &["average", "avg", "mean"])
}

fn has(metric: &str, words: &[&str]) -> bool {
    let name = metric.to_ascii_lowercase();
    words.iter().any(|word| name.contains(word))
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
