//! Which files to follow: a directory and a file name with `*` and `?`. (step 1)

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Endings that mean "rotated and compressed": never a log to read.
const COMPRESSED: [&str; 6] = ["gz", "xz", "bz2", "zst", "lz4", "Z"];

/// An absolute directory and a file name that may hold `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    pub(crate) directory: PathBuf,
    pub(crate) name: Vec<u8>,
}

/// A pattern that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log path `{0}`: give an absolute path, with `*` and `?` only in the file name")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Parses `/directory/name`.
    ///
    /// # Errors
    /// The path is relative, has no file name, or has a wildcard in its directory.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = || InvalidPattern(text.to_owned());
        let path = Path::new(text);
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(invalid());
        };
        let wild = |byte: &u8| matches!(byte, b'*' | b'?');
        if !path.is_absolute() || directory.as_os_str().as_bytes().iter().any(wild) {
            return Err(invalid());
        }
        Ok(Self {
            directory: directory.to_owned(),
            name: name.as_bytes().to_owned(),
        })
    }

    /// Where the files lie.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a file is meant; compressed ones never are.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        let compressed = path
            .extension()
            .is_some_and(|end| COMPRESSED.iter().any(|known| end == OsStr::new(known)));
        !compressed
            && path.parent() == Some(&self.directory)
            && path
                .file_name()
                .is_some_and(|name| wildcard(&self.name, name.as_bytes()))
    }

    /// Directory and name as given.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(OsStr::from_bytes(&self.name))
    }
}

/// Matches with one remembered star: O(pattern × text), no recursion.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = star else {
                    return false;
                };
                star = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_names_in_its_directory_and_no_compressed_file() {
        let pattern = Pattern::parse("/var/log/pg/postgresql-*.lo?").unwrap();
        for (path, expected) in [
            ("/var/log/pg/postgresql-2026.log", true),
            ("/var/log/pg/postgresql-.log", true),
            ("/var/log/pg/postgresql-2026.log.1", false),
            ("/var/log/pg/sub/postgresql-2026.log", false),
        ] {
            assert_eq!(pattern.matches(Path::new(path)), expected, "{path}");
        }
        let all = Pattern::parse("/var/log/pg/*").unwrap();
        assert!(all.matches(Path::new("/var/log/pg/x.1")));
        assert!(!all.matches(Path::new("/var/log/pg/x.1.gz")));
    }

    #[test]
    fn a_relative_path_and_a_wildcard_directory_are_refused() {
        assert!(Pattern::parse("log/x.log").is_err());
        assert!(Pattern::parse("/var/*/x.log").is_err());
        assert!(Pattern::parse("/").is_err());
    }
}
