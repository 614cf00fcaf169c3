//! features: simulated clusters through the production engine, as rows of the layout with truth; what models learn from.
//!
//! In: nothing but seeds. Out, under DIR: `layout.json`, and for each run `run-NNNN.json` (shards, edges, truth), `.rows.f32`
//! (window, shard, column) and `.bases.f32` (what judges without a model said at the same window). Truth holds how much of each fault
//! acted, second by second: a fault that comes and goes is nobody's sickness while it is gone; and from when on nothing that it left
//! undone is owed. A run that is there is not made again.
//! Invariants: FD-1 a row holds what the engine knew when it judged the window, nothing later. FD-2 the same seed, the same
//! bytes. Does not: label rows (training does, from truth).

mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hsw_engine::{Config, Engine, Input, ShardEntry, ShardMap};
use hsw_fusion::layout::{self, AT_EVIDENCE, COLUMNS_EVIDENCE, Features, METRICS, N_COLUMNS};
use hsw_simulator::{Fault, Injection, Simulation, Truth};
use hsw_types::{Bad, Monotonic, NodeId, ShardId, WallTime, WindowIndex, metric_spec};
use serde_json::{Value, json};

use self::plan::{N_RUNS, family, plan};
use crate::bench::{Figure, Report};

/// What judges without a model: the calibrated fusion of all detectors (its −ln p, of which P(sick) is a rising function), the rules by their
/// strength, the rules with those first that open an incident, and the least that P(sick) can be by who is heard, which counts beside any model.
const BASES: [&str; 4] = ["fusion", "rules", "rules, opening first", "liveness"];
/// More than any strength.
const OPENING: f32 = 1_000.0;
/// Agents are heard so often, seconds.
const HEARD_EVERY: u32 = 5;

/// Makes what is missing of all runs.
pub(super) fn answer(out: &Path) -> Result<Report> {
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let (layout, file) = (layout_json().to_string(), out.join("layout.json"));
    if fs::read_to_string(&file).is_ok_and(|old| old != layout) {
        bail!(
            "{} holds rows of another layout: name an empty folder",
            out.display()
        );
    }
    write(&file, layout.as_bytes())?;
    let began = Instant::now();
    let mut report = Report::new("features");
    let (mut n_rows, mut n_faults) = (0, 0);
    for number in 0..N_RUNS {
        let about = out.join(format!("run-{number:04}.json"));
        if !about.exists() {
            let run = Run::play(number)?;
            run.write(&out.join(format!("run-{number:04}")))?;
            progress(number, began);
        }
        let text = fs::read_to_string(&about).context("read a run back")?;
        let run: Value = serde_json::from_str(&text).context("read a run back")?;
        let n = |key: &str| run[key].as_array().map_or(0, Vec::len);
        n_rows += n("shards") * run["windows"].as_u64().unwrap_or(0) as usize;
        n_faults += n("truth");
    }
    report.add(Figure::new("runs", N_RUNS as f64, ""));
    report.add(Figure::new("faults", n_faults as f64, ""));
    report.add(Figure::new("rows (shard-windows)", n_rows as f64, ""));
    Ok(report)
}

#[expect(clippy::print_stderr, reason = "progress of a command")]
fn progress(number: usize, began: Instant) {
    let n = number + 1;
    eprintln!("run {n}/{N_RUNS}, {:.0} s", began.elapsed().as_secs_f64());
}

/// Columns, and what the catalogue says of the metrics among them.
fn layout_json() -> Value {
    let metric = |name: &&str| {
        let spec = metric_spec(name);
        let bad = spec.map_or(0, |spec| match spec.bad {
            Bad::High => 1,
            Bad::Low => -1,
            Bad::Either => 0,
        });
        let family = spec.map(|spec| format!("{:?}", spec.family).to_lowercase());
        let tier = spec.map(|spec| format!("{:?}", spec.tier).to_lowercase());
        json!({ "name": name, "bad": bad, "family": family, "tier": tier })
    };
    let columns: Vec<String> = layout::columns().into_iter().map(|c| c.name).collect();
    let metrics: Vec<Value> = METRICS.iter().map(metric).collect();
    json!({ "name": layout::name(), "columns": columns, "bases": BASES, "metrics": metrics })
}

/// What one simulated cluster showed.
struct Run {
    seed: u64,
    /// The first window of the rows.
    start: i64,
    shards: Vec<(ShardId, bool)>,
    edges: Vec<(usize, usize)>,
    truth: Vec<Truth>,
    /// How much of each acts, from its first second on, 0 to 1.
    levels: Vec<Vec<f64>>,
    /// The second from which on nothing of each is left to be made up for.
    settled: Vec<u32>,
    rows: Vec<f32>,
    bases: Vec<f32>,
    n_windows: usize,
}

impl Run {
    fn play(number: usize) -> Result<Self> {
        let (scenario, seconds) = plan(number);
        let (seed, start) = (scenario.topology.seed, scenario.start);
        let levels = scenario.faults.iter().map(levels).collect();
        let faults = scenario.faults.clone();
        let mut simulation = Simulation::new(scenario).context("set a scenario up")?;
        let mut engine = engine(&simulation, start)?;
        let shards: Vec<(ShardId, bool)> = engine
            .map()
            .shards()
            .map(|entry| (entry.shard.clone(), entry.is_router))
            .collect();
        let mut run = Self {
            seed,
            start,
            shards,
            edges: Vec::new(),
            truth: simulation.truth(),
            levels,
            settled: vec![seconds; faults.len()],
            rows: Vec::new(),
            bases: Vec::new(),
            n_windows: 0,
        };
        for second in 0..seconds {
            step(&mut simulation, &mut engine, second);
            run.take(&engine);
            for (at, fault) in faults.iter().enumerate() {
                run.mark(at, fault, second, &simulation);
            }
        }
        let row: BTreeMap<&ShardId, usize> = run
            .shards
            .iter()
            .enumerate()
            .map(|(n, (id, _))| (id, n))
            .collect();
        let edges = engine.shard_edges();
        run.edges = edges
            .iter()
            .filter_map(|(from, to)| Some((*row.get(from)?, *row.get(to)?)))
            .collect();
        Ok(run)
    }

    /// What the simulator's own state says of a fault at a second: a missing vacuum acts only once one has been missed, and traces outlast a cause.
    fn mark(&mut self, at: usize, fault: &Injection, second: u32, simulation: &Simulation) {
        let is_on = (fault.from..fault.until).contains(&second);
        if is_on && fault.fault == Fault::VacuumOff && !simulation.misses_vacuum(fault.shard) {
            self.levels[at][(second - fault.from) as usize] = 0.0;
        }
        // None yet is after all.
        let is_settled = second >= fault.until && !simulation.owes(fault.shard);
        if is_settled {
            self.settled[at] = self.settled[at].min(second);
        }
    }

    /// Rows of the windows that were judged since the last time.
    fn take(&mut self, engine: &Engine) {
        let Some(judged) = engine.judged() else {
            return;
        };
        let next = self.start + self.n_windows as i64;
        if judged.0 < next {
            return;
        }
        let unknown = Features::default();
        for window in next..=judged.0 {
            let shown: BTreeMap<&ShardId, &Features> = engine.shown(WindowIndex(window)).collect();
            for (shard, _) in &self.shards {
                let features = shown.get(shard).copied().unwrap_or(&unknown);
                self.rows.extend_from_slice(features.values());
                self.bases
                    .extend(bases(features, engine.liveness_says(shard)));
            }
            self.n_windows += 1;
        }
    }

    fn write(&self, stem: &Path) -> Result<()> {
        let with = |ending: &str| stem.with_extension(ending);
        debug_assert_eq!(
            self.rows.len(),
            self.n_windows * self.shards.len() * N_COLUMNS
        );
        write(&with("rows.f32"), &bytes(&self.rows))?;
        write(&with("bases.f32"), &bytes(&self.bases))?;
        let place = |name: &str| self.shards.iter().position(|(id, _)| id.as_str() == name);
        let acted = self.levels.iter().zip(&self.settled);
        let truth = self.truth.iter().zip(acted).map(|(truth, (levels, settled))| {
            json!({
                "kind": truth.fault.name(), "family": family(truth.fault), "at": place(&truth.shard),
                "from": truth.from - self.start, "to": truth.until - self.start, "severity": truth.severity,
                "levels": levels, "settled": settled,
            })
        });
        let about = json!({
            "seed": self.seed, "windows": self.n_windows, "start": self.start, "edges": self.edges,
            "shards": self.shards.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
            "is_router": self.shards.iter().map(|(_, is)| *is).collect::<Vec<_>>(),
            "truth": truth.collect::<Vec<_>>(),
        });
        // Last: a run counts as made once this is there.
        write(&with("json"), about.to_string().as_bytes())
    }
}

/// What the judges of [`BASES`] say, as the engine told models of it.
fn bases(features: &Features, liveness: Option<f64>) -> [f32; BASES.len()] {
    let of = |name: &str| {
        let named = COLUMNS_EVIDENCE
            .iter()
            .position(|(column, _)| *column == name);
        named.map_or(0.0, |at| features.values()[AT_EVIDENCE + at])
    };
    let (strength, opens) = (of("evidence.strength"), of("evidence.opening"));
    [
        of("evidence.surprise"),
        strength,
        OPENING * opens + strength,
        liveness.unwrap_or(0.0) as f32,
    ]
}

/// How much of a fault acts, second by second, to a thousandth.
fn levels(injection: &Injection) -> Vec<f64> {
    let levels = (injection.from..injection.until).map(|at| injection.level(at));
    levels.map(|level| (1e3 * level).round() / 1e3).collect()
}

/// The production engine over this cluster, which gathers features and is never answered.
fn engine(simulation: &Simulation, start: i64) -> Result<Engine> {
    let mut entries: BTreeMap<&str, ShardEntry> = BTreeMap::new();
    for member in simulation.members() {
        let shard = ShardId::new(&member.shard).context("name a shard")?;
        let entry = entries.entry(&member.shard).or_insert_with(|| ShardEntry {
            shard,
            nodes: Vec::new(),
            is_router: member.is_router,
        });
        entry.nodes.push(member.node.clone());
    }
    let map = ShardMap::new(entries.into_values().collect(), false).context("make the map")?;
    let config = Config {
        score_ms_max: Some(600_000),
        ..Config::default()
    };
    let mut engine = Engine::new(config, map);
    let wall = WallTime::from_unix_seconds(start);
    engine.handle(Monotonic(0), Input::ReplayDone { wall });
    Ok(engine)
}

/// A second: agents are heard, summaries come, the clock ticks.
fn step(simulation: &mut Simulation, engine: &mut Engine, second: u32) {
    let now = Monotonic(u64::from(second + 1) * 1_000_000);
    let wall = WallTime::from_unix_seconds(simulation.second() + 1);
    let nodes: Vec<NodeId> = simulation
        .members()
        .iter()
        .map(|m| m.node.clone())
        .collect();
    simulation.step(&mut |told| {
        let input = Input::Summary {
            node: nodes[told.node].clone(),
            summary: Box::new(told.summary),
            received: wall,
            is_replay: false,
        };
        engine.handle(now, input);
    });
    if second.is_multiple_of(HEARD_EVERY) {
        for (at, node) in nodes.into_iter().enumerate() {
            if simulation.is_heard(at) {
                let clock_offset_us = Some(0);
                engine.handle(
                    now,
                    Input::Heard {
                        node,
                        clock_offset_us,
                    },
                );
            }
        }
    }
    engine.handle(now, Input::Clock { wall });
    while engine.poll_output().is_some() {}
    while engine.poll_hot_row().is_some() {}
    while engine.poll_hot_name().is_some() {}
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new).with_context(|| format!("make {}", new.display()))?;
    file.write_all(bytes)
        .with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("write {}", path.display()))
}
