//! The processes of one database instance and what they used, also those that have ended. (step 1)
//!
//! In: the postmaster's pid, `/proc`. Out: running totals and a picture of the living processes.
//! Invariants: PT-1 totals never run backwards. PT-2 a process that ends is counted once: its last figures are taken
//! off what its parent gets when it is reaped. PT-3 the cost is bounded: cheap figures of [`CHEAP_PER_ROUND`] processes
//! and dear ones of [`DEAR_PER_ROUND`] a round, the rest in turn. Limits: [`MEMBERS_MAX`] processes; more are counted.
//! Does not: know metrics (see `instance`).

use std::fs::File;
use std::path::{Path, PathBuf};

use super::ledger::Ledger;
use super::proc::{Buffer, PidStat, count_files, pid_stat, read_io, read_statm};
use super::process_list::{ProcessList, open_stat};

/// PostgreSQL's own limit lies far above; more processes than this are counted, not looked at.
const MEMBERS_MAX: usize = 4096;
/// So many `stat` files are held open and read in one round: 4 µs each.
const CHEAP_PER_ROUND: usize = 512;
/// So many processes are asked for I/O, memory and open files in one round: 25 µs each.
const DEAR_PER_ROUND: usize = 32;
/// Of these, so many whatever they did, so that sleeping processes have their turn too.
const DEAR_IN_TURN: usize = 8;
/// What the processes used since the postmaster started.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Totals {
    /// Clock ticks, without the processes left out.
    pub(crate) cpu_ticks: f64,
    /// Clock ticks of all.
    pub(crate) cpu_ticks_all: f64,
    /// Major page faults.
    pub(crate) major_faults: f64,
    /// Bytes read from and written to storage; missing without the right to see them.
    pub(crate) io: Option<(f64, f64)>,
}

/// The living processes, without those left out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Picture {
    /// How many.
    pub(crate) processes: u64,
    /// In state T.
    pub(crate) stopped: u64,
    /// In state D.
    pub(crate) blocked: u64,
    /// Sum of pages of their own.
    pub(crate) own_pages: u64,
    /// Pages shared, of the process that touched most of them.
    pub(crate) shared_pages: u64,
    /// Open files; missing without the right to see them.
    pub(crate) open_files: Option<u64>,
    /// Processes over the limit.
    pub(crate) left_out: u64,
}

/// Follows one postmaster.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    proc: PathBuf,
    root: u32,
    /// Ascending by pid.
    members: Vec<Member>,
    list: ProcessList,
    cpu: Ledger,
    cpu_all: Ledger,
    faults: Ledger,
    read: Ledger,
    write: Ledger,
    round: u64,
    turn: usize,
    left_out: u64,
}

#[derive(Debug)]
struct Member {
    pid: u32,
    /// Held open for the first [`CHEAP_PER_ROUND`].
    file: Option<File>,
    stat: PidStat,
    cpu_at_dear: u64,
    io: Option<(u64, u64)>,
    own_pages: u64,
    shared_pages: u64,
    open_files: Option<u64>,
    left_out: bool,
}

impl ProcessTree {
    /// Follows the postmaster `root`; none when no such process of PostgreSQL lives.
    pub(crate) fn follow(proc: &Path, root: u32, buffer: &mut Buffer) -> Option<Self> {
        let file = File::open(proc.join(format!("{root}/stat"))).ok()?;
        let text = buffer.read_once(&file).ok()?;
        // After a crash the pid in a stale file may belong to anybody.
        let open = text.iter().position(|&byte| byte == b'(')?;
        text[open..].starts_with(b"(post").then_some(())?;
        let stat = pid_stat(text)?;
        let mut tree = Self {
            proc: proc.to_owned(),
            root,
            members: vec![Member::new(root, Some(file), stat)],
            list: ProcessList::new(proc, root),
            cpu: Ledger::default(),
            cpu_all: Ledger::default(),
            faults: Ledger::default(),
            read: Ledger::default(),
            write: Ledger::default(),
            round: 0,
            turn: 0,
            left_out: 0,
        };
        tree.cpu.gain(stat.cpu_ticks, 0);
        tree.cpu_all.gain(stat.cpu_ticks, 0);
        tree.faults.gain(stat.major_faults, 0);
        Some(tree)
    }

    /// The postmaster's start in clock ticks since boot.
    pub(crate) fn start_ticks(&self) -> u64 {
        self.member(self.root)
            .map_or(0, |root| root.stat.start_ticks)
    }

    /// One round; none when the postmaster has ended. `not_ours` are pids to leave out.
    pub(crate) fn sample(
        &mut self,
        not_ours: &[u32],
        buffer: &mut Buffer,
    ) -> Option<(Totals, Picture)> {
        self.read_root(buffer)?;
        self.list(buffer);
        self.read_cheap(not_ours, buffer);
        self.read_dear(buffer);
        self.round += 1;
        let ledgers = [
            &mut self.cpu,
            &mut self.cpu_all,
            &mut self.faults,
            &mut self.read,
            &mut self.write,
        ];
        ledgers.into_iter().for_each(Ledger::settle);
        let io_is_readable = self.member(self.root).is_some_and(|root| root.io.is_some());
        let totals = Totals {
            cpu_ticks: self.cpu.total,
            cpu_ticks_all: self.cpu_all.total,
            major_faults: self.faults.total,
            io: io_is_readable.then_some((self.read.total, self.write.total)),
        };
        Some((totals, self.picture()))
    }

    /// Finds processes that have joined.
    fn list(&mut self, buffer: &mut Buffer) {
        let members = &self.members;
        let is_member = |pid: u32| {
            members
                .binary_search_by_key(&pid, |member| member.pid)
                .is_ok()
        };
        for (pid, stat) in self.list.newcomers(is_member, buffer) {
            self.join(pid, stat);
        }
    }

    fn join(&mut self, pid: u32, stat: PidStat) {
        if self.members.len() >= MEMBERS_MAX {
            self.left_out += 1;
            return;
        }
        if let Err(at) = self.at(pid) {
            let hold = self.members.len() < CHEAP_PER_ROUND;
            let path = self.proc.join(format!("{pid}/stat"));
            let held = if hold { File::open(path).ok() } else { None };
            // Nothing counted yet: the next reading brings all it used since it began.
            let unread = PidStat {
                major_faults: 0,
                cpu_ticks: 0,
                ..stat
            };
            self.members.insert(at, Member::new(pid, held, unread));
        }
    }

    /// The postmaster goes first: a child that ends in the middle of a round is then missed for one round, which the
    /// ledgers carry over, and never counted both as living and as reaped, which nothing could tell from real work.
    fn read_root(&mut self, buffer: &mut Buffer) -> Option<()> {
        let at = self.at(self.root).ok()?;
        let root = &mut self.members[at];
        let now = root.read_stat(&self.proc, buffer)?;
        let dead = matches!(now.state, b'Z' | b'X') || now.start_ticks != root.stat.start_ticks;
        if dead {
            return None;
        }
        self.cpu.gain(now.cpu_ticks, root.stat.cpu_ticks);
        self.cpu_all.gain(now.cpu_ticks, root.stat.cpu_ticks);
        self.faults.gain(now.major_faults, root.stat.major_faults);
        root.stat = now;
        let directory = self.proc.join(self.root.to_string());
        if let Some((read, written)) = read_io(&directory, buffer) {
            let (read_before, written_before) = root.io.unwrap_or_default();
            self.read.gain(read, read_before);
            self.write.gain(written, written_before);
            root.io = Some((read, written));
        }
        Some(())
    }

    /// State, CPU and faults of the children.
    fn read_cheap(&mut self, not_ours: &[u32], buffer: &mut Buffer) {
        let parts = self.members.len().div_ceil(CHEAP_PER_ROUND).max(1) as u64;
        let mut members = std::mem::take(&mut self.members);
        members.retain_mut(|member| {
            member.left_out = not_ours.contains(&member.pid);
            let due = u64::from(member.pid) % parts == self.round % parts;
            // Who is no longer listed has perhaps been reaped, and its parent has gained by it already.
            let wait_for_turn = !due && self.list.holds(member.pid);
            if wait_for_turn || member.pid == self.root {
                return true;
            }
            let now = member.read_stat(&self.proc, buffer);
            // A pid that began anew is another process.
            let Some(now) = now.filter(|now| now.start_ticks == member.stat.start_ticks) else {
                self.part(member);
                return false;
            };
            if !member.left_out {
                self.cpu.gain(now.cpu_ticks, member.stat.cpu_ticks);
                self.faults.gain(now.major_faults, member.stat.major_faults);
            }
            self.cpu_all.gain(now.cpu_ticks, member.stat.cpu_ticks);
            member.stat = now;
            true
        });
        self.members = members;
    }

    /// Its parent gets, or has got, all it used.
    fn part(&mut self, member: &Member) {
        self.cpu.lose(member.stat.cpu_ticks);
        self.cpu_all.lose(member.stat.cpu_ticks);
        self.faults.lose(member.stat.major_faults);
        if let Some((read, written)) = member.io {
            self.read.lose(read);
            self.write.lose(written);
        }
    }

    /// I/O, memory and files: of all in the first round, later of those that did something and a few in turn.
    fn read_dear(&mut self, buffer: &mut Buffer) {
        let count = self.members.len();
        let first = self.round == 0;
        let mut budget = if first {
            count
        } else {
            DEAR_PER_ROUND.min(count)
        };
        let in_turn = if first { 0 } else { DEAR_IN_TURN.min(count) };
        let start = self.turn;
        for step in 0..count {
            if budget == 0 {
                break;
            }
            let at = (start + step) % count;
            let member = &self.members[at];
            let active = member.stat.cpu_ticks != member.cpu_at_dear || member.stat.state == b'D';
            if first || step < in_turn || active || member.pid == self.root {
                self.read_dear_of(at, buffer);
                budget -= 1;
                // Where the budget ended, the next round goes on.
                self.turn = (at + 1) % count;
            }
        }
        if budget > 0 {
            self.turn = (start + in_turn) % count;
        }
    }

    fn read_dear_of(&mut self, at: usize, buffer: &mut Buffer) {
        let member = &mut self.members[at];
        let directory = self.proc.join(member.pid.to_string());
        member.cpu_at_dear = member.stat.cpu_ticks;
        if let Some((resident, shared)) = read_statm(&directory, buffer) {
            member.own_pages = resident.saturating_sub(shared);
            member.shared_pages = shared;
        }
        member.open_files = count_files(&directory);
        if member.pid == self.root {
            return;
        }
        if let Some((read, written)) = read_io(&directory, buffer) {
            let (read_before, written_before) = member.io.unwrap_or_default();
            if !member.left_out {
                self.read.gain(read, read_before);
                self.write.gain(written, written_before);
            }
            member.io = Some((read, written));
        }
    }

    fn picture(&self) -> Picture {
        let mut picture = Picture {
            left_out: self.left_out,
            ..Picture::default()
        };
        let mut files = None;
        let living =
            |member: &&Member| !member.left_out && !matches!(member.stat.state, b'Z' | b'X');
        for member in self.members.iter().filter(living) {
            picture.processes += 1;
            picture.stopped += u64::from(matches!(member.stat.state, b'T' | b't'));
            picture.blocked += u64::from(member.stat.state == b'D');
            picture.own_pages = picture.own_pages.saturating_add(member.own_pages);
            picture.shared_pages = picture.shared_pages.max(member.shared_pages);
            if let Some(open) = member.open_files {
                files = Some(files.unwrap_or(0) + open);
            }
        }
        picture.open_files = files;
        picture
    }

    fn at(&self, pid: u32) -> Result<usize, usize> {
        self.members.binary_search_by_key(&pid, |member| member.pid)
    }

    fn member(&self, pid: u32) -> Option<&Member> {
        self.at(pid).ok().map(|at| &self.members[at])
    }
}

impl Member {
    fn new(pid: u32, file: Option<File>, stat: PidStat) -> Self {
        Self {
            pid,
            file,
            stat,
            // No process has this, so the first round counts as active.
            cpu_at_dear: u64::MAX,
            io: None,
            own_pages: 0,
            shared_pages: 0,
            open_files: None,
            left_out: false,
        }
    }

    fn read_stat(&self, proc: &Path, buffer: &mut Buffer) -> Option<PidStat> {
        match &self.file {
            Some(file) => pid_stat(buffer.read_once(file).ok()?),
            None => open_stat(proc, self.pid, buffer).map(|(_, stat)| stat),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// `ticks` of its own, `reaped` of its children; the same numbers of KiB written.
        fn put(&self, pid: u32, parent: u32, state: char, ticks: u64, reaped: u64) {
            let directory = self.0.path().join(pid.to_string());
            fs::create_dir_all(&directory).unwrap();
            let stat = format!(
                "{pid} (postgres) {state} {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 0 {reaped} 0 20 0 1 0 {pid} 0\n"
            );
            // Held files are read again in place, as the kernel's are.
            fs::write(directory.join("stat"), stat).unwrap();
            let kib = (ticks + reaped) * 1024;
            fs::write(
                directory.join("io"),
                format!("read_bytes: 0\nwrite_bytes: {kib}\n"),
            )
            .unwrap();
            fs::write(directory.join("statm"), "900 300 200 0 0 0 0\n").unwrap();
        }

        fn end(&self, pid: u32) {
            // The held file then no longer parses, as a dead process's file gives an error.
            fs::write(self.0.path().join(format!("{pid}/stat")), "").unwrap();
            fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
        }

        fn follow(&self) -> ProcessTree {
            ProcessTree::follow(self.0.path(), 100, &mut Buffer::new()).unwrap()
        }
    }

    fn sample(tree: &mut ProcessTree) -> (Totals, Picture) {
        tree.sample(&[], &mut Buffer::new()).unwrap()
    }

    #[test]
    fn an_ended_process_is_neither_lost_nor_counted_twice_whenever_it_is_reaped() {
        let host = Fixture::new();
        host.put(100, 1, 'S', 10, 0);
        host.put(101, 100, 'R', 500, 0);
        host.put(102, 100, 'S', 5, 0);
        let mut tree = host.follow();
        assert_eq!(sample(&mut tree).0.cpu_ticks, 515.0);
        // 101 uses 20 more and ends, but the postmaster has not reaped it yet when it is looked at.
        host.end(101);
        host.put(102, 100, 'S', 9, 0);
        assert_eq!(
            sample(&mut tree).0.cpu_ticks,
            515.0,
            "held, not run backwards"
        );
        host.put(100, 1, 'S', 10, 520);
        let (totals, picture) = sample(&mut tree);
        assert_eq!(totals.cpu_ticks, 10.0 + 520.0 + 9.0);
        assert_eq!(totals.io, Some((0.0, 539.0 * 1024.0)));
        assert_eq!(picture.processes, 2);
    }

    #[test]
    fn the_tree_holds_grandchildren_and_no_stranger_and_tells_states() {
        let host = Fixture::new();
        host.put(100, 1, 'S', 1, 0);
        host.put(50, 103, 'T', 1, 0);
        host.put(103, 100, 'D', 1, 0);
        host.put(104, 100, 'Z', 1, 0);
        host.put(200, 1, 'R', 99, 0);
        let mut tree = host.follow();
        let (totals, picture) = sample(&mut tree);
        assert_eq!(
            (picture.processes, picture.stopped, picture.blocked),
            (3, 1, 1)
        );
        assert_eq!(totals.cpu_ticks, 4.0);
        assert_eq!(
            (picture.own_pages, picture.shared_pages),
            (300, 200),
            "shared once"
        );
    }

    #[test]
    fn processes_left_out_count_nowhere_but_in_the_total_of_all() {
        let host = Fixture::new();
        host.put(100, 1, 'S', 1, 0);
        host.put(101, 100, 'R', 7, 0);
        let mut tree = host.follow();
        let (totals, picture) = tree.sample(&[101], &mut Buffer::new()).unwrap();
        assert_eq!((totals.cpu_ticks, totals.cpu_ticks_all), (1.0, 8.0));
        assert_eq!(picture.processes, 1);
    }

    #[test]
    fn a_process_that_ends_out_of_turn_among_very_many_is_counted_once() {
        let host = Fixture::new();
        host.put(100, 1, 'S', 0, 0);
        let last = 101 + 2 * CHEAP_PER_ROUND as u32;
        (101..=last).for_each(|pid| host.put(pid, 100, 'S', 10, 0));
        let mut tree = host.follow();
        for _ in 0..3 {
            sample(&mut tree);
        }
        let all = 10.0 * f64::from(last - 100);
        for (pid, reaped) in (last - 5..=last).zip((10..).step_by(10)) {
            host.end(pid);
            host.put(100, 1, 'S', 0, reaped);
            assert_eq!(sample(&mut tree).0.cpu_ticks, all);
        }
    }

    #[test]
    fn a_pid_that_belongs_to_something_else_or_nobody_is_not_followed() {
        let host = Fixture::new();
        host.put(100, 1, 'S', 1, 0);
        let path = host.0.path().join("100/stat");
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("postgres", "bash");
        fs::write(&path, text).unwrap();
        assert!(ProcessTree::follow(host.0.path(), 100, &mut Buffer::new()).is_none());
        assert!(ProcessTree::follow(host.0.path(), 101, &mut Buffer::new()).is_none());
    }
}
