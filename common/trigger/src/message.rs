//! What coordinator and participants tell each other about a trigger. (ALGORITHMS 2.5)
//!
//! Invariants: ME-1 every count is cumulative within (participant, epoch), so a message may be lost, repeated or late
//! without harm: the highest counts. ME-2 rounds of a trigger only rise; what belongs to an earlier one changes nothing.
//! Does not: know bytes (the wire does).

use std::sync::Arc;
use std::time::Duration;

use crate::range::QueryId;
use crate::space::Question;

/// A participant, as the coordinator numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantId(pub u32);

/// Coordinator to participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// The participant's greeting has arrived.
    Welcome {
        /// Of the participant.
        epoch: u64,
    },
    /// A round begins: count, and tell once per `slack` beyond `base`.
    Watch {
        /// Of which trigger.
        query: QueryId,
        /// Of the participant; a participant in another one does nothing.
        epoch: u64,
        /// The round's number.
        round: u64,
        /// λ; 1 tells every hit.
        slack: u64,
        /// The participant's count that the coordinator knew when the round began.
        base: u64,
        /// What to count.
        question: Arc<Question>,
    },
    /// The round ends: tell the exact count.
    Collect {
        /// Of which trigger.
        query: QueryId,
        /// The round that ends.
        round: u64,
    },
    /// A repeated report has arrived.
    Heard {
        /// Of which trigger.
        query: QueryId,
        /// Of the participant.
        epoch: u64,
        /// The count reported.
        count: u64,
    },
    /// The trigger has matured or is gone.
    Forget {
        /// Which.
        query: QueryId,
    },
}

/// Participant to coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// A life of the participant begins, with all counts at zero.
    Hello {
        /// Higher than that of each life before.
        epoch: u64,
    },
    /// What it has counted.
    Report {
        /// For which trigger.
        query: QueryId,
        /// Of the participant.
        epoch: u64,
        /// The round it is in.
        round: u64,
        /// Weight inside the box in this epoch.
        count: u64,
        /// Why it is told.
        why: Why,
    },
}

/// Why a count is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A slack is used up.
    Signal,
    /// The same once more, because nothing was heard since: asks for [`Down::Heard`].
    Repeat,
    /// It was asked for.
    Answer,
}

/// How patient both sides are. Where the transport loses nothing while a connection lasts, only collections are urgent:
/// a new connection repeats the rest at once ([`crate::Participant::greet`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A signal or the beginning of a round that nothing followed is repeated after this, then after twice as long and
    /// so on. Each repetition costs two messages.
    pub repeat: Duration,
    /// The longest pause between repetitions.
    pub repeat_max: Duration,
    /// Whoever has not told for so long that a round's beginning has arrived is left out, with the last known count.
    pub confirm: Duration,
    /// The call to collect is repeated after this.
    pub collect: Duration,
    /// Whoever has not answered it for so long is left out of the next round, with the last known count.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            repeat: Duration::from_secs(60),
            repeat_max: Duration::from_secs(600),
            confirm: Duration::from_secs(300),
            collect: Duration::from_secs(2),
            answer: Duration::from_secs(10),
        }
    }
}
