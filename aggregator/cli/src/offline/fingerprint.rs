//! `hsw fingerprint`. (step 15)

use std::path::PathBuf;

use clap::Args;

/// The fingerprint command.
#[derive(Debug, Args)]
pub struct Options {
    /// Log files, plain, .gz or .zst; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, or standard output is gone.
pub fn run(_options: &Options) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
