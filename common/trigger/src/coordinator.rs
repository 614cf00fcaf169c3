//! The aggregator's half of a distributed trigger: rounds of slack over participants that fail. (ALGORITHMS 2.5)
//!
//! In: triggers with who takes part, messages of participants, ticks. Out: messages, and which triggers fire.
//! Invariants: CO-1 a trigger fires only when its true count has reached the threshold: what is known of a participant
//! is never more than it has counted. CO-2 while every participant of a round lives and what was sent has arrived, the
//! true count is below the threshold until the round's h-th signal; then one collection decides. CO-3 who does not
//! answer is left out with its last known count and the rest share the slack; it is in again when it is heard.
//! Limits: what a dead participant did not tell is not counted. O(h) per trigger.
//! Does not: survive its process; a new one has a higher incarnation, registers its triggers again before it hears
//! anybody, and learns all counts of living participants from their first answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hsw_types::Monotonic;

use crate::message::{Down, ParticipantId, Patience, Up, Why};
use crate::range::{QueryId, Range};
use crate::slack::Step;

/// What the coordinator wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send {
        /// To whom.
        to: ParticipantId,
        /// What.
        message: Down,
    },
    /// A trigger has matured and is gone.
    Fired {
        /// Which.
        query: QueryId,
        /// What is known to have been counted, at least the threshold.
        count: u64,
    },
}

/// The coordinator of all triggers.
#[derive(Debug)]
pub struct Coordinator {
    /// Rounds begin with this, so that a new process outranks the one before.
    first_round: u64,
    patience: Patience,
    tracks: BTreeMap<QueryId, Track>,
    /// Those with somebody who has been asked and has not answered.
    open: BTreeSet<QueryId>,
    epochs: BTreeMap<ParticipantId, u64>,
}

#[derive(Debug)]
struct Track {
    ranges: Vec<Range>,
    threshold: u64,
    members: BTreeMap<ParticipantId, Member>,
    round: u64,
    /// λ of the round; 1 where every hit is told.
    slack: u64,
    is_direct: bool,
    is_collecting: bool,
}

#[derive(Debug, Default)]
struct Member {
    /// Known of epochs that are over.
    carried: u64,
    epoch: u64,
    /// Known of this epoch.
    count: u64,
    /// `carried + count` when the round began.
    known_before: u64,
    /// Takes part in the round.
    is_in: bool,
    /// Has told that the round's beginning has arrived or, while collecting, has answered.
    has_answered: bool,
    send_at: Monotonic,
    pause: Duration,
    leave_at: Monotonic,
}

impl Member {
    const fn known(&self) -> u64 {
        self.carried.saturating_add(self.count)
    }

    /// Waits for an answer: first for `pause`, at most for `all`.
    fn ask(&mut self, now: Monotonic, pause: Duration, all: Duration) {
        self.has_answered = false;
        self.pause = pause;
        self.send_at = now + pause;
        self.leave_at = now + all;
    }
}

impl Track {
    fn known(&self) -> u64 {
        let known = self.members.values().map(Member::known);
        known.fold(0, u64::saturating_add)
    }

    fn n_in(&self) -> u64 {
        self.members.values().filter(|member| member.is_in).count() as u64
    }

    fn n_signals(&self) -> u64 {
        let got = self.members.values().map(|m| m.known() - m.known_before);
        got.map(|got| got / self.slack).fold(0, u64::saturating_add)
    }

    fn has_all_answers(&self) -> bool {
        let mut members = self.members.values();
        members.all(|member| !member.is_in || member.has_answered)
    }

    fn watch(&self, query: QueryId, member: &Member) -> Down {
        Down::Watch {
            query,
            epoch: member.epoch,
            round: self.round,
            slack: self.slack,
            // In an epoch that began after the round, all of its count is beyond the base.
            base: member.known_before.saturating_sub(member.carried),
            ranges: self.ranges.clone(),
        }
    }

    /// The round ends: everybody in it is asked, those left out once.
    fn collect(
        &mut self,
        query: QueryId,
        now: Monotonic,
        patience: Patience,
        out: &mut Vec<Output>,
    ) {
        self.is_collecting = true;
        for (&to, member) in &mut self.members {
            if member.epoch > 0 {
                member.ask(now, patience.collect, patience.answer);
                let message = Down::Collect {
                    query,
                    round: self.round,
                };
                out.push(Output::Send { to, message });
            }
        }
    }

    /// Shares what is left among those who are in. The threshold has not been reached.
    fn begin(&mut self, query: QueryId, now: Monotonic, patience: Patience, out: &mut Vec<Output>) {
        let remaining = self.threshold - self.known();
        let step = Step::of(remaining, self.n_in().max(1), 1);
        (self.slack, self.is_direct) = match step {
            Step::Round { slack } => (slack, false),
            Step::Direct | Step::Matured => (1, true),
        };
        self.round += 1;
        self.is_collecting = false;
        for member in self.members.values_mut() {
            member.known_before = member.known();
            if member.is_in {
                member.ask(now, patience.repeat, patience.confirm);
            }
        }
        for (&to, member) in &self.members {
            if member.is_in {
                let message = self.watch(query, member);
                out.push(Output::Send { to, message });
            }
        }
    }

    /// Repeats what was not answered, leaves out who never does, and asks those left out now and then; whether somebody
    /// was left out.
    fn remind(
        &mut self,
        query: QueryId,
        now: Monotonic,
        patience: Patience,
        out: &mut Vec<Output>,
    ) -> bool {
        let mut asked = Vec::new();
        let mut has_left = false;
        for (&to, member) in &mut self.members {
            if member.epoch == 0 || (member.is_in && member.has_answered) {
                continue;
            }
            if member.is_in && now >= member.leave_at {
                member.is_in = false;
                has_left = true;
            } else if now >= member.send_at {
                member.pause = (member.pause * 2).min(patience.repeat_max);
                member.send_at = now + member.pause;
                asked.push(to);
            }
        }
        for to in asked {
            let member = &self.members[&to];
            let message = if member.is_in && !self.is_collecting {
                self.watch(query, member)
            } else {
                Down::Collect {
                    query,
                    round: self.round,
                }
            };
            out.push(Output::Send { to, message });
        }
        has_left
    }

    /// Whether somebody is still waited for, now or to come back.
    fn is_open(&self) -> bool {
        let mut members = self.members.values();
        self.is_collecting || members.any(|m| m.epoch > 0 && !(m.is_in && m.has_answered))
    }
}

impl Coordinator {
    /// None yet. `incarnation` (below 2³²) is higher than that of each process before.
    #[must_use]
    pub const fn new(incarnation: u32, patience: Patience) -> Self {
        Self {
            first_round: (incarnation as u64) << 32,
            patience,
            tracks: BTreeMap::new(),
            open: BTreeSet::new(),
            epochs: BTreeMap::new(),
        }
    }

    /// Triggers that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// What is known of a trigger's count, and its threshold: the progress to show.
    #[must_use]
    pub fn progress(&self, query: QueryId) -> Option<(u64, u64)> {
        let track = self.tracks.get(&query)?;
        Some((track.known(), track.threshold))
    }

    /// Registers a trigger over `members`; false where the id is in use or the threshold is 0. An id is never used again.
    /// Members that have not greeted yet are in as soon as they do.
    pub fn register(
        &mut self,
        query: QueryId,
        ranges: Vec<Range>,
        threshold: u64,
        members: impl IntoIterator<Item = ParticipantId>,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) -> bool {
        if threshold == 0 || self.tracks.contains_key(&query) {
            return false;
        }
        let member = |id: ParticipantId| {
            let epoch = self.epochs.get(&id).copied().unwrap_or(0);
            let member = Member {
                epoch,
                is_in: epoch > 0,
                ..Member::default()
            };
            (id, member)
        };
        let mut track = Track {
            ranges,
            threshold,
            members: members.into_iter().map(member).collect(),
            round: self.first_round,
            slack: 1,
            is_direct: true,
            is_collecting: false,
        };
        track.begin(query, now, self.patience, out);
        self.tracks.insert(query, track);
        self.open.insert(query);
        true
    }

    /// Takes a trigger back; false where none waits by this id.
    pub fn terminate(&mut self, query: QueryId, out: &mut Vec<Output>) -> bool {
        let Some(track) = self.tracks.remove(&query) else {
            return false;
        };
        let forget = |&to| Output::Send {
            to,
            message: Down::Forget { query },
        };
        out.extend(track.members.keys().map(forget));
        true
    }

    /// Takes a message of a participant (epochs begin at 1).
    pub fn hear(
        &mut self,
        from: ParticipantId,
        message: Up,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) {
        match message {
            Up::Hello { epoch } => {
                let known = self.epochs.entry(from).or_insert(0);
                *known = epoch.max(*known);
                let message = Down::Welcome { epoch };
                out.push(Output::Send { to: from, message });
                let queries: Vec<_> = self.tracks.keys().copied().collect();
                for query in queries {
                    self.count(query, from, epoch, None, now, out);
                }
            }
            Up::Report {
                query,
                epoch,
                round,
                count,
                why,
            } => {
                let is_member = |track: &Track| track.members.contains_key(&from);
                if !self.tracks.get(&query).is_some_and(is_member) {
                    let message = Down::Forget { query };
                    out.push(Output::Send { to: from, message });
                    return;
                }
                if why == Why::Repeat {
                    let message = Down::Heard {
                        query,
                        epoch,
                        count,
                    };
                    out.push(Output::Send { to: from, message });
                }
                self.count(query, from, epoch, Some((round, count, why)), now, out);
            }
        }
    }

    /// Takes what is now known of a participant's count and does what follows from it.
    fn count(
        &mut self,
        query: QueryId,
        from: ParticipantId,
        epoch: u64,
        told: Option<(u64, u64, Why)>,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) {
        let patience = self.patience;
        let Some(track) = self.tracks.get_mut(&query) else {
            return;
        };
        let (round, is_collecting) = (track.round, track.is_collecting);
        let Some(member) = track.members.get_mut(&from) else {
            return;
        };
        if epoch < member.epoch {
            return;
        }
        let newest = self.epochs.entry(from).or_insert(0);
        *newest = epoch.max(*newest);
        let is_new = epoch > member.epoch || !member.is_in;
        if told.is_none() {
            // A new connection: what went over the old one may be lost.
            member.send_at = now;
        }
        if epoch > member.epoch {
            member.carried = member.known();
            (member.count, member.epoch) = (0, epoch);
        }
        member.is_in = true;
        if let Some((at, count, why)) = told {
            member.count = member.count.max(count);
            member.has_answered |= at == round && (!is_collecting || why == Why::Answer);
        }
        let known = track.known();
        if known >= track.threshold {
            out.push(Output::Fired {
                query,
                count: known,
            });
            self.terminate(query, out);
        } else if is_new {
            // Its slack is new, so everybody's is.
            track.collect(query, now, patience, out);
            self.open.insert(query);
        } else if track.is_collecting {
            if track.has_all_answers() {
                track.begin(query, now, patience, out);
            }
        } else if !track.is_direct && track.n_signals() >= track.n_in() {
            track.collect(query, now, patience, out);
            self.open.insert(query);
        }
    }

    /// Lets time pass: repeats what was not answered, leaves out who never does. O(h) per trigger with somebody unheard; for once a
    /// second or so.
    pub fn tick(&mut self, now: Monotonic, out: &mut Vec<Output>) {
        let patience = self.patience;
        let tracks = &mut self.tracks;
        self.open.retain(|&query| {
            let Some(track) = tracks.get_mut(&query) else {
                return false;
            };
            let has_left = track.remind(query, now, patience, out);
            if track.is_collecting && track.has_all_answers() {
                track.begin(query, now, patience, out);
            } else if has_left && !track.is_collecting {
                track.collect(query, now, patience, out);
            }
            track.is_open()
        });
    }

    /// What is known of a member: of epochs that are over, and of this one.
    #[cfg(test)]
    pub(crate) fn known_of(&self, query: QueryId, member: ParticipantId) -> Option<(u64, u64)> {
        let member = self.tracks.get(&query)?.members.get(&member)?;
        Some((member.carried, member.count))
    }
}
