//! The words both sides share: ids, time, series, and the summary that travels. (steps 1–15)
//!
//! In: nothing. Out: plain values, checked once by their constructors and trusted afterwards.
//! Invariants: TY-1 an id that exists is valid; TY-2 a reading is finite.
//! Does not: encode anything (see `hsw-wire`), hold state, know a clock.

mod hash;
mod id;
mod time;

mod series;
mod statement;

mod catalogue;

mod facts;
mod summary;

pub use catalogue::{Bad, CATALOGUE, Family, MetricSpec, Tier, Unit, metric_spec};
pub use facts::{NodeFacts, Role, SourceState, SourceStatus};
pub use hash::{fnv1a_64, fnv1a_64_more, key_of};
pub use id::{Incarnation, InvalidId, NodeId, Sequence, SeriesId, ShardId};
pub use series::{EdgeKind, EdgeSubject, Reading, Renamed, SeriesKey, Subject, Value};
pub use statement::Statement;
pub use summary::{
    HotKind, HotWindow, Latencies, LogSample, SeriesDef, SeriesValues, ShardSummary,
};
pub use time::{Monotonic, WallTime, WindowIndex};
