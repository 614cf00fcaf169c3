//! The aggregator's configuration: read once, checked once. (steps 6, 7, 14, 15)
//!
//! In: what the file, the environment and flags say. Out: [`Config`], and the checked parts the shell builds from.
//! Invariants: CF-1 an unknown key is an error. CF-2 the web side listens beyond loopback only with a token.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use hsw_engine::{ShardEntry, ShardMap};
use hsw_fusion::{HyperScore, Mode, N_DETECTORS, Weights, ahp};
use hsw_types::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

use crate::{alerts, causes, inference, ingest, store, triggers};

/// Prefix of environment variables that set keys.
pub const ENVIRONMENT: &str = "HSW_AGGREGATOR__";

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of this aggregator, for people.
    pub name: String,
    /// Name of the cluster, for people and in labels.
    pub cluster: String,
    /// Where the database file lies; made when absent.
    pub data_dir: PathBuf,
    /// UDP address agents connect to.
    pub listen: SocketAddr,
    /// TCP address of the page and the API.
    pub web: SocketAddr,
    /// File that holds the token web clients must show; may be absent only while `web` is a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_token_file: Option<PathBuf>,
    /// Names a loopback listener also answers to, for a proxy on this host that keeps the browser's host name.
    pub web_hosts: Vec<String>,
    /// Admit nodes that no `[[shard]]` names, into the shard that their own facts name.
    pub open: bool,
    /// Identity.
    pub tls: Tls,
    /// Storage.
    pub store: store::Config,
    /// Admission.
    pub ingest: ingest::Config,
    /// The engine.
    pub engine: Engine,
    /// What the detectors count for.
    pub fusion: Fusion,
    /// Causes that are known, and what to do first.
    pub causes: causes::Config,
    /// Models.
    pub inference: inference::Config,
    /// Log lines.
    pub log: hsw_shell::telemetry::Config,
    /// Who is told of incidents.
    pub alerts: alerts::Config,
    /// Limits of triggers.
    pub triggers: triggers::Config,
    /// Standing triggers: one that is taken out ends, one that is changed begins anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trigger: Vec<triggers::Spec>,
    /// The shard map.
    pub shard: Vec<Shard>,
}

/// Certificate, key and authority, PEM files; changes on disk are followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificate chain; its one DNS name is the aggregator's.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Authority that agents' certificates must come from.
    pub ca: PathBuf,
}

/// Limits of the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Series per node; beyond it new ones are counted and left out.
    pub series_per_node_max: usize,
    /// Closed incidents kept in memory.
    pub incidents_max: usize,
    /// Seconds of who talks to whom that are learned before a new edge can be an intrusion; 180 to 86,400.
    pub learn_seconds: u32,
}

/// What the detectors count for, and the form of the grade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fusion {
    /// Pairwise comparisons (Saaty): row i, column j: how many times more detector i counts than j, 1/9 to 9. Empty: all the same.
    pub comparisons: Vec<Vec<f64>>,
    /// Form of HyperScore: `centred` or `literal`.
    pub hyperscore: Form,
    /// Its sensitivity β, 4 to 6.
    pub sensitivity: f64,
    /// Its power κ, 1.5 to 2.5.
    pub power: f64,
}

/// Form of HyperScore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As printed: 100 to 111.
    Literal,
    /// With its midpoint at one half: 100 to 194.
    Centred,
}

impl Default for Fusion {
    fn default() -> Self {
        let score = HyperScore::default();
        Self {
            comparisons: Vec::new(),
            hyperscore: Form::Centred,
            sensitivity: score.sensitivity,
            power: score.power,
        }
    }
}

impl Fusion {
    /// The weights that the comparisons make.
    ///
    /// # Errors
    /// Which comparison is wrong, or contradicts the others.
    pub fn weights(&self) -> anyhow::Result<Weights> {
        if self.comparisons.is_empty() {
            return Ok(Weights::default());
        }
        let found =
            ahp::priorities(&self.comparisons, N_DETECTORS).context("fusion.comparisons")?;
        Weights::new(&found.weights).context("fusion.comparisons")
    }

    /// The grade's form.
    ///
    /// # Errors
    /// When a parameter lies beyond the guide.
    pub fn score(&self) -> anyhow::Result<HyperScore> {
        let mode = match self.hyperscore {
            Form::Literal => Mode::Literal,
            Form::Centred => Mode::Centred,
        };
        HyperScore::new(mode, self.sensitivity, self.power).context("[fusion]")
    }
}

/// One shard of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Its name.
    pub name: String,
    /// Its nodes, by the names in their certificates.
    pub nodes: Vec<String>,
    /// A router holds no partition of its own.
    #[serde(default)]
    pub router: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "aggregator".to_owned(),
            cluster: "default".to_owned(),
            data_dir: PathBuf::from("/var/lib/hypershardwatch"),
            listen: SocketAddr::from(([0, 0, 0, 0], 7443)),
            web: SocketAddr::from(([127, 0, 0, 1], 8080)),
            web_token_file: None,
            web_hosts: Vec::new(),
            open: true,
            tls: Tls::default(),
            store: store::Config::default(),
            ingest: ingest::Config::default(),
            engine: Engine::default(),
            fusion: Fusion::default(),
            causes: causes::Config::default(),
            inference: inference::Config::default(),
            log: hsw_shell::telemetry::Config::default(),
            alerts: alerts::Config::default(),
            triggers: triggers::Config::default(),
            trigger: Vec::new(),
            shard: Vec::new(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            cert: PathBuf::from("/etc/hypershardwatch/aggregator.crt"),
            key: PathBuf::from("/etc/hypershardwatch/aggregator.key"),
            ca: PathBuf::from("/etc/hypershardwatch/ca.crt"),
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        let engine = hsw_engine::Config::default();
        Self {
            series_per_node_max: engine.n_series_per_node_max,
            incidents_max: engine.n_incidents_max,
            learn_seconds: engine.learn_s,
        }
    }
}

impl Config {
    /// Reads the file, the environment and the flags, and checks what they say together.
    ///
    /// # Errors
    /// One line that names the place and the key, or what cannot be.
    pub fn load(args: &hsw_shell::config::Args) -> anyhow::Result<Self> {
        let config: Self = hsw_shell::config::load(args, ENVIRONMENT)?;
        config.check()?;
        Ok(config)
    }

    /// What values say together; the files they name are read where they are used.
    ///
    /// # Errors
    /// One line with the remedy.
    pub fn check(&self) -> anyhow::Result<()> {
        self.shard_map()?;
        hsw_shell::telemetry::check(&self.log)?;
        self.alerts.check()?;
        if !self.web.ip().is_loopback() && self.web_token_file.is_none() {
            bail!(
                "web = \"{}\" can be reached from other machines: set web_token_file, or listen on 127.0.0.1",
                self.web
            );
        }
        self.check_limits()?;
        self.check_triggers()?;
        self.fusion.weights()?;
        self.fusion.score()?;
        if self.store.keep_days == 0 || self.store.size_max_mib == 0 {
            bail!("store.keep_days and store.size_max_mib must be at least 1");
        }
        if !self.open && self.shard.is_empty() {
            bail!(
                "open = false without a [[shard]] admits nobody: name shards and their nodes, or set open = true"
            );
        }
        Ok(())
    }

    /// Numbers that would be accepted and then hurt: a commit a day late, a queue without end.
    fn check_limits(&self) -> anyhow::Result<()> {
        let limits = [
            ("store.gather_ms", self.store.gather_ms, 0, 1_000),
            (
                "store.replay_minutes",
                u64::from(self.store.replay_minutes),
                0,
                1_440,
            ),
            ("store.queue", self.store.queue as u64, 1, 1_000_000),
            ("triggers.max", self.triggers.max as u64, 0, 10_000),
            (
                "engine.learn_seconds",
                u64::from(self.engine.learn_seconds),
                180,
                86_400,
            ),
            (
                "inference.deadline_ms",
                u64::from(self.inference.deadline_ms),
                10,
                900,
            ),
            ("inference.threads", self.inference.threads as u64, 1, 256),
            (
                "ingest.connections_max",
                self.ingest.connections_max as u64,
                1,
                100_000,
            ),
        ];
        for (key, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                bail!("{key} = {value}: it may be {least} to {most}");
            }
        }
        Ok(())
    }

    fn check_triggers(&self) -> anyhow::Result<()> {
        let mut names = std::collections::BTreeSet::new();
        for trigger in &self.trigger {
            if let Err(why) = trigger.check() {
                bail!("[[trigger]] `{}`: {why}", trigger.name);
            }
            if !names.insert(&trigger.name) {
                bail!("[[trigger]] `{}` stands twice: name it once", trigger.name);
            }
        }
        if self.trigger.len() > self.triggers.max {
            bail!(
                "there are {} [[trigger]], more than triggers.max = {}",
                self.trigger.len(),
                self.triggers.max
            );
        }
        Ok(())
    }

    /// The shard map these shards make.
    ///
    /// # Errors
    /// A name that cannot be one, or a node or shard named twice.
    pub fn shard_map(&self) -> anyhow::Result<ShardMap> {
        let mut entries = Vec::with_capacity(self.shard.len());
        for shard in &self.shard {
            let name = ShardId::new(&shard.name).context("[[shard]] name")?;
            let nodes = shard
                .nodes
                .iter()
                .map(|node| {
                    NodeId::new(node).with_context(|| format!("[[shard]] `{}`, nodes", shard.name))
                })
                .collect::<anyhow::Result<_>>()?;
            entries.push(ShardEntry {
                shard: name,
                nodes,
                is_router: shard.router,
            });
        }
        ShardMap::new(entries, self.open).context("[[shard]]")
    }

    /// The engine's limits, the causes it knows and the runbook.
    ///
    /// # Errors
    /// The runbook cannot be read.
    pub fn engine(&self) -> anyhow::Result<hsw_engine::Config> {
        let (causes, runbook) = self.causes.load()?;
        Ok(hsw_engine::Config {
            n_series_per_node_max: self.engine.series_per_node_max,
            n_incidents_max: self.engine.incidents_max,
            learn_s: self.engine.learn_seconds,
            causes,
            runbook,
            score_ms_max: None,
            weights: self.fusion.weights()?,
            hyperscore: self.fusion.score()?,
        })
    }
}

/// Every key with its default and what it does; a test holds it to [`Config::default`].
pub const DEFAULT: &str = include_str!("config_default.toml");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        assert_eq!(read(DEFAULT).unwrap(), Config::default());
        let keys = |table: &toml::Table| -> Vec<String> {
            table
                .iter()
                .flat_map(|(key, value)| match value {
                    toml::Value::Table(inner) => {
                        inner.keys().map(|k| format!("{key}.{k}")).collect()
                    }
                    _ => vec![key.clone()],
                })
                .collect()
        };
        let documented = keys(&DEFAULT.parse().unwrap());
        for key in keys(&toml::Table::try_from(Config::default()).unwrap()) {
            assert!(
                key == "shard" || documented.contains(&key),
                "`{key}` is not in config_default.toml"
            );
        }
    }

    #[test]
    fn a_shard_map_is_read_and_a_node_named_twice_is_refused() {
        let text = "open = false\n\
             [[shard]]\nname = \"shard-1\"\nnodes = [\"a\", \"b\"]\n\
             [[shard]]\nname = \"router\"\nnodes = [\"r\"]\nrouter = true\n";
        let map = read(text).unwrap().shard_map().unwrap();
        assert!(map.admits(&NodeId::new("b").unwrap()));
        assert!(!map.admits(&NodeId::new("c").unwrap()));
        let twice = format!("{text}[[shard]]\nname = \"shard-2\"\nnodes = [\"a\"]\n");
        let error = format!("{:#}", read(&twice).unwrap_err());
        assert!(error.contains("name it once"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_remedy() {
        for (text, remedy) in [
            ("web = \"0.0.0.0:8080\"", "web_token_file"),
            ("open = false", "open = true"),
            ("colour = 1", "colour"),
            ("[fusion]\ncomparisons = [[1.0]]", "10 rows"),
            ("[fusion]\nsensitivity = 9.0", "4 to 6"),
            ("[store]\nkeep_days = 0", "keep_days"),
            (
                "[[trigger]]\nname = \"a\"\non = \"age\"\nrange = \"1..\"\ncount = 1",
                "latency_ms",
            ),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }
}
