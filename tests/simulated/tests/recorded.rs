//! Recorded real faults of the test bed's cluster: replayed, and held against the simulation of the same faults.
#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]
#![expect(clippy::print_stderr, reason = "a test that skips says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hsw_inference::{Device, Model, Runtime};
use hsw_recording::{Reader, play, rescore};
use hsw_simulated::movement::{Moved, movement};
use hsw_simulated::record;
use hsw_simulator::{Fault, Injection, Scenario, Simulation, Topology};
use hsw_types::{NodeId, Tier, metric_spec};
use serde_json::Value;

/// Where what the simulation says is not what the real cluster showed, by fault and series; see the last test.
const DIFFERS: &str = include_str!("differs.txt");

const START: i64 = 1_795_000_000;

struct Recorded {
    fault: String,
    shard: String,
    from: i64,
    to: i64,
    bytes: Vec<u8>,
}

fn recordings() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recordings");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "hsr"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let truth = std::fs::read_to_string(path.with_extension("truth.json")).unwrap();
        let truth: Value = serde_json::from_str(&truth).unwrap();
        Recorded {
            fault: truth[0]["kind"].as_str().unwrap().to_owned(),
            shard: truth[0]["shard"].as_str().unwrap().to_owned(),
            from: truth[0]["from"].as_i64().unwrap(),
            to: truth[0]["to"].as_i64().unwrap(),
            bytes: std::fs::read(path).unwrap(),
        }
    };
    files.iter().map(read).collect()
}

#[test]
fn every_recorded_fault_is_one_incident_of_the_right_shard_on_every_replay() {
    let all = recordings();
    assert!(all.len() >= 9, "the recordings are missing");
    let mut bytes = 0;
    for recorded in &all {
        bytes += recorded.bytes.len();
        assert!(recorded.bytes.len() <= 300_000, "{}", recorded.fault);
        let replayed = || play(Reader::new(recorded.bytes.as_slice()).unwrap()).unwrap();
        let played = replayed();
        assert_eq!(played.lost, Some(0), "{}", recorded.fault);
        let told = format!("{:?}", played.incidents);
        assert_eq!(
            told,
            format!("{:?}", replayed().incidents),
            "{}",
            recorded.fault
        );
        if recorded.fault == "load-surge-all" {
            assert!(played.incidents.is_empty(), "{told}");
            continue;
        }
        let roots: Vec<&str> = played
            .incidents
            .iter()
            .map(|one| one.root.as_str())
            .collect();
        assert_eq!(
            roots,
            [recorded.shard.as_str()],
            "{}: {told}",
            recorded.fault
        );
        let delay = played.incidents[0].raised.0 - recorded.from;
        assert!((-2..=15).contains(&delay), "{}: {delay} s", recorded.fault);
    }
    assert!(bytes <= 3_000_000);
}

#[test]
fn every_recorded_fault_gives_the_same_incidents_scored_anew_on_whatever_is_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let here = root.join(".ort/libonnxruntime.so");
    let configured = here.is_file().then_some(here.as_path());
    let Some(found) = hsw_inference::find(configured).unwrap() else {
        eprintln!("skipped: no ONNX Runtime here, run deploy/onnxruntime");
        return;
    };
    let card = root.join("aggregator/models/hypershard-1.json");
    let layout = hsw_fusion::layout::name();
    // On a machine with a GPU these are two.
    let devices = [Device::Cpu, Device::Auto];
    let mut models = devices.map(|device| {
        let runtime = Runtime::start(&found, device, 1).unwrap();
        Model::open(&runtime, &card, &layout).unwrap()
    });
    for recorded in &recordings() {
        let reader = || Reader::new(recorded.bytes.as_slice()).unwrap();
        let told = format!("{:?}", play(reader()).unwrap().incidents);
        let mut apart = 0.0_f32;
        let anew = rescore(reader(), &mut |batch| {
            let [cpu, other] = &mut models;
            let raw = [cpu, &mut *other].map(|model| model.probabilities(batch).unwrap().sick);
            for (a, b) in raw[0].iter().zip(&raw[1]) {
                apart = apart.max((a - b).abs());
            }
            Some(other.score(batch).unwrap())
        })
        .unwrap();
        assert_eq!(format!("{:?}", anew.incidents), told, "{}", recorded.fault);
        let rescored = anew.rescored.unwrap();
        assert!(rescored.n_scored > 60, "{rescored:?}");
        assert_eq!(rescored.n_scored, rescored.n_batches);
        assert!(apart <= 1e-3, "{}: {apart}", recorded.fault);
    }
}

/// Device names aside: of a real node its own disk.
fn by_metric(all: BTreeMap<String, Moved>) -> BTreeMap<String, Moved> {
    all.into_iter()
        .filter(|(name, _)| !name.starts_with("net.") && !name.contains("{vda}"))
        .filter_map(|(name, moved)| match name.split_once('{') {
            None => Some((name, moved)),
            Some((metric, _)) if metric.starts_with("disk.") => Some((metric.to_owned(), moved)),
            Some(_) => None,
        })
        .collect()
}

/// Times what is usual; a change below what the catalogue calls one is none.
fn ratio(name: &str, moved: &Moved) -> f64 {
    let floor = metric_spec(name).map_or(1.0, |spec| spec.floor);
    (moved.during + floor) / (moved.usual + floor)
}

fn simulated(fault: Fault) -> BTreeMap<String, Moved> {
    let (from, until) = (120, 160);
    let mut simulation = Simulation::new(Scenario {
        topology: Topology::test_bed(11),
        start: START,
        faults: vec![Injection::step(fault, 1, from, until)],
        disturbances: Vec::new(),
    })
    .unwrap();
    let bytes = record::simulated(&mut simulation, until, Vec::new()).unwrap();
    let node = NodeId::new("shard-2-a").unwrap();
    let at = |second: u32| START + i64::from(second);
    let reader = Reader::new(bytes.as_slice()).unwrap();
    by_metric(
        movement(
            reader,
            &node,
            (at(10), at(from)),
            (at(from + 6), at(until - 4)),
        )
        .unwrap(),
    )
}

#[test]
fn what_a_fault_moves_it_moves_in_the_simulation_too_but_for_what_is_listed() {
    let listed: BTreeSet<&str> = DIFFERS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split("  ").next())
        .collect();
    let (mut n, mut differs, mut table) = (0, BTreeSet::new(), String::new());
    for recorded in recordings() {
        let Some(fault) = Fault::parse(&recorded.fault) else {
            continue;
        };
        if matches!(fault, Fault::Crash | Fault::Stopped | Fault::Frozen) {
            // A database that does not answer has no series to compare.
            continue;
        }
        let node = NodeId::new(&format!("{}-a", recorded.shard)).unwrap();
        let reader = Reader::new(recorded.bytes.as_slice()).unwrap();
        let usual = (recorded.from - 60, recorded.from - 3);
        let during = (recorded.from + 6, recorded.to - 3);
        let real = by_metric(movement(reader, &node, usual, during).unwrap());
        let made = simulated(fault);
        for (name, real) in &real {
            let is_judged = metric_spec(name).is_some_and(|spec| spec.tier >= Tier::Activity);
            let (Some(made), true) = (made.get(name), is_judged) else {
                continue;
            };
            let (a, b) = (ratio(name, real), ratio(name, made));
            if (0.5..=2.0).contains(&a) {
                continue;
            }
            n += 1;
            // The same way, and by a factor within four of the real one.
            let is_same = (a > 1.0) == (b > 1.0) && (0.25..=4.0).contains(&(a / b));
            let pair = format!("{} {name}", recorded.fault);
            if !is_same {
                table.push_str(&format!(
                    "{pair}  real x{a:.3} ({:.3} to {:.3}), simulated x{b:.3} ({:.3} to {:.3})\n",
                    real.usual, real.during, made.usual, made.during
                ));
                differs.insert(pair);
            }
        }
    }
    assert!(n >= 40, "{n} series moved");
    let listed: BTreeSet<String> = listed.into_iter().map(str::to_owned).collect();
    assert!(
        differs == listed,
        "{} of {n} differ:\n{table}",
        differs.len()
    );
}
