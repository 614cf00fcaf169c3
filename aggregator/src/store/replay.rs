//! What the engine is told at start: incidents, then the last minutes of summaries. (step 7)
//!
//! In: the open file. Out: [`Committed`] values in commit order.
//! Invariants: RE-1 each node's first replayed summary carries the names of its series, because agents repeat them only
//! every few minutes. RE-2 per node the order is that of its sequences. Limits: summaries received since a moment, and
//! [`NAMES_BACK`] before it for names; one summary of each other node heard within [`NODE_BACK`].
//! Does not: judge.

use std::collections::BTreeMap;
use std::time::Duration;

use hsw_engine::Incident;
use hsw_types::{NodeFacts, NodeId, SeriesDef, SeriesId, ShardSummary, WallTime};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::commit::{HAS_FACTS, HAS_NAMES, Marks};
use super::{Committed, StoreError, stored_incident};

/// Agents repeat names every five minutes; twice that, and a little for a slow one.
const NAMES_BACK: Duration = Duration::from_secs(11 * 60);

/// A node not heard for a day is not brought back into memory: it was taken away.
const NODE_BACK: Duration = Duration::from_secs(24 * 3600);

/// Names and facts that were told before the replayed span, per node.
#[derive(Default)]
struct Told {
    epoch: u64,
    names: BTreeMap<SeriesId, SeriesDef>,
    facts: Option<NodeFacts>,
}

/// How a replay went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Replayed {
    /// Summaries told.
    pub(super) summaries: u64,
    /// Rows that could not be read.
    pub(super) unreadable: u64,
}

/// Incidents that an operator accepted, told at most: the newest.
const N_ACCEPTED: i64 = 1_000;

/// Open incidents, the newest closed ones, and those about edges that an operator has said are none, oldest first.
pub(super) fn incidents(
    connection: &Connection,
    n_closed: usize,
    tell: &mut dyn FnMut(Committed),
) -> Result<(), StoreError> {
    let mut found = select_incidents(
        connection,
        "WHERE state = 'closed' ORDER BY started DESC, id DESC LIMIT ?1",
        &[&i64::try_from(n_closed).unwrap_or(i64::MAX)],
    )?;
    found.extend(select_incidents(connection, "WHERE state = 'open'", &[])?);
    // As `stored_incident` writes it; a text that holds it would have its quotes escaped.
    found.extend(select_incidents(
        connection,
        "WHERE state = 'closed' AND body LIKE '%\"is_accepted\":true%' ORDER BY started DESC, id DESC LIMIT ?1",
        &[&N_ACCEPTED],
    )?);
    found.sort_by_key(|incident| (incident.started, incident.id));
    found.dedup_by_key(|incident| incident.id);
    for incident in found {
        tell(Committed::Restored(Box::new(incident)));
    }
    Ok(())
}

/// Incidents by a condition; one that cannot be read is logged and left out.
pub(super) fn select_incidents(
    connection: &Connection,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Incident>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT id, body FROM incident {condition}"))?;
    let mut rows = statement.query(values)?;
    let mut incidents = Vec::new();
    while let Some(row) = rows.next()? {
        match stored_incident::from_json(&row.get::<_, String>(1)?) {
            Ok(incident) => incidents.push(incident),
            Err(error) => {
                let id = row.get::<_, i64>(0)?;
                tracing::warn!(id, %error, "left out a stored incident");
            }
        }
    }
    Ok(incidents)
}

/// Summaries received since `since`, and who said goodbye.
pub(super) fn summaries(
    connection: &Connection,
    marks: &Marks,
    since: WallTime,
    tell: &mut dyn FnMut(Committed),
) -> Result<Replayed, StoreError> {
    let first = first_row_since(connection, since)?;
    let mut replayed = Replayed::default();
    let mut told = BTreeMap::new();
    for (node, id, _) in marks.nodes() {
        if let Some(known) = names_before(connection, id, first, since)? {
            told.insert(id, known);
        }
        tell_last_of_silent(connection, (node, id), (first, since), tell, &mut replayed)?;
    }
    let names: BTreeMap<i64, &NodeId> = marks.nodes().map(|(node, id, _)| (id, node)).collect();
    let mut statement = connection
        .prepare("SELECT node, received_us, payload FROM summary WHERE id >= ?1 ORDER BY id")?;
    let mut rows = statement.query([first])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let payload = row.get_ref(2)?.as_blob().unwrap_or_default();
        let (Some(node), Ok(mut summary)) = (names.get(&id), hsw_wire::decode_summary(payload))
        else {
            replayed.unreadable += 1;
            continue;
        };
        if let Some(known) = told.remove(&id) {
            known.complete(&mut summary);
        }
        replayed.summaries += 1;
        tell(Committed::Summary {
            node: (*node).clone(),
            summary: Box::new(summary),
            received: WallTime(row.get(1)?),
            is_replay: true,
        });
    }
    for (node, _, stopped) in marks.nodes() {
        if stopped {
            tell(Committed::Stopped { node: node.clone() });
        }
    }
    Ok(replayed)
}

/// First row received at `since` or later, by bisection: rows are appended in the order they were received.
///
/// A clock that was set back makes the answer a little early or late, never wrong in kind. O(log n).
pub(super) fn first_row_since(connection: &Connection, since: WallTime) -> rusqlite::Result<i64> {
    let (mut low, mut high): (i64, i64) = connection.query_row(
        "SELECT coalesce(min(id), 1), coalesce(max(id), 0) + 1 FROM summary",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut probe = connection
        .prepare_cached("SELECT received_us FROM summary WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let received: Option<i64> = probe.query_row([middle], |row| row.get(0)).optional()?;
        match received {
            Some(received) if received < since.0 => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// What a node had told before row `first`.
fn names_before(
    connection: &Connection,
    node: i64,
    first: i64,
    since: WallTime,
) -> Result<Option<Told>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT payload FROM summary INDEXED BY summary_names
         WHERE node = ?1 AND id < ?2 AND flags <> 0 AND flags & ?3 <> 0 AND received_us >= ?4 ORDER BY id",
    )?;
    let back = since.0 - micros(NAMES_BACK);
    let mut rows = statement.query(params![node, first, HAS_NAMES | HAS_FACTS, back])?;
    let mut told = None;
    while let Some(row) = rows.next()? {
        let payload = row.get_ref(0)?.as_blob().unwrap_or_default();
        if let Ok(summary) = hsw_wire::decode_summary(payload) {
            told.get_or_insert_with(Told::default).hear(summary);
        }
    }
    Ok(told)
}

/// A node without a row in the replayed span is told by its last summary with facts, so that its silence is seen.
fn tell_last_of_silent(
    connection: &Connection,
    (node, id): (&NodeId, i64),
    (first, since): (i64, WallTime),
    tell: &mut dyn FnMut(Committed),
    replayed: &mut Replayed,
) -> Result<(), StoreError> {
    let newest: Option<i64> = connection
        .prepare_cached("SELECT max(touched_us) FROM delivery WHERE node = ?1")?
        .query_row([id], |row| row.get(0))?;
    let day_before = since.0 - micros(NODE_BACK);
    if newest.is_none_or(|newest| newest >= since.0 || newest < day_before) {
        return Ok(());
    }
    let last: Option<(i64, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT received_us, payload FROM summary INDEXED BY summary_names
             WHERE node = ?1 AND id < ?2 AND flags <> 0 AND flags & ?3 <> 0 ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![id, first, HAS_FACTS], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    if let Some((received, payload)) = last
        && let Ok(summary) = hsw_wire::decode_summary(&payload)
    {
        replayed.summaries += 1;
        tell(Committed::Summary {
            node: node.clone(),
            summary: Box::new(summary),
            received: WallTime(received),
            is_replay: true,
        });
    }
    Ok(())
}

impl Told {
    fn hear(&mut self, summary: ShardSummary) {
        if summary.dictionary_epoch != self.epoch {
            self.epoch = summary.dictionary_epoch;
            self.names.clear();
        }
        self.names
            .extend(summary.dictionary.into_iter().map(|def| (def.id, def)));
        self.facts = summary.facts.or_else(|| self.facts.take());
    }

    /// Adds what was told before to a summary that follows; what it says itself stands.
    fn complete(mut self, summary: &mut ShardSummary) {
        if summary.facts.is_none() {
            summary.facts = self.facts.take();
        }
        if summary.dictionary_epoch == self.epoch {
            let own = std::mem::take(&mut summary.dictionary);
            self.names.extend(own.into_iter().map(|def| (def.id, def)));
            summary.dictionary = self.names.into_values().collect();
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
