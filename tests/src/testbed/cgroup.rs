//! A control group per node, of version 1 or 2, whichever the kernel gives; neither is a normal answer.
//!
//! Version 1: one directory per controller, below the group this process is in. Version 2: one directory below the root.
//! Limits are those of a small host: a quota of processor time, so that a hog starves its own shard and not the neighbours.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ledger::{Ledger, ProcId};

/// Scheduling period that quotas refer to, in microseconds: the kernel's default.
const PERIOD_US: u64 = 100_000;

/// Where groups can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One parent directory per controller.
    V1(Vec<PathBuf>),
    /// One parent directory for all.
    V2(PathBuf),
}

impl Hierarchy {
    /// Looks at the mounts of this machine; `None` when neither version offers processor control.
    #[must_use]
    pub fn find() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::from_text(&mounts, &own, &|path: &Path| path.is_dir()).or_else(|| {
            let root = v2_root(&mounts)?;
            let controllers = std::fs::read_to_string(root.join("cgroup.controllers")).ok()?;
            controllers
                .split_whitespace()
                .any(|name| name == "cpu")
                .then_some(Self::V2(root))
        })
    }

    fn from_text(mounts: &str, own: &str, is_dir: &dyn Fn(&Path) -> bool) -> Option<Self> {
        let mut parents = Vec::new();
        let mut has_cpu = false;
        for controller in ["cpu", "cpuacct", "memory", "freezer", "blkio"] {
            let Some(mount) = v1_mount(mounts, controller) else {
                continue;
            };
            let own_path = own
                .lines()
                .filter_map(|line| line.split_once(':')?.1.split_once(':'))
                .find(|(names, _)| names.split(',').any(|name| name == controller))
                .map_or("/", |(_, path)| path);
            let nested = mount.join(own_path.trim_start_matches('/'));
            let parent = if is_dir(&nested) { nested } else { mount };
            has_cpu |= controller == "cpu";
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        has_cpu.then_some(Self::V1(parents))
    }
}

fn v1_mount(mounts: &str, controller: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (path, kind, options) = (words.next()?, words.next()?, words.next()?);
        let fits = kind == "cgroup" && options.split(',').any(|option| option == controller);
        fits.then(|| PathBuf::from(path))
    })
}

fn v2_root(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let path = words.next()?;
        (words.next()? == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// The group of one node.
#[derive(Clone, Debug)]
pub struct Group {
    dirs: Vec<PathBuf>,
    v2: bool,
}

impl Group {
    /// Makes the group `family/name`.
    ///
    /// # Errors
    /// When the kernel refuses; the caller may go on without.
    pub fn create(
        hierarchy: &Hierarchy,
        family: &str,
        name: &str,
        ledger: &Ledger,
    ) -> Result<Self> {
        let (parents, v2) = match hierarchy {
            Hierarchy::V1(parents) => (parents.clone(), false),
            Hierarchy::V2(root) => (vec![root.clone()], true),
        };
        let mut dirs = Vec::new();
        for parent in parents {
            let family_dir = parent.join(family);
            make(&family_dir, ledger)?;
            if v2 {
                for dir in [&parent, &family_dir] {
                    enable(dir)?;
                }
            }
            let dir = family_dir.join(name);
            make(&dir, ledger)?;
            dirs.push(dir);
        }
        let group = Self { dirs, v2 };
        group
            .write_quota(None)
            .context("try the group's processor quota")?;
        Ok(group)
    }

    /// The files into which a process writes its id to become a member.
    #[must_use]
    pub fn doors(&self) -> Vec<PathBuf> {
        self.dirs
            .iter()
            .map(|dir| dir.join("cgroup.procs"))
            .collect()
    }

    /// Limits processor time to this share of one core; `None` lifts the limit.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn write_quota(&self, cores: Option<f64>) -> Result<()> {
        let quota_us = cores.map(|cores| (cores * PERIOD_US as f64) as u64);
        if self.v2 {
            let text = quota_us.map_or_else(|| "max".to_owned(), |us| us.to_string());
            return self.write("cpu.max", &format!("{text} {PERIOD_US}"));
        }
        let text = quota_us.map_or_else(|| "-1".to_owned(), |us| us.to_string());
        self.write("cpu.cfs_quota_us", &text)
    }

    /// Freezes or thaws every member.
    ///
    /// # Errors
    /// When the kernel has no freezer.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        if self.v2 {
            return self.write("cgroup.freeze", if frozen { "1" } else { "0" });
        }
        self.write("freezer.state", if frozen { "FROZEN" } else { "THAWED" })
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self
            .dirs
            .iter()
            .map(|dir| dir.join(file))
            .find(|path| path.exists());
        let path = path.with_context(|| format!("this kernel's control groups have no {file}"))?;
        std::fs::write(&path, text).with_context(|| format!("write {text} to {}", path.display()))
    }
}

fn make(dir: &Path, ledger: &Ledger) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    ledger.cgroup(dir)?;
    std::fs::create_dir(dir).with_context(|| format!("make the control group {}", dir.display()))
}

/// Children get only the controllers that their parent passes on; memory and io are welcome but not needed.
fn enable(dir: &Path) -> Result<()> {
    let path = dir.join("cgroup.subtree_control");
    std::fs::write(&path, "+cpu").with_context(|| format!("enable cpu in {}", path.display()))?;
    for controller in ["+memory", "+io"] {
        let _ = std::fs::write(&path, controller);
    }
    Ok(())
}

/// Thaws a group and lifts its quota; used before ending its members.
pub fn release(dir: &Path) {
    for (file, text) in [
        ("freezer.state", "THAWED"),
        ("cgroup.freeze", "0"),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.max", "max"),
    ] {
        let path = dir.join(file);
        if path.exists() {
            let _ = std::fs::write(path, text);
        }
    }
}

/// The processes in a group now.
#[must_use]
pub fn members(dir: &Path) -> Vec<ProcId> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines()
        .filter_map(|line| ProcId::of(line.trim().parse().ok()?))
        .collect()
}

/// Removes an empty group; the kernel needs a moment after its last member ended.
///
/// # Errors
/// When it is still busy after two seconds.
pub fn remove(dir: &Path) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match std::fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= until => {
                return Err(error).with_context(|| format!("remove {}", dir.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

    #[test]
    fn controllers_mounted_together_are_one_parent_and_groups_nest_below_our_own() {
        let own = "5:memory:/a/b\n3:cpu,cpuacct:/\n";
        let found = Hierarchy::from_text(HYBRID, own, &|_| true).unwrap();
        let expected = ["/sys/fs/cgroup/cpu,cpuacct/", "/sys/fs/cgroup/memory/a/b"];
        assert_eq!(
            found,
            Hierarchy::V1(expected.iter().map(PathBuf::from).collect())
        );
    }

    #[test]
    fn an_own_group_outside_this_namespace_falls_back_to_the_mount() {
        let own = "5:memory:/a/b\n";
        let visible = |path: &Path| !path.ends_with("a/b");
        let Hierarchy::V1(parents) = Hierarchy::from_text(HYBRID, own, &visible).unwrap() else {
            panic!("version 1 is there");
        };
        assert_eq!(parents[1], PathBuf::from("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn version_two_alone_is_not_taken_for_version_one() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(Hierarchy::from_text(mounts, "0::/\n", &|_| true), None);
        assert_eq!(v2_root(mounts), Some(PathBuf::from("/sys/fs/cgroup")));
    }
}
