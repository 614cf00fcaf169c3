//! Saturation: how near a node is to a limit that is known, whatever is usual for it. (step 10)
//!
//! Score: of the limit that is nearest, the share used beyond where it begins to be felt, in hundredths. A node that has always been at 97 %
//! of its disk is as usual to its own past and to nobody else. Does not: forecast when a limit is reached (see `limits.rs`).

use hsw_fusion::DetectorId;
use hsw_types::metric_spec;

use super::{Sight, USUAL, Witness};

/// Windows back that a value is asked for: what is measured every half minute is still known.
const RECENT: i64 = 60;
/// PostgreSQL stops taking transactions three million before this age (documentation, "Preventing Transaction ID Wraparound Failures").
const WRAPAROUND: f64 = 2_147_483_648.0 - 3_000_000.0;
/// From this share of the way to it on it is felt: a third beyond what a forced vacuum begins at by default would be 0.12, and nothing is
/// wrong there; `vacuum_failsafe_age`, 1.6 billion, is PostgreSQL's own last resort.
const WRAPAROUND_FROM: f64 = 0.745;
/// Memory that is available is felt when less than this share is left: the complement of the catalogue's 0.9 for a cgroup's memory.
const AVAILABLE_FROM: f64 = 0.9;

/// A limit: the metric, the share used of its value, and from which share on it is felt.
type Limit = (&'static str, fn(f64) -> f64, Option<f64>);

/// Limits that nodes tell of. Open files are counted without their limit, so they are not among them.
const LIMITS: [Limit; 6] = [
    ("pg.connections_ratio", |x| x, None),
    ("data_fs.used_ratio", |x| x, None),
    ("data_fs.inodes_used_ratio", |x| x, None),
    ("cgroup.memory_limit_ratio", |x| x, None),
    (
        "host.memory_available_ratio",
        |x| 1.0 - x,
        Some(AVAILABLE_FROM),
    ),
    (
        "pg.frozen_xid_age",
        |x| x / WRAPAROUND,
        Some(WRAPAROUND_FROM),
    ),
];

/// The detector. See the module's header.
#[derive(Debug, Default)]
pub(super) struct Saturation;

impl Witness for Saturation {
    fn id(&self) -> DetectorId {
        DetectorId::Saturation
    }

    fn score(&mut self, sight: &Sight<'_>) -> Option<f64> {
        let mut worst: Option<f64> = None;
        let series = &sight.cluster.nodes()[sight.node].series;
        for (metric, used, from) in LIMITS {
            for key in sight.cluster.keys_of(metric) {
                let newest = series
                    .get(&key)
                    .and_then(|s| s.back_from(sight.window, RECENT).next());
                let Some((_, value)) = newest else { continue };
                let from = from
                    .or_else(|| metric_spec(metric).map(|spec| spec.matters_from))
                    .unwrap_or(0.8);
                let beyond = ((used(value) - from) / (1.0 - from)).clamp(0.0, 1.0);
                worst = Some(worst.unwrap_or(0.0).max(beyond));
            }
        }
        worst.map(|beyond| USUAL + 100.0 * beyond)
    }
}
