//! The whole server over real sockets, with a store in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hsw_shell::Shutdown;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::demo;
use super::{Config, bind, serve};
use crate::shared::Snapshot;

/// Serves `snapshot`; the sender stops it when dropped.
async fn started(snapshot: Snapshot, token: Option<&str>) -> (SocketAddr, impl Sized) {
    let mut config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..Config::default()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    if let Some(token) = token {
        std::fs::write(file.path(), token).unwrap();
        config.token_file = Some(file.path().to_owned());
    }
    let bound = bind(&config).await.unwrap();
    let address = bound.address().unwrap();
    let (parts, snapshots) = demo::parts(snapshot);
    let (stop, shutdown) = Shutdown::manual();
    tokio::spawn(serve(bound, parts, shutdown));
    (address, (stop, snapshots, file))
}

/// One request on its own connection; status line, head and body.
async fn send(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head[9..12].parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    send(address, &request).await
}

async fn get_json(address: SocketAddr, path: &str) -> Value {
    let (status, _, body) = get(address, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

async fn post(address: SocketAddr, extra: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "POST /api/v1/silences HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{extra}\r\n{body}",
        body.len()
    );
    let (status, _, body) = send(address, &request).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_trigger_is_added_once_shown_and_removed() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    let listed = get_json(address, "/api/v1/triggers").await;
    assert_eq!(listed["triggers"][0]["state"], "fired");
    assert_eq!(listed["triggers"][1]["count"], 6_200);
    let request = |method: &str, path: &str, body: &str| {
        format!(
            "{method} /api/v1/triggers{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let spec = r#"{"name":"slow","on":"latency_ms","range":"100..1000","count":10000}"#;
    let (status, _, body) = send(address, &request("POST", "", spec)).await;
    assert_eq!(status, 201, "{body}");
    assert!(
        body.contains("statements with latency_ms in [100, 1000)"),
        "{body}"
    );
    assert_eq!(send(address, &request("POST", "", spec)).await.0, 409);
    let bad = spec.replace("100..1000", "1000..100");
    let (status, _, body) = send(address, &request("POST", "", &bad)).await;
    assert!(
        status == 400 && body.contains("FROM below TO"),
        "{status} {body}"
    );
    let unknown = spec.replace("count", "cuont");
    assert_eq!(send(address, &request("POST", "", &unknown)).await.0, 422);
    assert_eq!(send(address, &request("DELETE", "/slow", "")).await.0, 204);
    assert_eq!(send(address, &request("DELETE", "/slow", "")).await.0, 404);
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn the_api_tells_shards_incidents_and_the_series_that_prove_them() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    let shards = get_json(address, "/api/v1/shards").await;
    assert_eq!(shards["shards"].as_array().unwrap().len(), 6);
    assert_eq!(shards["shards"][3]["health"], "bad");
    assert_eq!(shards["shards"][3]["hyperscore"], 100.2);
    assert_eq!(shards["shards"][3]["hyperscore_mode"], "centred");
    assert_eq!(shards["shards"][3]["judgement"]["probability"], 0.97);
    let open = get_json(address, "/api/v1/incidents?state=open").await;
    let incident = &open["incidents"][0];
    assert_eq!(open["incidents"].as_array().unwrap().len(), 1);
    assert_eq!(incident["id"], "9f3c2ab177d04e15");
    assert_eq!(
        incident["root"],
        json!({ "shard": "shard-3", "node": "shard-3-a" })
    );
    assert_eq!(incident["ended_at"], Value::Null);
    let all = get_json(address, "/api/v1/incidents?limit=1").await;
    assert_eq!(all["incidents"].as_array().unwrap().len(), 1);
    let one = get_json(address, "/api/v1/incidents/9f3c2ab177d04e15").await;
    assert_eq!(one, *incident);
    let series = get_json(
        address,
        "/api/v1/series?incident=9f3c2ab177d04e15&evidence=0",
    )
    .await;
    let lines = series["series"].as_array().unwrap();
    assert_eq!(series["metric"], "pg.sessions_waiting_lock");
    assert_eq!(lines.len(), 5, "the five primaries; no replica, no router");
    assert_eq!(
        (&lines[0]["node"], &lines[0]["focus"]),
        (&json!("shard-3-a"), &json!(true))
    );
    assert!(lines[0]["points"].as_array().unwrap().len() > 200);
    assert_eq!(get(address, "/api/v1/incidents/nonsense").await.0, 404);
    assert_eq!(get(address, "/api/v1/incidents?state=odd").await.0, 400);
    assert_eq!(
        get(address, "/api/v1/series?metric=a&minutes=0").await.0,
        400
    );
    assert_eq!(get(address, "/nothing").await.0, 404);
    assert_eq!(
        get_json(address, "/api/v1/graph").await["edges"]
            .as_array()
            .unwrap()
            .len(),
        12
    );
    assert_eq!(
        get_json(address, "/api/v1/agents").await["agents"]
            .as_array()
            .unwrap()
            .len(),
        11
    );
}

#[tokio::test]
async fn what_is_hot_is_told_now_and_back_then_and_wrong_questions_are_refused() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    let now = get_json(address, "/api/v1/hot?shard=shard-3").await;
    assert_eq!(now["counts"], "calls");
    let first = &now["items"][0];
    assert!(first["name"].as_str().unwrap().starts_with("SELECT"));
    assert!(first["rate"].as_f64().unwrap() > 10.0);
    assert_eq!(first["trend"].as_array().unwrap().len(), 30);
    let all = get_json(address, "/api/v1/hot?limit=2").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert!(all["total_rate"].as_f64() > now["total_rate"].as_f64());
    let then = get_json(address, "/api/v1/hot?at=1795000000").await;
    assert_eq!(then["to"].as_i64(), Some(1_795_000_020));
    // 600 calls in the minute.
    assert_eq!(then["items"][0]["rate"].as_f64(), Some(10.0));
    assert_eq!(get(address, "/api/v1/hot?shard=nowhere").await.0, 404);
    for wrong in [
        "kind=odd",
        "limit=0",
        "from=5",
        "from=9&to=5",
        "at=1&from=5&to=9",
    ] {
        let path = format!("/api/v1/hot?{wrong}");
        assert_eq!(get(address, &path).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_incident_about_edges_names_them_and_can_be_accepted() {
    let mut snapshot = demo::snapshot(5, false);
    let open = (snapshot.incidents.iter_mut())
        .find(|incident| incident.state == hsw_engine::IncidentState::Open);
    let open = Arc::make_mut(open.unwrap());
    let id = format!("{:016x}", open.id.0);
    let path = format!("/api/v1/incidents/{id}/accept");
    let request = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Content-Length: 2\r\n\r\n{{}}"
        )
    };
    {
        let (address, _kept) = started(demo::snapshot(5, false), None).await;
        let (status, _, body) = send(address, &request(&path)).await;
        assert_eq!(status, 409, "an incident of a shard: {body}");
    }
    open.intrusion = Some(hsw_engine::Intrusion {
        pattern: hsw_engine::Pattern::FanOut,
        client: "client:10.0.0.9/pg_dump".to_owned(),
        edges: vec![hsw_engine::IntrusionEdge {
            from: "client:10.0.0.9/pg_dump".to_owned(),
            to: "node:shard-3-a".to_owned(),
            kind: hsw_types::EdgeKind::Client,
            users: vec!["app".to_owned()],
            since: hsw_types::WallTime::from_unix_seconds(7),
        }],
        reasons: vec!["nobody called pg_dump was seen before".to_owned()],
        p: 1e-4,
        n_distances: 12,
        is_accepted: false,
    });
    let (address, _kept) = started(snapshot, None).await;
    let told = get_json(address, &format!("/api/v1/incidents/{id}")).await;
    let intrusion = &told["intrusion"];
    assert_eq!(intrusion["pattern"], "fan_out");
    assert_eq!(intrusion["client"], "client:10.0.0.9/pg_dump");
    assert_eq!(intrusion["edges"][0]["to"], "node:shard-3-a");
    assert_eq!(intrusion["edges"][0]["users"][0], "app");
    assert_eq!(send(address, &request(&path)).await.0, 204);
    let nowhere = "/api/v1/incidents/0000000000000000/accept";
    assert_eq!(send(address, &request(nowhere)).await.0, 404);
}

#[tokio::test]
async fn an_incident_says_why_takes_a_word_of_feedback_and_any_time_can_be_asked_about() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    let all = get_json(address, "/api/v1/incidents?state=open").await;
    let id = all["incidents"][0]["id"].as_str().unwrap().to_owned();
    let one = get_json(address, &format!("/api/v1/incidents/{id}")).await;
    assert_eq!(one["why"]["causes"][0]["cause"], "lock-storm");
    assert_eq!(one["why"]["verdict"], "called a false alarm by an operator");
    assert_eq!(
        one["why"]["predicates"][0]["metric"],
        "pg.sessions_waiting_lock"
    );
    assert_eq!(one["why"]["similar"][0]["alike"], 0.93);
    let say = async |method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{JSON}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        send(address, &request).await.0
    };
    let word = format!("incidents/{id}/feedback");
    assert_eq!(say("POST", &word, r#"{"cause":"backup"}"#).await, 200);
    assert_eq!(say("POST", &word, r#"{"false_alarm":true}"#).await, 200);
    for wrong in [
        r#"{}"#,
        r#"{"cause":""}"#,
        r#"{"cause":"Normal"}"#,
        r#"{"cause":"false alarm: x"}"#,
        r#"{"cause":"a","false_alarm":true}"#,
    ] {
        assert_eq!(say("POST", &word, wrong).await, 400, "{wrong}");
    }
    let nowhere = "incidents/0000000000000000/feedback";
    assert_eq!(say("POST", nowhere, r#"{"cause":"x"}"#).await, 404);
    let asked = r#"{"shard":"shard-2","from":1700000000,"to":1700000030}"#;
    assert_eq!(say("POST", "why", asked).await, 200);
    let causes = get(address, "/api/v1/causes").await.2;
    assert_eq!(hsw_explain::format::read(&causes).unwrap(), []);
    assert_eq!(say("PUT", "causes", &causes).await, 200);
    assert_eq!(say("PUT", "causes", "{}").await, 400);
}

#[tokio::test]
async fn a_silence_is_added_shown_at_its_incident_and_removed() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    let asked = json!({ "matchers": ["shard=~shard-[34]"], "reason": "reindex", "minutes": 60 });
    let (status, answer) = post(address, JSON, &asked).await;
    assert_eq!((status, &answer["id"]), (201, &json!(1)));
    let list = get_json(address, "/api/v1/silences").await;
    assert_eq!(
        list["silences"][0]["matchers"][0],
        json!({ "name": "shard", "op": "=~", "value": "shard-[34]" })
    );
    let open = get_json(address, "/api/v1/incidents?state=open").await;
    assert_eq!(open["incidents"][0]["silenced_by"], 1);
    let delete =
        "DELETE /api/v1/silences/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(send(address, delete).await.0, 204);
    assert_eq!(send(address, delete).await.0, 404);
    let endless = json!({ "matchers": ["shard=a"], "reason": "x" });
    assert_eq!(post(address, JSON, &endless).await.0, 400);
    let reasonless = json!({ "matchers": ["shard=a"], "reason": "", "minutes": 5 });
    assert_eq!(post(address, JSON, &reasonless).await.0, 400);
}

#[tokio::test]
async fn another_origin_another_host_and_a_big_body_are_refused() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    let asked = json!({ "matchers": ["shard=a"], "reason": "x", "minutes": 5 });
    assert_eq!(post(address, "", &asked).await.0, 415);
    let foreign = format!("{JSON}Origin: http://evil.example\r\n");
    assert_eq!(post(address, &foreign, &asked).await.0, 403);
    let own = format!("{JSON}Origin: http://localhost\r\n");
    assert_eq!(post(address, &own, &asked).await.0, 201);
    let rebound = "GET /api/v1/shards HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(send(address, rebound).await.0, 421);
    let big = json!({ "matchers": ["shard=a"], "reason": "x".repeat(70_000), "minutes": 5 });
    assert_eq!(post(address, JSON, &big).await.0, 413);
}

#[tokio::test]
async fn with_a_token_strangers_see_health_and_the_empty_page_only() {
    let (address, _kept) = started(demo::snapshot(5, true), Some("0123456789abcdef")).await;
    for open in [
        "/healthz",
        "/-/healthy",
        "/",
        "/app.js",
        "/state.js",
        "/style.css",
    ] {
        let (status, head, _) = get(address, open).await;
        assert_eq!(status, 200, "{open}");
        assert!(
            head.contains("content-security-policy: default-src 'none'"),
            "{open}"
        );
    }
    for closed in [
        "/api/v1/shards",
        "/api/v1/events",
        "/metrics",
        "/version",
        "/api/v1/none",
    ] {
        let (status, head, _) = get(address, closed).await;
        assert_eq!(status, 401, "{closed}");
        assert!(head.contains("www-authenticate: bearer"), "{closed}");
    }
    let (status, _, body) = get(address, "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "{\"ready\":false}"));
    let known = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\nConnection: close\r\n\r\n";
    let (status, _, body) = send(address, known).await;
    assert_eq!(status, 503);
    assert!(body.contains("shard-3 has 12 s of data"), "{body}");
}

#[tokio::test]
async fn probes_answer_get_and_head_and_readiness_follows_the_engine() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    for path in ["/healthz", "/-/healthy", "/readyz", "/-/ready"] {
        assert_eq!(get(address, path).await.0, 200, "{path}");
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let (status, _, body) = send(address, &head).await;
        assert_eq!((status, body.as_str()), (200, ""), "{path}");
    }
    let mut stale = demo::snapshot(5, false);
    stale.wall.0 -= 60_000_000;
    let (address, _kept) = started(stale, None).await;
    let (status, _, body) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("the engine has not moved for 6"), "{body}");
}

#[tokio::test]
async fn every_metric_has_help_and_type_before_its_samples_and_a_bounded_label() {
    let (address, _kept) = started(demo::snapshot(5, false), None).await;
    let (status, head, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4"));
    let mut family = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(
                family.starts_with("hsw_") && seen.insert(family.clone()),
                "{line}"
            );
            assert!(!family.ends_with("_total_total"), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(name, family, "{line}");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
    assert!(body.contains("hsw_shard_health{cluster=\"orders\",shard=\"shard-3\"} 3\n"));
    assert!(body.contains("hsw_agent_spool_bytes{node=\"shard-3-a\"} 1840\n"));
    assert!(body.contains("hsw_build_info{version="));
}

#[tokio::test]
async fn a_live_page_hears_a_pulse_at_once_and_after_a_change() {
    let (address, (_stop, snapshots, _file)) = started_parts().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut heard = String::new();
    let mut buffer = [0; 4_096];
    let mut until = async |n: usize, heard: &mut String| {
        while heard.matches("event: pulse").count() < n {
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer));
            let n = read.await.unwrap().unwrap();
            heard.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
    };
    until(1, &mut heard).await;
    snapshots.send_replace(Arc::new(demo::snapshot(5, true)));
    until(2, &mut heard).await;
    assert!(
        heard.contains("\"open\":1") && heard.contains("\"open\":0"),
        "{heard}"
    );
}

type Kept = (
    tokio::sync::watch::Sender<bool>,
    tokio::sync::watch::Sender<Arc<Snapshot>>,
    (),
);

async fn started_parts() -> (SocketAddr, Kept) {
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..Config::default()
    };
    let bound = bind(&config).await.unwrap();
    let address = bound.address().unwrap();
    let (parts, snapshots) = demo::parts(demo::snapshot(5, false));
    let (stop, shutdown) = Shutdown::manual();
    tokio::spawn(serve(bound, parts, shutdown));
    (address, (stop, snapshots, ()))
}

/// For eyes: `HSW_PAGE=5 cargo test -p hsw-aggregator page_for_eyes -- --ignored` serves port 8090 for ten minutes
/// (`HSW_PAGE=0`: still warming up).
#[tokio::test]
#[ignore = "serves a page for people to look at"]
async fn page_for_eyes() {
    let n: usize = std::env::var("HSW_PAGE")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let port = std::env::var("HSW_PORT")
        .ok()
        .and_then(|p| p.parse().ok())
        .unwrap_or(8090);
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        ..Config::default()
    };
    let bound = bind(&config).await.unwrap();
    let look = || {
        if n == 0 {
            demo::snapshot(5, true)
        } else {
            demo::snapshot(n, false)
        }
    };
    let fixed = look();
    let (parts, snapshots) = demo::parts(fixed.clone());
    let (_stop, shutdown) = Shutdown::manual();
    tokio::spawn(serve(bound, parts, shutdown));
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut next = look();
        next.incidents.clone_from(&fixed.incidents);
        snapshots.send_replace(Arc::new(next));
    }
}
