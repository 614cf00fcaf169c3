//! Who is connected, and what each agent last said of itself. (step 6)
//!
//! In: what sessions see. Out: [`AgentView`]s for the snapshot. Invariants: AG-1 of one node the newest connection owns
//! the entry; an older one that ends later changes nothing. Limits: [`AGENTS_MAX`] entries, the longest gone go first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hsw_types::{NodeId, WallTime};

use crate::shared::AgentView;
use hsw_wire::TriggerDown;
use tokio::sync::{mpsc, watch};

/// Entries kept, connected or not; far above the connections admitted by default.
const AGENTS_MAX: usize = 10_000;

/// Agents by node.
#[derive(Debug, Default)]
pub struct Agents {
    entries: Mutex<BTreeMap<NodeId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    view: AgentView,
    connection: quinn::Connection,
    /// Takes messages about triggers, once the agent is welcomed and if it reads them.
    triggers: Option<mpsc::Sender<Vec<TriggerDown>>>,
    /// Takes the node's role, likewise.
    role: Option<watch::Sender<Option<bool>>>,
}

impl Agents {
    /// All agents, in name order.
    #[must_use]
    pub fn views(&self) -> Vec<AgentView> {
        self.lock()
            .values()
            .map(|entry| AgentView {
                rtt_us: micros(entry.connection.rtt()),
                ..entry.view.clone()
            })
            .collect()
    }

    /// A node is welcome on this connection; returns the connection it replaces, to be closed.
    pub(super) fn enter(
        &self,
        node: &NodeId,
        connection: &quinn::Connection,
        version: &str,
        now: WallTime,
    ) -> Option<quinn::Connection> {
        let mut entries = self.lock();
        let before = entries.remove(node);
        if entries.len() >= AGENTS_MAX {
            let longest_gone = entries
                .iter()
                .filter(|(_, entry)| !entry.view.is_connected)
                .min_by_key(|(_, entry)| entry.view.last_heard)
                .map(|(node, _)| node.clone());
            if let Some(node) = longest_gone {
                entries.remove(&node);
            }
        }
        let view = AgentView {
            node: node.clone(),
            is_connected: true,
            is_stopped: false,
            address: connection.remote_address().to_string(),
            version: version.chars().take(64).collect(),
            since: now,
            last_heard: now,
            summaries: before.as_ref().map_or(0, |entry| entry.view.summaries),
            spool_bytes: 0,
            spool_summaries: 0,
            dropped: 0,
            clock_offset_us: None,
            rtt_us: 0,
            is_landmark: None,
        };
        let connection = connection.clone();
        let entry = Entry {
            view,
            connection,
            triggers: None,
            role: None,
        };
        entries.insert(node.clone(), entry);
        before
            .filter(|entry| entry.view.is_connected)
            .map(|entry| entry.connection)
    }

    /// Changes the entry, if this connection owns it.
    pub(super) fn update(
        &self,
        node: &NodeId,
        connection: &quinn::Connection,
        change: impl FnOnce(&mut AgentView),
    ) {
        self.change_own(node, connection, |entry| change(&mut entry.view));
    }

    /// Messages about triggers go here from now on, if this connection owns the entry.
    pub(super) fn takes_triggers(
        &self,
        node: &NodeId,
        connection: &quinn::Connection,
        to: mpsc::Sender<Vec<TriggerDown>>,
    ) {
        self.change_own(node, connection, |entry| entry.triggers = Some(to));
    }

    /// The node's role goes here from now on, if this connection owns the entry.
    pub(super) fn takes_role(
        &self,
        node: &NodeId,
        connection: &quinn::Connection,
        to: watch::Sender<Option<bool>>,
    ) {
        self.change_own(node, connection, |entry| entry.role = Some(to));
    }

    fn change_own(
        &self,
        node: &NodeId,
        connection: &quinn::Connection,
        change: impl FnOnce(&mut Entry),
    ) {
        if let Some(entry) = self.lock().get_mut(node)
            && entry.connection.stable_id() == connection.stable_id()
        {
            change(entry);
        }
    }

    /// These nodes are landmarks, all others are not: tells each connected agent that takes roles, once until it changes.
    pub(crate) fn assign(&self, landmarks: &BTreeSet<NodeId>) {
        for (node, entry) in self.lock().iter_mut() {
            let role = Some(landmarks.contains(node));
            if let Some(to) = &entry.role {
                entry.view.is_landmark = role;
                to.send_if_modified(|told| std::mem::replace(told, role) != role);
            }
        }
    }

    /// Hands a list of messages about triggers to a node's connection; false when it has no room for them. Without a
    /// connection they are let go: a new one tells everything again.
    pub(crate) fn tell(&self, node: &NodeId, list: Vec<TriggerDown>) -> bool {
        let entries = self.lock();
        let to = entries.get(node).and_then(|entry| entry.triggers.as_ref());
        to.is_none_or(|to| !matches!(to.try_send(list), Err(mpsc::error::TrySendError::Full(_))))
    }

    /// Whether this connection still speaks for the node.
    pub(super) fn is_current(&self, node: &NodeId, connection: &quinn::Connection) -> bool {
        self.lock()
            .get(node)
            .is_some_and(|entry| entry.connection.stable_id() == connection.stable_id())
    }

    /// A panic while the lock is held leaves at worst one old entry.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
