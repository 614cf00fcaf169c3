//! Coordinator and participants over a network that loses, repeats and delays, with lives that end. (ALGORITHMS 2.7)
//!
//! Everything follows from a seed. Known to the test alone: how much truly lay inside each trigger's box.

use std::time::Duration;

use hsw_types::Monotonic;

use crate::{
    Config, Coordinator, Down, Output, Participant, ParticipantId, Patience, QueryId, Range, Up,
};

const STEP: Duration = Duration::from_millis(100);

/// For a network that loses: everything is repeated soon.
const QUICK: Patience = Patience {
    repeat: Duration::from_secs(2),
    repeat_max: Duration::from_secs(20),
    confirm: Duration::from_secs(10),
    collect: Duration::from_secs(2),
    answer: Duration::from_secs(10),
};

/// Splitmix64.
struct Random(u64);

impl Random {
    const fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    const fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    drop_percent: u64,
    repeat_percent: u64,
    /// Longest delay, in steps; every message draws its own, so they overtake each other.
    delay_max: u64,
    /// Of a step, in 10,000.
    restarts: u64,
    deaths: u64,
    coordinator_restarts: u64,
}

enum Letter {
    Down(ParticipantId, Down),
    Up(ParticipantId, Up),
}

impl Letter {
    fn copy(&self) -> Self {
        match self {
            Self::Down(to, message) => Self::Down(*to, message.clone()),
            Self::Up(from, message) => Self::Up(*from, *message),
        }
    }
}

struct Trigger {
    id: QueryId,
    range: Range,
    threshold: u64,
    truth: u64,
    known: u64,
    has_fired: bool,
}

struct World {
    random: Random,
    faults: Faults,
    patience: Patience,
    now: Monotonic,
    n_steps: u64,
    coordinator: Coordinator,
    incarnation: u32,
    /// None once dead for good.
    participants: Vec<Option<Participant>>,
    epoch: u64,
    letters: Vec<(u64, u64, Letter)>,
    n_letters: u64,
    triggers: Vec<Trigger>,
}

impl World {
    fn new(seed: u64, n: u32, faults: Faults, patience: Patience) -> Self {
        let mut world = Self {
            random: Random(seed),
            faults,
            patience,
            now: Monotonic(0),
            n_steps: 0,
            coordinator: Coordinator::new(1, patience),
            incarnation: 1,
            participants: Vec::new(),
            epoch: 1,
            letters: Vec::new(),
            n_letters: 0,
            triggers: Vec::new(),
        };
        for i in 0..n {
            world.participants.push(None);
            world.live(i);
        }
        world
    }

    fn live(&mut self, i: u32) {
        let mut out = Vec::new();
        self.epoch += 1;
        let life = Participant::new(
            self.epoch,
            1,
            Config::default(),
            self.patience,
            self.now,
            &mut out,
        );
        self.participants[i as usize] = Some(life);
        self.send_up(i, out);
    }

    fn members(&self) -> impl Iterator<Item = ParticipantId> + use<> {
        (0..self.participants.len() as u32).map(ParticipantId)
    }

    fn register(&mut self, id: u64, range: Range, threshold: u64) {
        let (id, mut out) = (QueryId(id), Vec::new());
        let members = self.members();
        let is_new =
            self.coordinator
                .register(id, vec![range], threshold, members, self.now, &mut out);
        assert!(is_new);
        self.triggers.push(Trigger {
            id,
            range,
            threshold,
            truth: 0,
            known: 0,
            has_fired: false,
        });
        self.take(out);
    }

    fn post(&mut self, letter: Letter) {
        self.n_letters += 1;
        let n_copies = 1 + u64::from(self.random.percent(self.faults.repeat_percent));
        for _ in 0..n_copies {
            if !self.random.percent(self.faults.drop_percent) {
                let at = self.n_steps + self.random.below(self.faults.delay_max + 1);
                let order = self.letters.len() as u64;
                self.letters.push((at, order, letter.copy()));
            }
        }
    }

    fn send_up(&mut self, from: u32, messages: Vec<Up>) {
        for message in messages {
            self.post(Letter::Up(ParticipantId(from), message));
        }
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, message } => self.post(Letter::Down(to, message)),
                Output::Fired { query, count } => {
                    let trigger = self.triggers.iter_mut().find(|t| t.id == query).unwrap();
                    assert!(!trigger.has_fired, "{query:?} fired twice");
                    assert!(count >= trigger.threshold, "{query:?} told {count}");
                    assert!(trigger.truth >= count, "{query:?} fired early: {count}");
                    trigger.has_fired = true;
                }
            }
        }
    }

    /// Delivers until nothing is due in this step.
    fn deliver(&mut self) {
        loop {
            let n_steps = self.n_steps;
            let due = |(at, ..): &mut (u64, u64, Letter)| *at <= n_steps;
            let mut due: Vec<_> = self.letters.extract_if(.., due).collect();
            if due.is_empty() {
                return;
            }
            due.sort_by_key(|(at, order, _)| (*at, *order));
            for (_, _, letter) in due {
                match letter {
                    Letter::Down(to, message) => {
                        let mut out = Vec::new();
                        if let Some(one) = &mut self.participants[to.0 as usize] {
                            one.hear(message, self.now, &mut out);
                        }
                        self.send_up(to.0, out);
                    }
                    Letter::Up(from, message) => {
                        let mut out = Vec::new();
                        self.coordinator.hear(from, message, self.now, &mut out);
                        self.take(out);
                    }
                }
            }
        }
    }

    fn element(&mut self, at: u32, key: u64, weight: u64) {
        let mut out = Vec::new();
        let Some(participant) = &mut self.participants[at as usize] else {
            return;
        };
        for trigger in &mut self.triggers {
            trigger.truth += if trigger.range.contains(key) {
                weight
            } else {
                0
            };
        }
        participant.add(&[key], weight, self.now, &mut out);
        self.send_up(at, out);
    }

    fn restart_coordinator(&mut self) {
        self.incarnation += 1;
        self.coordinator = Coordinator::new(self.incarnation, self.patience);
        self.triggers.iter_mut().for_each(|one| one.known = 0);
        let mut out = Vec::new();
        for trigger in self.triggers.iter().filter(|trigger| !trigger.has_fired) {
            let ranges = vec![trigger.range];
            let members = self.members();
            self.coordinator.register(
                trigger.id,
                ranges,
                trigger.threshold,
                members,
                self.now,
                &mut out,
            );
        }
        self.take(out);
        // Connections are new, so every participant greets.
        for i in 0..self.participants.len() {
            if let Some(one) = &mut self.participants[i] {
                let hello = one.greet(self.now);
                self.send_up(i as u32, vec![hello]);
            }
        }
    }

    fn step(&mut self) {
        self.n_steps += 1;
        self.now = self.now + STEP;
        let n = self.participants.len() as u64;
        if self.random.below(10_000) < self.faults.restarts {
            let i = self.random.below(n) as u32;
            if self.participants[i as usize].is_some() {
                self.live(i);
            }
        }
        if self.random.below(10_000) < self.faults.deaths {
            let i = self.random.below(n) as usize;
            self.participants[i] = None;
        }
        if self.random.below(10_000) < self.faults.coordinator_restarts {
            self.restart_coordinator();
        }
        self.deliver();
        if self.n_steps.is_multiple_of(10) {
            let mut out = Vec::new();
            self.coordinator.tick(self.now, &mut out);
            self.take(out);
            for i in 0..n as usize {
                let mut out = Vec::new();
                if let Some(one) = &mut self.participants[i] {
                    one.tick(self.now, &mut out);
                }
                self.send_up(i as u32, out);
            }
        }
    }

    fn check_that_nothing_known_is_forgotten(&mut self) {
        for trigger in self.triggers.iter_mut().filter(|one| !one.has_fired) {
            let (known, _) = self.coordinator.progress(trigger.id).unwrap();
            assert!(known >= trigger.known, "{:?} forgot", trigger.id);
            trigger.known = known;
        }
    }

    /// Weight that somebody alive has counted or somebody has told.
    fn surviving(&self, query: QueryId) -> u64 {
        let count = |(i, one): (usize, &Option<Participant>)| {
            let (carried, known) = self
                .coordinator
                .known_of(query, ParticipantId(i as u32))
                .unwrap();
            let counted = one.as_ref().and_then(|one| one.count(query)).unwrap_or(0);
            carried + counted.max(known)
        };
        self.participants.iter().enumerate().map(count).sum()
    }
}

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
