//! Faults that clients cause: locks, logins, deadlocks, runaway queries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Injected;
use super::client::{Worker, connect, until_stopped};
use crate::testbed::schema::{HOT_ROWS, first_key};

/// How long the holder may take to get its locks.
const LOCKED_WITHIN: Duration = Duration::from_secs(20);
/// Clients that queue directly at the shard, besides the steady load.
const WAITERS: &str = "10";
/// One held session is dropped per this many refusals, so that sessions come and go at the limit.
const CHURN: u64 = 20;

/// A batch job takes the locks of the rows that most updates hit and then thinks.
pub(super) fn lock_storm(new: &mut Injected) -> Result<()> {
    let node = Arc::clone(&new.node);
    let (sender, locked) = mpsc::channel();
    let worker = Worker::start_async(move |stop| async move {
        let client = connect(&node, "nightly-batch").await?;
        let first = first_key(node.number);
        // Locks do not travel to foreign tables, so the coordinator's whole table is locked there.
        let lock = if node.number == 0 {
            "BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE".to_owned()
        } else {
            format!(
                "BEGIN; UPDATE accounts SET region = region WHERE id < {}",
                first + HOT_ROWS
            )
        };
        client
            .batch_execute(&lock)
            .await
            .context("take the locks")?;
        let _ = sender.send(());
        until_stopped(&stop).await;
        client
            .batch_execute("ROLLBACK")
            .await
            .context("give the locks back")
    })?;
    new.workers.push(worker);
    if locked.recv_timeout(LOCKED_WITHIN).is_err() {
        return match new.workers.pop().filter(Worker::ended) {
            Some(worker) => worker.end(),
            None => Err(anyhow::anyhow!("the locks are not to be had")),
        };
    }
    let script = format!(
        "\\set id :first + random(0, {HOT_ROWS} - 1)\nUPDATE accounts SET balance = balance + 1 WHERE id = :id;\n"
    );
    new.bench("stock-sync", &script, &["-c", WAITERS, "-R", "40"])
}

/// A client pool without a limit: it keeps what it gets, drops some, and asks again and again.
pub(super) fn connection_storm(new: &mut Injected) -> Result<()> {
    let node = Arc::clone(&new.node);
    let worker = Worker::start_async(move |stop| async move {
        let mut held = VecDeque::new();
        let mut refused = 0_u64;
        while !stop.is_set() {
            match connect(&node, "runaway-pool").await {
                Ok(client) => held.push_back(client),
                Err(_) => {
                    refused += 1;
                    if refused.is_multiple_of(CHURN) {
                        held.pop_front();
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    })?;
    new.workers.push(worker);
    Ok(())
}

/// Two sessions change the same few rows in different order.
pub(super) fn deadlocks(new: &mut Injected) -> Result<()> {
    let script = "\\set a :first + random(0, 5)\n\\set b :first + random(0, 5)\nBEGIN;\n\
        UPDATE accounts SET balance = balance + 1 WHERE id = :a;\n\\sleep 20 ms\n\
        UPDATE accounts SET balance = balance - 1 WHERE id = :b;\nEND;\n";
    new.bench("transfers", script, &["-c", "8", "-R", "60"])
}

/// Sorts of some hundred thousand rows, three at a time: more than the work memory, little enough for the disk.
pub(super) fn slow_query(new: &mut Injected) -> Result<()> {
    let script = "SELECT count(*) FROM (SELECT a.note || a.id AS x FROM accounts a, generate_series(1, 6) b ORDER BY md5(a.note || b || a.id)) s;\n";
    new.bench("analyst", script, &["-c", "3"])
}
