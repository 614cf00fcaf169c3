//! A trigger from the command line to the webhook, over real agents that read log files: not early, once, through kill -9
//! of the aggregator and an orderly restart of an agent.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::incident::receive;
use crate::rig::{Rig, absent, kill, pause, stop, wait_for};

/// PostgreSQL's JSON log of a node, as a load would write it.
struct Log {
    path: PathBuf,
    n_lines: u64,
}

impl Log {
    fn new(rig: &Rig, node: &str) -> Self {
        let log = Self {
            path: rig.dir().join(format!("nodes/{node}.json")),
            n_lines: 0,
        };
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log.path)
            .unwrap();
        log
    }

    /// Writes so many statements that took so long.
    fn write(&mut self, n: u64, ms: &str, database: &str) {
        let mut lines = String::new();
        for _ in 0..n {
            self.n_lines += 1;
            let now = hsw_types::WallTime(crate::rig::now_s() * 1_000_000).to_rfc3339();
            let line = serde_json::json!({
                "timestamp": now.replace('T', " ").replace('Z', " UTC"),
                "pid": 7, "user": "app", "dbname": database, "session_id": "5.7",
                "line_num": self.n_lines, "error_severity": "LOG", "application_name": "shop",
                "message": format!("duration: {ms} ms  statement: SELECT * FROM orders WHERE id = {}", self.n_lines),
            });
            lines.push_str(&format!("{line}\n"));
        }
        let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }
}

struct World {
    rig: Rig,
    logs: Vec<Log>,
}

impl World {
    fn new(subnet: u8, hook: SocketAddr) -> Self {
        let rig = Rig::new(subnet);
        rig.configure_aggregator(
            "",
            &format!("[[alerts.webhook]]\nurl = \"http://{hook}/hook\"\nsend_watchdog = false"),
        );
        let logs: Vec<_> = NODES
            .iter()
            .map(|node| {
                let log = Log::new(&rig, node);
                let tables = format!("[log]\npaths = [\"{}\"]", log.path.display());
                rig.configure_agent(node, &absent(), &tables);
                log
            })
            .collect();
        Self { rig, logs }
    }

    /// Too quick, too slow, of another database, on another shard.
    fn write_what_does_not_count(&mut self) {
        self.logs[0].write(200, "99.999", "shop");
        self.logs[0].write(200, "1000.000", "shop");
        self.logs[0].write(200, "150.000", "other");
        self.logs[2].write(2_000, "150.000", "shop");
    }

    fn add(&self, name: &str, count: &str) {
        let added = self.rig.hsw(&[
            "trigger",
            "add",
            "--name",
            name,
            "--on",
            "latency_ms",
            "--range",
            "100..1000",
            "--count",
            count,
            "--shards",
            "shard-1,shard-2",
            "--where",
            "database=shop",
        ]);
        assert_eq!(added.code, 0, "{added:?}");
    }

    fn trigger(&self, name: &str) -> Value {
        let listed = self.rig.get("/api/v1/triggers");
        let rows = listed["triggers"].as_array().cloned().unwrap_or_default();
        rows.into_iter()
            .find(|row| row["name"] == name)
            .unwrap_or_default()
    }

    fn wait_state(&self, name: &str, state: &str) {
        for _ in 0..400 {
            if self.trigger(name)["state"] == state {
                return;
            }
            pause(0.1);
        }
        panic!("{name} is not {state}: {}", self.trigger(name));
    }

    fn wait_counted_by(&self, name: &str, n_nodes: u64) {
        wait_for(&format!("{n_nodes} nodes count for {name}"), || {
            (self.trigger(name)["n_nodes_heard"] == n_nodes).then_some(())
        });
    }
}

const NODES: [&str; 3] = ["shard-1-a", "shard-2-a", "shard-3-a"];

#[test]
fn a_trigger_fires_once_and_not_early_through_a_killed_aggregator_and_a_restarted_agent() {
    let hook = SocketAddr::from(([127, 0, 45, 30], 18_181));
    let heard = receive(hook);
    let mut world = World::new(45, hook);
    let mut aggregator = world.rig.start_aggregator();
    let mut agents: Vec<_> = NODES.map(|node| world.rig.start_agent(node)).into();
    NODES.iter().for_each(|node| world.rig.wait_connected(node));
    wait_for("the shards are known", || {
        let shards = world.rig.get("/api/v1/shards");
        (shards["shards"].as_array()?.len() == 3).then_some(())
    });
    // `ready` shows that all but one hit are known, `slow` that they are not enough.
    world.add("ready", "999");
    world.add("slow", "1,000");
    world.wait_counted_by("slow", 2);

    world.logs[0].write(300, "150.000", "shop");
    world.write_what_does_not_count();
    pause(3.0);
    kill(&mut aggregator);
    world.logs[1].write(200, "999.999", "shop");
    pause(1.0);
    aggregator = world.rig.start_aggregator();
    world.wait_counted_by("slow", 2);

    // An agent stops in order: what it has counted is told, and what it reads later counts beside it.
    stop(agents.remove(0));
    world.logs[0].write(100, "100.000", "shop");
    agents.insert(0, world.rig.start_agent("shard-1-a"));
    world.rig.wait_connected("shard-1-a");
    world.logs[1].write(399, "500.000", "shop");
    world.wait_state("ready", "fired");
    assert_eq!(world.trigger("ready")["fired_count"], 999);
    kill(&mut aggregator);
    aggregator = world.rig.start_aggregator();
    world.wait_counted_by("slow", 2);
    pause(3.0);
    let slow = world.trigger("slow");
    assert_eq!(slow["state"], "waiting", "{slow}");
    assert_eq!(slow["count"], 999, "{slow}");

    world.logs[0].write(1, "100.000", "shop");
    world.wait_state("slow", "fired");
    assert_eq!(world.trigger("slow")["fired_count"], 1_000);
    world.logs[0].write(3_000, "100.000", "shop");
    pause(3.0);
    check_told(&world, &heard.try_iter().collect::<Vec<_>>());
    agents.into_iter().for_each(stop);
    stop(aggregator);
}

/// By webhook once; by command line until it is removed.
fn check_told(world: &World, heard: &[Value]) {
    let slow = |message: &&Value| message["commonLabels"]["trigger"] == "slow";
    let fired: Vec<_> = heard.iter().filter(slow).collect();
    assert_eq!(fired.len(), 1, "{fired:?}");
    let labels = &fired[0]["commonLabels"];
    assert_eq!(labels["alertname"], "ShardTrigger");
    assert_eq!(labels["severity"], "warning");
    let summary = fired[0]["commonAnnotations"]["summary"].as_str().unwrap();
    let said =
        "1,000 statements with latency_ms in [100, 1000), database shop on shards shard-1, shard-2";
    assert!(summary.starts_with(&format!("{said} since ")), "{summary}");

    let list = world.rig.hsw(&["trigger", "list"]);
    assert!(list.out.contains(said), "{list:?}");
    let removed = world.rig.hsw(&["trigger", "remove", "slow"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    wait_for("slow is gone", || {
        (world.trigger("slow") == Value::Null).then_some(())
    });
}
