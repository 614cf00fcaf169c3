//! Two faults nobody has seen before, one word of an operator on each; after a restart the first comes again on another shard
//! and is named. The shipped causes are switched off.

use std::time::Duration;

use hsw_tests::testbed::{Cluster, Fault, Options};
use serde_json::Value;

use crate::incident::start;
use crate::rig::{Rig, pause, stop, wait_for, wait_long};

/// Injects, waits for the incident, keeps the fault a little, heals and waits for the end; its id.
fn happen(rig: &Rig, cluster: &Cluster, fault: Fault, shard: usize) -> String {
    let injected = cluster.inject(fault, shard).unwrap();
    let root = format!("shard-{shard}");
    let id = wait_long("an incident", Duration::from_secs(40), || {
        let open = rig.get("/api/v1/incidents?state=open");
        let one = open["incidents"].as_array()?.first()?.clone();
        (one["root"]["shard"] == root.as_str()).then(|| one["id"].as_str().unwrap().to_owned())
    });
    // It carries its explanation from the first second on.
    assert!(why(rig, &id).is_object(), "{id}");
    pause(12.0);
    injected.heal().unwrap();
    wait_long("the incident's end", Duration::from_secs(60), || {
        let one = rig.get(&format!("/api/v1/incidents/{id}"));
        (one["state"] == "closed").then_some(())
    });
    id
}

fn why(rig: &Rig, id: &str) -> Value {
    rig.get(&format!("/api/v1/incidents/{id}"))["why"].clone()
}

#[test]
fn one_word_on_the_first_occurrence_names_the_second_on_another_shard_even_after_a_restart() {
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(parent.path(), open).unwrap();
    let cluster = Cluster::start(Options {
        shards: 3,
        rows_per_shard: 20_000,
        subnet: 49,
        ..Options::new(parent.path().join("bed"))
    })
    .unwrap();
    let rig = Rig::over(cluster.nodes()[0].bed().clone(), 49);
    rig.configure_aggregator("", "[causes]\nshipped = false");
    let mut running = start(&rig, &cluster);
    wait_long("detection works", Duration::from_secs(90), || {
        (rig.page("/readyz").0 == 200).then_some(())
    });

    let first = happen(&rig, &cluster, Fault::LockStorm, 1);
    assert_eq!(why(&rig, &first)["causes"].as_array().unwrap().len(), 0);
    let told = rig.hsw(&["feedback", &first[..8], "--cause", "forgotten transaction"]);
    assert_eq!(told.code, 0, "{told:?}");
    let other = happen(&rig, &cluster, Fault::Stopped, 2);
    let unknown = why(&rig, &other);
    assert!(unknown["none"].as_f64().unwrap() > 0.5, "{unknown}");
    let told = rig.hsw(&["feedback", &other, "--cause", "somebody's debugger"]);
    assert_eq!(told.code, 0, "{told:?}");

    stop(running.remove(0));
    let _aggregator = rig.start_aggregator();
    wait_for("the aggregator is ready again", || {
        (rig.page("/readyz").0 == 200).then_some(())
    });
    let listed = rig.hsw(&["causes", "list"]).out;
    assert!(listed.contains("somebody's debugger"), "{listed}");

    // Not on shard 2: its incident of a moment ago would open again, with its name.
    let again = happen(&rig, &cluster, Fault::LockStorm, 3);
    let named = why(&rig, &again);
    assert_eq!(
        named["causes"][0]["cause"], "forgotten transaction",
        "{named}"
    );
    let told = rig.hsw(&["incident", &again, "--why"]).out;
    assert!(told.contains("looks like forgotten transaction"), "{told}");
    assert!(told.contains(&first), "it looked alike: {told}");
}
