//! Calls of statements and rows of tables since the last look, for what is hot. (step 1)
//!
//! In: running totals. Out: [`Counted`] steps. Invariants: PG-22 what is first seen at the start is a base and no step;
//! later it is new, with all it has, or, where an answer was cut at its limit, with what it has above the least of that answer. PG-23 a total that fell began anew: all of it is a step. PG-24 a statement is counted
//! under its fingerprint; until its text is known, its calls wait. Limits: those of the statements' `LIMIT`s; [`N_TEXTS_MAX`] texts
//! known, [`N_ASKED_MAX`] asked for at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_pipeline::{Counted, CountedKind, Dialect, Fingerprinter, TenantKey};
use hsw_types::key_of;

use super::connection::Line;

/// Texts known at a time; beyond it they are learned anew.
const N_TEXTS_MAX: usize = 10_000;
/// Texts asked for at a time, those of the statements that moved most.
const N_ASKED_MAX: usize = 100;
/// `LIMIT` of the statement `calls`.
const CALLS_MAX: usize = 5_000;
/// `LIMIT` of the statement `rows`.
const ROWS_MAX: usize = 500;
/// Characters of a fingerprint that are kept.
const TEXT_CHARS_MAX: usize = 300;

/// Key and text of a fingerprint.
#[derive(Debug, Clone)]
struct Text {
    key: u64,
    text: Arc<str>,
}

/// Totals of one look.
#[derive(Debug)]
struct Look<K> {
    totals: BTreeMap<K, f64>,
    /// What somebody who is not among them had at most: 0 unless the answer was cut at its limit.
    floor: f64,
}

impl<K: Ord> Look<K> {
    fn new(totals: BTreeMap<K, f64>, n_lines: usize, limit: usize) -> Self {
        let least = totals.values().copied().fold(f64::INFINITY, f64::min);
        let floor = if n_lines >= limit { least } else { 0.0 };
        Self { totals, floor }
    }

    /// How far a total has gone on since.
    fn step(&self, key: &K, total: f64) -> f64 {
        step(self.totals.get(key).copied().unwrap_or(self.floor), total)
    }
}

/// Steps of running totals.
#[derive(Debug)]
pub(super) struct Counts {
    /// Calls by statement (of a role in a database).
    calls: Option<Look<[String; 3]>>,
    /// Rows by database and table.
    rows: BTreeMap<String, Look<u64>>,
    texts: BTreeMap<String, Text>,
    /// Calls of statements whose text is not known yet.
    waiting: BTreeMap<String, f64>,
    /// Steps over that limit, since they were last taken.
    pub(super) n_left_out: u64,
    fingerprinter: Fingerprinter,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            calls: None,
            rows: BTreeMap::new(),
            texts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            n_left_out: 0,
            #[cfg(feature = "postgresql-parser")]
            fingerprinter: Fingerprinter::with_parser(),
            #[cfg(not(feature = "postgresql-parser"))]
            fingerprinter: Fingerprinter::new(Dialect::PostgreSql),
        }
    }
}

/// How far a total has gone on; all of it where it began anew.
fn step(before: f64, total: f64) -> f64 {
    if total >= before {
        total - before
    } else {
        total
    }
}

fn counted(kind: CountedKind, name: &str, n: f64) -> Counted {
    Counted {
        kind,
        key: key_of(name),
        name: Arc::from(name),
        n,
    }
}

impl Counts {
    /// Takes the rows `calls` (database, role, id; total); returns the ids whose texts are wanted.
    pub(super) fn calls(&mut self, lines: &[Line], out: &mut Vec<Counted>) -> Vec<String> {
        let before = self.calls.take();
        let mut now = BTreeMap::new();
        let (mut databases, mut roles) = (BTreeMap::new(), BTreeMap::new());
        for line in lines.iter().filter(|line| line.kind == "calls") {
            let Some(total) = line.number(0) else {
                continue;
            };
            let key = [0, 1, 2].map(|at| line.name(at).to_owned());
            if let Some(before) = &before {
                let n = before.step(&key, total);
                if n > 0.0 {
                    *databases.entry(line.name(0)).or_insert(0.0) += n;
                    *roles.entry(line.name(1)).or_insert(0.0) += n;
                    self.count(line.name(2), n, out);
                }
            }
            now.insert(key, total);
        }
        self.calls = Some(Look::new(now, lines.len(), CALLS_MAX));
        out.push(counted(CountedKind::Looked, "", 0.0));
        let tenant = |key| move |(name, n): (&str, f64)| counted(CountedKind::Tenant(key), name, n);
        out.extend(databases.into_iter().map(tenant(TenantKey::Database)));
        out.extend(roles.into_iter().map(tenant(TenantKey::User)));
        let mut wanted: Vec<(&String, f64)> = self.waiting.iter().map(|(id, n)| (id, *n)).collect();
        wanted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        wanted
            .iter()
            .take(N_ASKED_MAX)
            .map(|(id, _)| (*id).clone())
            .collect()
    }

    fn count(&mut self, id: &str, n: f64, out: &mut Vec<Counted>) {
        match self.texts.get(id) {
            Some(text) => out.push(Counted {
                kind: CountedKind::Fingerprint,
                key: text.key,
                name: Arc::clone(&text.text),
                n,
            }),
            None if self.waiting.len() >= N_TEXTS_MAX && !self.waiting.contains_key(id) => {
                self.n_left_out += 1;
            }
            None => *self.waiting.entry(id.to_owned()).or_insert(0.0) += n,
        }
    }

    /// Takes the rows `text` (id, text) that were asked for as `asked`. One without a text is gone: its calls are let go.
    pub(super) fn texts(&mut self, asked: &[String], lines: &[Line], out: &mut Vec<Counted>) {
        if self.texts.len() + lines.len() > N_TEXTS_MAX {
            self.texts.clear();
        }
        for line in lines.iter().filter(|line| line.kind == "text") {
            let fingerprint = self.fingerprinter.fingerprint(line.name(1));
            let end = fingerprint.text.char_indices().nth(TEXT_CHARS_MAX);
            let text = end.map_or(fingerprint.text, |(end, _)| &fingerprint.text[..end]);
            let text = Text {
                key: fingerprint.hash,
                text: Arc::from(text),
            };
            self.texts.insert(line.name(0).to_owned(), text);
        }
        for id in asked {
            if let Some(n) = self.waiting.remove(id)
                && self.texts.contains_key(id)
            {
                self.count(id, n, out);
            }
        }
    }

    /// Takes the rows `rows` (schema, table; oid, total) of a database.
    pub(super) fn rows(&mut self, database: &str, lines: &[Line], out: &mut Vec<Counted>) {
        let before = self.rows.remove(database);
        let mut now = BTreeMap::new();
        let mut schemas = BTreeMap::new();
        for line in lines.iter().filter(|line| line.kind == "rows") {
            let (Some(oid), Some(total)) = (line.number(0), line.number(1)) else {
                continue;
            };
            let oid = oid as u64;
            now.insert(oid, total);
            let Some(before) = &before else { continue };
            let n = before.step(&oid, total);
            if n > 0.0 {
                let table = format!("{database}.{}.{}", line.name(0), line.name(1));
                out.push(counted(CountedKind::Table, &table, n));
                *schemas.entry(line.name(0)).or_insert(0.0) += n;
            }
        }
        let look = Look::new(now, lines.len(), ROWS_MAX);
        self.rows.insert(database.to_owned(), look);
        for (schema, n) in schemas {
            let name = format!("{database}.{schema}");
            out.push(counted(CountedKind::Tenant(TenantKey::Schema), &name, n));
        }
    }

    /// Forgets what was known of databases other than `keep`.
    pub(super) fn keep_databases(&mut self, keep: &[String]) {
        self.rows.retain(|name, _| keep.contains(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(id: &str, n: f64) -> Line {
        Line::new("calls", &["shop", "app", id], &[n])
    }

    fn said(out: &[Counted]) -> Vec<(CountedKind, String, f64)> {
        out.iter()
            .map(|one| (one.kind, one.name.to_string(), one.n))
            .collect()
    }

    #[test]
    fn calls_wait_for_their_text_and_are_counted_under_its_fingerprint() {
        let mut counts = Counts::default();
        let mut out = Vec::new();
        assert!(counts.calls(&[calls("1", 100.0)], &mut out).is_empty());
        assert_eq!(
            said(&out),
            [(CountedKind::Looked, String::new(), 0.0)],
            "what is first seen is a base"
        );
        out.clear();
        let wanted = counts.calls(&[calls("1", 103.0), calls("2", 5.0)], &mut out);
        assert_eq!(wanted, ["2", "1"]);
        let shop = |n| {
            (
                CountedKind::Tenant(TenantKey::Database),
                "shop".to_owned(),
                n,
            )
        };
        let app = |n| (CountedKind::Tenant(TenantKey::User), "app".to_owned(), n);
        let looked = (CountedKind::Looked, String::new(), 0.0);
        assert_eq!(said(&out), [looked, shop(8.0), app(8.0)]);
        out.clear();
        let text = Line::new("text", &["1", "SELECT x FROM t WHERE id = $1"], &[]);
        counts.texts(&wanted, &[text], &mut out);
        let by_hand = Fingerprinter::new(Dialect::PostgreSql)
            .fingerprint("SELECT x FROM t WHERE id = 7")
            .hash;
        assert_eq!((out.len(), out[0].key, out[0].n), (1, by_hand, 3.0));
        out.clear();
        assert!(
            counts.calls(&[calls("1", 2.0)], &mut out).is_empty(),
            "the other is gone"
        );
        assert_eq!(out[0].n, 2.0, "a total that fell began anew");
    }

    #[test]
    fn rows_are_counted_by_table_and_schema_from_the_second_look_on() {
        let mut counts = Counts::default();
        let mut out = Vec::new();
        let row = |oid: f64, name: &str, n: f64| Line::new("rows", &["public", name], &[oid, n]);
        counts.rows("shop", &[row(1.0, "a", 1e6)], &mut out);
        assert!(out.is_empty());
        counts.rows(
            "shop",
            &[row(1.0, "a", 1e6 + 5.0), row(2.0, "b", 7.0)],
            &mut out,
        );
        assert_eq!(
            said(&out),
            [
                (CountedKind::Table, "shop.public.a".to_owned(), 5.0),
                (CountedKind::Table, "shop.public.b".to_owned(), 7.0),
                (
                    CountedKind::Tenant(TenantKey::Schema),
                    "shop.public".to_owned(),
                    12.0
                ),
            ]
        );
        counts.keep_databases(&[]);
        out.clear();
        counts.rows("shop", &[row(1.0, "a", 2e6)], &mut out);
        assert!(
            out.is_empty(),
            "a database that came back is seen for the first time"
        );
    }
}
