//! `explain`: a diagnosis against a hundred known causes, predicates of ten thousand attributes; a public Python port of the
//! published method on the same table in the same run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hsw_cli::offline::explain::{Library, Procedure};
use hsw_cli::offline::learn;
use hsw_explain::{
    Column, Condition, Config, Method, Predicate, Regions, Spaces, THETA_SINGLE, published,
    separating,
};
use serde_json::{Value, json};

use super::log_lines::Dice;
use super::usage::own_thread_seconds;
use super::{Args, Figure, Report};

/// A Python that has `numpy`, and a checkout of github.com/hyukkyukang/DBSherlock.
const PEER_PYTHON: &str = "HSW_PEER_PYTHON";
const PEER_PORT: &str = "HSW_PEER_DBSHERLOCK";
const N_ROUNDS: usize = 21;
const N_ROWS: usize = 600;
const ABNORMAL: std::ops::Range<usize> = 200..320;
const N_CAUSES: usize = 100;
const N_CASES: usize = 3;

/// Noise about a level each, a bell of three throws; abnormal rows higher where `rise` says so.
struct Table {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
}

impl Table {
    fn new(n_attributes: usize, seed: u64, rise: impl Fn(usize) -> f64) -> Self {
        let mut dice = Dice::new(seed);
        let mut throw = move || dice.below(1 << 30) as f64 / f64::from(1 << 30);
        let mut column = |at: usize| -> Vec<f64> {
            let (level, noise) = (10.0 + 1_000.0 * throw(), 0.05 + 0.3 * throw());
            let mut value = |row: usize| {
                let bell = throw() + throw() + throw() - 1.5;
                let rise = if ABNORMAL.contains(&row) {
                    rise(at)
                } else {
                    0.0
                };
                level * (1.0 + noise * bell + rise)
            };
            (0..N_ROWS).map(&mut value).collect()
        };
        Self {
            names: (0..n_attributes)
                .map(|at| format!("shard|attribute {at}"))
                .collect(),
            columns: (0..n_attributes).map(&mut column).collect(),
        }
    }

    /// Of a cause: three in ten attributes rise, which ones is its own.
    fn of_cause(cause: usize, day: usize) -> Self {
        let seed = (cause * N_CASES + day + 1) as u64 * 7_919;
        Self::new(200, seed, |at| match (at * 31 + cause * 17) % 10 {
            0..3 => 0.5 + ((at + cause) % 5) as f64,
            _ => 0.0,
        })
    }

    fn columns(&self) -> Vec<Column<'_>> {
        let both = self.names.iter().zip(&self.columns);
        both.map(|(name, values)| Column::numbers(name, values))
            .collect()
    }
}

fn regions() -> Regions {
    let abnormal: Vec<bool> = (0..N_ROWS).map(|row| ABNORMAL.contains(&row)).collect();
    Regions::new(&abnormal, &[true; N_ROWS])
}

/// Milliseconds of processor time, one for each round.
fn rounds<T>(mut run: impl FnMut() -> T) -> Vec<f64> {
    let round = |_| {
        let began = own_thread_seconds();
        std::hint::black_box(run());
        (own_thread_seconds() - began) * 1e3
    };
    (0..N_ROUNDS).map(round).collect()
}

/// Measures.
pub(super) fn explain(args: &Args) -> Result<Report> {
    let mut report = Report::new("explain");
    let regions = regions();
    diagnosis(&regions, &mut report);
    let table = Table::new(10_000, 5, |at| match at % 10 {
        0..3 => 0.5 + (at % 5) as f64,
        _ => 0.0,
    });
    let columns = table.columns();
    let how = "processor time of one core, 600 rows";
    let config = Config::default();
    let theirs = rounds(|| published(&columns, &regions, &config, Method::Paper));
    let name = "predicates of 10,000 attributes, the published procedure, ms";
    report.add(Figure::of(name, &theirs, how).at_most(50.0));
    let ours = rounds(|| separating(&columns, &regions, config.n_partitions));
    let name = "predicates of 10,000 attributes, ours, ms";
    report.add(Figure::of(name, &ours, how).at_most(50.0));
    beside_peer(args, &regions, &mut report)?;
    Ok(report)
}

/// A case held against causes learned from three cases each.
fn diagnosis(regions: &Regions, report: &mut Report) {
    let case = |(cause, day): (usize, usize)| {
        let table = Table::of_cause(cause, day);
        learn::named(&format!("cause {cause:03}"), &table.columns(), regions)
    };
    let days = |cause| (0..N_CASES).map(move |day| (cause, day));
    let cases: Vec<_> = (0..N_CAUSES).flat_map(days).map(case).collect();
    let library = Library::new(&cases, Procedure::Ours, None);
    let table = Table::of_cause(42, N_CASES);
    let columns = table.columns();
    let took = rounds(|| library.causes(&columns, regions));
    let how = "100 causes of three cases each, 600 rows of 200 attributes: every confidence and probability; processor time";
    report.add(Figure::of("a diagnosis, ms", &took, how).at_most(1.0));
    let n: usize = library
        .models()
        .iter()
        .map(|model| model.predicates.len())
        .sum();
    report.note(format!("{} predicates a cause", n / N_CAUSES));
}

/// The same predicates and the same confidence by the port; how many times as long it takes.
fn beside_peer(args: &Args, regions: &Regions, report: &mut Report) -> Result<()> {
    let (Some(python), Some(port)) = (std::env::var_os(PEER_PYTHON), std::env::var_os(PEER_PORT))
    else {
        report.note(format!(
            "{PEER_PYTHON} or {PEER_PORT} is not set: no peer was measured"
        ));
        return Ok(());
    };
    let table = Table::of_cause(42, 0);
    let columns = table.columns();
    let config = Config {
        theta: THETA_SINGLE,
        ..Config::default()
    };
    let extract = || -> Vec<Predicate> {
        let mut own = published(&columns, regions, &config, Method::Code);
        own.retain(|predicate| predicate.shift_by(Method::Code) > THETA_SINGLE);
        own
    };
    let predicates = extract();
    let own = [predicates.as_slice()];
    let model = hsw_explain::CausalModel::merge("x", &own, THETA_SINGLE, Method::Code);
    let model_ms = rounds(extract);
    let fit_ms = rounds(|| model.fit(&Spaces::new(&columns, regions, config.n_partitions)));
    let folder = args.dir.join("explain");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let file = folder.join("table.json");
    fs::write(&file, to_json(&table)).with_context(|| format!("write {}", file.display()))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/explain/peer.py");
    let output = Command::new(python)
        .arg(script)
        .arg(port)
        .arg(&file)
        .output();
    let output = output.context("run the peer")?;
    fs::remove_dir_all(&folder).context("remove the table")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the peer: {said}");
    let peer: Value = serde_json::from_slice(&output.stdout).context("what the peer said")?;
    let number = |name: &str| peer[name].as_f64().context("what the peer said");
    let how = "Python port of hyukkyukang in the same run, once, processor time; 600 rows of 200 attributes";
    for (what, name, own) in [
        ("the predicates of a case", "model_s", &model_ms),
        ("a case held against one cause", "fit_s", &fit_ms),
    ] {
        let theirs = number(name)? * 1e3;
        let own = Figure::of(
            &format!("{what}, ms"),
            own,
            "ours, as the authors' code does it",
        );
        let ratio = theirs / own.value;
        report.add(own);
        report.add(Figure::new(&format!("{what}, the port, ms"), theirs, how));
        let name = format!("{what}, times the port");
        report.add(Figure::new(&name, ratio, "how many times as fast").at_least(1_000.0));
    }
    let same = predicates
        .iter()
        .filter(|own| is_said(own, &peer["predicates"]))
        .count();
    let n_theirs = peer["predicates"]
        .as_object()
        .map_or(0, serde_json::Map::len);
    let all = (predicates.len() + n_theirs - same) as f64;
    let how = "both have it with the same bounds, of those that either has";
    report.add(Figure::new("predicates that agree", same as f64 / all, how).at_least(1.0));
    Ok(())
}

fn to_json(table: &Table) -> String {
    let row = |row: usize| {
        table
            .columns
            .iter()
            .map(|own| own[row])
            .collect::<Vec<f64>>()
    };
    let rows = |is_abnormal: bool| {
        (0..N_ROWS)
            .filter(|row| ABNORMAL.contains(row) == is_abnormal)
            .collect::<Vec<_>>()
    };
    let values: Vec<Vec<f64>> = (0..N_ROWS).map(row).collect();
    json!({
        "attributes": table.names, "values": values, "normal": rows(false), "abnormal": rows(true),
    })
    .to_string()
}

/// Whether the port has the predicate with the same bounds, up to rounding.
fn is_said(own: &Predicate, theirs: &Value) -> bool {
    let Condition::Range { min, max } = &own.condition else {
        return false;
    };
    let bounds = &theirs[&own.attribute];
    let is_same = |own: Option<f64>, their: &Value| match (own, their.as_f64()) {
        (Some(own), Some(their)) => (own - their).abs() <= 1e-9 * own.abs().max(1.0),
        (None, None) => true,
        _ => false,
    };
    bounds.is_array() && is_same(*min, &bounds[0]) && is_same(*max, &bounds[1])
}
