//! The few things the spool asks of a file system, so that a test can let any of them fail. (step 5)

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A flat folder of small files.
pub(crate) trait Disk: Send {
    /// Names of all files, in no order.
    fn names(&mut self) -> io::Result<Vec<String>>;
    /// A whole file.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;
    /// Fills `into` from `offset`.
    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Adds to a file, which is made when absent; after an error any part may have been written.
    fn append(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()>;
    /// Cuts a file.
    fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()>;
    /// Replaces a file by another, wholly or not at all.
    fn replace(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A real folder; keeps the file that is appended to open.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    open: Option<(String, File)>,
}

impl Folder {
    /// Makes the folder when absent, for its owner alone.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
        Ok(Self {
            path: path.to_owned(),
            open: None,
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn file(&mut self, name: &str, sync: bool) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.open = None;
            let path = self.path.join(name);
            let is_new = !path.exists();
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)?;
            if is_new && sync {
                self.sync_folder()?;
            }
            self.open = Some((name.to_owned(), file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for Folder {
    fn names(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.open {
            Some((open, file)) if open == name => file.read_exact_at(into, offset),
            _ => File::open(self.path.join(name))?.read_exact_at(into, offset),
        }
    }

    fn append(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        let file = self.file(name, sync)?;
        file.write_all(bytes)?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.open = None;
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn replace(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&temporary, self.path.join(name))?;
        if sync { self.sync_folder() } else { Ok(()) }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(open, _)| open == name) {
            self.open = None;
        }
        fs::remove_file(self.path.join(name))
    }
}
