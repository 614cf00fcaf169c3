//! Web: the HTTP API and the page. (step 15)
//!
//! In: snapshots, questions to the engine, silences. Out: JSON, Prometheus text, server-sent events, one page.
//! Invariants: WE-1 without a token nothing but health and the empty page is served, unless bound to loopback, and there
//! only to requests whose `Host` is a loopback name (DNS rebinding). WE-2 nothing external is loaded: the page works
//! air-gapped. WE-3 a slow or hostile client costs one of [`Config::connections_max`] places and no more.
//! Limits: bodies 64 KiB (a file of causes 16 MiB), requests 15 s, headers 10 s, series answers `series::NODES_MAX` × `series::POINTS_MAX`.
//! Does not: TLS (put a proxy in front), touch the engine (see `driver`).

mod api;
mod events;
mod form;
mod guard;
mod hot;
mod listen;
mod metrics;
mod page;
mod probes;
mod recording;
mod series;
mod triggers;
mod weights;
mod why;

#[cfg(test)]
pub(crate) mod demo;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use hsw_shell::tls::Identity;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::alerts;
use crate::shared::Shared;
use guard::Guard;

pub use listen::serve;

/// Section `[web]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port. `127.0.0.1:8080` by default; any other than a loopback address needs `token_file`.
    pub listen: SocketAddr,
    /// File with the bearer token of API and page, at least 16 characters. None by default.
    pub token_file: Option<PathBuf>,
    /// Host names, beside the loopback ones, that requests may name while bound to loopback: those of a proxy in front.
    pub hosts: Vec<String>,
    /// Connections at one time, 8 to 10,000; more wait. 256 by default.
    pub connections_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token_file: None,
            hosts: Vec::new(),
            connections_max: 256,
        }
    }
}

/// What the handlers read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Snapshot, store, engine, counters.
    pub shared: Shared,
    /// The silences, the same handle that the alerts use.
    pub silences: alerts::Silences,
    /// Counters of the alerts.
    pub alerts: Arc<alerts::Stats>,
    /// The aggregator's certificate, for its expiry; `None` in tests.
    pub identity: Option<Arc<Identity>>,
}

/// A bound socket with its checked rules, ready for [`serve`].
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    guard: Arc<Guard>,
    connections_max: usize,
}

impl Bound {
    /// Where it listens; useful when port 0 was asked for.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Reads the token, checks the config and binds.
///
/// # Errors
/// One line that names the key and the remedy.
pub async fn bind(config: &Config) -> anyhow::Result<Bound> {
    anyhow::ensure!(
        (8..=10_000).contains(&config.connections_max),
        "web.connections_max: 8 to 10000"
    );
    let guard = Guard::new(config)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen on web.listen {}", config.listen))?;
    Ok(Bound {
        listener,
        guard: Arc::new(guard),
        connections_max: config.connections_max,
    })
}

/// Every route, behind the guard.
fn router(parts: Parts, guard: Arc<Guard>) -> Router {
    let api = Router::new()
        .route("/shards", get(api::shards))
        .route("/incidents", get(api::incidents))
        .route("/incidents/{id}", get(api::incident))
        .route("/graph", get(api::graph))
        .route("/series", get(series::series))
        .route("/series/names", get(series::names))
        .route("/hot", get(hot::hot))
        .route("/agents", get(api::agents))
        .route("/silences", get(api::silences).post(api::add_silence))
        .route("/silences/{id}", delete(api::remove_silence))
        .route("/incidents/{id}/accept", post(api::accept))
        .route("/weights", get(weights::show))
        .route("/weights/propose", post(weights::propose))
        .route("/weights/label", post(weights::label))
        .route("/incidents/{id}/feedback", post(why::give_feedback))
        .route("/why", post(why::why))
        .route(
            "/causes",
            get(why::causes)
                .put(why::put_causes)
                .layer(DefaultBodyLimit::max(why::CAUSES_BYTES_MAX)),
        )
        .route("/triggers", get(triggers::list).post(triggers::add))
        .route("/triggers/{name}", delete(triggers::remove))
        .route("/recording", get(recording::recording))
        .route("/events", get(events::events));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(probes::health))
        .route("/-/healthy", get(probes::health))
        .route("/readyz", get(probes::ready))
        .route("/-/ready", get(probes::ready))
        .route("/version", get(probes::version))
        .route("/metrics", get(metrics::metrics))
        .merge(page::routes())
        .fallback(api::no_such_page)
        .layer(DefaultBodyLimit::max(64 << 10))
        .layer(axum::middleware::from_fn_with_state(guard, guard::check))
        .with_state(parts)
}
