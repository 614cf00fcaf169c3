//! Which sources run, and with what. (step 1)
//!
//! In: the sources' sections of the configuration. Out: one supervised task for each.
//! Invariants: WR-1 (AG-1) a source that panics or fails is started again, says so, and stops nobody else. WR-2 a task
//! lets go of the sink when it stops, so that the driver knows when the last one has.
//! Does not: know what a source does.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hsw_shell::{Restarts, Shutdown, supervise};
use hsw_types::{SourceState, SourceStatus};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::pace::Pace;
use crate::sources::postgres::DatabaseSettings;
use crate::sources::{Sink, SourceEvent, log, os, postgres};

/// The sections of the sources.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The database.
    pub postgres: postgres::Config,
    /// Its processes and the host.
    pub instance: Instance,
    /// Its logs.
    pub log: log::Config,
}

/// Where the database's processes are found. Changed by the operator of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instance {
    /// The database's data directory; unset (default): as the database itself says, where it is on this host.
    pub data_dir: Option<PathBuf>,
    /// Mount point of procfs. Default `/proc`; a container that watches its host sets the host's.
    pub proc: PathBuf,
    /// Mount point of sysfs. Default `/sys`.
    pub sys: PathBuf,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            data_dir: None,
            proc: PathBuf::from("/proc"),
            sys: PathBuf::from("/sys"),
        }
    }
}

/// What every source is given.
#[derive(Debug, Clone)]
pub struct Wires {
    /// Where events go.
    pub sink: Sink,
    /// When to stop.
    pub shutdown: Shutdown,
    /// The log position from which to go on.
    pub checkpoint: Option<Vec<u8>>,
    /// How often connections are looked at.
    pub pace: watch::Receiver<Pace>,
}

/// Starts every source; their handles end when they have stopped.
#[must_use]
pub fn spawn(config: Config, wires: &Wires) -> Vec<JoinHandle<()>> {
    let (settings, told) = watch::channel(None);
    let Config {
        postgres,
        instance,
        log,
    } = config;
    let is_local = postgres.is_local();
    let for_os = told.clone();
    // Outlives each start of the source.
    let position = log::Position::new(Mutex::new(wires.checkpoint.clone()));
    vec![
        source("postgres", wires, move |w| {
            let run = postgres::run(
                postgres.clone(),
                w.sink,
                settings.clone(),
                w.pace,
                w.shutdown.flag(),
            );
            async move {
                run.await;
                Ok(())
            }
        }),
        source("os", wires, move |w| {
            let (instance, told) = (instance.clone(), for_os.clone());
            async move { os(instance, told, is_local, w).await }
        }),
        source("log", wires, move |w| {
            let run = log::run(
                log.clone(),
                told.clone(),
                Arc::clone(&position),
                w.sink,
                w.shutdown.flag(),
            );
            async move {
                run.await;
                Ok(())
            }
        }),
    ]
}

/// Operating-system sampling; where the config names no data directory it waits a little for the database to say it,
/// and samples the host alone until a later start of the source when it does not.
async fn os(
    instance: Instance,
    mut told: watch::Receiver<Option<DatabaseSettings>>,
    is_local: bool,
    wires: Wires,
) -> anyhow::Result<()> {
    let mut data_dir = instance.data_dir;
    if data_dir.is_none() && is_local {
        let known = told.wait_for(|settings| {
            settings
                .as_ref()
                .is_some_and(|settings| !settings.data_directory.is_empty())
        });
        if let Ok(Ok(settings)) = timeout(DATA_DIR_PATIENCE, known).await {
            data_dir = settings
                .as_ref()
                .map(|settings| PathBuf::from(&settings.data_directory));
        }
    }
    let (own, own_sessions) = watch::channel(Vec::new());
    let config = os::Config {
        data_dir,
        proc: instance.proc,
        sys: instance.sys,
        own_sessions: Some(own_sessions),
        pace: Some(wires.pace),
        ..os::Config::default()
    };
    let follow = async move {
        while told.changed().await.is_ok() {
            let pid = told
                .borrow_and_update()
                .as_ref()
                .map(|settings| settings.own_pid);
            own.send_replace(pid.into_iter().collect());
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        done = os::run(config, wires.sink, wires.shutdown.flag()) => done,
        () = follow => Ok(()),
    }
}

/// How long to wait for the database to name its data directory.
const DATA_DIR_PATIENCE: Duration = Duration::from_secs(10);

/// One supervised source; from its second start on it first says that it was restarted.
pub fn source<F, Fut>(name: &'static str, wires: &Wires, mut start: F) -> JoinHandle<()>
where
    F: FnMut(Wires) -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let restarts = Restarts::default();
    let counted = restarts.clone();
    let wires = wires.clone();
    let mut stop = wires.shutdown.clone();
    let supervisor = supervise(name, restarts, move || {
        let n = counted.count();
        let sink = wires.sink.clone();
        let work = start(wires.clone());
        async move {
            if n > 0 {
                let status = SourceStatus {
                    source: name.to_owned(),
                    state: SourceState::Restarted,
                    dropped: 0,
                    message: format!("started again for the {n}. time; the agent's log says why"),
                };
                let _ = sink.send(SourceEvent::Status(status)).await;
            }
            drop(sink);
            work.await
        }
    });
    // A source that waits for its next start when the agent stops must not keep the sink.
    tokio::spawn(async move {
        let abort = supervisor.abort_handle();
        tokio::pin!(supervisor);
        tokio::select! {
            _ = &mut supervisor => return,
            () = stop.requested() => {}
        }
        if timeout(SOURCE_PATIENCE, supervisor).await.is_err() {
            abort.abort();
            tracing::warn!(source = name, "source did not stop in time and was ended");
        }
    })
}

/// How long a source may take to stop.
const SOURCE_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_comes_back_says_so_and_lets_go_when_stopped() {
        let (sink, mut events) = mpsc::channel(8);
        let (stop, shutdown) = Shutdown::manual();
        let wires = Wires {
            sink,
            shutdown,
            checkpoint: None,
            pace: watch::channel(Pace::default()).1,
        };
        let mut n = 0;
        let handle = source("flaky", &wires, move |w| {
            n += 1;
            let fails = n == 1;
            async move {
                assert!(!fails, "first run");
                let _held = w.sink;
                std::future::pending::<anyhow::Result<()>>().await
            }
        });
        drop(wires);
        let Some(SourceEvent::Status(status)) = events.recv().await else {
            panic!("no status");
        };
        assert_eq!(status.state, SourceState::Restarted);
        stop.send_replace(true);
        assert!(events.recv().await.is_none(), "the sink is free");
        handle.await.unwrap();
    }
}
