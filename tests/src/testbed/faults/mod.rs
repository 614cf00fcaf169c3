//! Real faults on real instances, each with the way back.
//!
//! In: a node. Out: [`Injected`], which heals when asked, when dropped, and (through the ledger) when this process was killed.
//! A fault that this machine cannot have is an error that says why; nothing is imitated.

mod client;
mod halt;
mod intrusion;
mod machine;
mod sessions;
mod storage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::cgroup::Group;
use super::cluster::{Cluster, NODE_CORES};
use super::incidents::Expected;
use super::ledger::ProcId;
use super::load::Load;
use super::postgres::{DATABASE, Node};
use super::process::Managed;
use client::Worker;

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One session holds the locks of the hot rows; others queue behind it.
    LockStorm,
    /// Busy loops of a foreign process in the shard's control group.
    CpuHog,
    /// The shard's processor quota is cut to almost nothing.
    CpuQuota,
    /// The secondary index is gone.
    MissingIndex,
    /// Logins until the limit refuses them, and on.
    ConnectionStorm,
    /// Checkpoints in a tight loop, with writes between them.
    CheckpointStorm,
    /// Every process of the instance is stopped by a signal.
    Stopped,
    /// The shard's control group is frozen.
    Frozen,
    /// Direct writes of a foreign process on the shard's disk.
    DiskHog,
    /// Transactions that take the same locks in different order.
    Deadlocks,
    /// Runaway sorts.
    SlowQuery,
    /// The postmaster is killed and comes back.
    Crash,
    /// An unknown client reads all of every shard.
    Exfiltration,
    /// A service talks to a shard that it never used.
    Lateral,
    /// A service is refused as an administrator, is granted the role all the same, and uses it.
    Escalation,
    /// Twice the load on all shards alike: harmless.
    LoadSurgeAll,
}

impl Fault {
    /// All of them, in the order of the list that is printed.
    pub const ALL: [Self; 16] = [
        Self::LockStorm,
        Self::CpuHog,
        Self::CpuQuota,
        Self::MissingIndex,
        Self::ConnectionStorm,
        Self::CheckpointStorm,
        Self::Stopped,
        Self::Frozen,
        Self::DiskHog,
        Self::Deadlocks,
        Self::SlowQuery,
        Self::Crash,
        Self::Exfiltration,
        Self::Lateral,
        Self::Escalation,
        Self::LoadSurgeAll,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LockStorm => "lock-storm",
            Self::CpuHog => "cpu-hog",
            Self::CpuQuota => "cpu-quota",
            Self::MissingIndex => "missing-index",
            Self::ConnectionStorm => "connection-storm",
            Self::CheckpointStorm => "checkpoint-storm",
            Self::Stopped => "stopped",
            Self::Frozen => "frozen",
            Self::DiskHog => "disk-hog",
            Self::Deadlocks => "deadlocks",
            Self::SlowQuery => "slow-query",
            Self::Crash => "crash",
            Self::Exfiltration => "exfiltration",
            Self::Lateral => "lateral",
            Self::Escalation => "escalation",
            Self::LoadSurgeAll => "load-surge-all",
        }
    }

    /// One line for the list.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::LockStorm => {
                "one session holds the locks of the hot rows, others queue behind it"
            }
            Self::CpuHog => "four busy loops of a foreign process in the shard's control group",
            Self::CpuQuota => "the shard's processor quota is cut to 2 % of a core",
            Self::MissingIndex => "the secondary index is dropped, look-ups read the whole table",
            Self::ConnectionStorm => "logins until the limit refuses them, and on",
            Self::CheckpointStorm => "checkpoints in a tight loop, with writes between them",
            Self::Stopped => "every process of the instance is stopped by SIGSTOP",
            Self::Frozen => "the shard's control group is frozen",
            Self::DiskHog => "four direct writers on the shard's own disk",
            Self::Deadlocks => "transactions that lock the same rows in different order",
            Self::SlowQuery => "three sessions run large sorts without end",
            Self::Crash => "kill -9 of the postmaster, restart after five seconds",
            Self::Exfiltration => {
                "a client nobody knows dumps every shard, slowly; right answer: its edges"
            }
            Self::Lateral => {
                "the billing service talks to a shard it never used; right answer: that edge"
            }
            Self::Escalation => {
                "refused logins, then a role granted and used; right answer: who, where"
            }
            Self::LoadSurgeAll => "twice the load on all shards alike; right answer: no incident",
        }
    }

    /// The fault of that name.
    ///
    /// # Errors
    /// Names the ones there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == name)
            .with_context(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|fault| fault.name()).collect();
                format!("there is no fault {name}; there are: {}", names.join(", "))
            })
    }

    /// Whether an incident is the right answer.
    #[must_use]
    pub fn wants_incident(self) -> bool {
        self != Self::LoadSurgeAll
    }

    /// The application that acts, where the right answer is an edge and not a shard.
    #[must_use]
    pub fn intruder(self) -> Option<&'static str> {
        match self {
            Self::Exfiltration => Some("pg_dump"),
            Self::Lateral => Some("billing"),
            Self::Escalation => Some("reports"),
            _ => None,
        }
    }

    /// What an incident about it must name when it acts on this shard.
    #[must_use]
    pub fn expected(self, shard: &str) -> Expected {
        match self.intruder() {
            Some(application) => Expected::Edge {
                client: format!("client:127.0.0.1/{application}"),
                to: format!("node:{shard}-a"),
            },
            None if self.wants_incident() => Expected::Shard(shard.to_owned()),
            None => Expected::Nothing,
        }
    }

    /// Whether it needs rows, which the coordinator has none of.
    fn needs_rows(self) -> bool {
        matches!(
            self,
            Self::MissingIndex
                | Self::CheckpointStorm
                | Self::Deadlocks
                | Self::SlowQuery
                | Self::Exfiltration
                | Self::Lateral
                | Self::Escalation
        )
    }
}

/// A way back.
#[derive(Debug)]
enum Undo {
    /// Give the group its usual share again.
    Quota(Group),
    /// Let the group run again.
    Thaw(Group),
    /// Wake stopped processes.
    Continue(Vec<ProcId>),
    /// Run a statement on the application's database.
    Sql(&'static str),
    /// Remove a file.
    Remove(PathBuf),
}

/// A fault that acts; dropping it heals.
#[derive(Debug)]
pub struct Injected {
    /// Which one.
    pub fault: Fault,
    node: Arc<Node>,
    processes: Vec<Managed>,
    workers: Vec<Worker>,
    load: Option<Load>,
    undo: Vec<Undo>,
}

impl Injected {
    pub(super) fn new(cluster: &Cluster, fault: Fault, node: &Arc<Node>) -> Result<Self> {
        if node.number == 0 && fault.needs_rows() {
            bail!(
                "{} needs rows, and the coordinator has none; give a shard from 1",
                fault.name()
            );
        }
        let mut new = Self {
            fault,
            node: Arc::clone(node),
            processes: Vec::new(),
            workers: Vec::new(),
            load: None,
            undo: Vec::new(),
        };
        // On an error the guard drops and heals what was done by then.
        match fault {
            Fault::LockStorm => sessions::lock_storm(&mut new),
            Fault::CpuHog => machine::cpu_hog(&mut new),
            Fault::CpuQuota => machine::cpu_quota(&mut new),
            Fault::MissingIndex => storage::missing_index(&mut new),
            Fault::ConnectionStorm => sessions::connection_storm(&mut new),
            Fault::CheckpointStorm => storage::checkpoint_storm(&mut new),
            Fault::Stopped => halt::stopped(&mut new),
            Fault::Frozen => halt::frozen(&mut new),
            Fault::DiskHog => machine::disk_hog(&mut new),
            Fault::Deadlocks => sessions::deadlocks(&mut new),
            Fault::SlowQuery => sessions::slow_query(&mut new),
            Fault::Crash => halt::crash(&mut new),
            Fault::Exfiltration => intrusion::exfiltration(&mut new, cluster),
            Fault::Lateral => intrusion::lateral(&mut new),
            Fault::Escalation => intrusion::escalation(&mut new),
            Fault::LoadSurgeAll => cluster
                .more_load("surge", 1.0, false)
                .map(|load| new.load = Some(load)),
        }
        .with_context(|| format!("inject {} into {}", fault.name(), node.name))?;
        Ok(new)
    }

    /// Takes the fault back.
    ///
    /// # Errors
    /// When a step fails; the other steps are done all the same.
    pub fn heal(mut self) -> Result<()> {
        self.take_back()
    }

    fn take_back(&mut self) -> Result<()> {
        let mut problems = Vec::new();
        for undo in self.undo.drain(..).rev() {
            if let Err(problem) = undo.run(&self.node) {
                problems.push(format!("{problem:#}"));
            }
        }
        for process in &self.processes {
            // A shell and what it started: the shell alone would leave its child running.
            for id in process.id().tree() {
                id.signal(Signal::TERM);
            }
        }
        for mut process in self.processes.drain(..) {
            process.end(Signal::TERM, Duration::from_secs(2));
        }
        for worker in self.workers.drain(..) {
            if let Err(problem) = worker.end() {
                problems.push(format!("{problem:#}"));
            }
        }
        self.load = None;
        if problems.is_empty() {
            return Ok(());
        }
        bail!(
            "heal {} on {}: {}",
            self.fault.name(),
            self.node.name,
            problems.join("; ")
        )
    }

    fn group(&self) -> Result<&Group> {
        self.node.group.as_ref().context(
            "this fault needs control groups; run as root on a kernel with the cpu controller",
        )
    }

    /// Starts a `pgbench` straight to the node, with a script of its own.
    fn bench(&mut self, application: &str, script: &str, args: &[&str]) -> Result<()> {
        let name = format!("{}-{}", self.fault.name(), application);
        let bed = Arc::clone(self.node.bed());
        let path = bed.dir.join("load").join(format!("{name}.sql"));
        bed.service_file(&path, script)?;
        let first = super::schema::first_key(self.node.number);
        let process = self
            .node
            .pgbench_launch(&name, application, "app")
            .args(["-T", "2000000", "-D", &format!("first={first}"), "-f"])
            .args([path])
            .args(args)
            .args([DATABASE])
            .spawn(&bed)?;
        self.processes.push(process);
        Ok(())
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // Whoever wants to know calls `heal`; here the cleaning that follows will report what stays.
        let _ = self.take_back();
    }
}

impl Undo {
    fn run(self, node: &Node) -> Result<()> {
        match self {
            Self::Quota(group) => group.write_quota(Some(NODE_CORES)),
            Self::Thaw(group) => group.freeze(false),
            Self::Continue(ids) => {
                for id in ids {
                    id.signal(Signal::CONT);
                }
                Ok(())
            }
            Self::Sql(text) => node.sql(DATABASE, text).map(drop),
            Self::Remove(path) => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("remove {}", path.display()))
                }
                _ => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_only_the_surge_is_harmless() {
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(fault.name()).unwrap(), fault);
            assert_eq!(fault.wants_incident(), fault != Fault::LoadSurgeAll);
        }
        assert!(
            Fault::parse("gremlins")
                .unwrap_err()
                .to_string()
                .contains("lock-storm")
        );
    }
}
