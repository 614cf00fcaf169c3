//! The real tailer over a file system in memory, whose writers rotate in every known way, and crashes: what was written is
//! read, once. `PROPTEST_CASES=10000` runs more schedules, `PROPTEST_RNG_SEED` others.
//!
//! Lines may be missing in these cases only, and then a counter says so: the content was truncated, deleted, or fell off the
//! end of the rotation before a checkpoint covered it; or it was written between copytruncate's copy and its truncation.
//! Not modelled: copies of files that begin with a hole of NULs under a pattern that wants the copies too; nothing tells one
//! hole from another, and such a copy may be read twice; nor a hole that is made over one of which nothing but NULs was read.
//!
//! | rule | held here by | and in `lines.rs`, `many.rs` by |
//! |---|---|---|
//! | 1 identity | inodes are used anew at once, with and without birth times | |
//! | 2 rename, drain, wait | `Rename` with late lines | `a_deleted_file_is_read_to_its_end…` |
//! | 3 truncated, rest in the copy | `CopyTruncate`, `Truncate` | |
//! | 4 outgrown | `then` up to 60 lines, holes | `a_truncated_file_that_outgrew…` |
//! | 5 poll beside inotify | no notices at all here | `a_flood_of_notices…` (agent) |
//! | 6 checkpoints | `Crash` at any moment since `Checkpoint` | `a_summary_that_died…` (agent) |
//! | 7 gz, finished files | `Compress`, archives right after rotation | `an_archive_…` |
//! | 8 caps | few handles, small budgets | `a_long_line…`, `bytes_per_poll…`, `where_more_files…` |
//! | 9 deleted files | `Delete` | `a_deleted_file_that_still_grows…` |
//! | 10 sources | | agent: formats, journald |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hsw_tail::{Config, Counters, Pattern, Start, Tailer};
use hsw_types::Monotonic;
use proptest::prelude::*;

use world::Fake;

const NAMES: [&str; 3] = ["/d/a.log", "/d/b.log", "/d/c.log"];
/// Bytes of a line that say which it is.
const ID: usize = 8;

#[derive(Debug, Clone)]
enum Action {
    Append(u8),
    AppendHalf,
    Rename {
        late: u8,
        poll_first: bool,
        compress: bool,
    },
    CopyTruncate {
        between: u8,
        poll_between: bool,
        then: u8,
        leaves_hole: bool,
        compress: bool,
    },
    Truncate {
        then: u8,
        leaves_hole: bool,
    },
    Delete,
    Backup,
    Compress(u8),
    RemoveOldest,
    Poll(u8),
    Checkpoint,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    let flag = any::<bool>;
    prop_oneof![
        6 => (1..40u8).prop_map(Action::Append),
        2 => Just(Action::AppendHalf),
        3 => (0..20u8, flag(), flag()).prop_map(|(late, poll_first, compress)| Action::Rename { late, poll_first, compress }),
        3 => (prop_oneof![3 => Just(0u8), 1 => 1..5u8], flag(), 0..60u8, flag(), flag()).prop_map(
            |(between, poll_between, then, leaves_hole, compress)|
                Action::CopyTruncate { between, poll_between, then, leaves_hole, compress }),
        1 => (0..60u8, flag()).prop_map(|(then, leaves_hole)| Action::Truncate { then, leaves_hole }),
        1 => Just(Action::Delete),
        1 => Just(Action::Backup),
        1 => (1..4u8).prop_map(Action::Compress),
        1 => Just(Action::RemoveOldest),
        5 => (1..12u8).prop_map(Action::Poll),
        3 => Just(Action::Checkpoint),
        2 => Just(Action::Crash),
    ]
}

/// One writer and its file.
struct Log {
    name: &'static str,
    writes_to: u64,
    n_written: u64,
    half: bool,
    /// The writer's file was read, and a checkpoint says so.
    settled: bool,
    polled: bool,
}

struct Model {
    fake: Fake,
    config: Config,
    patterns: Vec<Pattern>,
    wide: bool,
    tailer: Option<Tailer<Fake>>,
    now: Monotonic,
    logs: Vec<Log>,
    read: Vec<String>,
    checkpoint: Option<(Vec<u8>, usize)>,
    may_lose: BTreeSet<String>,
    earlier: Vec<Counters>,
}

impl Model {
    fn new(n_logs: usize, wide: bool, tells_birth: bool, limits: (usize, u64)) -> Self {
        let fake = Fake::default();
        fake.0.borrow_mut().tells_birth = tells_birth;
        let log = |name: &&'static str| Log {
            name,
            writes_to: fake.0.borrow_mut().create(name),
            n_written: 0,
            half: false,
            settled: false,
            polled: false,
        };
        let logs: Vec<Log> = NAMES[..n_logs].iter().map(log).collect();
        let config = Config {
            start: Start::Beginning,
            line_wait: Duration::from_secs(1_000_000),
            scan_every: Duration::from_secs(1),
            n_open_max: limits.0,
            poll_bytes_max: limits.1,
            ..Config::default()
        };
        let names: &[&str] = if wide { &["/d/*.log*"] } else { &NAMES };
        let patterns: Vec<_> = names.iter().map(|n| Pattern::parse(n).unwrap()).collect();
        let tailer = Tailer::new(fake.clone(), config.clone(), patterns.clone());
        Self {
            fake,
            config,
            patterns,
            wide,
            tailer: Some(tailer),
            now: Monotonic(0),
            logs,
            read: Vec::new(),
            checkpoint: None,
            may_lose: BTreeSet::new(),
            earlier: Vec::new(),
        }
    }

    fn write(&mut self, log: usize, text: &str) {
        let inode = self.logs[log].writes_to;
        self.fake.0.borrow_mut().write(inode, text);
    }

    fn append(&mut self, log: usize, n: u8) {
        self.finish_half(log);
        for _ in 0..n {
            let id = self.next_id(log);
            // Lines of different length, so that an exchanged file does not align by chance.
            let pad = "x".repeat((self.logs[log].n_written * 7 % 23) as usize);
            self.write(log, &format!("{id} {pad}\n"));
        }
    }

    fn next_id(&mut self, log: usize) -> String {
        let log = &mut self.logs[log];
        log.n_written += 1;
        format!("{}{:07}", &log.name[3..4], log.n_written)
    }

    fn finish_half(&mut self, log: usize) {
        if std::mem::take(&mut self.logs[log].half) {
            self.write(log, "second half\n");
        }
    }

    /// Lines of a file that are about to become unreachable.
    fn losing(&mut self, inode: u64) {
        let text = self.fake.0.borrow().text(inode);
        let lines = text.lines().map(|l| l.trim_start_matches('\0'));
        let lines = lines.filter(|l| !l.is_empty());
        self.may_lose.extend(lines.map(|l| l[..ID].to_owned()));
    }

    fn tells_holes(&self, log: usize) -> bool {
        let text = self.fake.0.borrow().text(self.logs[log].writes_to);
        !self.wide && !text.starts_with('\0')
    }

    fn is_empty(&self, log: usize) -> bool {
        self.fake.0.borrow().inodes[&self.logs[log].writes_to]
            .data
            .is_empty()
    }

    /// Nobody can follow a file that came and went between two looks; each generation is seen once.
    fn settle(&mut self, log: usize) -> bool {
        self.finish_half(log);
        if !self.is_empty(log) && !self.logs[log].settled {
            for _ in 0..4 {
                self.poll();
            }
            for _ in 0..1_000 {
                if self.logs[log].polled {
                    break;
                }
                self.poll();
            }
            self.save();
        }
        self.logs[log].polled = false;
        std::mem::take(&mut self.logs[log].settled)
    }

    fn poll(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        let (read, tailer) = (&mut self.read, self.tailer.as_mut().unwrap());
        let waited = tailer.counters().files_over_limit;
        tailer.poll(self.now, &mut |line| {
            read.push(String::from_utf8(line.bytes.to_vec()).unwrap());
        });
        let all_seen = tailer.lag_bytes() == 0 && tailer.counters().files_over_limit == waited;
        for log in 0..self.logs.len() {
            self.logs[log].polled = all_seen && !self.is_empty(log);
        }
    }

    fn save(&mut self) {
        let bytes = self.tailer.as_ref().unwrap().checkpoint(|_| None);
        self.checkpoint = Some((bytes, self.read.len()));
        for log in &mut self.logs {
            log.settled |= log.polled;
        }
    }

    /// Makes room for a new `.1`.
    fn shift(&mut self, log: usize) {
        let log = self.logs[log].name;
        let name = |n: u8, end: &str| PathBuf::from(format!("{log}.{n}{end}"));
        for end in ["", ".gz"] {
            let oldest = self.fake.0.borrow().names.get(&name(3, end)).copied();
            if let Some(inode) = oldest {
                self.losing(inode);
            }
            let mut world = self.fake.0.borrow_mut();
            world.names.remove(&name(3, end));
            for n in [2, 1] {
                if let Some(inode) = world.names.remove(&name(n, end)) {
                    world.names.insert(name(n + 1, end), inode);
                }
            }
            world.free_unused();
        }
    }

    fn act(&mut self, log: usize, action: &Action) {
        let name = self.logs[log].name;
        match *action {
            Action::Append(n) => self.append(log, n),
            Action::AppendHalf => {
                self.finish_half(log);
                let id = self.next_id(log);
                self.write(log, &format!("{id} first half, "));
                self.logs[log].half = true;
            }
            Action::Rename {
                late,
                poll_first,
                compress,
            } => self.rename(log, late, poll_first, compress),
            Action::CopyTruncate { .. } => self.copy_truncate(log, action),
            Action::Truncate { then, leaves_hole } => {
                if self.settle(log) {
                    let inode = self.logs[log].writes_to;
                    self.losing(inode);
                    let leaves_hole = leaves_hole && self.tells_holes(log);
                    self.fake.0.borrow_mut().truncate(inode, leaves_hole);
                    // A hole is there only once something is written behind it.
                    self.append(log, then.max(u8::from(leaves_hole)));
                }
            }
            Action::Delete => {
                if self.settle(log) {
                    self.losing(self.logs[log].writes_to);
                    let mut world = self.fake.0.borrow_mut();
                    world.names.remove(Path::new(name));
                    self.logs[log].writes_to = world.create(name);
                }
            }
            Action::Backup => {
                let mut world = self.fake.0.borrow_mut();
                let backup = format!("{name}.bak");
                let begins_with_hole = world.text(self.logs[log].writes_to).starts_with('\0');
                let is_there = world.names.contains_key(Path::new(&backup));
                if !is_there && !begins_with_hole && !self.logs[log].half {
                    world.copy(self.logs[log].writes_to, &backup);
                }
            }
            Action::Compress(n) => {
                let path = format!("{name}.{n}");
                self.fake.0.borrow_mut().compress(&path);
            }
            Action::RemoveOldest => {
                for end in ["", ".gz"] {
                    let oldest = PathBuf::from(format!("{name}.1{end}"));
                    let inode = self.fake.0.borrow().names.get(&oldest).copied();
                    if let Some(inode) = inode {
                        self.losing(inode);
                        let mut world = self.fake.0.borrow_mut();
                        world.names.remove(&oldest);
                        world.free_unused();
                    }
                }
            }
            Action::Poll(n) => (0..n).for_each(|_| self.poll()),
            Action::Checkpoint => self.save(),
            Action::Crash => self.crash(),
        }
    }

    fn rename(&mut self, log: usize, late: u8, poll_first: bool, compress: bool) {
        if !self.settle(log) {
            return;
        }
        self.shift(log);
        let name = self.logs[log].name;
        let rotated = format!("{name}.1");
        let fresh = {
            let mut world = self.fake.0.borrow_mut();
            let inode = world.names.remove(Path::new(name)).unwrap();
            world.names.insert(PathBuf::from(&rotated), inode);
            world.create(name)
        };
        if poll_first {
            self.poll();
        }
        self.append(log, late);
        self.logs[log].writes_to = fresh;
        self.logs[log].polled = false;
        if compress {
            self.fake.0.borrow_mut().compress(&rotated);
        }
    }

    fn copy_truncate(&mut self, log: usize, action: &Action) {
        let Action::CopyTruncate {
            between,
            poll_between,
            then,
            leaves_hole,
            compress,
        } = *action
        else {
            return;
        };
        if !self.settle(log) {
            return;
        }
        self.shift(log);
        let inode = self.logs[log].writes_to;
        let rotated = format!("{}.1", self.logs[log].name);
        self.fake.0.borrow_mut().copy(inode, &rotated);
        let first = self.logs[log].n_written + 1;
        self.append(log, between);
        // The copy has not got these.
        for n in first..=self.logs[log].n_written {
            let id = format!("{}{n:07}", &self.logs[log].name[3..4]);
            self.may_lose.insert(id);
        }
        if poll_between {
            self.poll();
            self.logs[log].polled = false;
        }
        let leaves_hole = leaves_hole && self.tells_holes(log);
        self.fake.0.borrow_mut().truncate(inode, leaves_hole);
        // A hole is there only once something is written behind it.
        self.append(log, then.max(u8::from(leaves_hole)));
        if compress {
            self.fake.0.borrow_mut().compress(&rotated);
        }
    }

    fn crash(&mut self) {
        self.earlier.push(self.tailer.take().unwrap().counters());
        for log in &mut self.logs {
            log.polled = false;
        }
        let (fake, config) = (self.fake.clone(), self.config.clone());
        let patterns = self.patterns.clone();
        self.fake.0.borrow_mut().free_unused();
        self.tailer = Some(match &self.checkpoint {
            Some((bytes, n_read)) => {
                // What was read after the checkpoint died with the process.
                self.read.truncate(*n_read);
                Tailer::restore(fake, config, patterns, bytes).unwrap()
            }
            None => {
                self.read.clear();
                Tailer::new(fake, config, patterns)
            }
        });
    }

    fn check(mut self) -> Result<(), TestCaseError> {
        for log in 0..self.logs.len() {
            self.finish_half(log);
        }
        for _ in 0..100 {
            self.poll();
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in self.read.iter().filter(|line| line.len() >= ID) {
            *counts.entry(&line[..ID]).or_default() += 1;
        }
        let mut n_lost = 0;
        for log in &self.logs {
            for n in 1..=log.n_written {
                let id = format!("{}{n:07}", &log.name[3..4]);
                let times = counts.get(id.as_str()).copied().unwrap_or(0);
                prop_assert!(times <= 1, "{id} was read {times} times");
                if times == 0 {
                    n_lost += 1;
                    prop_assert!(self.may_lose.contains(&id), "{id} was not read");
                }
            }
        }
        for line in &self.read {
            prop_assert!(!line.contains('\0'), "a hole: {line:?}");
            if line.len() < ID {
                // The budget ended inside a line that the truncation then cut off.
                let cut = |id: &String| id.starts_with(line.as_str());
                prop_assert!(self.may_lose.iter().any(cut), "torn: {line:?}");
                continue;
            }
            prop_assert!(
                line.contains("half") == line.ends_with("first half, second half")
                    || self.may_lose.contains(&line[..ID]),
                "torn: {line}"
            );
        }
        let tailer = self.tailer.as_ref().unwrap();
        self.earlier.push(tailer.counters());
        let told: u64 = self
            .earlier
            .iter()
            .map(|c| c.truncations + c.files_vanished + c.bytes_lost)
            .sum();
        prop_assert!(
            n_lost == 0 || told > 0,
            "{n_lost} lines lost without a word"
        );
        let n_open = tailer.n_files().1;
        prop_assert!(n_open <= self.config.n_open_max, "{n_open} handles");
        prop_assert_eq!(tailer.lag_bytes(), 0);
        Ok(())
    }
}

/// As many as `PROPTEST_CASES` says; few enough by default for every build.
fn cases() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_every_line_is_read_once_through_rotation_and_crashes(
        actions in proptest::collection::vec((0..NAMES.len(), action()), 1..40),
        n_logs in 1..=NAMES.len(),
        wide in any::<bool>(),
        tells_birth in any::<bool>(),
        limits in (1..8usize, 1_000..50_000u64),
    ) {
        let mut model = Model::new(n_logs, wide, tells_birth, limits);
        for (log, action) in &actions {
            model.act(log % n_logs, action);
        }
        model.check()?;
    }
}
