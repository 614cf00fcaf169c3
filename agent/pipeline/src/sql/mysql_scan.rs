//! Where numbers, quotes, comments and lists of MySQL's SQL end. (step 2)
//!
//! Invariant: MS-1 whatever is never closed runs to the end, so that no part of a value becomes a word.

pub(super) const SPACE: u8 = 1;
/// Letters, digits, `_`, `$`, `@` and whatever is not ASCII: a digit behind one of them is part of a name.
pub(super) const NAME: u8 = 2;
pub(super) const DIGIT: u8 = 4;
/// What goes on a number: digits, hexadecimal, `0x`, `0b`, `1e5`, `1.5`.
pub(super) const NUMBER: u8 = 8;
/// Copied as it stands, without another look.
pub(super) const PLAIN: u8 = 16;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | 11 | 12 => SPACE,
            b'0'..=b'9' => NAME | DIGIT | NUMBER,
            b'a'..=b'f' | b'A'..=b'F' | b'x' => NAME | NUMBER | PLAIN,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' | b'$' | b'@' | 128.. => NAME | PLAIN,
            b'.' => NUMBER,
            b',' | b'=' | b'<' | b'>' | b'!' | b';' | b'%' | b'&' | b'|' | b'^' | b'~' | b'?' => {
                PLAIN
            }
            _ => 0,
        };
        byte += 1;
    }
    class
};

pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// Nothing but words behind the colon.
pub(super) fn is_command(bytes: &[u8]) -> bool {
    let rest = bytes.get(1..).unwrap_or_default();
    rest.iter()
        .all(|byte| byte.is_ascii_alphabetic() || is(*byte, SPACE) || matches!(byte, b';' | b'_'))
}

/// What is no value behind IS, and one elsewhere.
pub(super) const NULL: &[u8] = b"null";

/// Whether NULL begins here, as far as what follows tells.
pub(super) fn is_null(bytes: &[u8], at: usize) -> bool {
    bytes[at] | 0x20 == b'n'
        && bytes
            .get(at..at + NULL.len())
            .is_some_and(|word| word.eq_ignore_ascii_case(NULL))
        && !bytes
            .get(at + NULL.len())
            .is_some_and(|byte| is(*byte, NAME))
}

/// Behind the number that begins at `at`; where it is a name, what was looked at up to there.
pub(super) fn number_end(bytes: &[u8], at: usize) -> Result<usize, usize> {
    let run = |from: usize| {
        let n = bytes[from..]
            .iter()
            .take_while(|byte| is(**byte, NUMBER))
            .count();
        let end = from + n;
        let is_name = bytes.get(end).is_some_and(|byte| is(*byte, NAME));
        if is_name { Err(end) } else { Ok(end) }
    };
    let mut end = run(at)?;
    loop {
        let is_digit = bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        let goes_on = match bytes.get(end) {
            Some(b'-') => is_digit,
            Some(b'+') => is_digit && matches!(bytes[end - 1], b'e' | b'E'),
            _ => false,
        };
        match goes_on.then(|| run(end + 1)) {
            Some(Ok(further)) => end = further,
            _ => return Ok(end),
        }
    }
}

/// Behind the quote that closes; a doubled one does not, nor one behind a backslash that `escapes`. None where none closes.
pub(super) fn quote_end(bytes: &[u8], at: usize, escapes: bool) -> Option<usize> {
    let quote = bytes[at];
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes && quote != b'`' => at += 2,
            byte if byte != quote => at += 1,
            _ if bytes.get(at + 1) == Some(&quote) => at += 2,
            _ => return Some(at + 1),
        }
    }
    None
}

/// Behind the quote that closes, or the end.
pub(super) fn skip_quoted(bytes: &[u8], at: usize, escapes: bool) -> usize {
    quote_end(bytes, at, escapes).unwrap_or(bytes.len())
}

/// Behind blanks and comments; code in `/*! … */` is no comment.
pub(super) fn skip_blank(bytes: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        at = match byte {
            _ if is(*byte, SPACE) => at + 1,
            b'/' if next == Some(b'*') && bytes.get(at + 2) != Some(&b'!') => {
                skip_to(bytes, at + 2, b"*/")
            }
            b'#' => skip_to(bytes, at, b"\n"),
            b'-' if next == Some(b'-') && bytes.get(at + 2).is_none_or(|byte| is(*byte, SPACE)) => {
                skip_to(bytes, at, b"\n")
            }
            _ => return at,
        };
    }
    bytes.len()
}

/// Behind the next `end`.
pub(super) fn skip_to(bytes: &[u8], at: usize, end: &[u8]) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let found = rest.windows(end.len()).position(|window| window == end);
    found.map_or(bytes.len(), |n| at + n + end.len())
}

/// Behind the bracket that closes the one at `at`.
pub(super) fn list_end(bytes: &[u8], at: usize, escapes: bool) -> usize {
    let mut depth = 0_usize;
    let mut at = at;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' | b'"' | b'`' => {
                at = skip_quoted(bytes, at, escapes);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = skip_to(bytes, at + 2, b"*/");
                continue;
            }
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Behind the lists that follow, divided by commas.
pub(super) fn more_lists(bytes: &[u8], end: usize, escapes: bool) -> usize {
    let mut end = end.min(bytes.len());
    loop {
        let comma = skip_blank(bytes, end);
        if bytes.get(comma) != Some(&b',') {
            return end;
        }
        let bracket = skip_blank(bytes, comma + 1);
        if bytes.get(bracket) != Some(&b'(') {
            return end;
        }
        end = list_end(bytes, bracket, escapes);
    }
}

/// Bytes of the first statement, without its semicolon.
pub(super) fn statement_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        let next = bytes.get(at + 1).copied();
        at = match bytes[at] {
            b';' => return at,
            b'\'' | b'"' | b'`' => skip_quoted(bytes, at, true),
            b'/' if next == Some(b'*') => skip_to(bytes, at + 2, b"*/"),
            b'#' => skip_to(bytes, at, b"\n"),
            b'-' if next == Some(b'-') && bytes.get(at + 2).is_none_or(|byte| is(*byte, SPACE)) => {
                skip_to(bytes, at, b"\n")
            }
            _ => at + 1,
        };
    }
    bytes.len()
}
