//! What is played: clusters of many sizes, every kind of fault about equally often, harmless disturbances beside them.
//!
//! Each run has a topology, a time of the week and a seed of its own. Faults come one after the other with rest between, now and then
//! two at once on two shards; severity, onset and length vary.

use hsw_simulator::{Disturbance, Fault, Harmless, Injection, Onset, Scenario, Target, Topology};

use crate::intrusions::Dice;

/// Runs in all.
pub(super) const N_RUNS: usize = 48;

/// Seeds of runs begin here; no constant of the detectors was chosen on them.
const SEED: u64 = 710_000;
/// A Monday, 00:00 UTC.
const WEEK: i64 = 1_795_392_000;
const WEEK_S: i64 = 604_800;

/// Seconds before the first fault: detectors learn. Ten minutes, which is less than they need to know a node by its own past alone.
const WARM_S: u32 = 600;
/// From one fault's begin to the next one's.
const EPISODE_S: u32 = 110;
const N_EPISODES: usize = 10;
const SIZES: [usize; 6] = [5, 6, 8, 10, 12, 20];
const N_DISTURBANCES: usize = 4;

/// The scenario of a run, and its seconds.
pub(super) fn plan(number: usize) -> (Scenario, u32) {
    let mut dice = Dice::new(SEED + number as u64);
    let topology = Topology {
        n_shards: *dice.of(&SIZES),
        // Every third cluster has no replicas.
        n_replicas: usize::from(!number.is_multiple_of(3)),
        shards_per_router: *dice.of(&[4, 50]),
        seed: SEED + number as u64,
        like_test_bed: dice.chance(0.15),
    };
    let seconds = WARM_S + EPISODE_S * N_EPISODES as u32 + 30;
    let mut faults = Vec::new();
    for (episode, fault) in deck(number, topology.n_replicas > 0)
        .into_iter()
        .enumerate()
    {
        let from = WARM_S + EPISODE_S * episode as u32 + dice.below(15) as u32;
        let shard = dice.below(topology.n_shards);
        faults.push(injection(&mut dice, fault, shard, from));
        if dice.chance(0.15) {
            let fault = *dice.of(&playable(topology.n_replicas > 0));
            let other = (shard + 1 + dice.below(topology.n_shards - 1)) % topology.n_shards;
            faults.push(injection(&mut dice, fault, other, from + 5));
        }
    }
    let disturbances = (0..N_DISTURBANCES).map(|_| {
        let from = WARM_S + dice.below((seconds - WARM_S) as usize) as u32;
        Disturbance {
            kind: *dice.of(Harmless::ALL),
            shard: dice.below(topology.n_shards),
            from,
            until: from + 40 + dice.below(80) as u32,
        }
    });
    let disturbances = disturbances.collect();
    let scenario = Scenario {
        start: WEEK + dice.between(0, WEEK_S),
        topology,
        faults,
        disturbances,
    };
    (scenario, seconds)
}

fn injection(dice: &mut Dice, fault: Fault, shard: usize, from: u32) -> Injection {
    let onset = match dice.below(20) {
        0..12 => Onset::Step,
        12..17 => Onset::Ramp(5 + dice.below(20) as u32),
        _ => Onset::Intermittent(6 + dice.below(6) as u32, 4 + dice.below(5) as u32),
    };
    Injection {
        fault,
        shard,
        from,
        until: from + 35 + dice.below(25) as u32,
        severity: dice.between(35, 101) as f64 / 100.0,
        onset,
    }
}

fn playable(has_replicas: bool) -> Vec<Fault> {
    let kinds = Fault::ALL.iter().copied();
    kinds
        .filter(|fault| has_replicas || fault.target() == Target::Primary)
        .collect()
}

/// Ten kinds for a run: a deck of all is dealt over the runs, shuffled anew each time it is through.
fn deck(number: usize, has_replicas: bool) -> Vec<Fault> {
    let n = Fault::ALL.len();
    let dealt = (number * N_EPISODES..(number + 1) * N_EPISODES).map(|card| {
        let mut dice = Dice::new(SEED ^ (card / n) as u64);
        dice.some(Fault::ALL, n)[card % n]
    });
    let kinds = playable(has_replicas);
    dealt.filter(|fault| kinds.contains(fault)).collect()
}

/// The family of a cause: what a person would look at first.
pub(super) const fn family(fault: Fault) -> &'static str {
    match fault {
        Fault::LockStorm | Fault::HotRow | Fault::Deadlocks | Fault::IdleTransaction => "locks",
        Fault::CpuHog | Fault::CpuQuota | Fault::CpuSteal => "processor",
        Fault::MissingIndex | Fault::BadPlan | Fault::SlowQuery | Fault::VacuumOff => "access",
        Fault::ConnectionStorm | Fault::ConnectionLeak => "connections",
        Fault::CacheLost | Fault::MemoryPressure => "memory",
        Fault::Stopped | Fault::Frozen | Fault::Crash | Fault::Refuses | Fault::HostLost => "down",
        Fault::NoisyTenant | Fault::ErrorBurst => "clients",
        Fault::NetworkDelay | Fault::NetworkLoss | Fault::NetworkNarrow => "network",
        Fault::ReplicationBroken | Fault::ReplicaSlow => "replication",
        _ => "storage",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_kind_is_played_about_as_often_as_any_other_and_every_plan_can_be() {
        let mut n = BTreeMap::new();
        for number in 0..N_RUNS {
            let (scenario, seconds) = plan(number);
            for injection in &scenario.faults {
                assert!(injection.until < seconds && injection.from >= WARM_S);
                *n.entry(injection.fault.name()).or_insert(0) += 1;
            }
            assert!(hsw_simulator::Simulation::new(scenario).is_ok());
        }
        assert_eq!(n.len(), Fault::ALL.len());
        assert!(n.values().all(|n| (6..=25).contains(n)), "{n:?}");
    }
}
