//! The detectors' weights: questions answered, changes kept. (steps 11, 15)

use hsw_engine::Input;

use super::Loop;
use crate::shared::weights::Question;
use crate::store::{Command, StoredWeights};

impl Loop {
    /// Hands weights and labels to the store where they have changed; what finds no room waits.
    pub(super) fn save_weights(&mut self) {
        if let Some((versions, labels)) = self.driver.engine.poll_weights() {
            self.unsaved_weights = Some(Box::new(StoredWeights { versions, labels }));
        }
        let Some(kept) = self.unsaved_weights.take() else {
            return;
        };
        let refused = self.driver.store.try_send(Command::Weights(kept));
        if let Err(Command::Weights(kept)) = refused {
            self.unsaved_weights = Some(kept);
        }
    }

    pub(super) fn answer_about_weights(&mut self, question: Question) {
        match question {
            Question::Show { reply } => {
                let _nobody_waits = reply.send(self.driver.engine.weights());
            }
            Question::Propose { reply } => {
                let _nobody_waits = reply.send(self.driver.engine.propose_weights());
            }
            Question::Label { id, is_sick, reply } => {
                self.tell(Input::Labelled { id, is_sick });
                let _nobody_waits = reply.send(());
            }
        }
        self.save_weights();
    }
}
