//! Which kinds of log lines are new, or far more frequent than they were: evidence beside the symptoms. (step 12)
//!
//! In: the series of templates of a sick shard's nodes. Out: at most [`N_MAX`] pieces of evidence, too light to rank above a
//! finding. A template without a value in a window was not written in it; what was not told before the node was known is unknown.
//! Does not: open an incident; a new line alone is no trouble.

use hsw_state::{Cluster, NodeIndex};
use hsw_types::{Family, ShardId, Subject, Unit, WindowIndex};

use crate::incident::{Evidence, Symptom};
use crate::words;

/// Pieces of evidence per shard.
const N_MAX: usize = 3;
/// What is "now": long enough for one line every few seconds to be a rate, short against the four minutes that are kept.
const NOW_WINDOWS: i64 = 15;
/// A node must be known this long before "now" for anything to be new.
const BEFORE_WINDOWS_MIN: i64 = 60;
/// Windows that are kept of a series.
const KEPT_WINDOWS: i64 = hsw_state::RING_WINDOWS as i64;
/// A surge: standard deviations of a Poisson count that expects what was written before, one added so that few is never many.
const SURGE: f64 = 6.0;
/// Weight of the strongest of them; below any finding's.
const WEIGHT: f64 = 0.02;

/// The metric of templates.
const METRIC: &str = "log.template";

struct Line {
    deviation: f64,
    evidence: Evidence,
}

/// New and surging lines of one shard's nodes at `window`, strongest first. O(series of the nodes).
pub(crate) fn gather(
    cluster: &Cluster,
    shard: &ShardId,
    nodes: &[NodeIndex],
    window: WindowIndex,
) -> Vec<Evidence> {
    let mut lines: Vec<Line> = nodes
        .iter()
        .flat_map(|&node| of_node(cluster, shard, node, window))
        .collect();
    lines.sort_by(|a, b| {
        let names =
            (&a.evidence.node, &a.evidence.series).cmp(&(&b.evidence.node, &b.evidence.series));
        b.deviation.total_cmp(&a.deviation).then(names)
    });
    lines.truncate(N_MAX);
    let evidence = lines.into_iter().enumerate().map(|(rank, line)| Evidence {
        weight: WEIGHT / (rank + 1) as f64,
        ..line.evidence
    });
    evidence.collect()
}

fn of_node(cluster: &Cluster, shard: &ShardId, node: NodeIndex, window: WindowIndex) -> Vec<Line> {
    let state = &cluster.nodes()[node];
    let Some(first) = state.first else {
        return Vec::new();
    };
    let n_before = (window - first + 1 - NOW_WINDOWS).min(KEPT_WINDOWS - NOW_WINDOWS);
    if n_before < BEFORE_WINDOWS_MIN {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for (key, series) in &state.series {
        let key = &cluster.keys()[*key].key;
        let Subject::Template { text, .. } = &key.subject else {
            continue;
        };
        if key.metric != METRIC || window - series.newest() >= NOW_WINDOWS {
            continue;
        }
        let sum = |last, n| {
            series
                .back_from(last, n)
                .map(|(_, lines)| lines)
                .sum::<f64>()
        };
        let now = sum(window, NOW_WINDOWS);
        let before = sum(window + -NOW_WINDOWS, n_before);
        let expected = before * NOW_WINDOWS as f64 / n_before as f64;
        let deviation = (now - expected) / (expected + 1.0).sqrt();
        let is_new = before == 0.0 && now > 0.0;
        if !is_new && deviation < SURGE {
            continue;
        }
        let (rate, usual) = (now / NOW_WINDOWS as f64, before / n_before as f64);
        let said = |rate| words::in_words(rate, Unit::PerSecond);
        let sentence = if is_new {
            format!(
                "new in the log, {} times in {NOW_WINDOWS} s: {text}",
                now.round()
            )
        } else {
            format!(
                "in the log {} (usually {}): {text}",
                said(rate),
                said(usual)
            )
        };
        let since = series.back_from(window, NOW_WINDOWS).last();
        lines.push(Line {
            deviation,
            evidence: Evidence {
                symptom: Symptom::LogLine,
                node: state.node.clone(),
                shard: shard.clone(),
                series: key.clone(),
                family: Family::Errors,
                unit: Unit::PerSecond,
                since: since.map_or(window, |(window, _)| window),
                value: rate,
                usual: Some(usual),
                siblings: None,
                residual: deviation,
                weight: 0.0,
                sentence,
            },
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{NodeId, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary};

    fn told(first: i64, values: &[(u32, f64)], named: bool) -> ShardSummary {
        let key = |text: &str| SeriesKey {
            metric: METRIC.to_owned(),
            subject: Subject::Template {
                hash: text.len() as u64,
                text: text.to_owned(),
            },
        };
        let names = ["checkpoint complete", "disk full", "deadlock"];
        let define = |(id, text): (usize, &&str)| SeriesDef {
            id: SeriesId(id as u32),
            key: key(text),
        };
        ShardSummary {
            first_window: WindowIndex(first),
            n_windows: 1,
            dictionary_epoch: 1,
            facts: None,
            dictionary: if named {
                names.iter().enumerate().map(define).collect()
            } else {
                Vec::new()
            },
            series: values
                .iter()
                .map(|&(id, n)| SeriesValues {
                    id: SeriesId(id),
                    values: vec![Some(n)],
                })
                .collect(),
            latencies: Vec::new(),
            log_samples: Vec::new(),
            sources: Vec::new(),
        }
    }

    #[test]
    fn a_line_never_seen_before_and_a_surge_are_told_and_the_usual_is_not() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        for window in 0..100 {
            let usual = [(0, 1.0), (2, if window % 10 == 0 { 1.0 } else { 0.0 })];
            cluster.apply(node, told(window, &usual, window == 0));
        }
        let shard = ShardId::new("s").unwrap();
        assert!(gather(&cluster, &shard, &[node], WindowIndex(99)).is_empty());
        for window in 100..105 {
            cluster.apply(node, told(window, &[(0, 1.0), (1, 1.0), (2, 5.0)], false));
        }
        let evidence = gather(&cluster, &shard, &[node], WindowIndex(104));
        let said: Vec<&str> = evidence.iter().map(|e| e.sentence.as_str()).collect();
        assert_eq!(
            said,
            [
                "in the log 1.73/s (usually 0.1/s): deadlock",
                "new in the log, 5 times in 15 s: disk full"
            ]
        );
        assert_eq!(evidence[1].since, WindowIndex(100));
    }

    #[test]
    fn nothing_is_new_on_a_node_that_is_itself_new() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        for window in 0..70 {
            cluster.apply(node, told(window, &[(1, 1.0)], window == 0));
        }
        let shard = ShardId::new("s").unwrap();
        assert!(gather(&cluster, &shard, &[node], WindowIndex(69)).is_empty());
    }
}
