//! A statement with its constants as `$n`, as pg_stat_statements and PostgreSQL's own tools write it. (step 2)
//!
//! In: SQL, several statements too. Out: the same text, comments and all, with `$n` for each constant, numbered on from the
//! highest `$n` that was there. Which constants go is PostgreSQL's rule: all in queries; of utility statements only
//! passwords, options, function bodies and the values of SET; positions in GROUP BY and ORDER BY and the lengths in types
//! stay. Numbers follow the order in which the server walks its tree, not the text: see `order.rs`.
//! Does not: make text fit to leave the host; see `group.rs` for that.

use super::lex::{Kind, Lexer, Token};
use super::order::Orders;
use super::region::{push_param, skip_brackets, skip_numbers};
use super::words::{Word, has_typmod, is_interval_field, word};

/// What goes in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Every constant.
    Query,
    /// Nothing yet: a query may follow, as in EXPLAIN; in brackets too (COPY).
    Waiting,
    /// Nothing but a query in brackets.
    Copy,
    /// Strings.
    Strings,
    /// Strings, unless SET makes it a statement about settings.
    Role,
    /// Strings outside of brackets: a function's body.
    Body,
    /// Strings behind CONNECTION.
    Connection,
    /// Values of SET.
    Set,
    /// Nothing.
    Nothing,
}

/// Normalises, with buffers that are used again.
#[derive(Debug)]
pub(super) struct Normalizer {
    orders: Orders,
}

impl Normalizer {
    pub(super) const fn new() -> Self {
        Self {
            orders: Orders::new(),
        }
    }

    /// Writes the normalised `sql` into `text` (cleared before).
    pub(super) fn normalize(&mut self, sql: &str, text: &mut String) {
        self.orders.clear();
        let mut lexer = Lexer::new(sql);
        while lexer.peek().is_some() {
            self.statement(sql, &mut lexer);
            self.orders.end_statement(sql);
        }
        text.clear();
        let mut at = 0;
        for (start, end, id) in self.orders.numbered() {
            text.push_str(&sql[at..start]);
            push_param(text, id);
            at = end;
        }
        text.push_str(&sql[at..]);
    }

    /// Up to and with the next semicolon.
    fn statement(&mut self, sql: &str, lexer: &mut Lexer<'_>) {
        let mut mode = mode_of(sql, lexer);
        let mut before: Option<(Token, Word)> = None;
        while let Some(token) = lexer.next() {
            let text = &sql[token.start..token.end];
            let this = if token.kind == Kind::Word {
                word(text)
            } else {
                Word::Name
            };
            if token.kind == Kind::Mark(b';') && self.orders.is_outside() {
                self.orders.at(token.start);
                return;
            }
            if mode == Mode::Waiting && matches!(token.kind, Kind::Word) && begins_query(this, text)
            {
                mode = Mode::Query;
            }
            match mode {
                Mode::Query => self.query(sql, token, this, before, lexer),
                Mode::Waiting | Mode::Copy if token.kind == Kind::Mark(b'(') => {
                    let is_query = lexer.peek().is_some_and(|next| {
                        let text = &sql[next.start..next.end];
                        next.kind == Kind::Word && begins_query(word(text), text)
                    });
                    if is_query {
                        self.orders.open(true);
                        mode = Mode::Query;
                    } else {
                        skip_brackets(lexer);
                    }
                }
                Mode::Strings | Mode::Role if token.kind == Kind::Text => {
                    self.orders.constant(token.start, token.end);
                }
                Mode::Body => self.body(sql, token, lexer, &mut mode),
                Mode::Connection
                    if token.kind == Kind::Text
                        && before.is_some_and(|(b, _)| is(sql, b, "connection")) =>
                {
                    self.orders.constant(token.start, token.end);
                }
                Mode::Set => self.set(sql, token, lexer),
                _ => {}
            }
            // ALTER ROLE … SET is another statement than ALTER ROLE … PASSWORD.
            if mode == Mode::Role && this == Word::Set {
                mode = Mode::Nothing;
            }
            before = Some((token, this));
        }
        self.orders.at(sql.len());
    }

    /// A token of a query.
    fn query(
        &mut self,
        sql: &str,
        token: Token,
        this: Word,
        before: Option<(Token, Word)>,
        lexer: &mut Lexer<'_>,
    ) {
        let text = &sql[token.start..token.end];
        let behind = before.map_or(Word::Name, |(_, word)| word);
        self.orders.at(token.start);
        match token.kind {
            Kind::Number => {
                let start = self.sign(sql, token, *lexer);
                if !self.orders.is_position(sql, start, token, *lexer) {
                    self.orders.constant(start, token.end);
                }
            }
            Kind::Text => self.orders.constant(token.start, token.end),
            Kind::Param => self.orders.param(text),
            Kind::Op => self.orders.operator(token),
            Kind::Cast => {
                self.orders.operand();
                skip_type(sql, lexer);
            }
            Kind::Mark(b'(') => {
                let is_query = lexer.peek().is_some_and(|next| {
                    let text = &sql[next.start..next.end];
                    next.kind == Kind::Word && begins_query(word(text), text)
                });
                self.orders.open(is_query);
            }
            Kind::Mark(b')') => self.orders.close(sql),
            Kind::Mark(b'[') => self.orders.open(false),
            Kind::Mark(b']') => self.orders.close(sql),
            Kind::Mark(b',') => self.orders.comma(sql),
            Kind::Mark(_) => self.orders.mark(),
            Kind::Quoted => self.orders.operand(),
            Kind::Word => self.word(sql, token, this, behind, before, lexer),
        }
    }

    fn word(
        &mut self,
        sql: &str,
        token: Token,
        this: Word,
        behind: Word,
        before: Option<(Token, Word)>,
        lexer: &mut Lexer<'_>,
    ) {
        let text = &sql[token.start..token.end];
        match this {
            Word::True | Word::False | Word::Null if !matches!(behind, Word::Is | Word::Not) => {
                self.orders.constant(token.start, token.end);
            }
            Word::All if behind == Word::Limit => self.orders.constant(token.start, token.end),
            Word::Type if has_typmod(text) && lexer.is_next(b'(') => {
                let mut ahead = *lexer;
                ahead.next();
                if let Some(behind) = skip_numbers(ahead) {
                    *lexer = behind;
                }
                self.orders.operand();
            }
            _ if [
                "varying",
                "current_timestamp",
                "current_time",
                "localtime",
                "localtimestamp",
            ]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(text)) =>
            {
                let mut ahead = *lexer;
                if ahead
                    .next()
                    .is_some_and(|next| next.kind == Kind::Mark(b'('))
                    && let Some(behind) = skip_numbers(ahead)
                {
                    *lexer = behind;
                }
                self.orders.operand();
            }
            _ if text.eq_ignore_ascii_case("extract") && lexer.is_next(b'(') => {
                // The field is a string to the parser.
                let mut ahead = *lexer;
                ahead.next();
                let field = ahead.next();
                self.orders.operand();
                if let Some(field) = field.filter(|field| field.kind == Kind::Word) {
                    lexer.next();
                    lexer.next();
                    self.orders.open(false);
                    self.orders.constant(field.start, field.end);
                }
            }
            Word::Name | Word::Type => {
                let is_field =
                    before.is_some_and(|(b, _)| b.kind == Kind::Text) && is_interval_field(text);
                if is_field && lexer.is_next(b'(') {
                    // `interval '1' second (3)`
                    lexer.next();
                    skip_brackets(lexer);
                }
                self.orders.operand();
            }
            _ => self.orders.keyword(sql, this, behind, *lexer),
        }
    }

    /// Where a number begins: a sign that is only its own belongs to it, unless a cast binds first.
    fn sign(&self, sql: &str, token: Token, lexer: Lexer<'_>) -> usize {
        let is_cast = lexer.peek().is_some_and(|next| next.kind == Kind::Cast);
        match self.orders.sign() {
            Some(at) if !is_cast && sql[at..].starts_with('-') => at,
            _ => token.start,
        }
    }

    /// Options of CREATE FUNCTION.
    fn body(&mut self, sql: &str, token: Token, lexer: &mut Lexer<'_>, mode: &mut Mode) {
        match token.kind {
            Kind::Mark(b'(') => skip_brackets(lexer),
            Kind::Text => self.orders.constant(token.start, token.end),
            // A body in SQL is no constant.
            Kind::Word if is(sql, token, "return") || is(sql, token, "atomic") => {
                *mode = Mode::Nothing
            }
            Kind::Word if is(sql, token, "set") => {
                // `SET name TO value`, up to the next option: one value.
                for _ in 0..2 {
                    lexer.next();
                }
                if let Some(value) = lexer.next() {
                    self.orders.constant(value.start, value.end);
                }
            }
            _ => {}
        }
    }

    /// `SET name = value, …`: words are values too.
    fn set(&mut self, sql: &str, token: Token, lexer: &mut Lexer<'_>) {
        const VALUE_FOLLOWS: [&str; 7] = [
            "to",
            "zone",
            "names",
            "role",
            "authorization",
            "schema",
            "catalog",
        ];
        let is_value_next = token.kind == Kind::Op && is(sql, token, "=")
            || token.kind == Kind::Word && VALUE_FOLLOWS.iter().any(|word| is(sql, token, word));
        if is(sql, token, "transaction") {
            self.transaction(sql, lexer);
        } else if is_value_next {
            while let Some(mut value) = lexer.peek().filter(|next| next.kind != Kind::Mark(b';')) {
                lexer.next();
                let start = value.start;
                if value.kind == Kind::Op
                    && let Some(number) = lexer.peek().filter(|next| next.kind == Kind::Number)
                {
                    lexer.next();
                    value = number;
                }
                let is_value = matches!(
                    value.kind,
                    Kind::Word | Kind::Quoted | Kind::Number | Kind::Text
                );
                if is_value && !is(sql, value, "default") && !is(sql, value, "local") {
                    self.orders.constant(start, value.end);
                }
            }
        }
    }

    /// Modes of SET TRANSACTION: the parser's strings and numbers stand at their first word.
    fn transaction(&mut self, sql: &str, lexer: &mut Lexer<'_>) {
        let mut was_level = false;
        while let Some(next) = lexer.peek().filter(|next| next.kind != Kind::Mark(b';')) {
            lexer.next();
            let is_mode = ["read", "deferrable", "not"]
                .iter()
                .any(|word| is(sql, next, word));
            if was_level || is_mode || next.kind == Kind::Text {
                self.orders.constant(next.start, next.end);
                if ["read", "repeatable", "not"]
                    .iter()
                    .any(|word| is(sql, next, word))
                {
                    lexer.next();
                }
            }
            was_level = is(sql, next, "level");
        }
    }
}

fn is(sql: &str, token: Token, word: &str) -> bool {
    sql[token.start..token.end].eq_ignore_ascii_case(word)
}

pub(super) fn begins_query(word: Word, text: &str) -> bool {
    matches!(
        word,
        Word::Select
            | Word::With
            | Word::Values
            | Word::Insert
            | Word::Update
            | Word::Delete
            | Word::Merge
    ) || word == Word::Table && text.len() == 5
}

/// Which rule the statement that begins here follows.
fn mode_of(sql: &str, lexer: &Lexer<'_>) -> Mode {
    let mut words = lexer
        .clone_statement()
        .filter(|token| token.kind == Kind::Word);
    let mut next = || {
        words
            .next()
            .map_or("", |token| &sql[token.start..token.end])
    };
    let lower = |text: &str, to: &mut [u8; 12]| {
        let n = text.len().min(12);
        to.fill(0);
        to[..n].copy_from_slice(&text.as_bytes()[..n]);
        to.make_ascii_lowercase();
        n
    };
    let mut buffer = [0; 12];
    let first = next();
    let n = lower(first, &mut buffer);
    match &buffer[..n] {
        b"select" | b"with" | b"values" | b"table" | b"insert" | b"update" | b"delete"
        | b"merge" => {
            return Mode::Query;
        }
        b"call" => return Mode::Query,
        b"explain" | b"declare" => return Mode::Waiting,
        b"copy" => return Mode::Copy,
        b"do" | b"notify" => return Mode::Strings,
        b"set" => return Mode::Set,
        b"create" | b"alter" => {}
        _ => {
            let is_bracket = lexer.is_next(b'(');
            return if is_bracket {
                Mode::Query
            } else {
                Mode::Nothing
            };
        }
    }
    let is_create = buffer[0] == b'c';
    let mut second = next();
    if second.eq_ignore_ascii_case("or") {
        next();
        second = next();
    }
    let n = lower(second, &mut buffer);
    match &buffer[..n] {
        b"user" if next().eq_ignore_ascii_case("mapping") => Mode::Strings,
        b"role" | b"user" | b"group" => Mode::Role,
        b"function" | b"procedure" if is_create => Mode::Body,
        b"subscription" => Mode::Connection,
        _ => Mode::Nothing,
    }
}

/// The type behind `::`, with its lengths and bounds.
fn skip_type(sql: &str, lexer: &mut Lexer<'_>) {
    let mut wants_name = true;
    while let Some(next) = lexer.peek() {
        let text = &sql[next.start..next.end];
        match next.kind {
            Kind::Word | Kind::Quoted if wants_name => wants_name = false,
            Kind::Word if super::words::goes_on_type(text) => {}
            Kind::Mark(b'.') => wants_name = true,
            Kind::Mark(b'(' | b'[') if !wants_name => {
                lexer.next();
                skip_brackets(lexer);
                continue;
            }
            _ => return,
        }
        lexer.next();
    }
}
