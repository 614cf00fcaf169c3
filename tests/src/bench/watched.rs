//! One real PostgreSQL with 100 tables and 200 statements, a real aggregator, and one agent that can be switched on and off.
//!
//! In: where to build it. Out: [`Watched`]; dropping it stops and removes everything.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Args, usage};
use crate::testbed::bed::{Bed, clean, open_bed};
use crate::testbed::configs::{AgentFacts, AggregatorFacts, INGEST_PORT, Member};
use crate::testbed::host::Host;
use crate::testbed::postgres::DATABASE;
use crate::testbed::schema::{Passwords, roles};
use crate::testbed::services::{Services, certs_of};
use crate::testbed::{Launch, Ledger, Managed, Node, Stop, http};

/// The agent's node.
const NAME: &str = "shard-4-a";
/// Number whose instances log as JSON.
const NUMBER: usize = 4;
/// First port of the database.
const PORT: u16 = 15_440;
/// Tables; each has two statements in the load.
const N_TABLES: usize = 100;
/// Passwords live as long as the run and guard nothing but it.
const PASSWORD: &str = "only-for-this-run";

/// One watched database.
pub(super) struct Watched {
    bed: Arc<Bed>,
    node: Node,
    services: Option<Services>,
    web: SocketAddr,
    _lock: File,
}

impl Watched {
    /// Builds it; no agent runs yet.
    pub(super) fn start(args: &Args, stop: &Stop) -> Result<Self> {
        let (bed, lock) = open_bed(&args.dir, Host::find()?, stop)?;
        let node = Node::new(&bed, NUMBER, args.subnet, PORT, None);
        let mut watched = Self {
            bed,
            node,
            services: None,
            web: SocketAddr::from(([127, 0, 0, 1], args.web)),
            _lock: lock,
        };
        watched.fill()?;
        watched.services = Some(watched.start_services(args)?);
        if let Some(services) = &mut watched.services {
            services.wait_ready(stop, Duration::from_secs(90))?;
            services.end_agents();
        }
        Ok(watched)
    }

    fn fill(&self) -> Result<()> {
        let (bed, node) = (&self.bed, &self.node);
        node.create()?;
        node.start()?;
        let passwords = Passwords {
            app: PASSWORD.to_owned(),
            reports: PASSWORD.to_owned(),
            hsw: PASSWORD.to_owned(),
        };
        bed.service_file(
            &bed.dir.join("secrets/pgpass"),
            &format!("*:*:*:app:{PASSWORD}\n"),
        )?;
        bed.service_file(&bed.dir.join("secrets/hsw.password"), PASSWORD)?;
        node.sql("postgres", &roles(&passwords))?;
        node.sql(DATABASE, &tables())?;
        bed.service_dir(&self.storm_dir())?;
        bed.service_file(
            &bed.dir.join("load/many.sql"),
            "\\set n random(1, 100)\n\\set id random(1, 500)\n\
             UPDATE part_:n SET v = v + 1 WHERE id = :id;\nSELECT v, note FROM part_:n WHERE id = :id;\n",
        )
    }

    fn start_services(&self, args: &Args) -> Result<Services> {
        let node = &self.node;
        let listen = format!("127.0.{}.20:{INGEST_PORT}", args.subnet);
        let facts = AgentFacts {
            logs: [node.log_dir(), self.storm_dir()]
                .map(|dir| dir.join("*.json").display().to_string())
                .to_vec(),
            log_prefix: None,
            ..AgentFacts::of(&self.bed, node, NAME, &listen)
        };
        let aggregator = AggregatorFacts {
            data_dir: self.bed.dir.join("aggregator"),
            listen,
            web: self.web.to_string(),
            certs: certs_of(&self.bed, "aggregator"),
            shards: vec![Member {
                name: node.name.clone(),
                nodes: vec![NAME.to_owned()],
                router: false,
            }],
            shipped_causes: true,
        };
        let programs = args.programs()?;
        Services::start(&self.bed, &programs, self.web, &aggregator, &[facts])
    }

    /// Folder of a second log that the agent follows.
    pub(super) fn storm_dir(&self) -> PathBuf {
        self.bed.dir.join("storm")
    }

    /// Switches the agent on.
    pub(super) fn agent_on(&mut self) -> Result<()> {
        let services = self.services.as_mut().context("the services are gone")?;
        services.start_agent(&self.bed, NAME)
    }

    /// Switches the agent off, in order: its last report is in its log then.
    pub(super) fn agent_off(&mut self) {
        if let Some(services) = &mut self.services {
            services.end_agents();
        }
    }

    /// The agent's process.
    pub(super) fn agent_pid(&self) -> Result<u32> {
        self.pid_of("agent-")
    }

    /// The process of ours whose name begins so.
    fn pid_of(&self, prefix: &str) -> Result<u32> {
        let services = self.services.as_ref().context("the services are gone")?;
        let mut all = services.processes();
        let found = all.find(|(name, _)| name.starts_with(prefix));
        found
            .map(|(_, id)| id.pid)
            .with_context(|| format!("{prefix} does not run"))
    }

    /// Processor seconds of the aggregator so far.
    pub(super) fn aggregator_s(&self) -> Result<f64> {
        usage::cpu_seconds(self.pid_of("aggregator")?).context("the aggregator is gone")
    }

    /// The processes of the database that serve the agent.
    pub(super) fn backends(&self) -> Result<Vec<u32>> {
        let sql =
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'hsw-agent' ORDER BY pid";
        let rows = self.node.sql("postgres", sql)?;
        rows.lines()
            .map(|pid| pid.trim().parse().context("read a pid"))
            .collect()
    }

    /// Processor seconds of the agent and of its backends so far.
    pub(super) fn cost(&self) -> Result<Cost> {
        let backends = self.backends()?;
        Ok(Cost {
            agent_s: usage::cpu_seconds(self.agent_pid()?).context("the agent is gone")?,
            backend_s: backends
                .iter()
                .filter_map(|pid| usage::cpu_seconds(*pid))
                .sum(),
            backends,
        })
    }

    /// Numbers of the agent's own reports, oldest first.
    pub(super) fn reports(&self) -> Result<Vec<Value>> {
        let path = self.bed.dir.join("logs").join(format!("agent-{NAME}.log"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(text
            .lines()
            .filter(|line| line.contains(" statistics "))
            .map(fields)
            .collect())
    }

    /// What the aggregator says of the agent's node.
    pub(super) fn n_series(&self) -> Result<f64> {
        let answer = http::get(self.web, "/api/v1/shards")?;
        let shards: Value = serde_json::from_str(&answer.body).context("read the shards")?;
        let n = shards["shards"][0]["nodes"][0]["n_series"].as_f64();
        n.context("the aggregator does not know the agent's node")
    }

    /// A `pgbench` of the application, with these arguments.
    pub(super) fn pgbench(&self, args: &[&str]) -> Launch {
        self.node
            .pgbench_launch("pgbench", "bench", "app")
            .args(args)
            .args([DATABASE])
    }

    /// A `pgbench` of the application over the database's Unix socket, with these arguments.
    pub(super) fn pgbench_beside(&self, args: &[&str]) -> Launch {
        // Of two -h the last counts.
        let socket = self.node.socket_dir().display().to_string();
        self.pgbench(&[&["-h", &socket], args].concat())
    }

    /// Fills pgbench's own tables: 200,000 accounts, which fit into the database's own buffers. No plan of theirs is logged: a log of
    /// hundreds of plans a second is a load of its own.
    pub(super) fn fill_pgbench(&self) -> Result<()> {
        let (bed, node) = (&self.bed, &self.node);
        let launch = Launch::new("pgbench -i", bed.host.pg_bin.join("pgbench"))
            .args(["-i", "-q", "-s", "2", "-U", "app", "-h", &node.address])
            .args(["-p", &node.port.to_string(), DATABASE])
            .env(
                "PGPASSFILE",
                bed.dir.join("secrets/pgpass").display().to_string(),
            );
        self.output(launch)?;
        let quiet = "ALTER ROLE app SET auto_explain.log_min_duration = -1";
        self.node.sql("postgres", quiet).map(drop)
    }

    /// Starts load that needs little: 100 transactions a second over all tables.
    pub(super) fn modest_load(&self) -> Result<Managed> {
        let script = self.bed.dir.join("load/many.sql").display().to_string();
        self.pgbench(&["-c", "4", "-R", "100", "-T", "1000000", "-f", &script])
            .spawn(&self.bed)
    }

    /// Runs a command of the test bed to its end.
    pub(super) fn output(&self, launch: Launch) -> Result<String> {
        launch.output(&self.bed, "")
    }

    /// Starts a process of the test bed.
    pub(super) fn spawn(&self, launch: Launch) -> Result<Managed> {
        launch.spawn(&self.bed)
    }

    /// Statements that the database has counted.
    pub(super) fn n_statements(&self) -> Result<f64> {
        let n = self
            .node
            .sql(DATABASE, "SELECT count(*) FROM pg_stat_statements")?;
        n.trim().parse().context("count the statements")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.services = None;
        self.node.stop();
        // What is left is undone by the next run in this folder.
        let _ = Ledger::undo(&self.bed.dir.join("ledger"));
        if clean(&self.bed.dir).is_ok() {
            let _ = std::fs::remove_dir_all(&self.bed.dir);
        }
    }
}

/// Processor seconds at one moment.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) agent_s: f64,
    pub(super) backend_s: f64,
    pub(super) backends: Vec<u32>,
}

fn tables() -> String {
    let mut sql = "CREATE EXTENSION pg_stat_statements;\nSET ROLE app;\n".to_owned();
    for n in 1..=N_TABLES {
        let _ = writeln!(
            sql,
            "CREATE TABLE part_{n} AS SELECT id, 0 AS v, repeat('x', 40) AS note FROM generate_series(1, 500) id;\n\
             ALTER TABLE part_{n} ADD PRIMARY KEY (id);"
        );
    }
    sql.push_str("RESET ROLE;\nVACUUM ANALYZE;\nSELECT pg_stat_statements_reset();\n");
    sql
}

/// `key=number` words of a line.
pub(super) fn fields(line: &str) -> Value {
    let words = line
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='));
    let numbers =
        words.filter_map(|(key, value)| Some((key.to_owned(), value.parse::<f64>().ok()?.into())));
    Value::Object(numbers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_the_agent_is_read() {
        let line =
            "2026 INFO hsw_agent::report: statistics connected=true summaries=390 cpu_percent=0.18";
        let report = fields(line);
        assert_eq!(report["summaries"], 390.0);
        assert_eq!(report["cpu_percent"], 0.18);
        assert!(report.get("connected").is_none());
    }
}
