//! Triggers by HTTP: list, add, remove. (step 15)

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{Parts, api};
use crate::shared::Question;
use crate::triggers::{Refusal, Spec, TriggerState, TriggerView};

/// `GET /api/v1/triggers`, in name order.
pub(super) async fn list(State(parts): State<Parts>) -> Json<Value> {
    let snapshot = parts.shared.snapshot.borrow().clone();
    Json(json!({
        "now": snapshot.wall.as_unix_seconds(),
        "triggers": snapshot.triggers.iter().map(form).collect::<Vec<_>>(),
    }))
}

/// `POST /api/v1/triggers`; the body is what a `[[trigger]]` of the configuration says.
pub(super) async fn add(
    State(parts): State<Parts>,
    body: Result<Json<Spec>, JsonRejection>,
) -> Response {
    let spec = match body {
        Ok(Json(spec)) => Box::new(spec),
        Err(error) => return api::problem(error.status(), &error.body_text()),
    };
    let name = spec.name.clone();
    let words = match spec.check() {
        Ok(checked) => checked.words,
        Err(why) => return api::problem(StatusCode::BAD_REQUEST, &why),
    };
    let added = parts
        .shared
        .driver
        .change_trigger(|reply| Question::AddTrigger { spec, reply });
    match added.await {
        Ok(()) => {
            tracing::info!(trigger = name, what = words, "trigger added");
            let added = json!({ "name": name, "what": words });
            (StatusCode::CREATED, Json(added)).into_response()
        }
        Err(refusal) => refused(&refusal),
    }
}

/// `DELETE /api/v1/triggers/NAME`.
pub(super) async fn remove(State(parts): State<Parts>, Path(name): Path<String>) -> Response {
    let asked = name.clone();
    let removed = parts
        .shared
        .driver
        .change_trigger(|reply| Question::RemoveTrigger { name, reply });
    match removed.await {
        Ok(()) => {
            tracing::info!(trigger = asked, "trigger removed");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
        Refusal::Taken(_) => StatusCode::CONFLICT,
        Refusal::Unknown(_) => StatusCode::NOT_FOUND,
        Refusal::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    api::problem(status, &refusal.to_string())
}

fn form(view: &TriggerView) -> Value {
    json!({
        "name": view.name,
        "what": view.words,
        "severity": view.severity.name(),
        "state": match view.state {
            TriggerState::Waiting => "waiting",
            TriggerState::Fired => "fired",
        },
        "count": view.known,
        "threshold": view.threshold,
        "n_nodes": view.n_members,
        "n_nodes_heard": view.n_heard,
        "since": view.since.as_unix_seconds(),
        "fired_at": view.fired.map(|(at, _)| at.as_unix_seconds()),
        "fired_count": view.fired.map(|(_, count)| count),
        "again": view.again,
        "from_config": view.from_config,
    })
}

#[cfg(test)]
pub(super) mod demo {
    use hsw_types::WallTime;

    use super::*;
    use crate::triggers::Severity;

    /// One that waits and one that has fired.
    pub(crate) fn views(now: WallTime) -> Vec<TriggerView> {
        let waiting = TriggerView {
            name: "slow-orders".to_owned(),
            words: "10,000 statements with latency_ms in [100, 1000) on shards shard-3, shard-5"
                .to_owned(),
            severity: Severity::Warning,
            state: TriggerState::Waiting,
            known: 6_200,
            threshold: 10_000,
            n_members: 4,
            n_heard: 3,
            since: WallTime(now.0 - 3_600_000_000),
            fired: None,
            again: false,
            from_config: false,
        };
        let fired = TriggerView {
            name: "big-scans".to_owned(),
            words: "1,000,000 rows of statements with rows of 50000 or more".to_owned(),
            state: TriggerState::Fired,
            known: 1_004_210,
            threshold: 1_000_000,
            fired: Some((WallTime(now.0 - 60_000_000), 1_004_210)),
            ..waiting.clone()
        };
        vec![fired, waiting]
    }
}
