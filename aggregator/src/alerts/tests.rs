//! Alerts over real HTTP: a receiver that can refuse, fail and count.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Alertmanager, Alerts, Config, Stats, Webhook, fixture};
use crate::shared::Snapshot;
use crate::web::demo;

/// What came in: path, authorization, body.
type Heard = (String, String, Value);

#[derive(Clone, Default)]
struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
    /// Statuses to answer first; 200 afterwards.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Ear {
    async fn listen(self) -> String {
        let app = Router::new().fallback(hear).with_state(self);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum_serve(listener, app).await });
        format!("http://{address}")
    }

    fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until `n` messages came in.
    async fn until(&self, n: usize) -> Vec<Heard> {
        for _ in 0..200 {
            if self.all().len() >= n {
                return self.all();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("heard {:#?}", self.all());
    }
}

async fn axum_serve(listener: TcpListener, app: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(app.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
        );
    }
}

async fn hear(State(ear): State<Ear>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let token = headers
        .get("authorization")
        .map_or("", |value| value.to_str().unwrap());
    let row = (
        uri.path().to_owned(),
        token.to_owned(),
        serde_json::from_slice(&body).unwrap(),
    );
    ear.heard.lock().unwrap().push(row);
    let mut answers = ear.answers.lock().unwrap();
    let status = if answers.is_empty() {
        200
    } else {
        answers.remove(0)
    };
    StatusCode::from_u16(status).unwrap()
}

fn webhook(url: &str) -> Webhook {
    Webhook {
        url: Some(url.to_owned()),
        url_file: None,
        send_resolved: true,
        send_watchdog: false,
        timeout_s: 2,
        bearer_token_file: None,
    }
}

fn snapshot(incidents: &[hsw_engine::Incident]) -> Arc<Snapshot> {
    let mut snapshot = demo::snapshot(3, true);
    snapshot.incidents = incidents.iter().cloned().map(Arc::new).collect();
    snapshot.triggers.clear();
    // The fixture's incident lies in the past: this life began before it.
    snapshot.started = hsw_types::WindowIndex(fixture::T0 - 60).start();
    Arc::new(snapshot)
}

fn started(config: Config) -> (watch::Sender<Arc<Snapshot>>, Arc<Stats>) {
    let alerts = Alerts::new(config).unwrap();
    let stats = alerts.stats();
    let (parts, snapshots) = demo::parts(Snapshot::clone(&snapshot(&[])));
    tokio::spawn(alerts.run(parts.shared, parts.silences));
    (snapshots, stats)
}

fn states(heard: &[Heard]) -> Vec<&str> {
    heard
        .iter()
        .map(|(_, _, body)| body["status"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_webhook_hears_of_a_fired_trigger_once() {
    let ear = Ear::default();
    let url = ear.clone().listen().await;
    let (snapshots, _) = started(Config {
        webhook: vec![webhook(&format!("{url}/hook"))],
        ..Config::default()
    });
    let fired = demo::snapshot(3, true).triggers;
    for _ in 0..3 {
        let mut now = Snapshot::clone(&snapshot(&[]));
        now.triggers.clone_from(&fired);
        snapshots.send_replace(Arc::new(now));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let heard = ear.until(1).await;
    assert_eq!(states(&heard), ["firing"]);
    let alert = &heard[0].2["alerts"][0];
    assert_eq!(alert["labels"]["alertname"], "ShardTrigger");
    assert_eq!(alert["labels"]["trigger"], "big-scans");
}

#[tokio::test]
async fn a_webhook_hears_of_an_incident_once_and_of_its_end_once() {
    let ear = Ear::default();
    let url = ear.clone().listen().await;
    let (snapshots, stats) = started(Config {
        webhook: vec![webhook(&format!("{url}/hook"))],
        ..Config::default()
    });
    let mut incident = fixture::incident(1, "shard-3");
    for revision in 1..4 {
        incident.revision = revision;
        snapshots.send_replace(snapshot(std::slice::from_ref(&incident)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(states(&ear.until(1).await), ["firing"]);
    fixture::close(&mut incident, 60);
    snapshots.send_replace(snapshot(&[incident]));
    let heard = ear.until(2).await;
    assert_eq!(states(&heard), ["firing", "resolved"]);
    assert_eq!(heard[0].0, "/hook");
    let fingerprint = |at: usize| heard[at].2["alerts"][0]["fingerprint"].clone();
    assert_eq!(fingerprint(0), fingerprint(1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        stats.receivers[0]
            .sent
            .load(std::sync::atomic::Ordering::Relaxed),
        2
    );
}

#[tokio::test]
async fn a_failing_receiver_is_tried_again_and_a_refusal_is_not() {
    let ear = Ear::default();
    *ear.answers.lock().unwrap() = vec![503, 200, 400];
    let url = ear.clone().listen().await;
    let (snapshots, stats) = started(Config {
        webhook: vec![webhook(&url)],
        ..Config::default()
    });
    let mut incident = fixture::incident(1, "shard-3");
    snapshots.send_replace(snapshot(std::slice::from_ref(&incident)));
    assert_eq!(states(&ear.until(2).await), ["firing", "firing"]);
    fixture::close(&mut incident, 60);
    snapshots.send_replace(snapshot(&[incident]));
    ear.until(3).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(ear.all().len(), 3, "a 400 is final");
    let receiver = &stats.receivers[0];
    let counted = [&receiver.sent, &receiver.retried, &receiver.refused];
    assert_eq!(
        counted.map(|count| count.load(std::sync::atomic::Ordering::Relaxed)),
        [1, 1, 1]
    );
}

#[tokio::test]
async fn an_alertmanager_is_told_all_that_stands_with_the_watchdog_and_a_token() {
    let ear = Ear::default();
    let url = ear.clone().listen().await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "secret\n").unwrap();
    let (snapshots, _stats) = started(Config {
        alertmanager: vec![Alertmanager {
            url: format!("{url}/"),
            timeout_s: 2,
            bearer_token_file: Some(token.path().to_owned()),
        }],
        ..Config::default()
    });
    let first = ear.until(1).await;
    assert_eq!(first[0].0, "/api/v2/alerts");
    assert_eq!(first[0].1, "Bearer secret");
    assert_eq!(
        first[0].2[0]["labels"]["alertname"],
        "HyperShardWatchWatchdog"
    );
    snapshots.send_replace(snapshot(&[fixture::incident(1, "shard-3")]));
    let heard = ear.until(2).await;
    let alert = &heard[1].2[0];
    assert_eq!(alert["labels"]["shard"], "shard-3");
    assert!(alert["endsAt"].as_str() > alert["startsAt"].as_str());
}

#[test]
fn a_full_queue_drops_the_oldest_and_counts_it() {
    use super::worker::{QUEUE_MAX, Queue, Receiver};
    let (queue, receiver) = (Queue::default(), Receiver::default());
    for at in 0..QUEUE_MAX + 3 {
        queue.push(Bytes::from(at.to_string()), &receiver);
    }
    let load =
        |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        (load(&receiver.dropped), load(&receiver.waiting)),
        (3, QUEUE_MAX as u64)
    );
    queue.push_if_empty(Bytes::new(), &receiver);
    assert_eq!(
        load(&receiver.dropped),
        3,
        "the watchdog does not push others out"
    );
}

/// `HSW_ALERTMANAGER=http://127.0.0.1:9093 cargo test -p hsw-aggregator real_alertmanager -- --ignored`.
#[tokio::test]
#[ignore = "needs a running Alertmanager"]
async fn a_real_alertmanager_shows_the_alert_under_our_fingerprint_and_resolves_it() {
    let url =
        std::env::var("HSW_ALERTMANAGER").unwrap_or_else(|_| "http://127.0.0.1:9093".to_owned());
    let (snapshots, stats) = started(Config {
        alertmanager: vec![Alertmanager {
            url: url.clone(),
            timeout_s: 5,
            bearer_token_file: None,
        }],
        ..Config::default()
    });
    let active = async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let uri = format!("{url}/api/v2/alerts").parse().unwrap();
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Empty<Bytes>>();
        let body = client.get(uri).await.unwrap().into_body();
        let bytes = http_body_util::BodyExt::collect(body)
            .await
            .unwrap()
            .to_bytes();
        let alerts: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
        let ours = alerts.iter().find(|alert| name(alert) == "ShardIncident");
        let has_watchdog = alerts
            .iter()
            .any(|alert| name(alert) == "HyperShardWatchWatchdog");
        (ours.map(|alert| alert["fingerprint"].clone()), has_watchdog)
    };
    let mut incident = fixture::incident(1, "shard-3");
    snapshots.send_replace(snapshot(std::slice::from_ref(&incident)));
    let sender = super::Sender {
        cluster: "orders".to_owned(),
        external_url: String::new(),
    };
    let fingerprint = super::Alert::of(&incident, &sender).fingerprint();
    assert_eq!(active().await, (Some(fingerprint.into()), true));
    fixture::close(&mut incident, 60);
    snapshots.send_replace(snapshot(&[incident]));
    assert_eq!(active().await, (None, true));
    assert_eq!(
        stats.receivers[0]
            .refused
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}
