//! Statements one by one, for what triggers and hot lists count. (step 2)
//!
//! In: [`LogRecord`]s of statements. Out: per tick a [`Statement`] for each, and what its keys stand for.
//! Invariants: SL-1 a name is told with the first statement that has its key, and again every [`NAME_TICKS`].
//! Limits: `n_max` statements a tick, more are counted; [`N_NAMES_MAX`] names, beyond it keys stay unnamed.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{Statement, WallTime, key_of};

use super::record::{LogRecord, Severity};

/// Ticks after which a name is told again: five minutes.
const NAME_TICKS: u64 = 300;
/// Names known at a time.
const N_NAMES_MAX: usize = 2_000;
/// Characters of a name that are told.
const NAME_CHARS_MAX: usize = 100;

/// What the log told of statements since the last tick.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// In the order of the log.
    pub statements: Vec<Statement>,
    /// Names of databases, roles and applications among them that are new, or told long ago.
    pub names: Vec<(u64, Arc<str>)>,
}

impl Told {
    /// Whether there is nothing to tell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct StatementList {
    n_max: usize,
    told: Told,
    /// Key → the tick it was told in.
    named: BTreeMap<u64, u64>,
    n_ticks: u64,
    n_over_limit: u64,
}

impl StatementList {
    pub(super) const fn new(n_max: usize) -> Self {
        Self {
            n_max,
            told: Told {
                statements: Vec::new(),
                names: Vec::new(),
            },
            named: BTreeMap::new(),
            n_ticks: 0,
            n_over_limit: 0,
        }
    }

    /// Statements left out since the start.
    pub(super) const fn n_over_limit(&self) -> u64 {
        self.n_over_limit
    }

    /// Takes a record whose statement has this fingerprint; one that neither lasted nor failed is no execution.
    pub(super) fn take(&mut self, now: WallTime, record: &LogRecord, fingerprint: u64) {
        // Its execution, or its line beside the plan, is another record.
        if record.is_step || !record.plan.is_empty() {
            return;
        }
        let is_error = record.severity >= Severity::Error;
        if record.duration_ms.is_none() && !(is_error && record.has_statement) {
            return;
        }
        if self.told.statements.len() >= self.n_max {
            self.n_over_limit += 1;
            return;
        }
        let statement = Statement {
            at: record.at.unwrap_or(now),
            fingerprint,
            database: self.key(&record.database),
            user: self.key(&record.user),
            application: self.key(&record.application),
            latency_ms: record.duration_ms,
            lock_ms: record.lock_ms,
            rows_examined: record.rows_examined,
            rows_sent: record.rows_sent,
            is_error,
        };
        self.told.statements.push(statement);
    }

    /// What was told since the last tick.
    pub(super) fn tick(&mut self) -> Told {
        self.n_ticks += 1;
        std::mem::take(&mut self.told)
    }

    fn key(&mut self, name: &str) -> u64 {
        let key = key_of(name);
        let tick = self.n_ticks;
        let told_at = self.named.get(&key).copied();
        let is_due = told_at.is_none_or(|at| tick - at >= NAME_TICKS);
        if key == 0 || !is_due {
            return key;
        }
        if told_at.is_none() && self.named.len() >= N_NAMES_MAX {
            self.named.retain(|_, at| tick - *at < NAME_TICKS);
            if self.named.len() >= N_NAMES_MAX {
                return key;
            }
        }
        self.named.insert(key, tick);
        let end = name.char_indices().nth(NAME_CHARS_MAX);
        let name = end.map_or(name, |(end, _)| &name[..end]);
        self.told.names.push((key, Arc::from(name)));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: &str) -> LogRecord {
        let mut record = LogRecord::plain("duration: 12.5 ms  statement: select 1");
        record.user.push_str(user);
        record
    }

    #[test]
    fn a_name_is_told_once_in_five_minutes_and_beside_its_first_statement() {
        let mut list = StatementList::new(10);
        let mut told = Vec::new();
        for _ in 0..=NAME_TICKS {
            list.take(WallTime(5), &record("ann"), 7);
            told.push(list.tick());
        }
        let name = (key_of("ann"), Arc::from("ann"));
        assert_eq!(told[0].names, std::slice::from_ref(&name));
        assert_eq!(told[0].statements[0].user, key_of("ann"));
        assert_eq!(told[0].statements[0].latency_ms, Some(12.5));
        assert_eq!(told[NAME_TICKS as usize].names, [name]);
        let between = &told[1..NAME_TICKS as usize];
        assert!(
            between
                .iter()
                .all(|told| told.names.is_empty() && told.statements.len() == 1)
        );
    }

    #[test]
    fn an_execution_counts_once_whatever_lines_it_has() {
        let mut list = StatementList::new(10);
        for line in [
            "duration: 0.2 ms  parse S_1: select $1",
            "duration: 0.1 ms  bind S_1: select $1",
            "duration: 9.0 ms  execute S_1: select $1",
            "duration: 9.0 ms  plan:\nQuery Text: select $1\nResult  (cost=0.00..0.01 rows=1 width=4)",
        ] {
            list.take(WallTime(5), &LogRecord::plain(line), 7);
        }
        let told = list.tick();
        assert_eq!(told.statements.len(), 1);
        assert_eq!(told.statements[0].latency_ms, Some(9.0));
    }

    #[test]
    fn statements_over_the_limit_are_counted_and_names_are_bounded() {
        let mut list = StatementList::new(3_000);
        for i in 0..4_000 {
            list.take(WallTime(5), &record(&format!("u{i}")), 7);
        }
        let told = list.tick();
        assert_eq!(
            (told.statements.len(), told.names.len()),
            (3_000, N_NAMES_MAX)
        );
        assert_eq!(list.n_over_limit(), 1_000);
        list.take(WallTime(5), &LogRecord::plain("ready"), 0);
        assert!(list.tick().is_empty(), "a line that is no statement");
    }
}
