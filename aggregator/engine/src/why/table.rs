//! The last minutes of a shard as attributes whose names are the same on every shard and machine. (step 12)
//!
//! In: the state, a shard's nodes. Out: columns, a value a window. Names carry no node: a metric, its object where objects are
//! the same everywhere (wait classes, SQLSTATEs, severities), `replica` before it where it is a replica's. Of objects that
//! differ between machines (devices, tables) the worst counts. Cores and memory are shares of what the node has.
//! Limits: [`ATTRIBUTES_MAX`] attributes, those of the node first. Does not: judge.

use std::collections::BTreeMap;

use hsw_state::{Cluster, NodeIndex, NodeState};
use hsw_types::{Bad, MetricSpec, NodeId, Role, SeriesKey, Subject, Tier, Unit, WindowIndex};

/// Attributes of a shard at most.
const ATTRIBUTES_MAX: usize = 600;
/// Metrics whose objects are called the same everywhere.
const SAME_OBJECTS: [&str; 3] = ["log.error_code", "log.lines", "pg.sessions_waiting"];
/// What the agent says of itself, and what only ever grows: no sign of anything within minutes.
const LEFT_OUT: [&str; 8] = [
    "agent.cpu_cores",
    "agent.rss_bytes",
    "agent.spool_bytes",
    "data_fs.free_bytes",
    "log.lag_bytes",
    "pg.agent_query_ms",
    "pg.frozen_xid_age",
    "pg.xmin_age",
];
/// A metric that every node tells each second, whatever its database does.
const PULSE: &str = "agent.cpu_cores";
/// Windows in which whoever tells only each few seconds is still believed.
const HELD_WINDOWS: i64 = 12;

/// One attribute of a shard.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    /// The series it is from; of several objects without the object.
    pub(crate) key: SeriesKey,
    /// The node it is from.
    pub(crate) node: NodeId,
    /// What the catalogue says.
    pub(crate) spec: Option<&'static MetricSpec>,
    /// Whether it may be kept in cases: others hold names of one application only.
    pub(crate) carries_over: bool,
    /// What values were divided by so that they carry over; 1 for most.
    pub(crate) scale: f64,
    /// A value a window, NaN where none was told.
    pub(crate) values: Vec<f64>,
}

/// Windows from the first to the last, both within.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: WindowIndex,
    pub(crate) last: WindowIndex,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        usize::try_from(self.last - self.first + 1).unwrap_or(0)
    }
}

/// A shard's attributes of a tier and above by name. O(series of its nodes · windows).
pub(crate) fn gather(
    cluster: &Cluster,
    members: &[NodeIndex],
    span: Span,
    tier: Tier,
) -> BTreeMap<String, Attribute> {
    let mut all = BTreeMap::new();
    for &at in members {
        let node = &cluster.nodes()[at];
        let prefix = match node.facts.role {
            Role::Replica => "replica ",
            _ => "",
        };
        take(cluster, node, prefix, (span, tier), &mut all);
    }
    all
}

fn take(
    cluster: &Cluster,
    node: &NodeState,
    prefix: &str,
    (span, tier): (Span, Tier),
    all: &mut BTreeMap<String, Attribute>,
) {
    let told = told(cluster, node, span);
    for (at, series) in &node.series {
        let info = &cluster.keys()[*at];
        if info.spec.map_or(Tier::Context, |spec| spec.tier) < tier {
            continue;
        }
        let Some((name, key, carries_over)) = name(&info.key) else {
            continue;
        };
        let name = format!("{prefix}{name}");
        if all.len() >= ATTRIBUTES_MAX && !all.contains_key(&name) {
            continue;
        }
        let mut values = vec![f64::NAN; span.len()];
        for (window, value) in series.back_from(span.last, span.len() as i64) {
            if let Some(place) = usize::try_from(window - span.first).ok()
                && let Some(slot) = values.get_mut(place)
            {
                *slot = value;
            }
        }
        fill(&mut values, &told, &info.key);
        let scale = scale(node, info.spec.map(|spec| spec.unit), &info.key.metric);
        values.iter_mut().for_each(|value| *value /= scale);
        let is_low = info.spec.is_some_and(|spec| spec.bad == Bad::Low);
        match all.get_mut(&name) {
            Some(known) => worst(&mut known.values, &values, is_low),
            None => {
                let attribute = Attribute {
                    key,
                    node: node.node.clone(),
                    spec: info.spec,
                    carries_over,
                    scale,
                    values,
                };
                all.insert(name, attribute);
            }
        }
    }
}

/// What an attribute is called, the series it stands for, and whether other clusters have it too.
fn name(key: &SeriesKey) -> Option<(String, SeriesKey, bool)> {
    let metric = key.metric.as_str();
    if LEFT_OUT.contains(&metric) {
        return None;
    }
    match &key.subject {
        Subject::Node => Some((metric.to_owned(), key.clone(), true)),
        Subject::Object(object) if SAME_OBJECTS.contains(&metric) => {
            Some((format!("{metric} {object}"), key.clone(), true))
        }
        Subject::Object(_) => Some((format!("{metric} worst"), SeriesKey::node(metric), true)),
        Subject::Template { hash, .. } => Some((format!("{metric} {hash:x}"), key.clone(), false)),
        Subject::Edge(_) => None,
    }
}

/// Windows of which the node has told anything, whatever its database does.
fn told(cluster: &Cluster, node: &NodeState, span: Span) -> Vec<bool> {
    let mut told = vec![false; span.len()];
    let pulse = cluster.find_key(&SeriesKey::node(PULSE));
    let own = pulse.and_then(|key| node.series.get(&key));
    // Without a pulse (another kind of agent) whatever it tells counts; a dozen series say it.
    let others = node
        .series
        .values()
        .take(if own.is_some() { 0 } else { 12 });
    for series in own.into_iter().chain(others) {
        for (window, _) in series.back_from(span.last, span.len() as i64) {
            if let Some(place) = usize::try_from(window - span.first).ok()
                && let Some(slot) = told.get_mut(place)
            {
                *slot = true;
            }
        }
    }
    told
}

/// What is told only when there is something of it (lines, waits) is 0 where the node told and this is missing; what is told every
/// few seconds holds until it is told again.
fn fill(values: &mut [f64], told: &[bool], key: &SeriesKey) {
    let is_counted = key.metric.starts_with("log.") || SAME_OBJECTS.contains(&key.metric.as_str());
    if is_counted {
        for (value, told) in values.iter_mut().zip(told) {
            if value.is_nan() && *told {
                *value = 0.0;
            }
        }
        return;
    }
    let known = values.iter().filter(|value| !value.is_nan()).count();
    if known * 2 >= values.len() || matches!(key.subject, Subject::Template { .. }) {
        return;
    }
    let (mut last, mut age) = (f64::NAN, 0);
    for value in values {
        if value.is_nan() {
            age += 1;
            if age < HELD_WINDOWS {
                *value = last;
            }
        } else {
            (last, age) = (*value, 0);
        }
    }
}

fn worst(all: &mut [f64], other: &[f64], is_low: bool) {
    for (known, value) in all.iter_mut().zip(other) {
        // Of a number and none the number.
        *known = if is_low {
            known.min(*value)
        } else {
            known.max(*value)
        };
    }
}

/// What a value is divided by so that it means the same on a larger machine.
fn scale(node: &NodeState, unit: Option<Unit>, metric: &str) -> f64 {
    let capacity = match unit {
        Some(Unit::Cores) => f64::from(node.facts.cpu_cores),
        Some(Unit::Bytes) if metric.contains("memory") || metric.contains("rss") => {
            node.facts.memory_bytes as f64
        }
        _ => 1.0,
    };
    if capacity > 0.0 { capacity } else { 1.0 }
}
