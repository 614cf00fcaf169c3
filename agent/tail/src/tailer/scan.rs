//! Listing directories: files that came, moved, vanished. (step 1)
//!
//! Invariant: a directory that cannot be listed changes nothing about its files, unless it is gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::follow::TAIL_BYTES;

impl<S: FileSystem> Tailer<S> {
    pub(super) fn scan(&mut self, round: &mut Round, emit: &mut impl FnMut(Line<'_>)) {
        self.problems.clear();
        let directories: BTreeSet<PathBuf> = self
            .patterns
            .iter()
            .map(|p| p.pattern.directory().to_owned())
            .chain(
                self.files
                    .iter()
                    .filter_map(|f| Some(f.path.parent()?.to_owned())),
            )
            .collect();
        let mut failed = false;
        let mut listed_all = Vec::new();
        for directory in directories {
            match self.fs.list(&directory) {
                Ok(mut listed) => {
                    // The longest first: an original is known before its copies.
                    listed.sort_by(|a, b| (b.stat.size, &a.path).cmp(&(a.stat.size, &b.path)));
                    self.resolve(&directory, &listed, round.now);
                    self.scan_directory(&directory, &listed, round, emit);
                    listed_all.extend(listed.into_iter().map(|l| l.stat));
                }
                Err(error) => {
                    failed = true;
                    self.counters.failures += 1;
                    let wanted = |p: &Scanned| p.pattern.directory() == directory;
                    if error.kind() == io::ErrorKind::NotFound && !self.patterns.iter().any(wanted)
                    {
                        // Moved away together with what was followed in it.
                        self.resolve(&directory, &[], round.now);
                    }
                    if error.kind() == io::ErrorKind::NotFound {
                        let inside =
                            |f: &&mut Followed<S::File>| f.path.parent() == Some(&directory);
                        for file in self.files.iter_mut().filter(inside) {
                            file.gone_since.get_or_insert(round.now);
                        }
                    }
                    self.problems.push((directory, error.kind()));
                }
            }
        }
        let mut parked = std::mem::take(&mut self.parked);
        parked.retain(|p| failed || listed_all.iter().any(|stat| stat.same_file(&p.stat)));
        self.parked = parked;
        self.forget(round, emit);
        // A copy found after a truncation is opened whatever the limit.
        while self.n_open() > self.config.n_open_max && self.close_quietest() {}
    }

    fn scan_directory(
        &mut self,
        directory: &Path,
        listed: &[Listed],
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) {
        let mut seen = BTreeSet::new();
        for entry in listed {
            let mut wanting = self
                .patterns
                .iter()
                .filter(|p| p.pattern.matches(&entry.path))
                .peekable();
            if wanting.peek().is_none() {
                continue;
            }
            // A file that any pattern would have found earlier is new, whatever the other patterns say.
            let before = wanting.any(|p| p.before);
            let result = match self.followed(entry.stat) {
                Some(at) => {
                    seen.insert(self.files[at].number);
                    self.seen_again(at, entry, round, emit)
                }
                None => self.adopt(entry, before, round.now),
            };
            if let Err(error) = result {
                self.counters.failures += 1;
                self.problems.push((entry.path.clone(), error.kind()));
            }
            if let Some(at) = self.followed(entry.stat) {
                seen.insert(self.files[at].number);
            }
        }
        for file in &mut self.files {
            if file.path.parent() == Some(directory) {
                if seen.contains(&file.number) {
                    file.gone_since = None;
                } else {
                    file.gone_since.get_or_insert(round.now);
                }
            }
        }
        for scanned in &mut self.patterns {
            if scanned.pattern.directory() == directory && !scanned.before {
                scanned.before = true;
                self.scanned_before.push(scanned.pattern.path());
            }
        }
        self.scanned_before.sort();
        self.scanned_before.dedup();
        self.scanned_before.truncate(self.config.n_files_max);
    }

    /// A known inode under a wanted name; one whose handle was closed is opened again when it changed.
    fn seen_again(
        &mut self,
        at: usize,
        entry: &Listed,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        let file = &mut self.files[at];
        file.path.clone_from(&entry.path);
        if file.file.is_some() || file.stat == entry.stat && file.offset >= entry.stat.size {
            return Ok(());
        }
        if !self.make_room() {
            return Ok(());
        }
        let handle = self.fs.open(&entry.path)?;
        let file = &mut self.files[at];
        let size_before = file.stat.size;
        file.stat = self.fs.stat(&handle)?;
        if holds(&self.fs, &handle, file) {
            file.file = Some(handle);
            file.active_at = round.now;
            return Ok(());
        }
        // Exchanged while it was closed, or another file that got the inode of a removed one: perhaps itself a copy.
        self.exchanged(at, size_before, round, emit)?;
        if self.files[at].file.is_none() {
            self.files.remove(at);
        }
        match self.followed(entry.stat) {
            Some(_) => Ok(()),
            None => self.adopt(entry, true, round.now),
        }
    }

    /// An inode not followed yet: new, or the copy of one that is followed.
    fn adopt(&mut self, entry: &Listed, before: bool, now: Monotonic) -> io::Result<()> {
        if self.files.len() >= self.config.n_files_max || !self.make_room() {
            self.counters.files_over_limit += 1;
            return Ok(());
        }
        let handle = self.fs.open(&entry.path)?;
        let stat = self.fs.stat(&handle)?;
        let same = |p: &Parked| p.stat.same_file(&stat);
        let parked = self
            .parked
            .iter()
            .position(same)
            .map(|at| self.parked.remove(at));
        if let Some(of) = self.repeats(&handle, stat)? {
            if self.parked.len() < self.config.n_files_max {
                self.parked.push(Parked { stat, of });
            }
            return Ok(());
        }
        // What it repeated was read to its end and forgotten: nothing in it is new.
        let forgotten = |of| self.files.iter().all(|f| f.number != of);
        let unchanged = |p: Stat| (p.size, p.modified_ns) == (stat.size, stat.modified_ns);
        let read_already = parked.is_some_and(|p| forgotten(p.of) && unchanged(p.stat));
        let at_end = read_already || !before && self.config.start == Start::End;
        self.next_number += 1;
        let number = FileNumber(self.next_number);
        let mut file = Followed::new(number, entry.path.clone(), handle, stat, now);
        if at_end && stat.size > 0 {
            file.seek(&self.fs, stat.size)?;
            // In the middle of a line: its rest would be read as if it were a line.
            file.skipping = file.tail.last() != Some(&b'\n');
        }
        self.files.push(file);
        Ok(())
    }

    /// The followed file of which an open one is a prefix, or was before the followed one was truncated.
    fn repeats(&self, handle: &S::File, stat: Stat) -> io::Result<Option<FileNumber>> {
        let mut head = vec![0; HEAD_BYTES];
        let n = read_full(&self.fs, handle, 0, &mut head)?;
        head.truncate(n);
        if head.is_empty() {
            return Ok(None);
        }
        for file in &self.files {
            let n = head.len().min(file.head.len());
            if head[..n] != file.head[..n] {
                continue;
            }
            let Some(open) = &file.file else {
                // Closed files are drained: a file that is no longer than what was read holds nothing new, and one that goes
                // on after it may be the copy made before a truncation not noticed yet.
                if n > 0 && (stat.size <= file.offset || holds(&self.fs, handle, file)) {
                    return Ok(Some(file.number));
                }
                continue;
            };
            // Exchanged a moment ago: the next reading looks for this copy.
            let exchanged = n > 0 && !holds(&self.fs, open, file);
            if exchanged || self.is_prefix(handle, stat.size, &head, open)? {
                return Ok(Some(file.number));
            }
        }
        Ok(None)
    }

    /// Whether a file of `size` bytes begins and ends like the same stretch of another.
    fn is_prefix(
        &self,
        file: &S::File,
        size: u64,
        head: &[u8],
        other: &S::File,
    ) -> io::Result<bool> {
        let n_tail = usize::try_from(size).map_or(TAIL_BYTES, |size| size.min(TAIL_BYTES));
        let from = size - n_tail as u64;
        let (mut ours, mut theirs) = (vec![0; n_tail], vec![0; n_tail]);
        let mut others_head = vec![0; head.len()];
        Ok(
            read_full(&self.fs, other, 0, &mut others_head)? == head.len()
                && others_head == head
                && read_full(&self.fs, file, from, &mut ours)? == n_tail
                && read_full(&self.fs, other, from, &mut theirs)? == n_tail
                && ours == theirs,
        )
    }

    /// Finds the files of the checkpoint again: by inode, else by content.
    fn resolve(&mut self, directory: &Path, listed: &[Listed], now: Monotonic) {
        let all = std::mem::take(&mut self.unresolved);
        let (here, elsewhere): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|saved| saved.path.parent() == Some(directory));
        self.unresolved = elsewhere;
        for saved in here {
            let same = |l: &&Listed| (l.stat.dev, l.stat.inode) == (saved.dev, saved.inode);
            // Content alone says nothing about a file of which nothing was read.
            let mut others: Vec<_> = listed.iter().filter(|l| !same(l)).collect();
            others.retain(|_| saved.offset > 0);
            others.sort_by_key(|l| std::cmp::Reverse(l.stat.size));
            let candidates = listed.iter().filter(same).chain(others);
            let mut found = None;
            for entry in candidates {
                if entry.stat.size < saved.offset || self.followed(entry.stat).is_some() {
                    continue;
                }
                let Ok(handle) = self.fs.open(&entry.path) else {
                    continue;
                };
                if saved.is(&self.fs, &handle) {
                    found = Some((entry, handle));
                    break;
                }
            }
            let itself = found.as_ref().is_some_and(|(entry, _)| same(entry));
            self.counters.files_vanished += u64::from(!itself);
            let Some((entry, handle)) = found else {
                continue;
            };
            self.counters.copies_found += u64::from(!itself);
            self.next_number += 1;
            let number = FileNumber(self.next_number);
            let mut file = Followed::new(number, entry.path.clone(), handle, entry.stat, now);
            if file.seek(&self.fs, saved.position).is_ok() {
                file.skipping = saved.skipping;
                let wanted = self.patterns.iter().any(|p| p.pattern.matches(&entry.path));
                file.gone_since = (!wanted).then_some(now);
                if self.n_open() >= self.config.n_open_max && file.lag() == 0 {
                    file.file = None;
                }
                self.files.push(file);
            }
        }
    }

    /// Closes what was rotated away and drained, and what was deleted too long ago.
    fn forget(&mut self, round: &mut Round, emit: &mut impl FnMut(Line<'_>)) {
        let taken: BTreeSet<PathBuf> = self
            .files
            .iter()
            .filter(|f| f.gone_since.is_none())
            .map(|f| f.path.clone())
            .collect();
        let (now, config, fs) = (round.now, &self.config, &self.fs);
        let mut lost = 0;
        self.files.retain_mut(|file| {
            let Some(gone) = file.gone_since else {
                return true;
            };
            let quiet = now.since(gone.max(file.active_at)) >= config.rotate_wait;
            let stat = file.file.as_ref().and_then(|handle| fs.stat(handle).ok());
            let done = match stat {
                None => true,
                Some(stat) => {
                    file.stat = stat;
                    let deleted = stat.n_links == 0;
                    let followed_by =
                        !config_matches(&file.path, &self.patterns) || taken.contains(&file.path);
                    let drained = file.lag() == 0 && quiet;
                    drained && (deleted || followed_by)
                        || deleted && now.since(gone) >= config.deleted_wait
                }
            };
            if done {
                file.flush(&mut round.cut, emit);
                lost += file.lag();
            }
            !done
        });
        self.counters.bytes_lost += lost;
    }

    /// Whether one more handle may be opened; closes the one that was quiet for longest.
    fn make_room(&mut self) -> bool {
        if self.n_open() < self.config.n_open_max || self.close_quietest() {
            return true;
        }
        self.counters.files_over_limit += 1;
        false
    }

    /// Closes the drained file that was quiet for longest; it is opened again when it grows.
    fn close_quietest(&mut self) -> bool {
        let quietest = self
            .files
            .iter_mut()
            .filter(|f| f.file.is_some() && f.gone_since.is_none() && f.lag() == 0)
            .min_by_key(|f| f.active_at);
        quietest.is_some_and(|file| file.file.take().is_some())
    }
}

fn config_matches(path: &Path, patterns: &[Scanned]) -> bool {
    patterns.iter().any(|p| p.pattern.matches(path))
}

/// Whether an open file holds what was read of `file`: its head, and the bytes before its offset.
pub(super) fn holds<S: FileSystem>(fs: &S, handle: &S::File, file: &Followed<S::File>) -> bool {
    let same = |from: u64, expected: &[u8]| {
        let mut bytes = vec![0; expected.len()];
        read_full(fs, handle, from, &mut bytes).is_ok_and(|n| n == expected.len())
            && bytes == expected
    };
    same(0, &file.head) && same(file.offset - file.tail.len() as u64, &file.tail)
}
