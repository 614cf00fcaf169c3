//! The agent's configuration: one file, checked once. (steps 1–5)
//!
//! In: what `hsw_shell::config` reads. Out: [`Config`], valid. Defaults stand beside each component.

use std::path::{Path, PathBuf};

use anyhow::Context;
use hsw_pipeline::TenantKey;
use hsw_shell::{config, telemetry};
use hsw_types::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

use crate::sources::{log, postgres};
use crate::{pace, shipper, spool, wiring};

/// Environment variables that begin with this set keys: `HSW_AGENT__SPOOL__FSYNC=false`.
pub const ENV_PREFIX: &str = "HSW_AGENT__";

/// Every key with its default; `hsw-agent config default` prints it.
pub const DEFAULT: &str = include_str!("config_default.toml");

/// Everything the agent can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node's name; the certificate must say the same.
    pub node: String,
    /// The shard this node belongs to; empty: the aggregator's map says.
    #[serde(default)]
    pub shard: String,
    /// The cluster's name.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// Where the agent keeps its spool.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Where to ship.
    pub aggregator: shipper::Config,
    /// Who we are.
    pub tls: Tls,
    /// Summaries on disk.
    #[serde(default)]
    pub spool: spool::Config,
    /// The agent's own log.
    #[serde(default)]
    pub telemetry: telemetry::Config,
    /// The database.
    #[serde(default)]
    pub postgres: postgres::Config,
    /// Its processes and the host.
    #[serde(default)]
    pub instance: wiring::Instance,
    /// Its logs.
    #[serde(default)]
    pub log: log::Config,
    /// What is counted.
    #[serde(default)]
    pub hot: Hot,
    /// Pace at landmarks of the interaction graph and elsewhere.
    #[serde(default)]
    pub landmark: pace::Config,
}

/// What is counted. Changed by the operator of the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hot {
    /// Whom statements are counted for: `database` (default), `user`, `schema` (rows of its tables) or `application`.
    pub tenant_key: String,
}

impl Default for Hot {
    fn default() -> Self {
        Self {
            tenant_key: "database".to_owned(),
        }
    }
}

impl Hot {
    /// # Errors
    /// One line that names the key.
    pub fn tenant_key(&self) -> anyhow::Result<TenantKey> {
        TenantKey::parse(&self.tenant_key).with_context(|| {
            format!(
                "hot.tenant_key = `{}`: choose database, user, schema or application",
                self.tenant_key
            )
        })
    }
}

/// PEM files; they may change at any time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Our certificate (and what lies between it and the authority).
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that issued the aggregator's certificate.
    pub ca: PathBuf,
}

fn default_cluster() -> String {
    "default".to_owned()
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/hsw-agent")
}

impl Config {
    /// Reads and checks it.
    ///
    /// # Errors
    /// One line that names the place and the key.
    pub fn load(args: &config::Args) -> anyhow::Result<Self> {
        let config: Self = config::load(args, ENV_PREFIX)?;
        let place = args
            .config
            .as_deref()
            .map_or_else(|| "configuration".to_owned(), |p| p.display().to_string());
        config.check().context(place)?;
        Ok(config)
    }

    /// The spool's folder.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.state_dir.join("spool")
    }

    fn check(&self) -> anyhow::Result<()> {
        NodeId::new(&self.node).context("node")?;
        if !self.shard.is_empty() {
            ShardId::new(&self.shard).context("shard")?;
        }
        ShardId::new(&self.cluster).context("cluster")?;
        for (key, path) in [
            ("state_dir", &self.state_dir),
            ("tls.cert", &self.tls.cert),
            ("tls.key", &self.tls.key),
            ("tls.ca", &self.tls.ca),
        ] {
            absolute(key, path)?;
        }
        self.aggregator.check()?;
        self.spool.check()?;
        self.postgres.validate().context("postgres")?;
        self.log.check()?;
        self.hot.tenant_key()?;
        self.landmark.check()?;
        telemetry::check(&self.telemetry).context("telemetry.level")
    }
}

fn absolute(key: &str, path: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        path.is_absolute(),
        "{key} = `{}`: give an absolute path",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&config::Args {
            config: Some(path),
            set: Vec::new(),
        })
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let documented = load(DEFAULT).unwrap();
        let least = load(
            "node=\"shard-1-a\"\n[aggregator]\naddress=\"aggregator.example:7443\"\n[tls]\n\
             cert=\"/etc/hypershardwatch/shard-1-a.crt\"\nkey=\"/etc/hypershardwatch/shard-1-a.key\"\n\
             ca=\"/etc/hypershardwatch/ca.crt\"\n",
        )
        .unwrap();
        assert_eq!(
            config::show(&documented).unwrap(),
            config::show(&least).unwrap()
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let good = DEFAULT;
        for (from, to, key) in [
            (
                "aggregator.example:7443",
                "aggregator.example",
                "aggregator.address",
            ),
            ("node = \"shard-1-a\"", "node = \"shard 1\"", "node"),
            ("\"/etc/hypershardwatch/ca.crt\"", "\"ca.crt\"", "tls.ca"),
            ("fsync = true", "fsnyc = true", "fsnyc"),
            (
                "tenant_key = \"database\"",
                "tenant_key = \"color\"",
                "hot.tenant_key",
            ),
            (
                "segment_bytes = 4194304",
                "segment_bytes = 1",
                "spool.segment_bytes",
            ),
            (
                "summary_elsewhere_s = 2",
                "summary_elsewhere_s = 4",
                "landmark.summary_elsewhere_s",
            ),
            ("cluster = \"default\"", "klaster = \"default\"", "klaster"),
        ] {
            assert!(good.contains(from), "{from}");
            let why = format!("{:#}", load(&good.replace(from, to)).unwrap_err());
            assert!(why.contains(key) && why.contains("agent.toml"), "{why}");
        }
    }
}
