//! `hsw graph audit` and `hsw graph export`: what a graph gives away, and one that gives nothing away. (step 15)
//!
//! In: an edge list. Out: the least crowd an attacker with ℓ vertices leaves anybody in; a graph in which it is at least k.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use hsw_landmark::{
    Export, Exposure, Matrix, Topology, export, exposure_to_many, exposure_to_one, exposure_to_two,
    least_antiresolving,
};
use serde_json::{Value, json};

use super::super::edges::Edges;
use super::super::trigger::id;
use super::graph_of;
use super::telemetry::{Lost, Telemetry};

/// Vertices of which all distances are held: 800 MB.
const VERTICES_MAX: usize = 20_000;
/// Closures of all vertices are looked for up to here; each costs up to n².
const CLOSURES_MAX: usize = 500;
/// Beginnings of the greedy search beyond two attackers.
const STARTS: usize = 16;
const ATTACKERS_MAX: usize = 8;

/// What is asked of both commands.
#[derive(Debug, Args)]
pub struct Asked {
    /// Edge list; plain, .gz or .zst; `-` is standard input.
    pub file: PathBuf,
    /// The least crowd.
    #[arg(short, default_value_t = 3, value_name = "K")]
    pub k: usize,
    /// Attackers: vertices of the graph that somebody holds, and from which distances are known.
    #[arg(short, default_value_t = 2, value_name = "L")]
    pub l: usize,
}

/// The export command.
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// What is asked.
    #[command(flatten)]
    pub asked: Asked,
    /// Where the published graph goes: CSV `source,target,weight`.
    #[arg(short, long, value_name = "OUT")]
    pub out: PathBuf,
    /// CSV `vertex,METRIC,…`, rows of what was measured at vertices (several of one vertex count by their mean).
    #[arg(long, value_name = "FILE", requires = "telemetry_out")]
    pub telemetry: Option<PathBuf>,
    /// Where the published telemetry goes: CSV `group,members,METRIC,…`, the mean of each group.
    #[arg(long, value_name = "OUT", requires = "telemetry")]
    pub telemetry_out: Option<PathBuf>,
}

fn read(asked: &Asked) -> anyhow::Result<(Edges, Topology)> {
    ensure!(
        (1..=ATTACKERS_MAX).contains(&asked.l),
        "-l: 1 to {ATTACKERS_MAX} attackers"
    );
    ensure!(asked.k >= 1, "-k: at least 1");
    let edges = Edges::read(&asked.file)?;
    let (graph, _) = graph_of(&edges);
    ensure!(
        graph.n() <= VERTICES_MAX,
        "{} vertices: the audit takes up to {VERTICES_MAX}",
        graph.n()
    );
    Ok((edges, graph))
}

fn all_distances(graph: &Topology) -> Matrix {
    let sources: Vec<u32> = (0..graph.n() as u32).collect();
    Matrix::of(graph, &sources)
}

/// Two attackers, on all cores: parts of like work, joined in order.
fn two(all: &Matrix) -> Exposure {
    let n = all.n_columns() as u32;
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let n_parts = (n_threads * 8).clamp(1, n.max(1));
    let next = std::sync::atomic::AtomicU32::new(0);
    // The first attackers have the most second ones: parts hold the less the earlier they are.
    let begin = |part: u32| {
        let share = f64::from(part) / f64::from(n_parts);
        (f64::from(n) * (1.0 - (1.0 - share).sqrt())) as u32
    };
    let mut parts: Vec<(u32, Exposure)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let part = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if part >= n_parts {
                            return done;
                        }
                        let end = if part + 1 == n_parts {
                            n
                        } else {
                            begin(part + 1)
                        };
                        done.push((part, exposure_to_two(all, begin(part)..end)));
                    }
                })
            })
            .collect();
        let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    parts.sort_by_key(|(part, _)| *part);
    let parts = parts.into_iter().map(|(_, exposure)| exposure);
    parts.reduce(Exposure::and).unwrap_or_default().finished()
}

/// One answer per number of attackers.
fn exposures(all: &Matrix, n_attackers: usize) -> Vec<Exposure> {
    (1..=n_attackers)
        .map(|n| match n {
            1 => exposure_to_one(all).finished(),
            2 => two(all),
            _ => exposure_to_many(all, n, STARTS),
        })
        .collect()
}

fn told(exposures: &[Exposure], names: &[Value]) -> Vec<Value> {
    let rows = exposures.iter().enumerate();
    rows.map(|(at, found)| {
        let attackers: Vec<&Value> = found.attackers.iter().map(|v| &names[*v as usize]).collect();
        json!({
            "l": at + 1, "least_class": found.least_class, "attackers": attackers, "exact": at < 2,
            "worst_rate": found.worst_rate, "mean_rate": if at < 2 { Some(found.mean_rate) } else { None }, "sets": found.n_sets,
        })
    })
    .collect()
}

/// Runs the audit; whether it is passed.
///
/// # Errors
/// The file cannot be read, the graph is too large, or standard output is gone.
pub fn audit(asked: &Asked, as_json: bool) -> anyhow::Result<bool> {
    let (edges, graph) = read(asked)?;
    let began = Instant::now();
    let all = all_distances(&graph);
    let found = exposures(&all, asked.l.min(graph.n().saturating_sub(1)));
    let least = found.iter().map(|one| one.least_class).min().unwrap_or(0);
    let closure = (graph.n() <= CLOSURES_MAX).then(|| least_antiresolving(&all, asked.k));
    let seconds = began.elapsed().as_secs_f64();
    let names: Vec<Value> = edges.names.iter().map(|name| id(name)).collect();
    let rows = told(&found, &names);
    let mut out = std::io::stdout().lock();
    if as_json {
        let antiresolving = closure.flatten().map(|set| {
            set.into_iter()
                .map(|v| names[v as usize].clone())
                .collect::<Vec<_>>()
        });
        let answer = json!({
            "n": graph.n(), "m": graph.m(), "k": asked.k, "l": asked.l, "anonymity": least, "passes": least >= asked.k,
            "attackers": rows, "antiresolving": antiresolving, "seconds": seconds,
        });
        writeln!(out, "{answer}").context("write to standard output")?;
        return Ok(least >= asked.k);
    }
    let verdict = if least >= asked.k {
        "passes"
    } else {
        "does not pass"
    };
    writeln!(
        out,
        "{verdict} (k = {}, l = {}): the least crowd is {least}, in {seconds:.2} s",
        asked.k, asked.l
    )?;
    for (at, one) in found.iter().enumerate() {
        writeln!(
            out,
            "{} attackers: a crowd of {} at least; {:.1} % named rightly at worst{}",
            at + 1,
            one.least_class,
            one.worst_rate * 100.0,
            if at < 2 {
                format!(", {:.1} % on average", one.mean_rate * 100.0)
            } else {
                " (greedy)".to_owned()
            },
        )?;
    }
    Ok(least >= asked.k)
}

/// The published number of each group.
fn numbers(made: &Export) -> Vec<usize> {
    let chance = RandomState::new();
    let mut order: Vec<usize> = (0..made.groups.len()).collect();
    order.sort_by_key(|group| chance.hash_one(group));
    let mut published = vec![0; order.len()];
    for (name, group) in order.into_iter().enumerate() {
        published[group] = name;
    }
    published
}

/// Edges under published names: of groups, in an order drawn anew each time, and places in them. Nothing here depends on the order of the
/// input, which may be that of the original names: who stands where in a group is not said, and lines are sorted.
fn lines(made: &Export, published: &[usize]) -> Vec<String> {
    let mut lines = Vec::new();
    for (a, b, share) in &made.edges {
        let size = |group: &u32| made.groups[*group as usize].len();
        let [x, y] = [a, b].map(|group| published[*group as usize]);
        for u in 0..size(a) {
            for v in (0..size(b)).filter(|v| a != b || u < *v) {
                let (one, other) = ((x, u).min((y, v)), (x, u).max((y, v)));
                let (from, to) = (
                    format!("g{}-{}", one.0, one.1),
                    format!("g{}-{}", other.0, other.1),
                );
                lines.push(format!("{from},{to},{share:.4}"));
            }
        }
    }
    lines.sort_unstable();
    lines
}

/// Runs the export; what does not pass its own audit is not written.
///
/// # Errors
/// The file cannot be read, there are too few vertices, or the result cannot be written.
pub fn run_export(options: &ExportOptions, as_json: bool) -> anyhow::Result<()> {
    let asked = &options.asked;
    let (edges, graph) = read(asked)?;
    let (k, l) = (asked.k, asked.l);
    // Read before anything is written.
    let told = options.telemetry.as_deref();
    let told = told.map(|file| Telemetry::read(file, &edges)).transpose()?;
    let made = export(&graph, None, k, l).with_context(|| {
        format!(
            "{} vertices cannot hide among {k} from {l} attackers: {} are needed",
            graph.n(),
            k + l
        )
    })?;
    let published = made.published();
    let found = exposures(&all_distances(&published), l);
    let least = found.iter().map(|one| one.least_class).min().unwrap_or(0);
    ensure!(
        least >= k,
        "the published graph does not pass its audit ({least} < {k}): nothing is written; report this"
    );
    let published_as = numbers(&made);
    write(
        &options.out,
        "source,target,weight",
        &lines(&made, &published_as),
    )?;
    let mut lost = Vec::new();
    if let (Some(told), Some(out)) = (&told, &options.telemetry_out) {
        let public = told.publish(&made, &published_as, k + l);
        write(out, &public.heading, &public.lines)?;
        lost = public.lost;
    }
    let worst = found.iter().map(|one| one.worst_rate).fold(0.0, f64::max);
    let added = published.m() - graph.m();
    let mut out = std::io::stdout().lock();
    if as_json {
        let answer = json!({
            "n": graph.n(), "m": graph.m(), "published_m": published.m(), "groups": made.groups.len(), "edges_added": added,
            "least_class": least, "worst_rate": worst, "k": k, "l": l,
            "telemetry": lost.iter().map(Lost::as_json).collect::<Vec<_>>(),
            "rows_of_unknown_vertices": told.as_ref().map_or(0, |told| told.n_unknown),
        });
        writeln!(out, "{answer}")
    } else {
        writeln!(
            out,
            "{} vertices in {} groups, {} edges of which {added} are not real (weights say what share of each group\u{2019}s pairs is)\nthe least crowd is {least}; at worst {:.1} % are named rightly",
            graph.n(),
            made.groups.len(),
            published.m(),
            worst * 100.0,
        )
        .and_then(|()| lost.iter().try_for_each(|lost| writeln!(out, "{lost}")))
    }
    .context("write to standard output")
}

fn write(path: &Path, heading: &str, lines: &[String]) -> anyhow::Result<()> {
    let all = || -> std::io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        writeln!(out, "{heading}")?;
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()
    };
    all().with_context(|| format!("write {}", path.display()))
}
