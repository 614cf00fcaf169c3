//! PostgreSQL's `stderr`: what a line with a prefix says. (step 2)

use hsw_types::WallTime;

use super::prefix::{Field, Matched};
use super::record::{LogRecord, Severity};
use super::time::{TimeDefaults, timestamp};
use super::words::{self, Companion};

/// What stands around the number of a position, in the languages of [`words`].
const POSITIONS: [(&str, &str); 10] = [
    (" at character ", ""),
    (" bei Zeichen ", ""),
    (" en carácter ", ""),
    (" au caractère ", ""),
    (" al carattere ", ""),
    (" vid tecken ", ""),
    (" символ ", ""),
    (" (символ ", ")"),
    ("(", "文字目)"),
    (" 第 ", " 个字符处"),
];

/// What a continuation line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoesOn {
    Message,
    Statement,
    /// A DETAIL, HINT or CONTEXT, which is not kept.
    Other,
}

/// Begins a record, all but its message.
pub(super) fn head(line: &str, matched: &Matched, defaults: TimeDefaults, record: &mut LogRecord) {
    for &(field, from, to) in &matched.fields {
        take_field(
            record,
            field,
            line.get(from..to).unwrap_or("").trim(),
            defaults,
        );
    }
    // A word of an unknown language: the SQLSTATE, where the prefix has it, still tells errors from the rest.
    record.severity =
        words::severity(matched.word(line)).unwrap_or_else(|| Severity::of_code(&record.code));
}

/// A DETAIL and the like of the record before; what its continuation lines belong to.
pub(super) fn companion(line: &str, matched: &Matched, record: &mut LogRecord) -> GoesOn {
    let kind = words::companion(matched.word(line));
    record.has_detail |= kind == Some(Companion::Detail);
    // QUERY is a statement within a function; the client's own comes behind it and is the better name.
    if kind == Some(Companion::Statement) {
        record.set_statement(matched.message(line));
        return GoesOn::Statement;
    }
    GoesOn::Other
}

/// Whether a companion is of the same session as the record.
pub(super) fn belongs(line: &str, matched: &Matched, record: &LogRecord) -> bool {
    let pid = matched
        .fields
        .iter()
        .find(|(field, ..)| *field == Field::Pid);
    pid.is_none_or(|&(_, from, to)| {
        line.get(from..to).unwrap_or("").trim().parse() == Ok(record.pid)
    })
}

/// The message as the other formats have it: stderr alone ends it with ` at character 15`.
pub(super) fn without_position(message: &str) -> &str {
    let cut = |(before, behind): &(&str, &str)| {
        let head = message.strip_suffix(behind)?;
        let words = head.trim_end_matches(|c: char| c.is_ascii_digit());
        (words.len() < head.len()).then(|| words.strip_suffix(before))?
    };
    POSITIONS.iter().find_map(cut).unwrap_or(message)
}

fn take_field(record: &mut LogRecord, field: Field, text: &str, defaults: TimeDefaults) {
    let to = match field {
        Field::Time => {
            record.at = timestamp(text, defaults);
            return;
        }
        Field::EpochMs => {
            let seconds: Option<f64> = text.parse().ok();
            // `%n` is seconds with three decimals.
            record.at = seconds.map(|seconds| WallTime((seconds * 1e6) as i64));
            return;
        }
        Field::Pid => {
            record.pid = text.parse().unwrap_or(0);
            return;
        }
        Field::Remote => {
            record.remote_host.clear();
            let host = text.split_once('(').map_or(text, |(host, _)| host);
            record.remote_host.push_str(host);
            return;
        }
        Field::Application => &mut record.application,
        Field::User => &mut record.user,
        Field::Database => &mut record.database,
        Field::Host => &mut record.remote_host,
        Field::Backend => &mut record.backend_type,
        Field::Code if text == "00000" => return,
        Field::Code => &mut record.code,
        Field::Other => return,
    };
    to.clear();
    to.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_no_part_of_the_message_in_any_language() {
        for position in [
            " at character 15",
            " bei Zeichen 15",
            " au caractère 15",
            " (символ 15)",
            "(15文字目)",
        ] {
            assert_eq!(without_position(&format!("x 5{position}")), "x 5");
        }
        for message in ["", "at 15", "look at character ", "(символ )", "5"] {
            assert_eq!(without_position(message), message);
        }
    }
}
