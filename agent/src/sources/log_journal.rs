//! The journal's part of a round: entries to records, beside the files' lines. (step 1)
//!
//! Invariant: LR-2 entries go to the same classifier as lines, and their cursor into the same checkpoint.

use std::sync::Arc;

use hsw_pipeline::{LinePrefix, LogFormat};
use hsw_types::{SourceState, WallTime};

use super::journal_entry::{Entry, Journal};
use super::journald;
use super::log::Format;
use super::log_reader::Reader;

/// What was heard and not told yet.
pub(super) struct Hearing {
    journal: Journal,
    waiting: Vec<Entry>,
    state: Option<journald::State>,
}

impl Hearing {
    pub(super) fn new(cursor: Option<String>) -> Self {
        Self {
            journal: Journal::new(cursor),
            waiting: Vec::new(),
            state: None,
        }
    }

    /// Where the journal is to be read on.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.journal.cursor()
    }

    /// Dropped before or while it was put together.
    pub(super) fn dropped(&self) -> u64 {
        let dropped = self.state.as_ref().map_or(0, |state| state.dropped);
        dropped + self.journal.malformed()
    }

    /// `None` where no journal is read.
    pub(super) fn state(&self) -> Option<(SourceState, String)> {
        let state = self.state.as_ref()?;
        let problem = state.problem.clone().unwrap_or_default();
        if state.is_running {
            Some((SourceState::Ok, problem))
        } else {
            Some((SourceState::Absent, problem))
        }
    }
}

impl Reader {
    /// What the follower has read since the last round.
    pub(super) fn hear(&mut self, entries: Vec<Entry>, state: journald::State) {
        self.journal.waiting.extend(entries);
        self.journal.state = Some(state);
    }

    /// Where the journal is to be read on.
    pub(super) fn journal_cursor(&self) -> Option<String> {
        self.journal.cursor().map(str::to_owned)
    }

    /// Tells what was heard.
    pub(super) fn listen(&mut self, at: WallTime) {
        if self.journal.state.is_none() {
            return;
        }
        let format = self.journal_format();
        let (hearing, classifier) = (&mut self.journal, &mut self.classifier);
        let mut emit = |record: &_| classifier.record(at, record);
        for entry in hearing.waiting.drain(..) {
            hearing.journal.take(entry, &format, &mut emit);
        }
        hearing.journal.tick(&mut emit);
    }

    /// An entry has no file whose first lines would tell its format.
    fn journal_format(&self) -> LogFormat {
        let prefix = self.plan.prefix.as_deref();
        match self.plan.format {
            Format::Jsonlog => LogFormat::Json,
            Format::MysqlError => LogFormat::MysqlError,
            Format::MysqlSlow => LogFormat::MysqlSlow,
            Format::Mongodb => LogFormat::Mongo,
            Format::MongodbText => LogFormat::MongoText,
            Format::Redis => LogFormat::Redis,
            Format::Stderr | Format::Auto | Format::Csvlog => match prefix {
                Some(prefix) => LogFormat::Stderr(Arc::new(LinePrefix::compile(prefix))),
                None => LogFormat::Plain,
            },
            Format::Plain => LogFormat::Plain,
        }
    }
}
