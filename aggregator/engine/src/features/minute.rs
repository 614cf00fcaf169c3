//! What the last minute's log lines and statements say of a shard, as columns `log.*` and `query.*` of the layout. (step 10)
//!
//! In: series of templates, fingerprints and counts of its nodes, four minutes of them. Out: the columns in the layout's
//! order. What was not seen in the three minutes before, on this shard, is new. Source: Anscombe 1948 (roots of counts).
//! O(template series × minutes kept). Does not: know what a line says.

use hsw_fusion::layout::{AT_LOG, AT_QUERY, COLUMNS_LOG, COLUMNS_QUERY};
use hsw_state::{Cluster, KeyIndex, NodeIndex, Series};
use hsw_types::{SeriesKey, Subject, WindowIndex};

/// Columns of lines and statements together; they lie side by side.
pub(super) const N: usize = COLUMNS_LOG.len() + COLUMNS_QUERY.len();
const QUERY: usize = AT_QUERY - AT_LOG;

/// The minute that is looked at.
const NOW: i64 = 60;
/// What it is compared with.
const BEFORE: i64 = hsw_state::RING_WINDOWS as i64 - NOW;
/// A statement's "now": long enough for three values of a rare one.
const QUERY_NOW: i64 = 15;
/// Values of a fingerprint before now from which its spread is known.
const N_KNOWN: usize = 8;
/// Windows in which some statement was logged, now and before, from which the mix is known: of fewer, chance alone moves half of it (ours, not
/// swept).
const N_MIX: f64 = 20.0;
/// Least spread of the logarithm of a latency: a tenth either way is nothing.
const SPREAD_LEAST: f64 = 0.1;
/// A fingerprint is slow from here on, robust standard deviations.
const SLOW: f64 = 3.0;

#[derive(Default)]
struct Sums {
    lines: f64,
    error_lines: f64,
    n_templates: usize,
    n_new: usize,
    n_unheard: usize,
    burst: f64,
    calls: f64,
    /// Of each fingerprint of each node the windows in which it was logged, in the minute and before.
    mix: Vec<(f64, f64)>,
    n_fingerprints: usize,
    n_slow: usize,
    slowest: f64,
    plan_changes: f64,
}

/// The columns of a shard with these nodes.
pub(super) fn look(cluster: &Cluster, nodes: &[NodeIndex], window: WindowIndex) -> [f64; N] {
    let mut sums = Sums::default();
    for &node in nodes {
        let state = &cluster.nodes()[node];
        let n_known = state.first.map_or(0, |first| window - first + 1);
        for (&key, series) in &state.series {
            let known = &cluster.keys()[key].key;
            if !matches!(known.subject, Subject::Template { .. }) {
                continue;
            }
            if known.metric == "query.latency_ms" {
                // One that is no longer heard belongs to the usual mix.
                sums.count(series, window);
            }
            if window - series.newest() >= NOW {
                continue;
            }
            match known.metric.as_str() {
                "log.template" => {
                    let elsewhere = || is_elsewhere(cluster, key, nodes, window);
                    sums.line(series, window, n_known, elsewhere);
                }
                "query.latency_ms" => sums.query(series, window),
                "query.plan_changes" => sums.plan_changes += sum(series, window, NOW),
                _ => {}
            }
        }
        let of = |metric: &str| {
            let key = cluster.find_key(&SeriesKey::node(metric))?;
            let series = state.series.get(&key)?;
            Some(sum(series, window, NOW))
        };
        sums.error_lines += of("log.errors").unwrap_or(0.0);
        sums.calls += of("pg.commits").unwrap_or(0.0);
    }
    sums.columns()
}

impl Sums {
    fn line(
        &mut self,
        series: &Series,
        window: WindowIndex,
        n_known: i64,
        is_elsewhere: impl Fn() -> bool,
    ) {
        let now = sum(series, window, NOW);
        if now <= 0.0 {
            return;
        }
        self.lines += now;
        self.n_templates += 1;
        let n_before = (n_known - NOW).min(BEFORE);
        if n_before < NOW {
            return;
        }
        let before = sum(series, window + -NOW, n_before);
        if before <= 0.0 {
            self.n_new += 1;
            self.n_unheard += usize::from(!is_elsewhere());
        }
        let expected = before * NOW as f64 / n_before as f64;
        let root = |count: f64| 2.0 * (count + 0.375).sqrt();
        self.burst = self.burst.max(root(now) - root(expected));
    }

    fn count(&mut self, series: &Series, window: WindowIndex) {
        let n = |last, n| series.back_from(last, n).count() as f64;
        self.mix.push((n(window, NOW), n(window + -NOW, BEFORE)));
    }

    /// Total variation between the mix of statements of the minute and of before, 0 while one of them is hardly known.
    fn mix_moved(&self) -> f64 {
        let (now, before) = self
            .mix
            .iter()
            .fold((0.0, 0.0), |(a, b), (now, before)| (a + now, b + before));
        if now < N_MIX || before < N_MIX {
            return 0.0;
        }
        let risen = self
            .mix
            .iter()
            .map(|(n, b)| (n / now - b / before).max(0.0));
        risen.sum::<f64>().min(1.0)
    }

    /// A fingerprint's p95 of late against its own before, both as logarithms.
    fn query(&mut self, series: &Series, window: WindowIndex) {
        let logs = |last, n| -> Vec<f64> {
            let values = series.back_from(last, n);
            values
                .map(|(_, ms)| hsw_stats::ln_1p(ms.max(0.0)))
                .collect()
        };
        self.n_fingerprints += 1;
        let (mut now, mut before) = (
            logs(window, QUERY_NOW),
            logs(window + -QUERY_NOW, BEFORE + NOW - QUERY_NOW),
        );
        if before.len() < N_KNOWN {
            return;
        }
        let (Some(now), Some(usual)) =
            (hsw_stats::median(&mut now), hsw_stats::median(&mut before))
        else {
            return;
        };
        let spread = hsw_stats::median_absolute_deviation(&mut before, usual).unwrap_or(0.0);
        let deviation = (now - usual) / (1.4826 * spread).max(SPREAD_LEAST);
        self.slowest = self.slowest.max(deviation);
        self.n_slow += usize::from(deviation > SLOW);
    }

    fn columns(&self) -> [f64; N] {
        let per_second = |n: f64| hsw_stats::ln_1p(n.max(0.0) / NOW as f64);
        let count = |n: usize| hsw_stats::ln_1p(n as f64);
        let mut columns = [0.0; N];
        columns[0] = per_second(self.lines);
        columns[1] = per_second(self.error_lines);
        columns[2] = count(self.n_templates);
        columns[3] = count(self.n_new);
        columns[4] = count(self.n_unheard);
        columns[5] = self.burst;
        columns[QUERY] = per_second(self.calls);
        columns[QUERY + 1] = count(self.n_fingerprints);
        columns[QUERY + 2] = self.slowest;
        columns[QUERY + 3] = self.n_slow as f64 / self.n_fingerprints.max(1) as f64;
        columns[QUERY + 4] = self.mix_moved();
        columns[QUERY + 5] = hsw_stats::ln_1p(self.plan_changes.max(0.0));
        columns
    }
}

fn sum(series: &Series, last: WindowIndex, n: i64) -> f64 {
    series.back_from(last, n).map(|(_, value)| value).sum()
}

/// Whether a node of another shard has written such a line while it is remembered.
fn is_elsewhere(
    cluster: &Cluster,
    key: KeyIndex,
    nodes: &[NodeIndex],
    window: WindowIndex,
) -> bool {
    let others = cluster.keys()[key].nodes.iter();
    let mut others = others.filter(|node| !nodes.contains(node));
    others.any(|&node| {
        let series = cluster.nodes()[node].series.get(&key);
        series.is_some_and(|series| series.back_from(window, NOW + BEFORE).next().is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_moves_by_what_some_statements_are_logged_more_than_before() {
        let mixed = |mix: &[(f64, f64)]| {
            let sums = Sums {
                mix: mix.to_vec(),
                ..Sums::default()
            };
            sums.mix_moved()
        };
        assert_eq!(mixed(&[(30.0, 90.0), (30.0, 90.0)]), 0.0);
        assert!((mixed(&[(60.0, 90.0), (0.0, 90.0)]) - 0.5).abs() < 1e-12);
        assert_eq!(mixed(&[(60.0, 0.0), (0.0, 90.0)]), 1.0);
        assert_eq!(mixed(&[(19.0, 0.0), (0.0, 90.0)]), 0.0, "too little");
    }
}
