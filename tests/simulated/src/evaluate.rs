//! False incidents on healthy clusters, and what becomes of injected faults, through the engine as it is. Resumable.
//!
//! In: how much to play. Out: a line of JSON for each cluster played, appended to a file; and the sums over that file.
//! A healthy cluster is played for a day of its own, with its load's rhythm and every harmless disturbance twice, at random times and as long as in
//! practice; how much of the day is under at least one of them is told.
//! A seed that stands in the file is not played again. Invariant: the truth is read only after an incident was raised or the time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use hsw_engine::{Config, Engine, Evidence, Incident, Input, Output};
use hsw_simulator::{
    Disturbance, Fault, Injection, Onset, Scenario, Simulation, Target, Topology, usual_day,
};
use hsw_types::Monotonic;
use serde_json::{Value, json};

/// Begin of the simulated time.
const START: i64 = 1_795_000_000;
/// A healthy cluster: shards, seconds of each, and times that each disturbance comes.
const CALM: (usize, u32, usize) = (20, 86_400, 2);
/// A cluster with a fault: shards, seconds before, during and after it.
const SICK: (usize, u32, u32, u32) = (8, 420, 90, 30);
/// Bloat takes minutes to be felt at all: without vacuum a shard is left for as long as tables take to swell.
const BLOAT_S: u32 = 1_200;
/// What a disturbance leaves behind, seconds: an incident in that time counts as its own.
const AFTERMATH_S: u32 = 60;
/// Seconds in which the engine only learns who there is.
const LEARNING_S: u32 = 300;

/// Pieces of evidence that a row names.
const N_EVIDENCE: usize = 6;

/// An incident as it was when it was raised: second, root, summary, strongest evidence.
struct Raised {
    at: u32,
    root: String,
    summary: String,
    evidence: Vec<String>,
    is_intrusion: bool,
}

impl Raised {
    fn of(incident: &Incident, now: Monotonic) -> Self {
        let number = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
        };
        let sentence = |one: &Evidence| {
            format!(
                "{} {}: {} usually {} siblings {}, {:.1} deviations for {} s",
                one.node,
                one.series,
                number(Some(one.value)),
                number(one.usual),
                number(one.siblings),
                one.residual,
                incident.raised - one.since
            )
        };
        Self {
            at: (now.0 / 1_000_000) as u32,
            root: incident.root.to_string(),
            summary: incident.summary.clone(),
            evidence: incident
                .evidence
                .iter()
                .take(N_EVIDENCE)
                .map(sentence)
                .collect(),
            is_intrusion: incident.intrusion.is_some(),
        }
    }
}

fn watch(scenario: Scenario, seconds: u32) -> anyhow::Result<Vec<Raised>> {
    let mut simulation = Simulation::new(scenario)?;
    let mut engine = Engine::new(Config::default(), crate::map(&simulation)?);
    let mut raised = Vec::new();
    crate::play(
        &mut simulation,
        seconds,
        &mut |now: Monotonic, input: Input| {
            engine.handle(now, input);
            while let Some(output) = engine.poll_output() {
                if let Output::IncidentRaised(incident) = output {
                    raised.push(Raised::of(&incident, now));
                }
            }
            while engine.poll_hot_row().is_some() {}
            while engine.poll_hot_name().is_some() {}
        },
    )?;
    Ok(raised)
}

/// A day of a healthy cluster.
fn calm(seed: u64) -> anyhow::Result<Value> {
    let (n_shards, seconds, times) = CALM;
    let disturbances = usual_day(seed, n_shards, times, (LEARNING_S, seconds));
    let acting = |at: u32| {
        let acting = disturbances
            .iter()
            .filter(|one| (one.from..one.until + AFTERMATH_S).contains(&at));
        let names: Vec<&str> = acting.map(|one| one.kind.name()).collect();
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(" ")
        }
    };
    let raised = watch(
        Scenario {
            topology: Topology::of(n_shards, seed),
            start: START,
            faults: Vec::new(),
            disturbances: disturbances.clone(),
        },
        seconds,
    )?;
    let incidents: Vec<Value> = raised
        .iter()
        .map(|one| json!({ "at": one.at, "during": acting(one.at), "root": one.root, "summary": one.summary, "evidence": one.evidence, "is_intrusion": one.is_intrusion }))
        .collect();
    let days = n_shards as f64 * f64::from(seconds) / 86_400.0;
    Ok(
        json!({ "what": "day", "seed": seed, "shard_days": days, "disturbed": disturbed(&disturbances, seconds), "incidents": incidents }),
    )
}

/// Share of so many seconds in which at least one of them acts; they are in the order of their begins.
fn disturbed(disturbances: &[Disturbance], seconds: u32) -> f64 {
    let (mut sum, mut until) = (0, 0);
    for one in disturbances {
        sum += one.until.max(until) - one.from.max(until).min(one.until.max(until));
        until = until.max(one.until);
    }
    f64::from(sum) / f64::from(seconds.max(1))
}

/// A fault on one shard; severity, onset and place follow from the seed.
fn sick(kind: Fault, seed: u64) -> anyhow::Result<Value> {
    let (n_shards, before, during, after) = SICK;
    let during = if kind == Fault::VacuumOff {
        BLOAT_S
    } else {
        during
    };
    let injection = Injection {
        fault: kind,
        shard: (seed as usize * 5 + 1) % n_shards,
        from: before,
        until: before + during,
        severity: [1.0, 0.7, 0.4][seed as usize % 3],
        onset: [
            Onset::Step,
            Onset::Step,
            Onset::Ramp(30),
            Onset::Intermittent(20, 15),
        ][seed as usize % 4],
    };
    let scenario = Scenario {
        topology: Topology::of(n_shards, 1_000_000 + seed),
        start: START,
        faults: vec![injection],
        disturbances: Vec::new(),
    };
    let truth = Simulation::new(scenario.clone())?.truth();
    let shard = truth
        .first()
        .map(|truth| truth.shard.clone())
        .unwrap_or_default();
    let raised = watch(scenario, before + during + after)?;
    let early = raised.iter().filter(|one| one.at < before).count();
    let mut since = raised.iter().filter(|one| one.at >= before);
    let first = since.next();
    let others = since.filter(|one| one.root != shard).count();
    Ok(json!({
        "what": "fault",
        "kind": kind.name(),
        "seed": seed,
        "severity": injection.severity,
        "onset": format!("{:?}", injection.onset),
        "on_replica": kind.target() == Target::Replica,
        "is_right": first.is_some_and(|one| one.root == shard),
        "delay_s": first.map(|one| one.at - before),
        "first": first.map(|one| format!("{}: {}", one.root, one.summary)),
        "evidence": first.map(|one| &one.evidence),
        "shard": shard,
        "others": others,
        "before": early,
    }))
}

/// How much to play.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Much {
    /// Healthy shard-days.
    pub shard_days: f64,
    /// Times each kind of fault is injected.
    pub rounds: u64,
    /// First seed.
    pub seed: u64,
}

/// Plays what is missing of so many healthy shard-days and so many rounds of faults, then sums up.
///
/// # Errors
/// When the file cannot be read or written.
pub fn run(file: &Path, much: &Much, say: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let mut rows = read(file)?;
    let key = |row: &Value| format!("{} {} {}", row["what"], row["kind"], row["seed"]);
    let done: BTreeSet<String> = rows.iter().map(key).collect();
    let folder = file.parent().context("a file in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .context("open the results")?;
    let mut keep = |row: Value, rows: &mut Vec<Value>| -> anyhow::Result<()> {
        writeln!(out, "{row}").context("write the results")?;
        say(&row.to_string());
        rows.push(row);
        Ok(())
    };
    for seed in much.seed..much.seed + much.rounds {
        for kind in Fault::ALL {
            let name = json!({ "what": "fault", "kind": kind.name(), "seed": seed });
            if !done.contains(&key(&name)) {
                keep(sick(*kind, seed)?, &mut rows)?;
            }
        }
    }
    let per_cluster = CALM.0 as f64 * f64::from(CALM.1) / 86_400.0;
    let n_calm = (much.shard_days / per_cluster).ceil() as u64;
    for seed in much.seed..much.seed + n_calm {
        if !done.contains(&key(&json!({ "what": "day", "seed": seed }))) {
            keep(calm(seed)?, &mut rows)?;
        }
    }
    Ok(sums(&rows))
}

fn read(file: &Path) -> anyhow::Result<Vec<Value>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(file).context("read the results")?;
    // A line that a stop cut off is played again.
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Figures over all rows.
#[must_use]
pub fn sums(rows: &[Value]) -> Value {
    let calm: Vec<&Value> = rows.iter().filter(|row| row["what"] == "day").collect();
    let days: f64 = calm
        .iter()
        .filter_map(|row| row["shard_days"].as_f64())
        .sum();
    let disturbed: f64 = calm
        .iter()
        .filter_map(|row| Some(row["disturbed"].as_f64()? * row["shard_days"].as_f64()?))
        .sum();
    let raised: Vec<&Value> = calm
        .iter()
        .filter_map(|row| row["incidents"].as_array())
        .flatten()
        .collect();
    let mut during: BTreeMap<&str, u64> = BTreeMap::new();
    for incident in &raised {
        *during
            .entry(incident["during"].as_str().unwrap_or(""))
            .or_default() += 1;
    }
    let about_who = raised.iter().filter(|one| one["is_intrusion"] == true);
    let n_about_who = about_who.count();
    let sick: Vec<&Value> = rows.iter().filter(|row| row["what"] == "fault").collect();
    let mut kinds: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in &sick {
        kinds
            .entry(row["kind"].as_str().unwrap_or(""))
            .or_default()
            .push(row);
    }
    let by_kind: BTreeMap<&str, Value> = kinds
        .iter()
        .map(|(kind, rows)| (*kind, delays(rows)))
        .collect();
    let n = raised.len() as f64;
    let (low, high) = interval(n);
    let per = |count: f64| (days > 0.0).then(|| 100.0 * count / days);
    json!({
        "shard_days": days,
        "disturbed_share": (days > 0.0).then(|| disturbed / days),
        "false_incidents": n,
        "false_about_who_talks_to_whom": n_about_who,
        "false_per_100_shard_days": per(n),
        "interval_95": [per(low), per(high)],
        "false_during": during,
        "faults": delays(&sick),
        "by_kind": by_kind,
    })
}

fn delays(rows: &[&Value]) -> Value {
    let right: Vec<&&Value> = rows.iter().filter(|row| row["is_right"] == true).collect();
    let mut delays: Vec<u64> = right
        .iter()
        .filter_map(|row| row["delay_s"].as_u64())
        .collect();
    delays.sort_unstable();
    let at = |share: f64| {
        let rank = (share * delays.len() as f64).ceil() as usize;
        delays.get(rank.saturating_sub(1)).copied()
    };
    let missed = rows.iter().filter(|row| row["delay_s"].is_null()).count();
    json!({
        "n": rows.len(),
        "right_shard_first": right.len(),
        "missed": missed,
        "delay_s_p50": at(0.5),
        "delay_s_p95": at(0.95),
    })
}

/// Interval of 95 % for the mean of a Poisson count: the exact one (Garwood 1936), by bisection. O(n).
fn interval(n: f64) -> (f64, f64) {
    // Means at which a count of at most `k` has probability `p`: falling in the mean.
    let mean_of = |k: f64, p: f64| {
        let (mut low, mut high) = (0.0, 2.0 * k + 20.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if at_most(k, middle) > p {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    };
    let low = if n > 0.0 {
        mean_of(n - 1.0, 0.975)
    } else {
        0.0
    };
    (low, mean_of(n, 0.025))
}

/// Probability of at most `k` events where `mean` are expected.
fn at_most(k: f64, mean: f64) -> f64 {
    let mut log = -mean;
    let mut sum = log.exp();
    for i in 1..=k as u64 {
        log += (mean / i as f64).ln();
        sum += log.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_tables() {
        // Garwood 1936, table 1.
        for (n, low, high) in [
            (0.0, 0.0, 3.689),
            (1.0, 0.0253, 5.572),
            (5.0, 1.623, 11.668),
            (50.0, 37.11, 65.92),
        ] {
            let (a, b) = interval(n);
            assert!(
                (a - low).abs() < 0.006 && (b - high).abs() < 0.006,
                "{n}: {a} {b}"
            );
        }
    }

    #[test]
    fn time_under_several_disturbances_counts_once() {
        let one = |from, until| Disturbance {
            kind: hsw_simulator::Harmless::Backup,
            shard: 0,
            from,
            until,
        };
        let all = [one(10, 30), one(20, 25), one(28, 40), one(60, 70)];
        assert!((disturbed(&all, 100) - 0.4).abs() < 1e-12);
        assert!(disturbed(&[], 100) < 1e-12);
    }

    #[test]
    fn sums_count_what_was_right_and_what_was_missed() {
        let rows = [
            json!({ "what": "day", "seed": 1, "shard_days": 50.0, "disturbed": 0.4, "incidents": [{ "during": "backup", "is_intrusion": true }] }),
            json!({ "what": "fault", "kind": "crash", "seed": 1, "is_right": true, "delay_s": 4 }),
            json!({ "what": "fault", "kind": "crash", "seed": 2, "is_right": false, "delay_s": null }),
        ];
        let sums = sums(&rows);
        assert_eq!(sums["false_per_100_shard_days"], 2.0);
        assert_eq!(sums["false_during"]["backup"], 1);
        assert_eq!(sums["disturbed_share"], 0.4);
        assert_eq!(sums["false_about_who_talks_to_whom"], 1);
        assert_eq!(sums["by_kind"]["crash"]["right_shard_first"], 1);
        assert_eq!(sums["faults"]["missed"], 1);
    }
}
