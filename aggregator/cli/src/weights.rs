//! `hsw weights`: what each detector counts for, and whether others would do better. (step 15)
//!
//! In: words. Out: the API's answer, the same for people. Does not: compute anything.

use std::fmt::Write as _;

use clap::{Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::Api;
use crate::show::{clean, list};

/// Weights.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Those in force, those in the shadow, and how good they are on the newest labels.
    Show,
    /// Makes a version from the labels so far; it runs in the shadow until later labels have judged it.
    Propose,
    /// All versions.
    History,
    /// Says whether an incident was one: the detectors' weights learn from it.
    Label {
        /// 16 hex digits, as `hsw incidents` shows.
        incident: String,
        /// What it was.
        word: Word,
    },
}

/// An operator's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Word {
    /// Something was wrong with the shard.
    Sick,
    /// It was a false alarm.
    FalseAlarm,
}

/// Asks the API; its answer, and the same for people.
///
/// # Errors
/// One line that names the remedy.
pub async fn ask(command: &Command, api: &Api) -> anyhow::Result<(Value, String)> {
    match command {
        Command::Show | Command::History => {
            let answer = api.ask(Method::GET, "weights", None).await?;
            let text = if matches!(command, Command::Show) {
                show(&answer)
            } else {
                history(&answer)
            };
            Ok((answer, text))
        }
        Command::Propose => {
            let answer = api
                .ask(Method::POST, "weights/propose", Some(&json!({})))
                .await?;
            let text = format!(
                "version {} runs in the shadow: the next labels judge it\n",
                answer["version"]
            );
            Ok((answer, text))
        }
        Command::Label { incident, word } => {
            let is_sick = *word == Word::Sick;
            let body = json!({ "incident": incident, "is_sick": is_sick });
            api.ask(Method::POST, "weights/label", Some(&body)).await?;
            let text = format!(
                "incident {incident} is labelled {}\n",
                if is_sick { "sick" } else { "a false alarm" }
            );
            Ok((json!({ "labelled": incident, "is_sick": is_sick }), text))
        }
    }
}

/// The versions that matter, side by side.
fn show(answer: &Value) -> String {
    let mut text = String::new();
    for version in list(answer, "versions") {
        let state = clean(&version["state"]);
        let report = match state.as_str() {
            "active" => &answer["report"],
            "shadow" => &answer["shadow_report"],
            _ => continue,
        };
        let _ = writeln!(
            text,
            "version {} ({state}), from {}",
            version["version"],
            clean(&version["origin"])
        );
        let mut weights: Vec<(String, f64)> = version["weights"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, weight)| (name.clone(), weight.as_f64().unwrap_or(0.0)))
            .collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        for (name, weight) in weights {
            let _ = writeln!(text, "  {name:<14} {weight:.3}");
        }
        let _ = writeln!(text, "  {}", judged(report));
    }
    text
}

fn judged(report: &Value) -> String {
    let n = report["n"].as_u64().unwrap_or(0);
    if n == 0 {
        return "no labels yet: `hsw weights label INCIDENT sick|false-alarm`".to_owned();
    }
    let of = |key: &str| {
        report[key]
            .as_f64()
            .map_or_else(|| "–".to_owned(), |x| format!("{x:.3}"))
    };
    format!(
        "on {n} labels ({} sick): average precision {}, calibration error {}, log loss {}, precision {}, told {}, drift {}",
        report["n_sick"],
        of("average_precision"),
        of("calibration_error"),
        of("log_loss"),
        of("precision"),
        of("alert_load"),
        of("drift"),
    )
}

/// One line a version.
fn history(answer: &Value) -> String {
    let mut text = String::new();
    for version in list(answer, "versions") {
        let _ = writeln!(
            text,
            "{:>4}  {:<12} from {:<9} {} labels",
            version["version"].to_string(),
            clean(&version["state"]).replace('_', " "),
            clean(&version["origin"]),
            version["n_labels"],
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_with_their_weights_and_how_good_they_are() {
        let answer = json!({
            "active": 1, "n_labels": 12,
            "report": { "n": 12, "n_sick": 4, "average_precision": 0.75, "calibration_error": 0.1, "log_loss": 0.4,
                        "precision": null, "alert_load": 0.5, "drift": 0.0 },
            "shadow_report": { "n": 0 },
            "versions": [
                { "version": 1, "at": 5, "origin": "operator", "state": "active", "n_labels": 0,
                  "weights": { "siblings": 0.6, "own_past": 0.4 } },
                { "version": 2, "at": 9, "origin": "labels", "state": "shadow", "n_labels": 12, "weights": { "siblings": 1.0 } },
                { "version": 3, "at": 9, "origin": "labels", "state": "rolled_back", "n_labels": 12, "weights": {} },
            ],
        });
        let text = show(&answer);
        assert!(text.starts_with("version 1 (active), from operator\n  siblings       0.600\n  own_past       0.400\n"), "{text}");
        assert!(
            text.contains("on 12 labels (4 sick): average precision 0.750")
                && text.contains("precision –, told 0.500")
        );
        assert!(text.contains("no labels yet") && !text.contains("version 3"));
        assert!(
            history(&answer).contains("   3  rolled back  from labels    12 labels"),
            "{}",
            history(&answer)
        );
    }
}
