//! Series of the demo cluster: the same noise each time, and the incident's shape on it.

use hsw_engine::{Point, SeriesView};
use hsw_types::{SeriesKey, WindowIndex};

use crate::shared::Snapshot;

/// Noise that is the same each time it is asked for.
pub(super) fn noise(seed: i64) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f64 / f64::from(1 << 24) - 0.5
}

pub(super) fn lines(snapshot: &Snapshot, key: &SeriesKey, from: WindowIndex) -> Vec<SeriesView> {
    let evidence = snapshot
        .incidents
        .iter()
        .flat_map(|incident| incident.evidence.iter().map(move |e| (incident.started, e)))
        .find(|(_, evidence)| evidence.series == *key);
    let usual = evidence.and_then(|(_, e)| e.usual).unwrap_or(40.0);
    let mut lines = Vec::new();
    for (at, shard) in snapshot.shards.iter().enumerate() {
        for node in &shard.nodes {
            let hit = evidence.filter(|(_, e)| e.node == node.node);
            let points = (from.0..=snapshot.wall.window().0)
                .map(|t| {
                    let wobble = 1.0 + 0.3 * noise(t * 31 + at as i64) + 0.05 * at as f64;
                    let base = usual.max(0.02) * wobble * f64::from(u8::from(usual > 0.0));
                    let value = match hit {
                        Some((started, e)) if t >= started.0 => {
                            let ramp = ((t - started.0) as f64 / 12.0).min(1.0);
                            base + (e.value - base) * ramp * (1.0 + 0.15 * noise(t))
                        }
                        _ => base,
                    };
                    Point {
                        window: WindowIndex(t),
                        value: value.max(0.0),
                    }
                })
                .collect();
            lines.push(SeriesView {
                node: node.node.clone(),
                points,
                usual: Some(usual),
            });
        }
    }
    lines
}
