//! A shard's symptoms at one window: findings and liveness of its nodes, and how strong they are together. (steps 10–11)

use std::collections::BTreeMap;

use hsw_detect::Finding;
use hsw_state::{Cluster, NodeIndex};
use hsw_types::{Family, SeriesKey, ShardId, Tier, Unit, WindowIndex};

use crate::incident::{Evidence, Symptom};
use crate::liveness::UP;
use crate::log_lines;
use crate::plans;
use crate::view::NodeLiveness;
use crate::words;

/// A lone cause must hold this many windows beyond the smoothing; with a second family it need only hold
/// [`SUPPORTED_WINDOWS`].
const ALONE_WINDOWS: u32 = 3;
const SUPPORTED_WINDOWS: u32 = 2;
/// A symptom opens an incident only from this score, this long, and with a second family.
const SYMPTOM_SCORE: f64 = 8.0;
const SYMPTOM_WINDOWS: u32 = 3;
/// Evidence that builds up: from this score on, score times windows held. So much opens an incident where another family waits or suffers
/// too, and that much one that stands alone: ten windows at a score of twelve, and fifteen at sixteen. Swept over simulated faults and
/// harmless disturbances (seeds 1 to 3 and 101): scores of 12 to 16 and 14 to 20 find the same; from 8 on the first checkpoint of a shard
/// that has just been met is one too.
const SUPPORTED: (f64, f64) = (12.0, 120.0);
const LONE: (f64, f64) = (16.0, 240.0);
/// Scores beyond this say no more: it is certain.
const SCORE_CERTAIN: f64 = 30.0;
/// Strength of a database that does not answer: more than all families of findings together usually reach.
const LIVENESS_STRENGTH: f64 = 25.0;
/// Strength at which confidence is 63 %.
const STRENGTH_UNIT: f64 = 3.0;

/// What one shard shows at one window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Symptoms {
    /// Evidence, strongest first; each weight is the evidence's strength.
    pub(crate) evidence: Vec<Evidence>,
    /// Sum over families of their strongest evidence.
    pub(crate) strength: f64,
    /// The part of it that only this shard itself can have caused.
    pub(crate) own_strength: f64,
    /// Enough for an incident with this shard as root.
    pub(crate) is_opening: bool,
    /// Users feel it, or it is a cause: keeps an incident open.
    pub(crate) is_sick: bool,
    /// All there is, is that nobody is heard: it says nothing about anybody else's trouble.
    pub(crate) is_blind: bool,
    /// Longest that any evidence has held.
    pub(crate) held: u32,
}

impl Symptoms {
    /// 0 to 1; 1 − exp(−strength / 3), so that a single lone cause at the threshold gives about 0.4.
    pub(crate) fn confidence(&self) -> f64 {
        // Not −expm1 alone: that is −0 for no strength.
        0.0 - hsw_stats::exp_m1(-self.strength / STRENGTH_UNIT)
    }
}

const fn tier_weight(tier: Tier) -> f64 {
    match tier {
        Tier::Cause => 3.0,
        Tier::Symptom => 1.0,
        Tier::Activity => 0.4,
        Tier::Context => 0.0,
    }
}

pub(crate) fn strength_of(finding: &Finding) -> f64 {
    tier_weight(finding.spec.tier) * finding.score.min(SCORE_CERTAIN) / 10.0
}

/// The symptoms of a shard with these findings (held ones) and node states.
pub(crate) fn gather(
    cluster: &Cluster,
    shard: &ShardId,
    findings: &[&Finding],
    liveness: &[(NodeIndex, NodeLiveness)],
    window: WindowIndex,
) -> Symptoms {
    let held: Vec<&&Finding> = findings.iter().filter(|f| f.held > 0).collect();
    let mut by_family: BTreeMap<Family, f64> = BTreeMap::new();
    let mut own_by_family: BTreeMap<Family, f64> = BTreeMap::new();
    for finding in &held {
        let strength = strength_of(finding);
        let best = by_family.entry(finding.spec.family).or_default();
        *best = best.max(strength);
        if finding.spec.tier == Tier::Cause {
            let best = own_by_family.entry(finding.spec.family).or_default();
            *best = best.max(strength);
        }
    }
    let is_opening = held.iter().any(|f| opens(f, &held));
    let mut symptoms = Symptoms {
        strength: by_family.values().sum(),
        own_strength: own_by_family.values().sum(),
        is_opening,
        is_sick: is_opening || held.iter().any(|f| f.spec.tier >= Tier::Symptom),
        is_blind: false,
        held: held.iter().map(|f| f.held).max().unwrap_or(0),
        evidence: held.iter().map(|f| of_finding(cluster, shard, f)).collect(),
    };
    for &(node, state) in liveness {
        if let Some(evidence) = of_liveness(cluster, shard, node, state, window) {
            symptoms.strength += LIVENESS_STRENGTH;
            if is_of_database(evidence.symptom) {
                symptoms.own_strength += LIVENESS_STRENGTH;
            }
            symptoms.is_opening = true;
            symptoms.is_sick = true;
            symptoms.held = symptoms.held.max(1);
            symptoms.evidence.push(evidence);
        }
    }
    symptoms.is_blind = !symptoms.evidence.is_empty()
        && !symptoms.evidence.iter().any(|e| is_of_database(e.symptom));
    if symptoms.is_sick && !symptoms.is_blind {
        let nodes: Vec<NodeIndex> = liveness.iter().map(|&(node, _)| node).collect();
        let members = nodes.iter().copied();
        plans::add(cluster, shard, members, window, &mut symptoms.evidence);
        let lines = log_lines::gather(cluster, shard, &nodes, window);
        symptoms.evidence.extend(lines);
    }
    sort(&mut symptoms.evidence);
    symptoms
}

/// Whether the symptom is the database's own, and not that its watcher is gone.
pub(crate) const fn is_of_database(symptom: Symptom) -> bool {
    !matches!(symptom, Symptom::AgentLost | Symptom::HostLost)
}

/// A metric of the left opens an incident only while the one of the right deviates too: rows read by scans are a dump or
/// a report when the scans are few, and a lost index when they are many.
const COMPANIONS: &[(&str, &str)] = &[("pg.sequential_tuples", "pg.sequential_scans")];

fn opens(finding: &Finding, held: &[&&Finding]) -> bool {
    let companion = COMPANIONS
        .iter()
        .find(|(metric, _)| *metric == finding.spec.name);
    if companion.is_some_and(|(_, other)| !held.iter().any(|f| f.spec.name == *other)) {
        return false;
    }
    let is_supported = held.iter().any(|f| f.spec.family != finding.spec.family);
    match finding.spec.tier {
        Tier::Cause if is_supported => finding.held >= SUPPORTED_WINDOWS,
        Tier::Cause => finding.held >= ALONE_WINDOWS,
        Tier::Symptom => {
            let is_quick = finding.held >= SYMPTOM_WINDOWS && finding.score >= SYMPTOM_SCORE;
            (is_supported && is_quick) || has_built_up(finding, held)
        }
        Tier::Activity if finding.limit_s.is_some() => finding.held >= ALONE_WINDOWS,
        Tier::Activity => finding.spec.is_wait && has_built_up(finding, held),
        Tier::Context => false,
    }
}

/// Whether it says that somebody waits or suffers here; throughput that falls does not, while nobody waits and nothing fails.
pub(crate) fn is_harm(finding: &Finding) -> bool {
    let is_suffering =
        finding.spec.tier >= Tier::Symptom && finding.spec.family != Family::Throughput;
    finding.spec.is_wait || is_suffering
}

/// What is not far enough for an incident at once is one when it lasts: evidence is its score times the windows that it has been held.
/// Only another family that waits or suffers supports it; what only does more or less than usual may be harmless, and so may throughput
/// that falls while nobody waits and nothing fails.
fn has_built_up(finding: &Finding, held: &[&&Finding]) -> bool {
    let is_supported = held
        .iter()
        .any(|f| f.spec.family != finding.spec.family && is_harm(f));
    let evidence = finding.score.min(SCORE_CERTAIN) * f64::from(finding.held);
    let reaches = |(score, sum): (f64, f64)| finding.score >= score && evidence >= sum;
    is_harm(finding) && (reaches(LONE) || (is_supported && reaches(SUPPORTED)))
}

fn of_finding(cluster: &Cluster, shard: &ShardId, finding: &Finding) -> Evidence {
    let key = &cluster.keys()[finding.key].key;
    Evidence {
        symptom: Symptom::Deviation,
        node: cluster.nodes()[finding.node].node.clone(),
        shard: shard.clone(),
        series: key.clone(),
        family: finding.spec.family,
        unit: finding.spec.unit,
        since: finding.since,
        value: finding.value,
        usual: Some(finding.usual),
        siblings: finding.siblings,
        residual: finding.score * if finding.direction < 0.0 { -1.0 } else { 1.0 },
        weight: strength_of(finding),
        sentence: words::sentence(finding, key),
    }
}

fn of_liveness(
    cluster: &Cluster,
    shard: &ShardId,
    node: NodeIndex,
    state: NodeLiveness,
    window: WindowIndex,
) -> Option<Evidence> {
    let name = &cluster.nodes()[node].node;
    let (symptom, sentence) = match state {
        NodeLiveness::DatabaseSilent => (
            Symptom::DatabaseSilent,
            format!("the database of {name} accepts connections but does not answer"),
        ),
        NodeLiveness::DatabaseDown => (
            Symptom::DatabaseDown,
            format!("the database of {name} refuses connections; its agent is well"),
        ),
        NodeLiveness::AgentLost => (
            Symptom::AgentLost,
            format!("nothing is heard from the agent of {name}; the database may be well"),
        ),
        NodeLiveness::HostLost => (
            Symptom::HostLost,
            format!("nothing is heard from any agent on the host of {name}"),
        ),
        NodeLiveness::NeverSeen | NodeLiveness::Alive | NodeLiveness::AgentStopped => return None,
    };
    Some(Evidence {
        symptom,
        node: name.clone(),
        shard: shard.clone(),
        series: SeriesKey::node(UP),
        family: Family::Liveness,
        unit: Unit::Count,
        since: silent_since(cluster, node).unwrap_or(window),
        value: 0.0,
        usual: Some(1.0),
        siblings: None,
        residual: -SCORE_CERTAIN,
        weight: LIVENESS_STRENGTH,
        sentence,
    })
}

/// The first window of the run of unanswered ones that ends now, or the first after the last that was told.
fn silent_since(cluster: &Cluster, node: NodeIndex) -> Option<WindowIndex> {
    let state = &cluster.nodes()[node];
    let newest = state.newest?;
    let key = cluster.find_key(&SeriesKey::node(UP))?;
    let values = state.series.get(&key)?.back_from(newest, 200);
    let unanswered = values.take_while(|(_, up)| *up < 0.5).last();
    Some(unanswered.map_or_else(|| newest.next(), |(window, _)| window))
}

fn sort(evidence: &mut [Evidence]) {
    evidence.sort_by(|a, b| {
        b.weight
            .total_cmp(&a.weight)
            .then_with(|| (&a.node, &a.series).cmp(&(&b.node, &b.series)))
    });
}

/// The `n` strongest, ties by series; weights then sum to 1.
pub(crate) fn strongest(mut evidence: Vec<Evidence>, n: usize) -> Vec<Evidence> {
    sort(&mut evidence);
    evidence.truncate(n);
    let sum: f64 = evidence.iter().map(|e| e.weight).sum();
    if sum > 0.0 {
        for one in &mut evidence {
            one.weight /= sum;
        }
    }
    evidence
}

#[cfg(test)]
#[path = "symptoms_tests.rs"]
mod tests;
