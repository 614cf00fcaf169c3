//! A small disk per node: an ext4 file system in a sparse file, mounted through a loop device.
//!
//! It gives each shard its own device statistics. Needs root; without it a plain directory serves.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::ledger::Ledger;

/// Makes an image of this size and mounts it.
///
/// # Errors
/// When the kernel or the rights do not allow it; the caller may go on with a plain directory.
pub fn mount(image: &Path, bytes: u64, at: &Path, ledger: &Ledger) -> Result<()> {
    let file = std::fs::File::create(image).with_context(|| format!("make {}", image.display()))?;
    file.set_len(bytes)
        .with_context(|| format!("size {}", image.display()))?;
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0"])
        .arg(image))?;
    ledger.mount(at)?;
    run(Command::new("mount")
        .args(["-o", "loop,nodev,nosuid,noatime"])
        .arg(image)
        .arg(at))
}

/// Unmounts, lazily when somebody still looks inside; nothing mounted is fine.
///
/// # Errors
/// When even the lazy unmount fails.
pub fn unmount(at: &Path) -> Result<()> {
    for flags in [&["-d"][..], &["-d", "-l"][..]] {
        if !is_mounted(at) {
            return Ok(());
        }
        let _ = run(Command::new("umount").args(flags).arg(at));
    }
    if is_mounted(at) {
        bail!(
            "{} stays mounted; run: umount -l {}",
            at.display(),
            at.display()
        );
    }
    Ok(())
}

fn is_mounted(at: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1).map(Path::new) == Some(at))
}

fn run(command: &mut Command) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
