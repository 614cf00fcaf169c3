//! Coordinator and participants over a network that loses, repeats and delays, with lives that end. (ALGORITHMS 2.7)

use crate::simulation::{Faults, Letter, QUICK, World};
use crate::{ParticipantId, Patience, QueryId, Range};

const N_TRIGGERS: u64 = 30;

/// Runs faults, then quiet; returns how many fired, and the messages.
fn simulate(seed: u64, faults: Faults) -> (usize, u64) {
    let mut world = World::new(seed, 2 + (seed % 9) as u32, faults, QUICK);
    let n = world.participants.len() as u64;
    let n_busy = 100 + world.random.below(900);
    for id in 0..N_TRIGGERS {
        let lo = world.random.below(800);
        let hi = lo + 50 + world.random.below(400);
        // About what a box gets, so that at the end many a trigger is just there or nearly.
        let threshold = 1 + world.random.below(n_busy * (hi - lo) / 50);
        world.register(id, Range { lo, hi }, threshold);
    }
    for step in 0..3_000 {
        world.step();
        world.check_that_nothing_known_is_forgotten();
        if step == n_busy / 3 {
            world.admit_the_late();
        }
        if step < n_busy {
            for _ in 0..world.random.below(8) {
                let at = world.random.below(n) * world.random.below(2);
                let (key, weight) = (world.random.below(1_000), 1 + world.random.below(9));
                world.element(at as u32, key, weight);
            }
        }
        if step == n_busy {
            world.faults = Faults::default();
        }
    }
    for trigger in world.triggers.iter().filter(|trigger| !trigger.has_fired) {
        let mut living = world.participants.iter().flatten();
        assert!(
            living.all(|one| one.count(trigger.id).is_some()),
            "seed {seed}: somebody does not watch {:?}",
            trigger.id
        );
        let survived = world.surviving(trigger.id);
        assert!(
            survived < trigger.threshold,
            "seed {seed}: {:?} has {survived} of {} and has not fired",
            trigger.id,
            trigger.threshold
        );
    }
    let is_dead = |to: ParticipantId| world.participants[to.0 as usize].is_none();
    let is_lost = |letter: &Letter| matches!(letter, Letter::Down(to, _) if is_dead(*to));
    let mut letters = world.letters.iter();
    assert!(
        letters.all(|(.., letter)| is_lost(letter)),
        "seed {seed}: letters never end"
    );
    let n_fired = world.triggers.iter().filter(|t| t.has_fired).count();
    (n_fired, world.n_letters)
}

#[test]
fn without_faults_every_trigger_fires_once_its_count_is_there() {
    for seed in 0..60 {
        simulate(seed, Faults::default());
    }
}

#[test]
fn a_trigger_never_fires_early_and_always_once_delivery_is_quiet() {
    let faults = Faults {
        drop_percent: 35,
        repeat_percent: 20,
        delay_max: 40,
        ..Faults::default()
    };
    let n_fired: usize = (0..200).map(|seed| simulate(seed, faults).0).sum();
    assert!(n_fired > 2_000, "{n_fired} of 6000");
}

#[test]
fn restarts_and_deaths_of_participants_make_nothing_early_and_lose_nothing_that_was_told() {
    let faults = Faults {
        drop_percent: 10,
        repeat_percent: 20,
        delay_max: 20,
        restarts: 200,
        deaths: 20,
        ..Faults::default()
    };
    let n_fired: usize = (0..200).map(|seed| simulate(1_000 + seed, faults).0).sum();
    assert!(n_fired > 1_000, "{n_fired} of 6000");
}

#[test]
fn a_coordinator_that_starts_again_learns_the_counts_of_the_living() {
    let faults = Faults {
        drop_percent: 5,
        repeat_percent: 10,
        delay_max: 5,
        coordinator_restarts: 50,
        ..Faults::default()
    };
    for seed in 0..100 {
        simulate(2_000 + seed, faults);
    }
}

#[test]
fn a_coordinator_that_is_told_what_it_knew_forgets_nothing_and_fires_nothing_early() {
    let faults = Faults {
        drop_percent: 10,
        repeat_percent: 10,
        delay_max: 10,
        restarts: 100,
        deaths: 10,
        coordinator_restarts: 50,
        is_kept: true,
        ..Faults::default()
    };
    let n_fired: usize = (0..200).map(|seed| simulate(3_000 + seed, faults).0).sum();
    assert!(n_fired > 1_000, "{n_fired} of 6000");
}

#[test]
fn who_takes_part_later_counts_from_then_on() {
    let faults = Faults {
        drop_percent: 20,
        repeat_percent: 10,
        delay_max: 20,
        restarts: 50,
        coordinator_restarts: 20,
        is_kept: true,
        n_late: 3,
        ..Faults::default()
    };
    let n_fired: usize = (0..200).map(|seed| simulate(4_000 + seed, faults).0).sum();
    assert!(n_fired > 1_000, "{n_fired} of 6000");
}

#[test]
fn who_is_dismissed_stays_counted_and_may_come_back() {
    let mut world = World::new(11, 3, Faults::default(), QUICK);
    world.step();
    world.register(1, Range { lo: 0, hi: 10 }, 1_000);
    world.step();
    (0..300).for_each(|i| world.element(i % 3, 5, 1));
    world.step();
    let (query, id) = (QueryId(1), ParticipantId(2));
    let mut out = Vec::new();
    let now = world.now;
    assert!(world.coordinator.dismiss(query, id, now, &mut out));
    assert!(!world.coordinator.dismiss(query, id, now, &mut out));
    world.take(out);
    (0..20).for_each(|_| world.step());
    let known = |world: &World| world.coordinator.progress(query).unwrap();
    let before = known(&world);
    assert_eq!((before.n_members, before.n_in), (2, 2));
    assert!(world.participants[2].as_ref().unwrap().is_empty());
    assert_eq!(world.coordinator.members(query).count(), 2);
    // What it counts meanwhile is not the trigger's.
    world.triggers[0].truth -= 50;
    (0..50).for_each(|_| world.element(2, 5, 1));
    let mut out = Vec::new();
    assert!(world.coordinator.admit(query, id, world.now, &mut out));
    world.take(out);
    (0..20).for_each(|_| world.step());
    for i in 0..900 {
        world.element(i % 3, 5, 1);
        world.step();
    }
    assert!(world.triggers[0].has_fired, "{:?}", known(&world));
}

#[test]
fn a_hundred_participants_send_two_hundred_times_fewer_messages_than_hits() {
    const HITS: u64 = 1_000_000;
    for is_skewed in [false, true] {
        let mut world = World::new(7, 100, Faults::default(), Patience::default());
        world.step();
        world.register(1, Range { lo: 0, hi: 10 }, HITS);
        world.step();
        let before = world.n_letters;
        let mut n = 0;
        while !world.triggers[0].has_fired {
            let at = world.random.below(100);
            let at = if is_skewed {
                at * world.random.below(100) / 100
            } else {
                at
            };
            world.element(at as u32, 3, 1);
            world.deliver();
            n += 1;
            if n % 500 == 0 {
                world.step();
            }
        }
        let sent = world.n_letters - before;
        assert_eq!(n, HITS, "fired {} late", n - HITS);
        assert!(sent * 200 <= HITS, "{sent} messages");
    }
}
