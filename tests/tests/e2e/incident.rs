//! A real fault from beginning to end: a database of two is stopped, a webhook, the page and the command line tell it
//! alike, and tell its end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hsw_tests::testbed::{Cluster, Fault, Managed, Options};
use serde_json::Value;

use crate::rig::{Database, Rig, wait_for};

/// Receives webhooks: every body as JSON, in order of arrival.
pub(crate) fn receive(at: SocketAddr) -> Receiver<Value> {
    let listener = TcpListener::bind(at).unwrap();
    let (send, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if send.send(take(stream.unwrap())).is_err() {
                return;
            }
        }
    });
    received
}

fn take(mut stream: TcpStream) -> Value {
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        if body.len() >= length.trim().parse().unwrap() {
            assert!(
                head.starts_with("post /hook ") && head.contains("application/json"),
                "{head}"
            );
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
            return serde_json::from_str(body).unwrap();
        }
    }
}

/// The next message of an alert with this status.
pub(crate) fn next(
    received: &Receiver<Value>,
    alert: &str,
    status: &str,
    patience: Duration,
) -> Value {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let message = received
            .recv_timeout(left)
            .unwrap_or_else(|_| panic!("no {status} {alert} within {} s", patience.as_secs()));
        assert_eq!(message["version"], "4", "{message}");
        if message["commonLabels"]["alertname"] == alert && message["status"] == status {
            return message;
        }
    }
}

/// Databases and load of the test bed; programs of the rig, which knows about webhooks.
pub(crate) fn cluster(dir: &std::path::Path, subnet: u8) -> Cluster {
    Cluster::start(Options {
        shards: 2,
        rows_per_shard: 20_000,
        subnet,
        ..Options::new(dir)
    })
    .unwrap()
}

/// The aggregator and an agent for each shard.
pub(crate) fn start(rig: &Rig, cluster: &Cluster) -> Vec<Managed> {
    let password: &'static str = std::fs::read_to_string(rig.dir().join("secrets/hsw.password"))
        .unwrap()
        .leak();
    let mut running = vec![rig.start_aggregator()];
    let agents = cluster.shards().iter().map(|shard| {
        let node = format!("{}-a", shard.name);
        let database = Database {
            host: shard.address.clone(),
            port: shard.port,
            user: "hsw",
            password,
        };
        rig.configure_agent(&node, &database, "");
        rig.start_agent(&node)
    });
    running.extend(agents);
    running
}

/// Page and command line say what the webhook said.
fn is_told_alike(rig: &Rig, id: &str) {
    let page = rig.get(&format!("/api/v1/incidents/{id}"));
    assert_eq!(
        (&page["state"], &page["root"]["shard"]),
        (&"open".into(), &"shard-2".into())
    );
    let told = rig.hsw(&["incident", &id[..6]]);
    assert!(told.code == 0 && told.out.contains("shard-2"), "{told:?}");
    let told = rig.hsw(&["incident", id, "--json"]).json();
    assert!(
        told["evidence"][0]["sentence"]
            .as_str()
            .is_some_and(|s| !s.is_empty()),
        "{told}"
    );
    let listed = rig.hsw(&["incidents", "--json"]).json();
    assert_eq!(listed["incidents"].as_array().unwrap().len(), 1, "{listed}");
    let status = rig.hsw(&["status"]);
    assert!(
        status.code == 3 && status.out.contains("shard-2"),
        "{status:?}"
    );
    let shards = rig.hsw(&["shards", "--json"]).json();
    assert!(shards["shards"].to_string().contains("\"bad\""), "{shards}");
}

#[test]
fn a_stopped_database_is_one_incident_that_webhook_page_and_command_line_tell_alike() {
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(parent.path(), open).unwrap();
    let cluster = cluster(&parent.path().join("bed"), 45);
    let rig = Rig::over(cluster.nodes()[0].bed().clone(), 45);
    let hook = SocketAddr::from(([127, 0, 45, 30], 18_190));
    let received = receive(hook);
    rig.configure_aggregator(
        "",
        &format!(
            "[alerts]\nwatchdog_interval_s = 10\n[[alerts.webhook]]\nurl = \"http://{hook}/hook\""
        ),
    );
    let _running = start(&rig, &cluster);
    let watchdog = next(
        &received,
        "HyperShardWatchWatchdog",
        "firing",
        Duration::from_secs(20),
    );
    assert_eq!(watchdog["commonLabels"]["cluster"], "e2e", "{watchdog}");
    for node in ["shard-1-a", "shard-2-a"] {
        wait_for(&format!("{node} sees its database"), || {
            rig.source(node, "postgres")
                .filter(|(state, _)| state == "ok")
        });
    }
    wait_for("a database that answers is known to do so", || {
        (rig.metric("hsw_node_up") == 2.0).then_some(())
    });
    crate::rig::pause(5.0);

    let fault = cluster.inject(Fault::Stopped, 2).unwrap();
    let firing = next(
        &received,
        "ShardIncident",
        "firing",
        Duration::from_secs(30),
    );
    let labels = &firing["alerts"][0]["labels"];
    assert_eq!(
        (&labels["shard"], &labels["severity"]),
        (&"shard-2".into(), &"critical".into()),
        "{firing}"
    );
    let id = firing["alerts"][0]["annotations"]["incident"]
        .as_str()
        .unwrap()
        .to_owned();

    is_told_alike(&rig, &id);

    fault.heal().unwrap();
    let resolved = next(
        &received,
        "ShardIncident",
        "resolved",
        Duration::from_secs(60),
    );
    assert_eq!(
        resolved["alerts"][0]["fingerprint"],
        firing["alerts"][0]["fingerprint"]
    );
    assert_eq!(
        resolved["alerts"][0]["annotations"]["incident"],
        id.as_str()
    );
    let page = rig.get(&format!("/api/v1/incidents/{id}"));
    assert_eq!(page["state"], "closed", "{page}");
    assert!(rig.hsw(&["incidents", "--all"]).out.contains(&id[..6]));
    assert!(rig.metric("hsw_alerts_sent_total") >= 3.0);
}
