//! The spool itself: segments of records, recovery, and what to do when the disk says no. (step 5)
//!
//! In: summaries in order. Out: the same, after any crash, until they are acknowledged.
//! Invariants: SP-1 with `fsync`, what was appended survives kill -9. SP-2 a number is never used for two summaries of
//! one incarnation: whenever recovery cannot be sure of that (torn or damaged records, no fsync), and whenever summaries
//! are kept in memory alone, the incarnation is a new one. SP-3 what is dropped is counted. SP-5 a log position is told to a
//! restart only once the summary it came with is on disk or was acknowledged.
//! Limits: `bytes_max` on disk, [`N_IN_MEMORY_MAX`] summaries in memory when the disk refuses.
//! Does not: know connections (see `shipper`) or threads (see `spool`).

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;

use hsw_types::{Incarnation, Sequence, WindowIndex};

use super::disk::Disk;
use super::record::{CHECKPOINT_BYTES_MAX, Record, scan};
use super::{Config, State};

/// Summaries kept in memory while the disk refuses; beyond it the oldest is dropped.
pub(crate) const N_IN_MEMORY_MAX: usize = 256;

const META: &str = "meta";
const POSITION: &str = "position";
/// The position is written after this many acknowledged summaries; an older one only means that some are sent again.
const N_RELEASES_PER_WRITE: u32 = 32;

/// What a restart begins from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Last window that is in the spool or was acknowledged.
    pub last_window: Option<WindowIndex>,
    /// The newest log position that is covered by summaries.
    pub checkpoint: Option<Vec<u8>>,
}

/// Where a record lies; its segment keeps them in order.
#[derive(Debug)]
struct Slot {
    sequence: Sequence,
    offset: u32,
    bytes: u32,
}

#[derive(Debug)]
struct Segment {
    name: String,
    bytes: u64,
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
pub(crate) struct Log<D> {
    disk: D,
    config: Config,
    segments: VecDeque<Segment>,
    /// Summaries the disk refused, oldest first; newer than everything on disk.
    memory: VecDeque<Record>,
    /// The newest segment must not be appended to: its end is not known.
    is_sealed: bool,
    /// The incarnation in force is not the one on disk.
    is_meta_stale: bool,
    n_releases: u32,
    recovered: Recovered,
    state: State,
    buffer: Vec<u8>,
}

impl<D: Disk> Log<D> {
    /// Recovers what the folder holds.
    pub(crate) fn open(mut disk: D, config: Config) -> io::Result<Self> {
        let meta = read_numbers(&mut disk, META, 1)?;
        let position = read_numbers(&mut disk, POSITION, 4)?;
        let checkpoint = position.as_ref().and_then(|(_, tail)| tail.clone());
        let numbers = position.map_or_else(|| vec![0, 0, 0, i64::MIN.cast_unsigned()], |(n, _)| n);
        let mut log = Self {
            disk,
            config,
            segments: VecDeque::new(),
            memory: VecDeque::new(),
            is_sealed: false,
            is_meta_stale: false,
            n_releases: 0,
            recovered: Recovered {
                last_window: Some(WindowIndex(numbers[3].cast_signed()))
                    .filter(|w| w.0 != i64::MIN),
                checkpoint,
            },
            state: State {
                acked: Sequence(numbers[0]),
                dropped: numbers[1],
                newest: Sequence(numbers[2].max(numbers[0])),
                ..State::default()
            },
            buffer: Vec::new(),
        };
        log.recover_segments()?;
        let known = meta.map_or(0, |(numbers, _)| numbers[0]);
        log.state.incarnation = Incarnation(known);
        let is_sure = known != 0 && log.config.fsync && log.state.torn + log.state.damaged == 0;
        if !is_sure {
            log.renew();
            log.write_meta();
        }
        log.measure();
        Ok(log)
    }

    pub(crate) fn recovered(&self) -> Recovered {
        self.recovered.clone()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Takes a summary and gives its number; on disk when the disk allows, else in memory.
    pub(crate) fn append(
        &mut self,
        last_window: WindowIndex,
        payload: Vec<u8>,
        checkpoint: Option<Vec<u8>>,
    ) -> Sequence {
        let sequence = self.state.newest.next();
        self.state.newest = sequence;
        self.recovered.last_window = Some(last_window);
        let n_bytes = checkpoint.as_ref().map_or(0, Vec::len);
        if n_bytes > CHECKPOINT_BYTES_MAX {
            tracing::error!(
                n_bytes,
                "log position is too large to be kept, a restart reads log lines again: follow fewer files, see `paths` in [log]"
            );
        }
        let checkpoint = checkpoint.filter(|c| c.len() <= CHECKPOINT_BYTES_MAX);
        if checkpoint.is_some() {
            // The newest is enough; a disk that refuses for long must not gather them in memory.
            for waiting in &mut self.memory {
                waiting.checkpoint = None;
            }
        }
        self.memory.push_back(Record {
            sequence,
            last_window,
            payload,
            checkpoint,
        });
        self.flush();
        if self.memory.len() > N_IN_MEMORY_MAX
            && let Some(oldest) = self.memory.pop_front()
        {
            tracing::debug!(sequence = oldest.sequence.0, "summary dropped from memory");
            self.state.dropped += 1;
        }
        self.measure();
        sequence
    }

    /// Tries to bring what is in memory to disk.
    pub(crate) fn flush(&mut self) {
        while let Some(record) = self.memory.pop_front() {
            if let Err(why) = self.write(&record) {
                self.state.write_errors += 1;
                self.state.last_error = Some(why.to_string());
                self.memory.push_front(record);
                if !self.is_meta_stale {
                    // From here on numbers may be sent that no restart would know of (SP-2).
                    self.renew();
                }
                return;
            }
            self.covers(record.checkpoint);
        }
        if self.is_meta_stale {
            self.write_meta();
        }
        if !self.is_meta_stale {
            self.state.last_error = None;
        }
    }

    /// The first summary behind `after`.
    pub(crate) fn next(&mut self, after: Sequence) -> Option<(Sequence, Vec<u8>)> {
        while let Some((at, slot_at)) = self.find(after) {
            let segment = &self.segments[at];
            let slot = &segment.slots[slot_at];
            self.buffer.resize(slot.bytes as usize, 0);
            let outcome =
                self.disk
                    .read_at(&segment.name, u64::from(slot.offset), &mut self.buffer);
            let record = outcome.ok().and_then(|()| Record::decode(&self.buffer));
            match record {
                Some((record, _)) if record.sequence == slot.sequence => {
                    return Some((record.sequence, record.payload));
                }
                _ => {
                    self.state.damaged += 1;
                    self.segments[at].slots.remove(slot_at);
                }
            }
        }
        let record = self.memory.iter().find(|r| r.sequence > after)?;
        Some((record.sequence, record.payload.clone()))
    }

    /// Everything up to here is at the aggregator.
    pub(crate) fn release(&mut self, acked: Sequence) {
        if acked <= self.state.acked {
            return;
        }
        self.state.acked = acked.min(self.state.newest);
        while let Some(record) = self.memory.pop_front_if(|r| r.sequence <= acked) {
            self.covers(record.checkpoint);
        }
        self.n_releases += 1;
        let is_done = |s: &Segment| s.slots.back().is_none_or(|slot| slot.sequence <= acked);
        if self.segments.len() > 1 && is_done(&self.segments[0]) {
            // The position first: it holds what the removed records would have told a restart.
            if self.write_position(true) {
                while self.segments.len() > 1 && is_done(&self.segments[0]) {
                    self.remove_oldest();
                }
            }
        } else if self.n_releases >= N_RELEASES_PER_WRITE {
            self.write_position(false);
        }
        self.measure();
    }

    /// A new incarnation, because the peer knows numbers that this spool never gave out.
    pub(crate) fn renew_for_peer(&mut self) {
        self.renew();
        self.write_meta();
    }

    /// Brings everything to disk; at shutdown.
    pub(crate) fn close(&mut self) {
        self.flush();
        self.write_position(true);
    }

    /// A summary is safe, on disk or at the aggregator: only now is its log position (SP-5).
    fn covers(&mut self, checkpoint: Option<Vec<u8>>) {
        if checkpoint.is_some() {
            self.recovered.checkpoint = checkpoint;
        }
    }

    fn recover_segments(&mut self) -> io::Result<()> {
        let mut names: Vec<String> = self.disk.names()?;
        names.retain(|n| n.starts_with("segment-"));
        names.sort();
        let n_names = names.len();
        let mut last = Sequence(0);
        for (i, name) in names.into_iter().enumerate() {
            let bytes = self.disk.read(&name)?;
            let (records, damaged, good_end) = scan(&bytes);
            self.state.damaged += damaged;
            if good_end < bytes.len() as u64 {
                self.state.torn += 1;
                if i + 1 == n_names && self.disk.truncate(&name, good_end).is_err() {
                    self.is_sealed = true;
                }
            }
            let mut slots = VecDeque::with_capacity(records.len());
            for (record, offset, bytes) in records {
                // A record whose fsync failed was written once more: the second one has a number seen before.
                if record.sequence <= last {
                    continue;
                }
                last = record.sequence;
                self.state.newest = self.state.newest.max(record.sequence);
                self.recovered.last_window =
                    self.recovered.last_window.max(Some(record.last_window));
                if record.checkpoint.is_some() {
                    self.recovered.checkpoint = record.checkpoint;
                }
                slots.push_back(Slot {
                    sequence: record.sequence,
                    offset: u32::try_from(offset).unwrap_or(u32::MAX),
                    bytes,
                });
            }
            self.segments.push_back(Segment {
                name,
                bytes: good_end,
                slots,
            });
        }
        Ok(())
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.buffer);
        record.encode(&mut bytes);
        let outcome = self.write_bytes(record.sequence, &bytes);
        self.buffer = bytes;
        outcome
    }

    fn write_bytes(&mut self, sequence: Sequence, bytes: &[u8]) -> io::Result<()> {
        let n = bytes.len() as u64;
        while !self.segments.is_empty() && self.bytes_on_disk() + n > self.config.bytes_max {
            self.drop_oldest();
        }
        let is_fresh_needed = self.is_sealed
            || self
                .segments
                .back()
                .is_none_or(|s| s.bytes + n > self.config.segment_bytes);
        if is_fresh_needed {
            // Only a disk that lets files be made and not be removed gets here.
            let n_segments_max = self.config.bytes_max / self.config.segment_bytes + 64;
            if self.segments.len() as u64 > n_segments_max {
                return Err(io::Error::other("too many leftover files in the spool"));
            }
            self.segments.push_back(Segment {
                // The errors so far tell a second attempt's file from a first one that could not be removed.
                name: format!(
                    "segment-{:016x}-{:08x}",
                    sequence.0, self.state.write_errors
                ),
                bytes: 0,
                slots: VecDeque::new(),
            });
            self.is_sealed = false;
        }
        let fsync = self.config.fsync;
        let Some(segment) = self.segments.back_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(why) = self.disk.append(&segment.name, bytes, fsync) {
            if segment.slots.is_empty() {
                if self.disk.remove(&segment.name).is_ok() {
                    self.segments.pop_back();
                } else {
                    self.is_sealed = true;
                }
            } else if self.disk.truncate(&segment.name, segment.bytes).is_err() {
                self.is_sealed = true;
            }
            return Err(why);
        }
        segment.slots.push_back(Slot {
            sequence,
            offset: u32::try_from(segment.bytes).unwrap_or(u32::MAX),
            bytes: u32::try_from(n).unwrap_or(u32::MAX),
        });
        segment.bytes += n;
        Ok(())
    }

    fn drop_oldest(&mut self) {
        let acked = self.state.acked;
        let Some(oldest) = self.segments.front() else {
            return;
        };
        let unacked = oldest.slots.iter().filter(|s| s.sequence > acked).count();
        self.state.dropped += unacked as u64;
        self.write_position(true);
        self.remove_oldest();
    }

    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.segments.pop_front()
            && self.disk.remove(&oldest.name).is_err()
        {
            // It stays on disk and is found at the next start, where its acknowledged records are passed over.
            self.state.write_errors += 1;
        }
    }

    fn renew(&mut self) {
        self.state.incarnation = fresh_incarnation();
        self.state.incarnations_renewed += 1;
        self.is_meta_stale = true;
    }

    /// Only an incarnation whose every number is on disk may be written down (SP-2).
    fn write_meta(&mut self) {
        if !self.memory.is_empty() {
            return;
        }
        let bytes = numbers_bytes(&[self.state.incarnation.0], None);
        match self.disk.replace(META, &bytes, true) {
            Ok(()) => self.is_meta_stale = false,
            Err(why) => {
                self.state.write_errors += 1;
                self.state.last_error = Some(why.to_string());
            }
        }
    }

    fn write_position(&mut self, sync: bool) -> bool {
        let window = self.recovered.last_window.map_or(i64::MIN, |w| w.0);
        let numbers = [
            self.state.acked.0,
            self.state.dropped,
            self.state.newest.0,
            window.cast_unsigned(),
        ];
        let bytes = numbers_bytes(&numbers, self.recovered.checkpoint.as_deref());
        let outcome = self.disk.replace(POSITION, &bytes, sync);
        self.n_releases = 0;
        if let Err(why) = &outcome {
            self.state.write_errors += 1;
            self.state.last_error = Some(why.to_string());
        }
        outcome.is_ok()
    }

    fn bytes_on_disk(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    /// Segment and place of the first record behind `after`.
    fn find(&self, after: Sequence) -> Option<(usize, usize)> {
        let at = self
            .segments
            .iter()
            .position(|s| s.slots.back().is_some_and(|slot| slot.sequence > after))?;
        let slots = &self.segments[at].slots;
        Some((at, slots.partition_point(|s| s.sequence <= after)))
    }

    fn measure(&mut self) {
        let acked = self.state.acked;
        let mut summaries = self.memory.len() as u64;
        let mut bytes: u64 = self.memory.iter().map(|r| r.payload.len() as u64).sum();
        for segment in &self.segments {
            let first = segment.slots.partition_point(|s| s.sequence <= acked);
            summaries += (segment.slots.len() - first) as u64;
            bytes += segment
                .slots
                .get(first)
                .map_or(0, |slot| segment.bytes - u64::from(slot.offset));
        }
        self.state.unacked_summaries = summaries;
        self.state.unacked_bytes = bytes;
        self.state.in_memory = self.memory.len() as u64;
    }
}

/// Numbers and what follows them.
type Numbers = (Vec<u64>, Option<Vec<u8>>);

/// A small file of numbers, a checksum in front and a tail of bytes; `None` when absent or damaged.
fn read_numbers<D: Disk>(disk: &mut D, name: &str, n: usize) -> io::Result<Option<Numbers>> {
    let bytes = match disk.read(name) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    let Some((crc, body)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let fixed = n * 8;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) || body.len() < fixed {
        return Ok(None);
    }
    let (numbers, tail) = body.split_at(fixed);
    let numbers = numbers
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes(c.try_into().unwrap_or_default()))
        .collect();
    Ok(Some((numbers, (!tail.is_empty()).then(|| tail.to_vec()))))
}

fn numbers_bytes(numbers: &[u64], tail: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(tail.unwrap_or_default());
    let crc = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Random and not 0; the standard library's hasher keys come from the operating system's randomness.
fn fresh_incarnation() -> Incarnation {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    Incarnation(hasher.finish().max(1))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
