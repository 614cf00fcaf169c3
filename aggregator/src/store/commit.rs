//! One batch, one transaction: what arrives becomes durable, then is acknowledged. (step 7)
//!
//! In: commands in the order they came. Out: effects to carry out after the commit, in the same order.
//! Invariants: CO-1 what is known of nodes changes only after the transaction that wrote it is committed, so that a failed
//! batch can be tried again as it is. Does not: decide what is a duplicate (`hsw_delivery::Receiver` does), send anything.

use std::collections::BTreeMap;

use hsw_delivery::{Entry, Receiver, Verdict};
use hsw_engine::{Explanation, Incident, IncidentId, IncidentState};
use hsw_explain::NamedCase;
use hsw_hot::HotRow;
use hsw_types::{HotKind, Incarnation, NodeId, Sequence, ShardSummary, WallTime, WindowIndex};
use rusqlite::{Connection, Transaction, params};

use super::{
    Received, Resume, StoreError, StoredWeights, TriggerChange, hot, stored_explanation,
    stored_incident, stored_weights, triggers,
};
use crate::shared::{Matcher, Silence};

/// Row flag: the summary names series.
pub(super) const HAS_NAMES: i64 = 1;
/// Row flag: the summary holds facts of its node.
pub(super) const HAS_FACTS: i64 = 2;
/// Row flag: the payload could not be decoded when it came.
pub(super) const UNREADABLE: i64 = 4;

/// Every node, and what has been delivered by each.
#[derive(Debug, Default)]
pub(super) struct Marks {
    nodes: BTreeMap<NodeId, Known>,
    receiver: Receiver,
}

/// What is known of one node.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Row id.
    id: i64,
    /// It said goodbye and was not heard since.
    stopped: bool,
}

/// A summary judged new, to be told to the receiver once it is durable.
#[derive(Debug)]
struct Judged {
    node: NodeId,
    incarnation: Incarnation,
    sequence: Sequence,
    /// First window and number of windows; none for one whose windows are not stored.
    windows: Option<(WindowIndex, u16)>,
    received: WallTime,
}

/// A batch under way.
pub(super) struct Batch<'a> {
    /// There until it is committed.
    transaction: Option<Transaction<'a>>,
    marks: &'a mut Marks,
    /// Copies of what this batch changes; they take their place after the commit.
    touched: BTreeMap<NodeId, Known>,
    judged: Vec<Judged>,
}

/// What became of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A new row.
    Stored,
    /// It had been committed before.
    Duplicate,
    /// A new number, but its windows are committed already: only the number is kept.
    Overlap,
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
            nodes.insert(
                name,
                Known {
                    id,
                    stopped: row.get(2)?,
                },
            );
        }
        // Least recently used first, as the receiver wants them.
        let mut statement = connection.prepare(
            "SELECT node, incarnation, last_sequence, last_window FROM delivery ORDER BY touched_us",
        )?;
        let mut rows = statement.query([])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(node) = by_id.get(&row.get::<_, i64>(0)?) else {
                continue;
            };
            let last_window: i64 = row.get(3)?;
            entries.push(Entry {
                node: node.clone(),
                incarnation: Incarnation(row.get::<_, i64>(1)?.cast_unsigned()),
                sequence: Sequence(row.get::<_, i64>(2)?.cast_unsigned()),
                last_window: (last_window != i64::MIN).then_some(WindowIndex(last_window)),
            });
        }
        Ok(Self {
            nodes,
            receiver: Receiver::restore(entries),
        })
    }

    /// Every node with its row id and whether it said goodbye, in name order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&NodeId, i64, bool)> {
        self.nodes
            .iter()
            .map(|(name, known)| (name, known.id, known.stopped))
    }
}

impl<'a> Batch<'a> {
    /// Begins a transaction.
    pub(super) fn begin(
        connection: &'a mut Connection,
        marks: &'a mut Marks,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction: Some(connection.transaction()?),
            marks,
            touched: BTreeMap::new(),
            judged: Vec::new(),
        })
    }

    /// Writes a summary, unless it was written before.
    pub(super) fn summary(&mut self, received: &Received) -> rusqlite::Result<Outcome> {
        let node = self.node(&received.node)?.id;
        let (incarnation, sequence) = (
            Incarnation(received.incarnation),
            Sequence(received.sequence),
        );
        let windows = received
            .summary
            .as_ref()
            .map(|s| (s.first_window, s.n_windows));
        let verdict = self
            .marks
            .receiver
            .judge(&received.node, incarnation, sequence, windows);
        let outcome = match verdict {
            Verdict::Duplicate => return Ok(Outcome::Duplicate),
            Verdict::Overlap => Outcome::Overlap,
            Verdict::Accept { .. } => Outcome::Stored,
        };
        self.judged.push(Judged {
            node: received.node.clone(),
            incarnation,
            sequence,
            windows: windows.filter(|_| outcome == Outcome::Stored),
            received: received.received,
        });
        if outcome == Outcome::Stored {
            self.insert(node, received, windows)?;
        }
        Ok(outcome)
    }

    fn insert(
        &self,
        node: i64,
        received: &Received,
        windows: Option<(WindowIndex, u16)>,
    ) -> rusqlite::Result<()> {
        let (window, n_windows) = windows.unwrap_or((WindowIndex(i64::MIN), 0));
        let flags = received.summary.as_deref().map_or(UNREADABLE, flags_of);
        self.transaction()
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
        Ok(())
    }

    /// A connection begins: the node is known from now on and has not stopped.
    pub(super) fn hello(&mut self, node: &NodeId, incarnation: u64) -> rusqlite::Result<Resume> {
        self.set_stopped(node, false)?;
        let (last, last_window) = self.marks.receiver.last(node, Incarnation(incarnation));
        Ok(Resume {
            last_sequence: last.0,
            last_window,
        })
    }

    /// Remembers whether a node said goodbye.
    pub(super) fn set_stopped(&mut self, node: &NodeId, stopped: bool) -> rusqlite::Result<()> {
        let known = self.node(node)?;
        if known.stopped == stopped {
            return Ok(());
        }
        self.touched
            .insert(node.clone(), Known { stopped, ..known });
        let id = known.id;
        self.transaction()
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
        self.transaction()
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

    /// Writes why an incident is.
    pub(super) fn explanation(
        &mut self,
        id: IncidentId,
        why: &Explanation,
    ) -> Result<(), StoreError> {
        stored_explanation::put(self.transaction(), id, why)
    }

    /// Writes all cases that operators named.
    pub(super) fn causes(&mut self, cases: &[NamedCase]) -> Result<(), StoreError> {
        stored_explanation::put_causes(self.transaction(), cases)
    }

    /// Writes finished minutes of what was counted, and names.
    pub(super) fn hot(
        &mut self,
        rows: &[HotRow],
        names: &[(HotKind, u64, String)],
        now: WindowIndex,
    ) -> rusqlite::Result<()> {
        for row in rows {
            let node = self.node(&row.node)?.id;
            hot::write_row(self.transaction(), node, row)?;
        }
        for name in names {
            hot::write_name(self.transaction(), name, now)?;
        }
        Ok(())
    }

    /// The weights' versions and the labels.
    pub(super) fn weights(&self, kept: &StoredWeights) -> Result<(), StoreError> {
        stored_weights::put(self.transaction(), kept)
    }

    /// Writes changes of triggers, in order.
    pub(super) fn triggers(&mut self, changes: &[TriggerChange]) -> rusqlite::Result<()> {
        for change in changes {
            match change {
                TriggerChange::Put(trigger) => triggers::put(self.transaction(), trigger)?,
                TriggerChange::Remove { name } => triggers::remove(self.transaction(), name)?,
                TriggerChange::Count { id, node, known } => {
                    let node = self.node(node)?.id;
                    triggers::count(self.transaction(), *id, node, *known)?;
                }
            }
        }
        Ok(())
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
        self.transaction().execute(
            "INSERT INTO silence (matchers, reason, author, created_us, expires_us) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![matchers, silence.reason, silence.author, silence.created.0, silence.expires.0],
        )?;
        Ok(self.transaction().last_insert_rowid())
    }

    /// Removes a silence; false when there was none.
    pub(super) fn remove_silence(&mut self, id: i64) -> Result<bool, StoreError> {
        Ok(self
            .transaction()
            .execute("DELETE FROM silence WHERE id = ?1", [id])?
            > 0)
    }

    /// Makes it durable; only then what is known changes.
    pub(super) fn commit(mut self) -> rusqlite::Result<()> {
        let mut newest: BTreeMap<(&NodeId, Incarnation), (&Judged, Option<WindowIndex>)> =
            BTreeMap::new();
        for judged in &self.judged {
            let (_, stored) = self.marks.receiver.last(&judged.node, judged.incarnation);
            let ends = judged.windows.map(|(first, n)| first + (i64::from(n) - 1));
            let entry = newest
                .entry((&judged.node, judged.incarnation))
                .or_insert((judged, stored));
            *entry = (judged, entry.1.max(ends));
        }
        for ((node, incarnation), (judged, window)) in &newest {
            let Some(known) = self.touched.get(*node) else {
                continue;
            };
            self.transaction()
                .prepare_cached(
                    "INSERT INTO delivery (node, incarnation, last_sequence, last_window, touched_us)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET last_sequence = excluded.last_sequence,
                         last_window = excluded.last_window, touched_us = excluded.touched_us",
                )?
                .execute(params![
                    known.id,
                    incarnation.0.cast_signed(),
                    judged.sequence.0.cast_signed(),
                    window.map_or(i64::MIN, |window| window.0),
                    judged.received.0,
                ])?;
        }
        if let Some(transaction) = self.transaction.take() {
            transaction.commit()?;
        }
        for judged in std::mem::take(&mut self.judged) {
            let (node, incarnation, sequence) = (&judged.node, judged.incarnation, judged.sequence);
            match judged.windows {
                Some((first, n)) => {
                    self.marks
                        .receiver
                        .committed(node, incarnation, sequence, first, n);
                }
                None => self.marks.receiver.skipped(node, incarnation, sequence),
            }
        }
        self.marks.nodes.append(&mut self.touched);
        Ok(())
    }

    fn transaction(&self) -> &Transaction<'a> {
        self.transaction
            .as_ref()
            .expect("only `commit` takes it, and consumes the batch")
    }

    /// What is known of a node; a new node gets its row.
    fn node(&mut self, node: &NodeId) -> rusqlite::Result<Known> {
        if let Some(known) = self.touched.get(node) {
            return Ok(*known);
        }
        let known = match self.marks.nodes.get(node) {
            Some(known) => *known,
            None => {
                let transaction = self.transaction();
                transaction
                    .prepare_cached("INSERT INTO node (name) VALUES (?1)")?
                    .execute([node.as_str()])?;
                Known {
                    id: transaction.last_insert_rowid(),
                    stopped: false,
                }
            }
        };
        self.touched.insert(node.clone(), known);
        Ok(known)
    }
}

/// A batch that was not committed leaves nothing behind: what it judged may come again.
impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for judged in &self.judged {
            self.marks.receiver.rollback(&judged.node);
        }
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
