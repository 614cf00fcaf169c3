//! Content that was exchanged under a followed name: where its unread rest lies. (step 1)
//!
//! Invariant: the rest is looked for in copies of the directory, then in its archives, and lost (and counted) only then.

use std::path::Path;

use super::*;

/// Archives opened when one is looked for; the newest first.
const N_ARCHIVES_MAX: usize = 64;

/// Copies and archives keep the time of the last change, some in whole seconds.
const TIMES_DIFFER_NS: i64 = 2_000_000_000;

impl<S: FileSystem> Tailer<S> {
    /// The file's content is not what was read: its unread rest lies in a copy, or is lost; the file starts anew.
    pub(super) fn exchanged(
        &mut self,
        at: usize,
        size_before: u64,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        self.counters.truncations += 1;
        let mut copy = self.find_copy(at)?;
        let copied = copy.as_ref().map_or(0, |(l, _)| l.stat.size);
        let archive = self.archive_of_exchanged(at, copied, round.now)?;
        if archive.is_some() {
            copy = None;
        }
        self.next_number += 1;
        let fresh = FileNumber(self.next_number);
        let file = &mut self.files[at];
        let handle = file.file.take();
        let anew = |handle| {
            let mut anew = Followed::new(fresh, file.path.clone(), handle, file.stat, round.now);
            anew.gone_since = file.gone_since;
            anew
        };
        let anew = handle.map(anew);
        match copy {
            Some((listed, copied)) => {
                // The unread rest comes before anything the exchanged file holds now.
                self.go_on_in_copy(at, listed, copied, round, emit)?;
                if let Some(anew) = anew {
                    // The caller goes on with the place that was exchanged.
                    let copied = std::mem::replace(&mut self.files[at], anew);
                    self.files.push(copied);
                }
            }
            None => {
                let found = archive.is_some();
                if !found {
                    file.flush(&mut round.cut, emit);
                    self.counters.bytes_lost += size_before.saturating_sub(file.offset);
                }
                self.archives.extend(archive);
                if let Some(anew) = anew {
                    self.files[at] = anew;
                }
            }
        }
        Ok(())
    }

    /// The file's rest is read from a copy of it.
    pub(super) fn go_on_in_copy(
        &mut self,
        at: usize,
        copy: Listed,
        handle: S::File,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        self.counters.copies_found += 1;
        if let Some(other) = self.followed(copy.stat).filter(|&other| other != at) {
            // Removed and closed long ago; its inode is the copy's now. The next scan forgets it.
            self.files[other].stat = Stat::default();
            self.files[other].gone_since = Some(round.now);
        }
        self.parked.retain(|p| !p.stat.same_file(&copy.stat));
        let matches = |p: &Scanned| p.pattern.matches(&copy.path);
        let wanted = self.patterns.iter().any(matches);
        let file = &mut self.files[at];
        file.gone_since = (!wanted).then_some(round.now);
        file.path = copy.path;
        file.stat = copy.stat;
        file.file = Some(handle);
        file.active_at = round.now;
        file.read(&self.fs, round, emit).map(|_| ())
    }

    /// Of closed files that are gone: what they got since they were closed may lie in a copy or an archive.
    pub(super) fn look_for_gone(
        &mut self,
        directory: &Path,
        listed: &[Listed],
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) {
        for at in (0..self.files.len()).rev() {
            let file = &self.files[at];
            let gone = file.file.is_none() && file.gone_since.is_some();
            if !gone || file.path.parent() != Some(directory) {
                continue;
            }
            if listed.iter().any(|l| l.stat.same_file(&file.stat)) {
                continue;
            }
            let (saved, number) = (Saved::of(file, None), file.number);
            let copy = self.find_copy(at).ok().flatten();
            let copied = copy.as_ref().map_or(0, |(l, _)| l.stat.size);
            if let Some(archive) = self.find_archive(listed, &saved, copied, number, round.now) {
                self.counters.files_vanished += 1;
                self.archives.push(archive);
                self.files.remove(at);
                continue;
            }
            // A copy may end before the original did.
            self.counters.files_vanished += u64::from(copy.is_some());
            if let Some((entry, handle)) = copy
                && let Err(error) = self.go_on_in_copy(at, entry, handle, round, emit)
            {
                self.failed(self.files[at].path.clone(), &error);
            }
        }
    }

    /// A name that no pattern wants: perhaps a closed file under its new one, which may have got a last line.
    pub(super) fn renamed_away(
        &mut self,
        entry: &Listed,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) -> io::Result<()> {
        let closed = |f: &Followed<S::File>| f.file.is_none() && f.stat.same_file(&entry.stat);
        let Some(file) = self.files.iter_mut().find(|f| closed(f)) else {
            return Ok(());
        };
        if file.stat == entry.stat && file.is_drained() {
            return Ok(());
        }
        let handle = self.fs.open(&entry.path)?;
        if holds(&self.fs, &handle, file) {
            file.stat = self.fs.stat(&handle)?;
            file.path.clone_from(&entry.path);
            file.file = Some(handle);
            let end = file.read(&self.fs, round, emit);
            file.close();
            end?;
        } else {
            // Another file with its inode: it is gone.
            (file.stat.dev, file.stat.inode) = (0, 0);
        }
        Ok(())
    }

    /// A file, not followed yet, that holds what was read of `files[at]` up to its offset.
    pub(super) fn find_copy(&self, at: usize) -> io::Result<Option<(Listed, S::File)>> {
        let file = &self.files[at];
        let Some(directory) = file.path.parent() else {
            return Ok(None);
        };
        let mut all = self.fs.list(directory)?;
        // The longest first: an older copy would end too early.
        all.sort_by_key(|l| std::cmp::Reverse(l.stat.size));
        for listed in all {
            // A closed file that changed may be another one by now, with the inode of a removed one.
            let known = self.followed(listed.stat).map(|other| &self.files[other]);
            let taken = known.is_some_and(|f| f.file.is_some() || f.stat == listed.stat)
                || listed.stat.same_file(&file.stat);
            let older = is_older(listed.stat, file.known_ns);
            if listed.stat.size < file.offset || file.offset == 0 || taken || older {
                continue;
            }
            let Ok(handle) = self.fs.open(&listed.path) else {
                continue;
            };
            if holds(&self.fs, &handle, file) {
                return Ok(Some((listed, handle)));
            }
        }
        Ok(None)
    }

    fn archive_of_exchanged(
        &mut self,
        at: usize,
        copied: u64,
        now: Monotonic,
    ) -> io::Result<Option<Unpacking<S::File>>> {
        let file = &self.files[at];
        let Some(directory) = file.path.parent() else {
            return Ok(None);
        };
        let (saved, number) = (Saved::of(file, None), file.number);
        let listed = self.fs.list(directory)?;
        Ok(self.find_archive(&listed, &saved, copied, number, now))
    }

    /// The archive of a file, where one of the listed is it and holds more than a copy of `copied` bytes.
    pub(super) fn find_archive(
        &mut self,
        listed: &[Listed],
        saved: &Saved,
        copied: u64,
        number: FileNumber,
        now: Monotonic,
    ) -> Option<Unpacking<S::File>> {
        let mut all: Vec<_> = listed.iter().filter(|l| is_archive(&l.path)).collect();
        // Packing keeps the time of the last change.
        all.sort_by_key(|l| std::cmp::Reverse(l.stat.modified_ns));
        let found = all.into_iter().take(N_ARCHIVES_MAX).find_map(|l| {
            let older = is_older(l.stat, saved.modified_ns);
            if older
                || self
                    .archives
                    .iter()
                    .any(|a| a.is_proven && a.stat.same_file(&l.stat))
            {
                return None;
            }
            let handle = self.fs.open(&l.path).ok()?;
            let archive = Unpacking::open(&self.fs, handle, saved, number, now)?;
            (archive.content_bytes > copied || copied == 0).then_some(archive)
        });
        self.counters.archives_found += u64::from(found.is_some());
        found
    }

    /// Reads on in archives; one that was read is kept for a while, so that a position of its last record can be told.
    pub(super) fn read_archives(&mut self, round: &mut Round, emit: &mut impl FnMut(Line<'_>)) {
        let mut archives = std::mem::take(&mut self.archives);
        archives.retain_mut(|archive| match archive.read(&self.fs, round, emit) {
            Ok(Unpacked::More) => true,
            Ok(Unpacked::Done) => {
                let done_at = archive.done_at.unwrap_or(round.now);
                round.now.since(done_at) < self.config.rotate_wait
            }
            Ok(Unpacked::Foreign) => {
                self.counters.archives_found -= 1;
                self.counters.files_vanished += 1;
                false
            }
            Err(error) => {
                // Torn or damaged: what it held from here on is lost.
                self.counters.bytes_lost += archive.lag();
                archive.file.flush(&mut round.cut, emit);
                self.failed(archive.file.path.clone(), &error);
                false
            }
        });
        self.archives = archives;
    }
}

/// Whether a file was last changed before another was seen to change, and so cannot hold what came after.
pub(super) fn is_older(stat: Stat, modified_ns: i64) -> bool {
    stat.modified_ns.saturating_add(TIMES_DIFFER_NS) < modified_ns
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
