//! What a trigger asks about statements: which measures are its dimensions, what an element weighs, which names it wants.
//!
//! In: [`Statement`]s. Out: [`Element`]s that hold every measure, weight and name at once, so that an agent's cost does not
//! depend on how many triggers there are. Invariants: SP-1 an element without a measure, or of weight 0, is nowhere in a
//! space that asks for it. SP-2 a [`Question`] has as many ranges as its space has dimensions, none of them empty.
//! Limits: two dimensions, [`N_CATEGORIES`] names. Does not: know names, only their keys.

use hsw_types::Statement;

use crate::range::{Range, key_of_f64};

/// Names an element has: fingerprint, database, user, application.
pub const N_CATEGORIES: usize = 4;

/// Measures there are.
const N_MEASURES: usize = Measure::ALL.len();
/// Weights there are.
const N_WEIGHTS: usize = Weight::ALL.len();

/// A number of a statement that a range can be set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// How long it took.
    LatencyMs,
    /// How long it waited for locks.
    LockMs,
    /// Rows it looked at, or else those it returned.
    Rows,
}

impl Measure {
    /// All of them; each one's place is its number on the wire.
    pub const ALL: [Self; 3] = [Self::LatencyMs, Self::LockMs, Self::Rows];

    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LatencyMs => "latency_ms",
            Self::LockMs => "lock_ms",
            Self::Rows => "rows",
        }
    }
}

/// What an element counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Weight {
    /// Itself: 1.
    #[default]
    Count,
    /// Its rows.
    Rows,
    /// Its milliseconds, rounded.
    Ms,
}

impl Weight {
    /// All of them; each one's place is its number on the wire.
    pub const ALL: [Self; 3] = [Self::Count, Self::Rows, Self::Ms];

    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Rows => "rows",
            Self::Ms => "ms",
        }
    }
}

/// Which measures are the dimensions, and what an element weighs: triggers of one space share a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Space {
    first: Measure,
    second: Option<Measure>,
    weight: Weight,
}

impl Space {
    /// A space of one or two measures, in ascending order; none where there are more, fewer, or one stands twice.
    #[must_use]
    pub fn new(measures: &[Measure], weight: Weight) -> Option<Self> {
        let (first, second) = match *measures {
            [first] => (first, None),
            [first, second] if first < second => (first, Some(second)),
            _ => return None,
        };
        Some(Self {
            first,
            second,
            weight,
        })
    }

    /// Its measures, one or two.
    pub fn measures(self) -> impl Iterator<Item = Measure> {
        std::iter::once(self.first).chain(self.second)
    }

    /// What an element weighs.
    #[must_use]
    pub const fn weight(self) -> Weight {
        self.weight
    }

    /// One or two.
    #[must_use]
    pub const fn n_dimensions(self) -> usize {
        1 + self.second.is_some() as usize
    }
}

/// What a trigger counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    space: Space,
    categories: [Option<u64>; N_CATEGORIES],
    ranges: Vec<Range>,
}

impl Question {
    /// A range per measure of the space, and the keys of the names it wants (open where none); none where that cannot be.
    #[must_use]
    pub fn new(
        space: Space,
        categories: [Option<u64>; N_CATEGORIES],
        ranges: Vec<Range>,
    ) -> Option<Self> {
        let fits = ranges.len() == space.n_dimensions() && !ranges.iter().any(|r| r.is_empty());
        fits.then_some(Self {
            space,
            categories,
            ranges,
        })
    }

    /// Its space.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// Keys of the names it wants, in the order of an [`Element`]'s.
    #[must_use]
    pub const fn categories(&self) -> &[Option<u64>; N_CATEGORIES] {
        &self.categories
    }

    /// A range per measure.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

/// One statement as all spaces see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Element {
    /// Keys of the measures, in the order of [`Measure::ALL`]; none where not told.
    pub measures: [Option<u64>; N_MEASURES],
    /// In the order of [`Weight::ALL`].
    pub weights: [u64; N_WEIGHTS],
    /// Keys of fingerprint, database, user and application; 0 where unknown.
    pub categories: [u64; N_CATEGORIES],
}

impl Element {
    /// Where it lies in a space and what it weighs there; none where it is not counted.
    #[must_use]
    pub fn point(&self, space: Space) -> Option<([u64; 2], u64)> {
        let weight = self.weights[space.weight as usize];
        let mut point = [0; 2];
        for (at, measure) in point.iter_mut().zip(space.measures()) {
            *at = self.measures[measure as usize]?;
        }
        (weight > 0).then_some((point, weight))
    }
}

impl From<&Statement> for Element {
    fn from(statement: &Statement) -> Self {
        let rows = statement.rows_examined.or(statement.rows_sent);
        let key = |value: Option<f64>| value.and_then(key_of_f64);
        // Saturates, and is 0 for what is negative or no number.
        let ms = statement.latency_ms.map_or(0, |ms| ms.round() as u64);
        Self {
            measures: [
                key(statement.latency_ms),
                key(statement.lock_ms),
                key(rows.map(|rows| rows as f64)),
            ],
            weights: [1, rows.unwrap_or(0), ms],
            categories: [
                statement.fingerprint,
                statement.database,
                statement.user,
                statement.application,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(measures: &[Measure], weight: Weight) -> Space {
        Space::new(measures, weight).unwrap()
    }

    #[test]
    fn a_statement_lies_where_its_measures_are_and_nowhere_without_them() {
        let statement = Statement {
            latency_ms: Some(12.5),
            rows_sent: Some(3),
            database: 7,
            ..Statement::default()
        };
        let element = Element::from(&statement);
        let (ms, rows) = (key_of_f64(12.5).unwrap(), key_of_f64(3.0).unwrap());
        let both = space(&[Measure::LatencyMs, Measure::Rows], Weight::Ms);
        assert_eq!(element.point(both), Some(([ms, rows], 13)));
        let one = space(&[Measure::Rows], Weight::Rows);
        assert_eq!(element.point(one), Some(([rows, 0], 3)));
        let absent = space(&[Measure::LockMs], Weight::Count);
        assert_eq!(element.point(absent), None);
        assert_eq!(element.categories, [0, 7, 0, 0]);
        let light = Element::from(&Statement {
            latency_ms: Some(0.2),
            ..Statement::default()
        });
        let by_ms = space(&[Measure::LatencyMs], Weight::Ms);
        assert_eq!(light.point(by_ms), None, "weighs nothing");
    }

    #[test]
    fn a_space_has_one_or_two_measures_in_their_order() {
        use Measure::{LatencyMs, LockMs, Rows};
        for bad in [
            &[][..],
            &[Rows, LatencyMs],
            &[Rows, Rows],
            &[LatencyMs, LockMs, Rows],
        ] {
            assert_eq!(Space::new(bad, Weight::Count), None, "{bad:?}");
        }
        let space = space(&[LatencyMs], Weight::Count);
        let range = Range { lo: 1, hi: 2 };
        assert!(Question::new(space, [None; 4], vec![range]).is_some());
        assert!(Question::new(space, [None; 4], vec![range; 2]).is_none());
        let empty = Range { lo: 2, hi: 2 };
        assert!(Question::new(space, [None; 4], vec![empty]).is_none());
    }

    #[test]
    fn numbers_of_the_wire_are_places() {
        assert!((0..3).all(|i| Measure::ALL[i] as usize == i && Weight::ALL[i] as usize == i));
    }
}
