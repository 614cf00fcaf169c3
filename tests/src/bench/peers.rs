//! Public peers of our cores, under `tests/peers`: packages of their own, built when a benchmark compares with them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Builds a peer; returns its program.
pub(super) fn peer(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let target = own
        .ancestors()
        .nth(2)
        .context("find the target folder")?
        .join("peers");
    let status = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--manifest-path",
        ])
        .arg(format!("tests/peers/{name}/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the peer {name} does not build");
    Ok(target.join(format!("release/peer-{name}")))
}
