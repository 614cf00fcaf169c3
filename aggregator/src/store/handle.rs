//! Asking the store from async code. (step 7)

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsw_engine::Incident;
use hsw_hot::Span;
use hsw_sketch::HeavyHitters;
use hsw_types::{HotKind, NodeId, WallTime, WindowIndex};
use tokio::sync::{mpsc, oneshot};

use super::{Command, Committed, Received, Resume};
use crate::shared::Silence;

/// How long a question may take before it is given up: a store that cannot write answers nothing.
const ANSWER_S_MAX: Duration = Duration::from_secs(10);

/// Why the store did not do it, one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Asks the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    commands: mpsc::Sender<Command>,
}

impl StoreHandle {
    /// Asks through this queue.
    #[must_use]
    pub const fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Silences that have not expired, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or cannot read.
    pub async fn silences(&self) -> Result<Vec<Silence>, StoreError> {
        let now = wall_now();
        self.ask(|reply| Command::Silences { now, reply }).await?
    }

    /// Summaries received since a moment, as a start tells them.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer, cannot read, or they are too many.
    pub async fn recent(&self, since: WallTime) -> Result<Vec<Committed>, StoreError> {
        self.ask(|reply| Command::Recent { since, reply }).await?
    }

    /// Adds a silence (its `id` is ignored) and returns its id.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or cannot write.
    pub async fn add_silence(&self, silence: Silence) -> Result<i64, StoreError> {
        let silence = Box::new(silence);
        self.ask(|reply| Command::AddSilence { silence, reply })
            .await?
    }

    /// Removes a silence; false when there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or cannot write.
    pub async fn remove_silence(&self, id: i64) -> Result<bool, StoreError> {
        self.ask(|reply| Command::RemoveSilence { id, reply })
            .await?
    }

    /// Incidents, newest first, at most `limit`, started before window `before` (all when `None`).
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or cannot read.
    pub async fn incidents(
        &self,
        limit: usize,
        before: Option<WindowIndex>,
    ) -> Result<Vec<Arc<Incident>>, StoreError> {
        self.ask(|reply| Command::Incidents {
            limit,
            before,
            reply,
        })
        .await?
    }

    /// What these nodes counted of a kind in a span of minutes.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer, cannot read, or the span is too long.
    pub async fn hot(
        &self,
        nodes: Vec<NodeId>,
        kind: HotKind,
        span: Span,
    ) -> Result<HeavyHitters, StoreError> {
        self.ask(|reply| Command::HotSpan {
            nodes,
            kind,
            span,
            reply,
        })
        .await?
    }

    /// Where a connecting agent goes on; waits as long as it takes, because earlier data is committed first.
    pub(crate) async fn hello(&self, node: NodeId, incarnation: u64) -> Result<Resume, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Hello {
            node,
            incarnation,
            reply,
        })
        .await?;
        answer.await.map_err(|_| stopping())
    }

    /// Hands a summary over; waits while the queue is full, which slows the connection down.
    pub(crate) async fn summary(&self, received: Received) -> Result<(), StoreError> {
        self.send(Command::Summary(Box::new(received))).await
    }

    /// An agent said goodbye.
    pub(crate) async fn stopped(&self, node: NodeId) -> Result<(), StoreError> {
        self.send(Command::Stopped { node }).await
    }

    /// Hands a command over if there is room; gives it back if not.
    pub(crate) fn try_send(&self, command: Command) -> Result<(), Command> {
        self.commands
            .try_send(command)
            .map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Commits what waits and closes the file.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Command::Close { reply }).await.is_ok() {
            let _ended_either_way = answer.await;
        }
    }

    async fn send(&self, command: Command) -> Result<(), StoreError> {
        self.commands.send(command).await.map_err(|_| stopping())
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.send(command(reply)).await?;
            answer.await.map_err(|_| stopping())
        };
        tokio::time::timeout(ANSWER_S_MAX, asked)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError(
                    "the store does not answer (disk full or slow): see /readyz".to_owned(),
                ))
            })
    }
}

fn stopping() -> StoreError {
    StoreError("the store has stopped: the aggregator is shutting down".to_owned())
}

/// The aggregator's clock.
pub(crate) fn wall_now() -> WallTime {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
