//! Recording what the engine is told while it is told. (steps 8–13)
//!
//! In: the engine's inputs, from the driver. Out: entries, for whoever asked to record.
//! Invariants: RD-1 a recording never holds the driver up: one that does not keep up ends, and says so. RD-2 it begins with what the
//! store received shortly before, as a start of the aggregator would. Limits: `QUEUE` entries wait, `TAPS_MAX` recordings
//! at a time. Does not: write files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hsw_engine::{Config, Input, ShardMap};
use hsw_recording::{Entry, Header};
use hsw_types::{Monotonic, WallTime};
use tokio::sync::{mpsc, oneshot};

use crate::shared::{DriverHandle, Question, Unanswered};

/// Entries that may wait for whoever writes them: a few seconds of two thousand agents.
const QUEUE: usize = 8_192;
/// Recordings at a time.
const TAPS_MAX: usize = 4;

/// Entry and its moment of timer time.
pub type Noted = (Monotonic, Entry);

/// A recording that has begun.
#[derive(Debug)]
pub struct Tapped {
    /// How it begins.
    pub header: Header,
    /// When, by timer and by clock.
    pub began: (Monotonic, WallTime),
    /// What comes; ends when it could not be kept up with.
    pub entries: mpsc::Receiver<Noted>,
    /// Entries that found no room.
    pub lost: Arc<AtomicU64>,
}

/// Whoever records.
#[derive(Debug, Default)]
pub(crate) struct Taps(Vec<(mpsc::Sender<Noted>, Arc<AtomicU64>)>);

/// The header of a recording of this engine.
pub(crate) fn header(cluster: &str, config: &Config, map: &ShardMap) -> Header {
    Header::new(env!("CARGO_PKG_VERSION"), cluster, config.clone(), map)
}

impl Taps {
    /// Another one; the oldest ends when there are too many.
    pub(crate) fn begin(&mut self, header: Header, now: Monotonic, wall: WallTime) -> Tapped {
        self.0.retain(|(sender, _)| !sender.is_closed());
        if self.0.len() >= TAPS_MAX {
            self.0.remove(0);
        }
        let (sender, entries) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        self.0.push((sender, Arc::clone(&lost)));
        Tapped {
            header,
            began: (now, wall),
            entries,
            lost,
        }
    }

    /// Keeps what the engine is about to be told.
    pub(crate) fn note(&mut self, now: Monotonic, input: &Input) {
        if self.0.is_empty() {
            return;
        }
        let Some(entry) = Entry::of(input) else {
            return;
        };
        self.0.retain(|(sender, lost)| {
            let has_room = sender.try_send((now, entry.clone())).is_ok();
            if !has_room && !sender.is_closed() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
            has_room
        });
    }
}

impl DriverHandle {
    /// Records from now on.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn record(&self) -> Result<Tapped, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Record { reply })?;
        answer.await.map_err(|_| Unanswered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_keep_up_ends_and_is_told_and_nobody_else_feels_it() {
        let mut taps = Taps::default();
        let map = ShardMap::new(Vec::new(), true).unwrap();
        let begin = |taps: &mut Taps| {
            let header = header("main", &Config::default(), &map);
            taps.begin(header, Monotonic(1), WallTime(2))
        };
        let mut slow = begin(&mut taps);
        let clock = Input::Clock { wall: WallTime(3) };
        for n in 0..QUEUE as u64 {
            taps.note(Monotonic(n), &clock);
        }
        let mut quick = begin(&mut taps);
        taps.note(Monotonic(9), &clock);
        assert_eq!(slow.lost.load(Ordering::Relaxed), 1);
        let mut n = 0;
        while slow.entries.try_recv().is_ok() {
            n += 1;
        }
        assert_eq!(n, QUEUE);
        assert!(slow.entries.try_recv() == Err(mpsc::error::TryRecvError::Disconnected));
        let noted = (Monotonic(9), Entry::Clock { wall: WallTime(3) });
        assert_eq!(quick.entries.try_recv(), Ok(noted));
    }
}
