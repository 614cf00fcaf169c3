//! The partition space of one numeric attribute: labels, filtering, filling, and the one block that is abnormal. (step 12)
//!
//! In: values, regions. Out: a range of values, or none. The gaps between labelled partitions are never written out: where a
//! gap is cut follows from its two ends, so filtering and filling cost one pass over the labelled partitions.
//! Invariants: PT-1 rows in any order within their regions give the same block. PT-2 so does any affine change of unit.
//! Limits: [`PARTITIONS_MAX`]; O(rows + partitions) time, no allocation that depends on the rows.
//! Source: Yoon, Niu, Mozafari: DBSherlock, SIGMOD 2016, sections 4.1–4.5; where the authors' code does otherwise, both are given.

use crate::columns::Regions;
use crate::lay::{PARTS_MAX, Parts, Scale, extremes, sum_of};

/// Most partitions of an attribute.
pub const PARTITIONS_MAX: usize = PARTS_MAX;
const WORDS: usize = (PARTS_MAX + 1) / 64;

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

/// An attribute's range in equal parts, with the parts that hold rows of either region.
#[derive(Debug, Clone)]
pub struct Space {
    scale: Scale,
    abnormal: Set,
    normal: Set,
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
        let (sum_abnormal, n_abnormal) = sum_of(values, regions.abnormal());
        let (sum_normal, n_normal) = sum_of(values, regions.normal());
        if n_abnormal == 0 || n_normal == 0 {
            return None;
        }
        let scale = Scale::new(extremes(values), n_partitions)?;
        let (mut abnormal, mut normal) = ([0; PARTS_MAX + 1], [0; PARTS_MAX + 1]);
        scale.each(values, regions.abnormal(), |part| abnormal[part] = 1);
        scale.each(values, regions.normal(), |part| normal[part] = 1);
        // What is missing lies behind all partitions.
        (abnormal[PARTS_MAX], normal[PARTS_MAX]) = (0, 0);
        for (a, n) in abnormal.iter_mut().zip(&mut normal).take(scale.n) {
            (*a, *n) = (*a & !*n, *n & !*a);
        }
        Some(Self {
            scale,
            abnormal: Set::new(&abnormal, scale.n),
            normal: Set::new(&normal, scale.n),
            mean_abnormal: sum_abnormal / n_abnormal as f64,
            mean_normal: sum_normal / n_normal as f64,
        })
    }

    /// What a range covers of the partitions that hold rows of one region only. A partition is covered when it lies within as a
    /// whole. O(partitions / 64).
    #[must_use]
    pub fn covered(&self, min: Option<f64>, max: Option<f64>) -> Coverage {
        let from = min.map_or(0, |min| self.first_from(min));
        let to = max.map_or(self.scale.n, |max| self.last_within(max));
        Coverage {
            abnormal: (self.abnormal.within(from, to), self.abnormal.n()),
            normal: (self.normal.within(from, to), self.normal.n()),
        }
    }

    /// The first partition that begins at or after a value.
    fn first_from(&self, value: f64) -> usize {
        let Scale { n, .. } = self.scale;
        let mut at = self.scale.part(value).saturating_sub(1);
        while at < n && self.scale.bound(at) < value {
            at += 1;
        }
        at
    }

    /// How many of the first partitions end before a value; the last one, which holds the maximum alone, ends there.
    fn last_within(&self, value: f64) -> usize {
        let Scale { n, .. } = self.scale;
        if self.scale.bound(n - 1) < value {
            return n;
        }
        let mut at = (self.scale.part(value) + 1).min(n - 1);
        while at > 0 && self.scale.bound(at) >= value {
            at -= 1;
        }
        at
    }

    /// The block of values that is abnormal; `None` where there is none or more than one, or the means are too close by
    /// either measure.
    #[must_use]
    pub fn block(&self, config: &Config) -> Option<Block> {
        let range = self.scale.width * (self.scale.n - 1) as f64;
        let shift = (self.mean_abnormal - self.mean_normal).abs() / range;
        let shift_of_labels = self.shift_of_labels();
        // The most attributes end here: neither measure looks at what is filtered or filled.
        if shift.max(shift_of_labels) <= config.theta {
            return None;
        }
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
        let to = after.map_or(self.scale.n, |normal| {
            kept[last].0 + reach(normal - kept[last].0, config.delta) + 1
        });
        Some(Block {
            min: before.map(|_| self.scale.bound(from)),
            max: after.map(|_| self.scale.bound(to)),
            shift,
            shift_of_labels,
        })
    }

    /// Distance of the mean abnormal partition from the mean normal one, as a share of the range; 0 where one label is missing.
    fn shift_of_labels(&self) -> f64 {
        if self.abnormal.n() == 0 || self.normal.n() == 0 {
            return 0.0;
        }
        let distance = (self.abnormal.mean() - self.normal.mean()).abs();
        distance / (self.scale.n - 1) as f64
    }

    /// The labelled partitions that agree with their neighbours, ascending, with whether they are abnormal.
    fn filtered(&self) -> Vec<(usize, bool)> {
        let labelled: Vec<(usize, bool)> = self.labelled().collect();
        let is_last = |is_abnormal: bool| match is_abnormal {
            true => self.abnormal.n() == 1,
            false => self.normal.n() == 1,
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
            let mean = self.scale.part(self.mean_normal);
            match kept.binary_search_by_key(&mean, |entry| entry.0) {
                Ok(at) => kept[at].1 = false,
                Err(at) => kept.insert(at, (mean, false)),
            }
        }
        kept
    }

    /// The partitions that hold rows of one region only, ascending, with whether they are abnormal.
    fn labelled(&self) -> impl Iterator<Item = (usize, bool)> + '_ {
        let words = self.abnormal.words.iter().zip(&self.normal.words);
        words.enumerate().flat_map(|(word, (abnormal, normal))| {
            let mut left = abnormal | normal;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some((word * 64 + bit as usize, abnormal >> bit & 1 == 1))
            })
        })
    }
}

/// A set of partitions, with how many come before each word of it.
#[derive(Debug, Clone)]
struct Set {
    words: [u64; WORDS],
    /// Members before each word, all of them behind the last.
    before: [u16; WORDS + 1],
    /// Their indices, summed.
    sum: u32,
}

impl Set {
    /// Of the first `n` marks, each 0 or 1.
    fn new(marks: &Parts<u8>, n: usize) -> Self {
        let mut set = Self {
            words: [0; WORDS],
            before: [0; WORDS + 1],
            sum: 0,
        };
        let mut n_before = 0;
        for (word, marks) in marks.as_chunks::<64>().0.iter().enumerate() {
            set.before[word] = n_before;
            if word * 64 < n {
                set.words[word] = packed(marks);
                n_before += set.words[word].count_ones() as u16;
                let at = |(bit, mark): (usize, &u8)| u32::from(*mark) * (word * 64 + bit) as u32;
                set.sum += marks.iter().enumerate().map(at).sum::<u32>();
            }
        }
        set.before[WORDS] = n_before;
        set
    }

    fn n(&self) -> usize {
        usize::from(self.before[WORDS])
    }

    /// The mean index; not a number where it is empty.
    fn mean(&self) -> f64 {
        f64::from(self.sum) / self.n() as f64
    }

    /// Members before an index.
    fn below(&self, at: usize) -> usize {
        let (word, bit) = (at / 64, at % 64);
        let part = self
            .words
            .get(word)
            .map_or(0, |word| word & ((1 << bit) - 1));
        usize::from(self.before[word]) + part.count_ones() as usize
    }

    /// Members within `from..to`.
    fn within(&self, from: usize, to: usize) -> usize {
        self.below(to).saturating_sub(self.below(from))
    }
}

/// A bit for each byte, which is 0 or 1; the first is the lowest.
fn packed(marks: &[u8; 64]) -> u64 {
    // Multiplied, the eight lowest bits of eight bytes meet in the highest byte, each in a place of its own.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let eight = |(at, bytes): (usize, &[u8; 8])| {
        (u64::from_le_bytes(*bytes).wrapping_mul(GATHER) >> 56) << (at * 8)
    };
    marks
        .as_chunks::<8>()
        .0
        .iter()
        .enumerate()
        .map(eight)
        .fold(0, |word, byte| word | byte)
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
                let end = |at: usize| space.scale.bound((at + 1).min(space.scale.n - 1));
                let is_covered = |at: &usize| {
                    min.is_none_or(|min| min <= space.scale.bound(*at)) && max.is_none_or(|max| end(*at) < max)
                };
                let of = |is_abnormal: bool| {
                    let own = space.labelled().filter(|own| own.1 == is_abnormal);
                    own.fold((0, 0), |(n, all), (at, _)| (n + usize::from(is_covered(&at)), all + 1))
                };
                let covered = Coverage { abnormal: of(true), normal: of(false) };
                prop_assert_eq!(space.covered(min, max), covered);
            }
        }
    }
}
