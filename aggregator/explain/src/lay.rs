//! Values laid out over equal parts of their range: what all predicates of numbers begin with. (step 12)
//!
//! In: values, rows. Out: extremes, sums, the part that a value lies in. Invariants: LA-1 a value lies in the part whose bounds
//! enclose it, as the bounds themselves are rounded: a predicate that begins at a part holds for the values in it.
//! Loops are written so that they have no branch a row: thousands of attributes are laid out for one explanation.

use std::ops::Range;

/// Most parts, the one of the maximum among them; one more index is free, for what is missing.
pub(crate) const PARTS_MAX: usize = 2_047;
const _: () = assert!((PARTS_MAX + 1).is_power_of_two(), "indices are masked");
/// Where missing values go.
const NOWHERE: usize = PARTS_MAX;
/// Sums and extremes that are kept side by side.
const N_LANES: usize = 4;

/// A number for each part, and one behind them for what is missing.
pub(crate) type Parts<T> = [T; PARTS_MAX + 1];

/// The parts of a range. The last one holds the maximum alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) min: f64,
    pub(crate) width: f64,
    per_unit: f64,
    /// Parts, that of the maximum among them.
    pub(crate) n: usize,
}

impl Scale {
    /// `n_parts` of them and the one of the maximum; `None` where all values are equal, none is there or one is infinite.
    pub(crate) fn new((min, max): (f64, f64), n_parts: usize) -> Option<Self> {
        let n = n_parts.clamp(2, PARTS_MAX - 1);
        let width = (max - min) / n as f64;
        let per_unit = n as f64 / (max - min);
        let is_sound = width > 0.0 && width.is_finite() && per_unit.is_finite();
        is_sound.then_some(Self {
            min,
            width,
            per_unit,
            n: n + 1,
        })
    }

    /// The value a part begins at.
    pub(crate) fn bound(&self, part: usize) -> f64 {
        // Numbers of 32 bits with a sign: the only ones that processors turn into floats and back in one step.
        self.min + self.width * f64::from(part as i32)
    }

    /// The part a value lies in; one outside the range lies in the first or the last.
    pub(crate) fn part(&self, value: f64) -> usize {
        let last = self.n - 1;
        // As part of the range, so that what lies far outside stays exact.
        let value = if value > self.min { value } else { self.min };
        if value >= self.bound(last) {
            last
        } else {
            self.index(value)
        }
    }

    /// Calls with the part of each value, all of which lie in the range, and with one that is none for a missing value.
    pub(crate) fn each(&self, values: &[f64], rows: &[Range<usize>], mut take: impl FnMut(usize)) {
        for slice in slices(values, rows) {
            let (chunks, rest) = slice.as_chunks::<8>();
            for chunk in chunks {
                chunk
                    .map(|value| self.index(value))
                    .into_iter()
                    .for_each(&mut take);
            }
            rest.iter().for_each(|value| take(self.index(*value)));
        }
    }

    /// Floats all the way, without a branch or a conversion, so that several values are laid at a time.
    fn index(&self, value: f64) -> usize {
        // Added to 2^52, a number is rounded to a whole one, which then stands in the lowest bits.
        const WHOLE: f64 = (1_u64 << 52) as f64;
        let nearest = ((value - self.min) * self.per_unit + WHOLE) - WHOLE;
        let is_above = self.min + self.width * nearest > value;
        let part = if is_above { nearest - 1.0 } else { nearest };
        let part = if value.is_nan() { NOWHERE as f64 } else { part };
        ((part + WHOLE).to_bits() & PARTS_MAX as u64) as usize
    }
}

/// The stretches of some rows, as far as the column reaches.
fn slices<'a>(values: &'a [f64], rows: &'a [Range<usize>]) -> impl Iterator<Item = &'a [f64]> + 'a {
    rows.iter()
        .map(|rows| values.get(rows.clone()).unwrap_or_default())
}

/// Least and greatest value, infinities the wrong way round where there is none.
pub(crate) fn extremes(values: &[f64]) -> (f64, f64) {
    let mut min = [f64::INFINITY; N_LANES];
    let mut max = [f64::NEG_INFINITY; N_LANES];
    let (chunks, rest) = values.as_chunks::<N_LANES>();
    let mut look = |lane: usize, value: f64| {
        // A missing value is neither less nor greater.
        min[lane] = if value < min[lane] { value } else { min[lane] };
        max[lane] = if value > max[lane] { value } else { max[lane] };
    };
    for chunk in chunks {
        for (lane, value) in chunk.iter().enumerate() {
            look(lane, *value);
        }
    }
    rest.iter().for_each(|value| look(0, *value));
    (
        min.into_iter().fold(f64::INFINITY, f64::min),
        max.into_iter().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// The extremes of some rows.
pub(crate) fn extremes_of(values: &[f64], rows: &[Range<usize>]) -> (f64, f64) {
    let both = |(a, b): (f64, f64), (c, d): (f64, f64)| (a.min(c), b.max(d));
    slices(values, rows)
        .map(extremes)
        .fold((f64::INFINITY, f64::NEG_INFINITY), both)
}

/// Sum and number of the values of some rows.
pub(crate) fn sum_of(values: &[f64], rows: &[Range<usize>]) -> (f64, usize) {
    let mut sums = [0.0; N_LANES];
    let mut counts = [0_u32; N_LANES];
    let mut add = |lane: usize, value: f64| {
        sums[lane] += if value.is_nan() { 0.0 } else { value };
        counts[lane] += u32::from(!value.is_nan());
    };
    for slice in slices(values, rows) {
        let (chunks, rest) = slice.as_chunks::<N_LANES>();
        for chunk in chunks {
            for (lane, value) in chunk.iter().enumerate() {
                add(lane, *value);
            }
        }
        rest.iter().for_each(|value| add(0, *value));
    }
    (sums.iter().sum(), counts.iter().sum::<u32>() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn missing_values_are_in_no_part_and_in_no_sum() {
        let values = [1.0, f64::NAN, 3.0, 2.0, f64::NAN, 9.0];
        let rows = [0..3, 4..9];
        assert_eq!(extremes(&values), (1.0, 9.0));
        assert_eq!(extremes_of(&values, &[0..1, 1..3]), (1.0, 3.0));
        assert_eq!(sum_of(&values, &[0..2, 2..5]), (6.0, 3));
        assert_eq!(
            sum_of(&values, &rows),
            (4.0, 2),
            "rows that are not there say nothing"
        );
        let scale = Scale::new((1.0, 9.0), 4).unwrap();
        let mut parts = Vec::new();
        scale.each(&values, &[0..2, 2..6], |part| parts.push(part));
        assert_eq!(parts, [0, NOWHERE, 1, 0, NOWHERE, 4]);
        assert!(Scale::new(extremes(&[f64::NAN]), 4).is_none());
        assert!(
            Scale::new((0.0, f64::INFINITY), 4).is_none() && Scale::new((1.0, 1.0), 4).is_none()
        );
        assert!(Scale::new((0.0, f64::MIN_POSITIVE / 1e9), 4).is_none());
    }

    proptest! {
        /// LA-1, with ranges whose parts are no round numbers.
        #[test]
        fn prop_a_value_lies_between_the_bounds_of_its_part(min in -1e6..1e6_f64, range in 1e-3..1e9_f64, at in 0.0..=1.0_f64, n in 2_usize..2_000) {
            let scale = Scale::new((min, min + range), n).unwrap();
            let value = min + range * at;
            let part = scale.part(value);
            prop_assert!(part == 0 || scale.bound(part) <= value);
            prop_assert!(part == scale.n - 1 || value < scale.bound(part + 1));
        }
    }
}
