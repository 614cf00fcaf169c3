//! PostgreSQL's own parser behind the fingerprints. (step 2)
//!
//! In: a statement and its fingerprint by tokens. Out: the fingerprint that the parser gives its tree.
//! Invariants: PA-1 statements of one fingerprint by tokens are parsed once, as long as it is remembered. PA-2 what the parser
//! cannot read keeps its fingerprint by tokens. Limits: [`GROUPS_MAX`] fingerprints; then the memory starts anew.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_query::FingerprintOptions;

/// Fingerprints that are remembered.
const GROUPS_MAX: usize = 4_096;
/// Aliases and quotes fall together, schemas do not: as servers up to 17 have it.
const RULES: FingerprintOptions = FingerprintOptions::RANGEVAR_PG17_COMPAT;
/// Longer statements are not parsed: a tree is many times its text.
const SQL_BYTES_MAX: usize = 256 * 1024;

/// What the parser said of each fingerprint by tokens.
#[derive(Debug, Default)]
pub(super) struct Groups {
    known: BTreeMap<u64, u64>,
    n_parsed: u64,
    n_unread: u64,
}

impl Groups {
    pub(super) fn group(&mut self, tokens: u64, sql: &str) -> u64 {
        if let Some(known) = self.known.get(&tokens) {
            return *known;
        }
        if self.known.len() >= GROUPS_MAX {
            self.known.clear();
        }
        self.n_parsed += 1;
        let parsed = (sql.len() <= SQL_BYTES_MAX)
            .then(|| catch_unwind(AssertUnwindSafe(|| pg_query::fingerprint(sql, 0, RULES))));
        let group = match parsed {
            Some(Ok(Ok(fingerprint))) => fingerprint.value,
            _ => {
                self.n_unread += 1;
                tokens
            }
        };
        self.known.insert(tokens, group);
        group
    }

    pub(super) const fn counters(&self) -> (u64, u64) {
        (self.n_parsed, self.n_unread)
    }
}

/// Writes the statement as the server's rules normalise it; false where the parser cannot read it.
pub(super) fn normalize(sql: &str, text: &mut String) -> bool {
    if sql.len() > SQL_BYTES_MAX {
        return false;
    }
    match catch_unwind(AssertUnwindSafe(|| pg_query::normalize(sql))) {
        Ok(Ok(normalized)) => {
            text.clear();
            text.push_str(&normalized);
            true
        }
        _ => false,
    }
}
