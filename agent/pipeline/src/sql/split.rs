//! A text of several statements, one at a time. (step 15)

use super::Dialect;
use super::lex::{Kind, Lexer};
use super::mysql_scan::statement_end;

/// The statements of a text, divided by semicolons outside of quotes, comments, brackets and bodies.
#[derive(Debug)]
pub struct Statements<'a> {
    rest: &'a str,
    dialect: Dialect,
}

impl<'a> Statements<'a> {
    /// Statements of `text`.
    #[must_use]
    pub const fn new(text: &'a str, dialect: Dialect) -> Self {
        Self {
            rest: text,
            dialect,
        }
    }

    /// Bytes of the first statement, without its semicolon; all of them where none ends.
    fn end(&self) -> usize {
        if self.dialect == Dialect::MySql {
            return statement_end(self.rest.as_bytes());
        }
        let mut depth = 0_usize;
        for token in Lexer::new(self.rest) {
            match token.kind {
                Kind::Mark(b'(') => depth += 1,
                Kind::Mark(b')') => depth = depth.saturating_sub(1),
                Kind::Mark(b';') if depth == 0 => return token.start,
                _ => {}
            }
        }
        self.rest.len()
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let end = self.end();
            let statement = self.rest[..end].trim();
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !statement.is_empty() {
                return Some(statement);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_quotes_comments_and_bodies_divide_nothing() {
        let text = "select ';' ; -- a;b\n select $$;$$;; do $x$ a; $x$; create rule r as on insert to t do (a; b)";
        let statements: Vec<&str> = Statements::new(text, Dialect::PostgreSql).collect();
        assert_eq!(statements.len(), 4, "{statements:?}");
        assert_eq!(statements[0], "select ';'");
        let text = "select ';\\';' ; # a;b\n select `;` /*;*/ ;\n select \";\"\n";
        let statements: Vec<&str> = Statements::new(text, Dialect::MySql).collect();
        assert_eq!(statements.len(), 3, "{statements:?}");
        assert_eq!(statements[2], "select \";\"");
    }
}
