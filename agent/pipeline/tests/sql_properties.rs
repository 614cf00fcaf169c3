//! What must hold for any statement: no literal comes through, templates are their own templates, form does not matter.

use hsw_pipeline::{Dialect, Fingerprinter, Statements};
use proptest::prelude::*;

const DIALECTS: [Dialect; 2] = [Dialect::MySql, Dialect::PostgreSql];

fn text(dialect: Dialect, sql: &str) -> String {
    Fingerprinter::new(dialect).fingerprint(sql).text.to_owned()
}

/// A literal that holds `secret`, in every style the dialect has.
fn literal(dialect: Dialect, style: usize, secret: &str, number: u32) -> String {
    let styles: &[&str] = match dialect {
        Dialect::MySql => &[
            "'S'",
            "\"S\"",
            "'it''s S'",
            "'a\\'S'",
            "'S\\\\'",
            "N'S'",
            "_utf8'S'",
            "'-- S'",
            "'/* S'",
            "'S;('",
            "0xNUM",
            "NUM",
            "-NUM",
            "NUM.5",
            ".NUM",
            "NUMe-3",
            "x'NUM'",
            "b'NUM'",
            "+NUM",
            "'`S'",
            "\"'S\"",
        ],
        Dialect::PostgreSql => &[
            "'S'",
            "E'a\\'S'",
            "'it''s S'",
            "$$S$$",
            "$q$ $$ S$q$",
            "U&'S'",
            "N'S'",
            "'-- S'",
            "'/* S'",
            "'S;('",
            "NUM",
            "-NUM",
            "NUM.5",
            ".NUM",
            "NUMe-3",
            "B'NUM'",
            "X'NUM'",
            "date 'S'",
            "interval 'S' day",
            "'S'::text",
            "cast('S' as varchar(10))",
            "0xNUM",
            "'x'\n'S'",
            "'S\\'",
            "1_NUM",
            "'S'::numeric(NUM, 2)",
        ],
    };
    styles[style % styles.len()]
        .replace('S', secret)
        .replace("NUM", &number.to_string())
}

/// Statements with places for two literals.
const STATEMENTS: [&str; 22] = [
    "select * from t where a = L1 and b = L2",
    "select L1, L2 from t",
    "select a from t where a in (L1, L2, L1)",
    "insert into t (a, b) values (L1, L2), (L2, L1)",
    "update t set a = L1, b=L2 where c = L1",
    "delete from t where f(L1,L2) > a",
    "select case when a = L1 then L2 else L1 end from t",
    "select a from t order by L1 limit 5",
    "select a from t where a between L1 and L2 and c is null",
    "call p(L1, L2)",
    "set x = L1",
    "select a from (select L1 as x) y where x in (select b from u where c = L2)",
    "select a /* L1 */ from t -- L2",
    "with q as (select L1) select L2 from q",
    "select a from t group by L1 having count(*) > L2",
    "select (L1)+(L2) from t",
    "select a*L1,b/L2 from t",
    "select not a=L1 or b<>L2 from t",
    "insert into t values (L1, f(L2, (L1))) on duplicate key update a = values(a) + L2",
    "prepare q as select L1; execute q(L2)",
    "alter role r password L1",
    "select a from t where a like L1 escape L2",
];

proptest! {
    #[test]
    fn prop_no_literal_is_in_a_template(
        at in 0..STATEMENTS.len(), one in 0_usize..64, two in 0_usize..64,
        secret in "zq[a-z]{6}", number in 7_000_001_u32..9_999_999,
    ) {
        for dialect in DIALECTS {
            let sql = STATEMENTS[at]
                .replace("L1", &literal(dialect, one, &secret, number))
                .replace("L2", &literal(dialect, two, &secret, number));
            let text = text(dialect, &sql);
            prop_assert!(!text.contains(&secret), "{sql}\n{text}");
            prop_assert!(!text.contains(&number.to_string()), "{sql}\n{text}");
        }
    }

    #[test]
    fn prop_no_literal_is_in_a_template_of_a_statement_that_was_cut(
        at in 0..STATEMENTS.len(), one in 0_usize..64, two in 0_usize..64, secret in "zq[a-z]{6}", cut in 0_usize..200,
    ) {
        for dialect in DIALECTS {
            let sql = STATEMENTS[at]
                .replace("L1", &literal(dialect, one, &secret, 7))
                .replace("L2", &literal(dialect, two, &secret, 7));
            let text = text(dialect, &sql[..cut.min(sql.len())]);
            prop_assert!(!text.contains(&secret), "{}\n{text}", &sql[..cut.min(sql.len())]);
        }
    }

    #[test]
    fn prop_no_literal_is_in_a_template_where_backslashes_do_not_escape(
        at in 0..STATEMENTS.len(), one in 0_usize..6, two in 0_usize..6, secret in "zq[a-z]{6}", cut in 0_usize..400,
    ) {
        const STYLES: [&str; 6] = ["'C:\\S\\'", "'S\\'", "'\\S'", "'S'", "'it''s S\\'", "'C:\\S\\\\\\'"];
        let fill = |style: usize| STYLES[style].replace('S', &secret);
        let sql = STATEMENTS[at].replace("L1", &fill(one)).replace("L2", &fill(two));
        // Whole, and cut anywhere.
        for sql in [sql.as_str(), &sql[..cut.min(sql.len())]] {
            let text = text(Dialect::MySql, sql);
            prop_assert!(!text.contains(&secret), "{sql}\n{text}");
        }
    }

    #[test]
    fn prop_the_template_of_a_template_is_itself(
        at in 0..STATEMENTS.len(), one in 0_usize..64, two in 0_usize..64, number in 7_000_001_u32..9_999_999,
    ) {
        for dialect in DIALECTS {
            let sql = STATEMENTS[at]
                .replace("L1", &literal(dialect, one, "zq", number))
                .replace("L2", &literal(dialect, two, "zq", number));
            let once = text(dialect, &sql);
            prop_assert_eq!(text(dialect, &once), once.clone(), "{}", sql);
        }
    }

    #[test]
    fn prop_values_blanks_comments_and_case_do_not_matter(
        at in 0..STATEMENTS.len(), blanks in prop::collection::vec("( |\n|\t|  | /\\* x \\*/ | -- y\n)", 1..8),
        numbers in prop::array::uniform2(1_u32..99_999), upper in any::<bool>(),
    ) {
        for dialect in DIALECTS {
            let fill = |one: &str, two: &str| STATEMENTS[at].replace("L1", one).replace("L2", two);
            // In a comment a comment would end.
            prop_assume!(!STATEMENTS[at].contains("/*"));
            let plain = fill("5", "'b'");
            let other = fill(&numbers[0].to_string(), &format!("'{}'", numbers[1]));
            let other = if upper { other.to_uppercase() } else { other };
            let mut blanks = blanks.iter().cycle();
            let mut parts = other.split(' ');
            let first = parts.next().unwrap_or_default().to_owned();
            let other = parts.fold(first, |sql, part| sql + blanks.next().map_or(" ", String::as_str) + part);
            prop_assert_eq!(text(dialect, &plain), text(dialect, &other), "{}", other);
        }
    }

    #[test]
    fn prop_any_text_is_read(sql in ".{0,200}", tokens in prop::collection::vec(
        "(select|from|where|in|values|\\(|\\)|\\[|\\]|,|;|'|\"|\\$\\$|\\$1|5|a|and|or|as|cast|case|end|::|--|/\\*|\\*/|-|order by|group by|union|with|insert into|set|array|any|=|\n)", 0..60)
    ) {
        for dialect in DIALECTS {
            for sql in [sql.clone(), tokens.join(" "), tokens.concat()] {
                let mut fingerprinter = Fingerprinter::new(dialect);
                let n = fingerprinter.fingerprint(&sql).text.len();
                prop_assert!(n <= 8 * sql.len() + 64);
                let normalized = fingerprinter.normalized(&sql);
                prop_assert!(normalized.len() <= 8 * sql.len() + 64);
                prop_assert!(Statements::new(&sql, dialect).all(|one| !one.is_empty()));
            }
        }
    }
}
