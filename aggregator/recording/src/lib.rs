//! Recordings: what an engine was told, in a file that gives the same incidents whenever it is played. (steps 7–13)
//!
//! In: an engine's inputs with their timer time. Out: a file of checksummed, compressed blocks; and an engine that hears it all again.
//! Invariants: RC-1 any bytes are a recording or an error, and nothing is allocated that their limits do not allow. RC-2 what is
//! read is what was written. RC-3 a played recording gives the incidents of the engine that was recorded from its begin.
//! Limits: see [`format`](crate::Error). Does not: own files; keep incidents, triggers or names of hot lists of before its begin.

mod code;

mod entry;

mod reader;
mod writer;

mod play;

pub use entry::{Entry, Header};
pub use play::{Played, Rescored, Score, play, rescore};
pub use reader::Reader;
pub use writer::Writer;

/// First bytes of a file.
const MAGIC: [u8; 7] = *b"HSWREC\n";

/// Version of the format that is written; an older one is read for ever.
const VERSION: u8 = 1;

/// Bytes of a block before compression; a writer ends a block long before.
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// Why bytes are not a recording, or cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not this kind of file.
    #[error("not a recording: it does not begin as one")]
    NotARecording,
    /// Of a newer program.
    #[error("a recording of version {0}, and this program reads up to {VERSION}: use a newer one")]
    Version(u8),
    /// It ends within a block.
    #[error("the recording broke off")]
    BrokenOff,
    /// A checksum, a length or a value is not as it was written.
    #[error("the recording is damaged: {0}")]
    Damaged(&'static str),
    /// A summary that the wire would not take.
    #[error("a summary cannot be written: {0}")]
    Summary(#[from] hsw_wire::Error),
    /// Of the file or the socket.
    #[error("read or write the recording: {0}")]
    Io(#[from] std::io::Error),
}
