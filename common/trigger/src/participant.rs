//! The agent's half of a distributed trigger: its slack is itself a trigger of its own forest. (ALGORITHMS 2.5)
//!
//! In: weighted elements, messages of the coordinator, ticks. Out: messages.
//! Invariants: PA-1 a count is what lay inside the box since the trigger came in this epoch, exactly. PA-2 once what is
//! told has arrived, the coordinator knows all but less than one slack of it. PA-3 no element costs more than the forest
//! does: triggers are not scanned.
//! Limits: those of the forest. Memory: a box and five numbers per trigger beside it.
//! Does not: survive its process: a new life has a higher epoch and counts from zero, what was told before stays known.

use std::collections::BTreeMap;
use std::time::Duration;

use hsw_types::Monotonic;

use crate::choose::Config;
use crate::forest::{Error, Forest};
use crate::message::{Down, Patience, Up, Why};
use crate::range::{QueryId, Range, WEIGHT_MAX};

/// One participant.
#[derive(Debug)]
pub struct Participant {
    epoch: u64,
    patience: Patience,
    forest: Forest,
    watches: BTreeMap<QueryId, Watch>,
    unheard: BTreeMap<QueryId, Waiting>,
    /// When to greet again; none once welcomed.
    greet: Option<Waiting>,
    /// Triggers it could not take, because its forest refused them.
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
    ranges: Vec<Range>,
}

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
        n_dimensions: usize,
        config: Config,
        patience: Patience,
        now: Monotonic,
        out: &mut Vec<Up>,
    ) -> Self {
        out.push(Up::Hello { epoch });
        Self {
            epoch,
            patience,
            forest: Forest::new(n_dimensions, config),
            watches: BTreeMap::new(),
            unheard: BTreeMap::new(),
            greet: Some(Waiting::new(0, now, patience.collect)),
            n_refused: 0,
        }
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
        let left = self.forest.remaining(query)?;
        Some(watch.count + (watch.need - left))
    }

    /// Takes an element; appends the signals it causes.
    pub fn add(&mut self, point: &[u64], weight: u64, now: Monotonic, out: &mut Vec<Up>) {
        let matured = self.forest.add(point, weight);
        if matured.is_empty() {
            return;
        }
        let matured = matured.to_vec();
        for one in matured {
            if let Some(watch) = self.watches.get_mut(&one.id) {
                watch.count = watch.count.saturating_add(watch.need + one.over);
                self.tell(one.id, Why::Signal, now, out);
                self.arm(one.id);
            }
        }
    }

    /// Takes a message; appends the answer, if there is one.
    pub fn hear(&mut self, message: Down, now: Monotonic, out: &mut Vec<Up>) {
        match message {
            Down::Welcome { epoch } => {
                if epoch == self.epoch {
                    self.greet = None;
                }
            }
            Down::Watch {
                query,
                epoch,
                round,
                slack,
                base,
                ranges,
            } => {
                if epoch == self.epoch {
                    let round = (round, slack.max(1), base);
                    self.watch(query, round, ranges, now, out);
                }
            }
            Down::Collect { query, round } => {
                // What it does not know it has counted nothing for in this epoch.
                let count = self.count(query).unwrap_or(0);
                out.push(self.report(query, round, count, Why::Answer));
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
                self.forest.terminate(query);
                self.watches.remove(&query);
                self.unheard.remove(&query);
            }
        }
    }

    fn watch(
        &mut self,
        query: QueryId,
        (round, slack, base): (u64, u64, u64),
        ranges: Vec<Range>,
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
                out.push(self.report(query, round, count, Why::Answer));
                return;
            }
            self.forest.terminate(query);
            (watch.round, watch.slack, watch.base) = (round, slack, base);
            watch.count = count;
            self.unheard.remove(&query);
            if count.saturating_sub(base) >= slack {
                self.tell(query, Why::Signal, now, out);
            }
        } else {
            let watch = Watch {
                round,
                slack,
                base,
                count: 0,
                need: 0,
                ranges,
            };
            self.watches.insert(query, watch);
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
        watch.need = (to_base + watch.slack - beyond % watch.slack).min(WEIGHT_MAX);
        let armed: Result<(), Error> = self.forest.register(query, &watch.ranges, watch.need);
        if armed.is_err() {
            self.watches.remove(&query);
            self.unheard.remove(&query);
            self.n_refused += 1;
        }
    }

    /// Tells a count, and remembers to tell it again.
    fn tell(&mut self, query: QueryId, why: Why, now: Monotonic, out: &mut Vec<Up>) {
        if let Some(watch) = self.watches.get(&query) {
            let waiting = Waiting::new(watch.count, now, self.patience.repeat);
            self.unheard.insert(query, waiting);
            out.push(self.report(query, watch.round, watch.count, why));
        }
    }

    const fn report(&self, query: QueryId, round: u64, count: u64, why: Why) -> Up {
        Up::Report {
            query,
            epoch: self.epoch,
            round,
            count,
            why,
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: QueryId = QueryId(4);
    const NOW: Monotonic = Monotonic(0);

    fn participant() -> Participant {
        let patience = Patience::default();
        Participant::new(7, 1, Config::default(), patience, NOW, &mut Vec::new())
    }

    fn watch(round: u64, slack: u64, base: u64) -> Down {
        Down::Watch {
            query: ID,
            epoch: 7,
            round,
            slack,
            base,
            ranges: vec![Range { lo: 10, hi: 20 }],
        }
    }

    fn told(round: u64, count: u64, why: Why) -> Vec<Up> {
        vec![Up::Report {
            query: ID,
            epoch: 7,
            round,
            count,
            why,
        }]
    }

    fn hear(one: &mut Participant, message: Down) -> Vec<Up> {
        let mut out = Vec::new();
        one.hear(message, NOW, &mut out);
        out
    }

    fn add(one: &mut Participant, weight: u64) -> Vec<Up> {
        let mut out = Vec::new();
        one.add(&[15], weight, NOW, &mut out);
        out
    }

    #[test]
    fn a_signal_is_told_once_per_slack_with_the_exact_count() {
        let mut one = participant();
        assert_eq!(hear(&mut one, watch(1, 10, 0)), []);
        assert_eq!(add(&mut one, 9), []);
        assert_eq!(add(&mut one, 13), told(1, 22, Why::Signal));
        assert_eq!(add(&mut one, 7), []);
        assert_eq!(add(&mut one, 1), told(1, 30, Why::Signal));
    }

    #[test]
    fn what_was_counted_while_a_round_was_on_its_way_is_told_at_once() {
        let mut one = participant();
        hear(&mut one, watch(1, 100, 0));
        add(&mut one, 30);
        assert_eq!(hear(&mut one, watch(2, 8, 20)), told(2, 30, Why::Signal));
        assert_eq!(add(&mut one, 5), []);
        assert_eq!(add(&mut one, 1), told(2, 36, Why::Signal));
        assert_eq!(hear(&mut one, watch(3, 8, 36)), []);
    }

    #[test]
    fn an_earlier_round_changes_nothing_and_the_same_once_more_is_answered() {
        let mut one = participant();
        hear(&mut one, watch(5, 10, 0));
        add(&mut one, 3);
        assert_eq!(hear(&mut one, watch(4, 1, 0)), []);
        assert_eq!(add(&mut one, 3), []);
        assert_eq!(hear(&mut one, watch(5, 10, 0)), told(5, 6, Why::Answer));
        assert_eq!(add(&mut one, 4), told(5, 10, Why::Signal));
        let collect = Down::Collect {
            query: ID,
            round: 5,
        };
        assert_eq!(hear(&mut one, collect), told(5, 10, Why::Answer));
    }

    #[test]
    fn a_message_for_another_life_is_not_heard() {
        let mut one = participant();
        let mut other = watch(1, 1, 0);
        if let Down::Watch { epoch, .. } = &mut other {
            *epoch = 6;
        }
        assert_eq!(hear(&mut one, other), []);
        assert!(one.is_empty() && add(&mut one, 5).is_empty());
    }

    #[test]
    fn a_signal_is_repeated_until_it_is_heard_and_at_once_over_a_new_connection() {
        let mut one = participant();
        hear(&mut one, Down::Welcome { epoch: 7 });
        hear(&mut one, watch(1, 10, 0));
        add(&mut one, 10);
        let mut out = Vec::new();
        let (soon, later) = (Monotonic(1_000_000), Monotonic(70_000_000));
        one.tick(soon, &mut out);
        assert_eq!(out, []);
        one.tick(later, &mut out);
        assert_eq!(out, told(1, 10, Why::Repeat));
        one.greet(later);
        out.clear();
        one.tick(later, &mut out);
        assert_eq!(out, told(1, 10, Why::Repeat));
        let heard = Down::Heard {
            query: ID,
            epoch: 7,
            count: 10,
        };
        hear(&mut one, heard);
        hear(&mut one, Down::Welcome { epoch: 7 });
        out.clear();
        one.tick(Monotonic(9_000_000_000), &mut out);
        assert_eq!(out, []);
    }

    #[test]
    fn a_box_that_the_forest_refuses_is_counted_and_not_watched() {
        let mut one = participant();
        let mut bad = watch(1, 1, 0);
        if let Down::Watch { ranges, .. } = &mut bad {
            ranges.clear();
        }
        assert_eq!(hear(&mut one, bad), []);
        assert!(one.is_empty() && one.n_refused() == 1);
    }
}
