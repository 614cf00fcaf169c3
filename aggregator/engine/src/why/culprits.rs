//! Which shard explains what the others show. (step 12)
//!
//! In: the numbers of every shard and router in the same windows, who queries whom. Out: at most [`CULPRITS_MAX`] of them,
//! ranked by `hsw_rca`, each with when its evidence began and how wrong that may be. Only metrics that the catalogue calls a
//! symptom or a cause are looked at. O(shards · metrics · windows · log windows).

use hsw_rca::{Config, Evidence, Series, rank};
use hsw_types::{Bad, Family, Tier};

use super::explanation::Culprit;
use super::look::{Look, Scene};
use super::table::{self, Attribute, Span};

/// Shards named.
const CULPRITS_MAX: usize = 3;
/// Metrics named a shard.
const METRICS_MAX: usize = 3;
/// Shards looked at; more would cost more than they say.
const SHARDS_MAX: usize = 32;
/// Windows before the bad ones in which the onset is looked for.
const BEFORE: usize = 5;

/// Ranks shards and routers.
pub(super) fn rank_shards(
    scene: &Scene<'_>,
    look: &Look<'_>,
    good: Span,
    bad: Span,
) -> Vec<Culprit> {
    let span = Span {
        first: good.first,
        last: bad.last,
    };
    let mut evidence = Evidence {
        row_seconds: Some(1.0),
        ..Evidence::default()
    };
    // The shard in question is always among them.
    let mut entries: Vec<_> = scene.map.shards().collect();
    entries.sort_by_key(|entry| entry.shard != *look.shard);
    for entry in entries.into_iter().take(SHARDS_MAX) {
        let members = scene.members(entry);
        for attribute in table::gather(scene.cluster, &members, span, Tier::Symptom).values() {
            evidence
                .series
                .extend(series(entry.shard.as_str(), attribute, good.len(), bad));
        }
        for node in &entry.nodes {
            for other in scene.graph.dependencies(node) {
                if let Some(shard) = scene.map.shard_of(other) {
                    let edge = (entry.shard.to_string(), shard.to_string());
                    evidence.edges.push(edge);
                }
            }
        }
    }
    evidence.edges.sort();
    evidence.edges.dedup();
    let suspects = rank(&evidence, &Config::default());
    let sum: f64 = suspects.iter().map(|suspect| suspect.score).sum();
    let named = suspects.iter().filter(|suspect| suspect.score > 0.0);
    let culprit = |suspect: &hsw_rca::Suspect| {
        let entry = scene
            .map
            .shards()
            .find(|entry| entry.shard.as_str() == suspect.entity)?;
        let onset = look.onsets.iter().find(|(shard, _)| *shard == entry.shard);
        let offsets = scene.members(entry).into_iter();
        let offset = offsets
            .filter_map(|at| (scene.clock_offset_us)(at))
            .map(i64::abs);
        let metrics = suspect.metrics.iter().filter_map(|speaking| {
            let (_, name) = speaking.metric.split_once(' ')?;
            Some(name.to_owned())
        });
        Some(Culprit {
            shard: entry.shard.clone(),
            share: suspect.score / sum,
            since: onset.map(|(_, since)| *since),
            // A window is a second; clocks add what heartbeats say they differ by.
            since_uncertain_s: 1.0 + offset.max().unwrap_or(0) as f64 / 1e6,
            metrics: metrics.take(METRICS_MAX).collect(),
        })
    };
    named.filter_map(culprit).take(CULPRITS_MAX).collect()
}

/// A series as the ranking reads it: the first word of its name says what the catalogue knows of it.
fn series(shard: &str, attribute: &Attribute, n_good: usize, bad: Span) -> Option<Series> {
    let spec = attribute.spec.filter(|spec| spec.tier >= Tier::Symptom)?;
    let kind = match (spec.family, spec.tier) {
        (Family::Errors, _) => "errors",
        (_, Tier::Cause) => "queue",
        (Family::Latency, _) => "latency",
        (Family::Throughput, _) => "requests",
        _ => "wait",
    };
    let abnormal = attribute.values.len().checked_sub(bad.len())?;
    // The ranking reads more as worse.
    let sign = if spec.bad == Bad::Low && spec.family != Family::Throughput {
        -1.0
    } else {
        1.0
    };
    let part = |rows: &[f64]| rows.iter().map(|value| sign * value).collect();
    let near = abnormal.saturating_sub(BEFORE).max(n_good);
    Some(Series {
        entity: shard.to_owned(),
        metric: format!("{kind} {}", attribute.key.metric),
        normal: part(&attribute.values[..n_good]),
        before: part(&attribute.values[near..abnormal]),
        abnormal: part(&attribute.values[abnormal..]),
    })
}
