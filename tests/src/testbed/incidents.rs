//! Reading incidents from the aggregator, and judging whether they are the right answer to a fault.
//!
//! The one place that knows the shape of `GET /api/v1/incidents`.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::http;

/// What we need to know of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// The shard that it blames.
    pub root: String,
    /// `open` or `closed`.
    pub state: String,
    /// When its evidence began, in unix seconds.
    pub started_at: f64,
    /// One sentence.
    pub summary: String,
}

#[derive(Deserialize)]
struct Page {
    incidents: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: serde_json::Value,
    root: Root,
    state: String,
    started_at: f64,
    #[serde(default)]
    summary: String,
}

#[derive(Deserialize)]
struct Root {
    #[serde(default)]
    shard: Option<String>,
}

/// Asks the aggregator for its incidents.
///
/// # Errors
/// When it does not answer or in another shape.
pub fn fetch(web: SocketAddr) -> Result<Vec<Incident>> {
    let answer = http::get(web, "/api/v1/incidents")?;
    if answer.status != 200 {
        bail!(
            "GET http://{web}/api/v1/incidents answered {}",
            answer.status
        );
    }
    parse(&answer.body)
}

fn parse(body: &str) -> Result<Vec<Incident>> {
    let page: Page = serde_json::from_str(body).context("read the list of incidents")?;
    let rows = page.incidents.into_iter().map(|row| Incident {
        id: row
            .id
            .as_str()
            .map_or_else(|| row.id.to_string(), str::to_owned),
        root: row.root.shard.unwrap_or_else(|| "unknown".to_owned()),
        state: row.state,
        started_at: row.started_at,
        summary: row.summary,
    });
    Ok(rows.collect())
}

/// What the incidents since a fault say about it.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// None yet.
    Nothing,
    /// Only ones that name the right shard; the first of them.
    Right(Incident),
    /// At least one that names another shard, or that should not be there at all.
    Wrong(Incident),
}

/// Judges the incidents that were not `known` before the fault. `expected` is the shard to be named, `None` for a harmless change.
#[must_use]
pub fn judge(known: &BTreeSet<String>, now: &[Incident], expected: Option<&str>) -> Verdict {
    let mut new: Vec<&Incident> = now.iter().filter(|it| !known.contains(&it.id)).collect();
    new.sort_by(|a, b| a.started_at.total_cmp(&b.started_at));
    if let Some(wrong) = new.iter().find(|it| expected != Some(it.root.as_str())) {
        return Verdict::Wrong((*wrong).clone());
    }
    new.first()
        .map_or(Verdict::Nothing, |first| Verdict::Right((*first).clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(id: &str, root: &str, started_at: f64) -> Incident {
        Incident {
            id: id.to_owned(),
            root: root.to_owned(),
            state: "open".to_owned(),
            started_at,
            summary: String::new(),
        }
    }

    #[test]
    fn ids_may_be_numbers_or_text_and_more_fields_may_come() {
        let body = r#"{"incidents":[{"id":7,"root":{"shard":"shard-2","node":"x"},"state":"open","started_at":12.5,"summary":"s"},
            {"id":"a","root":{},"state":"closed","started_at":9}],"next":null}"#;
        let found = parse(body).unwrap();
        assert_eq!(
            found[0],
            Incident {
                summary: "s".to_owned(),
                ..incident("7", "shard-2", 12.5)
            }
        );
        assert_eq!(
            (found[1].id.as_str(), found[1].root.as_str()),
            ("a", "unknown")
        );
        assert!(parse("<html>").is_err());
    }

    #[test]
    fn incidents_from_before_the_fault_do_not_count() {
        let known = BTreeSet::from(["1".to_owned()]);
        let list = [incident("1", "shard-4", 1.0)];
        assert_eq!(judge(&known, &list, Some("shard-2")), Verdict::Nothing);
    }

    #[test]
    fn one_wrong_shard_spoils_a_right_one() {
        let list = [incident("2", "shard-2", 5.0), incident("3", "shard-3", 6.0)];
        let known = BTreeSet::new();
        assert_eq!(
            judge(&known, &list, Some("shard-2")),
            Verdict::Wrong(list[1].clone())
        );
        assert_eq!(
            judge(&known, &list[..1], Some("shard-2")),
            Verdict::Right(list[0].clone())
        );
    }

    #[test]
    fn any_incident_is_wrong_for_a_harmless_change() {
        let list = [incident("2", "shard-2", 5.0)];
        assert_eq!(
            judge(&BTreeSet::new(), &list, None),
            Verdict::Wrong(list[0].clone())
        );
        assert_eq!(judge(&BTreeSet::new(), &[], None), Verdict::Nothing);
    }
}
