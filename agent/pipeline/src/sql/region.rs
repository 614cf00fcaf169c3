//! The group template's lists: items put in order, each once; and the small tools around it. (step 2)

use super::group::{CONSTANT, Grouper, Last, Region};
use super::lex::{Kind, Lexer};
use super::words::Word;

impl Grouper {
    pub(super) fn open_region(&mut self, region: Region) {
        let (at, items_from) = (self.out.len(), self.items.len());
        let frame = self.frame();
        frame.region = region;
        frame.region_at = at;
        frame.item_at = at;
        frame.items_from = items_from;
        frame.sorts = true;
        frame.n_cases = 0;
        frame.between = false;
    }

    /// The region begins here, not before.
    pub(super) fn restart_region(&mut self) {
        let at = self.out.len();
        let frame = self.frame();
        frame.region_at = at;
        frame.item_at = at;
    }

    /// AND between two conditions.
    pub(super) fn next_condition(&mut self) {
        let at = self.out.len();
        let frame = self.frame();
        let item = (frame.item_at, at);
        self.items.push(item);
        self.put("and", Last::Keyword(Word::And));
        let at = self.out.len();
        self.frame().item_at = at;
    }

    /// Puts the items of the open region in order, each once.
    pub(super) fn close_region(&mut self) {
        let end = self.out.len();
        let frame = self.frame();
        if frame.region == Region::None {
            return;
        }
        let region = std::mem::replace(&mut frame.region, Region::None);
        let (at, from, last_item, sorts) = (
            frame.region_at,
            frame.items_from,
            (frame.item_at, end),
            frame.sorts,
        );
        self.after_relation = false;
        self.wants_relation = false;
        if sorts && self.items.len() > from {
            self.items.push(last_item);
            let item =
                |(from, to): (usize, usize)| self.out.get(from..to).unwrap_or("").trim_ascii();
            let items = &mut self.items[from..];
            items.sort_unstable_by(|a, b| item(*a).cmp(item(*b)));
            let between = if region == Region::Where {
                " and "
            } else {
                ", "
            };
            self.scratch.clear();
            if self.out[at..].starts_with(' ') {
                self.scratch.push(' ');
            }
            let mut before = None;
            for &one in &*items {
                let text = item(one);
                if before == Some(text) {
                    continue;
                }
                if before.is_some() {
                    self.scratch.push_str(between);
                }
                self.scratch.push_str(text);
                before = Some(text);
            }
            self.out.truncate(at);
            self.out.push_str(&self.scratch);
        }
        self.items.truncate(from);
    }
}

/// Copies the text, its constants numbered in the order in which they now stand.
pub(super) fn number(from: &str, to: &mut String) {
    to.clear();
    let mut n = 0_u32;
    let mut rest = from;
    while let Some(at) = rest
        .as_bytes()
        .iter()
        .position(|byte| *byte == CONSTANT as u8)
    {
        n += 1;
        to.push_str(&rest[..at]);
        push_param(to, n);
        rest = &rest[at + 1..];
    }
    to.push_str(rest);
}

/// `$n`
pub(super) fn push_param(to: &mut String, n: u32) {
    if n < 10 {
        to.push('$');
        to.push(char::from(b'0' + n as u8));
        return;
    }
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut rest = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    to.push('$');
    to.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

/// Behind the bracket that closes the one just taken.
pub(super) fn skip_brackets(lexer: &mut Lexer<'_>) {
    let mut depth = 1_usize;
    for token in lexer.by_ref() {
        match token.kind {
            Kind::Mark(b'(' | b'[') => depth += 1,
            Kind::Mark(b')' | b']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Behind `2, 3)` of `numeric(2, 3)`; none where something else is in the brackets.
pub(super) fn skip_numbers(mut lexer: Lexer<'_>) -> Option<Lexer<'_>> {
    loop {
        match lexer.next()?.kind {
            Kind::Number | Kind::Param | Kind::Mark(b',') => {}
            Kind::Mark(b')') => return Some(lexer),
            _ => return None,
        }
    }
}

/// Numbers of two digits and more in a table's name name a partition or a day.
pub(super) fn without_long_numbers(name: &str, to: &mut String) {
    let bytes = name.as_bytes();
    let is_digit = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_digit)
    };
    if !bytes.iter().any(u8::is_ascii_digit) {
        to.push_str(name);
        return;
    }
    for (at, c) in name.char_indices() {
        let near = is_digit(at.checked_sub(1)) || is_digit(Some(at + 1));
        if !(c.is_ascii_digit() && near) {
            to.push(c);
        }
    }
}

pub(super) fn is_plain_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
