//! A world for the tests: a coordinator, participants, a network that loses, repeats and delays, lives that end.
//!
//! Everything follows from a seed. Known to the test alone: how much truly lay inside each trigger's box.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hsw_types::Monotonic;

use crate::{
    Config, Coordinator, Down, Element, Known, Measure, Output, Participant, ParticipantId,
    Patience, Progress, QueryId, Question, Range, Space, Up, Weight,
};

pub(crate) const STEP: Duration = Duration::from_millis(100);

/// For a network that loses: everything is repeated soon.
pub(crate) const QUICK: Patience = Patience {
    repeat: Duration::from_secs(2),
    repeat_max: Duration::from_secs(20),
    confirm: Duration::from_secs(10),
    collect: Duration::from_secs(2),
    answer: Duration::from_secs(10),
};

/// Splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(crate) const fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) drop_percent: u64,
    pub(crate) repeat_percent: u64,
    /// Longest delay, in steps; every message draws its own, so they overtake each other.
    pub(crate) delay_max: u64,
    /// Of a step, in 10,000.
    pub(crate) restarts: u64,
    pub(crate) deaths: u64,
    pub(crate) coordinator_restarts: u64,
    /// The coordinator keeps what it knows, and is told it again when it restarts.
    pub(crate) is_kept: bool,
    /// Participants that take part later than the others.
    pub(crate) n_late: u32,
}

pub(crate) enum Letter {
    Down(ParticipantId, Down),
    Up(ParticipantId, Up),
}

impl Letter {
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Down(to, message) => Self::Down(*to, message.clone()),
            Self::Up(from, message) => Self::Up(*from, *message),
        }
    }
}

pub(crate) struct Trigger {
    pub(crate) id: QueryId,
    pub(crate) range: Range,
    pub(crate) threshold: u64,
    pub(crate) truth: u64,
    pub(crate) known: u64,
    pub(crate) has_fired: bool,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) patience: Patience,
    pub(crate) now: Monotonic,
    pub(crate) n_steps: u64,
    pub(crate) coordinator: Coordinator,
    pub(crate) incarnation: u32,
    /// None once dead for good.
    pub(crate) participants: Vec<Option<Participant>>,
    pub(crate) epoch: u64,
    pub(crate) letters: Vec<(u64, u64, Letter)>,
    pub(crate) n_letters: u64,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) kept: BTreeMap<(QueryId, ParticipantId), Known>,
    /// Participants that take part.
    pub(crate) n_members: u32,
}

impl World {
    pub(crate) fn new(seed: u64, n: u32, faults: Faults, patience: Patience) -> Self {
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
            kept: BTreeMap::new(),
            n_members: n - faults.n_late.min(n - 1),
        };
        for i in 0..n {
            world.participants.push(None);
            world.live(i);
        }
        world
    }

    pub(crate) fn live(&mut self, i: u32) {
        let mut out = Vec::new();
        self.epoch += 1;
        let life = Participant::new(
            self.epoch,
            Config::default(),
            self.patience,
            self.now,
            &mut out,
        );
        let before = self.participants[i as usize].replace(life);
        // Every second life remembers what the one before counted for.
        if let (Some(before), Some(life)) = (before, &mut self.participants[i as usize])
            && self.random.percent(50)
        {
            for (query, question) in before.questions() {
                life.remember(query, Arc::clone(question));
            }
        }
        self.send_up(i, out);
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = ParticipantId> + use<> {
        (0..self.n_members).map(ParticipantId)
    }

    /// Everybody takes part from now on.
    pub(crate) fn admit_the_late(&mut self) {
        let mut out = Vec::new();
        while (self.n_members as usize) < self.participants.len() {
            let id = ParticipantId(self.n_members);
            self.n_members += 1;
            for trigger in self.triggers.iter().filter(|trigger| !trigger.has_fired) {
                let now = self.now;
                assert!(self.coordinator.admit(trigger.id, id, now, &mut out));
                assert!(!self.coordinator.admit(trigger.id, id, now, &mut out));
            }
        }
        self.take(out);
    }

    pub(crate) fn register(&mut self, id: u64, range: Range, threshold: u64) {
        let (id, mut out) = (QueryId(id), Vec::new());
        let members = self.members().map(|id| (id, Known::default()));
        let question = question(range);
        let is_new = self
            .coordinator
            .register(id, question, threshold, members, self.now, &mut out);
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

    pub(crate) fn post(&mut self, letter: Letter) {
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

    pub(crate) fn send_up(&mut self, from: u32, messages: Vec<Up>) {
        for message in messages {
            self.post(Letter::Up(ParticipantId(from), message));
        }
    }

    pub(crate) fn take(&mut self, outputs: Vec<Output>) {
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
    pub(crate) fn deliver(&mut self) {
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

    pub(crate) fn element(&mut self, at: u32, key: u64, weight: u64) {
        let mut out = Vec::new();
        let Some(participant) = &mut self.participants[at as usize] else {
            return;
        };
        for trigger in &mut self.triggers {
            let counts = at < self.n_members && trigger.range.contains(key);
            trigger.truth += if counts { weight } else { 0 };
        }
        let element = Element {
            measures: [Some(key), None, None],
            weights: [1, weight, 0],
            ..Element::default()
        };
        participant.add(&element, self.now, &mut out);
        self.send_up(at, out);
    }

    pub(crate) fn restart_coordinator(&mut self) {
        self.incarnation += 1;
        self.coordinator = Coordinator::new(self.incarnation, self.patience);
        if !self.faults.is_kept {
            self.kept.clear();
            self.triggers.iter_mut().for_each(|one| one.known = 0);
        }
        let mut out = Vec::new();
        for trigger in self.triggers.iter().filter(|trigger| !trigger.has_fired) {
            let kept = |id| (id, self.kept.get(&(trigger.id, id)).copied());
            let members = self.members().map(kept);
            let members: Vec<_> = members.map(|(id, k)| (id, k.unwrap_or_default())).collect();
            self.coordinator.register(
                trigger.id,
                question(trigger.range),
                trigger.threshold,
                members,
                self.now,
                &mut out,
            );
        }
        self.take(out);
        // Connections are new, so every participant greets; a welcome dies with the connection it was sent over.
        let is_welcome = |letter: &Letter| matches!(letter, Letter::Down(_, Down::Welcome { .. }));
        self.letters.retain(|(.., letter)| !is_welcome(letter));
        for i in 0..self.participants.len() {
            if let Some(one) = &mut self.participants[i] {
                let hello = one.greet(self.now);
                self.send_up(i as u32, vec![hello]);
            }
        }
    }

    pub(crate) fn step(&mut self) {
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
        for (query, id, known) in self.coordinator.take_changed() {
            self.kept.insert((query, id), known);
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

    pub(crate) fn check_that_nothing_known_is_forgotten(&mut self) {
        for trigger in self.triggers.iter_mut().filter(|one| !one.has_fired) {
            let Progress { known, .. } = self.coordinator.progress(trigger.id).unwrap();
            assert!(known >= trigger.known, "{:?} forgot", trigger.id);
            trigger.known = known;
        }
    }

    /// Weight that somebody alive has counted or somebody has told.
    pub(crate) fn surviving(&self, query: QueryId) -> u64 {
        let count = |(i, one): (usize, &Option<Participant>)| {
            let known = self
                .coordinator
                .known_of(query, ParticipantId(i as u32))
                .unwrap();
            let counted = one.as_ref().and_then(|one| one.count(query)).unwrap_or(0);
            known.carried + counted.max(known.count)
        };
        self.participants.iter().enumerate().map(count).sum()
    }
}

pub(crate) fn question(range: Range) -> Arc<Question> {
    let space = Space::new(&[Measure::LatencyMs], Weight::Rows).unwrap();
    Arc::new(Question::new(space, [None; 4], vec![range]).unwrap())
}
