//! Lines of PostgreSQL's `stderr`, bare or wrapped by syslog, into records. (step 2)
//!
//! Invariant: a DETAIL, HINT or CONTEXT is part of its record and not kept, whatever language its word is of.

use super::{
    Assembler, GoesOn, LinePrefix, LogRecord, Matched, OPEN_BYTES_MAX, plain, push_bounded, stderr,
    syslog, words,
};

impl Assembler {
    pub(super) fn stderr_line(
        &mut self,
        prefix: &LinePrefix,
        start: u64,
        text: &str,
        emit: &mut impl FnMut(&LogRecord),
    ) {
        if let Some(more) = text.strip_prefix('\t') {
            self.stderr_more("\n", more);
            return;
        }
        let mut matched = std::mem::take(&mut self.matched);
        let known = prefix.matches(text, &mut matched);
        if known {
            self.stderr_head(start, text, &matched, None, emit);
        }
        self.matched = matched;
        if known {
            return;
        }
        self.flush(emit);
        self.n_lines = 1;
        self.malformed(text);
        self.hand_out(emit);
    }

    /// A line that syslog has wrapped; sessions may be mixed.
    pub(super) fn wrapped_line(
        &mut self,
        prefix: &LinePrefix,
        start: u64,
        wrapped: &syslog::Wrapped<'_>,
        emit: &mut impl FnMut(&LogRecord),
    ) {
        let mut matched = std::mem::take(&mut self.matched);
        let known = !wrapped.tabbed && prefix.matches(wrapped.inside, &mut matched);
        if known {
            self.stderr_head(start, wrapped.inside, &matched, Some(wrapped), emit);
        }
        self.matched = matched;
        if known {
            return;
        }
        if wrapped.tabbed || wrapped.later {
            if self.held.is_some() && self.record.pid == wrapped.pid {
                let between = if wrapped.tabbed { "\n" } else { "" };
                self.stderr_more(between, wrapped.inside);
            } else {
                self.counters.lines_outside += 1;
            }
            return;
        }
        self.flush(emit);
        self.n_lines = 1;
        self.malformed("");
        plain::wrapped(wrapped, &mut self.record);
        self.hand_out(emit);
    }

    /// A line that begins with a tab.
    fn stderr_more(&mut self, between: &str, more: &str) {
        if self.held.is_none() {
            // Goes on with a record that is gone: perhaps the middle of a statement, so only counted.
            self.counters.malformed += 1;
            self.counters.lines_outside += 1;
            return;
        }
        self.n_lines += 1;
        match self.goes_on {
            GoesOn::Message => {
                self.push_pending(between);
                self.push_pending(more);
            }
            GoesOn::Statement => {
                self.record.push_statement(between);
                self.record.push_statement(more);
            }
            GoesOn::Other => {}
        }
    }

    /// A line with a prefix: a new record, or a DETAIL and the like of the one before.
    fn stderr_head(
        &mut self,
        start: u64,
        text: &str,
        matched: &Matched,
        wrapped: Option<&syslog::Wrapped<'_>>,
        emit: &mut impl FnMut(&LogRecord),
    ) {
        let word = matched.word(text);
        let same = wrapped.is_none_or(|wrapped| wrapped.pid == self.record.pid);
        let belongs = self.held.is_some() && same && stderr::belongs(text, matched, &self.record);
        // A word of no language we know, right behind a record of its session, is a companion: it may hold rows.
        if words::severity(word).is_none() && (belongs || words::companion(word).is_some()) {
            if belongs {
                self.n_lines += 1;
                self.goes_on = stderr::companion(text, matched, &mut self.record);
            } else {
                // Its record went away before (end of a file, another session in between).
                self.counters.lines_outside += 1;
                self.goes_on = GoesOn::Other;
            }
            return;
        }
        self.flush(emit);
        self.record.clear();
        stderr::head(text, matched, self.defaults, &mut self.record);
        if let Some(wrapped) = wrapped {
            self.record.at = self.record.at.or(wrapped.at);
            self.record.pid = wrapped.pid;
        }
        self.held = Some(start);
        self.n_lines = 1;
        self.goes_on = GoesOn::Message;
        self.push_pending(matched.message(text));
    }

    fn push_pending(&mut self, text: &str) {
        self.counters.bytes_over_limit += push_bounded(&mut self.pending, text, OPEN_BYTES_MAX);
    }
}
