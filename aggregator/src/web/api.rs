//! The API's handlers: read the snapshot, answer in JSON. (step 15)

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hsw_engine::{Incident, IncidentState};
use hsw_types::WindowIndex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Parts, form, probes, why};
use crate::alerts::{Matcher, SilenceError, SilenceSpec, wall_now};
use crate::shared::Snapshot;

const INCIDENTS_DEFAULT: usize = 50;
const INCIDENTS_MAX: usize = 500;

/// An error as JSON: `{"error": "one line that says what to do"}`.
pub(super) fn problem(status: StatusCode, line: &str) -> Response {
    (status, Json(json!({ "error": line }))).into_response()
}

/// For paths that lead nowhere.
pub(super) async fn no_such_page() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "no such page: the API begins with /api/v1/",
    )
}

fn snapshot(parts: &Parts) -> Arc<Snapshot> {
    Arc::clone(&parts.shared.snapshot.borrow())
}

/// `GET /api/v1/shards`.
pub(super) async fn shards(State(parts): State<Parts>) -> Json<Value> {
    let snapshot = snapshot(&parts);
    Json(json!({
        "now": snapshot.wall.as_unix_seconds(),
        "started_at": snapshot.started.as_unix_seconds(),
        "cluster": snapshot.cluster,
        "is_armed": snapshot.armed.is_armed,
        "unready": probes::unready(&snapshot),
        "shards": snapshot.shards.iter().map(form::shard).collect::<Vec<_>>(),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    state: Option<String>,
    limit: Option<usize>,
    /// Unix seconds: those that started before, from the store.
    before: Option<i64>,
}

/// `GET /api/v1/incidents[?state=open|closed][&limit=N][&before=T]`, newest first.
pub(super) async fn incidents(State(parts): State<Parts>, Query(which): Query<Which>) -> Response {
    let state = match which.state.as_deref() {
        None | Some("all") => None,
        Some("open") => Some(IncidentState::Open),
        Some("closed") => Some(IncidentState::Closed),
        Some(_) => return problem(StatusCode::BAD_REQUEST, "state: open, closed or all"),
    };
    let limit = which.limit.unwrap_or(INCIDENTS_DEFAULT);
    if !(1..=INCIDENTS_MAX).contains(&limit) {
        return problem(StatusCode::BAD_REQUEST, "limit: 1 to 500");
    }
    let snapshot = snapshot(&parts);
    let found = match which.before {
        None => snapshot.incidents.clone(),
        Some(before) => {
            let older = parts
                .shared
                .store
                .incidents(INCIDENTS_MAX, Some(WindowIndex(before)));
            match older.await {
                Ok(found) => found,
                Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
            }
        }
    };
    let silences = parts.silences.list();
    let rows: Vec<_> = found
        .iter()
        .filter(|incident| state.is_none_or(|state| incident.state == state))
        .take(limit)
        .map(|incident| {
            let mut row = form::incident(incident, &silences, &snapshot.cluster, snapshot.wall);
            why::add(&mut row, &snapshot, incident, false);
            row
        })
        .collect();
    Json(json!({ "now": snapshot.wall.as_unix_seconds(), "incidents": rows })).into_response()
}

/// The incident with this id, if the engine keeps it.
pub(super) fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<&'a Arc<Incident>> {
    let id = (id.len() == 16).then(|| u64::from_str_radix(id, 16).ok())??;
    snapshot
        .incidents
        .iter()
        .find(|incident| incident.id.0 == id)
}

/// `GET /api/v1/incidents/ID`.
pub(super) async fn incident(State(parts): State<Parts>, Path(id): Path<String>) -> Response {
    let snapshot = snapshot(&parts);
    match find(&snapshot, &id) {
        Some(incident) => {
            let silences = parts.silences.list();
            let mut one = form::incident(incident, &silences, &snapshot.cluster, snapshot.wall);
            why::add(&mut one, &snapshot, incident, true);
            Json(one).into_response()
        }
        None => problem(
            StatusCode::NOT_FOUND,
            "no such incident: an id is 16 hex digits, see /api/v1/incidents",
        ),
    }
}

/// `POST /api/v1/incidents/ID/accept`: what an open incident about edges shows is to be expected from now on.
pub(super) async fn accept(State(parts): State<Parts>, Path(id): Path<String>) -> Response {
    let snapshot = snapshot(&parts);
    let Some(incident) = find(&snapshot, &id) else {
        return problem(
            StatusCode::NOT_FOUND,
            "no such incident: an id is 16 hex digits, see /api/v1/incidents",
        );
    };
    if incident.intrusion.is_none() || incident.state == IncidentState::Closed {
        return problem(
            StatusCode::CONFLICT,
            "only an open incident about who talks to whom can be accepted",
        );
    }
    match parts.shared.driver.accept(incident.id).await {
        Ok(()) => {
            tracing::info!(incident = id, "accepted: to be expected from now on");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `GET /api/v1/graph`.
pub(super) async fn graph(State(parts): State<Parts>) -> Json<Value> {
    Json(form::graph(&snapshot(&parts).graph))
}

/// `GET /api/v1/agents`.
pub(super) async fn agents(State(parts): State<Parts>) -> Json<Value> {
    let snapshot = snapshot(&parts);
    Json(json!({
        "now": snapshot.wall.as_unix_seconds(),
        "agents": form::agents(&snapshot),
    }))
}

/// `GET /api/v1/silences`: those in force.
pub(super) async fn silences(State(parts): State<Parts>) -> Json<Value> {
    let now = wall_now();
    let list = parts.silences.list();
    let rows: Vec<_> = list
        .iter()
        .filter(|silence| silence.is_active(now))
        .map(form::silence)
        .collect();
    Json(json!({ "now": now.as_unix_seconds(), "silences": rows }))
}

/// A matcher as an object, or as text such as `shard="shard-3"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AnyMatcher {
    Text(String),
    Parts(Matcher),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSilence {
    matchers: Vec<AnyMatcher>,
    reason: String,
    /// Unix seconds; this or `minutes`.
    expires_at: Option<i64>,
    minutes: Option<i64>,
    #[serde(default)]
    author: String,
}

impl NewSilence {
    fn into_spec(self) -> Result<SilenceSpec, String> {
        let expires_at = match (self.expires_at, self.minutes) {
            (Some(at), None) => at,
            (None, Some(minutes)) => wall_now()
                .window()
                .0
                .saturating_add(minutes.saturating_mul(60)),
            _ => {
                return Err(
                    "say when it ends: either expires_at (unix seconds) or minutes".to_owned(),
                );
            }
        };
        let matchers: Result<Vec<_>, SilenceError> = self
            .matchers
            .into_iter()
            .map(|matcher| match matcher {
                AnyMatcher::Parts(matcher) => Ok(matcher),
                AnyMatcher::Text(text) => Matcher::parse(&text),
            })
            .collect();
        Ok(SilenceSpec {
            matchers: matchers.map_err(|error| error.to_string())?,
            reason: self.reason,
            expires_at,
            author: self.author,
        })
    }
}

/// `POST /api/v1/silences`.
pub(super) async fn add_silence(
    State(parts): State<Parts>,
    body: Result<Json<NewSilence>, JsonRejection>,
) -> Response {
    let asked = match body {
        Ok(Json(asked)) => asked,
        Err(error) => return problem(error.status(), &error.body_text()),
    };
    let spec = match asked.into_spec() {
        Ok(spec) => spec,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    match parts.silences.add(spec).await {
        Ok(id) => {
            tracing::info!(id, "silence added");
            (StatusCode::CREATED, Json(json!({ "id": id }))).into_response()
        }
        Err(error) => {
            let status = if error.is::<SilenceError>() {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            problem(status, &error.to_string())
        }
    }
}

/// `DELETE /api/v1/silences/ID`.
pub(super) async fn remove_silence(State(parts): State<Parts>, Path(id): Path<i64>) -> Response {
    match parts.silences.remove(id).await {
        Ok(true) => {
            tracing::info!(id, "silence removed");
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(false) => problem(
            StatusCode::NOT_FOUND,
            "no such silence: see /api/v1/silences",
        ),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}
