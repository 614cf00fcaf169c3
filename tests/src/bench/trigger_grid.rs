//! `trigger-grid`: the forest against simple methods wherever one of them might be better, and the regime it is made for.
//!
//! In: nothing. Out: for each cell of the grid how many times as long the best simple method takes, from the first
//! registration on; for a million triggers the time of building, of an element, of the storm in which all mature.
//! Limits: a cell runs until its last trigger has matured where that is at most [`PAIRS_MAX`] pairs of a trigger and an
//! element. Where it is more, its stream ends half-way to maturity or after [`ELEMENTS_MAX`] elements, and a simple
//! method is told as many of them as are [`PAIRS_TOLD`] pairs (hits, for stabbing); the rest is taken to last as long
//! each, which favours it: triggers that go early make room, those that stay do not cost more. Of a million triggers only
//! two kinds of stream are run.

use anyhow::{Result, ensure};
use hsw_trigger::{Config, Forest, QueryId};

use super::trigger_peers::{Answer, BareScan, Method, Regime, Scan, Stabbing, Values, Weights};
use super::usage::own_thread_seconds;
use super::{Figure, Report};

/// Pairs of a trigger and an element in a cell that runs through.
const PAIRS_MAX: f64 = 1.2e9;
/// Elements of a stream that does not.
const ELEMENTS_MAX: usize = 200_000;
/// Pairs that a simple method is told of such a stream.
const PAIRS_TOLD: usize = 100_000_000;
/// Rounds of A B C D D C B A: twice as many samples of each.
const N_ROUNDS: usize = 3;
/// Shortest sample: shorter runs are repeated.
const SAMPLE_S: f64 = 2e-3;

/// Measures.
pub(super) fn trigger_grid() -> Result<Report> {
    let mut report = Report::new("trigger-grid");
    let mut bare = Vec::new();
    for m in [10, 100, 1_000, 10_000, 100_000, 1_000_000] {
        for threshold in [10, 1_000, 100_000, 10_000_000] {
            for width_permille in [1, 100, 900] {
                for (weights, values) in streams(m) {
                    let regime = Regime {
                        m,
                        threshold,
                        width_permille,
                        weights,
                        values,
                    };
                    cell(regime, &mut report, &mut bare)?;
                }
            }
        }
    }
    let figures = report.figures.iter();
    let ratios: Vec<f64> = figures.map(|figure| figure.value).collect();
    let n_short = ratios.iter().filter(|&&ratio| ratio < LEAST).count();
    let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    report.note(format!(
        "{} cells, {n_short} of them below {LEAST}, the lowest {worst:.2}",
        ratios.len()
    ));
    let n_bare = bare.iter().filter(|&&ratio| ratio < LEAST).count();
    let worst = bare.iter().copied().fold(f64::INFINITY, f64::min);
    report.note(format!(
        "a scan that knows no ids (neither refuses one in use nor takes a trigger back) is the better one, below {LEAST}, in \
         {n_bare} cells, the lowest {worst:.2}: where all is over after a few elements, registering is what is measured"
    ));
    storm(&mut report)?;
    Ok(report)
}

/// What no cell may fall below.
const LEAST: f64 = 0.9;

fn streams(m: usize) -> Vec<(Weights, Values)> {
    let mut streams = vec![
        (Weights::One, Values::Uniform),
        (Weights::Heavy, Values::Zipf),
    ];
    if m < 1_000_000 {
        streams.push((Weights::One, Values::Zipf));
        streams.push((Weights::Heavy, Values::Uniform));
    }
    streams
}

/// Seconds of each method on one cell, sample by sample.
#[derive(Default)]
struct Samples {
    ours: Vec<f64>,
    scan: Vec<f64>,
    bare: Vec<f64>,
    stabbing: Vec<f64>,
}

fn cell(regime: Regime, report: &mut Report, bare: &mut Vec<f64>) -> Result<()> {
    let Regime { m, threshold, .. } = regime;
    let all = regime.n_to_maturity();
    let is_through = all * m as f64 <= PAIRS_MAX && all <= 2e6;
    let (n, told, told_hits) = if is_through {
        let n = all as usize;
        (n, n, n)
    } else {
        let n = ((all / 2.0) as usize).min(ELEMENTS_MAX);
        let n_hit = (m as u64 * regime.width_permille / 1_000).max(100);
        (n, n.min(PAIRS_TOLD / m), n.min(PAIRS_TOLD / n_hit as usize))
    };
    let (ranges, stream) = (regime.ranges(), regime.stream(n));
    let mut run = Run {
        ranges: &ranges,
        threshold,
        stream: &stream,
    };
    let (ours, theirs) = (run.answer::<Forest>(n), run.answer::<Stabbing>(told_hits));
    ensure!(
        told_hits < n || ours == theirs,
        "answers differ: {regime:?}: {ours:?}, {theirs:?}"
    );
    let (n, told, told_hits) = if is_through && ours.n_matured == m as u64 {
        // Nobody waits for the rest.
        run.stream = &stream[..=ours.last];
        let n = run.stream.len();
        (n, n, n)
    } else {
        (n, told, told_hits)
    };
    let mut samples = Samples::default();
    for _ in 0..N_ROUNDS {
        samples.ours.push(run.seconds::<Forest>(n));
        samples.scan.push(run.seconds::<Scan>(told));
        samples.bare.push(run.seconds::<BareScan>(told));
        samples.stabbing.push(run.seconds::<Stabbing>(told_hits));
        samples.stabbing.push(run.seconds::<Stabbing>(told_hits));
        samples.bare.push(run.seconds::<BareScan>(told));
        samples.scan.push(run.seconds::<Scan>(told));
        samples.ours.push(run.seconds::<Forest>(n));
    }
    let over = |them: &[f64]| -> Vec<f64> {
        let pairs = them.iter().zip(&samples.ours);
        pairs.map(|(them, us)| them / us).collect()
    };
    let is_scan = median(&samples.scan) <= median(&samples.stabbing);
    let best = over(if is_scan {
        &samples.scan
    } else {
        &samples.stabbing
    });
    bare.push(median(&over(&samples.bare)));
    let micros = |seconds: &[f64]| median(seconds) * 1e6;
    let how = format!(
        "{n} elements, {} matured; µs in all: ours {:.1}, scan {:.1}, stabbing {:.1}, scan without ids {:.1}",
        ours.n_matured,
        micros(&samples.ours),
        micros(&samples.scan),
        micros(&samples.stabbing),
        micros(&samples.bare)
    );
    let name = format!(
        "m {m}, threshold {threshold}, width {} %, weights {:?}, values {:?}: {} over ours",
        regime.width_permille as f64 / 10.0,
        regime.weights,
        regime.values,
        if is_scan { "scan" } else { "stabbing" }
    );
    report.add(Figure::of(&name, &best, &how).at_least(LEAST));
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    hsw_stats::median(&mut values.to_vec()).unwrap_or(f64::NAN)
}

/// What every method is told.
#[derive(Clone, Copy)]
struct Run<'a> {
    ranges: &'a [hsw_trigger::Range],
    threshold: u64,
    stream: &'a [(u64, u64)],
}

impl Run<'_> {
    fn answer<M: Method>(self, told: usize) -> Answer {
        let mut method = M::build(self.ranges, self.threshold);
        let mut answer = Answer::default();
        for (number, &(key, weight)) in self.stream[..told].iter().enumerate() {
            method.add(key, weight, number, &mut answer);
        }
        answer
    }

    /// Of building and of the whole stream, of which so many elements are told.
    fn seconds<M: Method>(self, told: usize) -> f64 {
        let (mut build, mut tell, mut n_runs) = (0.0, 0.0, 0);
        while build + tell < SAMPLE_S {
            let begun = own_thread_seconds();
            let mut method = M::build(self.ranges, self.threshold);
            let built = own_thread_seconds();
            let mut answer = Answer::default();
            for (number, &(key, weight)) in self.stream[..told].iter().enumerate() {
                method.add(key, weight, number, &mut answer);
            }
            std::hint::black_box(answer);
            drop(method);
            build += built - begun;
            tell += own_thread_seconds() - built;
            n_runs += 1;
        }
        let times = self.stream.len() as f64 / told as f64;
        (build + tell * times) / f64::from(n_runs)
    }
}

/// A million triggers, each a tenth of the domain wide, from registration until the last has matured.
fn storm(report: &mut Report) -> Result<()> {
    let regime = Regime {
        m: 1_000_000,
        threshold: 20_000_000,
        width_permille: 100,
        weights: Weights::Hundred,
        values: Values::Uniform,
    };
    let ranges = regime.ranges();
    let stream = regime.stream(regime.n_to_maturity() as usize);
    let (build, slices) = (0..5)
        .map(|_| through(&ranges, regime.threshold, &stream))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip::<_, _, Vec<f64>, Vec<Vec<Slice>>>();
    report.add(
        Figure::of(
            "a million triggers: build, s",
            &build,
            "registering, and the tree",
        )
        .at_most(1.0),
    );
    let scan: Vec<f64> = (0..5)
        .map(|_| scan_ns(&ranges, regime.threshold, &stream[..300]))
        .collect();
    report.add(Figure::of(
        "a million triggers: scan, ns/element",
        &scan,
        "300 elements, none matures",
    ));
    compare(median(&scan), &slices, report);
    Ok(())
}

fn compare(scan_ns: f64, runs: &[Vec<Slice>], report: &mut Report) {
    let ns = |slices: &[Slice]| -> f64 {
        let seconds: f64 = slices.iter().map(|slice| slice.seconds).sum();
        let n: usize = slices.iter().map(|slice| slice.n).sum();
        seconds * 1e9 / n as f64
    };
    // A scan is as fast as its triggers are few, which favours it: what removing them costs is left out.
    let theirs = |slices: &[Slice]| -> f64 {
        let weighted = slices
            .iter()
            .map(|slice| slice.n as f64 * slice.n_waiting / 1e6);
        let n: usize = slices.iter().map(|slice| slice.n).sum();
        scan_ns * weighted.sum::<f64>() / n as f64
    };
    let is_any = |_: &&Slice| true;
    let is_before = |slice: &&Slice| slice.n_waiting > 999_999.0;
    let is_storm = |slice: &&Slice| (1_000.0..999_000.0).contains(&slice.n_waiting);
    let parts: [Part<'_>; 3] = [
        ("until the last has matured", &is_any),
        ("before the first matures", &is_before),
        ("while they mature", &is_storm),
    ];
    for (number, (name, keep)) in parts.into_iter().enumerate() {
        let kept: Vec<Vec<Slice>> = runs
            .iter()
            .map(|run| run.iter().filter(keep).copied().collect())
            .collect();
        let each: Vec<f64> = kept.iter().map(|slices| ns(slices)).collect();
        let ratio: Vec<f64> = kept
            .iter()
            .map(|slices| theirs(slices) / ns(slices))
            .collect();
        let how = "threshold 20,000,000, weight 100, ranges a tenth of the domain";
        let name = format!("a million triggers, {name}");
        let mut figure = Figure::of(&format!("{name}: ns/element"), &each, how);
        let mut over = Figure::of(&format!("{name}: scan over ours"), &ratio, how);
        // The storm is told by itself but has no target of its own.
        if number < 2 {
            figure = figure.at_most(2_500.0);
            over = over.at_least(300.0);
        }
        report.add(figure);
        report.add(over);
    }
}

/// A name, and which slices are meant.
type Part<'a> = (&'a str, &'a dyn Fn(&&Slice) -> bool);

/// A part of the stream.
#[derive(Debug, Clone, Copy)]
struct Slice {
    n: usize,
    seconds: f64,
    /// Triggers that wait, the mean of before and after.
    n_waiting: f64,
}

/// Elements of a part.
const SLICE: usize = 2_000;
/// Elements after which there is a tree: few enough to be called building.
const N_PLANTING: usize = 64;

/// Seconds of building, and the parts of the stream.
fn through(
    ranges: &[hsw_trigger::Range],
    threshold: u64,
    stream: &[(u64, u64)],
) -> Result<(f64, Vec<Slice>)> {
    let begun = own_thread_seconds();
    let mut forest = Forest::new(1, Config::default());
    let boxes = (0..)
        .zip(ranges)
        .map(|(id, range)| (QueryId(id), std::slice::from_ref(range), threshold));
    forest.register_all(boxes)?;
    let (first, rest) = stream.split_at(N_PLANTING);
    for &(key, weight) in first {
        forest.add(&[key], weight);
    }
    let build = own_thread_seconds() - begun;
    let mut slices = Vec::new();
    for part in rest.chunks(SLICE) {
        let (begun, before) = (own_thread_seconds(), forest.len());
        for &(key, weight) in part {
            forest.add(&[key], weight);
        }
        slices.push(Slice {
            n: part.len(),
            seconds: own_thread_seconds() - begun,
            n_waiting: (before + forest.len()) as f64 / 2.0,
        });
        if forest.is_empty() {
            break;
        }
    }
    ensure!(
        forest.is_empty(),
        "{} triggers did not mature",
        forest.len()
    );
    Ok((build, slices))
}

fn scan_ns(ranges: &[hsw_trigger::Range], threshold: u64, stream: &[(u64, u64)]) -> f64 {
    let mut scan = Scan::build(ranges, threshold);
    let mut answer = Answer::default();
    let begun = own_thread_seconds();
    for (number, &(key, weight)) in stream.iter().enumerate() {
        scan.add(key, weight, number, &mut answer);
    }
    std::hint::black_box(answer);
    (own_thread_seconds() - begun) * 1e9 / stream.len() as f64
}
