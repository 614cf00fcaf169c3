//! A real server of its own, and an agent's source that runs against it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hsw_agent::sources::SourceEvent;
use hsw_agent::sources::postgres::{Config, DatabaseSettings, run};
use hsw_types::{NodeFacts, Reading, SourceState, SourceStatus, Value};
use tokio::sync::{mpsc, watch};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A server of its own, on a loopback address of its own.
pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) host: &'static str,
    pub(crate) port: u16,
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
pub(crate) fn postgres_user() -> Option<u32> {
    let is_there = Path::new(BIN).join("postgres").exists() && rustix::process::geteuid().is_root();
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    line.split(':').nth(2)?.parse().ok().filter(|_| is_there)
}

impl Server {
    pub(crate) fn start(host: &'static str, port: u16, settings: &str) -> Option<Self> {
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
        let rules = "local all postgres trust\nlocal replication postgres trust\nhostssl all hsw_tls all scram-sha-256\nhostnossl all hsw_tls all reject\n\
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

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn control(&self, action: &str) {
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

    /// A copy of this server that follows it.
    pub(crate) fn replica(&self, host: &'static str, port: u16) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("hsw-pg-")
            .tempdir()
            .unwrap();
        chown(folder.path(), postgres_user(), None).unwrap();
        let replica = Self { folder, host, port };
        let mut copy = as_postgres("pg_basebackup");
        copy.args(["-R", "-c", "fast", "-h"])
            .arg(self.folder.path());
        copy.args(["-p", &self.port.to_string(), "-D"])
            .arg(replica.data());
        assert!(copy.status().unwrap().success(), "pg_basebackup");
        let path = replica.data().join("postgresql.auto.conf");
        let sockets = replica.folder.path().display();
        let settings = fs::read_to_string(&path).unwrap();
        let own = format!(
            "listen_addresses='{host}'\nport={port}\nunix_socket_directories='{sockets}'\n"
        );
        fs::write(&path, settings + &own).unwrap();
        replica.control("start");
        replica
    }

    /// A session of another role; password login, so through TCP.
    pub(crate) fn psql_as(&self, user: &str, statement: &str) -> Command {
        let mut command = as_postgres("psql");
        command
            .env("PGPASSWORD", "right")
            .args(["-qtAX", "-h", self.host]);
        command.args([
            "-p",
            &self.port.to_string(),
            "-d",
            "shop",
            "-U",
            user,
            "-c",
            statement,
        ]);
        command
    }

    pub(crate) fn psql(&self, database: &str, statements: &str) -> Command {
        let mut command = as_postgres("psql");
        command.args(["-qtAX", "-h"]).arg(self.folder.path());
        command.args(["-p", &self.port.to_string(), "-d", database]);
        for statement in statements.split("; ") {
            command.args(["-c", statement]);
        }
        command
    }

    pub(crate) fn sql(&self, database: &str, statements: &str) -> String {
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
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let main = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let main: i32 = main.lines().next().unwrap().parse().unwrap();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        for pid in std::iter::once(main).chain(children) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    pub(crate) fn config(&self, user: &str, password: &str) -> Config {
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
pub(crate) struct Agent {
    pub(crate) events: mpsc::Receiver<SourceEvent>,
    pub(crate) settings: watch::Receiver<Option<DatabaseSettings>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: tokio::task::JoinHandle<()>,
    pub(crate) said: Vec<(Instant, Reading)>,
    pub(crate) status: Option<SourceStatus>,
    pub(crate) facts: Option<NodeFacts>,
}

impl Agent {
    pub(crate) fn start(config: Config) -> Self {
        let (sink, events) = mpsc::channel(256);
        let (send_settings, settings) = watch::channel(None);
        let (stop, shutdown) = watch::channel(false);
        let pace = watch::channel(hsw_agent::pace::Pace::default()).1;
        let task = tokio::spawn(run(config, sink, send_settings, pace, shutdown));
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

    pub(crate) async fn listen(
        &mut self,
        limit: Duration,
        mut is_enough: impl FnMut(&Self) -> bool,
    ) -> bool {
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

    pub(crate) async fn hear(&mut self, series: &str) -> bool {
        self.listen(Duration::from_secs(6), |agent| {
            agent.value(series).is_some()
        })
        .await
    }

    pub(crate) async fn hear_up(&mut self, up: f64, limit: Duration) -> Duration {
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

    pub(crate) fn value(&self, series: &str) -> Option<Value> {
        self.said
            .iter()
            .rev()
            .find(|(_, r)| r.key.to_string() == series)
            .map(|(_, r)| r.value)
    }

    pub(crate) fn state(&self) -> Option<SourceState> {
        self.status.as_ref().map(|status| status.state)
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(1), self.task)
            .await
            .expect("stops at once")
            .unwrap();
    }
}

pub(crate) fn total(value: Option<Value>) -> (f64, u64) {
    match value {
        Some(Value::Counter { total, epoch }) => (total, epoch),
        other => panic!("no counter: {other:?}"),
    }
}
