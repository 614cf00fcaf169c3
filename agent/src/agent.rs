//! The agent's life: start everything, then stop it in order. (steps 1–5)
//!
//! In: a checked configuration. Out: nothing until it has stopped.
//! Invariants: AG-3 stopping goes sources → last window → spool on disk → ship until grace → exit. AG-4 nothing is shipped
//! under a name the certificate does not hold.
//! Does not: parse arguments or set up logging (see `main`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hsw_pipeline::Pipeline;
use hsw_shell::tls::Identity;
use hsw_shell::{Shutdown, Signals, systemd, tls};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
use crate::driver::{self, Driver};
use crate::report::Report;
use crate::shipper::{self, Shipper};
use crate::spool::Spool;
use crate::wiring;

/// After this the process ends even if the aggregator or the disk hangs.
const STOP_MAX: Duration = Duration::from_secs(8);

/// Reads the identity and holds it against the configured name.
///
/// # Errors
/// One line that names the file or the key.
pub fn identity(config: &Config) -> anyhow::Result<Arc<Identity>> {
    let tls = &config.tls;
    let identity = Identity::load(&tls.cert, &tls.key, &tls.ca)?;
    let named = identity.node();
    anyhow::ensure!(
        named.as_str() == config.node,
        "node = `{}`, but the certificate {} names `{named}`: change one of them",
        config.node,
        tls.cert.display()
    );
    Ok(Arc::new(identity))
}

/// Runs until a signal asks to stop.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config, signals: Signals) -> anyhow::Result<()> {
    let clock = Clock::start();
    let identity = identity(&config)?;
    let (spool, recovered) = Spool::open(&config.spool_dir(), config.spool.clone())?;
    let pipeline = Pipeline::new(hsw_pipeline::Config {
        windows_per_summary: 2,
        n_series_max: 2_000,
        repeat_after: 150,
        n_log_samples_max: 5,
        dictionary_epoch: clock.wall().0.cast_unsigned(),
        last_window: recovered.last_window,
    });

    let host = driver::host_facts(&config.shard, &config.cluster);
    let (driver, driven) = Driver::new(pipeline, spool.clone(), clock, host);
    let aggregator = config.aggregator.clone();
    let (shipper, shipped) = Shipper::new(aggregator, Arc::clone(&identity), spool.clone(), clock);
    let report = Report::new(driven, shipped, spool.clone(), Arc::clone(&identity));

    let (sink, events) = mpsc::channel(driver::N_EVENTS_MAX);
    let (stop_shipper, shipper_stop) = Shutdown::manual();
    let Signals {
        shutdown, reload, ..
    } = signals;
    let read = wiring::Config {
        postgres: config.postgres.clone(),
        instance: config.instance.clone(),
        log: config.log.clone(),
    };
    let wires = wiring::Wires {
        sink: sink.clone(),
        shutdown: shutdown.clone(),
        checkpoint: recovered.checkpoint,
    };
    let sources = wiring::spawn(read, &wires);
    drop(wires);
    tokio::spawn(tls::watch(Arc::clone(&identity), shutdown.clone()));
    tokio::spawn(reload_on(reload, identity));
    tokio::spawn(report.run(shutdown.clone()));
    let driving = tokio::spawn(driver.run(events, shutdown.clone()));
    let shipping = tokio::spawn(shipper.run(shipper_stop));
    tracing::info!(
        node = config.node,
        aggregator = config.aggregator.address,
        sources = sources.len(),
        version = env!("CARGO_PKG_VERSION"),
        "agent started"
    );
    systemd::ready("watching");

    let mut stopping = shutdown;
    stopping.requested().await;
    systemd::stopping();
    // The driver ends when every source has let go of its sink, and so must we.
    drop(sink);
    let in_order = async {
        for source in sources {
            let _ = source.await;
        }
        driving.await.context("driver")?;
        spool.settled().await;
        stop_shipper.send_replace(true);
        shipping.await.context("shipper")?;
        spool.close().await;
        anyhow::Ok(())
    };
    timeout(STOP_MAX, in_order)
        .await
        .context("could not stop in order in time: what is on disk is safe")??;
    tracing::info!("stopped");
    Ok(())
}

/// `hsw-agent check`: what would keep the agent from working, beyond its configuration.
///
/// # Errors
/// One line for the first thing that is wrong.
pub async fn check(config: &Config) -> anyhow::Result<String> {
    let identity = identity(config)?;
    let folder = &config.state_dir;
    tempfile_in(folder).with_context(|| {
        format!(
            "state_dir {} cannot be written by this user",
            folder.display()
        )
    })?;
    shipper::probe(&config.aggregator, &identity).await?;
    Ok(format!(
        "certificate good for {} days, {} writable, aggregator {} answers",
        identity.cert_expiry() / 86_400,
        folder.display(),
        config.aggregator.address
    ))
}

fn tempfile_in(folder: &std::path::Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".check-{}", std::process::id()));
    std::fs::write(&probe, b"x")?;
    std::fs::remove_file(probe)
}

/// SIGHUP: the certificate at once instead of within seconds.
async fn reload_on(mut reload: watch::Receiver<u64>, identity: Arc<Identity>) {
    while reload.changed().await.is_ok() {
        match identity.reload_if_changed() {
            Ok(changed) => tracing::info!(changed, "certificate looked at"),
            Err(why) => tracing::warn!(
                error = format!("{why:#}"),
                "certificate is unusable, the old one stays in force"
            ),
        }
    }
}
