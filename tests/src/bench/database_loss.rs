//! `database-loss`: throughput of the database's own benchmark, with and without an agent beside it, in pairs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::watched::Watched;
use super::{Args, Figure, Report};
use crate::testbed::Stop;

/// Time for an agent to have said its names and settled.
const SETTLE: Duration = Duration::from_secs(4);
/// Resamplings of the bootstrap.
const N_RESAMPLES: usize = 20_000;

/// Measures.
pub(super) fn database_loss(args: &Args, stop: &Stop) -> Result<Report> {
    let seconds = args.seconds.unwrap_or(15).max(2).to_string();
    let mut report = Report::new("database-loss");
    let mut watched = Watched::start(args, stop)?;
    watched.fill_pgbench()?;
    let command = [
        "-c",
        "4",
        "-M",
        "prepared",
        "-b",
        "select-only",
        "-T",
        &seconds,
    ];
    run(&watched, &command)?;
    let (mut off, mut losses, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..args.pairs.max(2) {
        // A B B A: what drifts slowly weighs on both alike.
        let first_on = pair % 2 == 1;
        let one = side(&mut watched, &command, first_on, stop)?;
        let other = side(&mut watched, &command, !first_on, stop)?;
        let (without, with) = if first_on { (other, one) } else { (one, other) };
        losses.push(100.0 * (without.rate - with.rate) / without.rate);
        off.push(without.rate);
        shares.extend(with.share);
    }
    let how = format!("pgbench -c 4 -b select-only, closed loop, {seconds} s a run");
    report.add(Figure::of("transactions/s without an agent", &off, &how));
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let how = format!(
        "mean of {} paired differences in A B B A order; 95 % bootstrap interval; {how}",
        losses.len()
    );
    let mut loss = Figure::new("throughput lost, %", mean, &how).at_most(0.5);
    let interval = bootstrap(&losses);
    loss.range = Some(interval);
    report.add(loss);
    let how = "processor time of agent and its back end over that of all cores while pgbench saturates them";
    report.add(
        Figure::of(
            "processor taken by the agent, % of the machine",
            &shares,
            how,
        )
        .at_most(0.5),
    );
    if interval.1 > 0.5 {
        report.note(format!(
            "the interval reaches {:.2} %: this machine is too noisy to show a loss below 0.5 % by throughput alone; \
             the processor time is the sharper figure",
            interval.1
        ));
    }
    Ok(report)
}

/// One run of a pair.
struct Side {
    rate: f64,
    /// Processor time of the agent and its back end, % of the machine.
    share: Option<f64>,
}

fn side(watched: &mut Watched, command: &[&str], with_agent: bool, stop: &Stop) -> Result<Side> {
    if with_agent {
        watched.agent_on()?;
    }
    if !stop.sleep(SETTLE) {
        bail!("stopped by a signal");
    }
    let before = with_agent.then(|| watched.cost()).transpose()?;
    let began = Instant::now();
    let rate = run(watched, command)?;
    let share = match before {
        Some(before) => {
            let after = watched.cost()?;
            let used_s = after.agent_s - before.agent_s + after.backend_s - before.backend_s;
            Some(100.0 * used_s / began.elapsed().as_secs_f64() / cores())
        }
        None => None,
    };
    watched.agent_off();
    Ok(Side { rate, share })
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
}

/// Transactions per second of one run.
fn run(watched: &Watched, command: &[&str]) -> Result<f64> {
    let said = watched.output(watched.pgbench(command))?;
    rate(&said).with_context(|| format!("no rate in what pgbench said: {said}"))
}

fn rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// 2.5 % and 97.5 % quantiles of the mean over resamplings with replacement (Efron 1979).
fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut state = 0x5eed_u64;
    let mut pick = || {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[(state % values.len() as u64) as usize]
    };
    let n = values.len() as f64;
    let mut means: Vec<f64> = (0..N_RESAMPLES)
        .map(|_| values.iter().map(|_| pick()).sum::<f64>() / n)
        .collect();
    means.sort_by(f64::total_cmp);
    (
        means[N_RESAMPLES / 40],
        means[N_RESAMPLES - N_RESAMPLES / 40],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_pgbench_says() {
        let said = "latency average = 0.1 ms\ntps = 12345.678 (without initial connection time)\n";
        assert_eq!(rate(said), Some(12_345.678));
        assert_eq!(rate("nothing"), None);
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_agreement() {
        let wide = bootstrap(&[-3.0, 1.0, 2.0, 4.0]);
        let narrow = bootstrap(&[0.9, 1.0, 1.0, 1.1]);
        assert!(wide.0 < 1.0 && 1.0 < wide.1);
        assert!(narrow.1 - narrow.0 < wide.1 - wide.0);
    }
}
