//! The database instance as the operating system sees it. (step 1)
//!
//! In: `postmaster.pid` (by way of `data_dir`), `/proc`. Out: `instance.*` readings.
//! `instance.rss_bytes` is the sum of each process's own pages plus, once, the shared pages of the process that has
//! touched most of them: shared buffers are not counted once per session, and no right beyond reading `/proc` is needed.
//! `instance.read_bytes` and `write_bytes` are the kernel's per-process figures: pages fetched and pages made dirty.
//! Invariants: IN-1 counters live as long as the postmaster (their epoch). IN-2 a database that does not run has zero
//! processes; everything else is then missing. Does not: ask the database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hsw_types::{Reading, SeriesKey, SourceState};

use super::data_dir::PidFile;
use super::proc::{Buffer, node};
use super::process_tree::{Picture, ProcessTree, Totals};

/// State of a part of this source and one line for the operator.
pub(crate) type Health = (SourceState, String);

/// Follows the instance from one postmaster to the next.
#[derive(Debug)]
pub(crate) struct Instance {
    proc: PathBuf,
    data_dir: PathBuf,
    keys: Keys,
    followed: Option<(PidFile, ProcessTree)>,
    left_out: u64,
    ticks_per_second: f64,
    page_bytes: f64,
}

#[derive(Debug)]
struct Keys {
    cpu: Arc<SeriesKey>,
    rss: Arc<SeriesKey>,
    processes: Arc<SeriesKey>,
    stopped: Arc<SeriesKey>,
    blocked: Arc<SeriesKey>,
    read: Arc<SeriesKey>,
    write: Arc<SeriesKey>,
    faults: Arc<SeriesKey>,
    open_files: Arc<SeriesKey>,
}

/// What the other parts need to know of the instance.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// The postmaster's file.
    pub(crate) pid_file: PidFile,
    /// CPU seconds of the whole tree since its start, the agent's own sessions included.
    pub(crate) cpu_seconds_all: f64,
    /// Changes with each postmaster.
    pub(crate) epoch: u64,
}

impl Instance {
    /// `proc` is `/proc`, or a fixture.
    pub(crate) fn new(proc: &Path, data_dir: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            data_dir: data_dir.to_owned(),
            keys: Keys::new(),
            followed: None,
            left_out: 0,
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as f64,
        }
    }

    /// Processes left out over the limit since the agent started.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// One round. `pid_file` is the data directory's newest answer, none while it does not answer.
    pub(crate) fn sample(
        &mut self,
        pid_file: Option<&Result<Option<PidFile>, String>>,
        not_ours: &[u32],
        buffer: &mut Buffer,
        out: &mut Vec<Reading>,
    ) -> (Option<Running>, Health) {
        match pid_file {
            // The file system hangs: the processes that are known can still be looked at.
            None => {}
            Some(Err(why)) => {
                self.followed = None;
                return (None, (SourceState::Refused, why.clone()));
            }
            Some(Ok(None)) => self.followed = None,
            Some(Ok(Some(pid_file))) => {
                let same = |(known, _): &(PidFile, ProcessTree)| known == pid_file;
                if !self.followed.as_ref().is_some_and(same) {
                    self.followed = ProcessTree::follow(&self.proc, pid_file.pid, buffer)
                        .map(|tree| (pid_file.clone(), tree));
                }
            }
        }
        let round = self.followed.as_mut().and_then(|(pid_file, tree)| {
            let epoch = tree.start_ticks() ^ (u64::from(pid_file.pid) << 40);
            let (totals, picture) = tree.sample(not_ours, buffer)?;
            Some((pid_file.clone(), totals, picture, epoch))
        });
        let Some((pid_file, totals, picture, epoch)) = round else {
            self.followed = None;
            return (None, self.not_running(pid_file.is_some(), out));
        };
        self.left_out = self.left_out.max(picture.left_out);
        self.emit(&totals, &picture, epoch, out);
        let running = Running {
            pid_file,
            cpu_seconds_all: totals.cpu_ticks_all / self.ticks_per_second,
            epoch,
        };
        (Some(running), health_of(&totals))
    }

    fn not_running(&self, answered: bool, out: &mut Vec<Reading>) -> Health {
        let data_dir = self.data_dir.display();
        if !answered {
            let why = format!("{data_dir} does not answer; look at its disk or mount");
            return (SourceState::Silent, why);
        }
        out.push(Reading::gauge(&self.keys.processes, 0.0));
        let why =
            format!("no postmaster runs on {data_dir}; start the database, or correct data_dir");
        (SourceState::Unreachable, why)
    }

    fn emit(&self, totals: &Totals, picture: &Picture, epoch: u64, out: &mut Vec<Reading>) {
        let keys = &self.keys;
        let cpu_seconds = totals.cpu_ticks / self.ticks_per_second;
        out.push(Reading::counter(&keys.cpu, cpu_seconds, epoch));
        out.push(Reading::counter(&keys.faults, totals.major_faults, epoch));
        if let Some((read, written)) = totals.io {
            out.push(Reading::counter(&keys.read, read, epoch));
            out.push(Reading::counter(&keys.write, written, epoch));
        }
        let pages = picture.own_pages.saturating_add(picture.shared_pages);
        out.push(Reading::gauge(&keys.rss, pages as f64 * self.page_bytes));
        out.push(Reading::gauge(&keys.processes, picture.processes as f64));
        out.push(Reading::gauge(&keys.stopped, picture.stopped as f64));
        out.push(Reading::gauge(&keys.blocked, picture.blocked as f64));
        if let Some(open) = picture.open_files {
            out.push(Reading::gauge(&keys.open_files, open as f64));
        }
    }
}

/// What parts say that look at the instance while there is none to look at.
pub(crate) fn no_instance() -> Health {
    let why = "waits for the database instance; see the source `instance`";
    (SourceState::Absent, why.to_owned())
}

fn health_of(totals: &Totals) -> Health {
    let message = if totals.io.is_some() {
        String::new()
    } else {
        // Everything else is delivered, so this is a hint and no fault.
        "no right to read the database's I/O counters; run the agent as the database's user or give it CAP_SYS_PTRACE".to_owned()
    };
    (SourceState::Ok, message)
}

impl Keys {
    fn new() -> Self {
        Self {
            cpu: node("instance.cpu_cores"),
            rss: node("instance.rss_bytes"),
            processes: node("instance.processes"),
            stopped: node("instance.stopped_processes"),
            blocked: node("instance.blocked_processes"),
            read: node("instance.read_bytes"),
            write: node("instance.write_bytes"),
            faults: node("instance.major_faults"),
            open_files: node("instance.open_files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::Value;
    use std::fs;

    fn pid_file(pid: u32) -> PidFile {
        PidFile {
            pid,
            started: 1,
            port: 5432,
            socket_dir: PathBuf::new(),
            listen_address: None,
        }
    }

    fn put(proc: &Path, pid: u32, start: u64) {
        let directory = proc.join(pid.to_string());
        fs::create_dir_all(&directory).unwrap();
        let stat =
            format!("{pid} (postgres) S 1 1 1 0 -1 0 0 0 3 0 200 50 0 0 20 0 1 0 {start} 0\n");
        fs::write(directory.join("stat"), stat).unwrap();
        fs::write(directory.join("statm"), "900 300 200 0 0 0 0\n").unwrap();
    }

    fn names(out: &[Reading]) -> Vec<&str> {
        out.iter()
            .map(|reading| reading.key.metric.as_str())
            .collect()
    }

    #[test]
    fn without_rights_to_the_io_file_there_are_no_io_readings_and_a_hint() {
        let proc = tempfile::tempdir().unwrap();
        put(proc.path(), 100, 7);
        let mut instance = Instance::new(proc.path(), Path::new("/data"));
        let mut out = Vec::new();
        let answer = Ok(Some(pid_file(100)));
        let (running, (state, hint)) =
            instance.sample(Some(&answer), &[], &mut Buffer::new(), &mut out);
        assert!(running.is_some());
        assert_eq!(state, SourceState::Ok);
        assert!(hint.contains("CAP_SYS_PTRACE"));
        assert!(!names(&out).contains(&"instance.write_bytes"));
        let page = rustix::param::page_size() as f64;
        let rss = out
            .iter()
            .find(|r| r.key.metric == "instance.rss_bytes")
            .unwrap();
        assert_eq!(rss.value, Value::Gauge(300.0 * page));
    }

    #[test]
    fn a_restart_changes_the_epoch_and_a_stop_says_zero_processes_and_nothing_else() {
        let proc = tempfile::tempdir().unwrap();
        let (mut buffer, mut out) = (Buffer::new(), Vec::new());
        put(proc.path(), 100, 7);
        put(proc.path(), 130, 9);
        let mut instance = Instance::new(proc.path(), Path::new("/data"));
        let (first, _) =
            instance.sample(Some(&Ok(Some(pid_file(100)))), &[], &mut buffer, &mut out);
        let (second, _) =
            instance.sample(Some(&Ok(Some(pid_file(130)))), &[], &mut buffer, &mut out);
        assert_ne!(first.unwrap().epoch, second.unwrap().epoch);
        out.clear();
        let (none, (state, _)) = instance.sample(Some(&Ok(None)), &[], &mut buffer, &mut out);
        assert!(none.is_none());
        assert_eq!(state, SourceState::Unreachable);
        assert_eq!(names(&out), ["instance.processes"]);
    }

    #[test]
    fn a_directory_that_hangs_does_not_hide_a_known_instance() {
        let proc = tempfile::tempdir().unwrap();
        let (mut buffer, mut out) = (Buffer::new(), Vec::new());
        put(proc.path(), 100, 7);
        let mut instance = Instance::new(proc.path(), Path::new("/data"));
        let (none, (state, _)) = instance.sample(None, &[], &mut buffer, &mut out);
        assert!(none.is_none() && out.is_empty());
        assert_eq!(state, SourceState::Silent);
        instance.sample(Some(&Ok(Some(pid_file(100)))), &[], &mut buffer, &mut out);
        assert!(
            instance
                .sample(None, &[], &mut buffer, &mut out)
                .0
                .is_some()
        );
        let refused = Err("no rights".to_owned());
        let (_, (state, why)) = instance.sample(Some(&refused), &[], &mut buffer, &mut out);
        assert_eq!((state, why.as_str()), (SourceState::Refused, "no rights"));
    }
}
