//! Log lines: from bytes of any known format to records, masked templates and readings. (step 2)
//!
//! In: lines of one file, in order. Out: [`LogRecord`]s, readings once a second, masked samples.
//! Invariants: LO-1 [`mask()`] is the only way out for text: no literal of a statement leaves, nor of a line
//! what is quoted, assigned or looks variable; a plain word of a message is taken for the message's own.
//! LO-2 every table is bounded and what does not fit is counted. LO-3 malformed input is a plain record and counted.
//! Does not: read files (see `hsw-tail`), know a clock.

mod record;
mod statement;
mod time;
mod words;

mod csv;
mod json;
mod mongo;
mod mysql_error;
mod mysql_slow;
mod object;
mod plain;
mod prefix;
mod redis;
mod shape;
mod stderr;
mod syslog;

mod assemble;
mod detect;

mod timeline;

mod logins;
mod mask;

pub mod mine;

mod templates;

mod signs;

mod skim;

mod queries;
mod statements;

mod classify;

pub use assemble::{Assembler, AssemblerCounters, LogFormat};
pub use classify::{ClassifierConfig, ClassifierCounters, LogClassifier};
pub use detect::detect;
pub use mask::mask;
pub use prefix::LinePrefix;
pub use queries::QueryCounters;
pub(crate) use record::STATEMENT_BYTES_MAX;
pub use record::{LogRecord, Severity, plain_severity};
pub use skim::skim;
pub use statements::Told;
pub use time::{TimeDefaults, parse_timestamp};
pub use timeline::{Event, EventKind, Timeline};

/// Events and durations by the name of their series, for tests.
#[cfg(test)]
fn by_name(readings: &[hsw_types::Reading]) -> std::collections::BTreeMap<String, f64> {
    use hsw_types::Value;
    let number = |value| match value {
        Value::Events(n) | Value::LatencyMs(n) => n,
        _ => f64::NAN,
    };
    readings
        .iter()
        .map(|r| (r.key.to_string(), number(r.value)))
        .collect()
}
