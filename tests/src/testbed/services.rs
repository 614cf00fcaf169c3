//! Agents and aggregator: certificates, configuration files, processes, readiness.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::bed::Bed;
use super::configs::{self, AGGREGATOR, AgentFacts, AggregatorFacts};
use super::process::{Launch, Managed};
use super::{Stop, http};

const PROGRAMS: [&str; 3] = ["hsw", "hsw-agent", "hsw-aggregator"];

/// The running programs under test.
#[derive(Debug)]
pub struct Services {
    aggregator: Managed,
    agents: Vec<Managed>,
    /// Where the page is.
    pub web: SocketAddr,
}

impl Services {
    /// Makes certificates and configuration, then starts the aggregator and one agent per node.
    ///
    /// # Errors
    /// When a program is missing, refuses its configuration, or ends at once.
    pub fn start(
        bed: &Arc<Bed>,
        programs: &Path,
        web: SocketAddr,
        aggregator: &AggregatorFacts,
        agents: &[AgentFacts],
    ) -> Result<Self> {
        copy_programs(bed, programs)?;
        issue(bed, AGGREGATOR, &aggregator.certs, Some(&aggregator.listen))?;
        bed.service_dir(&aggregator.data_dir)?;
        let text = configs::aggregator(aggregator).context("write the aggregator's config")?;
        let config = bed.dir.join("configs/aggregator.toml");
        bed.service_file(&config, &text)?;
        let running = run(bed, "hsw-aggregator", "aggregator", &config)?;
        let mut services = Self {
            aggregator: running,
            agents: Vec::new(),
            web,
        };
        for facts in agents {
            issue(bed, &facts.node, &facts.certs, None)?;
            bed.service_dir(&facts.state_dir)?;
            let text =
                configs::agent(facts).with_context(|| format!("config of {}", facts.node))?;
            let config = bed.dir.join(format!("configs/agent-{}.toml", facts.node));
            bed.service_file(&config, &text)?;
            let name = format!("agent-{}", facts.node);
            services.agents.push(run(bed, "hsw-agent", &name, &config)?);
        }
        Ok(services)
    }

    /// Waits until the aggregator says that it is ready.
    ///
    /// # Errors
    /// When it is not by then, when a program ended, or when asked to stop.
    pub fn wait_ready(&mut self, stop: &Stop, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let mut last = String::from("no answer yet");
        while Instant::now() < until {
            self.check()?;
            match http::get(self.web, "/readyz") {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = format!("{} {}", answer.status, answer.body.trim()),
                Err(error) => last = format!("{error:#}"),
            }
            if !stop.sleep(Duration::from_millis(500)) {
                bail!("stopped while waiting for http://{}/readyz", self.web);
            }
        }
        bail!(
            "http://{}/readyz is not 200 after {} s: {last}",
            self.web,
            patience.as_secs()
        )
    }

    /// Whether every program still runs.
    ///
    /// # Errors
    /// Names the one that ended, with its last line.
    pub fn check(&mut self) -> Result<()> {
        for process in self.agents.iter_mut().chain([&mut self.aggregator]) {
            if !process.running() {
                return Err(process.obituary());
            }
        }
        Ok(())
    }

    /// Agents first, so that their last summaries are still taken.
    pub fn end(&mut self) {
        for agent in &self.agents {
            agent.id().signal(Signal::TERM);
        }
        for agent in &mut self.agents {
            agent.end(Signal::TERM, Duration::from_secs(5));
        }
        self.aggregator.end(Signal::TERM, Duration::from_secs(5));
    }

    /// Ends the agents alone; their last summaries are still taken.
    pub fn end_agents(&mut self) {
        for agent in &mut self.agents {
            agent.end(Signal::TERM, Duration::from_secs(10));
        }
        self.agents.clear();
    }

    /// Starts a node's agent again, with the configuration that it had.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&mut self, bed: &Arc<Bed>, node: &str) -> Result<()> {
        let config = bed.dir.join(format!("configs/agent-{node}.toml"));
        let name = format!("agent-{node}");
        self.agents.push(run(bed, "hsw-agent", &name, &config)?);
        Ok(())
    }

    /// Starts every agent anew; `more` is read after its configuration, in the place of what was given before.
    ///
    /// # Errors
    /// When an agent refuses its configuration or cannot be started.
    pub fn restart_agents(&mut self, bed: &Arc<Bed>, more: &str) -> Result<()> {
        let names = self
            .agents
            .iter()
            .filter_map(|a| a.name().strip_prefix("agent-"));
        let nodes: Vec<String> = names.map(str::to_owned).collect();
        self.end_agents();
        for node in nodes {
            let folder = bed.dir.join(format!("configs/agent-{node}.toml.d"));
            bed.service_dir(&folder)?;
            bed.service_file(&folder.join("more.toml"), more)?;
            self.start_agent(bed, &node)?;
        }
        Ok(())
    }

    /// The agents' and the aggregator's processes, by name, for measuring what they cost.
    pub fn processes(&self) -> impl Iterator<Item = (&str, super::ProcId)> {
        let all = self.agents.iter().chain([&self.aggregator]);
        all.map(|process| (process.name(), process.id()))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether all programs stand in this folder; asked before anything slow begins.
///
/// # Errors
/// Names the one that is missing.
pub fn check_programs(folder: &Path) -> Result<()> {
    for program in PROGRAMS {
        if !folder.join(program).is_file() {
            bail!(
                "no {program} in {}; build it: cargo build --release --locked",
                folder.display()
            );
        }
    }
    Ok(())
}

/// Copies, because the service user may not be able to look into the folder where they were built.
fn copy_programs(bed: &Bed, from: &Path) -> Result<()> {
    for program in PROGRAMS {
        let source = from.join(program);
        std::fs::copy(&source, bed.dir.join("bin").join(program)).with_context(|| {
            format!(
                "copy {}; build it: cargo build --release --locked",
                source.display()
            )
        })?;
    }
    Ok(())
}

fn run(bed: &Arc<Bed>, program: &str, name: &str, config: &Path) -> Result<Managed> {
    Launch::new(name, bed.dir.join("bin").join(program))
        .args(["run", "--config"])
        .args([config])
        .spawn(bed)
}

/// The authority is made once per run; each certificate names its node and is readable by the service user.
fn issue(bed: &Bed, node: &str, out: &Path, address: Option<&str>) -> Result<()> {
    let hsw = bed.dir.join("bin/hsw");
    let authority = bed.dir.join("certs/authority");
    if !authority.join("ca.crt").exists() {
        Launch::new("hsw cert init", &hsw)
            .as_ourselves()
            .args(["cert", "init", "--dir"])
            .args([&authority])
            .output(bed, "")?;
    }
    let mut launch = Launch::new("hsw cert issue", &hsw)
        .as_ourselves()
        .args(["cert", "issue", "--dir"])
        .args([&authority])
        .args(["--node", node, "--out"])
        .args([out]);
    if let Some((ip, _)) = address.and_then(|address| address.rsplit_once(':')) {
        launch = launch.args(["--address", ip]);
    }
    launch.output(bed, "")?;
    bed.give(out, 0o700)?;
    for (file, mode) in [
        (format!("{node}.crt"), 0o644),
        (format!("{node}.key"), 0o600),
        ("ca.crt".to_owned(), 0o644),
    ] {
        bed.give(&out.join(file), mode)?;
    }
    Ok(())
}

/// Where a node's certificate goes.
#[must_use]
pub fn certs_of(bed: &Bed, node: &str) -> PathBuf {
    bed.dir.join("certs").join(node)
}
