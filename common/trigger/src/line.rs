//! A fixed set of triggers of one dimension: looked at when they can have matured at the earliest, told of every hit when
//! that is often. (ALGORITHMS 2.2, 2.6)
//!
//! In: a [`Batch`], then elements and terminations. Out: what matured, and the rest as a batch again.
//! Invariants: LI-1 a trigger matures with the element that reaches its threshold, never before and never after. LI-2 a
//! trigger with `left` to go stands in the list of the octave `2^k ≤ left` of a region that its range lies in, and all of
//! that list are looked at whenever the weight of all elements there passes a multiple of 2^k: before that, no more than
//! 2^k can have come.
//! Limits: an element costs a search; a trigger is looked at about `ln(threshold)/p` times, p being the share of its
//! region's weight that hits it, in passes over columns; near its threshold it is told of every hit ([`Blocks`]).
//! Source: ours. Qiao, Gan, Tao (SIGMOD 2016, section 4) give each canonical node of a trigger a slack and a heap; the
//! same bound on what is still unknown holds with one slack for the whole line, and then a pass over all triggers of an
//! octave takes the place of their heaps: 2 ns a look instead of 50 a signal.

use crate::batch::Batch;
use crate::blocks::Blocks;
use crate::choose::{Choice, Rule};
use crate::columns::LEFT_MAX;
use crate::endpoints::Endpoints;
use crate::range::{Range, WEIGHT_MAX};
use crate::tally::Tally;

/// Octaves of what is left.
const N_OCTAVES: usize = 64;
/// Levels of regions below the line: the smallest are a sixteenth of it.
const N_LEVELS: u32 = 4;
/// Triggers for which it is worth counting by region, eight counters an element. Ours, not swept; the tests' few have regions
/// as well.
const N_REGIONS_WORTH: usize = if cfg!(test) { 32 } else { 16_384 };
/// The triggers.
#[derive(Debug)]
pub(crate) struct Line {
    tally: Tally,
    /// First and last endpoint of each.
    ranges: Vec<(u32, u32)>,
    /// The weight inside at which each matures; 0 once it has gone.
    targets: Vec<u64>,
    handles: Vec<u32>,
    /// The whole line first, then those of each level.
    regions: Vec<Region>,
    /// Levels of regions below the line, and leaves of the last level's step as a power of two.
    n_levels: u32,
    step_log2: u32,
    blocks: Blocks,
    n_alive: usize,
    rule: Rule,
    matured: Vec<(u32, u64)>,
    #[cfg(test)]
    n_looks: usize,
}

/// A stretch of the line, and who is looked at by the weight that comes to it.
#[derive(Debug)]
struct Region {
    octaves: Vec<Vec<u32>>,
    /// Weight of all elements in it.
    total: u64,
    /// The weight at which somebody is looked at.
    next: u64,
    /// Part of the leaves.
    share: f64,
}

impl Region {
    fn new(share: f64) -> Self {
        Self {
            octaves: vec![Vec::new(); N_OCTAVES],
            total: 0,
            next: u64::MAX,
            share,
        }
    }

    /// When to look next: multiples of an octave's step are multiples of each smaller one.
    fn plan(&mut self) {
        let least = self.octaves.iter().position(|list| !list.is_empty());
        self.next = least.map_or(u64::MAX, |octave| ((self.total >> octave) + 1) << octave);
    }
}

impl Line {
    /// Over all of a batch. O(m log m).
    pub(crate) fn new(batch: Batch, rule: Rule) -> Self {
        let (ends, ranked, by_lo) = Endpoints::ranked(&batch.ranges);
        let n_leaves = ends.len();
        let (blocks, order) = Blocks::new(&ranked, &by_lo, n_leaves);
        let in_order = |place: &u32| *place as usize;
        let mut line = Self {
            tally: Tally::new(ends),
            ranges: order.iter().map(|place| ranked[in_order(place)]).collect(),
            targets: order
                .iter()
                .map(|place| batch.remaining[in_order(place)])
                .collect(),
            handles: order
                .iter()
                .map(|place| batch.handles[in_order(place)])
                .collect(),
            regions: Vec::new(),
            n_levels: if order.len() < N_REGIONS_WORTH {
                0
            } else {
                N_LEVELS
            },
            step_log2: 0,
            blocks,
            n_alive: order.len(),
            rule,
            matured: Vec::new(),
            #[cfg(test)]
            n_looks: 0,
        };
        line.divide(n_leaves);
        for trigger in 0..order.len() as u32 {
            let range = line.ranges[trigger as usize];
            let region = line.region_of(range);
            let left = line.targets[trigger as usize];
            let is_told = is_told(line.choice(region), left, 0, range);
            line.place(region, trigger, left, is_told);
        }
        for region in &mut line.regions {
            region.plan();
        }
        line
    }

    /// Makes the regions: on level l, 2^l ≥ 4 of them, each two steps of the level long.
    fn divide(&mut self, n_leaves: usize) {
        let line_log2 = n_leaves.next_power_of_two().ilog2();
        self.step_log2 = line_log2.saturating_sub(self.n_levels + 1);
        self.regions.push(Region::new(1.0));
        for level in 1..=self.n_levels {
            let n_steps = 1_usize << (level + 1);
            let share = (2 << (line_log2 - level - 1)) as f64 / n_leaves as f64;
            self.regions
                .extend((0..n_steps).map(|_| Region::new(share.min(1.0))));
        }
    }

    /// The number of a level's region that begins with the step of a leaf.
    #[inline]
    const fn region_at(&self, level: u32, leaf: u32) -> usize {
        let step = leaf >> (self.step_log2 + self.n_levels - level);
        // Before a level there are the line and 4 + 8 + … regions.
        (1 << (level + 1)) - 3 + step as usize
    }

    /// The smallest region that a range lies in.
    fn region_of(&self, (lo, hi): (u32, u32)) -> usize {
        let fits = |level: &u32| (hi - lo) >> (self.step_log2 + self.n_levels - level) == 0;
        let level = (1..=self.n_levels).rev().find(fits);
        level.map_or(0, |level| self.region_at(level, lo))
    }

    pub(crate) fn handles(&self) -> &[u32] {
        &self.handles
    }

    /// Triggers that have neither matured nor been terminated.
    pub(crate) const fn n_alive(&self) -> usize {
        self.n_alive
    }

    /// Whether the counters have come so far that the next element might overflow one: time to begin anew.
    pub(crate) const fn is_full(&self) -> bool {
        self.total() >= WEIGHT_MAX
    }

    /// Weight of all elements.
    const fn total(&self) -> u64 {
        self.regions.as_slice()[0].total
    }

    /// Adds an element's weight (at most [`WEIGHT_MAX`]); appends the handle of each trigger that matures with what it
    /// got beyond its threshold.
    pub(crate) fn add(&mut self, key: u64, weight: u64, gone: &mut Vec<(u32, u64)>) {
        let Some(leaf) = self.tally.add(key, weight) else {
            return;
        };
        self.rule.see(weight);
        self.blocks.add(leaf, weight, &mut self.matured);
        self.count(0, weight);
        for level in 1..=self.n_levels {
            let region = self.region_at(level, leaf);
            self.count(region, weight);
            if leaf >> (self.step_log2 + self.n_levels - level) > 0 {
                self.count(region - 1, weight);
            }
        }
        if !self.matured.is_empty() {
            self.retire(gone);
        }
    }

    #[cold]
    fn retire(&mut self, gone: &mut Vec<(u32, u64)>) {
        self.n_alive -= self.matured.len();
        for (trigger, over) in self.matured.drain(..) {
            self.targets[trigger as usize] = 0;
            gone.push((self.handles[trigger as usize], over));
        }
    }

    #[inline]
    fn count(&mut self, region: usize, weight: u64) {
        let counted = &mut self.regions[region];
        counted.total += weight;
        if counted.total >= counted.next {
            self.look(region, weight);
        }
    }

    /// Looks at a region's octaves of which the last `weight` has passed a multiple.
    #[cold]
    fn look(&mut self, region: usize, weight: u64) {
        let total = self.regions[region].total;
        for octave in 0..N_OCTAVES {
            if (total - weight) >> octave == total >> octave {
                break;
            }
            if !self.regions[region].octaves[octave].is_empty() {
                self.look_at(region, octave);
            }
        }
        self.regions[region].plan();
    }

    /// Looks at each trigger of an octave. What moves goes to lower octaves, which have been looked at.
    fn look_at(&mut self, region: usize, octave: usize) {
        let mut list = std::mem::take(&mut self.regions[region].octaves[octave]);
        self.tally.sum_up(list.len());
        #[cfg(test)]
        {
            self.n_looks += list.len();
        }
        let choice = self.choice(region);
        list.retain(|&trigger| {
            let target = self.targets[trigger as usize];
            let (lo, hi) = self.ranges[trigger as usize];
            let got = self.tally.below(hi) - self.tally.below(lo);
            if got >= target {
                // Who has gone has no target.
                if target > 0 {
                    self.matured.push((trigger, got - target));
                }
                return false;
            }
            let left = target - got;
            let is_told = is_told(choice, left, got, (lo, hi));
            let stays = left >> octave > 0 && !is_told;
            if !stays {
                self.place(region, trigger, left, is_told);
            }
            stays
        });
        // Nothing has come to it meanwhile.
        self.regions[region].octaves[octave] = list;
    }

    /// Puts a trigger where it belongs.
    fn place(&mut self, region: usize, trigger: u32, left: u64, is_told: bool) {
        if is_told {
            let range = self.ranges[trigger as usize];
            self.blocks.insert(trigger, range, left);
        } else {
            self.regions[region].octaves[left.ilog2() as usize].push(trigger);
        }
    }

    fn choice(&self, region: usize) -> Choice {
        let region = &self.regions[region];
        let line = (self.total(), self.n_alive, self.tally.len());
        self.rule.choice(line, region.total, region.share)
    }

    /// What is left of a trigger's threshold; 0 once it has matured or been terminated. O(log m).
    pub(crate) fn remaining(&self, trigger: usize) -> u64 {
        let target = self.targets[trigger];
        if target == 0 {
            return 0;
        }
        let (lo, hi) = self.ranges[trigger];
        target - (self.tally.below(hi) - self.tally.below(lo))
    }

    /// Forgets a trigger. O(1): what stands in an octave's list goes when that is looked at.
    pub(crate) fn terminate(&mut self, trigger: usize) {
        if self.targets[trigger] > 0 {
            self.targets[trigger] = 0;
            self.n_alive -= 1;
            self.blocks.remove(trigger as u32);
        }
    }

    /// Appends what lives, in order, each with what is left of its threshold. O(m log m).
    pub(crate) fn unload(&self, batch: &mut Batch) {
        let ends = self.tally.ends();
        for (trigger, &(lo, hi)) in self.ranges.iter().enumerate() {
            let remaining = self.remaining(trigger);
            if remaining > 0 {
                let range = Range {
                    lo: ends.key(lo),
                    hi: ends.key(hi),
                };
                batch.push(&[range], self.handles[trigger], remaining);
            }
        }
    }
}

#[inline]
fn is_told(choice: Choice, left: u64, got: u64, (lo, hi): (u32, u32)) -> bool {
    left <= LEFT_MAX && choice.is_told(left, got, hi - lo)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks and rows scanned for each trigger until the last has matured, and elements.
    fn work(n: u64, width: u64, threshold: u64) -> (usize, usize, usize) {
        const DOMAIN: u64 = 1 << 20;
        let mut batch = Batch::default();
        for i in 0..n {
            let lo = i * 7_919 * 131 % (DOMAIN - width);
            batch.push(&[Range { lo, hi: lo + width }], i as u32, threshold);
        }
        let mut line = Line::new(batch, Rule::new(1));
        let (mut gone, mut n_elements) = (Vec::new(), 0_u64);
        while line.n_alive() > 0 {
            line.add(n_elements * 611_953 % DOMAIN, 1, &mut gone);
            n_elements += 1;
        }
        let n = n as usize;
        (
            line.n_looks / n,
            line.blocks.n_scanned / n,
            n_elements as usize,
        )
    }

    #[test]
    fn a_trigger_is_looked_at_a_few_times_for_each_doubling_of_its_threshold() {
        // A scan would look at each trigger at each of the elements, plain stabbing at each of the 100,000 hits.
        let (n_looks, n_scanned, n_elements) = work(2_000, 1 << 17, 100_000);
        assert!(n_elements > 700_000, "{n_elements}");
        assert!(n_looks < 60, "{n_looks} looks a trigger");
        assert!(n_scanned < 200, "{n_scanned} scans of a trigger");
    }

    #[test]
    fn a_trigger_of_few_hits_is_told_them_in_a_block_little_wider_than_its_range() {
        let (n_looks, n_scanned, n_elements) = work(2_000, 1 << 12, 10);
        assert!(n_elements > 2_000, "{n_elements}");
        assert!(n_looks < 5, "{n_looks} looks a trigger");
        // At most four times its hits, and the rows that fill a vector up.
        assert!(n_scanned < 80, "{n_scanned} scans of a trigger");
    }
}
