//! A recording through the production engine.
//!
//! In: a [`Reader`]. Out: the engine's outputs in order, and what there is to say about the recording. A summary of the recorded span
//! that the begin already told (the store had committed it) is left out: windows of a node count once.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use hsw_engine::{Engine, Incident, IncidentId, Input, Output};
use hsw_types::{Monotonic, NodeId, WallTime, WindowIndex};

use crate::{Entry, Error, Reader};

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
    /// The engine at the end.
    pub engine: Engine,
}

/// Plays it all. A file that broke off is played as far as it goes.
///
/// # Errors
/// [`Error`] of a file that is damaged.
pub fn play<R: Read>(mut reader: Reader<R>) -> Result<Played, Error> {
    let header = reader.header().clone();
    let mut played = Played {
        incidents: Vec::new(),
        n_entries: 0,
        n_summaries: 0,
        span: None,
        lost: None,
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
        played.hear(now, input, &mut |incident| {
            if incidents
                .insert(incident.id, Arc::clone(&incident))
                .is_none()
            {
                order.push(incident.id);
            }
        });
    }
    played.incidents = order.iter().filter_map(|id| incidents.remove(id)).collect();
    Ok(played)
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

    fn hear(&mut self, now: Monotonic, input: Input, take: &mut dyn FnMut(Arc<Incident>)) {
        self.engine.handle(now, input);
        while let Some(output) = self.engine.poll_output() {
            let (Output::IncidentRaised(incident)
            | Output::IncidentChanged(incident)
            | Output::IncidentClosed(incident)) = output
            else {
                // What a model would be asked is answered by the recording.
                continue;
            };
            take(incident);
        }
        // Rows of what is hot are for a store; here nobody keeps them.
        while self.engine.poll_hot_row().is_some() {}
        while self.engine.poll_hot_name().is_some() {}
    }
}
