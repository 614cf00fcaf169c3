//! Measures how fast and how rightly real faults become incidents. Its work is in `hsw_tests::trials`.

use std::process::ExitCode;

use clap::Parser;
use hsw_tests::trials;

fn main() -> anyhow::Result<ExitCode> {
    let good = trials::run(&trials::Args::parse())?;
    Ok(ExitCode::from(u8::from(!good)))
}
