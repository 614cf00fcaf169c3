//! Triggers that are told of every hit, each in a block of leaves little wider than its range. (ALGORITHMS 2.6)
//!
//! In: triggers as ranges of leaves, all of them at the start; which of them are told, and elements. Out: what matures.
//! Invariants: BL-1 a range of at most 2^l leaves lies within one of the blocks `j·2^l .. (j+2)·2^l`, and an element in
//! two of them on each level. BL-2 a block's rows in use stand first, and what is not in use is hit by nothing. Limits: an element scans at most four times what it hits in even
//! ranges; 28 bytes a trigger, or a vector of rows where it is alone in its block, and 8 a block.
//! Source: ours; overlapping blocks of doubling size as in loose quadtrees (Ulrich, 2000). Each trigger stands in one
//! place instead of in its O(log m) canonical nodes, and a place is scanned in vectors.

use crate::columns::{Columns, LANES, Row};

/// Trigger numbers are given in the order of blocks, each of which has a place for all of its own.
#[derive(Debug)]
pub(crate) struct Blocks {
    levels: Vec<Level>,
    /// A bit for each level that has rows in use.
    in_use: u64,
    rows: Columns,
    /// Where each trigger's row is; [`NOWHERE`] for those not told.
    slots: Vec<u32>,
    /// Blocks in which an element matures something, as rows from and to.
    due: Vec<(u32, u32)>,
    #[cfg(test)]
    pub(crate) n_scanned: usize,
}

/// Not among the rows.
const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Default)]
struct Level {
    blocks: Vec<Block>,
    n_rows: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    start: u32,
    n_rows: u32,
}

/// The level of a range's block: blocks' steps are 2^level leaves.
fn level_of((lo, hi): (u32, u32)) -> usize {
    (hi - lo).next_power_of_two().ilog2().max(LEVEL_MIN) as usize
}

/// Blocks of fewer leaves would hold so few rows that visiting them costs more than scanning them.
const LEVEL_MIN: u32 = 5;

impl Blocks {
    /// Places for ranges of leaves, and the order in which they are numbered from now on: `order[i]` is the place in
    /// `ranges` of trigger i. `by_lo` lists places in `ranges` by where they begin. O(n).
    pub(crate) fn new(ranges: &[(u32, u32)], by_lo: &[u32], n_leaves: usize) -> (Self, Vec<u32>) {
        let mut n_at = [0_u32; u32::BITS as usize + 1];
        for &range in ranges {
            n_at[level_of(range)] += 1;
        }
        let mut levels = Vec::new();
        let mut start = 0;
        let mut next = [0_u32; u32::BITS as usize + 1];
        for (level, &n) in n_at.iter().enumerate() {
            let n_blocks = if n == 0 { 0 } else { (n_leaves >> level) + 2 };
            levels.push(Level {
                blocks: vec![Block::default(); n_blocks],
                n_rows: 0,
            });
            next[level] = start;
            start += n;
        }
        let mut order = vec![0; ranges.len()];
        for &place in by_lo {
            let range = ranges[place as usize];
            let level = level_of(range);
            // Counted here, made a beginning below.
            levels[level].blocks[(range.0 >> level) as usize].start += 1;
            order[next[level] as usize] = place;
            next[level] += 1;
        }
        let mut start = 0;
        for block in levels.iter_mut().flat_map(|level| &mut level.blocks) {
            let size = block.start.next_multiple_of(LANES as u32);
            (block.start, start) = (start, start + size);
        }
        let blocks = Self {
            levels,
            in_use: 0,
            rows: Columns::new(start as usize),
            slots: vec![NOWHERE; ranges.len()],
            due: Vec::new(),
            #[cfg(test)]
            n_scanned: 0,
        };
        (blocks, order)
    }

    fn block(&mut self, level: usize, range: (u32, u32)) -> &mut Block {
        &mut self.levels[level].blocks[(range.0 >> level) as usize]
    }

    /// Tells a trigger of every hit from now on. O(1).
    pub(crate) fn insert(&mut self, trigger: u32, range: (u32, u32), left: u64) {
        let level = level_of(range);
        let block = self.block(level, range);
        let slot = block.start + block.n_rows;
        block.n_rows += 1;
        self.rows
            .set(slot as usize, Row::new(range.0, range.1, left, trigger));
        self.slots[trigger as usize] = slot;
        self.levels[level].n_rows += 1;
        self.in_use |= 1 << level;
    }

    /// What is left of a trigger that is told; none of another.
    #[cfg(test)]
    pub(crate) fn remaining(&self, trigger: u32) -> Option<u64> {
        let slot = self.slots[trigger as usize];
        (slot != NOWHERE).then(|| self.rows.row(slot as usize).left())
    }

    /// Tells a trigger no more; false where it was not told. O(1).
    pub(crate) fn remove(&mut self, trigger: u32) -> bool {
        let slot = self.slots[trigger as usize];
        if slot == NOWHERE {
            return false;
        }
        let range = self.rows.row(slot as usize).ends();
        let level = level_of(range);
        let block = self.block(level, range);
        block.n_rows -= 1;
        let last = (block.start + block.n_rows) as usize;
        let moved = self.rows.row(last);
        self.rows.set(slot as usize, moved);
        self.rows.bury(last);
        self.slots[moved.who as usize] = slot;
        self.slots[trigger as usize] = NOWHERE;
        let level_rows = &mut self.levels[level].n_rows;
        *level_rows -= 1;
        if *level_rows == 0 {
            self.in_use &= !(1 << level);
        }
        true
    }

    /// Tells an element; appends triggers that mature, which are not told any more, and what was over.
    /// O(levels in use), plus the rows of two blocks on each.
    #[inline]
    pub(crate) fn add(&mut self, leaf: u32, weight: u64, matured: &mut Vec<(u32, u64)>) {
        let mut in_use = self.in_use;
        while in_use > 0 {
            let level = in_use.trailing_zeros() as usize;
            in_use &= in_use - 1;
            let at = (leaf >> level) as usize;
            let blocks = &self.levels[level].blocks;
            for block in &blocks[at.saturating_sub(1)..=at] {
                let from = block.start as usize;
                let to = from + (block.n_rows as usize).next_multiple_of(LANES);
                #[cfg(test)]
                {
                    self.n_scanned += to - from;
                }
                if from < to && self.rows.subtract(from, to, leaf, weight) {
                    self.due.push((from as u32, to as u32));
                }
            }
        }
        if !self.due.is_empty() {
            self.retire(weight, matured);
        }
    }

    #[cold]
    fn retire(&mut self, weight: u64, matured: &mut Vec<(u32, u64)>) {
        let mut due = std::mem::take(&mut self.due);
        for (from, to) in due.drain(..) {
            // From the end, so that who takes the place of one that goes has been looked at.
            for slot in (from as usize..to as usize).rev() {
                if let Some(over) = self.rows.over(slot, weight) {
                    let trigger = self.rows.who(slot);
                    matured.push((trigger, over));
                    self.remove(trigger);
                }
            }
        }
        self.due = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_exactly_the_triggers_told_are_hit_until_they_mature(
            ranges in prop::collection::vec((0u32..200, 1u32..90), 1..60),
            acts in prop::collection::vec((0u32..200, 1u64..9, any::<prop::sample::Index>()), 1..200),
        ) {
            let n_leaves = 300;
            let ranges: Vec<_> = ranges.iter().map(|&(lo, n)| (lo, lo + n)).collect();
            let mut by_lo: Vec<_> = (0..ranges.len() as u32).collect();
            by_lo.sort_by_key(|&place| ranges[place as usize].0);
            let (mut blocks, order) = Blocks::new(&ranges, &by_lo, n_leaves);
            let ranges: Vec<_> = order.iter().map(|&place| ranges[place as usize]).collect();
            let mut left = vec![0; ranges.len()];
            for (leaf, weight, which) in acts {
                let one = which.index(ranges.len());
                if left[one] == 0 {
                    left[one] = 3 * weight;
                    blocks.insert(one as u32, ranges[one], left[one]);
                } else if weight == 1 {
                    left[one] = 0;
                    prop_assert!(blocks.remove(one as u32));
                }
                let mut matured = Vec::new();
                blocks.add(leaf, weight, &mut matured);
                let mut expected = Vec::new();
                for (one, (range, left)) in (0..).zip(ranges.iter().zip(&mut left)) {
                    if *left > 0 && range.0 <= leaf && leaf < range.1 {
                        if *left <= weight {
                            expected.push((one, weight - *left));
                        }
                        *left = left.saturating_sub(weight);
                    }
                    prop_assert_eq!(blocks.remaining(one), (*left > 0).then_some(*left));
                }
                matured.sort_unstable();
                prop_assert_eq!(matured, expected);
            }
            let n_rows = left.iter().filter(|left| **left > 0).count() as u32;
            prop_assert_eq!(blocks.levels.iter().map(|level| level.n_rows).sum::<u32>(), n_rows);
            prop_assert_eq!(blocks.in_use == 0, n_rows == 0);
        }
    }
}
