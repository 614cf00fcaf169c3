//! The aggregator's half of a distributed trigger: rounds of slack over participants that fail. (ALGORITHMS 2.5)
//!
//! In: triggers with who takes part, messages of participants, ticks. Out: messages, and which triggers fire.
//! Invariants: CO-1 a trigger fires only when its true count has reached the threshold: what is known of a participant
//! is never more than it has counted. CO-2 while every participant of a round lives and what was sent has arrived, the
//! true count is below the threshold until the round's h-th signal; then one collection decides. CO-3 who does not
//! answer is left out with its last known count and the rest share the slack; it is in again when it is heard.
//! CO-4 what was known of a participant and is handed back at registration ([`Known`]) is never counted twice, nor lost.
//! Limits: what a dead participant did not tell is not counted; one that is dismissed and admitted again within one epoch
//! counts on from what was known. O(h) per trigger.
//! Does not: survive its process; a new one has a higher incarnation, registers its triggers again (with what was known)
//! before it hears anybody, and learns the counts of living participants from their first answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hsw_types::Monotonic;

use crate::message::{Down, ParticipantId, Patience, Up, Why};
use crate::range::QueryId;
use crate::space::Question;
use crate::track::{Known, Member, Track};

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

/// How far a trigger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is known to have been counted.
    pub known: u64,
    /// When it fires.
    pub threshold: u64,
    /// Who is to take part.
    pub n_members: usize,
    /// Who is heard and counts.
    pub n_in: usize,
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
    /// Counts that changed since they were last asked for.
    changed: BTreeSet<(QueryId, ParticipantId)>,
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
            changed: BTreeSet::new(),
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

    /// How far a trigger is. O(h).
    #[must_use]
    pub fn progress(&self, query: QueryId) -> Option<Progress> {
        let track = self.tracks.get(&query)?;
        let mut progress = Progress {
            known: 0,
            threshold: track.threshold,
            n_members: 0,
            n_in: 0,
        };
        for member in track.members.values() {
            progress.known = progress.known.saturating_add(member.known());
            progress.n_members += usize::from(!member.is_dismissed);
            progress.n_in += usize::from(member.is_in);
        }
        Some(progress)
    }

    /// Registers a trigger over `members`, with what was known of each in an earlier process (or the default); false where
    /// the id is in use or the threshold is 0. An id is never used again. Members that have not greeted yet are in as soon
    /// as they do. What was known may fire it at once.
    pub fn register(
        &mut self,
        query: QueryId,
        question: Arc<Question>,
        threshold: u64,
        members: impl IntoIterator<Item = (ParticipantId, Known)>,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) -> bool {
        if threshold == 0 || self.tracks.contains_key(&query) {
            return false;
        }
        let member = |(id, known): (ParticipantId, Known)| (id, self.member(id, known));
        let mut track = Track {
            question,
            threshold,
            members: members.into_iter().map(member).collect(),
            round: self.first_round,
            slack: 1,
            is_direct: true,
            is_collecting: false,
        };
        let count = track.known();
        if count >= threshold {
            out.push(Output::Fired { query, count });
            self.tracks.insert(query, track);
            self.terminate(query, out);
            return true;
        }
        track.begin(query, now, self.patience, out);
        self.tracks.insert(query, track);
        self.open.insert(query);
        true
    }

    /// A member whose participant may have greeted already.
    fn member(&self, id: ParticipantId, mut known: Known) -> Member {
        let epoch = self.epochs.get(&id).copied().unwrap_or(0);
        if epoch > known.epoch {
            known = Known {
                carried: known.sum(),
                epoch,
                count: 0,
            };
        }
        Member {
            known,
            is_in: epoch > 0 && epoch == known.epoch,
            ..Member::default()
        }
    }

    /// Lets a participant take part from now on; false where there is no such trigger or it does already. Its slack is new,
    /// so everybody's is.
    pub fn admit(
        &mut self,
        query: QueryId,
        id: ParticipantId,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(track) = self.tracks.get(&query) else {
            return false;
        };
        let known = match track.members.get(&id) {
            Some(member) if !member.is_dismissed => return false,
            Some(member) => member.known,
            None => Known::default(),
        };
        let mut member = self.member(id, known);
        member.known_before = member.known();
        let is_in = member.is_in;
        let patience = self.patience;
        if let Some(track) = self.tracks.get_mut(&query) {
            track.members.insert(id, member);
            if is_in {
                track.collect(query, now, patience, out);
                self.open.insert(query);
            }
        }
        true
    }

    /// Lets a participant take part no more: what is known of it stays counted; false where it does not take part.
    pub fn dismiss(
        &mut self,
        query: QueryId,
        id: ParticipantId,
        now: Monotonic,
        out: &mut Vec<Output>,
    ) -> bool {
        let patience = self.patience;
        let Some(track) = self.tracks.get_mut(&query) else {
            return false;
        };
        let Some(member) = track.members.get_mut(&id).filter(|m| !m.is_dismissed) else {
            return false;
        };
        let was_in = member.is_in;
        (member.is_dismissed, member.is_in) = (true, false);
        let message = Down::Forget { query };
        out.push(Output::Send { to: id, message });
        if was_in {
            // The rest share the slack.
            track.collect(query, now, patience, out);
            self.open.insert(query);
        }
        true
    }

    /// Who takes part in a trigger.
    pub fn members(&self, query: QueryId) -> impl Iterator<Item = ParticipantId> + '_ {
        let members = self.tracks.get(&query).into_iter();
        let members = members.flat_map(|track| &track.members);
        members.filter(|(_, m)| !m.is_dismissed).map(|(&id, _)| id)
    }

    /// What is known of members whose count has changed since the last call, of triggers that wait: to be kept, and handed
    /// back at registration after a restart.
    pub fn take_changed(&mut self) -> Vec<(QueryId, ParticipantId, Known)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let known = |(query, id)| Some((query, id, self.known_of(query, id)?));
        changed.filter_map(known).collect()
    }

    /// What was taken could not be kept: it is taken again with the next call.
    pub fn mark_changed(&mut self, query: QueryId, member: ParticipantId) {
        if self.known_of(query, member).is_some() {
            self.changed.insert((query, member));
        }
    }

    /// Takes a trigger back; false where none waits by this id.
    pub fn terminate(&mut self, query: QueryId, out: &mut Vec<Output>) -> bool {
        let Some(track) = self.tracks.remove(&query) else {
            return false;
        };
        let forget = |(&to, _): (&ParticipantId, &Member)| Output::Send {
            to,
            message: Down::Forget { query },
        };
        let told = track.members.iter().filter(|(_, m)| m.is_reachable());
        out.extend(told.map(forget));
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
                let is_member = |track: &Track| {
                    let member = track.members.get(&from);
                    member.is_some_and(|member| !member.is_dismissed)
                };
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
        let Some(member) = track.members.get_mut(&from).filter(|m| !m.is_dismissed) else {
            return;
        };
        if epoch < member.known.epoch {
            return;
        }
        let newest = self.epochs.entry(from).or_insert(0);
        *newest = epoch.max(*newest);
        let is_new = epoch > member.known.epoch || !member.is_in;
        let before = member.known;
        if told.is_none() {
            // A new connection: what went over the old one may be lost.
            member.send_at = now;
        }
        if epoch > member.known.epoch {
            member.known = Known {
                carried: member.known(),
                epoch,
                count: 0,
            };
        }
        member.is_in = true;
        if let Some((at, count, why)) = told {
            member.known.count = member.known.count.max(count);
            member.has_answered |= at == round && (!is_collecting || why == Why::Answer);
        }
        if member.known != before {
            self.changed.insert((query, from));
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

    /// What is known of a member.
    #[must_use]
    pub fn known_of(&self, query: QueryId, member: ParticipantId) -> Option<Known> {
        let member = self.tracks.get(&query)?.members.get(&member)?;
        Some(member.known)
    }
}
