//! The one place that knows what the programs' configuration files look like.
//!
//! In: what the test bed decided. Out: TOML text. When a field of a program changes its name, only this file follows.

use std::path::PathBuf;

use serde::Serialize;

use super::bed::Bed;
use super::postgres::{DATABASE, LogFormat, Node};
use super::services::certs_of;

/// Name that the aggregator's certificate carries.
pub const AGGREGATOR: &str = "aggregator";
/// The cluster's name.
pub const CLUSTER: &str = "quickstart";
/// Port that agents ship to.
pub const INGEST_PORT: u16 = 7443;

/// What an agent must know about its node.
#[derive(Clone, Debug)]
pub struct AgentFacts {
    /// The node's own name, as its certificate has it.
    pub node: String,
    /// The shard that the node is a member of.
    pub shard: String,
    /// Where agents ship to.
    pub aggregator: String,
    /// Folder for the agent's spool and checkpoints.
    pub state_dir: PathBuf,
    /// Folder with `NODE.crt`, `NODE.key`, `ca.crt`.
    pub certs: PathBuf,
    /// The database's address.
    pub host: String,
    /// The database's port.
    pub port: u16,
    /// Login of the agent.
    pub user: String,
    /// File with its password.
    pub password_file: PathBuf,
    /// Database to look at.
    pub database: String,
    /// The instance's data directory, when it is on this machine.
    pub data_dir: Option<PathBuf>,
    /// Log files to follow, as patterns.
    pub logs: Vec<String>,
    /// `log_line_prefix`, for plain text logs.
    pub log_prefix: Option<String>,
}

impl AgentFacts {
    /// Of the agent `name` beside a node of the test bed: it follows the log that the node writes.
    #[must_use]
    pub fn of(bed: &Bed, node: &Node, name: &str, aggregator: &str) -> Self {
        let is_text = node.log_format == LogFormat::Stderr;
        let pattern = format!("*.{}", node.log_format.extension());
        Self {
            node: name.to_owned(),
            shard: node.name.clone(),
            aggregator: aggregator.to_owned(),
            state_dir: bed.dir.join("agents").join(name),
            certs: certs_of(bed, name),
            host: node.address.clone(),
            port: node.port,
            user: "hsw".to_owned(),
            password_file: bed.dir.join("secrets/hsw.password"),
            database: DATABASE.to_owned(),
            data_dir: Some(node.data_dir()),
            logs: vec![node.log_dir().join(pattern).display().to_string()],
            log_prefix: is_text.then(|| LogFormat::PREFIX.to_owned()),
        }
    }
}

/// A shard or router as the aggregator must know it.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// Holds no partition of its own, such as a coordinator.
    pub router: bool,
}

/// What the aggregator must know.
#[derive(Clone, Debug)]
pub struct AggregatorFacts {
    /// Folder of its store.
    pub data_dir: PathBuf,
    /// Address that it listens on for agents.
    pub listen: String,
    /// Address of the page and the API.
    pub web: String,
    /// Folder with its certificate.
    pub certs: PathBuf,
    /// The shards and routers.
    pub shards: Vec<Member>,
    /// Whether it begins with the causes that are shipped.
    pub shipped_causes: bool,
}

#[derive(Serialize)]
struct Agent<'a> {
    node: &'a str,
    shard: &'a str,
    cluster: &'a str,
    state_dir: &'a PathBuf,
    aggregator: Peer<'a>,
    tls: Tls,
    postgres: Postgres<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Instance<'a>>,
    log: Log<'a>,
}

#[derive(Serialize)]
struct Peer<'a> {
    address: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Tls {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

#[derive(Serialize)]
struct Postgres<'a> {
    host: &'a str,
    port: u16,
    user: &'a str,
    password_file: &'a PathBuf,
    database: &'a str,
}

#[derive(Serialize)]
struct Instance<'a> {
    data_dir: &'a PathBuf,
}

#[derive(Serialize)]
struct Log<'a> {
    paths: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    line_prefix: Option<&'a str>,
}

#[derive(Serialize)]
struct Aggregator<'a> {
    name: &'a str,
    cluster: &'a str,
    data_dir: &'a PathBuf,
    listen: &'a str,
    web: &'a str,
    open: bool,
    causes: Causes,
    tls: Tls,
    shard: &'a [Member],
}

#[derive(Serialize)]
struct Causes {
    shipped: bool,
}

fn tls(certs: &std::path::Path, node: &str) -> Tls {
    Tls {
        cert: certs.join(format!("{node}.crt")),
        key: certs.join(format!("{node}.key")),
        ca: certs.join("ca.crt"),
    }
}

/// The text of an agent's configuration.
///
/// # Errors
/// When a path is not text.
pub fn agent(facts: &AgentFacts) -> Result<String, toml::ser::Error> {
    toml::to_string(&Agent {
        node: &facts.node,
        shard: &facts.shard,
        cluster: CLUSTER,
        state_dir: &facts.state_dir,
        aggregator: Peer {
            address: &facts.aggregator,
            name: AGGREGATOR,
        },
        tls: tls(&facts.certs, &facts.node),
        postgres: Postgres {
            host: &facts.host,
            port: facts.port,
            user: &facts.user,
            password_file: &facts.password_file,
            database: &facts.database,
        },
        instance: facts
            .data_dir
            .as_ref()
            .map(|data_dir| Instance { data_dir }),
        log: Log {
            paths: &facts.logs,
            line_prefix: facts.log_prefix.as_deref(),
        },
    })
}

/// The text of the aggregator's configuration.
///
/// # Errors
/// When a path is not text.
pub fn aggregator(facts: &AggregatorFacts) -> Result<String, toml::ser::Error> {
    toml::to_string(&Aggregator {
        name: AGGREGATOR,
        cluster: CLUSTER,
        data_dir: &facts.data_dir,
        listen: &facts.listen,
        web: &facts.web,
        open: false,
        causes: Causes {
            shipped: facts.shipped_causes,
        },
        tls: tls(&facts.certs, AGGREGATOR),
        shard: &facts.shards,
    })
}
