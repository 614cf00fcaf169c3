//! Tasks that are started again when they panic or fail. (steps 1, 5)
//!
//! In: a name and a way to start the task. Out: nothing but what the task does; restarts are counted.
//! Invariants: SU-1 a panic ends one task and no other. SU-2 restarts back off from 1 s to 60 s and begin anew after a
//! minute of good work. SU-3 a task that returns `Ok` has finished and is not started again.
//! Does not: stop tasks; they hold a shutdown token themselves.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Counts the restarts of one task; shared with whoever reports them.
#[derive(Debug, Clone, Default)]
pub struct Restarts(Arc<AtomicU64>);

impl Restarts {
    /// Restarts so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `start()` in a task of its own, again and again until it returns `Ok`. Dropping the handle lets it go on;
/// aborting the handle ends the task too.
pub fn supervise<F, Fut>(name: &'static str, restarts: Restarts, mut start: F) -> JoinHandle<()>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    tokio::spawn(async move {
        let mut backoff = BACKOFF_MIN;
        loop {
            let began = Instant::now();
            let mut task = AbortOnDrop(tokio::spawn(start()));
            let why = match (&mut task.0).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{error:#}"),
                Err(join) if join.is_cancelled() => return,
                Err(join) => format!("panicked: {}", panic_text(join)),
            };
            restarts.0.fetch_add(1, Ordering::Relaxed);
            if began.elapsed() > BACKOFF_MAX {
                backoff = BACKOFF_MIN;
            }
            tracing::error!(
                task = name,
                error = why,
                retry_s = backoff.as_secs(),
                restarts = restarts.count(),
                "task failed and is started again"
            );
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    })
}

struct AbortOnDrop(JoinHandle<anyhow::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(join: tokio::task::JoinError) -> String {
    match join.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".to_owned()),
        Err(join) => join.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_and_fails_is_started_again_until_it_finishes() {
        let restarts = Restarts::default();
        let runs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&runs);
        supervise("flaky", restarts.clone(), move || {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match run {
                    0 => panic!("first"),
                    1 => anyhow::bail!("second"),
                    _ => Ok(()),
                }
            }
        })
        .await
        .unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        assert_eq!(restarts.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn aborting_the_supervisor_ends_the_task() {
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let mut alive = Some(alive);
        let handle = supervise("endless", Restarts::default(), move || {
            let held = alive.take();
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            }
        });
        sleep(Duration::from_millis(10)).await;
        handle.abort();
        assert!(gone.await.is_err(), "the task's sender must be dropped");
    }
}
