//! What is variable by its looks: numbers, ids, addresses, dates, units, severities. (step 2)
//!
//! Generic for every system; each test is of one word's bytes. Does not: know a word's neighbours (see `scan`).

/// Byte belongs to a word.
pub(super) const WORD: u8 = 1;
/// Decimal digit.
pub(super) const DIGIT: u8 = 2;
/// Hexadecimal digit.
pub(super) const HEX: u8 = 4;
/// ASCII letter, or any byte of a character beyond ASCII.
pub(super) const LETTER: u8 = 8;
/// White space.
pub(super) const SPACE: u8 = 16;
/// May stand inside a path.
pub(super) const PATH: u8 = 32;
/// Upper case ASCII letter.
pub(super) const UPPER: u8 = 64;

pub(super) const CLASS: [u8; 256] = {
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

pub(super) const fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// Words that programs name severities by.
pub(super) fn is_level(word: &[u8]) -> bool {
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
pub(super) fn is_unit(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 21] = [
        b"b", b"kb", b"mb", b"gb", b"tb", b"kib", b"mib", b"gib", b"tib", b"byte", b"bytes", b"ns",
        b"us", b"ms", b"s", b"sec", b"secs", b"second", b"seconds", b"minutes", b"hours",
    ];
    word.len() <= 7 && WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

pub(super) fn is_calendar_word(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 19] = [
        b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun", b"jan", b"feb", b"mar", b"apr",
        b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
    ];
    word.len() == 3
        && is(word[0], UPPER)
        && WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Length of data in base64: long, and of letters of both cases and digits all through.
pub(super) fn encoded(rest: &[u8]) -> Option<usize> {
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

/// Digits, with the signs of numbers, versions, dates and times between them.
pub(super) fn is_number(core: &[u8]) -> bool {
    let first = core.first().is_some_and(|&b| is(b, DIGIT));
    first
        && core.iter().all(|&b| {
            is(b, DIGIT) || matches!(b, b'.' | b'-' | b'+' | b'%' | b'T' | b'Z' | b'e' | b'E')
        })
}

/// `0x…`, eight or more hexadecimal digits, a UUID.
pub(super) fn is_hexadecimal(core: &[u8]) -> bool {
    if let [b'0', b'x' | b'X', digits @ ..] = core {
        return !digits.is_empty() && digits.iter().all(|&b| is(b, HEX));
    }
    core.len() >= 8 && core.iter().all(|&b| is(b, HEX) || b == b'-') && is(core[0], HEX)
}

/// Length of `name_` in `name_17…`: letters, then a sign, then a digit. No host name (two dots or more).
pub(super) fn numbered(core: &[u8]) -> Option<usize> {
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
pub(super) fn colon_groups(rest: &[u8]) -> Option<usize> {
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
