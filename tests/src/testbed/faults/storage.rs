//! Faults inside the database's storage: a lost index, checkpoints without end.

use std::sync::Arc;

use anyhow::Result;

use super::{Injected, Undo};
use crate::testbed::postgres::DATABASE;
use crate::testbed::schema::{CREATE_SECONDARY_INDEX, SECONDARY_INDEX};

/// Somebody drops an index that nobody seemed to need.
pub(super) fn missing_index(new: &mut Injected) -> Result<()> {
    new.undo.push(Undo::Sql(CREATE_SECONDARY_INDEX));
    new.node
        .sql(DATABASE, &format!("DROP INDEX IF EXISTS {SECONDARY_INDEX}"))
        .map(drop)
}

/// After each checkpoint the first change of a page writes the whole page to the log, so writes multiply.
pub(super) fn checkpoint_storm(new: &mut Injected) -> Result<()> {
    let bed = Arc::clone(new.node.bed());
    let path = bed.dir.join("load/checkpoint.sql");
    bed.service_file(&path, "CHECKPOINT;\n")?;
    // Only the superuser may; the later -h and -U take the place of the earlier ones.
    let storm = new
        .node
        .pgbench_launch("checkpoint-storm", "maintenance", "postgres")
        .args(["-h"])
        .args([new.node.socket_dir()])
        .args(["-T", "2000000", "-c", "1", "-f"])
        .args([path])
        .args([DATABASE])
        .spawn(&bed)?;
    new.processes.push(storm);
    let script = "\\set id :first + random(0, 99999)\nUPDATE accounts SET balance = balance + 1 WHERE id = :id;\n";
    new.bench("importer", script, &["-c", "2", "-R", "150"])
}
