//! What only the data directory's own file system can tell, asked where it cannot hold anybody up. (step 1)
//!
//! In: the data directory. Out: space and inodes (`data_fs.*`), the devices behind it, `postmaster.pid`.
//! Invariants: DD-1 a file system that hangs (frozen, dead network mount) blocks one own thread and nothing else;
//! at most one question is outstanding. DD-2 an answer older than [`STALE_AFTER`] is no answer.
//! Does not: write, or open anything but `postmaster.pid`.

use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::proc::number;

/// How often the directory is asked; ours: `postmaster.pid` should be noticed before the next summary.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(2);
/// Ours: a healthy local file system answers within a millisecond.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(6);

/// Space of the file system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Space {
    /// Bytes the database may still write (the reserve for root excluded).
    pub(crate) free_bytes: f64,
    /// Used share of what the database could ever use, as `df` says it.
    pub(crate) used_ratio: f64,
    /// Used share of inodes; missing on file systems without a fixed number.
    pub(crate) inodes_used_ratio: Option<f64>,
}

/// `postmaster.pid`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PidFile {
    /// Process id of the postmaster.
    pub pid: u32,
    /// Start of the postmaster, Unix seconds.
    pub started: i64,
    /// TCP port; also in the name of the Unix socket.
    pub port: u16,
    /// Directory of the first Unix socket; empty when there is none.
    pub socket_dir: PathBuf,
    /// First entry of `listen_addresses` as an address; none for `*`, a host name or no TCP at all.
    pub listen_address: Option<IpAddr>,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Space, or why not.
    pub(crate) space: Result<Space, String>,
    /// Device numbers (major, minor) behind the directory and its write-ahead log.
    pub(crate) devices: Vec<(u32, u32)>,
    /// The database's own word where it runs; `Ok(None)` when it does not run.
    pub(crate) pid_file: Result<Option<PidFile>, String>,
}

/// The newest answer and when it came.
type Latest = Mutex<Option<(Instant, Arc<Answer>)>>;

/// Asks in a thread of its own.
#[derive(Debug)]
pub(crate) struct Prober {
    ask: SyncSender<()>,
    latest: Arc<Latest>,
    asked: Option<Instant>,
    created: Instant,
}

impl Prober {
    /// Starts the thread and asks at once.
    ///
    /// # Errors
    /// No thread could be started.
    pub(crate) fn start(data_dir: PathBuf) -> io::Result<Self> {
        let (ask, questions) = sync_channel(1);
        let latest = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&latest);
        // The thread may hang in the kernel for ever, so nobody joins it; it ends when `ask` is dropped.
        std::thread::Builder::new()
            .name("data-dir".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || answer_questions(&data_dir, &questions, &shared))?;
        let mut prober = Self {
            ask,
            latest,
            asked: None,
            created: Instant::now(),
        };
        prober.ask_again(Instant::now());
        Ok(prober)
    }

    /// The newest answer that is fresh, and asks again when it is time. Never blocks.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Arc<Answer>> {
        // The lock is only ever held for a move of two words.
        let latest = self
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let answered = latest.as_ref().map(|(at, _)| *at);
        let pending = self
            .asked
            .is_some_and(|asked| answered.is_none_or(|at| at < asked));
        if !pending && self.asked.is_none_or(|asked| now >= asked + ASK_EVERY) {
            self.ask_again(now);
        }
        let (at, answer) = latest?;
        (now.saturating_duration_since(at) <= STALE_AFTER).then_some(answer)
    }

    /// Whether the directory has had its time to answer.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.created) > STALE_AFTER
    }

    fn ask_again(&mut self, now: Instant) {
        if self.ask.try_send(()).is_ok() {
            self.asked = Some(now);
        }
    }
}

fn answer_questions(data_dir: &Path, questions: &Receiver<()>, latest: &Latest) {
    while questions.recv().is_ok() {
        let answer = Arc::new(ask_once(data_dir));
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), answer));
    }
}

/// Asks everything; may hang.
fn ask_once(data_dir: &Path) -> Answer {
    let mut devices = Vec::new();
    // The write-ahead log is often a link to a disk of its own.
    for path in [data_dir.to_owned(), data_dir.join("pg_wal")] {
        if let Ok(metadata) = fs::metadata(path) {
            let device = metadata.dev();
            let numbers = (rustix::fs::major(device), rustix::fs::minor(device));
            if !devices.contains(&numbers) {
                devices.push(numbers);
            }
        }
    }
    Answer {
        space: space(data_dir),
        devices,
        pid_file: read_pid_file(data_dir),
    }
}

fn space(data_dir: &Path) -> Result<Space, String> {
    let stat = rustix::fs::statvfs(data_dir).map_err(|error| {
        format!(
            "cannot stat the file system of {}: {error}; give the agent's user search rights on the path",
            data_dir.display()
        )
    })?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree) as f64;
    let usable = used + stat.f_bavail as f64;
    let inodes_used = stat.f_files.saturating_sub(stat.f_ffree) as f64;
    Ok(Space {
        free_bytes: stat.f_bavail as f64 * stat.f_frsize as f64,
        used_ratio: if usable > 0.0 { used / usable } else { 0.0 },
        inodes_used_ratio: (stat.f_files > 0).then(|| inodes_used / stat.f_files as f64),
    })
}

/// Reads `<data_dir>/postmaster.pid`; none when the database does not run. May hang with the file system.
///
/// # Errors
/// One line that names the file and the remedy: no rights, or not a file of PostgreSQL.
pub fn read_pid_file(data_dir: &Path) -> Result<Option<PidFile>, String> {
    let path = data_dir.join("postmaster.pid");
    let mut text = String::new();
    let read = fs::File::open(&path).and_then(|file| file.take(4096).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if data_dir.is_dir() {
                Ok(None)
            } else {
                Err(format!(
                    "no data directory at {}; set the agent's data_dir to the database's data_directory",
                    data_dir.display()
                ))
            };
        }
        Err(error) => {
            return Err(format!(
                "cannot read {}: {error}; run the agent as the database's user, or initialise the cluster with group access and add the agent to the group",
                path.display()
            ));
        }
    }
    // A file that is being written is incomplete for a moment: the database is starting.
    if text.lines().count() < 4 {
        return Ok(None);
    }
    parse_pid_file(&text)
        .map(Some)
        .ok_or_else(|| format!("{} is not a postmaster.pid of PostgreSQL", path.display()))
}

fn parse_pid_file(text: &str) -> Option<PidFile> {
    let mut lines = text.lines().map(str::trim);
    let pid = u32::try_from(number(lines.next()?.as_bytes())?).ok()?;
    let _data_dir = lines.next()?;
    let started = lines.next()?.parse().ok()?;
    let port = lines.next()?.parse().ok()?;
    let socket_dir = lines.next().map(PathBuf::from).unwrap_or_default();
    let listen_address = match lines.next().unwrap_or_default() {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        address => address.parse().ok(),
    };
    (pid > 1).then_some(PidFile {
        pid,
        started,
        port,
        socket_dir,
        listen_address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postmaster_pid_tells_where_the_database_runs() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "4711\n/data\n1763661827\n5433\n/run/postgresql\n127.0.11.1\n  5433  7\nready   \n";
        fs::write(dir.path().join("postmaster.pid"), text).unwrap();
        let found = read_pid_file(dir.path()).unwrap().unwrap();
        assert_eq!(
            (found.pid, found.port, found.started),
            (4711, 5433, 1_763_661_827)
        );
        assert_eq!(found.listen_address, Some(IpAddr::from([127, 0, 11, 1])));
        assert_eq!(found.socket_dir, Path::new("/run/postgresql"));
    }

    #[test]
    fn a_database_that_does_not_run_is_no_error_and_a_missing_directory_is_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_pid_file(dir.path()), Ok(None));
        fs::write(dir.path().join("postmaster.pid"), "4711\n/data\n").unwrap();
        assert_eq!(read_pid_file(dir.path()), Ok(None), "half written");
        fs::write(dir.path().join("postmaster.pid"), "a\nb\nc\nd\n").unwrap();
        assert!(
            read_pid_file(dir.path())
                .unwrap_err()
                .contains("postmaster.pid")
        );
        let missing = read_pid_file(&dir.path().join("none")).unwrap_err();
        assert!(missing.contains("data_dir"), "{missing}");
    }

    #[test]
    fn the_directory_answers_in_the_background_and_an_old_answer_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut prober = Prober::start(dir.path().to_owned()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer = loop {
            if let Some(answer) = prober.poll(Instant::now()) {
                break answer;
            }
            assert!(Instant::now() < deadline, "no answer");
            std::thread::sleep(Duration::from_millis(5));
        };
        let space = answer.space.clone().unwrap();
        assert!(space.free_bytes > 0.0 && (0.0..=1.0).contains(&space.used_ratio));
        assert_eq!(answer.devices.len(), 1);
        let later = Instant::now() + STALE_AFTER + Duration::from_secs(1);
        assert!(prober.poll(later).is_none());
        assert!(prober.is_overdue(later));
    }
}
