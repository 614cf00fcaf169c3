//! What a PostgreSQL message holds beside its words: a duration, a statement, a plan. (step 2)
//!
//! In: the message of one event. Out: where each part lies; nothing is copied.
//! Source: PostgreSQL manual, "Error Reporting and Logging" (log_min_duration_statement, log_statement) and "auto_explain".

/// The parts of a message.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Parts<'a> {
    /// What may be shown: everything but the statement and the plan.
    pub(super) message: &'a str,
    pub(super) duration_ms: Option<f64>,
    pub(super) statement: &'a str,
    pub(super) plan: &'a str,
    /// The duration is of parsing or binding: the execution has a line of its own.
    pub(super) is_step: bool,
}

/// Words before a statement: `log_statement`, the extended protocol, audit. With a colon at their end the statement
/// follows; else the name of a prepared statement comes first.
const STATEMENTS: [&str; 7] = [
    "statement:",
    "execute ",
    "parse ",
    "bind ",
    "fastpath function call:",
    "AUDIT:",
    "fetch ",
];

/// `duration: 812.3 ms  statement: …` → the part before the statement, the number, the statement.
pub(super) fn split(message: &str) -> Parts<'_> {
    let message = message.trim_end();
    let plain = Parts {
        message,
        ..Parts::default()
    };
    let Some(rest) = message.strip_prefix("duration: ") else {
        return match introduced(message) {
            Some((word, statement)) => Parts {
                message: &message[..word.len()],
                statement,
                ..plain
            },
            None => plain,
        };
    };
    let Some(end) = rest.find(" ms") else {
        return plain;
    };
    let duration_ms = match rest[..end].parse::<f64>() {
        Ok(ms) if ms.is_finite() && ms >= 0.0 => ms,
        _ => return plain,
    };
    let end = "duration: ".len() + end + " ms".len();
    let behind = message[end..].trim_start();
    let is_step = behind.starts_with("parse ") || behind.starts_with("bind ");
    let (statement, plan) = match behind.strip_prefix("plan:") {
        Some(plan) => (query_text(plan), plan.trim_start_matches(['\n', ' '])),
        None => (
            introduced(behind).map_or("", |(_, statement)| statement),
            "",
        ),
    };
    Parts {
        message: &message[..end],
        duration_ms: Some(duration_ms),
        statement,
        plan,
        is_step,
    }
}

/// The word that introduces a statement, and the statement.
fn introduced(text: &str) -> Option<(&'static str, &str)> {
    let word = *STATEMENTS.iter().find(|word| text.starts_with(**word))?;
    let behind = &text[word.len()..];
    let statement = if word.ends_with(':') {
        behind
    } else {
        // `execute S_1/C_2: select …`
        behind.split_once(": ")?.1
    };
    Some((word, statement.trim_start()))
}

/// `Query Text: …` of `auto_explain` in its text format. Of the other formats see [`quoted_query_text`].
fn query_text(plan: &str) -> &str {
    let Some((before, text)) = plan.split_once("Query Text: ") else {
        return "";
    };
    if !before.trim().is_empty() {
        return "";
    }
    // The statement goes on until the root of the plan, the first line of costs that is not indented.
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let root = line.starts_with(|c: char| c.is_ascii_uppercase())
            && (line.contains("  (cost=") || line.contains(" (actual "));
        if at > 0 && (root || line.starts_with("Query Parameters:")) {
            break;
        }
        at += line.len();
    }
    text[..at].trim_end()
}

/// Where `auto_explain`'s statement begins in its JSON and YAML formats: behind the opening quote.
pub(super) fn quoted_query_text(plan: &str) -> Option<&str> {
    let at = plan.find("Query Text")?;
    let rest = plan[at + "Query Text".len()..].trim_start_matches('"');
    rest.trim_start_matches([':', ' ']).strip_prefix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(message: &str) -> &str {
        split(message).statement
    }

    #[test]
    fn the_statement_is_found_behind_each_word_that_introduces_one() {
        for message in [
            "duration: 8.5 ms  statement: select 1",
            "duration: 8.5 ms  execute <unnamed>: select 1",
            "duration: 8.5 ms  parse S_1: select 1",
            "duration: 8.5 ms  bind S_1/C_2: select 1",
            "statement: select 1",
            "execute fetch from c: select 1",
        ] {
            assert_eq!(statement(message), "select 1", "{message}");
        }
        for message in [
            "duration: 8.5 ms",
            "duration: x ms  statement: select 1",
            "execute it",
            "",
        ] {
            assert_eq!(statement(message), "", "{message}");
        }
    }

    #[test]
    fn a_plan_is_taken_apart_from_its_query() {
        let parts = split(
            "duration: 3.651 ms  plan:\nQuery Text: select count(*)\n  from t;\nQuery Parameters: $1 = 'x'\n\
             Aggregate  (cost=16.79..16.80 rows=1 width=0)\n  ->  Seq Scan on t  (cost=1..2 rows=3 width=0)",
        );
        assert_eq!(parts.message, "duration: 3.651 ms");
        assert_eq!(parts.statement, "select count(*)\n  from t;");
        assert!(parts.plan.starts_with("Query Text") && parts.plan.ends_with("width=0)"));
        let json = split(
            "duration: 1 ms  plan:\n{\n  \"Query Text\": \"select \\\"a\\\"\",\n \"Plan\": {}\n}",
        );
        assert_eq!(json.statement, "");
        assert!(quoted_query_text(json.plan).is_some_and(|text| text.starts_with("select \\\"a")));
    }
}
