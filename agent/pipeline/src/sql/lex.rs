//! PostgreSQL's lexical rules: SQL text into tokens. (step 2)
//!
//! In: a statement. Out: tokens as ranges of it, without whitespace and comments.
//! Invariants: LX-1 tokens ascend and never overlap. LX-2 any text ends; what is never closed runs to the end, so that no
//! part of a literal becomes a word. LX-3 time O(n). Follows the server's scanner with `standard_conforming_strings` on.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Keyword or identifier without quotes.
    Word,
    /// Identifier in quotes, `U&"…"` too.
    Quoted,
    /// `1`, `1.5e3`, `0xff`, `1_000`.
    Number,
    /// Any string constant: `'…'`, `E'…'`, `B'…'`, `X'…'`, `U&'…'`, `$tag$…$tag$`.
    Text,
    /// `$1`.
    Param,
    /// An operator.
    Op,
    /// `::`
    Cast,
    /// `( ) [ ] , ; . :` and anything else, one character.
    Mark(u8),
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Where reading stands; a copy looks ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Longer operators are no names to PostgreSQL (NAMEDATALEN); it refuses them.
const OPERATOR_BYTES_MAX: usize = 63;

const SPACE: u8 = 1;
const WORD_START: u8 = 2;
const WORD: u8 = 4;
const DIGIT: u8 = 8;
const OPERATOR: u8 = 16;
/// Operators that hold one of these may end in `+` or `-`.
const STRONG: u8 = 32;

/// What each byte can be.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            // Control characters are no part of any token.
            0..=32 | 127 => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 128.. => WORD_START | WORD,
            b'0'..=b'9' => DIGIT | WORD,
            b'$' => WORD,
            b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' => OPERATOR,
            b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?' => {
                OPERATOR | STRONG
            }
            _ => 0,
        };
        byte += 1;
    }
    class
};

fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

impl<'a> Lexer<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        Self {
            bytes: sql.as_bytes(),
            at: 0,
        }
    }

    /// The byte `ahead` of the place where reading stands; 0 past the end.
    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next token without taking it.
    pub(super) fn peek(&self) -> Option<Token> {
        let mut ahead = *self;
        ahead.next()
    }

    /// The tokens up to the next semicolon, without taking them.
    pub(super) fn clone_statement(&self) -> impl Iterator<Item = Token> + use<'a> {
        (*self).take_while(|token| token.kind != Kind::Mark(b';'))
    }

    /// Whether the next token is this mark.
    pub(super) fn is_next(&self, mark: u8) -> bool {
        self.peek()
            .is_some_and(|token| token.kind == Kind::Mark(mark))
    }

    #[inline]
    fn skip_blank(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            if is(byte, SPACE) {
                self.at += 1;
            } else if byte == b'-' && self.byte(1) == b'-' {
                self.skip_line();
            } else if byte == b'/' && self.byte(1) == b'*' {
                self.skip_comment();
            } else {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && !matches!(self.bytes[self.at], b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// Comments nest.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.byte(0), self.byte(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
        self.at = self.bytes.len();
    }

    /// Behind the closing quote; a doubled quote is part of it, and where `escapes` so is a backslash with what follows.
    fn skip_quoted(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let n = rest
                .iter()
                .position(|byte| *byte == quote || *byte == b'\\');
            let Some(n) = n else {
                break;
            };
            self.at += n;
            let byte = self.bytes[self.at];
            if byte == b'\\' && escapes {
                self.at += 2;
            } else if byte != quote {
                self.at += 1;
            } else if self.byte(1) == quote {
                self.at += 2;
            } else {
                self.at += 1;
                return;
            }
        }
        self.at = self.bytes.len();
    }

    /// A string, and those that follow it on later lines: they are one constant.
    fn text(&mut self, start: usize, escapes: bool) -> Token {
        self.skip_quoted(b'\'', escapes);
        loop {
            let mut ahead = *self;
            ahead.skip_blank();
            let between = &self.bytes[self.at..ahead.at];
            if ahead.byte(0) != b'\'' || !between.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
                break;
            }
            *self = ahead;
            self.skip_quoted(b'\'', escapes);
        }
        self.token(Kind::Text, start)
    }

    fn token(&self, kind: Kind, start: usize) -> Token {
        Token {
            kind,
            start,
            end: self.at,
        }
    }

    fn word(&mut self) -> Token {
        let start = self.at;
        // Most words begin with no prefix of a constant.
        let first = if matches!(self.byte(1), b'\'' | b'&') {
            self.bytes[start] | 0x20
        } else {
            0
        };
        match (first, self.byte(1), self.byte(2)) {
            (letter @ (b'e' | b'b' | b'x'), b'\'', _) => {
                self.at += 1;
                return self.text(start, letter == b'e');
            }
            (b'u', b'&', b'\'') => {
                self.at += 2;
                return self.text(start, false);
            }
            (b'u', b'&', b'"') => {
                self.at += 2;
                self.skip_quoted(b'"', false);
                return self.token(Kind::Quoted, start);
            }
            _ => {}
        }
        let rest = &self.bytes[start..];
        let n = rest.iter().position(|byte| !is(*byte, WORD));
        self.at = start + n.unwrap_or(rest.len());
        self.token(Kind::Word, start)
    }

    fn number(&mut self) -> Token {
        let start = self.at;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                // `1..10` is a range.
                b'.' if self.byte(1) == b'.' => break,
                b'+' | b'-'
                    if self.at > start && matches!(self.bytes[self.at - 1], b'e' | b'E') =>
                {
                    let is_hex = matches!(self.bytes.get(start + 1), Some(b'x' | b'X'));
                    if is_hex || !self.byte(1).is_ascii_digit() {
                        break;
                    }
                }
                b'.' => {}
                byte if is(byte, WORD) => {}
                _ => break,
            }
            self.at += 1;
        }
        self.token(Kind::Number, start)
    }

    /// `$1`, `$tag$…$tag$`, or a lone dollar.
    fn dollar(&mut self) -> Token {
        let start = self.at;
        let rest = &self.bytes[start + 1..];
        let n_digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if n_digits > 0 {
            self.at += 1 + n_digits;
            return self.token(Kind::Param, start);
        }
        let is_tag = |byte: &u8| is(*byte, WORD) && *byte != b'$';
        let n_tag = rest.iter().take_while(|byte| is_tag(byte)).count();
        if rest.get(n_tag) != Some(&b'$') {
            self.at += 1;
            return self.token(Kind::Mark(b'$'), start);
        }
        let tag = &self.bytes[start..start + n_tag + 2];
        self.at += tag.len();
        while self.at < self.bytes.len() {
            if self.bytes[self.at] == b'$' && self.bytes[self.at..].starts_with(tag) {
                self.at += tag.len();
                return self.token(Kind::Text, start);
            }
            self.at += 1;
        }
        self.token(Kind::Text, start)
    }

    /// The longest run of operator characters before a comment, at most [`OPERATOR_BYTES_MAX`]; only a strong one keeps a
    /// sign at its end. Signs that are given back are read again, so without the limit `+++…` would take n² steps.
    fn operator(&mut self) -> Token {
        let start = self.at;
        let end = self.bytes.len().min(start + OPERATOR_BYTES_MAX);
        let mut is_strong = false;
        while self.at < end && is(self.bytes[self.at], OPERATOR) {
            if matches!((self.byte(0), self.byte(1)), (b'-', b'-') | (b'/', b'*')) {
                break;
            }
            is_strong |= is(self.bytes[self.at], STRONG);
            self.at += 1;
        }
        while !is_strong && self.at > start + 1 && matches!(self.bytes[self.at - 1], b'+' | b'-') {
            self.at -= 1;
        }
        self.token(Kind::Op, start)
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let byte = *self.bytes.get(self.at)?;
        let start = self.at;
        Some(match byte {
            _ if is(byte, WORD_START) => self.word(),
            _ if is(byte, DIGIT) => self.number(),
            b'.' if self.byte(1).is_ascii_digit() => self.number(),
            b'.' if self.byte(1) == b'.' => {
                self.at += 2;
                self.token(Kind::Mark(b'.'), start)
            }
            b'\'' => self.text(start, false),
            b'"' => {
                self.skip_quoted(b'"', false);
                self.token(Kind::Quoted, start)
            }
            b'$' => self.dollar(),
            b':' if self.byte(1) == b':' => {
                self.at += 2;
                self.token(Kind::Cast, start)
            }
            _ if is(byte, OPERATOR) => self.operator(),
            _ => {
                self.at += 1;
                self.token(Kind::Mark(byte), start)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<(Kind, &str)> {
        Lexer::new(sql)
            .map(|t| (t.kind, &sql[t.start..t.end]))
            .collect()
    }

    #[test]
    fn every_kind_of_constant_is_one_token() {
        for text in [
            "'it''s'",
            r"E'a\'b'",
            "B'01'",
            "x'1F'",
            "U&'d\\0061t'",
            "$$a'b$$",
            "$t$ $$ $t$",
            "'a'\n  'b'",
            "'never closed",
            "$x$never closed",
            r"e'never\",
        ] {
            assert_eq!(kinds(text), [(Kind::Text, text)], "{text}");
        }
        for text in ["1", "1.5e-3", ".5", "1.", "0xFF", "1_000", "1e+9", "12abc"] {
            assert_eq!(kinds(text), [(Kind::Number, text)], "{text}");
        }
        assert_eq!(kinds("'a' 'b'").len(), 2);
        assert_eq!(kinds("$12"), [(Kind::Param, "$12")]);
        assert_eq!(kinds("u&\"a\"")[0].0, Kind::Quoted);
    }

    #[test]
    fn operators_comments_and_words_are_told_apart() {
        let texts = |sql| kinds(sql).iter().map(|(_, text)| *text).collect::<Vec<_>>();
        assert_eq!(texts("a=-1"), ["a", "=", "-", "1"]);
        assert_eq!(texts("a@-1"), ["a", "@-", "1"]);
        assert_eq!(texts("a --c\n+/*x/*y*/z*/b"), ["a", "+", "b"]);
        assert_eq!(texts("a*/**/b"), ["a", "*", "b"]);
        assert_eq!(
            texts("x::int[1..2]"),
            ["x", "::", "int", "[", "1", "..", "2", "]"]
        );
        assert_eq!(texts("a/*open"), ["a"]);
        assert_eq!(texts("foo$1 \u{e4}"), ["foo$1", "\u{e4}"]);
    }
}
