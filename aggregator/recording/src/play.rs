//! A recording through the production engine.
//!
//! In: a [`Reader`]. Out: the engine's outputs in order, and what there is to say about the recording. A summary of the recorded span
//! that the begin already told (the store had committed it) is left out: windows of a node count once.
//! [`rescore`] asks a model anew where the recording holds what a model said then, and compares the two.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use hsw_engine::{Engine, Incident, IncidentId, Input, Output};
use hsw_fusion::{Batch, Scores};
use hsw_types::{Monotonic, NodeId, WallTime, WindowIndex};

use crate::{Entry, Error, Reader};

/// Milliseconds an answer may take where the recorded engine asked nobody; played answers take none.
const SCORE_MS_MAX: u32 = 1_000;
/// Windows whose new scores wait for the recorded ones.
const N_WAITING_MAX: usize = 64;

/// Scores a batch; `None` where it cannot.
pub type Score<'a> = &'a mut dyn FnMut(&Batch) -> Option<Scores>;

/// What scoring anew gave.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rescored {
    /// Batches asked for.
    pub n_batches: u64,
    /// Of them answered.
    pub n_scored: u64,
    /// Shard-windows in these.
    pub n_rows: u64,
    /// Shard-windows for which the recording holds a score too.
    pub n_compared: u64,
    /// Largest difference of P(sick) among those, 0 to 1; both are quantised.
    pub difference_max: f32,
}

/// What a played recording gave.
#[derive(Debug)]
pub struct Played {
    /// Each incident as it was at the end, in the order in which they were raised.
    pub incidents: Vec<Arc<Incident>>,
    /// Entries played.
    pub n_entries: u64,
    /// Summaries among them.
    pub n_summaries: u64,
    /// First and last moment of the aggregator's clock, after what was told from the store.
    pub span: Option<(WallTime, WallTime)>,
    /// Entries that were lost while recording; `None` when the file broke off.
    pub lost: Option<u64>,
    /// What scoring anew gave, where that was asked for.
    pub rescored: Option<Rescored>,
    /// The engine at the end.
    pub engine: Engine,
}

/// Plays it all, with the scores that were recorded. A file that broke off is played as far as it goes.
///
/// # Errors
/// [`Error`] of a file that is damaged.
pub fn play<R: Read>(reader: Reader<R>) -> Result<Played, Error> {
    run(reader, None)
}

/// Plays it all, with scores by `score` in place of the recorded ones.
///
/// # Errors
/// As [`play`].
pub fn rescore<R: Read>(reader: Reader<R>, score: Score<'_>) -> Result<Played, Error> {
    run(reader, Some(score))
}

fn run<R: Read>(mut reader: Reader<R>, score: Option<Score<'_>>) -> Result<Played, Error> {
    let mut header = reader.header().clone();
    let mut anew = score.map(Anew::new);
    if anew.is_some() {
        header.config.score_ms_max.get_or_insert(SCORE_MS_MAX);
    }
    let mut played = Played {
        incidents: Vec::new(),
        n_entries: 0,
        n_summaries: 0,
        span: None,
        lost: None,
        rescored: None,
        engine: Engine::new(header.config.clone(), header.map()?),
    };
    let mut told: BTreeMap<NodeId, WindowIndex> = BTreeMap::new();
    let mut incidents: BTreeMap<IncidentId, Arc<Incident>> = BTreeMap::new();
    let mut order = Vec::new();
    loop {
        let (now, entry) = match reader.read() {
            Ok(Some(next)) => next,
            Ok(None) | Err(Error::BrokenOff) => break,
            Err(error) => return Err(error),
        };
        if let Entry::End { lost } = entry {
            played.lost = Some(lost);
            continue;
        }
        played.n_entries += 1;
        let Some(input) = entry.into_input() else {
            continue;
        };
        if !played.is_news(&input, &mut told) {
            continue;
        }
        if let (Some(anew), Input::Scored(recorded)) = (&mut anew, &input) {
            anew.compare(recorded);
            continue;
        }
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            played.hear(now, input, &mut |output| match output {
                Output::IncidentRaised(incident)
                | Output::IncidentChanged(incident)
                | Output::IncidentClosed(incident) => {
                    let id = incident.id;
                    if incidents.insert(id, incident).is_none() {
                        order.push(id);
                    }
                }
                Output::Score(batch) => {
                    let scores = anew.as_mut().and_then(|anew| anew.score(&batch));
                    inputs.extend(scores.map(Input::Scored));
                }
                _ => {}
            });
        }
    }
    played.incidents = order.iter().filter_map(|id| incidents.remove(id)).collect();
    played.rescored = anew.map(|anew| anew.found);
    Ok(played)
}

/// Scoring anew.
struct Anew<'a> {
    score: Score<'a>,
    /// By window, until the recorded ones come.
    waiting: BTreeMap<WindowIndex, Scores>,
    found: Rescored,
}

impl<'a> Anew<'a> {
    fn new(score: Score<'a>) -> Self {
        Self {
            score,
            waiting: BTreeMap::new(),
            found: Rescored::default(),
        }
    }

    fn score(&mut self, batch: &Batch) -> Option<Scores> {
        self.found.n_batches += 1;
        let scores = (self.score)(batch)?;
        self.found.n_scored += 1;
        self.found.n_rows += scores.shards.len() as u64;
        self.waiting.insert(scores.window, scores.clone());
        if self.waiting.len() > N_WAITING_MAX {
            self.waiting.pop_first();
        }
        Some(scores)
    }

    fn compare(&mut self, recorded: &Scores) {
        let Some(anew) = self.waiting.remove(&recorded.window) else {
            return;
        };
        let anew: BTreeMap<_, _> = anew.shards.iter().zip(&anew.sick).collect();
        for (shard, old) in recorded.shards.iter().zip(&recorded.sick) {
            let Some(new) = anew.get(shard) else {
                continue;
            };
            self.found.n_compared += 1;
            self.found.difference_max = self.found.difference_max.max((*new - old).abs());
        }
    }
}

impl Played {
    /// Notes what passes; false for a summary that was told before.
    fn is_news(&mut self, input: &Input, told: &mut BTreeMap<NodeId, WindowIndex>) -> bool {
        match input {
            Input::Summary {
                node,
                summary,
                is_replay,
                ..
            } => {
                let last = told.get(node).copied();
                if !is_replay && last.is_some_and(|last| summary.first_window <= last) {
                    return false;
                }
                if *is_replay {
                    told.insert(node.clone(), summary.first_window);
                }
                self.n_summaries += 1;
            }
            Input::Clock { wall } | Input::ReplayDone { wall } => {
                self.span = Some((self.span.map_or(*wall, |(first, _)| first), *wall));
            }
            _ => {}
        }
        true
    }

    fn hear(&mut self, now: Monotonic, input: Input, take: &mut dyn FnMut(Output)) {
        self.engine.handle(now, input);
        while let Some(output) = self.engine.poll_output() {
            take(output);
        }
        // Rows of what is hot are for a store; here nobody keeps them.
        while self.engine.poll_hot_row().is_some() {}
        while self.engine.poll_hot_name().is_some() {}
    }
}
