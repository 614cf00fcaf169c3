//! The PostgreSQL source against a real server, started here and removed again.
//!
//! Skipped with a message where the server's programs or the user `postgres` are missing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hsw_agent::sources::SourceEvent;
use hsw_agent::sources::postgres::{Config, DatabaseSettings, FindingState, TlsMode, check, run};
use hsw_types::{NodeFacts, Reading, Role, SourceState, SourceStatus, Value};
use tokio::sync::{mpsc, watch};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A server of its own, on a loopback address of its own.
struct Server {
    folder: tempfile::TempDir,
    host: &'static str,
    port: u16,
}

fn as_postgres(program: &str) -> Command {
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", &format!("{BIN}/{program}")]);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .current_dir("/");
    command
}

/// Id of the system's user `postgres`, if this process may act for it.
fn postgres_user() -> Option<u32> {
    let is_there = Path::new(BIN).join("postgres").exists() && rustix::process::geteuid().is_root();
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    line.split(':').nth(2)?.parse().ok().filter(|_| is_there)
}

impl Server {
    fn start(host: &'static str, port: u16, settings: &str) -> Option<Self> {
        let Some(user) = postgres_user() else {
            eprintln!("skipped: no PostgreSQL 15 in {BIN}, or not root");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("hsw-pg-")
            .tempdir()
            .unwrap();
        chown(folder.path(), Some(user), None).unwrap();
        let server = Self { folder, host, port };
        let data = server.data();
        let status = as_postgres("initdb")
            .args(["-A", "trust", "-N", "-D"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(status.success(), "initdb");
        let certificate =
            rcgen::generate_simple_self_signed(vec!["localhost".into(), host.into()]).unwrap();
        for (name, text) in [
            ("server.crt", certificate.cert.pem()),
            ("server.key", certificate.signing_key.serialize_pem()),
        ] {
            fs::write(data.join(name), text).unwrap();
            chown(data.join(name), Some(user), None).unwrap();
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let sockets = server.folder.path().display();
        let base = format!(
            "listen_addresses='{host}'\nport={port}\nunix_socket_directories='{sockets}'\nssl=on\nmax_connections=20\n\
             shared_preload_libraries='pg_stat_statements'\nfsync=off\nshared_buffers=32MB\n{settings}\n"
        );
        fs::write(data.join("postgresql.auto.conf"), base).unwrap();
        let rules = "local all postgres trust\nhostssl all hsw_tls all scram-sha-256\nhostnossl all hsw_tls all reject\n\
                     host all all all scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        server.control("start");
        server.sql(
            "postgres",
            "CREATE DATABASE shop; CREATE ROLE hsw LOGIN PASSWORD 'right'; GRANT pg_monitor TO hsw; \
             CREATE ROLE hsw_tls LOGIN PASSWORD 'right' IN ROLE pg_monitor; CREATE ROLE nobody LOGIN PASSWORD 'right'",
        );
        server.sql("shop", "CREATE EXTENSION pg_stat_statements; CREATE TABLE t AS SELECT generate_series(1, 1000) AS a");
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn control(&self, action: &str) {
        let mut command = as_postgres("pg_ctl");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-w", "-m", "immediate", "-l"])
            .arg(self.folder.path().join("log"));
        if action == "start" {
            command = as_postgres("pg_ctl");
            command
                .arg("-D")
                .arg(self.data())
                .args(["-w", "-l"])
                .arg(self.folder.path().join("log"));
        }
        assert!(
            command.arg(action).status().unwrap().success(),
            "pg_ctl {action}"
        );
    }

    fn psql(&self, database: &str, statements: &str) -> Command {
        let mut command = as_postgres("psql");
        command.args(["-qtAX", "-h"]).arg(self.folder.path());
        command.args(["-p", &self.port.to_string(), "-d", database]);
        for statement in statements.split("; ") {
            command.args(["-c", statement]);
        }
        command
    }

    fn sql(&self, database: &str, statements: &str) -> String {
        let mut command = self.psql(database, statements);
        let out = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Signals the postmaster and its children: this server's processes alone.
    fn signal(&self, signal: rustix::process::Signal) {
        let main = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let main: i32 = main.lines().next().unwrap().parse().unwrap();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        for pid in std::iter::once(main).chain(children) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    fn config(&self, user: &str, password: &str) -> Config {
        let path = self
            .folder
            .path()
            .join(format!("password-{user}-{password}"));
        fs::write(&path, password).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Config {
            host: self.host.to_owned(),
            port: self.port,
            user: user.to_owned(),
            password_file: Some(path),
            ..Config::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::CONT);
        let _ = as_postgres("pg_ctl")
            .arg("-D")
            .arg(self.data())
            .args(["-m", "immediate", "stop"])
            .status();
    }
}

/// A running source and what it has said so far.
struct Agent {
    events: mpsc::Receiver<SourceEvent>,
    settings: watch::Receiver<Option<DatabaseSettings>>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    said: Vec<(Instant, Reading)>,
    status: Option<SourceStatus>,
    facts: Option<NodeFacts>,
}

impl Agent {
    fn start(config: Config) -> Self {
        let (sink, events) = mpsc::channel(256);
        let (send_settings, settings) = watch::channel(None);
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::spawn(run(config, sink, send_settings, shutdown));
        Self {
            events,
            settings,
            stop,
            task,
            said: Vec::new(),
            status: None,
            facts: None,
        }
    }

    async fn listen(&mut self, limit: Duration, mut is_enough: impl FnMut(&Self) -> bool) -> bool {
        let end = tokio::time::Instant::now() + limit;
        while !is_enough(self) {
            let Ok(Some(event)) = tokio::time::timeout_at(end, self.events.recv()).await else {
                return false;
            };
            match event {
                SourceEvent::Readings { readings, .. } => {
                    self.said.extend(
                        readings
                            .into_iter()
                            .map(|reading| (Instant::now(), reading)),
                    );
                }
                SourceEvent::Status(status) => self.status = Some(status),
                SourceEvent::Facts(facts) => self.facts = Some(*facts),
                _ => {}
            }
        }
        true
    }

    async fn hear(&mut self, series: &str) -> bool {
        self.listen(Duration::from_secs(6), |agent| {
            agent.value(series).is_some()
        })
        .await
    }

    async fn hear_up(&mut self, up: f64, limit: Duration) -> Duration {
        let began = Instant::now();
        self.said.clear();
        let heard = self
            .listen(limit, |agent| {
                agent.value("pg.up") == Some(Value::Gauge(up))
            })
            .await;
        assert!(heard, "no pg.up {up} within {limit:?}; {:?}", self.status);
        began.elapsed()
    }

    fn value(&self, series: &str) -> Option<Value> {
        self.said
            .iter()
            .rev()
            .find(|(_, r)| r.key.to_string() == series)
            .map(|(_, r)| r.value)
    }

    fn state(&self) -> Option<SourceState> {
        self.status.as_ref().map(|status| status.state)
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(1), self.task)
            .await
            .expect("stops at once")
            .unwrap();
    }
}

fn total(value: Option<Value>) -> (f64, u64) {
    match value {
        Some(Value::Counter { total, epoch }) => (total, epoch),
        other => panic!("no counter: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_appear_without_the_agents_own_session_and_a_reset_is_an_epoch() {
    let Some(server) = Server::start("127.0.71.1", 27_101, "") else {
        return;
    };
    let mut agent = Agent::start(server.config("hsw", "right"));
    for series in [
        "pg.up",
        "pg.sessions",
        "pg.commits",
        "pg.wal_bytes",
        "pg.checkpoints_requested",
        "pg.replicas",
    ] {
        assert!(agent.hear(series).await, "{series}: {:?}", agent.status);
    }
    assert!(agent.hear("pg.sequential_tuples").await && agent.hear("pg.statement_calls").await);
    assert!(agent.hear("pg.frozen_xid_age").await && agent.hear("pg.commits{shop}").await);
    assert_eq!(
        agent.value("pg.sessions"),
        Some(Value::Gauge(0.0)),
        "its own session is left out"
    );
    assert_eq!(agent.state(), Some(SourceState::Ok), "{:?}", agent.status);
    let facts = agent.facts.clone().unwrap();
    assert_eq!(
        (facts.role, facts.address.as_str()),
        (Role::Primary, "127.0.71.1:27101")
    );
    assert!(facts.database.starts_with("PostgreSQL 15.") && !facts.system_identifier.is_empty());
    let settings = agent.settings.borrow().clone().unwrap();
    assert_eq!(settings.data_directory, server.data().display().to_string());

    // Idle, so the commits of the database are the agent's alone, and those are left out.
    let (before, epoch) = total(agent.value("pg.commits"));
    agent.listen(Duration::from_secs(4), |_| false).await;
    let (after, _) = total(agent.value("pg.commits"));
    assert!(
        (after - before) / 4.0 < 1.5,
        "own commits are counted: {before} to {after}"
    );

    // A lock holder, one who waits for it, and a reader of a whole table.
    let mut holder = server
        .psql("shop", "BEGIN; LOCK t; SELECT pg_sleep(5)")
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut waiter = server
        .psql("shop", "SELECT count(*) FROM t")
        .spawn()
        .unwrap();
    agent.said.clear();
    let blocked = Some(Value::Gauge(1.0));
    let heard = agent.listen(Duration::from_secs(4), |agent| {
        agent.value("pg.blocked_sessions") == blocked
            && agent.value("pg.sessions_waiting_lock") == blocked
    });
    assert!(heard.await, "{:?}", agent.value("pg.blocked_sessions"));
    assert!(agent.hear("edge.sessions{local postgres@shop psql}").await);
    holder.wait().unwrap();
    waiter.wait().unwrap();
    assert!(
        agent
            .hear("pg.table_sequential_tuples{shop.public.t}")
            .await
    );
    let gone = |agent: &Agent| {
        agent.value("edge.sessions{local postgres@shop psql}") == Some(Value::Gauge(0.0))
    };
    assert!(
        agent.listen(Duration::from_secs(5), gone).await,
        "an edge that ended says zero"
    );

    server.sql("shop", "SELECT pg_stat_reset()");
    let reset = |agent: &Agent| {
        agent
            .value("pg.commits")
            .is_some_and(|value| total(Some(value)).1 != epoch)
    };
    assert!(
        agent.listen(Duration::from_secs(4), reset).await,
        "a reset is an epoch"
    );
    let n_sessions = server.sql(
        "shop",
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hsw'",
    );
    assert_eq!(n_sessions, "1", "one connection at a time");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_down_within_three_seconds_and_up_again_after() {
    let Some(server) = Server::start("127.0.71.2", 27_102, "") else {
        return;
    };
    let mut agent = Agent::start(server.config("hsw", "right"));
    agent.hear_up(1.0, Duration::from_secs(5)).await;
    agent.listen(Duration::from_secs(2), |_| false).await;
    let started = agent.facts.clone().unwrap().database_started;

    server.signal(rustix::process::Signal::STOP);
    let took = agent.hear_up(0.0, Duration::from_secs(3)).await;
    agent.said.clear();
    agent.listen(Duration::from_secs(6), |_| false).await;
    assert_eq!(
        agent.state(),
        Some(SourceState::Silent),
        "{:?}",
        agent.status
    );
    let n_down = agent
        .said
        .iter()
        .filter(|(_, r)| r.key.metric == "pg.up" && r.value == Value::Gauge(0.0))
        .count();
    assert!(
        (5..=8).contains(&n_down),
        "down is said each second: {n_down} times in 6 s"
    );
    let Some(Value::Gauge(ms)) = agent.value("pg.probe_ms") else {
        panic!("no probe")
    };
    assert!(ms > 6000.0, "the probe goes on counting: {ms}");
    server.signal(rustix::process::Signal::CONT);
    let back = agent.hear_up(1.0, Duration::from_secs(8)).await;
    println!("hang: down after {took:?}, up again after {back:?}");
    assert!(
        agent
            .listen(Duration::from_secs(2), |agent| agent.state()
                == Some(SourceState::Ok))
            .await
    );

    server.control("stop");
    let took = agent.hear_up(0.0, Duration::from_secs(3)).await;
    assert!(
        agent
            .listen(Duration::from_secs(3), |agent| agent.state()
                == Some(SourceState::Unreachable))
            .await
    );
    server.control("start");
    let back = agent.hear_up(1.0, Duration::from_secs(8)).await;
    println!("restart: down after {took:?}, up again after {back:?}");
    let renewed = |agent: &Agent| {
        agent
            .facts
            .as_ref()
            .is_some_and(|facts| facts.database_started > started)
    };
    assert!(
        agent.listen(Duration::from_secs(3), renewed).await,
        "the new start is a new fact"
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_their_remedy_and_tls_and_the_check_work() {
    let Some(server) = Server::start("127.0.71.3", 27_103, "log_lock_waits=on") else {
        return;
    };
    let mut agent = Agent::start(server.config("hsw", "wrong"));
    agent.hear_up(0.0, Duration::from_secs(3)).await;
    assert!(
        agent
            .listen(Duration::from_secs(2), |agent| agent.status.is_some())
            .await
    );
    let status = agent.status.clone().unwrap();
    assert_eq!(status.state, SourceState::Refused);
    assert!(
        status.message.contains("password_file"),
        "{}",
        status.message
    );
    agent.stop().await;

    // Without pg_monitor: what is public is read, and the state says what to grant.
    let mut agent = Agent::start(server.config("nobody", "right"));
    assert!(agent.hear("pg.commits").await);
    assert_eq!(agent.state(), Some(SourceState::Refused));
    assert!(
        agent
            .status
            .as_ref()
            .unwrap()
            .message
            .contains("GRANT pg_monitor TO nobody")
    );
    assert_eq!(agent.value("pg.sessions"), None, "never a made-up zero");
    agent.stop().await;
    let report = check(&server.config("nobody", "right")).await;
    assert!(
        !report.is_fatal() && report.to_string().contains("GRANT pg_monitor TO nobody;"),
        "{report}"
    );

    // With pg_monitor alone every statement is answered.
    let report = check(&server.config("hsw", "right")).await;
    println!("{report}");
    let refused: Vec<_> = report
        .queries
        .iter()
        .filter(|query| query.ms.is_none() && query.name != "logfile")
        .collect();
    assert!(
        refused.is_empty() && report.queries.len() >= 14,
        "{refused:?}"
    );
    let is = |state, what: &str| {
        report
            .findings
            .iter()
            .any(|f| f.state == state && f.what.contains(what))
    };
    assert!(is(FindingState::Ok, "pg_monitor") && is(FindingState::Ok, "log_lock_waits"));
    assert!(
        is(FindingState::Missing, "track_io_timing")
            && is(FindingState::Missing, "logging_collector")
    );
    assert!(check(&server.config("hsw", "wrong")).await.is_fatal());

    // TLS: the role is let in encrypted only.
    let encrypted = Config {
        sslmode: TlsMode::Require,
        ..server.config("hsw_tls", "right")
    };
    let report = check(&encrypted).await;
    assert!(!report.is_fatal(), "{report}");
    let plain = Config {
        sslmode: TlsMode::Disable,
        ..encrypted.clone()
    };
    assert!(check(&plain).await.is_fatal());
    let verified = Config {
        sslmode: TlsMode::VerifyFull,
        sslrootcert: Some(server.data().join("server.crt")),
        ..encrypted
    };
    let report = check(&verified).await;
    assert!(!report.is_fatal(), "{report}");
    let other = rcgen::generate_simple_self_signed(vec!["elsewhere".into()])
        .unwrap()
        .cert
        .pem();
    let path = server.folder.path().join("other.crt");
    fs::write(&path, other).unwrap();
    let report = check(&Config {
        sslrootcert: Some(path),
        ..verified
    })
    .await;
    assert!(
        report.is_fatal() && report.to_string().contains("sslrootcert"),
        "{report}"
    );
}

/// Not part of the ordinary run: prints what the source costs. `cargo test --test postgres -- --ignored --nocapture`
#[tokio::test(flavor = "current_thread")]
#[ignore = "a measurement, not a test"]
async fn cost_with_a_hundred_tables_and_two_hundred_statements() {
    let Some(server) = Server::start("127.0.71.4", 27_104, "") else {
        return;
    };
    let tables: Vec<_> = (0..100)
        .map(|n| format!("CREATE TABLE t{n} (a int PRIMARY KEY, b int)"))
        .collect();
    server.sql("shop", &tables.join("; "));
    let statements: Vec<_> = (0..200)
        .map(|n| format!("SELECT a AS c{n} FROM t{}", n % 100))
        .collect();
    server.sql("shop", &statements.join("; "));
    let idle: Vec<_> = (0..10)
        .map(|_| server.psql("shop", "SELECT pg_sleep(60)").spawn().unwrap())
        .collect();
    let mut agent = Agent::start(server.config("hsw", "right"));
    agent.listen(Duration::from_secs(5), |_| false).await;
    let pid = agent.settings.borrow().clone().unwrap().own_pid;
    let ticks = |pid: u32| -> f64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        stat.split_whitespace()
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1e6
    };
    let own = std::process::id();
    let threads = || -> f64 {
        let tasks = fs::read_dir(format!("/proc/{own}/task")).unwrap();
        tasks
            .map(|task| ticks(task.unwrap().file_name().to_str().unwrap().parse().unwrap()))
            .sum()
    };
    let (backend, agent_ms, began, spent) = (
        ticks(pid),
        threads(),
        Instant::now(),
        total(agent.value("pg.agent_query_ms")).0,
    );
    agent.said.clear();
    agent.listen(Duration::from_secs(20), |_| false).await;
    let s = began.elapsed().as_secs_f64();
    println!(
        "per second: backend {:.3} ms CPU, this process {:.3} ms CPU, waited {:.3} ms, {:.0} readings",
        (ticks(pid) - backend) / s,
        (threads() - agent_ms) / s,
        (total(agent.value("pg.agent_query_ms")).0 - spent) / s,
        agent.said.len() as f64 / s
    );
    for mut session in idle {
        let _ = session.kill();
        let _ = session.wait();
    }
    agent.stop().await;
}
