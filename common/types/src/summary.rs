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

/// What can be hot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HotKind {
    /// Kinds of statements, by calls.
    Fingerprint,
    /// Tables, by rows read and written.
    Table,
    /// Whoever the statements are for (database, user, application …, as configured), by calls.
    Tenant,
    /// Kinds of log lines, by lines.
    Template,
}

impl HotKind {
    /// Every kind, in the order of its number on the wire.
    pub const ALL: [Self; 4] = [Self::Fingerprint, Self::Table, Self::Tenant, Self::Template];

    /// As commands and the API name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Table => "table",
            Self::Tenant => "tenant",
            Self::Template => "template",
        }
    }

    /// Of its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What the windows of a summary brought of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotWindow {
    /// Of what.
    pub kind: HotKind,
    /// `HeavyHitters::encode` of plain counts, or empty where only names are told.
    pub sketch: Vec<u8>,
    /// `Distinct::encode` of the keys, or empty likewise.
    pub distinct: Vec<u8>,
    /// Keys with what they stand for: names of what is hot, told at first and now and again.
    pub names: Vec<(u64, String)>,
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
    /// What was counted, kind by kind; a kind of which nothing came is left out.
    pub hot: Vec<HotWindow>,
}
