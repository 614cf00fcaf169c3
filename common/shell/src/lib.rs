//! What both shells share: configuration, tracing, shutdown, supervised tasks, identities. (steps 5–6, 14–15)
//!
//! In: files, environment, flags, signals. Out: checked values and handles.
//! Invariants: SH-1 an unknown key is an error that names the file and the key. SH-2 TLS 1.3 with certificates on both
//! sides, and a changed certificate serves new connections without a restart. SH-3 a task that panics is counted and
//! started again, and takes nobody with it.
//! Does not: know summaries, sockets or what the tasks do.

pub mod config;

pub mod telemetry;

mod seldom;
mod shutdown;
mod supervise;

pub mod cert;
pub mod tls;

pub mod systemd;

pub use seldom::Seldom;
pub use shutdown::{Shutdown, Signals};
pub use supervise::{Restarts, supervise};
