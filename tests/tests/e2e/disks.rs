//! Full disks on either side: nothing that was acknowledged is lost, it is said, and it ends when there is room again.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::rig::{Rig, absent, pause, stop, wait_for};
use crate::store;

/// Takes what is left of a disk.
fn fill(at: &Path) {
    let mut filler = File::create(at.join("filler")).unwrap();
    for bytes in [64 << 10, 4 << 10, 512] {
        while filler.write_all(&vec![7; bytes]).is_ok() {}
    }
}

fn make_room(at: &Path) {
    std::fs::remove_file(at.join("filler")).unwrap();
}

#[test]
fn a_full_disk_under_the_spool_loses_nothing_while_the_aggregator_takes_it() {
    let rig = Rig::new(36);
    rig.configure_aggregator("", "");
    let node = "shard-1-a";
    let disk = rig.state_dir(node);
    rig.mount(&disk, 1024);
    rig.configure_agent(node, &absent(), "");
    let agent = rig.start_agent(node);
    rig.line(node, &["agent started"]);
    pause(3.0);
    fill(&disk);
    let line = rig.line(node, &["ERROR", "spool cannot write"]);
    assert!(
        line.contains("free space") && line.contains("spool"),
        "{line}"
    );
    // Some summaries are in memory alone when the aggregator comes.
    pause(4.0);
    let aggregator = rig.start_aggregator();
    wait_for("what was in memory has arrived", || {
        (rig.agent(node)["summaries"].as_u64()? >= 4).then_some(())
    });
    make_room(&disk);
    rig.line(node, &["spool writes again"]);
    wait_for("the spool is empty", || {
        (rig.agent(node)["spool_summaries"].as_u64()? <= 1).then_some(())
    });
    assert_eq!(rig.agent(node)["dropped"], 0);
    stop(agent);
    stop(aggregator);
    let rows = store::read(&rig.data_dir());
    assert_eq!(store::missing_windows(&rows, node), Vec::<i64>::new());
}

#[test]
fn a_full_disk_under_the_store_is_said_and_nothing_is_acknowledged_until_there_is_room() {
    let rig = Rig::new(37);
    let node = "shard-1-a";
    rig.mount(&rig.data_dir(), 8 << 10);
    rig.configure_aggregator("", "");
    rig.configure_agent(node, &absent(), "");
    let aggregator = rig.start_aggregator();
    let agent = rig.start_agent(node);
    rig.wait_connected(node);
    wait_for("something is stored", || {
        (rig.metric("hsw_store_summaries_total") >= 2.0).then_some(())
    });
    fill(&rig.data_dir());
    let reasons = wait_for("/readyz names the store", || {
        let (status, body) = rig.page("/readyz");
        (status == 503 && body.contains("store:")).then_some(body)
    });
    assert!(
        reasons.contains("nothing is acknowledged") && reasons.contains("make room"),
        "{reasons}"
    );
    wait_for("/metrics says it too", || {
        (rig.metric("hsw_store_trouble") == 1.0
            && rig.metric("hsw_store_commit_failures_total") >= 1.0)
            .then_some(())
    });
    wait_for("the agent keeps what is not acknowledged", || {
        (rig.agent(node)["spool_summaries"].as_u64()? >= 2).then_some(())
    });
    make_room(&rig.data_dir());
    wait_for("the store takes data again", || {
        (rig.metric("hsw_store_trouble") == 0.0
            && rig.agent(node)["spool_summaries"].as_u64()? <= 1)
            .then_some(())
    });
    let (_, ready) = rig.page("/readyz");
    assert!(!ready.contains("store:"), "{ready}");
    stop(agent);
    stop(aggregator);
    let rows = store::read(&rig.data_dir());
    assert_eq!(store::missing_windows(&rows, node), Vec::<i64>::new());
}
