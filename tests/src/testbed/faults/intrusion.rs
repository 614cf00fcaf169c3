//! Faults that hurt nobody's speed: somebody goes where he never went. Clients, logins and rights are real.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::client::{Worker, connect_as};
use super::{Injected, Undo};
use crate::testbed::cluster::Cluster;
use crate::testbed::postgres::DATABASE;
use crate::testbed::process::Launch;
use crate::testbed::schema::first_key;
use crate::testbed::stop::Stop;

/// Logins tried with a guessed password before the other way is found.
const GUESSES: usize = 6;
/// The password that the escalated role is given.
const SET_PASSWORD: &str = "not-a-secret-any-more";

/// A dump of every shard, by a program that nobody has seen here, read slowly so that no graph of load shows it.
pub(super) fn exfiltration(new: &mut Injected, cluster: &Cluster) -> Result<()> {
    for node in cluster.shards() {
        let bed = Arc::clone(node.bed());
        let dump = bed.host.pg_bin.join("pg_dump");
        let (address, port) = (&node.address, node.port);
        // Some 600 kB a second; the next dump begins when one ends.
        let script = format!(
            "while :; do {} -U app -h {address} -p {port} {DATABASE} | \
             while [ \"$(head -c 65536 | wc -c)\" -gt 0 ]; do sleep 0.1; done; sleep 0.2; done",
            dump.display()
        );
        let process = Launch::new(&format!("dump of {}", node.name), "/bin/sh")
            .args(["-c", &script])
            .env(
                "PGPASSFILE",
                bed.dir.join("secrets/pgpass").display().to_string(),
            )
            .spawn(&bed)?;
        new.processes.push(process);
    }
    Ok(())
}

/// The billing service, which only ever asks the coordinator, begins to ask one shard itself.
pub(super) fn lateral(new: &mut Injected) -> Result<()> {
    let script = format!(
        "\\set id {} + random(0, 999)\nSELECT balance FROM accounts WHERE id = :id;\n",
        first_key(new.node.number)
    );
    new.bench("billing", &script, &["-c", "2", "-R", "5"])
}

/// The reporting service guesses an administrator's password, then has an old helper with too many rights grant it the role, and
/// uses it.
pub(super) fn escalation(new: &mut Injected) -> Result<()> {
    new.undo.push(Undo::Sql(
        "REVOKE dba FROM reports; ALTER ROLE dba PASSWORD NULL",
    ));
    let node = Arc::clone(&new.node);
    let worker = Worker::start_async(move |stop| async move {
        for guess in 0..GUESSES {
            let wrong = format!("guess-{guess}");
            let answer = connect_as(&node, "dba", &wrong, "reports").await;
            ensure!(answer.is_err(), "a guessed password was right");
            rest(&stop, Duration::from_millis(500)).await;
        }
        let secret = node.password("reports")?;
        let reports = connect_as(&node, "reports", &secret, "reports").await?;
        let helped = reports.execute(
            "SELECT renew_access('dba', 'reports', $1)",
            &[&SET_PASSWORD],
        );
        helped.await.context("have the helper grant the role")?;
        let dba = connect_as(&node, "dba", SET_PASSWORD, "reports").await?;
        while !stop.is_set() {
            let taken = dba.query("SELECT rolname, rolpassword FROM pg_authid", &[]);
            taken.await.context("use the role")?;
            rest(&stop, Duration::from_millis(500)).await;
        }
        Ok(())
    })?;
    new.workers.push(worker);
    Ok(())
}

async fn rest(stop: &Stop, time: Duration) {
    if !stop.is_set() {
        tokio::time::sleep(time).await;
    }
}
