//! The operator's check: may the agent see what it needs, and what will it cost? (step 1)
//!
//! In: [`Config`]. Out: [`CheckReport`] with the exact statements that grant or set what is missing, and every statement the
//! agent will send with its time of just now. Invariant: PG-22 the check changes nothing and sends no statement the agent does not.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use super::config::Config;
use super::connection::{AskError, Failure, Line, Session};
use super::facts::{Instance, setting};
use super::queries::{QUERIES, Query, query};
use super::schedule::Rotation;

/// How a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingState {
    /// As it should be.
    Ok,
    /// The agent runs, and sees less.
    Missing,
    /// The agent sees nothing.
    Fatal,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it counts.
    pub state: FindingState,
    /// What was looked at, and why it matters where it is missing.
    pub what: String,
    /// Statements or steps that mend it; empty when nothing is to be done.
    pub remedy: String,
}

/// One statement the agent sends.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryCost {
    /// Its name.
    pub name: &'static str,
    /// Seconds between two of them; 0 when sent on occasion.
    pub every_s: u64,
    /// Round trip just now, the plan being known, milliseconds; `None` when it was refused.
    pub ms: Option<f64>,
    /// Rows of the answer.
    pub n_rows: usize,
    /// Why it was refused or is left out.
    pub note: String,
}

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckReport {
    /// Where it looked.
    pub target: String,
    /// Findings, in the order an operator mends them.
    pub findings: Vec<Finding>,
    /// Statements with their cost.
    pub queries: Vec<QueryCost>,
}

impl CheckReport {
    /// Whether the agent would see nothing at all.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.has(FindingState::Fatal)
    }

    /// Whether a finding counts so.
    #[must_use]
    pub fn has(&self, state: FindingState) -> bool {
        self.findings.iter().any(|f| f.state == state)
    }

    fn add(&mut self, is_fine: bool, what: &str, remedy: String) {
        let (state, remedy) = if is_fine {
            (FindingState::Ok, String::new())
        } else {
            (FindingState::Missing, remedy)
        };
        self.findings.push(Finding {
            state,
            what: what.to_owned(),
            remedy,
        });
    }

    fn fatal(&mut self, what: String, remedy: String) {
        self.findings.push(Finding {
            state: FindingState::Fatal,
            what,
            remedy,
        });
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "PostgreSQL at {}", self.target)?;
        for finding in &self.findings {
            let state = match finding.state {
                FindingState::Ok => "ok",
                FindingState::Missing => "MISSING",
                FindingState::Fatal => "FATAL",
            };
            writeln!(f, "  {state:<8} {}", finding.what)?;
            for line in finding.remedy.lines() {
                writeln!(f, "           → {line}")?;
            }
        }
        if self.queries.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "  {:<18} {:>9} {:>8} {:>6}  note",
            "statement", "every", "ms", "rows"
        )?;
        for cost in &self.queries {
            let every = match cost.every_s {
                0 => "on need".to_owned(),
                seconds => format!("{seconds} s"),
            };
            let ms = cost
                .ms
                .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
            writeln!(
                f,
                "  {:<18} {every:>9} {ms:>8} {:>6}  {}",
                cost.name, cost.n_rows, cost.note
            )?;
        }
        Ok(())
    }
}

/// Looks at connection, rights and settings, and sends each statement to measure it. Takes a few seconds at most.
pub async fn check(config: &Config) -> CheckReport {
    let mut report = CheckReport {
        target: config.target(),
        ..CheckReport::default()
    };
    if let Err(error) = config.validate() {
        report.fatal(
            format!("configuration: {error:#}"),
            "correct the agent's configuration file".to_owned(),
        );
        return report;
    }
    check_password_file(config, &mut report);
    let (mut session, instance) = match open(config).await {
        Ok(open) => open,
        Err(failure) => {
            report.fatal(failure.message, create_role(config));
            return report;
        }
    };
    let (database, user) = (&instance.database, &config.user);
    let connected = format!("connected to database {database} as role {user}");
    report.add(true, &connected, String::new());
    check_rights(config, &instance, &mut report);
    match ask(&mut session, "settings", instance.major).await {
        Ok(settings) => check_settings(config, &instance, &settings, &mut report),
        Err(note) => report.add(
            false,
            &format!("settings could not be read: {note}"),
            "run the check again".to_owned(),
        ),
    }
    measure(&mut session, &instance, config.interval_s, &mut report).await;
    session.close().await;
    report
}

async fn open(config: &Config) -> Result<(Session, Instance), Failure> {
    let target = config
        .database
        .clone()
        .unwrap_or_else(|| "postgres".to_owned());
    let mut session = Session::open(config, &target).await?;
    let mut instance = learn(&mut session, config).await?;
    if config.database.is_none()
        && let Ok(lines) = ask(&mut session, "databases", instance.major).await
        && let Some(home) =
            Rotation::new(lines.iter().map(|line| line.name(0).to_owned()).collect()).home()
        && *home != target
    {
        session.close().await;
        session = Session::open(config, home).await?;
        instance = learn(&mut session, config).await?;
    }
    session
        .statements_schema
        .clone_from(&instance.statements_schema);
    Ok((session, instance))
}

async fn learn(session: &mut Session, config: &Config) -> Result<Instance, Failure> {
    match ask(session, "instance", 13).await {
        Ok(lines) => Instance::from_lines(&lines).ok_or_else(|| Failure::foreign(&config.target())),
        Err(note) => Err(Failure::new(
            hsw_types::SourceState::Refused,
            format!("{} did not say who it is: {note}", config.target()),
        )),
    }
}

async fn ask(session: &mut Session, name: &str, major: i32) -> Result<Vec<Line>, String> {
    let Some(row) = query(name, major) else {
        return Err("not for this version".to_owned());
    };
    session.ask(row).await.map_err(|error| note_of(&error))
}

fn note_of(error: &AskError) -> String {
    match error {
        AskError::Gone(failure) => failure.message.clone(),
        AskError::Refused(code) => format!("refused ({code})"),
        AskError::TooSlow => "too slow, or held up by a lock".to_owned(),
    }
}

fn create_role(config: &Config) -> String {
    let user = quoted(&config.user);
    format!(
        "CREATE ROLE {user} LOGIN CONNECTION LIMIT 3; GRANT pg_monitor TO {user};\n\
         ALTER ROLE {user} PASSWORD '…';  -- the same text in postgres.password_file; not needed with peer login on the Unix socket"
    )
}

fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn check_password_file(config: &Config, report: &mut CheckReport) {
    let Ok(Some(path)) = config.password_path() else {
        return;
    };
    let Ok(about) = std::fs::metadata(&path) else {
        return;
    };
    let is_private = about.permissions().mode() & 0o007 == 0;
    let shown = path.display();
    report.add(
        is_private,
        &format!("{shown} is closed to other users"),
        format!("chmod o= {shown}"),
    );
}

fn check_rights(config: &Config, instance: &Instance, report: &mut CheckReport) {
    let user = quoted(&config.user);
    report.add(
        (13..=18).contains(&instance.major),
        &format!(
            "version {} is one the agent knows (13 to 18)",
            instance.version
        ),
        "statements may be refused: see the notes below".to_owned(),
    );
    report.add(
        instance.sees_all,
        "role may see all sessions, statistics and settings (pg_monitor)",
        format!("GRANT pg_monitor TO {user};"),
    );
    report.add(
        !instance.is_superuser,
        "role is no superuser (the agent needs none of its rights)",
        format!("ALTER ROLE {user} NOSUPERUSER;"),
    );
    report.add(
        instance.statements_schema.is_some(),
        "extension pg_stat_statements: calls, execution time and mean time of statements",
        format!(
            "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';  -- add to those there; then restart the database\n\
             CREATE EXTENSION pg_stat_statements;  -- in database {}",
            instance.database
        ),
    );
}

/// Settings the agent profits from: name, test, better value, why.
type Wanted = (&'static str, fn(&str) -> bool, &'static str, &'static str);

fn is_on(value: &str) -> bool {
    value == "on"
}

const WANTED: [Wanted; 8] = [
    (
        "track_io_timing",
        is_on,
        "on",
        "tells slow storage from slow plans",
    ),
    (
        "track_counts",
        is_on,
        "on",
        "without it no statistics move at all",
    ),
    (
        "log_lock_waits",
        is_on,
        "on",
        "names who waits for whom after deadlock_timeout",
    ),
    (
        "log_checkpoints",
        is_on,
        "on",
        "tells requested checkpoints from timed ones",
    ),
    (
        "log_connections",
        |value| !matches!(value, "off" | ""),
        "on",
        "shows sessions too short for sampling",
    ),
    (
        "log_min_duration_statement",
        |value| value != "-1",
        "'500ms'",
        "logs slow statements; their text stays on this host",
    ),
    (
        "log_temp_files",
        |value| value != "-1",
        "'10MB'",
        "names statements that spill to disk",
    ),
    (
        "log_destination",
        |value| value.contains("jsonlog") || value.contains("csvlog"),
        "'stderr,csvlog'",
        "lines with SQLSTATE, database and user in known places (15+: jsonlog)",
    ),
];

fn check_settings(
    config: &Config,
    instance: &Instance,
    settings: &[Line],
    report: &mut CheckReport,
) {
    let preloaded = setting(settings, "shared_preload_libraries");
    if instance.statements_schema.is_some() && instance.sees_all {
        report.add(
            preloaded.contains("pg_stat_statements"),
            "pg_stat_statements is loaded at start",
            "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';  -- add to those there; then restart the database".to_owned(),
        );
    }
    for (name, is_fine, better, why) in WANTED {
        let value = setting(settings, name);
        let remedy = format!("ALTER SYSTEM SET {name} = {better}; SELECT pg_reload_conf();");
        report.add(is_fine(value), &format!("{name} = {value}: {why}"), remedy);
    }
    let collects = setting(settings, "logging_collector") == "on";
    if collects {
        report.add(
            instance.may_ask_logfile,
            "pg_current_logfile(): which log file is written now (part of pg_monitor from 16 on)",
            format!(
                "GRANT EXECUTE ON FUNCTION pg_current_logfile() TO {};",
                quoted(&config.user)
            ),
        );
    }
    report.add(
        collects,
        "logging_collector: log files where the agent finds them by itself",
        "ALTER SYSTEM SET logging_collector = on;  -- then restart the database; or give the log file's path to the agent".to_owned(),
    );
    report.add(
        !setting(settings, "data_directory").is_empty(),
        "data_directory and log settings are visible (pg_read_all_settings, part of pg_monitor)",
        format!("GRANT pg_monitor TO {};", quoted(&config.user)),
    );
}

async fn measure(
    session: &mut Session,
    instance: &Instance,
    interval_s: u64,
    report: &mut CheckReport,
) {
    for row in QUERIES {
        if !(row.versions.0..=row.versions.1).contains(&instance.major) {
            continue;
        }
        let every_s = match row.name {
            "vital" => interval_s,
            "settings" | "logfile" => 60,
            "instance" => 300,
            _ => row.every_s,
        };
        let mut cost = QueryCost {
            name: row.name,
            every_s,
            ms: None,
            n_rows: 0,
            note: String::new(),
        };
        match instance.lacks(row) {
            Some(note) => cost.note = format!("left out: {note}"),
            None => match time(session, row).await {
                Ok((ms, n_rows)) => (cost.ms, cost.n_rows) = (Some(ms), n_rows),
                Err(note) => cost.note = note,
            },
        }
        if row.per_database && cost.note.is_empty() {
            cost.note = format!("in {}", instance.database);
        }
        report.queries.push(cost);
    }
}

/// The second round trip: the first also plans, which the agent pays only once per connection.
async fn time(session: &mut Session, row: &'static Query) -> Result<(f64, usize), String> {
    session.ask(row).await.map_err(|error| note_of(&error))?;
    let asked = Instant::now();
    let lines = session.ask(row).await.map_err(|error| note_of(&error))?;
    Ok((asked.elapsed().as_secs_f64() * 1e3, lines.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_one_table_with_the_remedies_under_what_is_missing() {
        let mut report = CheckReport {
            target: "127.0.0.1:5432".into(),
            ..CheckReport::default()
        };
        let instance = Instance {
            major: 15,
            version: "15.1".into(),
            ..Instance::default()
        };
        check_rights(
            &Config {
                user: "My Role".into(),
                ..Config::default()
            },
            &instance,
            &mut report,
        );
        check_settings(
            &Config::default(),
            &instance,
            &[Line::new("setting", &["track_io_timing", "on"], &[])],
            &mut report,
        );
        report.queries.push(QueryCost {
            name: "vital",
            every_s: 1,
            ms: Some(0.5),
            n_rows: 4,
            note: String::new(),
        });
        let text = report.to_string();
        assert!(
            text.contains("→ GRANT pg_monitor TO \"My Role\";"),
            "{text}"
        );
        assert!(
            text.contains("ok       track_io_timing = on")
                && text.contains("MISSING  log_lock_waits")
        );
        assert!(text.contains("vital                    1 s     0.50      4"));
        assert!(!report.is_fatal());
    }

    #[tokio::test]
    async fn no_database_is_fatal_and_the_remedy_creates_the_role() {
        let config = Config {
            host: "127.0.91.93".into(),
            port: 9,
            ..Config::default()
        };
        let report = check(&config).await;
        assert!(report.is_fatal());
        assert!(report.to_string().contains("CREATE ROLE hsw LOGIN"));
    }
}
