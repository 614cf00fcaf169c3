//! A smaller set in the place of one that was mended for long, and what is told of those who stay together.

use hsw_landmark::{twin_bound, twin_classes};

use super::Watch;

/// A slice: looks at a vertex, a few nanoseconds each.
const RENEW_WORK: usize = 1 << 20;
/// A set takes another's place where it is a twentieth smaller: each change is told to agents.
pub(super) const ANEW_SHARE: usize = 20;

impl Watch {
    /// A slice of the work on a smaller set, when one is due; to be called every second or so. O(`RENEW_WORK`).
    pub fn renew(&mut self) {
        self.renew_by(RENEW_WORK);
    }

    pub(super) fn renew_by(&mut self, n_looks: usize) {
        if std::mem::take(&mut self.is_renewal_due) {
            self.renewal = Some(self.tracked.renewal());
        }
        let Some(fresh) = self.renewal.as_mut().and_then(|r| r.work(n_looks)) else {
            return;
        };
        self.renewal = None;
        let n = self.tracked.landmarks().len();
        if fresh.len() + n / ANEW_SHARE < n {
            let beside = |v: &u32| !self.tracked.graph().neighbours(*v).is_empty();
            let fresh = fresh.into_iter().filter(beside).collect();
            self.tracked.swap(fresh);
            // What came meanwhile.
            self.tracked.keep();
            self.follow_landmarks();
        }
        self.n_chosen = self.tracked.landmarks().len();
    }

    /// Vertices of one colour with the same neighbours as another, and classes of such: each class is left together but for landmarks.
    #[must_use]
    pub fn n_twins(&self) -> (usize, usize) {
        self.tracked.n_twins()
    }

    /// Landmarks that a set chosen from scratch would have now: for comparison, as dear as a start.
    #[must_use]
    pub fn n_chosen_anew(&self) -> usize {
        self.tracked.chosen_anew().len()
    }

    /// Vertices that are told apart from all others of their colour, and all. O(vertices · log).
    #[must_use]
    pub fn n_alone(&self) -> (usize, usize) {
        (self.tracked.n_alone(), self.numbers_in_use())
    }

    /// Landmarks that telling twins of one colour apart would cost: all but one of each class.
    #[must_use]
    pub fn twin_bound(&self) -> usize {
        let (n_twins, n_classes) = self.n_twins();
        n_twins - n_classes
    }

    /// As [`Self::twin_bound`], if kinds and shards were not known. O(edges · log).
    #[must_use]
    pub fn twin_bound_uncoloured(&self) -> usize {
        let graph = self.tracked.graph();
        let classes = twin_classes(graph, None);
        let with_edges = |class: &Vec<u32>| !graph.neighbours(class[0]).is_empty();
        twin_bound(&classes.into_iter().filter(with_edges).collect::<Vec<_>>())
    }
}
