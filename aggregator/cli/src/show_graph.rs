//! The cluster's graph for people. (step 15)

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hsw_types::WallTime;
use serde_json::Value;

use crate::offline::graph::Command;
use crate::show::{clean, list};

/// What `command` asks of the API's answer.
#[must_use]
pub fn text(command: &Command, answer: &Value) -> String {
    let labels: BTreeMap<&str, &Value> = list(answer, "vertices")
        .iter()
        .filter_map(|vertex| Some((vertex["id"].as_str()?, vertex)))
        .collect();
    let mut text = String::new();
    match command {
        Command::Changes => changes(&mut text, answer, &labels),
        Command::Landmarks(_) => landmarks(&mut text, answer, &labels),
        _ => edges(&mut text, answer, &labels),
    }
    text
}

/// Text from the network: control characters would drive the terminal.
fn label(labels: &BTreeMap<&str, &Value>, id: &Value) -> String {
    let id = id.as_str().unwrap_or_default();
    let label = labels.get(id).and_then(|vertex| vertex["label"].as_str());
    label
        .unwrap_or(id)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The edges that an incident is about; nothing where its root is a shard.
pub(crate) fn intrusion(text: &mut String, incident: &Value) {
    let edges = list(&incident["intrusion"], "edges");
    if edges.is_empty() {
        return;
    }
    text.push_str("\nAlong these ways\n");
    for edge in edges {
        let users: Vec<String> = list(edge, "users").iter().map(clean).collect();
        let as_whom = if users.is_empty() {
            String::new()
        } else {
            format!(" as {}", users.join(", "))
        };
        let (from, to) = (clean(&edge["from"]), clean(&edge["to"]));
        let kind = clean(&edge["kind"]).replace('_', " ");
        let _ = writeln!(text, "  {from} → {to} ({kind}){as_whom}");
    }
}

fn edges(text: &mut String, answer: &Value, labels: &BTreeMap<&str, &Value>) {
    let edges = list(answer, "edges");
    let _ = writeln!(text, "{} vertices, {} edges", labels.len(), edges.len());
    for edge in edges {
        let sessions = edge["sessions"].as_f64().unwrap_or(0.0);
        let _ = writeln!(
            text,
            "{:<32} → {:<24} {:<14} {sessions:>6.0} sessions",
            label(labels, &edge["from"]),
            label(labels, &edge["to"]),
            edge["kind"].as_str().unwrap_or_default().replace('_', " "),
        );
    }
}

fn changes(text: &mut String, answer: &Value, labels: &BTreeMap<&str, &Value>) {
    let changes = list(answer, "changes");
    if changes.is_empty() {
        let _ = writeln!(
            text,
            "no edge came or went since the aggregator has watched"
        );
    }
    for change in changes {
        let at = WallTime((change["at"].as_f64().unwrap_or(0.0) * 1e6) as i64).to_rfc3339();
        let word = if change["came"] == true {
            "came"
        } else {
            "went"
        };
        let _ = writeln!(
            text,
            "{at}  {word}  {} → {} ({}), {} distances are others",
            label(labels, &change["from"]),
            label(labels, &change["to"]),
            change["kind"]
                .as_str()
                .unwrap_or_default()
                .replace('_', " "),
            change["distances"],
        );
    }
}

fn landmarks(text: &mut String, answer: &Value, labels: &BTreeMap<&str, &Value>) {
    let landmarks = list(answer, "landmarks");
    let _ = writeln!(
        text,
        "{} landmarks tell {} vertices apart ({} are forced by vertices with the same neighbours)",
        landmarks.len(),
        labels.len(),
        answer["twin_bound"],
    );
    for id in landmarks {
        let _ = writeln!(text, "{}", label(labels, id));
    }
}
