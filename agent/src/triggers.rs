//! The agent's part in triggers: statements in, counts out to the aggregator. (steps 2, 5)
//!
//! In: statements the log tells of, what the aggregator wants counted. Out: what was counted, by the shipper's connection.
//! Invariants: TG-7 nothing waits for the network: what the shipper cannot take is dropped and counted, and told again
//! (`hsw_trigger::Participant`). TG-8 the end of a life tells every count. TG-9 what is counted for is remembered in a
//! file, so that the next life counts it from its first line on. Limits: 10,000 triggers, 64 lists
//! wait each way. Does not: know connections; survive a kill: lines read again after one may count twice.

mod memory;

use std::path::PathBuf;

use hsw_trigger::{Config, Down, Element, Participant, Patience, Up};
use hsw_types::{Monotonic, Statement};
use tokio::sync::mpsc;

use crate::clock::Clock;

/// Triggers counted for at a time; more are refused and counted.
const TRIGGERS_MAX: usize = 10_000;
/// Lists of messages that may wait, each way.
const LISTS_MAX: usize = 64;
/// Messages in a list, as many as a frame takes.
const LIST_MAX: usize = hsw_wire::TRIGGERS_MAX;

/// What there is to know of triggers here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Triggers counted for now.
    pub watched: u64,
    /// Triggers that were not taken: too many.
    pub refused: u64,
    /// Messages handed to the shipper.
    pub told: u64,
    /// Messages that found no room.
    pub dropped: u64,
    /// Messages of the aggregator.
    pub heard: u64,
}

/// What the shipper hears.
#[derive(Debug)]
pub enum Heard {
    /// A connection to an aggregator that knows triggers.
    Connected,
    /// What it says.
    Messages(Vec<Down>),
}

/// The shipper's end.
#[derive(Debug)]
pub struct Line {
    /// What to send.
    pub ups: mpsc::Receiver<Vec<Up>>,
    /// What was heard.
    pub heard: mpsc::Sender<Heard>,
}

impl Line {
    /// The next list to send; never, once nothing more comes.
    pub(crate) async fn next(&mut self) -> Vec<Up> {
        match self.ups.recv().await {
            Some(list) => list,
            None => std::future::pending().await,
        }
    }
}

/// The driver's end.
#[derive(Debug)]
pub struct Triggers {
    participant: Participant,
    out: Vec<Up>,
    ups: mpsc::Sender<Vec<Up>>,
    heard: mpsc::Receiver<Heard>,
    counts: Counts,
    /// Where it is remembered what is counted for.
    file: PathBuf,
    /// Of this life.
    epoch: u64,
    /// As of which change.
    n_kept: u64,
}

/// Both ends; the life that begins is known by the clock's microseconds. `file` remembers what the life before counted for.
#[must_use]
pub fn line(clock: Clock, file: PathBuf) -> (Triggers, Line) {
    let (remembered, last_epoch) = memory::read(&file);
    // A clock that went back must not make this life older than the last one.
    let epoch = clock
        .wall()
        .0
        .max(1)
        .cast_unsigned()
        .max(last_epoch.saturating_add(1));
    let config = Config {
        n_queries_max: TRIGGERS_MAX,
        ..Config::default()
    };
    let mut out = Vec::new();
    let mut participant =
        Participant::new(epoch, config, Patience::default(), clock.now(), &mut out);
    // Nobody is connected yet; the greeting goes out when somebody is.
    out.clear();
    for (query, question) in remembered {
        participant.remember(query, question);
    }
    if !participant.is_empty() {
        memory::write(&file, epoch, participant.questions());
    }
    let (ups, from_driver) = mpsc::channel(LISTS_MAX);
    let (to_driver, heard) = mpsc::channel(LISTS_MAX);
    let triggers = Triggers {
        participant,
        out,
        ups,
        heard,
        counts: Counts::default(),
        file,
        epoch,
        n_kept: 0,
    };
    let line = Line {
        ups: from_driver,
        heard: to_driver,
    };
    (triggers, line)
}

impl Triggers {
    /// What the aggregator says next; never, once the shipper is gone.
    pub(crate) async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    /// Counts statements; O(log triggers) each.
    pub(crate) fn add(&mut self, statements: &[Statement], now: Monotonic) {
        if self.participant.is_empty() {
            return;
        }
        for statement in statements {
            self.participant
                .add(&Element::from(statement), now, &mut self.out);
        }
        self.flush();
    }

    /// Does what the aggregator says.
    pub(crate) fn hear(&mut self, heard: Heard, now: Monotonic) {
        match heard {
            Heard::Connected => {
                let hello = self.participant.greet(now);
                self.out.push(hello);
            }
            Heard::Messages(messages) => {
                self.counts.heard += messages.len() as u64;
                for message in messages {
                    self.participant.hear(message, now, &mut self.out);
                }
            }
        }
        self.flush();
    }

    /// Lets time pass; once a second.
    pub(crate) fn tick(&mut self, now: Monotonic) {
        self.participant.tick(now, &mut self.out);
        self.flush();
        self.keep();
    }

    /// Writes down what is counted for, when that has changed.
    fn keep(&mut self) {
        let n_changes = self.participant.n_changes();
        if n_changes != self.n_kept {
            self.n_kept = n_changes;
            memory::write(&self.file, self.epoch, self.participant.questions());
        }
    }

    /// The life ends: everything that is counted is told.
    pub(crate) fn finish(&mut self) {
        self.participant.tell_all(&mut self.out);
        self.flush();
        self.keep();
    }

    /// As of now.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            watched: self.participant.len() as u64,
            refused: self.participant.n_refused(),
            ..self.counts
        }
    }

    fn flush(&mut self) {
        for list in self.out.chunks(LIST_MAX) {
            let n = list.len() as u64;
            match self.ups.try_send(list.to_vec()) {
                Ok(()) => self.counts.told += n,
                Err(_) => self.counts.dropped += n,
            }
        }
        self.out.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use hsw_trigger::{Measure, QueryId, Question, Range, Space, Weight, Why, key_of_f64};

    fn watch(epoch: u64, slack: u64) -> Down {
        let key = |ms: f64| key_of_f64(ms).unwrap();
        let range = Range {
            lo: key(100.0),
            hi: key(1_000.0),
        };
        let space = Space::new(&[Measure::LatencyMs], Weight::Count).unwrap();
        Down::Watch {
            query: QueryId(3),
            epoch,
            round: 1,
            slack,
            base: 0,
            question: Arc::new(Question::new(space, [None; 4], vec![range]).unwrap()),
        }
    }

    fn slow(ms: f64) -> Statement {
        Statement {
            latency_ms: Some(ms),
            ..Statement::default()
        }
    }

    #[test]
    fn statements_are_counted_signals_told_and_the_rest_at_the_end() {
        let now = Monotonic(5);
        let (mut triggers, mut line) = line(Clock::start(), PathBuf::new());
        triggers.add(&[slow(200.0)], now);
        triggers.hear(Heard::Connected, now);
        let Up::Hello { epoch } = line.ups.try_recv().unwrap()[0] else {
            panic!("no greeting");
        };
        triggers.hear(Heard::Messages(vec![watch(epoch, 3)]), now);
        triggers.add(&[slow(100.0), slow(99.0), slow(999.0), slow(1_000.0)], now);
        assert!(line.ups.try_recv().is_err(), "two of three");
        triggers.add(&[slow(150.0), slow(150.0)], now);
        let count = |list: Vec<Up>| match list[..] {
            [Up::Report { count, why, .. }] => (count, why),
            _ => panic!("{list:?}"),
        };
        assert_eq!(count(line.ups.try_recv().unwrap()), (3, Why::Signal));
        triggers.finish();
        assert_eq!(count(line.ups.try_recv().unwrap()), (4, Why::Signal));
        assert_eq!((triggers.counts().watched, triggers.counts().told), (1, 3));
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let now = Monotonic(5);
        let (mut triggers, _line) = line(Clock::start(), PathBuf::new());
        for _ in 0..LISTS_MAX + 2 {
            triggers.hear(Heard::Connected, now);
        }
        let counts = triggers.counts();
        assert_eq!((counts.told, counts.dropped), (LISTS_MAX as u64, 2));
    }
}
