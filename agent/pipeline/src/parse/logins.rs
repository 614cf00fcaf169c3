//! Who was refused a login, as edges from the client to this node. (step 2)
//!
//! In: [`LogRecord`]s. Out: `edge.refused_logins` per client and role, once a second. Invariant: LO-1 names of clients and roles
//! come from the server's own fields or its untranslated quotes, never from free text of a client.
//! Limits: [`N_EDGES_MAX`] pairs of client and role; refusals of the rest are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use hsw_types::{EdgeKind, EdgeSubject, Reading, SeriesKey, Value};

use super::record::LogRecord;

/// Pairs of client and role told apart: a scanner tries many names, a mistaken service one.
const N_EDGES_MAX: usize = 100;
/// Longest name kept, in bytes (PostgreSQL's own limit for roles).
const NAME_BYTES_MAX: usize = 63;

/// Refused logins since the last tick.
#[derive(Debug, Default)]
pub(super) struct RefusedLogins {
    edges: BTreeMap<(String, String), (Arc<SeriesKey>, u64)>,
    n_over_limit: u64,
}

impl RefusedLogins {
    /// Takes a record, whatever it is.
    pub(super) fn take(&mut self, record: &LogRecord) {
        let Some((host, user)) = refused_login(record) else {
            return;
        };
        let host = if host.is_empty() || host.starts_with(['/', '[']) {
            "local"
        } else {
            host
        };
        let (host, user) = (short(host), short(user));
        let edge = (host.to_owned(), user.to_owned());
        if let Some((_, n)) = self.edges.get_mut(&edge) {
            *n += 1;
        } else if self.edges.len() < N_EDGES_MAX {
            let subject = EdgeSubject {
                kind: EdgeKind::RefusedLogin,
                peer: edge.0.clone(),
                port: 0,
                user: edge.1.clone(),
                application: String::new(),
                database: String::new(),
            };
            let key = Arc::new(SeriesKey::edge("edge.refused_logins", subject));
            self.edges.insert(edge, (key, 1));
        } else {
            self.n_over_limit += 1;
        }
    }

    /// The readings since the last tick; pairs without a refusal in it are forgotten after they have said zero.
    pub(super) fn tick(&mut self, readings: &mut Vec<Reading>) {
        self.edges.retain(|_, (key, n)| {
            let value = Value::Events(*n as f64);
            let key = Arc::clone(key);
            readings.push(Reading { key, value });
            std::mem::take(n) > 0
        });
    }

    /// Refusals of pairs over the limit.
    pub(super) const fn n_over_limit(&self) -> u64 {
        self.n_over_limit
    }
}

/// The client's host and the role it wanted to be: SQLSTATE class 28, or MySQL's `Access denied for user 'u'@'h'`.
fn refused_login(record: &LogRecord) -> Option<(&str, &str)> {
    if record.code.starts_with("28") && record.code.len() == 5 {
        return Some((&record.remote_host, &record.user));
    }
    // Only a server of MySQL's kind writes a code or subsystem of its own: any client can have PostgreSQL log such a text.
    let is_mysql = record.code.starts_with("MY-") || !record.component.is_empty();
    if !is_mysql {
        return None;
    }
    let rest = record.message.strip_prefix("Access denied for user '")?;
    // The host comes last, and holds no quote; a user's name may hold anything.
    let rest = match rest.rsplit_once("' (using password") {
        Some((rest, _)) => rest,
        None => rest.strip_suffix('\'')?,
    };
    let (user, host) = rest.rsplit_once("'@'")?;
    Some((host, user))
}

fn short(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(code: &str, host: &str, user: &str, message: &str) -> LogRecord {
        LogRecord {
            component: if code.starts_with("MY-") {
                "Server"
            } else {
                ""
            }
            .to_owned(),
            code: code.to_owned(),
            remote_host: host.to_owned(),
            user: user.to_owned(),
            message: message.to_owned(),
            ..LogRecord::default()
        }
    }

    fn told(logins: &mut RefusedLogins) -> Vec<(String, Value)> {
        let mut readings = Vec::new();
        logins.tick(&mut readings);
        readings
            .iter()
            .map(|r| (r.key.to_string(), r.value))
            .collect()
    }

    #[test]
    fn refusals_are_counted_by_client_and_role_and_end_with_a_zero() {
        let mut logins = RefusedLogins::default();
        for _ in 0..3 {
            logins.take(&record("28P01", "10.0.0.9", "admin", "whatever language"));
        }
        let denied = "Access denied for user 'root'@'10.0.0.8' (using password: YES)";
        logins.take(&record("MY-010926", "", "", denied));
        // What a client has PostgreSQL log, and a name that looks like a host.
        logins.take(&record("P0001", "10.0.0.9", "app", denied));
        let odd = "Access denied for user 'a'@'10.6.6.6'@'10.0.0.8' (using password: NO)";
        logins.take(&record("MY-010926", "", "", odd));
        logins.take(&record("42501", "10.0.0.9", "admin", "permission denied"));
        logins.take(&record("", "10.0.0.9", "x", "Access denied for user 'cut"));
        let name = |host: &str, user: &str| format!("edge.refused_logins{{{host} {user}@ }}");
        assert_eq!(
            told(&mut logins),
            [
                (name("10.0.0.8", "a'@'10.6.6.6"), Value::Events(1.0)),
                (name("10.0.0.8", "root"), Value::Events(1.0)),
                (name("10.0.0.9", "admin"), Value::Events(3.0))
            ]
        );
        assert!(
            told(&mut logins)
                .iter()
                .all(|(_, n)| *n == Value::Events(0.0))
        );
        assert!(told(&mut logins).is_empty());
    }

    #[test]
    fn a_refusal_of_mariadb_which_has_no_code_is_counted() {
        let mut logins = RefusedLogins::default();
        let line = "2026-11-20  7:50:48 42 [Warning] Access denied for user 'root'@'10.0.0.8' (using password: YES)";
        let mut record = LogRecord::default();
        let defaults = super::super::time::TimeDefaults::default();
        assert!(super::super::mysql_error::head(line, defaults, &mut record));
        logins.take(&record);
        let name = "edge.refused_logins{10.0.0.8 root@ }".to_owned();
        assert_eq!(told(&mut logins), [(name, Value::Events(1.0))]);
    }

    #[test]
    fn a_scanner_that_tries_every_name_stays_within_the_limit() {
        let mut logins = RefusedLogins::default();
        for n in 0..N_EDGES_MAX + 7 {
            logins.take(&record("28000", "[local]", &"é".repeat(n), ""));
        }
        assert!(logins.edges.len() <= N_EDGES_MAX);
        // Names that begin alike for 63 bytes are one.
        assert_eq!(logins.n_over_limit(), 0);
        for n in 0..N_EDGES_MAX as u64 {
            logins.take(&record("28000", "h", &n.to_string(), ""));
        }
        assert_eq!(logins.edges.len(), N_EDGES_MAX);
        assert_eq!(logins.n_over_limit(), 32);
    }
}
