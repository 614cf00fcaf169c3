//! Files as lines: plain, gzip or zstd, known by their first bytes; `-` is standard input. A byte order mark is no part of
//! the text. (step 15)
//!
//! Limits: a line is handed out up to [`LINE_BYTES_MAX`] bytes, the rest is counted. Memory: one buffer and one line.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

/// Longest line; of a longer one the beginning is handed out.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes per read; beyond 64 KiB nothing is gained (swept 16 KiB to 1 MiB).
const READ_BYTES: usize = 256 * 1024;
/// Below this no bar is worth looking at.
const BAR_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// An input that is open for reading.
pub struct Input {
    name: String,
    reader: Box<dyn Read>,
    bar: ProgressBar,
    n_cut: u64,
}

impl Input {
    /// Opens a file, or standard input where `path` is `-`. On a terminal a long one shows how far it is.
    ///
    /// # Errors
    /// The file cannot be opened, or its first bytes cannot be read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("read {}", path.display());
        let mut bar = ProgressBar::hidden();
        let raw: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path).with_context(context)?;
            let n_bytes = file.metadata().map_or(0, |metadata| metadata.len());
            if n_bytes >= BAR_BYTES_MIN && io::stderr().is_terminal() {
                bar = ProgressBar::new(n_bytes);
                let shape = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
                bar.set_style(
                    ProgressStyle::with_template(shape)
                        .unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
            }
            Box::new(bar.wrap_read(file))
        };
        let reader = decompressed(raw)
            .and_then(without_mark)
            .with_context(context)?;
        Ok(Self {
            name: path.display().to_string(),
            reader,
            bar,
            n_cut: 0,
        })
    }

    /// Hands out each line without its newline and its carriage return, in order.
    ///
    /// # Errors
    /// Reading failed, the compressed data is damaged, or `take` failed.
    pub fn each_line(
        &mut self,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut open_line: Vec<u8> = Vec::new();
        loop {
            let n = match self.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let name = &self.name;
                    return Err(error).with_context(|| format!("read on in {name}"));
                }
            };
            let mut rest = &buffer[..n];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, after) = (&rest[..end], &rest[end + 1..]);
                rest = after;
                if open_line.is_empty() {
                    take(self.cut(line))?;
                } else {
                    self.keep(&mut open_line, line);
                    take(self.cut(&open_line))?;
                    open_line.clear();
                }
            }
            self.keep(&mut open_line, rest);
        }
        if !open_line.is_empty() {
            take(self.cut(&open_line))?;
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// Reading failed, or it is longer than `bytes_max`.
    pub fn text(&mut self, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let n = self
            .reader
            .by_ref()
            .take(bytes_max + 1)
            .read_to_end(&mut bytes)?;
        anyhow::ensure!(
            n as u64 <= bytes_max,
            "longer than {bytes_max} bytes: split it"
        );
        Ok(bytes)
    }

    /// Lines that were longer than [`LINE_BYTES_MAX`].
    #[must_use]
    pub const fn n_cut(&self) -> u64 {
        self.n_cut
    }

    fn cut<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.n_cut += u64::from(line.len() > LINE_BYTES_MAX);
        &line[..line.len().min(LINE_BYTES_MAX)]
    }

    /// One byte more than the limit is kept, so that [`Self::cut`] sees that there was more.
    fn keep(&mut self, open_line: &mut Vec<u8>, piece: &[u8]) {
        let room = (LINE_BYTES_MAX + 2).saturating_sub(open_line.len());
        open_line.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// What the bytes are once decompressed; several compressed members in a row are one.
fn decompressed(mut raw: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let (head, n) = first::<4>(&mut raw)?;
    let whole = io::Cursor::new(head).take(n).chain(raw);
    Ok(match head {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::new(whole)?),
        [0xfd, b'7', b'z', b'X'] | [b'B', b'Z', b'h', _] => {
            return Err(io::Error::other("packed with xz or bzip2: unpack it first"));
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(io::Error::other("UTF-16: convert it to UTF-8 first"));
        }
        _ => Box::new(whole),
    })
}

/// The text behind UTF-8's byte order mark, which some editors write first.
fn without_mark(mut text: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let (head, n) = first::<3>(&mut text)?;
    if head == *b"\xef\xbb\xbf" {
        return Ok(text);
    }
    Ok(Box::new(io::Cursor::new(head).take(n).chain(text)))
}

/// The first bytes, and how many there were.
fn first<const N: usize>(from: &mut impl Read) -> io::Result<([u8; N], u64)> {
    let mut head = [0; N];
    let mut n = 0;
    while n < N {
        match from.read(&mut head[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((head, n as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn lines(name: &str, bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let dir = std::env::temp_dir().join(format!("hsw-input-{}-{name}", std::process::id()));
        std::fs::write(&dir, bytes).unwrap();
        let mut input = Input::open(&dir).unwrap();
        let mut lines = Vec::new();
        let take = |line: &[u8]| {
            lines.push(line.to_vec());
            Ok(())
        };
        input.each_line(take).unwrap();
        std::fs::remove_file(&dir).unwrap();
        (lines, input.n_cut())
    }

    #[test]
    fn the_same_lines_come_out_of_every_wrapping() {
        let text = b"one\r\n\ntwo\nlast without end";
        let expected: Vec<&[u8]> = vec![b"one", b"", b"two", b"last without end"];
        assert_eq!(lines("plain", text).0, expected);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&text[..6]).unwrap();
        let mut bytes = gz.finish().unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&text[6..]).unwrap();
        bytes.extend(gz.finish().unwrap());
        assert_eq!(lines("gz", &bytes).0, expected);
        let bytes = zstd::encode_all(&text[..], 1).unwrap();
        assert_eq!(lines("zst", &bytes).0, expected);
        let marked = [b"\xef\xbb\xbf", &text[..]].concat();
        assert_eq!(lines("mark", &marked).0, expected);
        let bytes = zstd::encode_all(&marked[..], 1).unwrap();
        assert_eq!(lines("mark-zst", &bytes).0, expected);
        for short in [&b""[..], b"x", b"\xef\xbb"] {
            assert_eq!(lines("short", short).0.concat(), short);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_counted() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 5];
        text.extend_from_slice(b"\nnext\n");
        let (lines, n_cut) = lines("long", &text);
        assert_eq!(
            (lines[0].len(), lines[1].as_slice()),
            (LINE_BYTES_MAX, &b"next"[..])
        );
        assert_eq!(n_cut, 1);
    }
}
