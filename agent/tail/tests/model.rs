//! A file system in memory, a writer that rotates in every known way, crashes: what was written is read, once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use hsw_tail::{Config, Counters, FileSystem, Listed, Pattern, Start, Stat, Tailer};
use hsw_types::Monotonic;
use proptest::prelude::*;

#[derive(Debug, Default)]
struct World {
    names: BTreeMap<PathBuf, u64>,
    inodes: BTreeMap<u64, (Vec<u8>, i64)>,
    handles: BTreeMap<u64, usize>,
    tick: i64,
}

impl World {
    fn free_unused(&mut self) {
        let (names, handles) = (&self.names, &self.handles);
        self.inodes
            .retain(|inode, _| names.values().any(|n| n == inode) || handles.contains_key(inode));
    }
    /// The smallest unused number, as ext4 does: reuse is the common case.
    fn create(&mut self, path: &str) -> u64 {
        self.free_unused();
        let inode = (1..).find(|n| !self.inodes.contains_key(n)).unwrap();
        self.names.insert(PathBuf::from(path), inode);
        self.inodes.insert(inode, (Vec::new(), 0));
        self.touch(inode);
        inode
    }
    fn touch(&mut self, inode: u64) {
        self.tick += 1;
        self.inodes.get_mut(&inode).unwrap().1 = self.tick;
    }
    fn stat(&self, inode: u64) -> Stat {
        let (data, modified_ns) = &self.inodes[&inode];
        Stat {
            dev: 1,
            inode,
            size: data.len() as u64,
            n_links: self.names.values().filter(|n| **n == inode).count() as u64,
            modified_ns: *modified_ns,
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Fake(Rc<RefCell<World>>);

#[derive(Debug)]
struct Handle {
    inode: u64,
    world: Rc<RefCell<World>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let n = world.handles.get_mut(&self.inode).unwrap();
        *n -= 1;
        if *n == 0 {
            world.handles.remove(&self.inode);
        }
        world.free_unused();
    }
}

impl FileSystem for Fake {
    type File = Handle;
    fn list(&self, _: &Path) -> io::Result<Vec<Listed>> {
        let world = self.0.borrow();
        let listed = world.names.iter().map(|(path, inode)| Listed {
            path: path.clone(),
            stat: world.stat(*inode),
        });
        Ok(listed.collect())
    }
    fn open(&self, path: &Path) -> io::Result<Handle> {
        let mut world = self.0.borrow_mut();
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        *world.handles.entry(inode).or_default() += 1;
        Ok(Handle {
            inode,
            world: Rc::clone(&self.0),
        })
    }
    fn stat(&self, file: &Handle) -> io::Result<Stat> {
        Ok(self.0.borrow().stat(file.inode))
    }
    fn read_at(&self, file: &Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let world = self.0.borrow();
        let data = &world.inodes[&file.inode].0;
        let rest = data.get(offset as usize..).unwrap_or(&[]);
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

const LOG: &str = "/d/app.log";

#[derive(Debug, Clone)]
enum Action {
    Append(u8),
    AppendHalf,
    Rename { late: u8, poll_first: bool },
    CopyTruncate { then: u8 },
    Truncate { then: u8 },
    Delete,
    Backup,
    RemoveOldest,
    Poll(u8),
    Checkpoint,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..40u8).prop_map(Action::Append),
        2 => Just(Action::AppendHalf),
        2 => (0..20u8, any::<bool>()).prop_map(|(late, poll_first)| Action::Rename { late, poll_first }),
        3 => (0..60u8).prop_map(|then| Action::CopyTruncate { then }),
        1 => (0..60u8).prop_map(|then| Action::Truncate { then }),
        1 => Just(Action::Delete),
        1 => Just(Action::Backup),
        1 => Just(Action::RemoveOldest),
        5 => (1..12u8).prop_map(Action::Poll),
        3 => Just(Action::Checkpoint),
        2 => Just(Action::Crash),
    ]
}

struct Model {
    fake: Fake,
    config: Config,
    pattern: Pattern,
    tailer: Option<Tailer<Fake>>,
    now: Monotonic,
    writes_to: u64,
    n_written: u64,
    half: bool,
    read: Vec<String>,
    checkpoint: Option<(Vec<u8>, usize)>,
    /// The writer's file was read, and a checkpoint says so.
    settled: bool,
    polled: bool,
    may_lose: BTreeSet<String>,
    earlier: Vec<Counters>,
}

impl Model {
    fn new(wide: bool, n_open_max: usize, poll_bytes_max: u64) -> Self {
        let fake = Fake::default();
        let writes_to = fake.0.borrow_mut().create(LOG);
        let config = Config {
            start: Start::Beginning,
            line_wait: Duration::from_secs(1_000_000),
            scan_every: Duration::from_secs(1),
            n_open_max,
            poll_bytes_max,
            ..Config::default()
        };
        let pattern = Pattern::parse(if wide { "/d/app.log*" } else { LOG }).unwrap();
        let tailer = Tailer::new(fake.clone(), config.clone(), vec![pattern.clone()]);
        Self {
            fake,
            config,
            pattern,
            tailer: Some(tailer),
            now: Monotonic(0),
            writes_to,
            n_written: 0,
            half: false,
            read: Vec::new(),
            checkpoint: None,
            settled: false,
            polled: false,
            may_lose: BTreeSet::new(),
            earlier: Vec::new(),
        }
    }

    fn write(&mut self, text: &str) {
        let mut world = self.fake.0.borrow_mut();
        let inode = self.writes_to;
        world
            .inodes
            .get_mut(&inode)
            .unwrap()
            .0
            .extend_from_slice(text.as_bytes());
        world.touch(inode);
    }

    fn append(&mut self, n: u8) {
        self.finish_half();
        for _ in 0..n {
            self.n_written += 1;
            // Lines of different length, so that an exchanged file does not align by chance.
            let pad = "x".repeat((self.n_written * 7 % 23) as usize);
            self.write(&format!("line {:06} {pad}\n", self.n_written));
        }
    }

    fn finish_half(&mut self) {
        if std::mem::take(&mut self.half) {
            self.write("second half\n");
        }
    }

    /// Lines of a file that are about to become unreachable.
    fn losing(&mut self, inode: u64) {
        let data = self.fake.0.borrow().inodes[&inode].0.clone();
        let text = String::from_utf8(data).unwrap();
        self.may_lose.extend(text.lines().map(str::to_owned));
    }

    /// Nobody can follow a file that came and went between two looks; each generation is seen once.
    fn settle(&mut self) -> bool {
        self.finish_half();
        let empty = self.fake.0.borrow().inodes[&self.writes_to].0.is_empty();
        if !empty && !self.settled {
            for _ in 0..4 {
                self.poll();
            }
            while self.tailer.as_ref().unwrap().lag_bytes() > 0 {
                self.poll();
            }
            self.save();
        }
        self.polled = false;
        std::mem::take(&mut self.settled)
    }

    fn poll(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        let (read, tailer) = (&mut self.read, self.tailer.as_mut().unwrap());
        tailer.poll(self.now, &mut |line| {
            read.push(String::from_utf8(line.bytes.to_vec()).unwrap());
        });
        let empty = self.fake.0.borrow().inodes[&self.writes_to].0.is_empty();
        self.polled = !empty && tailer.lag_bytes() == 0;
    }

    fn save(&mut self) {
        let bytes = self.tailer.as_ref().unwrap().checkpoint(|_| None);
        self.checkpoint = Some((bytes, self.read.len()));
        self.settled |= self.polled;
    }

    fn shift(&mut self) {
        let name = |n: u8| PathBuf::from(format!("{LOG}.{n}"));
        let oldest = self.fake.0.borrow().names.get(&name(3)).copied();
        if let Some(inode) = oldest {
            self.losing(inode);
        }
        let mut world = self.fake.0.borrow_mut();
        world.names.remove(&name(3));
        for n in [2, 1] {
            if let Some(inode) = world.names.remove(&name(n)) {
                world.names.insert(name(n + 1), inode);
            }
        }
        world.free_unused();
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Append(n) => self.append(*n),
            Action::AppendHalf => {
                self.finish_half();
                self.n_written += 1;
                self.write(&format!("line {:06} first half, ", self.n_written));
                self.half = true;
            }
            Action::Rename { late, poll_first } => self.rename(*late, *poll_first),
            Action::CopyTruncate { then } => self.copy_truncate(*then),
            Action::Truncate { then } => {
                if self.settle() {
                    self.losing(self.writes_to);
                    let mut world = self.fake.0.borrow_mut();
                    world.inodes.get_mut(&self.writes_to).unwrap().0.clear();
                    world.touch(self.writes_to);
                    drop(world);
                    self.append(*then);
                }
            }
            Action::Delete => {
                if self.settle() {
                    self.losing(self.writes_to);
                    let mut world = self.fake.0.borrow_mut();
                    world.names.remove(Path::new(LOG));
                    self.writes_to = world.create(LOG);
                }
            }
            Action::Backup => {
                let mut world = self.fake.0.borrow_mut();
                let backup = PathBuf::from(format!("{LOG}.bak"));
                if !world.names.contains_key(&backup) && !self.half {
                    let data = world.inodes[&self.writes_to].0.clone();
                    let copy = world.create(&format!("{LOG}.bak"));
                    world.inodes.get_mut(&copy).unwrap().0 = data;
                    world.touch(copy);
                }
            }
            Action::RemoveOldest => {
                let oldest = PathBuf::from(format!("{LOG}.1"));
                let inode = self.fake.0.borrow().names.get(&oldest).copied();
                if let Some(inode) = inode {
                    self.losing(inode);
                    let mut world = self.fake.0.borrow_mut();
                    world.names.remove(&oldest);
                    world.free_unused();
                }
            }
            Action::Poll(n) => (0..*n).for_each(|_| self.poll()),
            Action::Checkpoint => self.save(),
            Action::Crash => self.crash(),
        }
    }

    fn rename(&mut self, late: u8, poll_first: bool) {
        if self.settle() {
            self.shift();
            {
                let mut world = self.fake.0.borrow_mut();
                let inode = world.names.remove(Path::new(LOG)).unwrap();
                world.names.insert(PathBuf::from(format!("{LOG}.1")), inode);
            }
            let fresh = self.fake.0.borrow_mut().create(LOG);
            if poll_first {
                self.poll();
            }
            self.append(late);
            self.writes_to = fresh;
            self.polled = false;
        }
    }

    fn copy_truncate(&mut self, then: u8) {
        if self.settle() {
            self.shift();
            {
                let mut world = self.fake.0.borrow_mut();
                let data = world.inodes[&self.writes_to].0.clone();
                let copy = world.create(&format!("{LOG}.1"));
                world.inodes.get_mut(&copy).unwrap().0 = data;
                world.touch(copy);
                world.inodes.get_mut(&self.writes_to).unwrap().0.clear();
                world.touch(self.writes_to);
            }
            self.append(then);
        }
    }

    fn crash(&mut self) {
        self.polled = false;
        self.earlier.push(self.tailer.take().unwrap().counters());
        let patterns = vec![self.pattern.clone()];
        let (fake, config) = (self.fake.clone(), self.config.clone());
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
        self.finish_half();
        for _ in 0..100 {
            self.poll();
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &self.read {
            *counts.entry(&line[..11]).or_default() += 1;
        }
        let may_lose: BTreeSet<&str> = self
            .may_lose
            .iter()
            .map(|l| &l[..11.min(l.len())])
            .collect();
        let mut n_lost = 0;
        for n in 1..=self.n_written {
            let line = format!("line {n:06}");
            let times = counts.get(line.as_str()).copied().unwrap_or(0);
            prop_assert!(times <= 1, "{line} was read {times} times");
            if times == 0 {
                n_lost += 1;
                prop_assert!(may_lose.contains(line.as_str()), "{line} was not read");
            }
        }
        for line in &self.read {
            prop_assert!(
                line.contains("half") == line.ends_with("first half, second half")
                    || may_lose.contains(&line[..11]),
                "torn: {line}"
            );
        }
        self.earlier.push(self.tailer.as_ref().unwrap().counters());
        let told: u64 = self
            .earlier
            .iter()
            .map(|c| c.truncations + c.files_vanished + c.bytes_lost)
            .sum();
        prop_assert!(
            n_lost == 0 || told > 0,
            "{n_lost} lines lost without a word"
        );
        let n_open = self.tailer.as_ref().unwrap().n_files().1;
        prop_assert!(n_open <= self.config.n_open_max, "{n_open} handles");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_every_line_is_read_once_through_rotation_and_crashes(
        actions in proptest::collection::vec(action(), 1..40),
        wide in any::<bool>(),
        n_open_max in 4..32usize,
        poll_bytes_max in 2_000..100_000u64,
    ) {
        let mut model = Model::new(wide, n_open_max, poll_bytes_max);
        for action in &actions {
            model.act(action);
        }
        model.check()?;
    }
}
