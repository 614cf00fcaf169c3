//! Quantiles of positive values within one percent, mergeable without loss. (step 3)
//!
//! In: durations. Out: quantiles q ∈ [0, 1] with a relative error ≤ 1 %.
//! Invariants: SK-1 merging equals having seen all values in one sketch, bit for bit, while neither has collapsed.
//! SK-2 decoding any bytes never panics. Limits: 512 buckets (a factor of 27,000 at 1 %), beyond it the lowest two
//! merge, so that high quantiles keep their error.
//! Source: Masson, Rim, Lee: DDSketch, VLDB 2019, §2 (mapping, eq. 1) and §3 (collapsing). Ours, because the wire form
//! must be stable and sparse.

use std::collections::BTreeMap;

/// Bound of the relative error.
const ACCURACY: f64 = 0.01;
/// Ratio of neighbouring bucket borders: γ = (1 + α) / (1 − α).
const GAMMA: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);
const N_BUCKETS_MAX: usize = 512;
/// Values below this count as zero (a nanosecond, in milliseconds).
const SMALLEST: f64 = 1e-6;

/// Why bytes are not a sketch: malformed, or beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError;

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed sketch")
    }
}

impl std::error::Error for DecodeError {}

/// A quantile sketch. See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuantileSketch {
    n_zero: u64,
    buckets: BTreeMap<i32, u64>,
}

impl QuantileSketch {
    /// Adds a value ≥ 0; what is negative or not finite is taken as zero. O(log buckets).
    pub fn add(&mut self, value: f64) {
        if value.is_finite() && value >= SMALLEST {
            let bucket = libm::ceil(libm::log(value) / libm::log(GAMMA)) as i32;
            *self.buckets.entry(bucket).or_insert(0) += 1;
            self.collapse();
        } else {
            self.n_zero += 1;
        }
    }

    /// Adds all that `other` has seen. O(buckets).
    pub fn merge(&mut self, other: &Self) {
        self.n_zero = self.n_zero.saturating_add(other.n_zero);
        for (&bucket, &n) in &other.buckets {
            let count = self.buckets.entry(bucket).or_insert(0);
            *count = count.saturating_add(n);
        }
        self.collapse();
    }

    /// Number of values seen.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.buckets
            .values()
            .fold(self.n_zero, |sum, n| sum.saturating_add(*n))
    }

    /// The value at rank `⌊q · (n − 1)⌋`, within one percent; `None` when empty. `q` is clamped to [0, 1].
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let n = self.n();
        let rank = (q.clamp(0.0, 1.0) * n.checked_sub(1)? as f64) as u64;
        let mut seen = self.n_zero;
        if rank < seen {
            return Some(0.0);
        }
        for (&bucket, &count) in &self.buckets {
            seen = seen.saturating_add(count);
            if rank < seen {
                return Some(2.0 * libm::pow(GAMMA, f64::from(bucket)) / (GAMMA + 1.0));
            }
        }
        None
    }

    /// Few bytes: counts as varints, buckets as gaps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.buckets.len() * 3);
        put(&mut out, self.n_zero);
        put(&mut out, self.buckets.len() as u64);
        let mut before = 0_i64;
        for (&bucket, &n) in &self.buckets {
            let gap = i64::from(bucket) - before;
            before = i64::from(bucket);
            put(&mut out, ((gap << 1) ^ (gap >> 63)) as u64);
            put(&mut out, n);
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else, including more buckets than the limit.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let n_zero = take(&mut bytes)?;
        let n_buckets = take(&mut bytes)?;
        if n_buckets > N_BUCKETS_MAX as u64 {
            return Err(DecodeError);
        }
        let mut sketch = Self {
            n_zero,
            buckets: BTreeMap::new(),
        };
        let mut at = 0_i64;
        for _ in 0..n_buckets {
            let zigzag = take(&mut bytes)?;
            let gap = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            at = at.checked_add(gap).ok_or(DecodeError)?;
            let bucket = i32::try_from(at).map_err(|_| DecodeError)?;
            sketch.buckets.insert(bucket, take(&mut bytes)?);
        }
        if bytes.is_empty() {
            Ok(sketch)
        } else {
            Err(DecodeError)
        }
    }

    fn collapse(&mut self) {
        while self.buckets.len() > N_BUCKETS_MAX {
            if let Some((_, lowest)) = self.buckets.pop_first()
                && let Some(mut next) = self.buckets.first_entry()
            {
                *next.get_mut() = next.get().saturating_add(lowest);
            }
        }
    }
}

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn take(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&first, rest) = bytes.split_first().ok_or(DecodeError)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> QuantileSketch {
        let mut sketch = QuantileSketch::default();
        values.iter().for_each(|v| sketch.add(*v));
        sketch
    }

    #[test]
    fn an_empty_sketch_has_no_quantile() {
        assert_eq!(QuantileSketch::default().quantile(0.5), None);
    }

    #[test]
    fn a_hundred_equal_values_take_few_bytes() {
        assert!(of(&[12.0; 100]).encode().len() <= 6);
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(prop_oneof![Just(0.0), 0.001..1e4_f64], 1..200)
    }

    proptest! {
        #[test]
        fn prop_a_quantile_is_within_one_percent_of_the_sorted_list(mut values in values(), q in 0.0..=1.0_f64) {
            let estimate = of(&values).quantile(q).unwrap();
            values.sort_by(f64::total_cmp);
            let exact = values[(q * (values.len() - 1) as f64) as usize];
            prop_assert!((estimate - exact).abs() <= exact * 0.010_001, "{} for {}", estimate, exact);
        }

        #[test]
        fn prop_merging_equals_seeing_everything(a in values(), b in values()) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let mut other_way = of(&b);
            other_way.merge(&of(&a));
            let all = of(&[a, b].concat());
            prop_assert_eq!(&merged, &all);
            prop_assert_eq!(&other_way, &all);
        }

        #[test]
        fn prop_bytes_round_trip_and_any_bytes_are_safe(a in values(), junk in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(QuantileSketch::decode(&of(&a).encode()), Ok(of(&a)));
            let _ = QuantileSketch::decode(&junk);
        }
    }
}
