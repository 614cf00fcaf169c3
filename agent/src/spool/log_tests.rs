//! The spool under a disk that fails at every point, and files that are cut or damaged at every byte.

use std::fs;
use std::path::Path;

use super::super::disk::Folder;
use super::*;

/// Fails the operations whose numbers `fails` holds for; a failing append leaves half of its bytes.
struct Faulty<F> {
    folder: Folder,
    n: u64,
    fails: F,
    /// A full disk can still remove files; a broken one cannot.
    can_remove: bool,
}

impl<F: Fn(u64) -> bool + Send> Faulty<F> {
    fn step(&mut self) -> io::Result<()> {
        self.n += 1;
        if (self.fails)(self.n) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl<F: Fn(u64) -> bool + Send> Disk for Faulty<F> {
    fn names(&mut self) -> io::Result<Vec<String>> {
        self.folder.names()
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.folder.read(name)
    }
    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.folder.read_at(name, offset, into)
    }
    fn append(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        if let Err(why) = self.step() {
            // Sometimes half of it, sometimes all of it (a failed fsync) is there nevertheless.
            let n = if self.n.is_multiple_of(2) {
                bytes.len()
            } else {
                bytes.len() / 2
            };
            self.folder.append(name, &bytes[..n], false)?;
            return Err(why);
        }
        // Hundreds of runs: what the real disk would be asked to wait for is not asked.
        let _ = sync;
        self.folder.append(name, bytes, false)
    }
    fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.step()?;
        self.folder.truncate(name, bytes)
    }
    fn replace(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.step()?;
        let _ = sync;
        self.folder.replace(name, bytes, false)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        if !self.can_remove {
            self.step()?;
        }
        self.folder.remove(name)
    }
}

fn config() -> Config {
    Config {
        bytes_max: 1 << 20,
        segment_bytes: 400,
        fsync: true,
    }
}

fn open(path: &Path) -> Log<Folder> {
    Log::open(Folder::open(path).unwrap(), config()).unwrap()
}

fn payload(window: i64) -> Vec<u8> {
    vec![window as u8; 60]
}

fn append<D: Disk>(log: &mut Log<D>, window: i64) -> Sequence {
    log.append(
        WindowIndex(window),
        payload(window),
        Some(vec![window as u8]),
    )
}

/// Every summary the spool still gives out, by number, with its windows' mark.
fn drain<D: Disk>(log: &mut Log<D>, mut after: Sequence) -> Vec<(u64, u8)> {
    let mut found = Vec::new();
    while let Some((sequence, payload)) = log.next(after) {
        assert!(sequence > after);
        found.push((sequence.0, payload[0]));
        after = sequence;
    }
    found
}

#[test]
fn a_killed_spool_comes_back_with_everything_and_goes_on_counting() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let incarnation = log.state().incarnation;
    for window in 1..=10 {
        append(&mut log, window);
    }
    log.release(Sequence(4));
    drop(log);
    let mut log = open(dir.path());
    assert_eq!(log.state().incarnation, incarnation);
    assert_eq!(log.state().newest, Sequence(10));
    assert_eq!(log.recovered().last_window, Some(WindowIndex(10)));
    assert_eq!(log.recovered().checkpoint, Some(vec![10]));
    assert_eq!(append(&mut log, 11), Sequence(11));
    let expected: Vec<_> = (5..=11).map(|n| (n, n as u8)).collect();
    assert_eq!(drain(&mut log, Sequence(4)), expected);
}

#[test]
fn an_acknowledged_spool_keeps_its_numbers_window_and_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for window in 1..=20 {
        append(&mut log, window);
    }
    log.release(Sequence(20));
    assert_eq!(log.state().unacked_summaries, 0);
    log.close();
    drop(log);
    let mut log = open(dir.path());
    assert_eq!(log.state().acked, Sequence(20));
    assert_eq!(log.recovered().last_window, Some(WindowIndex(20)));
    assert_eq!(log.recovered().checkpoint, Some(vec![20]));
    assert_eq!(append(&mut log, 21), Sequence(21));
    assert!(log.segments.len() <= 2, "old segments are gone");
}

#[test]
fn a_record_torn_at_any_byte_is_cut_off_and_its_number_never_reused_under_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, 1);
    let whole = log.segments[0].bytes as usize;
    append(&mut log, 2);
    let incarnation = log.state().incarnation;
    let path = dir.path().join(&log.segments[0].name);
    drop(log);
    let bytes = fs::read(&path).unwrap();
    for cut in whole..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        fs::remove_file(dir.path().join(META)).unwrap();
        fs::write(dir.path().join(META), numbers_bytes(&[incarnation.0], None)).unwrap();
        let mut log = open(dir.path());
        let is_torn = cut > whole;
        assert_eq!(log.state().torn, u64::from(is_torn), "cut at {cut}");
        assert_eq!(log.state().incarnation != incarnation, is_torn);
        append(&mut log, 3);
        assert_eq!(
            drain(&mut log, Sequence(0)),
            [(1, 1), (2, 3)],
            "cut at {cut}"
        );
        drop(log);
        assert_eq!(open(dir.path()).state().torn, 0, "cut at {cut}");
    }
}

#[test]
fn a_damaged_record_in_the_middle_is_passed_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for window in 1..=3 {
        append(&mut log, window);
    }
    let path = dir.path().join(&log.segments[0].name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    // Both while it runs and after a restart.
    assert_eq!(drain(&mut log, Sequence(0)), [(1, 1), (3, 3)]);
    assert_eq!(log.state().damaged, 1);
    drop(log);
    let mut log = open(dir.path());
    assert_eq!(log.state().damaged, 1);
    assert_eq!(drain(&mut log, Sequence(0)), [(1, 1), (3, 3)]);
}

#[test]
fn a_full_spool_drops_its_oldest_segment_and_counts_what_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Config {
        bytes_max: 1200,
        ..config()
    };
    let mut log = Log::open(Folder::open(dir.path()).unwrap(), limits).unwrap();
    for window in 1..=40 {
        append(&mut log, window);
    }
    let kept = drain(&mut log, Sequence(0));
    assert_eq!(log.state().dropped + kept.len() as u64, 40);
    assert!(log.bytes_on_disk() <= 1200 && kept.len() >= 8);
    assert_eq!(kept.last(), Some(&(40, 40)));
    assert_eq!(log.state().unacked_summaries, kept.len() as u64);
}

#[test]
fn a_full_disk_keeps_summaries_in_memory_under_a_new_name_until_it_writes_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty {
        folder: Folder::open(dir.path()).unwrap(),
        n: 0,
        fails: |n| (6..700).contains(&n),
        can_remove: true,
    };
    let mut log = Log::open(disk, config()).unwrap();
    let before = log.state().incarnation;
    for window in 1..=4 {
        append(&mut log, window);
    }
    assert_eq!(log.state().incarnation, before);
    for window in 5..=300 {
        append(&mut log, window);
    }
    let during = log.state().clone();
    assert_ne!(during.incarnation, before);
    assert_eq!(during.in_memory, N_IN_MEMORY_MAX as u64);
    assert_eq!(during.dropped, 40, "296 in memory, 256 fit");
    assert!(during.last_error.is_some());
    assert_eq!(log.next(Sequence(5)).unwrap().0, Sequence(45));
    log.disk.n = 1000;
    append(&mut log, 301);
    assert_eq!((log.state().in_memory, &log.state().last_error), (0, &None));
    drop(log);
    let mut log = open(dir.path());
    assert_eq!(
        log.state().incarnation,
        during.incarnation,
        "safe again, so it was written"
    );
    assert_eq!(drain(&mut log, Sequence(4)).len(), 257);
}

/// Appends, releases and restarts with the k-th write failing, for every k: what was durable is there afterwards, in
/// order and once, and a number never means two summaries under one incarnation.
#[test]
fn whichever_write_fails_nothing_durable_is_lost_and_no_number_means_two_things() {
    for k in 1..60u64 {
        for length in [1u64, 3] {
            let dir = tempfile::tempdir().unwrap();
            let mut shipped = std::collections::BTreeMap::new();
            let disk = Faulty {
                folder: Folder::open(dir.path()).unwrap(),
                n: 0,
                fails: move |n| (k..k + length).contains(&n),
                can_remove: false,
            };
            let mut log = Log::open(disk, config()).unwrap();
            for window in 1..=20i64 {
                append(&mut log, window);
                if window == 10 {
                    log.release(Sequence(6));
                }
                // A shipper sends whatever the spool gives out, under the name in force.
                for (sequence, mark) in drain(&mut log, Sequence(6)) {
                    let earlier = shipped.insert((log.state().incarnation, sequence), mark);
                    assert!(earlier.is_none_or(|m| m == mark), "k {k}");
                }
            }
            let durable: Vec<_> = log
                .segments
                .iter()
                .flat_map(|s| s.slots.iter().map(|slot| slot.sequence.0))
                .filter(|s| *s > 6)
                .collect();
            drop(log);

            let mut log = open(dir.path());
            let found = drain(&mut log, Sequence(6));
            for sequence in durable {
                assert!(
                    found.contains(&(sequence, sequence as u8)),
                    "k {k}: {sequence}"
                );
            }
            for window in 21..=25 {
                append(&mut log, window);
            }
            for (sequence, mark) in drain(&mut log, Sequence(6)) {
                let earlier = shipped.insert((log.state().incarnation, sequence), mark);
                assert!(
                    earlier.is_none_or(|m| m == mark),
                    "k {k}: {sequence} reused"
                );
            }
        }
    }
}

#[test]
fn without_fsync_each_start_has_a_new_name() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Config {
        fsync: false,
        ..config()
    };
    let first = Log::open(Folder::open(dir.path()).unwrap(), limits.clone()).unwrap();
    let before = first.state().incarnation;
    drop(first);
    let second = Log::open(Folder::open(dir.path()).unwrap(), limits).unwrap();
    assert_ne!(second.state().incarnation, before);
}

/// Takes no more data, but lets small files be replaced.
struct Full {
    folder: Folder,
    is_full: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Disk for Full {
    fn names(&mut self) -> io::Result<Vec<String>> {
        self.folder.names()
    }
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.folder.read(name)
    }
    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.folder.read_at(name, offset, into)
    }
    fn append(&mut self, name: &str, bytes: &[u8], _sync: bool) -> io::Result<()> {
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.folder.append(name, bytes, false)
    }
    fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.folder.truncate(name, bytes)
    }
    fn replace(&mut self, name: &str, bytes: &[u8], _sync: bool) -> io::Result<()> {
        self.folder.replace(name, bytes, false)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
}

#[test]
fn a_log_position_is_not_told_before_its_summary_is_safe() {
    let dir = tempfile::tempdir().unwrap();
    let is_full = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let full = || Full {
        folder: Folder::open(dir.path()).unwrap(),
        is_full: std::sync::Arc::clone(&is_full),
    };
    let mut log = Log::open(full(), config()).unwrap();
    append(&mut log, 1);
    append(&mut log, 2);
    is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    append(&mut log, 3);
    append(&mut log, 4);
    assert_eq!(log.state().in_memory, 2);
    log.release(Sequence(1));
    assert!(
        log.write_position(true),
        "small files can still be replaced"
    );
    drop(log);
    let log = Log::open(full(), config()).unwrap();
    assert_eq!(log.recovered().checkpoint, Some(vec![2]));
    drop(log);
    // Once the aggregator has them, they are safe.
    let mut log = Log::open(full(), config()).unwrap();
    append(&mut log, 5);
    let newest = append(&mut log, 6);
    log.release(newest);
    assert_eq!(log.recovered().checkpoint, Some(vec![6]));
}

#[test]
fn the_position_of_thousands_of_files_is_kept_and_waits_only_once_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let large = vec![b'x'; 1 << 20];
    log.append(WindowIndex(1), payload(1), Some(large.clone()));
    drop(log);
    assert_eq!(open(dir.path()).recovered().checkpoint, Some(large.clone()));
    let is_full = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let folder = Folder::open(dir.path()).unwrap();
    let mut log = Log::open(Full { folder, is_full }, config()).unwrap();
    for window in 2..50 {
        log.append(WindowIndex(window), payload(window), Some(large.clone()));
    }
    let waiting = log.memory.iter().filter(|r| r.checkpoint.is_some());
    assert_eq!(waiting.count(), 1);
}
