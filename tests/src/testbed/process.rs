//! Starting a process so that it can always be ended: in the right group, as the right user, and in the ledger.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::bed::Bed;
use super::cgroup::Group;
use super::ledger::ProcId;

/// A process to be started.
#[derive(Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(String, String)>,
    group: Option<Group>,
    as_service: bool,
}

/// Joins the groups whose doors come first, then becomes the command; the shell is gone by then.
const JOIN: &str = r#"n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ >"$1" || exit 97; shift; n=$((n-1)); done; exec "$@""#;

impl Launch {
    /// A process with this name (for logs and errors) and program, run as the service user.
    #[must_use]
    pub fn new(name: &str, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            group: None,
            as_service: true,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds a variable; the environment is otherwise empty but for the path and the locale.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    /// Makes it a member of a control group.
    #[must_use]
    pub fn group(mut self, group: Option<&Group>) -> Self {
        self.group = group.cloned();
        self
    }

    /// Keeps our own user.
    #[must_use]
    pub fn as_ourselves(mut self) -> Self {
        self.as_service = false;
        self
    }

    fn command(&self, bed: &Bed) -> Command {
        let mut line: Vec<OsString> = Vec::new();
        if let Some(group) = &self.group {
            let doors = group.doors();
            line.extend(["/bin/sh", "-c", JOIN, "sh"].map(OsString::from));
            line.push(doors.len().to_string().into());
            line.extend(doors.into_iter().map(PathBuf::into_os_string));
        }
        if self.as_service && bed.host.root {
            let user = &bed.host.user;
            line.push("setpriv".into());
            line.push(format!("--reuid={}", user.uid).into());
            line.push(format!("--regid={}", user.gid).into());
            line.extend(["--clear-groups", "--"].map(OsString::from));
        }
        line.push(self.program.clone().into_os_string());
        line.extend(self.args.iter().cloned());
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", &bed.dir)
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .current_dir(&bed.dir)
            // Its own process group: Ctrl-C at the terminal must reach us alone, so that the order of stopping is ours.
            .process_group(0)
            .stdin(Stdio::null());
        command
    }

    /// Starts it with its output appended to `DIR/logs/NAME.log`.
    ///
    /// # Errors
    /// When it cannot be started or recorded.
    pub fn spawn(self, bed: &Arc<Bed>) -> Result<Managed> {
        let path = bed.dir.join("logs").join(format!("{}.log", self.name));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        let errors = log.try_clone().context("share the log file")?;
        let child = self
            .command(bed)
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        let id = ProcId::of(child.id()).with_context(|| format!("{} ended at once", self.name))?;
        bed.ledger.process(id, &self.name)?;
        Ok(Managed {
            child,
            id,
            name: self.name,
            log: path,
        })
    }

    /// Runs it to its end, giving it text to read, and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be run or fails; the error holds its last line.
    pub fn output(self, bed: &Bed, input: &str) -> Result<String> {
        use std::io::Write;
        let mut child = self
            .command(bed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends early closes the pipe; its own message says more than ours would.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child
            .wait_with_output()
            .with_context(|| format!("wait for {}", self.name))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("no message");
            bail!("{} failed ({}): {}", self.name, output.status, line.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A running process that we own; dropping it ends it.
#[derive(Debug)]
pub struct Managed {
    child: Child,
    id: ProcId,
    name: String,
    log: PathBuf,
}

impl Managed {
    /// Which process it is.
    #[must_use]
    pub fn id(&self) -> ProcId {
        self.id
    }

    /// Its name in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says, as it says it.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// An error that says how it ended, with the last line it wrote.
    #[must_use]
    pub fn obituary(&mut self) -> anyhow::Error {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let line = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no output");
        let status = self
            .child
            .try_wait()
            .ok()
            .flatten()
            .map_or_else(String::new, |s| s.to_string());
        anyhow::anyhow!(
            "{} ended ({status}): {line} [{}]",
            self.name,
            self.log.display()
        )
    }

    /// Asks it to end by this signal, and kills it when the grace is over.
    pub fn end(&mut self, signal: Signal, grace: Duration) {
        if !self.running() {
            return;
        }
        self.id.signal(signal);
        let until = Instant::now() + grace;
        while self.running() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        if self.running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.end(Signal::TERM, Duration::from_secs(3));
    }
}
