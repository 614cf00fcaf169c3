//! Reading the aggregator's store after it has stopped, and holding it to "exactly once".

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hsw_types::{SeriesKey, ShardSummary};
use rusqlite::{Connection, OpenFlags};

/// A stored summary.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) node: String,
    pub(crate) incarnation: i64,
    pub(crate) sequence: i64,
    pub(crate) first_window: i64,
    pub(crate) n_windows: i64,
    pub(crate) summary: ShardSummary,
}

/// Every stored summary, in order of arrival.
pub(crate) fn read(data_dir: &Path) -> Vec<Row> {
    let path = data_dir.join("hypershardwatch.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT node.name, incarnation, sequence, first_window, n_windows, payload \
             FROM summary JOIN node ON node.id = summary.node ORDER BY summary.id",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        let payload: Vec<u8> = row.get(5)?;
        Ok(Row {
            node: row.get(0)?,
            incarnation: row.get(1)?,
            sequence: row.get(2)?,
            first_window: row.get(3)?,
            n_windows: row.get(4)?,
            summary: hsw_wire::decode_summary(&payload).unwrap(),
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// The windows of a node that are missing between its first and its last; none may be there twice, nor a number.
pub(crate) fn missing_windows(rows: &[Row], node: &str) -> Vec<i64> {
    let mut windows = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for row in rows.iter().filter(|row| row.node == node) {
        assert!(
            numbers.insert((row.incarnation, row.sequence)),
            "{node}: number {} of incarnation {} is stored twice",
            row.sequence,
            row.incarnation
        );
        for window in row.first_window..row.first_window + row.n_windows {
            assert!(
                windows.insert(window),
                "{node}: window {window} is stored twice"
            );
        }
    }
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        panic!("nothing of {node} is stored");
    };
    (*first..=*last)
        .filter(|window| !windows.contains(window))
        .collect()
}

/// The sum of a counted series of a node over all that is stored.
pub(crate) fn total(rows: &[Row], node: &str, key: &SeriesKey) -> f64 {
    let mut names = BTreeMap::new();
    let mut sum = 0.0;
    for row in rows.iter().filter(|row| row.node == node) {
        let epoch = row.summary.dictionary_epoch;
        for def in row.summary.dictionary.iter().filter(|def| def.key == *key) {
            names.insert((epoch, def.id), ());
        }
        for series in &row.summary.series {
            if names.contains_key(&(epoch, series.id)) {
                sum += series.values.iter().flatten().sum::<f64>();
            }
        }
    }
    sum
}
