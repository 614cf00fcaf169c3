//! Watching databases that somebody else runs: aggregator and agents only, no databases, no faults.
//!
//! In: a TOML file of `[[node]]` tables. The agents read; nothing here changes the databases.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::bed::{clean, open_bed};
use super::cluster::Options;
use super::configs::{AgentFacts, AggregatorFacts, INGEST_PORT, Member};
use super::host::Host;
use super::services::{Services, certs_of};

/// The file's content.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    node: Vec<Attached>,
}

/// One database instance of the user's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attached {
    /// Name of the node.
    name: String,
    /// Shard that it is a member of.
    shard: String,
    /// Whether it routes to shards instead of holding one.
    #[serde(default)]
    router: bool,
    /// Where it listens.
    host: String,
    /// Its port.
    #[serde(default = "postgres_port")]
    port: u16,
    /// Login, which needs `pg_monitor` only.
    user: String,
    /// File with the password.
    password_file: PathBuf,
    /// Database to look at.
    database: String,
    /// Its data directory, when it runs on this machine.
    data_dir: Option<PathBuf>,
    /// Log files, as patterns.
    #[serde(default)]
    logs: Vec<String>,
    /// `log_line_prefix`, when those are plain text.
    log_prefix: Option<String>,
}

fn postgres_port() -> u16 {
    5432
}

/// Reads and checks a file; relative paths in it start at its own folder.
fn read(path: &Path) -> Result<Vec<Attached>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut listed = parse(&text).with_context(|| format!("use {}", path.display()))?;
    let whole = std::path::absolute(path).with_context(|| format!("find {}", path.display()))?;
    let base = whole.parent().unwrap_or_else(|| Path::new("/"));
    for node in &mut listed {
        node.password_file = base.join(&node.password_file);
        node.data_dir = node.data_dir.take().map(|dir| base.join(dir));
        for log in &mut node.logs {
            *log = base.join(&*log).display().to_string();
        }
        std::fs::File::open(&node.password_file).with_context(|| {
            format!(
                "node {}: open password_file {}",
                node.name,
                node.password_file.display()
            )
        })?;
    }
    Ok(listed)
}

fn parse(text: &str) -> Result<Vec<Attached>> {
    let listed: Listed = toml::from_str(text).context("read its [[node]] tables")?;
    let mut names: Vec<&str> = listed.node.iter().map(|node| node.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two nodes are called {}; names must differ", pair[0]);
    }
    // A name becomes a folder and a certificate.
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    if let Some(name) = names.iter().find(|name| !plain(name)) {
        bail!("node name {name:?} must be letters, digits, '-', '_' and '.'");
    }
    if names.is_empty() {
        bail!("no [[node]] is listed");
    }
    Ok(listed.node)
}

/// The shards and routers in order of first mention.
fn members(nodes: &[Attached]) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for node in nodes {
        match members.iter_mut().find(|member| member.name == node.shard) {
            Some(member) => member.nodes.push(node.name.clone()),
            None => {
                members.push(Member {
                    name: node.shard.clone(),
                    nodes: vec![node.name.clone()],
                    router: node.router,
                });
            }
        }
    }
    members
}

/// Starts the programs for a file's databases and keeps them until `stay` returns; then removes them.
///
/// # Errors
/// When the file is wrong, a program fails, or something stays behind.
pub fn run(
    options: &Options,
    file: &Path,
    stay: impl FnOnce(&mut Services) -> Result<()>,
) -> Result<()> {
    let nodes = read(file)?;
    let programs = options
        .programs
        .as_ref()
        .context("attaching needs the built programs")?;
    let (bed, lock) = open_bed(&options.dir, Host::without_postgres()?, &options.stop)?;
    let listen = format!("127.0.{}.20:{INGEST_PORT}", options.subnet);
    let aggregator = AggregatorFacts {
        data_dir: bed.dir.join("aggregator"),
        listen: listen.clone(),
        web: options.web.to_string(),
        certs: certs_of(&bed, "aggregator"),
        shards: members(&nodes),
        shipped_causes: true,
    };
    let agents: Vec<AgentFacts> = nodes
        .into_iter()
        .map(|node| AgentFacts {
            aggregator: listen.clone(),
            state_dir: bed.dir.join("agents").join(&node.name),
            certs: certs_of(&bed, &node.name),
            node: node.name,
            shard: node.shard,
            host: node.host,
            port: node.port,
            user: node.user,
            password_file: node.password_file,
            database: node.database,
            data_dir: node.data_dir,
            logs: node.logs,
            log_prefix: node.log_prefix,
        })
        .collect();
    let stayed = Services::start(&bed, programs, options.web, &aggregator, &agents)
        .and_then(|mut services| stay(&mut services));
    if !options.keep_data {
        clean(&options.dir)?;
        std::fs::remove_dir_all(&options.dir)
            .with_context(|| format!("remove {}", options.dir.display()))?;
    }
    drop(lock);
    stayed
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
        [[node]]
        name = "eu-1"
        shard = "eu"
        host = "10.0.0.1"
        user = "hsw"
        password_file = "/etc/hsw/password"
        database = "shop"
        [[node]]
        name = "router"
        shard = "front"
        router = true
        host = "10.0.0.9"
        user = "hsw"
        password_file = "/etc/hsw/password"
        database = "shop"
    "#;

    #[test]
    fn shards_and_routers_are_told_apart() {
        let nodes = parse(TWO).unwrap();
        assert_eq!(nodes[0].port, 5432);
        let members = members(&nodes);
        let routers: Vec<bool> = members.iter().map(|member| member.router).collect();
        assert_eq!(
            (members[0].name.as_str(), routers),
            ("eu", vec![false, true])
        );
    }

    #[test]
    fn relative_paths_start_at_the_files_own_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.toml");
        std::fs::write(&file, TWO.replace("/etc/hsw/password", "password")).unwrap();
        assert!(
            read(&file)
                .unwrap_err()
                .to_string()
                .contains("open password_file")
        );
        std::fs::write(dir.path().join("password"), "x").unwrap();
        assert_eq!(
            read(&file).unwrap()[0].password_file,
            dir.path().join("password")
        );
    }

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        assert!(parse(&TWO.replace("eu-1", "../etc")).is_err());
        assert!(parse(&TWO.replace("eu-1", "router")).is_err());
        assert!(parse("").is_err());
    }
}
