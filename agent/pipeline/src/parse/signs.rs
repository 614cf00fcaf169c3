//! What a single record means. (step 2)
//!
//! Language: refusals go by SQLSTATE (the English text only where the format has no code). Lock waits and checkpoints have no
//! code; English text is recognised, and beside it what no translation touches (lock modes, checkpoint flags).

use super::record::{LogRecord, Severity};

/// A login the server refused because of its own state or limits; a wrong password (28P01) is the client's fault.
pub(super) fn is_refusal(record: &LogRecord) -> bool {
    // too_many_connections, cannot_connect_now.
    if matches!(record.code.as_str(), "53300" | "57P03") {
        return true;
    }
    // Formats without a code (stderr without %e).
    const TEXTS: [&str; 8] = [
        "sorry, too many clients already",
        "too many connections for",
        "remaining connection slots are reserved",
        "the database system is starting up",
        "the database system is shutting down",
        "the database system is in recovery mode",
        "the database system is not",
        "is not currently accepting connections",
    ];
    record.severity == Severity::Fatal
        && (record.code.is_empty() || record.code == "55000")
        && TEXTS.iter().any(|text| record.message.contains(text))
}

/// `process 1 still waiting for ShareLock on transaction 2 after 1000.1 ms`, or its translation: lock modes and `ms` are never
/// translated, and only a wait (not the later "acquired") comes with a DETAIL that names the queue.
pub(super) fn is_lock_wait(record: &LogRecord) -> bool {
    if record.severity != Severity::Log || record.duration_ms.is_some() {
        return false;
    }
    let message = record.message.as_str();
    if message.contains(" still waiting for ") && message.contains("Lock on ") {
        return true;
    }
    const MODES: [&str; 3] = ["ShareLock", "ExclusiveLock", "RowShareLock"];
    // The English lines that end alike: "acquired", "avoided deadlock".
    let english = message.starts_with("process ");
    !english
        && record.has_detail
        && message.trim_end().ends_with(" ms")
        && MODES.iter().any(|mode| message.contains(mode))
}

/// `checkpoint starting: wal`, `… immediate force wait`: any reason but the schedule.
pub(super) fn is_requested_checkpoint(record: &LogRecord) -> bool {
    const FLAGS: [&str; 10] = [
        "shutdown",
        "end-of-recovery",
        "immediate",
        "fast",
        "force",
        "wait",
        "wal",
        "time",
        "flush-all",
        "flush-unlogged",
    ];
    let Some((head, flags)) = record.message.split_once(':') else {
        return false;
    };
    let starts = head == "checkpoint starting" || record.backend_type == "checkpointer";
    let mut words = flags.split_whitespace().peekable();
    starts
        && words.peek().is_some()
        && words.clone().all(|word| FLAGS.contains(&word))
        && !words.any(|word| word == "time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_translated_lock_wait_is_known_by_its_lock_mode_and_detail() {
        let mut wait = LogRecord {
            message: "Prozess 5 wartet immer noch auf ShareLock-Sperre auf Transaktion 7 nach 1000,100 ms"
                .to_owned(),
            ..LogRecord::default()
        };
        assert!(!is_lock_wait(&wait));
        wait.has_detail = true;
        assert!(is_lock_wait(&wait));
    }

    #[test]
    fn a_checkpoint_on_schedule_is_not_requested() {
        for (message, expected) in [
            ("checkpoint starting: time", false),
            ("checkpoint starting: wal", true),
            ("checkpoint starting: immediate force wait flush-all", true),
            ("checkpoint complete: wrote 5 buffers (0.0%)", false),
            ("checkpoints are occurring too frequently", false),
        ] {
            let record = LogRecord {
                message: message.to_owned(),
                ..LogRecord::default()
            };
            assert_eq!(is_requested_checkpoint(&record), expected, "{message}");
        }
    }
}
