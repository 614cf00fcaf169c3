//! `log_line_prefix` of PostgreSQL, compiled into a matcher. (step 2)
//!
//! In: the setting and a line. Out: the fields, the severity word and where the message begins.
//! Free text (user, application) may hold anything, so the matcher goes back and tries again, within a budget of steps.
//! Source: PostgreSQL manual, "Error Reporting and Logging", log_line_prefix; escapes of versions 10 to 18.

use super::words;

/// Steps of one match; a sane prefix needs a few per field.
const STEPS_MAX: u32 = 4_000;
/// Fields kept at most; the longest sensible prefix has a dozen.
const TOKENS_MAX: usize = 64;

/// What an escape stands for, as far as we use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Application,
    User,
    Database,
    /// `host(port)`.
    Remote,
    Host,
    Backend,
    Pid,
    Time,
    EpochMs,
    Code,
    /// Matched and forgotten.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Anything, as short as possible.
    Free,
    /// Anything without a blank.
    Word,
    /// Bytes that an ASCII class allows, as long as possible.
    Digits,
    Hex,
    /// Five digits and capitals.
    Code,
    /// Date, time and zone.
    Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    Field {
        field: Field,
        shape: Shape,
        padded: bool,
    },
    /// `%q`: what has no session ends here.
    Stop,
}

/// A compiled prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePrefix {
    tokens: Vec<Token>,
}

/// Where a line's parts lie, as byte places: reused from line to line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Matched {
    /// Field, from, to.
    pub(crate) fields: Vec<(Field, usize, usize)>,
    word: (usize, usize),
    /// Where the message begins.
    behind: usize,
}

impl Matched {
    /// `ERROR`, `DETAIL`, or its translation.
    pub(crate) fn word<'a>(&self, line: &'a str) -> &'a str {
        line.get(self.word.0..self.word.1).unwrap_or("")
    }

    /// What follows the word.
    pub(crate) fn message<'a>(&self, line: &'a str) -> &'a str {
        line.get(self.behind..).unwrap_or("").trim_start()
    }
}

impl LinePrefix {
    /// Compiles a setting; every text is a valid prefix, an unknown escape is skipped as the server does.
    #[must_use]
    pub fn compile(setting: &str) -> Self {
        let mut tokens: Vec<Token> = Vec::new();
        let mut bytes = setting.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let mut literal = |byte: u8| match tokens.last_mut() {
                Some(Token::Literal(text)) => text.push(byte),
                _ => tokens.push(Token::Literal(vec![byte])),
            };
            if byte != b'%' {
                literal(byte);
                continue;
            }
            if bytes.peek() == Some(&b'%') {
                bytes.next();
                literal(b'%');
                continue;
            }
            let mut padded = false;
            while let Some(_digit) = bytes.next_if(|b| b.is_ascii_digit() || *b == b'-') {
                padded = true;
            }
            let Some(escape) = bytes.next() else {
                break;
            };
            if escape == b'q' {
                tokens.push(Token::Stop);
            } else if let Some((field, shape)) = meaning(escape) {
                tokens.push(Token::Field {
                    field,
                    shape,
                    padded,
                });
            }
        }
        tokens.truncate(TOKENS_MAX);
        Self { tokens }
    }

    /// Matches the prefix and the severity word of a line.
    pub(crate) fn matches(&self, line: &str, into: &mut Matched) -> bool {
        into.fields.clear();
        let mut spans = [(0, 0); TOKENS_MAX];
        let mut steps = STEPS_MAX;
        let Some((end, n_tokens)) = self.go(0, 0, line.as_bytes(), &mut spans, &mut steps) else {
            return false;
        };
        for (token, &(from, to)) in self.tokens.iter().zip(&spans).take(n_tokens) {
            if let Token::Field { field, .. } = token
                && *field != Field::Other
            {
                into.fields.push((*field, from, to));
            }
        }
        let Some((n, behind)) = severity_word(&line.as_bytes()[end..]) else {
            return false;
        };
        into.word = (end, end + n);
        into.behind = end + behind;
        true
    }

    /// Matches from token `at` and byte `from`; the end of the prefix and the number of tokens that took part.
    fn go(
        &self,
        at: usize,
        from: usize,
        line: &[u8],
        spans: &mut [(usize, usize); TOKENS_MAX],
        steps: &mut u32,
    ) -> Option<(usize, usize)> {
        *steps = steps.checked_sub(1)?;
        let Some(token) = self.tokens.get(at) else {
            return severity_word(&line[from..]).map(|_| (from, at));
        };
        match token {
            Token::Literal(text) => {
                let rest = line[from..].strip_prefix(&text[..])?;
                self.go(at + 1, line.len() - rest.len(), line, spans, steps)
            }
            Token::Stop => self
                .go(at + 1, from, line, spans, steps)
                .or_else(|| severity_word(&line[from..]).map(|_| (from, at))),
            Token::Field { shape, padded, .. } => {
                let rest = &line[from..];
                let lead = match padded {
                    true => rest.iter().take_while(|&&b| b == b' ').count(),
                    false => 0,
                };
                let shortest = shape.shortest();
                let longest = lead + shape.longest(&rest[lead..]);
                let mut attempt = |n: usize| {
                    spans[at] = (from, from + n);
                    self.go(at + 1, from + n, line, spans, steps)
                };
                if *shape == Shape::Free || *padded {
                    // Padding behind a field belongs to it; trimmed when it is taken.
                    let blanks = rest[longest..].iter().take_while(|&&b| b == b' ').count();
                    let to = if *padded { longest + blanks } else { longest };
                    (shortest..=to).find_map(attempt)
                } else {
                    (shortest..=longest).rev().find_map(&mut attempt)
                }
            }
        }
    }
}

impl Shape {
    /// The shortest stretch the server writes; keeps an odd application name from being taken for what follows it.
    const fn shortest(self) -> usize {
        match self {
            Self::Code => 5,
            Self::Time => "2026-11-20 17:50:48 Z".len(),
            Self::Free | Self::Word | Self::Digits | Self::Hex => 0,
        }
    }

    /// The longest stretch this field may take.
    fn longest(self, rest: &[u8]) -> usize {
        let run = |allowed: fn(&u8) -> bool| rest.iter().take_while(|b| allowed(b)).count();
        match self {
            Self::Free => rest.len(),
            Self::Word => run(|b| !b.is_ascii_whitespace()),
            Self::Digits => run(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')),
            Self::Hex => run(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b'/')),
            Self::Code => run(|b| b.is_ascii_digit() || b.is_ascii_uppercase()).min(5),
            Self::Time => {
                let clock = run(|b| b.is_ascii_digit() || matches!(b, b'-' | b' ' | b':' | b'.'));
                let zone = |b: &&u8| {
                    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b':' | b'/' | b'_')
                };
                clock + rest[clock..].iter().take_while(zone).count()
            }
        }
    }
}

/// Of the escapes that have a meaning.
fn meaning(escape: u8) -> Option<(Field, Shape)> {
    Some(match escape {
        b'a' => (Field::Application, Shape::Free),
        b'u' => (Field::User, Shape::Free),
        b'd' => (Field::Database, Shape::Free),
        b'r' => (Field::Remote, Shape::Word),
        b'h' => (Field::Host, Shape::Word),
        b'b' => (Field::Backend, Shape::Free),
        b'p' => (Field::Pid, Shape::Digits),
        b't' | b'm' => (Field::Time, Shape::Time),
        b'n' => (Field::EpochMs, Shape::Digits),
        b'e' => (Field::Code, Shape::Code),
        b's' => (Field::Other, Shape::Time),
        b'P' | b'l' | b'x' | b'Q' => (Field::Other, Shape::Digits),
        b'c' | b'v' => (Field::Other, Shape::Hex),
        b'i' | b'L' => (Field::Other, Shape::Free),
        _ => return None,
    })
}

/// Length of `WORD`, and with its colon, where the text begins with `WORD:  ` (the server always puts two blanks).
fn severity_word(rest: &[u8]) -> Option<(usize, usize)> {
    let n = rest
        .iter()
        .take(40)
        .take_while(|&&b| b.is_ascii_uppercase() || b.is_ascii_digit() || b >= 0x80 || b == b'-')
        .count();
    let after = rest.get(n..)?;
    // Translated words may be of any letters, but a word there must be.
    if n >= 2 && after.starts_with(b":  ") {
        return Some((n, n + 1));
    }
    words::odd_companion(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(setting: &str, line: &str, expected: &[(Field, &str)], word: &str, message: &str) {
        let prefix = LinePrefix::compile(setting);
        let mut matched = Matched::default();
        assert!(prefix.matches(line, &mut matched), "{setting}: {line}");
        let fields: Vec<_> = matched
            .fields
            .iter()
            .map(|&(field, from, to)| (field, line[from..to].trim()))
            .collect();
        assert_eq!(fields, expected, "{setting}: {line}");
        assert_eq!((matched.word(line), matched.message(line)), (word, message));
    }

    #[test]
    fn usual_prefixes_match() {
        use Field::{Application, Backend, Code, Database, Host, Pid, Remote, Time, User};
        check(
            "%m [%p] ",
            "2026-11-20 17:50:48.123 UTC [42] ERROR:  division by zero",
            &[(Time, "2026-11-20 17:50:48.123 UTC"), (Pid, "42")],
            "ERROR",
            "division by zero",
        );
        check(
            "%m [%p] %q%u@%d/%a %h ",
            "2026-11-20 17:50:48.123 UTC [42] app@shop/my app: v2 10.0.0.9 LOG:  a: ERROR:  b",
            &[
                (Time, "2026-11-20 17:50:48.123 UTC"),
                (Pid, "42"),
                (User, "app"),
                (Database, "shop"),
                (Application, "my app: v2"),
                (Host, "10.0.0.9"),
            ],
            "LOG",
            "a: ERROR:  b",
        );
        check(
            "%m [%p] %q%u@%d/%a %h ",
            "2026-11-20 17:50:48.123 UTC [42] LOG:  checkpoint starting: time",
            &[(Time, "2026-11-20 17:50:48.123 UTC"), (Pid, "42")],
            "LOG",
            "checkpoint starting: time",
        );
        check(
            "%t:%r:%u@%d:[%p]:",
            "2026-11-20 17:50:48 CET:10.0.0.9(5555):app@shop:[42]:FATAL:  x",
            &[
                (Time, "2026-11-20 17:50:48 CET"),
                (Remote, "10.0.0.9(5555)"),
                (User, "app"),
                (Database, "shop"),
                (Pid, "42"),
            ],
            "FATAL",
            "x",
        );
        check(
            "%c %l %v %x %s %i 100%% <%-10u> %8p|%e|%b ",
            "65af.1 3 3/4 0 2026-11-20 17:50:00 UTC SELECT 100% <app       >       42|23505|client backend ERROR:  x",
            &[
                (User, "app"),
                (Pid, "42"),
                (Code, "23505"),
                (Backend, "client backend"),
            ],
            "ERROR",
            "x",
        );
        check("", "LOG:  x", &[], "LOG", "x");
    }

    #[test]
    fn other_lines_do_not_match_and_hostile_ones_cost_a_bounded_number_of_steps() {
        let prefix = LinePrefix::compile("%a%u%d%h%a%u%d%h");
        let line = "x".repeat(20_000);
        assert!(!prefix.matches(&line, &mut Matched::default()));
        let prefix = LinePrefix::compile("%m [%p] ");
        for line in [
            "",
            "\tcontinued",
            "sh: command not found",
            "2026-11-20 17:50:48.123 UTC [42] ",
        ] {
            assert!(!prefix.matches(line, &mut Matched::default()), "{line}");
        }
    }
}
