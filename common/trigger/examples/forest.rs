//! Nanoseconds per element of the forest, of a vectorised scan and of plain stabbing, in one run.
//!
//! `cargo run --release -p hsw-trigger --example forest -- grid | big | sweep | big-sweep`. The scan keeps bounds and remainders in
//! three columns and is compiled to vector code; the stabbing is the same tree with every trigger told of every hit.

#![allow(
    clippy::print_stdout,
    reason = "a program that prints what it measured"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures; the library has no clock"
)]

use hsw_trigger::{Config, Forest, QueryId, Range};

const DOMAIN: u64 = 1 << 31;
const WEIGHT: u64 = 100;

/// Nanoseconds this thread has run: others may have the processors.
fn cpu_ns() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .unwrap_or(f64::NAN)
}

/// Splitmix64.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    const fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

#[derive(Clone, Copy)]
struct Regime {
    m: u64,
    threshold: u64,
    width_percent: u64,
    is_skewed: bool,
}

impl Regime {
    fn ranges(self) -> Vec<[Range; 1]> {
        let mut random = Random(1);
        let width = DOMAIN / 100 * self.width_percent;
        let range = |_| {
            let lo = random.below(DOMAIN - width);
            [Range { lo, hi: lo + width }]
        };
        (0..self.m).map(range).collect()
    }

    fn key(self, random: &mut Random) -> u64 {
        let key = random.below(DOMAIN);
        if self.is_skewed {
            ((key as u128 * random.below(DOMAIN) as u128) / DOMAIN as u128) as u64
        } else {
            key
        }
    }

    /// Build seconds, then (elements, nanoseconds each, matured) per tenth of the work.
    fn forest(self, direct_factor: u64, n_elements: u64) -> (f64, Vec<(f64, u64)>) {
        let config = Config {
            direct_factor,
            ..Config::default()
        };
        let ranges = self.ranges();
        let begun = cpu_ns();
        let mut forest = Forest::new(1, config);
        // The mean weight is known, as it is in a process that runs.
        forest.add(&[0], WEIGHT);
        let boxes = ranges.iter().enumerate();
        let boxes = boxes.map(|(i, range)| (QueryId(i as u64), &range[..], self.threshold));
        forest.register_all(boxes).expect("the triggers are fine");
        let build = (cpu_ns() - begun) / 1e9;
        let mut random = Random(2);
        let mut parts = Vec::new();
        for _ in 0..10 {
            let n = n_elements / 10;
            let begun = cpu_ns();
            let mut n_matured = 0;
            for _ in 0..n {
                n_matured += forest.add(&[self.key(&mut random)], WEIGHT).len() as u64;
            }
            parts.push(((cpu_ns() - begun) / n as f64, n_matured));
        }
        (build, parts)
    }

    fn scan(self, n_elements: u64) -> f64 {
        let ranges = self.ranges();
        // Columns of 32 bits: half the bytes of what the forest takes, as fast as a scan can be.
        let lo: Vec<u32> = ranges.iter().map(|[range]| range.lo as u32).collect();
        let width: Vec<u32> = ranges
            .iter()
            .map(|[range]| (range.hi - range.lo) as u32)
            .collect();
        let mut left = vec![self.threshold as i32; ranges.len()];
        let mut random = Random(2);
        let mut n_matured = 0;
        let begun = cpu_ns();
        for _ in 0..n_elements {
            n_matured += scan(&lo, &width, &mut left, self.key(&mut random) as u32);
        }
        std::hint::black_box(n_matured);
        (cpu_ns() - begun) / n_elements as f64
    }
}

/// One element against each trigger; how many have matured so far.
fn scan(lo: &[u32], width: &[u32], left: &mut [i32], key: u32) -> u32 {
    let mut n = 0;
    for ((lo, width), left) in lo.iter().zip(width).zip(left) {
        // The difference wraps below `lo`; both are below 2^31, so signed comparison, which SSE2 has, tells.
        let from = key.wrapping_sub(*lo).cast_signed();
        let is_inside = (from >= 0) & (from < width.cast_signed());
        *left -= if is_inside { WEIGHT as i32 } else { 0 };
        n += u32::from(*left <= 0);
    }
    n
}

fn report(name: &str, regime: Regime, direct_factor: u64, n_elements: u64) {
    let (build, parts) = regime.forest(direct_factor, n_elements);
    let scan = regime.scan((400_000_000 / regime.m).clamp(400, 400_000).min(n_elements));
    let mean = parts.iter().map(|(ns, _)| ns).sum::<f64>() / parts.len() as f64;
    let n_matured: u64 = parts.iter().map(|(_, n)| n).sum();
    let tenths: Vec<String> = parts.iter().map(|(ns, _)| format!("{ns:.0}")).collect();
    println!(
        "{name} m={} τ={} width={}% skew={} c={direct_factor}: build {build:.2}s, {mean:.0} ns/element (tenths {}), \
         matured {n_matured}; scan {scan:.0} ns, ratio {:.1}",
        regime.m,
        regime.threshold,
        regime.width_percent,
        regime.is_skewed,
        tenths.join(" "),
        scan / mean
    );
}

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let regime = |m, threshold, width_percent, is_skewed| Regime {
        m,
        threshold,
        width_percent,
        is_skewed,
    };
    match what.as_str() {
        "big" => {
            for (m, threshold) in [
                (10_000, 2_000_000),
                (100_000, 20_000_000),
                (1_000_000, 20_000_000),
            ] {
                // Through the maturity of nearly all: each gets a tenth of the weight.
                let n = threshold / WEIGHT * 12;
                report(
                    "big",
                    regime(m, threshold, 10, false),
                    Config::default().direct_factor,
                    n,
                );
            }
        }
        "big-sweep" => {
            for c in [8, 1, 4, 32] {
                for (m, threshold) in [(100_000, 2_000_000), (1_000_000, 20_000_000)] {
                    report(
                        "big",
                        regime(m, threshold, 10, false),
                        c,
                        threshold / WEIGHT * 12,
                    );
                }
            }
        }
        "sweep" => {
            for c in [1, 2, 4, 8, 16, 32, 1 << 32] {
                for threshold in [2_000, 20_000, 200_000, 2_000_000] {
                    let n = (20 * threshold / WEIGHT).min(400_000);
                    report("sweep", regime(20_000, threshold, 10, false), c, n.max(400));
                }
            }
        }
        _ => {
            for m in [100, 1_000, 10_000, 100_000] {
                for threshold in [1_000, 100_000, 10_000_000] {
                    for (width, is_skewed) in [(1, false), (10, false), (50, false), (10, true)] {
                        let n = (10 * threshold * 100 / width / WEIGHT).clamp(1_000, 200_000);
                        let n = n.min(4_000_000_000 / m).max(1_000);
                        report(
                            "grid",
                            regime(m, threshold, width, is_skewed),
                            Config::default().direct_factor,
                            n,
                        );
                    }
                }
            }
        }
    }
}
