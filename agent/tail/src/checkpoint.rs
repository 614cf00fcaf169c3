//! Positions as bytes that outlive the process. (step 1)
//!
//! One text line per file, hashes instead of content, so that no literal is stored. Version 1 knew no times
//! and is still read; any other version is refused.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hsw_types::fnv1a_64;

use crate::file_system::{FileSystem, Stat, read_full};
use crate::follow::{Followed, HEAD_BYTES, TAIL_BYTES};

const FIRST_LINE: &str = "hsw-tail 2";
const FIRST_LINE_1: &str = "hsw-tail 1";

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
    pub(crate) born_ns: i64,
    /// Its last change when it had been read to its end.
    pub(crate) modified_ns: i64,
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
            born_ns: file.stat.born_ns,
            modified_ns: file.known_ns,
            position,
            skipping: file.skipping && position == file.offset,
            offset: file.offset,
            tail_len: file.tail.len(),
            tail_hash: fnv1a_64(&file.tail),
            head_len: file.head.len(),
            head_hash: fnv1a_64(&file.head),
            path: file.path.clone(),
        }
    }

    /// What says nothing about content.
    pub(crate) const fn stat(&self) -> Stat {
        Stat {
            dev: self.dev,
            inode: self.inode,
            born_ns: self.born_ns,
            size: 0,
            n_links: 1,
            modified_ns: self.modified_ns,
        }
    }

    /// Whether an open file holds what had been read.
    pub(crate) fn is<S: FileSystem>(&self, fs: &S, file: &S::File) -> bool {
        let same = |from: u64, len: usize, hash: u64| {
            let mut bytes = vec![0; len];
            read_full(fs, file, from, &mut bytes).is_ok_and(|n| n == len)
                && fnv1a_64(&bytes) == hash
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
    /// Files changed no later than this were left out because of the limit.
    pub(crate) left_out_ns: Option<i64>,
}

/// All positions, and the patterns that have been scanned before.
pub(crate) fn write(
    files: impl Iterator<Item = Saved>,
    parked: impl Iterator<Item = Stat>,
    scanned: &[PathBuf],
    left_out_ns: Option<i64>,
) -> Vec<u8> {
    let mut text = format!("{FIRST_LINE}\n");
    if let Some(ns) = left_out_ns {
        let _ = writeln!(text, "left-out {ns}");
    }
    for path in scanned {
        let _ = writeln!(text, "scanned {}", escape(path));
    }
    for p in parked {
        let (dev, inode, born, size) = (p.dev, p.inode, p.born_ns, p.size);
        let _ = writeln!(text, "parked {dev} {inode} {born} {size} {}", p.modified_ns);
    }
    for f in files {
        let _ = writeln!(
            text,
            "file {} {} {} {} {} {} {} {} {:x} {} {:x} {}",
            f.dev,
            f.inode,
            f.born_ns,
            f.modified_ns,
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
    let has_times = match lines.next() {
        Some(FIRST_LINE) => true,
        Some(FIRST_LINE_1) => false,
        _ => return Err(CheckpointError { line: 1 }),
    };
    let mut contents = Contents::default();
    for (at, line) in lines.enumerate() {
        let refused = CheckpointError { line: at + 2 };
        match line.split_once(' ') {
            Some(("scanned", path)) => contents.scanned.push(unescape(path).ok_or(refused)?),
            Some(("file", rest)) => {
                contents
                    .files
                    .push(read_file(rest, has_times).ok_or(refused)?);
            }
            Some(("parked", rest)) => {
                contents
                    .parked
                    .push(read_parked(rest, has_times).ok_or(refused)?);
            }
            Some(("left-out", ns)) => {
                contents.left_out_ns = Some(ns.parse().map_err(|_| refused)?);
            }
            _ => return Err(refused),
        }
    }
    Ok(contents)
}

fn read_parked(text: &str, has_times: bool) -> Option<Stat> {
    let mut words = text.split(' ');
    let mut number = || words.next()?.parse::<i128>().ok();
    Some(Stat {
        dev: u64::try_from(number()?).ok()?,
        inode: u64::try_from(number()?).ok()?,
        born_ns: i64::try_from(if has_times { number()? } else { 0 }).ok()?,
        size: u64::try_from(number()?).ok()?,
        n_links: 1,
        modified_ns: i64::try_from(number()?).ok()?,
    })
}

fn read_file(text: &str, has_times: bool) -> Option<Saved> {
    let mut words = text.splitn(if has_times { 12 } else { 10 }, ' ');
    let (dev, inode) = (words.next()?, words.next()?);
    let (born, modified) = match has_times {
        true => (words.next()?, words.next()?),
        false => ("0", "-9223372036854775808"),
    };
    let mut number = |radix| u64::from_str_radix(words.next()?, radix).ok();
    let saved = Saved {
        dev: dev.parse().ok()?,
        inode: inode.parse().ok()?,
        born_ns: born.parse().ok()?,
        modified_ns: modified.parse().ok()?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_written() {
        let saved = Saved {
            dev: 1,
            inode: 2,
            born_ns: 1_795_197_048_000_000_123,
            modified_ns: -1,
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
            born_ns: 0,
            size: 5,
            n_links: 1,
            modified_ns: -5,
        };
        let contents = Contents {
            scanned: vec![saved.path.clone()],
            files: vec![saved],
            parked: vec![parked],
            left_out_ns: Some(-7),
        };
        let (files, parked) = (
            contents.files.iter().cloned(),
            contents.parked.iter().copied(),
        );
        let bytes = write(files, parked, &contents.scanned, contents.left_out_ns);
        assert_eq!(read(&bytes).unwrap(), contents);
    }

    #[test]
    fn a_checkpoint_of_version_1_is_still_read() {
        let old =
            b"hsw-tail 1\nscanned /x/*\nparked 1 9 5 -5\nfile 1 2 3 0 300 256 ff 300 7 /x/y\n";
        let contents = read(old).unwrap();
        let (file, parked) = (&contents.files[0], contents.parked[0]);
        assert_eq!((file.inode, file.position, file.born_ns), (2, 3, 0));
        assert_eq!(
            (parked.size, parked.modified_ns, parked.born_ns),
            (5, -5, 0)
        );
        let unknown_birth = Stat {
            born_ns: 7,
            ..file.stat()
        };
        assert!(file.stat().same_file(&unknown_birth));
    }

    #[test]
    fn a_foreign_or_unsound_checkpoint_is_refused_with_its_line() {
        assert_eq!(read(b"hsw-tail 3\n"), Err(CheckpointError { line: 1 }));
        assert_eq!(read(b"\xff"), Err(CheckpointError { line: 1 }));
        let unsound = b"hsw-tail 1\nfile 1 1 9 0 8 0 0 0 0 /x\n";
        assert_eq!(read(unsound), Err(CheckpointError { line: 2 }));
        assert_eq!(
            read(b"hsw-tail 1\nfile 1\n"),
            Err(CheckpointError { line: 2 })
        );
    }
}
