//! The aggregator put together; main and the tests start the same. (steps 6–15)
//!
//! In: a checked [`Config`]. Out: a running [`Service`]. Invariants: SV-1 it ends in order: ingest, store (commits what
//! came and what the driver hands over), driver. Does not: listen to signals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use hsw_engine::Engine;
use hsw_shell::tls::{self, Identity};
use hsw_shell::{Seldom, Shutdown};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::driver::{self, Driver};
use crate::inference;
use crate::ingest::{self, Agents, Ingest};
use crate::shared::{Counters, DriverHandle, Shared, Snapshot};
use crate::store::{self, Store, StoreHandle};
use crate::triggers::Triggers;

/// Batches the store may be ahead of the driver.
const COMMITTED_QUEUE: usize = 64;

/// Questions that may wait.
const QUESTION_QUEUE: usize = 64;

/// A running aggregator.
#[derive(Debug)]
pub struct Service {
    /// What web and alerts need.
    pub shared: Shared,
    /// Where agents connect.
    pub listening: SocketAddr,
    /// The aggregator's certificate, for its expiry.
    pub identity: Arc<Identity>,
    parts: ServiceParts,
}

/// What must be waited for at the end.
#[derive(Debug)]
pub struct ServiceParts {
    stop: watch::Sender<bool>,
    ingest: JoinHandle<()>,
    driver: mpsc::Sender<driver::Event>,
    feed: JoinHandle<()>,
    store: StoreHandle,
    store_thread: thread::JoinHandle<()>,
    driver_thread: thread::JoinHandle<()>,
}

impl Service {
    /// Opens the store, binds the socket, starts everything but web and alerts.
    ///
    /// # Errors
    /// One line that names the file or the address and the remedy.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let map = config.shard_map()?;
        let identity = identity(config)?;
        let counters = Arc::new(Counters::default());
        let store = Store::open(
            &config.data_dir,
            config.store.clone(),
            Arc::clone(&counters),
        )?;
        let triggers = Triggers::new(config, store.life());
        let endpoint = ingest::bind(config.listen, &config.ingest, &identity)?;
        let listening = endpoint.local_addr().context("ask for the address")?;

        let (committed, from_store) = mpsc::channel(COMMITTED_QUEUE);
        let running = store::start(store, committed)?;
        let (events, wakes) = mpsc::channel(driver::QUEUE);
        let (questions, asked) = mpsc::channel(QUESTION_QUEUE);
        let (snapshot, snapshots) = watch::channel(Arc::new(Snapshot::default()));
        let (incidents, _) = broadcast::channel(driver::INCIDENT_EVENTS);
        let agents = Arc::new(Agents::default());
        let scorer = inference::start(&config.inference, events.clone())?;
        let driver_thread = driver::start(
            Driver {
                engine: Engine::new(inference::engine(config, &scorer)?, map.clone()),
                config: inference::engine(config, &scorer)?,
                triggers,
                scorer,
                cluster: config.cluster.clone(),
                agents: Arc::clone(&agents),
                store: running.handle.clone(),
                store_status: running.status,
                snapshot,
                incidents: incidents.clone(),
                counters: Arc::clone(&counters),
                events: events.downgrade(),
            },
            wakes,
        )?;
        let feed = tokio::spawn(driver::feed(from_store, asked, events.clone()));
        let (stop, stopping) = Shutdown::manual();
        tokio::spawn(tls::watch(Arc::clone(&identity), stopping.clone()));
        let ingest = Arc::new(Ingest {
            config: config.ingest.clone(),
            map,
            store: running.handle.clone(),
            driver: events.clone(),
            agents,
            counters: Arc::clone(&counters),
            strangers: Seldom::default(),
            refused: Seldom::default(),
            unreadable: Seldom::default(),
        });
        Ok(Self {
            shared: Shared {
                snapshot: snapshots,
                incidents,
                driver: DriverHandle::new(questions),
                store: running.handle.clone(),
                counters,
            },
            listening,
            identity,
            parts: ServiceParts {
                stop,
                ingest: tokio::spawn(ingest::serve(endpoint, ingest, stopping)),
                driver: events,
                feed,
                store: running.handle,
                store_thread: running.thread,
                driver_thread,
            },
        })
    }

    /// Stops in order and waits: nothing new, commit what came, the last incidents.
    ///
    /// # Errors
    /// When a part had panicked.
    pub async fn stop(self) -> anyhow::Result<()> {
        let parts = self.parts;
        parts.stop.send_replace(true);
        parts.ingest.await.context("stop ingest")?;
        let (done, saved) = oneshot::channel();
        if parts
            .driver
            .send(driver::Event::Save { done })
            .await
            .is_ok()
        {
            let _ended_either_way = saved.await;
        }
        parts.store.close().await;
        parts.feed.await.context("stop the feed")?;
        tokio::task::spawn_blocking(move || {
            let store = parts.store_thread.join();
            let driver = parts.driver_thread.join();
            store.and(driver)
        })
        .await
        .context("wait for the threads")?
        .map_err(|_| anyhow::anyhow!("a thread of the aggregator had panicked: see the log"))
    }

    /// Whether store and driver still run; both must, or the process should end and be started anew.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.parts.store_thread.is_finished() && !self.parts.driver_thread.is_finished()
    }
}

fn identity(config: &Config) -> anyhow::Result<Arc<Identity>> {
    Identity::load(&config.tls.cert, &config.tls.key, &config.tls.ca)
        .map(Arc::new)
        .context("load the aggregator's identity ([tls])")
}
