//! How surprising the abnormal rows of one series are beside its normal ones. (step 12)
//!
//! In: normal and abnormal values, NaN where missing. Out: nats of surprise, 0 where nothing is unusual.
//! Robust: location is the median, scale the widest of four quantiles of the distance from it, each as wide as a normal
//! distribution would have it, so that a series with bursts is judged by its bursts; never below a share of the median, so
//! that a flat series may move a little (Huber, Robust Statistics, §5). A deviation of z scales is worth ln(1 + z²) nats, the
//! logarithm of how much less likely a Cauchy distribution finds it than its centre: heavy tails, no cut-off.
//! Invariants: SU-1 the order of rows within a region changes nothing but the onset. SU-2 multiplying a series by a positive
//! number, and for a series without floor also adding one, changes nothing. SU-3 missing values never count.
//! Does not: know time, names, graphs.

use hsw_stats::{ln_1p, median};

/// Quantiles of the distance from the median, with those of the half-normal distribution: Φ⁻¹((1 + q) / 2).
///
/// The last is 0.95: the rarest twentieth of what is called normal may be incidents of the past. Ours: swept on the sets rcd,
/// petshop and nezha_tt; up to 0.9 bursts of quiet entities lead, from 0.99 a past with incidents in it hides new ones.
const QUANTILES: [(f64, f64); 4] = [
    (0.5, 0.674_489_750_196_081_7),
    (0.75, 1.150_349_380_376_008),
    (0.9, 1.644_853_626_951_472_2),
    (0.95, 1.959_963_984_540_054),
];
/// Normal values below which nothing is said.
const N_NORMAL_MIN: usize = 4;
/// Below this a scale is none: the series was constant at zero.
const TINY: f64 = 1e-12;

/// Location and scale of what is normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usual {
    /// The median.
    pub(crate) centre: f64,
    /// One standard deviation, were it a normal distribution; > 0.
    pub(crate) scale: f64,
}

impl Usual {
    /// Of the finite values among `values`; the scale is at least `share` of the median and at least `least`.
    ///
    /// `None` with fewer than `n_min` values. A series that was constant at zero but for a few values is judged by the
    /// farthest of them. O(n log n).
    pub(crate) fn of(values: &[f64], share: f64, least: f64, n_min: usize) -> Option<Self> {
        let mut values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        if values.len() < n_min.max(1) {
            return None;
        }
        let centre = median(&mut values)?;
        for value in &mut values {
            *value = (*value - centre).abs();
        }
        values.sort_by(f64::total_cmp);
        let mut scale = (share * centre.abs()).max(least);
        for (q, sigmas) in QUANTILES {
            // A quantile between the last two of few values is their maximum by another name.
            if values.len() as f64 * (1.0 - q) >= 0.5 {
                scale = scale.max(quantile(&values, q) / sigmas);
            }
        }
        if scale <= TINY {
            scale = values.last().copied().unwrap_or(0.0).max(TINY);
        }
        Some(Self { centre, scale })
    }

    /// Nats of one value.
    pub(crate) fn surprise(self, value: f64, bad: Bad) -> f64 {
        let z = (value - self.centre) / self.scale;
        let z = match bad {
            Bad::Up => z.max(0.0),
            Bad::Down => z.min(0.0),
            Bad::Both => z,
        };
        ln_1p(z * z)
    }
}

/// Which way is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    Up,
    Down,
    Both,
}

/// What the abnormal rows of a series amount to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Surprise {
    /// Mean over the worst rows, nats.
    pub(crate) nats: f64,
    /// The first of two rows in a row above the noise, counted from the first that was looked at.
    pub(crate) onset: Option<usize>,
}

/// Judges a series: `normal` against `abnormal`, of whose rows the worst `share` is taken; the onset is looked for from the
/// rows `before` on. `None` where normal or abnormal values are missing. O(n log n).
pub(crate) fn judge(rows: Rows<'_>, usual: Usual, bad: Bad, config: &crate::Config) -> Surprise {
    let nats = |values: &[f64]| -> Vec<f64> {
        let all = values.iter().map(|value| {
            if value.is_finite() {
                usual.surprise(*value, bad)
            } else {
                f64::NAN
            }
        });
        all.collect()
    };
    let abnormal = nats(rows.abnormal);
    let mut worst: Vec<f64> = abnormal.iter().copied().filter(|n| n.is_finite()).collect();
    worst.sort_by(|a, b| b.total_cmp(a));
    let n = (worst.len() as f64 * config.worst).ceil().max(1.0) as usize;
    worst.truncate(n);
    if worst.is_empty() {
        return Surprise::default();
    }
    let mut all = nats(rows.before);
    all.extend(&abnormal);
    let is_high = |row: usize| all.get(row).is_none_or(|nats| *nats > config.noise);
    Surprise {
        nats: worst.iter().sum::<f64>() / worst.len() as f64,
        onset: (0..all.len()).find(|row| all[*row] > config.noise && is_high(row + 1)),
    }
}

/// The rows of a series that are judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Rows that may be either, just before the abnormal ones.
    pub(crate) before: &'a [f64],
    /// The abnormal ones.
    pub(crate) abnormal: &'a [f64],
}

/// What is normal of a metric; `None` with fewer than [`N_NORMAL_MIN`] values.
pub(crate) fn usual(normal: &[f64], least: f64, config: &crate::Config) -> Option<Usual> {
    Usual::of(normal, config.floor, least, N_NORMAL_MIN)
}

/// The quantile of ascending values, between neighbours in proportion; 0 for none.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = q * last as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}
