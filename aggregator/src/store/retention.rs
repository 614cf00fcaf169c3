//! What is too old or too much goes, a little at a time. (step 7)
//!
//! In: the open file, limits, the clock. Out: rows deleted. Invariants: RT-1 one step deletes at most
//! `RETENTION_ROWS` summaries. RT-2 open incidents and marks of living spools stay.

use hsw_types::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Config, RETENTION_ROWS, hot};
use crate::shared::StoreStatus;

/// Pages given back to the file system in one step.
const VACUUM_PAGES: u32 = 256;

const DAY_US: i64 = 86_400_000_000;

/// Marks of a spool that has not delivered for this long are forgotten: an agent's spool holds a day by default.
const MARKS_KEPT_US: i64 = 60 * DAY_US;

/// One step: returns how many summaries went.
pub(super) fn step(
    connection: &Connection,
    config: &Config,
    now: WallTime,
) -> rusqlite::Result<u64> {
    let cutoff_us = now.0 - i64::from(config.keep_days) * DAY_US;
    let bytes_max = config.size_max_mib.saturating_mul(1 << 20);
    let Some(oldest) = oldest_row(connection)? else {
        return Ok(0);
    };
    let end = oldest + RETENTION_ROWS;
    let used = used_bytes(connection)?;
    let rows = if used > bytes_max {
        let rows = rows_over(connection, oldest, used, bytes_max)?;
        connection
            .prepare_cached("DELETE FROM summary WHERE id < ?1")?
            .execute([oldest + rows])?
    } else {
        connection
            .prepare_cached("DELETE FROM summary WHERE id < ?1 AND received_us < ?2")?
            .execute(params![end, cutoff_us])?
    };
    if file_bytes(connection)? > bytes_max {
        let mut vacuum =
            connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(rows as u64)
}

/// What grows slowly: expired silences, old closed incidents, marks of spools that are gone.
pub(super) fn sweep(
    connection: &Connection,
    config: &Config,
    now: WallTime,
) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM silence WHERE expires_us < ?1",
        [now.0 - i64::from(config.keep_days) * DAY_US],
    )?;
    connection.execute(
        "DELETE FROM incident WHERE id IN (
             SELECT id FROM incident WHERE state = 'closed' ORDER BY started DESC, id DESC LIMIT -1 OFFSET ?1)",
        [config.incidents_max],
    )?;
    connection.execute(
        "DELETE FROM explanation WHERE incident NOT IN (SELECT id FROM incident)",
        [],
    )?;
    // Where the size decides, minutes go with the summaries they are of.
    let oldest = status(connection)?.oldest.map(WallTime::window);
    hot::sweep(connection, now.window(), oldest, config.keep_days)?;
    connection.execute(
        "DELETE FROM delivery WHERE touched_us < ?1",
        [now.0 - MARKS_KEPT_US],
    )?;
    Ok(())
}

/// Size, rows and age now.
pub(super) fn status(connection: &Connection) -> rusqlite::Result<StoreStatus> {
    let (summaries, oldest) = match oldest_row(connection)? {
        None => (0, None),
        Some(first) => {
            let last: i64 =
                connection.query_row("SELECT max(id) FROM summary", [], |row| row.get(0))?;
            let received = connection.query_row(
                "SELECT received_us FROM summary WHERE id = ?1",
                [first],
                |row| row.get(0),
            )?;
            (last - first + 1, Some(WallTime(received)))
        }
    };
    Ok(StoreStatus {
        trouble: None,
        bytes: file_bytes(connection)?,
        summaries: u64::try_from(summaries).unwrap_or(0),
        oldest,
    })
}

/// Rows to delete so that about `bytes_max` are left, at most a step's worth.
fn rows_over(
    connection: &Connection,
    oldest: i64,
    used: u64,
    bytes_max: u64,
) -> rusqlite::Result<i64> {
    let newest: i64 = connection.query_row("SELECT max(id) FROM summary", [], |row| row.get(0))?;
    let n_rows = (newest - oldest + 1).max(1).cast_unsigned();
    let row_bytes = (used / n_rows).max(1);
    let rows = (used - bytes_max).div_ceil(row_bytes);
    Ok(i64::try_from(rows)
        .unwrap_or(RETENTION_ROWS)
        .min(RETENTION_ROWS))
}

fn oldest_row(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM summary ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

fn file_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(pragma(connection, "page_count")? * pragma(connection, "page_size")?)
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(pages * pragma(connection, "page_size")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, name, |row| {
        row.get::<_, i64>(0)
            .map(|value| value.max(0).cast_unsigned())
    })
}
