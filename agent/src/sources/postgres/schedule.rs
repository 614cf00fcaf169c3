//! When to send what: the pace of the rounds, the cost rule, the visits to other databases. (step 1)
//!
//! In: what answers cost. Out: what is due. Invariants: PG-18 a statement takes at most 1/200 of its interval. PG-19 rounds of
//! a slow database are spaced further apart, doubling to 10 s, and come back by halves. PG-20 databases change at most every 30 s.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::queries::{QUERIES, Query};

/// A vital round that takes longer than this is slow.
pub(super) const SLOW: Duration = Duration::from_millis(300);

const PACE_MAX_S: u64 = 10;
const COST_SHARE: u32 = 200;
const INTERVAL_MAX: Duration = Duration::from_secs(300);

/// Rounds begin this long after a full second: a jitter of the timer then never makes two in one window.
const PHASE: Duration = Duration::from_millis(100);
/// Time to the next round: shortly after the next full second of data time (PG-21).
pub(super) fn until_next_round() -> Duration {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let into = Duration::from_nanos(u64::from(since.subsec_nanos()));
    let second = Duration::from_secs(1);
    let wait = if into < PHASE {
        PHASE - into
    } else {
        second - into + PHASE
    };
    // A round that woke a moment early must not be followed by another in the same second.
    if wait < Duration::from_millis(20) {
        wait + second
    } else {
        wait
    }
}

/// Pace and due times.
#[derive(Debug)]
pub(super) struct Schedule {
    base_s: u64,
    pace_s: u64,
    /// Seconds between two looks at who holds sessions.
    edges_s: u64,
    vital_at: Instant,
    next: BTreeMap<&'static str, Instant>,
}

impl Schedule {
    /// The first round takes the vital statement; the others follow one per second, so that they do not come in a bunch.
    pub(super) fn new(base_s: u64, now: Instant) -> Self {
        let next = QUERIES
            .iter()
            .filter(|query| query.every_s > 0)
            .enumerate()
            .map(|(at, query)| (query.name, now + Duration::from_millis(at as u64 * 100)))
            .collect();
        Self {
            base_s,
            pace_s: base_s,
            edges_s: 0,
            vital_at: now,
            next,
        }
    }

    /// Whether the full round is due, rather than the light probe.
    pub(super) fn is_vital_due(&self, now: Instant) -> bool {
        now >= self.vital_at
    }

    /// A full round took `took`.
    pub(super) fn vital_took(&mut self, took: Duration, now: Instant) {
        self.pace_s = if took > SLOW {
            (self.pace_s * 2).min(PACE_MAX_S.max(self.base_s))
        } else {
            (self.pace_s / 2).max(self.base_s)
        };
        // A little early, so that a round due in a second is not put off to the one after.
        self.vital_at = now + Duration::from_millis(self.pace_s * 1000 - 500);
    }

    /// Whether the database is at its full pace.
    pub(super) fn is_at_ease(&self) -> bool {
        self.pace_s == self.base_s
    }

    /// Whether `query` is due.
    pub(super) fn is_due(&self, query: &Query, now: Instant) -> bool {
        self.next.get(query.name).is_some_and(|at| now >= *at)
    }

    /// How often who holds sessions is asked from now on; what is judged keeps its pace.
    pub(super) const fn pace(&mut self, edges_s: u64) {
        self.edges_s = edges_s;
    }

    /// `query` was answered after `cost`.
    pub(super) fn answered(&mut self, query: &Query, cost: Duration, now: Instant) {
        let every = match query.name {
            "edges" if self.edges_s > 0 => Duration::from_secs(self.edges_s),
            _ => query.every(),
        };
        let interval = every.max(cost * COST_SHARE).min(INTERVAL_MAX);
        let interval = interval.saturating_sub(Duration::from_millis(500));
        self.next.insert(query.name, now + interval);
    }

    /// `query` had no answer: not again for `pause`.
    pub(super) fn put_off(&mut self, query: &Query, pause: Duration, now: Instant) {
        self.next.insert(query.name, now + pause);
    }

    /// The next round asks for `name`, e.g. after a change of database.
    pub(super) fn ask_now(&mut self, name: &'static str, now: Instant) {
        self.next.insert(name, now);
    }
}

/// Which database to be in.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// User databases, biggest first; the first is home.
    pub(super) databases: Vec<String>,
    at: usize,
    since: Option<Instant>,
}

/// Databases visited; views of the rest are never seen, which the number of the databases' own totals still covers.
const VISITED_MAX: usize = 8;
const STAY_HOME: Duration = Duration::from_secs(120);
const STAY_AWAY: Duration = Duration::from_secs(30);

impl Rotation {
    /// From the list of databases, biggest first. `postgres` is for administration and counts only when it is alone.
    pub(super) fn new(mut databases: Vec<String>) -> Self {
        if databases.len() > 1 {
            databases.retain(|name| name != "postgres");
        }
        databases.truncate(VISITED_MAX);
        Self {
            databases,
            at: 0,
            since: None,
        }
    }

    /// The home database.
    pub(super) fn home(&self) -> Option<&String> {
        self.databases.first()
    }

    /// The database to connect to when none is connected.
    pub(super) fn current(&self) -> Option<&String> {
        if self.is_home() {
            self.home()
        } else {
            self.databases.get(self.away())
        }
    }

    fn is_home(&self) -> bool {
        self.at.is_multiple_of(2)
    }

    fn away(&self) -> usize {
        1 + (self.at / 2) % self.databases.len().saturating_sub(1).max(1)
    }

    /// A visit began.
    pub(super) fn arrived(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Whether it is time to move on (PG-20).
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let stay = if self.is_home() { STAY_HOME } else { STAY_AWAY };
        self.databases.len() > 1 && self.since.is_some_and(|since| now >= since + stay)
    }

    /// Moves on: home and away in turn.
    pub(super) fn advance(&mut self) {
        self.at = self.at.wrapping_add(1);
    }

    /// Back home, after the database visited cannot be entered.
    pub(super) fn go_home(&mut self) {
        if !self.is_home() {
            self.advance();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::postgres::queries::query;

    #[test]
    fn a_slow_database_is_asked_less_and_then_as_often_as_before() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1, now);
        let mut paces = Vec::new();
        for took_ms in [400, 400, 400, 400, 400, 10, 10, 10, 10] {
            schedule.vital_took(Duration::from_millis(took_ms), now);
            paces.push(schedule.pace_s);
        }
        assert_eq!(paces, [2, 4, 8, 10, 10, 5, 2, 1, 1]);
        assert!(schedule.is_at_ease());
    }

    #[test]
    fn an_expensive_statement_is_sent_so_seldom_that_it_takes_a_two_hundredth() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1, now);
        let statements = query("statements", 15).unwrap();
        schedule.answered(statements, Duration::from_millis(100), now);
        assert!(!schedule.is_due(statements, now + Duration::from_secs(19)));
        assert!(schedule.is_due(statements, now + Duration::from_secs(20)));
        schedule.answered(statements, Duration::from_millis(1), now);
        assert!(schedule.is_due(statements, now + Duration::from_secs(2)));
    }

    #[test]
    fn who_holds_sessions_is_asked_at_its_own_pace_and_what_is_judged_is_not() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1, now);
        for (name, edges_s, due_s) in [("edges", 2, 2), ("edges", 6, 6), ("replication", 6, 2)] {
            let query = query(name, 15).unwrap();
            schedule.pace(edges_s);
            schedule.answered(query, Duration::from_millis(1), now);
            let due = Duration::from_secs(due_s);
            assert!(
                !schedule.is_due(query, now + due - Duration::from_secs(1)),
                "{name}"
            );
            assert!(schedule.is_due(query, now + due), "{name}");
        }
    }

    #[test]
    fn visits_go_home_after_each_stay_and_reach_every_database() {
        let now = Instant::now();
        let mut rotation = Rotation::new(["big", "postgres", "b", "c"].map(str::to_owned).to_vec());
        let mut visited = Vec::new();
        for _ in 0..5 {
            visited.push(rotation.current().unwrap().clone());
            rotation.arrived(now);
            assert!(!rotation.is_due(now + Duration::from_secs(29)));
            assert!(rotation.is_due(now + Duration::from_secs(121)));
            rotation.advance();
        }
        assert_eq!(visited, ["big", "b", "big", "c", "big"]);
        let mut single = Rotation::new(vec!["postgres".to_owned()]);
        single.arrived(now);
        assert_eq!(single.home().unwrap(), "postgres");
        assert!(!single.is_due(now + Duration::from_secs(1000)));
    }
}
