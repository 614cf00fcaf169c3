//! Many followed files: finding them, and keeping hold through rotation, truncation, deletion and a crash. (step 1)
//!
//! Invariants: TL-1 while a handle is open its inode cannot be used anew, so (device, inode) decides; for a file whose handle
//! was closed, head and tail decide as well. TL-2 a file that only repeats what a followed one holds (the copy of a copytruncate,
//! before the truncation) is parked and not read. TL-3 order in a poll: read, then scan, then read what the scan found.
//! What copytruncate loses by its nature: bytes written between its copy and its truncation; each truncation is counted.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hsw_types::Monotonic;

use crate::checkpoint::{self, CheckpointError, Saved};
use crate::file_system::{FileSystem, Listed, Stat, read_full};
use crate::follow::{Cut, FileNumber, Followed, HEAD_BYTES, Line, READ_BYTES, ReadEnd, Round};
use crate::pattern::Pattern;
use crate::unpack::{Unpacked, Unpacking, is_archive};

mod exchange;
mod resolve;
mod scan;

/// Where reading starts in files that lie there when a pattern is scanned for the first time ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At their end: history is not news.
    #[default]
    End,
    /// At their beginning.
    Beginning,
}

/// Files looked at per second when nothing is known to have happened, and when names came or went; 2 µs each.
const SCANNED_PER_SECOND: f64 = 1_000.0;
const RESCANNED_PER_SECOND: f64 = 2_500.0;
/// Problems named at a time; all are counted.
const N_PROBLEMS_MAX: usize = 64;

/// Limits and pace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the very first start begins; the end by default. Files that appear later are read from their beginning.
    pub start: Start,
    /// Longest line; the rest is dropped and counted. 64 KiB by default.
    pub line_bytes_max: usize,
    /// Bytes read in one poll. 16 MiB by default.
    pub poll_bytes_max: u64,
    /// Handles held open. 32 by default; more files are read in turn.
    pub n_open_max: usize,
    /// Files remembered, those changed last where there are more. 8,192 by default, 1.5 KiB each.
    pub n_files_max: usize,
    /// Directories are listed this often (and after [`Tailer::rescan`]), less often where they hold thousands of files. 2 s
    /// by default.
    pub scan_every: Duration,
    /// A rotated file is closed after this long without a new byte. 5 s by default.
    pub rotate_wait: Duration,
    /// A deleted file is closed after this long even if it still grows, so that its space is freed. 60 s by default.
    pub deleted_wait: Duration,
    /// A line without its newline is handed out after this long. 5 s by default.
    pub line_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start: Start::End,
            line_bytes_max: 64 * 1024,
            poll_bytes_max: 16 * 1024 * 1024,
            n_open_max: 32,
            n_files_max: 8_192,
            scan_every: Duration::from_secs(2),
            rotate_wait: Duration::from_secs(5),
            deleted_wait: Duration::from_secs(60),
            line_wait: Duration::from_secs(5),
        }
    }
}

/// What was read and what was left out, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Lines handed out.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Lines cut at the limit.
    pub lines_truncated: u64,
    /// Bytes dropped from such lines.
    pub bytes_truncated: u64,
    /// Lines handed out before their newline came.
    pub lines_unfinished: u64,
    /// Files whose content was exchanged in place (copytruncate): bytes written during the copy may be lost.
    pub truncations: u64,
    /// Truncated or vanished files whose unread rest was found in a copy.
    pub copies_found: u64,
    /// Truncated or vanished files whose unread rest was found compressed.
    pub archives_found: u64,
    /// Bytes seen but not read before they went away.
    pub bytes_lost: u64,
    /// Files of the checkpoint, and closed ones, that were not there any more; what they got after it may be lost, unless a copy or archive was found.
    pub files_vanished: u64,
    /// Times a file was left out or had to wait because of a limit.
    pub files_over_limit: u64,
    /// Reads or listings that failed.
    pub failures: u64,
}

#[derive(Debug)]
struct Scanned {
    pattern: Pattern,
    /// Whether files without a position are new.
    before: bool,
}

#[derive(Debug, Clone, Copy)]
struct Parked {
    stat: Stat,
    /// The file it repeats; 0, which is never given out, after a restart.
    of: FileNumber,
    /// Not only for as long as the other may have been exchanged.
    sure: bool,
}

/// Follows files. See the module's header.
#[derive(Debug)]
pub struct Tailer<S: FileSystem> {
    fs: S,
    config: Config,
    patterns: Vec<Scanned>,
    files: Vec<Followed<S::File>>,
    parked: Vec<Parked>,
    unresolved: Vec<Saved>,
    archives: Vec<Unpacking<S::File>>,
    /// Unknown files changed no later than this were left out because of the limit: they are not new.
    left_out_ns: Option<i64>,
    scanned_before: Vec<PathBuf>,
    problems: Vec<(PathBuf, io::ErrorKind)>,
    next_number: u64,
    turn: usize,
    scanned_at: Option<Monotonic>,
    /// Files seen by the last scan, which is what a scan costs.
    n_listed: usize,
    is_rescan_wanted: bool,
    /// A file could not be opened yet.
    is_waiting: bool,
    has_new_patterns: bool,
    buffer: Vec<u8>,
    counters: Counters,
}

impl<S: FileSystem> Tailer<S> {
    /// Starts without a position.
    pub fn new(fs: S, config: Config, patterns: Vec<Pattern>) -> Self {
        let mut tailer = Self {
            fs,
            config,
            patterns: Vec::new(),
            files: Vec::new(),
            parked: Vec::new(),
            unresolved: Vec::new(),
            archives: Vec::new(),
            left_out_ns: None,
            scanned_before: Vec::new(),
            problems: Vec::new(),
            next_number: 0,
            turn: 0,
            scanned_at: None,
            n_listed: 0,
            is_rescan_wanted: false,
            is_waiting: false,
            has_new_patterns: true,
            buffer: Vec::new(),
            counters: Counters::default(),
        };
        tailer.set_patterns(patterns);
        tailer
    }

    /// Starts from a checkpoint: reads on where it says, and files that came since from their beginning.
    ///
    /// # Errors
    /// The bytes are not a checkpoint of this version.
    pub fn restore(
        fs: S,
        config: Config,
        patterns: Vec<Pattern>,
        checkpoint: &[u8],
    ) -> Result<Self, CheckpointError> {
        let contents = checkpoint::read(checkpoint)?;
        let mut tailer = Self::new(fs, config, Vec::new());
        tailer.unresolved = contents.files;
        tailer.scanned_before = contents.scanned;
        tailer.left_out_ns = contents.left_out_ns;
        let parked = contents.parked.into_iter();
        tailer.parked = parked
            .map(|stat| Parked {
                stat,
                of: FileNumber(0),
                sure: true,
            })
            .collect();
        tailer.set_patterns(patterns);
        Ok(tailer)
    }

    /// Exchanges the patterns; files that match none any more are drained and closed.
    pub fn set_patterns(&mut self, mut patterns: Vec<Pattern>) {
        patterns.sort();
        patterns.dedup();
        self.patterns = patterns
            .into_iter()
            .map(|pattern| Scanned {
                before: self.scanned_before.contains(&pattern.path()),
                pattern,
            })
            .collect();
        self.has_new_patterns = true;
        self.scanned_at = None;
    }

    /// Lists the directories at the next poll; of thousands of files, as soon as the last time is far enough behind.
    pub fn rescan(&mut self) {
        self.is_rescan_wanted = true;
    }

    /// Positions of everything handed out so far. Keep it only once those lines are safe elsewhere: after a crash reading
    /// goes on from here. `held` names, per file, the start of the first line that the caller has not done with.
    pub fn checkpoint(&self, held: impl Fn(FileNumber) -> Option<u64>) -> Vec<u8> {
        let followed = self.files.iter().map(|f| Saved::of(f, held(f.number)));
        let archives = self.archives.iter().map(|a| a.saved(held(a.file.number)));
        checkpoint::write(
            followed
                .chain(archives)
                .chain(self.unresolved.iter().cloned()),
            self.parked.iter().filter(|p| p.sure).map(|p| p.stat),
            &self.scanned_before,
            self.left_out_ns,
        )
    }

    /// What was read and left out.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes known to be unread.
    pub fn lag_bytes(&self) -> u64 {
        let archives = self.archives.iter().map(Unpacking::lag);
        self.files.iter().map(Followed::lag).chain(archives).sum()
    }

    /// Files followed, and handles open.
    pub fn n_files(&self) -> (usize, usize) {
        (self.files.len(), self.n_open())
    }

    /// Directories and files that could not be read at the last scan.
    pub fn problems(&self) -> &[(PathBuf, io::ErrorKind)] {
        &self.problems
    }

    /// Reads on, at most `poll_bytes_max` bytes, and hands out each line; `now` never runs backwards.
    pub fn poll(&mut self, now: Monotonic, emit: &mut impl FnMut(Line<'_>)) {
        let mut round = Round {
            now,
            line_bytes_max: self.config.line_bytes_max,
            budget: self.config.poll_bytes_max,
            buffer: std::mem::take(&mut self.buffer),
            cut: Cut::default(),
        };
        self.read_all(&mut round, emit);
        if self.is_scan_due(now) {
            self.scanned_at = Some(now);
            self.is_rescan_wanted = false;
            self.is_waiting = false;
            self.scan(&mut round, emit);
            self.read_all(&mut round, emit);
        }
        self.turn = self.turn.wrapping_add(1);
        round.buffer.truncate(READ_BYTES * 2);
        self.buffer = round.buffer;
        let (counters, cut) = (&mut self.counters, round.cut);
        counters.lines += cut.lines;
        counters.bytes += cut.bytes;
        counters.lines_truncated += cut.lines_truncated;
        counters.bytes_truncated += cut.bytes_truncated;
        counters.lines_unfinished += cut.lines_unfinished;
    }

    /// Directories of thousands of files are listed less often: the cost of looking stays the same.
    fn is_scan_due(&self, now: Monotonic) -> bool {
        let Some(at) = self.scanned_at else {
            return true;
        };
        let since = now.since(at);
        let files = |per_second: f64| Duration::from_secs_f64(self.n_listed as f64 / per_second);
        let every = self.config.scan_every.max(files(SCANNED_PER_SECOND));
        let soon = self.is_rescan_wanted && since >= files(RESCANNED_PER_SECOND);
        self.is_waiting || soon || since >= every
    }

    /// Reads every open file in turn; who is first changes with each poll, so that nobody starves.
    fn read_all(&mut self, round: &mut Round, emit: &mut impl FnMut(Line<'_>)) {
        self.read_archives(round, emit);
        let n = self.files.len();
        for step in 0..n {
            let at = (step + self.turn) % n;
            if let Err(error) = self.read_one(at, round, emit) {
                self.failed(self.files[at].path.clone(), &error);
            }
        }
    }

    fn failed(&mut self, path: PathBuf, error: &io::Error) {
        self.counters.failures += 1;
        if self.problems.len() < N_PROBLEMS_MAX {
            self.problems.push((path, error.kind()));
        }
    }

    fn read_one(
        &mut self,
        at: usize,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        let file = &mut self.files[at];
        let Some(handle) = &file.file else {
            return Ok(());
        };
        let before = file.stat;
        file.stat = self.fs.stat(handle)?;
        let unchanged = before == file.stat && file.is_drained();
        let mut end = ReadEnd::Drained;
        if !unchanged {
            end = file.read(&self.fs, round, emit)?;
        }
        // At most a few exchanges can follow one another; the bound keeps a hostile writer from holding the poll.
        if end == ReadEnd::Exchanged {
            self.exchanged(at, before.size, round, emit)?;
            self.files[at].read(&self.fs, round, emit)?;
        }
        let file = &mut self.files[at];
        let waited = |since: Monotonic| round.now.since(since) >= self.config.line_wait;
        if file.partial_since.is_some_and(waited) {
            file.flush(&mut round.cut, emit);
        }
        Ok(())
    }

    fn followed(&self, stat: Stat) -> Option<usize> {
        self.files.iter().position(|f| f.stat.same_file(&stat))
    }

    fn n_open(&self) -> usize {
        self.files.iter().filter(|f| f.file.is_some()).count()
    }
}
