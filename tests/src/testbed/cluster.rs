//! The whole cluster: coordinator, shards, load, and the programs that watch it.
//!
//! Order of starting: folder and lock → cleaning after a killed run → control groups → instances → data → load → services.
//! Stopping goes the other way round; the ledger then undoes whatever is left.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::bed::{Bed, clean, open_bed};
use super::cgroup::Group;
use super::configs::{AgentFacts, AggregatorFacts, INGEST_PORT, Member};
use super::faults::{Fault, Injected};
use super::host::Host;
use super::ledger::Ledger;
use super::load::Load;
use super::postgres::{DATABASE, Node};
use super::schema::{self, Passwords};
use super::services::{self, Services, certs_of};
use super::stop::Stop;

/// Processor time of one node as a share of a core: its "host" is small, so that a hog hurts its own shard.
pub(super) const NODE_CORES: f64 = 0.6;
/// First port tried; all of them are below the range that outgoing connections use.
const PORT_FIRST: u16 = 15_432;

/// What to build.
#[derive(Clone)]
pub struct Options {
    /// The run folder; made, owned and removed by the run.
    pub dir: PathBuf,
    /// Number of shards, 1 to 9.
    pub shards: usize,
    /// Rows of each shard's part.
    pub rows_per_shard: u64,
    /// Addresses are `127.0.SUBNET.x`.
    pub subnet: u8,
    /// Address of the page.
    pub web: SocketAddr,
    /// Folder of `hsw`, `hsw-agent`, `hsw-aggregator`; `None` builds databases and load only.
    pub programs: Option<PathBuf>,
    /// Let the load follow a simulated day.
    pub vary: bool,
    /// Let the aggregator begin with the causes that are shipped.
    pub shipped_causes: bool,
    /// Leave the folder after stopping.
    pub keep_data: bool,
    /// Set from outside to stop.
    pub stop: Stop,
    /// Hears what is going on, one line at a time.
    pub say: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Options {
    /// Four shards in a folder, silent, with no programs.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            shards: 4,
            rows_per_shard: 100_000,
            subnet: 11,
            web: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            programs: None,
            vary: false,
            shipped_causes: true,
            keep_data: false,
            stop: Stop::new(),
            say: Arc::new(|_| {}),
        }
    }
}

/// A running cluster; dropping it stops and removes it.
pub struct Cluster {
    options: Options,
    bed: Arc<Bed>,
    nodes: Vec<Arc<Node>>,
    load: Option<Load>,
    services: Option<Services>,
    /// Held while we live: two runs in one folder would clean up each other.
    lock: Option<File>,
}

impl Cluster {
    /// Builds it all and returns when the load runs (and, with programs, when those were started).
    ///
    /// # Errors
    /// When any part cannot be built; what was built by then is removed.
    pub fn start(options: Options) -> Result<Self> {
        if !(1..=9).contains(&options.shards) {
            bail!("{} shards do not fit; give 1 to 9", options.shards);
        }
        if options.programs.is_some() && TcpListener::bind(options.web).is_err() {
            bail!("{} is in use; give another address with --web", options.web);
        }
        if let Some(programs) = &options.programs {
            services::check_programs(programs)?;
        }
        let host = Host::find()?;
        let (bed, lock) = open_bed(&options.dir, host, &options.stop)?;
        let port = free_port(&options)?;
        let mut cluster = Self {
            options,
            bed,
            nodes: Vec::new(),
            load: None,
            services: None,
            lock: Some(lock),
        };
        cluster.build(port)?;
        Ok(cluster)
    }

    fn build(&mut self, port: u16) -> Result<()> {
        let say = Arc::clone(&self.options.say);
        self.make_nodes(port);
        say(&format!("making {} PostgreSQL instances", self.nodes.len()));
        let disks = each(&self.nodes, |node| node.create())?;
        if !disks.iter().all(|own| *own) {
            say("no disks of their own for the nodes (needs root and loop devices): plain folders");
        }
        let passwords = self.write_secrets()?;
        each(&self.nodes, |node| node.start())?;
        say("filling them");
        self.fill(&passwords)?;
        for node in &self.nodes {
            if let Some(group) = &node.group {
                group.write_quota(Some(NODE_CORES))?;
            }
        }
        Load::write_scripts(&self.bed, self.options.shards)?;
        self.load = Some(self.more_load("load", 1.0, self.options.vary)?);
        say("load runs through the coordinator");
        if let Some(programs) = self.options.programs.clone() {
            say("starting the aggregator and one agent per node");
            self.services = Some(self.start_services(&programs)?);
        }
        Ok(())
    }

    fn make_nodes(&mut self, port: u16) {
        let family = family(&self.options.dir);
        let mut refused = None;
        for number in 0..=self.options.shards {
            let name = if number == 0 {
                "coordinator".to_owned()
            } else {
                format!("shard-{number}")
            };
            let group = self.bed.host.hierarchy.as_ref().and_then(|hierarchy| {
                Group::create(hierarchy, &family, &name, &self.bed.ledger)
                    .map_err(|error| refused = Some(error))
                    .ok()
            });
            let node = Node::new(&self.bed, number, self.options.subnet, port, group);
            self.nodes.push(Arc::new(node));
        }
        if self.nodes.iter().any(|node| node.group.is_none()) {
            let why = refused.map_or_else(
                || "needs root and a cpu controller".to_owned(),
                |e| format!("{e:#}"),
            );
            (self.options.say)(&format!(
                "no control groups for the nodes ({why}): faults of the processor are not to be had"
            ));
        }
    }

    fn write_secrets(&self) -> Result<Passwords> {
        let passwords = Passwords {
            app: random_word()?,
            reports: random_word()?,
            hsw: random_word()?,
        };
        let lines = format!(
            "*:*:*:app:{}\n*:*:*:reports:{}\n",
            passwords.app, passwords.reports
        );
        self.bed
            .service_file(&self.bed.dir.join("secrets/pgpass"), &lines)?;
        self.bed
            .service_file(&self.bed.dir.join("secrets/hsw.password"), &passwords.hsw)?;
        Ok(passwords)
    }

    fn fill(&self, passwords: &Passwords) -> Result<()> {
        let rows = self.options.rows_per_shard;
        each(&self.nodes, |node| {
            node.sql("postgres", &schema::roles(passwords))?;
            if node.number > 0 {
                node.sql(DATABASE, &schema::shard(node.number, rows))?;
            }
            Ok(())
        })?;
        let (coordinator, shards) = (&self.nodes[0], &self.nodes[1..]);
        coordinator.sql(DATABASE, &schema::coordinator(shards, passwords))?;
        Ok(())
    }

    fn start_services(&self, programs: &Path) -> Result<Services> {
        let listen = format!("127.0.{}.20:{INGEST_PORT}", self.options.subnet);
        let facts: Vec<AgentFacts> = self
            .nodes
            .iter()
            .map(|node| AgentFacts::of(&self.bed, node, &format!("{}-a", node.name), &listen))
            .collect();
        let member = |fact: &AgentFacts| Member {
            name: fact.shard.clone(),
            nodes: vec![fact.node.clone()],
            router: fact.shard == facts[0].shard,
        };
        let aggregator = AggregatorFacts {
            data_dir: self.bed.dir.join("aggregator"),
            listen,
            web: self.options.web.to_string(),
            certs: certs_of(&self.bed, "aggregator"),
            shards: facts.iter().map(member).collect(),
            shipped_causes: self.options.shipped_causes,
        };
        Services::start(&self.bed, programs, self.options.web, &aggregator, &facts)
    }

    /// A second load beside the usual one, at `factor` times its rates.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn more_load(&self, tag: &str, factor: f64, vary: bool) -> Result<Load> {
        Load::start(&self.nodes, self.options.rows_per_shard, tag, factor, vary)
    }

    /// The run folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.bed.dir
    }

    /// The shards, number 1 first.
    #[must_use]
    pub fn shards(&self) -> &[Arc<Node>] {
        self.nodes.get(1..).unwrap_or_default()
    }

    /// All instances, the coordinator first.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Agents and aggregator, if this cluster has them.
    pub fn services(&mut self) -> Option<&mut Services> {
        self.services.as_mut()
    }

    /// The steady load's present rate as a share of the usual one.
    #[must_use]
    pub fn load_factor(&self) -> f64 {
        self.load.as_ref().map_or(0.0, Load::factor)
    }

    /// Breaks a shard (0 is the coordinator) until the answer is healed or dropped.
    ///
    /// # Errors
    /// When there is no such shard, or this machine cannot have this fault.
    pub fn inject(&self, fault: Fault, shard: usize) -> Result<Injected> {
        let node = self.nodes.get(shard).with_context(|| {
            format!(
                "there is no shard {shard}; give 0 (the coordinator) to {}",
                self.options.shards
            )
        })?;
        Injected::new(self, fault, node)
    }

    /// Starts every agent anew with more configuration, in the place of what was given before.
    ///
    /// # Errors
    /// When there are no programs, or an agent cannot be started.
    pub fn restart_agents(&mut self, more: &str) -> Result<()> {
        let services = self.services.as_mut().context("no programs run")?;
        services.restart_agents(&self.bed, more)
    }

    /// Stops and removes everything.
    ///
    /// # Errors
    /// When something could not be undone.
    pub fn stop(mut self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        self.services = None;
        self.load = None;
        let ended = each(&self.nodes, |node| {
            node.stop();
            Ok(())
        });
        let left = Ledger::undo(&self.bed.dir.join("ledger"));
        if !left.is_empty() {
            bail!("left behind: {}", left.join("; "));
        }
        if !self.options.keep_data {
            clean(&self.bed.dir)?;
            // The name goes while the lock is held: a run that waits for it sees a fresh folder.
            std::fs::remove_dir_all(&self.bed.dir)
                .with_context(|| format!("remove {}", self.bed.dir.display()))?;
        }
        drop(lock);
        ended.map(|_| ())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            (self.options.say)(&format!("{error:#}"));
        }
    }
}

/// Does the same on every node at once.
fn each<T: Send>(nodes: &[Arc<Node>], work: impl Fn(&Node) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(|| work(node)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<T>>| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread of the test bed panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

/// The control groups' family name, different for every folder.
fn family(dir: &Path) -> String {
    let words: Vec<String> = dir
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    words
        .strip_prefix(&["tmp".to_owned()])
        .unwrap_or(&words)
        .join("-")
}

fn free_port(options: &Options) -> Result<u16> {
    let hosts: Vec<u8> = std::iter::once(10)
        .chain(1..=options.shards as u8)
        .collect();
    let free = |port: &u16| {
        hosts.iter().all(|host| {
            let address = Ipv4Addr::new(127, 0, options.subnet, *host);
            TcpListener::bind((address, *port)).is_ok()
        })
    };
    (PORT_FIRST..PORT_FIRST + 50).find(free).with_context(|| {
        format!(
            "no port from {PORT_FIRST} on is free on 127.0.{}.x; give another --subnet",
            options.subnet
        )
    })
}

fn random_word() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_has_its_own_family_of_groups() {
        assert_eq!(family(Path::new("/tmp/hsw-quickstart")), "hsw-quickstart");
        assert_eq!(
            family(Path::new("/srv/hsw-quickstart")),
            "srv-hsw-quickstart"
        );
    }
}
