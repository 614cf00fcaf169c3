//! `hsw graph features`: what a classifier is told of each vertex of a file. (step 15)
//!
//! In: an edge list, read as undirected. Out: a row a vertex, as JSON lines or CSV. Latency, change and the unexpected are not in a
//! file: their columns are 0.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use hsw_landmark::{Goal, Matrix, choose};
use hsw_structure::{Told, features};
use serde_json::json;

use super::graph_of;
use crate::offline::edges::Edges;
use crate::offline::trigger::id;

/// The features command.
#[derive(Debug, Args)]
pub struct Options {
    /// Edge list: `u v` or CSV `source,target[,…]`; plain, .gz or .zst; `-` is standard input.
    pub file: PathBuf,
    /// Vertices that betweenness is estimated from; exact where there are no more of them.
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub sources: usize,
}

/// Runs it.
///
/// # Errors
/// The file cannot be read, a line is no edge, or standard output is gone.
pub fn run(options: &Options, as_json: bool) -> anyhow::Result<()> {
    let edges = Edges::read(&options.file)?;
    let (graph, _) = graph_of(&edges);
    let landmarks = choose(&graph, Goal::default()).landmarks;
    let told = Told {
        change_rate: &|_| 0.0,
        latency_ms: &|_, _| None,
        n_unexpected: &|_| 0,
    };
    let distances = Matrix::of(&graph, &landmarks);
    let rows = features(&graph, &distances, options.sources, &told);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut print = || -> std::io::Result<()> {
        if !as_json {
            writeln!(
                out,
                "vertex,degree,clustering,betweenness,coverage,landmark_eccentricity_max,distance_variance"
            )?;
        }
        for (name, row) in edges.names.iter().zip(&rows) {
            if as_json {
                let line = json!({
                    "vertex": id(name), "degree": row.degree, "clustering": row.clustering, "betweenness": row.betweenness,
                    "coverage": row.coverage, "landmark_eccentricity_max": row.landmark_eccentricity_max,
                    "distance_variance": row.distance_variance,
                });
                writeln!(out, "{line}")?;
            } else {
                let name = if name.contains([',', '"']) {
                    format!("\"{}\"", name.replace('"', "\"\""))
                } else {
                    name.clone()
                };
                writeln!(
                    out,
                    "{name},{},{},{},{},{},{}",
                    row.degree,
                    row.clustering,
                    row.betweenness,
                    row.coverage,
                    row.landmark_eccentricity_max,
                    row.distance_variance
                )?;
            }
        }
        out.flush()
    };
    print().context("write to standard output")
}
