//! Questions about the detectors' weights. (step 15)

use hsw_engine::{IncidentId, WeightsView};
use hsw_fusion::Refusal;
use tokio::sync::oneshot;

use super::{DriverHandle, Unanswered};

/// What is asked.
#[derive(Debug)]
pub enum Question {
    /// Versions, and how good they are.
    Show {
        /// Where the answer goes.
        reply: oneshot::Sender<WeightsView>,
    },
    /// A version of the labels so far.
    Propose {
        /// Its number, or what is missing.
        reply: oneshot::Sender<Result<u32, Refusal>>,
    },
    /// An operator says whether something was wrong with the root of an incident.
    Label {
        /// Which.
        id: IncidentId,
        /// There was.
        is_sick: bool,
        /// Answered once the engine knows.
        reply: oneshot::Sender<()>,
    },
}

impl DriverHandle {
    /// Versions of the detectors' weights, and how good they are.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn weights(&self) -> Result<WeightsView, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(super::Question::Weights(Question::Show { reply }))?;
        answer.await.map_err(|_| Unanswered)
    }

    /// A version of the labels so far; its number, or what is missing.
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn propose_weights(&self) -> Result<Result<u32, Refusal>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(super::Question::Weights(Question::Propose { reply }))?;
        answer.await.map_err(|_| Unanswered)
    }

    /// An operator's word: was something wrong with the root of this incident?
    ///
    /// # Errors
    /// [`Unanswered`] when the driver is gone or its queue is full.
    pub async fn label(&self, id: IncidentId, is_sick: bool) -> Result<(), Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.ask(super::Question::Weights(Question::Label {
            id,
            is_sick,
            reply,
        }))?;
        answer.await.map_err(|_| Unanswered)
    }
}
