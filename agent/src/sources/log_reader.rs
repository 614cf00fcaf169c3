//! One round of the log source, without any await: tail, put together, classify. (step 1)
//!
//! Invariant: LR-1 the checkpoint of a round covers exactly what its readings count; open records are read again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsw_pipeline::{
    Assembler, ClassifierConfig, LinePrefix, LogClassifier, LogFormat, Severity, Told, detect, skim,
};
use hsw_tail::{Disk, FileNumber, Tailer};
use hsw_types::{LogSample, Monotonic, Reading, Renamed, SeriesKey, SourceState, WallTime};

use super::log::{Config, Format, Start};
use super::postgres::DatabaseSettings;

#[cfg(feature = "journald")]
use super::log_journal::Hearing;
use super::log_plan::{Plan, plan};
use super::log_position::{join, split};

/// Bytes a file's format is told from.
const SAMPLE_BYTES: u64 = 64 * 1024;

/// Of the budget of lines, one in so many is kept for errors once it is spent.
const ERRORS_KEPT: u64 = 10;

/// A checkpoint of many files is told less often, so that it costs the disk no more than this.
const CHECKPOINT_BYTES_PER_SECOND: u64 = 4 * 1024;
/// A record of several lines is handed out after this long even if it still grows.
const RECORD_WAIT: Duration = Duration::from_secs(10);

/// What a round found.
pub(super) struct Round {
    pub(super) at: WallTime,
    pub(super) readings: Vec<Reading>,
    pub(super) samples: Vec<LogSample>,
    pub(super) renamed: Vec<Renamed>,
    pub(super) told: Told,
    pub(super) checkpoint: Option<Vec<u8>>,
    pub(super) state: SourceState,
    pub(super) message: String,
    pub(super) dropped: u64,
    pub(super) directories: Vec<PathBuf>,
}

/// Files, open records and counts.
pub(super) struct Reader {
    config: Config,
    tailer: Tailer<Disk>,
    pub(super) classifier: LogClassifier,
    assemblers: BTreeMap<FileNumber, Open>,
    settings: Option<DatabaseSettings>,
    pub(super) plan: Plan,
    lag: Arc<SeriesKey>,
    last_checkpoint: Vec<u8>,
    /// A large checkpoint is not told each second.
    checkpoint_due: Monotonic,
    #[cfg(feature = "journald")]
    pub(super) journal: Hearing,
    /// Where the journal is to be read on, where nobody reads it now.
    #[cfg(not(feature = "journald"))]
    cursor: Option<String>,
    /// Of assemblers that are gone.
    n_malformed: u64,
}

struct Open {
    assembler: Assembler,
    had_lines: bool,
    n_idle: u32,
    /// First line of the open record, and when it came.
    open_since: Option<(u64, Monotonic)>,
}

impl Open {
    /// Whether a record grew for too long: what trickles in must not hold back the checkpoint for ever.
    fn is_overdue(&mut self, now: Monotonic) -> bool {
        let held = self.assembler.held();
        let known = self.open_since.filter(|(start, _)| Some(*start) == held);
        self.open_since = known.or_else(|| held.map(|start| (start, now)));
        self.open_since
            .is_some_and(|(_, since)| now.since(since) >= RECORD_WAIT)
    }
}

impl Reader {
    /// Starts from a checkpoint; one that cannot be read is named and left aside.
    pub(super) fn new(config: Config, checkpoint: Option<Vec<u8>>) -> (Self, Option<String>) {
        let limits = hsw_tail::Config {
            start: match config.start {
                Start::End => hsw_tail::Start::End,
                Start::Beginning => hsw_tail::Start::Beginning,
            },
            line_bytes_max: config.line_bytes_max.max(256),
            poll_bytes_max: config.bytes_per_second_max.max(64 * 1024),
            n_open_max: config.n_open_max.max(1),
            scan_every: Duration::from_millis(config.poll_ms.max(100)),
            ..hsw_tail::Config::default()
        };
        let plan = plan(&config, None);
        let mut refused = None;
        let (cursor, files) = checkpoint.map(split).unwrap_or_default();
        let restored = files.and_then(|bytes| {
            let tailer = Tailer::restore(Disk, limits.clone(), plan.patterns.clone(), &bytes);
            tailer
                .map_err(|error| refused = Some(error.to_string()))
                .ok()
        });
        let classifier = LogClassifier::new(ClassifierConfig {
            own: config.own.clone(),
            literals: config.literals,
            n_templates_max: config.n_templates_max,
            n_queries_max: config.n_queries_max,
            n_queries_told_max: config.n_queries_told_max,
            n_statements_max: usize::try_from(config.lines_per_second_max).unwrap_or(usize::MAX),
            ..ClassifierConfig::default()
        });
        let reader = Self {
            tailer: restored.unwrap_or_else(|| Tailer::new(Disk, limits, plan.patterns.clone())),
            config,
            classifier,
            assemblers: BTreeMap::new(),
            settings: None,
            plan,
            lag: Arc::new(SeriesKey::node("log.lag_bytes")),
            last_checkpoint: Vec::new(),
            checkpoint_due: Monotonic(0),
            #[cfg(feature = "journald")]
            journal: Hearing::new(cursor),
            #[cfg(not(feature = "journald"))]
            cursor,
            n_malformed: 0,
        };
        (reader, refused)
    }

    /// Reads what came since the last round.
    pub(super) fn round(
        &mut self,
        now: Monotonic,
        settings: Option<DatabaseSettings>,
        rescan: bool,
    ) -> Round {
        // Settings that went away (the database is down) do not move the log.
        if settings.is_some() && settings != self.settings {
            self.settings = settings;
            let plan = plan(&self.config, self.settings.as_ref());
            if plan != self.plan {
                self.tailer.set_patterns(plan.patterns.clone());
                self.plan = plan;
            }
        }
        if rescan {
            self.tailer.rescan();
        }
        let at = wall_now();
        if !self.plan.patterns.is_empty() {
            self.read(now, at);
        }
        #[cfg(feature = "journald")]
        self.listen(at);
        let (state, message) = self.state();
        let mut readings = Vec::new();
        if state == SourceState::Ok {
            self.classifier.tick(&mut readings);
            readings.push(Reading::gauge(&self.lag, self.tailer.lag_bytes() as f64));
        }
        let mut checkpoint = None;
        if state == SourceState::Ok && now >= self.checkpoint_due {
            checkpoint = self.last_checkpoint();
            let n_bytes = self.last_checkpoint.len() as u64;
            self.checkpoint_due = now + Duration::from_secs(n_bytes / CHECKPOINT_BYTES_PER_SECOND);
        }
        Round {
            at,
            readings,
            samples: self.classifier.take_samples(),
            renamed: self.classifier.take_renamed(),
            told: self.classifier.take_statements(),
            checkpoint,
            state,
            message,
            dropped: self.dropped(),
            directories: self.directories(),
        }
    }

    /// The position of everything told so far, if it is news.
    pub(super) fn last_checkpoint(&mut self) -> Option<Vec<u8>> {
        let assemblers = &self.assemblers;
        let held = |number| {
            assemblers
                .get(&number)
                .and_then(|open: &Open| open.assembler.held())
        };
        #[cfg(feature = "journald")]
        let cursor = self.journal.cursor();
        #[cfg(not(feature = "journald"))]
        let cursor = self.cursor.as_deref();
        let checkpoint = join(cursor, self.tailer.checkpoint(held));
        if checkpoint == self.last_checkpoint {
            return None;
        }
        self.last_checkpoint.clone_from(&checkpoint);
        Some(checkpoint)
    }

    fn read(&mut self, now: Monotonic, at: WallTime) {
        let (assemblers, classifier, plan) =
            (&mut self.assemblers, &mut self.classifier, &self.plan);
        let prefix = plan
            .prefix
            .as_deref()
            .map(|text| Arc::new(LinePrefix::compile(text)));
        let mut budget = self.config.lines_per_second_max;
        let mut errors_budget = budget / ERRORS_KEPT;
        self.tailer.poll(now, &mut |line| {
            let open = assemblers.entry(line.file).or_insert_with(|| Open {
                assembler: Assembler::new(format_of(plan.format, line.path, prefix.as_ref())),
                had_lines: false,
                n_idle: 0,
                open_since: None,
            });
            open.had_lines = true;
            if budget == 0 {
                let severity = skim(line.bytes, open.assembler.format());
                if severity < Severity::Error || errors_budget == 0 {
                    classifier.skimmed(severity);
                    return;
                }
                errors_budget -= 1;
            }
            budget = budget.saturating_sub(1);
            let mut emit = |record: &_| classifier.record(at, record);
            open.assembler.line(line.start, line.bytes, &mut emit);
            if budget == 0 {
                // Lines are missing from here on: what is open cannot be completed.
                open.assembler.flush(&mut emit);
            }
        });
        let n_malformed = &mut self.n_malformed;
        assemblers.retain(|_, open| {
            if std::mem::take(&mut open.had_lines) {
                open.n_idle = 0;
                if open.is_overdue(now) {
                    open.assembler
                        .flush(&mut |record| classifier.record(at, record));
                }
                return true;
            }
            open.assembler
                .idle(&mut |record| classifier.record(at, record));
            open.n_idle += 1;
            // A quiet file gets a new one when it speaks again.
            let keep = open.n_idle < 60 || open.assembler.held().is_some();
            if !keep {
                *n_malformed += open.assembler.counters().malformed;
            }
            keep
        });
    }

    fn state(&self) -> (SourceState, String) {
        #[cfg(feature = "journald")]
        if let Some((state, message)) = self.journal.state() {
            if self.plan.patterns.is_empty() {
                return (state, message);
            }
            // Either is better than none; what is wrong with the other is named.
            let (files, why) = self.state_of_files();
            let both = format!("{message} {why}").trim().to_owned();
            let best = if state == SourceState::Ok {
                state
            } else {
                files
            };
            return (best, both);
        }
        self.state_of_files()
    }

    fn state_of_files(&self) -> (SourceState, String) {
        if let Some(problem) = &self.plan.problem {
            return (SourceState::Absent, problem.clone());
        }
        let problem = self.tailer.problems().first();
        if self.tailer.n_files().0 > 0 {
            // Some of it can be read; what cannot is named all the same.
            let message =
                problem.map(|(path, kind)| format!("{}: {kind}; not read", path.display()));
            return (SourceState::Ok, message.unwrap_or_default());
        }
        if let Some((path, kind)) = problem {
            let path = path.display();
            return match kind {
                std::io::ErrorKind::NotFound => (
                    SourceState::Absent,
                    format!(
                        "{path}: no such log directory; set `paths` in [log], or leave it out to ask the database"
                    ),
                ),
                std::io::ErrorKind::PermissionDenied => (
                    SourceState::Refused,
                    format!(
                        "{path}: may not be read; add the agent's user to the directory's group and set log_file_mode = 0640"
                    ),
                ),
                other => (
                    SourceState::Absent,
                    format!("{path}: {other}; check the file system"),
                ),
            };
        }
        let looked = self
            .plan
            .patterns
            .iter()
            .map(|p| p.path().display().to_string());
        let looked: Vec<_> = looked.collect();
        (
            SourceState::Absent,
            format!(
                "{}: no such log file yet; check logging_collector and `paths` in [log]",
                looked.join(", ")
            ),
        )
    }

    fn dropped(&self) -> u64 {
        let (tail, told) = (self.tailer.counters(), self.classifier.counters());
        let open = self
            .assemblers
            .values()
            .map(|open| open.assembler.counters().malformed);
        #[cfg(feature = "journald")]
        let of_journal = self.journal.dropped();
        #[cfg(not(feature = "journald"))]
        let of_journal = 0;
        of_journal
            + self.n_malformed
            + open.sum::<u64>()
            + tail.lines_truncated
            + u64::from(tail.bytes_lost > 0)
            + told.codes_over_limit
            + told.templates_over_limit
            + told.durations_over_limit
            + told.skimmed
            + told.statements_over_limit
            + told.logins_over_limit
    }

    fn directories(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self
            .plan
            .patterns
            .iter()
            .map(|p| p.directory().to_owned())
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

/// The format of a file; with `auto` its beginning is looked at.
fn format_of(format: Format, path: &Path, prefix: Option<&Arc<LinePrefix>>) -> LogFormat {
    let stderr = || {
        prefix.map_or(LogFormat::Plain, |prefix| {
            LogFormat::Stderr(Arc::clone(prefix))
        })
    };
    match format {
        Format::Jsonlog => LogFormat::Json,
        Format::Csvlog => LogFormat::Csv,
        Format::Stderr => stderr(),
        Format::MysqlError => LogFormat::MysqlError,
        Format::MysqlSlow => LogFormat::MysqlSlow,
        Format::Mongodb => LogFormat::Mongo,
        Format::MongodbText => LogFormat::MongoText,
        Format::Redis => LogFormat::Redis,
        Format::Plain => LogFormat::Plain,
        Format::Auto => {
            let head = head_of(path);
            let lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match detect(&lines, &name) {
                // The prefix that is known is better than one that was guessed.
                LogFormat::Stderr(_) | LogFormat::Plain if prefix.is_some() => stderr(),
                found => found,
            }
        }
    }
}

/// The first bytes of a file; none where it went away meanwhile: its name then decides.
fn head_of(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read until an error is good enough.
        let _ = file.take(SAMPLE_BYTES).read_to_end(&mut head);
    }
    head
}

/// Microseconds since 1970; 0 on a host whose clock stands before.
fn wall_now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
