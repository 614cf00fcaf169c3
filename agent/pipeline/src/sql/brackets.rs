//! The group template's brackets: why each was opened, and what a list of constants folds to. (step 2)

use super::group::{CONSTANT, DEPTH_MAX, Frame, Grouper, Last, Opened, Region};
use super::lex::Lexer;
use super::region::skip_numbers;
use super::words::Word;

impl Grouper {
    pub(super) fn open(&mut self, lexer: &mut Lexer<'_>) {
        if self.type_at.is_some() {
            if skip_numbers(*lexer).is_some_and(|behind| {
                *lexer = behind;
                true
            }) {
                return;
            }
            self.type_at = None;
            self.frame().only_constants = false;
        }
        self.at_head = self.at_head && self.frames.len() == 1;
        let (at, last) = (self.out.len(), self.last);
        let rows = self.frame().region == Region::Rows;
        let (fold_at, before, not) = self.fold_at;
        let frame = match last {
            Last::Keyword(Word::In) => Frame::new(Opened::In { not }, fold_at, before),
            Last::Keyword(Word::Any | Word::Some) => Frame::new(Opened::Any, fold_at, before),
            Last::Keyword(Word::Cast) => Frame::new(Opened::Cast, fold_at, before),
            Last::Keyword(Word::DistinctOn) => Frame::new(Opened::DistinctOn, at, last),
            Last::Keyword(Word::Values) | Last::Comma if rows => Frame::new(Opened::Row, at, last),
            Last::Name if self.is_into && self.after_relation => {
                Frame::new(Opened::Columns, at, last)
            }
            _ => Frame::new(
                Opened::Plain {
                    is_call: last == Last::Name,
                },
                at,
                last,
            ),
        };
        if self.after_relation && last == Last::Name && !self.is_into {
            // A function stands where a table could.
            self.after_relation = false;
        }
        self.is_into = false;
        self.wants_relation = false;
        if last != Last::Name {
            self.gap();
        }
        self.push_frame(frame, '(');
        if matches!(
            frame.opened,
            Opened::In { .. } | Opened::Row | Opened::Columns
        ) {
            self.open_region(Region::List);
        }
    }

    pub(super) fn open_index(&mut self) {
        let (at, last) = (self.out.len(), self.last);
        let opened = if last == Last::Keyword(Word::Array) {
            Opened::Array
        } else {
            Opened::Index
        };
        self.push_frame(Frame::new(opened, at, last), '[');
    }

    fn push_frame(&mut self, frame: Frame, bracket: char) {
        self.out.push(bracket);
        self.last = Last::Open;
        if self.frames.len() < DEPTH_MAX {
            self.frames.push(frame);
        } else {
            self.n_deep += 1;
        }
    }

    pub(super) fn close(&mut self, bracket: u8) {
        let put = |grouper: &mut Self| {
            grouper.out.push(char::from(bracket));
            grouper.last = Last::Close;
        };
        if self.n_deep > 0 || self.frames.len() < 2 {
            self.n_deep = self.n_deep.saturating_sub(1);
            put(self);
            return;
        }
        self.close_region();
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let folds = frame.only_constants && frame.n_constants > 0;
        match frame.opened {
            Opened::In { not } if folds => {
                self.out.truncate(frame.fold_at);
                self.last = frame.before;
                self.put(if not { "<>" } else { "=" }, Last::Operator);
                self.constant();
                self.frame().only_constants = false;
            }
            Opened::Any if folds => {
                self.out.truncate(frame.fold_at);
                self.last = frame.before;
                self.constant();
            }
            Opened::Plain { is_call: false } if folds && frame.n_constants == 1 => {
                self.out.truncate(frame.fold_at);
                self.last = frame.before;
                self.constant();
            }
            Opened::Row | Opened::Array if folds => {
                self.out.truncate(frame.fold_at);
                self.last = frame.before;
                if frame.opened == Opened::Row {
                    self.gap();
                }
                self.out.push(if bracket == b')' { '(' } else { '[' });
                self.out.push(CONSTANT);
                put(self);
                self.frame().only_constants = false;
            }
            _ => {
                put(self);
                self.frame().only_constants = false;
            }
        }
        self.after_relation = self.frame().region == Region::From && self.last == Last::Close;
        if frame.opened == Opened::DistinctOn {
            self.restart_region();
        }
    }
}
