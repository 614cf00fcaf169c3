//! Samples the operating system for a while, prints the last round and what a round costs.
//!
//! `cargo run --example sample_os -- [DATA_DIR] [ROUNDS]`: compare the figures with `ps`, `ss -ti` and `iostat`.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hsw_agent::sources::os::{Config, OsSampler};
use hsw_types::{Value, WallTime};

fn main() {
    let mut args = std::env::args().skip(1);
    let data_dir = args.next().map(PathBuf::from);
    let rounds: u32 = args.next().and_then(|n| n.parse().ok()).unwrap_or(10);
    let config = Config {
        data_dir,
        ..Config::default()
    };
    let mut sampler = OsSampler::new(config);
    let mut before: HashMap<String, (Instant, f64)> = HashMap::new();
    let (mut cpu, mut wall) = (Duration::ZERO, Duration::ZERO);
    for round in 0..=rounds {
        std::thread::sleep(Duration::from_secs(1));
        let mut out = Vec::new();
        let (began, cpu_began) = (Instant::now(), cpu_time());
        let statuses = sampler.sample(WallTime(i64::from(round)), &mut out);
        // The first rounds open everything.
        if round > 1 {
            wall += began.elapsed();
            cpu += cpu_time() - cpu_began;
        }
        for status in statuses {
            println!("round {round}: {status:?}");
        }
        for reading in &out {
            let name = reading.key.to_string();
            let shown = match reading.value {
                Value::Counter { total, .. } => {
                    let earlier = before.insert(name.clone(), (began, total));
                    earlier.map_or_else(
                        || format!("total {total}"),
                        |(at, earlier)| {
                            let rate = (total - earlier) / (began - at).as_secs_f64();
                            format!("{rate:.3} /s (total {total})")
                        },
                    )
                }
                value => format!("{value:?}"),
            };
            if round == rounds {
                println!("{name:45} {shown}");
            }
        }
    }
    let counted = rounds.saturating_sub(1).max(1);
    println!(
        "cost of a round: {:?} CPU, {:?} wall",
        cpu / counted,
        wall / counted
    );
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
