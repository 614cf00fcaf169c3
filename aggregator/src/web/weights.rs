//! Weights of the detectors by HTTP: show, propose, label. (step 15)

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hsw_engine::{Judgement, WeightsView};
use hsw_fusion::{DetectorId, Report, Version};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Parts, api};
use crate::store::{origin_word, state_word};

/// An operator's word on an incident.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Word {
    /// 16 hex digits.
    incident: String,
    /// Something was wrong with its shard; else it was a false alarm.
    is_sick: bool,
}

/// `GET /api/v1/weights`: all versions, and how good those in force and in the shadow are.
pub(super) async fn show(Extract(parts): Extract<Parts>) -> Response {
    match parts.shared.driver.weights().await {
        Ok(view) => Json(form(&view)).into_response(),
        Err(error) => api::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `POST /api/v1/weights/propose`: a version of the labels so far, which runs in the shadow.
pub(super) async fn propose(Extract(parts): Extract<Parts>) -> Response {
    match parts.shared.driver.propose_weights().await {
        Ok(Ok(id)) => {
            tracing::info!(version = id, "weights proposed, in the shadow");
            (StatusCode::CREATED, Json(json!({ "version": id }))).into_response()
        }
        Ok(Err(refusal)) => api::problem(StatusCode::CONFLICT, &refusal.to_string()),
        Err(error) => api::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `POST /api/v1/weights/label`: whether something was wrong with the root of an incident.
pub(super) async fn label(
    Extract(parts): Extract<Parts>,
    body: Result<Json<Word>, JsonRejection>,
) -> Response {
    let word = match body {
        Ok(Json(word)) => word,
        Err(error) => return api::problem(error.status(), &error.body_text()),
    };
    let snapshot = parts.shared.snapshot.borrow().clone();
    let Some(incident) = api::find(&snapshot, &word.incident) else {
        return api::problem(
            StatusCode::NOT_FOUND,
            "no such incident is kept: see GET /api/v1/incidents",
        );
    };
    if incident.judgement.is_none() {
        return api::problem(
            StatusCode::CONFLICT,
            "the detectors had not judged this incident's shard: nothing can be learned from it",
        );
    }
    match parts.shared.driver.label(incident.id, word.is_sick).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => api::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// A judgement as JSON: P(sick), and each detector's p-value (`null` where it does not know) and weight.
pub(super) fn judgement(judgement: &Judgement) -> Value {
    let said = judgement.said.iter().map(|said| {
        json!({
            "detector": said.detector.name(),
            "p": said.surprise.map(|surprise| (-surprise).exp()),
            "weight": said.weight,
        })
    });
    json!({
        "at": judgement.window.0,
        "probability": judgement.probability,
        "p": (-judgement.surprise).exp(),
        "weights_version": judgement.version,
        "detectors": said.collect::<Vec<_>>(),
    })
}

fn form(view: &WeightsView) -> Value {
    json!({
        "active": view.active,
        "n_labels": view.n_labels,
        "report": report(&view.report),
        "shadow_report": view.shadow_report.as_ref().map(report),
        "versions": view.versions.iter().map(version).collect::<Vec<_>>(),
    })
}

fn version(version: &Version) -> Value {
    let weights = DetectorId::ALL.map(|id| {
        (
            id.name().to_owned(),
            json!(version.weights.all()[id.index()]),
        )
    });
    json!({
        "version": version.id,
        "at": version.at.as_unix_seconds(),
        "origin": origin_word(version.origin),
        "state": state_word(version.state),
        "n_labels": version.n_labels,
        "weights": Map::from_iter(weights),
    })
}

fn report(report: &Report) -> Value {
    json!({
        "n": report.n,
        "n_sick": report.n_sick,
        "average_precision": report.average_precision,
        "calibration_error": report.calibration_error,
        "log_loss": report.log_loss,
        "precision": report.precision,
        "alert_load": report.alert_load,
        "drift": report.drift,
    })
}
