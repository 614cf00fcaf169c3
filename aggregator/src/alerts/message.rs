//! Alerts as the world reads them: labels, annotations, Alertmanager's webhook v4 form and its push form. (step 14)
//!
//! In: an incident, or a fired trigger. Out: an [`Alert`] and its JSON.
//! Invariants: AL-3 the fingerprint depends on the labels alone, by Prometheus' own function, so it is the same after
//! a restart and the same that Alertmanager shows. AL-4 annotations hold no literal: sentences come from the engine.
//! Source: prometheus/alertmanager `template/template.go` and `docs/alerts_api.md`; prometheus/common
//! `model/fnv.go`, `model/signature.go`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hsw_engine::{Incident, IncidentState, Pattern, Symptom};
use hsw_types::{WallTime, fnv1a_64, fnv1a_64_more};
use serde::Serialize;

use crate::triggers::{TriggerView, grouped};

/// Label set; sorted, as the fingerprint needs it.
pub(super) type Labels = BTreeMap<String, String>;

/// Alert name of an incident.
pub const INCIDENT_ALERT: &str = "ShardIncident";
/// Alert name of an incident whose root is an edge: who goes where he never went.
pub const INTRUSION_ALERT: &str = "ShardIntrusion";
/// Alert name of a trigger that has fired.
pub const TRIGGER_ALERT: &str = "ShardTrigger";
/// Alert name of the dead man's switch.
pub const WATCHDOG_ALERT: &str = "HyperShardWatchWatchdog";
/// Sure enough to wake somebody, even where every shard still answers.
const CONFIDENCE_CRITICAL: f64 = 0.9;
/// Sentences of evidence in a description.
const SENTENCES_MAX: usize = 5;

/// What names this aggregator in its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Label `cluster`.
    pub cluster: String,
    /// Where people reach the page, without a slash at its end; may be empty.
    pub external_url: String,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Identity.
    pub labels: Labels,
    /// What to read.
    pub annotations: Labels,
    /// First evidence.
    pub starts_at: WallTime,
    /// Recovery; `None` while it fires.
    pub ends_at: Option<WallTime>,
    /// Link to the incident on the page.
    pub generator_url: String,
}

impl Alert {
    /// The alert of an incident.
    #[must_use]
    pub fn of(incident: &Incident, sender: &Sender) -> Self {
        let id = format!("{:016x}", incident.id.0);
        let url = format!("{}/#incident/{id}", sender.external_url);
        let mut labels = vec![
            ("alertname", INCIDENT_ALERT),
            ("cluster", &sender.cluster),
            ("node", incident.node.as_str()),
            ("severity", severity(incident)),
            ("shard", incident.root.as_str()),
        ];
        if let Some(intrusion) = &incident.intrusion {
            labels[0].1 = INTRUSION_ALERT;
            labels.push(("client", &intrusion.client));
        }
        let annotations = [
            ("dashboard", url.as_str()),
            ("description", &description(incident)),
            ("incident", &id),
            ("summary", &incident.summary),
        ];
        Self {
            labels: owned(&labels),
            annotations: owned(&annotations),
            starts_at: incident.started.start(),
            ends_at: (incident.state == IncidentState::Closed)
                .then(|| incident.ended.unwrap_or(incident.raised).start()),
            generator_url: url,
        }
    }

    /// The alert of a trigger that has fired.
    #[must_use]
    pub fn of_trigger(trigger: &TriggerView, sender: &Sender) -> Self {
        let url = format!("{}/#triggers", sender.external_url);
        let (at, count) = trigger.fired.unwrap_or_default();
        let labels = [
            ("alertname", TRIGGER_ALERT),
            ("cluster", &sender.cluster),
            ("severity", trigger.severity.name()),
            ("trigger", &trigger.name),
        ];
        // One that begins anew no longer says since when it counted.
        let since = if trigger.again {
            String::new()
        } else {
            format!(" since {}", trigger.since.to_rfc3339())
        };
        let annotations = [
            ("dashboard", url.as_str()),
            ("description", &format!("Counted: {}", grouped(count))),
            ("summary", &format!("{}{since}", trigger.words)),
        ];
        Self {
            labels: owned(&labels),
            annotations: owned(&annotations),
            starts_at: at,
            ends_at: None,
            generator_url: url,
        }
    }

    /// The dead man's switch: fires always; its silence is the alarm.
    #[must_use]
    pub fn watchdog(sender: &Sender, started: WallTime) -> Self {
        let labels = [
            ("alertname", WATCHDOG_ALERT),
            ("cluster", &sender.cluster),
            ("severity", "none"),
        ];
        let annotations = [
            ("summary", "HyperShardWatch is running"),
            (
                "description",
                "Always firing. When it stops, the aggregator or the way from it to here is broken.",
            ),
        ];
        Self {
            labels: owned(&labels),
            annotations: owned(&annotations),
            starts_at: started,
            ends_at: None,
            generator_url: format!("{}/", sender.external_url),
        }
    }

    /// 16 hex digits of FNV-1a over the labels, as Prometheus computes it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = fnv1a_64(&[]);
        for (name, value) in &self.labels {
            for part in [name, value] {
                hash = fnv1a_64_more(fnv1a_64_more(hash, part.as_bytes()), &[0xff]);
            }
        }
        format!("{hash:016x}")
    }

    /// The body of a webhook call, version 4: one alert is one group.
    #[must_use]
    pub fn webhook_body(&self, sender: &Sender) -> Vec<u8> {
        let status = if self.ends_at.is_some() {
            "resolved"
        } else {
            "firing"
        };
        let group_labels: Labels = self
            .labels
            .iter()
            .filter(|(name, _)| {
                matches!(
                    name.as_str(),
                    "alertname" | "client" | "cluster" | "shard" | "trigger"
                )
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut group_key = "{}:{".to_owned();
        for (at, (name, value)) in group_labels.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(group_key, "{comma}{name}={value:?}");
        }
        group_key.push('}');
        let body = WebhookBody {
            version: "4",
            group_key,
            truncated_alerts: 0,
            status,
            receiver: "hypershardwatch",
            group_labels: &group_labels,
            common_labels: &self.labels,
            common_annotations: &self.annotations,
            external_url: &sender.external_url,
            alerts: [WebhookAlert {
                status,
                labels: &self.labels,
                annotations: &self.annotations,
                starts_at: self.starts_at.to_rfc3339(),
                // What Alertmanager sends for an alert without an end: Go's zero time.
                ends_at: self
                    .ends_at
                    .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), WallTime::to_rfc3339),
                generator_url: &self.generator_url,
                fingerprint: self.fingerprint(),
            }],
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// The body of `POST /api/v2/alerts`; those that fire end at `firing_until` unless told again.
#[must_use]
pub(super) fn push_body(alerts: &[Alert], firing_until: WallTime) -> Vec<u8> {
    let rows: Vec<_> = alerts
        .iter()
        .map(|alert| PushAlert {
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.starts_at.to_rfc3339(),
            ends_at: alert.ends_at.unwrap_or(firing_until).to_rfc3339(),
            generator_url: &alert.generator_url,
        })
        .collect();
    serde_json::to_vec(&rows).unwrap_or_default()
}

/// `critical` when something does not answer, when others suffer too, or when the engine is very sure; else `warning`.
#[must_use]
pub fn severity(incident: &Incident) -> &'static str {
    if let Some(intrusion) = &incident.intrusion {
        // A lone new pair is for the morning, unless it shows more.
        return match intrusion.pattern {
            Pattern::UnexpectedPair | Pattern::Bridge => "warning",
            Pattern::FanOut | Pattern::Escalation | Pattern::Sybils => "critical",
        };
    }
    let is_gone = incident.evidence.iter().any(|e| {
        !matches!(
            e.symptom,
            Symptom::Deviation
                | Symptom::LogLine
                | Symptom::Hot
                | Symptom::Interaction
                | Symptom::AgentLost
        )
    });
    if is_gone || !incident.affected.is_empty() || incident.confidence >= CONFIDENCE_CRITICAL {
        "critical"
    } else {
        "warning"
    }
}

fn description(incident: &Incident) -> String {
    let mut text = String::new();
    for evidence in incident.evidence.iter().take(SENTENCES_MAX) {
        let _ = writeln!(text, "- {}", evidence.sentence);
    }
    if incident.evidence.len() > SENTENCES_MAX {
        let _ = writeln!(
            text,
            "- and {} more",
            incident.evidence.len() - SENTENCES_MAX
        );
    }
    if !incident.affected.is_empty() {
        let names: Vec<_> = incident.affected.iter().map(|(s, _)| s.as_str()).collect();
        let _ = writeln!(text, "Also affected: {}", names.join(", "));
    }
    text.truncate(text.trim_end().len());
    text
}

fn owned(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookBody<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u32,
    status: &'static str,
    receiver: &'static str,
    group_labels: &'a Labels,
    common_labels: &'a Labels,
    common_annotations: &'a Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: [WebhookAlert<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookAlert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PushAlert<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::alerts::fixture;

    fn sender() -> Sender {
        Sender {
            cluster: "orders".to_owned(),
            external_url: "https://watch.example".to_owned(),
        }
    }

    fn check(body: &[u8], expected: &Expect) {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        expected.assert_eq(&serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn an_intrusion_is_an_alert_of_its_own_beside_its_shards() {
        let of_shard = fixture::incident(7, "shard-3");
        let mut of_edge = fixture::incident(8, "shard-3");
        of_edge.intrusion = Some(hsw_engine::Intrusion {
            pattern: Pattern::Escalation,
            client: "client:10.0.0.9/reports".to_owned(),
            edges: Vec::new(),
            reasons: vec!["nobody called pg_dump was seen before".to_owned()],
            p: 1e-4,
            n_distances: 0,
            is_accepted: false,
        });
        let [shard, edge] = [&of_shard, &of_edge].map(|it| Alert::of(it, &sender()));
        assert_ne!(shard.fingerprint(), edge.fingerprint());
        assert_eq!(edge.labels["alertname"], INTRUSION_ALERT);
        assert_eq!(edge.labels["client"], "client:10.0.0.9/reports");
        assert_eq!(edge.labels["severity"], "critical");
        let body = String::from_utf8(edge.webhook_body(&sender())).unwrap();
        assert!(
            body.contains(r#"client=\"client:10.0.0.9/reports\""#),
            "{body}"
        );
    }

    #[test]
    fn a_webhook_call_has_exactly_the_fields_of_version_4() {
        let incident = fixture::incident(7, "shard-3");
        let alert = Alert::of(&incident, &sender());
        check(
            &alert.webhook_body(&sender()),
            &expect![[r#"
            {
              "alerts": [
                {
                  "annotations": {
                    "dashboard": "https://watch.example/#incident/0000000000000007",
                    "description": "- sessions waiting for a lock: 7 (usually 0; siblings 0)",
                    "incident": "0000000000000007",
                    "summary": "shard-3: sessions wait for a lock"
                  },
                  "endsAt": "0001-01-01T00:00:00Z",
                  "fingerprint": "0946d7008d09ad20",
                  "generatorURL": "https://watch.example/#incident/0000000000000007",
                  "labels": {
                    "alertname": "ShardIncident",
                    "cluster": "orders",
                    "node": "shard-3-a",
                    "severity": "warning",
                    "shard": "shard-3"
                  },
                  "startsAt": "2023-11-14T22:13:20.000Z",
                  "status": "firing"
                }
              ],
              "commonAnnotations": {
                "dashboard": "https://watch.example/#incident/0000000000000007",
                "description": "- sessions waiting for a lock: 7 (usually 0; siblings 0)",
                "incident": "0000000000000007",
                "summary": "shard-3: sessions wait for a lock"
              },
              "commonLabels": {
                "alertname": "ShardIncident",
                "cluster": "orders",
                "node": "shard-3-a",
                "severity": "warning",
                "shard": "shard-3"
              },
              "externalURL": "https://watch.example",
              "groupKey": "{}:{alertname=\"ShardIncident\", cluster=\"orders\", shard=\"shard-3\"}",
              "groupLabels": {
                "alertname": "ShardIncident",
                "cluster": "orders",
                "shard": "shard-3"
              },
              "receiver": "hypershardwatch",
              "status": "firing",
              "truncatedAlerts": 0,
              "version": "4"
            }"#]],
        );
    }

    #[test]
    fn a_push_names_the_end_of_what_fires() {
        let mut incident = fixture::incident(7, "shard-3");
        let firing = Alert::of(&incident, &sender());
        fixture::close(&mut incident, 90);
        let resolved = Alert::of(&incident, &sender());
        let until = WallTime::from_unix_seconds(1_700_000_400);
        check(
            &push_body(&[firing, resolved], until),
            &expect![[r#"
            [
              {
                "annotations": {
                  "dashboard": "https://watch.example/#incident/0000000000000007",
                  "description": "- sessions waiting for a lock: 7 (usually 0; siblings 0)",
                  "incident": "0000000000000007",
                  "summary": "shard-3: sessions wait for a lock"
                },
                "endsAt": "2023-11-14T22:20:00.000Z",
                "generatorURL": "https://watch.example/#incident/0000000000000007",
                "labels": {
                  "alertname": "ShardIncident",
                  "cluster": "orders",
                  "node": "shard-3-a",
                  "severity": "warning",
                  "shard": "shard-3"
                },
                "startsAt": "2023-11-14T22:13:20.000Z"
              },
              {
                "annotations": {
                  "dashboard": "https://watch.example/#incident/0000000000000007",
                  "description": "- sessions waiting for a lock: 7 (usually 0; siblings 0)",
                  "incident": "0000000000000007",
                  "summary": "shard-3: sessions wait for a lock"
                },
                "endsAt": "2023-11-14T22:14:50.000Z",
                "generatorURL": "https://watch.example/#incident/0000000000000007",
                "labels": {
                  "alertname": "ShardIncident",
                  "cluster": "orders",
                  "node": "shard-3-a",
                  "severity": "warning",
                  "shard": "shard-3"
                },
                "startsAt": "2023-11-14T22:13:20.000Z"
              }
            ]"#]],
        );
    }

    #[test]
    fn the_fingerprint_is_the_one_prometheus_computes() {
        // model.LabelSet{}.Fingerprint() is FNV-1a's offset basis.
        let mut alert = Alert::watchdog(&sender(), WallTime(0));
        alert.labels.clear();
        assert_eq!(alert.fingerprint(), "cbf29ce484222325");
        let first = Alert::of(&fixture::incident(7, "shard-3"), &sender());
        let mut again = first.clone();
        again.annotations.clear();
        again.ends_at = Some(WallTime(5));
        assert_eq!(first.fingerprint(), again.fingerprint());
        let other = Alert::of(&fixture::incident(7, "shard-4"), &sender());
        assert_ne!(first.fingerprint(), other.fingerprint());
    }

    #[test]
    fn what_does_not_answer_is_critical() {
        let mut incident = fixture::incident(1, "shard-3");
        assert_eq!(severity(&incident), "warning");
        incident.evidence[0].symptom = Symptom::DatabaseSilent;
        assert_eq!(severity(&incident), "critical");
    }
}
