//! The journal's source: against the real `journalctl` where this host has it, and a script in its place.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio as Pipes};

use hsw_types::{SourceState, Value};
use tokio::sync::watch;

use super::*;
use crate::sources::{SourceEvent, log};

const PATIENCE: Duration = Duration::from_secs(30);

/// A script that stands in for `journalctl`; it notes its arguments.
fn fake_journalctl(directory: &Path, follow: &str) -> String {
    let path = directory.join("fake-journalctl");
    let noted = directory.join("arguments");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--field=*) echo known.service; exit 0;; esac\necho \"$@\" >> {}\n{follow}\n",
        noted.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn config(program: &str, unit: &str) -> Config {
    Config {
        journald_units: vec![unit.to_owned()],
        journald_program: program.to_owned(),
        start: Start::Beginning,
        ..Config::default()
    }
}

async fn entries(follower: &mut Follower, n: usize) -> Vec<String> {
    let mut cursors = Vec::new();
    timeout(PATIENCE, async {
        while cursors.len() < n {
            cursors.extend(follower.take().into_iter().map(|entry| entry.cursor));
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("entries in time");
    cursors
}

async fn state(follower: &Follower, is_it: impl Fn(&State) -> bool) -> State {
    let waited = timeout(PATIENCE, async {
        loop {
            let state = follower.state();
            if is_it(&state) {
                return state;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("state in time")
}

#[tokio::test]
async fn a_child_that_ends_is_started_again_behind_its_last_entry() {
    let directory = tempfile::tempdir().unwrap();
    let follow = r#"case "$*" in
*after-cursor=c2*) echo '{"__CURSOR":"c3","MESSAGE":"third"}'; exec sleep 60;;
esac
echo '{"__CURSOR":"c1","MESSAGE":"first"}'
echo 'no entry'
printf '{"__CURSOR":"x","MESSAGE":"%0400000d"}\n' 1
echo '{"__CURSOR":"c2","MESSAGE":[255,104,105]}'
echo 'it broke' >&2
exit 3"#;
    let program = fake_journalctl(directory.path(), follow);
    let config = Config {
        line_bytes_max: 1024,
        ..config(&program, "other")
    };
    let mut follower = Follower::start(&config, None);
    let ended = state(&follower, |state| state.restarts == 1).await;
    let problem = ended.problem.unwrap();
    assert!(problem.contains("exit status: 3) it broke"), "{problem}");
    assert_eq!(entries(&mut follower, 3).await, ["c1", "c2", "c3"]);
    let again = state(&follower, |state| state.is_running).await;
    assert_eq!(again.dropped, 2, "no entry, and one too long");
    let unknown = again.problem.unwrap();
    assert!(
        unknown.contains("other: no entry of such a unit"),
        "{unknown}"
    );
    let noted = fs::read_to_string(directory.path().join("arguments")).unwrap();
    let starts: Vec<&str> = noted.lines().collect();
    assert!(starts[0].ends_with("--unit=other --no-tail"), "{starts:?}");
    assert!(starts[1].contains("--after-cursor=c2"), "{starts:?}");
}

#[tokio::test]
async fn an_absent_program_and_a_refused_cursor_are_named() {
    let absent = Follower::start(&config("/no/such/journalctl", "x"), None);
    let told = state(&absent, |state| state.problem.is_some()).await;
    let problem = told.problem.unwrap();
    assert!(
        problem.contains("/no/such/journalctl") && problem.contains("[log]"),
        "{problem}"
    );
    let directory = tempfile::tempdir().unwrap();
    let follow = r#"case "$*" in
*after-cursor*) echo 'Failed to seek to cursor' >&2; exit 1;;
esac
echo '{"__CURSOR":"new","MESSAGE":"x"}'; exec sleep 60"#;
    let program = fake_journalctl(directory.path(), follow);
    let mut refused = Follower::start(&config(&program, "known"), Some("old".to_owned()));
    assert_eq!(entries(&mut refused, 1).await, ["new"]);
    let state = refused.state();
    assert_eq!((state.dropped, state.problem), (1, None));
}

/// A journal file made of text in the export format; false where this host has no `systemd-journal-remote`.
fn write_journal(file: &Path, from: usize, to: usize) -> bool {
    let program = PathBuf::from("/lib/systemd/systemd-journal-remote");
    if !program.exists()
        || Process::new("journalctl")
            .arg("--version")
            .output()
            .is_err()
    {
        return false;
    }
    let mut text = Vec::new();
    for n in from..to {
        let at = 1_795_197_048_000_000_u64 + n as u64 * 1_000;
        let monotonic = 1_000_000 + n as u64 * 1_000;
        write!(
            text,
            "__CURSOR=s=0639b8dd0f25407c9ea2a0f4a1a3a6a5;i={n:x};b=4cd9f3e8a6f94a0e8c7f2d1f5b6a7c8d;m={monotonic:x};t={at:x};x={n:x}\n__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={monotonic}\n_BOOT_ID=4cd9f3e8a6f94a0e8c7f2d1f5b6a7c8d\n_SYSTEMD_UNIT=db.service\nPRIORITY={}\n",
            if n % 2 == 0 { 3 } else { 6 }
        )
        .unwrap();
        // Bytes that are not text are written with their length.
        let message = [format!("message {n} ").as_bytes(), b"\xff"].concat();
        text.extend_from_slice(b"MESSAGE\n");
        text.extend_from_slice(&(message.len() as u64).to_le_bytes());
        text.extend_from_slice(&message);
        text.extend_from_slice(b"\n\n");
    }
    let mut child = Process::new(program)
        .arg(format!("--output={}", file.display()))
        .arg("-")
        .stdin(Pipes::piped())
        .stdout(Pipes::null())
        .stderr(Pipes::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    child.wait().unwrap().success()
}

/// Runs the source until it has told `n` errors and the checkpoint behind them.
async fn errors(config: &Config, position: &log::Position, n: f64) -> f64 {
    let (sink, mut events) = mpsc::channel(64);
    let (stop, stopped) = watch::channel(false);
    let (_settings, none) = watch::channel(None);
    let run = log::run(config.clone(), none, position.clone(), sink, stopped);
    let running = tokio::spawn(run);
    let mut told = 0.0;
    let counted = timeout(PATIENCE, async {
        loop {
            match events.recv().await.unwrap() {
                SourceEvent::Readings { readings, .. } => {
                    for reading in readings.iter().filter(|r| r.key.metric == "log.errors") {
                        if let Value::Events(n) = reading.value {
                            told += n;
                        }
                    }
                }
                SourceEvent::LogCheckpoint(_) if told >= n => return,
                SourceEvent::Status(status) if status.state != SourceState::Ok => {
                    assert!(told == 0.0, "{status:?}");
                }
                _ => {}
            }
        }
    });
    counted.await.expect("errors in time");
    stop.send(true).unwrap();
    running.await.unwrap();
    told
}

#[tokio::test]
async fn the_real_journal_is_read_once_across_a_restart_beside_files() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    fs::create_dir(&journal).unwrap();
    if !write_journal(&journal.join("a.journal"), 0, 1_000) {
        let mut out = std::io::stderr();
        writeln!(out, "skipped: no journalctl with systemd-journal-remote").unwrap();
        return;
    }
    let file = directory.path().join("x.log");
    fs::write(&file, "ERROR: of the file\n").unwrap();
    let config = Config {
        paths: vec![file.display().to_string()],
        journald_directory: Some(journal.clone()),
        ..config("journalctl", "db")
    };
    let position = log::Position::default();
    assert_eq!(errors(&config, &position, 501.0).await, 501.0);
    let bytes = position.lock().unwrap().clone().unwrap();
    assert!(bytes.starts_with(b"journald s="));
    // While nobody listens the journal and the file grow.
    assert!(write_journal(&journal.join("b.journal"), 1_000, 1_100));
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap()
        .write_all(b"ERROR: once more\n")
        .unwrap();
    assert_eq!(errors(&config, &position, 51.0).await, 51.0);
}
