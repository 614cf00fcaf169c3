//! The agent's pure core: readings in, one summary every few windows out. (steps 2–4)

mod pipeline;

pub use pipeline::{Config, Counters, Input, Output, Pipeline};

mod logs;

pub use logs::{
    Assembler, AssemblerCounters, ClassifierConfig, ClassifierCounters, LinePrefix, LogClassifier,
    LogFormat, LogRecord, Severity, fnv1a_64, mask, parse_timestamp,
};
