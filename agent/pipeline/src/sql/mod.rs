//! SQL statements: what kind they are, without their values. (step 2)
//!
//! In: SQL of MySQL's or PostgreSQL's dialect. Out: a template and its hash, equal on every host for statements of one kind.
//! Invariants: SQ-1 no string and no number of a statement is in its template (names are). SQ-2 the template of a template
//! is itself. SQ-3 no allocation per statement once the buffers have grown; time O(n), sorting of lists aside.
//! Does not: send anything, keep anything (see `parse/queries.rs`).

mod lex;

mod words;

mod mysql;

mod mysql_scan;

mod group;

mod clauses;

mod region;

mod brackets;

mod normal;

mod order;

mod levels;

mod split;

mod plan;

#[cfg(feature = "postgresql-parser")]
mod parser;

pub use plan::{PlanReader, PlanShape, plan_difference};
pub use split::Statements;

use crate::parse::fnv1a_64;

/// Whose rules a statement follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Dialect {
    /// MySQL and MariaDB: percona's digest text.
    MySql,
    /// PostgreSQL.
    #[default]
    PostgreSql,
}

/// What kind of statement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint<'a> {
    /// [`fnv1a_64`] of `text`; with PostgreSQL's parser, what that says of the statement.
    pub hash: u64,
    /// The template.
    pub text: &'a str,
}

/// Computes fingerprints, with buffers that are used again.
#[derive(Debug)]
pub struct Fingerprinter {
    dialect: Dialect,
    mysql: mysql::Digester,
    group: group::Grouper,
    normal: normal::Normalizer,
    text: String,
    #[cfg(feature = "postgresql-parser")]
    parser: Option<parser::Groups>,
}

impl Fingerprinter {
    /// Starts with empty buffers.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            mysql: mysql::Digester::new(),
            group: group::Grouper::new(),
            normal: normal::Normalizer::new(),
            text: String::new(),
            #[cfg(feature = "postgresql-parser")]
            parser: None,
        }
    }

    /// PostgreSQL's own parser says what is of one kind; what it cannot read goes by tokens.
    #[cfg(feature = "postgresql-parser")]
    #[must_use]
    pub fn with_parser() -> Self {
        let mut fingerprinter = Self::new(Dialect::PostgreSql);
        fingerprinter.parser = Some(parser::Groups::default());
        fingerprinter
    }

    /// Times the parser was asked, and times it could not read a statement.
    #[cfg(feature = "postgresql-parser")]
    #[must_use]
    pub fn parsed(&self) -> (u64, u64) {
        self.parser
            .as_ref()
            .map_or((0, 0), parser::Groups::counters)
    }

    /// Whose rules are followed.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The kind of `sql`. The text holds no literal.
    pub fn fingerprint(&mut self, sql: &str) -> Fingerprint<'_> {
        match self.dialect {
            Dialect::MySql => self.mysql.digest(sql, &mut self.text),
            Dialect::PostgreSql => self.group.template(sql, &mut self.text),
        }
        let hash = fnv1a_64(self.text.as_bytes());
        #[cfg(feature = "postgresql-parser")]
        let hash = self
            .parser
            .as_mut()
            .map_or(hash, |parser| parser.group(hash, sql));
        Fingerprint {
            hash,
            text: &self.text,
        }
    }

    /// `sql` as its database shows it: MySQL's digest, or PostgreSQL's text with its constants as `$n`, as
    /// pg_stat_statements writes it. That keeps what the server keeps: constants of most utility statements; it is for
    /// this host's eyes.
    pub fn normalized(&mut self, sql: &str) -> &str {
        match self.dialect {
            Dialect::MySql => self.mysql.digest(sql, &mut self.text),
            Dialect::PostgreSql => {
                #[cfg(feature = "postgresql-parser")]
                if self.parser.is_some() && parser::normalize(sql, &mut self.text) {
                    return &self.text;
                }
                self.normal.normalize(sql, &mut self.text);
            }
        }
        &self.text
    }
}
