//! Triggers and what is known of their counts, kept. (step 7)
//!
//! In: rows of triggers, counts of nodes. Out: the same at the next start, and how many starts there were.
//! Invariants: TK-1 a trigger and its counts are of one id: another id of the same name begins with no counts. TK-2 lives
//! only rise. Does not: read what a trigger asks.

use hsw_trigger::Known;
use hsw_types::{NodeId, WallTime, WindowIndex};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::StoreError;

/// A trigger as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTrigger {
    /// Its number, used once.
    pub id: u64,
    /// What it is called.
    pub name: String,
    /// What it asks, as text that the store does not read.
    pub body: String,
    /// Since when.
    pub created: WallTime,
    /// When it last fired, and with how much.
    pub fired: Option<(WallTime, u64)>,
}

/// A change of triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerChange {
    /// There is this one; it takes the place of one of the same name.
    Put(StoredTrigger),
    /// There is none of this name.
    Remove {
        /// Its name.
        name: String,
    },
    /// What is known of a node's count; ignored for a trigger that is gone.
    Count {
        /// Of which trigger.
        id: u64,
        /// Whose.
        node: NodeId,
        /// What.
        known: Known,
    },
}

/// A trigger with what was known of its counts.
pub type Kept = (StoredTrigger, Vec<(NodeId, Known)>);

/// Begins a life: its number, above that of each before. It is the time, so that a store that begins anew or comes from a copy
/// gives no number that agents know from before; counted on where the clock went back.
pub(super) fn begin_life(connection: &Connection, now: WindowIndex) -> rusqlite::Result<u32> {
    let now = u32::try_from(now.0).unwrap_or(0);
    connection.execute("UPDATE life SET n = max(n + 1, ?1)", [now])?;
    connection.query_row("SELECT n FROM life", [], |row| row.get(0))
}

/// Takes the place of what had this name.
pub(super) fn put(connection: &Connection, trigger: &StoredTrigger) -> rusqlite::Result<()> {
    let before: Option<i64> = connection
        .prepare_cached("SELECT id FROM trigger_spec WHERE name = ?1")?
        .query_row([&trigger.name], |row| row.get(0))
        .optional()?;
    let id = trigger.id.cast_signed();
    if before.is_some_and(|before| before != id) {
        remove(connection, &trigger.name)?;
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO trigger_spec (id, name, body, created_us, fired_us, fired_count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id,
            trigger.name,
            trigger.body,
            trigger.created.0,
            trigger.fired.map(|(at, _)| at.0),
            trigger.fired.map(|(_, count)| count.cast_signed()),
        ])?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM trigger_count WHERE trigger_id IN (SELECT id FROM trigger_spec WHERE name = ?1)",
        )?
        .execute([name])?;
    connection
        .prepare_cached("DELETE FROM trigger_spec WHERE name = ?1")?
        .execute([name])?;
    Ok(())
}

pub(super) fn count(
    connection: &Connection,
    id: u64,
    node: i64,
    known: Known,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO trigger_count (trigger_id, node, carried, epoch, count)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM trigger_spec WHERE id = ?1)",
        )?
        .execute(params![
            id.cast_signed(),
            node,
            known.carried.cast_signed(),
            known.epoch.cast_signed(),
            known.count.cast_signed(),
        ])?;
    Ok(())
}

/// Every trigger with its counts, in the order of their numbers.
pub(super) fn load(connection: &Connection) -> Result<Vec<Kept>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT id, name, body, created_us, fired_us, fired_count FROM trigger_spec ORDER BY id",
    )?;
    let mut counts = connection.prepare(
        "SELECT node.name, carried, epoch, count FROM trigger_count JOIN node ON node.id = node
         WHERE trigger_id = ?1 ORDER BY node.name",
    )?;
    let mut rows = statement.query([])?;
    let mut kept = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let fired: (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        let trigger = StoredTrigger {
            id: id.cast_unsigned(),
            name: row.get(1)?,
            body: row.get(2)?,
            created: WallTime(row.get(3)?),
            fired: fired
                .0
                .map(|at| (WallTime(at), fired.1.unwrap_or(0).cast_unsigned())),
        };
        let mut known = Vec::new();
        let mut rows = counts.query([id])?;
        while let Some(row) = rows.next()? {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            if let Ok(node) = NodeId::new(&row.get::<_, String>(0)?) {
                let one = Known {
                    carried: number(1)?,
                    epoch: number(2)?,
                    count: number(3)?,
                };
                known.push((node, one));
            }
        }
        kept.push((trigger, known));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(id: u64) -> StoredTrigger {
        StoredTrigger {
            id,
            name: "slow".to_owned(),
            body: "{}".to_owned(),
            created: WallTime(5),
            fired: None,
        }
    }

    #[test]
    fn a_trigger_keeps_its_counts_until_another_takes_its_name_and_lives_rise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let connection = super::super::schema::open(&path).unwrap();
        connection
            .execute_batch("INSERT INTO node (id, name) VALUES (1, 'a'), (2, 'b')")
            .unwrap();
        assert_eq!(begin_life(&connection, WindowIndex(70)), Ok(70));
        let known = |count| Known {
            carried: 1 << 61,
            epoch: 7,
            count,
        };
        put(&connection, &trigger(3)).unwrap();
        count(&connection, 3, 2, known(4)).unwrap();
        count(&connection, 3, 2, known(9)).unwrap();
        count(&connection, 8, 1, known(9)).unwrap();
        drop(connection);

        let connection = super::super::schema::open(&path).unwrap();
        assert_eq!(begin_life(&connection, WindowIndex(50)), Ok(71));
        let b = NodeId::new("b").unwrap();
        let kept = load(&connection).unwrap();
        assert_eq!(kept, [(trigger(3), vec![(b.clone(), known(9))])]);
        // Fired: the same number, the counts stay.
        let mut fired = trigger(3);
        fired.fired = Some((WallTime(6), 10));
        put(&connection, &fired).unwrap();
        assert_eq!(load(&connection).unwrap(), [(fired, vec![(b, known(9))])]);
        put(&connection, &trigger(4)).unwrap();
        assert_eq!(load(&connection).unwrap(), [(trigger(4), vec![])]);
        remove(&connection, "slow").unwrap();
        let left =
            "SELECT (SELECT count(*) FROM trigger_count) + (SELECT count(*) FROM trigger_spec)";
        let left: i64 = connection.query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }
}
