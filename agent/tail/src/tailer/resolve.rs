//! Finding the files of a checkpoint again: by inode, else as a copy, else compressed. (step 1)
//!
//! Invariant: a file of which nothing was read is not looked for by content.

use std::collections::BTreeMap;
use std::path::Path;

use super::exchange::is_older;
use super::*;

impl<S: FileSystem> Tailer<S> {
    /// Finds those that lay in a directory.
    pub(super) fn resolve(
        &mut self,
        directory: &Path,
        listed: &[Listed],
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) {
        let all = std::mem::take(&mut self.unresolved);
        let (here, elsewhere): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|saved| saved.path.parent() == Some(directory));
        self.unresolved = elsewhere;
        if here.is_empty() {
            return;
        }
        let by_inode: BTreeMap<_, _> = listed
            .iter()
            .map(|l| ((l.stat.dev, l.stat.inode), l))
            .collect();
        let mut gone = Vec::new();
        for saved in here {
            let same = by_inode.get(&(saved.dev, saved.inode));
            let same = same.filter(|l| l.stat.same_file(&saved.stat()));
            match same.and_then(|entry| self.open_saved(entry, &saved)) {
                Some((entry, handle)) => self.follow_saved(&saved, entry, handle, round, emit),
                None => gone.push(saved),
            }
        }
        // Copies only once every original that is still there has its file.
        for saved in gone {
            self.counters.files_vanished += 1;
            if saved.offset == 0 {
                continue;
            }
            let mut others: Vec<_> = listed.iter().collect();
            let itself = saved.stat();
            others.retain(|l| !l.stat.same_file(&itself) && !is_older(l.stat, saved.modified_ns));
            others.sort_by_key(|l| std::cmp::Reverse(l.stat.size));
            let found = others.iter().find_map(|l| self.open_saved(l, &saved));
            let copied = found.as_ref().map_or(0, |(l, _)| l.stat.size);
            self.next_number += 1;
            let number = FileNumber(self.next_number);
            if let Some(archive) = self.find_archive(listed, &saved, copied, number, round.now) {
                self.archives.push(archive);
            } else if let Some((entry, handle)) = found {
                self.counters.copies_found += 1;
                self.follow_saved(&saved, entry, handle, round, emit);
            }
        }
    }

    fn open_saved<'a>(&self, entry: &'a Listed, saved: &Saved) -> Option<(&'a Listed, S::File)> {
        if entry.stat.size < saved.offset || self.followed(entry.stat).is_some() {
            return None;
        }
        let handle = self.fs.open(&entry.path).ok()?;
        saved.is(&self.fs, &handle).then_some((entry, handle))
    }

    fn follow_saved(
        &mut self,
        saved: &Saved,
        entry: &Listed,
        handle: S::File,
        round: &mut Round,
        emit: &mut impl FnMut(Line<'_>),
    ) {
        let now = round.now;
        self.next_number += 1;
        let number = FileNumber(self.next_number);
        let mut file = Followed::new(number, entry.path.clone(), handle, entry.stat, now);
        if file.seek(&self.fs, saved.position).is_ok() {
            file.skipping = saved.skipping;
            file.known_ns = saved.modified_ns;
            let wanted = self.patterns.iter().any(|p| p.pattern.matches(&entry.path));
            file.gone_since = (!wanted).then_some(now);
            // What had been read is what tells the file from others: up to there at once, whatever the budget.
            let n_again = saved.offset - saved.position;
            let budget = std::mem::replace(&mut round.budget, n_again);
            if let Err(error) = file.read(&self.fs, round, emit) {
                self.failed(entry.path.clone(), &error);
            }
            round.budget = budget.saturating_sub(n_again - round.budget);
            // One that is wanted is opened again in its turn.
            if wanted && self.n_open() >= self.config.n_open_max {
                file.close();
            }
            self.files.push(file);
        }
    }
}
