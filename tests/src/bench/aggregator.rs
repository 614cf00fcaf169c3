//! `aggregator-N`: what the real aggregator needs for N agents at full rate.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hsw_shell::cert;
use hsw_types::NodeId;
use serde_json::Value;

use super::content::N_SERIES;
use super::{Args, Figure, Report, usage};
use crate::simagents::{self, Load};
use crate::testbed::{Stop, http};

/// Detectors judge after 40 s; what comes before is not measured.
const WARM: Duration = Duration::from_secs(60);
const MIB: f64 = 1_048_576.0;

/// Measures.
pub(super) fn aggregator(args: &Args, stop: &Stop, n_agents: usize) -> Result<Report> {
    let span = Duration::from_secs(args.seconds.unwrap_or(120));
    let dir = tempfile::tempdir().context("make a folder")?;
    let web = SocketAddr::from(([127, 0, 0, 1], args.web));
    let running = Running::start(args, dir.path(), web, "")?;
    let load = Load {
        address: listen(args)?,
        server_name: "aggregator".to_owned(),
        authority: dir.path().join("ca"),
        identities: dir.path().join("ids"),
        n_agents,
        n_series: N_SERIES,
        interval: Duration::from_secs(2),
        duration: WARM + span + Duration::from_secs(2),
        seed: 1,
    };
    let fleet = send_off(load)?;
    wait_for_all(web, stop, n_agents, &fleet)?;
    if !stop.sleep(WARM) {
        bail!("stopped by a signal");
    }
    let used = running.watch(&dir.path().join("data"), span, stop)?;
    let judged = state(web)?;
    let sent = fleet
        .join()
        .map_err(|_| anyhow::anyhow!("the fleet panicked"))??;

    let told = Told {
        n_agents,
        span,
        used,
        judged,
        sent,
    };
    told.report()
}

/// All that a run gave.
struct Told {
    n_agents: usize,
    span: Duration,
    used: Used,
    judged: Judged,
    sent: simagents::Report,
}

impl Told {
    fn report(&self) -> Result<Report> {
        let Self {
            n_agents,
            span,
            used,
            judged,
            sent,
        } = self;
        let n_agents = *n_agents;
        let mut report = Report::new(&format!("aggregator-{n_agents}"));
        let how = format!(
            "{} s, {n_agents} agents, {N_SERIES} series each, a summary each 2 s",
            span.as_secs()
        );
        let mut cpu = Figure::of("aggregator, cores", &used.parts, &how);
        cpu.value = used.cores;
        cpu.how = format!("mean over {how}; smallest and largest tenth of that time");
        report.add(cpu.at_most(if n_agents > 200 { 2.0 } else { 0.2 }));
        report.add(Figure::new(
            "aggregator, largest resident memory, MiB",
            used.rss / MIB,
            &how,
        ));
        report.add(
            Figure::new(
                "memory per series, bytes",
                used.rss / (n_agents * N_SERIES) as f64,
                "all of it over all series",
            )
            .at_most(2_048.0),
        );
        acknowledged(&mut report, sent)?;
        let per_day = used.grown * 86_400.0 / n_agents as f64 / MIB;
        report.add(Figure::new(
            "store, MiB per shard and day",
            per_day,
            "growth of the file while measured; one node a shard",
        ));
        report.add(Figure::new(
            "bytes/summary",
            sent.payload_bytes as f64 / sent.sent.max(1) as f64,
            "payload",
        ));
        report.add(
            Figure::new(
                "incidents of a calm fleet",
                judged.n_incidents,
                "at the end",
            )
            .at_most(0.0),
        );
        report.note(format!(
            "{} summaries; judging {}: {}",
            sent.sent,
            if judged.is_armed {
                "is on"
            } else {
                "IS NOT ON"
            },
            judged.counters
        ));
        for failure in sent.failures.iter().take(3) {
            report.note(format!("failure: {failure}"));
        }
        Ok(report)
    }
}

fn acknowledged(report: &mut Report, sent: &simagents::Report) -> Result<()> {
    for (share, name) in [(0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (1.0, "largest")] {
        let ms = sent.ack_ms_at(share).context("nothing was acknowledged")?;
        let figure = Figure::new(
            &format!("acknowledged after, ms, {name}"),
            ms,
            "from sending to the commit's acknowledgement, warm-up included",
        );
        report.add(if name == "p99" {
            figure.at_most(1_000.0)
        } else {
            figure
        });
    }
    let lost = (sent.sent - sent.acknowledged) as f64;
    report.add(Figure::new("summaries not acknowledged", lost, "of all").at_most(0.0));
    Ok(())
}

/// What the aggregator says of itself.
struct Judged {
    is_armed: bool,
    n_incidents: f64,
    counters: String,
}

fn state(web: SocketAddr) -> Result<Judged> {
    let json = |path: &str| -> Result<Value> {
        serde_json::from_str(&http::get(web, path)?.body).context("read JSON")
    };
    let (shards, incidents) = (json("/api/v1/shards")?, json("/api/v1/incidents")?);
    let metrics = http::get(web, "/metrics")?.body;
    let wanted = [
        "hsw_engine_windows_judged_total",
        "hsw_engine_windows_skipped_total",
        "hsw_engine_values_of_unknown_series_total",
    ];
    let lines = metrics
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    Ok(Judged {
        is_armed: shards["is_armed"] == true,
        n_incidents: incidents["incidents"]
            .as_array()
            .map_or(f64::NAN, |all| all.len() as f64),
        counters: lines.collect::<Vec<_>>().join(", "),
    })
}

/// What the aggregator used while it was watched.
struct Used {
    /// Mean.
    cores: f64,
    /// Of each tenth of the time.
    parts: Vec<f64>,
    /// Bytes a second that the store grew.
    grown: f64,
    /// Largest resident memory so far, bytes.
    rss: f64,
}

type Fleet = std::thread::JoinHandle<Result<simagents::Report>>;

fn send_off(load: Load) -> Result<Fleet> {
    let run = move || -> Result<simagents::Report> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build()?;
        runtime.block_on(simagents::run(&load))
    };
    let thread = std::thread::Builder::new().name("fleet".to_owned());
    thread.spawn(run).context("start the fleet")
}

fn wait_for_all(web: SocketAddr, stop: &Stop, n: usize, fleet: &Fleet) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60 + n as u64 / 10);
    while Instant::now() < until {
        if fleet.is_finished() {
            bail!("the fleet ended before all were connected");
        }
        let answer = http::get(web, "/api/v1/shards");
        let shards = answer
            .ok()
            .and_then(|a| serde_json::from_str::<Value>(&a.body).ok());
        if shards.is_some_and(|s| s["shards"].as_array().is_some_and(|all| all.len() >= n)) {
            return Ok(());
        }
        if !stop.sleep(Duration::from_secs(1)) {
            bail!("stopped by a signal");
        }
    }
    bail!("not all {n} agents were heard in time")
}

/// Bytes of the store's files.
fn size(folder: &Path) -> Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).context("read the store's folder")? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes as f64)
}

pub(super) fn listen(args: &Args) -> Result<SocketAddr> {
    format!("127.0.{}.20:7443", args.subnet)
        .parse()
        .context("make an address")
}

/// A running aggregator; dropping it ends it.
pub(super) struct Running(Child);

impl Running {
    /// With `shards` at the end of its configuration.
    pub(super) fn start(args: &Args, dir: &Path, web: SocketAddr, shards: &str) -> Result<Self> {
        let ids = dir.join("ids");
        cert::init(&dir.join("ca"))?;
        cert::issue(&dir.join("ca"), &NodeId::new("aggregator")?, &[], &ids)?;
        let mut config = format!(
            "cluster = \"simulated\"\ndata_dir = \"{}\"\nlisten = \"{}\"\nweb = \"{web}\"\n[tls]\n",
            dir.join("data").display(),
            listen(args)?
        );
        for (key, file) in [
            ("cert", "aggregator.crt"),
            ("key", "aggregator.key"),
            ("ca", "ca.crt"),
        ] {
            writeln!(config, "{key} = \"{}\"", ids.join(file).display())?;
        }
        config.push_str("[ingest]\nconnections_max = 4096\n");
        config.push_str(shards);
        let path = dir.join("aggregator.toml");
        std::fs::write(&path, config).context("write the aggregator's config")?;
        let log = std::fs::File::create(dir.join("aggregator.log")).context("make a log")?;
        let program = args.programs()?.join("hsw-aggregator");
        let child = Command::new(&program)
            .args(["run", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let running = Self(child);
        for _ in 0..100 {
            if http::get(web, "/healthz").is_ok_and(|answer| answer.status == 200) {
                return Ok(running);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let said = std::fs::read_to_string(dir.join("aggregator.log")).unwrap_or_default();
        bail!(
            "the aggregator does not answer on {web}: {}",
            said.lines().last().unwrap_or("no output")
        )
    }

    fn watch(&self, store: &Path, span: Duration, stop: &Stop) -> Result<Used> {
        let (cpu_s, bytes, began) = (self.cpu_s()?, size(store)?, Instant::now());
        let mut parts = Vec::new();
        let mut last = (cpu_s, began);
        for _ in 0..10 {
            if !stop.sleep(span / 10) {
                bail!("stopped by a signal");
            }
            let now = (self.cpu_s()?, Instant::now());
            parts.push((now.0 - last.0) / (now.1 - last.1).as_secs_f64());
            last = now;
        }
        let wall = began.elapsed().as_secs_f64();
        Ok(Used {
            cores: (last.0 - cpu_s) / wall,
            parts,
            grown: (size(store)? - bytes) / wall,
            rss: usage::rss_max_bytes(self.0.id()).context("the aggregator is gone")?,
        })
    }

    fn cpu_s(&self) -> Result<f64> {
        usage::cpu_seconds(self.0.id()).context("the aggregator is gone")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
