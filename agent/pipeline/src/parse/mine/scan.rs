//! A line as tokens: words, separators, and what is variable by its looks. (step 2)
//!
//! In: one line. Out: [`Token`]s that point into it, and a hash of its shape. One pass, no allocation in steady state.
//! Maskers are generic: numbers, hexadecimal ids, addresses, paths, URLs, dates, numbers with a unit, words that end in a
//! numbered part (`blk_17`). Nothing is known of any system.
//! Invariants: SC-1 equal lines have equal shapes. SC-2 tokens lie inside the line, in order, on character borders.
//! Limits: [`N_TOKENS_MAX`] tokens; the rest of a longer line is one wild token. Does not: decide about words (see `miner`).

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

/// Byte belongs to a word.
const WORD: u8 = 1;
/// Decimal digit.
const DIGIT: u8 = 2;
/// Hexadecimal digit.
const HEX: u8 = 4;
/// ASCII letter, or any byte of a character beyond ASCII.
const LETTER: u8 = 8;
/// White space.
const SPACE: u8 = 16;
/// May stand inside a path.
const PATH: u8 = 32;
/// Upper case ASCII letter.
const UPPER: u8 = 64;

const CLASS: [u8; 256] = {
    let mut table = [0_u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        if b.is_ascii_digit() {
            class |= WORD | DIGIT | HEX | PATH;
        }
        if b.is_ascii_alphabetic() || b >= 0x80 {
            class |= WORD | LETTER | PATH;
        }
        if b.is_ascii_uppercase() {
            class |= UPPER;
        }
        if b.is_ascii_hexdigit() {
            class |= HEX;
        }
        if matches!(
            b,
            b'_' | b'-' | b'.' | b'@' | b'%' | b'$' | b'*' | b'+' | b'~' | b'\\' | b'#'
        ) {
            class |= WORD | PATH;
        }
        if matches!(b, b'/' | b'?' | b'&' | b'=' | b':') {
            class |= PATH;
        }
        if b.is_ascii_whitespace() || b == 0x0b {
            class |= SPACE;
        }
        table[byte] = class;
        byte += 1;
    }
    table
};

const fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
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

/// Words that programs name severities by.
fn is_level(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 17] = [
        b"trace",
        b"debug",
        b"info",
        b"notice",
        b"note",
        b"warn",
        b"warning",
        b"err",
        b"error",
        b"severe",
        b"crit",
        b"critical",
        b"fatal",
        b"panic",
        b"alert",
        b"emerg",
        b"emergency",
    ];
    (3..=9).contains(&word.len()) && WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Units of sizes and durations: behind a number they vary with it, `812 B` as `1.2 MB`.
fn is_unit(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 21] = [
        b"b", b"kb", b"mb", b"gb", b"tb", b"kib", b"mib", b"gib", b"tib", b"byte", b"bytes", b"ns",
        b"us", b"ms", b"s", b"sec", b"secs", b"second", b"seconds", b"minutes", b"hours",
    ];
    word.len() <= 7 && WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn is_calendar_word(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 19] = [
        b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun", b"jan", b"feb", b"mar", b"apr",
        b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
    ];
    word.len() == 3
        && is(word[0], UPPER)
        && WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
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

/// Length of data in base64: long, and of letters of both cases and digits all through.
fn encoded(rest: &[u8]) -> Option<usize> {
    let n = rest
        .iter()
        .position(|&b| !b.is_ascii_alphanumeric() && !matches!(b, b'+' | b'/' | b'=' | b'-' | b'_'))
        .unwrap_or(rest.len());
    let data = &rest[..n];
    let count = |of: fn(&u8) -> bool| data.iter().filter(|b| of(b)).count();
    let is_mixed = n >= 20
        && count(u8::is_ascii_digit) >= 3
        && count(u8::is_ascii_uppercase) >= 3
        && count(u8::is_ascii_lowercase) >= 3
        && count(|b| matches!(b, b'-' | b'_')) <= 2;
    is_mixed.then_some(n)
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

/// Digits, with the signs of numbers, versions, dates and times between them.
fn is_number(core: &[u8]) -> bool {
    let first = core.first().is_some_and(|&b| is(b, DIGIT));
    first
        && core.iter().all(|&b| {
            is(b, DIGIT) || matches!(b, b'.' | b'-' | b'+' | b'%' | b'T' | b'Z' | b'e' | b'E')
        })
}

/// `0x…`, eight or more hexadecimal digits, a UUID.
fn is_hexadecimal(core: &[u8]) -> bool {
    if let [b'0', b'x' | b'X', digits @ ..] = core {
        return !digits.is_empty() && digits.iter().all(|&b| is(b, HEX));
    }
    core.len() >= 8 && core.iter().all(|&b| is(b, HEX) || b == b'-') && is(core[0], HEX)
}

/// Length of `name_` in `name_17…`: letters, then a sign, then a digit. No host name (two dots or more).
fn numbered(core: &[u8]) -> Option<usize> {
    let sign = |b: u8| matches!(b, b'_' | b'-' | b'#' | b'.');
    if !is(*core.first()?, LETTER) || memchr::memchr_iter(b'.', core).count() >= 2 {
        return None;
    }
    let n_head = core.iter().position(|&b| !is(b, LETTER) && !sign(b))?;
    let n_signs = core[..n_head]
        .iter()
        .rev()
        .take_while(|&&b| sign(b))
        .count();
    // `blk_-17`: the minus belongs to the number.
    let n_signs_kept = n_signs.min(1);
    (is(core[n_head], DIGIT) && n_signs > 0).then_some(n_head - n_signs + n_signs_kept)
}

/// Length of hexadecimal groups joined by colons: MAC and IPv6 addresses; no time of day.
fn colon_groups(rest: &[u8]) -> Option<usize> {
    let n = rest
        .iter()
        .position(|&b| !is(b, HEX) && b != b':')
        .unwrap_or(rest.len());
    let text = &rest[..n];
    let n_colons = memchr::memchr_iter(b':', text).count();
    if n_colons < 3 || rest.get(n).is_some_and(|&b| is(b, WORD)) {
        return None;
    }
    let text = text.strip_suffix(b":").unwrap_or(text);
    let groups = text.split(|&b| b == b':');
    groups.clone().all(|g| g.len() <= 4).then_some(text.len())
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
