//! Health, readiness, version: for machines that watch the watcher. (step 15)

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Parts;
use super::guard::Stranger;
use crate::alerts::wall_now;
use crate::shared::Snapshot;

/// A snapshot older than this: the driver hangs.
const SNAPSHOT_STALE_S: i64 = 15;

/// `GET /healthz`: the process answers.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 when detection works and data is kept, else 503 with the reasons.
pub(super) async fn ready(
    State(parts): State<Parts>,
    stranger: Option<Extension<Stranger>>,
) -> Response {
    let reasons = unready(&parts.shared.snapshot.borrow());
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = if stranger.is_some() {
        json!({ "ready": reasons.is_empty() })
    } else {
        json!({ "ready": reasons.is_empty(), "reasons": reasons })
    };
    (status, Json(body)).into_response()
}

/// Why the aggregator is not ready; empty when it is.
pub(super) fn unready(snapshot: &Snapshot) -> Vec<String> {
    let mut reasons = Vec::new();
    let age_s = wall_now().window() - snapshot.wall.window();
    if snapshot.wall.0 != 0 && age_s > SNAPSHOT_STALE_S {
        reasons.push(format!(
            "the engine has not moved for {age_s} s: see the aggregator's log"
        ));
    }
    if !snapshot.is_replayed {
        reasons.push("reading stored summaries back".to_owned());
    }
    if let Some(trouble) = &snapshot.store.trouble {
        reasons.push(format!("store: {trouble}"));
    }
    if !snapshot.armed.is_armed {
        if snapshot.armed.reasons.is_empty() {
            reasons.push("no agent has reported yet".to_owned());
        }
        reasons.extend(snapshot.armed.reasons.iter().cloned());
    }
    reasons
}

/// `GET /version`.
pub(super) async fn version() -> impl IntoResponse {
    Json(json!({
        "program": "hsw-aggregator",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("HSW_COMMIT").unwrap_or("unknown"),
    }))
}
