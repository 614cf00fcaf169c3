//! What the driver does for triggers: carries their messages to agents, their changes to the store. (steps 7, 10)

use hsw_wire::{TRIGGERS_MAX, TriggerDown};
use tokio::sync::oneshot;

use super::{Loop, wall_now};
use crate::shared::Counter;
use crate::store::{Command, TriggerChange};
use crate::triggers::{Refusal, Spec};

impl Loop {
    /// Hands what triggers have to say to the agents' connections.
    pub(super) fn tell_agents(&mut self) {
        for (node, messages) in self.driver.triggers.take_messages() {
            for list in messages.chunks(TRIGGERS_MAX) {
                let n = list.len() as u64;
                let list = list.iter().map(TriggerDown::from).collect();
                if !self.driver.agents.tell(&node, list) {
                    let counters = &self.driver.counters;
                    counters.add(Counter::TriggerMessagesDropped, n);
                }
            }
        }
    }

    /// Hands changes of triggers to the store; what finds no room waits.
    pub(super) fn save_triggers(&mut self) {
        let changes = self.driver.triggers.take_changes();
        if changes.is_empty() {
            return;
        }
        let reply = None;
        let refused = self
            .driver
            .store
            .try_send(Command::Triggers { changes, reply });
        if let Err(Command::Triggers { changes, .. }) = refused {
            self.driver.triggers.give_back(changes);
        }
    }

    /// Keeps a new trigger, then counts; the store answers once it is kept.
    pub(super) fn add_trigger(&mut self, spec: Spec, reply: oneshot::Sender<Result<(), Refusal>>) {
        let (now, wall) = (self.now(), wall_now());
        match self.driver.triggers.propose(spec, wall) {
            Ok(proposed) => {
                if self.keep(proposed.change(), reply) {
                    self.driver.triggers.begin(proposed, now, wall);
                    self.tell_agents();
                }
            }
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    pub(super) fn remove_trigger(
        &mut self,
        name: String,
        reply: oneshot::Sender<Result<(), Refusal>>,
    ) {
        if let Err(refusal) = self.driver.triggers.may_remove(&name) {
            drop(reply.send(Err(refusal)));
        } else if self.keep(TriggerChange::Remove { name: name.clone() }, reply) {
            let now = self.now();
            self.driver.triggers.remove(&name, now, wall_now());
            self.tell_agents();
        }
    }

    /// Whether the store has room for the change; if not, whoever asked is told.
    fn keep(&self, change: TriggerChange, reply: oneshot::Sender<Result<(), Refusal>>) -> bool {
        let command = Command::Triggers {
            changes: vec![change],
            reply: Some(reply),
        };
        let refused = self.driver.store.try_send(command);
        if let Err(Command::Triggers {
            reply: Some(reply), ..
        }) = refused
        {
            let busy = "the store is busy: try again, or see /readyz";
            drop(reply.send(Err(Refusal::Busy(busy.to_owned()))));
            return false;
        }
        true
    }
}
