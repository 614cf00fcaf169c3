//! Alerts: incidents and fired triggers to people, by webhook and by Alertmanager. (step 14)
//!
//! In: snapshots of the incidents, silences. Out: HTTP calls to every configured receiver, counters.
//! Invariants: AL-11 alerts read the state, not the events: an event that is lost delays a message by a second at most,
//! it never loses one. AL-12 the watchdog is sent only while snapshots are fresh: it proves the whole way, not this task.
//! Limits: see `worker`, [`silence`]. Does not: decide what is an incident.

mod book;
mod client;
mod config;
mod fired;
mod message;
pub mod silence;
mod worker;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hsw_types::WallTime;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use config::{Alertmanager, Config, Webhook};
pub use message::{
    Alert, INCIDENT_ALERT, INTRUSION_ALERT, Sender, TRIGGER_ALERT, WATCHDOG_ALERT, severity,
};
pub use silence::{Matcher, Op, Silence, SilenceError, SilenceSpec};
pub use worker::Receiver;

use crate::shared::{Shared, Snapshot};
use crate::store::StoreHandle;
use book::Book;
use client::Client;
use fired::Fired;
use worker::{Queue, Target};

/// What fires is repeated to Alertmanager so often …
const REPEAT: Duration = Duration::from_secs(60);
/// … and ends so long after the newest repetition (five missed ones).
const FIRING_FOR_S: i64 = 300;
/// Silences are read from the store so often, beside each change made here.
const SILENCES_EVERY: Duration = Duration::from_secs(10);
/// A snapshot older than this means that the aggregator no longer works.
const SNAPSHOT_STALE_S: i64 = 30;

/// The silences in force, shared by alerts and web. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Silences {
    list: Arc<watch::Sender<Arc<Vec<Silence>>>>,
    store: StoreHandle,
}

impl Silences {
    /// Empty until the first [`Self::refresh`].
    #[must_use]
    pub fn new(store: StoreHandle) -> Self {
        Self {
            list: Arc::new(watch::Sender::new(Arc::default())),
            store,
        }
    }

    /// Those known now.
    #[must_use]
    pub fn list(&self) -> Arc<Vec<Silence>> {
        Arc::clone(&self.list.borrow())
    }

    /// Reads them from the store; on trouble the last known ones stay.
    pub async fn refresh(&self) {
        match self.store.silences().await {
            Ok(rows) => {
                let read = rows.iter().filter_map(|row| {
                    Silence::of_stored(row)
                        .inspect_err(|error| {
                            tracing::warn!(id = row.id, %error, "a stored silence does not read: it is ignored");
                        })
                        .ok()
                });
                let list: Vec<_> = read.collect();
                self.list.send_replace(Arc::new(list));
            }
            Err(error) => {
                tracing::warn!(%error, "silences cannot be read: the last known ones stay")
            }
        }
    }

    /// A task of its own: a store that hangs must not hold alerts up.
    async fn keep_fresh(self) {
        let mut due = tokio::time::interval(SILENCES_EVERY);
        loop {
            due.tick().await;
            self.refresh().await;
        }
    }

    /// Checks, stores and puts in force; returns its id.
    ///
    /// # Errors
    /// [`SilenceError`] inside when refused, else the store's trouble.
    pub async fn add(&self, spec: SilenceSpec) -> anyhow::Result<i64> {
        let now = wall_now();
        anyhow::ensure!(
            self.list().len() < silence::SILENCES_MAX,
            "there are {} silences already: remove one first",
            silence::SILENCES_MAX
        );
        let checked = Silence::new(0, spec, now)?;
        let id = self.store.add_silence(checked.to_stored(now)).await?;
        self.refresh().await;
        Ok(id)
    }

    /// Removes one; false when there is none.
    ///
    /// # Errors
    /// The store's trouble.
    pub async fn remove(&self, id: i64) -> anyhow::Result<bool> {
        let was_there = self.store.remove_silence(id).await?;
        self.refresh().await;
        Ok(was_there)
    }
}

/// Counters of the alerts, for `/metrics`.
#[derive(Debug, Default)]
pub struct Stats {
    /// One per receiver, in the config's order: webhooks, then Alertmanagers.
    pub receivers: Vec<Arc<Receiver>>,
    /// Messages kept back by silences.
    pub suppressed: AtomicU64,
}

/// The alerts, ready to [run](Self::run).
#[derive(Debug)]
pub struct Alerts {
    config: Config,
    client: Client,
    stats: Arc<Stats>,
}

impl Alerts {
    /// Checks the config and reads the CA file.
    ///
    /// # Errors
    /// One line that names the key and the remedy.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let client = Client::new(config.ca_file.as_deref())?;
        let hooks = (0..config.webhook.len()).map(|at| format!("webhook-{at}"));
        let managers = (0..config.alertmanager.len()).map(|at| format!("alertmanager-{at}"));
        let stats = Stats {
            receivers: hooks
                .chain(managers)
                .map(|name| Arc::new(Receiver::new(name)))
                .collect(),
            suppressed: AtomicU64::new(0),
        };
        Ok(Self {
            config,
            client,
            stats: Arc::new(stats),
        })
    }

    /// Counters, for `/metrics`.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Tells everybody until the snapshots end or the future is dropped (at shutdown).
    pub async fn run(self, shared: Shared, silences: Silences) {
        let mut snapshots = shared.snapshot.clone();
        let first = Arc::clone(&snapshots.borrow());
        let sender = Sender {
            cluster: first.cluster.clone(),
            external_url: self.config.external_url.trim_end_matches('/').to_owned(),
        };
        let mut round = Round {
            book: Book::new(sender.clone(), started_of(&first)),
            fired: Fired::new(sender.clone(), started_of(&first)),
            watchdog: Alert::watchdog(&sender, started_of(&first)),
            sender,
            outlets: Outlets::start(&self),
            config: self.config,
            stats: self.stats,
        };
        let every = Duration::from_secs(round.config.watchdog_interval_s.max(1));
        let mut watchdog = tokio::time::interval(every);
        let mut repeat = tokio::time::interval(REPEAT);
        let mut readers = JoinSet::new();
        readers.spawn(silences.clone().keep_fresh());
        loop {
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let snapshot = Arc::clone(&snapshots.borrow_and_update());
                    round.look(&snapshot, &silences.list());
                }
                _ = watchdog.tick() => round.bark(&snapshots.borrow()),
                _ = repeat.tick() => round.push(),
            }
        }
    }
}

/// What one pass of the loop works on.
struct Round {
    book: Book,
    fired: Fired,
    sender: Sender,
    watchdog: Alert,
    outlets: Outlets,
    config: Config,
    stats: Arc<Stats>,
}

impl Round {
    fn look(&mut self, snapshot: &Snapshot, silences: &[Silence]) {
        // Before the replay is over an old incident may look open that closed while we were away.
        if !snapshot.is_replayed {
            return;
        }
        let now = wall_now();
        let mut due = self.book.reconcile(now, &snapshot.incidents, silences);
        due.extend(self.fired.reconcile(now, &snapshot.triggers, silences));
        let n_suppressed = self.book.n_suppressed() + self.fired.n_suppressed();
        self.stats.suppressed.store(n_suppressed, Ordering::Relaxed);
        if due.is_empty() {
            return;
        }
        for alert in &due {
            let body = Bytes::from(alert.webhook_body(&self.sender));
            for (hook, config) in self.outlets.hooks.iter().zip(&self.config.webhook) {
                if alert.ends_at.is_none() || config.send_resolved {
                    hook.queue.push(body.clone(), &hook.receiver);
                }
            }
        }
        self.push();
    }

    /// Tells every Alertmanager all that stands.
    fn push(&self) {
        let now = wall_now();
        let alerts = self.standing(now);
        if !alerts.is_empty() {
            self.push_these(&alerts, now);
        }
    }

    fn standing(&self, now: WallTime) -> Vec<Alert> {
        let mut alerts = self.book.standing(now);
        alerts.extend(self.fired.standing(now));
        alerts
    }

    fn bark(&self, snapshot: &Snapshot) {
        let now = wall_now();
        let is_fresh = now.window() - snapshot.wall.window() <= SNAPSHOT_STALE_S;
        if self.config.watchdog_interval_s == 0 || !is_fresh {
            return;
        }
        let body = Bytes::from(self.watchdog.webhook_body(&self.sender));
        for (hook, config) in self.outlets.hooks.iter().zip(&self.config.webhook) {
            if config.send_watchdog {
                hook.queue.push_if_empty(body.clone(), &hook.receiver);
            }
        }
        let mut alerts = self.standing(now);
        alerts.push(self.watchdog.clone());
        self.push_these(&alerts, now);
    }

    fn push_these(&self, alerts: &[Alert], now: WallTime) {
        let until = WallTime::from_unix_seconds(now.window().0 + FIRING_FOR_S);
        let body = Bytes::from(message::push_body(alerts, until));
        self.outlets.bodies.send_replace(body);
    }
}

struct Hook {
    queue: Arc<Queue>,
    receiver: Arc<Receiver>,
}

/// Ways out: one task per receiver; dropping it ends them.
struct Outlets {
    hooks: Vec<Hook>,
    bodies: watch::Sender<Bytes>,
    _tasks: JoinSet<()>,
}

impl Outlets {
    fn start(alerts: &Alerts) -> Self {
        let mut tasks = JoinSet::new();
        let (hooks_of, managers_of) = alerts.stats.receivers.split_at(alerts.config.webhook.len());
        let mut hooks = Vec::new();
        for (config, receiver) in alerts.config.webhook.iter().zip(hooks_of) {
            let queue = Arc::new(Queue::default());
            tasks.spawn(worker::run_webhook(
                alerts.client.clone(),
                Target::of_webhook(config),
                Arc::clone(&queue),
                Arc::clone(receiver),
            ));
            hooks.push(Hook {
                queue,
                receiver: Arc::clone(receiver),
            });
        }
        let bodies = watch::Sender::new(Bytes::new());
        for (config, receiver) in alerts.config.alertmanager.iter().zip(managers_of) {
            tasks.spawn(worker::run_alertmanager(
                alerts.client.clone(),
                Target::of_alertmanager(config),
                bodies.subscribe(),
                Arc::clone(receiver),
            ));
        }
        Self {
            hooks,
            bodies,
            _tasks: tasks,
        }
    }
}

fn started_of(snapshot: &Snapshot) -> WallTime {
    if snapshot.started == WallTime::default() {
        wall_now()
    } else {
        snapshot.started
    }
}

/// The aggregator's clock.
#[must_use]
pub fn wall_now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
