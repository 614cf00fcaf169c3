//! The run folder: owned, locked, and emptied of what a killed run left.
//!
//! Invariants
//! 1. A folder that holds anything but a former run is refused, never emptied.
//! 2. The lock is held as long as the run lives; cleaning happens under it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::host::Host;
use super::ledger::Ledger;
use super::stop::Stop;

/// What every part of one run shares.
#[derive(Debug)]
pub struct Bed {
    /// The run folder.
    pub dir: PathBuf,
    /// What the machine allows.
    pub host: Host,
    /// What must be undone.
    pub ledger: Ledger,
    /// Set when the run should end.
    pub stop: Stop,
}

impl Bed {
    /// Makes a folder that belongs to the service user.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn service_dir(&self, path: &Path) -> Result<()> {
        std::fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        self.give(path, 0o700)
    }

    /// Writes a file that only the service user reads.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn service_file(&self, path: &Path, text: &str) -> Result<()> {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        self.give(path, 0o600)
    }

    /// Hands a path to the service user.
    ///
    /// # Errors
    /// When owner or mode cannot be changed.
    pub fn give(&self, path: &Path, mode: u32) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("set the mode of {}", path.display()))?;
        if self.host.root {
            std::os::unix::fs::chown(path, Some(self.host.user.uid), Some(self.host.user.gid))
                .with_context(|| format!("hand {} to {}", path.display(), self.host.user.name))?;
        }
        Ok(())
    }
}

/// A run folder that is locked, clean and filled with empty subfolders.
pub(crate) fn open_bed(dir: &Path, host: Host, stop: &Stop) -> Result<(Arc<Bed>, File)> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !dir.is_absolute() {
        bail!(
            "{} is not an absolute path; give one with --dir",
            dir.display()
        );
    }
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let facts =
        std::fs::symlink_metadata(dir).with_context(|| format!("look at {}", dir.display()))?;
    let lock_path = dir.join("lock");
    let strange = std::fs::read_dir(dir)?.next().is_some() && !lock_path.exists();
    if !facts.is_dir() || facts.uid() != rustix::process::geteuid().as_raw() || strange {
        bail!(
            "{} is not a folder of ours; give another with --dir",
            dir.display()
        );
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
    let lock = File::create(&lock_path).with_context(|| format!("open {}", lock_path.display()))?;
    if lock.try_lock().is_err() {
        bail!(
            "another run uses {}; stop it first, or give another folder with --dir",
            dir.display()
        );
    }
    clean(dir)?;
    for folder in [
        "bin", "certs", "configs", "disks", "logs", "nodes", "sockets",
    ] {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    let ledger = Ledger::open(&dir.join("ledger"))?;
    let bed = Arc::new(Bed {
        dir: dir.to_owned(),
        host,
        ledger,
        stop: stop.clone(),
    });
    for folder in ["agents", "load", "secrets"] {
        bed.service_dir(&dir.join(folder))?;
    }
    Ok((bed, lock))
}

/// Undoes a run and removes its files, all but the lock.
pub(crate) fn clean(dir: &Path) -> Result<()> {
    let left = Ledger::undo(&dir.join("ledger"));
    if !left.is_empty() {
        bail!("could not clean up {}: {}", dir.display(), left.join("; "));
    }
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry
            .with_context(|| format!("read {}", dir.display()))?
            .path();
        if path.file_name().is_some_and(|name| name == "lock") {
            continue;
        }
        let kind = std::fs::symlink_metadata(&path)?;
        if kind.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        }
        .with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_foreign_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        let host = Host::without_postgres().unwrap();
        let error = open_bed(dir.path(), host, &Stop::new()).unwrap_err();
        assert!(error.to_string().contains("not a folder of ours"));
        assert!(dir.path().join("thesis.txt").exists());
    }

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("bed");
        let host = Host::without_postgres().unwrap();
        let first = open_bed(&dir, host.clone(), &Stop::new()).unwrap();
        let error = open_bed(&dir, host.clone(), &Stop::new()).unwrap_err();
        assert!(error.to_string().contains("another run uses"));
        drop(first);
        assert!(open_bed(&dir, host, &Stop::new()).is_ok());
    }
}
