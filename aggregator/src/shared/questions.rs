//! Questions that only the engine can answer, and how they are asked. (step 15)
//!
//! In: what web, alerts and command line want to know or change. Out: answers; of changes once they are kept.
//! Invariants: QU-1 whoever asks never waits for room: a full queue is an answer of its own. Does not: touch the engine.

use std::sync::Arc;

use hsw_engine::{Explanation, Feedback, IncidentId, SeriesView, WhyError};
use hsw_explain::NamedCase;
use hsw_hot::{HotList, Span};
use hsw_sketch::HeavyHitters;
use hsw_types::{HotKind, NodeId, SeriesKey, ShardId, WindowIndex};
use tokio::sync::{mpsc, oneshot};

use crate::record::Tapped;
use crate::triggers::{Refusal, Spec};

/// A question for the engine.
#[derive(Debug)]
pub enum Question {
    /// The same series on every node of the shards (all when empty), for charts.
    Series {
        /// Which.
        key: SeriesKey,
        /// Of which shards.
        shards: Vec<ShardId>,
        /// From when.
        from: WindowIndex,
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<SeriesView>>,
    },
    /// The hottest of a shard now, or of all.
    Hot {
        /// Of which shard; of all together when `None`.
        shard: Option<ShardId>,
        /// Of what.
        kind: HotKind,
        /// How many.
        limit: usize,
        /// Where the answer goes.
        reply: oneshot::Sender<HotList>,
    },
    /// The hottest of a span, of what the store knows and what is not stored yet.
    HotSpan {
        /// What the store knows.
        stored: Box<HeavyHitters>,
        /// Whose counts.
        nodes: Vec<NodeId>,
        /// Of what.
        kind: HotKind,
        /// When.
        span: Span,
        /// How many.
        limit: usize,
        /// Where the answer goes.
        reply: oneshot::Sender<HotList>,
    },
    /// A new trigger.
    AddTrigger {
        /// What it asks.
        spec: Box<Spec>,
        /// Answered once it is kept.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Remove a trigger.
    RemoveTrigger {
        /// Which.
        name: String,
        /// Answered once that is kept.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// An operator says that an open incident about edges is no intrusion.
    Accept {
        /// Which.
        id: IncidentId,
        /// Answered once the engine knows.
        reply: oneshot::Sender<()>,
    },
    /// An operator says what an explained incident was.
    Feedback {
        /// Which.
        id: IncidentId,
        /// His word.
        word: Feedback,
        /// Answered once the store has it; dropped where the incident has no explanation.
        reply: oneshot::Sender<()>,
    },
    /// Every known case, and how many of the first were shipped.
    Causes {
        /// Where the answer goes.
        reply: oneshot::Sender<(Arc<Vec<NamedCase>>, usize)>,
    },
    /// Cases in the place of all that operators named.
    PutCauses {
        /// All of them.
        cases: Vec<NamedCase>,
        /// Answered once the store has them.
        reply: oneshot::Sender<()>,
    },
    /// Why a shard was bad at a time.
    Why {
        /// Which.
        shard: ShardId,
        /// First window.
        from: WindowIndex,
        /// Last window.
        to: WindowIndex,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Box<Explanation>, WhyError>>,
    },
    /// About the detectors' weights.
    Weights(super::weights::Question),
    /// Everything the engine is told from now on.
    Record {
        /// Where the answer goes.
        reply: oneshot::Sender<Tapped>,
    },
    /// Names of a node's series, ascending.
    SeriesNames {
        /// The node.
        node: NodeId,
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<SeriesKey>>,
    },
}

/// The aggregator is stopping, or too busy to answer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the aggregator is stopping or busy: ask again")]
pub struct Unanswered;

/// How long the store may take to keep a change.
const CHANGE_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Asks the driver.
#[derive(Debug, Clone)]
pub struct DriverHandle {
    questions: mpsc::Sender<Question>,
}

impl DriverHandle {
    /// Asks through this channel.
    #[must_use]
    pub const fn new(questions: mpsc::Sender<Question>) -> Self {
        Self { questions }
    }

    /// The same series on every node of the given shards (all when empty).
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn series(
        &self,
        key: SeriesKey,
        shards: Vec<ShardId>,
        from: WindowIndex,
    ) -> Result<Vec<SeriesView>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Series {
            key,
            shards,
            from,
            reply,
        })?;
        answer.await.map_err(|_| Unanswered)
    }

    /// Names of a node's series, ascending.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn series_names(&self, node: NodeId) -> Result<Vec<SeriesKey>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::SeriesNames { node, reply })?;
        answer.await.map_err(|_| Unanswered)
    }

    /// What an incident is about is to be expected from now on.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn accept(&self, id: IncidentId) -> Result<(), Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Accept { id, reply })?;
        answer.await.map_err(|_| Unanswered)
    }

    /// An operator's word on an explained incident; kept when this returns.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver or the store does not answer in time; the word may be kept all the same.
    pub async fn feedback(&self, id: IncidentId, word: Feedback) -> Result<(), Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Feedback { id, word, reply })?;
        kept(answer).await
    }

    /// Cases in the place of all that operators named; kept when this returns.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver or the store does not answer in time.
    pub async fn put_causes(&self, cases: Vec<NamedCase>) -> Result<(), Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::PutCauses { cases, reply })?;
        kept(answer).await
    }

    /// Every known case, and how many of the first were shipped.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn causes(&self) -> Result<(Arc<Vec<NamedCase>>, usize), Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Causes { reply })?;
        answer.await.map_err(|_| Unanswered)
    }

    /// Why a shard was bad from one window to another.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full; within, [`WhyError`].
    pub async fn why(
        &self,
        shard: ShardId,
        from: WindowIndex,
        to: WindowIndex,
    ) -> Result<Result<Box<Explanation>, WhyError>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Why {
            shard,
            from,
            to,
            reply,
        })?;
        answer.await.map_err(|_| Unanswered)
    }

    /// The hottest of a shard now, or of all together.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn hot(
        &self,
        shard: Option<ShardId>,
        kind: HotKind,
        limit: usize,
    ) -> Result<HotList, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Hot {
            shard,
            kind,
            limit,
            reply,
        })?;
        answer.await.map_err(|_| Unanswered)
    }

    /// The hottest of a span; `stored` is what the store knows of these nodes.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn hot_span(
        &self,
        stored: HeavyHitters,
        nodes: Vec<NodeId>,
        kind: HotKind,
        span: Span,
        limit: usize,
    ) -> Result<HotList, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::HotSpan {
            stored: Box::new(stored),
            nodes,
            kind,
            span,
            limit,
            reply,
        })?;
        answer.await.map_err(|_| Unanswered)
    }

    /// Adds a trigger, or removes one: `question` holds where the answer goes.
    ///
    /// # Errors
    /// [`Refusal`]; [`Refusal::Busy`] also when nobody answers.
    pub async fn change_trigger(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<(), Refusal>>) -> Question,
    ) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        let busy = |_| Refusal::Busy(Unanswered.to_string());
        self.ask(question(reply)).map_err(busy)?;
        match tokio::time::timeout(CHANGE_MAX, answer).await {
            Ok(Ok(answer)) => answer,
            _ => Err(Refusal::Busy(
                "the store does not answer (disk full or slow), it is not certain that the change is kept: see /readyz".to_owned(),
            )),
        }
    }

    pub(crate) fn ask(&self, question: Question) -> Result<(), Unanswered> {
        self.questions.try_send(question).map_err(|_| Unanswered)
    }
}

async fn kept(answer: oneshot::Receiver<()>) -> Result<(), Unanswered> {
    match tokio::time::timeout(CHANGE_MAX, answer).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Unanswered),
    }
}
