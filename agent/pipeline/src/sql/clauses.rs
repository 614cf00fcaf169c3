//! The group template's other half: what each keyword opens, closes or leaves out. (step 2)

use super::group::{Frame, Grouper, Last, Opened, Region};
use super::lex::{Kind, Lexer, Token};
use super::region::skip_brackets;
use super::words::{Word, goes_on_type, has_typmod, word};

/// What stands behind PREPARE and DECLARE where no name does.
const NO_NAMES: [&str; 8] = [
    "as",
    "transaction",
    "cursor",
    "binary",
    "scroll",
    "no",
    "insensitive",
    "asensitive",
];

impl Grouper {
    /// A word that is not a statement's first.
    pub(super) fn word(&mut self, sql: &str, text: &str, lexer: &mut Lexer<'_>) {
        let word = word(text);
        let not_at = self.not_at.take();
        if word == Word::Name {
            if self.type_at.is_some() && goes_on_type(text) {
                self.put(text, Last::Name);
            } else if self.is_words_of_create(text) {
                self.put(
                    if self.is_temporary { "temporary" } else { text },
                    Last::Name,
                );
            } else {
                self.name(text, lexer);
            }
            return;
        }
        if word == Word::Silent {
            // `inner join` is `join`, `left outer join` is `left join`.
            return;
        }
        if word == Word::As {
            self.alias(lexer, text);
            return;
        }
        if word == Word::Type {
            self.type_word(text, lexer);
            return;
        }
        if word != Word::On {
            self.after_relation = false;
        }
        match word {
            Word::True | Word::False | Word::Null
                if !matches!(self.last, Last::Keyword(Word::Is | Word::Not)) =>
            {
                self.constant();
            }
            Word::Default if self.is_value_place() => self.constant(),
            Word::Not => {
                self.not_at = Some((self.out.len(), self.last));
                self.keyword(text, word);
            }
            Word::In => {
                let (at, last) = not_at.unwrap_or((self.out.len(), self.last));
                self.fold_at = (at, last, not_at.is_some());
                self.keyword(text, word);
            }
            Word::Any | Word::Some => {
                let is_compared = self.last == Last::Operator;
                self.fold_at = (self.out.len(), self.last, false);
                self.keyword(text, if is_compared { word } else { Word::Other });
            }
            Word::Cast => {
                self.fold_at = (self.out.len(), self.last, false);
                // Whether it is a constant shows at its end.
                self.put(text, Last::Keyword(word));
            }
            _ => self.clause(sql, word, text, lexer),
        }
    }

    /// `temporary`, `if` of CREATE and DROP: no names.
    fn is_words_of_create(&mut self, text: &str) -> bool {
        if ["temp", "temporary"]
            .iter()
            .any(|word| word.eq_ignore_ascii_case(text))
            && self.frames.len() == 1
        {
            self.is_temporary = self.is_temporary || self.first == Word::Table;
            return self.first == Word::Table;
        }
        self.wants_relation && text.eq_ignore_ascii_case("if")
    }

    /// A type's name: the beginning of a constant, or a column that is called like it.
    fn type_word(&mut self, text: &str, lexer: &mut Lexer<'_>) {
        let next = lexer.peek().map(|token| token.kind);
        let is_constant = matches!(next, Some(Kind::Text));
        if !is_constant && (self.wants_relation || self.is_alias_place()) {
            self.name(text, lexer);
            return;
        }
        let at = (self.out.len(), self.last);
        let may_be_constant = self.type_at.is_none()
            && (is_constant || has_typmod(text) || text.eq_ignore_ascii_case("double"));
        if may_be_constant && self.last != Last::Dot {
            self.type_at = Some(at);
        } else if self.type_at.is_none() {
            self.frame().only_constants = false;
        }
        self.put(text, Last::Name);
    }

    /// `AS`: the name behind it goes, and so does the type that a constant is cast to.
    fn alias(&mut self, lexer: &mut Lexer<'_>, text: &str) {
        let frame = *self.frame();
        if frame.opened == Opened::Cast && frame.only_constants && frame.n_constants == 1 {
            skip_brackets(lexer);
            self.frames.pop();
            self.out.truncate(frame.fold_at);
            self.last = frame.before;
            self.constant();
            return;
        }
        let is_list = matches!(frame.region, Region::Select | Region::From);
        if is_list || self.after_relation && self.names_aliases() {
            lexer.next();
            self.skip_alias_columns(lexer);
            return;
        }
        self.keyword(text, Word::As);
    }

    /// Of statements outside of FROM: behind the table of an UPDATE, not of a CREATE or ALTER.
    pub(super) const fn names_aliases(&self) -> bool {
        matches!(
            self.first,
            Word::Update | Word::Insert | Word::Delete | Word::Merge
        )
    }

    /// DEFAULT where a value could stand.
    fn is_value_place(&mut self) -> bool {
        let region = self.frame().region;
        self.frame().opened == Opened::Row || region == Region::Set && self.last == Last::Operator
    }

    fn clause(&mut self, sql: &str, word: Word, text: &str, lexer: &mut Lexer<'_>) {
        let last = self.last;
        match word {
            Word::Select => {
                self.begin_select();
                self.keyword(text, word);
                self.open_region(Region::Select);
            }
            Word::Distinct | Word::All => {
                self.keyword(text, word);
                let follows = last == Last::Keyword(Word::Select);
                if follows && self.frame().region == Region::Select {
                    self.restart_region();
                }
            }
            Word::From => self.from(text),
            Word::Where => {
                self.close_region();
                self.keyword(text, word);
                self.open_region(Region::Where);
            }
            Word::Group | Word::Order if !next_is(sql, *lexer, "by") => self.keyword(text, word),
            Word::Group
            | Word::Order
            | Word::Having
            | Word::Limit
            | Word::Offset
            | Word::Fetch
            | Word::Window
            | Word::Returning
            | Word::Except
            | Word::For
            | Word::Do => {
                self.close_region();
                self.keyword(text, word);
            }
            Word::Values => {
                self.close_region();
                self.keyword(text, word);
                self.open_region(Region::Rows);
            }
            Word::Set => {
                self.close_region();
                self.keyword(text, word);
                self.open_region(Region::Set);
            }
            Word::And => self.and(text),
            Word::Or => {
                let frame = self.frame();
                frame.sorts &= frame.region != Region::Where || frame.n_cases > 0;
                self.keyword(text, word);
            }
            Word::Between => {
                self.frame().between = true;
                self.keyword(text, word);
            }
            Word::Case => {
                self.frame().n_cases += 1;
                self.keyword(text, word);
            }
            Word::End => {
                let frame = self.frame();
                frame.n_cases = frame.n_cases.saturating_sub(1);
                frame.only_constants = false;
                self.put(text, Last::Name);
            }
            _ => self.statement_word(word, text),
        }
    }

    /// Words that say which table comes, and what kind of statement it is.
    fn statement_word(&mut self, word: Word, text: &str) {
        let last = self.last;
        match word {
            Word::Join => {
                self.frame().sorts = false;
                self.keyword(text, word);
                self.wants_relation = true;
            }
            Word::On => {
                let is_distinct = last == Last::Keyword(Word::Distinct);
                if self.frame().region == Region::From {
                    self.frame().sorts = false;
                } else if !is_distinct {
                    // `on conflict`, `on duplicate`
                    self.close_region();
                }
                self.after_relation = false;
                self.keyword(text, if is_distinct { Word::DistinctOn } else { word });
            }
            Word::Using => {
                self.keyword(text, word);
                self.wants_relation = matches!(self.first, Word::Merge | Word::Delete);
            }
            Word::Into => {
                self.close_region();
                self.keyword(text, word);
                self.wants_relation = true;
                self.is_into = true;
            }
            Word::Update => {
                self.keyword(text, word);
                if !matches!(last, Last::Keyword(Word::For | Word::Do | Word::On)) {
                    self.first = word;
                    self.wants_relation = true;
                }
            }
            Word::Delete | Word::Insert | Word::Merge => {
                self.keyword(text, word);
                if last != Last::Keyword(Word::On) {
                    self.first = word;
                }
            }
            Word::Table => {
                self.keyword(text, word);
                self.wants_relation = true;
            }
            _ => self.keyword(text, word),
        }
    }

    /// A subquery is no list of values.
    fn begin_select(&mut self) {
        let frame = self.frame();
        if frame.region == Region::List {
            frame.region = Region::None;
        } else {
            self.close_region();
        }
        let frame: &mut Frame = self.frame();
        if matches!(
            frame.opened,
            Opened::In { .. } | Opened::Any | Opened::Row | Opened::Columns
        ) {
            frame.opened = Opened::Plain { is_call: true };
        }
    }

    fn from(&mut self, text: &str) {
        let frame = *self.frame();
        let is_clause = matches!(frame.region, Region::Select | Region::Set);
        let is_inside =
            matches!(frame.opened, Opened::Plain { is_call: true }) && frame.region == Region::None;
        if self.last == Last::Keyword(Word::Distinct) || is_inside {
            self.keyword(text, Word::Other);
        } else if is_clause {
            self.close_region();
            self.keyword(text, Word::From);
            self.open_region(Region::From);
            self.wants_relation = true;
        } else {
            self.keyword(text, Word::From);
            self.wants_relation = self.first == Word::Delete;
        }
    }

    fn and(&mut self, text: &str) {
        let frame = self.frame();
        let is_range = std::mem::take(&mut frame.between);
        if !is_range && frame.region == Region::Where && frame.n_cases == 0 {
            frame.only_constants = false;
            self.next_condition();
        } else {
            self.keyword(text, Word::And);
        }
    }

    /// A statement's first word: of some only that is the kind, the rest being names that sessions make up.
    pub(super) fn head(&mut self, sql: &str, text: &str, lexer: &mut Lexer<'_>) {
        let mut lower = [0; 12];
        let n = text.len().min(12);
        lower[..n].copy_from_slice(&text.as_bytes()[..n]);
        lower.make_ascii_lowercase();
        match &lower[..n] {
            b"begin" | b"listen" | b"unlisten" | b"notify" | b"close" | b"savepoint"
            | b"release" => {
                self.put(text, Last::Nothing);
                skip_statement(lexer);
            }
            b"start" | b"commit" | b"end" | b"rollback" | b"abort" => {
                self.transaction(sql, text, lexer)
            }
            b"do" => {
                self.put(text, Last::Keyword(Word::Do));
                self.constant();
                skip_statement(lexer);
            }
            b"deallocate" => {
                self.put(text, Last::Keyword(Word::Other));
                if next_is(sql, *lexer, "all") {
                    self.put("all", Last::Keyword(Word::Other));
                }
                skip_statement(lexer);
            }
            b"execute" => {
                self.put(text, Last::Nothing);
                skip_statement(lexer);
            }
            b"declare" | b"prepare" => {
                self.put(text, Last::Keyword(Word::Other));
                let is_name = |next: &Token| {
                    let text = &sql[next.start..next.end];
                    matches!(next.kind, Kind::Word | Kind::Quoted)
                        && !NO_NAMES.iter().any(|word| word.eq_ignore_ascii_case(text))
                };
                if lexer.peek().as_ref().is_some_and(is_name) {
                    lexer.next();
                }
            }
            b"fetch" | b"move" => self.fetch(sql, text, lexer),
            b"set" => self.set(sql, text, lexer),
            b"create" => {
                self.put(text, Last::Keyword(Word::Other));
                self.first = Word::Table;
            }
            b"truncate" | b"lock" => {
                self.put(text, Last::Keyword(Word::Other));
                if next_is(sql, *lexer, "table") {
                    lexer.next();
                }
                self.wants_relation = true;
            }
            _ => self.word(sql, text, lexer),
        }
    }

    fn transaction(&mut self, sql: &str, text: &str, lexer: &mut Lexer<'_>) {
        let kind = match text.as_bytes()[0] | 0x20 {
            b's' => "start transaction",
            b'c' | b'e' => "commit",
            _ => "rollback",
        };
        self.put(kind, Last::Nothing);
        for token in lexer.clone_statement() {
            let word = &sql[token.start..token.end];
            if token.kind == Kind::Word
                && ["prepared", "to"]
                    .iter()
                    .any(|w| w.eq_ignore_ascii_case(word))
            {
                self.out.push(' ');
                self.put(word, Last::Nothing);
            }
        }
        skip_statement(lexer);
    }

    /// `FETCH FORWARD 10 FROM cursor`: the cursor's name goes.
    fn fetch(&mut self, sql: &str, text: &str, lexer: &mut Lexer<'_>) {
        self.put(text, Last::Keyword(Word::Fetch));
        const DIRECTIONS: [&str; 8] = [
            "prior", "first", "last", "absolute", "relative", "forward", "backward", "all",
        ];
        for token in lexer.clone_statement() {
            let word = &sql[token.start..token.end];
            match token.kind {
                Kind::Number | Kind::Param => self.constant(),
                Kind::Word if DIRECTIONS.iter().any(|d| d.eq_ignore_ascii_case(word)) => {
                    self.put(word, Last::Keyword(Word::Other));
                }
                _ => {}
            }
        }
        skip_statement(lexer);
    }

    /// `SET name = value`: the value goes, words included.
    fn set(&mut self, sql: &str, text: &str, lexer: &mut Lexer<'_>) {
        const BEFORE_VALUE: [&str; 8] = [
            "to",
            "zone",
            "names",
            "role",
            "authorization",
            "schema",
            "catalog",
            "transaction",
        ];
        self.put(text, Last::Keyword(Word::Set));
        let mut tokens = lexer.clone_statement();
        let is_default = |next: Option<Token>| {
            next.is_some_and(|next| sql[next.start..next.end].eq_ignore_ascii_case("default"))
        };
        while let Some(token) = tokens.next() {
            let word = &sql[token.start..token.end];
            match token.kind {
                Kind::Word if BEFORE_VALUE.iter().any(|w| w.eq_ignore_ascii_case(word)) => {
                    // `TO` and `=` are one.
                    self.put(if word.len() == 2 { "=" } else { word }, Last::Operator);
                    self.set_value(is_default(tokens.next()));
                    break;
                }
                Kind::Op => {
                    self.put("=", Last::Operator);
                    self.set_value(is_default(tokens.next()));
                    break;
                }
                Kind::Word | Kind::Quoted => self.put(word, Last::Name),
                Kind::Mark(b'.') => {
                    self.out.push('.');
                    self.last = Last::Dot;
                }
                _ => self.constant(),
            }
        }
        skip_statement(lexer);
    }

    fn set_value(&mut self, is_default: bool) {
        if is_default {
            self.put("default", Last::Name);
        } else {
            self.constant();
        }
    }
}

fn next_is(sql: &str, lexer: Lexer<'_>, word: &str) -> bool {
    lexer
        .peek()
        .is_some_and(|next| sql[next.start..next.end].eq_ignore_ascii_case(word))
}

/// Up to the semicolon that ends the statement.
fn skip_statement(lexer: &mut Lexer<'_>) {
    while lexer
        .peek()
        .is_some_and(|next| next.kind != Kind::Mark(b';'))
    {
        lexer.next();
    }
}
