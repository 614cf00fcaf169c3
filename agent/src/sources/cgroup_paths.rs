//! Finding the cgroup directories of a process: v1, v2 and both at once. (step 1)
//!
//! In: `/proc/PID/cgroup` and `/proc/self/mountinfo`. Out: one directory per controller.
//! Invariants: CP-1 the host's root cgroup is no cgroup of the process: nothing there is about it alone.
//! CP-2 a path outside the agent's own cgroup namespace is not guessed. Does not: read any figures.

use std::path::{Path, PathBuf};

use super::proc::{fields, lines};

/// The controllers that are read; `unified` is the v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CgroupPaths {
    /// v2.
    pub(crate) unified: Option<PathBuf>,
    /// v1 `cpu`: throttling.
    pub(crate) cpu: Option<PathBuf>,
    /// v1 `cpuacct`: usage.
    pub(crate) cpuacct: Option<PathBuf>,
    /// v1 `memory`.
    pub(crate) memory: Option<PathBuf>,
    /// v1 `blkio`.
    pub(crate) blkio: Option<PathBuf>,
    /// v1 `freezer`.
    pub(crate) freezer: Option<PathBuf>,
}

impl CgroupPaths {
    /// Whether the process lives in no cgroup but roots.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Finds the directories from the text of the two files. `below` is put before mount points (a fixture's root).
    pub(crate) fn find(cgroup: &[u8], mountinfo: &[u8], below: &Path) -> Self {
        let mut paths = Self::default();
        for line in lines(cgroup) {
            // `4:memory:/a/b`; v2 is `0::/a/b`; the path may hold colons.
            let mut parts = line.splitn(3, |&byte| byte == b':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            for controller in controllers.split(|&byte| byte == b',') {
                let Some(slot) = paths.slot(controller) else {
                    continue;
                };
                *slot = directory(mountinfo, controller, path, below);
            }
        }
        paths
    }

    fn slot(&mut self, controller: &[u8]) -> Option<&mut Option<PathBuf>> {
        Some(match controller {
            b"" => &mut self.unified,
            b"cpu" => &mut self.cpu,
            b"cpuacct" => &mut self.cpuacct,
            b"memory" => &mut self.memory,
            b"blkio" => &mut self.blkio,
            b"freezer" => &mut self.freezer,
            _ => return None,
        })
    }
}

/// Whether any cgroup hierarchy is mounted at all.
pub(crate) fn any_mounted(mountinfo: &[u8]) -> bool {
    lines(mountinfo)
        .filter_map(mount)
        .any(|mount| mount.is_cgroup())
}

struct Mount<'a> {
    root: &'a [u8],
    point: &'a [u8],
    kind: &'a [u8],
    options: &'a [u8],
}

impl Mount<'_> {
    fn is_cgroup(&self) -> bool {
        matches!(self.kind, b"cgroup" | b"cgroup2")
    }

    fn carries(&self, controller: &[u8]) -> bool {
        if controller.is_empty() {
            return self.kind == b"cgroup2";
        }
        let mut options = self.options.split(|&byte| byte == b',');
        self.kind == b"cgroup" && options.any(|option| option == controller)
    }
}

/// `36 35 98:0 /root /point options… - type source super_options`.
fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut columns = fields(line).skip(3);
    let (root, point) = (columns.next()?, columns.next()?);
    let mut columns = columns.skip_while(|column| *column != b"-").skip(1);
    let (kind, _source) = (columns.next()?, columns.next()?);
    Some(Mount {
        root,
        point,
        kind,
        options: columns.next()?,
    })
}

fn directory(mountinfo: &[u8], controller: &[u8], path: &[u8], below: &Path) -> Option<PathBuf> {
    let path = std::str::from_utf8(path).ok()?;
    if path.starts_with("/..") {
        return None;
    }
    // The same hierarchy may be mounted at several places; the first that shows the path will do.
    let mut mounts = lines(mountinfo)
        .filter_map(mount)
        .filter(|mount| mount.carries(controller));
    let (point, inner) = mounts.find_map(|mount| {
        let root = std::str::from_utf8(mount.root).ok()?;
        let inner = path.strip_prefix(root.trim_end_matches('/'))?;
        let whole_names = inner.is_empty() || inner.starts_with('/');
        whole_names.then_some((mount.point, inner.trim_matches('/')))
    })?;
    let point = std::str::from_utf8(point).ok()?;
    let directory = below.join(point.trim_start_matches('/')).join(inner);
    // In a cgroup namespace every process seems to live in `/`; only the real root has, or lacks, these files.
    let is_root = if controller.is_empty() {
        !directory.join("cgroup.events").exists()
    } else {
        path == "/" && directory.join("cgroup.sane_behavior").exists()
    };
    (!is_root && directory.is_dir()).then_some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const MOUNTS: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /cg/cpu rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 /docker/abc /cg/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /cg/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_hybrid_host_gives_v1_and_v2_directories_and_a_containers_mount_root_is_taken_off() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["cg/cpu/db", "cg/memory/inner", "cg/unified/db"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("cg/unified/db/cgroup.events"), "").unwrap();
        let cgroup = b"4:memory:/docker/abc/inner\n2:cpu,cpuacct:/db\n9:name=systemd:/\n0::/db\n";
        let paths = CgroupPaths::find(cgroup, MOUNTS, dir.path());
        assert_eq!(paths.cpu, Some(dir.path().join("cg/cpu/db")));
        assert_eq!(paths.cpuacct, paths.cpu);
        assert_eq!(paths.memory, Some(dir.path().join("cg/memory/inner")));
        assert_eq!(paths.unified, Some(dir.path().join("cg/unified/db")));
        assert_eq!(paths.freezer, None);
    }

    #[test]
    fn the_hosts_root_is_no_cgroup_but_a_namespaces_root_is() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["cg/cpu", "cg/unified"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("cg/cpu/cgroup.sane_behavior"), "0").unwrap();
        let cgroup = b"2:cpu:/\n0::/\n";
        assert!(CgroupPaths::find(cgroup, MOUNTS, dir.path()).is_empty());
        fs::write(dir.path().join("cg/unified/cgroup.events"), "").unwrap();
        let paths = CgroupPaths::find(cgroup, MOUNTS, dir.path());
        assert!(paths.unified.is_some() && paths.cpu.is_none());
    }

    #[test]
    fn a_path_outside_the_namespace_or_of_a_longer_name_is_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("cg/memory")).unwrap();
        let find = |text: &[u8]| CgroupPaths::find(text, MOUNTS, dir.path());
        assert!(find(b"4:memory:/../other\n").is_empty());
        assert!(find(b"4:memory:/docker/abcdef\n").is_empty());
        assert!(any_mounted(MOUNTS) && !any_mounted(b"1 2 0:1 / / rw - ext4 /dev/sda rw\n"));
    }
}
