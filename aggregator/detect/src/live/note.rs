//! What the pass over all series of a window leaves of a node: its worst deviations and its principal metrics. (step 10)
//!
//! Limits: one kilobyte a node. Does not: remember earlier windows.

use hsw_fusion::layout::METRICS;
use hsw_types::{Bad, MetricSpec};

use crate::detector::{Judged, SCORE_TOLD};

/// Worst deviations that count: one series may err, five seldom do (ours, not swept).
const N_WORST: usize = 5;
/// Standard deviations beyond which a series says no more.
const CUT: f64 = 30.0;
/// The series of durations of one kind of statement.
const LATENCY: &str = "query.latency_ms";

/// The largest of what was seen, descending.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Worst {
    values: [f32; N_WORST],
    n_seen: u32,
}

impl Worst {
    fn take(&mut self, value: f64) {
        self.n_seen += 1;
        let value = value.min(CUT) as f32;
        let at = self.values.partition_point(|v| *v >= value);
        if at < N_WORST {
            self.values[at..].rotate_right(1);
            self.values[at] = value;
        }
    }

    /// Mean square of the worst, in squared standard deviations; `None` where nothing was seen.
    pub(crate) fn mean_square(&self) -> Option<f64> {
        let sum: f64 = self
            .values
            .iter()
            .map(|v| f64::from(*v) * f64::from(*v))
            .sum();
        (self.n_seen > 0).then_some(sum / N_WORST as f64)
    }
}

/// A principal metric at this window; of several subjects the one that deviates most.
#[derive(Debug, Clone, Copy)]
struct Seen {
    own: f32,
    apart: f32,
    y: f32,
}

const UNSEEN: Seen = Seen {
    own: f32::NAN,
    apart: f32::NAN,
    y: f32::NAN,
};

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Note {
    pub(crate) own: Worst,
    pub(crate) apart: Worst,
    /// Slowest fingerprint in standard deviations, and how many there are.
    pub(crate) latency: (f64, u32),
    seen: [Seen; METRICS.len()],
}

impl Default for Note {
    fn default() -> Self {
        Self {
            own: Worst::default(),
            apart: Worst::default(),
            latency: (0.0, 0),
            seen: [UNSEEN; METRICS.len()],
        }
    }
}

impl Note {
    /// Another window.
    pub(crate) fn begin(&mut self) {
        if self.own.n_seen > 0 {
            *self = Self::default();
        }
    }

    /// Takes a judged series; `principal` is its metric's place in the layout.
    pub(crate) fn take(&mut self, spec: &MetricSpec, principal: Option<usize>, judged: &Judged) {
        if !judged.is_known {
            return;
        }
        let bad = |x: f64| match spec.bad {
            Bad::High => x,
            Bad::Low => -x,
            Bad::Either => x.abs(),
        };
        // What is no change, or a habit, counts below what is worth telling: as in the detector.
        let counted = |x: f64| if judged.counts { x } else { x.min(SCORE_TOLD) }.max(0.0);
        let own = counted(bad(judged.own));
        self.own.take(own);
        if let Some(apart) = judged.apart {
            self.apart.take(counted(bad(apart)));
        }
        if spec.name == LATENCY {
            self.latency.0 = self.latency.0.max(own);
            self.latency.1 += 1;
        }
        if let Some(seen) = principal.and_then(|at| self.seen.get_mut(at)) {
            let is_worse = seen.own.is_nan() || bad(judged.own) > bad(f64::from(seen.own));
            if is_worse {
                *seen = Seen {
                    own: judged.own as f32,
                    apart: judged.apart.unwrap_or(judged.own) as f32,
                    y: judged.y as f32,
                };
            }
        }
    }

    /// Deviation of a principal metric from its own past and from the siblings, robust standard deviations; `None` where unknown.
    #[must_use]
    pub fn metric(&self, principal: usize) -> Option<(f64, f64)> {
        let seen = self.seen.get(principal).filter(|seen| !seen.own.is_nan())?;
        Some((f64::from(seen.own), f64::from(seen.apart)))
    }

    /// Principal metrics on the judged scale, less what the siblings moved; NaN where unknown.
    pub(crate) fn columns(&self) -> [f64; METRICS.len()] {
        self.seen.map(|seen| f64::from(seen.y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_fusion::layout::metric_index;
    use hsw_types::metric_spec;

    fn judged(own: f64, counts: bool) -> Judged {
        Judged {
            own,
            apart: Some(own / 2.0),
            y: own,
            counts,
            is_known: true,
            ..Judged::default()
        }
    }

    #[test]
    fn the_worst_count_in_the_bad_direction_and_what_is_no_change_hardly() {
        let mut note = Note::default();
        assert_eq!(note.own.mean_square(), None);
        let commits = metric_spec("pg.commits").unwrap();
        note.take(commits, metric_index("pg.commits"), &judged(9.0, true));
        assert_eq!(
            note.own.mean_square(),
            Some(0.0),
            "more commits are not bad"
        );
        note.take(commits, None, &judged(-10.0, true));
        note.take(commits, None, &judged(-99.0, false));
        let expected = (10.0 * 10.0 + SCORE_TOLD * SCORE_TOLD) / 5.0;
        assert!((note.own.mean_square().unwrap() - expected).abs() < 1e-6);
        assert_eq!(
            note.metric(metric_index("pg.commits").unwrap()),
            Some((9.0, 4.5))
        );
        note.begin();
        assert_eq!(note.metric(metric_index("pg.commits").unwrap()), None);
    }
}
