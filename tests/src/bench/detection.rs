//! `detect`: time to judge and learn a series' window, and memory of a series with its model.

use anyhow::{Context, Result};
use hsw_detect::{Detector, Group};
use hsw_state::Cluster;
use hsw_types::{NodeId, Tier};

use super::content::{N_SERIES, summary};
use super::usage::{own_rss_bytes, own_thread_seconds};
use super::{Figure, Report};

/// Sibling shards.
const N_NODES: usize = 40;
/// Two windows each; after half an hour every list of a model is full.
const N_SUMMARIES: i64 = 1_200;
/// The first half is warming up; the rest is timed in this many parts.
const N_PARTS: i64 = 6;

/// Measures.
pub(super) fn detect() -> Result<Report> {
    let before = own_rss_bytes().context("read our memory")?;
    let mut cluster = Cluster::new(4_000);
    let mut detector = Detector::default();
    let mut nodes = Vec::with_capacity(N_NODES);
    for n in 0..N_NODES {
        nodes.push(cluster.node_index(&NodeId::new(&format!("node-{n}"))?));
    }
    let groups = [Group {
        members: nodes.clone(),
        control: Vec::new(),
    }];
    let frozen = vec![false; N_NODES];
    let (mut apply_s, mut judge_s) = (Vec::new(), Vec::new());
    let (mut apply, mut judge) = (0.0, 0.0);
    let part = N_SUMMARIES / 2 / N_PARTS;
    let mut n_findings = 0;
    for n in 0..N_SUMMARIES {
        let first = 1_700_000_000 + 2 * n;
        for &node in &nodes {
            let summary = summary(first, 2, n == 0);
            let began = own_thread_seconds();
            cluster.apply(node, summary);
            apply += own_thread_seconds() - began;
        }
        let began = own_thread_seconds();
        for window in [first, first + 1] {
            n_findings += detector
                .evaluate(&cluster, &groups, hsw_types::WindowIndex(window), &frozen)
                .len();
        }
        judge += own_thread_seconds() - began;
        if n % part == part - 1 {
            apply_s.push(std::mem::take(&mut apply));
            judge_s.push(std::mem::take(&mut judge));
        }
    }
    let grown = own_rss_bytes().context("read our memory")? - before;
    let timed = Timed {
        apply_s,
        judge_s,
        grown,
        n_findings,
    };
    Ok(timed.report(&cluster))
}

/// What the run gave: seconds of each part, bytes, findings.
struct Timed {
    apply_s: Vec<f64>,
    judge_s: Vec<f64>,
    grown: f64,
    n_findings: usize,
}

impl Timed {
    fn report(&self, cluster: &Cluster) -> Report {
        let is_judged =
            |key: &&hsw_state::KeyInfo| key.spec.is_some_and(|spec| spec.tier >= Tier::Activity);
        let n_judged = cluster.keys().iter().filter(is_judged).count();
        let part = N_SUMMARIES / 2 / N_PARTS;
        let ns = |seconds: &[f64], n_series: usize| -> Vec<f64> {
            let n = (part * 2) as f64 * (n_series * N_NODES) as f64;
            seconds
                .iter()
                .skip(N_PARTS as usize)
                .map(|s| s * 1e9 / n)
                .collect()
        };
        let mut report = Report::new("detect");
        let how = "40 siblings of 500 series, after 20 minutes of data, processor time";
        report.add(
            Figure::of(
                "judge and learn, ns/judged series-window",
                &ns(&self.judge_s, n_judged),
                how,
            )
            .at_most(1_000.0),
        );
        report.add(Figure::of(
            "take in, ns/series-window",
            &ns(&self.apply_s, N_SERIES),
            how,
        ));
        let bytes = self.grown / (N_NODES * N_SERIES) as f64;
        report.add(
            Figure::new(
                "bytes/series with its model",
                bytes,
                "growth of resident memory over series",
            )
            .at_most(2_048.0),
        );
        report.note(format!("{n_judged} of {N_SERIES} series of a node are judged (the others are context); {} findings", self.n_findings));
        report
    }
}
