//! SQL statements: what kind they are, without their values. (step 2)
//!
//! In: SQL of MySQL's or PostgreSQL's dialect. Out: a template and its hash, equal on every host for statements of one kind.
//! Invariants: SQ-1 no string and no number of a statement is in its template (names are). SQ-2 the template of a template
//! is itself. SQ-3 no allocation per statement once the buffers have grown; time O(n), sorting of lists aside.
//! Does not: send anything, keep anything (see `parse/queries.rs`).

mod lex;

mod words;

mod mysql;

mod mysql_quotes;

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

use hsw_types::fnv1a_64;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn group(sql: &str) -> String {
        Fingerprinter::new(Dialect::PostgreSql)
            .fingerprint(sql)
            .text
            .to_owned()
    }

    fn normalized(sql: &str) -> String {
        Fingerprinter::new(Dialect::PostgreSql)
            .normalized(sql)
            .to_owned()
    }

    fn digest(sql: &str) -> String {
        Fingerprinter::new(Dialect::MySql)
            .fingerprint(sql)
            .text
            .to_owned()
    }

    #[test]
    fn what_plans_alike_is_of_one_kind_for_postgresql() {
        for same in [
            &[
                "SELECT a, b FROM t WHERE c = 1",
                "select b AS x, \"a\" y from \"t\" z where c in (1, 2)",
                "select a, b from t where c = any ('{1}'::int[])",
            ][..],
            &[
                "insert into t (a, b) values (1, default)",
                "insert into t (b, a) values ($1, 'x'), (2, 3)",
            ],
            &[
                "select a from t_20260101 where b = 1 and c > 2",
                "select a from t_20270304 where c > date '2020-01-01' and b = -5",
            ],
            &[
                "select interval '1' day",
                "select 5::numeric(3, 2)",
                "select cast('a' as text)",
            ],
            &["savepoint a", "savepoint b"],
            &["set a = 'x'", "set a to y"],
            &[
                "create temp table x (a int)",
                "create temporary table y (a int)",
            ],
        ] {
            assert!(
                same.iter().all(|sql| group(sql) == group(same[0])),
                "{same:?}"
            );
        }
        for other in [
            (
                "select a from t order by a, b",
                "select a from t order by b, a",
            ),
            ("select a from t_1", "select a from t_2"),
            (
                "alter table t add column a int",
                "alter table t drop column a",
            ),
            (
                "create table t as select a from x",
                "create table t as select a from y",
            ),
            ("select a from t", "select a from t limit 1"),
            ("select a from t where b = 1", "select a from t where b > 1"),
        ] {
            assert_ne!(group(other.0), group(other.1));
        }
        assert_eq!(group("-- nothing"), "");
    }

    #[test]
    fn constants_are_numbered_as_postgresql_walks_its_tree() {
        for (sql, expected) in [
            (
                "WITH x AS (SELECT 1) SELECT 2",
                "WITH x AS (SELECT $2) SELECT $1",
            ),
            (
                "SELECT 1 UNION SELECT 2 ORDER BY 1 LIMIT 3",
                "SELECT $2 UNION SELECT $3 ORDER BY 1 LIMIT $1",
            ),
            (
                "SELECT a FROM t LIMIT 5 OFFSET 10",
                "SELECT a FROM t LIMIT $2 OFFSET $1",
            ),
            (
                "SELECT $2, -5, a - 6, x::varchar(10), NULL",
                "SELECT $2, $3, a - $4, x::varchar(10), $5",
            ),
            (
                "SELECT a + 1 FROM t GROUP BY a + 1, b + 2 HAVING c > 3",
                "SELECT a + $1 FROM t GROUP BY a + $1, b + $2 HAVING c > $3",
            ),
            (
                "COPY t FROM 'x' WITH (FORMAT csv)",
                "COPY t FROM 'x' WITH (FORMAT csv)",
            ),
            ("ALTER ROLE r SET a = 'x'", "ALTER ROLE r SET a = 'x'"),
            (
                "UPDATE t SET a = 1 FROM u WHERE t.b = 2 RETURNING 3",
                "UPDATE t SET a = $1 FROM u WHERE t.b = $2 RETURNING $3",
            ),
        ] {
            assert_eq!(normalized(sql), expected);
        }
    }

    #[test]
    fn keywords_count_where_they_touch_what_stands_before() {
        for (sql, expected) in [
            (
                "INSERT INTO t(a,b)VALUES(1,'x'),(2,'x')",
                "insert into t(a,b)values(?+)",
            ),
            (
                "insert into t(a,b)values (1,'x') , (2,'x')",
                "insert into t(a,b)values(?+)",
            ),
            (
                "select a from t where `a`in(1,2)",
                "select a from t where `a`in(?+)",
            ),
            (
                "select a from t where (a)in(1,2)",
                "select a from t where (a)in(?+)",
            ),
            (
                "insert into t(a)values(1)on duplicate key update a=values(a)",
                "insert into t(a)values(?+)on duplicate key update a=values(a)",
            ),
            (
                "select a from t order by f(a)asc, (b)asc limit 1",
                "select a from t order by f(a), (b) limit ?",
            ),
            // Names are no keywords.
            (
                "select f_in(a, b), t.in(a, b)",
                "select f_in(a, b), t.in(a, b)",
            ),
            ("select `in`(a, b)", "select `in`(a, b)"),
        ] {
            assert_eq!(digest(sql), expected);
            assert_eq!(digest(expected), expected);
        }
    }

    #[test]
    fn null_is_a_value_unless_it_is_tested_for() {
        for (sql, expected) in [
            ("update t set a=null,b = NULL", "update t set a=?,b = ?"),
            ("select f(1,null), (Null)", "select f(?,?), (?)"),
            (
                "delete from t where x = NULL;",
                "delete from t where x = ?;",
            ),
            ("select null", "select ?"),
            (
                "select if(a is null,1,2) from t where (b)is not null and c IS\nNULL",
                "select if(a is null,?,?) from t where (b)is not null and c is null",
            ),
            (
                "select a from t where not b=null",
                "select a from t where not b=?",
            ),
            (
                "select null_a, a_null, t.null, ifnull(a, b), nullif(a, b), `null`",
                "select null_a, a_null, t.null, ifnull(a, b), nullif(a, b), `null`",
            ),
        ] {
            assert_eq!(digest(sql), expected);
            assert_eq!(digest(expected), expected);
        }
    }

    #[test]
    fn digests_of_mysql_follow_its_users_rules() {
        for (sql, expected) in [
            ("USE `shop`", "use ?"),
            ("CALL p(1, 'x')", "call p"),
            ("select a -- c\n,b/* d */ from t # e", "select a ,b from t"),
            (
                "SELECT a FROM t ORDER BY a ASC, b DESC, c asc",
                "select a from t order by a, b desc, c",
            ),
            (
                "select x'1F', 0xff, b'01', -5, +1e-3, 'a\\'b' from t_1",
                "select ?, ?, ?, ?, ?, ? from t_1",
            ),
            (
                "insert into t values (1, ')'), (2, 'x') on duplicate key update a = values(a)",
                "insert into t values(?+) on duplicate key update a = values(a)",
            ),
            (
                "select a from t where b is null and c = null",
                "select a from t where b is null and c = ?",
            ),
            ("select a from t limit 5,10", "select a from t limit ?,?"),
        ] {
            assert_eq!(digest(sql), expected);
        }
    }
}
