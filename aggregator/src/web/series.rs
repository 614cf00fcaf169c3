//! Series for charts: one metric on a node and on the same kind of node of every sibling. (step 15)
//!
//! In: a metric and perhaps an object, or a piece of evidence by incident and place. Out: at most [`NODES_MAX`] lines
//! of at most [`POINTS_MAX`] points; a thinned line keeps each bucket's worst value, because the spike is the point.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hsw_engine::{Evidence, Incident, IncidentState, Point, SeriesView};
use hsw_types::{Bad, NodeId, SeriesKey, ShardId, WindowIndex, metric_spec};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Parts;
use super::api::{find, problem};
use super::form;
use crate::shared::Snapshot;

/// Lines of one answer.
pub(super) const NODES_MAX: usize = 48;
/// Points of one line.
pub(super) const POINTS_MAX: usize = 400;
const MINUTES_MAX: i64 = 24 * 60;
/// Shown before an incident's start, so that one sees what was usual.
const BEFORE_S: i64 = 300;
/// Shown after its end.
const AFTER_S: i64 = 120;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    metric: Option<String>,
    object: Option<String>,
    /// Names, comma-separated; all when absent.
    shard: Option<String>,
    minutes: Option<i64>,
    incident: Option<String>,
    evidence: Option<usize>,
}

/// What to read and how to show it.
struct Plan {
    key: SeriesKey,
    shards: Vec<ShardId>,
    from: WindowIndex,
    to: WindowIndex,
    /// The node in question; lines of other roles are left out.
    focus: Option<NodeId>,
}

/// `GET /api/v1/series?metric=…[&object=…][&shard=…][&minutes=…]` or `?incident=ID&evidence=N`.
pub(super) async fn series(State(parts): State<Parts>, Query(asked): Query<Asked>) -> Response {
    let snapshot = parts.shared.snapshot.borrow().clone();
    let plan = match plan(&snapshot, &asked) {
        Ok(plan) => plan,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let asked = parts
        .shared
        .driver
        .series(plan.key.clone(), plan.shards.clone(), plan.from);
    match asked.await {
        Ok(lines) => Json(answer(&snapshot, &plan, lines)).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn plan(snapshot: &Snapshot, asked: &Asked) -> Result<Plan, &'static str> {
    let now = snapshot.wall.window();
    if let Some(id) = &asked.incident {
        let incident = find(snapshot, id).ok_or("no such incident")?;
        let evidence =
            evidence_at(incident, asked.evidence.unwrap_or(0)).ok_or("no such evidence")?;
        let to = match (incident.state, incident.ended) {
            (IncidentState::Closed, Some(ended)) => (ended + AFTER_S).min(now),
            _ => now,
        };
        return Ok(Plan {
            key: evidence.series.clone(),
            shards: Vec::new(),
            from: incident.started + -BEFORE_S,
            to,
            focus: Some(evidence.node.clone()),
        });
    }
    let metric = asked
        .metric
        .as_deref()
        .ok_or("name a metric, e.g. ?metric=pg.commits")?;
    let mut shards = Vec::new();
    for name in asked.shard.iter().flat_map(|names| names.split(',')) {
        shards.push(ShardId::new(name).map_err(|_| "shard: not a shard's name")?);
    }
    let minutes = asked.minutes.unwrap_or(10);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err("minutes: 1 to 1440");
    }
    Ok(Plan {
        key: asked.object.as_deref().map_or_else(
            || SeriesKey::node(metric),
            |object| SeriesKey::object(metric, object),
        ),
        shards,
        from: now + -minutes * 60,
        to: now,
        focus: None,
    })
}

/// Evidence at the root first, then the strongest of each affected shard.
fn evidence_at(incident: &Incident, at: usize) -> Option<&Evidence> {
    let affected = incident.affected.iter().map(|(_, evidence)| evidence);
    incident.evidence.iter().chain(affected).nth(at)
}

fn answer(snapshot: &Snapshot, plan: &Plan, lines: Vec<SeriesView>) -> Value {
    let spec = metric_spec(&plan.key.metric);
    let bad = spec.map_or(Bad::High, |spec| spec.bad);
    let place = |node: &NodeId| {
        snapshot.shards.iter().find_map(|shard| {
            let found = shard.nodes.iter().find(|view| view.node == *node)?;
            Some((shard, found))
        })
    };
    let focus = plan
        .focus
        .as_ref()
        .and_then(place)
        .map(|(shard, node)| (shard.is_router, node.role));
    let mut kept: Vec<_> = lines
        .into_iter()
        .filter_map(|line| {
            let found = place(&line.node);
            let is_same_kind = match (focus, found) {
                (Some(kind), Some((shard, node))) => (shard.is_router, node.role) == kind,
                _ => true,
            };
            let is_focus = plan.focus.as_ref() == Some(&line.node);
            (is_focus || is_same_kind)
                .then(|| (!is_focus, found.map(|(s, _)| s.shard.to_string()), line))
        })
        .collect();
    kept.sort_by_key(|(is_other, ..)| *is_other);
    let n_left_out = kept.len().saturating_sub(NODES_MAX);
    kept.truncate(NODES_MAX);
    let series: Vec<_> = kept
        .iter()
        .map(|(is_other, shard, line)| {
            json!({
                "node": line.node.as_str(),
                "shard": shard,
                "focus": plan.focus.is_some() && !is_other,
                "usual": line.usual,
                "points": thinned(&line.points, plan.to, bad),
            })
        })
        .collect();
    let mut answer = form::series_name(&plan.key);
    answer["from"] = plan.from.0.into();
    answer["to"] = plan.to.0.into();
    answer["left_out"] = n_left_out.into();
    answer["series"] = series.into();
    answer
}

/// At most [`POINTS_MAX`] points up to `to`, each the worst of its bucket.
fn thinned(points: &[Point], to: WindowIndex, bad: Bad) -> Vec<(i64, f64)> {
    let end = points.partition_point(|point| point.window <= to);
    let points = &points[..end];
    points
        .chunks(points.len().div_ceil(POINTS_MAX).max(1))
        .filter_map(|bucket| {
            let by_value = |a: &&Point, b: &&Point| a.value.total_cmp(&b.value);
            let worst = if bad == Bad::Low {
                bucket.iter().min_by(by_value)
            } else {
                bucket.iter().max_by(by_value)
            };
            worst.map(|point| (point.window.0, point.value))
        })
        .collect()
}

#[derive(Debug, Deserialize)]
pub(super) struct OfNode {
    node: String,
}

/// `GET /api/v1/series/names?node=…`.
pub(super) async fn names(State(parts): State<Parts>, Query(asked): Query<OfNode>) -> Response {
    let Ok(node) = NodeId::new(&asked.node) else {
        return problem(StatusCode::BAD_REQUEST, "node: not a node's name");
    };
    match parts.shared.driver.series_names(node).await {
        Ok(keys) => {
            let names: Vec<_> = keys.iter().map(form::series_name).collect();
            Json(json!({ "series": names })).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_line_keeps_the_worst_value_of_each_bucket() {
        let mut points: Vec<_> = (0..1_000)
            .map(|at| Point {
                window: WindowIndex(at),
                value: 10.0,
            })
            .collect();
        points[501].value = 99.0;
        points[700].value = 0.5;
        let worst = |bad| thinned(&points, WindowIndex(2_000), bad);
        assert!(worst(Bad::High).len() <= POINTS_MAX);
        assert!(worst(Bad::High).contains(&(501, 99.0)));
        assert!(worst(Bad::Low).contains(&(700, 0.5)));
        assert_eq!(thinned(&points, WindowIndex(9), Bad::High).len(), 10);
        assert!(thinned(&[], WindowIndex(9), Bad::High).is_empty());
    }
}
