//! How fast, and how rightly, real faults become incidents: the measurement to repeat on every change of the detectors.
//!
//! In: faults, rounds, pairs, minutes of calm. Out: a report with every trial, as text and as JSON; the exit status is that of its targets.
//! One cluster lives through all of it, and shards take turns, so that nobody's past is one long fault. With a file to keep them in,
//! trials of many sittings count together. With `--second` the shipped causes are switched off, and all that is known is what was said
//! about earlier trials of the same sitting: in the first round every fault is new, and right is "none of the known causes".
//! The calm part lets the load vary and counts incidents that should not be.

mod figures;
mod kept;
mod one;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use hsw_explain::format;
use serde::Serialize;

use self::kept::{Kept, Line, pair};
use self::one::{Stage, pause};
use crate::bench::Report;
use crate::testbed::{Cluster, Fault, Options, Stop, http, incidents};

pub use self::one::{Said, Trial, Words};

const READY_WITHIN: Duration = Duration::from_secs(120);

/// Measures detection on a real sharded PostgreSQL with real faults.
#[derive(Debug, Parser)]
#[command(name = "hsw-faults", version)]
pub struct Args {
    /// Faults, comma separated, or `all`.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "lock-storm,cpu-hog,missing-index,connection-storm,checkpoint-storm,stopped,load-surge-all"
    )]
    faults: Vec<String>,
    /// Times each fault is injected, on shards in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Then so many times two faults at once, drawn by chance.
    #[arg(long, default_value_t = 0)]
    pairs: usize,
    /// Seconds a fault lasts.
    #[arg(long, default_value_t = 30)]
    span: u64,
    /// Minutes without a fault, with varying load, at the end.
    #[arg(long, default_value_t = 30)]
    calm_minutes: u64,
    /// Append every trial to this file, and play only what is missing in it.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Begin no further trial after so many minutes.
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
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
    out: Option<PathBuf>,
    /// Measure also whether the cause of each fault is named right when it comes again, after one word on the first; with
    /// shipped causes switched off.
    #[arg(long)]
    second: bool,
    /// With --second: write the cases of all faults here, as `hsw causes export` does.
    #[arg(long, value_name = "FILE", requires = "second")]
    export: Option<PathBuf>,
}

#[derive(Serialize)]
struct Trials<'a> {
    trials: &'a [Line],
}

/// Runs it; the exit status says whether everything was as it should be.
///
/// # Errors
/// When the cluster cannot be started or watched.
pub fn run(args: &Args) -> Result<bool> {
    let faults: Vec<Fault> = if args.faults == ["all"] {
        Fault::ALL.to_vec()
    } else {
        let named = args.faults.iter().map(|name| Fault::parse(name));
        named.collect::<Result<_>>()?
    };
    let mut kept = Kept::open(args.keep.as_deref())?;
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
    let measured = measure(&mut cluster, args, &faults, &mut kept, &stop);
    cluster.stop()?;
    let report = measured?;
    report.print(&command(args));
    if let Some(out) = &args.out {
        let trials = Trials {
            trials: &kept.lines,
        };
        report.write_with(out, &command(args), &trials)?;
    }
    Ok(report.is_reached())
}

fn measure(
    cluster: &mut Cluster,
    args: &Args,
    faults: &[Fault],
    kept: &mut Kept,
    stop: &Stop,
) -> Result<Report> {
    let web = {
        let services = cluster.services();
        let services = services.context("the test bed runs without the programs")?;
        services.wait_ready(stop, READY_WITHIN)?;
        services.web
    };
    let stage = Stage {
        cluster,
        web,
        span: Duration::from_secs(args.span),
        stop,
    };
    play(&stage, args, faults, kept)?;
    let calm = calm(&stage, args.calm_minutes)?;
    let trials: Vec<&Trial> = kept.lines.iter().map(|line| &line.trial).collect();
    let mut report = Report::new(if args.second { "second" } else { "faults" });
    figures::detection(&mut report, &trials, calm);
    if args.second {
        let causes = http::get(stage.web, "/api/v1/causes")?.body;
        let cases = format::read(&causes).context("read the causes of the aggregator")?;
        figures::words(&mut report, &trials, figures::leave_one_out(&cases));
        if let Some(out) = &args.export {
            std::fs::write(out, &causes).with_context(|| format!("write {}", out.display()))?;
        }
    }
    Ok(report)
}

/// All trials that are missing, as far as time allows.
fn play(stage: &Stage<'_>, args: &Args, faults: &[Fault], kept: &mut Kept) -> Result<()> {
    let (begun, commit) = (Instant::now(), commit());
    let n_shards = stage.cluster.shards().len();
    // How often each fault was told its cause on this cluster.
    let mut taught: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wanted: Vec<Vec<(Fault, usize)>> = Vec::new();
    for round in 0..args.rounds {
        let places = faults.iter().enumerate();
        let missing = places.filter(|(_, fault)| kept.times(**fault) <= round);
        wanted.extend(missing.map(|(i, fault)| vec![(*fault, (round + i) % n_shards + 1)]));
    }
    let pairs = (kept.pairs()..args.pairs).filter_map(|n| pair(n, faults, n_shards));
    wanted.extend(pairs.map(Vec::from));
    for (n, faults) in wanted.iter().enumerate() {
        let is_late = |minutes| begun.elapsed() >= Duration::from_secs(60 * minutes);
        if args.minutes.is_some_and(is_late) {
            break;
        }
        let has_cause = |fault: Fault| fault.wants_incident() && fault.intruder().is_none();
        let has_words = args.second && faults.len() == 1 && has_cause(faults[0].0);
        let mut trial = stage.play(faults, has_words)?;
        if let Some(words) = &mut trial.words {
            let times = taught.entry(faults[0].0.name()).or_default();
            words.round = *times + 1;
            *times += usize::from(trial.seconds.is_some());
        }
        print_line(&format!("{}/{} {trial:?}", n + 1, wanted.len()));
        let commit = commit.clone();
        kept.add(Line { commit, trial })?;
    }
    Ok(())
}

/// Minutes without a fault, and how many incidents came in them; nothing where none are wanted.
fn calm(stage: &Stage<'_>, minutes: u64) -> Result<Option<(u64, usize)>> {
    if minutes == 0 {
        return Ok(None);
    }
    let known = stage.ids()?;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(minutes * 60) {
        pause(stage.stop, Duration::from_secs(5))?;
    }
    let raised = incidents::fetch(stage.web)?.into_iter();
    let raised = raised.filter(|it| !known.contains(&it.id));
    let n = raised.inspect(|it| print_line(&format!("while calm: {}", it.summary)));
    Ok(Some((minutes, n.count())))
}

fn command(args: &Args) -> String {
    let mut command = "tests/faults".to_owned();
    if args.second {
        command.push_str(" --second");
    }
    command.push_str(&format!(
        " --faults {} --rounds {} --pairs {} --span {} --calm-minutes {}",
        args.faults.join(","),
        args.rounds,
        args.pairs,
        args.span,
        args.calm_minutes
    ));
    if let Some(keep) = args.keep.as_deref().and_then(Path::file_name) {
        command.push_str(&format!(" --keep {}", keep.display()));
    }
    command
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

#[expect(
    clippy::print_stdout,
    reason = "the answer to a command typed by a person"
)]
fn print_line(text: &str) {
    println!("{text}");
}
