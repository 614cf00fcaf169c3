//! A series against its own past: robust location, robust scale with a floor, and what it has done before. (step 10)
//!
//! In: one value a window on the judged [`Scale`](crate::Scale). Out: a [`Residual`].
//! The past is kept as block medians: ten seconds each for the newest four minutes, a minute each for the half hour
//! before. Location: their median. Scale: three parts added in squares, noise within blocks, spread between blocks, a
//! floor; and while the past is short, a prior that shrinks with the number of blocks (Huber, Robust Statistics,
//! §5 for median and MAD). A block median does not see spikes shorter than five seconds; excursions that do last are
//! remembered for half an hour as what the series does now and then, and only what goes beyond the second largest counts.
//! Invariants: OP-1 before [`N_BLOCKS_MIN`] blocks the answer is "unknown". OP-2 nothing is learned from a block, or the
//! block before it, in which the residual was suspicious or the node was under an incident, until that has lasted
//! half an hour: then it is the new normal. OP-3 what a series does in a minute of an incident, or in a suspicious one right before it, is no
//! habit. Limits: under 1 KiB.

use std::collections::VecDeque;

use hsw_stats::{MAD_TO_SIGMA, median, median_absolute_deviation};

/// Seconds of a block.
const BLOCK_WINDOWS: u32 = 10;
/// Newest blocks kept as they are: four minutes.
const N_RECENT: usize = 24;
/// Minutes kept beyond them.
const N_OLDER: usize = 30;
/// Blocks to a minute.
const MERGE: usize = 6;
/// Blocks before anything is judged: half a minute.
pub(crate) const N_BLOCKS_MIN: u32 = 3;
/// Windows of a new series that are left out: connections, caches and counters settle.
const SETTLE_WINDOWS: u32 = 5;
/// Changes smaller than this, on the judged scale, are never many standard deviations: 16 % of an amount.
const SCALE_FLOOR: f64 = 0.15;
/// Prior variance of the scale, worth one block.
const PRIOR_VARIANCE: f64 = 0.25;
/// The median of five values has about this share of one value's standard deviation: √(π / (2 · 5)), rounded up.
const MEDIAN_OF_FIVE: f64 = 0.6;
/// How far beyond what it has done before: 35 % of an amount.
const BEYOND: f64 = 0.3;
/// Blocks held back before they are learned after all: half an hour.
const HOLD_BLOCKS_MAX: u32 = 180;

/// How a value stands to the series' own past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    /// Value minus location, on the judged scale.
    pub deviation: f64,
    /// Standard deviation of such a difference, > 0.
    pub scale: f64,
    /// Location, on the judged scale.
    pub usual: f64,
    /// Whether the value lies beyond what the series has done now and then in the last half hour.
    pub is_beyond_habit: bool,
}

/// Whether the model may learn from a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learning {
    /// As usual.
    Free,
    /// The residual is suspicious: learn habits, not location.
    Suspicious,
    /// The node is under an open incident: learn nothing.
    Frozen,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    median: f32,
    spread: f32,
}

#[derive(Debug, Clone, Copy)]
struct Extremes {
    high: f32,
    low: f32,
}

/// The model of one series. See the module's header.
#[derive(Debug, Clone)]
pub struct OwnPast {
    recent: VecDeque<Block>,
    older: VecDeque<Block>,
    habits: VecDeque<Extremes>,
    minute: Option<Extremes>,
    /// The worst that was so within it.
    minute_worst: Learning,
    /// A suspicious minute; a habit once a minute without an incident has followed.
    minute_before: Option<Extremes>,
    pending: Option<Block>,
    n_windows: u32,
    n_blocks: u32,
    n_held: u32,
    worst: Learning,
    worst_before: Learning,
    usual: f64,
    scale: f64,
    high: f64,
    low: f64,
}

impl Default for OwnPast {
    fn default() -> Self {
        Self {
            recent: VecDeque::new(),
            older: VecDeque::new(),
            habits: VecDeque::new(),
            minute: None,
            minute_worst: Learning::Free,
            minute_before: None,
            pending: None,
            n_windows: 0,
            n_blocks: 0,
            n_held: 0,
            worst: Learning::Free,
            worst_before: Learning::Free,
            usual: 0.0,
            scale: 1.0,
            high: f64::INFINITY,
            low: f64::NEG_INFINITY,
        }
    }
}

impl OwnPast {
    /// Whether enough is known to judge; once it is, it stays so.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.n_blocks >= N_BLOCKS_MIN
    }

    /// How `y` stands to the past; `None` while too little is known. O(1).
    #[must_use]
    pub fn residual(&self, y: f64) -> Option<Residual> {
        if !self.is_known() {
            return None;
        }
        let deviation = y - self.usual;
        let is_beyond_habit = if deviation >= 0.0 {
            !self.high.is_finite() || y > self.high + BEYOND
        } else {
            !self.low.is_finite() || y < self.low - BEYOND
        };
        Some(Residual {
            deviation,
            scale: self.scale,
            usual: self.usual,
            is_beyond_habit,
        })
    }

    /// The least that is remembered, and the most of what is older than four minutes (−∞ while nothing is); on the judged scale. O(1).
    pub(crate) fn extent(&self) -> (f64, f64) {
        let older = self.older.iter().map(|block| f64::from(block.median));
        let recent = self.recent.iter().map(|block| f64::from(block.median));
        let most = older.clone().fold(f64::NEG_INFINITY, f64::max);
        (older.chain(recent).fold(f64::INFINITY, f64::min), most)
    }

    /// Learns a window: `y` is the smoothed value that was judged; `block` gives the raw values of the last
    /// ten windows (on the judged scale) and is asked only when a block ends. Amortised O(1).
    pub fn learn<I>(&mut self, y: f64, learning: Learning, block: impl FnOnce() -> I)
    where
        I: Iterator<Item = f64>,
    {
        self.n_windows = self.n_windows.saturating_add(1);
        if self.n_windows <= SETTLE_WINDOWS {
            return;
        }
        for worst in [&mut self.worst, &mut self.minute_worst] {
            if severity(learning) > severity(*worst) {
                *worst = learning;
            }
        }
        let value = y as f32;
        let minute = self.minute.get_or_insert(Extremes {
            high: value,
            low: value,
        });
        minute.high = minute.high.max(value);
        minute.low = minute.low.min(value);
        if (self.n_windows - SETTLE_WINDOWS).is_multiple_of(BLOCK_WINDOWS) {
            self.end_block(block());
        }
    }

    fn end_block(&mut self, values: impl Iterator<Item = f64>) {
        let worst = std::mem::replace(&mut self.worst, Learning::Free);
        let before = std::mem::replace(&mut self.worst_before, worst);
        let mut values: Vec<f64> = values.collect();
        let Some(centre) = median(&mut values) else {
            return;
        };
        let spread = median_absolute_deviation(&mut values, centre).unwrap_or(0.0);
        let block = Block {
            median: centre as f32,
            spread: spread as f32,
        };
        if (self.n_windows - SETTLE_WINDOWS).is_multiple_of(BLOCK_WINDOWS * MERGE as u32) {
            self.end_minute();
        }
        let pending = self.pending.replace(block);
        if worst != Learning::Free || before != Learning::Free {
            self.n_held += 1;
            if self.n_held < HOLD_BLOCKS_MAX {
                self.pending = None;
                return;
            }
        } else {
            self.n_held = 0;
        }
        // The first blocks count at once, later ones a block late, so that an onset is judged before it is learned.
        let block = if self.n_blocks < N_BLOCKS_MIN {
            self.pending.take()
        } else {
            pending
        };
        if let Some(block) = block {
            self.push(block);
        }
    }

    fn end_minute(&mut self) {
        let worst = std::mem::replace(&mut self.minute_worst, Learning::Free);
        let suspicious = self.minute_before.take();
        let Some(minute) = self.minute.take() else {
            return;
        };
        match worst {
            // A suspicious minute before it was its onset.
            Learning::Frozen => return,
            Learning::Suspicious => self.minute_before = Some(minute),
            Learning::Free => self.habits.push_back(minute),
        }
        self.habits.extend(suspicious);
        while self.habits.len() > N_OLDER {
            self.habits.pop_front();
        }
        if self.habits.len() >= 3 {
            // The second largest: one excursion in half an hour is not a habit.
            let mut highs: Vec<f64> = self.habits.iter().map(|h| f64::from(h.high)).collect();
            highs.sort_by(f64::total_cmp);
            let mut lows: Vec<f64> = self.habits.iter().map(|h| f64::from(h.low)).collect();
            lows.sort_by(f64::total_cmp);
            self.high = highs[highs.len() - 2];
            self.low = lows[1];
        }
    }

    fn push(&mut self, block: Block) {
        self.n_blocks = self.n_blocks.saturating_add(1);
        self.recent.push_back(block);
        if self.recent.len() > N_RECENT {
            let (mut medians, mut spreads) = ([0.0; MERGE], [0.0; MERGE]);
            for (i, old) in self.recent.drain(..MERGE).enumerate() {
                medians[i] = f64::from(old.median);
                spreads[i] = f64::from(old.spread);
            }
            let merged = (median(&mut medians), median(&mut spreads));
            if let (Some(median), Some(spread)) = merged {
                self.older.push_back(Block {
                    median: median as f32,
                    spread: spread as f32,
                });
            }
            if self.older.len() > N_OLDER {
                self.older.pop_front();
            }
        }
        self.refit();
    }

    fn refit(&mut self) {
        let blocks = || self.recent.iter().chain(&self.older);
        let mut medians: Vec<f64> = blocks().map(|b| f64::from(b.median)).collect();
        let mut spreads: Vec<f64> = blocks().map(|b| f64::from(b.spread)).collect();
        let usual = median(&mut medians).unwrap_or(0.0);
        let between = MAD_TO_SIGMA * median_absolute_deviation(&mut medians, usual).unwrap_or(0.0);
        let noise = MEDIAN_OF_FIVE * MAD_TO_SIGMA * median(&mut spreads).unwrap_or(0.0);
        let prior = PRIOR_VARIANCE / f64::from(self.n_blocks.max(1));
        self.usual = usual;
        self.scale = (noise * noise + between * between + SCALE_FLOOR * SCALE_FLOOR + prior).sqrt();
    }
}

const fn severity(learning: Learning) -> u8 {
    match learning {
        Learning::Free => 0,
        Learning::Suspicious => 1,
        Learning::Frozen => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(model: &mut OwnPast, values: impl IntoIterator<Item = f64>, learning: Learning) {
        for y in values {
            model.learn(y, learning, || std::iter::repeat_n(y, 10));
        }
    }

    #[test]
    fn nothing_is_judged_before_half_a_minute() {
        let mut model = OwnPast::default();
        feed(&mut model, std::iter::repeat_n(1.0, 34), Learning::Free);
        assert_eq!(model.residual(9.0), None);
        feed(&mut model, [1.0], Learning::Free);
        assert!(model.residual(9.0).is_some());
    }

    #[test]
    fn a_longer_past_makes_the_same_deviation_weigh_more_until_the_floor() {
        let score = |n: usize| {
            let mut model = OwnPast::default();
            feed(&mut model, std::iter::repeat_n(1.0, n), Learning::Free);
            let residual = model.residual(2.0).unwrap();
            residual.deviation / residual.scale
        };
        assert!(score(40) < score(300));
        assert!(score(3_000) < 1.0 / SCALE_FLOOR + 1e-9);
    }

    #[test]
    fn an_excursion_seen_twice_is_a_habit_and_a_larger_one_is_not() {
        let mut model = OwnPast::default();
        for _ in 0..4 {
            feed(&mut model, std::iter::repeat_n(1.0, 100), Learning::Free);
            feed(
                &mut model,
                std::iter::repeat_n(3.0, 20),
                Learning::Suspicious,
            );
        }
        assert!(!model.residual(3.0).unwrap().is_beyond_habit);
        assert!(model.residual(3.5).unwrap().is_beyond_habit);
    }

    #[test]
    fn what_an_incident_shows_is_no_habit_wherever_its_minutes_begin_and_end() {
        for phase in 0..60 {
            let mut model = OwnPast::default();
            feed(
                &mut model,
                std::iter::repeat_n(1.0, 300 + phase),
                Learning::Free,
            );
            for _ in 0..2 {
                let onset = std::iter::repeat_n(3.0, 6);
                feed(&mut model, onset, Learning::Suspicious);
                feed(&mut model, std::iter::repeat_n(3.0, 30), Learning::Frozen);
                feed(&mut model, std::iter::repeat_n(1.0, 15), Learning::Frozen);
                feed(&mut model, std::iter::repeat_n(1.0, 40), Learning::Free);
            }
            assert!(model.residual(3.0).unwrap().is_beyond_habit, "{phase}");
        }
    }

    #[test]
    fn an_incident_teaches_nothing_until_it_is_the_new_normal() {
        let mut model = OwnPast::default();
        feed(&mut model, std::iter::repeat_n(1.0, 200), Learning::Free);
        feed(
            &mut model,
            std::iter::repeat_n(5.0, 1_000),
            Learning::Frozen,
        );
        assert!((model.residual(5.0).unwrap().deviation - 4.0).abs() < 1e-6);
        feed(
            &mut model,
            std::iter::repeat_n(5.0, 3_000),
            Learning::Frozen,
        );
        assert!(model.residual(5.0).unwrap().deviation.abs() < 1e-6);
    }

    #[test]
    fn the_model_stays_under_one_kibibyte() {
        let mut model = OwnPast::default();
        feed(&mut model, std::iter::repeat_n(1.0, 10_000), Learning::Free);
        let bytes = size_of::<OwnPast>()
            + (model.recent.capacity() + model.older.capacity()) * size_of::<Block>()
            + model.habits.capacity() * size_of::<Extremes>();
        assert!(bytes <= 1_024, "{bytes}");
    }
}
