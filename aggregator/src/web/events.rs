//! Live updates: one server-sent event when the state moved, at most every two seconds. (step 15)
//!
//! An event carries no data but a pulse; the page then asks for what it shows. So a page that lags skips states
//! instead of queueing them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use hsw_engine::IncidentState;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Parts;
use super::api::problem;
use crate::shared::Snapshot;

/// Pages that listen at one time; further ones poll.
const LISTENERS_MAX: usize = 128;
const GAP: Duration = Duration::from_secs(2);

static LISTENERS: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(LISTENERS_MAX)));

struct Live {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

/// `GET /api/v1/events`.
pub(super) async fn events(State(parts): State<Parts>) -> Response {
    let Ok(place) = Arc::clone(&LISTENERS).try_acquire_owned() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many live pages: this one polls",
        );
    };
    let live = Live {
        snapshots: parts.shared.snapshot.clone(),
        is_first: true,
        _place: place,
    };
    let stream = futures_util::stream::unfold(live, |mut live| async move {
        if !live.is_first {
            tokio::time::sleep(GAP).await;
            live.snapshots.changed().await.ok()?;
        }
        live.is_first = false;
        let event = pulse(&live.snapshots.borrow_and_update());
        Some((Ok::<_, Infallible>(event), live))
    });
    Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn pulse(snapshot: &Snapshot) -> Event {
    let n_open = snapshot
        .incidents
        .iter()
        .filter(|incident| incident.state == IncidentState::Open)
        .count();
    let data = json!({ "now": snapshot.wall.as_unix_seconds(), "open": n_open });
    Event::default().event("pulse").data(data.to_string())
}
