//! What kind of statement it is, from its tokens alone: PostgreSQL's group template. (step 2)
//!
//! In: SQL. Out: a template without constants in which what does not change the plan's kind is equal: case, quotes,
//! comments, aliases, the order of selected columns, of tables, of conditions joined by AND; lists of constants fold to one.
//! Invariants: GR-1 no constant is in it: each is written as `$n`. GR-2 the template of a template is itself. GR-3 one pass,
//! no allocation once the buffers have grown. Limits: [`DEPTH_MAX`] brackets deep; deeper ones are copied unfolded.
//! The words of clauses are in `clauses.rs`.
//! Does not: resolve names, or see through rewritten expressions (`a > b` and `b < a` differ).

use super::lex::{Kind, Lexer, Token};
use super::region::{is_plain_name, number, skip_brackets, without_long_numbers};
use super::words::{Word, goes_on_type, is_interval_field, word};

/// Brackets inside brackets that are told apart.
pub(super) const DEPTH_MAX: usize = 200;
/// Stands for a constant until it is numbered; the lexer takes it for whitespace, so it is in no token.
pub(super) const CONSTANT: char = '\u{1}';

/// Why a bracket was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// The statement itself.
    Statement,
    /// `(` of an expression or a call.
    Plain {
        is_call: bool,
    },
    /// A list behind IN; `not` before it.
    In {
        not: bool,
    },
    /// Behind `= ANY`.
    Any,
    /// A row of VALUES.
    Row,
    Cast,
    /// `ARRAY[…]`
    Array,
    /// `[…]` otherwise.
    Index,
    /// Columns of an INSERT.
    Columns,
    DistinctOn,
}

/// A list whose items may be put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    None,
    /// The selected columns: aliases go.
    Select,
    /// Tables: aliases go.
    From,
    /// Conditions, divided by AND.
    Where,
    /// Assignments of an UPDATE.
    Set,
    /// Rows of VALUES.
    Rows,
    /// A list in brackets.
    List,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) opened: Opened,
    /// Where the folded form begins: at the operator, keyword or bracket; and what stood before it.
    pub(super) fold_at: usize,
    pub(super) before: Last,
    /// Nothing but constants so far, and at least one once `n_constants` is not zero.
    pub(super) only_constants: bool,
    pub(super) n_constants: usize,
    pub(super) region: Region,
    pub(super) region_at: usize,
    pub(super) item_at: usize,
    pub(super) items_from: usize,
    /// Items of the region may be put in order.
    pub(super) sorts: bool,
    pub(super) between: bool,
    pub(super) n_cases: usize,
}

impl Frame {
    pub(super) const fn new(opened: Opened, fold_at: usize, before: Last) -> Self {
        Self {
            opened,
            fold_at,
            before,
            only_constants: true,
            n_constants: 0,
            region: Region::None,
            region_at: 0,
            item_at: 0,
            items_from: 0,
            sorts: true,
            between: false,
            n_cases: 0,
        }
    }
}

/// What was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Nothing,
    Name,
    Constant,
    Keyword(Word),
    Operator,
    Open,
    Close,
    Comma,
    Dot,
    Cast,
}

impl Last {
    const fn is_operand(self) -> bool {
        matches!(self, Self::Name | Self::Constant | Self::Close)
    }
}

/// Writes group templates, with buffers that are used again.
#[derive(Debug)]
pub(super) struct Grouper {
    pub(super) out: String,
    pub(super) scratch: String,
    pub(super) frames: Vec<Frame>,
    pub(super) items: Vec<(usize, usize)>,
    pub(super) n_deep: usize,
    pub(super) last: Last,
    /// The keyword that says what the statement does.
    pub(super) first: Word,
    /// At a statement's first word.
    pub(super) at_head: bool,
    /// Where a type's name began that may belong to a constant, and what stood before.
    pub(super) type_at: Option<(usize, Last)>,
    sign_at: Option<(usize, Last)>,
    /// Where `in`, `not in`, `any`, `some` or `cast` began, what stood before, and whether it was `not in`.
    pub(super) fold_at: (usize, Last, bool),
    pub(super) not_at: Option<(usize, Last)>,
    /// The next name is a table's.
    pub(super) wants_relation: bool,
    /// A table was named: what follows may be its alias.
    pub(super) after_relation: bool,
    /// The columns of an INSERT may follow.
    pub(super) is_into: bool,
    pub(super) is_temporary: bool,
}

impl Grouper {
    pub(super) const fn new() -> Self {
        Self {
            out: String::new(),
            scratch: String::new(),
            frames: Vec::new(),
            items: Vec::new(),
            n_deep: 0,
            last: Last::Nothing,
            first: Word::Name,
            at_head: true,
            type_at: None,
            sign_at: None,
            fold_at: (0, Last::Nothing, false),
            not_at: None,
            wants_relation: false,
            after_relation: false,
            is_into: false,
            is_temporary: false,
        }
    }

    /// Writes the template of `sql` into `text` (cleared before). O(n log n) in the longest list.
    pub(super) fn template(&mut self, sql: &str, text: &mut String) {
        self.out.clear();
        self.begin_statement();
        let mut lexer = Lexer::new(sql);
        let mut is_pending = false;
        while let Some(token) = lexer.next() {
            if token.kind == Kind::Mark(b';') && self.frames.len() == 1 && self.n_deep == 0 {
                self.close_region();
                is_pending = true;
                continue;
            }
            if std::mem::take(&mut is_pending) {
                self.begin_statement();
                if !self.out.is_empty() {
                    self.out.push(';');
                    self.last = Last::Comma;
                }
            }
            self.token(sql, token, &mut lexer);
        }
        while !self.frames.is_empty() {
            self.close_region();
            self.frames.pop();
        }
        number(&self.out, text);
    }

    fn begin_statement(&mut self) {
        self.frames.clear();
        self.items.clear();
        self.frames
            .push(Frame::new(Opened::Statement, 0, Last::Nothing));
        self.n_deep = 0;
        self.last = Last::Nothing;
        self.first = Word::Name;
        self.at_head = true;
        self.type_at = None;
        self.sign_at = None;
        self.not_at = None;
        self.wants_relation = false;
        self.after_relation = false;
        self.is_into = false;
        self.is_temporary = false;
    }

    /// The innermost bracket; there is always the statement's own frame.
    pub(super) fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames
                .push(Frame::new(Opened::Statement, 0, Last::Nothing));
        }
        let at = self.frames.len() - 1;
        &mut self.frames[at]
    }

    fn token(&mut self, sql: &str, token: Token, lexer: &mut Lexer<'_>) {
        let text = &sql[token.start..token.end];
        let sign = self.sign_at.take();
        if self.type_at.is_some() {
            let goes_on = matches!(token.kind, Kind::Text | Kind::Param | Kind::Mark(b'('))
                || token.kind == Kind::Word && goes_on_type(text);
            if !goes_on {
                self.type_at = None;
                self.frame().only_constants = false;
            }
        }
        if !matches!(token.kind, Kind::Word) {
            self.not_at = None;
            if !matches!(token.kind, Kind::Quoted | Kind::Mark(b'(' | b'.')) {
                self.after_relation = false;
            }
        }
        match token.kind {
            Kind::Word if std::mem::take(&mut self.at_head) => self.head(sql, text, lexer),
            Kind::Word => self.word(sql, text, lexer),
            Kind::Quoted => self.quoted(text, lexer),
            Kind::Number => {
                if let Some((at, last)) = sign {
                    self.out.truncate(at);
                    self.last = last;
                }
                self.constant();
            }
            Kind::Text | Kind::Param => self.text_constant(sql, lexer),
            Kind::Op => self.operator(text),
            Kind::Cast => self.cast(sql, lexer),
            Kind::Mark(mark) => self.mark(mark, lexer),
        }
    }

    /// A space where two tokens would run together.
    pub(super) fn gap(&mut self) {
        if !matches!(
            self.last,
            Last::Nothing | Last::Open | Last::Dot | Last::Cast
        ) {
            self.out.push(' ');
        }
    }

    /// Writes a word in lower case.
    pub(super) fn put(&mut self, text: &str, last: Last) {
        self.gap();
        let from = self.out.len();
        self.out.push_str(text);
        self.out[from..].make_ascii_lowercase();
        self.last = last;
    }

    pub(super) fn keyword(&mut self, text: &str, word: Word) {
        self.frame().only_constants = false;
        self.put(text, Last::Keyword(word));
    }

    pub(super) fn constant(&mut self) {
        self.gap();
        self.out.push(CONSTANT);
        self.last = Last::Constant;
        self.frame().n_constants += 1;
    }

    /// A string, with the type before it and the fields behind it: `interval '1' day`.
    fn text_constant(&mut self, sql: &str, lexer: &mut Lexer<'_>) {
        let typed = self.type_at.take();
        if let Some((at, last)) = typed {
            self.out.truncate(at);
            self.last = last;
        }
        self.constant();
        while typed.is_some() {
            match lexer.peek() {
                Some(next)
                    if next.kind == Kind::Word && is_interval_field(&sql[next.start..next.end]) =>
                {
                    lexer.next();
                }
                _ => break,
            }
        }
    }

    fn operator(&mut self, text: &str) {
        let is_sign = matches!(text, "-" | "+") && !self.last.is_operand();
        let is_star = text == "*" && !self.last.is_operand();
        if is_sign {
            self.sign_at = Some((self.out.len(), self.last));
        } else {
            self.frame().only_constants = false;
        }
        let text = if text == "!=" { "<>" } else { text };
        let last = if is_star { Last::Name } else { Last::Operator };
        self.put(text, last);
    }

    /// `::type`; of a constant the type is dropped.
    fn cast(&mut self, sql: &str, lexer: &mut Lexer<'_>) {
        if self.last != Last::Constant {
            self.frame().only_constants = false;
            self.out.push_str("::");
            self.last = Last::Cast;
            return;
        }
        let mut is_first = true;
        while let Some(next) = lexer.peek() {
            let text = &sql[next.start..next.end];
            match next.kind {
                Kind::Word | Kind::Quoted if is_first => is_first = false,
                Kind::Word if goes_on_type(text) => {}
                Kind::Mark(b'.') => is_first = true,
                Kind::Mark(b'(' | b'[') => {
                    lexer.next();
                    skip_brackets(lexer);
                    continue;
                }
                _ => break,
            }
            lexer.next();
        }
    }

    /// A name that is no keyword.
    pub(super) fn name(&mut self, text: &str, lexer: &mut Lexer<'_>) {
        if self.is_alias_place() {
            self.skip_alias_columns(lexer);
            return;
        }
        self.frame().only_constants = false;
        if !self.wants_relation || lexer.is_next(b'.') {
            self.put(text, Last::Name);
            return;
        }
        self.wants_relation = false;
        self.after_relation = true;
        if self.is_temporary {
            // Sessions make such names up.
            return;
        }
        if !text.bytes().any(|byte| byte.is_ascii_digit()) {
            self.put(text, Last::Name);
            return;
        }
        self.scratch.clear();
        without_long_numbers(text, &mut self.scratch);
        let short = std::mem::take(&mut self.scratch);
        let is_keyword = word(&short) != Word::Name;
        self.put(if is_keyword { text } else { &short }, Last::Name);
        self.scratch = short;
    }

    /// A name may not stand here: what does is an alias.
    pub(super) fn is_alias_place(&mut self) -> bool {
        let last = self.last;
        match self.frame().region {
            Region::Select => last.is_operand(),
            Region::From => self.after_relation,
            _ => self.after_relation && last == Last::Name && self.names_aliases(),
        }
    }

    /// `AS t (a, b)` behind a table.
    pub(super) fn skip_alias_columns(&mut self, lexer: &mut Lexer<'_>) {
        let is_table = self.frame().region == Region::From;
        self.after_relation = false;
        if is_table && lexer.is_next(b'(') {
            lexer.next();
            skip_brackets(lexer);
        }
    }

    /// A name in quotes; where it could stand without them it does.
    fn quoted(&mut self, text: &str, lexer: &mut Lexer<'_>) {
        let inner = text
            .strip_prefix('"')
            .map(|rest| rest.strip_suffix('"').unwrap_or(rest));
        if let Some(inner) = inner
            && is_plain_name(inner)
            && word(inner) == Word::Name
        {
            self.name(inner, lexer);
            return;
        }
        if self.is_alias_place() {
            self.skip_alias_columns(lexer);
            return;
        }
        self.frame().only_constants = false;
        if self.wants_relation && !lexer.is_next(b'.') {
            self.wants_relation = false;
            self.after_relation = true;
        }
        self.gap();
        // Control characters mean something in the buffer.
        self.out
            .extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        if inner.is_some() && !(text.len() > 1 && text.ends_with('"')) {
            self.out.push('"');
        }
        self.last = Last::Name;
    }

    fn mark(&mut self, mark: u8, lexer: &mut Lexer<'_>) {
        match mark {
            b'(' => self.open(lexer),
            b'[' => self.open_index(),
            b')' | b']' => self.close(mark),
            b',' => self.comma(),
            b'.' => {
                self.out.push('.');
                self.last = Last::Dot;
            }
            _ => {
                self.frame().only_constants = false;
                self.gap();
                self.out.push(char::from(mark));
                self.last = Last::Operator;
            }
        }
    }

    fn comma(&mut self) {
        self.out.push(',');
        self.last = Last::Comma;
        let at = self.out.len();
        let frame = self.frame();
        if matches!(frame.region, Region::None | Region::Where) {
            return;
        }
        let item = (frame.item_at, at - 1);
        frame.item_at = at;
        let is_table = frame.region == Region::From;
        self.items.push(item);
        self.wants_relation = is_table;
    }
}
