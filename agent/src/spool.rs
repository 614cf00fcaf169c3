//! The spool: summaries on disk until they are acknowledged, on a thread of its own. (step 5)
//!
//! In: encoded summaries. Out: the same by number, and a [`State`] that whoever ships or reports can watch.
//! Invariants: SP-1 … SP-3 (see `log`); SP-4 a file system that hangs stops this thread and nobody else: the queue to it
//! is bounded, and what finds it full is dropped and counted.
//! Limits: `N_QUEUED_MAX` commands. Does not: know connections.

mod disk;
mod log;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Context;
use hsw_types::{Incarnation, Sequence, WindowIndex};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

pub use log::Recovered;

use disk::{Disk, Folder};
use log::Log;

/// Commands that wait for the disk; at one summary every two seconds more than eight minutes of a hanging disk.
const N_QUEUED_MAX: usize = 256;

/// Limits and care.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Room on disk. 256 MiB hold more than a day; when full, the oldest summaries are dropped and counted.
    pub bytes_max: u64,
    /// Size of one file; also what is dropped at a time. 4 MiB.
    pub segment_bytes: u64,
    /// Wait for the disk after each summary. Without it a power failure loses the newest ones.
    pub fsync: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            segment_bytes: 4 << 20,
            fsync: true,
        }
    }
}

impl Config {
    /// # Errors
    /// One line that names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (64 << 10..=1 << 30).contains(&self.segment_bytes),
            "spool.segment_bytes = {}: choose 65536 to 1073741824",
            self.segment_bytes
        );
        anyhow::ensure!(
            self.bytes_max >= 2 * self.segment_bytes,
            "spool.bytes_max = {}: at least twice spool.segment_bytes",
            self.bytes_max
        );
        Ok(())
    }
}

/// What there is to know of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Under which name its numbers are unique now; changes rarely, and then a new connection is needed.
    pub incarnation: Incarnation,
    /// Newest number given out.
    pub newest: Sequence,
    /// Highest number acknowledged.
    pub acked: Sequence,
    /// Summaries that wait.
    pub unacked_summaries: u64,
    /// Their bytes.
    pub unacked_bytes: u64,
    /// Summaries dropped because there was no room, since the spool was made.
    pub dropped: u64,
    /// Summaries that are only in memory because the disk refuses.
    pub in_memory: u64,
    /// Torn ends cut off at start.
    pub torn: u64,
    /// Damaged records passed over.
    pub damaged: u64,
    /// Writes the disk refused.
    pub write_errors: u64,
    /// Times a new incarnation began.
    pub incarnations_renewed: u64,
    /// Why the disk refuses, while it does.
    pub last_error: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            incarnation: Incarnation(0),
            newest: Sequence(0),
            acked: Sequence(0),
            unacked_summaries: 0,
            unacked_bytes: 0,
            dropped: 0,
            in_memory: 0,
            torn: 0,
            damaged: 0,
            write_errors: 0,
            incarnations_renewed: 0,
            last_error: None,
        }
    }
}

/// The summary asked for with its number; `None` when there is none behind.
pub type Answer = oneshot::Receiver<Option<(Sequence, Vec<u8>)>>;

#[derive(Debug)]
enum Command {
    Append {
        last_window: WindowIndex,
        payload: Vec<u8>,
        checkpoint: Option<Vec<u8>>,
    },
    Next {
        after: Sequence,
        reply: oneshot::Sender<Option<(Sequence, Vec<u8>)>>,
    },
    Release(Sequence),
    Renew,
    Close(oneshot::Sender<()>),
}

/// A handle; cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
    overrun: Arc<AtomicU64>,
}

impl Spool {
    /// Recovers what `folder` holds and starts the thread.
    ///
    /// # Errors
    /// One line that names the folder.
    pub fn open(folder: &Path, config: Config) -> anyhow::Result<(Self, Recovered)> {
        let disk = Folder::open(folder)
            .with_context(|| format!("cannot make the spool {}", folder.display()))?;
        Self::start(disk, folder.to_owned(), config)
    }

    fn start<D: Disk + 'static>(
        disk: D,
        folder: PathBuf,
        config: Config,
    ) -> anyhow::Result<(Self, Recovered)> {
        let log = Log::open(disk, config)
            .with_context(|| format!("cannot read the spool {}", folder.display()))?;
        let recovered = log.recovered();
        let (commands, inbox) = mpsc::channel(N_QUEUED_MAX);
        let (publish, state) = watch::channel(log.state().clone());
        thread::Builder::new()
            .name("spool".to_owned())
            .stack_size(256 << 10)
            .spawn(move || serve(log, inbox, &publish, &folder))
            .context("start the spool's thread")?;
        let overrun = Arc::new(AtomicU64::new(0));
        Ok((
            Self {
                commands,
                state,
                overrun,
            },
            recovered,
        ))
    }

    /// Hands a summary over; never waits. When the queue to the disk is full the summary is dropped and counted.
    pub fn append(&self, last_window: WindowIndex, payload: Vec<u8>, checkpoint: Option<Vec<u8>>) {
        let command = Command::Append {
            last_window,
            payload,
            checkpoint,
        };
        if self.commands.try_send(command).is_err() {
            self.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks for the first summary behind `after`; the answer comes when the disk has it. `None` when the queue to the disk
    /// is full: ask again later.
    #[must_use]
    pub fn request(&self, after: Sequence) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(Command::Next { after, reply })
            .ok()
            .map(|()| answer)
    }

    /// Everything up to here may be freed; lost when the queue is full, and then said again by the next one.
    pub fn release(&self, acked: Sequence) {
        let _ = self.commands.try_send(Command::Release(acked));
    }

    /// Begins a new incarnation.
    pub async fn renew(&self) {
        let _ = self.commands.send(Command::Renew).await;
    }

    /// Brings everything to disk and ends the thread. Clones find it closed.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Close(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Waits until every summary handed over so far has been taken by the disk (or by memory, where it refuses).
    pub async fn settled(&self) {
        let (reply, answer) = oneshot::channel();
        let after = Sequence(u64::MAX);
        if self
            .commands
            .send(Command::Next { after, reply })
            .await
            .is_ok()
        {
            let _ = answer.await;
        }
    }

    /// The state, to watch.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Summaries dropped because the disk hung; not part of [`State::dropped`].
    #[must_use]
    pub fn overrun(&self) -> u64 {
        self.overrun.load(Ordering::Relaxed)
    }
}

fn serve<D: Disk>(
    mut log: Log<D>,
    mut inbox: mpsc::Receiver<Command>,
    publish: &watch::Sender<State>,
    folder: &Path,
) {
    report_recovery(log.state(), folder);
    let mut was_refusing = false;
    while let Some(command) = inbox.blocking_recv() {
        match command {
            Command::Append {
                last_window,
                payload,
                checkpoint,
            } => {
                log.append(last_window, payload, checkpoint);
            }
            Command::Next { after, reply } => {
                let _ = reply.send(log.next(after));
            }
            Command::Release(acked) => log.release(acked),
            Command::Renew => log.renew_for_peer(),
            Command::Close(reply) => {
                log.close();
                publish.send_replace(log.state().clone());
                let _ = reply.send(());
                return;
            }
        }
        let state = log.state();
        if was_refusing != state.last_error.is_some() {
            was_refusing = state.last_error.is_some();
            match &state.last_error {
                Some(error) => tracing::error!(
                    folder = %folder.display(),
                    error,
                    "spool cannot write, summaries are kept in memory: free space there or mend the file system"
                ),
                None => tracing::info!(folder = %folder.display(), "spool writes again"),
            }
        }
        publish.send_if_modified(|old| {
            let is_new = old != state;
            if is_new {
                old.clone_from(state);
            }
            is_new
        });
    }
    log.close();
}

fn report_recovery(state: &State, folder: &Path) {
    if state.torn + state.damaged > 0 {
        tracing::warn!(
            folder = %folder.display(),
            torn = state.torn,
            damaged = state.damaged,
            "spool had torn or damaged records, the others are kept"
        );
    }
    tracing::info!(
        folder = %folder.display(),
        unacked_summaries = state.unacked_summaries,
        unacked_bytes = state.unacked_bytes,
        "spool opened"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant};

    /// Its first append waits until it is let go.
    struct Hanging {
        folder: Folder,
        arrived: Sender<()>,
        go: Option<Receiver<()>>,
    }

    impl Disk for Hanging {
        fn names(&mut self) -> io::Result<Vec<String>> {
            self.folder.names()
        }
        fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
            self.folder.read(name)
        }
        fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
            self.folder.read_at(name, offset, into)
        }
        fn append(&mut self, name: &str, bytes: &[u8], _sync: bool) -> io::Result<()> {
            if let Some(go) = self.go.take() {
                let _ = self.arrived.send(());
                let _ = go.recv();
            }
            self.folder.append(name, bytes, false)
        }
        fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()> {
            self.folder.truncate(name, bytes)
        }
        fn replace(&mut self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
            self.folder.replace(name, bytes, sync)
        }
        fn remove(&mut self, name: &str) -> io::Result<()> {
            self.folder.remove(name)
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_stops_nobody_and_what_does_not_fit_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (arrived, has_arrived) = channel();
        let (let_go, go) = channel();
        let disk = Hanging {
            folder: Folder::open(dir.path()).unwrap(),
            arrived,
            go: Some(go),
        };
        let (spool, _) = Spool::start(disk, dir.path().to_owned(), Config::default()).unwrap();
        spool.append(WindowIndex(0), vec![0; 10], None);
        has_arrived.recv().unwrap();
        let began = Instant::now();
        for window in 1..=300 {
            spool.append(WindowIndex(window), vec![1; 10], None);
        }
        assert!(spool.request(Sequence(0)).is_none(), "ask again later");
        assert!(began.elapsed() < Duration::from_secs(1));
        assert_eq!(spool.overrun(), 300 - N_QUEUED_MAX as u64);
        let_go.send(()).unwrap();
        spool.settled().await;
        assert_eq!(spool.state().newest, Sequence(1 + N_QUEUED_MAX as u64));
        spool.close().await;
    }
}
