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
    text.push_str("\nWhy this is not to be expected\n");
    for reason in list(&incident["intrusion"], "reasons") {
        let _ = writeln!(text, "  {}", clean(reason));
    }
}

fn edges(text: &mut String, answer: &Value, labels: &BTreeMap<&str, &Value>) {
    let edges = list(answer, "edges");
    let _ = writeln!(text, "{} vertices, {} edges", labels.len(), edges.len());
    let _ = writeln!(
        text,
        "{:<32}   {:<24} {:<14} {:>8} {:>6} {:>7} {:>9} {:>9} {:>9}  last minute",
        "from", "to", "kind", "sessions", "active", "rtt ms", "sent/s", "recv/s", "lag"
    );
    for edge in edges {
        let number = |name: &str| edge[name].as_f64();
        let _ = writeln!(
            text,
            "{:<32} → {:<24} {:<14} {:>8.0} {:>6} {:>7} {:>9} {:>9} {:>9}  {}",
            label(labels, &edge["from"]),
            label(labels, &edge["to"]),
            edge["kind"].as_str().unwrap_or_default().replace('_', " "),
            number("sessions").unwrap_or(0.0),
            plain(number("active"), 0),
            plain(number("rtt_ms"), 2),
            bytes(number("tx_bytes_per_s")),
            bytes(number("rx_bytes_per_s")),
            bytes(number("lag_bytes")),
            trend(&edge["history"]["sessions"]),
        );
    }
}

/// A number, or a dash where nobody says.
fn plain(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// Bytes in their usual unit, powers of 1,000.
fn bytes(value: Option<f64>) -> String {
    let Some(mut value) = value else {
        return plain(None, 0);
    };
    for unit in ["B", "kB", "MB", "GB"] {
        if value.abs() < 1_000.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1_000.0;
    }
    format!("{value:.1} TB")
}

/// A step of history as one of eight heights between nothing and the most; a blank where nobody said.
fn trend(steps: &Value) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let steps = steps.as_array().map_or(&[][..], Vec::as_slice);
    let most = steps.iter().filter_map(Value::as_f64).fold(0.0, f64::max);
    let height = |step: &Value| {
        step.as_f64().map_or(' ', |value| {
            let share = if most > 0.0 { value / most } else { 0.0 };
            HEIGHTS[((share * 7.0).round() as usize).min(7)]
        })
    };
    steps.iter().map(height).collect()
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
        "{} landmarks {} all vertices of one kind and shard apart that do not have the same neighbours: {} of {} stand alone, {} in {} classes stay together (to tell those apart would cost {} landmarks; without kinds and shards {})",
        landmarks.len(),
        if answer["resolved"] == false {
            "do not yet tell"
        } else {
            "tell"
        },
        answer["alone"],
        answer["with_edges"],
        answer["twins"],
        answer["twin_classes"],
        answer["twin_bound"],
        answer["twin_bound_uncoloured"],
    );
    for id in landmarks {
        let _ = writeln!(text, "{}", label(labels, id));
    }
    for (field, said) in [
        (
            "waiting",
            "clients are suspected beyond the incidents that may be open: end or accept some",
        ),
        (
            "left_out",
            "edges, accesses and grants are beyond the limits: nothing is known of them",
        ),
    ] {
        if let Some(n) = answer[field].as_u64().filter(|n| *n > 0) {
            let _ = writeln!(text, "{n} {said}");
        }
    }
    let nodes = list(answer, "landmark_nodes").iter();
    let nodes: Vec<&str> = nodes.filter_map(Value::as_str).collect();
    if !nodes.is_empty() {
        let _ = writeln!(
            text,
            "agents that look at connections and ship more often: {}",
            nodes.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_edge_is_shown_with_its_rates_and_what_nobody_says_is_a_dash() {
        let answer = json!({
            "vertices": [{"id": "client:x/web", "label": "web"}, {"id": "node:a", "label": "a"}],
            "edges": [{
                "from": "client:x/web", "to": "node:a", "kind": "client", "sessions": 7.0, "active": 2.0,
                "rtt_ms": 0.456, "tx_bytes_per_s": 12_345.0, "rx_bytes_per_s": null,
                "history": {"sessions": [null, 0.0, 3.5, 7.0]},
            }],
        });
        let shown = text(&Command::Show, &answer);
        let line: Vec<&str> = shown
            .lines()
            .last()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(
            line,
            [
                "web",
                "→",
                "a",
                "client",
                "7",
                "2",
                "0.46",
                "12.3",
                "kB",
                "–",
                "–",
                "▁▅█"
            ]
        );
    }
}
