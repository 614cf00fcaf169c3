//! `database-loss`: throughput of the database's own benchmark while an agent works beside it and while it is held still.
//!
//! One run of pgbench; every few seconds the agent is stopped (SIGSTOP) or goes on (SIGCONT), in A B B A order, right after a
//! second of pgbench's own has ended. What the machine does slowly weighs on both sides alike, so that the difference shows
//! far below the noise of two runs.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::watched::{Cost, Watched};
use super::{Args, Figure, Report};
use crate::testbed::{Managed, Stop};

/// Time for an agent to have said its names and settled.
const SETTLE: Duration = Duration::from_secs(10);
/// Resamplings of the bootstrap.
const N_RESAMPLES: usize = 20_000;
/// Length of the run that measures processor time.
const SHARE_SECONDS: &str = "30";

/// Measures.
pub(super) fn database_loss(args: &Args, stop: &Stop) -> Result<Report> {
    let block = args.seconds.unwrap_or(2).clamp(1, 60) as usize;
    let n_pairs = args.pairs.max(2);
    let mut report = Report::new("database-loss");
    let mut watched = Watched::start(args, stop)?;
    watched.fill_pgbench()?;
    watched.agent_on()?;
    if !stop.sleep(SETTLE) {
        bail!("stopped by a signal");
    }
    let share = share(&watched)?;
    let turns = switched(&watched, stop, block, n_pairs)?;
    let Turns { off, losses, .. } = &turns;
    watched.agent_off();
    let how = format!(
        "pgbench {}, closed loop over the Unix socket, {block} s at a time",
        load()
    );
    report.add(Figure::of(
        "transactions/s with the agent held still",
        off,
        &how,
    ));
    let mean = trimmed_mean(&mut losses.clone());
    let how = format!(
        "mean of the middle three fifths of {} paired differences, the agent at work and held still by turns (A B B A) in one run; 95 % bootstrap interval; {how}",
        losses.len()
    );
    let mut loss = Figure::new("throughput lost, %", mean, &how).at_most(0.5);
    let interval = bootstrap(losses);
    loss.range = Some(interval);
    report.add(loss);
    let how = "processor time of agent and its back end over that of all cores while pgbench saturates them";
    let metric = "processor taken by the agent, % of the machine";
    report.add(Figure::new(metric, share, how).at_most(0.5));
    let how = "the same in its turns of this run: what falls due while it is held still is done in the next turn, so that a turn holds more \
               work than as many seconds of an agent that is left alone, and the loss is overstated by as much";
    let metric = "processor taken by the agent in its turns, % of the machine";
    report.add(Figure::new(metric, turns.busy, how));
    let how = "what it takes more while the agent works than while it is held still, on the same cores here and on a machine of its own elsewhere: \
               part of the throughput lost";
    let metric = "processor taken by the aggregator for it, % of the machine";
    report.add(Figure::new(metric, turns.aggregator, how));
    if interval.1 > 0.5 {
        report.note(format!(
            "the interval reaches {:.2} %: a loss below 0.5 % is not shown by throughput alone; the processor time is the \
             sharper figure",
            interval.1
        ));
    }
    Ok(report)
}

/// A thread of pgbench for each core: a single one is what limits the rate, leaves a sixth of two cores idle, and makes the rate of
/// a second spread by 7 % where two make it spread by 1.8 %.
fn load() -> String {
    format!(
        "-c {} -j {} -M prepared -b select-only",
        2 * cores(),
        cores()
    )
}

/// Processor time of the agent and its back end, % of the machine.
fn share(watched: &Watched) -> Result<f64> {
    let load = load();
    let command: Vec<&str> = load.split(' ').chain(["-T", SHARE_SECONDS]).collect();
    let (before, began) = (watched.cost()?, Instant::now());
    run(watched, &command)?;
    Ok(used(
        &before,
        &watched.cost()?,
        began.elapsed().as_secs_f64(),
    ))
}

/// % of the machine between two moments, in so many seconds of work.
fn used(before: &Cost, after: &Cost, seconds: f64) -> f64 {
    let used_s = after.agent_s - before.agent_s + after.backend_s - before.backend_s;
    100.0 * used_s / seconds / cores() as f64
}

/// Holds a process still; lets it go on when dropped.
struct Held(Pid);

impl Held {
    fn set(&self, is_still: bool) -> Result<()> {
        let signal = if is_still { Signal::STOP } else { Signal::CONT };
        kill_process(self.0, signal).context("signal the agent")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A process that is gone needs no signal.
        let _ = self.set(false);
    }
}

/// What the turns came to.
struct Turns {
    /// Transactions per second of the still halves.
    off: Vec<f64>,
    /// The loss of each pair, %.
    losses: Vec<f64>,
    /// Processor time of the agent and its back end in the seconds in which it works, % of the machine.
    busy: f64,
    /// What the aggregator takes more in these than in those in which the agent is held still, % of the machine.
    aggregator: f64,
}

fn switched(watched: &Watched, stop: &Stop, block: usize, n_pairs: usize) -> Result<Turns> {
    let pid = i32::try_from(watched.agent_pid()?)
        .ok()
        .and_then(Pid::from_raw);
    let held = Held(pid.context("the agent's pid is none")?);
    // The first block only warms up.
    let seconds = (block * (2 * n_pairs + 1) + 2).to_string();
    let load = load();
    let command: Vec<&str> = load.split(' ').chain(["-P", "1", "-T", &seconds]).collect();
    let mut progress = Progress::of(watched.spawn(watched.pgbench_beside(&command))?)?;
    let (mut off, mut losses) = (Vec::new(), Vec::new());
    // Of the aggregator while the agent works, and while it is held still.
    let mut aggregator_s = [0.0; 2];
    let (before, mut aggregator_before_s) = (watched.cost()?, watched.aggregator_s()?);
    for n in 0..=n_pairs * 2 {
        // off on | on off | off on …
        let is_still = n > 0 && matches!(n % 4, 1 | 0);
        held.set(is_still)?;
        let from = n * block;
        let rates = progress.rates(stop, from..from + block)?;
        let now_s = watched.aggregator_s()?;
        if n > 0 {
            aggregator_s[usize::from(is_still)] += now_s - aggregator_before_s;
        }
        aggregator_before_s = now_s;
        let rate = rates.iter().sum::<f64>() / block as f64;
        match (n, n % 2) {
            (0, _) => {}
            (_, 1) => off.push(rate),
            _ => {
                let first = off.pop().unwrap_or(rate);
                let (still, working) = if n % 4 == 2 {
                    (first, rate)
                } else {
                    (rate, first)
                };
                losses.push(100.0 * (still - working) / still);
                off.push(still);
            }
        }
    }
    let after = watched.cost()?;
    drop(held);
    progress.pgbench.end(Signal::TERM, Duration::from_secs(5));
    // The block that only warms up is one of work.
    let busy = used(&before, &after, (block * (n_pairs + 1)) as f64);
    let [working_s, still_s] = aggregator_s;
    let seconds = (block * n_pairs * cores()) as f64;
    Ok(Turns {
        off,
        losses,
        busy,
        aggregator: 100.0 * (working_s - still_s) / seconds,
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Transactions per second of one run.
fn run(watched: &Watched, command: &[&str]) -> Result<f64> {
    let said = watched.output(watched.pgbench_beside(command))?;
    rate(&said).with_context(|| format!("no rate in what pgbench said: {said}"))
}

/// What pgbench tells each second, read as it comes.
struct Progress {
    pgbench: Managed,
    log: File,
    /// Of a line that is not whole yet.
    rest: String,
    rates: Vec<f64>,
}

impl Progress {
    fn of(pgbench: Managed) -> Result<Self> {
        let log = File::open(pgbench.log()).context("read what pgbench says")?;
        Ok(Self {
            pgbench,
            log,
            rest: String::new(),
            rates: Vec::new(),
        })
    }

    /// The rates of these seconds, counted from 0, as soon as the last of them is told.
    fn rates(&mut self, stop: &Stop, seconds: Range<usize>) -> Result<Vec<f64>> {
        loop {
            self.log
                .read_to_string(&mut self.rest)
                .context("read what pgbench says")?;
            while let Some((line, rest)) = self.rest.split_once('\n') {
                self.rates.extend(progress_rate(line));
                self.rest = rest.to_owned();
            }
            if let Some(found) = self.rates.get(seconds.clone()) {
                return Ok(found.to_vec());
            }
            if !self.pgbench.running() {
                return Err(self.pgbench.obituary());
            }
            if !stop.sleep(Duration::from_millis(10)) {
                bail!("stopped by a signal");
            }
        }
    }
}

/// `progress: 5.0 s, 62345.1 tps, lat …`
fn progress_rate(line: &str) -> Option<f64> {
    let (_, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    rest.split_once(" tps")?.0.parse().ok()
}

fn rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// Mean without the lowest and the highest fifth (Tukey's trimmed mean): once in a minute the machine takes a third of a second's
/// transactions away, whoever has his turn.
fn trimmed_mean(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let middle = &values[n / 5..n - n / 5];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// 2.5 % and 97.5 % quantiles of the trimmed mean over resamplings with replacement (Efron 1979).
fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut state = 0x5eed_u64;
    let mut pick = || {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[(state % values.len() as u64) as usize]
    };
    let mut means: Vec<f64> = (0..N_RESAMPLES)
        .map(|_| trimmed_mean(&mut values.iter().map(|_| pick()).collect::<Vec<f64>>()))
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
        let line = "progress: 5.0 s, 62345.1 tps, lat 0.064 ms stddev 0.02, 0 failed";
        assert_eq!(progress_rate(line), Some(62_345.1));
    }

    #[test]
    fn the_trimmed_mean_is_not_moved_by_one_wild_pair() {
        assert_eq!(trimmed_mean(&mut [30.0, 1.0, 2.0, 3.0, 0.0]), 2.0);
        assert_eq!(trimmed_mean(&mut [1.0, 2.0]), 1.5);
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_agreement() {
        let wide = bootstrap(&[-3.0, 1.0, 2.0, 4.0]);
        let narrow = bootstrap(&[0.9, 1.0, 1.0, 1.1]);
        assert!(wide.0 < 1.0 && 1.0 < wide.1);
        assert!(narrow.1 - narrow.0 < wide.1 - wide.0);
    }
}
