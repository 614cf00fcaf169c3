//! What is hot: now, at a moment, or in a span of time. (step 15)
//!
//! In: a kind, perhaps a shard, perhaps a time. Out: ranked items with rates, shares and, for now, trends by minute.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hsw_hot::{HotList, Span};
use hsw_types::{HotKind, NodeId, ShardId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Parts;
use super::api::problem;
use crate::shared::Snapshot;

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    kind: Option<String>,
    shard: Option<String>,
    limit: Option<usize>,
    /// Unix seconds: the minute of this moment.
    at: Option<i64>,
    /// Unix seconds, with `to`: every minute the span touches.
    from: Option<i64>,
    to: Option<i64>,
}

/// `GET /api/v1/hot?kind=fingerprint|table|tenant|template[&shard=S][&limit=N][&at=T | &from=T&to=T]`.
pub(super) async fn hot(State(parts): State<Parts>, Query(asked): Query<Asked>) -> Response {
    let snapshot = parts.shared.snapshot.borrow().clone();
    match answer(&parts, &snapshot, &asked).await {
        Ok(answer) => Json(answer).into_response(),
        Err((status, why)) => problem(status, &why),
    }
}

type Refused = (StatusCode, String);

fn wrong(why: &str) -> Refused {
    (StatusCode::BAD_REQUEST, why.to_owned())
}

async fn answer(parts: &Parts, snapshot: &Snapshot, asked: &Asked) -> Result<Value, Refused> {
    let kind = asked.kind.as_deref().unwrap_or("fingerprint");
    let kind = HotKind::parse(kind)
        .ok_or_else(|| wrong("kind: fingerprint, table, tenant or template"))?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(wrong("limit: 1 to 200"));
    }
    let shard = asked.shard.as_deref().map(ShardId::new).transpose();
    let shard = shard.map_err(|error| wrong(&format!("shard: {error}")))?;
    let views = snapshot.shards.iter();
    let asked_of = views.filter(|view| shard.as_ref().is_none_or(|shard| view.shard == *shard));
    let nodes: Vec<NodeId> = asked_of
        .flat_map(|view| view.nodes.iter().map(|node| node.node.clone()))
        .collect();
    if shard.is_some() && nodes.is_empty() {
        let why = "no such shard: see /api/v1/shards".to_owned();
        return Err((StatusCode::NOT_FOUND, why));
    }
    let span = span(asked).map_err(wrong)?;
    let busy = |error: String| (StatusCode::SERVICE_UNAVAILABLE, error);
    let driver = &parts.shared.driver;
    let list = match span {
        None => driver.hot(shard.clone(), kind, limit).await,
        Some(span) => {
            let stored = parts.shared.store.hot(nodes.clone(), kind, span).await;
            let stored = stored.map_err(|error| busy(error.to_string()))?;
            driver.hot_span(stored, nodes, kind, span, limit).await
        }
    };
    let list = list.map_err(|error| busy(error.to_string()))?;
    let seconds = |minute: i64| minute.saturating_mul(hsw_hot::MINUTE_S);
    Ok(json!({
        "now": snapshot.wall.as_unix_seconds(),
        "kind": kind.as_str(),
        "counts": counts_of(kind),
        "shard": shard.as_ref().map(ShardId::as_str),
        "from": span.map(|span| seconds(span.from)),
        "to": span.map(|span| seconds(span.to)),
        "total_rate": list.total_rate,
        "error": list.error,
        "distinct": if span.is_none() { Some(list.distinct.round()) } else { None },
        "items": items(&list),
    }))
}

const fn counts_of(kind: HotKind) -> &'static str {
    match kind {
        HotKind::Fingerprint | HotKind::Tenant => "calls",
        HotKind::Table => "rows",
        HotKind::Template => "lines",
    }
}

fn span(asked: &Asked) -> Result<Option<Span>, &'static str> {
    match (asked.at, asked.from, asked.to) {
        (None, None, None) => Ok(None),
        (Some(at), None, None) => Ok(Some(Span::of_seconds(at, at.saturating_add(1)))),
        (None, Some(from), Some(to)) if from < to => Ok(Some(Span::of_seconds(from, to))),
        (None, Some(_), Some(_)) => Err("from must lie before to"),
        _ => Err("give either at, or from and to, in Unix seconds"),
    }
}

fn items(list: &HotList) -> Vec<Value> {
    let items = list.items.iter();
    items
        .map(|item| {
            json!({
                "key": format!("{:016x}", item.key),
                "name": item.name.as_deref(),
                "rate": item.rate,
                "share": item.share,
                "trend": item.trend,
            })
        })
        .collect()
}
