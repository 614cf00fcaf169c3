//! The agent's pure core: readings in, one summary every few windows out. (steps 2–4)
//!
//! In: what the sources read. Out: [`hsw_types::ShardSummary`]s, and log records parsed and masked.
//! Does not: touch a file, socket or clock; judge (see `hsw-engine`).

mod hot;
mod pipeline;
mod table;

pub use hot::{Counted, CountedKind, TenantKey};
pub use pipeline::{Config, Counters, Input, Output, Pipeline};

mod parse;

pub use parse::mine;
pub use parse::{
    Assembler, AssemblerCounters, ClassifierConfig, ClassifierCounters, Event, EventKind,
    LinePrefix, LogClassifier, LogFormat, LogRecord, QueryCounters, Severity, TimeDefaults,
    Timeline, Told, detect, mask, parse_timestamp, plain_severity, skim,
};

mod sql;

pub use sql::{
    Dialect, Fingerprint, Fingerprinter, PlanReader, PlanShape, Statements, plan_difference,
};
