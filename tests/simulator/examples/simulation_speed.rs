//! How fast the simulator is: `cargo run --release -p hsw-simulator --example simulation_speed [SHARDS] [SECONDS]`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example measures and prints"
)]

use std::time::Instant;

use hsw_simulator::{Scenario, Simulation, Topology};

fn main() {
    let number = |n: usize, or: usize| {
        let given = std::env::args().nth(n);
        given.and_then(|text| text.parse().ok()).unwrap_or(or)
    };
    let (shards, seconds) = (number(1, 100), number(2, 600));
    let scenario = Scenario {
        topology: Topology::of(shards, 1),
        start: 1_795_000_000,
        faults: Vec::new(),
        disturbances: Vec::new(),
    };
    let Ok(mut simulation) = Simulation::new(scenario) else {
        return;
    };
    let nodes = simulation.members().len();
    let (mut summaries, mut series) = (0_u64, 0_u64);
    let began = Instant::now();
    for _ in 0..seconds {
        simulation.step(&mut |told| {
            summaries += 1;
            series += told.summary.series.len() as u64;
        });
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{shards} shards, {nodes} nodes: {:.0} x real time, {:.1} us a node-second, {:.0} series a summary",
        seconds as f64 / took,
        took * 1e6 / (nodes * seconds) as f64,
        series as f64 / summaries.max(1) as f64
    );
}
