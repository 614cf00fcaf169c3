//! Reading `/proc`, `/sys` and cgroup files cheaply, and the few formats they share. (step 1)
//!
//! In: paths. Out: numbers. Files stay open and are re-read by `pread` into one reused buffer.
//! Invariants: PR-1 whatever the file holds, parsing never panics: what does not parse is missing.
//! PR-2 a file that vanished is opened anew at the next read. Limits: [`BUFFER_BYTES_MAX`] a file.
//! Does not: know any metric.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hsw_types::SeriesKey;

/// No file of the kernel that is read here is larger on a sane host; the rest of a larger one is not read.
pub(crate) const BUFFER_BYTES_MAX: usize = 1 << 20;

/// The buffer all files are read into; grows to the largest of them.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// One page, which holds most files.
    pub(crate) fn new() -> Self {
        Self(vec![0; 4096])
    }

    /// Reads the whole of `file`; several calls, as the kernel hands out tables by the page.
    pub(crate) fn read_all(&mut self, file: &File) -> io::Result<&[u8]> {
        let mut length = 0;
        loop {
            if length == self.0.len() {
                if length >= BUFFER_BYTES_MAX {
                    break;
                }
                self.0.resize(length * 2, 0);
            }
            match file.read_at(&mut self.0[length..], length as u64) {
                Ok(0) => break,
                Ok(n) => length += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.0[..length])
    }

    /// Reads `file` in one call: for files of one record below a page, as those of a process are.
    pub(crate) fn read_once(&mut self, file: &File) -> io::Result<&[u8]> {
        let length = file.read_at(&mut self.0, 0)?;
        Ok(&self.0[..length])
    }
}

/// A file that is kept open and read again and again.
#[derive(Debug)]
pub(crate) struct PollFile {
    path: PathBuf,
    file: Option<File>,
}

impl PollFile {
    /// Opens at the first read.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            file: None,
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole content.
    pub(crate) fn read<'b>(&mut self, buffer: &'b mut Buffer) -> io::Result<&'b [u8]> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let content = buffer.read_all(&file)?;
        self.file = Some(file);
        Ok(content)
    }
}

/// Decimal digits and nothing else; a number that does not fit is no number.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_u64, |sum, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Text as a float; negative and fractional values allowed.
pub(crate) fn float(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Lines without their ends.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// Fields between blanks.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace())
        .filter(|field| !field.is_empty())
}

/// The number after `name` (`name 12`, `name: 12 kB`) on the line that begins with it.
pub(crate) fn value_of(text: &[u8], name: &str) -> Option<u64> {
    lines(text).find_map(|line| {
        let rest = line.strip_prefix(name.as_bytes())?;
        let rest = rest.strip_prefix(b":").unwrap_or(rest);
        if !rest.first()?.is_ascii_whitespace() {
            return None;
        }
        number(fields(rest).next()?)
    })
}

/// A file that holds one number.
pub(crate) fn single(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii())
}

/// Stalled time of a pressure file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pressure {
    /// Microseconds in which at least one task waited.
    pub(crate) some_us: Option<u64>,
    /// Microseconds in which all tasks waited.
    pub(crate) full_us: Option<u64>,
}

/// Parses `some avg10=… total=N` and `full …`.
pub(crate) fn pressure(text: &[u8]) -> Pressure {
    let total = |kind: &[u8]| {
        lines(text)
            .filter(|line| line.starts_with(kind))
            .find_map(|line| fields(line).find_map(|field| number(field.strip_prefix(b"total=")?)))
    };
    Pressure {
        some_us: total(b"some "),
        full_us: total(b"full "),
    }
}

/// What is used of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PidStat {
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub(crate) state: u8,
    /// Parent.
    pub(crate) parent: u32,
    /// Major faults, its reaped children's included.
    pub(crate) major_faults: u64,
    /// User and system time in clock ticks, its reaped children's included.
    pub(crate) cpu_ticks: u64,
    /// Start, in clock ticks since boot; with the pid it identifies the process.
    pub(crate) start_ticks: u64,
}

/// Parses `/proc/PID/stat`; the name in parentheses may itself hold blanks and parentheses.
pub(crate) fn pid_stat(text: &[u8]) -> Option<PidStat> {
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let mut rest = fields(&text[close + 1..]);
    let state = *rest.next()?.first()?;
    let parent = u32::try_from(number(rest.next()?)?).ok()?;
    // Fields are numbered as in proc(5): 3 is the state, 4 the parent.
    let mut wanted = [0_u64; 7];
    let at = [12, 13, 14, 15, 16, 17, 22];
    let mut slot = 0;
    for (field, text) in (5..).zip(rest) {
        if slot < at.len() && field == at[slot] {
            // The reaped children's times are signed in the format, never negative in fact.
            wanted[slot] = number(text)?;
            slot += 1;
        }
    }
    let [
        faults,
        child_faults,
        user,
        system,
        child_user,
        child_system,
        start,
    ] = wanted;
    (slot == at.len()).then_some(PidStat {
        state,
        parent,
        major_faults: faults.saturating_add(child_faults),
        cpu_ticks: [user, system, child_user, child_system]
            .iter()
            .fold(0, |sum: u64, &part| sum.saturating_add(part)),
        start_ticks: start,
    })
}

/// Bytes read and written on all devices: v1 `8:0 Read 12`, v2 `8:0 rbytes=12 wbytes=5 …`.
pub(crate) fn io_bytes(text: &[u8]) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in lines(text) {
        let mut columns = fields(line).skip(1).peekable();
        while let Some(column) = columns.next() {
            let mut next = || columns.peek().and_then(|value| number(value)).unwrap_or(0);
            match column {
                b"Read" => read = read.saturating_add(next()),
                b"Write" => written = written.saturating_add(next()),
                _ => {
                    let of = |name: &[u8]| column.strip_prefix(name).and_then(number).unwrap_or(0);
                    read = read.saturating_add(of(b"rbytes="));
                    written = written.saturating_add(of(b"wbytes="));
                }
            }
        }
    }
    (read, written)
}

/// Resident and shared pages of the process with this directory.
pub(crate) fn read_statm(directory: &Path, buffer: &mut Buffer) -> Option<(u64, u64)> {
    let file = File::open(directory.join("statm")).ok()?;
    let mut pages = fields(buffer.read_once(&file).ok()?).skip(1);
    Some((number(pages.next()?)?, number(pages.next()?)?))
}

/// Bytes read from and written to storage; none without the right to see them.
pub(crate) fn read_io(directory: &Path, buffer: &mut Buffer) -> Option<(u64, u64)> {
    let file = File::open(directory.join("io")).ok()?;
    let text = buffer.read_once(&file).ok()?;
    Some((
        value_of(text, "read_bytes")?,
        value_of(text, "write_bytes")?,
    ))
}

/// The kernel gives the number of open files as the directory's size since 6.2; before that it is 0 and unknown.
pub(crate) fn count_files(directory: &Path) -> Option<u64> {
    let size = std::fs::metadata(directory.join("fd")).ok()?.len();
    (size > 0).then_some(size)
}

/// A key of the node itself.
pub(crate) fn node(metric: &str) -> Arc<SeriesKey> {
    Arc::new(SeriesKey::node(metric))
}

/// A key of a named part.
pub(crate) fn object(metric: &str, name: &str) -> Arc<SeriesKey> {
    Arc::new(SeriesKey::object(metric, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_process_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let text =
            b"42 (a) S b) D 7 42 42 0 -1 4194304 10 20 3 4 100 50 30 20 20 0 1 0 987654 1 2 3\n";
        assert_eq!(
            pid_stat(text),
            Some(PidStat {
                state: b'D',
                parent: 7,
                major_faults: 7,
                cpu_ticks: 200,
                start_ticks: 987_654,
            })
        );
        assert_eq!(pid_stat(b"42 (short) S 7 1"), None);
    }

    #[test]
    fn a_missing_pressure_line_is_missing_not_zero() {
        let text = b"some avg10=5.61 avg60=4.48 avg300=6.59 total=53234769\n";
        assert_eq!(
            pressure(text),
            Pressure {
                some_us: Some(53_234_769),
                full_us: None,
            }
        );
    }

    #[test]
    fn a_name_that_is_the_beginning_of_another_is_not_taken_for_it() {
        let text = b"SwapCached: 5 kB\nSwap: 7 kB\noom 1\noom_kill 3\n";
        assert_eq!(value_of(text, "Swap"), Some(7));
        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of(text, "nothing"), None);
    }

    #[test]
    fn a_table_larger_than_the_buffer_is_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content = "0123456789".repeat(5_000);
        std::fs::write(file.path(), &content).unwrap();
        let mut poll = PollFile::new(file.path());
        let mut buffer = Buffer::new();
        assert_eq!(poll.read(&mut buffer).unwrap(), content.as_bytes());
        assert_eq!(poll.read(&mut buffer).unwrap(), content.as_bytes());
    }

    proptest! {
        #[test]
        fn prop_no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = (pid_stat(&bytes), pressure(&bytes), value_of(&bytes, "a"), single(&bytes), float(&bytes), io_bytes(&bytes));
        }

        #[test]
        fn prop_a_number_reads_as_it_was_written(n in any::<u64>()) {
            prop_assert_eq!(number(n.to_string().as_bytes()), Some(n));
        }
    }
}
