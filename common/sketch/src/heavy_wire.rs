//! How heavy hitters travel: parameters, candidates, and only those cells that the candidates do not already tell. (steps 4, 8)
//!
//! In: a [`HeavyHitters`]. Out: bytes, some tens where a window was quiet. Invariants: HW-1 decoding what was encoded gives the
//! same cells, candidates and scale, bit for bit. HW-2 decoding any bytes never panics and allocates nothing beyond the
//! caller's limits. Form, version 2 (1 had other positions; numbers are varints unless said): version, log2 width, depth with the layout on top
//! (a byte each), seed (8), weighting (a byte and 8), t0 (8), K, number of items, unit (8), mass, floor, then candidates (key
//! of 8, value), then cells (gap, value). A value is 0, or 1 and 8 bytes, or 1 more than its units. Cells begin as the greatest of
//! the candidates that lie there; those that are otherwise follow. Multi-byte numbers are little-endian.

use crate::heavy::{CANDIDATES_MAX, HeavyHitters};
use crate::quantile::{DecodeError, put, take};
use crate::shape::{Layout, Shape};
use crate::weighting::Weighting;

const VERSION: u8 = 2;
/// Marks [`Layout::Lines`] beside the depth.
const LINES_BIT: u8 = 0x80;
/// Doublings beyond which no sketch gets in a century of ticks.
const EXPONENT_MAX: u64 = 1 << 50;
/// So many units are told apart from their neighbours.
const UNITS_MAX: f64 = (1_u64 << 52) as f64;

impl HeavyHitters {
    /// Bytes for [`Self::decode`]. O(w·d + candidates).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let table = self.sketch.table();
        let (shape, scale) = (table.shape(), table.scale());
        let mut out = Vec::with_capacity(64 + self.candidates.len() * 12);
        let lines = if shape.layout == Layout::Lines {
            LINES_BIT
        } else {
            0
        };
        out.extend([VERSION, shape.width_log2 as u8, shape.depth as u8 | lines]);
        out.extend(shape.seed.to_le_bytes());
        let (kind, parameter) = match scale.weighting {
            Weighting::Constant => (0, 0.0),
            Weighting::Affine { slope } => (1, slope),
            Weighting::Exponential { log2_growth } => (2, log2_growth),
        };
        out.push(kind);
        out.extend(parameter.to_le_bytes());
        out.extend(scale.t0.to_le_bytes());
        put(&mut out, scale.exponent as u64);
        put(&mut out, self.n_max as u64);
        let unit = scale.last_unit();
        out.extend(unit.to_le_bytes());
        put_value(&mut out, unit, table.raw_mass());
        put_value(&mut out, unit, self.floor);
        put(&mut out, self.candidates.len() as u64);
        for (key, raw) in &self.candidates {
            out.extend(key.to_le_bytes());
            put_value(&mut out, unit, *raw);
        }
        let mut expected = vec![0.0; shape.n_cells()];
        self.tell(&mut expected);
        let unlike = |(cell, told): (&f64, &f64)| cell.to_bits() != told.to_bits();
        let others = || {
            table
                .cells()
                .iter()
                .zip(&expected)
                .enumerate()
                .filter(|(_, pair)| unlike(*pair))
        };
        put(&mut out, others().count() as u64);
        let mut next = 0;
        for (at, (cell, _)) in others() {
            put(&mut out, (at - next) as u64);
            put_value(&mut out, unit, *cell);
            next = at + 1;
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote, of at most `n_cells_max` cells. O(w·d + candidates).
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(mut bytes: &[u8], n_cells_max: usize) -> Result<Self, DecodeError> {
        let bytes = &mut bytes;
        let [version, width_log2, depth] = take_n(bytes)?;
        let seed = u64::from_le_bytes(take_n(bytes)?);
        let [kind] = take_n(bytes)?;
        let parameter = f64::from_le_bytes(take_n(bytes)?);
        let weighting = match kind {
            0 => Weighting::Constant,
            1 => Weighting::Affine { slope: parameter },
            2 => Weighting::Exponential {
                log2_growth: parameter,
            },
            _ => return Err(DecodeError),
        };
        let t0 = u64::from_le_bytes(take_n(bytes)?);
        let width = 1_usize
            .checked_shl(u32::from(width_log2))
            .ok_or(DecodeError)?;
        let shape =
            Shape::new(width, u32::from(depth & !LINES_BIT), seed).map_err(|_| DecodeError)?;
        let layout = if depth & LINES_BIT == 0 {
            Layout::Rows
        } else {
            Layout::Lines
        };
        let shape = shape.with_layout(layout).map_err(|_| DecodeError)?;
        let exponent = take(bytes)?;
        let n_max = take(bytes)?;
        if version != VERSION
            || shape.n_cells() > n_cells_max
            || exponent > EXPONENT_MAX
            || n_max > CANDIDATES_MAX as u64
        {
            return Err(DecodeError);
        }
        let mut hot = Self::new(shape, weighting, t0, n_max as usize).map_err(|_| DecodeError)?;
        hot.sketch.table_mut().raise(exponent as i64);
        let unit = checked(f64::from_le_bytes(take_n(bytes)?))?;
        let mass = take_value(bytes, unit)?;
        hot.sketch.table_mut().set_raw_mass(mass);
        hot.floor = take_value(bytes, unit)?;
        hot.take_candidates(bytes, unit)?;
        hot.take_cells(bytes, unit)?;
        if bytes.is_empty() {
            Ok(hot)
        } else {
            Err(DecodeError)
        }
    }

    fn take_candidates(&mut self, bytes: &mut &[u8], unit: f64) -> Result<(), DecodeError> {
        let n = take(bytes)?;
        if n > self.n_max as u64 * 2 {
            return Err(DecodeError);
        }
        for _ in 0..n {
            let key = u64::from_le_bytes(take_n(bytes)?);
            if self
                .candidates
                .last_key_value()
                .is_some_and(|(last, _)| *last >= key)
            {
                return Err(DecodeError);
            }
            let raw = take_value(bytes, unit)?;
            self.candidates.insert(key, raw);
        }
        Ok(())
    }

    fn take_cells(&mut self, bytes: &mut &[u8], unit: f64) -> Result<(), DecodeError> {
        let mut cells = vec![0.0; self.sketch.table().shape().n_cells()];
        self.tell(&mut cells);
        let mut next = 0_usize;
        for _ in 0..take(bytes)? {
            let gap = usize::try_from(take(bytes)?).map_err(|_| DecodeError)?;
            let at = next.checked_add(gap).ok_or(DecodeError)?;
            *cells.get_mut(at).ok_or(DecodeError)? = take_value(bytes, unit)?;
            next = at + 1;
        }
        self.sketch.table_mut().cells_mut().copy_from_slice(&cells);
        Ok(())
    }

    /// What the candidates alone tell of the cells.
    fn tell(&self, cells: &mut [f64]) {
        let shape = self.sketch.table().shape();
        for (key, raw) in &self.candidates {
            let walk = shape.walk(*key);
            for row in 0..shape.depth {
                if let Some(cell) = cells.get_mut(shape.at(walk, row)) {
                    *cell = cell.max(*raw);
                }
            }
        }
    }
}

fn put_value(out: &mut Vec<u8>, unit: f64, value: f64) {
    let n = libm::round(value / unit);
    if value == 0.0 {
        out.push(0);
    } else if (1.0..UNITS_MAX).contains(&n) && (n * unit).to_bits() == value.to_bits() {
        put(out, n as u64 + 1);
    } else {
        out.push(1);
        out.extend(value.to_le_bytes());
    }
}

fn take_value(bytes: &mut &[u8], unit: f64) -> Result<f64, DecodeError> {
    match take(bytes)? {
        0 => Ok(0.0),
        1 => checked(f64::from_le_bytes(take_n(bytes)?)),
        n => checked((n - 1) as f64 * unit),
    }
}

/// Cells and sums are finite and not below zero.
fn checked(value: f64) -> Result<f64, DecodeError> {
    if value.is_finite() && value.is_sign_positive() {
        Ok(value)
    } else {
        Err(DecodeError)
    }
}

fn take_n<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or(DecodeError)?;
    *bytes = rest;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heavy::tests::{GROWTH, events, of};
    use proptest::prelude::*;

    const CELLS_MAX: usize = 1 << 16;

    fn same(a: &HeavyHitters, b: &HeavyHitters) -> bool {
        let bits = |hot: &HeavyHitters| {
            hot.sketch
                .table()
                .cells()
                .iter()
                .map(|c| c.to_bits())
                .collect::<Vec<_>>()
        };
        let (x, y) = (a.sketch.table(), b.sketch.table());
        bits(a) == bits(b)
            && a.candidates == b.candidates
            && (a.n_max, a.floor.to_bits(), x.shape()) == (b.n_max, b.floor.to_bits(), y.shape())
            && (x.scale().exponent, x.scale().t0, x.raw_mass().to_bits())
                == (y.scale().exponent, y.scale().t0, y.raw_mass().to_bits())
            && x.scale().weighting == y.scale().weighting
    }

    #[test]
    fn a_quiet_window_takes_tens_of_bytes_and_a_busy_one_eleven_a_key() {
        assert!(
            of(1_024, 100, &[]).encode().len() <= 45,
            "{}",
            of(1_024, 100, &[]).encode().len()
        );
        let quiet: Vec<(u64, u64)> = (0..20).map(|i| (crate::mix(i % 4), 1_234_567)).collect();
        let bytes = of(1_024, 100, &quiet).encode();
        assert!(bytes.len() <= 100, "{} bytes", bytes.len());
        let busy: Vec<(u64, u64)> = (0..5_000).map(|i| (crate::mix(i % 100), 77)).collect();
        let bytes = of(4_096, 100, &busy).encode();
        assert!(bytes.len() <= 60 + 100 * 11, "{} bytes", bytes.len());
    }

    #[test]
    fn the_bytes_of_version_two_do_not_change() {
        let bytes = of(16, 2, &[(7, 10), (7, 10), (9, 10)]).encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "020404",
            "1500000000000000",
            "029a9999999999b93f",
            "0000000000000000",
            "0002",
            "0000000000000040",
            "0400",
            "02070000000000000003090000000000000002",
            "00",
        );
        assert_eq!(hex, expected);
        let back = HeavyHitters::decode(&bytes, 64).unwrap();
        assert_eq!((back.top(1, 10)[0].key, back.top(1, 10)[0].count), (7, 2.0));
    }

    #[test]
    fn more_cells_than_allowed_and_cut_bytes_are_refused() {
        let bytes = of(64, 4, &[(1, 1), (2, 3), (1, 5)]).encode();
        assert!(HeavyHitters::decode(&bytes, 256).is_ok());
        assert!(HeavyHitters::decode(&bytes, 255).is_err());
        for end in 0..bytes.len() {
            assert!(
                HeavyHitters::decode(&bytes[..end], 256).is_err(),
                "cut at {end}"
            );
        }
        assert!(HeavyHitters::decode(&[&bytes[..], &[0]].concat(), 256).is_err());
    }

    #[test]
    fn a_window_encoded_and_begun_anew_adds_up_at_the_other_end() {
        let mut window = of(1_024, 20, &[]);
        let mut there = of(1_024, 20, &[]);
        let mut whole = of(1_024, 20, &[]);
        for tick in 0..500 {
            for i in 0..20_u64 {
                window.add(crate::mix(i % (1 + tick % 7)), tick, 1.0);
                whole.add(crate::mix(i % (1 + tick % 7)), tick, 1.0);
            }
            there
                .merge(&HeavyHitters::decode(&window.encode(), CELLS_MAX).unwrap())
                .unwrap();
            window.clear();
            assert!(window.is_empty() && !there.is_empty());
        }
        for (a, b) in there.top(7, 500).iter().zip(whole.top(7, 500)) {
            assert!(a.key == b.key && (a.count - b.count).abs() < 1e-9 * b.count);
        }
        assert_eq!(there.top(7, 500).len(), 7);
    }

    proptest! {
        #[test]
        fn prop_what_was_encoded_is_decoded_bit_for_bit(a in events(), b in events(), width_log2 in 3..8_u32, n_max in 1..40_usize, ahead in 0..20_000_u64) {
            let mut hot = of(1 << width_log2, n_max, &a);
            let back = HeavyHitters::decode(&hot.encode(), CELLS_MAX).unwrap();
            prop_assert!(same(&hot, &back));
            let later: Vec<(u64, u64)> = b.iter().map(|(key, tick)| (*key, tick + ahead)).collect();
            hot.merge(&of(1 << width_log2, n_max, &later)).unwrap();
            let back = HeavyHitters::decode(&hot.encode(), CELLS_MAX).unwrap();
            prop_assert!(same(&hot, &back));
            let shape = Shape::new(1 << width_log2, 2, 1).unwrap().with_layout(Layout::Lines).unwrap();
            for weighting in [GROWTH, Weighting::Constant, Weighting::Affine { slope: 0.3 }] {
                let mut lines = HeavyHitters::new(shape, weighting, 5, n_max).unwrap();
                a.iter().for_each(|(key, tick)| lines.add(*key, *tick, 1.5));
                prop_assert!(same(&lines, &HeavyHitters::decode(&lines.encode(), CELLS_MAX).unwrap()));
            }
        }

        #[test]
        fn prop_any_bytes_are_safe(events in events(), at in any::<prop::sample::Index>(), byte in any::<u8>(), junk in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = HeavyHitters::decode(&junk, CELLS_MAX);
            let mut bytes = of(16, 4, &events).encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(mut hot) = HeavyHitters::decode(&bytes, CELLS_MAX) {
                let _ = hot.top(10, 5);
                hot.add(1, 2, 3.0);
                let _ = hot.merge(&hot.clone());
                let _ = hot.encode();
            }
        }
    }
}
