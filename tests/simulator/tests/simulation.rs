//! The simulator as its users see it: deterministic, physical, silent where nothing is wrong.
#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]

use std::collections::BTreeMap;

use hsw_simulator::{
    Disturbance, Fault, Harmless, Injection, Onset, Scenario, ScenarioError, Simulation, Topology,
};
use hsw_types::{SeriesId, SeriesKey};

const START: i64 = 1_795_000_000;

fn scenario(topology: Topology, faults: Vec<Injection>) -> Scenario {
    Scenario {
        topology,
        start: START,
        faults,
        disturbances: Vec::new(),
    }
}

/// Every value that was told: by node, series and second.
type Told = BTreeMap<(usize, String), BTreeMap<i64, f64>>;

fn play(scenario: Scenario, seconds: u32) -> Told {
    let mut simulation = Simulation::new(scenario).unwrap();
    let mut names: BTreeMap<(usize, SeriesId), SeriesKey> = BTreeMap::new();
    let mut told = Told::new();
    for _ in 0..seconds {
        simulation.step(&mut |one| {
            for def in one.summary.dictionary {
                names.insert((one.node, def.id), def.key);
            }
            for series in one.summary.series {
                let name = names[&(one.node, series.id)].to_string();
                let values = told.entry((one.node, name)).or_default();
                for (n, value) in series.values.into_iter().enumerate() {
                    if let Some(value) = value {
                        values.insert(one.summary.first_window.0 + n as i64 - START, value);
                    }
                }
            }
        });
    }
    told
}

/// Mean of a series over some seconds.
fn mean(told: &Told, node: usize, name: &str, from: i64, until: i64) -> f64 {
    let Some(values) = told.get(&(node, name.to_owned())) else {
        return f64::NAN;
    };
    let some: Vec<f64> = values.range(from..until).map(|(_, v)| *v).collect();
    some.iter().sum::<f64>() / some.len() as f64
}

#[test]
fn the_same_scenario_gives_the_same_bytes_and_another_seed_others() {
    let bytes = |seed| {
        let faults = vec![Injection::step(Fault::LockStorm, 1, 20, 40)];
        let mut simulation = Simulation::new(scenario(Topology::of(3, seed), faults)).unwrap();
        let mut all = Vec::new();
        for _ in 0..60 {
            simulation.step(&mut |told| {
                all.push(told.node as u8);
                all.extend(hsw_wire::encode_summary(&told.summary).unwrap());
            });
        }
        all
    };
    assert_eq!(bytes(5), bytes(5));
    assert_ne!(bytes(5), bytes(6));
}

#[test]
fn a_held_lock_lets_sessions_queue_and_work_stop_at_its_shard_alone() {
    let faults = vec![Injection::step(Fault::LockStorm, 1, 60, 100)];
    let told = play(scenario(Topology::test_bed(1), faults), 130);
    // The router is node 0, shard-2 node 2.
    let locks = |node, from, until| mean(&told, node, "pg.sessions_waiting_lock", from, until);
    assert!(locks(2, 0, 60) < 0.2 && locks(2, 70, 100) > 8.0);
    assert!(locks(1, 70, 100) < 0.2);
    let commits = |node, from, until| mean(&told, node, "pg.commits", from, until);
    assert!(commits(2, 70, 100) < 0.6 * commits(2, 0, 60));
    assert!(commits(1, 70, 100) > 0.8 * commits(1, 0, 60));
    assert!(
        mean(&told, 2, "log.lock_waits", 60, 70) > 0.5,
        "the log says so"
    );
    assert!(
        mean(&told, 0, "pg.sessions_active", 70, 100) > 3.0,
        "clients wait at the router"
    );
    assert!(locks(2, 105, 130) < 0.2, "and it is over when it is healed");
}

#[test]
fn a_slow_disk_slows_commits_and_a_missing_index_reads_rows() {
    let faults = vec![
        Injection::step(Fault::DiskSlow, 0, 60, 120),
        Injection::step(Fault::MissingIndex, 2, 60, 120),
    ];
    let told = play(scenario(Topology::test_bed(2), faults), 120);
    let ratio = |node, name: &str| {
        mean(&told, node, name, 66, 118) / mean(&told, node, name, 4, 58).max(1e-9)
    };
    assert!(ratio(1, "disk.write_latency_ms{sda}") > 15.0);
    assert!(ratio(2, "disk.write_latency_ms{sda}") < 2.0);
    assert!(
        ratio(1, "pg.sessions_active") > 3.0,
        "{}",
        ratio(1, "pg.sessions_active")
    );
    assert!(mean(&told, 3, "pg.sequential_tuples", 66, 118) > 1e5);
    assert!(mean(&told, 3, "pg.statement_mean_ms", 66, 118) > 1.0);
    assert!(ratio(3, "instance.cpu_cores") > 3.0);
}

#[test]
fn every_fault_is_felt_where_it_acts_and_is_over_after_it() {
    for (n, fault) in Fault::ALL.iter().enumerate() {
        // Nothing is felt of a missing vacuum before there is something for it to do.
        let until = match fault {
            Fault::VacuumOff => 5_400,
            _ => 180,
        };
        let faults = vec![Injection::step(*fault, 1, 60, until)];
        let topology = || Topology::of(3, 40 + n as u64);
        let with = play(scenario(topology(), faults), until);
        let without = play(scenario(topology(), Vec::new()), until);
        let end = i64::from(until);
        // Router, then three shards of two nodes: shard 1 has nodes 3 and 4.
        let felt = |nodes: &[usize], from: i64, until: i64| {
            let series = with.keys().filter(|(node, _)| nodes.contains(node));
            let moved = series.filter(|(node, name)| {
                let (a, b) = (
                    mean(&with, *node, name, from, until),
                    mean(&without, *node, name, from, until),
                );
                a.is_nan() != b.is_nan() || (a - b).abs() > 0.3 * (a.abs() + b.abs()) + 1e-3
            });
            moved.count()
        };
        assert!(
            felt(&[3, 4], end - 30, end) >= 2,
            "{} is felt by nothing",
            fault.name()
        );
    }
}

#[test]
fn a_disk_is_as_busy_in_the_first_minutes_as_later() {
    let told = play(scenario(Topology::of(3, 11), Vec::new()), 900);
    for primary in [1, 3, 5] {
        let busy = |from, until| mean(&told, primary, "disk.utilisation{sda}", from, until);
        let ratio = busy(5, 280) / busy(600, 895);
        assert!((0.8..1.25).contains(&ratio), "{primary}: {ratio}");
    }
}

#[test]
fn what_a_flood_leaves_undone_is_owed_by_its_shard_alone_until_it_is_done() {
    let faults = vec![Injection::step(Fault::NoisyTenant, 1, 60, 120)];
    let mut simulation = Simulation::new(scenario(Topology::of(3, 12), faults)).unwrap();
    let mut owed = [0; 3];
    for second in 0..900 {
        simulation.step(&mut |_| ());
        for (shard, n) in owed.iter_mut().enumerate() {
            let owes = simulation.owes(shard);
            assert!(!owes || second >= 60, "shard {shard} at {second}");
            *n += u32::from(owes);
        }
    }
    assert!(owed[1] > 120, "{owed:?}");
    assert!((0..3).all(|shard| !simulation.misses_vacuum(shard)));
    assert_eq!((owed[0], owed[2]), (0, 0));
    assert!(!simulation.owes(1) && !simulation.owes(9));
}

#[test]
fn without_vacuum_dead_rows_grow_beyond_what_calls_for_one_and_with_it_they_do_not() {
    let until = 5_400;
    let faults = vec![Injection {
        severity: 0.4,
        ..Injection::step(Fault::VacuumOff, 1, 60, until)
    }];
    let told = play(scenario(Topology::of(3, 44), faults), until + 300);
    let overdue = |node| &told[&(node, "pg.vacuum_overdue".to_owned())];
    // Shard 1 has nodes 3 and 4; the others' primaries are 1 and 5. Autovacuum looks every minute and takes another: two of a busy shard.
    for node in [1, 5] {
        let most = overdue(node).values().copied().fold(0.0, f64::max);
        assert!((0.5..2.0).contains(&most), "node {node}: {most}");
    }
    let off: Vec<f64> = overdue(3)
        .range(60..i64::from(until))
        .map(|(_, v)| *v)
        .collect();
    assert!(
        off.last().is_some_and(|last| *last > 2.0),
        "{:?}",
        off.last()
    );
    assert!(
        off.windows(2).all(|two| two[1] >= two[0] - 0.9),
        "nothing takes them away"
    );
    let after = overdue(3).values().last().copied();
    assert!(after.is_some_and(|after| after < 1.2), "{after:?}");
    assert!(
        !told.contains_key(&(4, "pg.vacuum_overdue".to_owned())),
        "a standby does not know"
    );
}

#[test]
fn a_vacuum_is_missed_only_once_there_was_something_for_it_to_do() {
    let faults = vec![Injection::step(Fault::VacuumOff, 1, 60, 5_400)];
    let mut simulation = Simulation::new(scenario(Topology::of(3, 44), faults)).unwrap();
    let mut missed = [0; 3];
    for second in 0..5_400 {
        simulation.step(&mut |_| ());
        for (shard, n) in missed.iter_mut().enumerate() {
            let misses = simulation.misses_vacuum(shard);
            assert!(!misses || second > 120, "shard {shard} at {second}");
            *n += u32::from(misses);
        }
    }
    assert!(missed[1] > 60 && missed[0] + missed[2] == 0, "{missed:?}");
}

#[test]
fn a_scenario_that_cannot_be_is_refused() {
    let refused = |topology, injection| Simulation::new(scenario(topology, vec![injection])).err();
    let broken = Injection::step(Fault::ReplicationBroken, 0, 1, 2);
    assert_eq!(
        refused(Topology::test_bed(1), broken),
        Some(ScenarioError::NoReplica("replication-broken"))
    );
    let nowhere = Injection::step(Fault::CpuHog, 9, 1, 2);
    assert_eq!(
        refused(Topology::test_bed(1), nowhere),
        Some(ScenarioError::NoShard("cpu-hog", 9, 4))
    );
    let none = Injection {
        severity: 0.0,
        onset: Onset::Ramp(9),
        ..Injection::step(Fault::CpuHog, 0, 1, 2)
    };
    assert_eq!(
        refused(Topology::test_bed(1), none),
        Some(ScenarioError::Fault("cpu-hog"))
    );
}

#[test]
fn twice_the_load_moves_all_shards_alike() {
    let mut played = scenario(Topology::of(4, 9), Vec::new());
    played.disturbances = vec![Disturbance {
        kind: Harmless::LoadDouble,
        shard: 0,
        from: 60,
        until: 120,
    }];
    let told = play(played, 120);
    for node in [1, 3, 5, 7] {
        let ratio =
            mean(&told, node, "pg.commits", 66, 118) / mean(&told, node, "pg.commits", 4, 58);
        assert!((1.6..2.4).contains(&ratio), "node {node}: {ratio}");
    }
}
