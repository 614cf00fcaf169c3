//! Listing directories: files that came, moved, vanished. (step 1)
//!
//! Invariant: a directory that cannot be listed changes nothing about its files, unless it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::exchange::holds;
use super::*;
use crate::follow::TAIL_BYTES;

impl<S: FileSystem> Tailer<S> {
    pub(super) fn scan(&mut self, round: &mut Round, emit: &mut impl FnMut(Line<'_>)) {
        self.problems.clear();
        let directories = self.directories();
        let mut failed = false;
        let mut listed_all = Vec::new();
        for directory in directories {
            match self.fs.list(&directory) {
                Ok(mut listed) => {
                    // The longest first: an original is known before its copies.
                    let place = |l: &Listed| std::cmp::Reverse(l.stat.size);
                    listed.sort_by(|a, b| {
                        // Names as bytes: paths are compared part by part, which counts for thousands.
                        let names = || a.path.as_os_str().cmp(b.path.as_os_str());
                        place(a).cmp(&place(b)).then_with(names)
                    });
                    self.resolve(&directory, &listed, round, emit);
                    self.scan_directory(&directory, &listed, round, emit);
                    listed_all.extend(listed.iter().map(|l| identity(&l.stat)));
                    self.look_for_gone(&directory, &listed, round, emit);
                }
                Err(error) => {
                    failed = true;
                    self.counters.failures += 1;
                    let wanted = |p: &Scanned| p.pattern.directory() == directory;
                    if error.kind() == io::ErrorKind::NotFound && !self.patterns.iter().any(wanted)
                    {
                        // Moved away together with what was followed in it.
                        self.resolve(&directory, &[], round, emit);
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
        listed_all.sort_unstable();
        self.n_listed = listed_all.len();
        self.has_new_patterns = false;
        let mut parked = std::mem::take(&mut self.parked);
        let there = |p: &Parked| listed_all.binary_search(&identity(&p.stat)).is_ok();
        parked.retain(|p| failed || there(p));
        self.parked = parked;
        self.forget(&listed_all, round, emit);
        // A copy found after a truncation is opened whatever the limit.
        while self.n_open() > self.config.n_open_max && self.close_quietest() {}
    }

    /// Where patterns point and where followed files lie.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let wanted = self.patterns.iter().map(|p| p.pattern.directory());
        let followed = self.files.iter().filter_map(|f| f.path.parent());
        // Few directories hold many files.
        let all: BTreeSet<&Path> = wanted.chain(followed).collect();
        all.into_iter().map(Path::to_owned).collect()
    }

    fn scan_directory(
        &mut self,
        directory: &Path,
        listed: &[Listed],
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) {
        let mut seen = BTreeSet::new();
        let left_out = if self.files.len() + listed.len() > self.config.n_files_max {
            self.leave_out(listed)
        } else {
            BTreeSet::new()
        };
        let known: BTreeMap<_, _> = self
            .files
            .iter()
            .enumerate()
            .map(|(at, f)| ((f.stat.dev, f.stat.inode), at))
            .collect();
        for entry in listed {
            // Most files of a large directory are known and did not change.
            let at = known.get(&(entry.stat.dev, entry.stat.inode));
            let idle = at.and_then(|at| self.files.get(*at)).filter(|f| {
                let same = f.stat == entry.stat && f.path.as_os_str() == entry.path.as_os_str();
                same && (f.file.is_some() || f.is_drained())
            });
            let idle = idle.filter(|_| !self.has_new_patterns);
            if let Some(file) = idle {
                seen.insert(file.number);
                continue;
            }
            if left_out.contains(&(entry.stat.dev, entry.stat.inode)) {
                continue;
            }
            let mut wanting = self
                .patterns
                .iter()
                .filter(|p| p.pattern.matches(&entry.path))
                .peekable();
            if wanting.peek().is_none() {
                if let Err(error) = self.renamed_away(entry, round, emit) {
                    self.failed(entry.path.clone(), &error);
                }
                continue;
            }
            // A file that any pattern would have found earlier is new, whatever the other patterns say.
            let before = wanting.any(|p| p.before);
            let result = match self.followed(entry.stat) {
                Some(at) => {
                    seen.insert(self.files[at].number);
                    self.seen_again(at, entry, round, emit)
                }
                None => self.adopt(entry, before, round, emit),
            };
            if let Err(error) = result {
                self.failed(entry.path.clone(), &error);
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
        if file.file.is_some() || file.stat == entry.stat && file.is_drained() {
            return Ok(());
        }
        if !self.make_room(round, emit) || self.followed(entry.stat) != Some(at) {
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
            None => self.adopt(entry, true, round, emit),
        }
    }

    /// An inode not followed yet: new, or the copy of one that is followed.
    fn adopt(
        &mut self,
        entry: &Listed,
        before: bool,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        let still_repeats = |p: &Parked| {
            p.sure && p.stat == entry.stat && self.files.iter().any(|f| f.number == p.of)
        };
        if self.parked.iter().any(still_repeats) || !self.make_room(round, emit) {
            return Ok(());
        }
        // Making room may have noticed an exchange, whose copy this is.
        if self.followed(entry.stat).is_some() {
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
        if let Some((of, sure)) = self.repeats(&handle, stat)? {
            if self.parked.len() < self.config.n_files_max {
                self.parked.push(Parked { stat, of, sure });
            }
            return Ok(());
        }
        // What it repeated was read to its end and forgotten: nothing in it is new.
        let forgotten = |of| {
            self.files.iter().all(|f| f.number != of)
                && self.archives.iter().all(|a| a.file.number != of)
        };
        let unchanged = |p: Stat| (p.size, p.modified_ns) == (stat.size, stat.modified_ns);
        let read_already = parked.is_some_and(|p| p.sure && forgotten(p.of) && unchanged(p.stat));
        let left_out = self.left_out_ns.is_some_and(|ns| stat.modified_ns <= ns);
        let at_end = read_already || left_out || !before && self.config.start == Start::End;
        self.next_number += 1;
        let number = FileNumber(self.next_number);
        let mut file = Followed::new(number, entry.path.clone(), handle, stat, round.now);
        if at_end && stat.size > 0 {
            file.seek(&self.fs, stat.size)?;
            // In the middle of a line: its rest would be read as if it were a line.
            file.skipping = file.tail.last() != Some(&b'\n');
        }
        self.files.push(file);
        Ok(())
    }

    /// The followed file of which an open one is a prefix for certain, or was perhaps before the followed one was truncated.
    fn repeats(&self, handle: &S::File, stat: Stat) -> io::Result<Option<(FileNumber, bool)>> {
        let mut head = vec![0; HEAD_BYTES];
        let n = read_full(&self.fs, handle, 0, &mut head)?;
        head.truncate(n);
        if head.is_empty() {
            return Ok(None);
        }
        // Of a hole one cannot say whose it is.
        let is_hole = head.iter().all(|&byte| byte == 0);
        for archive in self.archives.iter().filter(|_| !is_hole) {
            let n = head.len().min(archive.file.head.len());
            let same = n > 0 && head[..n] == archive.file.head[..n];
            if same && stat.size <= archive.content_bytes {
                return Ok(Some((archive.file.number, true)));
            }
        }
        for file in &self.files {
            let n = head.len().min(file.head.len());
            // One that changed and could not be read yet may hold anything by now.
            let unseen = file.is_stale && file.file.is_some();
            let same_head = head[..n] == file.head[..n];
            if !unseen && !same_head {
                continue;
            }
            let Some(open) = &file.file else {
                // Closed files are drained: a file that is no longer than what was read holds nothing new, and one that goes
                // on after it may be the copy made before a truncation not noticed yet.
                let shorter = n > 0 && stat.size <= file.offset;
                if shorter && self.is_prefix_of_closed(handle, stat.size, &head, file) {
                    return Ok(Some((file.number, true)));
                }
                let is_blank = file.head.iter().chain(&file.tail).all(|&byte| byte == 0);
                if !is_blank && stat.size > file.offset && holds(&self.fs, handle, file) {
                    return Ok(Some((file.number, false)));
                }
                continue;
            };
            // Exchanged a moment ago: the next reading looks for this copy.
            let exchanged = same_head && n > 0 && !holds(&self.fs, open, file);
            if exchanged || self.is_prefix(handle, stat.size, &head, open)? {
                let nothing_new = stat.size <= file.offset && !is_hole;
                return Ok(Some((file.number, !exchanged || nothing_new)));
            }
        }
        Ok(None)
    }

    /// The same for one that is closed; where it cannot be opened any more its head decides, unless that is a hole.
    fn is_prefix_of_closed(
        &self,
        file: &S::File,
        size: u64,
        head: &[u8],
        other: &Followed<S::File>,
    ) -> bool {
        let opened = self.fs.open(&other.path).ok();
        let opened = opened.filter(|handle| holds(&self.fs, handle, other));
        match opened {
            Some(handle) => self
                .is_prefix(file, size, head, &handle)
                .is_ok_and(|is_prefix| is_prefix),
            None => head.iter().any(|&byte| byte != 0),
        }
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

    /// Closes what was rotated away and drained, and what was deleted too long ago.
    fn forget(&mut self, listed: &[Identity], round: &mut Round, emit: &mut impl FnMut(Line<'_>)) {
        let taken: BTreeSet<PathBuf> = self
            .files
            .iter()
            .filter(|f| f.gone_since.is_none())
            .map(|f| f.path.clone())
            .collect();
        let (now, config, fs) = (round.now, &self.config, &self.fs);
        let (mut lost, mut vanished) = (0, 0);
        self.files.retain_mut(|file| {
            let Some(gone) = file.gone_since else {
                return true;
            };
            let quiet = now.since(gone.max(file.active_at)) >= config.rotate_wait;
            let stat = file.file.as_ref().and_then(|handle| fs.stat(handle).ok());
            let done = match stat {
                // Closed: looked at by name, as long as there is one.
                None if file.is_drained() => now.since(gone) >= config.rotate_wait,
                None => now.since(gone) >= config.deleted_wait,
                Some(stat) => {
                    file.is_stale |= file.stat != stat;
                    file.stat = stat;
                    let deleted = stat.n_links == 0;
                    let followed_by =
                        !config_matches(&file.path, &self.patterns) || taken.contains(&file.path);
                    let drained = file.is_drained() && quiet;
                    drained && (deleted || followed_by)
                        || deleted && now.since(gone) >= config.deleted_wait
                }
            };
            if done {
                file.flush(&mut round.cut, emit);
                lost += file.lag();
                let id = identity(&file.stat);
                vanished += u64::from(stat.is_none() && listed.binary_search(&id).is_err());
            }
            !done
        });
        self.counters.bytes_lost += lost;
        self.counters.files_vanished += vanished;
    }

    /// Whether one more handle may be opened; reads those that are open to their end and closes the one that was quiet for
    /// longest. A file that must wait is looked at again in the next poll.
    fn make_room(&mut self, round: &mut Round, emit: &mut impl FnMut(Line<'_>)) -> bool {
        let has_room = |tailer: &mut Self| {
            tailer.n_open() < tailer.config.n_open_max || tailer.close_quietest()
        };
        if has_room(self) {
            return true;
        }
        if round.budget > 0 {
            self.read_all(round, emit);
            if has_room(self) {
                return true;
            }
        }
        self.counters.files_over_limit += 1;
        self.is_waiting = true;
        false
    }

    /// Where more files are wanted than may be remembered: forgets those changed longest ago, and says which of the listed
    /// are not to be followed. What was left out once is never new again.
    fn leave_out(&mut self, listed: &[Listed]) -> BTreeSet<(u64, u64)> {
        let known: BTreeSet<_> = self
            .files
            .iter()
            .map(|f| (f.stat.dev, f.stat.inode))
            .collect();
        let id = |stat: &Stat| (stat.dev, stat.inode);
        let wanted =
            |l: &&Listed| !known.contains(&id(&l.stat)) && config_matches(&l.path, &self.patterns);
        let fresh: Vec<Stat> = listed.iter().filter(wanted).map(|l| l.stat).collect();
        let n_over = (self.files.len() + fresh.len()).saturating_sub(self.config.n_files_max);
        if n_over == 0 {
            return BTreeSet::new();
        }
        let idle = |f: &&Followed<S::File>| f.is_drained() && f.gone_since.is_none();
        let idle = self.files.iter().filter(idle).map(|f| f.stat);
        let mut all: Vec<Stat> = fresh.iter().copied().chain(idle).collect();
        all.sort_by_key(|stat| (stat.modified_ns, id(stat)));
        all.truncate(n_over);
        let newest = all.last().map(|stat| stat.modified_ns);
        self.left_out_ns = self.left_out_ns.max(newest);
        self.counters.files_over_limit += all.len() as u64;
        let left_out: BTreeSet<_> = all.iter().map(id).collect();
        self.files.retain(|f| !left_out.contains(&id(&f.stat)));
        left_out
    }

    /// Closes the drained file that was quiet for longest; it is opened again when it grows.
    fn close_quietest(&mut self) -> bool {
        let quietest = self
            .files
            .iter_mut()
            .filter(|f| f.file.is_some() && f.gone_since.is_none() && f.is_drained())
            .min_by_key(|f| f.active_at);
        quietest.map(Followed::close).is_some()
    }
}

/// Device, inode, birth.
type Identity = (u64, u64, i64);

fn identity(stat: &Stat) -> Identity {
    (stat.dev, stat.inode, stat.born_ns)
}

fn config_matches(path: &Path, patterns: &[Scanned]) -> bool {
    patterns.iter().any(|p| p.pattern.matches(path))
}
