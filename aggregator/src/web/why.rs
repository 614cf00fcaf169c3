//! Why: explanations, operators' words on incidents, known causes. (step 15)

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hsw_engine::{
    CASES_LEARNED_MAX, CAUSE_CHARS_MAX, Cause, Culprit, Explanation, Feedback, HARMLESS, Incident,
    IncidentState, Reason, Similar,
};
use hsw_explain::{NONE, format};
use hsw_types::{ShardId, WindowIndex};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{find, problem};
use super::{Parts, form};
use crate::shared::Snapshot;

/// Longest file of causes by `PUT`.
pub(super) const CAUSES_BYTES_MAX: usize = 16 << 20;

/// Adds to an incident's form why it is: all of it, or the first cause only.
pub(super) fn add(form: &mut Value, snapshot: &Snapshot, incident: &Incident, is_whole: bool) {
    let Some(why) = snapshot.explanations.get(&incident.id) else {
        form["why"] = Value::Null;
        return;
    };
    form["cause"] = why.causes.first().map_or(Value::Null, cause);
    form["feedback"] = why.feedback.as_ref().map_or(Value::Null, feedback);
    if is_whole || incident.state == IncidentState::Open {
        form["why"] = explanation(why);
    }
}

/// All that an explanation says.
pub(super) fn explanation(why: &Explanation) -> Value {
    json!({
        "shard": why.shard.as_str(),
        "from": why.abnormal.0.0,
        "to": why.abnormal.1.0,
        "normal_from": why.normal.0.0,
        "normal_to": why.normal.1.0,
        "siblings": why.n_siblings,
        "attributes": why.n_attributes,
        "revision": why.revision,
        "verdict": verdict(why),
        "predicates": why.reasons.iter().map(reason).collect::<Vec<_>>(),
        "causes": why.causes.iter().map(cause).collect::<Vec<_>>(),
        "none": why.none,
        "culprits": why.culprits.iter().map(culprit).collect::<Vec<_>>(),
        "similar": why.similar.iter().map(similar).collect::<Vec<_>>(),
        "feedback": why.feedback.as_ref().map(feedback),
    })
}

/// One sentence: the likeliest cause, or that none of the known ones is.
fn verdict(why: &Explanation) -> String {
    let percent = |p: f64| format!("{:.0} %", p * 100.0);
    match (&why.feedback, why.causes.first()) {
        (Some(Feedback::Cause(cause)), _) => format!("named by an operator: {cause}"),
        (Some(Feedback::FalseAlarm), _) => "called a false alarm by an operator".to_owned(),
        (None, None) => {
            "no cause is known yet: name it, and the next of its kind is named".to_owned()
        }
        (None, Some(first)) if why.none >= first.probability => {
            format!("none of the known causes ({})", percent(why.none))
        }
        (None, Some(first)) => match first.cause.strip_prefix(HARMLESS) {
            Some(which) => format!(
                "looks like what you called a false alarm: {which} ({})",
                percent(first.probability)
            ),
            None => format!(
                "looks like {} ({})",
                first.cause,
                percent(first.probability)
            ),
        },
    }
}

fn reason(reason: &Reason) -> Value {
    let mut value = form::series_name(&reason.series);
    value["node"] = reason.node.as_str().into();
    value["min"] = json!(reason.min);
    value["max"] = json!(reason.max);
    value["power"] = json!(reason.power);
    value["during"] = json!(reason.during);
    value["before"] = json!(reason.before);
    value["siblings"] = json!(reason.siblings);
    value["sentence"] = reason.sentence.as_str().into();
    value
}

fn cause(cause: &Cause) -> Value {
    json!({
        "cause": cause.cause,
        "probability": cause.probability,
        "cases": cause.n_cases,
        "is_harmless": cause.is_harmless,
        "action": cause.action,
    })
}

fn culprit(culprit: &Culprit) -> Value {
    json!({
        "shard": culprit.shard.as_str(),
        "share": culprit.share,
        "since": culprit.since.map(|window| window.0),
        "since_uncertain_s": culprit.since_uncertain_s,
        "metrics": culprit.metrics,
    })
}

fn similar(similar: &Similar) -> Value {
    json!({
        "id": format!("{:016x}", similar.id.0),
        "shard": similar.shard.as_str(),
        "started_at": similar.started.0,
        "alike": similar.alike,
        "cause": similar.cause,
    })
}

fn feedback(word: &Feedback) -> Value {
    match word {
        Feedback::Cause(cause) => json!({ "cause": cause, "false_alarm": false }),
        Feedback::FalseAlarm => json!({ "cause": null, "false_alarm": true }),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Word {
    cause: Option<String>,
    #[serde(default)]
    false_alarm: bool,
}

impl Word {
    fn checked(self) -> Result<Feedback, String> {
        let cause = match (self.cause, self.false_alarm) {
            (None, true) => return Ok(Feedback::FalseAlarm),
            (Some(cause), false) => cause.trim().to_owned(),
            _ => return Err("say either cause or false_alarm".to_owned()),
        };
        name(&cause)?;
        if cause.starts_with(HARMLESS) {
            return Err(format!(
                "`{HARMLESS}` is how false alarms are called: say false_alarm"
            ));
        }
        Ok(Feedback::Cause(cause))
    }
}

/// Whether this can be a cause's name.
fn name(cause: &str) -> Result<(), String> {
    let n_chars = cause.chars().count();
    if !(1..=CAUSE_CHARS_MAX).contains(&n_chars) || cause.chars().any(char::is_control) {
        return Err(format!(
            "`{cause}` is no name of a cause: 1 to {CAUSE_CHARS_MAX} characters on one line"
        ));
    }
    if cause == NONE {
        return Err(format!(
            "`{NONE}` means that nothing is wrong: say false_alarm"
        ));
    }
    Ok(())
}

/// `POST /api/v1/incidents/ID/feedback` `{"cause": "…"}` or `{"false_alarm": true}`.
pub(super) async fn give_feedback(
    State(parts): State<Parts>,
    Path(id): Path<String>,
    body: Result<Json<Word>, JsonRejection>,
) -> Response {
    let word = match body {
        Ok(Json(word)) => word,
        Err(error) => return problem(error.status(), &error.body_text()),
    };
    let word = match word.checked() {
        Ok(word) => word,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let snapshot = parts.shared.snapshot.borrow().clone();
    let Some(incident) = find(&snapshot, &id) else {
        let line = "no such incident: an id is 16 hex digits, see /api/v1/incidents";
        return problem(StatusCode::NOT_FOUND, line);
    };
    if !snapshot.explanations.contains_key(&incident.id) {
        let line =
            "nothing was kept of what this incident looked like, so nothing can be learned from it";
        return problem(StatusCode::CONFLICT, line);
    }
    match parts
        .shared
        .driver
        .feedback(incident.id, word.clone())
        .await
    {
        Ok(()) => {
            tracing::info!(incident = id, word = ?word, "an operator named what it was");
            Json(feedback(&word)).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `GET /api/v1/causes`: a file of causes as `hsw learn` writes it, those that are shipped first.
pub(super) async fn causes(State(parts): State<Parts>) -> Response {
    match parts.shared.driver.causes().await {
        Ok((cases, _)) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, format::write(&cases)).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `PUT /api/v1/causes`: a file of causes in the place of all that operators named; shipped cases in it are left out.
pub(super) async fn put_causes(State(parts): State<Parts>, body: String) -> Response {
    let cases = match format::read(&body) {
        Ok(cases) => cases,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let known = match parts.shared.driver.causes().await {
        Ok((known, n_shipped)) => known[..n_shipped].to_vec(),
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let mut named = cases;
    named.retain(|case| !known.contains(case));
    for case in &named {
        if let Err(why) = name(&case.cause) {
            return problem(StatusCode::BAD_REQUEST, &why);
        }
    }
    if named.len() > CASES_LEARNED_MAX {
        let line = format!("more than {CASES_LEARNED_MAX} cases: remove old ones");
        return problem(StatusCode::BAD_REQUEST, &line);
    }
    let mut by_cause: BTreeMap<String, usize> = BTreeMap::new();
    for case in &named {
        *by_cause.entry(case.cause.clone()).or_default() += 1;
    }
    match parts.shared.driver.put_causes(named).await {
        Ok(()) => Json(json!({ "cases": by_cause })).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    shard: String,
    /// Unix seconds, both within.
    from: i64,
    to: i64,
}

/// `POST /api/v1/why` `{"shard": …, "from": …, "to": …}`.
pub(super) async fn why(
    State(parts): State<Parts>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let asked = match body {
        Ok(Json(asked)) => asked,
        Err(error) => return problem(error.status(), &error.body_text()),
    };
    let Ok(shard) = ShardId::new(&asked.shard) else {
        return problem(StatusCode::BAD_REQUEST, "shard: not a shard's name");
    };
    let (from, to) = (WindowIndex(asked.from), WindowIndex(asked.to));
    match parts.shared.driver.why(shard, from, to).await {
        Ok(Ok(why)) => Json(explanation(&why)).into_response(),
        Ok(Err(error)) => problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}
