//! The tables, and how an older file becomes a newer one. (step 7)
//!
//! In: a path. Out: an open connection whose schema is [`SCHEMA_VERSION`].
//! Invariants: SC-1 a file of a newer program is refused untouched. SC-2 each migration is one transaction with its
//! version mark. SC-3 one process at a time holds the file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rusqlite::{Connection, ErrorCode};

/// Each entry brings a file from the version of its position to the next one. Never edit one that was released.
pub(crate) const MIGRATIONS: &[&str] = &[
    // 1: what agents deliver. Summaries are appended and deleted from the old end, so the row id is the only key;
    // the few rows with names or facts can be found per node, for replay.
    "CREATE TABLE node (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        stopped INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE delivery (
        node INTEGER NOT NULL,
        incarnation INTEGER NOT NULL,
        last_sequence INTEGER NOT NULL,
        last_window INTEGER NOT NULL,
        touched_us INTEGER NOT NULL,
        PRIMARY KEY (node, incarnation)
    ) WITHOUT ROWID;
    CREATE TABLE summary (
        id INTEGER PRIMARY KEY,
        node INTEGER NOT NULL,
        incarnation INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        first_window INTEGER NOT NULL,
        n_windows INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        received_us INTEGER NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE INDEX summary_names ON summary (node, id) WHERE flags <> 0;",
    // 2: what the engine and the operators say.
    "CREATE TABLE incident (
        id INTEGER PRIMARY KEY,
        state TEXT NOT NULL,
        root TEXT NOT NULL,
        started INTEGER NOT NULL,
        raised INTEGER NOT NULL,
        ended INTEGER,
        revision INTEGER NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX incident_started ON incident (started);
    CREATE TABLE silence (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        matchers TEXT NOT NULL,
        reason TEXT NOT NULL,
        author TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        expires_us INTEGER NOT NULL
    );",
    // 3: what was hot (per node and kind: a minute, or sixty of them), what keys stand for; triggers with what each node
    // is known to have counted.
    "CREATE TABLE hot (
        node INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        minutes INTEGER NOT NULL,
        start INTEGER NOT NULL,
        sketch BLOB NOT NULL,
        PRIMARY KEY (node, kind, minutes, start)
    ) WITHOUT ROWID;
    CREATE TABLE hot_name (
        kind INTEGER NOT NULL,
        key INTEGER NOT NULL,
        name TEXT NOT NULL,
        seen INTEGER NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE TABLE trigger_spec (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        fired_us INTEGER,
        fired_count INTEGER
    );
    CREATE TABLE trigger_count (
        trigger_id INTEGER NOT NULL,
        node INTEGER NOT NULL,
        carried INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (trigger_id, node)
    ) WITHOUT ROWID;
    CREATE TABLE life (n INTEGER NOT NULL);
    INSERT INTO life (n) VALUES (0);",
    // 4: why incidents were, and the cases that operators named (one file of causes).
    "CREATE TABLE explanation (
        incident INTEGER PRIMARY KEY,
        body TEXT NOT NULL
    );
    CREATE TABLE causes (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        body TEXT NOT NULL
    );",
    // 5: weights of the detectors, their versions and the labels they were made from: one row.
    "CREATE TABLE weights (id INTEGER PRIMARY KEY, body TEXT NOT NULL);",
];

/// The version this program writes.
pub(crate) const SCHEMA_VERSION: usize = MIGRATIONS.len();

/// Summaries have about 3 KiB: on SQLite's usual 4 KiB page each would waste a quarter.
const PAGE_BYTES: u32 = 16_384;

/// Opens or makes the file and brings it up to date.
pub(crate) fn open(path: &Path) -> anyhow::Result<Connection> {
    prepare(path).map_err(|error| explain(error, path))
}

fn prepare(path: &Path) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        bail!("the file system does not take SQLite's WAL mode: put data_dir on a local disk");
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.set_prepared_statement_cache_capacity(32);
    migrate(&mut connection)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> anyhow::Result<()> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let found = usize::try_from(found).context("its version mark is negative")?;
    if found > SCHEMA_VERSION {
        bail!(
            "it was written by a newer program (schema {found}, this one reads up to {SCHEMA_VERSION}): \
             start that newer version, or move the file away to begin anew"
        );
    }
    for (version, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", i64::try_from(version + 1)?)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Puts the file and the remedy into the error.
fn explain(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let code = error
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    let remedy = match code {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ": the file is damaged; move it (and its -wal) away and start again, or recover it with `sqlite3 FILE .recover`"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ": another aggregator holds it; stop that one or give this one its own data_dir"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            ": check that data_dir exists and belongs to the aggregator's user"
        }
        Some(ErrorCode::DiskFull) => ": the disk is full; make room",
        _ => "",
    };
    anyhow::anyhow!("open the store {}: {error:#}{remedy}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_first_schema_is_migrated_and_keeps_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch(
            "INSERT INTO node VALUES (7, 'shard-1-a', 0);
             INSERT INTO summary VALUES (1, 7, -5, 3, 1000, 2, 0, 99, x'0102');",
        )
        .unwrap();
        drop(old);

        let connection = open(&path).unwrap();
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, i64::try_from(SCHEMA_VERSION).unwrap());
        let payload: Vec<u8> = connection
            .query_row("SELECT payload FROM summary", [], |row| row.get(0))
            .unwrap();
        assert_eq!(payload, [1, 2]);
        let n_incidents: i64 = connection
            .query_row("SELECT count(*) FROM incident", [], |row| row.get(0))
            .unwrap();
        assert_eq!(n_incidents, 0);
    }

    #[test]
    fn a_file_of_a_newer_program_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.db");
        drop(open(&path).unwrap());
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        drop(newer);
        let error = format!("{:#}", open(&path).unwrap_err());
        assert!(
            error.contains("new.db") && error.contains("newer program"),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_name_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.db");
        std::fs::write(&path, vec![0x5a; 20_000]).unwrap();
        let error = format!("{:#}", open(&path).unwrap_err());
        assert!(
            error.contains("bad.db") && error.contains("move it"),
            "{error}"
        );
    }

    #[test]
    fn a_second_process_is_refused_while_the_first_holds_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("held.db");
        let held = open(&path).unwrap();
        held.execute("INSERT INTO node (name) VALUES ('a')", [])
            .unwrap();
        let error = format!("{:#}", open(&path).unwrap_err());
        assert!(error.contains("another aggregator"), "{error}");
    }
}
