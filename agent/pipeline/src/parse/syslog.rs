//! PostgreSQL's lines as syslog writes them. (step 2)
//!
//! `Nov 20 17:50:48 host postgres[99]: [5-1] <prefix>LOG:  …`: the fifth message of the session, its first piece. Further
//! pieces are the next lines of the message (`#011` for the tab), its DETAIL and so on, or what was too long for one.
//! Source: `write_syslog` of PostgreSQL's `elog.c`.

use hsw_types::WallTime;

use super::time::{TimeDefaults, digits, iso, named};

/// What syslog put around a piece of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrapped<'a> {
    pub(super) at: Option<WallTime>,
    pub(super) pid: u32,
    /// The second or a later piece of its message.
    pub(super) later: bool,
    /// The piece begins with a tab: a line of its own within the message.
    pub(super) tabbed: bool,
    pub(super) inside: &'a str,
}

/// Takes the wrapper off; nothing when the line is not one of a server's.
pub(super) fn unwrapped(line: &str, defaults: TimeDefaults) -> Option<Wrapped<'_>> {
    let bytes = line.as_bytes();
    let found = match bytes.first()? {
        b'A'..=b'Z' => named(bytes, defaults)?,
        b'0'..=b'9' if bytes.get(10) == Some(&b'T') => iso(bytes, defaults)?,
        _ => return None,
    };
    let rest = line.get(found.n..)?.strip_prefix(' ')?;
    let (_host, rest) = rest.split_once(' ')?;
    let (program, rest) = rest.split_once('[')?;
    if program.is_empty() || program.len() > 32 || program.contains([' ', ':']) {
        return None;
    }
    let (pid, rest) = rest.split_once("]: ")?;
    let pid = pid.parse().ok()?;
    let (piece, rest) = numbered(rest);
    // `syslog_ident` may be anything, but then the number tells.
    if piece.is_none() && !program.starts_with("postgres") {
        return None;
    }
    let tab = rest
        .strip_prefix("#011")
        .or_else(|| rest.strip_prefix('\t'));
    Some(Wrapped {
        at: found.at,
        pid,
        later: piece.is_some_and(|piece| piece > 1),
        tabbed: tab.is_some(),
        inside: tab.unwrap_or(rest),
    })
}

/// `[5-2] rest`: the second number.
fn numbered(text: &str) -> (Option<u32>, &str) {
    let inner = || {
        let rest = text.strip_prefix('[')?;
        let n = digits(rest.as_bytes());
        let rest = rest[n..].strip_prefix('-').filter(|_| n > 0)?;
        let n = digits(rest.as_bytes());
        Some((rest[..n].parse().ok()?, rest[n..].strip_prefix("] ")?))
    };
    inner().map_or((None, text), |(piece, rest)| (Some(piece), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrapper_is_taken_off_and_other_lines_have_none() {
        let of = |line| unwrapped(line, TimeDefaults::default());
        let first = of("Nov 20 17:50:48 db1 postgres[99]: [5-1] LOG:  x").unwrap();
        assert_eq!(
            (first.pid, first.later, first.inside),
            (99, false, "LOG:  x")
        );
        let line = "2026-11-20T17:50:48.123456+01:00 db1 pg-main[99]: [5-2] #011from t";
        let more = of(line).unwrap();
        assert!(more.later && more.tabbed && more.at.is_some());
        assert_eq!(more.inside, "from t");
        for line in [
            "",
            "Nov 20 17:50:48 db1 sshd[99]: Accepted",
            "Nov 20 17:50:48 db1 kernel: x",
            "2026-11-20 17:50:48 UTC [7] LOG:  x [5-1] postgres[99]: ",
            "[5-1] LOG:  x",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
