//! The severity of a line that there is no time to read. (step 2)
//!
//! A storm is counted by severity even where it cannot be parsed, and errors are told from chatter so that they can be kept.

use super::record::Severity;

/// Every known format says the severity within so many bytes; behind them is the message.
const SKIMMED_BYTES: usize = 256;

/// The first severity of [`Severity::Warning`] and above that a line says in capitals or as `[Error]` near its beginning, else
/// [`Severity::Log`]. O(1); no allocation. A word of the message may be taken for one.
///
/// ```
/// use hsw_pipeline::{Severity, skim};
/// assert_eq!(skim(b"2026-11-20 17:50:48 UTC [7] ERROR:  no"), Severity::Error);
/// assert_eq!(skim(b"duration: 8 ms  statement: select 1"), Severity::Log);
/// ```
#[must_use]
pub fn skim(line: &[u8]) -> Severity {
    let mut rest = &line[..line.len().min(SKIMMED_BYTES)];
    while let Some(start) = rest.iter().position(u8::is_ascii_uppercase) {
        let word = &rest[start..];
        let n = word
            .iter()
            .position(|b| !b.is_ascii_alphanumeric())
            .unwrap_or(word.len());
        if (4..=9).contains(&n)
            && let Ok(text) = std::str::from_utf8(&word[..n])
            && let Some(severity) = Severity::parse(text)
            && severity >= Severity::Warning
        {
            return severity;
        }
        rest = &word[n.max(1)..];
    }
    Severity::Log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_of_every_format_are_found_at_a_glance() {
        for (line, expected) in [
            (
                r#"{"timestamp":"2026-11-20 17:50:48.123 UTC","error_severity":"FATAL"}"#,
                Severity::Fatal,
            ),
            (
                r#"2026-11-20 17:50:48.123 UTC,"a","b",1,"h:1",6.1,3,"INSERT",2026,3/4,0,ERROR,23505,"x""#,
                Severity::Error,
            ),
            (
                "2026-11-20T17:50:48.123Z 5 [ERROR] [MY-010584] [Repl] x",
                Severity::Error,
            ),
            (
                "2026-11-20  1:02:03 5 [Warning] Aborted connection",
                Severity::Warning,
            ),
            ("LOG:  checkpoint starting: time", Severity::Log),
            ("", Severity::Log),
        ] {
            assert_eq!(skim(line.as_bytes()), expected, "{line}");
        }
    }
}
