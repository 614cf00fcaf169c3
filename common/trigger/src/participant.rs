//! The agent's half of a distributed trigger: its slack is itself a trigger of its own forests. (ALGORITHMS 2.5)
//!
//! In: weighted elements, messages of the coordinator, ticks. Out: messages.
//! Invariants: PA-1 a count is what lay inside the box since the trigger came in this epoch, exactly. PA-2 once what is
//! told has arrived, the coordinator knows all but less than one slack of it. PA-3 no element costs more than the forest
//! does: triggers are not scanned. PA-4 what an earlier life counted for and a later one remembers is counted from its
//! first element on, before anybody has asked.
//! Limits: [`Config::n_queries_max`] triggers; a forest per [`Space`] and combination of named categories in use. Memory:
//! a box and six numbers per trigger beside the forest. Does not: survive its process: a new life has a higher epoch and
//! counts from zero, what was told before stays known ([`Participant::tell_all`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hsw_types::Monotonic;

use crate::choose::Config;
use crate::forest::{Error, Matured};
use crate::message::{Down, Patience, Up, Why};
use crate::range::{QueryId, WEIGHT_MAX};
use crate::route::Router;
use crate::space::{Element, N_CATEGORIES, Question, Space};

/// One participant.
#[derive(Debug)]
pub struct Participant {
    epoch: u64,
    patience: Patience,
    config: Config,
    routers: BTreeMap<Space, Router>,
    matured: Vec<Matured>,
    watches: BTreeMap<QueryId, Watch>,
    unheard: BTreeMap<QueryId, Waiting>,
    /// When to greet again; none once welcomed.
    greet: Option<Waiting>,
    /// Raised whenever what it counts for becomes more or less.
    n_changes: u64,
    /// Triggers it could not take: too many, or refused by the forest.
    n_refused: u64,
}

#[derive(Debug)]
struct Watch {
    round: u64,
    slack: u64,
    base: u64,
    /// Counted when the local trigger was registered.
    count: u64,
    /// The local trigger's threshold.
    need: u64,
    /// The highest count that was told.
    told: u64,
    question: Arc<Question>,
}

/// The round of what is remembered: before every one of a coordinator's.
const REMEMBERED: u64 = 0;

/// Something told that nothing has followed yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    count: u64,
    at: Monotonic,
    pause: Duration,
}

impl Waiting {
    fn new(count: u64, now: Monotonic, pause: Duration) -> Self {
        Self {
            count,
            at: now + pause,
            pause,
        }
    }

    /// Whether it is time; the next pause is twice as long then.
    fn is_due(&mut self, now: Monotonic, patience: Patience) -> bool {
        let is_due = now >= self.at;
        if is_due {
            self.pause = (self.pause * 2).min(patience.repeat_max);
            self.at = now + self.pause;
        }
        is_due
    }
}

impl Participant {
    /// Begins a life; `epoch` is higher than that of each life before (the incarnation of the spool is). Appends the
    /// greeting.
    #[must_use]
    pub fn new(
        epoch: u64,
        config: Config,
        patience: Patience,
        now: Monotonic,
        out: &mut Vec<Up>,
    ) -> Self {
        out.push(Up::Hello { epoch });
        Self {
            epoch,
            patience,
            config,
            routers: BTreeMap::new(),
            matured: Vec::new(),
            watches: BTreeMap::new(),
            unheard: BTreeMap::new(),
            greet: Some(Waiting::new(0, now, patience.collect)),
            n_changes: 0,
            n_refused: 0,
        }
    }

    /// Counts for a trigger of an earlier life, until the coordinator says what becomes of it; before anything is added.
    pub fn remember(&mut self, query: QueryId, question: Arc<Question>) {
        if self.watches.len() < self.config.n_queries_max && !self.watches.contains_key(&query) {
            let watch = Watch {
                round: REMEMBERED,
                slack: WEIGHT_MAX,
                base: 0,
                count: 0,
                need: 0,
                told: 0,
                question,
            };
            self.watches.insert(query, watch);
            self.arm(query);
        }
    }

    /// What it counts for: to be remembered by the next life.
    pub fn questions(&self) -> impl Iterator<Item = (QueryId, &Arc<Question>)> {
        let watches = self.watches.iter();
        watches.map(|(&query, watch)| (query, &watch.question))
    }

    /// How often that has changed.
    #[must_use]
    pub const fn n_changes(&self) -> u64 {
        self.n_changes
    }

    /// A connection is new: greets again, until it is welcomed, and repeats with the next tick what nothing has followed.
    /// The epoch stays, counts go on.
    pub fn greet(&mut self, now: Monotonic) -> Up {
        self.greet = Some(Waiting::new(0, now, self.patience.collect));
        for unheard in self.unheard.values_mut() {
            unheard.at = now;
        }
        Up::Hello { epoch: self.epoch }
    }

    /// Triggers it counts for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Whether it counts for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Triggers refused since the life began: too many, or a box that cannot be.
    #[must_use]
    pub const fn n_refused(&self) -> u64 {
        self.n_refused
    }

    /// Weight counted for a trigger in this epoch.
    #[must_use]
    pub fn count(&self, query: QueryId) -> Option<u64> {
        let watch = self.watches.get(&query)?;
        let left = self
            .routers
            .get(&watch.question.space())?
            .remaining(query)?;
        Some(watch.count + (watch.need - left))
    }

    /// Takes an element; appends the signals it causes.
    pub fn add(&mut self, element: &Element, now: Monotonic, out: &mut Vec<Up>) {
        let mut matured = std::mem::take(&mut self.matured);
        for (&space, router) in &mut self.routers {
            if let Some((point, weight)) = element.point(space) {
                let point = &point[..space.n_dimensions()];
                matured.extend_from_slice(router.add(&element.categories, point, weight));
            }
        }
        for one in matured.drain(..) {
            if let Some(watch) = self.watches.get_mut(&one.id) {
                watch.count = watch.count.saturating_add(watch.need + one.over);
                self.tell(one.id, Why::Signal, now, out);
                self.arm(one.id);
            }
        }
        self.matured = matured;
    }

    /// Tells every count that nobody is known to have heard: for the end of a life, so that nothing is lost with it.
    pub fn tell_all(&mut self, out: &mut Vec<Up>) {
        let queries: Vec<_> = self.watches.keys().copied().collect();
        for query in queries {
            let told = self.watches.get(&query).map_or(0, |watch| watch.told);
            let is_unheard = self.unheard.contains_key(&query);
            let count = self.count(query);
            if let Some(count) = count.filter(|&count| count > told || is_unheard) {
                self.report(query, count, Why::Signal, out);
            }
        }
    }

    /// Takes a message; appends the answer, if there is one.
    pub fn hear(&mut self, message: Down, now: Monotonic, out: &mut Vec<Up>) {
        match message {
            Down::Welcome { epoch } => {
                if epoch == self.epoch && self.greet.take().is_some() {
                    self.tell_what_it_counts(out);
                }
            }
            Down::Watch {
                query,
                epoch,
                round,
                slack,
                base,
                question,
            } => {
                if epoch == self.epoch {
                    let round = (round, slack.max(1), base);
                    self.watch(query, round, question, now, out);
                }
            }
            Down::Collect { query, round } => {
                // What it does not know it has counted nothing for in this epoch.
                let count = self.count(query).unwrap_or(0);
                if let Some(watch) = self.watches.get_mut(&query) {
                    watch.told = count;
                }
                out.push(report(query, self.epoch, round, count, Why::Answer));
            }
            Down::Heard {
                query,
                epoch,
                count,
            } => {
                let unheard = self.unheard.get(&query);
                if epoch == self.epoch && unheard.is_some_and(|unheard| unheard.count <= count) {
                    self.unheard.remove(&query);
                }
            }
            Down::Forget { query } => {
                self.disarm(query);
                let was_there = self.watches.remove(&query).is_some();
                self.n_changes += u64::from(was_there);
                self.unheard.remove(&query);
                self.routers.retain(|_, router| !router.is_empty());
            }
        }
    }

    /// Over a new connection each count is told: a coordinator that does not know a trigger (any more) says so.
    fn tell_what_it_counts(&mut self, out: &mut Vec<Up>) {
        let queries: Vec<_> = self.watches.keys().copied().collect();
        for query in queries {
            let count = self.count(query).unwrap_or(0);
            self.report(query, count, Why::Answer, out);
        }
    }

    /// Takes the local trigger back.
    fn disarm(&mut self, query: QueryId) {
        let space = self.watches.get(&query).map(|watch| watch.question.space());
        if let Some(router) = space.and_then(|space| self.routers.get_mut(&space)) {
            router.terminate(query);
        }
    }

    fn watch(
        &mut self,
        query: QueryId,
        (round, slack, base): (u64, u64, u64),
        question: Arc<Question>,
        now: Monotonic,
        out: &mut Vec<Up>,
    ) {
        let count = self.count(query);
        if let Some(watch) = self.watches.get_mut(&query) {
            if round < watch.round {
                return;
            }
            let count = count.unwrap_or(watch.count);
            if round == watch.round {
                // Repeated: the coordinator does not know yet that it has arrived.
                self.report(query, count, Why::Answer, out);
                return;
            }
            (watch.round, watch.slack, watch.base) = (round, slack, base);
            watch.count = count;
            self.disarm(query);
            self.unheard.remove(&query);
            if count.saturating_sub(base) >= slack {
                self.tell(query, Why::Signal, now, out);
            }
        } else {
            if self.watches.len() >= self.config.n_queries_max {
                self.n_refused += 1;
                return;
            }
            let watch = Watch {
                round,
                slack,
                base,
                count: 0,
                need: 0,
                told: 0,
                question,
            };
            self.watches.insert(query, watch);
            self.n_changes += 1;
        }
        self.arm(query);
    }

    /// Registers the local trigger for the next signal. One that the forest refuses is dropped: the coordinator leaves
    /// out who does not answer.
    fn arm(&mut self, query: QueryId) {
        let Some(watch) = self.watches.get_mut(&query) else {
            return;
        };
        let beyond = watch.count.saturating_sub(watch.base);
        let to_base = watch.base.saturating_sub(watch.count);
        let left = watch.slack - beyond % watch.slack;
        watch.need = to_base.saturating_add(left).min(WEIGHT_MAX);
        let question = &*watch.question;
        let space = question.space();
        let router = self
            .routers
            .entry(space)
            .or_insert_with(|| Router::new(N_CATEGORIES, space.n_dimensions(), self.config));
        let armed: Result<(), Error> =
            router.register(query, question.categories(), question.ranges(), watch.need);
        if armed.is_err() {
            self.watches.remove(&query);
            self.unheard.remove(&query);
            self.n_changes += 1;
            self.n_refused += 1;
        }
    }

    /// Tells a count, and remembers to tell it again.
    fn tell(&mut self, query: QueryId, why: Why, now: Monotonic, out: &mut Vec<Up>) {
        if let Some(watch) = self.watches.get(&query) {
            let waiting = Waiting::new(watch.count, now, self.patience.repeat);
            self.unheard.insert(query, waiting);
            self.report(query, watch.count, why, out);
        }
    }

    fn report(&mut self, query: QueryId, count: u64, why: Why, out: &mut Vec<Up>) {
        if let Some(watch) = self.watches.get_mut(&query) {
            watch.told = count;
            out.push(report(query, self.epoch, watch.round, count, why));
        }
    }

    /// Lets time pass: repeats what nothing has followed. O(signals unheard); for once a second or so.
    pub fn tick(&mut self, now: Monotonic, out: &mut Vec<Up>) {
        let patience = self.patience;
        let epoch = self.epoch;
        if self
            .greet
            .as_mut()
            .is_some_and(|greet| greet.is_due(now, patience))
        {
            out.push(Up::Hello { epoch });
        }
        for (&query, unheard) in &mut self.unheard {
            if let Some(watch) = self.watches.get(&query)
                && unheard.is_due(now, patience)
            {
                out.push(Up::Report {
                    query,
                    epoch,
                    round: watch.round,
                    count: unheard.count,
                    why: Why::Repeat,
                });
            }
        }
    }
}

const fn report(query: QueryId, epoch: u64, round: u64, count: u64, why: Why) -> Up {
    Up::Report {
        query,
        epoch,
        round,
        count,
        why,
    }
}

#[cfg(test)]
#[path = "participant_tests.rs"]
mod tests;
