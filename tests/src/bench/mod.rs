//! Every figure of speed and cost, one command: what was measured, what was promised, and whether it holds.
//!
//! In: names of benchmarks. Out: a table on standard output and, if asked, one JSON file for each, with the machine.
//! Invariants
//! 1. A figure is measured on the released programs or on the library that they are made of, never estimated.
//! 2. Cost is processor time (`/proc`), not time on the clock: other people may work on the same machine.
//! 3. What does not reach its target is printed as such and changes the exit status.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::testbed::Stop;

mod content;
mod figures;
mod usage;
pub use figures::{Figure, Report};
mod agent_cost;
mod aggregator;
mod codec;
mod database_loss;
mod detection;
mod explain;
mod graph;
mod inference;
mod large_graph;
mod log_lines;
mod path;
mod peers;
mod roles;
mod rows;
mod sketch_updates;
mod spooled;
mod templates;
mod tick;
mod trigger_grid;
mod trigger_peers;
mod triggers;
mod watched;

/// Measures what the agent, the aggregator and their formats cost.
#[derive(Clone, Debug, Parser)]
#[command(name = "hsw-bench", version)]
pub struct Args {
    /// Benchmarks: wire, templates, spool, detect, tick, rows, graph, explain, inference, agent-cost, log-storm, roles, database-loss, sketch-updates, trigger-grid, aggregator-200, aggregator-2000, trigger-messages.
    #[arg(required = true, value_parser = NAMES)]
    names: Vec<String>,
    /// Write NAME.json into this folder.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "tests/results")]
    out: Option<PathBuf>,
    /// Length of a measurement that goes by the clock; each benchmark has its own default.
    #[arg(long)]
    seconds: Option<u64>,
    /// Pairs of stretches with the agent held still and at work, for database-loss.
    #[arg(long, default_value_t = 240)]
    pairs: usize,
    /// Run folder; made and removed by the run.
    #[arg(long, default_value = "/tmp/hsw-bench")]
    dir: PathBuf,
    /// Use the addresses 127.0.SUBNET.x.
    #[arg(long, default_value_t = 12)]
    subnet: u8,
    /// Port of the aggregator's page, on 127.0.0.1.
    #[arg(long, default_value_t = 18_280)]
    web: u16,
    /// inference on the GPU instead of one core (deploy/onnxruntime --gpu brings the library).
    #[arg(long)]
    gpu: bool,
    /// Folder of `hsw`, `hsw-agent`, `hsw-aggregator`; beside this program when absent.
    #[arg(long)]
    programs: Option<PathBuf>,
}

const NAMES: [&str; 18] = [
    "wire",
    "templates",
    "spool",
    "detect",
    "rows",
    "tick",
    "graph",
    "inference",
    "explain",
    "agent-cost",
    "log-storm",
    "roles",
    "database-loss",
    "sketch-updates",
    "trigger-grid",
    "aggregator-200",
    "aggregator-2000",
    "trigger-messages",
];

impl Args {
    fn programs(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.programs {
            return Ok(folder.clone());
        }
        let own = std::env::current_exe().context("find this program")?;
        let folder = own.parent().context("find this program's folder")?;
        Ok(folder.to_owned())
    }

    /// The command that repeats this benchmark.
    fn command(&self, name: &str) -> String {
        let mut command = format!("tests/bench {name}");
        if let Some(seconds) = self.seconds {
            command.push_str(&format!(" --seconds {seconds}"));
        }
        if name == "inference" && self.gpu {
            command.push_str(" --gpu");
        }
        if name == "database-loss" && self.pairs != 240 {
            command.push_str(&format!(" --pairs {}", self.pairs));
        }
        command
    }
}

/// The program: status 0 when every target is reached, 1 when one is not, 2 when a benchmark could not be run.
#[must_use]
pub fn main() -> ExitCode {
    concluded("hsw-bench", run(&Args::parse()))
}

/// The last word of a command and its status: 0 when every target is reached, 1 when one is not, 2 when it could not be run.
#[expect(clippy::print_stderr, reason = "the last word of a command")]
pub(crate) fn concluded(program: &str, is_reached: Result<bool>) -> ExitCode {
    match is_reached {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let stop = Stop::new();
    stop.on_signals()?;
    let mut reached = true;
    for name in &args.names {
        let report = measure(name, args, &stop).with_context(|| format!("run {name}"))?;
        report.print(&args.command(name));
        reached &= report.is_reached();
        if let Some(folder) = &args.out {
            report.write(folder, &args.command(name))?;
        }
    }
    Ok(reached)
}

fn measure(name: &str, args: &Args, stop: &Stop) -> Result<Report> {
    match name {
        "wire" => codec::wire(),
        "templates" => templates::templates(args),
        "spool" => spooled::spool(),
        "detect" => detection::detect(),
        "tick" => tick::tick(),
        "rows" => rows::rows(),
        "graph" => graph::graph(args),
        "inference" => inference::inference(args),
        "explain" => explain::explain(args),
        "agent-cost" => agent_cost::agent_cost(args, stop),
        "log-storm" => agent_cost::log_storm(args, stop),
        "roles" => roles::roles(args, stop),
        "database-loss" => database_loss::database_loss(args, stop),
        "sketch-updates" => sketch_updates::sketch_updates(),
        "trigger-grid" => trigger_grid::trigger_grid(),
        "aggregator-200" => aggregator::aggregator(args, stop, 200),
        "aggregator-2000" => aggregator::aggregator(args, stop, 2_000),
        "trigger-messages" => triggers::trigger_messages(args, stop),
        _ => bail!("there is no benchmark {name}"),
    }
}
