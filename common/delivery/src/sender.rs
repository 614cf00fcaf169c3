//! The sending half: what to send next, what may be freed, when to give up on a connection. (step 5)
//!
//! In: what the spool holds, what the connection says. Out: send what follows a sequence, free up to one, reconnect.
//! Invariants: SE-1 nothing beyond the acknowledged position is freed. SE-2 after a reconnect sending goes on right
//! behind the acknowledged position. SE-3 at most `n_in_flight_max` sequences are unacknowledged.
//! Does not: hold payloads (the spool does), know frames.

use std::time::Duration;

use hsw_types::{Monotonic, Sequence};

/// Limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Sequences sent and not acknowledged; 32 by default. Smaller throttles catching up, larger costs memory.
    pub n_in_flight_max: u64,
    /// Without any acknowledgement for this long while some is due, the connection is given up; 30 s by default.
    pub ack_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            n_in_flight_max: 32,
            ack_timeout: Duration::from_secs(30),
        }
    }
}

/// What the sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The spool holds everything up to this sequence.
    Appended(Sequence),
    /// The peer welcomed us and has committed this much of our incarnation.
    Connected {
        /// 0 for none.
        last: Sequence,
    },
    /// The connection is gone.
    Disconnected,
    /// [`Output::Send`] was done: this is the sequence that went out.
    Sent(Sequence),
    /// [`Output::Send`] found nothing behind the sequence it was given.
    NothingToSend,
    /// The peer committed everything up to this sequence.
    Acked(Sequence),
    /// Time has passed; due at [`Sender::poll_timeout`].
    Timeout,
}

/// What the shell must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Send the first summary behind this sequence, then say [`Input::Sent`] or [`Input::NothingToSend`].
    Send {
        /// The spool may have gaps, so the next number is the spool's to tell.
        after: Sequence,
    },
    /// Everything up to this sequence may be freed.
    Release(Sequence),
    /// No acknowledgement came in time: close the connection and open another.
    Reconnect,
    /// The peer has committed sequences this spool never wrote, so it was set back (a restored backup, a lost disk):
    /// begin a new incarnation, then connect again. Going on would lose whatever reuses those numbers.
    Diverged,
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Summaries sent, repeats included.
    pub sent: u64,
    /// Sequences sent again after a reconnect.
    pub resent: u64,
    /// Acknowledgements of what was never sent; ignored.
    pub acks_ahead: u64,
    /// Connections given up because no acknowledgement came.
    pub ack_timeouts: u64,
    /// Times the peer knew less than it had acknowledged (it lost its store).
    pub peer_behind: u64,
}

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Sender {
    config: Config,
    newest: Sequence,
    acked: Sequence,
    /// Last sequence sent on this connection; at least `acked`.
    sent: Sequence,
    /// Highest sequence ever sent by this process.
    sent_ever: Sequence,
    released: Sequence,
    connected: bool,
    /// A [`Output::Send`] was handed out and not answered.
    asked: bool,
    /// The spool said there is nothing behind `sent`; until the next append.
    drained: bool,
    ack_deadline: Option<Monotonic>,
    urgent: Option<Output>,
    statistics: Statistics,
}

impl Sender {
    /// Starts from the spool's acknowledged position and its newest sequence.
    #[must_use]
    pub fn new(config: Config, acked: Sequence, newest: Sequence) -> Self {
        Self {
            config,
            newest: newest.max(acked),
            acked,
            sent: acked,
            sent_ever: acked,
            // Whether the last life freed what it knew to be acknowledged nobody can tell; freeing twice is harmless.
            released: Sequence(0),
            connected: false,
            asked: false,
            drained: false,
            ack_deadline: None,
            urgent: None,
            statistics: Statistics::default(),
        }
    }

    /// Told something; `now` never runs backwards.
    pub fn handle(&mut self, now: Monotonic, input: Input) {
        match input {
            Input::Appended(sequence) => {
                self.newest = self.newest.max(sequence);
                self.drained = false;
            }
            Input::Connected { last } => self.connected(last),
            Input::Disconnected => self.disconnected(),
            Input::Sent(sequence) => self.sent(now, sequence),
            Input::NothingToSend => {
                self.asked = false;
                self.drained = true;
            }
            Input::Acked(sequence) => self.acked(now, sequence),
            Input::Timeout => {
                if self.ack_deadline.is_some_and(|deadline| now >= deadline) {
                    self.statistics.ack_timeouts += 1;
                    self.disconnected();
                    self.urgent = Some(Output::Reconnect);
                }
            }
        }
    }

    /// What to do next; drain before the next input. After [`Output::Send`] comes `None` until it is answered.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.urgent.take() {
            return Some(output);
        }
        if self.released < self.acked {
            self.released = self.acked;
            return Some(Output::Release(self.acked));
        }
        let room = self.sent.0 - self.acked.0 < self.config.n_in_flight_max;
        if self.connected && !self.asked && !self.drained && room && self.sent < self.newest {
            self.asked = true;
            return Some(Output::Send { after: self.sent });
        }
        None
    }

    /// When an acknowledgement is overdue.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        self.ack_deadline
    }

    /// Highest acknowledged sequence.
    #[must_use]
    pub fn acked_position(&self) -> Sequence {
        self.acked
    }

    /// What happened since the start.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    fn connected(&mut self, last: Sequence) {
        self.disconnected();
        if last > self.newest {
            self.urgent = Some(Output::Diverged);
            return;
        }
        if last < self.acked {
            self.statistics.peer_behind += 1;
        }
        self.acked = self.acked.max(last);
        self.sent = self.acked;
        self.connected = true;
    }

    fn disconnected(&mut self) {
        self.connected = false;
        self.asked = false;
        self.drained = false;
        self.sent = self.acked;
        self.ack_deadline = None;
    }

    fn sent(&mut self, now: Monotonic, sequence: Sequence) {
        if !self.connected || !self.asked || sequence <= self.sent {
            // An answer to a question of an earlier connection.
            return;
        }
        self.asked = false;
        self.statistics.sent += 1;
        if sequence <= self.sent_ever {
            self.statistics.resent += 1;
        }
        self.sent = sequence;
        self.sent_ever = self.sent_ever.max(sequence);
        self.newest = self.newest.max(sequence);
        if self.ack_deadline.is_none() {
            self.ack_deadline = Some(now + self.config.ack_timeout);
        }
    }

    fn acked(&mut self, now: Monotonic, sequence: Sequence) {
        if !self.connected || sequence <= self.acked {
            return;
        }
        if sequence > self.sent {
            self.statistics.acks_ahead += 1;
            return;
        }
        self.acked = sequence;
        self.ack_deadline = (self.sent > self.acked).then(|| now + self.config.ack_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic(0);

    fn connected(acked: u64, newest: u64, last: u64) -> Sender {
        let config = Config {
            n_in_flight_max: 2,
            ..Config::default()
        };
        let mut sender = Sender::new(config, Sequence(acked), Sequence(newest));
        sender.handle(
            NOW,
            Input::Connected {
                last: Sequence(last),
            },
        );
        sender
    }

    fn send(sender: &mut Sender, after: u64, found: u64) {
        assert_eq!(
            sender.poll_output(),
            Some(Output::Send {
                after: Sequence(after)
            })
        );
        assert_eq!(sender.poll_output(), None, "one question at a time");
        sender.handle(NOW, Input::Sent(Sequence(found)));
    }

    #[test]
    fn nothing_is_sent_before_the_welcome_and_what_the_peer_has_is_skipped() {
        let mut sender = Sender::new(Config::default(), Sequence(3), Sequence(9));
        assert_eq!(
            sender.poll_output(),
            Some(Output::Release(Sequence(3))),
            "in case the last life did not"
        );
        assert_eq!(sender.poll_output(), None);
        sender.handle(NOW, Input::Connected { last: Sequence(5) });
        assert_eq!(sender.poll_output(), Some(Output::Release(Sequence(5))));
        send(&mut sender, 5, 6);
    }

    #[test]
    fn the_window_holds_until_an_acknowledgement_and_a_reconnect_sends_again() {
        let mut sender = connected(0, 9, 0);
        send(&mut sender, 0, 1);
        send(&mut sender, 1, 2);
        assert_eq!(sender.poll_output(), None);
        sender.handle(NOW, Input::Acked(Sequence(1)));
        assert_eq!(sender.poll_output(), Some(Output::Release(Sequence(1))));
        send(&mut sender, 2, 3);
        sender.handle(NOW, Input::Disconnected);
        sender.handle(NOW, Input::Acked(Sequence(3)));
        assert_eq!(sender.poll_output(), None);
        sender.handle(NOW, Input::Connected { last: Sequence(1) });
        send(&mut sender, 1, 2);
        assert_eq!(sender.statistics().resent, 1);
    }

    #[test]
    fn a_peer_that_knows_more_than_the_spool_wrote_means_the_spool_was_set_back() {
        let mut sender = connected(3, 9, 10);
        assert_eq!(sender.poll_output(), Some(Output::Diverged));
        assert_eq!(sender.poll_output(), Some(Output::Release(Sequence(3))));
        assert_eq!(sender.poll_output(), None);
        assert_eq!(sender.acked_position(), Sequence(3));
    }

    #[test]
    fn a_missing_acknowledgement_gives_the_connection_up() {
        let mut sender = connected(0, 9, 0);
        assert_eq!(sender.poll_timeout(), None);
        send(&mut sender, 0, 1);
        let deadline = sender.poll_timeout().unwrap();
        sender.handle(deadline, Input::Timeout);
        assert_eq!(sender.poll_output(), Some(Output::Reconnect));
        assert_eq!(sender.poll_output(), None);
        assert_eq!(sender.statistics().ack_timeouts, 1);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_frees_nothing() {
        let mut sender = connected(0, 9, 0);
        send(&mut sender, 0, 1);
        sender.handle(NOW, Input::Acked(Sequence(7)));
        assert_eq!(sender.acked_position(), Sequence(0));
        assert_eq!(sender.statistics().acks_ahead, 1);
    }

    #[test]
    fn an_empty_spool_is_asked_again_only_after_an_append() {
        let mut sender = connected(0, 3, 0);
        assert!(matches!(sender.poll_output(), Some(Output::Send { .. })));
        sender.handle(NOW, Input::NothingToSend);
        assert_eq!(sender.poll_output(), None);
        sender.handle(NOW, Input::Appended(Sequence(4)));
        send(&mut sender, 0, 4);
    }
}
