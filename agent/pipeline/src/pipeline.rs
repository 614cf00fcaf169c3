//! One-second windows, differenced counters, latency sketches, one summary every few windows. (steps 3–4)

use std::time::Duration;

use hsw_types::{
    LogSample, Monotonic, NodeFacts, Reading, ShardSummary, SourceStatus, WallTime, WindowIndex,
};

/// Limits and pace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Windows per summary; 2 by default.
    pub windows_per_summary: u16,
    /// Series known at a time; beyond it new series are counted and left out. 2,000 by default.
    pub n_series_max: usize,
    /// The whole dictionary and the facts are repeated after this many summaries. 150 by default (5 minutes).
    pub repeat_after: u32,
    /// Log samples per summary; more are counted. 5 by default.
    pub n_log_samples_max: usize,
    /// Names this run of the agent; changes whenever ids start anew.
    pub dictionary_epoch: u64,
    /// Windows up to and including this one are already in the spool or at the aggregator.
    pub last_window: Option<WindowIndex>,
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
    /// A source's state.
    Status(SourceStatus),
    /// Facts of the node, complete.
    Facts(Box<NodeFacts>),
    /// A notable log line.
    Log(LogSample),
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
    /// Windows skipped because the clock went back over windows already sent.
    pub windows_repeated: u64,
}

/// The pipeline. See the module's header.
#[derive(Debug)]
pub struct Pipeline {
    _config: Config,
}

impl Pipeline {
    /// Starts empty.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { _config: config }
    }

    /// Told something; `now` never runs backwards.
    pub fn handle(&mut self, _now: Monotonic, _input: Input) {}

    /// What to do next; drain before the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// Call `handle(_, Input::Clock(..))` no later than this.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }

    /// What was left out so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Longest wait between the end of a window and its summary: one summary's windows and the grace.
    #[must_use]
    pub const fn delay_max(&self) -> Duration {
        Duration::from_secs(3)
    }
}
