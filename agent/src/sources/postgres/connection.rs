//! The one connection, and what a failure on it means. (step 1)
//!
//! In: [`Config`], statements of the table. Out: [`Line`]s, or a [`Failure`] that says what the operator should do.
//! Invariants: PG-6 one connection at a time, one statement in flight: the methods take `&mut self`. PG-7 no wait is
//! longer than the client's timeout, whatever the server does. PG-8 a message names place and remedy, and no server text.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hsw_types::SourceState;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row, Statement};
use tracing::debug;

use super::config::{CONNECT_TIMEOUT, Config};
use super::queries::{Need, Query};
use super::tls;

/// One row of any answer (PG-5).
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Line {
    /// What the row is.
    pub(super) kind: String,
    names: Vec<Option<String>>,
    numbers: Vec<Option<f64>>,
}

impl Line {
    /// A row by hand, for tests.
    #[cfg(test)]
    pub(super) fn new(kind: &str, names: &[&str], numbers: &[f64]) -> Self {
        Self {
            kind: kind.to_owned(),
            names: names.iter().map(|name| Some((*name).to_owned())).collect(),
            numbers: numbers.iter().map(|number| Some(*number)).collect(),
        }
    }

    /// The `at`-th text; empty where the database has none.
    pub(super) fn name(&self, at: usize) -> &str {
        self.names
            .get(at)
            .and_then(Option::as_deref)
            .unwrap_or_default()
    }

    /// The `at`-th number, if the database has one and it is finite.
    pub(super) fn number(&self, at: usize) -> Option<f64> {
        self.numbers
            .get(at)
            .copied()
            .flatten()
            .filter(|number| number.is_finite())
    }

    fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            kind: row.try_get(0)?,
            names: row.try_get(1)?,
            numbers: row.try_get(2)?,
        })
    }
}

/// Why there is no connection, or no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What to report.
    pub(super) state: SourceState,
    /// One line with the remedy.
    pub(super) message: String,
    /// Longest pause between attempts: a refused password does not heal by itself, and each attempt is a line in the log.
    pub(super) pause_max: Duration,
}

/// A refused TCP connection costs nothing, and a restart should be seen to end.
const PAUSE_MAX_UNREACHABLE: Duration = Duration::from_secs(1);
/// Each attempt at a stopped server waits in its accept queue and is worked off when it wakes: few of them.
const PAUSE_MAX_SILENT: Duration = Duration::from_secs(8);
const PAUSE_MAX_FULL: Duration = Duration::from_secs(4);
const PAUSE_MAX_REFUSED: Duration = Duration::from_secs(60);

impl Failure {
    /// With the pause that suits `state`.
    pub(super) fn new(state: SourceState, message: String) -> Self {
        let pause_max = match state {
            SourceState::Unreachable => PAUSE_MAX_UNREACHABLE,
            SourceState::Refused => PAUSE_MAX_REFUSED,
            _ => PAUSE_MAX_SILENT,
        };
        Self {
            state,
            message,
            pause_max,
        }
    }

    fn refused(message: String) -> Self {
        Self::new(SourceState::Refused, message)
    }

    /// Something other than a database we know.
    pub(super) fn foreign(place: &str) -> Self {
        Self::refused(format!(
            "{place} does not answer like PostgreSQL 13 to 18: connect to the database itself, not to a pooler"
        ))
    }

    /// No answer within `waited`.
    pub(super) fn silent(place: &str, waited: Duration) -> Self {
        let ms = waited.as_millis();
        Self::new(
            SourceState::Silent,
            format!(
                "{place} did not answer within {ms} ms: see whether the database hangs or its host is stalled"
            ),
        )
    }
}

/// Why a statement has no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// The connection is of no use any more.
    Gone(Failure),
    /// The server refused this statement; the connection lives. Holds the SQLSTATE.
    Refused(String),
    /// The server cancelled this statement for its time (57014) or its lock wait (55P03).
    TooSlow,
}

/// The one connection.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    driver: Driver,
    prepared: BTreeMap<&'static str, Statement>,
    place: String,
    answer_timeout: Duration,
    /// Quoted schema of `pg_stat_statements` in this database, once known.
    pub(super) statements_schema: Option<String>,
    /// Statements sent, each a transaction in the database's own statistics.
    pub(super) n_sent: u64,
    /// Wall time spent waiting for answers.
    pub(super) spent: Duration,
}

/// The task that moves bytes; ends with its owner, so a hung server holds nothing of ours.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Connects to `database`.
    pub(super) async fn open(config: &Config, database: &str) -> Result<Self, Failure> {
        let place = config.target();
        let refused = |error: anyhow::Error| Failure::refused(format!("{error:#}"));
        let options = config.connection(database).map_err(refused)?;
        let connector = tls::connector(config).map_err(refused)?;
        let connecting = Box::pin(options.connect(connector));
        let (client, connection) = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Err(_) => return Err(Failure::silent(&place, CONNECT_TIMEOUT)),
            Ok(Err(error)) => return Err(connect_failure(&error, config, database)),
            Ok(Ok(pair)) => pair,
        };
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection to the database ended");
            }
        });
        Ok(Self {
            client,
            driver: Driver(driver),
            prepared: BTreeMap::new(),
            place,
            answer_timeout: config.answer_timeout(),
            statements_schema: None,
            n_sent: 0,
            spent: Duration::ZERO,
        })
    }

    /// Sends one statement of the table and waits for all of its answer, within the client's timeout.
    pub(super) async fn ask(&mut self, query: &'static Query) -> Result<Vec<Line>, AskError> {
        self.ask_about(query, None).await
    }

    /// As [`Self::ask`]; a statement with a parameter is given `ids`.
    pub(super) async fn ask_about(
        &mut self,
        query: &'static Query,
        ids: Option<&[String]>,
    ) -> Result<Vec<Line>, AskError> {
        let asked = Instant::now();
        let answer =
            tokio::time::timeout(self.answer_timeout, self.ask_unlimited(query, ids)).await;
        self.spent += asked.elapsed();
        self.n_sent += 1;
        let error = match answer {
            Err(_) => {
                return Err(AskError::Gone(Failure::silent(
                    &self.place,
                    self.answer_timeout,
                )));
            }
            Ok(Err(error)) => error,
            Ok(Ok(rows)) => match rows.iter().map(Line::decode).collect() {
                Ok(lines) => return Ok(lines),
                Err(error) => {
                    debug!(query = query.name, %error, "answer has an unexpected shape");
                    return Err(AskError::Refused(
                        "unexpected shape of the answer".to_owned(),
                    ));
                }
            },
        };
        // A plan may be stale (an extension was updated): the next one is prepared anew.
        self.prepared.remove(query.name);
        Err(self.ask_error(&error))
    }

    async fn ask_unlimited(
        &mut self,
        query: &'static Query,
        ids: Option<&[String]>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        if !self.prepared.contains_key(query.name) {
            let statement = match (&self.statements_schema, query.needs) {
                (Some(schema), Need::Statements) => {
                    self.client
                        .prepare(&query.sql.replace("{statements}", schema))
                        .await?
                }
                _ => self.client.prepare(query.sql).await?,
            };
            // Preparing is a transaction of its own in the database's statistics.
            self.n_sent += 1;
            self.prepared.insert(query.name, statement);
        }
        let prepared = &self.prepared[query.name];
        let ids = ids.unwrap_or_default();
        if prepared.params().is_empty() {
            self.client.query(prepared, &[]).await
        } else {
            self.client.query(prepared, &[&ids]).await
        }
    }

    fn ask_error(&self, error: &tokio_postgres::Error) -> AskError {
        match error.code() {
            Some(code)
                if matches!(
                    *code,
                    SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE
                ) =>
            {
                AskError::TooSlow
            }
            Some(code) if !is_fatal(code) && !error.is_closed() => {
                AskError::Refused(code.code().to_owned())
            }
            _ => AskError::Gone(Failure::new(
                SourceState::Unreachable,
                format!(
                    "{} closed the connection: see whether the database is restarting",
                    self.place
                ),
            )),
        }
    }

    /// Takes leave and waits shortly for the server's end, so that the next connection does not stand beside this one.
    pub(super) async fn close(self) {
        let Self {
            client, mut driver, ..
        } = self;
        drop(client);
        // On a timeout the socket is simply closed.
        let _ = tokio::time::timeout(Duration::from_millis(300), &mut driver.0).await;
    }
}

/// Errors after which the server ends the session.
fn is_fatal(code: &SqlState) -> bool {
    let code = code.code();
    code.starts_with("57P") || code.starts_with("08") || code == "25P03" || code.starts_with("XX")
}

fn connect_failure(error: &tokio_postgres::Error, config: &Config, database: &str) -> Failure {
    let place = config.target();
    let user = &config.user;
    if let Some(code) = error.code() {
        return refusal(code, &place, user, database);
    }
    match io_error(error) {
        Some(io) if io.kind() == io::ErrorKind::TimedOut => {
            Failure::silent(&place, CONNECT_TIMEOUT)
        }
        Some(io) if is_tls(io) => Failure::refused(format!(
            "{place} failed the TLS handshake: check postgres.sslmode and that the certificate in postgres.sslrootcert signed the server's and names {}",
            config.host
        )),
        Some(io) => Failure::new(
            SourceState::Unreachable,
            format!(
                "cannot reach {place} ({}): see whether the database runs and listens there",
                io.kind()
            ),
        ),
        None if error.to_string().contains("TLS") => Failure::refused(format!(
            "{place} offers no TLS: set ssl = on in the database, or another postgres.sslmode"
        )),
        None if error.is_closed() => Failure::new(
            SourceState::Unreachable,
            format!(
                "{place} closed the connection while it was opened: see whether the database is restarting"
            ),
        ),
        None => Failure::refused(format!(
            "{place} asks for a password or a way to log in that the agent lacks: set postgres.password_file, and scram-sha-256 in pg_hba.conf"
        )),
    }
}

/// The server answered, and said no.
fn refusal(code: &SqlState, place: &str, user: &str, database: &str) -> Failure {
    let remedy = match *code {
        SqlState::INVALID_PASSWORD => format!(
            "refused the password of role {user}: put the right one into postgres.password_file (ALTER ROLE {user} PASSWORD … sets a new one)"
        ),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            format!(
                "refused role {user}: CREATE ROLE {user} LOGIN, and let it in by a line of pg_hba.conf"
            )
        }
        SqlState::INVALID_CATALOG_NAME => {
            format!("has no database {database}: correct postgres.database")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            format!(
                "does not let role {user} into {database}: GRANT CONNECT ON DATABASE {database} TO {user}"
            )
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            let message = format!(
                "{place} has no connection slot left (53300): raise max_connections or end idle sessions (16+: GRANT pg_use_reserved_connections TO {user})"
            );
            return Failure {
                pause_max: PAUSE_MAX_FULL,
                ..Failure::refused(message)
            };
        }
        _ if is_fatal(code) => {
            let message = format!(
                "{place} does not take connections now ({}): starting, stopping or recovering",
                code.code()
            );
            return Failure::new(SourceState::Unreachable, message);
        }
        _ => format!(
            "refused the connection ({}): run the agent's check",
            code.code()
        ),
    };
    Failure::refused(format!("{place} {remedy}"))
}

fn io_error(error: &tokio_postgres::Error) -> Option<&io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_what_is_missing_as_nothing() {
        let line = Line::new("x", &["a"], &[1.0, f64::NAN]);
        assert_eq!((line.name(0), line.name(1)), ("a", ""));
        assert_eq!(
            (line.number(0), line.number(1), line.number(2)),
            (Some(1.0), None, None)
        );
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_is_unreachable_and_says_where() {
        let config = Config {
            host: "127.0.91.91".into(),
            port: 9,
            ..Config::default()
        };
        let failure = Session::open(&config, "postgres").await.unwrap_err();
        assert_eq!(failure.state, SourceState::Unreachable);
        assert!(failure.message.contains("127.0.91.91:9"));
    }

    #[tokio::test]
    async fn a_listener_that_never_answers_is_silent() {
        let listener = std::net::TcpListener::bind("127.0.91.92:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Config {
            host: "127.0.91.92".into(),
            port,
            ..Config::default()
        };
        let started = Instant::now();
        let failure = Session::open(&config, "postgres").await.unwrap_err();
        assert_eq!(failure.state, SourceState::Silent);
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}
