//! The partition space of one numeric attribute: labels, filtering, filling, and the one block that is abnormal. (step 12)
//!
//! In: values, regions. Out: a range of values, or none. The gaps between labelled partitions are never written out: where a
//! gap is cut follows from its two ends, so filtering and filling cost one pass over the labelled partitions.
//! Invariants: PT-1 rows in any order within their regions give the same block. PT-2 so does any affine change of unit.
//! Limits: [`PARTITIONS_MAX`]; O(rows + partitions) time, no allocation that depends on the rows.
//! Source: Yoon, Niu, Mozafari: DBSherlock, SIGMOD 2016, sections 4.1–4.5; where the authors' code does otherwise, both are given.

use crate::columns::{Regions, of};

/// Most partitions of an attribute.
pub const PARTITIONS_MAX: usize = WORDS * 64 - 1;
const WORDS: usize = 32;

/// Least normalised distance of the means in a single case (section 4.5).
pub const THETA_SINGLE: f64 = 0.2;
/// The same where models are merged, which weeds out by itself (section 8.5).
pub const THETA_MERGED: f64 = 0.05;

/// How predicates are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Partitions of an attribute's range beside the one that holds its maximum; the paper has 1,000, its authors'
    /// experiments 500.
    pub n_partitions: usize,
    /// How much farther an abnormal partition seems when gaps are filled; the paper's 10. At 1 both sides are alike.
    pub delta: f64,
    /// Least normalised distance of the regions' means, by either measure.
    pub theta: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            n_partitions: 500,
            delta: 10.0,
            theta: THETA_MERGED,
        }
    }
}

/// A set of partitions.
type Set = [u64; WORDS];

/// An attribute's range in equal parts, with the parts that hold rows of either region.
#[derive(Debug, Clone)]
pub struct Space {
    min: f64,
    width: f64,
    /// One more than the configured ones: the last holds the maximum.
    n: usize,
    abnormal: Set,
    normal: Set,
    n_abnormal: usize,
    n_normal: usize,
    mean_abnormal: f64,
    mean_normal: f64,
}

/// What a condition covers: so many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Of what is abnormal.
    pub abnormal: (usize, usize),
    /// Of what is normal.
    pub normal: (usize, usize),
}

impl Coverage {
    /// Share of what is abnormal that is covered.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.abnormal)
    }

    /// Share of what is covered that is abnormal.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share((self.abnormal.0, self.abnormal.0 + self.normal.0))
    }

    /// Covered shares of abnormal less normal, −1…1.
    #[must_use]
    pub fn separation(&self) -> f64 {
        share(self.abnormal) - share(self.normal)
    }
}

fn share((part, whole): (usize, usize)) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The abnormal block of a space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Lower bound of values; `None` where the block reaches the least one.
    pub min: Option<f64>,
    /// Upper bound of values; `None` where it reaches the greatest.
    pub max: Option<f64>,
    /// Distance of the regions' means as a share of the range: the paper's.
    pub shift: f64,
    /// The same between partitions that hold rows of one region only, each counted once, before any is filtered: the authors'
    /// code's.
    pub shift_of_labels: f64,
}

impl Space {
    /// Lays the values of both regions out over the range of all rows (section 4.1); `None` where one region is empty, or all
    /// values are equal.
    #[must_use]
    pub fn new(values: &[f64], regions: &Regions, n_partitions: usize) -> Option<Self> {
        let abnormal = extent(of(values, regions.abnormal()));
        let normal = extent(of(values, regions.normal()));
        if abnormal.n == 0 || normal.n == 0 {
            return None;
        }
        let all = extent(values.iter().copied());
        let (min, max) = (all.min, all.max);
        let n = n_partitions.clamp(2, PARTITIONS_MAX - 1);
        let width = (max - min) / n as f64;
        if !(width > 0.0 && width.is_finite()) {
            return None;
        }
        let mut space = Self {
            min,
            width,
            n: n + 1,
            abnormal: [0; WORDS],
            normal: [0; WORDS],
            n_abnormal: 0,
            n_normal: 0,
            mean_abnormal: abnormal.sum / abnormal.n as f64,
            mean_normal: normal.sum / normal.n as f64,
        };
        let mut labels = ([0; WORDS], [0; WORDS]);
        space.mark(of(values, regions.abnormal()), &mut labels.0);
        space.mark(of(values, regions.normal()), &mut labels.1);
        for word in 0..WORDS {
            let both = labels.0[word] & labels.1[word];
            space.abnormal[word] = labels.0[word] & !both;
            space.normal[word] = labels.1[word] & !both;
        }
        space.n_abnormal = count(&space.abnormal, 0, space.n);
        space.n_normal = count(&space.normal, 0, space.n);
        Some(space)
    }

    fn mark(&self, values: impl Iterator<Item = f64>, set: &mut Set) {
        for value in values {
            if !value.is_nan() {
                let at = self.partition(value);
                set[at / 64] |= 1 << (at % 64);
            }
        }
    }

    fn partition(&self, value: f64) -> usize {
        // Saturates below zero, so that any value falls into some partition.
        (((value - self.min) / self.width) as usize).min(self.n - 1)
    }

    /// The value a partition begins at.
    fn bound(&self, partition: usize) -> f64 {
        self.min + self.width * partition as f64
    }

    /// What a range covers of the partitions that hold rows of one region only. A partition is covered when it lies within as a
    /// whole. O(partitions / 64).
    #[must_use]
    pub fn covered(&self, min: Option<f64>, max: Option<f64>) -> Coverage {
        let from = min.map_or(0, |min| self.first_from(min));
        let to = max.map_or(self.n, |max| self.last_within(max));
        Coverage {
            abnormal: (count(&self.abnormal, from, to), self.n_abnormal),
            normal: (count(&self.normal, from, to), self.n_normal),
        }
    }

    /// The first partition that begins at or after a value.
    fn first_from(&self, value: f64) -> usize {
        let mut at = self.guess(value).saturating_sub(1);
        while at < self.n && self.bound(at) < value {
            at += 1;
        }
        at
    }

    /// How many of the first partitions end before a value; the last one, which holds the maximum alone, ends there.
    fn last_within(&self, value: f64) -> usize {
        if self.bound(self.n - 1) < value {
            return self.n;
        }
        let mut at = (self.guess(value) + 1).min(self.n - 1);
        while at > 0 && self.bound(at) >= value {
            at -= 1;
        }
        at
    }

    /// Near where a value lies, off by one at most for rounding.
    fn guess(&self, value: f64) -> usize {
        (((value - self.min) / self.width) as usize).min(self.n)
    }

    /// The block of values that is abnormal; `None` where there is none or more than one, or the means are too close by
    /// either measure.
    #[must_use]
    pub fn block(&self, config: &Config) -> Option<Block> {
        let kept = self.filtered();
        let first = kept.iter().position(|(_, is_abnormal)| *is_abnormal)?;
        let last = kept.iter().rposition(|(_, is_abnormal)| *is_abnormal)?;
        if kept[first..=last]
            .iter()
            .any(|(_, is_abnormal)| !is_abnormal)
        {
            return None;
        }
        let before = first.checked_sub(1).map(|at| kept[at].0);
        let after = kept.get(last + 1).map(|next| next.0);
        if before.is_none() && after.is_none() {
            return None;
        }
        let from = before.map_or(0, |normal| {
            kept[first].0 - reach(kept[first].0 - normal, config.delta)
        });
        let to = after.map_or(self.n, |normal| {
            kept[last].0 + reach(normal - kept[last].0, config.delta) + 1
        });
        let block = Block {
            min: before.map(|_| self.bound(from)),
            max: after.map(|_| self.bound(to)),
            shift: (self.mean_abnormal - self.mean_normal).abs()
                / (self.width * (self.n - 1) as f64),
            shift_of_labels: self.shift_of_labels(),
        };
        (block.shift.max(block.shift_of_labels) > config.theta).then_some(block)
    }

    /// Distance of the mean abnormal partition from the mean normal one, as a share of the range; 0 where one label is missing.
    fn shift_of_labels(&self) -> f64 {
        let mean = |set: &Set, n: usize| members(set).sum::<usize>() as f64 / n as f64;
        if self.n_abnormal == 0 || self.n_normal == 0 {
            return 0.0;
        }
        let abnormal = mean(&self.abnormal, self.n_abnormal);
        (abnormal - mean(&self.normal, self.n_normal)).abs() / (self.n - 1) as f64
    }

    /// The labelled partitions that agree with their neighbours, ascending, with whether they are abnormal.
    fn filtered(&self) -> Vec<(usize, bool)> {
        let mut both = self.abnormal;
        for (word, normal) in both.iter_mut().zip(&self.normal) {
            *word |= normal;
        }
        let is_abnormal = |at: usize| self.abnormal[at / 64] >> (at % 64) & 1 == 1;
        let labelled: Vec<(usize, bool)> = members(&both).map(|at| (at, is_abnormal(at))).collect();
        let n_abnormal = labelled
            .iter()
            .filter(|(_, is_abnormal)| *is_abnormal)
            .count();
        let is_last = |is_abnormal: bool| {
            let n = if is_abnormal {
                n_abnormal
            } else {
                labelled.len() - n_abnormal
            };
            n == 1
        };
        let agrees = |at: usize, label: bool| {
            let left = at
                .checked_sub(1)
                .is_none_or(|left| labelled[left].1 == label);
            left && labelled.get(at + 1).is_none_or(|right| right.1 == label)
        };
        let keep = |(at, entry): (usize, &(usize, bool))| {
            (agrees(at, entry.1) || is_last(entry.1)).then_some(*entry)
        };
        let mut kept: Vec<(usize, bool)> = labelled.iter().enumerate().filter_map(keep).collect();
        let has_abnormal = kept.iter().any(|(_, is_abnormal)| *is_abnormal);
        if has_abnormal && kept.iter().all(|(_, is_abnormal)| *is_abnormal) {
            // Nothing normal is left: where the normal rows lie on average stands for them (section 4.3).
            let mean = self.partition(self.mean_normal);
            match kept.binary_search_by_key(&mean, |entry| entry.0) {
                Ok(at) => kept[at].1 = false,
                Err(at) => kept.insert(at, (mean, false)),
            }
        }
        kept
    }
}

/// Empty partitions that the abnormal side of a gap gets when the normal one is `distance` away: one at `d` is abnormal while
/// d·δ < distance − d. One as far from both stays empty, as in the authors' code, which is no part of the block either way.
fn reach(distance: usize, delta: f64) -> usize {
    let mut reach = (distance as f64 / (1.0 + delta)) as usize;
    let side = |d: usize| (d as f64 * delta).total_cmp(&((distance - d) as f64));
    while reach > 0 && side(reach).is_ge() {
        reach -= 1;
    }
    while reach + 1 < distance && side(reach + 1).is_lt() {
        reach += 1;
    }
    reach
}

struct Extent {
    min: f64,
    max: f64,
    sum: f64,
    n: usize,
}

fn extent(values: impl Iterator<Item = f64>) -> Extent {
    let start = Extent {
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        sum: 0.0,
        n: 0,
    };
    values.fold(start, |all, value| {
        let is_there = !value.is_nan();
        Extent {
            min: all.min.min(value),
            max: all.max.max(value),
            sum: all.sum + if is_there { value } else { 0.0 },
            n: all.n + usize::from(is_there),
        }
    })
}

/// Members within `from..to`.
fn count(set: &Set, from: usize, to: usize) -> usize {
    // All below `at` that lie in a word.
    let below = |word: usize, at: usize| match at.saturating_sub(word * 64) {
        bits @ 0..64 => (1_u64 << bits) - 1,
        _ => u64::MAX,
    };
    let words = set.iter().enumerate().take(to.div_ceil(64)).skip(from / 64);
    let within = |(word, bits): (usize, &u64)| bits & below(word, to) & !below(word, from);
    words.map(|pair| within(pair).count_ones() as usize).sum()
}

fn members(set: &Set) -> impl Iterator<Item = usize> + '_ {
    set.iter().enumerate().flat_map(|(word, bits)| {
        let mut bits = *bits;
        std::iter::from_fn(move || {
            let at = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
            bits &= bits - 1;
            Some(word * 64 + at)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Counting words of bits is looking at each partition.
        #[test]
        fn prop_what_a_range_covers_is_what_partition_by_partition_says(
            values in proptest::collection::vec(-9.0..9.0_f64, 10..40), min in -10.0..10.0_f64, max in -10.0..10.0_f64,
        ) {
            let abnormal: Vec<bool> = (0..values.len()).map(|row| row % 3 == 0).collect();
            let regions = Regions::new(&abnormal, &vec![true; values.len()]);
            let space = Space::new(&values, &regions, 70).unwrap();
            for (min, max) in [(Some(min), Some(max)), (Some(min), None), (None, Some(max)), (None, None)] {
                let end = |at: usize| space.bound((at + 1).min(space.n - 1));
                let is_covered = |at: &usize| {
                    min.is_none_or(|min| min <= space.bound(*at)) && max.is_none_or(|max| end(*at) < max)
                };
                let of = |set: &Set| (members(set).filter(is_covered).count(), members(set).count());
                let covered = Coverage { abnormal: of(&space.abnormal), normal: of(&space.normal) };
                prop_assert_eq!(space.covered(min, max), covered);
            }
        }
    }
}
