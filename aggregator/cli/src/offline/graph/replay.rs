//! `hsw graph replay`: a window slides over timed edges; distances and landmarks are kept, not searched anew. (step 15)
//!
//! In: an edge list in order of time. Out: what an event costs, how much it changes, how large the set is beside a fresh one.
//! An edge is there while a row of it is in the window. Background work (choosing anew) is told apart from events.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use hsw_landmark::{Topology, Tracked};
use serde_json::json;

use super::super::edges::{Edges, Op, Row};

/// A fresh set is chosen for comparison after each such share of the events.
const FRESH_EVERY: usize = 40;
/// The set is swapped for the fresh one when larger by more than a twentieth.
const SWAP_FROM: f64 = 1.05;

/// The replay command.
#[derive(Debug, Args)]
pub struct Options {
    /// Edge list in order of time; plain, .gz or .zst; `-` is standard input.
    pub file: PathBuf,
    /// Events in the window; all of them by default.
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,
    /// After every event, hold distances and classes against a search from scratch.
    #[arg(long)]
    pub verify: bool,
}

/// What the events took.
#[derive(Debug, Default)]
struct Costs {
    us: Vec<f64>,
    entries: Vec<f64>,
    n_added: usize,
    n_pruned: usize,
    n_swaps: usize,
    fresh_s: f64,
    ratios: Vec<f64>,
    n_false: usize,
}

/// The window: how many of its rows each edge has.
#[derive(Debug, Default)]
struct Window {
    rows: VecDeque<(u32, u32)>,
    n_of: BTreeMap<(u32, u32), u32>,
}

impl Window {
    /// Takes a row; whether the edge is new.
    fn push(&mut self, edge: (u32, u32)) -> bool {
        self.rows.push_back(edge);
        let n = self.n_of.entry(edge).or_insert(0);
        *n += 1;
        *n == 1
    }

    /// Lets the oldest row go; the edge, where that was its last.
    fn pop(&mut self) -> Option<(u32, u32)> {
        let edge = self.rows.pop_front()?;
        let n = self.n_of.get_mut(&edge)?;
        *n -= 1;
        if *n > 0 {
            return None;
        }
        self.n_of.remove(&edge);
        Some(edge)
    }

    /// Every row of an edge goes.
    fn forget(&mut self, edge: (u32, u32)) -> bool {
        self.rows.retain(|row| *row != edge);
        self.n_of.remove(&edge).is_some()
    }
}

/// Runs it.
///
/// # Errors
/// The file cannot be read, a line is no edge, verification failed, or standard output is gone.
pub fn run(options: &Options, as_json: bool) -> anyhow::Result<()> {
    ensure!(
        options.window != Some(0),
        "--window: at least one event; leave it out for all of them"
    );
    let edges = Edges::read(&options.file)?;
    edges.ensure_order()?;
    let size = options.window.unwrap_or(edges.rows.len()).max(1);
    let began = Instant::now();
    let mut tracked = Tracked::new(Topology::new(edges.names.len()));
    let mut window = Window::default();
    let mut costs = Costs::default();
    let every = (edges.rows.len() / FRESH_EVERY).max(1);
    for (at, row) in edges.rows.iter().enumerate() {
        event(&mut tracked, &mut window, *row, size, &mut costs);
        if options.verify && !(tracked.is_true() && tracked.is_resolved()) {
            costs.n_false += 1;
        }
        if at % every == every - 1 {
            compare(&mut tracked, &mut costs);
        }
    }
    ensure!(
        costs.n_false == 0,
        "after {} of {} events distances or classes were not those of a search from scratch: report this",
        costs.n_false,
        edges.rows.len()
    );
    let seconds = began.elapsed().as_secs_f64();
    say(options, &tracked, &mut costs, seconds, as_json)
}

fn event(tracked: &mut Tracked, window: &mut Window, row: Row, size: usize, costs: &mut Costs) {
    let edge = (row.u.min(row.v), row.u.max(row.v));
    let comes = row.op == Op::Insert && window.push(edge);
    let goes = match row.op {
        Op::Insert if window.rows.len() > size => window.pop(),
        Op::Insert => None,
        Op::Delete => window.forget(edge).then_some(edge),
    };
    let began = Instant::now();
    let mut n_entries = 0;
    if let Some((u, v)) = goes {
        n_entries += tracked.remove(u, v).n_entries;
    }
    if comes {
        n_entries += tracked.insert(edge.0, edge.1).n_entries;
    }
    let kept = tracked.keep();
    costs.us.push(began.elapsed().as_secs_f64() * 1e6);
    costs.entries.push(n_entries as f64);
    costs.n_added += kept.n_added;
    costs.n_pruned += kept.n_pruned;
}

/// What the aggregator does in the background: chooses anew, and swaps where that is worth it.
fn compare(tracked: &mut Tracked, costs: &mut Costs) {
    let began = Instant::now();
    let fresh = tracked.chosen_anew();
    let ratio = tracked.landmarks().len() as f64 / fresh.len().max(1) as f64;
    costs.ratios.push(ratio);
    if ratio > SWAP_FROM {
        tracked.swap(fresh);
        costs.n_swaps += 1;
    }
    costs.fresh_s += began.elapsed().as_secs_f64();
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = (sorted.len() as f64 * q) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

fn say(
    options: &Options,
    tracked: &Tracked,
    costs: &mut Costs,
    seconds: f64,
    as_json: bool,
) -> anyhow::Result<()> {
    costs.us.sort_by(f64::total_cmp);
    costs.entries.sort_by(f64::total_cmp);
    let worst = costs.ratios.iter().copied().fold(0.0, f64::max);
    let fresh = tracked.chosen_anew().len();
    let ratio = tracked.landmarks().len() as f64 / fresh.max(1) as f64;
    let at = |q| quantile(&costs.us, q);
    let answer = json!({
        "events": costs.us.len(), "window": options.window, "m": tracked.graph().m(),
        "p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1.0),
        "changed_p50": quantile(&costs.entries, 0.5), "changed_p99": quantile(&costs.entries, 0.99), "changed_max": quantile(&costs.entries, 1.0),
        "landmarks": tracked.landmarks().len(), "fresh": fresh, "ratio": ratio, "worst_ratio": worst,
        "added": costs.n_added, "pruned": costs.n_pruned, "swaps": costs.n_swaps,
        "background_seconds": costs.fresh_s, "verified": options.verify, "seconds": seconds,
    });
    let mut out = std::io::stdout().lock();
    if as_json {
        return writeln!(out, "{answer}").context("write to standard output");
    }
    writeln!(
        out,
        "{} events: {:.1} µs each in the middle, {:.0} µs at p99, {:.0} µs at most\n{} landmarks, a fresh set has {fresh} (at worst {worst:.2} times as many before a swap); {} added, {} taken out, {} swaps\n{}",
        costs.us.len(), at(0.5), at(0.99), at(1.0), tracked.landmarks().len(), costs.n_added, costs.n_pruned, costs.n_swaps,
        if options.verify { "verified after every event" } else { "not verified (--verify)" },
    )
    .context("write to standard output")
}
