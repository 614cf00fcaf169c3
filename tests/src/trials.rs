//! How fast, and how rightly, real faults become incidents: the measurement to repeat on every change of the detectors.
//!
//! In: faults, rounds, minutes of calm. Out: a report with every trial, as text and as JSON.
//! One cluster lives through all of it. A trial: wait until everything is calm and no incident is open, inject, take the
//! time until the first new incident, keep the fault for its span, heal, and watch until it is over. Shards take turns,
//! so that nobody's past is one long fault. The calm part lets the load vary and counts incidents that should not be.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Serialize;

use crate::testbed::incidents::{self, Expected, Incident, Verdict};
use crate::testbed::{Cluster, Fault, Options, Stop};

/// What an incident must not take longer than, seconds.
const TARGET_S: f64 = 10.0;
pub(crate) const POLL: Duration = Duration::from_millis(200);
/// Calm before a fault: queues drain, clients catch up, the detector's block is complete.
const CALM: Duration = Duration::from_secs(40);
/// A fault that nothing was raised for within this has been missed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// After healing, the incident must close within this.
pub(crate) const CLOSE_WITHIN: Duration = Duration::from_secs(120);
/// A harmless fault is watched this long after its end.
const AFTERMATH: Duration = Duration::from_secs(60);
/// New edges are judged within this.
const JUDGED_WITHIN: Duration = Duration::from_secs(360);
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(120);

/// Measures detection on a real sharded PostgreSQL with real faults.
#[derive(Debug, Parser)]
#[command(name = "hsw-faults", version)]
pub struct Args {
    /// Faults, comma separated; all of the by default.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "lock-storm,cpu-hog,missing-index,connection-storm,checkpoint-storm,stopped,load-surge-all"
    )]
    pub(crate) faults: Vec<String>,
    /// Times each fault is injected, on shards in turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Seconds a fault lasts.
    #[arg(long, default_value_t = 30)]
    pub(crate) span: u64,
    /// Minutes without a fault, with varying load, at the end.
    #[arg(long, default_value_t = 30)]
    calm_minutes: u64,
    /// Run folder.
    #[arg(long, default_value = "/tmp/hsw-faults")]
    dir: PathBuf,
    /// Address of the page.
    #[arg(long, default_value = "127.0.0.1:8180")]
    web: SocketAddr,
    /// Use the addresses 127.0.SUBNET.x.
    #[arg(long, default_value_t = 12)]
    subnet: u8,
    /// Where the JSON goes.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Measure instead whether the cause of each fault is named right when it comes again, after one word on the first; with
    /// shipped causes switched off.
    #[arg(long)]
    second: bool,
    /// With --second: write the cases of all faults here, as `hsw causes export` does.
    #[arg(long, value_name = "FILE", requires = "second")]
    pub(crate) export: Option<PathBuf>,
}

/// One injection and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// The fault.
    pub fault: String,
    /// Where.
    pub shard: String,
    /// `right`, `wrong`, `missed`, or for a harmless one `silent` or `raised`.
    pub outcome: String,
    /// Seconds from injection to the first incident that was served.
    pub seconds: Option<f64>,
    /// Its summary.
    pub summary: String,
    /// Roots of further incidents that should not have been.
    pub others: Vec<String>,
    /// Whether the incident closed by itself after healing.
    pub closed: bool,
}

/// Everything measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command that made it.
    pub command: String,
    /// Commit of the checkout, if it is one.
    pub commit: String,
    /// Unix seconds at its end.
    pub at: u64,
    /// Share of harmful trials whose first incident named the right shard and no other was raised.
    pub right_share: f64,
    /// Seconds from fault to incident over the right ones: median.
    pub seconds_p50: f64,
    /// 95th percentile.
    pub seconds_p95: f64,
    /// Largest.
    pub seconds_max: f64,
    /// Target for the 95th percentile.
    pub seconds_target: f64,
    /// Harmless trials that raised nothing, and all of them.
    pub harmless_silent: (usize, usize),
    /// Minutes without a fault while the load varied, and summaries of incidents in them.
    pub calm: (u64, Vec<String>),
    /// Every trial.
    pub trials: Vec<Trial>,
}

/// Runs it; the exit status says whether everything was as it should be.
///
/// # Errors
/// When the cluster cannot be started or watched.
pub fn run(args: &Args) -> Result<bool> {
    let faults: Vec<Fault> = args
        .faults
        .iter()
        .map(|name| Fault::parse(name))
        .collect::<Result<_>>()?;
    let commit = commit();
    let stop = Stop::new();
    stop.on_signals()?;
    let own = std::env::current_exe().context("find our own program")?;
    let programs = own
        .parent()
        .context("find the folder of our own program")?
        .to_owned();
    let mut cluster = Cluster::start(Options {
        web: args.web,
        subnet: args.subnet,
        programs: Some(programs),
        vary: true,
        shipped_causes: !args.second,
        stop: stop.clone(),
        ..Options::new(&args.dir)
    })?;
    if args.second {
        let measured = crate::second::measure(&mut cluster, args, &faults, &stop);
        cluster.stop()?;
        return measured?.conclude(args);
    }
    let measured = measure(&mut cluster, args, &faults, &stop);
    cluster.stop()?;
    let report = Report {
        commit,
        ..measured?
    };
    say(&report);
    if let Some(out) = &args.out {
        write(out, &report)?;
    }
    Ok(is_good(&report))
}

fn is_good(report: &Report) -> bool {
    let (silent, harmless) = report.harmless_silent;
    report.right_share >= 1.0
        && report.seconds_p95 <= TARGET_S
        && silent == harmless
        && report.calm.1.is_empty()
}

fn measure(cluster: &mut Cluster, args: &Args, faults: &[Fault], stop: &Stop) -> Result<Report> {
    let web = {
        let services = cluster
            .services()
            .context("the test bed runs without the programs")?;
        services.wait_ready(stop, READY_WITHIN)?;
        services.web
    };
    let n_shards = cluster.shards().len();
    let mut trials = Vec::new();
    for round in 0..args.rounds {
        for (i, fault) in faults.iter().enumerate() {
            let shard = (round + i) % n_shards + 1;
            let trial = trial(
                cluster,
                web,
                *fault,
                shard,
                Duration::from_secs(args.span),
                stop,
            )?;
            print_line(&format!(
                "{}/{} {trial:?}",
                trials.len() + 1,
                args.rounds * faults.len()
            ));
            trials.push(trial);
        }
    }
    let known = ids(web)?;
    let calm_since = Instant::now();
    while calm_since.elapsed() < Duration::from_secs(args.calm_minutes * 60) {
        pause(stop, Duration::from_secs(5))?;
    }
    let raised = incidents::fetch(web)?
        .into_iter()
        .filter(|it| !known.contains(&it.id));
    Ok(report(args, trials, raised.map(|it| it.summary).collect()))
}

fn trial(
    cluster: &mut Cluster,
    web: SocketAddr,
    fault: Fault,
    shard: usize,
    span: Duration,
    stop: &Stop,
) -> Result<Trial> {
    until_closed(web, stop, CLOSE_WITHIN)?;
    if fault.intruder().is_some() {
        incidents::wait_judged(web, stop, JUDGED_WITHIN)?;
    }
    pause(stop, CALM)?;
    let known = ids(web)?;
    let name = cluster.nodes()[shard].name.clone();
    let expected = fault.expected(&name);
    let begun = Instant::now();
    let injected = cluster.inject(fault, shard)?;
    let mut first: Option<(f64, Incident)> = None;
    let patience = if fault.wants_incident() {
        PATIENCE.max(span)
    } else {
        span
    };
    while begun.elapsed() < patience && !(first.is_some() && begun.elapsed() >= span) {
        pause(stop, POLL)?;
        if first.is_none()
            && let Verdict::Right(it) | Verdict::Wrong(it) =
                incidents::judge(&known, &incidents::fetch(web)?, &expected)
        {
            first = Some((begun.elapsed().as_secs_f64(), it));
        }
    }
    injected.heal()?;
    if !fault.wants_incident() {
        pause(stop, AFTERMATH)?;
    }
    let closed = until_closed(web, stop, CLOSE_WITHIN)?;
    let raised: Vec<Incident> = incidents::fetch(web)?
        .into_iter()
        .filter(|it| !known.contains(&it.id))
        .collect();
    let others: Vec<String> = raised
        .iter()
        .filter(|it| !expected.is(it))
        .map(|it| it.summary.clone())
        .collect();
    let outcome = match (&first, &expected) {
        (None, Expected::Nothing) if raised.is_empty() => "silent",
        (_, Expected::Nothing) => "raised",
        (None, _) => "missed",
        (Some((_, it)), _) if expected.is(it) && others.is_empty() => "right",
        _ => "wrong",
    };
    Ok(Trial {
        fault: fault.name().to_owned(),
        shard: name,
        outcome: outcome.to_owned(),
        seconds: first.as_ref().map(|(seconds, _)| *seconds),
        summary: first.map(|(_, it)| it.summary).unwrap_or_default(),
        others,
        closed,
    })
}

pub(crate) fn ids(web: SocketAddr) -> Result<BTreeSet<String>> {
    Ok(incidents::fetch(web)?.into_iter().map(|it| it.id).collect())
}

pub(crate) fn until_closed(web: SocketAddr, stop: &Stop, patience: Duration) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if incidents::fetch(web)?.iter().all(|it| it.state != "open") {
            return Ok(true);
        }
        pause(stop, Duration::from_secs(1))?;
    }
    Ok(false)
}

pub(crate) fn pause(stop: &Stop, span: Duration) -> Result<()> {
    if stop.sleep(span) {
        Ok(())
    } else {
        bail!("stopped")
    }
}

fn report(args: &Args, trials: Vec<Trial>, calm: Vec<String>) -> Report {
    let harmful: Vec<&Trial> = trials
        .iter()
        .filter(|t| !matches!(t.outcome.as_str(), "silent" | "raised"))
        .collect();
    let right: Vec<&&Trial> = harmful.iter().filter(|t| t.outcome == "right").collect();
    let mut seconds: Vec<f64> = right.iter().filter_map(|t| t.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    // The nearest rank, so that a few trials do not flatter: with 18 of them p95 is the largest.
    let rank = |share: f64| {
        let at = (share * seconds.len() as f64).ceil() as usize;
        seconds
            .get(at.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    };
    let silent = trials.iter().filter(|t| t.outcome == "silent").count();
    Report {
        command: format!(
            "tests/faults --faults {} --rounds {} --span {} --calm-minutes {}",
            args.faults.join(","),
            args.rounds,
            args.span,
            args.calm_minutes
        ),
        commit: String::new(),
        at: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        right_share: right.len() as f64 / harmful.len().max(1) as f64,
        seconds_p50: rank(0.5),
        seconds_p95: rank(0.95),
        seconds_max: rank(1.0),
        seconds_target: TARGET_S,
        harmless_silent: (silent, trials.len() - harmful.len()),
        calm: (args.calm_minutes, calm),
        trials,
    }
}

fn commit() -> String {
    let asked = std::process::Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    asked.map_or_else(
        |_| String::new(),
        |said| String::from_utf8_lossy(&said.stdout).trim().to_owned(),
    )
}

fn write(out: &Path, report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    std::fs::write(out, text + "\n").with_context(|| format!("write {}", out.display()))
}

fn say(report: &Report) {
    print_line(&format!(
        "right {:.0} % of {} harmful; seconds p50 {:.1}, p95 {:.1}, max {:.1} (target p95 {TARGET_S}); \
         harmless and silent {} of {}; {} incidents in {} calm minutes",
        report.right_share * 100.0,
        report.trials.len() - report.harmless_silent.1,
        report.seconds_p50,
        report.seconds_p95,
        report.seconds_max,
        report.harmless_silent.0,
        report.harmless_silent.1,
        report.calm.1.len(),
        report.calm.0,
    ));
}

#[expect(
    clippy::print_stdout,
    reason = "the answer to a command typed by a person"
)]
pub(crate) fn print_line(text: &str) {
    println!("{text}");
}
