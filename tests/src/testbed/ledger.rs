//! The ledger: what was started or changed, written down before it is relied on, so that it can be undone after a kill.
//!
//! One file of lines, only appended: `proc PID START NAME`, `stopped PID START`, `cgroup PATH`, `mount PATH`.
//!
//! Invariants
//! 1. A pid is only signalled while `/proc/PID/stat` still shows the start time that was recorded with it.
//! 2. Undoing goes: wake what was frozen or stopped, end processes (newest first), remove groups, unmount. Each step may be repeated.
//! 3. A torn last line is skipped; it can only describe something that the killed process had not begun to use.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{cgroup, disk};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcId {
    /// The process id.
    pub pid: u32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl ProcId {
    /// The process that has this id now.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self {
            pid,
            start: parse_stat(&stat)?.start,
        })
    }

    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn alive(self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| parse_stat(&stat))
            .is_some_and(|stat| stat.start == self.start && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Sends a signal if it is still the same process; says whether it was sent.
    pub fn signal(self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return false;
        };
        self.alive() && kill_process(pid, signal).is_ok()
    }

    /// Waits until it is gone; false when it is not by then.
    #[must_use]
    pub fn wait_gone(self, span: Duration) -> bool {
        let until = Instant::now() + span;
        while self.alive() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// This process and all that descend from it, parents first.
    #[must_use]
    pub fn tree(self) -> Vec<Self> {
        let mut parents = Vec::new();
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return vec![self];
        };
        for entry in entries.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if let Some(stat) = parse_stat(&stat) {
                parents.push((
                    stat.parent,
                    Self {
                        pid,
                        start: stat.start,
                    },
                ));
            }
        }
        let mut tree = vec![self];
        let mut next = 0;
        while next < tree.len() {
            let parent = tree[next].pid;
            tree.extend(
                parents
                    .iter()
                    .filter(|(of, _)| *of == parent)
                    .map(|(_, id)| *id),
            );
            next += 1;
        }
        tree
    }
}

struct Stat {
    state: char,
    parent: u32,
    start: u64,
}

/// The command name in brackets may hold blanks and brackets, so fields are counted from the last bracket.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let start = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        state,
        parent,
        start,
    })
}

/// One thing to undo.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Proc(ProcId),
    Stopped(ProcId),
    Cgroup(PathBuf),
    Mount(PathBuf),
}

fn parse_line(line: &str) -> Option<Entry> {
    let (kind, rest) = line.split_once(' ')?;
    let process = || {
        let mut words = rest.split(' ');
        Some(ProcId {
            pid: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
        })
    };
    match kind {
        "proc" => Some(Entry::Proc(process()?)),
        "stopped" => Some(Entry::Stopped(process()?)),
        "cgroup" => Some(Entry::Cgroup(PathBuf::from(rest))),
        "mount" => Some(Entry::Mount(PathBuf::from(rest))),
        _ => None,
    }
}

/// The open ledger of one run.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: Mutex<File>,
}

impl Ledger {
    /// Opens it for appending.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("open the ledger {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Records a process that was just started.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn process(&self, id: ProcId, name: &str) -> Result<()> {
        self.line(&format!("proc {} {} {name}", id.pid, id.start))
    }

    /// Records a process that is about to be stopped by a signal.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn stopped(&self, id: ProcId) -> Result<()> {
        self.line(&format!("stopped {} {}", id.pid, id.start))
    }

    /// Records a control group that is about to be made.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn cgroup(&self, path: &Path) -> Result<()> {
        self.line(&format!("cgroup {}", path.display()))
    }

    /// Records a mount that is about to be made.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn mount(&self, path: &Path) -> Result<()> {
        self.line(&format!("mount {}", path.display()))
    }

    fn line(&self, line: &str) -> Result<()> {
        // One write per line, so that a kill can only tear the last one.
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(format!("{line}\n").as_bytes())
            .with_context(|| format!("write to the ledger {}", self.path.display()))
    }

    /// Undoes all that a ledger file records, and says what could not be undone. A missing file means nothing to do.
    #[must_use]
    pub fn undo(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let entries: Vec<Entry> = text.lines().filter_map(parse_line).collect();
        let mut left = Vec::new();
        wake(&entries);
        end_processes(&entries, &mut left);
        for entry in entries.iter().rev() {
            let problem = match entry {
                Entry::Cgroup(path) => cgroup::remove(path),
                Entry::Mount(path) => disk::unmount(path),
                Entry::Proc(_) | Entry::Stopped(_) => Ok(()),
            };
            if let Err(problem) = problem {
                left.push(format!("{problem:#}"));
            }
        }
        if left.is_empty() {
            let _ = std::fs::remove_file(path);
        }
        left
    }
}

/// A frozen or stopped process acts on nothing but SIGKILL, and a frozen one of version 1 not even on that.
fn wake(entries: &[Entry]) {
    for entry in entries {
        match entry {
            Entry::Cgroup(path) => cgroup::release(path),
            Entry::Stopped(id) => {
                id.signal(Signal::CONT);
            }
            Entry::Proc(_) | Entry::Mount(_) => {}
        }
    }
}

fn end_processes(entries: &[Entry], left: &mut Vec<String>) {
    let mut ids: Vec<ProcId> = entries
        .iter()
        .rev()
        .filter_map(|entry| match entry {
            Entry::Proc(id) if id.alive() => Some(*id),
            _ => None,
        })
        .collect();
    // SIGINT is "fast shutdown" to PostgreSQL and Ctrl-C to the others.
    let trees: Vec<ProcId> = ids.iter().flat_map(|id| id.tree()).collect();
    for id in &trees {
        id.signal(Signal::CONT);
    }
    for id in &ids {
        id.signal(Signal::INT);
    }
    let until = Instant::now() + Duration::from_secs(8);
    for id in &ids {
        let _ = id.wait_gone(until.saturating_duration_since(Instant::now()));
    }
    ids.extend(trees);
    for entry in entries {
        if let Entry::Cgroup(path) = entry {
            ids.extend(cgroup::members(path));
        }
    }
    for id in &ids {
        id.signal(Signal::KILL);
    }
    for id in &ids {
        if !id.wait_gone(Duration::from_secs(5)) {
            left.push(format!("process {} does not end", id.pid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_brackets_does_not_shift_the_fields() {
        let stat = "77 (a) b (c) S 5 77 77 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 98765 1 2 3";
        let parsed = parse_stat(stat).unwrap();
        assert_eq!((parsed.state, parsed.parent, parsed.start), ('S', 5, 98765));
    }

    #[test]
    fn a_torn_line_is_skipped() {
        assert_eq!(parse_line("proc 12"), None);
        assert_eq!(parse_line("pro"), None);
        let id = ProcId { pid: 12, start: 34 };
        assert_eq!(
            parse_line("proc 12 34 shard-1 postgres"),
            Some(Entry::Proc(id))
        );
    }

    #[test]
    fn a_process_with_another_start_time_is_left_alone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let id = ProcId::of(child.id()).unwrap();
        let stranger = ProcId {
            pid: id.pid,
            start: id.start + 1,
        };
        assert!(!stranger.signal(Signal::KILL));
        assert!(id.alive());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        std::fs::write(&path, format!("proc {} {} other\n", id.pid, id.start + 1)).unwrap();
        assert!(Ledger::undo(&path).is_empty());
        assert!(id.alive());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn undoing_ends_a_recorded_process_that_was_stopped() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let id = ProcId::of(child.id()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let ledger = Ledger::open(&path).unwrap();
        ledger.process(id, "sleep").unwrap();
        ledger.stopped(id).unwrap();
        assert!(id.signal(Signal::STOP));
        assert!(Ledger::undo(&path).is_empty());
        assert!(!id.alive());
        assert!(!path.exists());
        child.wait().unwrap();
    }
}
