//! One batch, one transaction: what arrives becomes durable, then is acknowledged. (step 7)
//!
//! In: commands in the order they came. Out: effects to carry out after the commit, in the same order.
//! Invariants: CO-1 marks in memory change only after the transaction that wrote them is committed, so that a failed
//! batch can be tried again as it is. Does not: send anything.

use std::collections::BTreeMap;

use hsw_engine::{Incident, IncidentState};
use hsw_types::{NodeId, ShardSummary, WallTime, WindowIndex};
use rusqlite::{Connection, Transaction, params};

use super::{Received, Resume, StoreError, stored_incident};
use crate::shared::{Matcher, Silence};

/// Row flag: the summary names series.
pub(super) const HAS_NAMES: i64 = 1;
/// Row flag: the summary holds facts of its node.
pub(super) const HAS_FACTS: i64 = 2;
/// Row flag: the payload could not be decoded when it came.
pub(super) const UNREADABLE: i64 = 4;

/// Spool lives remembered of one node: an agent whose spool does not outlive it makes a new one at each start.
const N_LIVES_MAX: usize = 16;

/// Marks of every node, as committed.
///
/// Not `hsw_delivery::Receiver`: that one also refuses windows at or before the newest it has seen, and would refuse a
/// node whose clock jumped a year ahead and back for a year. Windows of a clock that was set back are the engine's matter.
#[derive(Debug, Default)]
pub(super) struct Marks {
    nodes: BTreeMap<NodeId, NodeMarks>,
}

/// What is known of one node's deliveries.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeMarks {
    /// Row id.
    id: i64,
    /// It said goodbye and was not heard since.
    stopped: bool,
    /// Each incarnation's mark, at most [`N_LIVES_MAX`].
    lives: BTreeMap<u64, Life>,
    /// Newest committed window.
    last_window: Option<WindowIndex>,
}

/// One life of a spool.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    /// Highest committed sequence.
    sequence: u64,
    /// When its last new summary came.
    touched: WallTime,
}

/// A batch under way.
pub(super) struct Batch<'a> {
    transaction: Transaction<'a>,
    marks: &'a mut Marks,
    /// Copies of the marks this batch changes; they take their place after the commit.
    touched: BTreeMap<NodeId, NodeMarks>,
    /// Which (node, incarnation) must be written, and when the last summary of it came.
    delivered: BTreeMap<(NodeId, u64), WallTime>,
}

/// What became of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A new row.
    Stored,
    /// It had been committed before.
    Duplicate,
}

impl Marks {
    /// Reads them from the file.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut nodes = BTreeMap::new();
        let mut by_id = BTreeMap::new();
        let mut statement = connection.prepare("SELECT id, name, stopped FROM node")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Ok(name) = NodeId::new(&row.get::<_, String>(1)?) else {
                continue;
            };
            let id = row.get(0)?;
            by_id.insert(id, name.clone());
            let marks = NodeMarks {
                id,
                stopped: row.get(2)?,
                ..NodeMarks::default()
            };
            nodes.insert(name, marks);
        }
        let mut statement = connection.prepare(
            "SELECT node, incarnation, last_sequence, last_window, touched_us FROM delivery",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(marks) = by_id
                .get(&row.get::<_, i64>(0)?)
                .and_then(|name| nodes.get_mut(name))
            else {
                continue;
            };
            let incarnation = row.get::<_, i64>(1)?.cast_unsigned();
            let life = Life {
                sequence: row.get::<_, i64>(2)?.cast_unsigned(),
                touched: WallTime(row.get(4)?),
            };
            marks.lives.insert(incarnation, life);
            marks.last_window = marks.last_window.max(Some(WindowIndex(row.get(3)?)));
        }
        Ok(Self { nodes })
    }

    /// Every node with its row id and whether it said goodbye, in name order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&NodeId, i64, bool)> {
        self.nodes
            .iter()
            .map(|(name, marks)| (name, marks.id, marks.stopped))
    }
}

impl NodeMarks {
    /// Forgets the life that was quiet longest when a new one finds no room; returns it.
    fn make_room(&mut self, incarnation: u64) -> Option<u64> {
        if self.lives.contains_key(&incarnation) || self.lives.len() < N_LIVES_MAX {
            return None;
        }
        let oldest = self
            .lives
            .iter()
            .min_by_key(|(_, life)| life.touched)
            .map(|(incarnation, _)| *incarnation)?;
        self.lives.remove(&oldest);
        Some(oldest)
    }
}

impl<'a> Batch<'a> {
    /// Begins a transaction.
    pub(super) fn begin(
        connection: &'a mut Connection,
        marks: &'a mut Marks,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction: connection.transaction()?,
            marks,
            touched: BTreeMap::new(),
            delivered: BTreeMap::new(),
        })
    }

    /// Writes a summary, unless it was written before.
    pub(super) fn summary(&mut self, received: &Received) -> rusqlite::Result<Outcome> {
        let marks = self.node(&received.node)?;
        let node = marks.id;
        let forgotten = marks.make_room(received.incarnation);
        let life = marks.lives.entry(received.incarnation).or_default();
        if received.sequence <= life.sequence {
            return Ok(Outcome::Duplicate);
        }
        *life = Life {
            sequence: received.sequence,
            touched: received.received,
        };
        let mut window = WindowIndex(i64::MIN);
        let (mut n_windows, mut flags) = (0, UNREADABLE);
        if let Some(summary) = &received.summary {
            window = summary.first_window;
            n_windows = summary.n_windows;
            flags = flags_of(summary);
            let newest = summary.first_window + (i64::from(summary.n_windows) - 1);
            marks.last_window = marks.last_window.max(Some(newest));
        }
        self.delivered.insert(
            (received.node.clone(), received.incarnation),
            received.received,
        );
        if let Some(forgotten) = forgotten {
            self.transaction.execute(
                "DELETE FROM delivery WHERE node = ?1 AND incarnation = ?2",
                params![node, forgotten.cast_signed()],
            )?;
            self.delivered.remove(&(received.node.clone(), forgotten));
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO summary (node, incarnation, sequence, first_window, n_windows, flags, received_us, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                node,
                received.incarnation.cast_signed(),
                received.sequence.cast_signed(),
                window.0,
                n_windows,
                flags,
                received.received.0,
                received.payload,
            ])?;
        Ok(Outcome::Stored)
    }

    /// A connection begins: the node is known from now on and has not stopped.
    pub(super) fn hello(&mut self, node: &NodeId, incarnation: u64) -> rusqlite::Result<Resume> {
        self.set_stopped(node, false)?;
        let marks = self.node(node)?;
        Ok(Resume {
            last_sequence: marks
                .lives
                .get(&incarnation)
                .map_or(0, |life| life.sequence),
            last_window: marks.last_window,
        })
    }

    /// Remembers whether a node said goodbye.
    pub(super) fn set_stopped(&mut self, node: &NodeId, stopped: bool) -> rusqlite::Result<()> {
        let marks = self.node(node)?;
        if marks.stopped == stopped {
            return Ok(());
        }
        marks.stopped = stopped;
        let id = marks.id;
        self.transaction
            .prepare_cached("UPDATE node SET stopped = ?2 WHERE id = ?1")?
            .execute(params![id, stopped])?;
        Ok(())
    }

    /// Writes an incident; an older revision never replaces a newer one.
    pub(super) fn incident(&mut self, incident: &Incident) -> Result<(), StoreError> {
        let body = stored_incident::to_json(incident)?;
        let state = match incident.state {
            IncidentState::Open => "open",
            IncidentState::Closed => "closed",
        };
        self.transaction
            .prepare_cached(
                "INSERT INTO incident (id, state, root, started, raised, ended, revision, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (id) DO UPDATE SET state = excluded.state, root = excluded.root,
                     started = excluded.started, raised = excluded.raised, ended = excluded.ended,
                     revision = excluded.revision, body = excluded.body
                 WHERE excluded.revision >= incident.revision",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    incident.id.0.cast_signed(),
                    state,
                    incident.root.as_str(),
                    incident.started.0,
                    incident.raised.0,
                    incident.ended.map(|window| window.0),
                    incident.revision,
                    body,
                ])
            })
            .map(drop)
            .map_err(StoreError::from)
    }

    /// Writes a silence and returns its id.
    pub(super) fn add_silence(&mut self, silence: &Silence) -> Result<i64, StoreError> {
        let matchers: Vec<(&str, &str)> = silence
            .matchers
            .iter()
            .map(|matcher| (matcher.label.as_str(), matcher.value.as_str()))
            .collect();
        let matchers = serde_json::to_string(&matchers)
            .map_err(|error| StoreError(format!("write a silence as JSON: {error}")))?;
        self.transaction.execute(
            "INSERT INTO silence (matchers, reason, author, created_us, expires_us) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![matchers, silence.reason, silence.author, silence.created.0, silence.expires.0],
        )?;
        Ok(self.transaction.last_insert_rowid())
    }

    /// Removes a silence; false when there was none.
    pub(super) fn remove_silence(&mut self, id: i64) -> Result<bool, StoreError> {
        Ok(self
            .transaction
            .execute("DELETE FROM silence WHERE id = ?1", [id])?
            > 0)
    }

    /// Makes it durable; only then the marks change.
    pub(super) fn commit(self) -> rusqlite::Result<()> {
        for ((node, incarnation), received) in &self.delivered {
            let Some(marks) = self.touched.get(node) else {
                continue;
            };
            self.transaction
                .prepare_cached(
                    "INSERT INTO delivery (node, incarnation, last_sequence, last_window, touched_us)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET last_sequence = excluded.last_sequence,
                         last_window = excluded.last_window, touched_us = excluded.touched_us",
                )?
                .execute(params![
                    marks.id,
                    incarnation.cast_signed(),
                    marks.lives.get(incarnation).map_or(0, |life| life.sequence).cast_signed(),
                    marks.last_window.map_or(i64::MIN, |window| window.0),
                    received.0,
                ])?;
        }
        self.transaction.commit()?;
        self.marks.nodes.extend(self.touched);
        Ok(())
    }

    /// The marks of a node, to be changed; a new node gets its row.
    fn node(&mut self, node: &NodeId) -> rusqlite::Result<&mut NodeMarks> {
        if !self.touched.contains_key(node) {
            let marks = match self.marks.nodes.get(node) {
                Some(marks) => marks.clone(),
                None => self.new_node(node)?,
            };
            self.touched.insert(node.clone(), marks);
        }
        Ok(self.touched.entry(node.clone()).or_default())
    }

    fn new_node(&self, node: &NodeId) -> rusqlite::Result<NodeMarks> {
        self.transaction
            .prepare_cached("INSERT INTO node (name) VALUES (?1)")?
            .execute([node.as_str()])?;
        Ok(NodeMarks {
            id: self.transaction.last_insert_rowid(),
            ..NodeMarks::default()
        })
    }
}

/// Silences in force at `now`, oldest first.
pub(super) fn silences(connection: &Connection, now: WallTime) -> Result<Vec<Silence>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, matchers, reason, author, created_us, expires_us FROM silence
         WHERE expires_us > ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([now.0])?;
    let mut silences = Vec::new();
    while let Some(row) = rows.next()? {
        let matchers: Vec<(String, String)> = serde_json::from_str(&row.get::<_, String>(1)?)
            .map_err(|error| StoreError(format!("read a stored silence: {error}")))?;
        silences.push(Silence {
            id: row.get(0)?,
            matchers: matchers
                .into_iter()
                .map(|(label, value)| Matcher { label, value })
                .collect(),
            reason: row.get(2)?,
            author: row.get(3)?,
            created: WallTime(row.get(4)?),
            expires: WallTime(row.get(5)?),
        });
    }
    Ok(silences)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(format!("the store cannot do it: {error}"))
    }
}

fn flags_of(summary: &ShardSummary) -> i64 {
    let names = if summary.dictionary.is_empty() {
        0
    } else {
        HAS_NAMES
    };
    let facts = if summary.facts.is_some() {
        HAS_FACTS
    } else {
        0
    };
    names | facts
}
