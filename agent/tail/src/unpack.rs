//! The unread rest of a file that was compressed meanwhile. (step 1)
//!
//! In: a `.gz` file and what a position says about the file it was made of. Out: the lines behind that position.
//! Invariants: UN-1 nothing is handed out before head and last bytes of the uncompressed content were found to be those of
//! the file. UN-2 memory is bounded whatever the archive holds: it is unpacked 4 KiB at a time, which inflate to 4 MiB at most,
//! and what was unpacked counts against the bytes of a poll. Does not: read an archive of which no unread part is known.

use std::io::{self, Write as _};

use flate2::write::MultiGzDecoder;
use hsw_types::{Monotonic, fnv1a_64};

use crate::checkpoint::Saved;
use crate::file_system::{FileSystem, Stat, read_full};
use crate::follow::{FileNumber, Followed, Line, Round, TAIL_BYTES};

/// Packed bytes unpacked at a time.
const PACKED_BYTES: usize = 4096;
/// Bytes of unfinished records that are kept until the archive is known to be the right one.
const UNPROVEN_BYTES_MAX: usize = 8 << 20;

/// How far unpacking came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpacked {
    /// The budget is spent.
    More,
    /// Everything was handed out.
    Done,
    /// The archive is of another file.
    Foreign,
}

/// An archive being read.
#[derive(Debug)]
pub(crate) struct Unpacking<F> {
    /// Of the archive.
    pub(crate) stat: Stat,
    /// Cuts lines and knows the position in the uncompressed content; has no handle.
    pub(crate) file: Followed<F>,
    /// Length of what was packed, as the trailer says: modulo 4 GiB.
    pub(crate) content_bytes: u64,
    pub(crate) done_at: Option<Monotonic>,
    handle: F,
    packed_at: u64,
    decoder: MultiGzDecoder<Vec<u8>>,
    saved: Saved,
    /// Uncompressed bytes seen.
    at: u64,
    /// The last of them until they reach the position.
    last: Vec<u8>,
    /// Those between where to read on and where reading had come to.
    unproven: Vec<u8>,
    /// Head and tail were found: nobody else's.
    pub(crate) is_proven: bool,
}

impl<F> Unpacking<F> {
    /// Looks whether an archive begins like the file; `None` when it does not.
    pub(crate) fn open<S: FileSystem<File = F>>(
        fs: &S,
        handle: F,
        saved: &Saved,
        number: FileNumber,
        now: Monotonic,
    ) -> Option<Self> {
        let stat = fs.stat(&handle).ok()?;
        let unread = (saved.offset - saved.position) as usize;
        if saved.offset == 0 || unread > UNPROVEN_BYTES_MAX {
            return None;
        }
        let mut file = Followed::closed(number, saved.path.clone(), saved.stat(), now);
        file.offset = saved.position;
        file.skipping = saved.skipping;
        let mut unpacking = Self {
            stat,
            file,
            content_bytes: content_bytes(fs, &handle, stat),
            done_at: None,
            handle,
            packed_at: 0,
            decoder: MultiGzDecoder::new(Vec::new()),
            saved: saved.clone(),
            at: 0,
            last: Vec::new(),
            unproven: Vec::new(),
            is_proven: false,
        };
        while unpacking.decoder.get_ref().len() < saved.head_len {
            if unpacking.unpack(fs).ok()? == 0 {
                break;
            }
        }
        let head = unpacking.decoder.get_ref().get(..saved.head_len)?;
        if fnv1a_64(head) != saved.head_hash {
            return None;
        }
        unpacking.file.head = head.to_vec();
        // One that was read to its end need not be unpacked.
        let length = u64::from(saved.offset as u32);
        if saved.position == saved.offset && unpacking.content_bytes == length {
            unpacking.done_at = Some(now);
        }
        Some(unpacking)
    }

    /// Packed bytes not read yet.
    pub(crate) fn lag(&self) -> u64 {
        match self.done_at {
            Some(_) => 0,
            None => self.stat.size.saturating_sub(self.packed_at),
        }
    }

    /// The position, which a restart looks up in the same archive.
    pub(crate) fn saved(&self, held: Option<u64>) -> Saved {
        if self.is_proven {
            Saved::of(&self.file, held)
        } else {
            self.saved.clone()
        }
    }

    /// Unpacks a little more; 0 at the end.
    fn unpack<S: FileSystem<File = F>>(&mut self, fs: &S) -> io::Result<usize> {
        let mut packed = [0; PACKED_BYTES];
        let n = fs.read_at(&self.handle, self.packed_at, &mut packed)?;
        self.packed_at += n as u64;
        if n == 0 {
            self.decoder.try_finish()?;
        } else {
            self.decoder.write_all(&packed[..n])?;
        }
        Ok(n)
    }

    /// Reads on until the end or the budget.
    pub(crate) fn read<S: FileSystem<File = F>>(
        &mut self,
        fs: &S,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<Unpacked> {
        while self.done_at.is_none() {
            if round.budget == 0 {
                return Ok(Unpacked::More);
            }
            // What `open` has unpacked comes first.
            let is_end = self.decoder.get_ref().is_empty() && self.unpack(fs)? == 0;
            let data = std::mem::take(self.decoder.get_mut());
            round.budget = round.budget.saturating_sub(data.len() as u64);
            if !self.take(&data, round, emit) {
                return Ok(Unpacked::Foreign);
            }
            if is_end {
                if !self.is_proven {
                    return Ok(Unpacked::Foreign);
                }
                self.file.flush(&mut round.cut, emit);
                self.done_at = Some(round.now);
            }
        }
        Ok(Unpacked::Done)
    }

    /// Passes over what had been read, proves it, hands out the rest; false when it is another file's.
    fn take(&mut self, data: &[u8], round: &mut Round, emit: &mut impl FnMut(Line<'_>)) -> bool {
        let mut rest = data;
        if !self.is_proven {
            let n = usize::try_from(self.saved.offset - self.at).unwrap_or(usize::MAX);
            let (old, new) = data.split_at(n.min(data.len()));
            let from = self.saved.position.saturating_sub(self.at);
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(old.len());
            self.unproven.extend_from_slice(&old[from..]);
            self.last.extend_from_slice(old);
            self.last
                .drain(..self.last.len().saturating_sub(TAIL_BYTES));
            self.at += old.len() as u64;
            rest = new;
            if self.at == self.saved.offset {
                let tail = &self.last[self.last.len() - self.saved.tail_len.min(self.last.len())..];
                if fnv1a_64(tail) != self.saved.tail_hash {
                    return false;
                }
                self.is_proven = true;
                let unproven = std::mem::take(&mut self.unproven);
                self.file.tail = std::mem::take(&mut self.last);
                // Those bytes are counted once more, as after any restart.
                self.file.take(&unproven, round, emit);
            }
        }
        self.at += rest.len() as u64;
        self.file.take(rest, round, emit);
        self.file.remember(rest);
        true
    }
}

fn content_bytes<S: FileSystem>(fs: &S, handle: &S::File, stat: Stat) -> u64 {
    let mut trailer = [0; 4];
    let from = stat.size.saturating_sub(4);
    match read_full(fs, handle, from, &mut trailer) {
        Ok(4) => u64::from(u32::from_le_bytes(trailer)),
        _ => 0,
    }
}

/// Whether a name is that of an archive that can be read.
pub(crate) fn is_archive(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|end| end == "gz")
}
