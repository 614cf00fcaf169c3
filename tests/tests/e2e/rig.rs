//! A small world for one test: a folder, an authority, one aggregator, agents, and where asked one PostgreSQL.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsw_tests::testbed::host::Host;
use hsw_tests::testbed::{Bed, Launch, Ledger, Managed, Node, Stop, http};
use hsw_types::NodeId;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a crowded machine; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// Password of every role.
pub(crate) const PASSWORD: &str = "e2e-word-of-nobody";

/// Where an agent's database is.
pub(crate) struct Database {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
}

/// A finished command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

/// See the module's header. Dropping it ends every process and unmounts what was mounted.
pub(crate) struct Rig {
    pub(crate) bed: Arc<Bed>,
    pub(crate) listen: String,
    pub(crate) web: SocketAddr,
    own: Option<TempDir>,
}

/// The folder of the released programs.
pub(crate) fn programs() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release");
    let folder = std::env::var_os("HSW_BIN_DIR").map_or(built, PathBuf::from);
    for program in ["hsw", "hsw-agent", "hsw-aggregator"] {
        assert!(
            folder.join(program).is_file(),
            "no {program} in {}; build it: cargo build --release --locked --workspace --bins (or set HSW_BIN_DIR)",
            folder.display()
        );
    }
    folder
}

/// Asks every tenth of a second until there is an answer.
pub(crate) fn wait_for<T>(what: &str, answer: impl FnMut() -> Option<T>) -> T {
    wait_long(what, PATIENCE, answer)
}

/// The same with more patience, or less.
pub(crate) fn wait_long<T>(
    what: &str,
    patience: Duration,
    mut answer: impl FnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = answer() {
            return found;
        }
        assert!(
            Instant::now() < until,
            "not within {} s: {what}",
            patience.as_secs()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn pause(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

impl Rig {
    /// A fresh world on `127.0.SUBNET.x`.
    pub(crate) fn new(subnet: u8) -> Self {
        let own = tempfile::Builder::new()
            .prefix("hsw-e2e-")
            .tempdir_in("/tmp")
            .unwrap();
        let dir = own.path().to_owned();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["disks", "nodes", "sockets"] {
            fs::create_dir(dir.join(folder)).unwrap();
        }
        let bed = Bed {
            host: Host::find().unwrap(),
            ledger: Ledger::open(&dir.join("ledger")).unwrap(),
            stop: Stop::new(),
            dir,
        };
        let mut rig = Self::over(Arc::new(bed), subnet);
        rig.own = Some(own);
        rig
    }

    /// A world beside what a run folder holds already.
    pub(crate) fn over(bed: Arc<Bed>, subnet: u8) -> Self {
        for folder in ["bin", "certs", "configs", "logs"] {
            fs::create_dir_all(bed.dir.join(folder)).unwrap();
        }
        for folder in ["agents", "secrets"] {
            bed.service_dir(&bed.dir.join(folder)).unwrap();
        }
        let from = programs();
        for program in ["hsw", "hsw-agent", "hsw-aggregator"] {
            let to = bed.dir.join("bin").join(program);
            // The service user may not be able to look into the folder where they were built.
            if fs::hard_link(from.join(program), &to).is_err() {
                fs::copy(from.join(program), &to).unwrap();
            }
        }
        let rig = Self {
            bed,
            listen: format!("127.0.{subnet}.20:7443"),
            web: SocketAddr::from(([127, 0, subnet, 20], 18_180)),
            own: None,
        };
        hsw_shell::cert::init(&rig.authority()).unwrap();
        rig
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.bed.dir
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.dir().join("certs/authority")
    }

    pub(crate) fn bin(&self, program: &str) -> PathBuf {
        self.dir().join("bin").join(program)
    }

    /// Where a node's certificate lies.
    pub(crate) fn certs(&self, node: &str) -> PathBuf {
        self.dir().join("certs").join(node)
    }

    /// Issues a node's certificate, readable by the service user.
    pub(crate) fn issue(&self, authority: &Path, node: &str) {
        let out = self.certs(node);
        hsw_shell::cert::issue(authority, &NodeId::new(node).unwrap(), &[], &out).unwrap();
        self.bed.give(&out, 0o700).unwrap();
        for file in fs::read_dir(&out).unwrap() {
            self.bed.give(&file.unwrap().path(), 0o600).unwrap();
        }
    }

    fn tls(&self, node: &str) -> String {
        let certs = self.certs(node);
        let certs = certs.display();
        format!(
            "[tls]\ncert = \"{certs}/{node}.crt\"\nkey = \"{certs}/{node}.key\"\nca = \"{certs}/ca.crt\"\n"
        )
    }

    fn config_of(&self, name: &str) -> PathBuf {
        self.dir().join(format!("configs/{name}.toml"))
    }

    /// Issues and writes all that an aggregator needs; `top` and `tables` are added to its file.
    pub(crate) fn configure_aggregator(&self, top: &str, tables: &str) -> PathBuf {
        if !self.certs("aggregator").exists() {
            self.issue(&self.authority(), "aggregator");
        }
        let data = self.data_dir();
        if !data.exists() {
            self.bed.service_dir(&data).unwrap();
        }
        let web = if top.contains("web =") {
            String::new()
        } else {
            format!("web = \"{}\"\n", self.web)
        };
        let text = format!(
            "cluster = \"e2e\"\ndata_dir = \"{}\"\nlisten = \"{}\"\n{web}{top}\n{}{tables}\n",
            data.display(),
            self.listen,
            self.tls("aggregator"),
        );
        let path = self.config_of("aggregator");
        self.bed.service_file(&path, &text).unwrap();
        path
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir().join("aggregator")
    }

    /// Issues (unless it has one) and writes all that an agent needs.
    pub(crate) fn configure_agent(&self, node: &str, database: &Database, tables: &str) -> PathBuf {
        if !self.certs(node).exists() {
            self.issue(&self.authority(), node);
        }
        let state = self.state_dir(node);
        if !state.exists() {
            self.bed.service_dir(&state).unwrap();
        }
        let password = self.dir().join(format!("secrets/{node}"));
        self.bed.service_file(&password, database.password).unwrap();
        let shard = node.strip_suffix("-a").unwrap_or(node);
        let text = format!(
            "node = \"{node}\"\nshard = \"{shard}\"\ncluster = \"e2e\"\nstate_dir = \"{}\"\n\
             [aggregator]\naddress = \"{}\"\n{}[postgres]\nhost = \"{}\"\nport = {}\nuser = \"{}\"\n\
             password_file = \"{}\"\ndatabase = \"postgres\"\n{tables}\n",
            state.display(),
            self.listen,
            self.tls(node),
            database.host,
            database.port,
            database.user,
            password.display(),
        );
        let path = self.config_of(node);
        self.bed.service_file(&path, &text).unwrap();
        path
    }

    pub(crate) fn state_dir(&self, node: &str) -> PathBuf {
        self.dir().join("agents").join(node)
    }

    /// Starts the configured aggregator and waits until its page answers.
    pub(crate) fn start_aggregator(&self) -> Managed {
        let mut aggregator = self.launch("hsw-aggregator", "aggregator");
        wait_for("the page answers", || {
            assert!(aggregator.running(), "{:#}", aggregator.obituary());
            http::get(self.web, "/healthz")
                .ok()
                .filter(|a| a.status == 200)
        });
        aggregator
    }

    /// Starts a configured agent.
    pub(crate) fn start_agent(&self, node: &str) -> Managed {
        self.launch("hsw-agent", node)
    }

    fn launch(&self, program: &str, name: &str) -> Managed {
        Launch::new(name, self.bin(program))
            .args(["run", "--config"])
            .args([self.config_of(name)])
            .spawn(&self.bed)
            .unwrap()
    }

    /// Runs a program to its end, as ourselves.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Finished {
        let output = Command::new(self.bin(program))
            .args(args)
            .env_clear()
            .output()
            .unwrap();
        Finished {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The operator's command line against this aggregator.
    pub(crate) fn hsw(&self, args: &[&str]) -> Finished {
        let url = format!("http://{}", self.web);
        self.run("hsw", &[&["--url", &url], args].concat())
    }

    /// What a process has logged.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(format!("logs/{name}.log"))).unwrap_or_default()
    }

    /// Waits for a line of a process' log with all these words, and returns it.
    pub(crate) fn line(&self, name: &str, words: &[&str]) -> String {
        wait_for(&format!("{name} logs {words:?}"), || {
            let log = self.log(name);
            log.lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(str::to_owned)
        })
    }

    /// An answer of the API; `Null` while there is none.
    pub(crate) fn get(&self, path: &str) -> Value {
        http::get(self.web, path)
            .ok()
            .and_then(|answer| serde_json::from_str(&answer.body).ok())
            .unwrap_or_default()
    }

    /// Status and text of an answer.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        http::get(self.web, path).map_or((0, String::new()), |answer| (answer.status, answer.body))
    }

    /// The row of `/api/v1/agents` about a node.
    pub(crate) fn agent(&self, node: &str) -> Value {
        let list = self.get("/api/v1/agents");
        let rows = list["agents"].as_array().cloned().unwrap_or_default();
        rows.into_iter()
            .find(|row| row["node"] == node)
            .unwrap_or_default()
    }

    /// What a node says of one of its sources: state and message.
    pub(crate) fn source(&self, node: &str, source: &str) -> Option<(String, String)> {
        let row = self.agent(node);
        let found = row["sources"]
            .as_array()?
            .iter()
            .find(|s| s["source"] == source)?;
        Some((
            found["state"].as_str()?.to_owned(),
            found["message"].as_str()?.to_owned(),
        ))
    }

    pub(crate) fn wait_connected(&self, node: &str) {
        wait_for(&format!("{node} is connected"), || {
            (self.agent(node)["is_connected"] == true).then_some(())
        });
    }

    /// A metric without labels, or the sum over all its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.page("/metrics");
        let of_name = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        text.lines()
            .filter(of_name)
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// One instance that writes JSON logs, with the roles `hsw` (pg_monitor), `bare` (nothing) and `app`.
    pub(crate) fn postgres(&self) -> Arc<Node> {
        let subnet = self.web.ip().to_string().split('.').nth(2).unwrap().parse();
        let node = Node::new(&self.bed, 1, subnet.unwrap(), 15_500, None);
        node.create().unwrap();
        node.start().unwrap();
        let roles = format!(
            "SET log_min_duration_statement = -1;\n\
             CREATE ROLE hsw LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor;\n\
             CREATE ROLE bare LOGIN PASSWORD '{PASSWORD}';\nCREATE ROLE app LOGIN PASSWORD '{PASSWORD}';\n"
        );
        node.sql("postgres", &roles).unwrap();
        Arc::new(node)
    }

    /// A small disk in memory that the service user owns.
    pub(crate) fn mount(&self, at: &Path, kib: u32) {
        assert!(
            self.bed.host.root,
            "mounting a small disk needs root; without it leave this out: cargo nextest run -E 'not test(disks)'"
        );
        self.bed.service_dir(at).unwrap();
        self.bed.ledger.mount(at).unwrap();
        let user = &self.bed.host.user;
        let options = format!(
            "size={kib}k,mode=0700,uid={},gid={},nodev,nosuid",
            user.uid, user.gid
        );
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "hsw-e2e"])
            .arg(at)
            .status()
            .unwrap();
        assert!(mounted.success());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in fs::read_dir(self.dir().join("logs")).into_iter().flatten() {
                let path = log.unwrap().path();
                let text = fs::read_to_string(&path).unwrap_or_default();
                let last: Vec<_> = text.lines().rev().take(12).collect();
                let shown = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                let mut out = std::io::stderr().lock();
                let _ = std::io::Write::write_all(
                    &mut out,
                    format!("--- end of {}\n{shown}\n", path.display()).as_bytes(),
                );
            }
        }
        if self.own.is_some() {
            let left = Ledger::undo(&self.dir().join("ledger"));
            assert!(left.is_empty() || std::thread::panicking(), "{left:?}");
        }
    }
}

/// The role with pg_monitor on an instance.
pub(crate) fn watched(node: &Node) -> Database {
    Database {
        host: node.address.clone(),
        port: node.port,
        user: "hsw",
        password: PASSWORD,
    }
}

/// A database that is not there.
pub(crate) fn absent() -> Database {
    Database {
        host: "127.0.0.1".to_owned(),
        port: 9,
        user: "hsw",
        password: PASSWORD,
    }
}

/// kill -9, at once.
pub(crate) fn kill(process: &mut Managed) {
    process.end(Signal::KILL, Duration::from_secs(5));
}

/// An orderly end.
pub(crate) fn stop(mut process: Managed) {
    process.end(Signal::TERM, Duration::from_secs(10));
}

/// Unix seconds.
pub(crate) fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}
