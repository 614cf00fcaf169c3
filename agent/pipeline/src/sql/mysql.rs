//! What kind of statement it is by the rules that MySQL's users know: percona's digest text. (step 2)
//!
//! In: SQL. Out: lower case, one space between words, comments gone (code in `/*! … */` stays), each number, string and NULL
//! as `?`, lists behind IN and VALUES as `(?+)`, ASC gone from ORDER BY; `use ?`, `call name`.
//! Invariants: MY-1 no number and no string is in it. MY-2 the digest of a digest is itself. MY-3 one pass, no allocation once the
//! buffers have grown. Where the known tools let a value through (`a*5`, `f(.5)`), it is `?` here.
//! Limits: subqueries [`DEPTH_MAX`] deep in lists; deeper ones fold like a list.

/// Subqueries in lists of subqueries that are told apart.
const DEPTH_MAX: usize = 64;
/// Longest keyword that means something here: `administrator`.
const KEYWORD_BYTES_MAX: usize = 13;

use super::mysql_quotes::readable;
use super::mysql_scan::{
    DIGIT, NAME, NULL, PLAIN, SPACE, is, is_command, is_null, list_end, more_lists, number_end,
    skip_blank, skip_quoted, skip_to,
};

/// What the clause means for words and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clause {
    Any,
    OrderBy,
    /// Behind ON DUPLICATE KEY UPDATE, where `VALUES(a)` is a function.
    OnDuplicate,
}

/// Keywords that open a list, and those around them; they may touch what stands before: `(a)in(1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// `in`, `value`, `values`
    List,
    Order,
    Key,
    /// `is`, `not`: NULL behind them is no value.
    Is,
    Call,
    Administrator,
    Other,
}

/// A subquery in a list, and what to go back to behind it.
#[derive(Debug, Clone, Copy)]
struct Subquery {
    /// Brackets open inside it.
    depth: usize,
    clause: Clause,
}

/// Writes digests, with buffers that are used again.
#[derive(Debug)]
pub(super) struct Digester {
    out: Vec<u8>,
    /// Where the word that is being written begins: behind the last blank or value.
    word_at: usize,
    before: Before,
    clause: Clause,
    subqueries: Vec<Subquery>,
    depth: usize,
    /// Up to here no number begins: what looked like one is a name. Keeps reading linear.
    no_number_to: usize,
    /// Whether backslashes escape in this statement.
    escapes: bool,
}

impl Digester {
    pub(super) const fn new() -> Self {
        Self {
            out: Vec::new(),
            word_at: 0,
            before: Before::Nothing,
            clause: Clause::Any,
            subqueries: Vec::new(),
            depth: 0,
            no_number_to: 0,
            escapes: true,
        }
    }

    /// Writes the digest of `sql` into `text` (cleared before). O(n).
    pub(super) fn digest(&mut self, sql: &str, text: &mut String) {
        self.out.clear();
        self.word_at = 0;
        self.before = Before::Nothing;
        self.clause = Clause::Any;
        self.subqueries.clear();
        self.depth = 0;
        self.no_number_to = 0;
        text.clear();
        let (bytes, escapes) = readable(sql.as_bytes());
        self.escapes = escapes;
        let mut at = 0;
        while at < bytes.len() {
            match self.step(bytes, at) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.end_word();
        while self.out.last() == Some(&b' ') {
            self.out.pop();
        }
        // Whole characters were copied, so nothing is replaced.
        text.push_str(&String::from_utf8_lossy(&self.out));
    }

    /// Takes what begins at `at`; where to go on, or none when the rest says nothing more.
    fn step(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let byte = bytes[at];
        let next = bytes.get(at + 1).copied().unwrap_or(0);
        if is(byte, PLAIN) {
            return Some(self.plain(bytes, at));
        }
        match byte {
            _ if is(byte, SPACE) => return self.space(bytes, at),
            _ if is(byte, DIGIT) => return Some(self.number(bytes, at)),
            b'.' if next.is_ascii_digit() && !self.is_in_name() => {
                return Some(self.number(bytes, at));
            }
            b'\'' | b'"' => {
                let behind = skip_quoted(bytes, at, self.escapes);
                self.value();
                return Some(behind);
            }
            b'`' => {
                let behind = skip_quoted(bytes, at, self.escapes);
                self.out
                    .extend(bytes[at..behind].iter().map(u8::to_ascii_lowercase));
                return Some(behind);
            }
            b'/' if next == b'*' && bytes.get(at + 2) != Some(&b'!') => {
                return Some(self.comment(bytes, at, skip_to(bytes, at + 2, b"*/")));
            }
            b'/' if next == b'*' => return Some(self.code(bytes, at)),
            b'#' => return Some(self.comment(bytes, at, skip_to(bytes, at, b"\n"))),
            b'-' if next == b'-' && bytes.get(at + 2).is_none_or(|byte| is(*byte, SPACE)) => {
                return Some(self.comment(bytes, at, skip_to(bytes, at, b"\n")));
            }
            b'-' | b'+' => {
                let after = bytes.get(at + 2).copied().unwrap_or(0);
                if next.is_ascii_digit() || next == b'.' && after.is_ascii_digit() {
                    // A sign that touches a number is a part of it.
                    match number_end(bytes, at + 1) {
                        Ok(end) if end > at + 1 => {
                            self.value();
                            return Some(end);
                        }
                        Ok(_) => {}
                        Err(end) => self.no_number_to = end,
                    }
                }
                self.out.push(byte);
            }
            b'(' => return self.open(bytes, at),
            b')' => return Some(self.close(bytes, at)),
            b'*' if next == b'/' => {
                self.out.extend_from_slice(b"*/");
                return Some(at + 2);
            }
            b':' if self.before == Before::Administrator && is_command(&bytes[at..]) => {
                self.administrator(bytes);
                return None;
            }
            0 => {}
            _ => self.out.push(byte),
        }
        Some(at + 1)
    }

    /// Copies a run of letters and operators; `x'1F'` is a value, and so is NULL unless IS or NOT stands before.
    fn plain(&mut self, bytes: &[u8], at: usize) -> usize {
        let is_prefix = |at: usize| {
            matches!(bytes[at] | 0x20, b'x' | b'b' | b'n') && bytes.get(at + 1) == Some(&b'\'')
        };
        if is_prefix(at) && !self.is_in_name() {
            let behind = skip_quoted(bytes, at + 1, self.escapes);
            self.value();
            return behind;
        }
        if is_null(bytes, at) && !self.is_in_name() && !self.out.ends_with(b".") {
            let is_test = self.before == Before::Is && self.out.ends_with(b" ");
            if !is_test {
                self.value();
                return at + NULL.len();
            }
        }
        let mut end = at + 1;
        while end < bytes.len()
            && is(bytes[end], PLAIN)
            && (!is_prefix(end) && !is_null(bytes, end) || is(bytes[end - 1], NAME))
        {
            end += 1;
        }
        let from = self.out.len();
        self.out.extend_from_slice(&bytes[at..end]);
        self.out[from..].make_ascii_lowercase();
        end
    }

    /// Whether the character before is part of a name.
    fn is_in_name(&self) -> bool {
        let last = self.out[self.word_at..].last();
        last.is_some_and(|byte| is(*byte, NAME) || *byte == b'`')
    }

    fn value(&mut self) {
        self.out.push(b'?');
        if self.word_at + 1 < self.out.len() {
            self.before = Before::Other;
        }
        self.word_at = self.out.len();
    }

    /// A number, or a name that begins like one: `123_foo`.
    fn number(&mut self, bytes: &[u8], at: usize) -> usize {
        let dotted = self.out[self.word_at..].ends_with(b".")
            && self.out.len() >= self.word_at + 2
            && (is(self.out[self.out.len() - 2], NAME) || self.out[self.out.len() - 2] == b'`');
        let may_be_number = at >= self.no_number_to && !self.is_in_name() && !dotted;
        let end = may_be_number.then(|| number_end(bytes, at));
        match end {
            Some(Ok(end)) => {
                self.value();
                end
            }
            _ => {
                if let Some(Err(end)) = end {
                    self.no_number_to = end;
                }
                let n = bytes[at..]
                    .iter()
                    .take_while(|byte| is(**byte, NAME))
                    .count()
                    .max(1);
                self.out
                    .extend(bytes[at..at + n].iter().map(u8::to_ascii_lowercase));
                at + n
            }
        }
    }

    /// What is left of a comment: nothing, or a space where two words would run together.
    fn comment(&mut self, bytes: &[u8], at: usize, end: usize) -> usize {
        let touches =
            at > 0 && is(bytes[at - 1], NAME) && bytes.get(end).is_some_and(|byte| is(*byte, NAME));
        if touches && self.is_in_name() {
            self.end_word();
            self.out.push(b' ');
            self.word_at = self.out.len();
        }
        end
    }

    /// `/*!40001 …`: its version is no value; what follows is SQL.
    fn code(&mut self, bytes: &[u8], at: usize) -> usize {
        let n = bytes[at + 3..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.out.extend_from_slice(&bytes[at..at + 3 + n]);
        at + 3 + n
    }

    /// One space for any number; a word ends.
    fn space(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let behind = skip_blank(bytes, at);
        if self.out[self.word_at..] == *b"use"
            && self.before == Before::Nothing
            && self.word_at == 0
        {
            self.out.clear();
            self.out.extend_from_slice(b"use ?");
            self.word_at = self.out.len();
            return None;
        }
        self.end_word();
        let next = bytes.get(behind).copied().unwrap_or(0);
        let opens_list = self.before == Before::List
            && self.word_at < self.out.len()
            && self.clause != Clause::OnDuplicate;
        if next == b'(' && opens_list {
            // The word stays open, so that the bracket sees it.
            return Some(behind);
        }
        if !self.out.is_empty() && self.out.last() != Some(&b' ') {
            self.out.push(b' ');
        }
        self.word_at = self.out.len();
        Some(behind)
    }

    /// Where the keyword would begin that the word ends with: `values` of `t(a,b)values`. A name behind a dot is none.
    fn keyword_at(&self) -> usize {
        let word = &self.out[self.word_at..];
        let n = word
            .iter()
            .rev()
            .take_while(|byte| is(**byte, NAME))
            .take(KEYWORD_BYTES_MAX + 1)
            .count();
        let at = self.out.len() - n;
        if self.out[self.word_at..at].ends_with(b".") {
            return self.out.len();
        }
        at
    }

    /// A word has ended: what it means for the next one.
    fn end_word(&mut self) {
        if self.word_at == self.out.len() {
            return;
        }
        if self.clause == Clause::OrderBy && self.end_asc() {
            return;
        }
        let was = self.before;
        self.before = match &self.out[self.keyword_at()..] {
            b"in" | b"value" | b"values" => Before::List,
            b"order" => Before::Order,
            b"by" if was == Before::Order => {
                self.clause = Clause::OrderBy;
                Before::Other
            }
            b"key" => Before::Key,
            b"update" if was == Before::Key => {
                self.clause = Clause::OnDuplicate;
                Before::Other
            }
            b"is" | b"not" => Before::Is,
            b"call" => Before::Call,
            b"administrator" if self.word_at == 0 => Before::Administrator,
            _ => Before::Other,
        };
    }

    /// Takes ASC away, which says nothing; whether it was there.
    fn end_asc(&mut self) -> bool {
        let comma = self.out.last() == Some(&b',');
        let end = self.out.len() - usize::from(comma);
        if !self.out[self.word_at..end].ends_with(b"asc") {
            return false;
        }
        self.out.truncate(end);
        let at = self.keyword_at();
        let is_asc = self.out[at..] == *b"asc";
        if is_asc {
            self.out.truncate(at);
            while comma && self.out.last() == Some(&b' ') {
                self.out.pop();
            }
        }
        if comma {
            self.out.push(b',');
        }
        if is_asc {
            self.word_at = self.out.len();
        }
        is_asc
    }

    fn open(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        if self.before == Before::Call
            && self.word_at == b"call ".len()
            && self.out.starts_with(b"call ")
        {
            // The procedure's name is the kind.
            return None;
        }
        let is_list = matches!(&self.out[self.keyword_at()..], b"in" | b"value" | b"values");
        if !is_list || self.clause == Clause::OnDuplicate {
            self.out.push(b'(');
            self.depth += 1;
            return Some(at + 1);
        }
        self.before = Before::List;
        let inside = skip_blank(bytes, at + 1);
        let is_select = bytes[inside..]
            .get(..6)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"select"));
        if is_select && self.subqueries.len() < DEPTH_MAX {
            self.out.push(b'(');
            self.word_at = self.out.len();
            self.subqueries.push(Subquery {
                depth: self.depth,
                clause: self.clause,
            });
            self.depth = 0;
            self.clause = Clause::Any;
            self.before = Before::Nothing;
            return Some(inside);
        }
        let end = list_end(bytes, at, self.escapes);
        self.out.extend_from_slice(if bytes[at..end] == *b"()" {
            b"()"
        } else {
            b"(?+)"
        });
        self.word_at = self.out.len();
        self.clause = Clause::Any;
        Some(more_lists(bytes, end, self.escapes))
    }
}

impl Digester {
    fn close(&mut self, bytes: &[u8], at: usize) -> usize {
        if self.depth > 0 || self.subqueries.is_empty() {
            self.depth = self.depth.saturating_sub(1);
            self.out.push(b')');
            return at + 1;
        }
        self.end_word();
        while self.out.last() == Some(&b' ') {
            self.out.pop();
        }
        self.out.push(b')');
        self.word_at = self.out.len();
        if let Some(outer) = self.subqueries.pop() {
            self.depth = outer.depth;
            self.clause = outer.clause;
        }
        self.before = Before::List;
        more_lists(bytes, at + 1, self.escapes)
    }

    /// `administrator command: Quit` stays as it is.
    fn administrator(&mut self, bytes: &[u8]) {
        self.out.clear();
        self.out.extend_from_slice(bytes.trim_ascii());
        self.word_at = self.out.len();
    }
}
