//! Tables and sentences for people, from the API's JSON; readable at 80 columns. (step 15)

use std::fmt::Write as _;

use hsw_types::WallTime;
use serde_json::Value;

/// Colours, when the output is a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn health(self, health: &str, text: &str) -> String {
        match health {
            "bad" | "open" => self.with("1;31", text),
            "troubled" => self.with("33", text),
            "well" => self.with("32", text),
            _ => self.with("2", text),
        }
    }
}

/// The list at `name`, empty when there is none.
#[must_use]
pub fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

/// Text from the network: control characters would drive the terminal.
pub(crate) fn clean(value: &Value) -> String {
    let text = value.as_str().unwrap_or("–");
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// `hsw status`.
#[must_use]
pub fn status(shards: &Value, open: &Value, paint: Paint) -> String {
    let mut text = String::new();
    let rows = list(shards, "shards");
    let count = |health: &str| rows.iter().filter(|row| row["health"] == health).count();
    let counts: Vec<_> = ["bad", "troubled", "well", "unknown"]
        .into_iter()
        .filter(|health| count(health) > 0)
        .map(|health| paint.health(health, &format!("{} {health}", count(health))))
        .collect();
    let counts = if counts.is_empty() {
        "none known yet".to_owned()
    } else {
        counts.join(", ")
    };
    let _ = writeln!(
        text,
        "cluster {}: {} shards ({counts})",
        clean(&shards["cluster"]),
        rows.len()
    );
    let unready = list(shards, "unready");
    if unready.is_empty() {
        let _ = writeln!(text, "ready: detection works");
    } else {
        let _ = writeln!(text, "{}", paint.with("33", "not ready:"));
        for reason in unready {
            let _ = writeln!(text, "  - {}", clean(reason));
        }
    }
    let incidents = list(open, "incidents");
    if incidents.is_empty() {
        let _ = writeln!(text, "no open incident");
        return text;
    }
    let now = number(&open["now"]);
    for one in incidents {
        let headline = paint.health(
            "bad",
            &format!("open since {}", duration(now - number(&one["started_at"]))),
        );
        let _ = writeln!(text, "\n{headline}  {}", clean(&one["id"]));
        wrap(&mut text, "  ", &clean(&one["summary"]));
        for evidence in list(one, "evidence").iter().take(3) {
            wrap(&mut text, "  - ", &clean(&evidence["sentence"]));
        }
    }
    let _ = writeln!(text, "\nMore: hsw incident ID");
    text
}

/// `hsw incidents`.
#[must_use]
pub fn incidents(answer: &Value, all: bool, paint: Paint) -> String {
    let rows = list(answer, "incidents");
    if rows.is_empty() {
        let tail = if all {
            "no incident is kept\n"
        } else {
            "no open incident (closed ones: --all)\n"
        };
        return tail.to_owned();
    }
    let now = number(&answer["now"]);
    let mut text = String::new();
    for one in rows {
        let state = clean(&one["state"]);
        let began = duration(now - number(&one["started_at"]));
        let lasted = one["ended_at"].as_f64().map_or_else(String::new, |ended| {
            format!(", lasted {}", duration(ended - number(&one["started_at"])))
        });
        let silenced = if one["silenced_by"].is_null() {
            ""
        } else {
            ", silenced"
        };
        let head = format!("{state}, began {began} ago{lasted}{silenced}");
        let _ = writeln!(
            text,
            "{}  {}",
            clean(&one["id"]),
            paint.health(&state, &head)
        );
        wrap(&mut text, "  ", &clean(&one["summary"]));
    }
    text
}

/// `hsw incident ID`.
#[must_use]
pub fn incident(one: &Value, paint: Paint) -> String {
    let mut text = String::new();
    let state = clean(&one["state"]);
    wrap(&mut text, "", &clean(&one["summary"]));
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<11}{value}");
    };
    fact("id", clean(&one["id"]));
    fact("state", paint.health(&state, &state));
    fact(
        "root",
        format!(
            "{} (node {})",
            clean(&one["root"]["shard"]),
            clean(&one["root"]["node"])
        ),
    );
    if let Some(client) = one["intrusion"]["client"].as_str() {
        fact("who", client.to_owned());
    }
    fact("began", utc(number(&one["started_at"])));
    let after_s = number(&one["raised_at"]) - number(&one["started_at"]);
    let noticed = if after_s < 1.0 {
        "at once".to_owned()
    } else {
        format!("after {}", duration(after_s))
    };
    fact("noticed", noticed);
    if let Some(ended) = one["ended_at"].as_f64() {
        fact(
            "ended",
            format!(
                "{}, after {}",
                utc(ended),
                duration(ended - number(&one["started_at"]))
            ),
        );
    }
    fact("severity", clean(&one["severity"]));
    fact(
        "confidence",
        format!("{:.0} %", number(&one["confidence"]) * 100.0),
    );
    text.push_str("\nEvidence, heaviest first\n");
    for evidence in list(one, "evidence") {
        let weight = format!("  {:>3.0} %  ", number(&evidence["weight"]) * 100.0);
        wrap(&mut text, &weight, &clean(&evidence["sentence"]));
    }
    crate::show_shards::detectors(&mut text, &one["judgement"]);
    crate::show_graph::intrusion(&mut text, one);
    let affected = list(one, "affected");
    if !affected.is_empty() {
        text.push_str("\nAlso affected\n");
    }
    for victim in affected {
        let line = format!(
            "{}: {}",
            clean(&victim["shard"]),
            clean(&victim["evidence"]["sentence"])
        );
        wrap(&mut text, "  ", &line);
    }
    log_lines(&mut text, one);
    text
}

fn log_lines(text: &mut String, one: &Value) {
    let logs = list(one, "log_samples");
    if !logs.is_empty() {
        text.push_str("\nLog of the root (masked)\n");
    }
    for line in logs {
        let at = utc(number(&line["at"]));
        let said = format!(
            "{} {} {} {}",
            &at[11..],
            clean(&line["severity"]),
            clean(&line["code"]),
            clean(&line["text"])
        );
        wrap(text, "  ", &said);
    }
}

/// `hsw silence list`.
#[must_use]
pub fn silences(answer: &Value) -> String {
    let now = number(&answer["now"]);
    let mut text = String::new();
    for one in list(answer, "silences") {
        let matchers: Vec<_> = list(one, "matchers")
            .iter()
            .map(|m| {
                format!(
                    "{}{}\"{}\"",
                    clean(&m["name"]),
                    clean(&m["op"]),
                    clean(&m["value"])
                )
            })
            .collect();
        let left = duration(number(&one["expires_at"]) - now);
        let _ = writeln!(
            text,
            "{:<4} ends in {left}  {}",
            one["id"].to_string(),
            matchers.join(" ")
        );
        let by = one["author"].as_str().filter(|author| !author.is_empty());
        let by = by.map_or_else(String::new, |_| format!(" ({})", clean(&one["author"])));
        wrap(
            &mut text,
            "     ",
            &format!("{}{by}", clean(&one["reason"])),
        );
    }
    if text.is_empty() {
        text.push_str("no silence is in force\n");
    }
    text
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// `640 ms`, `12 s`, `3 min`, `2 h 5 min`, `4 d`.
pub(crate) fn duration(seconds: f64) -> String {
    let t = seconds.max(0.0);
    match t {
        t if t < 1.0 => format!("{:.0} ms", t * 1e3),
        t if t < 100.0 => format!("{t:.0} s"),
        t if t < 3_600.0 => format!("{:.0} min", t / 60.0),
        t if t < 172_800.0 => format!(
            "{:.0} h {:.0} min",
            (t / 3_600.0).floor(),
            (t % 3_600.0 / 60.0).floor()
        ),
        t => format!("{:.0} d", t / 86_400.0),
    }
}

/// `2026-11-20 18:10:21 UTC`.
pub(crate) fn utc(unix: f64) -> String {
    let written = WallTime::from_unix_seconds(unix as i64).to_rfc3339();
    format!("{} UTC", written[..19].replace('T', " "))
}

/// Words broken at 80 columns; further lines are indented as deep as `lead` is long.
pub(crate) fn wrap(text: &mut String, lead: &str, words: &str) {
    let indent = lead.chars().count();
    let mut width = indent;
    text.push_str(lead);
    for (at, word) in words.split_whitespace().enumerate() {
        let long = word.chars().count();
        if at > 0 && width + 1 + long > 80 {
            let _ = write!(text, "\n{:indent$}", "");
            width = indent;
        } else if at > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += long;
    }
    text.push('\n');
}

/// A table whose second column wears the health's colour.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, health: &str, cells: Vec<String>) {
        self.rows.push((health.to_owned(), cells));
    }

    pub(crate) fn text(&self, paint: Paint, when_empty: &str) -> String {
        if self.rows.is_empty() {
            return when_empty.to_owned();
        }
        let mut widths: Vec<_> = self.head.iter().map(|cell| cell.chars().count()).collect();
        for (_, cells) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let mut line = |cells: &[String], health: Option<&str>| {
            let mut made = String::new();
            for (at, cell) in cells.iter().enumerate() {
                let padded = format!("{cell:<width$}  ", width = widths[at]);
                match health {
                    Some(health) if at == 1 => made.push_str(&paint.health(health, &padded)),
                    _ => made.push_str(&padded),
                }
            }
            text.push_str(made.trim_end());
            text.push('\n');
        };
        line(&self.head, None);
        for (health, cells) in &self.rows {
            line(cells, Some(health));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn one() -> Value {
        json!({
            "id": "9f3c2ab177d04e15", "state": "open", "severity": "critical",
            "root": { "shard": "shard-3", "node": "shard-3-a" },
            "started_at": 1_700_000_000, "raised_at": 1_700_000_006, "ended_at": null, "confidence": 0.94,
            "summary": "shard-3: 7 sessions wait for a lock, commits fell from 30 to 1 per second since 22:13:20",
            "evidence": [{ "weight": 0.27, "sentence": "client sessions waiting for a lock: 7 (usually 0; siblings 0)" }],
            "affected": [{ "shard": "router", "evidence": { "sentence": "age of the longest running statement: 184 s (usually 0.3)" } }],
            "log_samples": [{ "at": 1_700_000_001.5, "severity": "LOG", "code": "", "text": "process ? \u{1b}[31mstill waiting" }],
            "silenced_by": null,
        })
    }

    #[test]
    fn an_incident_reads_well_at_80_columns_and_cannot_drive_the_terminal() {
        let text = incident(&one(), Paint(false));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
        expect![[r#"
            shard-3: 7 sessions wait for a lock, commits fell from 30 to 1 per second since
            22:13:20
              id         9f3c2ab177d04e15
              state      open
              root       shard-3 (node shard-3-a)
              began      2023-11-14 22:13:20 UTC
              noticed    after 6 s
              severity   critical
              confidence 94 %

            Evidence, heaviest first
               27 %  client sessions waiting for a lock: 7 (usually 0; siblings 0)

            Also affected
              router: age of the longest running statement: 184 s (usually 0.3)

            Log of the root (masked)
              22:13:21 UTC LOG process ? [31mstill waiting
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn the_status_says_what_is_open_and_what_is_missing() {
        let shards = json!({
            "cluster": "orders", "unready": ["warming up: shard-4 has 12 s of data, needs 30 s"],
            "shards": [{ "shard": "a", "health": "bad" }, { "shard": "b", "health": "well" }],
        });
        let open = json!({ "now": 1_700_000_200.0, "incidents": [one()] });
        expect![[r#"
            cluster orders: 2 shards (1 bad, 1 well)
            not ready:
              - warming up: shard-4 has 12 s of data, needs 30 s

            open since 3 min  9f3c2ab177d04e15
              shard-3: 7 sessions wait for a lock, commits fell from 30 to 1 per second
              since 22:13:20
              - client sessions waiting for a lock: 7 (usually 0; siblings 0)

            More: hsw incident ID
        "#]]
        .assert_eq(&status(&shards, &open, Paint(false)));
        assert!(status(&shards, &open, Paint(true)).contains("\u{1b}[1;31m1 bad\u{1b}[0m"));
    }
}
