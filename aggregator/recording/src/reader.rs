//! Blocks into entries, checked.

use std::io::{ErrorKind, Read};

use hsw_types::Monotonic;

use crate::code::Cursor;
use crate::entry::{Entry, Header};
use crate::{BLOCK_BYTES_MAX, Error, MAGIC, VERSION};

/// Reads a recording.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    block: Vec<u8>,
    at: usize,
    has_ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error`] says what these bytes are instead.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let mut begin = [0; MAGIC.len() + 1];
        input
            .read_exact(&mut begin)
            .map_err(|_| Error::NotARecording)?;
        if begin[..MAGIC.len()] != MAGIC {
            return Err(Error::NotARecording);
        }
        match begin[MAGIC.len()] {
            VERSION => {}
            other => return Err(Error::Version(other)),
        }
        let block = block(&mut input)?.ok_or(Error::BrokenOff)?;
        let mut cursor = Cursor(&block);
        let header = Header::decode(&mut cursor)?;
        if !cursor.0.is_empty() {
            return Err(Error::Damaged("its header is too long"));
        }
        Ok(Self {
            input,
            header,
            block: Vec::new(),
            at: 0,
            has_ended: false,
        })
    }

    /// Whose it is.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The next entry; `None` after the end.
    ///
    /// # Errors
    /// [`Error::BrokenOff`] when the file ends before the recording does, and whatever else is wrong.
    pub fn read(&mut self) -> Result<Option<(Monotonic, Entry)>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        if self.at >= self.block.len() {
            self.block = block(&mut self.input)?.ok_or(Error::BrokenOff)?;
            self.at = 0;
        }
        let mut cursor = Cursor(&self.block[self.at..]);
        let read = Entry::decode(&mut cursor)?;
        self.at = self.block.len() - cursor.0.len();
        self.has_ended = matches!(read.1, Entry::End { .. });
        Ok(Some(read))
    }
}

/// A block's bytes; `None` at the end of the file.
fn block(input: &mut impl Read) -> Result<Option<Vec<u8>>, Error> {
    let mut head = [0; 12];
    let mut n = 0;
    while n < head.len() {
        match input.read(&mut head[n..]) {
            Ok(0) if n == 0 => return Ok(None),
            Ok(0) => return Err(Error::BrokenOff),
            Ok(more) => n += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (n_raw, n_packed) = (word(0) as usize, word(4) as usize);
    if n_raw == 0 || n_raw > BLOCK_BYTES_MAX || n_packed > BLOCK_BYTES_MAX {
        return Err(Error::Damaged("a block's length"));
    }
    let mut packed = Vec::new();
    let taken = input.take(n_packed as u64).read_to_end(&mut packed)?;
    if taken < n_packed {
        return Err(Error::BrokenOff);
    }
    if crc32fast::hash(&packed) != word(8) {
        return Err(Error::Damaged("a block's checksum"));
    }
    let raw = zstd::bulk::decompress(&packed, n_raw)
        .map_err(|_| Error::Damaged("a block does not unpack"))?;
    if raw.len() != n_raw {
        return Err(Error::Damaged("a block's length"));
    }
    Ok(Some(raw))
}
