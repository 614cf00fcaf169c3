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

#[cfg(feature = "journald")]
mod journal_entry;
#[cfg(feature = "journald")]
mod journald;
pub mod log;
#[cfg(feature = "journald")]
mod log_journal;
mod log_plan;
mod log_position;
mod log_reader;

pub use data_dir::{PidFile, read_pid_file};

use tokio::sync::mpsc;

/// What a source tells the driver: anything the pipeline is told but the clock.
pub use hsw_pipeline::Input as SourceEvent;

/// Where a source sends; bounded, so a source waits (or drops and counts) when the driver is behind.
pub type Sink = mpsc::Sender<SourceEvent>;
