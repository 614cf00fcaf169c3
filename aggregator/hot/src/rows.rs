//! Rows of history: a minute of a node's counts of one kind, and spans merged from them. (steps 7–8)

use hsw_sketch::{HOT_CELLS, HeavyHitters, hot_window};
use hsw_types::{HotKind, NodeId};

/// Seconds a row covers.
pub const MINUTE_S: i64 = 60;

/// What a node counted of one kind in one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotRow {
    /// Whose counts.
    pub node: NodeId,
    /// Of what.
    pub kind: HotKind,
    /// Minutes since 1970.
    pub minute: i64,
    /// `HeavyHitters::encode` of plain counts.
    pub sketch: Vec<u8>,
}

/// Minutes of history: from the first up to and without the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First minute.
    pub from: i64,
    /// First minute beyond.
    pub to: i64,
}

impl Span {
    /// The minutes that lie wholly or partly within these Unix seconds (half-open; at least one minute).
    #[must_use]
    pub const fn of_seconds(from: i64, to: i64) -> Self {
        let from = from.div_euclid(MINUTE_S);
        let last = to.saturating_sub(1).div_euclid(MINUTE_S);
        let last = if last < from { from } else { last };
        Self {
            from,
            to: last.saturating_add(1),
        }
    }

    /// Minutes covered.
    #[must_use]
    pub const fn n_minutes(self) -> i64 {
        self.to.saturating_sub(self.from)
    }
}

/// The counts of several rows in one sketch, and how many rows could not be read. O(rows · w·d).
pub fn merged<'a>(sketches: impl IntoIterator<Item = &'a [u8]>) -> (HeavyHitters, u64) {
    let mut sum = hot_window();
    let mut n_unreadable = 0;
    for bytes in sketches {
        let added = HeavyHitters::decode(bytes, HOT_CELLS)
            .ok()
            .and_then(|row| sum.merge(&row).ok());
        n_unreadable += u64::from(added.is_none());
    }
    (sum, n_unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_seconds_covers_every_minute_it_touches() {
        let span = |from, to| Span::of_seconds(from, to);
        assert_eq!(span(0, 60), Span { from: 0, to: 1 });
        assert_eq!(span(59, 61), Span { from: 0, to: 2 });
        assert_eq!(span(61, 61), Span { from: 1, to: 2 });
        assert_eq!(span(120, 5), Span { from: 2, to: 3 });
        assert_eq!(span(-1, 1).n_minutes(), 2);
    }

    #[test]
    fn rows_add_up_and_what_is_no_row_is_counted() {
        let mut one = hot_window();
        one.add(7, 0, 3.0);
        let bytes = one.encode();
        let (sum, n_unreadable) = merged([&bytes[..], &[1, 2, 3], &bytes[..]]);
        assert_eq!((sum.estimate(7, 0), n_unreadable), (6.0, 1));
    }
}
