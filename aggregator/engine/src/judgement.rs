//! P(sick) of every shard at every window: the detectors' words, weighed and fused. (steps 10–11)
//!
//! In: the live detectors, the graph's word, the policy's incidents. Out: a [`Judgement`] a shard.
//! Invariants: JU-1 a shard that is not judged at a window has no judgement, never a healthy one. JU-2 nothing is learned from a shard under
//! an open incident, nor while it is probably sick, for half an hour at most. JU-3 weights change only with a version.
//! Does not: open or close an incident. What it says stands beside the policy's evidence (ARCHITECTURE, decisions).

use std::collections::BTreeMap;

use hsw_detect::{Board, Detector, GraphSight, Standing};
use hsw_fusion::layout::Features;
use hsw_fusion::{
    DetectorId, Fusion, HyperScore, LATE_WINDOWS, Label, Late, Meta, N_DETECTORS, Outcome, Refusal,
    Report, Surprises, Version, Weights,
};
use hsw_state::{Cluster, NodeIndex};
use hsw_types::{ShardId, WallTime, WindowIndex};

/// P(sick) from which nothing is learned from a shard.
const HELD: f64 = 0.5;
/// Windows that it is held for at most: half an hour, as a series is; then it is the new normal.
const HELD_MAX: u32 = 1_800;

/// What one detector says of a shard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// Which.
    pub detector: DetectorId,
    /// Calibrated −ln p, 0 to 80; `None` where it does not know.
    pub surprise: Option<f64>,
    /// Its weight, 0 to 1; all add up to one.
    pub weight: f64,
}

/// What is said of a shard at a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// When.
    pub window: WindowIndex,
    /// P(sick), 0 to 1.
    pub probability: f64,
    /// −ln p of all detectors together.
    pub surprise: f64,
    /// Of which version of the weights.
    pub version: u32,
    /// Each detector, in order.
    pub said: Vec<Said>,
}

impl Judgement {
    /// The detectors' words as fusion takes them.
    #[must_use]
    pub fn surprises(&self) -> Surprises {
        let mut all = [None; N_DETECTORS];
        for said in &self.said {
            all[said.detector.index()] = said.surprise;
        }
        all
    }
}

/// Weights, their versions, and how good they are.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightsView {
    /// All versions, ascending.
    pub versions: Vec<Version>,
    /// The number of the one in force.
    pub active: u32,
    /// How good it is on the newest labels.
    pub report: Report,
    /// How good the one in the shadow is.
    pub shadow_report: Option<Report>,
    /// Labels kept.
    pub n_labels: usize,
}

/// One shard of a look.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) shard: &'a ShardId,
    /// Its members that are judged at this window.
    pub(crate) members: Vec<NodeIndex>,
    pub(crate) is_under_incident: bool,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Judges {
    board: Board,
    fusion: Fusion,
    meta: Meta,
    /// The operator's own weights.
    operator: Weights,
    pub(crate) score: HyperScore,
    /// Place of each node in the graph, by node.
    pub(crate) graph: Vec<Option<GraphSight>>,
    numbers: BTreeMap<ShardId, u32>,
    of: BTreeMap<ShardId, Judgement>,
    /// Windows that a shard has been probably sick.
    held: BTreeMap<ShardId, u32>,
    /// What was said of a shard and is not learned yet.
    late: BTreeMap<ShardId, Late<Surprises>>,
    /// Versions or labels have changed since they were last asked for.
    is_changed: bool,
}

impl Judges {
    pub(crate) fn new(operator: Weights, score: HyperScore) -> Self {
        Self {
            board: Board::default(),
            fusion: Fusion::default(),
            meta: Meta::new(operator, WallTime::default()),
            operator,
            score,
            graph: Vec::new(),
            numbers: BTreeMap::new(),
            of: BTreeMap::new(),
            held: BTreeMap::new(),
            late: BTreeMap::new(),
            is_changed: false,
        }
    }

    /// Judges a window and learns from it. `role` and `is_up` are by node. O(nodes · detectors), every fifth window of a node O(series).
    pub(crate) fn look(
        &mut self,
        (cluster, detector): (&Cluster, &Detector),
        window: WindowIndex,
        seats: &[Seat<'_>],
        role: &[u8],
        is_up: &[Option<bool>],
    ) {
        let mut is_frozen = vec![false; cluster.nodes().len()];
        let mut nodes = Vec::new();
        for seat in seats {
            let is_held = self
                .held
                .get(seat.shard)
                .is_some_and(|n| (1..HELD_MAX).contains(n));
            for &node in &seat.members {
                is_frozen[node] = seat.is_under_incident || is_held;
                nodes.push(node);
            }
        }
        nodes.sort_unstable();
        let standing = Standing {
            nodes: &nodes,
            role,
            is_up,
            graph: &self.graph,
            is_frozen: &is_frozen,
        };
        self.board.look(cluster, detector, window, &standing);
        let weights = self.meta.weights();
        let version = self.meta.active().id;
        self.of.clear();
        for seat in seats {
            let next = self.numbers.len() as u32;
            let number = *self.numbers.entry(seat.shard.clone()).or_insert(next);
            let said = self.board.said_of_shard(&seat.members, window);
            let Some(judged) = self.fusion.judge(number, &weights, &said) else {
                continue;
            };
            let held = self.held.entry(seat.shard.clone()).or_default();
            *held = if judged.probability >= HELD {
                held.saturating_add(1)
            } else {
                0
            };
            let is_frozen = seat.is_under_incident || (1..HELD_MAX).contains(held);
            let late = self.late.entry(seat.shard.clone()).or_default();
            if is_frozen {
                late.forget();
            } else if let Some(said) = late.take(said, LATE_WINDOWS) {
                self.fusion.learn(number, &weights, &said);
            }
            let of = |detector: DetectorId| Said {
                detector,
                surprise: said[detector.index()],
                weight: weights.all()[detector.index()],
            };
            let said = DetectorId::ALL.map(of).to_vec();
            let judgement = Judgement {
                window,
                probability: judged.probability,
                surprise: judged.surprise,
                version,
                said,
            };
            self.of.insert(seat.shard.clone(), judgement);
        }
    }

    /// What is said of a shard at the newest judged window.
    pub(crate) fn of(&self, shard: &ShardId) -> Option<&Judgement> {
        self.of.get(shard)
    }

    /// A judgement in which no detector says anything, for a shard that none can look at.
    pub(crate) fn nothing_said(&self, at: WallTime) -> Judgement {
        Judgement {
            window: at.window(),
            probability: 0.0,
            surprise: 0.0,
            version: self.meta.active().id,
            said: Vec::new(),
        }
    }

    /// Fills the detectors' columns of the vector that models read.
    pub(crate) fn describe(&self, shard: &ShardId, features: &mut Features) {
        for said in self.of(shard).iter().flat_map(|judgement| &judgement.said) {
            features.detector(said.detector, said.surprise);
        }
    }

    /// An operator's word on what was judged.
    pub(crate) fn label(&mut self, judgement: &Judgement, is_sick: bool) {
        let label = Label {
            at: judgement.window.start(),
            said: judgement.surprises(),
            is_sick,
        };
        let outcomes = self.meta.learn(self.fusion.moments(), label);
        self.is_changed = true;
        if outcomes
            .iter()
            .any(|outcome| matches!(outcome, Outcome::Promoted(_) | Outcome::RolledBack(_)))
        {
            self.fusion.reweigh();
        }
    }

    /// Makes a version of the labels so far, which runs in the shadow.
    ///
    /// # Errors
    /// [`Refusal`], with what is missing.
    pub(crate) fn propose(&mut self, at: WallTime) -> Result<u32, Refusal> {
        let made = self.meta.propose(self.fusion.moments(), at);
        self.is_changed |= made.is_ok();
        made
    }

    /// Versions and labels of earlier.
    pub(crate) fn restore(&mut self, versions: Vec<Version>, labels: Vec<Label>, at: WallTime) {
        self.meta = Meta::restore(self.operator, versions, labels, at);
    }

    pub(crate) fn view(&self) -> WeightsView {
        let moments = self.fusion.moments();
        WeightsView {
            versions: self.meta.versions().to_vec(),
            active: self.meta.active().id,
            report: self.meta.report(moments, &self.meta.weights()),
            shadow_report: self
                .meta
                .shadow()
                .map(|shadow| self.meta.report(moments, &shadow.weights)),
            n_labels: self.meta.labels().count(),
        }
    }

    /// Versions and labels, where they have changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Option<(Vec<Version>, Vec<Label>)> {
        std::mem::take(&mut self.is_changed).then(|| {
            (
                self.meta.versions().to_vec(),
                self.meta.labels().copied().collect(),
            )
        })
    }
}
