//! Every figure of accuracy, one command: the production cores over real labelled data, their answers, and the scores.
//!
//! In: names of data sets, each with a folder of the same layout if it is not the usual one. Out: the answers under a
//! folder, a table with a reference beside each figure, and one JSON file per set.
//! Invariants
//! 1. Answers come from the crates (and programs) that run in production; truth is read only after they are written.
//! 2. A set without truth is answered and not scored, and this is said.
//! 3. Our own scores and those of the set's scorer must agree; where they do not, the command fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::Value;

use crate::bench::{Report, concluded};

mod asd;
mod calibration;
mod db_logs;
mod dbpa;
mod dbsherlock;
mod detect_score;
mod features;
mod graphs;
mod judged;
mod labelled;
mod loghub;
mod nab;
mod rca;
mod score;
mod sql;
mod streams;
mod structure;
pub mod told;

/// Answers real labelled data and scores the answers.
#[derive(Clone, Debug, Parser)]
#[command(name = "hsw-evaluate", version)]
pub struct Args {
    /// loghub_2k, sql_templates, db_logs, graphs, streams, structure and features (these need no folder), petshop, rcd, nezha_tt, nezha_ob, asd, nab,
    /// dbsherlock, dbpa, smd (laid out as asd), ms_cloud (as nab); `SET=FOLDER` reads a folder of the same layout. All, when none is given.
    /// `report` writes what the committed results say into the README, tests/results/ACCURACY.md and accuracy.svg.
    #[arg(value_name = "SET[=FOLDER]")]
    sets: Vec<String>,
    /// Where the answers go.
    #[arg(long, value_name = "DIR", default_value = "target/evaluate")]
    out: PathBuf,
    /// The labelled folder to learn causes from (dbsherlock, dbpa) when it is not the one to be answered.
    #[arg(long, value_name = "FOLDER")]
    learn_from: Option<PathBuf>,
    /// Write evaluate-SET.json with the figures into this folder.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = RESULTS)]
    results: Option<PathBuf>,
}

/// Where committed results lie.
const RESULTS: &str = "tests/results";

/// All that lie in the usual place.
const SETS: [&str; 13] = [
    "loghub_2k",
    "sql_templates",
    "db_logs",
    "graphs",
    "streams",
    "structure",
    "petshop",
    "rcd",
    "nezha_tt",
    "asd",
    "nab",
    "dbsherlock",
    "dbpa",
];

/// What one set is answered with.
struct Task {
    /// Its name.
    set: String,
    /// Where its files lie.
    data: PathBuf,
    /// Where its answers go.
    out: PathBuf,
    /// Where causes are learned, if not in `data`.
    learn_from: Option<PathBuf>,
    /// The folder of the scorers, where it is known.
    scorers: Option<PathBuf>,
}

impl Task {
    /// Of a set that is made, not read.
    fn without_data(set: &str, args: &Args) -> Self {
        Self {
            set: set.to_owned(),
            data: PathBuf::new(),
            out: args.out.join(set),
            scorers: None,
            learn_from: None,
        }
    }
}

/// The program: status 0 when every target is reached, 1 when one is not, 2 when a set could not be answered.
#[must_use]
pub fn main() -> ExitCode {
    concluded("hsw-evaluate", run(&Args::parse()))
}

fn run(args: &Args) -> Result<bool> {
    let mut sets = args.sets.clone();
    if sets.is_empty() {
        sets = SETS.map(str::to_owned).to_vec();
    }
    if sets == ["report"] {
        told::write(Path::new(RESULTS), Path::new("README.md"))?;
        return Ok(true);
    }
    let mut is_reached = true;
    for set in &sets {
        let task = match set.as_str() {
            "structure" | "features" => Task::without_data(set, args),
            _ => task(set, args)?,
        };
        let mut report = match task.set.as_str() {
            "loghub_2k" => loghub::answer(&task),
            "sql_templates" => sql::answer(&task),
            "db_logs" => db_logs::answer(&task),
            "graphs" => graphs::answer(&task),
            "streams" => streams::answer(&task),
            "structure" => structure::answer(),
            "features" => features::answer(&task.out),
            "petshop" => rca::petshop(&task),
            "rcd" => rca::rcd(&task),
            "nezha_tt" | "nezha_ob" => rca::nezha(&task),
            "asd" | "smd" => asd::answer(&task),
            "nab" | "ms_cloud" => nab::answer(&task),
            "dbsherlock" => dbsherlock::answer(&task),
            "dbpa" => dbpa::answer(&task),
            name => bail!("there is no set {name}: one of {}", SETS.join(", ")),
        }
        .with_context(|| format!("answer {}", task.set))?;
        report.name = format!("evaluate-{}", task.set);
        let command = format!("tests/evaluate {}", task.set);
        report.print(&command);
        is_reached &= report.is_reached();
        if let Some(folder) = &args.results {
            report.write(folder, &command)?;
            if folder == Path::new(RESULTS) {
                told::write(folder, Path::new("README.md"))?;
            }
        }
    }
    Ok(is_reached)
}

fn task(set: &str, args: &Args) -> Result<Task> {
    let shared = std::env::var_os("HSW_DATA").map(PathBuf::from);
    let (name, data) = match set.split_once('=') {
        Some((name, folder)) => (name, PathBuf::from(folder)),
        None => {
            let shared = shared.as_ref().context(
                "HSW_DATA is not set: name the folder of the data sets there, or give SET=FOLDER",
            )?;
            (set, unpacked(shared, set)?)
        }
    };
    ensure!(data.is_dir(), "{} is no folder", data.display());
    let out = args.out.join(name);
    std::fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    Ok(Task {
        set: name.to_owned(),
        data,
        out,
        learn_from: args.learn_from.clone(),
        scorers: shared.map(|shared| shared.join("scorers")),
    })
}

/// Where a set lies once unpacked; a folder that is not packed is taken as it is.
fn unpacked(shared: &Path, set: &str) -> Result<PathBuf> {
    let program = shared.join("unpack");
    if !program.exists() {
        return Ok(shared.join(set));
    }
    let output = Command::new(&program)
        .arg(set)
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "unpack {set}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(Path::new(&folder).join(set))
}

/// What the released program says.
fn hsw(args: &[&str]) -> Result<Value> {
    let own = std::env::current_exe().context("find this program")?;
    let program = own
        .parent()
        .context("find this program's folder")?
        .join("hsw");
    let output = Command::new(&program).args(args).output();
    let output = output.with_context(|| format!("run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "hsw {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    serde_json::from_slice(&output.stdout).context("what hsw said")
}

/// What a scorer prints; `None` where there is no scorer or no Python.
fn scorer(task: &Task, name: &str, args: &[&Path], options: &[&str]) -> Result<Option<String>> {
    let Some(program) = task.scorers.as_ref().map(|s| s.join(name)) else {
        return Ok(None);
    };
    if !program.exists() || Command::new("python3").arg("--version").output().is_err() {
        return Ok(None);
    }
    let output = Command::new("python3")
        .arg(&program)
        .args(options.iter().take_while(|o| !o.starts_with("--")))
        .args(args)
        .args(options.iter().skip_while(|o| !o.starts_with("--")))
        .output()
        .with_context(|| format!("run {name}"))?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Holds a figure of ours against what the set's scorer said.
fn must_say(said: &str, expected: &str) -> Result<()> {
    ensure!(
        said.contains(expected),
        "the set's scorer says otherwise than {expected}: {said}"
    );
    Ok(())
}

/// Adds to a report what the set's scorer said.
fn note_scorer(report: &mut Report, said: &str) {
    report.note(format!(
        "the set's own scorer: {}",
        said.trim().replace('\n', "; ")
    ));
}

/// Adds nothing to a report but the note that there was no truth.
fn unscored(report: &mut Report, what: &str) {
    report.note(format!(
        "{what}: no truth in this folder, answered and not scored"
    ));
}
