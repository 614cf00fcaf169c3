//! The systemd journal, read by its own program as a supervised child. (step 1)
//!
//! In: what `journalctl --follow --output=json` prints. Out: batches of [`Entry`]s, in order, each with its cursor.
//! Invariants: JD-1 no shell: program and arguments are given one by one. JD-2 what waits is bounded: when the log source is
//! behind, the child waits at its pipe. JD-3 a child that ends is started again after the last entry, later each time.
//! Limits: [`BATCH_BYTES`] × [`N_BATCHES`] wait; a longer line is dropped and counted.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::journal_entry::{Entry, is_cursor};
use super::log::{Config, Start};

/// Bytes of messages handed over at a time, and how many such batches wait.
const BATCH_BYTES: usize = 256 * 1024;
const N_BATCHES: usize = 16;
/// A batch that is not full is handed over after this long.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// JSON may write six characters for a byte; the rest of an entry is small.
const JSON_FACTOR: usize = 6;
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A child that lived this long was well.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// Starts in vain after which the cursor is not believed any more.
const N_IN_VAIN_MAX: u32 = 3;
/// How long to wait for the names of units.
const NAMES_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read of names and complaints.
const ASIDE_BYTES_MAX: u64 = 1 << 20;

/// How the follower fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The child runs.
    pub(super) is_running: bool,
    /// Why not, or what is odd; with the remedy.
    pub(super) problem: Option<String>,
    /// Lines too long or not an entry, and times the cursor was given up.
    pub(super) dropped: u64,
    /// Starts after the first.
    pub(super) restarts: u64,
}

/// Follows the journal until dropped.
#[derive(Debug)]
pub(super) struct Follower {
    batches: mpsc::Receiver<Vec<Entry>>,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Ends the child with it.
        self.task.abort();
    }
}

impl Follower {
    /// Goes on behind `cursor`.
    pub(super) fn start(config: &Config, cursor: Option<String>) -> Self {
        let (sender, batches) = mpsc::channel(N_BATCHES);
        let state = Arc::new(Mutex::new(State::default()));
        let work = Work {
            config: config.clone(),
            cursor,
            sender,
            state: Arc::clone(&state),
        };
        Self {
            batches,
            state,
            task: tokio::spawn(work.run()),
        }
    }

    /// What came since the last call.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        let mut all = Vec::new();
        // A round takes what waits now, not what comes while it does.
        for _ in 0..self.batches.len() {
            match self.batches.try_recv() {
                Ok(batch) => all.extend(batch),
                Err(_) => break,
            }
        }
        all
    }

    pub(super) fn state(&self) -> State {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Work {
    config: Config,
    cursor: Option<String>,
    sender: mpsc::Sender<Vec<Entry>>,
    state: Arc<Mutex<State>>,
}

impl Work {
    async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        let mut n_in_vain = 0;
        let unknown = self.unknown_units().await;
        loop {
            let begun = Instant::now();
            let before = self.cursor.clone();
            let why = match self.spawn() {
                Ok(mut child) => {
                    self.tell(|state| {
                        state.is_running = true;
                        state.problem.clone_from(&unknown);
                    });
                    self.follow(&mut child).await
                }
                Err(why) => why,
            };
            if self.sender.is_closed() {
                return;
            }
            self.tell(|state| {
                state.is_running = false;
                state.problem = Some(why);
                state.restarts += 1;
            });
            n_in_vain = if self.cursor == before {
                n_in_vain + 1
            } else {
                0
            };
            if begun.elapsed() >= WELL_AFTER || self.cursor != before {
                backoff = BACKOFF_MIN;
            }
            if n_in_vain >= N_IN_VAIN_MAX && self.cursor.is_some() && begun.elapsed() < WELL_AFTER {
                // A journal that was moved away knows it no longer; better the entries to come than none.
                self.cursor = None;
                self.tell(|state| state.dropped += 1);
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.config.journald_program);
        command
            .args(["--no-pager", "--quiet"])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(directory) = &self.config.journald_directory {
            command.arg(format!("--directory={}", directory.display()));
        }
        command
    }

    fn spawn(&self) -> Result<Child, String> {
        let mut command = self.command();
        command.args(["--follow", "--output=json", "--all"]);
        command.arg("--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT");
        for unit in &self.config.journald_units {
            command.arg(format!("--unit={unit}"));
        }
        match (&self.cursor, self.config.start) {
            // Without --no-tail a follower shows ten entries only.
            (Some(cursor), _) if is_cursor(cursor.as_bytes()) => {
                command.args(["--no-tail", &format!("--after-cursor={cursor}")])
            }
            (_, Start::Beginning) => command.arg("--no-tail"),
            (_, Start::End) => command.arg("--lines=0"),
        };
        command.spawn().map_err(|error| {
            let program = &self.config.journald_program;
            format!(
                "{program}: {error}; install systemd's journalctl, set `journald_program` in [log], or empty `journald_units`"
            )
        })
    }

    /// Reads the child to its end; says why it ended.
    async fn follow(&mut self, child: &mut Child) -> String {
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return "journalctl has no output".to_owned();
        };
        let complaint = tokio::spawn(last_line(stderr));
        let mut stdout = BufReader::with_capacity(64 * 1024, stdout);
        let line_bytes_max = self.config.line_bytes_max.max(256) * JSON_FACTOR + 4096;
        let mut line = Vec::new();
        let mut is_skipping = false;
        let mut batch: Vec<Entry> = Vec::new();
        let mut n_bytes = 0;
        loop {
            let wait = if batch.is_empty() {
                Duration::from_secs(3600)
            } else {
                BATCH_WAIT
            };
            let read = timeout(wait, stdout.fill_buf()).await;
            let is_quiet = read.is_err();
            let mut is_end = false;
            if let Ok(read) = read {
                let chunk = read.unwrap_or_default();
                is_end = chunk.is_empty();
                let newline = memchr::memchr(b'\n', chunk);
                let n = newline.map_or(chunk.len(), |at| at + 1);
                if !is_skipping {
                    line.extend_from_slice(&chunk[..n]);
                }
                stdout.consume(n);
                if line.len() > line_bytes_max && !is_skipping {
                    is_skipping = true;
                    line.clear();
                    self.tell(|state| state.dropped += 1);
                }
                if newline.is_some() {
                    if !std::mem::take(&mut is_skipping) {
                        match Entry::parse(&line) {
                            Some(mut entry) => {
                                entry.message.truncate(self.config.line_bytes_max.max(256));
                                n_bytes += entry.message.len() + 128;
                                batch.push(entry);
                            }
                            None => self.tell(|state| state.dropped += 1),
                        }
                    }
                    line.clear();
                }
            }
            let is_full = n_bytes >= BATCH_BYTES;
            if !batch.is_empty() && (is_full || is_quiet || is_end) {
                let last = batch.last().map(|entry| entry.cursor.clone());
                n_bytes = 0;
                if self.sender.send(std::mem::take(&mut batch)).await.is_err() {
                    return String::new();
                }
                self.cursor = last;
            }
            if is_end {
                break;
            }
        }
        let status = child.wait().await;
        let said = complaint.await.unwrap_or_default();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!(
            "journalctl ended ({status}) {said}; started again soon; may this user read the journal (group systemd-journal)?"
        )
    }

    /// Units the journal has never heard of; a pattern is taken as known.
    async fn unknown_units(&self) -> Option<String> {
        let mut command = self.command();
        let mut child = command.arg("--field=_SYSTEMD_UNIT").spawn().ok()?;
        let stdout = child.stdout.take()?;
        let mut names = Vec::new();
        let mut limited = stdout.take(ASIDE_BYTES_MAX);
        let read = limited.read_to_end(&mut names);
        timeout(NAMES_PATIENCE, read).await.ok()?.ok()?;
        if names.len() as u64 == ASIDE_BYTES_MAX || !child.wait().await.is_ok_and(|s| s.success()) {
            return None;
        }
        let names = String::from_utf8_lossy(&names);
        let is_known = |unit: &str| {
            let full = format!("{unit}.service");
            unit.contains(['*', '?', '[']) || names.lines().any(|name| name == unit || name == full)
        };
        let units = self.config.journald_units.iter();
        let unknown: Vec<&str> = units.map(String::as_str).filter(|u| !is_known(u)).collect();
        (!unknown.is_empty()).then(|| {
            format!(
                "{}: no entry of such a unit in the journal yet; see `journalctl --field=_SYSTEMD_UNIT` for the names there are",
                unknown.join(", ")
            )
        })
    }
}

/// The last line of a complaint.
async fn last_line(stderr: tokio::process::ChildStderr) -> String {
    let mut lines = BufReader::new(stderr.take(ASIDE_BYTES_MAX)).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        last = line.chars().take(300).collect();
    }
    last
}

#[cfg(test)]
#[path = "journald_tests.rs"]
mod tests;
