//! What coordinator and participants of triggers say, as bytes. (steps 5–6, version 2)
//!
//! In: messages of `hsw-trigger`. Out: values that can be written and read, and back.
//! Invariants: TR-1 what was decoded is a message: one or two ranges, none empty, numbers that stand for something.
//! Limits: [`TRIGGERS_MAX`] a message. Does not: know who speaks.

use std::sync::Arc;

use hsw_trigger::{Down, Measure, N_CATEGORIES, QueryId, Question, Range, Space, Up, Weight, Why};
use wincode::{SchemaRead, SchemaWrite};

use crate::frame::Error;

/// Messages about triggers in one frame at most.
pub const TRIGGERS_MAX: usize = 1_000;

/// As [`Up`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum TriggerUp {
    /// As [`Up::Hello`].
    Hello {
        /// Of the participant.
        epoch: u64,
    },
    /// As [`Up::Report`].
    Report {
        /// For which trigger.
        query: u64,
        /// Of the participant.
        epoch: u64,
        /// The round it is in.
        round: u64,
        /// Weight counted in this epoch.
        count: u64,
        /// Why it is told.
        why: TriggerWhy,
    },
}

/// As [`Why`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum TriggerWhy {
    /// As [`Why::Signal`].
    Signal,
    /// As [`Why::Repeat`].
    Repeat,
    /// As [`Why::Answer`].
    Answer,
}

/// As [`Down`].
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum TriggerDown {
    /// As [`Down::Welcome`].
    Welcome {
        /// Of the participant.
        epoch: u64,
    },
    /// As [`Down::Watch`].
    Watch {
        /// Of which trigger.
        query: u64,
        /// Of the participant.
        epoch: u64,
        /// The round's number.
        round: u64,
        /// λ.
        slack: u64,
        /// The count known when the round began.
        base: u64,
        /// What to count.
        question: TriggerQuestion,
    },
    /// As [`Down::Collect`].
    Collect {
        /// Of which trigger.
        query: u64,
        /// The round that ends.
        round: u64,
    },
    /// As [`Down::Heard`].
    Heard {
        /// Of which trigger.
        query: u64,
        /// Of the participant.
        epoch: u64,
        /// The count reported.
        count: u64,
    },
    /// As [`Down::Forget`].
    Forget {
        /// Which.
        query: u64,
    },
}

/// As [`Question`]: what is counted, with numbers for names.
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct TriggerQuestion {
    /// Place in [`Weight::ALL`].
    weight: u8,
    /// Place in [`Measure::ALL`], first key inside, first key beyond.
    ranges: Vec<(u8, u64, u64)>,
    /// Place among the categories, and the key of the name that is wanted.
    names: Vec<(u8, u64)>,
}

impl From<Up> for TriggerUp {
    fn from(message: Up) -> Self {
        match message {
            Up::Hello { epoch } => Self::Hello { epoch },
            Up::Report {
                query,
                epoch,
                round,
                count,
                why,
            } => Self::Report {
                query: query.0,
                epoch,
                round,
                count,
                why: match why {
                    Why::Signal => TriggerWhy::Signal,
                    Why::Repeat => TriggerWhy::Repeat,
                    Why::Answer => TriggerWhy::Answer,
                },
            },
        }
    }
}

impl From<TriggerUp> for Up {
    fn from(message: TriggerUp) -> Self {
        match message {
            TriggerUp::Hello { epoch } => Self::Hello { epoch },
            TriggerUp::Report {
                query,
                epoch,
                round,
                count,
                why,
            } => Self::Report {
                query: QueryId(query),
                epoch,
                round,
                count,
                why: match why {
                    TriggerWhy::Signal => Why::Signal,
                    TriggerWhy::Repeat => Why::Repeat,
                    TriggerWhy::Answer => Why::Answer,
                },
            },
        }
    }
}

impl From<&Down> for TriggerDown {
    fn from(message: &Down) -> Self {
        match *message {
            Down::Welcome { epoch } => Self::Welcome { epoch },
            Down::Watch {
                query,
                epoch,
                round,
                slack,
                base,
                ref question,
            } => Self::Watch {
                query: query.0,
                epoch,
                round,
                slack,
                base,
                question: question.as_ref().into(),
            },
            Down::Collect { query, round } => Self::Collect {
                query: query.0,
                round,
            },
            Down::Heard {
                query,
                epoch,
                count,
            } => Self::Heard {
                query: query.0,
                epoch,
                count,
            },
            Down::Forget { query } => Self::Forget { query: query.0 },
        }
    }
}

impl TryFrom<TriggerDown> for Down {
    type Error = Error;

    /// # Errors
    /// [`Error::Malformed`] for a question that cannot be.
    fn try_from(message: TriggerDown) -> Result<Self, Error> {
        Ok(match message {
            TriggerDown::Welcome { epoch } => Self::Welcome { epoch },
            TriggerDown::Watch {
                query,
                epoch,
                round,
                slack,
                base,
                question,
            } => Self::Watch {
                query: QueryId(query),
                epoch,
                round,
                slack,
                base,
                question: Arc::new(question.read()?),
            },
            TriggerDown::Collect { query, round } => Self::Collect {
                query: QueryId(query),
                round,
            },
            TriggerDown::Heard {
                query,
                epoch,
                count,
            } => Self::Heard {
                query: QueryId(query),
                epoch,
                count,
            },
            TriggerDown::Forget { query } => Self::Forget {
                query: QueryId(query),
            },
        })
    }
}

impl From<&Question> for TriggerQuestion {
    fn from(question: &Question) -> Self {
        let space = question.space();
        let ranges = space.measures().zip(question.ranges());
        let names = (0..).zip(question.categories());
        Self {
            weight: space.weight() as u8,
            ranges: ranges.map(|(m, r)| (m as u8, r.lo, r.hi)).collect(),
            names: names.filter_map(|(i, key)| Some((i, (*key)?))).collect(),
        }
    }
}

impl TriggerQuestion {
    fn read(&self) -> Result<Question, Error> {
        self.question().ok_or_else(|| Error::Malformed {
            what: "trigger",
            why: "its measures, ranges, weight or names cannot be".to_owned(),
        })
    }

    fn question(&self) -> Option<Question> {
        if self.ranges.len() > 2 || self.names.len() > N_CATEGORIES {
            return None;
        }
        let weight = *Weight::ALL.get(usize::from(self.weight))?;
        let mut measures = Vec::with_capacity(2);
        let mut ranges = Vec::with_capacity(2);
        for &(measure, lo, hi) in &self.ranges {
            measures.push(*Measure::ALL.get(usize::from(measure))?);
            ranges.push(Range { lo, hi });
        }
        let mut categories = [None; N_CATEGORIES];
        for &(name, key) in &self.names {
            let category = categories.get_mut(usize::from(name))?;
            if category.replace(key).is_some() {
                return None;
            }
        }
        Question::new(Space::new(&measures, weight)?, categories, ranges)
    }
}

/// Holds a decoded list to the limits.
pub(crate) fn check_up(list: &[TriggerUp]) -> Result<(), Error> {
    check_length(list.len())
}

/// Holds a decoded list to the limits, and its questions to sense.
pub(crate) fn check_down(list: &[TriggerDown]) -> Result<(), Error> {
    check_length(list.len())?;
    for message in list {
        if let TriggerDown::Watch { question, .. } = message {
            question.read()?;
        }
    }
    Ok(())
}

fn check_length(n: usize) -> Result<(), Error> {
    if n > TRIGGERS_MAX {
        return Err(Error::TooLong {
            what: "list of trigger messages",
            bytes: n,
            limit: TRIGGERS_MAX,
        });
    }
    Ok(())
}
