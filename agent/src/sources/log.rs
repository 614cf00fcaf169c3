//! The log source: follows the database's log files and tells what they say, once a second. (step 1)
//!
//! In: files named by the config, or where the database's settings say it logs. Out: readings, masked samples, checkpoints.
//! Invariants: LG-1 an event is counted once: of several formats of one server only the best is read (json, csv, stderr).
//! LG-2 a checkpoint is sent after the readings that cover it. LG-3 bytes and parsed lines per second are bounded; what is
//! beyond is counted as dropped and shown as lag. LG-4 reading happens on a blocking thread, one round at a time.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hsw_types::{Monotonic, SourceState, SourceStatus};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

#[cfg(feature = "journald")]
use super::journald::Follower;
use super::log_reader::{Reader, Round};
use super::postgres::DatabaseSettings;
use super::{Sink, SourceEvent};

/// Name in statuses.
const NAME: &str = "log";

/// How log files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Told from each file's first lines and its name; stderr where a prefix is known and nothing else fits.
    #[default]
    Auto,
    /// PostgreSQL jsonlog.
    Jsonlog,
    /// PostgreSQL csvlog.
    Csvlog,
    /// PostgreSQL stderr with `line_prefix`.
    Stderr,
    /// Error log of MySQL, Percona Server, MariaDB.
    MysqlError,
    /// Slow query log of the same.
    MysqlSlow,
    /// MongoDB since 4.4.
    Mongodb,
    /// MongoDB before.
    MongodbText,
    /// Redis, Valkey.
    Redis,
    /// Lines of any other system.
    Plain,
}

/// Where reading starts when there is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the end of existing files.
    #[default]
    End,
    /// At their beginning.
    Beginning,
}

/// `[log]` of the agent's config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Absolute paths, `*` and `?` in the file name; empty: where the database's settings say.
    pub paths: Vec<String>,
    /// Units whose journal entries are read; then the database's own files only where `paths` names them. Needs a build
    /// with the feature `journald`.
    pub journald_units: Vec<String>,
    /// The program that reads the journal.
    pub journald_program: String,
    /// Where the journal lies; unset: where this host keeps it.
    pub journald_directory: Option<PathBuf>,
    /// How the files are written.
    pub format: Format,
    /// `log_line_prefix`, when the database cannot be asked for it.
    pub line_prefix: Option<String>,
    /// Ship samples unmasked. Statements and parameters stay on the host even so.
    pub literals: bool,
    /// Where reading starts at the very first start.
    pub start: Start,
    /// Roles whose lines are left out; application names where a line has no role.
    pub own: Vec<String>,
    /// Directories are listed this often even when the kernel reports nothing, milliseconds.
    pub poll_ms: u64,
    /// Bytes read per second, at most; the rest waits and shows as `log.lag_bytes`.
    pub bytes_per_second_max: u64,
    /// Lines parsed per second, at most; beyond, lines are only counted, by severity (and as dropped), but for a tenth as many
    /// errors.
    pub lines_per_second_max: u64,
    /// Longest line, bytes; the rest is dropped and counted.
    pub line_bytes_max: usize,
    /// Files held open.
    pub n_open_max: usize,
    /// Templates known at a time.
    pub n_templates_max: usize,
    /// Kinds of statements known at a time.
    pub n_queries_max: usize,
    /// Kinds of statements whose durations are told one by one each second; the others are told together.
    pub n_queries_told_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            journald_units: Vec::new(),
            journald_program: "journalctl".to_owned(),
            journald_directory: None,
            format: Format::Auto,
            line_prefix: None,
            literals: false,
            start: Start::End,
            own: vec!["hsw-agent".to_owned()],
            poll_ms: 2_000,
            bytes_per_second_max: 32 * 1024 * 1024,
            lines_per_second_max: 100_000,
            line_bytes_max: 64 * 1024,
            n_open_max: 32,
            n_templates_max: 300,
            n_queries_max: 200,
            n_queries_told_max: 20,
        }
    }
}

impl Config {
    /// What only a start would show.
    ///
    /// # Errors
    /// One line that names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.journald_units.is_empty() || cfg!(feature = "journald"),
            "log.journald_units: this program was built without the feature journald; leave the list empty, or build with it"
        );
        let is_unit = |unit: &String| {
            let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@*?[]".contains(c);
            !unit.is_empty() && unit.len() <= 256 && unit.chars().all(known)
        };
        if let Some(unit) = self.journald_units.iter().find(|unit| !is_unit(unit)) {
            anyhow::bail!(
                "log.journald_units: `{unit}` is no name of a unit, such as postgresql@15-main.service"
            );
        }
        let directory = self.journald_directory.as_ref();
        anyhow::ensure!(
            directory.is_none_or(|directory| directory.is_absolute()),
            "log.journald_directory: give an absolute path"
        );
        anyhow::ensure!(
            !self.journald_program.is_empty(),
            "log.journald_program: give a name or a path"
        );
        Ok(())
    }
}

/// From where the source goes on when it is started (again); it notes there what the driver has been told.
pub type Position = Arc<Mutex<Option<Vec<u8>>>>;

/// Runs until `shutdown` is true or nobody receives any more. `position` begins as the last one that was made durable; a source that is started
/// again in the same process goes on from what it last told, which the driver still has.
pub async fn run(
    config: Config,
    mut settings: watch::Receiver<Option<DatabaseSettings>>,
    position: Position,
    sink: Sink,
    mut shutdown: watch::Receiver<bool>,
) {
    let started = Instant::now();
    let checkpoint = lock(&position).clone();
    #[cfg(feature = "journald")]
    let journal = config.clone();
    let (reader, refused) = Reader::new(config, checkpoint);
    if let Some(message) = refused {
        warn!(%message, "log checkpoint not used");
    }
    #[cfg(feature = "journald")]
    let mut follower = (!journal.journald_units.is_empty())
        .then(|| Follower::start(&journal, reader.journal_cursor()));
    let mut reader = Some(reader);
    let mut watcher = Watcher::new();
    let mut told: Option<SourceStatus> = None;
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // An error means that whoever could stop us is gone.
        let stops = tokio::select! {
            _ = ticks.tick() => false,
            _ = shutdown.wait_for(|stop| *stop) => true,
        };
        if stops {
            // A checkpoint that was not due yet: the next start then reads nothing twice.
            if let Some(bytes) = reader.as_mut().and_then(Reader::last_checkpoint) {
                let _ = sink.send(SourceEvent::LogCheckpoint(bytes)).await;
            }
            return;
        }
        let changed = settings.borrow_and_update().clone();
        let rescan = watcher.changed();
        let now = Monotonic(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        let Some(mut owned) = reader.take() else {
            return;
        };
        #[cfg(feature = "journald")]
        if let Some(follower) = &mut follower {
            owned.hear(follower.take(), follower.state());
        }
        let round = tokio::task::spawn_blocking(move || {
            let round = owned.round(now, changed, rescan);
            (owned, round)
        });
        let round = match round.await {
            Ok((owned, round)) => {
                reader = Some(owned);
                round
            }
            // The supervisor starts the source again, from `position`.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        watcher.follow(&round.directories);
        if !send(&sink, round, &mut told, &position).await {
            return;
        }
    }
}

/// Sends a round in the order of LG-2; false when nobody receives any more.
async fn send(
    sink: &Sink,
    round: Round,
    told: &mut Option<SourceStatus>,
    position: &Position,
) -> bool {
    let status = SourceStatus {
        source: NAME.to_owned(),
        state: round.state,
        dropped: round.dropped,
        message: round.message,
    };
    if told.as_ref() != Some(&status) {
        if status.state != SourceState::Ok
            && told.as_ref().map(|t| &t.message) != Some(&status.message)
        {
            warn!(state = ?status.state, message = %status.message, "log source");
        }
        *told = Some(status.clone());
        if sink.send(SourceEvent::Status(status)).await.is_err() {
            return false;
        }
    }
    // Before the readings, which have the new names.
    for renamed in round.renamed {
        if sink.send(SourceEvent::Renamed(renamed)).await.is_err() {
            return false;
        }
    }
    if !round.told.is_empty()
        && sink
            .send(SourceEvent::Statements(round.told))
            .await
            .is_err()
    {
        return false;
    }
    for sample in round.samples {
        if sink.send(SourceEvent::Log(sample)).await.is_err() {
            return false;
        }
    }
    if !round.readings.is_empty() {
        let (at, readings) = (round.at, round.readings);
        if sink
            .send(SourceEvent::Readings { at, readings })
            .await
            .is_err()
        {
            return false;
        }
    }
    match round.checkpoint {
        Some(bytes) => {
            *lock(position) = Some(bytes.clone());
            sink.send(SourceEvent::LogCheckpoint(bytes)).await.is_ok()
        }
        None => true,
    }
}

fn lock(position: &Position) -> MutexGuard<'_, Option<Vec<u8>>> {
    position.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kernel notices of names that come and go; without them (too few watches, a network file system) the poll is enough.
///
/// Read once a second without blocking, and only for names: what was written is read each second anyway, and a notice per
/// write, as a general watcher delivers, would cost more than reading the lines does.
struct Watcher {
    inotify: Option<OwnedFd>,
    watched: Vec<(PathBuf, i32)>,
}

impl Watcher {
    fn new() -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .inspect_err(|error| warn!(%error, "no inotify for log files, polling only"))
            .ok();
        Self {
            inotify,
            watched: Vec::new(),
        }
    }

    /// Watches exactly these directories.
    fn follow(&mut self, directories: &[PathBuf]) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        if self.watched.iter().map(|(path, _)| path).eq(directories) {
            return;
        }
        for (_, old) in self.watched.drain(..) {
            // A directory that went away is no longer watched either.
            let _ = inotify::remove_watch(inotify, old);
        }
        let names = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        for new in directories {
            let watch = inotify::add_watch(inotify, new, names).inspect_err(|error| {
                warn!(directory = %new.display(), %error, "log directory not watched, polling only");
            });
            self.watched.push((new.clone(), watch.unwrap_or(-1)));
        }
    }

    /// Whether anything happened, an overflow of the kernel's queue included.
    fn changed(&self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let mut buffer = [0; 4096];
        let mut changed = false;
        // Bounded: what is left is read in the next second.
        for _ in 0..64 {
            match rustix::io::read(inotify, &mut buffer) {
                Ok(n) if n > 0 => changed = true,
                _ => break,
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_flood_of_notices_is_a_change_and_reading_them_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new();
        watcher.follow(&[directory.path().to_owned()]);
        assert!(!watcher.changed());
        // More than the kernel's queue holds (16,384 by default): the last notice says that others were dropped.
        let path = directory.path().join("x");
        for _ in 0..9_000 {
            fs::write(&path, "").unwrap();
            fs::remove_file(&path).unwrap();
        }
        let mut n = 0;
        while watcher.changed() {
            n += 1;
        }
        assert!((1..20).contains(&n), "{n} seconds with notices");
        fs::write(&path, "").unwrap();
        assert!(watcher.changed(), "and it goes on");
    }

    #[test]
    fn a_directory_that_cannot_be_watched_is_left_to_the_poll() {
        let mut watcher = Watcher::new();
        watcher.follow(&[PathBuf::from("/no/such/directory")]);
        assert!(!watcher.changed());
        watcher.follow(&[]);
        assert!(watcher.watched.is_empty());
    }
}
