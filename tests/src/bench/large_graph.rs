//! A million vertices: landmarks that tell 99 % of them apart, kept while edges come and go. Part of `graph`.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hsw_landmark::{Aim, Topology, Tracked};

use super::graph::{attached, events, median};
use super::log_lines::Dice;
use super::usage::rss_max_bytes;
use super::{Figure, Report};

const N: u32 = 1_000_000;
const EACH: usize = 4;
const TARGET: f64 = 0.99;

/// Measures.
pub(super) fn large(report: &mut Report) -> Result<()> {
    let mut dice = Dice::new(u64::from(N));
    let topology = Topology::with_edges(N as usize, attached(N, EACH, &mut dice));
    let events = events(&topology, &mut dice);
    let aim = Aim {
        target: TARGET,
        ..Aim::default()
    };
    let began = Instant::now();
    let mut tracked = Tracked::aimed(topology, &[], aim);
    let how =
        format!("preferential attachment, {EACH} edges a vertex, 99 % to be told apart; once");
    let chosen_s = began.elapsed().as_secs_f64();
    report.add(Figure::new(
        "10^6 vertices: landmarks chosen, s",
        chosen_s,
        &how,
    ));
    let n_landmarks = tracked.landmarks().len() as f64;
    report.add(Figure::new("10^6 vertices: landmarks", n_landmarks, &how));
    let mut took = Vec::with_capacity(events.len());
    for (comes, u, v) in &events {
        let began = Instant::now();
        if *comes {
            tracked.insert(*u, *v);
        } else {
            tracked.remove(*u, *v);
        }
        tracked.keep();
        took.push(began.elapsed().as_secs_f64() * 1e6);
        ensure!(tracked.is_reached(), "fewer than 99 % are told apart");
    }
    ensure!(
        tracked.is_true(),
        "distances are not those of a search from scratch"
    );
    let how = "edges that come and go by turns, 2,000 of them, 99 % told apart after each; distances checked from scratch at the end";
    let most = took.iter().copied().fold(0.0, f64::max) / 1e3;
    report.add(Figure::new(
        "10^6 vertices: an event, µs at the median",
        median(&mut took),
        how,
    ));
    report.add(Figure::new(
        "10^6 vertices: an event at most, ms",
        most,
        how,
    ));
    let memory = rss_max_bytes(std::process::id()).context("read our memory")?;
    let how = "largest resident memory of the whole benchmark";
    report.add(
        Figure::new(
            "10^6 vertices: memory, GiB",
            memory / f64::from(1 << 30),
            how,
        )
        .at_most(4.0),
    );
    Ok(())
}
