//! History of what was hot: minutes, hours made of them, names. (step 7)
//!
//! In: finished minutes of nodes, in order per node. Out: the counts of any span of minutes.
//! Invariants: HS-1 a minute is stored once: what replay tells again is ignored. HS-2 an hour is the sum of its minutes, made when
//! the node's next hour begins; where there is none its minutes are read. Limits: [`ROWS_MAX`] rows an answer.

use hsw_hot::{HotRow, Span, merged};
use hsw_sketch::{HOT_CELLS, HeavyHitters, hot_window};
use hsw_types::{HotKind, WindowIndex};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Committed, StoreError};

const HOUR: i64 = 60;
/// Looked up for one answer; a longer span is refused.
const ROWS_MAX: i64 = 100_000;
/// Hours are kept so many times as long as minutes and summaries.
const HOURS_KEPT: i64 = 8;

/// Writes a finished minute of a node; makes the hour before it when it is the first of a new one.
pub(super) fn write_row(connection: &Connection, node: i64, row: &HotRow) -> rusqlite::Result<()> {
    let kind = row.kind as i64;
    let is_new = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO hot (node, kind, minutes, start, sketch) VALUES (?1, ?2, 1, ?3, ?4)",
        )?
        .execute(params![node, kind, row.minute, row.sketch])?
        > 0;
    if !is_new {
        return Ok(());
    }
    let before: Option<i64> = connection
        .prepare_cached(
            "SELECT max(start) FROM hot WHERE node = ?1 AND kind = ?2 AND minutes = 1 AND start < ?3",
        )?
        .query_row(params![node, kind, row.minute], |row| row.get(0))?;
    let hour_of = |minute: i64| minute.div_euclid(HOUR);
    match before {
        Some(before) if hour_of(before) < hour_of(row.minute) => {
            roll(connection, (node, kind), hour_of(before) * HOUR)
        }
        _ => Ok(()),
    }
}

fn roll(connection: &Connection, (node, kind): (i64, i64), start: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(MINUTES)?;
    let rows = statement.query_map(params![node, kind, start, start + HOUR], |row| row.get(0))?;
    let sketches: Vec<Vec<u8>> = rows.collect::<Result<_, _>>()?;
    let (sum, _) = merged(sketches.iter().map(Vec::as_slice));
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO hot (node, kind, minutes, start, sketch) VALUES (?1, ?2, 60, ?3, ?4)",
        )?
        .execute(params![node, kind, start, sum.encode()])?;
    Ok(())
}

const MINUTES: &str = "SELECT sketch FROM hot WHERE node = ?1 AND kind = ?2 AND minutes = 1 AND start >= ?3 AND start < ?4";

/// Writes what a key stands for.
pub(super) fn write_name(
    connection: &Connection,
    (kind, key, name): &(HotKind, u64, String),
    seen: WindowIndex,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO hot_name (kind, key, name, seen) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET name = excluded.name, seen = excluded.seen",
        )?
        .execute(params![*kind as i64, key.cast_signed(), name, seen.0])?;
    Ok(())
}

/// Tells every name, those last told first.
pub(super) fn names(
    connection: &Connection,
    tell: &mut dyn FnMut(Committed),
) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare("SELECT kind, key, name, seen FROM hot_name ORDER BY seen")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let kind: i64 = row.get(0)?;
        let kind = usize::try_from(kind)
            .ok()
            .and_then(|at| HotKind::ALL.get(at));
        if let Some(&kind) = kind {
            tell(Committed::HotName {
                kind,
                key: row.get::<_, i64>(1)?.cast_unsigned(),
                name: row.get(2)?,
                told: WindowIndex(row.get(3)?),
            });
        }
    }
    Ok(())
}

/// What these nodes counted of a kind in a span. O(nodes · hours).
pub(super) fn read(
    connection: &Connection,
    nodes: &[i64],
    kind: HotKind,
    span: Span,
) -> Result<HeavyHitters, StoreError> {
    let n_hours = span.n_minutes() / HOUR + 2;
    let n_nodes = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    if n_hours.saturating_mul(n_nodes) > ROWS_MAX {
        return Err(StoreError(format!(
            "{n_hours} hours of {n_nodes} nodes are too much for one answer: ask for a shorter span or one shard"
        )));
    }
    let mut sum = hot_window();
    let mut add = |sketch: &[u8]| {
        // A row that cannot be read is as good as none.
        if let Ok(row) = HeavyHitters::decode(sketch, HOT_CELLS) {
            let _ = sum.merge(&row);
        }
    };
    let mut hours = connection.prepare_cached(
        "SELECT sketch FROM hot WHERE node = ?1 AND kind = ?2 AND minutes = 60 AND start = ?3",
    )?;
    let mut minutes = connection.prepare_cached(MINUTES)?;
    for node in nodes {
        let mut at = span.from;
        while at < span.to {
            let end = (at.div_euclid(HOUR) + 1) * HOUR;
            let is_whole = at.rem_euclid(HOUR) == 0 && end <= span.to;
            let hour: Option<Vec<u8>> = if is_whole {
                let found = hours.query_row(params![node, kind as i64, at], |row| row.get(0));
                found.optional()?
            } else {
                None
            };
            if let Some(hour) = hour {
                add(&hour);
            } else {
                let to = end.min(span.to);
                let mut rows = minutes.query(params![node, kind as i64, at, to])?;
                while let Some(row) = rows.next()? {
                    add(row.get_ref(0)?.as_blob().unwrap_or_default());
                }
            }
            at = end;
        }
    }
    Ok(sum)
}

/// Lets go of what is too old: minutes before the oldest summary that is kept, hours much later.
pub(super) fn sweep(
    connection: &Connection,
    now: WindowIndex,
    oldest: Option<WindowIndex>,
    keep_days: u32,
) -> rusqlite::Result<()> {
    let kept = i64::from(keep_days) * 24 * HOUR;
    let minute_of = |at: WindowIndex| at.0.div_euclid(hsw_hot::MINUTE_S);
    let minute = minute_of(now);
    let first = oldest.map_or(minute - kept, |oldest| minute_of(oldest).max(minute - kept));
    connection.execute(
        "DELETE FROM hot WHERE (minutes = 1 AND start < ?1) OR start < ?2",
        [first, minute - kept * HOURS_KEPT],
    )?;
    connection.execute(
        "DELETE FROM hot_name WHERE seen < ?1",
        [now.0 - kept * HOURS_KEPT * hsw_hot::MINUTE_S],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::NodeId;

    fn row(minute: i64, counts: &[(u64, f64)]) -> HotRow {
        let mut sketch = hot_window();
        counts.iter().for_each(|(key, n)| sketch.add(*key, 0, *n));
        HotRow {
            node: NodeId::new("a").unwrap(),
            kind: HotKind::Table,
            minute,
            sketch: sketch.encode(),
        }
    }

    fn count(connection: &Connection, from: i64, to: i64) -> f64 {
        let span = Span { from, to };
        read(connection, &[1], HotKind::Table, span)
            .unwrap()
            .estimate(7, 0)
    }

    #[test]
    fn any_span_is_the_sum_of_its_minutes_and_hours_are_made_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let connection = super::super::schema::open(&dir.path().join("x.db")).unwrap();
        // Three days, every third minute.
        for minute in (0..4_320).step_by(3) {
            write_row(&connection, 1, &row(minute, &[(7, 2.0), (9, 1.0)])).unwrap();
            // Told again by a replay.
            write_row(&connection, 1, &row(minute, &[(7, 2.0)])).unwrap();
        }
        let n_hours: i64 = connection
            .query_row("SELECT count(*) FROM hot WHERE minutes = 60", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(n_hours, 71, "all but the last");
        for (from, to) in [
            (0, 4_320),
            (1, 2),
            (3, 4),
            (59, 61),
            (17, 3_000),
            (120, 180),
            (60, 4_319),
        ] {
            let expected = (from..to).filter(|minute| minute % 3 == 0).count() * 2;
            assert_eq!(
                count(&connection, from, to),
                expected as f64,
                "{from}..{to}"
            );
        }
        // With the minutes gone the hours still answer.
        sweep(&connection, WindowIndex(4_320 * 60), None, 1).unwrap();
        assert_eq!(count(&connection, 0, 120), 80.0);
        let too_long = Span {
            from: 0,
            to: i64::MAX,
        };
        assert!(read(&connection, &[1], HotKind::Table, too_long).is_err());
    }

    #[test]
    fn names_come_back_as_they_were_last_told() {
        let dir = tempfile::tempdir().unwrap();
        let connection = super::super::schema::open(&dir.path().join("x.db")).unwrap();
        for (name, seen) in [("old", 5), ("new", 9)] {
            let named = (HotKind::Tenant, u64::MAX, name.to_owned());
            write_name(&connection, &named, WindowIndex(seen)).unwrap();
        }
        let mut told = Vec::new();
        names(&connection, &mut |one| told.push(format!("{one:?}"))).unwrap();
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("Tenant") && told[0].contains("new"),
            "{told:?}"
        );
    }
}
