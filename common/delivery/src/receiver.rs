//! The receiving half: what is new, what came before, what was lost on the way. (step 6)
//!
//! In: sequence and windows of each summary, then word that it is committed. Out: a [`Verdict`].
//! Invariants: RE-1 a sequence of an incarnation is accepted once. RE-2 a window of a node is accepted once, whatever
//! the incarnation. RE-3 the committed position never goes back, and [`Receiver::restore`] from it loses nothing.
//! Limits: [`N_LIVES_MAX`] incarnations of a node; nodes are bounded by who is admitted.
//! Does not: decide who may speak (admission does) or make anything durable (the store does).

use std::collections::BTreeMap;

use hsw_types::{Incarnation, NodeId, Sequence, WindowIndex};

/// Incarnations remembered of one node; the one used longest ago is forgotten first. A forgotten one that returns
/// cannot commit a window twice: RE-2 holds without it.
pub const N_LIVES_MAX: usize = 8;

/// What to do with a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// New: commit it, say [`Receiver::committed`], acknowledge it.
    Accept {
        /// Sequences left out just before it: the sender had dropped them. Already counted.
        lost: u64,
    },
    /// Seen before: store nothing. Acknowledge the committed position ([`Receiver::last`]), not this sequence, which may
    /// still wait for its commit.
    Duplicate,
    /// A new sequence with windows that are committed already: store only its number, say [`Receiver::skipped`],
    /// acknowledge it; otherwise the sender would offer it for ever.
    Overlap,
}

/// The committed position of one incarnation, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub node: NodeId,
    /// Which life of its spool.
    pub incarnation: Incarnation,
    /// Highest committed sequence.
    pub sequence: Sequence,
    /// Last window committed by this incarnation; `None` when all it sent was refused.
    pub last_window: Option<WindowIndex>,
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Summaries accepted.
    pub accepted: u64,
    /// Summaries seen before.
    pub duplicates: u64,
    /// Summaries refused because of their windows.
    pub overlaps: u64,
    /// Sequences that never came.
    pub lost: u64,
    /// Incarnations forgotten.
    pub lives_forgotten: u64,
}

/// Positions of every node. See the module's header.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    nodes: BTreeMap<NodeId, Node>,
    counters: Counters,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Least recently used first.
    lives: Vec<Life>,
    /// Last window judged good, committed or not yet.
    judged_window: Option<WindowIndex>,
    committed_window: Option<WindowIndex>,
}

#[derive(Debug, Clone)]
struct Life {
    incarnation: Incarnation,
    /// Highest sequence judged, committed or not yet.
    judged: Sequence,
    committed: Sequence,
}

impl Receiver {
    /// Starts from what the store holds; `entries` least recently used first where the order is known.
    #[must_use]
    pub fn restore(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut receiver = Self::default();
        for entry in entries {
            let node = receiver.nodes.entry(entry.node).or_default();
            let life = node.life(entry.incarnation, &mut receiver.counters);
            life.committed = life.committed.max(entry.sequence);
            life.judged = life.committed;
            node.committed_window = node.committed_window.max(entry.last_window);
            node.judged_window = node.committed_window;
        }
        receiver
    }

    /// Judges a summary before it is committed; `windows` are its first window and their number, none when it could not
    /// be read: then only its number counts. Several may be judged before the first is committed; when a commit
    /// fails, [`Receiver::rollback`] forgets what was judged since.
    pub fn judge(
        &mut self,
        node: &NodeId,
        incarnation: Incarnation,
        sequence: Sequence,
        windows: Option<(WindowIndex, u16)>,
    ) -> Verdict {
        let state = self.nodes.entry(node.clone()).or_default();
        let judged_window = state.judged_window;
        let life = state.life(incarnation, &mut self.counters);
        if sequence <= life.judged {
            self.counters.duplicates += 1;
            return Verdict::Duplicate;
        }
        // Of an incarnation seen for the first time it is not known what came before: its node counts its own drops.
        let lost = if life.judged == Sequence(0) {
            0
        } else {
            sequence.0 - life.judged.0 - 1
        };
        life.judged = sequence;
        self.counters.lost += lost;
        if let Some((first, n)) = windows {
            if judged_window.is_some_and(|last| first <= last) {
                self.counters.overlaps += 1;
                return Verdict::Overlap;
            }
            state.judged_window = Some(last_of(first, n));
        }
        self.counters.accepted += 1;
        Verdict::Accept { lost }
    }

    /// The summary is durable, and so is everything judged before it.
    pub fn committed(
        &mut self,
        node: &NodeId,
        incarnation: Incarnation,
        sequence: Sequence,
        first_window: WindowIndex,
        n_windows: u16,
    ) {
        self.advance(
            node,
            incarnation,
            sequence,
            Some(last_of(first_window, n_windows)),
        );
    }

    /// An overlapping summary's number is durable, its windows are not stored.
    pub fn skipped(&mut self, node: &NodeId, incarnation: Incarnation, sequence: Sequence) {
        self.advance(node, incarnation, sequence, None);
    }

    /// A commit failed: what was judged and is not committed may come again. Close the node's connection too: frames
    /// that are still on their way behind the failed one would look like a gap. The same holds for frames of an older
    /// connection once a newer one was welcomed: discard them.
    pub fn rollback(&mut self, node: &NodeId) {
        let Some(state) = self.nodes.get_mut(node) else {
            return;
        };
        state.judged_window = state.committed_window;
        for life in &mut state.lives {
            life.judged = life.committed;
        }
    }

    /// Highest committed sequence of the incarnation, 0 for none, and the last committed window of the node.
    #[must_use]
    pub fn last(&self, node: &NodeId, incarnation: Incarnation) -> (Sequence, Option<WindowIndex>) {
        let Some(state) = self.nodes.get(node) else {
            return (Sequence(0), None);
        };
        let life = state.lives.iter().find(|l| l.incarnation == incarnation);
        (
            life.map_or(Sequence(0), |l| l.committed),
            state.committed_window,
        )
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn advance(
        &mut self,
        node: &NodeId,
        incarnation: Incarnation,
        sequence: Sequence,
        window: Option<WindowIndex>,
    ) {
        let state = self.nodes.entry(node.clone()).or_default();
        let life = state.life(incarnation, &mut self.counters);
        life.committed = life.committed.max(sequence);
        life.judged = life.judged.max(life.committed);
        state.committed_window = state.committed_window.max(window);
        state.judged_window = state.judged_window.max(state.committed_window);
    }
}

impl Node {
    /// The incarnation's position, now the most recently used.
    fn life(&mut self, incarnation: Incarnation, counters: &mut Counters) -> &mut Life {
        let found = self.lives.iter().position(|l| l.incarnation == incarnation);
        let life = match found {
            Some(at) => self.lives.remove(at),
            None => Life {
                incarnation,
                judged: Sequence(0),
                committed: Sequence(0),
            },
        };
        if self.lives.len() >= N_LIVES_MAX {
            self.lives.remove(0);
            counters.lives_forgotten += 1;
        }
        self.lives.push(life);
        let last = self.lives.len() - 1;
        &mut self.lives[last]
    }
}

fn last_of(first: WindowIndex, n_windows: u16) -> WindowIndex {
    first + (i64::from(n_windows).max(1) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Incarnation = Incarnation(7);

    fn node() -> NodeId {
        NodeId::new("shard-1").unwrap()
    }

    fn judge(receiver: &mut Receiver, life: Incarnation, sequence: u64, window: i64) -> Verdict {
        receiver.judge(
            &node(),
            life,
            Sequence(sequence),
            Some((WindowIndex(window), 2)),
        )
    }

    #[test]
    fn a_sequence_is_accepted_once_even_before_its_commit() {
        let mut r = Receiver::default();
        assert_eq!(judge(&mut r, LIFE, 1, 100), Verdict::Accept { lost: 0 });
        assert_eq!(judge(&mut r, LIFE, 1, 100), Verdict::Duplicate);
        assert_eq!(r.last(&node(), LIFE), (Sequence(0), None));
        r.committed(&node(), LIFE, Sequence(1), WindowIndex(100), 2);
        assert_eq!(r.last(&node(), LIFE), (Sequence(1), Some(WindowIndex(101))));
    }

    #[test]
    fn a_gap_is_counted_but_what_came_before_the_first_contact_is_not() {
        let mut r = Receiver::default();
        assert_eq!(judge(&mut r, LIFE, 50, 100), Verdict::Accept { lost: 0 });
        assert_eq!(judge(&mut r, LIFE, 54, 110), Verdict::Accept { lost: 3 });
        assert_eq!(r.counters().lost, 3);
    }

    #[test]
    fn windows_that_exist_are_refused_from_another_incarnation_and_its_number_still_advances() {
        let mut r = Receiver::default();
        judge(&mut r, LIFE, 1, 100);
        r.committed(&node(), LIFE, Sequence(1), WindowIndex(100), 2);
        let other = Incarnation(8);
        assert_eq!(judge(&mut r, other, 1, 101), Verdict::Overlap);
        r.skipped(&node(), other, Sequence(1));
        assert_eq!(
            r.last(&node(), other),
            (Sequence(1), Some(WindowIndex(101)))
        );
        assert_eq!(judge(&mut r, other, 2, 102), Verdict::Accept { lost: 0 });
        assert_eq!(r.counters().overlaps, 1);
    }

    #[test]
    fn a_failed_commit_lets_the_same_summary_come_again() {
        let mut r = Receiver::default();
        judge(&mut r, LIFE, 1, 100);
        r.committed(&node(), LIFE, Sequence(1), WindowIndex(100), 2);
        judge(&mut r, LIFE, 2, 102);
        r.rollback(&node());
        assert_eq!(judge(&mut r, LIFE, 2, 102), Verdict::Accept { lost: 0 });
    }

    #[test]
    fn old_incarnations_are_forgotten_and_still_cannot_repeat_a_window() {
        let mut r = Receiver::default();
        for life in 1..=20 {
            assert_eq!(
                judge(&mut r, Incarnation(life), 1, 100 * life.cast_signed()),
                Verdict::Accept { lost: 0 }
            );
            r.committed(
                &node(),
                Incarnation(life),
                Sequence(1),
                WindowIndex(100 * life.cast_signed()),
                2,
            );
        }
        assert_eq!(r.counters().lives_forgotten, 12);
        assert_eq!(judge(&mut r, Incarnation(1), 1, 100), Verdict::Overlap);
    }
}
