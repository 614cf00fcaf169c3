//! Series columns, packed: ids as gaps, values as short floats, repeats as nothing. (step 4)
//!
//! In: [`SeriesValues`] by ascending id. Out: a byte string, about 1 byte for a series at zero, 2–5 for one that moves.
//! Layout: varint number of series, then per series a varint `gap << 2 | form` (gap to the id before, less one), then
//! by form: 0 every window is 0; 1 one value, every window has it; 2 a value per window; 3 a presence bit per window
//! (⌈n/8⌉ bytes, low bit first), then the present values.
//! A value is a varint: `zigzag(v) << 1` for an integer |v| ≤ 8,191, else `bits << 1 | 1` with 20 bits: sign, an
//! exponent of 8 bits (biased by 128) and 11 bits of fraction.
//! Invariants: WI-4 an integer |v| ≤ 8,191 comes back exact, any other value within 2⁻¹² of itself (over 2¹²⁷ saturates,
//! under 2⁻¹²⁷ becomes 0). WI-5 decoding allocates at most what the number of bytes justifies.

use hsw_types::{SeriesId, SeriesValues};

use crate::frame::Error;

const INTEGER_MAX: f64 = 8191.0;
const FRACTION_BITS: u32 = 11;
const EXPONENT_BIAS: i64 = 128;

/// Appends `value` as a varint of seven bits a byte, low bits first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint from the front of `bytes`; `None` when it does not end or does not fit 64 bits.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&first, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The code of a finite value; see the module's header.
fn code_of(value: f64) -> u64 {
    if value.abs() <= INTEGER_MAX && value.fract() == 0.0 {
        let integer = value as i64;
        return (((integer << 1) ^ (integer >> 63)) as u64) << 1;
    }
    let bits = value.to_bits();
    let negative = bits >> 63;
    // Round the 52 bits of fraction to 11: the carry, if any, runs into the exponent, which is what rounding means.
    let rounded = (bits & !(1 << 63)) + (1 << (51 - FRACTION_BITS));
    let exponent = ((rounded >> 52) & 0x7ff) as i64 - 1023 + EXPONENT_BIAS;
    if exponent <= 0 {
        return 0;
    }
    let fraction = (rounded >> (52 - FRACTION_BITS)) & ((1 << FRACTION_BITS) - 1);
    let (exponent, fraction) = if exponent > 255 {
        (255, (1 << FRACTION_BITS) - 1)
    } else {
        (exponent as u64, fraction)
    };
    ((negative << 19 | exponent << FRACTION_BITS | fraction) << 1) | 1
}

fn value_of(code: u64) -> Option<f64> {
    if code & 1 == 0 {
        let zigzag = code >> 1;
        let integer = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        return (integer.unsigned_abs() <= INTEGER_MAX as u64).then_some(integer as f64);
    }
    let bits = code >> 1;
    if bits >> 20 != 0 {
        return None;
    }
    let exponent = (bits >> FRACTION_BITS & 0xff) as i64 - EXPONENT_BIAS + 1023;
    let fraction = (bits & ((1 << FRACTION_BITS) - 1)) << (52 - FRACTION_BITS);
    Some(f64::from_bits(
        (bits >> 19) << 63 | (exponent as u64) << 52 | fraction,
    ))
}

/// What a value becomes on the other side of the wire.
#[cfg(test)]
pub(crate) fn quantised(value: f64) -> f64 {
    value_of(code_of(value)).unwrap_or(f64::NAN)
}

/// Packs `series` (ascending ids, each with `n_windows` places; others are skipped by the caller's contract).
pub(crate) fn pack(series: &[SeriesValues], n_windows: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + series.len() * 4);
    put_varint(&mut out, series.len() as u64);
    let mut next_id = 0_u32;
    for one in series {
        debug_assert!(one.id.0 >= next_id && one.values.len() == n_windows);
        let gap = u64::from(one.id.0.saturating_sub(next_id));
        next_id = one.id.0.saturating_add(1);
        pack_one(&mut out, gap, &one.values);
    }
    out
}

fn pack_one(out: &mut Vec<u8>, gap: u64, values: &[Option<f64>]) {
    let codes = |out: &mut Vec<u8>| {
        values
            .iter()
            .flatten()
            .for_each(|v| put_varint(out, code_of(*v)))
    };
    if values.iter().any(Option::is_none) {
        put_varint(out, gap << 2 | 3);
        for eight in values.chunks(8) {
            let bits = eight.iter().enumerate();
            out.push(bits.fold(0, |byte, (i, v)| byte | u8::from(v.is_some()) << i));
        }
        codes(out);
        return;
    }
    let first = values.first().copied().flatten().map_or(0, code_of);
    let same = values.iter().flatten().all(|v| code_of(*v) == first);
    match (same, first) {
        (true, 0) => put_varint(out, gap << 2),
        (true, _) => {
            put_varint(out, gap << 2 | 1);
            put_varint(out, first);
        }
        (false, _) => {
            put_varint(out, gap << 2 | 2);
            codes(out);
        }
    }
}

/// Unpacks what [`pack`] wrote.
pub(crate) fn unpack(mut bytes: &[u8], n_windows: usize) -> Result<Vec<SeriesValues>, Error> {
    let malformed = |why: &str| Error::Malformed {
        what: "series column",
        why: why.to_owned(),
    };
    let n = take_varint(&mut bytes).ok_or_else(|| malformed("no length"))?;
    // Each series takes a byte at least, so a longer claim is a lie.
    if n > bytes.len() as u64 {
        return Err(malformed("more series than bytes"));
    }
    let mut series = Vec::with_capacity(n as usize);
    let mut next_id = 0_u64;
    for _ in 0..n {
        let head = take_varint(&mut bytes).ok_or_else(|| malformed("series head"))?;
        let id = next_id
            .checked_add(head >> 2)
            .and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| malformed("series id over 32 bits"))?;
        next_id = u64::from(id) + 1;
        let values = unpack_one(&mut bytes, (head & 3) as u8, n_windows);
        series.push(SeriesValues {
            id: SeriesId(id),
            values: values.ok_or_else(|| malformed("values"))?,
        });
    }
    if bytes.is_empty() {
        Ok(series)
    } else {
        Err(malformed("bytes after the last series"))
    }
}

fn unpack_one(bytes: &mut &[u8], form: u8, n_windows: usize) -> Option<Vec<Option<f64>>> {
    let value = |bytes: &mut &[u8]| take_varint(bytes).and_then(value_of);
    match form {
        0 => Some(vec![Some(0.0); n_windows]),
        1 => Some(vec![Some(value(bytes)?); n_windows]),
        2 => (0..n_windows).map(|_| value(bytes).map(Some)).collect(),
        _ => {
            let (mask, rest) = bytes.split_at_checked(n_windows.div_ceil(8))?;
            *bytes = rest;
            (0..n_windows)
                .map(|i| {
                    if mask[i / 8] >> (i % 8) & 1 == 1 {
                        value(bytes).map(Some)
                    } else {
                        Some(None)
                    }
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_series_at_zero_takes_one_byte_and_a_moving_one_at_most_seven() {
        let zero = SeriesValues {
            id: SeriesId(5),
            values: vec![Some(0.0); 2],
        };
        let moving = SeriesValues {
            id: SeriesId(6),
            values: vec![Some(12.345), Some(98_765.4)],
        };
        assert_eq!(pack(&[zero], 2).len(), 2);
        assert_eq!(pack(&[moving], 2).len(), 1 + 1 + 6);
    }

    #[test]
    fn values_beyond_the_range_saturate_and_those_below_it_vanish() {
        assert!(quantised(1e300) > 1e38 && quantised(-1e300) < -1e38);
        assert_eq!(quantised(1e-300).to_bits(), 0.0_f64.to_bits());
        assert_eq!(quantised(-0.0).to_bits(), 0.0_f64.to_bits());
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(0.0),
            (-9000_i32..9000).prop_map(f64::from),
            -1e12..1e12_f64,
            0.0..1.0_f64
        ]
    }

    proptest! {
        #[test]
        fn prop_a_value_comes_back_within_its_precision(v in any_value()) {
            let back = quantised(v);
            if v.fract() == 0.0 && v.abs() <= 8191.0 {
                prop_assert_eq!(back, v);
            } else {
                prop_assert!((back - v).abs() <= v.abs() / 4096.0, "{} became {}", v, back);
            }
        }

        #[test]
        fn prop_columns_round_trip(
            rows in proptest::collection::btree_map(0_u32..5000, proptest::collection::vec(proptest::option::of(any_value()), 3), 0..40),
        ) {
            let series: Vec<_> = rows.into_iter().map(|(id, values)| SeriesValues {
                id: SeriesId(id),
                values: values.into_iter().map(|v| v.map(quantised)).collect(),
            }).collect();
            prop_assert_eq!(unpack(&pack(&series, 3), 3), Ok(series));
        }

        #[test]
        fn prop_any_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), n in 0_usize..70) {
            let _ = unpack(&bytes, n);
        }
    }
}
