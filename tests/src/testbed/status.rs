//! Telling the person at the terminal what goes on: lines that stay, and one line that changes.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// Standard output, as a terminal or as plain lines.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    /// Whether the changing line stands on the screen now.
    status_shown: Mutex<bool>,
}

impl Screen {
    /// Looks at what standard output is.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            status_shown: Mutex::new(false),
        }
    }

    /// Whether the changing line can be shown.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints a line that stays. A closed pipe is no reason to stop before everything is taken down.
    pub(crate) fn line(&self, text: &str) {
        let mut shown = self
            .status_shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        let erase = if *shown { "\r\x1b[K" } else { "" };
        *shown = false;
        let _ = writeln!(out, "{erase}{text}");
        let _ = out.flush();
    }

    /// Shows the changing line, or on anything but a terminal prints it.
    pub(crate) fn status(&self, text: &str) {
        if !self.terminal {
            return self.line(text);
        }
        let mut shown = self
            .status_shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *shown = true;
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }
}
