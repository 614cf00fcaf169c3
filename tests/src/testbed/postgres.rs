//! One PostgreSQL instance of the cluster: made, configured, started, asked and stopped.
//!
//! Each has its own loopback address, socket folder, control group and (as root) disk, so that it behaves like a host.
//! Administration goes through the socket as the service user (peer); everybody else comes over TCP with a password.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::bed::Bed;
use super::cgroup::Group;
use super::disk;
use super::process::{Launch, Managed};

/// Size of a node's own disk; the file is sparse, so only what is written takes room.
const DISK_BYTES: u64 = 700 << 20;
/// Name of the application's database.
pub const DATABASE: &str = "shop";
/// Login limit of each instance: small, so that a storm of connections reaches it.
pub const MAX_CONNECTIONS: u32 = 60;
const START_PATIENCE: Duration = Duration::from_secs(40);

/// How an instance writes its log; the shards differ so that every parser is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `log_destination = jsonlog`.
    Json,
    /// `log_destination = csvlog`.
    Csv,
    /// Plain text with [`LogFormat::PREFIX`].
    Stderr,
}

impl LogFormat {
    /// The prefix of plain text lines.
    pub const PREFIX: &str = "%m [%p] %q%u@%d/%a %h ";

    /// The setting's value.
    #[must_use]
    pub fn destination(self) -> &'static str {
        match self {
            Self::Json => "jsonlog",
            Self::Csv => "csvlog",
            Self::Stderr => "stderr",
        }
    }

    /// The ending of the files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Stderr => "log",
        }
    }
}

/// One instance: the coordinator (number 0) or a shard (from 1).
#[derive(Debug)]
pub struct Node {
    /// 0 for the coordinator, else the shard's number.
    pub number: usize,
    /// `coordinator` or `shard-N`.
    pub name: String,
    /// Its own loopback address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// How it logs.
    pub log_format: LogFormat,
    /// Its control group, where the kernel gives one.
    pub group: Option<Group>,
    bed: Arc<Bed>,
    server: Mutex<Option<Managed>>,
}

impl Node {
    /// Describes an instance; nothing happens yet.
    #[must_use]
    pub fn new(bed: &Arc<Bed>, number: usize, subnet: u8, port: u16, group: Option<Group>) -> Self {
        let (name, host) = match number {
            0 => ("coordinator".to_owned(), 10),
            _ => (format!("shard-{number}"), number),
        };
        let log_format = match number % 4 {
            2 => LogFormat::Csv,
            3 => LogFormat::Stderr,
            _ => LogFormat::Json,
        };
        Self {
            number,
            name,
            address: format!("127.0.{subnet}.{host}"),
            port,
            log_format,
            group,
            bed: Arc::clone(bed),
            server: Mutex::new(None),
        }
    }

    /// The node's disk, or the folder in its place.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.bed.dir.join("nodes").join(&self.name)
    }

    /// PostgreSQL's data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Folder of the log files.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.home().join("log")
    }

    /// Folder of the socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.bed.dir.join("sockets").join(&self.name)
    }

    /// What this run shares.
    #[must_use]
    pub fn bed(&self) -> &Arc<Bed> {
        &self.bed
    }

    /// Makes disk, folders and instance; says whether it got a disk of its own.
    ///
    /// # Errors
    /// When the instance cannot be made. A disk that cannot be made is not an error.
    pub fn create(&self) -> Result<bool> {
        let home = self.home();
        std::fs::create_dir_all(&home).with_context(|| format!("make {}", home.display()))?;
        let image = self
            .bed
            .dir
            .join("disks")
            .join(format!("{}.img", self.name));
        let own_disk =
            self.bed.host.root && disk::mount(&image, DISK_BYTES, &home, &self.bed.ledger).is_ok();
        for dir in [home, self.log_dir(), self.socket_dir()] {
            self.bed.service_dir(&dir)?;
        }
        let args = [
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-U",
            "postgres",
            "-A",
            "peer",
        ];
        Launch::new(
            &format!("initdb of {}", self.name),
            self.bed.host.pg_bin.join("initdb"),
        )
        .args(args)
        .args(["--auth-host=scram-sha-256", "-D"])
        .args([self.data_dir()])
        .output(&self.bed, "")?;
        self.bed.service_file(
            &self.data_dir().join("postgresql.auto.conf"),
            &self.settings(),
        )?;
        self.bed
            .service_file(&self.data_dir().join("pg_hba.conf"), HBA)?;
        let ident = format!("owner {} postgres\n", self.bed.host.user.name);
        self.bed
            .service_file(&self.data_dir().join("pg_ident.conf"), &ident)?;
        Ok(own_disk)
    }

    fn settings(&self) -> String {
        let Self { address, port, .. } = self;
        let destination = self.log_format.destination();
        let mut text = format!(
            "listen_addresses = '{address}'\nport = {port}\nunix_socket_directories = '{}'\n\
             max_connections = {MAX_CONNECTIONS}\nshared_buffers = 48MB\nfsync = on\n\
             max_wal_size = 160MB\nmin_wal_size = 48MB\nwork_mem = 4MB\nmax_worker_processes = 4\n\
             max_parallel_workers_per_gather = 0\nautovacuum_naptime = 30s\n\
             shared_preload_libraries = 'pg_stat_statements, auto_explain'\npg_stat_statements.max = 1000\n\
             auto_explain.log_min_duration = 0\nauto_explain.sample_rate = 0.01\ntrack_io_timing = on\n\
             logging_collector = on\nlog_destination = '{destination}'\nlog_directory = '{}'\n\
             log_filename = 'postgresql-%H.log'\nlog_rotation_age = 60min\nlog_rotation_size = 0\n\
             log_truncate_on_rotation = on\nlog_file_mode = 0600\nlog_line_prefix = '{}'\n\
             log_lock_waits = on\ndeadlock_timeout = 1s\nlog_min_duration_statement = 500\n\
             log_checkpoints = on\nlog_connections = on\nlog_timezone = 'UTC'\ntimezone = 'UTC'\n\
             cluster_name = '{}'\n",
            self.socket_dir().display(),
            self.log_dir().display(),
            LogFormat::PREFIX,
            self.name,
        );
        if self.number == 0 {
            text.push_str("postgres_fdw.application_name = 'coordinator/%a'\n");
        }
        text
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// When it ends or stays silent.
    pub fn start(&self) -> Result<()> {
        let server = Launch::new(&self.name, self.bed.host.pg_bin.join("postgres"))
            .args(["-D"])
            .args([self.data_dir()])
            .group(self.group.as_ref())
            .spawn(&self.bed)?;
        *self.server() = Some(server);
        let until = Instant::now() + START_PATIENCE;
        loop {
            match self.sql("postgres", "SELECT 1") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    return Err(error).with_context(|| format!("wait for {}", self.name));
                }
                Err(_) => {}
            }
            if let Some(server) = self.server().as_mut()
                && !server.running()
            {
                return Err(server.obituary());
            }
            if self.bed.stop.is_set() {
                bail!("stopped while {} was starting", self.name);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The postmaster, while it runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn postmaster(&self) -> Result<super::ledger::ProcId> {
        let mut server = self.server();
        let running = server
            .as_mut()
            .and_then(|server| server.running().then(|| server.id()));
        running.with_context(|| format!("{} does not run", self.name))
    }

    /// Shuts down fast, by force when that takes more than ten seconds.
    pub fn stop(&self) {
        if let Some(mut server) = self.server().take() {
            server.end(Signal::INT, Duration::from_secs(10));
        }
    }

    /// Kills the postmaster as a crash would; backends notice and end by themselves.
    pub fn kill(&self) {
        if let Some(mut server) = self.server().take() {
            let tree = server.id().tree();
            server.end(Signal::KILL, Duration::from_secs(1));
            // The next start refuses while an old backend still holds the shared memory.
            for id in tree {
                let _ = id.wait_gone(Duration::from_secs(5));
            }
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Managed>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The password of a role of the run.
    ///
    /// # Errors
    /// When there is none.
    pub fn password(&self, role: &str) -> Result<String> {
        let secrets = self.bed.dir.join("secrets/pgpass");
        let text = std::fs::read_to_string(&secrets)
            .with_context(|| format!("read {}", secrets.display()))?;
        let entry = format!("*:*:*:{role}:");
        let password = text.lines().find_map(|line| line.strip_prefix(&entry));
        Ok(password
            .with_context(|| format!("find the password of {role}"))?
            .to_owned())
    }

    /// Runs SQL as the superuser and returns the rows, one a line, fields separated by `|`.
    ///
    /// # Errors
    /// When the server does not answer or refuses; the error is its last line.
    pub fn sql(&self, database: &str, text: &str) -> Result<String> {
        self.psql_launch(&format!("psql on {}", self.name), database)
            .output(&self.bed, text)
    }

    /// A `psql` of the superuser that reads commands from its input, named for the ledger.
    #[must_use]
    pub fn psql_launch(&self, name: &str, database: &str) -> Launch {
        Launch::new(name, self.bed.host.pg_bin.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                database,
                "-h",
            ])
            .args([self.socket_dir()])
            .args(["-p", &self.port.to_string()])
            .env("PGAPPNAME", "testbed")
            .env("PGCONNECT_TIMEOUT", "5")
    }

    /// A `pgbench` as a client of this node would run it: over TCP, with a password, under an application's name.
    #[must_use]
    pub fn pgbench_launch(&self, name: &str, application: &str, user: &str) -> Launch {
        let passwords = self.bed.dir.join("secrets/pgpass");
        Launch::new(name, self.bed.host.pg_bin.join("pgbench"))
            .args([
                "-n",
                "-j",
                "1",
                "-U",
                user,
                "-h",
                &self.address,
                "-p",
                &self.port.to_string(),
            ])
            .env("PGAPPNAME", application)
            .env("PGCONNECT_TIMEOUT", "5")
            .env("PGPASSFILE", passwords.display().to_string())
    }
}

const HBA: &str = "local all postgres peer map=owner\n\
    local all all scram-sha-256\n\
    host all all 127.0.0.0/8 scram-sha-256\n";
