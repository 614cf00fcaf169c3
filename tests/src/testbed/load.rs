//! The steady load: tenants through the coordinator, one per shard, and readers on each shard.
//!
//! Open loop (`pgbench -R`), so that a stalled shard shows as waiting and not as idleness. One thread keeps all clients running:
//! a client that ended (its server crashed, its login was refused) is started again after a second, as a service would reconnect.
//! Transactions that are late by more than `LATE_MS` are skipped, so that the catching up after a stall stays short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::bed::Bed;
use super::postgres::{DATABASE, Node};
use super::process::Managed;
use super::schema::{INSERTS_FROM, first_key};
use super::stop::Stop;

/// Transactions that would begin later than this after their time are skipped.
const LATE_MS: u32 = 2_000;
/// How often the rate follows the day when it varies; each step restarts the clients.
const VARY_EVERY: Duration = Duration::from_secs(120);
/// Length of a simulated day.
const DAY: Duration = Duration::from_secs(1_800);
/// Height of the day's wave.
const WAVE: f64 = 0.3;

/// One pgbench that is kept running.
#[derive(Clone, Debug)]
struct Stream {
    node: Arc<Node>,
    name: String,
    application: String,
    user: &'static str,
    scripts: &'static [(&'static str, u32)],
    per_second: f64,
    clients: u32,
    reconnects: bool,
    shard: usize,
    rows: u64,
}

/// Running load; dropping it ends it.
#[derive(Debug)]
pub struct Load {
    stop: Stop,
    permille: Arc<AtomicU32>,
    keeper: Option<JoinHandle<()>>,
}

impl Load {
    /// Writes the scripts that the clients run.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_scripts(bed: &Bed, shards: usize) -> Result<()> {
        for (name, text) in SCRIPTS {
            bed.service_file(&bed.dir.join("load").join(name), text)?;
        }
        bed.service_file(&bed.dir.join("load/across.sql"), &across(shards))
    }

    /// Starts every stream at `factor` times its usual rate. `tag` tells log files of two loads apart.
    ///
    /// # Errors
    /// When the keeping thread cannot be started.
    pub fn start(
        nodes: &[Arc<Node>],
        rows: u64,
        tag: &str,
        factor: f64,
        vary: bool,
    ) -> Result<Self> {
        let bed = Arc::clone(nodes.first().context("a load needs nodes")?.bed());
        let streams = streams(nodes, rows, tag);
        let stop = Stop::new();
        let permille = Arc::new(AtomicU32::new((factor * 1000.0) as u32));
        let keeper = Keeper {
            bed,
            stop: stop.clone(),
            permille: Arc::clone(&permille),
            vary,
            running: streams
                .into_iter()
                .map(|stream| (stream, None, Instant::now()))
                .collect(),
        };
        let keeper = std::thread::Builder::new()
            .name(format!("load {tag}"))
            .spawn(move || keeper.run())
            .context("start the thread that keeps the load running")?;
        Ok(Self {
            stop,
            permille,
            keeper: Some(keeper),
        })
    }

    /// The rate in use, as a share of the usual one.
    #[must_use]
    pub fn factor(&self) -> f64 {
        f64::from(self.permille.load(Ordering::Relaxed)) / 1000.0
    }

    /// Ends all clients.
    pub fn end(&mut self) {
        self.stop.set();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn streams(nodes: &[Arc<Node>], rows: u64, tag: &str) -> Vec<Stream> {
    let mut all = Vec::new();
    let (coordinators, shards): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.number == 0);
    for coordinator in coordinators {
        for node in &shards {
            let shard = node.number;
            let base = Stream {
                node: Arc::clone(coordinator),
                name: format!("{tag}-tenant-{shard}"),
                application: format!("tenant-{shard}"),
                user: "app",
                scripts: &[("select.sql", 60), ("update.sql", 38), ("insert.sql", 2)],
                per_second: 30.0,
                clients: 4,
                reconnects: false,
                shard,
                rows,
            };
            all.push(base.clone());
            all.push(Stream {
                node: Arc::clone(node),
                name: format!("{tag}-reports-{shard}"),
                application: "reports".to_owned(),
                user: "reports",
                scripts: &[("report.sql", 19), ("summary.sql", 1)],
                per_second: 10.0,
                clients: 2,
                ..base.clone()
            });
            all.push(Stream {
                node: Arc::clone(node),
                name: format!("{tag}-healthcheck-{shard}"),
                application: "healthcheck".to_owned(),
                user: "reports",
                scripts: &[("report.sql", 1)],
                per_second: 0.5,
                clients: 1,
                reconnects: true,
                ..base
            });
        }
        all.push(Stream {
            node: Arc::clone(coordinator),
            name: format!("{tag}-billing"),
            application: "billing".to_owned(),
            user: "app",
            scripts: &[("across.sql", 1)],
            per_second: 1.0,
            clients: 1,
            reconnects: false,
            shard: shards.len(),
            rows,
        });
    }
    all
}

impl Stream {
    fn spawn(&self, bed: &Arc<Bed>, factor: f64) -> Result<Managed> {
        let first = first_key(self.shard);
        let mut launch = self
            .node
            .pgbench_launch(&self.name, &self.application, self.user)
            .args([
                "-T",
                "2000000",
                "-L",
                &LATE_MS.to_string(),
                "-c",
                &self.clients.to_string(),
            ])
            .args(["-R", &format!("{:.2}", self.per_second * factor)])
            .args([
                "-D",
                &format!("first={first}"),
                "-D",
                &format!("rows={}", self.rows),
            ])
            .args(["-D", &format!("fresh={}", first + INSERTS_FROM)]);
        if self.reconnects {
            launch = launch.args(["-C"]);
        }
        if self.clients > 1 {
            launch = launch.args(["-P", "1", "--progress-timestamp"]);
        }
        for (script, weight) in self.scripts {
            let path = bed.dir.join("load").join(script);
            launch = launch.args(["-f", &format!("{}@{weight}", path.display())]);
        }
        launch.args([DATABASE]).spawn(bed)
    }
}

struct Keeper {
    bed: Arc<Bed>,
    stop: Stop,
    permille: Arc<AtomicU32>,
    vary: bool,
    running: Vec<(Stream, Option<Managed>, Instant)>,
}

impl Keeper {
    fn run(mut self) {
        let began = Instant::now();
        let mut turned = began;
        while self.stop.sleep(Duration::from_millis(200)) && !self.bed.stop.is_set() {
            let now = Instant::now();
            if self.vary && now.duration_since(turned) >= VARY_EVERY {
                turned = now;
                let phase = now.duration_since(began).as_secs_f64() / DAY.as_secs_f64();
                let factor = 1.0 + WAVE * (phase * std::f64::consts::TAU).sin();
                self.permille
                    .store((factor * 1000.0) as u32, Ordering::Relaxed);
                self.end_all();
            }
            let factor = f64::from(self.permille.load(Ordering::Relaxed)) / 1000.0;
            for (stream, process, not_before) in &mut self.running {
                if process.as_mut().is_some_and(Managed::running) || now < *not_before {
                    continue;
                }
                *not_before = now + Duration::from_secs(1);
                // What cannot be started now is tried again in a second: servers come back.
                *process = stream.spawn(&self.bed, factor).ok();
            }
        }
        self.end_all();
    }

    /// All are asked first and awaited then, so that the pause is one grace and not the sum of them.
    fn end_all(&mut self) {
        for (_, process, _) in &self.running {
            if let Some(process) = process {
                process.id().signal(Signal::TERM);
            }
        }
        for (_, process, not_before) in &mut self.running {
            if let Some(mut process) = process.take() {
                process.end(Signal::TERM, Duration::from_secs(2));
            }
            *not_before = Instant::now();
        }
    }
}

/// Keys as constants: only then does the planner send each shard its own one instead of fetching whole tables.
fn across(shards: usize) -> String {
    let keys: Vec<String> = (1..=shards)
        .map(|shard| format!("{} + :row", first_key(shard)))
        .collect();
    format!(
        "\\set row random(0, :rows - 1)\n\
         SELECT count(*), sum(balance) FROM accounts WHERE id IN ({});\n",
        keys.join(", ")
    )
}

const SCRIPTS: [(&str, &str); 5] = [
    (
        "select.sql",
        "\\set id :first + random_zipfian(1, :rows, 1.05) - 1\n\\set customer :id * 7 + 3\n\
         SELECT id, balance, note FROM accounts WHERE id >= :first AND id < :first + 1000000 AND customer_no = :customer;\n",
    ),
    (
        "update.sql",
        "\\set id :first + random_zipfian(1, :rows, 1.05) - 1\n\\set delta random(-50, 50)\n\
         UPDATE accounts SET balance = balance + :delta, updated_at = now() WHERE id = :id;\n",
    ),
    (
        "insert.sql",
        "\\set id :fresh + random(0, 400000)\n\
         INSERT INTO accounts (id, customer_no, region, balance, note) VALUES (:id, :id * 7 + 3, 1, 0, 'new') ON CONFLICT DO NOTHING;\n",
    ),
    (
        "report.sql",
        "\\set customer random(1, 500)\n\
         SELECT count(*), sum(amount) FROM tenant_1.orders WHERE customer_id = :customer;\n\
         SELECT o.id, c.name FROM tenant_2.orders o JOIN tenant_2.customers c ON c.id = o.customer_id WHERE c.id = :customer;\n",
    ),
    (
        "summary.sql",
        "\\set low :first + random(0, :rows - 500)\n\
         SELECT region, sum(balance) FROM accounts WHERE id BETWEEN :low AND :low + 500 GROUP BY region;\n",
    ),
];
