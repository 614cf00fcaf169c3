//! Positions as bytes that outlive the process. (step 1)
//!
//! One text line per file, hashes instead of content, so that no literal is stored. A reader of version 1 refuses any other.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::file_system::{FileSystem, Stat, read_full};
use crate::follow::{Followed, HEAD_BYTES, TAIL_BYTES};

const FIRST_LINE: &str = "hsw-tail 1";

/// A checkpoint that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log checkpoint, line {line}: not written by this version; remove it to start anew")]
pub struct CheckpointError {
    /// Counting from 1.
    pub line: usize,
}

/// A file's position and what proves that it is the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) dev: u64,
    pub(crate) inode: u64,
    /// Where to read on.
    pub(crate) position: u64,
    pub(crate) skipping: bool,
    /// Bytes had been read up to here, and ended with `tail`.
    pub(crate) offset: u64,
    pub(crate) tail_len: usize,
    pub(crate) tail_hash: u64,
    pub(crate) head_len: usize,
    pub(crate) head_hash: u64,
    pub(crate) path: PathBuf,
}

impl Saved {
    /// Of a followed file; `held` is an earlier position that the caller still needs.
    pub(crate) fn of<F>(file: &Followed<F>, held: Option<u64>) -> Self {
        let position = held.unwrap_or(u64::MAX).min(file.position());
        Self {
            dev: file.stat.dev,
            inode: file.stat.inode,
            position,
            skipping: file.skipping && position == file.offset,
            offset: file.offset,
            tail_len: file.tail.len(),
            tail_hash: fnv1a(&file.tail),
            head_len: file.head.len(),
            head_hash: fnv1a(&file.head),
            path: file.path.clone(),
        }
    }

    /// Whether an open file holds what had been read.
    pub(crate) fn is<S: FileSystem>(&self, fs: &S, file: &S::File) -> bool {
        let same = |from: u64, len: usize, hash: u64| {
            let mut bytes = vec![0; len];
            read_full(fs, file, from, &mut bytes).is_ok_and(|n| n == len) && fnv1a(&bytes) == hash
        };
        same(0, self.head_len, self.head_hash)
            && same(
                self.offset - self.tail_len as u64,
                self.tail_len,
                self.tail_hash,
            )
    }
}

/// What a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    pub(crate) files: Vec<Saved>,
    /// Copies of files that had been read.
    pub(crate) parked: Vec<Stat>,
    /// Patterns that had been scanned.
    pub(crate) scanned: Vec<PathBuf>,
}

/// All positions, and the patterns that have been scanned before.
pub(crate) fn write(
    files: impl Iterator<Item = Saved>,
    parked: impl Iterator<Item = Stat>,
    scanned: &[PathBuf],
) -> Vec<u8> {
    let mut text = format!("{FIRST_LINE}\n");
    for path in scanned {
        let _ = writeln!(text, "scanned {}", escape(path));
    }
    for p in parked {
        let (dev, inode, size) = (p.dev, p.inode, p.size);
        let _ = writeln!(text, "parked {dev} {inode} {size} {}", p.modified_ns);
    }
    for f in files {
        let _ = writeln!(
            text,
            "file {} {} {} {} {} {} {:x} {} {:x} {}",
            f.dev,
            f.inode,
            f.position,
            u8::from(f.skipping),
            f.offset,
            f.tail_len,
            f.tail_hash,
            f.head_len,
            f.head_hash,
            escape(&f.path)
        );
    }
    text.into_bytes()
}

/// The reverse of [`write()`].
pub(crate) fn read(bytes: &[u8]) -> Result<Contents, CheckpointError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CheckpointError { line: 1 })?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(CheckpointError { line: 1 });
    }
    let mut contents = Contents::default();
    for (at, line) in lines.enumerate() {
        let refused = CheckpointError { line: at + 2 };
        match line.split_once(' ') {
            Some(("scanned", path)) => contents.scanned.push(unescape(path).ok_or(refused)?),
            Some(("file", rest)) => contents.files.push(read_file(rest).ok_or(refused)?),
            Some(("parked", rest)) => contents.parked.push(read_parked(rest).ok_or(refused)?),
            _ => return Err(refused),
        }
    }
    Ok(contents)
}

fn read_parked(text: &str) -> Option<Stat> {
    let mut words = text.split(' ');
    let mut number = || words.next()?.parse().ok();
    Some(Stat {
        dev: number()?,
        inode: number()?,
        size: number()?,
        n_links: 1,
        modified_ns: words.next()?.parse().ok()?,
    })
}

fn read_file(text: &str) -> Option<Saved> {
    let mut words = text.splitn(10, ' ');
    let mut number = |radix| u64::from_str_radix(words.next()?, radix).ok();
    let saved = Saved {
        dev: number(10)?,
        inode: number(10)?,
        position: number(10)?,
        skipping: number(10)? == 1,
        offset: number(10)?,
        tail_len: usize::try_from(number(10)?).ok()?,
        tail_hash: number(16)?,
        head_len: usize::try_from(number(10)?).ok()?,
        head_hash: number(16)?,
        path: unescape(words.next()?)?,
    };
    let sound = saved.position <= saved.offset
        && saved.tail_len <= TAIL_BYTES
        && saved.tail_len as u64 <= saved.offset
        && saved.head_len <= HEAD_BYTES;
    sound.then_some(saved)
}

fn escape(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    Some(PathBuf::from(OsStr::from_bytes(&bytes)))
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo; <http://www.isthe.com/chongo/tech/comp/fnv/>).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_written() {
        let saved = Saved {
            dev: 1,
            inode: 2,
            position: 3,
            skipping: false,
            offset: 300,
            tail_len: 256,
            tail_hash: u64::MAX,
            head_len: 300,
            head_hash: 7,
            path: PathBuf::from(OsStr::from_bytes(b"/a b/%\xff\n.log")),
        };
        let parked = Stat {
            dev: 1,
            inode: 9,
            size: 5,
            n_links: 1,
            modified_ns: -5,
        };
        let contents = Contents {
            scanned: vec![saved.path.clone()],
            files: vec![saved],
            parked: vec![parked],
        };
        let (files, parked) = (
            contents.files.iter().cloned(),
            contents.parked.iter().copied(),
        );
        let bytes = write(files, parked, &contents.scanned);
        assert_eq!(read(&bytes).unwrap(), contents);
    }

    #[test]
    fn a_foreign_or_unsound_checkpoint_is_refused_with_its_line() {
        assert_eq!(read(b"hsw-tail 2\n"), Err(CheckpointError { line: 1 }));
        assert_eq!(read(b"\xff"), Err(CheckpointError { line: 1 }));
        let unsound = b"hsw-tail 1\nfile 1 1 9 0 8 0 0 0 0 /x\n";
        assert_eq!(read(unsound), Err(CheckpointError { line: 2 }));
        assert_eq!(
            read(b"hsw-tail 1\nfile 1\n"),
            Err(CheckpointError { line: 2 })
        );
    }
}
