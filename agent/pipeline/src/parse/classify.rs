//! What records say, as readings once a second. (step 2)
//!
//! In: [`LogRecord`]s in order. Out: `log.*` and `query.*` readings per tick, a few masked samples.
//! Invariants: CL-1 errors, refusals, lock waits and requested checkpoints are said each tick, zero included: "none" is
//! not "unknown". CL-2 tables are bounded: codes, templates, durations and samples over the limit are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{LogSample, Reading, Renamed, SeriesKey, Value, WallTime};

use super::logins::RefusedLogins;
use super::mask::mask;
use super::mine;
use super::queries::{QueryCounters, QueryLimits, QueryTable};
use super::record::{LogRecord, Severity};
use super::signs::{is_lock_wait, is_refusal, is_requested_checkpoint};
use super::statements::{StatementList, Told};
use super::templates::TemplateTable;

/// Limits, and whose lines are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassifierConfig {
    /// Login roles of the agent itself, or its application name where a record has no role; `hsw-agent` by default.
    pub own: Vec<String>,
    /// Ship samples unmasked. Off by default; statements are cut off all the same.
    pub literals: bool,
    /// Templates told apart at a time. 300 by default.
    pub n_templates_max: usize,
    /// Limits of the miner.
    pub mining: mine::Config,
    /// SQLSTATEs known. 100 by default.
    pub n_codes_max: usize,
    /// Durations told one by one per tick. 2,000 by default; more only count as slow statements.
    pub n_durations_max: usize,
    /// Samples per tick. 5 by default; a changed plan comes before them.
    pub n_samples_max: usize,
    /// Kinds of statements known at a time. 200 by default.
    pub n_queries_max: usize,
    /// Kinds whose durations are told one by one per tick, those that took most; the others together. 20 by default.
    pub n_queries_told_max: usize,
    /// Statements told one by one per tick, for triggers; more are counted. 100,000 by default.
    pub n_statements_max: usize,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self {
            own: vec!["hsw-agent".to_owned()],
            literals: false,
            n_templates_max: 300,
            mining: mine::Config {
                n_templates_max: 2_000,
                n_shapes_max: 16_384,
            },
            n_codes_max: 100,
            n_durations_max: 2_000,
            n_samples_max: 5,
            n_queries_max: 200,
            n_queries_told_max: 20,
            n_statements_max: 100_000,
        }
    }
}

/// What was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassifierCounters {
    /// Lines of the agent's own sessions.
    pub own: u64,
    /// Lines of templates over the limit; in the overflow template.
    pub templates_over_limit: u64,
    /// Errors of codes over the limit; in `log.errors` only.
    pub codes_over_limit: u64,
    /// Durations over the limit.
    pub durations_over_limit: u64,
    /// Samples over the limit.
    pub samples_over_limit: u64,
    /// Lines counted by severity and not read.
    pub skimmed: u64,
    /// Refused logins of clients and roles over the limit.
    pub logins_over_limit: u64,
    /// Statements not told one by one.
    pub statements_over_limit: u64,
    /// Kinds of statements, and plans.
    pub queries: QueryCounters,
}

/// Turns records into readings. See the module's header.
#[derive(Debug)]
pub struct LogClassifier {
    config: ClassifierConfig,
    keys: Keys,
    n_lines: [u64; Severity::ALL.len()],
    n_errors: u64,
    n_refused: u64,
    logins: RefusedLogins,
    n_lock_waits: u64,
    n_checkpoints: u64,
    n_slow: u64,
    durations: Vec<f64>,
    codes: BTreeMap<String, (Arc<SeriesKey>, u64)>,
    templates: TemplateTable,
    samples: Vec<LogSample>,
    queries: QueryTable,
    statements: StatementList,
    text: String,
    counters: ClassifierCounters,
}

#[derive(Debug)]
struct Keys {
    lines: [Arc<SeriesKey>; Severity::ALL.len()],
    errors: Arc<SeriesKey>,
    refused: Arc<SeriesKey>,
    lock_waits: Arc<SeriesKey>,
    checkpoints: Arc<SeriesKey>,
    slow: Arc<SeriesKey>,
    duration: Arc<SeriesKey>,
}

impl LogClassifier {
    /// Starts empty.
    #[must_use]
    pub fn new(config: ClassifierConfig) -> Self {
        let node = |metric| Arc::new(SeriesKey::node(metric));
        let queries = QueryTable::new(QueryLimits {
            n_queries: config.n_queries_max,
            n_told: config.n_queries_told_max,
            n_durations: config.n_durations_max,
        });
        Self {
            templates: TemplateTable::new(config.n_templates_max, config.mining),
            statements: StatementList::new(config.n_statements_max),
            config,
            queries,
            keys: Keys {
                lines: Severity::ALL.map(|s| Arc::new(SeriesKey::object("log.lines", s.as_str()))),
                errors: node("log.errors"),
                refused: node("log.refused_connections"),
                lock_waits: node("log.lock_waits"),
                checkpoints: node("log.requested_checkpoints"),
                slow: node("log.slow_statements"),
                duration: node("log.duration_ms"),
            },
            n_lines: [0; Severity::ALL.len()],
            n_errors: 0,
            n_refused: 0,
            logins: RefusedLogins::default(),
            n_lock_waits: 0,
            n_checkpoints: 0,
            n_slow: 0,
            durations: Vec::new(),
            codes: BTreeMap::new(),
            samples: Vec::new(),
            text: String::new(),
            counters: ClassifierCounters::default(),
        }
    }

    /// What was left out.
    #[must_use]
    pub fn counters(&self) -> ClassifierCounters {
        ClassifierCounters {
            queries: self.queries.counters(),
            templates_over_limit: self.templates.n_over_limit(),
            logins_over_limit: self.logins.n_over_limit(),
            statements_over_limit: self.statements.n_over_limit(),
            ..self.counters
        }
    }

    /// What the template miner did under pressure.
    #[must_use]
    pub const fn mining(&self) -> mine::Counters {
        self.templates.mining()
    }

    /// Takes a record; `now` dates samples whose line has no usable time.
    pub fn record(&mut self, now: WallTime, record: &LogRecord) {
        // Any client may call itself what it likes; its login role is what the server knows.
        let who = match record.user.as_str() {
            "" => &record.application,
            _ => &record.user,
        };
        let own = |name: &String| !name.is_empty() && name == who;
        if self.config.own.iter().any(own) {
            self.counters.own += 1;
            return;
        }
        self.n_lines[record.severity as usize] += 1;
        if record.severity >= Severity::Error {
            self.n_errors += 1;
            self.code(&record.code);
        }
        let lock_wait = is_lock_wait(record);
        self.n_refused += u64::from(is_refusal(record));
        self.logins.take(record);
        self.n_lock_waits += u64::from(lock_wait);
        self.n_checkpoints += u64::from(is_requested_checkpoint(record));
        if let Some(ms) = record.duration_ms {
            self.n_slow += 1;
            if self.durations.len() < self.config.n_durations_max {
                self.durations.push(ms);
            } else {
                self.counters.durations_over_limit += 1;
            }
        }
        let fingerprint = self.queries.record(now, record);
        self.statements.take(now, record, fingerprint);
        self.templates.take(record.severity, &record.message);
        if record.severity >= Severity::Warning || lock_wait {
            self.sample(now, record);
        }
    }

    /// Counts a line that there was no time to read.
    pub fn skimmed(&mut self, severity: Severity) {
        self.n_lines[severity as usize] += 1;
        self.n_errors += u64::from(severity >= Severity::Error);
        self.counters.skimmed += 1;
    }

    /// The readings since the last tick; call once a second while the log can be read.
    pub fn tick(&mut self, readings: &mut Vec<Reading>) {
        let mut events = |key: &Arc<SeriesKey>, n: u64| {
            readings.push(Reading {
                key: Arc::clone(key),
                value: Value::Events(n as f64),
            });
        };
        for (key, n) in self.keys.lines.iter().zip(&mut self.n_lines) {
            // Severities that never came are not worth a series each.
            if *n > 0 {
                events(key, std::mem::take(n));
            }
        }
        events(&self.keys.errors, std::mem::take(&mut self.n_errors));
        events(&self.keys.refused, std::mem::take(&mut self.n_refused));
        events(
            &self.keys.lock_waits,
            std::mem::take(&mut self.n_lock_waits),
        );
        events(
            &self.keys.checkpoints,
            std::mem::take(&mut self.n_checkpoints),
        );
        for (key, n) in self.codes.values_mut().filter(|(_, n)| *n > 0) {
            events(key, std::mem::take(n));
        }
        if self.n_slow > 0 {
            events(&self.keys.slow, std::mem::take(&mut self.n_slow));
        }
        self.logins.tick(readings);
        self.templates.tick(readings);
        readings.extend(self.durations.drain(..).map(|ms| Reading {
            key: Arc::clone(&self.keys.duration),
            value: Value::LatencyMs(ms),
        }));
        self.queries.tick(readings);
    }

    /// The samples since the last tick: changed plans, then lines, oldest first.
    pub fn take_samples(&mut self) -> Vec<LogSample> {
        let mut samples = self.queries.take_samples();
        samples.append(&mut self.samples);
        samples
    }

    /// Statements since the last call.
    pub fn take_statements(&mut self) -> Told {
        self.statements.tick()
    }

    /// Templates that go on under another name; to be told before the readings of the tick.
    pub fn take_renamed(&mut self) -> Vec<Renamed> {
        self.templates.take_renamed()
    }

    fn code(&mut self, code: &str) {
        if !is_sqlstate(code) {
            return;
        }
        if let Some((_, n)) = self.codes.get_mut(code) {
            *n += 1;
        } else if self.codes.len() < self.config.n_codes_max {
            let key = Arc::new(SeriesKey::object("log.error_code", code));
            self.codes.insert(code.to_owned(), (key, 1));
        } else {
            self.counters.codes_over_limit += 1;
        }
    }

    fn sample(&mut self, now: WallTime, record: &LogRecord) {
        if self.samples.len() >= self.config.n_samples_max {
            self.counters.samples_over_limit += 1;
            return;
        }
        let text = if self.config.literals {
            record.message.chars().take(1_000).collect()
        } else {
            mask(&record.message, &mut self.text);
            self.text.clone()
        };
        self.samples.push(LogSample {
            at: record.at.unwrap_or(now),
            severity: record.severity.as_str().to_owned(),
            code: if is_sqlstate(&record.code) {
                record.code.clone()
            } else {
                String::new()
            },
            text,
        });
    }
}

/// Exactly what a SQLSTATE can be, so that nothing else becomes a name or leaves.
fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
        && code
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(severity: Severity, code: &str, message: &str) -> LogRecord {
        let mut record = LogRecord {
            severity,
            code: code.to_owned(),
            ..LogRecord::default()
        };
        record.set_message(message);
        record
    }

    fn events(classifier: &mut LogClassifier) -> BTreeMap<String, f64> {
        let mut readings = Vec::new();
        classifier.tick(&mut readings);
        crate::parse::by_name(&readings)
    }

    #[test]
    fn a_quiet_second_says_zero_and_nothing_else() {
        let mut classifier = LogClassifier::new(ClassifierConfig::default());
        let told = events(&mut classifier);
        let names: Vec<&str> = told.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "log.errors",
                "log.lock_waits",
                "log.refused_connections",
                "log.requested_checkpoints"
            ]
        );
        assert!(told.values().all(|n| *n == 0.0));
    }

    #[test]
    fn a_client_that_calls_itself_the_agent_hides_nothing() {
        let mut classifier = LogClassifier::new(ClassifierConfig::default());
        let mut client = record(Severity::Error, "42501", "permission denied");
        client.application = "hsw-agent".to_owned();
        client.user = "app".to_owned();
        classifier.record(WallTime(1), &client);
        assert_eq!(classifier.counters().own, 0);
        // Before the login nobody has a role; some formats never say it.
        client.user.clear();
        classifier.record(WallTime(1), &client);
        assert_eq!(classifier.counters().own, 1);
        assert_eq!(events(&mut classifier).get("log.errors"), Some(&1.0));
    }

    #[test]
    fn each_kind_of_line_is_told_as_what_it_is() {
        let mut classifier = LogClassifier::new(ClassifierConfig::default());
        let mut own = record(Severity::Error, "42501", "permission denied");
        own.user = "hsw-agent".to_owned();
        for r in [
            record(Severity::Fatal, "53300", "sorry, too many clients already"),
            record(Severity::Fatal, "", "the database system is starting up"),
            record(
                Severity::Fatal,
                "28P01",
                "password authentication failed for user \"x\"",
            ),
            record(
                Severity::Log,
                "00000",
                "process 5 still waiting for ShareLock on transaction 7 after 1000.1 ms",
            ),
            record(
                Severity::Log,
                "00000",
                "process 5 acquired ShareLock on transaction 7 after 1000.1 ms",
            ),
            record(Severity::Log, "00000", "checkpoint starting: time"),
            record(Severity::Log, "00000", "checkpoint starting: wal"),
            record(
                Severity::Log,
                "00000",
                "checkpoint starting: immediate force wait",
            ),
            record(
                Severity::Log,
                "00000",
                "checkpoint complete: wrote 5 buffers",
            ),
            record(
                Severity::Log,
                "00000",
                "duration: 8.5 ms  statement: select 'x'",
            ),
            own,
        ] {
            classifier.record(WallTime(1), &r);
        }
        let samples = classifier.take_samples();
        let told = events(&mut classifier);
        let told = |name: &str| told.get(name).copied();
        assert_eq!(told("log.errors"), Some(3.0));
        assert_eq!(told("log.refused_connections"), Some(2.0));
        assert_eq!(told("log.lock_waits"), Some(1.0));
        assert_eq!(told("log.requested_checkpoints"), Some(2.0));
        assert_eq!(told("log.duration_ms"), Some(8.5));
        assert_eq!(told("log.slow_statements"), Some(1.0));
        assert_eq!(told("log.error_code{53300}"), Some(1.0));
        assert_eq!(told("log.lines{FATAL}"), Some(3.0));
        assert_eq!(told("log.template{duration: <*> ms}"), Some(1.0));
        assert_eq!(samples.len(), 4);
        assert_eq!(
            samples[2].text,
            "password authentication failed for user <*>"
        );
        assert_eq!(classifier.counters().own, 1);
    }
}
