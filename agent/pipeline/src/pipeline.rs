//! One-second windows, differenced counters, latency sketches, one summary every few windows. (steps 3–4)
//!
//! In: [`Input`]s in the order the sources sent them. Out: one [`ShardSummary`] per `windows_per_summary` windows, as many as are
//! wanted at the moment ([`Pipeline::pace`]).
//! Invariants: PI-1 windows of successive summaries ascend and never repeat, whatever the clock does. PI-2 a series
//! without a reading in a window has no value there. PI-3 a counter's step over a reset, restart or failover is
//! dropped and counted, never a spike. PI-4 a log checkpoint travels only with the summary that covers its lines.
//! Limits: see [`Config`]. Does not: read a clock, parse anything, know what a metric means.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hsw_types::{
    LogSample, Monotonic, NodeFacts, Reading, Renamed, ShardSummary, SourceStatus, WallTime,
    WindowIndex,
};

use crate::hot::{Counted, Hot, TenantKey};
use crate::parse::Told;
use crate::table::{Outcome, Table};

/// How long after its end a window is still open, for readings on their way.
const GRACE_US: i64 = 250_000;
/// A clock that went back by no more than this is waited for; further back, windows go on counting by timer time.
const CLOCK_BACK_MAX: i64 = 2;
/// A clock that ran ahead of the open windows by more than this skips the windows between.
const CLOCK_AHEAD_MAX: i64 = 10;
/// Unchanged states of sources are repeated after this many windows.
const REPEAT_SOURCES_AFTER: u32 = 30;

/// Limits and pace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Windows per summary; 2 by default.
    pub windows_per_summary: u16,
    /// Series known at a time; beyond it new series are counted and left out. 2,000 by default.
    pub n_series_max: usize,
    /// Each name of the dictionary, and the facts, are repeated within this many summaries. 150 by default (5 minutes).
    pub repeat_after: u32,
    /// Log samples per summary; more are counted. 5 by default.
    pub n_log_samples_max: usize,
    /// Names this run of the agent; changes whenever ids start anew.
    pub dictionary_epoch: u64,
    /// Whom statements are counted for.
    pub tenant: TenantKey,
    /// Windows up to and including this one are already in the spool or at the aggregator.
    pub last_window: Option<WindowIndex>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            windows_per_summary: 2,
            n_series_max: 2_000,
            repeat_after: 150,
            n_log_samples_max: 5,
            dictionary_epoch: 1,
            tenant: TenantKey::Database,
            last_window: None,
        }
    }
}

/// What the pipeline is told.
#[derive(Debug)]
pub enum Input {
    /// Readings of one sampling round.
    Readings {
        /// Data time.
        at: WallTime,
        /// The readings.
        readings: Vec<Reading>,
    },
    /// A source's state changed, or its drop counter moved.
    Status(SourceStatus),
    /// Facts of the node, as far as the teller knows them.
    Facts(Box<NodeFacts>),
    /// A notable log line.
    Log(LogSample),
    /// A series goes on under another name.
    Renamed(Renamed),
    /// Statements that the log told of.
    Statements(Told),
    /// What the database counted since the last time.
    Counts(Vec<Counted>),
    /// The log position that covers everything told before it.
    LogCheckpoint(Vec<u8>),
    /// The clock, told at least once a second: closes windows that lie far enough behind.
    Clock(WallTime),
}

/// What the shell must do next.
#[derive(Debug)]
pub enum Output {
    /// Make this durable, then ship it.
    Summary {
        /// The summary.
        summary: Box<ShardSummary>,
        /// The newest log position that is covered by this summary and those before it.
        log_checkpoint: Option<Vec<u8>>,
    },
}

/// What was left out, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Readings of series beyond the limit.
    pub series_over_limit: u64,
    /// Readings that were not finite.
    pub not_finite: u64,
    /// Gauges and counters that came after their window was closed.
    pub late: u64,
    /// Counter steps dropped because the counter started anew or ran backwards.
    pub counter_resets: u64,
    /// Log samples over the limit.
    pub log_samples_over_limit: u64,
    /// Times the clock went back or far ahead.
    pub clock_jumps: u64,
    /// Names of what is counted, over the limit.
    pub names_over_limit: u64,
}

/// The pipeline. See the module's header.
#[derive(Debug)]
pub struct Pipeline {
    config: Config,
    table: Table,
    hot: Hot,
    /// First window of the summary being filled; none before the first clock.
    first_open: Option<WindowIndex>,
    /// Added to every window of the node's clock, so that windows never repeat (PI-1).
    clock_shift: i64,
    newest: WindowIndex,
    facts: Option<NodeFacts>,
    facts_pending: bool,
    sources: BTreeMap<String, SourceStatus>,
    sources_pending: bool,
    log_samples: Vec<LogSample>,
    checkpoints: VecDeque<(WindowIndex, Vec<u8>)>,
    n_summaries: u32,
    /// Windows within which all names are repeated.
    repeat_windows: u32,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Pipeline {
    /// Starts empty.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Config {
            windows_per_summary: config.windows_per_summary.clamp(1, 600),
            repeat_after: config.repeat_after.max(1),
            ..config
        };
        Self {
            repeat_windows: config
                .repeat_after
                .saturating_mul(u32::from(config.windows_per_summary)),
            table: Table::new(config.n_series_max, usize::from(config.windows_per_summary)),
            hot: Hot::new(config.tenant),
            config,
            first_open: None,
            clock_shift: 0,
            newest: WindowIndex(i64::MIN),
            facts: None,
            facts_pending: false,
            sources: BTreeMap::new(),
            sources_pending: false,
            log_samples: Vec::new(),
            checkpoints: VecDeque::new(),
            n_summaries: 0,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Told something; `now` never runs backwards.
    pub fn handle(&mut self, now: Monotonic, input: Input) {
        match input {
            Input::Readings { at, readings } => {
                if self.first_open.is_none() {
                    self.advance(at);
                }
                for reading in readings {
                    self.take(now, at, &reading);
                }
            }
            Input::Status(status) => {
                let changed = self.sources.get(&status.source) != Some(&status);
                self.sources_pending |= changed;
                self.sources.insert(status.source.clone(), status);
            }
            Input::Facts(facts) => {
                if self.facts.as_ref() != Some(&facts) {
                    self.facts = Some(*facts);
                    self.facts_pending = true;
                }
            }
            Input::Log(sample) => {
                if self.log_samples.len() < self.config.n_log_samples_max {
                    self.log_samples.push(sample);
                } else {
                    self.counters.log_samples_over_limit += 1;
                }
            }
            Input::Renamed(renamed) => self.table.rename(&renamed),
            Input::Statements(told) => {
                if let Some(at) = self.counted_in() {
                    self.hot.take_statements(now, at, &told);
                }
            }
            Input::Counts(counts) => {
                if let Some(at) = self.counted_in() {
                    self.hot.take(now, at, &counts);
                }
            }
            Input::LogCheckpoint(bytes) => {
                if self
                    .checkpoints
                    .back()
                    .is_some_and(|(window, _)| *window == self.newest)
                {
                    self.checkpoints.pop_back();
                }
                self.checkpoints.push_back((self.newest, bytes));
            }
            Input::Clock(at) => self.advance(at),
        }
    }

    /// What to do next; drain before the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Another number of windows per summary, from the next summary on; names are still repeated as often.
    pub fn pace(&mut self, windows_per_summary: u16) {
        let n = windows_per_summary.clamp(1, 600);
        if n != self.config.windows_per_summary {
            self.config.windows_per_summary = n;
            self.config.repeat_after = (self.repeat_windows / u32::from(n)).max(1);
            self.table.pace(usize::from(n));
        }
    }

    /// What was left out so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters {
            names_over_limit: self.hot.n_unnamed(),
            ..self.counters
        }
    }

    /// Series known now.
    #[must_use]
    pub fn n_series(&self) -> usize {
        self.table.n_series()
    }

    /// Longest wait between the end of a window and its summary.
    #[must_use]
    pub fn delay_max(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.windows_per_summary) + 1)
    }

    fn take(&mut self, now: Monotonic, at: WallTime, reading: &Reading) {
        let Some(first_open) = self.first_open else {
            return;
        };
        let window = at.window() + self.clock_shift;
        self.newest = self.newest.max(window);
        let place = window - first_open;
        self.hot.take_reading(window.max(first_open), reading);
        match self.table.take(now, at, place, reading) {
            Outcome::Taken => {}
            Outcome::Late => self.counters.late += 1,
            Outcome::NotFinite => self.counters.not_finite += 1,
            Outcome::OverLimit => self.counters.series_over_limit += 1,
            Outcome::CounterReset => self.counters.counter_resets += 1,
        }
    }

    /// The window that counts without a time of their own belong to; none before the first clock.
    fn counted_in(&self) -> Option<WindowIndex> {
        Some(self.first_open?.max(self.newest))
    }

    /// Closes what lies behind `at`, and keeps PI-1 when the clock jumps.
    fn advance(&mut self, at: WallTime) {
        let n = i64::from(self.config.windows_per_summary);
        let closed_before = WallTime(at.0.saturating_sub(GRACE_US)).window();
        let Some(first_open) = self.first_open else {
            let after_last = self.config.last_window.map(WindowIndex::next);
            let first = at.window();
            // A clock behind the last life of this agent counts on from there.
            let first_open = after_last.map_or(first, |after| after.max(first));
            self.clock_shift = if first_open - first > CLOCK_BACK_MAX {
                first_open - first
            } else {
                0
            };
            self.first_open = Some(first_open);
            return;
        };
        let mut closed_to = closed_before + self.clock_shift;
        if closed_to - first_open < -1 - CLOCK_BACK_MAX {
            self.counters.clock_jumps += 1;
            self.clock_shift += first_open - closed_to;
            closed_to = first_open;
        } else if closed_to - first_open > n + CLOCK_AHEAD_MAX {
            self.counters.clock_jumps += 1;
            // First take back what an earlier step back has added; only what then still lies ahead is skipped.
            let back = (closed_to - first_open - n).min(self.clock_shift.max(0));
            self.clock_shift -= back;
            closed_to = closed_to + -back;
            if closed_to - first_open > n + CLOCK_AHEAD_MAX {
                self.flush(first_open);
                self.first_open = Some(closed_to);
                return;
            }
        }
        let mut first_open = first_open;
        while closed_to - first_open >= n {
            self.flush(first_open);
            first_open = first_open + n;
        }
        self.first_open = Some(first_open);
    }

    fn flush(&mut self, first_window: WindowIndex) {
        self.n_summaries = self.n_summaries.wrapping_add(1);
        let n = self.config.windows_per_summary;
        let repeat = self.n_summaries.is_multiple_of(self.config.repeat_after);
        let facts = if self.facts_pending || repeat {
            self.facts.clone()
        } else {
            None
        };
        self.facts_pending = false;
        let sources_after = (REPEAT_SOURCES_AFTER / u32::from(n)).max(1);
        let repeat_sources = self.n_summaries % sources_after == 1 % sources_after;
        let sources = if self.sources_pending || repeat_sources {
            self.sources.values().cloned().collect()
        } else {
            Vec::new()
        };
        self.sources_pending = false;
        let end = first_window + i64::from(n);
        let mut log_checkpoint = None;
        while self
            .checkpoints
            .front()
            .is_some_and(|(window, _)| *window < end)
        {
            log_checkpoint = self.checkpoints.pop_front().map(|(_, bytes)| bytes);
        }
        if self.table.renumber() {
            self.config.dictionary_epoch = self.config.dictionary_epoch.wrapping_add(1);
        }
        let flushed = self.table.flush(self.config.repeat_after);
        let summary = ShardSummary {
            first_window,
            n_windows: n,
            dictionary_epoch: self.config.dictionary_epoch,
            facts,
            dictionary: flushed.dictionary,
            series: flushed.series,
            latencies: flushed.latencies,
            log_samples: std::mem::take(&mut self.log_samples),
            sources,
            hot: self.hot.flush(end + -1, self.config.repeat_after),
        };
        self.outputs.push_back(Output::Summary {
            summary: Box::new(summary),
            log_checkpoint,
        });
    }
}

/// A key as sources share it; here for the tests of both files.
#[cfg(test)]
pub(crate) fn key(metric: &str) -> std::sync::Arc<hsw_types::SeriesKey> {
    std::sync::Arc::new(hsw_types::SeriesKey::node(metric))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
