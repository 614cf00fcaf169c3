//! `trigger-messages`: what a trigger over a hundred agents costs on the wire, with the real aggregator over real QUIC.
//!
//! In: statements, drawn evenly and with a few agents that have most of them. Out: messages of both directions from the
//! moment every agent counts until every agent has been told to forget; how late the firing was.
//! The agents are the library's participants, a hundred connections of this process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use hsw_trigger::{Config, Down, Element, Participant, Patience, Up};
use hsw_types::{Monotonic, Statement};
use hsw_wire::{TRIGGERS_MAX, ToAgent, ToAggregator, TriggerUp};
use quinn::Endpoint;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::interval;

use super::aggregator::{Running, listen};
use super::{Args, Figure, Report};
use crate::simagents::{Load, SimAgent, hear};
use crate::testbed::{Stop, http};

const N_AGENTS: usize = 100;
const HITS: u64 = 1_000_000;
/// Statements a second over all agents.
const RATE: f64 = 50_000.0;
const STEP: Duration = Duration::from_millis(10);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// For all to be told of a trigger, and for the firing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures.
pub(super) fn trigger_messages(args: &Args, stop: &Stop) -> Result<Report> {
    let dir = tempfile::tempdir().context("make a folder")?;
    let web = SocketAddr::from(([127, 0, 0, 1], args.web));
    let shard =
        |n: usize| format!("[[shard]]\nname = \"shard-{n:04}\"\nnodes = [\"sim-{n:04}\"]\n");
    let shards: String = (0..N_AGENTS).map(shard).collect();
    let _running = Running::start(args, dir.path(), web, &shards)?;
    let mut report = Report::new("trigger-messages");
    for (name, is_skewed) in [("even", false), ("skewed", true)] {
        let hsw = args.programs()?.join("hsw");
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build()?;
        let counted = runtime.block_on(Fleet::run(args, dir.path(), is_skewed, || {
            add(&hsw, web, name)
        }))?;
        if stop.is_set() {
            bail!("stopped by a signal");
        }
        let fired = state(web, name)?;
        ensure!(
            (HITS..=counted.hits).contains(&fired),
            "{name}: fired with {fired} of {} hits",
            counted.hits
        );
        told(&mut report, name, &counted, fired);
    }
    report.note(format!(
        "{N_AGENTS} agents in one process, {RATE:.0} statements a second in all; skewed: the n-th agent has 1/n as many as the first"
    ));
    Ok(report)
}

fn told(report: &mut Report, name: &str, counted: &Counted, fired: u64) {
    let messages = counted.ups + counted.downs;
    let how = format!(
        "{} up, {} down, {HITS} hits asked for",
        counted.ups, counted.downs
    );
    report.add(Figure::new(
        &format!("messages, {name}"),
        messages as f64,
        &how,
    ));
    report.add(
        Figure::new(
            &format!("hits per message, {name}"),
            HITS as f64 / messages as f64,
            "hits asked for over messages of both directions",
        )
        .at_least(200.0),
    );
    report.add(
        Figure::new(
            &format!("hits known at the firing, {name}"),
            fired as f64,
            "never below what was asked for",
        )
        .at_least(HITS as f64),
    );
    report.add(Figure::new(
        &format!("fired after, ms, {name}"),
        counted.late_ms,
        "from the hit that was asked for to the first agent told to forget",
    ));
}

fn add(hsw: &Path, web: SocketAddr, name: &str) -> Result<()> {
    let added = Command::new(hsw)
        .args([
            "--url",
            &format!("http://{web}"),
            "trigger",
            "add",
            "--name",
            name,
        ])
        .args([
            "--on",
            "latency_ms",
            "--range",
            "100..1000",
            "--count",
            &HITS.to_string(),
        ])
        .output()
        .with_context(|| format!("start {}", hsw.display()))?;
    ensure!(
        added.status.success(),
        "hsw trigger add: {}",
        String::from_utf8_lossy(&added.stderr)
    );
    Ok(())
}

/// With how much a trigger has fired.
fn state(web: SocketAddr, name: &str) -> Result<u64> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = http::get(web, "/api/v1/triggers")?;
        let answer: Value = serde_json::from_str(&answer.body).context("read JSON")?;
        let rows = answer["triggers"]
            .as_array()
            .context("a list of triggers")?;
        let row = rows.iter().find(|row| row["name"] == name);
        if let Some(count) = row.and_then(|row| row["fired_count"].as_u64()) {
            return Ok(count);
        }
        ensure!(Instant::now() < until, "{name} has not fired");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What a run came to.
struct Counted {
    ups: u64,
    downs: u64,
    hits: u64,
    late_ms: f64,
}

/// What the agents share.
#[derive(Default)]
struct Fleet {
    is_counting: AtomicBool,
    is_over: AtomicBool,
    watched: AtomicU64,
    forgotten: AtomicU64,
    ups: AtomicU64,
    downs: AtomicU64,
    hits: AtomicU64,
    reached: Mutex<Option<Instant>>,
    fired: Mutex<Option<Instant>>,
}

impl Fleet {
    async fn run(
        args: &Args,
        dir: &Path,
        is_skewed: bool,
        add: impl FnOnce() -> Result<()>,
    ) -> Result<Counted> {
        let load = Load {
            address: listen(args)?,
            server_name: "aggregator".to_owned(),
            authority: dir.join("ca"),
            identities: dir.join("ids"),
            n_agents: N_AGENTS,
            n_series: 0,
            interval: Duration::from_secs(2),
            duration: PATIENCE,
            seed: 1,
        };
        let fleet = Arc::new(Self::default());
        let share = |n: usize| if is_skewed { 1.0 / (n + 1) as f64 } else { 1.0 };
        let all: f64 = (0..N_AGENTS).map(share).sum();
        let mut agents = tokio::task::JoinSet::new();
        let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?).context("open a UDP socket")?;
        for n in 0..N_AGENTS {
            if n % 50 == 49 {
                endpoint = Endpoint::client("0.0.0.0:0".parse()?).context("open a UDP socket")?;
            }
            let agent = SimAgent::connect(&load, n, &endpoint)
                .await
                .with_context(|| format!("connect agent {n}"))?;
            let per_step = RATE * share(n) / all * STEP.as_secs_f64();
            agents.spawn(live(agent, Arc::clone(&fleet), per_step));
        }
        // The map is followed once a second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        add()?;
        fleet.wait("every agent counts", &fleet.watched).await?;
        fleet.ups.store(0, Ordering::SeqCst);
        fleet.downs.store(0, Ordering::SeqCst);
        fleet.is_counting.store(true, Ordering::SeqCst);
        fleet
            .wait("every agent has forgotten", &fleet.forgotten)
            .await?;
        let (reached, fired) = (*lock(&fleet.reached), *lock(&fleet.fired));
        let late = fired.zip(reached).context("it never fired")?;
        let counted = Counted {
            ups: fleet.ups.load(Ordering::SeqCst),
            downs: fleet.downs.load(Ordering::SeqCst),
            hits: fleet.hits.load(Ordering::SeqCst),
            late_ms: (late.0 - late.1).as_secs_f64() * 1e3,
        };
        fleet.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = agents.join_next().await {
            ended.context("an agent's task panicked")??;
        }
        Ok(counted)
    }

    async fn wait(&self, what: &str, counter: &AtomicU64) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while counter.load(Ordering::SeqCst) < N_AGENTS as u64 {
            let n = counter.load(Ordering::SeqCst);
            ensure!(Instant::now() < until, "{n} of {N_AGENTS} in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn heard(&self, messages: &[Down]) {
        self.downs
            .fetch_add(messages.len() as u64, Ordering::SeqCst);
        for message in messages {
            if matches!(message, Down::Forget { .. }) {
                self.is_counting.store(false, Ordering::SeqCst);
                self.forgotten.fetch_add(1, Ordering::SeqCst);
                lock(&self.fired).get_or_insert_with(Instant::now);
            }
        }
    }

    fn hit(&self) {
        if self.hits.fetch_add(1, Ordering::SeqCst) + 1 == HITS {
            *lock(&self.reached) = Some(Instant::now());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One agent.
struct Agent {
    fleet: Arc<Fleet>,
    participant: Participant,
    began: Instant,
    out: Vec<Up>,
    is_watching: bool,
    /// Hits a step, and those it has not made yet.
    per_step: f64,
    owed: f64,
}

/// One agent until the end.
async fn live(agent: SimAgent, fleet: Arc<Fleet>, per_step: f64) -> Result<()> {
    let SimAgent {
        mut send,
        mut recv,
        connection,
        ..
    } = agent;
    let (to, mut heard) = mpsc::channel(64);
    let reading = tokio::spawn(async move {
        while let Ok(message) = hear(&mut recv).await {
            if to.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut agent = Agent::new(fleet, per_step)?;
    let (mut step, mut second) = (interval(STEP), interval(Duration::from_secs(1)));
    let mut beat = interval(HEARTBEAT);
    let heartbeat = ToAggregator::Heartbeat {
        wall_us: 0,
        spool_bytes: 0,
        spool_summaries: 0,
        dropped: 0,
    };
    while !agent.fleet.is_over.load(Ordering::SeqCst) {
        tokio::select! {
            message = heard.recv() => agent.hear(message.context("the aggregator ended a connection")?)?,
            _ = step.tick() => agent.step(),
            _ = second.tick() => agent.participant.tick(agent.now(), &mut agent.out),
            _ = beat.tick() => send.write_all(&heartbeat.encode()?).await?,
        }
        for list in agent.out.chunks(TRIGGERS_MAX) {
            agent
                .fleet
                .ups
                .fetch_add(list.len() as u64, Ordering::SeqCst);
            let list = list.iter().copied().map(TriggerUp::from).collect();
            send.write_all(&ToAggregator::Triggers(list).encode()?)
                .await?;
        }
        agent.out.clear();
    }
    reading.abort();
    connection.close(0_u32.into(), b"");
    Ok(())
}

impl Agent {
    fn new(fleet: Arc<Fleet>, per_step: f64) -> Result<Self> {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let epoch = u64::try_from(epoch.as_micros())?;
        let mut out = Vec::new();
        let (config, patience) = (Config::default(), Patience::default());
        let participant = Participant::new(epoch, config, patience, Monotonic(0), &mut out);
        Ok(Self {
            fleet,
            participant,
            began: Instant::now(),
            out,
            is_watching: false,
            per_step,
            owed: 0.0,
        })
    }

    fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn hear(&mut self, message: ToAgent) -> Result<()> {
        match message {
            ToAgent::Triggers(list) => {
                let list = list.into_iter().map(Down::try_from);
                let list = list.collect::<Result<Vec<_>, _>>()?;
                self.fleet.heard(&list);
                for message in list {
                    self.participant.hear(message, self.now(), &mut self.out);
                }
                if !self.is_watching && !self.participant.is_empty() {
                    self.is_watching = true;
                    self.fleet.watched.fetch_add(1, Ordering::SeqCst);
                }
            }
            ToAgent::Refused { message, .. } => bail!("refused: {message}"),
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self) {
        let slow = Element::from(&Statement {
            latency_ms: Some(200.0),
            ..Statement::default()
        });
        let is_counting = || self.fleet.is_counting.load(Ordering::SeqCst);
        self.owed += if is_counting() { self.per_step } else { 0.0 };
        while self.owed >= 1.0 && self.fleet.is_counting.load(Ordering::SeqCst) {
            self.owed -= 1.0;
            self.fleet.hit();
            self.participant.add(&slow, self.now(), &mut self.out);
        }
    }
}
