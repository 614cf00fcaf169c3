//! Sources: what reads the node, each a supervised task that sends events to the driver. (step 1)
//!
//! In: `/proc`, cgroups, sockets, the database, log files. Out: [`SourceEvent`]s over one bounded channel.
//! Invariants: SO-1 a source that cannot deliver says so ([`SourceEvent::Status`]) and never sends a made-up zero.
//! SO-2 every wait has a timeout. SO-3 whatever is left out is counted.

mod cgroup;
mod cgroup_paths;
mod data_dir;
mod disks;
mod host;
mod inet_diag;
mod instance;
mod ledger;
mod peers;
mod proc;
mod process_list;
mod process_tree;
mod sockets;

pub mod os;

pub mod postgres;

pub mod log;
mod log_reader;

pub use data_dir::{PidFile, read_pid_file};

use hsw_types::{LogSample, NodeFacts, Reading, SourceStatus, WallTime};
use tokio::sync::mpsc;

/// What a source tells the driver.
#[derive(Debug)]
pub enum SourceEvent {
    /// Readings of one sampling round.
    Readings {
        /// Data time of the round.
        at: WallTime,
        /// Bounded by the source's own limits.
        readings: Vec<Reading>,
    },
    /// The source's state changed, or its drop counter moved.
    Status(SourceStatus),
    /// What the database says of itself; the driver fills in what only the host knows.
    Facts(Box<NodeFacts>),
    /// A notable log line, masked.
    Log(LogSample),
    /// The log position up to which lines have been sent before this event; opaque to the driver.
    LogCheckpoint(Vec<u8>),
}

/// Where a source sends; bounded, so a source waits (or drops and counts) when the driver is behind.
pub type Sink = mpsc::Sender<SourceEvent>;
