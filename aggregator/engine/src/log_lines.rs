//! Which kinds of log lines are new or far more frequent than they were, and which statements far slower: evidence beside the
//! symptoms. (step 12)
//!
//! In: the series of templates and fingerprints of a sick shard's nodes. Out: at most [`N_LINES`] and [`N_QUERIES`] pieces of
//! evidence, too light to rank above a finding. A template without a value in a window was not written in it; new is what
//! neither this node nor any other has written before.
//! Does not: open an incident; a new line alone is no trouble.

use hsw_state::{Cluster, KeyIndex, NodeIndex, NodeState, Series};
use hsw_types::{Family, ShardId, Subject, Unit, WindowIndex};

use crate::incident::{Evidence, Symptom};
use crate::words;

/// Pieces of evidence of lines per shard.
const N_LINES: usize = 3;
/// Pieces of evidence of statements per shard.
const N_QUERIES: usize = 2;
/// What is "now": long enough for one line every few seconds to be a rate, short against the four minutes that are kept.
const NOW_WINDOWS: i64 = 15;
/// A node must be known this long before "now" for anything to be new.
const BEFORE_WINDOWS_MIN: i64 = 20;
/// Windows that are kept of a series.
const KEPT_WINDOWS: i64 = hsw_state::RING_WINDOWS as i64;
/// A surge: standard deviations of a Poisson count that expects what was written before, one added so that few is never many.
const SURGE: f64 = 6.0;
/// A statement is slower when it takes so many times as long as its slowest before.
const SLOWER: f64 = 3.0;
/// Weight of the strongest of them; below any finding's.
const WEIGHT: f64 = 0.02;

/// What is counted of a template.
const LINES: &str = "log.template";
/// What is measured of a fingerprint.
const QUERIES: &str = "query.latency_ms";

struct Found {
    deviation: f64,
    evidence: Evidence,
}

/// Where to look.
struct Place<'a> {
    cluster: &'a Cluster,
    shard: &'a ShardId,
    node: NodeIndex,
    state: &'a NodeState,
    window: WindowIndex,
    /// Windows before "now" of which the node has told.
    n_before: i64,
}

/// New and surging lines and slower statements of one shard's nodes at `window`, strongest first. O(series of the nodes).
pub(crate) fn gather(
    cluster: &Cluster,
    shard: &ShardId,
    nodes: &[NodeIndex],
    window: WindowIndex,
) -> Vec<Evidence> {
    let (mut lines, mut queries) = (Vec::new(), Vec::new());
    for &node in nodes {
        let state = &cluster.nodes()[node];
        let Some(first) = state.first else { continue };
        let n_before = (window - first + 1 - NOW_WINDOWS).min(KEPT_WINDOWS - NOW_WINDOWS);
        if n_before < BEFORE_WINDOWS_MIN {
            continue;
        }
        let place = Place {
            cluster,
            shard,
            node,
            state,
            window,
            n_before,
        };
        for (&key, series) in &state.series {
            if window - series.newest() >= NOW_WINDOWS {
                continue;
            }
            let known = &cluster.keys()[key].key;
            let Subject::Template { text, .. } = &known.subject else {
                continue;
            };
            match known.metric.as_str() {
                LINES => lines.extend(place.line(key, series, text)),
                QUERIES => queries.extend(place.query(key, series, text)),
                _ => {}
            }
        }
    }
    let mut evidence = strongest(lines, N_LINES);
    evidence.extend(strongest(queries, N_QUERIES));
    evidence
}

fn strongest(mut found: Vec<Found>, n: usize) -> Vec<Evidence> {
    found.sort_by(|a, b| {
        let name = |f: &Found| (f.evidence.node.clone(), f.evidence.series.clone());
        let order = b.deviation.total_cmp(&a.deviation);
        order.then_with(|| name(a).cmp(&name(b)))
    });
    let ranked = found.into_iter().take(n).enumerate();
    ranked
        .map(|(rank, one)| Evidence {
            weight: WEIGHT / (rank + 1) as f64,
            ..one.evidence
        })
        .collect()
}

impl Place<'_> {
    fn line(&self, key: KeyIndex, series: &Series, text: &str) -> Option<Found> {
        let sum = |last, n| {
            let values = series.back_from(last, n);
            values.map(|(_, lines)| lines).sum::<f64>()
        };
        let now = sum(self.window, NOW_WINDOWS);
        let before = sum(self.window + -NOW_WINDOWS, self.n_before);
        let expected = before * NOW_WINDOWS as f64 / self.n_before as f64;
        let deviation = (now - expected) / (expected + 1.0).sqrt();
        let is_new = before == 0.0 && now > 0.0 && !self.is_elsewhere(key);
        if !is_new && deviation < SURGE {
            return None;
        }
        let (rate, usual) = (now / NOW_WINDOWS as f64, before / self.n_before as f64);
        let said = |rate| words::in_words(rate, Unit::PerSecond);
        let sentence = if is_new {
            let times = match now.round() {
                1.0 => "once".to_owned(),
                n => format!("{n} times"),
            };
            format!("new in the log, {times} in {NOW_WINDOWS} s: {text}")
        } else {
            let (rate, usual) = (said(rate), said(usual));
            format!("in the log {rate} (usually {usual}): {text}")
        };
        let values = (rate, Some(usual));
        Some(self.found(key, series, deviation, values, sentence))
    }

    fn query(&self, key: KeyIndex, series: &Series, text: &str) -> Option<Found> {
        let slowest = |last, n| {
            let values = series.back_from(last, n).map(|(_, ms)| ms);
            values.max_by(f64::total_cmp)
        };
        let now = slowest(self.window, NOW_WINDOWS)?;
        let before = slowest(self.window + -NOW_WINDOWS, self.n_before);
        let said = |ms| words::in_words(ms, Unit::Milliseconds);
        let sentence = match before {
            Some(before) if now < SLOWER * before => return None,
            Some(before) => format!(
                "query `{text}` took p95 {} (at most {} before)",
                said(now),
                said(before)
            ),
            None if self.is_elsewhere(key) => return None,
            None => format!("query `{text}` took p95 {}, not slow before", said(now)),
        };
        Some(self.found(key, series, now, (now, before), sentence))
    }

    /// Whether another node has written it before "now".
    fn is_elsewhere(&self, key: KeyIndex) -> bool {
        let mut others = self.cluster.keys()[key].nodes.iter();
        others.any(|&other| {
            let series = self.cluster.nodes()[other].series.get(&key);
            let before = self.window + -NOW_WINDOWS;
            let has_told =
                |series: &Series| series.back_from(before, KEPT_WINDOWS).any(|(_, v)| v > 0.0);
            other != self.node && series.is_some_and(has_told)
        })
    }

    fn found(
        &self,
        key: KeyIndex,
        series: &Series,
        deviation: f64,
        (value, usual): (f64, Option<f64>),
        sentence: String,
    ) -> Found {
        let info = &self.cluster.keys()[key];
        let since = series.back_from(self.window, NOW_WINDOWS).last();
        Found {
            deviation,
            evidence: Evidence {
                symptom: Symptom::LogLine,
                node: self.state.node.clone(),
                shard: self.shard.clone(),
                series: info.key.clone(),
                family: info.spec.map_or(Family::Errors, |spec| spec.family),
                unit: info.spec.map_or(Unit::PerSecond, |spec| spec.unit),
                since: since.map_or(self.window, |(window, _)| window),
                value,
                usual,
                siblings: None,
                residual: deviation,
                weight: 0.0,
                sentence,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{NodeId, SeriesDef, SeriesId, SeriesKey, SeriesValues, ShardSummary};

    fn told(first: i64, values: &[(u32, f64)], named: bool) -> ShardSummary {
        let key = |text: &str| SeriesKey {
            metric: LINES.to_owned(),
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
            hot: Vec::new(),
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
    fn what_another_node_has_written_before_is_not_new() {
        let mut cluster = Cluster::new(10);
        let nodes = ["a", "b"].map(|name| cluster.node_index(&NodeId::new(name).unwrap()));
        for window in 0..100 {
            let (a, b): (&[_], &[_]) = (&[(0, 1.0)], &[(1, 1.0)]);
            cluster.apply(
                nodes[0],
                told(window, if window < 95 { a } else { b }, window == 0),
            );
            cluster.apply(nodes[1], told(window, b, window == 0));
        }
        let shard = ShardId::new("s").unwrap();
        assert!(gather(&cluster, &shard, &nodes[..1], WindowIndex(99)).is_empty());
    }

    #[test]
    fn a_statement_that_takes_many_times_as_long_is_told() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        for window in 0..100 {
            let ms = if window < 95 { 20.0 } else { 800.0 };
            let mut one = told(window, &[(0, ms)], window == 0);
            for def in &mut one.dictionary {
                def.key.metric = QUERIES.to_owned();
            }
            cluster.apply(node, one);
        }
        let shard = ShardId::new("s").unwrap();
        let evidence = gather(&cluster, &shard, &[node], WindowIndex(99));
        let expected = "query `checkpoint complete` took p95 800 ms (at most 20 ms before)";
        assert_eq!(evidence[0].sentence, expected);
    }

    #[test]
    fn nothing_is_new_on_a_node_that_is_itself_new() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        for window in 0..34 {
            cluster.apply(node, told(window, &[(1, 1.0)], window == 0));
        }
        let shard = ShardId::new("s").unwrap();
        assert!(gather(&cluster, &shard, &[node], WindowIndex(33)).is_empty());
    }
}
