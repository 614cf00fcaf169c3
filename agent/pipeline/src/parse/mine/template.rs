//! A template: what lines of one kind have in common. (step 2)

use super::scan::{Kind, Token, hash_bytes, mix};

/// What stands for a variable part.
pub(super) const WILDCARD: &str = "<*>";

/// A token of a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) kind: Kind,
    pub(super) spaced: bool,
    /// Equal to the hash of every token it stands for, unless it is a slot.
    pub(super) hash: u64,
    /// Where the text of this part ends; it begins where the one before ends.
    end: u32,
    /// Of a slot: bytes that every value begins with, before a digit.
    n_head: u16,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) number: u32,
    pub(super) skeleton: u64,
    pub(super) n_lines: u64,
    /// Seen since the hand of the clock went by.
    pub(super) is_in_use: bool,
    pub(super) parts: Vec<Part>,
    text: String,
}

/// Equal for lines that can share a template: number of tokens, separators and severities with their places, blanks.
pub(super) fn skeleton(line: &str, tokens: &[Token]) -> u64 {
    let mut hash = tokens.len() as u64;
    for (at, token) in tokens.iter().enumerate() {
        hash = hash.rotate_left(1) ^ u64::from(token.spaced);
        if matches!(token.kind, Kind::Separator | Kind::Level) {
            hash = mix(hash, hash_bytes(at as u64, token.of(line).as_bytes()));
        }
    }
    hash
}

impl Template {
    /// Of one line.
    pub(super) fn new(number: u32, skeleton: u64, line: &str, tokens: &[Token]) -> Self {
        let mut text = String::new();
        let part = |token: &Token| {
            push_shown(&mut text, line, token);
            Part {
                kind: token.kind,
                spaced: token.spaced,
                hash: token.hash,
                end: text.len() as u32,
                n_head: 0,
            }
        };
        Self {
            number,
            skeleton,
            n_lines: 0,
            is_in_use: false,
            parts: tokens.iter().map(part).collect(),
            text,
        }
    }

    /// With single blanks, `<*>` for what is variable.
    pub(super) fn render(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + self.parts.len());
        for (at, part) in self.parts.iter().enumerate() {
            if part.spaced && at > 0 {
                out.push(' ');
            }
            out.push_str(self.shown(at));
        }
        out
    }

    /// Text of one part.
    pub(super) fn shown(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.parts[before].end);
        self.text
            .get(start as usize..self.parts[at].end as usize)
            .unwrap_or("")
    }

    /// Whether a line's tokens, of the same skeleton, are lines of this template.
    pub(super) fn accepts(&self, line: &str, tokens: &[Token]) -> bool {
        self.parts.iter().enumerate().all(|(at, part)| {
            let token = &tokens[at];
            if part.kind != Kind::Slot {
                return part.hash == token.hash;
            }
            part.n_head == 0 || self.head_fits(at, token.of(line))
        })
    }

    /// Whether this template says everything that `other` says.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.parts.iter().enumerate().all(|(at, part)| {
            if part.kind != Kind::Slot {
                return part.hash == other.parts[at].hash;
            }
            part.n_head == 0 || self.head_fits(at, other.shown(at))
        })
    }

    fn head_fits(&self, at: usize, word: &str) -> bool {
        let n_head = usize::from(self.parts[at].n_head);
        word.as_bytes().get(..n_head) == self.shown(at).as_bytes().get(..n_head)
            && word[n_head..].starts_with(|c: char| c.is_ascii_digit() || c == '<')
    }

    /// Where `others` show something else, and what; slots count as such, for their values may begin alike.
    pub(super) fn differences<'a>(
        &self,
        others: impl Iterator<Item = &'a Self>,
    ) -> Vec<(usize, String)> {
        let mut seen = Vec::new();
        for other in others {
            for (at, (a, b)) in self.parts.iter().zip(&other.parts).enumerate() {
                if a.hash != b.hash || a.kind == Kind::Slot {
                    seen.push((at, other.shown(at).to_owned()));
                }
            }
        }
        seen
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.parts.capacity() * size_of::<Part>() + self.text.capacity()
    }

    /// Makes a slot of each place in `at`, given what else was seen there; returns whether anything changed.
    pub(super) fn widen(&mut self, others: &[(usize, String)]) -> bool {
        let mut shown: Vec<String> = (0..self.parts.len())
            .map(|at| self.shown(at).to_owned())
            .collect();
        let mut changed = false;
        for (at, other) in others {
            let part = &mut self.parts[*at];
            let was_slot = part.kind == Kind::Slot;
            let n_head = if was_slot && part.n_head == 0 {
                0
            } else {
                common_head(&shown[*at], other)
            };
            if was_slot && n_head == usize::from(part.n_head) {
                continue;
            }
            changed = true;
            part.kind = Kind::Slot;
            part.hash = 5;
            part.n_head = n_head as u16;
            shown[*at].truncate(n_head);
            shown[*at].push_str(WILDCARD);
        }
        if changed {
            self.text.clear();
            for (part, shown) in self.parts.iter_mut().zip(&shown) {
                self.text.push_str(shown);
                part.end = self.text.len() as u32;
            }
        }
        changed
    }
}

/// Letters both begin with, if digits follow in both: `J16` and `J7`.
fn common_head(a: &str, b: &str) -> usize {
    let n = a
        .bytes()
        .zip(b.bytes())
        .take_while(|(x, y)| x == y && (x.is_ascii_alphabetic() || matches!(x, b'_' | b'-')))
        .count();
    let digit = |text: &str| {
        text.as_bytes()
            .get(n)
            .is_some_and(|&b| b.is_ascii_digit() || b == b'<')
    };
    if digit(a) && digit(b) {
        n.min(usize::from(u16::MAX))
    } else {
        0
    }
}

/// What a line's token shows.
pub(super) fn push_shown(out: &mut String, line: &str, token: &Token) {
    let word = token.of(line);
    match token.kind {
        Kind::Wild => {
            let tail = word.len() - usize::from(token.n_tail);
            out.push_str(word.get(..usize::from(token.n_head)).unwrap_or(""));
            out.push_str(WILDCARD);
            out.push_str(word.get(tail..).unwrap_or(""));
        }
        _ => out.push_str(word),
    }
}
