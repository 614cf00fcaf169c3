//! The PostgreSQL source: one gentle connection that samples each second and says so when nobody answers. (step 1)
//!
//! In: the database's statistics views. Out: readings `pg.*` and `edge.*`, [`NodeFacts`](hsw_types::NodeFacts), the source's state,
//! [`DatabaseSettings`] for the log source. Invariants: PG-1 to PG-20, each in its file; the loop here holds PG-21: rounds never
//! overlap and never pile up, the next one begins at the next full second after the last one ended.
//! Limits: PostgreSQL 13 to 18, connected to directly (a pooler shares sessions and refuses start-up options).
//! Statement texts are turned into fingerprints here; only these leave. Does not: write anything, or decide whether something is wrong.

mod check;
mod collect;
mod config;
mod connection;
mod counts;
mod edges;
mod facts;
mod outbox;
mod queries;
mod schedule;
mod slow;
mod tables;
mod tls;

pub use check::{CheckReport, Finding, FindingState, QueryCost, check};
pub use config::{APPLICATION_NAME, Config, RoleOverride, TlsMode};
pub use facts::DatabaseSettings;

use std::time::Duration;

use hsw_types::SourceState;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info};

use self::collect::{Collector, Vital};
use self::connection::{AskError, Failure, Line, Session};
use self::facts::Instance;
use self::outbox::Outbox;
use self::queries::{QUERIES, Query, query};
use self::schedule::{Rotation, SLOW, Schedule, until_next_round};
use super::Sink;
use crate::pace::Pace;

const PAUSE_MIN: Duration = Duration::from_millis(250);
/// A missing right does not come by itself; a lock or a busy moment passes.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);
const SLOW_AGAIN: Duration = Duration::from_secs(10);
const FACTS_EVERY: Duration = Duration::from_secs(300);
const SETTINGS_EVERY: Duration = Duration::from_secs(60);
const DATABASES_EVERY: Duration = Duration::from_secs(600);

/// A visit is not begun with fewer free slots than this share: coming back might be refused.
const VISIT_RATIO_MAX: f64 = 0.8;

/// Samples the database until `shutdown` is true. Never fails: what goes wrong is the source's state.
pub async fn run(
    config: Config,
    sink: Sink,
    settings: watch::Sender<Option<DatabaseSettings>>,
    pace: watch::Receiver<Pace>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut source = Source {
        schedule: Schedule::new(config.interval_s, Instant::now()),
        outbox: Outbox::new(sink),
        collector: Collector::default(),
        rotation: Rotation::default(),
        settings,
        pace,
        has_router_tables: false,
        spent_ms: 0.0,
        rights_missing: None,
        config,
    };
    tokio::select! {
        // A closed channel means that whoever would stop us is gone.
        _ = shutdown.wait_for(|stop| *stop) => {}
        () = Box::pin(source.forever()) => {}
    }
}

/// Why sampling over one connection ended.
enum End {
    /// The connection is of no use any more.
    Failed(Failure),
    /// Another database is to be visited, or their list is out of date.
    Move(Box<Session>),
}

struct Source {
    config: Config,
    outbox: Outbox,
    collector: Collector,
    schedule: Schedule,
    rotation: Rotation,
    settings: watch::Sender<Option<DatabaseSettings>>,
    pace: watch::Receiver<Pace>,
    has_router_tables: bool,
    spent_ms: f64,
    rights_missing: Option<String>,
}

/// A connection and what is known of its other end.
struct Open {
    session: Session,
    instance: Instance,
    facts_at: Instant,
    settings_at: Instant,
    databases_at: Instant,
    vital: Vital,
}

impl Source {
    async fn forever(&mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let end = match self.connect().await {
                Ok(open) => {
                    pause = PAUSE_MIN;
                    self.sample(open).await
                }
                Err(failure) => End::Failed(failure),
            };
            match end {
                End::Move(session) => session.close().await,
                End::Failed(failure) => {
                    if self.outbox.is_up() {
                        info!(state = ?failure.state, "{}", failure.message);
                    }
                    self.rotation.go_home();
                    pause = pause.min(failure.pause_max);
                    self.outbox.failed(failure.state, failure.message);
                    self.outbox.flush();
                    self.outbox.speaking(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(failure.pause_max);
                }
            }
        }
    }

    /// Connects to the database whose turn it is, and learns who answers.
    async fn connect(&mut self) -> Result<Open, Failure> {
        let target = match &self.config.database {
            Some(database) => database.clone(),
            None => match self.rotation.current() {
                Some(database) => database.clone(),
                None => self.discover().await?,
            },
        };
        let opened = self
            .outbox
            .watched(Session::open(&self.config, &target))
            .await;
        let mut session = opened.inspect_err(|failure| {
            // Perhaps the database is gone: their list is read anew.
            if failure.state == SourceState::Refused {
                self.rotation = Rotation::default();
            }
        })?;
        let lines = self.must(&mut session, "instance", 13).await?;
        let instance =
            Instance::from_lines(&lines).ok_or_else(|| Failure::foreign(&self.config.target()))?;
        session
            .statements_schema
            .clone_from(&instance.statements_schema);
        self.outbox.answered();
        let now = Instant::now();
        self.rotation.arrived(now);
        for name in ["tables", "role", "foreign", "statements"] {
            self.schedule.ask_now(name, now);
        }
        self.learn(&instance);
        Ok(Open {
            session,
            instance,
            facts_at: now + FACTS_EVERY,
            settings_at: now,
            databases_at: now + DATABASES_EVERY,
            vital: Vital::default(),
        })
    }

    /// Lists the databases by way of `postgres` and returns the one to stay in.
    async fn discover(&mut self) -> Result<String, Failure> {
        let opened = self
            .outbox
            .watched(Session::open(&self.config, "postgres"))
            .await;
        let mut session = opened?;
        let lines = match self.must(&mut session, "databases", 13).await {
            Err(failure) if failure.state == SourceState::Silent => {
                self.must(&mut session, "databases_by_use", 13).await?
            }
            other => other?,
        };
        self.rotation = Rotation::new(lines.iter().map(|line| line.name(0).to_owned()).collect());
        self.collector.keep_databases(&self.rotation.databases);
        session.close().await;
        Ok(self
            .rotation
            .home()
            .map_or_else(|| "postgres".to_owned(), String::clone))
    }

    /// Asks what is needed to go on, whatever the reason it cannot be had is.
    async fn must(
        &mut self,
        session: &mut Session,
        name: &str,
        major: i32,
    ) -> Result<Vec<Line>, Failure> {
        let Some(row) = query(name, major) else {
            return Ok(Vec::new());
        };
        let answer = self.outbox.watched(session.ask(row)).await;
        answer.map_err(|error| match error {
            AskError::Gone(failure) => failure,
            AskError::TooSlow => Failure::new(
                SourceState::Silent,
                format!(
                    "{} is too slow for statement {name}: the agent goes on trying",
                    self.config.target()
                ),
            ),
            AskError::Refused(code) => Failure::new(
                SourceState::Refused,
                format!(
                    "{} refused statement {name} ({code}): run the agent's check",
                    self.config.target()
                ),
            ),
        })
    }

    /// Takes over what the database says of itself, and says it on.
    fn learn(&mut self, instance: &Instance) {
        self.collector.started = instance.started;
        self.collector.in_recovery = instance.in_recovery;
        self.collector.n_slots = instance.n_slots;
        self.collector.sees_all = instance.sees_all;
        self.rights_missing = (!instance.sees_all).then(|| {
            format!(
                "role {0} may not see other sessions: GRANT pg_monitor TO {0}",
                self.config.user
            )
        });
        self.say_state();
        self.outbox
            .facts(instance.facts(&self.config, self.has_router_tables));
    }

    fn say_state(&mut self) {
        match &self.rights_missing {
            Some(message) => self.outbox.status(SourceState::Refused, message.clone()),
            None => self.outbox.status(SourceState::Ok, String::new()),
        }
    }

    /// One round a second until the connection ends or another database is due.
    async fn sample(&mut self, mut open: Open) -> End {
        loop {
            if let Err(failure) = self.round(&mut open).await {
                return End::Failed(failure);
            }
            let now = Instant::now();
            let may_leave = self.config.database.is_none()
                && self.schedule.is_at_ease()
                && open.vital.connections_ratio < VISIT_RATIO_MAX;
            if may_leave && self.rotation.is_due(now) {
                self.rotation.advance();
                return End::Move(Box::new(open.session));
            }
            if may_leave && now >= open.databases_at {
                self.rotation = Rotation::default();
                return End::Move(Box::new(open.session));
            }
            tokio::time::sleep(until_next_round()).await;
        }
    }

    async fn round(&mut self, open: &mut Open) -> Result<(), Failure> {
        let began = Instant::now();
        self.schedule.pace(self.pace.borrow().edges_s);
        if self.schedule.is_vital_due(began) {
            self.vital(open).await?;
        } else {
            self.probe(open).await?;
        }
        let is_slow = began.elapsed() > SLOW || !self.schedule.is_at_ease();
        if !is_slow {
            if open.vital.lock_waiters > 0.0 && open.instance.sees_all {
                self.occasional(open, "blocked").await?;
            }
            for row in QUERIES {
                // What is left has its turn in the next round.
                let fits = began.elapsed() < SLOW;
                if fits
                    && row.every_s > 0
                    && self.is_meant(row, open)
                    && self.schedule.is_due(row, began)
                {
                    self.scheduled(open, row).await?;
                }
            }
            self.slow_facts(open).await?;
        }
        self.spent_ms = open.session.spent.as_secs_f64().mul_add(1e3, self.spent_ms);
        open.session.spent = Duration::ZERO;
        self.collector.spent(self.spent_ms);
        let left_out = std::mem::take(&mut self.collector.n_left_out);
        self.outbox.dropped(left_out);
        self.send();
        Ok(())
    }

    fn is_meant(&self, row: &Query, open: &Open) -> bool {
        let major = open.instance.major;
        open.instance.lacks(row).is_none()
            && (row.versions.0..=row.versions.1).contains(&major)
            && (row.name != "standby" || self.collector.in_recovery)
    }

    /// Asks one statement, meanwhile saying that the database is late if it is. `None`: refused or too slow.
    async fn ask(
        &mut self,
        open: &mut Open,
        row: &'static Query,
    ) -> Result<(Option<Vec<Line>>, Duration), Failure> {
        self.ask_about(open, row, None).await
    }

    async fn ask_about(
        &mut self,
        open: &mut Open,
        row: &'static Query,
        ids: Option<&[String]>,
    ) -> Result<(Option<Vec<Line>>, Duration), Failure> {
        let asked = Instant::now();
        let n_before = open.session.n_sent;
        let answer = self.outbox.watched(open.session.ask_about(row, ids)).await;
        let took = asked.elapsed();
        self.collector
            .own_transactions(&open.instance.database, open.session.n_sent - n_before);
        match answer {
            Err(AskError::Gone(failure)) => return Err(failure),
            Err(AskError::Refused(code)) => {
                debug!(query = row.name, %code, "statement refused");
                self.schedule.put_off(row, REFUSED_AGAIN, Instant::now());
            }
            Err(AskError::TooSlow) => {
                debug!(query = row.name, "statement too slow");
                self.schedule.put_off(row, SLOW_AGAIN, Instant::now());
            }
            Ok(lines) => {
                self.outbox.answered();
                return Ok((Some(lines), took));
            }
        }
        // The database answered, if only to say no.
        self.outbox.answered();
        Ok((None, took))
    }

    async fn vital(&mut self, open: &mut Open) -> Result<(), Failure> {
        let Some(row) = query("vital", open.instance.major) else {
            return Ok(());
        };
        let (answer, took) = self.ask(open, row).await?;
        self.schedule.vital_took(took, Instant::now());
        self.collector.gauge("pg.up", "", 1.0);
        self.collector
            .gauge("pg.probe_ms", "", took.as_secs_f64() * 1e3);
        let was_in_recovery = self.collector.in_recovery;
        match answer {
            Some(lines) => {
                open.vital = self.collector.vital(&lines);
                self.say_state();
            }
            None => self.outbox.status(
                SourceState::Silent,
                format!("{} took longer than {} ms for its statistics: sampled less often until it is quicker", self.config.target(), self.config.statement_timeout_ms),
            ),
        }
        if open.vital.in_recovery != was_in_recovery {
            info!(
                in_recovery = open.vital.in_recovery,
                "the database changed its role"
            );
            open.instance.in_recovery = open.vital.in_recovery;
            open.facts_at = Instant::now();
        }
        self.send();
        Ok(())
    }

    /// The light question of a second without a full round.
    async fn probe(&mut self, open: &mut Open) -> Result<(), Failure> {
        let Some(row) = query("probe", open.instance.major) else {
            return Ok(());
        };
        let (_, took) = self.ask(open, row).await?;
        self.collector.gauge("pg.up", "", 1.0);
        // Its time is no measure beside that of a full round, unless it is long.
        if took > SLOW {
            self.collector
                .gauge("pg.probe_ms", "", took.as_secs_f64() * 1e3);
        }
        self.send();
        Ok(())
    }

    async fn occasional(&mut self, open: &mut Open, name: &str) -> Result<(), Failure> {
        let Some(row) = query(name, open.instance.major) else {
            return Ok(());
        };
        if let (Some(lines), _) = self.ask(open, row).await? {
            self.take(row, &lines, open);
        }
        Ok(())
    }

    async fn scheduled(&mut self, open: &mut Open, row: &'static Query) -> Result<(), Failure> {
        if let (Some(lines), took) = self.ask(open, row).await? {
            self.schedule.answered(row, took, Instant::now());
            self.take(row, &lines, open);
            if row.name == "calls" {
                let took = took + self.calls(open, &lines).await?;
                self.schedule.answered(row, took, Instant::now());
            }
        }
        Ok(())
    }

    fn take(&mut self, row: &Query, lines: &[Line], open: &mut Open) {
        let database = open.instance.database.clone();
        match row.name {
            "role" => {
                let is_router = facts::is_router(lines);
                if is_router && !self.has_router_tables {
                    open.facts_at = Instant::now();
                }
                // The home database decides; a router seen on a visit stays one.
                self.has_router_tables =
                    is_router || (self.has_router_tables && !self.is_home(&database));
            }
            _ => {
                let is_home = self.is_home(&database);
                self.collector
                    .take(row.name, lines, &database, is_home, self.config.n_edges_max);
            }
        }
    }

    fn is_home(&self, database: &str) -> bool {
        self.config.database.is_some() || self.rotation.home().is_none_or(|home| home == database)
    }

    fn send(&mut self) {
        let readings = std::mem::take(&mut self.collector.readings);
        self.outbox.flush();
        self.outbox.readings(readings);
        self.outbox
            .counts(std::mem::take(&mut self.collector.counted));
    }
}
