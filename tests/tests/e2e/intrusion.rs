//! A service goes where it never went: one incident that names who and where, told by webhook, page and command line, and over
//! once an operator says that it is fine.

use std::net::SocketAddr;
use std::time::Duration;

use hsw_tests::testbed::Fault;

use crate::incident::{cluster, next, receive, start};
use crate::rig::{Rig, wait_for, wait_long};

#[test]
fn an_escalation_is_one_incident_with_its_edge_and_client_and_is_over_when_accepted() {
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(parent.path(), open).unwrap();
    let cluster = cluster(&parent.path().join("bed"), 47);
    let rig = Rig::over(cluster.nodes()[0].bed().clone(), 47);
    let hook = SocketAddr::from(([127, 0, 47, 30], 18_190));
    let received = receive(hook);
    rig.configure_aggregator(
        "",
        &format!("[[alerts.webhook]]\nurl = \"http://{hook}/hook\""),
    );
    let _running = start(&rig, &cluster);
    wait_long(
        "it is judged who talks to whom",
        Duration::from_secs(240),
        || {
            let graph = rig.get("/api/v1/graph");
            let now = rig.get("/api/v1/shards")["now"].as_f64()?;
            (graph["judged_from"].as_f64()? + 5.0 < now).then_some(())
        },
    );

    let fault = cluster.inject(Fault::Escalation, 2).unwrap();
    let firing = next(
        &received,
        "ShardIntrusion",
        "firing",
        Duration::from_secs(60),
    );
    let labels = &firing["alerts"][0]["labels"];
    assert_eq!(labels["client"], "client:127.0.0.1/reports", "{firing}");
    let id = firing["alerts"][0]["annotations"]["incident"]
        .as_str()
        .unwrap()
        .to_owned();
    let page = rig.get(&format!("/api/v1/incidents/{id}"));
    let edges = page["intrusion"]["edges"].as_array().unwrap();
    let is_named = |edge: &serde_json::Value| {
        edge["from"] == "client:127.0.0.1/reports" && edge["to"] == "node:shard-2-a"
    };
    assert!(edges.iter().any(is_named), "{page}");
    let told = rig.hsw(&["incident", &id[..6]]);
    assert!(
        told.out
            .contains("client:127.0.0.1/reports → node:shard-2-a"),
        "{told:?}"
    );
    let all = rig.hsw(&["incidents", "--all", "--json"]).json();
    assert_eq!(all["incidents"].as_array().unwrap().len(), 1, "{all}");

    let accepted = rig.hsw(&["graph", "accept", &id[..6]]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    next(
        &received,
        "ShardIntrusion",
        "resolved",
        Duration::from_secs(30),
    );
    wait_for("the incident is closed", || {
        let page = rig.get(&format!("/api/v1/incidents/{id}"));
        (page["state"] == "closed").then_some(())
    });
    fault.heal().unwrap();
}
