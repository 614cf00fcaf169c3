//! Who talks to this database, and whom it talks to. (step 1)
//!
//! In: grouped sessions, replicas, foreign servers. Out: `edge.*` readings. Invariants: PG-11 an edge that ends says zero
//! once. PG-12 at most `n_edges_max` edges of a kind: the largest, and a quarter of the places by turns for all others,
//! since who has just come has one session; sessions of the rest are counted and said. PG-13 no digit of an
//! application name leaves the host, so that process ids and tenants in it do not make ever new edges.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{EdgeKind, EdgeSubject, Reading, SeriesKey};

/// Longest application name kept, in characters.
const APPLICATION_CHARS_MAX: usize = 40;

/// Of the places, one in so many goes to edges by turns where there are more than places.
const TURNS_SHARE: usize = 4;

/// What is known of one edge now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct State {
    /// Sessions on it.
    pub(super) sessions: f64,
    /// Sessions that run a statement, where that means something.
    pub(super) active: Option<f64>,
    /// Bytes the peer is behind, where that means something.
    pub(super) lag_bytes: Option<f64>,
}

impl State {
    /// Of an edge that is there or not, and carries no sessions of its own.
    pub(super) fn held() -> Self {
        Self {
            sessions: 1.0,
            ..Self::default()
        }
    }
}

#[derive(Debug)]
struct Known {
    sessions: Arc<SeriesKey>,
    active: Arc<SeriesKey>,
    lag_bytes: Arc<SeriesKey>,
    had_active: bool,
    seen: bool,
}

impl Known {
    fn new(edge: &EdgeSubject) -> Self {
        let key = |metric| Arc::new(SeriesKey::edge(metric, edge.clone()));
        Self {
            sessions: key("edge.sessions"),
            active: key("edge.active"),
            lag_bytes: key("edge.lag_bytes"),
            had_active: false,
            seen: false,
        }
    }
}

/// The edges of one kind.
#[derive(Debug, Default)]
pub(super) struct Edges {
    known: BTreeMap<EdgeSubject, Known>,
    /// Where the turns of the smaller ones go on.
    turn: usize,
}

impl Edges {
    /// Takes the present edges, adds their readings to `out`; those that are gone say zero once. Returns the sessions
    /// left out because there are more than `n_max` edges: the smallest, by turns (ties by the edge's order).
    pub(super) fn update(
        &mut self,
        now: BTreeMap<EdgeSubject, State>,
        n_max: usize,
        out: &mut Vec<Reading>,
    ) -> u64 {
        let mut left_out = 0.0;
        let mut present: Vec<_> = now.into_iter().collect();
        if present.len() > n_max {
            present.sort_by(|a, b| b.1.sessions.total_cmp(&a.1.sessions));
            // The smaller ones by turns.
            let n_turns = n_max / TURNS_SHARE;
            let rest = &mut present[n_max - n_turns..];
            rest.rotate_left(self.turn % rest.len());
            self.turn = self.turn.wrapping_add(n_turns);
            left_out = present
                .drain(n_max..)
                .map(|(_, state)| state.sessions)
                .sum();
        }
        for known in self.known.values_mut() {
            known.seen = false;
        }
        for (edge, state) in present {
            if !self.known.contains_key(&edge) {
                let fresh = Known::new(&edge);
                self.known.insert(edge.clone(), fresh);
            }
            let Some(known) = self.known.get_mut(&edge) else {
                continue;
            };
            known.seen = true;
            out.push(Reading::gauge(&known.sessions, state.sessions));
            if let Some(active) = state.active {
                known.had_active = true;
                out.push(Reading::gauge(&known.active, active));
            }
            if let Some(lag) = state.lag_bytes {
                out.push(Reading::gauge(&known.lag_bytes, lag));
            }
        }
        self.known.retain(|_, known| {
            if !known.seen {
                out.push(Reading::gauge(&known.sessions, 0.0));
                if known.had_active {
                    out.push(Reading::gauge(&known.active, 0.0));
                }
            }
            known.seen
        });
        left_out as u64
    }
}

/// An application name with every run of digits as one `#`, cut to 40 characters.
pub(super) fn mask_application(name: &str) -> String {
    let mut out = String::with_capacity(name.len().min(APPLICATION_CHARS_MAX));
    let mut n = 0;
    for c in name.chars() {
        let is_digit = c.is_numeric() || c == '#';
        if is_digit && out.ends_with('#') {
            continue;
        }
        if n == APPLICATION_CHARS_MAX {
            break;
        }
        out.push(if is_digit { '#' } else { c });
        n += 1;
    }
    out
}

/// An edge of `kind`; an empty peer is the Unix socket.
pub(super) fn edge(
    kind: EdgeKind,
    peer: &str,
    port: u16,
    user: &str,
    application: &str,
    database: &str,
) -> EdgeSubject {
    EdgeSubject {
        kind,
        peer: if peer.is_empty() || peer.starts_with('/') {
            "local".to_owned()
        } else {
            peer.to_owned()
        },
        port,
        user: user.to_owned(),
        application: mask_application(application),
        database: database.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::Value;

    fn client(peer: &str) -> EdgeSubject {
        edge(EdgeKind::Client, peer, 0, "app", "web-17", "shop")
    }

    fn sessions(sessions: f64) -> State {
        State {
            sessions,
            active: Some(0.0),
            lag_bytes: None,
        }
    }

    #[test]
    fn digits_of_application_names_are_masked_and_long_names_cut() {
        assert_eq!(mask_application("worker-1234/7b"), "worker-#/#b");
        assert_eq!(mask_application("w####-1"), "w#-#");
        assert_eq!(mask_application(&"é".repeat(60)).chars().count(), 40);
        assert_eq!(mask_application(""), "");
        assert_eq!(client("").peer, "local");
    }

    #[test]
    fn an_edge_that_ends_says_zero_once() {
        let mut edges = Edges::default();
        let mut out = Vec::new();
        edges.update([(client("10.0.0.1"), sessions(3.0))].into(), 10, &mut out);
        assert_eq!(out.len(), 2);
        out.clear();
        edges.update(BTreeMap::new(), 10, &mut out);
        assert_eq!(
            out.iter().map(|r| r.value).collect::<Vec<_>>(),
            [Value::Gauge(0.0), Value::Gauge(0.0)]
        );
        out.clear();
        edges.update(BTreeMap::new(), 10, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn beyond_the_limit_the_smallest_are_left_out_and_counted() {
        let mut edges = Edges::default();
        let mut out = Vec::new();
        let now = [("a", 1.0), ("b", 5.0), ("c", 2.0)]
            .map(|(peer, n)| (client(peer), sessions(n)))
            .into();
        assert_eq!(edges.update(now, 1, &mut out), 3);
        assert_eq!(out[0].value, Value::Gauge(5.0));
    }

    #[test]
    fn beyond_the_limit_a_newcomer_with_one_session_is_told_within_a_few_looks() {
        let mut edges = Edges::default();
        let now = |n: usize| (0..n).map(|k| (client(&format!("10.0.0.{k:03}")), sessions(5.0)));
        let mut out = Vec::new();
        edges.update(now(12).collect(), 8, &mut out);
        let newcomer = (client("10.9.9.9"), sessions(1.0));
        // Seven take two places by turns.
        let is_told = (0..4).any(|_| {
            out.clear();
            edges.update(now(12).chain([newcomer.clone()]).collect(), 8, &mut out);
            let told = |reading: &Reading| {
                reading.key.to_string().contains("10.9.9.9") && reading.value == Value::Gauge(1.0)
            };
            out.iter().any(told)
        });
        assert!(is_told);
    }
}
