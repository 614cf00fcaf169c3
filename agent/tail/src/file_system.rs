//! What the tailer asks of a file system, and the real one. (step 1)
//!
//! Invariant: a handle keeps naming the same file after its path was renamed, removed or given to another file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

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
    /// Bytes.
    pub size: u64,
    /// Names that lead to it; 0 once removed.
    pub n_links: u64,
    /// Last change of content, nanoseconds since some start.
    pub modified_ns: i64,
}

impl Stat {
    /// Same device and inode; says nothing about content.
    #[must_use]
    pub const fn same_file(&self, other: &Self) -> bool {
        self.dev == other.dev && self.inode == other.inode
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
            let path = entry?.path();
            // A file that went away between the two calls is simply not there.
            let Ok(metadata) = fs::metadata(&path) else {
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
        size: metadata.size(),
        n_links: metadata.nlink(),
        modified_ns: metadata
            .mtime()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(metadata.mtime_nsec()),
    }
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
