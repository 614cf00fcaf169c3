//! Keys and half-open ranges of them: what elements and triggers are told apart by.
//!
//! In: numbers as people write them. Out: `u64` keys in the same order, so that one tree serves all of them.
//! Invariants: RA-1 `a < b` exactly if `key(a) < key(b)`, for finite and infinite numbers; zero has one key.

/// Heaviest element and highest threshold: 2⁶², so that no sum of two overflows. A heavier element matures whatever it
/// meets, as one of this weight does.
pub const WEIGHT_MAX: u64 = 1 << 62;

/// What a trigger is known by; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// Keys from `lo` up to and without `hi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First key inside.
    pub lo: u64,
    /// First key beyond.
    pub hi: u64,
}

impl Range {
    /// Whether a key lies inside.
    #[must_use]
    pub const fn contains(self, key: u64) -> bool {
        self.lo <= key && key < self.hi
    }

    /// Whether no key lies inside.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.hi <= self.lo
    }
}

/// The key of a float; none for what is not a number.
///
/// ```
/// use hsw_trigger::key_of_f64;
/// assert!(key_of_f64(-1.5) < key_of_f64(0.0) && key_of_f64(0.0) < key_of_f64(f64::INFINITY));
/// assert_eq!(key_of_f64(-0.0), key_of_f64(0.0));
/// ```
#[must_use]
pub fn key_of_f64(value: f64) -> Option<u64> {
    if value.is_nan() {
        return None;
    }
    let bits = (value + 0.0).to_bits();
    Some(if bits >> 63 == 1 {
        !bits
    } else {
        bits ^ (1 << 63)
    })
}

/// The key of an integer.
#[must_use]
pub const fn key_of_i64(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        let floats = [
            f64::NEG_INFINITY,
            -1e300,
            -2.5,
            -1e-310,
            0.0,
            5e-324,
            1.0,
            1e9,
            f64::INFINITY,
        ];
        let keys: Vec<_> = floats.iter().map(|&x| key_of_f64(x).unwrap()).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        let keys = [i64::MIN, -7, -1, 0, 1, i64::MAX].map(key_of_i64);
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(key_of_f64(f64::NAN), None);
    }
}
