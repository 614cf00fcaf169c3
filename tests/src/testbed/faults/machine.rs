//! Faults of the shard's "host": processor and disk.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::{Injected, Undo};
use crate::testbed::process::Launch;

/// Busy loops, and writers.
const HOGS: usize = 4;
/// What is left to the shard by a quota cut, in cores.
const CUT_CORES: f64 = 0.02;

/// Foreign busy loops share the shard's quota; their higher priority makes the database wait longest.
pub(super) fn cpu_hog(new: &mut Injected) -> Result<()> {
    let group = new.group()?.clone();
    let bed = Arc::clone(new.node.bed());
    for _ in 0..HOGS {
        let hog = Launch::new("cpu-hog", "nice")
            .as_ourselves()
            .args(["-n", "-5", "sh", "-c", "while :; do :; done"])
            .group(Some(&group))
            .spawn(&bed)?;
        new.processes.push(hog);
    }
    Ok(())
}

/// The platform takes the processor away.
pub(super) fn cpu_quota(new: &mut Injected) -> Result<()> {
    let group = new.group()?.clone();
    new.undo.push(Undo::Quota(group.clone()));
    group.write_quota(Some(CUT_CORES))
}

/// Foreign direct writes on the disk that the shard's files live on.
pub(super) fn disk_hog(new: &mut Injected) -> Result<()> {
    let bed = Arc::clone(new.node.bed());
    let home = new.node.home();
    let device = |path: &std::path::Path| std::fs::metadata(path).map(|facts| facts.dev());
    if device(&home).context("look at the shard's disk")?
        == device(&bed.dir).context("look at the run folder")?
    {
        bail!("the shard has no disk of its own; run as root where loop devices work");
    }
    for number in 0..HOGS {
        let file = home.join(format!("hog-{number}"));
        new.undo.push(Undo::Remove(file.clone()));
        let dd = "while :; do dd if=/dev/zero of=\"$0\" bs=256k count=160 oflag=direct conv=notrunc 2>/dev/null || sleep 1; done";
        let hog = Launch::new("disk-hog", "sh")
            .as_ourselves()
            .args(["-c", dd])
            .args([&file])
            .group(new.node.group.as_ref())
            .spawn(&bed)?;
        new.processes.push(hog);
    }
    Ok(())
}
