//! The command `hsw-simulate`: recordings of simulated clusters, of stores, and the figures over many of them.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, stdin};
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use hsw_simulated::{evaluate, record};
use hsw_simulator::{
    Disturbance, Fault, Harmless, Injection, Onset, Scenario, Simulation, Topology,
};
use serde_json::{Value, json};

/// Begin of the simulated time.
const START: i64 = 1_795_000_000;

/// Simulates a sharded database and records what its agents would ship.
#[derive(Debug, Parser)]
#[command(name = "hsw-simulate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a cluster into a recording, with the truth beside it.
    Run(Run),
    /// Makes a recording of what an aggregator's store holds; reads `node|received_us|payload in hex` from standard input.
    Stored {
        /// First Unix second.
        #[arg(long)]
        from: i64,
        /// Unix second of the end.
        #[arg(long)]
        until: i64,
        /// Where it goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// False incidents and found faults, through the engine as it is; goes on where it was stopped.
    Evaluate {
        /// Healthy shard-days to play.
        #[arg(long, default_value_t = 300.0)]
        shard_days: f64,
        /// Times each kind of fault is injected.
        #[arg(long, default_value_t = 3)]
        rounds: u64,
        /// First seed, from 1; what was looked at while something was made should not measure it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where each cluster's result is appended.
        #[arg(
            long,
            value_name = "FILE",
            default_value = "target/evaluate/simulated.jsonl"
        )]
        out: PathBuf,
        /// Write evaluate-simulated.json into this folder.
        #[arg(long, value_name = "DIR")]
        results: Option<PathBuf>,
    },
    /// Lists faults and disturbances.
    List,
}

#[derive(Debug, Args)]
struct Run {
    /// Shards.
    #[arg(long, default_value_t = 8)]
    shards: usize,
    /// Replicas of each.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// As the test bed's cluster: four small shards, no replicas.
    #[arg(long, conflicts_with_all = ["shards", "replicas"])]
    test_bed: bool,
    /// Seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hours to play.
    #[arg(long, default_value_t = 0.25)]
    hours: f64,
    /// A fault: `KIND:SHARD@T[+SECONDS][*SEVERITY]`, shards from 1, T in seconds from the begin; may be repeated.
    #[arg(long = "fault", value_name = "KIND:SHARD@T")]
    faults: Vec<String>,
    /// A harmless disturbance: KIND:SHARD@T[+SECONDS]; may be repeated.
    #[arg(long = "harmless", value_name = "KIND:SHARD@T")]
    disturbances: Vec<String>,
    /// Where the recording goes; the truth goes beside it, with `.truth.json` at its end.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(options) => run(&options),
        Command::Stored { from, until, out } => {
            let file = BufWriter::new(create(&out)?);
            let lines = BufReader::new(stdin().lock());
            record::stored(lines, (from, until), file)?;
            Ok(())
        }
        Command::Evaluate {
            shard_days,
            rounds,
            seed,
            out,
            results,
        } => {
            let much = evaluate::Much {
                shard_days,
                rounds,
                seed,
            };
            let sums = evaluate::run(&out, &much, &mut |line| println!("{line}"))?;
            println!("{sums:#}");
            match results {
                Some(folder) => write_results(&folder, &much, &sums),
                None => Ok(()),
            }
        }
        Command::List => {
            for fault in Fault::ALL {
                println!("{:20}{}", fault.name(), fault.about());
            }
            for harmless in Harmless::ALL {
                println!("{:20}harmless: {}", harmless.name(), harmless.about());
            }
            Ok(())
        }
    }
}

fn run(options: &Run) -> anyhow::Result<()> {
    let seconds = (options.hours * 3_600.0).round() as u32;
    let topology = if options.test_bed {
        Topology::test_bed(options.seed)
    } else {
        Topology {
            n_replicas: options.replicas,
            ..Topology::of(options.shards, options.seed)
        }
    };
    let faults = options.faults.iter().map(|text| injection(text));
    let disturbances = options.disturbances.iter().map(|text| disturbance(text));
    let scenario = Scenario {
        topology,
        start: START,
        faults: faults.collect::<anyhow::Result<_>>()?,
        disturbances: disturbances.collect::<anyhow::Result<_>>()?,
    };
    let mut simulation = Simulation::new(scenario)?;
    let truth = record::truth(&simulation.truth());
    record::simulated(
        &mut simulation,
        seconds,
        BufWriter::new(create(&options.out)?),
    )?;
    let beside = options.out.with_extension("truth.json");
    fs::write(&beside, format!("{truth:#}\n"))
        .with_context(|| format!("write {}", beside.display()))
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("make {}", path.display()))
}

/// The sums as figures, in the form of the other results.
fn write_results(folder: &Path, much: &evaluate::Much, sums: &Value) -> anyhow::Result<()> {
    let faults = &sums["faults"];
    let share = |part: &Value| part.as_f64().zip(faults["n"].as_f64()).map(|(k, n)| k / n);
    let how = format!(
        "{} injections, {} kinds, severity 0.4 to 1, at once, in a ramp, on and off",
        faults["n"],
        sums["by_kind"].as_object().map_or(0, serde_json::Map::len)
    );
    let calm = format!(
        "{} incidents ({} about who talks to whom) in {} shard-days of days with every harmless disturbance twice, {:.0} % of the time under one at least; range: 95 % (Garwood)",
        sums["false_incidents"],
        sums["false_about_who_talks_to_whom"],
        sums["shard_days"],
        100.0 * sums["disturbed_share"].as_f64().unwrap_or(0.0)
    );
    let figure = |metric: &str, value: Option<f64>, how: &str, target: (f64, bool)| json!({ "metric": metric, "value": value, "how": how, "target": target.0, "at_least": target.1 });
    let mut quiet = figure(
        "false incidents per 100 shard-days",
        sums["false_per_100_shard_days"].as_f64(),
        &calm,
        (1.0, false),
    );
    quiet["range"] = sums["interval_95"].clone();
    let right = share(&faults["right_shard_first"]);
    let missed = share(&faults["missed"]);
    // Of whole numbers, so that none is none.
    let count = |name: &str| faults[name].as_u64().unwrap_or_default();
    let n_wrong = count("n") - count("right_shard_first") - count("missed");
    let wrong = share(&json!(n_wrong));
    let figures = [
        figure(
            "right shard first, share of injections",
            right,
            &how,
            (0.97, true),
        ),
        figure(
            "wrong shard first, share of injections",
            wrong,
            &how,
            (0.0, false),
        ),
        figure("missed, share of injections", missed, &how, (0.03, false)),
        figure(
            "delay, s, median",
            faults["delay_s_p50"].as_f64(),
            &how,
            (10.0, false),
        ),
        figure(
            "delay, s, 95th percentile",
            faults["delay_s_p95"].as_f64(),
            &how,
            (10.0, false),
        ),
        quiet,
    ];
    let commit = Process::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = commit.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let text = json!({
        "command": format!("tests/evaluate simulated --seed {} --rounds {} --shard-days {}", much.seed, much.rounds, much.shard_days),
        "commit": commit.unwrap_or_default(),
        "at": at,
        "name": "simulated",
        "figures": figures,
        "by_kind": sums["by_kind"],
        "false_during": sums["false_during"],
    });
    let path = folder.join("evaluate-simulated.json");
    fs::write(&path, format!("{text:#}\n")).with_context(|| format!("write {}", path.display()))
}

/// Name, shard from 0, first second, first second after.
fn parts(text: &str) -> anyhow::Result<(&str, usize, u32, u32)> {
    let form = || format!("`{text}`: KIND:SHARD@T[+SECONDS], as in lock-storm:2@600+60");
    let (name, rest) = text.split_once(':').with_context(form)?;
    let (shard, at) = rest.split_once('@').with_context(form)?;
    let (from, span) = at.split_once('+').unwrap_or((at, "60"));
    let shard: usize = shard.parse().with_context(form)?;
    let from: u32 = from.parse().with_context(form)?;
    let span: u32 = span.parse().with_context(form)?;
    let shard = shard.checked_sub(1).with_context(form)?;
    Ok((name, shard, from, from.saturating_add(span)))
}

fn injection(text: &str) -> anyhow::Result<Injection> {
    let (text, severity) = match text.split_once('*') {
        Some((text, severity)) => (text, severity.parse().context("a severity from 0 to 1")?),
        None => (text, 1.0),
    };
    let (name, shard, from, until) = parts(text)?;
    let fault =
        Fault::parse(name).with_context(|| format!("there is no fault {name}: see `list`"))?;
    Ok(Injection {
        fault,
        shard,
        from,
        until,
        severity,
        onset: Onset::Step,
    })
}

fn disturbance(text: &str) -> anyhow::Result<Disturbance> {
    let (name, shard, from, until) = parts(text)?;
    let kind = Harmless::parse(name)
        .with_context(|| format!("there is no disturbance {name}: see `list`"))?;
    Ok(Disturbance {
        kind,
        shard,
        from,
        until,
    })
}
