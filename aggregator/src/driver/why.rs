//! What the driver does for explanations: carries them to the store, learns in a thread beside itself. (steps 7, 12)

use std::sync::Arc;

use hsw_engine::{Explanation, Feedback, IncidentId, Input};
use hsw_explain::{Known, NamedCase};
use tokio::sync::oneshot;

use super::{Event, Loop};
use crate::store::Command;

/// Explanations and causes on their way to the store, and what is to be learned.
#[derive(Default)]
pub(super) struct Why {
    /// Explanations the store has not taken yet, the newest of each incident.
    unsaved: std::collections::BTreeMap<IncidentId, Arc<Explanation>>,
    /// Named cases the store has not taken yet.
    unsaved_causes: Option<Arc<Vec<NamedCase>>>,
    /// Whoever waits until they are kept.
    replies: Vec<oneshot::Sender<()>>,
    /// The newest cases to learn from, while others are being learned.
    to_learn: Option<Arc<Vec<NamedCase>>>,
    is_learning: bool,
}

impl Loop {
    pub(super) fn explained(&mut self, id: IncidentId, why: Arc<Explanation>) {
        self.why.unsaved.insert(id, why);
        self.save_why();
    }

    pub(super) fn causes_changed(&mut self, cases: Arc<Vec<NamedCase>>) {
        self.why.unsaved_causes = Some(cases);
        self.save_why();
    }

    /// An operator's word; he is answered once the store has it.
    pub(super) fn feedback(&mut self, id: IncidentId, word: Feedback, reply: oneshot::Sender<()>) {
        self.change_causes(Input::Feedback { id, word }, reply);
    }

    /// Cases in the place of all that operators named.
    pub(super) fn put_causes(&mut self, cases: Vec<NamedCase>, reply: oneshot::Sender<()>) {
        let is_new = true;
        self.change_causes(Input::Causes { cases, is_new }, reply);
    }

    fn change_causes(&mut self, input: Input, reply: oneshot::Sender<()>) {
        self.why.replies.push(reply);
        self.tell(input);
        if self.why.unsaved_causes.is_none() {
            // Nothing came of it, or the store has it: nobody is left to wait.
            self.why.replies.clear();
        }
        let shards = self.driver.engine.shards();
        self.publish(shards);
    }

    /// Hands explanations and causes to the store as far as it has room.
    pub(super) fn save_why(&mut self) {
        while let Some((id, why)) = self.why.unsaved.pop_first() {
            let command = Command::Explained(id, Arc::clone(&why));
            if self.driver.store.try_send(command).is_err() {
                self.why.unsaved.insert(id, why);
                return;
            }
        }
        let Some(cases) = self.why.unsaved_causes.take() else {
            return;
        };
        let replies = std::mem::take(&mut self.why.replies);
        let refused = self
            .driver
            .store
            .try_send(Command::Causes { cases, replies });
        if let Err(Command::Causes { cases, replies }) = refused {
            self.why.unsaved_causes = Some(cases);
            self.why.replies = replies;
        }
    }

    /// Learns from these beside the loop: it may take a second, and a window waits for nobody.
    pub(super) fn learn(&mut self, cases: Arc<Vec<NamedCase>>) {
        self.why.to_learn = Some(cases);
        self.learn_next();
    }

    pub(super) fn learned(&mut self, known: Box<Known>) {
        self.why.is_learning = false;
        self.tell(Input::Learned(known));
        self.learn_next();
    }

    fn learn_next(&mut self) {
        if self.why.is_learning {
            return;
        }
        let Some(events) = self.driver.events.upgrade() else {
            return;
        };
        let Some(cases) = self.why.to_learn.take() else {
            return;
        };
        let learn = move || {
            let named = cases.iter().map(|case| (case.cause.as_str(), &case.case));
            let known = Known::learn(&named.collect::<Vec<_>>());
            let _the_driver_has_ended = events.blocking_send(Event::Learned(Box::new(known)));
        };
        let started = std::thread::Builder::new()
            .name("learn".to_owned())
            .spawn(learn);
        match started {
            Ok(_) => self.why.is_learning = true,
            Err(error) => tracing::error!(%error, "cannot learn causes: no thread can be started"),
        }
    }
}
