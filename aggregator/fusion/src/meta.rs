//! The judgement judged: are the weights any good, would others be better, and are those that were taken worse? (step 11)
//!
//! In: [`Label`]s, what the detectors said of a window and what it turned out to be. Out: [`Version`]s of weights with a [`Report`] each.
//! A proposal is made from the labels so far, runs in the shadow of the active version on later labels only, and takes its place when it
//! has not lost. The version that was active stays the rival of the new one, which is rolled back when it is worse beyond the interval.
//! Invariants: ME-1 a version is judged by labels that came after it was made. ME-2 at any moment one version is active, at most one in the
//! shadow. ME-3 weights never change but by a new version. Limits: [`N_LABELS_MAX`] labels, [`N_VERSIONS_MAX`] versions.
//! Source: ALGORITHMS §8.9. Does not: keep anything on disk, act on a shard.

use std::collections::VecDeque;

use hsw_types::WallTime;

use crate::combine::{Moments, probability};
use crate::detectors::{N_DETECTORS, Surprises};
use crate::drift::PageHinkley;
use crate::measure::{average_precision, calibration_error, log_loss, mean_log_loss, precision};
use crate::shapley;
use crate::weights::{Weights, blend};

/// Labels kept, newest.
pub const N_LABELS_MAX: usize = 2_000;
/// Versions kept, newest and the active one.
pub const N_VERSIONS_MAX: usize = 100;
/// Labels of each kind before anything is proposed: with fewer an average precision moves by a tenth with each of them.
const N_EACH_MIN: usize = 5;
/// Labels after its making by which a version is judged.
const N_SHADOW: usize = 10;
/// Half-width of the interval in standard errors: 95 %.
const INTERVAL: f64 = 1.96;
/// P(sick) that counts as telling somebody.
const TOLD: f64 = 0.5;
/// Labels over which a report speaks.
const N_REPORT: usize = 200;

/// What the detectors said of a shard's window, and what it turned out to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Data time of the window.
    pub at: WallTime,
    /// What each said.
    pub said: Surprises,
    /// The operator's word: something was wrong with this shard.
    pub is_sick: bool,
}

/// Where weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The operator's matrix, or equal weights where there is none.
    Operator,
    /// Labels, blended with the operator's word.
    Labels,
}

/// What a version is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its weights are in force.
    Active,
    /// Judged beside the active one; changes nothing.
    Shadow,
    /// Was in force, until a better one came.
    Retired,
    /// Was in the shadow and lost.
    Dropped,
    /// Was in force and turned out worse than the one before.
    RolledBack,
}

/// A set of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Counts up from 1.
    pub id: u32,
    /// When it was made.
    pub at: WallTime,
    /// The weights.
    pub weights: Weights,
    /// Where from.
    pub origin: Origin,
    /// What it is now.
    pub state: State,
    /// Labels that it was made from.
    pub n_labels: usize,
}

/// How good a version is on the newest labels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// Labels it speaks of, and how many of them were sick.
    pub n: usize,
    /// Sick ones.
    pub n_sick: usize,
    /// Area under precision over recall.
    pub average_precision: Option<f64>,
    /// Expected calibration error.
    pub calibration_error: Option<f64>,
    /// Mean log loss, nats.
    pub log_loss: Option<f64>,
    /// Of those told with P(sick) ≥ ½, how many were.
    pub precision: Option<f64>,
    /// Share of the labelled windows that are told with P(sick) ≥ ½.
    pub alert_load: f64,
    /// How far the loss is on its way to an alarm, 0 to 1.
    pub drift: f64,
}

/// What a label has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The shadow took the place of the active version.
    Promoted(u32),
    /// The shadow lost.
    Dropped(u32),
    /// The active version was worse than the one before, which is active again (its number).
    RolledBack(u32),
    /// The loss has risen for good: propose anew.
    Drifted,
}

/// Why nothing is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too few labels.
    #[error(
        "too few labels: at least 5 sick and 5 well windows are needed; give feedback on incidents"
    )]
    TooFew,
    /// One is running.
    #[error("version {0} already runs in the shadow: it is judged by the next labels")]
    Running(u32),
}

/// The loop. See the module's header.
#[derive(Debug, Clone)]
pub struct Meta {
    operator: Weights,
    versions: Vec<Version>,
    labels: VecDeque<Label>,
    /// Losses on labels since it was made: of the shadow minus those of the active version.
    shadow: Paired,
    /// Of the active version minus those of the one before it, and that one's number.
    rival: Option<(u32, Paired)>,
    drift: PageHinkley,
}

/// Differences of losses on the same labels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Paired {
    n: usize,
    sum: f64,
    squares: f64,
}

impl Paired {
    fn add(&mut self, difference: f64) {
        self.n += 1;
        self.sum += difference;
        self.squares += difference * difference;
    }

    /// Lower end of the mean's interval; above 0 means worse beyond doubt.
    fn is_worse(&self) -> bool {
        let n = self.n as f64;
        let mean = self.sum / n;
        let variance = (self.squares / n - mean * mean).max(0.0) * n / (n - 1.0).max(1.0);
        mean - INTERVAL * (variance / n).sqrt() > 0.0
    }
}

impl Meta {
    /// Begins with the operator's weights as version 1.
    #[must_use]
    pub fn new(operator: Weights, at: WallTime) -> Self {
        Self {
            operator,
            versions: vec![Version {
                id: 1,
                at,
                weights: operator,
                origin: Origin::Operator,
                state: State::Active,
                n_labels: 0,
            }],
            labels: VecDeque::new(),
            shadow: Paired::default(),
            rival: None,
            drift: PageHinkley::default(),
        }
    }

    /// Goes on with versions and labels from a store. Where the operator's word has changed since, it is a new active version.
    #[must_use]
    pub fn restore(
        operator: Weights,
        mut versions: Vec<Version>,
        labels: Vec<Label>,
        at: WallTime,
    ) -> Self {
        let mut meta = Self::new(operator, at);
        meta.labels = labels.into_iter().collect();
        while meta.labels.len() > N_LABELS_MAX {
            meta.labels.pop_front();
        }
        versions.sort_by_key(|version| version.id);
        let last_word = versions
            .iter()
            .rev()
            .find(|version| version.origin == Origin::Operator);
        let is_same = last_word.is_some_and(|version| version.weights == operator);
        let has_active = versions
            .iter()
            .filter(|version| version.state == State::Active)
            .count()
            == 1;
        if is_same && has_active {
            meta.versions = versions;
        } else if let Some(last) = versions.last().map(|version| version.id) {
            for version in &mut versions {
                version.state = match version.state {
                    State::Active => State::Retired,
                    State::Shadow => State::Dropped,
                    other => other,
                };
            }
            meta.versions[0].id = last + 1;
            versions.append(&mut meta.versions);
            meta.versions = versions;
        }
        meta
    }

    /// The weights in force.
    #[must_use]
    pub fn weights(&self) -> Weights {
        self.active().weights
    }

    /// The version in force.
    #[must_use]
    pub fn active(&self) -> &Version {
        let active = self
            .versions
            .iter()
            .find(|version| version.state == State::Active);
        active.unwrap_or(&self.versions[0])
    }

    /// The version in the shadow.
    #[must_use]
    pub fn shadow(&self) -> Option<&Version> {
        self.versions
            .iter()
            .find(|version| version.state == State::Shadow)
    }

    /// All versions, ascending.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Labels kept, oldest first.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.labels.iter()
    }

    /// Takes a label: judges shadow and active version by it, and may change which is which. O(detectors²).
    pub fn learn(&mut self, moments: &Moments, label: Label) -> Vec<Outcome> {
        let loss = |weights: &Weights| loss(moments, weights, &label);
        let active = loss(&self.weights());
        let mut outcomes = Vec::new();
        if self.drift.learn(active) {
            outcomes.push(Outcome::Drifted);
        }
        if let Some((id, mut paired)) = self.rival
            && let Some(rival) = self.versions.iter().find(|version| version.id == id)
        {
            paired.add(active - loss(&rival.weights));
            self.rival = Some((id, paired));
        }
        if let Some(shadow) = self.shadow().map(|shadow| shadow.weights) {
            self.shadow.add(loss(&shadow) - active);
        }
        self.labels.push_back(label);
        if self.labels.len() > N_LABELS_MAX {
            self.labels.pop_front();
        }
        outcomes.extend(self.decide());
        outcomes
    }

    fn decide(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if let Some((rival, paired)) = self.rival
            && paired.n >= N_SHADOW
            && paired.is_worse()
        {
            let active = self.active().id;
            self.mark(active, State::RolledBack);
            self.mark(rival, State::Active);
            self.rival = None;
            outcomes.push(Outcome::RolledBack(rival));
            // What ran beside the one rolled back was compared with it, and begins anew.
            self.shadow = Paired::default();
        }
        if self.shadow.n >= N_SHADOW
            && let Some(id) = self.shadow().map(|shadow| shadow.id)
        {
            if self.shadow.sum > 0.0 {
                self.mark(id, State::Dropped);
                outcomes.push(Outcome::Dropped(id));
            } else {
                let before = self.active().id;
                self.mark(before, State::Retired);
                self.mark(id, State::Active);
                self.rival = Some((before, Paired::default()));
                outcomes.push(Outcome::Promoted(id));
            }
            self.shadow = Paired::default();
        }
        outcomes
    }

    /// Makes a version from the labels so far and lets it run in the shadow. O(2^detectors · labels · log labels), at most `N_REPORT`
    /// labels.
    ///
    /// # Errors
    /// [`Refusal`] where there are too few labels, or one runs already.
    pub fn propose(&mut self, moments: &Moments, at: WallTime) -> Result<u32, Refusal> {
        if let Some(running) = self.shadow() {
            return Err(Refusal::Running(running.id));
        }
        let labels: Vec<Label> = self.newest().copied().collect();
        let n_sick = labels.iter().filter(|label| label.is_sick).count();
        if n_sick.min(labels.len() - n_sick) < N_EACH_MIN {
            return Err(Refusal::TooFew);
        }
        let weights = blend(
            &self.operator,
            &worths(moments, &self.operator, &labels),
            self.labels.len(),
        );
        let id = self
            .versions
            .iter()
            .map(|version| version.id)
            .max()
            .unwrap_or(0)
            + 1;
        self.versions.push(Version {
            id,
            at,
            weights,
            origin: Origin::Labels,
            state: State::Shadow,
            n_labels: self.labels.len(),
        });
        let is_kept = |version: &Version| matches!(version.state, State::Active | State::Shadow);
        while self.versions.len() > N_VERSIONS_MAX
            && let Some(oldest) = self.versions.iter().position(|version| !is_kept(version))
        {
            self.versions.remove(oldest);
        }
        self.shadow = Paired::default();
        Ok(id)
    }

    /// How good weights are on the newest labels.
    #[must_use]
    pub fn report(&self, moments: &Moments, weights: &Weights) -> Report {
        let judged: Vec<(f64, bool)> = self
            .newest()
            .map(|label| (chance(moments, weights, &label.said), label.is_sick))
            .collect();
        let n_told = judged.iter().filter(|(p, _)| *p >= TOLD).count();
        Report {
            n: judged.len(),
            n_sick: judged.iter().filter(|(_, is_sick)| *is_sick).count(),
            average_precision: average_precision(&judged),
            calibration_error: calibration_error(&judged),
            log_loss: mean_log_loss(&judged),
            precision: precision(&judged, TOLD),
            alert_load: n_told as f64 / judged.len().max(1) as f64,
            drift: self.drift.level(),
        }
    }

    fn newest(&self) -> impl Iterator<Item = &Label> {
        self.labels
            .iter()
            .skip(self.labels.len().saturating_sub(N_REPORT))
    }

    fn mark(&mut self, id: u32, state: State) {
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == id) {
            version.state = state;
        }
    }
}

/// What each detector brings: Shapley values of the average precision of the fused score. A coalition's weights are the operator's.
fn worths(moments: &Moments, operator: &Weights, labels: &[Label]) -> Vec<f64> {
    shapley::values(N_DETECTORS, |set| {
        let scored: Vec<(f64, bool)> = labels
            .iter()
            .map(|label| {
                let said = std::array::from_fn(|i| label.said[i].filter(|_| set & (1 << i) != 0));
                (
                    moments.combined(operator, &said).unwrap_or(0.0),
                    label.is_sick,
                )
            })
            .collect();
        average_precision(&scored).unwrap_or(0.0)
    })
}

fn chance(moments: &Moments, weights: &Weights, said: &Surprises) -> f64 {
    moments.combined(weights, said).map_or(0.0, probability)
}

fn loss(moments: &Moments, weights: &Weights, label: &Label) -> f64 {
    log_loss(chance(moments, weights, &label.said), label.is_sick)
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
