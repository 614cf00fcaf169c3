//! Triggers: standing questions "tell me when so much has hit this", beside the engine. (steps 10, 14)
//!
//! In: [`Spec`]s of configuration and operators, what agents counted, the shard map. Out: messages to agents, rows for the
//! store, [`TriggerView`]s. Invariants: TR-2 nobody is heard before what is stored has been read: an agent that reports a
//! trigger unknown here forgets it. TR-3 a number is used once: it begins with the store's life. TR-4 what is stored
//! trails what is known by a second, and is never ahead of it.
//! Limits: [`Config::max`] triggers, two million nodes over all of them. Does not: count (`hsw_trigger::Coordinator`
//! does), send, or tell people (see `alerts`).

mod restore;
mod spec;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use hsw_engine::ShardView;
use hsw_trigger::{Coordinator, Down, Known, Output, ParticipantId, Patience, QueryId, Up};
use hsw_types::{Monotonic, NodeId, ShardId, WallTime};
use serde::{Deserialize, Serialize};

use crate::store::{StoredTrigger, TriggerChange};
pub use spec::{Checked, Severity, Spec, grouped};
pub use view::{TriggerState, TriggerView};

/// Nodes over all triggers: each costs memory for what is known of it.
const MEMBERS_MAX: usize = 2_000_000;

/// Limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Triggers at a time; more are refused. 10,000 by default, as many as an agent counts for.
    pub max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max: 10_000 }
    }
}

/// Why a trigger is not taken or not removed; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Words that cannot be.
    #[error("{0}")]
    Bad(String),
    /// The name is in use, or the configuration's.
    #[error("{0}")]
    Taken(String),
    /// There is none of this name.
    #[error("no trigger is called `{0}`: see `hsw trigger list`")]
    Unknown(String),
    /// Too many, or not now.
    #[error("{0}")]
    Busy(String),
}

/// What the store keeps of a trigger beside its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    spec: Spec,
    from_config: bool,
}

#[derive(Debug)]
struct Row {
    id: QueryId,
    body: Body,
    checked: Checked,
    created: WallTime,
    fired: Option<(WallTime, u64)>,
}

impl Row {
    /// Whether the coordinator counts for it.
    const fn waits(&self) -> bool {
        self.fired.is_none() || self.body.spec.again
    }

    fn concerns(&self, place: &Place) -> bool {
        let shards = &self.checked.shards;
        if shards.is_empty() {
            !place.is_router
        } else {
            shards.contains(&place.shard)
        }
    }
}

/// Where a node belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    shard: ShardId,
    is_router: bool,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages heard of agents.
    pub ups: u64,
    /// Messages for agents.
    pub downs: u64,
    /// Triggers fired.
    pub fired: u64,
    /// Triggers refused.
    pub refused: u64,
}

/// See the module's header.
#[derive(Debug)]
pub struct Triggers {
    config: Config,
    from_config: Vec<Spec>,
    life: u32,
    n_ids: u32,
    is_ready: bool,
    coordinator: Coordinator,
    rows: BTreeMap<String, Row>,
    by_id: BTreeMap<QueryId, String>,
    ids: BTreeMap<NodeId, ParticipantId>,
    nodes: Vec<NodeId>,
    map: BTreeMap<NodeId, Place>,
    out: Vec<Output>,
    /// Names whose row the store does not have as it is.
    unsaved: BTreeSet<String>,
    totals: Totals,
}

impl Triggers {
    /// None yet, with what a checked configuration asks for; `life` is the store's.
    #[must_use]
    pub fn new(config: &crate::config::Config, life: u32) -> Self {
        Self {
            config: config.triggers.clone(),
            from_config: config.trigger.clone(),
            life,
            n_ids: 0,
            is_ready: false,
            coordinator: Coordinator::new(life, Patience::default()),
            rows: BTreeMap::new(),
            by_id: BTreeMap::new(),
            ids: BTreeMap::new(),
            nodes: Vec::new(),
            map: BTreeMap::new(),
            out: Vec::new(),
            unsaved: BTreeSet::new(),
            totals: Totals::default(),
        }
    }

    /// Checks a new trigger and makes room for it: what the store is to keep before [`Self::begin`].
    ///
    /// # Errors
    /// [`Refusal`]; it is counted.
    pub fn propose(&mut self, spec: Spec, wall: WallTime) -> Result<Proposed, Refusal> {
        self.room_for(&spec)
            .and_then(|()| self.row(spec, false, wall))
            .map(Proposed)
            .inspect_err(|_| self.totals.refused += 1)
    }

    fn room_for(&self, spec: &Spec) -> Result<(), Refusal> {
        if !self.is_ready {
            let why = "what is stored is still being read: try again in a moment";
            return Err(Refusal::Busy(why.to_owned()));
        }
        if self.rows.contains_key(&spec.name) {
            return Err(Refusal::Taken(format!(
                "a trigger called `{}` exists: remove it first, or choose another name",
                spec.name
            )));
        }
        let n = self.rows.len();
        if n >= self.config.max || (n + 1).saturating_mul(self.map.len()) > MEMBERS_MAX {
            return Err(Refusal::Busy(format!(
                "there are {n} triggers over {} nodes, the limit: remove some (triggers.max in the configuration)",
                self.map.len()
            )));
        }
        Ok(())
    }

    fn row(&mut self, spec: Spec, from_config: bool, created: WallTime) -> Result<Row, Refusal> {
        let checked = spec.check().map_err(Refusal::Bad)?;
        Ok(Row {
            id: self.next_id(),
            body: Body { spec, from_config },
            checked,
            created,
            fired: None,
        })
    }

    /// Counts from now on.
    pub fn begin(&mut self, proposed: Proposed, now: Monotonic, wall: WallTime) {
        let name = proposed.0.body.spec.name.clone();
        self.insert(proposed.0, &BTreeMap::new(), now);
        // The store has it already.
        self.unsaved.remove(&name);
        self.carry_on(now, wall);
    }

    /// Whether an operator may remove a trigger.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn may_remove(&self, name: &str) -> Result<(), Refusal> {
        match self.rows.get(name) {
            None => Err(Refusal::Unknown(name.to_owned())),
            Some(row) if row.body.from_config => Err(Refusal::Taken(format!(
                "`{name}` stands in the aggregator's configuration: take its [[trigger]] out there"
            ))),
            Some(_) => Ok(()),
        }
    }

    /// Ends a trigger.
    pub fn remove(&mut self, name: &str, now: Monotonic, wall: WallTime) {
        self.drop_row(name);
        self.unsaved.remove(name);
        self.carry_on(now, wall);
    }

    /// What an agent says.
    pub fn hear(&mut self, node: &NodeId, messages: Vec<Up>, now: Monotonic, wall: WallTime) {
        self.totals.ups += messages.len() as u64;
        if !self.is_ready {
            // It greets again.
            return;
        }
        let from = self.participant(node);
        for message in messages {
            self.coordinator.hear(from, message, now, &mut self.out);
        }
        self.carry_on(now, wall);
    }

    /// Lets a second pass, with the shard map as it is now.
    pub fn tick(&mut self, shards: &[ShardView], now: Monotonic, wall: WallTime) {
        if !self.is_ready {
            return;
        }
        self.follow_map(shards, now);
        self.coordinator.tick(now, &mut self.out);
        self.carry_on(now, wall);
    }

    /// Members of triggers follow the map; O(triggers) per node that has moved. A node that the map does not know (yet)
    /// stays where it was.
    fn follow_map(&mut self, shards: &[ShardView], now: Monotonic) {
        let mut moved = Vec::new();
        for shard in shards {
            for node in &shard.nodes {
                let place = Place {
                    shard: shard.shard.clone(),
                    is_router: shard.is_router,
                };
                if self.map.get(&node.node) != Some(&place) {
                    moved.push((node.node.clone(), place));
                }
            }
        }
        for (node, place) in moved {
            let id = self.participant(&node);
            for row in self.rows.values().filter(|row| row.waits()) {
                if row.concerns(&place) {
                    self.coordinator.admit(row.id, id, now, &mut self.out);
                } else {
                    self.coordinator.dismiss(row.id, id, now, &mut self.out);
                }
            }
            self.map.insert(node, place);
        }
    }

    /// Messages for agents since the last call, by node, in order.
    pub fn take_messages(&mut self) -> BTreeMap<NodeId, Vec<Down>> {
        let mut messages: BTreeMap<NodeId, Vec<Down>> = BTreeMap::new();
        for output in self.out.drain(..) {
            if let Output::Send { to, message } = output
                && let Some(node) = self.nodes.get(to.0 as usize)
            {
                self.totals.downs += 1;
                messages.entry(node.clone()).or_default().push(message);
            }
        }
        messages
    }

    /// What the store is to be told; given back by [`Self::give_back`] when it has no room.
    pub fn take_changes(&mut self) -> Vec<TriggerChange> {
        let names = std::mem::take(&mut self.unsaved).into_iter();
        let change = |name: String| match self.rows.get(&name) {
            Some(row) => TriggerChange::Put(stored(row)),
            None => TriggerChange::Remove { name },
        };
        let mut changes: Vec<_> = names.map(change).collect();
        for (query, id, known) in self.coordinator.take_changed() {
            if let Some(node) = self.nodes.get(id.0 as usize) {
                changes.push(TriggerChange::Count {
                    id: query.0,
                    node: node.clone(),
                    known,
                });
            }
        }
        changes
    }

    /// The store had no room for these: they are told again.
    pub fn give_back(&mut self, changes: Vec<TriggerChange>) {
        for change in changes {
            match change {
                TriggerChange::Put(StoredTrigger { name, .. }) | TriggerChange::Remove { name } => {
                    self.unsaved.insert(name);
                }
                TriggerChange::Count { id, node, .. } => {
                    let id = QueryId(id);
                    if let Some(&member) = self.ids.get(&node) {
                        self.coordinator.mark_changed(id, member);
                    }
                }
            }
        }
    }

    /// Totals since the start.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// All of them, in name order. O(triggers · nodes).
    #[must_use]
    pub fn views(&self) -> Vec<TriggerView> {
        let view = |row: &Row| view::view(row, self.coordinator.progress(row.id));
        self.rows.values().map(view).collect()
    }

    fn next_id(&mut self) -> QueryId {
        self.n_ids += 1;
        QueryId(u64::from(self.life) << 32 | u64::from(self.n_ids))
    }

    fn participant(&mut self, node: &NodeId) -> ParticipantId {
        if let Some(&id) = self.ids.get(node) {
            return id;
        }
        let id = ParticipantId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node.clone());
        self.ids.insert(node.clone(), id);
        id
    }

    /// A row is there, and counted for if it waits.
    fn insert(&mut self, row: Row, known: &BTreeMap<ParticipantId, Known>, now: Monotonic) {
        let name = row.body.spec.name.clone();
        if row.waits() {
            let mut members = known.clone();
            for (node, place) in &self.map {
                if row.concerns(place)
                    && let Some(&id) = self.ids.get(node)
                {
                    members.entry(id).or_default();
                }
            }
            let question = row.checked.question.clone();
            let count = row.body.spec.count;
            self.coordinator
                .register(row.id, question, count, members, now, &mut self.out);
            self.by_id.insert(row.id, name.clone());
        }
        self.unsaved.insert(name.clone());
        self.rows.insert(name, row);
    }

    fn drop_row(&mut self, name: &str) {
        if let Some(row) = self.rows.remove(name) {
            self.by_id.remove(&row.id);
            self.coordinator.terminate(row.id, &mut self.out);
            self.unsaved.insert(name.to_owned());
        }
    }

    /// Does what follows from triggers that have fired; messages stay for [`Self::take_messages`].
    fn carry_on(&mut self, now: Monotonic, wall: WallTime) {
        loop {
            let is_fired = |output: &mut Output| matches!(output, Output::Fired { .. });
            let fired: Vec<_> = self.out.extract_if(.., is_fired).collect();
            if fired.is_empty() {
                return;
            }
            for output in fired {
                if let Output::Fired { query, count } = output {
                    self.fired(query, count, now, wall);
                }
            }
        }
    }

    fn fired(&mut self, query: QueryId, count: u64, now: Monotonic, wall: WallTime) {
        let Some(mut row) = self
            .by_id
            .remove(&query)
            .and_then(|name| self.rows.remove(&name))
        else {
            return;
        };
        self.totals.fired += 1;
        let name = row.body.spec.name.clone();
        tracing::info!(
            trigger = name,
            count,
            what = row.checked.words,
            "trigger fired"
        );
        row.fired = Some((wall, count));
        if row.body.spec.again {
            row.id = self.next_id();
            row.created = wall;
        }
        self.insert(row, &BTreeMap::new(), now);
    }
}

/// A trigger that may begin once it is kept.
#[derive(Debug)]
pub struct Proposed(Row);

impl Proposed {
    /// What is to be kept.
    #[must_use]
    pub fn change(&self) -> TriggerChange {
        TriggerChange::Put(stored(&self.0))
    }
}

fn stored(row: &Row) -> StoredTrigger {
    StoredTrigger {
        id: row.id.0,
        name: row.body.spec.name.clone(),
        body: serde_json::to_string(&row.body).unwrap_or_default(),
        created: row.created,
        fired: row.fired,
    }
}

#[cfg(test)]
mod tests;
