//! Reading incidents from the aggregator, and judging whether they are the right answer to a fault.
//!
//! The one place that knows the shape of `GET /api/v1/incidents`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::http;
use super::stop::Stop;

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
    /// Who acts, where its root is an edge; a vertex of the graph.
    pub client: Option<String>,
    /// Its edges: from whom, to whom.
    pub edges: Vec<(String, String)>,
}

/// The right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No incident.
    Nothing,
    /// One about this shard.
    Shard(String),
    /// One about this client, with its edge to this vertex.
    Edge {
        /// Vertex of who acts.
        client: String,
        /// Vertex it must not talk to.
        to: String,
    },
}

impl Expected {
    /// Whether this incident is it.
    #[must_use]
    pub fn is(&self, incident: &Incident) -> bool {
        match self {
            Self::Nothing => false,
            Self::Shard(shard) => incident.client.is_none() && incident.root == *shard,
            Self::Edge { client, to } => {
                let is_named = |(from, other): &(String, String)| from == client && other == to;
                incident.client.as_ref() == Some(client) && incident.edges.iter().any(is_named)
            }
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("no incident"),
            Self::Shard(shard) => f.write_str(shard),
            Self::Edge { client, to } => write!(f, "{client} → {to}"),
        }
    }
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
    #[serde(default)]
    intrusion: Option<Intrusion>,
}

#[derive(Deserialize)]
struct Intrusion {
    client: String,
    edges: Vec<Ends>,
}

#[derive(Deserialize)]
struct Ends {
    from: String,
    to: String,
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
        client: row.intrusion.as_ref().map(|it| it.client.clone()),
        edges: row.intrusion.map_or_else(Vec::new, |it| {
            it.edges.into_iter().map(|e| (e.from, e.to)).collect()
        }),
    });
    Ok(rows.collect())
}

/// Waits until the aggregator judges whether a new edge was to be expected.
///
/// # Errors
/// When it takes longer than `patience`, or `stop` is set.
pub fn wait_judged(web: SocketAddr, stop: &Stop, patience: Duration) -> Result<()> {
    #[derive(Deserialize)]
    struct Graph {
        judged_from: Option<f64>,
    }
    let until = Instant::now() + patience;
    loop {
        let answer = http::get(web, "/api/v1/graph")?;
        let graph: Graph = serde_json::from_str(&answer.body).context("read the graph")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |now| now.as_secs_f64());
        // A look of the graph later.
        if graph.judged_from.is_some_and(|from| from + 5.0 < now) {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!(
                "who talks to whom is not judged within {} s",
                patience.as_secs()
            );
        }
        if !stop.sleep(Duration::from_secs(1)) {
            bail!("stopped while waiting");
        }
    }
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

/// Judges the incidents that were not `known` before the fault.
#[must_use]
pub fn judge(known: &BTreeSet<String>, now: &[Incident], expected: &Expected) -> Verdict {
    let mut new: Vec<&Incident> = now.iter().filter(|it| !known.contains(&it.id)).collect();
    new.sort_by(|a, b| a.started_at.total_cmp(&b.started_at));
    if let Some(wrong) = new.iter().find(|it| !expected.is(it)) {
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
            client: None,
            edges: Vec::new(),
        }
    }

    fn shard(name: &str) -> Expected {
        Expected::Shard(name.to_owned())
    }

    #[test]
    fn an_intrusion_is_right_when_it_names_the_client_and_the_edge() {
        let body = r#"{"incidents":[{"id":"7","root":{"shard":"shard-2"},"state":"open","started_at":1,"summary":"s",
            "intrusion":{"pattern":"fan_out","client":"client:h/x","edges":[{"from":"client:h/x","to":"node:shard-2-a"}]}}]}"#;
        let found = parse(body).unwrap();
        let edge = |client: &str, to: &str| Expected::Edge {
            client: client.to_owned(),
            to: to.to_owned(),
        };
        assert!(edge("client:h/x", "node:shard-2-a").is(&found[0]));
        for wrong in [
            edge("client:h/y", "node:shard-2-a"),
            edge("client:h/x", "node:shard-3-a"),
            shard("shard-2"),
        ] {
            assert!(!wrong.is(&found[0]), "{wrong}");
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
        assert_eq!(judge(&known, &list, &shard("shard-2")), Verdict::Nothing);
    }

    #[test]
    fn one_wrong_shard_spoils_a_right_one() {
        let list = [incident("2", "shard-2", 5.0), incident("3", "shard-3", 6.0)];
        let known = BTreeSet::new();
        assert_eq!(
            judge(&known, &list, &shard("shard-2")),
            Verdict::Wrong(list[1].clone())
        );
        assert_eq!(
            judge(&known, &list[..1], &shard("shard-2")),
            Verdict::Right(list[0].clone())
        );
    }

    #[test]
    fn any_incident_is_wrong_for_a_harmless_change() {
        let list = [incident("2", "shard-2", 5.0)];
        assert_eq!(
            judge(&BTreeSet::new(), &list, &Expected::Nothing),
            Verdict::Wrong(list[0].clone())
        );
        assert_eq!(
            judge(&BTreeSet::new(), &[], &Expected::Nothing),
            Verdict::Nothing
        );
    }
}
