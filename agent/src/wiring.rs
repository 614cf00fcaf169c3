//! Which sources run, and with what. (step 1)
//!
//! In: the sources' sections of the configuration. Out: one supervised task for each.
//! Invariants: WR-1 (AG-1) a source that panics or fails is started again, says so, and stops nobody else. WR-2 a task
//! lets go of the sink when it stops, so that the driver knows when the last one has.
//! Does not: know what a source does.

use std::future::Future;

use hsw_shell::{Restarts, Shutdown, supervise};
use hsw_types::{SourceState, SourceStatus};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::sources::{Sink, SourceEvent};

/// The sections of the sources.
// MERGE: one field for each source, `#[serde(default)]`: postgres, instance, log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Config {}

/// What every source is given.
#[derive(Debug, Clone)]
pub struct Wires {
    /// Where events go.
    pub sink: Sink,
    /// When to stop.
    pub shutdown: Shutdown,
    /// The log position from which to go on.
    pub checkpoint: Option<Vec<u8>>,
}

/// Starts every source; their handles end when they have stopped.
// MERGE: one `source(..)` for each, e.g.
//   let (settings, told) = watch::channel(None);
//   source("postgres", &wires, move |w| sources::postgres::run(config.postgres.clone(), w.sink, settings.clone(), w.shutdown.flag()))
#[must_use]
pub fn spawn(config: &Config, wires: Wires) -> Vec<JoinHandle<()>> {
    let _ = (config, wires);
    Vec::new()
}

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
        if tokio::time::timeout(SOURCE_PATIENCE, supervisor)
            .await
            .is_err()
        {
            abort.abort();
            tracing::warn!(source = name, "source did not stop in time and was ended");
        }
    })
}

/// How long a source may take to stop.
const SOURCE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

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
