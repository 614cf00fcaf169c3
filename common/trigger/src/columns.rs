//! Triggers in columns, scanned in vectors: an element against each of them without a branch. (ALGORITHMS 2.6)
//!
//! In: ranges and what is left of thresholds, narrowed to half words; an element's place and weight. Out: whether any has
//! matured. Invariants: CO-1 a row is hit exactly by the places in its range. CO-2 a row is below zero from the element on
//! that matures it, and [`Columns::over`] tells by how much. Limits: 12 bytes a row; compiled to the vectors that every
//! processor of the family has, no more.

/// The sign bit: places are stored off by it, so that one signed comparison, which SSE2 has, compares unsigned.
const SIGN: u32 = 1 << 31;

/// Rows told at a time: a vector of the smallest processor.
pub(crate) const LANES: usize = 4;

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

/// What an element is held against, [`LANES`] rows beside one another.
#[derive(Debug, Clone, Copy)]
struct Vector {
    lo: [u32; LANES],
    width: [i32; LANES],
    left: [i32; LANES],
}

/// Rows that nothing hits.
const NOBODIES: Vector = Vector {
    lo: [NOBODY.lo; LANES],
    width: [NOBODY.width; LANES],
    left: [NOBODY.left; LANES],
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

/// Rows in whole vectors; the last is filled up with rows that nothing hits.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    vectors: Vec<Vector>,
    who: Vec<u32>,
}

impl Columns {
    /// At least so many rows, which nothing hits.
    pub(crate) fn new(n: usize) -> Self {
        let n = n.next_multiple_of(LANES);
        Self {
            vectors: vec![NOBODIES; n / LANES],
            who: vec![NOBODY.who; n],
        }
    }

    /// Rows, a multiple of [`LANES`].
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.who.len()
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.vectors.reserve(more.div_ceil(LANES));
        self.who.reserve(more.next_multiple_of(LANES));
    }

    /// Adds a vector of rows that nothing hits.
    #[inline]
    pub(crate) fn grow(&mut self) {
        self.vectors.push(NOBODIES);
        self.who.extend([NOBODY.who; LANES]);
    }

    #[inline]
    pub(crate) fn row(&self, at: usize) -> Row {
        let (vector, lane) = (&self.vectors[at / LANES], at % LANES);
        Row {
            lo: vector.lo[lane],
            width: vector.width[lane],
            left: vector.left[lane],
            who: self.who[at],
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, at: usize, row: Row) {
        let (vector, lane) = (&mut self.vectors[at / LANES], at % LANES);
        vector.lo[lane] = row.lo;
        vector.width[lane] = row.width;
        vector.left[lane] = row.left;
        self.who[at] = row.who;
    }

    #[inline]
    pub(crate) fn who(&self, at: usize) -> u32 {
        self.who[at]
    }

    /// Nothing hits the row any more.
    #[inline]
    pub(crate) fn bury(&mut self, at: usize) {
        let (vector, lane) = (&mut self.vectors[at / LANES], at % LANES);
        vector.width[lane] = NOBODY.width;
        vector.left[lane] = NOBODY.left;
    }

    #[inline]
    pub(crate) fn is_buried(&self, at: usize) -> bool {
        self.vectors[at / LANES].width[at % LANES] == NOBODY.width
    }

    /// Keeps the first `n` rows, and what fills their last vector up.
    pub(crate) fn truncate(&mut self, n: usize) {
        let n_kept = n.next_multiple_of(LANES);
        self.vectors.truncate(n_kept / LANES);
        self.who.truncate(n_kept);
        for at in n..n_kept {
            self.bury(at);
        }
    }

    /// What is left in all rows, one in those that nothing hits. O(n), in vectors.
    pub(crate) fn left(&self) -> u64 {
        let left = self.vectors.iter().flat_map(|vector| vector.left);
        left.map(|left| left as u64 + 1).sum()
    }

    /// Subtracts an element from the rows it hits among `from..to`, both multiples of [`LANES`]; true where one of them is
    /// below zero. O(n).
    #[inline]
    pub(crate) fn subtract(&mut self, from: usize, to: usize, place: u32, weight: u64) -> bool {
        let weight = narrow(weight);
        let mut signs = [0; LANES];
        for vector in &mut self.vectors[from / LANES..to / LANES] {
            for (lane, sign) in signs.iter_mut().enumerate() {
                // Off by the sign already, because `lo` is.
                let inside = place.wrapping_sub(vector.lo[lane]).cast_signed();
                vector.left[lane] -= if inside < vector.width[lane] {
                    weight
                } else {
                    0
                };
                *sign |= vector.left[lane];
            }
        }
        signs.iter().fold(0, |all, sign| all | sign) < 0
    }

    /// Whether one of the [`LANES`] rows from `from` on is below zero.
    #[inline]
    pub(crate) fn is_below(&self, from: usize) -> bool {
        let left = &self.vectors[from / LANES].left;
        left.iter().fold(0, |all, left| all | left) < 0
    }

    /// What an element brought beyond what was left, once [`Self::subtract`] has told it; none for a row that has not
    /// matured.
    #[inline]
    pub(crate) fn over(&self, at: usize, weight: u64) -> Option<u64> {
        let left = self.vectors[at / LANES].left[at % LANES];
        if left >= 0 {
            return None;
        }
        let before = i64::from(left) + i64::from(narrow(weight)) + 1;
        Some(weight.saturating_sub(before.cast_unsigned()))
    }
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
            let mut columns = Columns::new(12);
            for who in 0..12 {
                columns.set(who as usize, Row::new(lo, hi, left, who));
            }
            prop_assert_eq!(columns.row(3).ends(), (lo, hi));
            let is_hit = lo <= place && place < hi;
            let is_matured = is_hit && weight >= left;
            prop_assert_eq!(columns.subtract(4, 8, place, weight), is_matured);
            for at in 0..12 {
                let is_told = is_matured && (4..8).contains(&at);
                prop_assert_eq!(columns.over(at, weight), is_told.then(|| weight - left));
            }
            if !is_matured {
                let rest = if is_hit { left - weight } else { left };
                prop_assert_eq!((columns.row(5).left(), columns.row(8).left()), (rest, left));
            }
        }
    }

    #[test]
    fn a_buried_row_is_hit_by_no_place() {
        let mut columns = Columns::new(1);
        columns.set(0, Row::new(0, u32::MAX, 1, 0));
        columns.bury(0);
        for place in [0, 1, SIGN - 1, SIGN, u32::MAX] {
            assert!(!columns.subtract(0, LANES, place, LEFT_MAX));
        }
    }
}
