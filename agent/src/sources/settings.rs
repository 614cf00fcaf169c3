//! What the log source needs to know of the database. (step 1)

use std::path::PathBuf;

/// Settings of a PostgreSQL server that say where and how it logs.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSettings {
    /// `data_directory`.
    pub data_directory: PathBuf,
    /// `log_directory`, relative to the data directory unless absolute.
    pub log_directory: String,
    /// `log_filename`, with `%` escapes of strftime.
    pub log_filename: String,
    /// `log_destination`, e.g. `stderr,jsonlog`.
    pub log_destination: String,
    /// `log_line_prefix`.
    pub log_line_prefix: String,
    /// `logging_collector`.
    pub logging_collector: bool,
    /// `pg_current_logfile()`; `None` without a collector or without the right to ask.
    pub current_logfile: Option<String>,
}
