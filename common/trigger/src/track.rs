//! One trigger as the coordinator keeps it: its members, its round. (ALGORITHMS 2.5)
//!
//! In: what the [coordinator](crate::Coordinator) makes of messages and ticks. Out: messages to members.
//! Does not: judge messages, fire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hsw_types::Monotonic;

use crate::coordinator::Output;
use crate::message::{Down, ParticipantId, Patience};
use crate::range::QueryId;
use crate::slack::Step;
use crate::space::Question;

/// What is known of one member's count: what must be kept to survive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Of epochs that are over.
    pub carried: u64,
    /// Of the participant; 0 while it was never heard.
    pub epoch: u64,
    /// In this epoch.
    pub count: u64,
}

impl Known {
    pub(crate) const fn sum(self) -> u64 {
        self.carried.saturating_add(self.count)
    }
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) question: Arc<Question>,
    pub(crate) threshold: u64,
    pub(crate) members: BTreeMap<ParticipantId, Member>,
    pub(crate) round: u64,
    /// λ of the round; 1 where every hit is told.
    pub(crate) slack: u64,
    pub(crate) is_direct: bool,
    pub(crate) is_collecting: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) known: Known,
    /// The sum of `known` when the round began.
    pub(crate) known_before: u64,
    /// Takes part in the round.
    pub(crate) is_in: bool,
    /// Its count stays, but it takes part no more.
    pub(crate) is_dismissed: bool,
    /// Has told that the round's beginning has arrived or, while collecting, has answered.
    pub(crate) has_answered: bool,
    pub(crate) send_at: Monotonic,
    pub(crate) pause: Duration,
    pub(crate) leave_at: Monotonic,
}

impl Member {
    pub(crate) const fn known(&self) -> u64 {
        self.known.sum()
    }

    /// Can be asked: was heard once, and still belongs to the trigger.
    pub(crate) const fn is_reachable(&self) -> bool {
        self.known.epoch > 0 && !self.is_dismissed
    }

    /// Waits for an answer: first for `pause`, at most for `all`.
    pub(crate) fn ask(&mut self, now: Monotonic, pause: Duration, all: Duration) {
        self.has_answered = false;
        self.pause = pause;
        self.send_at = now + pause;
        self.leave_at = now + all;
    }
}

impl Track {
    pub(crate) fn known(&self) -> u64 {
        let known = self.members.values().map(Member::known);
        known.fold(0, u64::saturating_add)
    }

    pub(crate) fn n_in(&self) -> u64 {
        self.members.values().filter(|member| member.is_in).count() as u64
    }

    pub(crate) fn n_signals(&self) -> u64 {
        let got = self.members.values().map(|m| m.known() - m.known_before);
        got.map(|got| got / self.slack).fold(0, u64::saturating_add)
    }

    pub(crate) fn has_all_answers(&self) -> bool {
        let mut members = self.members.values();
        members.all(|member| !member.is_in || member.has_answered)
    }

    pub(crate) fn watch(&self, query: QueryId, member: &Member) -> Down {
        Down::Watch {
            query,
            epoch: member.known.epoch,
            round: self.round,
            slack: self.slack,
            // In an epoch that began after the round, all of its count is beyond the base.
            base: member.known_before.saturating_sub(member.known.carried),
            question: Arc::clone(&self.question),
        }
    }

    /// The round ends: everybody in it is asked, those left out once.
    pub(crate) fn collect(
        &mut self,
        query: QueryId,
        now: Monotonic,
        patience: Patience,
        out: &mut Vec<Output>,
    ) {
        self.is_collecting = true;
        for (&to, member) in &mut self.members {
            if member.is_reachable() {
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
    pub(crate) fn begin(
        &mut self,
        query: QueryId,
        now: Monotonic,
        patience: Patience,
        out: &mut Vec<Output>,
    ) {
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
    pub(crate) fn remind(
        &mut self,
        query: QueryId,
        now: Monotonic,
        patience: Patience,
        out: &mut Vec<Output>,
    ) -> bool {
        let mut asked = Vec::new();
        let mut has_left = false;
        for (&to, member) in &mut self.members {
            if !member.is_reachable() || (member.is_in && member.has_answered) {
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
    pub(crate) fn is_open(&self) -> bool {
        let mut members = self.members.values();
        self.is_collecting || members.any(|m| m.is_reachable() && !(m.is_in && m.has_answered))
    }
}
