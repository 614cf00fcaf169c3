//! A line as tokens: words, separators, and what is variable by its looks. (step 2)
//!
//! In: one line. Out: [`Token`]s that point into it, and a hash of its shape. One pass, no allocation in steady state.
//! Maskers are generic: numbers, hexadecimal ids, addresses, paths, URLs, dates, numbers with a unit, words that end in a
//! numbered part (`blk_17`). Nothing is known of any system.
//! Invariants: SC-1 equal lines have equal shapes. SC-2 tokens lie inside the line, in order, on character borders.
//! Limits: [`N_TOKENS_MAX`] tokens; the rest of a longer line is one wild token. Does not: decide about words (see `miner`).

use super::looks::{
    CLASS, DIGIT, LETTER, PATH, SPACE, UPPER, WORD, colon_groups, encoded, is, is_calendar_word,
    is_hexadecimal, is_level, is_number, is_unit, numbered,
};

/// Tokens of a line; a log line of 8 KiB of JSON has about as many.
pub(super) const N_TOKENS_MAX: usize = 400;

/// Tokens in quotes; a request line (`GET /x HTTP/1.1`) has five.
const QUOTED_TOKENS_MAX: usize = 6;
/// A longer word is data; no word of any language is as long.
const WORD_BYTES_MAX: usize = 256;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Kind {
    /// A separator: punctuation, or a run of dots.
    Separator,
    /// Variable by its looks.
    Wild,
    /// A word with digits, a dot or an `@` in it: likely a name.
    Mixed,
    /// A word of capitals only: likely a constant of the program.
    Capitals,
    /// A severity: lines of different ones are different, whatever else they share.
    Level,
    /// Any other word.
    Plain,
    /// Nothing between two brackets.
    Empty,
    /// Learned to be variable; only in templates.
    Slot,
}

impl Kind {
    /// Whether it stands for itself.
    pub(super) const fn is_word(self) -> bool {
        matches!(
            self,
            Self::Mixed | Self::Capitals | Self::Level | Self::Plain
        )
    }
}

/// A piece of a line. A wild token shows `line[start..start + n_head]`, the wildcard, then the last `n_tail` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// White space before it.
    pub(super) spaced: bool,
    /// First byte.
    pub(super) start: u32,
    /// Bytes.
    pub(super) len: u32,
    /// Bytes kept before the wildcard.
    pub(super) n_head: u16,
    /// Bytes kept after the wildcard.
    pub(super) n_tail: u16,
    /// Of its kind and what it shows.
    pub(super) hash: u64,
}

impl Token {
    /// The bytes it covers.
    pub(super) fn of<'a>(&self, line: &'a str) -> &'a str {
        line.get(self.start as usize..(self.start + self.len) as usize)
            .unwrap_or("")
    }
}

/// Splits lines; keeps the memory.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    tokens: Vec<Token>,
}

impl Scanner {
    /// The tokens of `line` and the hash of its shape.
    pub(super) fn scan(&mut self, line: &str) -> (&[Token], u64) {
        self.tokens.clear();
        let bytes = line.as_bytes();
        let mut at = 0;
        let mut spaced = false;
        while at < bytes.len() {
            if is(bytes[at], SPACE) {
                spaced = true;
                at += 1;
                continue;
            }
            let mut token = if self.tokens.len() + 1 >= N_TOKENS_MAX {
                wild(at, bytes.len() - at, 0, 0)
            } else if is(bytes[at], WORD) {
                word(bytes, at)
            } else {
                separator(bytes, at)
            };
            token.spaced = spaced;
            spaced = false;
            at += token.len as usize;
            if self
                .tokens
                .last()
                .is_some_and(|last| last.kind == Kind::Wild)
                && token.kind.is_word()
                && is_unit(word_of(bytes, &token))
            {
                token.kind = Kind::Mixed;
            }
            self.push(bytes, token);
        }
        self.dates(bytes);
        let mut hash = self.tokens.len() as u64;
        for token in &mut self.tokens {
            token.hash = token_hash(bytes, token);
            hash = mix(hash, token.hash ^ u64::from(token.spaced));
        }
        (&self.tokens, hash)
    }

    fn push(&mut self, bytes: &[u8], token: Token) {
        if let Some(last) = self.tokens.last().copied() {
            // `x ()` against `x (name)`: an empty value, where `f()` is a call.
            let closes = matches!(
                (bytes[last.start as usize], bytes[token.start as usize]),
                (b'(', b')') | (b'[', b']') | (b'{', b'}')
            );
            if closes && last.len == 1 && last.spaced && !token.spaced {
                let mut empty = token;
                (empty.kind, empty.len) = (Kind::Empty, 0);
                self.tokens.push(empty);
            }
        }
        self.tokens.push(token);
        self.fold_list(bytes);
        if bytes[token.start as usize] == b'"' && token.kind == Kind::Separator {
            self.fold_quoted(bytes);
        }
    }

    /// A long text in quotes that stands by itself is data, as the name of a client in an access log; behind `=` or `:` it may
    /// be the message.
    fn fold_quoted(&mut self, bytes: &[u8]) {
        let n = self.tokens.len();
        let is_quote = |t: &Token| t.kind == Kind::Separator && bytes[t.start as usize] == b'"';
        let inside = self.tokens[..n - 1]
            .iter()
            .rev()
            .take_while(|t| !is_quote(t));
        let n_inside = inside.count();
        let Some(open) = (n - 1).checked_sub(n_inside + 1) else {
            return;
        };
        // An even number of quotes before: this one closes.
        let n_before = self.tokens[..open].iter().filter(|t| is_quote(t)).count();
        if n_inside > QUOTED_TOKENS_MAX && n_before % 2 == 0 && self.tokens[open].spaced {
            let (start, end) = (self.tokens[open + 1].start, self.tokens[n - 1].start);
            let close = self.tokens[n - 1];
            self.tokens.truncate(open + 1);
            self.tokens
                .push(wild(start as usize, (end - start) as usize, 0, 0));
            self.tokens.push(Token {
                spaced: false,
                ..close
            });
        }
    }

    /// `7,8,9` and `7 8 9` are one value: lists of any length look alike.
    fn fold_list(&mut self, bytes: &[u8]) {
        loop {
            let n = self.tokens.len();
            let n_gone = match self.tokens[n.saturating_sub(3)..] {
                [.., a, b] if b.spaced && looks_alike(bytes, &a, &b) => 1,
                [a, comma, b]
                    if comma.kind == Kind::Separator
                        && bytes[comma.start as usize] == b','
                        && !b.spaced
                        && looks_alike(bytes, &a, &b) =>
                {
                    2
                }
                _ => return,
            };
            self.tokens.truncate(n - n_gone);
        }
    }

    /// Names of days and months beside a number are a part of a date.
    fn dates(&mut self, bytes: &[u8]) {
        let mut found = false;
        for at in 0..self.tokens.len() {
            let token = self.tokens[at];
            if token.kind != Kind::Plain || !is_calendar_word(word_of(bytes, &token)) {
                continue;
            }
            let beside = |other: Option<&Token>| {
                other.is_some_and(|o| {
                    o.kind == Kind::Wild
                        || o.kind == Kind::Plain && is_calendar_word(word_of(bytes, o))
                })
            };
            // `20 Nov`, `20/Nov/2026`.
            let is_slash = |i: usize| {
                let token = self.tokens.get(i);
                token.is_some_and(|t| bytes.get(t.start as usize) == Some(&b'/'))
            };
            let step = 1 + usize::from(is_slash(at + 1));
            let before = at.checked_sub(step).and_then(|i| self.tokens.get(i));
            if beside(before) || beside(self.tokens.get(at + step)) {
                self.tokens[at] = Token {
                    spaced: token.spaced,
                    ..wild(token.start as usize, token.len as usize, 0, 0)
                };
                found = true;
            }
        }
        if found {
            let all = std::mem::take(&mut self.tokens);
            for token in &all {
                self.tokens.push(*token);
                self.fold_list(bytes);
            }
        }
    }
}

fn word_of<'a>(bytes: &'a [u8], token: &Token) -> &'a [u8] {
    &bytes[token.start as usize..(token.start + token.len) as usize]
}

/// Both wild, and the same to look at.
fn looks_alike(bytes: &[u8], a: &Token, b: &Token) -> bool {
    let show = |t: &Token| {
        let word = word_of(bytes, t);
        let n_head = usize::from(t.n_head);
        (n_head, t.n_tail, &word[..n_head])
    };
    a.kind == Kind::Wild && b.kind == Kind::Wild && {
        let tail = |t: &Token| &word_of(bytes, t)[t.len as usize - usize::from(t.n_tail)..];
        show(a) == show(b) && tail(a) == tail(b)
    }
}

fn plain(kind: Kind, start: usize, len: usize) -> Token {
    Token {
        kind,
        spaced: false,
        start: start as u32,
        len: len as u32,
        n_head: 0,
        n_tail: 0,
        hash: 0,
    }
}

fn wild(start: usize, len: usize, n_head: usize, n_tail: usize) -> Token {
    Token {
        n_head: n_head as u16,
        n_tail: n_tail as u16,
        ..plain(Kind::Wild, start, len)
    }
}

/// A token that begins with a byte that is no word's: punctuation, or a path.
fn separator(bytes: &[u8], at: usize) -> Token {
    if bytes[at] == b'/'
        && (at == 0 || !is(bytes[at - 1], WORD) && !matches!(bytes[at - 1], b'>' | b':'))
    {
        let n = run(&bytes[at..], PATH);
        let path = trimmed(&bytes[at..at + n]);
        let n_slashes = memchr::memchr_iter(b'/', path).count();
        // `/a` too, but not `/10.0.0.7`.
        let is_name = path.get(1).is_some_and(|&b| is(b, LETTER));
        if n_slashes >= 2 || is_name {
            return wild(at, path.len(), 1, 0);
        }
    }
    plain(Kind::Separator, at, 1)
}

/// Without the punctuation that ends a sentence.
fn trimmed(path: &[u8]) -> &[u8] {
    let n_end = path
        .iter()
        .rev()
        .take_while(|b| matches!(b, b'.' | b':' | b'?' | b'='))
        .count();
    &path[..path.len() - n_end]
}

fn run(bytes: &[u8], class: u8) -> usize {
    bytes
        .iter()
        .position(|&b| !is(b, class))
        .unwrap_or(bytes.len())
}

/// A token that begins with a byte of a word.
fn word(bytes: &[u8], at: usize) -> Token {
    let rest = &bytes[at..];
    let n_dots = rest.iter().take_while(|&&b| b == b'.').count();
    if n_dots >= 3 {
        return plain(Kind::Separator, at, n_dots);
    }
    if let Some(n) = colon_groups(rest) {
        return wild(at, n, 0, 0);
    }
    let mut seen = 0;
    let mut n = 0;
    while n < rest.len() && is(rest[n], WORD) {
        if rest[n] == b'.' && rest[n..].starts_with(b"...") {
            break;
        }
        seen |= CLASS[rest[n] as usize];
        n += 1;
    }
    let word = &rest[..n];
    let is_path = memchr::memchr_iter(b'\\', word).count() >= 2;
    if n > WORD_BYTES_MAX || is_path {
        return wild(at, n, 0, 0);
    }
    if let Some(n) = encoded(rest) {
        return wild(at, n, 0, 0);
    }
    if rest[n..].starts_with(b"://") {
        let n_url = rest
            .iter()
            .position(|&b| is(b, SPACE) || matches!(b, b'"' | b'\'' | b')' | b']' | b'>' | b','))
            .unwrap_or(rest.len());
        return wild(at, trimmed(&rest[..n_url]).len(), n + 3, 0);
    }
    classify(word, seen, at)
}

/// What a word is by its looks; `seen` are the classes of its bytes.
fn classify(word: &[u8], seen: u8, at: usize) -> Token {
    let n = word.len();
    let n_end = word
        .iter()
        .rev()
        .take_while(|b| matches!(b, b'.' | b'-'))
        .count();
    if n_end == n {
        return plain(Kind::Plain, at, n);
    }
    let n_begin = word
        .iter()
        .take_while(|b| matches!(b, b'.' | b'-' | b'+'))
        .count();
    let core = &word[n_begin.min(n - n_end)..n - n_end];
    if is_hexadecimal(core) {
        return wild(at, n, 0, n_end);
    }
    if seen & DIGIT == 0 {
        let kind = if core.contains(&b'.')
            && core
                .iter()
                .all(|&b| is(b, LETTER) || matches!(b, b'.' | b'-' | b'_'))
            || core.contains(&b'@')
        {
            Kind::Mixed
        } else if is_level(core) {
            Kind::Level
        } else if core.len() >= 2 && core.iter().all(|&b| is(b, UPPER) || b == b'_') {
            Kind::Capitals
        } else {
            Kind::Plain
        };
        return plain(kind, at, n);
    }
    if is_number(core) {
        return wild(at, n, 0, n_end);
    }
    let n_number = core
        .iter()
        .take_while(|&&b| is(b, DIGIT) || b == b'.')
        .count();
    let unit = &core[n_number..];
    if n_number > 0 && unit.len() <= 3 && unit.iter().all(|&b| is(b, LETTER)) {
        return wild(at, n, 0, unit.len() + n_end);
    }
    match numbered(core) {
        Some(n_head) => wild(at, n, n_begin + n_head, n_end),
        None => plain(Kind::Mixed, at, n),
    }
}

/// Of what a token shows. The wildcard and the kinds of words are part of it, so that a slot never equals a word.
fn token_hash(bytes: &[u8], token: &Token) -> u64 {
    let word = word_of(bytes, token);
    match token.kind {
        Kind::Wild => {
            let head = &word[..usize::from(token.n_head)];
            let tail = &word[word.len() - usize::from(token.n_tail)..];
            hash_bytes(hash_bytes(3, head), tail)
        }
        Kind::Separator => hash_bytes(1, word),
        Kind::Empty | Kind::Slot => 5,
        Kind::Mixed | Kind::Capitals | Kind::Level | Kind::Plain => hash_bytes(2, word),
    }
}

/// Eight bytes a step; not keyed: who writes the log could make two shapes equal, and gains a wrong template.
pub(super) fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        hash = mix(hash, u64::from_le_bytes(*chunk));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash, u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56)
}

/// Multiply and fold (the step of wyhash, W. Yi 2019).
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    (product as u64) ^ (product >> 64) as u64
}
