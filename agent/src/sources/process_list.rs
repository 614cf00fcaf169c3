//! Who has joined the processes of an instance. (step 1)
//!
//! In: the postmaster's `children` file where the kernel has one, else a listing of `/proc`. Out: new members.
//! Invariants: PL-1 a process is looked at once, and strangers again only every [`FORGOTTEN_AFTER`] rounds.
//! With the `children` file only the postmaster's own children are found: theirs (an archive command's shell) show in
//! their parents' figures when they end. Does not: notice who leaves (see `process_tree`).

use std::fs::File;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};

use super::proc::{Buffer, PidStat, PollFile, fields, number, pid_stat};

/// Rounds after which strangers are looked at again, as pids are given away anew.
const FORGOTTEN_AFTER: u64 = 60;

/// Lists processes around one postmaster.
#[derive(Debug)]
pub(crate) struct ProcessList {
    proc: PathBuf,
    children: Option<PollFile>,
    directory: Option<OwnedFd>,
    /// Ascending; processes of others.
    strangers: Vec<u32>,
    seen: Vec<u32>,
    round: u64,
}

impl ProcessList {
    /// Around the postmaster `root`.
    pub(crate) fn new(proc: &Path, root: u32) -> Self {
        let children = PollFile::new(proc.join(format!("{root}/task/{root}/children")));
        Self {
            proc: proc.to_owned(),
            // Not in every kernel (CONFIG_PROC_CHILDREN).
            children: children.path().exists().then_some(children),
            directory: None,
            strangers: Vec::new(),
            seen: Vec::new(),
            round: 0,
        }
    }

    /// Processes that are no members yet and descend from one.
    pub(crate) fn newcomers(
        &mut self,
        is_member: impl Fn(u32) -> bool,
        buffer: &mut Buffer,
    ) -> Vec<(u32, PidStat)> {
        let mut seen = std::mem::take(&mut self.seen);
        seen.clear();
        match &mut self.children {
            Some(children) => {
                if let Ok(text) = children.read(buffer) {
                    seen.extend(fields(text).filter_map(pid_of));
                }
            }
            None => self.list_all(&mut seen),
        }
        seen.sort_unstable();
        if self.round.is_multiple_of(FORGOTTEN_AFTER) {
            self.strangers.clear();
        }
        self.round += 1;
        self.strangers.retain(|pid| seen.binary_search(pid).is_ok());
        let mut unknown: Vec<(u32, PidStat)> = Vec::new();
        for &pid in &seen {
            let known = is_member(pid) || self.strangers.binary_search(&pid).is_ok();
            if !known && let Some((_, stat)) = open_stat(&self.proc, pid, buffer) {
                unknown.push((pid, stat));
            }
        }
        self.seen = seen;
        let mut joined: Vec<(u32, PidStat)> = Vec::new();
        // A child may have a lower pid than its parent when pids have wrapped around, so until nobody joins.
        loop {
            let before = joined.len();
            for (pid, stat) in std::mem::take(&mut unknown) {
                if is_member(stat.parent) || joined.iter().any(|(pid, _)| *pid == stat.parent) {
                    joined.push((pid, stat));
                } else {
                    unknown.push((pid, stat));
                }
            }
            if joined.len() == before {
                break;
            }
        }
        self.strangers.extend(unknown.iter().map(|(pid, _)| *pid));
        self.strangers.sort_unstable();
        joined
    }

    /// Whether the last listing held the process.
    pub(crate) fn holds(&self, pid: u32) -> bool {
        self.seen.binary_search(&pid).is_ok()
    }

    fn list_all(&mut self, seen: &mut Vec<u32>) {
        if self.directory.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.directory = rustix::fs::open(&self.proc, flags, Mode::empty()).ok();
        }
        let Some(directory) = &self.directory else {
            return;
        };
        if rustix::fs::seek(directory, SeekFrom::Start(0)).is_err() {
            return;
        }
        let mut space = [MaybeUninit::<u8>::uninit(); 8192];
        let mut entries = RawDir::new(directory, &mut space);
        while let Some(Ok(entry)) = entries.next() {
            seen.extend(pid_of(entry.file_name().to_bytes()));
        }
    }
}

/// The open `stat` file of a process and what it says.
pub(crate) fn open_stat(proc: &Path, pid: u32, buffer: &mut Buffer) -> Option<(File, PidStat)> {
    let file = File::open(proc.join(format!("{pid}/stat"))).ok()?;
    let stat = pid_stat(buffer.read_once(&file).ok()?)?;
    Some((file, stat))
}

fn pid_of(name: &[u8]) -> Option<u32> {
    number(name).and_then(|pid| u32::try_from(pid).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::parent_id;
    use std::process::{Command, Stdio};

    fn check_finds_a_child_of_this_process(mut list: ProcessList) {
        let own = std::process::id();
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let found = list.newcomers(|pid| pid == own, &mut Buffer::new());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            found
                .iter()
                .any(|(pid, stat)| *pid == child.id() && stat.parent == own)
        );
        assert!(
            !found
                .iter()
                .any(|(pid, _)| *pid == parent_id() || *pid == 1)
        );
    }

    #[test]
    fn a_child_is_found_by_listing_all_processes_of_a_kernel_without_children_files() {
        let mut list = ProcessList::new(Path::new("/proc"), std::process::id());
        list.children = None;
        check_finds_a_child_of_this_process(list);
    }

    #[test]
    fn the_children_file_is_believed_where_there_is_one() {
        let proc = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("100/task/100/children", "101 "),
            (
                "101/stat",
                "101 (postgres) S 100 1 1 0 -1 0 0 0 3 0 200 50 0 0 20 0 1 0 5 0\n",
            ),
            (
                "102/stat",
                "102 (postgres) S 100 1 1 0 -1 0 0 0 3 0 200 50 0 0 20 0 1 0 5 0\n",
            ),
        ] {
            let path = proc.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut list = ProcessList::new(proc.path(), 100);
        let found = list.newcomers(|pid| pid == 100, &mut Buffer::new());
        assert_eq!(found.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [101]);
    }
}
