//! One worker per receiver: keeps what is due, sends it, tries again. (step 14)
//!
//! In: alerts from the [book](super::book). Out: HTTP calls.
//! Invariants: AL-9 a webhook's messages go out in order, each until it is taken or refused; a full queue drops the
//! oldest and counts it. AL-10 an Alertmanager is always told the newest state, so nothing can pile up.
//! Limits: [`QUEUE_MAX`] messages per webhook; back-off 1 s doubling to 60 s.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::client::{Client, Outcome};
use super::config::{Alertmanager, Webhook};

/// Messages that wait for one webhook.
pub(super) const QUEUE_MAX: usize = 256;
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What one receiver has been through.
#[derive(Debug, Default)]
pub struct Receiver {
    /// `webhook-0`, `alertmanager-1`: kind and place in the config; holds no URL.
    pub name: String,
    /// Messages taken by the receiver.
    pub sent: AtomicU64,
    /// Tries that failed and are tried again.
    pub retried: AtomicU64,
    /// Messages refused (4xx).
    pub refused: AtomicU64,
    /// Messages dropped because the queue was full.
    pub dropped: AtomicU64,
    /// Messages that wait now.
    pub waiting: AtomicU64,
}

impl Receiver {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }
}

/// Where and how to post.
#[derive(Debug, Clone)]
pub(super) struct Target {
    url: Option<String>,
    url_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    timeout: Duration,
}

impl Target {
    pub(super) fn of_webhook(webhook: &Webhook) -> Self {
        Self {
            url: webhook.url.clone(),
            url_file: webhook.url_file.clone(),
            token_file: webhook.bearer_token_file.clone(),
            timeout: Duration::from_secs(webhook.timeout_s),
        }
    }

    pub(super) fn of_alertmanager(manager: &Alertmanager) -> Self {
        let base = manager.url.trim_end_matches('/');
        Self {
            url: Some(format!("{base}/api/v2/alerts")),
            url_file: None,
            token_file: manager.bearer_token_file.clone(),
            timeout: Duration::from_secs(manager.timeout_s),
        }
    }

    async fn post(&self, client: &Client, body: Bytes) -> Outcome {
        match self.resolve().await {
            Ok((url, token)) => {
                client
                    .post(&url, token.as_deref(), body, self.timeout)
                    .await
            }
            // A secret that is being rotated may be away for a moment.
            Err(error) => Outcome::Again(format!("{error:#}")),
        }
    }

    async fn resolve(&self) -> anyhow::Result<(String, Option<String>)> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => secret(path).await?,
            (None, None) => anyhow::bail!("neither url nor url_file is set"),
        };
        let token = match &self.token_file {
            Some(path) => Some(secret(path).await?),
            None => None,
        };
        Ok((url, token))
    }
}

async fn secret(path: &PathBuf) -> anyhow::Result<String> {
    let text = tokio::fs::read_to_string(path)
        .await
        .with_context(|| format!("read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Messages that wait for a webhook.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: std::sync::Mutex<VecDeque<Bytes>>,
    has_more: Notify,
}

impl Queue {
    pub(super) fn push(&self, body: Bytes, receiver: &Receiver) {
        let mut waiting = self.lock();
        if waiting.len() >= QUEUE_MAX {
            waiting.pop_front();
            let total = receiver.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(
                receiver = receiver.name,
                total,
                "alert queue full: dropped the oldest message"
            );
        }
        waiting.push_back(body);
        receiver
            .waiting
            .store(waiting.len() as u64, Ordering::Relaxed);
        drop(waiting);
        self.has_more.notify_one();
    }

    /// For what is only worth sending when nothing else waits: the watchdog.
    pub(super) fn push_if_empty(&self, body: Bytes, receiver: &Receiver) {
        let is_empty = self.lock().is_empty();
        if is_empty {
            self.push(body, receiver);
        }
    }

    fn pop(&self, receiver: &Receiver) -> Option<Bytes> {
        let mut waiting = self.lock();
        let body = waiting.pop_front();
        receiver
            .waiting
            .store(waiting.len() as u64, Ordering::Relaxed);
        body
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Bytes>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a receiver's log lines say beside the reason.
struct Words {
    refused: &'static str,
    again: &'static str,
}

/// Counts an attempt; true when there is nothing more to try, else it has waited `pause`, which grows.
async fn is_settled(
    receiver: &Receiver,
    outcome: Outcome,
    pause: &mut Duration,
    words: &Words,
) -> bool {
    match outcome {
        Outcome::Done => {
            receiver.sent.fetch_add(1, Ordering::Relaxed);
            true
        }
        Outcome::Refused(why) => {
            receiver.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(receiver = receiver.name, why, "{}", words.refused);
            true
        }
        Outcome::Again(why) => {
            receiver.retried.fetch_add(1, Ordering::Relaxed);
            let pause_s = pause.as_secs();
            tracing::warn!(receiver = receiver.name, why, pause_s, "{}", words.again);
            tokio::time::sleep(*pause).await;
            *pause = (*pause * 2).min(BACKOFF_MAX);
            false
        }
    }
}

/// Delivers a webhook's queue for ever; ends by being dropped.
pub(super) async fn run_webhook(
    client: Client,
    target: Target,
    queue: Arc<Queue>,
    receiver: Arc<Receiver>,
) {
    let words = Words {
        refused: "alert refused: check the receiver's URL and token",
        again: "alert not delivered, will try again",
    };
    loop {
        let Some(body) = queue.pop(&receiver) else {
            queue.has_more.notified().await;
            continue;
        };
        let mut pause = BACKOFF_FIRST;
        loop {
            let outcome = target.post(&client, body.clone()).await;
            if is_settled(&receiver, outcome, &mut pause, &words).await {
                break;
            }
        }
    }
}

/// Tells an Alertmanager the newest state whenever it changes; the body is built anew by `bodies`.
pub(super) async fn run_alertmanager(
    client: Client,
    target: Target,
    mut bodies: watch::Receiver<Bytes>,
    receiver: Arc<Receiver>,
) {
    let words = Words {
        refused: "alerts refused: check the Alertmanager's URL",
        again: "alerts not pushed, will try again",
    };
    while bodies.changed().await.is_ok() {
        let mut pause = BACKOFF_FIRST;
        loop {
            let body = bodies.borrow_and_update().clone();
            if body.is_empty() {
                break;
            }
            let outcome = target.post(&client, body).await;
            if is_settled(&receiver, outcome, &mut pause, &words).await {
                break;
            }
        }
    }
}
