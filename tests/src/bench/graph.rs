//! `graph`: landmarks chosen, searches from all of them, distances kept under change, audits; NetworKit on the same graphs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hsw_landmark::{Goal, Matrix, Topology, Tracked, choose, exposure_to_one, exposure_to_two};
use serde_json::Value;

use super::large_graph::large;
use super::log_lines::Dice;
use super::path::path;
use super::{Args, Figure, Report};

/// A Python that has `networkit`.
const PEER_PYTHON: &str = "HSW_PEER_PYTHON";
const N_ROUNDS: usize = 7;
const N_EVENTS: usize = 2_000;

/// Preferential attachment: each vertex brings so many edges.
pub(super) fn attached(n: u32, each: usize, dice: &mut Dice) -> Vec<(u32, u32)> {
    let mut ends = vec![0, 1];
    for v in 2..n {
        let mut others = BTreeSet::new();
        while others.len() < each.min(v as usize) {
            others.insert(ends[dice.below(ends.len() as u64) as usize]);
        }
        others.iter().for_each(|other| ends.extend([v, *other]));
    }
    ends.chunks_exact(2).map(|two| (two[0], two[1])).collect()
}

/// Edges that come and go by turns; each is valid when it happens.
pub(super) fn events(graph: &Topology, dice: &mut Dice) -> Vec<(bool, u32, u32)> {
    let mut graph = graph.clone();
    let n = graph.n() as u64;
    let mut events = Vec::with_capacity(N_EVENTS);
    while events.len() < N_EVENTS {
        let u = dice.below(n) as u32;
        if events.len() % 2 == 0 {
            let v = dice.below(n) as u32;
            if graph.insert(u, v) {
                events.push((true, u, v));
            }
        } else {
            let list = graph.neighbours(u);
            let Some(v) = list.get(dice.below(list.len() as u64) as usize).copied() else {
                continue;
            };
            graph.remove(u, v);
            events.push((false, u, v));
        }
    }
    events
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures.
pub(super) fn graph(args: &Args) -> Result<Report> {
    let mut report = Report::new("graph");
    let folder = args.dir.join("graph");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for (n, each, k) in [(5_120, 4, 31), (100_000, 4, 64)] {
        searches(&folder, (n, each, k), &mut report)?;
    }
    whole(&mut report);
    path(&mut report);
    large(&mut report)?;
    fs::remove_dir_all(&folder).context("remove the graphs")?;
    Ok(report)
}

fn searches(folder: &Path, (n, each, k): (u32, usize, usize), report: &mut Report) -> Result<()> {
    let mut dice = Dice::new(u64::from(n));
    let edges = attached(n, each, &mut dice);
    let topology = Topology::with_edges(n as usize, edges.iter().copied());
    let mut by_degree: Vec<u32> = (0..n).collect();
    by_degree.sort_by_key(|v| (std::cmp::Reverse(topology.neighbours(*v).len()), *v));
    let landmarks: Vec<u32> = by_degree.into_iter().take(k).collect();
    let mut rebuilds: Vec<f64> = (0..N_ROUNDS)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(Matrix::of(&topology, &landmarks));
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let events = events(&topology, &mut dice);
    let mut tracked = Tracked::with_landmarks(topology, landmarks.clone());
    let mut took: Vec<f64> = events
        .iter()
        .map(|(comes, u, v)| {
            let began = Instant::now();
            if *comes {
                tracked.insert(*u, *v);
            } else {
                tracked.remove(*u, *v);
            }
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    ensure!(
        tracked.is_true(),
        "distances are not those of a search from scratch"
    );
    let of = format!("{n} vertices, {k} landmarks");
    let how = "all landmarks from scratch, the compact form included";
    report.add(Figure::of(&format!("{of}: rebuild, ms"), &rebuilds, how));
    let mean = took.iter().sum::<f64>() / took.len() as f64;
    let (p50, rebuild) = (median(&mut took), median(&mut rebuilds));
    let how = "edges that come and go by turns, 2,000 of them; distances, signatures and classes";
    report.add(Figure::new(&format!("{of}: an event, µs at the median"), p50, how).at_most(10.0));
    report.add(Figure::new(
        &format!("{of}: an event, µs in the mean"),
        mean,
        how,
    ));
    let written = Written {
        edges: &edges,
        events: &events,
        landmarks: &landmarks,
    };
    beside_peer(folder, &of, &written, (rebuild, p50, mean), report)
}

/// The peer's figures, and how many times as fast ours are: a rebuild in ms, an event in µs at the median and in the mean.
fn beside_peer(
    folder: &Path,
    of: &str,
    written: &Written<'_>,
    (rebuild, p50, mean): (f64, f64, f64),
    report: &mut Report,
) -> Result<()> {
    let Some(peer) = peer(folder, written)? else {
        report.note(format!("{PEER_PYTHON} is not set: no peer was measured"));
        return Ok(());
    };
    let number = |name: &str| peer[name].as_f64().context("what the peer said");
    let how = format!(
        "NetworKit {} in the same run, one thread",
        peer["version"].as_str().unwrap_or("?")
    );
    report.add(Figure::new(
        &format!("{of}: NetworKit's searches, ms"),
        number("rebuild_ms")?,
        &how,
    ));
    report.add(Figure::new(
        &format!("{of}: NetworKit's dynamic searches, µs at the median"),
        number("p50_us")?,
        &how,
    ));
    let how = "how many times as fast as the peer";
    report.add(
        Figure::new(
            &format!("{of}: rebuild, times"),
            number("rebuild_ms")? / rebuild,
            how,
        )
        .at_least(5.0),
    );
    report.add(
        Figure::new(
            &format!("{of}: an event at the median, times"),
            number("p50_us")? / p50,
            how,
        )
        .at_least(5.0),
    );
    report.add(Figure::new(
        &format!("{of}: an event in the mean, times"),
        number("mean_us")? / mean,
        how,
    ));
    Ok(())
}

/// What the peer is given.
struct Written<'a> {
    edges: &'a [(u32, u32)],
    events: &'a [(bool, u32, u32)],
    landmarks: &'a [u32],
}

fn peer(folder: &Path, given: &Written<'_>) -> Result<Option<Value>> {
    let Some(python) = std::env::var_os(PEER_PYTHON) else {
        return Ok(None);
    };
    let (mut edges, mut events, mut landmarks) = (String::new(), String::new(), String::new());
    let unique: BTreeSet<(u32, u32)> = given
        .edges
        .iter()
        .map(|(u, v)| (*u.min(v), *u.max(v)))
        .collect();
    for (u, v) in unique {
        writeln!(edges, "{u} {v}")?;
    }
    for (comes, u, v) in given.events {
        writeln!(events, "{} {u} {v}", if *comes { '+' } else { '-' })?;
    }
    for v in given.landmarks {
        writeln!(landmarks, "{v}")?;
    }
    let files = ["edges", "events", "landmarks"].map(|name| folder.join(name));
    for (file, text) in files.iter().zip([edges, events, landmarks]) {
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/graph/peer.py");
    let output = Command::new(python).arg(script).args(&files).output();
    let output = output.context("run the peer")?;
    ensure!(
        output.status.success(),
        "the peer: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(
        serde_json::from_slice(&output.stdout).context("what the peer said")?,
    ))
}

/// What takes seconds: a choice, an audit.
fn whole(report: &mut Report) {
    let mut dice = Dice::new(3);
    let topology = Topology::with_edges(5_120, attached(5_120, 3, &mut dice));
    let began = Instant::now();
    let choice = choose(&topology, Goal::default());
    let how = "preferential attachment, 3 edges a vertex; every vertex a candidate; once";
    report.add(
        Figure::new(
            "5120 vertices: landmarks chosen, s",
            began.elapsed().as_secs_f64(),
            how,
        )
        .at_most(16.0),
    );
    report.add(Figure::new(
        "5120 vertices: landmarks",
        choice.landmarks.len() as f64,
        how,
    ));
    let topology = Topology::with_edges(5_000, attached(5_000, 3, &mut dice));
    let sources: Vec<u32> = (0..5_000).collect();
    let began = Instant::now();
    let all = Matrix::of(&topology, &sources);
    std::hint::black_box(exposure_to_one(&all));
    let how = "all distances, then every attacker; once";
    report.add(
        Figure::new(
            "5000 vertices: audit of one attacker, s",
            began.elapsed().as_secs_f64(),
            how,
        )
        .at_most(1.0),
    );
    let began = Instant::now();
    let (one, other) = std::thread::scope(|scope| {
        // Half of all pairs has its first attacker among the first 29 %.
        let one = scope.spawn(|| exposure_to_two(&all, 0..1_464));
        let other = exposure_to_two(&all, 1_464..5_000);
        (one.join(), other)
    });
    let found = one.map(|one| one.and(other).finished());
    let how = "every pair of attackers, exact rates, two threads; once";
    report.add(
        Figure::new(
            "5000 vertices: audit of two attackers, s",
            began.elapsed().as_secs_f64(),
            how,
        )
        .at_most(300.0),
    );
    if let Ok(found) = found {
        report.note(format!(
            "{} pairs, the least crowd is {}",
            found.n_sets, found.least_class
        ));
    }
}
