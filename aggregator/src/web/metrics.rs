//! `/metrics`: Prometheus text 0.0.4 about HyperShardWatch itself and the health it sees. (step 15)
//!
//! Invariants: WE-6 labels are bounded by the shard map: `cluster`, `shard`, `node`, `receiver`, `reason`; never a
//! query, a client or a template. WE-7 every family has HELP and TYPE, once, before its samples.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use hsw_engine::{Health, IncidentState, NodeLiveness, ShardView};

use super::{Parts, probes};
use crate::alerts::Stats;
use crate::shared::{AgentView, Snapshot};
use crate::triggers::TriggerState;

/// `GET /metrics`.
pub(super) async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, text(&parts))
}

fn text(parts: &Parts) -> String {
    let snapshot = parts.shared.snapshot.borrow().clone();
    let mut page = Page {
        text: String::with_capacity(8 << 10),
    };
    about_itself(&mut page, &snapshot, parts);
    for (name, total) in parts.shared.counters.all() {
        page.counter(name, "Counted by the aggregator since its start.", total);
    }
    for (name, total) in &snapshot.engine_counters {
        page.counter(
            &format!("engine_{name}"),
            "Counted by the engine since its start.",
            *total,
        );
    }
    triggers(&mut page, &snapshot);
    inference(&mut page, &snapshot);
    shards(&mut page, &snapshot);
    nodes_of_shards(&mut page, &snapshot);
    agents(&mut page, &snapshot);
    alerts(&mut page, &parts.alerts);
    page.text
}

fn about_itself(page: &mut Page, snapshot: &Snapshot, parts: &Parts) {
    page.family(
        "build_info",
        "gauge",
        "Version of the aggregator; always 1.",
    );
    let commit = option_env!("HSW_COMMIT").unwrap_or("unknown");
    page.sample(
        "build_info",
        &[("version", env!("CARGO_PKG_VERSION")), ("commit", commit)],
        1.0,
    );
    page.gauge(
        "start_time_seconds",
        "When the aggregator started.",
        snapshot.started.as_unix_seconds(),
    );
    page.gauge(
        "snapshot_time_seconds",
        "When the engine last moved.",
        snapshot.wall.as_unix_seconds(),
    );
    let is_ready = probes::unready(snapshot).is_empty();
    page.gauge(
        "ready",
        "1 when detection works and data is kept.",
        f64::from(u8::from(is_ready)),
    );
    page.gauge(
        "store_bytes",
        "Size of the store's file.",
        snapshot.store.bytes as f64,
    );
    page.gauge(
        "store_summaries",
        "Summaries held in the store.",
        snapshot.store.summaries as f64,
    );
    let has_trouble = snapshot.store.trouble.is_some();
    page.gauge(
        "store_trouble",
        "1 while the store takes no data.",
        f64::from(u8::from(has_trouble)),
    );
    if let Some(identity) = &parts.identity {
        let expiry = identity.cert_expires_at() as f64;
        page.gauge(
            "cert_expiry_timestamp_seconds",
            "When the aggregator's certificate expires.",
            expiry,
        );
    }
    let now = crate::alerts::wall_now();
    let n_silences = parts
        .silences
        .list()
        .iter()
        .filter(|s| s.is_active(now))
        .count();
    page.gauge("silences", "Silences in force.", n_silences as f64);
}

fn triggers(page: &mut Page, snapshot: &Snapshot) {
    let all = snapshot.triggers.iter();
    let n_waiting = all.filter(|t| t.state == TriggerState::Waiting).count();
    let n_fired = snapshot.triggers.len() - n_waiting;
    page.gauge("triggers_waiting", "Triggers that count.", n_waiting as f64);
    page.gauge(
        "triggers_fired",
        "Triggers that have fired and are not removed.",
        n_fired as f64,
    );
    let totals = snapshot.trigger_totals;
    for (name, help, total) in [
        ("trigger_fired_total", "Firings of triggers.", totals.fired),
        (
            "trigger_refused_total",
            "Triggers not taken.",
            totals.refused,
        ),
        (
            "trigger_messages_up_total",
            "What agents told of triggers.",
            totals.ups,
        ),
        (
            "trigger_messages_down_total",
            "What agents were told of triggers.",
            totals.downs,
        ),
    ] {
        page.counter(name, help, total);
    }
}

fn inference(page: &mut Page, snapshot: &Snapshot) {
    let status = &snapshot.inference;
    page.family(
        "inference_provider",
        "gauge",
        "What scores: cuda, cpu, or none where the statistical fusion judges alone; always 1.",
    );
    let model = status.model.as_deref().unwrap_or("");
    let labels = [
        ("provider", status.provider),
        ("model", model),
        ("checksum", status.checksum.as_str()),
    ];
    page.sample("inference_provider", &labels, 1.0);
    page.gauge(
        "inference_shadow",
        "1 while a new model scores beside the old one.",
        f64::from(u8::from(status.shadow.is_some())),
    );
    page.gauge(
        "inference_seconds",
        "How long the last batch took.",
        status.totals.last_us as f64 / 1e6,
    );
    for (name, help, total) in status.totals.named() {
        page.counter(name, help, total);
    }
}

fn shards(page: &mut Page, snapshot: &Snapshot) {
    let cluster = snapshot.cluster.as_str();
    let n_open = snapshot
        .incidents
        .iter()
        .filter(|i| i.state == IncidentState::Open)
        .count();
    page.gauge("incidents_open", "Incidents that are open.", n_open as f64);
    page.family(
        "shard_health",
        "gauge",
        "0 unknown, 1 well, 2 troubled, 3 root of an open incident.",
    );
    for view in &snapshot.shards {
        let health = match view.health {
            Health::Unknown => 0.0,
            Health::Well => 1.0,
            Health::Troubled => 2.0,
            Health::Bad => 3.0,
        };
        page.sample(
            "shard_health",
            &[("cluster", cluster), ("shard", view.shard.as_str())],
            health,
        );
    }
    page.family(
        "shard_badness_ratio",
        "gauge",
        "0 as usual, 1 as bad as it gets.",
    );
    for view in &snapshot.shards {
        if let Some(badness) = view.badness {
            page.sample(
                "shard_badness_ratio",
                &[("cluster", cluster), ("shard", view.shard.as_str())],
                badness,
            );
        }
    }
    judged(page, snapshot);
}

/// What the detectors say of shards together.
fn judged(page: &mut Page, snapshot: &Snapshot) {
    let cluster = snapshot.cluster.as_str();
    let all = || {
        let judged =
            |view: &'_ ShardView| Some((view.judgement.as_ref()?.probability, view.hyperscore?));
        snapshot
            .shards
            .iter()
            .filter_map(move |view| Some((view.shard.as_str(), judged(view)?)))
    };
    page.family(
        "shard_sick_probability",
        "gauge",
        "Probability that the shard is sick, by the model where one answers, else by its detectors.",
    );
    for (shard, (probability, _)) in all() {
        page.sample(
            "shard_sick_probability",
            &[("cluster", cluster), ("shard", shard)],
            probability,
        );
    }
    page.family(
        "shard_hyperscore",
        "gauge",
        "Health grade, 100 (worst) to 194.",
    );
    for (shard, (_, score)) in all() {
        page.sample(
            "shard_hyperscore",
            &[("cluster", cluster), ("shard", shard)],
            score,
        );
    }
}

fn nodes_of_shards(page: &mut Page, snapshot: &Snapshot) {
    let nodes = || {
        snapshot
            .shards
            .iter()
            .flat_map(|s| s.nodes.iter().map(move |n| (s, n)))
    };
    page.family("node_up", "gauge", "1 while agent and database speak.");
    for (shard, node) in nodes() {
        let is_up = f64::from(u8::from(node.liveness == NodeLiveness::Alive));
        page.sample(
            "node_up",
            &[
                ("shard", shard.shard.as_str()),
                ("node", node.node.as_str()),
            ],
            is_up,
        );
    }
    page.family(
        "node_lag_seconds",
        "gauge",
        "Age of the node's newest window.",
    );
    for (shard, node) in nodes() {
        if let Some(lag_s) = node.lag_s {
            page.sample(
                "node_lag_seconds",
                &[
                    ("shard", shard.shard.as_str()),
                    ("node", node.node.as_str()),
                ],
                lag_s,
            );
        }
    }
    page.family(
        "node_source_dropped_total",
        "counter",
        "What a node's sources left out over a limit.",
    );
    for (shard, node) in nodes() {
        let dropped: u64 = node.sources.iter().map(|source| source.dropped).sum();
        let labels = [
            ("shard", shard.shard.as_str()),
            ("node", node.node.as_str()),
        ];
        page.sample("node_source_dropped_total", &labels, dropped as f64);
    }
}

/// Name, type, help and value of a family with one sample per agent.
type OfAgent = (
    &'static str,
    &'static str,
    &'static str,
    fn(&AgentView) -> Option<f64>,
);

const OF_AGENT: [OfAgent; 8] = [
    (
        "agent_connected",
        "gauge",
        "1 while the agent is connected.",
        |a| Some(f64::from(u8::from(a.is_connected))),
    ),
    (
        "agent_spool_bytes",
        "gauge",
        "Bytes that wait in the agent's spool.",
        |a| Some(a.spool_bytes as f64),
    ),
    (
        "agent_spool_summaries",
        "gauge",
        "Summaries that wait in the agent's spool.",
        |a| Some(a.spool_summaries as f64),
    ),
    (
        "agent_dropped_total",
        "counter",
        "Summaries the agent dropped because its spool was full.",
        |a| Some(a.dropped as f64),
    ),
    (
        "agent_summaries_total",
        "counter",
        "Summaries committed since the aggregator started.",
        |a| Some(a.summaries as f64),
    ),
    (
        "agent_rtt_seconds",
        "gauge",
        "Round trip time to the agent.",
        |a| Some(a.rtt_us as f64 / 1e6),
    ),
    (
        "agent_clock_offset_seconds",
        "gauge",
        "The agent's clock minus the aggregator's.",
        |a| a.clock_offset_us.map(|us| us as f64 / 1e6),
    ),
    (
        "agent_is_landmark",
        "gauge",
        "1 while the agent stands for a landmark of the interaction graph and looks at connections more often.",
        |a| a.is_landmark.map(|is| f64::from(u8::from(is))),
    ),
];

fn agents(page: &mut Page, snapshot: &Snapshot) {
    for (name, kind, help, value) in OF_AGENT {
        page.family(name, kind, help);
        for agent in &snapshot.agents {
            if let Some(value) = value(agent) {
                page.sample(name, &[("node", agent.node.as_str())], value);
            }
        }
    }
}

fn alerts(page: &mut Page, stats: &Stats) {
    page.family("alerts_sent_total", "counter", "Messages a receiver took.");
    for receiver in &stats.receivers {
        page.sample(
            "alerts_sent_total",
            &[("receiver", &receiver.name)],
            receiver.sent.load(Ordering::Relaxed) as f64,
        );
    }
    page.family(
        "alerts_failed_total",
        "counter",
        "Tries that failed: retried, refused (4xx) or dropped (queue full).",
    );
    for receiver in &stats.receivers {
        let counts = [
            ("retried", &receiver.retried),
            ("refused", &receiver.refused),
            ("dropped", &receiver.dropped),
        ];
        for (reason, count) in counts {
            let labels = [("receiver", receiver.name.as_str()), ("reason", reason)];
            page.sample(
                "alerts_failed_total",
                &labels,
                count.load(Ordering::Relaxed) as f64,
            );
        }
    }
    page.family(
        "alerts_waiting",
        "gauge",
        "Messages that wait for a receiver.",
    );
    for receiver in &stats.receivers {
        page.sample(
            "alerts_waiting",
            &[("receiver", &receiver.name)],
            receiver.waiting.load(Ordering::Relaxed) as f64,
        );
    }
    let suppressed = stats.suppressed.load(Ordering::Relaxed);
    page.counter(
        "alerts_suppressed_total",
        "Incidents whose messages a silence kept back.",
        suppressed,
    );
}

/// The text as it grows.
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.text,
            "# HELP hsw_{name} {help}\n# TYPE hsw_{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "hsw_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let escaped = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{before}{label}=\"{escaped}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, total: u64) {
        let ending = if name.ends_with("_total") {
            ""
        } else {
            "_total"
        };
        let name = format!("{name}{ending}");
        self.family(&name, "counter", help);
        let _ = writeln!(self.text, "hsw_{name} {total}");
    }
}
