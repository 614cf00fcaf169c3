//! Changed plans as evidence of a shard that is sick anyway. (step 12)
//!
//! In: the log samples of a shard's nodes. Out: a piece of evidence for each plan that changed around the trouble.
//! Invariant: PC-1 a changed plan opens nothing and makes nobody sick: plans change all day without harm.

use hsw_state::{Cluster, NodeIndex};
use hsw_types::{Family, LogSample, SeriesKey, ShardId, Subject, Unit, WindowIndex};

use crate::incident::{Evidence, Symptom};

/// Severity of the samples that tell of a changed plan.
const SEVERITY: &str = "PLAN";
const METRIC: &str = "query.plan_changes";
/// A change this many windows before the trouble may have caused it.
const BEFORE: i64 = 60;
/// Strength among the evidence: that of a lone cause at the threshold. It is no part of the shard's own strength.
const WEIGHT: f64 = 3.0;
/// Pieces of evidence per node.
const N_MAX: usize = 3;

/// Adds what changed from shortly before the first of `evidence` on.
pub(crate) fn add(
    cluster: &Cluster,
    shard: &ShardId,
    nodes: impl Iterator<Item = NodeIndex>,
    window: WindowIndex,
    evidence: &mut Vec<Evidence>,
) {
    let began = evidence.iter().map(|e| e.since).min().unwrap_or(window);
    for node in nodes {
        let state = &cluster.nodes()[node];
        let is_near = |sample: &&LogSample| {
            sample.severity == SEVERITY
                && sample.at.window() >= began + -BEFORE
                && sample.at.window() <= window
        };
        for sample in state.log_samples.iter().rev().filter(is_near).take(N_MAX) {
            evidence.push(Evidence {
                symptom: Symptom::Deviation,
                node: state.node.clone(),
                shard: shard.clone(),
                series: series(cluster, node, &sample.text),
                family: Family::Access,
                unit: Unit::PerSecond,
                // The trouble began when it was felt, not when the plan changed.
                since: sample.at.window().max(began),
                value: 1.0,
                usual: Some(0.0),
                siblings: None,
                residual: 10.0,
                weight: WEIGHT,
                sentence: sample.text.clone(),
            });
        }
    }
}

/// The node's series that counted the change; one named by the sentence where it is not known.
fn series(cluster: &Cluster, node: NodeIndex, sentence: &str) -> SeriesKey {
    let named = sentence.strip_prefix("plan of `").unwrap_or(sentence);
    let keys = cluster.nodes()[node]
        .series
        .keys()
        .map(|key| &cluster.keys()[*key].key);
    let is_it = |key: &&SeriesKey| {
        let Subject::Template { text, .. } = &key.subject else {
            return false;
        };
        // The sentence may hold only the beginning of the text.
        let same = text
            .chars()
            .zip(named.chars())
            .take_while(|(a, b)| a == b)
            .count();
        key.metric == METRIC && same > 0 && (same >= 100 || text.chars().count() == same)
    };
    keys.filter(is_it)
        .max_by_key(|key| match &key.subject {
            Subject::Template { text, .. } => text.len(),
            _ => 0,
        })
        .cloned()
        .unwrap_or_else(|| SeriesKey::object(METRIC, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symptoms::gather;
    use crate::view::NodeLiveness;
    use hsw_types::{NodeId, SeriesDef, SeriesId, SeriesValues, ShardSummary};

    const SENTENCE: &str = "plan of `select $1 from t` changed: Index Scan t_pkey -> Seq Scan t";

    fn cluster() -> Cluster {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        let key = SeriesKey {
            metric: METRIC.to_owned(),
            subject: Subject::Template {
                hash: 1,
                text: "select $1 from t".to_owned(),
            },
        };
        let sample = LogSample {
            at: WindowIndex(100).start(),
            severity: SEVERITY.to_owned(),
            code: String::new(),
            text: SENTENCE.to_owned(),
        };
        cluster.apply(
            node,
            ShardSummary {
                first_window: WindowIndex(100),
                n_windows: 1,
                dictionary_epoch: 1,
                facts: None,
                dictionary: vec![SeriesDef {
                    id: SeriesId(0),
                    key,
                }],
                series: vec![SeriesValues {
                    id: SeriesId(0),
                    values: vec![Some(1.0)],
                }],
                latencies: Vec::new(),
                log_samples: vec![sample],
                sources: Vec::new(),
                hot: Vec::new(),
            },
        );
        cluster
    }

    #[test]
    fn a_changed_plan_is_evidence_of_a_sick_shard_and_makes_none_sick() {
        let (cluster, shard) = (cluster(), ShardId::new("s").unwrap());
        let of = |liveness| gather(&cluster, &shard, &[], &[(0, liveness)], WindowIndex(110));
        let well = of(NodeLiveness::Alive);
        assert!(well.evidence.is_empty() && !well.is_sick && !well.is_opening);
        let sick = of(NodeLiveness::DatabaseSilent);
        let plan = sick.evidence.iter().find(|e| e.sentence == SENTENCE);
        assert_eq!(
            plan.map(|e| e.series.to_string()).as_deref(),
            Some("query.plan_changes{select $1 from t}")
        );
        let late = gather(
            &cluster,
            &shard,
            &[],
            &[(0, NodeLiveness::DatabaseSilent)],
            WindowIndex(400),
        );
        let strength = |s: &crate::symptoms::Symptoms| s.strength;
        assert!(
            (strength(&sick) - strength(&late)).abs() < 1e-9,
            "it adds no strength"
        );
    }

    #[test]
    fn an_old_change_says_nothing_of_new_trouble() {
        let cluster = cluster();
        let mut evidence = Vec::new();
        let shard = ShardId::new("s").unwrap();
        add(
            &cluster,
            &shard,
            [0].into_iter(),
            WindowIndex(161),
            &mut evidence,
        );
        assert!(evidence.is_empty());
        add(
            &cluster,
            &shard,
            [0].into_iter(),
            WindowIndex(160),
            &mut evidence,
        );
        assert_eq!(evidence.len(), 1);
    }
}
