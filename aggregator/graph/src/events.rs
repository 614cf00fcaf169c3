//! What happened to edges, for those who follow: work by what changes, not by what is there. (step 9)
//!
//! In: edges that come, go, or carry another role. Out: what happened since a number. Limits: the newest [`N_EVENTS_MAX`] are kept; who
//! asks for older ones is told that they are gone.

use std::collections::VecDeque;

use crate::EdgeId;

/// Events kept. More than this between two looks happens at a start, where all edges are to be looked at anyway.
pub const N_EVENTS_MAX: usize = 8_192;

/// What happened to an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is there now. Its login roles stand in the edge.
    Came(EdgeId),
    /// It is forgotten.
    Went(EdgeId),
    /// It carries a login role that it did not before.
    Acted {
        /// The edge.
        edge: EdgeId,
        /// The role.
        user: String,
    },
}

/// The newest events, numbered from the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    kept: VecDeque<Event>,
    n: u64,
}

impl Events {
    pub(crate) fn note(&mut self, event: Event) {
        if self.kept.len() == N_EVENTS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
        self.n += 1;
    }

    pub(crate) const fn n(&self) -> u64 {
        self.n
    }

    pub(crate) fn since(&self, from: u64) -> Option<impl Iterator<Item = &Event>> {
        let first = self.n - self.kept.len() as u64;
        (first..=self.n)
            .contains(&from)
            .then(|| self.kept.range((from - first) as usize..))
    }
}
