//! The layout: the fixed vector of numbers per (shard, window) that models read. (step 11)
//!
//! In: what the engine knows of a shard at a window. Out: [`N_COLUMNS`] finite numbers in a fixed order, `f32`.
//!
//! | columns | what | unit |
//! |---|---|---|
//! | `p.D`, `unknown.D` | each [`DetectorId`] D in order: calibrated −ln p (0 usual, 80 at most); whether it does not know | nats; 0 or 1 |
//! | `own.M`, `apart.M`, `unknown.M` | each of [`METRICS`] M in order: deviation from its own past; the same beyond what the siblings' median moved; whether it is unknown | robust standard deviations, cut at ±[`CUT`], more is positive; 0 or 1 |
//! | `log.*` | log templates of the last minute | see [`COLUMNS_LOG`] |
//! | `query.*` | fingerprints of the last minute | see [`COLUMNS_QUERY`] |
//! | `graph.*` | the shard's vertices in the interaction graph | see [`COLUMNS_GRAPH`] |
//! | `time.*` | phase of day and week of the data time, UTC | sine and cosine |
//! | `shard.*` | what kind of shard, how much is known | see [`COLUMNS_SHARD`] |
//! | `evidence.*` | what the engine's own rules and liveness say at the same window | see [`COLUMNS_EVIDENCE`] |
//!
//! Of a shard with several members the one counts whose deviation in the bad direction is largest, metric by metric.
//! Invariants: LA-1 a number that is not known is 0 and its flag 1; no column is ever NaN or infinite. LA-2 a layout never changes under one
//! version: [`checksum`] is over all names in order, a model card names it, and a model of another layout is refused.
//! Does not: scale to a model's liking (a model's own first step does), look ahead.

use hsw_types::{WallTime, fnv1a_64_more};

use crate::detectors::{DetectorId, N_DETECTORS};

/// Name of the layout.
pub const ID: &str = "shard-window";
/// Its version: counts up with any change of a column.
pub const VERSION: u32 = 2;

/// Robust standard deviations beyond which a deviation says no more (as the engine's `SCORE_CERTAIN`).
pub const CUT: f64 = 30.0;

/// Principal metrics of the catalogue, ascending: all that point at somebody ([`hsw_types::Tier::Symptom`] and above), and what says most of
/// each resource. A test holds the first part.
pub const METRICS: [&str; 50] = [
    "cgroup.cpu_cores",
    "cgroup.foreign_cpu_cores",
    "cgroup.frozen",
    "cgroup.io_write_bytes",
    "cgroup.oom_kills",
    "cgroup.pressure_cpu",
    "cgroup.pressure_io",
    "cgroup.pressure_memory",
    "cgroup.throttled_ratio",
    "data_fs.used_ratio",
    "disk.read_latency_ms",
    "disk.utilisation",
    "disk.write_latency_ms",
    "host.cpu_busy_ratio",
    "host.memory_available_ratio",
    "instance.blocked_processes",
    "instance.cpu_cores",
    "instance.major_faults",
    "instance.read_bytes",
    "instance.stopped_processes",
    "instance.write_bytes",
    "log.errors",
    "log.lock_waits",
    "log.refused_connections",
    "log.requested_checkpoints",
    "net.drops",
    "pg.block_read_ms",
    "pg.blocks_read",
    "pg.checkpoints_requested",
    "pg.commits",
    "pg.connections_ratio",
    "pg.deadlocks",
    "pg.index_scans",
    "pg.probe_ms",
    "pg.query_age_max_s",
    "pg.replication_lag_bytes",
    "pg.replication_lag_s",
    "pg.rollbacks",
    "pg.sequential_tuples",
    "pg.sessions_active",
    "pg.sessions_waiting_lock",
    "pg.statement_mean_ms",
    "pg.temp_bytes",
    "pg.tuples_updated",
    "pg.wal_archive_failures",
    "pg.wal_bytes",
    "socket.connections",
    "socket.listen_queue",
    "socket.retransmits",
    "socket.rtt_ms_median",
];

/// Log templates over the last minute of the shard's nodes.
pub const COLUMNS_LOG: [(&str, &str); 6] = [
    ("log.lines", "ln(1 + lines a second)"),
    (
        "log.error_lines",
        "ln(1 + lines of severity ERROR and above a second)",
    ),
    ("log.templates", "ln(1 + templates seen)"),
    (
        "log.new_templates",
        "ln(1 + templates first seen within the minute, on this shard)",
    ),
    (
        "log.unheard_templates",
        "ln(1 + such templates that no sibling has either)",
    ),
    (
        "log.burst",
        "largest deviation of a template's rate from its own mean, in roots of counts (Anscombe)",
    ),
];

/// Fingerprints of statements over the last minute.
pub const COLUMNS_QUERY: [(&str, &str); 6] = [
    ("query.calls", "ln(1 + statements a second)"),
    ("query.fingerprints", "ln(1 + fingerprints seen)"),
    (
        "query.slowest",
        "largest deviation of a fingerprint's p95 from its own past, robust standard deviations",
    ),
    (
        "query.slow_share",
        "share of fingerprints whose p95 is beyond 3 robust standard deviations, 0 to 1",
    ),
    (
        "query.mix",
        "total variation between the minute's mix of logged statements and that of the three minutes before, 0 to 1",
    ),
    (
        "query.plan_changes",
        "ln(1 + plans not known for their fingerprint)",
    ),
];

/// The interaction graph, at the shard's vertex that deviates most. All 0 while the graph is unknown.
pub const COLUMNS_GRAPH: [(&str, &str); 8] = [
    (
        "graph.deviation",
        "A(v): distance vector's move in its own robust scale",
    ),
    ("graph.degree", "ln(1 + neighbours)"),
    ("graph.distance_mean", "mean distance to landmarks, hops"),
    (
        "graph.distance_variance",
        "variance of distances to landmarks, hops²",
    ),
    ("graph.eccentricity", "longest distance to a landmark, hops"),
    (
        "graph.coverage",
        "share of landmarks that a way leads to, 0 to 1",
    ),
    (
        "graph.latency_class",
        "mean latency class of its edges, doublings above 0.25 ms",
    ),
    (
        "graph.suspicions",
        "ln(1 + unexpected interactions that end here)",
    ),
];

/// Phases of the data time.
pub const COLUMNS_TIME: [(&str, &str); 4] = [
    ("time.day_sin", "sine of the time of day"),
    ("time.day_cos", "cosine of the time of day"),
    (
        "time.week_sin",
        "sine of the time of week, from Thursday 00:00 UTC",
    ),
    ("time.week_cos", "cosine of the same"),
];

/// The shard.
pub const COLUMNS_SHARD: [(&str, &str); 4] = [
    ("shard.is_router", "1 for a router"),
    ("shard.members", "ln(1 + nodes)"),
    ("shard.siblings", "ln(1 + sibling shards)"),
    (
        "shard.known",
        "share of its series that are known well enough, 0 to 1",
    ),
];

/// What the engine's own rules, its liveness and its statistical fusion say at the same window: a model that does not know what they know
/// cannot be better than they are. Suspicions count as well as what is held; more speaks for sickness in each.
pub const COLUMNS_EVIDENCE: [(&str, &str); 16] = [
    (
        "evidence.silent",
        "ln(1 + windows since a member's database was last known to answer), the longest",
    ),
    (
        "evidence.silent_primary",
        "the same of members that are no replicas",
    ),
    ("evidence.unanswered", "1 where a database does not answer"),
    ("evidence.lost", "1 where an agent or its host is lost"),
    (
        "evidence.strength",
        "ln(1 + strength of the shard's symptoms)",
    ),
    (
        "evidence.own_strength",
        "ln(1 + strength of those that only the shard itself can have caused)",
    ),
    ("evidence.opening", "1 where an incident is opened by it"),
    (
        "evidence.held",
        "ln(1 + windows that the longest of them has held)",
    ),
    (
        "evidence.built_up",
        "ln(1 + score × windows held), the largest of what waits or suffers",
    ),
    (
        "evidence.cause",
        "largest score of a cause, robust standard deviations, 0 to 30",
    ),
    (
        "evidence.harm",
        "largest score of what waits or suffers, the same",
    ),
    ("evidence.other", "largest score of the rest, the same"),
    (
        "evidence.first_family",
        "strength of the strongest family, 0 to 9",
    ),
    ("evidence.second_family", "of the second"),
    ("evidence.third_family", "of the third"),
    (
        "evidence.surprise",
        "-ln p of all detectors together, 0 to 80",
    ),
];

/// First column of the metrics.
pub const AT_METRICS: usize = 2 * N_DETECTORS;
/// First column of the log templates.
pub const AT_LOG: usize = AT_METRICS + 3 * METRICS.len();
/// First column of the fingerprints.
pub const AT_QUERY: usize = AT_LOG + COLUMNS_LOG.len();
/// First column of the graph.
pub const AT_GRAPH: usize = AT_QUERY + COLUMNS_QUERY.len();
/// First column of the time.
pub const AT_TIME: usize = AT_GRAPH + COLUMNS_GRAPH.len();
/// First column of the shard.
pub const AT_SHARD: usize = AT_TIME + COLUMNS_TIME.len();
/// First column of the evidence.
pub const AT_EVIDENCE: usize = AT_SHARD + COLUMNS_SHARD.len();
/// Numbers in a vector.
pub const N_COLUMNS: usize = AT_EVIDENCE + COLUMNS_EVIDENCE.len();

/// A row of the layout's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Dotted name, unique.
    pub name: String,
    /// Meaning and unit.
    pub about: &'static str,
}

/// All columns in order.
#[must_use]
pub fn columns() -> Vec<Column> {
    let mut all = Vec::with_capacity(N_COLUMNS);
    let mut add = |name: String, about: &'static str| all.push(Column { name, about });
    for detector in DetectorId::ALL {
        add(
            format!("p.{}", detector.name()),
            "calibrated -ln p, 0 to 80",
        );
        add(
            format!("unknown.{}", detector.name()),
            "1 where the detector does not know",
        );
    }
    for metric in METRICS {
        add(
            format!("own.{metric}"),
            "robust standard deviations from its own past, -30 to 30",
        );
        add(
            format!("apart.{metric}"),
            "the same beyond the siblings' median, -30 to 30",
        );
        add(
            format!("unknown.{metric}"),
            "1 where there is no such value",
        );
    }
    let groups: [&[(&str, &'static str)]; 6] = [
        &COLUMNS_LOG,
        &COLUMNS_QUERY,
        &COLUMNS_GRAPH,
        &COLUMNS_TIME,
        &COLUMNS_SHARD,
        &COLUMNS_EVIDENCE,
    ];
    for (name, about) in groups.into_iter().flatten() {
        add((*name).to_owned(), about);
    }
    all
}

/// FNV-1a over id, version and all names, each followed by a newline: what a model card holds.
#[must_use]
pub fn checksum() -> u64 {
    let names = columns().into_iter().map(|column| column.name);
    let head = [ID.to_owned(), VERSION.to_string()];
    head.into_iter()
        .chain(names)
        .fold(hsw_types::fnv1a_64(b""), |hash, name| {
            fnv1a_64_more(fnv1a_64_more(hash, name.as_bytes()), b"\n")
        })
}

/// What a model card names: `id/version/checksum`.
#[must_use]
pub fn name() -> String {
    format!("{ID}/{VERSION}/{:016x}", checksum())
}

/// Place of a metric among [`METRICS`], by binary search.
#[must_use]
pub fn metric_index(name: &str) -> Option<usize> {
    METRICS.binary_search(&name).ok()
}

/// One (shard, window). Starts with everything unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    values: [f32; N_COLUMNS],
}

impl Default for Features {
    fn default() -> Self {
        let mut values = [0.0; N_COLUMNS];
        for detector in 0..N_DETECTORS {
            values[2 * detector + 1] = 1.0;
        }
        for metric in 0..METRICS.len() {
            values[AT_METRICS + 3 * metric + 2] = 1.0;
        }
        Self { values }
    }
}

impl Features {
    /// The vector, in the order of [`columns`].
    #[must_use]
    pub const fn values(&self) -> &[f32; N_COLUMNS] {
        &self.values
    }

    /// What a detector says: −ln p, `None` where it does not know.
    pub fn detector(&mut self, detector: DetectorId, surprise: Option<f64>) {
        let at = 2 * detector.index();
        self.values[at] = finite(surprise.unwrap_or(0.0));
        self.values[at + 1] = f32::from(u8::from(surprise.is_none()));
    }

    /// A principal metric's deviations, robust standard deviations, more than usual being positive. `metric` is its place among
    /// [`METRICS`]; what lies beyond is left out.
    pub fn metric(&mut self, metric: usize, own: f64, apart: f64) {
        if metric >= METRICS.len() {
            return;
        }
        let at = AT_METRICS + 3 * metric;
        self.values[at] = finite(own.clamp(-CUT, CUT));
        self.values[at + 1] = finite(apart.clamp(-CUT, CUT));
        self.values[at + 2] = 0.0;
    }

    /// A column by its place, from one of the `AT_` constants on; NaN counts as unknown: 0.
    pub fn set(&mut self, at: usize, value: f64) {
        if let Some(column) = self.values.get_mut(at) {
            *column = finite(value);
        }
    }

    /// The phases of a time.
    pub fn time(&mut self, at: WallTime) {
        let seconds = (at.0 as f64 / 1e6).rem_euclid(7.0 * 86_400.0);
        let phase = |period: f64| std::f64::consts::TAU * (seconds / period).fract();
        for (place, phase) in [
            (AT_TIME, phase(86_400.0)),
            (AT_TIME + 2, phase(7.0 * 86_400.0)),
        ] {
            self.set(place, hsw_stats::sin(phase));
            self.set(place + 1, hsw_stats::cos(phase));
        }
    }
}

fn finite(value: f64) -> f32 {
    if value.is_nan() {
        return 0.0;
    }
    (value as f32).clamp(f32::MIN, f32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{CATALOGUE, Tier, metric_spec};
    use std::collections::BTreeSet;

    #[test]
    fn the_metrics_are_in_the_catalogue_and_all_that_points_at_somebody_is_among_them() {
        assert!(METRICS.windows(2).all(|two| two[0] < two[1]));
        assert!(METRICS.iter().all(|name| metric_spec(name).is_some()));
        for spec in CATALOGUE.iter().filter(|spec| spec.tier >= Tier::Symptom) {
            assert!(
                metric_index(spec.name).is_some(),
                "{} is missing",
                spec.name
            );
        }
    }

    #[test]
    fn columns_are_as_many_as_promised_and_have_names_of_their_own() {
        let columns = columns();
        assert_eq!(columns.len(), N_COLUMNS);
        let names: BTreeSet<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names.len(), N_COLUMNS);
        let at = |name: &str| columns.iter().position(|c| c.name == name);
        assert_eq!(at("log.lines"), Some(AT_LOG));
        assert_eq!(at("query.calls"), Some(AT_QUERY));
        assert_eq!(at("graph.deviation"), Some(AT_GRAPH));
        assert_eq!(at("time.day_sin"), Some(AT_TIME));
        assert_eq!(at("shard.is_router"), Some(AT_SHARD));
        assert_eq!(at("evidence.silent"), Some(AT_EVIDENCE));
    }

    /// A model that was trained on version 2 must be refused when this fails: count [`VERSION`] up.
    #[test]
    fn version_2_never_changes() {
        assert_eq!(
            (VERSION, N_COLUMNS, checksum()),
            (2, 214, 13_022_585_450_015_580_323)
        );
    }

    #[test]
    fn what_is_not_known_is_zero_and_flagged_and_nothing_is_ever_not_a_number() {
        let mut features = Features::default();
        assert_eq!(features.values()[1], 1.0);
        features.detector(DetectorId::OwnPast, Some(12.5));
        assert_eq!(features.values()[..2], [12.5, 0.0]);
        features.metric(0, 99.0, f64::NAN);
        assert_eq!(
            features.values()[AT_METRICS..AT_METRICS + 3],
            [30.0, 0.0, 0.0]
        );
        features.set(AT_LOG, f64::INFINITY);
        features.set(N_COLUMNS, 1.0);
        assert!(features.values().iter().all(|value| value.is_finite()));
        assert_eq!(features.values()[AT_METRICS + 5], 1.0);
    }

    #[test]
    fn phases_are_those_of_the_clock() {
        let mut features = Features::default();
        features.time(WallTime::from_unix_seconds(6 * 3_600));
        let of = |features: &Features, n: usize| f64::from(features.values()[AT_TIME + n]);
        assert!((of(&features, 0) - 1.0).abs() < 1e-6 && of(&features, 1).abs() < 1e-6);
        features.time(WallTime::from_unix_seconds(7 * 86_400 / 2));
        assert!((of(&features, 3) + 1.0).abs() < 1e-6);
    }
}
