//! Entries into blocks: each compressed and checksummed by itself.

use std::io::Write;

use hsw_types::Monotonic;

use crate::entry::{Entry, Header};
use crate::{BLOCK_BYTES_MAX, Error, MAGIC, VERSION};

/// A block ends once it has so many bytes: large enough to compress well, small enough to lose little.
const BLOCK_BYTES: usize = 128 << 10;
/// Level of zstd: 9 is a tenth smaller than 3 on recordings of the test bed, and still far faster than they come.
const LEVEL: i32 = 9;

/// Writes a recording.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    block: Vec<u8>,
    n_entries: u64,
}

impl<W: Write> Writer<W> {
    /// Begins with the header.
    ///
    /// # Errors
    /// [`Error::Io`] of `out`.
    pub fn new(mut out: W, header: &Header) -> Result<Self, Error> {
        out.write_all(&MAGIC)?;
        out.write_all(&[VERSION])?;
        let mut block = Vec::with_capacity(2 * BLOCK_BYTES);
        header.encode(&mut block);
        let mut writer = Self {
            out,
            block,
            n_entries: 0,
        };
        writer.flush()?;
        Ok(writer)
    }

    /// The next entry; `now` never runs backwards.
    ///
    /// # Errors
    /// [`Error::Summary`] for a summary that cannot be encoded (the entry is left out), [`Error::Io`] of `out`.
    pub fn push(&mut self, now: Monotonic, entry: &Entry) -> Result<(), Error> {
        let before = self.block.len();
        if let Err(error) = entry.encode(now, &mut self.block) {
            self.block.truncate(before);
            return Err(error);
        }
        self.n_entries += 1;
        debug_assert!(self.block.len() < BLOCK_BYTES_MAX);
        if self.block.len() >= BLOCK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Entries so far.
    #[must_use]
    pub const fn n_entries(&self) -> u64 {
        self.n_entries
    }

    /// Writes the block under way.
    ///
    /// # Errors
    /// [`Error::Io`] of `out`.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.block, LEVEL)?;
        let lengths =
            [self.block.len(), packed.len()].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        for n in lengths {
            self.out.write_all(&n.to_le_bytes())?;
        }
        self.out
            .write_all(&crc32fast::hash(&packed).to_le_bytes())?;
        self.out.write_all(&packed)?;
        self.block.clear();
        Ok(())
    }

    /// Ends in order and gives back what was written to.
    ///
    /// # Errors
    /// [`Error::Io`] of `out`.
    pub fn finish(mut self, now: Monotonic, lost: u64) -> Result<W, Error> {
        self.push(now, &Entry::End { lost })?;
        self.flush()?;
        Ok(self.out)
    }

    /// What was written to, so far.
    pub const fn out(&mut self) -> &mut W {
        &mut self.out
    }
}
