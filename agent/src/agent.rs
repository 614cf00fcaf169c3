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
use hsw_types::WindowIndex;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
use crate::driver::{self, Driver};
use crate::report::Report;
use crate::shipper::{self, Shipper};
use crate::sources::postgres;
use crate::spool::Spool;
use crate::{pace, triggers, wiring};

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
    let pipeline = pipeline(&config, clock, recovered.last_window)?;
    let host = driver::host_facts(&config.shard, &config.cluster);
    let (counting, line) = triggers::line(clock, config.state_dir.join("triggers"));
    let pace = pace::Setter::new(config.landmark.clone());
    let (driver, driven) = Driver::new(pipeline, spool.clone(), clock, host, counting);
    let (shipper, shipped) = Shipper::new(
        config.aggregator.clone(),
        Arc::clone(&identity),
        spool.clone(),
        clock,
        line,
    );
    let report = Report::new(driven, shipped, spool.clone(), Arc::clone(&identity));

    let (sink, events) = mpsc::channel(driver::N_EVENTS_MAX);
    let (stop_shipper, shipper_stop) = Shutdown::manual();
    let Signals {
        shutdown, reload, ..
    } = signals;
    let read = read(&config);
    let wires = wiring::Wires {
        sink: sink.clone(),
        shutdown: shutdown.clone(),
        checkpoint: recovered.checkpoint,
        pace: pace.watch(),
    };
    let sources = wiring::spawn(read, &wires);
    drop(wires);
    tokio::spawn(tls::watch(Arc::clone(&identity), shutdown.clone()));
    tokio::spawn(reload_on(reload, identity));
    tokio::spawn(report.run(shutdown.clone()));
    let driving = tokio::spawn(driver.at_pace(pace.watch()).run(events, shutdown.clone()));
    let shipping = tokio::spawn(shipper.sets(pace).run(shipper_stop));
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

/// What the sources are told.
fn read(config: &Config) -> wiring::Config {
    let mut log = config.log.clone();
    // What the agent itself asks is nobody's load.
    log.own.push(config.postgres.user.clone());
    wiring::Config {
        postgres: config.postgres.clone(),
        instance: config.instance.clone(),
        log,
    }
}

fn pipeline(
    config: &Config,
    clock: Clock,
    last_window: Option<WindowIndex>,
) -> anyhow::Result<Pipeline> {
    Ok(Pipeline::new(hsw_pipeline::Config {
        windows_per_summary: 2,
        n_series_max: 2_000,
        repeat_after: 150,
        n_log_samples_max: 5,
        dictionary_epoch: clock.wall().0.cast_unsigned(),
        tenant: config.hot.tenant_key()?,
        last_window,
    }))
}

/// What `hsw-agent check` found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Everything looked at, for people.
    pub text: String,
    /// What would keep the agent from working, shortest words.
    pub fatal: Vec<String>,
    /// The agent works and sees less than it could: see MISSING in the text.
    pub is_missing: bool,
}

impl Checked {
    fn add<T>(&mut self, what: &str, outcome: &anyhow::Result<T>, fine: impl Fn(&T) -> String) {
        let line = match outcome {
            Ok(found) => format!("  ok       {}", fine(found)),
            Err(why) => {
                self.fatal.push(what.to_owned());
                format!("  FATAL    {what}: {why:#}")
            }
        };
        self.text.push_str(&line);
        self.text.push('\n');
    }
}

/// `hsw-agent check`: what would keep the agent from working, beyond its configuration. Every part is looked at, whatever
/// the others say.
pub async fn check(config: &Config) -> Checked {
    let mut checked = Checked {
        text: format!("Agent of node {}\n", config.node),
        ..Checked::default()
    };
    let identity = identity(config);
    checked.add("certificate", &identity, |identity| {
        let days = identity.cert_expiry() / 86_400;
        format!("certificate good for {days} days")
    });
    let folder = config.state_dir.display();
    let writable = tempfile_in(&config.state_dir).with_context(|| {
        format!(
            "state_dir {folder} cannot be written by this user: make it, or give it to this user"
        )
    });
    checked.add("spool", &writable, |()| format!("{folder} is writable"));
    if let Ok(identity) = &identity {
        let reached = shipper::probe(&config.aggregator, identity).await;
        let address = &config.aggregator.address;
        checked.add("aggregator", &reached, |()| {
            format!("aggregator {address} answers and takes the certificate")
        });
    }
    let database = postgres::check(&config.postgres).await;
    if database.is_fatal() {
        checked.fatal.push("database".to_owned());
    }
    checked.is_missing = database.has(postgres::FindingState::Missing);
    checked.text.push_str(&database.to_string());
    checked
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
