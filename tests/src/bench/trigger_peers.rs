//! The simple methods that triggers are measured against, each as a good engineer writes it, and the streams they are told.
//!
//! In: triggers (a range and a threshold), weighted elements. Out: which triggers each element matures.
//! Invariants
//! 1. Every method is told the same and answers the same: ids and elements of maturities add up to one sum.
//! 2. Every method does the same work: it refuses an id that is in use and can take a trigger back by its id. A scan that
//!    cannot ([`BareScan`]) shows what that costs.

use std::collections::HashMap;

use hsw_trigger::{Config, Forest, QueryId, Range};

/// Keys are below it, so that they fit half a word and its sign stays free.
pub(super) const DOMAIN: u64 = 1 << 31;

/// What is counted of an answer: maturities, and a sum over ids and elements that tells answers apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) n_matured: u64,
    pub(super) sum: u64,
    /// The element of the last maturity.
    pub(super) last: usize,
}

impl Answer {
    fn take(&mut self, id: u64, element: usize) {
        self.n_matured += 1;
        self.last = element;
        self.sum = self
            .sum
            .wrapping_add((id + 1).wrapping_mul(element as u64 + 1));
    }
}

/// A way to hold triggers against elements.
pub(super) trait Method {
    /// With all triggers registered; ids count from 0.
    fn build(ranges: &[Range], threshold: u64) -> Self;
    /// Takes a trigger back; false where none waits by this id.
    #[cfg(test)]
    fn terminate(&mut self, id: u64) -> bool;
    /// One element; `number` is its place in the stream.
    fn add(&mut self, key: u64, weight: u64, number: usize, answer: &mut Answer);
}

impl Method for Forest {
    fn build(ranges: &[Range], threshold: u64) -> Self {
        let mut forest = Self::new(1, Config::default());
        let one = |(id, range)| (QueryId(id), std::slice::from_ref(range), threshold);
        let boxes = (0..).zip(ranges).map(one);
        forest
            .register_all(boxes)
            .expect("ranges are not empty, ids not repeated");
        forest
    }

    #[cfg(test)]
    fn terminate(&mut self, id: u64) -> bool {
        Self::terminate(self, QueryId(id))
    }

    fn add(&mut self, key: u64, weight: u64, number: usize, answer: &mut Answer) {
        for one in Self::add(self, &[key], weight) {
            answer.take(one.id.0, number);
        }
    }
}

/// A scan over columns: half the bytes of what comes in, compiled to vector code, no branch but one for each block.
pub(super) type Scan = Columns<true>;
/// The same without a notion of who waits: ids are row numbers and taken on trust.
pub(super) type BareScan = Columns<false>;

/// Triggers in columns; a map says in which row an id is.
pub(super) struct Columns<const KNOWS_IDS: bool> {
    lo: Vec<u32>,
    width: Vec<u32>,
    left: Vec<i32>,
    ids: Vec<u32>,
    rows: HashMap<u64, u32>,
}

/// Triggers between two looks at whether one has matured.
const BLOCK: usize = 256;

impl<const KNOWS_IDS: bool> Method for Columns<KNOWS_IDS> {
    fn build(ranges: &[Range], threshold: u64) -> Self {
        let n = ranges.len();
        Self {
            lo: ranges.iter().map(|range| range.lo as u32).collect(),
            width: ranges
                .iter()
                .map(|range| (range.hi - range.lo) as u32)
                .collect(),
            left: vec![threshold as i32; n],
            ids: (0..n as u32).collect(),
            rows: if KNOWS_IDS { known(n) } else { HashMap::new() },
        }
    }

    #[cfg(test)]
    fn terminate(&mut self, id: u64) -> bool {
        let row = self.rows.get(&id).copied();
        if let Some(row) = row {
            self.take_out(row as usize);
        }
        row.is_some()
    }

    fn add(&mut self, key: u64, weight: u64, number: usize, answer: &mut Answer) {
        let (key, weight) = (key as u32, weight as i32);
        // From the end, so that what takes the place of one that goes has met the element.
        let mut end = self.ids.len();
        while end > 0 {
            let begin = (end - 1) / BLOCK * BLOCK;
            let least = subtract(
                &self.lo[begin..end],
                &self.width[begin..end],
                &mut self.left[begin..end],
                key,
                weight,
            );
            if least < 0 {
                self.remove(begin, end, number, answer);
            }
            end = begin;
        }
    }
}

impl<const KNOWS_IDS: bool> Columns<KNOWS_IDS> {
    #[cold]
    fn remove(&mut self, begin: usize, end: usize, number: usize, answer: &mut Answer) {
        for at in (begin..end).rev() {
            if self.left[at] <= 0 {
                let id = self.take_out(at);
                answer.take(u64::from(id), number);
            }
        }
    }

    fn take_out(&mut self, at: usize) -> u32 {
        self.lo.swap_remove(at);
        self.width.swap_remove(at);
        self.left.swap_remove(at);
        let id = self.ids.swap_remove(at);
        if KNOWS_IDS {
            self.rows.remove(&u64::from(id));
            if let Some(&moved) = self.ids.get(at) {
                self.rows.insert(u64::from(moved), at as u32);
            }
        }
        id
    }
}

/// Which id is in which row, made one by one as they come.
fn known(n: usize) -> HashMap<u64, u32> {
    let mut rows = HashMap::with_capacity(n);
    for row in 0..n as u32 {
        let before = rows.insert(u64::from(row), row);
        assert!(before.is_none(), "ids are not repeated");
    }
    rows
}

fn subtract(lo: &[u32], width: &[u32], left: &mut [i32], key: u32, weight: i32) -> i32 {
    let mut least = 0;
    for ((lo, width), left) in lo.iter().zip(width).zip(left) {
        // Both are below 2^31, so signed comparison, which every processor has in vectors, tells.
        let from = key.wrapping_sub(*lo).cast_signed();
        let is_inside = (from >= 0) & (from < width.cast_signed());
        *left -= if is_inside { weight } else { 0 };
        least |= *left - 1;
    }
    least
}

/// Plain stabbing: each trigger stands in the lists of its canonical nodes of a segment tree, each hit is subtracted.
pub(super) struct Stabbing {
    ends: Vec<u32>,
    /// Where the list of each node begins, and how long it is.
    lists: Vec<(u32, u32)>,
    entries: Vec<u32>,
    left: Vec<i32>,
    rows: HashMap<u64, u32>,
}

impl Method for Stabbing {
    fn build(ranges: &[Range], threshold: u64) -> Self {
        let mut ends: Vec<u32> = ranges
            .iter()
            .flat_map(|range| [range.lo as u32, range.hi as u32])
            .collect();
        ends.sort_unstable();
        ends.dedup();
        let n_leaves = ends.len() - 1;
        let rank = |key: u64| ends.partition_point(|&end| u64::from(end) < key) as u32;
        let ranks: Vec<(u32, u32)> = ranges.iter().map(|r| (rank(r.lo), rank(r.hi))).collect();
        let mut lists = vec![(0, 0); 2 * n_leaves];
        for &range in &ranks {
            canonical(n_leaves, range, |node| lists[node].1 += 1);
        }
        let mut begin = 0;
        for list in &mut lists {
            (list.0, begin) = (begin, begin + list.1);
            list.1 = 0;
        }
        let mut entries = vec![0; begin as usize];
        for (id, &range) in (0..).zip(&ranks) {
            canonical(n_leaves, range, |node| {
                let list = &mut lists[node];
                entries[(list.0 + list.1) as usize] = id;
                list.1 += 1;
            });
        }
        let left = vec![threshold as i32; ranges.len()];
        Self {
            ends,
            lists,
            entries,
            left,
            rows: known(ranges.len()),
        }
    }

    #[cfg(test)]
    fn terminate(&mut self, id: u64) -> bool {
        let row = self.rows.remove(&id);
        if let Some(row) = row {
            self.left[row as usize] = 0;
        }
        row.is_some()
    }

    fn add(&mut self, key: u64, weight: u64, number: usize, answer: &mut Answer) {
        let n_leaves = self.ends.len() - 1;
        let n_below = self.ends.partition_point(|&end| u64::from(end) <= key);
        if n_below == 0 || n_below > n_leaves {
            return;
        }
        let (weight, mut node) = (weight as i32, n_below - 1 + n_leaves);
        while node > 0 {
            let (begin, n) = self.lists[node];
            let list = &mut self.entries[begin as usize..(begin + n) as usize];
            let mut at = list.len();
            let mut n = n;
            while at > 0 {
                at -= 1;
                let id = list[at];
                let left = &mut self.left[id as usize];
                if *left > weight {
                    *left -= weight;
                    continue;
                }
                if *left > 0 {
                    answer.take(u64::from(id), number);
                    self.rows.remove(&u64::from(id));
                    *left = 0;
                }
                n -= 1;
                list[at] = list[n as usize];
            }
            self.lists[node].1 = n;
            node /= 2;
        }
    }
}

/// Canonical nodes of a range of leaves, from the bottom up.
fn canonical(n_leaves: usize, (lo, hi): (u32, u32), mut take: impl FnMut(usize)) {
    let (mut lo, mut hi) = (lo as usize + n_leaves, hi as usize + n_leaves);
    while lo < hi {
        if lo % 2 == 1 {
            take(lo);
            lo += 1;
        }
        if hi % 2 == 1 {
            hi -= 1;
            take(hi);
        }
        (lo, hi) = (lo / 2, hi / 2);
    }
}

/// What elements weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weights {
    /// 1.
    One,
    /// 100.
    Hundred,
    /// Pareto with exponent 1.2, cut at 10,000.
    Heavy,
}

/// Where elements lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Anywhere.
    Uniform,
    /// Zipf with exponent 1.1 over 100,000 values that lie anywhere.
    Zipf,
}

/// A regime: so many triggers of such a width over such a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Regime {
    pub(super) m: usize,
    pub(super) threshold: u64,
    pub(super) width_permille: u64,
    pub(super) weights: Weights,
    pub(super) values: Values,
}

/// Splitmix64.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hsw_sketch::mix(self.0)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Regime {
    /// The triggers' ranges, equally wide, anywhere.
    pub(super) fn ranges(self) -> Vec<Range> {
        let mut random = Random(1);
        let width = DOMAIN / 1_000 * self.width_permille;
        let range = |_| {
            let lo = random.next() % (DOMAIN - width);
            Range { lo, hi: lo + width }
        };
        (0..self.m).map(range).collect()
    }

    /// Elements until nearly all triggers have matured, were values uniform.
    pub(super) fn n_to_maturity(self) -> f64 {
        let hits = self.threshold as f64 / self.mean_weight();
        let hits = hits + 4.0 * hits.sqrt() + 4.0;
        hits * 1_000.0 / self.width_permille as f64
    }

    fn mean_weight(self) -> f64 {
        match self.weights {
            Weights::One => 1.0,
            Weights::Hundred => 100.0,
            // ∫ of the quantile function below over (0, 1).
            Weights::Heavy => {
                let cut = 10_000.0_f64.powf(-1.2);
                6.0 * (1.0 - cut.powf(1.0 / 6.0)) + 10_000.0 * cut
            }
        }
    }

    /// The first `n` elements of the stream: key and weight.
    pub(super) fn stream(self, n: usize) -> Vec<(u64, u64)> {
        let mut random = Random(2);
        let mut cumulated = Vec::new();
        if self.values == Values::Zipf {
            let mut sum = 0.0;
            for rank in 1..=100_000 {
                sum += f64::from(rank).powf(-1.1);
                cumulated.push(sum);
            }
        }
        let total = cumulated.last().copied().unwrap_or(0.0);
        let element = |_| {
            let key = match self.values {
                Values::Uniform => random.next() % DOMAIN,
                Values::Zipf => {
                    let at = random.unit() * total;
                    hsw_sketch::mix(cumulated.partition_point(|sum| *sum < at) as u64) % DOMAIN
                }
            };
            let weight = match self.weights {
                Weights::One => 1,
                Weights::Hundred => 100,
                Weights::Heavy => (1.0 - random.unit()).powf(-1.0 / 1.2).min(10_000.0) as u64,
            };
            (key, weight)
        };
        (0..n).map(element).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_of<M: Method>(regime: Regime, ids_go: bool) -> Answer {
        let mut method = M::build(&regime.ranges(), regime.threshold);
        let mut answer = Answer::default();
        let stream = regime.stream(regime.n_to_maturity() as usize);
        for (number, &(key, weight)) in stream.iter().enumerate() {
            method.add(key, weight, number, &mut answer);
            if ids_go && number % 7 == 0 {
                let id = number as u64 * 31 % 1_000;
                answer.n_matured += u64::from(method.terminate(id)) << 32;
            }
        }
        answer
    }

    #[test]
    fn all_methods_answer_alike() {
        for (threshold, width_permille) in [(10, 1), (10, 900), (1_000, 100)] {
            for weights in [Weights::One, Weights::Heavy] {
                for values in [Values::Uniform, Values::Zipf] {
                    let regime = Regime {
                        m: 700,
                        threshold,
                        width_permille,
                        weights,
                        values,
                    };
                    let ours = answer_of::<Forest>(regime, false);
                    assert!(ours.n_matured > 100, "{regime:?}: {ours:?}");
                    assert_eq!(ours, answer_of::<Scan>(regime, false), "{regime:?}");
                    assert_eq!(ours, answer_of::<BareScan>(regime, false), "{regime:?}");
                    assert_eq!(ours, answer_of::<Stabbing>(regime, false), "{regime:?}");
                    let ours = answer_of::<Forest>(regime, true);
                    assert!(ours.n_matured >> 32 > 0, "{regime:?}: {ours:?}");
                    assert_eq!(ours, answer_of::<Scan>(regime, true), "{regime:?}");
                    assert_eq!(ours, answer_of::<Stabbing>(regime, true), "{regime:?}");
                }
            }
        }
    }
}
