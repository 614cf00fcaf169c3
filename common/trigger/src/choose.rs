//! Which triggers are tracked by rounds, which are told of every hit, which are merely scanned. (ALGORITHMS 2.6)
//!
//! New triggers are scanned, and go under a tree once what has come tells that the rest will take long (`scan`). In one
//! dimension a tree looks at a trigger when it can have matured at the earliest, or tells it of every hit, whichever is
//! less work ([`Choice`]). In several, with h canonical nodes, w the mean weight of an element and c
//! [`Config::direct_factor`]: what is left is at most `6·c·w·h`, so that few hits are → plain stabbing: the trigger stands
//! in the lists of its canonical nodes and each hit is subtracted, O(1); else rounds of slack, O(h · log(left)) signals.
//! No choice changes an answer.

/// What a [`crate::Forest`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// c of the rule in several dimensions; 1 is the paper's.
    pub direct_factor: u64,
    /// Triggers that are scanned whatever comes; more may be put under a tree, ≥ 1.
    pub n_scanned_max: usize,
    /// Triggers at a time; registering more is an error.
    pub n_queries_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            direct_factor: DIRECT_FACTOR,
            n_scanned_max: N_SCANNED_MAX,
            n_queries_max: 1 << 21,
        }
    }
}

/// The rule of a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    direct_factor: u64,
    n_seen: u64,
    weight_seen: u64,
}

impl Rule {
    pub(crate) const fn new(direct_factor: u64) -> Self {
        Self {
            direct_factor,
            n_seen: 0,
            weight_seen: 0,
        }
    }

    /// Takes an element's weight into account.
    pub(crate) const fn see(&mut self, weight: u64) {
        self.n_seen += 1;
        self.weight_seen = self.weight_seen.saturating_add(weight);
    }

    /// Mean weight of an element, at least 1.
    pub(crate) fn mean(&self) -> u64 {
        let mean = self.weight_seen.checked_div(self.n_seen);
        mean.unwrap_or(1).max(1)
    }

    /// What stretches the direct phase: c times the mean weight.
    pub(crate) fn factor(&self) -> u64 {
        self.direct_factor.max(1).saturating_mul(self.mean())
    }

    /// The choice for triggers in a region of a line: after so much weight on a line of so many triggers and intervals,
    /// so much of it in the region, which is `share` of the intervals.
    pub(crate) fn choice(
        &self,
        (total, n_alive, n_leaves): (u64, usize, usize),
        in_region: u64,
        share: f64,
    ) -> Choice {
        let mean = self.mean() as f64;
        let prior = N_PRIOR * mean;
        let total = total as f64 + prior;
        Choice {
            total,
            of_leaf: prior / n_leaves as f64,
            visit: VISIT / n_alive as f64 * total,
            look: LOOK * mean * (in_region as f64 + prior * share),
        }
    }
}

/// Whether to tell triggers of every hit, or to look at them when they can have matured.
///
/// With r elements to go, a trigger is looked at about once in r elements of its region, which gets the share q of all;
/// told, it costs the rows of its block that an element scans, [`SCANNED`] times the share p of the weight that hits it,
/// and its part of visiting blocks at all. So it is told where `r · (min(1, 3p) + VISIT/n) < q · LOOK`. Divided out,
/// because it is asked at every look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    /// Weight that has come, with that of the elements imagined.
    total: f64,
    /// Weight that was imagined for each interval.
    of_leaf: f64,
    visit: f64,
    look: f64,
}

impl Choice {
    /// With `left` of its threshold, after `got`, over so many intervals.
    #[inline]
    pub(crate) fn is_told(&self, left: u64, got: u64, n_leaves: u32) -> bool {
        let hits = got as f64 + self.of_leaf * f64::from(n_leaves);
        let scanned = (SCANNED * hits).min(self.total) + self.visit;
        left as f64 * scanned < self.look
    }
}

/// Elements that a range's share of the endpoints counts for. Ours, not swept.
const N_PRIOR: f64 = 64.0;
/// Rows of a block that an element scans for each one it hits: two to four by construction.
const SCANNED: f64 = 3.0;
/// Rows that are scanned in the time a look at one trigger takes. This and the next ours: `trigger-grid` with 20 and 30, 50
/// and 100, equal within noise but for a thousand triggers, which want fewer visits.
const LOOK: f64 = 30.0;
/// Rows that are scanned in the time that visiting blocks takes.
const VISIT: f64 = 50.0;
/// A scan of so many costs what a tree does.
const N_SCANNED_MAX: usize = 128;

/// Ours: with 10^5 triggers of 20,000 hits, ranges of a tenth, through the maturity of all, 1, 4, 8, 32 took 2712, 2604,
/// 2349, 2282 nanoseconds an element when this served one dimension too.
const DIRECT_FACTOR: u64 = 8;
