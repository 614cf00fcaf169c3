//! A file system in memory: names, inodes that are used anew, handles that outlive names, archives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::Compression;
use flate2::write::GzEncoder;
use hsw_tail::{FileSystem, Listed, Stat};

#[derive(Debug, Default)]
pub(crate) struct Inode {
    pub(crate) data: Vec<u8>,
    /// Of an archive: what it was made of.
    pub(crate) plain: Option<Vec<u8>>,
    modified: i64,
    born: i64,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) names: BTreeMap<PathBuf, u64>,
    pub(crate) inodes: BTreeMap<u64, Inode>,
    handles: BTreeMap<u64, usize>,
    tick: i64,
    /// Whether this file system tells when a file was made.
    pub(crate) tells_birth: bool,
}

impl World {
    pub(crate) fn free_unused(&mut self) {
        let (names, handles) = (&self.names, &self.handles);
        self.inodes
            .retain(|inode, _| names.values().any(|n| n == inode) || handles.contains_key(inode));
    }

    /// The smallest unused number, as ext4 does: reuse is the common case.
    pub(crate) fn create(&mut self, path: &str) -> u64 {
        self.free_unused();
        let number = (1..).find(|n| !self.inodes.contains_key(n)).unwrap();
        self.names.insert(PathBuf::from(path), number);
        let inode = Inode {
            born: self.tick + 1,
            ..Inode::default()
        };
        self.inodes.insert(number, inode);
        self.touch(number);
        number
    }

    pub(crate) fn touch(&mut self, inode: u64) {
        self.tick += 1;
        self.inodes.get_mut(&inode).unwrap().modified = self.tick;
    }

    pub(crate) fn write(&mut self, inode: u64, text: &str) {
        let data = &mut self.inodes.get_mut(&inode).unwrap().data;
        data.extend_from_slice(text.as_bytes());
        self.touch(inode);
    }

    /// To nothing, or (where the writer does not append) to a hole as long as the file was.
    pub(crate) fn truncate(&mut self, inode: u64, leaves_hole: bool) {
        let data = &mut self.inodes.get_mut(&inode).unwrap().data;
        let n_hole = if leaves_hole { data.len() } else { 0 };
        data.clear();
        data.resize(n_hole, 0);
        self.touch(inode);
    }

    pub(crate) fn copy(&mut self, inode: u64, to: &str) {
        let data = self.inodes[&inode].data.clone();
        let copy = self.create(to);
        self.inodes.get_mut(&copy).unwrap().data = data;
        self.touch(copy);
    }

    /// As gzip does: another file with the old time, then the original is removed.
    pub(crate) fn compress(&mut self, path: &str) -> bool {
        let Some(inode) = self.names.get(Path::new(path)).copied() else {
            return false;
        };
        let (data, modified) = (
            self.inodes[&inode].data.clone(),
            self.inodes[&inode].modified,
        );
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&data).unwrap();
        let archive = self.create(&format!("{path}.gz"));
        let packed = self.inodes.get_mut(&archive).unwrap();
        packed.data = encoder.finish().unwrap();
        packed.plain = Some(data);
        packed.modified = modified;
        self.names.remove(Path::new(path));
        self.free_unused();
        true
    }

    /// The text of a file or of what an archive was made of.
    pub(crate) fn text(&self, inode: u64) -> String {
        let inode = &self.inodes[&inode];
        let data = inode.plain.as_ref().unwrap_or(&inode.data);
        String::from_utf8(data.clone()).unwrap()
    }

    pub(crate) fn stat(&self, number: u64) -> Stat {
        let inode = &self.inodes[&number];
        let seconds = |tick: i64| tick * 10_000_000_000;
        Stat {
            dev: 1,
            inode: number,
            born_ns: if self.tells_birth {
                seconds(inode.born)
            } else {
                0
            },
            size: inode.data.len() as u64,
            n_links: self.names.values().filter(|n| **n == number).count() as u64,
            modified_ns: seconds(inode.modified),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<World>>);

#[derive(Debug)]
pub(crate) struct Handle {
    inode: u64,
    world: Rc<RefCell<World>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let n = world.handles.get_mut(&self.inode).unwrap();
        *n -= 1;
        if *n == 0 {
            world.handles.remove(&self.inode);
        }
        world.free_unused();
    }
}

impl FileSystem for Fake {
    type File = Handle;
    fn list(&self, _: &Path) -> io::Result<Vec<Listed>> {
        let world = self.0.borrow();
        let listed = world.names.iter().map(|(path, inode)| Listed {
            path: path.clone(),
            stat: world.stat(*inode),
        });
        Ok(listed.collect())
    }
    fn open(&self, path: &Path) -> io::Result<Handle> {
        let mut world = self.0.borrow_mut();
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        *world.handles.entry(inode).or_default() += 1;
        Ok(Handle {
            inode,
            world: Rc::clone(&self.0),
        })
    }
    fn stat(&self, file: &Handle) -> io::Result<Stat> {
        Ok(self.0.borrow().stat(file.inode))
    }
    fn read_at(&self, file: &Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let world = self.0.borrow();
        let data = &world.inodes[&file.inode].data;
        let rest = data.get(offset as usize..).unwrap_or(&[]);
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}
