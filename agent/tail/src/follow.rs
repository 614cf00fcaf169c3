//! One followed file: reading on, cutting lines, noticing that the content was exchanged. (step 1)
//!
//! Invariants: FO-1 `offset` counts bytes read from the file's start, `tail` holds the last ≤ 256 of them and `head` the
//! first ≤ 1 KiB of the file; each read starts inside `tail`, so that one call both checks and reads.
//! FO-2 `position() ≤ offset`: bytes between them are a line that has not ended.

use std::io;
use std::path::{Path, PathBuf};

use hsw_types::Monotonic;

use crate::file_system::{FileSystem, Stat, read_full};

/// First bytes that identify a file; what agents of the trade use (Vector, Fluent Bit: 256–1,024).
pub(crate) const HEAD_BYTES: usize = 1024;
/// Bytes before the offset that must still be the same; 256 holds at least one time stamp of a log line.
pub(crate) const TAIL_BYTES: usize = 256;
/// Bytes per read call.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Names one followed stream of lines for as long as the tailer lives; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(pub u64);

/// A line, without its newline.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its file.
    pub file: FileNumber,
    /// Where the file lies at the moment.
    pub path: &'a Path,
    /// Offset of its first byte.
    pub start: u64,
    /// The bytes, not necessarily UTF-8.
    pub bytes: &'a [u8],
}

/// How far reading one file came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// At its end.
    Drained,
    /// The budget is spent.
    Budget,
    /// The bytes before the offset are no longer what was read.
    Exchanged,
}

/// What cutting lines left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cut {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) lines_truncated: u64,
    pub(crate) bytes_truncated: u64,
    pub(crate) lines_unfinished: u64,
}

/// One round of reading: the clock, what may still be read, scratch, and what was left out.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) now: Monotonic,
    pub(crate) line_bytes_max: usize,
    pub(crate) budget: u64,
    pub(crate) buffer: Vec<u8>,
    pub(crate) cut: Cut,
}

/// A followed file; `F` is the handle.
#[derive(Debug)]
pub(crate) struct Followed<F> {
    pub(crate) number: FileNumber,
    pub(crate) path: PathBuf,
    pub(crate) file: Option<F>,
    pub(crate) stat: Stat,
    /// Last change of the content when it had been read to its end.
    pub(crate) known_ns: i64,
    /// Changes seen have not been read to the end (no budget, an error), or not even looked at.
    pub(crate) is_stale: bool,
    pub(crate) offset: u64,
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
    /// The beginning of a line whose newline has not come.
    pub(crate) partial: Vec<u8>,
    pub(crate) partial_since: Option<Monotonic>,
    /// Inside a line of which the rest is dropped.
    pub(crate) skipping: bool,
    /// Last time new bytes were seen.
    pub(crate) active_at: Monotonic,
    /// Since when no matching name leads to it.
    pub(crate) gone_since: Option<Monotonic>,
}

impl<F> Followed<F> {
    /// Begins at the start of an open file.
    pub(crate) fn new(
        number: FileNumber,
        path: PathBuf,
        file: F,
        stat: Stat,
        now: Monotonic,
    ) -> Self {
        let mut followed = Self::closed(number, path, stat, now);
        followed.file = Some(file);
        followed
    }

    /// One without a handle.
    pub(crate) fn closed(number: FileNumber, path: PathBuf, stat: Stat, now: Monotonic) -> Self {
        Self {
            number,
            path,
            file: None,
            known_ns: i64::MIN,
            stat,
            is_stale: true,
            offset: 0,
            head: Vec::new(),
            tail: Vec::new(),
            partial: Vec::new(),
            partial_since: None,
            skipping: false,
            active_at: now,
            gone_since: None,
        }
    }

    /// First byte that has not been handed out.
    pub(crate) fn position(&self) -> u64 {
        self.offset - self.partial.len() as u64
    }

    /// Lets go of the handle and of spare memory; thousands of files may be closed.
    pub(crate) fn close(&mut self) {
        self.file = None;
        self.head.shrink_to_fit();
        self.tail.shrink_to_fit();
        self.partial.shrink_to_fit();
    }

    /// Whether there is nothing more to read in the state seen last.
    pub(crate) fn is_drained(&self) -> bool {
        !self.is_stale && self.lag() == 0
    }

    /// Bytes known to lie beyond the offset.
    pub(crate) fn lag(&self) -> u64 {
        self.stat.size.saturating_sub(self.offset)
    }

    /// Moves to `offset` of the open file, taking head and tail from it.
    pub(crate) fn seek<S: FileSystem<File = F>>(&mut self, fs: &S, offset: u64) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let n_head = HEAD_BYTES.min(usize::try_from(offset).unwrap_or(HEAD_BYTES));
        let n_tail = TAIL_BYTES.min(usize::try_from(offset).unwrap_or(TAIL_BYTES));
        self.head.resize(n_head, 0);
        self.tail.resize(n_tail, 0);
        let got_head = read_full(fs, file, 0, &mut self.head)?;
        let got_tail = read_full(fs, file, offset - n_tail as u64, &mut self.tail)?;
        if got_head < n_head || got_tail < n_tail {
            return Err(io::Error::other("log file shrank while it was opened"));
        }
        self.offset = offset;
        self.partial.clear();
        self.partial_since = None;
        Ok(())
    }

    /// Reads on until the end, the budget or an exchange of content.
    pub(crate) fn read<S: FileSystem<File = F>>(
        &mut self,
        fs: &S,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<ReadEnd> {
        self.is_stale = true;
        loop {
            if round.budget == 0 {
                return Ok(ReadEnd::Budget);
            }
            let Some(file) = &self.file else {
                return Ok(ReadEnd::Drained);
            };
            let n_tail = self.tail.len();
            let n_want = READ_BYTES.min(usize::try_from(round.budget).unwrap_or(READ_BYTES));
            // Out of the round while in use, so that the round can be passed on.
            let mut buffer = std::mem::take(&mut round.buffer);
            buffer.resize(n_tail + n_want, 0);
            let n = fs.read_at(file, self.offset - n_tail as u64, &mut buffer)?;
            if n < n_tail || buffer[..n_tail] != self.tail[..] {
                return Ok(ReadEnd::Exchanged);
            }
            if n == n_tail {
                self.known_ns = self.stat.modified_ns;
                self.is_stale = false;
                return Ok(ReadEnd::Drained);
            }
            round.budget -= (n - n_tail) as u64;
            self.active_at = round.now;
            self.take(&buffer[n_tail..n], round, emit);
            self.remember(&buffer[n_tail..n]);
            round.buffer = buffer;
        }
    }

    /// Keeps the last bytes read, to know them again.
    pub(crate) fn remember(&mut self, data: &[u8]) {
        let new = &data[data.len().saturating_sub(TAIL_BYTES)..];
        let n_old = self.tail.len().min(TAIL_BYTES - new.len());
        self.tail.drain(..self.tail.len() - n_old);
        self.tail.extend_from_slice(new);
    }

    /// Cuts new bytes into lines.
    pub(crate) fn take(&mut self, data: &[u8], round: &mut Round, emit: &mut impl FnMut(Line<'_>)) {
        if self.head.len() < HEAD_BYTES && self.head.len() as u64 == self.offset {
            let n = data.len().min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&data[..n]);
        }
        round.cut.bytes += data.len() as u64;
        let mut at = 0;
        while at < data.len() {
            if self.partial.is_empty() && !self.skipping {
                // A writer that does not append leaves a hole after a truncation: NULs up to its old offset.
                let n_nul = data[at..].iter().take_while(|&&byte| byte == 0).count();
                self.offset += n_nul as u64;
                at += n_nul;
                if at == data.len() {
                    break;
                }
            }
            let rest = &data[at..];
            let newline = memchr::memchr(b'\n', rest);
            let piece = &rest[..newline.unwrap_or(rest.len())];
            self.take_piece(piece, newline.is_some(), round, emit);
            let n = piece.len() + usize::from(newline.is_some());
            self.offset += n as u64;
            at += n;
        }
    }

    /// Takes a piece of one line; `self.offset` is where the piece begins.
    fn take_piece(
        &mut self,
        piece: &[u8],
        ends: bool,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) {
        let cut = &mut round.cut;
        if self.skipping {
            cut.bytes_truncated += piece.len() as u64;
            self.skipping = !ends;
            return;
        }
        let room = round.line_bytes_max.saturating_sub(self.partial.len());
        let taken = &piece[..piece.len().min(room)];
        let over = piece.len() > room;
        if over {
            cut.lines_truncated += 1;
            cut.bytes_truncated += (piece.len() - taken.len()) as u64;
        }
        if !ends && !over {
            self.partial.extend_from_slice(taken);
            self.partial_since.get_or_insert(round.now);
            return;
        }
        let start = self.position();
        if self.partial.is_empty() {
            Self::hand_out(self.number, &self.path, start, taken, cut, emit);
        } else {
            self.partial.extend_from_slice(taken);
            Self::hand_out(self.number, &self.path, start, &self.partial, cut, emit);
            self.partial.clear();
        }
        self.partial_since = None;
        self.skipping = over && !ends;
    }

    /// Hands out the unfinished line, because no more of it is awaited.
    pub(crate) fn flush(&mut self, cut: &mut Cut, emit: &mut impl FnMut(Line<'_>)) {
        self.partial_since = None;
        if !self.partial.is_empty() {
            cut.lines_unfinished += 1;
            let start = self.position();
            Self::hand_out(self.number, &self.path, start, &self.partial, cut, emit);
            self.partial.clear();
        }
    }

    fn hand_out(
        file: FileNumber,
        path: &Path,
        start: u64,
        bytes: &[u8],
        cut: &mut Cut,
        emit: &mut impl FnMut(Line<'_>),
    ) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        cut.lines += 1;
        emit(Line {
            file,
            path,
            start,
            bytes,
        });
    }
}
