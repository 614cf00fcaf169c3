//! The shard summary: what an agent ships every two seconds. (step 4)

use crate::{NodeFacts, SeriesId, SeriesKey, SourceStatus, WallTime, WindowIndex};

/// Names a series id; travels with the first summary that uses it and again every few minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesDef {
    /// The id the values use.
    pub id: SeriesId,
    /// What it stands for.
    pub key: SeriesKey,
}

/// Values of one series, one place per window of the summary; `None` is "not measured", never zero.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesValues {
    /// Which series.
    pub id: SeriesId,
    /// `n_windows` places.
    pub values: Vec<Option<f64>>,
}

/// Observed durations of one series over the whole summary, as an encoded `hsw-sketch` quantile sketch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    /// Which series.
    pub id: SeriesId,
    /// `QuantileSketch::encode`.
    pub sketch: Vec<u8>,
}

/// A log line worth showing as evidence: masked, so that no literal leaves the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSample {
    /// Data time of the line.
    pub at: WallTime,
    /// `ERROR`, `FATAL`, `LOG` …
    pub severity: String,
    /// SQLSTATE, or empty.
    pub code: String,
    /// The masked text (or the raw one, where the config allows literals).
    pub text: String,
}

/// The windows since the last summary, condensed. Decodes on its own, given the dictionary of its epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardSummary {
    /// First window covered.
    pub first_window: WindowIndex,
    /// Number of windows covered, ≥ 1.
    pub n_windows: u16,
    /// Changes whenever series ids start anew (agent restart).
    pub dictionary_epoch: u64,
    /// Present at start, on change and every few minutes.
    pub facts: Option<NodeFacts>,
    /// New or repeated names, ascending ids.
    pub dictionary: Vec<SeriesDef>,
    /// Values, ascending ids.
    pub series: Vec<SeriesValues>,
    /// Duration sketches, ascending ids.
    pub latencies: Vec<Latencies>,
    /// A few notable log lines, oldest first.
    pub log_samples: Vec<LogSample>,
    /// State of every source, each time.
    pub sources: Vec<SourceStatus>,
}
