//! What `order.rs` keeps: constants linked into lists, brackets with their clauses, selected expressions. (step 2)

use super::lex::{Kind, Lexer};
use super::words::{Word, word};
use hsw_types::fnv1a_64;

pub(super) const NONE: u32 = u32::MAX;

pub(super) const N_CLAUSES: usize = 15;
/// Clauses in the order in which they are walked.
pub(super) const DISTINCT: usize = 0;
pub(super) const INTO: usize = 1;
pub(super) const TARGET: usize = 2;
pub(super) const FROM: usize = 3;
pub(super) const WHERE: usize = 4;
pub(super) const GROUP: usize = 5;
pub(super) const SORT: usize = 6;
pub(super) const HAVING: usize = 7;
pub(super) const WINDOW: usize = 8;
pub(super) const VALUES: usize = 9;
pub(super) const OFFSET: usize = 10;
pub(super) const LIMIT: usize = 11;
pub(super) const LOCKING: usize = 12;
pub(super) const WITH: usize = 13;
/// Queries that UNION and the like put together; everything, where there are no clauses.
pub(super) const OPERANDS: usize = 14;
/// Clauses of the whole, where several queries are put together; they come before their parts.
pub(super) const OF_THE_WHOLE: [usize; 5] = [SORT, OFFSET, LIMIT, LOCKING, WITH];

#[derive(Debug)]
pub(super) struct Constant {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) next: u32,
    pub(super) same_as: u32,
    pub(super) id: u32,
}

/// Constants linked in the order of their numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) head: u32,
    pub(super) tail: u32,
}

pub(super) const EMPTY: List = List {
    head: NONE,
    tail: NONE,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statement {
    Unknown,
    Select,
    Insert,
    Update,
    Delete,
    Merge,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// May hold clauses; an expression may not.
    pub(super) is_query: bool,
    /// The query of an INSERT, which no bracket closes.
    pub(super) is_implicit: bool,
    pub(super) is_set_operation: bool,
    pub(super) statement: Statement,
    pub(super) clause: usize,
    pub(super) lists: [List; N_CLAUSES],
    pub(super) item_at: usize,
    pub(super) item_from: usize,
    /// Nothing of the item has been seen.
    pub(super) is_fresh: bool,
    pub(super) has_param: bool,
    pub(super) targets_from: usize,
}

/// A selected expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) hash: u64,
    pub(super) from: usize,
    pub(super) n: usize,
    pub(super) is_used: bool,
}

/// Equal for expressions that differ in their constants, case, blanks and aliases only.
pub(super) fn expression_hash(text: &str) -> u64 {
    let mut hash = 0_u64;
    let mut depth = 0_usize;
    let mut before = (hash, false);
    for token in Lexer::new(text) {
        let part = &text[token.start..token.end];
        let is_operand = before.1;
        let was = hash;
        let this = match token.kind {
            Kind::Number | Kind::Text | Kind::Param => 1,
            Kind::Word if depth == 0 && word(part) == Word::As => return hash,
            Kind::Word => {
                let lower = part.bytes().map(|byte| byte.to_ascii_lowercase());
                let this = lower.fold(7, |hash: u64, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                });
                // A name behind an expression is its alias, unless more follows.
                if depth == 0 && is_operand && word(part) == Word::Name {
                    before = (was, false);
                    hash = was;
                    continue;
                }
                this
            }
            Kind::Mark(b'(' | b'[') => {
                depth += 1;
                2
            }
            Kind::Mark(b')' | b']') => {
                depth = depth.saturating_sub(1);
                3
            }
            _ => fnv1a_64(part.as_bytes()),
        };
        hash = hash.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ this;
        let ends = matches!(
            token.kind,
            Kind::Word | Kind::Quoted | Kind::Number | Kind::Text | Kind::Mark(b')' | b']')
        );
        let is_name = token.kind != Kind::Word || word(part) == Word::Name;
        before = (was, ends && is_name);
    }
    hash
}
