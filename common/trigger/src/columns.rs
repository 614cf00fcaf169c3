//! Triggers in columns, scanned in vectors: an element against each of them without a branch. (ALGORITHMS 2.6)
//!
//! In: ranges and what is left of thresholds, narrowed to half words; an element's place and weight. Out: whether any has
//! matured. Invariants: CO-1 a row is hit exactly by the places in its range. CO-2 a row is below zero from the element on
//! that matures it, and [`Columns::over`] tells by how much. Limits: 12 bytes a row; compiled to the vectors that every
//! processor of the family has, no more.

/// The sign bit: places are stored off by it, so that one signed comparison, which SSE2 has, compares unsigned.
const SIGN: u32 = 1 << 31;

/// Rows told at a time: two vectors of the smallest processor.
pub(crate) const LANES: usize = 8;

/// Most that can be left in a row.
pub(crate) const LEFT_MAX: u64 = i32::MAX as u64;

/// One trigger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// First place inside, off by the sign.
    lo: u32,
    /// Places inside, off by the sign; the least number hits nothing.
    width: i32,
    /// What is left, less one: below zero once matured.
    left: i32,
    /// Whose row it is.
    pub(crate) who: u32,
}

impl Row {
    /// Of the places `lo..hi`, with 1 ..= [`LEFT_MAX`] left.
    #[inline]
    pub(crate) const fn new(lo: u32, hi: u32, left: u64, who: u32) -> Self {
        Self {
            lo: lo ^ SIGN,
            width: (hi.wrapping_sub(lo) ^ SIGN).cast_signed(),
            left: left as i32 - 1,
            who,
        }
    }

    /// First place inside and first beyond.
    #[inline]
    pub(crate) const fn ends(self) -> (u32, u32) {
        let lo = self.lo ^ SIGN;
        (lo, lo.wrapping_add(self.width.cast_unsigned() ^ SIGN))
    }

    #[inline]
    pub(crate) const fn left(self) -> u64 {
        (self.left.cast_unsigned() as u64).saturating_add(1)
    }
}

/// A row that nothing hits.
const NOBODY: Row = Row {
    lo: 0,
    width: i32::MIN,
    left: 0,
    who: 0,
};

/// A weight as rows are told it: more than is ever left matures all the same.
#[inline]
const fn narrow(weight: u64) -> i32 {
    if weight > LEFT_MAX {
        i32::MAX
    } else {
        weight as i32
    }
}

/// Rows, each field by itself.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    lo: Vec<u32>,
    width: Vec<i32>,
    left: Vec<i32>,
    who: Vec<u32>,
}

impl Columns {
    /// So many rows that nothing hits.
    pub(crate) fn new(n: usize) -> Self {
        Self {
            lo: vec![0; n],
            width: vec![i32::MIN; n],
            left: vec![0; n],
            who: vec![0; n],
        }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.who.len()
    }

    /// Fills the last vector up with rows that nothing hits.
    #[inline]
    pub(crate) fn fill_up(&mut self) {
        while !self.len().is_multiple_of(LANES) {
            self.push(NOBODY);
        }
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.lo.reserve(more);
        self.width.reserve(more);
        self.left.reserve(more);
        self.who.reserve(more);
    }

    #[inline]
    pub(crate) fn push(&mut self, row: Row) {
        self.lo.push(row.lo);
        self.width.push(row.width);
        self.left.push(row.left);
        self.who.push(row.who);
    }

    #[inline]
    pub(crate) fn row(&self, at: usize) -> Row {
        Row {
            lo: self.lo[at],
            width: self.width[at],
            left: self.left[at],
            who: self.who[at],
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, at: usize, row: Row) {
        self.lo[at] = row.lo;
        self.width[at] = row.width;
        self.left[at] = row.left;
        self.who[at] = row.who;
    }

    #[inline]
    pub(crate) fn who(&self, at: usize) -> u32 {
        self.who[at]
    }

    /// Nothing hits the row any more.
    #[inline]
    pub(crate) fn bury(&mut self, at: usize) {
        self.width[at] = i32::MIN;
        self.left[at] = 0;
    }

    #[inline]
    pub(crate) fn is_buried(&self, at: usize) -> bool {
        self.width[at] == i32::MIN
    }

    pub(crate) fn truncate(&mut self, n: usize) {
        self.lo.truncate(n);
        self.width.truncate(n);
        self.left.truncate(n);
        self.who.truncate(n);
    }

    /// What is left in all rows. O(n), in vectors.
    pub(crate) fn left(&self) -> u64 {
        let left = self.left.iter().map(|&left| left as u64 + 1);
        left.sum()
    }

    /// Subtracts an element from the rows it hits among `from..to`; true where one of them is below zero. Whole vectors
    /// where both are multiples of [`LANES`]. O(n).
    #[inline]
    pub(crate) fn subtract(&mut self, from: usize, to: usize, place: u32, weight: u64) -> bool {
        let (lo, width) = (&self.lo[from..to], &self.width[from..to]);
        let left = &mut self.left[from..to];
        subtract(lo, width, left, place, narrow(weight)) < 0
    }

    /// What an element brought beyond what was left, once [`Self::subtract`] has told it; none for a row that has not
    /// matured.
    #[inline]
    pub(crate) fn over(&self, at: usize, weight: u64) -> Option<u64> {
        let left = self.left[at];
        if left >= 0 {
            return None;
        }
        let before = i64::from(left) + i64::from(narrow(weight)) + 1;
        Some(weight.saturating_sub(before.cast_unsigned()))
    }
}

/// By itself, because the compiler then knows that the columns do not overlap and need not ask.
#[inline(never)]
fn subtract(lo: &[u32], width: &[i32], left: &mut [i32], place: u32, weight: i32) -> i32 {
    let mut signs = 0;
    for ((&lo, &width), left) in lo.iter().zip(width).zip(left) {
        // Off by the sign already, because `lo` is.
        let inside = place.wrapping_sub(lo).cast_signed();
        *left -= if inside < width { weight } else { 0 };
        signs |= *left;
    }
    signs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prop_a_row_is_hit_by_the_places_in_it_and_tells_what_is_over(
            lo in any::<u32>(), hi in any::<u32>(), place in any::<u32>(), left in 1..=LEFT_MAX,
            weight in prop_oneof![1..=LEFT_MAX, LEFT_MAX..=1 << 62],
        ) {
            prop_assume!(lo < hi);
            let mut columns = Columns::default();
            for who in 0..9 {
                columns.push(Row::new(lo, hi, left, who));
            }
            prop_assert_eq!(columns.row(3).ends(), (lo, hi));
            let is_hit = lo <= place && place < hi;
            let is_matured = is_hit && weight >= left;
            prop_assert_eq!(columns.subtract(1, 8, place, weight), is_matured);
            for at in 0..9 {
                let is_told = is_matured && (1..8).contains(&at);
                prop_assert_eq!(columns.over(at, weight), is_told.then(|| weight - left));
            }
            if !is_matured {
                let rest = if is_hit { left - weight } else { left };
                prop_assert_eq!((columns.row(1).left(), columns.row(0).left()), (rest, left));
            }
        }
    }

    #[test]
    fn a_buried_row_is_hit_by_no_place() {
        let mut columns = Columns::default();
        columns.push(Row::new(0, u32::MAX, 1, 0));
        columns.bury(0);
        for place in [0, 1, SIGN - 1, SIGN, u32::MAX] {
            assert!(!columns.subtract(0, 1, place, LEFT_MAX));
        }
    }
}
