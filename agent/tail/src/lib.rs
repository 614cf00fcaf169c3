//! Following files across rotation, with positions that survive a crash. (step 1)
//!
//! In: patterns of files, a clock reading per poll. Out: complete lines with their file and offset; a checkpoint.
//! Invariants: TA-1 a line is handed out once, whatever happens to its file (rename, copy and truncate, deletion, a crash),
//! except where [`Counters`] says what was lost or [`Checkpoint`](Tailer::checkpoint) says to read again.
//! TA-2 bytes per poll, bytes per line and open files are bounded.
//! Does not: parse lines, know a clock, write the checkpoint to disk (the caller does, once the lines are safe elsewhere).

mod file_system;

mod pattern;

mod follow;

mod checkpoint;

mod unpack;

mod tailer;

pub use checkpoint::CheckpointError;
pub use file_system::{Disk, FileSystem, Listed, Stat};
pub use follow::{FileNumber, Line};
pub use pattern::{InvalidPattern, Pattern};
pub use tailer::{Config, Counters, Start, Tailer};
