//! `hsw graph`: landmarks, a few vertices whose distances tell all others apart. (step 15)
//!
//! In: an edge list, read as undirected. Out: landmarks by name, a bound below, what they achieve.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use hsw_landmark::{Goal, Topology, choose};
use serde_json::{Value, json};

use super::edges::{Edges, Op, each_row};
use super::trigger::id;

pub mod features;
pub mod privacy;
pub mod replay;
mod telemetry;

/// Graphs over files.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The cluster's graph as it is: who talks to whom.
    Show,
    /// The cluster's edges that came and went, newest first.
    Changes,
    /// Says that an open incident about edges is no intrusion: what it shows is to be expected from now on.
    Accept {
        /// The incident's id, or its first digits.
        id: String,
    },
    /// Vertices whose distances tell all others apart: of a file, or without one of the cluster's graph.
    Landmarks(Landmarks),
    /// Slides a window over timed edges and keeps distances and landmarks exact.
    Replay(replay::Options),
    /// What a classifier is told of each vertex: degree, clustering, betweenness, distances to landmarks.
    Features(features::Options),
    /// How small a crowd somebody who holds a few vertices can narrow others down to. Ends with 1 where it is below K.
    Audit(privacy::Asked),
    /// Publishes a graph, and telemetry of its vertices, that pass the audit.
    Export(privacy::ExportOptions),
}

/// The landmarks command.
#[derive(Debug, Args)]
pub struct Landmarks {
    /// Edge list: `u v` or CSV `source,target[,…]`; plain, .gz or .zst; `-` is standard input.
    pub file: Option<PathBuf>,
    /// The goal is reached still when any one landmark is lost.
    #[arg(long)]
    pub fault_tolerant: bool,
    /// `vertex colour` a line: only vertices of one colour need telling apart.
    #[arg(long, value_name = "FILE")]
    pub colours: Option<PathBuf>,
    /// Share of vertices that must be alone in their class.
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    pub target: f64,
}

impl Command {
    /// Whether the aggregator is asked.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        match self {
            Self::Show | Self::Changes | Self::Accept { .. } => true,
            Self::Landmarks(options) => options.file.is_none(),
            Self::Replay(_) | Self::Features(_) | Self::Audit(_) | Self::Export(_) => false,
        }
    }
}

/// Runs it; false where an audit was not passed.
///
/// # Errors
/// A file cannot be read, a line is no edge, or standard output is gone.
pub fn run(command: &Command, as_json: bool) -> anyhow::Result<bool> {
    match command {
        Command::Audit(asked) => return privacy::audit(asked, as_json),
        Command::Landmarks(options) => landmarks(options, as_json),
        Command::Show | Command::Changes | Command::Accept { .. } => {
            unreachable!("asked of the aggregator")
        }
        Command::Replay(options) => replay::run(options, as_json),
        Command::Features(options) => features::run(options, as_json),
        Command::Export(options) => privacy::run_export(options, as_json),
    }
    .map(|()| true)
}

/// The graph as its rows leave it, and doubles dropped.
fn graph_of(edges: &Edges) -> (Topology, usize) {
    let is_plain = edges.rows.iter().all(|row| row.op == Op::Insert);
    let n = edges.names.len();
    let graph = if is_plain {
        Topology::with_edges(n, edges.rows.iter().map(|row| (row.u, row.v)))
    } else {
        let mut graph = Topology::new(n);
        for row in &edges.rows {
            match row.op {
                Op::Insert => graph.insert(row.u, row.v),
                Op::Delete => graph.remove(row.u, row.v),
            };
        }
        graph
    };
    let n_doubles = if is_plain {
        edges.rows.len() - graph.m()
    } else {
        0
    };
    (graph, n_doubles)
}

fn landmarks(options: &Landmarks, as_json: bool) -> anyhow::Result<()> {
    ensure!(
        (0.0..=1.0).contains(&options.target),
        "--target: a share from 0 to 1"
    );
    let file = options.file.as_deref().context("name a file")?;
    let edges = Edges::read(file)?;
    let colours = options.colours.as_deref().map(|path| colours(path, &edges));
    let colours = colours.transpose()?;
    let began = Instant::now();
    let (graph, n_doubles) = graph_of(&edges);
    let goal = Goal {
        colours: colours.as_deref(),
        target: options.target,
        is_fault_tolerant: options.fault_tolerant,
    };
    let choice = choose(&graph, goal);
    let seconds = began.elapsed().as_secs_f64();
    let names: Vec<Value> = choice
        .landmarks
        .iter()
        .map(|v| id(&edges.names[*v as usize]))
        .collect();
    let mut out = std::io::stdout().lock();
    if as_json {
        let answer = json!({
            "n": graph.n(), "m": graph.m(), "landmarks": names, "size": names.len(),
            "lower_bound": choice.lower_bound, "resolved": choice.is_reached, "classes": choice.n_classes,
            "alone": choice.n_alone, "loops": edges.n_loops, "duplicates": n_doubles, "seconds": seconds,
        });
        writeln!(out, "{answer}")
    } else {
        writeln!(
            out,
            "{} vertices, {} edges ({} loops and {n_doubles} doubles dropped)\n{} landmarks (no fewer than {} will do): {} of {} vertices stand alone{}, in {seconds:.3} s",
            graph.n(),
            graph.m(),
            edges.n_loops,
            names.len(),
            choice.lower_bound,
            choice.n_alone,
            graph.n(),
            if choice.is_reached { "" } else { ", the target is not reached" },
        )?;
        names.iter().try_for_each(|name| match name {
            Value::String(name) => writeln!(out, "{name}"),
            other => writeln!(out, "{other}"),
        })
    }
    .context("write to standard output")
}

/// A number per colour, by vertex; a vertex that the file does not name has a colour of its own kind.
fn colours(path: &Path, edges: &Edges) -> anyhow::Result<Vec<u32>> {
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut of = vec![0; edges.names.len()];
    each_row(path, |fields| {
        let [vertex, colour, ..] = fields else {
            anyhow::bail!("write `vertex colour`");
        };
        let next = numbers.len() as u32 + 1;
        let number = *numbers.entry(colour.clone()).or_insert(next);
        // Colours of vertices without an edge say nothing here.
        if let Some(v) = edges.find(vertex) {
            of[v as usize] = number;
        }
        Ok(())
    })?;
    Ok(of)
}
