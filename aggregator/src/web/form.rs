//! The API's JSON forms; field names are a contract with the page, `hsw` and everybody's scripts. (step 15)

use hsw_engine::{
    Evidence, GraphView, Health, Incident, IncidentState, Intrusion, IntrusionEdge, NodeLiveness,
    NodeView, Pattern, ShardView, Symptom,
};
use hsw_types::{
    EdgeKind, Family, LogSample, Role, SeriesKey, SourceState, SourceStatus, Subject, Unit,
    WallTime, metric_spec,
};
use serde_json::{Value, json};

use crate::alerts::{self, Silence};
use crate::shared::{AgentView, Snapshot};

use super::weights;

/// A series' name in parts, with what the catalogue knows of it.
pub(super) fn series_name(key: &SeriesKey) -> Value {
    let spec = metric_spec(&key.metric);
    let object = match &key.subject {
        Subject::Node => None,
        Subject::Object(object) => Some(object.clone()),
        Subject::Template { text, .. } => Some(text.clone()),
        Subject::Edge(edge) => {
            let parts = [
                edge.peer.as_str(),
                &edge.user,
                &edge.database,
                &edge.application,
            ];
            let known: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            Some(known.join(" "))
        }
    };
    json!({
        "metric": key.metric,
        "object": object,
        "name": key.to_string(),
        "about": spec.map(|spec| spec.about),
        "unit": spec.map(|spec| unit(spec.unit)),
    })
}

pub(super) fn shard(view: &ShardView) -> Value {
    let headline: Vec<_> = view
        .headline
        .iter()
        .map(|(metric, value)| {
            let spec = metric_spec(metric);
            json!({
                "metric": metric,
                "about": spec.map(|spec| spec.about),
                "unit": spec.map(|spec| unit(spec.unit)),
                "value": value,
            })
        })
        .collect();
    json!({
        "shard": view.shard.as_str(),
        "is_router": view.is_router,
        "health": match view.health {
            Health::Unknown => "unknown",
            Health::Well => "well",
            Health::Troubled => "troubled",
            Health::Bad => "bad",
        },
        "badness": view.badness,
        "hyperscore": view.hyperscore,
        "hyperscore_mode": view.hyperscore_mode,
        "judgement": view.judgement.as_ref().map(weights::judgement),
        "sick_by": view.sick_by,
        "headline": headline,
        "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn node(view: &NodeView) -> Value {
    json!({
        "node": view.node.as_str(),
        "liveness": liveness(view.liveness),
        "role": match view.role {
            Role::Unknown => "unknown",
            Role::Primary => "primary",
            Role::Replica => "replica",
            Role::Router => "router",
        },
        "database": view.facts.database,
        "address": view.facts.address,
        "host": view.facts.host,
        "operating_system": view.facts.operating_system,
        "cpu_cores": view.facts.cpu_cores,
        "memory_bytes": view.facts.memory_bytes,
        "database_started": some_time(view.facts.database_started),
        "agent_started": some_time(view.facts.agent_started),
        "last_window": view.last_window.map(|window| window.0),
        "lag_s": view.lag_s,
        "clock_offset_s": view.clock_offset_s,
        "n_series": view.n_series,
    })
}

fn some_time(unix: i64) -> Option<i64> {
    (unix != 0).then_some(unix)
}

/// `alive`, `database_silent` …
pub(super) const fn liveness(liveness: NodeLiveness) -> &'static str {
    match liveness {
        NodeLiveness::NeverSeen => "never_seen",
        NodeLiveness::Alive => "alive",
        NodeLiveness::DatabaseSilent => "database_silent",
        NodeLiveness::DatabaseDown => "database_down",
        NodeLiveness::AgentStopped => "agent_stopped",
        NodeLiveness::AgentLost => "agent_lost",
        NodeLiveness::HostLost => "host_lost",
    }
}

/// One incident, with the silence that keeps its messages back, if any.
pub(super) fn incident(
    incident: &Incident,
    silences: &[Silence],
    cluster: &str,
    now: WallTime,
) -> Value {
    let sender = alerts::Sender {
        cluster: cluster.to_owned(),
        external_url: String::new(),
    };
    let labels = alerts::Alert::of(incident, &sender).labels;
    let silenced_by =
        alerts::silence::silenced_by(silences, &labels, now).map(|silence| silence.id);
    let affected: Vec<_> = incident
        .affected
        .iter()
        .map(|(shard, strongest)| json!({ "shard": shard.as_str(), "evidence": evidence(strongest) }))
        .collect();
    json!({
        "id": format!("{:016x}", incident.id.0),
        "state": match incident.state {
            IncidentState::Open => "open",
            IncidentState::Closed => "closed",
        },
        "severity": alerts::severity(incident),
        "root": { "shard": incident.root.as_str(), "node": incident.node.as_str() },
        "started_at": incident.started.0,
        "raised_at": incident.raised.0,
        "ended_at": incident.ended.map(|window| window.0),
        "confidence": incident.confidence,
        "summary": incident.summary,
        "evidence": incident.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "affected": affected,
        "log_samples": incident.log_samples.iter().map(log_sample).collect::<Vec<_>>(),
        "judgement": incident.judgement.as_ref().map(weights::judgement),
        "intrusion": incident.intrusion.as_ref().map(intrusion),
        "revision": incident.revision,
        "silenced_by": silenced_by,
    })
}

fn intrusion(intrusion: &Intrusion) -> Value {
    let edge = |edge: &IntrusionEdge| {
        json!({
            "from": edge.from,
            "to": edge.to,
            "kind": edge_kind(edge.kind),
            "users": edge.users,
            "since": edge.since.as_unix_seconds(),
        })
    };
    json!({
        "pattern": match intrusion.pattern {
            Pattern::UnexpectedPair => "unexpected_pair",
            Pattern::FanOut => "fan_out",
            Pattern::Bridge => "bridge",
            Pattern::Escalation => "escalation",
            Pattern::Sybils => "sybils",
        },
        "client": intrusion.client,
        "edges": intrusion.edges.iter().map(edge).collect::<Vec<_>>(),
        "reasons": intrusion.reasons,
        "p": intrusion.p,
        "n_distances": intrusion.n_distances,
        "accepted": intrusion.is_accepted,
    })
}

fn evidence(evidence: &Evidence) -> Value {
    json!({
        "symptom": match evidence.symptom {
            Symptom::Deviation => "deviation",
            Symptom::LogLine => "log_line",
            Symptom::Hot => "hot",
            Symptom::DatabaseSilent => "database_silent",
            Symptom::DatabaseDown => "database_down",
            Symptom::AgentLost => "agent_lost",
            Symptom::HostLost => "host_lost",
            Symptom::Interaction => "interaction",
        },
        "shard": evidence.shard.as_str(),
        "node": evidence.node.as_str(),
        "series": series_name(&evidence.series),
        "family": family(evidence.family),
        "unit": unit(evidence.unit),
        "since": evidence.since.0,
        "value": evidence.value,
        "usual": evidence.usual,
        "siblings": evidence.siblings,
        "residual": evidence.residual,
        "weight": evidence.weight,
        "sentence": evidence.sentence,
    })
}

fn log_sample(sample: &LogSample) -> Value {
    json!({
        "at": sample.at.as_unix_seconds(),
        "severity": sample.severity,
        "code": sample.code,
        "text": sample.text,
    })
}

pub(super) fn graph(view: &GraphView) -> Value {
    let vertices: Vec<_> = view
        .vertices
        .iter()
        .map(|vertex| {
            json!({
                "id": vertex.id,
                "kind": vertex.kind,
                "label": vertex.label,
                "shard": vertex.shard.as_ref().map(hsw_types::ShardId::as_str),
            })
        })
        .collect();
    let edges: Vec<_> = view
        .edges
        .iter()
        .map(|edge| {
            json!({
                "from": edge.from,
                "to": edge.to,
                "kind": edge_kind(edge.kind),
                "sessions": edge.sessions,
                "active": edge.traffic.active,
                "rtt_ms": edge.traffic.rtt_ms,
                "latency_class": edge.traffic.latency_class,
                "tx_bytes_per_s": edge.traffic.tx_bytes_per_s,
                "rx_bytes_per_s": edge.traffic.rx_bytes_per_s,
                "lag_bytes": edge.traffic.lag_bytes,
                "history": {
                    "step_s": hsw_engine::HISTORY_STEP_S,
                    "sessions": edge.traffic.history[0],
                    "rtt_ms": edge.traffic.history[1],
                    "tx_bytes_per_s": edge.traffic.history[2],
                },
                "first_seen": edge.first_seen.as_unix_seconds(),
                "last_seen": edge.last_seen.as_unix_seconds(),
            })
        })
        .collect();
    let changes: Vec<_> = view
        .changes
        .iter()
        .map(|change| {
            json!({
                "at": change.at.as_unix_seconds(),
                "from": change.from,
                "to": change.to,
                "kind": edge_kind(change.kind),
                "came": change.came,
                "distances": change.n_distances,
            })
        })
        .collect();
    json!({
        "vertices": vertices,
        "edges": edges,
        "landmarks": view.landmarks,
        "colours": ["kind", "shard"],
        "resolved": view.is_resolved,
        "twins": view.n_twins.0,
        "twin_classes": view.n_twins.1,
        "alone": view.n_alone.0,
        "with_edges": view.n_alone.1,
        "waiting": view.n_waiting,
        "left_out": view.n_left_out,
        "twin_bound": view.twin_bound,
        "judged_from": view.judged_from.map(WallTime::as_unix_seconds),
        "twin_bound_uncoloured": view.twin_bound_uncoloured,
        "landmark_nodes": view.landmark_nodes.iter().map(hsw_types::NodeId::as_str).collect::<Vec<_>>(),
        "changes": changes,
    })
}

const fn edge_kind(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Client => "client",
        EdgeKind::ForeignServer => "foreign_server",
        EdgeKind::Replication => "replication",
        EdgeKind::Membership => "membership",
        EdgeKind::RefusedLogin => "refused_login",
    }
}

pub(super) fn silence(silence: &Silence) -> Value {
    json!({
        "id": silence.id,
        "matchers": silence.spec.matchers,
        "reason": silence.spec.reason,
        "author": silence.spec.author,
        "expires_at": silence.spec.expires_at,
    })
}

/// Agents that connected, and nodes that are configured or known but did not.
pub(super) fn agents(snapshot: &Snapshot) -> Vec<Value> {
    let nodes = || {
        snapshot
            .shards
            .iter()
            .flat_map(|shard| shard.nodes.iter().map(move |n| (shard, n)))
    };
    let mut rows: Vec<(String, Value)> = snapshot
        .agents
        .iter()
        .map(|agent| {
            let found = nodes().find(|(_, node)| node.node == agent.node);
            let row = agent_row(agent, found, snapshot.wall);
            (agent.node.to_string(), row)
        })
        .collect();
    for (shard, node) in nodes() {
        if !snapshot.agents.iter().any(|agent| agent.node == node.node) {
            let row = json!({
                "node": node.node.as_str(),
                "shard": shard.shard.as_str(),
                "is_connected": false,
                "liveness": liveness(node.liveness),
                "lag_s": node.lag_s,
                "sources": node.sources.iter().map(source).collect::<Vec<_>>(),
            });
            rows.push((node.node.to_string(), row));
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn agent_row(agent: &AgentView, found: Option<(&ShardView, &NodeView)>, now: WallTime) -> Value {
    json!({
        "node": agent.node.as_str(),
        "shard": found.map(|(shard, _)| shard.shard.as_str()),
        "is_connected": agent.is_connected,
        "is_stopped": agent.is_stopped,
        "liveness": found.map(|(_, node)| liveness(node.liveness)),
        "address": agent.address,
        "version": agent.version,
        "since": agent.since.as_unix_seconds(),
        "heard_s_ago": (now.as_unix_seconds() - agent.last_heard.as_unix_seconds()).max(0.0),
        "lag_s": found.and_then(|(_, node)| node.lag_s),
        "summaries": agent.summaries,
        "spool_bytes": agent.spool_bytes,
        "spool_summaries": agent.spool_summaries,
        "dropped": agent.dropped,
        "clock_offset_s": agent.clock_offset_us.map(|us| us as f64 / 1e6),
        "rtt_ms": agent.rtt_us as f64 / 1e3,
        "is_landmark": agent.is_landmark,
        "sources": found.map_or_else(Vec::new, |(_, node)| node.sources.iter().map(source).collect()),
    })
}

fn source(status: &SourceStatus) -> Value {
    json!({
        "source": status.source,
        "state": match status.state {
            SourceState::Ok => "ok",
            SourceState::Silent => "silent",
            SourceState::Unreachable => "unreachable",
            SourceState::Refused => "refused",
            SourceState::Absent => "absent",
            SourceState::Restarted => "restarted",
        },
        "dropped": status.dropped,
        "message": status.message,
    })
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "count",
        Unit::PerSecond => "per_second",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes_per_second",
        Unit::Milliseconds => "milliseconds",
        Unit::MillisecondsPerSecond => "milliseconds_per_second",
        Unit::Seconds => "seconds",
        Unit::Ratio => "ratio",
        Unit::Cores => "cores",
    }
}

const fn family(family: Family) -> &'static str {
    match family {
        Family::Latency => "latency",
        Family::Throughput => "throughput",
        Family::Locks => "locks",
        Family::Connections => "connections",
        Family::Errors => "errors",
        Family::Cpu => "cpu",
        Family::Memory => "memory",
        Family::Storage => "storage",
        Family::Network => "network",
        Family::Maintenance => "maintenance",
        Family::Access => "access",
        Family::Replication => "replication",
        Family::Liveness => "liveness",
    }
}
