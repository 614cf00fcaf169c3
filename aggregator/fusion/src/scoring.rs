//! Between engine and model: what each shard showed in the last steps, what was asked, and what came in time. (step 11)
//!
//! In: a row a shard and window, and scores. Out: a [`Batch`] to score, the probability in force. Invariants: SG-1 a score
//! counts only until its deadline: what comes later, or was not asked for, is dropped and counted, and the statistical
//! fusion judges alone. SG-2 the same rows, scores and times give the same answers. SG-3 one batch is asked for at a time.
//! Limits: `N_STEPS` rows of [`N_COLUMNS`] a shard (13.7 KB). Does not: run a model.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hsw_types::{Monotonic, ShardId, WindowIndex};

use crate::layout::{Features, N_COLUMNS};
use crate::{Batch, Scores};

/// Windows a model looks back over, the newest among them.
const N_STEPS: usize = 16;

/// Windows after which a score says nothing of now any more.
const FRESH_WINDOWS: i64 = 3;

/// What became of scores that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// They are in force.
    Taken,
    /// They came after their deadline, or nobody had asked.
    Late,
}

/// See the module's header.
#[derive(Debug)]
pub struct Scoring {
    deadline: Duration,
    rows: BTreeMap<ShardId, VecDeque<(WindowIndex, Features)>>,
    asked: Option<(WindowIndex, Monotonic)>,
    in_force: Scores,
    n_asked: u64,
    n_taken: u64,
    n_late: u64,
}

impl Scoring {
    /// Scores count until so long after they were asked for.
    #[must_use]
    pub const fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            rows: BTreeMap::new(),
            asked: None,
            in_force: Scores {
                window: WindowIndex(i64::MIN / 2),
                shards: Vec::new(),
                sick: Vec::new(),
                soon: Vec::new(),
                reasons: BTreeMap::new(),
            },
            n_asked: 0,
            n_taken: 0,
            n_late: 0,
        }
    }

    /// What a shard showed at a window; windows ascend. A shard that shows nothing for long is forgotten.
    pub fn show(&mut self, shard: &ShardId, window: WindowIndex, features: Features) {
        if !self.rows.contains_key(shard) {
            self.rows.insert(shard.clone(), VecDeque::new());
        }
        if let Some(rows) = self.rows.get_mut(shard) {
            rows.push_back((window, features));
            while rows
                .front()
                .is_some_and(|(at, _)| window - *at >= N_STEPS as i64)
            {
                rows.pop_front();
            }
        }
    }

    /// What each shard showed at a window that is still kept, in order of their names.
    pub fn shown(&self, window: WindowIndex) -> impl Iterator<Item = (&ShardId, &Features)> {
        self.rows.iter().filter_map(move |(shard, rows)| {
            let at = rows.binary_search_by_key(&window, |(at, _)| *at).ok()?;
            Some((shard, &rows[at].1))
        })
    }

    /// The batch to score now: shards that showed something at `window`, with the edges among them. `None` while an
    /// earlier batch may still be answered. A step that is missing is what an unknown one is: [`Features::default`].
    /// O(shards × steps × columns).
    pub fn ask(
        &mut self,
        now: Monotonic,
        window: WindowIndex,
        edges: &[(ShardId, ShardId)],
    ) -> Option<Batch> {
        let is_waiting = |(_, until): (WindowIndex, Monotonic)| now <= until;
        if self.asked.is_some_and(is_waiting) {
            return None;
        }
        self.rows
            .retain(|_, rows| rows.back().is_some_and(|(at, _)| *at == window));
        if self.rows.is_empty() {
            return None;
        }
        let unknown = Features::default();
        let shards: Vec<ShardId> = self.rows.keys().cloned().collect();
        let mut history = Vec::with_capacity(shards.len() * N_STEPS * N_COLUMNS);
        for rows in self.rows.values() {
            let mut rows = rows.iter().peekable();
            for step in (0..N_STEPS as i64).rev() {
                let at = window + -step;
                while rows.next_if(|(w, _)| *w < at).is_some() {}
                let known = rows.next_if(|(w, _)| *w == at);
                let features = known.map_or(&unknown, |(_, features)| features);
                history.extend_from_slice(features.values());
            }
        }
        let row = |shard: &ShardId| shards.binary_search(shard).ok().map(|at| at as u32);
        let edges = edges
            .iter()
            .filter_map(|(from, to)| Some((row(from)?, row(to)?)))
            .collect();
        self.asked = Some((window, now + self.deadline));
        self.n_asked += 1;
        Some(Batch {
            window,
            shards,
            n_steps: N_STEPS,
            n_features: N_COLUMNS,
            history,
            edges,
        })
    }

    /// Scores that came.
    pub fn take(&mut self, now: Monotonic, scores: Scores) -> Answer {
        let in_time = self
            .asked
            .is_some_and(|(window, until)| window == scores.window && now <= until);
        let is_whole = scores.sick.len() == scores.shards.len();
        if !in_time || !is_whole {
            self.n_late += 1;
            return Answer::Late;
        }
        self.asked = None;
        self.n_taken += 1;
        self.in_force = scores;
        Answer::Taken
    }

    /// The probability that a shard is sick at `window`, by the model; `None` where the statistical fusion judges alone.
    #[must_use]
    pub fn sick(&self, shard: &ShardId, window: WindowIndex) -> Option<f64> {
        self.told(&self.in_force.sick, shard, window)
    }

    /// The same for an incident within ten minutes.
    #[must_use]
    pub fn soon(&self, shard: &ShardId, window: WindowIndex) -> Option<f64> {
        self.told(&self.in_force.soon, shard, window)
    }

    /// What adds most to the model's verdict on a shard, strongest first; empty where it is well or nobody says.
    #[must_use]
    pub fn reasons(&self, shard: &ShardId, window: WindowIndex) -> &[(String, f32)] {
        match self.sick(shard, window) {
            Some(_) => self.in_force.reasons.get(shard).map_or(&[], Vec::as_slice),
            None => &[],
        }
    }

    /// Counts since the start: batches asked for, answered in time, answered late or unasked.
    #[must_use]
    pub const fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("batches_asked", self.n_asked),
            ("batches_scored", self.n_taken),
            ("batches_late", self.n_late),
        ]
    }

    fn told(&self, values: &[f32], shard: &ShardId, window: WindowIndex) -> Option<f64> {
        let age = window - self.in_force.window;
        if !(0..=FRESH_WINDOWS).contains(&age) {
            return None;
        }
        let at = self.in_force.shards.binary_search(shard).ok()?;
        values.get(at).copied().map(f64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::AT_LOG;

    const DEADLINE: Duration = Duration::from_millis(400);

    fn shard(name: &str) -> ShardId {
        ShardId::new(name).unwrap()
    }

    fn ms(ms: u64) -> Monotonic {
        Monotonic(ms * 1_000)
    }

    fn features(value: f64) -> Features {
        let mut features = Features::default();
        features.set(AT_LOG, value);
        features
    }

    fn shown() -> Scoring {
        let mut scoring = Scoring::new(DEADLINE);
        for window in 0..40 {
            for name in ["b", "a"] {
                // One window is missing.
                if window != 35 {
                    scoring.show(&shard(name), WindowIndex(window), features(window as f64));
                }
            }
        }
        scoring
    }

    fn scores(window: i64, sick: f32) -> Scores {
        Scores {
            window: WindowIndex(window),
            shards: vec![shard("a"), shard("b")],
            sick: vec![sick, 0.5],
            ..Scores::default()
        }
    }

    #[test]
    fn a_batch_holds_the_last_steps_of_each_shard_and_what_is_missing_is_unknown() {
        let mut scoring = shown();
        let edges = [(shard("b"), shard("a")), (shard("gone"), shard("a"))];
        let batch = scoring.ask(ms(0), WindowIndex(39), &edges).unwrap();
        assert_eq!(batch.check(), None);
        assert_eq!(batch.shards, [shard("a"), shard("b")]);
        assert_eq!(batch.edges, [(1, 0)]);
        let steps: Vec<f32> = batch
            .history
            .chunks(N_COLUMNS)
            .take(N_STEPS)
            .map(|step| step[AT_LOG])
            .collect();
        let expected = (24..40).map(|w| if w == 35 { 0.0 } else { w as f32 });
        assert_eq!(steps, expected.collect::<Vec<_>>());
        assert_eq!(scoring.rows[&shard("a")].len(), 15, "no more is kept");
    }

    #[test]
    fn a_shard_that_shows_nothing_now_is_not_in_the_batch() {
        let mut scoring = shown();
        scoring.show(&shard("a"), WindowIndex(40), features(1.0));
        let batch = scoring.ask(ms(0), WindowIndex(40), &[]).unwrap();
        assert_eq!(batch.shards, [shard("a")]);
        assert_eq!(
            scoring.ask(ms(500), WindowIndex(41), &[]),
            None,
            "nobody showed anything"
        );
    }

    #[test]
    fn scores_count_until_their_deadline_and_only_if_they_were_asked_for() {
        let mut scoring = shown();
        assert_eq!(
            scoring.take(ms(0), scores(39, 0.9)),
            Answer::Late,
            "nobody asked"
        );
        scoring.ask(ms(0), WindowIndex(39), &[]).unwrap();
        assert_eq!(
            scoring.ask(ms(400), WindowIndex(39), &[]),
            None,
            "one at a time"
        );
        assert_eq!(
            scoring.take(ms(1), scores(38, 0.9)),
            Answer::Late,
            "another window"
        );
        assert_eq!(scoring.take(ms(401), scores(39, 0.9)), Answer::Late);
        assert_eq!(scoring.sick(&shard("a"), WindowIndex(39)), None);
        assert!(
            scoring.ask(ms(402), WindowIndex(39), &[]).is_some(),
            "asked anew"
        );
        assert_eq!(scoring.take(ms(500), scores(39, 0.75)), Answer::Taken);
        assert_eq!(scoring.sick(&shard("a"), WindowIndex(39)), Some(0.75));
        assert_eq!(
            scoring.soon(&shard("a"), WindowIndex(39)),
            None,
            "the model does not say"
        );
        assert_eq!(scoring.counts().map(|(_, n)| n), [2, 1, 3]);
    }

    #[test]
    fn a_score_does_not_outlive_what_it_was_made_of() {
        let mut scoring = shown();
        scoring.ask(ms(0), WindowIndex(39), &[]).unwrap();
        scoring.take(ms(1), scores(39, 0.75));
        assert!(scoring.sick(&shard("a"), WindowIndex(42)).is_some());
        assert_eq!(scoring.sick(&shard("a"), WindowIndex(43)), None);
        assert_eq!(scoring.sick(&shard("a"), WindowIndex(38)), None);
        assert_eq!(scoring.sick(&shard("c"), WindowIndex(39)), None);
    }
}
