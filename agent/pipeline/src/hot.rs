//! What is hot on this node: calls by fingerprint and tenant, rows by table, lines by template. (steps 3–4)
//!
//! In: counts with what they are of. Out: per summary and kind a sketch of what came, and names of what is hot.
//! Invariants: HO-1 everything counted is in exactly one sketch that is told. HO-2 where the database counts its statements
//! itself, those of the log are left out: no execution counts twice. HO-3 a name is told when its key is among the
//! hottest, and again within `repeat_after` summaries.
//! Limits: a sketch of fixed size and [`N_NAMES_MAX`] names a kind, [`N_NAMES_TOLD_MAX`] names told a summary and kind.
//! Does not: know where counts come from, nor mask: names are masked by whoever counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hsw_sketch::{Distinct, HeavyHitters, hot_now, hot_window};
use hsw_types::{HotKind, HotWindow, Monotonic, Reading, Subject, Value, WindowIndex};

use crate::parse::Told;

/// What was told once halves its weight in five minutes: long enough to rank what comes a few times a minute.
const HALF_LIFE_S: f64 = 300.0;
/// Names known of a kind.
const N_NAMES_MAX: usize = 2_000;
/// The hottest, whose names are told.
const N_NAMED: usize = 100;
/// Names told of a kind in one summary.
const N_NAMES_TOLD_MAX: usize = 20;
/// Characters of a name that are told.
const NAME_CHARS_MAX: usize = 300;
/// So long after the database last counted its statements, those of the log are counted again: longer than the longest pause
/// between two looks, five minutes.
const DATABASE_COUNTS_FOR: Duration = Duration::from_secs(330);

/// Who the tenant of a statement is. Changed by the operator of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TenantKey {
    /// Its database (default).
    #[default]
    Database,
    /// The login role.
    User,
    /// The schema of the tables: tenants are then counted by rows.
    Schema,
    /// `application_name`, as far as the log names it.
    Application,
}

impl TenantKey {
    /// As the configuration names it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "database" => Self::Database,
            "user" => Self::User,
            "schema" => Self::Schema,
            "application" => Self::Application,
            _ => return None,
        })
    }
}

/// What was counted. Tenants are counted by every key that the source can tell; the one configured is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedKind {
    /// A kind of statement.
    Fingerprint,
    /// A table.
    Table,
    /// A tenant by this key.
    Tenant(TenantKey),
    /// Nothing: statements were looked at, so that those of the log need not be counted.
    Looked,
}

/// So many of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Of what kind.
    pub kind: CountedKind,
    /// Which: the stable hash of its whole name.
    pub key: u64,
    /// Its name, masked.
    pub name: Arc<str>,
    /// How many since the last time.
    pub n: f64,
}

#[derive(Debug)]
struct Name {
    text: Arc<str>,
    /// Summary in which it was last told.
    told: Option<u32>,
    /// Summary in which its key was last counted.
    counted: u32,
}

#[derive(Debug)]
struct Kind {
    kind: HotKind,
    /// Faded, to know what is hot.
    now: HeavyHitters,
    /// Since the last summary, to be told.
    window: HeavyHitters,
    /// Which keys came since the last summary.
    distinct: Distinct,
    names: BTreeMap<u64, Name>,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Hot {
    tenant: TenantKey,
    kinds: [Kind; HotKind::ALL.len()],
    /// When the database last counted its statements.
    database_told: Option<Monotonic>,
    /// Names of databases, roles and applications, as the log told them.
    log_names: BTreeMap<u64, Arc<str>>,
    n_summaries: u32,
    n_unnamed: u64,
}

impl Hot {
    pub(crate) fn new(tenant: TenantKey) -> Self {
        Self {
            tenant,
            kinds: HotKind::ALL.map(|kind| Kind {
                kind,
                now: hot_now(HALF_LIFE_S),
                window: hot_window(),
                distinct: Distinct::default(),
                names: BTreeMap::new(),
            }),
            database_told: None,
            log_names: BTreeMap::new(),
            n_summaries: 0,
            n_unnamed: 0,
        }
    }

    /// Names left out because too many were known.
    pub(crate) const fn n_unnamed(&self) -> u64 {
        self.n_unnamed
    }

    /// Takes what the database counted, in window `at`.
    pub(crate) fn take(&mut self, now: Monotonic, at: WindowIndex, counts: &[Counted]) {
        for one in counts {
            let kind = match one.kind {
                CountedKind::Looked => {
                    self.database_told = Some(now);
                    continue;
                }
                CountedKind::Fingerprint => {
                    self.database_told = Some(now);
                    HotKind::Fingerprint
                }
                CountedKind::Table => HotKind::Table,
                CountedKind::Tenant(key) if key == self.tenant => HotKind::Tenant,
                CountedKind::Tenant(_) => continue,
            };
            self.add(at, kind, one.key, Some(&one.name), one.n);
        }
    }

    /// Takes statements of the log; without a name so far, a fingerprint's is learned from its readings.
    pub(crate) fn take_statements(&mut self, now: Monotonic, at: WindowIndex, told: &Told) {
        for (key, name) in &told.names {
            if self.log_names.len() >= N_NAMES_MAX && !self.log_names.contains_key(key) {
                self.log_names.clear();
            }
            self.log_names.insert(*key, Arc::clone(name));
        }
        let is_counted = self.database_counts(now);
        // The database does not count by application.
        if is_counted && self.tenant != TenantKey::Application {
            return;
        }
        for statement in &told.statements {
            if statement.fingerprint != 0 && !is_counted {
                self.add(at, HotKind::Fingerprint, statement.fingerprint, None, 1.0);
            }
            let tenant = match self.tenant {
                TenantKey::Database => statement.database,
                TenantKey::User => statement.user,
                TenantKey::Application => statement.application,
                TenantKey::Schema => 0,
            };
            if tenant != 0 {
                let name = self.log_names.get(&tenant).cloned();
                self.add(at, HotKind::Tenant, tenant, name.as_ref(), 1.0);
            }
        }
    }

    /// Takes what a reading says of lines and fingerprints.
    pub(crate) fn take_reading(&mut self, at: WindowIndex, reading: &Reading) {
        let Subject::Template { hash, text } = &reading.key.subject else {
            return;
        };
        match (reading.key.metric.as_str(), reading.value) {
            ("log.template", Value::Events(n)) => {
                self.name(HotKind::Template, *hash, || Arc::from(text.as_str()));
                self.add(at, HotKind::Template, *hash, None, n);
            }
            // Statements are counted one by one; here is only their text.
            ("query.latency_ms", _) => {
                self.name(HotKind::Fingerprint, *hash, || Arc::from(text.as_str()));
            }
            _ => {}
        }
    }

    /// What came since the last summary, kind by kind; `at` is its last window.
    pub(crate) fn flush(&mut self, at: WindowIndex, repeat_after: u32) -> Vec<HotWindow> {
        self.n_summaries = self.n_summaries.wrapping_add(1);
        let n = self.n_summaries;
        let mut told = Vec::new();
        for kind in &mut self.kinds {
            let names = kind.names_due(n, tick(at), repeat_after);
            // Names are due only where something came.
            if !kind.window.is_empty() {
                told.push(HotWindow {
                    kind: kind.kind,
                    sketch: kind.window.encode(),
                    distinct: kind.distinct.encode(),
                    names,
                });
                kind.window.clear();
                kind.distinct.clear();
            }
        }
        told
    }

    fn database_counts(&self, now: Monotonic) -> bool {
        self.database_told
            .is_some_and(|told| now.since(told) < DATABASE_COUNTS_FOR)
    }

    fn add(&mut self, at: WindowIndex, kind: HotKind, key: u64, name: Option<&Arc<str>>, n: f64) {
        if let Some(name) = name {
            self.name(kind, key, || Arc::clone(name));
        }
        let n_summaries = self.n_summaries;
        let place = &mut self.kinds[kind as usize];
        place.window.add(key, 0, n);
        place.distinct.add(key);
        place.now.add(key, tick(at), n);
        if let Some(name) = place.names.get_mut(&key) {
            name.counted = n_summaries;
        }
    }

    /// Remembers a name; the one longest not counted makes room for it.
    fn name(&mut self, kind: HotKind, key: u64, text: impl FnOnce() -> Arc<str>) {
        let n_summaries = self.n_summaries;
        let names = &mut self.kinds[kind as usize].names;
        if names.contains_key(&key) {
            return;
        }
        if names.len() >= N_NAMES_MAX {
            names.retain(|_, name| n_summaries.wrapping_sub(name.counted) < 150);
            if names.len() >= N_NAMES_MAX {
                self.n_unnamed += 1;
                return;
            }
        }
        let name = Name {
            text: text(),
            told: None,
            counted: n_summaries,
        };
        names.insert(key, name);
    }
}

impl Kind {
    /// Names of the hottest that were never told or long ago.
    fn names_due(&mut self, n: u32, now: u64, repeat_after: u32) -> Vec<(u64, String)> {
        let mut due = Vec::new();
        // Nothing is due while nothing comes: what was told stands.
        if self.window.is_empty() {
            return due;
        }
        for hit in self.now.top(N_NAMED, now) {
            let Some(name) = self.names.get_mut(&hit.key) else {
                continue;
            };
            let is_due = name
                .told
                .is_none_or(|told| n.wrapping_sub(told) >= repeat_after);
            if is_due {
                name.told = Some(n);
                let end = name.text.char_indices().nth(NAME_CHARS_MAX);
                let text = end.map_or(&*name.text, |(end, _)| &name.text[..end]);
                due.push((hit.key, text.to_owned()));
                if due.len() >= N_NAMES_TOLD_MAX {
                    break;
                }
            }
        }
        due
    }
}

/// Seconds since 1970; windows before are as old as that.
fn tick(at: WindowIndex) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_sketch::HOT_CELLS;
    use hsw_types::{SeriesKey, Statement, key_of};

    const AT: WindowIndex = WindowIndex(1_795_000_000);

    fn second(s: u64) -> Monotonic {
        Monotonic(s * 1_000_000)
    }

    fn counts(kind: CountedKind, named: &[(&str, f64)]) -> Vec<Counted> {
        let counted = named.iter().map(|(name, n)| Counted {
            kind,
            key: key_of(name),
            name: Arc::from(*name),
            n: *n,
        });
        counted.collect()
    }

    fn told(window: &HotWindow) -> Vec<(u64, f64)> {
        let sketch = HeavyHitters::decode(&window.sketch, HOT_CELLS).unwrap();
        sketch
            .top(100, 0)
            .iter()
            .map(|hit| (hit.key, hit.count))
            .collect()
    }

    #[test]
    fn each_summary_tells_what_came_since_the_last_and_names_once() {
        let mut hot = Hot::new(TenantKey::Database);
        hot.take(
            second(1),
            AT,
            &counts(CountedKind::Table, &[("a", 5.0), ("b", 9.0)]),
        );
        let first = hot.flush(AT, 150);
        assert_eq!(first.len(), 1);
        assert_eq!(told(&first[0]), [(key_of("b"), 9.0), (key_of("a"), 5.0)]);
        assert_eq!(first[0].names.len(), 2);
        hot.take(
            second(2),
            AT.next(),
            &counts(CountedKind::Table, &[("a", 1.0)]),
        );
        let second_ = hot.flush(AT.next(), 150);
        assert_eq!(told(&second_[0]), [(key_of("a"), 1.0)]);
        assert!(second_[0].names.is_empty());
        assert!(
            hot.flush(AT.next(), 150).is_empty(),
            "a quiet summary tells nothing"
        );
    }

    #[test]
    fn names_are_told_again_and_before_their_reader_forgets_them() {
        let mut hot = Hot::new(TenantKey::Database);
        let mut told_in = Vec::new();
        for n in 0..400 {
            let at = AT + i64::from(n);
            hot.take(second(1), at, &counts(CountedKind::Table, &[("a", 1.0)]));
            if !hot.flush(at, 150)[0].names.is_empty() {
                told_in.push(n);
            }
        }
        assert_eq!(told_in, [0, 150, 300]);
    }

    #[test]
    fn no_execution_counts_twice_where_the_database_counts_itself() {
        let mut hot = Hot::new(TenantKey::User);
        let statement = Statement {
            fingerprint: 7,
            user: key_of("ann"),
            ..Statement::default()
        };
        let log = Told {
            statements: vec![statement; 3],
            names: vec![(key_of("ann"), Arc::from("ann"))],
        };
        hot.take_statements(second(1), AT, &log);
        let only_log = hot.flush(AT, 150);
        assert_eq!(told(&only_log[0]), [(7, 3.0)]);
        assert_eq!(only_log[1].names, [(key_of("ann"), "ann".to_owned())]);
        hot.take(
            second(2),
            AT,
            &counts(CountedKind::Fingerprint, &[("q", 2.0)]),
        );
        hot.take_statements(second(3), AT, &log);
        let both = hot.flush(AT, 150);
        assert_eq!((both.len(), told(&both[0])), (1, vec![(key_of("q"), 2.0)]));
        hot.take_statements(second(400), AT, &log);
        assert_eq!(told(&hot.flush(AT, 150)[0]), [(7, 3.0)]);
    }

    #[test]
    fn lines_are_counted_from_their_readings_and_fingerprints_only_named() {
        let mut hot = Hot::new(TenantKey::Database);
        let reading = |metric: &str, value| Reading {
            key: Arc::new(SeriesKey {
                metric: metric.to_owned(),
                subject: Subject::Template {
                    hash: 9,
                    text: "text".to_owned(),
                },
            }),
            value,
        };
        hot.take_reading(AT, &reading("log.template", Value::Events(4.0)));
        hot.take_reading(AT, &reading("query.latency_ms", Value::LatencyMs(4.0)));
        let all = hot.flush(AT, 150);
        assert_eq!((all.len(), all[0].kind), (1, HotKind::Template));
        assert_eq!(
            (told(&all[0]), all[0].names[0].1.as_str()),
            (vec![(9, 4.0)], "text")
        );
    }

    #[test]
    fn whatever_is_counted_memory_and_bytes_stay_bounded() {
        let mut hot = Hot::new(TenantKey::Database);
        let mut n_bytes_max = 0;
        for round in 0..20_u64 {
            for i in 0..1_000_u64 {
                let name = format!("{}", round * 1_000 + i);
                hot.take(
                    second(round),
                    AT,
                    &counts(CountedKind::Table, &[(&name, 1.0)]),
                );
            }
            let windows = hot.flush(AT, 150);
            n_bytes_max = n_bytes_max.max(windows[0].sketch.len());
            assert!(windows[0].names.len() <= N_NAMES_TOLD_MAX);
        }
        assert!(hot.kinds[1].names.len() <= N_NAMES_MAX && hot.n_unnamed() > 0);
        assert!(n_bytes_max < 12_000, "{n_bytes_max}");
    }
}
