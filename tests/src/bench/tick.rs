//! `tick`: the engine's whole tick for 2,000 shards of 250 series, through the engine's own door.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use hsw_engine::{Config, Engine, Input, ShardEntry, ShardMap};
use hsw_types::{Monotonic, NodeId, ShardId, WallTime};

use super::content::summary;
use super::usage::{own_rss_bytes, own_thread_seconds};
use super::{Figure, Report};

const N_SHARDS: usize = 2_000;
const N_SERIES: usize = 250;
/// Windows before the clock counts: every detector knows after eight minutes.
const N_WARM: i64 = 600;
const N_TIMED: i64 = 60;
const START: i64 = 1_700_000_000;

/// A node's own share of noise, 0 to 1.
fn noise(node: u64, n: u64, window: i64) -> f64 {
    let mut z = (node << 44 ^ n << 32 ^ window.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((z ^ (z >> 32)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// An engine that has begun to listen, and its nodes, a shard each.
fn cluster() -> Result<(Engine, Vec<NodeId>)> {
    let mut names = Vec::with_capacity(N_SHARDS);
    let mut entries = Vec::with_capacity(N_SHARDS);
    for n in 0..N_SHARDS {
        let node = NodeId::new(&format!("node-{n}"))?;
        entries.push(ShardEntry {
            shard: ShardId::new(&format!("shard-{n}"))?,
            nodes: vec![node.clone()],
            is_router: false,
        });
        names.push(node);
    }
    let mut engine = Engine::new(Config::default(), ShardMap::new(entries, false)?);
    let wall = WallTime::from_unix_seconds(START);
    engine.handle(Monotonic(0), Input::ReplayDone { wall });
    Ok((engine, names))
}

/// Measures.
pub(super) fn tick() -> Result<Report> {
    let mut report = Report::new("tick");
    let before = own_rss_bytes().context("read our memory")?;
    let (mut engine, names) = cluster()?;
    let (mut all_ms, mut judge_ms) = (Vec::new(), Vec::new());
    for window in 0..N_WARM + N_TIMED {
        let now = Monotonic((window as u64 + 1) * 1_000_000);
        let wall = WallTime::from_unix_seconds(START + window + 1);
        let mut one = summary(START + window, 1, window == 0);
        one.series.truncate(N_SERIES);
        one.dictionary.truncate(N_SERIES);
        let (mut all, mut last) = (0.0, 0.0);
        for (n, node) in names.iter().enumerate() {
            let mut summary = one.clone();
            for (at, series) in summary.series.iter_mut().enumerate() {
                for value in series.values.iter_mut().flatten() {
                    *value *= 0.95 + 0.1 * noise(n as u64, at as u64, window);
                }
            }
            let input = Input::Summary {
                node: node.clone(),
                summary: Box::new(summary),
                received: wall,
                is_replay: false,
            };
            let began = own_thread_seconds();
            engine.handle(now, input);
            last = own_thread_seconds() - began;
            all += last;
        }
        let began = own_thread_seconds();
        engine.handle(now, Input::Clock { wall });
        let clock = own_thread_seconds() - began;
        while engine.poll_output().is_some() {}
        if window >= N_WARM {
            all_ms.push((all + clock) * 1e3);
            judge_ms.push((last + clock) * 1e3);
        }
    }
    let grown = own_rss_bytes().context("read our memory")? - before;
    let how = "one window of 2,000 shards with 250 series each, after 10 minutes of data, processor time of one core";
    report.add(Figure::of("whole tick, judged and decided, ms", &judge_ms, how).at_most(500.0));
    report.add(Figure::of(
        "whole window, with taking it in, ms",
        &all_ms,
        how,
    ));
    let bytes = grown / (N_SHARDS * N_SERIES) as f64;
    let how = "growth of resident memory over series, detectors and fusion included";
    report.add(Figure::new("bytes/series of 2,000 shards", bytes, how).at_most(2_048.0));
    let mut sick: BTreeMap<bool, u32> = BTreeMap::new();
    for judgement in engine
        .shards()
        .iter()
        .filter_map(|shard| shard.judgement.as_ref())
    {
        *sick.entry(judgement.probability >= 0.5).or_default() += 1;
    }
    report.note(format!(
        "2,000 shards: {} judged, {} of them with P(sick) of a half or more, {} incidents",
        sick.values().sum::<u32>(),
        sick.get(&true).copied().unwrap_or(0),
        engine.incidents().len()
    ));
    Ok(report)
}
