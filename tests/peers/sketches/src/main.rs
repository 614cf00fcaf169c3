//! Updates per second of count-min tables, ours and that of the crate datasketches, in turn in one process:
//! `peer-sketches KEYS PARTS WIDTH` prints `method<tab>million updates a second` for each part of the keys, in processor time, and
//! `method<tab>error<tab>mean overestimate` once. Keys are 64 bits, Zipf 1.1 over two million values; four rows; cells of 64 bits but where it is said.
#![forbid(unsafe_code)]

use std::hint::black_box;

use datasketches::countmin::CountMinSketch;
use hsw_sketch::{CountMin, DecayedSketch, Layout, Shape, Weighting, mix};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|argument| argument.parse())
        .collect::<Result<_, _>>()?;
    let &[n_keys, n_parts, width] = numbers.as_slice() else {
        return Err("usage: peer-sketches KEYS PARTS WIDTH".into());
    };
    let keys = zipf(n_keys);
    let shape = Shape::new(width, 4, 11)?;
    let fading = Weighting::half_life(300.0)?;
    let lines = shape.with_layout(Layout::Lines)?;
    let width = width as u32;
    let mut methods: [(&str, Box<dyn Table>); 7] = [
        ("ours", Box::new(CountMin::<u64>::new(shape))),
        ("ours, 32 bits", Box::new(CountMin::<u32>::new(shape))),
        ("ours, fading", Box::new(Fading(DecayedSketch::new(shape, fading, 0)?, 0))),
        ("ours, key by key", Box::new(KeyByKey(CountMin::new(shape)))),
        ("ours, one line a key", Box::new(CountMin::<u64>::new(lines))),
        ("theirs, 32 bits", Box::new(CountMinSketch::<u32>::new(4, width)?)),
        ("theirs", Box::new(CountMinSketch::<u64>::new(4, width)?)),
    ];
    // Once before the clock runs: every page is there, and this is what errors are measured on.
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    for (name, table) in &mut methods {
        table.add_all(&keys);
        let (mut over, mut n) = (0.0, 0.0);
        for same in sorted.chunk_by(|a, b| a == b) {
            over += table.estimate(same[0]) - same.len() as f64;
            n += 1.0;
        }
        println!("{name}\terror\t{}", over / n);
    }
    let order: Vec<usize> = (0..methods.len()).chain((0..methods.len()).rev()).collect();
    for part in keys.chunks(n_keys.div_ceil(n_parts)) {
        for &which in &order {
            let (name, table) = &mut methods[which];
            let begun = own_thread_seconds();
            table.add_all(black_box(part));
            let millions = part.len() as f64 / 1e6 / (own_thread_seconds() - begun);
            println!("{name}\t{millions}");
        }
    }
    Ok(())
}

/// Processor seconds of this thread.
fn own_thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What is measured.
trait Table {
    fn add_all(&mut self, keys: &[u64]);
    fn estimate(&self, key: u64) -> f64;
}

impl Table for CountMin<u64> {
    fn add_all(&mut self, keys: &[u64]) {
        Self::add_all(self, keys, 1);
    }

    fn estimate(&self, key: u64) -> f64 {
        Self::estimate(self, key) as f64
    }
}

impl Table for CountMin<u32> {
    fn add_all(&mut self, keys: &[u64]) {
        Self::add_all(self, keys, 1);
    }

    fn estimate(&self, key: u64) -> f64 {
        f64::from(Self::estimate(self, key))
    }
}

struct KeyByKey(CountMin<u64>);

impl Table for KeyByKey {
    fn add_all(&mut self, keys: &[u64]) {
        for &key in keys {
            self.0.add(key, 1);
        }
    }

    fn estimate(&self, key: u64) -> f64 {
        self.0.estimate(key) as f64
    }
}

/// With the tick under way: a tick is ten thousand keys.
struct Fading(DecayedSketch<f64>, u64);

impl Table for Fading {
    fn add_all(&mut self, keys: &[u64]) {
        for keys in keys.chunks(10_000) {
            self.1 += 1;
            self.0.add_all(keys, self.1);
        }
    }

    fn estimate(&self, key: u64) -> f64 {
        self.0.estimate(key, self.1)
    }
}

impl Table for CountMinSketch<u64> {
    fn add_all(&mut self, keys: &[u64]) {
        for &key in keys {
            self.update(key);
        }
    }

    fn estimate(&self, key: u64) -> f64 {
        Self::estimate(self, key) as f64
    }
}

impl Table for CountMinSketch<u32> {
    fn add_all(&mut self, keys: &[u64]) {
        for &key in keys {
            self.update(key);
        }
    }

    fn estimate(&self, key: u64) -> f64 {
        f64::from(Self::estimate(self, key))
    }
}

/// Keys of a Zipf law by inversion of its continuous form, from a fixed seed.
fn zipf(n: usize) -> Vec<u64> {
    let most = 2e6_f64.powf(-0.1);
    let draw = |i| {
        let u = (mix(i as u64 ^ 0x5eed) >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (1.0 - u * (1.0 - most)).powf(-10.0);
        mix(rank as u64)
    };
    (0..n).map(draw).collect()
}
