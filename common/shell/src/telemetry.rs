//! Logging: one line an event on stderr, as text or as JSON. (steps 1–15)
//!
//! In: [`Config`]. Out: the process-wide subscriber.
//! Does not: write files; the service manager or the container keeps what is written.

use std::env;
use std::io::{self, IsTerminal};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,hsw_agent::shipper=debug`.
    pub level: String,
    /// Form of a line.
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: Format::Text,
        }
    }
}

/// Starts logging; once in a process.
///
/// # Errors
/// When the level cannot be read, or logging was started before.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let filter = filter(config)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let outcome = match config.format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        // The journal stamps each line itself.
        Format::Text if env::var_os("JOURNAL_STREAM").is_some() => {
            builder.without_time().try_init()
        }
        Format::Text => builder.try_init(),
    };
    outcome.map_err(|why| anyhow::anyhow!("start logging: {why}"))
}

/// Whether the level can be read.
///
/// # Errors
/// One line that names the level.
pub fn check(config: &Config) -> anyhow::Result<()> {
    filter(config).map(drop)
}

fn filter(config: &Config) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(&config.level)
        .with_context(|| format!("log level `{}` (try info or debug)", config.level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_means_nothing_is_refused() {
        let mut config = Config::default();
        assert!(check(&config).is_ok());
        config.level = "info,=loud=".to_owned();
        assert!(format!("{:#}", check(&config).unwrap_err()).contains("loud"));
    }
}
