//! What the tailer asks of a file system, and the real one. (step 1)
//!
//! Invariant: a handle keeps naming the same file after its path was renamed, removed or given to another file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A regular file in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Directory and name.
    pub path: PathBuf,
    /// What it was when listed.
    pub stat: Stat,
}

/// What distinguishes files and their states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode; used anew once the file is gone.
    pub inode: u64,
    /// When the inode was given to this file, nanoseconds since 1970: tells a reused inode. 0 where unknown.
    pub born_ns: i64,
    /// Bytes.
    pub size: u64,
    /// Names that lead to it; 0 once removed.
    pub n_links: u64,
    /// Last change of content, nanoseconds since some start.
    pub modified_ns: i64,
}

impl Stat {
    /// Same device, inode and, where known, birth; says nothing about content.
    #[must_use]
    pub const fn same_file(&self, other: &Self) -> bool {
        let same_birth = self.born_ns == other.born_ns || self.born_ns == 0 || other.born_ns == 0;
        self.dev == other.dev && self.inode == other.inode && same_birth
    }
}

/// The few calls that following needs; a model implements them in memory.
pub trait FileSystem {
    /// An open file.
    type File;

    /// Regular files of a directory (links followed), in any order.
    ///
    /// # Errors
    /// The directory is absent or may not be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>>;

    /// Opens for reading.
    ///
    /// # Errors
    /// The file is absent or may not be read.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// State of an open file.
    ///
    /// # Errors
    /// The device failed.
    fn stat(&self, file: &Self::File) -> io::Result<Stat>;

    /// Reads at an offset; 0 at or past the end.
    ///
    /// # Errors
    /// The device failed.
    fn read_at(&self, file: &Self::File, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// The host's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileSystem for Disk {
    type File = File;

    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            // Relative to the open directory: no walk along the path, which counts for thousands of files.
            let metadata = match entry.file_type() {
                Ok(kind) if kind.is_symlink() => fs::metadata(&path),
                Ok(kind) if kind.is_file() => entry.metadata(),
                _ => continue,
            };
            // A file that went away between the two calls is simply not there.
            let Ok(metadata) = metadata else {
                continue;
            };
            if metadata.is_file() {
                files.push(Listed {
                    path,
                    stat: stat_of(&metadata),
                });
            }
        }
        Ok(files)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn stat(&self, file: &File) -> io::Result<Stat> {
        Ok(stat_of(&file.metadata()?))
    }

    fn read_at(&self, file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match file.read_at(into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

fn stat_of(metadata: &fs::Metadata) -> Stat {
    Stat {
        dev: metadata.dev(),
        inode: metadata.ino(),
        born_ns: metadata.created().map_or(0, since_1970),
        size: metadata.size(),
        n_links: metadata.nlink(),
        modified_ns: metadata
            .mtime()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(metadata.mtime_nsec()),
    }
}

fn since_1970(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(0))
}

/// Fills `into` as far as the file reaches.
pub(crate) fn read_full<S: FileSystem>(
    fs: &S,
    file: &S::File,
    offset: u64,
    into: &mut [u8],
) -> io::Result<usize> {
    let mut n = 0;
    while n < into.len() {
        match fs.read_at(file, offset + n as u64, &mut into[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}
