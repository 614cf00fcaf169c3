//! What the log says of each kind of statement: latencies, errors, rows, changed plans. (step 2)
//!
//! In: [`LogRecord`]s that hold a statement. Out: `query.*` readings per tick, and a sample for a plan that changed.
//! Invariants: QU-1 no literal leaves: kinds are named by their template, plans by node, table and index names.
//! QU-2 bounded: kinds, kinds told one by one per tick, durations and plans per tick; the rest shares one series or is
//! counted. QU-3 a plan that comes back within [`SHAPE_KNOWN_TICKS`] is no change, so that flapping is told once.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{LogSample, Reading, SeriesKey, Subject, Value, WallTime, fnv1a_64};

use super::record::{LogRecord, Severity};
use crate::sql::{Dialect, Fingerprinter, PlanReader, plan_difference};

/// Text of the series that takes the durations of kinds over the limits.
const OVERFLOW: &str = "<other queries>";
/// Ticks after which an unseen kind gives way to a new one: ten minutes.
const IDLE_TICKS: u64 = 600;
/// Ticks for which a plan's shape is known: an hour.
const SHAPE_KNOWN_TICKS: u64 = 3_600;
/// Shapes remembered per kind.
const N_SHAPES: usize = 4;
/// Characters of a kind's text that are shipped; its hash is of the whole.
const TEXT_CHARS_MAX: usize = 300;
/// Characters of a kind's text in a sample.
const SAMPLE_CHARS_MAX: usize = 160;
/// Bytes of a shape's words that are remembered.
const SHAPE_BYTES_MAX: usize = 2_000;
/// Plans read per tick; more are counted.
const N_PLANS_MAX: u32 = 50;
/// Samples of changed plans per tick.
const N_SAMPLES_MAX: usize = 2;

/// Limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueryLimits {
    pub(super) n_queries: usize,
    pub(super) n_told: usize,
    pub(super) n_durations: usize,
}

/// What was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryCounters {
    /// Durations and errors of kinds over the limits; durations are in the overflow series.
    pub over_limit: u64,
    /// Durations over the limit per tick; in no series of a kind.
    pub durations_over_limit: u64,
    /// Plans over the limit per tick, or in a format that is not read, or cut off.
    pub plans_unread: u64,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    hash: u64,
    seen_at: u64,
}

#[derive(Debug)]
struct Query {
    latency: Arc<SeriesKey>,
    n_errors: u64,
    errors: Option<Arc<SeriesKey>>,
    n_rows: u64,
    rows: Option<Arc<SeriesKey>>,
    n_changes: u64,
    changes: Option<Arc<SeriesKey>>,
    seen_at: u64,
    /// The newest first.
    shapes: Vec<Shape>,
    shape: String,
}

/// Kinds of statements, bounded. See the module's header.
#[derive(Debug)]
pub(super) struct QueryTable {
    limits: QueryLimits,
    postgres: Fingerprinter,
    mysql: Fingerprinter,
    plans: PlanReader,
    queries: BTreeMap<u64, Query>,
    durations: Vec<(u64, f64)>,
    totals: Vec<(f64, u64)>,
    overflow: Arc<SeriesKey>,
    samples: Vec<LogSample>,
    n_plans: u32,
    n_ticks: u64,
    /// The tick in which no kind could give way.
    full_at: Option<u64>,
    counters: QueryCounters,
}

impl QueryTable {
    pub(super) fn new(limits: QueryLimits) -> Self {
        Self {
            limits,
            #[cfg(feature = "postgresql-parser")]
            postgres: Fingerprinter::with_parser(),
            #[cfg(not(feature = "postgresql-parser"))]
            postgres: Fingerprinter::new(Dialect::PostgreSql),
            mysql: Fingerprinter::new(Dialect::MySql),
            plans: PlanReader::default(),
            queries: BTreeMap::new(),
            durations: Vec::new(),
            totals: Vec::new(),
            overflow: Arc::new(key(
                "query.latency_ms",
                OVERFLOW,
                fnv1a_64(OVERFLOW.as_bytes()),
            )),
            samples: Vec::new(),
            n_plans: 0,
            n_ticks: 0,
            full_at: None,
            counters: QueryCounters::default(),
        }
    }

    pub(super) const fn counters(&self) -> QueryCounters {
        self.counters
    }

    /// Takes a record; one without a statement says nothing here. Returns the hash of its kind, 0 for none.
    pub(super) fn record(&mut self, now: WallTime, record: &LogRecord) -> u64 {
        let is_error = record.severity >= Severity::Error;
        let says_something =
            record.duration_ms.is_some() || is_error || record.rows_examined.is_some();
        if record.statement.is_empty() || !says_something {
            return 0;
        }
        let (hash, is_known) = self.known(record);
        if !is_known {
            self.counters.over_limit += 1;
            if let Some(ms) = record.duration_ms {
                self.duration(fnv1a_64(OVERFLOW.as_bytes()), ms);
            }
            return hash;
        }
        if let Some(ms) = record.duration_ms {
            self.duration(hash, ms);
        }
        if let Some(query) = self.queries.get_mut(&hash) {
            query.seen_at = self.n_ticks;
            query.n_errors += u64::from(is_error);
            query.n_rows = query
                .n_rows
                .saturating_add(record.rows_examined.unwrap_or(0));
        }
        if !record.plan.is_empty() {
            self.plan(now, hash, record);
        }
        hash
    }

    /// The hash of the record's kind, and whether it is in the table; it is not where there is no room.
    fn known(&mut self, record: &LogRecord) -> (u64, bool) {
        let (hash, text) = match dialect(record) {
            // MongoDB's statements come as a shape already.
            None => {
                let text = record.statement.as_str();
                (fnv1a_64(text.as_bytes()), text)
            }
            Some(dialect) => {
                let fingerprinter = match dialect {
                    Dialect::MySql => &mut self.mysql,
                    Dialect::PostgreSql => &mut self.postgres,
                };
                let fingerprint = fingerprinter.fingerprint(&record.statement);
                (fingerprint.hash, fingerprint.text)
            }
        };
        if self.queries.contains_key(&hash) {
            return (hash, true);
        }
        if self.queries.len() >= self.limits.n_queries {
            let search = self.full_at != Some(self.n_ticks);
            let is_idle = |query: &Query| search && self.n_ticks - query.seen_at >= IDLE_TICKS;
            let idle = self.queries.iter().filter(|(_, query)| is_idle(query));
            let Some(oldest) = idle
                .min_by_key(|(_, query)| query.seen_at)
                .map(|(hash, _)| *hash)
            else {
                self.full_at = Some(self.n_ticks);
                return (hash, false);
            };
            self.queries.remove(&oldest);
        }
        let query = Query {
            latency: Arc::new(key("query.latency_ms", cut(text, TEXT_CHARS_MAX), hash)),
            n_errors: 0,
            errors: None,
            n_rows: 0,
            rows: None,
            n_changes: 0,
            changes: None,
            seen_at: self.n_ticks,
            shapes: Vec::new(),
            shape: String::new(),
        };
        self.queries.insert(hash, query);
        (hash, true)
    }

    fn duration(&mut self, hash: u64, ms: f64) {
        if self.durations.len() < self.limits.n_durations {
            self.durations.push((hash, ms));
        } else {
            self.counters.durations_over_limit += 1;
        }
    }

    /// Notices a plan whose shape was not known for this kind.
    fn plan(&mut self, now: WallTime, hash: u64, record: &LogRecord) {
        self.n_plans += 1;
        let shape = if self.n_plans > N_PLANS_MAX {
            None
        } else {
            self.plans.shape(&record.plan)
        };
        let (Some(shape), Some(query)) = (shape, self.queries.get_mut(&hash)) else {
            self.counters.plans_unread += 1;
            return;
        };
        let now_tick = self.n_ticks;
        if let Some(newest) = query
            .shapes
            .first_mut()
            .filter(|newest| newest.hash == shape.hash)
        {
            newest.seen_at = now_tick;
            return;
        }
        let before = query
            .shapes
            .iter()
            .position(|known| known.hash == shape.hash);
        let seen_at = before.map(|at| query.shapes.remove(at).seen_at);
        let is_known = seen_at.is_some_and(|at| now_tick - at < SHAPE_KNOWN_TICKS);
        let is_first = query.shapes.is_empty() && seen_at.is_none();
        query.shapes.truncate(N_SHAPES - 1);
        query.shapes.insert(
            0,
            Shape {
                hash: shape.hash,
                seen_at: now_tick,
            },
        );
        let old = std::mem::take(&mut query.shape);
        let end = shape.text.floor_char_boundary(SHAPE_BYTES_MAX);
        query.shape.push_str(&shape.text[..end]);
        if is_known || is_first {
            return;
        }
        query.n_changes += 1;
        if self.samples.len() < N_SAMPLES_MAX {
            let text = text_of(&query.latency);
            let ellipsis = if text.chars().nth(SAMPLE_CHARS_MAX).is_some() {
                "…"
            } else {
                ""
            };
            let text = cut(text, SAMPLE_CHARS_MAX);
            self.samples.push(LogSample {
                at: record.at.unwrap_or(now),
                severity: "PLAN".to_owned(),
                code: String::new(),
                text: format!(
                    "plan of `{text}{ellipsis}` changed: {}",
                    plan_difference(&old, &query.shape)
                ),
            });
        }
    }

    /// Samples of changed plans since the last tick.
    pub(super) fn take_samples(&mut self) -> Vec<LogSample> {
        std::mem::take(&mut self.samples)
    }

    /// The readings since the last tick.
    pub(super) fn tick(&mut self, readings: &mut Vec<Reading>) {
        self.n_ticks += 1;
        self.n_plans = 0;
        self.tell_durations(readings);
        for (hash, query) in &mut self.queries {
            let text = &query.latency;
            let mut tell = |n: &mut u64, slot: &mut Option<Arc<SeriesKey>>, metric: &str| {
                if *n > 0 {
                    let new = || Arc::new(key(metric, text_of(text), *hash));
                    readings.push(Reading {
                        key: Arc::clone(slot.get_or_insert_with(new)),
                        value: Value::Events(std::mem::take(n) as f64),
                    });
                }
            };
            tell(&mut query.n_errors, &mut query.errors, "query.errors");
            tell(&mut query.n_rows, &mut query.rows, "query.rows_examined");
            tell(
                &mut query.n_changes,
                &mut query.changes,
                "query.plan_changes",
            );
        }
    }

    /// The kinds that took most of the time one by one, the others together: sketches cost bytes on the wire.
    fn tell_durations(&mut self, readings: &mut Vec<Reading>) {
        self.durations.sort_unstable_by_key(|(hash, _)| *hash);
        self.totals.clear();
        for (hash, ms) in &self.durations {
            match self.totals.last_mut() {
                Some((total, last)) if last == hash => *total += ms,
                _ => self.totals.push((*ms, *hash)),
            }
        }
        self.totals
            .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let n_told = self.limits.n_told.min(self.totals.len());
        let told = &mut self.totals[..n_told];
        told.sort_unstable_by_key(|(_, hash)| *hash);
        for (hash, ms) in self.durations.drain(..) {
            let is_told = told.binary_search_by_key(&hash, |(_, hash)| *hash).is_ok();
            let query = if is_told {
                self.queries.get(&hash)
            } else {
                None
            };
            readings.push(Reading {
                key: Arc::clone(query.map_or(&self.overflow, |query| &query.latency)),
                value: Value::LatencyMs(ms),
            });
        }
    }
}

/// Whose SQL it is: MySQL's logs name a subsystem or are its slow log, MongoDB's components are upper case and its
/// statements (none) hold a document; all else that has statements is PostgreSQL's.
fn dialect(record: &LogRecord) -> Option<Dialect> {
    let component = record.component.as_str();
    let is_upper = component.bytes().all(|byte| byte.is_ascii_uppercase());
    if !component.is_empty() && is_upper && record.statement.contains('{') {
        None
    } else if !component.is_empty() || record.message == "slow statement" {
        Some(Dialect::MySql)
    } else {
        Some(Dialect::PostgreSql)
    }
}

fn key(metric: &str, text: &str, hash: u64) -> SeriesKey {
    SeriesKey {
        metric: metric.to_owned(),
        subject: Subject::Template {
            hash,
            text: text.to_owned(),
        },
    }
}

fn text_of(key: &SeriesKey) -> &str {
    match &key.subject {
        Subject::Template { text, .. } => text,
        Subject::Node | Subject::Object(_) | Subject::Edge(_) => "",
    }
}

fn cut(text: &str, n_chars: usize) -> &str {
    text.char_indices()
        .nth(n_chars)
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
